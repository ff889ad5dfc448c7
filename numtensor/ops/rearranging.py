"""Elements in other places: flip, roll, repeat, and windows of a dim.

Copies, unlike `views`. All but `flip` are made of views and copies of whole blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import launch, layout
from ..devices import Twin
from ..dtypes import int32, int64
from ..errors import DimError, DTypeError, ShapeError, message
from ..indexing import as_int
from ..kernels.by_hand.flip import flipped
from ..memory import empty, from_array
from ..places import CARRIERS
from ..spec import Spec, contiguous_spec
from ..tape import FunctionNode, edge, grad_mode
from ..tensor import Tensor
from ..transfer import held
from .copies import clone, contiguous_format
from .declare import composed
from .joining import cat
from .registry import function
from .views import expand, narrow, reshape, transpose, unsqueeze


def _counts(op: str, given: tuple[Any, ...]) -> tuple[int, ...]:
    """Accept f(1, 2) and f((1, 2)). Raises: DTypeError, nothing, or no integers."""
    if not given:
        raise DTypeError(
            message(
                op, "no argument", "integers", f"{op}() missing 1 required argument."
            )
        )
    if len(given) == 1 and isinstance(given[0], (tuple, list)):
        given = tuple(given[0])
    return tuple(as_int(op, n) for n in given)


def _flip_plan(found: Spec, dims: tuple[int, ...]) -> tuple[Spec, Any]:
    """Return the result's spec and the call."""
    shape = tuple(found.shape)
    steps = tuple(-s if d in dims else s for d, s in enumerate(found.strides))
    first = sum((shape[d] - 1) * found.strides[d] for d in dims)
    out = contiguous_spec(found.dtype, shape, found.device)
    rank = len(shape)
    length, step = 1, 1
    if found.device.type == "cpu" and rank:  # on a GPU, neighbours in a row are threads
        rank -= 1
        length, step = shape[-1], steps[-1]
    numbers = [first, length, step]
    for d in reversed(range(rank)):
        numbers += [shape[d], steps[d]]
    rows = layout.numel(shape[:rank])
    kernel = flipped(CARRIERS[found.itemsize], rank)
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
    found = input._spec
    if len(dims) == 1 and isinstance(dims[0], list):
        dims = (tuple(dims[0]),)
    plan = found.extra.get(("flip", dims))
    if plan is None:
        chosen = layout.normalize_dims("flip", _counts("flip", dims), found.ndim)
        if not found.numel or not found.ndim:
            return clone(input)
        plan = found.extra["flip", dims] = _flip_plan(found, chosen)
    out, call = plan
    made = empty(out)
    call.run(call.kernel, call.n, made._pointer, input._pointer, call.table)
    if grad_mode.enabled and input.requires_grad:
        made._node = FunctionNode(
            "FlipBackward0", (edge(input),), lambda g: (flip(g, *dims),)
        )
        made._requires_grad = True
    return made


def _ranked(op: str, input: Tensor, least: int) -> None:
    if input.ndim < least:
        raise ShapeError(
            message(
                op,
                f"a {input.ndim}-d tensor",
                f"at least {least} dim{'s' * (least > 1)}",
                f"Input must be >= {least}-d.",
            )
        )


@composed(
    "fliplr", method=True, names="keep", samples=lambda make: [((make(2, 3),), {})],
    reference=np.fliplr,
)  # fmt: skip
def fliplr(input: Tensor) -> Tensor:
    """Return a copy with its columns in reverse order."""
    _ranked("fliplr", input, 2)
    return flip(input, (1,))


@composed(
    "flipud", names="keep", samples=lambda make: [((make(2, 3),), {})],
    reference=np.flipud,
)  # fmt: skip
def flipud(input: Tensor) -> Tensor:
    """Return a copy with its rows in reverse order."""
    _ranked("flipud", input, 1)
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
    fault = ""
    if len(dims) != 2:
        fault = f"expected total rotation dims == 2, but got dims = {len(dims)}."
    elif input.ndim < 2:
        fault = f"expected total dims >= 2, but got total dims = {input.ndim}."
    else:
        a, b = (layout.normalize_dim("rot90", d, input.ndim) for d in dims)
        if a == b:
            fault = (
                "expected rotation dims to be different, but got dim0 = "
                f"{dims[0]} and dim1 = {dims[1]}."
            )
    if fault:
        got = f"dims {tuple(dims)} of a {input.ndim}-d tensor"
        raise ShapeError(message("rot90", got, "two different dims", fault))
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
    steps = (shifts,) if isinstance(shifts, int) else _counts("roll", (shifts,))
    if not steps:
        raise ShapeError(
            message("roll", "no shifts", "one or more", "`shifts` required.")
        )
    if len(steps) == 1 and (dims is None or dims == ()):
        return reshape(roll(reshape(input, (-1,)), steps, (0,)), input.shape)
    along = (dims,) if isinstance(dims, int) else tuple(dims or ())
    if len(along) != len(steps):
        raise ShapeError(
            message(
                "roll",
                f"{len(steps)} shifts and {len(along)} dims",
                "one shift, or as many dims as shifts",
                f"shifts and dimensions must align. shifts: {len(steps)}, "
                f"dims:{len(along)}.",
            )
        )
    if not input.ndim:
        raise DimError(
            message(
                "roll",
                f"dim {along[0]} of a 0-d tensor",
                "no dims",
                f"Dimension specified as {along[0]} but tensor has no dimensions.",
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


def _repeat_names(args: dict[str, Any]) -> Any:
    given = _counts("repeat", args["sizes"])
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
    counts = _counts("repeat", sizes)
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
    given = _counts("tile", args["dims"])
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
    counts = _counts("tile", dims)
    return repeat(input, (1,) * (input.ndim - len(counts)) + counts)


def _repeats_fault(got: str, do: str) -> ShapeError:
    return ShapeError(
        message("repeat_interleave", got, "one count of 0 or more for each index", do)
    )


def _check_counts(repeats: Tensor) -> None:
    if repeats.dtype not in (int32, int64):
        raise DTypeError(
            message(
                "repeat_interleave",
                f"repeats of {repeats.dtype}",
                "torch.int64 or torch.int32",
                "Cast them with repeats.long().",
            )
        )


def _spread(repeats: Tensor, size: int, output_size: int | None) -> Tensor:
    """Return each of `size` indices as often as `repeats` says."""
    _check_counts(repeats)
    counts = repeats.numpy(force=True)
    if size and counts.min() < 0:
        raise _repeats_fault(
            f"a count of {counts.min()}", "repeats can not be negative."
        )
    places = np.repeat(np.arange(size), counts)
    if output_size not in (None, len(places)):
        raise _repeats_fault(
            f"output_size={output_size} for {len(places)} indices",
            "allocated size does not match required size.",
        )
    return tensor_of(places, repeats.device)


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
    indices. `output_size` is how long the dim becomes, if that is known. Raises:
    ShapeError, repeats that do not fit or are negative; DTypeError, no integers.
    """
    if repeats is None:
        if input.ndim != 1:
            raise _repeats_fault(
                f"repeats of {input.ndim} dims",
                "repeat_interleave only accept 1D vector as repeat.",
            )
        places = _spread(input, input.shape[0], output_size)
        return places.to(input.dtype)
    if dim is None:
        input, dim = reshape(input, (-1,)), 0
    d = layout.normalize_dim("repeat_interleave", dim, input.ndim)
    if not input.ndim:
        input = unsqueeze(input, 0)
    size = input.shape[d]
    if isinstance(repeats, (list, tuple)):
        repeats = function("tensor")(repeats, dtype=int64)
    if isinstance(repeats, Tensor) and repeats.numel() != 1:
        if repeats.ndim != 1:
            raise _repeats_fault(
                f"repeats of {repeats.ndim} dims",
                "repeats must be 0-dim or 1-dim tensor.",
            )
        if repeats.shape[0] != size:
            raise _repeats_fault(
                f"{repeats.shape[0]} repeats for a dim of size {size}",
                "repeats must have the same size as input along dim, but got "
                f"repeats.size(0) = {repeats.shape[0]} and input.size({d}) = {size}.",
            )
        chosen = _spread(repeats, size, output_size).to(input.device)
        return function("index_select")(input, d, chosen)
    if isinstance(repeats, Tensor):
        _check_counts(repeats)
    repeats = as_int("repeat_interleave", repeats)
    if repeats < 0:
        raise _repeats_fault(
            f"repeats={repeats}",
            "repeats can not be negative. Repeats must be non-negative.",
        )
    if output_size not in (None, size * repeats):
        raise _repeats_fault(
            f"output_size={output_size}",
            "repeat_interleave: Invalid output_size, expected "
            f"{size * repeats} but got {output_size}.",
        )
    shape = list(input.shape)
    shape.insert(d + 1, repeats)
    spread = clone(
        expand(unsqueeze(input, d + 1), tuple(shape)), memory_format=contiguous_format
    )
    shape[d : d + 2] = [size * repeats]
    return reshape(spread, tuple(shape))


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
                f"step is {step} but must be > 0."
                if step < 1
                else f"size is {size} but must be >= 0."
                if size < 0
                else f"maximum size for tensor at dimension {d} is {total} but size "
                f"is {size}.",
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
    if type(device) is Twin:
        return held(array, device)
    made = from_array(np.ascontiguousarray(array))
    return made if device.type == "cpu" else made.to(device)
