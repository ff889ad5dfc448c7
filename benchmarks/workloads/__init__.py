"""What is timed: one module per group, each holding a `Group` of makers.

A maker takes the module of its library (`torch` and `numtensor` share the flavour
"torch"; the flavour "jax" gets `jax.numpy`) and its operands, and returns the
callable that is timed. All flavours do the same arithmetic on the same float32
data and allocate their results. Only the standard library is imported here: a
worker has no more than that and the one library it times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

#: the thermometer's readings, and how fast its models learn
T_C = [0.5, 14.0, 15.0, 28.0, 11.0, 8.0, 3.0, -4.0, 6.0, 13.0, 21.0]
T_U = [35.7, 55.9, 58.2, 81.9, 56.3, 48.9, 33.9, 21.8, 48.4, 60.4, 68.4]
LEARNING_RATE = 1e-2
FLAVOURS = {"numtensor": "torch", "torch": "torch", "numpy": "numpy", "jax": "jax"}
Run = Callable[[], Any]
Maker = Callable[..., Run]


@dataclass
class Workload:
    """One timed thing: operands, a maker per flavour, what numtensor is held to.

    `targets` gives, per other library, the largest allowed ratio of times
    (numtensor / other); `margins` the largest allowed difference in seconds.
    """

    name: str
    shapes: Sequence[tuple[int, ...]] = ()
    makers: dict[str, Maker] = field(default_factory=dict)
    targets: Mapping[str, float] = field(default_factory=dict)
    margins: Mapping[str, float] = field(default_factory=dict)

    def make(self, flavour: str, m: Any) -> Run:
        """Return the callable to time, its operands from -4 to 4 in even steps."""
        lines = [m.linspace(-4, 4, prod(s), dtype=m.float32) for s in self.shapes]
        operands = [x.reshape(s) for x, s in zip(lines, self.shapes, strict=True)]
        return self.makers[flavour](m, *operands)


class Group(dict[str, Workload]):
    """Workloads by name, in order of declaration."""

    def add(
        self,
        name: str,
        shapes: Sequence[tuple[int, ...]],
        maker: Maker,
        *flavours: str,
        **targets: float,
    ) -> None:
        """Declare a maker for some flavours (none given: all), and target ratios."""
        workload = self.setdefault(name, Workload(name, shapes, targets=targets))
        workload.makers |= dict.fromkeys(flavours or FLAVOURS.values(), maker)
