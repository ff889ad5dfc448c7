"""Sequential, ModuleList, ModuleDict, ParameterList and ParameterDict as containers."""

from __future__ import annotations

from collections import OrderedDict

import pytest

import numtensor as nt
from numtensor import nn


def names(net):
    return list(net._modules)


def raises(kind, text, call):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value.args[0])


def test_sequential():
    a, b, c = nn.Linear(1, 2), nn.Tanh(), nn.Linear(2, 1)
    net = nn.Sequential(a, b)
    assert net.append(c) is net
    assert [net[0], net[-1], len(net), list(net)] == [a, c, 3, [a, b, c]]
    assert names(net[1:]) == ["1", "2"]
    assert isinstance(net[:2], nn.Sequential)
    assert net(nt.ones(3, 1)).shape == (3, 1)
    net[1] = nn.Sigmoid()
    assert isinstance(net[1], nn.Sigmoid)
    assert net.insert(1, b) is net
    assert names(net) == ["0", "1", "2", "3"]
    assert net[1] is b
    assert net.pop(1) is b
    del net[0]
    assert names(net) == ["0", "1"]
    net.extend([a, b])
    assert len(net + net) == 8
    assert len(net * 2) == len(2 * net) == 8
    net += nn.Sequential(c)
    assert len(net) == 5
    net *= 2
    assert len(net) == 10
    del net[2:]
    assert len(net) == 2


def test_sequential_by_name():
    net = nn.Sequential(OrderedDict(a=nn.Linear(1, 2), b=nn.Tanh(), c=nn.Linear(2, 1)))
    assert net.a is net[0]
    assert names(net[1:]) == ["b", "c"]
    del net[1]
    assert names(net) == ["0", "1"]  # as in PyTorch


def test_sequential_errors():
    net = nn.Sequential(nn.Linear(1, 1))
    raises(IndexError, "index 5 is out of range", lambda: net[5])
    raises(IndexError, "index -2 is out of range", lambda: net[-2])
    raises(TypeError, "'str' object cannot be interpreted", lambda: net["0"])
    raises(TypeError, "int is not a Module subclass", lambda: nn.Sequential(3))
    raises(TypeError, "int is not a Module subclass", lambda: net.append(3))
    raises(TypeError, "int is not a Module subclass", lambda: net.insert(0, 3))
    raises(IndexError, "Index out of range: 9", lambda: net.insert(9, nn.Identity()))
    raises(ValueError, "supports only objects of Sequential", lambda: net + 3)
    raises(ValueError, "Non-positive multiplication factor 0", lambda: net * 0)
    raises(TypeError, "unsupported operand", lambda: net * 1.5)
    raises(TypeError, "iterable", lambda: net.extend(3))


def test_module_list():
    parts = [nn.Linear(1, 1) for _ in range(3)]
    held = nn.ModuleList(parts)
    assert list(held) == parts
    assert held[-1] is parts[2]
    assert isinstance(held[1:], nn.ModuleList)
    assert list(held[1:]) == parts[1:]
    held.insert(0, parts[2])
    assert names(held) == ["0", "1", "2", "3"]
    assert held[0] is parts[2]
    assert held.pop(0) is parts[2]
    del held[0]
    assert list(held) == parts[1:]
    held += [parts[0]]
    assert len(held + held) == 6
    held[0] = nn.Identity()
    assert isinstance(held[0], nn.Identity)
    del held[:2]
    assert len(held) == 1
    raises(NotImplementedError, 'missing the required "forward"', lambda: held(1))
    raises(TypeError, "int is not a Module subclass", lambda: nn.ModuleList([3]))
    raises(
        TypeError,
        "ModuleList.extend should be called with an iterable, but got int",
        lambda: nn.ModuleList(3),
    )
    raises(IndexError, "index 1 is out of range", lambda: held[1])


def test_module_dict():
    held = nn.ModuleDict({"a": nn.Linear(1, 1)})
    held["b"] = nn.Tanh()
    held.update([("c", nn.Identity())])
    assert list(held) == list(held.keys()) == ["a", "b", "c"]
    assert "b" in held
    assert len(held) == 3
    assert [k for k, _ in held.items()] == ["a", "b", "c"]
    assert list(held.values())[1] is held["b"]
    assert isinstance(held.pop("b"), nn.Tanh)
    del held["c"]
    assert list(held) == ["a"]
    held.clear()
    assert not len(held)
    with pytest.raises(KeyError):
        held["x"]
    raises(
        TypeError,
        "ModuleDict.update should be called with an iterable of key/value pairs, but "
        "got int",
        lambda: nn.ModuleDict(3),
    )
    raises(TypeError, "element #0 should be Iterable", lambda: held.update([3]))
    raises(
        ValueError,
        "ModuleDict update sequence element #0 has length 1; 2 is required",
        lambda: held.update([(3,)]),
    )
    raises(KeyError, "already exists", lambda: held.update({"pop": nn.Tanh()}))


def test_parameter_list():
    held = nn.ParameterList([nt.ones(2), nn.Parameter(nt.ones(3))])
    held.append("other")
    assert len(held) == 3
    assert [n for n, _ in held.named_parameters()] == ["0", "1"]
    assert isinstance(held[0], nn.Parameter)
    assert held[-1] == "other"
    assert [type(v).__name__ for v in held[1:]] == ["Parameter", "str"]
    held[2] = nt.ones(1)
    assert len(list(held.parameters())) == 3
    held += [nt.zeros(1)]
    assert len(held) == 4
    raises(RuntimeError, "ParameterList should not be called", held)
    raises(IndexError, "index 4 is out of range", lambda: held[4])
    raises(TypeError, "iterable", lambda: held.extend(3))


def test_parameter_dict():
    held = nn.ParameterDict({"a": nt.ones(2), "b": 3})
    held["c"] = nt.ones(1)
    assert [n for n, _ in held.named_parameters()] == ["a", "c"]
    assert list(held) == list(held.keys()) == ["a", "b", "c"]
    assert list(reversed(held)) == ["c", "b", "a"]
    assert held.get("q", 5) == 5
    assert held.setdefault("d", 7) == 7
    assert held.pop("d") == 7
    assert held.popitem()[0] == "c"
    assert "c" not in held
    assert len(held) == 2
    assert dict(held.items())["b"] == 3
    assert list((held | {"z": 1}).keys()) == ["a", "b", "z"]
    assert list(({"z": 1} | held).keys()) == ["z", "a", "b"]
    held |= {"y": nt.ones(1)}
    assert held.copy()["a"] is held["a"]
    assert list(held.fromkeys(["x"], 2).values()) == [2]
    del held["y"]
    held.clear()
    assert not len(held)
    with pytest.raises(KeyError):
        held["a"]
    raises(TypeError, "not a string (type is 'int')", lambda: held.update({3: 4}))
    raises(RuntimeError, "ParameterDict should not be called", held)


@pytest.mark.torch
def test_keys_beside_torch():
    torch = pytest.importorskip("torch")
    found = []
    for lib in (nt, torch):
        net = lib.nn.Sequential(OrderedDict(a=lib.nn.Linear(1, 2), b=lib.nn.Tanh()))
        net.append(lib.nn.Linear(2, 1))
        net.extend([lib.nn.Linear(1, 1)])
        del net[1]
        found.append((list(net.state_dict()), list((net + net).state_dict())))
    assert found[0] == found[1]
