"""Training steps of small networks: forward, backward and an optimiser's update."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from benchmarks.workloads import LEARNING_RATE, T_C, T_U, Group, Run


def parts(m: Any, *names: str) -> list[Any]:
    """Return modules of a library, which need not be loaded with it."""
    return [import_module(f"{m.__name__}.{name}") for name in names]


def thermometer(m: Any) -> tuple[Any, Any]:
    """Return readings and temperatures as columns."""
    return m.tensor(T_U).unsqueeze(1) * 0.1, m.tensor(T_C).unsqueeze(1)


def step(model: Any, optimizer: Any, loss_fn: Any, x: Any, y: Any) -> Run:
    def run() -> None:
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return run


def epoch_sgd(m: Any) -> Run:
    nn, optim = parts(m, "nn", "optim")
    model = nn.Linear(1, 1)
    optimizer = optim.SGD(model.parameters(), lr=LEARNING_RATE)
    return step(model, optimizer, nn.MSELoss(), *thermometer(m))


def epoch_adam(m: Any) -> Run:
    nn, optim = parts(m, "nn", "optim")
    model = nn.Sequential(nn.Linear(1, 13), nn.Tanh(), nn.Linear(13, 1))
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    return step(model, optimizer, nn.MSELoss(), *thermometer(m))


def mlp(m: Any, x: Any) -> Run:
    nn, optim = parts(m, "nn", "optim")
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = optim.SGD(model.parameters(), lr=LEARNING_RATE)
    y = m.arange(64) % 10
    return step(model, optimizer, nn.CrossEntropyLoss(), x, y)


def conv2d(m: Any, x: Any, w: Any) -> Run:
    (functional,) = parts(m, "nn.functional")
    return lambda: functional.conv2d(x, w, padding=1)


def conv2d_grad(m: Any, x: Any, w: Any) -> Run:
    (functional,) = parts(m, "nn.functional")
    x.requires_grad_()
    w.requires_grad_()

    def run() -> None:
        x.grad = w.grad = None
        functional.conv2d(x, w, padding=1).sum().backward()

    return run


GROUP = Group()
add = GROUP.add
add("epoch_sgd", [], epoch_sgd, "torch", torch=0.5)
add("epoch_adam", [], epoch_adam, "torch", torch=0.5)
add("mlp_784_256_10", [(64, 784)], mlp, "torch", torch=1.0)
images = [(32, 3, 64, 64), (16, 3, 3, 3)]
add("conv2d", images, conv2d, "torch", torch=1.3)
add("conv2d_grad", images, conv2d_grad, "torch")
