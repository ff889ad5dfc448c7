"""A module's state as a dictionary of tensors, and back.

The layout, the keys and the words of the errors are PyTorch's: programs compare and
print them. Files know nothing of modules, and this room nothing of files.
"""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ...modes import no_grad
from ...tape import RemovableHandle
from ...tensor import Tensor
from ..parameter import Parameter
from .tree import Tree

T = TypeVar("T", bound=dict[str, Any])

_EXTRA = "_extra_state"


class _IncompatibleKeys(
    namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])
):
    """What `load_state_dict` found in only one of the module and the dictionary."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"_IncompatibleKeys(missing_keys={self.missing_keys}, "
            f"unexpected_keys={self.unexpected_keys})"
        )

    __str__ = __repr__


class _State(OrderedDict):
    """An ordered dictionary that carries the versions of modules as `_metadata`."""

    _metadata: OrderedDict


class Stateful(Tree):
    """`state_dict` and `load_state_dict`. `Module` derives from it."""

    #: raised by a class whose state changes its layout; `state_dict` notes it
    _version: int = 1

    #: hooks on state by kind; an object has its own once something is registered
    _state_hooks: Mapping[str, dict[int, Any]] = {}

    def state_dict(
        self,
        *,
        destination: Any = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> dict[str, Any]:
        """Return parameters and persistent buffers by their paths.

        The tensors share memory with the module's and are outside the tape, unless
        `keep_vars`.

        >>> import numtensor as nt
        >>> list(nt.nn.Linear(3, 2).state_dict())
        ['weight', 'bias']
        """
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = metadata
        for hook in self._hooks_of("pre save"):
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(  # type: ignore[attr-defined]
                    destination=destination,
                    prefix=f"{prefix}{name}.",
                    keep_vars=keep_vars,
                )
        for hook in self._hooks_of("post save"):
            changed = hook(self, destination, prefix, metadata)
            if changed is not None:
                destination = changed
        return destination  # type: ignore[no-any-return]

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        """Enter this module's own tensors, not those of modules inside it."""
        for name, tensor in self._own_state():
            destination[prefix + name] = tensor if keep_vars else tensor.detach()
        if type(self).get_extra_state is not Stateful.get_extra_state:
            destination[prefix + _EXTRA] = self.get_extra_state()

    def _own_state(self) -> list[tuple[str, Tensor]]:
        found: list[tuple[str, Tensor | None]] = [*self._parameters.items()]
        hidden = self._non_persistent_buffers_set
        found += [(k, b) for k, b in self._buffers.items() if k not in hidden]
        return [(name, tensor) for name, tensor in found if tensor is not None]

    def get_extra_state(self) -> Any:
        """Return what else belongs to the state: a module may define this."""
        raise RuntimeError(
            "Reached a code path in Module.get_extra_state() that should never be "
            "called: define it together with set_extra_state()."
        )

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` returned."""
        raise RuntimeError(
            "Reached a code path in Module.set_extra_state() that should never be "
            "called: define it together with get_extra_state()."
        )

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Copy the values of a dictionary into parameters and buffers.

        With `assign=True` the module takes the dictionary's tensors themselves.
        Returns the keys that only one of both has.
        Raises: RuntimeError, with `strict`, if there are such; or a shape that differs;
        TypeError, no dictionary.

        >>> import numtensor as nt
        >>> a, b = nt.nn.Linear(3, 2), nt.nn.Linear(3, 2)
        >>> a.load_state_dict(b.state_dict())
        <All keys matched successfully>
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"Expected state_dict to be dict-like, got {type(state_dict)}."
            )
        missing: list[str] = []
        unexpected: list[str] = []
        faults: list[str] = []
        metadata = getattr(state_dict, "_metadata", None)
        state = _State(state_dict)
        if metadata is not None:
            state._metadata = metadata

        def load(module: Any, local: Any, prefix: str) -> None:
            known = {} if metadata is None else metadata.get(prefix[:-1], {})
            if assign:
                known = {**known, "assign_to_params_buffers": True}
            module._load_from_state_dict(
                local, prefix, known, True, missing, unexpected, faults
            )
            for name, child in module._modules.items():
                if child is not None:
                    path = f"{prefix}{name}."
                    part = {k: v for k, v in local.items() if k.startswith(path)}
                    load(child, part, path)
            incompatible = _IncompatibleKeys(missing, unexpected)
            for hook in module._hooks_of("post load"):
                if hook(module, incompatible) is not None:
                    raise AssertionError(
                        "Hooks registered with register_load_state_dict_post_hook are "
                        "not expected to return new values: change the lists in place."
                    )

        load(self, state, "")
        if strict:
            if unexpected:
                keys = ", ".join(f'"{k}"' for k in unexpected)
                faults.insert(0, f"Unexpected key(s) in state_dict: {keys}. ")
            if missing:
                keys = ", ".join(f'"{k}"' for k in missing)
                faults.insert(0, f"Missing key(s) in state_dict: {keys}. ")
        if faults:
            raise RuntimeError(
                f"Error(s) in loading state_dict for {type(self).__name__}:\n\t"
                + "\n\t".join(faults)
            )
        return _IncompatibleKeys(missing, unexpected)

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take this module's own tensors; a class whose layout changed extends it."""
        for hook in self._hooks_of("pre load"):
            hook(
                state_dict, prefix, local_metadata, strict, missing_keys,
                unexpected_keys, error_msgs,
            )  # fmt: skip
        assign = local_metadata.get("assign_to_params_buffers", False)
        own = dict(self._own_state())
        for name, tensor in own.items():
            key = prefix + name
            if key not in state_dict:
                if strict:
                    missing_keys.append(key)
                continue
            given = state_dict[key]
            if not isinstance(given, Tensor):
                error_msgs.append(
                    f'While copying the parameter named "{key}", expected torch.Tensor '
                    "or Tensor-like object from checkpoint but received "
                    f"{type(given)}"
                )
                continue
            if tensor.ndim == 0 and given.ndim == 1:
                given = given[0]  # as old versions stored numbers
            if given.shape != tensor.shape:
                error_msgs.append(
                    f"size mismatch for {key}: copying a param with shape "
                    f"{given.shape} from checkpoint, the shape in current model is "
                    f"{tensor.shape}."
                )
                continue
            try:
                if assign:
                    self._take_tensor(name, tensor, given)
                else:
                    with no_grad():
                        tensor.copy_(given)
            except Exception as error:
                error_msgs.append(
                    f"While {'assigning' if assign else 'copying'} the parameter named "
                    f'"{key}", whose dimensions in the model are {tensor.shape} and '
                    f"whose dimensions in the checkpoint are {given.shape}, an "
                    f"exception occurred : {error.args}."
                )
        key = prefix + _EXTRA
        if type(self).set_extra_state is not Stateful.set_extra_state:
            if key in state_dict:
                self.set_extra_state(state_dict[key])
            elif strict:
                missing_keys.append(key)
        elif strict and key in state_dict:
            unexpected_keys.append(key)
        if strict:
            for found in state_dict:
                if found.startswith(prefix) and found != key:
                    first, dot, _ = found[len(prefix) :].partition(".")
                    if first not in (self._modules if dot else own):
                        unexpected_keys.append(found)

    def _take_tensor(self, name: str, before: Tensor, given: Tensor) -> None:
        if isinstance(before, Parameter):
            if not isinstance(given, Parameter):
                given = Parameter(given, before.requires_grad)
            else:
                given.requires_grad_(before.requires_grad)
            self._parameters[name] = given
        else:
            self._buffers[name] = given

    # hooks

    def _hooks_of(self, kind: str) -> list[Callable[..., Any]]:
        return list(self._state_hooks.get(kind, {}).values())

    def _add_state_hook(self, kind: str, hook: Callable[..., Any]) -> RemovableHandle:
        if "_state_hooks" not in self.__dict__:
            self.__dict__["_state_hooks"] = {}
        own: dict[str, dict[int, Any]] = self.__dict__["_state_hooks"]
        return RemovableHandle(own.setdefault(kind, {}), hook)

    def register_state_dict_pre_hook(
        self, hook: Callable[..., None]
    ) -> RemovableHandle:
        """Call `hook(module, prefix, keep_vars)` before `state_dict` collects."""
        return self._add_state_hook("pre save", hook)

    def register_state_dict_post_hook(
        self, hook: Callable[..., Any]
    ) -> RemovableHandle:
        """Call `hook(module, state_dict, prefix, local_metadata)` after it has.

        The hook changes the dictionary in place.
        Raises: RuntimeError, it returned something.
        """

        def call(*args: Any) -> None:
            if hook(*args) is not None:
                raise RuntimeError(
                    "state_dict post-hook must return None: change the dictionary in "
                    "place."
                )

        return self._add_state_hook("post save", call)

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Like the public one, but what `hook` returns replaces the dictionary."""
        return self._add_state_hook("post save", hook)

    def register_load_state_dict_pre_hook(
        self, hook: Callable[..., None]
    ) -> RemovableHandle:
        """Call `hook(module, state_dict, prefix, local_metadata, strict, missing_keys,
        unexpected_keys, error_msgs)` before a module takes its tensors."""
        return self._add_state_hook("pre load", _Bound(hook, self))

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., None], with_module: bool = False
    ) -> RemovableHandle:
        """Like the public one, but without the module unless `with_module`."""
        bound = _Bound(hook, self) if with_module else hook
        return self._add_state_hook("pre load", bound)

    def register_load_state_dict_post_hook(
        self, hook: Callable[..., None]
    ) -> RemovableHandle:
        """Call `hook(module, incompatible_keys)` after a module has taken its tensors.

        The hook may change the two lists in place.
        """
        return self._add_state_hook("post load", hook)


class _Bound:
    """A hook with its module as first argument; a copy of the module gets its own."""

    def __init__(self, hook: Callable[..., None], module: Any) -> None:
        self.hook = hook
        self.module = module

    def __call__(self, *args: Any) -> None:
        self.hook(self.module, *args)
