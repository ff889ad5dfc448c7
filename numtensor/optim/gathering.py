"""The arguments of one call that updates all small parameters of a group.

Every attribute read here is paid for each parameter at each step, as much as a small
parameter's update takes, so that the usual numbers of kept tensors are written out.
Parameters of many elements are put aside, in `large`. What is not usual (a parameter
seen for the first time, or on a device) raises KeyError, or AttributeError where
something is no tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..dtypes import float32
from ..spec import Spec, contiguous_spec
from ..tensor import Tensor

Headers = dict[tuple[Spec, ...], int]

_COUNTER = contiguous_spec(float32, ())


def plain(params: Sequence[Tensor], headers: Headers, large: list[Tensor]) -> list[int]:
    """Return header, parameter and gradient of each parameter that has one."""
    flat: list[int] = []
    for p in params:
        grad = p._grad
        if grad is not None:
            header = headers[p._spec, grad._spec]
            if not header:
                large.append(p)
                continue
            p._storage.version += 1  # memory not to be written refuses here
            flat += (header, p._pointer, grad._pointer)
    return flat


def kept(
    params: Sequence[Tensor],
    headers: Headers,
    state: Any,
    names: tuple[str, ...],
    counters: list[int] | None,
    large: list[Tensor],
) -> list[int]:
    """Return the same with what is kept for each parameter before the gradient.

    The addresses of counts of steps are appended to `counters`, unless it is None.
    """
    flat: list[int] = []
    if len(names) == 1:
        (one,) = names
        for p in params:
            grad = p._grad
            if grad is None:
                continue
            own = state[p]
            a = own[one]
            header = headers[p._spec, a._spec, grad._spec]
            if counters is not None:
                count = own["step"]
                if count._spec is not _COUNTER:
                    raise KeyError
                counters.append(count._pointer)
            if not header:
                large.append(p)
                continue
            p._storage.version += 1
            a._storage.version += 1
            flat += (header, p._pointer, a._pointer, grad._pointer)
        return flat
    if len(names) == 2:
        one, two = names
        for p in params:
            grad = p._grad
            if grad is None:
                continue
            own = state[p]
            a = own[one]
            b = own[two]
            header = headers[p._spec, a._spec, b._spec, grad._spec]
            if counters is not None:
                count = own["step"]
                if count._spec is not _COUNTER:
                    raise KeyError
                counters.append(count._pointer)
            if not header:
                large.append(p)
                continue
            p._storage.version += 1
            a._storage.version += 1
            b._storage.version += 1
            flat += (header, p._pointer, a._pointer, b._pointer, grad._pointer)
        return flat
    for p in params:
        grad = p._grad
        if grad is None:
            continue
        own = state[p]
        held = [own[name] for name in names]
        specs = (p._spec, *[t._spec for t in held], grad._spec)
        header = headers[specs]
        if counters is not None:
            count = own["step"]
            if count._spec is not _COUNTER:
                raise KeyError
            counters.append(count._pointer)
        if not header:
            large.append(p)
            continue
        p._storage.version += 1
        flat += (header, p._pointer)
        for t in held:
            t._storage.version += 1
            flat.append(t._pointer)
        flat.append(grad._pointer)
    return flat
