"""The checks of convolutions, and the sizes of what they return.

From the arguments of a user to a `Problem`, or to an error with PyTorch's sentence.
"""

from __future__ import annotations

from typing import Any

from ...errors import DTypeError, ShapeError, message
from ...tensor import Tensor
from ._convolution import problem
from ._convolution_problem import Problem
from ._sizes import alike, by, ints, is_tensor, not_implemented


def _tensors(op: str, nd: int, input: Any, weight: Any, bias: Any) -> None:
    """Check types, dtypes, devices and counts of dims."""
    is_tensor(op, "input", input)
    is_tensor(op, "weight", weight)
    alike(op, input, weight)
    if bias is not None:
        is_tensor(op, "bias", bias)
        alike(op, input, bias)
    if input.dtype.name == "bool":
        raise not_implemented(op, input)
    if input.ndim not in (nd + 1, nd + 2):
        raise ShapeError(
            message(
                op,
                f"an input of {input.ndim} dims",
                f"{nd + 1} or {nd + 2}",
                f"Expected {nd + 1}D (unbatched) or {nd + 2}D (batched) input to {op}, "
                f"but got input of size: {list(input.shape)}.",
            )
        )
    if weight.ndim != nd + 2:
        raise ShapeError(
            message(
                op,
                f"a weight of size {list(weight.shape)}",
                f"{nd + 2} dims",
                f"expected {nd + 2}-dimensional weight, but got a "
                f"{weight.ndim}-dimensional one.",
            )
        )


def _positive(
    op: str, stride: tuple[int, ...], dilation: tuple[int, ...], groups: int
) -> None:
    if not isinstance(groups, int) or isinstance(groups, bool) or groups < 1:
        raise ShapeError(
            message(
                op,
                f"groups={groups!r}",
                "a positive integer",
                "non-positive groups is not supported.",
            )
        )
    if min(stride) < 1:
        raise ShapeError(
            message(
                op,
                f"stride={stride}",
                "strides of 1 or more",
                "non-positive stride is not supported.",
            )
        )
    if min(dilation) < 1:
        raise ShapeError(
            message(
                op,
                f"dilation={dilation}",
                "dilations of 1 or more",
                f"dilation should be greater than zero, but got {list(dilation)}.",
            )
        )


def _not_negative(op: str, what: str, sizes: tuple[int, ...]) -> None:
    if min(sizes) < 0:
        raise ShapeError(
            message(
                op,
                f"{what}={sizes}",
                "0 or more",
                f"negative {what} is not supported.",
            )
        )


def _kernel(op: str, weight: Tensor, groups: int) -> tuple[int, ...]:
    """Return the size of the kernel; check the weight's sizes."""
    shape = tuple(weight.shape)
    if shape[0] < groups:
        raise ShapeError(
            message(
                op,
                f"weight {shape}",
                f"{groups} or more in its first dim",
                f"Given groups={groups}, expected weight to be at least {groups} at "
                f"dimension 0, but got weight of size {list(shape)} instead.",
            )
        )
    if shape[0] % groups:
        raise ShapeError(
            message(
                op,
                f"weight {shape}",
                f"a first dim divisible by groups={groups}",
                f"Given groups={groups}, expected weight to be divisible by {groups} "
                f"at dimension 0, but got weight of size [{list(shape)}] instead.",
            )
        )
    if min(shape[2:]) < 1:
        raise ShapeError(
            message(
                op,
                f"weight {shape}",
                "a kernel of 1 or more elements",
                f"kernel size should be greater than zero, but got {shape[2:]}.",
            )
        )
    return shape[2:]


def _bias(
    op: str, bias: Tensor | None, weight: Tensor, channels: int, given: str
) -> None:
    if bias is not None and tuple(bias.shape) != (channels,):
        raise ShapeError(
            message(
                op,
                f"bias {tuple(bias.shape)}",
                f"({channels},)",
                f"Given {given}weight of size {list(weight.shape)}, expected bias to "
                f"be 1-dimensional with {channels} elements, but got bias of size "
                f"{list(bias.shape)} instead.",
            )
        )


def _channels(
    op: str, input: Tensor, weight: Tensor, have: int, want: int, given: str
) -> None:
    if have != want:
        raise ShapeError(
            message(
                op,
                f"input {tuple(input.shape)} and weight {tuple(weight.shape)}",
                f"{want} channels",
                f"Given {given}, weight of size {list(weight.shape)}, expected "
                f"input{list(input.shape)} to have {want} channels, but got {have} "
                "channels instead.",
            )
        )


def described(
    nd: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Problem:
    """Check a convolution, and say what is to be computed."""
    op = f"conv{nd}d"
    _tensors(op, nd, input, weight, bias)
    stride = ints(op, "stride", stride, nd)
    dilation = ints(op, "dilation", dilation, nd)
    _positive(op, stride, dilation, groups)
    kernel = _kernel(op, weight, groups)
    shape, channels = tuple(input.shape), weight.shape[1] * groups
    given = f"groups={groups}"
    _channels(op, input, weight, shape[-nd - 1], channels, given)
    _bias(op, bias, weight, weight.shape[0], "")
    sizes, reach = shape[-nd:], _reach(kernel, dilation)
    if isinstance(padding, str):
        left, right = _named_padding(op, padding, stride, reach)
    else:
        left = right = ints(op, "padding", padding, nd)
        _not_negative(op, "padding", left)
    padded = [s + a + b for s, a, b in zip(sizes, left, right, strict=True)]
    if any(p < r for p, r in zip(padded, reach, strict=True)):
        raise ShapeError(
            message(
                op,
                f"input {shape} and a kernel of {by(reach)}",
                "a kernel that fits",
                f"Calculated padded input size per channel: ({by(padded)}). Kernel "
                f"size: ({by(reach)}). Kernel size can't be greater than actual input "
                "size. Use padding.",
            )
        )
    if 0 in sizes:
        raise ShapeError(
            message(
                op,
                f"input {shape}",
                "images that are not empty",
                "Only zero batch or zero channel inputs are supported, but got input "
                f"shape: {list(shape)}.",
            )
        )
    out = [(p - r) // s + 1 for p, r, s in zip(padded, reach, stride, strict=True)]
    result = (*shape[: -nd - 1], weight.shape[0], *out)
    return problem(
        nd, shape, tuple(weight.shape), result, stride, left, dilation, groups
    )


def _reach(kernel: tuple[int, ...], dilation: tuple[int, ...]) -> list[int]:
    """Return how far a kernel reaches, its first and last element included."""
    return [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]


def _named_padding(
    op: str, padding: str, stride: tuple[int, ...], reach: list[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the padding on both sides for "valid" and "same"."""
    if padding == "valid":
        return (0,) * len(reach), (0,) * len(reach)
    if padding != "same":
        raise ShapeError(
            message(
                op,
                f"padding={padding!r}",
                "sizes, 'valid' or 'same'",
                f"Invalid padding string: '{padding}'.",
            )
        )
    if max(stride) > 1:
        raise ShapeError(
            message(
                op,
                f"padding='same' and stride={stride}",
                "a stride of 1",
                "padding='same' is not supported for strided convolutions.",
            )
        )
    left = tuple([(r - 1) // 2 for r in reach])
    return left, tuple([r - 1 - a for r, a in zip(reach, left, strict=True)])


def described_transposed(
    nd: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Problem:
    """Check a transposed convolution: the way back of which convolution it is."""
    op = f"conv_transpose{nd}d"
    _tensors(op, nd, input, weight, bias)
    stride = ints(op, "stride", stride, nd)
    dilation = ints(op, "dilation", dilation, nd)
    if isinstance(padding, str):
        raise DTypeError(
            message(op, f"padding={padding!r}", "sizes", "Use integers for padding.")
        )
    padding = ints(op, "padding", padding, nd)
    output_padding = ints(op, "output_padding", output_padding, nd)
    _positive(op, stride, dilation, groups)
    _not_negative(op, "padding", padding)
    _not_negative(op, "output_padding", output_padding)
    kernel = _kernel(op, weight, groups)
    shape, given = tuple(input.shape), "transposed=1"
    channels = weight.shape[1] * groups
    _channels(op, input, weight, shape[-nd - 1], weight.shape[0], given)
    _bias(op, bias, weight, channels, f"{given}, ")
    for extra, s, d in zip(output_padding, stride, dilation, strict=True):
        if extra >= s and extra >= d:
            raise ShapeError(
                message(
                    op,
                    f"output_padding={output_padding}",
                    f"less than stride={stride} or dilation={dilation}",
                    "output padding must be smaller than either stride or dilation.",
                )
            )
    sizes, reach = shape[-nd:], _reach(kernel, dilation)
    out = [
        (n - 1) * s - 2 * p + r + extra
        for n, s, p, r, extra in zip(
            sizes, stride, padding, reach, output_padding, strict=True
        )
    ]
    if min(out) < 1 or 0 in sizes:
        raise ShapeError(
            message(
                op,
                f"input {shape}",
                "a result that is not empty",
                f"Given input size per channel: ({by(sizes)}). Calculated output size "
                f"per channel: ({by(out)}). Output size is too small.",
            )
        )
    result = (*shape[: -nd - 1], channels, *out)
    return problem(
        nd, result, tuple(weight.shape), shape, stride, padding, dilation, groups
    )
