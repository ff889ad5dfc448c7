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
            _check_sizes(unflattened_size, tuple, "tuples")
        else:
            _check_sizes(unflattened_size, int, "ints")
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


def _check_sizes(given: Any, part: type, parts: str) -> None:
    """Check for a tuple, or a list, of ints or of pairs. Raises: TypeError."""
    wanted = f"tuple of {parts}"
    if not isinstance(given, (tuple, list)):
        kind = type(given).__name__
        raise TypeError(
            message(
                "Unflatten",
                f"a {kind}",
                f"a {wanted}",
                f"unflattened_size must be a {wanted}, but found type {kind}.",
            )
        )
    for place, found in enumerate(given):
        if not isinstance(found, part):
            kind = type(found).__name__
            raise TypeError(
                message(
                    "Unflatten",
                    f"a {kind} among the sizes",
                    f"a {wanted}",
                    f"unflattened_size must be {wanted}, but found element of type "
                    f"{kind} at pos {place}.",
                )
            )
