"""Expressions as data: what they name, what they cost, and their parts replaced.

Works on `expr.Expr`, whose objects are shared: nothing here walks a part twice.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..kernels.expr import Expr, cast, const
from ..kernels.loops import Combine

#: cost in additions of what is cheap enough to be computed twice
_COSTS = dict.fromkeys(
    (
        "add", "sub", "mul", "neg", "lt", "le", "gt", "ge", "eq", "ne", "and", "or",
        "xor", "not", "shl", "shr", "where", "cast", "maximum", "minimum", "fmax",
        "fmin", "fabs", "fma", "copysign", "floor", "ceil", "trunc", "rint", "bits",
        "from_bits",
    ),
    1,
) | {"div": 4, "sqrt": 4}  # fmt: skip
#: and of all else: elementary functions, remainders
DEAR = 100

_INTEGERS = {
    name: getattr(ctypes, f"c_{name}")
    for name in (
        "uint8", "int8", "int16", "uint32", "int32", "uint64", "int64"
    )
}  # fmt: skip


@dataclass(frozen=True)
class Measure:
    """What an expression names, its cost in additions, its longest chain of parts."""

    names: frozenset[str]
    cost: int
    depth: int


def measure(value: Expr) -> Measure:
    """Return what there is to know of an expression."""
    depths: dict[int, int] = {}
    names: set[str] = set()
    cost = 0

    def visit(x: Expr) -> int:
        nonlocal cost
        known = depths.get(id(x))
        if known is not None:
            return known
        if not x.args:
            depth = 0
            if x.op == "var":
                names.add(str(x.value))
        else:
            depth = 1 + max([visit(a) for a in x.args])
            cost += _COSTS.get(x.op, DEAR)
        depths[id(x)] = depth
        return depth

    depth = visit(value)
    return Measure(frozenset(names), cost, depth)


def replaced(
    value: Expr, table: Mapping[str, Expr], done: dict[int, Expr] | None = None
) -> Expr:
    """Return the expression with other expressions for some of its names.

    `done` carries what was replaced from one call to the next: values must outlive it.
    """
    memo = {} if done is None else done

    def visit(x: Expr) -> Expr:
        known = memo.get(id(x))
        if known is not None:
            return known
        if x.op == "var":
            result = table.get(str(x.value), x)
        elif not x.args:
            result = x
        else:
            args = tuple([visit(a) for a in x.args])
            changed = any(a is not b for a, b in zip(args, x.args, strict=True))
            result = Expr(x.op, args, x.dtype, x.value) if changed else x
        memo[id(x)] = result
        return result

    return visit(value)


def stored(value: Expr, dtype: str) -> Expr:
    """Return what is loaded where a value was stored as `dtype`, float16 apart.

    As `expr.cast`, but a literal becomes what memory would hold of it.
    """
    if value.op != "const":
        return cast(value, dtype)
    number: Any = value.value
    if dtype == "bool":
        return const(bool(number), dtype)
    if dtype in _INTEGERS:
        if isinstance(number, float) and not math.isfinite(number):
            return Expr("cast", (value,), dtype)  # whatever the machine makes of it
        return const(_INTEGERS[dtype](int(number)).value, dtype)
    if dtype == "float16":
        dtype = "float32"  # in which it is computed; memory rounds again
    if dtype == "float32":
        number = ctypes.c_float(number).value
    return const(number, dtype)


def identity(combine: Combine, dtype: str) -> Expr:
    """Return the literal that joins with any value to that value."""
    if combine.name in ("sum", "prod"):
        return const(int(combine.name == "prod"), dtype)
    if combine.name in ("any", "all"):
        return const(combine.name == "all", dtype)
    highest = combine.name == "min"
    if dtype.startswith("float"):
        return const(math.inf if highest else -math.inf, dtype)
    if dtype == "bool":
        return const(highest, dtype)
    bits = 8 * ctypes.sizeof(_INTEGERS[dtype])
    if dtype.startswith("uint"):
        return const(2**bits - 1 if highest else 0, dtype)
    return const(2 ** (bits - 1) - 1 if highest else -(2 ** (bits - 1)), dtype)


def exact(value: Any) -> Any:
    """Return a key that tells numbers and expressions apart by what they are."""
    if isinstance(value, Expr):
        own = exact(value.value) if not value.args else value.value
        return (value.op, value.dtype, own, *[exact(a) for a in value.args])
    return (type(value).__name__, repr(value))
