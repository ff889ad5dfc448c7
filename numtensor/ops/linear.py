"""Matrix products; `products` knows how they are computed."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError, message, mixed_devices
from ..layout import broadcast_shapes
from ..memory import empty
from ..names import rules
from ..tape import grad_mode
from ..tensor import Tensor
from .declare import attach, composed
from .pairs import into
from .products import Plan, as_matrices, plan_of, plans, record
from .views import unsqueeze


def _checked(op: str, a: Any, b: Any) -> None:
    for x in (a, b):
        if not isinstance(x, Tensor):
            raise DTypeError(
                message(
                    op, f"a {type(x).__name__}", "two Tensors", "Use nt.tensor(...)."
                )
            )
    if a._spec.device is not b._spec.device:
        raise mixed_devices(op, a.device, b.device)
    dtypes.check_computes(op, a.dtype, b.dtype)
    if a.dtype is not b.dtype:
        raise DTypeError(
            message(
                op,
                f"{a.dtype} and {b.dtype}",
                "one dtype",
                "expected m1 and m2 to have the same dtype, but got: "
                f"{_c_name(a.dtype)} != {_c_name(b.dtype)}. Cast one with x.to(dtype).",
            )
        )


def _c_name(kind: dtypes.dtype) -> str:
    return {"float32": "float", "float64": "double", "int64": "long int"}.get(
        kind.name, kind.name
    )


def _multiply(a: Tensor, b: Tensor) -> Tensor:
    """Return the product of operands that have been checked; nothing is recorded."""
    return plan_of(a._spec, b._spec)(a, b)


def _planned(input: Any, other: Any) -> Plan:
    """Check the operands, and return the plan of their product."""
    _checked("matmul", input, other)
    a, b = input._spec, other._spec
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(
            message(
                "matmul",
                f"a {a.ndim}-d and a {b.ndim}-d tensor",
                "at least one dim each",
                "both arguments to matmul need to be at least 1D. Use a * b.",
            )
        )
    (left, _), (right, _) = as_matrices(a, b)
    if left[-1] != right[-2]:
        hint = " Did you mean matmul(a, b.mT)?" if left[-1] == right[-1] else ""
        raise ShapeError(
            message(
                "matmul",
                f"a {tuple(a.shape)} and b {tuple(b.shape)}",
                "a.shape[-1] == b.shape[-2]",
                "mat1 and mat2 shapes cannot be multiplied "
                f"({left[-2]}x{left[-1]} and {right[-2]}x{right[-1]}).{hint}",
            )
        )
    broadcast_shapes("matmul", left[:-2], right[:-2])
    return plan_of(a, b)


@composed(
    "matmul",
    reference=np.matmul,
    samples=lambda make: [
        ((make(2, 3), make(3, 4)), {}),
        ((make(3), make(3)), {}),
        ((make(2, 3), make(3)), {}),
        ((make(3), make(3, 2)), {}),
        ((make(2, 2, 3), make(3, 4)), {}),
        ((make(2, 1, 2, 3), make(3, 3, 2)), {}),
    ],
    names=rules.matmul,
)
def matmul(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the matrix product; the leading dims of stacks of matrices broadcast.

    Shapes: (n, k) @ (k, m) -> (n, m); a vector counts as a row before a matrix and as a
    column after one. Raises: ShapeError, inner sizes that differ; DTypeError.

    >>> import numtensor as nt
    >>> nt.matmul(nt.ones(2, 3), nt.ones(3))
    tensor([3., 3.])
    """
    try:
        plan = plans[input._spec, other._spec]
    except (KeyError, AttributeError):
        plan = _planned(input, other)
    made = empty(plan.out)
    if plan.run is None:
        plan.into(made, input, other)
    else:
        plan.run(
            plan.kernel, plan.n, made._pointer, input._pointer, other._pointer,
            plan.table,
        )  # fmt: skip
    # a view may owe its history to its base: `record` looks it up
    if (
        (
            input._requires_grad
            or other._requires_grad
            or input._base is not None
            or other._base is not None
        )
        and plan.differentiable
        and grad_mode.enabled
    ):
        record(plan, made, input, other)
    return made if out is None else into("matmul", out, made)


attach("__matmul__", matmul)
attach("__rmatmul__", lambda self, other: matmul(other, self))


def _ranked(name: str, ranks: tuple[int, int], doc: str, samples: Any) -> Any:
    def call(input: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
        try:
            known = (input._spec, mat2._spec) in plans
        except AttributeError:
            known = False
        if not known:
            _checked(name, input, mat2)
        if (input._spec.ndim, mat2._spec.ndim) != ranks:
            raise ShapeError(
                message(
                    name,
                    f"a {input.ndim}-d and a {mat2.ndim}-d tensor",
                    f"{ranks[0]}-d and {ranks[1]}-d",
                    "Use matmul for other shapes.",
                )
            )
        if name == "bmm" and input.shape[0] != mat2.shape[0]:
            raise ShapeError(
                message(
                    name,
                    f"batches of {input.shape[0]} and {mat2.shape[0]}",
                    "equal batches",
                    "Expected size for first two dimensions of batch2 tensor to be: "
                    f"[{input.shape[0]}, {input.shape[2]}]. Use matmul to broadcast.",
                )
            )
        return matmul(input, mat2, out=out)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    return composed(name, samples=samples, reference=np.matmul, names=rules.matmul)(
        call
    )


mm = _ranked(
    "mm",
    (2, 2),
    "Return the product of two matrices.",
    lambda make: [((make(2, 3), make(3, 2)), {})],
)
bmm = _ranked(
    "bmm",
    (3, 3),
    "Return the products of two stacks of matrices.",
    lambda make: [((make(2, 2, 3), make(2, 3, 2)), {})],
)
mv = _ranked(
    "mv",
    (2, 1),
    "Return the product of a matrix and a vector.",
    lambda make: [((make(2, 3), make(3)), {})],
)
dot = _ranked(
    "dot",
    (1, 1),
    "Return the inner product of two vectors.",
    lambda make: [((make(3), make(3)), {})],
)


@composed(
    "outer",
    samples=lambda make: [((make(2), make(3)), {})],
    reference=np.outer,
    names=rules.outer,
    aliases=("ger",),
)
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """Return the (n, m) products of the elements of two vectors."""
    if input.ndim != 1 or vec2.ndim != 1:
        raise ShapeError(
            message("outer", f"a {input.ndim}-d and a {vec2.ndim}-d tensor", "two 1-d")
        )
    return unsqueeze(input, 1) * vec2
