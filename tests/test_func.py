"""Gradients of functions: against finite differences, closed forms and torch.func."""

from __future__ import annotations

from collections import namedtuple

import laws
import numpy as np
import pytest

import numtensor as nt
from numtensor import func
from numtensor.errors import AutogradError

Pair = namedtuple("Pair", "first second")


def drawn(*shape, seed=1):
    return nt.tensor(np.random.default_rng(seed).standard_normal(shape))


def difference(f, x, eps=1e-6):
    """Return the gradient of a scalar function by central differences."""
    values = laws.numpy_of(x)
    found = np.zeros_like(values)
    for k in np.ndindex(values.shape):
        step = np.zeros_like(values)
        step[k] = eps
        high, low = f(nt.tensor(values + step)), f(nt.tensor(values - step))
        found[k] = (high.item() - low.item()) / (2 * eps)
    return found


def close(a, b, tolerance=1e-7):
    laws.assert_close(laws.numpy_of(a), b, tolerance)


def test_gradient_is_that_of_differences():
    def f(x):
        return (x.sin() * x.exp()).sum() + (x @ x.t()).tanh().sum()

    x = drawn(3, 2)
    g = func.grad(f)(x)
    close(g, difference(f, x))
    assert not g.requires_grad and not x.requires_grad and x.grad is None


def test_hessian_of_nested_gradients():
    def f(x):
        return (x**3).sum() * x[0]

    x = drawn(3)

    def directional(x):
        return (func.grad(f)(x) * nt.tensor([1.0, 2.0, 3.0], dtype=nt.float64)).sum()

    g = func.grad(directional)(x)
    close(g, difference(directional, x), 1e-6)
    assert not g.requires_grad
    third = func.grad(func.grad(func.grad(lambda x: x**4)))(nt.tensor(2.0))
    assert third.item() == 48.0 and not third.requires_grad


def test_argnums():
    def f(x, y, z):
        return (x * y).sum() + (z * y * y).sum()

    x, y, z = drawn(2), drawn(2, seed=2), drawn(2, seed=3)
    gx, gz = func.grad(f, argnums=(0, 2))(x, y, z)
    close(gx, laws.numpy_of(y))
    close(gz, laws.numpy_of(y * y))
    close(func.grad(f, argnums=1)(x, y, z), laws.numpy_of(x + 2 * z * y))
    close(func.grad(f, argnums=-1)(x, y, z), laws.numpy_of(y * y))
    only = func.grad(f, argnums=(1,))(x, y, z)
    assert type(only) is tuple and len(only) == 1


def test_nestings_keep_their_form():
    def f(p, scale):
        return scale * (p["a"][0] * p["a"][1].second).sum() + p["b"] ** 2

    p = {"a": [drawn(2), Pair(drawn(2, seed=3), drawn(2, seed=4))], "b": nt.tensor(3.0)}
    g, value = func.grad_and_value(f)(p, scale=2.0)
    assert list(g) == ["a", "b"] and type(g["a"][1]) is Pair
    close(g["a"][0], 2 * laws.numpy_of(p["a"][1].second))
    close(g["a"][1].first, np.zeros(2))
    assert g["b"].item() == 6.0
    close(value, laws.numpy_of(f(p, 2.0)))


def test_aux():
    def f(x):
        y = x * 2
        return (y * y).sum(), {"y": y, "n": 3}

    x = drawn(2)
    g, aux = func.grad(f, has_aux=True)(x)
    close(g, 8 * laws.numpy_of(x))
    assert aux["n"] == 3 and not aux["y"].requires_grad
    g, (value, aux) = func.grad_and_value(f, has_aux=True)(x)
    close(value, (4 * laws.numpy_of(x) ** 2).sum())
    out, back, aux = func.vjp(lambda x: (x * 3, x + 1), x, has_aux=True)
    close(back(nt.ones_like(x)), np.full(2, 3.0))
    assert not out.requires_grad and not aux.requires_grad


def test_results_are_differentiable_outside():
    w = drawn(3).requires_grad_()
    x = drawn(3, seed=2)
    g = func.grad(lambda x: (w * x * x).sum())(x)
    (back,) = nt.autograd.grad(g.sum(), w)
    close(back, 2 * laws.numpy_of(x))
    assert w.grad is None
    y = drawn(3).requires_grad_()
    g, value = func.grad_and_value(lambda y: (y**3).sum())(y)
    (back,) = nt.autograd.grad(g.sum() + value, y)
    values = laws.numpy_of(y)
    close(back, 6 * values + 3 * values**2)


def test_outside_without_gradients():
    w = drawn(3).requires_grad_()
    with nt.no_grad():
        g, value = func.grad_and_value(lambda x: (w * x * x).sum())(drawn(3, seed=2))
    assert not g.requires_grad and not value.requires_grad


def test_history_outside_is_kept():
    w = drawn(3).requires_grad_()
    h = w.sin()
    with nt.no_grad():
        func.grad(lambda x: (h * x * x).sum())(drawn(3, seed=2))
    h.sum().backward()
    close(w.grad, np.cos(laws.numpy_of(w)))


def test_vjp():
    def f(x, y):
        return {"p": x * y, "q": [x.sum()]}

    x, y = drawn(3), drawn(3, seed=2)
    out, back = func.vjp(f, x, y)
    c = drawn(3, seed=5)
    for _ in range(2):
        gx, gy = back({"p": c, "q": [nt.tensor(2.0, dtype=nt.float64)]})
        close(gx, laws.numpy_of(c * y) + 2)
        close(gy, laws.numpy_of(c * x))
    assert not gx.requires_grad and not out["p"].requires_grad
    _, back = func.vjp(lambda x: x**2, x)
    close(back(c), laws.numpy_of(2 * x * c))
    # the cotangent is differentiated for
    g = func.grad(lambda c: back(c).sum())(c)
    close(g, 2 * laws.numpy_of(x))


def test_integers_and_zeros():
    g = func.grad(lambda x: nt.tensor(1.0))(drawn(2))
    close(g, np.zeros(2))
    out, back = func.vjp(lambda x: nt.ones(2), drawn(3))
    close(back(nt.ones(2)), np.zeros(3))
    assert func.grad(lambda x, k: (x * k).sum())(drawn(2), 3).tolist() == [3.0, 3.0]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: func.grad(lambda x: x)(drawn(2)), "Expected f.* scalar Tensor"),
        (lambda: func.grad(lambda x: 1.0)(drawn(2)), "to return a Tensor, got"),
        (lambda: func.grad(lambda x: x.sum())(1.0), "must be Tensor, got"),
        (lambda: func.grad(lambda x: x.sum(), 1)(drawn(2)), "only 1 positional inputs"),
        (lambda: func.grad(lambda x: x.sum(), (0, 0))(drawn(2)), "unique"),
        (lambda: func.grad(lambda x: x.sum(), "0")(drawn(2)), "argnums='0'"),
        (lambda: func.grad(lambda x: x.sum(), has_aux=True)(drawn(2)), "output, aux"),
        (lambda: func.grad(lambda x: x.sum())(nt.tensor([1])), "floating point"),
        (lambda: func.vjp(lambda x: x > 0, drawn(2)), "floating-point or complex"),
        (lambda: func.vjp(lambda x: 3, drawn(2)), "only tensors"),
        (lambda: func.vjp(lambda x: (), drawn(2)), "non-empty"),
        (lambda: func.vjp(lambda: drawn(2)), "no tensor to differentiate"),
        (lambda: func.vjp(lambda x: x, drawn(2))[1]([drawn(2)]), "pytree structure"),
    ],
)
def test_errors(call, text):
    with pytest.raises(AutogradError, match=text):
        call()
    with pytest.raises(RuntimeError):
        call()


@pytest.mark.torch
def test_like_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    w, x = rng.standard_normal((4, 3)), rng.standard_normal((5, 4))

    def f(lib):
        def loss(p, x):
            return lib.tanh(x @ p["w"] + p["b"]).square().mean()

        return loss

    def run(lib, tensor):
        p = {"w": tensor(w), "b": tensor(w[0])}
        g, value = lib.func.grad_and_value(f(lib))(p, tensor(x))
        second = lib.func.grad(
            lambda p: lib.func.grad(f(lib))(p, tensor(x))["w"].square().sum()
        )(p)
        out, back = lib.func.vjp(lambda a, b: (a @ b, a.sum()), tensor(x), tensor(w))
        return [
            g["w"], g["b"], value, second["w"], second["b"], *out,
            *back((out[0] * 2, out[1])),
        ]  # fmt: skip

    for a, b in zip(run(nt, nt.tensor), run(torch, torch.tensor), strict=True):
        assert a.requires_grad == b.requires_grad
        close(a, b.numpy(), 1e-10)


def test_inside_a_jitted_function():
    w, x = drawn(3, 2), drawn(4, 3, seed=2)

    def loss(w, x):
        return ((x @ w).tanh() ** 2).sum()

    def both(w, x):
        g, value = func.grad_and_value(loss)(w, x)
        second = func.grad(lambda w: func.grad(loss)(w, x).square().sum())(w)
        out, back = func.vjp(lambda w: x @ w, w)
        return g, value, second, out, back(out * 2)

    for a, b in zip(nt.jit(both)(w, x), both(w, x), strict=True):
        assert not a.requires_grad
        close(a, laws.numpy_of(b), 1e-10)
    g = func.grad(nt.jit(loss))(w, x)
    close(g, laws.numpy_of(func.grad(loss)(w, x)), 1e-10)
