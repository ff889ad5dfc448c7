"""Losses of corresponding elements: of numbers, and of two outcomes.

Each is an expression with its derivatives (`pointwise`) and the public function, which
checks arguments as PyTorch does. Losses over classes are in `class_losses`, those with
a margin in `margin_losses`, of distributions in `divergences`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...devices import CPU
from ...errors import ShapeError, message
from ...layout import broadcast_shapes
from ...ops import m
from ...ops.exponential import sigmoid
from ...reduce import Reduction
from ...tensor import Tensor
from .pointwise import (
    LOGITS,
    Pointwise,
    declared,
    named_reduction,
    of_two,
    pair,
    reduced,
    softplus_of_minus,
    two,
    warn_of_sizes,
)

# Distances of numbers

_mse = Pointwise(
    "mse_loss",
    lambda x, y: (x - y) * (x - y),
    (lambda g, x, y, out: g * (2 * (x - y)), lambda g, x, y, out: g * (2 * (y - x))),
)
_mse_of_two = of_two(_mse)
_l1 = Pointwise(
    "l1_loss",
    lambda x, y: m.abs(x - y),
    (lambda g, x, y, out: g * m.sign(x - y), lambda g, x, y, out: g * m.sign(y - x)),
)
_l1_of_two = of_two(_l1)


def _bent(x: Any, y: Any, beta: Any) -> Any:
    gap = m.abs(x - y)
    return m.where(gap < beta, 0.5 * gap * gap / beta, gap - 0.5 * beta)


def _bent_slope(gap: Any, beta: Any) -> Any:
    return m.where(m.abs(gap) < beta, gap / beta, m.sign(gap))


def _huber_of(x: Any, y: Any, delta: Any) -> Any:
    # not `_bent` times delta, which may be infinite
    gap = m.abs(x - y)
    return m.where(gap < delta, 0.5 * gap * gap, delta * (gap - 0.5 * delta))


def _clipped(gap: Any, delta: Any) -> Any:
    return m.where(m.abs(gap) < delta, gap, m.sign(gap) * delta)


_smooth_l1 = Pointwise(
    "smooth_l1_loss",
    _bent,
    (
        lambda g, x, y, beta, out: g * _bent_slope(x - y, beta),
        lambda g, x, y, beta, out: g * _bent_slope(y - x, beta),
        None,
    ),
    numbers=1,
)
_huber = Pointwise(
    "huber_loss",
    _huber_of,
    (
        lambda g, x, y, delta, out: g * _clipped(x - y, delta),
        lambda g, x, y, delta, out: g * _clipped(y - x, delta),
        None,
    ),
    numbers=1,
)


def _weighted_distance(
    loss: Pointwise, reduction: str, by_weight: bool, weight: Tensor, *args: Any
) -> Tensor:
    """Reduce losses of elements that have weights; a mean may be over the weights."""
    input = args[0]
    if weight.shape != input.shape:
        raise ShapeError(
            message(
                loss.name,
                f"weights of shape {list(weight.shape)}",
                f"the input's {list(input.shape)}",
                "Weights and input must have the same size.",
            )
        )
    found = loss("none", *args) * weight
    if reduction == "mean" and by_weight:
        return found.sum() / weight.sum()
    return reduced(loss.name, found, reduction)


@declared("mse_loss", two, lambda x, y: np.mean((x - y) ** 2))
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the mean (or sum, or all) of the squares of input - target.

    With `weight` the mean is over the weights. Warns of sizes that differ, and
    broadcasts. Raises: ShapeError, DTypeError, an integer dtype.

    >>> import numtensor as nt
    >>> nt.nn.functional.mse_loss(nt.tensor([1.0, 2.0]), nt.tensor([1.0, 4.0]))
    tensor(2.)
    """
    if size_average is not None or reduce is not None:
        reduction = named_reduction(size_average, reduce)
    if input._spec is not target._spec and input._spec.shape != target._spec.shape:
        warn_of_sizes(input, target)
    if weight is not None:
        return _weighted_distance(_mse, reduction, True, weight, input, target)
    return _mse_of_two(input, target, reduction)


@declared("l1_loss", two, lambda x, y: np.mean(np.abs(x - y)))
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the mean (or sum, or all) of abs(input - target).

    With `weight` the mean is over the weights. Raises: ShapeError, DTypeError.
    """
    if size_average is not None or reduce is not None:
        reduction = named_reduction(size_average, reduce)
    if input._spec is not target._spec and input._spec.shape != target._spec.shape:
        warn_of_sizes(input, target)
    if weight is not None:
        return _weighted_distance(_l1, reduction, True, weight, input, target)
    return _l1_of_two(input, target, reduction)


@declared("smooth_l1_loss", two)
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Return a distance that is square below `beta` and straight from there on.

    gap**2 / (2 beta) where gap = abs(input - target) < beta, else gap - beta / 2.
    Source: Girshick (2015), Fast R-CNN. Raises: ShapeError, a negative beta.
    """
    if size_average is not None or reduce is not None:
        reduction = named_reduction(size_average, reduce)
    if input._spec is not target._spec and input._spec.shape != target._spec.shape:
        warn_of_sizes(input, target)
    if not beta >= 0:  # NaN too
        raise ShapeError(
            message(
                "smooth_l1_loss",
                f"beta={beta}",
                "0 or more",
                "smooth_l1_loss does not support negative values for beta.",
            )
        )
    if beta == 0:
        return _l1_of_two(input, target, reduction)
    return _smooth_l1(reduction, input, target, float(beta))


@declared("huber_loss", two)
def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Return `delta` times `smooth_l1_loss`: half the square below `delta`.

    Source: Huber (1964), Robust estimation of a location parameter.
    Raises: ShapeError, a delta that is not positive.
    """
    if input._spec is not target._spec and input._spec.shape != target._spec.shape:
        warn_of_sizes(input, target)
    if not delta > 0:  # NaN too
        raise ShapeError(
            message(
                "huber_loss",
                f"delta={delta}",
                "a positive number",
                "huber_loss does not support non-positive values for delta.",
            )
        )
    bend = float(delta)
    if weight is not None:
        return _weighted_distance(_huber, reduction, False, weight, input, target, bend)
    return _huber(reduction, input, target, bend)


# Probabilities of two outcomes


def _clipped_log(x: Any) -> Any:
    # a log of 0 would make every other sample's gradient meaningless
    return m.maximum(m.log(x), -100.0)


def _clipped_log1m(x: Any) -> Any:
    return m.maximum(m.log1p(-x), -100.0)


_BCE = (
    lambda x, y: (y - 1) * _clipped_log1m(x) - y * _clipped_log(x),
    (
        lambda g, x, y, out: g * ((x - y) / m.maximum((1 - x) * x, 1e-12)),
        lambda g, x, y, out: g * (_clipped_log1m(x) - _clipped_log(x)),
    ),
)


_LOGITS_POSITIVE = (
    lambda x, y, p: (1 - y) * x + (1 + (p - 1) * y) * softplus_of_minus(x),
    (
        lambda g, x, y, p, out: g * ((1 - y) - (1 + (p - 1) * y) * m.sigmoid(-x)),
        lambda g, x, y, p, out: g * ((p - 1) * softplus_of_minus(x) - x),
        lambda g, x, y, p, out: g * (y * softplus_of_minus(x)),
    ),
)


_bce, _bce_weighted = pair(
    "binary_cross_entropy", _BCE, 2, "BinaryCrossEntropyBackward0"
)
_NODE = "BinaryCrossEntropyWithLogitsBackward0"
_logits, _logits_weighted = pair("bce_with_logits", LOGITS, 2, _NODE)
_logits_of_two = of_two(_logits)
_positive, _positive_weighted = pair("bce_with_logits", _LOGITS_POSITIVE, 3, _NODE)

_outside = Reduction(
    "outside", "max", None, why="a check",
    before=lambda x: m.where((x >= 0) & (x <= 1), x * 0, 1.0),
)  # fmt: skip


def _check_probabilities(values: Tensor, what: str) -> None:
    """Refuse what is no probability, where the host can look without waiting."""
    if values._spec.device is not CPU:
        return
    if not values.is_floating_point() or not values.numel():
        return
    if _outside(values.detach()).item():
        raise ShapeError(
            message(
                "binary_cross_entropy",
                f"{what} outside 0 to 1",
                "probabilities",
                f"all elements of {what} should be between 0 and 1. Use sigmoid, or "
                "binary_cross_entropy_with_logits.",
            )
        )


def _check_scales(op: str, input: Tensor, *scales: Tensor | None) -> None:
    """Refuse weights that would make more elements than there are."""
    shape = input._spec.shape
    for scale in scales:
        if scale is None or scale._spec.shape == shape[-scale._spec.ndim :]:
            continue
        wide = broadcast_shapes(op, shape, scale._spec.shape)
        if tuple(wide) != tuple(shape):
            raise ShapeError(
                message(
                    op,
                    f"a weight of shape {list(scale.shape)}",
                    f"one that broadcasts to {list(shape)}",
                    f"output with shape {list(shape)} doesn't match the broadcast "
                    f"shape {list(wide)}.",
                )
            )


def _two_probabilities(make: Callable[..., Tensor]) -> list[Any]:
    return [((sigmoid(make(3, 4)), sigmoid(make(3, 4))), {})]


@declared(
    "binary_cross_entropy",
    _two_probabilities,
    lambda x, y: -np.mean(y * np.log(x) + (1 - y) * np.log1p(-x)),
)
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the cross entropy of probabilities of two outcomes.

    -(target * log(input) + (1 - target) * log(1 - input)), logs at least -100; `weight`
    scales elements. Raises: ShapeError, sizes that differ, or (in host memory) numbers
    outside 0 to 1.

    >>> import numtensor as nt
    >>> nt.nn.functional.binary_cross_entropy(nt.tensor([0.5]), nt.tensor([1.0]))
    tensor(0.6931)
    """
    if size_average is not None or reduce is not None:
        reduction = named_reduction(size_average, reduce)
    if target.shape != input.shape:
        raise ShapeError(
            message(
                "binary_cross_entropy",
                f"shapes {list(input.shape)} and {list(target.shape)}",
                "one shape",
                f"Using a target size ({target.size()}) that is different to the input "
                f"size ({input.size()}) is deprecated. Please ensure they have the "
                "same size.",
            )
        )
    _check_probabilities(input, "input")
    _check_probabilities(target, "target")
    if weight is None:
        return _bce(reduction, input, target)
    _check_scales("binary_cross_entropy", input, weight)
    return _bce_weighted(reduction, input, target, weight)


@declared(
    "binary_cross_entropy_with_logits",
    two,
    lambda x, y: np.mean(np.logaddexp(0, x) - x * y),
)
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Return the binary cross entropy of sigmoid(input), without its rounding.

    `weight` scales elements, `pos_weight` the part of the target that is 1; both
    broadcast. Raises: ShapeError, target of another size.

    >>> import numtensor as nt
    >>> f = nt.nn.functional.binary_cross_entropy_with_logits
    >>> f(nt.tensor([0.0, 100.0]), nt.tensor([1.0, 1.0]))
    tensor(0.3466)
    """
    if size_average is not None or reduce is not None:
        reduction = named_reduction(size_average, reduce)
    if target._spec.shape != input._spec.shape:
        raise ShapeError(
            message(
                "binary_cross_entropy_with_logits",
                f"shapes {list(input.shape)} and {list(target.shape)}",
                "one shape",
                f"Target size ({target.size()}) must be the same as input size "
                f"({input.size()}).",
            )
        )
    if pos_weight is None and weight is None:
        return _logits_of_two(input, target, reduction)
    _check_scales("binary_cross_entropy_with_logits", input, weight, pos_weight)
    if pos_weight is None:
        return _logits_weighted(reduction, input, target, weight)
    if weight is None:
        return _positive(reduction, input, target, pos_weight)
    return _positive_weighted(reduction, input, target, pos_weight, weight)
