"""Elementwise operators: from one declaration to eager calls and their way back.

An `Elementwise` holds an expression and its vjp, nothing else that is specific to it.
From these come the forward kernel for each combination of dtypes and layouts, the
fused backward kernel (with the sums that undo broadcasting in it), in-place and
`out=` forms, and higher-order gradients (the same vjp, called with Tensors).

The hot path is a dictionary look-up by the operands' specs and one kernel call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import dtypes, launch
from .dtypes import BOOL, FLOAT, dtype
from .errors import AutogradError, DTypeError, ShapeError, message
from .kernels.expr import Expr, cast, var
from .kernels.loops import COMBINES
from .layout import broadcast_shapes, expand_strides, has_internal_overlap
from .layout import output_strides as _output_strides
from .spec import Spec, contiguous_spec, spec
from .tape import _FREED, Node, edge, grad_mode, next_sequence
from .tensor import Tensor, empty, overlap

_new: Any = object.__new__

#: typing rules: what dtype an operator computes in and what it returns
RULES = ("same", "float", "compare", "logical", "bitwise", "number", "copy")

_MOST_PLANS = 4000


class Plan:
    """All that one combination of operand specs decides, addresses apart."""

    __slots__ = (
        "out",
        "shelf",
        "nbytes",
        "run",
        "kernel",
        "n",
        "table",
        "differentiable",
        "compute",
        "specs",
        "shape",
        "tensors",
        "numbers",
        "ways_back",
        "launch",
    )


class Elementwise:
    """An operator computed element by element.

    `forward` maps expressions to an expression; `vjps` has one rule per argument,
    `(g, *args, out) -> cotangent`, or None where there is none, with `why` saying so.
    `roles` has a letter per argument: t takes part in dtype promotion, b is bool, s is
    a number in the dtype computed in.
    """

    def __init__(
        self,
        name: str,
        forward: Callable[..., Expr],
        vjps: tuple[Callable[..., Any] | None, ...] | None,
        *,
        rule: str = "same",
        roles: str = "",
        why: str = "",
        node_name: str = "",
        check: Callable[..., None] | None = None,
    ) -> None:
        code = forward.__code__
        self.name = name
        self.forward = forward
        self.arity = code.co_argcount
        self.vjps = vjps
        self.rule = rule
        self.roles = roles or "t" * self.arity
        self.why = why
        self.check = check
        self.node_name = node_name or _camel(name) + "Backward0"
        self.plans: dict[Any, Plan] = {}
        if rule not in RULES:
            raise ValueError(f"{name}: unknown typing rule {rule!r}")
        if vjps is None and not why:
            raise ValueError(f"{name}: an operator without a vjp must say why")
        if vjps is not None and len(vjps) != self.arity:
            raise ValueError(f"{name}: {self.arity} arguments and {len(vjps)} vjps")

    def __repr__(self) -> str:
        return f"<elementwise operator {self.name}>"

    # planning

    def dtypes(self, args: Sequence[Any]) -> tuple[dtype, dtype]:
        """Return the dtype computed in and the dtype of the result.

        `args` are specs and Python types of numbers. Raises: DTypeError.
        """
        dims, zero, numbers = [], [], []
        for arg, role in zip(args, self.roles, strict=True):
            if role != "t":
                continue
            if type(arg) is Spec:
                (dims if arg.ndim else zero).append(arg.dtype)
            else:
                numbers.append(_PYTHON[arg] or dtypes.get_default_dtype())
        common = dtypes.promote(dims, zero, numbers)
        rule = self.rule
        if rule == "float" and common.category != FLOAT:
            common = dtypes.get_default_dtype()
        if rule == "bitwise" and common.category == FLOAT:
            self._refuse(args, "integer or bool tensors", "Cast with x.to(nt.int64).")
        if rule == "number" and common.category == BOOL:
            self._refuse(
                args,
                "numbers, not bool",
                "Use logical_xor, logical_not or bitwise operators on masks.",
            )
        if rule in ("compare", "logical"):
            return common, dtypes.bool_
        return common, common

    def _refuse(self, args: Sequence[Any], expected: str, do: str) -> None:
        got = " and ".join(
            str(a.dtype) if type(a) is Spec else a.__name__ for a in args
        )
        raise DTypeError(message(self.name, got, expected, do))

    def plan(self, args: Sequence[Any], into: Spec | None = None) -> Plan:
        """Work out the call for operands described by specs and number types.

        With `into`, results are stored in a tensor of that spec instead of a new one.
        """
        tensors = [k for k, a in enumerate(args) if type(a) is Spec]
        if self.rule == "copy":
            assert into is not None
            result = into.dtype
            compute = args[0].dtype if tensors else result
            shape = tuple(into.shape)
        else:
            compute, result = self.dtypes(args)
            shape = broadcast_shapes(self.name, *[tuple(args[k].shape) for k in tensors])
        strides = [expand_strides(args[k].shape, args[k].strides, shape) for k in tensors]
        if into is None:
            if all(args[k].contiguous for k in tensors if args[k].shape == shape):
                out = contiguous_spec(result, shape)
            else:
                fitted = _output_strides(shape, strides)
                out = spec(result, shape, fitted)
        else:
            out = self._fit(into, shape, result)
        plan = Plan()
        plan.out = out
        plan.shelf = out.shelf
        plan.nbytes = out.nbytes
        plan.compute = compute
        plan.shape = shape
        plan.specs = tuple(args)
        plan.tensors = tuple(tensors)
        plan.numbers = tuple(k for k in range(len(args)) if k not in tensors)
        plan.differentiable = self.vjps is not None and out.dtype.category == FLOAT
        plan.ways_back = {}
        carrier = "float64" if compute.category == FLOAT else "int64"
        scalars = tuple(
            (_NAMES[k], "int64" if self.roles[k] == "b" else carrier)
            for k in plan.numbers
        )
        kinds = tuple(None if k in plan.numbers else args[k].dtype.name for k in range(len(args)))
        body = launch.Body(
            ("forward", self, compute.name, kinds),
            self.name,
            lambda operands: [self._forward(operands, compute)],
            scalars,
        )
        inputs = [
            launch.Input(_NAMES[k], args[k].dtype.name, s)
            for k, s in zip(tensors, strides, strict=True)
        ]
        plan.launch = call = launch.elementwise(
            shape, [(out.dtype.name, out.strides)], inputs, body
        )
        plan.run = call.run if out.numel else _nothing
        plan.kernel, plan.n, plan.table = call.kernel, call.n, call.table
        return plan

    def _fit(self, into: Spec, shape: tuple[int, ...], result: dtype) -> Spec:
        if into.shape != shape:
            raise ShapeError(
                message(
                    self.name,
                    f"an output of shape {list(into.shape)}",
                    f"the broadcast shape {list(shape)}",
                    f"output with shape {list(into.shape)} doesn't match the broadcast "
                    f"shape {list(shape)}. Use the operator that returns a new tensor.",
                )
            )
        if not dtypes.can_cast(result, into.dtype):
            raise DTypeError(
                message(
                    self.name,
                    f"a result of {result} to store in {into.dtype}",
                    "a dtype of the same category",
                    f"result type {result.name} can't be cast to the desired output "
                    f"type {into.dtype.name}. Use the operator that returns a new "
                    "tensor.",
                )
            )
        return into

    def operands(self, values: dict[str, Expr], compute: dtype) -> list[Expr]:
        """Return the loaded arguments in the dtypes that the expressions expect."""
        found = []
        for k, role in enumerate(self.roles):
            value = values[_NAMES[k]]
            if role == "b" or self.rule == "logical":
                found.append(cast(value, "bool"))
            elif self.rule == "copy":
                found.append(cast(value, compute.name))
            elif compute.category == BOOL and self.rule != "bitwise":
                found.append(cast(value, "uint8"))  # True + True is True, by way of 2
            else:
                found.append(cast(value, compute.name))
        return found

    def _forward(self, values: dict[str, Expr], compute: dtype) -> Expr:
        return self.forward(*self.operands(values, compute))

    # calling

    def __call__(self, *args: Any, out: Tensor | None = None) -> Tensor:
        if len(args) != self.arity:
            raise TypeError(f"{self.name}: got {len(args)} arguments; expected {self.arity}")
        if out is not None:
            return self.store(out, args, "out=")
        key = tuple([a._spec if isinstance(a, Tensor) else type(a) for a in args])
        plan = self.plans.get(key)
        if plan is None:
            args = self.arguments(args)
            key = tuple([a._spec if isinstance(a, Tensor) else type(a) for a in args])
            plan = self.plans.get(key) or self._remember(key, self.plan(key))
        if self.check is not None:
            self.check(*args)
        result = empty(plan.out)
        plan.run(
            plan.kernel,
            plan.n,
            result._pointer,
            *[args[k]._pointer for k in plan.tensors],
            plan.table,
            *[args[k] for k in plan.numbers],
        )
        if plan.differentiable and grad_mode.enabled:
            for k in plan.tensors:
                if args[k].requires_grad:
                    self.record(plan, result, args)
                    break
        return result

    def _remember(self, key: Any, plan: Plan) -> Plan:
        if len(self.plans) >= _MOST_PLANS:
            self.plans.clear()
        self.plans[key] = plan
        return plan

    def arguments(self, args: Sequence[Any]) -> list[Any]:
        """Return the arguments as Tensors and plain Python numbers.

        Raises: DTypeError, something that is neither.
        """
        found = [as_operand(self.name, a) for a in args]
        if self.rule != "copy" and not any(isinstance(a, Tensor) for a in found):
            raise DTypeError(
                message(
                    self.name,
                    ", ".join(type(a).__name__ for a in args),
                    "at least one Tensor",
                    "Make one with nt.tensor(...).",
                )
            )
        return found

    def unary(self) -> Callable[[Tensor], Tensor]:
        """Return the fast way to call an operator of one tensor."""
        plans = self.plans
        general = self.__call__

        def call(x: Tensor) -> Tensor:
            try:
                plan = plans[x._spec]  # type: ignore[index]
            except (KeyError, AttributeError):
                if not isinstance(x, Tensor):
                    return general(x)
                plan = self._remember(x._spec, self.plan((x._spec,)))
            if self.check is not None:
                self.check(x)
            result = empty(plan.out)
            plan.run(
                plan.kernel, plan.n, result._pointer, x._pointer, plan.table
            )
            # a view may owe its history to its base: `requires_grad` looks it up
            if (
                (x._requires_grad or x._base is not None)
                and plan.differentiable
                and grad_mode.enabled
                and x.requires_grad
            ):
                self.record(plan, result, (x,))
            return result

        return call

    def binary(
        self, otherwise: Callable[[Any, Any], Any] | None = None
    ) -> Callable[[Any, Any], Tensor]:
        """Return the fast way to call an operator of two tensors.

        What the fast way does not know goes to `otherwise`, or the general call.
        """
        plans = self.plans
        general = otherwise or self.__call__
        record = self.record
        if self.check is not None:
            return general

        def call(x: Any, y: Any) -> Tensor:
            kind = type(y)
            if kind is float or kind is int:
                try:
                    plan = plans[x._spec, kind]
                except (KeyError, AttributeError):
                    return general(x, y)
                result = empty(plan.out)
                plan.run(
                    plan.kernel,
                    plan.n,
                    result._pointer,
                    x._pointer,
                    plan.table,
                    y,
                )
                if (
                    (x._requires_grad or x._base is not None)
                    and plan.differentiable
                    and grad_mode.enabled
                    and x.requires_grad
                ):
                    record(plan, result, (x, y))
                return result
            try:
                plan = plans[x._spec, y._spec]
            except (KeyError, AttributeError):
                return general(x, y)
            result = empty(plan.out)
            plan.run(
                plan.kernel,
                plan.n,
                result._pointer,
                x._pointer,
                y._pointer,
                plan.table,
            )
            # a view may owe its history to its base: `requires_grad` looks it up
            if (
                (
                    x._requires_grad
                    or y._requires_grad
                    or x._base is not None
                    or y._base is not None
                )
                and plan.differentiable
                and grad_mode.enabled
                and (x.requires_grad or y.requires_grad)
            ):
                record(plan, result, (x, y))
            return result

        return call

    def reflected(
        self, otherwise: Callable[[Any, Any], Any]
    ) -> Callable[[Any, Any], Tensor]:
        """Return the fast way to call with a number on the left: 2 * x."""
        plans = self.plans
        record = self.record
        if self.check is not None:
            return lambda x, y: otherwise(y, x)

        def call(x: Any, y: Any) -> Tensor:
            plan = plans.get((type(y), x._spec))
            if plan is None:
                return otherwise(y, x)
            result = empty(plan.out)
            plan.run(
                plan.kernel, plan.n, result._pointer, x._pointer, plan.table, y
            )
            if plan.differentiable and grad_mode.enabled and x.requires_grad:
                record(plan, result, (y, x))
            return result

        return call

    def augmented(self) -> Callable[[Any, Any], Tensor]:
        """Return the fast way to change a tensor in place by another: x += y."""
        plans = self.plans
        general = self.in_place
        if self.check is not None:
            return general

        def call(x: Any, y: Any) -> Tensor:
            if grad_mode.enabled and x.requires_grad:
                return general(x, y)
            try:
                plan = plans["into", x._spec, x._spec, y._spec]
            except (KeyError, AttributeError):
                return general(x, y)
            if x._storage is y._storage or (grad_mode.enabled and y.requires_grad):
                return general(x, y)
            plan.run(
                plan.kernel, plan.n, x._pointer, x._pointer, y._pointer, plan.table
            )
            x._storage.version += 1
            return x

        return call

    def in_place(self, target: Tensor, *others: Any) -> Tensor:
        """Store the result of `self(target, *others)` in `target`.

        Raises: AutogradError, a leaf that requires grad; ShapeError, a result larger
        than the target, or a target whose elements share memory; DTypeError.
        """
        return self.store(target, (target, *others), "in place")

    def store(self, target: Tensor, args: Sequence[Any], how: str) -> Tensor:
        """Store the result in an existing tensor; `in_place` and `out=` meet here."""
        args = self.arguments(args)
        recorded = grad_mode.enabled and (
            (target.requires_grad and how != "out=")
            or any(isinstance(a, Tensor) and a.requires_grad for a in args)
        )
        if how == "out=" and grad_mode.enabled and (recorded or target._requires_grad):
            raise AutogradError(
                message(
                    self.name,
                    "out= while a tensor requires grad",
                    "no recorded operands",
                    f"{self.name}(): functions with out=... arguments don't support "
                    "automatic differentiation. Use it inside no_grad().",
                )
            )
        target = writable(self.name, target, recorded)
        specs = [a._spec if isinstance(a, Tensor) else type(a) for a in args]
        key = ("into", target._spec, *specs)
        plan = self.plans.get(key)
        if plan is None:
            plan = self._remember(key, self.plan(specs, target._spec))
        if self.check is not None:
            self.check(*args)
        for k in plan.tensors:
            args[k] = apart(self.name, target, args[k])
        versions = [args[k]._storage.version for k in plan.tensors]
        before = edge(target) if recorded else None
        plan.run(
            plan.kernel,
            plan.n,
            target._pointer,
            *[args[k]._pointer for k in plan.tensors],
            plan.table,
            *[args[k] for k in plan.numbers],
        )
        target._storage.version += 1
        if recorded and plan.differentiable:
            self.record_in_place(plan, target, args, versions, before)
        return target

    # recording

    def record(self, plan: Plan, result: Tensor, args: Sequence[Any]) -> None:
        """Put the call on the tape."""
        mask = 0
        for k in plan.tensors:
            if args[k].requires_grad:
                mask |= 1 << k
        way = plan.ways_back.get(mask)
        if way is None:
            way = plan.ways_back[mask] = WayBack(self, plan, mask)
        node = _new(ElementwiseNode)
        node.way = way
        node.sequence = next_sequence()
        node.hooks = None
        wanted = way.wanted
        if len(wanted) == 1:
            node.edges = (edge(args[wanted[0]]),)
        else:
            node.edges = tuple([edge(args[k]) for k in wanted])
        used = way.used
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

    def record_in_place(
        self,
        plan: Plan,
        target: Tensor,
        args: Sequence[Any],
        versions: list[int],
        before: Any,
    ) -> None:
        """Put a call that changed `target` on the tape, as its new history."""
        mask = 0
        for k in plan.tensors:
            if args[k].requires_grad:
                mask |= 1 << k
        way = plan.ways_back.get(mask)
        if way is None:
            way = plan.ways_back[mask] = WayBack(self, plan, mask)
        node = _new(ElementwiseNode)
        node.way = way
        node.sequence = next_sequence()
        node.hooks = None
        node.edges = tuple(
            [before if args[k] is target else edge(args[k]) for k in way.wanted]
        )
        # the target itself is saved under its old version, so that using it is an
        # error that names this operator
        held = [args[k].detach() if args[k] is target else args[k] for k in way.used]
        order = {k: n for n, k in enumerate(plan.tensors)}
        then = [versions[order[k]] for k in way.used]
        if way.uses_out:
            held.append(target.detach())
            then.append(target._storage.version)
        node.saved = tuple(held)
        node.versions = tuple(then)
        node.numbers = tuple([args[k] for k in plan.numbers])
        own = [n for n, k in enumerate(way.wanted) if args[k] is target]
        target.replace_history(node, own[0] if own else None)


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _nothing(*slots: Any) -> None:
    """Stand in for the kernel call where there are no elements."""


_PYTHON = {bool: dtypes.bool_, int: dtypes.int64, float: None}
_NAMES = ("x", "y", "z", "w", "v", "u")
_NUMBERS = (bool, int, float)


def as_operand(op: str, value: Any) -> Any:
    """Return a Tensor as it is, and any number as a plain Python number.

    Raises: DTypeError, something that is neither.
    """
    if isinstance(value, Tensor) or type(value) in _NUMBERS:
        return value
    from .tensor import as_number

    return as_number(op, value)


def writable(op: str, target: Tensor, recorded: bool) -> Tensor:
    """Check that `target` may be written to.

    Raises: AutogradError, a leaf (or a view of one) that requires grad; ShapeError,
    elements that share memory.
    """
    if grad_mode.enabled:
        base = target._base
        if target._requires_grad and target._node is None and base is None:
            _refuse_leaf(op, "a leaf Variable that requires grad")
        if base is not None:
            if base._requires_grad and base._node is None:
                _refuse_leaf(op, "a view of a leaf Variable that requires grad")
            node = target._node
            if node is not None and node.outputs > 1 and (
                recorded or target._requires_grad
            ):
                raise AutogradError(
                    message(
                        op,
                        f"output {target._output} of {node.name()}, one of many views",
                        "a tensor that may be modified",
                        "This view is the output of a function that returns multiple "
                        "views. Such functions do not allow the output views to be "
                        "modified inplace. Index the tensor instead.",
                    )
                )
    if has_internal_overlap(target._spec.shape, target._spec.strides):
        raise ShapeError(
            message(
                op,
                f"an output of shape {list(target.shape)} and strides "
                f"{list(target._spec.strides)}",
                "elements that do not share memory",
                "unsupported operation: more than one element of the written-to tensor "
                "refers to a single memory location. Please clone() the tensor before "
                "performing the operation.",
            )
        )
    return target


def _refuse_leaf(op: str, what: str) -> None:
    raise AutogradError(
        message(
            op,
            what,
            "a tensor whose history may change",
            f"{what} is being used in an in-place operation. Do it inside no_grad(), "
            "or use the operator that returns a new tensor.",
        )
    )


def apart(op: str, target: Tensor, source: Any) -> Any:
    """Return `source` so that writing `target` cannot change it before it is read.

    Raises: ShapeError, the two overlap in part, as PyTorch refuses it.
    """
    if source is target or source._storage is not target._storage:
        return source
    status = overlap(target, source)
    if status == "none" or status == "full":
        return source
    if status == "unknown":
        return source.detach().clone() if not source._requires_grad else source.clone()
    raise ShapeError(
        message(
            op,
            "an output that overlaps an input in part",
            "memory that is the same or apart",
            "unsupported operation: some elements of the input tensor and the "
            "written-to tensor refer to a single memory location. Please clone() the "
            "tensor before performing the operation.",
        )
    )


class WayBack:
    """How the cotangents of some arguments follow from that of the result.

    Made once per plan and set of wanted arguments: the vjp expressions are evaluated
    symbolically, which shows what they use, hence what must be saved.
    """

    __slots__ = ("op", "plan", "wanted", "used", "uses_out", "passed", "compiled")

    def __init__(self, op: Elementwise, plan: Plan, mask: int) -> None:
        assert op.vjps is not None
        self.op = op
        self.plan = plan
        self.wanted = tuple(k for k in plan.tensors if mask >> k & 1)
        self.compiled: dict[Spec, Any] = {}
        used: set[str] = set()
        self.passed: dict[int, bool] = {}
        values = {
            _NAMES[k]: var(_NAMES[k], self._dtype(k)) for k in range(op.arity)
        }
        g = var("g", plan.out.dtype.name)
        out = var("out", plan.out.dtype.name)
        for k, result in zip(self.wanted, self._vjps(values, g, out), strict=True):
            _collect(result, used)
            self.passed[k] = result is g and self._dtype(k) == plan.out.dtype.name
        self.used = tuple(k for k in plan.tensors if _NAMES[k] in used)
        self.uses_out = "out" in used

    def _dtype(self, k: int) -> str:
        spec = self.plan.specs[k]
        if type(spec) is Spec:
            return spec.dtype.name
        if self.op.roles[k] == "b":
            return "int64"
        return "float64" if self.plan.compute.category == FLOAT else "int64"

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
        a nest of its own. Returns (what to run, results that are `g` itself).
        """
        plan, op = self.plan, self.op
        shape = plan.shape
        assert type(grad) is Spec
        groups: dict[frozenset[int], list[int]] = {}
        stores: list[int] = []
        passed: list[int] = []
        for k in self.wanted:
            dims = _broadcast_dims(plan.specs[k].shape, shape)
            if dims:
                groups.setdefault(dims, []).append(k)
            elif self.passed[k] and grad.shape == plan.specs[k].shape:
                passed.append(k)
            else:
                stores.append(k)
        jobs = []
        if not groups and stores:
            jobs.append(self._job(grad, stores, frozenset(), []))
        for number, (dims, members) in enumerate(groups.items()):
            jobs.append(self._job(grad, stores if number == 0 else [], dims, members))
        direct = None
        if len(jobs) == 1 and len(self.wanted) == 1:
            steps, results, chosen, nothing = jobs[0]
            if steps.only is not None and not nothing:
                direct = (steps.only, results[0][1], chosen)
        compiled = self.compiled[grad] = (jobs, passed, direct)
        if len(self.compiled) > 64:
            self.compiled.clear()
            self.compiled[grad] = compiled
        return compiled

    def _job(
        self, grad: Spec, stores: list[int], dims: frozenset[int], reduced: list[int]
    ) -> Any:
        plan, op = self.plan, self.op
        shape = plan.shape
        sources = [("g", grad)]
        sources += [(_NAMES[k], plan.specs[k]) for k in self.used]
        if self.uses_out:
            sources.append(("out", plan.out))
        picked = (*stores, *reduced)
        # only what these results use is read
        used: set[str] = set()
        symbols = {_NAMES[k]: var(_NAMES[k], self._dtype(k)) for k in range(op.arity)}
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
        scalars = tuple((_NAMES[k], self._dtype(k)) for k in plan.numbers)

        def build(values: dict[str, Expr]) -> list[Expr]:
            full = {
                _NAMES[k]: values.get(_NAMES[k], var("unused", self._dtype(k)))
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
        key = ("backward", op, plan.compute.name, kinds, self.wanted, picked, used_key(used))
        body = launch.Body(key, f"{op.name}_backward", build, scalars)
        outs = []
        for k in stores:
            s = plan.specs[k]
            dense = contiguous_spec(s.dtype, s.shape)
            outs.append((k, dense))
        if not dims:
            call = launch.elementwise(
                shape, [(s.dtype.name, s.strides) for _, s in outs], inputs, body
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
            )
        results = outs + [
            (k, contiguous_spec(plan.specs[k].dtype, plan.specs[k].shape))
            for k in reduced
        ]
        empty_space = 0 in shape
        return (steps, results, tuple(chosen), empty_space)


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
    dims = [d for d in range(lead)]
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
        jobs, passed, direct = compiled
        if direct is not None:
            call, found, chosen = direct
            made = empty(found)
            sources = (grad, *saved)
            call.run(
                call.kernel,
                call.n,
                made._pointer,
                *[sources[c]._pointer for c in chosen],
                call.table,
                *self.numbers,
            )
            return (made,)
        wanted = way.wanted
        if not jobs:
            return (grad,) * len(wanted)
        sources = (grad, *saved)
        cotangents: dict[int, Tensor] = {k: grad for k in passed}
        for steps, results, chosen, nothing in jobs:
            results_made = [empty(s) for _, s in results]
            if nothing:
                for t in results_made:
                    t.zero_()
            else:
                pointers = [t._pointer for t in results_made]
                pointers += [sources[c]._pointer for c in chosen]
                steps.run(pointers, self.numbers)
            for (k, _), t in zip(results, results_made, strict=True):
                cotangents[k] = t
        return [cotangents[k] for k in wanted]

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
