"""Drawing indices by given weights."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..devices import Twin
from ..errors import DTypeError, ShapeError, message
from ..tensor import Tensor
from .declare import composed
from .registry import function


def _checked(weights: Tensor, count: int, replacement: bool) -> None:
    if not weights.is_floating_point():
        raise DTypeError(
            message(
                "multinomial",
                f"weights of {weights.dtype}",
                "a floating-point dtype",
                "multinomial only supports floating-point dtypes for input. Use "
                "x.float().",
            )
        )
    if weights.ndim not in (1, 2):
        raise ShapeError(
            message(
                "multinomial",
                f"weights with {weights.ndim} dims",
                "a vector, or rows of weights",
                "prob_dist must be 1 or 2 dim.",
            )
        )
    if count < 1 or (not replacement and count > weights.shape[-1]):
        raise ShapeError(
            message(
                "multinomial",
                f"num_samples={count} of {weights.shape[-1]}",
                "1 or more, without replacement at most as many as there are weights",
                "cannot sample n_sample <= 0 samples."
                if count < 1
                else "cannot sample n_sample > prob_dist.size(-1) samples without "
                "replacement.",
            )
        )
    if type(weights._spec.device) is Twin:
        return  # there is nothing to look at while a function is traced
    bad = ~(weights >= 0).all() | ~weights.isfinite().all()
    if bool(bad | ~(weights.sum(-1) > 0).all()):
        raise ShapeError(
            message(
                "multinomial",
                "weights that are negative, not finite, or all 0 in a row",
                "weights of 0 or more, one of them above",
                "probability tensor contains either `inf`, `nan` or element < 0, or "
                "the sum of probabilities <= 0.",
            )
        )


@composed(
    "multinomial",
    names="drop",
    differentiable=False,
    why="integer result",
    samples=lambda make: [
        ((make(4).abs() + 0.1, 2), {}),
        ((make(2, 3).abs() + 0.1, 5, True), {}),
    ],
)
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None
) -> Tensor:
    """Return indices drawn with probabilities proportional to weights, row by row.

    Shapes: (n) -> (num_samples), (m, n) -> (m, num_samples). With replacement a uniform
    number is looked up in the running sums. Without, the indices are those of the
    smallest exponential numbers divided by the weights. Source: P. Efraimidis, P.
    Spirakis, "Weighted random sampling with a reservoir", Information Processing
    Letters 97, 2006. Raises: DTypeError, ShapeError.

    >>> import numtensor as nt
    >>> nt.multinomial(nt.tensor([0.0, 1.0, 0.0]), 3, replacement=True)
    tensor([1, 1, 1])
    """
    _checked(input, num_samples, replacement)
    weights = input.detach().to(dtypes.float64)
    shape = (*input.shape[:-1], num_samples if replacement else input.shape[-1])
    drawn = function("rand")(
        shape, dtype=dtypes.float64, device=input.device, generator=generator
    )
    if replacement:
        sums = function("cumsum")(weights, -1)
        # the last weight above 0 is where the sums reach their total
        places = function("searchsorted")(sums, drawn * sums[..., -1:], right=True)
        last = function("searchsorted")(sums, sums[..., -1:].contiguous())
        return function("minimum")(places, last)
    keys = -function("log1p")(-drawn) / weights
    order = function("argsort")(keys, -1, stable=True)[..., :num_samples].contiguous()
    if type(order._spec.device) is Twin:
        return order
    if bool((function("gather")(weights, -1, order) == 0).any()):
        raise ShapeError(
            message(
                "multinomial",
                f"num_samples={num_samples} and fewer weights above 0",
                "as many weights above 0 as samples",
                "invalid multinomial distribution (with replacement=False, not enough "
                "non-negative category to sample). Use replacement=True.",
            )
        )
    return order
