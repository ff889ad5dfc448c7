"""Sizes as users give them to windows: an integer for all dims, or one for each.

What convolution, pooling and unfolding check alike, with PyTorch's sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...dtypes import check_computes
from ...errors import DTypeError, ShapeError, message, mixed_devices
from ...tensor import Tensor

#: the largest stride, padding, dilation or size of a window: kernels add such numbers
LARGEST = 2**61
#: PyTorch's names of dtypes in its messages
SCALAR_TYPES = {
    "bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int",
    "int64": "Long", "float16": "Half", "float32": "Float", "float64": "Double",
}  # fmt: skip


def _is_int(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def ints(op: str, what: str, value: Any, nd: int) -> tuple[int, ...]:
    """Return `nd` integers from one or from a sequence of one or `nd`.

    Raises: ShapeError, another count, or numbers that kernels could not add up;
    TypeError, no integers.
    """
    if _is_int(value):
        value = (value,)
    if isinstance(value, Sequence) and not isinstance(value, str):
        found = tuple(value)
        if all(_is_int(v) for v in found):
            if any(abs(int(v)) > LARGEST for v in found):
                raise ShapeError(
                    message(
                        op,
                        f"{what}={list(found)}",
                        f"{LARGEST} at most",
                        "Overflow when unpacking long long.",
                    )
                )
            if len(found) == nd:
                return tuple([int(v) for v in found])
            if len(found) == 1:
                return (int(found[0]),) * nd
            raise ShapeError(
                message(
                    op,
                    f"{what}={list(found)}",
                    f"one integer, or {nd}",
                    f"expected {what} to be a single integer value or a list of {nd} "
                    f"values, but got {what}={list(found)}.",
                )
            )
    raise TypeError(message(op, f"{what}={value!r}", f"one integer, or {nd}"))


def is_tensor(op: str, what: str, value: Any) -> Tensor:
    """Return `value` if it is a tensor to compute with. Raises: DTypeError."""
    if not isinstance(value, Tensor):
        raise DTypeError(
            message(
                op,
                f"a {type(value).__name__} as {what}",
                "a Tensor",
                "Use nt.tensor(...).",
            )
        )
    check_computes(op, value.dtype)
    return value


def alike(op: str, a: Tensor, b: Tensor) -> None:
    """Check that two tensors are of one dtype, on one device.

    Raises: DTypeError, DeviceError.
    """
    if a._spec.device is not b._spec.device:
        raise mixed_devices(op, a.device, b.device)
    if a.dtype is not b.dtype:
        one, other = SCALAR_TYPES[a.dtype.name], SCALAR_TYPES[b.dtype.name]
        raise DTypeError(
            message(
                op,
                f"{a.dtype} and {b.dtype}",
                "one dtype",
                f"expected scalar type {one} but found {other}. Cast one with "
                "x.to(dtype).",
            )
        )


def not_implemented(op: str, x: Tensor, kernel: str = "") -> DTypeError:
    """Return the error for a dtype that an operator does not have."""
    name = SCALAR_TYPES[x.dtype.name]
    return DTypeError(
        message(
            op,
            f"a tensor of {x.dtype}",
            "a floating-point dtype",
            f"\"{kernel or op}\" not implemented for '{name}'. Use x.float().",
        )
    )


def by(sizes: Sequence[int]) -> str:
    """Return sizes as PyTorch writes them: "3 x 3"."""
    return " x ".join(str(s) for s in sizes)
