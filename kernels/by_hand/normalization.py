"""Normalising rows and channels: mean, variance and result while elements are in cache.

The mean comes first, then the squares around it: one pass over both loses half of the
digits once mean / deviation reaches 1e4. Sums are joined in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..expr import apply, var
from ..tasks import Lines, Tasks
from .softmax import sweep


def _inverse_root(s: Lines) -> str:
    """Print 1 / sqrt(variance + eps) of float64 names."""
    spread = var("variance", "float64") + var("eps", "float64")
    return s.value(1 / apply("sqrt", spread))


def rows(dtype: str, center: bool, weight: bool, bias: bool) -> Tasks:
    """Return the kernel out = (x - mean) * rstd * weight + bias of rows of n.

    Without `center` the mean counts as 0. Slots: out, mean, rstd, x, [weight], [bias];
    table n; scalar eps.
    """

    def build(s: Lines) -> None:
        s.add("base = i * n")
        if center:
            sweep(s, dtype, "total", lambda: "x[base + k]")
            s.add(f"middle = {dtype}(total / n)")
        else:
            s.add(f"middle = {dtype}(0)")

        def square() -> str:
            s.add("gap = x[base + k] - middle")
            return "gap * gap"

        sweep(s, dtype, "squares", square)
        s.add("variance = squares / n")
        s.add(f"scale = {dtype}({_inverse_root(s)})")
        s.add("mean[i] = middle", "rstd[i] = scale")
        s.open("for k in range(n):")
        value = "(x[base + k] - middle) * scale"
        value += " * weight[k]" if weight else ""
        value += " + bias[k]" if bias else ""
        s.add(f"out[base + k] = {value}")
        s.close()

    pointers = ["out", "mean", "rstd", "x"]
    pointers += ["weight"] if weight else []
    pointers += ["bias"] if bias else []
    return Tasks(
        ("normalized rows", dtype, center, weight, bias),
        f"normalized_rows_{dtype}",
        f"Rows with mean 0 and variance 1, {dtype}.",
        tuple((p, dtype) for p in pointers),
        build,
        numbers=("n",),
        scalars=(("eps", "float64"),),
    )


def rows_backward(dtype: str, center: bool, weight: bool, sums: bool) -> Tasks:
    """Return the kernel of the gradients; a task is a block of rows.

    gx = rstd * (h - mean(h) - u * mean(h * u)), where h = g * weight and u is the
    normalised row. With `sums` a block adds up what weight and bias get, in a row of
    its own. Slots: gx, [gw, gb], g, x, mean, rstd, [weight]; table n, rows, block.
    """

    def build(s: Lines) -> None:
        if sums:
            s.open("for k in range(n):")
            s.add(f"gw[i * n + k] = {dtype}(0)", f"gb[i * n + k] = {dtype}(0)")
            s.close()
        s.open("for row in range(i * block, min(rows, (i + 1) * block)):")
        s.add("base = row * n", "middle = mean[row]", "scale = rstd[row]")
        h = "g[base + k] * weight[k]" if weight else "g[base + k]"
        if center:
            sweep(s, dtype, "first_sum", lambda: h)
        sweep(s, dtype, "second_sum", lambda: f"{h} * (x[base + k] - middle)")
        if center:
            s.add(f"shift = {dtype}(first_sum / n)")
        s.add(f"slope = {dtype}(second_sum / n) * scale * scale")
        s.open("for k in range(n):")
        s.add("gap = x[base + k] - middle")
        if sums:
            s.add(
                "gw[i * n + k] = gw[i * n + k] + g[base + k] * gap * scale",
                "gb[i * n + k] = gb[i * n + k] + g[base + k]",
            )
        minus = " - shift" if center else ""
        s.add(f"gx[base + k] = ({h}{minus} - gap * slope) * scale")
        s.close()
        s.close()

    pointers = ["gx", *(("gw", "gb") if sums else ()), "g", "x", "mean", "rstd"]
    pointers += ["weight"] if weight else []
    return Tasks(
        ("normalized rows backward", dtype, center, weight, sums),
        f"normalized_rows_backward_{dtype}",
        f"Gradient of normalised rows, {dtype}.",
        tuple((p, dtype) for p in pointers),
        build,
        numbers=("n", "rows", "block"),
    )


#: columns that a task of `channels` walks down together where each has one element
COLUMNS = 128


def _over_channels(
    s: Lines, flat: bool, body: Callable[[], None], inside: Callable[[], None] | None
) -> None:
    """Print the loops over a task's elements x[place], each of channel c.

    `flat` tensors are (N, C), where the innermost loop runs over channels; others (N,
    C, L), where it runs over l. `inside` prints what stands around the loop over l.
    """
    s.open("for row in range(rows):")
    if flat:
        s.open("for c in range(begin, end):")
        s.add("place = row * channels + c")
        body()
        s.close()
    else:
        s.add("base = (row * channels + c) * n")
        if inside is not None:
            inside()
        else:
            s.open("for k in range(n):")
            s.add("place = base + k")
            body()
            s.close()
    s.close()


def _each_channel(s: Lines, flat: bool, body: Callable[[], None]) -> None:
    """Print what is done once for each channel of a task."""
    if flat:
        s.open("for c in range(begin, end):")
        body()
        s.close()
    else:
        body()


def _begin(s: Lines, flat: bool) -> None:
    if flat:
        s.add(f"begin = i * {COLUMNS}", f"end = min(channels, begin + {COLUMNS})")
    else:
        s.add("c = i")


def _sums(
    s: Lines, dtype: str, flat: bool, totals: dict[str, Callable[[str], str]]
) -> None:
    """Print float64 sums over each channel, into memory total[c] of these names."""
    for name in totals:
        _each_channel(s, flat, partial(s.add, f"{name}[c] = 0.0"))

    def add() -> None:
        for name, term in totals.items():
            s.add(f"{name}[c] = {name}[c] + float64({term('place')})")

    def run() -> None:
        for name, term in totals.items():
            sweep(s, dtype, "run", partial(term, "base + k"))
            s.add(f"{name}[c] = {name}[c] + run")

    _over_channels(s, flat, add, run)


def channels(dtype: str, flat: bool, weight: bool, running: bool) -> Tasks:
    """Return the kernel that normalises each channel of (N, C, L) or (N, C).

    Slots: out, mean, rstd, sums (float64), x, [weight, bias], [running mean and
    variance, which move by `momentum`]; table rows, channels, n; scalars eps, momentum.
    """

    def build(s: Lines) -> None:
        _begin(s, flat)
        s.add("count = float64(rows * n)")
        _sums(s, dtype, flat, {"sums": lambda p: f"x[{p}]"})
        _each_channel(s, flat, lambda: s.add(f"mean[c] = {dtype}(sums[c] / count)"))
        square = "(x[{0}] - mean[c]) * (x[{0}] - mean[c])"
        _sums(s, dtype, flat, {"sums": square.format})

        def finish() -> None:
            s.add("variance = sums[c] / count")
            s.add(f"rstd[c] = {dtype}({_inverse_root(s)})")
            if running:
                s.add(
                    "free = where(count > 1.0, count - 1.0, 1.0)",
                    "keep = 1.0 - momentum",
                    f"average[c] = {dtype}(average[c] * keep + mean[c] * momentum)",
                    f"spread[c] = {dtype}(spread[c] * keep + "
                    "sums[c] / free * momentum)",
                )

        _each_channel(s, flat, finish)
        value = "(x[place] - mean[c]) * rstd[c]"
        value += " * weight[c] + bias[c]" if weight else ""
        _over_channels(s, flat, lambda: s.add(f"out[place] = {value}"), None)

    pointers = [("out", dtype), ("mean", dtype), ("rstd", dtype), ("sums", "float64")]
    pointers += [("x", dtype)]
    pointers += [("weight", dtype), ("bias", dtype)] if weight else []
    pointers += [("average", dtype), ("spread", dtype)] if running else []
    return Tasks(
        ("normalized channels", dtype, flat, weight, running),
        f"normalized_channels_{dtype}",
        f"Channels with mean 0 and variance 1, {dtype}.",
        tuple(pointers),
        build,
        numbers=("rows", "channels", "n"),
        scalars=(("eps", "float64"), ("momentum", "float64")),
    )


def channels_backward(dtype: str, flat: bool, weight: bool) -> Tasks:
    """Return the kernel of the gradients of `channels`.

    Slots: gx, gw, gb, whole and along (float64), g, x, mean, rstd, [weight].
    """

    def build(s: Lines) -> None:
        _begin(s, flat)
        s.add("count = float64(rows * n)")
        _sums(
            s, dtype, flat,
            {
                "whole": lambda p: f"g[{p}]",
                "along": lambda p: f"g[{p}] * (x[{p}] - mean[c])",
            },
        )  # fmt: skip

        def finish() -> None:
            s.add(
                f"gb[c] = {dtype}(whole[c])",
                f"gw[c] = {dtype}(along[c] * rstd[c])",
                "whole[c] = whole[c] / count",
                "along[c] = along[c] / count * rstd[c] * rstd[c]",
            )

        _each_channel(s, flat, finish)
        scale = "rstd[c] * weight[c]" if weight else "rstd[c]"
        value = (
            f"(g[place] - {dtype}(whole[c]) - (x[place] - mean[c]) * "
            f"{dtype}(along[c])) * ({scale})"
        )
        _over_channels(s, flat, lambda: s.add(f"gx[place] = {value}"), None)

    pointers = [("gx", dtype), ("gw", dtype), ("gb", dtype)]
    pointers += [("whole", "float64"), ("along", "float64")]
    pointers += [(p, dtype) for p in ("g", "x", "mean", "rstd")]
    pointers += [("weight", dtype)] if weight else []
    return Tasks(
        ("normalized channels backward", dtype, flat, weight),
        f"normalized_channels_backward_{dtype}",
        f"Gradient of normalised channels, {dtype}.",
        tuple(pointers),
        build,
        numbers=("rows", "channels", "n"),
    )
