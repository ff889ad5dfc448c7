"""The storage as a user sees it: a flat sequence, shared by a tensor and its views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from . import device_memory
from .devices import CPU, Twin
from .devices import device as Device
from .devices import find as find_device
from .dtypes import dtype
from .errors import DimError, message
from .storage import Storage, allocate


def _bytes(storage: Storage, device: Device) -> np.ndarray:
    if device is CPU:
        return storage.bytes()
    if type(device) is Twin:
        from .tracing import needs_data

        raise needs_data(device)
    copy = np.empty(storage.nbytes, np.uint8)
    if copy.size:
        device_memory.download(device, copy.ctypes.data, storage.pointer, copy.size)
    return copy


class TypedStorage:
    """A tensor's memory as elements of its dtype.

    >>> import numtensor as nt
    >>> points = nt.tensor([[4.0, 1.0], [5.0, 3.0]])
    >>> list(points.storage())
    [4.0, 1.0, 5.0, 3.0]
    """

    def __init__(self, storage: Storage, kind: dtype, device: Device = CPU) -> None:
        self._storage = storage
        self.dtype = kind
        self.device = device

    def _array(self) -> np.ndarray:
        """The elements: in place on the host, copied from a device."""
        size = self.dtype.itemsize
        whole = self._storage.nbytes // size * size
        return _bytes(self._storage, self.device)[:whole].view(self.dtype.numpy)

    def __len__(self) -> int:
        return self._storage.nbytes // self.dtype.itemsize

    size = __len__

    def nbytes(self) -> int:
        """Return the bytes of the storage."""
        return self._storage.nbytes

    def data_ptr(self) -> int:
        """Return the address of the first byte."""
        return self._storage.pointer

    def _checked(self, index: Any) -> Any:
        if isinstance(index, int) and not -len(self) <= index < len(self):
            raise DimError(
                message(
                    "storage",
                    f"index {index}",
                    f"an index into {len(self)} elements",
                    "out of range.",
                )
            )
        return index

    def __getitem__(self, index: Any) -> Any:
        found = self._array()[self._checked(index)]
        return found.tolist() if isinstance(found, np.ndarray) else found.item()

    def __setitem__(self, index: Any, value: Any) -> None:
        self._storage.version += 1  # before writing: read-only memory refuses here
        array = self._array()
        array[self._checked(index)] = value
        if self.device is not CPU:
            device_memory.upload(
                self.device, self._storage.pointer, array.ctypes.data, array.nbytes
            )

    def __iter__(self) -> Iterator[Any]:
        return iter(self._array().tolist())

    def tolist(self) -> list[Any]:
        """Return the elements as Python numbers."""
        return self._array().tolist()

    def __repr__(self) -> str:
        lines = [f" {v}" for v in self._array().tolist()]
        kind = f"dtype={self.dtype}, device={self.device}"
        lines.append(f"[torch.storage.TypedStorage({kind}) of size {len(self)}]")
        return "\n".join(lines)


class UntypedStorage:
    """A tensor's memory as bytes."""

    def __init__(self, storage: Storage, device: Device = CPU) -> None:
        self._storage = storage
        self.device = device

    def __len__(self) -> int:
        return self._storage.nbytes

    size = nbytes = __len__

    def data_ptr(self) -> int:
        """Return the address of the first byte."""
        return self._storage.pointer

    def cpu(self) -> UntypedStorage:
        """Return the storage in host memory: itself, or a copy."""
        if self.device is CPU:
            return self
        made = allocate(self._storage.nbytes)
        made.bytes()[...] = _bytes(self._storage, self.device)
        return UntypedStorage(made)

    def cuda(self, device: Any = None) -> UntypedStorage:
        """Return the storage on a GPU, the current one or `device`: itself, or a copy.

        Raises: DeviceError, there is no such GPU.
        """
        on = find_device("cuda" if device is None else device)
        if on is self.device:
            return self
        held = _bytes(self._storage, self.device)
        made = device_memory.allocate(on, held.size)
        if held.size:
            device_memory.upload(on, made.pointer, held.ctypes.data, held.size)
        return UntypedStorage(made, on)

    def tolist(self) -> list[int]:
        """Return the bytes as integers."""
        return _bytes(self._storage, self.device).tolist()

    def __getitem__(self, index: Any) -> Any:
        found = _bytes(self._storage, self.device)[index]
        return found.tolist() if isinstance(found, np.ndarray) else int(found)

    def __repr__(self) -> str:
        lines = [f" {v}" for v in self.tolist()]
        kind = f"device={self.device}"
        lines.append(f"[torch.storage.UntypedStorage({kind}) of size {len(self)}]")
        return "\n".join(lines)
