"""Linear and bilinear maps, embeddings, and distances between vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import DTypeError, ShapeError, message
from ...memory import empty
from ...ops.declare import composed
from ...ops.registry import function
from ...tape import FunctionNode, edge, grad_mode, no_grad
from ...tensor import Tensor
from . import _linear
from ._linear import plans as _plans
from ._linear import record as _record
from ._sizes import alike


def _last(args: dict[str, Any]) -> Any:
    """Return the names of a result whose last dim is a new one."""
    return (*args["input"].names[:-1], None)


@composed(
    "linear",
    reference=lambda x, w, b: x @ w.T + b,
    samples=lambda make: [
        ((make(2, 3), make(4, 3), make(4)), {}),
        ((make(3), make(4, 3), make(4)), {}),
        ((make(2, 2, 3), make(4, 3), make(4)), {}),
    ],
    names=_last,
    room="nn.functional",
)
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return input @ weight.T + bias.

    Shapes: (*, n), (m, n), (m) -> (*, m). Raises: ShapeError, DTypeError.

    >>> import numtensor as nt
    >>> nt.nn.functional.linear(nt.ones(2, 3), nt.ones(1, 3), nt.ones(1))
    tensor([[4.],
            [4.]])
    """
    try:
        if bias is None:
            plan = _plans[input._spec, weight._spec, None]
        else:
            plan = _plans[input._spec, weight._spec, bias._spec]
    except (KeyError, AttributeError):
        found = _linear.find(input, weight, bias)
        if found is None:
            product = function("matmul")(input, weight.t())
            return product if bias is None else product + bias
        plan = found
    call = plan.call
    if call is None:
        made = plan.forward(input, weight, bias)
    else:
        made = empty(plan.out)
        if bias is None:
            call.run(
                call.kernel, call.n, made._pointer, input._pointer, weight._pointer,
                call.table,
            )  # fmt: skip
        else:
            call.run(
                call.kernel, call.n, made._pointer, input._pointer, weight._pointer,
                bias._pointer, call.table,
            )  # fmt: skip
    if grad_mode.enabled:
        _record(plan, made, input, weight, bias)
    return made


@composed(
    "bilinear",
    reference=lambda a, b, w, c: np.einsum("ni,kij,nj->nk", a, w, b) + c,
    samples=lambda make: [
        ((make(2, 3), make(2, 2), make(2, 3, 2), make(2)), {}),
    ],
    names=lambda args: (*args["input1"].names[:-1], None),
    room="nn.functional",
)
def bilinear(
    input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Return input1[i] * weight[k, i, j] * input2[j] summed over i and j, plus bias[k].

    Shapes: (*, i), (*, j), (k, i, j), (k) -> (*, k).
    Raises: ShapeError, sizes that do not meet; DTypeError, DeviceError.
    """
    for other in (input2, weight) if bias is None else (input2, weight, bias):
        alike("bilinear", input1, other)
    if (
        weight.ndim != 3
        or not (input1.ndim and input2.ndim)
        or input1.shape[:-1] != input2.shape[:-1]
        or (input1.shape[-1], input2.shape[-1]) != tuple(weight.shape[1:])
        or (bias is not None and tuple(bias.shape) != (weight.shape[0],))
    ):
        shapes = [tuple(t.shape) for t in (input1, input2, weight)]
        raise ShapeError(
            message(
                "bilinear",
                f"shapes {shapes[0]}, {shapes[1]} and weight {shapes[2]}"
                f"{'' if bias is None else f', bias {tuple(bias.shape)}'}",
                "(*, i), (*, j), (k, i, j) and (k)",
                "bilinear(): input batch dimensions do not match, or a size of the "
                "weight does not.",
            )
        )
    k, i, j = weight.shape
    batch = input1.shape[:-1]
    n = batch.numel()
    # (n, i) @ (i, k * j) -> (n, k, j), then the inner product with every row of input2
    turned = weight.permute(1, 0, 2).reshape(i, k * j)
    joined = (input1.reshape(n, i) @ turned).reshape(n, k, j)
    result = (joined * input2.reshape(n, 1, j)).sum(2)
    if bias is not None:
        result = result + bias
    return result.reshape(*batch, k)


def _embedding_samples(make: Any) -> Any:
    weight = make(4, 3)
    index = weight.new_tensor([[0.0, 2.0], [2.0, 3.0]]).long()
    return [((index, weight), {})]


@composed(
    "embedding", samples=_embedding_samples, names="drop", room="nn.functional",
)  # fmt: skip
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Return the rows of `weight` at the indices in `input`.

    The row at `padding_idx` gets no gradient. With `scale_grad_by_freq`, gradients are
    divided by how often a row is used in the call. With `max_norm`, rows that are used
    and longer (in the norm `norm_type`) are shortened first, in place.

    Shapes: (*), (n, d) -> (*, d). Dtypes: int64 or int32 indices.
    Raises: IndexError, an index outside of the table; DTypeError; ShapeError;
    NotImplementedError, `sparse=True`.

    >>> import numtensor as nt
    >>> table = nt.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]])
    >>> nt.nn.functional.embedding(nt.tensor([2, 1, 2]), table)
    tensor([[3., 4.],
            [1., 2.],
            [3., 4.]])
    """
    if input.dtype.name not in ("int64", "int32"):
        raise DTypeError(
            message(
                "embedding",
                f"indices of {input.dtype}",
                "int64 or int32",
                "Expected tensor for argument #1 'indices' to have one of the "
                f"following scalar types: Long, Int; but got {input.type()} instead.",
            )
        )
    if weight.ndim != 2:
        raise ShapeError(
            message(
                "embedding",
                f"a weight {tuple(weight.shape)}",
                "(rows, size)",
                "'weight' must be 2-D.",
            )
        )
    rows, size = weight.shape
    check_table("embedding", rows, padding_idx, sparse)
    padding = None if padding_idx is None else padding_idx % rows
    flat = input.reshape(-1).long()
    if max_norm is not None:
        with no_grad():
            _shorten(weight, flat, max_norm, norm_type)
    return _rows(weight, flat, padding, scale_grad_by_freq).reshape(*input.shape, size)


def _rows(weight: Tensor, flat: Tensor, padding: int | None, by_freq: bool) -> Tensor:
    """Return the rows of a table at indices in one dim, with the gradients of
    `embedding`."""
    with no_grad():
        made: Tensor = function("index_select")(weight, 0, flat)
    if not (grad_mode.enabled and weight.requires_grad):
        return made
    shape, kind = weight.shape, weight.dtype
    scale = None
    if padding is not None:
        scale = (flat != padding).to(kind)
    if by_freq:
        ones = made.new_ones(flat.shape)
        often = function("index_add")(made.new_zeros(shape[0]), 0, flat, ones)
        often = function("index_select")(often, 0, flat)
        scale = often.reciprocal() if scale is None else scale / often

    def back(g: Tensor) -> tuple[Tensor]:
        if scale is not None:
            g = g * scale.unsqueeze(1)
        return (function("index_add")(g.new_zeros(shape), 0, flat, g),)

    made._node = FunctionNode("EmbeddingBackward0", (edge(weight),), back)
    made._requires_grad = True
    return made


def _shorten(weight: Tensor, flat: Tensor, max_norm: float, norm_type: float) -> None:
    """Shorten the rows that are used and longer than `max_norm`, in place."""
    lengths = function("norm")(weight, norm_type, 1)
    ones = weight.new_ones(flat.shape)
    used = function("index_add")(weight.new_zeros(weight.shape[0]), 0, flat, ones) > 0
    factor = max_norm / (lengths + 1e-7)
    factor = function("where")(used & (lengths > max_norm), factor, 1.0)
    weight.mul_(factor.unsqueeze(1))


def check_table(op: str, rows: int, padding_idx: int | None, sparse: bool) -> None:
    """Check the options of an embedding of so many rows.

    Raises: NotImplementedError, AssertionError.
    """
    if sparse:
        raise NotImplementedError(
            message(op, "sparse=True", "False", "There are no sparse tensors.")
        )
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise AssertionError(
            message(
                op,
                f"padding_idx={padding_idx}",
                f"one from {-rows} to {rows - 1}",
                "Padding_idx must be within num_embeddings.",
            )
        )


def _without_last(args: dict[str, Any]) -> Any:
    names = args["x1"].names
    return names if args.get("keepdim") else names[:-1]


@composed(
    "pairwise_distance",
    reference=lambda a, b: np.linalg.norm(a - b + 1e-6, axis=-1),
    samples=lambda make: [((make(2, 3), make(2, 3)), {})],
    names=_without_last,
    room="nn.functional",
)
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """Return the p-norm of x1 - x2 + eps along the last dim.

    Shapes: (*, n), (*, n) -> (*), or (*, 1) with `keepdim`; both broadcast.

    >>> import numtensor as nt
    >>> nt.nn.functional.pairwise_distance(nt.zeros(1, 2), nt.tensor([[3.0, 4.0]]))
    tensor([5.0000])
    """
    found: Tensor = function("vector_norm")(x1 - x2 + eps, p, -1, keepdim)
    return found


@composed(
    "cosine_similarity",
    samples=lambda make: [
        ((make(2, 3), make(2, 3)), {}),
        ((make(2, 3), make(2, 1)), {"dim": 0}),
    ],
    names="reduce",
    room="nn.functional",
)
def cosine_similarity(
    x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8
) -> Tensor:
    """Return the cosine of the angle between vectors along a dim.

    Each length counts as `eps` at least. Both broadcast. Dtypes: floats.
    Raises: DTypeError.

    >>> import numtensor as nt
    >>> a, b = nt.tensor([[1.0, 0.0]]), nt.tensor([[1.0, 1.0]])
    >>> nt.nn.functional.cosine_similarity(a, b)
    tensor([0.7071])
    """
    x1, x2 = function("broadcast_tensors")(x1, x2)
    norm = function("vector_norm")
    units = [x / norm(x, 2, dim, keepdim=True).clamp_min(eps) for x in (x1, x2)]
    return (units[0] * units[1]).sum(dim)
