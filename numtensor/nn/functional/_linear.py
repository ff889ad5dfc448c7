"""What `linear` works out once for each combination of layouts, and its way back.

Three ways lead to the result: a kernel by hand where the work is less than a call of
BLAS costs, BLAS, and the device's product kernel. Each leaves one node on the tape.
What none of them knows (integers, layouts that cannot be walked as one matrix, a weight
of one dim) is composed of public operators.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import dtypes, launch
from ...devices import CPU
from ...errors import DTypeError, ShapeError, message, mixed_devices
from ...kernels.by_hand import linear as kernels
from ...kernels.by_hand.matmul import by_depth
from ...memory import empty, view_as
from ...ops.linear import _multiply
from ...ops.registry import function
from ...spec import Spec, contiguous_spec, spec
from ...tape import Node, edge, grad_mode, no_grad
from ...tensor import Tensor
from ._sizes import SCALAR_TYPES

#: what a kernel by hand may cost so that a training step is not slower than with BLAS
SMALL = 170_000
#: products that take as long as it takes to begin one element of the result
_BEGINNING = 40
#: a table of plans is emptied when it has more
_MOST = 4000

plans: dict[Any, Plan] = {}
#: whether the gradients of input, weight and bias are needed
Need = tuple[bool, bool, bool]


class Plan:
    """A linear layer for one combination of layouts."""

    __slots__ = (
        "x", "w", "b", "out", "n", "k", "m", "rows", "turned", "call", "ways", "name",
    )  # fmt: skip

    def __init__(self, x: Spec, w: Spec, b: Spec | None) -> None:
        self.x, self.w = tuple(x.shape), tuple(w.shape)
        self.b = () if b is None else tuple(b.shape)
        self.m, self.k = w.shape
        self.n = x.numel // self.k if self.k else _count(x.shape[:-1])
        device, kind = x.device, x.dtype
        shape = (*x.shape[:-1], self.m)
        self.out = contiguous_spec(kind, shape, device)
        strides = x.strides if x.ndim == 2 else (self.k, 1)
        self.rows = spec(kind, (self.n, self.k), strides, device)
        self.turned = spec(kind, (self.k, self.m), w.strides[::-1], device)
        self.ways: dict[Any, Any] = {}
        self.name = f"{'Mm' if b is None else 'Addmm'}Backward0"
        if x.ndim != 2:
            self.name = "ViewBackward0" if b is not None else "UnsafeViewBackward0"
        cost = self.n * self.m * (self.k + _BEGINNING)
        small = device is CPU and self.k > 0 and 0 < cost <= SMALL
        small = small and x.contiguous and w.contiguous
        small = small and (b is None or (b.contiguous and b.numel == self.m))
        self.call: Any = None
        if small:
            wanted = by_depth(kind.name, bias=b is not None)
            numbers = (self.m, self.k, self.k, 1, 1, self.k)
            self.call = launch.by_tasks(wanted, self.n, numbers, cost=1)

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """Return the result by BLAS or on a device; nothing is recorded."""
        a = x if x._spec is self.rows else view_as(x, self.rows, 0)
        product = _multiply(a, view_as(w, self.turned, 0))
        if b is not None:
            with no_grad():
                product += b
        if product._spec is not self.out:
            product = reshaped(product, self.out)
        return product

    def backward(
        self, grad: Tensor, x: Tensor | None, w: Tensor | None, need: Need
    ) -> list[Tensor | None]:
        """Return the gradients that are needed; nothing is recorded."""
        g = grad._spec
        way = self.ways.get((g, need))
        if way is None:
            way = self.ways[g, need] = _Way(self, g, need)
        call = way.call
        if call is None:
            return self._backward_by_products(way, grad, x, w, need)
        gx = gw = gb = None
        to_x = to_w = to_b = from_x = from_w = 0
        if w is not None:
            gx = empty(way.x)
            to_x, from_w = gx._pointer, w._pointer
        if x is not None:
            gw = empty(way.w)
            to_w, from_x = gw._pointer, x._pointer
        if need[2]:
            gb = empty(way.b)
            to_b = gb._pointer
        call.run(
            call.kernel, call.n, to_x, to_w, to_b, grad._pointer, from_x, from_w,
            call.table,
        )  # fmt: skip
        return [gx, gw, gb]

    def _backward_by_products(
        self, way: _Way, grad: Tensor, x: Tensor | None, w: Tensor | None, need: Need
    ) -> list[Tensor | None]:
        g = grad if grad.ndim == 2 else grad.reshape(self.n, self.m)
        gx = gw = gb = None
        if w is not None:
            gx = reshaped(_multiply(g, w), way.x)
        if x is not None:
            gw = _multiply(g.t(), view_as(x, self.rows, 0))
        if need[2]:
            gb = g.sum(0)
            if gb._spec is not way.b:
                gb = gb.sum_to_size(self.b)
        return [gx, gw, gb]


class _Way:
    """The way back of a plan for one layout of the cotangent."""

    __slots__ = ("x", "w", "b", "call")

    def __init__(self, plan: Plan, g: Spec, need: Need) -> None:
        self.x, self.w, self.b = (
            contiguous_spec(g.dtype, shape, g.device)
            for shape in (plan.x, plan.w, plan.b)
        )
        self.call: Any = None
        if plan.call is None or not (g.ndim == 2 or g.contiguous):
            return
        strides = g.strides if g.ndim == 2 else (plan.m, 1)
        left = plan.n if need[0] else 0
        weights, biases = (plan.m if n else 0 for n in need[1:])
        numbers = (plan.n, plan.k, plan.m, *strides, left, weights, biases)
        wanted = kernels.backward(g.dtype.name)
        tasks = left + max(weights, biases)
        self.call = launch.by_tasks(wanted, tasks, numbers, cost=1)


class LinearNode(Node):
    """The way back of one linear layer: its gradients together."""

    __slots__ = ("plan", "need")

    plan: Plan
    need: Need

    def name(self) -> str:
        return self.plan.name

    def backward(self, grad: Any) -> Sequence[Tensor | None]:
        saved = self.check_saved()
        need = self.need
        x = saved[0] if need[1] else None
        w = saved[-1] if need[0] else None
        if grad_mode.enabled:
            return self._recorded(grad, x, w)
        return self.plan.backward(grad, x, w, need)

    def _recorded(
        self, grad: Tensor, x: Tensor | None, w: Tensor | None
    ) -> list[Tensor | None]:
        """Return the gradients, made of operators that can be differentiated."""
        plan = self.plan
        flat = grad.reshape(plan.n, plan.m)
        gx = gw = gb = None
        if w is not None:
            gx = function("matmul")(grad, w)
        if x is not None:
            gw = function("matmul")(flat.t(), x.reshape(plan.n, plan.k))
        if self.need[2]:
            gb = flat.sum(0).sum_to_size(plan.b)
        return [gx, gw, gb]


def record(plan: Plan, made: Tensor, x: Tensor, w: Tensor, b: Tensor | None) -> None:
    """Put the call on the tape if somebody wants a gradient."""
    x_edge, w_edge = edge(x), edge(w)
    b_edge = None if b is None else edge(b)
    saved: tuple[Tensor, ...] = ()
    if w_edge is not None:
        saved = (x,)
    if x_edge is not None:
        saved += (w,)
    elif b_edge is None and not saved:
        return
    node = LinearNode((x_edge, w_edge, b_edge), saved)
    node.plan = plan
    node.need = (x_edge is not None, w_edge is not None, b_edge is not None)
    made._node = node
    made._requires_grad = True


def find(x: Any, w: Any, b: Any) -> Plan | None:
    """Return the plan for these operands, None if only public operators know the way.

    Raises: TypeError, ShapeError, DTypeError, DeviceError.
    """
    _check(x, w, b)
    xs, ws, bs = x._spec, w._spec, None if b is None else b._spec
    if (
        w.ndim != 2
        or xs.dtype.category != dtypes.FLOAT
        or not (xs.ndim == 2 or xs.contiguous)
    ):
        return None
    if len(plans) > _MOST:
        plans.clear()
    found = plans[xs, ws, bs] = Plan(xs, ws, bs)
    return found


def _check(x: Any, w: Any, b: Any) -> None:
    for place, (name, value) in enumerate(
        (("input", x), ("weight", w), ("bias", b)), 1
    ):
        if not isinstance(value, Tensor) and not (name == "bias" and value is None):
            kind = type(value).__name__
            raise TypeError(
                message(
                    "linear",
                    f"a {kind} as {name}",
                    "a Tensor",
                    f"linear(): argument '{name}' (position {place}) must be Tensor, "
                    f"not {kind}.",
                )
            )
    if not x.ndim or not w.ndim:
        raise ShapeError(
            message(
                "linear",
                f"a {x.ndim}-d input and a {w.ndim}-d weight",
                "at least one dim each",
                "both arguments to linear need to be at least 1D, but they are "
                f"{x.ndim}D and {w.ndim}D.",
            )
        )
    if w.ndim > 2 or (w.ndim == 1 and b is not None):
        raise ShapeError(
            message(
                "linear",
                f"a {w.ndim}-d weight{' with a bias' if b is not None else ''}",
                "(out_features, in_features), or (in_features) without a bias",
                f"mat2 must be a matrix, got {w.ndim}-D tensor.",
            )
        )
    others = (w,) if b is None else (w, b)
    for other in others:
        if other._spec.device is not x._spec.device:
            raise mixed_devices("linear", x.device, other.device)
        if other._spec.dtype is not x._spec.dtype:
            one, two = (SCALAR_TYPES[t.dtype.name] for t in (x, other))
            raise DTypeError(
                message(
                    "linear",
                    f"{x.dtype} and {other.dtype}",
                    "one dtype",
                    f"mat1 and mat2 must have the same dtype, but got {one} and {two}. "
                    "Cast one with x.to(dtype).",
                )
            )
    if x.shape[-1] != w.shape[-1]:
        m = w.shape[0] if w.ndim == 2 else 1
        sizes = f"{_count(x.shape[:-1])}x{x.shape[-1]} and {w.shape[-1]}x{m}"
        raise ShapeError(
            message(
                "linear",
                f"an input {tuple(x.shape)} and a weight {tuple(w.shape)}",
                "input.shape[-1] == weight.shape[-1]",
                f"mat1 and mat2 shapes cannot be multiplied ({sizes}).",
            )
        )
    if b is not None and tuple(b.shape) not in ((), (1,), (w.shape[0],)):
        raise ShapeError(
            message(
                "linear",
                f"a bias {tuple(b.shape)} for a weight {tuple(w.shape)}",
                f"({w.shape[0]},)",
                f"The expanded size of the tensor ({w.shape[0]}) must match the "
                f"existing size ({b.numel()}) at non-singleton dimension 1.",
            )
        )


def _count(shape: Sequence[int]) -> int:
    found = 1
    for n in shape:
        found *= n
    return found


def reshaped(x: Tensor, found: Spec) -> Tensor:
    """Give a contiguous tensor that nobody else knows yet another shape."""
    x._spec = found
    return x
