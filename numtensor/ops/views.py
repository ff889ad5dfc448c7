"""Views and copies: the same memory seen with another layout, and what moves data.

A view's way back either undoes the layout (transpose, reshape) or sets the cotangent
into zeros of the input's shape (index, select, diagonal). Both are made of views and
copies, so they are differentiable in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import dtypes, layout
from ..devices import find as find_device
from ..dtypes import dtype
from ..elementwise import Elementwise
from ..errors import DTypeError, ShapeError, message
from ..spec import Spec, contiguous_spec, spec
from ..tape import FunctionNode, MultiNode, edge, grad_mode
from ..tensor import Tensor, empty, result_of, view_as
from ..tensor import view as make_view
from .declare import attach, composed

Back = Callable[[Tensor], tuple[Tensor, ...]]

# Copies

_copy = Elementwise("copy", lambda x: x, (lambda g, x, out: g,), rule="copy")
_fill = Elementwise(
    "fill",
    lambda value: value,
    (None,),
    rule="copy",
    roles="s",
    node_name="FillBackward0",
)
_zero = Elementwise(
    "zero",
    lambda value: value,
    (None,),
    rule="copy",
    roles="s",
    node_name="ZeroBackward0",
)


def _as_is(x: Tensor, made: Tensor, name: str) -> Tensor:
    """Copy x into `made`, and record that the cotangent comes back unchanged."""
    with_grad = (
        grad_mode.enabled and x.requires_grad and made.dtype.category == dtypes.FLOAT
    )
    key = ("into", made._spec, x._spec)
    plan = _copy.plans.get(key)
    if plan is None:
        plan = _copy._remember(key, _copy.plan((x._spec,), made._spec))
    plan.run(plan.kernel, plan.n, made._pointer, x._pointer, plan.table)
    if with_grad:
        kind = x.dtype
        back: Back
        if made.dtype is kind:
            back = lambda g: (g,)  # noqa: E731
        else:
            back = lambda g: (g.to(kind),)  # noqa: E731
        made._node = FunctionNode(name, (edge(x),), back)
        made._requires_grad = True
    return made


class _Format:
    """A memory format, for the arguments that PyTorch's programs pass."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"


contiguous_format = _Format("contiguous_format")
preserve_format = _Format("preserve_format")


@composed(
    "clone",
    kind="copy",
    samples=lambda make: [((make(2, 3),), {}), ((make(3, 2).t(),), {})],
)
def clone(input: Tensor, *, memory_format: Any = preserve_format) -> Tensor:
    """Return a copy with its own memory; gradients flow back through it."""
    found = input._spec
    if memory_format is contiguous_format or found.contiguous:
        made = empty(contiguous_spec(found.dtype, tuple(found.shape)))
    else:
        strides = layout.empty_like_strides(tuple(found.shape), found.strides)
        made = empty(spec(found.dtype, tuple(found.shape), strides))
    return _as_is(input, made, "CloneBackward0")


@composed("contiguous", kind="copy", samples=lambda make: [((make(3, 2).t(),), {})])
def contiguous(input: Tensor, memory_format: Any = contiguous_format) -> Tensor:
    """Return the tensor itself if it is contiguous, else a contiguous copy."""
    if input._spec.contiguous:
        return input
    return clone(input, memory_format=contiguous_format)


def _to(
    self: Tensor,
    *args: Any,
    device: Any = None,
    dtype: Any = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: Any = preserve_format,
) -> Tensor:
    """Return the tensor with another dtype or on another device.

    `to(dtype)`, `to(device)`, `to(device, dtype)`, `to(other_tensor)`; the tensor
    itself if nothing changes, unless `copy=True`. Raises: DTypeError, DeviceError.
    """
    for arg in args:
        if isinstance(arg, Tensor):
            dtype, device = arg.dtype, arg.device
        elif isinstance(arg, dtypes.dtype):
            dtype = arg
        elif isinstance(arg, bool):
            copy = arg
        elif arg is not None:
            device = arg
    if device is not None:
        find_device(device)
    wanted = self._spec.dtype if dtype is None else dtypes.find(dtype)
    if wanted is self._spec.dtype:
        return clone(self) if copy else self
    found = self._spec
    if found.contiguous:
        made = empty(contiguous_spec(wanted, tuple(found.shape)))
    else:
        strides = layout.empty_like_strides(tuple(found.shape), found.strides)
        made = empty(spec(wanted, tuple(found.shape), strides))
    return _as_is(self, made, "ToCopyBackward0")


attach("to", _to)


def _cast_method(name: str, kind: dtype) -> None:
    def call(self: Tensor) -> Tensor:
        return _to(self, kind)

    call.__name__ = name
    call.__doc__ = f"Return the tensor as {kind.name}."
    attach(name, call)


for _name, _kind in (
    ("bool", dtypes.bool_),
    ("byte", dtypes.uint8),
    ("char", dtypes.int8),
    ("short", dtypes.int16),
    ("int", dtypes.int32),
    ("long", dtypes.int64),
    ("float", dtypes.float32),
    ("double", dtypes.float64),
):
    _cast_method(_name, _kind)


def _type_as(self: Tensor, other: Tensor) -> Tensor:
    """Return the tensor in the dtype of `other`."""
    return _to(self, other.dtype)


attach("type_as", _type_as)
attach("cpu", lambda self: self)


def _copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Store the elements of `src`, broadcast and cast as needed."""
    if not isinstance(src, Tensor):
        from ..creation import tensor

        src = tensor(src)
    if src._spec.shape != self._spec.shape:
        try:
            src = src.expand(self._spec.shape)
        except ShapeError as error:
            raise ShapeError(
                message(
                    "copy_",
                    f"a source of shape {list(src.shape)}",
                    f"one that broadcasts to {list(self.shape)}",
                    f"The expanded size of the tensor must match the existing size. {error}",
                )
            ) from None
    return _copy.store(self, (src,), "in place")


attach("copy_", _copy_)


def _fill_(self: Tensor, value: Any) -> Tensor:
    """Set every element to `value`, a number or a 0-d tensor."""
    if isinstance(value, Tensor):
        if value.ndim:
            raise ShapeError(
                message(
                    "fill_",
                    f"a value of shape {list(value.shape)}",
                    "a number or a 0-d tensor",
                    "fill_ only supports 0-dimension value tensor. Use copy_().",
                )
            )
        return _copy_(self, value)
    return _fill.store(self, (value,), "in place")


attach("fill_", _fill_)


def _zero_(self: Tensor) -> Tensor:
    """Set every element to zero."""
    if not self._requires_grad and self._base is None:
        key = ("into", self._spec, int)
        plan = _zero.plans.get(key)
        if plan is not None:
            plan.run(plan.kernel, plan.n, self._pointer, plan.table, 0)
            self._storage.version += 1
            return self
    return _zero.store(self, (0,), "in place")


attach("zero_", _zero_)


def _unit_cotangent(self: Tensor) -> Tensor:
    """Return ones of this shape, the cotangent that backward() starts from."""
    known = self._spec.extra.get("unit")
    if known is None:
        found = contiguous_spec(self.dtype, tuple(self._spec.shape))
        known = (found, _fill.plan((int,), found))
        self._spec.extra["unit"] = known
    found, plan = known
    made = empty(found)
    plan.run(plan.kernel, plan.n, made._pointer, plan.table, 1)
    return made


attach("unit_cotangent", _unit_cotangent)


# Views


def _viewed(x: Tensor, geometry: layout.View, name: str, back: Back) -> Tensor:
    """Return a view of x and record how its cotangent comes back."""
    made = make_view(x, *geometry)
    if (
        (x._requires_grad or x._base is not None)
        and grad_mode.enabled
        and x.requires_grad
    ):
        made._node = FunctionNode(name, (edge(x),), back)
        made._requires_grad = True
    return made


def _parts(x: Tensor) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    return tuple(x._spec.shape), x._spec.strides, 0


def _set_in(shape: Sequence[int], take: Callable[[Tensor], Tensor]) -> Back:
    """Return the way back of a view that takes a part: the part, in zeros."""

    def back(g: Tensor) -> tuple[Tensor]:
        return (_embed(g, tuple(shape), take),)

    return back


def _embed(
    g: Tensor, shape: tuple[int, ...], take: Callable[[Tensor], Tensor]
) -> Tensor:
    made = empty(contiguous_spec(g._spec.dtype, shape))
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
)
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Return a view with two dims exchanged.

    >>> import numtensor as nt
    >>> nt.zeros(2, 3).transpose(0, 1).shape
    torch.Size([3, 2])
    """
    return _viewed(
        input,
        layout.transpose(*_parts(input), dim0, dim1),
        "TransposeBackward0",
        lambda g: (transpose(g, dim0, dim1),),
    )


@composed(
    "t", kind="view", samples=lambda make: [((make(2, 3),), {}), ((make(3),), {})]
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
                f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D. "
                "Use x.mT or x.transpose(dim0, dim1).",
            )
        )
    if input.ndim < 2:
        return _viewed(input, _parts(input), "TBackward0", lambda g: (g,))
    return _viewed(
        input, layout.transpose(*_parts(input), 0, 1), "TBackward0", lambda g: (t(g),)
    )


@composed(
    "permute", kind="view", samples=lambda make: [((make(2, 3, 4), (2, 0, 1)), {})]
)
def permute(input: Tensor, *dims: Any) -> Tensor:
    """Return a view with the dims in another order."""
    order = _dims_given(dims)
    geometry = layout.permute(*_parts(input), order)
    n = max(1, input.ndim)
    inverse = [0] * len(order)
    for k, d in enumerate(order):
        inverse[d % n] = k
    return _viewed(
        input, geometry, "PermuteBackward0", lambda g: (permute(g, inverse),)
    )


@composed(
    "movedim",
    kind="view",
    samples=lambda make: [((make(2, 3, 4), 0, 2), {})],
    aliases=("moveaxis",),
)
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Return a view with some dims moved to other places."""
    return _viewed(
        input,
        layout.movedim(*_parts(input), source, destination),
        "PermuteBackward0",
        lambda g: (movedim(g, destination, source),),
    )


def _T(self: Tensor) -> Tensor:
    """The tensor with its dims in reverse order."""
    return permute(self, tuple(range(self.ndim - 1, -1, -1)))


def _mT(self: Tensor) -> Tensor:
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
attach("mT", property(_mT))  # type: ignore[arg-type]
attach("H", property(_mT))  # type: ignore[arg-type]


def _reshaped(
    x: Tensor, strides: tuple[int, ...], shape: tuple[int, ...], name: str
) -> Tensor:
    before = tuple(x._spec.shape)
    return _viewed(x, (shape, strides, 0), name, lambda g: (reshape(g, before),))


def _view(self: Tensor, *shape: Any) -> Tensor:
    """Return a view of another shape with the same elements in the same order.

    `view(dtype)` is not supported. Raises: ShapeError, a layout that cannot be seen in
    this shape.
    """
    if len(shape) == 1 and isinstance(shape[0], dtypes.dtype):
        if shape[0] is self.dtype:
            return self.view(tuple(self.shape))
        return _view_dtype(self, shape[0])
    wanted = layout.infer_shape("view", _dims_given(shape), self._spec.numel)
    strides = layout.view_strides(tuple(self._spec.shape), self._spec.strides, wanted)
    if strides is None:
        raise ShapeError(
            message(
                "view",
                f"shape {list(wanted)} for a tensor of shape {list(self.shape)} and "
                f"strides {list(self._spec.strides)}",
                "a shape that this layout can be seen in",
                "view size is not compatible with input tensor's size and stride (at "
                "least one dimension spans across two contiguous subspaces). Use "
                ".reshape(...) instead.",
            )
        )
    return _reshaped(self, strides, wanted, "ViewBackward0")


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
        x._storage, x._pointer, spec(kind, tuple(x.shape), x._spec.strides)
    )


attach("view", _view)
attach("view_as", lambda self, other: _view(self, other.shape))


@composed(
    "reshape",
    kind="view",
    samples=lambda make: [((make(2, 3), (3, 2)), {}), ((make(2, 3).t(), (6,)), {})],
)
def reshape(input: Tensor, *shape: Any) -> Tensor:
    """Return the elements in another shape: a view where possible, else a copy.

    >>> import numtensor as nt
    >>> nt.arange(4).reshape(2, -1)
    tensor([[0, 1],
            [2, 3]])
    """
    wanted = layout.infer_shape("reshape", _dims_given(shape), input._spec.numel)
    strides = layout.view_strides(tuple(input._spec.shape), input._spec.strides, wanted)
    if strides is None:
        input = clone(input, memory_format=contiguous_format)
        strides = layout.contiguous_strides(wanted)
        return _reshaped(input, strides, wanted, "UnsafeViewBackward0")
    return _reshaped(input, strides, wanted, "ViewBackward0")


attach("reshape_as", lambda self, other: reshape(self, other.shape))


@composed("flatten", kind="view", samples=lambda make: [((make(2, 3, 4), 1), {})])
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Return the tensor with some neighbouring dims joined into one."""
    wanted = layout.flatten_shape(tuple(input._spec.shape), start_dim, end_dim)
    if wanted == input._spec.shape:
        return input
    return reshape(input, wanted)


@composed("ravel", kind="view", samples=lambda make: [((make(2, 3),), {})])
def ravel(input: Tensor) -> Tensor:
    """Return the elements in one dim."""
    return reshape(input, (-1,))


@composed(
    "unflatten", kind="view", samples=lambda make: [((make(2, 6), 1, (2, 3)), {})]
)
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Return the tensor with one dim split into several."""
    return _view(input, layout.unflatten_shape(tuple(input._spec.shape), dim, sizes))


@composed(
    "expand_as", kind="view", samples=lambda make: [((make(1, 3), make(2, 3)), {})]
)
def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """Return `input.expand(other.shape)`."""
    return _expand(input, other.shape)


def _expand(self: Tensor, *sizes: Any) -> Tensor:
    """Return a view with dims of size 1 repeated, without copying.

    -1 keeps a size; new dims go in front. Raises: ShapeError.
    """
    before = tuple(self._spec.shape)
    return _viewed(
        self,
        layout.expand(*_parts(self), _dims_given(sizes)),
        "ExpandBackward0",
        lambda g: (g.sum_to_size(before),),
    )


attach("expand", _expand)


@composed("broadcast_to", kind="view", samples=lambda make: [((make(3), (2, 3)), {})])
def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """Return a view broadcast to `size`."""
    return _expand(input, size)


@composed(
    "broadcast_tensors",
    kind="view",
    method=False,
    samples=lambda make: [((make(3), make(2, 1)), {})],
)
def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return views of all tensors broadcast to one shape."""
    shape = layout.broadcast_shapes(
        "broadcast_tensors", *[tuple(x.shape) for x in tensors]
    )
    return tuple(_expand(x, shape) for x in tensors)


@composed(
    "squeeze",
    kind="view",
    samples=lambda make: [((make(1, 3, 1),), {}), ((make(1, 3), 0), {})],
)
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Return a view without dims of size 1: all of them, or those in `dim`."""
    before = tuple(input._spec.shape)
    return _viewed(
        input,
        layout.squeeze(*_parts(input), dim),
        "SqueezeBackward0" if dim is None else "SqueezeBackward1",
        lambda g: (reshape(g, before),),
    )


@composed(
    "unsqueeze",
    kind="view",
    samples=lambda make: [((make(3), 0), {}), ((make(3), -1), {})],
)
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """Return a view with a dim of size 1 put in."""
    before = tuple(input._spec.shape)
    return _viewed(
        input,
        layout.unsqueeze(*_parts(input), dim),
        "UnsqueezeBackward0",
        lambda g: (reshape(g, before),),
    )


@composed("select", kind="view", samples=lambda make: [((make(3, 4), 1, -1), {})])
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """Return the view at one index of a dim, without that dim."""
    return _viewed(
        input,
        layout.select(*_parts(input), dim, index),
        "SelectBackward0",
        _set_in(input._spec.shape, lambda full: select(full, dim, index)),
    )


@composed("narrow", kind="view", samples=lambda make: [((make(5, 2), 0, 1, 3), {})])
def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """Return the view of `length` indices of a dim from `start` on."""
    return _viewed(
        input,
        layout.narrow(*_parts(input), dim, start, length),
        "SliceBackward0",
        _set_in(input._spec.shape, lambda full: narrow(full, dim, start, length)),
    )


@composed(
    "diagonal",
    kind="view",
    samples=lambda make: [((make(3, 4),), {}), ((make(3, 4), 1), {})],
)
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return a view of a diagonal of two dims, as the last dim."""
    return _viewed(
        input,
        layout.diagonal(*_parts(input), offset, dim1, dim2),
        "DiagonalBackward0",
        _set_in(input._spec.shape, lambda full: diagonal(full, offset, dim1, dim2)),
    )


def _as_strided(
    self: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    storage_offset: int | None = None,
) -> Tensor:
    """Return a view of the storage with any layout that stays inside it.

    Differentiable where no element is reached twice. Raises: ShapeError.
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
        made = _new_empty_strided(g, before.shape, before.strides)
        made.zero_()
        _as_strided(made, size, stride, relative).copy_(g)
        return (made,)

    return _viewed(self, (size, stride, relative), "AsStridedBackward0", back)


attach("as_strided", _as_strided)


def _new_empty_strided(
    self: Tensor, size: Sequence[int], stride: Sequence[int], dtype: Any = None
) -> Tensor:
    """Return an uninitialised tensor of this dtype with given strides."""
    kind = self.dtype if dtype is None else dtypes.find(dtype)
    return empty(spec(kind, tuple(size), tuple(stride)))


attach("new_empty_strided", _new_empty_strided)


def _many(
    x: Tensor, geometries: list[layout.View], name: str, back: Any
) -> tuple[Tensor, ...]:
    made = tuple([make_view(x, *g) for g in geometries])
    if not made or not grad_mode.enabled or not x.requires_grad:
        return made
    return _record_many(x, made, name, back)


def _record_many(
    x: Tensor, made: tuple[Tensor, ...], name: str, back: Any
) -> tuple[Tensor, ...]:
    node = MultiNode(name, (edge(x),), back, len(made))
    if len(made) == 1:
        # with one output the walk hands over the cotangent itself
        node.function = lambda g: back([g])
    for k, view in enumerate(made):
        view._node = node
        view._output = k
        view._requires_grad = True
    return made


@composed(
    "unbind",
    kind="view",
    samples=lambda make: [((make(3, 2),), {}), ((make(2, 3), 1), {})],
)
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Return a view per index of a dim, without that dim."""
    found = input._spec
    known = found.extra.get(("unbind", dim))
    if known is None:
        shape, strides, _ = _parts(input)
        d = layout.normalize_dim("unbind", dim, len(shape))
        rest = spec(
            found.dtype, shape[:d] + shape[d + 1 :], strides[:d] + strides[d + 1 :]
        )
        known = found.extra["unbind", dim] = (d, rest, strides[d] * found.itemsize)
    d, rest, step = known
    made = tuple([view_as(input, rest, k * step) for k in range(found.shape[d])])
    if not made or not grad_mode.enabled or not input.requires_grad:
        return made
    return _record_many(
        input, made, "UnbindBackward0", lambda grads: (_stacked(grads, rest, d),)
    )


def _stacked(grads: list[Tensor | None], part: Spec, dim: int) -> Tensor:
    """Stack cotangents, zeros where nothing flowed."""
    if grad_mode.enabled:
        from .joining import stack

        zeros = next(g for g in grads if g is not None) * 0
        return stack([zeros if g is None else g for g in grads], dim)
    shape = tuple(part.shape)
    whole = contiguous_spec(part.dtype, (*shape[:dim], len(grads), *shape[dim:]))
    made = empty(whole)
    for place, g in zip(unbind(made, dim), grads, strict=True):
        if g is None:
            _zero_(place)
        else:
            _as_is(g, place, "")
    return made


@composed(
    "split",
    kind="view",
    samples=lambda make: [((make(5, 2), 2), {}), ((make(5, 2), [1, 4]), {})],
)
def split(
    tensor: Tensor, split_size_or_sections: Any, dim: int = 0
) -> tuple[Tensor, ...]:
    """Return views of pieces of a dim: of one size (the last may be smaller), or of
    the sizes in a list. Raises: ShapeError, sizes that do not add up."""
    shape, strides, _ = _parts(tensor)
    dim = layout.normalize_dim("split", dim, len(shape))
    total = shape[dim]
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size < 0 or (size == 0 and total):
            raise ShapeError(
                message(
                    "split",
                    f"split_size={size}",
                    "a size above 0",
                    f"split expects split_size be non-negative, but got split_size={size}.",
                )
            )
        sizes = [min(size, total - k) for k in range(0, total, size or 1)] or [0]
    else:
        sizes = [int(s) for s in split_size_or_sections]
        if sum(sizes) != total or any(s < 0 for s in sizes):
            raise ShapeError(
                message(
                    "split",
                    f"sections {sizes} of a dim of size {total}",
                    f"sizes that sum to {total}",
                    "split_with_sizes expects split_sizes to sum exactly to "
                    f"{total} (input tensor's size at dimension {dim}).",
                )
            )
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    geometries = [
        (shape[:dim] + (n,) + shape[dim + 1 :], strides, start * strides[dim])
        for n, start in zip(sizes, starts, strict=True)
    ]

    def back(grads: list[Tensor | None]) -> tuple[Tensor]:
        from .joining import cat

        known = next(g for g in grads if g is not None)
        full = [
            known.new_zeros(shape[:dim] + (n,) + shape[dim + 1 :]) if g is None else g
            for g, n in zip(grads, sizes, strict=True)
        ]
        return (cat(full, dim),)

    return _many(tensor, geometries, "SplitBackward0", back)


@composed("chunk", kind="view", samples=lambda make: [((make(5, 2), 2), {})])
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Return at most `chunks` views of equal pieces of a dim."""
    if chunks < 1:
        raise ShapeError(
            message(
                "chunk",
                f"chunks={chunks}",
                "1 or more",
                f"chunk expects `chunks` to be greater than 0, got: {chunks}.",
            )
        )
    d = layout.normalize_dim("chunk", dim, input.ndim)
    return split(input, max(1, -(-input.shape[d] // chunks)), d)


# Indexing


def _getitem(self: Tensor, key: Any) -> Tensor:
    """Basic indexing: integers, slices, None and Ellipsis give views.

    Raises: DimError, out of range or too many indices; DTypeError, other indices.
    """
    found = self._spec
    if type(key) is int and found.ndim:
        size = tuple.__getitem__(found.shape, 0)
        if -size <= key < size:
            return _row(self, key + size if key < 0 else key)
    if not layout.is_basic(key):
        key = _plain_key(key)
    shape = self._spec.shape
    return _viewed(
        self,
        layout.index(tuple(shape), self._spec.strides, 0, key),
        "SelectBackward0" if type(key) is int else "SliceBackward0",
        _set_in(shape, lambda full: _getitem(full, key)),
    )


def _row(x: Tensor, index: int) -> Tensor:
    """Return x[index] for an index in range: all rows share one spec."""
    found = x._spec
    row = found.extra.get("row")
    if row is None:
        row = found.extra["row"] = (
            spec(found.dtype, tuple(found.shape[1:]), found.strides[1:]),
            found.strides[0] * found.itemsize,
        )
    made = view_as(x, row[0], index * row[1])
    if (
        (x._requires_grad or x._base is not None)
        and grad_mode.enabled
        and x.requires_grad
    ):
        back = _set_in(found.shape, lambda full: _row(full, index))
        made._node = FunctionNode("SelectBackward0", (edge(x),), back)
        made._requires_grad = True
    return made


def _plain_key(key: Any) -> Any:
    """Turn 0-d integer tensors into integers; refuse lists, masks and tensors."""
    parts = list(key) if isinstance(key, tuple) else [key]
    for k, part in enumerate(parts):
        if (
            isinstance(part, Tensor)
            and part.ndim == 0
            and part.dtype.category == dtypes.INTEGER
        ):
            parts[k] = int(part)
        elif isinstance(part, slice):
            parts[k] = slice(
                *[
                    int(b) if isinstance(b, Tensor) else b
                    for b in (part.start, part.stop, part.step)
                ]
            )
    plain = tuple(parts) if isinstance(key, tuple) else parts[0]
    if not layout.is_basic(plain):
        kinds = ", ".join(type(p).__name__ for p in parts)
        raise DTypeError(
            message(
                "index",
                f"indices of type {kinds}",
                "integers, slices, None or Ellipsis",
                "Indexing by lists, masks and tensors is not part of this version.",
            )
        )
    return plain


def _setitem(self: Tensor, key: Any, value: Any) -> None:
    """Store into a view: `t[1:, 0] = x`."""
    part = _getitem(self, key) if not _whole(key) else self
    if isinstance(value, Tensor):
        # leading dims of size 1 are dropped, as in PyTorch
        while value.ndim > part.ndim and value.shape[0] == 1:
            value = squeeze(value, 0)
        _copy_(part, value)
    elif isinstance(value, (bool, int, float)):
        _fill_(part, value)
    else:
        from ..creation import tensor

        value = tensor(value, dtype=self.dtype)
        _copy_(part, value)


def _whole(key: Any) -> bool:
    return key is Ellipsis


attach("__getitem__", _getitem)
attach("__setitem__", _setitem)
