"""Every operator of the table, alone in a jitted function, against itself eager.

Values, gradients taken from outside and inside, and the ways in which a second call
could differ from a first: that is what `jit` promises for every operator, whether it is
fused or runs as a kernel of its own.
"""

from __future__ import annotations

import laws
import numpy as np
import pytest
from test_cuda_coverage import LIKE, UNINITIALISED, calls, tensors_in

import numtensor as nt
from numtensor.errors import TraceError
from numtensor.ops.registry import TABLE

#: operators whose results, or their shapes, depend on data
NEED_DATA = {
    "allclose", "argwhere", "bincount", "equal", "masked_select", "nonzero", "unique",
    "unique_consecutive",
}  # fmt: skip
CALLS = 2


def prepared(declared, k):
    """Return the arguments of a sample, the same ones each time, and its tensors."""
    nt.manual_seed(3)
    args, keywords = calls(declared)[k]
    keywords = dict(keywords)
    nt.manual_seed(3)
    return args, keywords, list({id(t): t for t in deep([args, keywords])}.values())


def deep(found):
    if isinstance(found, nt.Tensor):
        return [found]
    if isinstance(found, dict):
        found = list(found.values())
    many = found if isinstance(found, (tuple, list)) else ()
    return [t for part in many for t in deep(part)]


def compare(got, want, name):
    assert len(got) == len(want), name
    for a, b in zip(got, want, strict=True):
        assert (a is None) == (b is None), name
        if a is None:
            continue
        assert (a.dtype, a.shape, a.requires_grad) == (
            b.dtype,
            b.shape,
            b.requires_grad,
        )
        assert a.names == b.names, name
        if name in UNINITIALISED:
            continue
        if b.is_floating_point():
            wide = 1e-5 if b.dtype is nt.float32 else 1e-10
            laws.assert_close(laws.numpy_of(a), laws.numpy_of(b), wide, name)
        else:
            laws.assert_same(laws.numpy_of(a), laws.numpy_of(b), name)


def weighted(found):
    """Return a number that all results with a history have a share in."""
    rng = np.random.default_rng(3)
    total = None
    for t in deep([found]):
        if t.requires_grad:
            part = (t * nt.tensor(rng.uniform(0.5, 1.5, tuple(t.shape)))).sum()
            total = part if total is None else total + part
    return total


@pytest.mark.parametrize("name", sorted(set(TABLE) - NEED_DATA))
def test_values(name):
    declared = TABLE[name]
    jitted = nt.jit(declared.call)
    for k in range(len(calls(declared))):
        args, keywords, given = prepared(declared, k)
        want = tensors_in(declared.call(*args, **keywords))
        before = [laws.numpy_of(t).copy() for t in given]
        for _ in range(CALLS):
            args, keywords, given = prepared(declared, k)
            got = tensors_in(jitted(*args, **keywords))
            compare(got, want, name)
            for a, b in zip(given, before, strict=True):
                laws.assert_same(laws.numpy_of(a), b, name)
            if declared.kind != "view":
                continue
            for a, b in zip(got, want, strict=True):
                assert a.stride() == b.stride(), name


@pytest.mark.parametrize(
    "name",
    sorted(
        n for n, d in TABLE.items() if d.differentiable and n not in {*LIKE, *NEED_DATA}
    ),
)
def test_gradients(name):
    declared = TABLE[name]

    def inside(*args, **keywords):
        total = weighted(declared.call(*args, **keywords))
        total.backward()
        return total.detach()

    outside = nt.jit(declared.call)
    inner = nt.jit(inside)
    for k in range(len(calls(declared))):
        found = []
        for way in ("eager", "outside", "outside", "inside", "inside"):
            args, keywords, given = prepared(declared, k)
            leaves = [t for t in given if t.is_floating_point() and t.is_leaf]
            for t in leaves:
                t.requires_grad_()
            nt.manual_seed(3)
            if way == "inside":
                inner(*args, **keywords)
            else:
                call = declared.call if way == "eager" else outside
                total = weighted(call(*args, **keywords))
                if total is None:
                    break
                total.backward()
            grads = [t.grad for t in leaves]
            if way == "eager":
                found = grads
            else:
                compare(grads, found, f"{name}, {way}")


#: calls that need the elements of a tensor, and what their errors say to do
ASKING = {
    "item": (lambda x: x.sum().item(), "Return the tensor and convert"),
    "tolist": (lambda x: x.tolist(), "Return the tensor and convert"),
    "numpy": (lambda x: x.numpy(), "Return the tensor and convert"),
    "float": (lambda x: float(x.sum()), "Return the tensor and convert"),
    "int": (lambda x: int(x.sum()), "Return the tensor and convert"),
    "nonzero": (lambda x: x.nonzero(), "shape, or the way to it, depends on data"),
    "masked_select": (lambda x: x.masked_select(x > 0), "depends on data"),
    "mask": (lambda x: x[x > 0], "depends on data"),
    "unique": (lambda x: x.unique(), "depends on data"),
    "where": (lambda x: nt.where(x > 0), "depends on data"),
    "allclose": (lambda x: nt.allclose(x, x), "depends on data"),
    "equal": (lambda x: nt.equal(x, x), "depends on data"),
    "array": (lambda x: np.asarray(x), "Return the tensor and convert"),
    "bool": (lambda x: 1 if x.sum() > 0 else 2, "nt.where"),
}


@pytest.mark.parametrize("name", sorted(ASKING))
def test_what_needs_data_says_so(name):
    function, way_out = ASKING[name]
    line = function.__code__.co_firstlineno
    x = nt.tensor([1.0, -2.0, 3.0])
    with pytest.raises(TraceError) as caught:
        nt.jit(function)(x)
    text = str(caught.value)
    assert f"test_jit_operators.py:{line}" in text, text
    assert way_out in text, text
    assert x.tolist() == [1.0, -2.0, 3.0]
    assert (x + 1).tolist() == [2.0, -1.0, 4.0]
