"""Losses with a margin: for targets of -1 and 1, for labels, for distances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import ShapeError, message
from ...ops import m
from ...tensor import Tensor
from .pointwise import (
    LOGITS,
    Pointwise,
    declared,
    named_reduction,
    pair,
    softplus_of_minus,
    two,
)

# Outcomes of -1 and 1

_soft_margin = Pointwise(
    "soft_margin_loss",
    lambda x, y: softplus_of_minus(x * y),
    (
        lambda g, x, y, out: -(g * (y * m.sigmoid(-x * y))),
        lambda g, x, y, out: -(g * (x * m.sigmoid(-x * y))),
    ),
)
_hinge = Pointwise(
    "hinge_embedding_loss",
    lambda x, y, margin: (
        m.where(y != 1, m.maximum(margin - x, 0.0), 0.0) + m.where(y != -1, x, 0.0)
    ),
    (
        lambda g, x, y, margin, out: (
            g * (_one(y != -1, x) - _one((y != 1) & (margin - x >= 0), x))
        ),
        lambda g, x, y, margin, out: g * 0,  # it only chooses
        None,
    ),
    numbers=1,
)
_ranking = Pointwise(
    "margin_ranking_loss",
    lambda x, y, z, margin: m.maximum(margin - z * (x - y), 0.0),
    (
        lambda g, x, y, z, margin, out: -(g * m.where(_loses(x, y, z, margin), z, 0.0)),
        lambda g, x, y, z, margin, out: g * m.where(_loses(x, y, z, margin), z, 0.0),
        lambda g, x, y, z, margin, out: (
            g * m.where(_loses(x, y, z, margin), y - x, 0.0)
        ),
        None,
    ),
    numbers=1,
)


def _one(condition: Any, like: Any) -> Any:
    return m.where(condition, like * 0 + 1, 0.0)


def _loses(x: Any, y: Any, z: Any, margin: Any) -> Any:
    return margin - z * (x - y) >= 0


def _two_and_signs(make: Callable[..., Tensor]) -> list[Any]:
    return [((make(3, 4), m.sign(make(3, 4))), {})]


@declared(
    "soft_margin_loss", _two_and_signs, lambda x, y: np.mean(np.log1p(np.exp(-x * y)))
)
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return log(1 + exp(-target * input)) for targets of 1 and -1."""
    if size_average is not None or reduce is not None:
        reduction = named_reduction(size_average, reduce)
    return _soft_margin(reduction, input, target)


@declared("hinge_embedding_loss", _two_and_signs)
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return input where target is 1, max(0, margin - input) where it is -1."""
    if size_average is not None or reduce is not None:
        reduction = named_reduction(size_average, reduce)
    return _hinge(reduction, input, target, float(margin))


@declared(
    "margin_ranking_loss",
    lambda make: [((make(3, 4), make(3, 4), m.sign(make(3, 4))), {"margin": 0.3})],
)
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return max(0, -target * (input1 - input2) + margin): target 1 ranks input1 first.

    Raises: ShapeError, tensors of different numbers of dims.
    """
    if size_average is not None or reduce is not None:
        reduction = named_reduction(size_average, reduce)
    if not input1.ndim == input2.ndim == target.ndim:
        sizes = [list(t.shape) for t in (input1, input2, target)]
        raise ShapeError(
            message(
                "margin_ranking_loss",
                f"shapes {sizes[0]}, {sizes[1]} and {sizes[2]}",
                "one number of dims",
                "margin_ranking_loss : All input tensors should have same dimension "
                f"but got sizes: input1: {input1.size()}, input2: {input2.size()}, "
                f"target: {target.size()}.",
            )
        )
    return _ranking(reduction, input1, input2, target, float(margin))


# Several labels at once

_labels, _labels_weighted = pair(
    "multilabel_soft_margin_loss", LOGITS, 2, "MultilabelSoftMarginLossBackward0"
)


@declared("multilabel_soft_margin_loss", two, names="drop")
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the binary cross entropy of sigmoid(input), averaged over the classes.

    Shapes: (N, C), target (N, C) of 0 and 1, weight (C,); (N,) without reduction.
    """
    if size_average is not None or reduce is not None:
        reduction = named_reduction(size_average, reduce)
    args = (input, target) if weight is None else (input, target, weight)
    loss = _labels if weight is None else _labels_weighted
    if reduction == "none":
        return loss("none", *args).mean(-1)
    if reduction == "sum":
        return loss("sum", *args, divisor=input.shape[-1])
    return loss(reduction, *args)
