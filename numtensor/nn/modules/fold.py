"""Windows as columns, and back: the modules of `nn.functional.unfold` and `fold`."""

from __future__ import annotations

from typing import Any

from ...tensor import Tensor
from ..functional import folding
from .module import Module


class Unfold(Module):
    """The sliding windows of images as columns: see `nn.functional.unfold`.

    Shapes: (N, C, H, W) -> (N, C * KH * KW, L).

    >>> import numtensor as nt
    >>> nt.nn.Unfold(kernel_size=(2, 3))(nt.ones(2, 5, 3, 4)).shape
    torch.Size([2, 30, 4])
    """

    def __init__(
        self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        return folding.unfold(
            input, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )


class Fold(Module):
    """Columns of windows summed to images: see `nn.functional.fold`.

    Shapes: (N, C * KH * KW, L) -> (N, C, *output_size).

    >>> import numtensor as nt
    >>> nt.nn.Fold((4, 5), (2, 2))(nt.ones(1, 12, 12)).shape
    torch.Size([1, 3, 4, 5])
    """

    def __init__(
        self,
        output_size: Any,
        kernel_size: Any,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        return folding.fold(
            input, self.output_size, self.kernel_size, self.dilation, self.padding,
            self.stride,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )
