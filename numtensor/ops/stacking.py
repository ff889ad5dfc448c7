"""Joining and splitting along given dims: hstack, vsplit, and at least so many dims."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import layout
from ..errors import ShapeError, message
from ..tensor import Tensor
from .declare import composed
from .joining import cat
from .pairs import into
from .pieces import split
from .views import reshape, unsqueeze


def _many(tensors: tuple[Any, ...]) -> Any:
    """Accept f(x, y) and f([x, y])."""
    if len(tensors) == 1 and not isinstance(tensors[0], Tensor):
        return tuple(tensors[0])
    return tensors


def _at_least(n: int, widen: Callable[[Tensor], Tensor], reference: Any) -> Any:
    def call(*tensors: Any) -> Any:
        if len(tensors) == 1 and isinstance(tensors[0], Tensor):
            return widen(tensors[0])
        return tuple(widen(x) for x in _many(tensors))

    name = f"atleast_{n}d"
    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"Return views of the tensors with {n} dims or more."
    return composed(
        name,
        kind="view",
        method=False,
        names="drop",
        samples=lambda make: [((make(3),), {}), ((make(),), {})],
        reference=reference,
    )(call)


def _to_1d(x: Tensor) -> Tensor:
    return reshape(x, (1,)) if x.ndim == 0 else x


def _to_2d(x: Tensor) -> Tensor:
    return unsqueeze(_to_1d(x), 0) if x.ndim < 2 else x


def _to_3d(x: Tensor) -> Tensor:
    return unsqueeze(_to_2d(x), -1) if x.ndim < 3 else x


atleast_1d = _at_least(1, _to_1d, np.atleast_1d)
atleast_2d = _at_least(2, _to_2d, np.atleast_2d)
atleast_3d = _at_least(3, _to_3d, np.atleast_3d)


def _stacker(name: str, of: Callable[..., Tensor], doc: str) -> Any:
    def call(tensors: Any, *, out: Tensor | None = None) -> Tensor:
        if isinstance(tensors, Tensor) or not tensors:
            got = "a Tensor" if isinstance(tensors, Tensor) else "no tensors"
            do = f"{name} expects a non-empty TensorList."
            raise ShapeError(message(name, got, "a tuple or list of tensors", do))
        result = of(tuple(tensors))
        return into(name, out, result)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    aliases = {"vstack": ("row_stack",)}.get(name, ())
    return composed(
        name,
        method=False,
        names="drop",
        aliases=aliases,
        samples=lambda make: [
            (([make(3), make(3)],), {}),
            (([make(2, 3), make(2, 3)],), {}),
        ],
    )(call)


def _column(x: Tensor) -> Tensor:
    return reshape(x, (-1, 1)) if x.ndim < 2 else x


hstack = _stacker(
    "hstack",
    lambda xs: cat([_to_1d(x) for x in xs], 0 if xs and xs[0].ndim < 2 else 1),
    "Return the tensors side by side: along dim 1, vectors along dim 0.",
)
vstack = _stacker(
    "vstack",
    lambda xs: cat([_to_2d(x) for x in xs], 0),
    "Return the tensors below each other: along dim 0, vectors as rows.",
)
dstack = _stacker(
    "dstack",
    lambda xs: cat([_to_3d(x) for x in xs], 2),
    "Return the tensors behind each other: along dim 2.",
)
column_stack = _stacker(
    "column_stack",
    lambda xs: cat([_column(x) for x in xs], 1),
    "Return the tensors side by side, vectors as columns.",
)


@composed(
    "tensor_split",
    kind="view",
    names="keep",
    samples=lambda make: [((make(7), 3), {}), ((make(5, 2), (1, 3)), {})],
)
def tensor_split(
    input: Tensor, indices_or_sections: Any, dim: int = 0
) -> tuple[Tensor, ...]:
    """Return views of pieces of a dim: so many nearly equal ones, or cut at indices.

    Raises: ShapeError, a 0-d tensor, or fewer sections than one.
    """
    if not input.ndim:
        raise ShapeError(
            message(
                "tensor_split",
                "a 0-d tensor",
                "at least one dim",
                "tensor_split expected at least a 1-dimensional tensor, but got a "
                "tensor with 0 dims.",
            )
        )
    d = layout.normalize_dim("tensor_split", dim, input.ndim)
    size = input.shape[d]
    given = indices_or_sections
    if isinstance(given, Tensor):
        if given.ndim > 1:
            raise ShapeError(
                message(
                    "tensor_split",
                    f"indices of {given.ndim} dims",
                    "a number, or a vector",
                    "tensor_split expected tensor_indices_or_sections to be a "
                    "zero-dimensional or one-dimensional tensor, but got a tensor "
                    f"with {given.ndim} dims.",
                )
            )
        given = given.tolist()
    if isinstance(given, int):
        if given < 1:
            raise _too_few("tensor_split", given)
        small, more = divmod(size, given)
        sizes = [small + 1] * more + [small] * (given - more)
        return split(input, sizes, d)
    pieces = []
    cuts = [0, *given, size]
    for start, end in zip(cuts[:-1], cuts[1:], strict=True):
        key = (slice(None),) * d + (slice(start, end),)
        pieces.append(input[key])
    return tuple(pieces)


def _too_few(op: str, sections: int) -> ShapeError:
    do = f"number of sections must be larger than 0, got {sections}."
    return ShapeError(message(op, f"{sections} sections", "1 or more", do))


def _splitter(name: str, least: int, dim_of: Callable[[int], int], doc: str) -> Any:
    def call(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
        if input.ndim < least:
            raise ShapeError(
                message(
                    name,
                    f"a {input.ndim}-d tensor",
                    f"at least {least} dims",
                    f"torch.{name} requires a tensor with at least {least} dimension, "
                    f"but got a tensor with {input.ndim} dimensions!",
                )
            )
        d = dim_of(input.ndim)
        given = indices_or_sections
        if isinstance(given, int) and given < 1:
            raise _too_few(name, given)
        if isinstance(given, int) and input.shape[d] % given:
            raise ShapeError(
                message(
                    name,
                    f"{given} sections of a dim of size {input.shape[d]}",
                    "a divisor of the size",
                    f"torch.{name} attempted to split along dimension {d}, but the "
                    f"size of the dimension {input.shape[d]} is not divisible by the "
                    f"split_size {given}!",
                )
            )
        return tensor_split(input, given, d)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    shape = (2, 4, 2)
    return composed(
        name,
        kind="view",
        names="keep",
        samples=lambda make: [((make(*shape), 2), {}), ((make(*shape), (1,)), {})],
    )(call)


hsplit = _splitter(
    "hsplit", 1, lambda n: 0 if n == 1 else 1, "Return views of pieces of dim 1."
)
vsplit = _splitter("vsplit", 2, lambda n: 0, "Return views of pieces of dim 0.")
dsplit = _splitter("dsplit", 3, lambda n: 2, "Return views of pieces of dim 2.")
