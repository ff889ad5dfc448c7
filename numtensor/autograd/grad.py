"""Gradients on demand: `grad` returns them, `backward` accumulates them.

The walk itself is the tape's; here are the arguments that PyTorch's programs pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import AutogradError, message
from ..memory import empty
from ..names import named
from ..names.grads import unnamed
from ..spec import contiguous_spec
from ..tape import edge, make_roots, run_backward
from ..tensor import Tensor

Tensors = Tensor | Sequence[Tensor]


def grad(
    outputs: Tensors,
    inputs: Tensors,
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the sum of the gradients of `outputs` with respect to each input.

    `grad_outputs` are the cotangents, needed where an output has several elements.
    With `create_graph` the results can be differentiated in turn. An input that the
    outputs do not depend on is an error; `allow_unused` gives None for it, and
    `materialize_grads` zeros.

    Shapes: one result per input, of its shape and dtype. `.grad` stays as it is.
    Raises: AutogradError, ShapeError, TypeError.

    >>> import numtensor as nt
    >>> x = nt.tensor(3.0, requires_grad=True)
    >>> (g,) = nt.autograd.grad(x * x, x, create_graph=True)
    >>> nt.autograd.grad(g, x)
    (tensor(2.),)
    """
    if materialize_grads and allow_unused is False:
        raise ValueError(
            message(
                "grad",
                "materialize_grads=True and allow_unused=False",
                "no allow_unused, or True",
                "Expected allow_unused to be True or not passed when "
                "materialize_grads=True, but got: allow_unused=False.",
            )
        )
    if is_grads_batched:
        raise AutogradError(
            message(
                "grad",
                "is_grads_batched=True",
                "one cotangent per output",
                "Call grad once per cotangent, with retain_graph=True.",
            )
        )
    sources = _tensors("grad", "inputs", inputs)
    if not sources:
        raise AutogradError(
            message(
                "grad",
                "no inputs",
                "at least one",
                "`inputs` argument to `grad()` cannot be empty.",
            )
        )
    for k, source in enumerate(sources):
        if edge(source) is None:
            raise AutogradError(
                message(
                    "grad",
                    f"input {k}, which does not require grad",
                    "tensors with requires_grad=True",
                    "One of the differentiated Tensors does not require grad. Set it "
                    "before the outputs are computed.",
                )
            )
    roots = _roots("grad", outputs, grad_outputs)
    found = run_backward(
        roots,
        retain_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
        inputs=sources,
        accumulate=False,
    )
    results: list[Tensor | None] = []
    for k, source in enumerate(sources):
        result = found.get(id(source))
        if result is None and materialize_grads:
            zeros = empty(
                contiguous_spec(source.dtype, tuple(source.shape), source.device)
            )
            result = zeros.zero_()
        elif result is None and not allow_unused:
            raise AutogradError(
                message(
                    "grad",
                    f"input {k}, which the outputs do not depend on",
                    "inputs that they were computed from",
                    "One of the differentiated Tensors appears to not have been used "
                    "in the graph. Set allow_unused=True if this is the desired "
                    "behavior.",
                )
            )
        if result is not None and source._spec.names is not None:
            result = named(result, source._spec.names)
        results.append(result)
    return tuple(results)


def backward(
    tensors: Tensors,
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Tensors | None = None,
) -> None:
    """Accumulate the gradient of the sum of `tensors` into the leaves' `.grad`.

    `grad_tensors` are the cotangents, needed where a tensor has several elements; with
    `inputs`, only these accumulate.

    Raises: AutogradError, ShapeError, TypeError.

    >>> import numtensor as nt
    >>> x = nt.ones(2, requires_grad=True)
    >>> nt.autograd.backward([x.sum(), (x * x).sum()])
    >>> x.grad
    tensor([3., 3.])
    """
    sources = None if inputs is None else _tensors("backward", "inputs", inputs)
    given = grad_variables if grad_tensors is None else grad_tensors
    run_backward(
        _roots("backward", tensors, given),
        retain_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
        inputs=sources,
    )


def _tensors(op: str, which: str, given: Any) -> list[Tensor]:
    found = [given] if isinstance(given, Tensor) else list(given)
    for tensor in found:
        if not isinstance(tensor, Tensor):
            raise TypeError(
                message(op, f"a {type(tensor).__name__} in {which}", "Tensors only")
            )
    return found


def _roots(op: str, outputs: Any, given: Any) -> list[tuple[Tensor, Tensor]]:
    tensors = _tensors(op, "outputs", outputs)
    grads: list[Any] = [None] * len(tensors)
    if given is not None:
        grads = [given] if isinstance(given, Tensor) else list(given)
    if len(grads) != len(tensors):
        raise AutogradError(
            message(
                op,
                f"{len(tensors)} outputs and {len(grads)} gradients",
                "a gradient, or None, per output",
                f"got {len(tensors)} tensors and {len(grads)} gradients.",
            )
        )
    for grad in grads:
        if grad is not None and not isinstance(grad, Tensor):
            raise TypeError(
                message(
                    op,
                    f"a {type(grad).__name__} as gradient",
                    "Tensors or None",
                    "gradients can be either Tensors or None, but got "
                    f"{type(grad).__name__}.",
                )
            )
    return make_roots(
        tensors,
        [unnamed(op, g, of) for g, of in zip(grads, tensors, strict=True)],
    )
