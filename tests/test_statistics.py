"""Medians, modes, quantiles and counts, against NumPy."""

from __future__ import annotations

import laws
import numpy as np
import pytest

import numtensor as nt
from numtensor import sorted_rows
from numtensor.errors import DimError, DTypeError, ShapeError

pytestmark = pytest.mark.usefixtures("device")


def lower_median(a, dim, skip_nan):
    """Values and places, the dim kept: of sorted rows, NaN last."""
    order = np.argsort(a, dim, kind="stable")
    ordered = np.take_along_axis(a, order, dim)
    n = a.shape[dim]
    known = (ordered == ordered).sum(dim, keepdims=True)
    k = np.where(known < n, known, (n - 1) // 2)
    if skip_nan:
        k = np.maximum(known - 1, 0) // 2
    return np.take_along_axis(ordered, k, dim), np.take_along_axis(order, k, dim)


@pytest.mark.parametrize("name", ["median", "nanmedian"])
@pytest.mark.parametrize("dim", [0, 1])
def test_medians(name, dim, rng):
    a = rng.integers(0, 4, (5, 6)).astype("float64")
    a[1, 2] = a[3, :] = a[4, 4] = np.nan
    for array in (a, np.nan_to_num(a).astype("int64")):
        expected = lower_median(array, dim, name == "nanmedian")
        for keepdim in (True, False):
            found = getattr(laws.made(array), name)(dim, keepdim)
            for got, want in zip(found, expected, strict=True):
                want = want if keepdim else want.squeeze(dim)
                np.testing.assert_array_equal(laws.numpy_of(got), want)
    assert repr(found).startswith(f"torch.return_types.{name}(\nvalues=")


def test_medians_of_everything():
    x = laws.made(np.array([[4.0, 1.0], [2.0, 3.0]]))
    assert x.median().item() == 2 and x.t().nanmedian().item() == 2
    y = laws.made(np.array([1.0, np.nan, 3.0, 2.0]))
    assert np.isnan(y.median().item()) and y.nanmedian().item() == 2
    assert np.isnan(y[:0].median().item())
    assert laws.made(np.float32(3)).median().item() == 3
    with pytest.raises(DimError, match="Expected reduction dim 0 to have non-zero"):
        y[:0].median(0)


@pytest.mark.parametrize("nan", [False, True])
def test_medians_of_long_rows(nan, rng):
    with laws.on_cpu():
        a = rng.normal(size=(2, 2 * sorted_rows.PIECE + 4)).astype("float32")
        if nan:
            a[0, 7] = np.nan
        for name in ("median", "nanmedian"):
            found = getattr(laws.made(a), name)(1, True)
            expected = lower_median(a, 1, name == "nanmedian")
            for got, want in zip(found, expected, strict=True):
                np.testing.assert_array_equal(got.numpy(), want)


def test_mode():
    a = np.array([[2, 1, 2, 1, 3], [4, 4, 4, 0, 0], [3, 2, 1, 0, 5]])
    values, places = laws.made(a).mode()
    assert values.tolist() == [1, 4, 0] and places.tolist() == [3, 2, 3]
    across = laws.made(a.T.copy()).mode(0, keepdim=True)
    assert across.values.tolist() == [[1, 4, 0]]
    with pytest.raises(DimError, match="non-zero size"):
        laws.made(a[:, :0]).mode()


@pytest.mark.parametrize("how", ["linear", "lower", "higher", "midpoint", "nearest"])
@pytest.mark.parametrize("name", ["quantile", "nanquantile"])
def test_quantiles(name, how, rng):
    a = rng.normal(size=(3, 5))
    if name == "nanquantile":
        a[0, 1] = a[2, 2] = np.nan
    x, at = laws.made(a), np.array([0.0, 0.35, 0.5, 1.0])
    call, reference = getattr(nt, name), getattr(np, name)

    def check(q, **k):
        given = laws.made(q) if isinstance(q, np.ndarray) else q
        found = call(x, given, interpolation=how, **k)
        k = {"axis": k.get("dim"), "keepdims": k.get("keepdim", False)}
        expected = reference(a, q, method=how, **k)
        laws.assert_close(laws.numpy_of(found), expected, 1e-12)

    check(at)
    check(0.35, dim=0)
    if not laws.simulated():
        check(at, dim=1)
        check(at, dim=0, keepdim=True)
        check(0.7, keepdim=True)
        check(0.7, dim=-1, keepdim=True)


def test_a_nan_is_the_quantile():
    x = laws.made(np.array([[1.0, np.nan, 2.0], [1.0, 3.0, 2.0]]))
    first, second = x.quantile(0.5, 1).tolist()
    assert np.isnan(first) and second == 2


def test_quantiles_refuse():
    x = laws.made(np.zeros(3))
    with pytest.raises(DTypeError, match="must be either float or double dtype"):
        x.long().quantile(0.5)
    with pytest.raises(ShapeError, match=r"q must be in the range \[0, 1\] but got 2"):
        x.quantile(2)
    with pytest.raises(ShapeError, match=r"q values must be in the range \[0, 1\]"):
        x.quantile(x + 2)
    with pytest.raises(DTypeError, match="q tensor must be same dtype as the input"):
        x.quantile(x.float())
    with pytest.raises(ShapeError, match="interpolation must be one of linear"):
        x.quantile(0.5, interpolation="cubic")
    with pytest.raises(DimError, match="non-zero size"):
        x[:0].quantile(0.5)


GRADIENTS = {
    "median": lambda x: x.median(1).values,
    "all": lambda x: x.median() + x.nanmedian(),
    "mode": lambda x: x.mode(0).values,
    "quantile": lambda x: x.quantile(0.37, 1),
    "nanquantile": lambda x: x.nanquantile(0.6),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name, rng):
    if laws.simulated():
        pytest.skip("hundreds of evaluations")
    x = nt.tensor(rng.permutation(12).reshape(3, 4) * 0.3, requires_grad=True)
    assert nt.autograd.gradcheck(GRADIENTS[name], (x,))
    assert nt.autograd.gradgradcheck(lambda x: GRADIENTS[name](x * x), (x,))


def test_equal_medians_share_the_gradient():
    x = laws.made(np.array([1.0, 2.0, 2.0, 5.0])).requires_grad_()
    x.median().backward()
    assert x.grad.tolist() == [0, 0.5, 0.5, 0]


# Counts


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_bincount(dtype, rng):
    a = rng.integers(0, 6, 15).astype(dtype)
    w = rng.normal(size=15)
    x = laws.made(a)
    laws.assert_same(laws.numpy_of(x.bincount()), np.bincount(a))
    found = nt.bincount(x, minlength=9)
    laws.assert_same(laws.numpy_of(found), np.bincount(a, minlength=9))
    found = nt.bincount(x, laws.made(w))
    laws.assert_close(laws.numpy_of(found), np.bincount(a, w), 1e-12)
    assert nt.bincount(x, laws.made(w.astype("float32"))).dtype is nt.float32
    assert nt.bincount(x, x).dtype is nt.float64
    assert nt.bincount(x[:0], minlength=2).tolist() == [0, 0]


def test_bincount_in_pieces(rng):
    a = rng.integers(0, 50, 3 * sorted_rows.PIECE)
    w = rng.normal(size=a.size)
    with laws.on_cpu():
        laws.assert_same(laws.made(a).bincount().numpy(), np.bincount(a))
        found = laws.made(a).bincount(laws.made(w)).numpy()
        np.testing.assert_allclose(found, np.bincount(a, w), rtol=1e-9, atol=1e-9)


def test_counting_refuses():
    x = laws.made(np.array([1, 2]))
    rule = "bincount only supports 1-d non-negative integral inputs"
    with pytest.raises(ShapeError, match=rule):
        nt.bincount(x - 3)
    with pytest.raises(ShapeError, match=rule):
        nt.bincount(x.reshape(1, 2))
    with pytest.raises(ShapeError, match="minlength should be >= 0"):
        nt.bincount(x, minlength=-1)
    with pytest.raises(ShapeError, match="have the same length as input"):
        nt.bincount(x, x[:1])
    with pytest.raises(DTypeError, match="bincount: got torch.float64"):
        nt.bincount(x.double())
    with pytest.raises(DTypeError, match="histc: got torch.int64"):
        nt.histc(x)
    with pytest.raises(ShapeError, match="max must be larger than min"):
        nt.histc(x.double(), 3, 2, 1)
    with pytest.raises(ShapeError, match="bins must be > 0"):
        nt.histc(x.double(), 0)
    with pytest.raises(ShapeError, match="is not finite"):
        nt.histc(x / 0.0)


@pytest.mark.parametrize("dtype", laws.FLOATS)
def test_histograms(dtype, rng):
    a = rng.normal(size=12).astype(dtype)
    a[:3] = -1, 0.5, 1  # on edges
    x = laws.made(a)
    found = nt.histc(x, 4, -1, 1)
    assert found.dtype is x.dtype
    expected = np.histogram(a, 4, (-1, 1))
    np.testing.assert_array_equal(laws.numpy_of(found), expected[0])
    found = x.histogram(4, range=(-1.0, 1.0))
    np.testing.assert_array_equal(laws.numpy_of(found.hist), expected[0])
    laws.assert_close(laws.numpy_of(found.bin_edges), expected[1], 1e-6)
    edges = np.array([-2, -1, 0.5, 1], dtype)
    found = nt.histogram(x, laws.made(edges), weight=x * x, density=True)
    expected = np.histogram(a, edges, weights=a * a, density=True)
    laws.assert_close(laws.numpy_of(found.hist), expected[0], 1e-5)
    # of values that are all the same, and of what is no number
    assert nt.histc(laws.made(np.full(3, 2, dtype)), 2).tolist() == [0, 3]
    y = laws.made(np.array([np.nan, 0.5, np.inf], dtype))
    assert nt.histc(y, 2, 0, 1).tolist() == [0, 1]
    assert repr(nt.histogram(y[1:2], 1)).startswith("torch.return_types.histogram(")
