"""RAdam: Adam that does without squares until their mean is worth something."""

from __future__ import annotations

from typing import Any

from ..ops import m
from ..tensor import Tensor
from .adam import check_adam, decay_of, decayed
from .optimizer import real
from .ruled import Plan, Ruled
from .rules import Rule


def _rule(decay: str, maximize: bool) -> Rule:
    def build(
        param: Any,
        mean: Any,
        square: Any,
        grad: Any,
        *,
        plain: Any,
        adaptive: Any,
        weight: Any,
        fresh_mean: Any,
        keep_square: Any,
        fresh_square: Any,
        eps: Any,
    ) -> Any:
        if maximize:
            grad = -grad
        param, grad = decayed(decay, param, grad, weight)
        mean = mean + (grad - mean) * fresh_mean
        square = square * keep_square + grad * grad * fresh_square
        # one of the two is 0; where it is `adaptive`, its quotient may be anything
        scaled = m.where(adaptive != 0, adaptive / (m.sqrt(square) + eps), plain)
        return param - mean * scaled, mean, square

    written = ("param", "exp_avg", "exp_avg_sq")
    scalars = (
        "plain",
        "adaptive",
        "weight",
        "fresh_mean",
        "keep_square",
        "fresh_square",
        "eps",
    )
    return Rule(("radam", decay, maximize), "radam", written, scalars, build)


class RAdam(Ruled):
    """Adam with its step rectified for how little is known of the mean of squares; in
    the first steps, momentum alone.

    Raises: as `Adam`.
    Source: Liu and others (2020), ICLR.
    """

    options = (
        "lr",
        "betas",
        "eps",
        "weight_decay",
        "decoupled_weight_decay",
        "maximize",
        "capturable",
        "differentiable",
    )

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_adam("RAdam", lr, betas, eps, weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _plan(self, group: dict[str, Any]) -> Plan:
        beta1, beta2 = group["betas"]
        lr = real(group["lr"])
        how, weight = decay_of(group)
        rule = _rule(how, bool(group["maximize"]))
        rest = (weight, 1 - beta1, real(beta2), 1 - beta2, real(group["eps"]))
        most = 2 / (1 - beta2) - 1

        def by_step(step: float) -> tuple[float, ...]:
            size = lr / (1 - beta1**step)
            correction = 1 - beta2**step
            length = most - 2 * step * beta2**step / correction
            traced = isinstance(step, Tensor)
            if not traced and length <= 5.0:
                return (size, 0.0, *rest)
            rectified = (length - 4) * (length - 2) * most
            rectified = rectified / ((most - 4) * (most - 2) * length)
            adaptive = size * correction**0.5 * rectified**0.5
            if not traced:
                return (0.0, adaptive, *rest)
            few = length <= 5.0
            return (m.where(few, size, 0.0), m.where(few, 0.0, adaptive), *rest)

        return Plan(rule, rule.written[1:], by_step=by_step)
