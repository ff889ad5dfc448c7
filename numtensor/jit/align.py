"""Index spaces: which points of two loops are one and the same, and how views compose.

A space is a tuple of sizes; memory is walked by strides, one for each dim. Functions of
integers: knows no node, no expression and no buffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Sizes = tuple[int, ...]
#: a dim of a space, and how many of its steps one step of a factor is
Source = tuple[int, int]
#: nothing: the space does not move along this factor
NOWHERE: Source = (-1, 0)


@dataclass(frozen=True)
class Factors:
    """Two spaces cut into common dims: the sizes, and where each is in either space."""

    sizes: Sizes
    first: tuple[Source, ...]
    second: tuple[Source, ...]

    @property
    def keeps_first(self) -> bool:
        """Whether the first space is these dims as it stands."""
        return all(s == (d, 1) for d, s in enumerate(self.first))


def along(sources: Sequence[Source], strides: Sequence[int]) -> Sizes:
    """Return strides over factors from those over the space that they come from."""
    return tuple([strides[d] * m if d >= 0 else 0 for d, m in sources])


def same(sizes: Sizes) -> Factors:
    """Return the factors of two spaces that agree dim by dim."""
    sources = tuple([(d, 1) for d in range(len(sizes))])
    return Factors(sizes, sources, sources)


def in_order(first: Sizes, second: Sizes) -> Factors | None:
    """Pair points by their place in row-major order, None if dims cut each other.

    >>> in_order((640,), (64, 10)).first
    ((0, 10), (0, 1))
    """
    found = _cut(first, range(len(first)), second, range(len(second)))
    return None if found is None else _factors(found)


def by_memory(
    first: Sizes, strides: Sequence[int], second: Sizes, others: Sequence[int]
) -> Factors | None:
    """Pair points that walk memory alike; None if they do not.

    Dims along which memory stands still are paired in their order.

    >>> by_memory((4, 6), (6, 1), (6, 4), (1, 6)).second
    ((1, 1), (0, 1))
    """
    moving = sorted((d for d, s in enumerate(strides) if s), key=lambda d: -strides[d])
    theirs = sorted((d for d, s in enumerate(others) if s), key=lambda d: -others[d])
    found = _cut(first, moving, second, theirs)
    if found is None:
        return None
    for _, (a, m), (b, n) in found:
        if strides[a] * m != others[b] * n:
            return None
    still = _cut(
        first,
        [d for d, s in enumerate(strides) if not s],
        second,
        [d for d, s in enumerate(others) if not s],
    )
    if still is None:
        return None
    return _factors(found + still)


_Cuts = list[tuple[int, Source, Source]]


def _factors(found: _Cuts) -> Factors:
    found.sort(key=lambda f: (f[1][0], -f[1][1]))
    return Factors(
        tuple([f[0] for f in found]),
        tuple([f[1] for f in found]),
        tuple([f[2] for f in found]),
    )


def _cut(
    first: Sizes, mine: Sequence[int], second: Sizes, theirs: Sequence[int]
) -> _Cuts | None:
    """Cut dims (given outermost first) into common ones, from the innermost on."""
    found: _Cuts = []
    i, j = len(mine) - 1, len(theirs) - 1
    a = b = 1  # steps already cut from the inside of the present dims
    while i >= 0 and j >= 0:
        left, right = first[mine[i]] // a, second[theirs[j]] // b
        size = min(left, right)
        if left % size or right % size:
            return None
        found.append((size, (mine[i], a), (theirs[j], b)))
        a *= size
        b *= size
        if a == first[mine[i]]:
            i, a = i - 1, 1
        if b == second[theirs[j]]:
            j, b = j - 1, 1
    return found if i < 0 and j < 0 else None


def is_nested(sizes: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether each dim steps past all that the dims of smaller stride reach.

    Then no two points share a place.
    """
    reach = 0
    for step, size in sorted(zip(strides, sizes, strict=True)):
        if step <= reach:
            return False
        reach += step * (size - 1)
    return True


@dataclass(frozen=True)
class Split:
    """Dim `dim` of the reading space must be cut, its inner part being `inner`."""

    dim: int
    inner: int


@dataclass(frozen=True)
class Places:
    """At which point of a writing space each point of a reading one finds its value.

    `start` is that of the first point, `steps[d]` how it moves along reading dim d.
    """

    start: Sizes
    steps: tuple[Sizes, ...]


def places(
    sizes: Sizes,
    strides: Sequence[int],
    reading: Sizes,
    walked: Sequence[int],
    offset: int,
) -> Places | Split | None:
    """Find the points that wrote what is read, the read beginning `offset` later.

    None if something that is read was not written, or if that is not clear.

    >>> places((4, 6), (6, 1), (6,), (1,), 12)
    Places(start=(2, 0), steps=((0, 1),))
    """
    if offset < 0 or not is_nested(sizes, strides):
        return None
    order = sorted(range(len(sizes)), key=lambda d: -strides[d])

    def taken_apart(distance: int) -> list[int] | None:
        steps = [0] * len(sizes)
        for d in order:
            steps[d], distance = divmod(distance, strides[d])
        return steps if not distance else None

    start = taken_apart(offset)
    if start is None:
        return None
    ends = list(start)
    all_steps: list[Sizes] = []
    for size, stride in zip(reading, walked, strict=True):
        steps = taken_apart(stride)
        if steps is None:
            return None
        all_steps.append(tuple(steps))
        for d, step in enumerate(steps):
            ends[d] += step * (size - 1)
    for d, end in enumerate(ends):
        if end >= sizes[d]:
            return _split(sizes[d], d, start, all_steps, reading)
    return Places(tuple(start), tuple(all_steps))


def _split(
    size: int, dim: int, start: list[int], steps: list[Sizes], reading: Sizes
) -> Split | None:
    """Find a reading dim that runs past the end of writing dim `dim`, into the next."""
    for d, (step, count) in enumerate(zip(steps, reading, strict=True)):
        if step[dim] and step[dim] * (count - 1) >= size:
            inner, rest = divmod(size, step[dim])
            if start[dim] or rest or inner < 2 or count % inner or inner == count:
                return None
            return Split(d, inner)
    return None


@dataclass(frozen=True)
class Walk:
    """Bytes that a loop touches: where it begins, sizes, strides and items in bytes."""

    start: int
    sizes: Sizes
    strides: Sizes
    item: int


def are_apart(a: Walk, b: Walk) -> bool:
    """Whether two walks whose ranges overlap surely touch different bytes.

    Seen for windows side by side that repeat at one distance: columns of a matrix.
    """
    for distance in {max(a.strides, default=0), max(b.strides, default=0)}:
        if distance:
            first, second = _window(a, distance), _window(b, distance)
            if first and second and (first[1] <= second[0] or second[1] <= first[0]):
                return True
    return False


def _window(walk: Walk, distance: int) -> tuple[int, int] | None:
    """Return which bytes of each `distance` are touched, None if it runs past one."""
    start = walk.start % distance
    end = start + walk.item
    for size, step in zip(walk.sizes, walk.strides, strict=True):
        if step % distance:
            end += step * (size - 1)
    return (start, end) if end <= distance else None
