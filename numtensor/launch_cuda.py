"""Launches on CUDA devices: which form, which table, which grid. See `launch`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from . import device_memory, device_tables
from .devices import device as Device
from .kernels import tasks
from .kernels.cuda import driver, geometry, random
from .kernels.cuda import matmul as products
from .kernels.cuda.emit import emit, strided_table, tiled_table, vector_width
from .kernels.cuda.reduce_emit import reduction_table
from .kernels.expr import var
from .kernels.loops import (
    ACROSS,
    ANY,
    COMBINES,
    UNIT,
    ZERO,
    Nest,
    Operand,
    Reduction,
    itemsize,
)
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
from .storage import Storage

_kernels: dict[Hashable, Any] = {}


def kernel(key: Hashable, make: Callable[[], tuple[str, str]]) -> Any:
    """Return the kernel of a key; `make` prints it the first time."""
    found = _kernels.get(key)
    if found is None:
        found = _kernels[key] = driver.current().load(*make())
    return found


def forget() -> None:
    """Forget the kernels of a driver that is gone."""
    _kernels.clear()
    _properties.clear()


_properties: dict[Device, Any] = {}


def properties(on: Device) -> Any:
    """Return what a device is."""
    found = _properties.get(on)
    if found is None:
        assert on.index is not None
        found = _properties[on] = driver.current().properties(on.index)
    return found


def shape_of() -> geometry.Geometry:
    """Return the sizes of blocks and pieces on this process's devices."""
    return geometry.of(driver.current().simulated)


class Launch:
    """One kernel call on a device without its addresses."""

    __slots__ = ("run", "kernel", "n", "table", "source", "_table")

    run: Callable[..., None]

    def __init__(
        self,
        on: Device,
        kernel: Any,
        n: int,
        blocks: int,
        block: int,
        scalars: int,
        numbers: Sequence[int] = (),
        widths: Sequence[int] = (),
        width: int = 1,
    ) -> None:
        """`blocks` are wanted, and as many granted as the device runs well.

        `widths`, of a flat kernel, are the bytes of each operand's vectors, 0 for one
        that is read element by element.
        """
        self.kernel = kernel
        self.source = kernel.path
        self.n = n
        self._table = device_tables.table(on, numbers) if numbers else None
        self.table = self._table.pointer if self._table is not None else 0
        limit = properties(on).multi_processor_count * shape_of().blocks_per_processor
        grid = max(1, min(blocks, limit))
        if widths:
            self.run = _flat_run(on, grid, block, [w - 1 for w in widths], width)
        else:
            self.run = _table_run(on, grid, block, scalars)


def _flat_run(
    on: Device, grid: int, block: int, masks: Sequence[int], width: int
) -> Callable[..., None]:
    api, index, count = driver.current(), on.index, len(masks)
    stream = device_memory.current_stream

    def run(kernel: Any, n: int, *slots: Any) -> None:
        whole = n // width
        for pointer, mask in zip(slots, masks):  # noqa: B905
            if mask > 0 and pointer & mask:
                whole = 0
        args = (*slots[:count], n, whole, *slots[count + 1 :])
        api.launch(index, kernel, grid, block, stream(on), args)  # type: ignore[arg-type]

    return run


def _table_run(on: Device, grid: int, block: int, scalars: int) -> Callable[..., None]:
    api, index = driver.current(), on.index
    stream = device_memory.current_stream

    def run(kernel: Any, n: int, *slots: Any) -> None:
        first = len(slots) - scalars
        args = (*slots[:first], n, *slots[first:])
        api.launch(index, kernel, grid, block, stream(on), args)  # type: ignore[arg-type]

    return run


def elementwise(
    shape: Sequence[int],
    outputs: Sequence[tuple[str, Strides]],
    inputs: Sequence[Input],
    body: Body,
    on: Device,
) -> Launch:
    """See `launch.elementwise`."""
    strides = [s for _, s in outputs] + [i.strides for i in inputs]
    dims, merged = collapse(tuple(shape), strides)
    points = numel(dims)
    steps = tuple(step_of(dims[-1], s[-1]) for s in merged)
    if points == 1:
        steps = (UNIT,) * len(merged)
    flat = len(dims) == 1 and ANY not in steps and ZERO not in steps[: len(outputs)]
    sizes = shape_of()
    crossing = None
    if not flat:
        # stores stay as they are: what is written across goes through no tile
        reads = [(s, c) for s, c in zip(merged, steps, strict=True)][len(outputs) :]
        crossing = crossing_dim(
            dims, [s for s, _ in reads], [c for _, c in reads], sizes.warp, sizes.tiled
        )
    form = "flat" if flat else "strided" if crossing is None else "tiled"
    ranks: tuple[int, ...] = () if flat else (len(dims),)
    if crossing is not None:
        order = [d for d in range(len(dims) - 1) if d != crossing]
        order += [crossing, len(dims) - 1]
        dims = tuple(dims[d] for d in order)
        merged = [tuple(s[d] for d in order) for s in merged]
        ranks = (len(dims) - 2,)
        steps = _turned(steps, merged, inputs, len(outputs), sizes)
    dtypes = tuple(d for d, _ in outputs) + tuple(i.dtype for i in inputs)

    def make() -> tuple[str, str]:
        kinds = [d for d, _ in outputs]
        return emit(elementwise_nest(form, kinds, inputs, body, steps, ranks))

    found = kernel((body.key, form, steps, dtypes, body.scalars, ranks), make)
    if crossing is not None:
        table, tiles = tiled_table(dims, merged, sizes.warp)
        return Launch(on, found, tiles, tiles, sizes.block, len(body.scalars), table)
    block = sizes.elementwise_block
    if not flat:
        table = strided_table(dims, merged)
        blocks = -(-points // block)
        return Launch(on, found, points, blocks, block, len(body.scalars), table)
    moving = [d for d, step in zip(dtypes, steps, strict=True) if step != ZERO]
    width = vector_width(moving)
    widths = [
        0 if step == ZERO else width * itemsize(d)
        for d, step in zip(dtypes, steps, strict=True)
    ]
    blocks = -(-points // (block * width))
    return Launch(
        on, found, points, blocks, block, len(body.scalars), (), widths, width
    )


#: shared memory that every device has for a block, less what it keeps for itself
_SHARED_BYTES = 47 * 1024


def _turned(
    steps: Sequence[str],
    strides: Sequence[Strides],
    inputs: Sequence[Input],
    outputs: int,
    sizes: geometry.Geometry,
) -> tuple[str, ...]:
    """Mark the inputs that pass through a tile: those that run across the last dim, as
    many as shared memory has room for."""
    found = list(steps)
    room = _SHARED_BYTES
    for k, i in enumerate(inputs, outputs):
        tile = sizes.warp * (sizes.warp + 1) * itemsize(i.dtype)
        if found[k] == ANY and 0 < strides[k][-2] < strides[k][-1] and tile <= room:
            found[k] = ACROSS
            room -= tile
    return tuple(found)


def _parts(
    shape: Sequence[int],
    dims: frozenset[int] | set[int],
    moving: Sequence[Strides],
    reorder: bool,
) -> tuple[Any, Any, Any, Any]:
    """Return sizes and strides of the kept dims, then of the reduced ones, the latter
    in the order of memory if `reorder`."""

    def part(which: list[int], reorder: bool) -> tuple[tuple[int, ...], list[Strides]]:
        sizes = tuple(shape[d] for d in which)
        return collapse(
            sizes, [tuple(s[d] for d in which) for s in moving], reorder=reorder
        )

    kept = part([d for d in range(len(shape)) if d not in dims], False)
    return (*kept, *part([d for d in range(len(shape)) if d in dims], reorder))


def _cut(form: str, count: int, total: int) -> tuple[int, int]:
    """Return into how many blocks reduced elements are cut, and their length."""
    sizes = shape_of()
    long, few = sizes.row, sizes.few_rows
    if form == "columns":
        long, few = sizes.column, sizes.few_columns
    if count < few and total > 2 * long:
        return -(-total // long), long
    return 1, max(total, 1)


def reduction(
    shape: Sequence[int],
    dims: frozenset[int],
    results: Sequence[Reduced],
    stores: Sequence[tuple[str, Strides]],
    inputs: Sequence[Input],
    body: Body,
    on: Device,
) -> Steps:
    """See `launch.reduction`."""
    moving = [s for _, s in stores] + [i.strides for i in inputs]
    kept, kept_strides, reduced, reduced_strides = _parts(shape, dims, moving, True)
    count, total = numel(kept), numel(reduced)
    form = "rows"
    if prefer_outer(kept, kept_strides, reduced, reduced_strides):
        form = "columns"
    blocks, block = _cut(form, count, total)
    if form == "rows" and blocks == 1 and total <= shape_of().short:
        form = "warp_rows"
    pointers = len(stores) + len(results) + len(inputs)
    first = _reduce_once(
        form, kept, kept_strides, reduced, reduced_strides,
        [r if blocks == 1 else _raw(r) for r in results],
        [d for d, _ in stores], inputs, body, blocks, block, on,
    )  # fmt: skip

    def scratch_on(nbytes: int) -> Storage:
        return device_memory.allocate(on, nbytes)

    if blocks == 1:
        whole = list(range(pointers))
        return Steps([(first, whole)], [], len(results), scratch_on)
    sources = list(range(len(stores))) + [-1 - k for k in range(len(results))]
    sources += list(range(len(stores) + len(results), pointers))
    launches: list[tuple[Any, list[int]]] = [(first, sources)]
    scratch = [count * blocks * itemsize(_raw(r).dtype) for r in results]
    for k, r in enumerate(results):
        joining = Body(
            ("join", body.key, k, r.combine.name),
            f"{body.name}_join",
            lambda operands: [operands["partial"]],
            body.scalars,
        )
        parts = (blocks, count) if form == "columns" else (count, blocks)
        source = Input("partial", _raw(r).dtype, contiguous_strides(parts))
        which = frozenset([0 if form == "columns" else 1])
        second = reduction(parts, which, [r], [], [source], joining, on)
        launches += second_launches(second, -1 - k, len(stores) + k, len(scratch))
        scratch += second.scratch
    return Steps(launches, scratch, len(results), scratch_on)


def second_launches(
    second: Steps, partial: int, result: int, before: int
) -> list[tuple[Any, list[int]]]:
    """Return launches of (result, partial) with pointers of the whole; their scratch
    buffers come after the `before` that there are."""
    places = {0: result, 1: partial}
    return [
        (call, [places[w] if w >= 0 else w - before for w in where])
        for call, where in second.launches
    ]


def _raw(result: Reduced) -> Reduced:
    """The partial result of a block: nothing finished, as wide as totals."""
    return Reduced(result.combine.total_dtype(result.dtype), result.combine)


def _reduce_once(
    form: str,
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
    on: Device,
) -> Launch:
    columns = form == "columns"
    inner, innermost = (
        (kept_strides, kept[-1]) if columns else (reduced_strides, reduced[-1])
    )
    steps = tuple(step_of(innermost, s[-1]) for s in inner)
    ranks = (len(kept), len(reduced))

    def make() -> tuple[str, str]:
        return emit(reduction_nest(form, results, stores, inputs, body, steps, ranks))

    key = (
        body.key, form, steps, ranks, tuple(stores), tuple(i.dtype for i in inputs),
        tuple((r.dtype, r.combine.name, r.finish is None) for r in results),
        body.scalars,
    )  # fmt: skip
    count = numel(kept)
    table = reduction_table(
        count if columns else blocks, block, kept, kept_strides, reduced,
        reduced_strides,
    )  # fmt: skip
    tasks = count * blocks
    return _tasks(on, form, kernel(key, make), tasks, table, len(body.scalars))


def _tasks(
    on: Device, form: str, found: Any, tasks: int, table: list[int], scalars: int
) -> Launch:
    sizes = shape_of()
    block = sizes.block
    each = {"columns": block, "warp_rows": block // sizes.warp}.get(form, 1)
    return Launch(on, found, tasks, -(-tasks // each), block, scalars, table)


def arg_extreme(
    shape: Sequence[int],
    dims: Sequence[int],
    strides: Strides,
    dtype: str,
    largest: bool,
    on: Device,
) -> Steps:
    """See `launch.arg_extreme`."""
    kept, kept_strides, reduced, reduced_strides = _parts(
        shape, set(dims), [strides], False
    )
    count, total = numel(kept), numel(reduced)
    blocks, block = _cut("rows", count, total)

    def search(
        kept: Any, kept_strides: Any, reduced: Any, strides: Any, blocks: int,
        block: int, joining: bool,
    ) -> Launch:  # fmt: skip
        steps = tuple(step_of(reduced[-1], s[-1]) for s in strides)
        ranks = (len(kept), len(reduced))
        name = ("argmax" if largest else "argmin") + ("_join" if joining else "")

        def make() -> tuple[str, str]:
            inputs = [Operand("x", dtype, steps[0])]
            if joining:
                inputs.append(Operand("at", "int64", steps[1]))
            value = var(inputs[0].value, dtype)
            combine = COMBINES["max" if largest else "min"]
            results = (
                Reduction(Operand("value", dtype), combine, value),
                Reduction(Operand("place", "int64"), combine, value),
            )
            nest = Nest(name, "search", tuple(inputs), (), results, (), ranks)
            return emit(nest)

        table = reduction_table(blocks, block, kept, kept_strides, reduced, strides)
        found = kernel((name, dtype, steps, ranks), make)
        return _tasks(on, "search", found, numel(kept) * blocks, table, 0)

    first = search(kept, kept_strides, reduced, reduced_strides, blocks, block, False)
    if blocks == 1:
        return Steps([(first, [0, 1, 2])], [], 2)
    second = search(
        (count,), [(blocks,), (blocks,)], (blocks,), [(1,), (1,)], 1, blocks, True
    )
    scratch = [count * blocks * itemsize(dtype), count * blocks * 8]
    launches = [(first, [-1, -2, 2]), (second, [0, 1, -1, -2])]
    return Steps(
        launches, scratch, 2, lambda nbytes: device_memory.allocate(on, nbytes)
    )


def random_fill(
    family: str, dtype: str, size: int, parameters: Sequence[Any], on: Device
) -> Callable[..., None]:
    """Return what fills memory with random numbers: `run(address, seed, offset,
    counters, n)`."""
    found = kernel(("random", family, dtype), lambda: random.emit(family, dtype))
    api, index, block = driver.current(), on.index, shape_of().elementwise_block
    limit = properties(on).multi_processor_count * shape_of().blocks_per_processor
    mask = size * itemsize(dtype) - 1

    def run(address: int, seed: int, offset: int, counters: int, n: int) -> None:
        if not n:
            return
        whole = 0 if address & mask else n // size
        grid = max(1, min(-(-counters // block), limit))
        args = (address, seed, offset, counters, whole, n, *parameters)
        stream = device_memory.current_stream(on)
        api.launch(index, found, grid, block, stream, args)  # type: ignore[arg-type]

    return run


def matmul(
    sizes: tuple[int, int, int],
    dtype: str,
    batch: tuple[int, ...],
    a: Strides,
    b: Strides,
    on: Device,
) -> Launch:
    """Plan the products of stacks of matrices; `sizes` are (rows, columns, depth).

    `a` and `b` are strides in the batch dims, then in the matrices. Pointers: the
    result, contiguous, then a and b.
    """
    dims, strides = collapse(batch, [a[:-2], b[:-2]], reorder=False)
    a_along = "row" if a[-2] == 1 and a[-1] != 1 else "depth"
    b_along = "depth" if b[-2] == 1 and b[-1] != 1 else "column"
    rank = len(dims)
    found = kernel(
        ("matmul", dtype, a_along, b_along, rank),
        lambda: products.emit(dtype, a_along, b_along, rank),
    )
    tile = shape_of().tile
    table, tiles = products.matmul_table(sizes, a[-2:], b[-2:], tile, dims, strides)
    threads = (tile // products.MICRO) ** 2
    return Launch(on, found, tiles, tiles, threads, 0, table)


def by_tasks(wanted: tasks.Tasks, n: int, numbers: Sequence[int], on: Device) -> Launch:
    """Plan n tasks of a kernel written by hand; see `launch.by_tasks`."""
    found = kernel(("tasks", wanted.key), lambda: tasks.emit_cuda(wanted))
    block = shape_of().elementwise_block
    count = len(wanted.scalars)
    return Launch(on, found, n, -(-n // block), block, count, numbers)
