"""What moves data: copies, casts, fills."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes, layout, transfer
from ..devices import CPU
from ..devices import device as Device
from ..devices import find as find_device
from ..dtypes import dtype
from ..elementwise import Elementwise, Plan
from ..errors import ShapeError, message
from ..memory import empty
from ..spec import Spec, contiguous_spec, spec
from ..tape import FunctionNode, edge, grad_mode
from ..tensor import Tensor
from ..writing import writable
from .declare import attach, composed

Back = Callable[[Tensor], tuple[Tensor, ...]]

_copy = Elementwise("copy", lambda x: x, (lambda g, x, out: g,), rule="copy")
_fill = Elementwise(
    "fill",
    lambda value: value,
    (None,),
    rule="copy",
    roles="s",
    node_name="FillBackward0",
)
_zero = Elementwise(
    "zero",
    lambda value: value,
    (None,),
    rule="copy",
    roles="s",
    node_name="ZeroBackward0",
)


def copy_into(x: Tensor, made: Tensor, name: str) -> Tensor:
    """Copy x into `made`, and record that the cotangent comes back unchanged."""
    with_grad = (
        grad_mode.enabled and x.requires_grad and made.dtype.category == dtypes.FLOAT
    )
    plan = copy_plan(x._spec, made._spec)
    plan.run(plan.kernel, plan.n, made._pointer, x._pointer, plan.table)
    if with_grad:
        kind = x.dtype
        back: Back
        if made.dtype is kind:
            back = lambda g: (g,)  # noqa: E731
        else:
            back = lambda g: (g.to(kind),)  # noqa: E731
        made._node = FunctionNode(name, (edge(x),), back)
        made._requires_grad = True
    return made


def copy_plan(source: Spec, target: Spec) -> Plan:
    """Return the call that copies, and casts, one layout into another."""
    key = ("into", target, source)
    plan = _copy.plans.get(key)
    if plan is None:
        plan = _copy._remember(key, _copy.plan((source,), target))
    return plan


def preserved(found: Spec, kind: dtype) -> Spec:
    """Return the spec of a copy as `kind` that keeps the order of the dims."""
    known = found.extra.get(kind)
    if known is None:
        shape = tuple(found.shape)
        strides = layout.empty_like_strides(shape, found.strides)
        known = found.extra[kind] = spec(kind, shape, strides, found.device)
    return known


class _Format:
    """A memory format, for the arguments that PyTorch's programs pass."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"


contiguous_format = _Format("contiguous_format")
preserve_format = _Format("preserve_format")


@composed(
    "clone",
    kind="copy",
    samples=lambda make: [((make(2, 3),), {}), ((make(3, 2).t(),), {})],
    names="keep",
)
def clone(input: Tensor, *, memory_format: Any = preserve_format) -> Tensor:
    """Return a copy with its own memory; gradients flow back through it."""
    found = input._spec
    if memory_format is contiguous_format:
        made = empty(contiguous_spec(found.dtype, tuple(found.shape), found.device))
    else:
        made = empty(preserved(found, found.dtype))
    return copy_into(input, made, "CloneBackward0")


@composed(
    "contiguous",
    kind="copy",
    samples=lambda make: [((make(3, 2).t(),), {})],
    names="keep",
)
def contiguous(input: Tensor, memory_format: Any = contiguous_format) -> Tensor:
    """Return the tensor itself if it is contiguous, else a contiguous copy."""
    if input._spec.contiguous:
        return input
    return clone(input, memory_format=contiguous_format)


def _to(
    self: Tensor,
    *args: Any,
    device: Any = None,
    dtype: Any = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: Any = preserve_format,
) -> Tensor:
    """Return the tensor with another dtype or on another device.

    `to(dtype)`, `to(device)`, `to(device, dtype)`, `to(other_tensor)`; the tensor
    itself if nothing changes, unless `copy=True`. Raises: DTypeError, DeviceError.
    """
    flags: list[bool] = []
    for arg in args:
        if isinstance(arg, Tensor):
            dtype, device = arg.dtype, arg.device
        elif isinstance(arg, (dtypes.dtype, type)):
            dtype = arg
        elif isinstance(arg, bool):
            # to(device, dtype, non_blocking, copy), to(dtype, non_blocking, copy)
            flags.append(arg)
        elif arg is not None:
            device = arg
    if flags:
        non_blocking = flags[0]
        copy = flags[1] if len(flags) > 1 else copy
    found = self._spec
    on = found.device if device is None else find_device(device)
    wanted = found.dtype if dtype is None else dtypes.find(dtype)
    if on is not found.device:
        # the narrower of the two dtypes crosses over
        if wanted.itemsize < found.itemsize:
            self = _to(self, wanted)
        there = _moved(self, on, non_blocking)
        return _to(there, wanted, memory_format=memory_format)
    if wanted is found.dtype:
        if memory_format is contiguous_format and not found.contiguous:
            return clone(self, memory_format=contiguous_format)
        return clone(self) if copy else self
    if grad_mode.enabled and self.requires_grad:
        dtypes.check_computes("gradient", wanted)
    made = empty(preserved(found, wanted))
    return copy_into(self, made, "ToCopyBackward0")


def _moved(x: Tensor, on: Device, non_blocking: bool) -> Tensor:
    """Return a copy on another device; its cotangent comes back."""
    made = transfer.moved(x, on, not non_blocking)
    if grad_mode.enabled and x.requires_grad:
        here = x._spec.device
        made._node = FunctionNode(
            "ToCopyBackward0", (edge(x),), lambda g: (_to(g, here),)
        )
        made._requires_grad = True
    return made


attach("to", _to)


def _cast_method(name: str, kind: dtype) -> None:
    def call(self: Tensor) -> Tensor:
        return _to(self, kind)

    call.__name__ = name
    call.__doc__ = f"Return the tensor as {kind.name}."
    attach(name, call)


for _name, _kind in (
    ("bool", dtypes.bool_),
    ("byte", dtypes.uint8),
    ("char", dtypes.int8),
    ("short", dtypes.int16),
    ("int", dtypes.int32),
    ("long", dtypes.int64),
    ("half", dtypes.float16),
    ("float", dtypes.float32),
    ("double", dtypes.float64),
):
    _cast_method(_name, _kind)


def _type_as(self: Tensor, other: Tensor) -> Tensor:
    """Return the tensor in the dtype, and on the device, of `other`."""
    return _to(self, other)


def _cpu(self: Tensor, memory_format: Any = preserve_format) -> Tensor:
    """Return the tensor in host memory: itself if it is there."""
    return _to(self, device=CPU, memory_format=memory_format)


def _cuda(
    self: Tensor,
    device: Any = None,
    non_blocking: bool = False,
    memory_format: Any = preserve_format,
) -> Tensor:
    """Return the tensor on a GPU, the current one unless `device` names another.

    Raises: DeviceError, there is none.
    """
    on = "cuda" if device is None else device
    return _to(self, device=on, non_blocking=non_blocking, memory_format=memory_format)


attach("type_as", _type_as)
attach("cpu", _cpu)
attach("cuda", _cuda)


def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Store the elements of `src`, broadcast and cast as needed."""
    if not isinstance(src, Tensor):
        from ..creation import tensor

        src = tensor(src)
    if src._spec.device is not self._spec.device:
        if _crosses_whole(self, src):
            writable("copy_", self, False)
            self._storage.version += 1
            transfer.copy_bytes(self, src, not non_blocking)
            return self
        src = _to(src, device=self._spec.device, non_blocking=non_blocking)
    if src._spec.shape != self._spec.shape:
        try:
            src = src.expand(self._spec.shape)
        except ShapeError as error:
            raise ShapeError(
                message(
                    "copy_",
                    f"a source of shape {list(src.shape)}",
                    f"one that broadcasts to {list(self.shape)}",
                    "The expanded size of the tensor must match the existing size. "
                    f"{error}",
                )
            ) from None
    return _copy.store(self, (src,), "in place")


def _crosses_whole(target: Tensor, source: Tensor) -> bool:
    """Whether a copy between devices is one of bytes, from tensor to tensor."""
    return (
        source._spec.dtype is target._spec.dtype
        and source._spec.shape == target._spec.shape
        and source._spec.contiguous
        and target._spec.contiguous
        and not (grad_mode.enabled and (target.requires_grad or source.requires_grad))
    )


attach("copy_", copy_)


def check_holds(op: str, kind: dtype, *values: Any) -> None:
    """Refuse Python numbers that a dtype cannot hold; bool holds whether any is 0.

    Unsigned dtypes take a negative number as what it wraps to, as PyTorch's do.
    Raises: RuntimeError.
    """
    if kind.category == dtypes.BOOL:
        return
    low, high = _RANGES[kind.name]
    for value in values:
        fits = low <= value <= high
        if kind.category == dtypes.FLOAT and not math.isfinite(value):
            fits = True
        if not fits:
            raise RuntimeError(
                message(
                    op,
                    f"{value} for {kind}",
                    f"a number from {low} to {high}",
                    f"value cannot be converted to type {kind.name} without overflow.",
                )
            )


def held(op: str, kind: dtype, value: Any) -> Any:
    """Return a Python number as a dtype holds it. Raises: as `check_holds`."""
    if kind.category == dtypes.FLOAT:
        if not -_LARGEST <= value <= _LARGEST:
            check_holds(op, kind, value)
        return value
    check_holds(op, kind, value)
    return int(value != 0 if kind.category == dtypes.BOOL else value)


_RANGES = {
    **{
        name: (int(np.iinfo(name).min), int(np.iinfo(name).max))
        for name in ("int8", "int16", "int32", "int64")
    },
    "uint8": (-255, 255),
    "float16": (-65504.0, 65504.0),
    "float32": (-float(np.finfo("float32").max), float(np.finfo("float32").max)),
    "float64": (-math.inf, math.inf),
}
_LARGEST = _RANGES["float32"][1]


def fill_(self: Tensor, value: Any) -> Tensor:
    """Set every element to `value`, a number or a 0-d tensor.

    Raises: RuntimeError, a number that the dtype cannot hold; ShapeError.
    """
    if isinstance(value, Tensor):
        if value.ndim:
            raise ShapeError(
                message(
                    "fill_",
                    f"a value of shape {list(value.shape)}",
                    "a number or a 0-d tensor",
                    "fill_ only supports 0-dimension value tensor. Use copy_().",
                )
            )
        return copy_(self, value)
    if type(value) in (int, float):
        value = held("fill_", self._spec.dtype, value)
    return _fill.store(self, (value,), "in place")


attach("fill_", fill_)


def zero_(self: Tensor) -> Tensor:
    """Set every element to zero."""
    if not self._requires_grad and self._base is None:
        key = ("into", self._spec, int)
        plan = _zero.plans.get(key)
        if plan is not None:
            self._storage.version += 1  # read-only memory refuses here
            plan.run(plan.kernel, plan.n, self._pointer, plan.table, 0)
            return self
    return _zero.store(self, (0,), "in place")


attach("zero_", zero_)


def _unit_cotangent(self: Tensor) -> Tensor:
    """Return ones of this shape, the cotangent that backward() starts from."""
    known = self._spec.extra.get("unit")
    if known is None:
        found = contiguous_spec(self.dtype, tuple(self._spec.shape), self._spec.device)
        known = (found, _fill.plan((int,), found))
        self._spec.extra["unit"] = known
    found, plan = known
    made = empty(found)
    plan.run(plan.kernel, plan.n, made._pointer, plan.table, 1)
    return made


attach("unit_cotangent", _unit_cotangent)


def new_empty_strided(
    self: Tensor, size: Sequence[int], stride: Sequence[int], dtype: Any = None
) -> Tensor:
    """Return an uninitialised tensor of this dtype with given strides."""
    kind = self.dtype if dtype is None else dtypes.find(dtype)
    return empty(spec(kind, tuple(size), tuple(stride), self._spec.device))


attach("new_empty_strided", new_empty_strided)
