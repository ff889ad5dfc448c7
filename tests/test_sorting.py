"""Sorting, choosing by order, searching and distinct elements, against NumPy."""

from __future__ import annotations

import laws
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtensor as nt
from numtensor import chosen_rows, sorted_rows
from numtensor.errors import AutogradError, DimError, DTypeError, ShapeError

pytestmark = pytest.mark.usefixtures("device")

SPECIAL = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 1.0, -2.5, 1e-42, 3e38]


def order_of(a, dim, descending):
    """Stable order; NaN is the largest."""
    if not descending:
        return np.argsort(a, axis=dim, kind="stable")
    back = np.argsort(np.flip(a, dim), axis=dim, kind="stable")
    return np.flip(a.shape[dim] - 1 - back, dim)


def check_sort(x, a, dim, descending):
    values, places = nt.sort(x, dim, descending)
    order = order_of(a, dim, descending)
    assert values.dtype is x.dtype and places.dtype is nt.int64
    np.testing.assert_array_equal(laws.numpy_of(places), order)
    expected = np.take_along_axis(a, order, dim)
    np.testing.assert_array_equal(laws.numpy_of(values), expected)
    if a.dtype.kind == "f":
        signs = np.signbit(laws.numpy_of(values))
        np.testing.assert_array_equal(signs, np.signbit(expected))


@pytest.mark.parametrize("dtype", laws.DTYPES)
@pytest.mark.parametrize("descending", [False, True])
def test_every_dtype_and_special_values(dtype, descending, rng):
    a = rng.integers(-3, 4, 20)
    a = np.abs(a).astype(dtype) if dtype in ("bool", "uint8") else a.astype(dtype)
    if dtype in laws.FLOATS:
        with np.errstate(over="ignore"):
            a[:11] = np.array(SPECIAL).astype(dtype)
        rng.shuffle(a)
    elif dtype != "bool":
        a[3], a[7] = np.iinfo(dtype).min, np.iinfo(dtype).max
    check_sort(laws.made(a), a, 0, descending)


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_every_dim_and_layout(dim, rng):
    a = rng.integers(0, 5, (3, 4, 3)).astype("float64")
    check_sort(laws.made(a), a, dim, False)
    check_sort(laws.made(a).permute(2, 0, 1), a.transpose(2, 0, 1), dim, True)
    check_sort(laws.made(a)[:, ::2], a[:, ::2], dim, False)
    wide = np.broadcast_to(a[:1], a.shape)
    check_sort(laws.made(a[:1]).expand(3, 4, 3), wide, dim, False)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (1,), (2, 1)])
def test_few_or_no_elements(shape):
    a = np.zeros(shape, "float32")
    check_sort(laws.made(a), a, -1, False)
    check_sort(laws.made(a), a, 0, True)


def test_no_dims():
    values, places = nt.sort(laws.made(np.float32(2.5)))
    assert values.shape == places.shape == ()
    assert values.item() == 2.5 and places.item() == 0


@settings(max_examples=25)
@given(
    st.lists(st.floats(width=32) | st.sampled_from([0.0, -0.0, 1.0]), max_size=12),
    st.booleans(),
)
def test_any_values(values, descending):
    a = np.array(values, "float32")
    check_sort(laws.made(a), a, 0, descending)


#: numbers of elements on both sides of where the ways of sorting change
SIZES = [2, 63, 64, 65, 300, 8191, 8193, 2 * sorted_rows.PIECE - 1]


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_rows_of_many_lengths(dtype, rng):
    with laws.on_cpu():
        for n in SIZES:
            for scale in (2.0, 1e6):
                a = (rng.normal(size=(2, n)) * scale).astype(dtype)
                check_sort(laws.made(a), a, 1, n % 2 == 0)
                check_sort(laws.made(a.T.copy()), a.T, 0, False)


@pytest.mark.parametrize("dtype", laws.DTYPES)
@pytest.mark.parametrize("descending", [False, True])
def test_long_rows(dtype, descending, rng):
    """Rows cut into pieces, keys beside places and apart from them."""
    n = 2 * sorted_rows.PIECE + 5
    kinds = [rng.normal(size=n) * 3, np.full(n, 7), rng.normal(size=n) * 1e9]
    if dtype == "int64":
        kinds.append(rng.integers(-(2**63), 2**63 - 1, n))
    with laws.on_cpu(), np.errstate(invalid="ignore"):
        for values in kinds:
            a = values.astype(dtype)
            if dtype in laws.FLOATS:
                a[: len(SPECIAL)] = np.array(SPECIAL).astype(dtype)
            check_sort(laws.made(a), a, 0, descending)
        a = np.stack([a, a[::-1]])
        check_sort(laws.made(a), a, 1, descending)
        check_sort(laws.made(a.T.copy()), a.T, 0, descending)


def test_argsort_and_msort():
    a = np.array([[3, 1, 2], [0, 5, 2]])
    x = laws.made(a)
    found = nt.argsort(x, 0, descending=True)
    laws.assert_same(laws.numpy_of(found), order_of(a, 0, True))
    laws.assert_same(laws.numpy_of(x.argsort()), order_of(a, 1, False))
    laws.assert_same(laws.numpy_of(nt.msort(x)), np.sort(a, 0))


def test_results_print_and_unpack():
    found = nt.sort(nt.tensor([2, 1]))
    assert repr(found) == (
        "torch.return_types.sort(\nvalues=tensor([1, 2]),\nindices=tensor([1, 0]))"
    )
    assert found.values is found[0] and found.indices is found[1]


def test_out():
    x = laws.made(np.array([3.0, 1.0, 2.0]))
    values, places = nt.empty_like(x), nt.empty_like(x, dtype=nt.int64)
    nt.sort(x, out=(values, places))
    assert values.tolist() == [1, 2, 3] and places.tolist() == [1, 2, 0]
    with pytest.raises(ShapeError, match="sort: got out of shape"):
        nt.sort(x, out=(values[:2], places))


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("k", [0, 1, 3, 17, 20])
def test_topk(k, largest, rng):
    a = rng.integers(0, 9, (2, 20)).astype("float64")
    a[0, 3] = np.nan
    order = order_of(a, 1, largest)[:, :k]
    values, places = laws.made(a).topk(k, largest=largest)
    np.testing.assert_array_equal(laws.numpy_of(places), order)
    expected = np.take_along_axis(a, order, 1)
    np.testing.assert_array_equal(laws.numpy_of(values), expected)
    across = laws.made(a.T.copy()).topk(k, 0, largest)
    np.testing.assert_array_equal(laws.numpy_of(across.values), expected.T)


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8"])
def test_choosing_from_long_rows(dtype, rng):
    n = 2 * sorted_rows.PIECE + 5
    a = (rng.normal(size=(2, n)) * 20).astype(dtype)
    if dtype == "float32":
        a[0, :3] = np.nan, np.inf, -0.0
    with laws.on_cpu():
        x = laws.made(a)
        for descending in (False, True):
            order = order_of(a, 1, descending)
            for low, high in ((0, 5), (n // 2, n // 2 + 1), (n - 3, n)):
                _, places = chosen_rows.part(x, 1, low, high, descending)
                np.testing.assert_array_equal(places.numpy(), order[:, low:high])


@pytest.mark.parametrize("keepdim", [False, True])
def test_kthvalue(keepdim, rng):
    a = rng.permutation(12).reshape(3, 4).astype("float64")
    for dim in (0, 1):
        values, places = laws.made(a).kthvalue(2, dim, keepdim)
        order = order_of(a, dim, False).take([1], dim)
        expected = np.take_along_axis(a, order, dim)
        if not keepdim:
            order, expected = order.squeeze(dim), expected.squeeze(dim)
        laws.assert_same(laws.numpy_of(places), order)
        laws.assert_same(laws.numpy_of(values), expected)


def test_k_out_of_range():
    x = laws.made(np.zeros((2, 3)))
    with pytest.raises(RuntimeError, match="selected index k out of range"):
        x.topk(4)
    with pytest.raises(
        RuntimeError,
        match="selected number k out of range for dimension 1",
    ):
        x.kthvalue(0)
    with pytest.raises(DimError, match="Dimension out of range"):
        x.sort(2)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: nt.sort(x, 0, True).values,
        lambda x: nt.topk(x, 2, 1).values,
        lambda x: nt.kthvalue(x, 2, 0, True).values,
        lambda x: nt.sort(x[0, 0]).values,
    ],
)
def test_gradients(call, rng):
    if laws.simulated():
        pytest.skip("hundreds of evaluations")
    x = nt.tensor(rng.permutation(12).reshape(3, 4) * 0.37, requires_grad=True)
    assert nt.autograd.gradcheck(call, (x,))
    assert nt.autograd.gradgradcheck(lambda x: call(x * x), (x,))


def test_gradient_goes_where_values_came_from():
    x = laws.made(np.array([3.0, 1.0, 2.0])).requires_grad_()
    (x.sort().values * laws.made(np.array([1.0, 10.0, 100.0]))).sum().backward()
    assert x.grad.tolist() == [100.0, 1.0, 10.0]
    assert x.sort().values.grad_fn.name() == "SortBackward0"


# Searching


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("dtype", ["int64", "float32"])
def test_searchsorted(right, dtype, rng):
    side = "right" if right else "left"
    for n in (0, 1, 2, 5, 8, 9):
        row = np.sort(rng.integers(-4, 5, n)).astype(dtype)
        values = rng.integers(-6, 7, (2, 5)).astype(dtype)
        found = nt.searchsorted(laws.made(row), laws.made(values), right=right)
        expected = np.searchsorted(row, values, side)
        laws.assert_same(laws.numpy_of(found), expected)
        found = nt.searchsorted(laws.made(row), laws.made(values), side=side)
        laws.assert_same(laws.numpy_of(found), expected)
    found = nt.bucketize(laws.made(values), laws.made(row), right=right, out_int32=True)
    laws.assert_same(laws.numpy_of(found), expected.astype("int32"))


def test_searchsorted_in_rows_and_by_sorter(rng):
    rows, values = rng.integers(0, 9, (2, 6)), rng.integers(0, 9, (2, 3))
    ordered = np.sort(rows, 1)
    expected = [np.searchsorted(r, v) for r, v in zip(ordered, values, strict=True)]
    x, y = laws.made(rows), laws.made(values)
    found = nt.searchsorted(x, y, sorter=x.argsort())
    laws.assert_same(laws.numpy_of(found), np.stack(expected))
    found = nt.searchsorted(x.sort().values, y)
    laws.assert_same(laws.numpy_of(found), np.stack(expected))
    assert nt.searchsorted(laws.made(ordered[0]), 2.5).shape == ()


def test_searching_refuses():
    x, y = laws.made(np.arange(3.0)), laws.made(np.arange(3))
    with pytest.raises(DTypeError, match="sorter must be a tensor of long dtype"):
        nt.searchsorted(x, x, sorter=x)
    with pytest.raises(ShapeError, match="first N-1 dimensions"):
        nt.searchsorted(x.expand(2, 3), x)
    with pytest.raises(ShapeError, match="sorter index out of range"):
        nt.searchsorted(x, x, sorter=y + 1)
    with pytest.raises(ShapeError, match="can't be set to opposites"):
        nt.searchsorted(x, x, right=True, side="left")
    with pytest.raises(ShapeError, match="boundaries tensor must be 1 dimension"):
        nt.bucketize(x, x.expand(2, 3))
    with pytest.raises(DTypeError, match="isin: got two numbers"):
        nt.isin(1, 2)


def test_isin():
    a, b = np.array([[1.0, np.nan], [3, 5]]), np.array([5, 1, np.nan, 1])
    x, y = laws.made(a), laws.made(b)
    laws.assert_same(laws.numpy_of(nt.isin(x, y)), np.isin(a, b))
    laws.assert_same(laws.numpy_of(nt.isin(x, y, invert=True)), ~np.isin(a, b))
    laws.assert_same(laws.numpy_of(nt.isin(x, 3)), np.isin(a, 3))
    assert nt.isin(3, x).item() is True
    assert not nt.isin(x, y[:0]).any()


# Distinct elements


@pytest.mark.parametrize("dtype", ["int64", "float32", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (9,), (3, 4)])
def test_unique(dtype, shape, rng):
    a = rng.integers(-2, 3, shape).astype(dtype)
    found = nt.unique(laws.made(a), return_inverse=True, return_counts=True)
    values, inverse, counts = np.unique(a, return_inverse=True, return_counts=True)
    laws.assert_same(laws.numpy_of(found[0]), values)
    laws.assert_same(laws.numpy_of(found[1]), inverse.reshape(shape))
    laws.assert_same(laws.numpy_of(found[2]), counts)


def test_unique_counts_each_nan():
    x = laws.made(np.array([np.nan, 1.0, np.nan]))
    values, counts = nt.unique(x, return_counts=True)
    assert counts.tolist() == [1, 1, 1] and values[0].item() == 1


@pytest.mark.parametrize("dim", [0, 1])
def test_unique_slices(dim, rng):
    a = rng.integers(0, 2, (5, 2, 2)).swapaxes(0, dim).copy()
    found = nt.unique(laws.made(a), dim=dim, return_inverse=True, return_counts=True)
    values, inverse, counts = np.unique(
        a, axis=dim, return_inverse=True, return_counts=True
    )
    laws.assert_same(laws.numpy_of(found[0]), values)
    laws.assert_same(laws.numpy_of(found[1]), inverse.reshape(-1))
    laws.assert_same(laws.numpy_of(found[2]), counts)


def test_unique_consecutive():
    x = laws.made(np.array([1, 1, 2, 2, 2, 1]))
    values, inverse, counts = nt.unique_consecutive(x, True, True)
    assert values.tolist() == [1, 2, 1]
    assert inverse.tolist() == [0, 0, 1, 1, 1, 2] and counts.tolist() == [2, 3, 1]
    rows = laws.made(np.array([[1, 2], [1, 2], [2, 2], [1, 2]]))
    assert nt.unique_consecutive(rows, dim=0).tolist() == [[1, 2], [2, 2], [1, 2]]


def test_unique_of_nothing():
    with pytest.raises(DimError, match="there are 0 sized dimensions"):
        nt.unique(laws.made(np.zeros((2, 0))), dim=0)


@pytest.mark.parametrize("keepdim", [False, True])
def test_extremes_and_out(keepdim):
    x = nt.tensor([[1.0, 5.0], [4.0, 2.0]], device=laws.DEVICE)
    shape = (2, 1) if keepdim else (2,)
    values = nt.empty(shape, device=laws.DEVICE)
    places = nt.empty(shape, dtype=nt.int64, device=laws.DEVICE)
    pair = nt.max(x, 1, keepdim, out=(values, places))
    assert pair.values is values and pair.indices is places
    assert laws.numpy_of(values).ravel().tolist() == [5, 4]
    assert laws.numpy_of(places).ravel().tolist() == [1, 0]
    both, one = nt.empty(2, 2, device=laws.DEVICE), nt.empty((), device=laws.DEVICE)
    assert nt.min(x, x.t(), out=both) is both
    assert laws.numpy_of(both).tolist() == [[1, 4], [4, 2]]
    assert nt.min(x, out=one) is one and one.item() == 1
    with pytest.raises(ShapeError, match="max: got out of shape"):
        nt.max(x, 1, keepdim, out=(values[:1], places))


def test_out_is_neither_broadcast_to_nor_recorded():
    x = nt.tensor([3.0, 1.0], requires_grad=True, device=laws.DEVICE)
    with pytest.raises(ShapeError, match="msort: got out of shape"):
        nt.msort(x.detach(), out=nt.empty(2, 2, device=laws.DEVICE))
    with pytest.raises(ShapeError, match="diff: got out of shape"):
        nt.diff(x.detach(), out=nt.empty(2, device=laws.DEVICE))
    with pytest.raises(AutogradError, match="don't support automatic differentiation"):
        nt.msort(x, out=nt.empty(2, device=laws.DEVICE))
