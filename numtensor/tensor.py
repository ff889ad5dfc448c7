"""Tensor: storage, layout, dtype, device, and its place on the tape.

The class itself: what a tensor is, how it meets Python numbers and NumPy, how it
prints. Its side of autograd is `taped`, how one is made over memory `memory`.
Operators are attached to it by `ops`, from their declarations, and must not be
written here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtypes, printing, transfer
from .devices import CPU, Twin
from .devices import device as Device
from .dtypes import FLOAT, dtype
from .errors import AutogradError, HostOnlyError, ShapeError, message
from .layout import Size, extent
from .storage import ReadOnlyStorage
from .taped import Taped


class Tensor(Taped):
    """A multi-dimensional array of one dtype that can be differentiated.

    Made by `tensor`, `zeros`, `from_numpy`, ... and by operators, not by calling the
    class with data (`Tensor([1, 2])` works as in PyTorch: float32, a copy).
    """

    __slots__ = ("__dict__", "__weakref__")

    __array_priority__ = 1000  # ndarray + Tensor asks Tensor first

    def __init__(self, *data: Any) -> None:
        from .creation import legacy

        source = legacy(data)
        _take(self, source)

    if TYPE_CHECKING:
        # Operators are attached from their declarations, which no checker can see.
        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, key: Any) -> Tensor: ...
        def __setitem__(self, key: Any, value: Any) -> None: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __eq__(self, other: Any) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: Any) -> Tensor: ...  # type: ignore[override]

    # what it is

    @property
    def shape(self) -> Size:
        """The size of each dimension."""
        return self._spec.shape

    @property
    def dtype(self) -> dtype:
        """The kind of number the elements are."""
        return self._spec.dtype

    @property
    def device(self) -> Device:
        """Where the memory is."""
        return self._spec.device

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._spec.ndim

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self._spec.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._spec.numel * self._spec.itemsize

    @property
    def is_cuda(self) -> bool:
        """Whether the memory is a GPU's."""
        return self._spec.device.type == "cuda"

    @property
    def names(self) -> tuple[str | None, ...]:
        """The name of each dimension, None for those that have none."""
        return self._spec.names or (None,) * self._spec.ndim

    @names.setter
    def names(self, names: Any) -> None:
        self.rename_(*([None] if names is None else names))

    def has_names(self) -> bool:
        """Return whether some dimension has a name."""
        return self._spec.names is not None

    def dim(self) -> int:
        """Return the number of dimensions."""
        return self._spec.ndim

    ndimension = dim

    def size(self, dim: int | None = None) -> Any:
        """Return the shape, or the size of one dimension."""
        if dim is None:
            return self._spec.shape
        from .layout import normalize_dim

        return self._spec.shape[normalize_dim("size", dim, self._spec.ndim)]

    def numel(self) -> int:
        """Return the number of elements."""
        return self._spec.numel

    nelement = numel

    def element_size(self) -> int:
        """Return the bytes of one element."""
        return self._spec.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """Return how many elements apart neighbours are, per dimension or in one."""
        if dim is None:
            return self._spec.strides
        from .layout import normalize_dim

        return self._spec.strides[normalize_dim("stride", dim, self._spec.ndim)]

    def storage_offset(self) -> int:
        """Return how many elements into its storage the tensor begins."""
        return (self._pointer - self._storage.pointer) // self._spec.itemsize

    def storage(self) -> Any:
        """Return the storage as a flat sequence of this dtype, shared with views."""
        from .typed_storage import TypedStorage

        return TypedStorage(self._storage, self._spec.dtype, self._spec.device)

    def untyped_storage(self) -> Any:
        """Return the storage as bytes."""
        from .typed_storage import UntypedStorage

        return UntypedStorage(self._storage, self._spec.device)

    def data_ptr(self) -> int:
        """Return the address of the first element."""
        transfer.has_memory(self)
        return self._pointer

    def is_contiguous(self) -> bool:
        """Return whether elements lie in memory in the order of their indices."""
        return self._spec.contiguous

    def is_floating_point(self) -> bool:
        """Return whether the dtype holds fractions."""
        return self._spec.dtype.category == FLOAT

    def is_complex(self) -> bool:
        """Return whether the dtype holds complex numbers: never."""
        return False

    def is_signed(self) -> bool:
        """Return whether the dtype holds negative numbers."""
        return self._spec.dtype.is_signed

    def is_same_size(self, other: Tensor) -> bool:
        """Return whether the shapes are equal."""
        return self._spec.shape == other._spec.shape

    def get_device(self) -> int:
        """Return the index of the GPU, -1 for host memory."""
        index = self._spec.device.index
        return -1 if index is None else index

    @property
    def _version(self) -> int:
        return self._storage.version

    def type(self, dtype: Any = None) -> Any:
        """Return the legacy name of the type, or the tensor cast to `dtype`."""
        if dtype is None:
            where = "cuda." if self.is_cuda else ""
            return f"torch.{where}{_LEGACY[self._spec.dtype.name]}"
        if isinstance(dtype, str):
            for name, legacy in _LEGACY.items():
                if dtype in (f"torch.{legacy}", legacy):
                    dtype = name
        return self.to(dtypes.find(dtype))

    def detach(self) -> Tensor:
        """Return the same memory outside the tape: a view that requires no grad."""
        result = object.__new__(Tensor)
        result._storage = self._storage
        result._pointer = self._pointer
        result._spec = self._spec
        result._requires_grad = False
        result._grad = result._node = result._base = result._extra = None
        result._output = 0
        return result

    # Python and NumPy

    def item(self) -> bool | int | float:
        """Return the only element as a Python number.

        Raises: ShapeError, there is more than one element, or none.
        """
        if self._spec.numel != 1:
            raise ShapeError(
                message(
                    "item",
                    f"a Tensor of shape {list(self.shape)}",
                    "exactly one element",
                    f"a Tensor with {self._spec.numel} elements cannot be converted to "
                    "Scalar. Use tolist(), or index it first.",
                )
            )
        if self._spec.device is not CPU:
            return transfer.values(self).item()
        if self._spec.dtype is dtypes.float16:  # ctypes has none
            return self._array().item()
        return _C_TYPES[self._spec.dtype.name].from_address(self._pointer).value

    def tolist(self) -> Any:
        """Return nested lists of Python numbers, or one number for a 0-d tensor."""
        return transfer.values(self).tolist()

    def _array(self) -> np.ndarray:
        """Return an ndarray over the same host memory, whatever the tape says."""
        found = self._spec
        known = found.extra.get("window")
        if known is None:
            if type(found.device) is Twin:
                return transfer.values(self)  # which refuses
            known = window(found.dtype, tuple(found.shape), found.strides)
            found.extra["window"] = known
        at, shape, kind, strides = known
        held = at(self._pointer)
        held.storage = storage = self._storage  # the ndarray holds it: memory stays
        array: np.ndarray = np.ndarray(shape, kind, held, 0, strides)
        if type(storage) is ReadOnlyStorage:
            array.flags.writeable = False
        return array

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """Return an ndarray that shares the memory.

        Raises: AutogradError, the tensor requires grad; HostOnlyError, it is on a GPU.
        `force=True` detaches, and copies to the host, instead.
        """
        if self._spec.device is not CPU:
            if not force and type(self._spec.device) is not Twin:
                raise HostOnlyError(
                    message(
                        "numpy",
                        f"a tensor on {self._spec.device}",
                        "one in host memory",
                        f"can't convert {self._spec.device} device type tensor to "
                        "numpy. Use Tensor.cpu() to copy the tensor to host memory "
                        "first.",
                    )
                )
            return transfer.values(self)
        if self._requires_grad and not force:
            raise AutogradError(
                message(
                    "numpy",
                    "a tensor that requires grad",
                    "one that does not",
                    "Can't call numpy() on Tensor that requires grad. Use "
                    "tensor.detach().numpy() instead.",
                )
            )
        return self._array()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self._spec.dtype.category == FLOAT or self._spec.numel != 1:
            raise TypeError(
                message(
                    "index",
                    f"a {self.type()} of shape {list(self.shape)}",
                    "one integer",
                    "only integer tensors of a single element can be converted to an "
                    "index.",
                )
            )
        return int(self.item())

    def __bool__(self) -> bool:
        if self._spec.numel != 1:
            many = "more than one value" if self._spec.numel else "no values"
            raise ShapeError(
                message(
                    "bool",
                    f"a tensor of shape {list(self.shape)}",
                    "exactly one element",
                    f"Boolean value of Tensor with {many} is ambiguous. Use .any() or "
                    ".all().",
                )
            )
        return bool(self.item())

    def __len__(self) -> int:
        if not self._spec.ndim:
            raise TypeError(
                message("len", "a 0-d tensor", "at least one dimension", "Use numel().")
            )
        return self._spec.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self._spec.ndim:
            raise TypeError(
                message(
                    "iteration",
                    "a 0-d tensor",
                    "at least one dimension",
                    "iteration over a 0-d tensor. Use item().",
                )
            )
        return iter(self.unbind(0))

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    __hash__ = object.__hash__

    def __format__(self, text: str) -> str:
        if self._spec.ndim == 0 and type(self) is Tensor:
            return format(self.item(), text)
        return object.__format__(self, text)

    def __repr__(self) -> str:
        found = self._spec
        node = self.grad_fn
        if type(found.device) is Twin:  # there is nothing to show while it is traced
            return f"tensor(traced, size={tuple(found.shape)}, dtype={found.dtype})"
        return printing.tensor_text(
            transfer.values(self),
            dtype=f"torch.{found.dtype.name}",
            default_dtype=f"torch.{dtypes.get_default_dtype().name}",
            requires_grad=self._requires_grad,
            grad_fn=node.name() if node is not None else None,
            device=str(found.device),
            names=found.names,
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._node is not None:
            raise AutogradError(
                message(
                    "deepcopy",
                    "a tensor with a history",
                    "a leaf",
                    "Only Tensors created explicitly by the user (graph leaves) "
                    "support the deepcopy protocol at the moment. Use "
                    "detach().clone().",
                )
            )
        copy = type(self).__new__(type(self))
        _take(copy, self.detach().clone())
        copy._requires_grad = self._requires_grad
        if self._grad is not None:
            copy._grad = self._grad.detach().clone()
        copy.__dict__.update(self.__dict__)
        memo[id(self)] = copy
        return copy

    def __reduce_ex__(self, protocol: Any) -> Any:
        from .creation import from_pickle

        # a copy: pickle asks when it pleases
        array = np.array(transfer.values(self))
        grad = self._requires_grad and self._node is None
        place = str(self._spec.device)
        return (from_pickle, (array, grad, place, self._spec.names))


#: reads one element where it lies; an ndarray over it costs ten times as much
_C_TYPES: dict[str, Any] = {
    "bool": ctypes.c_bool,
    "uint8": ctypes.c_uint8,
    "int8": ctypes.c_int8,
    "int16": ctypes.c_int16,
    "int32": ctypes.c_int32,
    "int64": ctypes.c_int64,
    "float32": ctypes.c_float,
    "float64": ctypes.c_double,
}

_LEGACY = {
    "bool": "BoolTensor",
    "uint8": "ByteTensor",
    "int8": "CharTensor",
    "int16": "ShortTensor",
    "int32": "IntTensor",
    "int64": "LongTensor",
    "float16": "HalfTensor",
    "float32": "FloatTensor",
    "float64": "DoubleTensor",
}


def window(kind: dtype, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """Return what makes an ndarray over memory of this layout, but for its address:
    `np.ndarray(shape, dtype, at(address), 0, strides)` of the four returned as (at,
    shape, dtype, strides)."""
    size = kind.itemsize
    held = ctypes.c_char * (extent(shape, strides) * size)
    return held.from_address, shape, kind.numpy, tuple([s * size for s in strides])


def _take(target: Tensor, source: Tensor) -> None:
    """Give a new object another tensor's memory, and no history."""
    target._storage = source._storage
    target._pointer = source._pointer
    target._spec = source._spec
    target._requires_grad = False
    target._grad = target._node = target._base = target._extra = None
    target._output = 0
    if source._spec.names is not None:
        from .names.tensors import classify

        classify(target)
