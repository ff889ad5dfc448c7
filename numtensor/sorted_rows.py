"""Sorting the rows of a tensor: which kernels, through which scratch memory.

A row is what lies along one dim. Comes from the operators that sort; knows tensors as
memory, and neither the tape nor arguments as users give them.
"""

from __future__ import annotations

from typing import Any

from . import dtypes, launch
from .devices import CPU
from .dtypes import dtype
from .kernels.by_hand import radix
from .kernels.by_hand import sort as by_comparison
from .kernels.tasks import Tasks
from .layout import numel
from .memory import empty
from .spec import Spec, contiguous_spec
from .tensor import Tensor

#: elements that one task sorts by insertion: on the CPU, all that are not sorted by
#: digits; on a device, what is merged afterwards
RUN = 64
RUN_ON_DEVICE = 8
#: elements of a piece of a long row, at least
PIECE = 16384
#: longer rows are counted in 64 bits, which kernels of digits do not
_COUNTED = 2**31

_plans: dict[Any, Any] = {}


def sort(x: Tensor, dim: int, descending: bool) -> tuple[Tensor, Tensor]:
    """Return sorted values along a dim, and where each was; equals keep their order.

    `x` is contiguous and has a dim.
    """
    given = x._spec
    key = (given, dim, descending)
    plan = _plans.get(key)
    if plan is None:
        if len(_plans) > 4000:
            _plans.clear()
        plan = _plans[key] = _plan(given, dim, descending)
    values = empty(given)
    order = empty(plan.order)
    if given.numel:
        plan.run(values, order, x)
    return values, order


def _plan(given: Spec, dim: int, descending: bool) -> Any:
    n = given.shape[dim]
    if given.device.type != "cpu" or not RUN < n < _COUNTED:
        return _Merges(given, dim, descending)
    # which digits there are is asked of the data: not while a function is traced
    if given.device is CPU and n >= 2 * PIECE and given.numel // n <= 8:
        return _Digits(given, dim, descending)
    return _Rows(given, dim, descending)


_calls: dict[Any, Any] = {}


def perform(
    wanted: Tasks,
    n: int,
    numbers: tuple[int, ...],
    tensors: tuple[Tensor, ...],
    scalars: tuple[Any, ...] = (),
    cost: int = 8,
) -> None:
    """Run n tasks of a kernel on tensors of one device; the plan of it is kept."""
    if not n:
        return
    on = tensors[0]._spec.device
    key = (wanted.key, n, numbers, on)
    call = _calls.get(key)
    if call is None:
        if len(_calls) > 4000:
            _calls.clear()
        call = _calls[key] = launch.by_tasks(wanted, n, numbers, on, cost=cost)
    pointers = [t._pointer for t in tensors]
    call.run(call.kernel, call.n, *pointers, call.table, *scalars)


def scratch(kind: dtype, n: int, like: Spec) -> Tensor:
    """Return memory for n elements, on the device of a spec."""
    return empty(contiguous_spec(kind, (n,), like.device))


class _Merges:
    """Sorting by merges: sorted runs, then twice as long ones, and so on."""

    def __init__(self, given: Spec, dim: int, descending: bool) -> None:
        shape, on = tuple(given.shape), given.device
        self.order = contiguous_spec(dtypes.int64, shape, on)
        if not given.numel:
            return
        n = shape[dim]
        inner = numel(shape[dim + 1 :])
        rows = given.numel // n
        run = RUN if on.type == "cpu" else RUN_ON_DEVICE
        self.levels = 0
        while run << self.levels < n:
            self.levels += 1
        per_row = -(-n // run)
        name = given.dtype.name
        self.first = launch.by_tasks(
            by_comparison.runs(name, descending), rows * per_row,
            (n, per_row, run, inner, 1 if self.levels else inner), on,
            cost=4 * run * run,
        )  # fmt: skip
        self.merges = [
            launch.by_tasks(
                by_comparison.merge(name, descending), rows * n,
                (n, run << k, inner if k == self.levels - 1 else 1), on,
                cost=8 * (k + 5),
            )
            for k in range(self.levels)
        ]  # fmt: skip

    def run(self, values: Tensor, order: Tensor, x: Tensor) -> None:
        spec = x._spec
        # results end in their own memory: buffers are taken in turn from the end
        buffers = [(values, order)]
        for _ in range(min(self.levels, 2)):
            buffers.append(
                (
                    scratch(spec.dtype, spec.numel, spec),
                    scratch(dtypes.int64, spec.numel, spec),
                )
            )

        def after(level: int) -> tuple[Tensor, Tensor]:
            left = self.levels - level
            return buffers[0] if left == 0 else buffers[2 - left % 2]

        held, places = after(0)
        call = self.first
        call.run(
            call.kernel, call.n, held._pointer, places._pointer, x._pointer, call.table
        )
        for level, call in enumerate(self.merges):
            out, order = after(level + 1)
            call.run(
                call.kernel, call.n, out._pointer, order._pointer, held._pointer,
                places._pointer, call.table,
            )  # fmt: skip
            held, places = out, order


class _Rows:
    """Sorting by digits, each row by one task: for many rows, or short ones."""

    def __init__(self, given: Spec, dim: int, descending: bool) -> None:
        shape, on = tuple(given.shape), given.device
        self.order = contiguous_spec(dtypes.int64, shape, on)
        if not given.numel:
            return
        n = shape[dim]
        rows = given.numel // n
        at_once = min(rows, 16)
        digit = 8 if n < 8192 else 11
        wide = given.itemsize == 8
        self.counts = contiguous_spec(dtypes.int32, (at_once << digit,), on)
        self.keys = contiguous_spec(dtypes.int64, (at_once * 2 * n,), on)
        self.wide = wide
        passes = -(-8 * given.itemsize // digit)
        self.call = launch.by_tasks(
            radix.rows(given.dtype.name, descending), at_once,
            (n, numel(shape[dim + 1 :]), rows, at_once, digit, (n - 1).bit_length()),
            on,
            cost=rows // at_once * passes * (4 * n + (1 << digit)),
        )  # fmt: skip

    def run(self, values: Tensor, order: Tensor, x: Tensor) -> None:
        held = [empty(self.counts), empty(self.keys)]
        if self.wide:
            held.append(empty(self.keys))
        call = self.call
        call.run(
            call.kernel, call.n, values._pointer, order._pointer, x._pointer,
            *[h._pointer for h in held], call.table,
        )  # fmt: skip


class _Digits:
    """Sorting by digits, pieces of rows by many tasks: for a few long rows."""

    def __init__(self, given: Spec, dim: int, descending: bool) -> None:
        shape = tuple(given.shape)
        self.order = contiguous_spec(dtypes.int64, shape)
        self.n = n = shape[dim]
        self.inner = numel(shape[dim + 1 :])
        self.rows = given.numel // n
        # the pieces depend on the row alone, and not on how many threads there are
        self.size = max(PIECE, -(-n // 16))
        self.pieces = -(-n // self.size)
        self.of = (given.dtype.name, descending)
        self.place_bits = (n - 1).bit_length()
        self.found = contiguous_spec(dtypes.int64, (self.rows * self.pieces,))
        self.span = launch.by_tasks(
            radix.span(*self.of), self.rows * self.pieces,
            (n, self.inner, self.size, self.pieces), cost=4 * self.size,
        )  # fmt: skip
        self.calls: dict[Any, Any] = {}

    def _calls(self, passes: int, digit: int, wide: bool) -> list[tuple[Any, ...]]:
        """Return the launches of each pass: to count, to add up, to move."""
        known = self.calls.get((passes, digit, wide))
        if known is not None:
            return known
        numbers = (self.n, self.inner, self.size, self.pieces, digit, self.place_bits)
        tasks = self.rows * self.pieces
        cost = 8 * self.size
        found = []
        for k in range(passes):
            first, last = k == 0, k == passes - 1
            count = radix.count(*self.of, first, wide)
            move = radix.scatter(*self.of, first, last, wide)
            found.append(
                (
                    launch.by_tasks(count, tasks, numbers, cost=cost),
                    launch.by_tasks(
                        radix.offsets(), self.rows, (self.pieces, digit),
                        cost=self.pieces << digit,
                    ),
                    launch.by_tasks(move, tasks, numbers, cost=2 * cost),
                )
            )  # fmt: skip
        self.calls[passes, digit, wide] = found
        return found

    def run(self, values: Tensor, order: Tensor, x: Tensor) -> None:
        lows, highs = empty(self.found), empty(self.found)
        call = self.span
        call.run(
            call.kernel, call.n, lows._pointer, highs._pointer, x._pointer, call.table
        )
        low, high = int(lows._array().min()), int(highs._array().max())
        bits = max(1, (high - low).bit_length())
        wide = bits + self.place_bits > 64
        passes = -(-bits // 11)
        digit = -(-bits // passes)
        counts = scratch(dtypes.int32, self.rows * self.pieces << digit, x._spec)
        buffers = [
            [scratch(dtypes.int64, x._spec.numel, x._spec) for _ in range(1 + wide)]
            for _ in range(min(passes - 1, 2))
        ]
        old = [x]
        for k, (count, add, move) in enumerate(self._calls(passes, digit, wide)):
            at = k * digit + (0 if wide else self.place_bits)
            count.run(
                count.kernel, count.n, counts._pointer, old[0]._pointer, count.table,
                low, at,
            )  # fmt: skip
            add.run(add.kernel, add.n, counts._pointer, add.table)
            last = k == passes - 1
            new = [values, order] if last else buffers[k % 2]
            given = [x] if last and k else []
            move.run(
                move.kernel, move.n, counts._pointer,
                *[t._pointer for t in (*new, *given, *old)], move.table, low, at,
            )  # fmt: skip
            old = new
