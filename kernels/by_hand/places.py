"""Kernels that read and write elements at places that other tensors name. Text only.

A tensor is seen as (lead, named, trail): the dims that are named by indices, and those
before and after them, of which neighbours are merged where their strides allow it. `m`
is how many places are named; `width` how many elements trail each. Values lie without
gaps, in the order of lead, place, trail; `at` holds the places as offsets in elements.

Forms, that is, what a task does
    lead      all places of one lead index, in order
    rows      one place, with what trails it
    elements  one element
    ranges    of all places, in order, those that lie in a part of memory
    segments  as elements; places are sorted, equal ones are joined by the first's task

`lead` and `ranges` keep the order in which equal places are written; so does
`segments`, given a stable sort. Nothing is written by two tasks, and none races.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..tasks import Lines, Tasks

#: how a value joins what is there: source, of floats and of integers
_JOINS = {
    "set": ("{b}", "{b}"),
    "add": ("{a} + {b}", "{a} + {b}"),
    "mul": ("{a} * {b}", "{a} * {b}"),
    "max": ("maximum({a}, {b})", "where({b} > {a}, {b}, {a})"),
    "min": ("minimum({a}, {b})", "where({b} < {a}, {b}, {a})"),
    "or": ("{a} | {b}", "{a} | {b}"),
}


def joined(how: str, dtype: str, a: str, b: str) -> str:
    """Return source that joins two values."""
    return _JOINS[how][0 if dtype.startswith("float") else 1].format(a=a, b=b)


def split(s: Lines, index: str, name: str, count: int) -> str:
    """Print what takes an index apart over dims; return the offset it stands for.

    The sizes and steps of the dims are numbers `name`n0, `name`s0, ...
    """
    terms = []
    rest = index
    for d in range(count - 1, 0, -1):
        s.add(f"{name}q{d} = udiv({rest}, {name}n{d})")
        terms.append(f"({rest} - {name}q{d} * {name}n{d}) * {name}s{d}")
        rest = f"{name}q{d}"
    if count:
        terms.append(f"{rest} * {name}s0")
    return " + ".join(reversed(terms)) or "0"


def dims(name: str, count: int) -> tuple[str, ...]:
    """Return the numbers that describe dims, see `split`."""
    return tuple(f"{name}{what}{d}" for d in range(count) for what in "ns")


def _check(s: Lines, indices: int, j: str) -> str:
    """Print the reading of indices; return the condition that they are in range.

    A negative index counts from the end if `belowd` is the size, else it is wrong.
    """
    for d in range(indices):
        s.add(f"c{d} = i{d}[{j}]", f"c{d} = where(c{d} < 0, c{d} + below{d}, c{d})")
    return " and ".join(f"0 <= c{d} and c{d} < size{d}" for d in range(indices))


def _place(indices: int) -> str:
    return " + ".join(f"c{d} * step{d}" for d in range(indices))


def _index_numbers(indices: int) -> tuple[str, ...]:
    return tuple(f"{what}{d}" for d in range(indices) for what in _OF_INDEX)


_OF_INDEX = ("size", "below", "step")


def locate(indices: int) -> Tasks:
    """The place that a task's indices name, as an offset; 0 and `fault` if there is
    none."""

    def build(s: Lines) -> None:
        inside = _check(s, indices, "i")
        s.open(f"if {inside}:")
        s.add(f"at[i] = {_place(indices)}")
        s.close()
        s.open("else:")
        # who does not look at `fault` must find a place all the same
        s.add("at[i] = 0", "fault[0] = 1")
        s.close()

    return Tasks(
        ("locate", indices),
        f"locate_{indices}",
        f"Offsets of places named by {indices} indices.",
        (("at", "int64"), ("fault", "int64"), *_index_pointers(indices)),
        build,
        numbers=_index_numbers(indices),
    )


def _index_pointers(indices: int) -> tuple[tuple[str, str], ...]:
    return tuple((f"i{d}", "int64") for d in range(indices))


def _trail(s: Lines, trail: int, unit: bool, line: str) -> None:
    """Print the loops over what trails a place; `line` has {o} and {q}."""
    step = "" if unit else f" * ts{trail - 1}"
    if not trail:
        s.add(line.format(o="o", q="q"))
        return
    for d in range(trail - 1):
        s.open(f"for b{d} in range(tn{d}):")
        s.add(f"o{d} = {f'o{d - 1}' if d else 'o'} + b{d} * ts{d}")
    origin = f"o{trail - 2}" if trail > 1 else "o"
    s.open(f"for b in range(tn{trail - 1}):")
    s.add(line.format(o=f"{origin} + b{step}", q="q + b"))
    s.close()
    if trail > 1:
        s.add(f"q += tn{trail - 1}")
    for _ in range(trail - 1):
        s.close()


def take(
    dtype: str, form: str, lead: int, trail: int, unit: bool, indices: int
) -> Tasks:
    """Read the elements at places named by indices: out = x[..., i0, i1, ..., :].

    Where an index is out of range nothing is read, and `fault` is set.
    """

    def build(s: Lines) -> None:
        if form == "lead":
            s.add(f"base = {split(s, 'i', 'l', lead)}")
            s.open("for j in range(m):")
            s.add("q = (i * m + j) * width")
        elif form == "rows":
            s.add("q = i * width")
            _row_of(s, "i", lead)
        else:
            row = "i"
            if trail:
                s.add("row = udiv(i, width)", "b = i - row * width")
                row = "row"
            _row_of(s, row, lead)
        s.open(f"if {_check(s, indices, 'j')}:")
        origin = f"{_place(indices)}{' + base' if lead else ''}"
        if form == "elements":
            s.add(f"out[i] = x[{origin} + {split(s, 'b', 't', trail)}]")
        else:
            s.add(f"o = {origin}")
            _trail(s, trail, unit, "out[{q}] = x[{o}]")
        s.close()
        s.open("else:")
        s.add("fault[0] = 1")
        s.close()
        if form == "lead":
            s.close()

    pointers = (("out", dtype), ("x", dtype), ("fault", "int64"))
    return Tasks(
        ("take", dtype, form, lead, trail, unit, indices),
        f"take_{form}_{dtype}",
        f"Elements at places named by {indices} indices, {dtype}.",
        (*pointers, *_index_pointers(indices)),
        build,
        numbers=(
            "m", "width", *dims("l", lead), *dims("t", trail), *_index_numbers(indices)
        ),
    )  # fmt: skip


def _row_of(s: Lines, row: str, lead: int) -> None:
    """Print what takes the number of a place within its lead index apart."""
    if not lead:
        s.add(f"j = {row}")
        return
    s.add(f"head = udiv({row}, m)", f"j = {row} - head * m")
    s.add(f"base = {split(s, 'head', 'l', lead)}")


def put(
    dtype: str, form: str, lead: int, trail: int, unit: bool, how: str, one: bool
) -> Tasks:
    """Write values to known places, or join them with what is there.

    `one` value goes everywhere, or each place has its own.
    """
    value = "v[0]" if one else "v[{q}]"
    line = "x[{o}] = " + joined(how, dtype, "x[{o}]", value)

    def build(s: Lines) -> None:
        opened = 0
        if form == "lead":
            s.add(f"base = {split(s, 'i', 'l', lead)}")
            s.open("for j in range(m):")
            s.add("q = (i * m + j) * width", "p = at[j]")
            opened = 1
        elif form == "ranges":
            s.add("low = i * piece", "high = low + piece")
            if lead:
                s.open("for head in range(heads):")
                s.add(f"base = {split(s, 'head', 'l', lead)}")
                opened = 1
            s.open("for j in range(m):")
            s.add("p = at[j]")
            s.open("if low <= p and p < high:")
            s.add(f"q = {'(head * m + j)' if lead else 'j'} * width")
            opened += 2
        else:
            s.add("q = i * width")
            _row_of(s, "i", lead)
            s.add("p = at[j]")
        s.add(f"o = p{' + base' if lead else ''}")
        _trail(s, trail, unit, line)
        for _ in range(opened):
            s.close()

    return Tasks(
        ("put", dtype, form, lead, trail, unit, how, one),
        f"put_{how}_{form}_{dtype}",
        f"Values written to places ({how}), {dtype}.",
        (("x", dtype), ("at", "int64"), ("v", dtype)),
        build,
        numbers=("m", "width", *dims("l", lead), *dims("t", trail), "heads", "piece"),
    )


def put_elements(dtype: str, lead: int, trail: int, one: bool) -> Tasks:
    """Write values to places of which no two are equal, an element to a task."""

    def build(s: Lines) -> None:
        o = _element(s, lead, trail)
        s.add(f"x[at[j] + {o}] = v[{'0' if one else 'i'}]")

    return Tasks(
        ("put_elements", dtype, lead, trail, one),
        f"put_elements_{dtype}",
        f"Values written to different places, {dtype}.",
        (("x", dtype), ("at", "int64"), ("v", dtype)),
        build,
        numbers=("m", "width", *dims("l", lead), *dims("t", trail)),
    )


def _element(s: Lines, lead: int, trail: int) -> str:
    """Print what takes the number of an element apart into head, j and b."""
    row = "i"
    offset = "0"
    if trail:
        s.add("row = udiv(i, width)", "b = i - row * width")
        row = "row"
        offset = split(s, "b", "t", trail)
    _row_of(s, row, lead)
    return f"{offset}{' + base' if lead else ''}"


def put_segments(dtype: str, lead: int, trail: int, how: str, one: bool) -> Tasks:
    """Write to sorted places, of which value `order[k]` belongs to the k-th."""

    def build(s: Lines) -> None:
        o = _element(s, lead, trail)
        head = "head * m + " if lead else ""
        tail = " * width + b" if trail else ""

        def value(order: str) -> str:
            return "v[0]" if one else f"v[({head}{order}){tail}]"

        s.add("p = at[j]", f"o = p + {o}")
        if how == "set":
            s.open("if j == m - 1 or at[j + 1] != p:")
            s.add(f"x[o] = {value('order[j]')}")
            s.close()
            return
        s.open("if j == 0 or at[j - 1] != p:")
        s.add("k = j", "found = x[o]")
        s.open("while k < m and at[k] == p:")
        s.add(f"found = {joined(how, dtype, 'found', value('order[k]'))}", "k += 1")
        s.close()
        s.add("x[o] = found")
        s.close()

    return Tasks(
        ("put_segments", dtype, lead, trail, how, one),
        f"put_segments_{how}_{dtype}",
        f"Values written to sorted places ({how}), {dtype}.",
        (("x", dtype), ("at", "int64"), ("order", "int64"), ("v", dtype)),
        build,
        numbers=("m", "width", *dims("l", lead), *dims("t", trail)),
    )


def along(dtype: str, count: int, rows: bool) -> Tasks:
    """Follow an index along one dim, element by element of the index.

    Without a `dtype`, the places are stored as offsets; with one, what is there. The
    dims of the index, merged, are numbers; in its own dim the tensor does not move. The
    dim has a size above 0.
    """
    read = bool(dtype)

    def step(s: Lines, e: str, base: str) -> None:
        # no branch: what is out of range reads the first element, and counts as wrong
        s.add(f"c = i0[{e}]", "c = where(c < 0, c + below0, c)")
        s.add("inside = (c >= 0) & (c < size0)", "c = where(inside, c, int64(0))")
        place = f"{base} + c * step0"
        s.add(f"out[{e}] = {f'x[{place}]' if read else place}")
        s.add("wrong = wrong | where(inside, int64(0), int64(1))")

    def build(s: Lines) -> None:
        s.add("wrong = int64(0)")
        if rows:
            s.add(f"base = {split(s, 'i', 'd', count - 1)}")
            s.open(f"for k in range(dn{count - 1}):")
            s.add(f"e = i * dn{count - 1} + k")
            step(s, "e", f"base + k * ds{count - 1}")
            s.close()
        else:
            step(s, "i", split(s, "i", "d", count))
        s.open("if wrong != 0:")
        s.add("fault[0] = 1")
        s.close()

    pointers: Sequence[tuple[str, str]] = [("out", dtype or "int64")]
    if read:
        pointers = [*pointers, ("x", dtype)]
    return Tasks(
        ("along", dtype, count, rows),
        f"along_{dtype or 'places'}",
        f"{dtype or 'Offsets'} along a dim by an index of {count} merged dims.",
        (*pointers, ("fault", "int64"), ("i0", "int64")),
        build,
        numbers=(*dims("d", count), *_index_numbers(1)),
    )
