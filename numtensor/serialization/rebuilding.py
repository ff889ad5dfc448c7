"""What the names in PyTorch's pickles make: tensors over storages, and little else.

This is the whole table. Each argument is checked, since a pickle can say anything.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

from .. import dtypes
from ..devices import CPU, device
from ..dtypes import FLOAT, dtype
from ..errors import DTypeError, NumtensorError, message
from ..layout import Size, extent
from ..memory import result_of
from ..spec import spec
from ..storage import Storage
from ..tensor import Tensor
from . import torch_names
from .faults import FileError, brief, damaged
from .unpickler import Known, Part, check_key, refused

MOST_DIMS = 64  # as NumPy has it
_MOST = 2**63 - 1


class Elements(Part):
    """A storage as pickles refer to it: `kind` is None where they say bytes."""

    __slots__ = ("storage", "device", "kind", "first", "nbytes")

    def __init__(
        self,
        storage: Storage,
        on: device,
        kind: dtype | None,
        first: int = 0,
        nbytes: int | None = None,
    ) -> None:
        super().__init__("a storage")
        self.storage = storage
        self.device = on
        self.kind = kind
        self.first = first
        self.nbytes = storage.nbytes if nbytes is None else nbytes


class Rebuilder:
    """The table of one file. `names` has the dims' names of its n-th tensors."""

    def __init__(self, label: str, names: dict[int, tuple[str | None, ...]]) -> None:
        self._label = label
        self._names = names
        self._count = 0
        self._table: dict[tuple[str, str], Callable[..., Any]] = {
            ("torch._utils", "_rebuild_tensor"): self._tensor,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor_v2,
            ("torch._utils", "_rebuild_tensor_v3"): self._tensor_v3,
            ("torch._utils", "_rebuild_parameter"): self._parameter,
            ("torch._utils", "_rebuild_parameter_with_state"): self._parameter,
            ("torch._tensor", "_rebuild_from_type_v2"): self._from_type,
            ("torch.nn.parameter", "Parameter"): self._parameter,
            ("torch", "Size"): self._size,
            ("torch", "device"): self._device,
            ("collections", "OrderedDict"): self._ordered,
            ("collections", "Counter"): self._counter,
            ("builtins", "set"): self._set,
            ("builtins", "frozenset"): self._frozenset,
            ("builtins", "bytes"): self._no_bytes,
            ("builtins", "bytearray"): self._bytearray,
            ("builtins", "complex"): self._complex,
            ("_codecs", "encode"): self._encoded,
        }

    def find(self, module: str, name: str) -> Any:
        """Return what a global stands for. Raises: UnpicklingError, nothing here."""
        if module == "__builtin__":  # Python 2, and protocol 2
            module = "builtins"
        if module == "torch.tensor":  # before PyTorch 1.8
            module = "torch._tensor"
        full = f"{module}.{name}"
        call = self._table.get((module, name))
        if call is not None:
            return Known(full, call)
        if module == "torch" and name in torch_names.DTYPES:
            return torch_names.find(name, self._label)
        if module in ("torch", "torch.cuda") and name in torch_names.STORAGES:
            return Known(full)
        if full in ("torch.storage.UntypedStorage", "torch.Tensor"):
            return Known(full)
        raise refused(
            self._label, f"the global {brief(full)}", torch_names.instead(full)
        )

    def kind_of(self, cls: Any) -> dtype | None:
        """Return the dtype of a class of storages, None for one of bytes.

        Raises: DTypeError, tensors do not have it; FileError, it is no such class.
        """
        if type(cls) is Known:
            if cls.name == "torch.storage.UntypedStorage":
                return None
            found = torch_names.STORAGES.get(cls.name.rpartition(".")[2])
            if found is not None:
                return torch_names.find(found, self._label)
        raise damaged(self._label, "a storage of an unknown class", "one of PyTorch's")

    # tensors

    def _tensor(self, elements: Any, offset: Any, size: Any, stride: Any) -> Tensor:
        if type(elements) is not Elements:
            raise damaged(
                self._label, f"a tensor over a {type(elements).__name__}", "a storage"
            )
        return self._made(elements, elements.kind or dtypes.uint8, offset, size, stride)

    def _tensor_v2(
        self,
        elements: Any,
        offset: Any,
        size: Any,
        stride: Any,
        requires_grad: Any,
        hooks: Any,
        metadata: Any = None,
    ) -> Tensor:
        if metadata:
            raise refused(
                self._label, f"a tensor with {brief(metadata)}", "Save x.resolve_neg()."
            )
        made = self._tensor(elements, offset, size, stride)
        return self._requiring(made, requires_grad)

    def _tensor_v3(
        self,
        elements: Any,
        offset: Any,
        size: Any,
        stride: Any,
        requires_grad: Any,
        hooks: Any,
        kind: Any,
        metadata: Any = None,
    ) -> Tensor:
        if type(elements) is not Elements or type(kind) is not dtype or metadata:
            raise damaged(self._label, "a tensor of parts that do not fit", "others")
        made = self._made(elements, kind, offset, size, stride)
        return self._requiring(made, requires_grad)

    def _made(
        self, elements: Elements, kind: dtype, offset: Any, size: Any, stride: Any
    ) -> Tensor:
        """Return a tensor of a layout that was checked against the storage."""
        itemsize = kind.itemsize
        shape, strides = self._ints(size), self._ints(stride)
        count = 1
        for n in shape:
            count *= n or 1
        within = (
            type(offset) is int
            and 0 <= offset <= _MOST
            and len(shape) == len(strides) <= MOST_DIMS
            and count * itemsize <= _MOST
            and all(step * itemsize <= _MOST for step in strides)
        )
        reach = extent(shape, strides) if within else 0
        first = elements.first + offset * itemsize if within else 0
        if not within or (
            reach and (offset + reach) * itemsize > elements.nbytes
        ) or first % itemsize:  # fmt: skip
            raise FileError(
                message(
                    "load",
                    f"a tensor of size {brief(shape)}, stride {brief(strides)} and "
                    f"storage offset {brief(offset)} in {self._label}",
                    f"one within its storage of {elements.nbytes // itemsize} elements",
                    "The file is damaged or was made to harm: get it again.",
                )
            )
        if not reach:
            first = elements.first + min(offset * itemsize, elements.nbytes)
        try:
            place = spec(kind, shape, strides, elements.device)
        except DTypeError as error:  # not on this device
            raise DTypeError(
                f"load: {self._label}: {error} Load it with map_location='cpu'."
            ) from None
        storage = elements.storage
        made = result_of(storage, storage.pointer + first, place)
        names = self._names.get(self._count)
        self._count += 1
        return made if names is None else self._named(made, names)

    def _named(self, made: Tensor, names: tuple[str | None, ...]) -> Tensor:
        if len(names) != made.ndim:
            raise damaged(
                self._label, f"{len(names)} names for {made.ndim} dims", "as many"
            )
        from ..names.tensors import named

        try:
            return named(made, names)
        except NumtensorError as error:
            raise damaged(
                self._label, f"names {brief(names)}", "names of dims"
            ) from error

    def _ints(self, values: Any) -> tuple[int, ...]:
        if not isinstance(values, (tuple, list)):
            raise damaged(self._label, f"a size that is {brief(values)}", "a tuple")
        for value in values:
            if type(value) is not int or not 0 <= value <= _MOST:
                raise damaged(
                    self._label, f"a size or stride of {brief(value)}", "0 to 2**63 - 1"
                )
        return tuple(values)

    def _requiring(self, made: Tensor, requires_grad: Any) -> Tensor:
        if requires_grad is True:
            self._check_float(made)
            made._requires_grad = True
        return made

    def _check_float(self, made: Tensor) -> None:
        if made.dtype.category != FLOAT:
            raise damaged(
                self._label, f"a {made.dtype} tensor that requires grad", "floats"
            )

    def _parameter(
        self,
        data: Any,
        requires_grad: Any = True,
        hooks: Any = None,
        state: Any = None,
    ) -> Tensor:
        """The attributes in `state` are dropped, as are hooks."""
        if not isinstance(data, Tensor):
            raise damaged(
                self._label, f"a parameter of a {type(data).__name__}", "a tensor"
            )
        if requires_grad:
            self._check_float(data)
        from ..nn.parameter import Parameter

        return Parameter(data.detach(), bool(requires_grad))

    def _from_type(self, rebuild: Any, kind: Any, args: Any, state: Any) -> Tensor:
        """A tensor with attributes, which are dropped."""
        for known in (rebuild, kind):
            if type(known) is not Known:
                raise damaged(self._label, "a tensor of no known type", "one")
        plain = kind.name in ("torch.Tensor", "torch.nn.parameter.Parameter")
        if not plain or not rebuild.name.startswith("torch._utils._rebuild_"):
            raise refused(self._label, f"a {kind.name!r}", "Save a plain tensor.")
        return rebuild.call(*args)

    # the rest

    def _size(self, values: Any = ()) -> Size:
        return Size(self._ints(values))

    def _device(self, kind: Any, index: Any = None) -> device:
        if type(kind) is not str or (index is not None and type(index) is not int):
            raise damaged(self._label, f"a device {brief(kind)}", "its type and index")
        return CPU if (kind, index) == ("cpu", None) else device(kind, index)

    def _ordered(self, items: Any = ()) -> OrderedDict[Any, Any]:
        found: OrderedDict[Any, Any] = OrderedDict()
        if not isinstance(items, (list, tuple)):
            raise damaged(self._label, "an OrderedDict of no pairs", "pairs")
        for pair in items:
            key, value = self._pair(pair)
            check_key(key, self._label)
            found[key] = value
        return found

    def _pair(self, pair: Any) -> tuple[Any, Any]:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise damaged(self._label, "an OrderedDict of no pairs", "pairs")
        return pair[0], pair[1]

    def _counter(self, items: Any = None) -> Counter[Any]:
        if items is not None and type(items) is not dict:
            raise damaged(self._label, "a Counter of no dict", "a dict")
        return Counter(items)

    def _set(self, items: Any = ()) -> set[Any]:
        return set(self._hashable(items))

    def _frozenset(self, items: Any = ()) -> frozenset[Any]:
        return frozenset(self._hashable(items))

    def _hashable(self, items: Any) -> Any:
        if not isinstance(items, (list, tuple)):
            raise damaged(self._label, f"a set of a {type(items).__name__}", "a list")
        for item in items:
            check_key(item, self._label)
        return items

    def _no_bytes(self) -> bytes:
        """What protocol 2 has for bytes of length 0."""
        return b""

    def _bytearray(self, data: Any = b"", coding: Any = "latin-1") -> bytearray:
        return bytearray(
            self._encoded(data, coding) if type(data) is str else _bytes(data)
        )

    def _complex(self, real: Any, imag: Any) -> complex:
        if type(real) is not float or type(imag) is not float:
            raise damaged(self._label, "a complex number of no floats", "two floats")
        return complex(real, imag)

    def _encoded(self, text: Any, coding: Any) -> bytes:
        """Bytes, which protocol 2 stores as the text that Latin-1 has for them."""
        if type(text) is not str or coding not in ("latin1", "latin-1"):
            raise damaged(
                self._label, f"text to encode as {brief(coding)}", "bytes in Latin-1"
            )
        return text.encode("latin-1")


def _bytes(data: Any) -> bytes:
    if type(data) is not bytes:  # a number would ask for that much memory
        raise TypeError(f"bytes of a {type(data).__name__}")
    return data
