"""Tensors from a value or a rule: zeros, arange, eye and their kin.

Every factory takes `dtype`, `device` and `requires_grad`, and `names` of the dims; what
is made like another tensor has that tensor's names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import dtypes, layout, repeated
from .devices import find as find_device
from .dtypes import BOOL, FLOAT, dtype
from .errors import DTypeError, ShapeError, message
from .indexing import as_int
from .memory import empty as empty_of
from .names import boundary, named
from .ops.copies import copy_, fill_, zero_
from .ops.declare import attach
from .ops.registry import Declared, register
from .spec import Spec, contiguous_spec, spec
from .tape import no_grad
from .tensor import Tensor
from .transfer import assign


def kind_of(given: Any, default: dtype | None = None) -> dtype:
    if given is None:
        return default or dtypes.get_default_dtype()
    return dtypes.find(given)


def finish(
    made: Tensor,
    requires_grad: bool,
    out: Tensor | None = None,
    pin_memory: bool = False,
    names: Any = None,
) -> Tensor:
    """Return what a factory made on its device, by way of `out` if there is one.

    Raises: ShapeError, an `out` of another shape; DeviceError; AutogradError;
    DimNameError.
    """
    if out is not None:
        if out.shape != made.shape:
            raise ShapeError(
                message(
                    "out=",
                    f"a tensor of shape {list(out.shape)}",
                    f"the shape of the result, {list(made.shape)}",
                )
            )
        with no_grad():
            return copy_(out, made if names is None else named(made, names))
    made._storage.version = 0  # filling it has not changed what anybody saw
    if pin_memory:
        made = made.pin_memory()
    if names is not None:
        named(made, names)
    return made.requires_grad_() if requires_grad else made


def size_of(
    op: str, size: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[int, ...]:
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
    return tuple(s if type(s) is int else as_int(op, s) for s in size)


def place_of(device: Any, out: Tensor | None = None) -> Any:
    """Return where a factory's result goes: the device given, else that of `out`."""
    return out.device if device is None and out is not None else device


def fresh(op: str, kind: dtype, shape: tuple[int, ...], device: Any = None) -> Tensor:
    layout.check_size(op, shape, kind.itemsize)
    return empty_of(contiguous_spec(kind, shape, find_device(device)))


# From a value


def like(input: Tensor, given: Any, device: Any = None) -> Spec:
    """The spec of a new tensor like `input`: its strides if it is dense."""
    if not isinstance(input, Tensor):
        raise TypeError(message("*_like", f"a {type(input).__name__}", "a Tensor"))
    kind = kind_of(given, input.dtype)
    found = input._spec
    on = found.device if device is None else find_device(device)
    if found.contiguous:
        return contiguous_spec(kind, tuple(found.shape), on)
    strides = layout.empty_like_strides(tuple(found.shape), found.strides)
    return spec(kind, tuple(found.shape), strides, on)


def empty(
    *size: Any,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
    pin_memory: bool = False,
    names: Any = None,
    out: Tensor | None = None,
    **keywords: Any,
) -> Tensor:
    """Return an uninitialised tensor: its elements are whatever memory held."""
    plain = device is names is out is None
    if plain and not (requires_grad or pin_memory or keywords):
        known = repeated.known(size, dtype)
        if known is not None:
            return empty_of(known.spec)
    shape = size_of("empty", size, keywords)
    made = fresh("empty", kind_of(dtype), shape, place_of(device, out))
    if plain:
        repeated.see(made, dtype)
    return finish(made, requires_grad, out, pin_memory, names)


def _constant(name: str, value: int, doc: str) -> Callable[..., Tensor]:
    """Return the factory of tensors of one number, in the default dtype."""

    def call(
        *size: Any,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
        names: Any = None,
        out: Tensor | None = None,
        **keywords: Any,
    ) -> Tensor:
        plain = device is names is out is None
        if plain and not (requires_grad or pin_memory or keywords):
            known = repeated.known(size, dtype)
            if known is not None:
                return known.filled(value)
        shape = size_of(name, size, keywords)
        made = fill_(fresh(name, kind_of(dtype), shape, place_of(device, out)), value)
        if plain:
            repeated.see(made, dtype)
        return finish(made, requires_grad, out, pin_memory, names)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    return call


zeros = _constant(
    "zeros",
    0,
    """Return a tensor of zeros.

    >>> zeros(2, 3)
    tensor([[0., 0., 0.],
            [0., 0., 0.]])
    """,
)
ones = _constant(
    "ones",
    1,
    """Return a tensor of ones.

    >>> ones(2, dtype="int64")
    tensor([1, 1])
    """,
)


def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    names: Any = None,
    out: Tensor | None = None,
) -> Tensor:
    """Return a tensor of one value, of the value's own dtype unless given."""
    plain = device is names is out is None
    if plain and not (requires_grad or pin_memory):
        ready = repeated.full(size, fill_value, dtype)
        if ready is not None:
            return ready
    if isinstance(fill_value, Tensor):
        kind = kind_of(dtype, fill_value.dtype)
    else:
        kind = kind_of(dtype, dtypes.of_scalar(fill_value))
    made = fresh("full", kind, size_of("full", (size,), {}), place_of(device, out))
    if plain:
        repeated.see(made, kind)
    return finish(fill_(made, fill_value), requires_grad, out, pin_memory, names)


def empty_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return an uninitialised tensor of the shape and dtype of `input`."""
    return finish(empty_of(like(input, dtype, device)), requires_grad)


def zeros_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return zeros of the shape and dtype of `input`."""
    if dtype is device is None and not requires_grad and isinstance(input, Tensor):
        return repeated.like(input, like).filled(0)
    return finish(zero_(empty_of(like(input, dtype, device))), requires_grad)


def ones_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return ones of the shape and dtype of `input`."""
    if dtype is device is None and not requires_grad and isinstance(input, Tensor):
        return repeated.like(input, like).filled(1)
    return finish(fill_(empty_of(like(input, dtype, device)), 1), requires_grad)


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
    return finish(
        fill_(empty_of(like(input, dtype, device)), fill_value), requires_grad
    )


def empty_strided(
    size: Sequence[int],
    stride: Sequence[int],
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    names: Any = None,
) -> Tensor:
    """Return an uninitialised tensor of given strides."""
    size, stride = tuple(size), tuple(stride)
    kind = kind_of(dtype)
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
    return finish(
        empty_of(spec(kind, size, stride, find_device(device))),
        requires_grad,
        names=names,
    )


# From a rule


def arange(
    start: Any = None,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    names: Any = None,
    out: Tensor | None = None,
) -> Tensor:
    """Return the numbers from `start` (0) up to, not including, `end`.

    Dtypes: int64 if all arguments are integers, else the default float dtype.
    Raises: ShapeError, a step of 0 or away from `end`.

    >>> arange(0, 1, 0.25)
    tensor([0.0000, 0.2500, 0.5000, 0.7500])
    """
    if end is None:
        start, end = None, start
    if (
        type(end) is type(step) is int
        and (start is None or type(start) is int)
        and dtype is device is names is out is None
        and not requires_grad
    ):
        ready = repeated.integers(start or 0, end, step)
        if ready is not None:
            return ready
    if end is None:
        raise TypeError(message("arange", "no end", "arange(end), arange(start, end)"))
    start = 0 if start is None else start
    start, end, step = (
        v.item() if isinstance(v, Tensor) else v for v in (start, end, step)
    )
    kind = None if dtype is None else dtypes.find(dtype)
    if kind is dtypes.int64 and all(abs(v) < 2**63 for v in (start, end, step)):
        # as PyTorch: int64 ramps count in integers from the first step on
        start, end, step = int(start), int(end), int(step)
    if kind is not None and kind.category == BOOL:
        raise DTypeError(message("arange", "dtype torch.bool", "a dtype of numbers"))
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
    kind = kind or (dtypes.int64 if whole else dtypes.get_default_dtype())
    count = -(-(end - start) // step) if whole else math.ceil((end - start) / step)
    layout.check_size("arange", (int(count),), kind.itemsize)
    # in the widest dtype and then cast, so that float32 ramps are not off by rounding
    if whole:
        values = start + np.arange(int(count), dtype=np.int64) * step
    else:
        values = start + np.arange(int(count), dtype=np.float64) * step
    made = fresh("arange", kind, (int(count),), place_of(device, out))
    assign(made, values)
    return finish(made, requires_grad, out, names=names)


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    names: Any = None,
    out: Tensor | None = None,
) -> Tensor:
    """Return `steps` numbers from `start` to `end`, both included.

    >>> linspace(0, 1, 3)
    tensor([0.0000, 0.5000, 1.0000])
    """
    start, end = (v.item() if isinstance(v, Tensor) else v for v in (start, end))
    kind = kind_of(dtype)
    if steps < 0:
        raise ShapeError(
            message(
                "linspace",
                f"steps={steps}",
                "0 or more",
                "number of steps must be non-negative.",
            )
        )
    made = fresh("linspace", kind, (int(steps),), place_of(device, out))
    # from both ends toward the middle, as PyTorch: symmetric ranges stay symmetric
    array = np.empty(int(steps), kind.numpy)
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
        with np.errstate(all="ignore"):
            array[:half], array[half:] = low, high
    assign(made, array)
    return finish(made, requires_grad, out, names=names)


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    names: Any = None,
) -> Tensor:
    """Return `base` to the powers of `linspace(start, end, steps)`."""
    kind = kind_of(dtype)
    from .tracing import outside

    with outside():
        powers = linspace(start, end, steps, dtype=dtypes.float64)._array()
    made = fresh("logspace", kind, (int(steps),), device)
    assign(made, np.power(float(base), powers))
    return finish(made, requires_grad, names=names)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    names: Any = None,
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
    made = zeros(n, columns, dtype=dtype, device=place_of(device, out))
    fill_(made.diagonal(), 1)
    return finish(made, requires_grad, out, names=names)


def scalar_tensor(value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Return a 0-d tensor of the default dtype."""
    return full((), value, dtype=kind_of(dtype), device=device)


_ON_HOST = "computed on the host, so that all devices have the same bits, and copied"

for _name in (
    "empty", "zeros", "ones", "full",
    "empty_like", "zeros_like", "ones_like", "full_like",
    "arange", "linspace", "logspace", "eye",
):  # fmt: skip
    _rule = "keep" if _name.endswith("_like") else "given"
    register(
        Declared(
            _name,
            "factory",
            globals()[_name],
            differentiable=False,
            why="made from numbers",
            in_place=False,
            names=_rule,
            host=_ON_HOST if _name in ("arange", "linspace", "logspace") else "",
        ),
        boundary.guard(_name, globals()[_name], _rule),
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
            dtype=kind_of(dtype, self.dtype),
            device=self.device if device is None else device,
            requires_grad=requires_grad,
            **keywords,
        )

    call.__name__ = name
    call.__doc__ = (
        f"As `{name[4:]}`, in this tensor's dtype and on its device, unless given."
    )
    attach(name, call)


_new("new_zeros", zeros)
_new("new_ones", ones)
_new("new_empty", empty)
_new("new_full", full)
