"""Dims of other sizes on the tape: a sparse matrix for each dim, and its transpose.

All ways of interpolating are such matrices, applied to one dim after the other; the way
back applies the transposed ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ... import launch
from ...devices import Twin, device
from ...kernels.by_hand import resize as texts
from ...memory import empty
from ...spec import contiguous_spec
from ...tape import FunctionNode, edge, grad_mode, no_grad
from ...tensor import Tensor
from ...transfer import held
from ._convolution_problem import whole


class Matrix:
    """Rows of a sparse matrix: row j holds entries start[j] to start[j + 1].

    `columns` says of how many elements a result is made. Values are kept in float64,
    and in tensors for each dtype and device that asked for them.
    """

    def __init__(
        self, columns: int, start: np.ndarray, index: np.ndarray, weight: np.ndarray
    ) -> None:
        self.columns = columns
        self.rows = len(start) - 1
        self.start, self.index, self.weight = start, index, weight
        alone = len(index) == self.rows and bool((np.diff(start) == 1).all())
        self.picks = alone and bool((weight == 1).all())
        self._tensors: dict[tuple[str, device], tuple[Tensor, ...]] = {}
        self.plans: dict[Any, Any] = {}

    @cached_property
    def transposed(self) -> Matrix:
        """The matrix of the way back."""
        row = np.repeat(np.arange(self.rows), np.diff(self.start))
        order = np.argsort(self.index, kind="stable")
        counts = np.bincount(self.index, minlength=self.columns)
        start = np.concatenate([[0], np.cumsum(counts)])
        found = Matrix(self.rows, start, row[order], self.weight[order])
        found.__dict__["transposed"] = self
        return found

    def tensors(self, dtype: str, on: device) -> tuple[Tensor, ...]:
        """Return start, index and weight on a device."""
        found = self._tensors.get((dtype, on))
        if found is None:
            arrays = (
                self.start.astype(np.int64),
                self.index.astype(np.int64),
                self.weight.astype(dtype),
            )
            with no_grad():
                found = tuple(held(a, on) for a in arrays)
            if type(on) is not Twin:  # what is traced is one trace's
                self._tensors[dtype, on] = found
        return found


def of_entries(columns: int, entries: Sequence[Sequence[tuple[int, float]]]) -> Matrix:
    """Return the matrix whose row j holds entries[j], as (column, value)."""
    start = np.concatenate([[0], np.cumsum([len(e) for e in entries])])
    flat = [pair for row in entries for pair in row]
    index = np.array([k for k, _ in flat], np.int64)
    weight = np.array([w for _, w in flat], np.float64)
    return Matrix(columns, start.astype(np.int64), index, weight)


def resized(x: Tensor, dim: int, matrix: Matrix) -> Tensor:
    """Return x with the matrix applied along `dim`."""
    found = x._spec
    shape = tuple(x.shape)
    made = contiguous_spec(
        x.dtype, (*shape[:dim], matrix.rows, *shape[dim + 1 :]), found.device
    )
    y = empty(made)
    if made.numel:
        key = (made, dim)
        call = matrix.plans.get(key)
        flat = whole(x)
        tensors = matrix.tensors(x.dtype.name, found.device)
        if call is None:
            inner = math.prod(shape[dim + 1 :])
            outer = math.prod(shape[:dim])
            last = inner == 1
            tasks = outer if last else outer * matrix.rows
            each = max(1, len(matrix.index) // matrix.rows)
            call = launch.by_tasks(
                texts.resize(x.dtype.name, last, matrix.picks),
                made.numel if found.device.type != "cpu" else tasks,
                (matrix.columns, matrix.rows, inner),
                found.device,
                cost=2 * each * (matrix.rows if last else inner),
            )
            matrix.plans[key] = call
        pointers = [t._pointer for t in (y, flat, *tensors)]
        call.run(call.kernel, call.n, *pointers, call.table)
    if grad_mode.enabled and x.requires_grad:

        def back(g: Tensor) -> tuple[Tensor]:
            return (resized(g, dim, matrix.transposed),)

        y._node = FunctionNode("UpsampleBackward0", (edge(x),), back)
        y._requires_grad = True
    return y
