"""Tensors with something around them: a constant, or more of themselves.

A constant is stored around a copy; the other modes pick elements by their places along
one dim after the other. Negative padding crops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...errors import ShapeError, message
from ...indexing import as_int
from ...memory import empty, view
from ...ops.copies import copy_, fill_
from ...ops.declare import composed
from ...ops.rearranging import tensor_of
from ...ops.registry import function
from ...spec import contiguous_spec
from ...tape import FunctionNode, edge, grad_mode, no_grad
from ...tensor import Tensor

_COMBINATIONS = (
    "Supported combinations for non-constant padding: 2D or 3D input: padding size = 2 "
    "(pads last dimension), 3D or 4D input: padding size = 4 (pads last 2 dimensions), "
    "4D or 5D input: padding size = 6 (pads last 3 dimensions)."
)


@composed(
    "pad",
    samples=lambda make: [
        ((make(2, 3), (1, 2)), {}),
        ((make(2, 3), (1, -1, -1, 2)), {"value": 2.0}),
        ((make(1, 2, 3), (2, 1)), {"mode": "reflect"}),
        ((make(2, 2, 3), (1, 2, 0, 1)), {"mode": "replicate"}),
        ((make(1, 2, 3), (1, 2)), {"mode": "circular"}),
    ],
    names="keep",
    room="nn.functional",
)
def pad(
    input: Tensor,
    pad: Sequence[int],
    mode: str = "constant",
    value: float | None = None,
) -> Tensor:
    """Return the tensor with elements added before and after the last dims.

    `pad` is (before, after) of the last dim, then of the one before it, and so on;
    negative numbers crop. Modes: "constant" (`value`, 0 unless given), "reflect" (the
    edge is not repeated), "replicate" (the edge is), "circular".

    Raises: ShapeError, sizes that do not fit, or a value for another mode;
    NotImplementedError, an unknown mode, or dims that a mode is not there for.

    >>> import numtensor as nt
    >>> nt.nn.functional.pad(nt.tensor([[1.0, 2.0, 3.0]]), (2, 1), mode="reflect")
    tensor([[3., 2., 1., 2., 3., 2.]])
    """
    sizes = [as_int("pad", n) for n in pad]
    _check_length(input, sizes)
    around = [(sizes[k], sizes[k + 1]) for k in range(0, len(sizes), 2)]
    for k, (before, after) in enumerate(around):
        _check_size(input, input.ndim - 1 - k, before, after, mode == "constant")
    if mode == "constant":
        return _constant(input, around, 0.0 if value is None else value)
    places = _PLACES.get(mode)
    if places is None:
        raise NotImplementedError(
            message(
                "pad",
                f"mode {mode!r}",
                "constant, reflect, replicate or circular",
                f"Unrecognised padding mode {mode}.",
            )
        )
    if value is not None and value != 0:
        raise ShapeError(
            message(
                "pad",
                f"value={value} with mode {mode!r}",
                "a value with mode 'constant' only",
                f'Padding mode "{mode}" doesn\'t take in value argument.',
            )
        )
    if not 1 <= len(around) <= 3 or input.ndim - len(around) not in (1, 2):
        raise NotImplementedError(
            message(
                "pad",
                f"{len(sizes)} sizes for a {input.ndim}-d tensor and mode {mode!r}",
                "one or two dims before those that are padded",
                f"Padding size {len(sizes)} is not supported for {input.ndim}D input "
                f"tensor. {_COMBINATIONS}",
            )
        )
    picked = []
    for k, (before, after) in enumerate(around):
        dim = input.ndim - 1 - k
        found = places(input.shape[dim], before, after)
        if found is None:
            raise _too_much(mode, input, dim, before, after)
        picked.append((dim, found))
    result = input
    for (dim, found), sides in zip(picked, around, strict=True):
        if sides != (0, 0):
            index = tensor_of(found, input.device)
            result = function("index_select")(result, dim, index)
    return result.clone() if result is input else result


def _check_length(input: Tensor, sizes: list[int]) -> None:
    if len(sizes) % 2:
        raise ShapeError(
            message(
                "pad",
                f"{len(sizes)} sizes",
                "two for each dim",
                "Padding length must be divisible by 2.",
            )
        )
    if len(sizes) > 2 * input.ndim:
        raise ShapeError(
            message(
                "pad",
                f"{len(sizes)} sizes",
                f"at most {2 * input.ndim}",
                "Padding length should be less than or equal to two times the input "
                f"dimension but got padding length {len(sizes)} and input of dimension "
                f"{input.ndim}.",
            )
        )


def _check_size(
    input: Tensor, dim: int, before: int, after: int, constant: bool
) -> None:
    size = input.shape[dim]
    result = size + before + after
    if (
        not 0 <= result < 2**63
        or min(before, after) < -size
        or (result and not size and not constant)
    ):
        raise ShapeError(
            message(
                "pad",
                f"padding ({before}, {after}) for the size {size}",
                "elements to pad with, and no more cropped than there are",
                f"The input size {size}, plus padding {before} and {after}, resulted "
                "in a negative output size or has nothing to pad with. Check dimension "
                f"{dim} of your input.",
            )
        )


def _constant(input: Tensor, around: list[tuple[int, int]], value: float) -> Tensor:
    """Return the tensor inside a constant; its way back is the opposite padding."""
    ndim = input.ndim
    shape = list(input.shape)
    inner = list(input.shape)  # of the part that is copied
    source = 0
    made_at = [0] * ndim
    for k, (before, after) in enumerate(around):
        dim = ndim - 1 - k
        size = shape[dim]
        shape[dim] = size + before + after
        source += max(0, -before) * input.stride(dim)
        made_at[dim] = max(0, before)
        inner[dim] = size + min(before, 0) + min(after, 0)
    made = empty(contiguous_spec(input.dtype, tuple(shape), input.device))
    with no_grad():
        if made.numel():
            fill_(made, value)
        if all(n > 0 for n in inner):
            target = sum(a * s for a, s in zip(made_at, made.stride(), strict=True))
            part = view(made, tuple(inner), made.stride(), target)
            plain = input.detach()
            copy_(part, view(plain, tuple(inner), plain.stride(), source))
    if grad_mode.enabled and input.requires_grad and made.is_floating_point():
        opposite = [-n for sides in around for n in sides]
        made._node = FunctionNode(
            "ConstantPadNdBackward0",
            (edge(input),),
            lambda g: (_pad(g, opposite),),
        )
        made._requires_grad = True
    return made


#: by another name: an argument of the function hides its own
_pad = pad


def _reflected(size: int, before: int, after: int) -> np.ndarray | None:
    if before >= size or after >= size:
        return None
    places = np.abs(np.arange(-before, size + after))
    return np.where(places < size, places, 2 * (size - 1) - places)


def _replicated(size: int, before: int, after: int) -> np.ndarray | None:
    return np.arange(-before, size + after).clip(0, max(size - 1, 0))


def _wrapped(size: int, before: int, after: int) -> np.ndarray | None:
    if before > size or after > size:
        return None
    # what is cropped is gone before the ring is closed
    start = max(0, -before)
    kept = size - start - max(0, -after)
    if kept == 0 and max(before, after) > 0:
        return None
    places = np.arange(-max(0, before), kept + max(0, after))
    return start + places % max(kept, 1)


#: which element of a dim stands where, None if there are too few
_PLACES: dict[str, Callable[[int, int, int], np.ndarray | None]] = {
    "reflect": _reflected,
    "replicate": _replicated,
    "circular": _wrapped,
}


def _too_much(
    mode: str, input: Tensor, dim: int, before: int, after: int
) -> ShapeError:
    if mode == "circular":
        do = "Padding value causes wrapping around more than once."
    else:
        do = (
            "Padding size should be less than the corresponding input dimension, but "
            f"got: padding ({before}, {after}) at dimension {dim} of input "
            f"{list(input.shape)}."
        )
    size = input.shape[dim]
    less = "at most" if mode == "circular" else "less than"
    return ShapeError(
        message("pad", f"padding ({before}, {after})", f"{less} the size {size}", do)
    )
