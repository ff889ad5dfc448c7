"""Where operators' values and slopes are a matter of choice: PyTorch 2.13's choices.

Ties, kinks, zeros, infinities, integers at their limits. Expected values are recorded
from PyTorch; signs of zeros count.
"""

from __future__ import annotations

import numpy as np
import pytest

import numtensor as nt

inf, nan = float("inf"), float("nan")


def f(*values):
    return nt.tensor(list(values), dtype=nt.float64)


def leaf(*values):
    return f(*values).requires_grad_(True)


def slopes(call, *lists):
    """Return the gradients of the sum of the result."""
    leaves = [nt.tensor(v, dtype=nt.float64).requires_grad_(True) for v in lists]
    found = call(*leaves)
    if isinstance(found, tuple):
        found = found[0]
    found.sum().backward()
    return [x.grad for x in leaves]


VALUES = {
    "remainder has the divisor's sign": (
        lambda: nt.remainder(
            f(-4, 4, -0.0, 5, -5, inf, 1, -1), f(2, -2, 3, -3, 3, 2, inf, inf)
        ),
        "float64",
        [-0.0, 0.0, -0.0, -1.0, 1.0, nan, 1.0, inf],
    ),
    "fmod has the dividend's sign": (
        lambda: nt.fmod(
            f(-4, 4, -0.0, 5, -5, inf, 1, -1), f(2, -2, 3, -3, 3, 2, inf, inf)
        ),
        "float64",
        [-0.0, 0.0, -0.0, 2.0, -2.0, nan, 1.0, -1.0],
    ),
    "floor_divide rounds down": (
        lambda: nt.floor_divide(
            f(-4, 7, -7, 1, -1, 0, -0.0, 1), f(3, -2, 2, inf, inf, 1, 1, 0)
        ),
        "float64",
        [-2.0, -4.0, -4.0, 0.0, -1.0, 0.0, -0.0, inf],
    ),
    "floor_divide takes no rounding up": (
        lambda: nt.floor_divide(f(1, 0.6, 6), f(0.1, 0.2, 0.1)),
        "float64",
        [9.0, 2.0, 59.0],
    ),
    "remainder of integers": (
        lambda: nt.remainder(nt.tensor([7, -7, 7, -7]), nt.tensor([3, 3, -3, -3])),
        "int64",
        [1, 2, -2, -1],
    ),
    "fmod of integers": (
        lambda: nt.fmod(nt.tensor([7, -7, 7, -7]), nt.tensor([3, 3, -3, -3])),
        "int64",
        [1, -1, 1, -1],
    ),
    "floor_divide of integers": (
        lambda: nt.floor_divide(nt.tensor([7, -7, 7, -7]), nt.tensor([3, 3, -3, -3])),
        "int64",
        [2, -3, -3, 2],
    ),
    "div towards zero": (
        lambda: nt.div(
            nt.tensor([7, -7, 7, -7]), nt.tensor([3, 3, -3, -3]), rounding_mode="trunc"
        ),
        "int64",
        [2, -2, -2, 2],
    ),
    "div down of floats": (
        lambda: nt.div(f(7, -7, 0.5), f(3, 3, -1), rounding_mode="floor"),
        "float64",
        [2.0, -3.0, -1.0],
    ),
    "pow of special values": (
        lambda: nt.pow(
            f(0, 0, -0.0, nan, 1, -1, -8, inf, -inf, -inf, 0),
            f(0, -1, -1, 0, nan, inf, 1 / 3, 0, 3, 2, inf),
        ),
        "float64",
        [1.0, inf, -inf, 1.0, 1.0, 1.0, nan, 1.0, -inf, inf, 0.0],
    ),
    "pow of uint8 wraps": (
        lambda: nt.pow(
            nt.tensor([2, 3, 255], dtype=nt.uint8),
            nt.tensor([8, 128, 255], dtype=nt.uint8),
        ),
        "uint8",
        [0, 1, 255],
    ),
    "pow of int8 wraps": (
        lambda: nt.pow(
            nt.tensor([2, -2, -3], dtype=nt.int8), nt.tensor([7, 7, 5], dtype=nt.int8)
        ),
        "int8",
        [-128, -128, 13],
    ),
    "add wraps": (
        lambda: (
            nt.tensor([127, -128], dtype=nt.int8) + nt.tensor([1, -1], dtype=nt.int8)
        ),
        "int8",
        [-128, 127],
    ),
    "neg of unsigned": (
        lambda: -nt.tensor([0, 1, 255], dtype=nt.uint8),
        "uint8",
        [0, 255, 1],
    ),
    "abs of the least integer": (
        lambda: nt.abs(nt.tensor([-128, -1], dtype=nt.int8)),
        "int8",
        [-128, 1],
    ),
    "add of bool": (
        lambda: nt.tensor([True, True, False]) + nt.tensor([True, False, False]),
        "bool",
        [True, True, False],
    ),
    "mul of bool": (
        lambda: nt.tensor([True, True, False]) * nt.tensor([True, False, False]),
        "bool",
        [True, False, False],
    ),
    "maximum of bool": (
        lambda: nt.maximum(nt.tensor([True, False]), nt.tensor([False, False])),
        "bool",
        [True, False],
    ),
    "sign": (
        lambda: nt.sign(f(nan, -inf, -0.5, 0, 2)),
        "float64",
        [0.0, -1.0, -1.0, 0.0, 1.0],
    ),
    "round halves to even": (
        lambda: nt.round(f(0.5, 1.5, 2.5, -0.5, -1.5)),
        "float64",
        [0.0, 2.0, 2.0, -0.0, -2.0],
    ),
    "round to decimals": (
        lambda: nt.round(f(1.25, 1234.5), decimals=1),
        "float64",
        [1.2, 1234.5],
    ),
    "round before the point": (
        lambda: nt.round(f(1250, 1234.5), decimals=-2),
        "float64",
        [1200.0, 1200.0],
    ),
    "frac": (lambda: nt.frac(f(1.5, -1.5, 2)), "float64", [0.5, -0.5, 0.0]),
    "maximum of nan": (
        lambda: nt.maximum(f(nan, 1, nan), f(1, nan, nan)),
        "float64",
        [nan, nan, nan],
    ),
    "fmax of nan": (
        lambda: nt.fmax(f(nan, 1, nan), f(1, nan, nan)),
        "float64",
        [1.0, 1.0, nan],
    ),
    "fmin of nan": (
        lambda: nt.fmin(f(nan, 1, nan), f(1, nan, nan)),
        "float64",
        [1.0, 1.0, nan],
    ),
    "clamp of nan and crossed bounds": (
        lambda: nt.clamp(f(nan, 0, 5, 0), f(0, nan, 2, 3), f(1, 1, 1, 1)),
        "float64",
        [nan, nan, 1.0, 1.0],
    ),
    "clamp by one bound": (
        lambda: nt.clamp(f(nan, -1, 2), 0.5),
        "float64",
        [nan, 0.5, 2.0],
    ),
    "clip by the other bound": (
        lambda: nt.clip(f(nan, -1, 2), max=0.5),
        "float64",
        [nan, -1.0, 0.5],
    ),
    "hypot": (
        lambda: nt.hypot(f(inf, nan, 1e300, 0, 3), f(nan, inf, 1e300, 0, 4)),
        "float64",
        [inf, inf, 1.4142135623730952e300, 0.0, 5.0],
    ),
    "logaddexp of infinities": (
        lambda: nt.logaddexp(f(inf, -inf, inf, 0), f(inf, -inf, -inf, -inf)),
        "float64",
        [inf, -inf, inf, 0.0],
    ),
    "atan2 of zeros": (
        lambda: nt.atan2(f(0.0, -0.0, 0.0, -0.0), f(1, 1, -1, -1)),
        "float64",
        [0.0, -0.0, 3.141592653589793, -3.141592653589793],
    ),
    "copysign of zeros": (
        lambda: nt.copysign(f(0, 1, -1), f(-0.0, -0.0, 0.0)),
        "float64",
        [-0.0, -1.0, 1.0],
    ),
    "signbit": (
        lambda: nt.signbit(f(-0.0, 0.0, -inf, inf, -1)),
        "bool",
        [True, False, True, False, True],
    ),
    "left shift beyond the width": (
        lambda: nt.bitwise_left_shift(
            nt.tensor([1, 1, 1], dtype=nt.int32),
            nt.tensor([31, 32, 40], dtype=nt.int32),
        ),
        "int32",
        [-2147483648, 0, 0],
    ),
    "right shift beyond the width": (
        lambda: nt.bitwise_right_shift(
            nt.tensor([-8, 8, -1], dtype=nt.int32),
            nt.tensor([1, 32, 40], dtype=nt.int32),
        ),
        "int32",
        [-4, 0, -1],
    ),
    "comparison with nan": (lambda: f(nan, 1) == f(nan, 1), "bool", [False, True]),
    "logical_xor of floats": (
        lambda: nt.logical_xor(f(0.5, 0, nan), f(1, 1, 0)),
        "bool",
        [False, True, True],
    ),
    "argmax takes the first": (lambda: nt.argmax(f(1, 3, 3, 2)), "int64", 1),
    "argmin takes the first": (lambda: nt.argmin(f(1, 0, 0, 2)), "int64", 1),
    "argmax of nan": (lambda: nt.argmax(f(1, nan, 3, nan)), "int64", 1),
    "count_nonzero": (lambda: nt.count_nonzero(f(0, -0.0, nan, 2)), "int64", 2),
    "sum of bool": (lambda: nt.sum(nt.tensor([True, True, False])), "int64", 2),
    "sum of uint8": (
        lambda: nt.sum(nt.tensor([200, 100], dtype=nt.uint8)),
        "int64",
        300,
    ),
    "any of uint8": (lambda: nt.any(nt.tensor([0, 2], dtype=nt.uint8)), "uint8", 1),
    "all of nothing": (lambda: nt.all(f()), "bool", True),
    "prod of nothing": (lambda: nt.prod(f()), "float64", 1.0),
    "mean of nothing": (lambda: nt.mean(f()), "float64", nan),
    "var of one": (lambda: nt.var(f(3)), "float64", nan),
    "std of nothing": (lambda: nt.std(f()), "float64", nan),
    "var without correction": (
        lambda: nt.var(f(1, 2, 4), correction=0),
        "float64",
        1.5555555555555554,
    ),
    "nansum of nan": (lambda: nt.nansum(f(nan, nan)), "float64", 0.0),
}

SLOPES = {
    "abs": (nt.abs, [[-1.0, 0.0, 2.0]], [[-1.0, 0.0, 1.0]]),
    "sign": (nt.sign, [[-1.0, 0.0, 2.0]], [[0.0, 0.0, 0.0]]),
    "sqrt": (nt.sqrt, [[0.0, 4.0]], [[inf, 0.25]]),
    "log at 0": (nt.log, [[0.0, 2.0]], [[inf, 0.5]]),
    "maximum": (
        nt.maximum,
        [[1.0, 2.0, nan, 1.0], [1.0, 3.0, 1.0, nan]],
        [[0.5, 0.0, 1.0, 1.0], [0.5, 1.0, 1.0, 1.0]],
    ),
    "minimum": (
        nt.minimum,
        [[1.0, 2.0, nan, 1.0], [1.0, 3.0, 1.0, nan]],
        [[0.5, 1.0, 1.0, 1.0], [0.5, 0.0, 1.0, 1.0]],
    ),
    "fmax": (
        nt.fmax,
        [[1.0, 2.0, nan, 1.0], [1.0, 3.0, 1.0, nan]],
        [[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]],
    ),
    "fmin": (
        nt.fmin,
        [[1.0, 2.0, nan, 1.0], [1.0, 3.0, 1.0, nan]],
        [[1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]],
    ),
    "clamp": (
        nt.clamp,
        [
            [0.0, 1.0, 0.5, 2.0, -1.0, 1.0],
            [0.0, 0.0, 0.0, 0.0, 0.0, 3.0],
            [1.0, 1.0, 1.0, 1.0, 1.0, 2.0],
        ],
        [
            [1.0, 1.0, 1.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            [0.0, 0.0, 0.0, 1.0, 0.0, 1.0],
        ],
    ),
    "clamp by numbers": (
        lambda x: nt.clamp(x, 0.0, 1.0),
        [[-1.0, 0.0, 0.5, 1.0, 2.0]],
        [[0.0, 1.0, 1.0, 1.0, 0.0]],
    ),
    "atan2 at the origin": (
        nt.atan2,
        [[0.0, 1.0], [0.0, 0.0]],
        [[0.0, 0.0], [-0.0, -1.0]],
    ),
    "logaddexp": (
        nt.logaddexp,
        [[1.0, -inf, 800.0, inf], [1.0, 0.0, 0.0, 0.0]],
        [[0.5, 0.0, 1.0, 1.0], [0.5, 1.0, 0.0, 0.0]],
    ),
    "remainder": (
        nt.remainder,
        [[5.0, -5.0, -1.0], [3.0, 3.0, inf]],
        [[1.0, 1.0, 1.0], [-1.0, 2.0, 1.0]],
    ),
    "fmod": (
        nt.fmod,
        [[5.0, -5.0, -1.0], [3.0, 3.0, inf]],
        [[1.0, 1.0, 1.0], [-1.0, 1.0, 0.0]],
    ),
    "pow": (
        nt.pow,
        [[0.0, 0.0, 2.0, 0.0], [0.0, 1.0, 0.0, 2.0]],
        [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.6931471805599453, 0.0]],
    ),
    "pow 0": (lambda x: x**0, [[0.0, 2.0]], [[0.0, 0.0]]),
    "pow 1": (lambda x: x**1, [[0.0, 2.0]], [[1.0, 1.0]]),
    "copysign": (
        nt.copysign,
        [[1.0, -1.0, 0.0], [-1.0, -1.0, 1.0]],
        [[-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]],
    ),
    "floor": (nt.floor, [[0.5, 1.0]], [[0.0, 0.0]]),
    "frac": (nt.frac, [[0.5, -1.5]], [[1.0, 1.0]]),
    "amax of ties": (nt.amax, [[2.0, 1.0, 2.0]], [[0.5, 0.0, 0.5]]),
    "amin of ties": (nt.amin, [[1.0, 1.0, 2.0]], [[0.5, 0.5, 0.0]]),
    "max of ties": (nt.max, [[2.0, 1.0, 2.0]], [[0.5, 0.0, 0.5]]),
    "max over a dim takes the first": (
        lambda x: nt.max(x, 0),
        [[2.0, 1.0, 2.0]],
        [[1.0, 0.0, 0.0]],
    ),
    "min over a dim takes the first": (
        lambda x: nt.min(x, 0),
        [[1.0, 1.0, 2.0]],
        [[1.0, 0.0, 0.0]],
    ),
    "prod with a zero": (nt.prod, [[2.0, 0.0, 3.0]], [[0.0, 6.0, 0.0]]),
    "prod with two zeros": (nt.prod, [[2.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]),
    "nansum": (nt.nansum, [[2.0, nan, 3.0]], [[1.0, 0.0, 1.0]]),
    "std of equals": (nt.std, [[1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0]]),
    "var of one": (nt.var, [[1.0]], [[nan]]),
    "mean": (nt.mean, [[1.0, 2.0]], [[0.5, 0.5]]),
}


def same(found, expected):
    got = np.asarray(found.tolist())
    wanted = np.asarray(expected)
    np.testing.assert_array_equal(got, wanted)
    if wanted.dtype.kind == "f" and found.is_floating_point():
        zero = wanted == 0
        np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(wanted[zero]))


@pytest.mark.parametrize("case", VALUES)
def test_value(case):
    call, dtype, expected = VALUES[case]
    found = call()
    assert str(found.dtype) == f"torch.{dtype}"
    same(found, expected)


@pytest.mark.parametrize("case", SLOPES)
def test_slope(case):
    call, lists, expected = SLOPES[case]
    for found, wanted in zip(slopes(call, *lists), expected, strict=True):
        np.testing.assert_allclose(found.tolist(), wanted, rtol=1e-12, equal_nan=True)


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod"])
def test_integer_division_by_zero(name):
    call = getattr(nt, name)
    for divisor in (0, nt.tensor([1, 0]), nt.tensor(0)):
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            call(nt.tensor([1, 2]), divisor)
    assert call(nt.tensor([], dtype=nt.int64), nt.tensor([], dtype=nt.int64)).shape == (
        0,
    )
    assert np.isnan(float(call(nt.tensor(0.0), 0.0)))


def test_negative_powers_of_integers():
    with pytest.raises(RuntimeError, match="negative integer powers"):
        nt.tensor([1, 2]) ** -1
    powers = nt.tensor([2, 1, -1, 0, -1]) ** nt.tensor([-1, -2, -3, -1, -2])
    assert powers.tolist() == [0, 1, -1, 0, 1]
    assert nt.pow(nt.tensor([2, 4]), -1.0).tolist() == [0.5, 0.25]


def test_pow_by_common_exponents():
    """They need no logarithm, and give what the general way gives."""
    x = np.array([0.3, 1.0, 2.7])
    for exponent in (-3, -2, -1, -0.5, 0, 0.5, 1, 2, 2.5, 3, 4):
        t = nt.tensor(x).requires_grad_(True)
        y = t**exponent
        np.testing.assert_allclose(y.tolist(), x**exponent, rtol=1e-12)
        (slope,) = nt.autograd.grad(y.sum(), t, create_graph=True)
        expected = exponent * x ** (exponent - 1.0)
        np.testing.assert_allclose(slope.tolist(), expected, rtol=1e-12)
        if slope.requires_grad:
            (bend,) = nt.autograd.grad(slope.sum(), t)
            expected = exponent * (exponent - 1) * x ** (exponent - 2.0)
            np.testing.assert_allclose(bend.tolist(), expected, rtol=1e-11, atol=1e-15)


def test_closeness():
    x, y = nt.tensor([1.0, nan, inf]), nt.tensor([1.000001, nan, inf])
    assert nt.isclose(x, y).tolist() == [True, False, True]
    assert nt.isclose(x, y, equal_nan=True).tolist() == [True, True, True]
    assert nt.allclose(x, y, equal_nan=True) and not nt.allclose(x, y)
    assert nt.equal(nt.tensor([1, 2]), nt.tensor([1, 2]))
    assert not nt.equal(nt.tensor([1, 2]), nt.tensor([1, 3]))
    assert not nt.equal(nt.tensor([1, 2]), nt.tensor([[1, 2]]))


def test_rounding_modes_and_decimals():
    with pytest.raises(RuntimeError, match="rounding_mode"):
        nt.div(f(1.0), f(2.0), rounding_mode="up")
    with pytest.raises(RuntimeError, match="not implemented"):
        nt.round(nt.tensor([1]), decimals=1)
    with pytest.raises(RuntimeError, match="At least one"):
        nt.clamp(f(1.0))
