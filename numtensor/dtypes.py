"""Dtypes and PyTorch's rules for mixing them.

Knows nothing of tensors: promotion takes dtypes and says what the result is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import DTypeError, message

#: bool < integers < floats; a higher category wins over a lower one of any width
BOOL, INTEGER, FLOAT = range(3)


class dtype:
    """The kind of number a tensor holds; compared by identity.

    >>> float32
    torch.float32
    >>> float32.itemsize, float32.is_floating_point
    (4, True)
    """

    __slots__ = ("name", "itemsize", "category", "is_signed", "numpy", "order")

    def __init__(self, name: str, category: int, order: int) -> None:
        self.name = name
        self.numpy = np.dtype(name)
        self.itemsize = self.numpy.itemsize
        self.category = category
        self.is_signed = self.numpy.kind in "if"
        self.order = order

    @property
    def is_floating_point(self) -> bool:
        """Whether the dtype holds fractions."""
        return self.category == FLOAT

    @property
    def is_complex(self) -> bool:
        """Whether the dtype holds complex numbers: none of numtensor's does."""
        return False

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> Any:
        return (find, (self.name,))


bool_ = dtype("bool", BOOL, 0)
uint8 = dtype("uint8", INTEGER, 1)
int8 = dtype("int8", INTEGER, 2)
int16 = dtype("int16", INTEGER, 3)
int32 = dtype("int32", INTEGER, 4)
int64 = dtype("int64", INTEGER, 5)
#: for storage: kernels convert it, and compute in the others
float16 = dtype("float16", FLOAT, 6)
float32 = dtype("float32", FLOAT, 7)
float64 = dtype("float64", FLOAT, 8)

ALL = (bool_, uint8, int8, int16, int32, int64, float16, float32, float64)
_BY_NAME = {d.name: d for d in ALL} | {
    "half": float16,
    "float": float32,
    "double": float64,
    "short": int16,
    "int": int32,
    "long": int64,
}
_BY_NUMPY = {d.numpy: d for d in ALL}
_BY_PYTHON = {bool: bool_, int: int64, float: float64}

_default = float32

#: called when the default dtype changes, by whoever has worked something out with it
default_changed: list[Callable[[], None]] = []


def get_default_dtype() -> dtype:
    """Return the dtype that Python floats become: float32 unless it was changed."""
    return _default


def set_default_dtype(value: dtype) -> None:
    """Make Python floats become `value`, float32 or float64.

    Raises: DTypeError, `value` is no floating-point dtype.
    """
    global _default
    if value not in (float32, float64):
        raise DTypeError(
            message("set_default_dtype", repr(value), "torch.float32 or torch.float64")
        )
    if value is not _default:
        _default = value
        for forget in default_changed:
            forget()


def find(value: Any) -> dtype:
    """Return the dtype that `value` names: a dtype, its name, a Python type, NumPy's.

    Raises: DTypeError, nothing of that name is supported.

    >>> find("float64"), find(int)
    (torch.float64, torch.int64)
    """
    if type(value) is dtype:
        return value
    found = None
    if isinstance(value, str):
        found = _BY_NAME.get(value.removeprefix("torch."))
    elif isinstance(value, type) and value in _BY_PYTHON:
        found = _BY_PYTHON[value]
    else:
        try:
            found = _BY_NUMPY.get(np.dtype(value))
        except TypeError:
            pass
    if found is None:
        raise DTypeError(
            message(
                "dtype",
                repr(value),
                "one of " + ", ".join(d.name for d in ALL),
                "Convert the data first, for example with numpy's astype.",
            )
        )
    return found


def of_scalar(value: bool | int | float) -> dtype:
    """Return the dtype a Python number counts as."""
    if isinstance(value, bool):
        return bool_
    return int64 if isinstance(value, int) else _default


def promote_types(a: dtype, b: dtype) -> dtype:
    """Return the smallest dtype that holds both, by PyTorch's table.

    >>> promote_types(uint8, int8), promote_types(int64, float32)
    (torch.int16, torch.float32)
    """
    if {a, b} == {uint8, int8}:
        return int16
    return a if a.order >= b.order else b


def _combine(higher: dtype | None, lower: dtype | None) -> dtype | None:
    """Join a priority class with the next: only its category can be raised."""
    if higher is None or lower is None:
        return higher or lower
    if higher.category >= lower.category and higher is not bool_:
        return higher
    return promote_types(higher, lower)


def promote(
    dimensioned: list[dtype], zero_dim: list[dtype], numbers: list[dtype]
) -> dtype:
    """Return the dtype in which operands meet.

    Tensors with dimensions decide; 0-d tensors, and after them Python numbers, only
    raise the category (bool, integer, float), never the width.
    """
    joined: list[dtype | None] = []
    for group in (dimensioned, zero_dim, numbers):
        kind = None
        for d in group:
            kind = d if kind is None else promote_types(kind, d)
        joined.append(kind)
    result = _combine(joined[0], _combine(joined[1], joined[2]))
    assert result is not None
    return result


def check_computes(op: str, *kinds: dtype) -> None:
    """Refuse float16, which is there to be stored, read and cast.

    Raises: DTypeError.
    """
    if float16 in kinds:
        raise DTypeError(
            message(
                op,
                "torch.float16",
                "a dtype that kernels compute in",
                "float16 tensors are stored, copied, viewed and cast. Use x.float() "
                "first, and .half() on the result.",
            )
        )


def can_cast(source: dtype, target: dtype) -> bool:
    """Return whether an in-place result of `source` may be stored as `target`.

    >>> can_cast(float32, int64)
    False
    """
    if source.category == FLOAT and target.category != FLOAT:
        return False
    return not (source.category != BOOL and target.category == BOOL)


class finfo:
    """Limits of a floating-point dtype: eps, max, min, tiny, resolution, bits."""

    def __init__(self, kind: dtype | None = None) -> None:
        kind = kind or _default
        if kind.category != FLOAT:
            raise DTypeError(message("finfo", repr(kind), "a floating-point dtype"))
        info = np.finfo(kind.numpy)
        self.dtype = kind.name
        self.bits = int(info.bits)
        self.eps = float(info.eps)
        self.max = float(info.max)
        self.min = float(info.min)
        self.tiny = self.smallest_normal = float(info.tiny)
        self.resolution = float(info.resolution)


class iinfo:
    """Limits of an integer dtype: max, min, bits."""

    def __init__(self, kind: dtype) -> None:
        if kind.category != INTEGER:
            raise DTypeError(message("iinfo", repr(kind), "an integer dtype"))
        info = np.iinfo(kind.numpy)
        self.dtype = kind.name
        self.bits = int(info.bits)
        self.max = int(info.max)
        self.min = int(info.min)
