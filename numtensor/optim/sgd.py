"""SGD: stochastic gradient descent, with momentum, plain or Nesterov's."""

from __future__ import annotations

from typing import Any

from ..errors import message
from ..tensor import Tensor
from .checks import check_flags, check_lr, check_positive, invalid
from .optimizer import real
from .ruled import Plan, Ruled
from .rules import Rule


def _rule(
    decays: bool, momentum: bool, nesterov: bool, maximize: bool, first: bool
) -> Rule:
    """Return the update, with the terms that options leave."""

    def build(
        param: Any, *kept: Any, lr: Any, weight_decay: Any, **of_momentum: Any
    ) -> Any:
        *buffers, grad = kept
        if maximize:
            grad = -grad
        if decays:
            grad = grad + param * weight_decay
        if not momentum:
            return (param - grad * lr,)
        factor = of_momentum["momentum"]
        buffer = grad
        if not first:
            buffer = buffers[0] * factor + grad * of_momentum["fresh"]
        grad = grad + buffer * factor if nesterov else buffer
        return param - grad * lr, buffer

    written = ("param", "momentum_buffer") if momentum else ("param",)
    scalars: tuple[str, ...] = ("lr", "weight_decay")
    if momentum:
        scalars += ("momentum", "fresh")
    key = ("sgd", decays, momentum, nesterov, maximize, first)
    return Rule(key, "sgd", written, scalars, build)


class SGD(Ruled):
    """Stochastic gradient descent: p -= lr * (grad + weight_decay * p).

    With momentum, a running sum of gradients takes the gradient's place: it is
    multiplied by `momentum` and grows by (1 - `dampening`) of the gradient at each
    step; the first gradient is taken whole. `nesterov` looks one step ahead. `maximize`
    ascends. `foreach` and `fused` change nothing here, since every step is fused.

    Raises: ValueError, an option outside its range; AutogradError, differentiable=True
    at the first step.
    Source of Nesterov's form: Sutskever and others (2013), ICML.

    >>> import numtensor as nt
    >>> from numtensor import optim
    >>> w = nt.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = optim.SGD([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.5000, 1.0000], requires_grad=True)
    """

    options = (
        "lr",
        "momentum",
        "dampening",
        "weight_decay",
        "nesterov",
        "maximize",
        "differentiable",
    )
    counts = False

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr("SGD", lr)
        if momentum < 0.0:
            text = f"Invalid momentum value: {momentum}"
            raise invalid("SGD", "momentum", momentum, "0 or more", text)
        check_positive("SGD", "weight_decay", weight_decay, "weight_decay value")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(
                message(
                    "SGD",
                    f"nesterov=True, momentum={momentum}, dampening={dampening}",
                    "momentum above 0 and no dampening",
                    "Nesterov momentum requires a momentum and zero dampening",
                )
            )
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        check_flags("SGD", fused, foreach, differentiable)

    def _plan(self, group: dict[str, Any]) -> Plan:
        decays = group["weight_decay"] != 0
        momentum = group["momentum"] != 0
        flags = (decays, momentum, bool(group["nesterov"]), bool(group["maximize"]))
        scalars: tuple[float, ...] = (real(group["lr"]), real(group["weight_decay"]))
        if not momentum:
            return Plan(_rule(*flags, False), (), scalars)
        scalars += (real(group["momentum"]), 1.0 - group["dampening"])
        kept = ("momentum_buffer",)
        first = Plan(_rule(*flags, True), kept, scalars)
        return Plan(_rule(*flags, False), kept, scalars, first=first)

    def starts_from_zero(self, group: dict[str, Any]) -> bool:
        return bool(group["dampening"] == 0)
