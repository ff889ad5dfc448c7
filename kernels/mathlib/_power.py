"""pow, with every special case of C.

float32 computes exp(y log x) in float64, whose 29 spare bits cover the growth of the
error by y log x < 2**7. float64 has no wider format to turn to: log x is a sum of
two numbers, about 68 bits (double-double arithmetic: Dekker 1971; Muller et al.,
Handbook of Floating-Point Arithmetic), and so is its product with y.
"""

from __future__ import annotations

import math

from ..expr import Expr, apply, bits, cast, const, where
from ._exponential import exp_reduced, exp_reduced_closely, reduce_ln2
from ._logarithm import log_reduced, split
from ._parts import (
    FORMATS,
    LOG2_E,
    clamp,
    fabs,
    fma,
    ordered_sum,
    polynomial,
    power_of_two,
    product,
    round_shifted,
    scale,
)

# ((2 atanh(s) - 2 s) / s**3 - 2/3) / s**2 in s**2 on |s| <= 0.1716; error of atanh
# 2**-73.5
_ATANH_TAIL = (
    0.3999999999999998,
    0.285714285714451,
    0.22222222217539347,
    0.18181818869960242,
    0.1538455689520496,
    0.13336316486829772,
    0.1167483744703835,
    0.11988855284529161,
)
_TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)
# a power this large or small overflows or is zero for every |x| but 1
_LARGEST_Y = 2.0**65


def log_pair(x: Expr) -> tuple[Expr, Expr]:
    """log x of a positive finite float64, as a sum of two."""
    n, m = split(x)
    # s = f / d = (m - 1) / (m + 1), with the rounding of d and of the quotient
    f = m - 1.0
    d = m + 1.0
    inverse = 1.0 / d
    s = f * inverse
    s_low = (apply("fma_exact", -s, d, f) - s * (m - (d - 1.0))) * inverse
    # log m = 2 s + s**3 (2/3 + s**2 q(s**2))
    z, z_low = product(s, s)
    z_low = fma(s * 2.0, s_low, z_low)
    two_thirds, rest = (const(c, x.dtype) for c in _TWO_THIRDS)
    w, w_low = ordered_sum(two_thirds, z * polynomial(z, _ATANH_TAIL))
    w_low = w_low + rest
    cube, cube_low = product(s, z)
    cube_low = cube_low + fma(s, z_low, s_low * z)
    v, v_low = product(cube, w)
    v_low = v_low + fma(cube, w_low, cube_low * w)
    form = FORMATS[x.dtype]
    high, low = ordered_sum(n * form.ln2_high, s * 2.0)
    high, low_v = ordered_sum(high, v)
    low = low + (low_v + (fma(s_low, const(2.0, x.dtype), v_low) + n * form.ln2_low))
    return ordered_sum(high, low)


def exp_pair(high: Expr, low: Expr) -> Expr:
    """exp(high + low), hardly more than one rounding away for normal results."""
    form = FORMATS[high.dtype]
    n, _ = round_shifted(high, LOG2_E)
    r = fma(n, const(-form.ln2_high, high.dtype), high)
    r, tail = ordered_sum(r, low - n * form.ln2_low)
    result = scale(exp_reduced_closely(r, tail), n)
    result = where(high > 710.0, math.inf, result)
    return where(high < -746.0, 0.0, result)


def pow_positive(x: Expr, y: Expr) -> Expr:
    """x**y for positive finite x and finite y."""
    if x.dtype == "float32":
        n, m = split(cast(x, "float64"))
        exponent = cast(y, "float64") * log_reduced(n, m - 1.0)
        # wide enough for float32, so that 2**n is normal in float64
        n, shifted, r, tail = reduce_ln2(clamp(exponent, -200.0, 200.0))
        return cast(exp_reduced(r, tail) * power_of_two(shifted), "float32")
    high, low = log_pair(x)
    product_high, product_low = product(y, high)
    return exp_pair(product_high, fma(y, low, product_low))


def pow(x: Expr, y: Expr) -> Expr:
    dtype = x.dtype
    size = fabs(x)
    result = pow_positive(size, clamp(y, -_LARGEST_Y, _LARGEST_Y))
    zero = size == 0.0
    infinite = size == math.inf
    limit = where((y > 0.0) ^ zero, math.inf, const(0.0, dtype))
    result = where(zero | infinite, limit, result)
    negative = bits(x) < 0
    integral = apply("rint", y) == y
    half = y * 0.5
    odd = integral & (apply("rint", half) != half)
    result = where(negative & odd, -result, result)
    undefined = (x < 0.0) & (size < math.inf) & (integral ^ True)
    undefined = undefined | (x != x) | (y != y)
    result = where(undefined, math.nan, result)
    return where((x == 1.0) | (y == 0.0), 1.0, result)
