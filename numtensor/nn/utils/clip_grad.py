"""Clipping of gradients, in place, by their norm or element by element."""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterable

from ...creation import tensor
from ...errors import message
from ...modes import no_grad
from ...ops.registry import function
from ...tensor import Tensor

Tensors = Tensor | Iterable[Tensor]


def _listed(given: Tensors) -> list[Tensor]:
    return [given] if isinstance(given, Tensor) else list(given)


def _grads(parameters: Tensors) -> list[Tensor]:
    return [p.grad for p in _listed(parameters) if p.grad is not None]


@no_grad()
def get_total_norm(
    tensors: Tensors,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Return the norm of all tensors as one vector; on the first one's device.

    `norm_type` may be infinity; `foreach` changes nothing here.

    Raises: RuntimeError, a norm that is not finite, with `error_if_nonfinite`.

    >>> import numtensor as nt
    >>> nt.nn.utils.get_total_norm([nt.tensor([3.0]), nt.tensor([4.0])])
    tensor(5.)
    """
    given = _listed(tensors)
    order = float(norm_type)
    if not given:
        return tensor(0.0)
    norm = function("vector_norm")
    on = given[0].device
    parts = [norm(t.detach(), order).to(on) for t in given]
    total: Tensor = norm(function("stack")(parts), order)
    if error_if_nonfinite and not bool(total.isfinite()):
        raise RuntimeError(
            message(
                "clip_grad_norm_",
                f"gradients of norm {total.item()}",
                "a finite norm",
                f"The total norm of order {order} for gradients from `parameters` is "
                "non-finite, so it cannot be clipped. To disable this error and scale "
                "the gradients by the non-finite norm anyway, set "
                "`error_if_nonfinite=False`",
            )
        )
    return total


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensors,
    max_norm: float,
    total_norm: Tensor,
    foreach: bool | None = None,
) -> None:
    """Scale gradients, whose norm is `total_norm`, down to at most `max_norm`."""
    grads = _grads(parameters)
    if not grads:
        return
    # also where it is 1: asking for its value would wait for the device
    factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
    for grad in grads:
        grad.mul_(factor.to(grad.device))


@no_grad()
def clip_grad_norm_(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients of parameters down to at most `max_norm`, as one vector.

    Returns their norm before. `foreach` changes nothing here.

    Raises: RuntimeError, a norm that is not finite, with `error_if_nonfinite`.

    >>> import numtensor as nt
    >>> w = nt.zeros(2, requires_grad=True)
    >>> w.grad = nt.tensor([3.0, 4.0])
    >>> nt.nn.utils.clip_grad_norm_([w], max_norm=1.0)
    tensor(5.)
    >>> w.grad
    tensor([0.6000, 0.8000])
    """
    generator = isinstance(parameters, types.GeneratorType)
    listed = _listed(parameters)
    if generator and not listed:
        warnings.warn(
            "`parameters` is an empty generator, no gradient clipping will occur.",
            stacklevel=3,
        )
    total = get_total_norm(_grads(listed), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(listed, max_norm, total)
    return total


@no_grad()
def clip_grad_value_(
    parameters: Tensors, clip_value: float, foreach: bool | None = None
) -> None:
    """Bring every element of the gradients within `clip_value` of 0.

    `foreach` changes nothing here.

    >>> import numtensor as nt
    >>> w = nt.zeros(2, requires_grad=True)
    >>> w.grad = nt.tensor([0.5, -4.0])
    >>> nt.nn.utils.clip_grad_value_(w, 1.0)
    >>> w.grad
    tensor([ 0.5000, -1.0000])
    """
    limit = float(clip_value)
    for grad in _grads(parameters):
        grad.clamp_(min=-limit, max=limit)
