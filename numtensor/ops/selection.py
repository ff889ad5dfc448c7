"""Choosing between values, and rounding them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..elementwise import Elementwise
from ..errors import DTypeError, ShapeError, message
from ..tensor import Tensor
from . import m
from .declare import attach, elementwise
from .registry import function


def _checked_where(plain: Any) -> Any:
    def call(
        condition: Any, input: Any = None, other: Any = None, *, out: Any = None
    ) -> Any:
        if input is None and other is None and isinstance(condition, Tensor):
            return function("nonzero")(condition, as_tuple=True)
        if not isinstance(condition, Tensor) or condition.dtype.name not in (
            "bool",
            "uint8",
        ):
            got = getattr(condition, "dtype", type(condition).__name__)
            raise DTypeError(
                message(
                    "where",
                    f"a condition of {got}",
                    "a bool tensor",
                    "where expected condition to be a boolean tensor. Compare first, "
                    "as in nt.where(x > 0, x, y).",
                )
            )
        return plain(condition, input, other, out=out)

    return call


where = elementwise(
    "where", lambda c, x, y: m.where(c, x, y),
    vjp=(
        None,
        lambda g, c, x, y, out: m.where(c, g, g * 0),
        lambda g, c, x, y, out: m.where(c, g * 0, g),
    ),
    roles="btt", reference=np.where, method=False, in_place=False,
    wrap=_checked_where,
    doc="input where condition is True, other elsewhere; all three broadcast.",
)  # fmt: skip
attach("where", lambda self, condition, other: where(condition, self, other))

maximum = elementwise(
    "maximum", lambda x, y: m.maximum(x, y),
    vjp=(
        lambda g, x, y, out: m.where(x == y, g * 0.5, m.where(x < y, g * 0, g)),
        lambda g, x, y, out: m.where(x == y, g * 0.5, m.where(x > y, g * 0, g)),
    ),
    reference=np.maximum, in_place=False, doc="The larger; NaN if one is NaN.",
)  # fmt: skip
minimum = elementwise(
    "minimum", lambda x, y: m.minimum(x, y),
    vjp=(
        lambda g, x, y, out: m.where(x == y, g * 0.5, m.where(x > y, g * 0, g)),
        lambda g, x, y, out: m.where(x == y, g * 0.5, m.where(x < y, g * 0, g)),
    ),
    reference=np.minimum, in_place=False, doc="The smaller; NaN if one is NaN.",
)  # fmt: skip
fmax = elementwise(
    "fmax", lambda x, y: m.fmax(x, y),
    vjp=(
        lambda g, x, y, out: m.where((x >= y) | (y != y), g, g * 0),
        lambda g, x, y, out: m.where((x >= y) | (y != y), g * 0, g),
    ),
    reference=np.fmax, in_place=False, doc="The larger; a NaN loses.",
)  # fmt: skip
fmin = elementwise(
    "fmin", lambda x, y: m.fmin(x, y),
    vjp=(
        lambda g, x, y, out: m.where((x <= y) | (y != y), g, g * 0),
        lambda g, x, y, out: m.where((x <= y) | (y != y), g * 0, g),
    ),
    reference=np.fmin, in_place=False, doc="The smaller; a NaN loses.",
)  # fmt: skip

_CLAMP_DOMAIN = ((-3.0, 3.0), (-1.0, -0.5), (0.5, 1.0))
clamp_min = elementwise(
    "clamp_min", lambda x, lo: m.maximum(x, lo),
    vjp=(
        lambda g, x, lo, out: m.where(x >= lo, g, g * 0),
        lambda g, x, lo, out: m.where(x < lo, g, g * 0),
    ),
    reference=np.maximum, rule="number", domain=_CLAMP_DOMAIN[:2],
    doc="At least `min`.",
)  # fmt: skip
clamp_max = elementwise(
    "clamp_max", lambda x, hi: m.minimum(x, hi),
    vjp=(
        lambda g, x, hi, out: m.where(x <= hi, g, g * 0),
        lambda g, x, hi, out: m.where(x > hi, g, g * 0),
    ),
    reference=np.minimum, rule="number", domain=(_CLAMP_DOMAIN[0], _CLAMP_DOMAIN[2]),
    doc="At most `max`.",
)  # fmt: skip


def _bounds(plain: Any) -> Any:
    """Let either bound of clamp be missing."""

    def call(
        input: Tensor, min: Any = None, max: Any = None, *, out: Tensor | None = None
    ) -> Tensor:
        if min is None and max is None:
            raise ShapeError(
                message(
                    "clamp",
                    "neither min nor max",
                    "at least one",
                    "torch.clamp: At least one of 'min' or 'max' must not be None.",
                )
            )
        if max is None:
            return clamp_min(input, min, out=out)
        if min is None:
            return clamp_max(input, max, out=out)
        return plain(input, min, max, out=out)

    return call


clamp = elementwise(
    "clamp", lambda x, lo, hi: m.minimum(m.maximum(x, lo), hi),
    vjp=(
        lambda g, x, lo, hi, out: m.where((x >= lo) & (x <= hi), g, g * 0),
        lambda g, x, lo, hi, out: m.where((x < lo) & (lo < hi), g, g * 0),
        lambda g, x, lo, hi, out: m.where((x > hi) | (lo > hi), g, g * 0),
    ),
    reference=np.clip, rule="number", domain=_CLAMP_DOMAIN, wrap=_bounds,
    aliases=("clip",), in_place=False, doc="Between `min` and `max`; one may be None.",
)  # fmt: skip


def _clamp_(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """In-place form of `clamp`."""
    if max is None:
        return self.clamp_min_(min)
    if min is None:
        return self.clamp_max_(max)
    return clamp.operator.in_place(self, min, max)


attach("clamp_", _clamp_)
attach("clip_", _clamp_)


def _round(name: str, reference: Any, doc: str, word: Any) -> Any:
    # of integers, the same integers
    return elementwise(
        name, lambda x: word(x) if m.is_float(x) else x,
        vjp=lambda g, x, out: g * 0, reference=reference, rule="number", doc=doc,
        kinks=(0.0, 0.5, -0.5, 1.0, -1.0, 1.5, -1.5, 2.0, -2.0, 2.5, -2.5),
    )  # fmt: skip


floor = _round("floor", np.floor, "The largest whole number not above.", m.floor)
ceil = _round("ceil", np.ceil, "The smallest whole number not below.", m.ceil)
trunc = _round("trunc", np.trunc, "Rounded toward zero.", m.trunc)
_scaled_round = Elementwise(
    "round",
    lambda x, scale: m.rint(x * scale) / scale,
    (lambda g, x, scale, out: g * 0, None),
    roles="ts",
)
_scaled_down = Elementwise(
    "round",
    lambda x, scale: m.rint(x / scale) * scale,
    (lambda g, x, scale, out: g * 0, None),
    roles="ts",
)


def _decimals(plain: Any) -> Any:
    def call(input: Tensor, *, decimals: int = 0, out: Tensor | None = None) -> Tensor:
        if decimals == 0:
            return plain(input, out=out)
        if not input.is_floating_point():
            raise DTypeError(
                message(
                    "round",
                    f"decimals={decimals} for {input.dtype}",
                    "a floating-point tensor",
                    '"round_cpu" not implemented for integers. Use x.float().',
                )
            )
        if decimals > 0:
            return _scaled_round(input, float(10**decimals), out=out)
        return _scaled_down(input, float(10**-decimals), out=out)

    return call


round = elementwise(
    "round", lambda x: m.rint(x) if m.is_float(x) else x,
    vjp=lambda g, x, out: g * 0, reference=np.round, rule="number", wrap=_decimals,
    kinks=(0.5, -0.5, 1.5, -1.5, 2.5, -2.5),
    doc="The nearest whole number, halves to even; or to `decimals` places.",
)  # fmt: skip
frac = elementwise(
    "frac", lambda x: x - m.trunc(x), vjp=lambda g, x, out: g,
    reference=lambda x: x - np.trunc(x), dtypes="float",
    kinks=(0.0, 1.0, -1.0, 2.0, -2.0), doc="What is left after trunc.",
)  # fmt: skip
attach("__round__", lambda self, decimals=0: round(self, decimals=decimals))
copysign = elementwise(
    "copysign", lambda x, y: m.copysign(x, y),
    vjp=(
        lambda g, x, y, out: g * (m.sign(x) * m.copysign(x * 0 + 1, y)),
        lambda g, x, y, out: g * 0,
    ),
    reference=np.copysign, rule="float", kinks=(0.0,),
    doc="The magnitude of input with the sign of other.",
)  # fmt: skip
