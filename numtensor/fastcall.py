"""The fast ways to call an elementwise operator: a look-up and a kernel call.

What they do not know (new layouts, other operand types, `out=`) goes to the general
call of `elementwise`, which also fills the plans they look up. Every attribute read
here is paid at each call on tensors of any size, so the four are written out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .memory import empty
from .storage import Storage, new_block
from .tape import grad_mode
from .tensor import Tensor
from .wayback import record
from .writing import may_meet

if TYPE_CHECKING:
    from .elementwise import Elementwise

_new: Any = object.__new__


def unary(op: Elementwise) -> Callable[[Tensor], Tensor]:
    """Return the fast way to call an operator of one tensor."""
    plans = op.plans
    general = op.__call__

    def call(x: Tensor) -> Tensor:
        try:
            plan = plans[x._spec]  # type: ignore[index]
        except (KeyError, AttributeError):
            if not isinstance(x, Tensor) or x._spec.names is not None:
                return general(x)
            plan = op._remember(x._spec, op.plan((x._spec,)))
        if op.check is not None:
            op.check(x)
        result = empty(plan.out)
        plan.run(plan.kernel, plan.n, result._pointer, x._pointer, plan.table)
        # a view may owe its history to its base: `requires_grad` looks it up
        if (
            (x._requires_grad or (x._base is not None and x.requires_grad))
            and plan.differentiable
            and grad_mode.enabled
        ):
            record(op, plan, result, (x,))
        return result

    return call


def binary(
    op: Elementwise, otherwise: Callable[[Any, Any], Any] | None = None
) -> Callable[[Any, Any], Tensor]:
    """Return the fast way to call an operator of two tensors.

    What the fast way does not know goes to `otherwise`, or the general call.
    """
    plans = op.plans
    general = otherwise or op.__call__
    if op.check is not None:
        return general

    def call(x: Any, y: Any) -> Tensor:
        kind = type(y)
        if kind is float or kind is int:
            try:
                plan = plans[x._spec, kind]
            except (KeyError, AttributeError):
                return general(x, y)
            result = empty(plan.out)
            plan.run(
                plan.kernel,
                plan.n,
                result._pointer,
                x._pointer,
                plan.table,
                y,
            )
            if (
                (x._requires_grad or x._base is not None)
                and plan.differentiable
                and grad_mode.enabled
                and x.requires_grad
            ):
                record(op, plan, result, (x, y))
            return result
        try:
            plan = plans[x._spec, y._spec]
        except (KeyError, AttributeError):
            return general(x, y)
        # `empty(plan.out)` written out: the call would be a tenth of the operator
        found = plan.out
        shelf = found.shelf
        try:
            block = shelf.pop()
        except IndexError:
            block = new_block(found.nbytes, shelf)
        storage = _new(Storage)
        storage.block = block
        storage.pointer = pointer = block[0]
        storage.nbytes = found.nbytes
        storage.version = 0
        result = _new(Tensor)
        result._storage = storage
        result._pointer = pointer
        result._spec = found
        result._requires_grad = False
        result._grad = result._node = result._base = result._extra = None
        result._output = 0
        plan.run(
            plan.kernel,
            plan.n,
            pointer,
            x._pointer,
            y._pointer,
            plan.table,
        )
        # a view may owe its history to its base: `requires_grad` looks it up
        if (
            (
                x._requires_grad
                or y._requires_grad
                or (x._base is not None and x.requires_grad)
                or (y._base is not None and y.requires_grad)
            )
            and plan.differentiable
            and grad_mode.enabled
        ):
            record(op, plan, result, (x, y))
        return result

    return call


def reflected(
    op: Elementwise, otherwise: Callable[[Any, Any], Any]
) -> Callable[[Any, Any], Tensor]:
    """Return the fast way to call with a number on the left: 2 * x."""
    plans = op.plans
    if op.check is not None:
        return lambda x, y: otherwise(y, x)

    def call(x: Any, y: Any) -> Tensor:
        plan = plans.get((type(y), x._spec))
        if plan is None:
            return otherwise(y, x)
        result = empty(plan.out)
        plan.run(plan.kernel, plan.n, result._pointer, x._pointer, plan.table, y)
        if plan.differentiable and grad_mode.enabled and x.requires_grad:
            record(op, plan, result, (y, x))
        return result

    return call


def augmented(op: Elementwise) -> Callable[[Any, Any], Tensor]:
    """Return the fast way to change a tensor in place by another: x += y."""
    plans = op.plans
    general = op.in_place
    if op.check is not None:
        return general

    def call(x: Any, y: Any) -> Tensor:
        if grad_mode.enabled and x.requires_grad:
            return general(x, y)
        try:
            plan = plans["into", x._spec, x._spec, y._spec]
        except (KeyError, AttributeError):
            return general(x, y)
        if may_meet(x._storage, y._storage) or (grad_mode.enabled and y.requires_grad):
            return general(x, y)
        x._storage.version += 1  # before the kernel: read-only memory refuses here
        plan.run(plan.kernel, plan.n, x._pointer, x._pointer, y._pointer, plan.table)
        return x

    return call
