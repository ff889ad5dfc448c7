"""The tape: nodes and the walk backward over them.

A differentiable operator leaves a `Node` on its result: which nodes or leaves its
inputs came from (`edges`), and how to turn the cotangent of the result into those of
the inputs (`backward`). The walk visits nodes in reverse order of creation; a node's
inputs are always older than itself, so no dependency has to be counted.

Knows Tensor only as something with `requires_grad`, `grad_fn` and `grad`, and no
operator: sums of cotangents go through Tensor's own methods.
"""

from __future__ import annotations

import itertools
import sys
import weakref
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Union

from .errors import AutogradError, ShapeError, message, mixed_devices
from .layout import contiguous_strides, is_dense
from .modes import enable_grad as enable_grad
from .modes import grad_mode as grad_mode
from .modes import grads_recorded as grads_recorded
from .modes import inference_mode as inference_mode
from .modes import is_grad_enabled as is_grad_enabled
from .modes import no_grad as no_grad
from .modes import set_grad_enabled as set_grad_enabled

if TYPE_CHECKING:
    from .tensor import Tensor

next_sequence = itertools.count(1).__next__


#: an input of a node: another node (its output 0), a node's other output, a leaf
Edge = Union["Node", tuple["Node", int], "Tensor", None]

_FREED = object()


class Node:
    """An operator's record on the tape. Subclasses say how to go backward."""

    __slots__ = ("edges", "sequence", "hooks", "saved", "versions", "__weakref__")

    edges: tuple[Edge, ...]
    sequence: int
    hooks: Any  # {"pre": {key: hook}, "post": ..., "retain": {output: tensor}} or None
    saved: Any
    versions: tuple[int, ...]

    outputs = 1
    #: whether its outputs, where they are views, may not be changed in place
    guards_views = False

    def __init__(self, edges: tuple[Edge, ...], saved: tuple[Any, ...] = ()) -> None:
        self.edges = edges
        self.sequence = next_sequence()
        self.hooks = None
        self.saved = saved
        self.versions = tuple([t._storage.version for t in saved]) if saved else saved

    def backward(self, grad: Any) -> Sequence[Tensor | None]:
        """Return the cotangent of each input from that of the output.

        A node with several outputs gets a list, None where nothing flowed.
        """
        raise NotImplementedError

    def name(self) -> str:
        """Return the name that printing shows, such as MulBackward0."""
        return type(self).__name__

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """The (node, output) that each input came from; None for what has none."""
        return tuple(_as_pair(edge) for edge in self.edges)

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"

    def register_hook(self, hook: Callable[[Any, Any], Any]) -> RemovableHandle:
        """Call `hook(grad_inputs, grad_outputs)` after this node has run."""
        return self._hook("post", hook)

    def register_prehook(self, hook: Callable[[Any], Any]) -> RemovableHandle:
        """Call `hook(grad_outputs)` before this node runs."""
        return self._hook("pre", hook)

    def _hook(self, kind: str, hook: Any) -> RemovableHandle:
        if self.hooks is None:
            self.hooks = {}
        return RemovableHandle(self.hooks.setdefault(kind, {}), hook)

    def check_saved(self) -> Any:
        """Return the saved tensors if all of them are as they were saved.

        Raises: AutogradError, freed by an earlier backward, or changed in place.
        """
        saved = self.saved
        if saved is _FREED:
            raise AutogradError(
                message(
                    self.name(),
                    "a second backward through a graph whose saved tensors are freed",
                    "one backward per graph",
                    "Trying to backward through the graph a second time (or directly "
                    "access saved tensors after they have already been freed). Call "
                    "the first backward() or autograd.grad() with retain_graph=True.",
                )
            )
        for tensor, version in zip(saved, self.versions, strict=False):
            if tensor._storage.version != version:
                self._stale(tensor, version)
        return saved

    def _stale(self, tensor: Tensor, version: int) -> None:
        now = tensor._storage.version
        raise AutogradError(
            message(
                self.name(),
                f"a saved {tensor.type()} {list(tensor.shape)} at version {now}",
                f"version {version}",
                "one of the variables needed for gradient computation has been "
                "modified by an inplace operation. Use the out-of-place operator, or "
                "change a clone().",
            )
        )

    def release(self) -> None:
        """Drop the saved tensors; a node that saved none can run again."""
        self.saved = _FREED


class AccumulateGrad(Node):
    """What a leaf shows as the end of the graph; made when somebody looks."""

    __slots__ = ("variable",)

    def __init__(self, variable: Tensor) -> None:
        super().__init__(())
        self.variable = variable


class FunctionNode(Node):
    """A node whose way back is a Python function of Tensors.

    The function's own operators are recorded when a gradient of the gradient is
    asked for, so nothing else is needed for higher orders.
    """

    __slots__ = ("_name", "function")

    def __init__(
        self,
        name: str,
        edges: tuple[Edge, ...],
        function: Callable[..., Any],
        saved: tuple[Any, ...] = (),
    ) -> None:
        super().__init__(edges, saved)
        self._name = name
        self.function = function

    def name(self) -> str:
        return self._name

    def backward(self, grad: Any) -> Sequence[Tensor | None]:
        return self.function(grad, *self.check_saved())


class MultiNode(FunctionNode):
    """A `FunctionNode` with several outputs."""

    __slots__ = ("outputs",)

    def __init__(
        self,
        name: str,
        edges: tuple[Edge, ...],
        function: Callable[..., Any],
        outputs: int,
        saved: tuple[Any, ...] = (),
    ) -> None:
        super().__init__(name, edges, function, saved)
        self.outputs = outputs  # type: ignore[misc]


def edge(tensor: Tensor) -> Edge:
    """Return where a tensor's cotangent goes: its node, itself if a leaf, or None."""
    if tensor._base is None:
        if not tensor._requires_grad:
            return None
        node = tensor._node
    else:
        node = tensor.grad_fn  # the base may have been changed since
        if not tensor._requires_grad:
            return None
    if node is None:
        return tensor
    number = tensor._output
    return (node, number) if number else node


def _as_pair(edge: Edge) -> tuple[Any, int]:
    if edge is None or isinstance(edge, Node):
        return (edge, 0)
    if type(edge) is tuple:
        return edge
    more = edge._more()  # type: ignore[union-attr]
    known = more.get("accumulate")
    node = known() if known is not None else None
    if node is None:
        # held weakly: the node holds the leaf
        node = AccumulateGrad(edge)  # type: ignore[arg-type]
        more["accumulate"] = weakref.ref(node)
    return (node, 0)


class RemovableHandle:
    """What registering a hook returns; `remove()` takes the hook away again."""

    def __init__(self, hooks: dict[int, Any], hook: Any) -> None:
        self._hooks = hooks
        self.id = next_sequence()
        hooks[self.id] = hook

    def remove(self) -> None:
        """Take the hook away; doing it twice is no error."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


Key = Any  # a Node, (Node, output) or id of a leaf


def run_backward(
    roots: Sequence[tuple[Tensor, Tensor]],
    *,
    retain_graph: bool,
    create_graph: bool,
    inputs: Sequence[Tensor] | None = None,
    accumulate: bool = True,
) -> dict[Any, Tensor]:
    """Send the cotangents of `roots` back through the graph.

    Leaves accumulate into `.grad` (only those among `inputs`, if given); with
    `accumulate=False` the cotangents of `inputs` are returned instead, by
    `id(tensor)`.
    """
    wanted: dict[Node, list[tuple[int, Tensor]]] = {}
    wanted_leaves: dict[int, Tensor] | None = None
    needed: set[Node] | None = None
    if inputs is not None:
        if not inputs:
            raise AutogradError(
                message(
                    "backward",
                    "no inputs",
                    "at least one, or inputs=None for all leaves",
                    "`inputs` argument to `backward()` cannot be empty.",
                )
            )
        wanted_leaves = {}
        for tensor in inputs:
            target = edge(tensor)
            if target is tensor:
                wanted_leaves[id(tensor)] = tensor
            else:
                node, number = _as_pair(target)
                wanted.setdefault(node, []).append((number, tensor))
        needed = _leading_to(roots, wanted, wanted_leaves)

    pending: dict[Node, Any] = {}
    leaves: dict[int, list[Any]] = {}
    captured: dict[Any, Tensor] = {}
    heap: list[tuple[int, Node]] = []

    def send(target: Edge, grad: Tensor) -> None:
        if target is None:
            return
        number = 0
        if type(target) is tuple:
            target, number = target
        elif not isinstance(target, Node):
            key = id(target)
            if wanted_leaves is None or key in wanted_leaves:
                if key in leaves:
                    leaves[key][1] = leaves[key][1] + grad
                else:
                    leaves[key] = [target, grad]
            return
        node: Node = target  # type: ignore[assignment]
        if needed is not None and node not in needed and node not in wanted:
            return
        if node.outputs == 1:
            if node in pending:
                pending[node] = pending[node] + grad
            else:
                pending[node] = grad
                heappush(heap, (-node.sequence, node))
            return
        slots = pending.get(node)
        if slots is None:
            slots = pending[node] = [None] * node.outputs
            heappush(heap, (-node.sequence, node))
        before = slots[number]
        slots[number] = grad if before is None else before + grad

    previous = grad_mode.enabled
    grad_mode.enabled = create_graph
    try:
        for tensor, grad in roots:
            send(edge(tensor), grad)
        grad = None  # type: ignore[assignment]
        while heap:
            node = heappop(heap)[1]
            incoming = pending.pop(node)
            if node.hooks is not None:
                incoming = _before(node, incoming)
            if needed is not None:
                if node in wanted:
                    for number, tensor in wanted[node]:
                        got = incoming if node.outputs == 1 else incoming[number]
                        if got is not None:
                            if accumulate:
                                _accumulate(tensor, got, create_graph)
                            else:
                                captured[id(tensor)] = got
                    got = None
                if node not in needed:
                    continue
            outgoing = node.backward(incoming)
            if node.hooks is not None and "post" in node.hooks:
                outgoing = _after(node, outgoing, incoming)
            if node.saved and not retain_graph:
                node.release()
            incoming = None  # nobody but its receiver may hold a cotangent
            for target, flow in zip(node.edges, outgoing):  # noqa: B905
                if flow is None or target is None:
                    continue
                if needed is None and isinstance(target, Node) and target.outputs == 1:
                    # what `send` does, for the edge that nearly all are
                    if target in pending:
                        pending[target] = pending[target] + flow
                    else:
                        pending[target] = flow
                        heappush(heap, (-target.sequence, target))
                else:
                    send(target, flow)
            flow = outgoing = None  # type: ignore[assignment]
        for entry in leaves.values():
            leaf, grad = entry
            entry[1] = None
            if leaf._extra is not None:
                grad = _leaf_hooks(leaf, grad)
            if accumulate:
                _accumulate(leaf, grad, create_graph)
                if leaf._extra is not None:
                    _after_accumulate(leaf, grad)
            else:
                captured[id(leaf)] = grad
            grad = None  # type: ignore[assignment]
    finally:
        grad_mode.enabled = previous
    return captured


def _leading_to(
    roots: Sequence[tuple[Tensor, Tensor]],
    wanted: dict[Node, Any],
    wanted_leaves: dict[int, Tensor],
) -> set[Node]:
    """Return the nodes from which some wanted input can be reached."""
    seen: set[Node] = set()
    stack = [_as_pair(edge(t))[0] for t, _ in roots]
    stack = [n for n in stack if n is not None and not isinstance(n, AccumulateGrad)]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        for target in node.edges:
            child = target[0] if type(target) is tuple else target
            if isinstance(child, Node):
                stack.append(child)
    needed: set[Node] = set()
    for node in sorted(seen, key=lambda n: n.sequence):
        for target in node.edges:
            child = target[0] if type(target) is tuple else target
            if isinstance(child, Node):
                hit = child in needed or child in wanted
            else:
                hit = id(child) in wanted_leaves
            if hit:
                needed.add(node)
                break
    return needed


def _before(node: Node, incoming: Any) -> Any:
    """Run the tensor hooks, retained grads and pre-hooks of a node."""
    single = node.outputs == 1
    grads = [incoming] if single else incoming
    for number, hook in list(node.hooks.get("tensor", {}).values()):
        if grads[number] is not None:
            grads[number] = _hooked(hook, grads[number])
    for number, reference in node.hooks.get("retain", {}).items():
        tensor = reference()
        if tensor is not None and grads[number] is not None:
            held = tensor._grad
            grad = grads[number]
            tensor._grad = _own(tensor, grad) if held is None else held + grad
    for hook in list(node.hooks.get("pre", {}).values()):
        changed = hook(tuple(grads))
        if changed is not None:
            grads = list(changed) if isinstance(changed, tuple) else [changed]
    return grads[0] if single else grads


def _after(node: Node, outgoing: Any, incoming: Any) -> Any:
    given = (incoming,) if node.outputs == 1 else tuple(incoming)
    for hook in list(node.hooks["post"].values()):
        changed = hook(tuple(outgoing), given)
        if changed is not None:
            outgoing = changed if isinstance(changed, tuple) else (changed,)
    return outgoing


def _leaf_hooks(leaf: Tensor, grad: Tensor) -> Tensor:
    extra = leaf._extra or {}
    for hook in list(extra.get("hooks", {}).values()):
        grad = _hooked(hook, grad)
    node = _accumulator(leaf)
    if node is not None and node.hooks is not None:
        grad = _before(node, grad)
    return grad


def _accumulator(leaf: Tensor) -> Node | None:
    """Return the node that stands for the leaf, if somebody holds it."""
    known = (leaf._extra or {}).get("accumulate")
    return None if known is None else known()


def _hooked(hook: Callable[[Tensor], Any], grad: Tensor) -> Tensor:
    """Return what a hook makes of a cotangent. Raises: TypeError, ShapeError."""
    changed = hook(grad)
    if changed is None:
        return grad
    if not hasattr(changed, "_spec"):
        raise TypeError(
            message(
                "hook",
                f"a {type(changed).__name__}",
                "a Tensor or None",
                "hooks must return a Tensor or None.",
            )
        )
    if changed._spec.names is not None:
        changed = changed.rename(None)
    if changed._spec.shape != grad._spec.shape:
        raise ShapeError(
            message(
                "hook",
                f"a gradient of shape {list(changed.shape)}",
                f"{list(grad.shape)}",
                "hook has changed the size of value.",
            )
        )
    return changed  # type: ignore[no-any-return]


def _after_accumulate(leaf: Tensor, grad: Tensor) -> None:
    node = _accumulator(leaf)
    if node is not None and node.hooks is not None and "post" in node.hooks:
        _after(node, (), grad)
    extra = leaf._extra or {}
    for hook in list(extra.get("post_accumulate", {}).values()):
        hook(leaf)


def _accumulate(leaf: Tensor, grad: Tensor, create_graph: bool) -> None:
    held = leaf._grad
    if held is None:
        # the buffer is kept if nobody else holds it or its memory, and if it lies as
        # the leaf does
        if (
            sys.getrefcount(grad) <= _ALONE
            and sys.getrefcount(grad._storage) <= 2
            and (grad._spec is leaf._spec or _fits(leaf._spec, grad._spec))
            and (create_graph or not grad._requires_grad)
        ):
            leaf._grad = grad
        elif create_graph:
            leaf._grad = _own(leaf, grad)
        else:
            leaf._grad = _own(leaf, grad.detach())
    elif create_graph:
        leaf._grad = held + grad
    else:
        held += grad


def _references(grad: Any, *_: Any) -> int:
    return sys.getrefcount(grad)


def _count_alone() -> int:
    grad = object()
    return _references(grad, None)


#: what getrefcount says in `_accumulate` of a cotangent that only its caller holds;
#: interpreters differ in what a call counts
_ALONE = _count_alone()


def _fits(leaf: Any, grad: Any) -> bool:
    """Return whether a gradient lies in memory as its leaf's should: like the leaf if
    that is dense, else contiguous."""
    if is_dense(leaf.shape, leaf.strides):
        return bool(grad.strides == leaf.strides)
    return bool(grad.contiguous)


def _own(leaf: Tensor, grad: Tensor) -> Tensor:
    """Return a copy of a cotangent in the layout of its leaf's gradient."""
    found = leaf._spec
    if is_dense(found.shape, found.strides):
        strides = found.strides
    else:
        strides = contiguous_strides(found.shape)
    if grad._spec.strides == strides:
        return grad.clone()
    made = grad.new_empty_strided(found.shape, strides)
    return made.copy_(grad)  # type: ignore[no-any-return]


def make_roots(
    tensors: Sequence[Any], grads: Sequence[Tensor | None]
) -> list[tuple[Tensor, Tensor]]:
    """Pair outputs with their cotangents; ones for a scalar without any.

    Raises: AutogradError, an output outside the graph or a missing cotangent;
    ShapeError, a cotangent of another shape.
    """
    roots: list[tuple[Tensor, Tensor]] = []
    for tensor, given in zip(tensors, grads):  # noqa: B905
        if not tensor.requires_grad:
            raise AutogradError(
                message(
                    "backward",
                    "a tensor outside the graph",
                    "one computed from a tensor with requires_grad=True",
                    "element 0 of tensors does not require grad and does not have a "
                    "grad_fn. Set requires_grad on what should get a gradient, outside "
                    "of no_grad().",
                )
            )
        if given is None:
            if tensor._spec.numel != 1:
                raise AutogradError(
                    message(
                        "backward",
                        f"an output of shape {list(tensor.shape)} and no gradient",
                        "one element",
                        "grad can be implicitly created only for scalar outputs. "
                        "Reduce it first, as in loss.sum().backward(), or pass "
                        "gradient=.",
                    )
                )
            given = tensor.unit_cotangent()
        elif given.shape != tensor.shape:
            raise ShapeError(
                message(
                    "backward",
                    f"a gradient of shape {list(given.shape)} for an output of shape "
                    f"{list(tensor.shape)}",
                    "equal shapes",
                    f"Mismatch in shape: grad_output[{len(roots)}] has a shape of "
                    f"{given.shape} and output[{len(roots)}] has a shape of "
                    f"{tensor.shape}.",
                )
            )
        elif given._spec.device is not tensor._spec.device:
            raise mixed_devices("backward", tensor.device, given.device)
        elif given.dtype is not tensor.dtype:
            given = given.to(tensor.dtype)
        roots.append((tensor, given))
    return roots
