"""PyTorch's files: a zip archive of a pickle and of one record for each storage.

Records, all under one folder: `data.pkl`; `data/0`, `data/1`, ..., the storages'
bytes; `byteorder`; `version`. Ours have `numtensor.json` too, with the names of dims,
which PyTorch does not look for.
"""

from __future__ import annotations

import io
import json
import sys
from typing import IO, Any

from ..devices import device as Device
from ..dtypes import dtype
from ..storage import Storage
from ..tensor import Tensor
from ..typed_storage import UntypedStorage
from . import torch_names
from .faults import brief, damaged
from .locations import Place
from .packing import ALIGNMENT, Packer
from .pickler import Pickler
from .rebuilding import Elements, Rebuilder
from .records import Archive
from .unpickler import Unpickler, refused

_ROOT = "archive"
_NAMES = "numtensor.json"
_MOST_SMALL = 16 << 20  # bytes of a record that is not a tensor's
_MAPPED = 16  # bytes that a mapped storage is aligned to, whatever its dtypes


class _Kept:
    """A storage that is to be written, as the pickle speaks of it."""

    def __init__(self, key: int, x: Tensor) -> None:
        self.storage: Storage = x._storage
        self.device: Device = x._spec.device
        self.key = str(key)
        self.location = str(self.device)
        self.kind: dtype | None = x._spec.dtype
        self.count, rest = divmod(self.storage.nbytes, self.kind.itemsize)
        self.cls = ("torch", torch_names.CLASSES[self.kind.name])
        if rest:  # bytes, seen by tensors of several dtypes
            self.kind, self.count = None, self.storage.nbytes
            self.cls = ("torch.storage", "UntypedStorage")

    def bytes(self) -> memoryview:
        """Return its bytes, from the device it is on."""
        return UntypedStorage(self.storage, self.device).cpu()._storage.bytes().data


def save(value: Any, file: IO[bytes]) -> None:
    """Write `value` as PyTorch would. Raises: PicklingError, it is no data."""
    storages: dict[int, _Kept] = {}

    def storage_of(x: Tensor) -> _Kept:
        found = storages.get(id(x._storage))
        if found is None:
            found = storages[id(x._storage)] = _Kept(len(storages), x)
        return found

    pickler = Pickler(storage_of)
    pickle = pickler.dump(value)
    packer = Packer(file)
    packer.record(f"{_ROOT}/data.pkl", pickle)
    packer.record(f"{_ROOT}/.format_version", b"1")
    packer.record(f"{_ROOT}/.storage_alignment", str(ALIGNMENT).encode())
    packer.record(f"{_ROOT}/byteorder", sys.byteorder.encode())
    for kept in storages.values():
        packer.record(f"{_ROOT}/data/{kept.key}", kept.bytes())
    packer.record(f"{_ROOT}/version", b"3\n")
    if pickler.named:
        named = {str(k): names for k, names in pickler.named.items()}
        text = json.dumps({"tensors": pickler.tensors, "names": named})
        packer.record(f"{_ROOT}/{_NAMES}", text.encode())
    packer.close()


def root_of(archive: Archive) -> str | None:
    """Return the folder of the records if this is PyTorch's file, else None."""
    for name in archive.records:
        if name.endswith("/data.pkl") and name.count("/") == 1:
            return name.removesuffix("data.pkl")
    return None


def load(archive: Archive, root: str, place: Place, mapped: bool) -> Any:
    """Return what an archive's pickle describes, its storages where `place` says.

    Raises: FileError; UnpicklingError, it describes more than data; DTypeError.
    """
    label = archive.label
    if f"{root}constants.pkl" in archive.records:
        raise refused(
            label, "a TorchScript program", "Save the module's state_dict() instead."
        )
    pickle_label = f"{label} ({root}data.pkl)"
    rebuilder = Rebuilder(pickle_label, _names(archive, root))
    swapped = _byteorder(archive, root) != sys.byteorder
    known: dict[str, tuple[Elements, str]] = {}

    def persistent(pid: Any) -> Elements:
        if type(pid) is not tuple or len(pid) != 5 or pid[0] != "storage":
            raise damaged(label, f"a reference {brief(pid)}", "one to a storage")
        _, cls, key, location, count = pid
        if type(key) is not str or type(location) is not str or type(count) is not int:
            raise damaged(label, f"a reference {brief(pid)}", "one to a storage")
        kind = rebuilder.kind_of(cls)
        nbytes = count * (1 if kind is None else kind.itemsize)
        found = known.get(key)
        if found is None:
            body = archive.open(f"{root}data/{key}")
            storage = body.storage(nbytes, mapped and not swapped, _MAPPED)
            if swapped:
                _swap(storage, kind, label)
            found = Elements(*place(storage, location), kind), location
            known[key] = found
        elif found[0].nbytes != nbytes or found[1] != location:
            raise damaged(
                label,
                f"two sizes or places of storage {brief(key)}",
                "one of a storage",
            )
        if found[0].kind is not kind:
            return Elements(found[0].storage, found[0].device, kind)
        return found[0]

    pickle = archive.read(f"{root}data.pkl")
    unpickler = Unpickler(
        io.BytesIO(pickle), len(pickle), pickle_label, rebuilder.find, persistent
    )
    return unpickler.load()


def _small(archive: Archive, name: str) -> bytes | None:
    """Return a record that says something about the file, None if there is none."""
    found = archive.records.get(name)
    if found is None:
        return None
    if found.size > _MOST_SMALL:
        raise damaged(
            archive.label, f"record {name!r} of {found.size} bytes", "a small one"
        )
    return archive.read(name)


def _byteorder(archive: Archive, root: str) -> str:
    found = _small(archive, f"{root}byteorder")
    if found is None:  # before PyTorch 2.1
        return "little"
    if found not in (b"little", b"big"):
        raise damaged(archive.label, f"byte order {brief(found)}", "little or big")
    return found.decode()


def _swap(storage: Storage, kind: dtype | None, label: str) -> None:
    if kind is None:
        raise damaged(label, "bytes of another byte order", "elements of a dtype")
    storage.bytes().view(kind.numpy).byteswap(inplace=True)


def _names(archive: Archive, root: str) -> dict[int, tuple[str | None, ...]]:
    """Return the names of dims, by the order of the tensors in the pickle."""
    found = _small(archive, f"{root}{_NAMES}")
    if found is None:
        return {}
    try:
        named = json.loads(found)["names"]
        return {int(k): _dims(names) for k, names in named.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise damaged(archive.label, f"a garbled {_NAMES}", "names of dims") from error


def _dims(names: Any) -> tuple[str | None, ...]:
    if not all(name is None or isinstance(name, str) for name in names):
        raise TypeError("a name is a string")
    return tuple(names)
