"""What a mask marks: how many elements, which, and their values, read and written.

A mask is a contiguous bool tensor. On a device its count is fetched by the host, which
has to know how large a result is. Knows tensors as memory, and not the tape.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from . import dtypes, launch, transfer
from .devices import CPU, Twin
from .devices import device as Device
from .kernels.by_hand import masks as texts
from .kernels.tasks import Tasks
from .layout import numel
from .memory import empty
from .places import CARRIERS
from .sorted_rows import perform
from .spec import Spec, contiguous_spec
from .tensor import Tensor

#: elements of a chunk on the CPU: enough to be worth a thread's while
_CHUNK = 16384


class Marked:
    """The elements that a mask marks; made by counting them."""

    __slots__ = ("mask", "count", "_starts", "_way")

    def __init__(self, mask: Tensor) -> None:
        found = mask._spec
        self.mask = mask
        self.count = 0
        if type(found.device) is Twin:
            transfer.values(mask)  # which refuses
        self._way = way = _way(found)
        if way is None:
            return
        self._starts = starts = empty(way.counts)
        call = way.count
        call.run(call.kernel, call.n, starts._pointer, mask._pointer, call.table)
        if way.chunks > 1:
            _running(starts, way.chunks, found.device)
        last = starts._pointer + 8 * way.chunks
        if found.device is CPU:
            self.count = ctypes.c_int64.from_address(last).value
        else:
            self.count = int(transfer.values(starts)[way.chunks])

    def numbers(self) -> Tensor:
        """Return the numbers of the marked elements, counted through all dims."""
        return self._selected(dtypes.int64, None)

    def read(self, x: Tensor) -> Tensor:
        """Return the marked elements of a contiguous tensor of the mask's shape."""
        return self._selected(x._spec.dtype, x)

    def _selected(self, kind: dtypes.dtype, x: Tensor | None) -> Tensor:
        found = self.mask._spec
        made = empty(contiguous_spec(kind, (self.count,), found.device))
        if self.count:
            carrier = "" if x is None else CARRIERS[kind.itemsize]
            call = self._way.call(texts.select, carrier)
            data = () if x is None else (x._pointer,)
            call.run(
                call.kernel, call.n, made._pointer, *data, self.mask._pointer,
                self._starts._pointer, call.table,
            )  # fmt: skip
        return made

    def write(self, x: Tensor, v: Tensor) -> None:
        """Store values, contiguous, one for each marked element, in their order."""
        if self.count:
            carrier = CARRIERS[x._spec.itemsize]
            call = self._way.call(texts.fill_in, carrier)
            call.run(
                call.kernel, call.n, x._pointer, v._pointer, self.mask._pointer,
                self._starts._pointer, call.table,
            )  # fmt: skip

    def coordinates(self) -> Tensor:
        """Return the indices of the marked elements, (dims, count)."""
        shape = tuple(self.mask._spec.shape)
        numbers = self.numbers()
        if len(shape) == 1:
            return numbers.reshape(1, -1)
        on = self.mask._spec.device
        made = empty(contiguous_spec(dtypes.int64, (len(shape), self.count), on))
        if self.count and shape:
            # how many there are differs from call to call: no plan would be met again
            call = launch.by_tasks(
                texts.coordinates(len(shape)), self.count, (self.count, *shape), on,
                cost=10 * len(shape),
            )  # fmt: skip
            call.run(call.kernel, call.n, made._pointer, numbers._pointer, call.table)
        return made


class _Way:
    """The calls for masks of one layout."""

    def __init__(self, found: Spec) -> None:
        n, on = numel(found.shape), found.device
        self.numbers = (n, _chunk(on))
        self.on = on
        self.chunks = -(-n // self.numbers[1])
        self.counts = contiguous_spec(dtypes.int64, (self.chunks + 1,), on)
        self.cost = 2 * min(self.numbers)
        self.calls: dict[Any, Any] = {}
        self.count = self.call(texts.count)

    def call(self, text: Callable[..., Tasks], *carrier: str) -> Any:
        """Return the call of a kernel that goes through the chunks."""
        key = (text, *carrier)
        found = self.calls.get(key)
        if found is None:
            found = self.calls[key] = launch.by_tasks(
                text(*carrier), self.chunks, self.numbers, self.on, cost=self.cost
            )
        return found


def _way(found: Spec) -> Any:
    if not found.numel:
        return None
    way = found.extra.get("marked")
    if way is None:
        way = found.extra["marked"] = _Way(found)
    return way


def _chunk(on: Device) -> int:
    if on is CPU:
        return _CHUNK
    from . import launch_cuda

    return launch_cuda.shape_of().short


def _running(counts: Tensor, n: int, on: Device) -> None:
    """Turn a zero and n counts into running sums."""
    group = _chunk(on)
    if on is CPU or n <= group:
        perform(texts.running(), 1, (n,), (counts,))
        return
    groups = -(-n // group)
    sums = empty(contiguous_spec(dtypes.int64, (groups + 1,), on))
    perform(texts.group_sums(), groups, (n, group), (sums, counts))
    _running(sums, groups, on)
    perform(texts.group_running(), groups, (n, group), (counts, sums))
