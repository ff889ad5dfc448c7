"""Values computed again where they are read, instead of being stored and loaded.

A loop that reads what an earlier one wrote may compute it itself, from what that one
read, if it is cheap and nothing of it has changed since. The view between the two is
undone by `align.places`. Decides about single reads; which loops are fused is decided
in `fuse`.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace

from ..kernels.expr import Expr, var
from ..kernels.loops import itemsize
from ..layout import numel
from .align import Places, Sizes, Split, places
from .ir import Buffer, Node, Ref
from .pieces import Access, Names, Piece, Write
from .trees import replaced

#: costs in additions up to which a value is computed again: one number, a row that is
#: broadcast, a part of a larger value, a value that another reduction needs
ONE, ROW, PART, AGAIN = 16, 6, 4, 12
#: most that a loop may grow by, and most inputs that it may end up with
_MOST_COST, _MOST_LOADS = 40, 12


@dataclass(frozen=True)
class Past:
    """Something that was written: by which part of the trace, and what."""

    index: int
    access: Access
    piece: Piece | None = None
    write: Write | None = None


class History:
    """What was written to each buffer, in order."""

    def __init__(self) -> None:
        self._past: dict[Buffer, list[Past]] = {}

    def note(self, index: int, part: Piece | Node) -> None:
        """Put down what a part of the trace writes."""
        if isinstance(part, Piece):
            found = [Past(index, w.target, part, w) for w in part.writes]
        else:
            found = [Past(index, Access(r, tuple(shape))) for r, shape in part.writes]
        for past in found:
            self._past.setdefault(past.access.buffer, []).append(past)

    def last(self, access: Access, before: int) -> Past | None:
        """Return the last thing before a time that wrote some of an access."""
        for past in reversed(self._past.get(access.buffer, ())):
            if past.index < before and past.access.meets(access):
                return past
        return None

    def changed(self, access: Access, since: int, before: int) -> bool:
        """Whether something between two times wrote some of an access."""
        for past in reversed(self._past.get(access.buffer, ())):
            if past.index < since:
                return False
            if past.index < before and past.access.meets(access):
                return True
        return False


def split(piece: Piece, dim: int, inner: int) -> Piece:
    """Return the piece with one dim cut in two."""

    def access(a: Access) -> Access:
        step = a.strides[dim]
        return a.walked((*a.strides[:dim], step * inner, step, *a.strides[dim + 1 :]))

    outer = piece.sizes[dim] // inner
    dims = {d + (d > dim) for d in piece.dims}
    return replace(
        piece,
        sizes=(*piece.sizes[:dim], outer, inner, *piece.sizes[dim + 1 :]),
        dims=frozenset(dims | {dim + 1} if dim in dims else dims),
        loads={n: access(a) for n, a in piece.loads.items()},
        writes=[replace(w, target=access(w.target)) for w in piece.writes],
    )


def with_value(
    piece: Piece, name: str, past: Past, history: History, names: Names
) -> Piece | None:
    """Return a piece that computes a load as `past` did, None if it cannot."""
    made, write = past.piece, past.write
    load = piece.loads[name]
    if made is None or write is None or write.join or made.alone:
        return None
    target = write.target
    if target.dtype != load.dtype or load.dtype == "float16":
        return None
    distance, rest = divmod(load.offset - target.offset, itemsize(load.dtype))
    if rest:
        return None
    if not made.loads and target.is_whole:
        if load.lo < target.lo or target.hi < load.hi:
            return None
        found: Places | Split | None = Places((), ())
    else:
        found = places(made.sizes, target.strides, piece.sizes, load.strides, distance)
    while isinstance(found, Split):
        piece = split(piece, found.dim, found.inner)
        load = piece.loads[name]
        found = places(made.sizes, target.strides, piece.sizes, load.strides, distance)
    if found is None:
        return None
    loads = {n: a for n, a in piece.loads.items() if n != name}
    known = {a.key: n for n, a in loads.items()}
    table: dict[str, Expr] = {}
    for own, access in made.loads.items():
        seen = _seen(access, found, piece.sizes)
        if history.changed(seen, made.index, piece.index):
            return None
        if seen.key not in known:
            known[seen.key] = new = names.new("i")
            loads[new] = seen
        table[own] = var(known[seen.key], access.dtype)
    value = {name: replaced(write.value, table)}
    done: dict[int, Expr] = {}
    result = Piece(
        piece.index,
        made.nodes + [n for n in piece.nodes if n not in made.nodes],
        piece.sizes,
        piece.dims,
        loads,
        [Write(w.target, replaced(w.value, value, done), w.join) for w in piece.writes],
    )
    return None if result.is_tangled() else result


def _seen(access: Access, found: Places, sizes: Sizes) -> Access:
    """Return what a load of the writer is to the reader."""
    start = sum(i * s for i, s in zip(found.start, access.strides, strict=True))
    steps = tuple(
        sum(i * s for i, s in zip(step, access.strides, strict=True))
        for step in found.steps
    )
    offset = access.offset + start * itemsize(access.dtype)
    return Access(Ref(access.buffer, offset, access.dtype, steps), sizes)


def with_small_values(
    piece: Piece, history: History, names: Names, lasting: Container[Buffer]
) -> Piece:
    """Return a piece that computes what is cheap and has fewer points by itself.

    A part of what stays in `lasting` memory is read from there.
    """
    if piece.alone:
        return piece
    grown = 0
    left = list(piece.loads)
    while left:
        name = left.pop()
        load = piece.loads.get(name)
        past = history.last(load, piece.index) if load is not None else None
        if past is None or past.write is None or past.piece is None:
            continue
        assert load is not None
        cost = past.write.measured.cost
        limit = _limit(piece, load, past.piece, load.buffer in lasting)
        if cost > limit or grown + cost > _MOST_COST:
            continue
        made = with_value(piece, name, past, history, names)
        if made is None or len(made.loads) > max(_MOST_LOADS, len(piece.loads)):
            continue
        left += [n for n in made.loads if n not in piece.loads]
        piece = made
        grown += cost
    return piece


def _limit(piece: Piece, load: Access, made: Piece, lasts: bool) -> int:
    """Return the cost up to which a value should be computed again by its reader."""
    if not made.loads:
        return ONE
    points = made.points
    seen = numel(
        [n for n, s in zip(piece.sizes, load.strides, strict=True) if s]
    )  # elements that the reader meets
    if seen < points:
        return -1 if lasts or len(made.loads) > 2 else PART
    if piece.points <= points:
        return -1
    return ONE if points == 1 else ROW


def from_memory(
    piece: Piece, history: History, names: Names, stored_anyway: Container[Buffer]
) -> Piece | None:
    """Return a piece that reads nothing that would be stored for it alone.

    None if it reads nothing of that kind, or if it is not worth it.
    """
    if piece.alone:
        return None
    grown = 0
    left = list(piece.loads)
    changed = False
    while left:
        name = left.pop()
        load = piece.loads.get(name)
        if load is None or load.buffer in stored_anyway:
            continue
        past = history.last(load, piece.index)
        if past is None or past.write is None or past.write.join:
            continue
        grown += past.write.measured.cost
        if grown > AGAIN:
            return None
        made = with_value(piece, name, past, history, names)
        if made is None:
            return None
        left += [n for n in made.loads if n not in piece.loads]
        piece, changed = made, True
    large = [a for a in piece.loads.values() if all(a.strides)]
    return piece if changed and len(large) <= 3 else None
