"""What is still needed: bytes that somebody reads later, walked from the end.

Knows bytes of buffers and what nodes and pieces touch; decides nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..layout import is_dense
from .ir import Buffer, Node, Opaque, Random, Ref, Shape
from .pieces import Access, Piece


class Needed:
    """Bytes of buffers whose content matters from some time on."""

    def __init__(self, live: Iterable[Buffer]) -> None:
        self._spans: dict[Buffer, list[tuple[int, int]]] = {
            b: [(0, b.nbytes)] for b in live
        }

    def has(self, buffer: Buffer, lo: int, hi: int) -> bool:
        """Whether some byte of a range matters."""
        return any(a < hi and lo < b for a, b in self._spans.get(buffer, ()) if lo < hi)

    def add(self, buffer: Buffer, lo: int, hi: int) -> None:
        """A range is read: what it held before matters."""
        if lo >= hi:
            return
        spans = []
        for a, b in self._spans.get(buffer, ()):
            if b < lo or hi < a:
                spans.append((a, b))
            else:
                lo, hi = min(a, lo), max(b, hi)
        self._spans[buffer] = [*spans, (lo, hi)]

    def drop(self, buffer: Buffer, lo: int, hi: int) -> None:
        """Every byte of a range is written: what it held before does not matter."""
        spans = []
        for a, b in self._spans.get(buffer, ()):
            if a < lo:
                spans.append((a, min(b, lo)))
            if hi < b:
                spans.append((max(a, hi), b))
        self._spans[buffer] = [s for s in spans if s[0] < s[1]]

    def has_access(self, access: Access) -> bool:
        return self.has(access.buffer, access.lo, access.hi)

    def pass_by(self, reads: Iterable[Access], writes: Iterable[Access]) -> None:
        """Go back past something that reads and then writes."""
        for access in writes:
            if access.is_whole:
                self.drop(access.buffer, access.lo, access.hi)
        for access in reads:
            self.add(access.buffer, access.lo, access.hi)

    def pass_node(self, node: Node) -> bool:
        """Go back past a node that is not fused; tell whether it is needed at all."""
        spans = [_span(*w) for w in node.writes]
        draws = isinstance(node, Random)  # its generator moves on in any case
        if not draws and not any(self.has(*span) for span in spans):
            return False
        if not isinstance(node, Opaque):  # which may leave something as it was
            for (ref, shape), span in zip(node.writes, spans, strict=True):
                if is_dense(shape, ref.strides):
                    self.drop(*span)
        for read in node.reads:
            self.add(*_span(*read))
        return True


def _span(ref: Ref, shape: Shape) -> tuple[Buffer, int, int]:
    return (ref.buffer, *ref.bytes_of(shape))


def without_dead(
    parts: Iterable[Piece | Node], live: Iterable[Buffer]
) -> list[Piece | Node]:
    """Return the parts of a trace that somebody sees, and of them what is seen."""
    needed = Needed(live)
    kept: list[Any] = []
    for part in reversed(list(parts)):
        if isinstance(part, Piece):
            part.writes = [w for w in part.writes if needed.has_access(w.target)]
            if not part.writes:
                continue
            used = frozenset().union(*[w.measured.names for w in part.writes])
            part.loads = {n: a for n, a in part.loads.items() if n in used}
            needed.pass_by(part.loads.values(), [w.target for w in part.writes])
            if not any(w.join for w in part.writes):
                part.dims = frozenset()
        elif not needed.pass_node(part):
            continue
        kept.append(part)
    return kept[::-1]
