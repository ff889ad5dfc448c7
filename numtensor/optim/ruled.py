"""Optimisers whose update of a parameter is one kernel: how their `step` runs.

A subclass says which options it reads, which tensors it keeps for a parameter, and, in
a `Plan` for each combination of options, the rule and its scalars. Nothing of a single
optimiser may come in here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from ..devices import CPU, Twin, active, tracing
from ..devices import device as Device
from ..errors import message
from ..layout import contiguous_strides, is_dense
from ..memory import empty
from ..modes import enable_grad, no_grad
from ..spec import contiguous_spec, spec
from ..tensor import Tensor
from . import recorded
from .gathering import kept, plain
from .optimizer import (
    Optimizer,
    _global_post_hooks,
    _global_pre_hooks,
    counter_dtype,
    hooked,
    no_history,
    number,
)
from .rules import Batch, Rule, Update

_updates: dict[Any, Update] = {}
#: what a state holds as tensors of one element
COUNTERS = ("step", "mu_product", "eta", "mu")


def update_of(rule: Rule) -> Update:
    """Return the update of a rule, the same object each time."""
    found = _updates.get(rule.key)
    if found is None:
        found = _updates.setdefault(rule.key, Update(rule))
    return found


def counter(value: float, on: Device = CPU) -> Tensor:
    """Return a number as states hold it: a tensor of no dims, in host memory."""
    made = empty(contiguous_spec(counter_dtype(), (), on))
    with no_grad():
        made.fill_(value)
    return made


def place_of(p: Tensor) -> Device:
    """Return where what counts the steps of a parameter is: in host memory, or, while a
    function is traced, with the parameter."""
    on = p._spec.device
    return on if type(on) is Twin else CPU


def _counted(own: dict[str, Any], more: float) -> float:
    """Add to the count of steps in a state; return the new one."""
    held = own["step"]
    value: float = held.item() + more
    if more:
        with no_grad():
            held.fill_(value)
    return value


def zeros_like(p: Tensor) -> Tensor:
    """Return zeros that lie in memory as a parameter does, if it is dense."""
    found = p._spec
    strides = found.strides
    if not is_dense(found.shape, strides):
        strides = contiguous_strides(found.shape)
    made = empty(spec(found.dtype, tuple(found.shape), strides, found.device))
    with no_grad():
        made.zero_()
    return made


@hooked
def _full_step(self: Ruled, closure: Callable[[], Any] | None = None) -> Any:
    """Step with a closure, with hooks around."""
    loss = None
    if closure is not None:
        with enable_grad():
            loss = closure()
    self._step()
    return loss


class Plan:
    """What follows from the options of a group.

    `kept` are the names of the tensors that the rule writes besides the parameter.
    `scalars` are its numbers, if they never change; else `by_step(step)` returns them
    for the count of steps, or the optimiser's `_advance` for each parameter. `first`,
    if any, is the plan for parameters of which nothing is kept yet.
    """

    __slots__ = ("update", "kept", "scalars", "by_step", "first", "values")

    def __init__(
        self,
        rule: Rule,
        names: tuple[str, ...],
        scalars: tuple[float, ...] | None = None,
        by_step: Callable[[float], tuple[float, ...]] | None = None,
        first: Plan | None = None,
    ) -> None:
        self.update = update_of(rule)
        self.kept = names
        self.scalars = scalars
        self.by_step = by_step
        self.first = first
        self.values: Any = None


class Ruled(Optimizer):
    """An optimiser whose update of one parameter is one kernel.

    Parameters of few elements are updated in one call of all of them.
    """

    #: the options of a group that a plan depends on
    options: tuple[str, ...]
    #: whether `state["step"]` counts the steps of a parameter
    counts = True

    _read: Callable[[dict[str, Any]], tuple[Any, ...]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "options" in cls.__dict__:
            cls._read = itemgetter(*cls.options)  # type: ignore[assignment]

    def _start(self) -> None:
        super()._start()
        self._plans: list[Plan] = []
        # what count_up answers: the new count, and whether all counters were equal
        self._count = (ctypes.c_double * 2)()
        self._count_at = ctypes.addressof(self._count)
        for group in self.__dict__.get("param_groups", ()):
            self._complete(group)

    def _complete(self, group: dict[str, Any]) -> None:
        """Give a group of an older state dict the options it lacks."""
        for key, value in self.defaults.items():
            group.setdefault(key, value)
        for p in group["params"]:
            own = self.state.get(p)
            for key in COUNTERS:
                if own and isinstance(own.get(key), (int, float)):
                    own[key] = counter(own[key])

    # what an optimiser says of itself

    def _plan(self, group: dict[str, Any]) -> Plan:
        """Return what to do, given the options of a group."""
        raise NotImplementedError

    def _begin(self, group: dict[str, Any], p: Tensor, own: dict[str, Any]) -> None:
        """Fill the state of a parameter that has none."""
        if self.counts:
            own["step"] = counter(0.0, place_of(p))

    def _advance(
        self, group: dict[str, Any], own: dict[str, Any], step: float
    ) -> tuple[float, ...]:
        """Return the scalars of one parameter, for plans that leave them open."""
        raise NotImplementedError

    # the step

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters that have a gradient.

        `closure` computes the loss, and its gradients, anew; its result is returned.
        """
        if (
            closure is not None
            or self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or _global_pre_hooks
            or _global_post_hooks
        ):
            return _full_step(self, closure) if closure else _full_step(self)
        self._opt_called = True
        self._step()
        return None

    step.hooked = True  # type: ignore[attr-defined]

    def _step(self) -> None:
        if active[0] and tracing.trace is not None:
            recorded.step(self)
            return
        plans = self._plans
        for k, group in enumerate(self.param_groups):
            try:
                plan = plans[k]
            except IndexError:
                plan = self._planned(k, group)
            if plan.values != self._read(group):
                plan = self._planned(k, group)
            if not self._quick(group, plan):
                self._careful(group, plan)

    def fresh_plan(
        self, group: dict[str, Any], of: Callable[[Any], Any] = number
    ) -> Plan:
        """Return what to do, each option being what `of` makes of it."""
        name = type(self).__name__
        if group.get("differentiable"):
            raise no_history(name)
        if group.get("capturable"):
            raise RuntimeError(
                message(
                    name,
                    "capturable=True",
                    "capturable=False",
                    "Steps are counted on the host, and are not captured in graphs.",
                )
            )
        return self._plan({key: of(value) for key, value in group.items()})

    def _planned(self, k: int, group: dict[str, Any]) -> Plan:
        plan = self.fresh_plan(group)
        # an option that is a tensor may change unseen: None is equal to no options
        values = self._read(group)
        plan.values = None if any(isinstance(v, Tensor) for v in values) else values
        self._plans[k : k + 1] = [plan]
        return plan

    def _quick(self, group: dict[str, Any], plan: Plan) -> bool:
        """Update parameters in host memory, those of few elements by one call.

        Returns False, with nothing changed, if some parameter is another, or is met for
        the first time, or has made more steps than the others.
        """
        update = plan.update
        names = plan.kept
        scalars = plan.scalars
        by_step = plan.by_step
        params, headers = group["params"], update.headers
        large: list[Tensor] = []
        counters: list[int] = []
        counts = self.counts
        if scalars is None and by_step is None:
            return False
        try:
            if counts:
                flat = kept(params, headers, self.state, names, counters, large)
            elif names:
                flat = kept(params, headers, self.state, names, None, large)
            else:
                flat = plain(params, headers, large)
        except (KeyError, AttributeError, TypeError):
            return False
        if not (flat or large):
            return True
        if counts:
            update.count_up(self._count_at, *counters)
            if not self._count[1]:
                return False
        if scalars is None:
            scalars = by_step(self._count[0])  # type: ignore[misc]
        if flat and update.run(*update.shape, *scalars, *flat) is not None:
            self._careful(group, plan, counted=counts)
        elif large:
            batch = Batch(update, scalars)
            for p in large:
                own = self.state[p] if names else {}
                grad = p._grad
                assert grad is not None
                batch.add((p, *[own[name] for name in names]), grad)
            batch.run()
        return True

    def begin(
        self, group: dict[str, Any], p: Tensor, own: dict[str, Any], plan: Plan
    ) -> bool:
        """See that the state of a parameter is whole; return whether it was not."""
        if not own and (plan.kept or self.counts):
            self._begin(group, p, own)
        begun = False
        for name in plan.kept:
            if own.get(name) is None:
                own[name] = zeros_like(p)
                begun = True
        return begun

    def prepare(self) -> None:
        """Make what the state of parameters lacks, as the first step would, so that a
        traced step finds it.

        What counts steps of a parameter on a device goes there. A parameter whose first
        step differs from the later ones gets no state.
        """
        for group in self.param_groups:
            plan = self.fresh_plan(group)
            if plan.first is not None and not self.starts_from_zero(group):
                continue
            for p in group["params"]:
                if not p._requires_grad or not (plan.kept or self.counts):
                    continue
                own = self.state[p]
                self.begin(group, p, own, plan)
                for key in COUNTERS:
                    held = own.get(key)
                    if held is not None and held._spec.device is not p._spec.device:
                        own[key] = held.to(p._spec.device)

    def starts_from_zero(self, group: dict[str, Any]) -> bool:
        """Whether the plan for later steps does the first one too, if what is kept
        begins at 0."""
        return True

    def _careful(
        self, group: dict[str, Any], plan: Plan, counted: bool = False
    ) -> None:
        """Update parameters of all kinds; `counted` says that counters have been."""
        batches: dict[Any, Batch] = {}
        for p in group["params"]:
            grad = p._grad
            if grad is None:
                continue
            chosen = plan
            own: dict[str, Any] = {}
            if plan.kept or self.counts:
                own = self.state[p]
                if self.begin(group, p, own, plan):
                    chosen = plan.first or plan
            step = 0.0
            if self.counts:
                step = _counted(own, 0.0 if counted else 1.0)
            scalars = chosen.scalars
            if scalars is None:
                if chosen.by_step is not None:
                    scalars = chosen.by_step(step)
                else:
                    scalars = self._advance(group, own, step)
            key = (id(chosen), scalars)
            batch = batches.get(key)
            if batch is None:
                batch = batches[key] = Batch(chosen.update, scalars)
            batch.add((p, *[own[name] for name in plan.kept]), grad)
        for batch in batches.values():
            batch.run()
