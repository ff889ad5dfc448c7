"""Host memory: the storage under a tensor, and the pool its memory comes from.

Fresh pages cost more than the arithmetic that fills them (10M float32 into fresh
memory: 8 to 40 ms, into a warm buffer: 3 ms), and a small `np.empty` costs more than
a kernel call. So blocks are kept by size when their storage dies, and reused. The
address is asked for once, when a block is made. Knows bytes; dtypes and shapes are
the tensor's.
"""

from __future__ import annotations

import collections
import functools
import os
import threading
from typing import Any, Protocol

import numpy as np

from .errors import NumtensorError, ReadOnlyError, message

_ALIGN = 64
_SMALL = 1024  # below this, blocks of every multiple of 64 bytes, cut from slabs
_SLAB = 64 * 1024

Block = tuple[int, Any, "Shelf"]


class Shelf(Protocol):
    """Where blocks of one size wait: anything with append and pop."""

    def append(self, block: Any, /) -> None: ...
    def pop(self) -> Any: ...


#: takes blocks that must not be reused: memory that somebody else owns
_NOWHERE: Any = collections.deque(maxlen=0)


class OutOfMemory(NumtensorError, MemoryError, RuntimeError):
    """The machine has no memory for a tensor of this size."""


class Storage:
    """The memory of a tensor and of all its views.

    `pointer` is the address of byte 0. `version` counts in-place changes, so that the
    tape notices when a value it saved is no longer there.
    """

    __slots__ = ("pointer", "block", "nbytes", "version", "__weakref__")

    pointer: int
    block: Block
    nbytes: int
    version: int

    def __del__(self) -> None:
        block = self.block
        block[2].append(block)

    @property
    def device(self) -> Any:
        """The CUDA device of this memory, None for host memory."""
        return getattr(self.block[2], "device", None)

    def bytes(self) -> np.ndarray:
        """Return host memory as a uint8 array that keeps this storage alive."""
        return np.asarray(_Window(self))


class _Window:
    """Exposes a storage's bytes to NumPy, and holds the storage while they are used."""

    __slots__ = ("storage",)

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    @property
    def __array_interface__(self) -> dict[str, Any]:
        storage = self.storage
        return {
            "version": 3,
            "shape": (storage.nbytes,),
            "typestr": "|u1",
            "data": (storage.pointer, type(storage) is ReadOnlyStorage),
        }


class _LargeShelf:
    """Blocks of one large size; refuses more than the pool may hold."""

    __slots__ = ("blocks", "nbytes")

    def __init__(self, nbytes: int) -> None:
        self.blocks: list[Block] = []
        self.nbytes = nbytes

    def append(self, block: Block) -> None:
        if _held[0] + self.nbytes <= pool_limit():
            _held[0] += self.nbytes
            self.blocks.append(block)

    def pop(self) -> Block:
        block = self.blocks.pop()
        _held[0] -= self.nbytes
        return block


_held = [0]
_limit: list[int] = []
_small: list[list[Block]] = [[] for _ in range(_SMALL // _ALIGN + 1)]
_large: dict[int, _LargeShelf] = {}
_lock = threading.Lock()


def pool_limit() -> int:
    """Return how many bytes of freed large blocks are kept.

    A quarter of the machine's memory, or NUMTENSOR_POOL_BYTES.
    """
    if not _limit:
        text = os.environ.get("NUMTENSOR_POOL_BYTES", "")
        if text.isdecimal():
            _limit.append(int(text))
        else:
            _limit.append(_machine_memory() // 4)
    return _limit[0]


@functools.cache
def _machine_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def pooled_bytes() -> int:
    """Return the bytes of large blocks that wait for reuse."""
    return _held[0]


def empty_pool() -> None:
    """Give the memory of all waiting large blocks back to the system."""
    with _lock:
        for shelf in _large.values():
            while shelf.blocks:
                shelf.pop()


def size_class(nbytes: int) -> int:
    """Round up to one of eight sizes per power of two: at most 12.5% is wasted."""
    step = 1 << max(9, nbytes.bit_length() - 4)
    return -(-nbytes // step) * step


def shelf_for(nbytes: int) -> Any:
    """Return where blocks for `nbytes` wait; a caller keeps it and pops from it."""
    if nbytes <= _SMALL:
        return _small[-(-nbytes // _ALIGN) or 1]
    size = size_class(nbytes)
    shelf = _large.get(size)
    if shelf is None:
        shelf = _large.setdefault(size, _LargeShelf(size))
    return shelf


def new_block(nbytes: int, shelf: Any) -> Block:
    """Return a fresh block for a shelf that is empty.

    Raises: OutOfMemory.
    """
    fresh = getattr(shelf, "fresh", None)
    if fresh is not None:  # a shelf of device memory
        return fresh()
    if nbytes <= _SMALL:
        size = (-(-nbytes // _ALIGN) or 1) * _ALIGN
        slab = np.empty(_SLAB + _ALIGN, np.uint8)
        first = -(-slab.ctypes.data // _ALIGN) * _ALIGN
        blocks = [(first + k * size, slab, shelf) for k in range(_SLAB // size)]
        block = blocks.pop()
        shelf.extend(blocks)
        return block
    size = size_class(nbytes)
    try:
        memory = _allocate(size + _ALIGN)
    except MemoryError:
        empty_pool()
        try:
            memory = _allocate(size + _ALIGN)
        except MemoryError:
            raise OutOfMemory(
                message(
                    "allocate",
                    f"a request for {nbytes} bytes",
                    "a size that this machine's memory can hold",
                    "not enough memory: you tried to allocate "
                    f"{nbytes} bytes. Use smaller tensors, or free some first.",
                )
            ) from None
    return (-(-memory.ctypes.data // _ALIGN) * _ALIGN, memory, shelf)


def _allocate(size: int) -> np.ndarray:
    if size > _machine_memory():
        # the system might promise it all the same, and end the process on writing
        raise MemoryError
    try:
        return np.empty(size, np.uint8)
    except ValueError as error:  # larger than an array may be
        raise MemoryError from error


def allocate(nbytes: int) -> Storage:
    """Return a storage of `nbytes` uninitialised bytes.

    Raises: OutOfMemory.
    """
    shelf = shelf_for(nbytes)
    try:
        block = shelf.pop()
    except IndexError:
        block = new_block(nbytes, shelf)
    storage = object.__new__(Storage)
    storage.pointer = block[0]
    storage.block = block
    storage.nbytes = nbytes
    storage.version = 0
    return storage


class ReadOnlyStorage(Storage):
    """Somebody else's memory that the system may protect: writing could end the
    process, so every way of writing stops here, at the count of changes."""

    __slots__ = ()

    @property
    def version(self) -> int:  # type: ignore[override]
        """Always 0: nothing can change."""
        return 0

    @version.setter
    def version(self, value: int) -> None:
        refuse_writing("write")


def refuse_writing(op: str) -> None:
    """Raise ReadOnlyError."""
    raise ReadOnlyError(
        message(
            op,
            "a tensor over read-only memory",
            "memory that may be written",
            "assignment destination is read-only. Use clone() first.",
        )
    )


class ForeignShelf:
    """The shelf of adopted device memory: says where it is, and takes nothing back."""

    __slots__ = ("device",)

    def __init__(self, device: Any) -> None:
        self.device = device

    def append(self, block: Any) -> None:
        pass


def adopt(
    address: int,
    nbytes: int,
    owner: Any,
    read_only: bool = False,
    shelf: Any = _NOWHERE,
) -> Storage:
    """Return a storage over memory that `owner` keeps alive.

    `shelf` is told when the storage dies, and says which device the memory is on.
    """
    storage = object.__new__(ReadOnlyStorage if read_only else Storage)
    storage.pointer = address
    storage.block = (address, owner, shelf)
    storage.nbytes = nbytes
    if not read_only:
        storage.version = 0
    return storage
