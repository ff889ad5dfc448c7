"""Reductions: from one declaration to eager calls and their way back.

A `Reduction` says how values join, what is done to each before and to the total
after. Plans are kept by spec, dims and dtype, as in `elementwise`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import dtypes, launch
from .dtypes import FLOAT, dtype
from .errors import DimError, DTypeError, message
from .kernels.expr import Expr, cast, var
from .kernels.loops import COMBINES, Combine
from .layout import normalize_dims, numel
from .memory import empty, result_of
from .names import boundary
from .spec import Spec, contiguous_spec, spec
from .tape import Node, edge, grad_mode, next_sequence
from .tensor import Tensor

_MOST_PLANS = 4000


class Plan:
    """What one layout, set of dims and dtype decide about a reduction."""

    __slots__ = (
        "out",
        "kept",
        "dims",
        "count",
        "steps",
        "input",
        "expanded",
        "cast_to",
        "differentiable",
        "scalars",
    )

    out: Spec
    kept: tuple[int, ...]  # the shape with keepdim=True
    dims: tuple[int, ...]
    count: int  # elements that each result joins
    steps: Any
    input: Spec
    expanded: Spec  # the result's memory seen in the shape of the input
    cast_to: dtype | None
    differentiable: bool
    scalars: tuple[float, ...]


class Reduction:
    """An operator that joins elements along dims.

    `before(x)` is what an element contributes, `after(total, count)` what is stored;
    `vjp(g, x, out, plan)` returns the cotangent of the input and works on Tensors, `g`
    and `out` with the reduced dims kept. `saves` names what it needs: "x", "out" or
    both. `rule`: "sum" (integers become int64), "float" (needs floats), "same",
    "bool".
    """

    def __init__(
        self,
        name: str,
        combine: str,
        vjp: Callable[..., Tensor] | None,
        *,
        rule: str = "same",
        before: Callable[[Expr], Expr] | None = None,
        after: Callable[[Expr, Expr], Expr] | None = None,
        saves: str = "",
        empty_ok: bool = True,
        why: str = "",
        correction: bool = False,
    ) -> None:
        if vjp is None and not why:
            raise ValueError(f"{name}: an operator without a vjp must say why")
        self.name = name
        self.combine: Combine = COMBINES[combine]
        self.vjp = vjp
        self.rule = rule
        self.before = before
        self.after = after
        self.saves = saves
        self.empty_ok = empty_ok
        self.why = why
        self.correction = correction
        self.node_name = "".join(p.capitalize() for p in name.split("_")) + "Backward"
        self.plans: dict[Any, Plan] = {}

    def __repr__(self) -> str:
        return f"<reduction {self.name}>"

    def dtypes(self, given: dtype, wanted: dtype | None) -> tuple[dtype, dtype]:
        """Return the dtype computed in and the dtype of the result.

        Raises: DTypeError.
        """
        dtypes.check_computes(self.name, wanted or given)
        if self.rule == "sum":
            kind = wanted or (given if given.category == FLOAT else dtypes.int64)
            return kind, kind
        if self.rule == "float":
            kind = wanted or given
            if kind.category != FLOAT:
                raise DTypeError(
                    message(
                        self.name,
                        f"{given}",
                        "a floating-point dtype",
                        f"{self.name}(): could not infer output dtype. Input dtype "
                        f"must be either a floating point or complex dtype. Got: "
                        f"{_scalar_name(given)}. Use x.float().{self.name}().",
                    )
                )
            return kind, kind
        if self.rule == "bool":
            return given, dtypes.uint8 if given is dtypes.uint8 else dtypes.bool_
        return given, given

    def plan(
        self,
        given: Spec,
        dim: Any,
        keepdim: bool,
        wanted: dtype | None,
        correction: float | None = None,
    ) -> Plan:
        """Work out the call. Raises: DimError, DTypeError."""
        shape = tuple(given.shape)
        compute, result = self.dtypes(given.dtype, wanted)
        if dim is None or dim == ():
            dims = tuple(range(len(shape)))
        else:
            dims = normalize_dims(self.name, dim, len(shape))
        if not shape:
            dims = ()  # 0 and -1 are valid, and name nothing
        which = frozenset(dims)
        kept = tuple(1 if d in which else n for d, n in enumerate(shape))
        short = tuple(n for d, n in enumerate(shape) if d not in which)
        plan = Plan()
        plan.dims = tuple(sorted(which))
        plan.kept = kept
        plan.input = given
        plan.count = numel([shape[d] for d in which])
        if not self.empty_ok and plan.count == 0 and (numel(short) or dim is None):
            raise DimError(
                message(
                    self.name,
                    f"a tensor of shape {list(shape)}",
                    "at least one element along each reduced dim",
                    f"{self.name}(): Expected reduction dim to be specified for "
                    "input.numel() == 0. Specify the reduction dim with the 'dim' "
                    "argument: an empty dim has no "
                    f"{self.name}.",
                )
            )
        on = given.device
        plan.out = contiguous_spec(result, kept if keepdim else short, on)
        full = contiguous_spec(result, kept, on)
        plan.expanded = spec(
            result,
            shape,
            tuple(0 if d in which else s for d, s in enumerate(full.strides)),
            on,
        )
        plan.differentiable = self.vjp is not None and result.category == FLOAT
        plan.cast_to = given.dtype if given.dtype is not result else None
        scalars: tuple[tuple[str, str], ...] = ()
        plan.scalars = ()
        if self.after is not None:
            scalars = (("count", "float64"),)
            plan.scalars = (float(plan.count),)
        total = launch.Reduced(result.name, self.combine, self._finish)
        body = launch.Body(
            ("reduce", self, compute.name, result.name),
            self.name,
            lambda values: [self._value(values["x"], compute, result)],
            scalars,
        )
        source = launch.Input("x", given.dtype.name, given.strides)
        plan.steps = None
        if plan.out.numel:
            plan.steps = launch.reduction(shape, which, [total], [], [source], body, on)
        return plan

    def _value(self, x: Expr, compute: dtype, result: dtype) -> Expr:
        if self.rule == "bool":
            return cast(cast(x, "bool"), result.name)
        value = cast(x, compute.name)
        if self.before is not None:
            value = self.before(value)
        return value

    @property
    def _finish(self) -> Callable[[Expr], Expr] | None:
        after = self.after
        if after is None:
            return None
        return lambda total: after(total, cast(var("count", "float64"), total.dtype))

    def __call__(
        self,
        x: Tensor,
        dim: Any = None,
        keepdim: bool = False,
        dtype: dtype | None = None,
    ) -> Tensor:
        if not isinstance(x, Tensor):
            raise DTypeError(
                message(
                    self.name, f"a {type(x).__name__}", "a Tensor", "Use nt.tensor."
                )
            )
        key = (x._spec, tuple(dim) if type(dim) is list else dim, keepdim, dtype)
        plan = self.plans.get(key)
        if plan is None:
            if x._spec.names is not None:
                return boundary.reduction(self, x, dim, keepdim, dtype)
            if len(self.plans) >= _MOST_PLANS:
                self.plans.clear()
            plan = self.plans[key] = self.plan(x._spec, dim, keepdim, dtype)
        result = empty(plan.out)
        steps = plan.steps
        if steps is not None:
            call = steps.only
            if call is not None:
                call.run(
                    call.kernel,
                    call.n,
                    result._pointer,
                    x._pointer,
                    call.table,
                    *plan.scalars,
                )
            else:
                steps.run((result._pointer, x._pointer), plan.scalars)
        if (
            (x._requires_grad or x._base is not None)
            and plan.differentiable
            and grad_mode.enabled
            and x.requires_grad
        ):
            record(self, plan, x, result)
        return result


def record(op: Any, plan: Any, x: Tensor, result: Tensor) -> None:
    """Put a reduction on the tape."""
    saved = []
    if op.saves:
        if "x" in op.saves:
            saved.append(x)
        if "out" in op.saves:
            saved.append(result.detach())
    node = object.__new__(ReductionNode)
    node.op = op
    node.plan = plan
    node.edges = (edge(x),)
    node.sequence = next_sequence()
    node.hooks = None
    node.saved = tuple(saved)
    node.versions = tuple([t._storage.version for t in saved])
    result._node = node
    result._requires_grad = True


class ReductionNode(Node):
    """The record of a reduction."""

    __slots__ = ("op", "plan")

    op: Any
    plan: Any

    def name(self) -> str:
        # PyTorch numbers the overloads: 0 without dims, 1 with them
        overload = 0 if len(self.plan.dims) == self.plan.input.ndim else 1
        return f"{self.op.node_name}{overload}"

    def backward(self, grad: Tensor) -> Sequence[Tensor | None]:
        plan, op = self.plan, self.op
        if not op.saves and plan.cast_to is None and not grad_mode.enabled:
            # sum and mean: the cotangent's memory, seen in the shape of the input
            return (op.vjp(grad, None, None, plan),)
        saved = list(self.check_saved())
        x = saved.pop(0) if "x" in op.saves else None
        out = saved.pop(0) if "out" in op.saves else None
        if grad_mode.enabled and out is not None:
            out._node = self
            out._requires_grad = True
        grad = grad.reshape(plan.kept)
        if out is not None:
            out = out.reshape(plan.kept)
        value = op.vjp(grad, x, out, plan)
        if plan.cast_to is not None:
            value = value.to(plan.cast_to)
        return (value,)


def expand_result(g: Tensor, plan: Plan) -> Tensor:
    """Return a cotangent of the result seen in the shape of the input: a view."""
    found = g._spec
    if grad_mode.enabled or not found.contiguous or found.dtype is not plan.out.dtype:
        return g.reshape(plan.kept).expand(plan.input.shape)
    made = result_of(g._storage, g._pointer, plan.expanded)
    made._base = g  # the memory is not this tensor's alone
    made._seen = None
    return made


def _scalar_name(kind: dtype) -> str:
    return {
        "bool": "Bool",
        "uint8": "Byte",
        "int8": "Char",
        "int16": "Short",
        "int32": "Int",
        "int64": "Long",
        "float16": "Half",
        "float32": "Float",
        "float64": "Double",
    }[kind.name]
