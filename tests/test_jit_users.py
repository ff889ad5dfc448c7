"""What users do with `nt.jit` besides calling it: state, arguments, aliases, errors."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from collections import namedtuple

import laws
import numpy as np
import pytest

import numtensor as nt
import numtensor.nn as nn
import numtensor.nn.functional as F
import numtensor.optim as optim
from numtensor.errors import TraceError

Pair = namedtuple("Pair", "first second")


def same(got, want, tolerance=1e-5):
    laws.assert_close(got.detach().numpy(), want.detach().numpy(), tolerance)


def traces(jitted):
    return len(jitted._specials)


def network(seed=0):
    nt.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


# What a function reaches


def test_a_rebound_closure_is_noticed():
    w = nt.ones(3)

    @nt.jit
    def f(x):
        return x * w

    assert f(nt.ones(3)).tolist() == [1, 1, 1]
    w = nt.full((3,), 2.0)
    assert f(nt.ones(3)).tolist() == [2, 2, 2]
    w.add_(1)
    assert f(nt.ones(3)).tolist() == [3, 3, 3]


def test_a_tensor_that_the_function_rebinds_goes_on():
    hidden = nt.zeros(2), nt.ones(2)

    @nt.jit
    def step(x):
        nonlocal hidden
        h, c = hidden
        hidden = h * 0.5 + x, c + h
        return hidden[1].sum()

    got = [step(nt.ones(2)).item() for _ in range(4)]
    assert got == [2, 4, 7, 10.5]
    assert hidden[0].tolist() == [1.875, 1.875]
    assert traces(step) == 1
    hidden = nt.zeros(2), nt.ones(2)  # from outside
    assert step(nt.ones(2)).item() == 2


def test_an_attribute_is_set_in_every_call():
    class Model:
        seen = None
        scale = 2.0

    model = Model()

    @nt.jit
    def f(x):
        model.seen = x * model.scale
        return model.seen + 1

    for k in range(3):
        result = f(nt.full((2,), float(k)))
        assert model.seen.tolist() == [2.0 * k] * 2
        assert result.tolist() == [2.0 * k + 1] * 2
    model.scale = 3.0
    assert f(nt.ones(2)).tolist() == [4, 4]


def test_an_argument_that_is_also_captured():
    w = nt.ones(2)
    f = nt.jit(lambda x: x + w * 10)
    assert f(w).tolist() == [11, 11]
    assert f(nt.zeros(2)).tolist() == [10, 10]
    assert f(w).tolist() == [11, 11]


def test_train_and_eval():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5))
    twin = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5))
    f = nt.jit(model)
    x = nt.randn(5, 3)
    for mode in (True, False, True, False):
        model.train(mode), twin.train(mode)
        nt.manual_seed(1)
        want = twin(x)
        nt.manual_seed(1)
        same(f(x), want)
        for a, b in zip(model.buffers(), twin.buffers(), strict=True):
            same(a, b)
    assert traces(f) <= 2


@pytest.mark.parametrize("to_none", [True, False])
@pytest.mark.parametrize("kind", ["SGD", "Adam", "RMSprop"])
def test_training(kind, to_none):
    x, y = nt.randn(6, 3), nt.randn(6, 1)

    def made():
        model = network()
        return model, getattr(optim, kind)(model.parameters(), lr=0.05)

    def step_of(model, optimizer):
        def step(x, y):
            optimizer.zero_grad(set_to_none=to_none)
            loss = F.mse_loss(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            return loss

        return step

    model, optimizer = made()
    twin, other = made()
    step, f = step_of(model, optimizer), nt.jit(step_of(twin, other))
    for k in range(6):
        for o in (optimizer, other):
            o.param_groups[0]["lr"] = 0.05 / (k + 1)
        same(f(x, y), step(x, y), 1e-4)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        same(p, q, 1e-4)
        same(p.grad, q.grad, 1e-4)
    assert traces(f) <= 3


def test_gradients_accumulate_over_calls():
    model, twin = network(), network()
    f = nt.jit(lambda x: model(x).sum().backward())
    for k in range(4):
        x = nt.randn(2, 3)
        assert f(x) is None
        twin(x).sum().backward()
        if k == 2:
            model.zero_grad(set_to_none=False), twin.zero_grad(set_to_none=False)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        same(p.grad, q.grad)


def test_one_tensor_for_two_that_get_gradients():
    f = nt.jit(lambda x, y: (x * y).sum().backward())
    x, y = nt.full((2,), 3.0, requires_grad=True), nt.ones(2, requires_grad=True)
    f(x, y)
    assert x.grad.tolist() == [1, 1] and y.grad.tolist() == [3, 3]
    x.grad = None
    f(x, x)
    assert x.grad.tolist() == [6, 6]


def test_shared_weights_and_hooks():
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    handle = model.register_forward_hook(lambda module, args, result: result * 2)
    f = nt.jit(model)
    x = nt.randn(3, 2)
    for _ in range(2):
        want, got = model(x), f(x)
        same(got, want)
    handle.remove()
    same(f(x), model(x))


def test_requires_grad_is_noticed():
    w = nt.ones(2)
    f = nt.jit(lambda x: x * w)
    assert not f(nt.ones(2)).requires_grad
    w.requires_grad_()
    f(nt.ones(2)).sum().backward()
    assert w.grad.tolist() == [1, 1]
    with nt.no_grad():
        assert not f(nt.ones(2)).requires_grad
    assert not nt.jit(lambda x: quiet(x, w))(nt.ones(2)).requires_grad


def quiet(x, w):
    with nt.no_grad():
        return x * w


# Arguments and results


def test_kinds_of_arguments():
    def f(data, pair, *, scale=2.0, flags=(True, None)):
        found = data["x"] * scale + pair.first - pair.second[0]
        return {
            "sum": found.sum(),
            "pair": Pair(found, [found + 1]),
            "n": 3,
            "no": None,
        }

    jitted = nt.jit(f)
    for scale in (2.0, 3.0, 4.0, 5.0):
        args = {"x": nt.randn(3)}, Pair(nt.randn(3), [nt.randn(3)])
        got, want = jitted(*args, scale=scale), f(*args, scale=scale)
        assert list(got) == list(want) and got["n"] == 3 and got["no"] is None
        assert type(got["pair"]) is Pair
        same(got["sum"], want["sum"])
        same(got["pair"].second[0], want["pair"].second[0])
    assert traces(jitted) <= 2
    same(jitted(*args)["sum"], f(*args)["sum"])


def test_modules_methods_lambdas():
    class Twice:
        def __init__(self):
            self.w = nt.full((2,), 2.0)

        @nt.jit
        def method(self, x):
            return self.w * x

        def other(self, x):
            return self.w * x + 1

    one, two = Twice(), Twice()
    two.w = nt.full((2,), 5.0)
    for _ in range(2):
        assert one.method(nt.ones(2)).tolist() == [2, 2]
        assert two.method(nt.ones(2)).tolist() == [5, 5]
    assert nt.jit(two.other)(nt.ones(2)).tolist() == [6, 6]
    f = nt.jit(lambda model, x: model(x))
    model, x = network(), nt.randn(2, 3)
    same(f(model, x), model(x))
    same(f(network(1), x), network(1)(x))


def test_nested_and_recursive():
    @nt.jit
    def inner(x, n):
        return x if n == 0 else inner(x * 2, n - 1)

    outer = nt.jit(lambda x: inner(x, 3) + 1)
    assert outer(nt.ones(2)).tolist() == [9, 9]
    assert inner(nt.ones(2), 2).tolist() == [4, 4]


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (4,), (2, 3)])
@pytest.mark.parametrize("dtype", [nt.float64, nt.int64, nt.bool])
def test_dtypes_and_sizes(shape, dtype):
    x = nt.ones(shape, dtype=dtype)
    f = lambda x: (x + x, x.sum(), (x * 2).float().mean())  # noqa: E731
    for got, want in zip(nt.jit(f)(x), f(x), strict=True):
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        laws.assert_close(got.numpy(), want.numpy(), 1e-6)


def test_names():
    x = nt.ones(2, 3, names=("rows", "columns"))
    f = nt.jit(lambda x: (x.sum("rows"), x.align_to("columns", "rows") * 2))
    for _ in range(2):
        total, turned = f(x)
        assert total.names == ("columns",) and turned.names == ("columns", "rows")


def test_the_default_dtype():
    f = nt.jit(lambda: nt.ones(2))
    assert f().dtype is nt.float32
    nt.set_default_dtype(nt.float64)
    try:
        assert f().dtype is nt.float64
    finally:
        nt.set_default_dtype(nt.float32)
    assert f().dtype is nt.float32


# Aliases


def test_arguments_that_share_memory():
    def f(x, y):
        x.mul_(2)
        return x + y

    jitted = nt.jit(f)
    for choose in (
        lambda x: (x, nt.ones(3)), lambda x: (x, x), lambda x: (x[:3], x[1:]),
        lambda x: (x, nt.ones(3)), lambda x: (x[1:], x[:3]),
    ):  # fmt: skip
        a = (
            nt.arange(4.0)
            if choose(nt.zeros(4))[0].numel() == 3
            and (choose(nt.zeros(4))[1].numel() == 3)
            else nt.arange(3.0)
        )
        b = a.clone()
        got, want = jitted(*choose(b)), f(*choose(a))
        assert got.tolist() == want.tolist()
        assert a.tolist() == b.tolist()


def test_results_that_are_arguments_or_views_of_them():
    f = nt.jit(lambda x: (x, x[0], x.t(), x + 0, x))
    x = nt.randn(2, 3)
    for _ in range(2):
        itself, row, turned, copy, again = f(x)
        assert itself is x and again is x
        row.fill_(5)
        assert x[0].tolist() == [5, 5, 5] and turned[0, 0] == 5
        assert copy._storage is not x._storage


# Randomness


def test_random_numbers_are_those_of_the_seed():
    dropout = nn.Dropout(0.5)
    f = lambda x: dropout(x) + nt.rand(8) + nt.randn(8)  # noqa: E731
    jitted = nt.jit(f)
    nt.manual_seed(4)
    want = [f(nt.ones(8)) for _ in range(3)]
    nt.manual_seed(4)
    for w in want:
        same(jitted(nt.ones(8)), w, 1e-6)


# Gradients


def test_gradients_of_gradients():
    def f(x, w):
        return (x * w).tanh().sum(), (x * x).sum()

    jitted = nt.jit(f)
    found = []
    for call in (f, jitted):
        x = nt.tensor([0.5, -1.0], dtype=nt.float64, requires_grad=True)
        w = nt.tensor([2.0, 3.0], dtype=nt.float64, requires_grad=True)
        a, b = call(x, w)
        gx, gw = nt.autograd.grad(a + b, (x, w), create_graph=True)
        (gx * gw).sum().backward()
        found.append((gx, gw, x.grad, w.grad))
    for got, want in zip(found[1], found[0], strict=True):
        same(got, want, 1e-12)


def test_backward_twice():
    x = nt.ones(2, requires_grad=True)
    loss = nt.jit(lambda x: (x * x).sum())(x)
    loss.backward(retain_graph=True)
    loss.backward()
    assert x.grad.tolist() == [4, 4]
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


# Errors


def branch(x):
    if x.sum() > 0:
        return x
    return -x


def asserts(x):
    assert (x > 0).all()
    return x


def loops(x):
    while x.sum() < 10:
        x = x * 2
    return x


@pytest.mark.parametrize(
    ("function", "line", "way_out"),
    [
        (branch, 1, "nt.where"),
        (asserts, 1, "keep the condition out"),
        (loops, 1, "nt.where"),
    ],
)
def test_branches_on_data(function, line, way_out):
    line += function.__code__.co_firstlineno
    with pytest.raises(TraceError, match=way_out) as caught:
        nt.jit(function)(nt.ones(2))
    assert f"test_jit_users.py:{line}" in str(caught.value)


def test_an_exception_leaves_everything_as_it_was():
    model = network()
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    kept = nt.ones(2)
    stop = True

    @nt.jit
    def step(x):
        nonlocal kept
        kept = kept * 2
        optimizer.zero_grad()
        loss = model(x).sum()
        loss.backward()
        optimizer.step()
        if stop:
            raise KeyError("mine")
        return loss

    x = nt.randn(2, 3)
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(KeyError, match="mine"):
        step(x)
    assert kept.tolist() == [1, 1]
    for p, q in zip(model.parameters(), before, strict=True):
        assert p.tolist() == q.tolist() and p.grad is None and p.requires_grad
    stop = False
    step(x)
    assert kept.tolist() == [2, 2]
    twin = network()
    other = optim.Adam(twin.parameters(), lr=0.1)
    twin(x).sum().backward()
    other.step()
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        same(p, q)


def test_a_schedule_inside():
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    schedule = optim.lr_scheduler.StepLR(optimizer, 1, 0.5)

    @nt.jit
    def step(x):
        model(x).sum().backward()
        optimizer.step()
        schedule.step()

    with pytest.raises(TraceError, match="changes 'lr' of an optimiser"):
        step(nt.ones(2, 3))
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_appending_to_a_list_outside():
    losses = []

    @nt.jit
    def f(x):
        losses.append(x.sum())
        return x

    with pytest.raises(TraceError, match="append it where it is returned"):
        f(nt.ones(2))
    assert losses == []


def test_a_traced_tensor_can_be_printed():
    shown = []

    @nt.jit
    def f(x):
        y = x * 2
        shown.append(f"{y!r} {y.shape}")
        return y

    f(nt.ones(2))
    assert len(shown) == 1 and "2" in shown[0]


# Switches, sources, threads, processes


def test_switched_off():
    calls = []

    @nt.jit
    def f(x):
        calls.append(1)
        return x * 2

    with nt.jit_disabled():
        f(nt.ones(2)), f(nt.ones(2))
    assert len(calls) == 2 and traces(f) == 0
    f(nt.ones(2)), f(nt.ones(2))
    assert len(calls) == 3


def test_switched_off_in_the_environment():
    text = (
        "import numtensor as nt\n"
        "f = nt.jit(lambda x: 1 if x.sum() > 0 else 2)\n"
        "print(f(nt.ones(2)), f.repeat(3, nt.ones(2)))"
    )
    env = os.environ | {"NUMTENSOR_JIT": "0"}
    done = subprocess.run(
        [sys.executable, "-c", text], env=env, capture_output=True, text=True
    )
    assert done.stdout == "1 1\n", done.stderr


def test_source_explain_repeat():
    w = nt.zeros(3)

    @nt.jit
    def step(x):
        w.add_(x)
        return w.sum()

    with pytest.raises(RuntimeError, match="has not been called yet"):
        step.source()
    assert step.repeat(5, nt.ones(3)).item() == 15
    assert w.tolist() == [5, 5, 5] and w._version == 5
    assert "add" in step.source() and "def " in step.source()
    assert "bytes" in repr(step.explain())
    with pytest.raises(ValueError, match="repeat: got 0"):
        step.repeat(0)


def test_threads():
    f = nt.jit(lambda x: (x * 2).sum(0))
    found = {}

    def work(k):
        x = nt.full((3, k % 2 + 1), float(k))
        found[k] = [f(x).tolist() for _ in range(20)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k, results in found.items():
        assert results == [[6.0 * k] * (k % 2 + 1)] * 20


@pytest.mark.cuda
def test_cuda():
    x = nt.arange(6.0, device="cuda").reshape(2, 3).requires_grad_()
    f = nt.jit(lambda x: (x.softmax(1) * x).sum())
    loss = f(x)
    loss.backward()
    twin = x.detach().cpu().requires_grad_()
    want = (twin.softmax(1) * twin).sum()
    want.backward()
    same(loss.cpu(), want)
    same(x.grad.cpu(), twin.grad)


@pytest.mark.parametrize("n", [10, 300_000])
def test_memory_that_comes_to_overlap_is_noticed(n):
    def shift(x, y):
        x.add_(1)
        return x + y

    jitted = nt.jit(shift)
    jitted(nt.ones(n), nt.zeros(n))
    shared = np.arange(2.0 * n, dtype=np.float32)
    again = shared.copy()
    got = jitted(nt.from_numpy(shared[:n]), nt.from_numpy(shared[1 : n + 1]))
    want = shift(nt.from_numpy(again[:n]), nt.from_numpy(again[1 : n + 1]))
    assert nt.equal(got, want)
    np.testing.assert_array_equal(shared, again)


def test_arguments_are_let_go():
    @nt.jit
    def weighted(x, w):
        return (x * w).sum()

    x, w = nt.ones(100), nt.ones(100, requires_grad=True)
    seen = [weakref.ref(x), weakref.ref(w)]
    weighted(x, w).backward()
    del x, w
    gc.collect()
    assert [r() for r in seen] == [None, None]
    assert weighted.repeat(3, nt.ones(100), nt.ones(100, requires_grad=True)) == 100
