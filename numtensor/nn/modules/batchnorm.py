"""Normalisation with running statistics: over batches, and over instances.

The arithmetic is in `nn.functional`; weights, statistics and the difference between
training and evaluation are here.
"""

from __future__ import annotations

from typing import Any

from ...creation import tensor
from ...dtypes import int64
from ...errors import ShapeError, message, warn
from ...factories import ones, zeros
from ...tensor import Tensor
from .. import functional as F
from .module import Module
from .normalization import register_scales, reset_scales


class _Norm(Module):
    """Weights and running statistics of channels."""

    _version = 2

    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        how = {"device": device, "dtype": dtype}
        average = spread = count = None
        if track_running_stats:
            average, spread = zeros(num_features, **how), ones(num_features, **how)
            count = tensor(0, dtype=int64, device=device)
        there = {"weight": affine, "bias": affine and bias}
        register_scales(self, (num_features,), there, device, dtype)
        self.register_buffer("running_mean", average)
        self.register_buffer("running_var", spread)
        self.register_buffer("num_batches_tracked", count)

    def reset_running_stats(self) -> None:
        """Set the running mean to 0, the variance to 1, the count of batches to 0."""
        for held, value in (
            (self.running_mean, 0.0),
            (self.running_var, 1.0),
            (self.num_batches_tracked, 0),
        ):
            if held is not None:
                held.fill_(value)

    def reset_parameters(self) -> None:
        """Set the statistics to where they start, the weights to 1, the biases to 0."""
        self.reset_running_stats()
        reset_scales(self)

    def _check_input_dim(self, input: Tensor) -> None:
        """Refuse an input of another number of dims: classes define it."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        *rest: Any,
    ) -> None:
        # files of version 1 did not count the batches
        version = local_metadata.get("version", None)
        key = prefix + "num_batches_tracked"
        old = version is None or version < 2
        if old and self.track_running_stats and key not in state_dict:
            held = self.num_batches_tracked
            state_dict[key] = tensor(0, dtype=int64) if held is None else held
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


def _refuse(name: str, input: Tensor, wanted: str) -> ShapeError:
    got = f"{input.ndim}D input"
    fault = f"expected {wanted} input (got {got})."
    return ShapeError(message(name, got, wanted, fault))


class _BatchNorm(_Norm):
    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        share = 0.0 if self.momentum is None else self.momentum
        training = self.training
        if training and self.track_running_stats:
            count = self.num_batches_tracked
            if count is not None:
                count.add_(1)
                if self.momentum is None:  # the plain average of all batches
                    share = 1.0 / float(count)
        # without statistics the batch's own serve in evaluation too
        by_batch = training or (self.running_mean is None and self.running_var is None)
        keep = not training or self.track_running_stats
        return F.batch_norm(
            input,
            self.running_mean if keep else None,
            self.running_var if keep else None,
            self.weight,
            self.bias,
            by_batch,
            share,
            self.eps,
        )


class BatchNorm1d(_BatchNorm):
    """Each channel of (N, C) or (N, C, L) normalised: see `functional.batch_norm`.

    While training by the batch, whose statistics move the running ones by `momentum`
    (None: towards the average of all batches); in evaluation by the running ones.

    >>> import numtensor as nt
    >>> nt.nn.BatchNorm1d(2)(nt.tensor([[1.0, 4.0], [3.0, 8.0]])).tolist()[0]
    [-0.9999949932098389, -0.9999987483024597]
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim not in (2, 3):
            raise _refuse("BatchNorm1d", input, "2D or 3D")


class BatchNorm2d(_BatchNorm):
    """Each channel of (N, C, H, W) normalised: see `BatchNorm1d`."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim != 4:
            raise _refuse("BatchNorm2d", input, "4D")


class BatchNorm3d(_BatchNorm):
    """Each channel of (N, C, D, H, W) normalised: see `BatchNorm1d`."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim != 5:
            raise _refuse("BatchNorm3d", input, "5D")


class _InstanceNorm(_Norm):
    #: dims of an input without the batch's
    rank = 0

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features,
            eps,
            momentum,
            affine,
            track_running_stats,
            device,
            dtype,
            bias=bias,
        )

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim not in (self.rank, self.rank + 1):
            wanted = f"{self.rank}D or {self.rank + 1}D"
            raise _refuse(type(self).__name__, input, wanted)

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        alone = input.ndim == self.rank
        channels = input.shape[0 if alone else 1]
        if channels != self.num_features and self.affine:
            raise ShapeError(
                message(
                    type(self).__name__,
                    f"{channels} channels",
                    f"{self.num_features}",
                    f"expected input's size at dim={0 if alone else 1} to match "
                    f"num_features ({self.num_features}), but got: {channels}.",
                )
            )
        if channels != self.num_features:
            warn(
                f"input's size at dim={0 if alone else 1} does not match num_features. "
                "You can silence this warning by not passing in num_features, which is "
                "not used because affine=False"
            )
        found = F.instance_norm(
            input.unsqueeze(0) if alone else input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            self.momentum if self.momentum is not None else 0.0,
            self.eps,
        )
        return found.squeeze(0) if alone else found


class InstanceNorm1d(_InstanceNorm):
    """Each channel of each (C, L) normalised: see `functional.instance_norm`."""

    rank = 2


class InstanceNorm2d(_InstanceNorm):
    """Each channel of each (C, H, W) normalised: see `functional.instance_norm`."""

    rank = 3


class InstanceNorm3d(_InstanceNorm):
    """Each channel of each (C, D, H, W) normalised: see `functional.instance_norm`."""

    rank = 4
