"""Joining tensors: cat and stack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import dtypes, layout
from ..errors import ShapeError, message, mixed_devices
from ..memory import empty
from ..names import rules, whole
from ..spec import contiguous_spec
from ..tape import FunctionNode, edge, grad_mode
from ..tensor import Tensor
from .copies import copy_into
from .declare import composed
from .pairs import into
from .views import narrow, unsqueeze


def _tensors(op: str, tensors: Any) -> list[Tensor]:
    found = list(tensors) if isinstance(tensors, (tuple, list)) else None
    if found is None or not all(isinstance(x, Tensor) for x in found):
        raise TypeError(
            message(
                op,
                f"{type(tensors).__name__}",
                "a tuple or list of Tensors",
                f"{op}(): argument 'tensors' must be tuple of Tensors.",
            )
        )
    if not found:
        raise ShapeError(
            message(
                op,
                "no tensors",
                "at least one",
                f"torch.{op}(): expected a non-empty list of Tensors.",
            )
        )
    return found


@composed(
    "cat",
    method=False,
    aliases=("concat", "concatenate"),
    samples=lambda make: [
        (([make(2, 3), make(1, 3)],), {}),
        (([make(2, 3), make(2, 2)], 1), {}),
    ],
    names=rules.cat,
)
def cat(
    tensors: Sequence[Tensor],
    dim: int = 0,
    *,
    axis: int | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Return the tensors joined along a dim that exists.

    Shapes must agree in all other dims; dtypes are promoted. Raises: ShapeError.

    >>> import numtensor as nt
    >>> nt.cat([nt.ones(2), nt.zeros(1)])
    tensor([1., 1., 0.])
    """
    found = _tensors("cat", tensors)
    # a 1-d tensor without elements may join anything, as in PyTorch
    full = [x for x in found if x._spec.shape != (0,)] or found[:1]
    first = full[0]
    d = layout.normalize_dim("cat", dim if axis is None else axis, first.ndim)
    if first.ndim == 0:
        raise ShapeError(
            message(
                "cat",
                "a 0-d tensor",
                "at least one dim",
                "zero-dimensional tensor (at position 0) cannot be concatenated. Use "
                "stack.",
            )
        )
    shape = list(first.shape)
    total = 0
    for number, x in enumerate(full):
        other = list(x.shape)
        same = len(other) == len(shape) and all(
            a == b for k, (a, b) in enumerate(zip(shape, other, strict=True)) if k != d
        )
        if not same:
            raise ShapeError(
                message(
                    "cat",
                    f"shapes {shape} and {other} at position {number}",
                    f"equal sizes except in dim {d}",
                    "Sizes of tensors must match except in dimension "
                    f"{d}. Reshape or pad one of them.",
                )
            )
        total += other[d]
    shape[d] = total
    kind, on = found[0].dtype, found[0].device
    for x in found[1:]:
        kind = dtypes.promote_types(kind, x.dtype)
        if x.device is not on:
            raise mixed_devices("cat", on, x.device)
    made = empty(contiguous_spec(kind, tuple(shape), on))
    start = 0
    starts: list[int] = []
    with_grad = (
        grad_mode.enabled
        and kind.category == dtypes.FLOAT
        and any(x.requires_grad for x in full)
    )
    was = grad_mode.enabled
    grad_mode.enabled = False
    try:
        for x in full:
            size = x.shape[d]
            if x._spec.numel:
                copy_into(x, narrow(made, d, start, size), "")
            starts.append(start)
            start += size
    finally:
        grad_mode.enabled = was
    if with_grad:
        sizes = [(x.shape[d], x.dtype) for x in full]

        def back(g: Tensor) -> list[Tensor]:
            parts = []
            for (size, own), begin in zip(sizes, starts, strict=True):
                part = narrow(g, d, begin, size)
                parts.append(part if part.dtype is own else part.to(own))
            return parts

        made._node = FunctionNode("CatBackward0", tuple(edge(x) for x in full), back)
        made._requires_grad = True
    return into("cat", out, made)


@composed(
    "stack",
    method=False,
    samples=lambda make: [
        (([make(2, 3), make(2, 3)],), {}),
        (([make(2), make(2)], 1), {}),
    ],
    names=whole.stack,
)
def stack(
    tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None
) -> Tensor:
    """Return the tensors, all of one shape, joined along a new dim.

    Raises: ShapeError, shapes that differ.
    """
    found = _tensors("stack", tensors)
    first = found[0].shape
    for number, x in enumerate(found):
        if x.shape != first:
            raise ShapeError(
                message(
                    "stack",
                    f"shapes {list(first)} at entry 0 and {list(x.shape)} at entry "
                    f"{number}",
                    "equal shapes",
                    "stack expects each tensor to be equal size. Use cat to join "
                    "tensors of different sizes.",
                )
            )
    d = layout.normalize_dim("stack", dim, len(first) + 1)
    return cat([unsqueeze(x, d) for x in found], d, out=out)
