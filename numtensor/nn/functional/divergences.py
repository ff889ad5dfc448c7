"""Losses that are likelihoods of distributions, and the divergence between two."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...devices import Twin
from ...errors import ShapeError, message, warn
from ...ops import m
from ...ops.exponential import sigmoid
from ...ops.reductions import any as any_of
from ...ops.views import unsqueeze
from ...tensor import Tensor
from .pointwise import Pointwise, declared, named_reduction, names_of_each, two


def _negative(var: Any) -> bool:
    """Whether a variance is negative; nobody knows while a function is traced."""
    if not isinstance(var, Tensor):
        return bool(var < 0)
    return type(var._spec.device) is not Twin and bool(any_of(var < 0))


_kl = Pointwise(
    "kl_div",
    lambda x, y: m.where(y == 0, 0.0, y * m.log(y)) - y * x,
    (lambda g, x, y, out: -(g * y), lambda g, x, y, out: g * (m.log(y) + 1 - x)),
)
_kl_logs = Pointwise(
    "kl_div",
    lambda x, y: m.exp(y) * (y - x),
    (
        lambda g, x, y, out: -(g * m.exp(y)),
        lambda g, x, y, out: g * (m.exp(y) * (y - x + 1)),
    ),
)


@declared(
    "kl_div",
    lambda make: [
        ((make(3, 4), sigmoid(make(3, 4))), {"reduction": "batchmean"}),
        ((make(3, 4), make(3, 4)), {"reduction": "sum", "log_target": True}),
    ],
)
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """Return the Kullback-Leibler divergence of target from exp(input).

    target * (log(target) - input); `log_target` says that target holds logarithms too.
    reduction="batchmean" divides the sum by the size of dim 0.
    Source: Kullback, Leibler (1951), On information and sufficiency.
    """
    if size_average is not None or reduce is not None:
        reduction = named_reduction(size_average, reduce)
    elif reduction == "mean":
        warn(
            "reduction: 'mean' divides the total loss by both the batch size and the "
            "support size.'batchmean' divides only by the batch size, and aligns with "
            "the KL div math definition.'mean' will be changed to behave the same as "
            "'batchmean' in the next major release."
        )
    loss = _kl_logs if log_target else _kl
    if reduction == "batchmean":
        size = input.shape[0] if input.ndim else 1
        return loss("sum", input, target, divisor=size)
    return loss(reduction, input, target)


def _stirling(y: Any) -> Any:
    """log(y!) for y above 1, by Stirling's formula; 0 below, as PyTorch has it."""
    # inside the logarithms what is masked anyway must be positive
    safe = m.where(y > 1, y, 1.0)
    found = safe * m.log(safe) - safe + 0.5 * m.log(2 * math.pi * safe)
    return m.where(y > 1, found, 0.0)


def _stirling_slope(y: Any) -> Any:
    safe = m.where(y > 1, y, 1.0)
    return m.where(y > 1, m.log(safe) + 0.5 / safe, 0.0)


def _poisson(full: bool) -> tuple[Pointwise, Pointwise]:
    """Return the losses of the logarithm of a rate, and of a rate."""

    def more(y: Any) -> Any:
        return _stirling(y) if full else 0.0

    def slope(y: Any) -> Any:
        return _stirling_slope(y) if full else 0.0

    of_log = Pointwise(
        "poisson_nll_loss",
        lambda x, y: m.exp(x) - y * x + more(y),
        (
            lambda g, x, y, out: g * (m.exp(x) - y),
            lambda g, x, y, out: g * (slope(y) - x),
        ),
    )
    of_rate = Pointwise(
        "poisson_nll_loss",
        lambda x, y, eps: x - y * m.log(x + eps) + more(y),
        (
            lambda g, x, y, eps, out: g * (1 - y / (x + eps)),
            lambda g, x, y, eps, out: g * (slope(y) - m.log(x + eps)),
            None,
        ),
        numbers=1,
    )
    return of_log, of_rate


_POISSON = {full: _poisson(full) for full in (False, True)}


@declared("poisson_nll_loss", two, lambda x, y: np.mean(np.exp(x) - y * x))
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the negative log likelihood of counts under Poisson's distribution.

    exp(input) - target * input, or without `log_input` input - target * log(input +
    eps); `full` adds Stirling's approximation of log(target!) for targets above 1.
    """
    if size_average is not None or reduce is not None:
        reduction = named_reduction(size_average, reduce)
    of_log, of_rate = _POISSON[bool(full)]
    if log_input:
        return of_log(reduction, input, target)
    return of_rate(reduction, input, target, float(eps))


_gaussian = Pointwise(
    "gaussian_nll_loss",
    lambda x, y, v, eps, more: (
        0.5 * (m.log(m.maximum(v, eps)) + (x - y) * (x - y) / m.maximum(v, eps)) + more
    ),
    (
        lambda g, x, y, v, eps, more, out: g * ((x - y) / m.maximum(v, eps)),
        lambda g, x, y, v, eps, more, out: g * ((y - x) / m.maximum(v, eps)),
        # through the bound, as if it were the variance
        lambda g, x, y, v, eps, more, out: (
            g * (_gaussian_slope(x - y, m.maximum(v, eps)))
        ),
        None,
        None,
    ),
    numbers=2,
)


def _gaussian_slope(gap: Any, v: Any) -> Any:
    return 0.5 * (1 - gap * gap / v) / v


def _names_beside_variances(args: dict[str, Any]) -> Any:
    # a variance for each row has one dim fewer, and the rows' is its last
    var = args["var"]
    rows = isinstance(var, Tensor) and var.ndim == args["input"].ndim - 1
    return names_of_each({**args, "var": None} if rows else args)


@declared(
    "gaussian_nll_loss",
    lambda make: [((make(3, 4), make(3, 4), sigmoid(make(3, 4))), {})],
    names=_names_beside_variances,
)
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Return the negative log likelihood under normal distributions.

    (log(var) + (input - target)**2 / var) / 2, var at least `eps`; `full` adds log(2
    pi) / 2. `var` is a number or has the input's shape, with at most one dim of size 1
    or without the last dim. Source: Nix, Weigend (1994), Estimating the mean and
    variance of the target probability distribution. Raises: ShapeError.
    """
    op, size = "gaussian_nll_loss", tuple(input.shape)
    if _negative(var):
        fault = "var has negative entry/entries."
        raise ShapeError(message(op, "a negative var", ">= 0", fault))
    if not isinstance(var, Tensor):
        var = input.detach().new_full((1,) * len(size), float(var))
    elif tuple(var.shape) != size:
        shape = tuple(var.shape)
        if shape == size[:-1]:
            var = unsqueeze(var, -1)
        elif not _one_wide(shape, size):
            raise ShapeError(
                message(
                    op,
                    f"var of shape {list(shape)} for input of {list(size)}",
                    "the input's shape, or one dim of size 1 or missing at the end",
                    "var is of incorrect size.",
                )
            )
    more = 0.5 * math.log(2 * math.pi) if full else 0.0
    return _gaussian(reduction, input, target, var, float(eps), more)


def _one_wide(given: tuple[int, ...], size: tuple[int, ...]) -> bool:
    """Return whether one dim, and only one, is 1 in place of the size."""
    if len(given) != len(size):
        return False
    return [a for a, b in zip(given, size, strict=True) if a != b] == [1]
