"""LRScheduler: counting epochs, and putting learning rates into parameter groups.

The formulas of single schedules are in `schedule_decays`, `schedule_cycles`,
`schedule_chains` and `schedule_plateau`.
"""

from __future__ import annotations

import contextlib
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..errors import message
from ..modes import no_grad
from ..tensor import Tensor
from .optimizer import Optimizer, number

Rates = list[Any]

EPOCH_WARNING = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being "
    "deprecated where possible. Please use `scheduler.step()` to step the scheduler. "
    "During the deprecation, if epoch is different from None, the closed form is used "
    "instead of the new chainable form, where available."
)


def check_optimizer(optimizer: Any) -> None:
    """Raises: TypeError, what is no Optimizer."""
    if not isinstance(optimizer, Optimizer):
        kind = type(optimizer).__name__
        raise TypeError(
            message("lr_scheduler", f"a {kind}", "an Optimizer", f"{kind} is not an "
                    "Optimizer")
        )  # fmt: skip


def bad(name: str, got: str, expected: str, text: str) -> ValueError:
    """Return the error of an argument; `text` is PyTorch's sentence."""
    return ValueError(message(name, got, expected, text))


def _own(value: Any) -> Any:
    """Return a number, or a copy of a tensor, which would change with its group."""
    if isinstance(value, Tensor):
        with no_grad():
            return value.detach().clone()
    return value


def rates(optimizer: Optimizer, key: str = "lr") -> Rates:
    """Return an option of all groups."""
    return [_own(group[key]) for group in optimizer.param_groups]


def put(group: dict[str, Any], key: str, value: Any) -> None:
    """Set an option of a group, in place if it is a tensor."""
    if isinstance(group[key], Tensor):
        with no_grad():
            group[key].fill_(number(value))
    else:
        group[key] = value


def for_groups(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """Return an argument as a list with an entry for each group. Raises: ValueError."""
    groups = optimizer.param_groups
    if not isinstance(value, (list, tuple)):
        return [_own(value) for _ in groups]
    if len(value) != len(groups):
        raise bad(
            "lr_scheduler",
            f"{len(value)} values of {name}",
            f"{len(groups)}",
            f"{name} must have the same length as optimizer.param_groups. {name} has "
            f"{len(value)} values, param_groups has {len(groups)}.",
        )
    return [_own(v) for v in value]


class LRScheduler:
    """Base class of schedules: `step()` after each epoch, and after `optimizer.step()`.

    A subclass defines `get_lr()`, which returns the rates of all groups for
    `self.last_epoch`, and perhaps `_get_closed_form_lr()`, which does not depend on the
    rates before. `last_epoch` resumes a schedule.

    Raises: TypeError; KeyError, resumed without `initial_lr` in the groups.
    """

    _inside = False  # get_lr is called by step
    _is_initial = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for k, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", _own(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    message(
                        type(self).__name__,
                        f"last_epoch={last_epoch} and a group without initial_lr",
                        "the groups of a schedule that has begun",
                        f"param 'initial_lr' is not specified in param_groups[{k}] "
                        "when resuming scheduler with last_epoch >= 0.",
                    )
                )
        self.base_lrs = rates(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        if not optimizer.__dict__.get("_scheduled"):
            optimizer.__dict__.update(_scheduled=True, _opt_called=False)
        self._initial_step()

    def _initial_step(self) -> None:
        """Set the rates of epoch 0."""
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            del self._is_initial

    def state_dict(self) -> dict[str, Any]:
        """Return all but the optimizer as a dict."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> Rates:
        """Return the rates that are in force."""
        return self._last_lr

    def get_lr(self) -> Rates:
        """Return the rates of `last_epoch`; `step` calls it."""
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next epoch and set its rates."""
        if self._step_count == 1 and not self.optimizer._opt_called:
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. In "
                "PyTorch 1.1.0 and later, you should call them in the opposite order: "
                "`optimizer.step()` before `lr_scheduler.step()`.  Failure to do this "
                "will result in PyTorch skipping the first value of the learning rate "
                "schedule.",
                UserWarning,
                stacklevel=2,
            )
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_WARNING, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        with self._within_step():
            if epoch is None:
                self.last_epoch += 1
                values = self.get_lr()
            else:
                self.last_epoch = epoch
                values = getattr(self, "_get_closed_form_lr", self.get_lr)()
        self._set(values)

    def _set(self, values: Sequence[Any]) -> None:
        for group, value in zip(self.optimizer.param_groups, values, strict=True):
            put(group, "lr", value)
        self._last_lr = rates(self.optimizer)

    @contextlib.contextmanager
    def _within_step(self) -> Iterator[None]:
        self._inside = True
        try:
            yield
        finally:
            del self._inside

    def _asked(self) -> None:
        """Warn who calls get_lr from outside: it may not be what is in force."""
        if not self._inside:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use "
                "`get_last_lr()`.",
                UserWarning,
                stacklevel=3,
            )


class Lambdas(LRScheduler):
    """A schedule by functions, one for each group, of which files hold no code."""

    lr_lambdas: list[Callable[[int], float]]

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1
    ) -> None:
        check_optimizer(optimizer)
        groups = len(optimizer.param_groups)
        if not isinstance(lr_lambda, (list, tuple)):
            lr_lambda = [lr_lambda] * groups
        if len(lr_lambda) != groups:
            raise bad(
                type(self).__name__,
                f"{len(lr_lambda)} functions",
                f"{groups}",
                f"Expected {groups} lr_lambdas, but got {len(lr_lambda)}",
            )
        self.lr_lambdas = list(lr_lambda)
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return all but the optimizer and functions; of callable objects, their
        attributes."""
        state = super().state_dict()
        state["lr_lambdas"] = [
            None if isinstance(f, types.FunctionType) else f.__dict__.copy()
            for f in self.lr_lambdas
        ]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned; functions stay."""
        state = dict(state_dict)
        for f, held in zip(self.lr_lambdas, state.pop("lr_lambdas"), strict=True):
            if held is not None:
                f.__dict__.update(held)
        self.__dict__.update(state)
