"""Formats that others write: PyTorch's from bytes, safetensors, NumPy's; locations."""

from __future__ import annotations

import io
import sys
from collections import OrderedDict

import laws
import numpy as np
import pytest
import torch_made as made
from test_files import again, same

import numtensor as nt
from numtensor.errors import DeviceError, DTypeError
from numtensor.kernels.cuda import driver
from numtensor.nn.parameter import Parameter
from numtensor.serialization import FileError, PicklingError


def state():
    """Return (object for a pickle, its storages, what it should load as)."""
    weight = np.arange(12, dtype=np.float32)
    steps = np.array([3], np.int64)
    whole = made.storage("0", 12)
    obj = {
        "state": OrderedDict(
            weight=made.tensor(whole, (3, 4), (4, 1)),
            transposed=made.tensor(whole, (4, 2), (1, 4), offset=4),
        ),
        "w": made.torch(
            "_rebuild_parameter", made.tensor(whole, (12,), (1,)), True, OrderedDict()
        ),
        "grad": made.tensor(whole, (), (), 5, requires_grad=True),
        "step": made.tensor(made.storage("1", 1, "int64"), (1,), (1,)),
        "size": made.Call(made.Name("torch", "Size"), (2, 3)),
        "device": made.Call(made.Name("torch", "device"), "cuda", 1),
        "dtype": made.Name("torch", "float64"),
        "plain": [1, (2.5, None), {"k": {1, 2}}, b"ab", 2**70, "é"],
    }
    w = nt.tensor(weight)
    expected = {
        "state": OrderedDict(
            weight=w.reshape(3, 4), transposed=w[4:].reshape(2, 4).t()
        ),
        "w": Parameter(w),
        "grad": w[5].detach().requires_grad_(),
        "step": nt.tensor(steps),
        "size": nt.Size([2, 3]),
        "device": nt.device("cuda:1"),
        "dtype": nt.float64,
        "plain": [1, (2.5, None), {"k": {1, 2}}, b"ab", 2**70, "é"],
    }
    return obj, {"0": weight.tobytes(), "1": steps.tobytes()}, expected


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_the_zip_format(protocol):
    obj, storages, expected = state()
    data = made.archive(made.pickled(obj, protocol), storages)
    found = nt.load(io.BytesIO(data))
    assert same(found, expected)
    found["state"]["weight"][1, 1] = -1.0
    assert found["w"][5].item() == found["grad"].item() == -1.0
    assert found["state"]["transposed"][1, 0].item() == -1.0


def test_the_legacy_format():
    obj, storages, expected = state()
    obj["part"] = made.tensor(
        made.storage("0", 12, "float32", "cpu", ("v", 8, 4)), (2, 2), (2, 1)
    )
    obj["whole"] = made.tensor(
        made.storage("0", 12, "float32", "cpu", None), (1,), (1,)
    )
    data = made.legacy(obj, {"0": (4, storages["0"]), "1": (8, storages["1"])})
    file = io.BytesIO(b"before" + data + b"after")
    file.seek(6)
    found = nt.load(file)
    assert file.read() == b"after"
    part, whole = found.pop("part"), found.pop("whole")
    assert part.tolist() == [[8, 9], [10, 11]] and whole.tolist() == [0]
    assert same(found, expected)
    found["w"].detach()[9] = -1.0
    assert part[0, 1].item() == -1.0


@pytest.mark.parametrize("dtype", made.CLASSES)
def test_every_dtype_in_both_formats(dtype):
    array = np.array([0, 1, 1, 0, 1]).astype(dtype)
    obj = made.tensor(made.storage("0", 5, dtype), (5,), (1,))
    expected = nt.tensor(array)
    zipped = made.archive(made.pickled(obj), {"0": array.tobytes()})
    assert same(nt.load(io.BytesIO(zipped)), expected)
    old = made.legacy(obj, {"0": (array.itemsize, array.tobytes())})
    assert same(nt.load(io.BytesIO(old)), expected)


def test_dtypes_that_tensors_do_not_have():
    for cls, dtype, advice in (
        ("BFloat16Storage", "bfloat16", "x.float()"),
        ("ComplexFloatStorage", "complex64", "torch.view_as_real(x)"),
        ("QInt8Storage", "qint8", "x.dequantize()"),
    ):
        name = made.Name("torch", cls)
        obj = made.tensor(made.Reference("storage", name, "0", "cpu", 1), (1,), (1,))
        with pytest.raises(DTypeError) as raised:
            nt.load(io.BytesIO(made.archive(made.pickled(obj), {"0": b"12345678"})))
        assert f"got elements of dtype torch.{dtype} in the file" in str(raised.value)
        assert str(raised.value).endswith(f"Save {advice} with PyTorch instead.")
    with pytest.raises(DTypeError, match="torch.uint16"):
        nt.load(io.BytesIO(made.archive(made.pickled(made.Name("torch", "uint16")))))


def test_numbers_of_the_other_byte_order():
    other = "big" if sys.byteorder == "little" else "little"
    array = np.arange(5, dtype=np.float32)
    obj = made.pickled(made.tensor(made.storage("0", 5), (5,), (1,)))
    data = made.archive(obj, {"0": array.byteswap().tobytes()}, byteorder=other)
    assert same(nt.load(io.BytesIO(data)), nt.tensor(array))
    data = made.archive(obj, {"0": array.tobytes()}, byteorder=None)
    assert same(nt.load(io.BytesIO(data)), nt.tensor(array))
    with pytest.raises(FileError, match="byte order b'middle'"):
        nt.load(io.BytesIO(made.archive(obj, byteorder="middle")))
    old = made.legacy(1, little=sys.byteorder != "little")
    with pytest.raises(FileError, match="numbers of another byte order"):
        nt.load(io.BytesIO(old))


def test_attributes_of_tensors_and_parameters_are_dropped():
    data = made.tensor(made.storage("0", 1), (1,), (1,))
    inner = data.made
    typed = made.Call(
        made.Name("torch._tensor", "_rebuild_from_type_v2"),
        inner[0],
        made.Name("torch", "Tensor"),
        inner[1],
        {"numpy": 3},
    )
    parameter = made.torch(
        "_rebuild_parameter_with_state", data, True, OrderedDict(), {"tag": 1}
    )
    obj = made.pickled([typed, parameter])
    found = nt.load(io.BytesIO(made.archive(obj, {"0": b"\0\0\0\0"})))
    assert same(found, [nt.zeros(1), Parameter(nt.zeros(1))])
    assert found[0].numpy().tolist() == [0.0]
    assert not hasattr(found[1], "tag")


# where storages go


@pytest.mark.cuda
def test_float16_of_a_gpu_is_for_the_host():
    obj = made.tensor(made.storage("0", 2, "float16", "cuda:0"), (2,), (1,))
    data = made.archive(made.pickled(obj), {"0": np.ones(2, np.float16).tobytes()})
    with pytest.raises(DTypeError, match="Load it with map_location='cpu'."):
        nt.load(io.BytesIO(data))
    assert nt.load(io.BytesIO(data), "cpu").tolist() == [1.0, 1.0]


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_locations(dtype):
    x = nt.tensor(np.arange(3).astype(dtype), device="cuda")
    cpu = x.cpu()
    assert again(x).device == nt.device("cuda:0")
    for where in (
        "cpu",
        nt.device("cpu"),
        {"cuda:0": "cpu"},
        lambda storage, location: storage,
        lambda storage, location: storage.cpu(),
    ):
        assert same(again(x, map_location=where), cpu)
    for where in (
        "cuda",
        "cuda:0",
        nt.device("cuda", 0),
        {"cpu": "cuda:0"},
        lambda storage, location: storage.cuda(0),
        lambda storage, location: storage.cuda(),
    ):
        assert same(again(cpu, map_location=where), x)
    seen = []
    again([x, cpu], map_location=lambda storage, location: seen.append(location))
    assert seen == ["cuda:0", "cpu"]
    array = cpu.numpy()
    size = array.itemsize
    obj = made.tensor(made.storage("0", 3, dtype, "cuda:0", None), (3,), (1,))
    old = made.legacy(obj, {"0": (size, array.tobytes())})
    assert same(nt.load(io.BytesIO(old)), x)
    assert same(nt.load(io.BytesIO(old), map_location="cpu"), cpu)
    moved = nt.load(io.BytesIO(old), map_location=lambda s, location: s.cuda())
    assert same(moved, x)


def test_a_device_that_this_machine_does_not_have(monkeypatch):
    def located(where):
        obj = made.tensor(made.storage("0", 1, "float32", where), (1,), (1,))
        return io.BytesIO(made.archive(made.pickled(obj), {"0": b"\0\0\0\0"}))

    for count, index, sentence in (
        (0, 0, "Attempting to deserialize object on a CUDA device but torch.cuda.is"),
        (1, 3, "on CUDA device 3 but torch.cuda.device_count() is 1"),
    ):
        none = type("Driver", (), {"count": lambda self, n=count: n})()
        monkeypatch.setattr(driver, "current", lambda none=none: none)
        with pytest.raises(DeviceError) as raised:
            nt.load(located(f"cuda:{index}"))
        assert sentence in str(raised.value)
        assert "map_location" in str(raised.value)
        assert same(nt.load(located(f"cuda:{index}"), "cpu"), nt.zeros(1))
    with pytest.raises(DeviceError, match="Use map_location='cpu' to load to the CPU."):
        nt.load(located("mps"))
    with pytest.raises(DTypeError, match="map_location of type int; expected None, a"):
        nt.load(located("cpu"), map_location=3)
    with pytest.raises(DTypeError, match="got a str from map_location"):
        nt.load(located("cpu"), map_location=lambda storage, location: "cpu")
    small = nt.ones(1).untyped_storage()
    with pytest.raises(DTypeError, match="got 4 bytes from map_location; expected"):
        again(nt.ones(2), map_location=lambda storage, location: small)


# NumPy's formats


@pytest.mark.parametrize("dtype", laws.DTYPES)
@pytest.mark.parametrize("layout", ["contiguous", "transposed", "sliced"])
def test_npy(tmp_path, device, dtype, layout):
    array = (np.arange(6) % 2).reshape(2, 3).astype(dtype)
    x = laws.LAYOUTS[layout](array)
    nt.save(x, tmp_path / "x.npy")
    back = np.load(tmp_path / "x.npy")
    assert back.dtype == array.dtype and np.array_equal(back, array)
    for mapped in (False, True):
        found = nt.load(tmp_path / "x.npy", map_location=device, mmap=mapped)
        assert same(found, laws.made(array))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_of_numpy(tmp_path, save):
    arrays = {
        "a": np.arange(6.0).reshape(2, 3),
        "f": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "big": np.arange(3, dtype=">i4"),
        "s": np.array(True),
        "e": np.ones((0, 2), np.float32),
    }
    save(tmp_path / "x.npz", **arrays)
    for mapped in (False, True):
        found = nt.load(tmp_path / "x.npz", mmap=mapped)
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            assert np.array_equal(found[name].numpy(), array)
        assert found["f"].stride() == (1, 2)
        found["a"][0, 0] = 1.0  # writable


def test_npz(tmp_path):
    value = {
        "file": nt.arange(6).reshape(2, 3).t(),
        "b/c": nt.tensor(1.5, requires_grad=True),
        "e": nt.ones(0),
    }
    nt.save(value, tmp_path / "x.npz")
    back = np.load(tmp_path / "x.npz")
    assert list(back) == list(value)
    for name, x in value.items():
        assert np.array_equal(back[name], x.detach().numpy())
    for mapped in (False, True):
        found = nt.load(tmp_path / "x.npz", mmap=mapped)
        assert found["file"].tolist() == [[0, 3], [1, 4], [2, 5]]
    nt.save({}, tmp_path / "none.npz")
    assert nt.load(tmp_path / "none.npz") == {}


def test_numpy_files_hold_tensors_only(tmp_path):
    with pytest.raises(
        PicklingError, match="got a dict for a .npy file; expected a te"
    ):
        nt.save({"a": nt.ones(1)}, tmp_path / "x.npy")
    for value in ({"a": 1}, {1: nt.ones(1)}, [nt.ones(1)], {"": nt.ones(1)}):
        with pytest.raises(PicklingError, match="expected a dict of tensors by their"):
            nt.save(value, tmp_path / "x.npz")
    assert list(tmp_path.iterdir()) == []
    for array, error, text in (
        (np.array([{}]), FileError, "a pickle, which is never read: nothing was run"),
        (np.array(["a"]), DTypeError, "elements of dtype <U1 in "),
        (np.ones(1, np.complex64), DTypeError, "dtype complex64 in "),
        (np.ones(1, "f4,i4"), DTypeError, "convert it with astype"),
    ):
        np.save(tmp_path / "x.npy", array)
        np.savez(tmp_path / "x.npz", a=array)
        for path in (tmp_path / "x.npy", tmp_path / "x.npz"):
            with pytest.raises(error) as raised:
                nt.load(path)
            assert text in str(raised.value)


def test_hdf5_as_programs_use_it(tmp_path):
    h5py = pytest.importorskip("h5py")
    x = nt.arange(6.0).reshape(2, 3)
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file.create_dataset("coords", data=x.numpy())
    with h5py.File(tmp_path / "x.hdf5", "r") as file:
        last = nt.from_numpy(file["coords"][-1:])
    assert same(last, nt.tensor([[3.0, 4.0, 5.0]]))
    with pytest.raises(FileError, match="Open it with h5py.File"):
        nt.load(tmp_path / "x.hdf5")


# safetensors


def test_safetensors(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "x.safetensors"
    value = {k: nt.arange(2).to(getattr(nt, k)) for k in laws.DTYPES}
    value["t"] = nt.arange(6.0).reshape(2, 3).t()
    value["s"] = nt.tensor(1.5)
    value["e"] = nt.ones(0, 3)
    nt.save(value, path, metadata={"made": "here", "é": ""})
    back = numpy.load_file(path)
    for name, x in value.items():
        assert np.array_equal(back[name], x.numpy())
    for f in (path, str(path), io.BytesIO(path.read_bytes())):
        found, metadata = nt.load(f, with_metadata=True)
        assert metadata == {"made": "here", "é": ""}
        assert set(found) == set(value)
        for name, x in value.items():
            assert same(found[name], x.contiguous())
    mapped = nt.load(path, mmap=True)
    assert all(same(mapped[name], x.contiguous()) for name, x in value.items())
    numpy.save_file({"a": np.ones(2)}, path)
    assert same(nt.load(path), {"a": nt.ones(2, dtype=nt.float64)})
    assert nt.load(path, with_metadata=True)[1] == {}


def test_safetensors_on_devices(tmp_path, device):
    pytest.importorskip("safetensors")
    x = laws.made(np.arange(3.0))
    nt.save({"x": x}, tmp_path / "x.safetensors")
    assert same(nt.load(tmp_path / "x.safetensors", device), {"x": x})


def test_safetensors_keep_names(tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "x.safetensors"
    value = {"x": nt.ones(1, 2).refine_names("n", None), "y": nt.ones(1)}
    nt.save(value, path, metadata={"a": "b"})
    found, metadata = nt.load(path, with_metadata=True)
    assert found["x"].names == ("n", None) and found["y"].names == (None,)
    assert metadata == {"a": "b"}
    for names in ("{", "[]", '{"x": 3}', '{"x": ["a"]}', '{"x": ["a", "a"]}'):
        numpy = pytest.importorskip("safetensors.numpy")
        numpy.save_file({"x": np.ones((1, 2))}, path, {"numtensor.names": names})
        with pytest.raises(FileError):
            nt.load(path)


def test_safetensors_that_are_refused(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "x.safetensors"
    with pytest.raises(
        PicklingError, match="expected a dict of tensors by their names"
    ):
        nt.save([nt.ones(1)], path)
    for metadata in ({"a": 1}, {1: "a"}):
        with pytest.raises(PicklingError, match="Use str\\(value\\) or json.dumps"):
            nt.save({"x": nt.ones(1)}, path, metadata=metadata)
    with pytest.raises(PicklingError, match="expected a path ending in '.safetensors'"):
        nt.save({"x": nt.ones(1)}, tmp_path / "x.pt", metadata={"a": "b"})
    with pytest.raises(PicklingError, match="this one is ours"):
        nt.save({}, path, metadata={"numtensor.names": "{}"})
    numpy.save_file({"x": np.ones(1, np.uint16)}, path)
    with pytest.raises(DTypeError, match="elements of dtype U16 in 'x' of"):
        nt.load(path)
    nt.save(nt.ones(1), tmp_path / "x.pt")
    with pytest.raises(FileError, match="Other formats have no metadata."):
        nt.load(tmp_path / "x.pt", with_metadata=True)


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match="pip install 'numtensor\\[files\\]'"):
        nt.save({"x": nt.ones(1)}, tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []
