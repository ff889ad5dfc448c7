"""Devices that are simulated: Numba's simulator runs the kernels, host memory serves.

Every access of a kernel is checked against the allocation its pointer lies in, so that
what would corrupt memory on a GPU is an IndexError here, and so is memory of another
device. NUMTENSOR_SIMULATED_GPUS says how many devices there are (1),
NUMTENSOR_SIMULATED_BYTES how much memory each has (1 GiB).
"""

from __future__ import annotations

import bisect
import ctypes
import itertools
import os
import sys
import threading
import time
import types
from typing import Any

import numpy as np

from ...errors import CompileError, DeviceError, message
from . import sources
from .driver import Properties

_ALIGN = 256
#: how often the interpreter looks for another thread; at the usual 5 ms, a barrier of
#: sixteen simulated threads takes 80 ms
_SWITCH_SECONDS = 1e-5


#: parameters that loops count with: Python's integers do it faster than NumPy's
_COUNTS = ("n", "whole", "tasks")


class _Kernel:
    def __init__(self, name: str, path: Any, call: Any, function: Any) -> None:
        self.name = name
        self.path = path
        self.call = call
        names = function.__code__.co_varnames
        kinds = function.parameters.split(", ")
        self.parameters = list(zip(names, kinds, strict=False))


class _Allocation:
    """Host memory that stands for a device's; gone from the device's list when dead."""

    __slots__ = ("array", "address", "nbytes", "owner", "index")

    def __init__(self, owner: Simulator, index: int, nbytes: int, array: Any) -> None:
        self.array = array
        self.address = -(-array.ctypes.data // _ALIGN) * _ALIGN
        self.nbytes = nbytes
        self.owner = owner
        self.index = index

    def __del__(self) -> None:
        self.owner._drop(self)


class _Adopted:
    """Memory of another library that kernels may use for as long as this lives."""

    __slots__ = ("owner",)

    def __init__(self, owner: Simulator, index: int, address: int, nbytes: int) -> None:
        self.owner = owner
        owner._adopted[id(self)] = (address, address + nbytes, index)

    def __del__(self) -> None:
        del self.owner._adopted[id(self)]


class _Stream:
    """A stream: a name, since all work is done when a call returns."""

    __slots__ = ("handle",)

    # like addresses: 1 and 2 are other libraries' names of default streams
    _handles = itertools.count(0x1000, 16)

    def __init__(self) -> None:
        self.handle = next(_Stream._handles)


class _Moment:
    """An event: the time at which it was recorded."""

    seconds: float | None = None


class Simulator:
    """Numba's CUDA simulator as a driver."""

    simulated = True

    def __init__(self) -> None:
        self._count = _number("NUMTENSOR_SIMULATED_GPUS", 1)
        self._bytes = _number("NUMTENSOR_SIMULATED_BYTES", 2**30)
        self._used = [0] * self._count
        self._starts: list[int] = []
        self._known: dict[int, tuple[int, int]] = {}  # by start: end, device
        self._adopted: dict[int, tuple[int, int, int]] = {}  # start, end, device
        self._kernels: dict[str, _Kernel] = {}
        # the simulator knows one launch at a time; a finalizer may run inside another
        self._running = threading.RLock()
        self._on = 0  # the device of the launch
        self._lock = threading.RLock()

    def count(self) -> int:
        return self._count

    def properties(self, index: int) -> Properties:
        return Properties("Numba CUDA simulator", 8, 0, self._bytes, 1)

    def free_memory(self, index: int) -> int:
        return self._bytes - self._used[index]

    # memory

    def allocate(self, index: int, nbytes: int) -> tuple[int, Any]:
        with self._lock:
            if nbytes > self.free_memory(index):
                raise MemoryError
            array = np.zeros(nbytes + _ALIGN, np.uint8)
            made = _Allocation(self, index, nbytes, array)
            self._used[index] += nbytes
            self._known[made.address] = (made.address + nbytes, index)
            bisect.insort(self._starts, made.address)
        return made.address, made

    def adopt(self, index: int, address: int, nbytes: int) -> tuple[int, Any]:
        found = self._end(address)
        if found is not None:
            return found[1], None
        return index, _Adopted(self, index, address, nbytes)

    def free(self, index: int, owners: list[Any]) -> None:
        owners.clear()

    def _drop(self, made: _Allocation) -> None:
        with self._lock:
            self._used[made.index] -= made.nbytes
            self._starts.remove(made.address)
            del self._known[made.address]

    def _room(self, address: int, device: int) -> int:
        """Return how many bytes of an allocation there are from an address on."""
        found = self._end(address)
        if found is None:
            # adopted memory may overlap: the longest counts
            ranges = [
                r for r in self._adopted.copy().values() if r[0] <= address < r[1]
            ]
            if not ranges:
                raise IndexError(f"address {address:#x} is in no allocation")
            found = max(r[1:] for r in ranges)
        end, owner = found
        if owner != device:
            raise IndexError(
                f"address {address:#x} of device {owner} is used on device {device}"
            )
        return end - address

    def reach(self, address: int) -> int:
        """Return how many bytes the kernel that runs may use from an address on."""
        return self._room(address, self._on)

    def _end(self, address: int) -> tuple[int, int] | None:
        """Return the end of the allocation around an address, and its device."""
        with self._lock:
            k = bisect.bisect(self._starts, address) - 1
            if k < 0:
                return None
            found = self._known[self._starts[k]]
            return found if address < found[0] else None

    def _moved(
        self, to: int, source: int, nbytes: int, address: int, device: int
    ) -> None:
        if nbytes:
            if self._room(address, device) < nbytes:
                raise IndexError(
                    f"{nbytes} bytes from {address:#x} leave the allocation"
                )
            ctypes.memmove(to, source, nbytes)

    def upload(
        self, index: int, to: int, host: int, nbytes: int, stream: Any, wait: bool
    ) -> None:
        self._moved(to, host, nbytes, to, index)

    def download(
        self, index: int, host: int, source: int, nbytes: int, stream: Any, wait: bool
    ) -> None:
        self._moved(host, source, nbytes, source, index)

    def copy(
        self, to: tuple[int, int], source: tuple[int, int], nbytes: int, stream: Any
    ) -> None:
        if nbytes and self._room(source[1], source[0]) < nbytes:
            raise IndexError(f"{nbytes} bytes from {source[1]:#x} leave the allocation")
        self._moved(to[1], source[1], nbytes, to[1], to[0])

    def pinned(self, nbytes: int) -> tuple[int, Any]:
        held = np.empty(nbytes + _ALIGN, np.uint8)
        return -(-held.ctypes.data // _ALIGN) * _ALIGN, held

    # streams and events: everything is done when the call returns

    def stream(self, index: int, priority: int = 0) -> Any:
        return _Stream()

    def handle(self, stream: Any) -> int:
        return stream.handle if stream else 0

    def stream_done(self, index: int, stream: Any) -> bool:
        return True

    def finish(self, index: int, stream: Any) -> None:
        pass

    def event(self, index: int, timing: bool) -> Any:
        return _Moment()

    def record(self, event: Any, index: int, stream: Any) -> None:
        event.seconds = time.perf_counter()

    def wait_event(self, event: Any, index: int, stream: Any) -> None:
        pass

    def event_done(self, event: Any) -> bool:
        return True

    def elapsed(self, start: Any, end: Any) -> float:
        return (end.seconds - start.seconds) * 1e3

    def synchronize(self, index: int, what: Any = None) -> None:
        pass

    # kernels

    def load(self, name: str, source: str) -> _Kernel:
        key = sources.key(name, source)
        with self._lock:
            found = self._kernels.get(key)
            if found is None:
                found = self._kernels[key] = self._made(name, source)
        return found

    def _made(self, name: str, source: str) -> _Kernel:
        from numba import cuda

        path = sources.keep(name, source)
        try:
            function = sources.function(name, path, source)
        except Exception as error:
            raise CompileError(
                message(
                    "compile",
                    f"kernel {name!r}, which Python refuses",
                    "source that runs",
                    f"Read {path}.",
                )
            ) from error
        return _Kernel(name, path, cuda.jit(_quiet(function)), function)

    def launch(
        self, index: int, kernel: Any, grid: int, block: int, stream: Any, args: Any
    ) -> None:
        from .plain import Pointer

        given = []
        for (name, kind), value in zip(kernel.parameters, args, strict=True):
            if kind[-1] == "*":
                value = Pointer(kind[:-1], value, self._room(value, index))
            elif name not in _COUNTS:
                value = np.dtype(kind).type(value)
            given.append(value)
        with self._running:
            before = sys.getswitchinterval()
            sys.setswitchinterval(_SWITCH_SECONDS)
            self._on = index
            try:
                kernel.call[grid, block](*given)
            finally:
                sys.setswitchinterval(before)


def missing() -> str:
    """Return what keeps Numba's simulator from running; empty if nothing does."""
    try:
        from numba.cuda.core import config
    except ImportError as error:
        return f"numba-cuda, which cannot be imported ({error})"
    if not config.ENABLE_CUDASIM:
        return "a process that imported numba.cuda without the simulator"
    return ""


def _number(name: str, default: int) -> int:
    """Return a number of the environment. Raises: DeviceError, it is none above 0."""
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise DeviceError(
            message("cuda", f"{name}={text!r}", "a whole number of 1 or more")
        )
    return int(text)


def _quiet(function: Any) -> Any:
    """Return a kernel that overflows and divides by zero as a GPU does: silently.

    In the kernel's own namespace, where the simulator puts its `cuda`.
    """
    from .plain import one_array_for_all

    def run(*args: Any) -> None:
        _one_array_for_all(cuda)  # noqa: F821
        with _errstate(all="ignore"):  # noqa: F821
            _kernel(*args)  # noqa: F821

    space = function.__globals__
    space["_errstate"], space["_kernel"] = np.errstate, function
    space["_one_array_for_all"] = one_array_for_all
    made = types.FunctionType(run.__code__, space, function.__name__)
    made.__kwdefaults__ = None
    return made
