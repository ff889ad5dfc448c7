"""CUDA memory: a caching allocator, and the copies between host and devices.

Asking a driver for memory waits for all running kernels, so blocks are kept by size
when their storage dies, and reused. A block goes back to the stream it was allocated
on: work on one stream happens in order, so memory may be handed out again while the
kernel that last used it still runs. Host memory of asynchronous copies is pinned, and
reused as soon as the copy is done. Knows bytes and devices, never Tensor.

Storages die in any thread and in the middle of anything, when their last reference goes
or the garbage collector finds them, perhaps while this thread holds a lock of the
driver's. So a dead storage's block is put into a queue and nothing else, and the driver
is never called under the lock of this module.
"""

from __future__ import annotations

import bisect
import collections
import ctypes
import threading
from typing import Any

from .devices import device as Device
from .errors import NumtensorError, message
from .kernels.cuda import driver
from .storage import OutOfMemory, Storage, adopt, size_class

_SMALLEST = 512


class OutOfMemoryError(NumtensorError, RuntimeError):
    """A device has no memory for a tensor of this size: `nt.cuda.OutOfMemoryError`."""


class Counts:
    """Bytes of one device: in tensors, and taken from the driver."""

    def __init__(self) -> None:
        self.allocated = self.peak = 0
        self.reserved = self.reserved_peak = 0
        self.retries = self.failures = 0
        self.starts: list[int] = []  # of all blocks taken from the driver, sorted
        self.sizes: dict[int, int] = {}
        #: what keeps each block's memory. Only here: the garbage collector runs the
        #: finalizers of all that it finds, and what keeps memory frees it in its own,
        #: though the storage's gives the block back for reuse.
        self.owners: dict[int, Any] = {}
        self.waiting: set[int] = set()
        #: blocks of dead storages, in the order of their deaths
        self.returned: collections.deque[Any] = collections.deque()
        self.forgotten = False  # the driver has changed

    def settle(self) -> None:
        """Put the blocks of dead storages on their shelves."""
        while self.returned:
            try:
                block = self.returned.popleft()
            except IndexError:  # a finalizer that allocates has come between
                return
            address, held, shelf = block
            self.waiting.add(address)
            self.allocated -= shelf.nbytes
            if held.users:
                shelf.busy.append((block, []))
            else:
                shelf.blocks.setdefault(held.stream, []).append(block)

    def lend(self, address: int, nbytes: int) -> None:
        """Count a block as a tensor's."""
        self.waiting.discard(address)
        self.allocated += nbytes
        self.peak = max(self.peak, self.allocated)

    def add(self, address: int, nbytes: int, owner: Any) -> None:
        """Count a block that the driver gave."""
        bisect.insort(self.starts, address)
        self.sizes[address] = nbytes
        self.owners[address] = owner
        self.reserved += nbytes
        self.reserved_peak = max(self.reserved_peak, self.reserved)

    def drop(self, address: int) -> Any:
        """Count a block no longer, and return what keeps its memory."""
        del self.starts[bisect.bisect(self.starts, address) - 1]
        self.reserved -= self.sizes.pop(address)
        self.waiting.discard(address)
        return self.owners.pop(address)

    def reset_peaks(self) -> None:
        """Let the largest numbers so far be the present ones."""
        self.peak, self.reserved_peak = self.allocated, self.reserved


class _Held:
    """The stream that a block belongs to, and others that use it."""

    __slots__ = ("stream", "users")

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.users: set[Any] = set()


class DeviceShelf:
    """Blocks of one size on one device that wait for reuse, by stream."""

    __slots__ = ("device", "nbytes", "counts", "blocks", "busy")

    def __init__(self, device: Device, nbytes: int) -> None:
        self.device = device
        self.nbytes = nbytes
        self.counts = counts_of(device)
        self.blocks: dict[Any, list[Any]] = {}
        #: blocks that other streams use too, with the events that say when no longer
        self.busy: list[tuple[Any, list[Any]]] = []

    def append(self, block: Any) -> None:
        """Take a block of which the storage has died."""
        if self.counts.forgotten:
            self.counts.owners.pop(block[0], None)
        else:
            self.counts.returned.append(block)

    def pop(self) -> Any:
        """Raises: IndexError, none is waiting on the current stream."""
        if self.busy:
            self._release(False)
        with _lock:
            self.counts.settle()
            waiting = self.blocks.get(current_stream(self.device))
            if not waiting:
                raise IndexError
            block = waiting.pop()
            self.counts.lend(block[0], self.nbytes)
        return block

    def _release(self, wait: bool) -> None:
        """Let blocks be reused with which other streams are done; or wait for those."""
        api, index = driver.current(), self.device.index or 0
        for _ in range(len(self.busy)):
            with _lock:
                if not self.busy:
                    return
                block, events = self.busy.pop(0)
            held, done = block[1], False
            try:
                if not events:  # of now, which is later than need be
                    events = [mark(self.device, stream) for stream in held.users]
                for event in events if wait else ():
                    api.synchronize(index, event)
                done = wait or all(map(api.event_done, events))
            finally:
                with _lock:
                    if done:
                        held.users.clear()
                        self.blocks.setdefault(held.stream, []).append(block)
                    else:
                        self.busy.append((block, events))

    def fresh(self) -> Any:
        """Return a block of memory from the driver. Raises: OutOfMemoryError."""
        device, counts = self.device, self.counts
        address, owner = from_driver(device, self.nbytes)
        with _lock:
            counts.settle()
            counts.add(address, self.nbytes, owner)
            counts.lend(address, self.nbytes)
        return (address, _Held(current_stream(device)), self)

    def empty(self) -> list[Any]:
        """Forget all waiting blocks; return what keeps their memory."""
        with _lock:
            self.counts.settle()
        self._release(True)
        with _lock:
            blocks = [block for waiting in self.blocks.values() for block in waiting]
            self.blocks.clear()
            return [self.counts.drop(block[0]) for block in blocks]


def from_driver(device: Device, nbytes: int) -> tuple[int, Any]:
    """Return the address of new memory and what keeps it. Raises: OutOfMemoryError."""
    assert device.index is not None
    api, counts = driver.current(), counts_of(device)
    try:
        return api.allocate(device.index, nbytes)
    except MemoryError:
        with _lock:
            counts.retries += 1
        empty_cache(device)
        try:
            return api.allocate(device.index, nbytes)
        except MemoryError:
            with _lock:
                counts.failures += 1
            raise _out_of_memory(device, nbytes) from None


_shelves: dict[tuple[Device, int], DeviceShelf] = {}
_counts: dict[Device, Counts] = {}
_lock = threading.RLock()
_streams = threading.local()


def counts_of(device: Device) -> Counts:
    """Return the counters of a device."""
    found = _counts.get(device)
    if found is None:
        found = _counts.setdefault(device, Counts())
    with _lock:
        found.settle()
    return found


def shelf_for(device: Device, nbytes: int) -> DeviceShelf:
    """Return where blocks for `nbytes` wait."""
    size = max(_SMALLEST, size_class(nbytes))
    shelf = _shelves.get((device, size))
    if shelf is None:
        shelf = _shelves.setdefault((device, size), DeviceShelf(device, size))
    return shelf


def allocate(device: Device, nbytes: int) -> Storage:
    """Return a storage of uninitialised bytes. Raises: OutOfMemoryError."""
    shelf = shelf_for(device, nbytes)
    try:
        block = shelf.pop()
    except IndexError:
        block = shelf.fresh()
    storage = object.__new__(Storage)
    storage.pointer = block[0]
    storage.block = block
    storage.nbytes = nbytes
    storage.version = 0
    return storage


def empty_cache(device: Device | None = None) -> None:
    """Give the memory of all waiting blocks back to the driver, or of one device's."""
    with _lock:
        shelves = [s for s in _shelves.values() if device in (None, s.device)]
    owners: dict[Device, list[Any]] = {}
    for shelf in shelves:
        owners.setdefault(shelf.device, []).extend(shelf.empty())
    for on, found in owners.items():
        assert on.index is not None
        driver.current().free(on.index, found)


def state_of(device: Device, address: int) -> str:
    """Say whose an address is: "live" or "dead" memory of ours, or "foreign"."""
    counts = counts_of(device)
    with _lock:
        k = bisect.bisect(counts.starts, address) - 1
        if k < 0:
            return "foreign"
        start = counts.starts[k]
        if address >= start + counts.sizes[start]:
            return "foreign"
        return "dead" if start in counts.waiting else "live"


def forget() -> None:
    """Drop all that is known of all devices: the driver has changed."""
    global _streams
    with _lock:
        owners = []
        for counts in _counts.values():
            counts.settle()
            counts.forgotten = True
            owners += [counts.owners.pop(address) for address in counts.waiting]
        _shelves.clear()
        _counts.clear()
        _streams = threading.local()
        _pinned_shelves.clear()
        _pinned.clear()
        _pinned_starts.clear()


def _out_of_memory(device: Device, nbytes: int) -> OutOfMemoryError:
    counts = counts_of(device)
    api = driver.current()
    assert device.index is not None
    total = api.properties(device.index).total_memory
    free = api.free_memory(device.index)
    return OutOfMemoryError(
        message(
            "allocate",
            f"a request for {nbytes:,} bytes on {device}",
            f"one that fits into the {free:,} bytes that are free",
            f"CUDA out of memory. Tried to allocate {readable(nbytes)}. GPU "
            f"{device.index} has a total capacity of {readable(total)} of which "
            f"{readable(free)} is free. Of the allocated memory "
            f"{readable(counts.allocated)} is allocated by numtensor, and "
            f"{readable(counts.reserved - counts.allocated)} is reserved by numtensor "
            "but unallocated. Use smaller batches, or delete tensors first.",
        )
    )


def readable(nbytes: int) -> str:
    """Return a number of bytes as PyTorch's messages write it.

    >>> readable(512), readable(3 * 2**20)
    ('512 bytes', '3.00 MiB')
    """
    if nbytes <= 2**10:
        return f"{nbytes} bytes"
    for unit, size in (("KiB", 2**10), ("MiB", 2**20)):
        if nbytes <= 2**10 * size:
            return f"{nbytes / size:.2f} {unit}"
    return f"{nbytes / 2**30:.2f} GiB"


# Streams


def current_stream(device: Device) -> Any:
    """Return the driver's stream that this thread works on, 0 for the default one."""
    own: dict[Any, Any] = _streams.__dict__
    return own.get(device, 0) if own else 0


def set_stream(device: Device, stream: Any) -> None:
    """Let this thread work on a stream of the driver's, or 0."""
    own: dict[Any, Any] = _streams.__dict__
    if stream:
        own[device] = stream
    else:
        own.pop(device, None)


def mark(device: Device, stream: Any) -> Any:
    """Return an event that is done when all is that a stream has to do so far."""
    assert device.index is not None
    api = driver.current()
    event = api.event(device.index, False)
    api.record(event, device.index, stream)
    return event


def record_stream(storage: Storage, stream: Any) -> None:
    """Keep a storage's memory from reuse until a stream, too, is done with it."""
    held = storage.block[1]
    # memory that somebody else owns is theirs to keep
    if isinstance(held, _Held) and stream != held.stream:
        held.users.add(stream)


# Pinned host memory


class _Pinned:
    """What keeps pinned memory, and after which events its copies are done."""

    __slots__ = ("owner", "nbytes", "copies")

    def __init__(self, owner: Any, nbytes: int) -> None:
        self.owner = owner
        self.nbytes = nbytes
        self.copies: dict[Any, Any] = {}  # the last of each device and stream

    def copied(self, device: Device, stream: Any) -> None:
        """Note that a copy has been put on a stream."""
        api, index = driver.current(), device.index or 0
        event = self.copies.get((device, stream))
        if event is None:  # another thread may copy from the same memory
            event = self.copies.setdefault((device, stream), api.event(index, False))
        api.record(event, index, stream)

    def idle(self) -> bool:
        """Whether all copies are done."""
        return all(map(driver.current().event_done, self.copies.values()))


class PinnedShelf:
    """Pinned blocks of one size that wait for reuse, perhaps for a copy to end."""

    __slots__ = ("nbytes", "blocks")

    #: tells a tensor's memory from other host memory
    pinned = True

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.blocks: list[Any] = []

    def append(self, block: Any) -> None:
        """Take a block of which the storage has died."""
        self.blocks.append(block)

    def pop(self) -> Any:
        """Raises: IndexError, none is waiting that no copy uses."""
        for block in list(self.blocks):
            try:
                self.blocks.remove(block)  # before asking, as no other thread may now
            except ValueError:  # one was faster
                continue
            idle = False
            try:
                idle = block[1].idle()
            finally:
                if not idle:
                    self.blocks.append(block)
            if idle:
                block[1].copies.clear()
                return block
        raise IndexError

    def fresh(self) -> Any:
        """Return a block of new pinned memory. Raises: MemoryError."""
        address, owner = driver.current().pinned(self.nbytes)
        held = _Pinned(owner, self.nbytes)
        with _lock:
            bisect.insort(_pinned_starts, address)
            _pinned[address] = held
        return (address, held, self)


_pinned_shelves: dict[int, PinnedShelf] = {}
_pinned: dict[int, _Pinned] = {}
_pinned_starts: list[int] = []


def pinned(nbytes: int) -> Storage:
    """Return a storage of uninitialised host memory that a device copies from by
    itself. Raises: OutOfMemory."""
    size = max(_SMALLEST, size_class(nbytes))
    shelf = _pinned_shelves.get(size)
    if shelf is None:
        shelf = _pinned_shelves.setdefault(size, PinnedShelf(size))
    try:
        block = shelf.pop()
    except IndexError:
        try:
            block = shelf.fresh()
        except MemoryError:
            raise OutOfMemory(
                message(
                    "pin_memory",
                    f"a request for {nbytes:,} bytes",
                    "a size that the system can pin",
                    "Use smaller tensors: what is pinned cannot be swapped out.",
                )
            ) from None
    return adopt(block[0], nbytes, block[1], shelf=shelf)


def _pinned_at(address: int, nbytes: int) -> _Pinned | None:
    """Return whose pinned memory a range of host memory is."""
    with _lock:
        k = bisect.bisect(_pinned_starts, address) - 1
        if k < 0:
            return None
        start = _pinned_starts[k]
        held = _pinned[start]
    return held if address + nbytes <= start + held.nbytes else None


# Copies


def upload(device: Device, to: int, host: int, nbytes: int, wait: bool = True) -> None:
    """Copy host memory to a device.

    Without `wait` the copy happens in the order of the stream, from memory that is
    pinned: that of the caller, who leaves it alone until then, or else some to which
    the bytes are copied first.
    """
    assert device.index is not None
    api, stream = driver.current(), current_stream(device)
    if wait:
        api.upload(device.index, to, host, nbytes, stream, True)
        return
    held = _pinned_at(host, nbytes)
    if held is None:
        # its block is back on the shelf on return, and waits there for the copy
        staged = pinned(nbytes)
        ctypes.memmove(staged.pointer, host, nbytes)
        host, held = staged.pointer, staged.block[1]
    api.upload(device.index, to, host, nbytes, stream, False)
    held.copied(device, stream)


def download(
    device: Device, host: int, source: int, nbytes: int, wait: bool = True
) -> None:
    """Copy a device's memory to the host, after all that its stream has to do.

    Without `wait` the call returns before that, if the host's memory is pinned.
    """
    assert device.index is not None
    stream = current_stream(device)
    held = None if wait else _pinned_at(host, nbytes)
    driver.current().download(device.index, host, source, nbytes, stream, held is None)
    if held is not None:
        held.copied(device, stream)


def copy(to: tuple[Device, int], source: tuple[Device, int], nbytes: int) -> None:
    """Copy memory between devices, or within one."""
    assert to[0].index is not None and source[0].index is not None
    driver.current().copy(
        (to[0].index, to[1]),
        (source[0].index, source[1]),
        nbytes,
        current_stream(to[0]),
    )
