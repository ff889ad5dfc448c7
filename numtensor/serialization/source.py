"""Bytes of a file at offsets, never read beyond where the file ends.

Every size that a file states is compared with the size the file has, before memory is
taken. Knows no format.
"""

from __future__ import annotations

import io
import mmap
import os
import zlib
from typing import IO, Any

import numpy as np

from ..errors import message
from ..storage import Storage, adopt, allocate
from .faults import FileError, MmapError, damaged

_CHUNK = 1 << 22


def most_from(size: int) -> int:
    """Return how many bytes may be made of so many in a file, by decompressing them or
    by what a pickle says about them: more is how a bomb looks."""
    return max(64 << 20, 100 * size)


class Source:
    """A file that is open for reading, from where it stands to its end.

    Raises: FileError, the object cannot be read or has no seek and tell.
    """

    def __init__(self, file: IO[bytes], label: str) -> None:
        self.file = file
        self.label = label
        try:
            self.start = file.tell()
            self.size = max(file.seek(0, os.SEEK_END) - self.start, 0)
            file.seek(self.start)
            file.read  # noqa: B018
        except (AttributeError, OSError) as error:  # io.UnsupportedOperation too
            raise FileError(
                message(
                    "load",
                    f"a {type(file).__name__}",
                    "a path, or a binary file with read, seek and tell",
                    "You can only load from a file that is seekable. Please pre-load "
                    "the data into a buffer like io.BytesIO and try to load from it "
                    "instead.",
                )
            ) from error
        self._map: np.ndarray | None = None

    def check(self, offset: int, count: int, what: str) -> None:
        """Raise FileError if the file does not have these bytes."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise damaged(
                self.label,
                f"{what} of {count} bytes at byte {offset}",
                f"it to end within the file's {self.size} bytes",
            )

    def read(self, offset: int, count: int, what: str = "a part") -> bytes:
        """Return `count` bytes. Raises: FileError, the file does not have them."""
        self.check(offset, count, what)
        held = bytearray(count)
        self.read_into(offset, memoryview(held), what)
        return bytes(held)

    def read_into(self, offset: int, view: memoryview, what: str = "a part") -> None:
        """Fill `view`. Raises: FileError, the file does not have so many bytes."""
        self.check(offset, len(view), what)
        self.file.seek(self.start + offset)
        readinto = getattr(self.file, "readinto", None)
        done = 0
        while done < len(view):
            if readinto is not None:
                count = readinto(view[done:])
            else:
                piece = self.file.read(min(len(view) - done, _CHUNK))
                if not isinstance(piece, bytes):
                    raise damaged(
                        self.label, "text", "a file opened in binary mode",
                        "Open it with mode 'rb'.",
                    )  # fmt: skip
                count = len(piece)
                view[done : done + count] = piece
            if not count:
                raise damaged(
                    self.label,
                    f"an end at byte {offset + done}",
                    f"{self.size} bytes, the size when the file was opened",
                )
            done += count

    def mapped(self) -> np.ndarray:
        """Return the whole file as a uint8 array over a private map: what is written
        to it stays in memory. Raises: MmapError, the file has no path to map."""
        if self._map is None:
            try:
                found = mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_COPY)
            except (AttributeError, OSError, ValueError) as error:
                raise MmapError(
                    message(
                        "load",
                        f"mmap=True and {self.label}",
                        "the path of a file that is not empty",
                        "f must be a file path in order to use the mmap argument.",
                    )
                ) from error
            self._map = np.frombuffer(found, np.uint8)
        return self._map


class Body:
    """Consecutive bytes of a source, taken in order: a file's, or one record's.

    `crc` is the checksum that they must have.
    """

    def __init__(
        self, source: Source, start: int, size: int, label: str, crc: int | None = None
    ) -> None:
        self.source = source
        self.label = label
        self.size = size
        self.left = size
        self._at = start
        self._expected = crc
        self._crc = 0

    def position(self) -> int | None:
        """Return where in the source the next byte lies; None if it does not."""
        return self._at

    def take(self, count: int) -> bytes:
        """Return the next bytes. Raises: FileError, there are not so many."""
        self._check(count)
        held = bytearray(count)
        self.fill(memoryview(held))
        return bytes(held)

    def fill(self, view: memoryview) -> None:
        """Fill `view` with the next bytes. Raises: FileError, not so many are left."""
        self._check(len(view))
        for first in range(0, len(view), _CHUNK):  # while it is in cache
            piece = view[first : first + _CHUNK]
            self._next(piece)
            if self._expected is not None:
                self._crc = zlib.crc32(piece, self._crc)
        self.left -= len(view)

    def finish(self) -> None:
        """Raise FileError unless all was taken, and was what the checksum says."""
        if self.left:
            raise damaged(self.label, f"{self.left} bytes too many", "none left over")
        if self._expected is not None and self._crc != self._expected:
            raise damaged(
                self.label,
                f"a checksum of {self._crc:#010x}",
                f"{self._expected:#010x}, as the file's directory says",
            )

    def storage(self, nbytes: int, mapped: bool, alignment: int) -> Storage:
        """Return a storage of all the bytes that are left, which must be `nbytes`.

        `mapped` lays it over the file, if the file has the bytes as they are and
        aligned; the checksum is not checked then, since that would read them all.
        Raises: FileError.
        """
        if nbytes != self.left:
            raise damaged(
                self.label, f"{self.left} bytes of data", f"the {nbytes} that it needs"
            )
        place = self.position()
        if mapped and nbytes and place is not None:
            whole = self.source.mapped()
            window = whole[self.source.start + place :][:nbytes]
            if len(window) == nbytes and window.ctypes.data % alignment == 0:
                return adopt(window.ctypes.data, nbytes, whole)
        made = allocate(nbytes)
        if nbytes:
            self.fill(made.bytes().data)
        self.finish()
        return made

    def _check(self, count: int) -> None:
        if count > self.left:
            raise damaged(self.label, f"only {self.left} bytes", f"{count} more")

    def _next(self, view: memoryview) -> None:
        self.source.read_into(self._at, view, "data")
        self._at += len(view)


class Inflated(Body):
    """A body that is compressed by deflate in the source.

    What comes out is never more than the size the record states, whatever is inside.
    """

    def __init__(
        self,
        source: Source,
        start: int,
        packed: int,
        size: int,
        label: str,
        crc: int | None = None,
    ) -> None:
        super().__init__(source, start, size, label, crc)
        self._packed = packed
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)

    def position(self) -> int | None:
        """None: the bytes are not in the source as they are."""
        return None

    def _next(self, view: memoryview) -> None:
        done = 0
        while done < len(view):
            piece = self._inflater.unconsumed_tail
            if not piece:
                count = min(self._packed, 1 << 16)
                piece = self.source.read(self._at, count, "compressed data")
                self._at += count
                self._packed -= count
            try:
                found = self._inflater.decompress(piece, len(view) - done)
            except zlib.error as error:
                raise damaged(
                    self.label, f"compressed data that is wrong ({error})", "deflate"
                ) from None
            if not found and (self._inflater.eof or not (piece or self._packed)):
                raise damaged(self.label, "compressed data that ends early", "more")
            view[done : done + len(found)] = found
            done += len(found)

    def finish(self) -> None:
        """Raise FileError if there is more inside than the record's size."""
        super().finish()
        more = self._inflater.decompress(self._inflater.unconsumed_tail, 1)
        while not more and self._packed and not self._inflater.eof:
            count = min(self._packed, 1 << 16)
            more = self._inflater.decompress(
                self.source.read(self._at, count, "compressed data"), 1
            )
            self._at += count
            self._packed -= count
        if more:
            raise damaged(
                self.label, f"more than {self.size} bytes", "the size that it states"
            )


class Stream(io.RawIOBase):
    """A source from an offset on, as a file: for pickles that follow one another."""

    def __init__(self, source: Source, at: int) -> None:
        super().__init__()
        self._source = source
        self._at = at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_SET:
            self._at = offset
        elif whence == os.SEEK_CUR:
            self._at += offset
        else:
            self._at = self._source.size + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = max(min(len(view), self._source.size - self._at), 0)
        self._source.read_into(self._at, view[:count])
        self._at += count
        return count
