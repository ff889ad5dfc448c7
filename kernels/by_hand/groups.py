"""Groups of equal elements: where each begins, and how many there are of each number.

Text only.
"""

from __future__ import annotations

from functools import cache

from ..tasks import Lines, Tasks
from .search import bisect
from .sort import held


@cache
def marks(dtype: str, ordered: bool) -> Tasks:
    """Each task says whether a row of `width` elements differs from the one before it.

    The first does. Rows are taken in an order, or as they stand.
    """
    kind = held(dtype)

    def build(s: Lines) -> None:
        s.add("differs = i == 0")
        s.open("if i > 0:")
        if ordered:
            s.add("here = order[i] * width", "there = order[i - 1] * width")
        else:
            s.add("here = i * width", "there = here - width")
        s.add("j = int64(0)")
        s.open("while j < width and x[here + j] == x[there + j]:")
        s.add("j += 1")
        s.close()
        s.add("differs = j < width")
        s.close()
        s.add("out[i] = differs")

    pointers = [("out", "bool"), ("x", kind)]
    pointers += [("order", "int64")] if ordered else []
    return Tasks(
        ("group_marks", kind, ordered),
        f"group_marks_{kind}{'_ordered' if ordered else ''}",
        f"Whether rows of {kind} differ from those before them.",
        tuple(pointers),
        build,
        ("width",),
    )


@cache
def numbered(ordered: bool, inverse: bool) -> Tasks:
    """Each task gives a group its beginning, and an element the number of its group.

    The latter if `inverse`. `numbers` count the marks so far. `begins` has one entry
    more than there are groups.
    """

    def build(s: Lines) -> None:
        s.add("number = numbers[i]", "other = int64(0)")
        s.open("if i > 0:")
        s.add("other = numbers[i - 1]")
        s.close()
        s.open("if number != other:")
        s.add("begins[number - 1] = i")
        s.close()
        s.open("if i == n - 1:")
        s.add("begins[number] = n")
        s.close()
        if inverse:
            s.add(f"inverse[{'order[i]' if ordered else 'i'}] = number - 1")

    pointers = [("begins", "int64"), ("numbers", "int64")]
    pointers += [("inverse", "int64")] if inverse else []
    pointers += [("order", "int64")] if inverse and ordered else []
    marks = f"{'_inverse' if inverse else ''}{'_ordered' if ordered else ''}"
    return Tasks(
        ("group_numbered", ordered, inverse), f"group_numbered{marks}",
        "Elements get the numbers of their groups.", tuple(pointers), build, ("n",),
    )  # fmt: skip


@cache
def heads(dtype: str, ordered: bool) -> Tasks:
    """Each task takes an element of the first row of a group."""
    kind = held(dtype)

    def build(s: Lines) -> None:
        s.add("group = udiv(i, width)", "row = begins[group]")
        if ordered:
            s.add("row = order[row]")
        s.add("out[i] = x[row * width + (i - group * width)]")

    pointers = [("out", kind), ("x", kind), ("begins", "int64")]
    pointers += [("order", "int64")] if ordered else []
    return Tasks(
        ("group_heads", kind, ordered),
        f"group_heads_{kind}{'_ordered' if ordered else ''}",
        f"The first rows of groups of {kind}.",
        tuple(pointers),
        build,
        ("width",),
    )


@cache
def taken(dtype: str) -> Tasks:
    """Each task takes an element of column `column` in an order."""
    kind = held(dtype)

    def build(s: Lines) -> None:
        s.add("out[i] = x[order[i] * width + column]")

    return Tasks(
        ("group_taken", kind), f"group_taken_{kind}",
        f"A column of {kind} in an order.",
        (("out", kind), ("x", kind), ("order", "int64")), build,
        ("width",), (("column", "int64"),),
    )  # fmt: skip


@cache
def counted(dtype: str, weights: str) -> Tasks:
    """Each task counts the numbers of a piece in bins of its own, or adds weights.

    For the CPU, where tasks are few.
    """
    kind = held(dtype)
    total = weights or "int64"

    def build(s: Lines) -> None:
        s.add("first = i * size", "last = min(n, first + size)", "at = i * bins")
        s.open("for k in range(bins):")
        s.add(f"counts[at + k] = {total}(0)")
        s.close()
        s.open("for k in range(first, last):")
        s.add("bin_of = at + int64(x[k])")
        s.add(f"counts[bin_of] = counts[bin_of] + {'weight[k]' if weights else '1'}")
        s.close()

    pointers = [("counts", total), ("x", kind)]
    pointers += [("weight", weights)] if weights else []
    return Tasks(
        ("group_counted", kind, weights),
        f"group_counted_{kind}{'_' + weights if weights else ''}",
        f"How often {kind} is there, piece by piece.",
        tuple(pointers),
        build,
        ("n", "size", "bins"),
    )


@cache
def counted_sorted(dtype: str, weights: str) -> Tasks:
    """Each task counts how often a number is there in a sorted row, or adds weights.

    The sums are in the order of the elements, whatever runs at the same time.
    """
    kind = held(dtype)

    def build(s: Lines) -> None:
        for name, sign in (("first", "<"), ("last", "<=")):
            s.add("low = int64(0)", "high = n")
            bisect(s, f"int64(x[half]) {sign} i")
            s.add(f"{name} = low")
        if not weights:
            s.add("out[i] = last - first")
            return
        s.add(f"total = {weights}(0)")
        s.open("for k in range(first, last):")
        s.add("total = total + weight[order[k]]")
        s.close()
        s.add("out[i] = total")

    pointers = [("out", weights or "int64"), ("x", kind)]
    pointers += [("order", "int64"), ("weight", weights)] if weights else []
    return Tasks(
        ("group_counted_sorted", kind, weights),
        f"group_sorted_{kind}{'_' + weights if weights else ''}",
        f"How often {kind} is there in a sorted row.",
        tuple(pointers),
        build,
        ("n",),
    )
