"""Loop nests: what is computed, over which index space, with which operands.

A `Nest` names no sizes and no addresses, only the classes that change the emitted
text, so one compiled kernel serves every shape of its class. Sizes and strides reach
it at run time in a layout table, whose builders are here beside the forms they serve.
Knows dtypes, never Tensor, tape or names.

Forms
    flat     elementwise over [lo, hi); operands are contiguous or one value
    strided  elementwise over collapsed dims; the innermost stride of an operand is
             1, 0 or anything
    tiled    as strided, but square by square: for operands that run across each
             other, as x and x.T do
    inner    reductions whose innermost loop runs over reduced elements
    outer    reductions whose innermost loop runs over kept elements
    arg      the largest or smallest element and where it stands

The forms of CUDA kernels are in `cuda.emit`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .expr import Expr

UNIT, ZERO, ANY = "unit", "zero", "any"
#: of an operand whose neighbours along the next dim lie closer than along this one
ACROSS = "across"

#: elements that one accumulator run of `inner` adds before it is put aside
SEGMENT = 2048
#: reduced elements of one task of `inner`, rows of one task of `outer`
INNER_BLOCK = 16384
#: elements that wait for being written around the cache, a store of `flat` and
#: `strided`; those of `inner` are a segment
STREAM_BLOCK = 1024
OUTER_BLOCK = 256
#: kept elements of one task of `outer`
OUTER_CHUNK = 4096
#: columns and rows of a tile: a column of the operand that runs across is a line of
#: cache, and eight lines of one power-of-two stride is what an 8-way cache can hold
#: (x + x.T over 4096 x 4096, serial: 25 ms; 83 ms in tiles of 32 x 32)
TILE_ACROSS, TILE_DOWN = 8, 256


_SIZES = {"bool": 1, "uint8": 1, "int8": 1, "int16": 2, "float16": 2}
_SIZES |= {"int32": 4, "float32": 4}


def itemsize(dtype: str) -> int:
    """Return the bytes of one element of a dtype."""
    return _SIZES.get(dtype, 8)


def step_class(stride: int) -> str:
    """Return the class of an innermost stride."""
    return {1: UNIT, 0: ZERO}.get(stride, ANY)


@dataclass(frozen=True)
class Operand:
    """A pointer argument: its name in the source, dtype, innermost stride class."""

    name: str
    dtype: str
    step: str = UNIT

    @property
    def value(self) -> str:
        """The name of the element that the innermost loop has loaded."""
        return f"{self.name}i"


@dataclass(frozen=True)
class Combine:
    """How a reduction joins two values: kernel words, identity, accumulator dtype."""

    name: str
    part: str  # joins two values of the compute dtype; order is free
    identity: Callable[[str], str]  # dtype -> source text

    def total_dtype(self, dtype: str) -> str:
        """The dtype in which parts are put together."""
        wide = self.name in ("sum", "prod") and dtype == "float32"
        return "float64" if wide else dtype


def _lowest(dtype: str) -> str:
    if dtype.startswith("float"):
        return f"{dtype}(-math.inf)"
    if dtype == "bool":
        return "False"
    if dtype.startswith("uint"):
        return f"{dtype}(0)"
    return f"{dtype}({-(2 ** (int(dtype[3:]) - 1))})"


def _highest(dtype: str) -> str:
    if dtype.startswith("float"):
        return f"{dtype}(math.inf)"
    if dtype == "bool":
        return "True"
    if dtype.startswith("uint"):
        return f"{dtype}({2 ** int(dtype[4:]) - 1})"
    return f"{dtype}({2 ** (int(dtype[3:]) - 1) - 1})"


COMBINES = {
    c.name: c
    for c in (
        Combine("sum", "plus({0}, {1})", lambda d: f"{d}(0)"),
        Combine("prod", "times({0}, {1})", lambda d: f"{d}(1)"),
        Combine("max", "maximum({0}, {1})", _lowest),
        Combine("min", "minimum({0}, {1})", _highest),
        Combine("any", "{0} | {1}", lambda d: "False"),
        Combine("all", "{0} & {1}", lambda d: "True"),
    )
}


@dataclass(frozen=True)
class Store:
    """An elementwise result: written at every point of the space."""

    operand: Operand
    value: Expr


@dataclass(frozen=True)
class Reduction:
    """A reduced result, contiguous over the kept dims.

    `value` is what one point contributes; `finish`, if any, turns the total (a
    variable `total` of the total dtype) into what is stored.
    """

    operand: Operand
    combine: Combine
    value: Expr
    finish: Callable[[Expr], Expr] | None = None


@dataclass(frozen=True)
class Nest:
    """A loop nest to print. Slots: stores, reductions, inputs, table, scalars."""

    name: str
    form: str
    inputs: tuple[Operand, ...]
    stores: tuple[Store, ...] = ()
    reductions: tuple[Reduction, ...] = ()
    scalars: tuple[tuple[str, str], ...] = ()  # (name, dtype)
    #: numbers of kept and of reduced dims, on targets whose text depends on them
    ranks: tuple[int, ...] = ()
    #: whether stores wait in a block and are then written around the cache
    streamed: bool = False

    @property
    def moving(self) -> tuple[Operand, ...]:
        """Operands that are indexed by the space: stores, then inputs."""
        return tuple(s.operand for s in self.stores) + self.inputs


Table = ctypes.Array


def _pack(numbers: Sequence[int]) -> Table:
    return (ctypes.c_int64 * len(numbers))(*numbers)


def _dims(dims: Sequence[int], strides: Sequence[Sequence[int]]) -> list[int]:
    """Entries (size, stride of each operand) per dim, innermost first."""
    entries: list[int] = []
    for d in reversed(range(len(dims))):
        entries.append(dims[d])
        entries.extend(s[d] for s in strides)
    return entries


def strided_table(dims: Sequence[int], strides: Sequence[Sequence[int]]) -> Table:
    """Layout table of the `strided` form over `dims` (outermost first).

    [innermost size, number of outer dims, step per operand, outer dims ...]
    """
    outer, around = list(dims[:-1]) or [1], [list(s[:-1]) or [0] for s in strides]
    numbers = [dims[-1], len(outer), *(s[-1] for s in strides)]
    return _pack(numbers + _dims(outer, around))


def tiled_table(
    dims: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[Table, int]:
    """Layout table of the `tiled` form, and how many tiles there are.

    [columns, rows, tiles across, tiles down, outer dims, step per operand,
    row stride per operand, outer dims ...]
    """
    across, down = -(-dims[-1] // TILE_ACROSS), -(-dims[-2] // TILE_DOWN)
    numbers = [dims[-1], dims[-2], across, down, len(dims) - 2]
    numbers += [s[-1] for s in strides] + [s[-2] for s in strides]
    numbers += _dims(dims[:-2], [s[:-2] for s in strides])
    tiles = across * down
    for size in dims[:-2]:
        tiles *= size
    return _pack(numbers), tiles


def inner_table(
    kept: Sequence[int],
    kept_strides: Sequence[Sequence[int]],
    reduced: Sequence[int],
    reduced_strides: Sequence[Sequence[int]],
    blocks: int,
    block: int,
) -> Table:
    """Layout table of the `inner` and `arg` forms.

    [innermost size, reduced total, blocks, block, kept dims, outer reduced dims,
    step per operand, kept dims ..., outer reduced dims ...]
    """
    total = 1
    for size in reduced:
        total *= size
    outer = reduced[:-1]
    numbers = [reduced[-1], total, blocks, block, len(kept), len(outer)]
    numbers += [s[-1] for s in reduced_strides]
    numbers += _dims(kept, kept_strides)
    numbers += _dims(outer, [s[:-1] for s in reduced_strides])
    return _pack(numbers)


def outer_table(
    kept: Sequence[int],
    kept_strides: Sequence[Sequence[int]],
    reduced: Sequence[int],
    reduced_strides: Sequence[Sequence[int]],
    blocks: int,
    block: int,
) -> tuple[Table, int]:
    """Layout table of the `outer` form, and how many tasks it has.

    [innermost size, reduced total, block, kept rows, chunks of a row, chunk,
    outer kept dims, reduced dims, step per operand, outer kept dims ..., reduced ...]
    """
    n = kept[-1]
    rows = 1
    for size in kept[:-1]:
        rows *= size
    total = 1
    for size in reduced:
        total *= size
    chunks = max(1, -(-n // OUTER_CHUNK))
    numbers = [n, total, block, rows, chunks, OUTER_CHUNK]
    numbers += [len(kept) - 1, len(reduced)]
    numbers += [s[-1] for s in kept_strides]
    numbers += _dims(kept[:-1], [s[:-1] for s in kept_strides])
    numbers += _dims(reduced, reduced_strides)
    return _pack(numbers), blocks * rows * chunks
