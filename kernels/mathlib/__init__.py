"""Elementary functions as expressions that LLVM can vectorise.

Each function takes `Expr` arguments of dtype float32 or float64 and returns an
`Expr` of primitives: no branch and no call, so that a flat loop over it becomes
packed instructions. A function that is not in `EXPANSIONS` is printed as a call into
the C library. Knows nothing of loops, kernels or targets.

Errors in units in the last place of the exact result (measured): exp and log below
1, sigmoid, tanh and pow below 2, all others below 3. Signed zeros, infinities, NaN
and subnormal numbers are as in C.
"""

from __future__ import annotations

from collections.abc import Callable

from ..expr import Expr
from ._error_function import erf, erfc
from ._exponential import exp, exp2, expm1, sigmoid, tanh
from ._hyperbolic import acosh, asinh, atanh, cosh, sinh
from ._logarithm import log, log1p, log2, log10
from ._power import pow
from ._trigonometric import acos, asin, atan, atan2, cos, sin, tan

EXPANSIONS: dict[str, Callable[..., Expr]] = {
    "exp": exp,
    "log": log,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "expm1": expm1,
    "log1p": log1p,
    "exp2": exp2,
    "log2": log2,
    "log10": log10,
    "pow": pow,
    "sinh": sinh,
    "cosh": cosh,
    "sin": sin,
    "cos": cos,
    "tan": tan,
    "asin": asin,
    "acos": acos,
    "atan": atan,
    "atan2": atan2,
    "asinh": asinh,
    "acosh": acosh,
    "atanh": atanh,
    "erf": erf,
    "erfc": erfc,
}


def expand(name: str, args: tuple[Expr, ...]) -> Expr | None:
    """Return function `name` of `args` as primitives, or None for a library call."""
    function = EXPANSIONS.get(name)
    if function is None or args[0].dtype not in ("float32", "float64"):
        return None
    return function(*args)
