"""Small groups and products, many of them as one function: see `kernels.cpu.fused`.

Where a kernel takes less time than a call, calls are what a program spends its time
on, and so are loads and stores between them. Says what is small, and describes it to
the printer; compiles the function.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..kernels import compiler
from ..kernels.cpu import fused
from ..kernels.expr import Expr
from ..kernels.loops import itemsize
from ..kernels.mathlib import EXPANSIONS
from ..layout import collapse, numel
from .ir import Buffer, Group, Matmul, Number, Ref, Shape
from .steps import FUSED, MANY, PRODUCT, SWEEPS, At, Given, Part, Slot, Step, moved

#: points of a group that is printed with its sizes, and points times operations
_POINTS, _WORK = 4096, 160_000
#: products of numbers up to which loops are faster than a call of BLAS (16 x 16 by
#: 16 x 16: 80 ns, 115 ns; 64 x 32 by 32 x 10: 790 ns, 610 ns), and of a stack of them
_PRODUCTS, _STACKED = 8192, 32_768
#: parts of one function: longer ones take long to compile
_PARTS = 40


def is_small(item: Group | Matmul) -> bool:
    """Whether an item is to be printed together with its neighbours."""
    if isinstance(item, Matmul):
        n, m, k = item.sizes
        refs: list[Ref] = [item.out, item.a, item.b]
        if not item.out.dtype.startswith("float") or item.out.dtype == "float16":
            return False
        each = n * m * k
        fits = each <= _PRODUCTS and each * numel(item.batch) <= _STACKED
    else:
        refs = refs_of(item)
        fits = item.points <= _POINTS and item.points * operations(item) <= _WORK
        fits = (fits or not item.points) and _rows_apart(item)
    keys = {(r.buffer, r.dtype) for r in refs}
    # one memory under two dtypes would be two slots, of which LLVM is told that they
    # do not overlap
    apart = len(keys) == len({buffer for buffer, _ in keys})
    aligned = all(r.offset % itemsize(r.dtype) == 0 for r in refs)
    return fits and apart and aligned and len(keys) <= fused.MOST_POINTERS


def _rows_apart(group: Group) -> bool:
    """Whether a row may be finished before the next one is begun.

    In a group of one sweep, what is stored once a row is stored after all rows are
    read: somewhere it may overwrite what other rows read.
    """
    written = [s.ref for s in group.stores if s.row]
    buffers = {r.buffer for r in written}
    if group.sweeps > 1 or numel(group.kept) == 1:
        return True
    own = [d for d in range(len(group.shape)) if d not in group.dims]
    for _, ref in group.inputs:
        if ref.buffer in buffers:
            steps = tuple(ref.strides[d] for d in own)
            along = any(ref.strides[d] for d in group.dims)
            for other in written:
                same = ref.offset == other.offset and steps == other.strides
                if ref.buffer is other.buffer and (along or not same):
                    return False
    return True


def refs_of(group: Group) -> list[Ref]:
    """Return what a group stores, then what it loads."""
    found = [s.ref for s in group.stores]
    found += [t.ref for t in group.totals if t.ref is not None]
    return found + [ref for _, ref in group.inputs]


def moved_by(item: Group | Matmul) -> int:
    """Return the bytes that an item reads and writes."""
    if isinstance(item, Matmul):
        return moved(item.reads) + moved(item.writes)
    written = [(s.ref, item.kept if s.row else item.shape) for s in item.stores]
    written += [(t.ref, item.kept) for t in item.totals if t.ref is not None]
    return moved(written) + moved([(ref, item.shape) for _, ref in item.inputs])


def operations(group: Group) -> int:
    """Return about how many operations one point of a group takes."""
    seen: set[int] = set()
    waiting: list[Expr] = [s.value for s in group.stores if not s.row]
    waiting += [t.value for t in group.totals]
    count = 1
    while waiting:
        x = waiting.pop()
        if id(x) not in seen:
            seen.add(id(x))
            waiting += x.args
            # elementary functions are two dozen operations each
            count += 24 if x.op in _DEAR else x.op not in ("var", "const")
    return count


_DEAR = frozenset(EXPANSIONS) | {"lgamma", "digamma", "fmod"}


def steps_of(items: Sequence[Group | Matmul]) -> list[Step]:
    """Return functions that do what small items do, one after the other."""
    found: list[Step] = []
    left = list(items)
    while left:
        builder = _Builder()
        taken = 0
        while taken < min(len(left), _PARTS) and builder.has_room(left[taken]):
            builder.add(left[taken])
            taken += 1
        found.append(builder.step())
        left = left[taken:]
    return found


class _Builder:
    """One function while it is put together."""

    def __init__(self) -> None:
        self.function = fused.Function()
        self.memory: dict[Buffer, int] = {}
        self.dtypes: dict[Buffer, str] = {}
        self.numbers: list[Slot] = []
        self.known: dict[object, int] = {}
        self.items: list[Group | Matmul] = []

    def has_room(self, item: Group | Matmul) -> bool:
        refs = _refs(item)
        if any(self.dtypes.get(r.buffer, r.dtype) != r.dtype for r in refs):
            return False
        return len({r.buffer for r in refs} | set(self.memory)) <= fused.MOST_POINTERS

    def add(self, item: Group | Matmul) -> None:
        for ref in _refs(item):
            if ref.buffer not in self.memory:
                letter = "w" if ref.buffer.source == "temporary" else "x"
                self.memory[ref.buffer] = len(self.memory)
                self.dtypes[ref.buffer] = ref.dtype
                name = f"{letter}{len(self.function.memory)}"
                self.function.memory.append((name, ref.dtype))
        self.items.append(item)
        part = self.product(item) if isinstance(item, Matmul) else self.loop(item)
        self.function.parts.append(part)

    def number(self, dtype: str, value: Number) -> int:
        """Return which number of the function a scalar is."""
        key = (dtype, id(value) if isinstance(value, Expr) else repr(value))
        if key not in self.known:
            self.known[key] = len(self.numbers)
            self.function.numbers.append(dtype)
            self.numbers.append(slot_of(dtype, value))
        return self.known[key]

    def place(
        self, ref: Ref, kept: Sequence[int], reduced: Sequence[int]
    ) -> fused.Place:
        start = ref.offset // itemsize(ref.dtype)
        return fused.Place(self.memory[ref.buffer], start, tuple(kept), tuple(reduced))

    def loop(self, group: Group) -> fused.Loop:
        kept = [d for d in range(len(group.shape)) if d not in group.dims]
        reduced = sorted(group.dims)
        points = [s for s in group.stores if not s.row]
        rows = [s.ref for s in group.stores if s.row]
        rows += [t.ref for t in group.totals if t.ref is not None]
        walked = [s.ref for s in points] + [ref for _, ref in group.inputs]
        steps = [tuple(r.strides[d] for d in kept) for r in walked]
        steps += [r.strides for r in rows]
        sizes, outer = _short([group.shape[d] for d in kept], steps)
        inner_steps = [tuple(r.strides[d] for d in reduced) for r in walked]
        inner_sizes, inner = _short([group.shape[d] for d in reduced], inner_steps)
        places = [
            self.place(ref, outer[k], inner[k] if k < len(inner) else ())
            for k, ref in enumerate(walked + rows)
        ]
        point = iter(places[: len(points)])
        inputs = {
            name: (ref.dtype, place)
            for (name, ref), place in zip(
                group.inputs, places[len(points) :], strict=False
            )
        }
        row = iter(places[len(walked) :])
        stores = [
            fused.Stored(next(row if s.row else point), s.ref.dtype, s.value, s.row)
            for s in group.stores
        ]
        totals = [
            fused.Totalled(
                t.name,
                t.dtype,
                t.combine,
                t.value,
                t.finish,
                None if t.ref is None else next(row),
            )  # fmt: skip
            for t in group.totals
        ]
        numbers = {n: self.number(dtype, v) for n, dtype, v in group.scalars}
        title = group.title or "loop"
        return fused.Loop(title, sizes, inner_sizes, inputs, numbers, stores, totals)

    def product(self, item: Matmul) -> fused.Product:
        stack = len(item.batch)
        n, m, _ = item.sizes
        dense = [n * m] * stack
        for d in reversed(range(stack - 1)):
            dense[d] = dense[d + 1] * item.batch[d + 1]
        sides = [tuple(dense), item.a.strides[:stack], item.b.strides[:stack]]
        sizes, steps = _short(item.batch, sides)
        ends = [(m, 1), item.a.strides[stack:], item.b.strides[stack:]]
        out, a, b = (
            self.place(ref, kept, end)
            for ref, kept, end in zip(
                (item.out, item.a, item.b), steps, ends, strict=True
            )
        )
        title = item.name or "matmul"
        return fused.Product(title, item.out.dtype, sizes, item.sizes, out, a, b)

    def step(self) -> Step:
        kernel = compiler.load(*fused.emit(self.function))
        titles: dict[str, None] = {}
        nbytes = 0
        for item in self.items:
            nbytes += moved_by(item)
            if isinstance(item, Matmul):
                titles[item.name] = None
            else:
                titles.update(dict.fromkeys(n.name for n in item.nodes))
        kind = MANY
        if len(self.items) == 1:
            only = self.items[0]
            kind = FUSED
            if isinstance(only, Matmul):
                kind = PRODUCT
            elif only.sweeps > 1:
                kind = SWEEPS
        part = Part(", ".join(titles), kind, kernel.path, nbytes, False)
        slots: list[Slot] = [At(buffer) for buffer in self.memory]
        return Step(part, slots + self.numbers, kernel.address, 1)


def slot_of(dtype: str, value: Number) -> Slot:
    """Return where the number of a scalar comes from."""
    floating = dtype.startswith("float")
    if isinstance(value, Expr):
        return Given(value, floating)
    return float(value) if floating else int(value)


def _refs(item: Group | Matmul) -> list[Ref]:
    if isinstance(item, Matmul):
        return [item.out, item.a, item.b]
    return refs_of(item)


def _short(
    shape: Sequence[int], steps: Sequence[Sequence[int]]
) -> tuple[Shape, list[Shape]]:
    """Return the shortest nest over a shape, with no loop over a single element."""
    sizes, found = collapse(tuple(shape), [tuple(s) for s in steps])
    if not steps:
        found = []
    if sizes == (1,):
        return (), [()] * len(steps)
    return sizes, found
