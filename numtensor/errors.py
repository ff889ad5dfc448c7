"""The exceptions numtensor raises, the one helper that words them, and warnings.

Every message has the same three parts: what was given, what was expected, what
to do. Each class derives from the builtin that a PyTorch program catches, and
from the one that describes the fault, so either `except` clause works.
"""

from __future__ import annotations

import sys
import warnings
from types import FrameType


class NumtensorError(Exception):
    """Base of every exception that numtensor defines."""


class ShapeError(NumtensorError, RuntimeError, ValueError):
    """Shapes, strides or sizes that an operation cannot use."""


class DimError(NumtensorError, IndexError, RuntimeError):
    """A dimension or an index outside its range, or a dimension without elements."""


class DimNameError(ShapeError):
    """Dimension names that do not match, that are unknown, or that are no names."""


class DTypeError(NumtensorError, TypeError, RuntimeError):
    """A dtype that an operation does not support."""


class DeviceError(NumtensorError, RuntimeError):
    """A device that does not exist, or two devices in one operation."""


class HostOnlyError(DeviceError, TypeError):
    """A device's tensor where only one in host memory will do."""


class AutogradError(NumtensorError, RuntimeError):
    """A misuse of the tape: stale saved tensors, in-place on leaves, and so on."""


class ReadOnlyError(NumtensorError, RuntimeError, ValueError):
    """Memory that may be read and not written."""


class ExchangeError(NumtensorError, BufferError, RuntimeError):
    """Memory that cannot be shown to another library, or taken from it."""


class CopyError(ExchangeError, ValueError):
    """copy=False where there is no way without one."""


class ForeignDeviceError(ExchangeError, DeviceError):
    """Memory of a kind of device that tensors are never on."""


class TraceError(NumtensorError, RuntimeError, TypeError):
    """Code that cannot be traced: it needs data, or tensors that are not known."""


class CompileError(NumtensorError, RuntimeError):
    """A kernel that could not be compiled or loaded."""


def mixed_devices(op: str, one: object, other: object) -> DeviceError:
    """Return the error of an operation on tensors of two devices."""
    return DeviceError(
        message(
            op,
            f"tensors on {one} and {other}",
            "one device",
            "Expected all tensors to be on the same device, but found at least two "
            f"devices, {one} and {other}! Move one with x.to({str(other)!r}).",
        )
    )


def warn(text: str) -> None:
    """Warn at the line that called this package, through however many of its frames."""
    frame: FrameType | None = sys._getframe()
    level = 0
    while frame and frame.f_globals.get("__name__", "").split(".")[0] == "numtensor":
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level + 1)


def message(op: str, got: str, expected: str, do: str = "") -> str:
    """Return `op: got ...; expected .... do`, the wording of every error.

    >>> message("add", "shapes (2,) and (3,)", "shapes that broadcast")
    'add: got shapes (2,) and (3,); expected shapes that broadcast.'
    """
    text = f"{op}: got {got}; expected {expected}."
    return f"{text} {do}" if do else text
