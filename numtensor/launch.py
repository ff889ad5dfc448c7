"""From shapes and strides to kernel calls: which form, which table, how many threads.

A `Launch` is everything about a call that does not depend on addresses, worked out
once per combination of layouts. Comes from `elementwise` and `reduce`; knows dtypes
and strides, never Tensor or tape. Kernels trust what they are given here, so shapes
and dtypes are checked before anybody comes in.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from .kernels import compiler, loops
from .kernels.cpu.emit import emit
from .kernels.expr import Expr, cast, var
from .kernels.loops import ANY, UNIT, ZERO, Combine, Nest, Operand, Reduction, Store
from .layout import collapse, contiguous_strides, numel
from .storage import allocate

Strides = tuple[int, ...]

#: points times cost from which threads pay: an add of about 50,000 float32
THREADED_WORK = 160_000
#: the least work worth giving to one thread
_GRAIN_WORK = 50_000


@dataclass(frozen=True)
class Input:
    """A tensor that a nest reads: name in the source, dtype, strides in its space."""

    name: str
    dtype: str
    strides: Strides


@dataclass(frozen=True)
class Body:
    """What a nest computes, given the loaded operands and the scalars by name.

    `key` identifies the body: kernels are cached by it and by dtypes and layout.
    """

    key: Hashable
    name: str
    build: Callable[[dict[str, Expr]], list[Expr]]
    scalars: tuple[tuple[str, str], ...] = ()


_kernels: dict[Hashable, tuple[compiler.Kernel, int]] = {}


def _kernel(key: Hashable, make: Callable[[], Nest]) -> tuple[compiler.Kernel, int]:
    found = _kernels.get(key)
    if found is None:
        name, source, cost = emit(make())
        found = _kernels[key] = (compiler.load(name, source), cost)
    return found


class Launch:
    """One kernel call without its addresses.

    `run(kernel, n, *pointers, table, *scalars)` performs it.
    """

    __slots__ = ("run", "kernel", "n", "table", "source", "_table")

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
        floating = [d.startswith("float") for _, d in scalars]
        if work >= THREADED_WORK and n > 1:
            self.run = _threaded_run(floating, max(1, _GRAIN_WORK * n // work))
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


def _variables(
    inputs: Sequence[Operand], scalars: Sequence[tuple[str, str]]
) -> dict[str, Expr]:
    found = {o.name: var(o.value, o.dtype) for o in inputs}
    return found | {name: var(name, dtype) for name, dtype in scalars}


def _step(size: int, stride: int) -> str:
    return UNIT if size == 1 else loops.step_class(stride)


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
    steps = tuple(_step(dims[-1], s[-1]) for s in merged)
    if points == 1:
        steps = (UNIT,) * len(merged)
    flat = len(dims) == 1 and ANY not in steps and ZERO not in steps[: len(outputs)]
    dtypes = tuple(d for d, _ in outputs) + tuple(i.dtype for i in inputs)
    crossing = None if flat else _crossing(dims, merged, steps)
    form = "flat" if flat else "strided" if crossing is None else "tiled"

    def make() -> Nest:
        operands = [
            Operand(i.name, i.dtype, step)
            for i, step in zip(inputs, steps[len(outputs) :], strict=True)
        ]
        values = body.build(_variables(operands, body.scalars))
        stores = []
        for k, (dtype, _) in enumerate(outputs):
            name = "out" if len(outputs) == 1 else f"out{k}"
            operand = Operand(name, dtype, steps[k])
            stores.append(Store(operand, cast(values[k], dtype)))
        return Nest(body.name, form, tuple(operands), tuple(stores), (), body.scalars)

    key = (body.key, form, steps, dtypes, body.scalars)
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


def _crossing(
    dims: Sequence[int], strides: Sequence[Strides], steps: Sequence[str]
) -> int | None:
    """Return the dim along which some operand lies closer than along the innermost.

    None if there is none, or too little to gain by going square by square.
    """
    if len(dims) < 2 or dims[-1] < 32 or numel(dims) < _TILED_POINTS:
        return None
    for s, step in zip(strides, steps, strict=True):
        if step == ANY:
            d = min(range(len(dims) - 1), key=lambda k: s[k])
            if 0 < s[d] < s[-1] and dims[d] >= 32:
                return d
    return None


@dataclass(frozen=True)
class Reduced:
    """One reduced result of a nest: its dtype, how values join, the last step."""

    dtype: str
    combine: Combine
    finish: Callable[[Expr], Expr] | None = None


class Steps:
    """Launches that follow each other through scratch memory."""

    __slots__ = ("launches", "scratch", "outputs", "only")

    def __init__(
        self,
        launches: list[tuple[Launch, list[int]]],
        scratch: list[int],
        outputs: int,
    ) -> None:
        # each launch with where its pointers come from: >= 0 an argument of `run`,
        # < 0 a scratch buffer
        self.launches = launches
        self.scratch = scratch  # bytes of each buffer
        self.outputs = outputs
        # one launch whose pointers are the arguments as they come
        self.only = launches[0][0] if len(launches) == 1 and not scratch else None

    def run(self, pointers: Sequence[int], scalars: Sequence[Any] = ()) -> None:
        """Perform the launches; `pointers` are the outputs, then the inputs."""
        launch = self.only
        if launch is not None:
            launch.run(launch.kernel, launch.n, *pointers, launch.table, *scalars)
            return
        buffers = [allocate(nbytes) for nbytes in self.scratch]
        for launch, sources in self.launches:
            slots = [
                pointers[k] if k >= 0 else buffers[-1 - k].pointer for k in sources
            ]
            launch.run(launch.kernel, launch.n, *slots, launch.table, *scalars)


_ITEMSIZE = {"bool": 1, "uint8": 1, "int8": 1, "int16": 2, "int32": 4, "float32": 4}


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
    outer = _prefer_outer(kept_dims, kept_strides, red_dims, red_strides)
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
    scratch = [count * blocks * _ITEMSIZE.get(d, 8) for d in partial]
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


def _prefer_outer(
    kept: Sequence[int],
    kept_strides: Sequence[Strides],
    reduced: Sequence[int],
    reduced_strides: Sequence[Strides],
) -> bool:
    """Whether the innermost loop should run along kept elements.

    It should where those are closer together in memory, unless there are so few of
    them that the loop would be all overhead.
    """
    if kept[-1] < 8:
        return False
    if numel(reduced) <= 1:
        return True
    votes = 0
    for k, r in zip(kept_strides, reduced_strides, strict=True):
        if k[-1] != r[-1]:
            near_kept = r[-1] == 0 or (k[-1] != 0 and k[-1] < r[-1])
            votes += 1 if near_kept else -1
    return votes > 0


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
    steps = tuple(_step(innermost, s[-1]) for s in inner_strides)
    form = "outer" if outer else "inner"

    def make() -> Nest:
        operands = [
            Operand(i.name, i.dtype, step)
            for i, step in zip(inputs, steps[len(stores) :], strict=True)
        ]
        values = body.build(_variables(operands, body.scalars))
        written = [
            Store(Operand(f"out{k}", d, steps[k]), cast(values[k], d))
            for k, d in enumerate(stores)
        ]
        reductions = []
        for k, r in enumerate(results):
            name = "out" if len(results) == 1 else f"total{k}"
            value = values[len(stores) + k]
            reductions.append(
                Reduction(Operand(name, r.dtype), r.combine, value, r.finish)
            )
        return Nest(
            body.name, form, tuple(operands), tuple(written), tuple(reductions),
            body.scalars,
        )  # fmt: skip

    key = (
        body.key, form, steps, tuple(stores), tuple(i.dtype for i in inputs),
        tuple((r.dtype, r.combine.name, r.finish is None) for r in results),
        body.scalars,
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
    points = numel(kept) * max(1, numel(reduced))
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
    step = _step(red_dims[-1], red_strides[0][-1])
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
