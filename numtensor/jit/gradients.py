"""The way back of a jitted function that is called eagerly.

When a traced function has returned, the walk back from its results is recorded behind
it. What that reads of the function's temporaries must be kept from one program to the
other, unless a few cheap loops can compute it again from what is there anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .. import tape
from ..errors import AutogradError, message
from ..memory import empty
from ..modes import grad_mode
from ..spec import Spec, contiguous_spec
from ..tape import MultiNode
from ..tensor import Tensor
from ..tracing import Captured
from . import nesting
from .ir import Buffer, Loop, Node

if TYPE_CHECKING:
    from .tracer import Made, Traced

#: loops that may be run again for one value
_MOST_LOOPS = 16


class WayBack:
    """What the second program is made of."""

    outputs: list[Made]
    inputs: list[Captured]
    cotangents: list[tuple[Buffer, Spec]]
    grads: list[Made | None]
    nodes: list[Node]
    others: list[Captured]  # what is read and wants no gradient
    kept: list[Buffer]  # temporaries of the first program
    refusal: AutogradError | None
    program: Any
    again: Callable[..., Any]

    def __init__(self) -> None:
        self.refusal = None
        self.program = None
        self.kept = []
        self.others = []


def way_back(done: Traced, forward: int) -> WayBack | None:
    """Record the walk back from the results; None if no result has a history."""
    from .tracer import Made, real_spec

    results = [v for _, v in nesting.leaves((done.result,), {})]
    outputs = [
        v for v in results if isinstance(v, Made) and v.tensor.grad_fn is not None
    ]
    outputs = list(dict.fromkeys(outputs))
    if not outputs:
        return None
    back = WayBack()
    back.outputs = outputs
    back.inputs = [h for h in done.trace.captured if h.requires_grad]
    back.cotangents = []
    roots = []
    for made in outputs:
        own = made.tensor._spec
        dense = contiguous_spec(own.dtype, tuple(own.shape), own.device)
        cotangent = empty(dense)
        buffer, _ = done.trace.place(cotangent._pointer, "jit")
        buffer.source = "input"
        back.cotangents.append((buffer, real_spec(dense)))
        roots.append((made.tensor, cotangent))
    try:
        found = tape.run_backward(
            roots,
            retain_graph=False,
            create_graph=False,
            inputs=[h.tensor for h in back.inputs],
            accumulate=False,
        ) if back.inputs else {}  # fmt: skip
    except AutogradError as error:
        back.refusal = error  # freed by a backward inside, or changed in place
        return back
    back.grads = []
    for held in back.inputs:
        grad = found.get(id(held.tensor))
        back.grads.append(None if grad is None else Made(grad, done.trace))
    before, after = done.trace.nodes[:forward], done.trace.nodes[forward:]
    _divide(back, before, after)
    read = {ref.buffer for node in back.nodes for ref, _ in node.reads}
    read |= {m.buffer for m in back.grads if m is not None}
    known = {h.buffer for h in back.inputs}
    for held in done.trace.captured:
        if held.buffer in read and held.buffer not in known:
            known.add(held.buffer)
            back.others.append(held)
    return back


def _divide(back: WayBack, before: list[Node], after: list[Node]) -> None:
    """Decide what is kept, and what is computed again."""
    writers: dict[Buffer, list[int]] = {}
    for k, node in enumerate(before):
        for ref, _ in node.writes:
            if k not in writers.setdefault(ref.buffer, []):
                writers[ref.buffer].append(k)
    kept = {m.buffer for m in back.outputs if m.buffer in writers}
    again: set[int] = set()
    wanted = {ref.buffer for node in after for ref, _ in node.reads}
    wanted |= {m.buffer for m in back.grads if m is not None}
    used: set[Buffer] = set()
    for buffer in sorted(wanted, key=lambda b: b.number):
        if buffer not in writers or buffer.source == "input":
            continue
        if buffer in kept:
            used.add(buffer)
            continue
        loops: set[int] = set()
        leaves: set[Buffer] = set()
        if _recompute(buffer, before, writers, kept, loops, leaves) and len(leaves) < 2:
            again |= loops
            used |= leaves
        else:
            used.add(buffer)
    # what is kept needs not be computed again for another's sake
    back.kept = sorted(used, key=lambda b: b.number)
    back.nodes = [before[k] for k in sorted(again)] + after


def _recompute(
    buffer: Buffer,
    before: Sequence[Node],
    writers: dict[Buffer, list[int]],
    kept: set[Buffer],
    loops: set[int],
    leaves: set[Buffer],
) -> bool:
    """Collect the loops that compute a buffer again, and the kept ones they read."""
    own: set[int] = set()
    ends: set[Buffer] = set()
    for k in writers[buffer]:
        node = before[k]
        if not isinstance(node, Loop) or len(node.outputs) != 1:
            return False
        own.add(k)
        for _, ref in node.inputs:
            source = ref.buffer
            if source is buffer:
                return False
            if source.source == "input" and source in writers:
                return False
            if source not in writers:
                continue
            if (
                source in kept
                or len(loops | own) > _MOST_LOOPS
                or not _recompute(source, before, writers, kept, own, ends)
            ):
                if writers[source][-1] > k:
                    return False  # it is not what it was any more
                ends.add(source)
    if len(loops | own) > _MOST_LOOPS:
        return False
    loops |= own
    leaves |= ends
    return True


class JitNode(MultiNode):
    """The record of one call of a jitted function."""

    __slots__ = ()


def node(
    back: WayBack, edges: tuple[Any, ...], held: tuple[Tensor, ...], eager: Any
) -> JitNode:
    """Return the record of a call: `held` are the inputs, then what is kept."""

    def function(grads: Any, *saved: Tensor) -> Sequence[Tensor | None]:
        given = grads if len(back.outputs) > 1 else [grads]
        if grad_mode.enabled:
            return _by_eager(back, eager, given, saved)
        return _run(back, given, saved)

    return JitNode("JitBackward0", edges, function, len(back.outputs), held)


def _run(
    back: WayBack, given: Sequence[Tensor | None], saved: Sequence[Tensor]
) -> list[Tensor | None]:
    if back.program is None:
        from .special import compile_back

        compile_back(back)
    cotangents = []
    for g, (_, found) in zip(given, back.cotangents, strict=True):
        if g is None:
            g = empty(found).zero_()
        elif g._spec is not found:
            g = g.contiguous()
        cotangents.append(g)
    return back.program(cotangents, saved)  # type: ignore[no-any-return]


def _by_eager(
    back: WayBack, eager: Any, given: Sequence[Tensor | None], saved: Sequence[Tensor]
) -> list[Tensor | None]:
    """Return gradients that have a history: run the function again, eagerly."""
    if eager is None:
        raise AutogradError(
            message(
                "jit",
                "create_graph=True through a jitted function that changes something "
                "outside, or draws random numbers",
                "a function without effects",
                "Call it inside `with nt.jit_disabled():`.",
            )
        )
    from .. import autograd

    outputs = eager()
    inputs = list(saved[: len(back.inputs)])
    pairs = [(o, g) for o, g in zip(outputs, given, strict=True) if g is not None]
    found = autograd.grad(
        [o for o, _ in pairs],
        inputs,
        [g for _, g in pairs],
        create_graph=True,
        allow_unused=True,
    )
    return list(found)


class RefusingNode(MultiNode):
    """The record of results from which there is no way back."""

    __slots__ = ()


def refusing(why: AutogradError, outputs: int) -> RefusingNode:
    """Return a node that raises, when it is gone back through, what eager does."""
    kind, text = type(why), str(why)

    def refuse(*grads: Any) -> Any:
        raise kind(text)

    return RefusingNode("JitBackward0", (), refuse, outputs)
