"""Indexing by tensors, lists and masks, read and assigned.

A key is taken apart into a basic key, which gives a view, and indices of some dims of
that view. Integers, slices, None and Ellipsis are applied first; the dims that indices
select come where the indices stand if they stand side by side in the view, else first.
"""

from __future__ import annotations

from typing import Any

from .. import dtypes, layout
from ..devices import CPU
from ..errors import DeviceError, DimError, DTypeError, ShapeError, message
from ..masks import Marked
from ..memory import empty
from ..places import HOST, MOST_INDICES, Spot
from ..spec import contiguous_spec
from ..tape import FunctionNode, edge, grad_mode
from ..tensor import Tensor
from .declare import attach, composed
from .keys import WHOLE, Key, checked, integers
from .masking import select
from .placing import (
    add_up,
    fitting,
    out_of_place,
    same_kind,
    scalar,
    store,
    take,
)


def read_by_tensor(x: Tensor, index: Tensor) -> Tensor | None:
    """Return x[index] for an int64 index of the host's as it lies; None for others."""
    found, named = x._spec, index._spec
    plan = found.extra.get(named)
    if plan is None:
        if (
            named.dtype is not dtypes.int64
            or not named.contiguous
            or not named.ndim
            or not found.ndim
            or found.device is not CPU
            or named.device is not CPU
        ):
            return None
        made, call = Spot("index", (0,), (index,)).reading(found)
        if call is None:
            return None
        if len(found.extra) > 1000:
            found.extra.clear()
        plan = found.extra[named] = made, call.run, call.kernel, call.n, call.table
        found.extra["call", named] = call  # which holds the table
    made, run, kernel, n, table = plan
    result = empty(made)
    run(
        kernel, n, result._pointer, x._pointer, HOST.address, index._pointer, table
    )  # fmt: skip
    if HOST.flag.value:
        HOST.flag.value = 0
        Spot("index", (0,), (index,)).refuse(found)
    if (
        (x._requires_grad or x._base is not None)
        and grad_mode.enabled
        and x.requires_grad
    ):
        shape = tuple(found.shape)

        def back(g: Tensor, index: Tensor) -> tuple[Tensor]:
            return (add_up(g, Spot("index", (0,), (index,)), shape),)

        result._node = FunctionNode("IndexBackward0", (edge(x),), back, (index,))
        result._requires_grad = True
    return result


def place_of(
    op: str, x: Tensor, parts: list[tuple[int, Tensor]]
) -> tuple[Tensor, Spot]:
    """Return the place that indices name in x; x may be seen in another shape for it.

    Raises: DimError, a mask of another shape, or indices that do not broadcast;
    DeviceError.
    """
    entries: list[tuple[int, Tensor]] = []
    unique = False
    for dim, part in parts:
        index = _beside(op, x, part)
        own = index._spec
        if own.dtype is not dtypes.bool_:
            entries.append((dim, index if own.dtype is dtypes.int64 else index.long()))
        elif not own.ndim:
            entries.append((dim, _new_dim(bool(part), x)))
        else:
            check_mask(op, x, dim, index)
            marked = Marked(index if own.contiguous else index.contiguous())
            unique = len(parts) == 1
            if own.ndim > 1 and unique and _merges(x, dim, own.ndim):
                x = x.flatten(dim, dim + own.ndim - 1)
                entries.append((dim, marked.numbers()))
            else:
                rows = marked.coordinates()
                entries += [(dim + k, rows.select(0, k)) for k in range(own.ndim)]
    if len(entries) > MOST_INDICES:
        raise DimError(
            message(
                op,
                f"{len(entries)} index tensors",
                f"at most {MOST_INDICES}",
                "Index in two steps.",
            )
        )
    indices = [e for _, e in entries]
    shape = _common(op, indices)
    for k, e in enumerate(indices):
        if e._spec.shape != shape:
            e = e.expand(shape)
        indices[k] = e if e._spec.contiguous else e.contiguous()
    named = tuple(d for d, _ in entries)
    return x, Spot(op, named, tuple(indices), unique=unique)


def _beside(op: str, x: Tensor, index: Tensor) -> Tensor:
    """Return an index on the device of the tensor; the host's may go there."""
    on = x._spec.device
    if index._spec.device is on:
        return index
    if index._spec.device is CPU:
        return index.to(on)
    raise DeviceError(
        message(
            op,
            f"a tensor on {on} and an index on {index.device}",
            "one device",
            "indices should be either on cpu or on the same device as the indexed "
            f"tensor ({on}). Use index.to({str(on)!r}).",
        )
    )


def _new_dim(whole: bool, x: Tensor) -> Tensor:
    """Return the index of a dim of size 1 that takes it, or nothing of it."""
    made = empty(contiguous_spec(dtypes.int64, (int(whole),), x._spec.device))
    return made.zero_()  # type: ignore[no-any-return]


def check_mask(op: str, x: Tensor, dim: int, mask: Tensor) -> None:
    """Refuse a mask whose shape is not that of the dims it selects from.

    Raises: DimError.
    """
    shape = tuple(x._spec.shape)
    for k, size in enumerate(mask._spec.shape):
        if shape[dim + k] != size:
            raise DimError(
                message(
                    op,
                    f"a mask of shape {list(mask.shape)} for dims of sizes "
                    f"{list(shape[dim : dim + mask.ndim])}",
                    "equal sizes",
                    f"The shape of the mask {list(mask.shape)} at index {k} does not "
                    f"match the shape of the indexed tensor {list(shape)} at index "
                    f"{dim + k}.",
                )
            )


def _merges(x: Tensor, dim: int, count: int) -> bool:
    """Whether some neighbouring dims can be seen as one."""
    found = x._spec
    shape, strides = found.shape[dim : dim + count], found.strides[dim : dim + count]
    return layout.view_strides(shape, strides, (layout.numel(shape),)) is not None


def _common(op: str, indices: list[Tensor]) -> tuple[int, ...]:
    """Return the shape that indices broadcast to. Raises: DimError."""
    shapes = [tuple(i._spec.shape) for i in indices]
    if all(s == shapes[0] for s in shapes):
        return shapes[0]
    try:
        return layout.broadcast_shapes(op, *shapes)
    except ShapeError:
        text = ", ".join(str(list(s)) for s in shapes)
        raise DimError(
            message(
                op,
                f"indices of shapes {text}",
                "shapes that broadcast",
                "shape mismatch: indexing tensors could not be broadcast together with "
                f"shapes {text}.",
            )
        ) from None


def _plain(op: str, x: Tensor, key: tuple[Any, ...]) -> Spot | None:
    """Return the place of a key that needs no work: int64 tensors alike, and `:`."""
    named: list[int] = []
    indices: list[Tensor] = []
    first = None
    for d, part in enumerate(key):
        if type(part) is Tensor:
            own = part._spec
            if first is None:
                if not (
                    own.dtype is dtypes.int64
                    and own.contiguous
                    and own.ndim
                    and own.device is x._spec.device
                ):
                    return None
                first = own
            elif own is not first:
                return None
            named.append(d)
            indices.append(part)
        elif type(part) is not slice or part != WHOLE:
            return None
    if first is None or len(key) > x._spec.ndim or len(named) > MOST_INDICES:
        return None
    return Spot(op, tuple(named), tuple(indices))


def read(x: Tensor, key: Any) -> Tensor:
    """Return x[key] for a key that is not basic.

    Raises: DimError, DTypeError, DeviceError.
    """
    if type(key) is Tensor:
        own = key._spec
        if own.dtype is dtypes.bool_ and own.shape == x._spec.shape and own.ndim:
            return select(x, _beside("index", x, key), "IndexBackward0")
    elif type(key) is list:
        index = integers(key)
        taken = None if index is None else read_by_tensor(x, index)
        if taken is not None:
            return taken
    elif type(key) is tuple:
        spot = _plain("index", x, key)
        if spot is not None:
            return take(x, spot, "IndexBackward0")
    apart = Key(x, key)
    view = apart.applied(x)
    if not apart.parts:
        return view
    mask = apart.mask()
    if mask is not None and mask[1]._spec.shape == view._spec.shape:
        return select(view, _beside("index", view, mask[1]), "IndexBackward0")
    view, spot = place_of("index", view, apart.parts)
    return take(view, spot, "IndexBackward0")


def write(x: Tensor, key: Any, value: Any) -> bool:
    """Store a Tensor or a number at x[key] for a key that is not basic.

    Returns whether it did: a key may turn out to give a view after all.
    Raises: DimError, DTypeError, DeviceError, ShapeError, AutogradError.
    """
    one = not isinstance(value, Tensor) or value._spec.ndim == 0
    if type(key) is list:
        index = integers(key)
        key = key if index is None else index
    if type(key) is Tensor:
        own = key._spec
        if (
            one
            and own.dtype is dtypes.bool_
            and own.shape == x._spec.shape
            and own.ndim
        ):
            x.masked_fill_(_beside("index_put_", x, key), value)
            return True
        if (
            own.dtype is dtypes.int64
            and own.ndim
            and own.contiguous
            and x._spec.ndim
            and own.device is x._spec.device
        ):
            _assign(x, Spot("index_put_", (0,), (key,)), value)
            return True
    elif type(key) is tuple:
        spot = _plain("index_put_", x, key)
        if spot is not None:
            _assign(x, spot, value)
            return True
    apart = Key(x, key)
    if not apart.parts:
        return False
    view = apart.applied(x)
    mask = apart.mask()
    if mask is not None and one:
        dim, marks = mask
        check_mask("index_put_", view, dim, marks)
        marks = _beside("index_put_", view, marks)
        after = view.ndim - dim - marks.ndim
        if after:
            marks = marks.reshape((*marks._spec.shape, *(1,) * after))
        view.masked_fill_(marks, value)
        return True
    _assign(*place_of("index_put_", view, apart.parts), value)
    return True


def _assign(x: Tensor, spot: Spot, value: Any) -> None:
    """Store a value at a place. Raises: DTypeError, ShapeError, DeviceError."""
    if not isinstance(value, Tensor):
        value = scalar(value, x)
    elif value._spec.ndim == 0:
        value = value.to(x._spec.device, x._spec.dtype)
    else:
        same_kind("index_put_", x, value, _KINDS)
        value = fitting("index_put_", value, spot.shape(x._spec))
    store("index_put_", x, spot, value, "set", "IndexPutBackward0")


_KINDS = (
    "Index put requires the source and destination dtypes match, got {own} for the "
    "destination and {given} for the source."
)


def index_put_(
    self: Tensor, indices: Any, values: Tensor, accumulate: bool = False
) -> Tensor:
    """Store values at self[indices], or add them with `accumulate`.

    `indices` is a tuple of tensors, one for each dim from the first on; a mask stands
    for as many dims as it has. Of equal places the last value counts, though each value
    gets the gradient of its place; what is added to one place is added in order.
    Raises: DimError, DTypeError, DeviceError, ShapeError, AutogradError.

    >>> import numtensor as nt
    >>> x = nt.zeros(3)
    >>> i = nt.tensor([0, 2, 0])
    >>> x.index_put_((i,), nt.tensor([1.0, 2.0, 3.0]), accumulate=True)
    tensor([4., 0., 2.])
    """
    parts: list[tuple[int, Tensor]] = []
    dim = 0
    for index in indices:
        if not isinstance(index, Tensor):
            kind = type(index).__name__
            raise DTypeError(
                message(
                    "index_put_",
                    f"an index of type {kind}",
                    "a tuple of tensors",
                    f"expected Tensor as element {len(parts)} in argument 0, but got "
                    f"{kind}.",
                )
            )
        index = checked(index)
        parts.append((dim, index))
        dim += index._spec.ndim if index._spec.dtype is dtypes.bool_ else 1
    if dim > self.ndim:
        raise DimError(
            message(
                "index_put_",
                f"indices of {dim} dims for shape {list(self.shape)}",
                f"at most {self.ndim}",
                f"too many indices for tensor of dimension {self.ndim}.",
            )
        )
    if not parts:
        raise DimError(message("index_put_", "no index", "at least one"))
    if values._spec.ndim == 0 and values._spec.device is not self._spec.device:
        values = values.to(self._spec.device)
    same_kind("index_put_", self, values, _KINDS)
    target, spot = place_of("index_put_", self, parts)
    values = fitting("index_put_", values, spot.shape(target._spec))
    how = "add" if accumulate else "set"
    store("index_put_", target, spot, values, how, "IndexPutBackward0")
    return self


attach("index_put_", index_put_)
index_put = composed(
    "index_put",
    samples=lambda make: [
        (_put_sample(make(3, 2), [2, 0], make(2, 2)), {}),
        (_put_sample(make(3), [1, 0, 1], make(3)), {"accumulate": True}),
    ],
    names="keep",
)(out_of_place(index_put_, "index_put"))
index_put.__doc__ = "Return a copy with values stored at input[indices]: `index_put_`."


def _put_sample(x: Tensor, index: list[int], values: Tensor) -> Any:
    return (x, (x.new_tensor(index, dtype=dtypes.int64),), values)
