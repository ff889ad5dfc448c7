"""Steps of optimisers while a function is traced: recorded, with nothing counted in
Python.

A count of steps is a tensor of the state that a recorded operator increments, and what
depends on it is computed from it by recorded operators, in float64. The update of a
parameter is one launch, as it is in `rules`, such numbers being inputs of no dims.
Knows no single optimiser.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .. import launch
from ..dtypes import float64
from ..modes import no_grad
from ..spec import Spec
from ..tensor import Tensor
from .rules import Batch, Rule, check

if TYPE_CHECKING:
    from .ruled import Ruled

_calls: dict[Any, Any] = {}


def option(value: Any) -> Any:
    """Return a hyperparameter as the step computes with it: a tensor stays one."""
    return wide(value) if isinstance(value, Tensor) else value


def wide(held: Tensor) -> Tensor:
    """Return what a tensor of one element holds now, as a float64 of no dims."""
    return held.detach().reshape(()).to(float64, copy=True)  # type: ignore[no-any-return]


@no_grad()
def step(optimizer: Ruled) -> None:
    """Record a step of all parameters that have a gradient."""
    for group in optimizer.param_groups:
        plan = optimizer.fresh_plan(group, option)
        for p in group["params"]:
            grad = p._grad
            if grad is None:
                continue
            own: dict[str, Any] = {}
            if plan.kept or optimizer.counts:
                own = optimizer.state[p]
            chosen = plan.first if optimizer.begin(group, p, own, plan) else None
            chosen = chosen or plan
            count: Any = 0.0
            if optimizer.counts:
                own["step"].add_(1)
                count = wide(own["step"])
            scalars = chosen.scalars
            if scalars is None and chosen.by_step is not None:
                scalars = chosen.by_step(count)
            elif scalars is None:
                scalars = optimizer._advance(group, own, count)
            written = [p, *[own[name] for name in plan.kept]]
            _update(chosen.update, written, grad, scalars)


def _update(
    update: Any, written: Sequence[Tensor], grad: Tensor, scalars: Sequence[Any]
) -> None:
    rule: Rule = update.rule
    grad = Batch(update, ()).apart(written, grad)
    tensors = tuple(
        (name, value)
        for name, value in zip(rule.scalars, scalars, strict=True)
        if isinstance(value, Tensor)
    )
    specs = (*[t._spec for t in written], grad._spec)
    key = (rule.key, specs, tuple(name for name, _ in tensors))
    call = _calls.get(key)
    if call is None:
        if len(_calls) > 4000:
            _calls.clear()
        call = _calls[key] = _planned(rule, specs, key[2])
    if not specs[0].numel:
        return
    for t in written:
        t._storage.version += 1  # memory that must not be written refuses here
    pointers = [t._pointer for t in written]
    call.run(
        call.kernel, call.n, *pointers, *pointers, grad._pointer,
        *[t._pointer for _, t in tensors], call.table,
        *[v for v in scalars if not isinstance(v, Tensor)],
    )  # fmt: skip


def _planned(rule: Rule, specs: Sequence[Spec], tensors: tuple[str, ...]) -> Any:
    """Plan a rule at tensors of some layouts, some of its scalars being tensors."""
    check(rule, specs)
    param = specs[0]
    kinds = tuple(s.dtype.name for s in specs[:-1])
    named = zip((*rule.written, "grad"), specs, strict=True)
    still = (0,) * param.ndim
    return launch.elementwise(
        param.shape,
        [(s.dtype.name, s.strides) for s in specs[:-1]],
        [launch.Input(name, s.dtype.name, s.strides) for name, s in named]
        + [launch.Input(name, "float64", still) for name in tensors],
        launch.Body(
            (rule.key, kinds, tensors),
            rule.name,
            lambda values: rule.evaluate(values, kinds),
            tuple((n, kinds[0]) for n in rule.scalars if n not in tensors),
        ),
        param.device,
    )
