"""exp and the functions that are little more than an exp.

Method: x = n ln 2 + r with |r| <= ln 2 / 2 (Cody and Waite, Software Manual for the
Elementary Functions, 1980), a minimax polynomial for exp(r), a scaling by 2**n in
the exponent field. Coefficients are minimax in the relative error of the function
(Remez exchange); each table states its interval and error.
"""

from __future__ import annotations

from ..expr import Expr, apply, const, where
from ._parts import (
    FORMATS,
    LN2,
    LOG2_E,
    clamp,
    fabs,
    fma,
    ordered_sum,
    polynomial,
    power_of_two,
    round_shifted,
    scale,
)

# (exp(r) - 1 - r) / r**2 on |r| <= ln(2)/2; error of exp 2**-28.3 and 2**-57.9
_EXP = {
    "float32": (0.49999994, 0.16666521, 0.04166839, 0.008368717, 0.00138146),
    "float64": (
        0.5000000000000011,
        0.16666666666666413,
        0.041666666666530155,
        0.008333333333494466,
        0.0013888888943630487,
        0.00019841269506569307,
        2.48014930985778e-05,
        2.7557586382339294e-06,
        2.7630248481096424e-07,
        2.500005885531953e-08,
    ),
}
# beyond these exp(x) has rounded to zero or infinity
_EXP_RANGE = {"float32": (-104.0, 89.0), "float64": (-746.0, 710.0)}

# (tanh(x) - x) / x**3 in x**2 on |x| <= 0.625; error of tanh 2**-27.8 and 2**-61.2
_TANH = {
    "float32": (-0.3333328, 0.13331442, -0.053739715, 0.020639086, -0.005704987),
    "float64": (
        -0.33333333333333315,
        0.13333333333329742,
        -0.053968253966058956,
        0.02186948846871644,
        -0.008863234312589967,
        0.0035921139999533936,
        -0.0014557259484148312,
        0.000589451800007331,
        -0.00023701173230345558,
        9.155841449536016e-05,
        -3.0187222402270463e-05,
        6.04246885438209e-06,
    ),
}
# where tanh has rounded to 1
_TANH_ONE = {"float32": 10.0, "float64": 20.0}
# expm1 rounds to -1 below
_EXPM1_RANGE = {"float32": (-18.0, 89.0), "float64": (-38.0, 710.0)}
# below these expm1(x) rounds to x
_LINEAR = {"float32": 2.0**-26, "float64": 2.0**-55}


def reduce_ln2(x: Expr) -> tuple[Expr, Expr, Expr, Expr]:
    """n, n shifted, and r and its rounding error t with x = n ln 2 + r + t."""
    form = FORMATS[x.dtype]
    n, shifted = round_shifted(x, LOG2_E)
    high = fma(n, const(-form.ln2_high, x.dtype), x)
    low = n * form.ln2_low
    r = high - low
    return n, shifted, r, (high - r) - low


def exp_remainder(r: Expr, tail: Expr) -> Expr:
    """exp(r + tail) - 1 - r for |r| <= ln(2)/2 and a tail below r's last place."""
    return fma(r * r, polynomial(r, _EXP[r.dtype]), tail)


def exp_reduced(r: Expr, tail: Expr) -> Expr:
    """exp(r + tail) for |r| <= ln(2)/2."""
    return r + exp_remainder(r, tail) + 1.0


def exp_reduced_closely(r: Expr, tail: Expr) -> Expr:
    """exp(r + tail), barely more than its last rounding away."""
    first, rest = ordered_sum(const(1.0, r.dtype), r)
    return first + (rest + exp_remainder(r, tail))


def exp(x: Expr) -> Expr:
    x = clamp(x, *_EXP_RANGE[x.dtype])
    n, _, r, tail = reduce_ln2(x)
    return scale(exp_reduced(r, tail), n)


def exp2(x: Expr) -> Expr:
    dtype = x.dtype
    low, high = _EXP_RANGE[dtype]
    x = clamp(x, low * LOG2_E, high * LOG2_E)
    n = apply("rint", x)
    r = x - n
    return scale(exp_reduced(r * LN2[dtype][0], r * LN2[dtype][1]), n)


def expm1(x: Expr) -> Expr:
    low, high = _EXPM1_RANGE[x.dtype]
    n, _, r, tail = reduce_ln2(clamp(x, low, high))
    # half of 2**n: 2**128 and 2**1024 have no bit pattern
    _, shifted = round_shifted(n - 1.0, 1.0)
    half = power_of_two(shifted)
    result = 2.0 * fma(half, r + exp_remainder(r, tail), half - 0.5)
    # also keeps the sign of zero, and the last bit of subnormal x
    return where(fabs(x) < _LINEAR[x.dtype], x, result)


def tanh(x: Expr) -> Expr:
    size = fabs(x)
    square = x * x
    near = fma(size * square, polynomial(square, _TANH[x.dtype]), size)
    bound = _TANH_ONE[x.dtype]
    _, shifted, r, tail = reduce_ln2(2.0 * where(size > bound, bound, size))
    e = exp_reduced(r, tail) * power_of_two(shifted)
    far = 1.0 - 2.0 / (e + 1.0)
    return apply("copysign", where(size < 0.625, near, far), x)


def sigmoid(x: Expr) -> Expr:
    # exp(-|x|) cannot overflow, and keeps the tiny results that 1/(1+exp(-x)) loses
    e = exp(-fabs(x))
    d = e + 1.0
    result = where(x < 0.0, e, 1.0) / d
    # what the rounding of d cost: e - (d - 1) is exact; 1.457 - d/2 is 1/d within 5 %
    lost = (e - (d - 1.0)) * fma(d, const(-0.5, x.dtype), const(1.457, x.dtype))
    return fma(result, -lost, result)
