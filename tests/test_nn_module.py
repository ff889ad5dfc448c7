"""Modules as such: what they hold, their attributes, modes, moves, copies and reprs.

Sentences of errors are PyTorch's; values of layers are in `test_nn_cases`.
"""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
from collections import OrderedDict

import pytest

import numtensor as nt
from numtensor import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(3, 4)
        self.act = nn.Tanh()
        self.out = nn.Linear(4, 1)
        self.scale = nn.Parameter(nt.ones(1))
        self.register_buffer("count", nt.zeros(1))
        self.register_buffer("scratch", nt.zeros(2), persistent=False)

    def forward(self, x):
        return self.out(self.act(self.hidden(x))) * self.scale


class Bare(nn.Module):
    pass


def test_parameters_and_buffers_by_name():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == [
        "scale", "hidden.weight", "hidden.bias", "out.weight", "out.bias",
    ]  # fmt: skip
    assert [n for n, _ in net.named_parameters(recurse=False)] == ["scale"]
    assert [n for n, _ in net.named_parameters(prefix="net")][1] == "net.hidden.weight"
    assert [n for n, _ in net.named_buffers()] == ["count", "scratch"]
    assert [n for n, _ in net.named_children()] == ["hidden", "act", "out"]
    assert [n for n, _ in net.named_modules()] == ["", "hidden", "act", "out"]
    assert list(net.children()) == [net.hidden, net.act, net.out]
    assert list(net.modules())[0] is net
    assert next(net.parameters()) is net.scale
    assert len(list(net.buffers())) == 2


def test_what_is_there_twice_is_listed_once():
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    net.append(net[0])
    assert len(list(net.parameters())) == 2
    assert len(list(net.children())) == 2
    assert [n for n, _ in net.named_modules()] == ["", "0", "1"]
    assert [n for n, _ in net.named_modules(remove_duplicate=False)] == [
        "", "0", "1", "2",
    ]  # fmt: skip
    assert len(list(net.named_parameters(remove_duplicate=False))) == 4
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_attributes_are_sorted_by_what_they_are():
    net = Bare()
    net.a = nn.Parameter(nt.ones(2))
    net.b = nn.Linear(1, 1)
    net.c = nt.ones(2)
    net.d = nn.Buffer(nt.ones(2), persistent=False)
    net.e = nn.Buffer(nt.ones(3))
    net.none = None
    assert list(net._parameters) == ["a"]
    assert list(net._modules) == ["b"]
    assert list(net._buffers) == ["d", "e"]
    assert "c" in net.__dict__
    assert list(net.state_dict()) == ["a", "e", "b.weight", "b.bias"]
    net.a = None
    assert net.a is None
    assert list(net.parameters(recurse=False)) == []
    net.a = nn.Parameter(nt.zeros(1))
    assert net.a.shape == (1,)
    net.b = nn.Identity()
    assert isinstance(net.b, nn.Identity)
    net.e = nt.zeros(1)
    assert net._buffers["e"].tolist() == [0]
    net.c = nn.Parameter(nt.ones(1))
    assert "c" not in net.__dict__
    del net.c
    assert not hasattr(net, "c")
    del net.b, net.d
    with pytest.raises(AttributeError):
        del net.b
    assert {"a", "e", "forward", "training"} <= set(dir(net))
    # a parameter takes the place of a module, and the other way
    net.e = nn.Linear(1, 1)
    assert "e" not in net._buffers


def raises(kind, text, call):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value.args[0])  # a KeyError shows the repr of it


def test_wrong_attributes():
    net = Net()
    raises(AttributeError, "'Net' object has no attribute 'foo'", lambda: net.foo)
    raises(
        TypeError,
        "cannot assign 'torch.FloatTensor' as parameter 'scale' (torch.nn.Parameter or "
        "None expected)",
        lambda: setattr(net, "scale", nt.ones(1)),
    )
    raises(
        TypeError,
        "cannot assign 'torch.FloatTensor' as child module 'out' (torch.nn.Module or "
        "None expected)",
        lambda: setattr(net, "out", nt.ones(1)),
    )
    raises(
        TypeError,
        "cannot assign 'int' as buffer 'count' (torch.nn.Buffer, torch.Tensor or None "
        "expected)",
        lambda: setattr(net, "count", 3),
    )
    for call in (
        lambda: net.register_parameter("a.b", None),
        lambda: net.register_buffer("a.b", None),
        lambda: net.add_module("a.b", None),
    ):
        raises(KeyError, 'name can\'t contain "."', call)
    for call in (
        lambda: net.register_parameter("", None),
        lambda: net.register_buffer("", None),
        lambda: net.add_module("", None),
    ):
        raises(KeyError, "name can't be empty string", call)
    for call in (
        lambda: net.register_parameter("forward", None),
        lambda: net.register_buffer("scale", None),
        lambda: net.register_module("count", None),
    ):
        raises(KeyError, "already exists", call)
    for call in (
        lambda: net.register_parameter(3, None),
        lambda: net.register_buffer(3, None),
        lambda: net.add_module(3, None),
    ):
        raises(TypeError, "name should be a string. Got int", call)
    raises(
        TypeError,
        "cannot assign 'torch.FloatTensor' object to parameter 'w' "
        "(torch.nn.Parameter or None required)",
        lambda: net.register_parameter("w", nt.ones(2)),
    )
    raises(
        TypeError,
        "cannot assign 'int' object to buffer 'w' (torch Tensor or None required)",
        lambda: net.register_buffer("w", 3),
    )
    raises(
        TypeError, "int is not a Module subclass", lambda: net.register_module("w", 3)
    )


class Early(nn.Module):
    def __init__(self, value):
        if isinstance(value, str):
            self.register_buffer(value, nt.ones(1))
        self.part = value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (lambda: nn.Linear(1, 1), "cannot assign module before Module.__init__() call"),
        (
            lambda: nn.Parameter(nt.ones(1)),
            "cannot assign parameters before Module.__init__() call",
        ),
        (
            lambda: nn.Buffer(nt.ones(1)),
            "cannot assign buffer before Module.__init__() call",
        ),
        (lambda: "x", "cannot assign buffer before Module.__init__() call"),
    ],
)
def test_parts_before_init(value, text):
    raises(AttributeError, text, lambda: Early(value()))


def test_paths():
    net = Net()
    assert net.get_submodule("") is net
    assert net.get_submodule("hidden") is net.hidden
    assert net.get_parameter("hidden.weight") is net.hidden.weight
    assert net.get_buffer("count") is net.count
    raises(AttributeError, "Net has no attribute `q`", lambda: net.get_submodule("q"))
    raises(AttributeError, "no attribute `q`", lambda: net.get_parameter("hidden.q"))
    raises(
        AttributeError,
        "`scale` is not an nn.Module",
        lambda: net.get_submodule("scale"),
    )
    raises(
        AttributeError, "`act` is not an nn.Parameter", lambda: net.get_parameter("act")
    )
    raises(AttributeError, "`scale` is not a buffer", lambda: net.get_buffer("scale"))
    other = nn.Linear(3, 4)
    net.set_submodule("hidden", other)
    assert net.hidden is other
    raises(ValueError, "without a target name", lambda: net.set_submodule("", other))
    raises(
        AttributeError,
        "has no attribute `q`",
        lambda: net.set_submodule("q", other, strict=True),
    )


def test_calls():
    raises(
        NotImplementedError,
        'Module [Bare] is missing the required "forward" function',
        lambda: Bare()(1),
    )
    raises(TypeError, "unexpected keyword argument", lambda: nn.Module(a=1))

    class Two(nn.Module):
        def forward(self, x, *, y=1):
            return x, y

    assert Two()(3, y=4) == (3, 4)
    replaced = Bare()
    replaced.forward = lambda x: x + 1
    assert replaced(1) == 2


def test_modes():
    net = nn.Sequential(nn.Linear(1, 1), nn.Dropout(), nn.Sequential(nn.Dropout()))
    assert all(m.training for m in net.modules())
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())
    raises(ValueError, "training mode is expected to be boolean", lambda: net.train(3))


def test_apply_visits_the_inside_first():
    net = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.ReLU()))
    seen = []
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Linear", "ReLU", "Sequential", "Sequential"]


def test_requires_grad_and_zero_grad():
    net = Net()
    net(nt.ones(2, 3)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad(set_to_none=False)
    assert all((p.grad == 0).all() for p in net.parameters())
    # a gradient that was recorded leaves the tape and stays the same tensor
    weight = next(net.parameters())
    weight.grad = kept = weight * weight
    net.zero_grad(set_to_none=False)
    assert weight.grad is kept
    assert kept.grad_fn is None and not kept.requires_grad
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    assert net.requires_grad_(False) is net
    assert not any(p.requires_grad for p in net.parameters())
    assert net(nt.ones(2, 3)).grad_fn is None


def test_casts_keep_the_parameters_objects():
    net = Net()
    net(nt.ones(2, 3)).sum().backward()
    before = list(net.parameters())
    net.register_buffer("index", nt.ones(1, dtype=nt.int64))
    assert net.double() is net
    assert all(a is b for a, b in zip(net.parameters(), before, strict=True))
    assert {p.dtype for p in net.parameters()} == {nt.float64}
    assert {p.grad.dtype for p in net.parameters()} == {nt.float64}
    assert all(p.is_leaf and p.requires_grad for p in net.parameters())
    assert (net.count.dtype, net.index.dtype) == (nt.float64, nt.int64)
    net(nt.ones(2, 3, dtype=nt.float64)).sum().backward()
    net.to(nt.float32)
    assert net.scale.dtype == nt.float32
    net.to("cpu", nt.float64)
    net.to(nt.ones(1))
    assert net.scale.dtype == net.scale.grad.dtype == nt.float32
    net.to(dtype=nt.float64, device="cpu", non_blocking=True)
    net.float()
    assert net.cpu() is net
    raises(
        TypeError,
        "nn.Module.to only accepts floating point or complex dtypes, but got desired "
        "dtype=torch.int64",
        lambda: net.to(nt.int64),
    )
    raises(NotImplementedError, "not shared between processes", net.share_memory)


def test_a_shared_parameter_stays_shared():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    net.double()
    assert net[1].weight is net[0].weight
    assert net[0].weight.dtype == nt.float64


@pytest.mark.cuda
def test_moves():
    net = Net()
    x = nt.ones(2, 3)
    here = net(x)
    here.sum().backward()
    grad = net.scale.grad.clone()
    weight = net.hidden.weight
    net.to("cuda")
    assert net.hidden.weight is weight
    assert {t.device.type for t in [*net.parameters(), *net.buffers()]} == {"cuda"}
    assert net.scale.grad.device.type == "cuda"
    there = net(x.to("cuda"))
    there.sum().backward()
    assert nt.allclose(there.cpu(), here, atol=1e-6)
    assert nt.allclose(net.scale.grad.cpu(), 2 * grad, atol=1e-6)
    assert net.cpu().scale.device.type == "cpu"
    assert net.cuda(0).scale.device == nt.device("cuda", 0)


def test_copies():
    net = Net()
    net.double()
    twin = copy.deepcopy(net)
    assert twin.hidden.weight is not net.hidden.weight
    assert isinstance(twin.hidden.weight, nn.Parameter)
    assert nt.equal(twin.hidden.weight, net.hidden.weight)
    with nt.no_grad():
        twin.scale.fill_(2)
    assert net.scale.item() == 1
    x = nt.ones(2, 3, dtype=nt.float64)
    assert nt.allclose(twin(x), 2 * net(x))
    shared = nn.Sequential(nn.Linear(1, 1))
    shared.append(shared[0])
    twin = copy.deepcopy(shared)
    assert twin[0] is twin[1]


def test_pickles():
    net = Net().eval()
    net.scale.requires_grad_(False)
    again = pickle.loads(pickle.dumps(net))
    assert repr(again) == repr(net)
    assert not again.training
    for (a, p), (b, q) in zip(
        net.named_parameters(), again.named_parameters(), strict=True
    ):
        assert (a, type(q), q.requires_grad) == (b, nn.Parameter, p.requires_grad)
        assert nt.equal(p, q)
    assert again._non_persistent_buffers_set == {"scratch"}
    x = nt.ones(2, 3)
    assert nt.equal(net(x), again(x))


def test_parameter():
    data = nt.tensor([1.0, 2.0])
    p = nn.Parameter(data)
    assert isinstance(p, nt.Tensor)
    assert p.requires_grad
    assert p.is_leaf
    assert p.data_ptr() == data.data_ptr()
    assert repr(p) == ("Parameter containing:\ntensor([1., 2.], requires_grad=True)")
    assert type(p + 1) is nt.Tensor
    assert type(p.detach()) is nt.Tensor
    assert not nn.Parameter(data, requires_grad=False).requires_grad
    assert repr(nn.Parameter()) == (
        "Parameter containing:\ntensor([], requires_grad=True)"
    )
    assert (
        nn.Parameter(nt.ones(1, dtype=nt.int64), requires_grad=False).dtype == nt.int64
    )
    raises(
        RuntimeError,
        "only Tensors of floating point dtype can require gradients",
        lambda: nn.Parameter(nt.ones(1, dtype=nt.int64)),
    )
    raises(TypeError, "expected a Tensor", lambda: nn.Parameter(3))
    p.sum().backward()
    twin = copy.deepcopy(p)
    assert isinstance(twin, nn.Parameter)
    assert twin.grad.tolist() == [1, 1]
    assert isinstance(pickle.loads(pickle.dumps(p)), nn.Parameter)
    computed = nn.Parameter((p * 2).detach())
    assert computed.is_leaf
    b = nn.Buffer(data, persistent=False)
    assert isinstance(b, nn.Buffer)
    assert not isinstance(data, nn.Buffer)
    assert not b.persistent
    assert b.data_ptr() == data.data_ptr()


def test_reprs():
    assert repr(Net()) == (
        "Net(\n"
        "  (hidden): Linear(in_features=3, out_features=4, bias=True)\n"
        "  (act): Tanh()\n"
        "  (out): Linear(in_features=4, out_features=1, bias=True)\n"
        ")"
    )
    net = nn.Linear(1, 1, bias=False)
    net.add_module("inner", nn.Sequential(nn.Flatten(), nn.Identity()))
    net.add_module("empty", None)
    assert repr(net) == (
        "Linear(\n"
        "  in_features=1, out_features=1, bias=False\n"
        "  (inner): Sequential(\n"
        "    (0): Flatten(start_dim=1, end_dim=-1)\n"
        "    (1): Identity()\n"
        "  )\n"
        "  (empty): None\n"
        ")"
    )
    assert repr(Bare()) == "Bare()"


SHOWN = [
    lambda lib: lib.nn.Sequential(),
    lambda lib: lib.nn.Sequential(OrderedDict(a=lib.nn.Linear(1, 2))),
    lambda lib: lib.nn.ModuleList(
        [
            lib.nn.Linear(1, 1), lib.nn.Linear(1, 1), lib.nn.Flatten(),
            lib.nn.Sequential(lib.nn.Identity()), lib.nn.Sequential(lib.nn.Identity()),
        ]
    ),
    lambda lib: lib.nn.ModuleList(),
    lambda lib: lib.nn.ModuleDict({"a": lib.nn.Linear(1, 1)}),
    lambda lib: lib.nn.ParameterList([lib.ones(2, 3), lib.ones(()), 3]),
    lambda lib: lib.nn.ParameterList([lib.ones(2, 3)]),
    lambda lib: lib.nn.ParameterDict({"a": lib.ones(2, 3), "b": "c"}),
    lambda lib: lib.nn.ParameterDict({"a": lib.ones(2, 3)}),
    lambda lib: lib.nn.Dropout(0.25, inplace=True),
    lambda lib: lib.nn.Dropout2d(),
    lambda lib: lib.nn.AlphaDropout(0.1),
    lambda lib: lib.nn.Embedding(3, 2, padding_idx=-1, max_norm=1.5, norm_type=1.0),
    lambda lib: lib.nn.Embedding(3, 2, scale_grad_by_freq=True),
    lambda lib: lib.nn.Bilinear(1, 2, 3, bias=False),
    lambda lib: lib.nn.Unflatten(1, (2, 3)),
    lambda lib: lib.nn.PairwiseDistance(p=1),
    lambda lib: lib.nn.CosineSimilarity(),
    lambda lib: lib.nn.ConstantPad2d((1, 2, 3, 4), 0.5),
    lambda lib: lib.nn.Parameter(lib.ones(2)),
]  # fmt: skip


@pytest.mark.torch
@pytest.mark.parametrize("make", SHOWN)
def test_reprs_beside_torch(make):
    torch = pytest.importorskip("torch")
    assert repr(make(nt)) == repr(make(torch))


def test_every_module_is_in_nn():
    """A class that is written must be exported, and the files' names must not."""
    for file in pkgutil.iter_modules(nn.modules.__path__):
        held = importlib.import_module(f"{nn.modules.__name__}.{file.name}")
        for name, found in vars(held).items():
            if (
                isinstance(found, type)
                and issubclass(found, nn.Module)
                and found.__module__ == held.__name__
                and not name.startswith("_")
            ):
                assert getattr(nn, name, None) is found, name
                assert name in nn.modules.__all__
        assert not hasattr(nn, file.name), file.name


@pytest.mark.torch
def test_everything_is_a_name_of_torch():
    torch = pytest.importorskip("torch")
    for name in nn.modules.__all__:
        assert hasattr(torch.nn, name), name
    # what is left out is not there at all
    for name in ("LSTM", "Transformer", "LazyLinear"):
        raises(AttributeError, name, lambda name=name: getattr(nn, name))
