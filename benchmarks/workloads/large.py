"""Arrays far larger than the caches, where memory and threads decide."""

from __future__ import annotations

from typing import Any

from benchmarks.workloads import Group, Run


def error(x: Any, y: Any) -> Any:
    """The loss, every intermediate of which an eager library allocates."""
    return ((2 * x + 1 - y) ** 2).mean()


def error_grad(m: Any, x: Any, y: Any) -> Run:
    x.requires_grad_()

    def run() -> None:
        x.grad = None
        error(x, y).backward()

    return run


def error_jax(m: Any, x: Any, y: Any) -> Run:
    import jax

    loss = jax.jit(error)
    return lambda: loss(x, y)


def error_grad_jax(m: Any, x: Any, y: Any) -> Run:
    import jax

    gradient = jax.jit(jax.grad(error))
    return lambda: gradient(x, y)


GROUP = Group()
add = GROUP.add
ONE, TWO = [(10_000_000,)], [(10_000_000,)] * 2
add("add", TWO, lambda m, x, y: lambda: x + y, torch=0.35)
add("exp", ONE, lambda m, x: lambda: m.exp(x), torch=0.35)
add("tanh", ONE, lambda m, x: lambda: m.tanh(x), torch=0.35)
add("sum", ONE, lambda m, x: lambda: x.sum())
add("mean", ONE, lambda m, x: lambda: x.mean())
add("error", TWO, lambda m, x, y: lambda: error(x, y), "torch", "numpy")
add("error", TWO, error_jax, "jax")
add("error_grad", TWO, error_grad, "torch")
add("error_grad", TWO, error_grad_jax, "jax")
add("add_transposed", [(4096, 4096)], lambda m, x: lambda: x + x.T)
