"""Losses over classes, row by row: a loss, and its gradient while the row is in cache.

Rows lie as in `softmax`. A target outside the classes is read nowhere: `checked` finds
it before the others run, or, where nobody looks, its loss is NaN.
"""

from __future__ import annotations

from collections.abc import Callable

from ..tasks import Lines, Tasks
from .softmax import begin_row, elementary, largest, sweep


def checked(dtype: str, weighted: bool) -> Tasks:
    """Return the kernel of one task that sums the weights of all targets.

    place[0] is one more than the position of the first target that is no class, or 0.
    """

    def build(s: Lines) -> None:
        s.add("total = float64(0)", "found = int64(0)")
        s.open("for k in range(count):")
        s.add("t = target[k]")
        s.open("if t != ignore:")
        s.open("if t >= 0 and t < n:")
        s.add(f"total += {'float64(weight[t])' if weighted else 'float64(1)'}")
        s.close()
        s.open("elif found == 0:")
        s.add("found = k + 1")
        s.close()
        s.close()
        s.close()
        s.add(f"share[0] = {dtype}(total)", "place[0] = found")

    weight = (("weight", dtype),) if weighted else ()
    return Tasks(
        ("class targets", dtype, weighted),
        f"class_targets_{dtype}",
        f"Sum of the weights of targets, {dtype}.",
        (("share", dtype), ("place", "int64"), ("target", "int64"), *weight),
        build,
        numbers=("n", "count", "ignore"),
    )


def target_weights(dtype: str, weighted: bool) -> Tasks:
    """Return the kernel that gives each target's weight, 0 if it is ignored."""

    def build(s: Lines) -> None:
        s.add("t = target[i]", f"found = {dtype}(0)")
        s.open("if t != ignore and t >= 0 and t < n:")
        s.add(f"found = {'weight[t]' if weighted else f'{dtype}(1)'}")
        s.close()
        s.add("out[i] = found")

    weight = (("weight", dtype),) if weighted else ()
    return Tasks(
        ("target weights", dtype, weighted),
        f"target_weights_{dtype}",
        f"Weights of targets, {dtype}.",
        (("out", dtype), ("target", "int64"), *weight),
        build,
        numbers=("n", "ignore"),
    )


def _rows(
    name: str,
    title: str,
    dtype: str,
    flat: bool,
    weighted: bool,
    pointers: tuple[str, ...],
    variant: tuple[object, ...],
    build: Callable[[Lines, Callable[[str], str]], None],
    scalars: tuple[tuple[str, str], ...] = (),
    other: Callable[[Lines, Callable[[str], str]], None] | None = None,
) -> Tasks:
    """Return a kernel over rows with a class: `build` prints what is done for one that
    counts, `other` for one that is ignored or has no valid class."""

    def place(k: str) -> str:
        return f"base + {k}" if flat else f"base + {k} * inner"

    def begin(s: Lines) -> None:
        begin_row(s, flat)
        s.add("t = target[i]")
        s.open("if t != ignore and t >= 0 and t < n:")
        s.add(f"w = {'weight[t]' if weighted else f'{dtype}(1)'}")
        build(s, place)
        s.close()
        if other is not None:
            s.open("else:")
            other(s, place)
            s.close()

    kinds = [(p, "int64" if p == "target" else dtype) for p in pointers]
    if weighted:
        kinds.append(("weight", dtype))
    return Tasks(
        (name, dtype, flat, weighted, *variant),
        f"{name}_{dtype}",
        f"{title}, {dtype}.",
        tuple(kinds),
        begin,
        numbers=("n", "inner", "ignore"),
        scalars=scalars,
    )


def _no_loss(s: Lines, dtype: str) -> None:
    s.calls.add("math")
    # a mean over nothing is 0 / 0
    s.add(
        f"nothing = div({dtype}(0), share[0])",
        f"loss[i] = where(t == ignore, nothing, {dtype}(math.nan))",
    )


def _cleared(s: Lines, dtype: str, at: Callable[[str], str]) -> None:
    s.open("for k in range(n):")
    s.add(f"slope[{at('k')}] = {dtype}(0)")
    s.close()


def cross_entropy(
    dtype: str, flat: bool, weighted: bool, smooth: bool, slopes: bool
) -> Tasks:
    """Return the kernel loss[row] = w (log(sum(exp(x))) - x[t]) / share.

    With `smooth` a part of that is spread over all classes; `slopes` stores the
    gradient too. Slots: loss, [slope], x, share, target, [weight].
    """

    def build(s: Lines, at: Callable[[str], str]) -> None:
        largest(s, at)

        def term() -> str:
            s.add(f"gap = x[{at('k')}] - most")
            power = elementary(s, "exp", "gap", dtype)
            if slopes:
                s.add(f"slope[{at('k')}] = {power}")
            return power

        sweep(s, dtype, "total", term)
        s.add(
            f"log_total = {elementary(s, 'log', 'total', 'float64')}",
            "here = float64(w)",
            f"own = log_total - float64(x[{at('t')}] - most)",
            "unit = div(float64(1), float64(share[0]))",
        )
        if not smooth:
            s.add(f"loss[i] = {dtype}(here * own * unit)", "all = here")
        else:
            s.add("each = div(float64(smoothing), float64(n))")
            weight = (
                f"weight[k] * (x[{at('k')}] - most)"
                if weighted
                else (f"x[{at('k')}] - most")
            )
            sweep(s, dtype, "scores", lambda: weight)
            if weighted:
                sweep(s, dtype, "weights", lambda: "weight[k]")
            else:
                s.add("weights = float64(n)")
            s.add(
                "rest = float64(1) - float64(smoothing)",
                "spread = weights * log_total - scores",
                f"loss[i] = {dtype}((rest * here * own + each * spread) * unit)",
                "all = rest * here + each * weights",
                "here = rest * here",
            )
        if not slopes:
            return
        s.add(f"scale = {dtype}(div(all * unit, total))")
        if smooth:
            s.add(f"off = {dtype}(each * unit)")
        s.open("for k in range(n):")
        off = "" if not smooth else " - off * weight[k]" if weighted else " - off"
        s.add(f"slope[{at('k')}] = slope[{at('k')}] * scale{off}")
        s.close()
        s.add(f"slope[{at('t')}] = slope[{at('t')}] - {dtype}(here * unit)")

    def other(s: Lines, at: Callable[[str], str]) -> None:
        _no_loss(s, dtype)
        if slopes:
            _cleared(s, dtype, at)

    pointers = ("loss", *(("slope",) if slopes else ()), "x", "share", "target")
    scalars = (("smoothing", dtype),) if smooth else ()
    return _rows(
        "cross_entropy", "Cross entropy of rows of scores", dtype, flat, weighted,
        pointers, (smooth, slopes), build, scalars, other,
    )  # fmt: skip


def nll(dtype: str, flat: bool, weighted: bool) -> Tasks:
    """Return the kernel loss[row] = -w x[t] / share. Slots: loss, x, share, target."""

    def build(s: Lines, at: Callable[[str], str]) -> None:
        s.add(f"loss[i] = div(-w * x[{at('t')}], share[0])")

    return _rows(
        "nll_loss", "Negative log likelihood of rows", dtype, flat, weighted,
        ("loss", "x", "share", "target"), (), build, (),
        lambda s, at: _no_loss(s, dtype),
    )  # fmt: skip


def nll_backward(dtype: str, flat: bool, weighted: bool, each: bool) -> Tasks:
    """Return the kernel that stores -w g / share at the class, 0 elsewhere.

    `each` row has a cotangent g, or all have one. Slots: slope, g, share, target.
    """

    def build(s: Lines, at: Callable[[str], str]) -> None:
        _cleared(s, dtype, at)
        s.add(f"slope[{at('t')}] = div(-w * g[{'i' if each else '0'}], share[0])")

    return _rows(
        "nll_loss_backward", "Gradient of the negative log likelihood", dtype, flat,
        weighted, ("slope", "g", "share", "target"), (each,), build, (),
        lambda s, at: _cleared(s, dtype, at),
    )  # fmt: skip
