"""Initial values of parameters, stored in place, outside of the tape.

The distributions are PyTorch's; the numbers that a seed gives are this library's own.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..creation import from_numpy
from ..errors import message
from ..factories import fresh
from ..modes import no_grad
from ..random import Generator
from ..sampling import randperm
from ..tensor import Tensor
from ..transfer import values

_LINEAR = (
    "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d", "sigmoid",
)  # fmt: skip


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return by how much weights before a nonlinearity should be larger.

    `param` is the slope of "leaky_relu", 0.01 unless given.
    Raises: ValueError, a nonlinearity that is not known, a slope that is no number.

    >>> calculate_gain("leaky_relu", 0.2)
    1.3867504905630728
    """
    if nonlinearity in _LINEAR:
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        if param is None:
            param = 0.01
        if isinstance(param, bool) or not isinstance(param, (int, float)):
            raise ValueError(
                message(
                    "calculate_gain",
                    f"{param!r}",
                    "a number",
                    f"negative_slope {param} not a valid number.",
                )
            )
        return math.sqrt(2.0 / (1 + param**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(
        message(
            "calculate_gain",
            f"{nonlinearity!r}",
            f"one of {', '.join(_LINEAR)}, tanh, relu, leaky_relu, selu",
            f"Unsupported nonlinearity {nonlinearity}.",
        )
    )


def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with numbers uniform in [a, b)."""
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)  # type: ignore[no-any-return]


def normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal numbers."""
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)  # type: ignore


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal numbers of which only those in [a, b] count.

    The values of the distribution function are drawn uniformly and turned back.
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The "
            "distribution of values may be incorrect.",
            stacklevel=2,
        )
    low, high = (math.erf((x - mean) / std / math.sqrt(2)) for x in (a, b))
    with no_grad():
        tensor.uniform_(low, high, generator=generator)
        tensor.erfinv_().mul_(std * math.sqrt(2)).add_(mean)
        return tensor.clamp_(a, b)  # type: ignore[no-any-return]


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one number."""
    with no_grad():
        return tensor.fill_(val)  # type: ignore[no-any-return]


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with ones on the diagonal, zeros elsewhere. Raises: ValueError.

    >>> import numtensor as nt
    >>> eye_(nt.empty(2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    _require_dims("eye_", tensor, 2, 2, "Only tensors with 2 dimensions are supported.")
    with no_grad():
        tensor.zero_()
        tensor.diagonal().fill_(1)
    return tensor


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill the weight of a convolution so that channels pass unchanged.

    As many as there are inputs of a group; the others are zeros. Raises: ValueError.
    """
    _require_dims(
        "dirac_", tensor, 3, 5, "Only tensors with 3, 4, or 5 dimensions are supported."
    )
    if tensor.shape[0] % groups:
        raise ValueError(
            message(
                "dirac_",
                f"{tensor.shape[0]} outputs in {groups} groups",
                "groups of one size",
                "dim 0 must be divisible by groups.",
            )
        )
    size = tensor.shape[0] // groups
    with no_grad():
        tensor.zero_()
        centre = tensor
        for n in tensor.shape[2:]:
            centre = centre.select(2, n // 2)
        for group in range(groups):
            part = centre.narrow(0, group * size, size)
            part.diagonal().fill_(1)
    return tensor


def _fans(tensor: Tensor) -> tuple[int, int]:
    """Return how many inputs an output has, and the reverse. Raises: ValueError."""
    if tensor.ndim < 2:
        raise ValueError(
            message(
                "init",
                f"a {tensor.ndim}-d tensor",
                "two dims at least",
                "Fan in and fan out can not be computed for tensor with fewer than 2 "
                "dimensions.",
            )
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


_calculate_fan_in_and_fan_out = _fans


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with numbers uniform in +-gain * sqrt(6 / (fan_in + fan_out)).

    Raises: ValueError, fewer than two dims.
    Source: Glorot, Bengio (2010), Understanding the difficulty of training deep
    feedforward neural networks.
    """
    bound = gain * math.sqrt(3.0) * math.sqrt(2.0 / sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with normal numbers of standard deviation gain * sqrt(2 / (fan_in +
    fan_out)).

    Raises: ValueError, fewer than two dims. Source: as of `xavier_uniform_`.
    """
    std = gain * math.sqrt(2.0 / sum(_fans(tensor)))
    return normal_(tensor, 0.0, std, generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    modes = ["fan_in", "fan_out"]
    if mode.lower() not in modes:
        raise ValueError(
            message(
                "kaiming",
                f"mode {mode!r}",
                "fan_in or fan_out",
                f"Mode {mode} not supported, please use one of {modes}.",
            )
        )
    fan = _fans(tensor)[modes.index(mode.lower())]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with numbers uniform in +-gain * sqrt(3 / fan), the gain that of the
    nonlinearity.

    Raises: ValueError, fewer than two dims, an unknown mode or nonlinearity.
    Source: He et al. (2015), Delving deep into rectifiers.
    """
    if not tensor.numel():
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal numbers of standard deviation gain / sqrt(fan).

    Raises: ValueError. Source: as of `kaiming_uniform_`.
    """
    if not tensor.numel():
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return normal_(tensor, 0.0, std, generator)


def orthogonal_(
    tensor: Tensor, gain: float = 1, generator: Generator | None = None
) -> Tensor:
    """Fill with a matrix of orthonormal rows or columns, times `gain`.

    Dims after the first count as one. The factorisation is LAPACK's, on the host.
    Raises: ValueError, fewer than two dims.
    Source: Mezzadri (2007), How to generate random matrices from the classical compact
    groups.

    >>> import numtensor as nt
    >>> w = orthogonal_(nt.empty(2, 3))
    >>> nt.allclose(w @ w.t(), nt.eye(2), atol=1e-6)
    True
    """
    _require_dims(
        "orthogonal_", tensor, 2, math.inf, "Only tensors with 2 or more dimensions "
        "are supported.",
    )  # fmt: skip
    if not tensor.numel():
        return tensor
    rows = tensor.shape[0]
    columns = tensor.numel() // rows
    drawn = fresh("orthogonal_", tensor.dtype, (rows, columns), tensor.device)
    normal_(drawn, generator=generator)
    held = values(drawn)
    q, r = np.linalg.qr(held if rows >= columns else held.T)
    q = q * np.sign(np.diagonal(r))  # else not uniform among all such matrices
    if rows < columns:
        q = q.T
    with no_grad():
        found = from_numpy(np.ascontiguousarray(q)).to(tensor.device)
        return tensor.copy_(found.view(tensor.shape)).mul_(gain)  # type: ignore


def sparse_(
    tensor: Tensor,
    sparsity: float,
    std: float = 0.01,
    generator: Generator | None = None,
) -> Tensor:
    """Fill a matrix with normal numbers, the given part of each column with zeros.

    Raises: ValueError, no matrix.
    Source: Martens (2010), Deep learning via Hessian-free optimization.
    """
    _require_dims(
        "sparse_", tensor, 2, 2, "Only tensors with 2 dimensions are supported."
    )
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    kept = np.ones((rows, columns), tensor.dtype.numpy)
    for column in range(columns):
        order = randperm(rows, generator=generator, device=tensor.device)
        kept[values(order)[:zeros], column] = 0
    normal_(tensor, 0.0, std, generator)
    with no_grad():
        return tensor.mul_(from_numpy(kept).to(tensor.device))  # type: ignore


def _require_dims(op: str, tensor: Tensor, least: int, most: float, do: str) -> None:
    if not least <= tensor.ndim <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        wanted = f"{least} or more" if most == math.inf else wanted
        raise ValueError(message(op, f"a {tensor.ndim}-d tensor", f"{wanted} dims", do))


def _former(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def former(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(
            f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`.",
            FutureWarning,
            stacklevel=2,
        )
        return call(*args, **kwargs)

    former.__name__ = former.__qualname__ = name
    former.__doc__ = f"Former name of `{name}_`."
    return former


uniform = _former("uniform", uniform_)
normal = _former("normal", normal_)
constant = _former("constant", constant_)
eye = _former("eye", eye_)
dirac = _former("dirac", dirac_)
xavier_uniform = _former("xavier_uniform", xavier_uniform_)
xavier_normal = _former("xavier_normal", xavier_normal_)
kaiming_uniform = _former("kaiming_uniform", kaiming_uniform_)
kaiming_normal = _former("kaiming_normal", kaiming_normal_)
orthogonal = _former("orthogonal", orthogonal_)
sparse = _former("sparse", sparse_)
