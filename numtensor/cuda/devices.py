"""Which devices there are, what they are, and which one a thread works on.

Every function that takes a device accepts an index, 'cuda', 'cuda:1', `nt.device` or
None, the current one. Memory and streams have rooms of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import devices, launch_cuda
from ..devices import device as Device
from ..errors import DeviceError, message
from ..kernels.cuda import driver

if TYPE_CHECKING:
    from ..tensor import Tensor


def find(op: str, given: Any) -> Device:
    """Return the CUDA device that `given` names.

    Raises: DeviceError, a device of another kind or one that is not there.
    """
    if given is None:
        return devices.cuda(devices.current())
    found = devices.find(given)
    if found.type != "cuda":
        raise DeviceError(
            message(
                f"cuda.{op}",
                f"device {str(found)!r}",
                "an index, 'cuda', 'cuda:N' or None",
                f"Expected a cuda device, but got: {found}",
            )
        )
    return found


def index_of(op: str, given: Any) -> int:
    """Return the index of the CUDA device that `given` names. Raises: DeviceError."""
    index = find(op, given).index
    assert index is not None
    return index


def is_available() -> bool:
    """Return whether tensors may live on a CUDA device, a simulated one included."""
    return device_count() > 0


def device_count() -> int:
    """Return how many CUDA devices there are; 0 where there can be none."""
    try:
        return driver.current().count()
    except driver.Unavailable:
        return 0


def init() -> None:
    """Start the driver, which the first use of a device does by itself.

    Raises: DeviceError, there is no device.
    """
    driver.current()


def is_initialized() -> bool:
    """Return whether a driver has been started."""
    return driver.started()


def current_device() -> int:
    """Return the index of the device that 'cuda' means in this thread.

    Raises: DeviceError, there is no device.
    """
    return index_of("current_device", None)


def set_device(device: Any) -> None:
    """Let 'cuda' mean another device in this thread; a negative index changes nothing.

    Raises: DeviceError, no such device.
    """
    if not _no_device(device):
        devices.set_current(index_of("set_device", device))


def _no_device(given: Any) -> bool:
    """Whether `given` is what `Tensor.get_device` says of host memory."""
    return isinstance(given, int) and not isinstance(given, bool) and given < 0


class device:
    """Let 'cuda' mean another device in a block: `with nt.cuda.device(1):`.

    A negative index changes nothing. Raises: DeviceError, no such device.
    """

    def __init__(self, device: Any) -> None:
        self.idx = -1 if _no_device(device) else index_of("device", device)
        self._before: list[int] = []

    def __enter__(self) -> None:
        self._before.append(devices.current())
        if self.idx >= 0:
            devices.set_current(self.idx)

    def __exit__(self, *error: Any) -> None:
        before = self._before.pop()
        if self.idx >= 0:
            devices.set_current(before)


class device_of(device):
    """Let 'cuda' mean a tensor's device in a block; the host's changes nothing."""

    def __init__(self, obj: Tensor) -> None:
        super().__init__(obj.get_device())


def synchronize(device: Any = None) -> None:
    """Wait until a device is done with everything, on all streams.

    Raises: DeviceError, no such device, or a kernel that failed before.
    """
    driver.current().synchronize(index_of("synchronize", device))


def get_device_properties(device: Any = None) -> driver.Properties:
    """Return name, major, minor, total_memory (bytes) and multi_processor_count.

    Raises: DeviceError, no such device.
    """
    return launch_cuda.properties(find("get_device_properties", device))


def get_device_name(device: Any = None) -> str:
    """Return what the device is called. Raises: DeviceError, no such device."""
    return get_device_properties(device).name


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """Return the compute capability, (major, minor).

    Raises: DeviceError, no such device.
    """
    found = get_device_properties(device)
    return (found.major, found.minor)
