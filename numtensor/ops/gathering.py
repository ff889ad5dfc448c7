"""Elements picked, and replaced, by indices of one dim: index_select, gather, take."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..errors import DimError, ShapeError, message
from ..layout import broadcast_shapes, normalize_dim, numel
from ..places import Along, Flat, Spot
from ..tensor import Tensor
from .declare import attach, composed
from .placing import (
    as_index,
    out_of_place,
    same_kind,
    scalar,
    store,
    take,
)

EITHER = ("int64", "int32")


def longs(like: Tensor, *values: Any) -> Tensor:
    """Return indices for a sample."""
    return like.new_tensor(list(values), dtype=dtypes.int64)  # type: ignore[no-any-return]


def _one(dim: int, index: Tensor) -> Tensor:
    """Return an index of at most one dim, as one of one dim."""
    return index.reshape(1) if index._spec.ndim == 0 else index


def _line(op: str, index: Tensor, do: str) -> None:
    """Refuse an index that has two dims or more. Raises: DimError."""
    if index._spec.ndim > 1:
        raise DimError(
            message(op, f"an index of shape {list(index.shape)}", "at most one dim", do)
        )


@composed(
    "index_select",
    samples=lambda make: [
        ((x := make(3, 2), 0, longs(x, 2, 0, 2)), {}),
        ((x := make(2, 3).t(), 1, longs(x, 1)), {}),
    ],
    names="keep",
)
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Return the slices of a dim that a vector of indices names, in its order.

    Shapes: (*a, n, *b) by (m) -> (*a, m, *b). An index may be named again; its
    gradients are added in order. Raises: DimError, out of range; DTypeError.

    >>> import numtensor as nt
    >>> x = nt.tensor([[1, 2], [3, 4], [5, 6]])
    >>> nt.index_select(x, 0, nt.tensor([2, 0]))
    tensor([[5, 6],
            [1, 2]])
    """
    d = normalize_dim("index_select", dim, input._spec.ndim)
    do = "index_select(): Expected dtype int32 or int64 for index."
    index = as_index("index_select", index, input, do, EITHER)
    _line("index_select", index, "index_select(): Index is supposed to be a vector.")
    index = _one(d, index)
    if input._spec.ndim:
        place = Spot("index_select", (d,), (index,), wraps=False)
        return take(input, place, "IndexSelectBackward0")
    if index._spec.numel != 1:
        count = index._spec.numel
        raise ShapeError(
            message(
                "index_select",
                f"{count} indices into a 0-d tensor",
                "one",
                "index_select(): Index to scalar can have only 1 value, got "
                f"{count} value(s).",
            )
        )
    place = Spot("index_select", (0,), (index,), wraps=False)
    return take(input.reshape(1), place, "IndexSelectBackward0").reshape(())


def along(
    op: str, x: Tensor, dim: int, index: Any, src: Tensor | None = None
) -> Along | None:
    """Return the places that an index names along a dim; None for an empty one.

    With `src`, the index may not be larger than that either. Raises: DimError,
    ShapeError, DTypeError, DeviceError.
    """
    public = op.removesuffix("_")
    d = normalize_dim(op, dim, x._spec.ndim)
    do = f"{public}(): Expected dtype int32/int64 for index."
    index = as_index(op, index, x, do, EITHER)
    if not index._spec.numel:
        return None
    shape, own = tuple(index._spec.shape), tuple(x._spec.shape)
    if max(len(shape), 1) != max(len(own), 1):
        what = "input" if op == "gather" else "self"
        raise ShapeError(
            message(
                op,
                f"an index of {len(shape)} dims for a tensor of {len(own)}",
                "as many",
                "Index tensor must have the same number of dimensions as "
                f"{what} tensor.",
            )
        )
    if src is not None and max(len(shape), 1) != max(src._spec.ndim, 1):
        raise ShapeError(
            message(
                op,
                f"an index of {len(shape)} dims for a src of {src._spec.ndim}",
                "as many",
                "Index tensor must have the same number of dimensions as src tensor.",
            )
        )
    pairs = list(zip(shape, own, strict=False))
    wrong = [k for k, (a, b) in enumerate(pairs) if k != d and a > b]
    if op == "gather":
        if wrong:
            raise _too_large(
                op,
                index,
                x,
                f"Size does not match at dimension {wrong[0]} expected index "
                f"{list(shape)} to be no larger than self {list(own)} apart from "
                f"dimension {d}.",
            )
        return Along(op, d, index)
    do = (
        f"Expected index {list(shape)} to be no larger than self {list(own)} apart "
        f"from dimension {d}"
    )
    if src is not None:
        sizes = tuple(src._spec.shape)
        wrong += [
            k for k, (a, b) in enumerate(zip(shape, sizes, strict=False)) if a > b
        ]
        do += f" and to be no larger size than src {list(sizes)}"
    if wrong:
        raise _too_large(op, index, x, f"{do}.")
    return Along(op, d, index)


def _too_large(op: str, index: Tensor, x: Tensor, do: str) -> ShapeError:
    return ShapeError(
        message(
            op,
            f"an index of shape {list(index.shape)} for {list(x.shape)}",
            "an index that is no larger",
            do,
        )
    )


@composed(
    "gather",
    samples=lambda make: [
        ((x := make(3, 2), 0, longs(x, [2, 0], [2, 1])), {}),
        ((x := make(2, 3), -1, longs(x, [2], [0])), {}),
    ],
    names="keep",
)
def gather(
    input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False
) -> Tensor:
    """Return the elements that an index names along a dim, one for each of its own.

    In two dims, `out[i][j]` is `input[index[i][j]][j]` with dim 0 and
    `input[i][index[i][j]]` with dim 1. `sparse_grad` is accepted and changes nothing.

    Shapes: an index that is no larger than input in other dims; the result is as large
    as the index. Raises: DimError, out of range; ShapeError; DTypeError.

    >>> import numtensor as nt
    >>> x = nt.tensor([[1, 2, 3], [4, 5, 6]])
    >>> x.gather(1, nt.tensor([[2], [0]]))
    tensor([[3],
            [4]])
    """
    known = (input._spec, index._spec, dim) if type(index) is Tensor else None
    d = _checked.get(known)
    if d is not None:
        return take(input, Along("gather", d, index), "GatherBackward0")
    place = along("gather", input, dim, index)
    if place is None:
        return input.new_zeros(tuple(index._spec.shape))  # type: ignore[no-any-return]
    if place.indices[0] is index and type(dim) is int:
        if len(_checked) > 1000:
            _checked.clear()
        _checked[known] = place.dim
    return take(input, place, "GatherBackward0")


#: layouts of tensors and indices that were found to fit, and the dim
_checked: dict[Any, int] = {}


@composed(
    "take_along_dim",
    samples=lambda make: [
        ((x := make(3, 2), longs(x, [2, 0]), 0), {}),
        ((x := make(3, 2), longs(x, 4, -1)), {}),
    ],
    names="drop",
)
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """Return the elements that indices name along a dim, as `gather`; others broadcast.

    Without a dim, indices count through all elements. Negative ones count from the end.
    Raises: DimError, ShapeError, DTypeError.

    >>> import numtensor as nt
    >>> x = nt.tensor([[3, 1, 2], [6, 4, 5]])
    >>> nt.take_along_dim(x, x.argsort(dim=1), dim=1)
    tensor([[1, 2, 3],
            [4, 5, 6]])
    """
    op = "take_along_dim"
    do = "torch.take_along_dim(): dtype of indices should be Long but got {kind}."
    index = as_index(op, indices, input, do)
    if dim is None:
        place = Along(op, 0, index.reshape(-1), wraps=True)
        return take(input.reshape(-1), place, "GatherBackward0")
    d = normalize_dim(op, dim, input._spec.ndim)
    if input.ndim != index.ndim:
        raise ShapeError(
            message(
                op,
                f"shapes {list(input.shape)} and {list(index.shape)}",
                "as many dims",
                "torch.take_along_dim(): input and indices should have the same number "
                f"of dimensions, but got {input.ndim} dimensions for input, and "
                f"{index.ndim} dimensions for indices.",
            )
        )
    a, b = list(input._spec.shape), list(index._spec.shape)
    size, count = a[d], b[d]
    a[d] = b[d] = 1
    shape = list(broadcast_shapes(op, tuple(a), tuple(b)))
    own = [*shape[:d], size, *shape[d + 1 :]]
    wide = [*shape[:d], count, *shape[d + 1 :]]
    x = input if tuple(own) == input._spec.shape else input.expand(own)
    index = index.expand(wide).contiguous()
    return take(x, Along(op, d, index, wraps=True), "GatherBackward0")


@composed(
    "take",
    samples=lambda make: [
        ((x := make(3, 2), longs(x, [5, -6], [0, 5])), {}),
        ((x := make(3, 2).t(), longs(x, 1)), {}),
    ],
    names="drop",
)
def take_flat(input: Tensor, index: Tensor) -> Tensor:
    """Return the elements that indices name, counted through all dims of input.

    Shapes: that of the index. Raises: DimError, out of range; DTypeError.

    >>> import numtensor as nt
    >>> nt.tensor([[1, 2], [3, 4]]).take(nt.tensor([0, -1]))
    tensor([1, 4])
    """
    do = "take(): Expected a long tensor for index, but got {kind}."
    index = as_index("take", index, input, do)
    return take(input, Flat("take", index), "TakeBackward0")


def put_(
    self: Tensor, index: Tensor, source: Tensor, accumulate: bool = False
) -> Tensor:
    """Store source at indices counted through all dims, or add it there.

    Raises: DimError, out of range; ShapeError, not one value for each; DTypeError.
    """
    do = "put_(): Expected a long tensor for index, but got {kind}."
    index = as_index("put_", index, self, do)
    same_kind(
        "put_",
        self,
        source,
        "put_(): self and source expected to have the same dtype, but got self.dtype = "
        "{own} and source.dtype = {given}.",
    )
    if index._spec.numel != source._spec.numel:
        raise DimError(
            message(
                "put_",
                f"{source._spec.numel} values for {index._spec.numel} indices",
                "as many",
                "put_(): Expected source and index to have the same number of elements,"
                f" but got source.numel() = {source._spec.numel}, index.numel() = "
                f"{index._spec.numel}.",
            )
        )
    values = source.reshape(tuple(index._spec.shape))
    how = "add" if accumulate else "set"
    return store("put_", self, Flat("put_", index), values, how, "PutBackward0")


attach("put_", put_)
put = composed(
    "put",
    samples=lambda make: [
        ((x := make(2, 3), longs(x, 4, 0), make(2)), {}),
        ((x := make(2, 3), longs(x, 4, 4), make(2)), {"accumulate": True}),
    ],
    names="keep",
)(out_of_place(put_, "put"))
put.__doc__ = "Return a copy with source stored at flat indices: `put_`."


# slices of a dim, replaced


def _slices(
    op: str, x: Tensor, dim: int, index: Any, do: str, kinds: tuple[str, ...], line: str
) -> tuple[int, Tensor]:
    """Return the dim and the index of slices, checked."""
    d = normalize_dim(op, dim, x._spec.ndim)
    index = as_index(op, index, x, do, kinds)
    _line(op, index, line)
    return d, _one(d, index)


def _stored(
    op: str, x: Tensor, d: int, index: Tensor, values: Tensor, how: str, name: str
) -> Tensor:
    """Store slices; of a 0-d tensor, the element is the slice."""
    wraps = op == "index_fill_"
    if x._spec.ndim:
        return store(op, x, Spot(op, (d,), (index,), wraps), values, how, name)
    if values._spec.ndim == 0:
        values = values.reshape(1)
    store(op, x.unsqueeze(0), Spot(op, (0,), (index,), wraps), values, how, name)
    return x


def _matching(
    op: str, x: Tensor, d: int, index: Tensor, source: Tensor, count: str, sizes: str
) -> None:
    """Check the source of slices. Raises: ShapeError, DimError."""
    own, given = tuple(x._spec.shape), tuple(source._spec.shape)
    if not given and index._spec.numel == 1 and numel(own) // max(1, _at(own, d)) == 1:
        return
    if _but(own, d) != _but(given, d) or len(own) != len(given):
        do = sizes.format(own=list(own), given=list(given), d=d)
        raise ShapeError(
            message(
                op,
                f"a source of shape {list(given)} for {list(own)}",
                f"equal sizes but in dim {d}",
                do,
            )
        )
    if len(given) and given[d] != index._spec.numel:
        do = count.format(n=index._spec.numel, size=given[d], d=d)
        raise DimError(
            message(
                op, f"{index._spec.numel} indices, {given[d]} slices", "as many", do
            )
        )


def _at(shape: tuple[int, ...], d: int) -> int:
    return shape[d] if shape else 1


def _but(shape: tuple[int, ...], d: int) -> tuple[int, ...]:
    return shape[:d] + shape[d + 1 :]


def slices(
    op: str, x: Tensor, dim: int, index: Any, source: Tensor
) -> tuple[int, Tensor, Tensor]:
    """Return the dim, the index and the source of slices that join others, checked.

    Raises: DimError, ShapeError, DTypeError, DeviceError.
    """
    do = f"{op}(): Expected dtype int32/int64 for index but got: {{kind}}."
    line = f"{op}(): Index is supposed to be a vector."
    d, index = _slices(op, x, dim, index, do, EITHER, line)
    same_kind(
        op,
        x,
        source,
        f"{op}(): self ({{own}}) and source ({{given}}) must have the same scalar "
        "type.",
    )
    _matching(
        op, x, d, index, source,
        f"{op}(): Number of indices ({{n}}) should be equal to source.size(dim): "
        "({size}), for dim: {d}.",
        "source tensor shape must match self tensor shape, excluding the specified "
        "dimension. Got self.shape = {own} source.shape = {given}.",
    )  # fmt: skip
    return d, index, source


def index_add_(
    self: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1
) -> Tensor:
    """Add alpha * source to the slices of a dim that a vector of indices names.

    What is added to one slice is added in order. Raises: DimError, ShapeError,
    DTypeError, AutogradError.
    """
    d, index, source = slices("index_add_", self, dim, index, source)
    if alpha != 1:
        source = source * alpha
    return _stored("index_add_", self, d, index, source, "add", "IndexAddBackward0")


def index_copy_(self: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """Store source in the slices of a dim that a vector of indices names.

    Of a slice named twice the last counts. Raises: DimError, ShapeError, DTypeError.
    """
    op = "index_copy_"
    do = "index_copy_(): Expected a long tensor for index, but got {kind}."
    line = "index_copy_(): Index should have dimension 1 or 0."
    d, index = _slices(op, self, dim, index, do, ("int64",), line)
    same_kind(
        op,
        self,
        source,
        "index_copy_(): self and source expected to have the same dtype, but got (self)"
        " {own} and (source) {given}.",
    )
    _matching(
        op, self, d, index, source,
        "index_copy_(): Number of indices ({n}) should be equal to source.size(dim) "
        "({size}).",
        "index_copy_(): Source/destination tensor must have same slice shapes. "
        "Destination shape: {own} at dimension {d} and source shape: {given}.",
    )  # fmt: skip
    return _stored(op, self, d, index, source, "set", "IndexCopyBackward0")


def index_fill_(self: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """Set the slices of a dim that a vector of indices names to one value.

    Raises: DimError, ShapeError, a value with dims; DTypeError.
    """
    op = "index_fill_"
    do = "index_fill_(): Expected dtype int64 for index."
    line = "Index has to be a vector/scalar."
    d, index = _slices(op, self, dim, index, do, ("int64",), line)
    name = "IndexFillBackward0"
    if not isinstance(value, Tensor):
        value = scalar(value, self)
    elif value._spec.ndim:
        raise ShapeError(
            message(
                op,
                f"a value of shape {list(value.shape)}",
                "a number or a 0-d tensor",
                "index_fill_ only supports a 0-dimensional value tensor, but got tensor"
                f" with {value.ndim} dimension(s).",
            )
        )
    else:
        value = value.to(self._spec.device, self._spec.dtype)
        name = "IndexFillBackward1"
    return _stored(op, self, d, index, value, "set", name)


for _in_place in (index_add_, index_copy_, index_fill_):
    attach(_in_place.__name__, _in_place)

index_add = composed(
    "index_add",
    samples=lambda make: [
        ((x := make(3, 2), 0, longs(x, 2, 0, 2), make(3, 2)), {}),
        ((x := make(2, 3), 1, longs(x, 1), make(2, 1)), {"alpha": 2.0}),
    ],
    names="keep",
)(out_of_place(index_add_, "index_add"))
index_add.__doc__ = "Return a copy with slices added to slices of a dim: `index_add_`."

index_copy = composed(
    "index_copy",
    samples=lambda make: [((x := make(3, 2), 0, longs(x, 2, 0), make(2, 2)), {})],
    names="keep",
)(out_of_place(index_copy_, "index_copy"))
index_copy.__doc__ = "Return a copy with slices of a dim replaced: `index_copy_`."

index_fill = composed(
    "index_fill",
    samples=lambda make: [
        ((x := make(3, 2), 0, longs(x, -1, 0), 1.5), {}),
        ((x := make(3, 2), 1, longs(x, 1), make()), {}),
    ],
    names="keep",
)(out_of_place(index_fill_, "index_fill"))
index_fill.__doc__ = "Return a copy with slices of a dim set to a value: `index_fill_`."
