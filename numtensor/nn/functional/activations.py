"""Activations: one kernel forward and one back for each.

Elementwise expressions with their derivatives, and the public functions around them.
What joins elements of a row (softmax and its kin) is not here. The derivative at a kink
is PyTorch's; an in-place form keeps a copy of its input if the way back needs it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import fastcall
from ...dtypes import uint8
from ...elementwise import Elementwise
from ...errors import DTypeError, ShapeError, message
from ...layout import normalize_dim
from ...ops import activations as shared
from ...ops import m
from ...ops.declare import composed, room
from ...ops.exponential import sigmoid as _sigmoid
from ...ops.exponential import tanh as _tanh
from ...ops.registry import function
from ...ops.selection import where
from ...ops.views import narrow
from ...tensor import Tensor

_FLOATS = "floats"
_ROOT_HALF = math.sqrt(0.5)


def _declared(
    name: str,
    reference: Callable[..., Any] | None = None,
    numbers: tuple[float, ...] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a function of one tensor, with the numbers its samples need."""
    return composed(
        name,
        room="nn.functional",
        dtypes="float",
        names="keep",
        reference=reference,
        samples=lambda make: [((make(3, 4), *numbers), {}), ((make(5), *numbers), {})],
    )


def _in_place(name: str, body: Callable[..., Tensor]) -> None:
    """Export the form of a function that stores its result in its input."""
    body.__name__ = body.__qualname__ = f"{name}_"
    body.__doc__ = f"In-place form of `{name}`: stores the result in the input."
    room("nn.functional")[f"{name}_"] = body


# One rule, no parameter


def _plain(name: str, forward: Any, vjp: Any, rule: str = _FLOATS) -> Any:
    operator = Elementwise(name, forward, (vjp,), rule=rule)
    return operator, fastcall.unary(operator)


def _between(x: Any, low: Any, high: Any, inside: Any) -> Any:
    """`inside` where low < x < high or x is NaN, 0 elsewhere."""
    return m.where((x <= low) | (x >= high), 0.0, inside)


def _clamped(x: Any, low: Any, high: Any) -> Any:
    return m.where(x < low, low, m.where(x > high, high, x))


def _mish_parts(x: Any) -> tuple[Any, Any]:
    # from 20 on tanh(softplus(x)) is 1 to the last digit, and e**2 cannot overflow
    e = m.exp(m.minimum(x, 20.0))
    return e, e * (e + 2)


def _mish(x: Any) -> Any:
    _, n = _mish_parts(x)
    return x * (n / (n + 2))


def _mish_vjp(g: Any, x: Any, out: Any) -> Any:
    e, n = _mish_parts(x)
    return g * ((n + 4 * x * e * (e + 1) / (n + 2)) / (n + 2))


def _gelu_vjp(g: Any, x: Any, out: Any) -> Any:
    density = m.exp(x * x * -0.5) / math.sqrt(2 * math.pi)
    return g * (0.5 * m.erfc(x * -_ROOT_HALF) + x * density)


_KAPPA = math.sqrt(2 / math.pi)


def _gelu_tanh_vjp(g: Any, x: Any, out: Any) -> Any:
    t = m.tanh(_KAPPA * (x + 0.044715 * x * x * x))
    inner = _KAPPA * (1 + 3 * 0.044715 * x * x)
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner)


_silu_op, _silu = _plain(
    "silu",
    lambda x: x * m.sigmoid(x),
    lambda g, x, out: g * (m.sigmoid(x) * (1 + x * (1 - m.sigmoid(x)))),
)
_mish_op, _mish_call = _plain("mish", _mish, _mish_vjp)
_relu6_op, _relu6 = _plain(
    "hardtanh",
    lambda x: _clamped(x, 0, 6),
    lambda g, x, out: _between(x, 0.0, 6.0, g),
    rule="number",
)
_hardsigmoid_op, _hardsigmoid = _plain(
    "hardsigmoid",
    lambda x: _clamped(x + 3, 0, 6) / 6,
    # NaN is outside here, as in PyTorch
    lambda g, x, out: m.where((x > -3) & (x < 3), g / 6, 0.0),
)
_hardswish_op, _hardswish = _plain(
    "hardswish",
    lambda x: x * _clamped(x + 3, 0, 6) / 6,
    lambda g, x, out: m.where(x <= -3, 0.0, m.where(x < 3, g * (x / 3 + 0.5), g)),
)
_, _softsign = _plain(
    "softsign",
    lambda x: x / (1 + m.abs(x)),
    lambda g, x, out: g / ((1 + m.abs(x)) * (1 + m.abs(x))),
    rule="float",
)
_, _tanhshrink = _plain(
    "tanhshrink",
    lambda x: x - m.tanh(x),
    lambda g, x, out: g * (m.tanh(x) * m.tanh(x)),
    rule="float",
)
_, _logsigmoid = _plain(
    "logsigmoid",
    lambda x: m.minimum(x, 0.0) - m.log1p(m.exp(-m.abs(x))),
    lambda g, x, out: g * m.sigmoid(-x),
)
# erfc, since 1 + erf loses digits where x is negative
_, _gelu = _plain("gelu", lambda x: x * (0.5 * m.erfc(x * -_ROOT_HALF)), _gelu_vjp)
_, _gelu_tanh = _plain(
    "gelu",
    lambda x: 0.5 * x * (1 + m.tanh(_KAPPA * (x + 0.044715 * x * x * x))),
    _gelu_tanh_vjp,
)


@_declared("relu", lambda x: np.maximum(x, 0))
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return the larger of input and 0."""
    return input.relu_() if inplace else shared.relu(input)


@_declared("relu6", lambda x: np.clip(x, 0, 6))
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """Return input between 0 and 6."""
    return _relu6_op.in_place(input) if inplace else _relu6(input)


@_declared("selu")
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return the scaled exponential linear unit: see `numtensor.selu`."""
    return shared.selu.operator.in_place(input) if inplace else shared.selu(input)


@_declared("silu", lambda x: x / (1 + np.exp(-x)))
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return input * sigmoid(input), also known as swish.

    >>> import numtensor as nt
    >>> nt.nn.functional.silu(nt.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.2689,  0.0000,  0.7311])
    """
    return _silu_op.in_place(input) if inplace else _silu(input)


@_declared("mish", lambda x: x * np.tanh(np.log1p(np.exp(x))))
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return input * tanh(softplus(input)).

    Source: Misra (2019), Mish: a self regularized non-monotonic activation function.
    """
    return _mish_op.in_place(input) if inplace else _mish_call(input)


@_declared("hardsigmoid", lambda x: np.clip(x + 3, 0, 6) / 6)
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """Return input / 6 + 1/2 between 0 and 1."""
    return _hardsigmoid_op.in_place(input) if inplace else _hardsigmoid(input)


@_declared("hardswish", lambda x: x * np.clip(x + 3, 0, 6) / 6)
def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return input * hardsigmoid(input)."""
    return _hardswish_op.in_place(input) if inplace else _hardswish(input)


@_declared("softsign", lambda x: x / (1 + np.abs(x)))
def softsign(input: Tensor) -> Tensor:
    """Return input / (1 + abs(input))."""
    return _softsign(input)


@_declared("tanhshrink", lambda x: x - np.tanh(x))
def tanhshrink(input: Tensor) -> Tensor:
    """Return input - tanh(input)."""
    return _tanhshrink(input)


@_declared("logsigmoid", lambda x: -np.log1p(np.exp(-x)))
def logsigmoid(input: Tensor) -> Tensor:
    """Return log(sigmoid(input)), exact where sigmoid underflows.

    >>> import numtensor as nt
    >>> nt.nn.functional.logsigmoid(nt.tensor([-200.0, 0.0]))
    tensor([-200.0000,   -0.6931])
    """
    return _logsigmoid(input)


@_declared("sigmoid", lambda x: 1 / (1 + np.exp(-x)))
def sigmoid(input: Tensor) -> Tensor:
    """Return 1 / (1 + exp(-input))."""
    return _sigmoid(input)


@_declared("tanh", np.tanh)
def tanh(input: Tensor) -> Tensor:
    """Return the hyperbolic tangent."""
    return _tanh(input)


@_declared("gelu")
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """Return input times the normal distribution's probability below it.

    `approximate="tanh"` computes 0.5 * x * (1 + tanh(sqrt(2/pi) * (x + 0.044715
    x**3))). Source: Hendrycks, Gimpel (2016), Gaussian error linear units.

    >>> import numtensor as nt
    >>> nt.nn.functional.gelu(nt.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.1587,  0.0000,  0.8413])
    """
    if approximate == "none":
        return _gelu(input)
    if approximate == "tanh":
        return _gelu_tanh(input)
    raise ShapeError(
        message(
            "gelu",
            f"approximate={approximate!r}",
            "'none' or 'tanh'",
            "approximate argument must be either none or tanh.",
        )
    )


# Parameters are numbers given at each call


def _numbered(name: str, forward: Any, vjp: Any, rule: str = _FLOATS) -> Elementwise:
    count = forward.__code__.co_argcount - 1
    vjps = (vjp,) + (None,) * count
    return Elementwise(name, forward, vjps, rule=rule, roles="t" + "s" * count)


_leaky_op = _numbered(
    "leaky_relu",
    lambda x, slope: m.where(x > 0, x, x * slope),
    lambda g, x, slope, out: m.where(x > 0, g, g * slope),
)
_leaky = fastcall.binary(_leaky_op)
_hardtanh_op = _numbered(
    "hardtanh",
    _clamped,
    lambda g, x, low, high, out: _between(x, low, high, g),
    rule="number",
)
_softshrink_op = _numbered(
    "softshrink",
    # NaN times 0 is NaN, which stays
    lambda x, lambd: m.where(
        x > lambd, x - lambd, m.where(x < -lambd, x + lambd, x * 0)
    ),
    lambda g, x, lambd, out: m.where((x >= -lambd) & (x <= lambd), 0.0, g),
)
_softshrink = fastcall.binary(_softshrink_op)
_softplus_op = _numbered(
    "softplus",
    lambda x, beta, threshold: m.where(
        x * beta > threshold, x, m.log1p(m.exp(m.minimum(x * beta, threshold))) / beta
    ),
    lambda g, x, beta, threshold, out: m.where(
        x * beta > threshold, g, g * m.sigmoid(x * beta)
    ),
)
_threshold_op = _numbered(
    "threshold",
    lambda x, threshold, value: m.where(x <= threshold, value, x),
    lambda g, x, threshold, value, out: m.where(x <= threshold, 0.0, g),
    rule="number",
)


@_declared("leaky_relu", lambda x: np.where(x > 0, x, 0.01 * x))
def leaky_relu(
    input: Tensor, negative_slope: float = 0.01, inplace: bool = False
) -> Tensor:
    """Return input where positive, negative_slope * input elsewhere."""
    if inplace:
        return _leaky_op.in_place(input, float(negative_slope))
    return _leaky(input, float(negative_slope))


@_declared("elu", lambda x: np.where(x > 0, x, np.expm1(x)))
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return input where positive, alpha * (exp(input) - 1) elsewhere."""
    if inplace:
        return shared.elu_operator.in_place(input, float(alpha), 1.0)
    return shared.elu_operator(input, float(alpha), 1.0)


@_declared("celu")
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return input where positive, alpha * (exp(input / alpha) - 1) elsewhere."""
    if inplace:
        return shared.elu_operator.in_place(input, *shared.celu_numbers(alpha))
    return shared.celu(input, alpha)


@_declared("hardtanh", lambda x: np.clip(x, -1, 1))
def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """Return input between min_val and max_val. Raises: ShapeError, min > max."""
    if min_val > max_val:
        raise ShapeError(
            message(
                "hardtanh",
                f"min_val={min_val} and max_val={max_val}",
                "min_val <= max_val",
                "min_val cannot be greater than max_val.",
            )
        )
    kind = float if input.is_floating_point() else int
    if input.dtype is uint8 and min_val < 0:
        raise DTypeError(
            message(
                "hardtanh",
                f"min_val={min_val} for uint8",
                "0 or more",
                "cannot do hardtanh on an unsigned type with negative limits.",
            )
        )
    if inplace:
        return _hardtanh_op.in_place(input, kind(min_val), kind(max_val))
    return _hardtanh_op(input, kind(min_val), kind(max_val))


@_declared("threshold", lambda x: np.where(x > 0.5, x, 3.0), (0.5, 3.0))
def threshold(
    input: Tensor, threshold: float, value: float, inplace: bool = False
) -> Tensor:
    """Return input where it is above `threshold`, `value` elsewhere."""
    kind = float if input.is_floating_point() else int
    if inplace:
        return _threshold_op.in_place(input, kind(threshold), kind(value))
    return _threshold_op(input, kind(threshold), kind(value))


@_declared("softplus", lambda x: np.log1p(np.exp(x)))
def softplus(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """Return log(1 + exp(beta * input)) / beta; input where beta * input > threshold.

    >>> import numtensor as nt
    >>> nt.nn.functional.softplus(nt.tensor([-1.0, 0.0, 30.0]))
    tensor([ 0.3133,  0.6931, 30.0000])
    """
    return _softplus_op(input, float(beta), float(threshold))


@_declared("hardshrink")
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return input where it is beyond -lambd or lambd, 0 between."""
    return shared.hardshrink(input, lambd)


@_declared("softshrink", lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0))
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return input moved by `lambd` toward 0, and 0 within. Raises: ShapeError."""
    if not lambd >= 0:  # NaN too
        raise ShapeError(
            message(
                "softshrink",
                f"lambd={lambd}",
                "0 or more",
                "lambda must be greater or equal to 0, but found to be "
                f"{lambd:g}. Take its absolute value.",
            )
        )
    return _softshrink(input, float(lambd))


composed(
    "prelu", room="nn.functional", dtypes="float", names="keep",
    samples=lambda make: [((make(2, 3), make(3)), {})],
)(shared.prelu)  # fmt: skip


@_declared("rrelu", lambda x: np.where(x > 0, x, x * (11 / 48)))
def rrelu(
    input: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """Return input where positive, elsewhere input times a slope drawn for each.

    Slopes are uniform between `lower` and `upper`, and their mean if not `training`.
    Source: Xu, Wang, Chen, Li (2015), Empirical evaluation of rectified activations.
    """
    if lower > upper:
        raise ShapeError(
            message(
                "rrelu",
                f"lower={lower} and upper={upper}",
                "lower <= upper",
                "Lower bound should be less than or equal to the upper bound.",
            )
        )
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    drawn = function("rand_like")(input) * (upper - lower) + lower
    slopes = where(input.detach() > 0, 1.0, drawn)
    return input.mul_(slopes) if inplace else input * slopes


_glu = fastcall.binary(
    Elementwise(
        "glu",
        lambda x, y: x * m.sigmoid(y),
        (
            lambda g, x, y, out: g * m.sigmoid(y),
            lambda g, x, y, out: g * (x * (m.sigmoid(y) * (1 - m.sigmoid(y)))),
        ),
        rule=_FLOATS,
    )
)


@composed(
    "glu",
    room="nn.functional",
    dtypes="float",
    names="keep",
    samples=lambda make: [((make(3, 4),), {}), ((make(4, 2), 0), {})],
)
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """Return the first half along `dim` times the sigmoid of the second.

    Source: Dauphin, Fan, Auli, Grangier (2017), Gated convolutional networks.
    Raises: ShapeError, an odd size, or no dims.
    """
    if input.ndim == 0:
        raise ShapeError(
            message(
                "glu",
                "a 0-d tensor",
                "at least one dim",
                "glu does not support scalars because halving size must be even.",
            )
        )
    dim = normalize_dim("glu", dim, input.ndim)
    size = input.shape[dim]
    if size % 2:
        raise ShapeError(
            message(
                "glu",
                f"size {size} along dim {dim}",
                "an even size",
                f"Halving dimension must be even, but dimension {dim} is size {size}.",
            )
        )
    half = size // 2
    return _glu(narrow(input, dim, 0, half), narrow(input, dim, half, half))


_in_place("relu", lambda input: relu(input, True))
_in_place("selu", lambda input: selu(input, True))
_in_place("elu", lambda input, alpha=1.0: elu(input, alpha, True))
_in_place("celu", lambda input, alpha=1.0: celu(input, alpha, True))
_in_place(
    "hardtanh",
    lambda input, min_val=-1.0, max_val=1.0: hardtanh(input, min_val, max_val, True),
)
_in_place(
    "leaky_relu",
    lambda input, negative_slope=0.01: leaky_relu(input, negative_slope, True),
)
_threshold = threshold  # an argument of the next has its name
_in_place(
    "threshold",
    lambda input, threshold, value: _threshold(input, threshold, value, True),
)
_in_place(
    "rrelu",
    lambda input, lower=1 / 8, upper=1 / 3, training=False: rrelu(
        input, lower, upper, training, True
    ),
)
