"""Every declared reduction through the same laws: dims, layouts, dtypes, gradients."""

from __future__ import annotations

import itertools

import laws
import numpy as np
import pytest

import numtensor as nt
from numtensor.errors import DimError
from numtensor.ops.registry import TABLE

pytestmark = pytest.mark.usefixtures("device")

REDUCTIONS = [d for d in TABLE.values() if d.kind == "reduction"]
DIFFERENTIABLE = [d for d in REDUCTIONS if d.differentiable]
SHAPE = (2, 3, 4)
DIMS = [None, 0, 1, 2, -1, -3, (0,), (0, 1), (1, 2), (0, 2), (0, 1, 2), (-1, 0)]


def each(operators):
    return pytest.mark.parametrize("op", operators, ids=lambda d: d.name)


def values(op, rng, shape, dtype="float64"):
    interval = op.domain[0] if dtype in laws.FLOATS else (-2.0, 2.0)
    return laws.draw(rng, shape, dtype, interval)


@each(REDUCTIONS)
@pytest.mark.parametrize("keepdim", [False, True])
def test_every_dim(op, keepdim, rng):
    x = values(op, rng, SHAPE)
    for dim in DIMS:
        laws.reduction(op, x, laws.made(x), dim, keepdim, f"{op.name}, dim={dim}")


@each(REDUCTIONS)
def test_every_layout(op, rng):
    for dtype in laws.FLOATS:
        x = values(op, rng, SHAPE, dtype)
        for name, build in laws.LAYOUTS.items():
            for dim in (None, 0, 1, 2, (0, 2)):
                where = f"{op.name}, {dtype}, {name}, dim={dim}"
                laws.reduction(op, x, build(x), dim, False, where)


@each(REDUCTIONS)
def test_expanded(op, rng):
    x = values(op, rng, (3, 1))
    wide = np.broadcast_to(x, (3, 5))
    for dim in (None, 0, 1):
        laws.reduction(op, wide, laws.made(x).expand(3, 5), dim, False, op.name)


@each(REDUCTIONS)
def test_every_dtype(op, rng):
    for dtype in laws.dtypes_of(op):
        x = values(op, rng, (3, 5), dtype)
        for dim in (None, 0, 1):
            laws.reduction(
                op, x, laws.made(x), dim, False, f"{op.name}, {dtype}, {dim}"
            )


@each(REDUCTIONS)
def test_zero_dims_and_one_element(op):
    if op.name in ("var", "std"):
        pytest.skip("0 / 0: in test_corners.py")
    for x in (np.array(1.5), np.array([1.5]), np.array([[1.5]])):
        laws.reduction(op, x, laws.made(x), None, False, op.name)
        laws.reduction(op, x, laws.made(x), -1 if x.ndim else None, True, op.name)
    assert op.call(laws.made(1.5), 0).shape == ()
    assert op.call(laws.made(1.5), -1).shape == ()
    with pytest.raises(DimError):
        op.call(laws.made(1.5), 1)


@each(REDUCTIONS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's
def test_nothing_to_reduce(op):
    x = np.zeros((0, 3))
    if op.operator is not None and not getattr(op.operator, "empty_ok", True):
        for dim in (None, 0, (0, 1)):
            with pytest.raises(DimError):
                op.call(laws.made(x), dim)
        assert op.call(laws.made(x), 1).shape == (0,)
        return
    for dim in (None, 0, 1, (0, 1)):
        laws.reduction(op, x, laws.made(x), dim, False, f"{op.name}, dim={dim}")


@each(REDUCTIONS)
@pytest.mark.parametrize("dtype", laws.FLOATS)
def test_nan_and_infinity(op, dtype):
    x = np.array(
        [[1, np.nan, 2], [np.inf, 1, 3], [-np.inf, np.inf, 1], [np.nan, np.inf, 2]],
        dtype,
    )
    x = np.hstack([x, np.ones((4, 14), dtype)])  # past the first vector
    with np.errstate(all="ignore"):
        for dim in (None, 0, 1):
            for build in (laws.contiguous, laws.transposed):
                laws.reduction(op, x, build(x), dim, False, f"{op.name}, dim={dim}")


@each(REDUCTIONS)
@pytest.mark.parametrize(
    ("shape", "dim"),
    [
        ((100_003,), None),
        ((3, 50_001), 1),
        ((50_001, 3), 0),
        ((331, 302), 0),
        ((331, 302), 1),
    ],
)
def test_large(op, shape, dim, rng):
    """Over the borders between blocks, vectors and threads."""
    if laws.simulated():
        # whose blocks are of 8 threads, and which cuts rows of 32, columns of 8
        small = {100_003: 203, 50_001: 71, 331: 19, 302: 23}
        shape = tuple(small.get(n, n) for n in shape)
    near_one = op.name == "prod"
    for dtype in laws.FLOATS:
        x = laws.draw(rng, shape, dtype, (0.999, 1.001) if near_one else (0.5, 1.5))
        if near_one and dtype == "float32":
            # each of 10**5 roundings counts
            x = np.where(rng.uniform(size=shape) < 0.999, 1, x).astype(dtype)
        laws.reduction(op, x, laws.made(x), dim, False, f"{op.name}, {dtype}")


@each(DIFFERENTIABLE)
def test_gradient(op, rng):
    x = values(op, rng, SHAPE)
    for dim in (None, 1, (0, 2)):
        for keepdim in (False, True):
            where = f"{op.name}, dim={dim}, keepdim={keepdim}"
            for build in (laws.contiguous, laws.transposed):
                laws.reduction_gradient(op, x, build(x), dim, keepdim, rng, where)


@each(REDUCTIONS)
def test_arguments_that_are_refused(op):
    x = nt.ones(2, 3)
    for dim in (2, -3, (0, 5)):
        with pytest.raises(IndexError):
            op.call(x, dim)
    for dim in ((0, 0), (1, -1)):
        with pytest.raises(RuntimeError):
            op.call(x, dim)


def test_sums_keep_their_digits(rng):
    """A float32 sum errs by its last place, not by one per element."""
    x = rng.uniform(0, 1, 1000 if laws.simulated() else 1_000_000).astype(np.float32)
    exact = float(np.sum(x.astype(np.float64)))
    assert abs(float(laws.made(x).sum()) - exact) <= 2e-7 * exact
    assert abs(float(laws.made(x).mean()) - exact / x.size) <= 2e-7 * exact / x.size


def test_variance_of_values_far_from_zero(rng):
    x = rng.normal(1e6, 1.0, 100 if laws.simulated() else 1000)
    assert float(nt.var(laws.made(x))) == pytest.approx(np.var(x, ddof=1), rel=1e-9)
    for correction, dim in itertools.product((0, 1, 2), (0, None)):
        got = float(nt.var(laws.made(x), dim, correction=correction))
        assert got == pytest.approx(np.var(x, ddof=correction), rel=1e-9)
