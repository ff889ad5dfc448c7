"""Adamax: Adam with the largest gradient in place of the mean of squares."""

from __future__ import annotations

from typing import Any

from ..ops import m
from ..tensor import Tensor
from .adam import check_adam
from .optimizer import real
from .ruled import Plan, Ruled
from .rules import Rule


def _rule(decays: bool, maximize: bool) -> Rule:
    def build(
        param: Any,
        mean: Any,
        norm: Any,
        grad: Any,
        *,
        lr: Any,
        weight_decay: Any,
        fresh: Any,
        keep: Any,
        eps: Any,
    ) -> Any:
        if maximize:
            grad = -grad
        if decays:
            grad = grad + param * weight_decay
        mean = mean + (grad - mean) * fresh
        norm = m.maximum(norm * keep, m.abs(grad) + eps)
        return param - mean / norm * lr, mean, norm

    written = ("param", "exp_avg", "exp_inf")
    scalars = ("lr", "weight_decay", "fresh", "keep", "eps")
    return Rule(("adamax", decays, maximize), "adamax", written, scalars, build)


class Adamax(Ruled):
    """Adam with a decaying maximum of |grad| in place of the mean of squares.

    Raises: as `Adam`.
    Source: Kingma and Ba (2015), ICLR, section 7.1.
    """

    options = (
        "lr",
        "betas",
        "eps",
        "weight_decay",
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
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_adam("Adamax", lr, betas, eps, weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _plan(self, group: dict[str, Any]) -> Plan:
        beta1, beta2 = group["betas"]
        lr, decay = real(group["lr"]), real(group["weight_decay"])
        rule = _rule(decay != 0, bool(group["maximize"]))
        rest = (decay, 1 - beta1, real(beta2), real(group["eps"]))
        return Plan(
            rule,
            rule.written[1:],
            by_step=lambda step: (lr / (1 - beta1**step), *rest),
        )
