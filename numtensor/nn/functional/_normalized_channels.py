"""Channels with mean 0 and variance 1 over a batch: kernels, and the way back.

A gradient that is differentiated itself, and large channels on a GPU, are made of
public operators. Knows nothing of arguments' names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ... import launch
from ...devices import Twin
from ...dtypes import float64
from ...elementwise import Elementwise
from ...kernels.by_hand import normalization as kernels
from ...layout import numel
from ...memory import empty
from ...modes import no_grad
from ...ops.copies import contiguous
from ...ops.reductions import var_mean
from ...ops.softmax import LONGEST_ALONE
from ...ops.views import reshape
from ...spec import Spec, contiguous_spec
from ...storage import ReadOnlyStorage, refuse_writing
from ...tape import Node, edge, grad_mode
from ...tensor import Tensor

#: what an element costs in additions, over all sweeps
_COST = 8
_MOST_PLANS = 4000

affine = Elementwise(
    "affine",
    lambda x, y, z: x * y + z,
    (
        lambda g, x, y, z, out: g * y,
        lambda g, x, y, z, out: g * x,
        lambda g, x, y, z, out: g,
    ),
)


def per_channel(x: Tensor, values: Tensor) -> Tensor:
    """Return one number for each channel in a shape that meets x."""
    return reshape(values, (-1,) + (1,) * (x.ndim - 2))


def scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is not None and bias is not None:
        return affine(x, per_channel(x, weight), per_channel(x, bias))
    if weight is not None:
        return x * per_channel(x, weight)
    return x if bias is None else x + per_channel(x, bias)


class _Channels:
    """How the channels of a (N, C, *) tensor lie, and the kernels over them."""

    __slots__ = (
        "rows", "channels", "n", "count", "like", "each", "wide", "calls", "alone",
        "traced",
    )  # fmt: skip

    def __init__(self, given: Spec) -> None:
        shape = tuple(given.shape)
        self.rows, self.channels = shape[:2]
        self.n = numel(shape[2:])
        self.count = self.rows * self.n  # elements of a channel
        self.like = contiguous_spec(given.dtype, shape, given.device)
        self.each = contiguous_spec(given.dtype, (self.channels,), given.device)
        self.wide = contiguous_spec(float64, (self.channels,), given.device)
        self.traced = type(given.device) is Twin
        self.alone = given.device.type == "cpu" or self.count <= LONGEST_ALONE
        self.alone = self.alone or self.traced
        self.calls: dict[Any, Any] = {}

    def call(self, text: Callable[..., Any], *variant: bool) -> Any:
        """Plan a kernel over channels."""
        key = (text, *variant)
        found = self.calls.get(key)
        if found is None:
            flat = self.n == 1
            wanted = text(self.like.dtype.name, flat, *variant)
            each = kernels.COLUMNS if flat else 1
            found = self.calls[key] = launch.by_tasks(
                wanted, -(-self.channels // each), (self.rows, self.channels, self.n),
                self.like.device, cost=_COST * self.count * each,
            )  # fmt: skip
        return found


_channels: dict[Spec, _Channels] = {}


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the variance and the mean of each channel, of public operators."""
    dims = [0, *range(2, x.ndim)]
    return var_mean(x, dims, correction=0, keepdim=True)


def _batch_rule(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    spread, middle = _statistics(x)
    return scaled((x - middle) * (spread + eps).rsqrt(), weight, bias)


def normalize_batch(
    x: Tensor,
    average: Tensor | None,
    spread: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    eps: float,
) -> Tensor:
    """Return x with each channel normalised over the batch; move the statistics.

    `average` and `spread` are both there, or both None.
    """
    plan = _channels.get(x._spec)
    if plan is None:
        if len(_channels) > _MOST_PLANS:
            _channels.clear()
        plan = _channels[x._spec] = _Channels(x._spec)
    if not plan.count or not plan.channels:
        return scaled(x * 0, weight, bias)
    if not plan.alone or (weight is None) != (bias is None):
        with no_grad():
            now, middle = _statistics(x)
            move(average, middle, momentum)
            move(spread, now * (plan.count / max(1, plan.count - 1)), momentum)
        return _batch_rule(x, weight, bias, eps)
    if plan.traced:
        made, of_channels = _recorded_channels(
            plan, x, average, spread, weight, bias, momentum, eps
        )
        return _with_history(made, x, weight, bias, plan, eps, of_channels)
    source = x if x._spec.contiguous else contiguous(x.detach())
    running = [t for t in (average, spread) if t is not None]
    held = running
    for t in running:
        if type(t._storage) is ReadOnlyStorage:
            refuse_writing("batch_norm")
        if not t._spec.contiguous:
            held = [contiguous(t) for t in running]
    result, sums = empty(plan.like), empty(plan.wide)
    middle, scale = empty(plan.each), empty(plan.each)
    weights = [contiguous(t.detach()) for t in (weight, bias) if t is not None]
    call = plan.call(kernels.channels, bool(weights), bool(held))
    operands = (result, middle, scale, sums, source, *weights, *held)
    call.run(
        call.kernel, call.n, *[t._pointer for t in operands], call.table, eps, momentum
    )
    for t, h in zip(running, held, strict=True):
        if h is t:
            t._storage.version += 1
        else:
            with no_grad():
                t.copy_(h)
    return _with_history(result, x, weight, bias, plan, eps, (middle, scale))


@no_grad()
def _recorded_channels(
    plan: _Channels,
    x: Tensor,
    average: Tensor | None,
    spread: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    eps: float,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return normalised channels, and mean and 1 / deviation of each, of operators that
    are fused where a function is traced."""
    dims = [0, *range(2, x.ndim)]
    middle = x.detach().mean(dims, True)
    gap = x.detach() - middle
    now = (gap * gap).mean(dims, True)
    scale = (now + eps).rsqrt()
    found = contiguous(scaled(gap * scale, weight, bias))
    move(average, middle, momentum)
    move(spread, now * (plan.count / max(1, plan.count - 1)), momentum)
    return found, (middle, scale)


def _with_history(
    result: Tensor,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    plan: _Channels,
    eps: float,
    found: tuple[Tensor, Tensor],
) -> Tensor:
    if grad_mode.enabled and any(
        t is not None and t.requires_grad for t in (x, weight, bias)
    ):
        edges = tuple(None if t is None else edge(t) for t in (x, weight, bias))
        node = _ChannelsNode(edges, (x,) if weight is None else (x, weight))
        node.plan, node.eps, node.found = plan, eps, found
        result._node = node
        result._requires_grad = True
    return result


def move(running: Tensor | None, now: Tensor, momentum: float) -> None:
    """Move a running statistic, if there is one, by `momentum` towards another."""
    if running is not None:
        running.copy_(running * (1 - momentum) + reshape(now, (-1,)) * momentum)


class _ChannelsNode(Node):
    """The record of normalised channels; edges are the input, the weight, the bias."""

    __slots__ = ("plan", "eps", "found")

    plan: _Channels
    eps: float
    found: tuple[Tensor, Tensor]  # mean and 1 / deviation of each channel

    def name(self) -> str:
        return "NativeBatchNormBackward0"

    def backward(self, grad: Tensor) -> Sequence[Tensor | None]:
        x, *rest = self.check_saved()
        weight = rest[0] if rest else None
        if grad_mode.enabled:
            return self._rule(grad, x, weight)
        plan = self.plan
        if plan.traced:
            middle, scale = self.found
            return self._of_unit(grad, x, weight, (x.detach() - middle) * scale, scale)
        g = contiguous(grad)
        source = x if x._spec.contiguous else contiguous(x.detach())
        made, gw, gb = empty(plan.like), empty(plan.each), empty(plan.each)
        first, second = empty(plan.wide), empty(plan.wide)
        more = [] if weight is None else [contiguous(weight.detach())]
        call = plan.call(kernels.channels_backward, bool(more))
        operands = (made, gw, gb, first, second, g, source, *self.found, *more)
        call.run(call.kernel, call.n, *[t._pointer for t in operands], call.table)
        wanted = zip((made, gw, gb), self.edges, strict=True)
        return [None if e is None else t for t, e in wanted]

    def _rule(
        self, grad: Tensor, x: Tensor, weight: Tensor | None
    ) -> Sequence[Tensor | None]:
        """Return the gradients, made of public operators."""
        spread, middle = _statistics(x)
        scale = (spread + self.eps).rsqrt()
        return self._of_unit(grad, x, weight, (x - middle) * scale, scale)

    def _of_unit(
        self, grad: Tensor, x: Tensor, weight: Tensor | None, unit: Tensor,
        scale: Tensor,
    ) -> Sequence[Tensor | None]:  # fmt: skip
        dims = [0, *range(2, x.ndim)]
        h = grad if weight is None else grad * per_channel(x, weight)
        gx = h - h.mean(dims, True) - unit * (h * unit).mean(dims, True)
        found: list[Tensor | None] = [gx * scale, None, None]
        if self.edges[1] is not None:
            found[1] = (grad * unit).sum(dims)
        if self.edges[2] is not None:
            found[2] = grad.sum(dims)
        return found
