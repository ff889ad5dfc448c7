"""Pooling on the tape: extremes and means of windows, each beside its transpose.

`largest` finds values and their places; `take` and `put` go by places, forth and back.
`average` and `spread` are each other's way back. So all orders of derivatives are made
of these. Checks are in `pooling`: sizes are trusted here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ... import dtypes, launch
from ...kernels.by_hand import pool as texts
from ...memory import empty
from ...spec import Spec, contiguous_spec
from ...tape import FunctionNode, edge, grad_mode
from ...tensor import Tensor
from ._convolution_problem import Problem, whole


def _whole_windows(about: Problem, adaptive: bool) -> tuple[int, ...] | None:
    """Return the kernel if it is small and no window of it reaches over an edge."""
    kernel = about.w[2:]
    if adaptive or about.taps > texts.MOST_TAPS or any(about.padding):
        return None
    last = [
        (out - 1) * s + k
        for out, s, k in zip(about.y[2:], about.stride, kernel, strict=True)
    ]
    if any(a > b for a, b in zip(last, about.x[2:], strict=True)):
        return None
    return kernel if set(about.dilation) == {1} else None


def _cost(about: Problem, adaptive: bool) -> int:
    """Return about what one result costs."""
    if adaptive:
        return 4 + max(1, math.prod(about.x[2:]) // max(1, about.length))
    return 4 + about.taps


def _rows(made: Spec, about: Problem) -> int:
    """Return the tasks that make results of one spec: elements, or rows of them."""
    return made.numel if made.device.type != "cpu" else made.numel // about.y[4]


def largest(
    about: Problem, x: Tensor, adaptive: bool, places: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the largest of each window, and where it is if asked for or needed."""
    recorded = grad_mode.enabled and x.requires_grad
    places = places or recorded
    key = ("max", x._spec, adaptive, places)
    run = about.planned(key, lambda: _largest(about, x._spec, adaptive, places))
    y, where = run(x)
    if recorded:

        def back(g: Tensor, where: Tensor) -> tuple[Tensor]:
            return (put(about, g, where, adaptive),)

        y._node = FunctionNode("MaxPoolBackward0", (edge(x),), back, (where,))
        y._requires_grad = True
    return y, where


def _largest(about: Problem, x: Spec, adaptive: bool, places: bool) -> Any:
    made = contiguous_spec(x.dtype, about.shapes["y"], x.device)
    indices = contiguous_spec(dtypes.int64, about.shapes["y"], x.device)
    call = None
    if made.numel:
        window = _whole_windows(about, adaptive)
        call = launch.by_tasks(
            texts.maximum(x.dtype.name, places, adaptive, window),
            _rows(made, about),
            (*about.numbers, about.x[1], *about.strides(x)),
            x.device,
            cost=_cost(about, adaptive) * about.y[4],
        )

    def run(x: Tensor) -> tuple[Tensor, Tensor | None]:
        y, where = empty(made), empty(indices) if places else None
        if call is not None:
            pointers = [y._pointer, x._pointer]
            if where is not None:
                pointers.insert(1, where._pointer)
            call.run(call.kernel, call.n, *pointers, call.table)
        return y, where

    return run


def take(about: Problem, x: Tensor, where: Tensor, adaptive: bool) -> Tensor:
    """Return the elements of x at places, which are contiguous."""
    made = contiguous_spec(x.dtype, about.shapes["y"], x._spec.device)
    y = empty(made)
    if made.numel:
        call = about.planned(
            ("take", made),
            lambda: launch.by_tasks(
                texts.take(x.dtype.name),
                made.numel,
                (about.length, math.prod(about.x[2:])),
                made.device,
            ),
        )
        flat = whole(x)
        pointers = (y._pointer, flat._pointer, where._pointer)
        call.run(call.kernel, call.n, *pointers, call.table)
    if grad_mode.enabled and x.requires_grad:

        def back(g: Tensor, where: Tensor) -> tuple[Tensor]:
            return (put(about, g, where, adaptive),)

        y._node = FunctionNode("PoolTakeBackward0", (edge(x),), back, (where,))
        y._requires_grad = True
    return y


def put(about: Problem, y: Tensor, where: Tensor, adaptive: bool) -> Tensor:
    """Return images with each y added where its place is, zero elsewhere."""
    found = y._spec
    made = contiguous_spec(y.dtype, about.shapes["x"], found.device)
    x = empty(made)
    if made.numel:
        call = about.planned(
            ("put", found, adaptive),
            lambda: launch.by_tasks(
                texts.put(y.dtype.name, adaptive),
                made.numel if made.device.type != "cpu" else about.x[0] * about.x[1],
                (*about.numbers, about.x[1], *about.strides(found)),
                made.device,
                cost=math.prod(about.x[2:]) + 4 * about.length,
            ),
        )
        pointers = (x._pointer, y._pointer, where._pointer)
        call.run(call.kernel, call.n, *pointers, call.table)
    if grad_mode.enabled and y.requires_grad:

        def back(g: Tensor, where: Tensor) -> tuple[Tensor]:
            return (take(about, g, where, adaptive),)

        x._node = FunctionNode("PoolPutBackward0", (edge(y),), back, (where,))
        x._requires_grad = True
    return x


#: how the sum of a window is divided: how its elements are counted, a given number,
#: and whether windows are adaptive
Way = tuple[str, int, bool]


def average(about: Problem, x: Tensor, way: Way) -> Tensor:
    """Return the mean of each window."""
    key = ("mean", x._spec, way)
    y: Tensor = about.planned(key, lambda: _average(about, x._spec, way))(x)
    if grad_mode.enabled and x.requires_grad:

        def back(g: Tensor) -> tuple[Tensor]:
            return (spread(about, g, way),)

        y._node = FunctionNode("AvgPoolBackward0", (edge(x),), back)
        y._requires_grad = True
    return y


def _average(about: Problem, x: Spec, way: Way) -> Callable[[Tensor], Tensor]:
    count, divisor, adaptive = way
    made = contiguous_spec(x.dtype, about.shapes["y"], x.device)
    if not made.numel:
        return lambda x: empty(made)
    call = launch.by_tasks(
        texts.average(x.dtype.name, count, adaptive, _whole_windows(about, adaptive)),
        _rows(made, about),
        (*about.numbers, about.x[1], divisor, *about.strides(x)),
        x.device,
        cost=_cost(about, adaptive) * about.y[4],
    )

    def run(x: Tensor) -> Tensor:
        y = empty(made)
        call.run(call.kernel, call.n, y._pointer, x._pointer, call.table)
        return y

    return run


def spread(about: Problem, y: Tensor, way: Way) -> Tensor:
    """Return what the means send back to the elements of their windows."""
    found = y._spec
    made = contiguous_spec(y.dtype, about.shapes["x"], found.device)
    x = empty(made)
    if made.numel and not found.numel:
        x.zero_()
    elif made.numel:
        count, divisor, adaptive = way
        call = about.planned(
            ("spread", found, way),
            lambda: launch.by_tasks(
                texts.spread(y.dtype.name, count, adaptive),
                made.numel if made.device.type != "cpu" else about.x[0] * about.x[1],
                (*about.numbers, about.x[1], divisor, *about.strides(found)),
                made.device,
                cost=math.prod(about.x[2:]) + _cost(about, adaptive) * about.length,
            ),
        )
        call.run(call.kernel, call.n, x._pointer, y._pointer, call.table)
    if grad_mode.enabled and y.requires_grad:

        def back(g: Tensor) -> tuple[Tensor]:
            return (average(about, g, way),)

        x._node = FunctionNode("AvgPoolSpreadBackward0", (edge(y),), back)
        x._requires_grad = True
    return x
