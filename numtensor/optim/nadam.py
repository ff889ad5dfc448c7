"""NAdam: Adam with Nesterov's momentum."""

from __future__ import annotations

from typing import Any

from ..modes import no_grad
from ..ops import m
from ..tensor import Tensor
from . import recorded
from .adam import check_adam, decay_of, decayed
from .checks import check_positive
from .optimizer import real
from .ruled import Plan, Ruled, counter, place_of
from .rules import Rule


def _rule(decay: str, maximize: bool) -> Rule:
    def build(
        param: Any,
        mean: Any,
        square: Any,
        grad: Any,
        *,
        of_grad: Any,
        of_mean: Any,
        weight: Any,
        fresh_mean: Any,
        keep_square: Any,
        fresh_square: Any,
        correction: Any,
        eps: Any,
    ) -> Any:
        if maximize:
            grad = -grad
        param, grad = decayed(decay, param, grad, weight)
        mean = mean + (grad - mean) * fresh_mean
        square = square * keep_square + grad * grad * fresh_square
        scale = m.sqrt(square / correction) + eps
        return param + grad / scale * of_grad + mean / scale * of_mean, mean, square

    written = ("param", "exp_avg", "exp_avg_sq")
    scalars = (
        "of_grad",
        "of_mean",
        "weight",
        "fresh_mean",
        "keep_square",
        "fresh_square",
        "correction",
        "eps",
    )
    return Rule(("nadam", decay, maximize), "nadam", written, scalars, build)


class NAdam(Ruled):
    """Adam with Nesterov's momentum, which grows from half of betas[0] at the rate
    `momentum_decay`.

    Raises: as `Adam`.
    Source: Dozat (2016), ICLR workshop.
    """

    options = (
        "lr",
        "betas",
        "eps",
        "weight_decay",
        "momentum_decay",
        "decoupled_weight_decay",
        "maximize",
        "capturable",
        "differentiable",
    )

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_adam("NAdam", lr, betas, eps, weight_decay)
        check_positive(
            "NAdam", "momentum_decay", momentum_decay, "momentum_decay value"
        )
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _begin(self, group: dict[str, Any], p: Tensor, own: dict[str, Any]) -> None:
        super()._begin(group, p, own)
        own["mu_product"] = counter(1.0, place_of(p))

    def _plan(self, group: dict[str, Any]) -> Plan:
        rule = _rule(decay_of(group)[0], bool(group["maximize"]))
        return Plan(rule, rule.written[1:])

    def _advance(
        self, group: dict[str, Any], own: dict[str, Any], step: float
    ) -> tuple[float, ...]:
        beta1, beta2 = group["betas"]
        lr = real(group["lr"])
        rate = group["momentum_decay"]
        mu = beta1 * (1.0 - 0.5 * 0.96 ** (step * rate))
        ahead = beta1 * (1.0 - 0.5 * 0.96 ** ((step + 1) * rate))
        held = own["mu_product"]
        with no_grad():
            held.mul_(mu)  # rounded to what the state holds
        product = recorded.wide(held) if isinstance(step, Tensor) else held.item()
        return (
            -lr * (1.0 - mu) / (1.0 - product),
            -lr * ahead / (1.0 - product * ahead),
            decay_of(group)[1],
            1 - beta1,
            real(beta2),
            1 - beta2,
            1 - beta2**step,
            real(group["eps"]),
        )
