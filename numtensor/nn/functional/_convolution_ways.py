"""Which kernels compute a convolution and its two gradients, found once per layout.

On CUDA devices, and for integers, one element after another. On the CPU:

- windows of one element that move by one: a product by BLAS, nothing laid out;
- long rows, or a group for each channel: the direct kernel (`_convolution_direct`); the
  way back to the images, too, if the windows move by one;
- else columns of windows are laid out and multiplied by BLAS, as many images at a time
  as fit in a cache; for the gradient of the images, products are summed from columns.

The bounds were measured with float32 on two cores with AVX-512: at 8 elements a row
columns take half the time of the direct kernel, at 16 they are even, at 64 columns take
2.5 times as long. Knows layouts and memory, not the tape.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import launch
from ...devices import CPU
from ...kernels.by_hand import conv as texts
from ...memory import empty, result_of
from ...spec import Spec, contiguous_spec, spec
from ...tensor import Tensor
from . import _convolution_direct as direct
from ._convolution_problem import Problem, Run, simple, whole

#: bytes of columns that are laid out before they are multiplied
CHUNK_BYTES = 1 << 20
#: from this many positions on one product per image; below it images are joined
PER_IMAGE_FROM = 256
#: tasks that keep a GPU busy
GPU_TASKS = 1 << 16


def choose(kind: str, about: Problem, a: Spec, b: Spec, bias: bool) -> Run:
    """Return what computes "forward" (x, w, b), "input" (y, w) or "weight" (x, y)."""
    result = {"forward": "y", "input": "x", "weight": "w"}[kind]
    made = contiguous_spec(a.dtype, about.shapes[result], a.device)
    if not made.numel:
        return lambda *operands: empty(made)
    plain = a.device is not CPU or not a.dtype.is_floating_point
    if plain or not a.numel or not b.numel:
        if kind == "forward":
            return _forward_by_points(about, made, a, bias)
        if kind == "input":
            return _input_by_points(about, made, a)
        return _weight_by_points(about, made, a, b)
    if kind == "forward":
        return _forward(about, made, a, bias)
    return (_input if kind == "input" else _weight)(about, made, a)


def _cost(about: Problem) -> int:
    """Return the additions that a row of the result costs."""
    return max(1, about.y[4] * about.w[1] * about.taps)


# One element after another


def _forward_by_points(about: Problem, made: Spec, x: Spec, bias: bool) -> Run:
    rows = made.numel if made.device is not CPU else made.numel // about.y[4]
    call = launch.by_tasks(
        texts.forward(made.dtype.name, bias),
        rows,
        (*about.numbers, *about.channels, *about.strides(x)),
        made.device,
        cost=_cost(about),
    )

    def run(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        y, w = empty(made), whole(w)
        pointers = [y._pointer, x._pointer, w._pointer]
        if b is not None:
            b = whole(b)
            pointers.append(b._pointer)
        call.run(call.kernel, call.n, *pointers, call.table)
        return y

    return run


def _input_by_points(about: Problem, made: Spec, y: Spec) -> Run:
    rows = made.numel if made.device is not CPU else made.numel // about.x[4]
    call = launch.by_tasks(
        texts.input_grad(made.dtype.name),
        rows,
        (*about.numbers, *about.channels, *about.strides(y)),
        made.device,
        cost=_cost(about),
    )

    def run(y: Tensor, w: Tensor) -> Tensor:
        x, w = empty(made), whole(w)
        call.run(call.kernel, call.n, x._pointer, y._pointer, w._pointer, call.table)
        return x

    return run


def _weight_by_points(about: Problem, made: Spec, x: Spec, y: Spec) -> Run:
    images = about.x[0]
    chunks = 1
    if made.device is not CPU:
        chunks = max(1, min(images, GPU_TASKS // made.numel))
    each = max(1, -(-images // chunks))
    chunks = max(1, -(-images // each))
    strides = (*about.strides(x), *about.strides(y))
    call = launch.by_tasks(
        texts.weight_grad(made.dtype.name),
        made.numel * chunks,
        (images, each, *about.numbers, *about.channels, *strides),
        made.device,
        cost=max(1, images * about.length),
    )
    parts = contiguous_spec(made.dtype, (chunks, *made.shape), made.device)

    def run(x: Tensor, y: Tensor) -> Tensor:
        w = empty(made if chunks == 1 else parts)
        call.run(call.kernel, call.n, w._pointer, x._pointer, y._pointer, call.table)
        return w if chunks == 1 else w.sum(0, dtype=made.dtype)

    return run


# The CPU: products by BLAS


def _adding_bias(about: Problem, made: Spec) -> Callable[[Tensor, Tensor], None]:
    call = launch.by_tasks(
        texts.add_bias(made.dtype.name),
        about.y[0] * about.y[1],
        (about.y[1], about.length),
        cost=about.length,
    )

    def add(y: Tensor, b: Tensor) -> None:
        b = whole(b)
        call.run(call.kernel, call.n, y._pointer, b._pointer, call.table)

    return add


class _Columns:
    """Columns of some images at a time.

    `joined`: the images stand side by side in one matrix, else each has its own.
    """

    def __init__(self, about: Problem, made: Spec, joined: bool = False) -> None:
        n, length = about.y[0], about.length
        self.rows = about.x[1] * about.taps
        each = self.rows * length * made.itemsize
        self.images = max(1, min(n, CHUNK_BYTES // each))
        shape = (self.images, self.rows, length)
        self.to = (self.rows * length, length)
        if joined:
            shape = (self.rows, self.images, length)
            self.to = (length, self.images * length)
        self.made = contiguous_spec(made.dtype, shape)
        self.steps = [(k, min(self.images, n - k)) for k in range(0, n, self.images)]

    def laid_out(self, about: Problem, x: Spec) -> Callable[..., None]:
        """Return fill(columns, x, first, images)."""
        strides = about.strides(x)
        unit = about.stride[2] == 1 and (strides[4] == 1 or about.x[4] == 1)
        call = launch.by_tasks(
            texts.columns(x.dtype.name, unit),
            about.x[1] * self.images,
            (*about.numbers, about.x[1], *self.to, *strides),
            cost=about.length * about.taps,
        )
        step = strides[0] * x.itemsize

        def fill(columns: Tensor, x: Tensor, first: int, images: int) -> None:
            at = x._pointer + first * step
            call.run(call.kernel, about.x[1] * images, columns._pointer, at, call.table)

        return fill

    def summed(self, about: Problem, x: Spec) -> Callable[..., None]:
        """Return sum_up(x, columns, first, images)."""
        unit = about.stride[2] == 1
        image = math.prod(about.x[1:])
        rows = image // about.x[4]
        call = launch.by_tasks(
            texts.add_columns(x.dtype.name, unit),
            rows * self.images,
            (*about.numbers, about.x[1], *self.to, 1),
            cost=about.x[4] * about.taps,
        )

        def sum_up(x: Tensor, columns: Tensor, first: int, images: int) -> None:
            at = x._pointer + first * image * x._spec.itemsize
            call.run(call.kernel, rows * images, at, columns._pointer, call.table)

        return sum_up


def _matrices(about: Problem) -> tuple[tuple[int, ...], ...]:
    """Return w as a stack of matrices, and x and y as images of stacks of matrices."""
    g, length = about.groups, about.length
    depth = about.w[1] * about.taps
    own = about.y[1] // g
    return (g, own, depth), (about.y[0], g, depth, length), (about.y[0], g, own, length)


def _forward(about: Problem, made: Spec, x: Spec, bias: bool) -> Run:
    if direct.suits(about):
        return direct.forward(about, made, x, bias)
    w_shape, x_shape, y_shape = _matrices(about)
    add = _adding_bias(about, made) if bias else None
    if simple(about):

        def multiply(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
            y = empty(made)
            np.matmul(
                whole(w)._array().reshape(w_shape),
                whole(x)._array().reshape(x_shape),
                out=y._array().reshape(y_shape),
            )
            if add is not None and b is not None:
                add(y, b)
            return y

        return multiply
    columns = _Columns(about, made)
    fill = columns.laid_out(about, x)
    one = (columns.images, *x_shape[1:])

    def run(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        y, scratch = empty(made), empty(columns.made)
        into = y._array().reshape(y_shape)
        laid = scratch._array().reshape(one)
        weights = whole(w)._array().reshape(w_shape)
        for first, images in columns.steps:
            fill(scratch, x, first, images)
            np.matmul(weights, laid[:images], out=into[first : first + images])
        if add is not None and b is not None:
            add(y, b)
        return y

    return run


def _input(about: Problem, made: Spec, y: Spec) -> Run:
    if set(about.stride) == {1} and not simple(about):
        turned = direct.turned(about)
        if direct.suits(turned):
            return direct.back(about, turned, made, y)
    w_shape, x_shape, y_shape = _matrices(about)
    if simple(about):

        def multiply(y: Tensor, w: Tensor) -> Tensor:
            x = empty(made)
            np.matmul(
                whole(w)._array().reshape(w_shape).swapaxes(1, 2),
                whole(y)._array().reshape(y_shape),
                out=x._array().reshape(x_shape),
            )
            return x

        return multiply
    columns = _Columns(about, made)
    sum_up = columns.summed(about, made)
    one = (columns.images, *x_shape[1:])

    def run(y: Tensor, w: Tensor) -> Tensor:
        x, scratch = empty(made), empty(columns.made)
        y = whole(y)
        images_of_y = y._array().reshape(y_shape)
        product = scratch._array().reshape(one)
        weights = whole(w)._array().reshape(w_shape).swapaxes(1, 2)
        for first, images in columns.steps:
            np.matmul(
                weights, images_of_y[first : first + images], out=product[:images]
            )
            sum_up(x, scratch, first, images)
        return x

    return run


def _weight(about: Problem, made: Spec, x: Spec) -> Run:
    w_shape, x_shape, y_shape = _matrices(about)
    n, g, own, length = y_shape
    joined = length < PER_IMAGE_FROM
    as_is = simple(about) and not joined
    columns = _Columns(about, made, joined)
    fill = None if as_is else columns.laid_out(about, x)
    most, steps = columns.images, columns.steps
    if as_is:
        most = max(1, min(n, CHUNK_BYTES // made.nbytes))
        steps = [(k, min(most, n - k)) for k in range(0, n, most)]
    flat = (1, *w_shape) if joined else (most, *w_shape)
    partial = contiguous_spec(made.dtype, flat)

    def product(x: Tensor, y: Tensor, scratch: Any, first: int, images: int) -> Tensor:
        """Return the sum over some images, of the shape of w."""
        if fill is not None:
            fill(scratch, x, first, images)
        whole = joined or images == 1
        parts = empty(made if whole else partial)
        if joined:
            laid = scratch._array().reshape(g, x_shape[2], -1)[..., : images * length]
            into = parts._array().reshape(w_shape)
            given = _side_by_side(about, y, first, images)
            np.matmul(given, laid.swapaxes(1, 2), out=into)
            return parts
        into = parts._array().reshape(-1, *w_shape)[:images]
        laid = (x if as_is else scratch)._array().reshape(-1, *x_shape[1:])
        laid = laid[first if as_is else 0 :][:images]
        given = y._array().reshape(y_shape)[first : first + images]
        np.matmul(given, laid.swapaxes(2, 3), out=into)
        if whole:
            return parts
        several = contiguous_spec(made.dtype, (images, *made.shape))
        return result_of(parts._storage, parts._pointer, several).sum(0)

    def run(x: Tensor, y: Tensor) -> Tensor:
        scratch = None if as_is else empty(columns.made)
        if as_is:
            x = whole(x)
        if not joined:
            y = whole(y)
        total: Tensor | None = None
        for first, images in steps:
            part = product(x, y, scratch, first, images)
            total = part if total is None else total.add_(part)
        assert total is not None  # x is not empty
        return total

    return run


def _side_by_side(about: Problem, y: Tensor, first: int, images: int) -> np.ndarray:
    """Return some images as matrices (groups, channels of one, image and place)."""
    strides = about.strides(y._spec)
    shape = (about.y[1], images, *about.y[2:])
    place = spec(y.dtype, shape, (strides[1], strides[0], *strides[2:]))
    start = y._pointer + first * strides[0] * place.itemsize
    own = about.y[1] // about.groups
    return (
        result_of(y._storage, start, place)
        .contiguous()
        ._array()
        .reshape(about.groups, own, -1)
    )
