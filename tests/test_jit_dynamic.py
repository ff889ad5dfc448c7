"""`jit(dynamic=True)`: kernels that serve any size, and many sizes kept."""

from __future__ import annotations

import numpy as np
import pytest

import numtensor as nt
from numtensor import nn
from numtensor.jit import front
from numtensor.kernels import compiler

F = nn.functional


def close(a, b, tolerance=1e-5):
    assert a.shape == b.shape
    a, b = a.detach().cpu().numpy(), b.detach().cpu().numpy()
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def loaded():
    """Return how many kernels were compiled, or found on disk, so far."""
    return compiler.statistics["compiled"] + compiler.statistics["linked"]


def regression(device):
    nt.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.LayerNorm(6), nn.Linear(6, 3))
    model.to(device)
    optimizer = nt.optim.Adam(model.parameters(), lr=0.01)

    def step(x):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), x[:, :3])
        loss.backward()
        optimizer.step()
        return loss

    return model, step


def classifier(device):
    nt.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)
    )
    model.to(device)
    optimizer = nt.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step(x):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), (x.abs() * 7).to(nt.int64)[:, 0] % 3)
        loss.backward()
        optimizer.step()
        return loss

    return model, step


STEPS = {"regression": regression, "classifier": classifier}


@pytest.mark.parametrize("name", STEPS)
def test_other_batch_sizes_need_no_other_kernels(name):
    model, eager = STEPS[name]("cpu")
    other, traced = STEPS[name]("cpu")
    step = nt.jit(traced, dynamic=True)
    for _ in range(2):  # then there are gradients and momentum
        x = nt.randn(3, 4)
        close(step(x), eager(x))
    before = loaded()
    batches = [nt.randn(n, 4) for n in (5, 7, 100, 64, 2, 300, 3, 100)]
    found = [step(x) for x in batches]
    assert loaded() == before
    for x, loss in zip(batches, found, strict=True):
        close(loss, eager(x), 1e-4)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        close(p, q, 1e-4)
        close(p.grad, q.grad, 1e-4)


def test_ways_back_serve_all_sizes():
    def function(x, w):
        return F.softmax(x @ w, 1).pow(2).mean(), x.std(0), (x @ w).logsumexp(1)

    jitted = nt.jit(function, dynamic=True)

    def gradients(f, x, w):
        return nt.autograd.grad(sum(r.sum() for r in f(x, w)), [x, w])

    known = 0
    for n in (3, 5, 7, 100, 2):
        x, w = nt.randn(n, 4).requires_grad_(), nt.randn(4, 6).requires_grad_()
        known = known or loaded()
        found = gradients(jitted, x, w)
        if n == 3:
            known = 0
        elif n > 3:
            assert loaded() == known
        for a, b in zip(found, gradients(function, x, w), strict=True):
            close(a, b, 1e-4)
        known = loaded()


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x.mean(), x.mean(0), x.var(0), x.std(1), x.norm()),
        lambda x: (x.softmax(0), x.softmax(1), x.log_softmax(0), x.logsumexp(1)),
        lambda x: (F.layer_norm(x, x.shape[1:]), F.normalize(x, dim=1)),
        lambda x: (x @ x.t(), x.t() @ x, x @ x.new_ones(5, 2)[: x.shape[1]]),
        lambda x: (x.t() + 1, x[:, ::2] * 2, x + x[:1].sum(0), x.clamp(-1, 1) ** 3),
        lambda x: (x.argmax(1), x.amax(), x.cumsum(0), x.sort(1)[0], (x > 0).any(1)),
        lambda x: (nt.cat([x, x]), x.flip(0), x.add_(1), x.mul_(2)),
    ],
)
def test_values(function):
    jitted = nt.jit(function, dynamic=True)
    for shape in ((3, 5), (1, 5), (5, 1), (1, 1), (8, 5), (200, 5), (0, 5)):
        if 0 in shape and "argmax" in function.__code__.co_names:
            continue
        x = nt.randn(*shape)
        other = x.clone()
        found, wanted = jitted(x), function(other)
        for a, b in zip(found, wanted, strict=True):
            assert a.dtype is b.dtype
            close(a, b, 2e-5)
        close(x, other)


def test_sizes_are_found_again_and_the_oldest_forgotten(monkeypatch):
    monkeypatch.setattr(front, "_MOST_SIZES", 4)
    traced = []

    @nt.jit(dynamic=True)
    def function(x, y=None):
        traced.append(x.shape[0])
        return x * 2 if y is None else x + y

    for n in (1, 2, 3, 4, 1, 2, 3, 4):
        assert function(nt.ones(n)).shape == (n,)
    assert traced == [1, 2, 3, 4]
    function(nt.ones(1))  # used last
    function(nt.ones(5))  # in the place of 2
    function(nt.ones(1))
    assert traced == [1, 2, 3, 4, 5]
    function(nt.ones(2))
    assert traced == [1, 2, 3, 4, 5, 2]
    assert len(function._specials) == 4
    close(function(nt.ones(7), y=nt.ones(1)), nt.full((7,), 2.0))
    close(function(nt.ones(7), y=nt.ones(7)), nt.full((7,), 2.0))
    assert traced[6:] == [7, 7]


def test_numbers_that_vary_with_sizes():
    traced = []

    @nt.jit(dynamic=True)
    def function(x, rate):
        traced.append(rate)
        return (x * rate).mean()

    for n, rate in ((3, 0.5), (3, 0.25), (3, 0.125), (4, 2.0), (4, 3.0), (4, 5.0)):
        close(function(nt.ones(n), rate), nt.tensor(rate))
    assert len(traced) == 3  # its number known, then one that varies, for both sizes


def test_repeat_source_and_explain():
    p = nt.zeros(3)

    @nt.jit(dynamic=True)
    def step(x):
        p.add_(x.mean(0))
        return p.sum()

    assert step.dynamic
    assert step.repeat(4, nt.ones(5, 3)).item() == 12
    assert step.repeat(3, nt.ones(7, 3)).item() == 21
    assert "number of" not in step.source() and "def " in step.source()
    assert "mean" in str(step.explain())
    # a kernel that has the size in it is what a function is without `dynamic`
    fixed = nt.jit(lambda x: x * 2)
    fixed(nt.ones(37))
    assert "range(37)" in fixed.source()
    loose = nt.jit(fixed, dynamic=True)
    assert loose.dynamic and nt.jit(loose) is loose and nt.jit(fixed) is fixed
    loose(nt.ones(37))
    assert "37" not in loose.source()


def test_a_dynamic_one_inside_another():
    inner = nt.jit(lambda x: x.mean() * 2, dynamic=True)
    outer = nt.jit(lambda x: inner(x) + 1)
    for n in (3, 4):
        close(outer(nt.ones(n)), nt.tensor(3.0))


@pytest.mark.cuda
@pytest.mark.parametrize("name", STEPS)
def test_on_a_device(name):
    _, eager = STEPS[name]("cuda")
    _, traced = STEPS[name]("cuda")
    step = nt.jit(traced, dynamic=True)
    for n in (3, 5, 2, 3):
        x = nt.randn(n, 4).to("cuda")
        close(step(x), eager(x), 1e-4)


def test_plain_values_are_told_apart_by_what_they_are():
    @nt.jit
    def shifted(x, value):
        return nt.copysign(x, value) if value == value else x * 0

    x = nt.ones(3)
    assert shifted(x, 0.0).tolist() == [1, 1, 1]
    assert shifted(x, -0.0).tolist() == [-1, -1, -1]
    assert shifted(x, 0).tolist() == [1, 1, 1]
    nan = float("nan")
    for _ in range(3):
        assert shifted(x, nan).tolist() == [0, 0, 0]
    assert len(shifted._specials) == 4


def test_a_traced_tensor_is_on_the_device_that_it_is_on():
    where = nt.device("cpu")

    @nt.jit
    def chosen(x):
        return x + 1 if x.device == where and x.device != nt.device("cuda", 0) else x

    assert chosen(nt.ones(2)).tolist() == [2, 2]
