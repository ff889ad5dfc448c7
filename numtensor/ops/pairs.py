"""What operators return that find values and where they are, and how `out=` gets it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import DTypeError, ShapeError, message
from ..tape import grad_mode
from ..tensor import Tensor
from ..writing import refuse_recording


class Pair(NamedTuple):
    """Values and where they were; printed as PyTorch prints it."""

    values: Tensor
    indices: Tensor

    def __repr__(self) -> str:
        name = type(self).__name__.removesuffix("_result")
        lines = f"values={self.values!r},\nindices={self.indices!r})"
        return f"torch.return_types.{name}(\n{lines}"


def stored(op: str, out: Any, results: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return results, copied into the tensors of `out` if there are any.

    Raises: DTypeError, `out` is not as many tensors; ShapeError; AutogradError, a
    gradient would be recorded.
    """
    if out is None:
        return tuple(results)
    given = tuple(out) if isinstance(out, (tuple, list)) else (out,)
    if len(given) != len(results) or not all(isinstance(t, Tensor) for t in given):
        raise DTypeError(
            message(
                op,
                f"out of {len(given)} values",
                f"a tuple of {len(results)} tensors",
                "Leave out= away, and name the results.",
            )
        )
    for target, found in zip(given, results, strict=True):
        if grad_mode.enabled and (found.requires_grad or target.requires_grad):
            refuse_recording(op)
        if target._spec.shape != found._spec.shape:
            raise ShapeError(
                message(
                    op,
                    f"out of shape {list(target.shape)}",
                    f"{list(found.shape)}",
                    "Make it of that shape; out= is not resized.",
                )
            )
        target.copy_(found)
    return given


def into(op: str, out: Tensor | None, result: Tensor) -> Tensor:
    """Return the one result of an operator, copied into `out` if it is given.

    Raises: DTypeError; ShapeError; AutogradError. See `stored`.
    """
    return result if out is None else stored(op, out, (result,))[0]
