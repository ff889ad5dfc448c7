"""Groups of several sweeps: random ones against NumPy, and ones for many threads."""

from __future__ import annotations

import random

import laws
import numpy as np
import pytest
from jit_reference import reduced, value_of
from test_sweeps import Built, close, softmax_of

import numtensor as nt
from numtensor.kernels.expr import apply, const, where
from numtensor.kernels.loops import COMBINES

SHAPES = [((3, 6), [1]), ((5, 9), [0]), ((2, 3, 8), [1]), ((4, 2, 3), [0, 2])]


def bounded(x):
    """Return what lies between -1 and 1, so that products stay within reach."""
    return x / (apply("fabs", x) + const(1, x.dtype))


def drawn_value(rng, leaves):
    """Return an expression of float64 leaves, of which the last is in."""
    value = leaves[-1]
    for _ in range(rng.randint(1, 4)):
        other = rng.choice(leaves)
        value = rng.choice(
            [
                lambda a, b: a + b,
                lambda a, b: a * b,
                lambda a, b: apply("exp", -apply("fabs", a - b)),
                lambda a, b: where(a > b, a, b * const(0.5, "float64")),
                lambda a, b: apply("exp", bounded(a)) + b,
                lambda a, b: a / (b * b + const(1, "float64")),
            ]
        )(value, other)
    return bounded(value)


@pytest.mark.parametrize("seed", range(8))
def test_random_groups(device, seed):
    rng = random.Random(seed)
    numbers = np.random.default_rng(seed)
    shape, dims = SHAPES[seed % len(SHAPES)]
    axes = tuple(dims)
    b = Built(shape, dims, "float64")
    names, points, rows = {}, [], []
    for k in range(rng.randint(1, 4)):
        lone = [n if rng.random() < 0.7 else 1 for n in shape]
        if k == 0:
            lone = list(shape)
        values = numbers.normal(size=lone)
        layout = rng.choice(list(laws.LAYOUTS.values()))
        leaf = b.input(layout(values))
        names[leaf.value] = np.broadcast_to(values, shape)
        points.append(leaf)
        if all(lone[d] == 1 for d in dims):
            rows.append(leaf)
    number = b.scalar(0.75, "float64")
    names[number.value] = np.float64(0.75)
    points.append(number)
    expected, sums = [], []
    for k in range(rng.randint(1, 4)):
        value = drawn_value(rng, points)
        combine = rng.choice(["sum", "max", "min", "prod"])
        out = laws.made(np.zeros(b.kept)) if rng.random() < 0.3 else None
        total = b.total(combine, value, out=out)
        found = np.broadcast_to(value_of(value, names), shape)
        found = reduced(found, axes, COMBINES[combine], None, "float64", names)
        found = np.asarray(found).reshape(b.kept)
        if out is not None:
            sums.append(found)
        names[total.value] = np.expand_dims(found, axes)
        rows.append(total)
        if rng.random() < 0.8 or k == 0:
            points.append(total)
    for _ in range(rng.randint(1, 3)):
        value = drawn_value(rng, points)
        b.store(value)
        expected.append(np.broadcast_to(value_of(value, names), shape))
    value = drawn_value(rng, rows)
    b.store(value, row=True)
    first = tuple(0 if d in dims else slice(None) for d in range(len(shape)))
    expected.append(np.broadcast_to(value_of(value, names), shape)[first])
    b.run()
    for got, right in zip(b.written + b.sums, expected + sums, strict=True):
        close(got, right, "float64")


@pytest.mark.parametrize(
    ("shape", "dim", "form"),
    [
        ((3000, 100), 1, "rows"),
        ((100, 3000), 0, "columns"),
        ((5, 60, 1500), 1, "columns"),
        ((70, 3000), 1, "rows"),
        ((20000, 7), 1, "rows"),
    ],
    ids=str,
)
def test_many_rows_are_shared_by_threads(shape, dim, form):
    x = np.random.default_rng(1).normal(size=shape).astype("float32")
    b = Built(shape, [dim])
    e = b.input(nt.from_numpy(x))
    most = b.total("max", e)
    power = apply("exp", e - most)
    out = b.store(power / b.total("sum", power))
    rows = b.store(most, row=True)
    source = b.run().launches[0][0].source.read_text()
    assert f"sweeps, {form}:" in source.partition("\n")[0]
    close(out, softmax_of(x, [dim]))
    close(rows, x.max(dim))
