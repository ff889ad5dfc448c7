"""Rprop: steps by the gradient's sign, of sizes that grow while it stays the same."""

from __future__ import annotations

from typing import Any

from ..modes import no_grad
from ..ops import m
from ..tensor import Tensor
from .checks import check_lr, invalid
from .optimizer import number, real
from .ruled import Plan, Ruled, zeros_like
from .rules import Rule


def _rule(maximize: bool) -> Rule:
    def build(
        param: Any,
        before: Any,
        size: Any,
        grad: Any,
        *,
        shrink: Any,
        grow: Any,
        least: Any,
        most: Any,
    ) -> Any:
        if maximize:
            grad = -grad
        product = grad * before
        factor = m.where(
            product > 0, grow, m.where(product < 0, shrink, product * 0 + 1)
        )
        size = m.minimum(m.maximum(size * factor, least), most)
        # where the sign has changed, no step, and none against it the next time
        grad = m.where(product < 0, grad * 0, grad)
        return param - m.sign(grad) * size, grad, size

    written = ("param", "prev", "step_size")
    scalars = ("shrink", "grow", "least", "most")
    return Rule(("rprop", maximize), "rprop", written, scalars, build)


class Rprop(Ruled):
    """Resilient propagation: each element steps by a size of its own, whatever the size
    of its gradient.

    A size begins at lr, is multiplied by etas[1] where the gradient keeps its sign, by
    etas[0] where it changes, and stays within `step_sizes`.

    Raises: as `RMSprop`.
    Source: Riedmiller and Braun (1993), IEEE Int. Conf. on Neural Networks.
    """

    options = (
        "lr",
        "etas",
        "step_sizes",
        "maximize",
        "capturable",
        "differentiable",
    )

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr("Rprop", lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            text = f"Invalid eta values: {etas[0]}, {etas[1]}"
            raise invalid("Rprop", "etas", etas, "one below 1 and one above", text)
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _begin(self, group: dict[str, Any], p: Tensor, own: dict[str, Any]) -> None:
        super()._begin(group, p, own)
        own["prev"] = zeros_like(p)
        own["step_size"] = zeros_like(p)
        with no_grad():
            own["step_size"].fill_(number(group["lr"]))

    def _plan(self, group: dict[str, Any]) -> Plan:
        rule = _rule(bool(group["maximize"]))
        bounds = (*group["etas"], *group["step_sizes"])
        return Plan(rule, rule.written[1:], tuple(real(b) for b in bounds))
