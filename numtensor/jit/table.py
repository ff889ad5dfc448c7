"""What `explain` returns: a table of the loops of a compiled function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .ir import Buffer

if TYPE_CHECKING:
    from .special import Special


class Table:
    """Rows of (kind, operators, bytes moved, threads), printed as text.

    `moved` is what all kernels read and write, `least` what has to be: what comes from
    outside read once, what goes outside written once.
    """

    def __init__(self, special: Special) -> None:
        self.rows = [
            (p.kind, p.title, p.nbytes, p.threads) for p in special.program.parts
        ]
        self.moved = sum(row[2] for row in self.rows)
        self.nodes = len(special.done.nodes)
        self.least = _least(special)

    def __repr__(self) -> str:
        head = ("loop", "operators", "bytes", "threads")
        rows = [
            (kind, _short(title), f"{nbytes:,}", "yes" if threads else "no")
            for kind, title, nbytes, threads in self.rows
        ]
        widths = [max(len(r[k]) for r in [head, *rows]) for k in range(4)]
        lines = []
        for row in [head, *rows]:
            cells = [row[0].ljust(widths[0]), row[1].ljust(widths[1])]
            cells += [row[2].rjust(widths[2]), row[3].ljust(widths[3])]
            lines.append("  ".join(cells).rstrip())
        lines.append("-" * max(len(line) for line in lines))
        share = self.moved / self.least if self.least else 1.0
        lines.append(
            f"{self.nodes} operators in {len(self.rows)} kernels; {self.moved:,} bytes "
            f"moved, {share:.2f} times the least ({self.least:,})"
        )
        return "\n".join(lines)


def _short(title: str, most: int = 60) -> str:
    return title if len(title) <= most else title[: most - 3] + "..."


def _least(special: Special) -> int:
    """Return the bytes that come in or go out, each once."""
    read: dict[Buffer, int] = {}
    written: dict[Buffer, int] = {}
    outside = set(special.externals)
    for node in special.done.nodes:
        for places, into in ((node.reads, read), (node.writes, written)):
            for ref, shape in places:
                if ref.buffer in outside:
                    first, last = ref.bytes_of(shape)
                    into[ref.buffer] = max(into.get(ref.buffer, 0), last - first)
    fresh = set(special.fresh)
    return sum(n for b, n in read.items() if b not in fresh) + sum(written.values())
