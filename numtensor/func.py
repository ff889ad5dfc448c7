"""Functions of functions: gradients of what a function returns, PyTorch's `torch.func`.

They are ordinary functions on tensors, made of `autograd.grad`, and work inside of each
other and inside `nt.jit`. What the function is given are tensors of its own, so that
only what happens inside is differentiated, and `.grad` stays as it is. How gradients
are computed must not come in here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from . import autograd
from .dtypes import FLOAT
from .errors import AutogradError, message
from .jit.nesting import mapped, nested, walk
from .modes import enable_grad, grad_mode
from .tape import Node, edge
from .tensor import Tensor

__all__ = ["grad", "grad_and_value", "vjp"]

Argnums = int | tuple[int, ...]


def grad(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """Return the function that computes the gradient of `func`, which returns a scalar.

    `argnums` says with respect to which positional arguments: one, or a tuple of them,
    for which a tuple is returned. Arguments may be tuples, lists and dicts of tensors;
    a gradient is nested as its argument is. With `has_aux`, `func` returns a pair, of
    which the second is not differentiated, and the pair (gradient, second) is returned.

    Shapes: a gradient has the shape and dtype of its argument; zeros where `func` does
    not depend on it.
    Raises: AutogradError, a result that is no scalar tensor, arguments that are no
    tensors, no such argument.

    >>> import numtensor as nt
    >>> cube = lambda x: x ** 3
    >>> nt.func.grad(cube)(nt.tensor(2.0))
    tensor(12.)
    >>> nt.func.grad(nt.func.grad(cube))(nt.tensor(2.0))
    tensor(12.)
    >>> nt.func.grad(lambda p: (p["w"] * p["b"]).sum())(
    ...     {"w": nt.tensor([1.0, 2.0]), "b": nt.tensor(3.0)})
    {'w': tensor([3., 3.]), 'b': tensor(3.)}
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        found, value = _grad_and_value("grad", func, argnums, has_aux, args, kwargs)
        return (found, value[1]) if has_aux else found

    return wrapper


def grad_and_value(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """Return the function that computes the gradient of `func`, and its result.

    As `grad`; returned is (gradient, result), with `has_aux` (gradient, (result, aux)).
    Raises: AutogradError.

    >>> import numtensor as nt
    >>> nt.func.grad_and_value(lambda x: (x * x).sum())(nt.tensor([1.0, 2.0]))
    (tensor([2., 4.]), tensor(5.))
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return _grad_and_value("grad_and_value", func, argnums, has_aux, args, kwargs)

    return wrapper


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """Return the result of `func(*primals)`, and the function that takes it back.

    `vjp_fn(cotangents)`, the cotangents nested as the result is, returns a gradient for
    each of the primals: a tuple, or for one primal the gradient itself. It may be
    called again. With `has_aux`, `func` returns a pair, and the second follows as a
    third result.

    Shapes: cotangents have the shapes of the results, gradients those of primals.
    Raises: AutogradError, results that are no floating-point tensors, cotangents nested
    in another way; ShapeError.

    >>> import numtensor as nt
    >>> out, vjp_fn = nt.func.vjp(lambda x: x * x, nt.tensor([1.0, 2.0]))
    >>> vjp_fn(nt.tensor([1.0, 10.0]))
    tensor([ 2., 40.])
    """
    op = "vjp"
    with enable_grad():
        own = mapped(primals, functools.partial(_own, op))
        results = func(*own)
        aux = None
        if has_aux:
            results, aux = _pair("vjp(f, *primals)", op, results)
    sources = _leaves(own)
    if not sources:
        raise AutogradError(
            message(op, "no tensor to differentiate for", "at least one primal")
        )
    outputs = _leaves(results)
    if not outputs:
        fault = "vjp(f, *primals): Expected f to be a function that has non-empty "
        got = "a function that returns nothing"
        raise AutogradError(message(op, got, "tensors", f"{fault}output."))
    for out in outputs:
        if not isinstance(out, Tensor):
            fault = (
                "vjp(f, *primals): Expected f(*primals) to return only tensors, got "
                f"unsupported type {type(out)}."
            )
            got = f"a result of type {type(out).__name__}"
            raise AutogradError(message(op, got, "tensors", fault))
        if out._spec.dtype.category != FLOAT:
            fault = (
                "vjp(f, ...): All outputs of f must be floating-point or complex "
                f"Tensors, got Tensor with dtype {out.dtype}."
            )
            got = f"a result of {out.dtype}"
            raise AutogradError(message(op, got, "floating point", fault))
    outer = grad_mode.enabled and any(_leads_outside(t, sources) for t in outputs)
    shown = [mapped(t, _settled(sources)) for t in (results, aux)]

    def vjp_fn(
        cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None
    ) -> Any:
        given = _leaves(cotangents)
        if _form(cotangents) != _form(results):
            raise AutogradError(
                message(
                    op,
                    f"cotangents nested as {_form(cotangents)}",
                    f"as the results are, {_form(results)}",
                    "Expected pytree structure of cotangents to be the same as pytree "
                    "structure of outputs to the function.",
                )
            )
        if create_graph is None:
            moving = any(isinstance(c, Tensor) and c.requires_grad for c in given)
            create_graph = grad_mode.enabled and (outer or moving)
        found = _gradients(outputs, sources, given, create_graph, retain_graph)
        back = _like(own, found)
        return back if len(primals) > 1 else back[0]

    return (shown[0], vjp_fn, shown[1]) if has_aux else (shown[0], vjp_fn)


def _grad_and_value(
    op: str,
    func: Callable[..., Any],
    argnums: Argnums,
    has_aux: bool,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[Any, Any]:
    chosen = _chosen(op, argnums, len(args))
    with enable_grad():
        mine = list(args)
        for k in chosen:
            mine[k] = mapped(args[k], functools.partial(_own, op))
        value = func(*mine, **kwargs)
        aux = None
        if has_aux:
            value, aux = _pair("grad_and_value(f)(*args)", op, value)
    if not isinstance(value, Tensor) or value.ndim:
        fault = "grad_and_value(f)(*args): Expected f(*args) to return a "
        if isinstance(value, Tensor):
            got = f"a result of shape {list(value.shape)}"
            fault += (
                f"scalar Tensor, got tensor with {value.ndim} dims. Maybe you wanted "
                "to use the vjp or jacrev APIs instead?"
            )
        else:
            got = f"a result of type {type(value).__name__}"
            fault += f"Tensor, got {type(value)}."
        raise AutogradError(message(op, got, "a tensor of no dims", fault))
    diff = tuple(mine[k] for k in chosen)
    sources = _leaves(diff)
    if not sources:
        raise AutogradError(
            message(op, "an argument without tensors", "something to differentiate for")
        )
    outer = grad_mode.enabled and _leads_outside(value, sources)
    settled = _settled(sources)
    shown, more = settled(value), mapped(aux, settled)
    found = _like(diff, _gradients([value], sources, None, outer, outer))
    if isinstance(argnums, int):
        found = found[0]
    return found, ((shown, more) if has_aux else shown)


def _chosen(op: str, argnums: Argnums, count: int) -> tuple[int, ...]:
    """Return the numbers of arguments, from 0 on. Raises: AutogradError."""
    if isinstance(argnums, int):
        given: tuple[Any, ...] = (argnums,)
    elif isinstance(argnums, tuple) and argnums:
        given = argnums
    else:
        got = f"argnums={argnums!r}"
        raise AutogradError(message(op, got, "an int, or a tuple of at least one"))
    for k in given:
        if not isinstance(k, int) or not -count <= k < count:
            fault = f"Got argnum={k}, but only {count} positional inputs."
            got = f"argnums={argnums!r}"
            raise AutogradError(message(op, got, "positional arguments", fault))
    found = tuple(k % count for k in given)
    if len(set(found)) != len(found):
        fault = f"argnums elements must be unique, got {argnums}."
        raise AutogradError(message(op, "an argument twice", "each once", fault))
    return found


def _own(op: str, leaf: Any) -> Tensor:
    """Return a tensor of the function's own: a leaf, or, of one that others
    differentiate for, a view. Raises: AutogradError."""
    if not isinstance(leaf, Tensor):
        fault = f"Thing passed to transform API must be Tensor, got {type(leaf)}."
        got = f"an argument of type {type(leaf).__name__}"
        raise AutogradError(message(op, got, "a tensor", fault))
    if leaf._spec.dtype.category != FLOAT:
        fault = "only Tensors of floating point dtype can require gradients."
        got = f"an argument of {leaf.dtype}"
        raise AutogradError(message(op, got, "floating point", fault))
    if leaf.requires_grad:
        return leaf.expand_as(leaf)  # type: ignore[no-any-return]
    return leaf.detach().requires_grad_()


def _pair(what: str, op: str, value: Any) -> Any:
    if isinstance(value, tuple) and len(value) == 2:
        return value
    fault = (
        f"{what}: output of function f should be a tuple: (output, aux) if has_aux is "
        "True."
    )
    got = f"a result of type {type(value).__name__}"
    raise AutogradError(message(op, got, "a pair", fault))


def _leaves(value: Any) -> list[Any]:
    return [leaf for _, leaf in walk(value, "")]


def _like(value: Any, leaves: Sequence[Any]) -> Any:
    """Return leaves nested as a value is."""
    order = iter(leaves)
    return mapped(value, lambda leaf: next(order))


def _form(value: Any) -> str:
    """Return how a value is nested, as text."""
    if not nested(value):
        return "*"
    if isinstance(value, dict):
        inner = ", ".join(f"{key!r}: {_form(v)}" for key, v in value.items())
        return f"{type(value).__name__}({inner})"
    return f"{type(value).__name__}({', '.join(map(_form, value))})"


def _gradients(
    outputs: Sequence[Tensor],
    sources: Sequence[Tensor],
    cotangents: Sequence[Any] | None,
    create_graph: bool,
    retain_graph: bool,
) -> Sequence[Tensor]:
    """Return the gradients, zeros for what the outputs do not depend on."""
    pairs = [
        (out, None if cotangents is None else cotangents[k])
        for k, out in enumerate(outputs)
        if out.requires_grad
    ]
    if not pairs:
        return [source.detach().new_zeros(tuple(source.shape)) for source in sources]
    return autograd.grad(  # type: ignore[return-value]
        [out for out, _ in pairs],
        sources,
        None if cotangents is None else [c for _, c in pairs],
        retain_graph=retain_graph,
        create_graph=create_graph,
        materialize_grads=True,
    )


def _leads_outside(t: Tensor, own: Sequence[Tensor]) -> bool:
    """Whether a tensor depends on leaves that are not among `own`."""
    mine = {id(s) for s in own}
    waiting: list[Any] = [edge(t)]
    seen: set[int] = set()
    while waiting:
        target = waiting.pop()
        if type(target) is tuple:
            target = target[0]
        if target is None or id(target) in seen:
            continue
        seen.add(id(target))
        if isinstance(target, Node):
            waiting += target.edges
        elif id(target) not in mine:
            return True
    return False


def _settled(own: Sequence[Tensor]) -> Callable[[Any], Any]:
    """Return what makes of a tensor one that depends on the outside alone."""
    enabled = grad_mode.enabled

    def settled(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or not leaf.requires_grad:
            return leaf
        return leaf if enabled and _leads_outside(leaf, own) else leaf.detach()

    return settled
