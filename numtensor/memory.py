"""Tensors over memory: fresh, shared with another tensor, or somebody else's.

The lowest way to make a Tensor, used by operators and factories alike. Nothing here
computes, and nothing is recorded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import devices, dtypes
from .errors import DTypeError, ShapeError, message
from .layout import extent, is_dense
from .spec import Spec, contiguous_spec, spec
from .storage import Storage, adopt, new_block
from .tensor import Tensor

_new: Any = object.__new__


def empty(found: Spec) -> Tensor:
    """Return an uninitialised tensor of this spec."""
    shelf = found.shelf
    try:
        block = shelf.pop()
    except IndexError:
        block = new_block(found.nbytes, shelf)
    storage = _new(Storage)
    storage.block = block
    storage.pointer = pointer = block[0]
    storage.nbytes = found.nbytes
    storage.version = 0
    result = _new(Tensor)
    result._storage = storage
    result._pointer = pointer
    result._spec = found
    result._requires_grad = False
    result._grad = result._node = result._base = result._extra = None
    result._output = 0
    return result


def view(
    tensor: Tensor, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> Tensor:
    """Return a tensor over the same storage; `offset` counts from the tensor's own
    first element. Recording it is the caller's."""
    found = tensor._spec
    place = spec(found.dtype, shape, strides, found.device)
    return view_as(tensor, place, offset * found.itemsize)


def view_as(tensor: Tensor, found: Spec, offset: int) -> Tensor:
    """Return a tensor of this spec over the same storage, `offset` bytes further."""
    result = _new(Tensor)
    result._storage = tensor._storage
    result._pointer = tensor._pointer + offset
    result._spec = found
    result._requires_grad = False
    result._grad = result._node = result._extra = None
    base = tensor._base
    result._base = base = tensor if base is None else base
    result._seen = base._node
    result._output = 0
    return result


def from_array(array: np.ndarray) -> Tensor:
    """Return a tensor over an ndarray's memory, without a copy.

    Raises: DTypeError, a dtype that tensors do not have; ShapeError, negative strides
    or strides that are no multiple of the element.
    """
    kind = dtypes.find(array.dtype)
    if array.dtype.byteorder not in "=|" and not array.dtype.isnative:
        raise DTypeError(
            message(
                "from_numpy",
                f"byte order of {array.dtype}",
                "native byte order",
                "Use array.astype(array.dtype.newbyteorder('=')).",
            )
        )
    size = kind.itemsize
    if any(s < 0 for s in array.strides) and array.size:
        raise ShapeError(
            message(
                "from_numpy",
                f"strides {array.strides}",
                "strides of zero or more",
                "At least one stride in the given numpy array is negative, and tensors "
                "with negative strides are not currently supported. Use array.copy().",
            )
        )
    if any(s % size for s in array.strides):
        raise ShapeError(
            message(
                "from_numpy",
                f"strides of {array.strides} bytes",
                f"multiples of the {size} bytes of an element",
                "Use array.copy().",
            )
        )
    strides = tuple(s // size for s in array.strides)
    if not array.size:
        strides = contiguous_spec(kind, array.shape).strides
    found = spec(kind, tuple(array.shape), strides)
    address = array.ctypes.data
    nbytes = extent(found.shape, found.strides) * size
    storage = adopt(address, nbytes, array, not array.flags.writeable)
    made = result_of(storage, address, found)
    if devices.active[0] and devices.tracing.trace is not None:
        devices.tracing.trace.capture(made)
    return made


def result_of(storage: Storage, pointer: int, found: Spec) -> Tensor:
    """Return a tensor over a storage, with no history."""
    result = _new(Tensor)
    result._storage = storage
    result._pointer = pointer
    result._spec = found
    result._requires_grad = False
    result._grad = result._node = result._base = result._extra = None
    result._output = 0
    return result


def overlap(a: Tensor, b: Tensor) -> str:
    """Say how the memory of two tensors of one storage meets.

    "none", "full" (the same elements in the same places), "part", or "unknown" where
    only a search through the elements could tell.
    """
    sa, sb = a._spec, b._spec
    first = a._pointer, b._pointer
    last = (
        first[0] + extent(sa.shape, sa.strides) * sa.itemsize,
        first[1] + extent(sb.shape, sb.strides) * sb.itemsize,
    )
    if first[0] >= last[1] or first[1] >= last[0]:
        return "none"
    if first[0] == first[1] and sa.shape == sb.shape and sa.strides == sb.strides:
        return "full" if sa.itemsize == sb.itemsize else "unknown"
    if is_dense(sa.shape, sa.strides) and is_dense(sb.shape, sb.strides):
        return "part"
    return "unknown"


def as_number(op: str, value: Any) -> Any:
    """Return a NumPy scalar or a subclass of a number as a plain Python number.

    Raises: DTypeError.
    """
    if isinstance(value, (np.bool_, bool)):
        return bool(value)
    if isinstance(value, (np.integer, int)):
        return int(value)
    if isinstance(value, (np.floating, float)):
        return float(value)
    if isinstance(value, np.ndarray):
        return from_array(value)
    raise DTypeError(
        message(
            op,
            f"an argument of type {type(value).__name__}",
            "a Tensor or a Python number",
            "Convert it with nt.tensor(...).",
        )
    )
