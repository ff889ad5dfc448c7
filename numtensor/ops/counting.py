"""How often numbers are there: bincount, histc, histogram."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from .. import dtypes, sorted_rows
from ..devices import Twin
from ..dtypes import FLOAT
from ..errors import DTypeError, ShapeError, message, mixed_devices
from ..kernels.by_hand import groups, search
from ..sorted_rows import PIECE, perform, scratch
from ..tensor import Tensor
from .declare import composed
from .pairs import stored
from .registry import function


def _counted(x: Tensor, bins: int, weights: Tensor | None) -> Tensor:
    """Return how often each number below `bins` is in x, or the sums of weights.

    x is contiguous, of one dim, and all its numbers are bins.
    """
    spec = x._spec
    n = spec.numel
    kind = dtypes.int64 if weights is None else weights.dtype
    if not n or not bins:
        return scratch(kind, bins, spec).zero_()
    name = "" if weights is None else kind.name
    if spec.device.type == "cpu":
        # a thread counts in bins of its own; where those are many, in one piece
        pieces = min(16, max(1, n // max(PIECE, 8 * bins)))
        size = -(-n // pieces)
        counts = scratch(kind, pieces * bins, spec)
        given = (counts, x) + (() if weights is None else (weights,))
        wanted = groups.counted(x.dtype.name, name)
        perform(wanted, pieces, (n, size, bins), given, cost=4 * size)
        return counts if pieces == 1 else counts.reshape(pieces, bins).sum(0)
    values, order = sorted_rows.sort(x, 0, False)
    found = scratch(kind, bins, spec)
    given = (found, values) + (() if weights is None else (order, weights))
    perform(groups.counted_sorted(x.dtype.name, name), bins, (n,), given)
    return found


def _whole(make: Any, *shape: int) -> Tensor:
    return (make(*shape).abs() * 2).to(dtypes.int64)


@composed(
    "bincount", differentiable=False, why="integer argument", names="drop",
    samples=lambda make: [
        ((_whole(make, 7),), {}), ((_whole(make, 5), make(5)), {"minlength": 6}),
    ],
)  # fmt: skip
def bincount(
    input: Tensor, weights: Tensor | None = None, minlength: int = 0
) -> Tensor:
    """Return how often each number from 0 on is in a tensor, or the sum of its weights.

    Sums are in the order of the elements, the same in every run.

    Shapes: (n,) -> (m,), m at least `minlength`. Dtypes: integers; int64, or with
    weights float32 if they are, else float64. Raises: DTypeError; ShapeError, negative
    numbers, or shapes that differ.

    >>> import numtensor as nt
    >>> nt.bincount(nt.tensor([1, 3, 1]))
    tensor([0, 2, 0, 1])
    """
    x = input
    if x.dtype.category == FLOAT or x.dtype is dtypes.bool_:
        raise DTypeError(
            message(
                "bincount",
                f"{x.dtype}",
                "an integer dtype",
                f"\"bincount_cpu\" not implemented for '{x.dtype}'. Use x.long().",
            )
        )
    if minlength < 0:
        raise ShapeError(
            message(
                "bincount", f"minlength={minlength}", "0 or more",
                "minlength should be >= 0.",
            )
        )  # fmt: skip
    rule = "bincount only supports 1-d non-negative integral inputs."
    if x.ndim != 1:
        raise ShapeError(
            message("bincount", f"a tensor of {x.ndim} dims", "1 dim", rule)
        )
    if weights is not None:
        if weights._spec.device is not x._spec.device:
            raise mixed_devices("bincount", weights.device, x.device)
        if tuple(weights.shape) != tuple(x.shape):
            raise ShapeError(
                message(
                    "bincount",
                    f"weights of shape {list(weights.shape)} for {list(x.shape)}",
                    "one shape",
                    "weights should be 1-d and have the same length as input.",
                )
            )
        if weights.dtype is not dtypes.float32:
            weights = weights.to(dtypes.float64)
        weights = weights.detach().contiguous()
    bins = minlength
    if not x._spec.numel:
        weights = None  # of nothing PyTorch counts, whatever the weights are
    else:
        if int(x.amin().item()) < 0:
            raise ShapeError(
                message("bincount", "negative numbers", "numbers from 0 on", rule)
            )
        bins = max(bins, int(x.amax().item()) + 1)
    return _counted(x.contiguous(), bins, weights)


def _in_bins(x: Tensor, edges: Tensor, weights: Tensor | None, even: bool) -> Tensor:
    """Return the counts of values, or sums of weights, between ascending edges."""
    x = x.detach().contiguous().reshape(-1)
    place = scratch(dtypes.int64, x._spec.numel, x._spec)
    n = edges.shape[0]
    perform(
        search.edges(x.dtype.name, even), x._spec.numel, (n,), (place, x, edges),
        cost=10 * n.bit_length(),
    )  # fmt: skip
    # the last is of what is in no bin
    return _counted(place, n, weights)[: n - 1]


def _limits(
    op: str, x: Tensor, low: float, high: float, given: bool, more: float
) -> tuple[float, float]:
    """Return the ends of the bins: as given, or of the values.

    If there is nothing between them, so much more on each side.
    """
    if not given and x._spec.numel:
        low, high = float(x.amin().item()), float(x.amax().item())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ShapeError(
            message(
                op,
                f"a range [{low}, {high}]",
                "finite ends",
                f"{op}: range of [{low}, {high}] is not finite.",
            )
        )
    if low > high:
        raise ShapeError(
            message(
                op, f"min={low} and max={high}", "min <= max",
                f"{op}: max must be larger than min.",
            )
        )  # fmt: skip
    return (low - more, high + more) if low == high else (low, high)


def _even_edges(
    op: str, x: Tensor, bins: int, low: float, high: float, given: bool, more: float
) -> Tensor:
    """Return the edges of bins of one width; see `_limits`."""
    if not given and x._spec.numel and type(x._spec.device) is Twin:
        return _edges_without_data(x, bins, more)
    low, high = _limits(op, x, low, high, given, more)
    linspace = function("linspace")
    return linspace(  # type: ignore[no-any-return]
        low, high, bins + 1, dtype=x.dtype, device=x.device
    )


def _edges_without_data(x: Tensor, bins: int, more: float) -> Tensor:
    """Return edges between values that nobody knows while a function is traced."""
    where, arange = function("where"), function("arange")
    low, high = x.detach().amin(), x.detach().amax()
    alone = low == high
    low, high = where(alone, low - more, low), where(alone, high + more, high)
    # between NaN nothing is found; the kernel would look outside between infinities
    width = where(high - low < math.inf, high - low, math.nan)
    parts = arange(bins + 1, dtype=x.dtype, device=x.device) / bins
    # from both ends, so that the last edge is the largest value
    near, far = low + width * parts, high - width * (1 - parts)
    return where(parts < 0.5, near, far)  # type: ignore[no-any-return]


def _floats(op: str, x: Tensor) -> None:
    if x.dtype.category != FLOAT:
        raise DTypeError(
            message(
                op,
                f"{x.dtype}",
                "a floating-point dtype",
                f"\"{op}_cpu\" not implemented for '{x.dtype}'. Use x.float().",
            )
        )


def _checked_bins(op: str, bins: int) -> None:
    if bins <= 0:
        raise ShapeError(
            message(op, f"bins={bins}", "1 or more", f"{op}(): bins must be > 0.")
        )


@composed(
    "histc", differentiable=False, why="counts", dtypes="float", names="drop",
    samples=lambda make: [((make(7), 5), {}), ((make(3, 2), 3, -1, 1), {})],
)  # fmt: skip
def histc(
    input: Tensor,
    bins: int = 100,
    min: float = 0,
    max: float = 0,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Return how many elements are in each of some bins of one width, as floats.

    Between `min` and `max`, or between the ends of the values if the two are equal. A
    bin holds its lower edge, the last its upper edge too. Raises: ShapeError,
    DTypeError.

    >>> import numtensor as nt
    >>> nt.histc(nt.tensor([1.0, 2.0, 1.0]), bins=4, min=0, max=3)
    tensor([0., 2., 1., 0.])
    """
    _floats("histc", input)
    _checked_bins("histc", bins)
    edges = _even_edges("torch.histc", input, bins, min, max, min != max, 1.0)
    found = _in_bins(input, edges, None, True).to(input.dtype)
    return found if out is None else stored("histc", out, (found,))[0]


class histogram_result(NamedTuple):
    """Counts, and the edges between them."""

    hist: Tensor
    bin_edges: Tensor

    def __repr__(self) -> str:
        lines = f"hist={self.hist!r},\nbin_edges={self.bin_edges!r})"
        return f"torch.return_types.histogram(\n{lines}"


@composed(
    "histogram", differentiable=False, why="counts", dtypes="float", names="drop",
    samples=lambda make: [
        ((make(7), 5), {}),
        ((x := make(6), make(4).sort().values), {"weight": x.abs(), "density": True}),
    ],
)  # fmt: skip
def histogram(
    input: Tensor,
    bins: Any,
    *,
    range: tuple[float, float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
    out: Any = None,
) -> histogram_result:
    """Return a pair: how many elements are in each bin, and the edges of the bins.

    `bins` is their number, between the ends of `range` or of the values, or their
    ascending edges. With `weight`, sums of weights; with `density`, so scaled that the
    integral is 1. Raises: ShapeError, DTypeError.

    >>> import numtensor as nt
    >>> nt.histogram(nt.tensor([1.0, 2.0, 1.0]), bins=4, range=(0.0, 3.0)).hist
    tensor([0., 2., 1., 0.])
    """
    _floats("histogram", input)
    if isinstance(bins, Tensor):
        if bins.ndim != 1 or bins.shape[0] < 1:
            raise ShapeError(
                message(
                    "histogram", f"edges of shape {list(bins.shape)}",
                    "one dim, with elements",
                    "torch.histogram(): bins tensor should have one dimension.",
                )
            )  # fmt: skip
        if bins.dtype is not input.dtype:
            raise DTypeError(
                message(
                    "histogram", f"edges of {bins.dtype} for {input.dtype}",
                    "one dtype",
                    "torch.histogram(): input tensor and bins tensors should have the "
                    "same dtype.",
                )
            )  # fmt: skip
        edges = bins.detach().contiguous().clone()
    else:
        _checked_bins("histogram", bins)
        ends = range or (0.0, 1.0)
        edges = _even_edges(
            "torch.histogram", input, bins, *ends, range is not None, 0.5
        )
    weights = None
    if weight is not None:
        if tuple(weight.shape) != tuple(input.shape):
            raise ShapeError(
                message(
                    "histogram",
                    f"a weight of shape {list(weight.shape)} for {list(input.shape)}",
                    "one shape",
                    "torch.histogram(): if weight tensor is provided it should have "
                    "the same shape as the input tensor.",
                )
            )
        weights = weight.detach().to(input.dtype).contiguous().reshape(-1)
    found = _in_bins(input, edges, weights, not isinstance(bins, Tensor)).to(
        input.dtype
    )
    if density:
        found = found / found.sum() / function("diff")(edges)
    return histogram_result(*stored("histogram", out, (found, edges)))
