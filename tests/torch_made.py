"""Files as PyTorch writes them, built from bytes with `pickle` and `zipfile` alone.

For tests where PyTorch is not installed, and of files that PyTorch would never write.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
import tracemalloc
import zipfile
from collections import OrderedDict

import pytest

import numtensor as nt
from numtensor.serialization import FileError

MAGIC = 0x1950A86A20F9469CFC6C
CLASSES = {
    "bool": "BoolStorage",
    "uint8": "ByteStorage",
    "int8": "CharStorage",
    "int16": "ShortStorage",
    "int32": "IntStorage",
    "int64": "LongStorage",
    "float16": "HalfStorage",
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
}


class Name:
    """A global in a pickle, which need not exist."""

    def __init__(self, module, name):
        self.module, self.name = module, name

    def __call__(self):
        """Pickle wants what it reduces to to be callable."""


class Call:
    """What a pickle makes by calling a global."""

    def __init__(self, name, *args, state=None):
        self.made = (name, args) if state is None else (name, args, state)

    def __reduce__(self):
        return self.made


class Reference:
    """A persistent id: a storage, by what the file says of it."""

    def __init__(self, *pid):
        self.pid = pid


class _Pickler(pickle._Pickler):
    dispatch = pickle._Pickler.dispatch.copy()

    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, Reference) else None

    def save_name(self, obj):
        if self.proto >= 4:
            self.save(obj.module)
            self.save(obj.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        self.memoize(obj)

    dispatch[Name] = save_name


def pickled(obj, protocol=2):
    """Return the pickle of an object made of the classes above."""
    out = io.BytesIO()
    _Pickler(out, protocol).dump(obj)
    return out.getvalue()


def torch(name, *args):
    """Return a call of one of PyTorch's functions that rebuild things."""
    return Call(Name("torch._utils", name), *args)


def storage(key, count, dtype="float32", location="cpu", *view):
    cls = Name("torch", CLASSES[dtype])
    return Reference("storage", cls, key, location, count, *view)


def tensor(elements, size, stride, offset=0, requires_grad=False):
    """Return what makes a tensor over a storage."""
    hooks = OrderedDict()
    return torch(
        "_rebuild_tensor_v2", elements, offset, size, stride, requires_grad, hooks
    )


def archive(pickle_bytes, storages=(), root="model", byteorder=sys.byteorder, **more):
    """Return the bytes of a zip file: PyTorch's records, the pickle first."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as file:
        file.writestr(f"{root}/data.pkl", pickle_bytes)
        if byteorder is not None:
            file.writestr(f"{root}/byteorder", byteorder)
        for key, data in dict(storages).items():
            file.writestr(f"{root}/data/{key}", data)
        file.writestr(f"{root}/version", "3\n")
        for name, data in more.items():
            file.writestr(f"{root}/{name}", data)
    return out.getvalue()


def legacy(obj, storages=(), little=True, keys=None, magic=MAGIC):
    """Return the bytes of a file from before the zip format.

    `storages`: key -> (itemsize, bytes).
    """
    storages = dict(storages)
    about = {
        "protocol_version": 1001,
        "little_endian": little,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    parts = [pickled(part) for part in (magic, 1001, about)]
    parts += [pickled(obj), pickled(sorted(storages) if keys is None else keys)]
    for key in sorted(storages):
        itemsize, data = storages[key]
        parts += [struct.pack("<q", len(data) // itemsize), data]
    return b"".join(parts)


#: what loading a small file may take, for all that it says
MOST = 16 << 20


def refusal(data, error=FileError, most=MOST):
    """Return the text of the error that a file is refused with."""
    tracemalloc.start()
    try:
        with pytest.raises(error) as raised:
            nt.load(io.BytesIO(data))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most, f"{peak} bytes"
    return str(raised.value)
