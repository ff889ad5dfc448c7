"""Scans: what has been joined so far, at each element of a row.

A row is scanned by one task, or in pieces: each piece is joined, what comes before each
is worked out, then each is scanned from there. The same text for both targets; the CPU
has one more for rows that lie across memory. Rows of n elements stand in memory as
(outer, n, inner). Numbers are joined as int64 or float64, whatever the tensor's dtype.
Text only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..expr import apply, var
from ..tasks import Lines, Tasks

#: columns that a task of the CPU takes side by side
COLUMNS = 64

_LEAST = {
    "uint8": "0", "int8": "-128", "int16": "-32768", "int32": "-2147483648",
    "int64": "-9223372036854775808", "float32": "-math.inf", "float64": "-math.inf",
}  # fmt: skip
_MOST = {
    "uint8": "255", "int8": "127", "int16": "32767", "int32": "2147483647",
    "int64": "9223372036854775807", "float32": "math.inf", "float64": "math.inf",
}  # fmt: skip


@dataclass(frozen=True)
class Scan:
    """One kind of scan: sum, prod, max, min, logsumexp, or recurrence.

    `dtype` is what is read, `out` what is stored. A recurrence reads `factor` too, and
    is h = factor * h + x. Backwards scans begin at the last element.
    """

    kind: str
    dtype: str
    out: str
    backwards: bool = False

    @property
    def name(self) -> str:
        end = "_back" if self.backwards else ""
        return f"{self.kind}_{self.dtype}_{self.out}{end}"

    @property
    def total(self) -> str:
        """The dtype that values are joined in."""
        if self.kind in ("max", "min"):
            return self.dtype
        return "float64" if self.out.startswith("float") else "int64"

    @property
    def states(self) -> tuple[tuple[str, str], ...]:
        """What is known of the elements so far: names and dtypes."""
        if self.kind in ("max", "min"):
            return (("most", self.dtype), ("found", "int64"))
        if self.kind == "logsumexp":
            # the largest, and the sum of exponentials of what others are above it
            return (("most", "float64"), ("total", "float64"))
        return (("total", self.total),)

    @property
    def may_be_cut(self) -> bool:
        """Whether rows may be scanned in pieces.

        A piece's product may overflow where that of all elements so far does not.
        """
        return self.kind not in ("prod", "recurrence")

    @property
    def inputs(self) -> tuple[tuple[str, str], ...]:
        pointers = (("x", self.dtype),)
        if self.kind == "recurrence":
            pointers += (("factor", self.dtype),)
        return pointers

    @property
    def outputs(self) -> tuple[tuple[str, str], ...]:
        pointers = (("out", self.out),)
        if self.kind in ("max", "min"):
            pointers += (("places", "int64"),)
        return pointers

    def begin(self) -> list[str]:
        """Lines that set the states to those of no elements."""
        if self.kind in ("max", "min"):
            bounds = _LEAST if self.kind == "max" else _MOST
            return [f"most = {self.dtype}({bounds[self.dtype]})", "found = int64(0)"]
        if self.kind == "logsumexp":
            return ["most = float64(-math.inf)", "total = float64(0)"]
        return [f"total = {self.total}({int(self.kind == 'prod')})"]

    def step(self, s: Lines, place: str, k: str) -> None:
        """Put down how element k, read from a place, joins the states."""
        if self.kind in ("max", "min"):
            s.add(f"value = x[{place}]")
            self._take(s, "value", k)
        elif self.kind == "recurrence":
            s.add(f"total = float64(factor[{place}]) * total + float64(x[{place}])")
        else:
            s.add(f"value = {self.total}(x[{place}])")
            if self.kind == "logsumexp":
                self._exponential(s, "float64(1)")
            else:
                self._add(s, "value")

    def join(self, s: Lines, q: str) -> None:
        """Put down how the states of later elements, kept in memory, join."""
        if self.kind in ("max", "min"):
            s.add(f"value = most_of[{q}]", f"later = found_of[{q}]")
            self._take(s, "value", "later")
        elif self.kind == "logsumexp":
            s.add(f"value = most_of[{q}]")
            self._exponential(s, f"total_of[{q}]")
        else:
            s.add(f"value = total_of[{q}]")
            self._add(s, "value")

    def _take(self, s: Lines, value: str, k: str) -> None:
        sign = ">=" if self.kind == "max" else "<="
        test = f"{value} {sign} most"
        if self.dtype.startswith("float"):
            # the first test is nearly always false, and after it the rest are not made
            less = "<" if self.kind == "max" else ">"
            test = f"not {value} {less} most and (most == most or {value} != {value})"
        s.open(f"if {test}:")
        s.add(f"most = {value}", f"found = {k}")
        s.close()

    def _add(self, s: Lines, value: str) -> None:
        s.add(f"total = total {'+' if self.kind == 'sum' else '*'} {value}")

    def _exponential(self, s: Lines, count: str) -> None:
        """Put down how `count` exponentials of `value` join."""
        s.open("if value > most:")
        s.add("gap = most - value")
        s.add(f"scale = {s.value(apply('exp', var('gap', 'float64')))}")
        s.add(f"total = total * scale + {count}", "most = value")
        s.close()
        s.open("elif value == most:")  # both may be infinite
        s.add(f"total += {count}")
        s.close()
        s.open("else:")
        s.add("gap = value - most")
        s.add(f"scale = {s.value(apply('exp', var('gap', 'float64')))}")
        s.add(f"total += {count} * scale")
        s.close()

    def store(self, s: Lines, place: str) -> None:
        """Put down how the states are stored as the result of an element."""
        if self.kind in ("max", "min"):
            s.add(f"out[{place}] = most", f"places[{place}] = found")
        elif self.kind == "logsumexp":
            log = s.value(apply("log", var("total", "float64")))
            s.add(f"out[{place}] = {self.out}(most + {log})")
        else:
            s.add(f"out[{place}] = {self.out}(total)")


Place = Callable[[str], str]


def _piece(s: Lines, scan: Scan, unit: bool) -> Place:
    """Put down which piece of which row a task has; return what says where element k
    of the scan is."""
    s.add("piece = udiv(i, rows)", "row = i - piece * rows")
    s.add("first = piece * size", "last = min(n, first + size)")
    s.add("start = row * n" if unit else "start = udiv(row, inner) * inner * (n - 1)")
    if not unit:
        s.add("start = start + row")
    if scan.backwards:
        s.add("start = start + (n - 1)" + ("" if unit else " * inner"))
    sign = "-" if scan.backwards else "+"
    step = "" if unit else " * inner"
    return lambda k: f"start {sign} {k}{step}"


def _kept(scan: Scan) -> tuple[tuple[str, str], ...]:
    return tuple((f"{name}_of", dtype) for name, dtype in scan.states)


_NUMBERS = ("n", "inner", "rows", "size")


def _place(scan: Scan) -> str:
    """Return which element the k-th of a scan is."""
    return "n - 1 - k" if scan.backwards else "k"


def totals(scan: Scan, unit: bool) -> Tasks:
    """Each task joins the elements of a piece of a row."""

    def build(s: Lines) -> None:
        place = _piece(s, scan, unit)
        s.add(*scan.begin())
        if scan.kind == "sum":
            _by_fours(s, scan, place, False)
        _rest(s, scan, place, False)
        s.add(*(f"{name}_of[i] = {name}" for name, _ in scan.states))

    return Tasks(
        ("scan_totals", scan, unit),
        f"scan_totals_{scan.name}{'' if unit else '_across'}",
        f"Pieces of rows joined: {scan.name}.",
        (*_kept(scan), *scan.inputs),
        build,
        _NUMBERS,
    )


def carries(scan: Scan) -> Tasks:
    """Each task puts in place of each piece of a row what comes before it."""

    def build(s: Lines) -> None:
        s.add(*scan.begin())
        names = [name for name, _ in scan.states]
        s.open("for piece in range(pieces):")
        s.add("q = piece * rows + i", *(f"{name}_before = {name}" for name in names))
        scan.join(s, "q")
        s.add(*(f"{name}_of[q] = {name}_before" for name in names))
        s.close()

    return Tasks(
        ("scan_carries", scan),
        f"scan_carries_{scan.name}",
        f"What comes before each piece: {scan.name}.",
        _kept(scan),
        build,
        ("rows", "pieces"),
    )


def pieces(scan: Scan, unit: bool, carried: bool) -> Tasks:
    """Each task scans a piece of a row, from what comes before it if `carried`."""

    def build(s: Lines) -> None:
        place = _piece(s, scan, unit)
        s.add(*scan.begin())
        if carried:
            s.add(*(f"{name} = {name}_of[i]" for name, _ in scan.states))
        if scan.kind == "sum":
            _by_fours(s, scan, place, True)
        _rest(s, scan, place, True)

    marks = f"{'' if unit else '_across'}{'_carried' if carried else ''}"
    return Tasks(
        ("scan_pieces", scan, unit, carried),
        f"scan_{scan.name}{marks}",
        f"Pieces of rows scanned: {scan.name}.",
        (*scan.outputs, *(_kept(scan) if carried else ()), *scan.inputs),
        build,
        _NUMBERS,
    )


def _by_fours(s: Lines, scan: Scan, place: Place, stored: bool) -> None:
    """Put down the sums of whole fours, after which `first` is what is left.

    A total waits for the one before it, so that it is worked out but once in four.
    """
    s.open("for four in range((last - first) >> 2):")
    s.add("k = first + 4 * four")
    for n in range(4):
        at = place(f"(k + {n})")
        s.add(f"place_{n} = {at}", f"v{n} = {scan.total}(x[place_{n}])")
    s.add("v01 = v0 + v1", *(["v012 = v01 + v2"] if stored else ()))
    s.add("v0123 = v01 + (v2 + v3)")
    for n, part in enumerate(("v0", "v01", "v012", "v0123") if stored else ()):
        s.add(f"out[place_{n}] = {scan.out}(total + {part})")
    s.add("total = total + v0123")
    s.close()
    s.add("first = last - ((last - first) & 3)")


def _rest(s: Lines, scan: Scan, place: Place, stored: bool) -> None:
    """Put down the scan of elements from `first` on.

    Few of many are new extremes: four that are not are passed over together.
    """
    extreme = scan.kind in ("max", "min")
    s.add("k = first")
    s.open("while k < last:")
    if extreme:
        less = "<" if scan.kind == "max" else ">"
        fours = [place(f"(k + {n})") for n in range(4)]
        tests = " and ".join(f"x[{at}] {less} most" for at in fours)
        s.open(f"if k + 4 <= last and {tests}:")
        for at in fours if stored else ():
            scan.store(s, at)
        s.add("k += 4", "continue")
        s.close()
    scan.step(s, place("k"), _place(scan))
    if stored:
        scan.store(s, place("k"))
    s.add("k += 1")
    s.close()


def columns(scan: Scan) -> Tasks:
    """Each task scans neighbouring rows that lie across memory, side by side.

    What is known of each is kept in memory, so that the loop over them is over
    neighbours. For the CPU.
    """

    def build(s: Lines) -> None:
        names = [name for name, _ in scan.states]
        s.add("block = udiv(i, blocks)", f"column = (i - block * blocks) * {COLUMNS}")
        s.add(f"width = min({COLUMNS}, inner - column)", f"held = i * {COLUMNS}")
        s.add(*scan.begin())
        s.open("for j in range(width):")
        s.add(*(f"{name}_of[held + j] = {name}" for name in names))
        s.close()
        s.open("for k in range(n):")
        s.add(f"start = (block * n + {_place(scan)}) * inner + column")
        s.open("for j in range(width):")
        s.add(*(f"{name} = {name}_of[held + j]" for name in names))
        scan.step(s, "start + j", _place(scan))
        scan.store(s, "start + j")
        s.add(*(f"{name}_of[held + j] = {name}" for name in names))
        s.close()
        s.close()

    return Tasks(
        ("scan_columns", scan),
        f"scan_columns_{scan.name}",
        f"Rows that lie across memory scanned side by side: {scan.name}.",
        (*scan.outputs, *_kept(scan), *scan.inputs),
        build,
        ("n", "inner", "blocks"),
    )
