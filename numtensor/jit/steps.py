"""What a program is made of: steps, calls of one kernel each, and whence their slots.

Data only. `lower` makes steps of groups, `program` performs them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..kernels.expr import Expr
from ..kernels.loops import itemsize
from ..layout import numel
from .ir import Buffer, Ref, Shape

FUSED, MANY, SWEEPS = "fused loop", "several loops in one function", "sweeps"
PRODUCT, BY_HAND = "product", "by hand"


@dataclass(frozen=True)
class At:
    """The address of a byte of a buffer."""

    buffer: Buffer
    offset: int = 0


@dataclass(frozen=True, eq=False)
class Given:
    """A number that may differ from run to run; `floating` says how it travels."""

    value: Expr
    floating: bool


@dataclass(frozen=True)
class Drawn:
    """What a generator reserves at each run: its seed, or (`which` 1) the offset."""

    generator: Any
    counters: int
    which: int


#: an address, a number of this run, or the number itself
Slot = At | Given | Drawn | int | float


@dataclass(frozen=True)
class Part:
    """What `explain` says of a step: `source` is the path of its kernel, or None."""

    title: str
    kind: str
    source: Any
    nbytes: int  # read and written
    threads: bool


@dataclass(eq=False)
class Step:
    """One call: a kernel of the CPU over [0, n) if `kernel` is an address, which needs
    nothing of Python, else `call(*slots)`."""

    part: Part
    slots: Sequence[Slot]
    kernel: int = 0
    n: int = 0
    call: Callable[..., Any] | None = None
    #: what the step's numbers are addresses of
    held: Any = None


def moved(places: Sequence[tuple[Ref, Shape]]) -> int:
    """Return the bytes of the elements that shapes touch, each counted once."""
    total = 0
    for ref, shape in dict.fromkeys(places):
        sizes = [n for n, s in zip(shape, ref.strides, strict=True) if s or n == 0]
        total += numel(tuple(sizes)) * itemsize(ref.dtype)
    return total
