"""Sorting, and what is found by it: the k-th value, the largest few."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import chosen_rows, dtypes, sorted_rows
from ..errors import ShapeError, message
from ..layout import normalize_dim, numel
from ..memory import empty
from ..spec import contiguous_spec
from ..tape import FunctionNode, edge, grad_mode
from ..tensor import Tensor
from .declare import composed
from .pairs import Pair, stored
from .registry import function
from .views import squeeze


class sort_result(Pair):
    """Sorted values and where they were."""


def sorted_pair(input: Tensor, dim: int, descending: bool) -> tuple[Tensor, Tensor]:
    """Return sorted values and their places; nothing is recorded."""
    if input._spec.ndim == 0:
        places = empty(contiguous_spec(dtypes.int64, (), input._spec.device))
        return function("clone")(input.detach()), places.zero_()
    x = input if input._spec.contiguous else input.detach().contiguous()
    return sorted_rows.sort(x, dim, descending)


def from_places(
    input: Tensor, values: Tensor, places: Tensor, dim: int, name: str
) -> Tensor:
    """Record that values are those of input at distinct places along a dim."""
    if grad_mode.enabled and input.requires_grad:
        shape = tuple(input.shape)

        def back(g: Tensor) -> tuple[Tensor]:
            zeros = g.new_zeros(shape)
            return (function("scatter")(zeros, dim, places, g),)

        values._node = FunctionNode(name, (edge(input),), back)
        values._requires_grad = True
    return values


@composed(
    "sort",
    samples=lambda make: [
        ((make(3, 4),), {}),
        ((make(3, 4), 0, True), {}),
        ((make(2, 20),), {}),  # too long for one run of a device
    ],
    names="keep",
)
def sort(
    input: Tensor,
    dim: int = -1,
    descending: bool = False,
    stable: bool = False,
    *,
    out: Any = None,
) -> sort_result:
    """Return a pair: the values along `dim` in order, and where each was.

    NaN is larger than everything, -0.0 equals 0.0; equals keep their order, whatever
    `stable` says. Gradient: back to where the values came from. Raises: DimError.
    Source: merging by ranks.

    >>> import numtensor as nt
    >>> nt.sort(nt.tensor([3, 1, 2])).indices
    tensor([1, 2, 0])
    """
    d = normalize_dim("sort", dim, input.ndim)
    values, places = sorted_pair(input, d, bool(descending))
    values = from_places(input, values, places, d, "SortBackward0")
    return sort_result(*stored("sort", out, (values, places)))


@composed(
    "argsort", differentiable=False, why="integer result",
    reference=lambda x: np.argsort(x, kind="stable"), names="keep",
)  # fmt: skip
def argsort(
    input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False
) -> Tensor:
    """Return the places along `dim` from which the values come in order, as int64.

    >>> import numtensor as nt
    >>> nt.argsort(nt.tensor([3, 1, 2]), descending=True)
    tensor([0, 2, 1])
    """
    d = normalize_dim("argsort", dim, input.ndim)
    return sorted_pair(input, d, bool(descending))[1]


@composed("msort", reference=lambda x: np.sort(x, axis=0), names="keep")
def msort(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the values along the first dim in order.

    >>> import numtensor as nt
    >>> nt.msort(nt.tensor([[3, 1], [2, 4]]))
    tensor([[2, 1],
            [3, 4]])
    """
    values = sort(input, 0).values
    return values if out is None else stored("msort", out, (values,))[0]


def out_of_range(op: str, k: int, size: int, do: str) -> ShapeError:
    return ShapeError(
        message(op, f"k={k} for a dim of size {size}", "k in the dim", do)
    )


class topk_result(Pair):
    """The largest or smallest values and where they were."""


@composed(
    "topk",
    samples=lambda make: [((make(7), 3), {}), ((make(3, 4), 2, 0, False), {})],
    names="keep",
)
def topk(
    input: Tensor,
    k: int,
    dim: int = -1,
    largest: bool = True,
    sorted: bool = True,
    *,
    out: Any = None,
) -> topk_result:
    """Return a pair: the k largest or smallest values along `dim`, and their places.

    They are in order, whatever `sorted` says, and of equals the first come first. NaN
    is larger than everything. Gradient: back to where the values came from. Raises:
    ShapeError, k above the size of the dim; DimError.

    >>> import numtensor as nt
    >>> nt.topk(nt.tensor([3, 1, 4, 1, 5]), 2).values
    tensor([5, 4])
    """
    d = normalize_dim("topk", dim, input.ndim)
    size = input.shape[d] if input.ndim else 1
    if not 0 <= k <= size:
        raise out_of_range("topk", k, size, "selected index k out of range.")
    values, places = _part(input, d, 0, k, bool(largest))
    values = from_places(input, values, places, d, "TopkBackward0")
    return topk_result(*stored("topk", out, (values, places)))


def _part(
    input: Tensor, dim: int, low: int, high: int, descending: bool
) -> tuple[Tensor, Tensor]:
    """Return what is at places [low, high) of the order; nothing is recorded."""
    if input._spec.ndim == 0:
        return sorted_pair(input, dim, descending)
    shape = list(input.shape)
    shape[dim] = high - low
    if numel(shape) == 0:
        spec, on = input._spec, input._spec.device
        return (
            empty(contiguous_spec(spec.dtype, tuple(shape), on)),
            empty(contiguous_spec(dtypes.int64, tuple(shape), on)),
        )
    x = input if input._spec.contiguous else input.detach().contiguous()
    return chosen_rows.part(x, dim, low, high, descending)


def one_of(
    input: Tensor, pair: tuple[Tensor, Tensor], dim: int, keepdim: bool, name: str
) -> tuple[Tensor, Tensor]:
    """Record values at one place of a dim, which is kept as 1, and drop the dim."""
    values, places = pair
    values = from_places(input, values, places, dim, name)
    if keepdim or input.ndim == 0:
        return values, places
    return squeeze(values, dim), squeeze(places, dim)


class kthvalue_result(Pair):
    """The k-th smallest values and where they were."""


@composed(
    "kthvalue",
    samples=lambda make: [((make(7), 3), {}), ((make(3, 4), 2, 0), {})],
    names="reduce",
)
def kthvalue(
    input: Tensor, k: int, dim: int = -1, keepdim: bool = False, *, out: Any = None
) -> kthvalue_result:
    """Return a pair: the k-th smallest value along `dim`, from 1, and where it was.

    Raises: ShapeError, k outside the dim; DimError.

    >>> import numtensor as nt
    >>> nt.kthvalue(nt.tensor([3, 1, 4, 1, 5]), 3).values
    tensor(3)
    """
    d = normalize_dim("kthvalue", dim, input.ndim)
    size = input.shape[d] if input.ndim else 1
    if not 1 <= k <= size:
        do = f"kthvalue(): selected number k out of range for dimension {d}."
        raise out_of_range("kthvalue", k, size, do)
    pair = _part(input, d, k - 1, k, False)
    pair = one_of(input, pair, d, keepdim, "KthvalueBackward0")
    return kthvalue_result(*stored("kthvalue", out, pair))
