"""Pickles made to harm, and garbled ones: refused by name, and nothing of them run."""

from __future__ import annotations

import io
import pickle
import tarfile

import pytest
import torch_made as made
from torch_made import Call, Name, refusal

import numtensor as nt
from numtensor.serialization import UnpicklingError

UNRUN = "It was refused, and nothing of it was run."


def wrapped(pickle_bytes):
    """Return the files that a pickle can come in."""
    old = [made.pickled(part) for part in (made.MAGIC, 1001, {"little_endian": True})]
    return [made.archive(pickle_bytes), b"".join([*old, pickle_bytes])]


def evil(marker):
    """Return pickles that would make a file, by name of what they would call."""
    command = f"touch {marker}"
    system = Name("os", "system")
    touch = (f"open({str(marker)!r}, 'w')",)
    tensor = made.tensor(made.storage("0", 1), (1,), (1,))
    return {
        "os.system": made.pickled(Call(system, command)),
        "posix.system": made.pickled(
            [1, {"a": Call(Name("posix", "system"), command)}]
        ),
        "builtins.eval": made.pickled(Call(Name("builtins", "eval"), *touch)),
        "builtins.exec": made.pickled(Call(Name("__builtin__", "exec"), *touch)),
        "builtins.open": made.pickled(
            (((Call(Name("builtins", "open"), str(marker), "w"),),),), 4
        ),
        "builtins.getattr": made.pickled(
            Call(Name("builtins", "getattr"), tensor, "backward"), 4
        ),
        "torch.nn.modules.linear.Linear": made.pickled(
            Call(Name("torch.nn.modules.linear", "Linear"), 2, 2)
        ),
        "torch.serialization.load": made.pickled(
            Call(Name("torch.serialization", "load"), str(marker))
        ),
        "numtensor.save": made.pickled(Call(Name("numtensor", "save"), 1, str(marker))),
        "torch._utils._import_dotted_name": made.pickled(
            made.torch("_import_dotted_name", "os.system")
        ),
        "collections.OrderedDict.fromkeys": made.pickled(
            Call(Name("collections", "OrderedDict.fromkeys"), []), 4
        ),
        "os.system ": b"(S'" + command.encode() + b"'\nios\nsystem\n.",
    }


@pytest.mark.parametrize("name", evil("x"))
def test_a_pickle_that_would_run_code(tmp_path, name):
    marker = tmp_path / "marker"
    data = evil(marker)[name]
    for file in wrapped(data):
        text = refusal(file, UnpicklingError)
        assert UNRUN in text
        assert name.strip() in text or "instruction STRING" in text
    assert not marker.exists()
    with pytest.raises(pickle.UnpicklingError):
        nt.load(io.BytesIO(made.archive(data)))


def test_inst_is_refused_by_name(tmp_path):
    marker = tmp_path / "marker"
    data = b"\x80\x02(X\x01\x00\x00\x00aios\nsystem\n."
    for file in wrapped(data):
        assert "got an instance of 'os.system' in" in refusal(file, UnpicklingError)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (b"\x82\x01", "EXT1"), (b"\x83\x01\x00", "EXT2"), (b"\x84\x01\0\0\0", "EXT4"),
        (b"(o", "OBJ"), (b"Pname\n", "PERSID"), (b"\x92", "NEWOBJ_EX"),
        (b"\x97", "NEXT_BUFFER"), (b"K\x012", "DUP"), (b"I1\n", "INT"),
        (b"(d", "DICT"), (b"g0\n", "GET"), (b"F1.0\n", "FLOAT"),
    ],
)  # fmt: skip
def test_instructions_that_data_does_not_need(code, name):
    text = refusal(wrapped(b"\x80\x02" + code + b".")[0], UnpicklingError)
    assert f"the pickle instruction {name}" in text


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        # calling what is no function of the table
        (Call(Name("torch", "FloatStorage")), "a call of 'torch.FloatStorage'"),
        (Name("torch", "FloatStorage"), "'torch.FloatStorage' as data"),
        ([(Name("torch", "Size"),)], "'torch.Size' as data"),
        (made.storage("0", 1), "as data"),
        ({made.storage("0", 1): 1}, "as data"),
        # attributes, of what has none to set
        (Call(Name("builtins", "set"), [], state={"a": 1}), "attributes of a set"),
        (
            Call(*made.tensor(made.storage("0", 1), (1,), (1,)).made[:1], *made.tensor(
                made.storage("0", 1), (1,), (1,)).made[1], state={"item": 1}),
            "setting attributes of a Tensor",
        ),
        (Call(Name("collections", "OrderedDict"), state=[1]), "attributes in a list"),
        # arguments that ask for memory, or for something else
        (Call(Name("builtins", "bytearray"), 2**40), "bytes of a int"),
        (Call(Name("builtins", "set"), "abc"), "a set of a str"),
        (Call(Name("builtins", "complex"), "1", 2), "complex number of no floats"),
        (Call(Name("_codecs", "encode"), "a", "rot13"), "text to encode as 'rot13'"),
        (Call(Name("collections", "Counter"), [1]), "a Counter of no dict"),
        (Call(Name("collections", "OrderedDict"), [3]), "an OrderedDict of no pairs"),
        (Call(Name("torch", "Size"), [-1]), "a size or stride of -1"),
        (Call(Name("torch", "Size"), 5), "a size that is 5"),
        (Call(Name("torch", "device"), 5), "a device 5"),
        (made.torch("_rebuild_parameter", 5, True, None), "a parameter of a int"),
        (made.torch("_rebuild_tensor", 1, 0, (1,), (1,)), "a tensor over a int"),
        (made.torch("_rebuild_tensor", 1), "makes no sense"),
        (Call(Name("torch._tensor", "_rebuild_from_type_v2"), 1, 2, (), {}), "no "),
        (
            Call(
                Name("torch._tensor", "_rebuild_from_type_v2"),
                Name("torch._utils", "_rebuild_tensor"), Name("torch", "Size"), (), {},
            ),
            "a 'torch.Size'",
        ),
    ],
    ids=range(22),
)  # fmt: skip
def test_calls_with_what_does_not_fit(obj, text):
    data = made.archive(made.pickled(obj), {"0": b"\0\0\0\0"})
    assert text in refusal(data)


@pytest.mark.parametrize(
    "elements, size, stride, offset",
    [
        (1, (2,), (1,), 0),
        (1, (1,), (1,), 1),
        (1, (1,), (1,), -1),
        (1, (1,), (1,), 2**70),
        (1, (1,), (1,), "0"),
        (4, (2, 2), (2, 2), 0),
        (4, (2,), (-1,), 1),
        (4, (2, 2), (1,), 0),
        (4, (2.0,), (1,), 0),
        (4, (True,), (1,), 0),
        (4, 4, 1, 0),
        (1, (2**62, 2**62), (0, 0), 0),
        (1, (2**62, 0), (1, 1), 0),
        (1, (0,), (2**63,), 0),
        (1, (1,) * 65, (1,) * 65, 0),
        (1, (2**31, 2**31), (2**31, 1), 0),
    ],
)
def test_tensors_that_reach_outside_their_storage(elements, size, stride, offset):
    obj = made.tensor(made.storage("0", elements), size, stride, offset)
    raw = bytes(4 * elements)
    for data in (
        made.archive(made.pickled(obj), {"0": raw}),
        made.legacy(obj, {"0": (4, raw)}),
    ):
        text = refusal(data)
        assert "a tensor of size" in text or "a size" in text


def test_dtypes_that_cannot_require_grad():
    obj = made.tensor(made.storage("0", 1, "int64"), (1,), (1,), requires_grad=True)
    text = refusal(made.archive(made.pickled(obj), {"0": bytes(8)}))
    assert "a torch.int64 tensor that requires grad" in text


@pytest.mark.parametrize(
    ("pid", "text"),
    [
        ((), "a reference ()"),
        (("module", 1, 2, 3, 4), "a reference ('module'"),
        (("storage", Name("torch", "FloatStorage"), 0, "cpu", 1), "a reference"),
        (
            ("storage", Name("torch", "FloatStorage"), "0", "cpu", 2**40),
            "expected the 4",
        ),
        (("storage", Name("torch", "FloatStorage"), "0", "cpu", -1), "expected the -4"),
        (("storage", Name("torch", "FloatStorage"), "0", "cpu", 2), "4 bytes of data"),
        (("storage", Name("torch", "FloatStorage"), "7", "cpu", 1), "no record"),
        (("storage", Name("torch", "FloatStorage"), "../0", "cpu", 1), "no record"),
        (("storage", Name("torch", "Size"), "0", "cpu", 1), "a storage of an unknown"),
        (("storage", 3, "0", "cpu", 1), "a storage of an unknown class"),
    ],
    ids=range(10),
)
def test_references_that_do_not_fit_the_records(pid, text):
    obj = made.tensor(made.Reference(*pid), (1,), (1,))
    data = made.archive(made.pickled(obj), {"0": b"\0\0\0\0"})
    assert text in refusal(data)


def test_one_storage_of_two_sizes():
    name = Name("torch", "ByteStorage")
    obj = [
        made.tensor(made.storage("0", 1), (1,), (1,)),
        made.tensor(made.Reference("storage", name, "0", "cpu", 1), (1,), (1,)),
    ]
    data = made.archive(made.pickled(obj), {"0": b"\0\0\0\0"})
    assert "two sizes or places of storage '0'" in refusal(data)
    assert "two sizes of" in refusal(made.legacy(obj, {"0": (4, b"\0\0\0\0")}))
    obj[1] = made.tensor(made.storage("0", 1, "int32"), (1,), (1,))
    assert "or two dtypes, in" in refusal(made.legacy(obj, {"0": (4, b"\0\0\0\0")}))


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("_codecs.encode", ("a" * 100_000, "latin1")),
        ("builtins.bytearray", (b"a" * 100_000,)),
        ("builtins.set", (list(range(5000)),)),
        ("collections.OrderedDict", ([(k, k) for k in range(5000)],)),
        ("collections.Counter", (dict.fromkeys(range(5000), 1),)),
        ("torch.Size", (tuple(range(5000)),)),
    ],
)
def test_one_argument_of_many_calls(name, args):
    """A few bytes a call, which ask for many: a bomb."""
    called = Name(*name.split("."))
    data = made.pickled([Call(called, *args) for _ in range(2000)], 4)
    assert len(data) < 200_000
    text = refusal(made.archive(data), UnpicklingError, 100 << 20)
    assert "bytes made by calls in a pickle of" in text


def key(depth, wide=False):
    nest = b"K\x01"
    if wide:  # by reference: small in the file and in memory, endless to hash
        return nest + b"q\x00" + b"h\x00\x86q\x00" * depth
    return nest + b"\x85" * depth


@pytest.mark.parametrize("nest", [key(100_000), key(80, True)], ids=["deep", "wide"])
@pytest.mark.parametrize(
    "frame",
    [(b"}", b"K\x01s."), (b"}(", b"K\x01u."), (b"\x8f(", b"\x90."), (b"(", b"\x91.")],
    ids=["SETITEM", "SETITEMS", "ADDITEMS", "FROZENSET"],
)
def test_keys_whose_hash_would_not_end(nest, frame):
    data = b"\x80\x04" + frame[0] + nest + frame[1]
    text = refusal(made.archive(data), most=64 << 20)
    assert "a key that is a large nest of tuples" in text


def test_marks_in_marks():
    data = made.archive(b"\x80\x02" + b"(" * 1_000_000)
    assert "more than 1000 containers in each other" in refusal(data)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"X\xff\xff\xff\x7fab", "a string of 2147483647 bytes"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffab", "a string of 1844674407370955161"),
        (b"\x8e\x00\x00\x00\x00\x01\x00\x00\x00ab", "a string of 4294967296 bytes"),
        (b"]r\xff\xff\xff\xff.", None),  # a place in the memo far away
        (b"j\xff\xff\xff\xff.", "a reference to nothing"),
        (b"\x95\xff\xff\xff\xff\xff\xff\xff\xffN.", None),  # a frame longer than all
        (b".", "an end too early"),
        (b"", "an end too early"),
        (b"t.", "an end too early"),
        (b"K", "an end too early"),
        (b"\xf0.", "the byte b'\\xf0'"),
        (b"X\x01\x00\x00\x00\xff.", "makes no sense"),
        (b"}]K\x01s.", "makes no sense"),
        (b"}(K\x01u.", "makes no sense"),
        (b"K\x01K\x01a.", "appending to a int"),
        (b"N}(u.", None),
        (b"cos\nsystem", "a name without an end"),
        (b"c" + b"a" * 2000, "a name without an end"),
        (b"NN\x93.", "a global whose name is no string"),
        (b"\x80\x09N.", "pickle protocol 9"),
        (b"NQ.", "a reference None"),
    ],
    ids=range(21),
)
def test_pickles_that_are_garbled(body, text):
    file = made.archive(b"\x80\x02" + body)
    if text is None:
        nt.load(io.BytesIO(file))
    else:
        assert text in refusal(file)


def test_a_legacy_file_whose_parts_do_not_fit():
    obj = made.tensor(made.storage("0", 4), (4,), (1,))
    raw = (4, bytes(16))
    assert "another pickle" in refusal(made.legacy(obj, {"0": raw}, magic=7))
    assert "another pickle" in refusal(pickle.dumps({"a": 1}))
    assert "storages that are not those" in refusal(
        made.legacy(obj, {"0": raw}, keys=[])
    )
    assert "2 elements of storage" in refusal(made.legacy(obj, {"0": (4, bytes(8))}))
    huge = made.tensor(made.storage("0", 2**40), (4,), (1,))
    assert "storages, '0' among them, of 4398046511112 bytes" in refusal(
        made.legacy(huge, {"0": raw})
    )
    part = made.storage("0", 4, "float32", "cpu", ("v", 2, 4))
    assert "a part" in refusal(made.legacy(made.tensor(part, (4,), (1,)), {"0": raw}))
    module = made.Reference("module", Name("torch.nn", "Linear"), "file.py", "source")
    assert "torch.nn.Linear" in refusal(made.legacy(module, {}))


def test_a_tar_archive_is_refused_by_name():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        info = tarfile.TarInfo("storages")
        file.addfile(info, io.BytesIO())
    assert "got a tar archive in the file" in refusal(out.getvalue())


def test_errors_do_not_spell_out_what_has_no_end():
    """The repr of such a nest would be longer than any memory."""
    nest = key(80, True)
    size = made.pickled(Name("torch", "Size"))[2:-1]
    for body, text in (
        (nest + b"Q.", "a reference (a tuple, a tuple)"),
        (size + nest + b"\x85R.", "a size or stride of (a tuple, a tuple)"),
    ):
        assert text in refusal(made.archive(b"\x80\x02" + body))
    data = made.legacy(1, keys=["0"]).replace(
        made.pickled(["0"]), b"\x80\x02]" + nest + b"a."
    )
    assert "storages that are not those" in refusal(data)


@pytest.mark.parametrize(
    "step",
    [
        (b"]", b"a"),
        (b"", b"\x85"),
        (b"}K\x01", b"s"),
        (b"ccollections\nOrderedDict\n)RK\x01", b"s"),
    ],
    ids=["list", "tuple", "dict", "OrderedDict"],
)
def test_deep_nests_come_and_go(step):
    """Neither loading nor letting go of them takes the C stack."""
    depth = 200_000
    data = b"\x80\x02" + step[0] * depth + b"N" + step[1] * depth + b"."
    found = nt.load(io.BytesIO(made.archive(data)))
    del found
