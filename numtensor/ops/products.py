"""What a product of matrices works out once for each combination of layouts.

Several ways lead to the result: a kernel by hand where the work is less than a call of
BLAS costs, the BLAS that NumPy brought, called directly where `launch_blas` can and
else by way of NumPy, and on a device its product kernel. Gradients are products too,
and are planned in the same way. Checks no operands, and declares no operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from .. import dtypes, launch, launch_blas
from ..devices import CPU
from ..kernels.by_hand import matmul as kernels
from ..layout import collapse, contiguous_strides, expand_strides
from ..memory import empty
from ..spec import Spec, contiguous_spec
from ..tape import Node, edge, grad_mode
from ..tensor import Tensor, window
from .registry import function
from .views import mT

Shape = tuple[int, ...]

#: products up to which a kernel by hand is faster than BLAS, called directly
_TINY = 1_000
#: the same where BLAS is called by way of NumPy
SMALL = 32_768
#: the same for each of a stack of matrices
_SMALL_EACH = 4_096
#: columns that the kernel computes at once, the widest first
_WIDTHS = (16, 8, 4, 1)
#: a table of plans is emptied when it has more
_MOST = 4000

_ndarray = np.ndarray


class Product:
    """The product of two stacks of matrices, each of one layout.

    `strides` are those of the stack's dims, expanded, and of the matrix's two.
    """

    __slots__ = ("out", "call", "run", "kernel", "n", "table", "arrays")

    out: Spec

    def __init__(
        self,
        out: Spec,
        batch: Shape,
        sizes: tuple[int, int, int],
        a: Shape,
        b: Shape,
    ) -> None:
        self.out = out
        self.call = self.arrays = self.run = None
        if not out.numel:
            return
        if out.device is CPU:
            self.call = (
                _small(out.dtype, batch, sizes, a, b, _TINY)
                or launch_blas.product(out.dtype.name, batch, sizes, a, b)
                or _small(out.dtype, batch, sizes, a, b, SMALL)
            )
        else:
            self.call = launch.matmul(sizes, out.dtype.name, batch, a, b, out.device)
        if self.call is None:
            n, m, k = sizes
            shapes = (*batch, n, m), (*batch, n, k), (*batch, k, m)
            strides = contiguous_strides(shapes[0]), a, b
            self.arrays = [
                window(out.dtype, *s) for s in zip(shapes, strides, strict=True)
            ]
            return
        self.run, self.kernel = self.call.run, self.call.kernel
        self.n, self.table = self.call.n, self.call.table

    def into(self, made: Tensor, a: Tensor, b: Tensor) -> None:
        """Fill a fresh tensor with the product."""
        if self.run is not None:
            self.run(
                self.kernel, self.n, made._pointer, a._pointer, b._pointer, self.table
            )
        else:
            self.at(made._pointer, a._pointer, b._pointer)

    def at(self, made: int, a: int, b: int) -> None:
        """Write the product at an address, of operands at two others."""
        if self.run is not None:
            self.run(self.kernel, self.n, made, a, b, self.table)
        elif self.arrays is not None:
            result, left, right = self.arrays
            self._by_blas(_array(result, made), _array(left, a), _array(right, b))

    def _by_blas(self, made: Any, a: Any, b: Any) -> None:
        if self.out.dtype is dtypes.bool_:
            made[...] = np.matmul(a.astype(np.int64), b.astype(np.int64)) != 0
            return
        with np.errstate(all="ignore"):
            np.matmul(a, b, out=made)

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the product; nothing is recorded."""
        made = empty(self.out)
        self.into(made, a, b)
        return made


def _small(
    kind: dtypes.dtype,
    batch: Shape,
    sizes: tuple[int, int, int],
    a: Shape,
    b: Shape,
    most: int,
) -> Any:
    """Plan a kernel by hand; None where there is more to do than `most`."""
    n, m, k = sizes
    each, count = n * m * k, prod(batch)
    if not each or kind not in (dtypes.float32, dtypes.float64):
        return None
    most = min(most, SMALL)
    if each * count > most and (count == 1 or each > min(most // 2, _SMALL_EACH)):
        return None
    stack, steps = collapse(batch, [a[:-2], b[:-2]], reorder=False)
    if len(stack) > 1:
        return None
    stacked = count > 1
    numbers = [m, k, *a[-2:], *b[-2:]]
    if stacked:
        numbers += [n, steps[0][0], steps[1][0]]
    if (a[-1] == 1 and b[-2] == 1) and not (m > 1 and b[-1] == 1):
        wanted = kernels.by_depth(kind.name, stacked)
    else:
        width = next(w for w in _WIDTHS if w <= m)
        if width == 16 and m % 16 and m < 48:
            width = 8  # less is computed twice
        unit = b[-1] == 1 or m == 1
        wanted = kernels.by_columns(kind.name, width, unit, stacked)
    # a multiplication counts half an addition: many are done at once
    return launch.by_tasks(wanted, n * count, numbers, cost=max(1, m * k // 2))


def _array(known: tuple[Any, ...], pointer: int) -> np.ndarray:
    at, shape, kind, strides = known
    return _ndarray(shape, kind, at(pointer), 0, strides)


class Plan(Product):
    """A call of matmul: tensors of one dim count as matrices, batch dims broadcast."""

    __slots__ = (
        "a", "b", "batch", "sizes", "name", "differentiable", "ways", "strides",
    )  # fmt: skip

    def __init__(self, a: Spec, b: Spec) -> None:
        self.a, self.b = a, b
        left, right = as_matrices(a, b)
        (sa, ta), (sb, tb) = left, right
        self.batch = batch = tuple(np.broadcast_shapes(sa[:-2], sb[:-2]))
        self.sizes = (sa[-2], sb[-1], sa[-1])
        self.strides = (
            (*expand_strides(sa[:-2], ta[:-2], batch), *ta[-2:]),
            (*expand_strides(sb[:-2], tb[:-2], batch), *tb[-2:]),
        )
        shape = batch
        if a.ndim > 1:
            shape = (*shape, sa[-2])
        if b.ndim > 1:
            shape = (*shape, sb[-1])
        out = contiguous_spec(a.dtype, shape, a.device)
        super().__init__(out, batch, self.sizes, *self.strides)
        self.differentiable = a.dtype.category == dtypes.FLOAT
        self.ways: dict[Spec, tuple[Product, Product]] = {}
        if b.ndim == 1:
            self.name = "DotBackward0" if a.ndim == 1 else "MvBackward0"
        elif batch:
            self.name = "BmmBackward0"
        else:
            self.name = "SqueezeBackward4" if a.ndim == 1 else "MmBackward0"

    def way_back(self, g: Spec) -> tuple[Product, Product] | None:
        """Return the products that give both gradients from a cotangent.

        None where a gradient is a sum over stacks: operators do that.
        """
        found = self.ways.get(g)
        if found is None:
            a, b, batch = self.a, self.b, self.batch
            if batch and not (a.shape[:-2] == batch == b.shape[:-2]):
                return None
            n, m, k = self.sizes
            steps = list(g.strides)
            if a.ndim == 1:
                steps.insert(len(batch), 0)
            if b.ndim == 1:
                steps.append(0)
            at, bt = (_turned(s) for s in self.strides)
            found = (
                Product(_like(a), batch, (n, k, m), tuple(steps), bt),
                Product(_like(b), batch, (k, m, n), at, tuple(steps)),
            )
            if len(self.ways) > 64:
                self.ways.clear()
            self.ways[g] = found
        return found


def _like(found: Spec) -> Spec:
    return contiguous_spec(found.dtype, tuple(found.shape), found.device)


def _turned(strides: Shape) -> Shape:
    return (*strides[:-2], strides[-1], strides[-2])


def as_matrices(a: Spec, b: Spec) -> tuple[tuple[Shape, Shape], tuple[Shape, Shape]]:
    """Return shape and strides of both, a vector as a row on the left, else a column.

    The stride of the dim that is made up is one that a matrix without gaps would have.
    """
    sa, ta = tuple(a.shape), a.strides
    sb, tb = tuple(b.shape), b.strides
    if a.ndim == 1:
        sa, ta = (1, *sa), (sa[0] * ta[0], *ta)
    if b.ndim == 1:
        sb, tb = (*sb, 1), (*tb, 1)
    return (sa, ta), (sb, tb)


plans: dict[tuple[Spec, Spec], Plan] = {}


def plan_of(a: Spec, b: Spec) -> Plan:
    """Return the plan for operands that have been checked."""
    found = plans.get((a, b))
    if found is None:
        if len(plans) > _MOST:
            plans.clear()
        found = plans[a, b] = Plan(a, b)
    return found


class ProductNode(Node):
    """The way back of one product."""

    __slots__ = ("plan",)

    plan: Plan

    def name(self) -> str:
        return self.plan.name

    def backward(self, grad: Any) -> Sequence[Tensor | None]:
        saved = self.check_saved()
        plan = self.plan
        to_a, to_b = self.edges
        a = saved[0] if to_b is not None else None
        b = saved[-1] if to_a is not None else None
        way = None if grad_mode.enabled else plan.way_back(grad._spec)
        if way is None:
            return self._by_operators(grad, a, b)
        ga = gb = None
        if b is not None:
            ga = way[0](grad, b)
        if a is not None:
            gb = way[1](a, grad)
        return ga, gb

    def _by_operators(
        self, grad: Tensor, a: Tensor | None, b: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients, made of operators that can be differentiated."""
        plan = self.plan
        matmul = function("matmul")
        n, m, _ = plan.sizes
        g = grad
        if plan.a.ndim == 1 or plan.b.ndim == 1:
            g = grad.reshape(*plan.batch, n, m)
        ga = gb = None
        if b is not None:
            right = b.unsqueeze(1) if b.ndim == 1 else b
            ga = matmul(g, mT(right))
            if plan.a.ndim == 1:
                ga = ga.sum_to_size((1, plan.a.shape[0])).squeeze(0)
            else:
                ga = ga.sum_to_size(plan.a.shape)
        if a is not None:
            left = a.unsqueeze(0) if a.ndim == 1 else a
            gb = matmul(mT(left), g)
            if plan.b.ndim == 1:
                gb = gb.sum_to_size((plan.b.shape[0], 1)).squeeze(1)
            else:
                gb = gb.sum_to_size(plan.b.shape)
        return ga, gb


def record(plan: Plan, made: Tensor, a: Tensor, b: Tensor) -> None:
    """Put the call on the tape if somebody wants a gradient."""
    to_a, to_b = edge(a), edge(b)
    if to_a is not None:
        saved = (b,) if to_b is None else (a, b)
    elif to_b is not None:
        saved = (a,)
    else:
        return
    node = ProductNode((to_a, to_b), saved)
    node.plan = plan
    made._node = node
    made._requires_grad = True
