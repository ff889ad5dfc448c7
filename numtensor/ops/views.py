"""Views: the same memory seen with another layout.

A view's way back either undoes the layout (transpose, reshape) or sets the cotangent
into zeros of the input's shape (select, narrow, diagonal). Both are made of views and
copies, so they are differentiable in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes, layout
from ..dtypes import dtype
from ..errors import DTypeError, ShapeError, message
from ..memory import empty, result_of, view_as
from ..names import rules, whole
from ..spec import Spec, contiguous_spec, spec
from ..tape import FunctionNode, edge, grad_mode, no_grad
from ..tensor import Tensor
from .copies import Back, clone, contiguous_format, new_empty_strided
from .declare import attach, composed
from .registry import function

Place = tuple[Spec, int]  # what a view is, and how many bytes further it begins

#: beyond this many known views of one layout they are worked out again
_MOST_PLACES = 256


def placed(x: Tensor, rule: Callable[..., layout.View], *args: Any) -> Place:
    """Return where the view that `rule` makes of x lies; worked out once a layout."""
    known = x._spec.extra
    try:
        found = known.get((rule, args))
    except TypeError:  # a list among the arguments
        return _place(x, rule(*parts(x), *args))
    if found is None:
        found = _place(x, rule(*parts(x), *args))
        if len(known) > _MOST_PLACES:
            known.clear()
        known[rule, args] = found
    return found


def _place(x: Tensor, geometry: layout.View) -> Place:
    shape, strides, offset = geometry
    found = x._spec
    return spec(found.dtype, shape, strides, found.device), offset * found.itemsize


def viewed(x: Tensor, place: Place, name: str, back: Back) -> Tensor:
    """Return a view of x and record how its cotangent comes back."""
    made = view_as(x, *place)
    if (
        (x._requires_grad or x._base is not None)
        and grad_mode.enabled
        and x.requires_grad
    ):
        made._node = FunctionNode(name, (edge(x),), back)
        made._requires_grad = True
    return made


def parts(x: Tensor) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    return tuple(x._spec.shape), x._spec.strides, 0


def set_in(shape: Sequence[int], take: Callable[[Tensor], Tensor]) -> Back:
    """Return the way back of a view that takes a part: the part, in zeros."""

    def back(g: Tensor) -> tuple[Tensor]:
        return (embedded(g, tuple(shape), take),)

    return back


def embedded(
    g: Tensor, shape: tuple[int, ...], take: Callable[[Tensor], Tensor]
) -> Tensor:
    made = empty(contiguous_spec(g._spec.dtype, shape, g._spec.device))
    with_grad = grad_mode.enabled and g.requires_grad
    was = grad_mode.enabled
    grad_mode.enabled = False
    try:
        made.zero_()
        take(made).copy_(g)
    finally:
        grad_mode.enabled = was
    if with_grad:
        made._node = FunctionNode("EmbedBackward0", (edge(g),), lambda gg: (take(gg),))
        made._requires_grad = True
    return made


def _dims_given(dims: tuple[Any, ...]) -> tuple[int, ...]:
    """Accept f(1, 2) and f((1, 2))."""
    if len(dims) == 1 and not isinstance(dims[0], int):
        first = dims[0]
        if isinstance(first, (tuple, list)):
            return tuple(int(d) for d in first)
    return tuple(d if type(d) is int else d.__index__() for d in dims)


@composed(
    "transpose",
    kind="view",
    samples=lambda make: [((make(2, 3), 0, 1), {})],
    aliases=("swapaxes", "swapdims"),
    names=rules.transpose,
)
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Return a view with two dims exchanged.

    >>> import numtensor as nt
    >>> nt.zeros(2, 3).transpose(0, 1).shape
    torch.Size([3, 2])
    """
    return viewed(
        input,
        placed(input, layout.transpose, dim0, dim1),
        "TransposeBackward0",
        lambda g: (transpose(g, dim0, dim1),),
    )


@composed(
    "t",
    kind="view",
    samples=lambda make: [((make(2, 3),), {}), ((make(3),), {})],
    names=rules.reverse,
)
def t(input: Tensor) -> Tensor:
    """Return a matrix transposed; vectors and 0-d tensors as they are.

    Raises: ShapeError, more than two dims.
    """
    if input.ndim > 2:
        raise ShapeError(
            message(
                "t",
                f"a tensor with {input.ndim} dims",
                "at most 2",
                "t() expects a tensor with <= 2 dimensions, but self is "
                f"{input.ndim}D. Use x.mT or x.transpose(dim0, dim1).",
            )
        )
    if input.ndim < 2:
        return viewed(input, (input._spec, 0), "TBackward0", lambda g: (g,))
    return viewed(
        input, placed(input, layout.transpose, 0, 1), "TBackward0", lambda g: (t(g),)
    )


@composed(
    "permute",
    kind="view",
    samples=lambda make: [((make(2, 3, 4), (2, 0, 1)), {})],
    names=rules.permute,
)
def permute(input: Tensor, *dims: Any) -> Tensor:
    """Return a view with the dims in another order."""
    order = _dims_given(dims)
    geometry = placed(input, layout.permute, order)
    n = max(1, input.ndim)
    inverse = [0] * len(order)
    for k, d in enumerate(order):
        inverse[d % n] = k
    return viewed(input, geometry, "PermuteBackward0", lambda g: (permute(g, inverse),))


@composed(
    "movedim",
    kind="view",
    samples=lambda make: [((make(2, 3, 4), 0, 2), {})],
    aliases=("moveaxis",),
    names=rules.movedim,
)
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Return a view with some dims moved to other places."""
    return viewed(
        input,
        placed(input, layout.movedim, source, destination),
        "PermuteBackward0",
        lambda g: (movedim(g, destination, source),),
    )


def _T(self: Tensor) -> Tensor:
    """The tensor with its dims in reverse order."""
    return permute(self, tuple(range(self.ndim - 1, -1, -1)))


def mT(self: Tensor) -> Tensor:
    """The tensor with its last two dims exchanged."""
    if self.ndim < 2:
        raise ShapeError(
            message(
                "mT",
                f"a tensor with {self.ndim} dims",
                "at least 2",
                "tensor.mT is only supported on matrices or batches of matrices.",
            )
        )
    return transpose(self, -2, -1)


attach("T", property(_T))  # type: ignore[arg-type]
attach("mT", property(mT))  # type: ignore[arg-type]
attach("H", property(mT))  # type: ignore[arg-type]


def _as_shape(
    shape: tuple[int, ...], strides: tuple[int, ...], offset: int, *sizes: int
) -> layout.View:
    """The rule of `view`. Raises: ShapeError."""
    wanted = layout.infer_shape("view", sizes, layout.numel(shape))
    steps = layout.view_strides(shape, strides, wanted)
    if steps is None:
        raise ShapeError(
            message(
                "view",
                f"shape {list(wanted)} for a tensor of shape {list(shape)} and strides "
                f"{list(strides)}",
                "a shape that this layout can be seen in",
                "view size is not compatible with input tensor's size and stride (at "
                "least one dimension spans across two contiguous subspaces). Use "
                ".reshape(...) instead.",
            )
        )
    return wanted, steps, offset


def _reshaped(x: Tensor, place: Place, name: str) -> Tensor:
    before = tuple(x._spec.shape)
    return viewed(x, place, name, lambda g: (reshape(g, before),))


def _view(self: Tensor, *shape: Any) -> Tensor:
    """Return a view of another shape with the same elements in the same order.

    `view(dtype)` is not supported. Raises: ShapeError, a layout that cannot be seen in
    this shape.
    """
    if len(shape) == 1 and isinstance(shape[0], dtypes.dtype):
        if shape[0] is self.dtype:
            return self.view(tuple(self.shape))
        return _view_dtype(self, shape[0])
    return _reshaped(
        self, placed(self, _as_shape, *_dims_given(shape)), "ViewBackward0"
    )


def _view_dtype(x: Tensor, kind: dtype) -> Tensor:
    if kind.itemsize != x.itemsize:
        raise DTypeError(
            message(
                "view",
                f"{x.dtype} seen as {kind}",
                "a dtype of the same number of bytes",
                "Use x.to(dtype) to convert the values.",
            )
        )
    return result_of(
        x._storage,
        x._pointer,
        spec(kind, tuple(x.shape), x._spec.strides, x._spec.device),
    )


attach("view", _view)
attach("view_as", lambda self, other: _view(self, other.shape))


@composed(
    "reshape",
    kind="view",
    samples=lambda make: [((make(2, 3), (3, 2)), {}), ((make(2, 3).t(), (6,)), {})],
    names=rules.reshape,
)
def reshape(input: Tensor, *shape: Any) -> Tensor:
    """Return the elements in another shape: a view where possible, else a copy.

    >>> import numtensor as nt
    >>> nt.arange(4).reshape(2, -1)
    tensor([[0, 1],
            [2, 3]])
    """
    sizes = _dims_given(shape)
    found = input._spec
    if not found.contiguous and (_as_shape, sizes) not in found.extra:
        wanted = layout.infer_shape("reshape", sizes, found.numel)
        if layout.view_strides(tuple(found.shape), found.strides, wanted) is None:
            copy = clone(input, memory_format=contiguous_format)
            place = placed(copy, _as_shape, *wanted)
            return _reshaped(copy, place, "UnsafeViewBackward0")
    return _reshaped(input, placed(input, _as_shape, *sizes), "ViewBackward0")


attach("reshape_as", lambda self, other: reshape(self, other.shape))


@composed(
    "flatten",
    kind="view",
    samples=lambda make: [((make(2, 3, 4), 1), {})],
    names=whole.flatten,
)
def flatten(
    input: Tensor, start_dim: Any = 0, end_dim: Any = -1, out_dim: str | None = None
) -> Tensor:
    """Return the tensor with some neighbouring dims joined into one.

    With named dims also `flatten(["H", "W"], "features")`.
    """
    if out_dim is not None or isinstance(start_dim, (tuple, list)):
        return whole.flatten(flatten, input, start_dim, end_dim, out_dim)
    wanted = layout.flatten_shape(tuple(input._spec.shape), start_dim, end_dim)
    if wanted == input._spec.shape:
        return input
    return reshape(input, wanted)


@composed(
    "ravel",
    kind="view",
    samples=lambda make: [((make(2, 3),), {})],
    names=rules.reshape,
)
def ravel(input: Tensor) -> Tensor:
    """Return the elements in one dim."""
    return reshape(input, (-1,))


@composed(
    "unflatten",
    kind="view",
    samples=lambda make: [((make(2, 6), 1, (2, 3)), {})],
    names=whole.unflatten,
)
def unflatten(input: Tensor, dim: int, sizes: Any) -> Tensor:
    """Return the tensor with one dim split into several.

    `sizes`: one size may be -1; (name, size) pairs name the new dims as well.
    """
    if whole.named_sizes(sizes) is not None:
        return whole.unflatten(unflatten, input, dim, sizes)
    return _view(input, layout.unflatten_shape(tuple(input._spec.shape), dim, sizes))


@composed(
    "expand_as",
    kind="view",
    samples=lambda make: [((make(1, 3), make(2, 3)), {})],
    names="unify",
)
def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """Return `input.expand(other.shape)`."""
    return expand(input, other.shape)


def expand(self: Tensor, *sizes: Any) -> Tensor:
    """Return a view with dims of size 1 repeated, without copying.

    -1 keeps a size; new dims go in front. Raises: ShapeError.
    """
    before = tuple(self._spec.shape)
    return viewed(
        self,
        placed(self, layout.expand, _dims_given(sizes)),
        "ExpandBackward0",
        lambda g: (g.sum_to_size(before),),
    )


attach("expand", expand)


@composed(
    "broadcast_to",
    kind="view",
    samples=lambda make: [((make(3), (2, 3)), {})],
    names=rules.expand,
)
def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """Return a view broadcast to `size`."""
    return expand(input, size)


@composed(
    "broadcast_tensors",
    kind="view",
    method=False,
    samples=lambda make: [((make(3), make(2, 1)), {})],
    names="unify",
)
def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return views of all tensors broadcast to one shape."""
    shape = layout.broadcast_shapes(
        "broadcast_tensors", *[tuple(x.shape) for x in tensors]
    )
    return tuple(expand(x, shape) for x in tensors)


@composed(
    "squeeze",
    kind="view",
    samples=lambda make: [((make(1, 3, 1),), {}), ((make(1, 3), 0), {})],
    names=rules.squeeze,
)
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Return a view without dims of size 1: all of them, or those in `dim`."""
    before = tuple(input._spec.shape)
    return viewed(
        input,
        placed(input, layout.squeeze, dim),
        "SqueezeBackward0" if dim is None else "SqueezeBackward1",
        lambda g: (reshape(g, before),),
    )


@composed(
    "unsqueeze",
    kind="view",
    samples=lambda make: [((make(3), 0), {}), ((make(3), -1), {})],
    names=rules.unsqueeze,
)
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """Return a view with a dim of size 1 put in."""
    before = tuple(input._spec.shape)
    return viewed(
        input,
        placed(input, layout.unsqueeze, dim),
        "UnsqueezeBackward0",
        lambda g: (reshape(g, before),),
    )


@composed(
    "select",
    kind="view",
    samples=lambda make: [((make(3, 4), 1, -1), {})],
    names=rules.remove,
)
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """Return the view at one index of a dim, without that dim."""
    return viewed(
        input,
        placed(input, layout.select, dim, index),
        "SelectBackward0",
        set_in(input._spec.shape, lambda full: select(full, dim, index)),
    )


@composed(
    "narrow",
    kind="view",
    samples=lambda make: [((make(5, 2), 0, 1, 3), {})],
    names="keep",
)
def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """Return the view of `length` indices of a dim from `start` on."""
    return viewed(
        input,
        placed(input, layout.narrow, dim, start, length),
        "SliceBackward0",
        set_in(input._spec.shape, lambda full: narrow(full, dim, start, length)),
    )


@composed(
    "diagonal",
    kind="view",
    samples=lambda make: [((make(3, 4),), {}), ((make(3, 4), 1), {})],
    names=rules.diagonal,
)
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return a view of a diagonal of two dims, as the last dim."""
    return viewed(
        input,
        placed(input, layout.diagonal, offset, dim1, dim2),
        "DiagonalBackward0",
        set_in(input._spec.shape, lambda full: diagonal(full, offset, dim1, dim2)),
    )


def _as_strided(
    self: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    storage_offset: int | None = None,
) -> Tensor:
    """Return a view of the storage with any layout that stays inside it.

    Raises: ShapeError.
    """
    size, stride = tuple(size), tuple(stride)
    own = self.storage_offset()
    offset = own if storage_offset is None else storage_offset
    layout.check_as_strided(
        "as_strided",
        size,
        stride,
        offset,
        self._storage.nbytes // self.itemsize,
        self.itemsize,
    )
    before = self._spec
    relative = offset - own

    def back(g: Tensor) -> tuple[Tensor]:
        made = new_empty_strided(g, before.shape, before.strides)
        made.zero_()
        if _repeats(size, stride):
            return (_added_at(g, made, size, stride, relative),)
        _as_strided(made, size, stride, relative).copy_(g)
        return (made,)

    place = _place(self, (size, stride, relative))
    return viewed(self, place, "AsStridedBackward0", back)


def _places(size: Sequence[int], stride: Sequence[int]) -> np.ndarray:
    """Return where each element of a layout lies, counted from its first."""
    found = np.zeros(tuple(size), np.int64)
    for d, (n, step) in enumerate(zip(size, stride, strict=True)):
        found += (np.arange(n) * step).reshape((-1,) + (1,) * (len(size) - 1 - d))
    return found


def _repeats(size: Sequence[int], stride: Sequence[int]) -> bool:
    """Return whether a layout reaches some element twice."""
    if layout.is_dense(tuple(size), tuple(stride)):
        return False
    found = _places(size, stride)
    return np.unique(found).size != found.size


def _added_at(
    g: Tensor, made: Tensor, size: Sequence[int], stride: Sequence[int], offset: int
) -> Tensor:
    """Add each element of g to where an overlapping layout reads it in `made`."""
    own = made.storage_offset()
    with no_grad():
        _add_pieces(g, made, tuple(size), tuple(stride), own + offset)
    if grad_mode.enabled and g.requires_grad:
        found = made._spec  # not `made` itself, which holds the node
        made._node = FunctionNode(
            "AsStridedBackward0",
            (edge(g),),
            lambda gg: (
                _as_strided(
                    new_empty_strided(gg, found.shape, found.strides).copy_(gg),
                    size,
                    stride,
                    offset,
                ),
            ),
        )
        made._requires_grad = True
    return made


def _add_pieces(
    g: Tensor,
    made: Tensor,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    offset: int,
) -> None:
    """Add g piece by piece, each to elements that a layout reaches once.

    So every sum is made in a fixed order, by kernels that know nothing of overlap.
    """
    again = [d for d, (n, s) in enumerate(zip(size, stride, strict=True)) if n > 1 > s]
    if again:
        g = function("sum")(g, tuple(again), True)
        size = tuple(1 if d in again else n for d, n in enumerate(size))
    if not _repeats(size, stride):
        _as_strided(made, size, stride, offset).add_(g)
        return

    def without(d: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return size[:d] + size[d + 1 :], stride[:d] + stride[d + 1 :]

    dims = sorted((d for d, n in enumerate(size) if n > 1), key=lambda d: size[d])
    # the shortest dim without which nothing is reached twice, else the shortest
    d = next((d for d in dims if not _repeats(*without(d))), dims[0])
    for k in range(size[d]):
        place = offset + k * stride[d]
        _add_pieces(select(g, d, k), made, *without(d), place)


attach("as_strided", _as_strided)
