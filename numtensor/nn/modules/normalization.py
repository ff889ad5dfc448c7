"""Normalisation of each sample by itself: layers, groups, instances, neighbours.

The arithmetic is in `nn.functional`; the weights and how they start are here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ShapeError, message
from ...factories import full
from ...tensor import Tensor
from .. import functional as F
from ..parameter import Parameter
from .module import Module

#: where weights and biases start
_START = {"weight": 1.0, "bias": 0.0}


def register_scales(
    module: Module,
    shape: Sequence[int],
    there: dict[str, bool],
    device: Any,
    dtype: Any,
) -> None:
    """Register the weight and the bias that are `there`, and None for others."""
    for name, wanted in there.items():
        start = full(shape, _START[name], device=device, dtype=dtype)
        module.register_parameter(name, Parameter(start) if wanted else None)


def reset_scales(module: Module) -> None:
    """Set the weight to 1 and the bias to 0."""
    for name, value in _START.items():
        held = module._parameters.get(name)
        if held is not None:
            held.data.fill_(value)


def _as_shape(given: int | Sequence[int]) -> tuple[int, ...]:
    """Return a `normalized_shape` given as one size or several."""
    if isinstance(given, (int, np.integer)):
        return (int(given),)
    return tuple(given)


class LayerNorm(Module):
    """Mean 0 and variance 1 over the last dims: see `functional.layer_norm`.

    >>> import numtensor as nt
    >>> nt.nn.LayerNorm(4)
    LayerNorm((4,), eps=1e-05, elementwise_affine=True, bias=True)
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = shape = _as_shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        there = {"weight": elementwise_affine, "bias": elementwise_affine and bias}
        register_scales(self, shape, there, device, dtype)

    def reset_parameters(self) -> None:
        """Set the weights to 1 and the biases to 0."""
        reset_scales(self)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(
            input, self.normalized_shape, self.weight, self.bias, self.eps
        )

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """Mean square 1 over the last dims: see `functional.rms_norm`."""

    weight: Tensor | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = shape = _as_shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        register_scales(self, shape, {"weight": elementwise_affine}, device, dtype)

    def reset_parameters(self) -> None:
        """Set the weights to 1."""
        reset_scales(self)

    def forward(self, input: Tensor) -> Tensor:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(Module):
    """Mean 0 and variance 1 over groups of channels: see `functional.group_norm`.

    Raises: ShapeError, groups that would differ in size.
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups:
            raise ShapeError(
                message(
                    "GroupNorm",
                    f"{num_channels} channels in {num_groups} groups",
                    "groups of one size",
                    f"num_channels ({num_channels}) must be divisible by num_groups "
                    f"({num_groups}).",
                )
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        there = {"weight": affine, "bias": affine and bias}
        register_scales(self, (num_channels,), there, device, dtype)

    def reset_parameters(self) -> None:
        """Set the weights to 1 and the biases to 0."""
        reset_scales(self)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, "
            f"affine={self.affine}, bias={self.bias is not None}"
        )


class LocalResponseNorm(Module):
    """Division by neighbouring channels: see `functional.local_response_norm`."""

    def __init__(
        self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
    ) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
