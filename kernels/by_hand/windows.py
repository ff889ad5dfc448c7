"""Lines that kernels over sliding windows share: places, bounds, rows of elements.

All of them see up to three spatial dims, called d, h, w where a window slides over, and
p, q, r where it has been: fewer dims are dims of size 1. For an axis, `s`, `p`, `d`
before its letter are stride, left padding and dilation; `k` is the kernel's size.
Text only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..tasks import Lines

#: numbers that describe the windows: sizes in, sizes out, kernel, stride, padding,
#: dilation, each for the axes d, h, w
WINDOWS = (
    *("D", "H", "W", "P", "Q", "R", "kd", "kh", "kw"),
    *("sd", "sh", "sw", "pd", "ph", "pw", "dd", "dh", "dw"),
)
#: strides of an operand, after its name
STRIDES = ("n", "c", "d", "h", "w")


def strides_of(name: str) -> tuple[str, ...]:
    """Return the names of an operand's strides: "x_n", "x_c", ..."""
    return tuple(f"{name}_{letter}" for letter in STRIDES)


def split(s: Lines, source: str, parts: Sequence[tuple[str, str]]) -> None:
    """Take a number apart: the last part counts fastest.

    `parts` are (name, size); the first part's size is not looked at.
    """
    left = source
    for k, (name, size) in enumerate(reversed(parts)):
        if k == len(parts) - 1:
            s.add(f"{name} = {left}")
            break
        s.add(f"{name}_left = {left} // {size}")
        s.add(f"{name} = {left} - {name}_left * {size}")
        left = f"{name}_left"


def inside_rows(s: Lines, count: str, step: str, shift: str, size: str) -> None:
    """Set low and high: the k of [0, count) with 0 <= k * step + shift < size."""
    if step == "1":
        s.add(f"low = min(max(0, -{shift}), {count})")
        s.add(f"high = max(low, min({size} - {shift}, {count}))")
        return
    s.add(f"low = 0 if {shift} >= 0 else ({step} - 1 - {shift}) // {step}")
    s.add(f"low = min(low, {count})")
    s.add(
        f"high = 0 if {shift} >= {size} else ({size} - {shift} + {step} - 1) // {step}"
    )
    s.add(f"high = max(low, min(high, {count}))")


def row(
    s: Lines,
    count: str,
    target: str,
    source: str | None,
    zero: str,
) -> None:
    """Fill target[k], k in [0, count): from `source` in [low, high), else with zeros.

    Both are text with k in it. Without a source, all are zeros.
    """
    if source is None:
        s.open(f"for k in range({count}):")
        s.add(f"{target} = {zero}")
        s.close()
        return
    for start, end, value in (
        ("0", "low", zero), ("low", "high", source), ("high", count, zero),
    ):  # fmt: skip
        s.open(f"for k in range({start}, {end}):")
        s.add(f"{target} = {value}")
        s.close()


def points(
    s: Lines, sizes: Sequence[tuple[str, str]], body: Callable[[Lines], None]
) -> None:
    """Go over the points that task `i` has to do.

    On a CUDA device a task is one point. On the CPU it is a row of points, so that what
    depends on the row is worked out once. `sizes` are (name, size), the last is the one
    along the row.
    """
    if s.cuda:
        split(s, "i", sizes)
        body(s)
        return
    split(s, "i", sizes[:-1])
    name, size = sizes[-1]
    s.open(f"for {name} in range({size}):")
    body(s)
    s.close()


def taken(s: Lines, place: str, at: str, step: str, count: str) -> None:
    """Open an `if` for windows: set `at`, the one of `count` that begins at `place`."""
    s.open(
        f"if {place} >= 0 and {place} % {step} == 0 and {place} // {step} < {count}:"
    )
    s.add(f"{at} = {place} // {step}")
