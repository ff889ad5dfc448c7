"""Adadelta: steps as large as earlier ones were for gradients of this size."""

from __future__ import annotations

from typing import Any

from ..ops import m
from ..tensor import Tensor
from .checks import check_lr, check_positive, invalid
from .optimizer import real
from .ruled import Plan, Ruled
from .rules import Rule


def _rule(decays: bool, maximize: bool) -> Rule:
    def build(
        param: Any,
        square: Any,
        moved: Any,
        grad: Any,
        *,
        lr: Any,
        rho: Any,
        fresh: Any,
        eps: Any,
        weight_decay: Any,
    ) -> Any:
        if maximize:
            grad = -grad
        if decays:
            grad = grad + param * weight_decay
        square = square * rho + grad * grad * fresh
        delta = m.sqrt(moved + eps) / m.sqrt(square + eps) * grad
        moved = moved * rho + delta * delta * fresh
        return param - delta * lr, square, moved

    written = ("param", "square_avg", "acc_delta")
    scalars = ("lr", "rho", "fresh", "eps", "weight_decay")
    return Rule(("adadelta", decays, maximize), "adadelta", written, scalars, build)


class Adadelta(Ruled):
    """p -= lr * delta, delta being the gradient times the ratio of the root mean
    squares of earlier deltas and of gradients, running means of rate `rho`.

    Raises: as `RMSprop`.
    Source: Zeiler (2012), arXiv 1212.5701.
    """

    options = (
        "lr",
        "rho",
        "eps",
        "weight_decay",
        "maximize",
        "capturable",
        "differentiable",
    )

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr("Adadelta", lr)
        if not 0.0 <= rho <= 1.0:
            text = f"Invalid rho value: {rho}"
            raise invalid("Adadelta", "rho", rho, "0 to 1", text)
        check_positive("Adadelta", "eps", eps, "epsilon value")
        check_positive("Adadelta", "weight_decay", weight_decay, "weight_decay value")
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _plan(self, group: dict[str, Any]) -> Plan:
        rho, decay = group["rho"], real(group["weight_decay"])
        rule = _rule(decay != 0, bool(group["maximize"]))
        lr, eps = real(group["lr"]), real(group["eps"])
        return Plan(rule, rule.written[1:], (lr, real(rho), 1 - rho, eps, decay))
