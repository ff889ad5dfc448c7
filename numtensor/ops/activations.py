"""Activations that PyTorch has outside `nn.functional` too.

Those that only networks use are in `nn.functional.activations`, as are the arguments
`inplace=` and the functions whose names end in `_`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import fastcall
from ..elementwise import Elementwise
from ..errors import DTypeError, ShapeError, message
from ..tensor import Tensor
from . import m
from .declare import composed, elementwise
from .views import reshape

#: Klambauer, Unterthiner, Mayr, Hochreiter (2017), Self-normalizing neural networks
_ALPHA, _SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946

relu = elementwise(
    "relu", lambda x: m.where(x < 0, 0, x),
    vjp=lambda g, x, out: m.where(out <= 0, 0.0, g),
    reference=lambda x: np.where(x < 0, 0, x), rule="number", kinks=(0.0,),
    doc="""The larger of input and 0; NaN stays.

    >>> import numtensor as nt
    >>> nt.relu(nt.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """,
)  # fmt: skip
selu = elementwise(
    "selu",
    lambda x: m.where(x < 0, _SCALE * _ALPHA * m.expm1(x), _SCALE * x),
    vjp=lambda g, x, out: g * m.where(
        x <= 0, _SCALE * _ALPHA * m.exp(m.minimum(x, 0.0)), _SCALE
    ),
    reference=lambda x: _SCALE * np.where(x < 0, _ALPHA * np.expm1(x), x),
    rule="floats", dtypes="float", method=False, kinks=(0.0,),
    doc="""The scaled exponential linear unit, which keeps mean 0 and variance 1.

    scale * (input if input > 0 else alpha * (exp(input) - 1)). Source: Klambauer,
    Unterthiner, Mayr, Hochreiter (2017), Self-normalizing neural networks.
    """,
)  # fmt: skip

elu_operator = Elementwise(
    "elu",
    lambda x, alpha, rate: m.where(x < 0, alpha * m.expm1(x * rate), x),
    (
        lambda g, x, alpha, rate, out: m.where(
            x <= 0, g * (alpha * rate * m.exp(m.minimum(x, 0.0) * rate)), g
        ),
        None,
        None,
    ),
    rule="floats", roles="tss",
)  # fmt: skip


@composed(
    "celu",
    method=False,
    dtypes="float",
    names="keep",
    samples=lambda make: [((make(3, 4),), {}), ((make(2, 3), 0.5), {})],
    reference=lambda x: np.maximum(x, 0) + np.minimum(0, np.expm1(x)),
)
def celu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """Return input where positive, alpha * (exp(input / alpha) - 1) elsewhere.

    Source: Barron (2017), Continuously differentiable exponential linear units.

    >>> import numtensor as nt
    >>> nt.celu(nt.tensor([-1.0, 0.0, 2.0]))
    tensor([-0.6321,  0.0000,  2.0000])
    """
    return elu_operator(input, *celu_numbers(alpha))


def celu_numbers(alpha: float) -> tuple[float, float]:
    """Return the factor and the rate of `elu_operator` that make it `celu`."""
    if alpha == 0:
        raise ShapeError(
            message(
                "celu",
                "alpha=0",
                "a number other than 0",
                "ZeroDivisionError: alpha cannot be 0 for CELU.",
            )
        )
    return float(alpha), 1.0 / alpha


hardshrink_operator = Elementwise(
    "hardshrink",
    lambda x, lambd: m.where((x >= -lambd) & (x <= lambd), 0.0, x),
    (
        lambda g, x, lambd, out: m.where((x >= -lambd) & (x <= lambd), 0.0, g),
        None,
    ),
    rule="floats", roles="ts",
)  # fmt: skip
_hardshrink = fastcall.binary(hardshrink_operator)


@composed(
    "hardshrink",
    dtypes="float",
    names="keep",
    samples=lambda make: [((make(3, 4),), {}), ((make(2, 3), 1.0), {})],
    reference=lambda x: np.where(np.abs(x) <= 0.5, 0, x),
)
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return input where it is beyond -lambd or lambd, 0 between.

    >>> import numtensor as nt
    >>> nt.hardshrink(nt.tensor([-1.0, 0.3, 2.0]))
    tensor([-1.,  0.,  2.])
    """
    return _hardshrink(input, float(lambd))


prelu_operator = Elementwise(
    "prelu",
    lambda x, w: m.where(x > 0, x, x * w),
    (
        lambda g, x, w, out: m.where(x > 0, g, g * w),
        lambda g, x, w, out: m.where(x > 0, 0.0, g * x),
    ),
    rule="floats", node_name="PreluKernelBackward0",
)  # fmt: skip
_prelu = fastcall.binary(prelu_operator)


@composed(
    "prelu",
    dtypes="float",
    names="keep",
    samples=lambda make: [
        ((make(2, 3, 2), make(3)), {}),
        ((make(4), make(1)), {}),
    ],
    reference=lambda x, w: np.where(
        x > 0, x, x * w.reshape((-1,) + (1,) * max(0, x.ndim - 2))
    ),
)
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Return input where positive, weight * input elsewhere.

    Shapes: `weight` is one number or one for each channel, which is dim 1 of the input.
    Raises: ShapeError, another number of weights; DTypeError, two dtypes.

    >>> import numtensor as nt
    >>> nt.prelu(nt.tensor([-4.0, 2.0]), nt.tensor([0.25]))
    tensor([-1.,  2.])
    """
    _check_prelu(input, weight)
    rank = input._spec.ndim
    if weight._spec.ndim and rank != 2:
        count = weight._spec.numel
        weight = reshape(weight, (count,) + (1,) * (rank - 2) if rank > 1 else (count,))
    return _prelu(input, weight)


def _check_prelu(input: Any, weight: Any) -> None:
    if not isinstance(weight, Tensor):
        got = type(weight).__name__
        do = f"prelu(): argument 'weight' (position 2) must be Tensor, not {got}."
        raise DTypeError(message("prelu", f"a weight of type {got}", "a Tensor", do))
    if input.dtype is not weight.dtype:
        raise DTypeError(
            message(
                "prelu",
                f"{input.dtype} and {weight.dtype}",
                "one dtype",
                "prelu: Type promoting not supported. Cast one with x.to(dtype).",
            )
        )
    if weight.ndim > 1:
        raise ShapeError(
            message(
                "prelu",
                f"a weight of shape {list(weight.shape)}",
                "one number, or one for each channel",
                "prelu: Expected `weight` to be a scalar or 1D tensor, but got: "
                f"ndim = {weight.ndim}.",
            )
        )
    count = weight.numel()
    if count == 1:
        return
    if input.ndim == 0:
        raise ShapeError(
            message(
                "prelu",
                f"a 0-d input and {count} weights",
                "one weight",
                "Not allow zero-dim input tensor.",
            )
        )
    channels = input.shape[1] if input.ndim > 1 else 1
    if count != channels:
        raise ShapeError(
            message(
                "prelu",
                f"{count} weights for shape {list(input.shape)}",
                f"1 or {channels}",
                "Mismatch of parameter numbers and input channel size. Found "
                f"parameter numbers = {count} and channel size = {channels}.",
            )
        )
