"""What is known of the memory of a device: counters, and the cache behind them.

Bytes are those of blocks, whose sizes are rounded up, at least to 512. The allocator
is `device_memory`.
"""

from __future__ import annotations

from typing import Any

from .. import device_memory
from ..device_memory import Counts, readable
from ..kernels.cuda import driver
from .devices import find, get_device_name, index_of


def _counts(op: str, device: Any) -> Counts:
    return device_memory.counts_of(find(op, device))


def memory_allocated(device: Any = None) -> int:
    """Return the bytes that tensors hold on a device. Raises: DeviceError."""
    return _counts("memory_allocated", device).allocated


def max_memory_allocated(device: Any = None) -> int:
    """Return the most bytes that tensors held, since the start or the last reset.

    Raises: DeviceError, no such device.
    """
    return _counts("max_memory_allocated", device).peak


def memory_reserved(device: Any = None) -> int:
    """Return the bytes taken from the driver: in tensors, or waiting for reuse.

    Raises: DeviceError, no such device.
    """
    return _counts("memory_reserved", device).reserved


def max_memory_reserved(device: Any = None) -> int:
    """Return the most bytes taken from the driver, since the start or the last reset.

    Raises: DeviceError, no such device.
    """
    return _counts("max_memory_reserved", device).reserved_peak


def reset_peak_memory_stats(device: Any = None) -> None:
    """Let the peaks begin at what is in use now. Raises: DeviceError."""
    _counts("reset_peak_memory_stats", device).reset_peaks()


def memory_stats(device: Any = None) -> dict[str, int]:
    """Return the counters under PyTorch's names. Raises: DeviceError."""
    found = _counts("memory_stats", device)
    return {
        "allocated_bytes.all.current": found.allocated,
        "allocated_bytes.all.peak": found.peak,
        "num_alloc_retries": found.retries,
        "num_ooms": found.failures,
        "reserved_bytes.all.current": found.reserved,
        "reserved_bytes.all.peak": found.reserved_peak,
    }


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Return the free and the total bytes of a device, as its driver counts them.

    Raises: DeviceError, no such device.
    """
    index = index_of("mem_get_info", device)
    api = driver.current()
    return api.free_memory(index), api.properties(index).total_memory


def empty_cache() -> None:
    """Give the memory that waits for reuse back to the driver, on every device.

    Without a device nothing happens, as in PyTorch.
    """
    device_memory.empty_cache()


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """Return the counters as a table to print; `abbreviated` leaves out the peaks.

    Raises: DeviceError, no such device.
    """
    on = find("memory_summary", device)
    found = device_memory.counts_of(on)
    free, total = mem_get_info(on)
    rows = [
        ("in tensors", found.allocated, found.peak),
        ("waiting for reuse", found.reserved - found.allocated, None),
        ("taken from the driver", found.reserved, found.reserved_peak),
        ("free, says the driver", free, None),
        ("on the device", total, None),
    ]
    lines = [f"{on}: {get_device_name(on)}"]
    for name, now, peak in rows:
        line = f"  {name:<22}{readable(now):>12}"
        if peak is not None and not abbreviated:
            line += f", at most {readable(peak)}"
        lines.append(line)
    if found.failures:
        lines.append(f"  out of memory {found.failures} times")
    return "\n".join(lines)
