"""Arithmetic: sums, products, quotients, remainders, powers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import fastcall
from ..devices import CPU
from ..dtypes import FLOAT
from ..elementwise import Elementwise
from ..errors import DTypeError, message
from ..tensor import Tensor
from ..tracing import Number
from . import m
from .declare import attach, elementwise
from .registry import function


def _scaled(plain: Any) -> Any:
    """Add PyTorch's `alpha` to add and sub."""

    def call(
        input: Any, other: Any, *, alpha: float = 1, out: Tensor | None = None
    ) -> Tensor:
        if alpha != 1:
            other = other * alpha
        return plain(input, other) if out is None else plain(input, other, out=out)

    return call


add = elementwise(
    "add", lambda x, y: x + y,
    vjp=(lambda g, x, y, out: g, lambda g, x, y, out: g),
    reference=np.add, symbol="add", wrap=_scaled,
    doc="input + alpha * other.",
)  # fmt: skip
sub = elementwise(
    "sub", lambda x, y: x - y,
    vjp=(lambda g, x, y, out: g, lambda g, x, y, out: -g),
    reference=np.subtract, rule="no bool", symbol="sub", wrap=_scaled,
    aliases=("subtract",), doc="input - alpha * other.",
)  # fmt: skip
mul = elementwise(
    "mul", lambda x, y: x * y,
    vjp=(lambda g, x, y, out: g * y, lambda g, x, y, out: g * x),
    reference=np.multiply, symbol="mul", aliases=("multiply",),
    doc="input * other.",
)  # fmt: skip
neg = elementwise(
    "neg", lambda x: -x, vjp=lambda g, x, out: -g,
    reference=np.negative, rule="number", aliases=("negative",), doc="-input.",
)  # fmt: skip
reciprocal = elementwise(
    "reciprocal", lambda x: 1 / x, vjp=lambda g, x, out: -g * out * out,
    reference=np.reciprocal, rule="float", domain=(0.3, 3.0), doc="1 / input.",
)  # fmt: skip
square = elementwise(
    "square", lambda x: x * x, vjp=lambda g, x, out: g * (2 * x),
    reference=np.square, rule="number", node_name="PowBackward0",
    doc="input * input.",
)  # fmt: skip
abs = elementwise(
    "abs", lambda x: m.abs(x), vjp=lambda g, x, out: g * m.sign(x),
    reference=np.abs, rule="number", kinks=(0.0,), aliases=("absolute",),
    doc="The absolute value.",
)  # fmt: skip
sign = elementwise(
    "sign", lambda x: m.sign(x), vjp=lambda g, x, out: g * 0,
    reference=lambda x: np.where(np.isnan(x), 0, np.sign(x)), kinks=(0.0,),
    doc="-1, 0 or 1; 0 for NaN.",
)  # fmt: skip


def _divide_by_zero(*args: Any) -> None:
    """Refuse integer division by zero, which hardware would answer with a signal."""
    x, y = args[0], args[1]
    for value in (x, y):
        if isinstance(value, (float, Number)) or (
            isinstance(value, Tensor) and value.dtype.category == FLOAT
        ):
            return
    for value in (x, y):
        if isinstance(value, Tensor) and value._spec.device is not CPU:
            # looking would stop a device: there, as in PyTorch, nothing is raised; and
            # while a function is traced there is nothing to look at
            return
    if isinstance(y, Tensor):
        zero = y.numel() > 0 and not bool(function("all")(y))
    else:
        zero = y == 0
    if zero:
        raise _ZeroDivision(
            message(
                "integer division",
                "a divisor with a zero",
                "divisors other than 0",
                "ZeroDivisionError. Use float tensors if you want inf.",
            )
        )


class _ZeroDivision(RuntimeError, ZeroDivisionError):
    """PyTorch raises RuntimeError here, Python ZeroDivisionError."""


def _floor_divide(x: Any, y: Any) -> Any:
    if not m.is_float(x):
        quotient = m.int_div(x, y)
        inexact = quotient * y != x
        return m.where(inexact & ((x < 0) != (y < 0)), quotient - 1, quotient)
    # from the exact remainder, since x / y may round up to a whole number
    rest = m.fmod(x, y)
    quotient = (x - rest) / y
    quotient = m.where((rest != 0) & ((y < 0) != (rest < 0)), quotient - 1, quotient)
    near = m.floor(quotient)
    near = m.where(quotient - near > 0.5, near + 1, near)
    near = m.where(quotient == 0, m.copysign(m.abs(x) * 0, x / y), near)
    return m.where(y == 0, x / y, near)


def _remainder(x: Any, y: Any) -> Any:
    """With the sign of the divisor, as Python's %."""
    if not m.is_float(x):
        rest = x - m.int_div(x, y) * y
        return m.where((rest != 0) & ((rest < 0) != (y < 0)), rest + y, rest)
    rest = m.fmod(x, y)
    return m.where((rest != 0) & ((y < 0) != (rest < 0)), rest + y, rest)


def _whole_times(x: Any, y: Any) -> Any:
    """How often y was taken off x: not floor(x / y), which may round up to it."""
    if isinstance(x, Tensor) or isinstance(y, Tensor):
        return function("floor_divide")(x, y)
    return _floor_divide(x, y)


def _fmod(x: Any, y: Any) -> Any:
    if not m.is_float(x):
        return x - m.int_div(x, y) * y
    return m.fmod(x, y)


floor_divide = elementwise(
    "floor_divide", _floor_divide, vjp=None, why="piecewise constant",
    reference=np.floor_divide, rule="number", domain=((-9.0, 9.0), (0.5, 4.0)),
    symbol="floordiv", check=_divide_by_zero,
    doc="input / other rounded down.",
)  # fmt: skip
_trunc_divide = Elementwise(
    "trunc_divide",
    lambda x, y: m.trunc(x / y) if m.is_float(x) else m.int_div(x, y),
    None, rule="number", why="piecewise constant", check=_divide_by_zero,
)  # fmt: skip
remainder = elementwise(
    "remainder", _remainder,
    vjp=(
        lambda g, x, y, out: g,
        lambda g, x, y, out: -g * _whole_times(x, y),
    ),
    reference=np.remainder, rule="number", domain=((-9.0, 9.0), (0.7, 4.0)),
    symbol="mod", check=_divide_by_zero,
    doc="input - other * floor(input / other): the sign is the divisor's.",
)  # fmt: skip
fmod = elementwise(
    "fmod", _fmod,
    vjp=(
        lambda g, x, y, out: g,
        lambda g, x, y, out: -g * m.trunc(x / y),
    ),
    reference=np.fmod, rule="number", domain=((-9.0, 9.0), (0.7, 4.0)),
    check=_divide_by_zero,
    doc="The remainder with the sign of the dividend, as C's fmod.",
)  # fmt: skip


def _rounded(plain: Any) -> Any:
    """Add PyTorch's `rounding_mode` to div."""

    def call(
        input: Any,
        other: Any,
        *,
        rounding_mode: str | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        if rounding_mode is None:
            if out is None:
                return plain(input, other)
            return plain(input, other, out=out)
        if rounding_mode == "floor":
            return floor_divide(input, other, out=out)
        if rounding_mode == "trunc":
            return _trunc_divide(input, other, out=out)
        raise DTypeError(
            message(
                "div",
                f"rounding_mode={rounding_mode!r}",
                "None, 'trunc' or 'floor'",
                "div expected rounding_mode to be one of None, 'trunc', or 'floor'.",
            )
        )

    return call


div = elementwise(
    "div", lambda x, y: x / y,
    vjp=(
        lambda g, x, y, out: g / y,
        lambda g, x, y, out: -g * (x / y) / y,
    ),
    reference=np.true_divide, rule="float", domain=((-3.0, 3.0), (0.3, 3.0)),
    symbol="truediv", wrap=_rounded, aliases=("divide", "true_divide"),
    doc="input / other; integers give floats. rounding_mode: None, 'trunc', 'floor'.",
)  # fmt: skip


def _power(x: Any, y: Any) -> Any:
    if m.is_float(x):
        return m.pow(x, y)
    # binary powers, all 63 bits of the exponent, wrapping as integers do
    result = x * 0 + 1
    base = x
    bits = {"int8": 7, "uint8": 8}.get(getattr(x, "dtype", ""), 63)
    for k in range(bits):
        result = m.where(((y >> k) & 1) != 0, result * base, result)
        base = base * base
    odd = (y & 1) != 0
    sign = m.where(odd, x, x * x)  # of 1 and -1, the only ones with inverses
    inverse = m.where((x == 1) | (x == -1), sign, x * 0)
    return m.where(y < 0, inverse, result)


def _no_negative_powers(x: Any, y: Any) -> None:
    """Refuse a negative number as the exponent of integers; a tensor of exponents is
    computed, and gives the 0 that rounding toward zero gives."""
    if type(y) is int and y < 0 and x.dtype.category != FLOAT:
        raise DTypeError(
            message(
                "pow",
                f"the exponent {y} for a tensor of {x.dtype}",
                "exponents of 0 and above",
                "Integers to negative integer powers are not allowed. Use x.float().",
            )
        )


def _fixed(forward: Any, vjp: Any) -> Elementwise:
    return Elementwise("pow", forward, (vjp,), node_name="PowBackward0")


#: exponents that need no logarithm
_POWERS = {
    2: _fixed(lambda x: x * x, lambda g, x, out: g * (2 * x)),
    3: _fixed(lambda x: x * x * x, lambda g, x, out: g * (3 * x * x)),
}
_FLOAT_POWERS = {
    0.5: _fixed(lambda x: m.sqrt(x), lambda g, x, out: g / (2 * out)),
    -0.5: _fixed(lambda x: 1 / m.sqrt(x), lambda g, x, out: -0.5 * g * out / x),
    -1: _fixed(lambda x: 1 / x, lambda g, x, out: -g * out * out),
    -2: _fixed(lambda x: 1 / (x * x), lambda g, x, out: -2 * g * out / x),
}
_POWER_CALLS = {k: fastcall.unary(op) for k, op in (_POWERS | _FLOAT_POWERS).items()}


def _special(plain: Any) -> Any:
    def call(input: Any, exponent: Any, *, out: Tensor | None = None) -> Tensor:
        kind = type(exponent)
        if out is None and (kind is int or kind is float) and isinstance(input, Tensor):
            known = _POWER_CALLS.get(exponent)
            if known is not None and input._spec.dtype.category >= (
                1 if kind is int and exponent > 0 else FLOAT
            ):
                return known(input)
        if out is None:
            return plain(input, exponent)
        return plain(input, exponent, out=out)

    return call


pow = elementwise(
    "pow", _power,
    vjp=(
        lambda g, x, y, out: m.where(y == 0, g * 0, g * y * m.pow(x, y - 1)),
        lambda g, x, y, out: m.where(
            (x == 0) & (y >= 0), g * 0, g * out * m.log(x)
        ),
    ),
    reference=np.power, domain=((0.2, 3.0), (-2.0, 2.0)), rule="number",
    check=_no_negative_powers, wrap=_special,
    doc="input to the power of exponent.",
)  # fmt: skip
attach("__pow__", pow)
attach("__rpow__", lambda self, other: pow(other, self))
attach("__ipow__", lambda self, other: self.pow_(other))
attach("__neg__", neg)
attach("__abs__", abs)
attach("__pos__", lambda self: self)

sqrt = elementwise(
    "sqrt", lambda x: m.sqrt(x), vjp=lambda g, x, out: g / (2 * out),
    reference=np.sqrt, rule="float", domain=(0.1, 4.0), doc="The square root.",
)  # fmt: skip
rsqrt = elementwise(
    "rsqrt", lambda x: 1 / m.sqrt(x), vjp=lambda g, x, out: -0.5 * g * out * out * out,
    reference=lambda x: 1 / np.sqrt(x), rule="float", domain=(0.2, 4.0),
    doc="1 / sqrt(input).",
)  # fmt: skip
hypot = elementwise(
    "hypot",
    lambda x, y: _hypot(x, y),
    vjp=(lambda g, x, y, out: g * (x / out), lambda g, x, y, out: g * (y / out)),
    reference=np.hypot, rule="float", domain=(0.2, 3.0),
    doc="sqrt(input**2 + other**2) without overflow.",
)  # fmt: skip


def _hypot(x: Any, y: Any) -> Any:
    a, b = m.abs(x), m.abs(y)
    large, small = m.fmax(a, b), m.fmin(a, b)
    ratio = m.where(large == small, large * 0 + 1, small / large)
    result = large * m.sqrt(1 + ratio * ratio)
    result = m.where(large == 0, large, result)
    infinite = (a == m.inf) | (b == m.inf)
    nan = (a != a) | (b != b)
    return m.where(infinite, m.inf, m.where(nan, a + b, result))


def _lerp(x: Any, y: Any, w: Any) -> Any:
    """From the nearer end, so that a weight of 1 gives the end itself."""
    gap = y - x
    return m.where(m.abs(w) < 0.5, x + w * gap, y - gap * (1 - w))


lerp = elementwise(
    "lerp", lambda x, y, w: _lerp(x, y, w),
    vjp=(
        lambda g, x, y, w, out: g * (1 - w),
        lambda g, x, y, w, out: g * w,
        lambda g, x, y, w, out: g * (y - x),
    ),
    reference=lambda x, y, w: np.where(
        np.abs(w) < 0.5, x + w * (y - x), y - (y - x) * (1 - w)
    ), dtypes="float",
    doc="start + weight * (end - start).",
)  # fmt: skip
addcmul = elementwise(
    "addcmul", lambda x, y, z, value: x + value * y * z,
    vjp=(
        lambda g, x, y, z, value, out: g,
        lambda g, x, y, z, value, out: g * (value * z),
        lambda g, x, y, z, value, out: g * (value * y),
        None,
    ),
    roles="ttts", reference=lambda x, y, z, v: x + v * y * z, rule="number",
    wrap=lambda plain: lambda input, tensor1, tensor2, *, value=1, out=None: plain(
        input, tensor1, tensor2, value, out=out
    ),
    in_place=False, doc="input + value * tensor1 * tensor2.",
)  # fmt: skip
addcdiv = elementwise(
    "addcdiv", lambda x, y, z, value: x + value * y / z,
    vjp=(
        lambda g, x, y, z, value, out: g,
        lambda g, x, y, z, value, out: g * (value / z),
        lambda g, x, y, z, value, out: -g * (value * y / z) / z,
        None,
    ),
    roles="ttts", reference=lambda x, y, z, v: x + v * y / z, rule="float",
    domain=((-3.0, 3.0), (-3.0, 3.0), (0.5, 3.0), (-2.0, 2.0)),
    wrap=lambda plain: lambda input, tensor1, tensor2, *, value=1, out=None: plain(
        input, tensor1, tensor2, value, out=out
    ),
    in_place=False, doc="input + value * tensor1 / tensor2.",
)  # fmt: skip
