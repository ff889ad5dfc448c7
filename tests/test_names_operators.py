"""Every operator of the table has a rule for names, and follows it.

Each is called on its samples with one tensor named at a time. Values and gradients must
be those of the same call without names; the names of the results must be what the rule
says, worked out here from the words of the declaration, or by the rule itself where it
is a function (those are checked against literals in `test_names.py`).
"""

from __future__ import annotations

import inspect

import laws
import numpy as np
import pytest
from test_cuda_coverage import FACTORIES, LIKE, RANDOM, UNINITIALISED, calls

import numtensor as nt
import numtensor.nn.functional
from numtensor.names import boundary, rules
from numtensor.ops.registry import PUBLIC, ROOMS, TABLE

pytestmark = pytest.mark.usefixtures("device")

NAMES = ("ant", "bee", "cow", "dog", "eel")
OPERATORS = sorted(set(TABLE) - set(FACTORIES) - {"rand", "randn", "randint"})


def public(declared):
    """Return an operator as a program calls it."""
    if declared.room:
        return ROOMS[declared.room][declared.name.removeprefix(f"{declared.room}.")]
    return PUBLIC[declared.name]


def flat(found):
    if isinstance(found, nt.Tensor):
        return [found]
    many = found if isinstance(found, (tuple, list)) else ()
    return [t for part in many for t in flat(part)]


def replaced(value, which, by):
    """Return arguments with one of their tensors exchanged; tensors count from 0."""
    count = [0]

    def walk(part):
        if isinstance(part, nt.Tensor):
            count[0] += 1
            return by if count[0] - 1 == which else part
        if type(part) in (tuple, list):
            return type(part)(walk(p) for p in part)
        return part

    return walk(value)


def expected(declared, tensor, which, args, keywords, count):
    """Return the names that the words of a declaration promise, None if it has none."""
    rule = declared.names
    none = (None,) * count
    if rule == "drop" or (which and rule in ("keep", "reduce")):
        return none
    if not count:
        return ()
    if rule in ("keep", "unify"):
        return ((None,) * count + tensor.names)[-count:]
    if rule == "reduce":
        call = inspect.signature(declared.call).bind(*args, **keywords)
        call.apply_defaults()
        bound = call.arguments
        dim = bound.get("dim")
        if bound.get("keepdim"):
            return tensor.names
        if dim is None or isinstance(dim, bool):
            return none
        dims = dim if isinstance(dim, (tuple, list)) else [dim]
        gone = [d % tensor.ndim for d in dims]
        return tuple(n for d, n in enumerate(tensor.names) if d not in gone)
    return None


def gradients(found, leaves):
    """Return the gradients of a weighted sum of the results."""
    rng = np.random.default_rng(5)
    total = None
    for t in found:
        if t.is_floating_point() and t.requires_grad:
            part = t.rename(None)
            part = (part * laws.made(rng.uniform(0.5, 1.5, tuple(t.shape)))).sum()
            total = part if total is None else total + part
    if total is None:
        return []
    return nt.autograd.grad(total, leaves, allow_unused=True)


def test_every_operator_and_method_has_a_rule():
    assert [name for name, d in TABLE.items() if d.names is None] == []
    assert set() == boundary.UNKNOWN
    for declared in TABLE.values():
        known = callable(declared.names) or declared.names in rules.RULES
        assert known, f"{declared.name}: {declared.names!r} is no rule"


@pytest.mark.parametrize("name", OPERATORS)
def test_names_follow_the_rule_and_change_no_number(name):
    declared = TABLE[name]
    call = public(declared)
    exact = name not in (*UNINITIALISED, *RANDOM)
    for args, keywords in calls(declared):
        given = flat(args)
        if not given or "ii,i->i" in args:  # a diagonal has one name for two dims
            continue
        nt.manual_seed(3)
        plain = declared.call(*args, **keywords)
        # the simulator takes long; what differs there is not the names
        for which in range(len(given) if laws.DEVICE == "cpu" else 1):
            leaf = given[which]
            tensor = leaf.rename(*NAMES[: leaf.ndim]) if leaf.ndim else leaf
            nt.manual_seed(3)
            found = call(*replaced(args, which, tensor), **keywords)
            assert len(flat(found)) == len(flat(plain))
            for got, want in zip(flat(found), flat(plain), strict=True):
                if exact:
                    laws.assert_same(laws.numpy_of(got), laws.numpy_of(want), name)
                names = expected(declared, tensor, which, args, keywords, got.ndim)
                if names is not None:
                    assert got.names == names, f"{name}, tensor {which} named"
                assert got.has_names() == any(n is not None for n in got.names)
                assert got.dtype is want.dtype and got.shape == want.shape
            if not (declared.differentiable and leaf.is_floating_point()):
                continue
            if leaf._base is not None:
                continue
            leaf.requires_grad_()
            try:
                nt.manual_seed(3)
                plainly = gradients(flat(declared.call(*args, **keywords)), [leaf])
                tensor = leaf.rename(*NAMES[: leaf.ndim]) if leaf.ndim else leaf
                nt.manual_seed(3)
                back = gradients(
                    flat(call(*replaced(args, which, tensor), **keywords)), [leaf]
                )
            finally:
                leaf.requires_grad_(False)
            for got, want in zip(back, plainly, strict=True):
                assert (got is None) == (want is None)
                if got is not None:
                    assert not got.has_names()
                    laws.assert_same(laws.numpy_of(got), laws.numpy_of(want), name)


@pytest.mark.parametrize("name", [n for n in OPERATORS if not TABLE[n].room])
def test_methods_do_as_functions(name):
    declared = TABLE[name]
    method = getattr(nt.Tensor, name, None)
    # where's method takes its arguments in another order
    if method is None or name in (*UNINITIALISED, *RANDOM, "bernoulli", "where"):
        return
    for args, keywords in calls(declared):
        if not isinstance(args[0], nt.Tensor) or not args[0].ndim:
            continue
        first = args[0].rename(*NAMES[: args[0].ndim])
        by_method = flat(getattr(first, name)(*args[1:], **keywords))
        by_function = flat(public(declared)(first, *args[1:], **keywords))
        for a, b in zip(by_method, by_function, strict=True):
            assert a.names == b.names, name
        if laws.DEVICE != "cpu":
            return


def test_factories_take_names():
    for name, (args, keywords) in FACTORIES.items():
        made = PUBLIC[name](*args, **keywords, device=laws.DEVICE)
        names = NAMES[: made.ndim]
        made = PUBLIC[name](*args, **keywords, device=laws.DEVICE, names=names)
        assert made.names == names, name
    for name in LIKE:
        x = nt.ones(2, 3, names=("N", "C"), device=laws.DEVICE)
        more = (2.0,) if name == "full_like" else ()
        assert PUBLIC[name](x, *more).names == ("N", "C")
