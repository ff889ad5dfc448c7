"""Values sent to places along a dim: scatter, scatter_add, scatter_reduce.

Of equal places the last value counts, and what is joined is joined in order, on every
device.
"""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..errors import ShapeError, message
from ..places import Along
from ..tape import FunctionNode, edge, grad_mode, no_grad
from ..tensor import Tensor
from ..writing import writable
from .declare import attach, composed
from .gathering import EITHER, along, longs, slices
from .placing import (
    apart,
    as_index,
    out_of_place,
    same_kind,
    scalar,
    spread,
    store,
)
from .registry import function

_INDEX = "scatter(): Expected dtype int32/int64 for index."
_SAME = "scatter(): Expected self.dtype to be equal to src.dtype."


def _cut(src: Tensor, place: Along) -> Tensor:
    """Return the part of src that an index has places for."""
    shape = place.indices[0]._spec.shape
    if src._spec.shape == shape:
        return src
    if not src._spec.ndim or not len(shape):
        return src.reshape(tuple(shape))
    return src[tuple([slice(n) for n in shape])]


def _missing(op: str, *names: str) -> TypeError:
    return TypeError(message(op, "neither", " or ".join(names)))


def scatter_(
    self: Tensor,
    dim: int,
    index: Tensor,
    src: Any = None,
    *,
    value: Any = None,
    reduce: str | None = None,
) -> Tensor:
    """Store src, or one value, at the places that an index names along a dim.

    In two dims, `self[index[i][j]][j] = src[i][j]` with dim 0. `reduce` may be "add" or
    "multiply". The inverse of `gather`, which says how an index names places.
    Raises: DimError, ShapeError, DTypeError, AutogradError.

    >>> import numtensor as nt
    >>> nt.zeros(2, 3).scatter_(1, nt.tensor([[2], [0]]), 1.0)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    if src is None and value is None:
        raise _missing("scatter_", "src", "value")
    given = src if src is not None else value
    if reduce is not None:
        if reduce not in ("add", "multiply"):
            raise ShapeError(
                message(
                    "scatter_",
                    f"reduce={reduce!r}",
                    "'add' or 'multiply'",
                    "reduce argument must be either add or multiply.",
                )
            )
        if not isinstance(given, Tensor):
            index = as_index("scatter_", index, self, _INDEX, EITHER)
            given = scalar(given, self).expand(tuple(index._spec.shape))
        how = "sum" if reduce == "add" else "prod"
        return scatter_reduce_(self, dim, index, given, how)
    if not isinstance(given, Tensor):
        place = along("scatter_", self, dim, index)
        if place is None:
            return self
        one = scalar(given, self)
        return store("scatter_", self, place, one, "set", "ScatterBackward1")
    same_kind("scatter_", self, given, _SAME)
    place = along("scatter_", self, dim, index, given)
    if place is None:
        return self
    values = _cut(given, place)
    return store("scatter_", self, place, values, "set", "ScatterBackward0")


def scatter_add_(self: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Add src at the places that an index names along a dim; see `scatter_`.

    Raises: DimError, ShapeError, DTypeError, AutogradError.
    """
    same_kind("scatter_add_", self, src, _SAME)
    place = along("scatter_add_", self, dim, index, src)
    if place is None:
        return self
    values = _cut(src, place)
    return store("scatter_add_", self, place, values, "add", "ScatterAddBackward0")


_JOINS = {"sum": "add", "mean": "add", "prod": "mul", "amax": "max", "amin": "min"}


def scatter_reduce_(
    self: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """Join src with what is at the places that an index names along a dim.

    `reduce` is "sum", "prod", "mean", "amax" or "amin". Without `include_self`, what
    was at a named place does not count. Raises: as `scatter_`.

    >>> import numtensor as nt
    >>> i = nt.tensor([0, 1, 0])
    >>> nt.zeros(2).scatter_reduce_(0, i, nt.tensor([1.0, 5.0, 3.0]), "amax")
    tensor([3., 5.])
    """
    op = "scatter_reduce_"
    if reduce not in _JOINS:
        raise ShapeError(
            message(
                op,
                f"reduce={reduce!r}",
                "sum, prod, mean, amax or amin",
                "reduce argument must be either sum, prod, mean, amax or amin, got "
                f"{reduce}.",
            )
        )
    same_kind(op, self, src, _SAME)
    place = along(op, self, dim, index, src)
    if place is None:
        return self
    return _joined(op, self, place, src, reduce, include_self, "ScatterReduceBackward0")


def _joined(
    op: str,
    self: Tensor,
    place: Along,
    src: Tensor,
    reduce: str,
    include_self: bool,
    name: str,
) -> Tensor:
    """Join src with what is at a place, and record it."""
    recorded = grad_mode.enabled and (self.requires_grad or src.requires_grad)
    writable(op, self, recorded)
    place, values = apart(self, place, _cut(src, place))
    before = edge(self) if recorded else None
    compares = recorded and reduce in ("prod", "amax", "amin")
    old = _before(self) if compares else None
    _reduce(self.detach(), place, values.detach(), reduce, include_self)
    if not recorded:
        return self
    result = self.detach().clone() if compares else None
    to_values = edge(values)

    def back(g: Tensor, *saved: Tensor) -> tuple[Tensor | None, Tensor | None]:
        found = result
        if compares and grad_mode.enabled:
            # the gradient's gradient goes through the result as well
            found = _again(old, place, values, reduce, include_self)
        own, part = _BACKWARD[reduce](g, place, old, values, found, include_self)
        if not include_self:
            own = own.scatter(place.dim, place.indices[0], 0.0)
        return (
            own if before is not None else None,
            part if to_values is not None else None,
        )

    saved = (*place.indices, values) if compares else place.indices
    node = FunctionNode(name, (before, to_values), back, saved)
    self.replace_history(node, None if before is None else 0)
    return self


def _again(
    old: Any, place: Along, values: Tensor, reduce: str, include_self: bool
) -> Tensor:
    index = place.indices[0]
    return scatter_reduce(  # type: ignore[no-any-return]
        old, place.dim, index, values, reduce, include_self=include_self
    )


def _of_sum(g: Tensor, place: Along, *rest: Any) -> tuple[Tensor, Tensor]:
    return g, g.gather(place.dim, place.indices[0])


def _of_mean(
    g: Tensor, place: Along, old: Any, src: Any, result: Any, include_self: bool
) -> tuple[Tensor, Tensor]:
    index = place.indices[0]
    counts = g.new_full(tuple(g._spec.shape), float(include_self))
    counts.scatter_add_(place.dim, index, g.new_ones(tuple(index._spec.shape)))
    shared = g / counts.clamp_min_(1.0)
    return shared, shared.gather(place.dim, index)


def _of_prod(
    g: Tensor, place: Along, old: Any, src: Any, result: Any, include_self: bool
) -> tuple[Tensor, Tensor]:
    """A quotient, but for the only zero among factors: what the others come to."""
    dim, index = place.dim, place.indices[0]
    full = old.masked_fill(old == 0, 1.0)
    own = g * _again(full, place, src, "prod", include_self) / full
    zeros = src == 0
    many = old.new_zeros(tuple(old._spec.shape), dtype=dtypes.int64)
    many.scatter_add_(dim, index, zeros.long())
    single = zeros & (many.gather(dim, index) == 1)
    others = _again(old, place, src.masked_fill(single, 1.0), "prod", include_self)
    part = function("where")(
        single,
        (g * others).gather(dim, index),
        (g * result).gather(dim, index) / src.masked_fill(zeros, 1.0),
    )
    return own, part


def _of_extreme(
    g: Tensor, place: Along, old: Any, src: Any, result: Any, include_self: bool
) -> tuple[Tensor, Tensor]:
    """Shared by all that are the extreme."""
    dim, index = place.dim, place.indices[0]
    ours = (old == result).to(g.dtype)
    if not include_self:
        ours.scatter_(dim, index, 0.0)
    theirs = (src == result.gather(dim, index)).to(g.dtype)
    shared = g / ours.scatter_add(dim, index, theirs)
    return ours * shared, theirs * shared.gather(dim, index)


_BACKWARD = {
    "sum": _of_sum,
    "mean": _of_mean,
    "prod": _of_prod,
    "amax": _of_extreme,
    "amin": _of_extreme,
}


def _before(x: Tensor) -> Tensor:
    """Return a copy of what is about to be changed, with its history."""
    with no_grad():
        kept = x.clone()
    if x.requires_grad:
        kept._node = x.grad_fn
        kept._output = x._output
        kept._requires_grad = True
    return kept


def _reduce(
    x: Tensor, place: Along, values: Tensor, reduce: str, include_self: bool
) -> None:
    """Join values with what is in x."""
    kind = x._spec.dtype
    shape = place.shape(x._spec)
    if not include_self:
        place.write(x, _identity(reduce, x), "set")
    place.write(x, spread(values, shape), _JOINS[reduce])
    if reduce == "mean":
        counts = x.new_full(tuple(x._spec.shape), int(include_self), dtype=dtypes.int64)
        place.write(counts, scalar(1, counts), "add")
        counts.clamp_min_(1)
        if kind.category == dtypes.FLOAT:
            x.div_(counts)
        else:
            x.floor_divide_(counts.to(kind))
    x._storage.version += 1


def _identity(reduce: str, x: Tensor) -> Tensor:
    """Return what joins with any value to that value."""
    kind = x._spec.dtype
    if reduce in ("sum", "mean"):
        return scalar(0, x)
    if reduce == "prod":
        return scalar(1, x)
    if kind.category == dtypes.FLOAT:
        return scalar(float("-inf" if reduce == "amax" else "inf"), x)
    if kind.category == dtypes.BOOL:
        return scalar(reduce == "amin", x)
    limits = dtypes.iinfo(kind)
    return scalar(limits.min if reduce == "amax" else limits.max, x)


for _in_place in (scatter_, scatter_add_, scatter_reduce_):
    attach(_in_place.__name__, _in_place)

scatter = composed(
    "scatter",
    samples=lambda make: [
        ((x := make(2, 3), 1, longs(x, [2], [0]), make(2, 2)), {}),
        ((x := make(3, 2), 0, longs(x, [2, 0], [1, 1]), 1.5), {}),
        ((x := make(3), 0, longs(x, 1, 1), make(2)), {"reduce": "add"}),
    ],
    names="keep",
)(out_of_place(scatter_, "scatter"))
scatter.__doc__ = "Return a copy with values stored along a dim: `scatter_`."

scatter_add = composed(
    "scatter_add",
    samples=lambda make: [
        ((x := make(2, 3), 1, longs(x, [2, 2], [0, 1]), make(2, 2)), {}),
        ((x := make(3), 0, longs(x, 1, 1), make(3)), {}),
    ],
    names="keep",
)(out_of_place(scatter_add_, "scatter_add"))
scatter_add.__doc__ = "Return a copy with values added along a dim: `scatter_add_`."


def _reduced(make: Any, reduce: str, **keywords: Any) -> Any:
    x = make(3, 2)
    index = longs(x, [2, 0], [2, 1], [2, 0])
    return (x, 0, index, make(3, 2), reduce), keywords


scatter_reduce = composed(
    "scatter_reduce",
    samples=lambda make: [
        _reduced(make, "sum"),
        _reduced(make, "prod"),
        _reduced(make, "mean", include_self=False),
        _reduced(make, "amax"),
        _reduced(make, "amin", include_self=False),
        _reduced(make, "prod", include_self=False),
    ],
    names="keep",
)(out_of_place(scatter_reduce_, "scatter_reduce"))
scatter_reduce.__doc__ = "Return a copy with values joined along a dim."


def index_reduce_(
    self: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """Join source with the slices of a dim that a vector of indices names.

    `reduce` is "prod", "mean", "amax" or "amin". Raises: DimError, ShapeError,
    DTypeError.
    """
    op = "index_reduce_"
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise ShapeError(
            message(
                op,
                f"reduce={reduce!r}",
                "prod, mean, amax or amin",
                "index_reduce(): Expected reduce to be one of prod, mean, amax or amin "
                f"but got {reduce}.",
            )
        )
    d, index, source = slices(op, self, dim, index, source)
    if not self._spec.ndim:
        index, source = index.reshape(()), source.reshape(())
    else:
        ones = [1] * self._spec.ndim
        ones[d] = index._spec.numel
        index = index.reshape(ones).expand(tuple(source._spec.shape))
    if not index._spec.numel:
        return self
    place = Along(op, d, index.contiguous())
    name = "IndexReduceBackward0"
    return _joined(op, self, place, source, reduce, include_self, name)


attach("index_reduce_", index_reduce_)
index_reduce = composed(
    "index_reduce",
    samples=lambda make: [
        ((x := make(3, 2), 0, longs(x, 2, 0, 2), make(3, 2), "mean"), {}),
        ((x := make(2, 3), 1, longs(x, 1, 1), make(2, 2), "amax"), {}),
    ],
    names="keep",
)(out_of_place(index_reduce_, "index_reduce"))
index_reduce.__doc__ = "Return a copy with slices joined: `index_reduce_`."
