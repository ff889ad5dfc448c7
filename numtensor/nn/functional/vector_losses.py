"""Losses that compare a vector's elements, or whole vectors: margins and distances.

Made of public operators. Losses of corresponding elements are in `losses`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import dtypes
from ...devices import CPU
from ...errors import DimError, DTypeError, ShapeError, message
from ...ops import m
from ...ops.reductions import any as any_of
from ...ops.registry import function
from ...ops.selection import clamp_min, minimum, where
from ...ops.softmax import not_floating
from ...ops.views import reshape, unsqueeze
from ...tensor import Tensor
from ._sizes import SCALAR_TYPES, alike
from .dense import pairwise_distance
from .pointwise import declared, named_reduction, reduced, sample_classes


def _places(x: Tensor) -> Tensor:
    """Return the numbers of the last dim's elements."""
    return function("arange")(x.shape[-1], device=x.device)


def _refuse_outside(op: str, target: Tensor, lowest: int, n: int, fault: str) -> None:
    """Refuse classes out of range, in host memory; a device is not stopped to look."""
    if target._spec.device is not CPU or not target.numel():
        return
    if bool(any_of((target < lowest) | (target >= n))):
        got = f"classes from {int(target.min())} to {int(target.max())}"
        raise DimError(message(op, got, f"from {lowest} to {n - 1}", fault))


def _rows_and_classes(
    op: str, x: Tensor, target: Tensor, wide: bool
) -> tuple[Any, ...]:
    """Return input and target with a batch dim, after a look at their shapes."""
    if x.dtype.category != dtypes.FLOAT:
        raise not_floating(op, x._spec)
    if target.dtype is not dtypes.int64:
        fault = (
            f"expected scalar type Long but found {SCALAR_TYPES[target.dtype.name]}."
        )
        raise DTypeError(message(op, f"a target of {target.dtype}", "int64", fault))
    wanted = tuple(x.shape) if wide else tuple(x.shape[:-1])
    if x.ndim not in (1, 2) or tuple(target.shape) != wanted:
        fault = (
            f"inconsistent target size: {list(target.shape)} for input of size: "
            f"{list(x.shape)}."
            if wide
            else "target tensor should be 1-D with size equal to the number of input "
            f"samples (batch size). Expected target size {list(wanted)}, but got "
            f"{list(target.shape)}. Input has shape {list(x.shape)}."
        )
        raise ShapeError(
            message(
                op,
                f"a target of shape {list(target.shape)} for an input of "
                f"{list(x.shape)}",
                "(N, C) and " + ("(N, C)" if wide else "(N,)") + ", N may be missing",
                fault,
            )
        )
    if x.ndim == 1:
        return unsqueeze(x, 0), unsqueeze(target, 0)
    return x, target


@declared(
    "multi_margin_loss",
    lambda make: [
        ((make(3, 4), sample_classes(make, 3)), {}),
        ((make(3, 4), sample_classes(make, 3)), {"p": 2, "margin": 0.7}),
    ],
    names="drop",
)
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return by how much the class's score lacks a margin over each other score.

    sum(max(0, margin - x[target] + x[j])**p) / C over j other than target; `weight`
    scales classes. Shapes: (N, C) and (N,), or (C,) and ().
    Raises: ShapeError; DimError, no such class.
    """
    if size_average is not None or reduce is not None:
        reduction = named_reduction(size_average, reduce)
    op = "multi_margin_loss"
    if p not in (1, 2):
        fault = "only p == 1 and p == 2 supported."
        raise ShapeError(message(op, f"p={p}", "1 or 2", fault))
    x, classes = _rows_and_classes(op, input, target, False)
    n = x.shape[1]
    if weight is not None:
        alike(op, x, weight)
        shape = list(weight.shape)
        if shape != [n]:
            fault = f"inconsistent weight size, expected {n} but got {shape}."
            raise ShapeError(message(op, f"a weight of shape {shape}", f"[{n}]", fault))
    _refuse_outside(op, classes, 0, n, "target out of range.")
    hits = unsqueeze(classes, 1) == _places(x)
    own = where(hits, x, 0.0).sum(1, True)
    lack = clamp_min(margin - own + x, 0.0)
    if p == 2:
        lack = lack * lack
    if weight is not None:
        lack = lack * where(hits, weight, 0.0).sum(1, True)
    loss = where(hits, 0.0, lack).sum(1) / n
    if reduction == "none":
        return reshape(loss, tuple(target.shape))
    return reduced(op, loss, reduction)


@declared(
    "multilabel_margin_loss",
    lambda make: [((make(3, 4), sample_classes(make, 3, 4) - 1), {})],
    names="drop",
)
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return by how much the scores of a row's labels lack a margin over the others.

    A row of `target` holds the labels, as many as stand before its first -1.
    sum(max(0, 1 - x[label] + x[j])) / C over labels, and over j that are none.
    Shapes: (N, C) and (N, C), or (C,) and (C,). Raises: ShapeError; DimError.
    """
    if size_average is not None or reduce is not None:
        reduction = named_reduction(size_average, reduce)
    op = "multilabel_margin_loss"
    x, labels = _rows_and_classes(op, input, target, True)
    n = x.shape[1]
    _refuse_outside(op, labels, -1, n, "argument #2 'target' is out of range.")
    before = (labels < 0).to(dtypes.int64).cumsum(1) == 0
    hits = (unsqueeze(labels, 2) == _places(x)) & unsqueeze(before, 2)
    own = where(hits, unsqueeze(x, 1), 0.0).sum(2, True)
    lack = clamp_min(1.0 - own + unsqueeze(x, 1), 0.0)
    counts = unsqueeze(before, 2) & ~unsqueeze(any_of(hits, 1), 1)
    loss = where(counts, lack, 0.0).sum((1, 2)) / n
    if reduction == "none" and input.ndim == 1:
        return reshape(loss, ())
    return reduced(op, loss, reduction)


@declared(
    "cosine_embedding_loss",
    lambda make: [((make(3, 4), make(3, 4), m.sign(make(3))), {"margin": 0.2})],
    names="drop",
)
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return 1 - cosine where target is 1, max(0, cosine - margin) where it is -1.

    Shapes: (N, D), (N, D) and (N,), or (D,), (D,) and (). Raises: ShapeError.
    """
    if size_average is not None or reduce is not None:
        reduction = named_reduction(size_average, reduce)
    op = "cosine_embedding_loss"
    rank = target.ndim
    if rank > 1 or not input1.ndim == input2.ndim == rank + 1:
        sizes = f"{list(input1.shape)} and {list(input2.shape)}"
        fault = (
            f"{rank}D target tensor expects {rank + 1}D input tensors, but found "
            f"inputs with sizes {sizes}."
            if rank <= 1
            else "0D or 1D target tensor expected, multi-target not supported."
        )
        got = f"inputs of {sizes}, a target of {list(target.shape)}"
        raise ShapeError(message(op, got, "(N, D), (N, D) and (N,)", fault))
    lengths = ((input1 * input1).sum(-1) + 1e-12) * ((input2 * input2).sum(-1) + 1e-12)
    cosine = (input1 * input2).sum(-1) / lengths.sqrt()
    apart = clamp_min(cosine - margin, 0.0)
    loss = where(target == 1, 1 - cosine, where(target == -1, apart, 0.0))
    return reduced(op, loss, reduction)


def check_margin(op: str, margin: float) -> None:
    """Refuse a margin that is not positive. Raises: ShapeError."""
    if margin <= 0:
        fault = f"margin must be greater than 0, got {margin}."
        raise ShapeError(message(op, f"margin={margin}", "a positive number", fault))


def _three(make: Callable[..., Tensor]) -> list[Any]:
    return [
        ((make(3, 4), make(3, 4), make(3, 4)), {}),
        ((make(3, 4), make(3, 4), make(3, 4)), {"swap": True, "margin": 3.0}),
    ]


@declared("triplet_margin_loss", _three, names="drop")
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return by how much the anchor is not nearer to positive than to negative.

    max(0, d(anchor, positive) - d(anchor, negative) + margin), d the p-norm of the
    difference plus `eps`. With `swap` the negative's distance is the smaller of those
    to anchor and positive. Source: Balntas, Riba, Ponsa, Mikolajczyk (2016), Learning
    local feature descriptors with triplets. Raises: ShapeError.
    """
    if size_average is not None or reduce is not None:
        reduction = named_reduction(size_average, reduce)

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return pairwise_distance(a, b, p, eps)

    op = "triplet_margin_loss"
    return _triplet(op, anchor, positive, negative, distance, margin, swap, reduction)


@declared("triplet_margin_with_distance_loss", _three, names="drop")
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Return `triplet_margin_loss` by another distance. Raises: ShapeError."""
    op = "triplet_margin_with_distance_loss"
    distance = distance_function or pairwise_distance
    return _triplet(op, anchor, positive, negative, distance, margin, swap, reduction)


def _triplet(
    op: str,
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    distance: Callable[[Tensor, Tensor], Tensor],
    margin: float,
    swap: bool,
    reduction: str,
) -> Tensor:
    check_margin(op, margin)
    ranks = [t.ndim for t in (anchor, positive, negative)]
    if len(set(ranks)) > 1:
        raise ShapeError(
            message(
                op,
                f"tensors of {ranks[0]}, {ranks[1]} and {ranks[2]} dims",
                "one number of dims",
                "The anchor, positive, and negative tensors are expected to have the "
                f"same number of dimensions, but got: anchor {ranks[0]}D, positive "
                f"{ranks[1]}D, and negative {ranks[2]}D inputs.",
            )
        )
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    return reduced(op, clamp_min(margin + near - far, 0.0), reduction)
