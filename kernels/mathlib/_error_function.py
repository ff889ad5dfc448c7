"""erf and erfc.

Near zero erf is x times a polynomial in x**2. Elsewhere
erfc(x) = exp(-x**2) p(t) / (1 + 2 x) with t = (x - K) / (x + K), which makes one
polynomial do for all x >= 0 (Shepherd and Laframboise, Mathematics of Computation
36, 1981); the rounding error of x**2 is carried into the exponential.
"""

from __future__ import annotations

from ..expr import Expr, apply, const, where
from ._exponential import exp_reduced_closely, reduce_ln2
from ._parts import clamp, fabs, fma, ordered_sum, polynomial, product, scale, two_sum

# erf(x) / x - 1 in x**2 on |x| <= 0.75; error 2**-29.4 and 2**-60.1
_ERF = {
    "float32": (
        0.12837917,
        -0.3761262,
        0.11283393,
        -0.026835434,
        0.0051159817,
        -0.0006761097,
    ),
    "float64": (
        0.1283791670955126,
        -0.37612638903183715,
        0.11283791670952632,
        -0.02686617064443676,
        0.005223977615516132,
        -0.0008548326195102072,
        0.0001205528982371522,
        -1.4924202709624407e-05,
        1.6430780926834035e-06,
        -1.59408760497421e-07,
        1.147537621538641e-08,
    ),
}
# (1 + 2 x) exp(x**2) erfc(x) in t on 0 <= x <= 10.3 and 27.3; error 2**-25.8 and
# 2**-56.1
_ERFC = {
    "float32": (
        1.2769784,
        -0.09276398,
        -0.16603146,
        0.1640554,
        -0.054203767,
        -0.008060051,
        0.0086293835,
        0.0013128197,
        -0.0012269506,
        -0.00039858083,
    ),
    "float64": (
        1.2329951186255526,
        -0.13962111684056283,
        0.015379652102620274,
        0.0680970542547322,
        -0.10103906603633002,
        0.09373283499695505,
        -0.06633036581191294,
        0.03716751556016064,
        -0.0161977340560206,
        0.005031969774447203,
        -0.0007577733534047214,
        -0.00019925559517573735,
        0.000150622258985725,
        -2.440291685466216e-05,
        -1.1224744494595604e-05,
        5.717451175876324e-06,
        3.011560020567146e-07,
        -8.347436053314298e-07,
        6.298921864844358e-08,
        1.1517194857364367e-07,
        -7.880569692544803e-09,
        -1.3662427552866536e-08,
        -1.7988532250175119e-09,
    ),
}
_K = {"float32": 2.0, "float64": 4.0}
# where erfc has rounded to zero
_ERFC_ZERO = {"float32": 10.3, "float64": 27.3}


def erfc_positive(x: Expr) -> Expr:
    """erfc(x) for x >= 0."""
    dtype = x.dtype
    x = clamp(x, 0.0, _ERFC_ZERO[dtype])
    k = _K[dtype]
    divisor, lost_divisor = two_sum(2.0 * x, const(1.0, dtype))
    p = polynomial((x - k) / (x + k), _ERFC[dtype]) / divisor
    square, lost = product(x, x)
    n, _, r, tail = reduce_ln2(-square)
    # the divisor's rounding too: 0.88 p is 1 / divisor within 13 %
    lost = fma(lost_divisor * 0.88, p, lost)
    r, tail = ordered_sum(r, tail - lost)
    return scale(exp_reduced_closely(r, tail) * p, n)


def erf_near(size: Expr) -> Expr:
    """erf(x) for 0 <= x <= 0.75."""
    return fma(size, polynomial(size * size, _ERF[size.dtype]), size)


def erfc(x: Expr) -> Expr:
    size = fabs(x)
    tail = erfc_positive(size)
    near = 1.0 - apply("copysign", erf_near(size), x)
    # up to here erf is below 1/2, and 1 - erf loses nothing
    return where(size < 0.475, near, where(x < 0.0, 2.0 - tail, tail))


def erf(x: Expr) -> Expr:
    size = fabs(x)
    far = 1.0 - erfc_positive(size)
    return apply("copysign", where(size < 0.75, erf_near(size), far), x)
