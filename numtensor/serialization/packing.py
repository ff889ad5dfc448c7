"""Zip files written as PyTorch writes them: records stored, each at a multiple of 64.

The layout is that of PyTorch's own writer to the byte, padding and descriptors
included, because its reader may work out where records are instead of looking. Writes
forward only. Knows no tensors.

Source of the format: PKWARE's APPNOTE.TXT 6.3.9.
"""

from __future__ import annotations

import struct
import zlib
from typing import IO

from .records import CENTRAL, END, END64, FULL16, FULL32, LOCAL, LOCATOR, UTF8

ALIGNMENT = 64
_CHUNK = 1 << 22
_FOLLOWS = 0x8  # checksum and sizes come after the data


class Packer:
    """Writes records, and at the end the directory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._at = 0
        self._entries: list[bytes] = []

    def record(self, name: str, *parts: bytes | memoryview) -> None:
        """Write one record, its parts one after the other."""
        raw = name.encode("utf-8")
        size = sum(len(part) for part in parts)
        header = self._at
        flags = UTF8 | (_FOLLOWS if size else 0)
        wide = _wide([size] * 2 if size >= FULL32 else [], header)
        begin = header + LOCAL.size + len(raw) + len(wide) + 4
        padding = -begin % ALIGNMENT
        extra = wide + struct.pack("<2sH", b"FB", padding) + b"Z" * padding
        lengths = (len(raw), len(extra))
        self._write(LOCAL.pack(b"PK\3\4", 0, flags, 0, 0, 0, 0, 0, 0, *lengths))
        self._write(raw + extra)
        crc = 0
        for part in parts:
            crc = self._data(part, crc)
        if size:
            wide_sizes = size >= FULL32 or header >= FULL32
            form = "<4sL2Q" if wide_sizes else "<4s3L"
            self._write(struct.pack(form, b"PK\7\x08", crc, size, size))
        short = min(size, FULL32)
        self._entries.append(
            CENTRAL.pack(
                b"PK\1\2", 0, 0, flags, 0, 0, 0, crc, short, short,
                len(raw), len(wide), 0, 0, 0, 0, min(header, FULL32),
            )
            + raw
            + wide
        )  # fmt: skip

    def close(self) -> None:
        """Write the directory."""
        first = self._at
        directory = b"".join(self._entries)
        size, count = len(directory), len(self._entries)
        end = first + size
        self._write(directory)
        self._write(
            END64.pack(
                b"PK\6\6", END64.size - 12, 0x031E, 45, 0, 0, count, count, size, first
            )
            + LOCATOR.pack(b"PK\6\7", 0, end, 1)
            + END.pack(
                b"PK\5\6", 0, 0, min(count, FULL16), min(count, FULL16),
                min(size, FULL32), min(first, FULL32), 0,
            )
        )  # fmt: skip

    def _data(self, part: bytes | memoryview, crc: int) -> int:
        for first in range(0, len(part), _CHUNK):  # while it is in cache
            piece = part[first : first + _CHUNK]
            crc = zlib.crc32(piece, crc)
            self._write(piece)
        return crc

    def _write(self, data: bytes | memoryview) -> None:
        write_all(self._file, data)
        self._at += len(data)


def write_all(file: IO[bytes], data: bytes | memoryview) -> None:
    """Write to a file of any kind: a raw one may take a part at a time."""
    view = memoryview(data)
    while view:
        count = file.write(view)
        view = view[len(view) if count is None else count :]


def _wide(sizes: list[int], header: int) -> bytes:
    """Return the extra field of numbers that have more than 32 bits."""
    numbers = sizes + ([header] if header >= FULL32 else [])
    if not numbers:
        return b""
    return struct.pack(f"<2H{len(numbers)}Q", 1, 8 * len(numbers), *numbers)
