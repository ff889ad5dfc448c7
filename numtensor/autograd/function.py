"""Functions with a way back of their own: `autograd.Function` and its context.

The node of such a call is also the context that `forward` and `backward` get, as in
PyTorch, so `y.grad_fn.saved_tensors` works. Rules of single operators do not belong
here but in their declarations.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ..errors import AutogradError, ShapeError, message
from ..memory import empty
from ..names import bare
from ..spec import Spec, contiguous_spec
from ..tape import FunctionNode, Node, edge, grad_mode, grads_recorded, next_sequence
from ..tensor import Tensor

_NOTHING = -2  # None was saved
_OTHER = -1  # what was saved is no output


class FunctionCtx(Node):
    """What one call of a `Function` knows: the `ctx` of `forward` and `backward`.

    Any attribute may be set on it. Tensors go into `save_for_backward`, which checks
    that nobody changes them in between.
    """

    function: ClassVar[type[Function]]

    guards_views = True

    #: for each argument of `forward`, whether its gradient is asked for
    needs_input_grad: tuple[bool, ...]

    def __init__(self) -> None:
        super().__init__(())
        self._given: tuple[Tensor | None, ...] = ()
        self._dirty: tuple[Tensor, ...] = ()
        self._constant: tuple[Tensor, ...] = ()
        self._materialize = True
        self._inputs: tuple[Spec | None, ...] = ()  # None for what is no Tensor
        self._results: tuple[Spec | None, ...] = ()
        self._saved_as: tuple[int, ...] = ()  # the number of an output, or see above
        self.needs_input_grad = ()

    # for `forward`

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs, outputs or intermediate tensors for `backward`.

        Raises: TypeError, something that is neither a Tensor nor None.
        """
        for k, tensor in enumerate(tensors):
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(
                    message(
                        "save_for_backward",
                        f"a {type(tensor).__name__} at position {k}",
                        "Tensors or None",
                        "save_for_backward can only save variables, but argument "
                        f"{k} is of type {type(tensor).__name__}. Set it as an "
                        "attribute of ctx.",
                    )
                )
        self._given = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say which inputs `forward` has changed in place; it must return them."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say which outputs have no gradient."""
        self._constant = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Choose what stands for a missing cotangent: zeros (default), or None."""
        self._materialize = bool(value)

    # for `backward`

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What `save_for_backward` kept.

        Raises: AutogradError, changed in place since, or freed by a backward.
        """
        known = iter(self.check_saved())
        found: list[Tensor | None] = []
        for number in self._saved_as:
            if number == _NOTHING:
                found.append(None)
                continue
            tensor: Tensor = next(known)
            if number >= 0:
                # an output: kept without its history, or it would keep itself alive
                tensor = tensor.detach()
                tensor._node = self
                tensor._output = number
                tensor._requires_grad = True
            found.append(tensor)
        return tuple(found)

    # for the tape

    def name(self) -> str:
        return type(self).__name__

    def backward(self, grad: Any) -> Sequence[Tensor | None]:
        grads = [grad] if self.outputs == 1 else list(grad)
        if self._materialize:
            for k, found in enumerate(self._results):
                if grads[k] is None and found is not None:
                    grads[k] = _zeros(found)
        given = self.function._way_back()(self, *grads)
        return self._checked(given if isinstance(given, tuple) else (given,))

    def _checked(self, given: tuple[Any, ...]) -> list[Tensor | None]:
        count = len(self._inputs)
        if len(given) > count and all(g is None for g in given[count:]):
            given = given[:count]
        if len(given) != count:
            raise AutogradError(
                message(
                    self.name(),
                    f"{len(given)} gradients",
                    f"{count}, one for each argument of forward",
                    f"function {self.name()} returned an incorrect number of gradients "
                    f"(expected {count}, got {len(given)}). Return None for what has "
                    "no gradient.",
                )
            )
        checked: list[Tensor | None] = []
        for k, (grad, found) in enumerate(zip(given, self._inputs, strict=True)):
            if grad is not None and found is None:
                raise AutogradError(
                    message(
                        self.name(),
                        f"a gradient for argument {k}",
                        "None, since the argument was no Tensor",
                        f"function {self.name()} returned a gradient different than "
                        f"None at position {k + 1}, but the corresponding forward "
                        "input was not a Variable.",
                    )
                )
            if found is None:
                continue
            checked.append(None if grad is None else self._fitted(k, grad, found))
        return checked

    def _fitted(self, k: int, grad: Any, wanted: Spec) -> Tensor:
        if not isinstance(grad, Tensor):
            raise AutogradError(
                message(
                    self.name(),
                    f"a {type(grad).__name__} as gradient {k}",
                    "a Tensor or None",
                    f"expected Variable or None (got {type(grad).__name__}).",
                )
            )
        if grad._spec.shape != wanted.shape:
            if not _expands(wanted.shape, grad.shape):
                raise ShapeError(
                    message(
                        self.name(),
                        f"a gradient of shape {list(grad.shape)} for argument {k}",
                        f"{list(wanted.shape)}",
                        f"Function {self.name()} returned an invalid gradient at index "
                        f"{k} - got {list(grad.shape)} but expected shape compatible "
                        f"with {list(wanted.shape)}.",
                    )
                )
            grad = grad.sum_to_size(wanted.shape)
        if grad.dtype is not wanted.dtype:
            grad = grad.to(wanted.dtype)
        return bare(grad)

    def release(self) -> None:
        super().release()
        self._given = ()

    def record(
        self,
        edges: tuple[Any, ...],
        tensors: Sequence[Tensor | None],
        results: Sequence[Any],
    ) -> None:
        """Make this call the history of the results."""
        self.edges = edges
        self.sequence = next_sequence()  # newer than all that forward looked up
        self.outputs = len(results)
        self._inputs = tuple(None if t is None else t._spec for t in tensors)
        self._results = tuple(
            r._spec if isinstance(r, Tensor) else None for r in results
        )
        order = [t for t in tensors if t is not None]
        saved_as: list[int] = []
        saved: list[Tensor] = []
        for tensor in self._given:
            if tensor is None:
                saved_as.append(_NOTHING)
                continue
            at = [
                k
                for k, r in enumerate(results)
                if r is tensor and _differentiable(r, self._constant)
            ]
            saved_as.append(at[0] if at else _OTHER)
            saved.append(tensor.detach() if at else tensor)
        self._given = ()
        self._saved_as = tuple(saved_as)
        self.saved = tuple(saved)
        self.versions = tuple(t._storage.version for t in saved)
        for k, result in enumerate(results):
            if not isinstance(result, Tensor):
                continue
            if any(result is d for d in self._dirty):
                own = next(n for n, t in enumerate(order) if t is result)
                _rebase(self, result, own, k)
            elif _differentiable(result, self._constant):
                result._node = self
                result._output = k
                result._requires_grad = True


class Function:
    """An operator whose forward and backward are written by hand.

    Subclass it with static methods `forward(ctx, *args)` and `backward(ctx, *grads)`,
    or `forward(*args)`, `setup_context(ctx, inputs, output)` and `backward`; call
    `apply`. `backward` returns one gradient per argument of `forward`, None where
    there is none. It is differentiable if it is made of differentiable operators.

    >>> import numtensor as nt
    >>> class Cube(nt.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x ** 3
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         (x,) = ctx.saved_tensors
    ...         return grad * 3 * x ** 2
    >>> x = nt.tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor(12.)
    """

    _context: ClassVar[type[FunctionCtx]] = FunctionCtx

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        name = f"{cls.__name__}Backward"
        cls._context = type(name, (FunctionCtx,), {"function": cls})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise AutogradError(
            message(
                type(self).__name__,
                "an instance of a Function",
                "a call of its static method apply",
                "Legacy autograd function with non-static forward method is not "
                f"supported. Call {type(self).__name__}.apply(...).",
            )
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs. To be overridden."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Save what `backward` needs, where `forward` takes no ctx."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Return a gradient per argument of `forward`. To be overridden."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom "
            "autograd.Function to use it with backward mode AD."
        )

    vjp = backward

    @classmethod
    def _way_back(cls) -> Callable[..., Any]:
        if cls.vjp is Function.vjp:
            return cls.backward
        if cls.backward is not Function.backward:
            raise AutogradError(
                message(
                    cls.__name__,
                    "both backward and vjp",
                    "one of them",
                    "Implementing both 'backward' and 'vjp' for a custom Function is "
                    "not allowed.",
                )
            )
        return cls.vjp

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run `forward` without recording it, and put the call on the tape."""
        split = cls.setup_context is not Function.setup_context
        if kwargs or split:
            signature = inspect.signature(cls.forward)
            lead = () if split else (None,)
            bound = signature.bind(*lead, *args, **kwargs)
            bound.apply_defaults()
            args = bound.args[len(lead) :]
        ctx = cls._context()
        tensors = [a if isinstance(a, Tensor) else None for a in args]
        ctx.needs_input_grad = tuple(t is not None and t.requires_grad for t in tensors)
        recorded = grad_mode.enabled and any(ctx.needs_input_grad)
        # the edges as they are before forward may change an input in place
        edges = tuple(edge(t) for t in tensors if t is not None)
        with grads_recorded(False):
            if split:
                output = cls.forward(*args)
                cls.setup_context(ctx, args, output)
            else:
                output = cls.forward(ctx, *args)
        several = isinstance(output, tuple)
        results = list(output) if several else [output]
        if any(not any(d is r for r in results) for d in ctx._dirty):
            raise AutogradError(
                message(
                    cls.__name__,
                    "an input marked as dirty that forward does not return",
                    "all of them among the outputs",
                    "Some elements marked as dirty during the forward method were not "
                    "returned as output. The inputs that are modified inplace must "
                    "all be outputs of the Function.",
                )
            )
        for k, result in enumerate(results):
            returned = any(result is t for t in tensors if t is not None)
            if returned and not any(result is d for d in ctx._dirty):
                # an input handed through is a new tensor over its memory
                with grads_recorded(False):
                    results[k] = result.view_as(result)
        for tensor in ctx._dirty:
            tensor._storage.version += 1
        if recorded:
            ctx.record(edges, tensors, results)
        return tuple(results) if several else results[0]


def _expands(small: Sequence[int], large: Sequence[int]) -> bool:
    lead = len(large) - len(small)
    return lead >= 0 and all(
        a in (1, b) for a, b in zip(small, large[lead:], strict=True)
    )


def _differentiable(result: Tensor, constant: Sequence[Tensor]) -> bool:
    return result.is_floating_point() and not any(result is c for c in constant)


def _rebase(ctx: FunctionCtx, target: Tensor, own: int, number: int) -> None:
    """Give an input that was changed in place its new history."""
    base = target._base
    if ctx.edges[own] is target or (
        base is not None and base._requires_grad and base._node is None
    ):
        raise AutogradError(
            message(
                ctx.function.__name__,
                "a leaf that requires grad among the tensors marked as dirty",
                "a tensor whose history may change",
                "a leaf Variable that requires grad has been used in an in-place "
                "operation. Use a clone(), or no_grad().",
            )
        )
    if base is not None and ctx.outputs > 1:
        raise AutogradError(
            message(
                ctx.function.__name__,
                "a view marked as dirty in a function of several outputs",
                "one output",
                "If your Function modifies inplace an input that is a view of another "
                "Tensor, it cannot return more than one Tensor.",
            )
        )
    target.replace_history(ctx, own)
    if base is None:
        target._output = number


def _zeros(found: Spec) -> Tensor:
    made = empty(contiguous_spec(found.dtype, tuple(found.shape), found.device))
    return made.zero_()


def once_differentiable(
    backward: Callable[..., Any],
) -> Callable[..., Any]:
    """Mark a `backward` whose result cannot be differentiated again.

    It runs without recording; a gradient of the gradient raises AutogradError.
    """

    @functools.wraps(backward)
    def wrapped(ctx: Any, *grads: Any) -> Any:
        with grads_recorded(False):
            outputs = backward(ctx, *grads)
        if not grad_mode.enabled:
            return outputs
        sources = [g for g in grads if isinstance(g, Tensor) and g.requires_grad]
        sources += [t for t in ctx.saved_tensors if t is not None and t.requires_grad]
        if not sources:
            return outputs

        def refuse(grad: Tensor) -> Any:
            raise AutogradError(
                message(
                    ctx.name(),
                    "a second derivative",
                    "first derivatives only",
                    "trying to differentiate twice a function that was marked with "
                    "@once_differentiable.",
                )
            )

        several = isinstance(outputs, tuple)
        marked = []
        for value in outputs if several else (outputs,):
            if isinstance(value, Tensor) and value.is_floating_point():
                value = value.detach()
                value._node = FunctionNode(
                    "DelayedError", tuple(edge(s) for s in sources), refuse
                )
                value._requires_grad = True
            marked.append(value)
        return tuple(marked) if several else marked[0]

    return wrapped
