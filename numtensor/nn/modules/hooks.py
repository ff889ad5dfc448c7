"""Functions called when a module is: before and after it computes, on the way back too.

A module without hooks never comes here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import message
from ...memory import view_as
from ...tape import MultiNode, RemovableHandle, edge, grad_mode
from ...tensor import Tensor
from .tree import Tree


class _Hooks:
    """The hooks of one module: dictionaries by kind, and which take more."""

    def __init__(self) -> None:
        self.pre: dict[int, Any] = {}
        self.forward: dict[int, Any] = {}
        self.pre_backward: dict[int, Any] = {}
        self.backward: dict[int, Any] = {}
        self.with_kwargs: set[int] = set()
        self.always: set[int] = set()


class Hooked(Tree):
    """Registers hooks, and makes the call of a module that has some."""

    #: the module's `_Hooks`, None while nothing was ever registered
    _hooks: _Hooks | None = None

    forward: Callable[..., Any]

    def _own_hooks(self) -> _Hooks:
        found = self.__dict__.get("_hooks")
        if found is None:
            found = self.__dict__["_hooks"] = _Hooks()
        return found

    def register_forward_pre_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
    ) -> RemovableHandle:
        """Call `hook(module, args)` before `forward`; it may return other arguments.

        With `with_kwargs` it is `hook(module, args, kwargs)`, and returns both.
        """
        held = self._own_hooks()
        handle = _add(held.pre, hook, prepend)
        if with_kwargs:
            held.with_kwargs.add(handle.id)
        return handle

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after `forward`; it may return another
        output.

        With `with_kwargs` it is `hook(module, args, kwargs, output)`. With
        `always_call` it is called, output None, even if `forward` raises.

        >>> import numtensor as nt
        >>> layer = nt.nn.Linear(2, 3)
        >>> def show(module, args, output):
        ...     print(tuple(args[0].shape), tuple(output.shape))
        >>> handle = layer.register_forward_hook(show)
        >>> _ = layer(nt.ones(4, 2))
        (4, 2) (4, 3)
        >>> handle.remove()
        """
        held = self._own_hooks()
        handle = _add(held.forward, hook, prepend)
        if with_kwargs:
            held.with_kwargs.add(handle.id)
        if always_call:
            held.always.add(handle.id)
        return handle

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, grad_output)` before gradients go back through the module.

        It may return other gradients of the outputs.
        """
        return _add(self._own_hooks().pre_backward, hook, prepend)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` when the gradients of the
        module's inputs are known; it may return others.

        Inputs and outputs are those passed as tensors, or tuples of them; what is not
        a tensor that requires grad has None. Changing them in place is refused.
        """
        return _add(self._own_hooks().backward, hook, prepend)

    def _call_with_hooks(self, args: Any, kwargs: dict[str, Any]) -> Any:
        held = self._hooks
        assert held is not None
        called: set[int] = set()
        try:
            return self._hooked_call(held, args, kwargs, called)
        except Exception:
            for key, hook in list(held.forward.items()):
                if key in held.always and key not in called:
                    more = (kwargs,) if key in held.with_kwargs else ()
                    try:
                        hook(self, args, *more, None)
                    except Exception as error:
                        warnings.warn(
                            "module forward hook with ``always_call=True`` raised an "
                            "exception that was silenced as another error was raised "
                            f"in forward: {error}",
                            stacklevel=3,
                        )
            raise

    def _hooked_call(
        self, held: _Hooks, args: Any, kwargs: dict[str, Any], called: set[int]
    ) -> Any:
        for key, hook in list(held.pre.items()):
            if key in held.with_kwargs:
                changed = hook(self, args, kwargs)
                if changed is not None:
                    if not isinstance(changed, tuple) or len(changed) != 2:
                        raise RuntimeError(
                            message(
                                "forward pre-hook",
                                f"{changed!r} from a hook with kwargs",
                                "None or a tuple of (args, kwargs)",
                                "forward pre-hook must return None or a tuple of (new_"
                                f"args, new_kwargs), but got {changed}.",
                            )
                        )
                    args, kwargs = changed
            else:
                changed = hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
        way_back = None
        if held.backward or held.pre_backward:
            way_back = _WayBack(self, held)
            args = way_back.mark_inputs(args)
        result = self.forward(*args, **kwargs)
        for key, hook in list(held.forward.items()):
            called.add(key)
            more = (kwargs,) if key in held.with_kwargs else ()
            changed = hook(self, args, *more, result)
            if changed is not None:
                result = changed
        if way_back is not None:
            result = way_back.mark_outputs(result)
        return result


def _add(hooks: dict[int, Any], hook: Any, first: bool) -> RemovableHandle:
    handle = RemovableHandle(hooks, hook)
    if first:
        later = [(k, hooks.pop(k)) for k in list(hooks) if k != handle.id]
        hooks.update(later)
    return handle


class _Passage(MultiNode):
    """Gives cotangents on as they come. Its outputs are views of what came in."""

    __slots__ = ()
    guards_views = True  # a change in place would go past the hooks

    def backward(self, grad: Any) -> Any:
        return (grad,) if self.outputs == 1 else grad


class _WayBack:
    """One call of a module with backward hooks.

    Inputs and outputs pass through nodes that change nothing; what these nodes see on
    the way back are the gradients that the hooks are shown.
    """

    def __init__(self, module: Any, held: _Hooks) -> None:
        self.module = module
        self.hooks = list(held.backward.values())
        self.pre_hooks = list(held.pre_backward.values())
        self.places: list[int] | None = None  # of the inputs that are tensors
        self.inputs = 0
        self.outputs: tuple[Any, ...] | None = None

    def mark_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        marked, node, places = _passed(args)
        self.inputs = len(args)
        if node is not None:
            self.places = places
            if self.hooks:
                node.register_hook(self._back_at_inputs)
        return marked

    def mark_outputs(self, result: Any) -> Any:
        whole = result if isinstance(result, tuple) else (result,)
        if not isinstance(result, (tuple, Tensor)):
            return result
        marked, node, places = _passed(whole)
        if node is None:
            return result
        count = len(whole)

        def before(grads: tuple[Any, ...]) -> Any:
            return self._back_at_outputs(grads, places, count)

        node.register_prehook(before)
        return marked if isinstance(result, tuple) else marked[0]

    def _back_at_outputs(
        self, grads: tuple[Any, ...], places: list[int], count: int
    ) -> Any:
        whole = _spread(grads, places, count)
        for hook in self.pre_hooks:
            changed = hook(self.module, whole)
            if changed is not None:
                whole = _same_number(changed, whole, "backward pre hook")
        self.outputs = whole
        if self.places is None:
            if self.hooks:
                warnings.warn(
                    "Full backward hook is firing when gradients are computed with "
                    "respect to module outputs since no inputs require gradients.",
                    stacklevel=2,
                )
            for hook in self.hooks:
                if hook(self.module, (None,) * self.inputs, whole) is not None:
                    raise RuntimeError(
                        message(
                            "backward hook",
                            "gradients from a hook of a module without inputs that "
                            "require grad",
                            "None",
                            "backward hook for Modules where no input requires "
                            "gradient should always return None or None for all "
                            "gradients.",
                        )
                    )
        return tuple(whole[k] for k in places)

    def _back_at_inputs(self, grads: tuple[Any, ...], _: Any) -> Any:
        assert self.places is not None
        if self.outputs is None:
            return None  # a second derivative comes here without the outputs
        whole = _spread(grads, self.places, self.inputs)
        for hook in self.hooks:
            changed = hook(self.module, whole, self.outputs)
            if changed is not None:
                whole = _same_number(changed, whole, "backward hook")
        self.outputs = None
        return tuple(whole[k] for k in self.places)


def _spread(
    values: Sequence[Any], places: Sequence[int], count: int
) -> tuple[Any, ...]:
    """Return values at their places among `count`, None elsewhere."""
    found: list[Any] = [None] * count
    for k, value in zip(places, values, strict=True):
        found[k] = value
    return tuple(found)


def _same_number(changed: Any, before: tuple[Any, ...], op: str) -> tuple[Any, ...]:
    found = changed if isinstance(changed, tuple) else (changed,)
    if len(found) != len(before):
        raise RuntimeError(
            message(
                op,
                f"{len(found)} gradients from a hook",
                f"{len(before)}",
                f"Backward hook returned an invalid number of grad_input, got "
                f"{len(found)}, but expected {len(before)}.",
            )
        )
    return found


def _passed(
    values: tuple[Any, ...],
) -> tuple[tuple[Any, ...], MultiNode | None, list[int]]:
    """Return values with all tensors passed through one node, the node, and places.

    No node if nothing is recorded.
    """
    places = [k for k, value in enumerate(values) if isinstance(value, Tensor)]
    if not grad_mode.enabled or not any(values[k].requires_grad for k in places):
        return values, None, places
    found = list(values)
    edges = tuple(edge(values[k]) for k in places)
    node = _Passage("BackwardHookFunctionBackward", edges, tuple, len(places))
    for number, k in enumerate(places):
        if edges[number] is None:
            continue
        passed = view_as(values[k], values[k]._spec, 0)
        passed._node = node
        passed._output = number
        passed._requires_grad = True
        found[k] = passed
    return tuple(found), node, places
