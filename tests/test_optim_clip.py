"""Clipping of gradients."""

from __future__ import annotations

import laws
import numpy as np
import pytest

import numtensor as nt
from numtensor.nn import utils


def params():
    rng = np.random.default_rng(3)
    found = []
    for shape in ((2, 3), (4,), ()):
        p = laws.made(np.zeros(shape)).requires_grad_()
        p.grad = laws.made(rng.normal(size=shape))
        found.append(p)
    return [*found, laws.made(np.zeros(2)).requires_grad_()]


def flat(tensors):
    return np.concatenate(
        [laws.numpy_of(p.grad).ravel() for p in tensors if p.grad is not None]
    )


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("order", [1.0, 2.0, 3.5, "inf"])
def test_norms_are_those_of_one_vector(order):
    given = params()
    before = flat(given)
    norm = np.linalg.norm(before, float(order))
    total = utils.clip_grad_norm_(given, 0.5, norm_type=order)
    assert total.shape == () and total.device == given[0].device
    np.testing.assert_allclose(total.item(), norm, rtol=1e-12)
    np.testing.assert_allclose(flat(given), before * 0.5 / (norm + 1e-6), rtol=1e-12)
    after = flat(given)
    utils.clip_grad_norm_((p for p in given), 100.0)
    np.testing.assert_array_equal(flat(given), after)


@pytest.mark.usefixtures("device")
def test_values_are_clipped():
    given = params()
    before = flat(given)
    utils.clip_grad_value_(given, 0.3)
    np.testing.assert_array_equal(flat(given), np.clip(before, -0.3, 0.3))
    utils.clip_grad_value_(given[0], 0.1)
    assert abs(laws.numpy_of(given[0].grad)).max() == 0.1


def test_norms_that_are_not_finite():
    (p,) = params()[:1]
    p.grad[0, 0] = float("nan")
    with pytest.raises(RuntimeError, match=r"total norm of order 2\.0 for gradients"):
        utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    assert np.isnan(utils.clip_grad_norm_(p, 1.0).item())


def test_nothing_to_clip():
    assert utils.get_total_norm([]).item() == 0.0
    assert utils.clip_grad_norm_([nt.ones(1, requires_grad=True)], 1.0).item() == 0.0
    utils.clip_grad_value_([nt.ones(1, requires_grad=True)], 1.0)
    with pytest.warns(UserWarning, match="empty generator"):
        utils.clip_grad_norm_((p for p in []), 1.0)


def test_a_float32_norm_of_float64_gradients():
    p = nt.ones(2, requires_grad=True)
    q = nt.ones(2, dtype=nt.float64, requires_grad=True)
    p.grad, q.grad = nt.ones(2), nt.ones(2, dtype=nt.float64)
    total = utils.clip_grad_norm_([p, q], 1.0)
    np.testing.assert_allclose(total.item(), 2.0)
    np.testing.assert_allclose(q.grad.numpy(), 0.5, rtol=1e-6)
    assert p.grad.dtype is nt.float32
