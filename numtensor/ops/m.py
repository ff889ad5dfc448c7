"""The vocabulary of operators' expressions and vjps.

Every word works on symbolic scalars (it is then printed into a kernel) and on Tensors
(when the gradient of a gradient is taken), so that one rule serves both.
"""

from __future__ import annotations

import math
from typing import Any

from ..kernels import expr
from ..kernels.expr import Expr
from .registry import function

pi = math.pi
inf = math.inf


def _word(name: str, op: str | None = None) -> Any:
    primitive = op or name

    def call(*args: Any) -> Any:
        if any(isinstance(a, Expr) for a in args):
            return expr.apply(primitive, *args)
        if all(isinstance(a, (bool, int, float)) for a in args):
            # of Python numbers, as in 2 ** x
            from ..creation import tensor
            from ..dtypes import float64

            args = tuple(tensor(a, dtype=float64) for a in args)
        return function(name)(*args)

    call.__name__ = name
    return call


exp = _word("exp")
exp2 = _word("exp2")
expm1 = _word("expm1")
log = _word("log")
log2 = _word("log2")
log10 = _word("log10")
log1p = _word("log1p")
tanh = _word("tanh")
sigmoid = _word("sigmoid")
sinh = _word("sinh")
cosh = _word("cosh")
sin = _word("sin")
cos = _word("cos")
tan = _word("tan")
asin = _word("asin")
acos = _word("acos")
atan = _word("atan")
atan2 = _word("atan2")
asinh = _word("asinh")
acosh = _word("acosh")
atanh = _word("atanh")
erf = _word("erf")
erfc = _word("erfc")
sqrt = _word("sqrt")
pow = _word("pow")
floor = _word("floor")
ceil = _word("ceil")
trunc = _word("trunc")
rint = _word("round", "rint")
fmod = _word("fmod")


def where(condition: Any, x: Any, y: Any) -> Any:
    """x where `condition`, else y; both are computed."""
    if isinstance(condition, Expr):
        return expr.where(condition, x, y)
    if isinstance(condition, bool):  # of a Python number, as in x ** 3
        return x if condition else y
    return function("where")(condition, x, y)


def abs(x: Any) -> Any:
    """The absolute value; of integers too."""
    if not isinstance(x, Expr):
        return function("abs")(x)
    if x.dtype in expr.FLOATS:
        return expr.apply("fabs", x)
    if x.dtype in expr.UNSIGNED:
        return x
    return expr.where(x < 0, -x, x)


def sign(x: Any) -> Any:
    """-1, 0 or 1, 0 for NaN as PyTorch has it."""
    if not isinstance(x, Expr):
        return function("sign")(x)
    one, zero = expr.const(1, x.dtype), expr.const(0, x.dtype)
    if x.dtype in expr.UNSIGNED:
        return expr.where(x > 0, one, zero)
    return expr.where(x > 0, one, expr.where(x < 0, expr.const(-1, x.dtype), zero))


def _extreme(name: str, nan_wins: bool) -> Any:
    primitive = name

    def call(x: Any, y: Any) -> Any:
        if not (isinstance(x, Expr) or isinstance(y, Expr)):
            return function(name)(x, y)
        x, y = expr.unify(x, y)
        if x.dtype in expr.FLOATS:
            return expr.apply(primitive, x, y)
        larger = name in ("maximum", "fmax")
        return expr.where(x > y if larger else x < y, x, y)

    call.__name__ = name
    return call


maximum = _extreme("maximum", True)
minimum = _extreme("minimum", True)
fmax = _extreme("fmax", False)
fmin = _extreme("fmin", False)


def isnan(x: Any) -> Any:
    """Whether x is not a number."""
    if isinstance(x, Expr):
        return (
            x != x if x.dtype in expr.FLOATS else expr.const(False, "bool") & (x == x)
        )
    return function("isnan")(x)


def copysign(x: Any, y: Any) -> Any:
    """The magnitude of x with the sign of y."""
    if isinstance(x, Expr) or isinstance(y, Expr):
        return expr.apply("copysign", x, y)
    return function("copysign")(x, y)


def cast(x: Any, like: Any) -> Any:
    """x in the dtype of `like`."""
    if isinstance(x, Expr):
        return expr.cast(x, like.dtype)
    return x.to(like.dtype)


def is_float(x: Any) -> bool:
    """Whether x is of a floating-point dtype."""
    if isinstance(x, Expr):
        return x.dtype in expr.FLOATS
    return x.is_floating_point()


def int_div(x: Any, y: Any) -> Any:
    """Integer quotient rounded toward zero; symbolic only."""
    return expr.apply("int_div", x, y)
