"""Files exchanged with PyTorch, both ways, where it is installed."""

from __future__ import annotations

import io
from collections import Counter, OrderedDict

import numpy as np
import pytest

import numtensor as nt
from numtensor.errors import DTypeError
from numtensor.nn.parameter import Parameter
from numtensor.serialization import FileError, UnpicklingError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

KINDS = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")
FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def theirs(value, zipped=True):
    """Return a file that PyTorch wrote."""
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    file.seek(0)
    return file


def ours(value):
    file = io.BytesIO()
    nt.save(value, file)
    file.seek(0)
    return file


def same(a, b):
    """Whether an object of numtensor's and one of PyTorch's are the same."""
    if isinstance(a, nt.Tensor):
        return (
            isinstance(b, torch.Tensor)
            and str(a.dtype) == str(b.dtype)
            and tuple(a.shape) == tuple(b.shape)
            and a.stride() == b.stride()
            and a.storage_offset() == b.storage_offset()
            and a.requires_grad == b.requires_grad
            and isinstance(a, Parameter) == isinstance(b, torch.nn.Parameter)
            and np.array_equal(a.detach().numpy(), b.detach().numpy())
        )
    if isinstance(a, (nt.dtype, nt.device, nt.Size)):
        return str(a) == str(b) and type(a).__name__ == type(b).__name__
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def network():
    """Return a convolutional network of PyTorch's that has run."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3),
        torch.nn.BatchNorm2d(2),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 3),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    net(torch.rand(2, 1, 4, 4)).sum().backward()
    optimizer.step()
    return net, optimizer


@FORMATS
def test_state_dicts_of_pytorch(zipped):
    net, optimizer = network()
    state = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    found = nt.load(theirs(state, zipped))
    assert same(found, state)
    assert found["model"]._metadata == state["model"]._metadata
    back = torch.load(ours(found), weights_only=True)
    net.load_state_dict(back["model"])
    optimizer.load_state_dict(back["optimizer"])


def containers(t):
    """Return one nest, of either library's tensors."""
    base = t.arange(12.0).reshape(3, 4)
    return {
        "shared": [base, base.t()[1:], base[1], base[2, 3], base[::2, 1::2]],
        "numbers": (1, -5, 300, 70000, 2**40, -(2**90), 1.5, True, None, 1 + 2j),
        "bytes": [b"ab", b"", bytearray(b"c")],
        "text": "é\n",
        "set": {1, 2},
        "ordered": OrderedDict(a=1, b=[t.zeros(2, dtype=t.int16)]),
        "counter": Counter("aab"),
        "parameter": (Parameter if t is nt else t.nn.Parameter)(t.ones(2)),
        "leaf": t.ones(2, requires_grad=True),
        "empty": [t.zeros(0), t.zeros(2, 0, 3), t.tensor(3)],
        "expanded": t.ones(1).expand(3, 2),
        "about": [t.float64, t.bool, t.device("cpu"), t.device("cuda", 1)],
        "size": t.ones(2, 3).shape,
        5: {"deep": [[[[()]]]]},
    }


@FORMATS
def test_containers_of_pytorch(zipped):
    value = containers(torch)
    found = nt.load(theirs(value, zipped))
    assert same(found, value)
    found["shared"][0][2, 3] = -1.0
    assert found["shared"][3].item() == -1.0
    assert found["shared"][1][2, 2].item() == -1.0


@pytest.mark.parametrize("mapped", [False, True])
def test_our_containers_in_pytorch(tmp_path, mapped):
    value = containers(nt)
    del value["bytes"][1]
    nt.save(value, tmp_path / "x.pt")
    found = torch.load(tmp_path / "x.pt", weights_only=True, mmap=mapped)
    assert same({**value, "bytes": found["bytes"]}, found)
    assert found["bytes"] == [b"ab", bytearray(b"c")]
    found["shared"][0][2, 3] = -1.0
    assert found["shared"][3].item() == -1.0
    assert found["shared"][1][2, 2].item() == -1.0


@pytest.fixture
def by_sizes():
    """Let PyTorch compute where records are instead of looking."""
    from torch.utils.serialization import config

    config.load.calculate_storage_offsets = True
    yield
    config.load.calculate_storage_offsets = False


def test_pytorch_can_work_out_where_our_records_are(tmp_path, monkeypatch, by_sizes):
    """It does where it is told to, from sizes alone, and can check what it finds."""
    value = {k: nt.ones(n, dtype=nt.uint8) for k, n in enumerate((1, 0, 63, 64, 1000))}
    nt.save(value, tmp_path / "x.pt")
    monkeypatch.setenv("TORCH_SERIALIZATION_DEBUG", "1")
    assert same(value, torch.load(tmp_path / "x.pt"))
    assert same(value, torch.load(tmp_path / "x.pt", mmap=True))


@FORMATS
@pytest.mark.parametrize("kind", KINDS)
def test_every_dtype(zipped, kind):
    x = torch.arange(6).to(getattr(torch, kind)).reshape(2, 3)
    value = [x, x.t(), x[1:], x[0, 0], x[:, 1]]
    found = nt.load(theirs(value, zipped))
    assert same(found, value)
    assert same(found, torch.load(ours(found), weights_only=True))


@FORMATS
def test_float16(zipped):
    x = torch.tensor([1.5, -2.0, 6e-5, float("inf")], dtype=torch.float16)
    file = theirs({"x": x}, zipped)
    found = nt.load(file)
    assert same(found, {"x": x})
    assert same(found, torch.load(ours(found), weights_only=True))


@FORMATS
@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: torch.ones(2, dtype=torch.bfloat16), "torch.bfloat16"),
        (lambda: torch.ones(2, dtype=torch.complex64), "torch.complex64"),
        (lambda: torch.ones(2, dtype=torch.uint16), "torch.uint16"),
        (lambda: torch.eye(2).to_sparse(), "torch._utils._rebuild_sparse_tensor"),
        (lambda: torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        (lambda: np.ones(2), "numpy"),
        (lambda: np.float64(2), "numpy"),
        (lambda: torch.ones(2).untyped_storage(), "storage"),
        (lambda: torch.ones(2).storage(), "storage"),
        (lambda: torch.Size, "torch.Size"),
    ],
    ids=range(10),
)
def test_what_is_no_plain_tensor_is_refused_by_name(zipped, make, text):
    try:
        file = theirs([make()], zipped)
    except Exception as error:
        pytest.skip(f"PyTorch does not write it: {error}")
    with pytest.raises((UnpicklingError, DTypeError)) as raised:
        nt.load(file)
    assert text in str(raised.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_file_is_refused(tmp_path):
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(tmp_path / "x.pt")
    with pytest.raises(UnpicklingError, match="TorchScript program"):
        nt.load(tmp_path / "x.pt")


def test_attributes_of_tensors(tmp_path):
    x = torch.ones(2)
    x.tag = "t"
    p = torch.nn.Parameter(torch.ones(1))
    p.tag = "p"
    found = nt.load(theirs([x, p]))
    assert same(found, [x, p])
    assert not hasattr(found[0], "tag")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_protocols(protocol):
    file = io.BytesIO()
    value = containers(torch)
    torch.save(value, file, pickle_protocol=protocol)
    file.seek(0)
    assert same(nt.load(file), value)


def test_paths_and_mmap(tmp_path):
    value = {"a": torch.arange(6.0).reshape(2, 3).t(), "i": torch.arange(3)}
    torch.save(value, tmp_path / "model.safetensors")  # its ending says nothing
    for mapped in (False, True):
        assert same(nt.load(tmp_path / "model.safetensors", mmap=mapped), value)
    torch.save(value, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert same(nt.load(tmp_path / "old.pt"), value)
    with pytest.raises(FileError, match="mmap can only be used with files saved with"):
        nt.load(tmp_path / "old.pt", mmap=True)


def test_files_without_checksums():
    """An option of PyTorch's, for speed: all of them are 0 then."""
    torch.serialization.set_crc32_options(False)
    try:
        file = theirs(containers(torch))
    finally:
        torch.serialization.set_crc32_options(True)
    assert same(nt.load(file), containers(torch))


def test_several_legacy_objects_in_one_file():
    file = io.BytesIO()
    for k in range(3):
        torch.save(
            torch.full((3,), float(k)), file, _use_new_zipfile_serialization=False
        )
    file.seek(0)
    assert [nt.load(file).tolist() for _ in range(3)] == [[k] * 3 for k in (0, 1, 2)]


def test_names_do_not_disturb_pytorch():
    x = nt.ones(2, 3).refine_names("a", "b")
    found = torch.load(ours([x, nt.ones(1)]), weights_only=True)
    assert found[0].shape == (2, 3)
    assert nt.load(theirs(found))[0].names == (None, None)


def test_safetensors_of_pytorch(tmp_path):
    package = pytest.importorskip("safetensors.torch")
    path = tmp_path / "x.safetensors"
    value = {k: torch.arange(3).to(getattr(torch, k)) for k in KINDS}
    package.save_file(value, path, {"format": "pt"})
    found, metadata = nt.load(path, with_metadata=True)
    assert metadata == {"format": "pt"}
    assert same(dict(sorted(found.items())), dict(sorted(value.items())))
    nt.save(found, path)
    back = package.load_file(path)
    assert same(dict(sorted(found.items())), dict(sorted(back.items())))
    package.save_file({"x": torch.ones(2, dtype=torch.bfloat16)}, path)
    with pytest.raises(DTypeError, match="elements of dtype BF16 in 'x' of"):
        nt.load(path)
