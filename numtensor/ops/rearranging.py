"""Elements in other places: flip, roll, repeat, triangles and diagonals.

Copies, unlike `views`. All but `flip` are made of views and copies of whole blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import launch, layout
from ..devices import CPU
from ..errors import DimError, ShapeError, message
from ..kernels.by_hand.flip import flipped
from ..memory import empty, from_array
from ..spec import Spec, contiguous_spec
from ..tape import FunctionNode, edge, grad_mode
from ..tensor import Tensor
from .copies import clone, contiguous_format
from .declare import attach, composed
from .joining import cat
from .registry import function
from .views import diagonal, embedded, expand, narrow, reshape, transpose, unsqueeze


def dims_of(op: str, dims: Any, ndim: int) -> tuple[int, ...]:
    """Return dims given as one or as several, counted from 0, each once."""
    given = dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims
    found = tuple(layout.normalize_dim(op, int(d), ndim) for d in given)
    if len(set(found)) != len(found):
        twice = next(d for d in found if found.count(d) > 1)
        raise DimError(
            message(
                op,
                f"dims {tuple(given)}",
                "each dim once",
                f"dim {twice} appears multiple times in the list of dims.",
            )
        )
    return found


def _flip_plan(found: Spec, dims: tuple[int, ...]) -> tuple[Spec, Any]:
    """Return the result's spec and the call."""
    shape = tuple(found.shape)
    steps = tuple(-s if d in dims else s for d, s in enumerate(found.strides))
    first = sum((shape[d] - 1) * found.strides[d] for d in dims)
    out = contiguous_spec(found.dtype, shape, found.device)
    rank = len(shape)
    length, step = 1, 1
    if found.device is CPU and rank:  # on a GPU, neighbours in a row are threads
        rank -= 1
        length, step = shape[-1], steps[-1]
    numbers = [first, length, step]
    for d in reversed(range(rank)):
        numbers += [shape[d], steps[d]]
    rows = layout.numel(shape[:rank])
    kernel = flipped(found.dtype.name, rank)
    call = launch.by_tasks(kernel, rows, numbers, found.device, cost=length + 8)
    return out, call


@composed(
    "flip",
    names="keep",
    samples=lambda make: [((make(2, 3), (0, 1)), {}), ((make(4, 2), 0), {})],
    reference=lambda x, *dims: np.flip(x, dims[0] if len(dims) == 1 else dims),
)
def flip(input: Tensor, *dims: Any) -> Tensor:
    """Return a copy with the order of elements reversed along dims.

    >>> import numtensor as nt
    >>> nt.arange(3).flip(0)
    tensor([2, 1, 0])
    """
    if not dims and input.ndim:
        dims = ((),)
    found = input._spec
    chosen = dims_of("flip", dims, found.ndim) if found.ndim else ()
    if not found.numel:
        return clone(input)
    plan = found.extra.get(("flip", chosen))
    if plan is None:
        plan = found.extra["flip", chosen] = _flip_plan(found, chosen)
    out, call = plan
    made = empty(out)
    call.run(call.kernel, call.n, made._pointer, input._pointer, call.table)
    if grad_mode.enabled and input.requires_grad:
        made._node = FunctionNode(
            "FlipBackward0", (edge(input),), lambda g: (flip(g, chosen),)
        )
        made._requires_grad = True
    return made


@composed(
    "fliplr", method=True, names="keep", samples=lambda make: [((make(2, 3),), {})],
    reference=np.fliplr,
)  # fmt: skip
def fliplr(input: Tensor) -> Tensor:
    """Return a copy with its columns in reverse order."""
    return flip(input, (1,))


@composed(
    "flipud", names="keep", samples=lambda make: [((make(2, 3),), {})],
    reference=np.flipud,
)  # fmt: skip
def flipud(input: Tensor) -> Tensor:
    """Return a copy with its rows in reverse order."""
    return flip(input, (0,))


def _rot90_names(args: dict[str, Any]) -> Any:
    names = list(args["input"].names)
    if args.get("k", 1) % 2:
        a, b = args.get("dims", (0, 1))
        names[a], names[b] = names[b], names[a]
    return tuple(names)


@composed(
    "rot90",
    names=_rot90_names,
    samples=lambda make: [((make(2, 3),), {}), ((make(2, 3), 3, (0, 1)), {})],
    reference=lambda x, k=1, dims=(0, 1): np.rot90(x, k, dims),
)
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Return a copy turned by k quarter turns from the first dim to the second."""
    a, b = dims_of("rot90", (tuple(dims),), input.ndim)
    turns = k % 4
    if turns == 0:
        return clone(input)
    if turns == 2:
        return flip(input, (a, b))
    if turns == 1:
        return transpose(flip(input, (b,)), a, b)
    return flip(transpose(input, a, b), (b,))


@composed(
    "roll",
    names="keep",
    samples=lambda make: [((make(2, 3), 1), {}), ((make(2, 3), (1, -1), (0, 1)), {})],
    reference=lambda x, shifts, dims=None: np.roll(x, shifts, dims),
)
def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Return a copy whose elements moved along dims, those pushed out coming in again.

    Without `dims` the elements move as in a flat tensor.

    >>> import numtensor as nt
    >>> nt.arange(5).roll(2)
    tensor([3, 4, 0, 1, 2])
    """
    steps = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    if dims is None or dims == ():
        if len(steps) != 1:
            raise ShapeError(
                message(
                    "roll",
                    f"{len(steps)} shifts and no dims",
                    "one shift, or a dim for each",
                    f"shifts and dimensions must align. shifts: {len(steps)}, dims:0.",
                )
            )
        return reshape(roll(reshape(input, (-1,)), steps, (0,)), input.shape)
    along = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(along) != len(steps):
        raise ShapeError(
            message(
                "roll",
                f"{len(steps)} shifts and {len(along)} dims",
                "as many dims as shifts",
                f"shifts and dimensions must align. shifts: {len(steps)}, "
                f"dims:{len(along)}.",
            )
        )
    result = input
    for step, d in zip(steps, along, strict=True):
        d = layout.normalize_dim("roll", d, input.ndim)
        size = result.shape[d]
        step = step % size if size else 0
        if step:
            tail = narrow(result, d, size - step, step)
            result = cat([tail, narrow(result, d, 0, size - step)], d)
    return clone(result) if result is input else result


def _sizes(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    if len(sizes) == 1 and not isinstance(sizes[0], int):
        sizes = tuple(sizes[0])
    return tuple(int(n) for n in sizes)


def _repeat_names(args: dict[str, Any]) -> Any:
    given = _sizes(args["sizes"])
    names = args["input"].names
    return (None,) * (len(given) - len(names)) + tuple(names)


@composed(
    "repeat",
    names=_repeat_names,
    samples=lambda make: [((make(2, 3), 2, 1, 3), {}), ((make(2), (2, 2)), {})],
    reference=lambda x, *n: np.tile(x, n[0] if len(n) == 1 else n),
)
def repeat(input: Tensor, *sizes: Any) -> Tensor:
    """Return copies of the tensor side by side, as many along each dim as `sizes` says.

    Raises: ShapeError, fewer sizes than dims, or a negative one.

    >>> import numtensor as nt
    >>> nt.tensor([1, 2]).repeat(2, 2)
    tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """
    counts = _sizes(sizes)
    lead = len(counts) - input.ndim
    if lead < 0 or any(n < 0 for n in counts):
        raise ShapeError(
            message(
                "repeat",
                f"sizes {list(counts)} for a {input.ndim}-d tensor",
                "a count of 0 or more for each dim",
                "Number of dimensions of repeat dims can not be smaller than number "
                "of dimensions of tensor."
                if lead < 0
                else "Trying to create tensor with negative dimension.",
            )
        )
    shape = (1,) * lead + tuple(input.shape)
    apart: list[int] = []
    wide: list[int] = []
    for n, size in zip(counts, shape, strict=True):
        apart += [1, size]
        wide += [n, size]
    spread = expand(reshape(input, tuple(apart)), tuple(wide))
    dense = clone(spread, memory_format=contiguous_format)
    return reshape(dense, tuple(n * s for n, s in zip(counts, shape, strict=True)))


def _tile_names(args: dict[str, Any]) -> Any:
    given = _sizes(args["dims"])
    names = tuple(args["input"].names)
    return (None,) * max(0, len(given) - len(names)) + names


@composed(
    "tile",
    names=_tile_names,
    samples=lambda make: [((make(2, 3), (2,)), {}), ((make(2), (2, 2)), {})],
    reference=lambda x, n: np.tile(x, n),
)
def tile(input: Tensor, *dims: Any) -> Tensor:
    """Return copies side by side; missing counts on the left are 1."""
    counts = _sizes(dims)
    return repeat(input, (1,) * (input.ndim - len(counts)) + counts)


def _interleave_names(args: dict[str, Any]) -> Any:
    if args.get("dim") is None:
        return (None,)
    return args["input"].names


@composed(
    "repeat_interleave",
    names=_interleave_names,
    samples=lambda make: [((make(2, 3), 2), {}), ((make(2, 3), 2, 1), {})],
    reference=lambda x, n, dim=None: np.repeat(x, n, dim),
)
def repeat_interleave(
    input: Tensor,
    repeats: Any = None,
    dim: int | None = None,
    *,
    output_size: int | None = None,
) -> Tensor:
    """Return each element (of a dim, or of all) repeated, next to itself.

    `repeats` is a number or a tensor of them; alone, a tensor of repeats gives the
    indices. Raises: ShapeError, repeats that do not fit or are negative.
    """
    if repeats is None:
        counts = input
        places = np.repeat(np.arange(counts.numel()), counts.tolist())
        return tensor_of(places, input.device)
    if dim is None:
        input, dim = reshape(input, (-1,)), 0
    d = layout.normalize_dim("repeat_interleave", dim, input.ndim)
    size = input.shape[d]
    if isinstance(repeats, Tensor) and repeats.numel() == 1:
        repeats = int(repeats)
    if isinstance(repeats, Tensor):
        many = repeats.tolist()
        if repeats.ndim != 1 or len(many) != size or min(many, default=0) < 0:
            raise ShapeError(
                message(
                    "repeat_interleave",
                    f"repeats of shape {list(repeats.shape)} for a dim of size {size}",
                    "one count of 0 or more for each index",
                    "repeats must have the same size as input along dim, and cannot "
                    "be negative.",
                )
            )
        chosen = tensor_of(np.repeat(np.arange(size), many), input.device)
        return function("index_select")(input, d, chosen)
    if repeats < 0:
        raise ShapeError(
            message(
                "repeat_interleave",
                f"repeats={repeats}",
                "0 or more",
                "repeats cannot be negative.",
            )
        )
    shape = list(input.shape)
    shape.insert(d + 1, repeats)
    spread = clone(
        expand(unsqueeze(input, d + 1), tuple(shape)), memory_format=contiguous_format
    )
    shape[d : d + 2] = [size * repeats]
    return reshape(spread, tuple(shape))


def _triangle(name: str, lower: bool, reference: Any, doc: str) -> Any:
    def call(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
        if input.ndim < 2:
            raise ShapeError(
                message(
                    name,
                    f"a {input.ndim}-d tensor",
                    "at least 2 dims",
                    f"{name}: input tensor must have at least 2 dimensions.",
                )
            )
        arange = function("arange")
        rows = unsqueeze(arange(input.shape[-2], device=input.device), 1)
        columns = arange(input.shape[-1], device=input.device)
        inside = columns <= rows + diagonal if lower else columns >= rows + diagonal
        result = function("where")(inside, input, input.new_zeros(()))
        return result if out is None else out.copy_(result)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    samples: Any = lambda make: [((make(3, 3),), {}), ((make(2, 3, 4), 1), {})]  # noqa: E731
    entered = composed(name, names="keep", samples=samples, reference=reference)(call)

    def in_place(self: Tensor, diagonal: int = 0) -> Tensor:
        return self.copy_(call(self, diagonal))

    in_place.__doc__ = f"In-place form of `{name}`."
    attach(f"{name}_", in_place)
    return entered


tril = _triangle(
    "tril", True, np.tril,
    "Return the elements on and below a diagonal, 0 elsewhere.",
)  # fmt: skip
triu = _triangle(
    "triu", False, np.triu,
    "Return the elements on and above a diagonal, 0 elsewhere.",
)  # fmt: skip


@composed(
    "diag_embed",
    names="drop",
    samples=lambda make: [((make(2, 3),), {}), ((make(2), -1), {})],
)
def diag_embed(
    input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1
) -> Tensor:
    """Return zeros with the last dim of the input on a diagonal of two new dims."""
    ndim = input.ndim + 1
    first = layout.normalize_dim("diag_embed", dim1, ndim)
    second = layout.normalize_dim("diag_embed", dim2, ndim)
    if first == second:
        raise DimError(
            message(
                "diag_embed",
                f"dim1={dim1} and dim2={dim2}",
                "two dims",
                f"diagonal dimensions cannot be identical {dim1}, {dim2}.",
            )
        )
    size = input.shape[-1] + abs(offset)
    shape = list(input.shape[:-1])
    for d in sorted((first, second)):
        shape.insert(d, size)
    return embedded(
        input, tuple(shape), lambda full: diagonal(full, offset, first, second)
    )


@composed(
    "diag", names="drop", reference=lambda x, k=0: np.diag(x, k),
    samples=lambda make: [((make(3),), {}), ((make(3, 4), 1), {})],
)  # fmt: skip
def diag(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
    """Return the matrix with a vector on its diagonal, or the diagonal of a matrix.

    Raises: ShapeError, neither a vector nor a matrix.
    """
    if input.ndim not in (1, 2):
        raise ShapeError(
            message(
                "diag",
                f"a {input.ndim}-d tensor",
                "1-d or 2-d",
                f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D.",
            )
        )
    if input.ndim == 1:
        result = diag_embed(input, diagonal)
    else:
        result = clone(_diagonal(input, diagonal))
    return result if out is None else out.copy_(result)


_diagonal = diagonal


@composed(
    "diagflat", names="drop", reference=lambda x, k=0: np.diagflat(x, k),
    samples=lambda make: [((make(2, 2),), {})],
)  # fmt: skip
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """Return the matrix with all elements of the input on its diagonal."""
    return diag_embed(reshape(input, (-1,)), offset)


@composed(
    "trace", names="drop", reference=np.trace,
    samples=lambda make: [((make(3, 3),), {}), ((make(2, 3),), {})],
)  # fmt: skip
def trace(input: Tensor) -> Tensor:
    """Return the sum of the diagonal of a matrix."""
    if input.ndim != 2:
        raise ShapeError(
            message(
                "trace",
                f"a {input.ndim}-d tensor",
                "a matrix",
                "trace: expected a matrix.",
            )
        )
    return diagonal(input).sum()


@composed(
    "block_diag", method=False, names="drop",
    samples=lambda make: [((make(2, 1), make(1, 3)), {})],
)  # fmt: skip
def block_diag(*tensors: Tensor) -> Tensor:
    """Return the matrix with the given matrices along its diagonal, zeros elsewhere."""
    blocks = []
    for x in tensors:
        if x.ndim > 2:
            raise ShapeError(
                message(
                    "block_diag",
                    f"a {x.ndim}-d tensor",
                    "at most 2 dims",
                    "Input tensors must have 2 or fewer dimensions.",
                )
            )
        blocks.append(reshape(x, (1,) * (2 - x.ndim) + tuple(x.shape)))
    width = sum(x.shape[1] for x in blocks)
    rows, done = [], 0
    for x in blocks:
        height, size = x.shape
        after = x.new_zeros((height, width - done - size))
        rows.append(cat([x.new_zeros((height, done)), x, after], 1))
        done += size
    return cat(rows, 0)


@composed(
    "unfold",
    kind="view",
    names=lambda args: (*args["self"].names, None),
    samples=lambda make: [((make(5, 2), 0, 2, 1), {}), ((make(6), 0, 2, 3), {})],
)
def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Return a view of all windows of a dim, their elements as a new last dim.

    Raises: ShapeError, a window larger than the dim; a step below 1.

    >>> import numtensor as nt
    >>> nt.arange(5).unfold(0, 3, 2)
    tensor([[0, 1, 2],
            [2, 3, 4]])
    """
    d = layout.normalize_dim("unfold", dimension, self.ndim)
    total = self.shape[d] if self.ndim else 1
    if size > total or size < 0 or step < 1:
        raise ShapeError(
            message(
                "unfold",
                f"size={size} and step={step} for a dim of size {total}",
                "0 <= size <= the dim's, and a step above 0",
                f"maximum size for tensor at dimension {d} is {total} but size is "
                f"{size}.",
            )
        )
    shape, strides = list(self.shape), list(self.stride())
    if not shape:
        return self.as_strided((size,), (1,))
    shape[d] = (total - size) // step + 1
    strides.append(strides[d])
    strides[d] *= step
    return self.as_strided((*shape, size), tuple(strides))


def tensor_of(array: np.ndarray, device: Any) -> Tensor:
    """Return indices worked out on the host as a tensor on a device."""
    made = from_array(np.ascontiguousarray(array))
    return made if device.type == "cpu" else made.to(device)
