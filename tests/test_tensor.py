"""What a Tensor is to Python and NumPy: numbers, sequences, casts, shared memory."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import recorded

import numtensor as nt
from numtensor.errors import AutogradError, DeviceError, ShapeError


@pytest.mark.parametrize("expression, expected", recorded.lines("tensor"))
def test_behaves_as_pytorch(expression, expected):
    recorded.check(expression, expected, nt)


@pytest.mark.parametrize("expression, expected", recorded.lines("operators"))
def test_operators_behave_as_pytorch(expression, expected):
    recorded.check(expression, expected, nt)


class TestNumPy:
    def test_numpy_shares_memory(self):
        x = nt.zeros(2, 3)
        array = x.numpy()
        array[1, 2] = 5.0
        x[0, 0] = 7.0
        assert x[1, 2] == 5.0 and array[0, 0] == 7.0

    def test_numpy_of_a_view_has_its_strides(self):
        x = nt.zeros(4, 6)
        array = x[1:, ::2].t().numpy()
        assert array.shape == (3, 3) and array.strides == (8, 24)
        array[:] = 1
        assert x.sum() == 9.0

    def test_from_numpy_shares_memory(self):
        array = np.arange(6.0).reshape(2, 3)
        x = nt.from_numpy(array)
        x.mul_(2)
        array[0, 0] = -1
        assert x.tolist() == [[-1, 2, 4], [6, 8, 10]] == array.tolist()
        assert nt.as_tensor(array).data_ptr() == array.ctypes.data

    def test_tensor_copies(self):
        array = np.zeros(3)
        x = nt.tensor(array)
        x.add_(1)
        assert array.sum() == 0

    def test_memory_outlives_its_owner(self):
        array = nt.arange(1000.0).numpy()
        x = nt.from_numpy(np.arange(1000.0))
        others = [nt.zeros(1000) for _ in range(5)]
        assert array[999] == 999.0 and x[999] == 999.0 and len(others) == 5

    def test_of_what_requires_grad(self):
        x = nt.ones(2, requires_grad=True)
        with pytest.raises(AutogradError, match="Can't call numpy"):
            x.numpy()
        assert x.detach().numpy().tolist() == [1.0, 1.0]
        assert x.numpy(force=True).tolist() == [1.0, 1.0]

    def test_read_only_arrays_warn(self):
        array = np.zeros(2)
        array.flags.writeable = False
        with pytest.warns(UserWarning, match="not writable"):
            nt.from_numpy(array)

    def test_array_protocol(self):
        x = nt.tensor([1, 2])
        assert np.asarray(x).ctypes.data == x.data_ptr()
        assert np.array(x).ctypes.data != x.data_ptr()
        assert np.asarray(x, dtype=np.float32).dtype == np.float32


class TestPython:
    def test_unpacks_and_iterates(self):
        (a, b), c = nt.tensor([[1, 2], [3, 4]])
        assert (a.item(), b.item(), c.tolist()) == (1, 2, [3, 4])
        assert [float(x) for x in nt.arange(3.0)] == [0.0, 1.0, 2.0]

    def test_iterating_gives_views(self):
        x = nt.zeros(2, 2)
        for row in x:
            row.add_(1)
        assert x.sum() == 4.0

    def test_item_keeps_the_kind_of_number(self):
        kinds = [type(nt.tensor(v).item()) for v in (True, 2, 2.5)]
        assert kinds == [bool, int, float]

    def test_copy_and_pickle(self):
        x = nt.arange(6.0).reshape(2, 3).t().requires_grad_()
        for other in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
            assert nt.equal(other, x) and other.requires_grad
            assert other.data_ptr() != x.data_ptr()
        with pytest.raises(AutogradError, match="graph leaves"):
            copy.deepcopy(x * 2)

    def test_is_a_key_by_identity(self):
        x, y = nt.ones(2), nt.ones(2)
        assert {x: 1, y: 2}[x] == 1

    def test_attributes_and_subclasses(self):
        x = nt.ones(2)
        x.note = "mine"
        assert x.note == "mine" and isinstance(x, nt.Tensor)


class TestCasts:
    @pytest.mark.parametrize("source", ["bool", "uint8", "int16", "int64", "float64"])
    @pytest.mark.parametrize("target", ["bool", "int8", "int32", "float32"])
    def test_agree_with_numpy(self, source, target):
        array = np.array([[0, 1, 2], [100, 7, 0]]).astype(source)
        x = nt.from_numpy(array.copy())
        expected = array.astype(target)
        for y in (x, x.t().t(), nt.from_numpy(array.T.copy()).t()):
            assert np.array_equal(y.to(getattr(nt, target)).numpy(), expected)

    def test_gradient_comes_back_in_the_own_dtype(self):
        x = nt.ones(2, requires_grad=True)
        (x.double() * 3).sum().backward()
        assert x.grad.dtype == nt.float32 and x.grad.tolist() == [3.0, 3.0]

    def test_a_device_that_is_not_there_is_refused(self):
        for name in ("cuda:99", "cpu:1", "tpu", "cuda:-1"):
            with pytest.raises(DeviceError):
                nt.ones(1).to(name)


@pytest.mark.parametrize(
    "call, kind, text",
    [
        (
            lambda: nt.ones(2).item(),
            ShapeError,
            "item: got a Tensor of shape [2]; expected exactly one element. a Tensor "
            "with 2 elements cannot be converted to Scalar. Use tolist(), or index it "
            "first.",
        ),
        (
            lambda: bool(nt.ones(2)),
            ShapeError,
            "bool: got a tensor of shape [2]; expected exactly one element. Boolean "
            "value of Tensor with more than one value is ambiguous. Use .any() or "
            ".all().",
        ),
        (
            lambda: nt.zeros(2, dtype=nt.uint8).fill_(300),
            RuntimeError,
            "fill_: got 300 for torch.uint8; expected a number from -255 to 255. value "
            "cannot be converted to type uint8 without overflow.",
        ),
    ],
)
def test_messages(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == text


class TestOverlap:
    """An operand that shares memory with the target is read as it was before."""

    def test_places_that_cross(self):
        for start in range(5):
            x = nt.arange(12.0)
            expected = x.numpy().copy()
            expected[:10:2] += x.numpy()[start : start + 5].copy()
            x[:10:2].add_(x[start : start + 5])
            assert x.tolist() == expected.tolist()

    def test_steps_that_differ(self):
        x = nt.arange(24.0).reshape(4, 6)
        a = x.numpy().copy()
        a[:, ::2] = a[:, ::2] * np.ascontiguousarray(a[:, 1:4])
        x[:, ::2].mul_(x[:, 1:4])
        assert x.tolist() == a.tolist()

    def test_out_that_crosses_an_operand(self):
        x = nt.arange(12.0)
        expected = np.exp(np.arange(3.0, 8.0, dtype=np.float32))
        nt.exp(x[3:8], out=x[::2][:5])
        np.testing.assert_allclose(x.numpy()[:10:2], expected, rtol=1e-6)

    def test_two_tensors_over_one_ndarray(self):
        a = np.arange(10, dtype=np.float32)
        whole, part = nt.from_numpy(a), nt.from_numpy(a[1:])
        with pytest.raises(RuntimeError, match="single memory location"):
            whole[:-1].add_(part)
        expected = a.copy()
        expected[:8:2] += a[1:5]
        whole[:8:2].add_(part[:4])
        assert whole.tolist() == expected.tolist()


def test_a_node_does_not_take_new_data_for_what_it_saved():
    x = nt.ones(1000, requires_grad=True)
    y = (x * x).sum()
    x.data = nt.ones(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()
