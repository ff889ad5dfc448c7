"""Scans along a dim and differences, against NumPy."""

from __future__ import annotations

import laws
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtensor as nt
from numtensor import scanned_rows
from numtensor.errors import DimError, DTypeError, ShapeError
from numtensor.ops.scans import recurrence

pytestmark = pytest.mark.usefixtures("device")

SUMS = {"cumsum": np.cumsum, "cumprod": np.cumprod}


def running_extreme(a, dim, largest):
    """Values and places as PyTorch has them: of equals the last, NaN stays."""
    a = np.moveaxis(a, dim, -1)
    values, places = a.copy(), np.zeros(a.shape, "int64")
    for row in np.ndindex(a.shape[:-1]):
        best, where = a[row][0], 0
        for k, v in enumerate(a[row]):
            better = v >= best if largest else v <= best
            if v != v or (best == best and better):
                best, where = v, k
            values[row][k], places[row][k] = best, where
    return np.moveaxis(values, -1, dim), np.moveaxis(places, -1, dim)


@pytest.fixture(params=["whole", "pieces"])
def cut(request, monkeypatch):
    """Let rows be scanned whole, and in pieces, at sizes that tests can afford."""
    monkeypatch.setattr(scanned_rows, "_plans", {})
    if request.param == "pieces":
        monkeypatch.setattr(scanned_rows, "PIECE", 3)
        monkeypatch.setattr(scanned_rows, "PIECE_ON_DEVICE", 3)


@pytest.mark.parametrize("dtype", laws.DTYPES)
@pytest.mark.parametrize("name", SUMS)
def test_sums_and_products(name, dtype, cut, rng):
    a = rng.integers(-2, 3, (2, 11))
    a = np.abs(a).astype(dtype) if dtype in ("bool", "uint8") else a.astype(dtype)
    out = dtype if dtype in laws.FLOATS else "int64"
    found = getattr(nt, name)(laws.made(a), 1)
    laws.assert_same(laws.numpy_of(found), SUMS[name](a, 1, dtype=out))


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
@pytest.mark.parametrize("name", SUMS)
def test_every_dim_and_layout(name, dim, cut, rng):
    a = rng.normal(size=(3, 4, 3))
    call, expected = getattr(nt, name), SUMS[name]

    def check(x, a):
        laws.assert_close(laws.numpy_of(call(x, dim)), expected(a, dim), 1e-12)

    check(laws.made(a), a)
    check(laws.made(a).permute(2, 0, 1), a.transpose(2, 0, 1))
    check(laws.made(a)[:, ::2], a[:, ::2])
    check(laws.made(a[:1]).expand(3, 4, 3), np.broadcast_to(a[:1], a.shape))


def test_few_or_no_elements():
    for shape in ((0,), (0, 3), (3, 0), (1,)):
        a = np.ones(shape)
        laws.assert_same(laws.numpy_of(laws.made(a).cumsum(0)), np.cumsum(a, 0))
        found = laws.numpy_of(laws.made(a).logcumsumexp(0))
        laws.assert_close(found, np.logaddexp.accumulate(a), 1e-12)
        assert laws.made(a).cummax(-1).values.shape == shape
    x = laws.made(np.float64(2))
    assert x.cumsum(0).item() == x.cumprod(-1).item() == x.cummin(0).values.item() == 2
    assert x.logcumsumexp(0).shape == ()


def test_dtype_and_out_and_in_place():
    x = laws.made(np.array([1, 2, 3], "int32"))
    assert x.cumsum(0, dtype=nt.float32).dtype is nt.float32
    assert x.cumsum(0, dtype=nt.int32).dtype is nt.int32
    out = nt.empty_like(x, dtype=nt.int64)
    assert nt.cumprod(x, 0, out=out) is out and out.tolist() == [1, 2, 6]
    x.cumsum_(0)
    assert x.tolist() == [1, 3, 6] and x.dtype is nt.int32
    with pytest.raises(DTypeError, match="not implemented for 'Bool'"):
        x.cumsum(0, dtype=nt.bool)
    with pytest.raises(DTypeError, match="logcumsumexp: got torch.int32"):
        x.logcumsumexp(0)
    with pytest.raises(DimError, match="Dimension out of range"):
        x.cumsum(1)


def test_sums_are_joined_in_float64():
    with laws.on_cpu():
        a = np.full(4 * scanned_rows.PIECE, 0.1, "float32")
        found = laws.made(a).cumsum(0).numpy()
        exact = np.cumsum(a.astype("float64"))
        assert np.abs(found / exact - 1).max() < 1e-7


def test_a_product_that_vanishes_stays_so():
    """Whatever the products of later elements by themselves would be."""
    a = np.full(4 * scanned_rows.PIECE, 0.5)
    a[len(a) // 2 :] = 2.0
    with laws.on_cpu():
        found = laws.made(a).cumprod(0)
        assert found[-1].item() == 0 and not found.isnan().any()


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("dim", [0, 1])
def test_extremes(largest, dim, cut, rng):
    a = rng.integers(0, 6, (9, 2)).astype("float64")
    a[6, 0], a[0, 1] = np.nan, np.inf
    a = a if dim == 0 else a.T.copy()
    call = nt.cummax if largest else nt.cummin
    values, places = call(laws.made(a), dim)
    expected = running_extreme(a, dim, largest)
    np.testing.assert_array_equal(laws.numpy_of(values), expected[0])
    np.testing.assert_array_equal(laws.numpy_of(places), expected[1])
    name = "cummax" if largest else "cummin"
    assert repr(call(laws.made(a), dim)).startswith(f"torch.return_types.{name}(\n")


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int64", "float32"])
def test_extremes_of_every_kind(dtype):
    a = np.array([2, 0, 1, 3, 0]).astype(dtype)
    for largest, call in ((True, nt.cummax), (False, nt.cummin)):
        values, places = call(laws.made(a), 0)
        expected = running_extreme(a, 0, largest)
        laws.assert_same(laws.numpy_of(values), expected[0])
        laws.assert_same(laws.numpy_of(places), expected[1])


@settings(max_examples=25)
@given(st.lists(st.floats(-800, 800) | st.sampled_from([-np.inf, np.nan, np.inf])))
def test_logcumsumexp(values):
    a = np.array(values[:12], "float64")
    with np.errstate(invalid="ignore"):
        expected = np.logaddexp.accumulate(a) if len(a) else a
    found = laws.numpy_of(laws.made(a).logcumsumexp(0))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_logcumsumexp_in_pieces(cut, rng):
    a = rng.normal(size=(2, 11)) * 300
    a[0, :5] = -np.inf
    found = laws.numpy_of(laws.made(a).logcumsumexp(1))
    np.testing.assert_allclose(found, np.logaddexp.accumulate(a, 1), rtol=1e-12)
    across = laws.numpy_of(laws.made(a.T.copy()).logcumsumexp(0))
    np.testing.assert_allclose(across.T, found, rtol=1e-12)


@pytest.mark.parametrize("backwards", [False, True])
def test_recurrence(backwards, rng):
    f, x = rng.normal(size=(2, 3, 5))
    h, expected = np.zeros(3), np.empty((3, 5))
    for k in range(5)[:: -1 if backwards else 1]:
        h = f[:, k] * h + x[:, k]
        expected[:, k] = h
    found = recurrence(laws.made(f), laws.made(x), 1, backwards)
    laws.assert_close(laws.numpy_of(found), expected, 1e-12)


GRADIENTS = {
    "cumsum": lambda x: x.cumsum(0),
    "cumprod": lambda x: x.cumprod(1),
    "logcumsumexp": lambda x: x.logcumsumexp(1),
    "cummax": lambda x: x.cummax(1).values,
    "cummin": lambda x: x.cummin(0).values,
    "recurrence": lambda x: recurrence(x, x * x, 1, True),
    "no dims": lambda x: x[0, 0].cumprod(0) + x[0, 1].cumsum(0) + x[1, 1].cummax(0)[0],
    "cast": lambda x: x.cumsum(0, dtype=nt.float64),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name, rng):
    if laws.simulated():
        pytest.skip("hundreds of evaluations")
    x = nt.tensor(rng.permutation(12).reshape(3, 4) * 0.2 - 1.0, requires_grad=True)
    assert nt.autograd.gradcheck(GRADIENTS[name], (x,))
    assert nt.autograd.gradgradcheck(lambda x: GRADIENTS[name](x * 1.5), (x,))


@pytest.mark.parametrize("zeros", [(), (0,), (2,), (1, 3)])
def test_products_with_zeros_have_gradients(zeros, rng):
    a = rng.uniform(0.5, 1.5, 5)
    a[list(zeros)] = 0
    expected = np.zeros(5)
    for k in range(5):  # of the sum of all products: those of the others, from k on
        others = a.copy()
        others[k] = 1
        expected[k] = np.cumprod(others)[k:].sum()
    x = laws.made(a).requires_grad_()
    x.cumprod(0).sum().backward()
    laws.assert_close(laws.numpy_of(x.grad), expected, 1e-12)
    if zeros and not laws.simulated():
        assert nt.autograd.gradgradcheck(lambda x: x.cumprod(0), (x,))


def test_gradient_of_logcumsumexp_beside_infinities():
    x = laws.made(np.array([-np.inf, 1.0, -np.inf, 1.0])).requires_grad_()
    x.logcumsumexp(0)[-1].backward()
    laws.assert_close(laws.numpy_of(x.grad), np.array([0, 0.5, 0, 0.5]), 1e-12)


# Differences


def test_diff(rng):
    a = rng.integers(0, 9, (3, 4))
    x = laws.made(a)
    for n in range(5):
        laws.assert_same(laws.numpy_of(nt.diff(x, n)), np.diff(a, n))
        laws.assert_same(laws.numpy_of(x.diff(n, 0)), np.diff(a, n, 0))
    found = nt.diff(x, prepend=x[:, :1], append=x[:, :2])
    expected = np.diff(a, prepend=a[:, :1], append=a[:, :2])
    laws.assert_same(laws.numpy_of(found), expected)
    laws.assert_same(laws.numpy_of(nt.diff(x > 4)), np.diff(a > 4))
    assert not laws.shares_memory(nt.diff(x, 0), x)
    with pytest.raises(ShapeError, match="at least one-dimensional"):
        nt.diff(x[0, 0])
    with pytest.raises(ShapeError, match="order must be non-negative"):
        nt.diff(x, -1)


def test_trapezoid(rng):
    y, at = rng.normal(size=(3, 4)), np.sort(rng.normal(size=4))
    spread = np.sort(rng.normal(size=(3, 4)))
    trapezoid = getattr(np, "trapezoid", None) or np.trapz
    u, v, w = laws.made(y), laws.made(at), laws.made(spread)

    def check(found, expected):
        laws.assert_close(laws.numpy_of(found), expected, 1e-12)

    check(nt.trapezoid(u), trapezoid(y))
    check(nt.trapezoid(u, v), trapezoid(y, at))
    check(nt.trapezoid(u, w), trapezoid(y, spread))
    check(nt.trapz(u, dx=0.5, dim=0), trapezoid(y, dx=0.5, axis=0))
    check(nt.cumulative_trapezoid(u, v)[:, -1], trapezoid(y, at))
    with pytest.raises(ShapeError, match="one `x` value for each sample point"):
        nt.trapezoid(u, v[:3])
    with pytest.raises(ShapeError, match="one `x` value for each sample point"):
        nt.trapezoid(u[0], v[:2])
