"""Scanning the rows of a tensor: which kernels, through which scratch memory.

A row is what lies along one dim. Comes from the operators that scan; knows tensors as
memory, and neither the tape nor arguments as users give them.
"""

from __future__ import annotations

from typing import Any

from . import dtypes, launch
from .dtypes import dtype
from .kernels.by_hand import scan as text
from .layout import numel
from .memory import empty
from .spec import Spec, contiguous_spec
from .tensor import Tensor

#: elements of a piece of a long row, at least
PIECE = 16384
PIECE_ON_DEVICE = 32
#: rows that keep a device busy without being cut
_ENOUGH_ON_DEVICE = 8192

_plans: dict[Any, Any] = {}


def scan(
    kind: str, inputs: tuple[Tensor, ...], dim: int, out: dtype, backwards: bool = False
) -> tuple[Tensor, ...]:
    """Return what the elements so far join to, along a dim: see `by_hand.scan`.

    `inputs` are contiguous, of one shape, and have dims. Extremes come with places.
    """
    given = inputs[0]._spec
    key = (kind, given, dim, out, backwards)
    plan = _plans.get(key)
    if plan is None:
        if len(_plans) > 4000:
            _plans.clear()
        plan = _plans[key] = _Plan(kind, given, dim, out, backwards)
    results = tuple([empty(s) for s in plan.results])
    if given.numel:
        plan.run(results, inputs)
    return results


class _Plan:
    """Launches of one scan, and the scratch memory that they need."""

    def __init__(
        self, kind: str, given: Spec, dim: int, out: dtype, backwards: bool
    ) -> None:
        shape, on = tuple(given.shape), given.device
        # bool is read and written as the numbers 0 and 1
        names = ["uint8" if d is dtypes.bool_ else d.name for d in (given.dtype, out)]
        how = text.Scan(kind, *names, backwards)
        self.results = [contiguous_spec(out, shape, on)]
        if len(how.outputs) == 2:
            self.results.append(contiguous_spec(dtypes.int64, shape, on))
        self.states: list[Spec] = []
        self.calls: list[Any] = []
        if not given.numel:
            return
        n = shape[dim]
        inner = numel(shape[dim + 1 :])
        rows = given.numel // n
        dear = 40 if kind == "logsumexp" else 4
        if on.type == "cpu" and inner > 1:
            blocks = -(-inner // text.COLUMNS)
            tasks = rows // inner * blocks
            self._keep(how, tasks * text.COLUMNS, on)
            self.calls.append(
                launch.by_tasks(
                    text.columns(how), tasks, (n, inner, blocks), on,
                    cost=dear * n * min(inner, text.COLUMNS),
                )
            )  # fmt: skip
            return
        size = _piece(n, rows, on.type == "cpu") if how.may_be_cut else n
        pieces = -(-n // size)
        numbers = (n, inner, rows, size)
        unit = inner == 1
        if pieces > 1:
            self._keep(how, rows * pieces, on)
            self.calls = [
                launch.by_tasks(
                    text.totals(how, unit), rows * pieces, numbers, on, cost=dear * size
                ),
                launch.by_tasks(text.carries(how), rows, (rows, pieces), on),
            ]
        last = text.pieces(how, unit, pieces > 1)
        self.calls.append(
            launch.by_tasks(last, rows * pieces, numbers, on, cost=dear * size)
        )

    def _keep(self, how: text.Scan, count: int, on: Any) -> None:
        for _, name in how.states:
            self.states.append(contiguous_spec(dtypes.find(name), (count,), on))

    def run(self, results: tuple[Tensor, ...], inputs: tuple[Tensor, ...]) -> None:
        ends = [t._pointer for t in results]
        begins = [t._pointer for t in inputs]
        held = [empty(s) for s in self.states]
        states = [t._pointer for t in held]
        if len(self.calls) == 3:
            call = self.calls[0]
            call.run(call.kernel, call.n, *states, *begins, call.table)
            call = self.calls[1]
            call.run(call.kernel, call.n, *states, call.table)
        call = self.calls[-1]
        call.run(call.kernel, call.n, *ends, *states, *begins, call.table)


def _piece(n: int, rows: int, on_cpu: bool) -> int:
    """Return how many elements of a row one task scans.

    This depends on the rows alone, so that sums do not depend on how many threads
    there are.
    """
    if on_cpu:
        return PIECE if n >= 2 * PIECE and rows < 8 else n
    if n <= PIECE_ON_DEVICE or rows >= _ENOUGH_ON_DEVICE:
        return n
    # as many pieces as elements in a piece: the pieces are joined by one thread
    return max(PIECE_ON_DEVICE, int(n**0.5))
