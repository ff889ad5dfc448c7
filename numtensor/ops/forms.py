"""Functions that are also methods, and other names of what there is.

No operators: nothing here is in the table, since each is one that is, called another
way.
"""

from __future__ import annotations

from typing import Any

from .. import layout
from ..dtypes import bool_
from ..errors import DTypeError, ShapeError, message
from ..tensor import Tensor
from .declare import attach
from .registry import PUBLIC, function, publish
from .views import diagonal


def _method(name: str) -> None:
    def call(input: Tensor, *args: Any, **keywords: Any) -> Any:
        return getattr(input, name)(*args, **keywords)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"Return `input.{name}(...)`."
    publish(name, call)


for _name in (
    "as_strided", "detach", "detach_", "fill_", "zero_", "get_device", "is_same_size",
    "is_signed", "relu_", "index_put_",
):  # fmt: skip
    _method(_name)


def broadcast_shapes(*shapes: Any) -> layout.Size:
    """Return the shape that tensors of these shapes broadcast to.

    Raises: ShapeError.

    >>> import numtensor as nt
    >>> nt.broadcast_shapes((2, 1), (3,))
    torch.Size([2, 3])
    """
    given = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    if any(size < 0 for shape in given for size in shape):
        raise ShapeError(
            message(
                "broadcast_shapes",
                f"shapes {given}",
                "sizes of 0 or more",
                "Attempting to broadcast a dimension with negative length!",
            )
        )
    return layout.Size(layout.broadcast_shapes("broadcast_shapes", *given))


publish("broadcast_shapes", broadcast_shapes)


def _same(name: str, other: str) -> None:
    publish(name, PUBLIC[other])
    attach(name, function(other))


_same("fix", "trunc")
_same("sgn", "sign")


def positive(input: Tensor) -> Tensor:
    """Return the tensor itself. Raises: DTypeError, a bool tensor."""
    if input.dtype is bool_:
        raise DTypeError(
            message(
                "positive",
                "a bool tensor",
                "numbers",
                "The `+` operator, on a bool tensor is not supported.",
            )
        )
    return input


def isposinf(input: Tensor) -> Tensor:
    """Return where elements are inf."""
    return input == float("inf")


def isneginf(input: Tensor) -> Tensor:
    """Return where elements are -inf."""
    return input == -float("inf")


def isreal(input: Tensor) -> Tensor:
    """Return where elements have no imaginary part: everywhere."""
    return function("ones_like")(input, dtype=function("eq")(input, input).dtype)


for _call in (positive, isposinf, isneginf, isreal):
    publish(_call.__name__, _call)
    attach(_call.__name__, _call)


def _fill_diagonal_(self: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """Set the elements whose indices are all equal to a number.

    `wrap` begins anew below the square of a high matrix. Raises: ShapeError, fewer than
    two dims, or more than two of different sizes.
    """
    if self.ndim < 2 or (self.ndim > 2 and len(set(self.shape)) > 1):
        raise ShapeError(
            message(
                "fill_diagonal_",
                f"a tensor of shape {list(self.shape)}",
                "a matrix, or more dims of equal sizes",
                "dimensions must larger than 1."
                if self.ndim < 2
                else "all dimensions of input must be of equal length.",
            )
        )
    if wrap and self.ndim == 2 and self.shape[0] > self.shape[1] + 1:
        rows = self.shape[0]
        for start in range(0, rows, self.shape[1] + 1):
            diagonal(self[start : start + self.shape[1]]).fill_(fill_value)
        return self
    along = self
    while along.ndim > 2:  # dims of one index are joined, two by two
        along = diagonal(along)
    diagonal(along).fill_(fill_value)
    return self


attach("fill_diagonal_", _fill_diagonal_)
attach("is_nonzero", lambda self: bool(self))
