"""`save` and `load`: which format, which arguments, whose room."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import IO, Any

from ..errors import message
from . import atomic, legacy, numpy_files, safetensors_files, torch_files
from .faults import FileError, MmapError, PicklingError, damaged
from .locations import placing
from .records import Archive
from .source import Source

_WRITERS: dict[str, Callable[[Any, IO[bytes]], None]] = {
    ".npy": numpy_files.save_npy,
    ".npz": numpy_files.save_npz,
    ".safetensors": safetensors_files.save,
}


def save(
    obj: Any,
    f: str | os.PathLike[str] | IO[bytes],
    *,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write tensors, and plain containers of them, to a file.

    `obj` is a tensor, a number, a string, bytes, None, a dtype, device or Size, or
    dicts, lists, tuples and sets of such, nested: a `state_dict()`, for example. `f` is
    a path or a binary file. A path ending in `.npy` (a tensor), `.npz` or
    `.safetensors` (a dict of tensors) gets a file of that format; any other, and a
    file object, PyTorch's, which `torch.load` reads. `metadata` is a dict of strings
    to keep in a `.safetensors` file.

    Tensors that share a storage share it when they are loaded again, and the storage
    is written whole: `clone()` a small part of a large tensor first. A path holds
    either the old file or the whole new one, even if the process dies on the way.
    Raises: PicklingError (a TypeError), something in `obj` is no data; FolderError (a
    FileNotFoundError), there is no such folder; OSError.

    >>> import io
    >>> import numtensor as nt
    >>> file = io.BytesIO()
    >>> nt.save({"weight": nt.ones(2), "epoch": 3}, file)
    >>> _ = file.seek(0)
    >>> nt.load(file)
    {'weight': tensor([1., 1.]), 'epoch': 3}
    """
    path = _path("save", f, "write")
    ending = "" if path is None else os.path.splitext(path)[1].lower()
    write = _WRITERS.get(ending, torch_files.save)
    if metadata is not None:
        _check_metadata(metadata, ending)
        write = functools.partial(safetensors_files.save, metadata=metadata)
    if path is None:
        write(obj, f)  # type: ignore[arg-type]
    else:
        atomic.write(path, lambda file: write(obj, file))


def load(
    f: str | os.PathLike[str] | IO[bytes],
    map_location: Any = None,
    *,
    mmap: bool | None = False,
    weights_only: bool | None = True,
    with_metadata: bool = False,
) -> Any:
    """Return what is in a file: PyTorch's, safetensors', NumPy's npy or npz.

    The format is told by the content. Storages go to the device they were on, or where
    `map_location` says: a device, a string, a dict from old to new locations, or a
    function of a storage and its location that returns a storage, or None for the old
    one. `mmap=True` lays tensors over the file at a path, read when they are used and
    changed in memory only. Files of safetensors and npz make dicts of tensors;
    `with_metadata=True` returns a safetensors file's dict and its strings.

    Nothing is built but tensors, plain containers and what goes into them, and nothing
    in a file is run, so `weights_only=False` makes no difference.
    Raises: FileError, the file is damaged or not one of these; UnpicklingError, which
    is one, a pickle asks for more than data; DTypeError, elements that tensors do not
    have; DeviceError, no such device; OSError.

    >>> import io
    >>> import numtensor as nt
    >>> file = io.BytesIO()
    >>> nt.save([nt.tensor([1, 2]), "two"], file)
    >>> _ = file.seek(0)
    >>> nt.load(file, map_location="cpu")
    [tensor([1, 2]), 'two']
    """
    place = placing(map_location)
    path = _path("load", f, "read")
    if path is None:
        if mmap:
            raise MmapError(
                message(
                    "load",
                    f"mmap=True and a {type(f).__name__}",
                    "a path",
                    "f must be a file path in order to use the mmap argument.",
                )
            )
        return _load(Source(f, "the file"), None, place, False, with_metadata)  # type: ignore[arg-type]
    with open(path, "rb") as file:
        source = Source(file, repr(path))
        return _load(source, path, place, bool(mmap), with_metadata)


def _load(
    source: Source, path: str | None, place: Any, mapped: bool, with_metadata: bool
) -> Any:
    start = source.read(0, min(8, source.size))
    if start[:2] == b"PK":
        archive = Archive(source)
        root = torch_files.root_of(archive)
        _no_metadata(with_metadata, source.label)
        if root is not None:
            return torch_files.load(archive, root, place, mapped)
        return numpy_files.load_npz(archive, place, mapped)
    if safetensors_files.begins(source) or (path or "").endswith(".safetensors"):
        found = safetensors_files.load(source, path, place, mapped)
        return found if with_metadata else found[0]
    _no_metadata(with_metadata, source.label)
    if start[:6] == numpy_files.START:
        return numpy_files.load_npy(source, place, mapped)
    if legacy.is_tar(source):
        raise legacy.refuse_tar(source.label)
    if start[:1] == legacy.START:
        if mapped:
            raise MmapError(
                message(
                    "load",
                    f"mmap=True and {source.label}, of the format before PyTorch 1.6",
                    "a zip file, npy or safetensors",
                    "mmap can only be used with files saved with "
                    "`torch.save(_use_new_zipfile_serialization=True)`, please "
                    "torch.save your checkpoint with this option in order to use mmap.",
                )
            )
        return legacy.load(source, place)
    raise _unknown(start, source.label)


def _unknown(start: bytes, label: str) -> FileError:
    if start[:4] == b"\x89HDF":
        do = "Open it with h5py.File, and use nt.from_numpy(file[name][:])."
    elif not start:
        do = "Its writing may have been interrupted: get it again."
    else:
        do = "It is of another kind, or damaged."
    what = f"a file that begins with {start!r}" if start else "an empty file"
    formats = "one of PyTorch, safetensors or NumPy"
    return damaged(label, what, formats, do)


def _path(op: str, f: Any, need: str) -> str | None:
    """Return the path that `f` is, None if it is a file."""
    if isinstance(f, (str, os.PathLike)):
        path = os.fspath(f)
        if isinstance(path, str):
            return path
    elif hasattr(f, need):
        return None
    raise PicklingError(
        message(
            op,
            f"a file of type {type(f).__name__}",
            f"a path (str or os.PathLike) or a binary file with {need}",
        )
    )


def _check_metadata(metadata: Any, ending: str) -> None:
    if ending != ".safetensors":
        raise PicklingError(
            message(
                "save",
                f"metadata for a file ending in {ending!r}",
                "a path ending in '.safetensors'",
                "Put the strings into the object, in a dict.",
            )
        )
    for key, value in dict(metadata).items():
        if type(key) is not str or type(value) is not str:
            raise PicklingError(
                message(
                    "save",
                    f"metadata {key!r:.40}: {value!r:.40}",
                    "a dict of strings",
                    "Use str(value) or json.dumps(value).",
                )
            )
        if key == safetensors_files.NAMES:
            raise PicklingError(
                message("save", f"metadata {key!r}", "another key, this one is ours")
            )


def _no_metadata(asked: bool, label: str) -> None:
    if asked:
        raise damaged(
            label, "with_metadata=True and no safetensors file", "one",
            "Other formats have no metadata.",
        )  # fmt: skip
