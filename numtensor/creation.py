"""Tensors from data: `tensor` copies, `as_tensor` and `from_numpy` share memory where
they can."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import dtypes, layout, repeated
from .devices import find as find_device
from .dtypes import FLOAT, INTEGER, dtype
from .errors import DTypeError, ShapeError, message
from .factories import finish, fresh, kind_of
from .interop import shared
from .memory import from_array
from .names import bare
from .ops.copies import check_holds
from .ops.declare import attach
from .tensor import Tensor
from .transfer import assign

#: what has no memory to show, or is asked for it by other means
_NOT_SHARED = (Tensor, np.ndarray, np.generic, list, tuple, bool, int, float)


def tensor(
    data: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    names: Any = None,
) -> Tensor:
    """Return a new tensor holding a copy of `data`.

    `data`: a number, nested sequences of numbers, an ndarray, a Tensor, or another
    library's array, which is copied on the device it is on. Dtypes: bool gives bool,
    integers int64, floats the default dtype; arrays keep theirs.
    Raises: ShapeError, ragged sequences; DTypeError, other objects.

    >>> tensor([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [3., 4.]])
    """
    plain = device is names is None and not pin_memory
    if plain:
        ready = None
        if type(data) is list:
            ready = repeated.numbers(data, dtype)
        elif type(data) in (float, int):
            ready = repeated.full((), data, dtype)
        if ready is not None:
            return ready.requires_grad_() if requires_grad else ready
    if not isinstance(data, _NOT_SHARED):
        found = shared(data, device)
        data = data if found is None else found
    if isinstance(data, Tensor):
        on = data.device if device is None else find_device(device)
        kind = data.dtype if dtype is None else dtypes.find(dtype)
        made = data.detach().to(on, kind, copy=True)
        return finish(made, requires_grad, pin_memory=pin_memory, names=names)
    array = _as_array(data, dtype)
    kind = kind_of(dtype, _own_kind(data, array))
    if kind.category == INTEGER and array.size and not isinstance(data, np.ndarray):
        check_holds("tensor", kind, array.min(), array.max())
    made = fresh("tensor", kind, array.shape, device)
    if plain and not array.ndim:
        repeated.see(made, kind)
    with np.errstate(all="ignore"):
        assign(made, array)
    return finish(made, requires_grad, pin_memory=pin_memory, names=names)


def _own_kind(data: Any, array: np.ndarray) -> dtype:
    """What dtype data has by itself; Python's floats are of the default dtype."""
    if isinstance(data, (np.ndarray, np.generic)):
        return dtypes.find(array.dtype)
    if array.dtype.kind == "f" and not _holds_arrays(data):
        return dtypes.get_default_dtype()
    return dtypes.find(array.dtype)


def _holds_arrays(data: Any) -> bool:
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return isinstance(data, (np.ndarray, np.generic))


def _as_array(data: Any, dtype: Any) -> np.ndarray:
    if isinstance(data, np.ndarray):
        return data
    if type(data) in (list, tuple):
        data = _without_tensors(data)
        if not data:
            return np.empty(0, np.float64)
    elif isinstance(data, str):
        raise DTypeError(
            message("tensor", "a string", "numbers", "new(): invalid data type 'str'.")
        )
    try:
        array = np.array(data)
    except (ValueError, OverflowError) as error:
        _ragged(data, ())
        raise ShapeError(
            message("tensor", "this data", "numbers", str(error))
        ) from None
    if array.dtype.kind == "O":
        _ragged(data, ())
        if dtype is None or dtypes.find(dtype).category != FLOAT:
            biggest = _first_object(data)
            if isinstance(biggest, int):
                raise OverflowError(
                    message(
                        "tensor",
                        f"the integer {biggest}",
                        "integers that fit int64",
                        "Overflow when unpacking long long. Use a float dtype.",
                    )
                )
        try:
            if not any(value is None for value in array.flat):  # NumPy reads it as nan
                return array.astype(np.float64)
        except (TypeError, ValueError):
            pass
        raise DTypeError(
            message(
                "tensor",
                f"an object of type {type(_first_object(data)).__name__}",
                "numbers",
                f"Could not infer dtype of {type(_first_object(data)).__name__}.",
            )
        )
    if array.dtype.kind in "US":
        raise DTypeError(
            message("tensor", "strings", "numbers", "too many dimensions 'str'.")
        )
    too_large = array.dtype.kind == "u" and array.dtype != np.uint8
    python = not isinstance(data, (np.ndarray, np.generic)) and not _holds_arrays(data)
    if too_large and python:
        raise OverflowError(
            message(
                "tensor",
                "an integer above 2**63 - 1",
                "integers that fit int64",
                "Overflow when unpacking long long. Use a float dtype.",
            )
        )
    return array


def _without_tensors(data: Any) -> Any:
    """Replace tensors inside sequences by what they hold."""
    if isinstance(data, Tensor):
        return data.detach().tolist()
    if type(data) in (list, tuple) and any(
        isinstance(d, (Tensor, list, tuple)) for d in data
    ):
        return [_without_tensors(d) for d in data]
    return data


def _first_object(data: Any) -> Any:
    stack = [data]
    while stack:
        value = stack.pop()
        if isinstance(value, (list, tuple)):
            stack.extend(value)
        elif not isinstance(value, (bool, float)) and not (
            isinstance(value, int) and -(2**63) <= value < 2**63
        ):
            return value
    return data


def _ragged(data: Any, where: tuple[int, ...]) -> None:
    """Find where nested sequences differ in length, and say so as PyTorch does."""
    if not isinstance(data, (list, tuple)):
        return
    lengths = [len(d) if isinstance(d, (list, tuple)) else None for d in data]
    for k, length in enumerate(lengths):
        if length != lengths[0]:
            expected = f"sequence of length {lengths[0]}"
            if lengths[0] is None or length is None:
                raise DTypeError(
                    message(
                        "tensor",
                        f"a number beside a sequence at dim {len(where)}",
                        "nested sequences of equal depth",
                        "not a sequence",
                    )
                )
            raise ShapeError(
                message(
                    "tensor",
                    f"length {length} at position {k} of dim {len(where)}",
                    expected,
                    f"expected {expected} at dim {len(where) + 1} (got {length}). "
                    "Pad the rows to one length.",
                )
            )
        _ragged(data[k], (*where, k))


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Return data as a tensor, sharing memory if possible.

    With an ndarray, a Tensor, and arrays of other libraries that have DLPack or
    `__cuda_array_interface__`: these stay on the device they are on unless `device`
    names another.
    """
    kind = None if dtype is None else dtypes.find(dtype)
    if isinstance(data, Tensor):
        return data.to(device, kind)
    if isinstance(data, np.ndarray):
        return from_numpy(data).to(device, kind)
    if not isinstance(data, _NOT_SHARED):
        found = shared(data, device)
        if found is not None:
            return found.to(device, kind)
    return tensor(data, dtype=dtype, device=device)


def asarray(
    obj: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return `obj` as a tensor, copied only if asked or needed."""
    made = (
        tensor(obj, dtype=dtype, device=device)
        if copy
        else as_tensor(obj, dtype, device)
    )
    return made.requires_grad_() if requires_grad else made


def from_numpy(array: np.ndarray) -> Tensor:
    """Return a tensor that shares an ndarray's memory: writing one changes the other.

    Raises: DTypeError, no ndarray or a dtype without counterpart; ShapeError, negative
    strides.

    >>> a = np.zeros(2)
    >>> t = from_numpy(a)
    >>> a[0] = 1.0
    >>> t
    tensor([1., 0.], dtype=torch.float64)
    """
    if not isinstance(array, np.ndarray):
        raise DTypeError(
            message(
                "from_numpy",
                f"a {type(array).__name__}",
                "an ndarray",
                f"expected np.ndarray (got {type(array).__name__}). "
                "Use nt.tensor(...).",
            )
        )
    if not array.flags.writeable:
        import warnings

        warnings.warn(
            "from_numpy: the ndarray is not writable, so the tensor is not either; "
            "clone() it before writing",
            UserWarning,
            stacklevel=2,
        )
    return from_array(array)


def from_pickle(
    array: np.ndarray, requires_grad: bool, device: str = "cpu", names: Any = None
) -> Tensor:
    """Rebuild a pickled tensor, on the device it was on."""
    made = tensor(array, device=device, names=names)
    return made.requires_grad_(requires_grad)


def legacy(data: tuple[Any, ...]) -> Tensor:
    """Return what `Tensor(...)` makes: float32 from data, or uninitialised sizes."""
    if len(data) == 1 and not isinstance(data[0], int):
        if isinstance(data[0], layout.Size):
            return fresh("Tensor", dtypes.get_default_dtype(), tuple(data[0]))
        if isinstance(data[0], Tensor):
            return bare(data[0].detach())
        return tensor(data[0], dtype=dtypes.get_default_dtype())
    return fresh("Tensor", dtypes.get_default_dtype(), tuple(data) or (0,))


attach(
    "new_tensor",
    lambda self, data, *, dtype=None, device=None, requires_grad=False: tensor(
        data,
        dtype=kind_of(dtype, self.dtype),
        device=self.device if device is None else device,
        requires_grad=requires_grad,
    ),
)
