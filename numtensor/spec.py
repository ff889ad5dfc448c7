"""What a tensor is besides its data: dtype, shape, strides, device, names, interned.

Two tensors of the same dtype and layout share one `Spec` object, so that everything
worked out for a combination of operands (dtypes, broadcasting, the kernel to call)
can be looked up by identity: that look-up is the hot path of an eager operator.
Knows no data and no offset.
"""

from __future__ import annotations

from typing import Any

from . import device_memory, devices, storage
from .dtypes import dtype, float16
from .errors import DTypeError, message
from .layout import Size, contiguous_strides, extent, is_contiguous, numel


class Spec:
    """Dtype and layout of a tensor. Made by `spec`, compared by content or identity."""

    __slots__ = (
        "dtype",
        "shape",
        "strides",
        "device",
        "names",
        "numel",
        "ndim",
        "itemsize",
        "contiguous",
        "nbytes",
        "shelf",
        "extra",
    )

    dtype: dtype
    shape: Size
    strides: tuple[int, ...]
    device: devices.device
    names: tuple[str | None, ...] | None  # None where no dim has one
    numel: int
    ndim: int
    itemsize: int
    contiguous: bool
    nbytes: int  # of a fresh storage of this layout
    shelf: Any
    extra: dict[Any, Any]  # what others have worked out for this layout

    def __repr__(self) -> str:
        names = f", {self.names}" if self.names else ""
        shape = tuple(self.shape)
        return f"Spec({self.dtype}, {shape}, {self.strides}, {self.device}{names})"


_specs: dict[tuple[Any, ...], Spec] = {}
#: beyond this many layouts the table is cleared; specs in use stay valid
_MOST = 20000


def spec(
    kind: dtype,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    device: devices.device = devices.CPU,
    names: tuple[str | None, ...] | None = None,
) -> Spec:
    """Return the spec of these values, the same object each time.

    `names` has a name, or None, for each dim, and one that is not None.
    """
    key: tuple[Any, ...] = (kind, shape, strides, device)
    if names is not None:
        key = (*key, names)
    found = _specs.get(key)
    if found is None:
        if kind is float16 and device.type != "cpu":
            raise DTypeError(
                message(
                    "float16",
                    f"a tensor on {device}",
                    "one in host memory",
                    "Cast it with .float() before it moves.",
                )
            )
        found = Spec()
        found.dtype = kind
        found.shape = Size(shape)
        found.strides = tuple(strides)
        found.device = device
        found.names = names
        found.numel = numel(shape)
        found.ndim = len(shape)
        found.itemsize = kind.itemsize
        found.contiguous = is_contiguous(shape, strides)
        found.nbytes = extent(shape, strides) * kind.itemsize
        if device is devices.CPU:
            found.shelf = storage.shelf_for(found.nbytes)
        elif type(device) is devices.Twin:
            from .tracing import shelf_for

            found.shelf = shelf_for(found.nbytes)
        else:
            found.shelf = device_memory.shelf_for(device, found.nbytes)
        found.extra = {}
        if len(_specs) >= _MOST:
            _specs.clear()
        found = _specs.setdefault(key, found)
    return found


def contiguous_spec(
    kind: dtype, shape: tuple[int, ...], device: devices.device = devices.CPU
) -> Spec:
    """Return the spec of a fresh tensor of this dtype and shape."""
    return spec(kind, shape, contiguous_strides(shape), device)
