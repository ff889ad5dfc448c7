"""ASGD: gradient descent that also averages where it has been."""

from __future__ import annotations

from typing import Any

from ..modes import no_grad
from ..ops import m
from ..tensor import Tensor
from . import recorded
from .checks import check_lr, check_positive
from .optimizer import number, real
from .ruled import Plan, Ruled, counter, place_of
from .rules import Rule


def _rule(decays: bool, maximize: bool) -> Rule:
    def build(
        param: Any,
        mean: Any,
        grad: Any,
        *,
        eta: Any,
        keep: Any,
        mu: Any,
        weight_decay: Any,
    ) -> Any:
        if maximize:
            grad = -grad
        if decays:
            grad = grad + param * weight_decay
        param = param * keep - grad * eta
        return param, m.where(mu != 1, mean + (param - mean) * mu, param)

    scalars = ("eta", "keep", "mu", "weight_decay")
    return Rule(("asgd", decays, maximize), "asgd", ("param", "ax"), scalars, build)


class ASGD(Ruled):
    """Averaged gradient descent: `state[p]["ax"]` is the mean of p since step `t0`.

    The step size is lr / (1 + lambd * lr * step) ** alpha, and p decays by `lambd`
    times it.

    Raises: as `RMSprop`.
    Source: Polyak and Juditsky (1992), SIAM J. Control Optim. 30(4).
    """

    options = (
        "lr",
        "lambd",
        "alpha",
        "t0",
        "weight_decay",
        "maximize",
        "capturable",
        "differentiable",
    )

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr("ASGD", lr)
        check_positive("ASGD", "weight_decay", weight_decay, "weight_decay value")
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _begin(self, group: dict[str, Any], p: Tensor, own: dict[str, Any]) -> None:
        super()._begin(group, p, own)
        own["eta"] = counter(number(group["lr"]), place_of(p))
        own["mu"] = counter(1.0, place_of(p))

    def _plan(self, group: dict[str, Any]) -> Plan:
        return Plan(_rule(group["weight_decay"] != 0, bool(group["maximize"])), ("ax",))

    def _advance(
        self, group: dict[str, Any], own: dict[str, Any], step: float
    ) -> tuple[float, ...]:
        lr, lambd = number(group["lr"]), group["lambd"]
        decay = real(group["weight_decay"])
        if isinstance(step, Tensor):
            eta, mu = recorded.wide(own["eta"]), recorded.wide(own["mu"])
            own["eta"].copy_(lr / (1 + lambd * lr * step) ** group["alpha"])
            own["mu"].copy_(1 / (step - group["t0"]).clamp(min=1.0))
            return eta, 1 - lambd * eta, mu, decay
        # those that the step before has left, rounded to what the state holds
        eta, mu = own["eta"].item(), own["mu"].item()
        with no_grad():
            own["eta"].fill_(lr / (1 + lambd * lr * step) ** group["alpha"])
            own["mu"].fill_(1 / max(1, step - group["t0"]))
        return eta, 1 - lambd * eta, mu, decay
