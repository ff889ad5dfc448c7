"""What users see: `jit`, the functions it returns, and how to switch it off."""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from .. import devices, dtypes
from ..errors import message, warn
from ..tensor import Tensor
from . import nesting, notice

if TYPE_CHECKING:
    from .special import Special

#: what a call returns that has found something else than it was made for
MISS: Any = object()
#: ... or memory that overlaps
OVERLAP: Any = object()
#: specialisations that one function keeps
_MOST = 32
#: combinations of sizes that a dynamic one keeps, those last used
_MOST_SIZES = 128


class _State(threading.local):
    disabled = os.environ.get("NUMTENSOR_JIT", "1") == "0"


_state = _State()
_lock = threading.RLock()
_all: weakref.WeakSet[Jitted] = weakref.WeakSet()


@contextmanager
def jit_disabled() -> Iterator[None]:
    """Run jitted functions eagerly, as if nothing had been said of `jit`.

    NUMTENSOR_JIT=0 in the environment does it for a whole program.
    """
    before = _state.disabled
    _state.disabled = True
    try:
        yield
    finally:
        _state.disabled = before


def jit(function: Callable[..., Any] | None = None, *, dynamic: bool = False) -> Any:
    """Compile a function of tensors: what it does becomes a few fused loops.

    The function runs once on tensors without data, and what it does is recorded:
    operators, `backward()`, optimiser steps, in-place changes, random numbers.
    Operators that go over the same elements become one loop, printed as Python and
    compiled by Numba. Later calls with arguments of the same dtypes, shapes and
    layouts, and with the same plain values, run that; others trace again. Floats that
    turn out to vary become numbers of each call. What the function reaches in its
    closure, in globals, modules and optimisers is checked before each call.

    `dynamic=True`: kernels are made for any sizes, so that another batch size needs no
    new compilation (small functions are a little slower).

    Plain Python in the function (printing, appending to lists, counting) happens while
    it is traced, not in later calls. Raises: TraceError, code that needs the elements
    of a tensor, naming the line.

    >>> import numtensor as nt
    >>> @nt.jit
    ... def squares(x):
    ...     return (2 * x + 1) ** 2
    >>> squares(nt.tensor([1.0, 2.0]))
    tensor([ 9., 25.])
    """
    if function is None:
        return functools.partial(jit, dynamic=dynamic)
    if not callable(function):
        raise TypeError(
            message("jit", f"a {type(function).__name__}", "a function of tensors")
        )
    if isinstance(function, Jitted):
        if function.dynamic or not dynamic:
            return function
        function = function.__wrapped__
    return Dynamic(function) if dynamic else Jitted(function)


class Jitted:
    """A compiled function: call it as the function itself."""

    dynamic = False

    def __init__(self, function: Callable[..., Any]) -> None:
        # not its attributes: a module's are looked up where they are
        functools.update_wrapper(self, function, updated=())
        self._specials: list[Special] = []
        self._replays: list[Callable[..., Any]] = []
        self._seen: dict[str, set[float]] = {}
        _all.add(self)

    def __repr__(self) -> str:
        name = getattr(self.__wrapped__, "__qualname__", repr(self.__wrapped__))
        return f"<jitted {name}, {len(self._specials)} specialisations>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__wrapped__, name)  # a module's parameters(), say

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the compiled function, compiling it first where that is needed."""
        if _state.disabled:
            return self.__wrapped__(*args, **kwargs)
        for replay in self._replays:
            result = replay(args, kwargs)
            if result is not MISS:
                if result is OVERLAP:
                    return self.__wrapped__(*args, **kwargs)
                return result
        return self._first(args, kwargs)

    def _first(self, args: Any, kwargs: Any) -> Any:
        if devices.tracing.trace is not None:  # part of another function's trace
            return self.__wrapped__(*args, **kwargs)
        special = self._special(args, kwargs)
        result = special.replay(args, kwargs)
        if result is MISS:
            warn(
                message(
                    "jit",
                    f"{self!r}, which changes what it was traced with",
                    "a function whose next call can be like the last",
                    "It runs eagerly, and is traced again at each call.",
                )
            )
        if result is MISS or result is OVERLAP:
            return self.__wrapped__(*args, **kwargs)
        return result

    def _special(self, args: Any, kwargs: Any) -> Special:
        """Trace and compile for these arguments."""
        from .special import Special
        from .tracer import trace

        with _lock, notice.of(self.__wrapped__):
            # another thread may have traced it, or have had its tensors meanwhile
            known = self._match(args, kwargs)
            if known is not None:
                return known
            loose = self._loose(args, kwargs)
            try:
                done = trace(self.__wrapped__, args, kwargs, loose)
            except Exception:
                if not loose:
                    raise
                done = None
            if done is None:
                # with numbers as they are: what went wrong may have been their being
                # no floats
                done = trace(self.__wrapped__, args, kwargs)
            special = Special(done, self.__wrapped__, not self.dynamic)
            self._note(done)
            self._keep(special, args, kwargs)
        return special

    def _keep(self, special: Special, args: Any, kwargs: Any) -> None:
        """Let a specialisation be the first to be asked."""
        self._specials.insert(0, special)
        del self._specials[_MOST:]
        self._replays = [s.replay for s in self._specials]

    def _floats(self, arguments: Any, slots: Any) -> Iterator[tuple[str, float]]:
        for text, value in arguments:
            if type(value) is float:
                yield text, value
        for slot in slots:
            if type(slot.value) is float:
                yield slot.text, slot.value

    def _note(self, done: Any) -> None:
        for text, value in self._floats(done.arguments, done.reached.slots):
            self._seen.setdefault(text, set()).add(value)

    def _loose(self, args: Any, kwargs: Any) -> frozenset[str]:
        """Return the floats that differ from all that were seen there before."""
        if not self._specials:
            return frozenset()
        loose: set[str] = set()
        for text, value in nesting.leaves(args, kwargs):
            if type(value) is float:
                seen = self._seen.get(text)
                if seen and (len(seen) > 1 or value not in seen):
                    loose.add(text)
        for special in self._specials[:1]:
            for slot in special.done.reached.slots:
                now = slot.now()
                seen = self._seen.get(slot.text)
                if type(now) is float and seen and (len(seen) > 1 or now not in seen):
                    loose.add(slot.text)
        return frozenset(loose)

    def _forget(self) -> None:
        self._specials.clear()
        self._replays = []

    def _latest(self) -> Special:
        if not self._specials:
            raise RuntimeError(
                message(
                    "jit",
                    "a function that has not been called yet",
                    "one that has been compiled",
                    "Call it once with arguments of the kind you want to see.",
                )
            )
        return self._specials[0]

    def repeat(self, times: int, *args: Any, **kwargs: Any) -> Any:
        """Call the function `times` times, and return the last results.

        Once one call is like the next, the loop runs without Python in between.
        Raises: ValueError, fewer than one.
        """
        if times < 1:
            raise ValueError(message("repeat", f"{times}", "a positive integer"))
        result = self(*args, **kwargs)
        for left in range(times - 1, 0, -1):
            found = self._again(left, args, kwargs)
            if found is not MISS:
                return found
            result = self(*args, **kwargs)
        return result

    def _again(self, times: int, args: Any, kwargs: Any) -> Any:
        """Run the loop natively; MISS where that cannot be, or not yet."""
        if _state.disabled or devices.tracing.trace is not None:
            return MISS
        special = self._match(args, kwargs)
        if special is None or not special.repeats:
            return MISS
        found = special.again(times, args, kwargs)
        return MISS if found is OVERLAP else found

    def _match(self, args: Any, kwargs: Any) -> Special | None:
        for special in self._specials:
            if special.matches(args, kwargs):
                return special
        return None

    def source(self, device: Any = None) -> str:
        """Return the kernels of the latest specialisation as Python source.

        `device="cuda"` prints what a GPU would run.
        """
        return self._latest().source(device)

    def explain(self) -> Any:
        """Return a table of the loops of the latest specialisation: what is in each,
        and the bytes it moves against the least that would do."""
        return self._latest().explain()


class Dynamic(Jitted):
    """A compiled function whose kernels serve all sizes.

    Each combination of sizes is traced, which takes milliseconds; it is found by the
    layouts of the tensors among the arguments, since there may be many.
    """

    dynamic = True

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._sized: OrderedDict[Any, tuple[Special, ...]] = OrderedDict()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the compiled function, tracing it first for sizes that are new."""
        if _state.disabled:
            return self.__wrapped__(*args, **kwargs)
        sizes = _sizes(args, kwargs)
        for special in self._sized.get(sizes, ()):
            result = special.replay(args, kwargs)
            if result is not MISS:
                with suppress(KeyError):  # another thread may have dropped it
                    self._sized.move_to_end(sizes)
                if result is OVERLAP:
                    return self.__wrapped__(*args, **kwargs)
                return result
        return self._first(args, kwargs)

    def _keep(self, special: Special, args: Any, kwargs: Any) -> None:
        sizes = _sizes(args, kwargs)
        known = self._sized.get(sizes, ())
        self._sized[sizes] = (special, *known)[:_MOST]
        self._sized.move_to_end(sizes)
        while len(self._sized) > _MOST_SIZES:
            self._sized.popitem(last=False)
        self._specials = [s for some in reversed(self._sized.values()) for s in some]

    def _forget(self) -> None:
        super()._forget()
        self._sized.clear()


def _sizes(args: Any, kwargs: Any) -> Any:
    """Return what tells calls with tensors of other sizes apart."""
    found = [a._spec for a in args if isinstance(a, Tensor)]
    if kwargs:
        found += [a._spec for a in kwargs.values() if isinstance(a, Tensor)]
    return tuple(found)


def _forget_all() -> None:
    for jitted in list(_all):
        jitted._forget()


dtypes.default_changed.append(_forget_all)
