"""Zip files read with suspicion: PyTorch's, and NumPy's npz.

The directory is checked as a whole before anything is read: every record lies inside
the file, apart from the others, under one plain name, and says the same in both places
that describe it. Nothing is ever extracted to a disk. Knows no tensors.

Source of the format: PKWARE's APPNOTE.TXT 6.3.9.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from .faults import FileError, damaged
from .source import Body, Inflated, Source, most_from

END = struct.Struct("<4s4H2LH")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")
CENTRAL = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
STORED, DEFLATED = 0, 8
ENCRYPTED = 0x1 | 0x40 | 0x2000
UTF8 = 0x800
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF


class Record(NamedTuple):
    """One file inside a zip file; `start` is where its bytes begin."""

    name: str
    method: int
    crc: int
    packed: int
    size: int
    start: int


class Archive:
    """The records of a zip file, all checked.

    Raises: FileError, which names the record.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.label = source.label
        first, size, count = self._end()
        self.records: dict[str, Record] = {}
        spans = []
        data = source.read(first, size, "the directory")
        at = 0
        for _ in range(count):
            if at + CENTRAL.size > size:
                raise self._broken(
                    f"a directory of {size} bytes", f"one of {count} records"
                )
            at, record, header = self._record(data, at, first)
            if record.name in self.records:
                raise self._broken(f"two records {record.name!r}", "one of a name")
            self.records[record.name] = record
            spans.append((header, record.start + record.packed, record.name))
        if at != size:
            raise self._broken(
                f"{size - at} bytes after {count} records", "no more in the directory"
            )
        spans.sort()
        for (_, end, name), (begin, _, other) in zip(spans, spans[1:], strict=False):
            if begin < end:
                raise self._broken(
                    f"records {name!r} and {other!r} that overlap", "records apart"
                )
        self._has_checksums = any(found.crc for found in self.records.values())
        self._check_total()

    def open(self, name: str) -> Body:
        """Return the bytes of a record. Raises: FileError, there is none."""
        found = self.records.get(name)
        if found is None:
            raise self._broken(f"no record {name!r:.100}", "it")
        label = f"record {name!r} of {self.label}"
        # PyTorch can be told to leave checksums out: all are 0 then
        crc = found.crc if self._has_checksums else None
        if found.method == STORED:
            return Body(self.source, found.start, found.size, label, crc)
        return Inflated(self.source, found.start, found.packed, found.size, label, crc)

    def read(self, name: str) -> bytes:
        """Return a whole record. Raises: FileError."""
        body = self.open(name)
        found = body.take(body.size)
        body.finish()
        return found

    def _broken(self, got: str, expected: str, do: str = "") -> FileError:
        return damaged(self.label, got, expected, do)

    def _end(self) -> tuple[int, int, int]:
        """Return where the directory begins, its bytes, and how many records it has."""
        source = self.source
        length = min(source.size, END.size + FULL16)
        tail = source.read(source.size - length, length)
        place = tail.rfind(b"PK\5\6")
        if place < 0 or place + END.size > length:
            raise self._broken("no directory at the end", "a whole zip file")
        end = source.size - length + place
        _, disk, disk2, here, count, size, first, comment = END.unpack_from(tail, place)
        if place + END.size + comment != length:
            raise self._broken("bytes after the end of the directory", "none")
        if FULL32 in (size, first) or FULL16 in (here, count):
            at = end - LOCATOR.size
            mark, disk, end, _ = LOCATOR.unpack(source.read(at, LOCATOR.size))
            if mark != b"PK\6\7" or end + END64.size > at:
                raise self._broken("no 64-bit directory", "one")
            mark, _, _, _, disk, disk2, here, count, size, first = END64.unpack(
                source.read(end, END64.size)
            )
            if mark != b"PK\6\6":
                raise self._broken("no 64-bit directory", "one")
        if disk or disk2 or here != count:
            raise self._broken("a file in several volumes", "one file")
        if first + size > end:
            raise self._broken(
                f"a directory of {size} bytes at byte {first}",
                f"it to end before byte {end}",
            )
        return first, size, count

    def _record(self, data: bytes, at: int, limit: int) -> tuple[int, Record, int]:
        """Read one entry of the directory and the header that it points to."""
        (
            mark, _, _, flags, method, _, _, crc, packed, size,
            name_length, extra_length, comment_length, disk, _, _, header,
        ) = CENTRAL.unpack_from(data, at)  # fmt: skip
        at += CENTRAL.size
        raw = data[at : at + name_length]
        extra = data[at + name_length : at + name_length + extra_length]
        end = at + name_length + extra_length + comment_length
        if mark != b"PK\1\2" or end > len(data):
            raise self._broken("a directory that is cut or garbled", "its records")
        name = self._name(raw)
        if FULL32 in (packed, size, header):
            size, packed, header = self._wide(name, extra, size, packed, header)
        if flags & ENCRYPTED:
            raise self._broken(
                f"the encrypted record {name!r}", "records that can be read",
                "Decrypt the file first.",
            )  # fmt: skip
        if method not in (STORED, DEFLATED) or (method == STORED and packed != size):
            raise self._broken(
                f"record {name!r} of compression {method}, {size} bytes in {packed}",
                "stored or deflated records",
            )
        if disk:
            raise self._broken("a file in several volumes", "one file")
        found = self.source.read(header, LOCAL.size, f"the header of {name!r}")
        mark, _, flags2, method2, *_, length, more = LOCAL.unpack(found)
        start = header + LOCAL.size + length + more
        same = (flags2, method2, length) == (flags, method, len(raw))
        if (
            mark != b"PK\3\4"
            or not same
            or self.source.read(header + LOCAL.size, length, "its name") != raw
        ):
            raise self._broken(
                f"two descriptions of {name!r} that differ", "equal ones"
            )
        if start + packed > limit:
            raise self._broken(
                f"record {name!r} of {packed} bytes at byte {start}",
                f"it to end before the directory at byte {limit}",
            )
        return end, Record(name, method, crc, packed, size, start), header

    def _wide(
        self, name: str, extra: bytes, size: int, packed: int, header: int
    ) -> tuple[int, int, int]:
        """Return the 64-bit numbers in the place of those that are all ones."""
        at = 0
        while at + 4 <= len(extra):
            kind, length = struct.unpack_from("<2H", extra, at)
            if kind == 1:
                count = min(length, len(extra) - at - 4) // 8
                numbers = list(struct.unpack_from(f"<{count}Q", extra, at + 4))
                wide = [size, packed, header]
                for k, number in enumerate(wide):
                    if number == FULL32 and numbers:
                        wide[k] = numbers.pop(0)
                return wide[0], wide[1], wide[2]
            at += 4 + length
        raise self._broken(f"record {name!r} without its 64-bit size", "one")

    def _name(self, raw: bytes) -> str:
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self._broken(f"a record named {raw!r}", "names in UTF-8") from None
        parts = name.removesuffix("/").split("/")
        plain = all(part not in ("", ".", "..") for part in parts)
        if not plain or "\\" in name or "\0" in name or ":" in parts[0]:
            raise self._broken(
                f"a record named {name!r}",
                "names inside the file",
                "Such a name could point anywhere on a disk. Nothing was extracted: do "
                "not trust this file.",
            )
        return name

    def _check_total(self) -> None:
        total = sum(found.size for found in self.records.values())
        limit = most_from(self.source.size)
        if total > limit:
            raise self._broken(
                f"{total} bytes when decompressed",
                f"at most {limit} from a file of {self.source.size}",
                "This is how a zip bomb looks. If you trust the file, decompress it "
                "first.",
            )
