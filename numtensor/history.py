"""How a view and its base share one history when either is changed in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .spec import Spec
from .tape import FunctionNode, Node, edge

if TYPE_CHECKING:
    from .taped import Taped
    from .tensor import Tensor


class CopySlices(Node):
    """The history of a tensor of which a view was changed in place."""

    __slots__ = ("inner", "geometry", "base_spec", "own")

    def __init__(self, base: Tensor, view: Taped, inner: Node, own: int | None) -> None:
        rest = [None if k == own else e for k, e in enumerate(inner.edges)]
        super().__init__((edge(base), *rest))
        self.inner = inner
        self.saved = inner.saved  # so that the walk knows there is something to drop
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
        super().release()
        self.inner.release()


def _geometry(base: Tensor, view: Taped) -> tuple[Any, Any, int]:
    offset = (view._pointer - base._pointer) // base._spec.itemsize
    return (tuple(view._spec.shape), view._spec.strides, offset)


def _in_layout(grad: Tensor, wanted: Spec) -> Tensor:
    """Return a copy of `grad` whose strides are those of the base."""
    made = grad.new_empty_strided(wanted.shape, wanted.strides)
    made.copy_(grad)
    return made


def view_node(base: Tensor, view: Taped) -> Node:
    """Return the record that `view` is part of `base`, whatever made it so."""
    geometry = _geometry(base, view)
    found = base._spec

    def back(grad: Tensor) -> tuple[Tensor]:
        full = grad.new_empty_strided(found.shape, found.strides)
        full.zero_()
        full.as_strided(*geometry).copy_(grad)
        return (full,)

    return FunctionNode("AsStridedBackward0", (edge(base),), back)
