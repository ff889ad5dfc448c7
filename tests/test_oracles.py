"""The laws are laws: each fails on an operator that is broken in its way."""

from __future__ import annotations

from dataclasses import replace

import laws
import numpy as np
import pytest

import numtensor as nt
from numtensor.elementwise import Elementwise
from numtensor.ops import m
from numtensor.ops.registry import TABLE

EXP = TABLE["exp"]
ADD = TABLE["add"]
SUM = TABLE["sum"]


def fails(law, *args):
    with pytest.raises(AssertionError):
        law(*args)


def forward(op, rng, place="transposed", dtype="float64"):
    arrays, args = laws.placed(op, rng, place, dtype)
    laws.forward(op, arrays, args)


def broken(op, call):
    return replace(op, call=call)


def with_rule(rule):
    """Return exp with another way back."""
    operator = Elementwise("exp", lambda x: m.exp(x), (rule,), rule="float")
    return replace(EXP, call=operator, operator=operator)


@pytest.mark.parametrize("dtype", laws.FLOATS)
def test_a_value_that_is_off_by_a_thousandth(dtype, rng):
    forward(EXP, rng, dtype=dtype)
    fails(forward, broken(EXP, lambda x: nt.exp(x) * 1.001), rng, "contiguous", dtype)


def test_a_value_that_is_off_in_one_place_of_many(rng):
    def call(x):
        found = nt.exp(x)
        found[-1] *= 1.001
        return found

    arrays = [rng.uniform(-1, 1, 33)]
    laws.forward(EXP, arrays, laws.tensors(arrays))
    fails(laws.forward, broken(EXP, call), arrays, laws.tensors(arrays))


def test_an_integer_that_is_off_by_one(rng):
    forward(ADD, rng, dtype="int32")
    fails(forward, broken(ADD, lambda x, y: nt.add(x, y) + 1), rng, "row", "int32")


def test_a_mutation(rng):
    def call(x):
        found = nt.exp(x)
        x.add_(1e-3)
        return found

    fails(forward, broken(EXP, call), rng)


def test_a_result_in_the_argument(rng):
    fails(forward, broken(EXP, lambda x: x.exp_()), rng)
    x = nt.ones(3)
    fails(laws.apart, x[1:], [x])


def test_a_wrong_dtype(rng):
    fails(forward, broken(EXP, lambda x: nt.exp(x).float()), rng)
    fails(forward, broken(ADD, lambda x, y: nt.add(x, y).long()), rng, "row", "int32")


def test_a_wrong_shape(rng):
    fails(forward, broken(EXP, lambda x: nt.exp(x).unsqueeze(0)), rng)


@pytest.mark.parametrize("place", ["transposed", "sliced", "row_gaps"])
def test_an_ignored_stride(place, rng):
    def dense(x):
        steps, size = [], 1
        for n in reversed(x.shape):
            steps.insert(0, size)
            size *= n
        return nt.exp(x.as_strided(x.shape, steps))

    forward(EXP, rng, place)
    fails(forward, broken(EXP, dense), rng, place)


def test_an_ignored_broadcast(rng):
    def call(x, y):
        return nt.add(x, y if x.shape == y.shape else y.sum() / y.numel())

    forward(ADD, rng, "row")
    fails(forward, broken(ADD, call), rng, "row")


@pytest.mark.parametrize(
    "rule",
    [
        lambda g, x, out: g * out * 1.001,
        lambda g, x, out: g,
        lambda g, x, out: -g * out,
        lambda g, x, out: out,
    ],
    ids=["a thousandth", "the identity", "the sign", "no cotangent"],
)
def test_a_wrong_gradient(rule, rng):
    laws.gradient(with_rule(lambda g, x, out: g * out), rng, "contiguous")
    fails(laws.gradient, with_rule(rule), rng, "contiguous")


def test_a_gradient_that_cannot_be_differentiated(rng):
    laws.second_order(with_rule(lambda g, x, out: g * out), rng, "contiguous")

    def rule(g, x, out):
        return g * (out.detach() if isinstance(out, nt.Tensor) else out)

    laws.gradient(with_rule(rule), rng, "contiguous")
    fails(laws.second_order, with_rule(rule), rng, "contiguous")


def test_a_gradient_swapped_between_arguments(rng):
    rules = (lambda g, x, y, out: g * x, lambda g, x, y, out: g * y)
    operator = Elementwise("mul", lambda x, y: x * y, rules)
    mul = replace(TABLE["mul"], call=operator, operator=operator)
    laws.gradient(TABLE["mul"], rng, "both")
    fails(laws.gradient, mul, rng, "both")


def test_an_in_place_form_that_does_not_store(rng):
    arrays, args = laws.placed(EXP, rng, "contiguous", "float64")
    laws.in_place(EXP, arrays, args, "exp")
    arrays, args = laws.placed(EXP, rng, "contiguous", "float64")
    fails(laws.in_place, EXP, arrays, args, "log1p")


def test_reductions(rng):
    x = rng.uniform(0.5, 1.5, (3, 4))
    for call in (
        lambda t, dim, keepdim: nt.sum(t, dim, keepdim) * 1.001,
        lambda t, dim, keepdim: nt.sum(t, 1 - dim, keepdim),
        lambda t, dim, keepdim: nt.sum(t, dim, not keepdim),
        lambda t, dim, keepdim: nt.sum(t, dim, keepdim).float(),
    ):
        laws.reduction(SUM, x, nt.tensor(x), 1, False)
        fails(laws.reduction, broken(SUM, call), x, nt.tensor(x), 1, False)
    wrong = broken(
        SUM, lambda t, dim, keepdim: nt.sum(t.detach() + t * 0.5, dim, keepdim)
    )
    laws.reduction_gradient(SUM, x, nt.tensor(x), 1, False, rng)
    fails(laws.reduction_gradient, wrong, x, nt.tensor(x), 1, False, rng)


def test_comparison_sees_nan_and_shape():
    fails(laws.assert_close, [1.0, np.nan], [1.0, 2.0], 1e-5)
    fails(laws.assert_close, [1.0, 2.0], [1.0, np.nan], 1e-5)
    fails(laws.assert_close, [1.0], [[1.0]], 1e-5)
    laws.assert_close([np.nan, np.inf], [np.nan, np.inf], 1e-5)


def test_kinks_are_found():
    x = np.array([0.0, 1.0])
    assert not laws.smooth(np.abs, [x], [0], np.ones(2))
    assert laws.smooth(np.abs, [x + 0.5], [0], np.ones(2))
