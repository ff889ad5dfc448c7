"""Where loaded storages go: PyTorch's `map_location`.

A file says for each storage which device it was on, its location. Knows no formats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import devices
from ..devices import CPU
from ..devices import device as Device
from ..errors import DeviceError, DTypeError, message
from ..kernels.cuda import driver
from ..storage import Storage
from ..typed_storage import TypedStorage, UntypedStorage

Placed = tuple[Storage, Device]
Place = Callable[[Storage, str], Placed]


def placing(map_location: Any) -> Place:
    """Return the function that takes a storage in host memory, and the location that
    the file gives it, and returns a storage where `map_location` wants it.

    The storage that is returned is the same, or has its bytes.
    Raises: DTypeError, `map_location` is of no kind that says so.
    """
    if map_location is None:
        return _default
    if isinstance(map_location, dict):
        return lambda storage, location: _default(
            storage, map_location.get(location, location)
        )
    if isinstance(map_location, (str, Device)):
        return lambda storage, location: _default(storage, map_location)
    if not callable(map_location):
        raise DTypeError(
            message(
                "load",
                f"map_location of type {type(map_location).__name__}",
                "None, a device, a string, a dict of locations or a function of a "
                "storage and its location",
            )
        )

    def asked(storage: Storage, location: str) -> Placed:
        shown = UntypedStorage(storage)
        found = map_location(shown, location)
        if found is None:
            return _default(storage, location)
        if not isinstance(found, (UntypedStorage, TypedStorage)):
            raise DTypeError(
                message(
                    "load",
                    f"a {type(found).__name__} from map_location",
                    "a storage, or None for the file's own location",
                    "Use lambda storage, location: storage to load to the CPU.",
                )
            )
        if found._storage.nbytes != storage.nbytes:
            raise DTypeError(
                message(
                    "load",
                    f"{found._storage.nbytes} bytes from map_location",
                    f"the storage's {storage.nbytes}",
                )
            )
        return found._storage, found.device

    return asked


def _default(storage: Storage, location: Any) -> Placed:
    on = _device(location)
    if on is CPU:
        return storage, CPU
    return UntypedStorage(storage).cuda(on)._storage, on


def _device(location: Any) -> Device:
    """Return the device of a location. Raises: DeviceError, this machine has none."""
    if isinstance(location, Device):
        location = str(location)
    kind, _, index = str(location).partition(":")
    if kind == "cpu":
        return CPU
    if kind != "cuda" or (index and not index.isdecimal()):
        raise DeviceError(
            message(
                "load",
                f"the location {str(location)!r}",
                "'cpu' or a CUDA device",
                "Use map_location='cpu' to load to the CPU.",
            )
        )
    number = int(index) if index else devices.current()
    count = driver.current().count()
    if not count:
        raise DeviceError(
            message(
                "load",
                f"a storage on {location!r}",
                "a CUDA device",
                "Attempting to deserialize object on a CUDA device but "
                "torch.cuda.is_available() is False. If you are running on a CPU-only "
                "machine, please use torch.load with map_location=torch.device('cpu') "
                "to map your storages to the CPU.",
            )
        )
    if number >= count:
        raise DeviceError(
            message(
                "load",
                f"a storage on {location!r}",
                f"one of the {count} CUDA devices of this machine",
                f"Attempting to deserialize object on CUDA device {number} but "
                f"torch.cuda.device_count() is {count}. Please use torch.load with "
                "map_location to map your storages to an existing device.",
            )
        )
    return devices.cuda(number)
