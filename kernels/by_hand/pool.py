"""The kernels of pooling: extremes and means of windows, and their ways back.

x is (n, c, d, h, w) of any strides, y (n, c, p, q, r) contiguous. Windows are either
given by kernel, stride, padding and dilation, or `adaptive`: they cut the image into
as many as there are results. `whole` says that no window reaches over an edge, and
that its few taps are printed. The way back adds up, for each element, what the windows
around it send; on the CPU a plane is one task, and a window sends to its elements.
Text only.
"""

from __future__ import annotations

from ..tasks import Lines, Tasks
from .windows import WINDOWS, points, split, strides_of

AXES = (
    ("z", "p", "D", "P", "kd", "sd", "pd", "dd", "d"),
    ("u", "q", "H", "Q", "kh", "sh", "ph", "dh", "h"),
    ("v", "r", "W", "R", "kw", "sw", "pw", "dw", "k"),
)
OUT = (("n", ""), ("c", "C"), ("p", "P"), ("q", "Q"), ("r", "R"))
IN = (("n", ""), ("c", "C"), ("d", "D"), ("h", "H"), ("k", "W"))
#: a whole window of more taps is not printed
MOST_TAPS = 16
Kernel = tuple[int, ...]
#: the largest of no integers; of no floats it is -inf
_LOWEST = {
    "uint8": "0", "int8": "-128", "int16": "-32768", "int32": "-2147483648",
    "int64": "-9223372036854775807 - 1",
}  # fmt: skip


def _bounds(s: Lines, adaptive: bool, count: str = "") -> None:
    """Set z0, z1, u0, u1, v0, v1: where the window of (p, q, r) begins and ends.

    `count`, if given, is set to its elements, those of the padding included.
    """
    for at, out, size, outs, k, step, pad, gap, _ in AXES:
        if adaptive:
            s.add(f"{at}0 = {out} * {size} // {outs}")
            s.add(f"{at}1 = (({out} + 1) * {size} + {outs} - 1) // {outs}")
            continue
        s.add(f"{at}0 = {out} * {step} - {pad}")
        if count:
            s.add(f"{at}1 = min({at}0 + {k}, {size} + {pad})", f"{at}n = {at}1 - {at}0")
            s.add(f"{at}0 = max({at}0, 0)", f"{at}1 = min({at}1, {size})")
        else:
            s.add(f"{at}1 = min({at}0 + ({k} - 1) * {gap} + 1, {size})")
            s.open(f"if {at}0 < 0:")
            s.add(f"{at}0 += ({gap} - 1 - {at}0) // {gap} * {gap}")
            s.close()
    if count and not adaptive:
        s.add(f"{count} = zn * un * vn")


def _around(s: Lines, adaptive: bool) -> None:
    """Set p0, p1, ...: the windows around the element (d, h, k), and maybe more."""
    for _, out, size, outs, k, step, pad, gap, here in AXES:
        if adaptive:
            s.add(f"{out}0 = {here} * {outs} // {size}")
            s.add(f"{out}1 = (({here} + 1) * {outs} + {size} - 1) // {size}")
            continue
        s.add(f"{out}0 = {here} + {pad} - ({k} - 1) * {gap}")
        s.add(f"{out}0 = 0 if {out}0 < 0 else ({out}0 + {step} - 1) // {step}")
        s.add(f"{out}1 = min(({here} + {pad}) // {step} + 1, {outs})")


def _taps(kernel: Kernel) -> list[tuple[int, int, int]]:
    return [
        (a, e, f)
        for a in range(kernel[0])
        for e in range(kernel[1])
        for f in range(kernel[2])
    ]


def _first_whole(s: Lines) -> None:
    s.add("z0 = p * sd", "u0 = q * sh", "v0 = r * sw")
    s.add("at = n * x_n + c * x_c + z0 * x_d + u0 * x_h + v0 * x_w")


def maximum(
    dtype: str, places: bool, adaptive: bool, whole: Kernel | None = None
) -> Tasks:
    """The largest of each window. Pointers y(, places), x.

    Places count the elements of the plane; of equal elements the first is found, and
    NaN is larger than any number. The place of the largest of nothing is -1.
    """
    floating = dtype.startswith("float")
    lowest = f"{dtype}({_LOWEST.get(dtype, '-math.inf')})"

    def printed(s: Lines) -> None:
        _first_whole(s)
        s.add("best = x[at]", "place = (z0 * H + u0) * W + v0")
        for a, e, f in _taps(whole or ())[1:]:
            s.add(f"v = x[at + {a} * x_d + {e} * x_h + {f} * x_w]")
            if not places and floating:
                s.add("best = maximum(best, v)")
                continue
            s.add("better = (v > best) | (v != v)" if floating else "better = v > best")
            if places:
                here = f"((z0 + {a}) * H + u0 + {e}) * W + v0 + {f}"
                s.add(f"place = where(better, {here}, place)")
            s.add("best = where(better, v, best)")

    def looped(s: Lines) -> None:
        _bounds(s, adaptive)
        s.add("plane = n * x_n + c * x_c")
        # with dilation a window may reach around a small image without an element in it
        s.add(f"best = {lowest}", "place = -1")
        s.open("if z0 < z1 and u0 < u1 and v0 < v1:")
        s.add("best = x[plane + z0 * x_d + u0 * x_h + v0 * x_w]")
        s.add("place = (z0 * H + u0) * W + v0")
        s.close()
        gaps = ("1", "1", "1") if adaptive else ("dd", "dh", "dw")
        for at, gap in zip("zuv", gaps, strict=True):
            s.open(f"for {at} in range({at}0, {at}1, {gap}):")
        s.add("value = x[plane + z * x_d + u * x_h + v * x_w]")
        s.open(f"if value > best{' or value != value' if floating else ''}:")
        s.add("best = value", "place = (z * H + u) * W + v")
        for _ in range(4):
            s.close()

    def point(s: Lines) -> None:
        if whole is None:
            looped(s)
        else:
            printed(s)
        s.add("to = (((n * C + c) * P + p) * Q + q) * R + r", "y[to] = best")
        if places:
            s.add("places[to] = place")

    found = (("places", "int64"),) if places else ()
    return Tasks(
        ("max pool", dtype, places, adaptive, whole),
        "max_pool",
        f"The largest of each window, {dtype}.",
        (("y", dtype), *found, ("x", dtype)),
        lambda s: points(s, OUT, point),
        (*WINDOWS, "C", *strides_of("x")),
    )


def take(dtype: str) -> Tasks:
    """y = x at the places of each plane. Pointers y, x, places, all contiguous."""

    def build(s: Lines) -> None:
        s.add("place = places[i]", f"value = {dtype}(0)")
        s.open("if place >= 0:")
        s.add("value = x[i // results * elements + place]")
        s.close()
        s.add("y[i] = value")

    return Tasks(
        ("pool take", dtype),
        "pool_take",
        f"Elements at given places, {dtype}.",
        (("y", dtype), ("x", dtype), ("places", "int64")),
        build,
        ("results", "elements"),
    )


def put(dtype: str, adaptive: bool) -> Tasks:
    """x = the sum of all y whose place it is. Pointers x, y, places; x contiguous."""

    def build(s: Lines) -> None:
        if not s.cuda:
            s.add("n = i // C", "c = i - n * C")
            s.add("to = i * (D * H * W)", "at = i * (P * Q * R)")
            s.open("for k in range(D * H * W):")
            s.add(f"x[to + k] = {dtype}(0)")
            s.close()
            s.open("for p in range(P):")
            s.open("for q in range(Q):")
            s.add("line = n * y_n + c * y_c + p * y_d + q * y_h")
            s.open("for r in range(R):")
            s.add("place = places[at]", "at += 1")
            s.open("if place >= 0:")
            s.add("x[to + place] += y[line + r * y_w]")
            for _ in range(4):
                s.close()
            return
        split(s, "i", IN)
        _around(s, adaptive)
        s.add("own = (d * H + h) * W + k", f"total = {dtype}(0)")
        for out in "pqr":
            s.open(f"for {out} in range({out}0, {out}1):")
        s.open("if places[(((n * C + c) * P + p) * Q + q) * R + r] == own:")
        s.add("total += y[n * y_n + c * y_c + p * y_d + q * y_h + r * y_w]")
        for _ in range(4):
            s.close()
        s.add("x[i] = total")

    return Tasks(
        ("pool put", dtype, adaptive),
        "pool_put",
        f"Sums at given places, {dtype}.",
        (("x", dtype), ("y", dtype), ("places", "int64")),
        build,
        (*WINDOWS, "C", *strides_of("y")),
    )


def _divisor(s: Lines, count: str, adaptive: bool) -> None:
    """Set `count`, which the sum of a window is divided by.

    Its elements, "all" or those "inside" the image, or the "given" number.
    """
    _bounds(s, adaptive, "count")
    if adaptive or count == "inside":
        s.add("count = (z1 - z0) * (u1 - u0) * (v1 - v0)")
    elif count == "given":
        s.add("count = divisor")


def average(
    dtype: str, count: str, adaptive: bool, whole: Kernel | None = None
) -> Tasks:
    """The mean of each window. Pointers y, x."""
    floating = dtype.startswith("float")
    wide = dtype if floating else "int64"

    def printed(s: Lines) -> None:
        _first_whole(s)
        s.add("total = x[at]")
        for a, e, f in _taps(whole or ())[1:]:
            s.add(f"total += x[at + {a} * x_d + {e} * x_h + {f} * x_w]")
        s.add("count = divisor" if count == "given" else "count = kd * kh * kw")

    def looped(s: Lines) -> None:
        _divisor(s, count, adaptive)
        s.add("plane = n * x_n + c * x_c", f"total = {wide}(0)")
        for at in "zuv":
            s.open(f"for {at} in range({at}0, {at}1):")
        s.add(f"total += {wide}(x[plane + z * x_d + u * x_h + v * x_w])")
        for _ in range(3):
            s.close()

    def point(s: Lines) -> None:
        if whole is None:
            looped(s)
        else:
            printed(s)
        s.add("to = (((n * C + c) * P + p) * Q + q) * R + r")
        if floating:
            s.add(f"y[to] = div(total, {dtype}(count))")
        else:
            s.add(f"y[to] = {dtype}(int_div(total, int64(count)))")

    return Tasks(
        ("avg pool", dtype, count, adaptive, whole),
        "avg_pool",
        f"The mean of each window, {dtype}.",
        (("y", dtype), ("x", dtype)),
        lambda s: points(s, OUT, point),
        (*WINDOWS, "C", "divisor", *strides_of("x")),
    )


def spread(dtype: str, count: str, adaptive: bool) -> Tasks:
    """What the mean of each window sends back. Pointers x, contiguous, and y."""

    def build(s: Lines) -> None:
        if not s.cuda:
            s.add("n = i // C", "c = i - n * C", "to = i * (D * H * W)")
            s.open("for k in range(D * H * W):")
            s.add(f"x[to + k] = {dtype}(0)")
            s.close()
            for out, size in zip("pqr", "PQR", strict=True):
                s.open(f"for {out} in range({size}):")
            _divisor(s, count, adaptive)
            s.add("part = y[n * y_n + c * y_c + p * y_d + q * y_h + r * y_w]")
            s.add(f"part = div(part, {dtype}(count))")
            for at in "zuv":
                s.open(f"for {at} in range({at}0, {at}1):")
            s.add("x[to + (z * H + u) * W + v] += part")
            for _ in range(6):
                s.close()
            return
        split(s, "i", IN)
        _around(s, adaptive)
        s.add(f"total = {dtype}(0)")
        for out in "pqr":
            s.open(f"for {out} in range({out}0, {out}1):")
        _divisor(s, count, adaptive)
        s.open("if z0 <= d < z1 and u0 <= h < u1 and v0 <= k < v1:")
        s.add("part = y[n * y_n + c * y_c + p * y_d + q * y_h + r * y_w]")
        s.add(f"total += div(part, {dtype}(count))")
        for _ in range(4):
            s.close()
        s.add("x[i] = total")

    return Tasks(
        ("pool spread", dtype, count, adaptive),
        "pool_spread",
        f"Shares of the means of windows, {dtype}.",
        (("x", dtype), ("y", dtype)),
        build,
        (*WINDOWS, "C", "divisor", *strides_of("y")),
    )
