"""Derivatives of functions: jacobian, hessian, and their products with vectors.

Each takes a function of tensors and calls it on detached inputs. All of them are
made of `grad`; a forward-mode product is two reverse passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import AutogradError, ShapeError, message
from ..memory import empty
from ..spec import contiguous_spec
from ..tape import enable_grad
from ..tensor import Tensor
from .grad import Tensors, grad

Function = Callable[..., Any]


def jacobian(
    func: Function,
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """Return the derivative of each output element by each input element.

    Shapes: output shape + input shape; a tuple per output, of a tuple per input, where
    there are several. `strict` refuses outputs that do not depend on an input;
    `vectorize` and `strategy` change nothing.

    >>> import numtensor as nt
    >>> nt.autograd.functional.jacobian(lambda x: x * x, nt.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    with enable_grad():
        single, given = _prepared(inputs, create_graph)
        one, outputs = _results("jacobian", func(*given))
        rows = []
        for output in outputs:
            _strict("jacobian", strict, [output], given)
            rows.append(_rows(output, given, create_graph))
    found = tuple(row[0] if single else row for row in rows)
    return found[0] if one else found


def _rows(
    output: Tensor, given: Sequence[Tensor], create_graph: bool
) -> tuple[Tensor, ...]:
    from ..ops.joining import stack

    columns: list[list[Tensor]] = [[] for _ in given]
    for element in output.reshape(-1).unbind(0):
        for column, g in zip(
            columns, _grads([element], given, None, create_graph), strict=True
        ):
            column.append(g)
    return tuple(
        stack(column).reshape(tuple(output.shape) + tuple(x.shape))
        if column
        else _zeros(tuple(output.shape) + tuple(x.shape), x)
        for column, x in zip(columns, given, strict=True)
    )


def hessian(
    func: Function,
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """Return the second derivatives of a function with one element.

    Shapes: input shape + input shape; a tuple of tuples where there are several
    inputs. Raises: ShapeError, more than one element.

    >>> import numtensor as nt
    >>> nt.autograd.functional.hessian(lambda x: (x ** 3).sum(), nt.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    single = isinstance(inputs, Tensor)

    def gradient(*args: Tensor) -> Any:
        output = _scalar("hessian", func(*args))
        found = _grads([output], args, None, True)
        return found[0] if single else tuple(found)

    return jacobian(gradient, inputs, create_graph, strict)


def vjp(
    func: Function,
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """Return the outputs, and `v` times the Jacobian; `v` is shaped as the outputs."""
    with enable_grad():
        single, given = _prepared(inputs, create_graph)
        one, outputs = _results("vjp", func(*given))
        _strict("vjp", strict, outputs, given)
        found = _grads(outputs, given, _vectors("vjp", v, outputs), create_graph)
    return _shaped(outputs, one, create_graph), _shaped(found, single, create_graph)


def jvp(
    func: Function,
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """Return the outputs, and the Jacobian times `v`; `v` is shaped as the inputs.

    The product is linear in the cotangent of a reverse pass, so differentiating that
    pass by its cotangent gives it.
    """
    with enable_grad():
        _, given = _prepared(inputs, create_graph)
        one, outputs = _results("jvp", func(*given))
        _strict("jvp", strict, outputs, given)
        cotangents = [_zeros(tuple(o.shape), o).requires_grad_() for o in outputs]
        pulled = _grads(outputs, given, cotangents, True)
        found = _grads(pulled, cotangents, _vectors("jvp", v, given), create_graph)
    return _shaped(outputs, one, create_graph), _shaped(found, one, create_graph)


def vhp(
    func: Function,
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """Return the value of a function with one element, and `v` times its Hessian."""
    with enable_grad():
        single, given = _prepared(inputs, create_graph)
        output = _scalar("vhp", func(*given))
        _strict("vhp", strict, [output], given)
        first = _grads([output], given, None, True)
        found = _grads(first, given, _vectors("vhp", v, given), create_graph)
    return _shaped([output], True, create_graph), _shaped(found, single, create_graph)


#: a Hessian is symmetric: from the left and from the right the product is the same
hvp = vhp


def _prepared(inputs: Any, create_graph: bool) -> tuple[bool, list[Tensor]]:
    single = isinstance(inputs, Tensor)
    given = [inputs] if single else list(inputs)
    if create_graph:  # the way from the results to the caller's inputs stays open
        return single, [
            x.view_as(x) if x.requires_grad else x.detach().requires_grad_()
            for x in given
        ]
    return single, [x.detach().requires_grad_() for x in given]


def _results(op: str, result: Any) -> tuple[bool, list[Tensor]]:
    one = isinstance(result, Tensor)
    outputs = [result] if one else list(result)
    for output in outputs:
        if not isinstance(output, Tensor):
            raise TypeError(
                message(
                    op,
                    f"a function that returns {type(output).__name__}",
                    "a Tensor or a tuple of Tensors",
                )
            )
    return one, outputs


def _scalar(op: str, result: Any) -> Tensor:
    if not isinstance(result, Tensor) or result.numel() != 1:
        what = list(result.shape) if isinstance(result, Tensor) else type(result)
        raise ShapeError(
            message(
                op,
                f"a function that returns {what}",
                "one element",
                f"The Tensor returned by the function given to {op} should contain a "
                "single element.",
            )
        )
    return result


def _strict(
    op: str, strict: bool, outputs: Sequence[Tensor], given: Sequence[Tensor]
) -> None:
    if not strict:
        return
    for k, output in enumerate(outputs):
        found: Sequence[Tensor | None] = [None]
        if output.requires_grad:
            ones = output.new_ones(output.shape)
            found = grad(output, given, ones, retain_graph=True, allow_unused=True)
        for n, g in enumerate(found):
            if g is None:
                raise AutogradError(
                    message(
                        op,
                        f"output {k}, which does not depend on input {n}",
                        "outputs that depend on all inputs, with strict=True",
                        f"Output {k} of the user-provided function is independent of "
                        f"input {n}. This is not allowed in strict mode.",
                    )
                )


def _vectors(op: str, v: Any, like: Sequence[Tensor]) -> list[Tensor] | None:
    if v is None:
        if len(like) == 1 and like[0].numel() == 1:
            return [like[0].new_ones(like[0].shape)]
        raise AutogradError(
            message(
                op,
                "no v",
                "a vector shaped as the tensors it is multiplied with",
                "The vector v can only be None if the user-provided function returns "
                "a single Tensor with a single element.",
            )
        )
    found = [v] if isinstance(v, Tensor) else list(v)
    shapes = [list(x.shape) for x in found], [list(x.shape) for x in like]
    if shapes[0] != shapes[1]:
        raise ShapeError(message(op, f"v of shapes {shapes[0]}", f"{shapes[1]}"))
    return found


def _grads(
    outputs: Sequence[Tensor],
    given: Sequence[Tensor],
    cotangents: Sequence[Tensor] | None,
    create_graph: bool,
) -> list[Tensor]:
    """Return the gradients by `given`, zeros where there is no dependence."""
    vectors: Sequence[Any] = cotangents or [None] * len(outputs)
    pairs = [(o, c) for o, c in zip(outputs, vectors, strict=True) if o.requires_grad]
    if not pairs:
        return [_zeros(tuple(x.shape), x) for x in given]
    found = grad(
        [o for o, _ in pairs],
        given,
        [c for _, c in pairs],
        retain_graph=True,
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )
    return [g for g in found if g is not None]


def _zeros(shape: tuple[int, ...], like: Tensor) -> Tensor:
    return empty(contiguous_spec(like.dtype, shape, like.device)).zero_()


def _shaped(found: Sequence[Tensor], single: bool, create_graph: bool) -> Any:
    kept = tuple(found) if create_graph else tuple(x.detach() for x in found)
    return kept[0] if single else kept
