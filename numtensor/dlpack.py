"""DLPack: tensors as capsules for other libraries, and their capsules as tensors.

Whoever looks at memory holds on to its owner: the consumer of a capsule until it calls
the deleter, a tensor of ours by its storage. No operator comes in but clone and to.
"""

from __future__ import annotations

import ctypes
from typing import Any

from . import device_memory, devices, dtypes, transfer
from .devices import CPU
from .devices import device as Device
from .devices import find as find_device
from .dtypes import dtype
from .errors import (
    CopyError,
    DeviceError,
    DTypeError,
    ExchangeError,
    ForeignDeviceError,
    ShapeError,
    message,
)
from .kernels.compiler import capsule_function
from .kernels.cuda import driver
from .memory import empty, result_of
from .ops.declare import attach
from .spec import Spec, contiguous_spec, spec
from .storage import ForeignShelf, ReadOnlyStorage, adopt
from .tensor import Tensor

# What dlpack.h of DLPack 1.0 lays down


def _struct(**fields: Any) -> Any:
    return type("Struct", (ctypes.Structure,), {"_fields_": list(fields.items())})


_address, _int32, _uint32 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_uint32
_VERSION = (1, 0)
_READ_ONLY, _COPIED = 1, 2  # flags
_ON_CPU, _ON_CUDA, _PINNED = 1, 2, 3
_ELSEWHERE = {
    4: "OpenCL", 7: "Vulkan", 8: "Metal", 9: "VPI", 10: "ROCm", 11: "ROCm host",
    13: "CUDA managed", 14: "oneAPI", 15: "WebGPU", 16: "Hexagon", 17: "MAIA",
}  # fmt: skip
_Place = _struct(kind=_int32, index=_int32)
_CODES = ("int", "uint", "float", "opaque handle", "bfloat", "complex", "bool")
_Element = _struct(code=ctypes.c_uint8, bits=ctypes.c_uint8, lanes=ctypes.c_uint16)
#: code and bits of our elements
_KINDS: dict[dtype, tuple[int, int]] = {
    kind: (_CODES.index(kind.name.rstrip("0123456789")), 8 * kind.itemsize)
    for kind in dtypes.ALL
}
_BY_KIND = {pair: kind for kind, pair in _KINDS.items()}
#: DLTensor: strides count elements, the offset bytes
_Described = _struct(
    data=_address, place=_Place, ndim=_int32, element=_Element, shape=_address,
    strides=_address, byte_offset=ctypes.c_uint64,
)  # fmt: skip
#: DLManagedTensor and DLManagedTensorVersioned, with the names of their capsules
_Plain = _struct(tensor=_Described, context=_address, deleter=_address)
_Versioned = _struct(
    major=_uint32, minor=_uint32, context=_address, deleter=_address,
    flags=ctypes.c_uint64, tensor=_Described,
)  # fmt: skip
_NAMES = {_Versioned: b"dltensor_versioned", _Plain: b"dltensor"}
_USED = {name: b"used_" + name for name in _NAMES.values()}


def _python(name: str, result: Any, *arguments: Any) -> Any:
    """Return a function of CPython's C interface."""
    return ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))


_object, _text = ctypes.py_object, ctypes.c_char_p
_new_capsule = _python("PyCapsule_New", _object, _address, _text, _address)
_is_valid = _python("PyCapsule_IsValid", ctypes.c_int, _object, _text)
_content = _python("PyCapsule_GetPointer", _address, _object, _text)
_name = _python("PyCapsule_GetName", _text, _object)
_rename = _python("PyCapsule_SetName", ctypes.c_int, _object, _text)
_set_context = _python("PyCapsule_SetContext", ctypes.c_int, _object, _text)
_new_reference = _python("Py_IncRef", None, _object)

for _bytes in (*_USED, *_USED.values()):
    _new_reference(_bytes)  # capsules point into them, and may outlive this module


# Showing


class _Export:
    """A tensor as a capsule shows it, and the storage behind it.

    `words` holds a reference to this object, the struct, the shape and the strides; the
    object lives until `kernels.capsules` drops that reference.
    """

    __slots__ = ("storage", "words", "address")

    def __init__(self, x: Tensor, layout: Any, flags: int) -> None:
        transfer.has_memory(x)
        found = x._spec
        size = ctypes.sizeof(layout)
        self.storage = x._storage
        self.words = (ctypes.c_int64 * (1 + size // 8 + 2 * found.ndim))()
        self.address = ctypes.addressof(self.words) + 8  # of the struct
        self.words[0] = id(self)
        self.words[1 + size // 8 :] = [*found.shape, *found.strides]
        managed = layout.from_buffer(self.words, 8)
        managed.deleter = capsule_function("delete_export")
        managed.context = id(self)
        if layout is _Versioned:
            managed.major, managed.minor = _VERSION
            managed.flags = flags
        shown = managed.tensor
        shown.data = x._pointer
        shown.place = _Place(*_dlpack_device(x))
        shown.ndim = found.ndim
        shown.element = _Element(*_KINDS[found.dtype], 1)
        shown.shape = self.address + size
        shown.strides = self.address + size + 8 * found.ndim


def _dlpack_device(self: Tensor) -> tuple[int, int]:
    """Return DLPack's kind of device, 1 for the CPU and 2 for CUDA, and its index."""
    index = self._spec.device.index
    return (_ON_CPU, 0) if index is None else (_ON_CUDA, index)


def _dlpack(
    self: Tensor,
    *,
    stream: int | None = None,
    max_version: tuple[int, int] | None = None,
    dl_device: tuple[int, int] | None = None,
    copy: bool | None = None,
) -> Any:
    """Return a DLPack capsule over the tensor's memory, as the array API defines it.

    `stream` is the CUDA stream that the consumer works on: 1 or None the default one,
    -1 for no wait. A consumer that knows DLPack 1.0 says so by `max_version`.
    Raises: ExchangeError, a BufferError: what cannot be shown.
    """
    op = "__dlpack__"
    if self._requires_grad:
        raise ExchangeError(message(
            op, "a tensor that requires grad", "one that does not",
            "Can't export tensors that require gradient, use tensor.detach()",
        ))  # fmt: skip
    shown, flags, here = self, 0, self._spec.device
    on = here if dl_device is None else _found_device(op, *dl_device)
    _check_stream(on, stream)
    if copy or on is not here:
        if copy is False:
            raise _needs_copy(op, here, on)
        shown, flags = self.to(on, copy=True), _COPIED
    layout = _Versioned if max_version is not None and max_version[0] >= 1 else _Plain
    if type(shown._storage) is ReadOnlyStorage:
        flags |= _READ_ONLY
        if layout is _Plain:
            got = "read-only memory for a consumer that DLPack cannot tell so"
            expected = "memory that may be written, or max_version=(1, 0)"
            raise ExchangeError(message(op, got, expected, "Use clone() first."))
    if on.index is not None and stream != -1 and (stream or 1) != stream_number(on):
        # the consumer's stream must see what this thread's has been asked to write
        driver.current().finish(on.index, device_memory.current_stream(on))
    export = _Export(shown, layout, flags)
    name = _NAMES[layout]
    capsule = _new_capsule(export.address, name, capsule_function("drop_capsule"))
    _set_context(capsule, name)
    _new_reference(export)
    return capsule


attach("__dlpack__", _dlpack)
attach("__dlpack_device__", _dlpack_device)


def to_dlpack(tensor: Tensor) -> Any:
    """Return a DLPack capsule of the kind before 1.0, over the tensor's memory.

    The older way: `from_dlpack(tensor)` needs no capsule, and waits for streams.
    Raises: ExchangeError, the tensor requires grad, or is read-only.
    """
    return _dlpack(tensor, stream=-1)


def _needs_copy(op: str, here: Any, on: Any) -> Any:
    got = f"copy=False for a tensor on {here} that is asked for on {on}"
    do = "Use copy=None to let it be copied."
    return CopyError(message(op, got, "one device", do))


def _check_stream(on: Device, stream: Any) -> None:
    """Refuse what is no stream of a device. Raises: DTypeError, ExchangeError."""
    if stream is not None and type(stream) is not int:
        raise DTypeError(message(
            "__dlpack__", f"a stream of type {type(stream).__name__}",
            "the address of a CUDA stream", "stream must be ``int`` or ``none``",
        ))  # fmt: skip
    if on is CPU and stream not in (None, -1):
        got, do = f"stream={stream} for host memory", "stream should be None on cpu."
        raise ExchangeError(message("__dlpack__", got, "None", do))
    if stream is not None and (stream == 0 or stream < -1):
        raise ExchangeError(message(
            "__dlpack__", f"stream={stream}",
            "1 for the default stream, 2 for the thread's, an address, or -1",
            "0 could mean either default stream.",
        ))  # fmt: skip


def stream_number(on: Device) -> int:
    """Return this thread's stream as other libraries number it: 1 is the default."""
    return driver.current().handle(device_memory.current_stream(on)) or 1


# Taking


class _Borrowed:
    """Another library's tensor, told when it is no longer used."""

    __slots__ = ("address", "deleter")

    # called with the interpreter lock: some deleters do without taking it
    _TYPE = ctypes.PYFUNCTYPE(None, _address)

    def __init__(self, address: int, deleter: int | None) -> None:
        self.address = address
        self.deleter = self._TYPE(deleter) if deleter else None

    def __del__(self) -> None:
        if self.deleter is not None:
            self.deleter(self.address)


def from_dlpack(
    ext_tensor: Any, *, device: Any = None, copy: bool | None = None
) -> Tensor:
    """Return a tensor over the memory of another library's array.

    `ext_tensor` has `__dlpack__`, or is a DLPack capsule, which is used up. It is
    copied to another `device`, or with `copy=True`, and else shared. Read-only memory
    gives a tensor that cannot be written to.
    Raises: ExchangeError, a BufferError: a used capsule, or copy=False in vain;
    DTypeError, no array, or an element without counterpart; ShapeError, negative
    strides; DeviceError.

    >>> import numpy as np
    >>> a = np.arange(3.0)
    >>> t = from_dlpack(a)
    >>> a[0] = 7.0
    >>> t
    tensor([7., 1., 2.], dtype=torch.float64)
    """
    on = None if device is None else find_device(device)
    capsule = ext_tensor if is_capsule(ext_tensor) else _asked(ext_tensor, on, copy)
    made, copied = _taken(capsule)
    here = made._spec.device
    if on is not None and on is not here:
        if copy is False:
            raise _needs_copy("from_dlpack", here, on)
        return made.to(on)
    return made.clone() if copy and not copied else made


def is_capsule(value: Any) -> bool:
    """Say whether a value is a capsule of CPython's, of whatever name."""
    return type(value).__name__ == "PyCapsule"


def _asked(source: Any, on: Device | None, copy: bool | None) -> Any:
    """Ask an array for its capsule, by as much of DLPack 1.0 as it knows."""
    ask = getattr(source, "__dlpack__", None)
    where = getattr(source, "__dlpack_device__", None)
    if ask is None or where is None:
        raise DTypeError(message(
            "from_dlpack", f"a {type(source).__name__}",
            "an array with __dlpack__ and __dlpack_device__, or a DLPack capsule",
            "Use nt.tensor(...).",
        ))  # fmt: skip
    kind, index = where()
    given: dict[str, Any] = {"max_version": _VERSION}
    streams = {}
    if on is CPU and kind not in (_ON_CPU, _PINNED):
        # the other library copies, from what need not be a device of ours
        if copy is False:
            raise _needs_copy("from_dlpack", _ELSEWHERE.get(kind, f"cuda:{index}"), on)
        given["dl_device"] = (_ON_CPU, 0)
    else:
        home = _found_device("from_dlpack", kind, index)
        if home is not CPU:
            streams["stream"] = stream_number(home)
        if copy is not None and on in (None, home):
            given["copy"] = copy
    try:
        return ask(**given, **streams)
    except TypeError:  # a library that knows DLPack before 1.0
        return ask(**streams)


def _found_device(op: str, kind: int, index: int) -> Device:
    """Return the device that DLPack names so. Raises: DeviceError."""
    if kind in (_ON_CPU, _PINNED):
        return CPU
    if kind == _ON_CUDA:
        return devices.cuda(index)
    name = f" ({_ELSEWHERE[kind]})" if kind in _ELSEWHERE else ""
    raise ForeignDeviceError(message(
        op, f"DLPack's device type {kind}{name}",
        "1 (CPU), 2 (CUDA) or 3 (pinned host memory)",
        "Copy the array to one of these first, with its own library.",
    ))  # fmt: skip


def _taken(capsule: Any) -> tuple[Tensor, bool]:
    """Consume a capsule; say whether its producer has made a copy.

    A capsule that cannot be used stays as it is, and is its producer's to clean up.
    """
    op = "from_dlpack"
    layout = next((k for k, name in _NAMES.items() if _is_valid(capsule, name)), None)
    if layout is None:
        got = f"a {type(capsule).__name__}"
        if is_capsule(capsule):
            got = f"a capsule named {(_name(capsule) or b'').decode()!r}"
        raise ExchangeError(message(
            op, got, "an unused DLPack capsule",
            "from_dlpack received an invalid capsule. Note that DLTensor capsules can "
            "be consumed only once, so you might have already constructed a tensor "
            "from it once.",
        ))  # fmt: skip
    name = _NAMES[layout]
    address = _content(capsule, name)
    managed = layout.from_address(address)
    if layout is _Versioned and managed.major != _VERSION[0]:
        got = f"DLPack {managed.major}.{managed.minor}"
        do = "Ask the other library for max_version=(1, 0)."
        raise ExchangeError(message(op, got, "DLPack 1", do))
    flags = managed.flags if layout is _Versioned else 0
    found, pointer = _read(op, managed.tensor)
    _rename(capsule, _USED[name])
    owner = _Borrowed(address, managed.deleter)
    made = over(op, found, pointer, owner, bool(flags & _READ_ONLY))
    return made, bool(flags & _COPIED)


def _read(op: str, shown: Any) -> tuple[Spec, int]:
    """Return the layout and the first element's address of a DLTensor."""
    on = _found_device(op, shown.place.kind, shown.place.index)
    code, bits, lanes = shown.element.code, shown.element.bits, shown.element.lanes
    kind = _BY_KIND.get((code, bits)) if lanes == 1 else None
    if kind is None:
        name = _CODES[code] if code < len(_CODES) else f"code {code} of "
        many = f" x {lanes}" if lanes != 1 else ""
        raise DTypeError(message(
            op, f"elements of {name}{bits}{many}",
            "one of " + ", ".join(d.name for d in dtypes.ALL),
            "Convert the array first, with its own library.",
        ))  # fmt: skip
    numbers = ctypes.c_int64 * shown.ndim
    shape = tuple(numbers.from_address(shown.shape)) if shown.ndim else ()
    strides = None
    if shown.strides and shown.ndim:
        strides = tuple(numbers.from_address(shown.strides))
    return spec_of(op, kind, shape, strides, on), (shown.data or 0) + shown.byte_offset


def spec_of(op: str, kind: dtype, shape: Any, strides: Any, on: Device) -> Spec:
    """Return the spec of an array, whose strides count elements. Raises: ShapeError."""
    if strides is None or 0 in shape:
        return contiguous_spec(kind, shape, on)
    if min(strides, default=0) < 0:
        raise ShapeError(message(
            op, f"strides of {strides} elements", "strides of zero or more",
            "Tensors with negative strides are not supported. Copy the array first, "
            "with its own library.",
        ))  # fmt: skip
    return spec(kind, shape, strides, on)


def over(op: str, found: Spec, pointer: int, owner: Any, read_only: bool) -> Tensor:
    """Return a tensor over memory that `owner` keeps; a fresh one without elements."""
    if not found.numel:
        return empty(found)
    if not pointer:
        got = f"a null pointer for {found.numel} elements"
        raise DeviceError(message(op, got, "the address of the first one"))
    if found.device.index is None:
        storage = adopt(pointer, found.nbytes, owner, read_only)
    else:
        index, kept = driver.current().adopt(found.device.index, pointer, found.nbytes)
        on = devices.cuda(index)
        found = spec(found.dtype, tuple(found.shape), found.strides, on)
        owner, shelf = (owner, kept), ForeignShelf(on)
        storage = adopt(pointer, found.nbytes, owner, read_only, shelf)
    return result_of(storage, pointer, found)
