"""The kernels of convolution: direct ones, and those that lay out and add up columns.

x is (n, c, d, h, w) of any strides, w (o, c of a group, kd, kh, kw) contiguous, y
(n, o, p, q, r). `columns` is a matrix for each image: a row for each channel and
element of the kernel, a column for each position of the window. Text only.
"""

from __future__ import annotations

import math

from ..tasks import Lines, Tasks
from .windows import (
    WINDOWS,
    inside_rows,
    points,
    row,
    split,
    strides_of,
    taken,
)

CHANNELS = ("C", "O", "Cg", "Og")


def _sum(dtype: str) -> str:
    return dtype if dtype.startswith("float") else "int64"


def _add(s: Lines, total: str, x: str, y: str, dtype: str) -> None:
    if dtype.startswith("float"):
        s.add(f"{total} = fma({x}, {y}, {total})")
    else:
        s.add(f"{total} = {total} + int64({x}) * int64({y})")


# One point after another: what CUDA devices run, and integers


def forward(dtype: str, bias: bool) -> Tasks:
    """y, a task for each element (on the CPU for each row). Pointers y, x, w(, b)."""
    wide = _sum(dtype)

    def point(s: Lines) -> None:
        s.add(f"total = {wide}(b[o])" if bias else f"total = {wide}(0)")
        s.add("at_w = o * Cg * kd * kh * kw")
        s.add("first = n * x_n + o // Og * Cg * x_c")
        s.open("for c in range(Cg):")
        s.open("for a in range(kd):")
        s.add("z = p * sd - pd + a * dd")
        s.open("for e in range(kh):")
        s.add("u = q * sh - ph + e * dh")
        s.open("if z >= 0 and z < D and u >= 0 and u < H:")
        s.add("line = first + c * x_c + z * x_d + u * x_h")
        s.add("at = at_w + ((c * kd + a) * kh + e) * kw")
        s.open("for f in range(kw):")
        s.add("v = r * sw - pw + f * dw")
        s.open("if v >= 0 and v < W:")
        _add(s, "total", "x[line + v * x_w]", "w[at + f]", dtype)
        for _ in range(6):
            s.close()
        s.add(f"y[(((n * O + o) * P + p) * Q + q) * R + r] = {dtype}(total)")

    def build(s: Lines) -> None:
        sizes = [("n", ""), ("o", "O"), ("p", "P"), ("q", "Q"), ("r", "R")]
        points(s, sizes, point)

    pointers = [("y", dtype), ("x", dtype), ("w", dtype)]
    if bias:
        pointers.append(("b", dtype))
    return Tasks(
        ("conv forward", dtype, bias),
        "conv_forward",
        f"Convolution of {dtype}, one element after another.",
        tuple(pointers),
        build,
        (*WINDOWS, *CHANNELS, *strides_of("x")),
    )


def input_grad(dtype: str) -> Tasks:
    """x from y, a task for each element (on the CPU for each row). Pointers x, y, w.

    x is contiguous, y of any strides.
    """
    wide = _sum(dtype)

    def point(s: Lines) -> None:
        s.add(f"total = {wide}(0)")
        s.add("group = c // Cg")
        s.open("for a in range(kd):")
        s.add("z = d + pd - a * dd")
        taken(s, "z", "p", "sd", "P")
        s.open("for e in range(kh):")
        s.add("u = h + ph - e * dh")
        taken(s, "u", "q", "sh", "Q")
        s.open("for f in range(kw):")
        s.add("v = k + pw - f * dw")
        taken(s, "v", "r", "sw", "R")
        s.add("line = n * y_n + p * y_d + q * y_h + r * y_w")
        s.open("for o in range(group * Og, group * Og + Og):")
        s.add("at = (((o * Cg + c - group * Cg) * kd + a) * kh + e) * kw + f")
        _add(s, "total", "y[line + o * y_c]", "w[at]", dtype)
        for _ in range(7):
            s.close()
        s.add(f"x[(((n * C + c) * D + d) * H + h) * W + k] = {dtype}(total)")

    def build(s: Lines) -> None:
        sizes = [("n", ""), ("c", "C"), ("d", "D"), ("h", "H"), ("k", "W")]
        points(s, sizes, point)

    return Tasks(
        ("conv input", dtype),
        "conv_input_grad",
        f"Transposed convolution of {dtype}, one element after another.",
        (("x", dtype), ("y", dtype), ("w", dtype)),
        build,
        (*WINDOWS, *CHANNELS, *strides_of("y")),
    )


def weight_grad(dtype: str) -> Tasks:
    """w from x and y, a task for each element and chunk of images. Pointers w, x, y.

    w is (chunks, o, c of a group, kd, kh, kw); chunks are of `each` images.
    """
    wide = _sum(dtype)

    def build(s: Lines) -> None:
        sizes = [("t", ""), ("o", "O"), ("c", "Cg"), ("a", "kd"), ("e", "kh")]
        split(s, "i", [*sizes, ("f", "kw")])
        s.add("channel = o // Og * Cg + c")
        s.add(f"total = {wide}(0)")
        s.open("for n in range(t * each, min(N, t * each + each)):")
        s.open("for p in range(P):")
        s.add("z = p * sd - pd + a * dd")
        s.open("for q in range(Q):")
        s.add("u = q * sh - ph + e * dh")
        s.open("if z >= 0 and z < D and u >= 0 and u < H:")
        s.add("line = n * x_n + channel * x_c + z * x_d + u * x_h")
        s.add("at = n * y_n + o * y_c + p * y_d + q * y_h")
        s.add("shift = f * dw - pw")
        inside_rows(s, "R", "sw", "shift", "W")
        s.open("for r in range(low, high):")
        _add(s, "total", "x[line + (r * sw + shift) * x_w]", "y[at + r * y_w]", dtype)
        for _ in range(5):
            s.close()
        s.add(f"w[i] = {dtype}(total)")

    return Tasks(
        ("conv weight", dtype),
        "conv_weight_grad",
        f"Gradient of a convolution's weights, {dtype}, one element after another.",
        (("w", dtype), ("x", dtype), ("y", dtype)),
        build,
        ("N", "each", *WINDOWS, *CHANNELS, *strides_of("x"), *strides_of("y")),
    )


# Columns, for products by BLAS; what unfold and fold do, too


#: what is known of windows: nothing; they move by single elements along rows, which are
#: neighbours; there are, too, as many in a row as elements, rows are neighbours, and
#: windows move by single rows, so that those of a plane are taken as one long row
ANY, UNIT, FLAT = "any", "unit", "flat"


def _no_edges(s: Lines, at: str, zero: str) -> None:
    """Set to zero what windows that are taken as one row have beyond their own rows."""
    inside_rows(s, "R", "1", "shift", "W")
    for begin, end in (("0", "low"), ("high", "R")):
        s.open(f"for k in range({begin}, {end}):")
        s.open("for q in range(Q):")
        s.add(f"columns[{at} + q * R + k] = {zero}")
        s.close()
        s.close()


def columns(dtype: str, windows: str) -> Tasks:
    """Lay out the columns of images. Pointers: columns, x.

    A task is a channel of an image (an element of the matrix, on a CUDA device).
    """
    unit = windows != ANY
    move = "shift + k" if unit else "(k * sw + shift) * x_w"
    zero = f"{dtype}(0)"

    def plane(s: Lines) -> None:
        """Lay out windows that are one row."""
        s.add("count = Q * R", "size = H * W", "jump = (e * dh - ph) * W + shift")
        s.open("if z >= 0 and z < D:")
        s.add("line = n * x_n + c * x_c + z * x_d + jump")
        inside_rows(s, "count", "1", "jump", "size")
        row(s, "count", "columns[at + k]", "x[line + k]", zero)
        _no_edges(s, "at", zero)
        s.close()
        s.open("else:")
        row(s, "count", "columns[at + k]", None, zero)
        s.close()
        s.add("at += count")

    def rows_of_plane(s: Lines) -> None:
        s.open("for q in range(Q):")
        s.add("u = q * sh - ph + e * dh")
        s.open("if z >= 0 and z < D and u >= 0 and u < H:")
        s.add("line = n * x_n + c * x_c + z * x_d + u * x_h")
        row(s, "R", "columns[at + k]", f"x[line + {move}]", zero)
        s.close()
        s.open("else:")
        row(s, "R", "columns[at + k]", None, zero)
        s.close()
        s.add("at += R")
        s.close()

    def build(s: Lines) -> None:
        rows = [("n", ""), ("c", "C"), ("a", "kd"), ("e", "kh"), ("f", "kw")]
        if s.cuda:
            split(s, "i", [*rows, ("p", "P"), ("q", "Q"), ("r", "R")])
            s.add("z = p * sd - pd + a * dd", "u = q * sh - ph + e * dh")
            s.add("v = r * sw - pw + f * dw", f"value = {dtype}(0)")
            s.open("if z >= 0 and z < D and u >= 0 and u < H and v >= 0 and v < W:")
            s.add("value = x[n * x_n + c * x_c + z * x_d + u * x_h + v * x_w]")
            s.close()
            s.add("row = ((c * kd + a) * kh + e) * kw + f")
            s.add("columns[n * to_n + row * to_k + (p * Q + q) * R + r] = value")
            return
        split(s, "i", rows[:2])
        s.add("to = n * to_n + c * (kd * kh * kw) * to_k")
        s.open("for a in range(kd):")
        s.open("for e in range(kh):")
        s.open("for f in range(kw):")
        s.add("shift = f * dw - pw")
        if windows != FLAT:
            inside_rows(s, "R", "1" if unit else "sw", "shift", "W")
        s.add("at = to")
        s.open("for p in range(P):")
        s.add("z = p * sd - pd + a * dd")
        (plane if windows == FLAT else rows_of_plane)(s)
        s.close()
        s.add("to += to_k")
        s.close()
        s.close()
        s.close()

    return Tasks(
        ("conv columns", dtype, windows),
        "conv_columns",
        f"Columns of windows, {dtype}.",
        (("columns", dtype), ("x", dtype)),
        build,
        (*WINDOWS, "C", "to_n", "to_k", *strides_of("x")),
    )


def add_columns(dtype: str, windows: str) -> Tasks:
    """Sum columns to images, of which each element takes part in several windows.

    Pointers: x, contiguous; columns, whose strides are from_n, from_k, from_p. A task
    is a row of an image, on a CUDA device an element: each gathers what is its own. If
    windows are flat, a task is a channel; from_p is 1, and columns are changed.
    """
    unit = windows != ANY
    move = "shift + k" if unit else "k * sw + shift"

    def channel(s: Lines) -> None:
        split(s, "i", [("n", ""), ("c", "C")])
        s.add("size = H * W", "count = Q * R", "start = i * D * size")
        s.open("for k in range(D * size):")
        s.add(f"x[start + k] = {dtype}(0)")
        s.close()
        s.add("line = n * from_n + c * (kd * kh * kw) * from_k")
        for name, axis in (("a", "kd"), ("e", "kh"), ("f", "kw")):
            s.open(f"for {name} in range({axis}):")
        s.add("shift = f * dw - pw", "jump = (e * dh - ph) * W + shift")
        s.open("for p in range(P):")
        s.add("z = p * sd - pd + a * dd")
        s.open("if z >= 0 and z < D:")
        s.add("at = line + p * count", "to = start + z * size + jump")
        _no_edges(s, "at", f"{dtype}(0)")
        inside_rows(s, "count", "1", "jump", "size")
        s.open("for k in range(low, high):")
        s.add("x[to + k] += columns[at + k]")
        for _ in range(3):
            s.close()
        s.add("line += from_k")
        for _ in range(3):
            s.close()

    def element(s: Lines) -> None:
        s.add(f"total = {dtype}(0)")
        s.open("for a in range(kd):")
        s.add("z = d + pd - a * dd")
        taken(s, "z", "p", "sd", "P")
        s.open("for e in range(kh):")
        s.add("u = h + ph - e * dh")
        taken(s, "u", "q", "sh", "Q")
        s.open("for f in range(kw):")
        s.add("v = k + pw - f * dw")
        taken(s, "v", "r", "sw", "R")
        s.add("line = (((c * kd + a) * kh + e) * kw + f) * from_k + n * from_n")
        s.add("total += columns[line + ((p * Q + q) * R + r) * from_p]")
        for _ in range(6):
            s.close()
        s.add("x[i] = total")

    def build(s: Lines) -> None:
        rows = [("n", ""), ("c", "C"), ("d", "D"), ("h", "H")]
        if s.cuda:
            split(s, "i", [*rows, ("k", "W")])
            element(s)
            return
        if windows == FLAT:
            channel(s)
            return
        split(s, "i", rows)
        s.add("to = i * W")
        s.open("for k in range(W):")
        s.add(f"x[to + k] = {dtype}(0)")
        s.close()
        s.open("for a in range(kd):")
        s.add("z = d + pd - a * dd")
        taken(s, "z", "p", "sd", "P")
        s.open("for e in range(kh):")
        s.add("u = h + ph - e * dh")
        taken(s, "u", "q", "sh", "Q")
        s.open("for f in range(kw):")
        s.add("line = (((c * kd + a) * kh + e) * kw + f) * from_k + n * from_n")
        s.add("line += (p * Q + q) * R * from_p")
        s.add("shift = f * dw - pw")
        inside_rows(s, "R", "1" if unit else "sw", "shift", "W")
        s.open("for k in range(low, high):")
        s.add(f"x[to + {move}] += columns[line + k * from_p]")
        for _ in range(6):
            s.close()

    return Tasks(
        ("conv add_columns", dtype, windows),
        "conv_add_columns",
        f"Sums of the columns of windows, {dtype}.",
        (("x", dtype), ("columns", dtype)),
        build,
        (*WINDOWS, "C", "from_n", "from_k", "from_p"),
    )


def add_bias(dtype: str) -> Tasks:
    """Add b[o] to the n elements of each row (image, o) of y. Pointers y, b."""

    def build(s: Lines) -> None:
        s.add("value = b[i % O]", "to = i * n")
        s.open("for k in range(n):")
        s.add("y[to + k] += value")
        s.close()

    return Tasks(
        ("conv bias", dtype),
        "conv_add_bias",
        f"Bias of each channel, {dtype}.",
        (("y", dtype), ("b", dtype)),
        build,
        ("O", "n"),
    )


# The direct kernel of the CPU

#: columns of a row that one task computes: what it adds to stays in the first cache
ROW = 512


def padded(dtype: str, unit: bool) -> Tasks:
    """Copy x with its padding, columns sorted by their remainder modulo sw.

    Then the elements that neighbouring windows need are neighbours, whatever the
    stride. Pointers: to, x. A task is a row; `to` is (n, c, rows D2, rows H2, sw, W2).
    """

    def build(s: Lines) -> None:
        split(s, "i", [("n", ""), ("c", "C"), ("z2", "D2"), ("u2", "H2")])
        s.add("z = z2 - pd", "u = u2 - ph", "to = i * sw * W2")
        s.add("line = n * x_n + c * x_c + z * x_d + u * x_h")
        s.open("for f in range(sw):")
        s.open("if z >= 0 and z < D and u >= 0 and u < H:")
        s.add("shift = f - pw")
        inside_rows(s, "W2", "sw", "shift", "W")
        move = "shift + k" if unit else "(k * sw + shift) * x_w"
        row(s, "W2", "out[to + k]", f"x[line + {move}]", f"{dtype}(0)")
        s.close()
        s.open("else:")
        row(s, "W2", "out[to + k]", None, f"{dtype}(0)")
        s.close()
        s.add("to += W2")
        s.close()

    return Tasks(
        ("conv padded", dtype, unit),
        "conv_padded",
        f"Images with their padding, {dtype}.",
        (("out", dtype), ("x", dtype)),
        build,
        (
            "D",
            "H",
            "W",
            "C",
            "D2",
            "H2",
            "W2",
            "pd",
            "ph",
            "pw",
            "sw",
            *strides_of("x"),
        ),
    )


def direct(dtype: str, kernel: tuple[int, ...], block: int, bias: bool) -> Tasks:
    """A stretch of a row of y for `block` channels at a time, all taps printed.

    Pointers: y0, y1, ...: y at channel 0, 1, ...; x, whose columns are neighbours; w;
    b. Numbers `tap*` are the distances in x of the kernel's elements.
    """
    taps = math.prod(kernel)
    own = range(block)

    def build(s: Lines) -> None:
        parts = [("n", ""), ("ob", "blocks"), ("p", "P"), ("q", "Q"), ("part", "parts")]
        split(s, "i", parts)
        s.add(f"o = ob * {block}", f"start = part * {ROW}")
        s.add(f"count = min({ROW}, R - start)")
        s.add("line = n * x_n + o // Og * Cg * x_c + p * x_d + q * x_h + start")
        s.add("to = (((n * O + o) * P + p) * Q + q) * R + start")
        s.add(*(f"b{j} = b[o + {j}]" if bias else f"b{j} = {dtype}(0)" for j in own))
        s.open("for c in range(Cg):")
        s.add("at = line + c * x_c")
        for j in own:
            s.add(f"w{j} = ((o + {j}) * Cg + c) * {taps}")
            s.add(*(f"w{j}_{t} = w[w{j} + {t}]" for t in range(taps)))
        s.add(*(f"at{t} = at + tap{t}" for t in range(taps)))
        s.open("for k in range(count):")
        s.add(*(f"a{j} = b{j} if c == 0 else y{j}[to + k]" for j in own))
        for t in range(taps):
            s.add(f"v = x[at{t} + k]")
            s.add(*(f"a{j} = fma(v, w{j}_{t}, a{j})" for j in own))
        s.add(*(f"y{j}[to + k] = a{j}" for j in own))
        s.close()
        s.close()

    pointers = [(f"y{j}", dtype) for j in own] + [("x", dtype), ("w", dtype)]
    if bias:
        pointers.append(("b", dtype))
    return Tasks(
        ("conv direct", dtype, kernel, block, bias),
        "conv_direct_" + "x".join(str(k) for k in kernel),
        f"Convolution of {dtype}, {block} channels at a time.",
        tuple(pointers),
        build,
        (
            *("P", "Q", "R", "O", "Og", "Cg", "blocks", "parts"),
            *("x_n", "x_c", "x_d", "x_h"),
            *(f"tap{t}" for t in range(taps)),
        ),
    )


def flipped(dtype: str) -> Tasks:
    """The weights of the transposed convolution: channels exchanged, kernel reversed.

    Pointers: out (groups, c of a group, o of a group, taps), w. A task is an element.
    """

    def build(s: Lines) -> None:
        split(s, "i", [("g", ""), ("c", "Cg"), ("o", "Og"), ("t", "taps")])
        s.add("out[i] = w[((g * Og + o) * Cg + c) * taps + taps - 1 - t]")

    return Tasks(
        ("conv flipped", dtype),
        "conv_flipped",
        f"Weights of the transposed convolution, {dtype}.",
        (("out", dtype), ("w", dtype)),
        build,
        ("Cg", "Og", "taps"),
    )
