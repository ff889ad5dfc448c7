"""What launches on all devices are made of. See `launch`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from .kernels import loops
from .kernels.expr import Expr, cast, var
from .kernels.loops import ANY, UNIT, Combine, Nest, Operand, Reduction, Store
from .layout import numel
from .storage import Storage, allocate

Strides = tuple[int, ...]


@dataclass(frozen=True)
class Input:
    """A tensor that a nest reads: name in the source, dtype, strides in its space."""

    name: str
    dtype: str
    strides: Strides


@dataclass(frozen=True)
class Body:
    """What a nest computes, given the loaded operands and the scalars by name.

    `key` identifies the body: kernels are cached by it and by dtypes and layout.
    """

    key: Hashable
    name: str
    build: Callable[[dict[str, Expr]], list[Expr]]
    scalars: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Reduced:
    """One reduced result of a nest: its dtype, how values join, the last step."""

    dtype: str
    combine: Combine
    finish: Callable[[Expr], Expr] | None = None


class Steps:
    """Launches that follow each other through scratch memory."""

    __slots__ = ("launches", "scratch", "outputs", "only", "_allocate")

    def __init__(
        self,
        launches: list[tuple[Any, list[int]]],
        scratch: list[int],
        outputs: int,
        allocate: Callable[[int], Storage] = allocate,
    ) -> None:
        # each launch with where its pointers come from: >= 0 an argument of `run`,
        # < 0 a scratch buffer
        self.launches = launches
        self.scratch = scratch  # bytes of each buffer
        self.outputs = outputs
        self._allocate = allocate
        # one launch whose pointers are the arguments as they come
        self.only = launches[0][0] if len(launches) == 1 and not scratch else None

    def run(self, pointers: Sequence[int], scalars: Sequence[Any] = ()) -> None:
        """Perform the launches; `pointers` are the outputs, then the inputs."""
        launch = self.only
        if launch is not None:
            launch.run(launch.kernel, launch.n, *pointers, launch.table, *scalars)
            return
        buffers = [self._allocate(nbytes) for nbytes in self.scratch]
        for launch, sources in self.launches:
            slots = [
                pointers[k] if k >= 0 else buffers[-1 - k].pointer for k in sources
            ]
            launch.run(launch.kernel, launch.n, *slots, launch.table, *scalars)


def _operands(
    inputs: Sequence[Input], body: Body, steps: Sequence[str], first: int
) -> tuple[tuple[Operand, ...], list[Expr]]:
    """Return the inputs of a nest, and what its body makes of them."""
    found = tuple(
        Operand(i.name, i.dtype, step)
        for i, step in zip(inputs, steps[first:], strict=True)
    )
    values = {o.name: var(o.value, o.dtype) for o in found}
    values |= {name: var(name, dtype) for name, dtype in body.scalars}
    return found, body.build(values)


def elementwise_nest(
    form: str,
    outputs: Sequence[str],
    inputs: Sequence[Input],
    body: Body,
    steps: Sequence[str],
    ranks: tuple[int, ...] = (),
) -> Nest:
    """Return the nest that stores a body's results in `outputs`, their dtypes.

    `steps` are those of outputs, then of inputs.
    """
    operands, values = _operands(inputs, body, steps, len(outputs))
    stores = []
    for k, dtype in enumerate(outputs):
        name = "out" if len(outputs) == 1 else f"out{k}"
        stores.append(Store(Operand(name, dtype, steps[k]), cast(values[k], dtype)))
    return Nest(body.name, form, operands, tuple(stores), (), body.scalars, ranks)


def reduction_nest(
    form: str,
    results: Sequence[Reduced],
    stores: Sequence[str],
    inputs: Sequence[Input],
    body: Body,
    steps: Sequence[str],
    ranks: tuple[int, ...] = (),
) -> Nest:
    """Return the nest that reduces, and stores at every point too; see
    `elementwise_nest`."""
    operands, values = _operands(inputs, body, steps, len(stores))
    written = tuple(
        Store(Operand(f"out{k}", d, steps[k]), cast(values[k], d))
        for k, d in enumerate(stores)
    )
    reductions = []
    for k, (r, value) in enumerate(zip(results, values[len(stores) :], strict=True)):
        name = "out" if len(results) == 1 else f"total{k}"
        reductions.append(Reduction(Operand(name, r.dtype), r.combine, value, r.finish))
    return Nest(
        body.name, form, operands, written, tuple(reductions), body.scalars, ranks
    )


def step_of(size: int, stride: int) -> str:
    return UNIT if size == 1 else loops.step_class(stride)


def crossing_dim(
    dims: Sequence[int],
    strides: Sequence[Strides],
    steps: Sequence[str],
    side: int,
    points: int,
) -> int | None:
    """Return the dim along which some operand lies closer than along the innermost.

    None if there is none, or too little to gain by going square by square: squares of
    `side`, of `points` elements at least in all.
    """
    if len(dims) < 2 or dims[-1] < side or numel(dims) < points:
        return None
    for s, step in zip(strides, steps, strict=True):
        if step == ANY:
            d = min(range(len(dims) - 1), key=lambda k: s[k])
            if 0 < s[d] < s[-1] and dims[d] >= side:
                return d
    return None


def prefer_outer(
    kept: Sequence[int],
    kept_strides: Sequence[Strides],
    reduced: Sequence[int],
    reduced_strides: Sequence[Strides],
) -> bool:
    """Whether the innermost loop should run along kept elements.

    It should where those are closer together in memory, unless there are so few of
    them that the loop would be all overhead.
    """
    if kept[-1] < 8:
        return False
    if numel(reduced) <= 1:
        return True
    votes = broadcast = 0
    for k, r in zip(kept_strides, reduced_strides, strict=True):
        if k[-1] != r[-1]:
            near_kept = r[-1] == 0 or (k[-1] != 0 and k[-1] < r[-1])
            if k[-1] and r[-1]:
                votes += 1 if near_kept else -1
            else:  # few elements, whichever way they are walked
                broadcast += 1 if near_kept else -1
    return (votes or broadcast) > 0
