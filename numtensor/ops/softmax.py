"""Softmax, its logarithm, and the logarithm of sums of exponentials.

Forward and back are one kernel each, which sweeps a row several times while it is in
cache (`kernels.by_hand.softmax`). A gradient that is differentiated itself is made of
public operators; so is everything while a function is traced, where they become such
kernels together with what is around them. Losses over classes are in `nn.functional`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import launch
from ..devices import CPU, Twin
from ..dtypes import FLOAT, float64
from ..dtypes import find as find_dtype
from ..elementwise import Elementwise
from ..errors import DTypeError, message
from ..kernels.by_hand import softmax as kernels
from ..layout import normalize_dim, normalize_dims, numel
from ..memory import empty
from ..modes import no_grad
from ..spec import Spec, contiguous_spec
from ..tape import FunctionNode, Node, edge, grad_mode
from ..tensor import Tensor
from . import m
from .copies import contiguous
from .declare import composed
from .views import movedim, reshape

#: what a row's element costs in additions, for the share of threads
_COST = 12
#: on a GPU a thread walks a row alone, which pays while rows are short
LONGEST_ALONE = 128
#: from how many neighbouring rows on a CPU walks down several side by side
_FEWEST_COLUMNS = 32
_COLUMN_BYTES = 1 << 18
_MOST_PLANS = 4000


class Rows:
    """How the elements along one dim of a contiguous tensor lie, and its kernels."""

    __slots__ = (
        "out", "dim", "n", "inner", "count", "form", "most", "total", "forward",
        "backward", "alone", "traced",
    )  # fmt: skip

    out: Spec
    dim: int
    n: int  # elements of a row
    inner: int  # how far apart they are
    count: int
    form: str  # of `kernels`
    forward: Any
    backward: Any
    alone: bool  # whether a thread for each row is a good way on this device
    traced: bool  # whether there are only operators to record

    def __init__(self, given: Spec, dim: int) -> None:
        shape = tuple(given.shape)
        on = given.device
        self.dim = dim
        self.n = shape[dim] if shape else 1
        self.inner = numel(shape[dim + 1 :])
        self.count = numel(shape) // self.n if self.n else 0
        self.out = contiguous_spec(given.dtype, shape, on)
        self.most = contiguous_spec(given.dtype, (self.count,), on)
        self.total = contiguous_spec(float64, (self.count,), on)
        self.traced = type(on) is Twin and self.count > 0
        self.alone = on is CPU or self.inner > 1 or self.n <= LONGEST_ALONE
        self.alone = self.alone and not self.traced
        self.form = "rows" if self.inner == 1 else "strided"
        if self.inner >= _FEWEST_COLUMNS and on is CPU:
            self.form = "columns"
        self.forward = self.backward = None

    def plan(self, kernel: Callable[[str, str], Any]) -> Any:
        """Plan a kernel over these rows."""
        wanted = kernel(self.out.dtype.name, self.form)
        cost = _COST * max(1, self.n)
        if self.form != "columns":
            numbers: tuple[int, ...] = (self.n, self.inner)
            return launch.by_tasks(
                wanted, self.count, numbers, self.out.device, cost=cost
            )
        # as wide as fits in cache, but for a page of memory at least
        block = max(_FEWEST_COLUMNS, _COLUMN_BYTES // (self.n * self.out.itemsize))
        block = min(self.inner, block)
        across = -(-self.inner // block)
        numbers = (self.n, self.inner, block, across)
        tasks = self.count // self.inner * across
        return launch.by_tasks(wanted, tasks, numbers, cost=cost * block)

    def run(self, call: Any, *tensors: Tensor) -> None:
        """Perform a planned kernel; `columns` get memory for what belongs to a row."""
        pointers = [t._pointer for t in tensors]
        if self.form == "columns":
            most, total = empty(self.most), empty(self.total)
            pointers += (most._pointer, total._pointer)
        call.run(call.kernel, call.n, *pointers, call.table)


class _AlongRows:
    """softmax or log_softmax: a result for each element, from its row."""

    def __init__(
        self,
        name: str,
        kernel: Callable[[str, str], Any],
        back: Callable[[str, str], Any],
        plain: Callable[[Tensor, int], Tensor],
        rule: Callable[[Tensor, Tensor, int], Tensor],
    ) -> None:
        self.name = name
        self.node_name = "".join(p.capitalize() for p in name.split("_")) + "Backward0"
        self.kernel = kernel
        self.back = back
        self.plain = plain  # the same of public operators
        self.rule = rule  # the cotangent of the input from that of the result
        self.plans: dict[Any, Rows] = {}

    def plan(self, given: Spec, dim: int) -> Rows:
        if given.dtype.category != FLOAT:
            raise not_floating(self.name, given)
        rows = Rows(given, normalize_dim(self.name, dim, given.ndim))
        if rows.count and rows.alone:
            rows.forward = rows.plan(self.kernel)
        if len(self.plans) > _MOST_PLANS:
            self.plans.clear()
        self.plans[given, dim] = rows
        return rows

    def __call__(self, x: Tensor, dim: int) -> Tensor:
        try:
            rows = self.plans[x._spec, dim]
        except KeyError:
            rows = self.plan(x._spec, dim)
        if not rows.alone and not rows.traced:
            return self.plain(x, rows.dim)
        if rows.traced:
            with no_grad():
                result = contiguous(self.plain(x.detach(), rows.dim))
            return self._recorded(x, result, rows)
        source = x if x._spec.contiguous else contiguous(x.detach())
        result = empty(rows.out)
        call = rows.forward
        if call is not None:
            rows.run(call, result, source)
        return self._recorded(x, result, rows)

    def _recorded(self, x: Tensor, result: Tensor, rows: Rows) -> Tensor:
        if grad_mode.enabled and x.requires_grad:
            node = _RowNode((edge(x),), (result.detach(),))
            node.op = self
            node.rows = rows
            result._node = node
            result._requires_grad = True
        return result


class _RowNode(Node):
    """The record of softmax or log_softmax, which saves its result."""

    __slots__ = ("op", "rows")

    op: _AlongRows
    rows: Rows

    def name(self) -> str:
        return self.op.node_name

    def backward(self, grad: Tensor) -> Sequence[Tensor | None]:
        (out,) = self.check_saved()
        rows = self.rows
        if grad_mode.enabled:
            out = out.detach()
            out._node = self
            out._requires_grad = True
            return (self.op.rule(grad, out, rows.dim),)
        if rows.traced:
            return (self.op.rule(grad, out, rows.dim),)
        made = empty(rows.out)
        if rows.count:
            call = rows.backward
            if call is None:
                call = rows.backward = rows.plan(self.op.back)
            g = grad if grad._spec.contiguous else contiguous(grad)
            rows.run(call, made, g, out)
        return (made,)


def not_floating(op: str, given: Spec) -> DTypeError:
    """Return the error of integers where only floating-point numbers will do."""
    fault = (
        f'"{op}_kernel_impl" not implemented for {given.dtype}. Cast with x.float().'
    )
    return DTypeError(message(op, f"{given.dtype}", "a floating-point dtype", fault))


def _plain_softmax(x: Tensor, dim: int) -> Tensor:
    powers = m.exp(x - x.detach().amax(dim, True))
    return powers / powers.sum(dim, True)


def _plain_log_softmax(x: Tensor, dim: int) -> Tensor:
    gap = x - x.detach().amax(dim, True)
    return gap - m.log(m.exp(gap).sum(dim, True))


_softmax = _AlongRows(
    "softmax",
    kernels.softmax,
    kernels.softmax_backward,
    _plain_softmax,
    lambda g, out, dim: (g - (g * out).sum(dim, True)) * out,
)
_log_softmax = _AlongRows(
    "log_softmax",
    kernels.log_softmax,
    kernels.log_softmax_backward,
    _plain_log_softmax,
    lambda g, out, dim: g - m.exp(out) * g.sum(dim, True),
)


def _reference(logarithm: bool) -> Callable[..., Any]:
    def call(x: Any, dim: int = -1) -> Any:
        gap = x - x.max(dim, keepdims=True)
        logs = gap - np.log(np.exp(gap).sum(dim, keepdims=True))
        return logs if logarithm else np.exp(logs)

    return call


def _samples(make: Callable[..., Tensor]) -> list[Any]:
    return [((make(3, 4), 1), {}), ((make(2, 3, 2), 1), {}), ((make(4), 0), {})]


@composed(
    "softmax",
    dtypes="float",
    names="keep",
    samples=_samples,
    reference=_reference(False),
)
def softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Return exp(input), scaled so that the sum along `dim` is 1.

    `dtype` casts first. Raises: DimError; DTypeError, integers.

    >>> import numtensor as nt
    >>> nt.softmax(nt.tensor([0.0, 0.0, 1000.0]), dim=0)
    tensor([0., 0., 1.])
    """
    if dtype is not None:
        input = input.to(find_dtype(dtype))
    return _softmax(input, dim)


@composed(
    "log_softmax",
    dtypes="float",
    names="keep",
    samples=_samples,
    reference=_reference(True),
)
def log_softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Return the logarithm of `softmax`, which does not underflow.

    `dtype` casts first. Raises: DimError; DTypeError, integers.

    >>> import numtensor as nt
    >>> nt.log_softmax(nt.tensor([0.0, 1000.0]), dim=0)
    tensor([-1000.,     0.])
    """
    if dtype is not None:
        input = input.to(find_dtype(dtype))
    return _log_softmax(input, dim)


# The logarithm of a sum of exponentials

#: g times the softmax, from the logarithm of the sum
_share = Elementwise(
    "logsumexp_backward",
    lambda g, x, total: g * m.exp(x - total),
    (
        lambda c, g, x, total, out: c * m.exp(x - total),
        lambda c, g, x, total, out: c * (g * m.exp(x - total)),
        lambda c, g, x, total, out: -(c * (g * m.exp(x - total))),
    ),
)
_plans: dict[Any, Rows] = {}


def _logsumexp(x: Tensor, dim: int) -> Tensor:
    """Return the result along one dim, which is kept as 1."""
    rows = _plans.get((x._spec, dim))
    if rows is None:
        if len(_plans) > _MOST_PLANS:
            _plans.clear()
        rows = _plans[x._spec, dim] = Rows(x._spec, dim)
        if rows.count and rows.alone:
            rows.forward = rows.plan(kernels.logsumexp)
    if rows.traced:
        with no_grad():
            result = _plain_logsumexp(x.detach(), dim)
        return _with_share(x, dim, result)
    if not rows.alone:
        return _plain_logsumexp(x, dim)
    if not rows.n:
        return x.sum(dim, True) - m.inf  # with a history
    shape = tuple(x.shape)
    kept = (*shape[:dim], 1, *shape[dim + 1 :])
    source = x if x._spec.contiguous else contiguous(x.detach())
    result = empty(contiguous_spec(x.dtype, kept, x._spec.device))
    call = rows.forward
    if call is not None:
        rows.run(call, result, source)
    return _with_share(x, dim, result)


def _plain_logsumexp(x: Tensor, dim: int) -> Tensor:
    most = x.detach().amax(dim, True)
    most = m.where(m.abs(most) == m.inf, 0.0, most)
    return most + m.log(m.exp(x - most).sum(dim, True))


def _with_share(x: Tensor, dim: int, result: Tensor) -> Tensor:
    """Return a result along a dim with its history."""
    if grad_mode.enabled and x.requires_grad:

        def back(g: Tensor, x: Tensor, total: Tensor) -> tuple[Tensor]:
            if grad_mode.enabled:
                total = _logsumexp(x, dim)
            return (_share(g, x, total),)

        saved = (x, result.detach())
        result._node = FunctionNode("LogsumexpBackward0", (edge(x),), back, saved)
        result._requires_grad = True
    return result


@composed(
    "logsumexp",
    dtypes="float",
    names="reduce",
    samples=lambda make: [
        ((make(3, 4), 1), {}),
        ((make(2, 3, 2), (0, 2)), {}),
        ((make(2, 3, 2), 1, True), {}),
    ],
)
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """Return log(sum(exp(input))) over one dim or several, without overflow.

    Integers are computed in the default dtype. Raises: DimError.
    Source: Blanchard, Higham, Higham (2021), Accurately computing the log-sum-exp and
    softmax functions.

    >>> import numtensor as nt
    >>> nt.logsumexp(nt.tensor([1000.0, 1000.0]), dim=0)
    tensor(1000.6932)
    """
    if input._spec.dtype.category != FLOAT:
        input = input / 1
    ndim = input.ndim
    if isinstance(dim, (tuple, list)):
        dims = sorted(normalize_dims("logsumexp", tuple(dim) or None, ndim))
    else:
        dims = [normalize_dim("logsumexp", dim, ndim)]
    if not ndim:
        return reshape(_logsumexp(reshape(input, (1,)), 0), ())
    if len(dims) == 1:
        found = _logsumexp(input, dims[0])
    else:
        rest = [d for d in range(ndim) if d not in dims]
        moved = movedim(input, dims, list(range(len(rest), ndim)))
        rows = reshape(moved, (*[input.shape[d] for d in rest], -1))
        found = _logsumexp(rows, len(rest))
    shape = tuple(
        1 if d in dims else size
        for d, size in enumerate(input.shape)
        if keepdim or d not in dims
    )
    return reshape(found, shape)
