"""The steps of `jit` for JAX: pure functions, their state donated and handed on.

Of several ways to write one, the one that JAX compiled to the fastest code is here.
Small steps are not waited for, as nobody would in a loop; large ones are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.workloads import LEARNING_RATE
from benchmarks.workloads.jit import ADAM_RATE, EPOCHS, Job


def stateful(function: Any, state: Any, *operands: Any) -> Job:
    """Return the job of a function from state and operands to state and loss."""
    import jax

    step = jax.jit(function, donate_argnums=0)

    def run() -> Any:
        nonlocal state
        state, loss = step(state, *operands)
        return state, loss

    def found(result: Any) -> list[Any]:
        # copied: the next call may give this memory away
        leaves = jax.tree.leaves((result[1], result[0][0]))
        return [np.array(x) for x in leaves]

    return Job(run, found)


def stateless(function: Any, *operands: Any) -> Job:
    """Return the job of a function whose results are all there is."""
    import jax

    step = jax.jit(function)
    return Job(
        lambda: jax.block_until_ready(step(*operands)),
        lambda result: [np.asarray(x) for x in jax.tree.leaves(result)],
    )


def adam(params: Any, moments: Any, count: Any, gradients: Any) -> Any:
    """Return parameters and moments after Adam's update, and the count of updates."""
    import jax
    import jax.numpy as m

    count = count + 1
    first = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, moments[0], gradients)
    second = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, moments[1], gradients)
    small, large = 1 - 0.9**count, 1 - 0.999**count

    def moved(p: Any, a: Any, b: Any) -> Any:
        return p - ADAM_RATE * (a / small) / (m.sqrt(b / large) + 1e-8)

    return jax.tree.map(moved, params, first, second), (first, second), count


def adam_state(m: Any, arrays: list[Any]) -> Any:
    def zeros() -> Any:
        return [m.zeros(x.shape, m.float32) for x in arrays]

    return [m.array(x) for x in arrays], (zeros(), zeros()), m.float32(0)


def thermometer_step(m: Any, t_c: Any, t_u: Any) -> Any:
    import jax

    t_c, t_u = m.array(t_c), m.array(t_u)
    loss = jax.value_and_grad(lambda p: m.mean((p[0] * t_u + p[1] - t_c) ** 2))

    def step(state: Any) -> Any:
        (params,) = state
        value, gradient = loss(params)
        return (params - LEARNING_RATE * gradient,), value

    return step


def thermometer(m: Any, **arrays: Any) -> Job:
    return stateful(thermometer_step(m, **arrays), (m.array([1.0, 0.0]),))


def thermometer_repeat(m: Any, **arrays: Any) -> Job:
    import jax

    step = thermometer_step(m, **arrays)

    def loop(state: Any) -> Any:
        start = (state, m.float32(0))
        return jax.lax.fori_loop(0, EPOCHS, lambda _, now: step(now[0]), start)

    return stateful(loop, (m.array([1.0, 0.0]),))


def trained(m: Any, loss: Any, weights: list[Any], *operands: Any) -> Job:
    """Return the job of a step with Adam on `loss(weights, *operands)`."""
    import jax

    value_and_grad = jax.value_and_grad(loss)

    def step(state: Any, *operands: Any) -> Any:
        value, gradients = value_and_grad(state[0], *operands)
        return adam(*state, gradients), value

    return stateful(step, adam_state(m, weights), *operands)


def tanh_adam(m: Any, t_c: Any, t_u: Any, weights: list[Any]) -> Job:
    x, y = m.array(t_u), m.array(t_c)

    def loss(p: Any) -> Any:
        return m.mean((m.tanh(x @ p[0].T + p[1]) @ p[2].T + p[3] - y) ** 2)

    return trained(m, loss, weights)


def mean_cross_entropy(m: Any, x: Any, labels: Any) -> Any:
    import jax

    # From logsumexp, for log_softmax gave code that took six times as long.
    chosen = m.take_along_axis(x, labels[:, None], 1)[:, 0]
    return m.mean(jax.nn.logsumexp(x, axis=1) - chosen)


def digits_adam(m: Any, images: Any, labels: Any, weights: list[Any]) -> Job:
    def loss(p: Any, images: Any, labels: Any) -> Any:
        x = images.reshape(len(images), -1)
        x = m.maximum(x @ p[0].T + p[1], 0.0) @ p[2].T + p[3]
        return mean_cross_entropy(m, x, labels)

    return trained(m, loss, weights, m.array(images), m.array(labels, m.int32))


def gelu_grad(m: Any, x: Any, y: Any) -> Job:
    import jax

    def step(x: Any, g: Any) -> Any:
        out, back = jax.vjp(lambda x: jax.nn.gelu(x, approximate=False), x)
        return out, *back(g)

    return stateless(step, m.array(x), m.array(y))


def mse_grad(m: Any, x: Any, y: Any) -> Job:
    import jax

    step = jax.value_and_grad(lambda x, y: m.mean((x - y) ** 2))
    return stateless(step, m.array(x), m.array(y))


def clamp_where_exp(m: Any, x: Any, y: Any) -> Job:
    def step(x: Any, y: Any) -> Any:
        return m.where(x > y, m.exp(m.clip(x, -2.0, 2.0)), y)

    return stateless(step, m.array(x), m.array(y))


def adam_update(m: Any, p: Any, g: Any) -> Job:
    import jax

    job = stateful(
        lambda state, g: (adam(*state, [g]), ()), adam_state(m, [p]), m.array(g)
    )
    return Job(lambda: jax.block_until_ready(job.call()), job.found)


def cross_entropy_grad(m: Any, x: Any, labels: Any) -> Job:
    import jax

    step = jax.value_and_grad(lambda x, y: mean_cross_entropy(m, x, y))
    return stateless(step, m.array(x), m.array(labels, m.int32))


def layer_norm_grad(m: Any, x: Any, y: Any, w: Any, b: Any) -> Job:
    import jax

    def norm(x: Any, w: Any, b: Any) -> Any:
        mean = m.mean(x, -1, keepdims=True)
        scale = jax.lax.rsqrt(m.var(x, -1, keepdims=True) + 1e-5)
        return (x - mean) * scale * w + b

    def step(x: Any, w: Any, b: Any, g: Any) -> Any:
        out, back = jax.vjp(norm, x, w, b)
        return out, *back(g)

    return stateless(step, *map(m.array, (x, w, b, y)))
