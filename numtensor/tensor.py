"""Tensor: storage, layout, dtype, device, and its place on the tape.

The class itself: what a tensor is, how it meets Python numbers and NumPy, how it
prints, and its side of autograd. Operators are attached to it by `ops`, from their
declarations, and must not be written here.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtypes, printing
from .devices import device as Device
from .dtypes import FLOAT, dtype
from .errors import AutogradError, DTypeError, ShapeError, message
from .layout import Size, extent, is_dense
from .spec import Spec, contiguous_spec, spec
from .storage import Storage, adopt, new_block
from .tape import (
    FunctionNode,
    Node,
    RemovableHandle,
    edge,
    make_roots,
    run_backward,
)


class Tensor:
    """A multi-dimensional array of one dtype that can be differentiated.

    Made by `tensor`, `zeros`, `from_numpy`, ... and by operators, not by calling the
    class with data (`Tensor([1, 2])` works as in PyTorch: float32, a copy).
    """

    __slots__ = (
        "_storage",
        "_pointer",
        "_spec",
        "_requires_grad",
        "_grad",
        "_node",
        "_output",
        "_base",
        "_seen",
        "_extra",
        "__dict__",
        "__weakref__",
    )

    _storage: Storage
    _pointer: int  # address of element 0
    _spec: Spec
    _requires_grad: bool
    _grad: Tensor | None
    _node: Node | None
    _output: int  # which output of the node
    _base: Tensor | None  # the tensor this is a view of
    _seen: Node | None  # the base's node when this view's own was last right
    _extra: dict[str, Any] | None  # hooks and other rarities

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

        return TypedStorage(self._storage, self._spec.dtype)

    def untyped_storage(self) -> Any:
        """Return the storage as bytes."""
        from .typed_storage import UntypedStorage

        return UntypedStorage(self._storage)

    def data_ptr(self) -> int:
        """Return the address of the first element."""
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
        return -1

    @property
    def _version(self) -> int:
        return self._storage.version

    def type(self, dtype: Any = None) -> Any:
        """Return the legacy name of the type, or the tensor cast to `dtype`."""
        if dtype is None:
            return f"torch.{_LEGACY[self._spec.dtype.name]}"
        if isinstance(dtype, str):
            for name, legacy in _LEGACY.items():
                if dtype in (f"torch.{legacy}", legacy):
                    dtype = name
        return self.to(dtypes.find(dtype))

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
        return _C_TYPES[self._spec.dtype.name].from_address(self._pointer).value

    def tolist(self) -> Any:
        """Return nested lists of Python numbers, or one number for a 0-d tensor."""
        return self._array().tolist()

    def _array(self) -> np.ndarray:
        """Return an ndarray over the same memory, whatever the tape says."""
        return np.asarray(_Exposed(self))

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """Return an ndarray that shares the memory.

        Raises: AutogradError, the tensor requires grad (`force=True` detaches).
        """
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
        return printing.tensor_text(
            self._array(),
            dtype=f"torch.{found.dtype.name}",
            default_dtype=f"torch.{dtypes.get_default_dtype().name}",
            requires_grad=self._requires_grad,
            grad_fn=node.name() if node is not None else None,
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._node is not None:
            raise AutogradError(
                message(
                    "deepcopy",
                    "a tensor with a history",
                    "a leaf",
                    "Only Tensors created explicitly by the user (graph leaves) support "
                    "the deepcopy protocol at the moment. Use detach().clone().",
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

        if self._node is not None:
            return (from_pickle, (np.array(self._array()), False))
        return (from_pickle, (np.array(self._array()), self._requires_grad))

    # the tape

    @property
    def requires_grad(self) -> bool:
        """Whether operators on this tensor are recorded."""
        if self._base is not None and not self._requires_grad:
            _ = self.grad_fn  # a view learns here that its base was changed in place
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Start or stop recording operators on this tensor, in place.

        Raises: AutogradError, an integer dtype, or switching off a computed tensor.
        """
        if requires_grad and self._spec.dtype.category != FLOAT:
            raise AutogradError(
                message(
                    "requires_grad_",
                    f"a tensor of {self._spec.dtype}",
                    "a floating-point dtype",
                    "only Tensors of floating point dtype can require gradients. Use "
                    "x.float().",
                )
            )
        if not requires_grad and self._node is not None:
            raise AutogradError(
                message(
                    "requires_grad_",
                    "False for a tensor that was computed",
                    "a leaf",
                    "you can only change requires_grad flags of leaf variables. Use "
                    "var_no_grad = var.detach().",
                )
            )
        self._requires_grad = bool(requires_grad)
        return self

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` has accumulated, None before the first."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(
                    message(
                        "grad",
                        type(value).__name__,
                        "a Tensor or None",
                        "assigned grad expected to be a Tensor or None.",
                    )
                )
            if value._spec.shape != self._spec.shape:
                raise ShapeError(
                    message(
                        "grad",
                        f"a gradient of shape {list(value.shape)}",
                        f"{list(self.shape)}",
                        "assigned grad has data of a different size.",
                    )
                )
            if value._spec.dtype is not self._spec.dtype:
                raise DTypeError(
                    message(
                        "grad",
                        f"a gradient of {value.dtype}",
                        f"{self.dtype}",
                        "assigned grad has data of a different type.",
                    )
                )
        self._grad = value

    @property
    def grad_fn(self) -> Node | None:
        """The node that recorded how this tensor was computed; None for a leaf."""
        base = self._base
        if base is not None and base._node is not self._seen:
            # the base was changed in place since: its new history is ours too
            self._seen = base._node
            if base._requires_grad:
                self._node = _view_node(base, self)
                self._output = 0
                self._requires_grad = True
        return self._node

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was not computed from others that require grad."""
        return self.grad_fn is None

    @property
    def output_nr(self) -> int:
        """Which output of its node the tensor is."""
        return self._output

    @property
    def data(self) -> Tensor:
        """The same memory outside the tape."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(message("data", type(value).__name__, "a Tensor"))
        self._storage = value._storage
        self._pointer = value._pointer
        self._spec = value._spec

    def detach(self) -> Tensor:
        """Return the same memory outside the tape: a view that requires no grad."""
        result = _new(Tensor)
        result._storage = self._storage
        result._pointer = self._pointer
        result._spec = self._spec
        result._requires_grad = False
        result._grad = result._node = result._base = result._extra = None
        result._output = 0
        return result

    def detach_(self) -> Tensor:
        """Take this tensor off the tape, in place.

        Raises: AutogradError, the tensor is a view.
        """
        if self._base is not None and self._requires_grad:
            raise AutogradError(
                message(
                    "detach_",
                    "a view",
                    "a tensor that owns its memory",
                    "Can't detach views in-place. Use detach() instead.",
                )
            )
        self._node = None
        self._output = 0
        self._requires_grad = False
        return self

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Sequence[Tensor] | Tensor | None = None,
    ) -> None:
        """Accumulate into the leaves' `.grad` the gradient of this tensor.

        `gradient` is the cotangent, needed unless there is one element. The graph is
        freed unless `retain_graph`; with `create_graph` the gradients can be
        differentiated in turn.

        Raises: AutogradError, ShapeError.

        >>> import numtensor as nt
        >>> x = nt.tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([2., 4.])
        """
        if retain_graph is None:
            retain_graph = create_graph
        if isinstance(inputs, Tensor):
            inputs = [inputs]
        roots = make_roots((self,), (gradient,))
        run_backward(
            roots,
            retain_graph=retain_graph,
            create_graph=create_graph,
            inputs=inputs,
        )

    def register_hook(self, hook: Callable[[Tensor], Any]) -> RemovableHandle:
        """Call `hook(grad)` when this tensor's gradient is known; it may replace it.

        Raises: AutogradError, the tensor does not require grad.
        """
        if not self._requires_grad:
            raise AutogradError(
                message(
                    "register_hook",
                    "a tensor that does not require grad",
                    "one that does",
                    "cannot register a hook on a tensor that doesn't require gradient.",
                )
            )
        node = self.grad_fn
        if node is None:
            return RemovableHandle(self._more().setdefault("hooks", {}), hook)
        if node.hooks is None:
            node.hooks = {}
        hooks = node.hooks.setdefault("tensor", {})
        return RemovableHandle(hooks, (self._output, hook))

    def register_post_accumulate_grad_hook(
        self, hook: Callable[[Tensor], None]
    ) -> RemovableHandle:
        """Call `hook(tensor)` after backward has accumulated into this leaf's grad."""
        if self.grad_fn is not None or not self._requires_grad:
            raise AutogradError(
                message(
                    "register_post_accumulate_grad_hook",
                    "a tensor that is no leaf with requires_grad",
                    "a leaf that requires grad",
                )
            )
        return RemovableHandle(self._more().setdefault("post_accumulate", {}), hook)

    def _more(self) -> dict[str, Any]:
        if self._extra is None:
            self._extra = {}
        return self._extra

    def retain_grad(self) -> None:
        """Let `backward` keep this computed tensor's gradient in `.grad`.

        Raises: AutogradError, the tensor does not require grad.
        """
        if not self._requires_grad:
            raise AutogradError(
                message(
                    "retain_grad",
                    "a tensor that does not require grad",
                    "one that does",
                    "can't retain_grad on Tensor that has requires_grad=False.",
                )
            )
        node = self.grad_fn
        if node is not None:
            if node.hooks is None:
                node.hooks = {}
            node.hooks.setdefault("retain", {})[self._output] = weakref.ref(self)

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad` was called on this computed tensor."""
        node = self.grad_fn
        if node is None or node.hooks is None:
            return False
        held = node.hooks.get("retain", {}).get(self._output)
        return held is not None and held() is self

    def replace_history(self, node: Node, own: int | None) -> None:
        """Take `node`, of an in-place operator, as what computed this tensor.

        `own` says which of the node's edges leads to the tensor as it was before.
        Changing a view changes its base: the base gets a node that runs `node` on the
        part the view covers, and passes the rest on.
        """
        base = self._base
        self._node = node
        self._output = 0
        self._requires_grad = True
        if base is None:
            return
        outer = CopySlices(base, self, node, own)
        base._node = outer
        base._output = 0
        base._requires_grad = True
        self._node = _view_node(base, self)
        self._seen = outer


_new: Any = object.__new__

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
    "float32": "FloatTensor",
    "float64": "DoubleTensor",
}


class _Exposed:
    """Shows a tensor's memory to NumPy; the ndarray holds it, so memory stays."""

    __slots__ = ("__array_interface__", "storage")

    def __init__(self, tensor: Tensor) -> None:
        found = tensor._spec
        size = found.itemsize
        self.storage = tensor._storage
        self.__array_interface__ = {
            "version": 3,
            "shape": tuple(found.shape),
            "typestr": found.dtype.numpy.str,
            "strides": tuple(s * size for s in found.strides),
            "data": (tensor._pointer, False),
        }


def _take(target: Tensor, source: Tensor) -> None:
    """Give a new object another tensor's memory, and no history."""
    target._storage = source._storage
    target._pointer = source._pointer
    target._spec = source._spec
    target._requires_grad = False
    target._grad = target._node = target._base = target._extra = None
    target._output = 0


def empty(found: Spec) -> Tensor:
    """Return an uninitialised tensor of this spec."""
    shelf = found.shelf
    try:
        block = shelf.pop()
    except IndexError:
        block = new_block(found.nbytes, shelf)
    storage = _new_storage(Storage)
    storage.block = block
    storage.pointer = pointer = block[0]
    storage.nbytes = found.nbytes
    storage.version = 0
    result = _new(Tensor)
    result._storage = storage
    result._pointer = pointer
    result._spec = found
    result._requires_grad = False
    result._grad = result._node = result._base = result._extra = None
    result._output = 0
    return result


_new_storage: Any = object.__new__


def view(
    tensor: Tensor, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> Tensor:
    """Return a tensor over the same storage; `offset` counts from the tensor's own
    first element. Recording it is the caller's."""
    found = tensor._spec
    return view_as(tensor, spec(found.dtype, shape, strides), offset * found.itemsize)


def view_as(tensor: Tensor, found: Spec, offset: int) -> Tensor:
    """Return a tensor of this spec over the same storage, `offset` bytes further."""
    result = _new(Tensor)
    result._storage = tensor._storage
    result._pointer = tensor._pointer + offset
    result._spec = found
    result._requires_grad = False
    result._grad = result._node = result._extra = None
    base = tensor._base
    result._base = base = tensor if base is None else base
    result._seen = base._node
    result._output = 0
    return result


def from_array(array: np.ndarray) -> Tensor:
    """Return a tensor over an ndarray's memory, without a copy.

    Raises: DTypeError, a dtype that tensors do not have; ShapeError, negative strides
    or strides that are no multiple of the element.
    """
    kind = dtypes.find(array.dtype)
    if array.dtype.byteorder not in "=|" and not array.dtype.isnative:
        raise DTypeError(
            message(
                "from_numpy",
                f"byte order of {array.dtype}",
                "native byte order",
                "Use array.astype(array.dtype.newbyteorder('=')).",
            )
        )
    size = kind.itemsize
    if any(s < 0 for s in array.strides) and array.size:
        raise ShapeError(
            message(
                "from_numpy",
                f"strides {array.strides}",
                "strides of zero or more",
                "At least one stride in the given numpy array is negative, and tensors "
                "with negative strides are not currently supported. Use array.copy().",
            )
        )
    if any(s % size for s in array.strides):
        raise ShapeError(
            message(
                "from_numpy",
                f"strides of {array.strides} bytes",
                f"multiples of the {size} bytes of an element",
                "Use array.copy().",
            )
        )
    strides = tuple(s // size for s in array.strides)
    if not array.size:
        strides = contiguous_spec(kind, array.shape).strides
    found = spec(kind, tuple(array.shape), strides)
    result = _new(Tensor)
    address = array.ctypes.data
    nbytes = extent(found.shape, found.strides) * size
    _take(result, result_of(adopt(address, nbytes, array), address, found))
    return result


def result_of(storage: Storage, pointer: int, found: Spec) -> Tensor:
    """Return a tensor over a storage, with no history."""
    result = _new(Tensor)
    result._storage = storage
    result._pointer = pointer
    result._spec = found
    result._requires_grad = False
    result._grad = result._node = result._base = result._extra = None
    result._output = 0
    return result


def overlap(a: Tensor, b: Tensor) -> str:
    """Say how the memory of two tensors of one storage meets.

    "none", "full" (the same elements in the same places), "part", or "unknown" where
    only a search through the elements could tell.
    """
    sa, sb = a._spec, b._spec
    first = a._pointer, b._pointer
    last = (
        first[0] + extent(sa.shape, sa.strides) * sa.itemsize,
        first[1] + extent(sb.shape, sb.strides) * sb.itemsize,
    )
    if first[0] >= last[1] or first[1] >= last[0]:
        return "none"
    if first[0] == first[1] and sa.shape == sb.shape and sa.strides == sb.strides:
        return "full" if sa.itemsize == sb.itemsize else "unknown"
    if is_dense(sa.shape, sa.strides) and is_dense(sb.shape, sb.strides):
        return "part"
    return "unknown"


def as_number(op: str, value: Any) -> Any:
    """Return a NumPy scalar or a subclass of a number as a plain Python number.

    Raises: DTypeError.
    """
    if isinstance(value, (np.bool_, bool)):
        return bool(value)
    if isinstance(value, (np.integer, int)):
        return int(value)
    if isinstance(value, (np.floating, float)):
        return float(value)
    if isinstance(value, np.ndarray):
        return from_array(value)
    raise DTypeError(
        message(
            op,
            f"an argument of type {type(value).__name__}",
            "a Tensor or a Python number",
            "Convert it with nt.tensor(...).",
        )
    )


class CopySlices(Node):
    """The history of a tensor of which a view was changed in place."""

    __slots__ = ("inner", "geometry", "base_spec", "own")

    def __init__(
        self, base: Tensor, view: Tensor, inner: Node, own: int | None
    ) -> None:
        rest = [None if k == own else e for k, e in enumerate(inner.edges)]
        super().__init__((edge(base), *rest))
        self.inner = inner
        self.own = own
        self.geometry = _geometry(base, view)
        self.base_spec = base._spec

    def name(self) -> str:
        return "CopySlices"

    def backward(self, grad: Tensor) -> Sequence[Tensor | None]:
        full = _in_layout(grad, self.base_spec)
        part = full.as_strided(*self.geometry)
        outgoing = list(self.inner.backward(part.clone()))
        rest = full.clone()
        hole = rest.as_strided(*self.geometry)
        own = None
        if self.own is not None:
            own = outgoing[self.own]
            outgoing[self.own] = None
        if own is None:
            hole.zero_()
        else:
            hole.copy_(own)
        return (rest, *outgoing)

    def release(self) -> None:
        self.inner.release()


def _geometry(base: Tensor, view: Tensor) -> tuple[Any, Any, int]:
    offset = (view._pointer - base._pointer) // base._spec.itemsize
    return (tuple(view._spec.shape), view._spec.strides, offset)


def _in_layout(grad: Tensor, wanted: Spec) -> Tensor:
    """Return a copy of `grad` whose strides are those of the base."""
    made = grad.new_empty_strided(wanted.shape, wanted.strides)
    made.copy_(grad)
    return made


def _view_node(base: Tensor, view: Tensor) -> Node:
    """Return the record that `view` is part of `base`, whatever made it so."""
    geometry = _geometry(base, view)
    found = base._spec

    def back(grad: Tensor) -> tuple[Tensor]:
        full = grad.new_empty_strided(found.shape, found.strides)
        full.zero_()
        full.as_strided(*geometry).copy_(grad)
        return (full,)

    return FunctionNode("AsStridedBackward0", (edge(base),), back)
