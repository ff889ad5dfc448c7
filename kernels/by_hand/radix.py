"""Sorting by the digits of keys, the lowest digit first: the CPU's way for long rows.

An element's key is a signed 64-bit number in the order of the elements: NaN is the
largest, -0.0 equals 0.0. What is sorted is the key less the lowest key, and the place
the element came from: both in 64 bits where they fit (packed), or in two arrays. As
each pass keeps the order of equal digits, equals keep theirs. Text only.

Rows of n elements stand in memory as (outer, n, inner), as in `sort`.
Source: Knuth, The Art of Computer Programming, volume 3, section 5.2.5.
"""

from __future__ import annotations

from ..tasks import Lines, Tasks
from .sort import held, row_start

_MOST = {"float32": "0x7fffffff", "float64": "0x7fffffffffffffff"}
_SIGN = {"float32": 31, "float64": 63}


def key(s: Lines, dtype: str, descending: bool, value: str) -> None:
    """Put down `key` of a value."""
    if dtype in _MOST:
        most, sign = _MOST[dtype], _SIGN[dtype]
        s.add(f"raw = int64(bits({value} + {dtype}(0)))")
        s.add(f"raw = raw ^ ((raw >> {sign}) & {most})")
        s.add(f"key = where({value} != {value}, int64({most}), raw)")
    else:
        s.add(f"key = int64({value})")
    if descending:
        s.add("key = ~key")


def _value(s: Lines, dtype: str, descending: bool, otherwise: str) -> None:
    """Put down `value` of a key; where keys do not tell, it is read from its place."""
    if descending:
        s.add("key = ~key")
    if dtype in _MOST:
        most, sign = _MOST[dtype], _SIGN[dtype]
        width = "int32" if dtype == "float32" else "int64"
        s.open(f"if key == 0 or key == {most}:")
        s.add(f"value = {otherwise}")
        s.close()
        s.open("else:")
        s.add(f"value = from_bits({width}(key ^ ((key >> {sign}) & {most})))")
        s.close()
    else:
        s.add(f"value = {dtype}(key)")


def _named(what: str, kind: str, descending: bool, *flags: bool) -> str:
    marks = "".join("_" + "ny"[f] for f in flags)
    return f"radix_{what}_{kind}{'_down' if descending else ''}{marks}"


def rows(dtype: str, descending: bool) -> Tasks:
    """Each task sorts every `tasks`-th row, in scratch memory of its own."""
    kind = held(dtype)
    wide = kind in ("int64", "float64")

    def build(s: Lines) -> None:
        s.add("mask = (1 << bits_of_digit) - 1")
        s.open("for row in range(i, rows, tasks_at_once):")
        row_start(s, "start", "inner")
        s.add("old = i * 2 * n", "new = old + n", "digits = i << bits_of_digit")
        s.add("value = x[start]")
        key(s, kind, descending, "value")
        s.add("low = key", "high = key")
        s.open("for k in range(n):")
        s.add("value = x[start + k * inner]")
        key(s, kind, descending, "value")
        s.add("low = min(low, key)", "high = max(high, key)", "keys[old + k] = key")
        s.close()
        s.open("for k in range(n):")
        if wide:
            s.add("keys[old + k] -= low", "places[old + k] = k")
        else:
            s.add("keys[old + k] = ((keys[old + k] - low) << place_bits) | k")
        s.close()
        s.add("span = high - low", "shift = int64(0)")
        s.open("while shift < 64 and shift_right_logical(span, shift) != 0:")
        s.add(f"at = shift{'' if wide else ' + place_bits'}")
        s.open("for d in range(mask + 1):")
        s.add("counts[digits + d] = int32(0)")
        s.close()
        digit = "d = digits + (shift_right_logical(packed, at) & mask)"
        s.open("for k in range(n):")
        s.add("packed = keys[old + k]", digit, "counts[d] = int32(counts[d] + 1)")
        s.close()
        s.add("total = int64(0)")
        s.open("for d in range(digits, digits + mask + 1):")
        s.add("count = int64(counts[d])", "counts[d] = int32(total)", "total += count")
        s.close()
        s.open("for k in range(n):")
        s.add("packed = keys[old + k]", digit, "goal = new + int64(counts[d])")
        s.add("counts[d] = int32(counts[d] + 1)", "keys[goal] = packed")
        if wide:
            s.add("places[goal] = places[old + k]")
        s.close()
        s.add("swap = old", "old = new", "new = swap", "shift += bits_of_digit")
        s.close()
        s.open("for k in range(n):")
        if wide:
            s.add("place = places[old + k]")
        else:
            s.add("place = keys[old + k] & ((int64(1) << place_bits) - 1)")
        s.add("out[start + k * inner] = x[start + place * inner]")
        s.add("order[start + k * inner] = place")
        s.close()
        s.close()

    pointers = [("out", kind), ("order", "int64"), ("x", kind), ("counts", "int32")]
    pointers += [("keys", "int64")] + ([("places", "int64")] if wide else [])
    return Tasks(
        ("radix_rows", kind, descending),
        _named("rows", kind, descending),
        f"Rows of {kind} sorted by digits, one after the other.",
        tuple(pointers),
        build,
        ("n", "inner", "rows", "tasks_at_once", "bits_of_digit", "place_bits"),
    )


def piece(s: Lines) -> None:
    """Put down which piece of which row a task has."""
    s.add("row = udiv(i, pieces)", "piece = i - row * pieces")
    s.add("first = piece * size", "last = min(n, first + size)")


def span(dtype: str, descending: bool) -> Tasks:
    """Each task finds the lowest and the highest key of a piece of a row."""
    kind = held(dtype)

    def build(s: Lines) -> None:
        piece(s)
        row_start(s, "start", "inner")
        s.add("value = x[start + first * inner]")
        key(s, kind, descending, "value")
        s.add("low = key", "high = key")
        for test, step in (("if inner == 1:", ""), ("else:", " * inner")):
            s.open(test)
            s.open("for k in range(first, last):")
            s.add(f"value = x[start + k{step}]")
            key(s, kind, descending, "value")
            s.add("low = min(low, key)", "high = max(high, key)")
            s.close()
            s.close()
        s.add("lows[i] = low", "highs[i] = high")

    return Tasks(
        ("radix_span", kind, descending),
        _named("span", kind, descending),
        f"The lowest and the highest key of pieces of rows of {kind}.",
        (("lows", "int64"), ("highs", "int64"), ("x", kind)),
        build,
        ("n", "inner", "size", "pieces"),
    )


def _element(s: Lines, kind: str, descending: bool, first: bool, wide: bool) -> None:
    """Put down `packed`, and `place` if it is apart, of element k."""
    if not first:
        s.add("packed = keys[row * n + k]")
        if wide:
            s.add("place = places[row * n + k]")
        return
    s.add("value = x[start + k * inner]")
    key(s, kind, descending, "value")
    s.add("packed = key - low")
    s.add("place = k" if wide else "packed = (packed << place_bits) | k")


_NUMBERS = ("n", "inner", "size", "pieces", "bits_of_digit", "place_bits")
_SCALARS = (("low", "int64"), ("shift", "int64"))
_DIGIT = "d = digits + (shift_right_logical(packed, shift) & mask)"


def count(dtype: str, descending: bool, first: bool, wide: bool) -> Tasks:
    """Each task counts the digits of a piece of a row."""
    kind = held(dtype)

    def build(s: Lines) -> None:
        piece(s)
        if first:
            row_start(s, "start", "inner")
        s.add("digits = i << bits_of_digit", "mask = (1 << bits_of_digit) - 1")
        s.open("for d in range(digits, digits + mask + 1):")
        s.add("counts[d] = int32(0)")
        s.close()
        s.open("for k in range(first, last):")
        # a place apart is not looked at here
        _element(s, kind, descending, first, wide and first)
        s.add(_DIGIT, "counts[d] = int32(counts[d] + 1)")
        s.close()

    source = ("x", kind) if first else ("keys", "int64")
    return Tasks(
        ("radix_count", kind, descending, first, wide),
        _named("count", kind, descending, first, wide),
        f"Digits of pieces of rows of {kind} counted.",
        (("counts", "int32"), source),
        build,
        _NUMBERS,
        _SCALARS,
    )


def offsets() -> Tasks:
    """Each task turns the counts of a row into where the first of each goes."""

    def build(s: Lines) -> None:
        s.add("total = int64(0)", "digits = int64(1) << bits_of_digit")
        s.open("for digit in range(digits):")
        s.open("for piece in range(pieces):")
        s.add("d = (i * pieces + piece) * digits + digit")
        s.add("count = int64(counts[d])", "counts[d] = int32(total)", "total += count")
        s.close()
        s.close()

    return Tasks(
        "radix_offsets", "radix_offsets", "Counts of digits added up.",
        (("counts", "int32"),), build, ("pieces", "bits_of_digit"),
    )  # fmt: skip


def scatter(dtype: str, descending: bool, first: bool, last: bool, wide: bool) -> Tasks:
    """Each task takes a piece of a row to where its digits belong."""
    kind = held(dtype)

    def build(s: Lines) -> None:
        piece(s)
        if first or last:
            row_start(s, "start", "inner")
        s.add("digits = i << bits_of_digit", "mask = (1 << bits_of_digit) - 1")
        s.open("for k in range(first, last):")
        _element(s, kind, descending, first, wide)
        s.add(_DIGIT, "goal = int64(counts[d])", "counts[d] = int32(goal + 1)")
        if last:
            if wide:
                s.add("key = packed + low")
            else:
                s.add("place = packed & ((int64(1) << place_bits) - 1)")
                s.add("key = shift_right_logical(packed, place_bits) + low")
            _value(s, kind, descending, "x[start + place * inner]")
            s.add("goal = start + goal * inner")
            s.add("out[goal] = value", "order[goal] = place")
        else:
            s.add("goal += row * n", "new_keys[goal] = packed")
            if wide:
                s.add("new_places[goal] = place")
        s.close()

    pointers = [("counts", "int32")]
    if last:
        pointers += [("out", kind), ("order", "int64")]
    else:
        pointers += [("new_keys", "int64"), ("new_places", "int64")][: 1 + wide]
    if first or last:
        pointers += [("x", kind)]
    if not first:
        pointers += [("keys", "int64"), ("places", "int64")][: 1 + wide]
    return Tasks(
        ("radix_scatter", kind, descending, first, last, wide),
        _named("scatter", kind, descending, first, last, wide),
        f"Pieces of rows of {kind} taken to where their digits belong.",
        tuple(pointers),
        build,
        _NUMBERS,
        _SCALARS,
    )
