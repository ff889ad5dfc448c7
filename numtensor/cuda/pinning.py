"""Methods of Tensor that only devices give a sense: pinned memory, use by streams."""

from __future__ import annotations

from typing import Any

from .. import device_memory
from ..devices import CPU
from ..errors import DeviceError, message
from ..kernels.cuda import driver
from ..memory import result_of
from ..ops.copies import copy_into, preserved
from ..ops.declare import attach
from ..tensor import Tensor
from .streams import Stream


def is_pinned(self: Tensor, device: Any = None) -> bool:
    """Return whether the memory is the host's, and pinned."""
    return getattr(self._storage.block[2], "pinned", False)


def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """Return the tensor in pinned host memory: itself if it is there, else a copy.

    Devices copy from such memory without the processor, so that `to("cuda",
    non_blocking=True)` returns at once. Gradients flow back through the copy.
    Raises: DeviceError, a tensor on a device, or there is no device.
    """
    found = self._spec
    if found.device is not CPU:
        raise DeviceError(
            message(
                "pin_memory",
                f"a tensor on {found.device}",
                "one in host memory",
                f"cannot pin '{self.type()}' only dense CPU tensors can be pinned",
            )
        )
    driver.current()
    if is_pinned(self):
        return self
    found = preserved(found, found.dtype)
    held = device_memory.pinned(found.nbytes)
    return copy_into(self, result_of(held, held.pointer, found), "PinMemoryBackward0")


def record_stream(self: Tensor, stream: Stream) -> None:
    """Keep the memory from reuse until a stream, too, is done with it.

    For tensors made on one stream and used on another, which their memory does not
    know of: it is reused on its own stream as soon as the tensor dies.
    Raises: DeviceError, a tensor in host memory or on another device.
    """
    if self._spec.device is not stream.device:
        raise DeviceError(
            message(
                "record_stream",
                f"a tensor on {self._spec.device} and a stream of {stream.device}",
                "one device",
            )
        )
    device_memory.record_stream(self._storage, stream._raw)


attach("is_pinned", is_pinned)
attach("pin_memory", pin_memory)
attach("record_stream", record_stream)
