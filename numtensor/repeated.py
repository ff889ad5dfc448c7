"""Fresh tensors in host memory, of sizes seen before: what factories look up first.

A size and a dtype are checked once; after that zeros, ones, ranges and numbers from
lists are a look-up and a kernel call. What is not found here is None, and goes the
general way of `factories` and `creation`, which also raises the errors.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from itertools import chain
from typing import Any

from . import devices, dtypes, launch
from .dtypes import FLOAT
from .kernels.by_hand.ramp import ramp
from .memory import empty
from .ops.copies import _fill
from .spec import Spec, contiguous_spec
from .tensor import Tensor

#: a table is emptied when it has more
_MOST = 4000
#: numbers up to which no dtype here needs a second look
_WHOLE, _REAL = 1 << 31, 1e38
_WIDE = (dtypes.int64, dtypes.float32, dtypes.float64)


class Ready:
    """A layout of fresh tensors, and the calls that fill it with one number."""

    __slots__ = ("spec", "whole", "real")

    def __init__(self, found: Spec) -> None:
        self.spec = found
        key = ("into", found, int)
        self.whole = _fill.plans.get(key) or _fill.plan((int,), found)
        self.real: Any = None

    def filled(self, value: int) -> Tensor:
        """Return a tensor of an integer that the dtype holds."""
        plan = self.whole
        made = empty(self.spec)
        plan.run(plan.kernel, plan.n, made._pointer, plan.table, value)
        return made

    def filled_real(self, value: float) -> Tensor:
        """Return a tensor of a float, in a floating-point dtype."""
        plan = self.real
        if plan is None:
            plan = self.real = _fill.plan((float,), self.spec)
        made = empty(self.spec)
        plan.run(plan.kernel, plan.n, made._pointer, plan.table, value)
        return made


_seen: dict[Any, Ready] = {}
dtypes.default_changed.append(_seen.clear)


def known(size: tuple[Any, ...], given: Any) -> Ready | None:
    """Return what was worked out for these sizes and this dtype (None: the default)."""
    if len(size) == 1 and isinstance(size[0], tuple):
        size = size[0]
    for s in size:
        if type(s) is not int:  # True and 2.0 would be found as well
            return None
    if devices.active[0] and devices.tracing.trace is not None:
        return None  # while a function is traced, tensors are made as it wants them
    if given is not None and type(given) is not dtypes.dtype:
        return None
    return _seen.get((size, given))


def see(made: Tensor, given: Any) -> None:
    """Work out for the next call what `known` returns."""
    found = made._spec
    if found.device is not devices.CPU:
        return
    kind = dtypes.get_default_dtype() if given is None else given
    key = (tuple(found.shape), given)
    if found.numel and found.dtype is kind and key not in _seen:
        if len(_seen) > _MOST:
            _seen.clear()
        _seen[key] = Ready(found)


def like(input: Tensor, spec_like: Callable[[Tensor, Any], Spec]) -> Ready:
    """Return what makes tensors like this one, in its dtype and on its device."""
    extra = input._spec.extra
    ready = extra.get("like")
    if ready is None:
        ready = extra["like"] = Ready(spec_like(input, None))
    return ready  # type: ignore[no-any-return]


def full(size: Any, value: Any, given: Any) -> Tensor | None:
    """Return a tensor of one Python number."""
    kind = type(value)
    if kind is float:
        if not -_REAL < value < _REAL:
            return None
        if given is None:
            given = dtypes.get_default_dtype()
        elif type(given) is not dtypes.dtype or given.category != FLOAT:
            return None
    elif kind is int:
        if not -_WHOLE < value < _WHOLE:
            return None
        if given is None:
            given = dtypes.int64
        elif given not in _WIDE:
            return None
    else:
        return None
    ready = known(size if isinstance(size, tuple) else (size,), given)
    if ready is None:
        return None
    return ready.filled(value) if kind is int else ready.filled_real(value)


_ramps: dict[int, tuple[Spec, Any]] = {}


def integers(start: int, end: int, step: int) -> Tensor | None:
    """Return a range of integers."""
    if not (
        -_WHOLE < start < _WHOLE
        and -_WHOLE < end < _WHOLE
        and -_WHOLE < step < _WHOLE
        and step
    ):
        return None
    count = -((start - end) // step)
    if not 0 < count < 65536:
        return None
    if devices.active[0] and devices.tracing.trace is not None:
        return None
    ready = _ramps.get(count)
    if ready is None:
        if len(_ramps) > _MOST:
            _ramps.clear()
        found = contiguous_spec(dtypes.int64, (count,))
        ready = _ramps[count] = (found, launch.by_tasks(ramp(), count, cost=1))
    found, call = ready
    made = empty(found)
    call.run(call.kernel, call.n, made._pointer, call.table, start, step)
    return made


#: the formats of `struct` that store one kind of Python number
_FORMATS = {"bool": "?", "int64": "q", "float32": "f", "float64": "d"}
_KINDS: dict[Any, dtypes.dtype | None] = {
    frozenset((bool,)): dtypes.bool_,
    frozenset((int,)): dtypes.int64,
    frozenset((float,)): None,  # the default
}
_packers: dict[Any, tuple[Spec, Any, Any]] = {}
#: above, NumPy is as fast
_MOST_NUMBERS = 512


def numbers(data: Any, given: Any) -> Tensor | None:
    """Return a list or tuple of Python numbers of one type, or of such lists, as a
    tensor of their own dtype."""
    shape: tuple[int, ...] = (len(data),)
    if not 0 < shape[0] < _MOST_NUMBERS:
        return None
    if devices.active[0] and devices.tracing.trace is not None:
        return None
    kinds = frozenset(map(type, data))
    if kinds not in _KINDS:
        if kinds != _LISTS:
            return None
        widths = set(map(len, data))
        if len(widths) != 1:
            return None
        shape = (*shape, widths.pop())
        data = list(chain.from_iterable(data))
        if not 0 < len(data) < _MOST_NUMBERS:
            return None
        kinds = frozenset(map(type, data))
        if kinds not in _KINDS:
            return None
    kind = _KINDS[kinds] or dtypes.get_default_dtype()
    if given is not None and given is not kind:
        return None
    key = (shape, kind)
    packer = _packers.get(key)
    if packer is None:
        if len(_packers) > _MOST:
            _packers.clear()
        found = contiguous_spec(kind, shape)
        pack = struct.Struct(f"={len(data)}{_FORMATS[kind.name]}")
        at = (ctypes.c_char * pack.size).from_address
        packer = _packers[key] = (found, pack.pack_into, at)
    found, into, at = packer
    made = empty(found)
    try:
        into(at(made._pointer), 0, *data)
    except (struct.error, OverflowError):  # a number that the dtype cannot hold
        return None
    return made


_LISTS = frozenset((list,))
