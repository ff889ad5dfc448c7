"""The steps of `jit` for torch.compile.

Of several ways to write one, the one that it compiled to the fastest code is here:
gradients by `torch.func` inside the compiled function where that is faster than a
`backward()` after it. A `backward()` inside would break its graph in two.
"""

from __future__ import annotations

from typing import Any

from benchmarks.workloads import LEARNING_RATE
from benchmarks.workloads.jit import ADAM_RATE, EPOCHS, Job
from benchmarks.workloads.jit_torch import leaf, values
from benchmarks.workloads.networks import parts


def thermometer(m: Any, t_c: Any, t_u: Any) -> Job:
    t_c, t_u = m.from_numpy(t_c), m.from_numpy(t_u)
    params = m.tensor([1.0, 0.0])
    loss_and = m.func.grad_and_value(
        lambda p: ((p[0] * t_u + p[1] - t_c) ** 2).mean(),
    )

    @m.compile
    def step(params: Any) -> Any:
        gradient, loss = loss_and(params)
        params.sub_(LEARNING_RATE * gradient)
        return loss

    return Job(lambda: step(params), lambda loss: values(loss, params))


def thermometer_repeat(m: Any, **arrays: Any) -> Job:
    job = thermometer(m, **arrays)

    def loop() -> Any:
        for _ in range(EPOCHS):
            loss = job.call()
        return loss

    return Job(loop, job.found)


def trained(m: Any, loss: Any, weights: list[Any], *operands: Any) -> Job:
    """Return the job of a step with Adam on `loss(weights, *operands)`."""
    params = [m.tensor(x) for x in weights]
    first, second = ([m.zeros_like(p) for p in params] for _ in range(2))
    count = m.zeros(())
    gradients_and_loss = m.func.grad_and_value(loss)

    @m.compile
    def step(*operands: Any) -> Any:
        gradients, value = gradients_and_loss(params, *operands)
        count.add_(1)
        small, large = 1 - 0.9**count, 1 - 0.999**count
        for p, a, b, g in zip(params, first, second, gradients, strict=True):
            a.mul_(0.9).add_(0.1 * g)
            b.mul_(0.999).add_(0.001 * g * g)
            p.sub_(ADAM_RATE * (a / small) / ((b / large).sqrt() + 1e-8))
        return value

    return Job(lambda: step(*operands), lambda loss: values(loss, *params))


def tanh_adam(m: Any, t_c: Any, t_u: Any, weights: list[Any]) -> Job:
    x, y = m.from_numpy(t_u), m.from_numpy(t_c)

    def loss(p: Any) -> Any:
        return ((m.tanh(x @ p[0].T + p[1]) @ p[2].T + p[3] - y) ** 2).mean()

    return trained(m, loss, weights)


def digits_adam(m: Any, images: Any, labels: Any, weights: list[Any]) -> Job:
    (functional,) = parts(m, "nn.functional")

    def loss(p: Any, images: Any, labels: Any) -> Any:
        x = functional.relu(functional.linear(images.flatten(1), p[0], p[1]))
        return functional.cross_entropy(functional.linear(x, p[2], p[3]), labels)

    return trained(m, loss, weights, m.from_numpy(images), m.from_numpy(labels))


def gelu_grad(m: Any, x: Any, y: Any) -> Job:
    (functional,) = parts(m, "nn.functional")
    x, g = leaf(m, x), m.from_numpy(y)
    forward = m.compile(lambda x: functional.gelu(x))

    def run() -> Any:
        x.grad = None
        out = forward(x)
        out.backward(g)
        return out

    return Job(run, lambda out: values(out, x.grad))


def mse_grad(m: Any, x: Any, y: Any) -> Job:
    (functional,) = parts(m, "nn.functional")
    x, y = m.from_numpy(x), m.from_numpy(y)
    step = m.compile(m.func.grad_and_value(functional.mse_loss))
    return Job(lambda: step(x, y), lambda found: values(found[1], found[0]))


def clamp_where_exp(m: Any, x: Any, y: Any) -> Job:
    x, y = m.from_numpy(x), m.from_numpy(y)
    step = m.compile(lambda x, y: m.where(x > y, m.exp(m.clamp(x, -2.0, 2.0)), y))
    return Job(lambda: step(x, y), lambda out: values(out))


def adam_update(m: Any, p: Any, g: Any) -> Job:
    (optim,) = parts(m, "optim")
    p = leaf(m, p)
    p.grad = m.from_numpy(g)
    optimizer = optim.Adam([p], lr=ADAM_RATE)
    return Job(m.compile(optimizer.step), lambda _: values(p))


def cross_entropy_grad(m: Any, x: Any, labels: Any) -> Job:
    (functional,) = parts(m, "nn.functional")
    x, labels = leaf(m, x), m.from_numpy(labels)
    forward = m.compile(lambda x, labels: functional.cross_entropy(x, labels))

    def run() -> Any:
        x.grad = None
        loss = forward(x, labels)
        loss.backward()
        return loss

    return Job(run, lambda loss: values(loss, x.grad))


def layer_norm_grad(m: Any, x: Any, y: Any, w: Any, b: Any) -> Job:
    (functional,) = parts(m, "nn.functional")
    x, w, b, g = leaf(m, x), leaf(m, w), leaf(m, b), m.from_numpy(y)
    forward = m.compile(lambda x, w, b: functional.layer_norm(x, w.shape, w, b))

    def run() -> Any:
        x.grad = w.grad = b.grad = None
        out = forward(x, w, b)
        out.backward(g)
        return out

    return Job(run, lambda out: values(out, x.grad, w.grad, b.grad))
