"""Compiling ahead: the kernels that programs need first, by running small calls.

A kernel is compiled for an operator, dtypes and a class of layouts, never for a size,
so a call on a few elements leaves in the cache what a call on millions needs. What to
run comes from the table of operators; this room knows no operator by name, and is
imported by the command line only.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import factories
from .creation import tensor
from .dlpack import to_dlpack
from .dtypes import FLOAT
from .dtypes import find as find_dtype
from .kernels import compiler
from .ops.registry import Declared, everything
from .tensor import Tensor

#: what every program needs, whatever its operators
SHARED = "runners"
#: enough elements for all threads, and for a reduction in several blocks
_MANY = 400_000
_WIDE = (6, 16)

#: what to call, its arguments, its keywords
Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Job:
    """One operator in one dtype: what a process compiles at a time."""

    name: str
    dtype: str


@dataclass(frozen=True)
class Report:
    """What a job did; `error` is empty if every call of it ran."""

    job: Job
    compiled: int
    linked: int
    error: str = ""


def jobs(only: str = "*", wide: bool = False) -> list[Job]:
    """Return the jobs whose operator matches the pattern `only`, shared kernels first.

    float32, and float64 with `wide`; operators on integers come in int64.
    """
    found = [Job(SHARED, "float32")]
    for declared in everything().values():
        if not fnmatch.fnmatch(declared.name, only):
            continue
        if declared.dtypes.startswith("integer"):
            found.append(Job(declared.name, "int64"))
            continue
        found.append(Job(declared.name, "float32"))
        if wide:
            found.append(Job(declared.name, "float64"))
    return found


def run(job: Job) -> Report:
    """Compile or link the kernels of a job; an error is reported, not raised."""
    before = dict(compiler.statistics)
    error = ""
    try:
        if job.name == SHARED:
            _shared()
        else:
            declared = everything()[job.name]
            for call, args, keywords in calls(declared, job.dtype):
                differentiate(declared, call, args, keywords)
    except Exception as fault:
        error = f"{job.name} ({job.dtype}): {type(fault).__name__}: {fault}"
    now = compiler.statistics
    return Report(
        job,
        int(now["compiled"] - before["compiled"]),
        int(now["linked"] - before["linked"]),
        error,
    )


def run_all(
    found: list[Job], processes: int, done: Callable[[Report], None]
) -> tuple[int, int, float, list[str]]:
    """Run jobs in so many processes, calling `done` after each.

    Returns kernels compiled and linked, seconds, and errors.
    """
    start = time.perf_counter()
    compiled = linked = 0
    errors = []
    for report in _reports(found, processes):
        compiled += report.compiled
        linked += report.linked
        if report.error:
            errors.append(report.error)
        done(report)
    return compiled, linked, time.perf_counter() - start, errors


def _reports(found: list[Job], processes: int) -> Iterator[Report]:
    if processes <= 1 or len(found) <= 2:
        yield from map(run, found)
        return
    import multiprocessing

    # the shared kernels come first and alone, or every process would compile them
    yield run(found[0])
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(processes, len(found) - 1)) as pool:
        yield from pool.imap_unordered(run, found[1:])


def _shared() -> None:
    """The runners, threads, capsules, filling, and casts between the usual dtypes."""
    many = factories.ones(_MANY)
    _ = many + 1.0
    to_dlpack(many)
    _ = factories.zeros(2)
    kinds = ("bool", "int64", "float32", "float64")
    for kind in kinds:
        x = factories.ones(2, 6, dtype=kind)
        x.zero_()
        x[0] = x[1]  # type: ignore[index]
        for other in kinds:
            x.to(find_dtype(other))
        x.t().contiguous()


def calls(declared: Declared, dtype: str, device: str = "cpu") -> Iterator[Call]:
    """Return the calls that need every kernel of an operator in one dtype."""
    if declared.kind == "elementwise":
        for args in _elementwise_calls(declared, dtype, device):
            yield declared.operator, args, {}
    elif declared.kind.startswith("reduction"):
        domain = _domain(declared, 0)
        x = values((6, 16), dtype, domain, device)
        tall = values((_MANY,), dtype, domain, device)
        for args in ((x,), (x, 0), (x, 1), (x.t(), 0), (tall,)):
            yield declared.call, args, {}
    elif declared.samples is not None:

        def make(*shape: int) -> Tensor:
            return values(shape, dtype, _domain(declared, 0), device)

        for args, keywords in declared.samples(make):
            yield declared.call, args, keywords


def _domain(declared: Declared, k: int) -> tuple[float, float]:
    given = declared.domain
    return given[k] if k < len(given) else (0.25, 2.0)


def values(
    shape: tuple[int, ...], dtype: str, domain: tuple[float, float], device: str
) -> Tensor:
    """Return a tensor of numbers spread over a domain; whole ones, from 1 to 4."""
    count = int(np.prod(shape))
    low, high = domain
    if find_dtype(dtype).category != FLOAT:
        low, high = 1.0, 4.0
    spread = np.linspace(low, high, count + 2)[1:-1].reshape(shape)
    return tensor(spread, dtype=dtype, device=device)


def _elementwise_calls(
    declared: Declared, dtype: str, device: str
) -> Iterator[tuple[Any, ...]]:
    """The classes of layouts: flat, with a number, broadcast, strided."""
    operator = declared.operator
    roles = operator.roles
    whole = find_dtype(dtype).category != FLOAT

    def operand(k: int, shape: tuple[int, ...]) -> Any:
        low, high = _domain(declared, k)
        if roles[k] == "s":
            return 2 if whole else (low + high) / 2
        return values(shape, "bool" if roles[k] == "b" else dtype, (low, high), device)

    tensors = [k for k in range(operator.arity) if roles[k] != "s"]
    numbers = [k for k in tensors if roles[k] == "t"]

    def with_one(k: int, value: Any) -> tuple[Any, ...]:
        rest = [operand(j, _WIDE) for j in range(operator.arity)]
        rest[k] = value
        return tuple(rest)

    yield tuple(operand(k, _WIDE) for k in range(operator.arity))
    for k in numbers if len(tensors) > 1 else ():
        low, high = _domain(declared, k)
        yield with_one(k, 2 if whole else (low + high) / 2)
        yield with_one(k, operand(k, ()))
        yield with_one(k, operand(k, _WIDE[1:]))
    for k in tensors:
        turned = operand(k, _WIDE[::-1])
        yield with_one(k, turned.t())
        wide = operand(k, (_WIDE[0], 2 * _WIDE[1]))
        yield with_one(k, wide[:, ::2])


def differentiate(
    declared: Declared,
    call: Callable[..., Any],
    args: tuple[Any, ...],
    keywords: dict[str, Any],
) -> None:
    """Run a call and, if it has a way back, both of the usual cotangents through it."""

    def fresh(value: Any) -> Any:
        if isinstance(value, (list, tuple)) and any(
            isinstance(v, Tensor) for v in value
        ):
            return type(value)(fresh(v) for v in value)
        if isinstance(value, Tensor) and value.dtype.category == FLOAT:
            return value.detach().requires_grad_()
        return value

    call(*args, **keywords)
    if not declared.differentiable:
        return
    results = call(*fresh(args), **keywords)
    for result in results if isinstance(results, tuple) else (results,):
        if not (isinstance(result, Tensor) and result.requires_grad):
            continue
        kind, on = result.dtype, result.device
        dense = factories.ones(tuple(result.shape), dtype=kind, device=on)
        spread = factories.ones((), dtype=kind, device=on).expand(result.shape)
        result.backward(dense, retain_graph=True)
        result.backward(spread, retain_graph=True)
