"""Containers made to harm, and damaged ones: refused before memory is spent."""

from __future__ import annotations

import io
import json
import os
import struct
import tracemalloc
import zipfile
import zlib
from collections import OrderedDict

import numpy as np
import pytest
import torch_made as made
from test_files import same
from torch_made import MOST, refusal

import numtensor as nt
from numtensor.errors import NumtensorError
from numtensor.serialization import FileError

# zip files


def entries(*records, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, data in records:
            file.writestr(name, data)
    return out.getvalue()


GOOD = made.pickled([1])


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/passwd", "a/../../evil", "a\\..\\evil", "C:/evil", "a//b", "./a"],
)
def test_names_that_point_elsewhere(name):
    text = refusal(entries(("m/data.pkl", GOOD), ("m/data/0", b""), (name, b"x")))
    assert f"a record named {name!r}; expected" in text.replace(" in the file", "")
    assert "Nothing was extracted" in text


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_records_of_one_name():
    text = refusal(entries(("m/data.pkl", GOOD), ("m/data.pkl", GOOD)))
    assert "two records 'm/data.pkl'" in text


def test_compressed_records_are_read_up_to_a_limit(tmp_path):
    data = entries(("m/data.pkl", GOOD), method=zipfile.ZIP_DEFLATED)
    assert nt.load(io.BytesIO(data)) == [1]
    bomb = bytes(65 << 20)
    data = entries(("m/data.pkl", bomb), method=zipfile.ZIP_DEFLATED)
    assert len(data) < 1 << 20
    text = refusal(data)
    assert "bytes when decompressed" in text and "zip bomb" in text
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(9 << 20))
    assert "zip bomb" in refusal((tmp_path / "x.npz").read_bytes())


def patched(data, mark, offset, form, value, nth=0):
    """Return a zip file with a number of its directory changed."""
    at = -1
    for _ in range(nth + 1):
        at = data.index(mark, at + 1)
    size = struct.calcsize(form)
    return data[: at + offset] + struct.pack(form, value) + data[at + offset + size :]


CENTRAL, LOCAL, END = b"PK\1\2", b"PK\3\4", b"PK\5\6"


def test_a_record_that_holds_more_than_it_says():
    inner = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = inner.compress(GOOD + bytes(1 << 20)) + inner.flush()
    data = entries(("m/data.pkl", packed))
    for mark, method, crc, size in ((LOCAL, 8, 14, 22), (CENTRAL, 10, 16, 24)):
        data = patched(data, mark, method, "<H", 8)
        data = patched(data, mark, crc, "<L", zlib.crc32(GOOD))
        data = patched(data, mark, size, "<L", len(GOOD))
    assert f"more than {len(GOOD)} bytes" in refusal(data)


@pytest.mark.parametrize(
    ("mark", "offset", "form", "value", "text"),
    [
        (CENTRAL, 8, "<H", 1, "the encrypted record"),
        (CENTRAL, 10, "<H", 12, "compression 12"),
        (CENTRAL, 24, "<L", 10**9, "compression 0, 1000000000 bytes in"),
        (CENTRAL, 42, "<L", 10**9, "at byte 1000000000; expected it to end within"),
        (CENTRAL, 42, "<L", 5, "two descriptions of 'm/data.pkl' that differ"),
        (CENTRAL, 16, "<L", 5, "a checksum of"),
        (CENTRAL, 34, "<H", 1, "several volumes"),
        (CENTRAL, 28, "<H", 60000, "a directory that is cut"),
        (LOCAL, 26, "<H", 60000, "two descriptions"),
        (LOCAL, 28, "<H", 30, "expected it to end before the directory"),
        (LOCAL, 8, "<H", 8, "two descriptions"),
        (END, 10, "<H", 9, "several volumes"),
        (END, 12, "<L", 10**9, "a directory of 1000000000 bytes"),
        (END, 16, "<L", 10**9, "a directory of"),
        (END, 16, "<L", 0, "a directory that is cut"),
        (END, 20, "<H", 3, "bytes after the end of the directory"),
    ],
)
def test_numbers_that_are_wrong(mark, offset, form, value, text):
    data = entries(("m/data.pkl", GOOD))
    assert nt.load(io.BytesIO(data)) == [1]
    assert text in refusal(patched(data, mark, offset, form, value)).replace(
        " in the file", ""
    )


def test_records_that_overlap():
    """A small file whose records are all the same bytes, once more each time."""
    data = entries(("m/data.pkl", GOOD), ("m/data.pk2", GOOD))
    second = data.index(LOCAL, 4)
    name = data.index(b"m/data.pk2")
    data = data[:name] + b"m/data.pkl" + data[name + 10 :]  # the local name
    data = patched(data, CENTRAL, 42, "<L", second)
    data = patched(data, CENTRAL, 42, "<L", second, 1)
    central = data.rindex(b"m/data.pk2")
    data = data[:central] + b"m/data.pkl" + data[central + 10 :]
    assert "two records" in refusal(data)
    inner = entries(("m/data/0", b"x" * 50))
    data = entries(("m/data.pkl", GOOD), ("m/data/1", inner[:80]))
    place = data.index(inner[:80])
    outer = entries(
        ("m/data.pkl", GOOD), ("m/data/1", inner[:80]), ("m/data/0", b"x" * 50)
    )
    data = patched(outer, CENTRAL, 42, "<L", place, 2)
    assert "that overlap" in refusal(data)


def test_a_zip_file_of_something_else():
    assert "records of PyTorch or NumPy" in refusal(
        entries(("word/document.xml", b"<"))
    )
    text = refusal(entries(("m/data.pkl", GOOD), ("m/constants.pkl", GOOD)))
    assert "a TorchScript program" in text


def test_a_file_of_nothing_known():
    assert "an empty file" in refusal(b"")
    assert "begins with b'hello'" in refusal(b"hello")
    assert "h5py" in refusal(b"\x89HDF\r\n\x1a\n" + bytes(100))


@pytest.mark.parametrize(
    "record",
    [b"", b"[]", b"{}", b'{"names": []}', b'{"names": {"0": 5}}',
     b'{"names": {"x": []}}',
     b'{"names": {"0": [1]}}', b'{"names": {"0": ["a", "b"]}}', b"[" * 100_000],
)  # fmt: skip
def test_names_that_are_garbled(record):
    obj = made.tensor(made.storage("0", 1), (1,), (1,))
    data = made.archive(
        made.pickled(obj), {"0": bytes(4)}, **{"numtensor.json": record}
    )
    refusal(data)


# NumPy and safetensors


def npy(header, data=b"", version=b"\1\0"):
    length = struct.pack("<H" if version == b"\1\0" else "<L", len(header))
    return b"\x93NUMPY" + version + length + header.encode() + data


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}", "data"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "8 that it needs"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -1)}", "the shape"),
        (f"{{'descr': '<f4', 'fortran_order': False, 'shape': (0, {2**70})}}", "shape"),
        (
            f"{{'descr': '<f4', 'fortran_order': False, 'shape': {(0, 2**58, 2**58)}}}",
            "the shape",
        ),
        (
            f"{{'descr': '<f4', 'fortran_order': False, 'shape': {(1,) * 65}}}",
            "at most 64 sizes",
        ),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "Python objects"),
        ("{'descr': '<f4', 'shape': (1,)}", "a garbled header"),
        ("__import__('os').system('true')", "a garbled header"),
        ("(" * 5000, "a garbled header"),
        ("[" * 300 + "]" * 300, "a garbled header"),
        (" " * 20000, "a header of 20000 bytes"),
    ],
    ids=range(12),
)
def test_npy_headers(header, text):
    header += "\n"
    assert text in refusal(npy(header, b"\0\0\0\0")).replace("20001", "20000")
    whole = entries(("a.npy", npy(header, b"\0\0\0\0")))
    assert text in refusal(whole).replace("20001", "20000")


def test_npy_versions():
    assert "version 1 or 2" in refusal(npy("{}", version=b"\3\0"))
    assert "only 7 bytes" in refusal(b"\x93NUMPY\1")


def tensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "data",
    [
        tensors(
            {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)
        ),
        tensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}),
        tensors({"a": {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 2**64]}}),
        tensors(
            {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)
        ),
        tensors(
            {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(8)
        ),
        tensors({"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        tensors({"a": 3}),
        tensors(b"{" * 50_000),
        tensors(b'{"a'),
        tensors({"a": {"dtype": "F32", "shape": [0, 2**63], "data_offsets": [0, 0]}}),
        tensors(
            {"a": {"dtype": "U8", "shape": [1] * 99, "data_offsets": [0, 1]}}, b"a"
        ),
    ],
    ids=range(11),
)
def test_safetensors_headers(tmp_path, data):
    pytest.importorskip("safetensors")
    refusal(data)
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(FileError, match="x.safetensors'"):
        nt.load(tmp_path / "x.safetensors")


def test_a_safetensors_header_larger_than_the_file(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}")
    with pytest.raises(FileError, match="a header of 1152921504606846976 bytes"):
        nt.load(path)


# damage


def whole_file():
    value = {
        "a": nt.arange(40.0).reshape(5, 8).t(),
        "b": OrderedDict(w=nt.ones(3, dtype=nt.int16), n=[1, "two", b"3"]),
    }
    out = io.BytesIO()
    nt.save(value, out)
    return value, out.getvalue()


def damaged_is_refused(data, value):
    """A damaged file raises one of our errors, or holds what it held."""
    try:
        found = nt.load(io.BytesIO(data))
    except NumtensorError:
        return False
    assert same(found, value)
    return True


def test_a_file_cut_anywhere():
    value, data = whole_file()
    for size in range(0, len(data), 50):
        assert not damaged_is_refused(data[:size], value)
    tracemalloc.start()
    for size in (*range(len(data) - 60, len(data)), 1, 2, 10):
        assert not damaged_is_refused(data[:size], value)
    assert tracemalloc.get_traced_memory()[1] < MOST
    tracemalloc.stop()


def test_a_byte_changed_anywhere():
    """Padding, times and second copies of sizes may change; nothing else may."""
    value, data = whole_file()
    kept = set()
    tracemalloc.start()
    for place in range(len(data)):
        for change in (0x01, 0xFF):
            garbled = bytearray(data)
            garbled[place] ^= change
            if damaged_is_refused(bytes(garbled), value):
                kept.add(place)
    assert tracemalloc.get_traced_memory()[1] < MOST
    tracemalloc.stop()
    for name in ("archive/data.pkl", "archive/data/0", "archive/data/1"):
        inside = zipfile.ZipFile(io.BytesIO(data)).read(name)
        begin = data.index(inside)
        assert not kept & set(range(begin, begin + len(inside)))


def test_a_pickle_garbled_under_a_right_checksum(rng):
    """Whatever it says then, it is an error of ours or data."""
    storages = {"0": bytes(24), "1": bytes(16)}
    float32, int64 = made.storage("0", 6), made.storage("1", 2, "int64")
    weight = made.tensor(float32, (2, 3), (3, 1), requires_grad=True)
    obj = {
        "state": OrderedDict(w=made.torch("_rebuild_parameter", weight, True, None)),
        "step": [made.tensor(int64, (2,), (1,)), 1, 2.5, {"a": (b"x", {1, 2})}],
    }
    for protocol in (2, 4):
        data = made.pickled(obj, protocol)
        assert nt.load(io.BytesIO(made.archive(data, storages)))
        tracemalloc.start()
        for _ in range(400):
            garbled = bytearray(data)
            for place in rng.integers(0, len(data), rng.integers(1, 4)):
                garbled[place] = rng.integers(0, 256)
            try:
                nt.load(io.BytesIO(made.archive(bytes(garbled), storages)))
            except NumtensorError:
                pass
        assert tracemalloc.get_traced_memory()[1] < MOST
        tracemalloc.stop()


def test_a_legacy_file_cut_or_changed():
    array = np.arange(6, dtype=np.float32)
    obj = [made.tensor(made.storage("0", 6), (2, 3), (3, 1)), "text", {"k": 1}]
    data = made.legacy(obj, {"0": (4, array.tobytes())})
    whole = nt.load(io.BytesIO(data))
    for size in range(len(data)):
        assert not damaged_is_refused(data[:size], whole)
    tracemalloc.start()
    for place in range(len(data) - array.nbytes):
        garbled = bytearray(data)
        garbled[place] ^= 0xFF
        try:  # nothing tells a letter of a text that was changed
            nt.load(io.BytesIO(bytes(garbled)))
        except NumtensorError:
            pass
    assert tracemalloc.get_traced_memory()[1] < MOST
    tracemalloc.stop()


@pytest.mark.parametrize("ending", ["npy", "npz", "safetensors"])
def test_other_formats_cut_or_changed(tmp_path, ending):
    if ending == "safetensors":
        pytest.importorskip("safetensors")
    path = tmp_path / f"x.{ending}"
    x = nt.arange(6.0)
    value = x if ending == "npy" else {"x": x}
    nt.save(value, path)
    data = path.read_bytes()
    tracemalloc.start()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(NumtensorError):
            nt.load(path)
    for place in range(len(data) - x.nbytes):
        garbled = bytearray(data)
        garbled[place] ^= 0xFF
        path.write_bytes(garbled)
        try:
            nt.load(path)
        except NumtensorError:
            pass
    assert tracemalloc.get_traced_memory()[1] < MOST
    tracemalloc.stop()


def test_an_error_names_the_file_and_the_record(tmp_path):
    _, data = whole_file()
    at = data.index(np.arange(40.0).astype(np.float32).tobytes()[:40])
    path = tmp_path / "model.pt"
    path.write_bytes(data[:at] + b"\x01" + data[at + 1 :])
    with pytest.raises(FileError) as raised:
        nt.load(path)
    assert f"in record 'archive/data/0' of {os.fspath(path)!r}; expected" in str(
        raised.value
    )
