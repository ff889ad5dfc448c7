"""Grad modes: whether operators are recorded, per thread.

Each mode is a context manager and a decorator. Knows no tensor and no node.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class _GradMode(threading.local):
    enabled = True
    anomaly = False


grad_mode = _GradMode()


def is_grad_enabled() -> bool:
    """Return whether operators are recorded in this thread."""
    return grad_mode.enabled


class _Mode:
    """A grad mode as a context manager and as a decorator."""

    __slots__ = ("enabled", "before")

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled

    def __enter__(self) -> None:
        self.before = grad_mode.enabled
        grad_mode.enabled = self.enabled

    def __exit__(self, *exc: object) -> None:
        grad_mode.enabled = self.before

    def __call__(self, function: F) -> F:
        enabled = self.enabled
        if inspect.isgeneratorfunction(function):
            return _in_mode(function, enabled)  # type: ignore[return-value]

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with _Mode(enabled):
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


def _in_mode(function: Callable[..., Any], enabled: bool) -> Callable[..., Any]:
    """Return a generator function whose body, and no caller of it, runs in a mode."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        sent: Any = None
        thrown: BaseException | None = None
        try:
            while True:
                with _Mode(enabled):
                    if thrown is None:
                        item = generator.send(sent)
                    else:
                        item = generator.throw(thrown)
                try:
                    sent, thrown = (yield item), None
                except GeneratorExit:
                    with _Mode(enabled):
                        generator.close()
                    raise
                except BaseException as error:
                    thrown = error
        except StopIteration as stop:
            return stop.value

    return wrapped


class no_grad(_Mode):
    """Context manager or decorator in which nothing is recorded.

    >>> import numtensor as nt
    >>> x = nt.ones(2, requires_grad=True)
    >>> with nt.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    __slots__ = ()

    def __new__(cls, function: Any = None) -> Any:
        if function is not None:
            return _Mode(False)(function)  # used as `@no_grad` without brackets
        return object.__new__(cls)

    def __init__(self) -> None:
        self.enabled = False


class enable_grad(_Mode):
    """Context manager or decorator in which operators are recorded again."""

    __slots__ = ()

    def __new__(cls, function: Any = None) -> Any:
        if function is not None:
            return _Mode(True)(function)
        return object.__new__(cls)

    def __init__(self) -> None:
        self.enabled = True


class inference_mode(_Mode):
    """As `no_grad`; `inference_mode(False)` is `enable_grad`, as in PyTorch."""

    def __new__(cls, mode: Any = True) -> Any:
        if callable(mode):
            return _Mode(False)(mode)
        return super().__new__(cls)

    def __init__(self, mode: bool = True) -> None:
        super().__init__(not mode)


class set_grad_enabled(_Mode):
    """Turn recording on or off, from this call on or for a `with` block."""

    __slots__ = ("previous",)

    def __init__(self, mode: bool) -> None:
        self.enabled = bool(mode)
        self.previous = grad_mode.enabled
        grad_mode.enabled = self.enabled

    def __enter__(self) -> None:
        self.before = self.previous
        grad_mode.enabled = self.enabled

    def __call__(self, function: F) -> F:
        grad_mode.enabled = self.previous
        return super().__call__(function)


@contextlib.contextmanager
def grads_recorded(enabled: bool) -> Iterator[None]:
    """Record or not, for the body of a `with`."""
    previous = grad_mode.enabled
    grad_mode.enabled = enabled
    try:
        yield
    finally:
        grad_mode.enabled = previous
