"""Launches on the CPU: which form, which table, how many threads. See `launch`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

from .kernels import compiler, loops, tasks
from .kernels.cpu.emit import emit
from .kernels.expr import var
from .kernels.loops import ANY, UNIT, ZERO, Nest, Operand, Reduction, itemsize
from .launch_parts import (
    Body,
    Input,
    Reduced,
    Steps,
    Strides,
    crossing_dim,
    elementwise_nest,
    prefer_outer,
    reduction_nest,
    step_of,
)
from .layout import collapse, contiguous_strides, numel

#: points times cost from which threads pay: an add of about 50,000 float32
THREADED_WORK = 160_000
#: the least work worth giving to one thread
_GRAIN_WORK = 50_000


#: bytes of results from which they are written around the cache
STREAMED_BYTES = 24 << 20
#: elements of the innermost loop that are worth it
STREAMED_ROW = 256
#: the cost of a point up to which memory is what a kernel waits for
_STREAMED_COST = 6


def _streamed(
    points: int, row: int, dtypes: Sequence[str], steps: Sequence[str]
) -> bool:
    """Whether to write results of `dtypes` at `points` around the cache.

    `row` is the length of the innermost loop. A line that is written whole, and not
    by way of the cache, is not read first; but who needs it soon finds it only in
    memory. So this is for what no cache would keep.
    """
    if row < STREAMED_ROW or any(step != UNIT for step in steps):
        return False
    return points * sum(map(itemsize, dtypes)) >= STREAMED_BYTES


_kernels: dict[Hashable, tuple[compiler.Kernel, int]] = {}


def _kernel(key: Hashable, make: Callable[[], Nest]) -> tuple[compiler.Kernel, int]:
    found = _kernels.get(key)
    if found is None:
        nest = make()
        name, source, cost = emit(nest)
        if nest.streamed and cost > _STREAMED_COST:
            name, source, cost = emit(replace(nest, streamed=False))
        found = _kernels[key] = (compiler.load(name, source), cost)
    return found


class Launch:
    """One kernel call without its addresses.

    `run(kernel, n, *pointers, table, *scalars)` performs it. `grain` is the least share
    of n worth a thread, 0 if it uses none; `floating` says which scalars are floats.
    """

    __slots__ = (
        "run", "kernel", "n", "table", "source", "grain", "floating", "_table"
    )  # fmt: skip

    def __init__(
        self,
        kernel: compiler.Kernel,
        n: int,
        points: int,
        cost: int,
        table: Any = None,
        scalars: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.kernel = kernel.address
        self.source = kernel.path
        self.n = n
        self._table = table
        self.table = ctypes.addressof(table) if table is not None else 0
        work = points * cost
        self.grain = 0
        self.floating = floating = [d.startswith("float") for _, d in scalars]
        if work >= THREADED_WORK and n > 1:
            self.grain = max(1, _GRAIN_WORK * n // work)
            self.run = _threaded_run(floating, self.grain)
        elif not any(floating):
            self.run = compiler.runner("serial")
        elif len(floating) == 1:
            self.run = compiler.runner("serial_float")
        else:
            self.run = _packed_run(floating)


def _packer(floating: list[bool]) -> Callable[[tuple[Any, ...]], list[int]]:
    """Return what turns trailing scalars into slots: the bits of floats."""
    count = len(floating)

    def pack(slots: tuple[Any, ...]) -> list[int]:
        packed = list(slots)
        for k, is_float in enumerate(floating):
            if is_float:
                bits = ctypes.c_int64.from_buffer(ctypes.c_double(packed[k - count]))
                packed[k - count] = bits.value
        return packed

    return pack


def _packed_run(floating: list[bool]) -> Callable[..., None]:
    pack = _packer(floating)

    def run(kernel: int, n: int, *slots: Any) -> None:
        compiler.runner("serial")(kernel, n, *pack(slots))

    return run


def _threaded_run(floating: list[bool], grain: int) -> Callable[..., None]:
    pack = _packer(floating)

    def run(kernel: int, n: int, *slots: Any) -> None:
        compiler.run_threaded(kernel, n, pack(slots), grain)

    return run


def elementwise(
    shape: Sequence[int],
    outputs: Sequence[tuple[str, Strides]],
    inputs: Sequence[Input],
    body: Body,
) -> Launch:
    """Plan a nest that stores `body`'s results at every point of `shape`.

    `outputs` are (dtype, strides); strides of inputs have 0 where they broadcast.
    """
    strides = [s for _, s in outputs] + [i.strides for i in inputs]
    dims, merged = collapse(tuple(shape), strides)
    points = numel(dims)
    steps = tuple(step_of(dims[-1], s[-1]) for s in merged)
    if points == 1:
        steps = (UNIT,) * len(merged)
    flat = len(dims) == 1 and ANY not in steps and ZERO not in steps[: len(outputs)]
    dtypes = tuple(d for d, _ in outputs) + tuple(i.dtype for i in inputs)
    crossing = None if flat else crossing_dim(dims, merged, steps, 32, _TILED_POINTS)
    form = "flat" if flat else "strided" if crossing is None else "tiled"
    written = [d for d, _ in outputs]
    streamed = crossing is None and _streamed(
        points, dims[-1], written, steps[: len(outputs)]
    )

    def make() -> Nest:
        nest = elementwise_nest(form, written, inputs, body, steps)
        return replace(nest, streamed=streamed)

    key = (body.key, form, steps, dtypes, body.scalars, streamed)
    kernel, cost = _kernel(key, make)
    if crossing is not None:
        order = [d for d in range(len(dims) - 1) if d != crossing]
        order += [crossing, len(dims) - 1]
        table, tiles = loops.tiled_table(
            [dims[d] for d in order], [[s[d] for d in order] for s in merged]
        )
        return Launch(kernel, tiles, points, cost, table, body.scalars)
    table = None if flat else loops.strided_table(dims, merged)
    return Launch(kernel, points, points, cost, table, body.scalars)


#: below this many points everything is in cache, and tiles are only overhead
_TILED_POINTS = 16384


def reduction(
    shape: Sequence[int],
    dims: frozenset[int],
    results: Sequence[Reduced],
    stores: Sequence[tuple[str, Strides]],
    inputs: Sequence[Input],
    body: Body,
) -> Steps:
    """Plan a nest that reduces `dims` of `shape`, and may store at every point too.

    Results are contiguous over the kept dims in their order. `body` returns the
    stored values, then the values to reduce. Pointers of `Steps.run`: stores,
    results, inputs.
    """
    moving = [s for _, s in stores] + [i.strides for i in inputs]
    kept = [d for d in range(len(shape)) if d not in dims]
    reduced = [d for d in range(len(shape)) if d in dims]

    def part(which: list[int], reorder: bool) -> tuple[tuple[int, ...], list[Strides]]:
        sizes = tuple(shape[d] for d in which)
        return collapse(
            sizes, [tuple(s[d] for d in which) for s in moving], reorder=reorder
        )

    kept_dims, kept_strides = part(kept, False)
    red_dims, red_strides = part(reduced, True)
    count, total = numel(kept_dims), numel(red_dims)
    outer = prefer_outer(kept_dims, kept_strides, red_dims, red_strides)
    block = loops.OUTER_BLOCK if outer else loops.INNER_BLOCK
    blocks = 1
    if total > 2 * block and (outer or count < 64):
        blocks = -(-total // block)
    else:
        block = max(total, 1)
    pointers = len(stores) + len(results) + len(inputs)
    first = _reduce_once(
        outer, kept_dims, kept_strides, red_dims, red_strides,
        [r if blocks == 1 else _raw(r, outer) for r in results],
        [d for d, _ in stores], inputs, body, blocks, block,
    )  # fmt: skip
    if blocks == 1:
        return Steps([(first, list(range(pointers)))], [], len(results))
    buffers = [-1 - k for k in range(len(results))]
    sources = list(range(len(stores))) + buffers
    sources += list(range(len(stores) + len(results), pointers))
    launches = [(first, sources)]
    partial = [_raw(r, outer).dtype for r in results]
    scratch = [count * blocks * itemsize(d) for d in partial]
    for k, r in enumerate(results):
        second = _second(outer, count, blocks, r, partial[k], body, k)
        for launch, where in second.launches:
            ends = [-1 - k, len(stores) + k]
            # the second plan's pointers are (result, partials); deeper scratch shifts
            moved = [
                ends[1] if w == 0 else ends[0] if w == 1 else w - len(scratch)
                for w in where
            ]
            launches.append((launch, moved))
        scratch += second.scratch
    return Steps(launches, scratch, len(results))


def _raw(result: Reduced, outer: bool) -> Reduced:
    """The partial result of a block: nothing finished, parts as wide as totals."""
    dtype = result.combine.total_dtype(result.dtype)
    if outer:
        dtype = result.dtype
    return Reduced(dtype, result.combine)


def _second(
    outer: bool,
    count: int,
    blocks: int,
    result: Reduced,
    dtype: str,
    body: Body,
    which: int,
) -> Steps:
    """Join the partial results of the blocks."""
    shape = (blocks, count) if outer else (count, blocks)
    source = Input("partial", dtype, contiguous_strides(shape))
    joining = Body(
        ("join", body.key, which, result.combine.name),
        f"{body.name}_join",
        lambda operands: [operands["partial"]],
        body.scalars,
    )
    return reduction(
        shape, frozenset([0 if outer else 1]), [result], [], [source], joining
    )


def _reduce_once(
    outer: bool,
    kept: Sequence[int],
    kept_strides: Sequence[Strides],
    reduced: Sequence[int],
    reduced_strides: Sequence[Strides],
    results: Sequence[Reduced],
    stores: Sequence[str],
    inputs: Sequence[Input],
    body: Body,
    blocks: int,
    block: int,
) -> Launch:
    inner_strides = kept_strides if outer else reduced_strides
    innermost = kept[-1] if outer else reduced[-1]
    steps = tuple(step_of(innermost, s[-1]) for s in inner_strides)
    form = "outer" if outer else "inner"
    points = numel(kept) * max(1, numel(reduced))
    streamed = not outer and _streamed(points, innermost, stores, steps[: len(stores)])

    def make() -> Nest:
        nest = reduction_nest(form, results, stores, inputs, body, steps)
        return replace(nest, streamed=streamed)

    key = (
        body.key, form, steps, tuple(stores), tuple(i.dtype for i in inputs),
        tuple((r.dtype, r.combine.name, r.finish is None) for r in results),
        body.scalars, streamed,
    )  # fmt: skip
    kernel, cost = _kernel(key, make)
    if outer:
        table, tasks = loops.outer_table(
            kept, kept_strides, reduced, reduced_strides, blocks, block
        )
    else:
        table = loops.inner_table(
            kept, kept_strides, reduced, reduced_strides, blocks, block
        )
        tasks = numel(kept) * blocks
    return Launch(kernel, tasks, points, cost, table, body.scalars)


def arg_extreme(
    shape: Sequence[int],
    dims: Sequence[int],
    strides: Strides,
    dtype: str,
    largest: bool,
) -> Launch:
    """Plan the search for the place of the largest or smallest element.

    Pointers: values (contiguous over the kept dims), int64 places, the input. Places
    count the reduced dims in their order; of equal elements the first is found.
    """
    which = set(dims)
    kept = [d for d in range(len(shape)) if d not in which]
    reduced = [d for d in range(len(shape)) if d in which]

    def part(chosen: list[int]) -> tuple[tuple[int, ...], list[Strides]]:
        sizes = tuple(shape[d] for d in chosen)
        return collapse(sizes, [tuple(strides[d] for d in chosen)], reorder=False)

    kept_dims, kept_strides = part(kept)
    red_dims, red_strides = part(reduced)
    step = step_of(red_dims[-1], red_strides[0][-1])
    if step == ZERO:
        step = ANY
    name = "argmax" if largest else "argmin"
    combine = loops.COMBINES["max" if largest else "min"]

    def make() -> Nest:
        x = Operand("x", dtype, step)
        value = var(x.value, dtype)
        return Nest(
            name,
            "arg",
            (x,),
            (),
            (
                Reduction(Operand("value", dtype), combine, value),
                Reduction(Operand("place", "int64"), combine, value),
            ),
        )

    kernel, cost = _kernel((name, dtype, step), make)
    table = loops.inner_table(
        kept_dims, kept_strides, red_dims, red_strides, 1, numel(red_dims)
    )
    tasks = numel(kept_dims)
    return Launch(kernel, tasks, tasks * numel(red_dims), cost, table)


def by_tasks(wanted: tasks.Tasks, n: int, numbers: Sequence[int], cost: int) -> Launch:
    """Plan n tasks of a kernel written by hand, each as dear as `cost` additions."""
    found = _by_hand.get(wanted.key)
    if found is None:
        found = _by_hand[wanted.key] = compiler.load(*tasks.emit_cpu(wanted))
    table = (ctypes.c_int64 * len(numbers))(*numbers) if numbers else None
    return Launch(found, n, n, cost, table, wanted.scalars)


_by_hand: dict[Hashable, compiler.Kernel] = {}
