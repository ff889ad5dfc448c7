"""The less usual elementwise functions."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np

from ..dtypes import finfo, float64
from ..elementwise import Elementwise
from ..tensor import Tensor
from . import m
from .declare import attach_stored_back, composed, elementwise
from .pairs import into
from .registry import function

deg2rad = elementwise(
    "deg2rad", lambda x: x * (math.pi / 180), rule="float",
    vjp=lambda g, x, out: g * (math.pi / 180), reference=np.deg2rad,
    domain=(-360.0, 360.0), doc="Degrees as radians.",
)  # fmt: skip
rad2deg = elementwise(
    "rad2deg", lambda x: x * (180 / math.pi), rule="float",
    vjp=lambda g, x, out: g * (180 / math.pi), reference=np.rad2deg,
    doc="Radians as degrees.",
)  # fmt: skip


def _waves(x: Any) -> tuple[Any, Any]:
    """sin(pi x) and cos(pi x), exactly 0 where they should be: first to [-1/2, 1/2]."""
    whole = m.rint(x)
    rest = (x - whole) * math.pi
    even = m.fmod(whole, 2.0) == 0
    sine, cosine = m.sin(rest), m.cos(rest)
    return m.where(even, sine, 0 - sine), m.where(even, cosine, -cosine)


def _sinc(x: Any) -> Any:
    safe = m.where(x == 0, x * 0 + 1, m.abs(x))
    return m.where(x == 0, x * 0 + 1, _waves(safe)[0] / (safe * math.pi))


def _sinc_slope(x: Any) -> Any:
    safe = m.where(x == 0, x * 0 + 1, x)
    sine, cosine = _waves(safe)
    slope = (cosine - sine / (safe * math.pi)) / safe
    return m.where(x == 0, x * 0, slope)


def _sinc_reference(x: Any) -> Any:
    whole = (np.rint(x) == x) & (x != 0) & np.isfinite(x)
    return np.where(whole, 0.0, np.sinc(np.where(whole, 0.5, x)))


sinc = elementwise(
    "sinc", _sinc, vjp=lambda g, x, out: g * _sinc_slope(x), rule="float",
    reference=_sinc_reference, kinks=(0.0,), doc="sin(pi x) / (pi x), 1 at 0.",
)  # fmt: skip
xlogy = elementwise(
    "xlogy",
    lambda x, y: m.where(
        (x == 0) & (y == y), m.abs(x), x * m.log(m.where(x == 0, y * 0 + 1, y))
    ),
    vjp=(
        lambda g, x, y, out: m.where(
            (x == 0) & (y <= 0), g * 0, g * m.log(m.where(y <= 0, y * 0 + 1, y))
        ),
        lambda g, x, y, out: g * (x / y),
    ),
    rule="float", domain=((-3.0, 3.0), (0.2, 4.0)),
    reference=lambda x, y: np.where((x == 0) & (y == y), 0.0, x * np.log(y)),
    doc="input * log(other), 0 where input is 0.",
)  # fmt: skip
heaviside = elementwise(
    "heaviside",
    lambda x, y: m.where(x == 0, y, m.cast(x > 0, y)),
    vjp=None, why="not implemented by PyTorch",
    reference=lambda x, y: np.where(x == 0, y, x > 0),
    rule="no bool", doc="0 below 0, 1 above, and `values` at 0.",
)  # fmt: skip
ldexp = elementwise(
    "ldexp", lambda x, y: x * m.exp2(y), rule="float",
    vjp=(
        lambda g, x, y, out: g * m.exp2(y),
        lambda g, x, y, out: g * out * math.log(2),
    ),
    reference=lambda x, y: x * 2.0**y, doc="input * 2 ** other.",
)  # fmt: skip


def _clamped_logit(plain: Any) -> Any:
    def call(
        input: Tensor, eps: float | None = None, *, out: Tensor | None = None
    ) -> Tensor:
        if eps is not None:
            input = function("clamp")(input, eps, 1 - eps)
        return plain(input, out=out)

    return call


logit = elementwise(
    "logit", lambda x: m.log(x / (1 - x)), rule="float", in_place=False,
    vjp=lambda g, x, out: g / (x * (1 - x)), domain=(0.05, 0.95),
    reference=lambda x: np.log(x / (1 - x)), wrap=_clamped_logit,
    doc="log(x / (1 - x)), of x clamped to [eps, 1 - eps] if eps is given.",
)  # fmt: skip

# Rational approximations of the inverse error function, then two steps of Halley's
# method on erf itself. Source: M. Giles, "Approximating the erfinv function", GPU
# Computing Gems Jade Edition, 2011, for the polynomials (single precision).
_CENTRE = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
    -0.00125372503, -0.00417768164, 0.246640727, 1.50140941,
)  # fmt: skip
_TAIL = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
    -0.0076224613, 0.00943887047, 1.00167406, 2.83297682,
)  # fmt: skip


def _polynomial(x: Any, coefficients: tuple[float, ...]) -> Any:
    total = x * 0 + coefficients[0]
    for c in coefficients[1:]:
        total = total * x + c
    return total


def _erfinv(x: Any) -> Any:
    size = m.abs(x)
    w = -m.log((1 - size) * (1 + size))
    near = m.where(w < 5, w, w * 0)
    far = m.where(w < 5, w * 0 + 5, w)
    y = size * m.where(
        w < 5, _polynomial(near - 2.5, _CENTRE), _polynomial(m.sqrt(far) - 3, _TAIL)
    )
    for _ in range(2):
        # erfc where erf is near 1, whose digits would cancel
        miss = m.where(size < 0.5, m.erf(y) - size, (1 - size) - m.erfc(y))
        step = miss / (m.exp(-y * y) * (2 / math.sqrt(math.pi)))
        y = y - step / (1 + y * step)
    y = m.copysign(y, x)
    inside = m.where(size == 1, x / (size * 0), m.where(x == 0, x, y))
    return m.where(size > 1, (x - x) / (x - x), inside)


def _erfinv_reference(x: Any) -> Any:
    quantile = statistics.NormalDist().inv_cdf  # Wichura's, to 16 digits

    def one(v: float) -> float:
        if abs(v) < 1e-8:  # the next term of the series is v ** 3
            return v * math.sqrt(math.pi) / 2
        if abs(v) < 1:
            return quantile((v + 1) / 2) / math.sqrt(2)
        return math.copysign(math.inf, v) if abs(v) == 1 else math.nan

    return np.vectorize(one, otypes=[float])(np.asarray(x, np.float64))


erfinv = elementwise(
    "erfinv", _erfinv, rule="float", domain=(-0.95, 0.95),
    vjp=lambda g, x, out: g * m.exp(out * out) * (math.sqrt(math.pi) / 2),
    reference=_erfinv_reference, doc="The inverse of the error function.",
)  # fmt: skip

_replace = Elementwise(
    "nan_to_num",
    lambda x, nan, high, low: m.where(
        m.isnan(x), nan, m.where(x == m.inf, high, m.where(x == -m.inf, low, x))
    ),
    (
        lambda g, x, nan, high, low, out: m.where(
            m.isnan(x) | (m.abs(x) == m.inf), g * 0, g
        ),
        None,
        None,
        None,
    ),
    roles="tsss",
)


@composed("nan_to_num", names="keep", samples=lambda make: [((make(2, 3),), {})])
def nan_to_num(
    input: Tensor,
    nan: float | None = 0.0,
    posinf: float | None = None,
    neginf: float | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Return the tensor with NaN, inf and -inf replaced.

    Infinities become the largest and the smallest number of the dtype, unless given.

    >>> import numtensor as nt
    >>> nt.nan_to_num(nt.tensor([float("nan"), 1.0, float("inf")]), posinf=9.0)
    tensor([0., 1., 9.])
    """
    if not input.is_floating_point():
        result = input.clone()
        return into("nan_to_num", out, result)
    limits = finfo(input.dtype)
    high = limits.max if posinf is None else float(posinf)
    low = limits.min if neginf is None else float(neginf)
    return _replace(input, float(nan or 0.0), high, low, out=out)


for _call in (logit, nan_to_num):
    attach_stored_back(_call)


@composed(
    "float_power", names="unify",
    samples=lambda make: [((make(2, 3).abs() + 1, 2), {})],
)  # fmt: skip
def float_power(input: Any, exponent: Any) -> Tensor:
    """Return input ** exponent, computed in float64."""

    def wide(x: Any) -> Any:
        return x.to(float64) if isinstance(x, Tensor) else float(x)

    return function("pow")(wide(input), wide(exponent))
