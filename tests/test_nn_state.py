"""`state_dict` and `load_state_dict`: keys, sharing, strictness, hooks, versions.

The sentences of errors are PyTorch's, word for word: programs print them.
"""

from __future__ import annotations

from collections import OrderedDict

import pytest

import numtensor as nt
from numtensor import nn


def two():
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))


def test_tensors_share_memory_and_are_outside_the_tape():
    net = two()
    state = net.state_dict()
    assert isinstance(state, OrderedDict)
    assert list(state) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert type(state["0.weight"]) is nt.Tensor
    assert not state["0.weight"].requires_grad
    state["0.bias"].fill_(7)
    assert net[0].bias.tolist() == [7, 7, 7]
    assert net.state_dict(keep_vars=True)["0.weight"] is net[0].weight
    assert list(net.state_dict(prefix="net."))[0] == "net.0.weight"
    held = {"x": 1}
    assert net.state_dict(destination=held) is held
    assert list(held)[:2] == ["x", "0.weight"]


def test_versions():
    class Layer(nn.Module):
        _version = 3

    net = nn.Sequential(Layer())
    assert net.state_dict()._metadata == OrderedDict(
        [("", {"version": 1}), ("0", {"version": 3})]
    )
    seen = []

    class Newer(nn.Module):
        def _load_from_state_dict(self, state, prefix, local, *args):
            seen.append((prefix, local.get("version")))
            super()._load_from_state_dict(state, prefix, local, *args)

    nn.Sequential(Newer()).load_state_dict(net.state_dict())
    nn.Sequential(Newer()).load_state_dict({})
    assert seen == [("0.", 3), ("0.", None)]


def test_load():
    a, b = two(), two()
    before = a[0].weight
    result = a.load_state_dict(b.state_dict())
    assert repr(result) == str(result) == "<All keys matched successfully>"
    assert a[0].weight is before
    assert nt.equal(a[0].weight, b[0].weight)
    assert before.requires_grad and before.is_leaf
    assert a[0].weight.data_ptr() != b[0].weight.data_ptr()
    # values are cast, and come from anywhere
    a.load_state_dict({k: v.double() for k, v in b.state_dict().items()})
    assert a[0].weight.dtype == nt.float32


def test_assign():
    a, b = two(), two()
    a[0].weight.requires_grad_(False)
    state = b.double().state_dict()
    a.load_state_dict(state, assign=True)
    assert a[0].weight.dtype == nt.float64
    assert a[0].weight.data_ptr() == b[0].weight.data_ptr()
    assert isinstance(a[0].weight, nn.Parameter)
    assert not a[0].weight.requires_grad
    assert a[0].bias.requires_grad


def failure(call):
    with pytest.raises(RuntimeError) as caught:
        call()
    return str(caught.value)


def test_keys_that_do_not_match():
    net = nn.Sequential(nn.Linear(2, 3), nn.Flatten())
    state = {"0.weight": nt.ones(3, 3), "1.foo": nt.ones(1), "2.a.b": nt.ones(2)}
    assert failure(lambda: net.load_state_dict(state)) == (
        "Error(s) in loading state_dict for Sequential:\n"
        '\tMissing key(s) in state_dict: "0.bias". \n'
        '\tUnexpected key(s) in state_dict: "2.a.b", "1.foo". \n'
        "\tsize mismatch for 0.weight: copying a param with shape torch.Size([3, 3]) "
        "from checkpoint, the shape in current model is torch.Size([3, 2])."
    )
    # sizes are checked without strict, too
    assert failure(lambda: net.load_state_dict(state, strict=False)) == (
        "Error(s) in loading state_dict for Sequential:\n"
        "\tsize mismatch for 0.weight: copying a param with shape torch.Size([3, 3]) "
        "from checkpoint, the shape in current model is torch.Size([3, 2])."
    )
    found = net.load_state_dict({"0.bias": nt.ones(3), "q": 1}, strict=False)
    assert repr(found) == (
        "_IncompatibleKeys(missing_keys=['0.weight'], unexpected_keys=['q'])"
    )
    assert found.missing_keys == ["0.weight"]
    assert net[0].bias.tolist() == [1, 1, 1]
    with pytest.raises(TypeError) as caught:
        net.load_state_dict([1])
    assert str(caught.value) == (
        "Expected state_dict to be dict-like, got <class 'list'>."
    )
    layer = nn.Linear(2, 3)
    state = {"weight": [1], "bias": nt.ones(3)}
    assert failure(lambda: layer.load_state_dict(state)) == (
        "Error(s) in loading state_dict for Linear:\n"
        '\tWhile copying the parameter named "weight", expected torch.Tensor or '
        "Tensor-like object from checkpoint but received <class 'list'>"
    )


@pytest.mark.torch
@pytest.mark.parametrize("strict", [True, False])
def test_failures_beside_torch(strict):
    torch = pytest.importorskip("torch")
    texts = []
    for lib in (nt, torch):
        net = lib.nn.Sequential(
            lib.nn.Linear(2, 3), lib.nn.Sequential(lib.nn.Linear(3, 1))
        )
        state = {
            "0.weight": lib.ones(4),
            "0.bias": lib.ones(2),
            "1.0.weight": lib.ones(1, 3),
            "1.0.more": lib.ones(1),
            "1.1.weight": lib.ones(1),
            "other": lib.ones(1),
        }
        texts.append(failure(lambda: net.load_state_dict(state, strict)))  # noqa: B023
    assert texts[0] == texts[1]


def test_numbers_stored_as_vectors():
    net = nn.Module()
    net.register_buffer("n", nt.tensor(0))
    net.load_state_dict({"n": nt.tensor([5])})
    assert net.n.item() == 5


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.count = 0

    def get_extra_state(self):
        return {"count": self.count}

    def set_extra_state(self, state):
        self.count = state["count"]


def test_extra_state():
    net = nn.Sequential(Counting())
    net[0].count = 5
    state = net.state_dict()
    assert state == {"0._extra_state": {"count": 5}}
    other = nn.Sequential(Counting())
    other.load_state_dict(state)
    assert other[0].count == 5
    text = failure(lambda: other.load_state_dict({}))
    assert 'Missing key(s) in state_dict: "0._extra_state"' in text
    text = failure(lambda: nn.Sequential(nn.Flatten()).load_state_dict(state))
    assert 'Unexpected key(s) in state_dict: "0._extra_state"' in text
    with pytest.raises(RuntimeError, match="set_extra_state"):
        nn.Module().get_extra_state()
    with pytest.raises(RuntimeError, match="get_extra_state"):
        nn.Module().set_extra_state(1)


def test_hooks():
    net = two()
    log = []
    handles = [
        net.register_state_dict_pre_hook(
            lambda m, prefix, keep: log.append(("pre save", m is net, prefix, keep))
        ),
        net.register_state_dict_post_hook(
            lambda m, state, prefix, local: state.pop("1.bias") and None
        ),
        net.register_load_state_dict_pre_hook(
            lambda m, state, *args: state.update({"1.bias": nt.ones(1)})
        ),
        net.register_load_state_dict_post_hook(
            lambda m, keys: keys.missing_keys.clear()
        ),
    ]
    state = net.state_dict()
    assert list(state) == ["0.weight", "0.bias", "1.weight"]
    assert log == [("pre save", True, "", False)]
    del state["0.bias"]
    assert net.load_state_dict(state) == ([], [])
    assert net[1].bias.item() == 1
    for handle in handles:
        handle.remove()
    assert len(net.state_dict()) == 4
    net.register_state_dict_post_hook(lambda *args: {})
    assert "must return None" in failure(net.state_dict)
    other = two()
    other.register_load_state_dict_post_hook(lambda m, keys: keys)
    with pytest.raises(AssertionError, match="not expected to return"):
        other.load_state_dict(two().state_dict())


@pytest.mark.cuda
def test_load_across_devices():
    net, other = two(), two().to("cuda")
    net.load_state_dict(other.state_dict())
    assert net[0].weight.device.type == "cpu"
    assert nt.equal(net[0].weight, other[0].weight.cpu())
