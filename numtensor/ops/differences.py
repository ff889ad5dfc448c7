"""Differences of neighbours, and areas under them."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..errors import ShapeError, message
from ..layout import normalize_dim
from ..tensor import Tensor
from .declare import composed
from .pairs import stored
from .registry import function
from .views import narrow


@composed(
    "diff",
    samples=lambda make: [
        ((make(5),), {}),
        ((make(3, 4), 2, 0), {}),
        ((make(2, 3),), {"prepend": make(2, 1), "append": make(2, 2)}),
    ],
    names="keep",
)
def diff(
    input: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Return what each element is above the one before it along `dim`, n times over.

    `prepend` and `append` are set before and behind the elements first. Of bool,
    whether the two differ. Raises: ShapeError, no dims or a negative n; DimError.

    >>> import numtensor as nt
    >>> nt.diff(nt.tensor([1, 4, 9, 16]), n=2)
    tensor([2, 2])
    """
    if input.ndim == 0:
        raise ShapeError(
            message(
                "diff", "a tensor of 0 dims", "at least 1",
                "diff expects input to be at least one-dimensional.",
            )
        )  # fmt: skip
    if n < 0:
        raise ShapeError(
            message(
                "diff", f"n={n}", "0 or more",
                f"order must be non-negative but got {n}.",
            )
        )  # fmt: skip
    d = normalize_dim("diff", dim, input.ndim)
    parts = [t for t in (prepend, input, append) if t is not None]
    x = input if len(parts) == 1 else function("cat")(parts, d)
    take = function("logical_xor" if x.dtype is dtypes.bool_ else "sub")
    for _ in range(n):
        size = x.shape[d]
        if size == 0:
            break
        x = take(narrow(x, d, 1, size - 1), narrow(x, d, 0, size - 1))
    if x is input:
        x = x.clone()
    return x if out is None else stored("diff", out, (x,))[0]


def _areas(op: str, y: Tensor, x: Any, dx: float, dim: int) -> tuple[Tensor, int]:
    """Return the area between each two neighbours along a dim, and the dim."""
    d = normalize_dim(op, dim, y.ndim)
    if y.ndim == 0:
        raise ShapeError(message(op, "a tensor of 0 dims", "at least 1"))
    n = y.shape[d]
    if n == 0:
        return y, d
    both = narrow(y, d, 1, n - 1) + narrow(y, d, 0, n - 1)
    if x is None:
        return both * (dx / 2), d
    if x.ndim == 1:
        if x.shape[0] != n:
            raise ShapeError(
                message(
                    op, f"x of {x.shape[0]} and y of {n} elements", "as many",
                    f"{op}: There must be one `x` value for each sample point.",
                )
            )  # fmt: skip
        x = x.reshape([n if k == d else 1 for k in range(y.ndim)])
        width = diff(x, dim=d)
    else:
        width = diff(x, dim=d - y.ndim)
    return both * width * 0.5, d


@composed(
    "trapezoid", method=False, aliases=("trapz",), dtypes="float", names="reduce",
    samples=lambda make: [
        ((make(5),), {}), ((make(3, 4), make(4)), {}),
        ((make(4, 2),), {"dx": 0.5, "dim": 0}),
    ],
)  # fmt: skip
def trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: float = 1.0, dim: int = -1
) -> Tensor:
    """Return the area under y along `dim` by the trapezoidal rule, at x or `dx` apart.

    >>> import numtensor as nt
    >>> nt.trapezoid(nt.tensor([1.0, 2.0, 3.0]))
    tensor(4.)
    """
    areas, d = _areas("trapezoid", y, x, dx, dim)
    return areas.sum(d)  # type: ignore[no-any-return]


@composed(
    "cumulative_trapezoid", method=False, dtypes="float", names="keep",
    samples=lambda make: [
        ((make(5),), {}), ((make(3, 4), make(4)), {}),
        ((make(4, 2),), {"dx": 0.5, "dim": 0}),
    ],
)  # fmt: skip
def cumulative_trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: float = 1.0, dim: int = -1
) -> Tensor:
    """Return the areas under y so far along `dim` by the trapezoidal rule.

    >>> import numtensor as nt
    >>> nt.cumulative_trapezoid(nt.tensor([1.0, 2.0, 3.0]))
    tensor([1.5000, 4.0000])
    """
    areas, d = _areas("cumulative_trapezoid", y, x, dx, dim)
    return function("cumsum")(areas, d)  # type: ignore[no-any-return]
