"""Factories called again: a look-up finds what the first call worked out, no more."""

from __future__ import annotations

import numpy as np
import pytest

import numtensor as nt


@pytest.fixture(autouse=True)
def _default():
    yield
    nt.set_default_dtype(nt.float32)


@pytest.mark.parametrize("dtype", [None, nt.float64, "float64", nt.int64, nt.bool])
@pytest.mark.parametrize("size", [(), (3,), (2, 3), (0, 3)])
def test_the_second_call_is_like_the_first(size, dtype):
    for name, value in (("zeros", 0), ("ones", 1)):
        for sizes in ((size,), size or ((),), (nt.Size(size),), (list(size),)):
            for _ in range(3):
                made = getattr(nt, name)(*sizes, dtype=dtype)
                kind = nt.float32 if dtype is None else nt.zeros(1, dtype=dtype).dtype
                assert made.shape == size and made.dtype is kind
                assert made.eq(value).all() and not made.requires_grad
                made.fill_(1 - value)  # memory of its own


def test_what_equals_an_integer_is_none():
    for make in (nt.zeros, nt.ones, nt.empty):
        for size in ((2,), (2, 1)):
            make(*size)
            make(size)
        for bad in (2.0, (2.0,), (2, 1.0)):
            for _ in range(2):
                with pytest.raises(TypeError):
                    make(*bad) if isinstance(bad, tuple) else make(bad)
                with pytest.raises(TypeError):
                    make((bad,) if isinstance(bad, float) else bad)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            nt.zeros(-1)


def test_the_default_dtype_may_change():
    def made():
        return [
            nt.zeros(3), nt.full((3,), 1.5), nt.tensor([1.0, 2.0]), nt.tensor(1.0),
            nt.tensor([[1.0]]), nt.zeros_like(nt.ones(2)),
        ]  # fmt: skip

    for kind in (nt.float32, nt.float64, nt.float32):
        nt.set_default_dtype(kind)
        assert all(x.dtype is kind for x in made() + made())


def test_grad_and_out_are_heeded():
    for _ in range(2):
        assert nt.zeros(4, requires_grad=True).requires_grad
        assert nt.tensor([1.0], requires_grad=True).requires_grad
        assert nt.ones_like(nt.zeros(2), requires_grad=True).requires_grad
        with pytest.raises(RuntimeError):
            nt.tensor([1, 2], requires_grad=True)
        out = nt.empty(4)
        assert nt.ones(4, out=out) is out and out.tolist() == [1.0] * 4
        assert nt.zeros(2, 3, names=("a", "b")).names == ("a", "b")
        assert nt.zeros(2, 3).names == (None, None)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1.5, None), (3, None), (True, None), (-(2**31), None), (2**40, None),
        (2.5, nt.float64), (3, nt.float32), (2**24 + 1, nt.float32), (7, nt.int8),
        (float("nan"), None), (float("inf"), None), (1, nt.bool), (2.5, nt.int64),
        (-0.0, None),
    ],
)  # fmt: skip
def test_full(value, dtype):
    first, *others = [nt.full((2, 2), value, dtype=dtype) for _ in range(3)]
    for other in others:
        assert other.dtype is first.dtype
        assert other.numpy().tobytes() == first.numpy().tobytes()
    scalars = [nt.tensor(value, dtype=dtype) for _ in range(3)]
    assert len({(s.dtype, s.shape, s.numpy().tobytes()) for s in scalars}) == 1


def test_numbers_that_a_dtype_cannot_hold():
    for _ in range(2):
        nt.full((2,), 5, dtype=nt.int8)
        with pytest.raises(RuntimeError):
            nt.full((2,), 300, dtype=nt.int8)
        nt.full((2,), 5)
        with pytest.raises((RuntimeError, OverflowError)):
            nt.full((2,), 2**70)


@pytest.mark.parametrize(
    "given",
    [
        (5,), (0,), (1,), (2, 7), (7, 2, -2), (-3, 10, 4), (0, 10, 3), (5, 5),
        (2**31, 2**31 + 3), (0, 2**40, 2**39), (3, -4, -3),
    ],
)  # fmt: skip
def test_ranges_of_integers(given):
    for _ in range(2):
        made = nt.arange(*given)
        assert made.dtype is nt.int64
        assert made.tolist() == list(range(*given))


def test_ranges_of_other_numbers_or_none():
    nt.arange(5)
    assert nt.arange(5.0).dtype is nt.float32
    assert nt.arange(5, dtype=nt.float64).dtype is nt.float64
    assert nt.arange(5, requires_grad=False, dtype=nt.int32).dtype is nt.int32
    for bad in ((5, 2), (2, 5, -1), (2, 5, 0)):
        with pytest.raises(RuntimeError):
            nt.arange(*bad)


@pytest.mark.parametrize(
    "data",
    [
        [1.5, -2.0, float("inf"), 1e-45], [1, 2, -(2**63)], [True, False], [1, 2.5],
        [True, 2], [[1.0, 2.0], [3.0, 4.0]], [[1], [2]], [[True, False]], [[]], [],
        [1e39, -1e39], [0.1, 1 / 3], [[[1.0]]], (1.0, 2.0), [(1.0, 2.0)], [-0.0],
    ],
    ids=str,
)  # fmt: skip
def test_lists(data):
    with np.errstate(over="ignore"):
        array = np.array(data)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
    for _ in range(2):
        made = nt.tensor(data)
        assert made.numpy().dtype == array.dtype and tuple(made.shape) == array.shape
        assert made.numpy().tobytes() == array.tobytes()
        assert nt.tensor(data, dtype="float64").dtype is nt.float64


def test_lists_that_are_none():
    nt.tensor([1, 2]), nt.tensor([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(ValueError, match="expected sequence of length 2 at dim 1"):
        nt.tensor([[1.0, 2.0], [3.0]])
    with pytest.raises((OverflowError, RuntimeError)):
        nt.tensor([2**63, 2**63])
    with pytest.raises((TypeError, ValueError)):
        nt.tensor(["a", "b"])
    with pytest.raises((TypeError, ValueError)):
        nt.tensor([1.0, [2.0]])


@pytest.mark.torch
def test_beside_pytorch():
    torch = pytest.importorskip("torch")
    for data in ([0.1, 1e39, 3.0], [[1, 2], [3, 4]], [True], 5, 0.1, [[0.5], [0.25]]):
        for _ in range(2):
            own, theirs = nt.tensor(data), torch.tensor(data)
            assert str(own.dtype) == str(theirs.dtype)
            assert own.numpy().tobytes() == theirs.numpy().tobytes()
