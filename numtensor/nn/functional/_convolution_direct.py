"""Convolution on the CPU by the direct kernel, and its way back to the images.

The images are copied with their padding, so that the kernel has no edges to think of;
its sums stay in registers while the taps of a channel are gone through.
"""

from __future__ import annotations

import math

from ... import launch
from ...kernels.by_hand import conv as texts
from ...memory import empty
from ...spec import Spec, contiguous_spec
from ...tensor import Tensor
from ._convolution_problem import Problem, Run, movement, simple, whole

#: from this many elements of a row of the result on this is faster than columns
DIRECT_FROM = 32
#: with more channels of a group than this, from twice as many elements on
FEW = 32
#: a kernel of more elements is not printed element by element
MOST_TAPS = 32
#: bytes of padded images that are made before they are used
CHUNK_BYTES = 1 << 22


def suits(about: Problem) -> bool:
    if about.taps > MOST_TAPS or simple(about):
        return False
    if about.w[1] == 1 and about.groups > 1:
        return True
    few = about.y[1] // about.groups <= FEW
    return about.y[4] >= (DIRECT_FROM if few else 2 * DIRECT_FROM)


def _block(about: Problem) -> int:
    """Return how many channels of a group are computed at a time."""
    own = about.y[1] // about.groups
    return next(k for k in (4, 3, 2, 1) if own % k == 0)


def turned(about: Problem) -> Problem:
    """Return the convolution of y that gives x, where windows move by one."""
    nd = about.nd
    padding = [
        d * (k - 1) - p
        for k, p, d in zip(about.w[2:], about.padding, about.dilation, strict=True)
    ]
    g = about.groups
    w = (about.x[1], about.y[1] // g, *about.w[5 - nd :])
    return Problem(
        nd, about.shapes["y"], w, about.shapes["x"],
        about.stride[3 - nd :], tuple(padding[3 - nd :]), about.dilation[3 - nd :], g,
    )  # fmt: skip


def forward(about: Problem, made: Spec, x: Spec, bias: bool) -> Run:
    dtype, size = made.dtype.name, made.itemsize
    n, channels = about.x[:2]
    taps = [
        (a, e, f)
        for a in range(about.w[2])
        for e in range(about.w[3])
        for f in range(about.w[4])
    ]
    sw, dw = about.stride[2], about.dilation[2]
    # rows and columns that windows see
    seen = [
        (out - 1) * s + (k - 1) * d + 1
        for out, s, k, d in zip(
            about.y[2:], about.stride, about.w[2:], about.dilation, strict=True
        )
    ]
    wide = about.y[4] + (about.w[4] - 1) * dw // sw
    strides = about.strides(x)
    fits = not any(about.padding) and tuple(seen) == about.x[2:]
    in_place = fits and movement(about, strides) != texts.ANY
    if in_place:
        x_n, x_c, x_d, x_h = strides[:4]
    else:
        x_h = sw * wide
        x_d = seen[1] * x_h
        x_c = seen[0] * x_d
        x_n = channels * x_c
    sd, sh = about.stride[:2]
    dd, dh = about.dilation[:2]
    block = _block(about)
    parts = -(-about.y[4] // texts.ROW)
    blocks = about.y[1] // block
    places = [
        a * dd * x_d + e * dh * x_h + (f * dw % sw) * wide + f * dw // sw
        for a, e, f in taps
    ]
    images = n if in_place else max(1, min(n, CHUNK_BYTES // (x_n * size)))
    tasks = math.prod(about.y[2:4]) * blocks * parts
    call = launch.by_tasks(
        texts.direct(dtype, about.w[2:], block, bias),
        images * tasks,
        (
            *about.y[2:], about.y[1], about.y[1] // about.groups, about.w[1], blocks,
            parts, x_n, x_c, sd * x_d, sh * x_h, *places,
        ),
        made.device,
        cost=max(1, min(about.y[4], texts.ROW) * about.w[1] * len(taps) * block // 8),
    )  # fmt: skip
    image = math.prod(about.y[1:]) * size
    steps = [(k, min(images, n - k)) for k in range(0, n, images)]
    offsets = [j * about.length * size for j in range(block)]
    run_direct, kernel, table = call.run, call.kernel, call.table
    if not in_place:
        lines = channels * seen[0] * seen[1]
        copy = launch.by_tasks(
            texts.padded(dtype, movement(about, strides) != texts.ANY),
            images * lines,
            (
                *about.x[2:], channels, *seen[:2], wide, *about.padding, sw, *strides,
            ),
            made.device,
            cost=x_h,
        )  # fmt: skip
        padded = contiguous_spec(made.dtype, (images * x_n,), made.device)
        step = strides[0] * size

    def run(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        y = empty(made)
        w = whole(w)
        rest: tuple[int, ...] = (w._pointer,)
        if b is not None:
            b = whole(b)
            rest = (w._pointer, b._pointer)
        if in_place:
            first = y._pointer
            into = [first + k for k in offsets]
            run_direct(kernel, call.n, *into, x._pointer, *rest, table)
            return y
        scratch = empty(padded)
        at = scratch._pointer
        for first, count in steps:
            copy.run(
                copy.kernel, count * lines, at, x._pointer + first * step, copy.table
            )
            start = y._pointer + first * image
            into = [start + k for k in offsets]
            run_direct(kernel, count * tasks, *into, at, *rest, table)
        return y

    return run


def back(about: Problem, other: Problem, made: Spec, y: Spec) -> Run:
    run_forward = forward(other, made, y, False)
    weights = contiguous_spec(made.dtype, other.shapes["w"], made.device)
    own = about.y[1] // about.groups
    turn = launch.by_tasks(
        texts.flipped(made.dtype.name),
        weights.numel,
        (about.w[1], own, about.taps),
        made.device,
    )

    def run(y: Tensor, w: Tensor) -> Tensor:
        w, flipped = whole(w), empty(weights)
        turn.run(turn.kernel, turn.n, flipped._pointer, w._pointer, turn.table)
        return run_forward(y, flipped)

    return run
