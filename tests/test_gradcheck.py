"""The check of gradients, and derivatives of functions, against known values."""

from __future__ import annotations

import pytest

import numtensor as nt
from numtensor import autograd
from numtensor.autograd import functional, gradcheck, gradgradcheck
from numtensor.errors import AutogradError, ShapeError

F64 = nt.float64


def leaf(*values, dtype=F64):
    return nt.tensor(list(values), dtype=dtype, requires_grad=True)


def flat(tensor):
    return tensor.detach().reshape(-1).tolist()


class Off(autograd.Function):
    """x ** 2, with a gradient that is wrong by a factor."""

    factor = 1.0

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        return 2 * Off.factor * g * ctx.saved_tensors[0]


def test_gradcheck_finds_an_error_of_a_thousandth(monkeypatch):
    x = leaf(1, 2)
    assert gradcheck(Off.apply, (x,), rtol=1e-6) and gradgradcheck(Off.apply, (x,))
    monkeypatch.setattr(Off, "factor", 1.001)
    assert not gradcheck(Off.apply, x, rtol=1e-4, raise_exception=False)
    monkeypatch.setattr(Off, "factor", 1.005)
    text = (
        r"Jacobian mismatch for output 0 with respect to input 0,\n"
        r"numerical:tensor\(\[\[2.0000, 0.0000\],[\s\S]*analytical:tensor\(\[\[2.0100"
    )
    with pytest.raises(autograd.GradcheckError, match=text):
        gradcheck(Off.apply, (x,))


def test_gradcheck_refuses_what_it_cannot_check():
    x = leaf(1, 2)
    with pytest.raises(ValueError, match="at least one input tensor to require grad"):
        gradcheck(nt.tanh, (x.detach(),))
    with pytest.raises(ShapeError, match="stride 0"):
        gradcheck(nt.tanh, (leaf(1.0).expand(3),))
    with pytest.raises(autograd.GradcheckError, match="expected to be zero"):
        gradcheck(lambda v: v.detach() * 2, (x,))
    with pytest.warns(UserWarning, match="Input #0 requires gradient and is not a do"):
        gradcheck(nt.tanh, (leaf(1, dtype=nt.float32),), eps=1e-2, atol=1e-2)


def test_jacobian_hessian_and_products():
    x, y = nt.tensor([1.0, 2.0], dtype=F64), nt.tensor([3.0], dtype=F64)

    def function(x, y):
        return x * x * y, x.sum() * y

    found = functional.jacobian(function, (x, y))
    assert [[flat(j) for j in row] for row in found] == [
        [[6, 0, 0, 12], [1, 4]],
        [[3, 3], [3]],
    ]
    outputs, product = functional.vjp(function, (x, y), (x, y))
    assert [flat(o) for o in outputs] == [[3, 12], [9]]
    assert [flat(p) for p in product] == [[15, 33], [18]]
    _, product = functional.jvp(function, (x, y), (x, y))
    assert [flat(p) for p in product] == [[9, 36], [18]]
    cubes = lambda x: (x**3).sum()  # noqa: E731
    assert functional.hessian(cubes, x).tolist() == [[6, 0], [0, 12]]
    assert flat(functional.hvp(cubes, x, x)[1]) == [6, 24]
    with pytest.raises(AutogradError, match="independent of input 1"):
        functional.jacobian(lambda a, b: a, (x, y), strict=True)
