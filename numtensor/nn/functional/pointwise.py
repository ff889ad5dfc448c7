"""Losses that are an expression of corresponding elements, then a mean or a sum.

A `Pointwise` holds the expression and its derivatives. Its mean is one kernel, which
computes and reduces, and its way back is one kernel, which computes the derivatives
times the cotangent of the mean. No single loss is here, and nothing that needs a whole
row to compute an element.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ... import launch
from ...dtypes import int64
from ...elementwise import Elementwise
from ...elementwise import Plan as ElementwisePlan
from ...errors import ShapeError, message, warn
from ...kernels.expr import Expr, cast, var
from ...kernels.loops import COMBINES
from ...layout import expand_strides
from ...memory import empty, result_of
from ...names.rules import unify
from ...ops import m
from ...ops.declare import composed
from ...spec import Spec, contiguous_spec, spec
from ...tape import grad_mode
from ...tensor import Tensor
from ...wayback import NAMES, ElementwiseNode, record

_MOST_PLANS = 4000
REDUCTIONS = ("none", "mean", "sum")


class Plan:
    """What the layouts of the operands and a reduction decide."""

    __slots__ = ("out", "steps", "only", "op", "each", "numbers", "factor", "tensors")

    out: Spec
    steps: Any
    only: Any  # the one launch of `steps`, if it is one
    op: Elementwise  # whose way back is the loss's
    each: ElementwisePlan
    numbers: tuple[float, ...]  # of the kernel, besides the operator's own
    factor: tuple[float, ...]  # by which `op` scales each element's loss
    tensors: int


class Pointwise:
    """A loss computed element by element, and reduced.

    `forward` maps expressions to an expression, `vjps` are as those of `Elementwise`
    and may not use `out`. Arguments are tensors, which broadcast, then
    `numbers` numbers; `tensors` says how many where the function does not.
    """

    def __init__(
        self,
        name: str,
        forward: Callable[..., Expr],
        vjps: tuple[Callable[..., Any] | None, ...],
        numbers: int = 0,
        node_name: str = "",
        tensors: int | None = None,
    ) -> None:
        if tensors is None:
            tensors = forward.__code__.co_argcount - numbers
        roles = "t" * tensors + "s" * numbers
        self.name = name
        self.tensors = tensors
        self.each = Elementwise(
            name, forward, vjps, rule="floats", roles=roles, node_name=node_name
        )
        # the same, scaled by a last argument: what a mean's cotangent goes through
        self.scaled = Elementwise(
            name,
            lambda *args: forward(*args[:-1]),
            (*[_scaled(rule) for rule in vjps], None),
            rule="floats",
            roles=roles + "s",
            node_name=self.each.node_name,
        )
        self.plans: dict[Any, Plan] = {}
        self.pairs: dict[Any, Plan] = {}  # those of two tensors, for `of_two`

    def __repr__(self) -> str:
        return f"<pointwise loss {self.name}>"

    def __call__(
        self, reduction: str, *args: Any, divisor: float | None = None
    ) -> Tensor:
        """Return the loss of each element, their mean, or their sum.

        With `divisor` the sum is divided by it, whatever the reduction's name.
        Raises: ValueError, another reduction; ShapeError, DTypeError, DeviceError.
        """
        if reduction == "none":
            return self.each(*args)
        try:
            specs = [a._spec for a in args[: self.tensors]]
            key = (reduction, divisor, *specs)
            plan = self.plans[key]
        except (KeyError, AttributeError):
            args = tuple(self.each.arguments(args))
            plan = self._plan(reduction, divisor, args)
        result = empty(plan.out)
        only = plan.only
        if only is not None:
            only.run(
                only.kernel,
                only.n,
                result._pointer,
                *[a._pointer for a in args[: plan.tensors]],
                only.table,
                *args[plan.tensors :],
                *plan.numbers,
            )
        else:
            pointers = [result._pointer]
            pointers += [a._pointer for a in args[: plan.tensors]]
            plan.steps.run(pointers, (*args[plan.tensors :], *plan.numbers))
        if grad_mode.enabled and plan.each.differentiable:
            for a in args[: plan.tensors]:
                if a.requires_grad:
                    record(plan.op, plan.each, result, args + plan.factor, ReducedNode)
                    break
        return result

    def _plan(self, reduction: str, divisor: float | None, args: Sequence[Any]) -> Plan:
        if reduction not in REDUCTIONS and divisor is None:
            raise unknown_reduction(self.name, reduction)
        given = [a._spec if isinstance(a, Tensor) else type(a) for a in args]
        self.each.dtypes(given)  # refuses with these arguments, not the scaled ones
        op = self.scaled
        factor: float | None = divisor
        if divisor is None and reduction == "sum":
            op = self.each
        plan = Plan()
        plan.op = op
        plan.each = each = op.plan([*given, float] if op is self.scaled else given)
        count = each.out.numel if factor is None else factor
        plan.tensors = self.tensors
        plan.numbers = (float(count),) if op is self.scaled else ()
        plan.factor = ()
        if op is self.scaled:
            plan.factor = (1.0 / count if count else 0.0,)
        on = each.out.device
        kind = each.out.dtype
        plan.out = contiguous_spec(kind, (), on)
        scalars = [
            (NAMES[k], self.each.carrier(each, k))
            for k in range(self.tensors, self.each.arity)
        ]
        finish = None
        if op is self.scaled:
            scalars.append(("count", "float64"))

            def finish(total: Expr) -> Expr:
                return total / cast(var("count", "float64"), total.dtype)

        loss = self.each
        body = launch.Body(
            ("pointwise", self, each.compute.name, op is self.scaled),
            f"{self.name}_{'sum' if finish is None else 'mean'}",
            lambda values: [loss._forward(values, each.compute)],
            tuple(scalars),
        )
        shape = each.shape
        inputs = [
            launch.Input(
                NAMES[k], s.dtype.name, expand_strides(s.shape, s.strides, shape)
            )
            for k, s in enumerate(given[: self.tensors])
        ]
        total = launch.Reduced(kind.name, COMBINES["sum"], finish)
        dims = frozenset(range(len(shape)))
        plan.steps = launch.reduction(shape, dims, [total], [], inputs, body, on)
        plan.only = plan.steps.only
        if len(self.plans) >= _MOST_PLANS:
            self.plans.clear()
            self.pairs.clear()
        key = (reduction, divisor, *given[: self.tensors])
        self.plans[key] = plan
        if self.tensors == 2 and divisor is None:
            self.pairs[reduction, given[0], given[1]] = plan
        return plan


def _scaled(rule: Callable[..., Any] | None) -> Callable[..., Any] | None:
    if rule is None:
        return None
    return lambda g, *args: rule(g * args[-2], *args[:-2], args[-1])


def of_two(loss: Pointwise) -> Callable[[Any, Any, str], Tensor]:
    """Return the fast way to call a loss of two tensors and no number.

    What it does not know goes to the loss itself, which fills the plans it looks up.
    """
    pairs = loss.pairs

    def call(x: Any, y: Any, reduction: str) -> Tensor:
        try:
            plan = pairs[reduction, x._spec, y._spec]
        except (KeyError, AttributeError):
            return loss(reduction, x, y)
        only = plan.only
        if only is None:
            return loss(reduction, x, y)
        result = empty(plan.out)
        only.run(
            only.kernel,
            only.n,
            result._pointer,
            x._pointer,
            y._pointer,
            only.table,
            *plan.numbers,
        )
        if (
            (
                x._requires_grad
                or y._requires_grad
                or (x._base is not None and x.requires_grad)
                or (y._base is not None and y.requires_grad)
            )
            and grad_mode.enabled
            and plan.each.differentiable
        ):
            record(plan.op, plan.each, result, (x, y, *plan.factor), ReducedNode)
        return result

    return call


class ReducedNode(ElementwiseNode):
    """The record of a mean or a sum: its cotangent is that of every element."""

    __slots__ = ()

    def backward(self, grad: Tensor) -> Sequence[Tensor | None]:
        each = self.way.plan.out
        found = grad._spec
        if grad_mode.enabled or found.dtype is not each.dtype or found.ndim:
            return super().backward(grad.expand(each.shape))
        key = "expanded"
        place = each.extra.get(key)
        if place is None:
            shape = tuple(each.shape)
            place = spec(each.dtype, shape, (0,) * len(shape), each.device)
            each.extra[key] = place
        seen = result_of(grad._storage, grad._pointer, place)
        seen._base = grad  # the memory is not this tensor's alone
        seen._seen = None
        return super().backward(seen)


def unknown_reduction(op: str, reduction: object) -> ShapeError:
    """Return the error of a reduction that is none."""
    return ShapeError(
        message(
            op,
            f"reduction={reduction!r}",
            "'none', 'mean' or 'sum'",
            f"{reduction} is not a valid value for reduction.",
        )
    )


def reduced(op: str, loss: Tensor, reduction: str) -> Tensor:
    """Return losses as they are, their mean, or their sum. Raises: ShapeError."""
    if reduction not in REDUCTIONS:
        raise unknown_reduction(op, reduction)
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def named_reduction(size_average: bool | None, reduce: bool | None) -> str:
    """Return the reduction that PyTorch's two old arguments mean, with its warning."""
    found = "none"
    if reduce is None or reduce:
        found = "mean" if size_average is None or size_average else "sum"
    warn(
        "size_average and reduce args will be deprecated, please use "
        f"reduction='{found}' instead."
    )
    return found


def warn_of_sizes(input: Tensor, target: Tensor) -> None:
    """Warn of a target that is broadcast, which is seldom meant."""
    warn(
        f"Using a target size ({target.size()}) that is different to the input size "
        f"({input.size()}). This will likely lead to incorrect results due to "
        "broadcasting. Please ensure they have the same size."
    )


def names_of_each(args: dict[str, Any]) -> Any:
    """The names of all tensors unified; those of a mean or a sum are none."""
    names = unify(args)
    reduction = args["reduction"]
    if args.get("size_average") is not None or args.get("reduce") is not None:
        reduction = "none" if args["reduce"] is False else "mean"
    return names if reduction == "none" else None


def declared(
    name: str,
    samples: Callable[..., Any],
    reference: Any = None,
    names: Any = names_of_each,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a loss; its samples have the default reduction or say theirs.

    Names of tensors must agree as those of elements do, unless `names` says otherwise.
    """
    return composed(
        name,
        room="nn.functional",
        dtypes="float",
        names=names,
        samples=samples,
        reference=reference,
    )


def two(make: Callable[..., Tensor]) -> list[Any]:
    """A sample of a loss of two tensors."""
    return [((make(3, 4), make(3, 4)), {})]


def sample_classes(make: Callable[..., Tensor], *shape: int) -> Tensor:
    """Return sample classes, 0 or 1."""
    return m.abs(make(*shape)).to(int64)


def weighted(forward: Any, vjps: Any) -> tuple[Any, Any]:
    """Return a loss and its rules with a last tensor that scales each element."""
    rules = [lambda g, *a, rule=rule: rule(g * a[-2], *a[:-2], a[-1]) for rule in vjps]
    rules.append(lambda g, *a: g * forward(*a[:-2]))
    return (lambda *a: forward(*a[:-1]) * a[-1]), tuple(rules)


def pair(name: str, rules: Any, tensors: int, node_name: str) -> Any:
    """Return a loss without and with weights."""
    forward, vjps = weighted(*rules)
    plain = Pointwise(name, rules[0], rules[1], 0, node_name)
    return plain, Pointwise(name, forward, vjps, 0, node_name, tensors + 1)


# What several losses are made of


def softplus_of_minus(x: Any) -> Any:
    """log(1 + exp(-x)) without overflow."""
    return m.maximum(-x, 0.0) + m.log1p(m.exp(-m.abs(x)))


#: the binary cross entropy of sigmoid(x), and its rules
LOGITS = (
    lambda x, y: (1 - y) * x + softplus_of_minus(x),
    (
        lambda g, x, y, out: g * (m.sigmoid(x) - y),
        lambda g, x, y, out: -(g * x),
    ),
)
