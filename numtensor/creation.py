"""Factories: tensors from data, from a value, from a rule.

`tensor` copies, `as_tensor` and `from_numpy` share memory where they can. Every
factory takes `dtype`, `device` and `requires_grad`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import dtypes, layout
from .devices import find as find_device
from .dtypes import FLOAT, dtype
from .errors import DTypeError, ShapeError, message
from .ops.declare import attach
from .ops.registry import Declared, register
from .ops.views import _fill_, _zero_
from .spec import Spec, contiguous_spec, spec
from .tensor import Tensor, from_array
from .tensor import empty as empty_of


def _kind(given: Any, default: dtype | None = None) -> dtype:
    if given is None:
        return default or dtypes.get_default_dtype()
    return dtypes.find(given)


def _finish(
    made: Tensor, device: Any, requires_grad: bool, pin_memory: bool = False
) -> Tensor:
    if device is not None:
        find_device(device)
    return made.requires_grad_() if requires_grad else made


def _size(op: str, size: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[int, ...]:
    """Accept f(2, 3), f((2, 3)), f(size=(2, 3)).

    Raises: ShapeError, a negative or absurd size; DTypeError, no integers.
    """
    if "size" in keywords:
        size = (keywords.pop("size"),)
    if keywords:
        raise TypeError(
            f"{op}() got an unexpected keyword argument {next(iter(keywords))!r}"
        )
    if not size:
        raise TypeError(
            message(op, "no size", "sizes", f"Use {op}(()) for a 0-d tensor.")
        )
    if len(size) == 1 and isinstance(size[0], (tuple, list)):
        size = tuple(size[0])
    shape = tuple(s if type(s) is int else layout.as_int(op, s) for s in size)
    return shape


def _fresh(op: str, kind: dtype, shape: tuple[int, ...]) -> Tensor:
    layout.check_size(op, shape, kind.itemsize)
    return empty_of(contiguous_spec(kind, shape))


# From data


def tensor(
    data: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Return a new tensor holding a copy of `data`.

    `data`: a number, nested sequences of numbers, an ndarray or a Tensor. Dtypes: bool
    gives bool, integers int64, floats the default dtype; ndarrays keep theirs.
    Raises: ShapeError, ragged sequences; DTypeError, other objects.

    >>> tensor([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [3., 4.]])
    """
    if isinstance(data, Tensor):
        made = data.detach().clone()
        if dtype is not None:
            made = made.to(dtypes.find(dtype))
        return _finish(made, device, requires_grad)
    array = _as_array(data, dtype)
    kind = _kind(dtype, _kind_of(data, array))
    made = _fresh("tensor", kind, array.shape)
    with np.errstate(all="ignore"):
        made._array()[...] = array
    return _finish(made, device, requires_grad)


def _kind_of(data: Any, array: np.ndarray) -> dtype:
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
    if array.dtype.kind == "u" and array.dtype != np.uint8:
        if not isinstance(data, (np.ndarray, np.generic)) and not _holds_arrays(data):
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
                    f"a sequence of length {length} at position {k} of dim {len(where)}",
                    expected,
                    f"expected {expected} at dim {len(where) + 1} (got {length}). Pad the "
                    "rows to one length.",
                )
            )
        _ragged(data[k], (*where, k))


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Return data as a tensor, sharing memory with an ndarray or Tensor if possible."""
    if device is not None:
        find_device(device)
    if isinstance(data, Tensor):
        return data if dtype is None else data.to(dtypes.find(dtype))
    if isinstance(data, np.ndarray):
        shared = from_numpy(data)
        return shared if dtype is None else shared.to(dtypes.find(dtype))
    return tensor(data, dtype=dtype)


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
                f"expected np.ndarray (got {type(array).__name__}). Use nt.tensor(...).",
            )
        )
    if not array.flags.writeable:
        import warnings

        warnings.warn(
            "from_numpy: the ndarray is not writable, and a tensor cannot protect it; "
            "copy it before writing",
            UserWarning,
            stacklevel=2,
        )
    return from_array(array)


def from_pickle(array: np.ndarray, requires_grad: bool) -> Tensor:
    """Rebuild a pickled tensor."""
    return tensor(array).requires_grad_(requires_grad)


def legacy(data: tuple[Any, ...]) -> Tensor:
    """Return what `Tensor(...)` makes: float32 from data, or uninitialised sizes."""
    if len(data) == 1 and not isinstance(data[0], int):
        if isinstance(data[0], layout.Size):
            return _fresh("Tensor", dtypes.get_default_dtype(), tuple(data[0]))
        if isinstance(data[0], Tensor):
            return data[0].detach()
        return tensor(data[0], dtype=dtypes.get_default_dtype())
    return _fresh("Tensor", dtypes.get_default_dtype(), tuple(data) or (0,))


# From a value


def _like(input: Tensor, given: Any) -> Spec:
    """The spec of a new tensor like `input`: its strides if it is dense."""
    kind = _kind(given, input.dtype)
    found = input._spec
    if found.contiguous:
        return contiguous_spec(kind, tuple(found.shape))
    strides = layout.empty_like_strides(tuple(found.shape), found.strides)
    return spec(kind, tuple(found.shape), strides)


def empty(
    *size: Any,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
    pin_memory: bool = False,
    out: Tensor | None = None,
    **keywords: Any,
) -> Tensor:
    """Return an uninitialised tensor: its elements are whatever memory held."""
    made = _fresh("empty", _kind(dtype), _size("empty", size, keywords))
    return _finish(made, device, requires_grad)


def zeros(
    *size: Any,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    **keywords: Any,
) -> Tensor:
    """Return a tensor of zeros.

    >>> zeros(2, 3)
    tensor([[0., 0., 0.],
            [0., 0., 0.]])
    """
    made = _fresh("zeros", _kind(dtype), _size("zeros", size, keywords))
    return _finish(_zero_(made), device, requires_grad)


def ones(
    *size: Any,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    **keywords: Any,
) -> Tensor:
    """Return a tensor of ones.

    >>> ones(2, dtype="int64")
    tensor([1, 1])
    """
    made = _fresh("ones", _kind(dtype), _size("ones", size, keywords))
    return _finish(_fill_(made, 1), device, requires_grad)


def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Return a tensor of one value, of the value's own dtype unless given."""
    if isinstance(fill_value, Tensor):
        kind = _kind(dtype, fill_value.dtype)
    else:
        kind = _kind(dtype, dtypes.of_scalar(fill_value))
    made = _fresh("full", kind, _size("full", (size,), {}))
    return _finish(_fill_(made, fill_value), device, requires_grad)


def empty_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return an uninitialised tensor of the shape and dtype of `input`."""
    return _finish(empty_of(_like(input, dtype)), device, requires_grad)


def zeros_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return zeros of the shape and dtype of `input`."""
    return _finish(_zero_(empty_of(_like(input, dtype))), device, requires_grad)


def ones_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return ones of the shape and dtype of `input`."""
    return _finish(_fill_(empty_of(_like(input, dtype)), 1), device, requires_grad)


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return a tensor of one value, of the shape and dtype of `input`."""
    return _finish(
        _fill_(empty_of(_like(input, dtype)), fill_value), device, requires_grad
    )


def empty_strided(
    size: Sequence[int],
    stride: Sequence[int],
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return an uninitialised tensor of given strides."""
    size, stride = tuple(size), tuple(stride)
    kind = _kind(dtype)
    layout.check_size("empty_strided", size, kind.itemsize)
    if len(size) != len(stride) or any(s < 0 for s in stride):
        raise ShapeError(
            message(
                "empty_strided",
                f"sizes {list(size)} and strides {list(stride)}",
                "one stride, of 0 or more, per size",
            )  # fmt: skip
        )
    layout.check_size("empty_strided", (layout.extent(size, stride),), kind.itemsize)
    return _finish(empty_of(spec(kind, size, stride)), device, requires_grad)


# From a rule


def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Return the numbers from `start` (0) up to, not including, `end`.

    Dtypes: int64 if all arguments are integers, else the default float dtype.
    Raises: ShapeError, a step of 0 or away from `end`.

    >>> arange(0, 1, 0.25)
    tensor([0.0000, 0.2500, 0.5000, 0.7500])
    """
    if end is None:
        start, end = 0, start
    start, end, step = (
        v.item() if isinstance(v, Tensor) else v for v in (start, end, step)
    )
    if step == 0:
        raise ShapeError(
            message("arange", "step=0", "a step other than 0", "step must be nonzero.")
        )
    if not all(math.isfinite(v) for v in (start, end, step)):
        raise ShapeError(
            message(
                "arange",
                f"range {start} to {end}",
                "finite numbers",
                f"unsupported range: {start} -> {end}.",
            )
        )
    if (end - start) * step < 0:
        raise ShapeError(
            message(
                "arange",
                f"start={start}, end={end}, step={step}",
                "a step toward the end",
                "upper bound and lower bound inconsistent with step sign.",
            )
        )
    whole = all(isinstance(v, (int, np.integer)) for v in (start, end, step))
    kind = _kind(dtype, dtypes.int64 if whole else None)
    count = -(-(end - start) // step) if whole else math.ceil((end - start) / step)
    layout.check_size("arange", (int(count),), kind.itemsize)
    # in the widest dtype and then cast, so that float32 ramps are not off by rounding
    if whole:
        values = start + np.arange(int(count), dtype=np.int64) * step
    else:
        values = start + np.arange(int(count), dtype=np.float64) * step
    made = _fresh("arange", kind, (int(count),))
    made._array()[...] = values
    return _finish(made, device, requires_grad)


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Return `steps` numbers from `start` to `end`, both included.

    >>> linspace(0, 1, 3)
    tensor([0.0000, 0.5000, 1.0000])
    """
    start, end = (v.item() if isinstance(v, Tensor) else v for v in (start, end))
    kind = _kind(dtype)
    if steps < 0:
        raise ShapeError(
            message(
                "linspace",
                f"steps={steps}",
                "0 or more",
                "number of steps must be non-negative.",
            )
        )
    made = _fresh("linspace", kind, (int(steps),))
    # from both ends toward the middle, as PyTorch: symmetric ranges stay symmetric
    array = made._array()
    if steps == 1:
        array[0] = start
    elif steps > 1:
        at = kind.numpy.type if kind.category == FLOAT else np.float64
        step = at((at(end) - at(start)) / at(steps - 1))
        half = steps // 2
        index = np.arange(steps)
        with np.errstate(all="ignore"):
            low = at(start) + step * index[:half].astype(at)
            high = at(end) - step * (steps - index[half:] - 1).astype(at)
        array[:half], array[half:] = low, high
    return _finish(made, device, requires_grad)


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return `base` to the powers of `linspace(start, end, steps)`."""
    kind = _kind(dtype)
    powers = linspace(start, end, steps, dtype=dtypes.float64)._array()
    made = _fresh("logspace", kind, (int(steps),))
    made._array()[...] = np.power(float(base), powers)
    return _finish(made, device, requires_grad)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Return a matrix with ones on its diagonal.

    >>> eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    columns = n if m is None else m
    if n < 0 or columns < 0:
        raise ShapeError(
            message(
                "eye",
                f"n={n}, m={columns}",
                "0 or more",
                f"n must be greater or equal to 0, got {min(n, columns)}.",
            )
        )
    made = zeros(n, columns, dtype=dtype)
    _fill_(made.diagonal(), 1)
    return _finish(made, device, requires_grad)


def scalar_tensor(value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Return a 0-d tensor of the default dtype."""
    return full((), value, dtype=_kind(dtype), device=device)


for _name in (
    "empty", "zeros", "ones", "full", "empty_like", "zeros_like", "ones_like", "full_like",
    "arange", "linspace", "logspace", "eye",
):  # fmt: skip
    register(
        Declared(
            _name,
            "factory",
            globals()[_name],
            differentiable=False,
            why="made from numbers",
            in_place=False,
        )  # fmt: skip
    )


def _new(name: str, make: Any) -> None:
    def call(
        self: Tensor,
        *args: Any,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        **keywords: Any,
    ) -> Tensor:
        return make(
            *args,
            dtype=_kind(dtype, self.dtype),
            device=device,
            requires_grad=requires_grad,
            **keywords,
        )

    call.__name__ = name
    call.__doc__ = f"As `{name[4:]}`, in this tensor's dtype unless another is given."
    attach(name, call)


_new("new_zeros", zeros)
_new("new_ones", ones)
_new("new_empty", empty)
_new("new_full", full)
attach(
    "new_tensor",
    lambda self, data, *, dtype=None, device=None, requires_grad=False: tensor(
        data, dtype=_kind(dtype, self.dtype), device=device, requires_grad=requires_grad
    ),
)
