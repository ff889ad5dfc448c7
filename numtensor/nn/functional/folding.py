"""Sliding windows as columns of a matrix, and columns summed to an image.

Each is the other's way back. `unfold` is what convolution by matrix products begins
with, and shares its kernels.
"""

from __future__ import annotations

import math
from typing import Any

from ... import launch
from ...errors import ShapeError, message
from ...kernels.by_hand import conv as texts
from ...layout import contiguous_strides
from ...memory import empty
from ...ops.declare import composed
from ...spec import Spec, contiguous_spec
from ...tape import FunctionNode, edge, grad_mode
from ...tensor import Tensor
from ._convolution import problem
from ._convolution_problem import Problem, movement
from ._sizes import ints, is_tensor, not_implemented


def _columns(about: Problem, x: Tensor) -> Tensor:
    """Return (N, C * taps, L), or without N, from images."""
    key = ("columns", x._spec)
    made, call = about.planned(key, lambda: _planned(about, x._spec, True))
    y = empty(made)
    if call is not None:
        call.run(call.kernel, call.n, y._pointer, x._pointer, call.table)
    if grad_mode.enabled and x.requires_grad:

        def back(g: Tensor) -> tuple[Tensor]:
            return (_image(about, g),)

        y._node = FunctionNode("Im2ColBackward0", (edge(x),), back)
        y._requires_grad = True
    return y


def _image(about: Problem, columns: Tensor) -> Tensor:
    """Return images: each element the sum of its places in the columns."""
    key = ("image", columns._spec)
    made, call = about.planned(key, lambda: _planned(about, columns._spec, False))
    x = empty(made)
    if call is not None:
        call.run(call.kernel, call.n, x._pointer, columns._pointer, call.table)
    if grad_mode.enabled and columns.requires_grad:

        def back(g: Tensor) -> tuple[Tensor]:
            return (_columns(about, g),)

        x._node = FunctionNode("Col2ImBackward0", (edge(columns),), back)
        x._requires_grad = True
    return x


def _planned(about: Problem, given: Spec, out: bool) -> tuple[Spec, Any]:
    front = about.shapes["x"][: -about.nd - 1]
    rows, places = about.x[1] * about.taps, about.length
    kind, on = given.dtype, given.device
    if out:
        made = contiguous_spec(kind, (*front, rows, places), on)
        if not made.numel:
            return made, None
        strides = about.strides(given)
        call = launch.by_tasks(
            texts.columns(kind.name, movement(about, strides)),
            made.numel if on.type != "cpu" else about.x[0] * about.x[1],
            (*about.numbers, about.x[1], rows * places, places, *strides),
            on,
            cost=places * about.taps,
        )
        return made, call
    made = contiguous_spec(kind, about.shapes["x"], on)
    if not made.numel:
        return made, None
    strides = given.strides if front else (0, *given.strides)
    windows = movement(about, contiguous_strides(about.x), plane=False)
    call = launch.by_tasks(
        texts.add_columns(kind.name, windows),
        made.numel if on.type != "cpu" else made.numel // about.x[4],
        (*about.numbers, about.x[1], *strides),
        on,
        cost=about.x[4] * about.taps,
    )
    return made, call


def _parameters(
    op: str, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> tuple[tuple[int, ...], ...]:
    """Return kernel, dilation, padding and stride as pairs, checked."""
    found = []
    for what, value, least in (
        ("kernel_size", kernel_size, 1),
        ("dilation", dilation, 1),
        ("padding", padding, 0),
        ("stride", stride, 1),
    ):
        sizes = ints(op, what, value, 2)
        if min(sizes) < least:
            name = what.replace("_", " ")
            rule = "greater than zero" if least else "non-negative"
            raise ShapeError(
                message(
                    op,
                    f"{what}={sizes}",
                    f"{least} or more",
                    f"{name} should be {rule}, but got {sizes}.",
                )
            )
        found.append(sizes)
    return tuple(found)


def _blocks(
    size: tuple[int, ...], parameters: tuple[tuple[int, ...], ...]
) -> tuple[int, ...]:
    """Return how many windows there are along each dim; less than 1 if none fits."""
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, d, p, s in zip(size, *parameters, strict=True)
    )


def _fitting(
    op: str,
    size: tuple[int, ...],
    parameters: tuple[tuple[int, ...], ...],
) -> tuple[int, ...]:
    blocks = _blocks(size, parameters)
    if min(blocks) < 1:
        kernel, dilation, padding, _ = parameters
        raise ShapeError(
            message(
                op,
                f"images of {size} and windows of {kernel}",
                "windows that fit",
                f"Given input with spatial size {size}, kernel_size={kernel}, "
                f"dilation={dilation}, padding={padding}, calculated shape of the "
                f"array of sliding blocks as {blocks}, but its components must be at "
                "least one.",
            )
        )
    return blocks


def _described(
    shape: tuple[int, ...],
    blocks: tuple[int, ...],
    parameters: tuple[tuple[int, ...], ...],
) -> Problem:
    kernel, dilation, padding, stride = parameters
    result = (*shape[:-2], *blocks)
    return problem(2, shape, (1, 1, *kernel), result, stride, padding, dilation, 1)


@composed(
    "unfold",
    room="nn.functional",
    names="drop",
    dtypes="float",
    samples=lambda make: [
        ((make(1, 2, 3, 2), 2), {}),
        ((make(2, 3, 3), (2, 1)), {"padding": 1, "stride": 2, "dilation": (1, 2)}),
    ],
)
def unfold(
    input: Tensor,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Return the sliding windows of images as columns.

    Shapes: (N, C, H, W) -> (N, C * KH * KW, L), L being the windows, row by row; or the
    same without N. Dtypes: floats. Raises: ShapeError, DTypeError.

    >>> import numtensor as nt
    >>> nt.nn.functional.unfold(nt.arange(6.0).reshape(1, 2, 3), 2)
    tensor([[0., 1.],
            [1., 2.],
            [3., 4.],
            [4., 5.]])
    """
    shape = tuple(is_tensor("unfold", "input", input).shape)
    parameters = _parameters("unfold", kernel_size, dilation, padding, stride)
    if len(shape) not in (3, 4) or 0 in shape[-3:]:
        raise ShapeError(
            message(
                "unfold",
                f"an input of size {list(shape)}",
                "3 or 4 dims, not empty but for the batch",
                "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and "
                f"other non-zero dimensions for input, but got: {list(shape)}.",
            )
        )
    if not input.is_floating_point():
        raise not_implemented("unfold", input, "im2col")
    blocks = _fitting("unfold", shape[-2:], parameters)
    return _columns(_described(shape, blocks, parameters), input)


@composed(
    "fold",
    room="nn.functional",
    names="drop",
    dtypes="float",
    samples=lambda make: [
        ((make(1, 8, 2), (3, 2), 2), {}),
        ((make(4, 4), (3, 3), (2, 2)), {"padding": 1, "stride": 2}),
    ],
)
def fold(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Return images, each element the sum of its places in the columns of windows.

    Shapes: (N, C * KH * KW, L) -> (N, C, *output_size), or the same without N.
    Dtypes: floats. Raises: ShapeError, DTypeError.

    >>> import numtensor as nt
    >>> nt.nn.functional.fold(nt.ones(4, 2), (2, 3), 2)
    tensor([[[1., 2., 1.],
             [1., 2., 1.]]])
    """
    shape = tuple(is_tensor("fold", "input", input).shape)
    size = ints("fold", "output_size", output_size, 2)
    parameters = _parameters("fold", kernel_size, dilation, padding, stride)
    kernel, gaps, pads, steps = parameters
    if len(shape) not in (2, 3) or 0 in shape[-2:]:
        raise ShapeError(
            message(
                "fold",
                f"an input of size {list(shape)}",
                "2 or 3 dims, not empty but for the batch",
                "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch "
                f"size and non-zero dimensions for input, but got: {list(shape)}.",
            )
        )
    taps = math.prod(kernel)
    if shape[-2] % taps:
        raise ShapeError(
            message(
                "fold",
                f"{shape[-2]} rows and kernel_size={kernel}",
                f"a multiple of {taps} rows",
                "Expected size of input's dimension 1 to be divisible by the product "
                f"of kernel_size, but got input.size(1)={shape[-2]} and "
                f"kernel_size={kernel}.",
            )
        )
    blocks = _fitting("fold", size, parameters)
    if math.prod(blocks) != shape[-1]:
        raise ShapeError(
            message(
                "fold",
                f"{shape[-1]} columns",
                f"{math.prod(blocks)}",
                f"Given output_size={size}, kernel_size={kernel}, dilation={gaps}, "
                f"padding={pads}, stride={steps}, expected size of input's dimension "
                f"2 to match the calculated number of sliding blocks {blocks[0]} * "
                f"{blocks[1]} = {math.prod(blocks)}, but got "
                f"input.size(2)={shape[-1]}.",
            )
        )
    if not input.is_floating_point():
        raise not_implemented("fold", input, "col2im")
    image = (*shape[:-2], shape[-2] // taps, *size)
    return _image(_described(image, blocks, parameters), input)
