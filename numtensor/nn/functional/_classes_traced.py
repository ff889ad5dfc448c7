"""Losses over classes while a function is traced: operators that become one kernel.

What `class_losses` does by hand, in words of public operators: each sweeps over the
rows of scores, so that they are fused with each other and with what is around them. A
class is found by comparing, not by indexing. The ways back are written out, since the
one that the tape would take goes over the rows more often.
"""

from __future__ import annotations

import math
from typing import Any

from ... import dtypes
from ...modes import no_grad
from ...ops import m
from ...ops.registry import function
from ...ops.views import reshape, unsqueeze
from ...tensor import Tensor


class Rows:
    """The scores of each target, one dim being that of the classes.

    `hits` marks the target's class. A class that there is not makes its loss NaN, as on
    a GPU.
    """

    def __init__(
        self, plan: Any, x: Tensor, classes: Tensor, weights: Tensor | None
    ) -> None:
        self.plan = plan
        self.dim, n = plan.dim, plan.n
        shape = [1] * x.ndim
        shape[self.dim] = n
        self.target = unsqueeze(classes, self.dim)
        self.counts = self.target != plan.ignore
        # narrow numbers are compared faster
        near = self.target.clamp(-1, n).to(dtypes.int32)
        numbers = function("arange")(n, dtype=dtypes.int32, device=x.device)
        self.hits = reshape(numbers, tuple(shape)) == near
        self.weights = None if weights is None else reshape(weights, tuple(shape))
        self.smoothing = plan.smoothing[0] if plan.smoothing else 0.0

    def at_target(self, values: Tensor) -> Tensor:
        """Return what each row holds at its target's class."""
        return m.where(self.hits, values, 0.0).sum(self.dim, True)  # type: ignore[no-any-return]

    def weight(self) -> Any:
        """Return the weight of each target, 1 without weights."""
        return 1.0 if self.weights is None else self.at_target(self.weights)

    def share(self) -> Any:
        """Return what losses are divided by: the weight of all that count."""
        if self.plan.reduction != "mean":
            return 1.0
        each = m.where(self.counts, self.weight(), 0.0)
        return each.to(self.plan.dtype).sum()

    def reduced(self, each: Tensor, share: Any) -> Tensor:
        """Return the loss from that of each row."""
        wrong = (self.target < 0) | (self.target >= self.plan.n)
        each = m.where(self.counts, m.where(wrong, math.nan, each), 0.0)
        if self.plan.reduction == "none":
            return each.squeeze(self.dim)
        total = each.sum()
        return total if self.plan.reduction == "sum" else total / share

    def scale(self, g: Tensor, share: Any) -> Tensor:
        """Return what the gradient of each row's loss is multiplied by."""
        if self.plan.reduction == "none":
            g = unsqueeze(g, self.dim)
        elif self.plan.reduction == "mean":
            g = g / share
        return m.where(self.counts, g, 0.0)  # type: ignore[no-any-return]


class Kept:
    """What the way back wants to know of the way there."""

    __slots__ = ("share", "most", "total")

    def __init__(self, share: Any, most: Any = None, total: Any = None) -> None:
        self.share, self.most, self.total = share, most, total


@no_grad()
def loss(
    plan: Any, x: Tensor, classes: Tensor, weights: Tensor | None
) -> tuple[Tensor, Kept]:
    """Return the loss, and what `gradient` needs."""
    x = x.detach()
    rows = Rows(plan, x, classes, weights)
    share = rows.share()
    if plan.op == "nll_loss":
        each = -(rows.at_target(x) * rows.weight())
        return rows.reduced(each, share), Kept(share)
    most = x.amax(plan.dim, True)
    gap = x - most
    total = m.exp(gap).sum(plan.dim, True)
    logarithm = m.log(total)
    each = (logarithm - rows.at_target(gap)) * rows.weight()
    if rows.smoothing:
        if rows.weights is None:
            rest = logarithm * plan.n - gap.sum(plan.dim, True)
        else:
            rest = ((logarithm - gap) * rows.weights).sum(plan.dim, True)
        each = each * (1 - rows.smoothing) + rest * (rows.smoothing / plan.n)
    return rows.reduced(each, share), Kept(share, most, total)


@no_grad()
def gradient(
    plan: Any, g: Tensor, x: Tensor, kept: Kept, classes: Tensor, weights: Any
) -> Tensor:
    """Return the gradient of the scores."""
    x = x.detach()
    rows = Rows(plan, x, classes, weights)
    scale = rows.scale(g, kept.share)
    if plan.op == "nll_loss":
        return m.where(rows.hits, -(scale * rows.weight()), 0.0)  # type: ignore[no-any-return]
    powers = m.exp(x - kept.most)
    smoothing = rows.smoothing
    if not smoothing:
        slope = scale * rows.weight()
        # one division a row, not one an element
        return powers * (slope / kept.total) - m.where(rows.hits, slope, 0.0)  # type: ignore[no-any-return]
    powers = powers / kept.total
    even = smoothing / plan.n
    parts: Any = rows.hits.to(plan.dtype) * (1 - smoothing) + even
    whole: Any = 1.0
    if rows.weights is not None:
        parts = parts * rows.weights
        whole = rows.weight() * (1 - smoothing) + rows.weights.sum() * even
    return (powers * whole - parts) * scale
