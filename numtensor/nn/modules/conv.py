"""Convolution layers, and the transposed ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import message
from ...factories import empty
from ...tensor import Tensor
from .. import init
from ..functional import conv as functions
from ..functional._sizes import ints
from ..functional.padding import pad
from ..parameter import Parameter
from .module import Module

_MODES = ("zeros", "reflect", "replicate", "circular")


def _refused(name: str, got: str, expected: str, sentence: str) -> ValueError:
    return ValueError(message(name, got, expected, sentence))


class _Conv(Module):
    """What all convolution layers have: parameters, their start, what is printed."""

    weight: Tensor
    bias: Tensor | None
    nd: int
    transposed = False
    _function: Callable[..., Tensor]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        output_padding: Any = 0,
    ) -> None:
        super().__init__()
        name, nd = type(self).__name__, self.nd
        if groups <= 0:
            raise _refused(
                name, f"groups={groups}", "1 or more", "groups must be a positive "
                "integer.",
            )  # fmt: skip
        for what, channels in (("in", in_channels), ("out", out_channels)):
            if channels % groups:
                raise _refused(
                    name,
                    f"{what}_channels={channels} and groups={groups}",
                    "a multiple of groups",
                    f"{what}_channels must be divisible by groups.",
                )
        if padding_mode not in _MODES:
            raise _refused(
                name,
                f"padding_mode={padding_mode!r}",
                ", ".join(_MODES),
                "padding_mode must be one of {'zeros', 'reflect', 'replicate', "
                f"'circular'}}, but got {padding_mode=}.",
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = ints(name, "kernel_size", kernel_size, nd)
        self.stride = ints(name, "stride", stride, nd)
        self.dilation = ints(name, "dilation", dilation, nd)
        self.output_padding = ints(name, "output_padding", output_padding, nd)
        self.groups = groups
        self.padding_mode = padding_mode
        self.padding = padding
        if not isinstance(padding, str):
            self.padding = ints(name, "padding", padding, nd)
        self._reversed_padding_repeated_twice = self._around(name)
        first, second = out_channels, in_channels
        if self.transposed:
            first, second = in_channels, out_channels
        self.weight = Parameter(
            empty(
                first, second // groups, *self.kernel_size, device=device, dtype=dtype
            )
        )
        if bias:
            self.bias = Parameter(empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _around(self, name: str) -> tuple[int, ...] | list[int]:
        """Return the padding as `pad` takes it: last dim first, both sides."""
        if not isinstance(self.padding, str):
            return tuple([p for p in reversed(self.padding) for _ in range(2)])
        if self.padding not in ("same", "valid"):
            raise _refused(
                name,
                f"padding={self.padding!r}",
                "sizes, 'same' or 'valid'",
                f"Invalid padding string {self.padding!r}, should be one of "
                "{'same', 'valid'}.",
            )
        if self.padding == "same" and max(self.stride) > 1:
            raise _refused(
                name,
                f"padding='same' and stride={self.stride}",
                "a stride of 1",
                "padding='same' is not supported for strided convolutions.",
            )
        around = []
        for k, d in zip(self.kernel_size[::-1], self.dilation[::-1], strict=True):
            total = d * (k - 1) if self.padding == "same" else 0
            around += [total // 2, total - total // 2]
        return around

    def reset_parameters(self) -> None:
        """Draw weight and bias anew: uniform within 1/sqrt(fan in)."""
        if self.weight.numel():
            init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = self.weight.shape[1] * math.prod(self.kernel_size)
            if fan_in:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        own = self._parameters  # an attribute of a module costs a call of __getattr__
        padding = self.padding
        if self.padding_mode != "zeros":
            around = self._reversed_padding_repeated_twice
            input = pad(input, around, mode=self.padding_mode)
            padding = 0
        return type(self)._function(
            input, own["weight"], own["bias"], self.stride, padding, self.dilation,
            self.groups,
        )  # fmt: skip

    def extra_repr(self) -> str:
        nd = self.nd
        parts = [
            f"{self.in_channels}, {self.out_channels}",
            f"kernel_size={self.kernel_size}",
            f"stride={self.stride}",
        ]
        if self.padding != (0,) * nd:
            parts.append(f"padding={self.padding}")
        if self.dilation != (1,) * nd:
            parts.append(f"dilation={self.dilation}")
        if self.output_padding != (0,) * nd:
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class Conv1d(_Conv):
    """Convolution of rows: see `nn.functional.conv1d`.

    `padding_mode` says what is around the rows: "zeros", "reflect", "replicate" or
    "circular". Weight and bias start uniform within 1/sqrt(fan in).

    Shapes: (N, C, L) or (C, L) -> (N, O, L') or (O, L').

    >>> import numtensor as nt
    >>> nt.nn.Conv1d(16, 33, 3, stride=2)(nt.ones(20, 16, 50)).shape
    torch.Size([20, 33, 24])
    """

    nd = 1
    _function = staticmethod(functions.conv1d)


class Conv2d(_Conv):
    """Convolution of images: see `nn.functional.conv2d` and `Conv1d`.

    Shapes: (N, C, H, W) or (C, H, W) -> (N, O, H', W') or (O, H', W').

    >>> import numtensor as nt
    >>> layer = nt.nn.Conv2d(3, 16, kernel_size=3, padding=1)
    >>> layer
    Conv2d(3, 16, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    >>> layer(nt.ones(1, 3, 8, 8)).shape
    torch.Size([1, 16, 8, 8])
    """

    nd = 2
    _function = staticmethod(functions.conv2d)


class Conv3d(_Conv):
    """Convolution of volumes: see `nn.functional.conv3d` and `Conv1d`.

    Shapes: (N, C, D, H, W) or (C, D, H, W) -> (N, O, D', H', W') or (O, D', H', W').
    """

    nd = 3
    _function = staticmethod(functions.conv3d)


class _ConvTranspose(_Conv):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        name = type(self).__name__
        if padding_mode != "zeros":
            raise _refused(
                name,
                f"padding_mode={padding_mode!r}",
                "'zeros'",
                f'Only "zeros" padding mode is supported for {name}.',
            )
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
            bias, padding_mode, device, dtype, output_padding,
        )  # fmt: skip

    def forward(
        self, input: Tensor, output_size: Sequence[int] | None = None
    ) -> Tensor:
        """Return the transposed convolution, of `output_size` if it is given.

        Raises: ValueError, a size that no `output_padding` would give.
        """
        own = self._parameters
        extra = self.output_padding
        if output_size is not None:
            extra = self._output_padding(input, output_size)
        return type(self)._function(
            input, own["weight"], own["bias"], self.stride, self.padding, extra,
            self.groups, self.dilation,
        )  # fmt: skip

    def _output_padding(self, input: Tensor, wanted: Any) -> tuple[int, ...]:
        name, nd = type(self).__name__, self.nd
        sizes = tuple(int(s) for s in wanted)
        if len(sizes) == input.ndim:
            sizes = sizes[-nd:]
        if len(sizes) != nd:
            raise _refused(
                name,
                f"output_size={sizes}",
                f"{nd} or {input.ndim} sizes",
                f"{name}: for {input.ndim}D input, output_size must have {nd} or "
                f"{input.ndim} elements (got {len(sizes)}).",
            )
        least = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1
            for n, s, p, d, k in zip(
                input.shape[-nd:], self.stride, self.padding, self.dilation,
                self.kernel_size, strict=True,
            )
        ]  # fmt: skip
        most = [a + s - 1 for a, s in zip(least, self.stride, strict=True)]
        if any(not a <= n <= b for n, a, b in zip(sizes, least, most, strict=True)):
            raise _refused(
                name,
                f"output_size={sizes}",
                f"from {least} to {most}",
                f"requested an output size of {sizes}, but valid sizes range from "
                f"{least} to {most} (for an input of {input.shape[-nd:]}).",
            )
        return tuple([n - a for n, a in zip(sizes, least, strict=True)])


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution of rows: see `nn.functional.conv_transpose1d`.

    Called with `output_size`, it chooses `output_padding` for that.

    Shapes: (N, C, L) or (C, L) -> (N, O, L') or (O, L').
    """

    nd = 1
    _function = staticmethod(functions.conv_transpose1d)


class ConvTranspose2d(_ConvTranspose):
    """Transposed convolution of images: see `nn.functional.conv_transpose2d`.

    Shapes: (N, C, H, W) or (C, H, W) -> (N, O, H', W') or (O, H', W').

    >>> import numtensor as nt
    >>> up = nt.nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1)
    >>> up(nt.ones(1, 8, 6, 6), output_size=(12, 12)).shape
    torch.Size([1, 4, 12, 12])
    """

    nd = 2
    _function = staticmethod(functions.conv_transpose2d)


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution of volumes: see `nn.functional.conv_transpose3d`.

    Shapes: (N, C, D, H, W) or (C, D, H, W) -> (N, O, D', H', W') or (O, D', H', W').
    """

    nd = 3
    _function = staticmethod(functions.conv_transpose3d)
