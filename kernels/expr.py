"""Symbolic scalars: the expression a kernel computes for one element.

An operator's declaration is called with `Expr` leaves; what it returns is printed
into kernels. Knows dtypes by name and nothing of loops, memory or targets.

An `Expr` is a *primitive* (a line of kernel source: `+`, `fma`, `where`, ...) or a
*function* (`exp`, `tanh`, ...), which each target turns into primitives or a library
call when it prints (on the CPU: `mathlib`). Every node has one dtype; Python numbers
take the dtype of the node they meet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

FLOATS = ("float32", "float64")
SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint32", "uint64")
ORDER = (
    "bool",
    "uint8",
    "int8",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float32",
    "float64",
)

#: primitives that return bool whatever they compare
COMPARISONS = {"lt", "le", "gt", "ge", "eq", "ne"}


class Expr:
    """One node: an operation, its operands, its dtype."""

    __slots__ = ("op", "args", "dtype", "value")

    def __init__(
        self, op: str, args: tuple[Expr, ...], dtype: str, value: object = None
    ) -> None:
        self.op = op
        self.args = args
        self.dtype = dtype
        self.value = value

    def __repr__(self) -> str:
        if self.op in ("var", "const"):
            return str(self.value)
        return f"{self.op}({', '.join(map(repr, self.args))})"

    def __bool__(self) -> bool:
        raise TypeError(
            "a symbolic scalar has no truth value: got a Python `if`, `and`, `max` or "
            "`==` used as a condition in an operator's expression; expected an "
            "expression; use m.where, m.maximum or `&`."
        )

    def __add__(self, other):
        return binary("add", self, other)

    def __radd__(self, other):
        return binary("add", other, self)

    def __sub__(self, other):
        return binary("sub", self, other)

    def __rsub__(self, other):
        return binary("sub", other, self)

    def __mul__(self, other):
        return binary("mul", self, other)

    def __rmul__(self, other):
        return binary("mul", other, self)

    def __truediv__(self, other):
        return binary("div", self, other)

    def __rtruediv__(self, other):
        return binary("div", other, self)

    def __neg__(self):
        return Expr("neg", (self,), self.dtype)

    def __lt__(self, other):
        return binary("lt", self, other)

    def __le__(self, other):
        return binary("le", self, other)

    def __gt__(self, other):
        return binary("gt", self, other)

    def __ge__(self, other):
        return binary("ge", self, other)

    def __eq__(self, other):  # type: ignore[override]
        return binary("eq", self, other)

    def __ne__(self, other):  # type: ignore[override]
        return binary("ne", self, other)

    __hash__ = None  # type: ignore[assignment]

    def __and__(self, other):
        return binary("and", self, other)

    def __or__(self, other):
        return binary("or", self, other)

    def __xor__(self, other):
        return binary("xor", self, other)

    def __invert__(self):
        return Expr("not", (self,), self.dtype)

    def __lshift__(self, other):
        return binary("shl", self, other)

    def __rshift__(self, other):
        return binary("shr", self, other)


def var(name: str, dtype: str) -> Expr:
    """A leaf: a value the kernel has loaded under `name`."""
    return Expr("var", (), _computed(dtype), name)


def _computed(dtype: str) -> str:
    """Return the dtype of a loaded element: float16 is converted where it is read."""
    return "float32" if dtype == "float16" else dtype


def const(value: float | int | bool, dtype: str) -> Expr:
    """A literal of `dtype`."""
    if dtype in FLOATS:
        value = float(value)
    elif dtype == "bool":
        value = bool(value)
    elif isinstance(value, float):
        if not value.is_integer():
            raise TypeError(f"literal {value} does not fit dtype {dtype}")
        value = int(value)
    return Expr("const", (), dtype, value)


def cast(x: Expr, dtype: str) -> Expr:
    """x converted as C converts: toward zero into integers, `!= 0` into bool."""
    dtype = _computed(dtype)
    if x.dtype == dtype:
        return x
    if x.op == "const":
        return const(x.value, dtype)  # type: ignore[arg-type]
    return Expr("cast", (x,), dtype)


def unify(*xs: Expr | float | int) -> list[Expr]:
    """Give every operand one dtype: the highest among the expressions."""
    dtypes = [x.dtype for x in xs if isinstance(x, Expr)]
    dtype = max(dtypes, key=ORDER.index)
    if dtype == "bool" and any(
        isinstance(x, (int, float)) and not isinstance(x, bool) for x in xs
    ):
        raise TypeError("a number meets a bool expression: cast it, or use m.where")
    return [cast(x, dtype) if isinstance(x, Expr) else const(x, dtype) for x in xs]


def binary(op: str, x, y) -> Expr:
    """A primitive of two operands of one dtype."""
    x, y = unify(x, y)
    return Expr(op, (x, y), "bool" if op in COMPARISONS else x.dtype)


def apply(op: str, *xs, dtype: str | None = None) -> Expr:
    """A primitive or function of operands of one dtype, which it returns."""
    args = unify(*xs)
    return Expr(op, tuple(args), dtype or args[0].dtype)


def where(condition: Expr, x, y) -> Expr:
    """x where `condition`, else y; both are computed."""
    if isinstance(x, Expr) or isinstance(y, Expr):
        x, y = unify(x, y)
    else:
        raise TypeError("where: at least one branch must be an expression")
    return Expr("where", (condition, x, y), x.dtype)


def bits(x: Expr) -> Expr:
    """The bits of a float as an integer of its width."""
    return Expr("bits", (x,), "int32" if x.dtype == "float32" else "int64")


def from_bits(x: Expr) -> Expr:
    """The float whose bits an int32 or int64 holds."""
    return Expr("from_bits", (x,), "float32" if x.dtype == "int32" else "float64")


# How each primitive reads in a kernel. {0}, {1}, ... are operand names.
_TEMPLATES = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "eq": "{0} == {1}",
    "ne": "{0} != {1}",
    "and": "{0} & {1}",
    "or": "{0} | {1}",
    "xor": "{0} ^ {1}",
    "shl": "{0} << {1}",
    "shr": "{0} >> {1}",
}
_CALLS = {
    "where",
    "floor",
    "ceil",
    "trunc",
    "rint",
    "fabs",
    "sqrt",
    "copysign",
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "fma",
    "fma_exact",
    "fmod",
    "int_div",
    "bits",
    "from_bits",
    "shift_right_logical",
    "turn_piece",
}
#: primitives whose result Numba widens for narrow integers
_WIDENED = {"add", "sub", "mul", "neg", "and", "or", "xor", "shl", "shr", "not"}

#: rough cost of a primitive in vectorised additions: serial or threaded hangs on it
_COSTS = {"div": 4, "sqrt": 4, "fmod": 100, "int_div": 20, "libm": 400}


@dataclass
class Printer:
    """Prints expressions as statements, each value once (common subexpressions).

    `expand(name, args)` turns a function node into primitives, or returns None for a
    call into the C library, or for a word of the target's own if `own_words`.
    """

    expand: Callable[[str, tuple[Expr, ...]], Expr | None]
    own_words: bool = False
    prefix: str = "t"  # of the names of values
    lines: list[str] = field(default_factory=list)
    calls: set[str] = field(default_factory=set)
    cost: int = 0
    _names: dict[object, str] = field(default_factory=dict)
    _seen: dict[int, str] = field(default_factory=dict)
    _keep: list[Expr] = field(default_factory=list)

    def name(self, x: Expr) -> str:
        """Return the name that holds x's value, printing what computes it."""
        known = self._seen.get(id(x))
        if known is None:
            known = self._print(x)
            self._seen[id(x)] = known
            self._keep.append(x)  # ids must not be reused while we hold them
        return known

    def _print(self, x: Expr) -> str:
        if x.op == "var":
            return str(x.value)
        if x.op == "const":
            return self._literal(x)
        args = tuple(self.name(a) for a in x.args)
        key = (x.op, x.dtype, args)
        if key in self._names:
            return self._names[key]
        if x.op not in _TEMPLATES and x.op not in _CALLS:
            leaves = tuple(
                a if a.op == "const" else var(n, a.dtype)
                for a, n in zip(x.args, args, strict=True)
            )
            expansion = None
            if x.op not in ("cast", "not"):
                expansion = self.expand(x.op, leaves)
            if expansion is not None:
                self.lines.append(f"# {x.op}({', '.join(args)})")
                result = self.name(cast(expansion, x.dtype))
                self._names[key] = result
                return result
        result = f"{self.prefix}{len(self._names)}"
        self.lines.append(f"{result} = {self._code(x, args)}")
        self._names[key] = result
        return result

    def _literal(self, x: Expr) -> str:
        value = x.value
        if x.dtype == "bool":
            return repr(value)
        self.calls.add(x.dtype)
        if isinstance(value, float) and not math.isfinite(value):
            self.calls.add("math")
            text = "math.nan" if math.isnan(value) else "math.inf"
            return f"{x.dtype}({'-' if value < 0 else ''}{text})"
        return f"{x.dtype}({value!r})"

    def _code(self, x: Expr, args: Sequence[str]) -> str:
        self.cost += _COSTS.get(x.op, 1)
        if x.op == "cast":
            return self._cast(x.args[0].dtype, x.dtype, args[0])
        if x.op == "not":
            text = f"not {args[0]}" if x.dtype == "bool" else f"~{args[0]}"
        elif x.op in _TEMPLATES:
            text = _TEMPLATES[x.op].format(*args)
        elif x.op in _CALLS or self.own_words:
            self.calls.add(x.op)
            return f"{x.op}({', '.join(args)})"
        else:
            self.cost += _COSTS["libm"]
            self.calls.add("math")
            text = f"math.{x.op}({', '.join(args)})"
        narrow = x.dtype in SIGNED + UNSIGNED and x.dtype != "int64"
        if narrow and x.op in _WIDENED:
            self.calls.add(x.dtype)
            return f"{x.dtype}({text})"
        return text

    def _cast(self, source: str, target: str, name: str) -> str:
        if target == "bool":
            return f"{name} != 0"
        self.calls.add(target)
        if source in FLOATS and target not in FLOATS and target != "int64":
            # straight from float, what lies outside the target's range is undefined
            self.calls.add("int64")
            return f"{target}(int64({name}))"
        return f"{target}({name})"
