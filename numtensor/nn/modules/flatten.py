"""Joining dims into one, and splitting one into several."""

from __future__ import annotations

from typing import Any

from ...errors import message
from ...tensor import Tensor
from .module import Module


class Flatten(Module):
    """Joins the dims from `start_dim` to `end_dim` into one.

    >>> import numtensor as nt
    >>> nt.nn.Flatten()(nt.ones(2, 3, 4)).shape
    torch.Size([2, 12])
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits a dim into several of the sizes given.

    A dim that is named goes with pairs of names and sizes.

    >>> import numtensor as nt
    >>> nt.nn.Unflatten(1, (3, 4))(nt.ones(2, 12)).shape
    torch.Size([2, 3, 4])
    """

    def __init__(self, dim: int | str, unflattened_size: Any) -> None:
        super().__init__()
        if isinstance(dim, str):
            _require_named(unflattened_size)
        else:
            _require_sizes(unflattened_size)
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


def _require_sizes(given: Any) -> None:
    if not isinstance(given, (tuple, list)):
        kind = type(given).__name__
        raise TypeError(
            message(
                "Unflatten",
                f"a {kind}",
                "a tuple of ints",
                f"unflattened_size must be a tuple of ints, but found type {kind}.",
            )
        )
    for place, size in enumerate(given):
        if not isinstance(size, int):
            kind = type(size).__name__
            raise TypeError(
                message(
                    "Unflatten",
                    f"a {kind} among the sizes",
                    "a tuple of ints",
                    "unflattened_size must be tuple of ints, but found element of type "
                    f"{kind} at pos {place}.",
                )
            )


def _require_named(given: Any) -> None:
    if not isinstance(given, (tuple, list)):
        kind = type(given).__name__
        raise TypeError(
            message(
                "Unflatten",
                f"a {kind} for a named dim",
                "a tuple of pairs of names and sizes",
                f"unflattened_size must be a tuple of tuples, but found type {kind}.",
            )
        )
    for place, pair in enumerate(given):
        if not isinstance(pair, tuple):
            kind = type(pair).__name__
            raise TypeError(
                message(
                    "Unflatten",
                    f"a {kind} among the pairs",
                    "a tuple of pairs of names and sizes",
                    "unflattened_size must be tuple of tuples, but found element of "
                    f"type {kind} at pos {place}.",
                )
            )
