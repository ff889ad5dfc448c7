"""Pieces that the elementary functions share: polynomials, powers of two, ln 2.

Nothing here is a public function of `mathlib`; everything returns primitives of
`expr` and is straight-line: no piece may need a branch or a call.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ..expr import Expr, apply, bits, const, from_bits, where


@dataclass(frozen=True)
class Format:
    """What the bit tricks need to know of a binary floating-point format."""

    integer: str
    fraction_bits: int
    bias: int
    #: 1.5 * 2**fraction_bits: a number n added to it lands in the lowest bits
    magic: float
    #: ln 2 in two parts; `ln2_high * n` is exact for every exponent n
    ln2_high: float
    ln2_low: float


FORMATS = {
    "float32": Format(
        "int32", 23, 127, 12582912.0, 0.693145751953125, 1.4286068203094172e-06
    ),
    "float64": Format(
        "int64",
        52,
        1023,
        6755399441055744.0,
        0.6931471803691238,
        1.9082149292705877e-10,
    ),
}

LOG2_E = 1.4426950408889634
#: ln 2 rounded to the format, and what the rounding lost
LN2 = {
    "float32": (0.6931471824645996, -1.904654299957768e-09),
    "float64": (0.6931471805599453, 2.3190468138462996e-17),
}


def bit_pattern(value: float, dtype: str) -> int:
    """The bits of a Python number in `dtype`, as a signed integer."""
    floating, integer = ("<f", "<i") if dtype == "float32" else ("<d", "<q")
    return struct.unpack(integer, struct.pack(floating, value))[0]


def fma(x, y, z) -> Expr:
    return apply("fma", x, y, z)


def fabs(x: Expr) -> Expr:
    return apply("fabs", x)


def polynomial(x: Expr, coefficients: Sequence[float]) -> Expr:
    """coefficients[0] + coefficients[1] x + ..., by Horner's rule."""
    result: Expr | float = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        result = fma(result, x, const(c, x.dtype))
    assert isinstance(result, Expr)
    return result


def round_shifted(x: Expr, scale: float) -> tuple[Expr, Expr]:
    """x * scale rounded to an integer n, and n shifted into the lowest bits.

    Adding 1.5 * 2**fraction_bits leaves the integer in the lowest bits of the sum
    (Muller et al., Handbook of Floating-Point Arithmetic, on rounding by a "magic"
    constant). Unlike a conversion to int it is defined for NaN, and one addition.
    """
    magic = const(FORMATS[x.dtype].magic, x.dtype)
    shifted = fma(x, const(scale, x.dtype), magic)
    return shifted - magic, shifted


def power_of_two(shifted: Expr) -> Expr:
    """2**n where `shifted` is what `round_shifted` returned for n; n is normal."""
    form = FORMATS[shifted.dtype]
    one = const(bit_pattern(1.0, shifted.dtype), form.integer)
    width = const(form.fraction_bits, form.integer)
    return from_bits((bits(shifted) << width) + one)


def scale(p: Expr, n: Expr) -> Expr:
    """p * 2**n for p near 1 and integral n, into the subnormal range and infinity.

    Two factors, since 2**n alone overflows or is subnormal before the product is.
    """
    _, half = round_shifted(n, 0.5)
    magic = const(FORMATS[n.dtype].magic, n.dtype)
    rest = n - (half - magic) + magic
    return p * power_of_two(half) * power_of_two(rest)


def clamp(x: Expr, low: float, high: float) -> Expr:
    """x within [low, high]; NaN stays NaN."""
    x = where(x > high, high, x)
    return where(x < low, low, x)


def product(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """a * b and its rounding error.

    By `fma_exact`, never `fma`: that one may be a multiplication and an addition on
    CPUs that lack the instruction, and would silently return zero here.
    """
    high = a * b
    return high, apply("fma_exact", a, b, -high)


def ordered_sum(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """a + b and its rounding error, for |a| >= |b| or a = 0."""
    high = a + b
    return high, b - (high - a)


def two_sum(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """a + b and its rounding error, whichever is larger."""
    high = a + b
    part = high - a
    return high, (a - (high - part)) + (b - part)
