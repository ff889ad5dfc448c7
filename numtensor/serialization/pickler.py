"""Objects written as pickles of protocol 2 that PyTorch's restricted reader accepts.

Names of PyTorch are written as text, so that PyTorch need not be there. Only what such
a reader builds is written: anything else is refused, with the place where it was
found. Knows no files; where elements go, the `storage_of` that it is given says.

The instructions are those of Python's `pickletools`.
"""

from __future__ import annotations

import pickle as p
import struct
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import Any, Protocol

from ..devices import device
from ..dtypes import dtype
from ..errors import message
from ..layout import Size
from ..tensor import Tensor
from .faults import PicklingError

_BATCH = 1000


class Id(Protocol):
    """What a pickle says of a tensor's storage."""

    cls: tuple[str, str]
    key: str
    location: str
    count: int
    kind: dtype | None


class Pickler:
    """One pickle; `storage_of` says where a tensor's elements go.

    `named` has the names of dims in the end, by the order of the tensors in the pickle.
    """

    def __init__(self, storage_of: Callable[[Tensor], Id]) -> None:
        self._storage_of = storage_of
        self._out = bytearray(b"\x80\x02")
        self._memo: dict[int, tuple[int, Any]] = {}
        self._known: dict[Any, int] = {}  # strings and globals, by value
        self._count = 0  # of what is in the reader's memo
        self.tensors = 0
        self.named: dict[int, tuple[str | None, ...]] = {}

    def dump(self, value: Any) -> bytes:
        """Return the pickle of `value`.

        Raises: PicklingError, something in it is no data.
        """
        try:
            self._save(value)
        except PicklingError as error:
            raise _placed(error) from None
        except RecursionError:
            raise PicklingError(
                message(
                    "save",
                    "containers nested too deeply",
                    "a nest that Python's stack can hold",
                    "Store the inner ones beside each other.",
                )
            ) from None
        self._out += p.STOP
        return bytes(self._out)

    def _save(self, value: Any) -> None:
        kind = type(value)
        write = _WRITERS.get(kind)
        if write is not None:
            write(self, value)
            return
        known = self._memo.get(id(value))
        if known is not None:
            self._get(known[0])
            return
        write = _CONTAINERS.get(kind)
        if write is None:
            if not isinstance(value, Tensor):
                raise _refused(value)
            write = Pickler._tensor
        write(self, value)

    # the reader's memo

    def _get(self, index: int) -> None:
        if index < 256:
            self._out += p.BINGET + bytes((index,))
        else:
            self._out += p.LONG_BINGET + struct.pack("<I", index)

    def _put(self) -> int:
        index = self._count
        self._count += 1
        if index < 256:
            self._out += p.BINPUT + bytes((index,))
        else:
            self._out += p.LONG_BINPUT + struct.pack("<I", index)
        return index

    def _remember(self, value: Any) -> None:
        self._memo[id(value)] = (self._put(), value)  # which keeps its id taken

    def _global(self, module: str, name: str) -> None:
        index = self._known.get((module, name))
        if index is not None:
            self._get(index)
            return
        self._out += p.GLOBAL + f"{module}\n{name}\n".encode()
        self._known[module, name] = self._put()

    # atoms

    def _none(self, value: None) -> None:
        self._out += p.NONE

    def _bool(self, value: bool) -> None:
        self._out += p.NEWTRUE if value else p.NEWFALSE

    def _int(self, value: int) -> None:
        if 0 <= value < 256:
            self._out += p.BININT1 + bytes((value,))
        elif 0 <= value < 65536:
            self._out += p.BININT2 + struct.pack("<H", value)
        elif -(2**31) <= value < 2**31:
            self._out += p.BININT + struct.pack("<i", value)
        else:
            data = p.encode_long(value)
            if len(data) > 255:
                raise PicklingError(
                    message(
                        "save",
                        f"an integer of {value.bit_length()} bits",
                        "at most 2039 bits",
                        "Store hex(value).",
                    )
                )
            self._out += p.LONG1 + bytes((len(data),)) + data

    def _float(self, value: float) -> None:
        self._out += p.BINFLOAT + struct.pack(">d", value)

    def _str(self, value: str) -> None:
        index = self._known.get(value)
        if index is not None:
            self._get(index)
            return
        data = value.encode("utf-8", "surrogatepass")
        if len(data) >= 2**32:
            raise PicklingError(
                message("save", f"a string of {len(data)} bytes", "less than 2**32")
            )
        self._out += p.BINUNICODE + struct.pack("<I", len(data)) + data
        self._known[value] = self._put()

    def _dtype(self, value: dtype) -> None:
        self._global("torch", value.name)

    # what is remembered by identity

    def _bytes(self, value: bytes) -> None:
        self._global("_codecs", "encode")
        self._str(value.decode("latin-1"))
        self._str("latin1")
        self._out += p.TUPLE2 + p.REDUCE
        self._remember(value)

    def _bytearray(self, value: bytearray) -> None:
        self._global("__builtin__", "bytearray")
        self._save(bytes(value))
        self._out += p.TUPLE1 + p.REDUCE
        self._remember(value)

    def _complex(self, value: complex) -> None:
        self._global("__builtin__", "complex")
        self._float(value.real)
        self._float(value.imag)
        self._out += p.TUPLE2 + p.REDUCE
        self._remember(value)

    def _device(self, value: device) -> None:
        self._global("torch", "device")
        self._str(value.type)
        if value.index is None:
            self._out += p.TUPLE1
        else:
            self._int(value.index)
            self._out += p.TUPLE2
        self._out += p.REDUCE
        self._remember(value)

    def _size(self, value: Size) -> None:
        self._global("torch", "Size")
        self._ints(value)
        self._out += p.TUPLE1 + p.REDUCE
        self._remember(value)

    def _tuple(self, value: tuple[Any, ...]) -> None:
        if not value:
            self._out += p.EMPTY_TUPLE
            return
        small = len(value) <= 3
        if not small:
            self._out += p.MARK
        self._items(value)
        known = self._memo.get(id(value))
        if known is not None:
            # it holds itself, and was written whole on the way
            self._out += p.POP * len(value) if small else p.POP_MARK
            self._get(known[0])
            return
        self._out += (
            (p.TUPLE1, p.TUPLE2, p.TUPLE3)[len(value) - 1] if small else p.TUPLE
        )
        self._remember(value)

    def _list(self, value: list[Any]) -> None:
        self._out += p.EMPTY_LIST
        self._remember(value)
        self._batches(value)

    def _batches(self, value: Any) -> None:
        items = enumerate(value)
        while batch := list(islice(items, _BATCH)):
            self._out += p.MARK
            for k, item in batch:
                self._item(item, k)
            self._out += p.APPENDS

    def _items(self, value: tuple[Any, ...]) -> None:
        for k, item in enumerate(value):
            self._item(item, k)

    def _item(self, item: Any, place: Any) -> None:
        try:
            self._save(item)
        except PicklingError as error:
            error.places.append(place)
            raise

    def _set(self, value: set[Any]) -> None:
        self._global("__builtin__", "set")
        self._out += p.EMPTY_LIST
        self._put()
        self._batches(value)
        self._out += p.TUPLE1 + p.REDUCE
        self._remember(value)

    def _dict(self, value: dict[Any, Any]) -> None:
        self._out += p.EMPTY_DICT
        self._remember(value)
        self._pairs(value)

    def _pairs(self, value: dict[Any, Any]) -> None:
        pairs = iter(value.items())
        while batch := list(islice(pairs, _BATCH)):
            self._out += p.MARK
            for key, item in batch:
                self._item(key, key)
                self._item(item, key)
            self._out += p.SETITEMS

    def _ordered(self, value: OrderedDict[Any, Any]) -> None:
        self._global("collections", "OrderedDict")
        self._out += p.EMPTY_TUPLE + p.REDUCE
        self._remember(value)
        self._pairs(value)
        metadata = getattr(value, "_metadata", None)
        if metadata is not None:  # of a state_dict: the versions of its modules
            self._dict({"_metadata": metadata})
            self._out += p.BUILD

    def _counter(self, value: Counter[Any]) -> None:
        self._global("collections", "Counter")
        self._dict(dict(value))
        self._out += p.TUPLE1 + p.REDUCE
        self._remember(value)

    # tensors

    def _tensor(self, value: Tensor) -> None:
        if not _is_parameter(value):
            self._elements(value, value._requires_grad)
            self._remember(value)
            return
        self._global("torch._utils", "_rebuild_parameter")
        self._elements(value, False)
        self._bool(value._requires_grad)
        self._no_hooks()
        self._out += p.TUPLE3 + p.REDUCE
        self._remember(value)

    def _elements(self, value: Tensor, requires_grad: bool) -> None:
        found = self._storage_of(value)
        plain = found.kind is value._spec.dtype
        name = "_rebuild_tensor_v2" if plain else "_rebuild_tensor_v3"
        self._global("torch._utils", name)
        self._out += p.MARK + p.MARK
        self._str("storage")
        self._global(*found.cls)
        self._str(found.key)
        self._str(found.location)
        self._int(found.count)
        self._out += p.TUPLE + p.BINPERSID
        self._int(value.storage_offset())
        self._ints(value._spec.shape)
        self._ints(value._spec.strides)
        self._bool(requires_grad)
        self._no_hooks()
        if not plain:
            self._dtype(value._spec.dtype)
        self._out += p.TUPLE + p.REDUCE
        names = getattr(value, "names", None)
        if names is not None and any(name is not None for name in names):
            self.named[self.tensors] = tuple(names)
        self.tensors += 1

    def _no_hooks(self) -> None:
        self._global("collections", "OrderedDict")
        self._out += p.EMPTY_TUPLE + p.REDUCE

    def _ints(self, values: tuple[int, ...]) -> None:
        self._out += p.MARK
        for value in values:
            self._int(value)
        self._out += p.TUPLE


_WRITERS: dict[type, Callable[[Pickler, Any], None]] = {
    type(None): Pickler._none,
    bool: Pickler._bool,
    int: Pickler._int,
    float: Pickler._float,
    str: Pickler._str,
    dtype: Pickler._dtype,
}
_CONTAINERS: dict[type, Callable[[Pickler, Any], None]] = {
    bytes: Pickler._bytes,
    bytearray: Pickler._bytearray,
    complex: Pickler._complex,
    device: Pickler._device,
    Size: Pickler._size,
    tuple: Pickler._tuple,
    list: Pickler._list,
    set: Pickler._set,
    dict: Pickler._dict,
    OrderedDict: Pickler._ordered,
    Counter: Pickler._counter,
}


def _placed(error: PicklingError) -> PicklingError:
    """Return an error that says where in the object the fault is."""
    if not error.places:
        return error
    where = "".join(f"[{place!r:.40}]" for place in reversed(error.places))
    return PicklingError(str(error).replace(";", f" at obj{where};", 1))


def _is_parameter(value: Tensor) -> bool:
    # nobody has one before the module is loaded, and most programs need no nn
    module = sys.modules.get("numtensor.nn.parameter")
    return module is not None and isinstance(value, module.Parameter)


def _refused(value: Any) -> PicklingError:
    kind = type(value)
    name = kind.__qualname__
    if kind.__module__ != "builtins":
        name = f"{kind.__module__}.{name}"
    if isinstance(value, type) or callable(value) and hasattr(value, "__qualname__"):
        name = f"{name} {value.__qualname__}"
    if hasattr(value, "state_dict"):
        do = "Save its state_dict() instead, and give it to load_state_dict() later."
    elif kind.__module__.partition(".")[0] == "numpy":
        do = "Save nt.from_numpy(array), and numbers as number.item()."
    elif isinstance(value, frozenset):
        do = "Save set(x)."
    elif isinstance(value, dict):
        do = "Save dict(x)."
    elif isinstance(value, tuple):
        do = "Save tuple(x)."
    else:
        do = "Store what it holds in dicts and lists."
    return PicklingError(
        message(
            "save",
            f"an object of type {name}",
            "tensors, numbers, strings, dicts, lists, tuples and sets",
            f"A file holds data, and would need code to make this again. {do}",
        )
    )
