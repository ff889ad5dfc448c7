"""Exponentials, logarithms, hyperbolic and trigonometric functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import m
from .declare import elementwise

_LN2, _LN10 = math.log(2.0), math.log(10.0)

exp = elementwise(
    "exp", lambda x: m.exp(x), vjp=lambda g, x, out: g * out,
    reference=np.exp, rule="float", doc="e to the power of input.",
)  # fmt: skip
exp2 = elementwise(
    "exp2", lambda x: m.exp2(x), vjp=lambda g, x, out: g * (out * _LN2),
    reference=np.exp2, rule="float", doc="2 to the power of input.",
)  # fmt: skip
expm1 = elementwise(
    "expm1", lambda x: m.expm1(x), vjp=lambda g, x, out: g * (out + 1),
    reference=np.expm1, rule="float", doc="exp(input) - 1, exact near 0.",
)  # fmt: skip
log = elementwise(
    "log", lambda x: m.log(x), vjp=lambda g, x, out: g / x,
    reference=np.log, rule="float", domain=(0.1, 5.0), doc="The natural logarithm.",
)  # fmt: skip
log2 = elementwise(
    "log2", lambda x: m.log2(x), vjp=lambda g, x, out: g / (x * _LN2),
    reference=np.log2, rule="float", domain=(0.1, 5.0), doc="The logarithm to base 2.",
)  # fmt: skip
log10 = elementwise(
    "log10", lambda x: m.log10(x), vjp=lambda g, x, out: g / (x * _LN10),
    reference=np.log10, rule="float", domain=(0.1, 5.0),
    doc="The logarithm to base 10.",
)  # fmt: skip
log1p = elementwise(
    "log1p", lambda x: m.log1p(x), vjp=lambda g, x, out: g / (x + 1),
    reference=np.log1p, rule="float", domain=(-0.7, 4.0),
    doc="log(1 + input), exact near 0.",
)  # fmt: skip
tanh = elementwise(
    "tanh", lambda x: m.tanh(x), vjp=lambda g, x, out: g * (1 - out * out),
    reference=np.tanh, rule="float", doc="The hyperbolic tangent.",
)  # fmt: skip
sigmoid = elementwise(
    "sigmoid", lambda x: m.sigmoid(x), vjp=lambda g, x, out: g * ((1 - out) * out),
    reference=lambda x: 1 / (1 + np.exp(-x)), rule="float",
    doc="1 / (1 + exp(-input)).",
)  # fmt: skip
sinh = elementwise(
    "sinh", lambda x: m.sinh(x), vjp=lambda g, x, out: g * m.cosh(x),
    reference=np.sinh, rule="float", doc="The hyperbolic sine.",
)  # fmt: skip
cosh = elementwise(
    "cosh", lambda x: m.cosh(x), vjp=lambda g, x, out: g * m.sinh(x),
    reference=np.cosh, rule="float", doc="The hyperbolic cosine.",
)  # fmt: skip
sin = elementwise(
    "sin", lambda x: m.sin(x), vjp=lambda g, x, out: g * m.cos(x),
    reference=np.sin, rule="float", doc="The sine of an angle in radians.",
)  # fmt: skip
cos = elementwise(
    "cos", lambda x: m.cos(x), vjp=lambda g, x, out: -g * m.sin(x),
    reference=np.cos, rule="float", doc="The cosine of an angle in radians.",
)  # fmt: skip
tan = elementwise(
    "tan", lambda x: m.tan(x), vjp=lambda g, x, out: g * (1 + out * out),
    reference=np.tan, rule="float", domain=(-1.2, 1.2),
    doc="The tangent of an angle in radians.",
)  # fmt: skip
asin = elementwise(
    "asin", lambda x: m.asin(x), vjp=lambda g, x, out: g / m.sqrt(1 - x * x),
    reference=np.arcsin, rule="float", domain=(-0.9, 0.9), aliases=("arcsin",),
    doc="The angle, in radians, whose sine is input.",
)  # fmt: skip
acos = elementwise(
    "acos", lambda x: m.acos(x), vjp=lambda g, x, out: -g / m.sqrt(1 - x * x),
    reference=np.arccos, rule="float", domain=(-0.9, 0.9), aliases=("arccos",),
    doc="The angle, in radians, whose cosine is input.",
)  # fmt: skip
atan = elementwise(
    "atan", lambda x: m.atan(x), vjp=lambda g, x, out: g / (1 + x * x),
    reference=np.arctan, rule="float", aliases=("arctan",),
    doc="The angle, in radians, whose tangent is input.",
)  # fmt: skip
atan2 = elementwise(
    "atan2", lambda x, y: m.atan2(x, y),
    vjp=(
        lambda g, x, y, out: g * _over_square(y, x, y),
        lambda g, x, y, out: -g * _over_square(x, x, y),
    ),
    reference=np.arctan2, rule="float", domain=(0.3, 3.0), aliases=("arctan2",),
    doc="The angle, in radians, of the point (other, input).",
)  # fmt: skip
asinh = elementwise(
    "asinh", lambda x: m.asinh(x), vjp=lambda g, x, out: g / m.sqrt(x * x + 1),
    reference=np.arcsinh, rule="float", aliases=("arcsinh",),
    doc="The inverse of sinh.",
)  # fmt: skip
acosh = elementwise(
    "acosh", lambda x: m.acosh(x), vjp=lambda g, x, out: g / m.sqrt(x * x - 1),
    reference=np.arccosh, rule="float", domain=(1.2, 4.0), aliases=("arccosh",),
    doc="The inverse of cosh.",
)  # fmt: skip
atanh = elementwise(
    "atanh", lambda x: m.atanh(x), vjp=lambda g, x, out: g / (1 - x * x),
    reference=np.arctanh, rule="float", domain=(-0.8, 0.8), aliases=("arctanh",),
    doc="The inverse of tanh.",
)  # fmt: skip
_TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)
erf = elementwise(
    "erf", lambda x: m.erf(x),
    vjp=lambda g, x, out: g * (_TWO_OVER_ROOT_PI * m.exp(-x * x)),
    reference=np.vectorize(math.erf, otypes=[float]), rule="float",
    doc="The error function: 2 / sqrt(pi) times the integral of exp(-t**2) to input.",
)  # fmt: skip
erfc = elementwise(
    "erfc", lambda x: m.erfc(x),
    vjp=lambda g, x, out: -g * (_TWO_OVER_ROOT_PI * m.exp(-x * x)),
    reference=np.vectorize(math.erfc, otypes=[float]), rule="float",
    doc="1 - erf(input), exact where erf is near 1.",
)  # fmt: skip
logaddexp = elementwise(
    "logaddexp",
    lambda x, y: _logaddexp(x, y),
    vjp=(
        lambda g, x, y, out: g / (1 + m.exp(y - x)),
        lambda g, x, y, out: g / (1 + m.exp(x - y)),
    ),
    reference=np.logaddexp, rule="float", in_place=False,
    doc="log(exp(input) + exp(other)) without overflow.",
)  # fmt: skip


def _over_square(a: Any, x: Any, y: Any) -> Any:
    """a / (x**2 + y**2), and 0 at the origin, as PyTorch has it."""
    square = x * x + y * y
    origin = square == 0
    return m.where(origin, a * 0, a / m.where(origin, square + 1, square))


def _logaddexp(x: Any, y: Any) -> Any:
    large = m.maximum(x, y)
    # equal infinities have no difference
    gap = m.where(x == y, x * 0, m.abs(x - y))
    gap = m.where(x == y, m.where(gap == gap, gap, 0.0), gap)
    return large + m.log1p(m.exp(-gap))
