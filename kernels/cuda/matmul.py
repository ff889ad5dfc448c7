"""Matrix products on CUDA: tiles in shared memory, four by four results to a thread.

A block computes TILE x TILE elements of the result. It takes in TILE x DEPTH of one
matrix and DEPTH x TILE of the other at a time, read once from global memory and TILE
times from shared memory; each thread keeps 16 sums in registers, so that of two reads
from shared memory come two multiplications. The scheme is that of Volkov and Demmel,
"Benchmarking GPUs to tune dense linear algebra", SC'08.

Any strides: threads next to each other read along whichever dim of a matrix lies
together in memory, which is part of the kernel's text.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..text import Source
from .emit import Table, kernel_file, offset, unravel

#: rows and columns of one thread
MICRO = 4


def accumulator(dtype: str) -> str:
    """Return the dtype of sums: floats their own, integers the widest, and wrap."""
    return dtype if dtype.startswith("float") else "int64"


def matmul_table(
    sizes: tuple[int, int, int],
    a_strides: Sequence[int],
    b_strides: Sequence[int],
    tile: int,
    batch: Sequence[int],
    batch_strides: Sequence[Sequence[int]],
) -> tuple[list[int], int]:
    """Return the layout table, and how many tiles there are.

    [rows, columns, depth, strides of a (row, depth), of b (depth, column), tiles
    across, down, batch sizes, batch strides of a, of b], innermost first.
    """
    rows, columns, _ = sizes
    across, down = -(-columns // tile), -(-rows // tile)
    numbers = [*sizes, *a_strides, *b_strides, across, down, *reversed(batch)]
    for strides in batch_strides:
        numbers += reversed(strides)
    tiles = across * down
    for size in batch:
        tiles *= size
    return numbers, tiles


def emit(dtype: str, a_along: str, b_along: str, rank: int) -> tuple[str, str]:
    """Return the name and the source of the product of two stacks of matrices.

    `a_along` is "depth" or "row", `b_along` "column" or "depth": where neighbouring
    threads read. `rank` is the number of batch dims.
    """
    wide = accumulator(dtype)
    source = Source()
    table = Table(source)
    for name in (
        "rows", "columns", "depth", "a_row", "a_depth", "b_depth", "b_column",
        "across", "down",
    ):  # fmt: skip
        table.read(name)
    batch = table.sizes("m", rank)
    strides = [[table.read(f"{x}_m{d}") for d in range(rank)] for x in "ab"]
    source.calls |= {"udiv", "TILE", "DEPTH", wide}
    source.add(
        f"tile_a = cuda.shared.array((DEPTH, TILE), {wide})",
        f"tile_b = cuda.shared.array((DEPTH, TILE), {wide})",
        "thread = cuda.threadIdx.x",
        "threads = cuda.blockDim.x",
        f"my_row = thread // (TILE // {MICRO}) * {MICRO}",
        f"my_column = thread % (TILE // {MICRO}) * {MICRO}",
        "task = cuda.blockIdx.x",
    )
    source.open("while task < tasks:")
    source.add(
        "place = udiv(task, across)",
        "first_column = (task - place * across) * TILE",
        "number = udiv(place, down)",
        "first_row = (place - number * down) * TILE",
    )
    places = unravel(source, "number", batch, "at")
    for x, steps in zip("ab", strides, strict=True):
        source.add(f"{x}_base = {offset(places, steps)}")
    every = [(r, c) for r in range(MICRO) for c in range(MICRO)]
    source.add(*(f"sum{r}{c} = {wide}(0)" for r, c in every))
    source.add("start = 0")
    source.open("while start < depth:")
    source.add("e = thread")
    source.open("while e < DEPTH * TILE:")
    _take_in(source, "a", "r", a_along == "depth", dtype, wide)
    _take_in(source, "b", "c", b_along == "depth", dtype, wide)
    source.add("e += threads")
    source.close()
    source.add("cuda.syncthreads()")
    source.open("for k in range(DEPTH):")
    source.add(*(f"a{r} = tile_a[k, my_row + {r}]" for r in range(MICRO)))
    source.add(*(f"b{c} = tile_b[k, my_column + {c}]" for c in range(MICRO)))
    source.add(*(f"sum{r}{c} += a{r} * b{c}" for r, c in every))
    source.close()
    source.add("cuda.syncthreads()", "start += DEPTH")
    source.close()
    source.add(
        "row = first_row + my_row",
        "column = first_column + my_column",
        "here = (number * rows + row) * columns + column",
    )
    for r in range(MICRO):
        source.open(f"if row + {r} < rows:")
        for c in range(MICRO):
            source.open(f"if column + {c} < columns:")
            source.add(f"out[here + {c}] = {_result(f'sum{r}{c}', dtype, source)}")
            source.close()
        source.close()
        source.add("here += columns")
    source.add("task += cuda.gridDim.x")
    source.close()
    parameters = [(x, f"{dtype}*") for x in ("out", "a", "b")]
    parameters += [("table", "int64*"), ("tasks", "int64")]
    title = f"matmul on CUDA: {dtype}, a read along {a_along}, b along {b_along}."
    return "matmul", kernel_file("matmul", title, parameters, source)


def _take_in(
    source: Source, x: str, line: str, along_depth: bool, dtype: str, wide: str
) -> None:
    """Print the reading of one element of a tile, 0 outside the matrix."""
    if along_depth:
        source.add(f"{line} = e // DEPTH", f"k = e - {line} * DEPTH")
    else:
        source.add("k = e // TILE", f"{line} = e - k * TILE")
    if x == "a":
        first, size, stride = "first_row", "rows", "a_row"
    else:
        first, size, stride = "first_column", "columns", "b_column"
    place = f"{x}_base + ({first} + {line}) * {stride} + (start + k) * {x}_depth"
    value = f"{x}[{place}]" if dtype == wide else f"{wide}({x}[{place}])"
    source.add(f"{x}_value = {wide}(0)")
    source.open(f"if {first} + {line} < {size} and start + k < depth:")
    source.add(f"{x}_value = {value}")
    source.close()
    source.add(f"tile_{x}[k, {line}] = {x}_value")


def _result(name: str, dtype: str, source: Source) -> str:
    if dtype == "bool":
        return f"{name} != 0"
    if dtype == accumulator(dtype):
        return name
    return f"{source.word(dtype)}({name})"
