"""The table of operators: what was declared, for functions, methods, docs and tests.

Filled by `declare`; knows no family.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any


@dataclass
class Declared:
    """One operator as its users and its tests see it."""

    name: str
    kind: str  # elementwise, reduction, view, factory, ...
    call: Callable[..., Any]
    operator: Any = None  # the Elementwise or Reduction behind it
    reference: Callable[..., Any] | None = None  # the same in NumPy
    domain: tuple[tuple[float, float], ...] = ()  # of each argument, for tests
    kinks: tuple[float, ...] = ()  # where the derivative jumps
    differentiable: bool = True
    why: str = ""  # if it is not
    dtypes: str = "all"  # all, number, float, integer
    in_place: bool = True
    samples: Callable[..., Any] | None = None  # (args, kwargs) cases for tests
    aliases: tuple[str, ...] = ()
    tolerance: float | None = None  # reason in the declaration
    host: str = ""  # what the host computes even if the device is a GPU, and why
    names: Any = None  # the rule for the dimension names of its results
    room: str = ""  # the module that exports it, if it is not the package itself
    extra: dict[str, Any] = field(default_factory=dict)


TABLE: dict[str, Declared] = {}
FUNCTIONS: dict[str, Callable[..., Any]] = {}
PUBLIC: dict[str, Callable[..., Any]] = {}  # the same as users call them
ROOMS: dict[str, dict[str, Callable[..., Any]]] = {}


def function(name: str) -> Callable[..., Any]:
    """Return the public function of this name."""
    return FUNCTIONS[name]


def register(
    declared: Declared, public: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """Enter an operator; a name can be declared once.

    `public` is what users call, if that is not the operator itself. Raises:
    ValueError, a name that is taken.
    """
    room = declared.room
    exported = ROOMS.setdefault(room, {}) if room else FUNCTIONS
    for name in (declared.name, *declared.aliases):
        if name in exported:
            raise ValueError(f"{name}: declared twice")
        exported[name] = declared.call
        (exported if room else PUBLIC)[name] = public or declared.call
    if room:
        declared.name = f"{room}.{declared.name}"
    TABLE[declared.name] = declared
    return declared.call


def publish(name: str, call: Callable[..., Any]) -> None:
    """Export a function that is no operator of its own.

    Raises: ValueError, a name that is taken.
    """
    if name in FUNCTIONS:
        raise ValueError(f"{name}: declared twice")
    FUNCTIONS[name] = PUBLIC[name] = call


def everything() -> dict[str, Declared]:
    """Return the whole table, with the operators of modules not imported yet."""
    import_module("numtensor.nn.functional")
    return TABLE
