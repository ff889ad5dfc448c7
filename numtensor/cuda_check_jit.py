"""Steps to compile for `cuda-check`: what users jit, so that fused kernels are seen.

Which kernels `jit` makes depends on what follows what, so they come from no table of
operators: here are steps of training as the examples and the benchmarks have them, and
groups of every form (flat, strided, tiled, reductions, sweeps by thread, warp, block).
Nothing here looks at a result. What a step changes it is given as an argument, since a
trace does not search the library's own functions. Imported by `cuda_check` only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from . import nn as _nn
from . import optim
from .dtypes import int64
from .factories import empty
from .jit.front import jit
from .modes import no_grad
from .ops.selection import where
from .warmup import Call

nn: Any = _nn  # whose names are there once they are asked for
F: Any = nn.functional
_LONG = 200_000  # elements that blocks share out


def calls(dtype: str) -> Iterator[Call]:
    """Return calls of jitted steps on a CUDA device."""

    def made(*shape: int) -> Any:
        return empty(shape, dtype=dtype, device="cuda")

    yield from _training(made)
    yield from _functions(made)
    yield from _ways_back(made)


def _labels(count: int) -> Any:
    return empty((count,), dtype="int64", device="cuda")


# Training


def _training(made: Callable[..., Any]) -> Iterator[Call]:
    yield jit(_line), (made(2).requires_grad_(), made(11), made(11)), {}
    small = _dense(made, 1, 13, nn.Tanh())
    rows = _dense(made, 12, 32, nn.GELU(), nn.Dropout(0.1))
    digits = _dense(made, 64, 128, nn.ReLU(), outputs=10)
    normal = _dense(made, 64, 96, nn.LayerNorm(96), nn.SiLU(), outputs=10)
    images = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.25), nn.Linear(64, 10),
    )  # fmt: skip
    images.to(device="cuda", dtype=made(1).dtype)
    few, many = made(11, 1), made(64, 64)
    for model, x, target, build in (
        (small, few, made(11, 1), lambda p: optim.SGD(p, lr=0.1)),
        (small, few, made(11, 1), lambda p: optim.Adam(p, lr=0.1)),
        (rows, made(128, 12), made(128, 1), lambda p: optim.AdamW(p, lr=0.1)),
        (digits, many, _labels(64), lambda p: optim.Adam(p, lr=0.1)),
        (normal, many, _labels(64), lambda p: optim.SGD(p, lr=0.1, momentum=0.9)),
        (images, made(32, 1, 8, 8), _labels(32), lambda p: optim.RMSprop(p, lr=0.1)),
    ):
        optimizer = build(list(model.parameters()))
        yield jit(_step), (model, optimizer, x, target), {}


def _line(params: Any, t_u: Any, t_c: Any) -> Any:
    params.grad = None
    w, b = params
    loss = ((w * t_u + b - t_c) ** 2).mean()
    loss.backward()
    with no_grad():
        params.sub_(1e-2 * params.grad)
    return loss


def _dense(
    made: Callable[..., Any], inputs: int, width: int, *layers: Any, outputs: int = 1
) -> Any:
    model = nn.Sequential(nn.Linear(inputs, width), *layers, nn.Linear(width, outputs))
    return model.to(device="cuda", dtype=made(1).dtype)


def _step(model: Any, optimizer: Any, x: Any, target: Any) -> Any:
    optimizer.zero_grad()
    loss_of = F.mse_loss if target.dtype is x.dtype else F.cross_entropy
    loss = loss_of(model(x), target)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss


# Functions, and gradients taken inside


def _softmax(x: Any) -> Any:
    e = (x - x.amax(1, keepdim=True)).exp()
    return e / e.sum(1, keepdim=True)


def _norm(x: Any) -> Any:
    away = x - x.mean(1, keepdim=True)
    return away / ((away * away).mean(1, keepdim=True) + 1e-5).sqrt()


def _functions(made: Callable[..., Any]) -> Iterator[Call]:
    x, y = made(_LONG), made(_LONG)
    yield jit(lambda x, y: ((2 * x + y) ** 2, x.tanh() * y)), (x, y), {}
    yield jit(lambda x, y: where(x > y, x.clamp(-2, 2).exp(), y)), (x, y), {}
    yield jit(lambda x, y: ((x - y) ** 2).mean()), (x, y), {}
    yield jit(lambda x, rate: x * rate + rate), (x, 0.5), {}
    yield jit(lambda x: (x * 2).add_(1).sigmoid_()), (x,), {}
    deep = made(64, 64)
    yield jit(lambda x: x * 2 + x.t()), (made(160, 160),), {}
    yield jit(lambda x: (x[:, ::2] * 2, x[1:] - x[:-1])), (deep,), {}
    yield jit(lambda x: (x.var(0), x.std(1), x.amax(), x.argmax(1))), (deep,), {}
    yield jit(lambda x: F.dropout(x, 0.5) * 2), (deep,), {}
    for rows, columns in ((5000, 8), (5000, 100), (300, 3000), (5000, 1)):
        z = made(rows, columns)
        yield jit(_softmax), (z,), {}
        yield jit(_norm), (z,), {}
        yield jit(lambda x: F.softmax(x, 0)), (z,), {}
        yield jit(lambda x: (x.exp().sum(1), (x * x).sum(0), x.sum())), (z,), {}
        yield jit(_inside(lambda x: F.cross_entropy(x, _zeros(x)))), (z,), {}


def _zeros(x: Any) -> Any:
    return x.new_zeros(x.shape[0], dtype=int64)


def _inside(loss_of: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def step(x: Any) -> Any:
        x = x.detach().requires_grad_()
        loss_of(x).backward()
        return x.grad

    return step


# Gradients taken outside


def _ways_back(made: Callable[..., Any]) -> Iterator[Call]:
    x = made(_LONG).requires_grad_()
    rows = made(5000, 96).requires_grad_()
    w, b = made(96).requires_grad_(), made(96).requires_grad_()
    for function, args in (
        (F.gelu, (x,)),
        (lambda x: (x.sin() * x).sum(), (x,)),
        (_softmax, (rows,)),
        (lambda x, w, b: F.layer_norm(x, w.shape, w, b), (rows, w, b)),
        (lambda x: F.log_softmax(x, 1), (rows,)),
    ):
        yield _there_and_back(jit(function)), args, {}


def _there_and_back(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        result = function(*args)
        result.backward(result.detach())
        return result

    return call
