"""Choosing from rows: the elements at some places of the order, the middle, the mode.

What is at places [low, high) of a long row's order lies in a few of the buckets that
its keys fall into by their highest digits; only those are sorted. Text only.
"""

from __future__ import annotations

from functools import cache

from ..tasks import Lines, Tasks
from .radix import key, piece
from .sort import before, held, row_start


@cache
def chosen() -> Tasks:
    """One task finds the buckets that hold places [low, high) of the order.

    `counts` are those of the buckets of each piece. `found` gets the first bucket, the
    last, how many elements stand before the first, and how many are in all of them;
    `begins` where those of each piece go.
    """

    def build(s: Lines) -> None:
        s.add("buckets = int64(1) << bits_of_digit", "total = int64(0)")
        s.add("first = int64(-1)", "last = int64(-1)", "before = int64(0)")
        s.open("for bucket in range(buckets):")
        s.add("count = int64(0)")
        s.open("for piece in range(pieces):")
        s.add("count += int64(counts[piece * buckets + bucket])")
        s.close()
        s.open("if first < 0 and total + count > low:")
        s.add("first = bucket", "before = total")
        s.close()
        s.add("total += count")
        s.open("if first >= 0 and total >= high:")
        s.add("last = bucket", "break")
        s.close()
        s.close()
        s.add("found[0] = first", "found[1] = last", "found[2] = before")
        s.add("found[3] = total - before", "begin = int64(0)")
        s.open("for piece in range(pieces):")
        s.add("begins[piece] = begin")
        s.open("for bucket in range(first, last + 1):")
        s.add("begin += int64(counts[piece * buckets + bucket])")
        s.close()
        s.close()

    return Tasks(
        "select_chosen", "select_chosen", "Buckets that hold some places of an order.",
        (("found", "int64"), ("begins", "int64"), ("counts", "int32")), build,
        ("pieces", "bits_of_digit"), (("low", "int64"), ("high", "int64")),
    )  # fmt: skip


@cache
def collect(dtype: str, descending: bool) -> Tasks:
    """Each task takes what is in some buckets out of a piece, with its places."""
    kind = held(dtype)

    def build(s: Lines) -> None:
        s.add("row = int64(0)")
        piece(s)
        s.add("at = begins[i]")
        s.open("for k in range(first, last):")
        s.add("value = x[k]")
        key(s, kind, descending, "value")
        s.add("bucket = shift_right_logical(key - low, shift)")
        s.open("if bucket >= lowest and bucket <= highest:")
        s.add("out[at] = value", "places[at] = k", "at += 1")
        s.close()
        s.close()

    return Tasks(
        ("select_collect", kind, descending),
        f"select_collect_{kind}{'_down' if descending else ''}",
        f"What is in some buckets of {kind} taken out.",
        (("out", kind), ("places", "int64"), ("begins", "int64"), ("x", kind)),
        build,
        ("n", "size", "pieces"),
        (
            ("low", "int64"),
            ("shift", "int64"),
            ("lowest", "int64"),
            ("highest", "int64"),
        ),
    )


@cache
def few(dtype: str, descending: bool) -> Tasks:
    """Each task keeps the first `many` elements of a row's order, by insertion."""
    kind = held(dtype)

    def build(s: Lines) -> None:
        s.add("row = i")
        row_start(s, "start", "inner")
        s.add(
            "target = udiv(row, inner) * inner * (many - 1) + row", "count = int64(0)"
        )
        s.add("last = target + (many - 1) * inner")
        s.open("for k in range(n):")
        s.add("value = x[start + k * inner]")
        s.open(f"if count < many or {before(kind, descending, 'value', 'out[last]')}:")
        s.add("count = min(count + 1, many)", "place = target + (count - 1) * inner")
        s.open("while place > target:")
        s.add("other = out[place - inner]")
        s.open(f"if not {before(kind, descending, 'value', 'other')}:")
        s.add("break")
        s.close()
        s.add("out[place] = other", "places[place] = places[place - inner]")
        s.add("place -= inner")
        s.close()
        s.add("out[place] = value", "places[place] = k")
        s.close()
        s.close()

    return Tasks(
        ("select_few", kind, descending),
        f"select_few_{kind}{'_down' if descending else ''}",
        f"The first few of rows of {kind}, in order.",
        (("out", kind), ("places", "int64"), ("x", kind)),
        build,
        ("n", "inner", "many"),
    )


@cache
def take(dtype: str) -> Tasks:
    """Each task takes one of the sorted elements, from place `first` on."""
    kind = held(dtype)

    def build(s: Lines) -> None:
        s.add("out[i] = x[first + i]", "places[i] = origins[order[first + i]]")

    pointers = [("out", kind), ("places", "int64"), ("x", kind), ("order", "int64")]
    return Tasks(
        ("select_take", kind), f"select_take_{kind}", f"Sorted {kind} taken.",
        (*pointers, ("origins", "int64")), build, (), (("first", "int64"),),
    )  # fmt: skip


@cache
def middle(dtype: str, skip_nan: bool) -> Tasks:
    """Each task finds the lower median of a sorted row, and where it was.

    A NaN is the median of a row that has one, or, if they are skipped, is not counted.
    """
    kind = held(dtype)

    def build(s: Lines) -> None:
        s.add("row = i")
        row_start(s, "start", "inner")
        s.add("known = n")
        if kind.startswith("float"):
            s.add("known = int64(0)", "high = n")
            s.open("while known < high:")
            s.add("half = (known + high) >> 1", "value = x[start + half * inner]")
            s.open("if value == value:")
            s.add("known = half + 1")
            s.close()
            s.open("else:")
            s.add("high = half")
            s.close()
            s.close()
        s.add("k = (n - 1) >> 1")
        if skip_nan:
            s.add("k = max(known - 1, 0) >> 1")
        else:
            s.open("if known < n:")
            s.add("k = known")
            s.close()
        s.add("out[i] = x[start + k * inner]", "places[i] = order[start + k * inner]")

    return Tasks(
        ("select_middle", kind, skip_nan),
        f"select_middle_{kind}{'_known' if skip_nan else ''}",
        f"The lower median of sorted rows of {kind}.",
        (("out", kind), ("places", "int64"), ("x", kind), ("order", "int64")),
        build,
        ("n", "inner"),
    )


@cache
def mode(dtype: str) -> Tasks:
    """Each task finds what a sorted row holds most often, and where it was last.

    Of values that are equally often there, the smallest.
    """
    kind = held(dtype)

    def build(s: Lines) -> None:
        s.add("row = i")
        row_start(s, "start", "inner")
        s.add("most = int64(0)", "best = int64(0)", "count = int64(0)")
        s.open("for k in range(n):")
        s.add("value = x[start + k * inner]")
        s.open("if k > 0 and value == x[start + (k - 1) * inner]:")
        s.add("count += 1")
        s.close()
        s.open("else:")
        s.add("count = int64(1)")
        s.close()
        s.open("if count > most:")
        s.add("most = count", "best = k")
        s.close()
        s.close()
        s.add("out[i] = x[start + best * inner]")
        s.add("places[i] = order[start + best * inner]")

    return Tasks(
        ("select_mode", kind),
        f"select_mode_{kind}",
        f"What sorted rows of {kind} hold most often.",
        (("out", kind), ("places", "int64"), ("x", kind), ("order", "int64")),
        build,
        ("n", "inner"),
    )
