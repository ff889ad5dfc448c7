"""Devices: where a tensor's memory is. Knows names and indices, no memory."""

from __future__ import annotations

from typing import Any

from .errors import DeviceError, message


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


CPU = device("cpu")


def find(value: Any) -> device:
    """Return the device that `value` names, if tensors can live there.

    Raises: DeviceError, no such device, or one without support here.
    """
    if value is None or value is CPU:
        return CPU
    found = value if isinstance(value, device) else device(value)
    if found.type == "cpu":
        if found.index not in (None, 0):
            raise DeviceError(
                message("device", str(found), "'cpu', which has no index")
            )
        return CPU
    raise DeviceError(
        message(
            "device",
            f"{str(found)!r}",
            "a device that this version of numtensor runs on, which is 'cpu'",
            "Use device='cpu'; GPU kernels are not part of this version.",
        )
    )
