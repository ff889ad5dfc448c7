"""Views: the (shape, strides, offset) that a dimension or an index argument selects.

Each function takes a layout as three arguments, strides and offset counted in
elements, and returns the layout of the view. Only integers, slices, None and
Ellipsis index here: tensors, lists and masks need a gather and must not come in.
The other half of this room is `layout`, which re-exports all of these names.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from types import EllipsisType
from typing import Any

from .errors import DimError, DimNameError, DTypeError, ShapeError, message

Shape = tuple[int, ...]
View = tuple[Shape, Shape, int]

_BASIC_TYPES = frozenset((int, slice, type(None), EllipsisType))


def as_int(op: str, value: Any) -> int:
    try:
        return int(operator.index(value))
    except TypeError:
        got = f"{value!r} of type {type(value).__name__}"
        raise DTypeError(message(op, got, "an integer")) from None


def normalize_dim(op: str, dim: int, ndim: int) -> int:
    """Return `dim` counted from the front; a 0-d tensor accepts 0 and -1.

    Raises: DimError, `dim` out of range.

    >>> normalize_dim("sum", -1, 3)
    2
    """
    if type(dim) is not int:
        if isinstance(dim, str):
            raise DimNameError(
                message(
                    op,
                    f"dim {dim!r} of a tensor without names",
                    "an integer, or a tensor with named dims",
                    f"Name {dim!r} not found. Name the dims first, with refine_names "
                    "or rename.",
                )
            )
        dim = as_int(op, dim)
    bound = ndim or 1
    if 0 <= dim < bound:
        return dim
    if -bound <= dim < 0:
        return dim + bound
    got = f"dim {dim} for a tensor with {ndim} dimensions"
    fault = (
        "Dimension out of range (expected to be in range of "
        f"[{-bound}, {bound - 1}], but got {dim})"
    )
    raise DimError(message(op, got, f"a dim from {-bound} to {bound - 1}", fault))


def normalize_dims(op: str, dim: int | Iterable[int] | None, ndim: int) -> Shape:
    """Return the dimensions named by an int, a sequence, or None for all of them.

    Raises: DimError, out of range; ShapeError, one dimension named twice.

    >>> normalize_dims("sum", (0, -1), 3), normalize_dims("sum", None, 2)
    ((0, 2), (0, 1))
    """
    if dim is None:
        return tuple(range(ndim))
    if isinstance(dim, (int, str)) or not isinstance(dim, Iterable):
        return (normalize_dim(op, dim, ndim),)
    given = tuple(dim)
    dims = tuple(normalize_dim(op, one, ndim) for one in given)
    if len(set(dims)) != len(dims):
        twice = next(one for one in dims if dims.count(one) > 1)
        fault = f"dim {twice} appears multiple times in the list of dims"
        raise ShapeError(message(op, f"dims {given}", "each dim once", fault))
    return dims


# View constructors


def _need_dims(op: str, ndim: int) -> None:
    if ndim == 0:
        fault = f"{op}() cannot be applied to a 0-dim tensor."
        raise DimError(message(op, "a 0-d tensor", "at least one dimension", fault))


def transpose(shape: Shape, strides: Shape, offset: int, d0: int, d1: int) -> View:
    """Return the view with dimensions `d0` and `d1` swapped.

    >>> transpose((2, 3), (3, 1), 0, 0, 1)
    ((3, 2), (1, 3), 0)
    """
    ndim = len(shape)
    a = normalize_dim("transpose", d0, ndim)
    b = normalize_dim("transpose", d1, ndim)
    if a == b:
        return shape, strides, offset
    order = list(range(ndim))
    order[a] = b
    order[b] = a
    return _reordered(shape, strides, offset, order)


def _reordered(shape: Shape, strides: Shape, offset: int, order: Sequence[int]) -> View:
    return (
        tuple([shape[dim] for dim in order]),
        tuple([strides[dim] for dim in order]),
        offset,
    )


def permute(shape: Shape, strides: Shape, offset: int, dims: Sequence[int]) -> View:
    """Return the view whose dimension i is dimension `dims[i]`.

    Raises: DimError, out of range; ShapeError, a dimension missing or named twice.

    >>> permute((2, 3, 4), (12, 4, 1), 0, (2, 0, -2))
    ((4, 2, 3), (1, 12, 4), 0)
    """
    ndim = len(shape)
    if len(dims) != ndim:
        fault = (
            "number of dimensions in the tensor input does not match the length of "
            f"the desired ordering of dimensions i.e. input.dim() = {ndim} is not "
            f"equal to len(dims) = {len(dims)}"
        )
    else:
        order = [normalize_dim("permute", dim, ndim) for dim in dims]
        if len(set(order)) == ndim:
            return _reordered(shape, strides, offset, order)
        fault = "permute(): duplicate dims are not allowed."
    raise ShapeError(
        message("permute", f"dims {tuple(dims)}", f"each of {ndim} dims once", fault)
    )


def movedim(
    shape: Shape,
    strides: Shape,
    offset: int,
    source: int | Sequence[int],
    destination: int | Sequence[int],
) -> View:
    """Return the view with the `source` dimensions moved to `destination`.

    Raises: DimError, out of range; ShapeError, lengths differ or a dim is repeated.

    >>> movedim((2, 3, 4), (12, 4, 1), 0, 0, -1)
    ((3, 4, 2), (4, 1, 12), 0)
    """
    ndim = len(shape)
    from_dims = list(source) if isinstance(source, Sequence) else [source]
    to_dims = list(destination) if isinstance(destination, Sequence) else [destination]
    old = [normalize_dim("movedim", dim, ndim) for dim in from_dims]
    new = [normalize_dim("movedim", dim, ndim) for dim in to_dims]
    fault = ""
    if len(old) != len(new):
        fault = (
            f"movedim: Invalid source or destination dims: source ({from_dims} dims) "
            f"should contain the same number of dims as destination ({to_dims} dims)"
        )
    elif len(set(old)) != len(old):
        fault = f"movedim: repeated dim in `source` ({from_dims})"
    elif len(set(new)) != len(new):
        fault = f"movedim: repeated dim in `destination` ({to_dims})"
    if fault:
        got = f"source {source} and destination {destination}"
        raise ShapeError(message("movedim", got, "as many dims, each once", fault))
    if ndim == 0:
        return shape, strides, offset
    target = dict(zip(new, old, strict=True))
    rest = (dim for dim in range(ndim) if dim not in old)
    order = [target[dim] if dim in target else next(rest) for dim in range(ndim)]
    return _reordered(shape, strides, offset, order)


def select(shape: Shape, strides: Shape, offset: int, dim: int, index: int) -> View:
    """Return the view without dimension `dim`, at `index` of it.

    Raises: DimError, `dim` or `index` out of range.

    >>> select((2, 3), (3, 1), 0, 0, -1)
    ((3,), (1,), 3)
    """
    _need_dims("select", len(shape))
    at = normalize_dim("select", dim, len(shape))
    where = as_int("select", index)
    size = shape[at]
    if not -size <= where < size:
        got = f"index {where} for dimension {at}"
        expected = f"an index from {-size} to {size - 1}" if size else "a size above 0"
        fault = (
            f"select(): index {where} out of range for tensor of size {list(shape)} "
            f"at dimension {at}"
        )
        raise DimError(message("select", got, expected, fault))
    if where < 0:
        where += size
    return (
        shape[:at] + shape[at + 1 :],
        strides[:at] + strides[at + 1 :],
        offset + where * strides[at],
    )


def narrow(
    shape: Shape, strides: Shape, offset: int, dim: int, start: int, length: int
) -> View:
    """Return the view of `length` elements of dimension `dim` from `start` on.

    Raises: DimError, `dim` or `start` out of range; ShapeError, `length` too large.

    >>> narrow((2, 5), (5, 1), 0, 1, 2, 3)
    ((2, 3), (5, 1), 2)
    """
    first = as_int("narrow", start)
    count = as_int("narrow", length)
    fault = ""
    if not shape:
        fault = "narrow() cannot be applied to a 0-dim tensor."
    elif count < 0:
        fault = "narrow(): length must be non-negative."
    if not fault:
        at = normalize_dim("narrow", dim, len(shape))
        size = shape[at]
        if not -size <= first <= size:
            raise DimError(
                message(
                    "narrow",
                    f"start {first} for dimension {at}",
                    f"a start from {-size} to {size}",
                    "start out of range (expected to be in range of "
                    f"[{-size}, {size}], but got {first})",
                )
            )
        if first < 0:
            first += size
        if first + count <= size:
            return (
                (*shape[:at], count, *shape[at + 1 :]),
                strides,
                offset + first * strides[at],
            )
        fault = f"start ({first}) + length ({count}) exceeds dimension size ({size})."
    got = f"start {start} and length {length} for shape {shape}"
    raise ShapeError(message("narrow", got, "a part of one dimension", fault))


def slice_dim(
    shape: Shape,
    strides: Shape,
    offset: int,
    dim: int,
    start: int | None,
    stop: int | None,
    step: int | None,
) -> View:
    """Return the view of `start:stop:step` of dimension `dim`, clamped as in Python.

    Raises: DimError, `dim` out of range; ShapeError, `step` not positive.

    >>> slice_dim((7,), (1,), 0, 0, 1, -1, 2)
    ((3,), (2,), 1)
    """
    _need_dims("slice", len(shape))
    at = normalize_dim("slice", dim, len(shape))
    first, count, every = _slice_bounds(shape[at], start, stop, step)
    return (
        (*shape[:at], count, *shape[at + 1 :]),
        (*strides[:at], strides[at] * every, *strides[at + 1 :]),
        offset + first * strides[at],
    )


def _slice_bounds(
    size: int, start: int | None, stop: int | None, step: int | None
) -> tuple[int, int, int]:
    """Return the first index, the count and the step of a slice of `size` elements."""
    every = 1 if step is None else as_int("slice", step)
    if every <= 0:
        fault = (
            "step must be greater than zero" if every else "slice step cannot be zero"
        )
        raise ShapeError(message("slice", f"step {every}", "a positive step", fault))
    first = 0 if start is None else as_int("slice", start)
    last = size if stop is None else as_int("slice", stop)
    if first < 0:
        first = max(first + size, 0)
    elif first > size:
        first = size
    if last < 0:
        last += size
    if last > size:
        last = size
    count = (last - first + every - 1) // every if last > first else 0
    return first, count, every


def unsqueeze(shape: Shape, strides: Shape, offset: int, dim: int) -> View:
    """Return the view with a dimension of size 1 inserted at `dim`.

    >>> unsqueeze((2, 3), (3, 1), 0, 1)
    ((2, 1, 3), (3, 3, 1), 0)
    """
    at = normalize_dim("unsqueeze", dim, len(shape) + 1)
    step = shape[at] * strides[at] if at < len(shape) else 1
    return (
        (*shape[:at], 1, *shape[at:]),
        (*strides[:at], step, *strides[at:]),
        offset,
    )


def squeeze(
    shape: Shape,
    strides: Shape,
    offset: int,
    dims: int | Iterable[int] | None = None,
) -> View:
    """Return the view without those of `dims` (None: of all) that have size 1.

    >>> squeeze((1, 3, 1), (3, 1, 1), 0, 0)
    ((3, 1), (1, 1), 0)
    """
    ndim = len(shape)
    chosen = normalize_dims("squeeze", dims, ndim)
    order = [dim for dim in range(ndim) if shape[dim] != 1 or dim not in chosen]
    return _reordered(shape, strides, offset, order)


def expand(shape: Shape, strides: Shape, offset: int, sizes: Sequence[int]) -> View:
    """Return the view repeated to `sizes` with strides of 0; -1 keeps a size.

    Raises: ShapeError, a size other than 1 would change, or too few sizes.

    >>> expand((3, 1), (1, 1), 0, (2, -1, 4))
    ((2, 3, 4), (0, 1, 0), 0)
    """
    lead = len(sizes) - len(shape)
    fault = ""
    if lead < 0:
        fault = (
            f"expand: the number of sizes provided ({len(sizes)}) must be greater or "
            f"equal to the number of dimensions in the tensor ({len(shape)})"
        )
    new_shape = list(sizes)
    new_strides = [0] * len(new_shape)
    for dim in range(len(new_shape) - 1, -1, -1):
        if fault:
            break
        size = new_shape[dim]
        if dim < lead:
            old = 1
            # PyTorch gives a new dimension of size 1 the stride of a whole row.
            after = dim + 1 < len(new_shape) and shape
            step = new_shape[dim + 1] * new_strides[dim + 1] if after else 0
            if size == -1:
                fault = (
                    "The expanded size of the tensor (-1) isn't allowed in a "
                    f"leading, non-existing dimension {dim}"
                )
        else:
            old = shape[dim - lead]
            step = strides[dim - lead]
            if size == -1:
                size = old
        if size != old:
            step = 0
            if not fault and (old != 1 or size < 0):
                fault = (
                    f"The expanded size of the tensor ({size}) must match the "
                    f"existing size ({old}) at non-singleton dimension {dim}.  "
                    f"Target sizes: {list(sizes)}.  Tensor sizes: {list(shape)}"
                )
        new_shape[dim] = size
        new_strides[dim] = step
    if fault:
        raise ShapeError(
            message(
                "expand",
                f"sizes {tuple(sizes)} for shape {shape}",
                "the tensor's own sizes, -1, or any size in place of 1",
                fault,
            )
        )
    return tuple(new_shape), tuple(new_strides), offset


def diagonal(
    shape: Shape,
    strides: Shape,
    offset: int,
    diagonal: int = 0,
    dim1: int = 0,
    dim2: int = 1,
) -> View:
    """Return the view of a diagonal of the planes `dim1` x `dim2`, as last dimension.

    Raises: DimError, out of range; ShapeError, `dim1` equal to `dim2`.

    >>> diagonal((3, 4), (4, 1), 0, 1)
    ((3,), (5,), 1)
    """
    ndim = len(shape)
    a = normalize_dim("diagonal", dim1, ndim)
    b = normalize_dim("diagonal", dim2, ndim)
    if a == b:
        got = f"dim1 {dim1} and dim2 {dim2}"
        fault = f"diagonal dimensions cannot be identical {dim1}, {dim2}"
        raise ShapeError(message("diagonal", got, "two different dims", fault))
    if diagonal >= 0:
        count = min(shape[a], shape[b] - diagonal)
        skip = diagonal * strides[b]
    else:
        count = min(shape[a] + diagonal, shape[b])
        skip = -diagonal * strides[a]
    rest = [dim for dim in range(ndim) if dim not in (a, b)]
    new_shape, new_strides, _ = _reordered(shape, strides, offset, rest)
    return (
        (*new_shape, max(count, 0)),
        (*new_strides, strides[a] + strides[b]),
        offset + skip if count > 0 else offset,
    )


def unfold(
    shape: Shape, strides: Shape, offset: int, dim: int, size: int, step: int
) -> View:
    """Return the view of windows of `size` elements, `step` apart, along `dim`.

    The windows replace `dim`; their elements become the last dimension.
    Raises: DimError, out of range; ShapeError, a window that does not fit.

    >>> unfold((5,), (1,), 0, 0, 3, 2)
    ((2, 3), (2, 1), 0)
    """
    at = normalize_dim("unfold", dim, len(shape))
    length = shape[at] if shape else 1
    fault = ""
    if size < 0:
        fault = f"size is {size} but must be >= 0"
    elif size > length:
        fault = (
            f"maximum size for tensor at dimension {at} is {length} but size is {size}"
        )
    elif step <= 0:
        fault = f"step is {step} but must be > 0"
    if fault:
        expected = f"a size from 0 to {length} and a positive step"
        raise ShapeError(
            message("unfold", f"size {size} and step {step}", expected, fault)
        )
    if not shape:
        return (size,), (1,), offset
    windows = (length - size) // step + 1
    return (
        (*shape[:at], windows, *shape[at + 1 :], size),
        (*strides[:at], strides[at] * step, *strides[at + 1 :], strides[at]),
        offset,
    )


# Basic indexing


def is_basic(key: Any) -> bool:
    """Return whether `index` can take `key`: it asks for a view, not for a gather.

    Bools, lists, tensors and arrays are not basic, alone or in a tuple.

    >>> is_basic((0, slice(None), None)), is_basic(True), is_basic([0])
    (True, False, False)
    """
    kind = type(key)
    if kind in _BASIC_TYPES:
        return True
    if isinstance(key, tuple):
        for item in key:
            if type(item) not in _BASIC_TYPES and not _is_integer(item):
                return False
        return True
    return _is_integer(key)


def _is_integer(item: Any) -> bool:
    # A tensor or an array of one integer has `__index__` too, but also a length.
    kind = type(item)
    if kind is bool or not hasattr(kind, "__index__") or hasattr(kind, "__len__"):
        return False
    try:
        operator.index(item)
    except TypeError:
        return False
    return True


def index(shape: Shape, strides: Shape, offset: int, key: Any) -> View:
    """Return the view that the basic `key` selects, see `is_basic`.

    Raises: DimError, an index out of range or too many of them; ShapeError, a step
    that is not positive; DTypeError, a slice bound that is no integer.

    >>> index((2, 3, 4), (12, 4, 1), 0, (1, ..., slice(0, 4, 2)))
    ((3, 2), (4, 2), 12)
    """
    ndim = len(shape)
    if type(key) is int and ndim:
        return shape[1:], strides[1:], offset + _checked(key, 0, shape[0]) * strides[0]
    if isinstance(key, tuple):
        items = key
    else:
        items = (key,)
        if ndim == 0 and isinstance(key, slice):
            _need_dims("slice", ndim)
        elif ndim == 0 and key is not None and key is not Ellipsis:
            raise DimError(
                message(
                    "index",
                    f"index {key} for a 0-d tensor",
                    "a tensor with at least one dimension",
                    "invalid index of a 0-dim tensor. Use `tensor.item()` in Python "
                    "to convert a 0-dim tensor to a number",
                )
            )
    used = 0
    open_ended = False
    for item in items:
        if item is Ellipsis:
            if open_ended:
                fault = "an index can only have a single ellipsis ('...')"
                raise DimError(message("index", "two ellipses", "at most one", fault))
            open_ended = True
        elif item is not None:
            used += 1
    if used > ndim:
        got = f"{used} indices for shape {shape}"
        fault = f"too many indices for tensor of dimension {ndim}"
        raise DimError(message("index", got, f"at most {ndim}", fault))
    sizes: list[int] = []
    steps: list[int] = []
    dim = 0
    for item in items:
        if item is None:
            sizes.append(1)
            steps.append(shape[dim] * strides[dim] if dim < ndim else 1)
        elif item is Ellipsis:
            rest = dim + ndim - used
            sizes += shape[dim:rest]
            steps += strides[dim:rest]
            dim = rest
        elif isinstance(item, slice):
            first, count, every = _slice_bounds(
                shape[dim], item.start, item.stop, item.step
            )
            sizes.append(count)
            steps.append(strides[dim] * every)
            offset += first * strides[dim]
            dim += 1
        else:
            offset += _checked(item, dim, shape[dim]) * strides[dim]
            dim += 1
    return (*sizes, *shape[dim:]), (*steps, *strides[dim:]), offset


def _checked(item: Any, dim: int, size: int) -> int:
    where = item if type(item) is int else as_int("index", item)
    if 0 <= where < size:
        return where
    if -size <= where < 0:
        return where + size
    got = f"index {where} for dimension {dim}"
    expected = f"an index from {-size} to {size - 1}" if size else "a size above 0"
    fault = f"index {where} is out of bounds for dimension {dim} with size {size}"
    raise DimError(message("index", got, expected, fault))
