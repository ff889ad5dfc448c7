"""Indexing beside PyTorch: where its rules are its own, and what its programs print."""

from __future__ import annotations

import importlib
import warnings

import numpy as np
import pytest

import numtensor as nt

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

SHAPE = (2, 3, 4)

#: keys as text, evaluated with T the library
KEYS = [
    "[0, 1]", "T.tensor([1, 0, 1])", "T.tensor([[0, 1], [1, 1]])", "range(2)",
    "np.array([1, 0])", "T.tensor(1)", "T.tensor(1, dtype=T.int8)", "T.tensor(True)",
    "True", "False", "[]", "([0, 1], [2, 0])", "(0, [1, 2])",
    "(0, slice(None), [1, 2])",
    "(slice(None), [0, 2])", "(slice(None), [0, 2], [1, 3])", "([0, 1], None, [1, 2])",
    "([0, 1], slice(None), [1, 2])", "([0, 1], 1, [1, 2])", "(Ellipsis, [0, 1])",
    "([0, 1], Ellipsis, [0, 1])", "(None, [0, 1])", "(True, [0, 1])", "([0, 1], True)",
    "(slice(None), True, [0, 1])", "(True, slice(None), [0, 1])", "x > 3",
    "x[..., 0] > 3", "x[:, 0, 0] > 3", "(slice(None), x[0] > 3)",
    "(Ellipsis, x[0, 0] > 1)",
    "(x[:, :, 0] > 3, [0])", "(0, x[0] > 3)", "T.tensor([1, 0], dtype=T.int32)",
    "[[0, 1], [1, 0]]", "[slice(0, 1)]", "[0, None]", "[T.tensor(0), T.tensor(1)]",
    "[[True, False]]", "T.tensor([1, 0], dtype=T.uint8)", "T.tensor(1, dtype=T.uint8)",
    "np.array([True, False])", "np.int64(1)", "np.array(1)", "([[0], [1]], [[0, 2]])",
    "(T.tensor([0, 1]), slice(0, 2), T.tensor([0]))", "((0, 1), (1, 2))",
    "([0], [0], [0])",
]  # fmt: skip

WRONG = [
    "[5]", "T.tensor([-3])", "([0, 1], [0, 1, 2])",
    "T.tensor([True, False, True])", "(slice(None), T.tensor([True]))", "1.5", "'a'",
    "T.tensor([1.0])", "T.tensor([1], dtype=T.int16)", "(0, 0, 0, [0])", "{1}",
    "([0], [0], [0], [0])", "T.zeros(2, 2) > 0", "(0, 'a')",
    "x[0] > 3",
]  # fmt: skip


def made(T, shape=SHAPE):
    return T.arange(float(np.prod(shape))).reshape(shape)


def key(text, T):
    return eval(text, {"T": T, "np": np, "x": made(T)})


def both(act):
    """Return what two libraries give, or the texts of what they raise."""
    found = []
    for T in (nt, torch):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found.append(act(T))
            except Exception as error:
                found.append(error)
    return found


def assert_same(act, where):
    ours, theirs = both(act)
    assert not isinstance(theirs, Exception), (where, theirs)
    if isinstance(ours, Exception):
        raise AssertionError(where) from ours
    assert tuple(ours.shape) == tuple(theirs.shape), where
    assert str(ours.dtype) == str(theirs.dtype), where
    np.testing.assert_allclose(
        ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-6, err_msg=str(where)
    )


@pytest.mark.parametrize("text", KEYS)
def test_reading(text):
    assert_same(lambda T: made(T)[key(text, T)], text)
    assert_same(lambda T: made(T).transpose(0, 2).contiguous().transpose(0, 2)[
        key(text, T)
    ], text)  # fmt: skip


@pytest.mark.parametrize("text", KEYS)
def test_assigning(text):
    def number(T):
        x = made(T)
        x[key(text, T)] = -1.0
        return x

    def tensor(T):
        x = made(T)
        value = x[key(text, T)] * 0 - 2
        x[key(text, T)] = value
        return x

    def broadcast(T):
        x = made(T)
        x[key(text, T)] = T.ones(1, 1, 1) * 5
        return x

    acts = [number, tensor, broadcast]
    if text == "T.tensor([1, 0], dtype=T.uint8)":
        acts = [tensor]  # PyTorch takes the others for a masked_fill_, and refuses
    for act in acts:
        assert_same(act, (text, act.__name__))


@pytest.mark.parametrize("text", KEYS)
def test_gradients(text):
    def act(T):
        x = made(T).requires_grad_()
        y = x[key(text, T)]
        (y * y).sum().backward()
        return x.grad

    assert_same(act, text)


@pytest.mark.parametrize("text", WRONG)
def test_faults(text):
    """What PyTorch raises is caught by the same clause, and its sentence is there."""
    ours, theirs = both(lambda T: made(T)[key(text, T)])
    assert isinstance(theirs, Exception) and isinstance(ours, type(theirs)), ours
    assert str(theirs).split("(got")[0].strip() in str(ours)


CALLS = [
    "x.gather(1, i)", "x.gather(0, i)", "x.take(i)", "x.index_select(1, i[0])",
    "x.index_add(1, i[0], x[:, :2], alpha=2)", "x.index_copy(1, i[0], x[:, :2])",
    "x.index_fill(1, i[0], 3.5)", "x.index_fill(1, -i[0] - 1, T.tensor(2.0))",
    "x.scatter(1, i, x[:2, :2])", "x.scatter(1, i, 2)",
    "x.scatter(0, i, x[:2, :2], reduce='add')",
    "x.scatter(0, i, 3.0, reduce='multiply')", "x.scatter_add(1, i, x[:2, :2])",
    "x.scatter_reduce(0, i, x[:2, :2], 'sum')",
    "x.scatter_reduce(0, i, x[:2, :2], 'prod')",
    "x.scatter_reduce(0, i, x[:2, :2], 'mean', include_self=False)",
    "x.scatter_reduce(0, i, x[:2, :2], 'amax', include_self=False)",
    "x.scatter_reduce(0, i, x[:2, :2], 'amin')",
    "x.index_reduce(1, i[0], x[:, :2], 'mean')",
    "x.index_reduce(1, i[0], x[:, :2], 'prod', include_self=False)",
    "x.put(i, x[:2, :2])", "x.put(i, x[:2, :2], accumulate=True)",
    "x.masked_fill(x > 3, 9)", "x.masked_select(x[0] > 1)",
    "x.masked_scatter(x > 3, x + 10)", "x.nonzero()", "T.argwhere(x)",
    "T.where(x > 3)[1]", "T.take_along_dim(x, i[:1], 1)", "T.take_along_dim(x, i[0])",
    "x.index_put((i[0], i[1]), T.tensor(3.0))",
    "x.index_put((i[0],), x[:1], accumulate=True)", "F.one_hot(i)", "F.one_hot(i, 5)",
    "x.long().scatter_reduce(0, i, x.long(), 'mean')",
    "x.bool().scatter_add(1, i, x.bool())", "x[1:].clone().index_fill_(0, i[0] * 0, 7)",
]  # fmt: skip


def called(text, T, grad):
    x = made(T, (3, 4))
    leaf = x.requires_grad_() if grad else x
    name = T.__name__ + ".nn.functional"
    space = {"x": leaf, "T": T, "F": importlib.import_module(name)}
    space["i"] = T.tensor([[0, 1], [2, 0]])
    return leaf, eval(text, space)


@pytest.mark.parametrize("text", CALLS)
def test_functions(text):
    assert_same(lambda T: called(text, T, False)[1], text)
    ours, theirs = both(lambda T: called(text, T, True))
    assert not isinstance(ours, Exception), ours
    if not theirs[1].requires_grad:
        return
    if "reduce=" not in text:
        assert ours[1].grad_fn.name() == theirs[1].grad_fn.name()
        for _, found in (ours, theirs):
            (found * found).sum().backward()
        np.testing.assert_allclose(ours[0].grad.numpy(), theirs[0].grad.numpy(), 1e-5)
    assert repr(ours[1].detach()) == repr(theirs[1].detach())
