"""One run of a function on traced tensors, and what it did: results and effects.

`trace` captures what the function reaches, runs it, and returns a `Traced`: the nodes,
where the results are, what was changed of tensors and objects outside. Afterwards all
that it reached is as it was before. How it is compiled and run is in `special`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import devices
from ..devices import CPU, Twin
from ..devices import device as Device
from ..errors import TraceError, message
from ..kernels.expr import var
from ..modes import grad_mode
from ..spec import Spec, spec
from ..storage import ReadOnlyStorage
from ..tensor import Tensor
from ..tracing import Captured, Number, Trace, elsewhere
from . import nesting
from .ir import Buffer, Node
from .roots import Reached, Slot


class Made:
    """A tensor that a run has to make: where in which buffer, and what it is."""

    __slots__ = ("buffer", "offset", "spec", "requires_grad", "tensor", "kind")

    def __init__(self, tensor: Tensor, trace: Trace) -> None:
        self.tensor: Any = tensor  # the traced one, until there is a special
        self.buffer, self.offset = trace.place(tensor._pointer, "jit")
        self.spec = real_spec(tensor._spec)
        self.requires_grad = tensor.requires_grad
        self.kind = type(tensor)
        if self.spec.device is not trace.on:
            raise elsewhere(f"a tensor made on {self.spec.device}", trace.on)


def real_spec(found: Spec) -> Spec:
    """Return the spec of the same tensor on the device that a twin stands for."""
    on = found.device.real if type(found.device) is Twin else found.device
    return spec(found.dtype, tuple(found.shape), found.strides, on, found.names)


class Effect:
    """Something outside that a run changes: `kind` is "grad", "data", "slot" or
    "requires_grad"; `value` a Made, a Captured, None or a bool."""

    __slots__ = ("kind", "target", "key", "value")

    def __init__(self, kind: str, target: Any, key: Any, value: Any) -> None:
        self.kind = kind
        self.target = target
        self.key = key
        self.value = value


class Traced:
    """What a function did while it was traced."""

    on: Device
    trace: Trace
    reached: Reached
    nodes: list[Node]
    arguments: list[tuple[str, Any]]  # text and value of every leaf of the arguments
    layout: Any  # of the arguments
    result: Any  # as returned, leaves being Made, Captured, Number or plain
    effects: list[Effect]
    changes: list[tuple[Captured, int]]  # in-place changes of each storage
    numbers: list[tuple[str, Any]]  # text of each number that may differ
    loose: set[int]
    backward: Any


def captured_of(trace: Trace, tensor: Any) -> Captured | None:
    """Return what a tensor was captured as, if it was."""
    for held in trace.captured:
        if held.tensor is tensor:
            return held
    return None


def device_of(tensors: Sequence[Tensor]) -> Device:
    """Return the device to trace for: the first that is no host memory, else that."""
    for t in tensors:
        if t._spec.device is not CPU:
            return t._spec.device
    return CPU


def trace(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    loose_texts: frozenset[str] = frozenset(),
) -> Traced:
    """Run a function on traced tensors.

    `loose_texts` name the floats, among arguments and slots, that are to be numbers of
    each run. Raises: TraceError, what the function raises.
    """
    done = Traced()
    leaves = nesting.leaves(args, kwargs)
    done.arguments = leaves
    done.layout = nesting.layout(args, kwargs)
    reached = _reached(function, leaves)
    for optimizer in reached.optimizers:
        optimizer.prepare()
    if reached.optimizers:  # again, with what has just been made
        reached = _reached(function, leaves)
    done.reached = reached
    own = [v for _, v in leaves if isinstance(v, Tensor)]
    on = done.on = device_of(own or reached.tensors)
    made = done.trace = Trace(on)
    given = {id(t): t for t in own}
    given |= {id(t): t for t in reached.tensors}
    asked = [False]
    done.numbers = []
    done.loose = set()

    def number(text: str, value: float) -> Number:
        name = f"n{len(done.numbers)}"
        done.numbers.append((text, value))
        return Number(value, var(name, "float64"), asked)

    replaced: list[tuple[Slot, Any]] = []
    placed: dict[int, Number] = {}
    swapped = {}
    for text, value in leaves:
        if text in loose_texts and type(value) is float:
            swapped[text] = number(text, value)
    call_args, call_kwargs = nesting.replaced(args, kwargs, swapped)
    grads = grad_mode.enabled
    devices.active[0] += 1
    try:
        made.capture_all(list(given.values()))
        for k, slot in enumerate(reached.slots):
            if slot.text in loose_texts and type(slot.value) is float:
                done.loose.add(k)
                placed[id(slot)] = number(slot.text, slot.value)
                slot.put(placed[id(slot)])
                replaced.append((slot, slot.value))
        devices.tracing.trace = made
        result = function(*call_args, **call_kwargs)
        if asked[0]:
            raise Asked
        done.result = nesting.mapped(result, lambda leaf: _leaf(leaf, made))
        reached.check_rates(placed)
        done.effects = _effects(made, reached)
        # a backward that starts from the results is recorded behind the function
        from .gradients import way_back

        forward = len(made.nodes)
        done.backward = way_back(done, forward)
        made.refuse_others()
        done.nodes = made.nodes[:forward]
        _finish(done)
        done.changes = _changes(made)
        for slot, value in replaced:
            slot.put(value)
        reached.settle()
        return done
    except BaseException:
        devices.tracing.trace = None
        reached.undo()
        raise
    finally:
        devices.tracing.trace = None
        devices.active[0] -= 1
        grad_mode.enabled = grads
        for slot, value in replaced:
            slot.put(value)
        made.release()


def _reached(
    function: Callable[..., Any], leaves: Sequence[tuple[str, Any]]
) -> Reached:
    """Return what the function, and objects among its arguments, lead to."""
    found = Reached()
    found.function(function)
    for text, value in leaves:
        if not isinstance(value, Tensor):
            found.open(value, text)
    return found


class Asked(Exception):
    """A number that was to differ from run to run has decided something."""


def _leaf(leaf: Any, trace: Trace) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    held = captured_of(trace, leaf)
    if held is not None:
        return held
    if type(leaf._spec.device) is not Twin:
        return leaf
    known = trace.made.get(id(leaf))
    if known is None:
        known = trace.made[id(leaf)] = Made(leaf, trace)
    return known


def _effects(trace: Trace, reached: Reached) -> list[Effect]:
    found: list[Effect] = []
    for held in list(trace.captured):
        t = held.tensor
        if t._node is not None:
            raise TraceError(
                message(
                    "jit",
                    "a tensor from outside that is changed in place and has a history "
                    "then",
                    "in-place changes inside no_grad(), or of tensors made inside",
                    "Return the new value instead.",
                )
            )
        if t._storage is not held.phantom or t._spec is not held.traced:
            found.append(Effect("data", held, None, Made(t, trace)))
        if t._grad is not held.grad and held.node is not None:
            raise TraceError(
                message(
                    "jit",
                    "a backward() that would go on outside of the function",
                    "results whose backward() is called outside",
                    "Detach the argument, or call backward() on what is returned.",
                )
            )
        if t._grad is not held.grad:
            value = None if t._grad is None else _leaf(t._grad, trace)
            found.append(Effect("grad", held, None, value))
        if t._requires_grad is not held.requires_grad:
            found.append(Effect("requires_grad", held, None, t._requires_grad))
    for container, key, tensor in reached.left():
        value = nesting.mapped(tensor, lambda leaf: _leaf(leaf, trace))
        found.append(Effect("slot", container, key, value))
    return found


def made_of(done: Traced) -> list[Made]:
    """Return the tensors that a run makes: results first, then effects."""
    found = [v for _, v in nesting.leaves((done.result,), {}) if isinstance(v, Made)]
    values = tuple(e.value for e in done.effects)
    found += [v for _, v in nesting.leaves(values, {}) if isinstance(v, Made)]
    return list(dict.fromkeys(found))


def _finish(done: Traced) -> None:
    """See that results have memory of their own."""
    outputs: set[Buffer] = {m.buffer for m in made_of(done)}
    done.trace.finish(done.nodes, outputs)


def _changes(trace: Trace) -> list[tuple[Captured, int]]:
    """Return how often the memory of each captured storage was changed in place.

    Raises: ReadOnlyError, memory that may not be.
    """
    found = []
    seen: set[int] = set()
    for held in trace.captured:
        if id(held.phantom) in seen:
            continue
        seen.add(id(held.phantom))
        times = held.phantom.version - held.version
        if times:
            if type(held.storage) is ReadOnlyStorage:
                held.storage.version += 1
            found.append((held, times))
    return found
