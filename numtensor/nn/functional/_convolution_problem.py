"""What a convolution is: its sizes and parameters, and what is worked out from them.

Knows neither kernels nor the tape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ...kernels.by_hand.conv import ANY, FLAT, UNIT
from ...memory import result_of
from ...spec import Spec
from ...tensor import Tensor

Run = Callable[..., Tensor]
#: a table of plans is emptied when it has more
MOST = 4000


class Problem:
    """Sizes and parameters of a convolution, as three spatial dims, some of size 1.

    Shapes are (N, C, D, H, W), (O, C / groups, kd, kh, kw) and (N, O, P, Q, R).
    """

    __slots__ = (
        *("nd", "batched", "shapes", "x", "w", "y", "stride", "padding", "dilation"),
        *("groups", "plans", "numbers", "channels", "but_channels", "taps", "length"),
    )

    def __init__(
        self,
        nd: int,
        x: tuple[int, ...],
        w: tuple[int, ...],
        y: tuple[int, ...],
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        dilation: tuple[int, ...],
        groups: int,
    ) -> None:
        self.nd = nd
        self.batched = len(x) == nd + 2
        self.shapes = {"x": x, "w": w, "y": y}
        self.x, self.y = self.five(x), self.five(y)
        self.w = (*w[:2], *(1,) * (3 - nd), *w[2:])
        fill = 3 - nd
        self.stride = (1,) * fill + tuple(stride)
        self.padding = (0,) * fill + tuple(padding)
        self.dilation = (1,) * fill + tuple(dilation)
        self.groups = groups
        self.plans: dict[Any, Any] = {}
        self.numbers = (
            *self.x[2:], *self.y[2:], *self.w[2:],
            *self.stride, *self.padding, *self.dilation,
        )  # fmt: skip
        self.channels = (self.x[1], self.y[1], self.w[1], self.y[1] // groups)
        first = len(y) - nd
        dims = ((0,) if self.batched else ()) + tuple(range(first, len(y)))
        self.but_channels = dims
        self.taps = math.prod(self.w[2:])
        self.length = math.prod(self.y[2:])

    def planned(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what was made for these layouts, or make it."""
        found = self.plans.get(key)
        if found is None:
            if len(self.plans) > MOST:
                self.plans.clear()
            found = self.plans[key] = make()
        return found

    def five(self, sizes: tuple[int, ...], missing: int = 1) -> tuple[int, ...]:
        """Return (n, c, d, h, w) from the sizes or strides of images."""
        front = tuple(sizes[: len(sizes) - self.nd])
        if not self.batched:
            front = (missing, *front)
        return (*front, *(missing,) * (3 - self.nd), *sizes[len(sizes) - self.nd :])

    def strides(self, found: Spec) -> tuple[int, ...]:
        """Return the strides of images, 0 in dims that were added."""
        return self.five(found.strides, 0)


def movement(about: Problem, x: Sequence[int], plane: bool = True) -> str:
    """Return what the kernels of columns may know of windows over images of strides x.

    Without `plane`, no planes are taken as one row.
    """
    if about.stride[2] != 1 or (x[4] != 1 and about.x[4] != 1):
        return ANY
    flat = about.stride[1] == 1 and about.y[4] == about.x[4] == x[3]
    return FLAT if plane and flat and x[4] == 1 else UNIT


def simple(about: Problem) -> bool:
    """Whether a window is one element, and moves by one."""
    moves = about.taps == 1 and set(about.stride) == {1}
    return moves and about.x[2:] == about.y[2:] and not any(about.padding)


def whole(x: Tensor) -> Tensor:
    """Return x, or a copy if its elements are not in order, off the tape."""
    found = x._spec
    if found.contiguous:
        return x
    return result_of(x._storage, x._pointer, found).contiguous()
