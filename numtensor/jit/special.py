"""One specialisation of a jitted function: its programs, and the call that runs them.

The call is printed as a Python function, straight from one check to the next, since a
step of a few elements takes less time than a loop over its arguments would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..devices import CPU
from ..dtypes import uint8
from ..memory import empty, result_of
from ..modes import grad_mode
from ..names.tensors import classify
from ..spec import contiguous_spec
from ..storage import Storage, allocate
from ..tape import edge
from ..tensor import Tensor
from ..tracing import Captured
from . import gradients, nesting, notice
from .front import MISS, OVERLAP
from .fuse import fuse
from .ir import Buffer, Node
from .program import Program
from .tracer import Made, Traced, made_of


def memory(nbytes: int, on: Any) -> Storage:
    """Return fresh memory on a device."""
    if on is CPU:
        return allocate(nbytes)
    from .. import device_memory

    return device_memory.allocate(on, nbytes)


class Special:
    """A traced function compiled for what it was traced with."""

    def __init__(self, done: Traced, function: Callable[..., Any], baked: bool) -> None:
        self.done = done
        self.function = function
        self.baked = baked
        self.made = made_of(done)
        back = done.backward
        self.back = back if back is not None and back.refusal is None else None
        kept = self.back.kept if self.back else []
        self.outputs = list(dict.fromkeys([m.buffer for m in self.made] + list(kept)))
        self.fresh = [b for b in self.outputs if b.source == "temporary"]
        self.program, self.externals = compiled(done.nodes, self.fresh, done.on, baked)
        self.text = self._print()
        space = dict(self.constants)
        exec(compile(self.text, "<jit call>", "exec"), space)
        self.replay: Callable[..., Any] = space["replay"]
        self.again: Callable[..., Any] = space["again"]
        self._matches: Callable[..., Any] = space["matches"]
        self.repeats = self._repeats()
        self._let_go()

    def _let_go(self) -> None:
        """Hold on to no tensor of the traced call but what checks compare with: the
        arguments may be large, and belong to the caller."""
        done = self.done
        done.arguments = [(t, v) for t, v in done.arguments if type(v) is float]
        named = {id(value) for value in self.constants.values()}
        for held in done.trace.captured:
            if id(held.tensor) not in named:
                held.tensor = None
            held.storage = held.grad = held.base = held.node = None
        back = self.done.backward
        made: list[Made | None] = [*self.made]
        if back is not None:
            made += [*back.outputs, *(back.grads if self.back else ())]
        for m in made:
            if m is not None:
                m.tensor = None

    def matches(self, args: Any, kwargs: Any) -> bool:
        """Return whether a call with these arguments would run this."""
        return self._matches(args, kwargs) is not MISS

    def source(self, device: Any = None) -> str:
        """Return the kernels as Python source, for this device or another."""
        if device is None:
            return self.program.source()
        from . import printed

        with printed.device(device) as on:
            if on is self.done.on:
                return self.program.source()
            return compiled(self.done.nodes, self.fresh, on, self.baked)[0].source()

    def explain(self) -> Any:
        """Return a table of the loops."""
        from .table import Table

        return Table(self)

    # printing the call

    def _name(self, value: Any) -> str:
        return self.done.reached.name(value)

    def _print(self) -> str:
        done = self.done
        self.constants = done.reached.constants
        self.constants.update(
            MISS=MISS, OVERLAP=OVERLAP, empty=empty, result_of=result_of,
            memory=memory, edge=edge, grad_mode=grad_mode, run=self.program.run,
            repeat=self.program.repeat, linked=self._linked, classify=classify,
        )  # fmt: skip
        self.texts: dict[int, str] = {}
        guard = self._guard()
        before, after = self._run_lines()
        pointers = "".join(f"{self._address(b)}, " for b in self.externals)
        numbers = "".join(f"{text}, " for text, _ in done.numbers)
        lines = ["def replay(args, kwargs):", *guard, *before]
        lines += [
            f"    if run(({pointers}), ({numbers})) is False:",
            "        return OVERLAP",
            *after,
            "",
            "def matches(args, kwargs):",
            *guard,
            "    return True",
            "",
            "def again(times, args, kwargs):",
            *guard,
            *[line.replace("version += ", "version += times * ") for line in before],
            f"    if repeat(times, ({pointers}), ({numbers})) is False:",
            "        return OVERLAP",
            *after,
        ]
        return "\n".join(lines) + "\n"

    def _guard(self) -> list[str]:
        done = self.done
        lines = ["    try:"]
        mode = grad_mode.enabled
        checks = [f"grad_mode.enabled is not {mode}", *done.layout]
        loose = {text for text, _ in done.numbers}
        seen: dict[int, str] = {}
        for text, value in done.arguments:
            if isinstance(value, Tensor):
                known = seen.get(id(value))
                if known is None:
                    seen[id(value)] = local = f"a{len(seen)}"
                    self.texts[id(value)] = local
                    checks.append(f"({local} := {text}) is None")
                else:
                    checks.append(f"{text} is not {known}")
            elif text in loose:
                checks.append(f"type({text}) is not float")
            else:
                checks.append(done.reached.differs(text, value))
        checks += self._reached(seen)
        checks += done.reached.checks(done.loose)
        grads = {id(h.grad) for h in done.trace.captured if h.grad is not None}
        order = sorted(done.trace.captured, key=lambda h: id(h.tensor) in grads)
        for held in order:
            checks += self._state(held)
        firsts: dict[int, Captured] = {}
        for held in done.trace.captured:
            first = firsts.setdefault(id(held.phantom), held)
            if first is not held:
                a, b = self._text(first), self._text(held)
                gap = held.pointer - first.pointer
                checks.append(f"{b}._pointer - {a}._pointer != {gap}")
        checks += self._apart()
        for check in dict.fromkeys(checks):
            lines.append(f"        if {check}: return MISS")
        lines.append(
            "    except (AttributeError, KeyError, IndexError, TypeError, ValueError):"
        )
        lines.append("        return MISS")
        return lines

    def _reached(self, arguments: dict[int, str]) -> list[str]:
        """Return checks of where the tensors are that no argument is."""
        checks: list[str] = []
        reached = self.done.reached
        pinned = reached.pinned()
        for t in reached.tensors:
            if id(t) in pinned:
                known = self._name(t)
                if id(t) in arguments:
                    checks.append(f"{arguments[id(t)]} is not {known}")
                self.texts.setdefault(id(t), known)
        for text, t in reached.rebound():
            held = self.texts.get(id(t))
            if held is None:
                local = self.texts[id(t)] = f"h{len(checks)}"
                checks.append(f"({local} := {text}) is None")
            else:
                checks.append(f"{text} is not {held}")
        return checks

    def _apart(self) -> list[str]:
        """Return checks that tensors that are given something are not one."""
        targets = [e.target for e in self.done.effects if e.kind != "slot"]
        targets = list(dict.fromkeys(targets))
        others = [h for h in self.done.trace.captured if id(h.tensor) in self.texts]
        return [
            f"{self._text(t)} is {self._text(h)}"
            for t in targets
            for h in others
            if h is not t and not (h in targets and id(h) < id(t))
            and not (self._constant(t) and self._constant(h))
        ]  # fmt: skip

    def _constant(self, held: Captured) -> bool:
        return self._text(held).startswith("k")

    def _text(self, held: Captured) -> str:
        return self.texts[id(held.tensor)]

    def _state(self, held: Captured) -> list[str]:
        text = self.texts.get(id(held.tensor))
        if text is None:  # found while the function ran: known by who it is
            text = self.texts[id(held.tensor)] = self._name(held.tensor)
        found = [
            f"{text}._spec is not {self._name(held.spec)}",
            f"{text}._requires_grad is not {held.requires_grad}",
        ]
        if held.requires_grad:
            leaf = "is not" if held.node is None else "is"
            found.append(f"{text}._node {leaf} None")
            if held.tensor._extra is None:
                found.append(f"{text}._extra is not None")  # no hooks, as there were
        if held.grad is not None:
            known = self.texts.get(id(held.grad))
            if known is None:
                self.texts[id(held.grad)] = local = f"g{len(self.texts)}"
                found.append(f"({local} := {text}._grad) is None")
            else:
                found.append(f"{text}._grad is not {known}")
        elif held.requires_grad:
            found.append(f"{text}._grad is not None")
        return found

    def _address(self, buffer: Buffer) -> str:
        """Return the text of the address of an external buffer."""
        if buffer.source == "constant":
            return str(buffer.data._pointer)
        if buffer in self.fresh:
            return self.places[buffer]
        for held in self.done.trace.captured:
            if held.buffer is buffer:
                shift = f" - {held.offset}" if held.offset else ""
                return f"{self._text(held)}._pointer{shift}"
        raise AssertionError("an external buffer that nobody holds")

    def _run_lines(self) -> tuple[list[str], list[str]]:
        done = self.done
        before: list[str] = []
        after: list[str] = []
        self.places: dict[Buffer, str] = {}
        names: dict[int, str] = {}
        for held, times in done.changes:
            before.append(f"    {self._text(held)}._storage.version += {times}")
        made_in: dict[Buffer, list[Made]] = {}
        for m in self.made:
            made_in.setdefault(m.buffer, []).append(m)
        for k, buffer in enumerate(self.fresh):
            members = made_in.get(buffer, [])
            whole = [
                m for m in members if m.offset == 0 and m.spec.nbytes == buffer.nbytes
            ]
            if whole:
                first = whole[0]
                names[id(first)] = f"o{k}"
                before.append(f"    o{k} = empty({self._name(first.spec)})")
                self.places[buffer] = f"o{k}._pointer"
                storage = f"o{k}._storage"
            else:
                on = self._name(done.on)
                before.append(f"    s{k} = memory({buffer.nbytes}, {on})")
                self.places[buffer] = f"s{k}.pointer"
                storage = f"s{k}"
            for j, m in enumerate(members):
                if id(m) in names:
                    continue
                names[id(m)] = f"o{k}_{j}"
                before.append(
                    f"    o{k}_{j} = result_of({storage}, {self.places[buffer]} + "
                    f"{m.offset}, {self._name(m.spec)})"
                )
        for j, m in enumerate(self.made):
            if id(m) in names:
                continue
            names[id(m)] = f"v{j}"
            held = next(h for h in done.trace.captured if h.buffer is m.buffer)
            text = self._text(held)
            before.append(
                f"    v{j} = result_of({text}._storage, {text}._pointer + "
                f"{m.offset - held.offset}, {self._name(m.spec)})"
            )
        for m in self.made:
            if m.spec.names is not None:
                after.append(f"    classify({names[id(m)]})")
        after += self._history(names)
        for e in done.effects:
            value = self._value(e.value, names)
            if e.kind == "grad":
                after.append(f"    {self._text(e.target)}._grad = {value}")
            elif e.kind == "requires_grad":
                after.append(f"    {self._text(e.target)}._requires_grad = {e.value}")
            elif e.kind == "data":
                text = self._text(e.target)
                for name in ("_storage", "_pointer", "_spec"):
                    after.append(f"    {text}.{name} = {value}.{name}")
            elif hasattr(e.target, "cell_contents"):
                after.append(f"    {self._name(e.target)}.cell_contents = {value}")
            else:
                after.append(
                    f"    {self._name(e.target)}[{self._name(e.key)}] = {value}"
                )
        result = nesting.source(done.result, lambda v: self._value(v, names))
        after.append(f"    return {result}")
        return before, after

    def _value(self, value: Any, names: dict[int, str]) -> str:
        if isinstance(value, Made):
            return names[id(value)]
        if isinstance(value, Captured):
            return self._text(value)
        if value is None or type(value) is bool:
            return repr(value)
        if nesting.nested(value):
            return nesting.source(value, lambda v: self._value(v, names))
        return self._name(value)

    def _history(self, names: dict[int, str]) -> list[str]:
        lines: list[str] = []
        back = self.done.backward
        for m in self.made:
            has = back is not None and any(m is o for o in back.outputs)
            if m.requires_grad and not has:
                lines.append(f"    {names[id(m)]}._requires_grad = True")
        if back is None:
            return lines
        if back.refusal is not None:
            refusing = gradients.refusing(back.refusal, len(back.outputs))
            return self._on_node(self._name(refusing), names)
        inputs = "".join(f"{self._text(h)}, " for h in back.inputs + back.others)
        edges = "".join(f"edge({self._text(h)}), " for h in back.inputs)
        held = ""
        for b in back.kept:
            place = self.places.get(b)
            assert place is not None
            storage = place.removesuffix(".pointer").replace("._pointer", "._storage")
            found = contiguous_spec(uint8, (b.nbytes,), self.done.on)
            held += f"result_of({storage}, {place}, {self._name(found)}), "
        lines.append(f"    node = linked(args, kwargs, ({edges}), ({inputs}{held}))")
        return lines + self._on_node("node", names)

    def _on_node(self, node: str, names: dict[int, str]) -> list[str]:
        """Return the lines that make results with a history those of a node."""
        assert self.done.backward is not None
        lines: list[str] = []
        for k, m in enumerate(self.done.backward.outputs):
            name = names[id(m)]
            lines.append(f"    {name}._node = {node}")
            lines.append(f"    {name}._requires_grad = True")
            if k:
                lines.append(f"    {name}._output = {k}")
        return lines

    def _linked(self, args: Any, kwargs: Any, edges: Any, held: Any) -> Any:
        back = self.back
        assert back is not None
        back.special = self
        pure = not self.done.effects and not self.done.changes and not self.random
        eager = None
        if pure:
            leaves = [v for _, v in nesting.leaves((self.done.result,), {})]
            places = [
                next(k for k, v in enumerate(leaves) if v is m) for m in back.outputs
            ]

            def eager() -> list[Tensor]:
                result = self.function(*args, **kwargs)
                found = [v for _, v in nesting.leaves((result,), {})]
                return [found[k] for k in places]

        return gradients.node(back, edges, held, eager)

    @property
    def random(self) -> bool:
        """Whether random numbers are drawn."""
        from .ir import Random

        return any(isinstance(n, Random) for n in self.done.nodes)

    def _repeats(self) -> bool:
        """Return whether one run after the other needs no Python in between."""
        read = {ref.buffer for n in self.done.nodes for ref, _ in n.reads}
        for e in self.done.effects:
            if e.kind != "grad":
                return False
            grad = e.target.grad
            if grad is None:
                return False
            held = next(h for h in self.done.trace.captured if h.tensor is grad)
            if held.buffer in read:
                return False
        return True


def compiled(
    nodes: list[Node], outputs: list[Buffer], on: Any, baked: bool
) -> tuple[Program, list[Buffer]]:
    """Return the program of some nodes, and the buffers it is given addresses of."""
    items = fuse(nodes, set(outputs), baked)
    touched: dict[Buffer, None] = {}
    for item in items:
        for part in getattr(item, "nodes", None) or [item]:
            for ref, _ in [*part.reads, *part.writes]:
                touched[ref.buffer] = None
    externals = [b for b in touched if b.source != "temporary"]
    externals += outputs
    externals = list(dict.fromkeys(externals))
    return Program(items, on, externals, baked), externals


def compile_back(back: Any) -> None:
    """Compile the way back of a special, the first time it is gone."""
    special: Special = back.special
    done = special.done
    grads = [m for m in back.grads if m is not None]
    outputs = list(dict.fromkeys(m.buffer for m in grads))
    nodes = list(back.nodes)
    done.trace.finish(nodes, set(outputs))
    cotangents = {b: k for k, (b, _) in enumerate(back.cotangents)}
    sources = back.inputs + back.others
    kept = {b: len(sources) + k for k, b in enumerate(back.kept)}
    fresh = [
        b for b in outputs
        if b.source == "temporary" and b not in kept and b not in cotangents
    ]  # fmt: skip
    with notice.of(special.function, "compiling the way back of"):
        program, externals = compiled_back(
            nodes, fresh, list(kept), done.on, special.baked
        )
    held_at = {h.buffer: (k, h.offset) for k, h in enumerate(sources)}
    # a way back may finish its gradient in what was kept for it: another walk back
    # must find that as it was
    written = {ref.buffer for node in nodes for ref, _ in node.writes}
    changed = [b for b in kept if b in written]

    def run(given: list[Tensor], saved: tuple[Tensor, ...]) -> list[Tensor | None]:
        made = {b: memory(b.nbytes, done.on) for b in fresh}
        made.update({b: saved[kept[b]].clone()._storage for b in changed})
        pointers = []
        for b in externals:
            if b in made:
                pointers.append(made[b].pointer)
            elif b in kept:
                pointers.append(saved[kept[b]]._pointer)
            elif b in cotangents:
                pointers.append(given[cotangents[b]]._pointer)
            elif b in held_at:
                k, offset = held_at[b]
                pointers.append(saved[k]._pointer - offset)
            else:
                pointers.append(b.data._pointer)
        program.run(pointers, ())
        results: list[Tensor | None] = []
        for m in back.grads:
            if m is None:
                results.append(None)
                continue
            b = m.buffer
            if b in made:
                storage = made[b]
            elif b in cotangents:
                storage = given[cotangents[b]]._storage
            elif b in kept:
                storage = saved[kept[b]]._storage
            else:
                storage = saved[held_at[b][0]]._storage
            first = pointers[externals.index(b)] if b in externals else storage.pointer
            results.append(result_of(storage, first + m.offset, m.spec))
        return results

    back.program = run


def compiled_back(
    nodes: list[Node],
    fresh: list[Buffer],
    kept: list[Buffer],
    on: Any,
    baked: bool,
) -> tuple[Program, list[Buffer]]:
    """As `compiled`, what is kept being given as well."""
    items = fuse(nodes, {*fresh, *kept}, baked)
    touched: dict[Buffer, None] = {}
    for item in items:
        for part in getattr(item, "nodes", None) or [item]:
            for ref, _ in [*part.reads, *part.writes]:
                touched[ref.buffer] = None
    given = set(kept)
    externals = [b for b in touched if b.source != "temporary" or b in given]
    externals = list(dict.fromkeys(externals + fresh))
    return Program(items, on, externals, baked), externals
