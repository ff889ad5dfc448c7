"""How a piece may walk the space of a draft: ways to try, the likeliest first.

Only proposes; whether a way changes no result is for `draft` to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .align import NOWHERE, Factors, Source, by_memory, in_order, same
from .pieces import Piece

if TYPE_CHECKING:
    from .draft import Draft

_MOST_TRIES = 4


def same_space(draft: Draft, piece: Piece, shares: bool) -> Iterator[Factors]:
    """Yield how a piece may walk all points: first as memory that both touch says."""
    accesses = [*piece.loads.values(), *[w.target for w in piece.writes]]
    pairs = [(a, *s) for a in accesses for s in draft.shared(a)] if shares else []
    pairs.sort(key=lambda p: not p[2])
    tried: list[Factors] = []
    equal = piece.sizes == draft.sizes
    for mine, theirs, _ in pairs:
        found: Factors | None
        if equal and mine.strides == theirs.strides:
            found = same(draft.sizes)
        else:
            found = by_memory(draft.sizes, theirs.strides, piece.sizes, mine.strides)
        if found is not None and found not in tried:
            tried.append(found)
            yield found
            if len(tried) >= _MOST_TRIES:
                return
    found = same(draft.sizes) if equal else in_order(draft.sizes, piece.sizes)
    few = max(len(draft.sizes), len(piece.sizes))
    if found is not None and found not in tried and len(found.sizes) <= few:
        yield found


def rows_space(draft: Draft, piece: Piece) -> Iterator[Factors]:
    """Yield how a piece walks the kept dims, if it reads something of the rows."""
    kept = [d for d in range(len(draft.sizes)) if d not in draft.dims]
    sizes = draft.kept
    tried: list[Factors] = []
    for load in piece.loads.values():
        for target, written in draft.shared(load):
            if not written or any(target.strides[d] for d in draft.dims):
                continue
            own = tuple([target.strides[d] for d in kept])
            found = by_memory(sizes, own, piece.sizes, load.strides)
            if found is not None and found not in tried:
                tried.append(found)
                yield _with_reduced(draft, found, kept)


def _with_reduced(draft: Draft, found: Factors, kept: list[int]) -> Factors:
    """Return factors of the kept dims as factors of all dims."""
    entries: list[tuple[int, Source, Source]] = [
        (size, (kept[d], m), theirs)
        for size, (d, m), theirs in zip(
            found.sizes, found.first, found.second, strict=True
        )
    ]
    entries += [(draft.sizes[d], (d, 1), NOWHERE) for d in draft.dims]
    entries.sort(key=lambda e: (e[1][0], -e[1][1]))
    sizes, first, second = zip(*entries, strict=True)
    return Factors(sizes, first, second)
