"""Several views of one tensor: unbind, split, chunk."""

from __future__ import annotations

from typing import Any

from .. import layout
from ..elementwise import Plan
from ..errors import ShapeError, message
from ..memory import empty, view_as
from ..memory import view as make_view
from ..names import rules
from ..spec import Spec, contiguous_spec, spec
from ..tape import MultiNode, edge, grad_mode
from ..tensor import Tensor
from .copies import copy_plan, zero_
from .declare import composed
from .views import parts


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
    names=rules.remove,
)
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Return a view per index of a dim, without that dim."""
    found = input._spec
    known = found.extra.get(("unbind", dim))
    if known is None:
        shape, strides, _ = parts(input)
        d = layout.normalize_dim("unbind", dim, len(shape))
        rest = spec(
            found.dtype,
            shape[:d] + shape[d + 1 :],
            strides[:d] + strides[d + 1 :],
            found.device,
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
    known = part.extra.get(("stacked", dim, len(grads)))
    if known is None:
        shape = tuple(part.shape)
        whole = contiguous_spec(
            part.dtype, (*shape[:dim], len(grads), *shape[dim:]), part.device
        )
        rest = whole.strides[:dim] + whole.strides[dim + 1 :]
        place = spec(part.dtype, shape, rest, part.device)
        plans: dict[Spec, Plan] = {}
        known = (whole, place, whole.strides[dim] * whole.itemsize, plans)
        part.extra["stacked", dim, len(grads)] = known
    whole, place, step, plans = known
    made = empty(whole)
    pointer = made._pointer
    for g in grads:
        if g is None:
            zero_(view_as(made, place, pointer - made._pointer))
        else:
            plan = plans.get(g._spec)
            if plan is None:
                plan = plans[g._spec] = copy_plan(g._spec, place)
            plan.run(plan.kernel, plan.n, pointer, g._pointer, plan.table)
        pointer += step
    return made


@composed(
    "split",
    kind="view",
    samples=lambda make: [((make(5, 2), 2), {}), ((make(5, 2), [1, 4]), {})],
    names="keep",
)
def split(
    tensor: Tensor, split_size_or_sections: Any, dim: int = 0
) -> tuple[Tensor, ...]:
    """Return views of pieces of a dim: of one size (the last may be smaller), or of
    the sizes in a list. Raises: ShapeError, sizes that do not add up."""
    shape, strides, _ = parts(tensor)
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
                    "split expects split_size be non-negative, but got "
                    f"split_size={size}.",
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


@composed(
    "chunk", kind="view", samples=lambda make: [((make(5, 2), 2), {})], names="keep"
)
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
