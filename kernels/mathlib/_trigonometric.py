"""sin, cos, tan and their inverses.

sin, cos and tan reduce every finite argument without loss, after Payne and Hanek
(1983) but in floating point: 1 / (2 pi) is cut into pieces, so short that whole turns
can be dropped from the product of x with each piece at once. In float32 six products
in float64 do for all exponents; the pieces that do not matter for an x contribute
whole turns or nothing. In float64 it would take dozens, so four pieces are looked up
by exponent (`turns`); on AVX2 and AVX-512 that is a gather.

The inverses reduce by atan(x) = pi/4 + atan((x - 1) / (x + 1)) and
asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2)) (Cody and Waite, 1980).
"""

from __future__ import annotations

import math

from ..expr import Expr, apply, bits, cast, const, from_bits, where
from ._parts import fabs, fma, ordered_sum, polynomial, product, round_shifted, two_sum

# (sin(y) - y) / y**3 and (cos(y) - 1 + y**2/2) / y**4 in y**2 on |y| <= pi/4; errors
# 2**-28.1 and 2**-33.3 in float32, 2**-58.0 and 2**-64.2 in float64
_SIN = {
    "float32": (-0.16666655, 0.008332178, -0.00019517235),
    "float64": (
        -0.16666666666666632,
        0.008333333333322413,
        -0.00019841269829807802,
        2.7557313691921586e-06,
        -2.5050758116433483e-08,
        1.589679574606597e-10,
    ),
}
_COS = {
    "float32": (0.041666646, -0.0013887367, 2.443838e-05),
    "float64": (
        0.0416666666666666,
        -0.0013888888888874125,
        2.4801587289482174e-05,
        -2.7557314352326153e-07,
        2.087572327191252e-09,
        -1.135964771834168e-11,
    ),
}
# 1 / (2 pi): pieces of 29 bits, and the rest rounded to float64
_TURN = (
    0.15915494225919247,
    8.327028684640414e-10,
    5.69002511952534e-19,
    6.317065083361892e-27,
    5.595982707708916e-36,
    6.551007954373285e-45,
)
_TWO_PI = (6.283185307179586, 2.4492935982947064e-16)
# below these sin(x) and tan(x) round to x
_LINEAR = {"float32": 2.0**-13, "float64": 2.0**-27}

# (asin(y) - y) / y**3 in y**2 on |y| <= 1/2; error 2**-27.6 and 2**-59.8
_ASIN = {
    "float32": (0.16666754, 0.074952416, 0.045477092, 0.024147626, 0.04221853),
    "float64": (
        0.16666666666666763,
        0.0749999999997026,
        0.04464285717512233,
        0.03038194268355988,
        0.02237221566155731,
        0.017351600074399492,
        0.013980961612120852,
        0.011397774988633534,
        0.010786533223794437,
        0.0036830306560392666,
        0.021763517670534038,
        -0.02107730747462438,
        0.032676893301567846,
    ),
}
# (atan(y) - y) / y**3 in y**2 on |y| <= tan(pi/8); error 2**-30.5 and 2**-59.5
_ATAN = {
    "float32": (-0.33333316, 0.1999849, -0.14243838, 0.10595917, -0.06083227),
    "float64": (
        -0.333333333333332,
        0.19999999999954043,
        -0.14285714280244202,
        0.11111110785910726,
        -0.09090897829630505,
        0.07692061511318793,
        -0.06663118907843095,
        0.05847997869970584,
        -0.05039794465782895,
        0.03807699394009321,
        -0.017920795158454725,
    ),
}
_TAN_PI_8 = math.sqrt(2.0) - 1.0
# pi / 2 rounded to the format, and what the rounding lost
_HALF_PI = {
    "float32": (1.5707963705062866, -4.3711390001862426e-08),
    "float64": (1.5707963267948966, 6.123233995736766e-17),
}
# where the sum of two numbers may overflow
_LARGE = {"float32": 2.0**100, "float64": 2.0**1000}


def reduce_float32(x: Expr) -> tuple[Expr, Expr, Expr]:
    """q, y and its rounding error, with x = q pi/2 + y and |y| <= pi/4."""
    wide = cast(x, "float64")
    pieces = [wide * c for c in _TURN]
    pieces = [u - apply("rint", u) for u in pieces[:-1]] + [pieces[-1]]
    turns = pieces[0]
    for piece in pieces[1:]:
        turns = turns + piece
    q, _ = round_shifted(turns, 4.0)
    # once more, less the quadrants from the start: now no sum rounds before it is small
    turns = pieces[0] - q * 0.25
    for piece in pieces[1:]:
        turns = turns + piece
    angle = turns * _TWO_PI[0]
    y = cast(angle, "float32")
    tail = cast(angle - cast(y, "float64"), "float32")
    return cast(q, "float32"), y, tail


def reduce_float64(x: Expr) -> tuple[Expr, Expr, Expr]:
    """q, y and its rounding error, with x = q pi/2 + y and |y| <= pi/4."""
    # x = m 2**(16 row); everything below 2 is in row 0
    exponent = apply("shift_right_logical", bits(x) << 1, const(53, "int64")) - 1023
    exponent = where(exponent < 0, 0, exponent)
    exponent = where(exponent > 1023, 1023, exponent)
    row = exponent >> 4  # turns.STEP exponents share a row
    m = x * from_bits((1023 - (row << 4)) << 52)
    c = [apply("turn_piece", (row << 2) + k, dtype="float64") for k in range(4)]
    whole = apply("rint", m * c[0])
    first = apply("fma_exact", m, c[0], -whole)  # below 2**14, exactly
    high, low = product(m, c[1])
    low_2, low_3 = product(m, c[2])
    first = first - apply("rint", first)
    high = high - apply("rint", high)
    q, _ = round_shifted(first + high, 4.0)
    turns, rest = two_sum(first - q * 0.25, high)
    low, lost = two_sum(low, low_2)
    turns, rest = two_sum(turns, rest + low)
    rest = rest + (lost + (low_3 + m * c[3]))
    turns, rest = ordered_sum(turns, rest)
    y, tail = product(turns, const(_TWO_PI[0], "float64"))
    return q, y, tail + (turns * _TWO_PI[1] + rest * _TWO_PI[0])


def sin_and_cos(x: Expr) -> tuple[Expr, Expr, Expr]:
    """sin y, cos y and the bits of q, with x = q pi/2 + y and |y| <= pi/4."""
    q, y, tail = reduce_float32(x) if x.dtype == "float32" else reduce_float64(x)
    _, shifted = round_shifted(q, 1.0)
    z = y * y
    sine = y + fma(y * z, polynomial(z, _SIN[x.dtype]), tail)
    half = z * 0.5
    w = 1.0 - half
    # what the rounding of w lost, plus the small terms
    small = (1.0 - w) - half - y * tail
    cosine = w + fma(z * z, polynomial(z, _COS[x.dtype]), small)
    return sine, cosine, bits(shifted)


def quadrant(sine: Expr, cosine: Expr, q: Expr) -> Expr:
    """sin(q pi/2 + y) of sin y and cos y."""
    result = where((q & 1) != 0, cosine, sine)
    sign_bit = 30 if result.dtype == "float32" else 62
    return from_bits(bits(result) ^ ((q & 2) << sign_bit))


def sin(x: Expr) -> Expr:
    return where(fabs(x) < _LINEAR[x.dtype], x, quadrant(*sin_and_cos(x)))


def cos(x: Expr) -> Expr:
    sine, cosine, q = sin_and_cos(x)
    return quadrant(sine, cosine, q + 1)


def tan(x: Expr) -> Expr:
    sine, cosine, q = sin_and_cos(x)
    odd = (q & 1) != 0
    result = where(odd, -cosine, sine) / where(odd, sine, cosine)
    return where(fabs(x) < _LINEAR[x.dtype], x, result)


def asin_parts(x: Expr) -> tuple[Expr, Expr, Expr]:
    """Whether |x| <= 1/2, and asin of |x| if so, else of sqrt((1 - |x|) / 2)."""
    size = fabs(x)
    small = size <= 0.5
    z = where(small, size * size, (1.0 - size) * 0.5)
    root = where(small, size, apply("sqrt", z))
    return small, root, root * z * polynomial(z, _ASIN[x.dtype])


def asin(x: Expr) -> Expr:
    small, root, rest = asin_parts(x)
    high, low = _HALF_PI[x.dtype]
    result = where(small, root + rest, high - (2.0 * (root + rest) - low))
    return apply("copysign", result, x)


def acos(x: Expr) -> Expr:
    small, root, rest = asin_parts(x)
    high, low = _HALF_PI[x.dtype]
    result = root + rest
    signed = apply("copysign", result, x)
    middle = high - (signed - low)
    double = 2.0 * result
    far = where(x < 0.0, 2.0 * high - (double - 2.0 * low), double)
    return where(small, middle, far)


def atan_ratio(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """atan(a / b) for 0 <= a <= b as a sum of two, the first one 0 or pi/4."""
    dtype = a.dtype
    large = a > b * _TAN_PI_8
    t = where(large, a - b, a) / where(large, a + b, b)
    z = t * t
    high, low = _HALF_PI[dtype]
    rest = fma(
        t * z, polynomial(z, _ATAN[dtype]), where(large, low * 0.5, const(0, dtype))
    )
    return where(large, high * 0.5, const(0, dtype)), t + rest


def atan(x: Expr) -> Expr:
    one = const(1.0, x.dtype)
    return atan2_positive(fabs(x), one, x)


def atan2_positive(y: Expr, x: Expr, sign: Expr) -> Expr:
    """atan(y / x) with the sign of `sign`."""
    steep = y > x
    a = where(steep, x, y)
    b = where(steep, y, x)
    first, rest = atan_ratio(a, b)
    high, low = _HALF_PI[x.dtype]
    angle = where(steep, (high - first) - (rest - low), first + rest)
    return apply("copysign", angle, sign)


def atan2(y: Expr, x: Expr) -> Expr:
    dtype = x.dtype
    a, b = fabs(y), fabs(x)
    # inf / inf is to be the angle of 1 / 1, and 0 / 0 that of 0 / 1
    both = (a == math.inf) & (b == math.inf)
    a = where(both, 1.0, a)
    b = where(both | ((a == 0.0) & (b == 0.0)), 1.0, b)
    large = (a > _LARGE[dtype]) | (b > _LARGE[dtype])
    a = where(large, a * 0.25, a)
    b = where(large, b * 0.25, b)
    high, low = _HALF_PI[dtype]
    angle = atan2_positive(a, b, const(1.0, dtype))
    # the sign bit of x, so that -0 counts as negative
    turned = 2.0 * high - (angle - 2.0 * low)
    return apply("copysign", where(bits(x) < 0, turned, angle), y)
