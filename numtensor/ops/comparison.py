"""Comparisons, logic, bits, and the tests for special values. All give bool but the
bitwise ones, and none has a gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels import expr
from ..tensor import Tensor
from . import m
from .declare import attach, composed, elementwise
from .registry import function

_BOOL = "result is bool"


def _compare(
    name: str, symbol: str, forward: Any, reference: Any, doc: str, *aliases: str
) -> Any:
    return elementwise(
        name, forward, None, why=_BOOL, rule="compare", reference=reference,
        symbol=symbol, aliases=aliases, doc=doc,
    )  # fmt: skip


lt = _compare("lt", "lt", lambda x, y: x < y, np.less, "input < other.", "less")
le = _compare(
    "le", "le", lambda x, y: x <= y, np.less_equal, "input <= other.", "less_equal"
)
gt = _compare("gt", "gt", lambda x, y: x > y, np.greater, "input > other.", "greater")
ge = _compare(
    "ge",
    "ge",
    lambda x, y: x >= y,
    np.greater_equal,
    "input >= other.",
    "greater_equal",
)
eq = _compare("eq", "eq", lambda x, y: x == y, np.equal, "input == other.")
ne = _compare(
    "ne", "ne", lambda x, y: x != y, np.not_equal, "input != other.", "not_equal"
)


def _logic(name: str, forward: Any, reference: Any, doc: str) -> Any:
    return elementwise(
        name, forward, None, why=_BOOL, rule="logical", reference=reference,
        doc=doc,
    )  # fmt: skip


logical_and = _logic(
    "logical_and", lambda x, y: x & y, np.logical_and, "Both are not 0."
)
logical_or = _logic("logical_or", lambda x, y: x | y, np.logical_or, "One is not 0.")
logical_xor = _logic(
    "logical_xor", lambda x, y: x ^ y, np.logical_xor, "One of the two is not 0."
)
logical_not = _logic("logical_not", lambda x: ~x, np.logical_not, "input is 0.")


def _bits(name: str, symbol: str, forward: Any, reference: Any, doc: str) -> Any:
    return elementwise(
        name, forward, None, why="integer result", rule="bitwise",
        reference=reference, symbol=symbol, doc=doc,
    )  # fmt: skip


bitwise_and = _bits(
    "bitwise_and", "and", lambda x, y: x & y, np.bitwise_and, "input & other."
)
bitwise_or = _bits(
    "bitwise_or", "or", lambda x, y: x | y, np.bitwise_or, "input | other."
)
bitwise_xor = _bits(
    "bitwise_xor", "xor", lambda x, y: x ^ y, np.bitwise_xor, "input ^ other."
)
bitwise_not = _bits("bitwise_not", "", lambda x: ~x, np.invert, "~input.")
attach("__invert__", bitwise_not)


def _shift(x: Any, y: Any, left: bool) -> Any:
    """Shift, 0 (or -1, right of a negative number) where the width is exceeded."""
    width = 8 * {"uint8": 1, "int8": 1, "int16": 2, "int32": 4}.get(x.dtype, 8)
    inside = (y >= 0) & (y < width)
    y = m.where(inside, y, y * 0)
    if left:
        return m.where(inside, x << y, x * 0)
    return m.where(inside, x >> y, m.where(x < 0, x * 0 - 1, x * 0))


bitwise_left_shift = elementwise(
    "bitwise_left_shift", lambda x, y: _shift(x, y, True), None,
    why="integer result", rule="bitwise", dtypes="integer_number",
    reference=lambda x, y: np.left_shift(x, y), symbol="lshift",
    domain=((-9.0, 9.0), (0.0, 6.0)), doc="input << other.",
)  # fmt: skip
bitwise_right_shift = elementwise(
    "bitwise_right_shift", lambda x, y: _shift(x, y, False), None,
    why="integer result", rule="bitwise", dtypes="integer_number",
    reference=lambda x, y: np.right_shift(x, y), symbol="rshift",
    domain=((-9.0, 9.0), (0.0, 6.0)), doc="input >> other.",
)  # fmt: skip


def _test(name: str, forward: Any, reference: Any, doc: str) -> Any:
    return elementwise(
        name, forward, None, why=_BOOL, rule="compare", reference=reference,
        in_place=False, doc=doc,
    )  # fmt: skip


def _never(x: Any) -> Any:
    return (x == x) & expr.const(False, "bool")


isnan = _test("isnan", lambda x: m.isnan(x), np.isnan, "Whether each element is NaN.")
isinf = _test(
    "isinf", lambda x: m.abs(x) == m.inf if m.is_float(x) else _never(x), np.isinf,
    "Whether each element is infinite.",
)  # fmt: skip
isfinite = _test(
    "isfinite", lambda x: m.abs(x) < m.inf if m.is_float(x) else x == x, np.isfinite,
    "Whether each element is neither NaN nor infinite.",
)  # fmt: skip
signbit = _test(
    "signbit",
    lambda x: m.copysign(expr.const(1, x.dtype), x) < 0 if m.is_float(x) else x < 0,
    np.signbit, "Whether the sign bit is set: of -0.0 too.",
)  # fmt: skip


@composed("isclose", differentiable=False, why=_BOOL, names="unify")
def isclose(
    input: Tensor,
    other: Tensor,
    rtol: float = 1e-05,
    atol: float = 1e-08,
    equal_nan: bool = False,
) -> Tensor:
    """Whether |input - other| <= atol + rtol * |other|, elementwise.

    >>> import numtensor as nt
    >>> nt.isclose(nt.tensor([1.0, 2.0]), nt.tensor([1.0, 2.1]))
    tensor([ True, False])
    """
    close = eq(input, other)
    if input.is_floating_point():
        gap = function("abs")(input - other)
        allowed = atol + function("abs")(other * rtol)
        close = close | (isfinite(gap) & (gap <= allowed))
        if equal_nan:
            close = close | (isnan(input) & isnan(other))
    else:
        gap = function("abs")(input - other)
        close = close | (gap <= atol + function("abs")(other * rtol))
    return close


@composed("allclose", differentiable=False, why=_BOOL, names="unify")
def allclose(
    input: Tensor,
    other: Tensor,
    rtol: float = 1e-05,
    atol: float = 1e-08,
    equal_nan: bool = False,
) -> bool:
    """Whether all elements are close, in the sense of `isclose`."""
    return bool(function("all")(isclose(input, other, rtol, atol, equal_nan)))


@composed("equal", differentiable=False, why=_BOOL, names="unify")
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether both tensors have one shape and the same elements."""
    if input.shape != other.shape:
        return False
    return bool(function("all")(eq(input, other)))
