"""The way to a device: memory, copies, streams, events, kernels.

Three drivers with one interface. `Hardware` is numba-cuda on a GPU, `Simulator` its
simulator, `Recorder` a device that runs nothing and remembers which kernels it was
asked for. `current` says which one this process has, or raises `Unavailable`, which
says what is missing. Knows addresses and bytes, never Tensor or dtypes of tensors.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from dataclasses import dataclass
from typing import Any, Protocol

from ...errors import DeviceError, message


class Unavailable(DeviceError):
    """There is no CUDA device, and no simulator of one."""


@dataclass(frozen=True, repr=False)
class Properties:
    """What a device is: `nt.cuda.get_device_properties`."""

    name: str
    major: int
    minor: int
    total_memory: int  # bytes
    multi_processor_count: int

    def __repr__(self) -> str:
        return (
            f"_CudaDeviceProperties(name='{self.name}', major={self.major}, "
            f"minor={self.minor}, total_memory={self.total_memory // 2**20}MB, "
            f"multi_processor_count={self.multi_processor_count})"
        )


class Driver(Protocol):
    """What `device_memory`, `launch_cuda` and `cuda` ask of a device.

    `index` counts devices, `stream` is what `stream()` made or 0, the default one.
    Work on one stream happens in order; streams do not wait for each other, nor for the
    default one. What needs memory raises MemoryError if there is none.
    """

    #: whether blocks and warps are the small ones of `plain`
    simulated: bool

    def count(self) -> int: ...
    def properties(self, index: int) -> Properties: ...
    def free_memory(self, index: int) -> int: ...
    def allocate(self, index: int, nbytes: int) -> tuple[int, Any]: ...
    def adopt(self, index: int, address: int, nbytes: int) -> tuple[int, Any]:
        """Let kernels use memory of another library, thought to be on device `index`.

        Returns the device that it is on, and what to hold for as long as it is used.
        Raises: DeviceError, memory of no device.
        """
        ...

    def free(self, index: int, owners: list[Any]) -> None: ...
    def upload(
        self, index: int, to: int, host: int, nbytes: int, stream: Any, wait: bool
    ) -> None: ...
    def download(
        self, index: int, host: int, source: int, nbytes: int, stream: Any, wait: bool
    ) -> None: ...
    def copy(
        self, to: tuple[int, int], source: tuple[int, int], nbytes: int, stream: Any
    ) -> None: ...
    def pinned(self, nbytes: int) -> tuple[int, Any]: ...
    def stream(self, index: int, priority: int = 0) -> Any: ...
    def handle(self, stream: Any) -> int: ...
    def stream_done(self, index: int, stream: Any) -> bool: ...
    def finish(self, index: int, stream: Any) -> None: ...
    def event(self, index: int, timing: bool) -> Any: ...
    def record(self, event: Any, index: int, stream: Any) -> None: ...
    def wait_event(self, event: Any, index: int, stream: Any) -> None: ...
    def event_done(self, event: Any) -> bool: ...
    def elapsed(self, start: Any, end: Any) -> float: ...
    def synchronize(self, index: int, what: Any = None) -> None: ...
    def load(self, name: str, source: str) -> Any: ...
    def launch(
        self, index: int, kernel: Any, grid: int, block: int, stream: Any, args: Any
    ) -> None: ...


_chosen: list[Driver] = []
_lost: list[bool] = []


def use(driver: Driver | None) -> None:
    """Make all devices those of `driver`; None goes back to what the machine has."""
    _chosen[:] = [] if driver is None else [driver]


def current() -> Driver:
    """Return the driver of this process.

    Raises: Unavailable, with what is missing and how to get it.
    """
    if not _chosen:
        if _lost:
            raise Unavailable(
                message(
                    "cuda",
                    "a process forked from one that had used CUDA",
                    "one with a CUDA context of its own",
                    "Cannot re-initialize CUDA in forked subprocess. To use CUDA with "
                    "multiprocessing, you must use the 'spawn' start method.",
                )
            )
        _chosen.append(_found())
    return _chosen[0]


def lose() -> None:
    """Refuse devices from now on: a forked child cannot use its parent's."""
    _chosen.clear()
    _lost.append(True)


def started() -> bool:
    """Whether `current` has been asked, and had an answer."""
    return bool(_chosen)


def simulating() -> bool:
    """Whether the environment asks for Numba's simulator, as Numba reads it."""
    try:
        return int(os.environ.get("NUMBA_ENABLE_CUDASIM", "0")) != 0
    except ValueError:
        return False


_SIMULATOR = (
    "Without a GPU: set NUMBA_ENABLE_CUDASIM=1 before Python starts, which runs "
    "kernels in Numba's simulator, or use device='cpu'."
)
#: PyTorch's sentence, which programs look for
_NO_CUDA = "Torch not compiled with CUDA enabled."


def _found() -> Driver:
    if importlib.util.find_spec("numba_cuda") is None:
        raise Unavailable(
            message(
                "cuda",
                "no package numba-cuda",
                "numba-cuda, which compiles for GPUs and has the simulator",
                f"{_NO_CUDA} pip install 'numtensor[cuda12]' or, for drivers of CUDA "
                f"13, 'numtensor[cuda13]'. {_SIMULATOR}",
            )
        )
    if simulating():
        from . import simulator

        fault = simulator.missing()
        if fault:
            raise Unavailable(
                message(
                    "cuda",
                    fault,
                    "Numba's simulator, for which NUMBA_ENABLE_CUDASIM asks",
                    "Set it before Python starts, or before the first kernel is "
                    "compiled: Numba reads it once.",
                )
            )
        return simulator.Simulator()
    # importing Numba takes 0.3 s, which a program that only asks need not wait for
    fault = _no_library()
    if not fault:
        from . import hardware

        fault = hardware.missing()
        if not fault:
            return hardware.Hardware()
    raise Unavailable(
        message(
            "cuda",
            fault,
            "an NVIDIA GPU and its driver",
            f"{_NO_CUDA} On a machine with a GPU, nvidia-smi lists it once its driver "
            f"is installed. {_SIMULATOR}",
        )
    )


def _no_library() -> str:
    """Say that the library of the CUDA driver is not there, if so."""
    if os.environ.get("NUMBA_DISABLE_CUDA", "0") not in ("", "0"):
        return "NUMBA_DISABLE_CUDA, which turns CUDA off"
    faults = []
    # where numba-cuda looks
    for folder in ("", "/usr/lib/", "/usr/lib64/"):
        for name in ("libcuda.so", "libcuda.so.1"):
            try:
                ctypes.CDLL(folder + name)
                return ""
            except OSError as error:
                if "No such file" not in str(error):
                    faults.append(str(error))
    if faults:
        return f"a CUDA driver library that does not load ({faults[0]})"
    return "no CUDA driver, libcuda.so.1"


def available() -> bool:
    """Whether `current` would return a driver, and it has a device."""
    try:
        return current().count() > 0
    except Unavailable:
        return False
