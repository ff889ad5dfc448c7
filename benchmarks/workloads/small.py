"""Calls on a handful of elements, where the cost is the library and not the loop."""

from __future__ import annotations

from typing import Any

from benchmarks.workloads import LEARNING_RATE, T_C, T_U, Group, Run, networks


def add_grad(m: Any, a: Any, b: Any) -> Run:
    a.requires_grad_()
    return lambda: a + b


def mul_sum_backward(m: Any, x: Any, y: Any) -> Run:
    x.requires_grad_()

    def run() -> None:
        x.grad = None
        (x * y).sum().backward()

    return run


def mul_sum_backward_jax(m: Any, x: Any, y: Any) -> Run:
    import jax

    gradient = jax.jit(jax.grad(lambda x, y: (x * y).sum()))
    return lambda: gradient(x, y)


def epoch(m: Any) -> Run:
    """One epoch of the thermometer: forward, backward, update."""
    t_c, t_u = m.tensor(T_C), m.tensor(T_U) * 0.1
    params = m.tensor([1.0, 0.0], requires_grad=True)

    def run() -> None:
        nonlocal params
        if params.grad is not None:
            params.grad.zero_()
        w, b = params
        t_p = w * t_u + b
        loss = ((t_p - t_c) ** 2).mean()
        loss.backward()
        with m.no_grad():
            params -= LEARNING_RATE * params.grad

    return run


def epoch_jax(m: Any) -> Run:
    import jax

    t_c, t_u = m.array(T_C), m.array(T_U) * 0.1
    params = m.array([1.0, 0.0])
    gradient = jax.grad(lambda p: ((p[0] * t_u + p[1] - t_c) ** 2).mean())
    step = jax.jit(lambda p: p - LEARNING_RATE * gradient(p))

    def run() -> Any:
        nonlocal params
        params = step(params)
        return params

    return run


GROUP = Group()
add = GROUP.add
ONE, TWO = [(11,)], [(11,), (11,)]
add("add_11", TWO, lambda m, a, b: lambda: a + b, torch=1.0)
add("add_11_grad", TWO, add_grad, "torch", torch=1.0)
add("mul_sum_backward", TWO, mul_sum_backward, "torch", torch=0.4)
add("mul_sum_backward", TWO, mul_sum_backward_jax, "jax")
add("epoch", [], epoch, "torch", torch=0.4)
add("epoch", [], epoch_jax, "jax")
add("item", [()], lambda m, t: lambda: t.item())
add("to_float", [()], lambda m, t: lambda: float(t))
add("index", ONE, lambda m, a: lambda: a[2])
add("view", [(12,)], lambda m, a: lambda: a.view(3, 4), "torch")
add("view", [(12,)], lambda m, a: lambda: a.reshape(3, 4), "numpy", "jax")
add("sum_11", ONE, lambda m, a: lambda: a.sum())
add("exp_11", ONE, lambda m, a: lambda: m.exp(a))
add("matmul_13", [(13, 13)] * 2, lambda m, a, b: lambda: a @ b)
add("from_list", [], lambda m: lambda: m.tensor(T_C), "torch")
add("from_list", [], lambda m: lambda: m.array(T_C, dtype=m.float32), "numpy", "jax")
add("zeros_11", [], lambda m: lambda: m.zeros(11, dtype=m.float32))
GROUP |= networks.GROUP
