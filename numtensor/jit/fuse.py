"""Which nodes of a trace become one loop: groups, in an order that may be executed.

Nodes depend on each other by memory alone: two conflict if they touch a common byte
and one of them writes it. In their order, each takes its place in the first group
that is not before anything it conflicts with and in which it changes no result
(`draft`); else it begins a new group. Before that, cheap values are computed where
they are read (`recompute`); after it, what nobody reads is not stored (`finished`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import cast

from .draft import Draft
from .finished import finished
from .ir import Buffer, Group, Loop, Matmul, Node, Opaque, Random, Reduce
from .needed import Needed, without_dead
from .pieces import Access, Names, Piece, piece_of
from .recompute import History, from_memory, with_small_values

#: groups that are asked whether they take a node that shares nothing with them
_MOST_ASKED = 4

Fused = Group | Matmul | Opaque | Random


def fuse(nodes: Sequence[Node], live: Set[Buffer], baked: bool = True) -> list[Fused]:
    """Return groups, and nodes that are none, to be executed one after the other.

    The final content of `live` buffers, and of inputs that are written, is that of the
    nodes in their order. A node that nobody sees anything of is left out. Without
    `baked`, all numbers of nodes are scalars of groups: see `pieces.Names`.
    """
    names = Names(baked)
    lasting = set(live)
    parts: list[Piece | Node] = []
    for index, node in enumerate(nodes):
        lasting.update(r.buffer for r, _ in node.writes if r.buffer.source == "input")
        if not isinstance(node, (Loop, Reduce)):
            parts.append(node)
            continue
        piece = piece_of(node, index, names)
        if piece is not None:
            parts += piece.parts()
    parts = without_dead(parts, lasting)
    history = History()
    for index, part in enumerate(parts):
        if isinstance(part, Piece):
            part.index = index
            parts[index] = part = with_small_values(part, history, names, lasting)
        history.note(index, part)
    parts = without_dead(parts, lasting)
    items = _Items(lasting)
    stored_anyway = lasting | _read_by_others(parts)
    for part in parts:
        if not isinstance(part, Piece):
            items.append(part)
        elif not items.place(part):
            other = from_memory(part, history, names, stored_anyway)
            if other is None:
                items.append(part)
            elif not items.place(other):
                items.append(other)
    return items.finished(names)


def _read_by_others(parts: Iterable[Piece | Node]) -> set[Buffer]:
    """Return the buffers that something reads which is never fused."""
    found: set[Buffer] = set()
    for part in parts:
        if not isinstance(part, Piece):
            found.update(ref.buffer for ref, _ in part.reads)
        elif part.alone:
            found.update(a.buffer for a in part.loads.values())
    return found


class _Items:
    """Drafts and nodes in the order of execution, and who touches what."""

    def __init__(self, lasting: set[Buffer]) -> None:
        self._lasting = lasting
        self._items: list[Draft | Node] = []
        self._touched: dict[Buffer, list[tuple[int, Access, bool]]] = {}
        self._of_size: dict[int, list[int]] = {}

    def append(self, part: Piece | Node) -> None:
        """Put a part at the end, on its own."""
        index = len(self._items)
        if isinstance(part, Piece):
            self._items.append(Draft(part, self._lasting))
            self._of_size.setdefault(part.points, []).append(index)
            self._note(index, part)
            return
        self._items.append(part)
        for refs, is_write in ((part.reads, False), (part.writes, True)):
            for ref, shape in refs:
                access = Access(ref, tuple(shape))
                self._touched.setdefault(ref.buffer, []).append(
                    (index, access, is_write)
                )

    def place(self, piece: Piece) -> bool:
        """Find a group that takes a piece; tell whether there is one."""
        first, sharing = self._after(piece)
        asked = []
        if first >= 0:
            asked.append((first, True))
        alike = self._of_size.get(piece.points, [])
        others = [k for k in reversed(alike) if k > first]
        asked += [(k, True) for k in others if k in sharing][:_MOST_ASKED]
        asked += [(k, False) for k in others if k not in sharing][:_MOST_ASKED]
        for index, shares in asked:
            draft = self._items[index]
            if isinstance(draft, Draft) and draft.join(piece, shares):
                self._note(index, piece)
                return True
        return False

    def _after(self, piece: Piece) -> tuple[int, set[int]]:
        """Return the last item that a piece conflicts with, -1 if none, and which
        items touch memory that it touches."""
        last = -1
        sharing: set[int] = set()
        for access, writes in _accesses(piece):
            for index, other, is_write in self._touched.get(access.buffer, ()):
                sharing.add(index)
                if index > last and (writes or is_write) and access.meets(other):
                    last = index
        return last, sharing

    def _note(self, index: int, piece: Piece) -> None:
        for access, writes in _accesses(piece):
            self._touched.setdefault(access.buffer, []).append((index, access, writes))

    def finished(self, names: Names) -> list[Fused]:
        """Return what is to be executed."""
        needed = Needed(self._lasting)
        found: list[Fused] = []
        for item in reversed(self._items):
            if isinstance(item, Draft):
                found += reversed(finished(item, needed, names))
            elif needed.pass_node(item):
                found.append(cast(Fused, item))
        return found[::-1]


def _accesses(piece: Piece) -> list[tuple[Access, bool]]:
    found = [(a, False) for a in piece.loads.values()]
    return found + [(w.target, True) for w in piece.writes]
