"""Adam and AdamW: steps scaled by running means of the gradient and of its square."""

from __future__ import annotations

from typing import Any

from ..errors import message
from ..ops import m
from ..tensor import Tensor
from .checks import check_betas, check_flags, check_lr, check_positive
from .optimizer import number, real
from .ruled import Plan, Ruled
from .rules import Rule


def decay_of(group: dict[str, Any]) -> tuple[str, float]:
    """Return how weights decay, "", "coupled" or "decoupled", and the number for it."""
    decay = real(group["weight_decay"])
    if decay == 0:
        return "", 0.0
    if group["decoupled_weight_decay"]:
        return "decoupled", 1 - real(group["lr"]) * decay
    return "coupled", decay


def decayed(how: str, param: Any, grad: Any, weight: Any) -> tuple[Any, Any]:
    """Return parameter and gradient with the decay that `decay_of` found."""
    if how == "coupled":
        return param, grad + param * weight
    return (param * weight if how == "decoupled" else param), grad


def _rule(decay: str, amsgrad: bool, maximize: bool) -> Rule:
    """Return the update with the terms that options leave."""

    def build(
        param: Any,
        mean: Any,
        square: Any,
        *rest: Any,
        lr: Any,
        weight: Any,
        fresh_mean: Any,
        keep_square: Any,
        fresh_square: Any,
        correction: Any,
        eps: Any,
    ) -> Any:
        *highest, grad = rest
        if maximize:
            grad = -grad
        param, grad = decayed(decay, param, grad, weight)
        mean = mean + (grad - mean) * fresh_mean
        square = square * keep_square + grad * grad * fresh_square
        if amsgrad:
            top = m.maximum(highest[0], square)
            return (
                param - mean / (m.sqrt(top) / correction + eps) * lr,
                mean,
                square,
                top,
            )
        return param - mean / (m.sqrt(square) / correction + eps) * lr, mean, square

    written: tuple[str, ...] = ("param", "exp_avg", "exp_avg_sq")
    if amsgrad:
        written += ("max_exp_avg_sq",)
    scalars = (
        "lr",
        "weight",
        "fresh_mean",
        "keep_square",
        "fresh_square",
        "correction",
        "eps",
    )
    return Rule(("adam", decay, amsgrad, maximize), "adam", written, scalars, build)


def check_adam(name: str, lr: Any, betas: Any, eps: Any, weight_decay: Any) -> None:
    """Check what Adam and its kin have in common. Raises: ValueError."""
    check_lr(name, lr)
    check_positive(name, "eps", eps, "epsilon value")
    check_betas(name, betas)
    check_positive(name, "weight_decay", weight_decay, "weight_decay value")


class Adam(Ruled):
    """Adam: p -= lr * mean(grad) / (sqrt(mean(grad ** 2)) + eps).

    The means are running ones, of rates of decay `betas`, corrected for having begun at
    0. `amsgrad` divides by the largest mean of squares so far. `weight_decay` times p
    is added to the gradient, or, with `decoupled_weight_decay`, lr * weight_decay * p
    is taken from p. `foreach` and `fused` change nothing here, since every step is
    fused.

    Raises: ValueError, an option outside its range; at the first step AutogradError,
    differentiable=True, or RuntimeError, capturable=True.
    Source: Kingma and Ba (2015), ICLR; Reddi, Kale, Kumar (2018), ICLR, for `amsgrad`.

    >>> import numtensor as nt
    >>> from numtensor import optim
    >>> w = nt.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = optim.Adam([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000, 1.9000], requires_grad=True)
    >>> optimizer.state[w]["step"]
    tensor(1.)
    """

    options = (
        "lr",
        "betas",
        "eps",
        "weight_decay",
        "amsgrad",
        "maximize",
        "decoupled_weight_decay",
        "capturable",
        "differentiable",
    )

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        name = type(self).__name__
        if isinstance(lr, Tensor) and foreach and not capturable:
            raise ValueError(
                message(
                    name,
                    "lr as a Tensor with foreach=True",
                    "a number",
                    "lr as a Tensor is not supported for capturable=False and "
                    "foreach=True",
                )
            )
        check_adam(name, lr, betas, eps, weight_decay)
        kinds = [isinstance(b, Tensor) for b in betas]
        if kinds[0] != kinds[1] or not all(
            isinstance(b, (float, Tensor)) for b in betas
        ):
            raise ValueError(
                message(
                    name,
                    f"betas of types {[type(b).__name__ for b in betas]}",
                    "two floats or two tensors",
                    "betas must be either both floats or both Tensors",
                )
            )
        defaults = {
            "lr": lr,
            "betas": tuple(number(b) for b in betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)
        check_flags(name, fused, foreach, differentiable)

    def _plan(self, group: dict[str, Any]) -> Plan:
        beta1, beta2 = map(number, group["betas"])
        lr, eps = real(group["lr"]), real(group["eps"])
        how, weight = decay_of(group)
        rule = _rule(how, bool(group["amsgrad"]), bool(group["maximize"]))
        means = (1 - beta1, real(beta2), 1 - beta2)

        def by_step(step: float) -> tuple[float, ...]:
            size = lr / (1 - beta1**step)
            return (size, weight, *means, (1 - beta2**step) ** 0.5, eps)

        return Plan(rule, rule.written[1:], by_step=by_step)


class AdamW(Adam):
    """Adam whose weight decay acts on the parameter, not on the gradient's means.

    Raises: as `Adam`.
    Source: Loshchilov and Hutter (2019), ICLR.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def _complete(self, group: dict[str, Any]) -> None:
        super()._complete(group)
        group["decoupled_weight_decay"] = True
