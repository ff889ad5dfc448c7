"""Products of matrices by the BLAS that came with NumPy, spread over our own threads.

NumPy's `matmul` calls the same functions. But OpenBLAS keeps threads of its own, which
after a product spin on their cores, waiting for the next: kernels that then use Numba's
threads compete with them, and a training step takes ten times as long. So a product is
cut into parts, each a call of BLAS on one thread of ours. Where NumPy brought another
library, or an old one, there is no plan, and NumPy is asked.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import threading
from collections.abc import Sequence
from typing import Any

from .kernels import blas, compiler
from .layout import collapse

Shape = Sequence[int]

#: products of numbers up to which OpenBLAS itself uses one thread
_ALONE = 262_144
#: products of numbers that are worth a thread of their own
_GRAIN = 500_000
#: products up to which waking a thread costs more than it gains: done in parts, each
#: so small that OpenBLAS uses one thread, one after the other
_SERIAL = 1_000_000


class _Library:
    """The functions of NumPy's OpenBLAS that take 64-bit sizes."""

    def __init__(self, found: Any) -> None:
        self.gemm: dict[str, Any] = {}
        for dtype, letter in (("float32", "s"), ("float64", "d")):
            function = getattr(found, f"scipy_cblas_{letter}gemm64_")
            self.gemm[dtype] = ctypes.cast(function, ctypes.c_void_p).value
        self.get_threads = found.scipy_openblas_get_num_threads64_
        self.set_threads = found.scipy_openblas_set_num_threads64_
        self.lock = threading.Lock()
        self.users = 0
        self.before = 1

    def __enter__(self) -> None:
        with self.lock:
            if not self.users:
                self.before = self.get_threads()
                if self.before != 1:
                    self.set_threads(1)
            self.users += 1

    def __exit__(self, *exc: object) -> None:
        with self.lock:
            self.users -= 1
            if not self.users and self.before != 1:
                self.set_threads(self.before)


@functools.cache
def library() -> _Library | None:
    """Return NumPy's OpenBLAS; None if it brought something else."""
    try:
        core = importlib.import_module("numpy._core._multiarray_umath")
        return _Library(ctypes.CDLL(core.__file__))
    except (ImportError, OSError, AttributeError):
        return None


class Launch:
    """A product, performed as `run(kernel, n, *pointers, table)`.

    `grain` is 0 if it uses no threads; it has no scalars.
    """

    __slots__ = (
        "run", "kernel", "n", "table", "source", "grain", "floating", "_table"
    )  # fmt: skip

    def __init__(self, dtype: str, tasks: int, work: int, table: list[int]) -> None:
        found = compiler.load(*blas.emit(dtype))
        self.kernel, self.source = found.address, found.path
        self.grain = int(work > _SERIAL)
        self.floating: list[bool] = []
        self.n = tasks
        self._table = (ctypes.c_int64 * len(table))(*table)
        self.table = ctypes.addressof(self._table)
        self.run = compiler.runner("serial") if work <= _SERIAL else _spread


def _spread(kernel: int, n: int, *slots: int) -> None:
    found = library()
    assert found is not None
    with found:
        compiler.run_threaded(kernel, n, list(slots), 1)


def product(
    dtype: str, batch: Shape, sizes: tuple[int, int, int], a: Shape, b: Shape
) -> Launch | None:
    """Plan products of stacks of matrices into a contiguous result.

    `sizes` are (rows, columns, depth); `a` and `b` are strides in the batch dims, then
    in the matrices. None if BLAS takes no such matrices, if the stacks are more than
    two dims that cannot be joined, or if BLAS is not there.
    """
    n, m, k = sizes
    found = library()
    if found is None or dtype not in found.gemm or not n * m * k:
        return None
    stack, steps = collapse(tuple(batch), [tuple(a[:-2]), tuple(b[:-2])], reorder=False)
    left, right = _lies(n, k, *a[-2:]), _lies(k, m, *b[-2:])
    if len(stack) > 2 or left is None or right is None:
        return None
    missing = 2 - len(stack)
    outer, inner = (1,) * missing + tuple(stack)
    count = outer * inner
    (outer_a, stack_a), (outer_b, stack_b) = [(0,) * missing + tuple(s) for s in steps]
    work = n * m * k
    parts = 1
    if count * work <= _SERIAL:
        parts = min(-(-work // _ALONE), max(n, m))
    elif count < compiler.num_threads():
        parts = max(1, min(compiler.max_threads(), work // _GRAIN, max(n, m)))
    table = [
        found.gemm[dtype], n, m, k, parts, int(n >= m), *left, *right,
        a[-2], b[-1], inner, outer_a, outer_b, stack_a, stack_b,
    ]  # fmt: skip
    return Launch(dtype, count * parts, count * work, table)


def _lies(rows: int, columns: int, down: int, across: int) -> tuple[int, int] | None:
    """Return how BLAS is told of a matrix: 111 or 112 if transposed, and the step from
    row to row, or column to column; None if it knows no such."""
    if (columns == 1 or across == 1) and (rows == 1 or down >= columns):
        return 111, down if rows > 1 else columns
    if (rows == 1 or down == 1) and (columns == 1 or across >= rows):
        return 112, across if columns > 1 else rows
    return None
