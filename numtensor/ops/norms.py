"""Norms and distances, and the statistics that come from matrix products."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import dtypes
from ..dtypes import find as find_dtype
from ..errors import DTypeError, ShapeError, message
from ..reduce import Plan, Reduction
from ..tensor import Tensor
from . import m
from .declare import composed
from .pairs import into
from .registry import function
from .views import unsqueeze


def _length_vjp(g: Tensor, x: Tensor, out: Tensor, plan: Plan) -> Tensor:
    """x / length, and 0 for a tensor of zeros, as PyTorch has it."""
    return x * m.where(out == 0, 0.0, g / m.where(out == 0, 1.0, out))


_length = Reduction(
    "norm", "sum", _length_vjp, rule="float", saves="x out",
    before=lambda x: x * x, after=lambda total, count: m.sqrt(total),
)  # fmt: skip


def _reference(
    x: Any, ord: float = 2, dim: Any = None, keepdim: bool = False
) -> np.ndarray:
    x = np.abs(np.asarray(x))
    axis = tuple(dim) if isinstance(dim, (list, tuple)) else dim
    if ord == math.inf:
        return np.max(x, axis, keepdims=keepdim)
    if ord == -math.inf:
        return np.min(x, axis, keepdims=keepdim)
    if ord == 0:
        return np.sum(x != 0, axis, keepdims=keepdim).astype(x.dtype)
    return np.sum(x**ord, axis, keepdims=keepdim) ** (1 / ord)


@composed(
    "vector_norm",
    method=False,
    names="reduce",
    samples=lambda make: [
        ((make(2, 3),), {}),
        ((make(2, 3), 1, 1), {}),
        ((make(2, 3), math.inf, 0, True), {}),
        ((make(2, 3), 3), {}),
    ],
    reference=_reference,
)
def vector_norm(
    x: Tensor,
    ord: float = 2,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Tensor:
    """Return the p-norm over `dim`, or over everything: (sum |x|^p)^(1/p).

    `ord` is p, inf for the largest and -inf for the smallest magnitude, 0 for how many
    elements are not 0. Dtypes: floats. Raises: DTypeError.

    >>> import numtensor as nt
    >>> nt.vector_norm(nt.tensor([3.0, 4.0]))
    tensor(5.)
    """
    if dtype is not None:
        x = x.to(find_dtype(dtype))
    if not x.is_floating_point():
        raise DTypeError(
            message(
                "vector_norm",
                f"{x.dtype}",
                "a floating-point dtype",
                "linalg.vector_norm: Expected a floating point tensor as input. Got "
                f"{x.type().partition('.')[2]}. Use x.float().",
            )
        )
    p = float(ord)
    if p == 2:
        return _length(x, dim, keepdim)
    if p == 1:
        return x.abs().sum(dim, keepdim)
    if p == math.inf:
        return x.abs().amax(dim, keepdim)
    if p == -math.inf:
        return x.abs().amin(dim, keepdim)
    if p == 0:
        return (x != 0).to(x.dtype).sum(dim, keepdim)
    return (x.abs() ** p).sum(dim, keepdim) ** (1 / p)


@composed(
    "norm",
    names="reduce",
    samples=lambda make: [
        ((make(2, 3),), {}),
        ((make(2, 3), 2, 1), {}),
        ((make(2, 3),), {"dim": 0}),
    ],
)
def norm(
    input: Tensor,
    p: Any = "fro",
    dim: Any = None,
    keepdim: bool = False,
    out: Tensor | None = None,
    dtype: Any = None,
) -> Tensor:
    """Return the vector norm over `dim`: `p` is a number, or 'fro' for 2.

    Raises: DTypeError, the nuclear norm, which needs singular values.
    """
    if p is None or p == "fro":
        p = 2
    if isinstance(p, str):
        raise DTypeError(
            message(
                "norm", f"p={p!r}", "a number or 'fro'", "Matrix norms are not here."
            )
        )
    result = vector_norm(input, p, dim, keepdim, dtype=dtype)
    return into("norm", out, result)


@composed(
    "dist", names="drop", samples=lambda make: [((make(2, 3), make(3)), {})],
    reference=lambda x, y, p=2: _reference(x - y, p),
)  # fmt: skip
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """Return the p-norm of input - other."""
    return vector_norm(input - other, p)


@composed(
    "cdist", method=False, names="drop",
    samples=lambda make: [((make(2, 3), make(4, 3)), {})],
)  # fmt: skip
def cdist(
    x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = None
) -> Tensor:
    """Return the p-norm distances of all rows of x1 to all rows of x2.

    Shapes: (*, n, d), (*, m, d) -> (*, n, m). The differences are formed, in n * m * d
    elements: no digits are lost, unlike by matrix products. Raises: ShapeError; a
    negative p.
    """
    if p < 0:
        do = "cdist only supports non-negative p values."
        raise ShapeError(message("cdist", f"p={p}", "0 or more", do))
    if x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-1]:
        raise ShapeError(
            message(
                "cdist",
                f"x1 {tuple(x1.shape)} and x2 {tuple(x2.shape)}",
                "(*, n, d) and (*, m, d)",
                "X1 and X2 must have the same number of columns. X1: "
                f"{x1.shape[-1]} X2: {x2.shape[-1]}"
                if min(x1.ndim, x2.ndim) >= 2
                else "cdist only supports at least 2D tensors, X1 got: "
                f"{x1.ndim}D, X2 got: {x2.ndim}D",
            )
        )
    return vector_norm(unsqueeze(x1, -2) - unsqueeze(x2, -3), p, -1)


@composed(
    "nanmean", names="reduce", reference=np.nanmean,
    samples=lambda make: [((make(2, 3),), {}), ((make(2, 3), 1), {})],
)  # fmt: skip
def nanmean(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Return the mean over `dim`, or of everything, NaN left out."""
    counted = (input == input).sum(dim, keepdim)
    return function("nansum")(input, dim, keepdim, dtype=dtype) / counted


class _Range(NamedTuple):
    min: Tensor
    max: Tensor


@composed(
    "aminmax", names="reduce",
    samples=lambda make: [((make(2, 3),), {}), ((make(2, 3),), {"dim": 1})],
)  # fmt: skip
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the pair (min, max) over `dim`, or of everything."""
    return _Range(
        function("amin")(input, dim, keepdim), function("amax")(input, dim, keepdim)
    )


def _check_weights(what: str, weights: Tensor, count: int) -> None:
    """Refuse weights of observations that do not fit or are negative."""
    kinds = "integral" if what == "fweights" else "floating point"
    if weights.ndim > 1 or weights.numel() != count:
        raise ShapeError(
            message(
                "cov",
                f"{what} of shape {list(weights.shape)}",
                f"{count} of them, one for each observation",
                f"cov(): expected {what} to have one or fewer dimensions but got "
                f"{what} with {weights.ndim} dimensions."
                if weights.ndim > 1
                else f"cov(): expected {what} to have the same numel as there are "
                f"observations in the input but got {weights.numel()} != {count}.",
            )
        )
    if weights.is_floating_point() != (what == "aweights"):
        raise DTypeError(
            message(
                "cov",
                f"{what} of {weights.dtype}",
                f"{kinds} numbers",
                f"cov(): expected {what} to have {kinds} dtype.",
            )
        )
    if count and bool(weights.amin() < 0):
        raise ShapeError(
            message(
                "cov",
                f"{what} below 0",
                "0 or more",
                f"cov(): {what} cannot be negative.",
            )
        )


@composed(
    "cov", names="drop", reference=np.cov,
    samples=lambda make: [((make(2, 4),), {}), ((make(4),), {})],
)  # fmt: skip
def cov(
    input: Tensor,
    *,
    correction: int = 1,
    fweights: Tensor | None = None,
    aweights: Tensor | None = None,
) -> Tensor:
    """Return the covariance matrix of variables (rows) over observations (columns).

    `fweights` counts observations, `aweights` weighs them. Raises: ShapeError, more
    than two dims, weights that do not fit or are negative; DTypeError.
    """
    if input.ndim > 2:
        raise ShapeError(
            message(
                "cov",
                f"a {input.ndim}-d tensor",
                "at most 2 dims",
                "cov(): expected input to have two or fewer dimensions but got an "
                f"input with {input.ndim} dimensions.",
            )
        )
    x = input if input.ndim == 2 else input.reshape(1, -1)
    if not x.is_floating_point():
        x = x.to(dtypes.get_default_dtype())
    for what, given in (("fweights", fweights), ("aweights", aweights)):
        if given is not None:
            _check_weights(what, given, x.shape[1])
    weights = fweights
    if aweights is not None:
        weights = aweights if weights is None else weights * aweights
    if weights is None:
        centred = x - x.mean(1, True)
        factor = x.shape[1] - correction
        result = centred @ centred.mT / max(factor, 0)
    else:
        weights = weights.to(x.dtype)
        total = weights.sum()
        centred = x - (x * weights).sum(1, True) / total
        if correction and aweights is not None:
            factor = total - correction * (weights * aweights).sum() / total
        else:
            factor = total - correction
        result = (centred * weights) @ centred.mT / factor
    return result if input.ndim == 2 else result.reshape(())


@composed(
    "corrcoef", names="drop", reference=np.corrcoef,
    samples=lambda make: [((make(2, 4),), {})],
)  # fmt: skip
def corrcoef(input: Tensor) -> Tensor:
    """Return the correlation coefficients of variables (rows)."""
    found = cov(input)
    if found.ndim == 0:
        return found / found
    spread = found.diagonal().sqrt()
    return found / unsqueeze(spread, 1) / unsqueeze(spread, 0)
