"""Distinct elements: found by sorting, and by comparing each with the one before it."""

from __future__ import annotations

from typing import Any

from .. import dtypes, scanned_rows, sorted_rows
from ..errors import DimError, message
from ..kernels.by_hand import groups
from ..layout import normalize_dim, numel
from ..memory import empty
from ..sorted_rows import perform, scratch
from ..spec import contiguous_spec
from ..tensor import Tensor
from .declare import composed
from .registry import function
from .views import narrow


class _Groups:
    """Rows of a matrix in an order, and the groups of equal neighbours in it."""

    def __init__(
        self, x: Tensor, n: int, width: int, sort: bool, inverse: bool
    ) -> None:
        self.x, self.n, self.width = x, n, width
        self.order: Tensor | None = None
        self.name = x.dtype.name
        values = x
        if sort and n and width == 1:
            values, self.order = sorted_rows.sort(x.reshape(-1), 0, False)
        elif sort and n:
            self.order = self._sorted()
        marks = scratch(dtypes.bool_, n, x._spec)
        # sorted values are compared as they stand; rows of a matrix where they are
        order = () if self.order is None else (self.order,)
        apart = order if width > 1 else ()
        wanted = groups.marks(self.name, bool(apart))
        perform(wanted, n, (width,), (marks, values, *apart), cost=4 * width)
        (self.numbers,) = scanned_rows.scan("sum", (marks,), 0, dtypes.int64)
        self.count = int(self.numbers[n - 1].item()) if n else 0
        self.begins = scratch(dtypes.int64, self.count + 1, x._spec)
        self.inverse: Tensor | None = None
        given: tuple[Tensor, ...] = (self.begins, self.numbers)
        if inverse:
            self.inverse = scratch(dtypes.int64, n, x._spec)
            given += (self.inverse, *order)
        wanted = groups.numbered(bool(order) and inverse, inverse)
        perform(wanted, n, (n,), given)

    def _sorted(self) -> Tensor:
        """Return the order of rows: by the last column, then stably by those before."""
        spec = self.x._spec
        order: Tensor | None = None
        for column in reversed(range(self.width)):
            before = order
            if before is None:
                before = function("arange")(self.n, device=spec.device)
            keys = scratch(spec.dtype, self.n, spec)
            taken = groups.taken(self.name)
            perform(taken, self.n, (self.width,), (keys, self.x, before), (column,))
            _, places = sorted_rows.sort(keys, 0, False)
            order = scratch(dtypes.int64, self.n, spec)
            perform(groups.taken("int64"), self.n, (1,), (order, before, places), (0,))
        assert order is not None
        return order

    def heads(self) -> Tensor:
        """Return the first row of each group, (groups, width)."""
        spec = self.x._spec
        out = empty(contiguous_spec(spec.dtype, (self.count, self.width), spec.device))
        order = () if self.order is None else (self.order,)
        wanted = groups.heads(self.name, bool(order))
        given = (out, self.x, self.begins, *order)
        perform(wanted, self.count * self.width, (self.width,), given)
        return out

    def sizes(self) -> Tensor:
        """Return how many rows are in each group."""
        count = self.count
        return narrow(self.begins, 0, 1, count) - narrow(self.begins, 0, 0, count)  # type: ignore[no-any-return]


def _distinct(
    op: str, input: Tensor, sort: bool, inverse: bool, counts: bool, dim: int | None
) -> Any:
    x = input.detach()
    if dim is None:
        flat = x.contiguous().reshape(-1)
        found = _Groups(flat, flat.shape[0], 1, sort, inverse)
        values, shape = found.heads().reshape(-1), tuple(x.shape)
    else:
        d = normalize_dim(op, dim, x.ndim)
        if x.ndim == 0:
            return _distinct(op, input, sort, inverse, counts, None)
        if x._spec.numel == 0 and x.shape[d]:
            raise DimError(
                message(
                    op,
                    f"shape {list(x.shape)}, dim={dim}",
                    "a dim of size 0, or elements",
                    f"{op}: there are 0 sized dimensions, and they aren't selected by "
                    "`dim`, so unique cannot be applied.",
                )
            )
        first = x.movedim(d, 0)
        rest = tuple(first.shape[1:])
        rows = first.contiguous().reshape(first.shape[0], numel(rest))
        found = _Groups(rows, rows.shape[0], rows.shape[1], sort, inverse)
        values = found.heads().reshape(found.count, *rest).movedim(0, d).contiguous()
        shape = (x.shape[d],)
    results = [values]
    if found.inverse is not None:
        results.append(found.inverse.reshape(shape))
    if counts:
        results.append(found.sizes())
    return results[0] if len(results) == 1 else tuple(results)


@composed(
    "unique", differentiable=False, why="which elements are kept jumps", names="drop",
    samples=lambda make: [
        ((make(3, 2).round(),), {"return_inverse": True, "return_counts": True}),
        ((make(4, 2).round(),), {"dim": 0, "return_inverse": True}),
    ],
)  # fmt: skip
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """Return the distinct elements in order, or with `dim` the distinct slices.

    With `return_inverse`, then where each element is among them; with `return_counts`,
    then how often each is there. They are in order whatever `sorted` says. A NaN equals
    nothing. Raises: DimError.

    >>> import numtensor as nt
    >>> nt.unique(nt.tensor([3, 1, 3, 2]), return_counts=True)
    (tensor([1, 2, 3]), tensor([1, 1, 2]))
    """
    return _distinct("unique", input, True, return_inverse, return_counts, dim)


@composed(
    "unique_consecutive", differentiable=False, names="drop",
    why="which elements are kept jumps",
    samples=lambda make: [
        ((make(3, 2).round(),), {"return_inverse": True, "return_counts": True}),
        ((make(4, 2).round(), False, True, 1), {}),
    ],
)  # fmt: skip
def unique_consecutive(
    input: Tensor,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """Return the elements that differ from the one before, as `unique` without sorting.

    >>> import numtensor as nt
    >>> nt.unique_consecutive(nt.tensor([1, 1, 2, 1]))
    tensor([1, 2, 1])
    """
    op = "unique_consecutive"
    return _distinct(op, input, False, return_inverse, return_counts, dim)
