"""Modules that set elements, or whole channels, to zero at random while training."""

from __future__ import annotations

from typing import Any

from ...tensor import Tensor
from .. import functional as F
from ..functional.dropout import check_probability
from .module import Module


class _Dropout(Module):
    _function: Any

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        check_probability(type(self).__name__, p)
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return type(self)._function(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Sets each element to zero with probability p, and divides the rest by 1 - p.

    In evaluation mode it changes nothing.

    >>> import numtensor as nt
    >>> nt.nn.Dropout(0.2).eval()(nt.ones(3))
    tensor([1., 1., 1.])
    """

    _function: Any = staticmethod(F.dropout)  # type: ignore


class Dropout1d(_Dropout):
    """Sets whole channels, the rows of (N, C, L) or (C, L), to zero."""

    _function: Any = staticmethod(F.dropout1d)


class Dropout2d(_Dropout):
    """Sets whole channels, the planes of (N, C, H, W) or (N, C, L), to zero."""

    _function: Any = staticmethod(F.dropout2d)


class Dropout3d(_Dropout):
    """Sets whole channels, the volumes of (N, C, D, H, W), to zero."""

    _function: Any = staticmethod(F.dropout3d)


class AlphaDropout(_Dropout):
    """Sets elements to SELU's negative limit; keeps mean 0 and variance 1.

    Source: Klambauer et al. (2017), Self-Normalizing Neural Networks.
    """

    _function: Any = staticmethod(F.alpha_dropout)


class FeatureAlphaDropout(_Dropout):
    """`AlphaDropout` of whole channels."""

    _function: Any = staticmethod(F.feature_alpha_dropout)
