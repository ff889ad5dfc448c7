"""Finding places in what is sorted: searchsorted, bucketize, isin."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes, sorted_rows
from ..devices import Twin
from ..errors import DTypeError, ShapeError, message, mixed_devices
from ..kernels.by_hand import search
from ..memory import as_number, empty
from ..spec import contiguous_spec
from ..tensor import Tensor
from .declare import composed
from .pairs import stored
from .registry import function


def _as_tensor(op: str, value: Any, like: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        if value._spec.device is not like._spec.device:
            raise mixed_devices(op, value.device, like.device)
        return value
    return function("full")((), as_number(op, value), device=like.device)  # type: ignore[no-any-return]


def _one_dtype(x: Tensor, y: Tensor, weak: bool) -> tuple[Tensor, Tensor]:
    """Return both in the dtype in which they meet; `weak` says that x is a number."""
    kind = dtypes.promote_types(x.dtype, y.dtype)
    if weak and x.dtype.category <= y.dtype.category:
        kind = y.dtype
    return x.detach().to(kind).contiguous(), y.detach().to(kind).contiguous()


def _index_dtype(out_int32: bool) -> dtypes.dtype:
    return dtypes.int32 if out_int32 else dtypes.int64


@composed(
    "searchsorted", differentiable=False, why="integer result", method=False,
    names="drop",
    samples=lambda make: [
        ((make(5).sort().values, make(3, 2)), {}),
        ((make(2, 4).sort().values, make(2, 3)), {"right": True}),
        ((x := make(4), 0.25), {"sorter": x.argsort(), "out_int32": True}),
    ],
)  # fmt: skip
def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Return where in sorted rows each value would go, so that they stay sorted.

    Before its equals, or behind them with `right=True` or `side="right"`. `sorter` are
    places that sort the rows, as `argsort` returns them.

    Shapes: a sequence (n,) and any input; or (*a, n) and (*a, m). Dtypes: int64, or
    int32 with `out_int32`; two dtypes meet as in arithmetic. Raises: ShapeError,
    leading dims that differ; DTypeError.

    >>> import numtensor as nt
    >>> nt.searchsorted(nt.tensor([1, 3, 5]), nt.tensor([3, 4]))
    tensor([1, 2])
    """
    op = "searchsorted"
    sequence = sorted_sequence
    if side not in (None, "left", "right"):
        raise ShapeError(
            message(
                op,
                f"side={side!r}",
                "'left' or 'right'",
                "torch.searchsorted(): side can only be 'left' or 'right' but got "
                f"{side}.",
            )
        )
    if right and side == "left":
        raise ShapeError(
            message(
                op,
                "right=True and side='left'",
                "one of the two",
                "torch.searchsorted(): side and right can't be set to opposites, got "
                "side of left while right was True.",
            )
        )
    weak = not isinstance(input, Tensor)
    value = _as_tensor(op, input, sequence)
    if sequence.ndim == 0:
        raise ShapeError(
            message(
                op,
                "a sequence of 0 dims",
                "at least 1",
                "torch.searchsorted(): input value can be a scalar only when "
                "boundaries tensor dimension is at least 1.",
            )
        )
    single = sequence.ndim == 1
    if not single and tuple(sequence.shape[:-1]) != tuple(value.shape[:-1]):
        raise ShapeError(
            message(
                op,
                f"a sequence of shape {list(sequence.shape)} and values of shape "
                f"{list(value.shape)}",
                "a sequence of 1 dim, or shapes that differ in the last dim only",
                "torch.searchsorted(): boundaries tensor should be 1 dimension or the "
                "first N-1 dimensions of boundaries tensor and input value tensor must "
                "match.",
            )
        )
    if sorter is not None:
        sorter = _checked_sorter(sorter, sequence)
    value, rows = _one_dtype(value, sequence, weak)
    kind = _index_dtype(out_int32)
    found = empty(contiguous_spec(kind, tuple(value.shape), value._spec.device))
    n = rows.shape[-1]
    width = value.shape[-1] if value.ndim else 1
    wanted = search.places(
        rows.dtype.name, right or side == "right", sorter is not None, kind.name
    )
    given = (found, value, rows) + (() if sorter is None else (sorter,))
    sorted_rows.perform(
        wanted, found._spec.numel, (n, max(width, 1), int(not single)), given,
        cost=10 * max(n, 1).bit_length(),
    )  # fmt: skip
    return found if out is None else stored(op, out, (found,))[0]


def _checked_sorter(sorter: Tensor, sequence: Tensor) -> Tensor:
    op = "searchsorted"
    if sorter._spec.device is not sequence._spec.device:
        raise mixed_devices(op, sorter.device, sequence.device)
    if sorter.dtype is not dtypes.int64:
        raise DTypeError(
            message(
                op,
                f"a sorter of {sorter.dtype}",
                "torch.int64",
                "torch.searchsorted(): sorter must be a tensor of long dtype. Use "
                "argsort.",
            )
        )
    if tuple(sorter.shape) != tuple(sequence.shape):
        raise ShapeError(
            message(
                op,
                f"a sorter of shape {list(sorter.shape)} for a sequence of shape "
                f"{list(sequence.shape)}",
                "one shape",
                "torch.searchsorted(): boundary and sorter must have the same size.",
            )
        )
    sorter = sorter.contiguous()
    n = sequence.shape[-1]
    if type(sorter._spec.device) is Twin:
        # nobody knows what it holds; the kernel must not look outside all the same
        return sorter.clamp(0, max(n - 1, 0))
    if sorter._spec.numel and not (
        int(sorter.amin().item()) >= 0 and int(sorter.amax().item()) < n
    ):
        raise ShapeError(
            message(
                op,
                "a sorter with places outside the sequence",
                f"places in [0, {n})",
                "torch.searchsorted(): sorter index out of range. Use argsort.",
            )
        )
    return sorter


@composed(
    "bucketize", differentiable=False, why="integer result", names="keep",
    reference=lambda x, edges: np.searchsorted(edges, x),
    samples=lambda make: [((make(3, 2), make(5).sort().values), {})],
)  # fmt: skip
def bucketize(
    input: Any,
    boundaries: Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Return which bucket between ascending boundaries each value is in.

    A bucket holds its upper boundary, or with `right=True` its lower one. Dtypes:
    int64, or int32 with `out_int32`. Raises: ShapeError, boundaries that are not of
    one dim.

    >>> import numtensor as nt
    >>> nt.bucketize(nt.tensor([0, 3, 9]), nt.tensor([1, 3, 5]))
    tensor([0, 1, 3])
    """
    if boundaries.ndim != 1:
        raise ShapeError(
            message(
                "bucketize",
                f"boundaries of {boundaries.ndim} dims",
                "1 dim",
                "boundaries tensor must be 1 dimension, but got dim("
                f"{boundaries.ndim}).",
            )
        )
    weak = not isinstance(input, Tensor)
    value = _as_tensor("bucketize", input, boundaries)
    value, edges = _one_dtype(value, boundaries, weak)
    return searchsorted(edges, value, out_int32=out_int32, right=right, out=out)


@composed(
    "isin", differentiable=False, why="bool result", method=False, names="keep",
    reference=np.isin,
    samples=lambda make: [
        ((x := make(3, 4), x[1]), {}), ((make(5), 0.5), {"invert": True})
    ],
)  # fmt: skip
def isin(
    elements: Any,
    test_elements: Any,
    *,
    assume_unique: bool = False,
    invert: bool = False,
) -> Tensor:
    """Return whether each element is among the test elements, as bool.

    One of the two may be a number. With `invert=True`, whether it is not.
    `assume_unique` is accepted and changes nothing. Raises: DTypeError, two numbers.

    >>> import numtensor as nt
    >>> nt.isin(nt.tensor([1, 2, 3]), nt.tensor([3, 1]))
    tensor([ True, False,  True])
    """
    known = [t for t in (elements, test_elements) if isinstance(t, Tensor)]
    if not known:
        raise DTypeError(
            message("isin", "two numbers", "at least one Tensor", "Use nt.tensor(...).")
        )
    x = _as_tensor("isin", elements, known[0])
    among = _as_tensor("isin", test_elements, known[0])
    if len(known) == 2:
        x, among = _one_dtype(x, among, False)
    elif isinstance(elements, Tensor):
        among, x = _one_dtype(among, x, True)
    else:
        x, among = _one_dtype(x, among, True)
    found = empty(contiguous_spec(dtypes.bool_, tuple(x.shape), x._spec.device))
    row = among.reshape(-1)
    n = row.shape[0]
    if n > 1:
        row = sorted_rows.sort(row, 0, False)[0]
    sorted_rows.perform(
        search.member(x.dtype.name, invert), found._spec.numel, (n,), (found, x, row),
        cost=10 * max(n, 1).bit_length(),
    )  # fmt: skip
    return found
