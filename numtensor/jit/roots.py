"""What a function reaches besides its arguments, and how to notice that it changed.

A traced function bakes in what it finds in its closure, in globals, and in the modules,
optimisers, lists and objects that lead on from there. `Reached` walks all that once,
before a trace. It finds the tensors, says as Python source what must still hold for the
trace to be valid (`checks`), and finds, after a trace, where traced tensors were left
(`left`). Tensors' own state is checked by who uses them. Records and compiles nothing.
"""

from __future__ import annotations

import functools
import sys
import types
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..devices import Twin
from ..devices import device as Device
from ..dtypes import dtype
from ..errors import TraceError, message
from ..tensor import Tensor
from . import nesting

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...), slice, range)
_NUMBERS = (bool, int, float)
_DICTS: tuple[type, ...] = (dict, OrderedDict, defaultdict)
#: numbers in a list from which only its length is checked
_LONG = 64
_OWN = __name__.partition(".")[0]


class Slot:
    """A place that holds a plain value or a tensor: an entry of a dict, list or object.

    `text` reads it, given the constants of the checks.
    """

    __slots__ = ("container", "key", "text", "value")

    def __init__(self, container: Any, key: Any, text: str, value: Any) -> None:
        self.container = container  # a dict or list; of a cell, the cell
        self.key = key
        self.text = text
        self.value = value

    def now(self) -> Any:
        """Return what is there now, `Slot` itself if nothing is."""
        try:
            if type(self.container) is types.CellType:
                return self.container.cell_contents
            return self.container[self.key]
        except (KeyError, IndexError, ValueError):
            return Slot

    def put(self, value: Any) -> None:
        """Store something else there."""
        if type(self.container) is types.CellType:
            self.container.cell_contents = value
        else:
            self.container[self.key] = value


class Part(Slot):
    """An element of a tuple that is in a slot: a change of it is another tuple."""

    __slots__ = ("parent",)

    def __init__(self, parent: Slot, index: int) -> None:
        super().__init__(None, index, f"{parent.text}[{index}]", parent.value[index])
        self.parent = parent

    def now(self) -> Any:
        held = self.parent.now()
        if type(held) is tuple and self.key < len(held):
            return held[self.key]
        return Slot

    def put(self, value: Any) -> None:
        if value is self.value:
            self.parent.put(self.parent.value)
            return
        held = self.parent.now()
        self.parent.put((*held[: self.key], value, *held[self.key + 1 :]))


class Reached:
    """All that was found from some roots."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.slots: list[Slot] = []
        self.optimizers: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.containers: list[tuple[Any, str, int]] = []  # what, text, how long
        self._names: dict[int, str] = {}
        self._seen: set[int] = set()
        self._held: set[int] = set()  # tensors that are held otherwise than by slots
        self._alive: list[Any] = []
        self._changes: tuple[list[Slot], set[int]] = ([], set())

    def name(self, value: Any) -> str:
        """Return the name under which checks know an object."""
        known = self._names.get(id(value))
        if known is None:
            known = self._names[id(value)] = f"k{len(self._names)}"
            self.constants[known] = value
        return known

    def function(self, function: Any) -> None:
        """Walk what a function can reach by itself."""
        if isinstance(function, types.MethodType):
            self.open(function.__self__, self.name(function.__self__))
            function = function.__func__
        if isinstance(function, functools.partial):
            self.function(function.func)
            for value in (*function.args, *function.keywords.values()):
                self._pin(value)
            return
        if not isinstance(function, types.FunctionType):
            self.open(function, self.name(function))
            return
        if id(function) in self._seen or _is_library(function.__module__):
            return
        self._seen.add(id(function))
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is not None:
            self.function(wrapped)
        for cell in function.__closure__ or ():
            text = f"{self.name(cell)}.cell_contents"
            try:
                value = cell.cell_contents
            except ValueError:  # of a function that is still being defined
                continue
            self._slot(cell, None, text, value)
        for value in (function.__defaults__ or ()) + tuple(
            (function.__kwdefaults__ or {}).values()
        ):
            self._pin(value)
        spaces = function.__globals__
        for name in _names_of(function.__code__):
            if name in spaces:
                text = f"{self.name(spaces)}[{name!r}]"
                value = spaces[name]
                if isinstance(value, types.ModuleType):
                    self._module(value, function.__code__)
                else:
                    self._slot(spaces, name, text, value)

    def _module(self, module: types.ModuleType, code: types.CodeType) -> None:
        if _is_library(module.__name__):
            return
        space = vars(module)
        for name in _names_of(code):
            if name in space and not isinstance(space[name], types.ModuleType):
                self._slot(space, name, f"{self.name(space)}[{name!r}]", space[name])

    def _slot(self, container: Any, key: Any, text: str, value: Any) -> None:
        slot = Slot(container, key, text, value)
        self.slots.append(slot)
        if _is_split(value):
            self._parts(slot)
            return
        self.open(value, self.name(value) if _has_identity(value) else text)

    def _parts(self, slot: Slot) -> None:
        """Walk the elements of a tuple, each for itself: who puts another tuple there
        may have changed one of them."""
        for index, held in enumerate(slot.value):
            part = Part(slot, index)
            self.slots.append(part)
            if _is_split(held):
                self._parts(part)
            else:
                self.open(held, self.name(held) if _has_identity(held) else part.text)

    def _pin(self, value: Any) -> None:
        """Walk what is held where nothing else can be put."""
        if isinstance(value, Tensor):
            self._held.add(id(value))
        self.open(value, self.name(value))

    def open(self, value: Any, text: str) -> None:
        """Walk what a value leads to; `text` names it in checks."""
        if isinstance(value, Tensor):
            if id(value) not in self._seen:
                self._seen.add(id(value))
                self._alive.append(value)
                self.tensors.append(value)
                for name, held in vars(value).items():
                    self._slot(vars(value), name, f"{text}.__dict__[{name!r}]", held)
            return
        if isinstance(value, (*_PLAIN, type, dtype, Device)):
            return
        if id(value) in self._seen:
            return
        if isinstance(value, (types.FunctionType, types.MethodType, functools.partial)):
            self.function(value)
            return
        if isinstance(value, (tuple, frozenset)):
            self._seen.add(id(value))
            self._alive.append(value)
            for held in value:
                self._pin(held)
            return
        if isinstance(value, list):
            self._contain(value, text)
            plain = len(value) > _LONG and all(type(v) in (int, float) for v in value)
            for k, held in enumerate(() if plain else value):
                self._slot(value, k, f"{text}[{k}]", held)
            return
        if isinstance(value, dict):
            self._contain(value, text)
            for key, held in list(value.items()):
                shown = repr(key) if type(key) in (str, int, bool) else self.name(key)
                if isinstance(key, Tensor):
                    self.open(key, shown)
                self._slot(value, key, f"{text}[{shown}]", held)
            return
        self._object(value, text)

    def _contain(self, value: Any, text: str) -> None:
        self._seen.add(id(value))
        self._alive.append(value)
        self.containers.append((value, text, len(value)))

    def _object(self, value: Any, text: str) -> None:
        found = type(value)
        ours = found.__module__.partition(".")[0] == _OWN
        if ours and not _holds_tensors(value):
            return
        if not ours and _is_library(found.__module__):
            return
        if _is_jitted(value):
            self.function(value.__wrapped__)
            return
        space = getattr(value, "__dict__", None)
        if not isinstance(space, dict):
            return
        self._seen.add(id(value))
        self._alive.append(value)
        if hasattr(value, "param_groups") and hasattr(value, "prepare"):
            self.optimizers.append(value)
            space = {k: space[k] for k in ("param_groups", "state") if k in space}
            for key, held in space.items():
                self._slot(vars(value), key, f"{text}.{key}", held)
            return
        named = self.name(space)
        self.containers.append((space, named, len(space)))
        for key, held in list(space.items()):
            if key not in _QUIET:
                self._slot(space, key, f"{named}[{key!r}]", held)

    # checks

    def settle(self) -> None:
        """Note what the function has put elsewhere, and take traced tensors back."""
        self._changes = self._changed()
        self.undo()

    def _changed(self) -> tuple[list[Slot], set[int]]:
        """Return the slots that hold something else than before the trace, and the
        ids of lists and dicts that only they held."""
        changed: list[Slot] = []
        kept: set[int] = set()
        for slot in self.slots:
            now = slot.now()
            if now is slot.value or _same(now, slot.value):
                kept.add(id(slot.value))
            else:
                changed.append(slot)
        inner: set[int] = set()
        for slot in changed:
            inner.update(_nestings(slot.value))
        return changed, inner - kept

    def pinned(self) -> set[int]:
        """Return the ids of tensors that are where they were before the trace."""
        changed, inner = self._changes
        moved = {id(slot) for slot in changed}
        found = set(self._held)
        for slot in changed:  # a tuple in there holds its tensors no more
            found -= {id(v) for _, v in nesting.walk(slot.value, "")}
        for slot in self.slots:
            if id(slot) not in moved and id(slot.container) not in inner:
                found.add(id(slot.value))
        return found

    def rebound(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the tensors that were in places where the function has put others, and
        the texts that read those places."""
        for slot in self._changes[0]:
            for text, value in nesting.walk(slot.value, slot.text):
                if isinstance(value, Tensor):
                    yield text, value

    def checks(self, loose: set[int]) -> Iterator[str]:
        """Yield expressions that are true if something has changed.

        `loose` has the places in `slots` that may hold any float.
        """
        changed, inner = self._changes
        moved = {id(slot) for slot in changed}  # by the function itself
        for value, text, length in self.containers:
            if id(value) not in inner and len(value) == length:
                yield f"len({text}) != {length}"
        for k, slot in enumerate(self.slots):
            if id(slot) in moved or id(slot.container) in inner:
                continue
            if _is_split(slot.value):
                yield f"type({slot.text}) is not tuple"
                yield f"len({slot.text}) != {len(slot.value)}"
            elif k in loose:
                yield f"type({slot.text}) is not float"
            else:
                yield self.differs(slot.text, slot.value)

    def differs(self, text: str, value: Any) -> str:
        """Return an expression that is true if `text` reads another plain value, or
        another object, than this."""
        known = self.name(value)
        if _has_identity(value):
            return f"{text} is not {known}"
        kind = self.name(type(value))
        # zeros of both signs are equal, and divide into different infinities
        unequal = f"repr({text}) != '{value!r}'" if value == 0 else f"{text} != {known}"
        return f"({text} is not {known} and (type({text}) is not {kind} or {unequal}))"

    def check_rates(self, placed: Mapping[int, Any]) -> None:
        """Raise TraceError where the function has changed what an optimiser is set to:
        later calls would not. `placed` are values put there for the trace, by slot."""
        groups = {id(g) for o in self.optimizers for g in o.param_groups}
        for slot in self.slots:
            if id(slot.container) not in groups or type(slot.value) not in _NUMBERS:
                continue
            now = slot.now()
            if now is placed.get(id(slot), slot.value):
                continue
            if not _same(now, slot.value):
                slot.put(slot.value)
                raise TraceError(
                    message(
                        "jit",
                        f"a function that changes {slot.key!r} of an optimiser",
                        "plain numbers that are changed between calls",
                        "Call the schedule's step() outside, after each call.",
                    )
                )

    def left(self) -> list[tuple[Any, Any, Any]]:
        """Return where traced tensors were left: container, key, what holds them.

        Raises: TraceError, in a list that has become longer.
        """
        found = []
        for slot in self.slots:
            now = slot.now()
            if type(slot) is Part:
                continue  # its tuple is a slot too
            if now is not slot.value and _is_traced(now):
                found.append((slot.container, slot.key, now))
        for value, _, length in self.containers:
            if len(value) <= length:
                continue
            if isinstance(value, list):
                if any(_is_traced(v) for v in value[length:]):
                    del value[length:]
                    raise TraceError(
                        message(
                            "jit",
                            "a function that appends a tensor to a list outside of it",
                            "results that are returned",
                            "Return the tensor, and append it where it is returned.",
                        )
                    )
                continue
            known = {s.key for s in self.slots if s.container is value}
            for key, held in list(value.items()):
                if key not in known and _is_traced(held):
                    found.append((value, key, held))
        return found

    def undo(self) -> None:
        """Put back what a trace that failed replaced by traced tensors."""
        for slot in self.slots:
            now = slot.now()
            if type(slot) is Slot and now is not slot.value and _is_traced(now):
                slot.put(slot.value)
        for value, _, length in self.containers:
            if isinstance(value, dict) and len(value) > length:
                for key in [k for k, v in value.items() if _is_traced(v)]:
                    del value[key]


#: what modules keep that no result hangs on
_QUIET = frozenset({"_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"})


def _is_split(value: Any) -> bool:
    """Whether a value is a tuple whose elements are looked at one by one."""
    return type(value) is tuple and len(value) <= _LONG


def _is_traced(value: Any) -> bool:
    """Whether a value is a traced tensor, or a nesting that holds one."""
    if isinstance(value, Tensor):
        return type(value._spec.device) is Twin
    if not nesting.nested(value):
        return False
    return any(
        isinstance(v, Tensor) and type(v._spec.device) is Twin
        for _, v in nesting.walk(value, "")
    )


def _nestings(value: Any) -> Iterator[int]:
    """Yield the ids of the lists and dicts in a value."""
    if nesting.nested(value):
        yield id(value)
        for held in value.values() if isinstance(value, dict) else value:
            yield from _nestings(held)


def _same(a: Any, b: Any) -> bool:
    if _has_identity(b) or type(a) is not type(b):
        return False
    return bool(a == b)


def _has_identity(value: Any) -> bool:
    """Whether a value is known by who it is: equal ones are not the same."""
    return not isinstance(value, _PLAIN) or value is None


def _is_jitted(value: Any) -> bool:
    return any(
        kind.__name__ == "Jitted" and kind.__module__.startswith(_OWN)
        for kind in type(value).__mro__
    )


def _holds_tensors(value: Any) -> bool:
    kinds = {k.__name__ for k in type(value).__mro__ if k.__module__.startswith(_OWN)}
    return bool(kinds & {"Module", "Optimizer", "Jitted", "_Hooks"})


@functools.cache
def _is_library(module: str | None) -> bool:
    """Whether a module is part of Python, of this package, or installed."""
    if not module:
        return False
    top = module.partition(".")[0]
    if top == "__main__":
        return False
    if top == _OWN or top in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file


def _names_of(code: types.CodeType) -> list[str]:
    """Return the global names and attributes of code, and of code inside it."""
    found = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found += _names_of(constant)
    return list(dict.fromkeys(found))


Function = Callable[..., Any]
