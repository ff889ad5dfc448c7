"""Softmax as `nn` has it: with a dim that may be left out, of -input, and with noise.

The arithmetic is in `ops.softmax`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ...errors import ShapeError, message, warn
from ...ops import m
from ...ops import softmax as shared
from ...ops.arithmetic import neg
from ...ops.declare import composed
from ...ops.registry import function
from ...tensor import Tensor


def _chosen(name: str, dim: int | None, ndim: int) -> int:
    """Return the dim, or the one that PyTorch chooses if there is none."""
    if dim is not None:
        return dim
    warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to "
        "include dim=X as an argument."
    )
    return 0 if ndim in (0, 1, 3) else 1


_declared = partial(composed, room="nn.functional", dtypes="float", names="keep")


def _samples(make: Any) -> list[Any]:
    return [((make(3, 4), 1), {})]


@_declared("softmax", samples=_samples)
def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """Return exp(input), scaled so that the sum along `dim` is 1.

    Without `dim` it is 0 for 1 or 3 dims and 1 for others, with a warning. `dtype`
    casts first; `_stacklevel` is not used. Raises: DimError; DTypeError, integers.
    """
    dim = _chosen("softmax", dim, input.ndim)
    return shared.softmax(input, dim, dtype)


@_declared("log_softmax", samples=_samples)
def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """Return the logarithm of `softmax`, which does not underflow."""
    dim = _chosen("log_softmax", dim, input.ndim)
    return shared.log_softmax(input, dim, dtype)


@_declared("softmin", samples=_samples)
def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """Return the softmax of -input."""
    dim = _chosen("softmin", dim, input.ndim)
    return shared.softmax(neg(input), dim, dtype)


@_declared(
    "gumbel_softmax",
    differentiable=False,
    why="random: the softmax it is made of is tested",
    samples=lambda make: [((make(3, 4),), {})],
)
def gumbel_softmax(
    logits: Tensor,
    tau: float = 1,
    hard: bool = False,
    eps: float = 1e-10,
    dim: int = -1,
) -> Tensor:
    """Return the softmax of (logits + noise of Gumbel's distribution) / tau.

    With `hard` a 1 for the largest and 0 for the others, differentiated as if it were
    the soft result; `eps` is not used. Sources: Jang, Gu, Poole (2017), Categorical
    reparameterization with Gumbel-softmax; Maddison, Mnih, Teh (2017).
    Raises: ShapeError, a tau that is not positive; DTypeError, integers.
    """
    if not tau > 0:
        raise ShapeError(message("gumbel_softmax", f"tau={tau}", "a positive number"))
    if not logits.is_floating_point():
        raise shared.not_floating("gumbel_softmax", logits._spec)
    # -log(-log(u)), with u drawn from [0, 1) kept off its ends
    drawn = function("rand_like")(logits.detach())
    drawn = m.where(drawn == 0, 1e-10, drawn)
    noise = -m.log(-m.log(drawn))
    soft: Tensor = shared.softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    given = soft.detach()
    most = given.argmax(dim, True)
    return function("zeros_like")(given).scatter_(dim, most, 1.0) - given + soft
