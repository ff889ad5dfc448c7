"""Devices: where a tensor's memory is. Knows names and indices, no memory."""

from __future__ import annotations

import threading
from typing import Any

from .errors import DeviceError, message
from .kernels.cuda import driver


class device:
    """A place for tensors: `device("cpu")`, `device("cuda", 0)`, `device("cuda:0")`.

    Raises: DeviceError, an unknown kind of device or a bad index.

    >>> device("cpu").type
    'cpu'
    """

    __slots__ = ("type", "index")

    type: str
    index: int | None

    def __init__(self, type: str | device, index: int | None = None) -> None:
        if isinstance(type, device):
            given = type
            type, index = given.type, given.index
        elif isinstance(type, int) and not isinstance(type, bool):
            type, index = "cuda", type
        elif not isinstance(type, str):
            raise DeviceError(
                message("device", repr(type), "a string such as 'cpu' or 'cuda:0'")
            )
        if index is not None:
            index = _checked(index)
        kind, colon, number = type.partition(":")
        if colon and (index is not None or not number.isdecimal()):
            raise DeviceError(
                message(
                    "device",
                    f"{type!r}",
                    "'cpu', 'cuda' or 'cuda:N'",
                    f"Invalid device string: '{type}'",
                )
            )
        if kind not in ("cpu", "cuda"):
            raise DeviceError(
                message(
                    "device",
                    f"{type!r}",
                    "one of cpu, cuda device type at start of device string",
                    "Use device='cpu'.",
                )
            )
        object.__setattr__(self, "type", kind)
        object.__setattr__(self, "index", int(number) if colon else index)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"device.{name} cannot be changed: make a new device")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, device):
            return NotImplemented
        return self.type == other.type and self.index == other.index

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __repr__(self) -> str:
        if self.index is None:
            return f"device(type='{self.type}')"
        return f"device(type='{self.type}', index={self.index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __reduce__(self) -> Any:
        return (device, (self.type, self.index))


def _checked(index: Any) -> int:
    """Return an index as an int. Raises: DeviceError, it is none, or negative."""
    if isinstance(index, bool) or not hasattr(index, "__index__"):
        got = f"an index of type {type(index).__name__}"
    elif index.__index__() < 0:
        got = f"index {index}"
    else:
        return int(index.__index__())
    raise DeviceError(message("device", got, "an int of 0 or more"))


CPU = device("cpu")


class Twin(device):
    """What stands for a device while a function is traced.

    Equal to the device for who compares them, but never found in its place: they have
    different hashes, and so have specs.
    """

    __slots__ = ("real",)

    real: device

    def __init__(self, real: device) -> None:
        super().__init__(real.type, real.index)
        object.__setattr__(self, "real", real)

    def __eq__(self, other: object) -> bool:
        return self is other or self.real == other

    __hash__ = object.__hash__


class _Tracing(threading.local):
    """This thread's trace, if it makes one."""

    trace: Any = None


tracing = _Tracing()
#: how many traces are being made, in all threads: mostly none, then nobody need ask
active = [0]
_twins: dict[device, Twin] = {}


def twin(real: device) -> Twin:
    """Return the twin of a device, the same object each time."""
    found = _twins.get(real)
    if found is None:
        found = _twins.setdefault(real, Twin(real))
    return found


_cuda: dict[int, device] = {}
_state = threading.local()


def find(value: Any) -> device:
    """Return the device that `value` names, the same object each time.

    `cuda` without an index is the current device. Raises: DeviceError, no such device,
    or one that this machine does not have.
    """
    if active[0] and tracing.trace is not None:
        return _of_trace(value)
    if value is None or value is CPU:
        return CPU
    found = value if isinstance(value, device) else device(value)
    if found.type == "cpu":
        if found.index not in (None, 0):
            raise DeviceError(
                message("device", str(found), "'cpu', which has no index")
            )
        return CPU
    return cuda(current() if found.index is None else found.index)


def _of_trace(value: Any) -> device:
    """Return the twin of the device that `value` names.

    Without a name it is that of host memory, as it is outside of a trace.
    """
    if type(value) is Twin:
        return value
    trace, tracing.trace = tracing.trace, None
    try:
        return twin(find(value))
    finally:
        tracing.trace = trace


def cuda(index: int) -> device:
    """Return the device `cuda:index`.

    Raises: DeviceError, no CUDA device of this index, with what is missing.
    """
    known = _cuda.get(index)
    if known is not None:
        return known
    count = driver.current().count()
    if not 0 <= index < count:
        raise DeviceError(
            message(
                "device",
                f"'cuda:{index}'",
                f"an index below the number of CUDA devices, which is {count}",
                "CUDA error: invalid device ordinal. Use "
                f"{' or '.join(repr(f'cuda:{k}') for k in range(min(count, 2)))}.",
            )
        )
    return _cuda.setdefault(index, device("cuda", index))


def current() -> int:
    """Return the index of this thread's current CUDA device."""
    return getattr(_state, "index", 0)


def set_current(index: int) -> None:
    """Make a CUDA device this thread's current one."""
    _state.index = cuda(index).index


def forget() -> None:
    """Forget which CUDA devices there are: the driver has changed."""
    _cuda.clear()
    _state.__dict__.clear()
