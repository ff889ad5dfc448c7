"""Tensors over whatever shows its memory, and the CUDA array interface, both ways.

The other library is NumPy, PyTorch where it is installed, Numba on a GPU, and on the
simulator a class over NumPy's memory.
"""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from test_dlpack import DTYPES, NEGATIVE, NULL, Array, allocated, says

import numtensor as nt
from numtensor.errors import AutogradError, DeviceError, DTypeError, ShapeError
from numtensor.kernels.cuda import driver

INTERFACE = "__cuda_array_interface__"


def test_as_tensor_shares_and_tensor_copies():
    array = np.array([1.0, 2.0])
    for make in (nt.as_tensor, nt.asarray):
        assert make(Array(array)).data_ptr() == array.ctypes.data
        assert make(array.__dlpack__()).data_ptr() == array.ctypes.data
    assert nt.as_tensor(Array(array), dtype=nt.int64).tolist() == [1, 2]
    made = nt.tensor(Array(array), requires_grad=True)
    array[0] = 9.0
    assert made.tolist() == [1.0, 2.0] and made.dtype == nt.float64
    assert made.requires_grad
    x = nt.ones(2)
    assert nt.from_dlpack(nt.to_dlpack(x)).data_ptr() == x.data_ptr()


class Shown:
    """Another CUDA library's array, on the simulator over host memory."""

    def __init__(self, array, **instead):
        self.held, self.address = array, array.ctypes.data
        if not driver.current().simulated:
            from numba import cuda

            self.held = cuda.to_device(array)
            self.address = self.held.device_ctypes_pointer.value
        self.__cuda_array_interface__ = {
            "version": 3, "shape": array.shape, "typestr": array.dtype.str,
            "strides": array.strides, "data": (self.address, False), "stream": None,
        } | instead  # fmt: skip


@pytest.mark.cuda
class TestInterface:
    def test_what_a_tensor_shows(self):
        x = nt.zeros(2, 3, device="cuda")
        assert getattr(x, INTERFACE) == {
            "version": 3, "shape": (2, 3), "typestr": "<f4", "strides": None,
            "data": (x.data_ptr(), False), "stream": 1,
        }  # fmt: skip
        assert x.t().__cuda_array_interface__["strides"] == (4, 12)
        assert x[:0].__cuda_array_interface__["data"] == (0, False)
        assert x.bool().__cuda_array_interface__["typestr"] == "|b1"

    def test_what_it_does_not_show(self):
        x = nt.ones(2, device="cuda", requires_grad=True)
        text = (
            f"{INTERFACE}: got a tensor that requires grad; expected one that does "
            f"not. Can't get {INTERFACE} on Variable that requires grad. If gradients "
            "aren't required, use var.detach() to get Variable that doesn't require "
            "grad."
        )
        says(AutogradError, text, getattr, x, INTERFACE)
        text = (
            f"{INTERFACE}: got a tensor on cpu; expected one on a CUDA device. Can't "
            f"get {INTERFACE} on non-CUDA tensor type: torch.FloatTensor If CUDA data "
            "is required use tensor.cuda() to copy tensor to device memory."
        )
        says(AttributeError, text, getattr, nt.ones(2), INTERFACE)
        assert not hasattr(nt.ones(2), INTERFACE)

    @pytest.mark.parametrize("kind", DTYPES)
    def test_memory_is_shared(self, kind):
        shown = Shown(np.ones((2, 3), kind))
        for make in (nt.as_tensor, nt.asarray):
            taken = make(shown, device="cuda")
            assert taken.data_ptr() == shown.address and taken.shape == (2, 3)
            assert taken.dtype == getattr(nt, kind)
        taken.zero_()
        held = shown.held if driver.current().simulated else shown.held.copy_to_host()
        assert not held.any()

    def test_layouts(self):
        array = np.arange(6.0).reshape(2, 3)
        taken = nt.as_tensor(Shown(np.asfortranarray(array)))
        assert taken.tolist() == array.tolist() and taken.stride() == (1, 2)
        assert (taken + 1).sum(0).tolist() == [5.0, 7.0, 9.0]
        assert nt.as_tensor(Shown(array, strides=None)).tolist() == array.tolist()
        assert nt.as_tensor(Shown(np.array(5.0))).item() == 5.0
        empty = nt.as_tensor(Shown(np.ones((0, 3)), data=(0, False)))
        assert empty.shape == (0, 3) and empty.device.type == "cuda"
        shown = Shown(np.arange(3.0))
        assert nt.as_tensor(shown).device == nt.device("cuda", 0)
        assert nt.as_tensor(shown, device="cpu").tolist() == [0.0, 1.0, 2.0]
        assert nt.as_tensor(shown, dtype=nt.int32, device="cuda").dtype == nt.int32
        made = nt.tensor(shown, device="cuda", requires_grad=True)
        assert made.data_ptr() != shown.address and made.requires_grad
        for stream in (1, 2, 4096):
            assert nt.as_tensor(Shown(np.ones(1), stream=stream)).tolist() == [1.0]

    def test_the_owner_lives_as_long(self):
        before = allocated()
        shown = Shown(np.ones(3))
        shown.__cuda_array_interface__["data"] = (shown.address, True)
        owner = weakref.ref(shown)
        view = nt.as_tensor(shown, device="cuda")[1:]
        del shown
        assert allocated() == before
        assert owner() is not None and view.tolist() == [1.0, 1.0]
        assert view.__cuda_array_interface__["data"] == (view.data_ptr(), True)
        with pytest.raises(ValueError, match="read-only"):
            view.add_(1)
        del view
        assert owner() is None

    def test_a_tensor_of_ours_behind_another_object(self):
        x = nt.ones(3, device="cuda")
        other = Shown(np.ones(1), **x.__cuda_array_interface__)
        nt.as_tensor(other).add_(1)
        assert x.tolist() == [2.0] * 3
        del x
        text = (
            f"{INTERFACE}: got an address of cuda:0 whose tensor is gone; expected "
            f"memory in use. Keep the tensor while its {INTERFACE} is used, not only "
            "the dict or its address."
        )
        for make in (nt.as_tensor, nt.tensor, nt.asarray):
            says(DeviceError, text, make, other, device="cuda")

    REFUSED = (
        (DTypeError, "version", 4, "version 4; expected version 3 or older."),
        (DTypeError, "mask", 1, "a mask; expected none. Fill what it hides first."),
        (DTypeError, "stream", 0, "stream 0; expected None, or an integer above 0."),
        (DTypeError, "shape", (-2,), "shape (-2,); expected sizes of zero or more."),
        (DTypeError, "typestr", "<x4",
         "typestr '<x4'; expected a number's, such as '<f4'."),
        (DTypeError, "strides", (8, 8),
         "2 strides for 1 dimensions; expected as many. strides must be a sequence of "
         "the same length as shape"),
        (ShapeError, "strides", (-8,), f"strides of (-1,) elements; {NEGATIVE}"),
        (ShapeError, "strides", (12,),
         "strides of (12,) bytes; expected multiples of the 8 bytes of an element. "
         "given array strides not a multiple of the element byte size. Make a copy of "
         "the array to reallocate the memory."),
        (DeviceError, "data", (0, False), NULL),
    )  # fmt: skip

    @pytest.mark.parametrize("error, key, value, text", REFUSED)
    def test_refused(self, error, key, value, text):
        shown = Shown(np.ones(2), **{key: value})
        says(error, f"{INTERFACE}: got {text}", nt.as_tensor, shown)

    def test_refused_for_what_is_missing(self):
        for typestr in (">f8", "<c16", "|V8"):
            with pytest.raises(DTypeError, match="expected one of bool, uint8"):
                nt.as_tensor(Shown(np.ones(2), typestr=typestr))
        shown = Shown(np.ones(2))
        del shown.__cuda_array_interface__["data"]
        text = f"{INTERFACE}: got an interface without 'data'; expected that key."
        says(DTypeError, text, nt.as_tensor, shown)
        shown.__cuda_array_interface__ = 3
        text = f"{INTERFACE}: got a int; expected a dict."
        says(DTypeError, text, nt.as_tensor, shown)


@pytest.mark.cuda
def test_the_simulator_knows_adopted_memory_while_it_is_held(monkeypatch):
    from numtensor.kernels.cuda.simulator import Simulator

    monkeypatch.setenv("NUMTENSOR_SIMULATED_GPUS", "2")
    simulator, array, host = Simulator(), np.ones(4), np.zeros(4)
    start, free = array.ctypes.data, simulator.free_memory(1)

    def read(index, address, nbytes):
        simulator.download(index, host.ctypes.data, address, nbytes, 0, True)

    whole, part = simulator.adopt(1, start, 32), simulator.adopt(1, start + 8, 8)
    assert whole[0] == 1 and simulator.free_memory(1) == free
    read(1, start + 8, 24)
    for index, address in ((0, start), (1, start + 8)):
        with pytest.raises(IndexError):
            read(index, address, 32)
    del whole
    read(1, start + 8, 8)
    del part
    with pytest.raises(IndexError, match="in no allocation"):
        read(1, start + 8, 8)


@pytest.mark.torch
def test_torch():
    torch = pytest.importorskip("torch")
    for kind in DTYPES:
        x = nt.ones(2, 3, dtype=getattr(nt, kind)).t()
        theirs = torch.from_dlpack(x)
        ours = nt.as_tensor(theirs)
        assert theirs.dtype == getattr(torch, kind) and ours.dtype == x.dtype
        assert ours.stride() == theirs.stride() == x.stride()
        assert ours.data_ptr() == theirs.data_ptr() == x.data_ptr()
    x = nt.ones(3)
    storage = weakref.ref(x._storage)
    leaf = torch.ones(3, requires_grad=True)
    loss = (leaf * torch.from_dlpack(x)).sum()
    del x
    assert storage() is not None
    loss.backward()  # whose threads free what was saved, without the interpreter lock
    assert storage() is None
    with pytest.raises(RuntimeError, match="size of tensor a"):
        torch.add(torch.from_dlpack(nt.ones(2)), torch.ones(3))  # freed by the failure
