"""Launches of groups that go over each row several times: softmax, normalisation.

`sweeps` turns a group (see `jit.ir`) into kernels whose tasks are rows, or blocks of
rows: a *row* is what is reduced for one element of the kept dims. While a row is in
cache, sweep after sweep goes over it, each finding the totals that need those of the
sweep before; then what needs all of them is stored. What is computed when is decided
in `kernels.sweeps`; the texts are printed by `kernels.cpu.sweeps` and
`kernels.cuda.sweeps`, and here are the choices that layouts decide: which form, which
table, how many threads. Knows nothing of traces and programs.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

from .devices import device as Device
from .jit.ir import Group, Ref
from .kernels import compiler
from .kernels.cpu import sweeps as printed
from .kernels.loops import ZERO, itemsize
from .kernels.sweeps import Place, Sweeps, Total, serial
from .launch_cpu import STREAMED_BYTES, STREAMED_ROW, Launch
from .launch_parts import Steps, Strides, prefer_outer, step_of
from .layout import collapse, extent, numel

#: bytes of a block of rows side by side, and how many rows it has: to read narrower
#: ones, far apart, costs more than to read them from a slower cache
_BLOCK_BYTES = 512 * 1024
_LEAST_BLOCK, _MOST_BLOCK = 256, 1024
#: pointers that a kernel can tell apart
_POINTERS = 22


def sweeps(group: Group, on: Device) -> Steps:
    """Plan a group of several sweeps.

    Pointers of `Steps.run`: stores, totals that are stored, inputs, each in the order
    of the group; scalars are those of the group. An element that is stored may be read
    from the same memory, but by the point, or the row, that stores it alone.
    """
    layout = _Layout(group)
    if on.type == "cuda":
        return _cuda(layout, on)
    return _cpu(layout)


class _Layout:
    """A group as dims of rows and dims in a row, collapsed; operands in their order.

    `rows` says of each operand whether it has one element in a row.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        shape, dims = group.shape, group.dims
        kept = [d for d in range(len(shape)) if d not in dims]
        reduced = [d for d in range(len(shape)) if d in dims]
        self.kept, self.reduced = group.kept, tuple(shape[d] for d in reduced)
        self.count, self.total = numel(self.kept), numel(self.reduced)
        self.names: list[str] = []
        self.refs: list[Ref] = []
        self.rows: list[bool] = []
        self.around: list[Strides] = []
        self.along: list[Strides] = []

        def enter(name: str, ref: Ref, row: bool) -> None:
            around, along = ref.strides, (0,) * len(reduced)
            if not row:
                around = tuple(ref.strides[d] for d in kept)
                along = tuple(ref.strides[d] for d in reduced)
            self.names.append(name)
            self.refs.append(ref)
            self.rows.append(row)
            self.around.append(_plain(self.kept, around))
            self.along.append(_plain(self.reduced, along))

        for k, store in enumerate(group.stores):
            enter(f"out{k}", store.ref, store.row)
        for t in group.totals:
            if t.ref is not None:
                enter(f"{t.name}_out", t.ref, True)
        self.written = len(self.names)
        for name, ref in group.inputs:
            enter(f"{name}_in", ref, False)
            self.rows[-1] = not any(self.along[-1])
        self.same = [""] * len(self.names)
        self.late = [False] * len(self.names)
        for k in range(self.written, len(self.names)):
            for w in range(self.written):
                self._share(k, w)

    def _share(self, k: int, w: int) -> None:
        """See whether input k is the memory that is written as w."""
        a, b = self.refs[k], self.refs[w]
        if a.buffer is not b.buffer:
            return
        (lo, hi), (first, last) = self._span(k), self._span(w)
        if hi <= first or last <= lo:
            return
        self.late[w] = True
        if (a.offset, a.dtype, self.around[k], self.along[k], self.rows[k]) == (
            b.offset, b.dtype, self.around[w], self.along[w], self.rows[w],
        ):  # fmt: skip
            self.same[k] = self.names[w]

    def _span(self, k: int) -> tuple[int, int]:
        ref = self.refs[k]
        sizes = (*self.kept, *self.reduced)
        span = extent(sizes, (*self.around[k], *self.along[k])) * itemsize(ref.dtype)
        return ref.offset, ref.offset + span

    @property
    def own(self) -> list[int]:
        """Operands with a pointer of their own."""
        return [k for k, name in enumerate(self.same) if not name]

    @property
    def points(self) -> list[int]:
        """Those of which a sweep meets an element at each point."""
        return [k for k in self.own if not self.rows[k]]

    def dims(self) -> tuple[Any, list[Strides], Any, list[Strides]]:
        """Return sizes of dims around rows and strides of `own`, then sizes of dims of
        a row and strides of `points`; innermost last, as memory has it."""
        around, around_strides = _ordered(self.kept, [self.around[k] for k in self.own])
        along, along_strides = _ordered(
            self.reduced, [self.along[k] for k in self.points]
        )
        return around, around_strides, along, along_strides

    def sweeps(self, steps: dict[int, str]) -> Sweeps:
        """Return what a kernel is printed from; `steps` are the classes of innermost
        strides, those of operands without a pointer being their twins'."""
        group = self.group
        at = {name: k for k, name in enumerate(self.names)}
        places = [
            Place(
                name, self.refs[k].dtype, steps[at[self.same[k] or name]],
                self.rows[k], self.late[k], self.same[k],
                name.removesuffix("_in") if k >= self.written else name,
            )
            for k, name in enumerate(self.names)
        ]  # fmt: skip
        left = iter(places)
        stores = tuple((next(left), s.value) for s in group.stores)
        totals = tuple(
            Total(
                t.name, t.dtype, t.combine, t.value, t.finish,
                next(left) if t.ref is not None else None,
            )
            for t in group.totals
        )  # fmt: skip
        scalars = tuple((name, dtype) for name, dtype, _ in group.scalars)
        return Sweeps(_function(group.title), tuple(left), stores, totals, scalars)


def _plain(sizes: Sequence[int], strides: Strides) -> Strides:
    """Return strides with 0 for dims that have one place."""
    return tuple(0 if n == 1 else s for n, s in zip(sizes, strides, strict=True))


def _ordered(
    sizes: Sequence[int], strides: list[Strides]
) -> tuple[tuple[int, ...], list[Strides]]:
    """Collapse dims, in the order of the operand that moves in most of them."""
    if not strides:
        return (numel(sizes),), []
    order = sorted(range(len(strides)), key=lambda k: strides[k].count(0))
    dims, merged = collapse(tuple(sizes), [strides[k] for k in order])
    back = sorted(range(len(order)), key=order.__getitem__)
    return dims, [merged[k] for k in back]


def _function(title: str) -> str:
    """Return a name for the kernel of these operators."""
    words = "".join(c if c.isalnum() else "_" for c in title.lower()).split("_")
    name = "_".join(word for word in words if word)[:40].rstrip("_")
    return name if name and name[0].isalpha() else f"rows_{name}".rstrip("_")


def key_of(given: Sweeps, *more: Hashable) -> Hashable:
    """Return what is equal for groups of one text."""
    values = [value for _, value in given.stores] + [t.value for t in given.totals]
    values += [t.finished for t in given.totals]
    totals = tuple((t.name, t.dtype, t.combine.name, t.place) for t in given.totals)
    places = tuple(place for place, _ in given.stores)
    return (
        given.name, given.inputs, places, totals, given.scalars, given.streamed,
        serial(values), *more,
    )  # fmt: skip


_kernels: dict[Hashable, tuple[compiler.Kernel, int]] = {}


def _cpu(layout: _Layout) -> Steps:
    around, around_strides, along, along_strides = layout.dims()
    memory: list[str] = []
    at = dict(zip(layout.own, around_strides, strict=True))
    near = [at[k] for k in layout.points]
    plain = (len(around) == 1, len(along) == 1)
    form = "rows"
    if layout.total > 1 and prefer_outer(around, near, along, along_strides):
        given = layout.sweeps({k: step_of(around[-1], s[-1]) for k, s in at.items()})
        memory = printed.scratch(given)
        if len(layout.names) + len(memory) <= _POINTERS:
            form = "columns"
    tasks, each = layout.count, 0
    if form == "rows":
        given = layout.sweeps(_steps(layout, along, along_strides))
        given = replace(given, streamed=_streamed(layout))
        table = printed.rows_table(around, around_strides, along, along_strides)
        memory = []
    else:
        row = layout.total * sum(itemsize(layout.refs[k].dtype) for k in layout.points)
        each = min(_MOST_BLOCK, max(_LEAST_BLOCK, _BLOCK_BYTES // max(1, row)))
        each = min(each, around[-1])
        table, tasks = printed.columns_table(
            around, around_strides, along, along_strides, each
        )
    key = key_of(given, form, plain)
    if key not in _kernels:
        name, source, cost = printed.emit(given, form, plain)
        _kernels[key] = compiler.load(name, source), cost
    kernel, cost = _kernels[key]
    scalars = [(name, dtype) for name, dtype, _ in layout.group.scalars]
    points = layout.count * max(1, layout.total)
    launch = Launch(kernel, tasks, points, cost, table, scalars)
    sources = list(range(len(layout.names))) + [-1 - k for k in range(len(memory))]
    scratch = [tasks * each * itemsize(dtype) for dtype in memory]
    return Steps([(launch, sources)], scratch, layout.written)


def _streamed(layout: _Layout) -> bool:
    """Whether what is stored at points is too much to be found in a cache later on."""
    stores = [s.ref.dtype for s in layout.group.stores if not s.row]
    nbytes = layout.count * layout.total * sum(map(itemsize, stores))
    return layout.total >= STREAMED_ROW and nbytes >= STREAMED_BYTES


def _steps(
    layout: _Layout, along: Sequence[int], along_strides: Sequence[Strides]
) -> dict[int, str]:
    """Return the classes of innermost strides where the innermost loop is a row's."""
    steps = dict.fromkeys(layout.own, ZERO)
    for k, s in zip(layout.points, along_strides, strict=True):
        steps[k] = step_of(along[-1], s[-1])
    return steps


#: a warp goes over rows from this length on; below, a thread takes one by itself
_WARP_ROW = 16


def _cuda(layout: _Layout, on: Device) -> Steps:
    from . import device_memory, launch_cuda
    from .kernels.cuda import sweeps as text

    around, around_strides, along, along_strides = layout.dims()
    sizes = launch_cuda.shape_of()
    at = dict(zip(layout.own, around_strides, strict=True))
    near = [at[k] for k in layout.points]
    form = "warp" if layout.total <= sizes.short else "block"
    many = layout.count >= sizes.few_columns
    if layout.total < _WARP_ROW * sizes.warp // 32 or (
        many and prefer_outer(around, near, along, along_strides)
    ):
        form = "thread"
    given = layout.sweeps(_steps(layout, along, along_strides))
    ranks = (len(around), len(along))
    found = launch_cuda.kernel(
        key_of(given, "sweeps", form, ranks), lambda: text.emit(given, form, ranks)
    )
    table = text.table(around, around_strides, along, along_strides)
    each = {"thread": sizes.block, "warp": sizes.block // sizes.warp}.get(form, 1)
    launch = launch_cuda.Launch(
        on, found, layout.count, -(-layout.count // each), sizes.block,
        len(layout.group.scalars), table,
    )  # fmt: skip
    sources = list(range(len(layout.names)))

    def scratch_on(nbytes: int) -> Any:
        return device_memory.allocate(on, nbytes)

    return Steps([(launch, sources)], [], layout.written, scratch_on)
