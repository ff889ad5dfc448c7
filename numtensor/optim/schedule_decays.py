"""Schedules that lower the learning rate, or raise it to where it stays."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from typing import Any

from ..errors import message
from .optimizer import Optimizer
from .schedule import Lambdas, LRScheduler, Rates, bad, rates


class LambdaLR(Lambdas):
    """The initial rate times `lr_lambda(epoch)`, a function or one for each group.

    >>> import numtensor as nt
    >>> from numtensor import optim
    >>> optimizer = optim.SGD([nt.ones(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5**epoch)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def get_lr(self) -> Rates:
        """Return the rates of `last_epoch`."""
        self._asked()
        return [
            base * f(self.last_epoch)
            for f, base in zip(self.lr_lambdas, self.base_lrs, strict=True)
        ]


class MultiplicativeLR(Lambdas):
    """The rate before times `lr_lambda(epoch)`, a function or one for each group."""

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1
    ) -> None:
        given = lr_lambda if isinstance(lr_lambda, (list, tuple)) else [lr_lambda]
        for f in given:
            if not callable(f):
                kind = type(f).__name__
                raise TypeError(
                    message(
                        "MultiplicativeLR",
                        f"a {kind}",
                        "a function",
                        f"lr_lambda should be a function, but got {kind}",
                    )
                )
        super().__init__(optimizer, lr_lambda, last_epoch)

    def get_lr(self) -> Rates:
        """Return the rates of `last_epoch`."""
        self._asked()
        now = rates(self.optimizer)
        if self._is_initial:
            return now
        return [
            lr * f(self.last_epoch) for f, lr in zip(self.lr_lambdas, now, strict=True)
        ]


class StepLR(LRScheduler):
    """The rate is multiplied by `gamma` every `step_size` epochs.

    >>> import numtensor as nt
    >>> from numtensor import optim
    >>> optimizer = optim.SGD([nt.ones(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> for _ in range(4):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        step_size: int,
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> Rates:
        """Return the rates of `last_epoch`."""
        self._asked()
        now = rates(self.optimizer)
        if self.last_epoch == 0 or self.last_epoch % self.step_size:
            return now
        return [lr * self.gamma for lr in now]

    def _get_closed_form_lr(self) -> Rates:
        times = self.last_epoch // self.step_size
        return [base * self.gamma**times for base in self.base_lrs]


class MultiStepLR(LRScheduler):
    """The rate is multiplied by `gamma` at each of the epochs `milestones`."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> Rates:
        """Return the rates of `last_epoch`."""
        self._asked()
        now = rates(self.optimizer)
        if self.last_epoch not in self.milestones:
            return now
        return [lr * self.gamma ** self.milestones[self.last_epoch] for lr in now]

    def _get_closed_form_lr(self) -> Rates:
        times = bisect_right(sorted(self.milestones.elements()), self.last_epoch)
        return [base * self.gamma**times for base in self.base_lrs]


class ConstantLR(LRScheduler):
    """The rate is `factor` times itself for the first `total_iters` epochs.

    Raises: ValueError.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= factor <= 1.0:
            raise bad(
                "ConstantLR",
                f"factor={factor}",
                "0 to 1",
                "Constant multiplicative factor expected to be between 0 and 1.",
            )
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> Rates:
        """Return the rates of `last_epoch`."""
        self._asked()
        now = rates(self.optimizer)
        if self.last_epoch == 0:
            return [lr * self.factor for lr in now]
        if self.last_epoch != self.total_iters:
            return now
        return [lr * (1.0 / self.factor) for lr in now]

    def _get_closed_form_lr(self) -> Rates:
        factor = 1.0 if self.last_epoch >= self.total_iters else self.factor
        return [base * factor for base in self.base_lrs]


class LinearLR(LRScheduler):
    """The rate goes from `start_factor` to `end_factor` times itself in `total_iters`
    epochs, by equal amounts.

    Raises: ValueError.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1.0:
            raise bad(
                "LinearLR",
                f"start_factor={start_factor}",
                "above 0, and at most 1",
                "Starting multiplicative factor expected to be greater than 0 and less "
                "or equal to 1.",
            )
        if not 0 <= end_factor <= 1.0:
            raise bad(
                "LinearLR",
                f"end_factor={end_factor}",
                "0 to 1",
                "Ending multiplicative factor expected to be between 0 and 1.",
            )
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> Rates:
        """Return the rates of `last_epoch`."""
        self._asked()
        now = rates(self.optimizer)
        if self.last_epoch == 0:
            return [lr * self.start_factor for lr in now]
        if self._is_initial or self.last_epoch > self.total_iters:
            return now
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return [lr * (1.0 + rise / before) for lr in now]

    def _get_closed_form_lr(self) -> Rates:
        rise = self.end_factor - self.start_factor
        done = min(self.total_iters, self.last_epoch)
        return [
            base * (self.start_factor + rise * done / self.total_iters)
            for base in self.base_lrs
        ]


class ExponentialLR(LRScheduler):
    """The rate is multiplied by `gamma` every epoch."""

    def __init__(
        self, optimizer: Optimizer, gamma: float, last_epoch: int = -1
    ) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> Rates:
        """Return the rates of `last_epoch`."""
        self._asked()
        now = rates(self.optimizer)
        return now if self._is_initial else [lr * self.gamma for lr in now]

    def _get_closed_form_lr(self) -> Rates:
        return [base * self.gamma**self.last_epoch for base in self.base_lrs]


class PolynomialLR(LRScheduler):
    """The rate falls to 0 in `total_iters` epochs, as (1 - epoch / total_iters) to the
    `power`."""

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
    ) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> Rates:
        """Return the rates of `last_epoch`."""
        self._asked()
        now = rates(self.optimizer)
        if self._is_initial or self.last_epoch > self.total_iters:
            return now
        left = 1.0 - self.last_epoch / self.total_iters
        before = 1.0 - (self.last_epoch - 1) / self.total_iters
        return [lr * (left / before) ** self.power for lr in now]

    def _get_closed_form_lr(self) -> Rates:
        done = min(self.total_iters, self.last_epoch)
        left = (1.0 - done / self.total_iters) ** self.power
        return [base * left for base in self.base_lrs]
