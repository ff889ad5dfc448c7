"""The CUDA array interface, and taking whatever object shows its memory.

Libraries that know no DLPack, such as Numba, show device memory by the attribute
`__cuda_array_interface__`; a tensor has it too, and `shared` takes whatever shows its
memory one way or the other. Tensors over it are made by `dlpack`; ndarrays are
`creation`'s.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from . import device_memory, devices, dtypes, transfer
from .devices import CPU
from .devices import device as Device
from .devices import find as find_device
from .dlpack import from_dlpack, is_capsule, over, spec_of, stream_number
from .dtypes import dtype
from .errors import (
    AutogradError,
    DeviceError,
    DTypeError,
    NumtensorError,
    ShapeError,
    message,
)
from .kernels.cuda import driver
from .ops.declare import attach
from .storage import ReadOnlyStorage
from .tensor import Tensor


class _NoInterface(NumtensorError, AttributeError):
    """An attribute that tensors elsewhere have: hasattr says no."""


# https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html

_INTERFACE = "__cuda_array_interface__"


def _interface(self: Tensor) -> dict[str, Any]:
    """The tensor as version 3 of the CUDA array interface describes it.

    Raises: AttributeError, host memory; AutogradError, the tensor requires grad.
    """
    found = self._spec
    if found.device.type == "cpu":
        raise _NoInterface(message(
            _INTERFACE, "a tensor on cpu", "one on a CUDA device",
            f"Can't get {_INTERFACE} on non-CUDA tensor type: {self.type()} If CUDA "
            "data is required use tensor.cuda() to copy tensor to device memory.",
        ))  # fmt: skip
    if self._requires_grad:
        raise AutogradError(message(
            _INTERFACE, "a tensor that requires grad", "one that does not",
            f"Can't get {_INTERFACE} on Variable that requires grad. If gradients "
            "aren't required, use var.detach() to get Variable that doesn't require "
            "grad.",
        ))  # fmt: skip
    transfer.has_memory(self)
    strides = tuple(step * found.itemsize for step in found.strides)
    read_only = type(self._storage) is ReadOnlyStorage
    return {
        "version": 3,
        "shape": tuple(found.shape),
        "typestr": found.dtype.numpy.str,
        "strides": None if found.contiguous else strides,
        "data": (self._pointer if found.numel else 0, read_only),
        "stream": stream_number(found.device),
    }


attach(_INTERFACE, property(_interface))  # type: ignore[arg-type]


def shared(data: Any, device: Any = None) -> Tensor | None:
    """Return a tensor over the memory of an object that shows it, None if it does not.

    By `__cuda_array_interface__`, which does not say the device: where the driver does
    not know either, it is `device` or the current one. Or by DLPack.
    Raises: DeviceError, memory of a tensor that is gone, or of no device; DTypeError;
    ShapeError; ExchangeError.
    """
    shown = getattr(data, _INTERFACE, None)
    if shown is not None:
        return _from_interface(data, shown, device)
    if is_capsule(data) or hasattr(data, "__dlpack__"):
        return from_dlpack(data)
    return None


def _from_interface(data: Any, shown: Any, device: Any) -> Tensor:
    kind, shape, strides, pointer, read_only, stream = _checked(shown)
    on = _own_device(pointer) or (CPU if device is None else find_device(device))
    on = find_device("cuda") if on is CPU else on
    found = spec_of(_INTERFACE, kind, shape, strides, on)
    made = over(_INTERFACE, found, pointer, data, read_only)
    on = made._spec.device
    if on.index is not None and stream not in (None, stream_number(on)):
        # the driver does not know the other library's stream: wait for all of them
        driver.current().synchronize(on.index)
    return made


def _checked(shown: Any) -> tuple[dtype, Any, Any, int, bool, int | None]:
    """Return dtype, shape, strides in elements, pointer, whether it is read-only, and
    stream of an interface. Raises: DTypeError, ShapeError."""

    def bad(got: str, expected: str, do: str = "") -> DTypeError:
        return DTypeError(message(_INTERFACE, got, expected, do))

    if not isinstance(shown, dict):
        raise bad(f"a {type(shown).__name__}", "a dict")
    for key in ("shape", "typestr", "data", "version"):
        if key not in shown:
            raise bad(f"an interface without {key!r}", "that key")
    version, typestr = shown["version"], shown["typestr"]
    if not isinstance(version, int) or not 0 <= version <= 3:
        raise bad(f"version {version!r}", "version 3 or older")
    if shown.get("mask") is not None:
        raise bad("a mask", "none", "Fill what it hides first.")
    stream = shown.get("stream")
    if stream is not None and (not isinstance(stream, int) or stream < 1):
        raise bad(f"stream {stream!r}", "None, or an integer above 0")
    try:
        element = np.dtype(typestr)
    except TypeError:
        raise bad(f"typestr {typestr!r}", "a number's, such as '<f4'") from None
    kind = dtypes.find(element)
    shape = tuple(operator.index(size) for size in shown["shape"])
    if min(shape, default=0) < 0:
        raise bad(f"shape {shape}", "sizes of zero or more")
    strides = shown.get("strides")
    if strides is not None:
        size = kind.itemsize
        if len(strides) != len(shape):
            got = f"{len(strides)} strides for {len(shape)} dimensions"
            do = "strides must be a sequence of the same length as shape"
            raise bad(got, "as many", do)
        if any(step % size for step in strides):
            raise ShapeError(message(
                _INTERFACE, f"strides of {tuple(strides)} bytes",
                f"multiples of the {size} bytes of an element",
                "given array strides not a multiple of the element byte size. Make a "
                "copy of the array to reallocate the memory.",
            ))  # fmt: skip
        strides = tuple(step // size for step in strides)
    pointer, read_only = shown["data"]
    return kind, shape, strides, pointer or 0, bool(read_only), stream


def _own_device(address: int) -> Device | None:
    """Return the device on which an address is memory of a tensor of ours, None if it
    is nobody's we know. Raises: DeviceError, that tensor is gone."""
    for index in range(driver.current().count()):
        on = devices.cuda(index)
        state = device_memory.state_of(on, address)
        if state == "live":
            return on
        if state == "dead":
            raise DeviceError(message(
                _INTERFACE, f"an address of {on} whose tensor is gone", "memory in use",
                f"Keep the tensor while its {_INTERFACE} is used, not only the dict or "
                "its address.",
            ))  # fmt: skip
    return None
