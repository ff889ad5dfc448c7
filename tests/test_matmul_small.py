"""Products of small matrices: every kernel and BLAS, against NumPy in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import numtensor as nt
from numtensor import launch_blas
from numtensor.autograd import gradcheck, gradgradcheck
from numtensor.ops import products

SIZES = [
    (1, 1, 1), (1, 5, 3), (2, 3, 4), (3, 4, 1), (4, 7, 5), (5, 8, 2), (13, 13, 13),
    (2, 15, 9), (3, 16, 6), (2, 17, 5), (3, 32, 7), (2, 50, 3), (1, 49, 17), (9, 1, 33),
]  # fmt: skip
#: how a matrix may lie in memory: its array, in NumPy, of the same values
LAYOUTS = {
    "rows": lambda x: x,
    "columns": lambda x: np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2),
    "apart": lambda x: np.repeat(np.repeat(x, 2, -1), 3, -2)[..., ::3, ::2],
}


def draw(rng, *shape, dtype="float32"):
    return rng.normal(size=shape).astype(dtype)


@pytest.fixture(params=["kernel", "blas", "numpy", "as it is"])
def way(request, monkeypatch):
    """Each way to a small product."""
    monkeypatch.setattr(products, "plans", {})
    monkeypatch.setattr(nt.ops.linear, "plans", products.plans)
    if request.param == "kernel":
        monkeypatch.setattr(products, "_TINY", products.SMALL)
    if request.param in ("blas", "numpy"):
        monkeypatch.setattr(products, "SMALL", 0)
    if request.param == "numpy":
        monkeypatch.setattr(launch_blas, "library", lambda: None)
    return request.param


def close(got, a, b, dtype="float32"):
    expected = a.astype("float64") @ b.astype("float64")
    assert tuple(got.shape) == expected.shape
    assert got.is_contiguous()
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(
        got.numpy(), expected, rtol=tolerance, atol=tolerance * scale
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_values_in_all_layouts(sizes, dtype, way, rng):
    n, m, k = sizes
    a, b = draw(rng, n, k, dtype=dtype), draw(rng, k, m, dtype=dtype)
    for left, right in itertools.product(LAYOUTS.values(), repeat=2):
        x, y = nt.from_numpy(left(a)), nt.from_numpy(right(b))
        close(x @ y, a, b, dtype)


@pytest.mark.parametrize("n", [1, 5, 13, 20])
def test_vectors(n, way, rng):
    a, b, v = draw(rng, n, n), draw(rng, 3, n, n), draw(rng, n)
    for left, right in itertools.product((a, b, v), (v, a, b)):
        close(nt.tensor(left) @ nt.tensor(right), left, right)
    close(nt.mv(nt.tensor(a), nt.tensor(v)), a, v)
    close(nt.dot(nt.tensor(v), nt.tensor(v)), v, v)
    close(nt.tensor(np.repeat(v, 2))[::2] @ nt.tensor(a), v, a)


@pytest.mark.parametrize(
    "shapes",
    [
        ((4, 3, 5), (4, 5, 9)),
        ((4, 3, 5), (5, 9)),
        ((3, 5), (4, 5, 9)),
        ((2, 3, 4, 5), (2, 3, 5, 2)),
        ((2, 1, 4, 5), (3, 5, 2)),
        ((2, 3, 4, 5), (2, 1, 5, 17)),
        ((1, 4, 5), (1, 5, 6)),
    ],
    ids=str,
)
def test_stacks(shapes, way, rng):
    a, b = draw(rng, *shapes[0]), draw(rng, *shapes[1])
    for left, right in itertools.product(LAYOUTS.values(), repeat=2):
        close(nt.from_numpy(left(a)) @ nt.from_numpy(right(b)), a, b)


def test_expanded_operands(way, rng):
    a, b = draw(rng, 1, 6), draw(rng, 6, 9)
    close(nt.tensor(a).expand(4, 6) @ nt.tensor(b), np.repeat(a, 4, 0), b)
    one = draw(rng, 1)
    got = nt.tensor(one).expand(4, 6) @ nt.tensor(b)
    close(got, np.broadcast_to(one, (4, 6)), b)
    got = nt.tensor(b).t() @ nt.tensor(one).expand(6, 5)
    close(got, b.T, np.broadcast_to(one, (6, 5)))


def test_one_tensor_twice(way, rng):
    a = draw(rng, 9, 9)
    x = nt.tensor(a)
    close(x @ x, a, a)
    close(x @ x.t(), a, a.T)


@pytest.mark.parametrize("shapes", [((0, 3), (3, 4)), ((2, 3), (3, 0)), ((0,), (0,))])
def test_no_elements(shapes, way):
    got = nt.ones(*shapes[0]) @ nt.ones(*shapes[1])
    assert tuple(got.shape) == (np.ones(shapes[0]) @ np.ones(shapes[1])).shape


def test_no_depth_gives_zeros(way):
    assert (nt.empty(2, 0) @ nt.empty(0, 3)).tolist() == [[0.0] * 3] * 2
    assert (nt.empty(4, 2, 0) @ nt.empty(0, 3)).sum().item() == 0


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "bool"])
def test_integers_and_bool(dtype, rng):
    a, b = (rng.integers(0, 3, (5, 5)).astype(dtype) for _ in range(2))
    got = (nt.tensor(a) @ nt.tensor(b)).numpy()
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, a @ b)


def test_not_a_number_and_infinity(way):
    a, b = np.ones((3, 9), "float32"), np.ones((9, 9), "float32")
    a[0, 0], a[1, 1], b[1, 8], b[2, 2] = np.nan, np.inf, 0, -np.inf
    with np.errstate(all="ignore"):
        expected = a @ b
    np.testing.assert_array_equal((nt.tensor(a) @ nt.tensor(b)).numpy(), expected)


@pytest.mark.parametrize(
    "shapes",
    [
        ((4, 3), (3, 9)), ((3,), (3, 2)), ((2, 3), (3,)), ((3,), (3,)),
        ((2, 4, 3), (2, 3, 5)), ((2, 4, 3), (3, 5)), ((4, 3), (2, 3, 5)),
        ((3,), (2, 3, 5)), ((2, 4, 3), (3,)), ((2, 1, 2, 3), (3, 3, 2)),
    ],
    ids=str,
)  # fmt: skip
def test_gradients(shapes, way, rng):
    a, b = (
        nt.tensor(draw(rng, *s, dtype="float64"), requires_grad=True) for s in shapes
    )
    assert gradcheck(nt.matmul, (a, b))
    assert gradgradcheck(nt.matmul, (a, b))
    only = nt.tensor(a.detach().numpy(), requires_grad=True)
    assert gradcheck(lambda x: nt.matmul(x, b.detach()), (only,))
    assert gradcheck(lambda y: nt.matmul(a.detach(), y), (b,))


def test_gradients_of_views_and_strided_cotangents(way, rng):
    a = nt.tensor(draw(rng, 5, 8, dtype="float64"), requires_grad=True)
    b = nt.tensor(draw(rng, 5, 8, dtype="float64"), requires_grad=True)
    assert gradcheck(lambda x, y: (x.t() @ y).t(), (a, b))
    assert gradcheck(lambda x, y: (x[:, ::2] @ y[:, 1::2].t()).sum(), (a, b))
    weights = nt.tensor(draw(rng, 5, 5, dtype="float64"))
    (a @ b.t() * weights.t()).sum().backward()
    wanted = weights.numpy().T
    np.testing.assert_allclose(a.grad.numpy(), wanted @ b.detach().numpy(), 1e-12)
    np.testing.assert_allclose(b.grad.numpy(), wanted.T @ a.detach().numpy(), 1e-12)


def test_a_changed_operand_is_noticed(way):
    a, b = nt.ones(3, 3, requires_grad=True), nt.ones(3, 3)
    product = a @ b
    b += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.sum().backward()


def test_nodes_are_named_as_pytorch_names_them():
    def named(a, b):
        return (nt.ones(*a, requires_grad=True) @ nt.ones(*b)).grad_fn.name()

    assert named((2, 3), (3, 4)) == "MmBackward0"
    assert named((2, 3), (3,)) == "MvBackward0"
    assert named((3,), (3,)) == "DotBackward0"
    assert named((3,), (3, 4)) == "SqueezeBackward4"


def test_which_way_is_taken(monkeypatch):
    def call(n, dtype="float32"):
        x = nt.empty(n, n, dtype=dtype)
        monkeypatch.setattr(products, "plans", {})
        return products.plan_of(x._spec, x._spec).call

    by_hand = type(call(4))
    assert by_hand.__module__ == "numtensor.launch_cpu"
    assert call(4, "int64") is None
    monkeypatch.setattr(launch_blas, "library", lambda: None)
    assert type(call(13)) is by_hand
    assert call(64) is None


def test_errors_come_from_a_second_call_too():
    a, b = nt.ones(2, 3), nt.ones(4, 5)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"cannot be multiplied \(2x3 and 4x5\)"):
            a @ b
        with pytest.raises(RuntimeError, match=r"matmul\(a, b.mT\)"):
            a @ nt.ones(5, 3)
        with pytest.raises(RuntimeError, match="at least 1D"):
            nt.matmul(nt.tensor(1.0), a)
        with pytest.raises(RuntimeError, match="same dtype"):
            a @ nt.ones(3, 3, dtype="float64")
        with pytest.raises(TypeError, match="two Tensors"):
            nt.matmul(a, 3)


@pytest.mark.torch
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_beside_pytorch(sizes, rng):
    torch = pytest.importorskip("torch")
    n, m, k = sizes
    arrays = draw(rng, n, k), draw(rng, k, m)
    results = []
    for library in (nt, torch):
        a, b = (library.tensor(x).requires_grad_() for x in arrays)
        (a @ b).exp().sum().backward()
        results.append((a.grad.numpy(), b.grad.numpy()))
    for own, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(own, theirs, rtol=2e-3, atol=1e-4)
