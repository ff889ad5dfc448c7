"""PyTorch's files from before version 1.6: pickles one after the other, then storages.

In this order: a magic number, a version, what kind of machine wrote it, the object, the
keys of its storages, and for each of these its number of elements and its bytes.
"""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np

from .. import device_memory
from ..devices import CPU
from ..storage import allocate
from .faults import brief, damaged
from .locations import Place
from .rebuilding import Elements, Rebuilder
from .source import Source, Stream
from .unpickler import Unpickler, refused

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
#: how the first pickle begins, in every protocol that PyTorch wrote
START = b"\x80"


def is_tar(source: Source) -> bool:
    """Return whether this is the format from before version 0.2, a tar archive."""
    return source.size > 262 and source.read(257, 5) == b"ustar"


def refuse_tar(label: str) -> Exception:
    """Return the error of a tar archive."""
    return refused(
        label,
        "a tar archive",
        "PyTorch wrote such files before its version 0.2, and loads them with "
        "weights_only=False only. Load it there if you trust it, and save it again.",
    )


def load(source: Source, place: Place) -> Any:
    """Return what the pickles describe, storages where `place` says.

    The file stands behind the last storage then. Nothing in this format tells damage
    to a storage's bytes.
    Raises: FileError; UnpicklingError, it describes more than data; DTypeError.
    """
    label = source.label
    rebuilder = Rebuilder(label, {})
    stream = io.BufferedReader(Stream(source, 0), 1 << 16)
    known: dict[str, Elements] = {}
    views: dict[Any, Elements] = {}
    pending = 0  # bytes that the file must still have for the storages so far

    def persistent(pid: Any) -> Elements:
        nonlocal pending
        if type(pid) is tuple and pid and pid[0] == "module":
            raise refused(
                label,
                "a module",
                "Save the state_dict() of the module instead of the module.",
            )
        if type(pid) is not tuple or len(pid) not in (5, 6) or pid[0] != "storage":
            raise damaged(label, f"a reference {brief(pid)}", "one to a storage")
        _, cls, key, location, count = pid[:5]
        fits = type(key) is str and type(location) is str and type(count) is int
        if not fits or count < 0:
            raise damaged(label, f"a reference {brief(pid)}", "one to a storage")
        kind = rebuilder.kind_of(cls)
        itemsize = 1 if kind is None else kind.itemsize
        found = known.get(key)
        if found is None:
            nbytes = count * itemsize
            pending += nbytes + 8
            source.check(stream.tell(), pending, f"storages, {brief(key)} among them,")
            found = known[key] = Elements(*place(allocate(nbytes), location), kind)
        elif found.nbytes != count * itemsize or found.kind is not kind:
            raise damaged(
                label,
                f"two sizes of storage {brief(key)}, or two dtypes,",
                "one of each",
            )
        view = pid[5] if len(pid) == 6 else None
        return found if view is None else _part(found, view, views, label)

    unpickler = Unpickler(stream, source.size, label, rebuilder.find, persistent)
    if unpickler.load() != _MAGIC:
        raise damaged(label, "another pickle", "one that PyTorch wrote")
    version = unpickler.load()
    if version != _VERSION:
        raise damaged(label, f"version {brief(version)}", str(_VERSION))
    about = unpickler.load()
    little = not isinstance(about, dict) or about.get("little_endian", True)
    if little != (sys.byteorder == "little"):
        raise damaged(
            label, "numbers of another byte order", f"{sys.byteorder} endian",
            "Load it with PyTorch, and save it again.",
        )  # fmt: skip
    result = unpickler.load()
    keys = unpickler.load()
    if (
        type(keys) is not list
        or any(type(key) is not str for key in keys)
        or set(keys) != set(known)
    ):
        raise damaged(label, "storages that are not those referred to", "the same")
    at = stream.tell()
    for key in keys:
        at = _fill(source, at, known[key], key)
    source.file.seek(source.start + at)
    return result


def _fill(source: Source, at: int, elements: Elements, key: str) -> int:
    """Read a storage's bytes, and return where they end."""
    itemsize = 1 if elements.kind is None else elements.kind.itemsize
    count = int.from_bytes(source.read(at, 8, "a storage"), "little", signed=True)
    at += 8
    if count * itemsize != elements.nbytes:
        raise damaged(
            source.label,
            f"{count} elements of storage {brief(key)}",
            f"{elements.nbytes // itemsize}, as the pickle says",
        )
    if elements.nbytes:
        on_host = elements.device is CPU
        held = (
            elements.storage.bytes() if on_host else np.empty(elements.nbytes, np.uint8)
        )
        source.read_into(at, held.data, f"storage {brief(key)}")
        if not on_host:
            device_memory.upload(
                elements.device, elements.storage.pointer, held.ctypes.data, held.size
            )
    return at + elements.nbytes


def _part(
    whole: Elements, view: Any, views: dict[Any, Elements], label: str
) -> Elements:
    """Return a part of a storage, which PyTorch before 0.4 could have."""
    if type(view) is not tuple or len(view) != 3 or type(view[0]) is not str:
        raise damaged(label, f"a part {brief(view)} of a storage", "its key and place")
    key, offset, count = view
    itemsize = 1 if whole.kind is None else whole.kind.itemsize
    found = views.get(key)
    if found is None:
        first, nbytes = (
            n * itemsize if type(n) is int else -1 for n in (offset, count)
        )
        if first < 0 or nbytes < 0 or first + nbytes > whole.nbytes:
            raise damaged(
                label, f"a part {brief(view)} of a storage", "one within the storage"
            )
        found = Elements(whole.storage, whole.device, whole.kind, first, nbytes)
        views[key] = found
    return found
