"""Convolutions and transposed convolutions in one, two and three dims.

What users call. A call is looked up by the specs of its tensors and its parameters;
only the first of a kind is checked and planned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ops.declare import composed
from ...tensor import Tensor
from ._convolution import convolve, input_grad, plan
from ._convolution_checks import described, described_transposed
from ._convolution_problem import MOST

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_calls: dict[Any, Any] = {}


def _convolution(
    nd: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Tensor:
    key: Any
    try:
        kind = None if bias is None else bias._spec
        key = (input._spec, weight._spec, kind, nd, stride, padding, dilation, groups)
        found = _calls.get(key)
    except (AttributeError, TypeError):  # no tensor, or a list of sizes
        key = found = None
    if found is None:
        about = described(nd, input, weight, bias, stride, padding, dilation, groups)
        run = plan("forward", about, input._spec, weight._spec, bias is not None)
        found = about, run
        if key is not None:
            if len(_calls) > MOST:
                _calls.clear()
            _calls[key] = found
    return convolve(found[0], found[1], input, weight, bias)


def _transposed(
    nd: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    key: Any
    try:
        kind = None if bias is None else bias._spec
        rest = (stride, padding, output_padding, dilation, groups)
        key = (input._spec, weight._spec, kind, nd, "transposed", rest)
        about = _calls.get(key)
    except (AttributeError, TypeError):
        key = about = None
    if about is None:
        about = described_transposed(
            nd, input, weight, bias, stride, padding, output_padding, groups, dilation
        )
        if key is not None:
            if len(_calls) > MOST:
                _calls.clear()
            _calls[key] = about
    result = input_grad(about, input, weight)
    if bias is not None:
        result = result + bias.reshape(-1, *(1,) * nd)
    return result


# What users call


def _samples(nd: int, transposed: bool = False) -> Any:
    """Return small cases: two parameters at a time are not as they are by default."""

    def samples(make: Any) -> list[Any]:
        size, first = (3, 2, 2)[:nd], (2, 1, 1)[:nd]
        around = 0 if transposed else 1
        cases = [
            ((make(2, 2, *size), make(2, 2, *first), make(2)), {}),
            ((make(2, *size), make(2, 1, *first)), {"padding": around, "groups": 2}),
        ]
        if transposed:
            more = {"stride": 2, "output_padding": 1, "padding": 1}
            cases.append(((make(1, 1, *(2,) * nd), make(1, 2, *(2,) * nd)), more))
        elif nd < 3:
            more = {"stride": 2, "dilation": 2, "padding": 1}
            cases.append(((make(1, 1, *(4,) * nd), make(2, 1, *(2,) * nd)), more))
        return cases

    return samples


def _declared(name: str, nd: int, transposed: bool = False) -> Decorator:
    return composed(
        name,
        room="nn.functional",
        names="keep",
        dtypes="number",
        samples=_samples(nd, transposed),
    )


@_declared("conv1d", 1)
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Return the convolution (cross-correlation) of rows with kernels.

    Shapes: input (N, C, L) or (C, L), weight (O, C / groups, K), bias (O) ->
    (N, O, L') or (O, L'), L' = (L + 2 padding - dilation (K - 1) - 1) // stride + 1.
    `padding` may be "valid" (none) or "same" (L' = L, for a stride of 1).
    Dtypes: one for all, no bool. Raises: ShapeError, DTypeError, DeviceError.

    >>> import numtensor as nt
    >>> x = nt.tensor([[[1.0, 2.0, 4.0, 8.0]]])
    >>> nt.nn.functional.conv1d(x, nt.tensor([[[-1.0, 1.0]]]))
    tensor([[[1., 2., 4.]]])
    """
    return _convolution(1, input, weight, bias, stride, padding, dilation, groups)


@_declared("conv2d", 2)
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Return the convolution (cross-correlation) of images with kernels.

    Shapes: input (N, C, H, W) or (C, H, W), weight (O, C / groups, KH, KW), bias (O) ->
    (N, O, H', W') or (O, H', W'); sizes, dtypes and errors as in `conv1d`, parameters
    one for both dims or a pair.

    >>> import numtensor as nt
    >>> x = nt.arange(9.0).reshape(1, 3, 3)
    >>> nt.nn.functional.conv2d(x, nt.ones(1, 1, 2, 2))
    tensor([[[ 8., 12.],
             [20., 24.]]])
    """
    return _convolution(2, input, weight, bias, stride, padding, dilation, groups)


@_declared("conv3d", 3)
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Return the convolution (cross-correlation) of volumes with kernels.

    Shapes: input (N, C, D, H, W) or (C, D, H, W), weight (O, C / groups, KD, KH, KW),
    bias (O) -> (N, O, D', H', W'); see `conv1d`.

    >>> import numtensor as nt
    >>> nt.nn.functional.conv3d(nt.ones(1, 2, 2, 2), nt.ones(1, 1, 2, 2, 2)).item()
    8.0
    """
    return _convolution(3, input, weight, bias, stride, padding, dilation, groups)


@_declared("conv_transpose1d", 1, True)
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Return the transposed convolution of rows: what conv1d does, turned round.

    Shapes: input (N, C, L) or (C, L), weight (C, O / groups, K), bias (O) -> (N, O, L')
    with L' = (L - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1.
    Dtypes: one for all. Raises: ShapeError, DTypeError, DeviceError.

    >>> import numtensor as nt
    >>> x = nt.tensor([[[1.0, 2.0]]])
    >>> nt.nn.functional.conv_transpose1d(x, nt.tensor([[[1.0, 10.0]]]), stride=2)
    tensor([[[ 1., 10.,  2., 20.]]])
    """
    return _transposed(
        1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@_declared("conv_transpose2d", 2, True)
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Return the transposed convolution of images: what conv2d does, turned round.

    Shapes: input (N, C, H, W) or (C, H, W), weight (C, O / groups, KH, KW), bias (O) ->
    (N, O, H', W'); see `conv_transpose1d`.

    >>> import numtensor as nt
    >>> nt.nn.functional.conv_transpose2d(nt.ones(1, 1, 1), nt.ones(1, 1, 2, 2))
    tensor([[[1., 1.],
             [1., 1.]]])
    """
    return _transposed(
        2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@_declared("conv_transpose3d", 3, True)
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Return the transposed convolution of volumes: what conv3d does, turned round.

    Shapes: input (N, C, D, H, W) or (C, D, H, W), weight (C, O / groups, KD, KH, KW),
    bias (O) -> (N, O, D', H', W'); see `conv_transpose1d`.

    >>> import numtensor as nt
    >>> x = nt.ones(1, 1, 1, 1)
    >>> tuple(nt.nn.functional.conv_transpose3d(x, nt.ones(1, 2, 2, 3, 4)).shape)
    (2, 2, 3, 4)
    """
    return _transposed(
        3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )
