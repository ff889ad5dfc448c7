"""Jitted functions on a CUDA device, against the same functions run eagerly there.

The device is Numba's simulator where there is no GPU, so shapes are tiny.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest

import numtensor as nt
from numtensor import nn
from numtensor.kernels.cuda import driver

pytestmark = pytest.mark.cuda
F = nn.functional


def made(array, dtype="float32"):
    return nt.tensor(np.asarray(array).tolist(), dtype=dtype, device="cuda")


def numbers(*shape, dtype="float32", seed=0):
    drawn = np.random.default_rng(seed).standard_normal(shape)
    return made((drawn * 4).round(3), dtype)


def close(a, b, tolerance=1e-5):
    assert a.device == b.device and a.dtype is b.dtype and a.shape == b.shape
    a, b = (t.detach().cpu().numpy() for t in (a, b))
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def all_close(found, wanted):
    if isinstance(found, nt.Tensor):
        found, wanted = (found,), (wanted,)
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        close(a, b)


@pytest.fixture
def launches(monkeypatch):
    """Return the names of the kernels that are launched from now on."""
    api = driver.current()
    found: list[str] = []
    real = api.launch

    def launch(index, kernel, *rest):
        found.append(getattr(kernel, "name", ""))
        real(index, kernel, *rest)

    monkeypatch.setattr(api, "launch", launch)
    return found


def softmax_by_hand(x):
    e = (x - x.amax(1, keepdim=True)).exp()
    return e / e.sum(1, keepdim=True)


def norm_by_hand(x):
    away = x - x.mean(-1, keepdim=True)
    return away / ((away * away).mean(-1, keepdim=True) + 1e-5).sqrt()


def constants(x):
    w = nt.tensor([1.0, 2.0, 3.0], device="cuda")
    w += 1
    return (
        x * w + nt.tensor([[1.0], [0.5]], device="cuda"),
        w,
        nt.arange(3, device="cuda") * 2,
        nt.full((2,), 7.0, device="cuda"),
        nt.eye(2, device="cuda"),
    )


FUNCTIONS = {
    "flat": lambda x: (2 * x + 1) ** 2 - x.abs(),
    "broadcast": lambda x: (x + x[0]) * x[:, :1],
    "transposed": lambda x: x.t().exp() + x.t()[0],
    "one across another": lambda x: x[:, :2] * 3 + x[:, :2].t(),
    "dtypes": lambda x: (x.to(nt.float64) * 2, x > 0, (x * 2).to(nt.int64) // 3),
    "where": lambda x: nt.where(x > 0, x.exp(), x.sigmoid()),
    "softmax": lambda x: x.softmax(1),
    "softmax of columns": lambda x: F.softmax(x, 0),
    "softmax by hand": softmax_by_hand,
    "norm by hand": norm_by_hand,
    "layer norm": lambda x: F.layer_norm(x, (3,)),
    "log softmax": lambda x: F.log_softmax(x, 1),
    "sums": lambda x: (x.sum(), x.sum(0), x.mean(1), (x * x).sum(1, keepdim=True)),
    "extremes": lambda x: (x.amax(0), x.amin(), x.argmax(1), x.max(0)),
    "logic": lambda x: ((x > 0).all(1), (x > 9).any()),
    "spread": lambda x: (x.var(0), x.std(), x.norm()),
    "products": lambda x: (x @ x.t(), x @ x[0], (x @ x.t() + 1).relu()),
    "stacks": lambda x: nt.bmm(x.expand(2, 2, 3), x.t().expand(2, 3, 2)),
    "by hand": lambda x: (x.cumsum(1), x.sort(1), x.flip(0)),
    "views": lambda x: (x.t(), x[1:], x.reshape(3, 2), (x + 1).t(), x.diagonal()),
    "joined": lambda x: nt.cat([x, x * 2], 1),
    "constants": constants,
    "indexed": lambda x: x[nt.tensor([1, 0, 1], device="cuda")],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_a_device_computes(name):
    function = FUNCTIONS[name]
    jitted = nt.jit(function)
    for seed in range(2):  # the second one replays
        x = numbers(2, 3, seed=seed)
        wanted = function(x)
        found = jitted(x)
        if name == "extremes":
            wanted = (*wanted[:3], *wanted[3])
            found = (*found[:3], *found[3])
        if name == "by hand":
            wanted = (wanted[0], *wanted[1], wanted[2])
            found = (found[0], *found[1], found[2])
        all_close(found, wanted)
    assert "1 specialisations" in repr(jitted)


LAYOUTS = {
    "transposed": lambda x: x.t(),
    "sliced": lambda x: x[:, ::2],
    "expanded": lambda x: x[:1].expand(4, 4),
    "one element": lambda x: x[:1, :1],
    "none": lambda x: x[:, :0],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout):
    x = LAYOUTS[layout](numbers(4, 4))

    def function(x):
        return x.exp() * 2, x.sum(1), x.sum(), norm_by_hand(x), x.t() + 1

    all_close(nt.jit(function)(x), function(x))


@pytest.mark.parametrize("rows, columns", [(1, 1), (3, 2), (2, 40), (9, 5), (40, 3)])
def test_rows_of_all_lengths(rows, columns):
    x, y = numbers(rows, columns), numbers(rows, columns, seed=1)

    def function(x, y):
        return softmax_by_hand(x) * y, norm_by_hand(x + y), (x * y).sum(0), x.sum()

    all_close(nt.jit(function)(x, y), function(x, y))
    all_close(nt.jit(function)(x.t(), y.t()), function(x.t(), y.t()))


@pytest.mark.parametrize("dtype", ["float64", "int64", "int32", "uint8", "bool"])
def test_dtypes(dtype):
    x = made([[0, 1, 2], [3, 1, 0]], dtype)

    def function(x):
        return (x * 2 + 1).sum(1), x.amax(0), x == x[0], x.sum(), x / 2

    all_close(nt.jit(function)(x), function(x))


def test_a_chain_is_one_launch(launches):
    x = numbers(2, 3)
    jitted = nt.jit(lambda x: ((2 * x + 1).exp() - x).tanh() * 3)
    jitted(x)
    launches.clear()
    jitted(x)
    assert len(launches) == 1
    assert jitted.source().count("@kernel") == 1


def test_a_loss_and_its_gradient_are_few_launches(launches):
    x, labels = numbers(3, 4).requires_grad_(), made([0, 3, 1], "int64")

    def step(x, labels):
        x.grad = None
        loss = F.cross_entropy(x, labels, reduction="sum")
        loss.backward()
        return loss

    jitted = nt.jit(step)
    other = x.detach().clone().requires_grad_()
    for _ in range(2):
        launches.clear()
        found = jitted(x, labels)
        count = len(launches)
        close(found, step(other, labels))
        close(x.grad, other.grad)
    # what labels are good, rows, and the sum of their losses
    assert count <= 3 < len(launches) - count
    assert "_sweeps:" in jitted.source()


def test_in_place():
    def function(x):
        x.mul_(2)
        x[0] += 1
        x[:, 1] = 7
        x.t().add_(1)
        view = x[1]
        view.clamp_(max=3)
        return view, x.sum()

    a, b = numbers(2, 3), numbers(2, 3)
    jitted = nt.jit(function)
    for _ in range(2):
        before = a._version
        all_close(jitted(a), function(b))
        close(a, b)
        assert a._version - before == 6
    view, _ = jitted(a)
    view.zero_()
    assert a[1].tolist() == [0, 0, 0]


def test_memory_that_overlaps_is_left_to_the_eager_way():
    def function(x, y):
        x.add_(1)
        return x * y

    for a in (numbers(6), numbers(6, seed=1)):
        jitted = nt.jit(function)
        jitted(numbers(5), numbers(5))
        b = a.clone()
        close(jitted(a[1:], a[:-1]), function(b[1:], b[:-1]))
        close(a, b)


def test_random_numbers():
    def function(x):
        return x + nt.rand(2, 3, device="cuda") + nt.randn(2, 3, device="cuda")

    def dropped(x):
        return F.dropout(x, 0.5) * 2

    def filled(x):
        return nt.empty_like(x).uniform_(2, 3), nt.randint(9, (4,), device="cuda")

    x = numbers(2, 3)
    for f in (function, dropped, filled):
        nt.manual_seed(3)
        wanted = [f(x) for _ in range(3)]
        nt.manual_seed(3)
        jitted = nt.jit(f)
        for one in wanted:
            all_close(jitted(x), one)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x.sin() * x).sum(),
        lambda x: F.softmax(x, 1) * x,
        lambda x: F.layer_norm(x, (3,)).exp(),
        lambda x: x @ x.t(),
        lambda x: F.cross_entropy(x, nt.tensor([0, 2], device="cuda")),
    ],
)
def test_gradients_outside(function):
    a, b = (numbers(2, 3).requires_grad_() for _ in range(2))
    jitted = nt.jit(function)
    for _ in range(3):
        jitted(a).exp().sum().backward()
        function(b).exp().sum().backward()
        close(a.grad, b.grad, 1e-4)
    for f, x in ((jitted, a), (function, b)):
        (g,) = nt.autograd.grad(f(x).sum(), x, create_graph=True)
        x.grad = None
        g.sin().sum().backward()
    close(a.grad, b.grad, 1e-4)


class _Sine(nt.autograd.Function):
    """Finishes its gradient in the memory that it kept."""

    @staticmethod
    def forward(ctx, x):
        ctx.slopes = x.detach().cos() @ nt.eye(3, device=x.device)
        return x.sin()

    @staticmethod
    def backward(ctx, grad):
        return ctx.slopes.mul_(grad)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_a_way_back_overwrites_is_kept_for_the_next(device):
    x = numbers(2, 3).to(device).requires_grad_()
    wanted = 6 * x.detach().cos()
    result = nt.jit(lambda x: _Sine.apply(x) * 2)(x)
    for retain in (True, False):
        x.grad = None
        result.backward(nt.full((2, 3), 3.0, device=device), retain_graph=retain)
        close(x.grad, wanted)


def thermometer():
    params = made([1.0, 0.0]).requires_grad_()
    t_u, t_c = made([3.57, 5.59, 5.82, 8.19]), made([0.5, 14.0, 15.0, 28.0])

    def step():
        params.grad = None
        w, b = params
        loss = ((w * t_u + b - t_c) ** 2).mean()
        loss.backward()
        with nt.no_grad():
            params.sub_(1e-2 * params.grad)
        return loss

    return step, [params]


def network(optimizer, **options):
    nt.manual_seed(1)
    model = nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1)).to("cuda")
    x, y = made([[0.1], [0.5], [-0.3]]), made([[1.0], [2.0], [0.0]])
    optimizer = getattr(nt.optim, optimizer)(model.parameters(), **options)

    def step():
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step, list(model.parameters())


def classifier():
    nt.manual_seed(2)
    model = nn.Sequential(
        nn.Linear(4, 5), nn.LayerNorm(5), nn.GELU(), nn.Dropout(0.25), nn.Linear(5, 3)
    ).to("cuda")
    x, labels = numbers(3, 4), made([0, 2, 1], "int64")
    optimizer = nt.optim.AdamW(model.parameters(), lr=0.05)

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        return loss

    return step, list(model.parameters())


STEPS = {
    "thermometer": thermometer,
    "SGD": lambda: network("SGD", lr=0.1),
    "momentum": lambda: network("SGD", lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda: network("Adam", lr=0.05),
    "RMSprop": lambda: network("RMSprop", lr=0.05, centered=True),
    "classifier": classifier,
}


@pytest.mark.parametrize("name", STEPS)
def test_training_steps(name):
    eager, first = STEPS[name]()
    other, second = STEPS[name]()
    step = nt.jit(other)
    state = nt.cuda.get_rng_state()

    nt.manual_seed(5)
    wanted = [eager() for _ in range(6)]
    nt.manual_seed(5)
    found = [step() for _ in range(3)] + [step.repeat(3)]
    nt.cuda.set_rng_state(state)
    for a, b in zip(found, [*wanted[:3], wanted[5]], strict=True):
        close(a, b)
    for p, q in zip(first, second, strict=True):
        close(p, q)
        close(p.grad, q.grad)
    # gradients, and momentum, are there from the second call on
    assert "2 specialisations" in repr(step) or name == "momentum"


def test_numbers_that_vary_do_not_trace_again():
    def function(x, rate):
        return x * rate + rate**2

    jitted, x = nt.jit(function), numbers(2, 3)
    for rate in (1.0, 0.5, 0.25, 0.125, 3.0):
        close(jitted(x, rate), function(x, rate))
    assert "2 specialisations" in repr(jitted)


def test_names_and_modules_with_a_jitted_function():
    x = numbers(2, 3).rename("N", "C")
    jitted = nt.jit(lambda x: (x * 2).sum("N"))
    assert jitted(x).names == ("C",)
    model = nn.Linear(3, 2).to("cuda")
    forward = nt.jit(model.forward)
    y = numbers(2, 3)
    close(forward(y), model(y))
    other = copy.deepcopy(model)
    close(nt.jit(other)(y), model(y))


@pytest.mark.parametrize(
    "function, told",
    [
        (lambda x, y: x + y.to("cuda"), "a copy from cpu to cuda:0 inside"),
        (lambda x, y: (x * 2).cpu(), "a copy from cuda:0 to cpu inside"),
        (lambda x, y: (x * 2, y * 2), "a tensor made on cpu, in a function on cuda:0"),
        (lambda x, y: (x * 2, nt.ones(3)), "a tensor made on cpu, in a function on"),
        (lambda x, y: (x * 2, y.add_(1))[0], "add of a tensor on cpu at .*, in a"),
        (lambda x, y: x + y, "tensors on cuda:0 and cpu"),
    ],
)
def test_two_devices_are_refused(function, told):
    x, y = numbers(2, 3), nt.ones(3)
    with pytest.raises(RuntimeError, match=told):
        nt.jit(function)(x, y)
    assert x.device.type == "cuda" and y.device.type == "cpu"
    close(x, numbers(2, 3))
    assert y.tolist() == [1, 1, 1]


def test_tensors_of_the_host_may_be_looked_at_and_returned():
    y = nt.ones(3)
    jitted = nt.jit(lambda x: (x * y.shape[0], y))
    for _ in range(2):
        scaled, same = jitted(numbers(2, 3))
        assert same is y
        close(scaled, numbers(2, 3) * 3)


def test_explain_and_source_say_what_runs():
    jitted = nt.jit(lambda x: softmax_by_hand(x) + 1)
    x = numbers(2, 3)
    jitted(x)
    assert "on CUDA" in jitted.source()
    assert "on CUDA" in jitted.source(device="cuda")
    assert "on CUDA" not in jitted.source(device="cpu")
    assert "sweeps" in str(jitted.explain())


def test_streams():
    x = numbers(2, 3)
    jitted = nt.jit(lambda x: x.exp().sum(1) * 2)
    jitted(x)
    stream = nt.cuda.Stream()
    with nt.cuda.stream(stream):
        found = jitted(x)
    stream.synchronize()
    close(found, x.exp().sum(1) * 2)
