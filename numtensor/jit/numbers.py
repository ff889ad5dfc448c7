"""Numbers that differ from run to run, worked out in Python before the kernels run.

A number is an expression over `n0`, `n1`, ...; what it means is what a float64 kernel
would compute. Knows no loops and no memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..kernels.expr import Expr, Printer


def place_of(value: Expr) -> int | None:
    """Return k if an expression is just the number `n<k>`, else None."""
    if value.op == "var" and value.dtype == "float64":
        return int(str(value.value)[1:])
    return None


def evaluator(wanted: Sequence[Expr]) -> Callable[[Sequence[float]], list[Any]]:
    """Return a function from the numbers of a run to the values of expressions.

    >>> from numtensor.kernels.expr import var
    >>> evaluator([var("n0", "float64") * 2.0 + var("n1", "float64")])([3.0, 1.0])
    [7.0]
    """
    printer = Printer(lambda name, args: None)
    names = [printer.name(x) for x in wanted]
    used = sorted({int(str(x.value)[1:]) for x in _leaves(wanted)})
    lines = [f"n{k} = float64(numbers[{k}])" for k in used] + printer.lines
    body = "\n    ".join(
        [*lines, f"return [{', '.join(f'{n}.item()' for n in names)}]"]
    )
    space: dict[str, Any] = dict(_WORDS)
    exec(f"def evaluate(numbers):\n    {body}\n", space)
    evaluate: Callable[[Sequence[float]], list[Any]] = space["evaluate"]

    def quietly(numbers: Sequence[float]) -> list[Any]:
        with np.errstate(all="ignore"):
            return evaluate(numbers)

    return quietly


def _leaves(wanted: Sequence[Expr]) -> list[Expr]:
    found, waiting = [], list(wanted)
    while waiting:
        x = waiting.pop()
        waiting += x.args
        if x.op == "var":
            found.append(x)
    return found


class _Functions:
    """Functions by their names, which a kernel has from `mathlib` or the C library."""

    nan, inf = math.nan, math.inf

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name == "pow":
            return lambda x, y: np.power(x, y)
        if name == "sigmoid":
            return lambda x: 1.0 / (1.0 + np.exp(-x))
        found = getattr(np, _NUMPY.get(name, name), None)
        if found is not None:
            return found
        own = getattr(math, name)
        return lambda *xs: np.float64(own(*xs))


_NUMPY = {
    "acos": "arccos", "asin": "arcsin", "atan": "arctan", "atan2": "arctan2",
    "acosh": "arccosh", "asinh": "arcsinh", "atanh": "arctanh",
}  # fmt: skip

_WORDS: dict[str, Any] = {
    "math": _Functions(),
    "bool_": np.bool_,
    "where": lambda condition, x, y: x if condition else y,
    "fma": lambda x, y, z: x * y + z,
    "fma_exact": lambda x, y, z: x * y + z,
    "int_div": lambda x, y: type(x)(int(x / y)) if y else x * 0,
    **{name: getattr(np, name) for name in ("floor", "ceil", "trunc", "rint", "fabs")},
    **{name: getattr(np, name) for name in ("sqrt", "copysign", "maximum", "minimum")},
    **{name: getattr(np, name) for name in ("fmax", "fmin", "fmod")},
    **{
        name: getattr(np, name)
        for name in (
            "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64",
            "float32", "float64",
        )
    },
}  # fmt: skip
