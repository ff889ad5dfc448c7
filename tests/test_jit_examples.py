"""The training steps of every example, jitted, against the same steps eager."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import laws
import pytest

import numtensor as nt
import numtensor.nn as nn
import numtensor.nn.functional as F
import numtensor.optim as optim

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def example(name):
    """Import an example."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def both(prepare, batches, tolerance=2e-5):
    """Run a step eagerly and jitted; `prepare` returns (step, what it changes).

    Returns the jitted step.
    """
    nt.manual_seed(1)
    step, state = prepare()
    nt.manual_seed(2)
    expected = [step(*batch) for batch in batches]
    nt.manual_seed(1)
    twin, copies = prepare()
    jitted = nt.jit(twin)
    nt.manual_seed(2)
    for k, (batch, want) in enumerate(zip(batches, expected, strict=True)):
        got = jitted(*batch)
        where = f"result of step {k}"
        laws.assert_close(numpy_of(got), numpy_of(want), tolerance, where)
    for k, (got, want) in enumerate(zip(copies(), state(), strict=True)):
        laws.assert_close(numpy_of(got), numpy_of(want), tolerance, f"state {k}")
    return jitted


def numpy_of(t):
    return t.detach().rename(None).numpy()


def of(model, optimizer=None):
    """Return a function that gives all that training changes of a model."""

    def state():
        found = [*model.parameters(), *model.buffers()]
        for p in model.parameters() if optimizer else ():
            found += [v for v in optimizer.state[p].values() if nt.is_tensor(v)]
        return found

    return state


@pytest.fixture
def thermometer():
    linear_fit = example("linear_fit")
    t_u = nt.tensor([35.7, 55.9, 58.2, 81.9, 56.3, 48.9, 33.9, 21.8, 48.4, 60.4, 68.4])
    return linear_fit, 0.1 * t_u, nt.tensor(linear_fit.CELSIUS)


def test_linear_fit_by_trying(thermometer):
    example, t_u, t_c = thermometer
    w, b = nt.ones(()), nt.zeros(())
    jitted = nt.jit(example.gradient_by_trying)
    for _ in range(3):
        got = jitted(t_u, t_c, w, b)
        want = example.gradient_by_trying(t_u, t_c, w, b)
        for x, y in zip(got, want, strict=True):
            laws.assert_close(x.numpy(), y.numpy(), 1e-3)
        w, b = w - 0.01 * want[0], b - 0.01 * want[1]


def test_linear_fit_by_hand(thermometer):
    example, t_u, t_c = thermometer

    def prepare():
        params = nt.tensor([1.0, 0.0])

        def step():
            nonlocal params
            w, b = params
            t_p = example.model(t_u, w, b)
            loss = example.loss_fn(t_p, t_c)
            params = params - 1e-2 * example.grad_fn(t_u, t_c, t_p, w, b)
            return loss

        return step, lambda: [params]

    both(prepare, [()] * 20)


def test_linear_fit_by_autograd(thermometer):
    example, t_u, t_c = thermometer

    def prepare():
        params = nt.tensor([1.0, 0.0], requires_grad=True)

        def step():
            if params.grad is not None:
                params.grad.zero_()
            loss = example.loss_fn(example.model(t_u, *params), t_c)
            loss.backward()
            with nt.no_grad():
                params.sub_(1e-2 * params.grad)
            return loss

        return step, lambda: [params, params.grad]

    jitted = both(prepare, [()] * 20)
    assert "2 specialisations" in repr(jitted), "without a gradient, then with one"
    again = nt.jit(prepare()[0])
    again.repeat(30)


def test_tanh_network():
    example("tanh_network")
    x, y = nt.rand(9, 1) * 3, nt.rand(9, 1)

    def prepare():
        model = nn.Sequential(nn.Linear(1, 13), nn.Tanh(), nn.Linear(13, 1))
        optimizer = optim.Adam(model.parameters(), lr=1e-2)
        loss_fn = nn.MSELoss()

        def step(x, y):
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return step, of(model, optimizer)

    both(prepare, [(x, y)] * 6)


def test_wine_regression():
    example("wine_regression")
    batches = [(nt.rand(16, 12), nt.rand(16, 1)) for _ in range(4)]
    batches += [(nt.rand(2, 12), nt.rand(2, 1))] * 2  # what is left over

    def prepare():
        model = nn.Sequential(
            nn.Linear(12, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 1)
        )
        optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
        schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, 6)

        def step(rows, target):
            optimizer.zero_grad()
            loss = F.mse_loss(model(rows), target)
            loss.backward()
            optimizer.step()
            return loss

        return scheduled(step, schedule), of(model, optimizer)

    both_scheduled(prepare, batches)


def scheduled(step, schedule):
    step.schedule = schedule
    return step


def both_scheduled(prepare, batches):
    """As `both`, the rate changing between the steps."""
    nt.manual_seed(1)
    step, state = prepare()
    nt.manual_seed(1)
    twin, copies = prepare()
    jitted = nt.jit(twin)
    for k, batch in enumerate(batches):
        nt.manual_seed(k)
        want = step(*batch)
        nt.manual_seed(k)
        got = jitted(*batch)
        laws.assert_close(numpy_of(got), numpy_of(want), 1e-4, f"step {k}")
        step.schedule.step()
        twin.schedule.step()
    for k, (x, y) in enumerate(zip(copies(), state(), strict=True)):
        laws.assert_close(numpy_of(x), numpy_of(y), 2e-4, f"state {k}")
    return jitted


@pytest.mark.parametrize("kind", ["plain", "convolutional"])
def test_digits(kind):
    pytest.importorskip("sklearn")
    digits = example("digits")
    nt.manual_seed(0)
    batches = [(nt.rand(6, 1, 8, 8), nt.randint(0, 10, (6,))) for _ in range(5)]

    def prepare():
        model = digits.plain(8) if kind == "plain" else digits.Convolutional(2)
        model.train()
        optimizer = optim.Adam(model.parameters())
        schedule = optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=9)

        def step(images, labels):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            return loss

        # what is added before a normalisation has no gradient but rounding, of which
        # Adam makes steps
        kept = [
            p for n, p in model.named_parameters() if n[-6:] not in ("1.bias", "2.bias")
        ]
        return scheduled(step, schedule), lambda: kept

    jitted = both_scheduled(prepare, batches)
    assert len(jitted._specials) <= 4, "the rate is a number of each call"


def test_grayscale():
    img = nt.rand(3, 4, 5)
    weights = nt.tensor([0.2126, 0.7152, 0.0722])

    def gray(img, weights):
        by_place = (img * weights.unsqueeze(-1).unsqueeze(-1)).sum(-3)
        named = img.refine_names(..., "channels", "rows", "columns")
        aligned = weights.refine_names("channels").align_as(named)
        by_name = (named * aligned).sum("channels")
        by_equation = nt.einsum(
            "...chw,c->...hw", named, weights.refine_names("channels")
        )
        return by_place, by_name, by_equation

    want = gray(img, weights)
    jitted = nt.jit(gray)
    for _ in range(2):
        for x, y in zip(jitted(img, weights), want, strict=True):
            assert x.names == y.names
            laws.assert_close(numpy_of(x), numpy_of(y), 1e-6)
