"""Arguments and results: tensors and plain values in lists, tuples and dicts.

Knows how to take such a nesting apart and to put it together again, and how source text
reads a leaf of the arguments. Knows no trace.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_LISTS = (list, tuple)
_DICTS = (dict, OrderedDict)


def _is_record(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def nested(value: Any) -> bool:
    """Whether a value is a list, tuple or dict that is taken apart."""
    return type(value) in _LISTS or type(value) in _DICTS or _is_record(value)


def walk(value: Any, text: str) -> Iterator[tuple[str, Any]]:
    if type(value) in _LISTS or _is_record(value):
        for k, held in enumerate(value):
            yield from walk(held, f"{text}[{k}]")
    elif type(value) in _DICTS:
        for key, held in value.items():
            yield from walk(held, f"{text}[{key!r}]")
    else:
        yield text, value


def leaves(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return every leaf with the text that reads it from `args` and `kwargs`.

    >>> leaves((1, [2, 3]), {"a": 4})
    [('args[0]', 1), ('args[1][0]', 2), ('args[1][1]', 3), ("kwargs['a']", 4)]
    """
    found: list[tuple[str, Any]] = []
    for k, value in enumerate(args):
        found += walk(value, f"args[{k}]")
    for key, value in kwargs.items():
        found += walk(value, f"kwargs[{key!r}]")
    return found


def _shape(value: Any, text: str) -> Iterator[str]:
    if nested(value):
        yield f"type({text}).__name__ != {type(value).__name__!r}"
        yield f"len({text}) != {len(value)}"
    if type(value) in _LISTS or _is_record(value):
        for k, held in enumerate(value):
            yield from _shape(held, f"{text}[{k}]")
    elif type(value) in _DICTS:
        yield f"[*{text}] != {[*value]!r}"
        for key, held in value.items():
            yield from _shape(held, f"{text}[{key!r}]")


def layout(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    """Return expressions that are true of arguments nested in another way."""
    found = [f"len(args) != {len(args)}"]
    found.append(f"[*kwargs] != {[*kwargs]!r}" if kwargs else "kwargs")
    for k, value in enumerate(args):
        found += _shape(value, f"args[{k}]")
    for key, value in kwargs.items():
        found += _shape(value, f"kwargs[{key!r}]")
    return found


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return the nesting with every leaf changed.

    >>> mapped([1, (2, {"a": 3})], lambda x: -x)
    [-1, (-2, {'a': -3})]
    """
    if _is_record(value):
        return type(value)(*[mapped(v, change) for v in value])
    if type(value) in _LISTS:
        return type(value)([mapped(v, change) for v in value])
    if type(value) in _DICTS:
        return type(value)([(k, mapped(v, change)) for k, v in value.items()])
    return change(value)


def replaced(
    args: tuple[Any, ...], kwargs: dict[str, Any], by: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments with the leaves of some texts replaced."""
    if not by:
        return args, kwargs
    order = iter([by.get(text, value) for text, value in leaves(args, kwargs)])
    return mapped(args, lambda leaf: next(order)), mapped(
        kwargs, lambda leaf: next(order)
    )


def source(value: Any, text: Callable[[Any], str]) -> str:
    """Return Python source that builds a nesting, `text` giving that of each leaf."""
    if _is_record(value):
        inner = ", ".join(source(v, text) for v in value)
        return f"{text(type(value))}({inner})"
    if type(value) is list:
        return "[" + ", ".join(source(v, text) for v in value) + "]"
    if type(value) is tuple:
        return "(" + "".join(source(v, text) + ", " for v in value) + ")"
    if type(value) in _DICTS:
        inner = ", ".join(f"({text(k)}, {source(v, text)})" for k, v in value.items())
        return f"{text(type(value))}([{inner}])"
    return text(value)
