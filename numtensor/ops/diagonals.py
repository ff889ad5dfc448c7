"""Triangles and diagonals of matrices: taken, and put into zeros.

The view of a diagonal itself is among the `views`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import layout
from ..errors import DimError, DTypeError, ShapeError, message
from ..tensor import Tensor
from .copies import clone
from .declare import attach_stored_back, composed
from .joining import cat
from .pairs import into
from .registry import function
from .views import diagonal, embedded, reshape, unsqueeze


def _triangle(name: str, lower: bool, reference: Any, doc: str) -> Any:
    def call(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
        if input.ndim < 2:
            raise ShapeError(
                message(
                    name,
                    f"a {input.ndim}-d tensor",
                    "at least 2 dims",
                    f"{name}: input tensor must have at least 2 dimensions.",
                )
            )
        arange = function("arange")
        rows = unsqueeze(arange(input.shape[-2], device=input.device), 1)
        columns = arange(input.shape[-1], device=input.device)
        inside = columns <= rows + diagonal if lower else columns >= rows + diagonal
        result = function("where")(inside, input, input.new_zeros(()))
        return into(name, out, result)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    attach_stored_back(call)
    return composed(
        name,
        names="keep",
        samples=lambda make: [((make(3, 3),), {}), ((make(2, 3, 4), 1), {})],
        reference=reference,
    )(call)


tril = _triangle(
    "tril", True, np.tril,
    "Return the elements on and below a diagonal, 0 elsewhere.",
)  # fmt: skip
triu = _triangle(
    "triu", False, np.triu,
    "Return the elements on and above a diagonal, 0 elsewhere.",
)  # fmt: skip


@composed(
    "diag_embed",
    names="drop",
    samples=lambda make: [((make(2, 3),), {}), ((make(2), -1), {})],
)
def diag_embed(
    input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1
) -> Tensor:
    """Return zeros with the last dim of the input on a diagonal of two new dims."""
    ndim = input.ndim + 1
    first = layout.normalize_dim("diag_embed", dim1, ndim)
    second = layout.normalize_dim("diag_embed", dim2, ndim)
    if first == second:
        raise DimError(
            message(
                "diag_embed",
                f"dim1={dim1} and dim2={dim2}",
                "two dims",
                f"diagonal dimensions cannot be identical {dim1}, {dim2}.",
            )
        )
    size = input.shape[-1] + abs(offset)
    shape = list(input.shape[:-1])
    for d in sorted((first, second)):
        shape.insert(d, size)
    return embedded(
        input, tuple(shape), lambda full: diagonal(full, offset, first, second)
    )


@composed(
    "diag", names="drop", reference=lambda x, k=0: np.diag(x, k),
    samples=lambda make: [((make(3),), {}), ((make(3, 4), 1), {})],
)  # fmt: skip
def diag(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
    """Return the matrix with a vector on its diagonal, or the diagonal of a matrix.

    Raises: ShapeError, neither a vector nor a matrix.
    """
    if input.ndim not in (1, 2):
        raise ShapeError(
            message(
                "diag",
                f"a {input.ndim}-d tensor",
                "1-d or 2-d",
                f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D.",
            )
        )
    if input.ndim == 1:
        result = diag_embed(input, diagonal)
    else:
        result = clone(_diagonal(input, diagonal))
    return into("diag", out, result)


_diagonal = diagonal


@composed(
    "diagflat", names="drop", reference=lambda x, k=0: np.diagflat(x, k),
    samples=lambda make: [((make(2, 2),), {})],
)  # fmt: skip
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """Return the matrix with all elements of the input on its diagonal."""
    return diag_embed(reshape(input, (-1,)), offset)


@composed(
    "trace", names="drop", reference=np.trace,
    samples=lambda make: [((make(3, 3),), {}), ((make(2, 3),), {})],
)  # fmt: skip
def trace(input: Tensor) -> Tensor:
    """Return the sum of the diagonal of a matrix."""
    if input.ndim != 2:
        raise ShapeError(
            message(
                "trace",
                f"a {input.ndim}-d tensor",
                "a matrix",
                f"trace: expected a matrix, but got tensor with dim {input.ndim}.",
            )
        )
    return diagonal(input).sum()


@composed(
    "block_diag", method=False, names="drop",
    samples=lambda make: [((make(2, 1), make(1, 3)), {})],
)  # fmt: skip
def block_diag(*tensors: Tensor) -> Tensor:
    """Return the matrix with the given matrices along its diagonal, zeros elsewhere."""
    if not tensors:
        return function("empty")((1, 0))
    blocks = []
    for k, x in enumerate(tensors):
        if not isinstance(x, Tensor):
            raise DTypeError(
                message(
                    "block_diag", f"a {type(x).__name__}", "Tensors", "Use nt.tensor."
                )
            )
        if x.ndim > 2:
            raise ShapeError(
                message(
                    "block_diag",
                    f"a {x.ndim}-d tensor",
                    "at most 2 dims",
                    "torch.block_diag: Input tensors must have 2 or fewer dimensions. "
                    f"Input {k} has {x.ndim} dimensions.",
                )
            )
        blocks.append(reshape(x, (1,) * (2 - x.ndim) + tuple(x.shape)))
    width = sum(x.shape[1] for x in blocks)
    rows, done = [], 0
    for x in blocks:
        height, size = x.shape
        after = x.new_zeros((height, width - done - size))
        rows.append(cat([x.new_zeros((height, done)), x, after], 1))
        done += size
    return cat(rows, 0)
