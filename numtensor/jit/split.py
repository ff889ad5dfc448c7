"""Groups with more operands than one kernel can tell apart, cut into several.

What fusion puts together for sharing data may be too much for one kernel. Each part
computes some of the results from what it needs; a part that overwrites what another one
reads comes after it.
"""

from __future__ import annotations

from ..kernels.cpu.fused import MOST_POINTERS, names_of
from ..kernels.expr import Expr, var
from .ir import Buffer, Group, Ref, Store, Total

_OWN = "the total itself"
#: slots of a kernel that threads share: pointers, a table, numbers
_SLOTS = 32


class _Unit:
    """Results that belong together: one store, or all totals and what needs them."""

    def __init__(self, group: Group, stores: list[Store], totals: list[Total]) -> None:
        self.stores, self.totals = stores, totals
        values: list[Expr] = [s.value for s in stores] + [t.value for t in totals]
        for t in totals:
            if t.finish is not None:
                wide = t.combine.total_dtype(t.value.dtype)
                values.append(t.finish(var(_OWN, wide)))
        names = names_of(values)
        self.names = names
        self.inputs = {name for name, _ in group.inputs if name in names}
        self.refs: list[Ref] = [s.ref for s in stores]
        self.refs += [t.ref for t in totals if t.ref is not None]
        self.written: set[Buffer] = {r.buffer for r in self.refs}
        self.read = {r.buffer for name, r in group.inputs if name in self.inputs}


def parts_of(group: Group) -> list[Group]:
    """Return groups of few operands that do what a group does, in their order.

    A group is returned as it is where it is small enough, or cannot be cut.
    """
    count = len(group.inputs) + len(group.stores) + len(group.totals)
    most = max(4, min(MOST_POINTERS, _SLOTS - 1 - len(group.scalars)))
    if count <= most or group.sweeps > 1:
        return [group]
    names = {t.name for t in group.totals}
    bound = [s for s in group.stores if s.row or names_of([s.value]) & names]
    units = [_Unit(group, [s], []) for s in group.stores if s not in bound]
    if group.totals:
        units.append(_Unit(group, bound, group.totals))
    ordered: list[_Unit] = []
    while units:
        free = next(
            (
                u
                for u in units
                if not any(u.written & v.read for v in units if v is not u)
            ),
            None,
        )
        if free is None:
            return [group]  # each overwrites what another reads
        units.remove(free)
        ordered.append(free)
    found: list[list[_Unit]] = []
    for unit in ordered:
        if found and _operands([*found[-1], unit]) <= most:
            found[-1].append(unit)
        else:
            found.append([unit])
    return [_joined(group, some) for some in found]


def _operands(units: list[_Unit]) -> int:
    inputs = set().union(*[u.inputs for u in units])
    return len(inputs) + sum(len(u.stores) + len(u.totals) for u in units)


def _joined(group: Group, units: list[_Unit]) -> Group:
    names = set().union(*[u.names for u in units])
    totals = [t for u in units for t in u.totals]
    return Group(
        group.shape,
        group.dims if totals else frozenset(),
        [(n, r) for n, r in group.inputs if n in names],
        [s for s in group.scalars if s[0] in names],
        [s for u in units for s in u.stores],
        totals,
        group.nodes,
    )
