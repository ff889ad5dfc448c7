"""sinh, cosh and the inverse hyperbolic functions, by exp, expm1 and log1p.

Each is the textbook identity in the form that does not cancel and does not overflow
before its result does.
"""

from __future__ import annotations

import math

from ..expr import Expr, apply, where
from ._exponential import exp_remainder, reduce_ln2
from ._logarithm import log1p
from ._parts import LN2, clamp, fabs, fma, power_of_two, round_shifted

# sinh and cosh have overflowed beyond
_LARGEST = {"float32": 89.5, "float64": 710.5}
# below these sinh(x) rounds to x
_LINEAR = {"float32": 2.0**-13, "float64": 2.0**-28}
# above these sqrt(x**2 + 1) rounds to x
_LARGE = {"float32": 2.0**13, "float64": 2.0**28}


def quarter_exp(size: Expr) -> tuple[Expr, Expr]:
    """2**n / 4 and exp(r) - 1 with exp(size) = 2**n exp(r)."""
    n, _, r, tail = reduce_ln2(clamp(size, 0.0, _LARGEST[size.dtype]))
    _, shifted = round_shifted(n - 2.0, 1.0)
    return power_of_two(shifted), r + exp_remainder(r, tail)


def sinh(x: Expr) -> Expr:
    size = fabs(x)
    quarter, p = quarter_exp(size)
    half = 2.0 * fma(quarter, p, quarter - 0.25)  # (exp(|x|) - 1) / 2
    ratio = half / (2.0 * half + 1.0)
    # inf / inf where half has overflowed
    result = half + where(half > 1e30, 0.5, ratio)
    result = where(size < _LINEAR[x.dtype], size, result)
    return apply("copysign", result, x)


def cosh(x: Expr) -> Expr:
    quarter, p = quarter_exp(fabs(x))
    half = 2.0 * fma(quarter, p, quarter)  # exp(|x|) / 2
    return half + 0.25 / half


def asinh(x: Expr) -> Expr:
    size = fabs(x)
    large = size > _LARGE[x.dtype]
    square = where(large, 0.0, size * size)
    middle = size + square / (apply("sqrt", square + 1.0) + 1.0)
    # log(2 |x|) = log1p(|x| - 1) + ln 2
    result = log1p(where(large, size - 1.0, middle))
    result = where(large, result + LN2[x.dtype][0], result)
    result = where(size < _LINEAR[x.dtype], size, result)
    return apply("copysign", result, x)


def acosh(x: Expr) -> Expr:
    large = x > _LARGE[x.dtype]
    above = x - 1.0
    root = apply("sqrt", where(large, 0.0, above * (above + 2.0)))
    result = log1p(above + root)
    result = where(large, result + LN2[x.dtype][0], result)
    return where(x < 1.0, math.nan, result)


def atanh(x: Expr) -> Expr:
    size = fabs(x)
    result = 0.5 * log1p(2.0 * size / (1.0 - size))
    return apply("copysign", result, x)
