"""Grids and tuples of coordinates: meshgrid, cartesian_prod, index triangles."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .. import dtypes
from ..devices import find
from ..errors import DTypeError, ShapeError, message
from ..tensor import Tensor
from .declare import composed
from .joining import stack
from .rearranging import tensor_of
from .registry import function, publish
from .views import expand, reshape


def _vectors(op: str, tensors: tuple[Any, ...], least: int = 0) -> list[Tensor]:
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    for x in tensors:
        if not isinstance(x, Tensor):
            raise DTypeError(
                message(op, f"a {type(x).__name__}", "Tensors", "Use nt.tensor.")
            )
        if not least <= x.ndim <= 1:
            raise _no_vector(op, x)
    if not tensors:
        raise ShapeError(
            message(
                op,
                "no tensors",
                "at least one",
                f"{op} expects a non-empty TensorList.",
            )
        )
    kinds = {x.dtype for x in tensors}
    if len(kinds) > 1:
        raise DTypeError(
            message(
                op,
                " and ".join(sorted(str(k) for k in kinds)),
                "one dtype",
                f"{op} expects all tensors to have the same dtype.",
            )
        )
    return list(tensors)


def _no_vector(op: str, x: Tensor) -> ShapeError:
    shape = list(x.shape)
    do = f"Expect a 1D vector, but got shape {shape}."
    return ShapeError(message(op, f"a {x.ndim}-d tensor", "vectors", do))


XY = {"indexing": "xy"}


@composed(
    "meshgrid",
    kind="view",
    method=False,
    names="drop",
    samples=lambda make: [((make(2), make(3)), {}), ((make(2), make(3)), XY)],
)
def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Return the coordinates of a grid, one tensor for each vector of coordinates.

    Shapes: vectors of n, m, ... give tensors of (n, m, ...), views of the vectors; with
    indexing="xy" of (m, n, ...), as in NumPy.

    >>> import numtensor as nt
    >>> nt.meshgrid(nt.arange(2), nt.arange(2))[0]
    tensor([[0, 0],
            [1, 1]])
    """
    found = _vectors("meshgrid", tensors)
    if indexing not in ("ij", "xy"):
        raise ShapeError(
            message(
                "meshgrid",
                f"indexing={indexing!r}",
                "'ij' or 'xy'",
                'meshgrid: indexing must be one of "xy" or "ij".',
            )
        )
    swapped = indexing == "xy" and len(found) > 1
    if swapped:
        found[:2] = found[1::-1]
    shape = tuple(x.numel() for x in found)
    views = []
    for d, x in enumerate(found):
        own = (1,) * d + (shape[d],) + (1,) * (len(shape) - d - 1)
        views.append(expand(reshape(x, own), shape))
    if swapped:
        views[:2] = views[1::-1]
    return tuple(views)


@composed(
    "cartesian_prod",
    method=False,
    names="drop",
    samples=lambda make: [((make(2), make(3)), {})],
)
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """Return all tuples of elements, one from each vector, as rows."""
    found = _vectors("cartesian_prod", tensors, 1)
    if len(found) == 1:
        return found[0].clone()
    return stack([reshape(x, (-1,)) for x in meshgrid(*found)], 1)


@composed("combinations", names="drop", samples=lambda make: [((make(4), 2), {})])
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """Return all choices of r elements of a vector, in their order, as rows."""
    if input.ndim != 1:
        raise _no_vector("combinations", input)
    if r < 0:
        do = f"Expect a non-negative number, but got {r}."
        raise ShapeError(message("combinations", f"r={r}", "0 or more", do))
    if r == 0:
        return input.new_empty((0,))
    choose: Any = itertools.combinations
    if with_replacement:
        choose = itertools.combinations_with_replacement
    places = list(choose(range(input.numel()), r))
    index = np.asarray(places, np.int64).reshape(len(places), r)
    flat = function("index_select")(
        input, 0, tensor_of(index.reshape(-1), input.device)
    )
    return reshape(flat, index.shape)


def _indices(name: str, of: Any, doc: str) -> None:
    def call(
        row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None
    ) -> Tensor:
        for what, size in (("row", row), ("col", col)):
            if size < 0:
                do = f"{what} must be non-negative, got {size}."
                raise ShapeError(message(name, f"{what}={size}", "0 or more", do))
        on = find(device)
        made = tensor_of(np.stack(of(row, offset, col)), on)
        return made if dtype is None else made.to(dtypes.find(dtype))

    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    publish(name, call)  # on the host: no operator of the table


_indices(
    "tril_indices", np.tril_indices,
    "Return the rows and columns of the lower triangle of a matrix, as (2, n).",
)  # fmt: skip
_indices(
    "triu_indices", np.triu_indices,
    "Return the rows and columns of the upper triangle of a matrix, as (2, n).",
)  # fmt: skip
