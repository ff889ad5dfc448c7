"""The table of operators: what was declared, for functions, methods, docs and tests.

Filled by `declare`; knows no family.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
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
ROOMS: dict[str, dict[str, Callable[..., Any]]] = {}


def function(name: str) -> Callable[..., Any]:
    """Return the public function of this name."""
    return FUNCTIONS[name]


def register(declared: Declared) -> Callable[..., Any]:
    """Enter an operator; a name can be declared once.

    Raises: ValueError, a name that is taken.
    """
    room = declared.room
    exported = ROOMS.setdefault(room, {}) if room else FUNCTIONS
    for name in (declared.name, *declared.aliases):
        if name in exported:
            raise ValueError(f"{name}: declared twice")
        exported[name] = declared.call
    if room:
        declared.name = f"{room}.{declared.name}"
    TABLE[declared.name] = declared
    return declared.call
