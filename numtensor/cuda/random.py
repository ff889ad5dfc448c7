"""The default generators of CUDA devices. See `numtensor.random`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import devices
from ..kernels.cuda import driver
from ..random import Generator, cuda_generator, cuda_manual_seed_all
from .devices import find

if TYPE_CHECKING:
    from ..tensor import Tensor


def _generator(op: str, device: Any = None) -> Generator:
    return cuda_generator(find(op, device))


def _all() -> list[Generator]:
    return [cuda_generator(devices.cuda(k)) for k in range(driver.current().count())]


def manual_seed(seed: int) -> None:
    """Seed the generator of the current device; `seed` is what int() takes.

    Without a device nothing happens, as in PyTorch: programs call this anywhere.
    """
    if driver.available():
        _generator("manual_seed").manual_seed(int(seed))


def manual_seed_all(seed: int) -> None:
    """Seed the generators of all devices, if there are any."""
    cuda_manual_seed_all(int(seed))


def seed() -> None:
    """Seed the current device's generator from the operating system.

    Raises: DeviceError, there is no device.
    """
    _generator("seed").seed()


def seed_all() -> None:
    """Seed all devices' generators with one number from the operating system.

    Raises: DeviceError, there is no device.
    """
    manual_seed_all(_generator("seed_all").seed())


def initial_seed() -> int:
    """Return the seed of the current device's generator.

    Raises: DeviceError, there is no device.
    """
    return _generator("initial_seed").initial_seed()


def get_rng_state(device: Any = "cuda") -> Tensor:
    """Return where a device's generator stands, as a tensor in host memory.

    Raises: DeviceError, no such device.
    """
    return _generator("get_rng_state", device).get_state()


def get_rng_state_all() -> list[Tensor]:
    """Return where the generators of all devices stand. Raises: DeviceError."""
    return [generator.get_state() for generator in _all()]


def set_rng_state(new_state: Tensor, device: Any = "cuda") -> None:
    """Let a device's generator go on from a state of `get_rng_state`.

    Raises: DeviceError; RuntimeError, bytes that are no state.
    """
    _generator("set_rng_state", device).set_state(new_state)


def set_rng_state_all(new_states: list[Tensor]) -> None:
    """Let each device's generator go on from its state. Raises: DeviceError."""
    for generator, state in zip(_all(), new_states, strict=True):
        generator.set_state(state)
