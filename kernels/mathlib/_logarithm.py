"""log and its kin.

Method: x = 2**n m with m between sqrt(1/2) and sqrt(2), and a polynomial in
f = m - 1. In float64 the polynomial is in s = f / (2 + f), where the series of
log m = 2 atanh s converges fast (Tang 1990; Muller, Elementary Functions).
"""

from __future__ import annotations

import math

from ..expr import Expr, bits, const, from_bits, where
from ._parts import FORMATS, LOG2_E, bit_pattern, fabs, fma, polynomial, power_of_two

# (log(1+f) - f + f**2/2) / f**3, sqrt(1/2) <= 1+f <= sqrt(2); error of log 2**-30.3
_LOG_F = (
    0.33333313,
    -0.2500001,
    0.20002119,
    -0.16667996,
    0.14219552,
    -0.12405589,
    0.11888162,
    -0.1167565,
    0.06746639,
)
# (2 atanh(s) - 2 s) / s**3 in s**2 on |s| <= 0.1716; error of atanh 2**-59.5
_ATANH = (
    0.6666666666666734,
    0.3999999999941468,
    0.28571428742387217,
    0.2222219857322038,
    0.18183564324579507,
    0.15314050583410602,
    0.14795949462266392,
)
LOG10_E = 0.4342944819032518
# log10(2), the first part short enough that its product with an exponent is exact
_LOG10_2 = {
    "float32": (0.301025390625, 4.605038981195214e-06),
    "float64": (0.3010299955494702, 1.1451100898021838e-10),
}
# below these log1p(x) rounds to x
_LINEAR = {"float32": 2.0**-26, "float64": 2.0**-55}
_TINY = {"float32": 2.0**-126, "float64": 2.0**-1022}


def split(x: Expr) -> tuple[Expr, Expr]:
    """n and m of a positive finite x = 2**n m, sqrt(1/2) <= m < sqrt(2)."""
    dtype = x.dtype
    form = FORMATS[dtype]
    width = const(form.fraction_bits, form.integer)
    subnormal = x < _TINY[dtype]
    normal = where(subnormal, x * 2.0**form.fraction_bits, x)
    offset = where(subnormal, const(-form.fraction_bits, dtype), 0.0)
    root = bit_pattern(math.sqrt(0.5), dtype)
    # adding 1 - sqrt(1/2) makes the exponent field change at sqrt(2), not at 2
    moved = bits(normal) + (bit_pattern(1.0, dtype) - root)
    mantissa = const((1 << form.fraction_bits) - 1, form.integer)
    m = from_bits((moved & mantissa) + root)
    # the exponent field, as the lowest bits of a float: no conversion is needed
    magic = const(form.magic, dtype)
    field = from_bits((moved >> width) + bit_pattern(form.magic, dtype))
    n = field - magic
    return n + (offset - float(form.bias)), m


def with_special_values(x: Expr, result: Expr) -> Expr:
    """`result` where x is positive and finite, else what every log returns there."""
    outside = where(x == 0.0, -math.inf, const(math.nan, x.dtype))
    return where(x > 0.0, where(x < math.inf, result, x), outside)


def log_reduced(n: Expr, f: Expr) -> Expr:
    """log(2**n (1 + f)) for 1 + f between sqrt(1/2) and sqrt(2)."""
    form = FORMATS[f.dtype]
    high = const(form.ln2_high, f.dtype)
    low = n * form.ln2_low
    square = f * f
    if f.dtype == "float32":
        y = fma(square * f, polynomial(f, _LOG_F), low)
        return fma(n, high, fma(square, const(-0.5, f.dtype), y) + f)
    s = f / (f + 2.0)
    z = s * s
    half = square * 0.5
    # 2 s = f - f**2/2 + s f**2/2: the large part, f, stays exact
    y = fma(s, fma(z, polynomial(z, _ATANH), half), low)
    return fma(n, high, f - (half - y))


def log(x: Expr) -> Expr:
    n, m = split(x)
    return with_special_values(x, log_reduced(n, m - 1.0))


def log1p(x: Expr) -> Expr:
    dtype = x.dtype
    n, m = split(x + 1.0)
    # f = (1 + x) / 2**n - 1 from x itself, as x + 1.0 has lost bits of x;
    # 4 / 2**n, because 1 / 2**n is subnormal for the largest x
    factor = power_of_two(FORMATS[dtype].magic + 2.0 - n)
    f = fma(x * 0.25, factor, factor * 0.25 - 1.0)
    result = with_special_values(x + 1.0, log_reduced(n, f))
    return where(fabs(x) < _LINEAR[dtype], x, result)


def log2(x: Expr) -> Expr:
    n, m = split(x)
    fraction = log_reduced(const(0.0, x.dtype), m - 1.0)
    return with_special_values(x, fma(fraction, const(LOG2_E, x.dtype), n))


def log10(x: Expr) -> Expr:
    n, m = split(x)
    high, low = _LOG10_2[x.dtype]
    fraction = log_reduced(const(0.0, x.dtype), m - 1.0)
    y = fma(fraction, const(LOG10_E, x.dtype), n * low)
    return with_special_values(x, fma(n, const(high, x.dtype), y))
