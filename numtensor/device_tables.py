"""Layout tables in device memory: small, many, kept for as long as a plan needs them.

Kernels on any stream read a table, so its memory may be written again only when the
whole device has come to rest: what dead plans leave is collected, and reused after a
wait, when a chunk of memory is full. Equal tables are one. None of it counts as memory
of tensors.
"""

from __future__ import annotations

import collections
import ctypes
import threading
import weakref
from collections.abc import Sequence
from typing import Any

from . import device_memory
from .devices import device as Device
from .kernels.cuda import driver

_CHUNK = 16 * 1024
_ALIGN = 64


class Table:
    """A table on a device: `pointer` is its address."""

    __slots__ = ("pointer", "_nbytes", "_arena", "__weakref__")

    def __init__(self, arena: _Arena, pointer: int, nbytes: int) -> None:
        self.pointer = pointer
        self._nbytes = nbytes
        self._arena = arena

    def __del__(self) -> None:
        self._arena.dead.append((self.pointer, self._nbytes))


class _Arena:
    """The tables of one device."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.chunks: list[Any] = []
        self.next = self.end = 0
        self.free: dict[int, list[int]] = {}
        # a finalizer appends, whenever it runs: nothing else happens there
        self.dead: collections.deque[tuple[int, int]] = collections.deque()

    def take(self, nbytes: int) -> int:
        """Return the address of so many bytes. Raises: OutOfMemoryError."""
        waiting = self.free.get(nbytes)
        if not waiting and self.next + nbytes > self.end:
            self._collect()
            waiting = self.free.get(nbytes)
        if waiting:
            return waiting.pop()
        if self.next + nbytes > self.end:
            size = max(_CHUNK, nbytes)
            self.next, owner = device_memory.from_driver(self.device, size)
            self.end = self.next + size
            self.chunks.append(owner)
        address = self.next
        self.next += nbytes
        return address

    def _collect(self) -> None:
        """Let the memory of dead tables be used again."""
        count = len(self.dead)
        if count:
            assert self.device.index is not None
            driver.current().synchronize(self.device.index)
        for _ in range(count):
            address, nbytes = self.dead.popleft()
            self.free.setdefault(nbytes, []).append(address)


_arenas: dict[Device, _Arena] = {}
_tables: weakref.WeakValueDictionary[Any, Table] = weakref.WeakValueDictionary()
_lock = threading.RLock()


def table(on: Device, numbers: Sequence[int]) -> Table:
    """Return a device's table of these int64 numbers. Raises: OutOfMemoryError."""
    key = (on, tuple(numbers))
    with _lock:
        found = _tables.get(key)
        if found is not None:
            return found
        packed = (ctypes.c_int64 * len(numbers))(*numbers)
        nbytes = ctypes.sizeof(packed)
        arena = _arenas.get(on) or _arenas.setdefault(on, _Arena(on))
        size = -(-nbytes // _ALIGN) * _ALIGN
        made = Table(arena, arena.take(size), size)
        device_memory.upload(on, made.pointer, ctypes.addressof(packed), nbytes)
        _tables[key] = made
        return made


def forget() -> None:
    """Forget all tables: the driver has changed."""
    with _lock:
        _tables.clear()
        _arenas.clear()
