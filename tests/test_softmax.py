"""softmax, log_softmax, logsumexp: dtypes, layouts, corners, what is refused."""

from __future__ import annotations

import laws
import numpy as np
import pytest

import numtensor as nt

F = nt.nn.functional
NAMES = ("softmax", "log_softmax", "logsumexp")


def reference(name, x, dim):
    x = x.astype("float64")
    with np.errstate(all="ignore"):
        most = x.max(dim, keepdims=True)
        most = np.where(np.isinf(most), 0, most) if name == "logsumexp" else most
        powers = np.exp(x - most)
        total = powers.sum(dim, keepdims=True)
        if name == "logsumexp":
            return (most + np.log(total)).squeeze(dim)
        return powers / total if name == "softmax" else x - most - np.log(total)


@pytest.mark.parametrize("name", NAMES)
def test_every_layout(device, name, rng):
    for dtype in laws.FLOATS:
        array = rng.normal(size=(2, 3, 4)).astype(dtype)
        for layout in laws.LAYOUTS.values():
            for dim in (0, 1, -1):
                found = getattr(nt, name)(layout(array), dim)
                expected = reference(name, array, dim)
                laws.assert_close(
                    laws.numpy_of(found), expected, laws.TOLERANCE[dtype], name
                )
                assert found.is_contiguous()


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_every_length(name, rng):
    for n in (1, 2, 7, 16, 33, 2047, 2049, 5000):
        array = rng.normal(size=(3, n))
        found = getattr(nt, name)(nt.tensor(array), 1)
        laws.assert_close(found.numpy(), reference(name, array, 1), 1e-12, n)


@pytest.mark.parametrize("name", NAMES)
def test_threads_share_the_rows(name, rng):
    array = rng.normal(size=(500, 70, 3))
    for dim in (1, 2):
        found = getattr(nt, name)(nt.tensor(array), dim)
        laws.assert_close(found.numpy(), reference(name, array, dim), 1e-12, dim)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", laws.FLOATS)
def test_neighbouring_rows_side_by_side(name, dtype, rng):
    """Along a dim before others, rows are walked down together: the values and the
    gradients are those of the last dim."""
    for shape in ((5, 40), (3, 4, 33), (2, 300, 1000)):
        array = rng.normal(size=shape).astype(dtype) * 3
        dim = len(shape) - 2
        x = nt.tensor(array, requires_grad=True)
        y = nt.tensor(array.swapaxes(dim, -1), requires_grad=True)
        a, b = getattr(nt, name)(x, dim), getattr(nt, name)(y, -1)
        weight = nt.tensor(rng.normal(size=tuple(a.shape)).astype(dtype))
        other = weight if name == "logsumexp" else weight.transpose(dim, -1)
        (a * weight).sum().backward()
        (b * other).sum().backward()
        got = a.detach() if name == "logsumexp" else a.detach().transpose(dim, -1)
        tolerance = laws.TOLERANCE[dtype]
        laws.assert_close(got.numpy(), b.detach().numpy(), tolerance, shape)
        grad = x.grad.transpose(dim, -1).numpy()
        laws.assert_close(grad, y.grad.numpy(), tolerance, shape)


@pytest.mark.parametrize("name", NAMES)
def test_long_rows_on_a_device_are_composed(device, name, rng):
    array = rng.normal(size=(2, 130))
    x = laws.made(array).requires_grad_()
    found = getattr(nt, name)(x, 1)
    laws.assert_close(laws.numpy_of(found), reference(name, array, 1), 1e-12, name)
    found.sum().backward()
    y = nt.tensor(array, requires_grad=True)
    getattr(nt, name)(y, 1).sum().backward()
    laws.assert_close(laws.numpy_of(x.grad), y.grad.numpy(), 1e-12, name)


@pytest.mark.parametrize("name", NAMES)
def test_large_numbers_do_not_overflow(device, name):
    array = np.array([[1e5, 1e5 - 1, -1e5], [-1e5, -1e5, -1e5]])
    found = getattr(nt, name)(laws.made(array), 1)
    laws.assert_close(laws.numpy_of(found), reference(name, array, 1), 1e-12, name)


@pytest.mark.parametrize("name", NAMES)
def test_infinities_and_nan(device, name):
    inf = np.inf
    array = np.array([[0, -inf, 1], [inf, 0, 1], [-inf, -inf, -inf], [np.nan, 0, 1]])
    found = getattr(nt, name)(laws.made(array), 1)
    laws.assert_same(
        np.isnan(laws.numpy_of(found)), np.isnan(reference(name, array, 1)), name
    )
    laws.assert_close(laws.numpy_of(found), reference(name, array, 1), 1e-12, name)


def test_nothing(device):
    for name in ("softmax", "log_softmax"):
        for shape in ((0, 3), (3, 0)):
            x = laws.made(np.zeros(shape)).requires_grad_()
            found = getattr(nt, name)(x, 1)
            assert found.shape == shape
            found.sum().backward()
            assert x.grad.shape == shape
    x = laws.made(np.zeros((2, 0))).requires_grad_()
    found = nt.logsumexp(x, 1)
    assert found.tolist() == [-np.inf, -np.inf]
    found.sum().backward()
    assert x.grad.shape == (2, 0)
    assert nt.logsumexp(laws.made(np.zeros((0, 2))), 1).shape == (0,)


def test_numbers():
    x = nt.tensor(3.0, requires_grad=True)
    assert nt.softmax(x, 0).item() == 1
    assert nt.log_softmax(x, -1).item() == 0
    assert nt.logsumexp(x, 0).item() == 3


def test_dtype_casts_first():
    x = nt.tensor([0, 1])
    assert nt.softmax(x, 0, dtype=nt.float64).dtype is nt.float64
    assert x.softmax(0, nt.float32).dtype is nt.float32
    assert F.log_softmax(x, dim=0, dtype=nt.float64).dtype is nt.float64
    assert nt.logsumexp(x, 0).dtype is nt.float32


def test_shape_of_logsumexp():
    x = nt.randn(2, 3, 4)
    for dim, keep, shape in (
        (1, False, (2, 4)), (1, True, (2, 1, 4)), ((0, 2), False, (3,)),
        ((0, 2), True, (1, 3, 1)), ((0, 1, 2), False, ()), ([-1], False, (2, 3)),
    ):  # fmt: skip
        assert nt.logsumexp(x, dim, keep).shape == shape


def test_second_derivatives_meet(rng):
    """A gradient that is differentiated is the one that is not."""
    for name in NAMES:
        x = nt.tensor(rng.normal(size=(2, 3)), requires_grad=True)
        weight = nt.tensor(rng.normal(size=(2, 3) if name != "logsumexp" else 2))
        (a,) = nt.autograd.grad((getattr(nt, name)(x, 1) * weight).sum(), x)
        (b,) = nt.autograd.grad(
            (getattr(nt, name)(x, 1) * weight).sum(), x, create_graph=True
        )
        laws.assert_close(a.numpy(), b.detach().numpy(), 1e-12, name)


def test_what_is_refused():
    x = nt.ones(2, 3)
    with pytest.raises(IndexError, match="Dimension out of range"):
        nt.softmax(x, 2)
    with pytest.raises(RuntimeError, match="appears multiple times"):
        nt.logsumexp(x, (0, -2))
    with pytest.raises(RuntimeError, match="softmax_kernel_impl. not implemented"):
        nt.softmax(x.long(), 0)
    with pytest.raises(ValueError, match="tau=0"):
        F.gumbel_softmax(x, tau=0)
    with pytest.raises(RuntimeError, match="not implemented"):
        F.gumbel_softmax(x.long())


def test_a_dim_left_out():
    with pytest.warns(UserWarning, match="Implicit dimension choice for softmax") as w:
        found = F.softmax(nt.zeros(2, 4))
        nt.nn.Softmax()(nt.zeros(2, 4))
    assert [one.filename for one in w] == [__file__] * 2
    assert found[0, 0].item() == 0.25
    with pytest.warns(UserWarning, match="log_softmax"):
        F.log_softmax(nt.zeros(2))


def test_the_result_may_not_change_before_the_way_back():
    x = nt.ones(3, requires_grad=True)
    y = nt.softmax(x, 0)
    y.detach().mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_gumbel_softmax_draws_by_the_probabilities():
    logits = nt.log(nt.tensor([0.5, 0.3, 0.2])).expand(4000, 3)
    hard = F.gumbel_softmax(logits, tau=0.5, hard=True)
    assert sorted(set(np.round(hard.numpy().ravel(), 5))) == [0, 1]
    assert F.gumbel_softmax(nt.tensor(2.0), hard=True).item() == 1
    assert F.gumbel_softmax(nt.zeros(3, 2), hard=True, dim=0).sum(0).tolist() == [1, 1]
    share = hard.mean(0).numpy()
    np.testing.assert_allclose(share, [0.5, 0.3, 0.2], atol=0.05)
    soft = F.gumbel_softmax(logits, tau=0.5)
    np.testing.assert_allclose(soft.sum(1).numpy(), 1, rtol=1e-5)


def test_gumbel_softmax_has_the_gradient_of_the_soft_result():
    logits = nt.zeros(2, 3, requires_grad=True)
    weight = nt.tensor([1.0, 2.0, 3.0])
    grads = []
    for hard in (False, True):
        nt.manual_seed(5)
        logits.grad = None
        (F.gumbel_softmax(logits, hard=hard) * weight).sum().backward()
        grads.append(logits.grad.numpy())
    np.testing.assert_allclose(grads[0], grads[1], rtol=1e-6)
