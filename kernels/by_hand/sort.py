"""Sorting by comparison: runs by insertion, then merges in which each element finds
its own place.

The same text for both targets. Rows of n elements stand in memory as (outer, n, inner);
an operand's `inner` is a number of the table, so that a kernel reads and writes along
any dim. NaN is the largest; equal elements keep their order. Text only.
"""

from __future__ import annotations

from ..tasks import Lines, Tasks


def held(dtype: str) -> str:
    """Return the dtype in which elements are read: bool as the numbers 0 and 1."""
    return "uint8" if dtype == "bool" else dtype


def before(dtype: str, descending: bool, a: str, b: str) -> str:
    """Return the condition that a value stands before another."""
    if descending:
        a, b = b, a
    if dtype.startswith("float"):
        return f"({a} < {b} or ({b} != {b} and {a} == {a}))"
    return f"{a} < {b}"


def row_start(s: Lines, name: str, inner: str) -> None:
    """Put down `name`, the place of the first element of `row`."""
    # of row (o, j) it is o * n * inner + j, and row is o * inner + j
    s.add(f"{name} = udiv(row, {inner}) * {inner} * (n - 1) + row")


def runs(dtype: str, descending: bool) -> Tasks:
    """Each task sorts `run` neighbours of a row by insertion."""
    kind = held(dtype)

    def build(s: Lines) -> None:
        s.add("row = udiv(i, per_row)")
        row_start(s, "source", "x_inner")
        row_start(s, "target", "out_inner")
        s.add("first = (i - row * per_row) * run", "last = min(n, first + run)")
        s.open("for k in range(first, last):")
        s.add("value = x[source + k * x_inner]", "j = k")
        s.add("place = target + k * out_inner")
        s.open("while j > first:")
        s.add("other = out[place - out_inner]")
        s.open(f"if not {before(kind, descending, 'value', 'other')}:")
        s.add("break")
        s.close()
        s.add("out[place] = other", "order[place] = order[place - out_inner]")
        s.add("place -= out_inner", "j -= 1")
        s.close()
        s.add("out[place] = value", "order[place] = k")
        s.close()

    return Tasks(
        ("sort_runs", kind, descending),
        f"sort_runs_{kind}{'_down' if descending else ''}",
        f"Runs of {kind} sorted by insertion, {_direction(descending)}.",
        (("out", kind), ("order", "int64"), ("x", kind)),
        build,
        ("n", "per_row", "run", "x_inner", "out_inner"),
    )


def merge(dtype: str, descending: bool) -> Tasks:
    """Each task takes an element of one of two runs to its place in both.

    What stands before it is counted: in its own run it is known, in the other it is
    found by bisection.
    """
    kind = held(dtype)

    def build(s: Lines) -> None:
        s.add("row = udiv(i, n)", "k = i - row * n", "source = row * n")
        row_start(s, "target", "out_inner")
        s.add("pair = udiv(k, 2 * run) * 2 * run", "middle = min(n, pair + run)")
        s.add("value = x[source + k]")
        s.open("if k < middle:")
        s.add("low = middle", "high = min(n, pair + 2 * run)")
        s.open("while low < high:")
        s.add("half = (low + high) >> 1")
        s.open(f"if {before(kind, descending, 'x[source + half]', 'value')}:")
        s.add("low = half + 1")
        s.close()
        s.open("else:")
        s.add("high = half")
        s.close()
        s.close()
        s.close()
        s.open("else:")
        s.add("low = pair", "high = middle")
        s.open("while low < high:")
        s.add("half = (low + high) >> 1")
        s.open(f"if {before(kind, descending, 'value', 'x[source + half]')}:")
        s.add("high = half")
        s.close()
        s.open("else:")
        s.add("low = half + 1")
        s.close()
        s.close()
        s.close()
        s.add("place = target + (k + low - middle) * out_inner")
        s.add("out[place] = value", "order[place] = known[source + k]")

    return Tasks(
        ("sort_merge", kind, descending),
        f"sort_merge_{kind}{'_down' if descending else ''}",
        f"Sorted runs of {kind} merged two by two, {_direction(descending)}.",
        (("out", kind), ("order", "int64"), ("x", kind), ("known", "int64")),
        build,
        ("n", "run", "out_inner"),
    )


def _direction(descending: bool) -> str:
    return "largest first" if descending else "smallest first"
