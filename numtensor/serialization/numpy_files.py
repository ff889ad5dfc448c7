"""NumPy's files: npy, one array; npz, a zip archive of several.

The header is read by NumPy, after its size was checked; the elements go straight into
a tensor's memory. No pickle in them is ever read.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, message
from ..layout import contiguous_strides
from ..memory import result_of
from ..spec import spec
from ..storage import Storage
from ..tensor import Tensor
from .faults import PicklingError, brief, damaged, no_such_dtype
from .locations import Place
from .packing import Packer, write_all
from .rebuilding import MOST_DIMS
from .records import Archive
from .source import Body, Source

START = b"\x93NUMPY"
_MOST_HEADER = 10000  # characters, NumPy's own limit


def save_npy(value: Any, file: IO[bytes]) -> None:
    """Write one tensor. Raises: PicklingError, it is none."""
    if not isinstance(value, Tensor):
        raise PicklingError(
            message(
                "save",
                f"a {type(value).__name__} for a .npy file",
                "a tensor",
                "Use .npz for a dict of tensors, .pt for anything else.",
            )
        )
    head, data = _parts(value)
    write_all(file, head)
    write_all(file, data)


def save_npz(value: Any, file: IO[bytes]) -> None:
    """Write a dict of tensors, not compressed. Raises: PicklingError, it is none."""
    check_tensors(value, ".npz")
    packer = Packer(file)
    for name, x in value.items():
        packer.record(f"{name}.npy", *_parts(x))
    packer.close()


def check_tensors(value: Any, ending: str) -> None:
    """Raise PicklingError unless `value` maps strings to tensors."""
    got = f"a {type(value).__name__}"
    if isinstance(value, dict):
        wrong = [k for k, x in value.items() if not isinstance(x, Tensor)]
        wrong += [k for k in value if type(k) is not str or not k]
        if not wrong:
            return
        got = f"a dict with {brief(wrong[0])}: {type(value[wrong[0]]).__name__}"
    raise PicklingError(
        message(
            "save",
            f"{got} for a {ending} file",
            "a dict of tensors by their names",
            "Use .pt for anything else.",
        )
    )


def _parts(x: Tensor) -> tuple[bytes, memoryview]:
    """Return the header and the bytes of a tensor."""
    array = x.detach().contiguous().numpy(force=True)
    head = io.BytesIO()
    # a file that describes elements in the order of memory
    described = {
        "descr": np.lib.format.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": array.shape,
    }
    np.lib.format.write_array_header_1_0(head, described)
    return head.getvalue(), array.reshape(-1).view(np.uint8).data


def load_npy(source: Source, place: Place, mapped: bool) -> Tensor:
    """Return the array of a file. Raises: FileError; DTypeError."""
    return _array(Body(source, 0, source.size, source.label), place, mapped)


def load_npz(archive: Archive, place: Place, mapped: bool) -> dict[str, Tensor]:
    """Return the arrays of an archive by their names. Raises: FileError; DTypeError."""
    found = {}
    for name in archive.records:
        if not name.endswith(".npy"):
            raise damaged(
                archive.label, f"the record {name!r}", "records of PyTorch or NumPy",
                "Such zip files are not for tensors.",
            )  # fmt: skip
        body = archive.open(name)
        found[name.removesuffix(".npy")] = _array(body, place, mapped)
    return found


def _array(body: Body, place: Place, mapped: bool) -> Tensor:
    shape, fortran, kind = _header(body)
    native = dtypes.find(kind.newbyteorder("="))
    strides = contiguous_strides(shape)
    if fortran:
        strides = tuple(reversed(contiguous_strides(shape[::-1])))
    nbytes = math.prod(shape) * kind.itemsize
    storage = body.storage(nbytes, mapped and kind.isnative, native.itemsize)
    if not kind.isnative:
        storage.bytes().view(native.numpy).byteswap(inplace=True)
    return placed(storage, place, native, shape, strides)


def placed(
    storage: Storage,
    place: Place,
    kind: dtypes.dtype,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
) -> Tensor:
    """Return a tensor over a whole storage, where `place` says."""
    there, on = place(storage, "cpu")
    return result_of(there, there.pointer, spec(kind, shape, strides, on))


def check_shape(shape: tuple[int, ...], label: str) -> None:
    """Raise FileError if no tensor has this shape, however few its elements."""
    reach = math.prod(n or 1 for n in shape)  # of its strides
    if len(shape) > MOST_DIMS or min(shape, default=0) < 0 or reach >= 2**59:
        raise damaged(
            label,
            f"the shape {brief(shape)}",
            f"at most {MOST_DIMS} sizes of 0 or more, less than 2**59 elements",
        )


def _header(body: Body) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return the shape, whether columns come first, and the dtype.

    Raises: FileError, the header is none, too large or for objects; DTypeError, no
    tensor has such elements.
    """
    start = body.take(8)
    if start[:6] != START or start[6:] not in (b"\1\0", b"\2\0"):
        raise damaged(body.label, f"a header of {start!r}", "NumPy's, version 1 or 2")
    size = 2 if start[6] == 1 else 4
    prefix = body.take(size)
    length = int.from_bytes(prefix, "little")
    if length > _MOST_HEADER:
        raise damaged(
            body.label, f"a header of {length} bytes", f"at most {_MOST_HEADER}"
        )
    text = io.BytesIO(prefix + body.take(length))
    read: Callable[..., Any] = (
        np.lib.format.read_array_header_1_0
        if size == 2
        else np.lib.format.read_array_header_2_0
    )
    try:
        shape, fortran, kind = read(text, max_header_size=_MOST_HEADER)
    except Exception as error:  # whatever Python's own parser raises
        raise damaged(body.label, f"a garbled header ({error})", "one") from None
    if kind.hasobject:
        raise damaged(
            body.label, "an array of Python objects", "numbers",
            "Objects are stored as a pickle, which is never read: nothing was run.",
        )  # fmt: skip
    check_shape(shape, body.label)
    try:
        dtypes.find(kind.newbyteorder("="))
    except DTypeError:
        raise no_such_dtype(
            kind, body.label, "Load it with numpy.load, and convert it with astype."
        ) from None
    return shape, fortran, kind
