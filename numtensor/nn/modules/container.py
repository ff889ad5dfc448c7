"""Modules that hold others: in a row, in a list, by name."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, overload

from ...errors import message
from .module import Module, indented
from .tree import not_a_module

S = TypeVar("S", bound="_Row")


class _Row(Module):
    """Modules named "0", "1", ...: what `Sequential` and `ModuleList` share."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def _name_at(self, index: Any) -> str:
        """Return the name of the module at an index, which may be negative."""
        place = operator.index(index)
        count = len(self._modules)
        if not -count <= place < count:
            raise IndexError(
                message(
                    type(self).__name__,
                    f"index {place}",
                    f"one from {-count} to {count - 1}",
                    f"index {place} is out of range.",
                )
            )
        return next(itertools.islice(self._modules, place % count, None))

    def _renamed(self, modules: Iterable[Any]) -> None:
        self.__dict__["_modules"] = {str(k): m for k, m in enumerate(modules)}

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._name_at(index), module)

    def __delitem__(self, index: int | slice) -> None:
        names = list(self._modules)
        if isinstance(index, slice):
            for name in names[index]:
                delattr(self, name)
        else:
            delattr(self, self._name_at(index))
        self._renamed(self._modules.values())

    def append(self: S, module: Module) -> S:
        """Add a module at the end; return this one. Raises: TypeError, no Module."""
        self.add_module(str(len(self)), module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Add a module before the one at `index`.

        Raises: TypeError, no Module; IndexError.
        """
        if not isinstance(module, Module):
            raise not_a_module("insert", module)
        modules = list(self._modules.values())
        modules.insert(index, module)
        self._renamed(modules)
        return self

    def extend(self: S, modules: Iterable[Module]) -> S:
        """Add all of `modules` at the end; return this one. Raises: TypeError."""
        if not isinstance(modules, Iterable):
            raise _not_iterable(type(self).__name__, "extend", "an iterable", modules)
        for module in list(modules):
            self.append(module)
        return self

    def pop(self, index: int | slice = -1) -> Any:
        """Take out a module and return it."""
        found = self[index]
        del self[index]
        return found

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError


class Sequential(_Row):
    """Modules called one after the other, each with the result of the one before.

    Takes modules, or one mapping of names to modules.

    >>> import numtensor as nt
    >>> net = nt.nn.Sequential(nt.nn.Linear(1, 13), nt.nn.Linear(13, 1))
    >>> net(nt.ones(5, 1)).shape
    torch.Size([5, 1])
    >>> net[0]
    Linear(in_features=1, out_features=13, bias=True)
    """

    @overload
    def __init__(self, *modules: Module) -> None: ...
    @overload
    def __init__(self, modules: Mapping[str, Module], /) -> None: ...
    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            for k, module in enumerate(modules):
                self.add_module(str(k), module)

    def forward(self, input: Any) -> Any:
        for module in self._modules.values():
            input = module(input)
        return input

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(dict(list(self._modules.items())[index]))
        return self._modules[self._name_at(index)]

    def insert(self, index: int, module: Module) -> Sequential:
        """Add a module before the one at `index`; return this one.

        Raises: TypeError, no Module; IndexError.
        """
        count = len(self)
        if not -count <= index <= count:
            raise IndexError(
                message(
                    "insert",
                    f"index {index}",
                    f"one from {-count} to {count}",
                    f"Index out of range: {index}.",
                )
            )
        super().insert(index, module)
        return self

    def __add__(self, other: Any) -> Sequential:
        if not isinstance(other, Sequential):
            raise _not_added("add", other)
        return type(self)(*self, *other)

    def __iadd__(self, other: Any) -> Sequential:
        if not isinstance(other, Sequential):
            raise _not_added("add", other)
        return self.extend(other)

    def __mul__(self, times: int) -> Sequential:
        if not isinstance(times, int):
            return NotImplemented
        self._check_times(times)
        return type(self)(*(m for _ in range(times) for m in self))

    __rmul__ = __mul__

    def __imul__(self, times: int) -> Sequential:
        if not isinstance(times, int):
            return NotImplemented
        self._check_times(times)
        modules = list(self)
        for _ in range(times - 1):
            self.extend(modules)
        return self

    def _check_times(self, times: int) -> None:
        if times <= 0:
            raise ValueError(
                message(
                    "mul",
                    f"{times} times a Sequential",
                    "at least once",
                    f"Non-positive multiplication factor {times} for {type(self)}.",
                )
            )


class ModuleList(_Row):
    """A list of modules, whose parameters are the parameters of what holds it.

    >>> import numtensor as nt
    >>> layers = nt.nn.ModuleList(nt.nn.Linear(4, 4) for _ in range(3))
    >>> layers
    ModuleList(
      (0-2): 3 x Linear(in_features=4, out_features=4, bias=True)
    )
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self._modules.values())[index])
        return self._modules[self._name_at(index)]

    def insert(self, index: int, module: Module) -> None:
        """Add a module before the one at `index`. Raises: TypeError, no Module."""
        super().insert(index, module)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __iadd__(self, other: Iterable[Module]) -> ModuleList:
        return self.extend(other)

    def __repr__(self) -> str:
        if not len(self):
            return f"{self._get_name()}()"
        lines = []
        start = 0
        for text, group in itertools.groupby(repr(module) for module in self):
            count = len(list(group))
            if count == 1:
                lines.append(f"({start}): {indented(text)}")
            else:
                name = f"({start}-{start + count - 1})"
                lines.append(f"{name}: {count} x {indented(text)}")
            start += count
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"


class ModuleDict(Module):
    """Modules by name, in the order they were put in.

    >>> import numtensor as nt
    >>> parts = nt.nn.ModuleDict({"in": nt.nn.Linear(1, 2)})
    >>> parts["out"] = nt.nn.Linear(2, 1)
    >>> list(parts)
    ['in', 'out']
    """

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: str) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Take out all modules."""
        self._modules.clear()

    def pop(self, key: str) -> Any:
        """Take out a module and return it. Raises: KeyError."""
        return self._modules.pop(key)

    def keys(self) -> Any:
        """Return the names."""
        return self._modules.keys()

    def items(self) -> Any:
        """Return pairs of names and modules."""
        return self._modules.items()

    def values(self) -> Any:
        """Return the modules."""
        return self._modules.values()

    def update(self, modules: Any) -> None:
        """Add the modules of a mapping, or of pairs.

        Raises: TypeError, neither; ValueError, elements that are no pairs.
        """
        for key, module in pairs("ModuleDict", modules):
            self[key] = module


def pairs(name: str, given: Any) -> list[tuple[Any, Any]]:
    """Return the items of a mapping, or of an iterable of pairs.

    Raises: TypeError, ValueError.
    """
    if not isinstance(given, Iterable):
        raise _not_iterable(name, "update", "an iterable of key/value pairs", given)
    if isinstance(given, Mapping) or hasattr(given, "items"):
        return list(given.items())
    found = []
    for k, pair in enumerate(given):
        if not isinstance(pair, Iterable):
            raise TypeError(
                message(
                    "update",
                    f"a {type(pair).__name__} as element {k}",
                    "a pair of name and value",
                    f"{name} update sequence element #{k} should be Iterable; is "
                    f"{type(pair).__name__}.",
                )
            )
        held = tuple(pair)
        if len(held) != 2:
            raise ValueError(
                message(
                    "update",
                    f"element {k} of length {len(held)}",
                    "a pair of name and value",
                    f"{name} update sequence element #{k} has length {len(held)}; 2 is "
                    "required.",
                )
            )
        found.append((held[0], held[1]))
    return found


def _not_iterable(name: str, op: str, wanted: str, given: Any) -> TypeError:
    kind = type(given).__name__
    return TypeError(
        message(
            op,
            f"a {kind}",
            wanted,
            f"{name}.{op} should be called with {wanted}, but got {kind}.",
        )
    )


def _not_added(op: str, other: Any) -> ValueError:
    return ValueError(
        message(
            op,
            f"a {type(other).__name__}",
            "a Sequential",
            "add operator supports only objects of Sequential class, but "
            f"{type(other)} is given.",
        )
    )
