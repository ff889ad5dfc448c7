"""A group in the making: pieces join it one by one, if that changes no result.

At one point a group loads, computes and stores; points come in any order; once a row
(all reduced dims) its totals are known, and after it come values of totals. A piece
may join if every element that it shares with the group is met by both at the same
point. Decides what is legal, and how much one group may hold.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

from ..kernels.expr import Expr, var
from ..kernels.loops import itemsize
from ..layout import numel
from .align import Factors, Sizes, along, same
from .ir import Buffer
from .pieces import Access, Join, Piece
from .spaces import rows_space, same_space
from .trees import measure, replaced

#: points from which a loop is bound by memory, and pointers that it may have; fewer
#: where it only shares the space, more where it shares data
LARGE = 65536
_LARGE_POINTERS, _SMALL_POINTERS, _MOST_POINTERS = 12, 20, 22
#: a row that is swept over again must still be in cache
_ROW_POINTS, _ROW_BYTES = 65536, 1 << 20
#: more passes cost more than loading what the first ones have stored
_MOST_SWEEPS = 4
#: longest chain of operations (printing goes down it), most additions in one group
_MOST_DEPTH, _MOST_COST = 100, 2500


@dataclass(eq=False)
class Record:
    """Something the group computes: `kind` is "point", "row" or "total".

    `level` counts the totals that must be known one after the other before it is.
    """

    kind: str
    target: Access
    value: Expr
    join: Join | None
    level: int
    depth: int
    #: names of loads, totals and scalars that it uses, directly or not
    leaves: frozenset[str]
    #: a later value takes its place in memory; a total may still be used
    is_replaced: bool = False

    def loaded(self) -> Expr:
        """Return what a piece finds that loads it."""
        if self.join is not None:
            return var(self.join.name, self.target.dtype)
        return self.value


@dataclass
class _Leaf:
    """What a load of a piece is in the group."""

    value: Expr
    level: int = 0
    depth: int = 0
    names: frozenset[str] = frozenset()


class Draft:
    """A group as far as it goes."""

    def __init__(self, piece: Piece, lasting: Container[Buffer]) -> None:
        self.sizes: Sizes = piece.sizes
        self.dims: frozenset[int] = frozenset()
        self.points = piece.points
        self.loads: dict[str, Access] = {}
        #: loads that only values of rows use
        self.of_rows: set[str] = set()
        self.records: list[Record] = []
        self.pieces: list[Piece] = []
        self.sweeps = 1
        self.cost = 0
        self._lasting = lasting
        self._reads: dict[Buffer, list[str]] = {}
        self._written: dict[Buffer, list[Record]] = {}
        self.is_closed = piece.alone
        self._first(piece)

    def _first(self, piece: Piece) -> None:
        joined = self._try(piece, same(piece.sizes), False, True)
        assert joined, "a piece alone is always a group"

    def join(self, piece: Piece, shares: bool) -> bool:
        """Take a piece into the group if that is legal.

        `shares` says that they share data: then it may have more pointers.
        """
        if self.is_closed or piece.alone:
            return False
        if piece.points == self.points:
            for factors in same_space(self, piece, shares):
                if self._try(piece, factors, False, shares):
                    return True
        elif self.dims and not piece.dims and piece.points == numel(self.kept):
            for factors in rows_space(self, piece):
                if self._try(piece, factors, True, True):
                    return True
        return False

    @property
    def kept(self) -> Sizes:
        return tuple([n for d, n in enumerate(self.sizes) if d not in self.dims])

    def shared(self, access: Access) -> Iterator[tuple[Access, bool]]:
        """Yield accesses that begin at the same element, and whether they write it."""
        for record in self._written.get(access.buffer, ()):
            target = record.target
            if target.offset == access.offset and target.dtype == access.dtype:
                yield target, True
        for name in self._reads.get(access.buffer, ()):
            load = self.loads[name]
            if load.offset == access.offset and load.dtype == access.dtype:
                yield load, False

    # joining

    def _try(self, piece: Piece, factors: Factors, row: bool, shares: bool) -> bool:
        """Take a piece in that walks the space so, if it is legal."""
        moved = not factors.keeps_first
        first, second = factors.first, factors.second

        def here(access: Access) -> Sizes:
            return along(first, access.strides) if moved else access.strides

        own = frozenset([k for k, (d, _) in enumerate(first) if d in self.dims])
        dims = frozenset([k for k, (d, _) in enumerate(second) if d in piece.dims])
        if piece.dims and self.dims and dims != own:
            return False
        dims = dims or own

        # what the piece loads: values of the group, loads of the group, or new loads
        leaves: dict[str, _Leaf] = {}
        loads: dict[str, Access] = {}
        by_key: dict[Any, str] = {}
        for name, access in piece.loads.items():
            load = access.walked(along(second, access.strides))
            found = self._leaf(name, load, here, loads, by_key)
            if found is None:
                return False
            leaves[name] = found

        # where it writes
        taken: list[Record] = []
        targets = []
        for write in piece.writes:
            target = write.target.walked(along(second, write.target.strides))
            kind = "total" if write.join else "row" if row else "point"
            if not self._may_write(target, kind, here, taken):
                return False
            targets.append(target)
            if write.join is not None and not self._same_rows(target, here):
                return False

        new: list[Record] = []
        cost = self.cost
        for write, target in zip(piece.writes, targets, strict=True):
            measured = write.measured
            used = [leaves[n] for n in measured.names if n in leaves]
            depth = measured.depth + max([u.depth for u in used], default=0)
            if depth > _MOST_DEPTH and self.pieces:
                return False
            level = max([u.level for u in used], default=0)
            cost += measured.cost
            new.append(
                Record(
                    "total" if write.join else "row" if row else "point",
                    target,
                    write.value,
                    write.join,
                    level + (write.join is not None),
                    depth,
                    frozenset().union(
                        measured.names - leaves.keys(),
                        _finish_names(write.join, write.value),
                        *[u.names for u in used],
                    ),
                )
            )
        if cost > _MOST_COST and self.pieces:
            return False
        if self.pieces and not self._has_room(loads, targets, shares):
            return False

        sweeps = self.sweeps
        for record in new:
            # a total of level k is found in sweep k, a point that needs it in the next
            sweeps = max(sweeps, record.level + (record.kind == "point"))
        rows_only = (self.of_rows | set(loads)) if row else self.of_rows - _uses(leaves)
        if sweeps > 1 and not self._may_sweep(
            factors.sizes, dims, loads, [*new], taken, here, rows_only
        ):
            return False

        self._take(piece, factors, dims, loads, leaves, new, taken, cost)
        self.sweeps = sweeps
        self.of_rows = rows_only
        return True

    def _leaf(
        self,
        name: str,
        load: Access,
        here: Any,
        loads: dict[str, Access],
        by_key: dict[Any, str],
    ) -> _Leaf | None:
        """Return what a load is, None if the group writes some of it elsewhere."""
        for record in self._written.get(load.buffer, ()):
            target = record.target
            if not target.meets(load):
                continue
            alike = target.offset == load.offset and target.dtype == load.dtype
            if not alike or here(target) != load.strides or load.dtype == "float16":
                return None
            names = record.leaves
            if record.join is not None:
                names |= {record.join.name}
            return _Leaf(record.loaded(), record.level, record.depth, names)
        known = by_key.get(load.key)
        for other in self._reads.get(load.buffer, ()) if known is None else ():
            mine = self.loads[other]
            alike = mine.offset == load.offset and mine.dtype == load.dtype
            if alike and here(mine) == load.strides:
                known = other
                break
        if known is None:
            known = name
            loads[name] = load
        by_key[load.key] = known
        return _Leaf(var(known, load.dtype), names=frozenset([known]))

    def _may_write(
        self, target: Access, kind: str, here: Any, taken: list[Record]
    ) -> bool:
        """Whether what the group has to do with a target is met at the same point.

        Records whose place is taken are put down in `taken`.
        """
        for name in self._reads.get(target.buffer, ()):
            load = self.loads[name]
            # values of rows may be loaded after totals have been stored
            if load.meets(target) and (
                kind == "total" or not _alike(load, target, here)
            ):
                return False
        for record in self._written.get(target.buffer, ()):
            if record.target.meets(target):
                if not _alike(record.target, target, here):
                    return False
                if (record.kind == "point") != (kind == "point"):
                    return False
                taken.append(record)
        return True

    def _same_rows(self, target: Access, here: Any) -> bool:
        """Whether a total lies in memory as the other ones do: their loop is one."""
        for record in self.records:
            if record.kind == "total" and not record.is_replaced:
                return bool(here(record.target) == target.strides)
        return True

    def _has_room(
        self, loads: dict[str, Access], targets: list[Access], shares: bool
    ) -> bool:
        count = len(self.loads) + len(loads)
        count += sum([t.buffer in self._lasting for t in targets])
        for record in self.records:
            count += record.target.buffer in self._lasting and not record.is_replaced
        if shares:
            return count <= _MOST_POINTERS
        return count <= (_LARGE_POINTERS if self.points > LARGE else _SMALL_POINTERS)

    def _may_sweep(
        self,
        sizes: Sizes,
        dims: frozenset[int],
        loads: dict[str, Access],
        new: list[Record],
        taken: list[Record],
        here: Any,
        rows_only: set[str],
    ) -> bool:
        """Whether rows are short enough to be swept over twice, and stay as they are.

        What a sweep has overwritten the next one must not read. A value of rows may
        be updated in place, if nothing else uses what it was.
        """
        if max(r.level + (r.kind == "point") for r in new) > _MOST_SWEEPS:
            return False
        if numel([sizes[d] for d in dims]) > _ROW_POINTS:
            return False
        mine = [r for r in self.records if r not in taken and not r.is_replaced]
        everything = [(a, here(a)) for a in self.loads.values()]
        everything += [(r.target, here(r.target)) for r in mine]
        everything += [(a, a.strides) for a in loads.values()]
        everything += [(r.target, r.target.strides) for r in new]
        row = numel([sizes[d] for d in dims])
        size = sum(itemsize(a.dtype) for a, s in everything if any(s[d] for d in dims))
        if row * size > _ROW_BYTES:
            return False
        users = [*[r for r in self.records if r not in taken], *new]
        for record in [*mine, *new]:
            for name, load in [*self.loads.items(), *loads.items()]:
                if load.meets(record.target) and (
                    record.kind != "row"
                    or name not in rows_only
                    or any(u is not record and name in u.leaves for u in users)
                ):
                    return False
        return True

    def _take(
        self,
        piece: Piece,
        factors: Factors,
        dims: frozenset[int],
        loads: dict[str, Access],
        leaves: dict[str, _Leaf],
        new: list[Record],
        taken: list[Record],
        cost: int,
    ) -> None:
        if not factors.keeps_first:
            for name, load in self.loads.items():
                self.loads[name] = load.walked(along(factors.first, load.strides))
            for record in self.records:
                target = record.target
                record.target = target.walked(along(factors.first, target.strides))
        self.sizes, self.dims, self.cost = factors.sizes, dims, cost
        for name, load in loads.items():
            self.loads[name] = load
            self._reads.setdefault(load.buffer, []).append(name)
        for record in taken:
            record.is_replaced = True
            self._written[record.target.buffer].remove(record)
            if record.join is None:
                self.records.remove(record)
        table = {name: leaf.value for name, leaf in leaves.items()}
        done: dict[int, Expr] = {}
        for record in new:
            record.value = replaced(record.value, table, done)
            self.records.append(record)
            self._written.setdefault(record.target.buffer, []).append(record)
        self.pieces.append(piece)


def _alike(mine: Access, other: Access, here: Any) -> bool:
    """Whether two accesses meet the same element at each point."""
    return (
        mine.offset == other.offset
        and mine.dtype == other.dtype
        and here(mine) == other.strides
    )


def _finish_names(join: Join | None, value: Expr) -> frozenset[str]:
    """Return what the last step of a total names, beside the total."""
    if join is None or join.finish is None:
        return frozenset()
    total = var("total", join.combine.total_dtype(value.dtype))
    return measure(join.finish(total)).names - {"total"}


def _uses(leaves: dict[str, _Leaf]) -> frozenset[str]:
    return frozenset().union(*[leaf.names for leaf in leaves.values()])
