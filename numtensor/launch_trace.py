"""Launches on twin devices: recorded, not run. See `tracing` and `launch`.

What eager operators ask for comes back as an object whose `run` puts a node into the
trace that is being made. Plans may keep it: it knows no trace.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Sequence
from typing import Any

from . import launch, tracing
from .devices import device
from .jit.ir import Loop, Matmul, Opaque, Random, Reduce, Ref
from .kernels import tasks
from .launch_parts import Body, Input, Reduced, Steps, Strides
from .layout import contiguous_strides


class Recorded:
    """A launch that records: `run(kernel, n, *pointers, table, *scalars)`."""

    __slots__ = ("run", "kernel", "n", "table")

    def __init__(self, record: Callable[..., None], n: int, pointers: int) -> None:
        self.kernel = self.table = 0
        self.n = n

        def run(kernel: int, n: int, *slots: Any) -> None:
            record(slots[:pointers], slots[pointers + 1 :])

        self.run = run


def elementwise(
    shape: Sequence[int],
    outputs: Sequence[tuple[str, Strides]],
    inputs: Sequence[Input],
    body: Body,
) -> Recorded:
    """Record a nest that stores results at every point of `shape`."""
    space = tuple(shape)
    count = len(outputs)

    def record(pointers: Sequence[int], numbers: Sequence[Any]) -> None:
        trace = tracing.of(body.name)
        refs = [
            trace.ref(p, d, s, body.name)
            for p, (d, s) in zip(pointers, outputs, strict=False)
        ]
        read = _inputs(trace, pointers[count:], inputs, body.name)
        trace.nodes.append(
            Loop(
                body.name,
                tracing.here(),
                space,
                tuple(refs),
                read,
                body,
                tracing.plain(numbers),
            )  # fmt: skip
        )

    return Recorded(record, 1, count + len(inputs))


def _inputs(
    trace: tracing.Trace, pointers: Sequence[int], inputs: Sequence[Input], name: str
) -> tuple[tuple[str, Ref], ...]:
    return tuple(
        (i.name, trace.ref(p, i.dtype, i.strides, name))
        for p, i in zip(pointers, inputs, strict=True)
    )


def reduction(
    shape: Sequence[int],
    dims: frozenset[int],
    results: Sequence[Reduced],
    stores: Sequence[tuple[str, Strides]],
    inputs: Sequence[Input],
    body: Body,
) -> Steps:
    """Record a nest that reduces `dims`, and may store at every point too."""
    space = tuple(shape)
    kept = contiguous_strides(tuple(n for d, n in enumerate(space) if d not in dims))
    first, second = len(stores), len(stores) + len(results)

    def record(pointers: Sequence[int], numbers: Sequence[Any]) -> None:
        trace = tracing.of(body.name)
        stored = [
            trace.ref(p, d, s, body.name)
            for p, (d, s) in zip(pointers, stores, strict=False)
        ]
        made = [
            trace.ref(p, r.dtype, kept, body.name)
            for p, r in zip(pointers[first:], results, strict=False)
        ]
        read = _inputs(trace, pointers[second:], inputs, body.name)
        trace.nodes.append(
            Reduce(
                body.name,
                tracing.here(),
                space,
                dims,
                tuple(stored),
                tuple(made),
                tuple(results),
                read,
                body,
                tracing.plain(numbers),
            )  # fmt: skip
        )

    pointers = second + len(inputs)
    found = Recorded(record, 1, pointers)
    return Steps([(found, list(range(pointers)))], [], len(results))


def _opaque(
    name: str,
    pointers: Sequence[str],
    written: frozenset[int],
    read: frozenset[int],
    plan: Callable[[int], Callable[[Any], Any]],
    n: int,
) -> Recorded:
    """Return what records a kernel; `plan(n)(on)` plans n tasks of it on a device."""
    count = len(pointers)

    def record(n: int, addresses: Sequence[int], numbers: Sequence[Any]) -> None:
        trace = tracing.of(name)
        refs = tuple(
            trace.ref(p, d, (), name) for p, d in zip(addresses, pointers, strict=True)
        )
        trace.nodes.append(
            Opaque(
                name,
                tracing.here(),
                refs,
                written,
                read,
                tracing.plain(numbers),
                plan(n),
            )  # fmt: skip
        )

    def run(kernel: int, n: int, *slots: Any) -> None:
        record(n, slots[:count], slots[count + 1 :])

    found = Recorded(lambda addresses, numbers: None, n, count)
    found.run = run
    return found


def arg_extreme(
    shape: Sequence[int], dims: Sequence[int], strides: Strides, dtype: str,
    largest: bool,
) -> Steps:  # fmt: skip
    """Record the search for the place of the largest or smallest element."""

    @functools.cache
    def plan(on: device) -> Any:
        return launch.arg_extreme(shape, dims, strides, dtype, largest, on)

    found = _opaque(
        "argmax" if largest else "argmin",
        (dtype, "int64", dtype),
        frozenset([0, 1]),
        frozenset([2]),
        lambda n: plan,
        1,
    )
    return Steps([(found, [0, 1, 2])], [], 2)


def matmul(
    sizes: tuple[int, int, int], dtype: str, batch: tuple[int, ...], a: Strides,
    b: Strides,
) -> Recorded:  # fmt: skip
    """Record products of stacks of matrices."""
    n, m, _ = sizes
    dense = contiguous_strides((*batch, n, m))

    def record(pointers: Sequence[int], numbers: Sequence[Any]) -> None:
        trace = tracing.of("matmul")
        refs = [
            trace.ref(p, dtype, s, "matmul")
            for p, s in zip(pointers, (dense, a, b), strict=True)
        ]
        trace.nodes.append(Matmul("matmul", tracing.here(), tuple(batch), sizes, *refs))

    return Recorded(record, 1, 3)


def by_tasks(
    wanted: tasks.Tasks, n: int, numbers: Sequence[int], cost: int
) -> Recorded:
    """Record a kernel written by hand."""

    @functools.cache
    def plan(n: int) -> Callable[[Any], Any]:
        @functools.cache
        def planned(on: device) -> Any:
            return launch.by_tasks(wanted, n, numbers, on, cost=cost)

        return planned

    written, read = touched(wanted)
    kinds = [dtype for _, dtype in wanted.pointers]
    return _opaque(wanted.name, kinds, written, read, plan, n)


_touched: dict[Any, tuple[frozenset[int], frozenset[int]]] = {}


def touched(wanted: tasks.Tasks) -> tuple[frozenset[int], frozenset[int]]:
    """Return which pointers a kernel by hand writes, and which it reads, by its text.

    One that the text uses otherwise than by indexing counts as both.
    """
    found = _touched.get(wanted.key)
    if found is None:
        _, text = tasks.emit_cpu(wanted)
        names = {name: k for k, (name, _) in enumerate(wanted.pointers)}
        written: set[int] = set()
        read: set[int] = set()
        indexed: set[int] = set()
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.AugAssign):
                target = node.target
                if isinstance(target, ast.Subscript) and isinstance(
                    target.value, ast.Name
                ):
                    read.add(names.get(target.value.id, -1))
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
                k = names.get(node.value.id, -1)
                indexed.add(id(node.value))
                (read if isinstance(node.ctx, ast.Load) else written).add(k)
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Name)
                and isinstance(node.ctx, ast.Load)
                and node.id in names
                and id(node) not in indexed
            ):
                written.add(names[node.id])
                read.add(names[node.id])
        found = frozenset(written - {-1}), frozenset(read - {-1})
        _touched[wanted.key] = found
    return found


def random_fill(plan: Any, address: int, n: int, counters: int, generator: Any) -> None:
    """Record a fill with random numbers."""
    trace = tracing.of("random")
    ref = trace.ref(address, plan.dtype, (1,), "random")
    trace.nodes.append(
        Random(plan.family, tracing.here(), ref, n, counters, plan, generator)
    )
