"""ReduceLROnPlateau: a schedule that watches a measure."""

from __future__ import annotations

import math
import warnings
from typing import Any

from ..errors import message
from .optimizer import Optimizer
from .schedule import EPOCH_WARNING, LRScheduler, bad, check_optimizer, put, rates


class ReduceLROnPlateau(LRScheduler):
    """Multiply the rate by `factor` when `step(metrics)` has seen no better value for
    more than `patience` epochs.

    `mode` says whether the measure should get smaller or larger ("min", "max"), and
    `threshold` by how much, as a part of the best or, with threshold_mode="abs", as it
    is. For `cooldown` epochs after a change nothing is counted. The rate stays at least
    `min_lr`, one number or one for each group, and changes of less than `eps` are left.

    Raises: ValueError, TypeError.

    >>> import numtensor as nt
    >>> from numtensor import optim
    >>> optimizer = optim.SGD([nt.ones(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    >>> for loss in (3.0, 3.0, 3.0):
    ...     scheduler.step(loss)
    >>> scheduler.get_last_lr()
    [0.1]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: list[float] | float = 0,
        eps: float = 1e-8,
    ) -> None:
        name = "ReduceLROnPlateau"
        if factor >= 1.0:
            text = "Factor should be < 1.0."
            raise bad(name, f"factor={factor}", "below 1", text)
        self.factor = factor
        check_optimizer(optimizer)
        self.optimizer = optimizer
        groups = len(optimizer.param_groups)
        self.default_min_lr: float | None = None
        if isinstance(min_lr, (list, tuple)):
            if len(min_lr) != groups:
                text = f"expected {groups} min_lrs, got {len(min_lr)}"
                raise bad(name, f"{len(min_lr)} values of min_lr", f"{groups}", text)
            self.min_lrs = list(min_lr)
        else:
            self.default_min_lr = min_lr
            self.min_lrs = [min_lr] * groups
        if mode not in ("min", "max"):
            text = f"mode {mode} is unknown!"
            raise bad(name, f"mode={mode!r}", "'min' or 'max'", text)
        if threshold_mode not in ("rel", "abs"):
            text = f"threshold mode {threshold_mode} is unknown!"
            raise bad(
                name, f"threshold_mode={threshold_mode!r}", "'rel' or 'abs'", text
            )
        self.patience = patience
        self.cooldown = cooldown
        self.eps = eps
        self.last_epoch = 0
        self._last_lr = rates(optimizer)
        self.mode = mode
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.mode_worse = math.inf if mode == "min" else -math.inf
        self.best = self.mode_worse
        self.cooldown_counter = 0
        self.num_bad_epochs = 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Take in the measure of an epoch, a number or a tensor of one element."""
        current = float(metrics)
        if epoch is None:
            epoch = self.last_epoch + 1
        else:
            warnings.warn(EPOCH_WARNING, UserWarning, stacklevel=2)
        self.last_epoch = epoch
        if self._is_better(current):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = rates(self.optimizer)

    @property
    def in_cooldown(self) -> bool:
        """Whether a change was made less than `cooldown` epochs ago."""
        return self.cooldown_counter > 0

    def _is_better(self, value: float) -> bool:
        best = self.best
        if self.mode == "min":
            if self.threshold_mode == "rel":
                return value < best * (1.0 - self.threshold)
            return value < best - self.threshold
        if self.threshold_mode == "rel":
            return value > best * (self.threshold + 1.0)
        return value > best + self.threshold

    def _reduce(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):
            if self.default_min_lr is None:
                raise RuntimeError(
                    message(
                        "ReduceLROnPlateau",
                        f"{len(groups)} groups, {len(self.min_lrs)} values of min_lr",
                        "one for each group",
                        "The number of param groups in the `optimizer` "
                        f"({len(groups)}) differs from when `ReduceLROnPlateau` was "
                        f"initialized ({len(self.min_lrs)}), usually due to a new "
                        "param group being added to the optimizer. Please modify the "
                        "`min_lrs` field to match the length of the `optimizer` param "
                        "groups.",
                    )
                )
            self.min_lrs = [self.default_min_lr] * len(groups)
        for least, group in zip(self.min_lrs, groups, strict=True):
            old = float(group["lr"])
            new = max(old * self.factor, least)
            if old - new > self.eps:
                put(group, "lr", new)
