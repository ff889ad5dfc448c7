"""Losses of scores over classes, where the target is a class: nll_loss, cross_entropy.

A call checks the classes, and is one kernel over rows and one sum (`by_hand`
`.cross_entropy`). Where a gradient will be wanted of a mean or a sum, the kernel of
cross_entropy stores it while the row is in cache, and the way back only scales it. A
gradient that is differentiated itself is made of public operators.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import dtypes, launch
from ...devices import CPU, Twin
from ...errors import (
    AutogradError,
    DimError,
    DTypeError,
    ShapeError,
    message,
    mixed_devices,
)
from ...kernels.by_hand import cross_entropy as kernels
from ...layout import numel
from ...memory import empty, result_of
from ...ops import m
from ...ops.arithmetic import mul
from ...ops.copies import contiguous
from ...ops.reductions import sum as sum_of
from ...ops.registry import function
from ...ops.softmax import LONGEST_ALONE, log_softmax, not_floating, softmax
from ...ops.views import reshape, unsqueeze
from ...places import HOST
from ...spec import Spec, contiguous_spec
from ...tape import _FREED, Node, edge, grad_mode
from ...tensor import Tensor
from . import _classes_traced
from .pointwise import (
    REDUCTIONS,
    declared,
    named_reduction,
    sample_classes,
    unknown_reduction,
)

_COST = 14
_MOST_PLANS = 4000


class _Plan:
    """What one combination of layouts, reduction and arguments decides."""

    __slots__ = (
        "op", "dim", "n", "inner", "count", "ignore", "reduction", "weighted",
        "smoothing", "dtype", "on", "given", "losses", "result", "number", "check",
        "weights", "forward", "both", "one", "back", "composed",
        "traced",
    )  # fmt: skip

    check: Any
    weights: Any
    one: Any
    forward: Any  # the kernel of losses, `both` that of losses and their gradient
    both: Any
    back: Any

    def __init__(
        self,
        op: str,
        x: Spec,
        target: Spec,
        weight: Spec | None,
        ignore: int,
        reduction: str,
        smoothing: float,
    ) -> None:
        if reduction not in REDUCTIONS:
            raise unknown_reduction(op, reduction)
        if not -(1 << 63) <= ignore < 1 << 63:
            fault = "Overflow when unpacking long long."
            got = f"ignore_index={ignore}"
            raise ShapeError(message(op, got, "a number that int64 holds", fault))
        if x.dtype.category != dtypes.FLOAT:
            raise not_floating(op, x)
        _check_shapes(op, x, target)
        if target.device is not x.device:
            raise mixed_devices(op, x.device, target.device)
        shape = tuple(x.shape)
        self.op = op
        self.dim = 0 if len(shape) == 1 else 1
        self.n = shape[self.dim]
        self.inner = numel(shape[2:])
        self.count = numel(tuple(target.shape))
        self.ignore = ignore
        self.reduction = reduction
        self.smoothing = (smoothing,) if smoothing else ()
        self.weighted = weight is not None
        if weight is not None:
            _check_weight(op, weight, x, self.n)
        kind = self.dtype = x.dtype
        on = self.on = x.device
        self.given = contiguous_spec(kind, shape, on)
        self.losses = contiguous_spec(kind, tuple(target.shape), on)
        self.number = contiguous_spec(kind, (), on)
        self.result = self.losses if reduction == "none" else self.number
        self.traced = type(on) is Twin
        self.one = 1.0 if self.traced else function("ones")((), dtype=kind, device=on)
        # a thread would walk a long row alone
        long = on is not CPU and self.inner == 1 and self.n > LONGEST_ALONE
        self.composed = (
            long and not self.traced and op == "cross_entropy" and not smoothing
        )
        self.check = self.weights = self.forward = self.both = self.back = None
        if not self.count or self.traced:
            return
        if on is CPU:
            self.check = launch.by_tasks(
                kernels.checked(kind.name, self.weighted), 1,
                (self.n, self.count, ignore),
            )  # fmt: skip
        else:
            self.weights = launch.by_tasks(
                kernels.target_weights(kind.name, self.weighted), self.count,
                (self.n, ignore), on,
            )  # fmt: skip
        self.forward = self.kernel(False)

    def kernel(self, slopes: bool) -> Any:
        """Plan the kernel of the losses, with or without their gradient."""
        flat, name = self.inner == 1, self.dtype.name
        if self.op == "nll_loss":
            text = kernels.nll(name, flat, self.weighted)
        else:
            smooth = bool(self.smoothing)
            text = kernels.cross_entropy(name, flat, self.weighted, smooth, slopes)
        return self.over_rows(text)

    def over_rows(self, text: Any) -> Any:
        numbers = (self.n, self.inner, self.ignore)
        cost = _COST * max(1, self.n)
        return launch.by_tasks(text, self.count, numbers, self.on, cost=cost)

    def share(self, target: Tensor, weight: tuple[int, ...]) -> Tensor:
        """Return what losses are divided by, after a look at the classes.

        A GPU is not stopped to look: there a wrong class gives NaN.
        """
        if self.on is CPU:
            found = empty(self.number)
            call = self.check
            call.run(
                call.kernel, call.n, found._pointer, HOST.address, target._pointer,
                *weight, call.table,
            )  # fmt: skip
            place = HOST.flag.value
            if place:
                HOST.flag.value = 0
                raise self.outside(int(target._array().reshape(-1)[place - 1]))
            return found if self.reduction == "mean" else self.one
        if self.reduction != "mean":
            return self.one
        each = empty(self.losses)
        call = self.weights
        call.run(
            call.kernel, call.n, each._pointer, target._pointer, *weight, call.table
        )
        return sum_of.operator(each)

    def outside(self, wrong: int) -> DimError:
        """Return the error of a target that is no class."""
        return DimError(
            message(
                self.op,
                f"class {wrong}",
                f"classes from 0 to {self.n - 1}",
                f"Target {wrong} is out of bounds.",
            )
        )


def _check_shapes(op: str, x: Spec, target: Spec) -> None:
    shape, given = tuple(x.shape), tuple(target.shape)
    if not shape:
        fault = "Expected 1 or more dimensions (got 0)."
        raise ShapeError(message(op, "a 0-d input", "(C,) or (N, C, ...)", fault))
    if target.dtype.name not in ("int64", "uint8"):
        fault = f"expected target dtype to be Long or Byte, but got {target.dtype}."
        raise DTypeError(message(op, f"a target of {target.dtype}", "int64", fault))
    wanted = shape[:1] + shape[2:] if len(shape) > 1 else ()
    if given == wanted:
        return
    if len(shape) <= 2 and len(given) > 1:
        fault = "0D or 1D target tensor expected, multi-target not supported."
    elif len(shape) > 1 and given[:1] != shape[:1]:
        size = given[0] if given else 0
        fault = (
            f"Expected input batch_size ({shape[0]}) to match target batch_size "
            f"({size})."
        )
    else:
        fault = f"Expected target size {list(wanted)}, got {list(given)}."
    raise ShapeError(
        message(
            op,
            f"a target of shape {list(given)} for an input of {list(shape)}",
            f"{list(wanted)}",
            fault,
        )
    )


def _check_weight(op: str, weight: Spec, x: Spec, n: int) -> None:
    if tuple(weight.shape) != (n,):
        raise ShapeError(
            message(
                op,
                f"a weight of shape {list(weight.shape)}",
                f"[{n}]",
                f"weight tensor should be defined either for all {n} classes or no "
                f"classes but got weight tensor of shape: {list(weight.shape)}.",
            )
        )
    if weight.dtype is not x.dtype:
        fault = f"expected scalar type {x.dtype} but found {weight.dtype}."
        raise DTypeError(
            message(op, f"a weight of {weight.dtype}", "the input's dtype", fault)
        )
    if weight.device is not x.device:
        raise mixed_devices(op, x.device, weight.device)


_plans: dict[Any, _Plan] = {}


def _loss(
    op: str,
    x: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore: int,
    reduction: str,
    smoothing: float,
) -> Tensor:
    """Return the loss of classes; what both public functions come to."""
    key = (
        op,
        x._spec,
        target._spec,
        None if weight is None else weight._spec,
        ignore,
        reduction,
        smoothing,
    )
    plan = _plans.get(key)
    if plan is None:
        if len(_plans) >= _MOST_PLANS:
            _plans.clear()
        of_weight = None if weight is None else weight._spec
        plan = _plans[key] = _Plan(
            op, x._spec, target._spec, of_weight, ignore, reduction, smoothing
        )
    if plan.composed:
        logs = log_softmax(x, plan.dim)
        return _loss("nll_loss", logs, target, weight, ignore, reduction, 0.0)
    recorded = grad_mode.enabled and x.requires_grad
    source, classes, weights = x, target, weight
    if not x._spec.contiguous:
        source = contiguous(x.detach())
    if target._spec.dtype is not dtypes.int64:
        classes = target.to(dtypes.int64)
    if not classes._spec.contiguous:
        classes = contiguous(classes)
    if weight is not None:
        if weight._requires_grad and grad_mode.enabled:
            raise _no_gradient(op)
        weights = contiguous(weight)
    share: Any
    if plan.count and plan.traced:
        found, share = _classes_traced.loss(plan, x, classes, weights)
        # no view: it gets a history of its own
        result = result_of(found._storage, found._pointer, found._spec)
        slopes = None
    elif plan.count:
        result, share, slopes = _run(plan, source, classes, weights, recorded)
    else:
        result, share, slopes = empty(plan.result), plan.one, None
        result.fill_(m.inf - m.inf if reduction == "mean" else 0.0)
    if recorded:
        saved = (x, classes) if weights is None else (x, classes, weights)
        node = _ClassNode((edge(x),), saved)
        node.plan = plan
        node.share = share
        node.slopes = slopes
        result._node = node
        result._requires_grad = True
    return result


def _run(
    plan: _Plan,
    source: Tensor,
    classes: Tensor,
    weights: Tensor | None,
    recorded: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the loss, what it was divided by, and the gradient if it was made."""
    weight = () if weights is None else (weights._pointer,)
    share = plan.share(classes, weight)
    each = empty(plan.losses)
    call = plan.forward
    slopes = None
    pointers: tuple[int, ...] = (each._pointer,)
    if recorded and plan.reduction != "none" and plan.op == "cross_entropy":
        call = plan.both
        if call is None:
            call = plan.both = plan.kernel(True)
        slopes = empty(plan.given)
        pointers = (each._pointer, slopes._pointer)
    call.run(
        call.kernel, call.n, *pointers, source._pointer, share._pointer,
        classes._pointer, *weight, call.table, *plan.smoothing,
    )  # fmt: skip
    result = each if plan.reduction == "none" else sum_of.operator(each)
    return result, share, slopes


class _ClassNode(Node):
    """The record of a loss over classes."""

    __slots__ = ("plan", "share", "slopes")

    plan: _Plan
    share: Any  # what the losses were divided by, or all that a traced loss kept
    slopes: Tensor | None  # the gradient at a cotangent of 1, until somebody gets it

    def name(self) -> str:
        many = self.plan.given.ndim > 2
        return "NllLoss2DBackward0" if many else "NllLossBackward0"

    def release(self) -> None:
        self.slopes = None
        super().release()

    def backward(self, grad: Tensor) -> Sequence[Tensor | None]:
        plan = self.plan
        if grad_mode.enabled or not plan.count:
            x, *rest = self.check_saved()
            share = self.share.share if plan.traced and plan.count else self.share
            return (_rule(plan, grad, x, share, *rest),)
        if plan.traced:
            x, classes, *rest = self.check_saved()
            weights = rest[0] if rest else None
            return (
                _classes_traced.gradient(plan, grad, x, self.share, classes, weights),
            )
        slopes = self.slopes
        if slopes is None or self.saved is _FREED:
            x, *rest = self.check_saved()
            return (self._again(grad, x, *rest),)
        self.slopes = None
        if plan.on is not CPU or grad.item() != 1:
            mul.operator.in_place(slopes, grad)
        return (slopes,)

    def _again(
        self, grad: Tensor, x: Tensor, classes: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Compute the gradient from the input."""
        plan = self.plan
        made = empty(plan.given)
        weight = () if weights is None else (weights._pointer,)
        g = contiguous(grad)
        if plan.op == "nll_loss":
            call = plan.back
            if call is None:
                each = plan.reduction == "none"
                call = plan.back = plan.over_rows(
                    kernels.nll_backward(
                        plan.dtype.name, plan.inner == 1, plan.weighted, each
                    )
                )
            call.run(
                call.kernel, call.n, made._pointer, g._pointer, self.share._pointer,
                classes._pointer, *weight, call.table,
            )  # fmt: skip
            return made
        call = plan.both
        if call is None:
            call = plan.both = plan.kernel(True)
        source = x if x._spec.contiguous else contiguous(x.detach())
        losses = empty(plan.losses)
        call.run(
            call.kernel, call.n, losses._pointer, made._pointer, source._pointer,
            self.share._pointer, classes._pointer, *weight, call.table, *plan.smoothing,
        )  # fmt: skip
        if plan.reduction == "none":
            g = unsqueeze(g, plan.dim)
        return mul.operator.in_place(made, g)


def _rule(
    plan: _Plan,
    g: Tensor,
    x: Tensor,
    share: Any,
    classes: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """Return the gradient, made of public operators."""
    dim, kind = plan.dim, plan.dtype
    shape = [1] * x.ndim
    shape[dim] = plan.n
    numbers = function("arange")(plan.n, device=x.device)
    hits = (reshape(numbers, tuple(shape)) == unsqueeze(classes, dim)).to(kind)
    smoothing = plan.smoothing[0] if plan.smoothing else 0.0
    parts = hits * (1 - smoothing) + smoothing / plan.n
    if weights is not None:
        parts = parts * reshape(weights, tuple(shape))
    parts = parts * unsqueeze(classes != plan.ignore, dim).to(kind) / share
    if plan.reduction == "none":
        g = unsqueeze(g, dim)
    if plan.op == "nll_loss":
        return -(parts * g)
    return (softmax(x, dim) * parts.sum(dim, True) - parts) * g


def _no_gradient(op: str) -> AutogradError:
    return AutogradError(
        message(
            op,
            "a weight that requires grad",
            "one that does not",
            f"The function '{op}' is not differentiable with respect to argument "
            "'weight'. This input cannot have requires_grad True.",
        )
    )


@declared(
    "nll_loss",
    lambda make: [
        ((make(3, 4), sample_classes(make, 3)), {}),
        ((make(2, 3, 2), sample_classes(make, 2, 2)), {"reduction": "none"}),
    ],
    names="drop",
)
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return minus the input at the target's class: the loss of log-probabilities.

    Shapes: (C,) and (), or (N, C, ...) and (N, ...). `weight` has a number for each
    class, and a mean is over the weights; targets of `ignore_index` do not count.
    Raises: ShapeError, DTypeError; DimError, no such class (in host memory: on a GPU
    the loss is NaN).

    >>> import numtensor as nt
    >>> nt.nn.functional.nll_loss(nt.tensor([[-1.0, -2.0]]), nt.tensor([1]))
    tensor(2.)
    """
    if size_average is not None or reduce is not None:
        reduction = named_reduction(size_average, reduce)
    return _loss("nll_loss", input, target, weight, ignore_index, reduction, 0.0)


@declared(
    "cross_entropy",
    lambda make: [
        ((make(3, 4), sample_classes(make, 3)), {}),
        ((make(2, 3, 2), sample_classes(make, 2, 2)), {"reduction": "none"}),
        ((make(3, 4), sample_classes(make, 3)), {"label_smoothing": 0.2}),
        ((make(3, 4), softmax(make(3, 4), 1)), {}),
    ],
    names="drop",
)
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the cross entropy of softmax(input), in one pass over the scores.

    Shapes and the rest as in `nll_loss`; or a target of the input's shape holds the
    probability of each class. `label_smoothing` moves that part of the target evenly to
    all classes. Source of the last: Szegedy and others (2015), Rethinking the Inception
    architecture.

    >>> import numtensor as nt
    >>> scores = nt.tensor([[0.0, 0.0], [3.0, -1.0]])
    >>> nt.nn.functional.cross_entropy(scores, nt.tensor([1, 0]))
    tensor(0.3556)
    """
    if size_average is not None or reduce is not None:
        reduction = named_reduction(size_average, reduce)
    if label_smoothing and not 0 <= label_smoothing <= 1:
        raise ShapeError(
            message(
                "cross_entropy",
                f"label_smoothing={label_smoothing}",
                "0 to 1",
                "label_smoothing must be between 0.0 and 1.0. Got: "
                f"{label_smoothing:g}.",
            )
        )
    if target._spec.shape == input._spec.shape and input._spec.ndim:
        return _of_probabilities(
            input, target, weight, ignore_index, reduction, label_smoothing
        )
    return _loss(
        "cross_entropy", input, target, weight, ignore_index, reduction,
        float(label_smoothing),
    )  # fmt: skip


def _of_probabilities(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    smoothing: float,
) -> Tensor:
    if reduction not in REDUCTIONS:
        raise unknown_reduction("cross_entropy", reduction)
    if not target.is_floating_point():
        raise DTypeError(
            message(
                "cross_entropy",
                f"a target of {target.dtype} and of the input's shape",
                "probabilities, or a target without the dim of classes",
                "Expected floating point type for target with class probabilities, "
                f"got {target.dtype}.",
            )
        )
    if ignore_index >= 0:
        raise ShapeError(
            message(
                "cross_entropy",
                f"ignore_index={ignore_index}",
                "none with probabilities",
                "ignore_index is not supported for floating point target.",
            )
        )
    dim = 0 if input.ndim == 1 else 1
    n = input.shape[dim]
    logs = log_softmax(input, dim)
    if smoothing:
        target = target * (1 - smoothing) + smoothing / n
    parts = logs * target
    if weight is not None:
        _check_weight("cross_entropy", weight._spec, input._spec, n)
        shape = [1] * input.ndim
        shape[dim] = n
        parts = parts * reshape(weight, tuple(shape))
    if reduction == "none":
        return -parts.sum(dim)
    total = -parts.sum()
    return total if reduction == "sum" else total / (input.numel() / n if n else 0.0)
