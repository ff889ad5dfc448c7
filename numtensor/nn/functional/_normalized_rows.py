"""Rows with mean 0 and variance 1: kernels, and the way back.

A gradient that is differentiated itself, and long rows on a GPU, are made of public
operators. Knows nothing of groups and of arguments' names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import launch
from ...devices import Twin
from ...kernels.by_hand import normalization as kernels
from ...memory import empty, result_of
from ...modes import no_grad
from ...ops.copies import contiguous
from ...ops.reductions import sum as sum_of
from ...ops.softmax import LONGEST_ALONE
from ...ops.views import reshape
from ...spec import Spec, contiguous_spec
from ...tape import Node, edge, grad_mode
from ...tensor import Tensor

#: what an element costs in additions, over all sweeps
_COST = 8
_MOST_PLANS = 4000
#: parts into which the sums for weights are cut
_BLOCKS = 16


class _Rows:
    """How a tensor is cut into rows of n, and the kernels over them."""

    __slots__ = (
        "n", "count", "like", "each", "alone", "calls", "blocks", "sums", "traced",
    )  # fmt: skip

    def __init__(self, given: Spec, n: int) -> None:
        self.n = n
        self.count = given.numel // n if n else 0
        self.like = contiguous_spec(given.dtype, tuple(given.shape), given.device)
        self.each = contiguous_spec(given.dtype, (self.count,), given.device)
        self.alone = given.device.type == "cpu" or n <= LONGEST_ALONE
        self.alone = self.alone or type(given.device) is Twin
        self.traced = type(given.device) is Twin
        self.calls: dict[Any, Any] = {}
        on_cpu = given.device.type == "cpu"
        self.blocks = min(_BLOCKS, self.count) if on_cpu else self.count
        self.sums = contiguous_spec(given.dtype, (self.blocks, n), given.device)

    def forward(self, center: bool, weight: bool, bias: bool) -> Any:
        key = (center, weight, bias)
        call = self.calls.get(key)
        if call is None:
            text = kernels.rows(self.like.dtype.name, center, weight, bias)
            call = self.calls[key] = launch.by_tasks(
                text, self.count, (self.n,), self.like.device, cost=_COST * self.n
            )
        return call

    def backward(self, center: bool, weight: bool, sums: bool) -> Any:
        key = ("back", center, weight, sums)
        call = self.calls.get(key)
        if call is None:
            text = kernels.rows_backward(self.like.dtype.name, center, weight, sums)
            blocks = self.blocks if sums else self.count
            block = -(-self.count // blocks)
            cost = _COST * self.n * block
            numbers = (self.n, self.count, block)
            call = launch.by_tasks(text, blocks, numbers, self.like.device, cost=cost)
            self.calls[key] = call
        return call


_rows: dict[Any, _Rows] = {}


def _rows_of(given: Spec, n: int) -> _Rows:
    found = _rows.get((given, n))
    if found is None:
        if len(_rows) > _MOST_PLANS:
            _rows.clear()
        found = _rows[given, n] = _Rows(given, n)
    return found


def _plain_rows(
    x: Tensor, n: int, weight: Any, bias: Any, eps: float, center: bool
) -> tuple[Tensor, Tensor]:
    """Return normalised rows and 1 / deviation, made of public operators."""
    rows = reshape(x, (-1, n))
    gap = rows - rows.mean(1, True) if center else rows
    scale = ((gap * gap).mean(1, True) + eps).rsqrt()
    return gap * scale, scale


def normalize_rows(
    x: Tensor,
    n: int,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    center: bool,
    name: str,
) -> Tensor:
    """Return x with rows of n, which lie together, normalised and scaled."""
    rows = _rows_of(x._spec, n)
    if not rows.count:  # empty, with a history
        found = x * 0 if weight is None else x * weight
        return found if bias is None else found + bias
    if not rows.alone:
        found, _ = _plain_rows(x, n, weight, bias, eps, center)
        if weight is not None:
            found = found * reshape(weight, (n,))
        if bias is not None:
            found = found + reshape(bias, (n,))
        return reshape(found, tuple(x.shape))
    if rows.traced:
        made, found_rows = _recorded_rows(x, n, weight, bias, eps, center)
        return _with_history(made, x, weight, bias, rows, eps, center, found_rows, name)
    source = x if x._spec.contiguous else contiguous(x.detach())
    result, middle, scale = empty(rows.like), empty(rows.each), empty(rows.each)
    w = None if weight is None else contiguous(weight)
    b = None if bias is None else contiguous(bias)
    call = rows.forward(center, w is not None, b is not None)
    more = [t._pointer for t in (w, b) if t is not None]
    call.run(
        call.kernel, call.n, result._pointer, middle._pointer, scale._pointer,
        source._pointer, *more, call.table, eps,
    )  # fmt: skip
    return _with_history(
        result, x, weight, bias, rows, eps, center, (middle, scale), name
    )


@no_grad()
def _recorded_rows(
    x: Tensor, n: int, weight: Any, bias: Any, eps: float, center: bool
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return normalised rows, and mean and 1 / deviation of each, of operators that
    are fused where a function is traced."""
    rows = reshape(x.detach(), (-1, n))
    middle = rows.mean(1, True) if center else rows.new_zeros(())
    gap = rows - middle if center else rows
    scale = ((gap * gap).mean(1, True) + eps).rsqrt()
    found = gap * scale
    if weight is not None:
        found = found * reshape(weight.detach(), (n,))
    if bias is not None:
        found = found + reshape(bias.detach(), (n,))
    made = contiguous(reshape(found, tuple(x.shape)))
    # no view of what nobody else has: it gets a history of its own
    return result_of(made._storage, made._pointer, made._spec), (middle, scale)


def _with_history(
    result: Tensor,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    rows: _Rows,
    eps: float,
    center: bool,
    found: tuple[Tensor, Tensor],
    name: str,
) -> Tensor:
    if grad_mode.enabled and any(
        t is not None and t.requires_grad for t in (x, weight, bias)
    ):
        edges = tuple(None if t is None else edge(t) for t in (x, weight, bias))
        node = _RowsNode(edges, (x,) if weight is None else (x, weight))
        node.rows, node.eps, node.center = rows, eps, center
        node.found = found
        node.shapes = tuple(
            None if t is None else tuple(t.shape) for t in (weight, bias)
        )
        node._name = name
        result._node = node
        result._requires_grad = True
    return result


class _RowsNode(Node):
    """The record of normalised rows; edges are the input, the weight, the bias."""

    __slots__ = ("rows", "eps", "center", "found", "shapes", "_name")

    rows: _Rows
    eps: float
    center: bool
    found: tuple[Tensor, Tensor]  # mean and 1 / deviation of each row
    shapes: tuple[Any, ...]
    _name: str

    def name(self) -> str:
        return self._name

    def backward(self, grad: Tensor) -> Sequence[Tensor | None]:
        x, *rest = self.check_saved()
        weight = rest[0] if rest else None
        if grad_mode.enabled:
            return self._rule(grad, x, weight)
        rows = self.rows
        if rows.traced:
            return self._back_of_recorded(grad, x, weight)
        sums = self.edges[1] is not None or self.edges[2] is not None
        call = rows.backward(self.center, weight is not None, sums)
        g = contiguous(grad)
        source = x if x._spec.contiguous else contiguous(x.detach())
        made = empty(rows.like)
        parts = [empty(rows.sums), empty(rows.sums)] if sums else []
        more = [] if weight is None else [contiguous(weight.detach())]
        operands = (made, *parts, g, source, *self.found, *more)
        call.run(call.kernel, call.n, *[t._pointer for t in operands], call.table)
        found: list[Tensor | None] = [made, None, None]
        for k, part in enumerate(parts):
            if self.edges[1 + k] is not None:
                found[1 + k] = reshape(sum_of.operator(part, 0), self.shapes[k])
        return found

    def _rule(
        self, grad: Tensor, x: Tensor, weight: Tensor | None
    ) -> Sequence[Tensor | None]:
        """Return the gradients, made of public operators."""
        unit, scale = _plain_rows(x, self.rows.n, weight, None, self.eps, self.center)
        return self._of_unit(grad, x, weight, unit, scale)

    def _back_of_recorded(
        self, grad: Tensor, x: Tensor, weight: Tensor | None
    ) -> Sequence[Tensor | None]:
        middle, scale = self.found
        rows = reshape(x.detach(), (-1, self.rows.n))
        unit = (rows - middle if self.center else rows) * scale
        return self._of_unit(grad, x, weight, unit, scale)

    def _of_unit(
        self, grad: Tensor, x: Tensor, weight: Tensor | None, unit: Tensor,
        scale: Tensor,
    ) -> Sequence[Tensor | None]:  # fmt: skip
        n = self.rows.n
        g = reshape(grad, (-1, n))
        h = g if weight is None else g * reshape(weight, (n,))
        gx = h - unit * (h * unit).mean(1, True)
        if self.center:
            gx = gx - h.mean(1, True)
        found: list[Tensor | None] = [reshape(gx * scale, tuple(x.shape)), None, None]
        if self.edges[1] is not None:
            found[1] = reshape((g * unit).sum(0), self.shapes[0])
        if self.edges[2] is not None:
            found[2] = reshape(g.sum(0), self.shapes[1])
        return found
