"""RMSprop: steps scaled by a running mean of squared gradients."""

from __future__ import annotations

from typing import Any

from ..ops import m
from ..tensor import Tensor
from .checks import check_lr, check_positive
from .optimizer import real
from .ruled import Plan, Ruled
from .rules import Rule


def _rule(decays: bool, momentum: bool, centered: bool, maximize: bool) -> Rule:
    written: tuple[str, ...] = ("param", "square_avg")
    if momentum:
        written += ("momentum_buffer",)
    if centered:
        written += ("grad_avg",)

    def build(
        param: Any,
        square: Any,
        *rest: Any,
        lr: Any,
        alpha: Any,
        fresh: Any,
        eps: Any,
        weight_decay: Any,
        factor: Any,
    ) -> Any:
        *kept, grad = rest
        if maximize:
            grad = -grad
        if decays:
            grad = grad + param * weight_decay
        square = square * alpha + grad * grad * fresh
        spread = square
        means = []
        if centered:
            mean = kept[-1] + (grad - kept[-1]) * fresh
            means.append(mean)
            spread = square - mean * mean
        scaled = grad / (m.sqrt(spread) + eps)
        if not momentum:
            return param - scaled * lr, square, *means
        buffer = kept[0] * factor + scaled
        return param - buffer * lr, square, buffer, *means

    scalars = ("lr", "alpha", "fresh", "eps", "weight_decay", "factor")
    key = ("rmsprop", decays, momentum, centered, maximize)
    return Rule(key, "rmsprop", written, scalars, build)


class RMSprop(Ruled):
    """p -= lr * grad / (sqrt(mean(grad ** 2)) + eps), the mean a running one of rate
    `alpha`.

    `centered` takes the squared mean of the gradient from the mean of squares.
    `momentum` sums up the scaled gradients. `foreach` changes nothing here.

    Raises: ValueError, an option outside its range; at the first step AutogradError,
    differentiable=True, or RuntimeError, capturable=True.
    Source: Hinton's lecture 6 of "Neural networks for machine learning" (2012); Graves
    (2013), arXiv 1308.0850, for `centered`.
    """

    options = (
        "lr",
        "alpha",
        "eps",
        "weight_decay",
        "momentum",
        "centered",
        "maximize",
        "capturable",
        "differentiable",
    )

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr("RMSprop", lr)
        check_positive("RMSprop", "eps", eps, "epsilon value")
        check_positive("RMSprop", "momentum", momentum, "momentum value")
        check_positive("RMSprop", "weight_decay", weight_decay, "weight_decay value")
        check_positive("RMSprop", "alpha", alpha, "alpha value")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _plan(self, group: dict[str, Any]) -> Plan:
        alpha, decay = group["alpha"], real(group["weight_decay"])
        momentum = real(group["momentum"])
        rule = _rule(
            decay != 0, momentum > 0, bool(group["centered"]), bool(group["maximize"])
        )
        lr, eps = real(group["lr"]), real(group["eps"])
        scalars = (lr, real(alpha), 1 - alpha, eps, decay, momentum)
        return Plan(rule, rule.written[1:], scalars)
