"""Tensors with named dimensions: the class, and how names are put on and taken off.

Names are part of a tensor's spec, so that no plan made for unnamed tensors is found for
a named one. `NamedTensor` is the class of a tensor while it has names: its methods know
of them, and those of `Tensor` need not. The rules of operators must not come in here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, cast

from ..memory import view_as
from ..spec import Spec, spec
from ..tape import FunctionNode, RemovableHandle, edge, grad_mode
from ..tensor import Tensor
from . import words
from .words import Names


class NamedTensor(Tensor):
    """A Tensor some of whose dimensions have names; programs see a Tensor."""

    __slots__ = ()

    #: the class that a tensor has again when its names are taken off
    plain: ClassVar[type[Tensor]] = Tensor

    def size(self, dim: Any = None) -> Any:
        """Return the shape, or the size of one dimension, given by place or name."""
        return Tensor.size(self, _place("size", self, dim))

    def stride(self, dim: Any = None) -> Any:
        """Return the strides, or that of one dimension, given by place or name."""
        return Tensor.stride(self, _place("stride", self, dim))

    def detach(self) -> Tensor:
        """Return the same memory outside the tape, with the same names."""
        result = Tensor.detach(self)
        result.__class__ = NamedTensor
        return result

    @property
    def data(self) -> Tensor:
        """The same memory outside the tape, which does not notice changes to it."""
        result = cast(Any, Tensor.data).fget(self)
        result.__class__ = NamedTensor
        return cast(Tensor, result)

    @data.setter
    def data(self, value: Tensor) -> None:
        cast(Any, Tensor.data).fset(self, value)
        classify(self)

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` has accumulated, with this tensor's names."""
        grad = self._grad
        if grad is not None and grad._spec.names != self._spec.names:
            named(grad, self._spec.names)
        return grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if isinstance(value, Tensor):
            words.unified("grad", self.names, value.names, "assign a gradient of")
        cast(Any, Tensor.grad).fset(self, value)

    def register_hook(self, hook: Callable[[Tensor], Any]) -> RemovableHandle:
        """Call `hook(grad)` when this tensor's gradient is known, with its names."""
        names = self._spec.names

        def call(grad: Tensor) -> Any:
            changed = hook(renamed(grad, names))
            if isinstance(changed, Tensor):
                words.unified("hook", names or (), changed.names, "replace")
                return bare(changed)
            return changed

        return Tensor.register_hook(self, call)


NamedTensor.__name__ = NamedTensor.__qualname__ = "Tensor"  # as users know it
NamedTensor.__module__ = Tensor.__module__

#: the class with names of each class without
_CLASSES: dict[type, type] = {Tensor: NamedTensor}


def _place(op: str, x: Tensor, dim: Any) -> Any:
    return words.position(op, dim, x.names) if isinstance(dim, str) else dim


def classify(x: Tensor) -> None:
    """Give a tensor the class that fits its spec."""
    kind = type(x)
    if (x._spec.names is not None) == issubclass(kind, NamedTensor):
        return
    if issubclass(kind, NamedTensor):
        x.__class__ = kind.plain
        return
    found = _CLASSES.get(kind)
    if found is None:
        body = {"__slots__": (), "plain": kind, "__module__": kind.__module__}
        found = _CLASSES[kind] = type(kind.__name__, (NamedTensor, kind), body)
    x.__class__ = found


def respec(found: Spec, names: Names | None) -> Spec:
    """Return the spec of the same layout with other names, or none."""
    if names is None:
        known = found.extra.get("unnamed")
        if known is None:
            known = spec(found.dtype, tuple(found.shape), found.strides, found.device)
            found.extra["unnamed"] = known
        return cast(Spec, known)
    return spec(found.dtype, tuple(found.shape), found.strides, found.device, names)


def named(tensor: Tensor, names: Any) -> Tensor:
    """Give a tensor these dimension names, or None, in place; return it.

    For tensors that nobody else has seen yet; a gradient it has is named as well.
    Raises: DimNameError.
    """
    found = tensor._spec
    wanted = words.checked("names", names, found.ndim)
    if wanted != found.names:
        tensor._spec = respec(found, wanted)
        classify(tensor)
        if tensor._grad is not None:
            named(tensor._grad, wanted)
    return tensor


def renamed(tensor: Tensor, names: Names | None) -> Tensor:
    """Return a view with these names, which are right, or none; it is recorded."""
    found = tensor._spec
    made = view_as(tensor, respec(found, names), 0)
    if names is not None:
        made.__class__ = NamedTensor
    if grad_mode.enabled and tensor.requires_grad:
        made._node = FunctionNode("AliasBackward0", (edge(tensor),), _unchanged)
        made._requires_grad = True
    return made


def _unchanged(grad: Tensor) -> tuple[Tensor]:
    return (bare(grad),)


def bare(tensor: Tensor) -> Tensor:
    """Return the tensor without names: itself if it has none, else a view."""
    return tensor if tensor._spec.names is None else renamed(tensor, None)


@contextmanager
def without_names(target: Tensor) -> Iterator[None]:
    """Take the names off a tensor for a while: an operator is about to change it."""
    names = target._spec.names
    if names is None:
        yield
        return
    target._spec = respec(target._spec, None)
    classify(target)
    try:
        yield
    finally:
        if target._spec.ndim == len(names):
            target._spec = respec(target._spec, names)
            classify(target)
