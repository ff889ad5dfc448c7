"""Schedules made of schedules: one after another, and one on top of another."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from ..errors import message
from .optimizer import Optimizer
from .schedule import LRScheduler, bad, put, rates
from .schedule_plateau import ReduceLROnPlateau


def _check(name: str, optimizer: Any, schedulers: Sequence[Any], verb: str) -> Any:
    """Check that there are schedules, all of one optimizer; return it.

    Raises: TypeError, ValueError.
    """
    if not schedulers:
        raise bad(
            name,
            "no scheduler",
            "at least one",
            f"{name} expects at least one scheduler{verb}, but got no scheduler.",
        )
    for k, scheduler in enumerate(schedulers):
        kind = type(scheduler).__name__
        if not hasattr(scheduler, "optimizer"):
            raise TypeError(
                message(
                    name,
                    f"a {kind}",
                    "schedulers",
                    f"{name} at index {k} should have `optimizer` as its attribute.",
                )
            )
        if isinstance(scheduler, ReduceLROnPlateau):
            raise bad(
                name,
                "a ReduceLROnPlateau",
                "schedulers whose step takes nothing",
                f"{name} does not support `ReduceLROnPlateau` scheduler as it requires "
                "additional kwargs to be specified when calling `step`, but got one at "
                f"index {k} in the given schedulers sequence.",
            )
        optimizer = optimizer or scheduler.optimizer
        if scheduler.optimizer is not optimizer:
            raise bad(
                name,
                f"a {kind} of another optimizer",
                "one optimizer",
                f"{name} expects all schedulers to belong to the same optimizer, but "
                f"got scheduler {kind} at index {k} has {scheduler.optimizer}, which "
                f"is different from {type(optimizer).__name__}.",
            )
    return optimizer


class _Composite(LRScheduler):
    """What schedules made of others have in common."""

    _schedulers: Sequence[LRScheduler]

    def state_dict(self) -> dict[str, Any]:
        """Return all but the optimizer, with the state dicts of the parts."""
        state = super().state_dict()
        state["_schedulers"] = [s.state_dict() for s in self._schedulers]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        state = dict(state_dict)
        parts = state.pop("_schedulers")
        self.__dict__.update(state)
        for scheduler, part in zip(self._schedulers, parts, strict=True):
            scheduler.load_state_dict(part)


class SequentialLR(_Composite):
    """One schedule after another: the next takes over at each of the epochs
    `milestones`, from its own epoch 0.

    Raises: TypeError, ValueError.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: list[LRScheduler],
        milestones: list[int],
        last_epoch: int = -1,
    ) -> None:
        _check("SequentialLR", optimizer, schedulers, "")
        if len(milestones) != len(schedulers) - 1:
            raise bad(
                "SequentialLR",
                f"{len(schedulers)} schedulers and {len(milestones)} milestones",
                "one milestone between each two",
                "Sequential Schedulers expects number of schedulers provided to be one "
                "more than the number of milestone points, but got number of "
                f"schedulers {len(schedulers)} and the number of milestones to be "
                f"equal to {len(milestones)}",
            )
        self._schedulers = schedulers
        self._milestones = milestones
        self.last_epoch = last_epoch + 1
        self.optimizer = optimizer
        # the schedules have set rates when they were made: begin again
        for group in optimizer.param_groups:
            put(group, "lr", group["initial_lr"])
        self.recursive_undo()
        first = schedulers[bisect_right(milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def recursive_undo(self, sched: Any = None) -> None:
        """Take the first step of all parts back."""
        sched = self if sched is None else sched
        if hasattr(sched, "_schedulers"):
            for part in sched._schedulers:
                self.recursive_undo(part)
        elif hasattr(sched, "last_epoch"):
            sched.last_epoch -= 1

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next epoch and set its rates."""
        self.last_epoch += 1
        k = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[k]
        if k > 0 and self._milestones[k - 1] == self.last_epoch:
            scheduler._update_lr(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


class ChainedScheduler(_Composite):
    """Several schedules at once, each changing the rate that the one before has set.

    Raises: TypeError, ValueError.
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        self.optimizer = _check(
            "ChainedScheduler", optimizer, schedulers, " to be chained"
        )
        self._schedulers = schedulers
        self._last_lr = rates(self.optimizer)

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next epoch and set its rates."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = rates(self.optimizer)
