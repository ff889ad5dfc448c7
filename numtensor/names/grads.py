"""Names of gradients, which are those of what they are gradients of.

The tape itself carries none: cotangents lose their names where they come in, and a
tensor shows its gradient with its own.
"""

from __future__ import annotations

from ..tensor import Tensor
from . import words
from .tensors import bare


def unnamed(op: str, grad: Tensor | None, of: Tensor) -> Tensor | None:
    """Return a cotangent that a program passed for the tensor `of`, without names.

    Raises: DimNameError, its names are not those of the tensor.
    """
    if grad is None or grad._spec.names is None:
        return grad
    if grad.ndim == of.ndim:
        words.unified(op, of.names, grad.names, "pass back")
    return bare(grad)
