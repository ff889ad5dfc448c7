"""Matrix products: on the CPU by NumPy's BLAS, on a GPU by a kernel of our own."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes, launch
from ..devices import CPU
from ..errors import DTypeError, ShapeError, message, mixed_devices
from ..layout import broadcast_shapes, expand_strides
from ..memory import empty
from ..spec import contiguous_spec
from ..tape import FunctionNode, edge, grad_mode
from ..tensor import Tensor
from .declare import attach, composed
from .views import mT, reshape, unsqueeze


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


def _multiply(a: Tensor, b: Tensor, shape: tuple[int, ...]) -> Tensor:
    made = empty(contiguous_spec(a.dtype, shape, a._spec.device))
    if not made._spec.numel:
        return made
    if made._spec.device is not CPU:
        return _multiply_on_device(a, b, made)
    x, y = a._array(), b._array()
    if a.dtype is dtypes.bool_:
        made._array()[...] = np.matmul(x.astype(np.int64), y.astype(np.int64)) != 0
    else:
        np.matmul(x, y, out=made._array())
    return made


_launches: dict[Any, Any] = {}


def _multiply_on_device(a: Tensor, b: Tensor, made: Tensor) -> Tensor:
    """Multiply by a CUDA kernel, which takes any strides."""
    key = (a._spec, b._spec)
    call = _launches.get(key)
    if call is None:
        if len(_launches) > 4000:
            _launches.clear()
        batch = tuple(made.shape[:-2])

        def strides(x: Tensor) -> tuple[int, ...]:
            found = x._spec
            outer = expand_strides(found.shape[:-2], found.strides[:-2], batch)
            return tuple(outer) + found.strides[-2:]

        sizes = (a.shape[-2], b.shape[-1], a.shape[-1])
        call = _launches[key] = launch.matmul(
            sizes, a.dtype.name, batch, strides(a), strides(b), made._spec.device
        )
    call.run(call.kernel, call.n, made._pointer, a._pointer, b._pointer, call.table)
    return made


def _product(a: Tensor, b: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
    """Multiply (*, n, k) by (*, k, m); the batch dims broadcast."""
    made = _multiply(a, b, shape)
    if (
        grad_mode.enabled
        and made.is_floating_point()
        and (a.requires_grad or b.requires_grad)
    ):
        need = a.requires_grad, b.requires_grad

        def back(g: Tensor, *saved: Tensor) -> tuple[Tensor | None, Tensor | None]:
            ga = gb = None
            if need[0]:
                ga = matmul(g, mT(saved[-1])).sum_to_size(a_shape)
            if need[1]:
                gb = matmul(mT(saved[0]), g).sum_to_size(b_shape)
            return ga, gb

        a_shape, b_shape = tuple(a.shape), tuple(b.shape)
        saved = tuple(x for x, n in ((a, need[1]), (b, need[0])) if n)
        made._node = FunctionNode(name, (edge(a), edge(b)), back, saved)
        made._requires_grad = True
    return made


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
)
def matmul(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the matrix product; the leading dims of stacks of matrices broadcast.

    Shapes: (n, k) @ (k, m) -> (n, m); a vector counts as a row before a matrix and as a
    column after one. Raises: ShapeError, inner sizes that differ; DTypeError.

    >>> import numtensor as nt
    >>> nt.matmul(nt.ones(2, 3), nt.ones(3))
    tensor([3., 3.])
    """
    _checked("matmul", input, other)
    if input.ndim == 0 or other.ndim == 0:
        raise ShapeError(
            message(
                "matmul",
                f"a {input.ndim}-d and a {other.ndim}-d tensor",
                "at least one dim each",
                "both arguments to matmul need to be at least 1D. Use a * b.",
            )
        )
    a = unsqueeze(input, 0) if input.ndim == 1 else input
    b = unsqueeze(other, 1) if other.ndim == 1 else other
    if a.shape[-1] != b.shape[-2]:
        hint = " Did you mean matmul(a, b.mT)?" if a.shape[-1] == b.shape[-1] else ""
        raise ShapeError(
            message(
                "matmul",
                f"a {tuple(input.shape)} and b {tuple(other.shape)}",
                "a.shape[-1] == b.shape[-2]",
                "mat1 and mat2 shapes cannot be multiplied "
                f"({a.shape[-2]}x{a.shape[-1]} and {b.shape[-2]}x{b.shape[-1]}).{hint}",
            )
        )
    batch = broadcast_shapes("matmul", tuple(a.shape[:-2]), tuple(b.shape[:-2]))
    shape = (*batch, a.shape[-2], b.shape[-1])
    name = "MmBackward0" if len(shape) == 2 else "BmmBackward0"
    if input.ndim == 1 and other.ndim == 1:
        name = "DotBackward0"
    elif other.ndim == 1:
        name = "MvBackward0"
    result = _product(a, b, shape, name)
    if input.ndim == 1:
        result = reshape(result, (*shape[:-2], shape[-1]))
        shape = (*shape[:-2], shape[-1])
    if other.ndim == 1:
        result = reshape(result, shape[:-1])
    return result if out is None else out.copy_(result)


attach("__matmul__", lambda self, other: matmul(self, other))
attach("__rmatmul__", lambda self, other: matmul(other, self))


def _ranked(name: str, ranks: tuple[int, int], doc: str, samples: Any) -> Any:
    def call(input: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
        _checked(name, input, mat2)
        if (input.ndim, mat2.ndim) != ranks:
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
    return composed(name, samples=samples, reference=np.matmul)(call)


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
    aliases=("ger",),
)
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """Return the (n, m) products of the elements of two vectors."""
    if input.ndim != 1 or vec2.ndim != 1:
        raise ShapeError(
            message("outer", f"a {input.ndim}-d and a {vec2.ndim}-d tensor", "two 1-d")
        )
    return unsqueeze(input, 1) * vec2


@composed("addmm", samples=lambda make: [((make(2, 2), make(2, 3), make(3, 2)), {})])
def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Return beta * input + alpha * (mat1 @ mat2)."""
    product = mm(mat1, mat2)
    if alpha != 1:
        product = product * alpha
    return product + (input if beta == 1 else input * beta)
