"""Declared operators with a body of their own, on the samples of their declaration.

Views share memory, the rest does not; values are the reference's where there is one;
gradients of first and second order are central differences of the operator itself.
"""

from __future__ import annotations

import laws
import numpy as np
import pytest

import numtensor as nt
from numtensor.ops.registry import TABLE

pytestmark = pytest.mark.usefixtures("device")

SAMPLED = [d for d in TABLE.values() if d.samples is not None]
DIFFERENTIABLE = [d for d in SAMPLED if d.differentiable]
VIEWS = [d for d in SAMPLED if d.kind == "view"]


def each(operators):
    return pytest.mark.parametrize("op", operators, ids=lambda d: d.name)


class Maker:
    """Makes the tensors of samples: the same ones each time, or given values."""

    def __init__(self, arrays=None, grad=False):
        self.arrays = arrays
        self.leaves = []
        self.grad = grad
        self.rng = np.random.default_rng(7)

    def __call__(self, *shape):
        if self.arrays is None:
            values = self.rng.uniform(-2, 2, shape)
        else:
            values = self.arrays[len(self.leaves)]
        leaf = laws.made(values)
        if self.grad:
            leaf.requires_grad_(True)
        self.leaves.append(leaf)
        return leaf


def results(found):
    """Return the floating-point results."""
    many = found if isinstance(found, (tuple, list)) else (found,)
    return [t for t in many if t.is_floating_point()]


def tensors_in(args):
    for a in args:
        if isinstance(a, nt.Tensor):
            yield a
        elif isinstance(a, (list, tuple)):
            yield from tensors_in(a)


def weighted(found, seed=3):
    """Return the weighted sum of all results: what gradients are taken of."""
    rng = np.random.default_rng(seed)
    total = None
    for t in results(found):
        part = (t * laws.made(rng.uniform(0.5, 1.5, tuple(t.shape)))).sum()
        total = part if total is None else total + part
    return total


@each(SAMPLED)
def test_values_and_arguments(op):
    make = Maker()
    for args, keywords in op.samples(make):
        before = [laws.numpy_of(t).copy() for t in tensors_in(args)]
        found = op.call(*args, **keywords)
        for t, old in zip(tensors_in(args), before, strict=True):
            laws.assert_same(laws.numpy_of(t), old, op.name)
        if op.reference is None or len(args) > sum(1 for _ in tensors_in(args)):
            continue
        plain = [laws.numpy_of(t) for t in tensors_in(args)]
        expected = op.reference(*plain)
        laws.assert_close(laws.numpy_of(found), expected, 1e-12, op.name)


@each([d for d in SAMPLED if not d.name.startswith("broadcast")])
def test_method(op):
    """The method is the function."""
    if not hasattr(nt.Tensor, op.name):
        pytest.skip("no method")
    for args, keywords in op.samples(Maker()):
        a = results(op.call(*args, **keywords))
        b = results(getattr(args[0], op.name)(*args[1:], **keywords))
        for x, y in zip(a, b, strict=True):
            laws.assert_same(laws.numpy_of(x), laws.numpy_of(y), op.name)


@each(VIEWS)
def test_views_share_memory(op):
    for args, keywords in op.samples(Maker()):
        base = next(tensors_in(args))
        if op.name in ("reshape", "ravel", "flatten") and not base.is_contiguous():
            continue
        for t in results(op.call(*args, **keywords)):
            given = list(tensors_in(args))
            assert any(laws.shares_memory(t, a) for a in given), op.name
            version = t._version
            base.add_(0.0)
            if laws.shares_memory(t, base):
                assert t._version > version, op.name


@each([d for d in SAMPLED if d.kind not in ("view", "copy")])
def test_results_have_their_own_memory(op):
    for args, keywords in op.samples(Maker()):
        for t in results(op.call(*args, **keywords)):
            laws.apart(t, list(tensors_in(args)), op.name)


def differences(f, arrays):
    found = []
    for k in range(len(arrays)):
        found.append(laws.central(lambda *a: f(a), arrays, k, 1.0))
    return found


def grads_of(op, arrays, case, create_graph=False):
    """Return the leaves of a sample and the gradients of its weighted result."""
    make = Maker(arrays, grad=True)
    args, keywords = op.samples(make)[case]
    total = weighted(op.call(*args, **keywords))
    total.backward(create_graph=create_graph)
    return make.leaves, [leaf.grad for leaf in make.leaves]


def cases_of(op):
    make = Maker()
    count = len(op.samples(make))
    return count, [laws.numpy_of(t).copy() for t in make.leaves]


@each(DIFFERENTIABLE)
def test_gradient(op):
    count, arrays = cases_of(op)
    for case in range(count):

        def value(given, case=case):
            args, keywords = op.samples(Maker(given))[case]
            return float(weighted(op.call(*args, **keywords)))

        _, grads = grads_of(op, arrays, case)
        if laws.simulated():
            with laws.on_cpu():
                expected = plain(grads_of(op, arrays, case)[1], arrays)
        else:
            expected = differences(value, arrays)
        for k, (got, want) in enumerate(zip(grads, expected, strict=True)):
            got = np.zeros(want.shape) if got is None else laws.numpy_of(got)
            where = f"{op.name}, sample {case}, tensor {k}"
            laws.assert_close(got, want, laws.GRADIENT_TOLERANCE, where)


def plain(grads, arrays):
    """Return gradients as arrays, zeros where there is none."""
    return [
        np.zeros(a.shape) if g is None else laws.numpy_of(g)
        for g, a in zip(grads, arrays, strict=True)
    ]


def squares(grads):
    total = None
    for g in grads:
        if g is not None:
            part = (g * g * 0.5).sum()
            total = part if total is None else total + part
    return total


@each(DIFFERENTIABLE)
def test_second_order(op):
    """Of half the squared gradient: linear operators take part by their cotangent."""
    count, arrays = cases_of(op)
    for case in range(count):

        def value(given, case=case):
            make = Maker(given, grad=True)
            args, keywords = op.samples(make)[case]
            total = weighted([t * t for t in results(op.call(*args, **keywords))])
            total.backward(create_graph=True)
            leaves = make.leaves
            grads = [leaf.grad for leaf in leaves]
            for leaf in leaves:
                leaf.grad = None
            return leaves, squares(grads)

        leaves, total = value(arrays)
        total.backward()
        if laws.simulated():
            with laws.on_cpu():
                twins, total = value(arrays)
                total.backward()
                expected = plain([t.grad for t in twins], arrays)
        else:
            expected = differences(lambda given: float(value(given)[1]), arrays)
        for k, (leaf, want) in enumerate(zip(leaves, expected, strict=True)):
            got = (
                np.zeros(want.shape) if leaf.grad is None else laws.numpy_of(leaf.grad)
            )
            where = f"{op.name}, sample {case}, tensor {k}"
            laws.assert_close(got, want, laws.GRADIENT_TOLERANCE, where)
