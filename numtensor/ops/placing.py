"""Reading and writing at named places, with their gradients, for all who index.

Reading's way back adds into zeros, adding's way back reads, so gradients of any order
come from one pair of functions. What writes in place records what `replace_history`
needs. Public operators, and how they name places, are elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..devices import CPU
from ..errors import DTypeError, ShapeError, message, mixed_devices
from ..layout import broadcast_shapes
from ..memory import empty
from ..places import Along, Flat, Spot
from ..spec import contiguous_spec
from ..tape import FunctionNode, edge, grad_mode
from ..tensor import _C_TYPES as C_TYPES
from ..tensor import Tensor
from ..writing import may_meet, writable
from .copies import fill_, held

Place = Spot | Along

#: how PyTorch's messages call dtypes
TYPE_NAMES = {
    "bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int",
    "int64": "Long", "float16": "Half", "float32": "Float", "float64": "Double",
}  # fmt: skip


def take(x: Tensor, place: Place, name: str) -> Tensor:
    """Return the elements of x at a place; of equal places all gradients count."""
    made = place.read(x)
    if (
        (x._requires_grad or x._base is not None)
        and grad_mode.enabled
        and x.requires_grad
    ):
        shape = tuple(x._spec.shape)

        def back(g: Tensor, *indices: Tensor) -> tuple[Tensor]:
            return (add_up(g, place, shape),)

        made._node = FunctionNode(name, (edge(x),), back, place.indices)
        made._requires_grad = True
    return made


def add_up(g: Tensor, place: Place, shape: tuple[int, ...]) -> Tensor:
    """Return zeros of a shape with values added at a place."""
    made = empty(contiguous_spec(g._spec.dtype, shape, g._spec.device))
    made.zero_()
    place.write(made, _laid_out(g), "add")
    made._storage.version = 0
    if grad_mode.enabled and g.requires_grad:

        def back(gg: Tensor, *indices: Tensor) -> tuple[Tensor]:
            return (take(gg, place, "IndexBackward0"),)

        made._node = FunctionNode("IndexPutBackward0", (edge(g),), back, place.indices)
        made._requires_grad = True
    return made


def _laid_out(v: Tensor) -> Tensor:
    return v if v._spec.contiguous else v.detach().contiguous()


def store(
    op: str, target: Tensor, place: Place, values: Tensor, how: str, name: str
) -> Tensor:
    """Store values at a place of a tensor ("set"), or add them ("add").

    `values` broadcast to the shape of the place, and have the target's dtype. Nothing
    is written if an index is out of range. Raises: DimError, AutogradError, ShapeError.
    """
    recorded = grad_mode.enabled and (target.requires_grad or values.requires_grad)
    writable(op, target, recorded)
    place, values = apart(target, place, values)
    before = edge(target) if recorded else None
    if values._spec.numel == 1:
        place.write(target, values, how)
    else:
        place.write(target, spread(values, place.shape(target._spec)), how)
    target._storage.version += 1
    if recorded:
        to_values, sized = edge(values), tuple(values._spec.shape)

        def back(g: Tensor, *indices: Tensor) -> tuple[Tensor | None, Tensor | None]:
            own = part = None
            if before is not None:
                own = g if how == "add" else without(g, place)
            if to_values is not None:
                part = take(g, place, "IndexBackward0").sum_to_size(sized)
            return own, part

        node = FunctionNode(name, (before, to_values), back, place.indices)
        target.replace_history(node, None if before is None else 0)
    return target


def apart(target: Tensor, place: Place, values: Tensor) -> tuple[Any, Tensor]:
    """Return place and values so that writing the target changes neither."""
    memory = target._storage
    if may_meet(memory, values._storage):
        values = values.clone()
    for index in place.indices:
        if may_meet(memory, index._storage):
            return _with_indices(place, tuple(i.clone() for i in place.indices)), values
    return place, values


def _with_indices(place: Place, indices: tuple[Tensor, ...]) -> Place:
    if isinstance(place, Along):
        return Along(place.op, place.dim, indices[0], place.wraps)
    if isinstance(place, Flat):
        return Flat(place.op, indices[0])
    return Spot(place.op, place.named, indices, place.wraps, place.unique)


def spread(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return values as kernels take them: one alone, or all of a shape, in order."""
    values = values.detach()
    if values._spec.numel == 1 or (
        values._spec.contiguous and values._spec.shape == shape
    ):
        return values
    made = empty(contiguous_spec(values._spec.dtype, shape, values._spec.device))
    return made.copy_(values)  # type: ignore[no-any-return]


def without(g: Tensor, place: Place) -> Tensor:
    """Return a copy with zeros at a place."""
    zero = scalar(0, g)
    name = "ScatterBackward0" if isinstance(place, Along) else "IndexPutBackward0"
    return store(place.op, g.clone(), place, zero, "set", name)


def scalar(value: Any, like: Tensor) -> Tensor:
    """Return a number as a 0-d tensor of the dtype and device of another.

    Raises: RuntimeError, a number that the dtype cannot hold.
    """
    kind, on = like._spec.dtype, like._spec.device
    made = empty(contiguous_spec(kind, (), on))
    if on is not CPU or kind.name not in C_TYPES:
        return fill_(made, value)
    C_TYPES[kind.name].from_address(made._pointer).value = held("fill_", kind, value)
    return made


def out_of_place(in_place: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    """Return the form of an in-place operator that changes a copy instead."""

    def call(input: Tensor, *args: Any, **keywords: Any) -> Tensor:
        return in_place(input.clone(), *args, **keywords)

    call.__name__ = call.__qualname__ = name
    call.__wrapped__ = in_place  # type: ignore[attr-defined]  # whose arguments it has
    return call


def as_index(
    op: str, index: Any, like: Tensor, do: str, kinds: tuple[str, ...] = ("int64",)
) -> Tensor:
    """Return an index as places want it: int64, contiguous, beside the tensor.

    Raises: DTypeError, another dtype; DeviceError.
    """
    if not isinstance(index, Tensor):
        raise DTypeError(
            message(
                op,
                f"an index of type {type(index).__name__}",
                "an integer tensor",
                f"{op}(): argument 'index' must be Tensor, not {type(index).__name__}.",
            )
        )
    found = index._spec
    if found.dtype.name not in kinds:
        raise DTypeError(
            message(
                op,
                f"an index of {found.dtype}",
                " or ".join(kinds),
                do.format(kind=TYPE_NAMES[found.dtype.name]),
            )
        )
    if found.device is not like._spec.device:
        raise mixed_devices(op, like.device, index.device)
    if found.dtype.name != "int64":
        index = index.long()
    return index if index._spec.contiguous else index.contiguous()


def same_kind(op: str, target: Tensor, values: Tensor, do: str) -> None:
    """Refuse values of another dtype or device, in PyTorch's words.

    Raises: DTypeError, DeviceError.
    """
    if values._spec.dtype is not target._spec.dtype:
        raise DTypeError(
            message(
                op,
                f"{target.dtype} and {values.dtype}",
                "one dtype",
                f"{_said(do, target, values)} Cast with "
                f"x.to({str(target.dtype).replace('torch', 'nt')}).",
            )
        )
    if values._spec.device is not target._spec.device:
        raise mixed_devices(op, target.device, values.device)


def _said(do: str, target: Tensor, values: Tensor) -> str:
    own, given = TYPE_NAMES[target.dtype.name], TYPE_NAMES[values.dtype.name]
    return do.format(own=own, given=given)


def fitting(op: str, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return values without leading dims of size 1 that a shape has no room for.

    Raises: ShapeError, they do not broadcast to the shape.
    """
    if values._spec.shape == shape:
        return values
    given = values
    extra = values.ndim - len(shape)
    if extra > 0 and all(n == 1 for n in values._spec.shape[:extra]):
        values = values.reshape(tuple(values._spec.shape[extra:]))
    try:
        if broadcast_shapes(op, tuple(values._spec.shape), shape) == shape:
            return values
    except ShapeError:
        pass
    raise ShapeError(
        message(
            op,
            f"values of shape {list(given.shape)}",
            f"values that broadcast to {list(shape)}",
            f"shape mismatch: value tensor of shape {list(given.shape)} cannot be "
            f"broadcast to indexing result of shape {list(shape)}.",
        )
    )
