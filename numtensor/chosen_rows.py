"""Choosing from the rows of a tensor: some places of their order, their median or mode.

Comes from the operators that choose; knows tensors as memory, and neither the tape nor
arguments as users give them.
"""

from __future__ import annotations

from typing import Any

from . import dtypes, launch, sorted_rows
from .devices import CPU
from .kernels.by_hand import radix, select
from .layout import numel
from .memory import empty, view
from .sorted_rows import PIECE, perform, scratch
from .spec import contiguous_spec
from .tensor import Tensor

_BITS = 11  # of the highest digit of a key
#: so many are found without sorting
_FEW = 16
#: the key of NaN
_NAN = {"float32": 0x7FFFFFFF, "float64": 0x7FFFFFFFFFFFFFFF}

_plans: dict[Any, Any] = {}


def part(
    x: Tensor, dim: int, low: int, high: int, descending: bool
) -> tuple[Tensor, Tensor]:
    """Return what is at places [low, high) of the order along a dim, and where it was.

    `x` is contiguous and has a dim; low < high <= its size.
    """
    given = x._spec
    n = given.shape[dim]
    if (
        given.device is CPU
        and dim == given.ndim - 1
        and 2 * PIECE <= n < 2**31
        and given.numel <= 8 * n
        and high - low <= n // 8
    ):
        return _chosen(x, low, high, descending)
    # on a device a thread has the row to itself
    short = given.device.type == "cpu" or n <= 1024
    if short and low == 0 and high <= _FEW and high < n:
        return _few(x, dim, high, descending)
    values, order = sorted_rows.sort(x, dim, descending)
    return _narrowed(values, dim, low, high), _narrowed(order, dim, low, high)


def _few(x: Tensor, dim: int, many: int, descending: bool) -> tuple[Tensor, Tensor]:
    given = x._spec
    n = given.shape[dim]
    shape = tuple(many if d == dim else size for d, size in enumerate(given.shape))
    values = empty(contiguous_spec(given.dtype, shape, given.device))
    places = empty(contiguous_spec(dtypes.int64, shape, given.device))
    perform(
        select.few(given.dtype.name, descending), given.numel // n,
        (n, numel(given.shape[dim + 1 :]), many), (values, places, x),
        cost=2 * n + many * many,
    )  # fmt: skip
    return values, places


def _narrowed(x: Tensor, dim: int, low: int, high: int) -> Tensor:
    shape = list(x.shape)
    shape[dim] = high - low
    strides = x._spec.strides
    return view(x, tuple(shape), strides, low * strides[dim]).clone()


class _Chosen:
    """Launches that choose from one long row."""

    def __init__(self, name: str, n: int, descending: bool) -> None:
        self.size = max(PIECE, -(-n // 16))
        self.pieces = pieces = -(-n // self.size)
        self.found = contiguous_spec(dtypes.int64, (pieces,))
        self.counts = contiguous_spec(dtypes.int32, (pieces << _BITS,))
        cost = 4 * self.size
        self.span = launch.by_tasks(
            radix.span(name, descending), pieces, (n, 1, self.size, pieces), cost=cost
        )
        self.count = launch.by_tasks(
            radix.count(name, descending, True, True), pieces,
            (n, 1, self.size, pieces, _BITS, 0), cost=2 * cost,
        )  # fmt: skip
        self.chosen = launch.by_tasks(select.chosen(), 1, (pieces, _BITS))
        self.collect = launch.by_tasks(
            select.collect(name, descending), pieces, (n, self.size, pieces), cost=cost
        )
        self.take = launch.by_tasks(select.take(name), 1)


def _chosen(x: Tensor, low: int, high: int, descending: bool) -> tuple[Tensor, Tensor]:
    given = x._spec
    n, rows = given.shape[-1], given.numel // given.shape[-1]
    key = (given.dtype, n, descending)
    plan = _plans.get(key)
    if plan is None:
        if len(_plans) > 1000:
            _plans.clear()
        plan = _plans[key] = _Chosen(given.dtype.name, n, descending)
    shape = (*given.shape[:-1], high - low)
    values = empty(contiguous_spec(given.dtype, shape))
    places = empty(contiguous_spec(dtypes.int64, shape))
    for row in range(rows):
        _choose(plan, x, row, values, places, low, high, descending)
    return values, places


def _choose(
    plan: _Chosen, x: Tensor, row: int, values: Tensor, places: Tensor, low: int,
    high: int, descending: bool,
) -> None:  # fmt: skip
    n = x.shape[-1]
    source = x._pointer + row * n * x._spec.itemsize
    lows, highs = empty(plan.found), empty(plan.found)
    call = plan.span
    call.run(call.kernel, call.n, lows._pointer, highs._pointer, source, call.table)
    least = int(lows._array().min())
    shift = max(0, (int(highs._array().max()) - least).bit_length() - _BITS)
    counts, begins = empty(plan.counts), empty(plan.found)
    found = scratch(dtypes.int64, 4, x._spec)
    call = plan.count
    call.run(call.kernel, call.n, counts._pointer, source, call.table, least, shift)
    call = plan.chosen
    call.run(
        call.kernel, call.n, found._pointer, begins._pointer, counts._pointer,
        call.table, low, high,
    )  # fmt: skip
    lowest, highest, before, count = found._array().tolist()
    some = scratch(x.dtype, count, x._spec)
    origins = scratch(dtypes.int64, count, x._spec)
    call = plan.collect
    call.run(
        call.kernel, call.n, some._pointer, origins._pointer, begins._pointer, source,
        call.table, least, shift, lowest, highest,
    )  # fmt: skip
    ordered, order = sorted_rows.sort(some, 0, descending)
    width = high - low
    call = plan.take
    call.run(
        call.kernel, width, values._pointer + row * width * x._spec.itemsize,
        places._pointer + row * width * 8, ordered._pointer, order._pointer,
        origins._pointer, call.table, low - before,
    )  # fmt: skip


def holds_nan(x: Tensor) -> bool:
    """Whether a contiguous tensor of the host's, of floats, holds a NaN."""
    given = x._spec
    n = given.numel
    if given.dtype.name not in _NAN or not n:
        return False
    size = max(PIECE, -(-n // 16))
    pieces = -(-n // size)
    lows = scratch(dtypes.int64, pieces, given)
    highs = scratch(dtypes.int64, pieces, given)
    perform(
        radix.span(given.dtype.name, False), pieces, (n, 1, size, pieces),
        (lows, highs, x), cost=4 * size,
    )  # fmt: skip
    return int(highs._array().max()) == _NAN[given.dtype.name]


def middle(x: Tensor, dim: int, skip_nan: bool) -> tuple[Tensor, Tensor]:
    """Return the lower medians along a dim, which is kept as 1, and where they were."""
    given = x._spec
    n = given.shape[dim]
    if (
        given.device is CPU
        and n >= 2 * PIECE
        and given.numel <= 8 * n
        and not holds_nan(x)
    ):
        k = (n - 1) // 2
        return part(x, dim, k, k + 1, False)
    return _of_sorted(x, dim, select.middle(given.dtype.name, skip_nan))


def mode(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return what is most often there along a dim, kept as 1, and where it was last."""
    return _of_sorted(x, dim, select.mode(x.dtype.name))


def _of_sorted(x: Tensor, dim: int, wanted: Any) -> tuple[Tensor, Tensor]:
    given = x._spec
    values, order = sorted_rows.sort(x, dim, False)
    shape = tuple(1 if d == dim else n for d, n in enumerate(given.shape))
    out = empty(contiguous_spec(given.dtype, shape, given.device))
    places = empty(contiguous_spec(dtypes.int64, shape, given.device))
    inner = numel(given.shape[dim + 1 :])
    perform(
        wanted, out._spec.numel, (given.shape[dim], inner),
        (out, places, values, order), cost=2 * given.shape[dim],
    )  # fmt: skip
    return out, places
