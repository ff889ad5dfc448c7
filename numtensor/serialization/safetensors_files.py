"""Files of the safetensors package: named tensors, and strings about them.

The package writes the files and checks those it opens. Names of dims are kept among
the strings, under `NAMES`.

Source of the format: https://huggingface.co/docs/safetensors.
"""

from __future__ import annotations

import json
import math
from typing import IO, Any

from .. import dtypes
from ..errors import NumtensorError, message
from ..layout import contiguous_strides
from ..tensor import Tensor
from .faults import brief, damaged, no_such_dtype
from .locations import Place
from .numpy_files import check_shape, check_tensors, placed
from .packing import write_all
from .source import Body, Source

#: the string that holds the names of dims, as JSON: {tensor: [name or null, ...]}
NAMES = "numtensor.names"
_MOST_HEADER = 100_000_000  # bytes, the package's own limit

_DTYPES = {
    "BOOL": dtypes.bool_,
    "U8": dtypes.uint8,
    "I8": dtypes.int8,
    "I16": dtypes.int16,
    "I32": dtypes.int32,
    "I64": dtypes.int64,
    "F16": dtypes.float16,
    "F32": dtypes.float32,
    "F64": dtypes.float64,
}


def _package() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            message(
                "safetensors",
                "no package safetensors",
                "it to be installed",
                "pip install 'numtensor[files]'",
            )
        ) from error
    return safetensors


def save(value: Any, file: IO[bytes], metadata: dict[str, str] | None = None) -> None:
    """Write a dict of tensors, and strings about them.

    Raises: PicklingError, no dict of tensors; ImportError, the package is missing.
    """
    check_tensors(value, ".safetensors")
    package = _package()
    arrays = {k: x.detach().contiguous().numpy(force=True) for k, x in value.items()}
    about = dict(metadata or {})
    named = {}
    for key, x in value.items():
        names = getattr(x, "names", None)
        if names is not None and any(name is not None for name in names):
            named[key] = list(names)
    if named:
        about[NAMES] = json.dumps(named)
    write_all(file, package.numpy.save(arrays, about or None))


def begins(source: Source) -> bool:
    """Return whether a file may be one: the size of a header, then an object."""
    if source.size < 10:
        return False
    start = source.read(0, 9)
    length = int.from_bytes(start[:8], "little")
    return start[8:] == b"{" and length + 8 <= source.size


def load(
    source: Source, path: str | None, place: Place, mapped: bool
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors, and the strings about them.

    Raises: FileError; DTypeError; ImportError, the package is missing.
    """
    length = _header_length(source)
    package = _package()
    try:
        if path is not None:  # reads the header, and compares it with the file's size
            with package.safe_open(path, framework="numpy"):
                pass
        else:
            package.deserialize(source.read(0, source.size))
    except package.SafetensorError as error:
        raise damaged(
            source.label, f"a header that is wrong ({error})", "one"
        ) from None
    header = json.loads(source.read(8, length, "the header"))
    about = header.pop("__metadata__", None) or {}
    names = _names(about, source.label)
    found = {}
    for key, entry in header.items():
        kind = _kind(entry["dtype"], f"{key!r} of {source.label}")
        shape = tuple(entry["shape"])
        first, last = entry["data_offsets"]
        label = f"tensor {key!r} of {source.label}"
        check_shape(shape, label)
        body = Body(source, 8 + length + first, last - first, label)
        nbytes = math.prod(shape) * kind.itemsize
        storage = body.storage(nbytes, mapped, kind.itemsize)
        made = placed(storage, place, kind, shape, contiguous_strides(shape))
        found[key] = _named(made, names[key], label) if key in names else made
    return found, about


def _header_length(source: Source) -> int:
    length = int.from_bytes(source.read(0, 8, "the header's size"), "little")
    limit = min(_MOST_HEADER, source.size - 8)
    if length > limit:
        raise damaged(
            source.label, f"a header of {length} bytes", f"at most {limit} of them"
        )
    return length


def _kind(name: str, label: str) -> dtypes.dtype:
    kind = _DTYPES.get(name)
    if kind is None:
        do = "Convert them to F32 with the program that wrote the file."
        raise no_such_dtype(name, label, do)
    return kind


def _names(about: dict[str, str], label: str) -> dict[str, Any]:
    text = about.get(NAMES)
    if text is None:
        return {}
    try:
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("no object")
    except (ValueError, RecursionError) as error:
        raise damaged(label, f"a garbled {NAMES!r}", "names of dims") from error
    del about[NAMES]
    return found


def _named(made: Tensor, names: Any, label: str) -> Tensor:
    from ..names.tensors import named

    try:
        return named(made, tuple(names))
    except (NumtensorError, TypeError) as error:
        raise damaged(label, f"names {brief(names)}", "names of its dims") from error
