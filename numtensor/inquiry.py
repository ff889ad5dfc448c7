"""Questions about tensors and settings of the library, under PyTorch's names."""

from __future__ import annotations

from typing import Any

from . import dtypes
from .dtypes import dtype
from .errors import ShapeError, message
from .kernels import compiler
from .tensor import Tensor


def is_tensor(obj: Any) -> bool:
    """Return whether `obj` is a Tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Return whether the dtype holds fractions."""
    return input.is_floating_point()


def is_complex(input: Tensor) -> bool:
    """Return whether the dtype holds complex numbers: never."""
    return input.is_complex()


def is_nonzero(input: Tensor) -> bool:
    """Return whether a tensor of one element is not zero."""
    return bool(input)


def numel(input: Tensor) -> int:
    """Return the number of elements."""
    return input.numel()


def result_type(a: Any, b: Any) -> dtype:
    """Return the dtype in which two tensors or numbers meet.

    >>> import numtensor as nt
    >>> nt.result_type(nt.tensor([1, 2], dtype=nt.int32), 1.0)
    torch.float32
    """
    dims, zero, numbers = [], [], []
    for value in (a, b):
        if not isinstance(value, Tensor):
            numbers.append(dtypes.of_scalar(value))
        elif value.ndim:
            dims.append(value.dtype)
        else:
            zero.append(value.dtype)
    return dtypes.promote(dims, zero, numbers)


def get_num_threads() -> int:
    """Return how many threads one operator may use."""
    return compiler.num_threads()


def set_num_threads(count: int) -> None:
    """Let one operator use at most `count` threads; results do not depend on it.

    Raises: ShapeError, a count below 1 or above the cores this process may use.
    """
    limit = compiler.max_threads()
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= limit:
        raise ShapeError(
            message(
                "set_num_threads",
                repr(count),
                f"an integer from 1 to {limit}",
                "set_num_threads expects a positive integer.",
            )
        )
    compiler.set_num_threads(count)
