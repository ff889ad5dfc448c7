"""From groups to kernels: which kernel does what a group, a product or a node says.

Small neighbours become one function (`small`); large groups take the road of eager
operators, `launch`, with a body that is the whole group; what is not fused comes with
its plan. Returns steps in the order of the items; performs none.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from .. import dtypes, launch, launch_blas
from ..devices import CPU, device
from ..kernels import compiler
from ..kernels.cpu.fused import names_of
from ..kernels.expr import Expr, cast, var
from ..kernels.loops import itemsize
from ..launch_parts import Body, Input, Reduced, Steps
from ..layout import contiguous_strides, numel
from ..spec import contiguous_spec
from . import small
from .ir import Buffer, Group, Matmul, Opaque, Random, Ref, Store
from .small import is_small, moved_by, slot_of
from .split import parts_of
from .steps import BY_HAND, FUSED, PRODUCT, SWEEPS, At, Drawn, Part, Slot, Step

Item = Group | Matmul | Opaque | Random


def lower(items: Sequence[Item], on: device, baked: bool = True) -> list[Step]:
    """Return the steps that perform items one after the other.

    `baked` lets small ones be printed with their sizes; without it, all kernels serve
    other sizes as well.
    """
    steps: list[Step] = []
    waiting: list[Group | Matmul] = []
    for item in _cut(items):
        if baked and on is CPU and isinstance(item, (Group, Matmul)) and is_small(item):
            waiting.append(item)
            continue
        steps += small.steps_of(waiting)
        waiting = []
        if isinstance(item, Group):
            steps += _group(item, on, baked)
        elif isinstance(item, Matmul):
            steps += _matmul(item, on, baked)
        elif isinstance(item, Random):
            steps.append(_random(item, on))
        else:
            steps += _opaque(item, on)
    return steps + small.steps_of(waiting)


def _cut(items: Sequence[Item]) -> Iterator[Item]:
    for item in items:
        yield from parts_of(item) if isinstance(item, Group) else [item]


def _launched(
    call: Any, part: Part, slots: Sequence[Slot], numbers: Sequence[Slot]
) -> Step:
    """Return the step of one launch; without threads it needs nothing of Python."""
    threads = bool(getattr(call, "grain", 0))
    path = getattr(call, "source", part.source)
    part = Part(part.title, part.kind, path, part.nbytes, threads)
    every = [*slots, call.table, *numbers]
    if getattr(call, "grain", None) == 0:
        return Step(part, every, call.kernel, call.n, held=call)
    perform = functools.partial(call.run, call.kernel, call.n)
    return Step(part, every, call=perform, held=call)


def _followed(
    found: Steps, part: Part, slots: Sequence[At], numbers: Sequence[Slot]
) -> list[Step]:
    """Return the steps of launches that follow each other through scratch memory."""
    scratch = [Buffer(-1, 0, nbytes, "temporary") for nbytes in found.scratch]
    steps = []
    for launched, sources in found.launches:
        own = [slots[k] if k >= 0 else At(scratch[-1 - k]) for k in sources]
        steps.append(_launched(launched, part, own, numbers))
        part = Part(part.title, part.kind, None, 0, False)
    return steps


def _at(ref: Ref) -> At:
    return At(ref.buffer, ref.offset)


# Groups


class _Writer:
    """Expressions of a group, under names that depend only on what it computes."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.inputs = {name: f"in{k}" for k, (name, _) in enumerate(group.inputs)}
        self.scalars = {name: f"s{k}" for k, (name, _, _) in enumerate(group.scalars)}
        self.leaves = {n: var(self.inputs[n], r.dtype) for n, r in group.inputs}
        self.leaves |= {n: var(self.scalars[n], d) for n, d, _ in group.scalars}

    def digest(self, wanted: Sequence[Expr], more: object = ()) -> str:
        """Return what expressions have in common with none that are different."""
        numbers: dict[int, int] = {}
        entries: list[object] = []

        def visit(x: Expr) -> int:
            found = numbers.get(id(x))
            if found is None:
                args = tuple(visit(a) for a in x.args)
                leaf = self.leaves.get(str(x.value)) if x.op == "var" else None
                value = x.value if leaf is None else leaf.value
                entries.append((x.op, x.dtype, repr(value), args))
                found = numbers[id(x)] = len(entries) - 1
            return found

        roots = [visit(x) for x in wanted]
        text = repr((entries, roots, more))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def body(self, wanted: Sequence[Expr], more: object = ()) -> Body:
        """Return the body whose results are these expressions."""

        def build(values: dict[str, Expr]) -> list[Expr]:
            given = {n: values[short] for n, short in self.inputs.items()}
            given |= {n: values[short] for n, short in self.scalars.items()}
            return replaced(wanted, given)

        scalars = tuple((self.scalars[n], dtype) for n, dtype, _ in self.group.scalars)
        key = ("group", self.digest(wanted, more))
        return Body(key, name_of(self.group.title), build, scalars)


def replaced(wanted: Sequence[Expr], given: dict[str, Expr]) -> list[Expr]:
    """Return expressions with variables replaced; what they share stays shared."""
    done: dict[int, Expr] = {}

    def visit(x: Expr) -> Expr:
        found = done.get(id(x))
        if found is None:
            found = x
            if x.op == "var":
                found = given.get(str(x.value), x)
            elif x.args:
                args = tuple(visit(a) for a in x.args)
                if any(a is not b for a, b in zip(args, x.args, strict=True)):
                    found = Expr(x.op, args, x.dtype, x.value)
            done[id(x)] = found
        return found

    return [visit(x) for x in wanted]


#: the variable that stands for a total in its own last step
_OWN = "the total itself"


def name_of(title: str) -> str:
    """Return a name for a kernel that does what a title says."""
    words = re.findall(r"[a-z0-9]+", title.lower())
    return "_".join(["fused", *words])[:48].rstrip("_")


def _group(group: Group, on: device, baked: bool) -> list[Step]:
    if not group.points and not group.totals:
        return []
    numbers = [slot_of(dtype, value) for _, dtype, value in group.scalars]
    kind = SWEEPS if group.sweeps > 1 else FUSED
    part = Part(group.title, kind, None, moved_by(group), False)
    if group.sweeps > 1:
        from ..launch_sweeps import sweeps

        refs = [s.ref for s in group.stores]
        refs += [t.ref for t in group.totals if t.ref is not None]
        refs += [ref for _, ref in group.inputs]
        return _followed(sweeps(group, on), part, [_at(r) for r in refs], numbers)
    if not group.totals:
        return _elementwise(group, part, numbers, on)
    return _reduction(group, part, numbers, on, baked)


def _elementwise(
    group: Group, part: Part, numbers: Sequence[Slot], on: device
) -> list[Step]:
    writer = _Writer(group)
    body = writer.body([cast(s.value, s.ref.dtype) for s in group.stores])
    outputs = [(s.ref.dtype, s.ref.strides) for s in group.stores]
    inputs = [Input(writer.inputs[n], r.dtype, r.strides) for n, r in group.inputs]
    call = launch.elementwise(group.shape, outputs, inputs, body, on)
    slots = [_at(s.ref) for s in group.stores] + [_at(r) for _, r in group.inputs]
    return [_launched(call, part, slots, numbers)]


def _reduction(
    group: Group, part: Part, numbers: Sequence[Slot], on: device, baked: bool
) -> list[Step]:
    """Reduce, then compute in a second loop what is stored once a row.

    What `finish` makes of a total may name numbers, other totals and what a row has:
    then that, too, is left to the second loop.
    """
    writer = _Writer(group)
    kept = group.kept
    dense = contiguous_strides(kept)
    points = [s for s in group.stores if not s.row]
    rows = [s for s in group.stores if s.row]
    results: list[Ref] = []
    reduced: list[Reduced] = []
    finishes: list[Expr] = []
    table: dict[str, Expr] = {}
    inputs: list[tuple[str, Ref]] = []
    taken = {name for name, _ in group.inputs} | {t.name for t in group.totals}
    for t in group.totals:
        wide = t.combine.total_dtype(t.value.dtype)
        own = var(_OWN, wide)
        last = cast(t.finish(own) if t.finish else own, t.dtype)
        names = names_of([last]) - {_OWN}
        plain = not names & (set(writer.leaves) | {u.name for u in group.totals})
        ref = t.ref
        if ref is None or not plain or not _is_dense(ref.strides, kept):
            dtype = t.dtype if plain else wide
            nbytes = numel(kept) * itemsize(dtype)
            ref = Ref(Buffer(-1, 0, nbytes, "temporary"), 0, dtype, dense)
            if t.ref is not None:
                rows.append(Store(t.ref, var(t.name, t.dtype), True))
        results.append(ref)
        # the kernel's cache has to know what the last step is
        finishes.append(last if plain else own)
        reduced.append(Reduced(ref.dtype, t.combine, t.finish if plain else None))
        name = f"{t.name}_total"
        while name in taken:
            name += "_"
        taken.add(name)
        inputs.append((name, ref))
        table[t.name] = var(name, ref.dtype)
        if not plain:
            (table[t.name],) = replaced([last], {_OWN: table[t.name]})
    wanted = [cast(s.value, s.ref.dtype) for s in points]
    wanted += [t.value for t in group.totals]
    joins = [(t.combine.name, t.dtype) for t in group.totals]
    body = writer.body(wanted, (joins, writer.digest(finishes)))
    steps = launch.reduction(
        group.shape, group.dims, reduced,
        [(s.ref.dtype, s.ref.strides) for s in points],
        [Input(writer.inputs[n], r.dtype, r.strides) for n, r in group.inputs],
        body, on,
    )  # fmt: skip
    slots = [_at(s.ref) for s in points] + [_at(r) for r in results]
    slots += [_at(r) for _, r in group.inputs]
    found = _followed(steps, part, slots, numbers)
    if rows and numel(kept):
        found += _rows(group, rows, table, inputs, on, baked)
    return found


def _rows(
    group: Group,
    rows: Sequence[Store],
    table: dict[str, Expr],
    inputs: Sequence[tuple[str, Ref]],
    on: device,
    baked: bool,
) -> list[Step]:
    """Return the loop over the kept dims that follows a reduction."""
    values = [s.value for s in rows]
    while names_of(values) & set(table):
        values = replaced(values, table)
    used = names_of(values)
    own = [d for d in range(len(group.shape)) if d not in group.dims]
    read = [
        (name, Ref(r.buffer, r.offset, r.dtype, tuple(r.strides[d] for d in own)))
        for name, r in group.inputs
        if name in used
    ]
    read += [(name, ref) for name, ref in inputs if name in used]
    scalars = [s for s in group.scalars if s[0] in used]
    stores = [Store(s.ref, v) for s, v in zip(rows, values, strict=True)]
    after = Group(group.kept, frozenset(), list(read), scalars, stores, [], group.nodes)
    if baked and on is CPU and is_small(after):
        return small.steps_of([after])
    return _group(after, on, baked)


def _is_dense(strides: Sequence[int], shape: Sequence[int]) -> bool:
    dense = contiguous_strides(tuple(shape))
    return all(n == 1 or a == b for n, a, b in zip(shape, strides, dense, strict=True))


# Nodes that are not fused


def _matmul(item: Matmul, on: device, baked: bool) -> list[Step]:
    from ..ops.products import Product

    slots = [_at(item.out), _at(item.a), _at(item.b)]
    part = Part(item.name, PRODUCT, None, moved_by(item), False)
    n, m, _ = item.sizes
    what = item.batch, item.sizes, item.a.strides, item.b.strides
    if not baked and on is CPU:  # one way for small products and for large ones
        found = launch_blas.product(item.out.dtype, *what)
        if found is not None:
            return [_launched(found, part, slots, [])]
    spec = contiguous_spec(dtypes.find(item.out.dtype), (*item.batch, n, m), on)
    product = Product(spec, *what)
    if product.call is not None:
        return [_launched(product.call, part, slots, [])]
    if product.arrays is None:  # nothing to compute
        return []
    return [Step(part, slots, call=product.at)]


def _opaque(item: Opaque, on: device) -> list[Step]:
    found = item.plan(on)
    slots = [_at(ref) for ref in item.refs]
    nbytes = sum(item.refs[k].buffer.nbytes for k in item.written | item.read)
    part = Part(item.name, BY_HAND, None, nbytes, False)
    steps = getattr(found, "launches", None)
    floating = getattr(found, "floating", None)
    if floating is None:
        floating = [not isinstance(x, int) for x in item.numbers]
    numbers = [
        slot_of("float64" if is_float else "int64", value)
        for is_float, value in zip(floating, item.numbers, strict=True)
    ]
    if steps is not None:
        return _followed(found, part, slots, numbers)
    if not found.n:
        return []
    return [_launched(found, part, slots, numbers)]


#: elements from which random numbers are worth threads, counters of one share
_THREADED, _GRAIN = 65536, 4096


def _random(item: Random, on: device) -> Step:
    plan, counters = item.plan, item.counters
    seed, offset = (Drawn(item.generator, counters, k) for k in range(2))
    part = Part(item.name, BY_HAND, None, item.n * itemsize(item.ref.dtype), False)
    if on is not CPU:
        given: list[Slot] = [_at(item.ref), seed, offset, counters, item.n]
        return Step(part, given, call=plan.run_on(on))
    own: list[Slot] = [_at(item.ref), seed, offset, item.n, *plan.slots]
    if item.n < _THREADED:
        return Step(part, own, plan.code, counters)
    part = Part(item.name, BY_HAND, None, part.nbytes, True)

    def spread(*slots: int) -> None:
        compiler.run_threaded(plan.code, counters, list(slots), _GRAIN)

    return Step(part, own, call=spread)
