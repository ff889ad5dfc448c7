"""Random tensors as a user makes them: shapes, dtypes, ranges, views, the tape.

Expected shapes, dtypes and gradients were recorded from PyTorch 2.13; the numbers
differ, so what is compared of them is that they lie where they must. Their
distributions are tested in `test_random`.
"""

from __future__ import annotations

import numpy as np
import pytest

import numtensor as nt
from numtensor.errors import AutogradError, DeviceError, DTypeError, ShapeError

FILLS = {
    "uniform_": (0.5, 0.75),
    "normal_": (3.0, 0.5),
    "random_": (2, 9),
    "bernoulli_": (1.0,),
    "exponential_": (0.5,),
}


class TestFactories:
    def test_size_forms(self):
        for make in (nt.rand, nt.randn):
            for x in (make(2, 3), make((2, 3)), make([2, 3]), make(size=(2, 3))):
                assert x.shape == (2, 3) and x.dtype == nt.float32
            assert make(()).shape == () and make(0, 4).shape == (0, 4)

    def test_randint_forms(self):
        for x in (
            nt.randint(3, (50,)),
            nt.randint(0, 3, (50,)),
            nt.randint(0, 3, size=[50]),
            nt.randint(high=3, size=(50,)),
            nt.randint(low=0, high=3, size=(50,)),
            nt.randint(nt.tensor(3), (50,)),
        ):
            assert x.dtype == nt.int64 and set(x.tolist()) == {0, 1, 2}
        assert nt.randint(2, (4,), dtype=nt.bool).dtype == nt.bool
        assert nt.randint(-5, -4, (3,), dtype=nt.float64).tolist() == [-5.0] * 3

    def test_randperm(self):
        order = nt.randperm(100)
        assert order.dtype == nt.int64 and sorted(order.tolist()) == list(range(100))
        assert sorted(nt.randperm(4, dtype=nt.float32).tolist()) == [0, 1, 2, 3]
        assert nt.randperm(0).shape == (0,)

    def test_like(self):
        base = nt.zeros(2, 3).t()
        assert nt.rand_like(base).stride() == (1, 3)
        assert nt.randn_like(base, dtype=nt.float64).dtype == nt.float64
        x = nt.randint_like(nt.zeros(40), 1, 3)
        assert x.dtype == nt.float32 and set(x.tolist()) == {1.0, 2.0}
        assert set(nt.randint_like(nt.zeros(40), 2).tolist()) == {0.0, 1.0}

    def test_a_transpose_gets_the_same_elements(self):
        a = nt.rand(3, 2, generator=nt.Generator().manual_seed(4))
        like = nt.zeros(2, 3).t()
        b = nt.rand_like(like, generator=nt.Generator().manual_seed(4))
        assert nt.equal(a, b)

    def test_normal(self):
        assert nt.normal(2.0, 0.0, (2, 2)).tolist() == [[2, 2], [2, 2]]
        assert nt.normal(0.0, 1.0, size=(3,), dtype=nt.float64).dtype == nt.float64
        x = nt.normal(nt.tensor([[0.0], [10.0]]), nt.tensor([0.0, 0.0, 0.0]))
        assert x.tolist() == [[0, 0, 0], [10, 10, 10]]
        assert nt.normal(nt.zeros(3), nt.ones(3, dtype=nt.float64)).dtype == nt.float32
        assert nt.normal(1.0, nt.zeros(2)).tolist() == [1.0, 1.0]
        wide = nt.normal(nt.zeros(4000), 100.0)
        assert 90 < wide.std().item() < 110

    def test_bernoulli(self):
        p = nt.tensor([[0.0, 1.0], [1.0, 0.0]])
        assert nt.equal(nt.bernoulli(p), p)
        assert p.bernoulli(1.0).tolist() == [[1.0, 1.0], [1.0, 1.0]]
        assert nt.bernoulli(nt.zeros(2, dtype=nt.int64), 1.0).dtype == nt.int64
        assert 0.2 < nt.bernoulli(nt.full((4000,), 0.25)).mean().item() < 0.3

    def test_requires_grad(self):
        assert nt.rand(2, requires_grad=True).requires_grad
        assert nt.randint(3, (2,), dtype=nt.float32, requires_grad=True).is_leaf
        with pytest.raises(AutogradError, match="floating point"):
            nt.randint(3, (2,), requires_grad=True)

    def test_out(self):
        x = nt.zeros(3, dtype=nt.float64)
        assert nt.rand(3, out=x) is x and x.dtype == nt.float64 and (x > 0).any()
        with pytest.raises(ShapeError, match="out="):
            nt.rand(2, out=x)

    def test_gradient_is_zero(self):
        mean = nt.ones(3, requires_grad=True)
        x = nt.normal(mean, 2.0)
        assert x.grad_fn.name() == "NormalBackward1"
        x.sum().backward()
        assert mean.grad.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", FILLS)
class TestInPlace:
    def test_returns_and_changes_the_tensor(self, name):
        x = nt.full((6,), -1.0)
        version = x._version
        assert getattr(x, name)(*FILLS[name]) is x
        assert (x > 0).all() and x._version == version + 1

    def test_writes_only_the_view(self, name):
        x = nt.full((4, 6), -1.0)
        getattr(x.t()[1::2], name)(*FILLS[name])
        changed = x.numpy() != -1
        assert changed[:, 1::2].all() and not changed[:, ::2].any()

    def test_ends_the_history(self, name):
        leaf = nt.ones(3, requires_grad=True)
        x = leaf * 2
        getattr(x, name)()
        assert x.grad_fn.name() == f"{name[:-1].capitalize()}Backward0"
        x.sum().backward()
        assert leaf.grad.tolist() == [0.0, 0.0, 0.0]

    def test_ends_the_history_of_a_part(self, name):
        leaf = nt.ones(3, requires_grad=True)
        x = leaf * 2
        getattr(x[1:], name)()
        x.sum().backward()
        assert leaf.grad.tolist() == [2.0, 0.0, 0.0]

    def test_refuses_a_leaf(self, name):
        leaf = nt.ones(3, requires_grad=True)
        with pytest.raises(AutogradError, match="a leaf Variable that requires grad"):
            getattr(leaf, name)()
        with nt.no_grad():
            getattr(leaf, name)(*FILLS[name])
        assert leaf.is_leaf and (leaf != 1).any() or name == "bernoulli_"

    def test_refuses_shared_elements(self, name):
        with pytest.raises(ShapeError, match="single memory location"):
            getattr(nt.zeros(1).expand(3), name)()


def test_random_bounds():
    x = nt.zeros(200, dtype=nt.uint8)
    assert x.random_().max() > 200
    assert set(x.random_(3).tolist()) == {0, 1, 2}
    assert set(x.random_(3, 5).tolist()) == {3, 4}
    assert set(x.random_(to=2).tolist()) == {0, 1}
    assert nt.zeros(9).random_(7, None).min() >= 7


def test_bernoulli_with_a_tensor_of_probabilities():
    x = nt.zeros(2, 3, dtype=nt.int64).bernoulli_(nt.tensor([0.0, 1.0, 1.0]))
    assert x.tolist() == [[0, 1, 1], [0, 1, 1]]


def test_states_are_tensors():
    state = nt.get_rng_state()
    assert isinstance(state, nt.Tensor) and state.dtype == nt.uint8
    a = nt.rand(3)
    nt.set_rng_state(state)
    assert nt.equal(a, nt.rand(3))
    assert isinstance(nt.Generator().get_state(), nt.Tensor)
    assert nt.default_generator.initial_seed() == nt.initial_seed()


@pytest.mark.parametrize(
    "call, kind, text",
    [
        (lambda: nt.rand(), TypeError, "rand: got no size"),
        (lambda: nt.rand(2.0), TypeError, "2.0 of type float"),
        (lambda: nt.rand(-1), ShapeError, "negative dimension -1"),
        (lambda: nt.rand(2**62, 4), ShapeError, "overflowed"),
        (lambda: nt.rand(2, dtype=nt.int64), DTypeError, "got int64"),
        (lambda: nt.rand(2, device="tpu"), DeviceError, "'tpu'"),
        (lambda: nt.rand(2, generator=5), TypeError, "a Generator or None"),
        (lambda: nt.rand(2, bogus=1), TypeError, "'bogus'"),
        (lambda: nt.randint(3), TypeError, r"randint\(high, size\)"),
        (lambda: nt.randint(3, 2), TypeError, "must be tuple of ints, not int"),
        (lambda: nt.randint(3, 3, (2,)), RuntimeError, "low 3 and high 3"),
        (lambda: nt.randint(2.5, (2,)), TypeError, "2.5 of type float"),
        (
            lambda: nt.randint(300, (2,), dtype=nt.uint8),
            RuntimeError,
            "high 300",
        ),
        (lambda: nt.randperm(-4), ShapeError, "negative dimension -4"),
        (lambda: nt.randperm(300, dtype=nt.uint8), RuntimeError, "at most 256"),
        (lambda: nt.normal(0.0, 1.0), TypeError, "numbers without a size"),
        (lambda: nt.normal(nt.zeros(2), 1.0, (2,)), TypeError, "a tensor and a size"),
        (lambda: nt.normal(nt.zeros(3), nt.ones(2)), ShapeError, "must match"),
        (lambda: nt.normal(0.0, nt.tensor([-1.0])), RuntimeError, "std >= 0"),
        (lambda: nt.bernoulli(nt.tensor([1.5])), RuntimeError, r"\[0, 1\]"),
        (lambda: nt.bernoulli(nt.tensor([1])), DTypeError, "torch.int64"),
        (lambda: nt.zeros(3).random_(1, 2, 3), TypeError, "3 bounds"),
        (lambda: nt.zeros(3).uniform_(2.0), RuntimeError, "low 2.0 and high 1.0"),
    ],
)
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call()


def test_numpy_sees_what_was_drawn():
    x = nt.rand(1000)
    assert np.isfinite(x.numpy()).all() and len(np.unique(x.numpy())) > 990
