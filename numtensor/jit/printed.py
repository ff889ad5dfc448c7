"""What a GPU would run, on a machine that has none: kernels printed, never compiled.

While kernels are planned, the process's driver is one that runs nothing and keeps the
texts; the device that they are planned for equals no other, so that nothing which is
kept for a device is ever taken for another's. Plans only what it is given.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from .. import devices, launch_cuda
from ..devices import device as Device
from ..kernels import compiler
from ..kernels.cuda import driver, sources
from ..kernels.cuda.recorder import Recorded, Recorder

_lock = threading.RLock()


class _Nowhere(Device):
    """A CUDA device that no machine has."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__


class _Printing(Recorder):
    """Keeps the texts of kernels in the cache, for which it needs no numba-cuda."""

    def load(self, name: str, source: str) -> Any:
        key = sources.key(name, source)
        if key not in self.kernels:
            path = compiler.cache_dir() / "cuda-printed" / f"{key}.py"
            compiler.keep(path, source.encode())
            self.kernels[key] = Recorded(name, path, source)
        return self.kernels[key]


_made: list[tuple[Device, Recorder]] = []


@contextlib.contextmanager
def device(wanted: Any) -> Iterator[Device]:
    """Give the device to plan kernels for inside `with`: the one that `wanted` names,
    or what stands for a GPU where this machine has none.

    Raises: DeviceError, no kind of device.
    """
    found = wanted if isinstance(wanted, Device) else Device(wanted)
    if found.type != "cuda" or driver.available():
        yield devices.find(found)
        return
    with _lock:
        if not _made:
            _made.append((_Nowhere("cuda", 0), _Printing()))
        on, printing = _made[0]
        driver.use(printing)
        try:
            yield on
        finally:
            driver.use(None)
            launch_cuda.forget()
