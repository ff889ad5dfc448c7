"""The storage as a user sees it: a flat sequence, shared by a tensor and its views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .dtypes import dtype
from .errors import DimError, message
from .storage import Storage


class TypedStorage:
    """A tensor's memory as elements of its dtype.

    >>> import numtensor as nt
    >>> points = nt.tensor([[4.0, 1.0], [5.0, 3.0]])
    >>> list(points.storage())
    [4.0, 1.0, 5.0, 3.0]
    """

    def __init__(self, storage: Storage, kind: dtype) -> None:
        self._storage = storage
        self.dtype = kind

    def _array(self) -> np.ndarray:
        size = self.dtype.itemsize
        whole = self._storage.nbytes // size * size
        return self._storage.bytes()[:whole].view(self.dtype.numpy)

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
        self._array()[self._checked(index)] = value
        self._storage.version += 1

    def __iter__(self) -> Iterator[Any]:
        return iter(self._array().tolist())

    def tolist(self) -> list[Any]:
        """Return the elements as Python numbers."""
        return self._array().tolist()

    def __repr__(self) -> str:
        lines = [f" {v}" for v in self._array().tolist()]
        kind = f"dtype={self.dtype}, device=cpu"
        lines.append(f"[torch.storage.TypedStorage({kind}) of size {len(self)}]")
        return "\n".join(lines)


class UntypedStorage:
    """A tensor's memory as bytes."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def __len__(self) -> int:
        return self._storage.nbytes

    size = nbytes = __len__

    def data_ptr(self) -> int:
        """Return the address of the first byte."""
        return self._storage.pointer

    def tolist(self) -> list[int]:
        """Return the bytes as integers."""
        return self._storage.bytes().tolist()

    def __getitem__(self, index: Any) -> Any:
        found = self._storage.bytes()[index]
        return found.tolist() if isinstance(found, np.ndarray) else int(found)

    def __repr__(self) -> str:
        lines = [f" {v}" for v in self.tolist()]
        lines.append(f"[torch.storage.UntypedStorage(device=cpu) of size {len(self)}]")
        return "\n".join(lines)
