"""The way back of elementwise operators: what to save, and the fused vjp kernels.

A `WayBack` evaluates an operator's vjp rules on symbols. That shows which operands
they use, hence what a node must save, and gives the expressions of the backward
kernel, the sums that undo broadcasting included. Comes from `elementwise`; knows the
tape, and no operator in particular.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import launch
from .kernels.expr import Expr, cast, var
from .kernels.loops import COMBINES
from .layout import expand_strides
from .memory import empty
from .spec import Spec, contiguous_spec
from .tape import _FREED, Node, edge, grad_mode, next_sequence
from .tensor import Tensor

if TYPE_CHECKING:
    from .elementwise import Elementwise, Plan

_new: Any = object.__new__

#: how operands are called in kernel source, in order
NAMES = ("x", "y", "z", "w", "v", "u")


def record(
    op: Elementwise,
    plan: Plan,
    result: Tensor,
    args: Sequence[Any],
    kind: Any = None,
) -> None:
    """Put the call on the tape, as an `ElementwiseNode` or a `kind` of it."""
    mask = 0
    edges: tuple[Any, ...] = ()
    for k in plan.tensors:
        tensor = args[k]
        if tensor._base is None and not tensor._output:
            # what `edge` says of nearly all tensors
            if not tensor._requires_grad:
                continue
            edges += (tensor._node or tensor,)
        else:
            found = edge(tensor)
            if found is None:
                continue
            edges += (found,)
        mask |= 1 << k
    way = plan.ways_back.get(mask)
    if way is None:
        way = plan.ways_back[mask] = WayBack(op, plan, mask)
    node = _new(kind or ElementwiseNode)
    node.way = way
    node.hooks = None
    node.edges = edges
    node.sequence = next_sequence()  # last: an edge may make the node of a view
    used = way.used
    if way.saves_nothing:
        node.saved = node.versions = node.numbers = ()
        result._node = node
        result._requires_grad = True
        return
    if way.uses_out:
        # not the result itself, which holds the node: that would be a cycle
        held = [args[k] for k in used]
        held.append(result.detach())
        node.saved = saved = tuple(held)
        node.versions = tuple([t._storage.version for t in saved])
    elif not used:
        node.saved = node.versions = ()
    elif len(used) == 1:
        only = args[used[0]]
        node.saved = (only,)
        node.versions = (only._storage.version,)
    else:
        node.saved = saved = tuple([args[k] for k in used])
        node.versions = tuple([t._storage.version for t in saved])
    numbers = plan.numbers
    node.numbers = tuple([args[k] for k in numbers]) if numbers else ()
    result._node = node
    result._requires_grad = True


def keep_target(
    op: Elementwise, plan: Plan, target: Tensor, args: Sequence[Any]
) -> Tensor | None:
    """Return a copy of what an in-place call is about to overwrite, with its history,
    if the way back uses it."""
    if not any(args[k] is target for k in _way(op, plan, args).used):
        return None
    kept = empty(target._spec)  # the kernels of the way back expect its strides
    kept.copy_(target.detach())
    kept._storage.version = 0
    if target.requires_grad:
        kept._node = target.grad_fn
        kept._output = target._output
        kept._requires_grad = True
    return kept


def _way(op: Elementwise, plan: Plan, args: Sequence[Any]) -> WayBack:
    mask = 0
    for k in plan.tensors:
        if args[k].requires_grad:
            mask |= 1 << k
    way = plan.ways_back.get(mask)
    if way is None:
        way = plan.ways_back[mask] = WayBack(op, plan, mask)
    return way


def record_in_place(
    op: Elementwise,
    plan: Plan,
    target: Tensor,
    args: Sequence[Any],
    versions: list[int],
    before: Any,
    kept: Tensor | None,
) -> None:
    """Put a call that changed `target` on the tape, as its new history.

    `before` and `kept` are the target's edge and value before the change.
    """
    way = _way(op, plan, args)
    node = _new(ElementwiseNode)
    node.way = way
    node.hooks = None
    node.edges = tuple(
        [before if args[k] is target else edge(args[k]) for k in way.wanted]
    )
    node.sequence = next_sequence()
    held = [kept if args[k] is target else args[k] for k in way.used]
    order = {k: n for n, k in enumerate(plan.tensors)}
    then = [0 if args[k] is target else versions[order[k]] for k in way.used]
    if way.uses_out:
        held.append(target.detach())
        then.append(target._storage.version)
    node.saved = tuple(held)
    node.versions = tuple(then)
    node.numbers = tuple([args[k] for k in plan.numbers])
    own = [n for n, k in enumerate(way.wanted) if args[k] is target]
    target.replace_history(node, own[0] if own else None)


class WayBack:
    """How the cotangents of some arguments follow from that of the result.

    Made once per plan and set of wanted arguments: the vjp expressions are evaluated
    symbolically, which shows what they use, hence what must be saved.
    """

    __slots__ = (
        "op",
        "plan",
        "wanted",
        "used",
        "uses_out",
        "saves_nothing",
        "passed",
        "compiled",
    )

    def __init__(self, op: Elementwise, plan: Plan, mask: int) -> None:
        assert op.vjps is not None
        self.op = op
        self.plan = plan
        self.wanted = tuple(k for k in plan.tensors if mask >> k & 1)
        self.compiled: dict[Spec, Any] = {}
        used: set[str] = set()
        self.passed: dict[int, bool] = {}
        values = {NAMES[k]: var(NAMES[k], self._dtype(k)) for k in range(op.arity)}
        g = var("g", plan.out.dtype.name)
        out = var("out", plan.out.dtype.name)
        for k, result in zip(self.wanted, self._vjps(values, g, out), strict=True):
            _collect(result, used)
            self.passed[k] = result is g and self._dtype(k) == plan.out.dtype.name
        self.used = tuple(k for k in plan.tensors if NAMES[k] in used)
        self.uses_out = "out" in used
        self.saves_nothing = not (self.used or self.uses_out or plan.numbers)

    def _dtype(self, k: int) -> str:
        spec = self.plan.specs[k]
        if type(spec) is Spec:
            return spec.dtype.name
        return self.op.carrier(self.plan, k)

    def _vjps(self, values: dict[str, Expr], g: Expr, out: Expr) -> list[Expr]:
        """Evaluate the wanted rules in the dtype the operator computes in."""
        assert self.op.vjps is not None
        args = self.op.operands(values, self.plan.compute)
        results = []
        for k in self.wanted:
            rule = self.op.vjps[k]
            assert rule is not None
            value = rule(g, *args, out)
            if not isinstance(value, Expr):
                value = g * 0 + value
            results.append(value)
        return results

    def compile(self, grad: Spec) -> Any:
        """Plan the kernels for a cotangent of this spec.

        One nest stores the cotangents of arguments that were not broadcast and, with
        them, reduces those that share one set of broadcast dims; each further set has
        a nest of its own. A cotangent that is `g` itself needs none.
        """
        plan = self.plan
        shape = plan.shape
        assert type(grad) is Spec
        groups: dict[frozenset[int], list[int]] = {}
        stores: list[int] = []
        for k in self.wanted:
            dims = _broadcast_dims(plan.specs[k].shape, shape)
            if dims:
                groups.setdefault(dims, []).append(k)
            elif not (self.passed[k] and grad.shape == plan.specs[k].shape):
                stores.append(k)
        jobs = []
        if not groups and stores:
            jobs.append(self._job(grad, stores, frozenset(), []))
        for number, (dims, members) in enumerate(groups.items()):
            jobs.append(self._job(grad, stores if number == 0 else [], dims, members))
        self.compiled[grad] = jobs
        if len(self.compiled) > 64:
            self.compiled = {grad: jobs}
        return jobs

    def _job(
        self, grad: Spec, stores: list[int], dims: frozenset[int], reduced: list[int]
    ) -> Any:
        plan, op = self.plan, self.op
        shape = plan.shape
        sources = [("g", grad)]
        sources += [(NAMES[k], plan.specs[k]) for k in self.used]
        if self.uses_out:
            sources.append(("out", plan.out))
        picked = (*stores, *reduced)
        # only what these results use is read
        used: set[str] = set()
        symbols = {NAMES[k]: var(NAMES[k], self._dtype(k)) for k in range(op.arity)}
        which = [self.wanted.index(k) for k in picked]
        symbolic = self._vjps(
            symbols, var("g", grad.dtype.name), var("out", plan.out.dtype.name)
        )
        for w in which:
            _collect(symbolic[w], used)
        chosen = [n for n, (name, _) in enumerate(sources) if name in used] or [0]
        inputs = [
            launch.Input(
                name if name != "out" else "result",
                s.dtype.name,
                expand_strides(s.shape, s.strides, shape),
            )
            for name, s in (sources[n] for n in chosen)
        ]
        scalars = tuple((NAMES[k], self._dtype(k)) for k in plan.numbers)

        def build(values: dict[str, Expr]) -> list[Expr]:
            full = {
                NAMES[k]: values.get(NAMES[k], var("unused", self._dtype(k)))
                for k in range(op.arity)
            }
            unused = var("unused", plan.out.dtype.name)
            results = self._vjps(
                full, values.get("g", unused), values.get("result", unused)
            )
            kinds = [plan.specs[k].dtype.name for k in picked]
            return [
                cast(results[w], kind) for w, kind in zip(which, kinds, strict=True)
            ]

        kinds = tuple(s.dtype.name if type(s) is Spec else s for s in plan.specs)
        key = (
            "backward",
            op,
            plan.compute.name,
            kinds,
            self.wanted,
            picked,
            used_key(used),
        )
        body = launch.Body(key, f"{op.name}_backward", build, scalars)
        outs = []
        for k in stores:
            s = plan.specs[k]
            dense = contiguous_spec(s.dtype, s.shape, s.device)
            outs.append((k, dense))
        if not dims:
            call = launch.elementwise(
                shape,
                [(s.dtype.name, s.strides) for _, s in outs],
                inputs,
                body,
                plan.out.device,
            )
            steps = launch.Steps([(call, list(range(len(outs) + len(inputs))))], [], 0)
        else:
            steps = launch.reduction(
                shape,
                dims,
                [
                    launch.Reduced(plan.specs[k].dtype.name, COMBINES["sum"])
                    for k in reduced
                ],
                [(s.dtype.name, s.strides) for _, s in outs],
                inputs,
                body,
                plan.out.device,
            )
        specs = [s for _, s in outs]
        specs += [
            contiguous_spec(
                plan.specs[k].dtype, tuple(plan.specs[k].shape), plan.out.device
            )
            for k in reduced
        ]
        # a nest over no points has nothing to run; its sums are 0
        if 0 in shape:
            return (None, None, tuple(which), tuple(specs), tuple(chosen))
        return (steps.only, steps, tuple(which), tuple(specs), tuple(chosen))


def used_key(used: set[str]) -> tuple[str, ...]:
    """Return a set of names as a key."""
    return tuple(sorted(used))


def _collect(value: Expr, into: set[str]) -> None:
    stack = [value]
    seen: set[int] = set()
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.op == "var":
            into.add(str(node.value))
        stack.extend(node.args)


def _broadcast_dims(small: Sequence[int], shape: Sequence[int]) -> frozenset[int]:
    lead = len(shape) - len(small)
    dims = list(range(lead))
    dims += [
        d for d in range(lead, len(shape)) if small[d - lead] == 1 and shape[d] != 1
    ]
    return frozenset(dims)


class ElementwiseNode(Node):
    """The record of an elementwise call; the result, if saved, is the last saved."""

    __slots__ = ("way", "numbers")

    way: WayBack
    numbers: tuple[Any, ...]

    def name(self) -> str:
        return self.way.op.node_name

    def backward(self, grad: Tensor) -> Sequence[Tensor | None]:
        way = self.way
        saved = self.saved
        if saved:
            if saved is _FREED:
                self.check_saved()
            for held, version in zip(saved, self.versions):  # noqa: B905
                if held._storage.version != version:
                    self.check_saved()
        if grad_mode.enabled:
            return self._differentiable(grad, saved)
        compiled = way.compiled.get(grad._spec)
        if compiled is None:
            compiled = way.compile(grad._spec)
        sources = (grad, *saved)
        cotangents = [grad] * len(way.wanted)
        for call, steps, places, specs, chosen in compiled:
            if call is not None and len(places) == 1:
                made = empty(specs[0])
                call.run(
                    call.kernel,
                    call.n,
                    made._pointer,
                    *[sources[c]._pointer for c in chosen],
                    call.table,
                    *self.numbers,
                )
                cotangents[places[0]] = made
                continue
            several = [empty(s) for s in specs]
            if steps is None:
                for made in several:
                    made.zero_()
            else:
                pointers = [made._pointer for made in several]
                pointers += [sources[c]._pointer for c in chosen]
                steps.run(pointers, self.numbers)
            for place, made in zip(places, several, strict=True):
                cotangents[place] = made
        return cotangents

    def _differentiable(
        self, grad: Tensor, saved: Sequence[Tensor]
    ) -> Sequence[Tensor | None]:
        """Evaluate the vjps on Tensors, so that the way back is recorded itself."""
        way = self.way
        op, plan = way.op, way.plan
        args: list[Any] = [None] * op.arity
        for k, t in zip(way.used, saved, strict=False):
            args[k] = t
            if plan.compute is not t.dtype and op.roles[k] == "t":
                args[k] = t.to(plan.compute)
        for k, number in zip(plan.numbers, self.numbers, strict=True):
            args[k] = number
        out = None
        if way.uses_out:
            out = saved[-1].detach()
            out._node = self
            out._requires_grad = True
        assert op.vjps is not None
        results = []
        for k in way.wanted:
            rule = op.vjps[k]
            assert rule is not None
            value = rule(grad, *args, out)
            spec = plan.specs[k]
            if not isinstance(value, Tensor):
                value = grad * 0 + value
            value = value.sum_to_size(spec.shape)
            results.append(value if value.dtype is spec.dtype else value.to(spec.dtype))
        return results
