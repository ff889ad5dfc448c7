"""Finding places in sorted rows by bisection. Text only."""

from __future__ import annotations

from functools import cache

from ..tasks import Lines, Tasks
from .sort import held


def bisect(s: Lines, behind: str) -> None:
    """Put down `low`, the first of places [low, high) that `behind` does not hold for.

    Each step halves what is left, by arithmetic: which half is next cannot be foretold,
    and a wrong branch costs more than all else.
    """
    s.add("left = high - low")
    s.open("while left > 0:")
    s.add("some = (left + 1) >> 1", "half = low + some - 1")
    s.add(f"low += some * int64({behind})", "left -= some")
    s.close()


@cache
def places(dtype: str, right: bool, sorter: bool, out: str) -> Tasks:
    """Each task finds where in a sorted row a value would go.

    Before its equals, or behind them if `right`. Row `i // width` of the rows is
    searched, of n elements; `sorter` says in what order the row is sorted.
    """
    kind = held(dtype)

    def build(s: Lines) -> None:
        s.add("start = udiv(i, width) * n * many_rows", "value = x[i]")
        s.add("low = int64(0)", "high = n")
        k = "start + half"
        if sorter:
            k = "start + sorter[start + half]"
        # the search goes on behind a NaN of the row; a NaN's own place is the end
        bisect(s, f"not row[{k}] {'>' if right else '>='} value")
        s.add(f"out[i] = {out}(low)")

    pointers = [("out", out), ("x", kind), ("row", kind)]
    pointers += [("sorter", "int64")] if sorter else []
    return Tasks(
        ("search_places", kind, right, sorter, out),
        f"search_{kind}{'_right' if right else ''}{'_sorter' if sorter else ''}_{out}",
        f"Where {kind} would go in sorted rows.",
        tuple(pointers),
        build,
        ("n", "width", "many_rows"),
    )


@cache
def member(dtype: str, invert: bool) -> Tasks:
    """Each task says whether a value is in a sorted row."""
    kind = held(dtype)

    def build(s: Lines) -> None:
        s.add("value = x[i]", "low = int64(0)", "high = n")
        bisect(s, "row[half] < value")
        # a NaN, for which the search stops at the beginning, equals nothing
        s.add("there = False")
        s.open("if low < n:")
        s.add("there = row[low] == value")
        s.close()
        s.add(f"out[i] = {'not there' if invert else 'there'}")

    return Tasks(
        ("search_member", kind, invert),
        f"search_{'not_' if invert else ''}in_{kind}",
        f"Whether {kind} is in a sorted row.",
        (("out", "bool"), ("x", kind), ("row", kind)),
        build,
        ("n",),
    )


@cache
def edges(dtype: str, even: bool) -> Tasks:
    """Each task finds the bin of a value between ascending edges.

    A bin holds its lower edge, the last one its upper edge too. What is in no bin is
    put into one more, behind the last. `even` edges are nearly where a bin of one width
    says, and are only looked at around there.
    """

    def build(s: Lines) -> None:
        s.add("value = x[i]", "low = n")
        s.open("if value >= row[0] and value <= row[n - 1]:")
        if even:
            s.add("begin = float64(row[0])", "length = float64(row[n - 1]) - begin")
            s.add("part = div(float64(value) - begin, length)")
            s.add("part = where(length > float64(0), part, float64(0))")
            s.add("low = min(int64(part * float64(n - 1)), n - 2)")
            s.open("while low > 0 and row[low] > value:")
            s.add("low -= 1")
            s.close()
            s.open("while low < n - 2 and row[low + 1] <= value:")
            s.add("low += 1")
            s.close()
            s.add("low += 1")
        else:
            s.add("low = int64(0)", "high = n")
            bisect(s, "row[half] <= value")
            s.add("low = min(low, n - 1)")
        s.close()
        s.add("out[i] = low - 1")

    return Tasks(
        ("search_edges", dtype, even),
        f"search_edges_{dtype}{'_even' if even else ''}",
        f"The bins of {dtype}.",
        (("out", "int64"), ("x", dtype), ("row", dtype)),
        build,
        ("n",),
    )
