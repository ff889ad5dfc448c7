"""A tensor's side of the tape: what autograd shows on the Tensor class.

`Tensor` derives from `Taped`; nothing else does. Recording is the operators', walking
back is `tape`'s.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from .dtypes import FLOAT
from .errors import AutogradError, DTypeError, ShapeError, message
from .spec import Spec
from .storage import ReadOnlyStorage, Storage, adopt
from .tape import Node, RemovableHandle, make_roots, next_sequence, run_backward

if TYPE_CHECKING:
    from .tensor import Tensor

T = TypeVar("T", bound="Taped")


def _alias(own: Storage) -> Storage:
    """Return the same memory with a count of changes of its own."""
    return adopt(own.pointer, own.nbytes, own, type(own) is ReadOnlyStorage)


class Taped:
    """The slots of a tensor, and what autograd shows of it."""

    __slots__ = (
        "_storage",
        "_pointer",
        "_spec",
        "_requires_grad",
        "_grad",
        "_node",
        "_output",
        "_base",
        "_seen",
        "_extra",
    )

    _storage: Storage
    _pointer: int  # address of element 0
    _spec: Spec
    _requires_grad: bool
    _grad: Tensor | None
    _node: Node | None
    _output: int  # which output of the node
    _base: Tensor | None  # the tensor this is a view of
    _seen: Node | None  # the base's node when this view's own was last right
    _extra: dict[str, Any] | None  # hooks and other rarities

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    @property
    def requires_grad(self) -> bool:
        """Whether operators on this tensor are recorded."""
        if self._base is not None and not self._requires_grad:
            _ = self.grad_fn  # a view learns here that its base was changed in place
            return self._requires_grad or self._base._requires_grad
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self: T, requires_grad: bool = True) -> T:
        """Start or stop recording operators on this tensor, in place.

        Raises: AutogradError, an integer dtype, or switching off a computed tensor.
        """
        if requires_grad and self._spec.dtype.category != FLOAT:
            raise AutogradError(
                message(
                    "requires_grad_",
                    f"a tensor of {self._spec.dtype}",
                    "a floating-point dtype",
                    "only Tensors of floating point dtype can require gradients. Use "
                    "x.float().",
                )
            )
        if not requires_grad and self._node is not None:
            raise AutogradError(
                message(
                    "requires_grad_",
                    "False for a tensor that was computed",
                    "a leaf",
                    "you can only change requires_grad flags of leaf variables. Use "
                    "var_no_grad = var.detach().",
                )
            )
        self._requires_grad = bool(requires_grad)
        return self

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` has accumulated, None before the first."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Taped):
                raise TypeError(
                    message(
                        "grad",
                        type(value).__name__,
                        "a Tensor or None",
                        "assigned grad expected to be a Tensor or None.",
                    )
                )
            if value._spec.shape != self._spec.shape:
                raise ShapeError(
                    message(
                        "grad",
                        f"a gradient of shape {list(value.shape)}",
                        f"{list(self.shape)}",
                        "assigned grad has data of a different size.",
                    )
                )
            if value._spec.dtype is not self._spec.dtype:
                raise DTypeError(
                    message(
                        "grad",
                        f"a gradient of {value.dtype}",
                        f"{self.dtype}",
                        "assigned grad has data of a different type.",
                    )
                )
        self._grad = value

    @property
    def grad_fn(self) -> Node | None:
        """The node that recorded how this tensor was computed; None for a leaf."""
        base = self._base
        if base is not None and base._node is not self._seen:
            # the base was changed in place since: its new history is ours too
            self._seen = base._node
            if base._requires_grad:
                from .history import view_node

                self._node = view_node(base, self)
                self._output = 0
                self._requires_grad = True
        return self._node

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was not computed from others that require grad."""
        return self.grad_fn is None

    def _is_view(self) -> bool:
        return self._base is not None

    @property
    def output_nr(self) -> int:
        """Which output of its node the tensor is."""
        return self._output

    @property
    def data(self) -> Tensor:
        """The same memory outside the tape, which does not notice changes to it."""
        from .memory import result_of

        return result_of(_alias(self._storage), self._pointer, self._spec)

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Taped):
            raise TypeError(message("data", type(value).__name__, "a Tensor"))
        self._storage = storage = _alias(value._storage)
        self._pointer = value._pointer
        self._spec = value._spec
        if type(storage) is not ReadOnlyStorage:
            # no node may take the new memory for what it has saved
            storage.version = next_sequence()

    def detach_(self: T) -> T:
        """Take this tensor off the tape, in place.

        Raises: AutogradError, the tensor is a view.
        """
        if self._base is not None and self._requires_grad:
            raise AutogradError(
                message(
                    "detach_",
                    "a view",
                    "a tensor that owns its memory",
                    "Can't detach views in-place. Use detach() instead.",
                )
            )
        self._node = None
        self._output = 0
        self._requires_grad = False
        return self

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Sequence[Tensor] | Tensor | None = None,
    ) -> None:
        """Accumulate into the leaves' `.grad` the gradient of this tensor.

        `gradient` is the cotangent, needed unless there is one element. The graph is
        freed unless `retain_graph`; with `create_graph` the gradients can be
        differentiated in turn.

        Raises: AutogradError, ShapeError.

        >>> import numtensor as nt
        >>> x = nt.tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([2., 4.])
        """
        if retain_graph is None:
            retain_graph = create_graph
        if isinstance(inputs, Taped):
            inputs = [inputs]
        if gradient is None and self._requires_grad and self._spec.numel == 1:
            roots: Any = ((self, self.unit_cotangent()),)  # as make_roots would
        else:
            if gradient is not None and gradient._spec.names is not None:
                from .names.grads import unnamed

                gradient = unnamed("backward", gradient, self)  # type: ignore
            roots = make_roots((self,), (gradient,))
        run_backward(
            roots,
            retain_graph=retain_graph,
            create_graph=create_graph,
            inputs=inputs,
        )

    def register_hook(self, hook: Callable[[Tensor], Any]) -> RemovableHandle:
        """Call `hook(grad)` when this tensor's gradient is known; it may replace it.

        Raises: AutogradError, the tensor does not require grad.
        """
        if not self._requires_grad:
            raise AutogradError(
                message(
                    "register_hook",
                    "a tensor that does not require grad",
                    "one that does",
                    "cannot register a hook on a tensor that doesn't require gradient.",
                )
            )
        node = self.grad_fn
        if node is None:
            return RemovableHandle(self._more().setdefault("hooks", {}), hook)
        if node.hooks is None:
            node.hooks = {}
        hooks = node.hooks.setdefault("tensor", {})
        return RemovableHandle(hooks, (self._output, hook))

    def register_post_accumulate_grad_hook(
        self, hook: Callable[[Tensor], None]
    ) -> RemovableHandle:
        """Call `hook(tensor)` after backward has accumulated into this leaf's grad."""
        if self.grad_fn is not None or not self._requires_grad:
            raise AutogradError(
                message(
                    "register_post_accumulate_grad_hook",
                    "a tensor that is no leaf with requires_grad",
                    "a leaf that requires grad",
                )
            )
        return RemovableHandle(self._more().setdefault("post_accumulate", {}), hook)

    def _more(self) -> dict[str, Any]:
        if self._extra is None:
            self._extra = {}
        return self._extra

    def retain_grad(self) -> None:
        """Let `backward` keep this computed tensor's gradient in `.grad`.

        Raises: AutogradError, the tensor does not require grad.
        """
        if not self._requires_grad:
            raise AutogradError(
                message(
                    "retain_grad",
                    "a tensor that does not require grad",
                    "one that does",
                    "can't retain_grad on Tensor that has requires_grad=False.",
                )
            )
        node = self.grad_fn
        if node is not None:
            if node.hooks is None:
                node.hooks = {}
            node.hooks.setdefault("retain", {})[self._output] = weakref.ref(self)

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad` was called on this computed tensor."""
        node = self.grad_fn
        if node is None or node.hooks is None:
            return False
        held = node.hooks.get("retain", {}).get(self._output)
        return held is not None and held() is self

    def replace_history(self, node: Node, own: int | None) -> None:
        """Take `node`, of an in-place operator, as what computed this tensor.

        `own` says which of the node's edges leads to the tensor as it was before.
        Changing a view changes its base: the base gets a node that runs `node` on the
        part the view covers, and passes the rest on.
        """
        base = self._base
        retain = None
        if (
            self._node is not None
            and self._node.hooks is not None
            and self.retains_grad
        ):
            retain = self._node.hooks["retain"].pop(self._output)
        self._node = node
        self._output = 0
        self._requires_grad = True
        if base is None:
            if retain is not None:
                self.retain_grad()
            return
        from .history import CopySlices, view_node

        outer = CopySlices(base, self, node, own)
        base._node = outer
        base._output = 0
        base._requires_grad = True
        self._node = view_node(base, self)
        self._seen = outer
        if retain is not None:
            self.retain_grad()
