"""Activations as modules: each holds the arguments of its function, and calls it.

The arithmetic is in `nn.functional`; nothing is computed here.
"""

from __future__ import annotations

from typing import Any

from ...creation import tensor
from ...dtypes import get_default_dtype
from ...errors import ShapeError, message
from ...tensor import Tensor
from .. import functional as F
from ..parameter import Parameter
from .module import Module


class _InPlace(Module):
    """An activation whose only argument is `inplace`."""

    inplace: bool

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU(_InPlace):
    """The larger of input and 0: see `functional.relu`.

    >>> import numtensor as nt
    >>> nt.nn.ReLU()(nt.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, self.inplace)


class SELU(_InPlace):
    """The scaled exponential linear unit: see `functional.selu`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.selu(input, self.inplace)


class SiLU(_InPlace):
    """input * sigmoid(input): see `functional.silu`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input, self.inplace)


class Mish(_InPlace):
    """input * tanh(softplus(input)): see `functional.mish`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.mish(input, self.inplace)


class Hardsigmoid(_InPlace):
    """input / 6 + 1/2 between 0 and 1: see `functional.hardsigmoid`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.hardsigmoid(input, self.inplace)

    def extra_repr(self) -> str:
        return ""  # PyTorch shows none


class Hardswish(_InPlace):
    """input * hardsigmoid(input): see `functional.hardswish`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.hardswish(input, self.inplace)

    def extra_repr(self) -> str:
        return ""  # PyTorch shows none


class _Arguments(Module):
    """An activation with numbers, which are attributes under the names in `shown`."""

    shown: tuple[str, ...] = ()

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        for name, value in arguments.items():
            setattr(self, name, value)

    def extra_repr(self) -> str:
        parts = [f"{name}={getattr(self, name)}" for name in self.shown]
        if self.__dict__.get("inplace"):
            parts.append("inplace=True")
        return ", ".join(parts)


class Threshold(_Arguments):
    """input where above `threshold`, `value` elsewhere: see `functional.threshold`."""

    shown = ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__(threshold=threshold, value=value, inplace=inplace)

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value, self.inplace)


class RReLU(_Arguments):
    """Negative slopes drawn while training: see `functional.rrelu`."""

    shown = ("lower", "upper")

    def __init__(
        self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False
    ) -> None:
        super().__init__(lower=lower, upper=upper, inplace=inplace)

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class Hardtanh(_Arguments):
    """input between `min_val` and `max_val`: see `functional.hardtanh`.

    Raises: ShapeError, max_val not above min_val.
    """

    shown: tuple[str, ...] = ("min_val", "max_val")

    def __init__(
        self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
    ) -> None:
        super().__init__(min_val=min_val, max_val=max_val, inplace=inplace)
        if max_val <= min_val:
            raise ShapeError(
                message(
                    "Hardtanh",
                    f"min_val={min_val} and max_val={max_val}",
                    "max_val > min_val",
                    f"max_val ({max_val}) must be greater than min_val ({min_val}).",
                )
            )

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)


class ReLU6(Hardtanh):
    """input between 0 and 6: see `functional.relu6`."""

    shown: tuple[str, ...] = ()

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)


class ELU(_Arguments):
    """The exponential linear unit: see `functional.elu`."""

    shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(alpha=alpha, inplace=inplace)

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha, self.inplace)


class CELU(_Arguments):
    """The continuously differentiable ELU: see `functional.celu`."""

    shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(alpha=alpha, inplace=inplace)

    def forward(self, input: Tensor) -> Tensor:
        return F.celu(input, self.alpha, self.inplace)


class LeakyReLU(_Arguments):
    """input, scaled where negative: see `functional.leaky_relu`."""

    shown = ("negative_slope",)

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__(negative_slope=negative_slope, inplace=inplace)

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace)


class Softplus(_Arguments):
    """log(1 + exp(beta * input)) / beta: see `functional.softplus`."""

    shown = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__(beta=beta, threshold=threshold)

    def forward(self, input: Tensor) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)


class GLU(_Arguments):
    """The first half times the sigmoid of the second: see `functional.glu`."""

    shown = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim=dim)

    def forward(self, input: Tensor) -> Tensor:
        return F.glu(input, self.dim)


class GELU(_Arguments):
    """The Gaussian error linear unit: see `functional.gelu`."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__(approximate=approximate)

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Hardshrink(_Arguments):
    """0 between -lambd and lambd, input elsewhere: see `functional.hardshrink`."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__(lambd=lambd)

    def forward(self, input: Tensor) -> Tensor:
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Softshrink(_Arguments):
    """input moved by `lambd` toward 0: see `functional.softshrink`."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__(lambd=lambd)

    def forward(self, input: Tensor) -> Tensor:
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Sigmoid(Module):
    """1 / (1 + exp(-input))."""

    def forward(self, input: Tensor) -> Tensor:
        return F.sigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Tensor) -> Tensor:
        return F.tanh(input)


class LogSigmoid(Module):
    """log(sigmoid(input)): see `functional.logsigmoid`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.logsigmoid(input)


class Softsign(Module):
    """input / (1 + abs(input))."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softsign(input)


class Tanhshrink(Module):
    """input - tanh(input)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.tanhshrink(input)


class PReLU(Module):
    """input, scaled where negative by slopes that are learnt.

    One slope, or one for each of `num_parameters` channels; they start at `init`.

    >>> import numtensor as nt
    >>> nt.nn.PReLU()(nt.tensor([-4.0, 2.0])).tolist()
    [-1.0, 2.0]
    """

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        kind = dtype or get_default_dtype()
        start = tensor([init] * num_parameters, dtype=kind, device=device)
        self.weight = Parameter(start)

    def reset_parameters(self) -> None:
        """Set the slopes to where they start."""
        self.weight.data.fill_(self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class _Along(Module):
    """What is computed along `dim`."""

    dim: int | None

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(_Along):
    """exp(input), scaled so that the sum along `dim` is 1: see `functional.softmax`.

    >>> import numtensor as nt
    >>> nt.nn.Softmax(dim=0)(nt.zeros(2))
    tensor([0.5000, 0.5000])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim)


class Softmin(_Along):
    """Softmax of -input: see `functional.softmin`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softmin(input, self.dim)


class LogSoftmax(_Along):
    """The logarithm of softmax: see `functional.log_softmax`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim)


class Softmax2d(Module):
    """Softmax over the channels of (C, H, W) or (N, C, H, W). Raises: ShapeError."""

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ShapeError(
                message(
                    "Softmax2d",
                    f"a {input.ndim}-d tensor",
                    "(C, H, W) or (N, C, H, W)",
                    "Softmax2d: expected input to be 3D or 4D, got "
                    f"{input.ndim}D instead.",
                )
            )
        return F.softmax(input, -3)
