"""Modules that pad the last dims: with a constant, zeros, or the tensor itself."""

from __future__ import annotations

from typing import Any

from ...errors import ShapeError, message
from ...tensor import Tensor
from .. import functional as F
from .module import Module


class _Pad(Module):
    """Pads the last `_dims` dims; one number stands for all sides."""

    _dims: int
    _mode: str

    padding: tuple[int, ...]

    def __init__(self, padding: Any) -> None:
        super().__init__()
        if isinstance(padding, int):
            self.padding = (padding,) * (2 * self._dims)
        else:
            self.padding = tuple(padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    _mode = "constant"

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Pads the last dim with a number: (left, right).

    >>> import numtensor as nt
    >>> nt.nn.ConstantPad1d((1, 2), 7.0)(nt.zeros(1, 2))
    tensor([[7., 0., 0., 7., 7.]])
    """

    _dims = 1


class ConstantPad2d(_ConstantPad):
    """Pads the last two dims with a number: (left, right, top, bottom)."""

    _dims = 2


class ConstantPad3d(_ConstantPad):
    """Pads the last three dims with a number: (left, right, top, bottom, front,
    back)."""

    _dims = 3


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad1d(_ZeroPad):
    """Pads the last dim with zeros: (left, right)."""

    _dims = 1


class ZeroPad2d(_ZeroPad):
    """Pads the last two dims with zeros: (left, right, top, bottom)."""

    _dims = 2


class ZeroPad3d(_ZeroPad):
    """Pads the last three dims with zeros: (left, right, top, bottom, front, back)."""

    _dims = 3


class ReflectionPad1d(_Pad):
    """Pads the last dim with its mirror image, the edge not repeated.

    >>> import numtensor as nt
    >>> nt.nn.ReflectionPad1d(2)(nt.tensor([[1.0, 2.0, 3.0]]))
    tensor([[3., 2., 1., 2., 3., 2., 1.]])
    """

    _dims, _mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """Pads the last two dims with their mirror image, the edges not repeated."""

    _dims, _mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """Pads the last three dims with their mirror image, the edges not repeated."""

    _dims, _mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """Pads the last dim with its first and last element."""

    _dims, _mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """Pads the last two dims with their edges."""

    _dims, _mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """Pads the last three dims with their edges."""

    _dims, _mode = 3, "replicate"


class _CircularPad(_Pad):
    _mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (self._dims + 1, self._dims + 2):
            wanted = f"{self._dims + 1}D or {self._dims + 2}D"
            raise ShapeError(
                message(
                    type(self).__name__,
                    f"a {input.ndim}-d tensor",
                    f"{wanted}",
                    f"expected {wanted} input (got {input.ndim}D input).",
                )
            )
        return super().forward(input)


class CircularPad1d(_CircularPad):
    """Pads the last dim as if it were a ring."""

    _dims = 1


class CircularPad2d(_CircularPad):
    """Pads the last two dims as if they were rings."""

    _dims = 2


class CircularPad3d(_CircularPad):
    """Pads the last three dims as if they were rings."""

    _dims = 3
