"""The steps of `jit` for numtensor and for PyTorch eager: one text for both.

numtensor's functions go through its `jit`; PyTorch's run as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.workloads import LEARNING_RATE
from benchmarks.workloads.jit import ADAM_RATE, EPOCHS, Job
from benchmarks.workloads.networks import parts

Function = Callable[..., Any]


def compiled(m: Any, function: Function) -> Function:
    """Return the function as its library runs it best."""
    return m.jit(function) if m.__name__ == "numtensor" else function


def leaf(m: Any, array: Any) -> Any:
    """Return a tensor with its own memory, which asks for a gradient."""
    return m.tensor(array).requires_grad_()


def model(m: Any, activation: str, arrays: list[Any], *first: str) -> Any:
    """Return a network of two linear layers with the weights given."""
    (nn,) = parts(m, "nn")
    (hidden, inputs), (outputs, _) = arrays[0].shape, arrays[2].shape
    network = nn.Sequential(
        *(getattr(nn, name)() for name in first),
        nn.Linear(inputs, hidden),
        getattr(nn, activation)(),
        nn.Linear(hidden, outputs),
    )
    with m.no_grad():
        for parameter, array in zip(network.parameters(), arrays, strict=True):
            parameter.copy_(m.from_numpy(array))
    return network


def values(*tensors: Any) -> list[Any]:
    return [x.detach().numpy() for x in tensors]


def thermometer_step(m: Any, t_c: Any, t_u: Any) -> tuple[Function, Any]:
    t_c, t_u = m.from_numpy(t_c), m.from_numpy(t_u)
    params = leaf(m, [1.0, 0.0])

    def step() -> Any:
        params.grad = None
        w, b = params
        loss = ((w * t_u + b - t_c) ** 2).mean()
        loss.backward()
        with m.no_grad():
            params.sub_(LEARNING_RATE * params.grad)
        return loss

    return compiled(m, step), params


def thermometer(m: Any, **arrays: Any) -> Job:
    step, params = thermometer_step(m, **arrays)
    return Job(step, lambda loss: values(loss, params))


def thermometer_repeat(m: Any, **arrays: Any) -> Job:
    step, params = thermometer_step(m, **arrays)

    def loop() -> Any:
        for _ in range(EPOCHS):
            loss = step()
        return loss

    native = m.__name__ == "numtensor"
    call = (lambda: step.repeat(EPOCHS)) if native else loop
    return Job(call, lambda loss: values(loss, params))


def tanh_adam(m: Any, t_c: Any, t_u: Any, weights: list[Any]) -> Job:
    nn, optim = parts(m, "nn", "optim")
    x, y = m.from_numpy(t_u), m.from_numpy(t_c)
    network, loss_fn = model(m, "Tanh", weights), nn.MSELoss()
    optimizer = optim.Adam(network.parameters(), lr=ADAM_RATE)

    def step() -> Any:
        optimizer.zero_grad()
        loss = loss_fn(network(x), y)
        loss.backward()
        optimizer.step()
        return loss

    step = compiled(m, step)
    return Job(step, lambda loss: values(loss, *network.parameters()))


def digits_adam(m: Any, images: Any, labels: Any, weights: list[Any]) -> Job:
    nn, optim = parts(m, "nn", "optim")
    x, y = m.from_numpy(images), m.from_numpy(labels)
    network, loss_fn = model(m, "ReLU", weights, "Flatten"), nn.CrossEntropyLoss()
    optimizer = optim.Adam(network.parameters(), lr=ADAM_RATE)

    def step(images: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_fn(network(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    step = compiled(m, step)
    return Job(lambda: step(x, y), lambda loss: values(loss, *network.parameters()))


def gelu_grad(m: Any, x: Any, y: Any) -> Job:
    (functional,) = parts(m, "nn.functional")
    x, g = leaf(m, x), m.from_numpy(y)

    def step(x: Any, g: Any) -> Any:
        x.grad = None
        out = functional.gelu(x)
        out.backward(g)
        return out

    step = compiled(m, step)
    return Job(lambda: step(x, g), lambda out: values(out, x.grad))


def mse_grad(m: Any, x: Any, y: Any) -> Job:
    (functional,) = parts(m, "nn.functional")
    x, y = leaf(m, x), m.from_numpy(y)

    def step(x: Any, y: Any) -> Any:
        x.grad = None
        loss = functional.mse_loss(x, y)
        loss.backward()
        return loss

    step = compiled(m, step)
    return Job(lambda: step(x, y), lambda loss: values(loss, x.grad))


def clamp_where_exp(m: Any, x: Any, y: Any) -> Job:
    x, y = m.from_numpy(x), m.from_numpy(y)

    def step(x: Any, y: Any) -> Any:
        return m.where(x > y, m.exp(m.clamp(x, -2.0, 2.0)), y)

    step = compiled(m, step)
    return Job(lambda: step(x, y), lambda out: values(out))


def adam_update(m: Any, p: Any, g: Any) -> Job:
    (optim,) = parts(m, "optim")
    p = leaf(m, p)
    p.grad = m.from_numpy(g)
    optimizer = optim.Adam([p], lr=ADAM_RATE)

    def step() -> None:
        optimizer.step()

    return Job(compiled(m, step), lambda _: values(p))


def cross_entropy_grad(m: Any, x: Any, labels: Any) -> Job:
    (functional,) = parts(m, "nn.functional")
    x, labels = leaf(m, x), m.from_numpy(labels)

    def step(x: Any, labels: Any) -> Any:
        x.grad = None
        loss = functional.cross_entropy(x, labels)
        loss.backward()
        return loss

    step = compiled(m, step)
    return Job(lambda: step(x, labels), lambda loss: values(loss, x.grad))


def layer_norm_grad(m: Any, x: Any, y: Any, w: Any, b: Any) -> Job:
    (functional,) = parts(m, "nn.functional")
    x, w, b, g = leaf(m, x), leaf(m, w), leaf(m, b), m.from_numpy(y)

    def step(x: Any, w: Any, b: Any, g: Any) -> Any:
        x.grad = w.grad = b.grad = None
        out = functional.layer_norm(x, w.shape, w, b)
        out.backward(g)
        return out

    step = compiled(m, step)
    return Job(
        lambda: step(x, w, b, g),
        lambda out: values(out, x.grad, w.grad, b.grad),
    )
