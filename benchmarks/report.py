"""Samples in, statistics and text out: medians, ratios, verdicts, table, progress.

Knows nothing of processes, and of libraries only their names.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import sub, truediv
from statistics import median
from typing import Any

from benchmarks.workloads import Workload

BASE = "numtensor"
HEADS = ("workload", "library", "first call", "median", "min")


@dataclass
class Measurement:
    """What one library gave for one workload; all times in seconds per call."""

    library: str
    first: float = 0.0
    samples: list[float] = field(default_factory=list)
    error: str = ""


@dataclass
class Result:
    """One workload with the measurements of every library, by name."""

    workload: Workload
    found: dict[str, Measurement]

    def compare(self, base: str, other: str, how: Any = truediv) -> float | None:
        """Return the median over the rounds of base / other, None if unmeasured."""
        pair = [self.found.get(name) for name in (base, other)]
        if any(m is None or m.error or not m.samples for m in pair):
            return None
        return float(median(map(how, *(m.samples for m in pair if m))))

    def verdict(self, other: str) -> str:
        """Return the target against `other` and its outcome, "" without a target."""
        if (limit := self.workload.targets.get(other)) is not None:
            value, text = self.compare(BASE, other), f"<= {limit:.2f}"
        elif (limit := self.workload.margins.get(other)) is not None:
            value = self.compare(BASE, other, sub)
            shown = "" if value is None else f"{duration(value)} more, "
            text = f"{shown}<= {duration(limit)}"
        else:
            return ""
        if value is None:
            return f"{text} not measured"
        return f"{text} {'met' if value <= limit else 'MISSED'}"

    def verdicts(self) -> list[str]:
        """Return one line per target; of those that are met, it ends in " met"."""
        found = {name: self.verdict(name) for name in self.found}
        title = f"{self.workload.name}: {BASE} against"
        return [f"{title} {name}: {text}" for name, text in found.items() if text]

    def rows(self, base: str) -> list[dict[str, Any]]:
        """Return what the table and the JSON file show, one dict per library."""
        rows = []
        for m in self.found.values():
            row: dict[str, Any] = {"workload": self.workload.name, "library": m.library}
            if m.error or not m.samples:
                row["error"] = m.error
            else:
                row |= {"first": m.first, "median": median(m.samples)}
                row |= {"min": min(m.samples), "samples": m.samples}
                row["ratio"] = self.compare(base, m.library)
                row["target"] = self.verdict(m.library) if base == BASE else ""
            rows.append(row)
        return rows


def duration(seconds: float) -> str:
    """Return a time with three digits and its unit.

    >>> duration(0.00001234), duration(-0.25), duration(12.0)
    ('12.3 µs', '-250 ms', '12 s')
    """
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6), ("ns", 1e9)):
        if abs(number := float(f"{seconds * scale:.3g}")) >= 1:
            return f"{number:g} {unit}"
    return f"{number:g} ns"


def table(results: Sequence[Result], base: str) -> str:
    """Return the aligned table: one line per workload and library."""
    lines = [[*HEADS, f"{base}/it", "target"]]
    for result in results:
        title = result.workload.name
        for row in result.rows(base):
            cells = [title, row["library"], "", "", "", "", row.get("error", "")]
            if "error" not in row:
                cells[2:5] = [duration(row[key]) for key in ("first", "median", "min")]
                # Base against itself, or against nothing, says nothing.
                if row["library"] != base and row["ratio"] is not None:
                    cells[5] = f"{row['ratio']:.3g}"
                cells[6] = row["target"]
            lines.append(cells)
            title = ""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    pads = [str.ljust, str.ljust, str.rjust, str.rjust, str.rjust, str.rjust, str.ljust]
    return "\n".join(
        "  ".join(map(lambda p, c, w: p(c, w), pads, cells, widths)).rstrip()
        for cells in lines
    )


class Progress:
    """A line on a terminal that says how far the run is; silent elsewhere."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total, self.done = title, total, 0
        self.start = time.monotonic()

    def step(self, label: str) -> None:
        """Show one step more, and what it is."""
        passed = time.monotonic() - self.start
        left = passed * (self.total - self.done) / max(self.done, 1)
        self.done += 1
        bar = ("#" * (24 * self.done // self.total)).ljust(24, ".")
        self._write(f"{self.title} [{bar}] {passed:.0f}s, {left:.0f}s left: {label}")

    def close(self) -> None:
        """Wipe the line."""
        self._write("")

    def _write(self, text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
