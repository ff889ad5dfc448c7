"""Statistics of order: medians, modes, quantiles."""

from __future__ import annotations

from typing import Any

from .. import chosen_rows, dtypes
from ..devices import Twin
from ..dtypes import FLOAT
from ..errors import DTypeError, ShapeError, message, mixed_devices
from ..layout import normalize_dim
from ..names import rules
from ..tape import FunctionNode, edge, grad_mode
from ..tensor import Tensor
from .declare import composed
from .pairs import Pair, stored
from .reductions import no_elements
from .registry import function
from .selection import where
from .sorting import one_of, sort, sorted_pair


class median_result(Pair):
    """Lower medians and where they are."""


class nanmedian_result(Pair):
    """Lower medians of what is no NaN, and where they are."""


class mode_result(Pair):
    """What is most often there, and where it is."""


def _middle(op: str, x: Tensor, dim: int, skip_nan: bool) -> tuple[Tensor, Tensor]:
    if x._spec.ndim == 0:
        return sorted_pair(x, 0, False)
    _some(op, x, dim)
    return chosen_rows.middle(x.detach().contiguous(), dim, skip_nan)


def _some(op: str, x: Tensor, dim: int) -> None:
    if x.shape[dim] == 0:
        raise no_elements(op, x.shape, dim)


def _of_all(op: str, input: Tensor, skip_nan: bool) -> Tensor:
    """Return the median of everything; equals share the gradient."""
    if input._spec.numel == 0:
        return input.new_full((), float("nan"))  # type: ignore[no-any-return]
    flat = input.detach().contiguous().reshape(-1)
    value = _middle(op, flat, 0, skip_nan)[0].reshape(())
    if grad_mode.enabled and input.requires_grad:
        held = input.detach()

        def back(g: Tensor, x: Tensor, out: Tensor) -> tuple[Tensor]:
            hit = (x == out) | ((x != x) & (out != out))
            return (where(hit, g / hit.sum(), 0.0),)

        value._node = FunctionNode(
            f"{op.capitalize()}Backward0", (edge(input),), back, (held, value.detach())
        )
        value._requires_grad = True
    return value


def _median(op: str, skip_nan: bool, pair: Any) -> Any:
    def call(
        input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Any = None
    ) -> Any:
        if dim is None:
            found = _of_all(op, input, skip_nan)
            return found if out is None else stored(op, out, (found,))[0]
        d = normalize_dim(op, dim, input.ndim)
        both = _middle(op, input, d, skip_nan)
        both = one_of(input, both, d, keepdim, f"{op.capitalize()}Backward0")
        return pair(*stored(op, out, both))

    call.__name__ = call.__qualname__ = op
    nan = "Not counting NaN, " if skip_nan else ""
    last = "" if skip_nan else " If there is a NaN, it is the median."
    call.__doc__ = f"""Return the median; with `dim`, a pair (values, indices).

    {nan or "Of"}{" of" if skip_nan else ""} two in the middle the lower one.{last}
    Gradient: without `dim`, shared evenly between equals. Raises: DimError.

    >>> import numtensor as nt
    >>> nt.{op}(nt.tensor([3.0, 1.0, 4.0, 2.0]))
    tensor(2.)
    """
    return call


def _samples(make: Any) -> list[Any]:
    return [((make(5),), {}), ((make(3, 4), 0), {}), ((make(2, 3), 1, True), {})]


median = composed("median", samples=_samples, names="reduce")(
    _median("median", False, median_result)
)
nanmedian = composed("nanmedian", samples=_samples, names="reduce")(
    _median("nanmedian", True, nanmedian_result)
)


@composed(
    "mode", names="reduce",
    samples=lambda make: [((make(5),), {}), ((make(3, 4), 0, True), {})],
)  # fmt: skip
def mode(
    input: Tensor, dim: int = -1, keepdim: bool = False, *, out: Any = None
) -> mode_result:
    """Return a pair: the value most often there along `dim`, and its last place.

    Of values that are equally often there, the smallest. Raises: DimError.

    >>> import numtensor as nt
    >>> nt.mode(nt.tensor([2, 1, 2, 3])).values
    tensor(2)
    """
    d = normalize_dim("mode", dim, input.ndim)
    if input.ndim == 0:
        pair = sorted_pair(input, 0, False)
    else:
        _some("mode", input, d)
        pair = chosen_rows.mode(input.detach().contiguous(), d)
    pair = one_of(input, pair, d, keepdim, "ModeBackward0")
    return mode_result(*stored("mode", out, pair))


_WAYS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(op: str, skip_nan: bool) -> Any:
    def call(
        input: Tensor,
        q: Any,
        dim: int | None = None,
        keepdim: bool = False,
        *,
        interpolation: str = "linear",
        out: Tensor | None = None,
    ) -> Tensor:
        q = _checked_q(op, input, q, interpolation)
        given = input.ndim
        x = input.reshape(-1) if dim is None or given == 0 else input
        d = 0 if dim is None or given == 0 else normalize_dim(op, dim, given)
        _some(op, x, d)
        ordered = sort(x.movedim(d, -1), -1).values
        n = ordered.shape[-1]
        known = function("logical_not")(function("isnan")(ordered.detach()))
        known = known.sum(-1, keepdim=True).to(x.dtype)
        q_row = q.detach().reshape(-1)
        if skip_nan:
            place = q_row * function("clamp")(known - 1, min=0)
        else:
            # a NaN stands last, and is the quantile of a row that has one
            place = where(known < n, float(n - 1), q_row * (n - 1))
        found = _between(ordered, place, interpolation)
        found = found.movedim(-1, 0)
        if keepdim:
            if dim is None or given == 0:
                found = found.reshape(found.shape[0], *[1] * given)
            else:
                found = found.unsqueeze(d + 1)
        if q.ndim == 0:
            found = found.squeeze(0)
        return found if out is None else stored(op, out, (found,))[0]

    call.__name__ = call.__qualname__ = op
    nan = "Not counting NaN. " if skip_nan else "NaN if there is one. "
    call.__doc__ = f"""Return the q-quantiles along `dim`, or of everything.

    {nan}`interpolation` says what is between two
    elements: "linear", "lower", "higher", "midpoint" or "nearest".

    Shapes: that of a reduction; with q of shape (m,), after a first dim of size m.
    Dtypes: floats. Raises: ShapeError, q outside [0, 1]; DTypeError; DimError.

    >>> import numtensor as nt
    >>> nt.{op}(nt.tensor([0.0, 1.0, 2.0, 4.0]), 0.5)
    tensor(1.5000)
    """
    return call


def _checked_q(op: str, input: Tensor, q: Any, interpolation: str) -> Tensor:
    if input.dtype.category != FLOAT:
        raise DTypeError(
            message(
                op,
                f"{input.dtype}",
                "a floating-point dtype",
                f"{op}() input tensor must be either float or double dtype. Use "
                "x.float().",
            )
        )
    if interpolation not in _WAYS:
        raise ShapeError(
            message(
                op,
                f"interpolation={interpolation!r}",
                f"one of {', '.join(_WAYS)}",
                f"{op}() interpolation must be one of linear, lower, higher, midpoint "
                f"or nearest, but got {interpolation}.",
            )
        )
    if not isinstance(q, Tensor):
        if not 0 <= q <= 1:
            raise ShapeError(
                message(
                    op,
                    f"q={q}",
                    "a number in [0, 1]",
                    f"{op}() q must be in the range [0, 1] but got {q}.",
                )
            )
        return input.new_full((), float(q))  # type: ignore[no-any-return]
    if q.ndim > 1:
        raise ShapeError(
            message(
                op,
                f"q of {q.ndim} dims",
                "a number or 1 dim",
                f"{op}() q must be a scalar or 1D tensor.",
            )
        )
    if q.dtype is not input.dtype:
        raise DTypeError(
            message(
                op,
                f"q of {q.dtype} for {input.dtype}",
                "one dtype",
                f"{op}() q tensor must be same dtype as the input tensor. Use "
                "q.to(x.dtype).",
            )
        )
    if q._spec.device is not input._spec.device:
        raise mixed_devices(op, q.device, input.device)
    if type(q._spec.device) is Twin:
        return q.clamp(0, 1)  # there is nothing to look at; outside means the ends
    outside = function("logical_not")((q >= 0) & (q <= 1))
    if bool(outside.any().item()):
        raise ShapeError(
            message(
                op,
                "q with values outside [0, 1]",
                "values in [0, 1]",
                f"{op}() q values must be in the range [0, 1].",
            )
        )
    return q


def _between(ordered: Tensor, place: Tensor, how: str) -> Tensor:
    """Return what is at fractional places of sorted rows."""
    gather = function("gather")
    full = (*ordered.shape[:-1], place.shape[-1])
    if how in ("lower", "higher", "nearest"):
        to = {"lower": "floor", "higher": "ceil", "nearest": "round"}[how]
        whole = function(to)(place)
        return gather(ordered, -1, whole.to(dtypes.int64).expand(full))  # type: ignore[no-any-return]
    below = function("floor")(place)
    low = gather(ordered, -1, below.to(dtypes.int64).expand(full))
    high = gather(ordered, -1, function("ceil")(place).to(dtypes.int64).expand(full))
    weight = place - below if how == "linear" else function("full_like")(place, 0.5)
    return function("lerp")(low, high, weight.expand(full))  # type: ignore[no-any-return]


def _quantile_samples(make: Any) -> list[Any]:
    return [
        ((make(5), 0.3), {}),
        ((make(3, 4), 0.6, 1), {"interpolation": "higher"}),
        ((make(4, 2), 0.45, 0, True), {"interpolation": "midpoint"}),
    ]


quantile = composed(
    "quantile", dtypes="float", names=rules.quantile, samples=_quantile_samples,
)(_quantile("quantile", False))  # fmt: skip
nanquantile = composed(
    "nanquantile", dtypes="float", names=rules.quantile, samples=_quantile_samples,
)(_quantile("nanquantile", True))  # fmt: skip
