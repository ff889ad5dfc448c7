"""Elementary functions: last-place error against mpmath, special values against NumPy.

The points are drawn where each function is hard: near its zeros, where its method
changes, at the ends of its range, over all bit patterns. Limits are in units in the
last place (ulp) of the exact result, subnormal results included.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import mpmath
import numpy as np
import pytest

import numtensor as nt
from numtensor.kernels import mathlib
from numtensor.kernels.expr import Printer, apply, var

DTYPES = ("float32", "float64")
INFINITY = math.inf


def mp_sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


class Case(NamedTuple):
    """How one function is tested: exact values, intervals to draw from, limits."""

    exact: object
    reference: object
    intervals: tuple[tuple[float, float], ...]
    domain: tuple[float, float] = (-INFINITY, INFINITY)
    limits: tuple[float, float] = (3.0, 3.0)  # float32, float64


def erf_of_each(f):
    return lambda xs: np.array([f(float(x)) for x in xs])


def sigmoid_of_each(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1.0 + e)


UNARY = {
    "exp": Case(mpmath.exp, np.exp, ((-110, 90), (-750, 710)), limits=(1.0, 1.0)),
    "exp2": Case(lambda x: mpmath.mpf(2) ** x, np.exp2, ((-155, 130), (-1080, 1025))),
    "expm1": Case(mpmath.expm1, np.expm1, ((-20, 90), (-40, 710), (-0.7, 0.7))),
    "log": Case(mpmath.log, np.log, ((0.5, 2), (0, 100)), (0, INFINITY), (1.0, 1.5)),
    "log2": Case(
        lambda x: mpmath.log(x, 2), np.log2, ((0.5, 2), (0, 100)), (0, INFINITY)
    ),
    "log10": Case(mpmath.log10, np.log10, ((0.5, 2), (0, 100)), (0, INFINITY)),
    "log1p": Case(mpmath.log1p, np.log1p, ((-1, 1), (0, 100)), (-1, INFINITY)),
    "tanh": Case(mpmath.tanh, np.tanh, ((-1, 1), (-20, 20)), limits=(2.0, 2.0)),
    "sigmoid": Case(
        mp_sigmoid,
        sigmoid_of_each,
        ((-5, 5), (-104, 20), (-740, 40)),
        limits=(2.0, 2.0),
    ),
    "sinh": Case(mpmath.sinh, np.sinh, ((-1, 1), (-90, 90), (-711, 711))),
    "cosh": Case(mpmath.cosh, np.cosh, ((-1, 1), (-90, 90), (-711, 711))),
    "asinh": Case(mpmath.asinh, np.arcsinh, ((-2, 2), (-100, 100))),
    "acosh": Case(mpmath.acosh, np.arccosh, ((1, 1.1), (1, 100)), (1, INFINITY)),
    "atanh": Case(mpmath.atanh, np.arctanh, ((-0.1, 0.1), (-1, 1)), (-1, 1)),
    "sin": Case(mpmath.sin, np.sin, ((-4, 4), (-1000, 1000))),
    "cos": Case(mpmath.cos, np.cos, ((-4, 4), (-1000, 1000))),
    "tan": Case(mpmath.tan, np.tan, ((-4, 4), (-1000, 1000))),
    "asin": Case(mpmath.asin, np.arcsin, ((-0.6, 0.6), (-1, 1)), (-1, 1)),
    "acos": Case(mpmath.acos, np.arccos, ((-0.6, 0.6), (-1, 1)), (-1, 1)),
    "atan": Case(mpmath.atan, np.arctan, ((-1, 1), (-100, 100))),
    "erf": Case(mpmath.erf, erf_of_each(math.erf), ((-1, 1), (-6, 6))),
    "erfc": Case(mpmath.erfc, erf_of_each(math.erfc), ((-1, 1), (-6, 10), (0, 27.3))),
}
ODD = ["tanh", "sinh", "asinh", "atanh", "sin", "tan", "asin", "atan", "erf"]
SPECIAL = (
    *(0.0, 1.0, 0.5, 2.0, 3.0, 10.0, 1e5, INFINITY, math.nan, 1e-45, 5e-324),
    *(1.1754943508222875e-38, 2.2250738585072014e-308, 1e38, 3.4028234663852886e38),
    *(1.7976931348623157e308, 88.72, 89.5, 709.7, 710.5, 2.0**-24, 2.0**-53),
)


def call(name: str, *arrays: np.ndarray) -> np.ndarray:
    result = getattr(nt, name)(*(nt.tensor(a) for a in arrays)).numpy()
    assert result.dtype == arrays[0].dtype
    return result


def every_bit_pattern(rng, dtype: str, count: int) -> np.ndarray:
    integer = np.dtype(dtype.replace("float", "int"))
    limits = np.iinfo(integer)
    numbers = rng.integers(limits.min, limits.max, count, dtype=integer)
    return numbers.view(dtype)


def points_of(case: Case, dtype: str, count: int = 2000) -> np.ndarray:
    """Finite points in the domain, drawn from the intervals and from everywhere."""
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    share = count // (len(case.intervals) + 2)
    pieces = [rng.uniform(a, b, share).astype(dtype) for a, b in case.intervals]
    pieces.append(every_bit_pattern(rng, dtype, share))
    near = 1 + rng.uniform(-1, 1, share) * 2.0 ** rng.integers(-info.nmant, 0, share)
    pieces.append(near.astype(dtype))
    points = np.concatenate(pieces)
    low, high = case.domain
    inside = np.isfinite(points) & (points > low) & (points < high) & (points != 0)
    return points[inside]


def errors_in_ulp(got: np.ndarray, exact: list) -> np.ndarray:
    """|got - exact| in units in the last place of exact; infinite where one is."""
    info = np.finfo(got.dtype)
    high = np.array([float(e) for e in exact])
    low = np.array(
        [
            float(e - mpmath.mpf(h)) if math.isfinite(h) else 0.0
            for e, h in zip(exact, high, strict=True)
        ]
    )
    with np.errstate(all="ignore"):
        rounded = high.astype(got.dtype)
        exponents = (
            np.frexp(np.where(np.isfinite(high) & (high != 0), high, 1.0))[1] - 1
        )
        ulp = np.ldexp(1.0, np.maximum(exponents, info.minexp) - info.nmant)
        errors = np.abs((got.astype("float64") - high) - low) / ulp
    # where the exact result rounds to infinity, the largest number is one step off
    overflow = np.isinf(rounded)
    step = np.where(got == rounded, 0.0, np.where(np.abs(got) == info.max, 1.0, np.inf))
    return np.where(overflow, step, errors)


def assert_close_in_ulp(got, exact, limit, points) -> None:
    errors = errors_in_ulp(got, exact)
    worst = int(np.argmax(np.where(np.isnan(errors), np.inf, errors)))
    where = ", ".join(repr(p[worst]) for p in points)
    assert errors[worst] <= limit, (
        f"{errors[worst]} ulp at {where}: {got[worst]!r} for {exact[worst]}"
    )


@pytest.fixture(autouse=True)
def precision():
    with mpmath.workprec(120):
        yield


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_error_in_last_places(name, dtype):
    case = UNARY[name]
    x = points_of(case, dtype)
    if name == "erfc":
        x = x[np.abs(x) < 1e3]  # mpmath does not get further
    exact = [case.exact(mpmath.mpf(float(v))) for v in x]
    limit = case.limits[DTYPES.index(dtype)]
    assert_close_in_ulp(call(name, x), exact, limit, [x])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_special_values(name, dtype):
    with np.errstate(all="ignore"):
        x = np.array(SPECIAL).astype(dtype)
        x = np.concatenate([x, -x])
        if name in ("sin", "cos", "tan"):
            x = x[~((np.abs(x) > 1e6) & np.isfinite(x))]  # NumPy's own error
        expected = UNARY[name].reference(x.astype("float64")).astype(dtype)
    got = call(name, x)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(
        np.signbit(got)[numbers], np.signbit(expected)[numbers], err_msg=str(x[numbers])
    )
    info = np.finfo(dtype)
    np.testing.assert_allclose(
        got, expected, rtol=4 * info.eps, atol=2 * float(info.smallest_subnormal)
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ODD)
def test_odd_functions_are_odd(name, dtype):
    x = np.abs(points_of(UNARY[name], dtype, 500))
    np.testing.assert_array_equal(call(name, -x), -call(name, x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_angles_next_to_multiples_of_a_right_angle(name, dtype):
    rng = np.random.default_rng(4)
    multiples = [int(k) for k in 2.0 ** rng.uniform(0, 52, 300)]
    with mpmath.workprec(1300):
        x = np.array([float(k * mpmath.pi / 2) for k in multiples]).astype(dtype)
        # the float64 that comes closest to a multiple (Muller, Elementary Functions)
        hardest = [6381956970095103.0 * 2.0**797] if dtype == "float64" else []
        x = np.concatenate([x, -x, np.array(hardest, dtype)])
        exact = [UNARY[name].exact(mpmath.mpf(float(v))) for v in x]
        assert_close_in_ulp(call(name, x), exact, 3.0, [x])


@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_cases(dtype):
    def same(name, x, expected):
        x = np.array(x, dtype)
        np.testing.assert_array_equal(call(name, x), np.array(expected, dtype), name)

    powers = np.arange(-120, 121)
    same("exp2", powers, 2.0**powers)
    same("log2", 2.0**powers, powers)
    same("log10", 10.0 ** np.arange(0, 11), np.arange(0, 11))
    same("exp", [0.0, -0.0], [1.0, 1.0])
    same("sigmoid", [0.0], [0.5])
    same("cos", [0.0], [1.0])
    same("cosh", [0.0], [1.0])
    same("log", [1.0], [0.0])
    same("acos", [1.0], [0.0])
    same("acosh", [1.0], [0.0])
    same("erfc", [0.0], [1.0])
    tiny = np.finfo(dtype).smallest_subnormal
    for name in (*ODD[:-1], "expm1", "log1p"):  # erf has slope 2/sqrt(pi), not 1
        same(name, [tiny, 5 * tiny, -tiny], [tiny, 5 * tiny, -tiny])


@pytest.mark.parametrize("dtype", DTYPES)
def test_pow_error(dtype):
    rng = np.random.default_rng(1)
    count = 700
    largest = math.log(np.finfo(dtype).max)
    x = np.exp(rng.uniform(-largest, largest, count)).astype(dtype)
    near_one = rng.uniform(0.5, 2, count).astype(dtype)
    x = np.concatenate([x, near_one])
    logs = np.log(x.astype("float64"))
    # all results from underflow to overflow
    y = (rng.uniform(-1.05, 1.05, len(x)) * largest / np.abs(logs)).astype(dtype)
    x = np.concatenate([x, rng.uniform(0, 10, count).astype(dtype)])
    y = np.concatenate([y, rng.integers(-6, 7, count).astype(dtype)])
    exact = [
        mpmath.mpf(float(a)) ** mpmath.mpf(float(b)) for a, b in zip(x, y, strict=True)
    ]
    assert_close_in_ulp(call("pow", x, y), exact, 2.0, [x, y])


@pytest.mark.parametrize("dtype", DTYPES)
def test_pow_exact_cases(dtype):
    rng = np.random.default_rng(2)
    x = every_bit_pattern(rng, dtype, 500)
    x = x[np.isfinite(x)]
    np.testing.assert_array_equal(call("pow", x, np.ones_like(x)), x)
    bases, exponents = (
        a.ravel() for a in np.meshgrid(np.arange(-12, 13), np.arange(7))
    )
    exact = np.array([int(b) ** int(e) for b, e in zip(bases, exponents, strict=True)])
    small = np.abs(exact) < 2**24
    got = call("pow", bases[small].astype(dtype), exponents[small].astype(dtype))
    np.testing.assert_array_equal(got, exact[small].astype(dtype))


BINARY_SPECIAL = (
    *(0.0, 1.0, 2.0, 3.0, 0.5, 1.5, INFINITY, math.nan, 1e-45, 5e-324, 1e30, 1e300),
    *(2.0**53, 2.0**24 + 1, 1 - 2.0**-53, 1 - 2.0**-24, 1e5, 8.0, 1074.0, 149.0),
)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["pow", "atan2"])
def test_special_pairs(name, dtype):
    reference = {"pow": np.power, "atan2": np.arctan2}[name]
    with np.errstate(all="ignore"):
        values = np.array(BINARY_SPECIAL).astype(dtype)
        values = np.concatenate([values, -values])
        x, y = (a.ravel() for a in np.meshgrid(values, values))
        expected = reference(x.astype("float64"), y.astype("float64")).astype(dtype)
    got = call(name, x, y)
    pairs = [f"{a!r}, {b!r}" for a, b in zip(x, y, strict=True)]
    numbers = ~np.isnan(expected)
    wrong = np.isnan(got) == numbers
    wrong |= numbers & (np.signbit(got) != np.signbit(expected))
    assert not wrong.any(), np.array(pairs)[wrong][:5]
    info = np.finfo(dtype)
    np.testing.assert_allclose(
        got, expected, rtol=4 * info.eps, atol=2 * float(info.smallest_subnormal)
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_atan2_error(dtype):
    rng = np.random.default_rng(3)
    x = np.concatenate(
        [rng.uniform(-3, 3, 1000).astype(dtype), every_bit_pattern(rng, dtype, 1000)]
    )
    y = np.concatenate(
        [rng.uniform(-3, 3, 1000).astype(dtype), every_bit_pattern(rng, dtype, 1000)]
    )
    finite = np.isfinite(x) & np.isfinite(y) & (x != 0) & (y != 0)
    x, y = x[finite], y[finite]
    exact = [
        mpmath.atan2(mpmath.mpf(float(a)), mpmath.mpf(float(b)))
        for a, b in zip(y, x, strict=True)
    ]
    assert_close_in_ulp(call("atan2", y, x), exact, 3.0, [y, x])


@pytest.mark.parametrize("name", sorted(mathlib.EXPANSIONS))
@pytest.mark.parametrize("dtype", DTYPES)
def test_expansions_are_straight_lines_of_primitives(name, dtype):
    arity = 2 if name in ("pow", "atan2") else 1
    printer = Printer(mathlib.expand)
    printer.name(apply(name, *(var(f"x{k}", dtype) for k in range(arity))))
    code = [line for line in printer.lines if not line.startswith("#")]
    assert code
    assert not any(f"math.{f}(" in line for line in code for f in mathlib.EXPANSIONS)
    assert not any(line.startswith(("if ", "for ", "while ")) for line in code)
