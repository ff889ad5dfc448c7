"""Kernels that find, select and fill the elements that a mask marks. Text only.

A mask is cut into chunks. What is marked in each is counted, counts become running
sums, and each chunk's task then knows where its first element goes. Counts and sums
begin with a zero, so that number i is what is before chunk i, and the last is all.
"""

from __future__ import annotations

from ..tasks import Lines, Tasks


def _chunk(s: Lines) -> None:
    """Print the ends of a task's chunk of n elements."""
    s.add("low = i * chunk", "high = where(low + chunk < n, low + chunk, n)")


def _zero(s: Lines, name: str) -> None:
    """Print that the first task writes the zero that sums begin with."""
    s.open("if i == 0:")
    s.add(f"{name}[0] = 0")
    s.close()


def count() -> Tasks:
    """How many elements of a chunk are marked."""

    def build(s: Lines) -> None:
        _chunk(s)
        s.add("found = 0")
        s.open("for k in range(low, high):")
        s.add("found += where(mask[k] != 0, int64(1), int64(0))")
        s.close()
        s.add("counts[i + 1] = found")
        _zero(s, "counts")

    return Tasks(
        ("count",), "count_marked", "Marked elements of each chunk.",
        (("counts", "int64"), ("mask", "uint8")), build, numbers=("n", "chunk"),
    )  # fmt: skip


def running() -> Tasks:
    """Counts become running sums."""

    def build(s: Lines) -> None:
        s.add("total = counts[0]")
        s.open("for k in range(1, n + 1):")
        s.add("total += counts[k]", "counts[k] = total")
        s.close()

    return Tasks(
        ("running",), "running_counts", "Running sums of counts, by one task.",
        (("counts", "int64"),), build, numbers=("n",),
    )  # fmt: skip


def group_sums() -> Tasks:
    """The sum of each group of counts."""

    def build(s: Lines) -> None:
        _chunk(s)
        s.add("total = counts[low + 1]")
        s.open("for k in range(low + 1, high):")
        s.add("total += counts[k + 1]")
        s.close()
        s.add("sums[i + 1] = total")
        _zero(s, "sums")

    return Tasks(
        ("group_sums",), "group_sums", "Sums of groups of counts.",
        (("sums", "int64"), ("counts", "int64")), build, numbers=("n", "chunk"),
    )  # fmt: skip


def group_running() -> Tasks:
    """Running sums within groups of counts, from what is before each group."""

    def build(s: Lines) -> None:
        _chunk(s)
        s.add("total = sums[i]")
        s.open("for k in range(low, high):")
        s.add("total += counts[k + 1]", "counts[k + 1] = total")
        s.close()

    return Tasks(
        ("group_running",), "group_running", "Running sums of counts, by groups.",
        (("counts", "int64"), ("sums", "int64")), build, numbers=("n", "chunk"),
    )  # fmt: skip


def select(dtype: str) -> Tasks:
    """Marked elements, one after the other; without a dtype, their numbers."""

    def build(s: Lines) -> None:
        # every element is written where the next marked one goes: a branch that is as
        # often right as wrong costs four times as much
        s.add("q = counts[i]", "end = counts[i + 1]", "k = i * chunk")
        s.open("while q < end:")
        s.add(f"out[q] = {'x[k]' if dtype else 'k'}")
        s.add("q += where(mask[k] != 0, int64(1), int64(0))", "k += 1")
        s.close()

    data = (("x", dtype),) if dtype else ()
    return Tasks(
        ("select", dtype), f"select_{dtype or 'numbers'}",
        f"Marked elements, {dtype or 'their numbers'}.",
        (("out", dtype or "int64"), *data, ("mask", "uint8"), ("counts", "int64")),
        build, numbers=("n", "chunk"),
    )  # fmt: skip


def fill_in(dtype: str) -> Tasks:
    """Values go to the marked elements, one after the other."""

    def build(s: Lines) -> None:
        s.add("q = counts[i]", "end = counts[i + 1]", "k = i * chunk")
        s.open("while q < end:")
        s.add("x[k] = where(mask[k] != 0, v[q], x[k])")
        s.add("q += where(mask[k] != 0, int64(1), int64(0))", "k += 1")
        s.close()

    return Tasks(
        ("fill_in", dtype), f"fill_in_{dtype}", f"Marked elements set, {dtype}.",
        (("x", dtype), ("v", dtype), ("mask", "uint8"), ("counts", "int64")),
        build, numbers=("n", "chunk"),
    )  # fmt: skip


def coordinates(count: int) -> Tasks:
    """The indices, one dim after the other, of elements given by their numbers."""

    def build(s: Lines) -> None:
        s.add("rest = numbers[i]")
        for d in range(count - 1, 0, -1):
            s.add(f"above{d} = udiv(rest, dn{d})")
            s.add(f"out[{d} * m + i] = rest - above{d} * dn{d}", f"rest = above{d}")
        s.add("out[i] = rest")

    return Tasks(
        ("coordinates", count), f"coordinates_{count}", f"Indices in {count} dims.",
        (("out", "int64"), ("numbers", "int64")), build,
        numbers=("m", *(f"dn{d}" for d in range(count))),
    )  # fmt: skip
