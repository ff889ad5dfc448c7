"""DLPack, with NumPy, and with capsules changed by hand at the offsets of dlpack.h."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

import numtensor as nt
from numtensor import device_memory, devices
from numtensor.errors import DeviceError, DTypeError, ShapeError
from numtensor.kernels.cuda import driver

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")

# fields of DLManagedTensor in dlpack.h, by offset
DATA, KIND, INDEX, NDIM, CODE, BITS, LANES = 0, 8, 12, 16, 20, 21, 22
SHAPE, STRIDES, OFFSET, DELETER = 24, 32, 40, 56
# of DLManagedTensorVersioned, in which the tensor begins at byte 32
MAJOR, MINOR, DELETER_VERSIONED, FLAGS, TENSOR = 0, 4, 16, 24, 32

i8, i16, i32, i64 = ctypes.c_uint8, ctypes.c_uint16, ctypes.c_int32, ctypes.c_int64
DELETE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)  # called without the lock
_inside = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)

INVALID = (
    "expected an unused DLPack capsule. from_dlpack received an invalid capsule. Note "
    "that DLTensor capsules can be consumed only once, so you might have already "
    "constructed a tensor from it once."
)
LIBRARY = "with its own library."
NAMES = ", ".join((*DTYPES[:6], "float16", *DTYPES[6:]))
ELEMENTS = f"expected one of {NAMES}. Convert the array first, {LIBRARY}"
DEVICES = (
    "expected 1 (CPU), 2 (CUDA) or 3 (pinned host memory). Copy the array to one of "
    f"these first, {LIBRARY}"
)
NEGATIVE = (
    "expected strides of zero or more. Tensors with negative strides are not "
    f"supported. Copy the array first, {LIBRARY}"
)
NULL = "a null pointer for 2 elements; expected the address of the first one."
NO_COPY = "expected one device. Use copy=None to let it be copied."


def field(capsule, offset, kind=i64):
    """Return a field of the struct in a capsule, to be read and written."""
    name = b"dltensor_versioned" if "versioned" in repr(capsule) else b"dltensor"
    return kind.from_address(_inside(capsule, name) + offset)


def changed(array, offset, value=0, kind=i64, version=None):
    """Return NumPy's capsule of an array, with one field changed."""
    capsule = array.__dlpack__(max_version=version)
    field(capsule, offset, kind).value = value
    return capsule


def says(error, text, call, *args, **given):
    with pytest.raises(error) as caught:
        call(*args, **given)
    assert str(caught.value) == text


def layouts(kind):
    """Return tensors of all ways to lie in memory."""
    base = nt.arange(24).reshape(2, 3, 4).to(getattr(nt, kind))
    views = [base.transpose(0, 2), base[:, 1:, ::2], base[:1].expand(5, 3, 4)]
    return [base, *views, base[1, 2, 3], base[:, :0]]


def read_only():
    return np.broadcast_to(np.ones(2), 2)


class Array:
    """Another library's array: a capsule of its own or of the ndarray's memory."""

    def __init__(self, array, device=(1, 0), capsule=None, old=False):
        self.array, self.device, self.capsule = array, device, capsule
        self.old, self.asked = old, []

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, **given):
        self.asked.append(given)
        if self.old and given:
            raise TypeError("unexpected keyword argument")
        if self.array is not None:
            return self.array.__dlpack__()
        capsule, self.capsule = self.capsule, None
        return capsule


@pytest.mark.parametrize("kind", DTYPES)
def test_there_and_back(kind):
    for x in layouts(kind):
        seen = np.from_dlpack(x)
        assert seen.dtype == np.dtype(kind) and seen.shape == tuple(x.shape)
        taken = nt.from_dlpack(seen)
        assert taken.dtype == x.dtype and taken.shape == x.shape
        assert seen.tolist() == taken.tolist() == x.tolist()
        if seen.size:
            assert seen.ctypes.data == taken.data_ptr() == x.data_ptr()
            assert seen.strides == x.numpy().strides
            assert taken.stride() == x.stride()


class TestShowing:
    def test_the_struct_is_that_of_dlpack(self):
        x = nt.ones(2, 3, dtype=nt.int16)
        old, new = x.__dlpack__(), x.__dlpack__(max_version=(1, 0))
        for capsule, at in ((old, 0), (new, TENSOR)):
            assert field(capsule, at + DATA).value == x.data_ptr()
            for offset, value in ((KIND, 1), (INDEX, 0), (NDIM, 2)):
                assert field(capsule, at + offset, i32).value == value
            assert field(capsule, at + CODE, i8).value == 0
            assert field(capsule, at + BITS, i8).value == 16
            assert field(capsule, at + LANES, i16).value == 1
            for offset, values in ((SHAPE, [2, 3]), (STRIDES, [3, 1])):
                place = field(capsule, at + offset).value
                assert list((i64 * 2).from_address(place)) == values
            assert field(capsule, at + OFFSET).value == 0
        assert [field(new, k, i32).value for k in (MAJOR, MINOR)] == [1, 0]
        assert field(new, FLAGS).value == 0

    def test_what_the_consumer_asks_for(self):
        x = nt.tensor([1.0, 2.0])
        for asked in (None, (0, 8)):
            assert '"dltensor"' in repr(x.__dlpack__(max_version=asked, stream=-1))
        for asked in ((1, 0), (1, 3), (2, 0)):
            assert '"dltensor_versioned"' in repr(x.__dlpack__(max_version=asked))
        assert x.__dlpack_device__() == (1, 0)
        assert np.from_dlpack(x, device="cpu").ctypes.data == x.data_ptr()
        assert np.from_dlpack(x, copy=False).ctypes.data == x.data_ptr()
        copied = np.from_dlpack(x, copy=True)
        np.from_dlpack(x)[0] = 9.0
        assert x.tolist() == [9.0, 2.0] and copied.tolist() == [1.0, 2.0]
        assert field(x.__dlpack__(max_version=(1, 0), copy=True), FLAGS).value == 2
        x = nt.from_dlpack(read_only())
        assert not np.from_dlpack(x).flags.writeable
        assert field(x.__dlpack__(max_version=(1, 0)), FLAGS).value == 1

    REFUSED = (
        (lambda: nt.ones(2, requires_grad=True) * 2, {}, BufferError,
         "a tensor that requires grad; expected one that does not. Can't export "
         "tensors that require gradient, use tensor.detach()"),
        (lambda: nt.from_dlpack(read_only()), {}, BufferError,
         "read-only memory for a consumer that DLPack cannot tell so; expected memory "
         "that may be written, or max_version=(1, 0). Use clone() first."),
        (lambda: nt.ones(2), {"stream": 1}, BufferError,
         "stream=1 for host memory; expected None. stream should be None on cpu."),
        (lambda: nt.ones(2), {"stream": "main"}, TypeError,
         "a stream of type str; expected the address of a CUDA stream. stream must "
         "be ``int`` or ``none``"),
        (lambda: nt.ones(2), {"dl_device": (8, 0)}, BufferError,
         f"DLPack's device type 8 (Metal); {DEVICES}"),
    )  # fmt: skip

    @pytest.mark.parametrize("make, given, error, text", REFUSED)
    def test_refused(self, make, given, error, text):
        says(error, f"__dlpack__: got {text}", make().__dlpack__, **given)


class TestLifeOfTheShown:
    """The storage lives as long as anybody can see it, and no longer."""

    @pytest.fixture
    def made(self):
        x = nt.ones(100)
        return [x], weakref.ref(x._storage)

    @pytest.mark.parametrize("version", [None, (1, 0)])
    def test_an_unused_capsule_and_a_consumer(self, made, version):
        held, storage = made
        capsule = held[0].__dlpack__(max_version=version)
        unused = held.pop().__dlpack__(max_version=version)
        view = np.from_dlpack(Array(None, capsule=capsule))[::2]
        del capsule
        assert storage() is not None and view.tolist() == [1.0] * 50
        del view
        assert storage() is not None
        del unused
        assert storage() is None

    def test_a_consumer_that_fails_keeps_its_error(self, made):
        held, storage = made
        array = Array(None, capsule=held.pop().__dlpack__())
        field(array.capsule, KIND, i32).value = 99
        # NumPy drops the capsule while its exception is set
        with pytest.raises((BufferError, RuntimeError), match="Unsupported device"):
            np.from_dlpack(array)
        assert storage() is None

    def test_a_deleter_called_without_the_interpreter_lock(self, made):
        held, storage = made
        capsule = held.pop().__dlpack__()
        address = _inside(capsule, b"dltensor")
        delete = DELETE(field(capsule, DELETER).value)
        taken = nt.from_dlpack(capsule)
        taken._storage.block[1].deleter = None  # the thread calls it instead
        del taken
        assert storage() is not None
        thread = threading.Thread(target=delete, args=(address,))
        thread.start()
        thread.join()
        assert storage() is None

    def test_at_the_end_of_the_process(self):
        code = (
            "import sys, numpy as np, numtensor as nt; x = nt.ones(9); sys.kept = "
            "[np.from_dlpack(x), x.__dlpack__(), nt.from_dlpack(np.ones(3)), sys]"
        )
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


class TestTaking:
    def test_it_is_a_tensor_like_others(self):
        array = np.array([1.0, 2.0])
        taken = nt.from_dlpack(array)
        taken[0] = 3.0
        array[1] = 4.0
        assert taken.tolist() == array.tolist() == [3.0, 4.0]
        taken.requires_grad_()
        (taken * taken).sum().backward()
        assert taken.grad.tolist() == [6.0, 8.0]
        taken = nt.from_dlpack(read_only())
        with pytest.raises(ValueError, match="read-only"):
            taken.add_(1)

    def test_what_numpy_never_says(self):
        capsule = changed(np.arange(5.0), OFFSET, 16)
        i64.from_address(field(capsule, SHAPE).value).value = 3
        assert nt.from_dlpack(capsule).tolist() == [2.0, 3.0, 4.0]
        array = np.arange(6.0).reshape(2, 3)
        for capsule in (changed(array, STRIDES), changed(array, DELETER)):
            taken = nt.from_dlpack(capsule)
            assert taken.tolist() == array.tolist() and taken.stride() == (3, 1)
        pinned = nt.from_dlpack(changed(array, KIND, 3, i32))
        assert pinned.device.type == "cpu" and pinned.tolist() == array.tolist()

    def test_copy(self):
        array = np.ones(2)
        new, old = Array(array), Array(array, old=True)
        for source in (array, new, old):
            assert nt.from_dlpack(source).data_ptr() == array.ctypes.data
            assert nt.from_dlpack(source, copy=True).data_ptr() != array.ctypes.data
        assert nt.from_dlpack(array, copy=False).data_ptr() == array.ctypes.data
        version = {"max_version": (1, 0)}
        assert new.asked == [version, {**version, "copy": True}]
        assert old.asked == [version, {}, {**version, "copy": True}, {}]


class TestLifeOfTheTaken:
    def counted(self, capsule, at=DELETER):
        """Return a list of the calls of a capsule's deleter, and what makes it."""
        place = field(capsule, at)
        real, calls = DELETE(place.value), []
        count = DELETE(lambda address: calls.append(real(address)))
        place.value = ctypes.cast(count, ctypes.c_void_p).value
        return calls, count

    @pytest.mark.parametrize(
        "version, at", [(None, DELETER), ((1, 0), DELETER_VERSIONED)]
    )
    def test_the_deleter_is_called_once(self, version, at):
        array = np.ones(4)
        held = sys.getrefcount(array)
        capsule = array.__dlpack__(max_version=version)
        calls, _thunk = self.counted(capsule, at)
        view = nt.from_dlpack(capsule)[1:]
        del capsule
        gc.collect()
        assert calls == [] and view.tolist() == [1.0] * 3
        del view
        assert len(calls) == 1 and sys.getrefcount(array) == held

    def test_a_refused_capsule_is_its_producers(self):
        capsule = np.ones(4, np.uint16).__dlpack__()
        calls, _thunk = self.counted(capsule)
        with pytest.raises(DTypeError):
            nt.from_dlpack(capsule)
        assert calls == [] and '"dltensor"' in repr(capsule)
        del capsule
        assert len(calls) == 1


def used(version):
    capsule = nt.ones(2).__dlpack__(max_version=version)
    nt.from_dlpack(capsule)
    return capsule


NOT_TAKEN = (
    (lambda: used(None), RuntimeError, f"a capsule named 'used_dltensor'; {INVALID}"),
    (lambda: used((1, 0)), RuntimeError,
     f"a capsule named 'used_dltensor_versioned'; {INVALID}"),
    (lambda: [1.0], TypeError,
     "a list; expected an array with __dlpack__ and __dlpack_device__, or a DLPack "
     "capsule. Use nt.tensor(...)."),
    (lambda: Array(None, capsule="text"), BufferError, f"a str; {INVALID}"),
    (lambda: np.ones(2, "H"), DTypeError, f"elements of uint16; {ELEMENTS}"),
    (lambda: np.ones(2, "F"), DTypeError, f"elements of complex64; {ELEMENTS}"),
    (lambda: changed(np.ones(2), LANES, 4, i8), DTypeError,
     f"elements of float64 x 4; {ELEMENTS}"),
    (lambda: changed(np.ones(2), CODE, 4, i8), DTypeError,
     f"elements of bfloat64; {ELEMENTS}"),
    (lambda: changed(np.ones(2), CODE, 9, i8), DTypeError,
     f"elements of code 9 of 64; {ELEMENTS}"),
    (lambda: np.ones((2, 3))[:, ::-1], ShapeError,
     f"strides of (3, -1) elements; {NEGATIVE}"),
    (lambda: changed(np.ones(2), DATA), DeviceError, NULL),
    (lambda: changed(np.ones(2), MAJOR, 2, i32, (1, 0)), BufferError,
     "DLPack 2.0; expected DLPack 1. Ask the other library for max_version=(1, 0)."),
    (lambda: Array(np.ones(2), (10, 0)), DeviceError,
     f"DLPack's device type 10 (ROCm); {DEVICES}"),
    (lambda: changed(np.ones(2), KIND, 99, i32), DeviceError,
     f"DLPack's device type 99; {DEVICES}"),
)  # fmt: skip


@pytest.mark.parametrize("make, error, text", NOT_TAKEN)
def test_what_is_not_taken(make, error, text):
    says(error, f"from_dlpack: got {text}", nt.from_dlpack, make())


def test_a_copy_that_may_not_be():
    text = f"copy=False for a tensor on ROCm that is asked for on cpu; {NO_COPY}"
    text, array = f"from_dlpack: got {text}", Array(np.ones(2), (10, 0))
    says(ValueError, text, nt.from_dlpack, array, device="cpu", copy=False)


def allocated():
    gc.collect()
    return device_memory.counts_of(devices.cuda(0)).allocated


@pytest.mark.cuda
class TestDlpackOnCuda:
    def test_round_trip(self):
        before = allocated()
        x = nt.arange(4.0, device="cuda").reshape(2, 2)
        assert x.__dlpack_device__() == (2, 0)
        held = allocated()
        capsule, taken = x.__dlpack__(), nt.from_dlpack(x.t())
        assert taken.device == x.device and taken.stride() == (1, 2)
        taken.zero_()
        assert x.tolist() == [[0.0, 0.0], [0.0, 0.0]]
        del x
        assert allocated() == held > before
        del capsule, taken
        assert allocated() == before

    def test_streams(self):
        x = nt.ones(2, device="cuda")
        for stream in (None, -1, 1, 2, 4096):
            assert nt.from_dlpack(x.__dlpack__(stream=stream)).tolist() == [1.0, 1.0]
        text = (
            "__dlpack__: got stream=0; expected 1 for the default stream, 2 for the "
            "thread's, an address, or -1. 0 could mean either default stream."
        )
        says(BufferError, text, x.__dlpack__, stream=0)

    def test_the_producer_gets_our_stream(self):
        for stream in (driver.current().stream(0), 0):  # the default one at the end
            device_memory.set_stream(devices.cuda(0), stream)
            capsule = nt.ones(2, device="cuda").__dlpack__()
            array = Array(None, (2, 0), capsule)
            nt.from_dlpack(array)
            number = driver.current().handle(stream) or 1
            assert array.asked == [{"max_version": (1, 0), "stream": number}]

    def test_between_host_and_device(self):
        x = nt.ones(2, device="cuda")
        assert np.from_dlpack(x, device="cpu").tolist() == [1.0, 1.0]
        assert nt.from_dlpack(x, device="cpu").device.type == "cpu"
        moved = nt.from_dlpack(np.arange(3.0), device="cuda")
        assert moved.device == x.device and moved.tolist() == [0.0, 1.0, 2.0]
        text = f"copy=False for a tensor on cuda:0 that is asked for on cpu; {NO_COPY}"
        given = {"dl_device": (1, 0), "copy": False}
        says(BufferError, f"__dlpack__: got {text}", x.__dlpack__, **given)
        given = {"device": "cpu", "copy": False}
        says(BufferError, f"from_dlpack: got {text}", nt.from_dlpack, x, **given)
        with pytest.raises((BufferError, RuntimeError), match="Unsupported device"):
            np.from_dlpack(x)
        with pytest.raises(DeviceError, match="invalid device ordinal"):
            nt.from_dlpack(Array(None, (2, 77)))
