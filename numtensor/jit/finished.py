"""From drafts to groups: what nobody reads goes, what is left gets short names.

Comes last in fusion, walking from the end, when it is known which values are still
stored for somebody. Decides no more what is fused.
"""

from __future__ import annotations

from collections.abc import Callable

from ..kernels.expr import Expr, var
from .align import Sizes
from .draft import Draft, Record
from .ir import Group, Node, Number, Ref, Store, Total
from .needed import Needed
from .pieces import Access, Names
from .trees import replaced


def finished(draft: Draft, needed: Needed, names: Names) -> list[Group]:
    """Return the groups of a draft, going back past it; none if nobody needs it."""
    kept = [
        r for r in draft.records if not r.is_replaced and needed.has_access(r.target)
    ]
    if not kept:
        return []
    totals = {r.join.name: r for r in draft.records if r.join is not None}
    used: set[str] = set()
    computed = list(kept)
    for record in computed:  # grows
        found = record.leaves - used
        used |= found
        computed += [totals[n] for n in found if n in totals and totals[n] not in kept]
    loads = {n: a for n, a in draft.loads.items() if n in used}
    needed.pass_by(loads.values(), [r.target for r in kept])
    if any(r.join for r in computed):
        return [_group(draft, kept, computed, loads, names)]
    # rows that no total has any part in: a loop of their own, after the points
    found_groups = []
    for kind in ("point", "row"):
        some = [r for r in kept if r.kind == kind]
        if some:
            own = frozenset().union(*[r.leaves for r in some])
            read = {n: a for n, a in loads.items() if n in own}
            found_groups.append(_group(draft, some, some, read, names, kind == "row"))
    return found_groups


def _group(
    draft: Draft,
    kept: list[Record],
    computed: list[Record],
    loads: dict[str, Access],
    names: Names,
    only_rows: bool = False,
) -> Group:
    joined = [r for r in draft.records if r.join is not None and r in computed]
    reduced = draft.dims if joined else frozenset()
    order = [d for d in range(len(draft.sizes)) if d not in draft.dims or not only_rows]
    for record in joined:
        if record in kept:  # its memory must be walked as it lies
            order.sort(key=lambda d: (d in reduced, -record.target.strides[d]))
            break
    accesses = [r.target for r in kept] + list(loads.values())
    sizes, strides, dims = _merged(draft.sizes, reduced, accesses, order)
    walked = dict(zip([id(a) for a in accesses], strides, strict=True))
    row = [d for d in range(len(sizes)) if d not in dims]

    table: dict[str, Expr] = {}
    inputs: list[tuple[str, Ref]] = []
    for name, access in loads.items():
        short = f"in{len(inputs)}"
        inputs.append((short, _ref(access, walked[id(access)])))
        table[name] = var(short, access.dtype)
    used = frozenset().union(*[r.leaves for r in computed])
    scalars: list[tuple[str, str, Number]] = []
    for name, (dtype, number) in names.scalars.items():
        if name in used:
            scalars.append((f"s{len(scalars)}", dtype, number))
            table[name] = var(scalars[-1][0], dtype)
    for k, record in enumerate(joined):
        assert record.join is not None
        table[record.join.name] = var(f"r{k}", record.target.dtype)

    done: dict[int, Expr] = {}
    stores: list[Store] = []
    totals: list[Total] = []
    sweeps = 1
    for record in draft.records:
        if record not in computed:
            continue
        value = replaced(record.value, table, done)
        steps = walked.get(id(record.target), ())
        join = record.join
        if join is None:
            by_row = record.kind == "row" and not only_rows
            if by_row:
                steps = tuple([steps[d] for d in row])
            stores.append(Store(_ref(record.target, steps), value, by_row))
            sweeps = max(sweeps, record.level + (not by_row))
            continue
        sweeps = max(sweeps, record.level)
        ref = None
        if record in kept:
            ref = _ref(record.target, tuple([steps[d] for d in row]))
        dtype, finish = record.target.dtype, _finish(join.finish, table)
        total = Total(f"r{len(totals)}", dtype, join.combine, value, finish, ref)
        totals.append(total)
    nodes: dict[Node, None] = {}
    for piece in draft.pieces:
        nodes.update(dict.fromkeys(piece.nodes))
    return Group(sizes, dims, inputs, scalars, stores, totals, list(nodes), sweeps)


def _finish(
    finish: Callable[[Expr], Expr] | None, table: dict[str, Expr]
) -> Callable[[Expr], Expr] | None:
    if finish is None:
        return None
    own = finish
    return lambda total: replaced(own(total), table)


def _ref(access: Access, strides: Sizes) -> Ref:
    return Ref(access.buffer, access.offset, access.dtype, strides)


def _merged(
    sizes: Sizes, reduced: frozenset[int], accesses: list[Access], order: list[int]
) -> tuple[Sizes, list[Sizes], frozenset[int]]:
    """Return the space with dims merged that every access steps evenly through."""
    merged: list[int] = []
    columns: list[list[int]] = []
    dims: set[int] = set()
    for n, d in enumerate(order):
        steps = [a.strides[d] for a in accesses]
        if (
            n
            and (order[n - 1] in reduced) == (d in reduced)
            and columns[-1] == [sizes[d] * s for s in steps]
        ):
            merged[-1] *= sizes[d]
            columns[-1] = steps
        else:
            merged.append(sizes[d])
            columns.append(steps)
        if d in reduced:
            dims.add(len(merged) - 1)
    strides = [tuple([c[k] for c in columns]) for k in range(len(accesses))]
    return tuple(merged), strides, frozenset(dims)
