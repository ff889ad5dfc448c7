"""What is sorted, scanned and counted beside PyTorch: dtypes, shapes, values."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import numtensor as nt

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

#: calls as text, with T the library, x of shape (4, 5) and v of shape (7,)
CALLS = [
    "T.sort(x, 0)", "T.sort(v, descending=True)", "T.argsort(x)", "T.msort(x)",
    "T.topk(x, 3)", "T.topk(x, 2, 0, largest=False)", "T.kthvalue(x, 2)",
    "T.median(x)", "T.median(x, 1, keepdim=True)", "T.nanmedian(x, 0)",
    "T.cumsum(x, 1)", "T.cumprod(x, 0)", "T.cummax(x, 0)", "T.cummin(x, -1)",
    "T.cumsum(x, 0, dtype=T.float64)", "T.cumprod(v, 0, dtype=T.int32)",
    "T.logcumsumexp(x.double(), 1)", "T.unique(x)", "T.unique(x, return_counts=True)",
    "T.unique(x, return_inverse=True, return_counts=True)", "T.unique(x % 2, dim=0)",
    "T.unique_consecutive(x % 2, return_counts=True)", "T.mode(v)",
    "T.unique_consecutive(x % 2, dim=1, return_inverse=True)",
    "T.diff(x, 2)", "T.diff(x > 9)", "T.isin(x, v)", "T.isin(x, 3)",
    "T.isin(x, v, invert=True)", "T.searchsorted(T.sort(v)[0], v)",
    "T.searchsorted(T.sort(v)[0], v + 0.5)",
    "T.searchsorted(T.sort(x)[0], x[:, :2].contiguous(), right=True, out_int32=True)",
    "T.bucketize(x, T.sort(v)[0])", "T.bucketize(3, T.sort(v)[0], right=True)",
    "T.quantile(x.double(), 0.3)", "T.quantile(x.double(), 0.3, 0, keepdim=True)",
    "T.quantile(x.float(), T.tensor([0.1, 0.5]), 1, interpolation='nearest')",
    "T.nanquantile(x.double(), T.tensor([0.2], dtype=T.float64), keepdim=True)",
    "T.histc(x.float(), 4, 1, 9)", "T.histc(x.double(), 6)",
    "T.histogram(x.float(), 3)", "T.histogram(v.double(), 4, range=(0.0, 9.0))",
    "T.trapezoid(x.double())", "T.cumulative_trapezoid(x.double(), dim=0)",
]  # fmt: skip
COUNTS = [
    "T.bincount(v)", "T.bincount(v, minlength=40)", "T.bincount(v, v.float())",
    "T.bincount(v, v)",
]  # fmt: skip


def evaluated(T, text, dtype):
    rng = np.random.default_rng(4)
    x = rng.permutation(20).reshape(4, 5)
    v = rng.permutation(12)[:7]
    if dtype == "float32":
        x = np.where(x == 7, np.nan, x)
    make = T.from_numpy if T is torch else nt.from_numpy
    return eval(text, {
        "T": T, "x": make(x.astype(dtype)), "v": make(v.astype(dtype)),
    })  # fmt: skip


def same(found, expected):
    if isinstance(expected, (tuple, list)):
        for a, b in zip(found, expected, strict=True):
            same(a, b)
        return
    assert str(found.dtype) == str(expected.dtype)
    assert tuple(found.shape) == tuple(expected.shape)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), 1e-6, 1e-6)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float32"])
@pytest.mark.parametrize("text", CALLS)
def test_as_pytorch(text, dtype):
    nan = dtype == "float32"
    if nan and any(w in text for w in ("hist", "% 2", "unique", "T.quantile(x, ")):
        pytest.skip("of NaN")
    same(evaluated(nt, text, dtype), evaluated(torch, text, dtype))


@pytest.mark.parametrize("text", COUNTS)
def test_counts_as_pytorch(text):
    same(evaluated(nt, text, "int64"), evaluated(torch, text, "int64"))


WRONG = [
    "T.topk(v, 8)", "T.sort(x, 2)", "T.cumsum(x, -3)", "T.kthvalue(v, 0)",
    "T.median(x[:0], 0)", "T.quantile(x, 0.5)", "T.quantile(v.double(), 1.5)",
    "T.bincount(x)", "T.bincount(v - 20)", "T.bincount(v.float())",
    "T.bucketize(v, x)", "T.diff(v[0])",
    "T.histc(v.double(), 0)", "T.histc(v.double(), 3, 2, 1)", "T.isin(1, 2)",
]  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_refused_as_pytorch_refuses(text):
    with pytest.raises(Exception) as theirs:
        evaluated(torch, text, "int64")
    caught = IndexError if isinstance(theirs.value, IndexError) else (
        RuntimeError, TypeError,
    )  # fmt: skip
    with pytest.raises(caught):
        evaluated(nt, text, "int64")


def test_gradients_as_pytorch(rng):
    a = rng.normal(size=(3, 6))
    a[1, 2] = 0
    for call in (
        lambda T, x: T.cumprod(x, 1), lambda T, x: T.logcumsumexp(x, 0),
        lambda T, x: T.cummax(x, 1)[0], lambda T, x: T.median(x, 1)[0],
        lambda T, x: T.median(x), lambda T, x: T.quantile(x, 0.3, 1),
        lambda T, x: T.topk(x, 2)[0], lambda T, x: T.sort(x, 0)[0],
    ):  # fmt: skip
        grads = []
        for T in (nt, importlib.import_module("torch")):
            x = T.tensor(a, requires_grad=True)
            (call(T, x) ** 2).sum().backward()
            grads.append(x.grad.numpy())
        np.testing.assert_allclose(*grads, 1e-9, 1e-12)
