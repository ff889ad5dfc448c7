"""Factories: dtypes and values as PyTorch's, ranges as NumPy's, memory as promised."""

from __future__ import annotations

import numpy as np
import pytest
import recorded
from hypothesis import given
from hypothesis import strategies as st

import numtensor as nt
from numtensor.errors import DTypeError, ShapeError


@pytest.mark.parametrize("expression, expected", recorded.lines("creation"))
def test_creates_what_pytorch_creates(expression, expected):
    recorded.check(expression, expected, nt)


@pytest.mark.parametrize("expression, expected", recorded.lines("joining"))
def test_joins_as_pytorch(expression, expected):
    recorded.check(expression, expected, nt)


@pytest.mark.parametrize("expression, expected", recorded.lines("linear"))
def test_multiplies_matrices_as_pytorch(expression, expected):
    recorded.check(expression, expected, nt)


class TestRanges:
    @given(st.integers(-50, 50), st.integers(0, 40), st.integers(1, 7))
    def test_arange_of_integers(self, start, length, step):
        got = nt.arange(start, start + length, step)
        assert got.tolist() == list(range(start, start + length, step))
        assert got.dtype == nt.int64

    @given(
        st.floats(-10, 10, width=32),
        st.floats(0, 10, width=32),
        st.sampled_from([0.125, 0.25, 0.5, 1.5]),
    )
    def test_arange_of_floats(self, start, length, step):
        expected = np.arange(start, start + length, step)
        got = nt.arange(start, start + length, step, dtype=nt.float64)
        assert np.allclose(got.numpy(), expected, rtol=1e-14, atol=1e-14)

    @given(st.floats(-100, 100), st.floats(-100, 100), st.integers(0, 30))
    def test_linspace(self, start, end, steps):
        got = nt.linspace(start, end, steps, dtype=nt.float64).numpy()
        expected = np.linspace(start, end, steps)
        assert np.allclose(got, expected, rtol=1e-13, atol=1e-12)
        if steps > 1:
            assert got[0] == start and got[-1] == end

    def test_default_dtype(self):
        nt.set_default_dtype(nt.float64)
        try:
            for x in (nt.zeros(1), nt.tensor(1.5), nt.arange(1.0), nt.eye(1)):
                assert x.dtype == nt.float64
            assert nt.arange(3).dtype == nt.int64
        finally:
            nt.set_default_dtype(nt.float32)


class TestMemory:
    def test_tensor_copies_a_tensor(self):
        x = nt.ones(2, requires_grad=True)
        y = nt.tensor(x)
        y.add_(1)
        assert x.tolist() == [1.0, 1.0] and y.is_leaf and not y.requires_grad

    def test_as_tensor_shares_where_it_can(self):
        x = nt.ones(2)
        assert nt.as_tensor(x) is x
        assert nt.asarray(x, copy=True).data_ptr() != x.data_ptr()
        assert nt.as_tensor(x, dtype=nt.float64).dtype == nt.float64

    def test_fresh_memory_is_not_shared(self):
        tensors = [nt.full((10,), k) for k in range(20)]
        assert [x.sum().item() for x in tensors] == [10 * k for k in range(20)]

    def test_out(self):
        for make in (
            lambda **k: nt.zeros(3, **k),
            lambda **k: nt.full((3,), 0.0, **k),
            lambda **k: nt.arange(0.0, 3.0, **k) * 0,
        ):
            out = nt.ones(3)
            make(out=out)
            assert out[0] == 0.0
        with pytest.raises(ShapeError, match="out="):
            nt.ones(2, out=nt.zeros(3))


class TestMessages:
    def test_ragged(self):
        with pytest.raises(ShapeError) as caught:
            nt.tensor([[1, 2], [3]])
        assert str(caught.value) == (
            "tensor: got length 1 at position 1 of dim 0; expected "
            "sequence of length 2. expected sequence of length 2 at dim 1 (got 1). "
            "Pad the rows to one length."
        )

    def test_overflow(self):
        with pytest.raises(RuntimeError) as caught:
            nt.tensor([1, 300], dtype=nt.uint8)
        assert str(caught.value) == (
            "tensor: got 300 for torch.uint8; expected a number from -255 to 255. "
            "value cannot be converted to type uint8 without overflow."
        )

    def test_no_number(self):
        with pytest.raises(DTypeError, match="Could not infer dtype of NoneType"):
            nt.tensor([1.0, None])
        with pytest.raises(DTypeError, match="Could not infer dtype of dict"):
            nt.tensor({})

    def test_shapes_of_matmul(self):
        with pytest.raises(ShapeError, match="matmul"):
            _ = nt.ones(2, 3) @ nt.ones(2, 3)

    def test_absurd_sizes(self):
        with pytest.raises(ShapeError, match="overflowed"):
            nt.zeros(2**62, 2**62)
        with pytest.raises(MemoryError):
            nt.zeros(10**15)


class TestReadOnlyMemory:
    """Memory that the system protects must not be written, or the process ends."""

    def test_no_way_of_writing(self, tmp_path):
        np.save(tmp_path / "a.npy", np.arange(4.0))
        mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
        with pytest.warns(UserWarning, match="not writable"):
            t = nt.from_numpy(mapped)
        warm = nt.zeros(4, dtype=nt.float64)
        warm += nt.ones(4, dtype=nt.float64)
        warm.zero_().zero_()
        ways = [
            lambda: t.add_(1),
            lambda: t.__iadd__(nt.ones(4, dtype=nt.float64)),
            lambda: t.zero_(),
            lambda: t.fill_(2.0),
            lambda: t.copy_(nt.ones(4)),
            lambda: t.uniform_(),
            lambda: t[1:].mul_(2),
            lambda: t.__setitem__(0, 5.0),
            lambda: nt.exp(warm, out=t),
            lambda: t.numpy().__setitem__(0, 1.0),
            lambda: t.storage().__setitem__(0, 1.0),
        ]
        for way in ways:
            with pytest.raises(ValueError, match="read-only"):
                way()
        assert (t + 1).tolist() == [1.0, 2.0, 3.0, 4.0]
        assert t.clone().add_(1).tolist() == [1.0, 2.0, 3.0, 4.0]
