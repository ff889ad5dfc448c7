"""Keys of square brackets taken apart: what gives a view, and what are indices.

Lists, arrays, ranges and bools become index tensors here, on the host; what is no index
is refused. Nothing is read or written.
"""

from __future__ import annotations

import ctypes
from array import array
from typing import Any

import numpy as np

from .. import dtypes
from ..devices import Twin, active, tracing
from ..errors import DimError, DTypeError, message, warn
from ..memory import empty, from_array
from ..spec import contiguous_spec
from ..tensor import Tensor
from ..transfer import held

_INDICES = ("int64", "int32", "bool")
#: integers of no dims select, as Python's do; of bytes they are masks
_SELECTING = ("int64", "int32", "int16", "int8")
WHOLE = slice(None)


class Key:
    """A key taken apart: `basic`, and indices by the dim of the view they begin at."""

    __slots__ = ("basic", "parts", "_whole")

    def __init__(self, x: Tensor, key: Any) -> None:
        items = _items(key)
        basic: list[Any] = []
        parts: list[tuple[int, Tensor]] = []
        dim = used = 0
        behind = -1  # where in `parts` those behind the ellipsis begin
        for item in items:
            if item is None:
                basic.append(None)
                dim += 1
            elif item is Ellipsis:
                basic.append(item)
                behind = len(parts)
            elif isinstance(item, slice):
                basic.append(WHOLE if item == WHOLE else _slice(item))
                dim += 1
                used += 1
            else:
                found = _index(item)
                if type(found) is int:
                    basic.append(found)
                    used += 1
                    continue
                parts.append((dim, found))
                own = found._spec
                if own.dtype is not dtypes.bool_:
                    dims = 1
                else:
                    dims = own.ndim
                if not dims:  # a bool: a new dim, whole or empty
                    basic.append(None)
                    dim += 1
                basic += [WHOLE] * dims
                dim += dims
                used += dims
        if behind >= 0:
            shift = x.ndim - used
            parts[behind:] = [(d + shift, part) for d, part in parts[behind:]]
        alone = len(items) == 1 and not isinstance(key, tuple) and not parts
        self.basic = basic[0] if alone else tuple(basic)
        self.parts = parts
        self._whole = used <= x.ndim and all(b is WHOLE for b in basic)

    def applied(self, x: Tensor) -> Tensor:
        """Return the view that the basic part gives. Raises: DimError."""
        return x if self._whole and self.parts else x[self.basic]

    def mask(self) -> tuple[int, Tensor] | None:
        """Return the only index, and the dim it begins at, if it is a mask."""
        if len(self.parts) == 1:
            dim, part = self.parts[0]
            if part._spec.dtype is dtypes.bool_ and part._spec.ndim:
                return dim, part
        return None


def _items(key: Any) -> list[Any]:
    """Return the items of a key; a list of lists counts as a tuple, as in PyTorch."""
    if isinstance(key, tuple):
        return list(key)
    if isinstance(key, list) and len(key) < 32:
        for item in key:
            if (
                item is None
                or item is Ellipsis
                or isinstance(item, (Tensor, slice, list, tuple, range, str))
                or hasattr(item, "__array_interface__")
                and np.ndim(item)
            ):
                warn(
                    "index: Using a non-tuple sequence for multidimensional indexing "
                    "is deprecated: use x[tuple(seq)] instead of x[seq], or "
                    "x[nt.tensor(seq)] where one index is meant.",
                )
                return list(key)
    return [key]


def _slice(item: slice) -> slice:
    ends = (item.start, item.stop, item.step)
    if any(isinstance(e, Tensor) for e in ends):
        return slice(*[int(e) if isinstance(e, Tensor) else e for e in ends])
    return item


def _index(item: Any) -> Any:
    """Return an item of a key as an integer or as an index tensor.

    Raises: DimError, what is no index.
    """
    kind = type(item)
    if kind is int:
        return item
    if isinstance(item, (bool, np.bool_)):
        return _whether(bool(item))
    if isinstance(item, Tensor):
        own = item._spec
        if own.ndim == 0 and own.dtype.name in _SELECTING:
            # while a function is traced nobody knows which view that would be
            return item.long() if type(own.device) is Twin else int(item)
        return checked(item)
    if isinstance(item, (list, tuple, range, np.ndarray)) and not (
        isinstance(item, np.ndarray) and item.ndim == 0
    ):
        return _listed(item)
    if isinstance(item, str):
        raise DTypeError(
            message(
                "index",
                f"the string {item!r}",
                "integers, slices, tensors, lists, None or Ellipsis",
                "new(): invalid data type 'str'.",
            )
        )
    if hasattr(item, "__index__") and not isinstance(item, float):
        return item.__index__()
    if hasattr(item, "__array_interface__") or hasattr(item, "__dlpack__"):
        return _listed(np.asarray(item))
    raise DimError(
        message(
            "index",
            f"an index of type {kind.__name__}",
            "integers, slices, tensors, lists, None or Ellipsis",
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte "
            f"Variables are valid indices (got {kind.__name__}).",
        )
    )


def _whether(value: bool) -> Tensor:
    return _of_array(np.array(value))


def _of_array(values: np.ndarray) -> Tensor:
    """Return an array as an index: on the host, or on the device that is traced for."""
    if active[0] and tracing.trace is not None:
        return held(values, tracing.trace.twin)
    return from_array(np.asarray(values, order="C"))


def checked(index: Tensor) -> Tensor:
    """Return a tensor that may be an index; one of bytes as a mask.

    Raises: DimError, another dtype.
    """
    kind = index._spec.dtype
    if kind is dtypes.uint8:
        warn(
            "index: indexing with dtype torch.uint8 is now deprecated, please use a "
            "dtype torch.bool instead.",
        )
        return index.bool()
    if kind.name not in _INDICES:
        raise DimError(
            message(
                "index",
                f"an index of {kind}",
                "int64, int32 or bool",
                "tensors used as indices must be long, int, byte or bool tensors. Use "
                "index.long().",
            )
        )
    return index


def integers(items: list[Any]) -> Tensor | None:
    """Return a list of integers as an index, None where there is anything else."""
    for item in items:
        if type(item) is not int:
            return None
    try:
        values = array("q", items)
    except OverflowError:
        return None
    if active[0] and tracing.trace is not None:
        return _of_array(np.array(items, np.int64))
    made = empty(contiguous_spec(dtypes.int64, (len(items),)))
    ctypes.memmove(made._pointer, values.buffer_info()[0], 8 * len(items))
    return made


def _listed(item: Any) -> Tensor:
    """Return a sequence or an array as an index."""
    if type(item) is list:
        quick = integers(item)
        if quick is not None:
            return quick
    if not isinstance(item, np.ndarray):
        try:
            found = np.array(item)
        except ValueError:
            found = np.array(None)
        if found.dtype.kind not in "biu":
            from ..creation import tensor

            found = tensor(item).numpy()  # which says what is wrong with ragged ones
        if not found.size:
            found = found.astype(np.int64)
        item = found
    if item.dtype.kind == "b":
        return _of_array(item)
    if item.dtype.kind not in "iu":
        raise DimError(
            message(
                "index",
                f"an index of {item.dtype}",
                "integers or bools",
                "tensors used as indices must be long, int, byte or bool tensors.",
            )
        )
    return _of_array(np.asarray(item, np.int64))
