"""Questions about tensors and settings of the library, under PyTorch's names."""

from __future__ import annotations

from typing import Any

from . import dtypes
from .dtypes import dtype
from .elementwise import Elementwise
from .errors import DTypeError, ShapeError, message
from .kernels import compiler
from .reduce import Reduction
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


def kernel_source(function: Any, *args: Any) -> str:
    r'''Return the Python source of the kernel that `function(*args)` runs.

    For elementwise operators and for reductions over everything; the same text is in
    the kernel's own file, in the folder that `python -m numtensor info` names. A long
    reduction has two kernels, shown one after the other.
    Raises: DTypeError, a function without a kernel of its own.

    >>> import numtensor as nt
    >>> x = nt.ones(3)
    >>> print(nt.kernel_source(nt.add, x, x))
    """add, flat: out float32 (unit), x float32 (unit), y float32 (unit)."""
    <BLANKLINE>
    from numtensor.kernels.lang import (
        pointer,
    )
    <BLANKLINE>
    out_at = pointer("float32", 0)
    x_at = pointer("float32", 1)
    y_at = pointer("float32", 2)
    <BLANKLINE>
    <BLANKLINE>
    def add(args, lo, hi):
        out = out_at(args)
        x = x_at(args)
        y = y_at(args)
        for i in range(lo, hi):
            xi = x[i]
            yi = y[i]
            t0 = xi + yi
            out[i] = t0
    <BLANKLINE>
    '''
    operator = getattr(function, "operator", None)
    if isinstance(operator, Elementwise):
        operands = operator.arguments(args)
        found = [a._spec if isinstance(a, Tensor) else type(a) for a in operands]
        return operator.plan(found).launch.source.read_text()
    if isinstance(operator, Reduction):
        plan = operator.plan(args[0]._spec, None, False, None)
        if plan.steps is not None:
            return "\n\n".join(c.source.read_text() for c, _ in plan.steps.launches)
    raise DTypeError(
        message(
            "kernel_source",
            f"{getattr(function, '__name__', function)!r}",
            "an elementwise operator or a reduction, such as nt.exp or nt.sum",
            "Other functions are made of these.",
        )
    )


def get_num_threads() -> int:
    """Return how many threads one operator may use."""
    return compiler.num_threads()


def set_num_threads(count: int) -> None:
    """Let one operator use at most `count` threads; results do not depend on it.

    More than the cores this process may use count as all of them.
    Raises: ShapeError, a count below 1.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ShapeError(
            message(
                "set_num_threads",
                repr(count),
                "an integer of 1 or more",
                "set_num_threads expects a positive integer.",
            )
        )
    compiler.set_num_threads(count)
