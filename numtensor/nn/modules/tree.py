"""What a module holds: parameters, buffers and modules inside it, and their names.

Attributes that are tensors or modules live in dictionaries of their own, so that they
can be found, listed and walked through. Calls, hooks, files and dtypes are the business
of the other rooms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ...errors import message
from ...tensor import Tensor
from ..parameter import Buffer, Parameter

T = TypeVar("T", bound="Tree")

_PLACES = ("_parameters", "_buffers", "_modules")


class Tree:
    """The parts of a module by name. `Module` derives from it; nothing else does."""

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _non_persistent_buffers_set: set[str]
    _modules: dict[str, Any]

    def __init__(self) -> None:
        own = self.__dict__
        own["training"] = True
        own["_parameters"] = {}
        own["_buffers"] = {}
        own["_non_persistent_buffers_set"] = set()
        own["_modules"] = {}

    # attributes

    def __getattr__(self, name: str) -> Any:
        # only for what no dictionary of the object itself and of its class has
        own = self.__dict__
        if "_modules" in own:
            found = own["_modules"]
            if name in found:
                return found[name]
            found = own["_parameters"]
            if name in found:
                return found[name]
            found = own["_buffers"]
            if name in found:
                return found[name]
        raise AttributeError(
            f"{type(self).__name__!r} object has no attribute {name!r}"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if isinstance(value, Parameter):
            self._require_init("parameters")
            self._forget(name, "_parameters")
            self.register_parameter(name, value)
            return
        if isinstance(value, Tree):
            self._require_init("module")
            self._forget(name, "_modules")
            own["_modules"][name] = value
            return
        if "_parameters" in own:
            if name in own["_parameters"]:
                if value is not None:
                    raise _unassignable(value, "parameter", name)
                own["_parameters"][name] = None
                return
            if name in own["_modules"]:
                if value is not None:
                    raise _unassignable(value, "child module", name)
                own["_modules"][name] = None
                return
            held = own["_buffers"]
            if name in held:
                if value is not None and not isinstance(value, Tensor):
                    raise _unassignable(value, "buffer", name)
                held[name] = value
                if isinstance(value, Buffer):
                    self._set_persistent(name, value.persistent)
                return
        if isinstance(value, Buffer):
            self._require_init("buffer")
            self._forget(name, "_buffers")
            self.register_buffer(name, value, value.persistent)  # type: ignore
            return
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        for place in _PLACES:
            if name in self.__dict__.get(place, ()):
                del self.__dict__[place][name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = set(dir(type(self))) | set(self.__dict__)
        names.update(self._parameters, self._modules, self._buffers)
        return sorted(n for n in names if not n[:1].isdigit())

    def _require_init(self, kind: str) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(
                message(
                    type(self).__name__,
                    f"an assignment of a {kind.removesuffix('s')} to an unfinished "
                    "module",
                    "one after super().__init__()",
                    f"cannot assign {kind} before Module.__init__() call.",
                )
            )

    def _forget(self, name: str, place: str) -> None:
        """Take a name from everywhere but one place, which is about to get it."""
        self.__dict__.pop(name, None)
        for other in _PLACES:
            if other != place and name in self.__dict__[other]:
                del self.__dict__[other][name]
        self._non_persistent_buffers_set.discard(name)

    def _check_name(self, kind: str, name: Any, place: str) -> None:
        op = f"register_{kind}"
        if not isinstance(name, str):
            kind_of_name = type(name).__name__
            raise TypeError(
                message(
                    op,
                    f"a name of type {kind_of_name}",
                    "a string",
                    f"{kind} name should be a string. Got {kind_of_name}.",
                )
            )
        if "." in name:
            raise KeyError(
                message(
                    op,
                    f"the name {name!r}",
                    "one without dots",
                    f'{kind} name can\'t contain ".", got: {name}.',
                )
            )
        if not name:
            raise KeyError(
                message(op, "''", "a name", f'{kind} name can\'t be empty string "".')
            )
        if hasattr(self, name) and name not in self.__dict__[place]:
            raise KeyError(
                message(
                    op,
                    f"the name {name!r}",
                    "a free one",
                    f"attribute '{name}' already exists.",
                )
            )

    # registering

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter, or None for one that could be there.

        Raises: KeyError, a name that is taken, empty or has dots; TypeError.
        """
        self._require_init("parameters")
        self._check_name("parameter", name, "_parameters")
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    message(
                        "register_parameter",
                        f"a {_type_name(param)}",
                        "a Parameter or None",
                        f"cannot assign '{_type_name(param)}' object to parameter "
                        f"'{name}' (torch.nn.Parameter or None required).",
                    )
                )
            if param.grad_fn is not None:
                raise ValueError(
                    message(
                        "register_parameter",
                        f"a computed tensor for '{name}'",
                        "a leaf",
                        f"Cannot assign non-leaf Tensor to parameter '{name}'. Model "
                        "parameters must be created explicitly; to express it as a "
                        "function of another Tensor, compute the value in forward().",
                    )
                )
        self._parameters[name] = param

    def register_buffer(
        self, name: str, tensor: Tensor | None, persistent: bool = True
    ) -> None:
        """Add a tensor that belongs to the state and is not trained.

        With `persistent=False` it stays out of `state_dict`.
        Raises: KeyError, a name that is taken, empty or has dots; TypeError.
        """
        self._require_init("buffer")
        self._check_name("buffer", name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                message(
                    "register_buffer",
                    f"a {_type_name(tensor)}",
                    "a Tensor or None",
                    f"cannot assign '{_type_name(tensor)}' object to buffer '{name}' "
                    "(torch Tensor or None required).",
                )
            )
        self._buffers[name] = tensor
        self._set_persistent(name, persistent)

    def _set_persistent(self, name: str, persistent: bool) -> None:
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_module(self, name: str, module: Any) -> None:
        """Add a module inside this one; the same as `add_module`."""
        self.add_module(name, module)

    def add_module(self, name: str, module: Any) -> None:
        """Add a module inside this one, under a name.

        Raises: KeyError, a name that is taken, empty or has dots; TypeError.
        """
        if module is not None and not isinstance(module, Tree):
            raise not_a_module("add_module", module)
        self._require_init("module")
        self._check_name("module", name, "_modules")
        self._modules[name] = module

    # looking up by path

    def get_submodule(self, target: str) -> Any:
        """Return the module at a path such as "body.0.norm", itself for "".

        Raises: AttributeError, there is none.
        """
        found: Any = self
        for name in target.split(".") if target else ():
            if not hasattr(found, name):
                raise _missing("get_submodule", found, name)
            found = getattr(found, name)
            if not isinstance(found, Tree):
                raise AttributeError(
                    message(
                        "get_submodule",
                        f"{name!r}, a {type(found).__name__}",
                        "the name of a module",
                        f"`{name}` is not an nn.Module.",
                    )
                )
        return found

    def set_submodule(self, target: str, module: Any, strict: bool = False) -> None:
        """Put a module at a path; with `strict`, only in place of another.

        Raises: ValueError, an empty path or no module; AttributeError, no such place.
        """
        if not target:
            raise ValueError(
                message(
                    "set_submodule",
                    "''",
                    "a path",
                    "Cannot set the submodule without a target name!",
                )
            )
        if not isinstance(module, Tree):
            raise ValueError(
                message(
                    "set_submodule",
                    f"a {type(module).__name__}",
                    "a Module",
                    f"`module` is not an nn.Module, found {type(module)}.",
                )
            )
        path, _, last = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, last):
            raise _missing("set_submodule", parent, last)
        if hasattr(parent, last) and not isinstance(getattr(parent, last), Tree):
            raise AttributeError(
                message(
                    "set_submodule",
                    f"{last!r}, which is no module",
                    "the name of a module",
                    f"`{last}` is not an nn.Module.",
                )
            )
        setattr(parent, last, module)

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter at a path such as "body.0.weight".

        Raises: AttributeError, there is none.
        """
        found = self._at_path("get_parameter", target)
        if not isinstance(found, Parameter):
            name = target.rpartition(".")[2]
            raise AttributeError(
                message(
                    "get_parameter",
                    f"{target!r}, a {type(found).__name__}",
                    "the path of a Parameter",
                    f"`{name}` is not an nn.Parameter.",
                )
            )
        return found

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer at a path such as "body.1.running_mean".

        Raises: AttributeError, there is none.
        """
        found = self._at_path("get_buffer", target)
        path, _, name = target.rpartition(".")
        if name not in self.get_submodule(path)._buffers:
            raise AttributeError(
                message(
                    "get_buffer",
                    f"{target!r}, a {type(found).__name__}",
                    "the path of a buffer",
                    f"`{name}` is not a buffer.",
                )
            )
        return found  # type: ignore[no-any-return]

    def _at_path(self, op: str, target: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise _missing(op, module, name)
        return getattr(module, name)

    # walking through

    def _named_members(
        self,
        members: Callable[[Any], Any],
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        seen = set()
        for path, module in (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else ((prefix, self),)
        ):
            for name, value in members(module):
                if value is None or value in seen:
                    continue
                if remove_duplicate:
                    seen.add(value)
                yield (f"{path}.{name}" if path else name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield (path, parameter), of the modules inside too unless `recurse=False`."""
        return self._named_members(
            lambda m: m._parameters.items(), prefix, recurse, remove_duplicate
        )

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield the parameters: what an optimiser takes.

        >>> import numtensor as nt
        >>> [tuple(p.shape) for p in nt.nn.Linear(3, 2).parameters()]
        [(2, 3), (2,)]
        """
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield (path, buffer), of the modules inside too unless `recurse=False`."""
        return self._named_members(
            lambda m: m._buffers.items(), prefix, recurse, remove_duplicate
        )

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield the buffers."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def named_children(self) -> Iterator[tuple[str, Any]]:
        """Yield (name, module) of the modules directly inside, each once."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Any]:
        """Yield the modules directly inside, each once."""
        for _, module in self.named_children():
            yield module

    def named_modules(
        self,
        memo: set[Any] | None = None,
        prefix: str = "",
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        """Yield (path, module) of this module and of all inside it, outer first."""
        if memo is None:
            memo = set()
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    def modules(self) -> Iterator[Any]:
        """Yield this module and all inside it, each once."""
        for _, module in self.named_modules():
            yield module


def _type_name(value: Any) -> str:
    """Return how errors call the type of a value: of tensors by their dtype."""
    if isinstance(value, Tensor):
        return str(value.type())
    return type(value).__name__


def _unassignable(value: Any, kind: str, name: str) -> TypeError:
    wanted = {
        "parameter": "torch.nn.Parameter",
        "child module": "torch.nn.Module",
        "buffer": "torch.nn.Buffer, torch.Tensor",
    }[kind]
    return TypeError(
        message(
            "setattr",
            f"a {_type_name(value)} for the {kind} {name!r}",
            f"{wanted} or None",
            f"cannot assign '{_type_name(value)}' as {kind} '{name}' ({wanted} or None "
            "expected). Delete the attribute first to give the name another meaning.",
        )
    )


def not_a_module(op: str, value: Any) -> TypeError:
    """Return the error for what should be a module."""
    name = type(value).__name__
    return TypeError(
        message(op, f"a {name}", "a Module", f"{name} is not a Module subclass.")
    )


def _missing(op: str, module: Any, name: str) -> AttributeError:
    kind = type(module).__name__
    return AttributeError(
        message(
            op,
            f"{name!r}",
            f"an attribute of the {kind}",
            f"{kind} has no attribute `{name}`.",
        )
    )
