"""Shape and stride algebra: what a tensor's layout is and how views change it.

Everything here is a pure function of tuples of integers: sizes in, strides (counted
in elements) out. Plain loops, because the tuples are short and the callers hot.
Tensor, dtype, storage, tape and array libraries must not come in. Half of the room,
views and the arguments that name dimensions, is `indexing`; callers import all names
from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, SupportsIndex

from .errors import ShapeError, message
from .indexing import Shape as Shape
from .indexing import View as View
from .indexing import as_int
from .indexing import diagonal as diagonal
from .indexing import expand as expand
from .indexing import index as index
from .indexing import is_basic as is_basic
from .indexing import movedim as movedim
from .indexing import narrow as narrow
from .indexing import normalize_dim as normalize_dim
from .indexing import normalize_dims as normalize_dims
from .indexing import permute as permute
from .indexing import select as select
from .indexing import slice_dim as slice_dim
from .indexing import squeeze as squeeze
from .indexing import transpose as transpose
from .indexing import unfold as unfold
from .indexing import unsqueeze as unsqueeze

_MAX_BYTES = 2**63 - 1


class Size(tuple[int, ...]):
    """The shape of a tensor: a tuple of int that prints as PyTorch's does.

    Raises: TypeError, an item that is no integer.

    >>> Size([3, 2])
    torch.Size([3, 2])
    >>> Size([3, 2])[1:] + (5,)
    torch.Size([2, 5])
    """

    __slots__ = ()

    def __new__(cls, sizes: Iterable[SupportsIndex] = ()) -> Size:
        items = tuple(sizes)
        for item in items:
            if type(item) is not int:
                items = tuple(as_int("torch.Size", item) for item in items)
                break
        return tuple.__new__(cls, items)

    def numel(self) -> int:
        """Return the number of elements in a tensor of this shape."""
        return numel(self)

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"

    def __getitem__(self, key: Any) -> Any:
        item = tuple.__getitem__(self, key)
        return Size(item) if isinstance(key, slice) else item

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, tuple):
            return NotImplemented
        return Size(tuple.__add__(self, other))

    def __radd__(self, other: Any) -> Any:
        if not isinstance(other, tuple):
            return NotImplemented
        return Size(tuple.__add__(other, self))

    def __mul__(self, count: Any) -> Any:
        return Size(tuple.__mul__(self, count))

    __rmul__ = __mul__


def numel(shape: Sequence[int]) -> int:
    """Return the number of elements of `shape`; 1 for a 0-d shape.

    >>> numel((2, 3))
    6
    """
    count = 1
    for size in shape:
        count *= size
    return count


def contiguous_strides(shape: Sequence[int]) -> Shape:
    """Return row-major strides; a size of 0 counts as 1, as in PyTorch.

    >>> contiguous_strides((2, 0, 4))
    (4, 4, 1)
    """
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        if size > 1:
            step *= size
    strides.reverse()
    return tuple(strides)


def is_contiguous(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Return whether the elements lie row-major without gaps.

    Dimensions of size 1 may have any stride; a shape with a 0 is contiguous.

    >>> is_contiguous((1, 3), (7, 1)), is_contiguous((3, 2), (1, 3))
    (True, False)
    """
    expected = 1
    result = True
    for dim in range(len(shape) - 1, -1, -1):
        size = shape[dim]
        if size == 0:
            return True
        if size != 1:
            if strides[dim] != expected:
                result = False
            expected *= size
    return result


def is_dense(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Return whether the elements fill one block of memory, each place once.

    >>> is_dense((3, 2), (1, 3)), is_dense((3, 2), (4, 1))
    (True, False)
    """
    if 0 in shape:
        return True
    expected = 1
    for step, size in sorted(zip(strides, shape, strict=True)):
        if size != 1:
            if step != expected:
                return False
            expected *= size
    return True


def has_internal_overlap(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Return whether an in-place write must be refused because places repeat.

    True where a dimension of size > 1 has stride 0, the layouts `expand` makes.
    Windows that overlap with positive strides pass, as they do in PyTorch, since
    their test needs a search and programs rely on writing to them.

    >>> has_internal_overlap((3, 2), (0, 1)), has_internal_overlap((1, 2), (0, 1))
    (True, False)
    """
    if 0 not in strides or 0 in shape:
        return False
    for size, step in zip(shape, strides, strict=True):
        if step == 0 and size > 1:
            return True
    return False


def extent(shape: Sequence[int], strides: Sequence[int]) -> int:
    """Return how many places lie from the first element to the last; 0 if empty.

    >>> extent((2, 3), (4, 1)), extent((0, 3), (4, 1))
    (7, 0)
    """
    last = 0
    for size, step in zip(shape, strides, strict=True):
        if size == 0:
            return 0
        last += (size - 1) * step
    return last + 1


def check_size(op: str, shape: Sequence[int], itemsize: int) -> None:
    """Refuse a shape that no tensor of `itemsize` bytes an element can have.

    Raises: ShapeError, a negative size, or more than 2**63 - 1 bytes.
    """
    bytes_needed = itemsize
    for size in shape:
        if size < 0:
            raise ShapeError(
                message(
                    op,
                    f"size {size}",
                    "sizes of 0 or more",
                    "Trying to create tensor with negative dimension "
                    f"{size}: {list(shape)}",
                )
            )
        bytes_needed *= size
        if bytes_needed > _MAX_BYTES or size > _MAX_BYTES:
            raise ShapeError(
                message(
                    op,
                    f"a shape of {len(shape)} dimensions, {itemsize} bytes an element",
                    "at most 2**63 - 1 bytes",
                    f"Storage size calculation overflowed with sizes={list(shape)}",
                )
            )


def check_as_strided(
    op: str,
    shape: Sequence[int],
    strides: Sequence[int],
    offset: int,
    storage_numel: int,
    itemsize: int = 1,
) -> None:
    """Refuse a layout that reaches outside its storage of `storage_numel` elements.

    Raises: ShapeError, a negative size, stride or offset; lengths that differ; a
    last element past the end of the storage.
    """
    if len(shape) != len(strides):
        fault = "mismatch in length of strides and shape"
    elif any(size < 0 for size in shape):
        fault = f"Trying to create tensor with negative dimension: {list(shape)}"
    elif any(step < 0 for step in strides):
        fault = (
            "as_strided: Negative strides are not supported at the moment, "
            f"got strides: {list(strides)}"
        )
    elif offset < 0:
        fault = f"Tensor: invalid storage offset {offset}"
    else:
        reach = extent(shape, strides)
        if reach == 0 or offset + reach <= storage_numel:
            return
        fault = (
            f"setStorage: sizes {list(shape)}, strides {list(strides)}, "
            f"storage offset {offset}, and itemsize {itemsize} requiring a storage "
            f"size of {(offset + reach) * itemsize} are out of bounds for storage "
            f"of size {storage_numel * itemsize}"
        )
    raise ShapeError(
        message(
            op,
            f"size {list(shape)}, stride {list(strides)}, storage_offset {offset}",
            f"a layout within a storage of {storage_numel} elements",
            fault,
        )
    )


# Broadcasting


def broadcast_shapes(op: str, *shapes: Shape) -> Shape:
    """Return the shape that all of `shapes` broadcast to.

    Raises: ShapeError, two sizes that differ and are not 1.

    >>> broadcast_shapes("add", (2, 1), (3,))
    (2, 3)
    """
    result = shapes[0] if shapes else ()
    for shape in shapes:
        if shape != result:
            result = _broadcast_pair(op, result, shape)
    return tuple(result)


def _broadcast_pair(op: str, a: Shape, b: Shape) -> Shape:
    ndim = max(len(a), len(b))
    skip_a = ndim - len(a)
    skip_b = ndim - len(b)
    sizes = []
    for dim in range(ndim):
        size_a = a[dim - skip_a] if dim >= skip_a else 1
        size_b = b[dim - skip_b] if dim >= skip_b else 1
        if size_a != size_b and size_a != 1 and size_b != 1:
            raise ShapeError(
                message(
                    op,
                    f"shapes {tuple(a)} and {tuple(b)}",
                    "shapes that broadcast",
                    f"The size of tensor a ({size_a}) must match the size of tensor "
                    f"b ({size_b}) at non-singleton dimension {dim}",
                )
            )
        sizes.append(size_b if size_a == 1 else size_a)
    return tuple(sizes)


def expand_strides(shape: Shape, strides: Shape, target: Shape) -> Shape:
    """Return the strides that read a tensor of `shape` as if it had shape `target`.

    A new dimension and one grown from size 1 get stride 0. `target` is trusted to
    come from `broadcast_shapes`.

    >>> expand_strides((3, 1), (1, 1), (2, 3, 4))
    (0, 1, 0)
    """
    if shape == target:
        return strides
    lead = len(target) - len(shape)
    expanded = [0] * lead
    for dim, step in enumerate(strides):
        grown = shape[dim] == 1 and target[lead + dim] != 1
        expanded.append(0 if grown else step)
    return tuple(expanded)


# Strides of fresh outputs


def _inner_first(shape: Shape, operand_strides: Sequence[Shape]) -> list[int]:
    """Return the dimensions from innermost to outermost, as PyTorch orders them.

    The comparison is not transitive, since an operand with stride 0 has no opinion,
    so the order depends on the sort: insertion, starting from row-major.
    """
    order = list(range(len(shape) - 1, -1, -1))
    for start in range(1, len(order)):
        here = start
        for below in range(start - 1, -1, -1):
            verdict = _compare(shape, operand_strides, order[below], order[here])
            if verdict > 0:
                order[below], order[here] = order[here], order[below]
                here = below
            elif verdict < 0:
                break
    return order


def _compare(shape: Shape, operand_strides: Sequence[Shape], a: int, b: int) -> int:
    """Return 1 if dimension `a` belongs outside `b`, -1 if inside, 0 if unknown."""
    for strides in operand_strides:
        step_a = strides[a]
        step_b = strides[b]
        if step_a == 0 or step_b == 0:
            continue
        if step_a != step_b:
            return 1 if step_a > step_b else -1
        if shape[a] > shape[b]:
            return 1
    return 0


def _is_channels_last(shape: Shape, strides: Shape) -> bool:
    order = (0, 2, 3, 1)
    return is_contiguous([shape[d] for d in order], [strides[d] for d in order])


def output_strides(shape: Shape, operand_strides: Sequence[Shape]) -> Shape:
    """Return the strides PyTorch gives the fresh result of an elementwise operation.

    Each operand comes expanded to `shape` by `expand_strides`; a scalar operand of
    a tensor counts too, with strides of 0, because it changes the outcome for
    dimensions of size 1. Only an empty result may differ from PyTorch's, where its
    operands have strides of 0 without having been broadcast.

    >>> output_strides((3, 2), [(1, 3), (1, 3)])
    (1, 3)
    >>> output_strides((3, 2), [(0, 1), (2, 1)])
    (2, 1)
    """
    row_major = contiguous_strides(shape)
    if all(own == row_major for own in operand_strides):
        return row_major
    first = operand_strides[0]
    # A stride of 0 tells that the operands had different shapes, and then PyTorch
    # orders dimensions even where all of them are contiguous.
    if not any(0 in own for own in operand_strides):
        if all(is_contiguous(shape, own) for own in operand_strides):
            return row_major
        if len(shape) == 4 and all(
            _is_channels_last(shape, own) for own in operand_strides
        ):
            batch, channels, height, width = shape
            row = channels * width
            return (row * height, 1, row, channels)
        if all(own == first for own in operand_strides) and is_dense(shape, first):
            return first
    order = _inner_first(shape, operand_strides)
    if order == list(range(len(shape) - 1, -1, -1)):
        return row_major
    return _packed(shape, order)


def _packed(shape: Shape, order: list[int]) -> Shape:
    strides = [0] * len(shape)
    step = 1
    for dim in order:
        strides[dim] = step
        step *= shape[dim]
    return tuple(strides)


def empty_like_strides(shape: Shape, strides: Shape) -> Shape:
    """Return the strides of `empty_like` or `clone` that keep the memory format.

    >>> empty_like_strides((3, 2), (1, 3)), empty_like_strides((3, 2), (1, 6))
    ((1, 3), (1, 3))
    """
    if is_dense(shape, strides):
        return strides
    return _packed(shape, _inner_first(shape, (strides,)))


def collapse(
    shape: Shape, operand_strides: Sequence[Shape], reorder: bool = True
) -> tuple[Shape, list[Shape]]:
    """Return the shortest loop nest over `shape`: its sizes, each operand's strides.

    Dimensions of size 1 go. With `reorder`, the innermost (last) dimension is the
    one where operand 0 has its smallest stride, the other operands breaking ties.
    Neighbours merge where every operand steps through them evenly. A single element
    gives sizes (1,) and strides (1,), no element sizes (0,) and strides (1,).

    >>> collapse((2, 3, 4), [(12, 4, 1), (12, 4, 1), (0, 0, 0)])
    ((24,), [(1,), (1,), (0,)])
    >>> collapse((2, 3), [(3, 1), (1, 2)])
    ((2, 3), [(3, 1), (1, 2)])
    """
    if 0 in shape:
        return (0,), [(1,)] * len(operand_strides)
    nest = [
        ([own[dim] for own in operand_strides], size)
        for dim, size in enumerate(shape)
        if size != 1
    ]
    if not nest:
        return (1,), [(1,)] * len(operand_strides)
    if reorder and len(nest) > 1:
        nest.sort(key=itemgetter(0), reverse=True)
    sizes: list[int] = []
    columns: list[list[int]] = []
    for steps, size in nest:
        if columns and columns[-1] == [size * step for step in steps]:
            sizes[-1] *= size
            columns[-1] = steps
        else:
            sizes.append(size)
            columns.append(steps)
    return tuple(sizes), list(zip(*columns, strict=True))


# Reshaping


def infer_shape(op: str, shape: Sequence[int], count: int) -> Shape:
    """Return `shape` with its -1 replaced so that it holds `count` elements.

    Raises: ShapeError, two sizes of -1, another negative size, or a wrong count.

    >>> infer_shape("view", (2, -1), 6)
    (2, 3)
    """
    known = 1
    unknown = -1
    fault = ""
    for dim, size in enumerate(shape):
        if size >= 0:
            known *= size
        elif size == -1:
            if unknown >= 0:
                fault = "only one dimension can be inferred"
                break
            unknown = dim
        else:
            fault = (
                f"invalid shape dimension {size} at index {dim} of shape {list(shape)}"
            )
            break
    if not fault:
        if unknown < 0 and known == count:
            return tuple(shape)
        if unknown >= 0 and known > 0 and count % known == 0:
            return (*shape[:unknown], count // known, *shape[unknown + 1 :])
        fault = f"shape '{list(shape)}' is invalid for input of size {count}"
        if unknown >= 0 and known == count == 0:
            fault = (
                f"cannot reshape tensor of 0 elements into shape {list(shape)} "
                "because the unspecified dimension size -1 can be any value and is "
                "ambiguous"
            )
    raise ShapeError(
        message(
            op,
            f"shape {tuple(shape)} for {count} elements",
            "sizes whose product is the number of elements, at most one of them -1",
            fault,
        )
    )


def view_strides(shape: Shape, strides: Shape, new_shape: Shape) -> Shape | None:
    """Return the strides that show the same memory as `new_shape`, None if none do.

    `new_shape` must hold as many elements as `shape`, see `infer_shape`.

    >>> view_strides((2, 3), (3, 1), (3, 2)), view_strides((2, 3), (1, 2), (6,))
    ((2, 1), None)
    """
    if 0 in shape:
        return strides if shape == new_shape else contiguous_strides(new_shape)
    if not shape:
        return (1,) * len(new_shape)
    result = [0] * len(new_shape)
    into = len(new_shape) - 1
    base = strides[-1]
    block = 1
    for dim in range(len(shape) - 1, -1, -1):
        block *= shape[dim]
        if dim and (shape[dim - 1] == 1 or strides[dim - 1] == block * base):
            continue
        # Dimensions up to here step evenly: the new ones must cut this same block.
        filled = 1
        while into >= 0 and (filled < block or new_shape[into] == 1):
            result[into] = filled * base
            filled *= new_shape[into]
            into -= 1
        if filled != block:
            return None
        if dim:
            base = strides[dim - 1]
            block = 1
    return tuple(result)


def flatten_shape(shape: Shape, start: int = 0, end: int = -1) -> Shape:
    """Return `shape` with dimensions `start` to `end` (included) made one.

    Raises: DimError, out of range; ShapeError, `start` after `end`.

    >>> flatten_shape((2, 3, 4), 0, 1)
    (6, 4)
    """
    first = normalize_dim("flatten", start, len(shape))
    last = normalize_dim("flatten", end, len(shape))
    if first > last:
        raise ShapeError(
            message(
                "flatten",
                f"start_dim {start} and end_dim {end}",
                "a start_dim at or before end_dim",
                "flatten() has invalid args: start_dim cannot come after end_dim",
            )
        )
    return (*shape[:first], numel(shape[first : last + 1]), *shape[last + 1 :])


def unflatten_shape(shape: Shape, dim: int, sizes: Sequence[int]) -> Shape:
    """Return `shape` with dimension `dim` cut into `sizes`, one of which may be -1.

    Raises: DimError, out of range; ShapeError, sizes that do not multiply up.

    >>> unflatten_shape((2, 12), 1, (3, -1))
    (2, 3, 4)
    """
    at = normalize_dim("unflatten", dim, len(shape))
    size = shape[at] if shape else 1
    if not shape:
        fault = "unflatten: a 0-d tensor has no dimension to cut"
    elif not sizes:
        fault = "unflatten: sizes must be non-empty"
    else:
        try:
            cut = infer_shape("unflatten", sizes, size)
            return (*shape[:at], *cut, *shape[at + 1 :])
        except ShapeError as error:
            fault = (
                f"unflatten: Provided sizes {list(sizes)} don't multiply up to the "
                f"size of dim {at} ({size}) in the input tensor: {error}"
            )
    raise ShapeError(
        message("unflatten", f"sizes {tuple(sizes)}", f"a product of {size}", fault)
    )
