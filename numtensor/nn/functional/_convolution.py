"""Convolution and its two gradients, on the tape: each goes back by the other two.

y = convolve(x, w), x = input_grad(y, w) and w = weight_grad(x, y) are linear in both
operands, and the derivative of each in either operand is one of the other two; so the
way back needs nothing else, to any order. Which kernels compute them is in
`_convolution_ways`; what users call, and all checks, in `conv`.
"""

from __future__ import annotations

from typing import Any

from ...spec import Spec
from ...tape import FunctionNode, edge, grad_mode
from ...tensor import Tensor
from . import _convolution_ways as ways
from ._convolution_problem import MOST, Problem, Run

_problems: dict[Any, Problem] = {}


def problem(
    nd: int,
    x: tuple[int, ...],
    w: tuple[int, ...],
    y: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Problem:
    """Return the description of a convolution of `nd` spatial dims, always the same.

    `x`, `w` and `y` are shapes, with or without a dim for the batch; `padding` is that
    on the left, since the right one follows from the sizes.
    """
    key = (nd, x, w, y, stride, padding, dilation, groups)
    found = _problems.get(key)
    if found is None:
        if len(_problems) > MOST:
            _problems.clear()
        found = _problems[key] = Problem(*key)
    return found


def plan(kind: str, about: Problem, a: Spec, b: Spec, bias: bool = False) -> Run:
    """Return what computes one of the three products for operands of these layouts."""
    run: Run = about.planned(
        (kind, a, b, bias), lambda: ways.choose(kind, about, a, b, bias)
    )
    return run


def convolve(
    about: Problem, run: Run, x: Tensor, w: Tensor, b: Tensor | None = None
) -> Tensor:
    """Return y; `run` is the plan for it."""
    y = run(x, w, b)
    if grad_mode.enabled:
        need_x, need_w = x.requires_grad, w.requires_grad
        need_b = b is not None and b.requires_grad
        if need_x or need_w or need_b:

            def back(g: Tensor, *saved: Tensor) -> tuple[Tensor | None, ...]:
                return (
                    input_grad(about, g, saved[-1]) if need_x else None,
                    weight_grad(about, saved[0], g) if need_w else None,
                    g.sum(about.but_channels) if need_b else None,
                )

            saved = tuple([t for t, n in ((x, need_w), (w, need_x)) if n])
            edges = (edge(x), edge(w), None if b is None else edge(b))
            y._node = FunctionNode("ConvolutionBackward0", edges, back, saved)
            y._requires_grad = True
    return y


def input_grad(about: Problem, y: Tensor, w: Tensor) -> Tensor:
    """Return what y sends back to x: the transposed convolution."""
    x = plan("input", about, y._spec, w._spec)(y, w)
    if grad_mode.enabled and (y.requires_grad or w.requires_grad):
        need_y, need_w = y.requires_grad, w.requires_grad

        def back(g: Tensor, *saved: Tensor) -> tuple[Tensor | None, ...]:
            gy = gw = None
            if need_y:
                other = saved[-1]
                run = plan("forward", about, g._spec, other._spec)
                gy = convolve(about, run, g, other)
            if need_w:
                gw = weight_grad(about, g, saved[0])
            return gy, gw

        saved = tuple([t for t, n in ((y, need_w), (w, need_y)) if n])
        edges = (edge(y), edge(w))
        x._node = FunctionNode("ConvolutionInputBackward0", edges, back, saved)
        x._requires_grad = True
    return x


def weight_grad(about: Problem, x: Tensor, y: Tensor) -> Tensor:
    """Return what y sends back to w."""
    w = plan("weight", about, x._spec, y._spec)(x, y)
    if grad_mode.enabled and (x.requires_grad or y.requires_grad):
        need_x, need_y = x.requires_grad, y.requires_grad

        def back(g: Tensor, *saved: Tensor) -> tuple[Tensor | None, ...]:
            gx = gy = None
            if need_x:
                gx = input_grad(about, saved[-1], g)
            if need_y:
                run = plan("forward", about, saved[0]._spec, g._spec)
                gy = convolve(about, run, saved[0], g)
            return gx, gy

        saved = tuple([t for t, n in ((x, need_y), (y, need_x)) if n])
        edges = (edge(x), edge(y))
        w._node = FunctionNode("ConvolutionWeightBackward0", edges, back, saved)
        w._requires_grad = True
    return w
