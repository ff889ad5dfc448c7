"""Elements, or whole channels, set to zero at random. Random numbers are the tensor's
device's; what is kept and what is not differs from PyTorch's for the same seed."""

from __future__ import annotations

import math
from typing import Any

from ...errors import ShapeError, message, warn
from ...ops.declare import composed
from ...tape import no_grad
from ...tensor import Tensor

#: SELU's limit for large negative numbers: -scale * alpha
_LIMIT = -1.7580993408473766


def check_probability(op: str, p: float) -> None:
    """Raise ValueError unless p is a probability."""
    if not 0 <= p <= 1:
        raise ValueError(
            message(
                op,
                f"p={p}",
                "a number from 0 to 1",
                f"dropout probability has to be between 0 and 1, but got {p}.",
            )
        )


def _kept(op: str, input: Tensor, p: float, channels: bool) -> Tensor:
    """Return ones where an element, or a channel, is kept, and zeros elsewhere."""
    shape = tuple(input.shape)
    if channels:
        if input.ndim < 2:
            raise ShapeError(
                message(
                    op,
                    f"a {input.ndim}-d tensor",
                    "(N, C, ...)",
                    "Feature dropout requires at least 2 dimensions in the input.",
                )
            )
        shape = shape[:2] + (1,) * (len(shape) - 2)
    with no_grad():
        return input.new_empty(shape).bernoulli_(1 - p)  # type: ignore[no-any-return]


def _drop(
    op: str, input: Tensor, p: float, training: bool, inplace: bool, channels: bool
) -> Tensor:
    check_probability(op, p)
    if not training or p == 0 or not input.numel():
        return input
    if p == 1:
        scale = input.new_zeros(())
    else:
        scale = _kept(op, input, p, channels).div_(1 - p)
    return input.mul_(scale) if inplace else input * scale


def _alpha(
    op: str, input: Tensor, p: float, training: bool, inplace: bool, channels: bool
) -> Tensor:
    check_probability(op, p)
    if not training or p == 0 or not input.numel():
        return input
    if p == 1:
        zero = input.new_zeros(())
        return input.mul_(zero) if inplace else input * zero
    a = 1 / math.sqrt((_LIMIT**2 * p + 1) * (1 - p))
    kept = _kept(op, input, p, channels)
    # a * (x where kept, the limit elsewhere) + b, with mean 0 if x has that
    added = (1 - kept) * (a * _LIMIT) - (a * _LIMIT * p)
    scale = kept * a
    return input.mul_(scale).add_(added) if inplace else input * scale + added


def _samples(*shape: int) -> Any:
    # what is random is tested by itself; here: the result without chance
    return lambda make: [((make(*shape), 1.0, True), {})]


@composed("dropout", samples=_samples(2, 3), names="keep", room="nn.functional")
def dropout(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Return the tensor with each element zero with probability p, else over 1 - p.

    The tensor itself unless `training`. Raises: ValueError, p outside of [0, 1].

    >>> import numtensor as nt
    >>> nt.nn.functional.dropout(nt.ones(4), 1.0)
    tensor([0., 0., 0., 0.])
    """
    return _drop("dropout", input, p, training, inplace, False)


@composed("dropout1d", samples=_samples(2, 3, 2), names="keep", room="nn.functional")
def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Return the tensor with each channel zero with probability p, else over 1 - p.

    Shapes: (N, C, L) or (C, L). Raises: ValueError; ShapeError.
    """
    if input.ndim not in (2, 3):
        raise ShapeError(
            message(
                "dropout1d",
                f"a {input.ndim}-d tensor",
                "(N, C, L) or (C, L)",
                f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D "
                "input.",
            )
        )
    return _without_batch("dropout1d", input, p, training, inplace, 2)


@composed("dropout2d", samples=_samples(2, 3, 2, 1), names="keep", room="nn.functional")
def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Return the tensor with each channel zero with probability p, else over 1 - p.

    Shapes: (N, C, H, W); (N, C, L) counts as a batch, too, as in PyTorch.
    Raises: ValueError; ShapeError.
    """
    if input.ndim == 3:
        warn(
            "dropout2d: Received a 3-D input to dropout2d and assuming that "
            "channel-wise 1D dropout behavior is desired: input is interpreted as "
            "shape (N, C, L). Use dropout1d instead.",
        )
    elif input.ndim != 4:
        _warn("dropout2d", input.ndim, "2", "3D or 4D")
    return _drop("dropout2d", input, p, training, inplace, True)


@composed(
    "dropout3d", samples=_samples(2, 2, 1, 2, 1), names="keep", room="nn.functional"
)
def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Return the tensor with each channel zero with probability p, else over 1 - p.

    Shapes: (N, C, D, H, W) or (C, D, H, W). Raises: ValueError; ShapeError.
    """
    if input.ndim not in (4, 5):
        _warn("dropout3d", input.ndim, "3", "4D or 5D")
    return _without_batch("dropout3d", input, p, training, inplace, 4)


def _without_batch(
    op: str, input: Tensor, p: float, training: bool, inplace: bool, single: int
) -> Tensor:
    """Drop channels, the first dim of a tensor of `single` dims, else the second."""
    if input.ndim != single or not training:
        return _drop(op, input, p, training, inplace, True)
    result = _drop(op, input.unsqueeze(0), p, training, inplace, True)
    return input if inplace else result.squeeze(0)


def _warn(op: str, ndim: int, spatial: str, wanted: str) -> None:
    warn(
        f"{op}: Received a {ndim}-D input to {op}, which is deprecated and will result "
        f"in an error in a future release: it drops channels of inputs with {spatial} "
        f"spatial dimensions ({wanted} input). Use dropout instead.",
    )


@composed("alpha_dropout", samples=_samples(2, 3), names="keep", room="nn.functional")
def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Return the tensor with elements set to SELU's negative limit, then scaled and
    shifted so that mean 0 and variance 1 stay. Raises: ValueError."""
    return _alpha("alpha_dropout", input, p, training, inplace, False)


@composed(
    "feature_alpha_dropout",
    samples=_samples(2, 3, 2),
    names="keep",
    room="nn.functional",
)
def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """`alpha_dropout` of whole channels of (N, C, ...).

    Raises: ValueError; ShapeError.
    """
    return _alpha("feature_alpha_dropout", input, p, training, inplace, True)
