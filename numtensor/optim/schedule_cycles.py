"""Schedules that go up and down: cosines, restarts, cycles."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from typing import Any

from .optimizer import Optimizer
from .schedule import (
    LRScheduler,
    Rates,
    bad,
    check_optimizer,
    for_groups,
    put,
    rates,
)


class CosineAnnealingLR(LRScheduler):
    """The rate swings between its initial value and `eta_min` as a cosine, half a turn
    in `T_max` epochs.

    Source: Loshchilov and Hutter (2017), ICLR.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> Rates:
        """Return the rates of `last_epoch`."""
        self._asked()
        now = rates(self.optimizer)
        epoch, half, least = self.last_epoch, self.T_max, self.eta_min
        if self._is_initial:
            return now
        if self._step_count == 1 and epoch > 0:
            return self._get_closed_form_lr()
        if (epoch - 1 - half) % (2 * half) == 0:
            rise = (1 - math.cos(math.pi / half)) / 2
            return [
                lr + (base - least) * rise
                for lr, base in zip(now, self.base_lrs, strict=True)
            ]
        ratio = 1 + math.cos(math.pi * epoch / half)
        ratio /= 1 + math.cos(math.pi * (epoch - 1) / half)
        return [ratio * (lr - least) + least for lr in now]

    def _get_closed_form_lr(self) -> Rates:
        height = 1 + math.cos(math.pi * self.last_epoch / self.T_max)
        least = self.eta_min
        return [least + (base - least) * height / 2 for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """The rate falls to `eta_min` as a cosine in `T_0` epochs and begins anew, each
    time taking `T_mult` times as long. `step` also takes fractions of epochs.

    Raises: ValueError.
    Source: Loshchilov and Hutter (2017), ICLR.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        name = type(self).__name__
        if not isinstance(T_0, int) or T_0 <= 0:
            text = f"Expected positive integer T_0, but got {T_0}"
            raise bad(name, f"T_0={T_0}", "a positive integer", text)
        if not isinstance(T_mult, int) or T_mult < 1:
            text = f"Expected integer T_mult >= 1, but got {T_mult}"
            raise bad(name, f"T_mult={T_mult}", "a positive integer", text)
        if not isinstance(eta_min, (float, int)):
            kind = type(eta_min)
            text = f"Expected float or int eta_min, but got {eta_min} of type {kind}"
            raise bad(name, f"eta_min={eta_min}", "a number", text)
        self.T_0 = T_0
        self.T_i: float = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> Rates:
        """Return the rates of `last_epoch`."""
        self._asked()
        height = 1 + math.cos(math.pi * self.T_cur / self.T_i)
        least = self.eta_min
        return [least + (base - least) * height / 2 for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Go on to the next epoch, or to `epoch`. Raises: ValueError, below 0."""
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        else:
            self._go_to(epoch)
        self.last_epoch = math.floor(epoch)
        with self._within_step():
            values = self.get_lr()
        self._set(values)

    def _go_to(self, epoch: float) -> None:
        if epoch < 0:
            text = f"Expected non-negative epoch, but got {epoch}"
            raise bad(type(self).__name__, f"epoch={epoch}", "0 or more", text)
        if epoch < self.T_0:
            self.T_i = self.T_0
            self.T_cur = epoch
        elif self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        else:
            ratio = self.T_mult
            n = int(math.log(epoch / self.T_0 * (ratio - 1) + 1, ratio))
            self.T_cur = epoch - self.T_0 * (ratio**n - 1) / (ratio - 1)
            self.T_i = self.T_0 * ratio**n


class _Momentum(LRScheduler):
    """A schedule that moves the momentum, or the first beta, against the rate."""

    cycle_momentum: bool
    use_beta1: bool

    def _take_momentum(
        self, optimizer: Optimizer, base: Any, highest: Any, last_epoch: int
    ) -> tuple[list[Any], list[Any]]:
        """Return momenta of all groups, lowest and highest, and put them there."""
        defaults = optimizer.defaults
        if "momentum" not in defaults and "betas" not in defaults:
            raise bad(
                type(self).__name__,
                f"cycle_momentum=True with {type(optimizer).__name__}",
                "an optimizer with momentum or betas",
                "optimizer must support momentum or beta1 with `cycle_momentum` option "
                "enabled",
            )
        self.use_beta1 = "betas" in defaults
        lows = for_groups("base_momentum", optimizer, base)
        highs = for_groups("max_momentum", optimizer, highest)
        if last_epoch == -1:
            for high, low, group in zip(
                highs, lows, optimizer.param_groups, strict=True
            ):
                self._put_momentum(group, high)
                group["max_momentum"] = high
                group["base_momentum"] = low
        return lows, highs

    def _put_momentum(self, group: dict[str, Any], value: Any) -> None:
        if self.use_beta1:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value


class CyclicLR(_Momentum):
    """The rate goes from `base_lr` up to `max_lr` in `step_size_up` steps and down
    again in `step_size_down`, over and over; momentum goes the other way.

    `mode` says what becomes of later cycles: "triangular" the same, "triangular2" half
    as high each time, "exp_range" lower by `gamma` each step; or `scale_fn` says so, of
    the number of the cycle or, with scale_mode="iterations", of the step.

    Raises: ValueError.
    Source: Smith (2017), IEEE Winter Conf. on Applications of Computer Vision.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        base_lrs = for_groups("base_lr", optimizer, base_lr)
        if last_epoch == -1:
            for lr, group in zip(base_lrs, optimizer.param_groups, strict=True):
                put(group, "lr", lr)
        self.max_lrs = for_groups("max_lr", optimizer, max_lr)
        up = float(step_size_up)
        down = up if step_size_down is None else float(step_size_down)
        self.total_size = up + down
        self.step_ratio = up / self.total_size
        modes = ("triangular", "triangular2", "exp_range")
        if mode not in modes and scale_fn is None:
            text = "mode is invalid and scale_fn is None"
            raise bad("CyclicLR", f"mode={mode!r}", f"one of {modes}", text)
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode
        if scale_fn is None:
            self.scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.base_momentums, self.max_momentums = self._take_momentum(
                optimizer, base_momentum, max_momentum, last_epoch
            )
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """Return the height of cycle x, or at step x."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "triangular":
            return 1.0
        if self.mode == "triangular2":
            return float(1 / 2.0 ** (x - 1))
        return float(self.gamma**x)

    def get_lr(self) -> Rates:
        """Return the rates of `last_epoch`, and set the momenta."""
        self._asked()
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        if x <= self.step_ratio:
            height = x / self.step_ratio
        else:
            height = (x - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            for low, high, group in zip(
                self.base_momentums,
                self.max_momentums,
                self.optimizer.param_groups,
                strict=True,
            ):
                self._put_momentum(group, high - (high - low) * height * scale)
        return [
            low + (high - low) * height * scale
            for low, high in zip(self.base_lrs, self.max_lrs, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        """Return all but the optimizer and a function; of a callable object, its
        attributes."""
        state = super().state_dict()
        f = state["_scale_fn_custom"]
        plain = f is None or isinstance(f, types.FunctionType)
        state["_scale_fn_custom"] = None if plain else f.__dict__.copy()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned; a function stays."""
        state = dict(state_dict)
        held = state.pop("_scale_fn_custom")
        if held is not None and self._scale_fn_custom is not None:
            self._scale_fn_custom.__dict__.update(held)
        super().load_state_dict(state)


def _cosine(start: Any, end: Any, part: float) -> Any:
    return end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1)


def _line(start: Any, end: Any, part: float) -> Any:
    return (end - start) * part + start


class OneCycleLR(_Momentum):
    """The rate rises from max_lr / `div_factor` to `max_lr` and falls to far below
    where it began, once; momentum goes the other way. `step` after each batch.

    There are `total_steps` steps, or `epochs` times `steps_per_epoch`; the rate rises
    for `pct_start` of them. It ends at the first rate / `final_div_factor`. With
    `three_phase` it falls as long as it has risen, and then to the end.

    Raises: ValueError, also when stepped too often.
    Source: Smith and Topin (2018), arXiv 1708.07120.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        if total_steps is not None:
            self.total_steps = _count("total_steps", total_steps)
        elif epochs is not None and steps_per_epoch is not None:
            self.total_steps = _count("epochs", epochs) * _count(
                "steps_per_epoch", steps_per_epoch
            )
        else:
            raise bad(
                "OneCycleLR",
                "no number of steps",
                "total_steps, or epochs and steps_per_epoch",
                "You must define either total_steps OR (epochs AND steps_per_epoch)",
            )
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            text = f"Expected float between 0 and 1 pct_start, but got {pct_start}"
            raise bad("OneCycleLR", f"pct_start={pct_start}", "0.0 to 1.0", text)
        if anneal_strategy not in ("cos", "linear"):
            raise bad(
                "OneCycleLR",
                f"anneal_strategy={anneal_strategy!r}",
                "'cos' or 'linear'",
                "anneal_strategy must be one of 'cos' or 'linear', instead got "
                f"{anneal_strategy}",
            )
        self._anneal_func_type = anneal_strategy
        rise = float(pct_start * self.total_steps) - 1
        self._schedule_phases = [
            _phase(rise, "initial_lr", "max_lr", "max_momentum", "base_momentum")
        ]
        last = self.total_steps - 1
        if three_phase:
            fall = float(2 * pct_start * self.total_steps) - 2
            self._schedule_phases += [
                _phase(fall, "max_lr", "initial_lr", "base_momentum", "max_momentum"),
                _phase(last, "initial_lr", "min_lr", "max_momentum", "max_momentum"),
            ]
        else:
            self._schedule_phases += [
                _phase(last, "max_lr", "min_lr", "base_momentum", "max_momentum")
            ]
        highest = for_groups("max_lr", optimizer, max_lr)
        if last_epoch == -1:
            for high, group in zip(highest, optimizer.param_groups, strict=True):
                group["initial_lr"] = high / div_factor
                group["max_lr"] = high
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._take_momentum(optimizer, base_momentum, max_momentum, last_epoch)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> Rates:
        """Return the rates of `last_epoch`, and set the momenta. Raises: ValueError."""
        self._asked()
        step = self.last_epoch
        if step > self.total_steps:
            raise bad(
                "OneCycleLR",
                f"step {step}",
                f"at most {self.total_steps}",
                f"Tried to step {step} times. The specified number of total steps is "
                f"{self.total_steps}",
            )
        anneal = _cosine if self._anneal_func_type == "cos" else _line
        start = 0.0
        for phase in self._schedule_phases[:-1]:
            if step <= phase["end_step"]:
                break
            start = phase["end_step"]
        else:
            phase = self._schedule_phases[-1]
        part = (step - start) / (phase["end_step"] - start)
        found = []
        for group in self.optimizer.param_groups:
            lr = anneal(group[phase["start_lr"]], group[phase["end_lr"]], part)
            found.append(lr)
            if self.cycle_momentum:
                ends = (group[phase["start_momentum"]], group[phase["end_momentum"]])
                self._put_momentum(group, anneal(*ends, part))
        return found


def _phase(
    end: float, start_lr: str, end_lr: str, start_momentum: str, end_momentum: str
) -> dict[str, Any]:
    """Return a phase as PyTorch's state dicts hold it."""
    return {
        "end_step": end,
        "start_lr": start_lr,
        "end_lr": end_lr,
        "start_momentum": start_momentum,
        "end_momentum": end_momentum,
    }


def _count(name: str, value: int) -> int:
    if not isinstance(value, int) or value <= 0:
        text = f"Expected positive integer {name}, but got {value}"
        raise bad("OneCycleLR", f"{name}={value}", "a positive integer", text)
    return value
