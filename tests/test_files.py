"""Tensors in files: what is stored comes back, and paths hold whole files."""

from __future__ import annotations

import io
import os
import pathlib
import pickle
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections import Counter, OrderedDict

import laws
import numpy as np
import pytest
import torch_made
from hypothesis import given, settings
from hypothesis import strategies as st

import numtensor as nt
from numtensor.nn.parameter import Buffer, Parameter
from numtensor.serialization import FileError, FolderError, MmapError, PicklingError

DATA = "tensors, numbers, strings, dicts, lists, tuples and sets"


def again(value, **how):
    """Return what was saved and loaded."""
    file = io.BytesIO()
    nt.save(value, file)
    file.seek(0)
    return nt.load(file, **how)


def same(a, b):
    """Whether two objects are equal in types, values and layouts."""
    if type(a) is not type(b):
        return False
    if isinstance(a, nt.Tensor):
        return (
            a.dtype is b.dtype
            and a.shape == b.shape
            and a.stride() == b.stride()
            and a.storage_offset() == b.storage_offset()
            and a.requires_grad == b.requires_grad
            and a.device == b.device
            and np.array_equal(laws.numpy_of(a), laws.numpy_of(b), equal_nan=True)
        )
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and a != a:
        return b != b
    return a == b


# what comes back


@pytest.mark.parametrize("dtype", laws.DTYPES)
@pytest.mark.parametrize("layout", laws.LAYOUTS)
def test_tensors_of_every_dtype_and_layout(device, dtype, layout):
    array = (np.arange(6) % 5 - (0 if dtype in ("bool", "uint8") else 2)).astype(dtype)
    x = laws.LAYOUTS[layout](array.reshape(2, 3))
    assert same(again(x), x)


@pytest.mark.parametrize("layout", laws.LAYOUTS)
def test_float16(layout):
    x = laws.LAYOUTS[layout](np.arange(6, dtype=np.float16).reshape(2, 3))
    assert same(again(x), x)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1, 1)])
def test_small_shapes(device, shape):
    x = laws.made(np.ones(shape, np.float32))
    assert same(again([x, x.detach()]), [x, x])


def test_values_that_are_no_numbers():
    x = nt.tensor([float("nan"), float("inf"), -0.0])
    y = again(x)
    assert same(x, y) and np.signbit(y.numpy()[2])


def test_expanded_tensors_stay_small():
    x = nt.ones(1).expand(1000, 1000)
    file = io.BytesIO()
    nt.save(x, file)
    assert len(file.getvalue()) < 3000
    assert same(nt.load(io.BytesIO(file.getvalue())), x)


def test_requires_grad_of_leaves_and_of_results():
    x = nt.ones(2, requires_grad=True)
    y = again({"leaf": x, "result": x * 2})
    assert y["leaf"].requires_grad and y["result"].requires_grad
    assert y["result"].is_leaf


def test_containers():
    value = {
        "list": [1, [2, (3,)], ()],
        "numbers": (True, None, 1.5, -1, 70000, 2**40, -(2**100), 1 + 2j),
        "text": ["", "é", "\ud800", "x" * 300],
        "bytes": [b"", b"\x00\xff", bytearray(), bytearray(b"ab")],
        "sets": [set(), {1, "a", (2, 3)}],
        "ordered": OrderedDict(b=1, a=2),
        "counter": Counter("aab"),
        "torch": [nt.float64, nt.bool, nt.Size([2, 3]), nt.device("cuda:1")],
        ("a", 1): {2: {}},
        "many": list(range(2500)),
        "pairs": {k: str(k) for k in range(2500)},
    }
    assert same(again(value), value)


def test_shared_objects_stay_one():
    inner, t = [1], nt.ones(2)
    found = again([inner, inner, t, t, {"t": t}])
    assert found[0] is found[1]
    assert found[2] is found[3] is found[4]["t"]


def test_containers_that_hold_themselves():
    a = []
    a.append((a, 1, 2, 3))
    pair = ([],)
    pair[0].append(pair)
    found_list, found_pair = again([a, pair])
    assert found_list[0][0] is found_list
    assert found_pair[0][0] is found_pair


def test_views_share_their_storage_on_the_other_side(device):
    base = laws.made(np.arange(12.0))
    file = io.BytesIO()
    nt.save({"all": base, "part": base.reshape(3, 4).t()[1:], "last": base[11]}, file)
    names = zipfile.ZipFile(file).namelist()
    assert sum("/data/" in name for name in names) == 1
    found = nt.load(io.BytesIO(file.getvalue()))
    found["all"][11] = -1.0
    assert found["last"].item() == -1.0
    assert found["part"][2, 2].item() == -1.0


def test_one_storage_seen_as_two_dtypes():
    base = nt.arange(4, dtype=nt.int32)
    found = again([base, base.view(nt.float32), base[1:]])
    assert same(found, [base, base.view(nt.float32), base[1:]])
    found[0][3] = 0x3F800000
    assert found[1][3].item() == 1.0


def test_a_storage_of_bytes_seen_as_wider_elements():
    """PyTorch writes storages so whose elements it has no old class for."""
    raw = np.array([1, 2, 3], np.int16).tobytes() + b"\4"
    cls = torch_made.Name("torch.storage", "UntypedStorage")
    whole = torch_made.Reference("storage", cls, "0", "cpu", 7)

    def seen(size, dtype):
        parts = (
            0,
            (size,),
            (1,),
            False,
            OrderedDict(),
            torch_made.Name("torch", dtype),
        )
        return torch_made.torch("_rebuild_tensor_v3", whole, *parts)

    data = torch_made.pickled([seen(3, "int16"), seen(7, "uint8")])
    found = nt.load(io.BytesIO(torch_made.archive(data, {"0": raw})))
    assert found[0].tolist() == [1, 2, 3]
    assert same(again(found), found)
    assert same(again(found[::-1]), found[::-1])


def test_state_dicts_keep_their_metadata():
    state = OrderedDict(weight=nt.ones(2))
    state._metadata = OrderedDict({"": {"version": 1}})
    found = again(state)
    assert same(found, state)
    assert found._metadata == state._metadata


def test_parameters():
    value = {"w": Parameter(nt.ones(2)), "f": Parameter(nt.ones(1), False)}
    found = again(value)
    assert same(found, value)
    assert type(found["w"]) is Parameter
    buffer = again(Buffer(nt.ones(1)))
    assert type(buffer) is nt.Tensor


def test_names_are_kept(device):
    x = laws.made(np.ones((2, 3))).refine_names("rows", None)
    y = laws.made(np.ones((2, 3)))
    found = again([y, x, {"x": x.t()}, y])
    assert [t.names for t in found[:2]] == [(None, None), ("rows", None)]
    assert found[2]["x"].names == (None, "rows")


def scalars():
    return st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()
    )


def tensors():
    def build(shape, dtype, offset, flip):
        count = int(np.prod(shape)) + offset
        base = nt.tensor((np.arange(count) % 2).astype(dtype))
        x = base[offset:].reshape(shape)
        return x.t() if flip and len(shape) == 2 else x

    shapes = st.lists(st.integers(0, 3), max_size=3)
    kinds = st.sampled_from(laws.DTYPES)
    return st.builds(build, shapes, kinds, st.integers(0, 3), st.booleans())


def nests():
    keys = st.one_of(st.text(max_size=3), st.integers(), st.booleans())
    return st.recursive(
        st.one_of(scalars(), tensors()),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.lists(inner, max_size=4).map(tuple),
            st.dictionaries(keys, inner, max_size=4),
            st.dictionaries(keys, inner, max_size=4).map(OrderedDict),
        ),
        max_leaves=12,
    )


@given(nests())
@settings(max_examples=60)
def test_any_nest_comes_back(value):
    assert same(again(value), value)


# what is refused


class Thing:
    pass


class Model:
    def state_dict(self):
        return {}


@pytest.mark.parametrize(
    ("value", "got", "do"),
    [
        (Thing(), "test_files.Thing", "Store what it holds in dicts and lists."),
        (Thing, "type Thing", "Store what it holds"),
        (len, "builtin_function_or_method len", "Store what it holds"),
        (Model(), "test_files.Model", "Save its state_dict() instead"),
        (np.float64(1), "numpy.float64", "numbers as number.item()"),
        (np.ones(2), "numpy.ndarray", "Save nt.from_numpy(array)"),
        (frozenset(), "frozenset", "Save set(x)."),
        (range(3), "range", "Store what it holds"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_objects_that_are_no_data(tmp_path, value, got, do):
    path = tmp_path / "x.pt"
    with pytest.raises(PicklingError) as raised:
        nt.save({"a": [1, value]}, path)
    text = str(raised.value)
    assert text.startswith(f"save: got an object of type {got}")
    assert f" at obj['a'][1]; expected {DATA}." in text
    assert do in text
    assert isinstance(raised.value, (TypeError, pickle.PicklingError))
    assert list(tmp_path.iterdir()) == []


def test_a_nest_too_deep_for_python():
    nest = []
    for _ in range(100_000):
        nest = [nest]
    with pytest.raises(PicklingError, match="containers nested too deeply"):
        nt.save(nest, io.BytesIO())
    while nest:  # or its end would be as deep
        nest = nest[0]


def test_an_integer_too_long():
    assert again(2**2038) == 2**2038
    with pytest.raises(PicklingError, match="an integer of 2041 bits"):
        nt.save(2**2040, io.BytesIO())


def test_what_is_no_file():
    with pytest.raises(PicklingError, match="save: got a file of type int; expected a"):
        nt.save(1, 3)
    with pytest.raises(PicklingError, match="load: got a file of type bytes; expected"):
        nt.load(b"x.pt")
    with pytest.raises(FileError, match="from a file that is seekable"):
        nt.load(type("Pipe", (), {"read": lambda self, n: b""})())
    with pytest.raises(FileError, match="Open it with mode 'rb'"):
        nt.load(io.StringIO("text" * 10))
    with pytest.raises(FileNotFoundError):
        nt.load("/no/such/file.pt")


# files and paths


@pytest.mark.parametrize("name", ["x.pt", "x.pth", "x", "x.npyx", "x.zip"])
def test_any_ending_gets_the_zip_format(tmp_path, name):
    nt.save(nt.ones(2), tmp_path / name)
    names = zipfile.ZipFile(tmp_path / name).namelist()
    assert names[0] == "archive/data.pkl"
    assert names[-1] == "archive/version"
    assert same(nt.load(str(tmp_path / name)), nt.ones(2))


def test_records_are_stored_and_aligned():
    file = io.BytesIO()
    nt.save({"a": nt.ones(3), "b": nt.ones(5, dtype=nt.uint8), "c": nt.ones(0)}, file)
    whole = zipfile.ZipFile(file)
    assert whole.testzip() is None
    assert whole.read("archive/byteorder").decode() == sys.byteorder
    for info in whole.infolist():
        assert info.compress_type == zipfile.ZIP_STORED
        head = file.getvalue()[info.header_offset + 26 :]
        lengths = (
            int.from_bytes(head[:2], "little"),
            int.from_bytes(head[2:4], "little"),
        )
        assert (info.header_offset + 30 + sum(lengths)) % 64 == 0


def test_file_objects_that_do_not_start_at_their_beginning():
    file = io.BytesIO()
    file.write(b"before")
    nt.save(nt.ones(2), file)
    file.seek(6)
    assert same(nt.load(file), nt.ones(2))


class Plain:
    """A file with no more than it must have, and short reads and writes."""

    def __init__(self, data=b""):
        self.inner = io.BytesIO(data)
        self.tell, self.seek = self.inner.tell, self.inner.seek

    def read(self, count):
        return self.inner.read(min(count, 7))

    def write(self, data):
        return self.inner.write(bytes(data[:5]))


def test_file_objects_that_read_and_write_a_little_at_a_time():
    file = Plain()
    nt.save({"a": nt.arange(100)}, file)
    found = nt.load(Plain(file.inner.getvalue()))
    assert same(found, {"a": nt.arange(100)})


def test_what_open_gives(tmp_path):
    path = tmp_path / "x.pt"
    for buffering in (-1, 0):
        with open(path, "wb", buffering=buffering) as file:
            nt.save(nt.ones(3), file)
        with open(path, "rb", buffering=buffering) as file:
            assert same(nt.load(file), nt.ones(3))


def test_mmap(tmp_path):
    path = pathlib.Path(tmp_path / "x.pt")
    nt.save({"a": nt.arange(6.0), "e": nt.ones(0)}, path)
    before = path.read_bytes()
    found = nt.load(path, mmap=True)
    assert same(found, {"a": nt.arange(6.0), "e": nt.ones(0)})
    found["a"][0] = 5.0  # in memory only
    assert found["a"][0].item() == 5.0
    assert path.read_bytes() == before
    assert (found["a"] * 2).tolist() == [10, 2, 4, 6, 8, 10]
    path.unlink()
    assert found["a"].sum().item() == 20.0
    with pytest.raises(MmapError, match="f must be a file path in order to use"):
        nt.load(io.BytesIO(before), mmap=True)


def test_a_mapped_tensor_keeps_the_map_alive(tmp_path):
    path = tmp_path / "x.pt"
    nt.save([nt.arange(1000.0)], path)
    views = [nt.load(path, mmap=True)[0][k:] for k in range(5)]
    assert [v[0].item() for v in views] == [0, 1, 2, 3, 4]


def test_permissions_are_those_that_open_gives(tmp_path):
    path, other = tmp_path / "x.pt", tmp_path / "plain"
    old = os.umask(0o027)
    try:
        nt.save(1, path)
        other.write_bytes(b"")
    finally:
        os.umask(old)
    assert path.stat().st_mode == other.stat().st_mode
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    nt.save(2, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_links_are_followed(tmp_path):
    target, link = tmp_path / "target.pt", tmp_path / "link.pt"
    nt.save(1, target)
    link.symlink_to(target)
    nt.save(2, link)
    assert link.is_symlink()
    assert nt.load(target) == 2
    nt.save(3, os.devnull)


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(FolderError, match="Parent directory .*none does not exist"):
        nt.save(1, tmp_path / "none" / "x.pt")
    with pytest.raises(FileNotFoundError):
        nt.save(1, tmp_path / "none" / "x.npy")
    with pytest.raises(IsADirectoryError):
        nt.save(1, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ["pt", "npz", "npy", "safetensors"])
def test_a_fault_on_the_way_leaves_the_old_file(tmp_path, monkeypatch, ending):
    if ending == "safetensors":
        pytest.importorskip("safetensors")
    path = tmp_path / f"x.{ending}"
    value = nt.ones(2) if ending == "npy" else {"a": nt.ones(2)}
    nt.save(value, path)
    with pytest.raises(PicklingError):
        nt.save({"a": nt.ones(100), "b": Thing()}, path)

    def full(number):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            nt.save(value, path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert same(nt.load(path), value)


def test_a_process_that_is_killed_while_it_writes_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.pt"
    nt.save({"old": nt.ones(3)}, path)
    code = """
import sys, time
import numtensor as nt
from numtensor.serialization import packing
real = packing.Packer.record
def slow(self, name, *parts):
    real(self, name, *parts)
    if "/data/" in name:
        self._file.flush()
        print("writing", flush=True)
        time.sleep(60)
packing.Packer.record = slow
nt.save({"new": nt.ones(5), "more": nt.ones(1)}, sys.argv[1])
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert len(list(tmp_path.iterdir())) == 2  # what was written so far, beside it
    assert same(nt.load(path), {"old": nt.ones(3)})


def test_a_reader_never_sees_half_a_file(tmp_path):
    path = tmp_path / "x.pt"
    nt.save({"n": 0, "x": nt.zeros(1000)}, path)
    code = """
import sys
import numtensor as nt
for n in range(1, 200):
    nt.save({"n": n, "x": nt.full((1000,), float(n))}, sys.argv[1])
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(path)])
    seen = set()
    while process.poll() is None:
        found = nt.load(path)
        assert (found["x"] == found["n"]).all()
        seen.add(found["n"])
        time.sleep(0.002)
    assert process.returncode == 0
    assert len(seen) > 1


def test_importing_numtensor_imports_no_files():
    code = """
import sys
import numtensor as nt
assert not any("serialization" in name for name in sys.modules)
assert "zipfile" not in sys.modules
nt.save
nt.serialization.load
assert "zipfile" not in sys.modules and "safetensors" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not hasattr(nt.serialization, "add_safe_globals")
