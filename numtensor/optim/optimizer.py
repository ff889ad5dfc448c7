"""Optimizer: parameter groups, state, hooks, and the layout of state dicts.

The base of all optimisers, and of programs' own. What an optimiser computes must not be
written here; those whose step is one kernel derive from `ruled.Ruled`.
"""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any, cast

from ..devices import CPU
from ..dtypes import FLOAT, dtype, float32, float64, get_default_dtype
from ..errors import AutogradError, message
from ..modes import no_grad
from ..tape import RemovableHandle
from ..tensor import Tensor
from ..tracing import Number

StateDict = dict[str, Any]


class _Required:
    """The default of an option that every group must name."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()

_global_pre_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
_global_post_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()


def register_optimizer_step_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` before each step of every optimiser."""
    return RemovableHandle(_global_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` after each step of every optimiser."""
    return RemovableHandle(_global_post_hooks, hook)


def counter_dtype() -> dtype:
    """Return the dtype of `state["step"]`: float32, or float64 where that is the
    default."""
    return float64 if get_default_dtype() is float64 else float32


def number(value: Any) -> Any:
    """Return a hyperparameter as a Python number, of a tensor its only element."""
    return value.item() if isinstance(value, Tensor) else value


def real(value: Any) -> Any:
    """Return a hyperparameter as a float, if it is one already or a plain number.

    Numbers that differ from call to call of a traced function stay what they are, and
    so do tensors.
    """
    return value if isinstance(value, (Tensor, Number)) else float(value)


def hooked(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `step` that calls the hooks around it."""

    @functools.wraps(step)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        self = args[0]
        before = chain(
            list(_global_pre_hooks.values()),
            list(self._optimizer_step_pre_hooks.values()),
        )
        for hook in before:
            result = hook(self, args, kwargs)
            if result is None:
                continue
            if not (isinstance(result, tuple) and len(result) == 2):
                raise RuntimeError(
                    message(
                        "step",
                        f"{result} from a hook",
                        "None or a pair of arguments",
                        f"{step} must return None or a tuple of (new_args, "
                        f"new_kwargs), but got {result}.",
                    )
                )
            args, kwargs = result
        self._opt_called = True
        out = step(*args, **kwargs)
        after = chain(
            list(self._optimizer_step_post_hooks.values()),
            list(_global_post_hooks.values()),
        )
        for hook in after:
            hook(self, args, kwargs)
        return out

    wrapper.hooked = True  # type: ignore[attr-defined]
    return wrapper


class Optimizer:
    """Base class of optimisers.

    `params` are tensors, or dicts of options each with its tensors under "params", or
    pairs of a name and a tensor. `defaults` are the options that a group does not name.

    Raises: TypeError, ValueError.

    >>> import numtensor as nt
    >>> from numtensor import optim
    >>> w, b = nt.ones(2, requires_grad=True), nt.zeros(1, requires_grad=True)
    >>> optimizer = optim.SGD([{"params": [w]}, {"params": [b], "lr": 0.5}], lr=0.1)
    >>> [group["lr"] for group in optimizer.param_groups]
    [0.1, 0.5]
    """

    _opt_called = False
    _optimizer_step_pre_hooks: OrderedDict[int, Callable[..., Any]]
    _optimizer_step_post_hooks: OrderedDict[int, Callable[..., Any]]
    _optimizer_state_dict_pre_hooks: OrderedDict[int, Callable[..., Any]]
    _optimizer_state_dict_post_hooks: OrderedDict[int, Callable[..., Any]]
    _optimizer_load_state_dict_pre_hooks: OrderedDict[int, Callable[..., Any]]
    _optimizer_load_state_dict_post_hooks: OrderedDict[int, Callable[..., Any]]

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self._start()
        if isinstance(params, Tensor):
            raise TypeError(
                message(
                    type(self).__name__,
                    "a Tensor",
                    "an iterable of tensors or dicts",
                    "params argument given to the optimizer should be an iterable of "
                    f"Tensors or dicts, but got {params.type()}. Use [tensor].",
                )
            )
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError(
                message(
                    type(self).__name__,
                    "no parameters",
                    "at least one",
                    "optimizer got an empty parameter list",
                )
            )
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(cast("dict[str, Any]", group))

    def _start(self) -> None:
        """Make what is not saved: the tables of hooks."""
        for name in (
            "step_pre",
            "step_post",
            "state_dict_pre",
            "state_dict_post",
            "load_state_dict_pre",
            "load_state_dict_post",
        ):
            self.__dict__.setdefault(f"_optimizer_{name}_hooks", OrderedDict())
        cls = type(self)
        if not getattr(cls.step, "hooked", False):
            cls.step = hooked(cls.step)  # type: ignore[method-assign]

    def __getstate__(self) -> dict[str, Any]:
        return {
            "defaults": self.defaults,
            "state": self.state,
            "param_groups": self.param_groups,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()
        self.defaults.setdefault("differentiable", False)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for k, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {k}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group)
                      if key != "params"]  # fmt: skip
        return "\n".join(lines) + "\n)"

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters by their gradients.

        `closure` computes the loss, and its gradients, anew; its result is returned.
        """
        raise NotImplementedError

    step.hooked = True  # type: ignore[attr-defined]

    def prepare(self) -> None:
        """Make the state that a first step would make; optimisers of the package do."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or make them 0.

        Without a gradient a parameter is skipped by `step`; with one of 0 it is not.
        """
        if set_to_none:
            for group in self.param_groups:
                for p in group["params"]:
                    p._grad = None
            return
        for group in self.param_groups:
            for p in group["params"]:
                grad = p._grad
                if grad is None:
                    continue
                if grad.grad_fn is not None:
                    grad.detach_()
                else:
                    grad.requires_grad_(False)
                with no_grad():
                    grad.zero_()

    # groups

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own.

        Raises: TypeError, what is no dict or no tensor; ValueError, a tensor that was
        computed, one that another group has, names for some only.
        """
        name = "add_param_group"
        if not isinstance(param_group, dict):
            kind = type(param_group)
            raise TypeError(
                message(name, str(kind), "a dict", f"param_group must be a dict, but "
                        f"got {kind}")
            )  # fmt: skip
        given = param_group["params"]
        if isinstance(given, Tensor):
            given = [given]
        elif isinstance(given, set):
            raise TypeError(
                message(
                    name,
                    "a set of parameters",
                    "an ordered collection",
                    "optimizer parameters need to be organized in ordered collections, "
                    "but the ordering of tensors in sets will change between runs. "
                    "Please use a list instead.",
                )
            )
        given = list(given)
        names = [p[0] for p in given if isinstance(p, tuple)]
        params = [p[1] if isinstance(p, tuple) else p for p in given]
        if names:
            if len(names) != len(params):
                raise ValueError(
                    message(
                        name,
                        f"{len(names)} names for {len(params)} parameters",
                        "a name for each, or none",
                        "all optimizer params should be with/without names. Some param "
                        "names are missing",
                    )
                )
            param_group["param_names"] = names
        param_group["params"] = params
        for p in params:
            self._check_param(p)
        for key, default in self.defaults.items():
            if default is required and key not in param_group:
                raise ValueError(
                    message(
                        name,
                        f"a group without {key}",
                        "every required option",
                        "parameter group didn't specify a value of required "
                        f"optimization parameter {key}",
                    )
                )
            param_group.setdefault(key, default)
        if len(params) != len(set(params)):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in "
                "future, this will cause an error; see "
                "github.com/pytorch/pytorch/issues/40967 for more information",
                stacklevel=3,
            )
        known: set[Tensor] = set()
        for group in self.param_groups:
            known.update(group["params"])
            if ("param_names" in param_group) != ("param_names" in group):
                how = "with names" if "param_names" in param_group else "without names"
                raise ValueError(
                    message(
                        name,
                        f"a group {how}",
                        "names in all groups or in none",
                        "all optimizer param groups should be with/without names. "
                        f"cannot add param group {how} to the optimizer",
                    )
                )
        if not known.isdisjoint(params):
            raise ValueError(
                message(
                    name,
                    "a parameter that another group has",
                    "each in one group",
                    "some parameters appear in more than one parameter group",
                )
            )
        self.param_groups.append(param_group)

    def _check_param(self, p: Any) -> None:
        if not isinstance(p, Tensor):
            kind = type(p).__name__
            raise TypeError(
                message(
                    "add_param_group",
                    f"a {kind}",
                    "tensors",
                    f"optimizer can only optimize Tensors, but one of the params is "
                    f"{kind}",
                )
            )
        if not (p.is_leaf or p.retains_grad):
            raise ValueError(
                message(
                    "add_param_group",
                    "a tensor that was computed",
                    "leaves, or tensors that retain their grad",
                    "can't optimize a non-leaf Tensor",
                )
            )

    # hooks

    def _register(
        self, table: str, hook: Any, prepend: bool = False
    ) -> RemovableHandle:
        hooks = self.__dict__[f"_optimizer_{table}_hooks"]
        handle = RemovableHandle(hooks, hook)
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        return handle

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` before each step; it may return other
        (args, kwargs)."""
        return self._register("step_pre", hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return self._register("step_post", hook)

    def register_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer)` before a state dict is made."""
        return self._register("state_dict_pre", hook, prepend)

    def register_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` after; it may return another."""
        return self._register("state_dict_post", hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` before one is loaded; it may return
        another."""
        table = "load_state_dict_pre"
        return self._register(table, hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer)` after a state dict has been loaded."""
        table = "load_state_dict_post"
        return self._register(table, hook, prepend)

    # state dicts

    def state_dict(self) -> StateDict:
        """Return the state as a dict: "state" by the parameters' numbers, and
        "param_groups" with these numbers under "params".

        The tensors are those in use, no copies.
        """
        for hook in list(self._optimizer_state_dict_pre_hooks.values()):
            hook(self)
        places: dict[int, int] = {}
        groups = []
        start = 0
        for group in self.param_groups:
            for k, p in enumerate(group["params"], start):
                places.setdefault(id(p), k)
            packed = {key: v for key, v in group.items() if key != "params"}
            packed["params"] = [places[id(p)] for p in group["params"]]
            start += len(packed["params"])
            groups.append(packed)
        state = {
            (places[id(k)] if isinstance(k, Tensor) else k): v
            for k, v in self.state.items()
        }
        made: StateDict = {"state": state, "param_groups": groups}
        for hook in list(self._optimizer_state_dict_post_hooks.values()):
            result = hook(self, made)
            if result is not None:
                made = result
        return made

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Take over the state and the options of a state dict.

        Floating-point state takes the parameter's dtype and device; "step" stays what
        it is.

        Raises: ValueError, groups of other numbers or sizes.
        """
        state_dict = state_dict.copy()
        for hook in list(self._optimizer_load_state_dict_pre_hooks.values()):
            result = hook(self, state_dict)
            if result is not None:
                state_dict = result
        own = self.param_groups
        saved = deepcopy(state_dict["param_groups"])
        if len(own) != len(saved):
            raise ValueError(
                message(
                    "load_state_dict",
                    f"{len(saved)} groups",
                    f"{len(own)}",
                    "loaded state dict has a different number of parameter groups",
                )
            )
        for group, other in zip(own, saved, strict=True):
            if len(group["params"]) != len(other["params"]):
                raise ValueError(
                    message(
                        "load_state_dict",
                        f"a group of {len(other['params'])} parameters",
                        f"{len(group['params'])}",
                        "loaded state dict contains a parameter group that doesn't "
                        "match the size of optimizer's group",
                    )
                )
        params: dict[Hashable, Tensor] = {}
        for group, other in zip(own, saved, strict=True):
            params.update(zip(other["params"], group["params"], strict=True))
        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in params:
                state[params[key]] = _fitted(params[key], value)
            else:
                state[key] = value
        for group, other in zip(own, saved, strict=True):
            other["params"] = group["params"]
            if "param_names" in group and "param_names" not in other:
                other["param_names"] = group["param_names"]
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in list(self._optimizer_load_state_dict_post_hooks.values()):
            hook(self)


def _fitted(p: Tensor, value: Any, key: Any = None) -> Any:
    """Return a copy of a value of a state, its tensors fit for the parameter."""
    if isinstance(value, Tensor):
        if key == "step":
            # the host counts; a GPU's counter would have to be waited for
            value = value.to(device=CPU)
        elif p._spec.dtype.category == FLOAT:
            value = value.to(dtype=p.dtype, device=p.device)
        else:
            value = value.to(device=p.device)
        # not the saved tensor itself, which its own optimiser goes on changing
        with no_grad():
            return value.detach().clone()
    if isinstance(value, dict):
        return {k: _fitted(p, v, k) for k, v in value.items()}
    if isinstance(value, str) or not isinstance(value, Iterable):
        return value
    return type(value)(_fitted(p, v) for v in value)  # type: ignore[call-arg]


def no_history(name: str) -> AutogradError:
    """Return the error of an optimiser asked to record its step."""
    return AutogradError(
        message(
            name,
            "differentiable=True",
            "differentiable=False",
            "Steps are not recorded. Write the update with tensor operators to "
            "differentiate through it.",
        )
    )
