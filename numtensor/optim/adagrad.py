"""Adagrad: steps scaled by the sum of squared gradients."""

from __future__ import annotations

from typing import Any

from ..modes import no_grad
from ..ops import m
from ..tensor import Tensor
from .checks import check_flags, check_lr, check_positive
from .optimizer import real
from .ruled import Plan, Ruled, zeros_like
from .rules import Rule


def _rule(decays: bool, maximize: bool) -> Rule:
    def build(
        param: Any, total: Any, grad: Any, *, lr: Any, weight_decay: Any, eps: Any
    ) -> Any:
        if maximize:
            grad = -grad
        if decays:
            grad = grad + param * weight_decay
        total = total + grad * grad
        return param - grad / (m.sqrt(total) + eps) * lr, total

    scalars = ("lr", "weight_decay", "eps")
    key = ("adagrad", decays, maximize)
    return Rule(key, "adagrad", ("param", "sum"), scalars, build)


class Adagrad(Ruled):
    """p -= lr * grad / (sqrt(sum(grad ** 2)) + eps), the sum over all steps so far.

    The sum begins at `initial_accumulator_value`; lr is divided by
    1 + (step - 1) * `lr_decay`. `foreach` and `fused` change nothing here.

    Raises: ValueError, an option outside its range; AutogradError, differentiable=True
    at the first step.
    Source: Duchi, Hazan, Singer (2011), Journal of Machine Learning Research 12.
    """

    options = ("lr", "lr_decay", "weight_decay", "eps", "maximize", "differentiable")

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr("Adagrad", lr)
        check_positive("Adagrad", "lr_decay", lr_decay, "lr_decay value")
        check_positive("Adagrad", "weight_decay", weight_decay, "weight_decay value")
        check_positive(
            "Adagrad",
            "initial_accumulator_value",
            initial_accumulator_value,
            "initial_accumulator_value value",
        )
        check_positive("Adagrad", "eps", eps, "epsilon value")
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        check_flags("Adagrad", fused, foreach, differentiable)
        for group in self.param_groups:
            for p in group["params"]:
                self._begin(group, p, self.state[p])

    def _begin(self, group: dict[str, Any], p: Tensor, own: dict[str, Any]) -> None:
        super()._begin(group, p, own)
        own["sum"] = total = zeros_like(p)
        value = self.defaults["initial_accumulator_value"]
        if value:
            with no_grad():
                total.fill_(value)

    def _plan(self, group: dict[str, Any]) -> Plan:
        lr, rate = real(group["lr"]), group["lr_decay"]
        decay = real(group["weight_decay"])
        rule = _rule(decay != 0, bool(group["maximize"]))
        rest = (decay, real(group["eps"]))
        return Plan(
            rule, ("sum",), by_step=lambda step: (lr / (1 + (step - 1) * rate), *rest)
        )
