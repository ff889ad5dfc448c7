"""What masks select and fill, and where elements are not zero."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..devices import CPU, Twin
from ..elementwise import Elementwise
from ..errors import DTypeError, ShapeError, message, mixed_devices
from ..layout import broadcast_shapes, numel
from ..masks import Marked
from ..memory import as_number
from ..tape import FunctionNode, edge, grad_mode
from ..tensor import Tensor
from ..writing import may_meet, writable
from . import m
from .copies import clone, contiguous_format, held
from .declare import attach, composed
from .placing import same_kind
from .registry import function

_fill = Elementwise(
    "masked_fill",
    lambda x, mask, value: m.where(mask, value, x),
    (
        lambda g, x, mask, value, out: m.where(mask, g * 0, g),
        None,
        lambda g, x, mask, value, out: m.where(mask, g, g * 0),
    ),
    roles="tbt",
)
_fill_number = Elementwise(
    "masked_fill",
    lambda x, mask, value: m.where(mask, value, x),
    (lambda g, x, mask, value, out: m.where(mask, g * 0, g), None, None),
    roles="tbs",
)


def _check(op: str, x: Tensor, mask: Any, do: str) -> Tensor:
    """Return a bool mask beside x. Raises: DTypeError, DeviceError."""
    if not isinstance(mask, Tensor) or mask._spec.dtype is not dtypes.bool_:
        got = getattr(mask, "dtype", type(mask).__name__)
        name = getattr(got, "name", "")
        do = f"{do.format(name=_C_NAMES.get(name, name))} Use mask.bool()."
        raise DTypeError(message(op, f"a mask of {got}", "a bool tensor", do))
    if mask._spec.device is not x._spec.device:
        if mask._spec.ndim or mask._spec.device is not CPU:
            raise mixed_devices(op, x.device, mask.device)
        return mask.to(x._spec.device)
    return mask


def _filled(op: str, x: Tensor, mask: Any, value: Any) -> tuple[Any, Any, Any]:
    """Return the operator that fills, its mask and its value.

    Raises: DTypeError, ShapeError, DeviceError; RuntimeError, a number that the dtype
    cannot hold.
    """
    kind = x._spec.dtype
    do = "masked_fill_ only supports boolean masks, but got mask with dtype {name}."
    mask = _check(op, x, mask, do)
    if isinstance(value, Tensor):
        if value._spec.ndim:
            raise ShapeError(
                message(
                    op,
                    f"a value of shape {list(value.shape)}",
                    "a number or a 0-d tensor",
                    "masked_fill_ only supports a 0-dimensional value tensor, but got "
                    f"tensor with {value.ndim} dimension(s).",
                )
            )
        return _fill, mask, value.to(x._spec.device, kind)
    value = held(op, kind, as_number(op, value))
    return _fill_number, mask, bool(value) if kind.category == dtypes.BOOL else value


_C_NAMES = {"int64": "long int", "uint8": "unsigned char", "float32": "float"}


@composed(
    "masked_fill",
    samples=lambda make: [
        ((x := make(2, 3), x > 0, 0.5), {}),
        ((x := make(2, 3), x[0] > 0, make()), {}),
    ],
    names="keep",
)
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """Return a copy with `value`, a number or a 0-d tensor, where mask is True.

    The mask broadcasts. Raises: DTypeError, a mask that is not bool; ShapeError.

    >>> import numtensor as nt
    >>> x = nt.tensor([1.0, -2.0, 3.0])
    >>> x.masked_fill(x < 0, 0.0)
    tensor([1., 0., 3.])
    """
    operator, mask, value = _filled("masked_fill", input, mask, value)
    result: Tensor = operator(input, mask, value)
    return result


def _masked_fill_(self: Tensor, mask: Tensor, value: Any) -> Tensor:
    """In-place form of `masked_fill`."""
    operator, mask, value = _filled("masked_fill_", self, mask, value)
    result: Tensor = operator.store(self, (self, mask, value), "in place")
    return result


attach("masked_fill_", _masked_fill_)


def select(x: Tensor, mask: Tensor, name: str) -> Tensor:
    """Return the elements of x that a mask of its shape marks, in order."""
    own = mask._spec
    marked = Marked(mask if own.contiguous else mask.contiguous())
    made = marked.read(x if x._spec.contiguous else x.detach().contiguous())
    if grad_mode.enabled and x.requires_grad:
        shape = tuple(x._spec.shape)

        def back(g: Tensor, mask: Tensor) -> tuple[Tensor]:
            return (masked_scatter(g.new_zeros(shape), mask, g),)

        made._node = FunctionNode(name, (edge(x),), back, (mask,))
        made._requires_grad = True
    return made


@composed(
    "masked_select",
    samples=lambda make: [
        ((x := make(2, 3), x > 0), {}),
        ((x := make(3, 2).t(), x[:1] > 0), {}),
    ],
    reference=lambda x, mask: x[np.broadcast_to(mask, x.shape)],
    names="drop",
)
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """Return the elements where mask is True, in one dim; the two broadcast.

    Raises: DTypeError, a mask that is not bool; ShapeError.

    >>> import numtensor as nt
    >>> x = nt.tensor([[1, 2], [3, 4]])
    >>> nt.masked_select(x, x > 1)
    tensor([2, 3, 4])
    """
    do = "masked_select: expected BoolTensor for mask."
    mask = _check("masked_select", input, mask, do)
    x, mask = _met("masked_select", input, mask)
    return select(x, mask, "MaskedSelectBackward0")


def _met(op: str, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return both broadcast to one shape. Raises: ShapeError."""
    if x._spec.shape == mask._spec.shape:
        return x, mask
    shape = broadcast_shapes(op, tuple(x._spec.shape), tuple(mask._spec.shape))
    return x.expand(shape), mask.expand(shape)


def _scattered(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """Return what `masked_scatter` does, the number of marked elements being unknown.

    With fewer elements than places, the last one is used for the rest.
    """
    count = source._spec.numel
    if not count:
        return clone(x)
    numbers = function("cumsum")(mask.reshape(-1), 0).sub(1).clamp(0, count - 1)
    values = function("index_select")(source.reshape(-1), 0, numbers)
    found: Tensor = function("where")(mask, values.reshape(mask.shape), x)
    return found


def _masked_scatter_(self: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """In-place form of `masked_scatter`; the mask broadcasts to this tensor."""
    do = "masked_scatter_ only supports boolean masks."
    mask = _check("masked_scatter_", self, mask, do)
    if mask._spec.shape != self._spec.shape:
        mask = mask.expand(tuple(self._spec.shape))
    same_kind(
        "masked_scatter_",
        self,
        source,
        "masked_scatter: expected self and source to have same dtypes but got {own} "
        "and {given}.",
    )
    if type(self._spec.device) is Twin:
        self.copy_(_scattered(self, mask, source))
        return self
    recorded = grad_mode.enabled and (self.requires_grad or source.requires_grad)
    writable("masked_scatter_", self, recorded)
    marked = Marked(mask if mask._spec.contiguous else mask.contiguous())
    if source._spec.numel < marked.count:
        raise ShapeError(
            message(
                "masked_scatter_",
                f"{source._spec.numel} values for {marked.count} places",
                "at least as many",
                "Number of elements of source < number of ones in mask.",
            )
        )
    values = source.detach()
    if not values._spec.contiguous or may_meet(self._storage, values._storage):
        values = clone(values, memory_format=contiguous_format)
    if may_meet(self._storage, marked.mask._storage):
        marked = Marked(marked.mask.clone())
    before = edge(self) if recorded else None
    if self._spec.contiguous:
        marked.write(self, values)
    else:
        changed = self.detach().contiguous()
        marked.write(changed, values)
        self.detach().copy_(changed)
    self._storage.version += 1
    if recorded:
        to_source, shape = edge(source), tuple(source._spec.shape)

        def back(g: Tensor, mask: Tensor) -> tuple[Tensor | None, Tensor | None]:
            own = None if before is None else masked_fill(g, mask, 0)
            if to_source is None:
                return own, None
            used = select(g, mask, "MaskedSelectBackward0")
            rest = g.new_zeros((numel(shape) - used._spec.numel,))
            return own, function("cat")((used, rest)).reshape(shape)

        node = FunctionNode(
            "MaskedScatterBackward0", (before, to_source), back, (marked.mask,)
        )
        self.replace_history(node, None if before is None else 0)
    return self


attach("masked_scatter_", _masked_scatter_)


@composed(
    "masked_scatter",
    samples=lambda make: [((x := make(2, 3), x > 0, make(7)), {})],
    names="keep",
)
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """Return a copy with the elements of source, in order, where mask is True.

    Raises: ShapeError, fewer elements than places; DTypeError.

    >>> import numtensor as nt
    >>> mask = nt.tensor([True, False, True])
    >>> nt.zeros(3).masked_scatter(mask, nt.tensor([1.0, 2.0]))
    tensor([1., 0., 2.])
    """
    x = input
    if isinstance(mask, Tensor):
        x, mask = _met("masked_scatter", input, mask)
    if type(x._spec.device) is Twin:
        return _scattered(x, mask, source)
    copy = clone(x, memory_format=contiguous_format)
    return copy.masked_scatter_(mask, source)  # type: ignore[no-any-return]


@composed(
    "nonzero",
    samples=lambda make: [((make(2, 3) > 0,), {}), ((make(4),), {})],
    reference=lambda x: np.argwhere(x),
    differentiable=False,
    why="integer result",
    names="drop",
)
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Return the indices of the elements that are not zero, (count, dims).

    `as_tuple=True` gives a tuple of one tensor for each dim, which indexes the input.

    >>> import numtensor as nt
    >>> nt.nonzero(nt.tensor([[0, 1], [2, 0]]))
    tensor([[0, 1],
            [1, 0]])
    """
    x = input.detach()
    if as_tuple and not x.ndim:
        x = x.reshape(1)
    mask = x if x._spec.dtype is dtypes.bool_ else x != 0
    rows = Marked(mask if mask._spec.contiguous else mask.contiguous()).coordinates()
    rows = rows.detach()
    return rows.unbind(0) if as_tuple else rows.t()


@composed(
    "argwhere",
    samples=lambda make: [((make(2, 3) > 0,), {})],
    reference=lambda x: np.argwhere(x),
    differentiable=False,
    why="integer result",
    names="drop",
)
def argwhere(input: Tensor) -> Tensor:
    """Return the indices of the elements that are not zero, (count, dims)."""
    result: Tensor = nonzero(input)
    return result


@composed(
    "one_hot",
    samples=lambda make: [(((make(3) * 0 + 1).long(), 3), {})],
    differentiable=False,
    why="integer result",
    names="drop",
    room="nn.functional",
)
def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """Return int64 zeros with a 1 at the class that each element of input names.

    Shapes: (*a) -> (*a, num_classes); without `num_classes`, the largest class plus 1.
    Raises: DTypeError, input is not int64; ShapeError, a class out of range.

    >>> import numtensor.nn.functional as F
    >>> import numtensor as nt
    >>> F.one_hot(nt.tensor([0, 2]))
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    if input._spec.dtype is not dtypes.int64:
        raise DTypeError(
            message(
                "one_hot",
                f"classes of {input.dtype}",
                "int64",
                "one_hot is only applicable to index tensor of type LongTensor.",
            )
        )
    shape = tuple(input._spec.shape)
    if not input._spec.numel:
        if num_classes <= 0:
            raise ShapeError(
                message(
                    "one_hot",
                    "no classes",
                    "num_classes",
                    "Can not infer total number of classes from empty tensor.",
                )
            )
        return input.new_zeros((*shape, num_classes))  # type: ignore[no-any-return]
    if type(input._spec.device) is Twin and num_classes > 0:
        # a class out of range, of which nothing is known yet, leaves its row 0
        classes = function("arange")(num_classes, device=input._spec.device)
        found: Tensor = (input.unsqueeze(-1) == classes).to(dtypes.int64)
        return found
    if int(input.min()) < 0:
        raise _class_error(int(input.min()), "Class values must be non-negative.")
    largest = int(input.max())
    if num_classes == -1:
        num_classes = largest + 1
    elif largest >= num_classes:
        raise _class_error(largest, "Class values must be smaller than num_classes.")
    made: Tensor = input.new_zeros((*shape, num_classes))
    return made.scatter_(-1, input.unsqueeze(-1), 1)  # type: ignore[no-any-return]


def _class_error(value: int, do: str) -> ShapeError:
    return ShapeError(
        message("one_hot", f"class {value}", "classes from 0 to num_classes - 1", do)
    )
