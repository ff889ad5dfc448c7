"""Tensors that move between host and devices. Nothing here is recorded.

What moves keeps its strides if its elements lie without gaps, as in PyTorch; else it is
made contiguous first, where it is. No operator comes here by itself: a copy between
devices happens where a program asks for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import device_memory, dtypes
from .devices import CPU, Twin, device
from .errors import TraceError, message
from .layout import is_dense
from .spec import contiguous_spec, spec

if TYPE_CHECKING:
    from .tensor import Tensor


def moved(x: Tensor, on: device, wait: bool = True) -> Tensor:
    """Return a copy of x on another device."""
    from .memory import empty  # which needs Tensor, which needs this room

    found = x._spec
    if not is_dense(tuple(found.shape), found.strides):
        x = x.detach().contiguous()
        found = x._spec
    made = empty(spec(found.dtype, tuple(found.shape), found.strides, on))
    copy_bytes(made, x, wait)
    return made


def copy_bytes(target: Tensor, source: Tensor, wait: bool = True) -> None:
    """Copy the elements of a tensor without gaps to one of the same strides."""
    nbytes = source._spec.numel * source._spec.itemsize
    if not nbytes:
        return
    to, here = target._spec.device, source._spec.device
    if type(to) is Twin or type(here) is Twin:
        _refuse_move(here, to)
    if here is CPU:
        device_memory.upload(to, target._pointer, source._pointer, nbytes, wait)
    elif to is CPU:
        device_memory.download(here, target._pointer, source._pointer, nbytes, wait)
    else:
        device_memory.copy((to, target._pointer), (here, source._pointer), nbytes)


def values(x: Tensor) -> np.ndarray:
    """Return the elements as an ndarray: over the host's own memory, else copied."""
    if x._spec.device is CPU:
        return x._array()
    found = x._spec
    if type(found.device) is Twin:
        raise _needs_data(found.device)
    result = np.empty(tuple(found.shape), found.dtype.numpy)
    if found.numel:
        dense = x.detach().contiguous()
        device_memory.download(
            found.device, result.ctypes.data, dense._pointer, result.nbytes
        )
    return result


def assign(x: Tensor, array: Any) -> None:
    """Store an array in a tensor that is contiguous, cast as NumPy casts."""
    found = x._spec
    if found.device is CPU:
        x._array()[...] = array
        return
    held = np.empty(tuple(found.shape), found.dtype.numpy)
    held[...] = array
    if type(found.device) is Twin:
        _constant(x, held)
        return
    if held.nbytes:
        device_memory.upload(found.device, x._pointer, held.ctypes.data, held.nbytes)


def held(array: np.ndarray, on: device) -> Tensor:
    """Return a tensor on a device that holds what an array does now."""
    from .memory import empty

    made = empty(contiguous_spec(dtypes.find(array.dtype), tuple(array.shape), on))
    assign(made, array)
    return made


def has_memory(x: Tensor) -> None:
    """Refuse what is going to show memory to others, where there is none.

    Raises: TraceError, while a function is traced.
    """
    if type(x._spec.device) is Twin:
        raise _needs_data(x._spec.device)


def _needs_data(on: device) -> Exception:
    from .tracing import needs_data

    return needs_data(on)


def _refuse_move(here: device, to: device) -> None:
    raise TraceError(
        message(
            "jit",
            f"a copy from {here} to {to} inside a jitted function",
            "tensors of one device",
            "Move the tensor before the call, or the result after it.",
        )
    )


def _constant(x: Tensor, array: np.ndarray) -> None:
    """Let a traced tensor be what an array holds, at every run."""
    if array.size == 1:
        x.fill_(array.item())
        return
    from .memory import from_array
    from .tracing import of, outside

    trace = of("constant")
    with outside():
        data = from_array(array).to(trace.on)
    buffer, offset = trace.place(x._pointer, "constant")
    if offset or any(ref.buffer is buffer for n in trace.nodes for ref, _ in n.writes):
        held = trace.buffer(array.nbytes, "constant", data)
        from .jit.ir import copy_of

        trace.nodes.append(copy_of(held, buffer, offset))
    else:
        buffer.source, buffer.data = "constant", data


class Probe:
    """Single elements of a tensor, read and written behind the tape's back."""

    def __init__(self, x: Tensor) -> None:
        self._spec, self._pointer = x._spec, x._pointer
        self._storage = x._storage
        self._array = x._array() if x._spec.device is CPU else None

    def _place(self, index: tuple[int, ...]) -> int:
        found = self._spec
        steps = sum(k * s for k, s in zip(index, found.strides, strict=True))
        return self._pointer + steps * found.itemsize

    def __getitem__(self, index: tuple[int, ...]) -> Any:
        if self._array is not None:
            return self._array[index]
        one = np.empty((), self._spec.dtype.numpy)
        device_memory.download(
            self._spec.device, one.ctypes.data, self._place(index), one.nbytes
        )
        return one[()]

    def __setitem__(self, index: tuple[int, ...], value: Any) -> None:
        if self._array is not None:
            self._array[index] = value
            return
        one = np.array(value, self._spec.dtype.numpy)
        device_memory.upload(
            self._spec.device, self._place(index), one.ctypes.data, one.nbytes
        )
