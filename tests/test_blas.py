"""Products by BLAS on our own threads: every layout that BLAS takes, and what it does
not, NumPy being the oracle."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import numtensor as nt
from numtensor import launch_blas
from numtensor.ops import products

SIZES = [(64, 80, 96), (3, 4000, 11), (200, 3, 200), (1, 300, 300), (300, 300, 1)]


@pytest.fixture
def fresh(monkeypatch):
    """Let every plan be made anew, and none be by hand."""
    monkeypatch.setattr(products, "plans", {})
    monkeypatch.setattr(products, "SMALL", 0)
    monkeypatch.setattr(products, "_SMALL_EACH", 0)


def laid(x, how):
    """Return a tensor of these values, laid out in a way."""
    if how == "rows":
        return nt.tensor(x)
    if how == "columns":
        return nt.tensor(np.ascontiguousarray(x.swapaxes(-1, -2))).mT
    if how == "wide":
        return nt.tensor(np.concatenate([x, x], -1))[..., : x.shape[-1]]
    return nt.tensor(np.repeat(x, 2, -1))[..., ::2]  # none that BLAS takes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
def test_layouts(fresh, rng, size, dtype):
    n, k, m = size
    a, b = (rng.standard_normal(s).astype(dtype) for s in ((n, k), (k, m)))
    tolerance = 1e-3 if dtype == "float32" else 1e-10
    for left in ("rows", "columns", "wide", "gaps"):
        for right in ("rows", "columns", "wide", "gaps"):
            x, y = laid(a, left), laid(b, right)
            np.testing.assert_allclose(
                nt.matmul(x, y), a @ b, tolerance, tolerance, err_msg=f"{left} {right}"
            )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((3, 20, 30), (3, 30, 40)),
        ((3, 20, 30), (30, 40)),
        ((2, 1, 20, 30), (3, 30, 40)),
        ((1, 20, 30), (2, 3, 30, 40)),
        ((30,), (30, 400)),
        ((2, 400, 30), (30,)),
        ((2, 1, 2, 20, 30), (3, 1, 30, 40)),
    ],
)
def test_stacks(fresh, rng, one, other):
    a, b = rng.standard_normal(one), rng.standard_normal(other)
    np.testing.assert_allclose(nt.tensor(a) @ nt.tensor(b), a @ b, 1e-10, 1e-10)


def test_expanded_operands(fresh, rng):
    row = rng.standard_normal((1, 40))
    x = nt.tensor(row).expand(30, 40)
    y = nt.tensor(rng.standard_normal((40, 1))).expand(40, 50)
    np.testing.assert_allclose(x @ y, x.numpy() @ y.numpy(), 1e-10, 1e-10)


def test_parts_are_the_whole(fresh, monkeypatch, rng):
    """However many parts a product is cut into, more than there are threads too."""
    a, b = rng.standard_normal((37, 50)), rng.standard_normal((50, 41))
    monkeypatch.setattr(launch_blas, "_GRAIN", 1)
    monkeypatch.setattr(launch_blas, "_SERIAL", 0)
    for parts in (1, 2, 3, 40):
        monkeypatch.setattr(launch_blas.compiler, "max_threads", lambda p=parts: p)
        products.plans.clear()
        np.testing.assert_allclose(nt.tensor(a) @ nt.tensor(b), a @ b, 1e-10, 1e-10)


def test_the_librarys_threads_are_left_as_they_were(fresh, monkeypatch):
    found = launch_blas.library()
    if found is None:
        pytest.skip("NumPy's BLAS is another")
    monkeypatch.setattr(launch_blas, "_SERIAL", 0)
    before = found.get_threads()
    x = nt.rand(100, 100)
    workers = [threading.Thread(target=lambda: [x @ x for _ in range(20)])]
    workers += [threading.Thread(target=lambda: [x.mT @ x for _ in range(20)])]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found.get_threads() == before


def test_another_library(fresh, monkeypatch, rng):
    """Without the functions that are looked for, NumPy multiplies."""
    monkeypatch.setattr(launch_blas, "library", lambda: None)
    a = rng.standard_normal((60, 60))
    assert products.plan_of(nt.tensor(a)._spec, nt.tensor(a)._spec).call is None
    np.testing.assert_allclose(nt.tensor(a) @ nt.tensor(a), a @ a, 1e-10, 1e-10)
