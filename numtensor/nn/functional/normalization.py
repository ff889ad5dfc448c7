"""Normalising rows, channels and groups: to mean 0 and variance 1, or length 1.

Forward and back are one kernel each (`by_hand.normalization`), with weights and the
running statistics included. Here are the public functions and their checks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ...dtypes import FLOAT, finfo
from ...errors import DTypeError, ShapeError, message
from ...layout import numel
from ...modes import no_grad
from ...ops.arithmetic import div
from ...ops.declare import composed
from ...ops.reductions import var_mean
from ...ops.registry import function
from ...ops.selection import clamp_min
from ...tensor import Tensor
from ._normalized_channels import affine, move, normalize_batch, per_channel, scaled
from ._normalized_rows import normalize_rows
from ._sizes import alike


def _floating(op: str, x: Tensor, *others: Tensor | None) -> None:
    """Refuse integers, and weights of another dtype or device."""
    given = x._spec
    if given.dtype.category != FLOAT:
        fault = f'"{op}" not implemented for {given.dtype}. Cast with x.float().'
        raise DTypeError(message(op, f"{given.dtype}", "a floating-point dtype", fault))
    for other in others:
        if other is None:
            continue
        own = other._spec
        if own.dtype is not given.dtype or own.device is not given.device:
            alike(op, x, other)  # raises


_declared = partial(composed, room="nn.functional", dtypes="float", names="keep")


def _row_length(op: str, x: Tensor, shape: Any, *others: Any) -> int:
    """Return how many elements `normalized_shape` holds. Raises: ShapeError."""
    wanted = (shape,) if isinstance(shape, int) else tuple(shape)
    if not wanted:
        fault = (
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing "
            "at least one element, but got normalized_shape = []."
        )
        raise ShapeError(message(op, "normalized_shape=[]", "at least one dim", fault))
    if tuple(x.shape[-len(wanted) :]) != wanted or x.ndim < len(wanted):
        sizes = ", ".join(map(str, wanted))
        fault = (
            f"Given normalized_shape=[{sizes}], expected input with shape [*, {sizes}],"
            f" but got input of size{list(x.shape)}."
        )
        raise ShapeError(
            message(op, f"an input of shape {list(x.shape)}", f"[*, {sizes}]", fault)
        )
    for what, other in others:
        if other is not None and tuple(other.shape) != wanted:
            fault = (
                f"Expected {what} to be of same shape as normalized_shape, but got "
                f"{what} of shape {list(other.shape)} and normalized_shape = "
                f"{list(wanted)}."
            )
            got = f"a {what} of shape {list(other.shape)}"
            raise ShapeError(message(op, got, f"{list(wanted)}", fault))
    return numel(wanted)


@_declared(
    "layer_norm",
    samples=lambda make: [
        ((make(3, 4), (4,), make(4), make(4)), {}),
        ((make(2, 2, 3), (2, 3)), {}),
        ((make(3, 4), (4,), make(4)), {"eps": 0.1}),
    ],
)
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Return input with mean 0 and variance 1 over its last dims, times weight + bias.

    Shapes: (*, *normalized_shape); weight and bias of normalized_shape.
    Source: Ba, Kiros, Hinton (2016), Layer normalization. Raises: ShapeError,
    DTypeError.

    >>> import numtensor as nt
    >>> nt.nn.functional.layer_norm(nt.tensor([[1.0, 3.0]]), (2,))
    tensor([[-1.0000,  1.0000]])
    """
    _floating("layer_norm", input, weight, bias)
    others = ("weight", weight), ("bias", bias)
    n = _row_length("layer_norm", input, normalized_shape, *others)
    name = "NativeLayerNormBackward0"
    return normalize_rows(input, n, weight, bias, float(eps), True, name)


@_declared(
    "rms_norm",
    samples=lambda make: [((make(3, 4), (4,), make(4)), {}), ((make(2, 3), (3,)), {})],
)
def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """Return input divided by the root of its mean square over its last dims.

    `eps`, by default the dtype's, is added to the mean square. Source: Zhang, Sennrich
    (2019), Root mean square layer normalization. Raises: ShapeError, DTypeError.
    """
    _floating("rms_norm", input, weight)
    n = _row_length("rms_norm", input, normalized_shape, ("weight", weight))
    small = finfo(input.dtype).eps if eps is None else float(eps)
    return normalize_rows(input, n, weight, None, small, False, "RmsNormBackward0")


# Groups of channels


@_declared(
    "group_norm",
    samples=lambda make: [
        ((make(2, 4, 3), 2, make(4), make(4)), {}),
        ((make(2, 4), 2), {}),
    ],
)
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Return input with mean 0 and variance 1 over each group of channels.

    Shapes: (N, C, *), C a multiple of num_groups; weight and bias (C,).
    Source: Wu, He (2018), Group normalization. Raises: ShapeError, DTypeError.
    """
    op = "group_norm"
    _floating(op, input, weight, bias)
    shape = tuple(input.shape)
    if len(shape) < 2:
        fault = (
            "Expected at least 2 dimensions for input tensor but received "
            f"{len(shape)}."
        )
        raise ShapeError(message(op, f"shape {list(shape)}", "(N, C, ...)", fault))
    channels = shape[1]
    if num_groups < 1 or channels % num_groups:
        fault = (
            "Expected number of channels in input to be divisible by num_groups, but "
            f"got input of shape {list(shape)} and num_groups={num_groups}."
        )
        got = f"{channels} channels in {num_groups} groups"
        raise ShapeError(message(op, got, "groups of one size", fault))
    for what, other in (("weight", weight), ("bias", bias)):
        if other is not None and tuple(other.shape) != (channels,):
            fault = (
                f"Expected {what} to be a vector of size equal to the number of "
                f"channels in input, but got {what} of shape {list(other.shape)} and "
                f"input of shape {list(shape)}."
            )
            got = f"a {what} of shape {list(other.shape)}"
            raise ShapeError(message(op, got, f"[{channels}]", fault))
    n = channels // num_groups * numel(shape[2:])
    if input.numel() == num_groups:  # one value to a group, in a batch of one
        raise _one_value(op, shape)
    name = "NativeGroupNormBackward0"
    found = normalize_rows(input, n, None, None, float(eps), True, name)
    return scaled(found, weight, bias)


def _one_value(op: str, shape: tuple[int, ...]) -> ShapeError:
    sizes = ", ".join(map(str, shape))
    return ShapeError(
        message(
            op,
            f"shape {list(shape)}",
            "more than one value to take a mean of",
            "Expected more than 1 value per channel when training, got input size "
            f"torch.Size([{sizes}]).",
        )
    )


def _check_channels(
    op: str,
    x: Tensor,
    mean: Tensor | None,
    var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
) -> None:
    """Refuse what does not have one number for each channel."""
    if (mean is None) != (var is None):
        fault = "running_mean and running_var must either both be None or neither be "
        got = "one running statistic"
        raise ShapeError(message(op, got, "none or two", f"{fault}None."))
    channels = x.shape[1] if x.ndim > 1 else 0
    others = ("running_mean", mean), ("running_var", var), ("weight", weight)
    for what, other in (*others, ("bias", bias)):
        if other is not None and other.numel() != channels:
            fault = f"{what} should contain {channels} elements not {other.numel()}."
            got = f"a {what} of {other.numel()} for {channels} channels"
            raise ShapeError(message(op, got, f"{channels}", fault))
    if x.ndim < 2:
        raise ShapeError(message(op, f"shape {list(x.shape)}", "(N, C, ...)"))


@_declared(
    "batch_norm",
    samples=lambda make: [
        ((make(4, 3), None, None, make(3), make(3)), {"training": True}),
        ((make(2, 3, 2), None, None), {"training": True, "eps": 0.1}),
        ((make(4, 3), _zeros(make, 3), _ones(make, 3), make(3), make(3)), {}),
    ],
)
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return input with each channel normalised, times weight + bias.

    While `training` by the batch's mean and variance, towards which the running ones
    move by `momentum` (the variance without bias); else by the running ones.
    Shapes: (N, C, *); the others (C,). Source: Ioffe, Szegedy (2015), Batch
    normalization. Raises: ShapeError, DTypeError.
    """
    op = "batch_norm"
    _floating(op, input, running_mean, running_var, weight, bias)
    _check_channels(op, input, running_mean, running_var, weight, bias)
    if training:
        shape = tuple(input.shape)
        if numel(shape) == shape[1] and shape[1]:
            raise _one_value(op, shape)
        return normalize_batch(
            input, running_mean, running_var, weight, bias, float(momentum), float(eps)
        )
    if running_mean is None or running_var is None:
        what = "running_mean" if running_mean is None else "running_var"
        fault = f"{what} must be defined in evaluation mode."
        raise ShapeError(message(op, f"no {what}", "running statistics", fault))
    scale = (running_var + eps).rsqrt()
    if weight is not None:
        scale = scale * weight
    shift = -(running_mean * scale)
    if bias is not None:
        shift = shift + bias
    return affine(input, per_channel(input, scale), per_channel(input, shift))


def _zeros(make: Callable[..., Tensor], *shape: int) -> Tensor:
    return make(*shape).detach() * 0


def _ones(make: Callable[..., Tensor], *shape: int) -> Tensor:
    return make(*shape).detach() * 0 + 1


@_declared(
    "instance_norm",
    samples=lambda make: [
        ((make(2, 3, 4),), {}),
        ((make(2, 3, 4), None, None, make(3), make(3)), {}),
    ],
)
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return input with each channel of each sample normalised, times weight + bias.

    The running statistics, if given, move towards the mean of those of the samples;
    without `use_input_stats` they are what is used. Shapes: (N, C, *) with at least two
    elements in *. Source: Ulyanov, Vedaldi, Lempitsky (2016), Instance normalization.
    Raises: ShapeError, DTypeError.
    """
    op = "instance_norm"
    _floating(op, input, running_mean, running_var, weight, bias)
    if not use_input_stats:
        if running_mean is None or running_var is None:
            fault = (
                "Expected running_mean and running_var to be defined when "
                "use_input_stats is false."
            )
            raise ShapeError(message(op, "none", "running statistics", fault))
        return batch_norm(
            input, running_mean, running_var, weight, bias, False, momentum, eps
        )
    _check_channels(op, input, running_mean, running_var, weight, bias)
    n = numel(tuple(input.shape[2:]))
    if n == 1:
        fault = (
            "Expected more than 1 spatial element when training, got input size "
            f"{input.size()}."
        )
        got = f"shape {list(input.shape)}"
        raise ShapeError(message(op, got, "at least two elements to a channel", fault))
    if input.numel() and (running_mean is not None or running_var is not None):
        with no_grad():
            dims = list(range(2, input.ndim))
            spread, middle = var_mean(input.detach(), dims)
            move(running_mean, middle.mean(0), momentum)
            move(running_var, spread.mean(0), momentum)
    name = "InstanceNormBackward0"
    found = normalize_rows(input, n, None, None, float(eps), True, name)
    return scaled(found, weight, bias)


# Lengths and neighbours


@_declared(
    "normalize",
    samples=lambda make: [((make(3, 4),), {}), ((make(3, 4),), {"p": 1.0, "dim": 0})],
)
def normalize(
    input: Tensor,
    p: float = 2.0,
    dim: Any = 1,
    eps: float = 1e-12,
    out: Tensor | None = None,
) -> Tensor:
    """Return input divided by its p-norm along `dim`, or by eps where that is larger.

    >>> import numtensor as nt
    >>> nt.nn.functional.normalize(nt.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    length = clamp_min(function("norm")(input, p, dim, keepdim=True), eps)
    return input / length if out is None else div(input, length, out=out)


@_declared(
    "local_response_norm",
    samples=lambda make: [((make(2, 4, 3), 3), {"alpha": 0.5})],
)
def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Return input / (k + alpha * mean square of `size` neighbouring channels)**beta.

    Shapes: (N, C, *), at least one dim in *; beyond the first and last channel are
    zeros. Source: Krizhevsky, Sutskever, Hinton (2012), ImageNet classification with
    deep convolutional neural networks. Raises: ShapeError.
    """
    if input.ndim < 3:
        fault = (
            f"Expected 3D or higher dimensionality input (got {input.ndim} dimensions)."
        )
        got = f"shape {list(input.shape)}"
        raise ShapeError(message("local_response_norm", got, "(N, C, L, ...)", fault))
    if size < 1:
        fault = "kernel size should be greater than zero."
        got = f"size={size}"
        raise ShapeError(message("local_response_norm", got, "1 or more", fault))
    if not input.numel():
        return input
    shape = list(input.shape)
    before, after = size // 2, (size - 1) // 2
    ends = []
    for width in (before, after):
        shape[1] = width
        ends.append(input.new_zeros(shape))
    padded = function("cat")((ends[0], input * input, ends[1]), 1)
    mean = padded.unfold(1, size, 1).mean(-1)
    return input / (mean * alpha + k) ** beta
