"""Traces while they are made: twin devices, memory that is not there, what is recorded.

A tensor of a twin device has a spec, a storage and an address as others have, but no
memory: its kernels are recorded by `launch_trace` instead of run. What a trace is made
of is in `jit.ir`; how one is begun, and what becomes of it, in `jit`.
"""

from __future__ import annotations

import contextlib
import itertools
import operator
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from . import devices
from .devices import Twin
from .errors import TraceError, message
from .jit.ir import Buffer, Node, Ref, copy_of
from .kernels.expr import Expr, const
from .spec import Spec, spec
from .storage import Storage

#: addresses of buffers: this bit, the buffer's number, the place in the buffer
_BIT = 1 << 62
_SHIFT = 38
_NUMBERS = 1 << (62 - _SHIFT)

_buffers: weakref.WeakValueDictionary[int, Buffer] = weakref.WeakValueDictionary()
_next = [1]
_HERE = str(Path(__file__).parent)


class Captured:
    """A tensor that takes part in a trace, and what it was before."""

    __slots__ = (
        "tensor", "storage", "pointer", "spec", "requires_grad", "grad", "node",
        "base", "output", "phantom", "offset", "version", "traced",
    )  # fmt: skip

    traced: Spec

    def __init__(self, tensor: Any, phantom: Storage, offset: int) -> None:
        self.tensor = tensor
        self.storage = tensor._storage
        self.pointer = tensor._pointer
        self.spec = tensor._spec
        self.requires_grad = tensor._requires_grad
        self.grad = tensor._grad
        self.node = tensor.grad_fn
        self.base = tensor._base
        self.output = tensor._output
        self.phantom = phantom
        self.offset = offset  # in bytes, of its first element in the buffer
        self.version = phantom.version

    @property
    def buffer(self) -> Buffer:
        """What stands for its memory in the trace."""
        found: Buffer = self.phantom.block[1]
        return found

    def restore(self) -> None:
        """Let the tensor be what it was."""
        tensor = self.tensor
        tensor._storage = self.storage
        tensor._pointer = self.pointer
        tensor._spec = self.spec
        tensor._requires_grad = self.requires_grad
        tensor._grad = self.grad
        tensor._base = self.base
        tensor._node = self.node
        tensor._output = self.output


class Trace:
    """The buffers and nodes of one trace, for one device."""

    def __init__(self, on: devices.device) -> None:
        self.on = on
        self.twin = devices.twin(on)
        self.buffers: list[Buffer] = []
        self.nodes: list[Node] = []
        self.known: set[int] = set()
        self.captured: list[Captured] = []
        self.made: dict[int, Any] = {}  # what a run makes, by the traced tensor's id

    def buffer(self, nbytes: int, source: str, data: Any = None) -> Buffer:
        """Return a new buffer of this trace."""
        number = _next[0] % _NUMBERS
        while number in _buffers:
            number = (number + 1) % _NUMBERS
        _next[0] = number + 1
        made = Buffer(number, _BIT | number << _SHIFT, nbytes, source, data)
        _buffers[number] = made
        self.known.add(number)
        self.buffers.append(made)
        return made

    def place(self, pointer: int, op: str) -> tuple[Buffer, int]:
        """Return the buffer of an address, and how many bytes into it that is.

        Raises: TraceError, memory that is no buffer's, or a finished trace's.
        """
        if not pointer & _BIT:
            raise TraceError(
                message(
                    op,
                    "a tensor that existed before the jitted function was traced and "
                    "that it did not find",
                    "tensors that are arguments, or that the function's closure, "
                    "globals, modules or optimisers hold",
                    "Pass it as an argument.",
                )
            )
        number = (pointer ^ _BIT) >> _SHIFT
        found = _buffers.get(number)
        if found is not None and number not in self.known:
            if found.source != "constant":
                found = None
            else:  # what an operator keeps from one call to the next
                self.known.add(number)
                self.buffers.append(found)
        if found is None:
            raise outlived(op)
        return found, pointer - found.base

    def ref(self, pointer: int, dtype: str, strides: Any, op: str) -> Ref:
        """Return the elements that a pointer and strides walk."""
        buffer, offset = self.place(pointer, op)
        return Ref(buffer, offset, dtype, tuple(strides))

    def capture(self, tensor: Any) -> None:
        """Let a tensor with memory be one of this trace, until `release`.

        It keeps its identity: whoever holds it finds that it is traced. What it was is
        in `captured`.
        """
        self.capture_all([tensor])

    def capture_all(self, tensors: Sequence[Any]) -> None:
        """Capture tensors and their gradients; those that overlap share a buffer."""
        wanted: dict[int, Any] = {}
        for t in tensors:
            while t is not None and id(t) not in wanted:
                if type(t._spec.device) is not Twin:
                    wanted[id(t)] = t
                t = t._grad
        of_device: dict[devices.device, list[Any]] = {}
        for t in wanted.values():
            of_device.setdefault(t._spec.device, []).append(t)
        for members in itertools.chain(*map(_together, of_device.values())):
            first = min(t._pointer for t in members)
            last = max(t._pointer + t._spec.nbytes for t in members)
            self._join(members, first, last - first)

    def _join(self, members: Sequence[Any], first: int, nbytes: int) -> None:
        buffer = self.buffer(nbytes, "input")
        phantom = Storage.__new__(Storage)
        phantom.block = (buffer.base, buffer, shelf_for(nbytes))
        phantom.pointer = buffer.base
        phantom.nbytes = nbytes
        phantom.version = members[0]._storage.version
        for t in members:
            held = Captured(t, phantom, t._pointer - first)
            self.captured.append(held)
            found = t._spec
            t._storage = phantom
            t._pointer = phantom.pointer + held.offset
            twin = devices.twin(found.device)
            t._spec = held.traced = spec(
                found.dtype, tuple(found.shape), found.strides, twin, found.names
            )
            t._base = t._node = None
            t._output = 0

    def refuse_others(self) -> None:
        """Raise TraceError if something is done with a tensor of another device."""
        others = {h.buffer: h.spec.device for h in self.captured}
        others = {b: on for b, on in others.items() if on is not self.on}
        for node in self.nodes if others else ():
            for ref, _ in [*node.reads, *node.writes]:
                if ref.buffer in others:
                    where = f" at {node.line}" if node.line else ""
                    got = f"{node.name} of a tensor on {others[ref.buffer]}{where}"
                    raise elsewhere(got, self.on)

    def release(self) -> None:
        """Give all captured tensors back what they were."""
        for held in self.captured:
            held.restore()

    def finish(self, nodes: list[Node], outputs: set[Buffer]) -> None:
        """Give constants that are written or returned memory of their own, which is
        filled at each run."""
        written = {ref.buffer for node in nodes for ref, _ in node.writes} | outputs
        copies: list[Node] = []
        for buffer in list(self.buffers):
            if buffer.source == "constant" and buffer in written:
                held = self.buffer(buffer.nbytes, "constant", buffer.data)
                buffer.source, buffer.data = "temporary", None
                copies.append(copy_of(held, buffer))
        nodes[:0] = copies


def _together(tensors: list[Any]) -> list[list[Any]]:
    """Return the tensors in groups that have memory in common."""
    order = sorted(tensors, key=lambda t: t._pointer)
    groups: list[list[Any]] = []
    end = -1
    for t in order:
        if groups and t._pointer < end:
            groups[-1].append(t)
        else:
            groups.append([t])
        end = max(end, t._pointer + t._spec.nbytes)
    return groups


def outlived(op: str) -> TraceError:
    """Return the error of a tensor without memory that its trace has left behind."""
    return TraceError(
        message(
            op,
            "a tensor that a jitted function left somewhere while it was traced",
            "tensors with memory",
            "Return it from the function instead.",
        )
    )


def elsewhere(got: str, on: devices.device) -> TraceError:
    """Return the error of what a function does on another device than its own."""
    return TraceError(
        message(
            "jit",
            f"{got}, in a function on {on}",
            "tensors of one device",
            "Move the tensor before the call, or do this outside the jitted function.",
        )
    )


def current() -> Trace | None:
    """Return the trace that this thread makes, if any."""
    return devices.tracing.trace  # type: ignore[no-any-return]


def of(op: str) -> Trace:
    """Return the trace that this thread makes. Raises: TraceError, there is none."""
    found = current()
    if found is None:
        raise outlived(op)
    return found


@contextlib.contextmanager
def outside() -> Iterator[None]:
    """Do something for good in the middle of a trace."""
    state = devices.tracing
    trace, state.trace = state.trace, None
    try:
        yield
    finally:
        state.trace = trace


class Shelf:
    """Where the memory of traced tensors seems to come from."""

    __slots__ = ("nbytes",)

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes

    def pop(self) -> Any:
        made = of("jit").buffer(self.nbytes, "temporary")
        return (made.base, made, self)

    def append(self, block: Any) -> None:
        """Take nothing back: what nobody uses any more, fusion finds out."""


_shelves: dict[int, Shelf] = {}


def shelf_for(nbytes: int) -> Shelf:
    """Return the shelf of blocks of a size."""
    found = _shelves.get(nbytes)
    if found is None:
        if len(_shelves) > 4096:
            _shelves.clear()
        found = _shelves[nbytes] = Shelf(nbytes)
    return found


def _is_ours(frame: Any) -> bool:
    """Whether a frame runs code of this package, printed code too."""
    file: str = frame.f_code.co_filename
    return file.startswith((_HERE, "<guard of named", "<jit call"))


def user_line() -> tuple[str, int, str]:
    """Return file, line and function of the innermost frame outside this package."""
    frame: Any = sys._getframe(1)
    while frame is not None and _is_ours(frame):
        frame = frame.f_back
    if frame is None:
        return "", 0, ""
    return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name


def here() -> str:
    """Return the user's line as "file:line"."""
    file, line, _ = user_line()
    return f"{file}:{line}" if file else ""


def needs_data(twin: Any) -> TraceError:
    """Return the error of code that asks for the elements of a traced tensor."""
    import linecache

    file, line, _ = user_line()
    text = linecache.getline(file, line).strip()
    where = f"{file}:{line}" + (f", `{text}`" if text else "")
    frame: Any = sys._getframe(1)
    called = ""
    while frame is not None and _is_ours(frame):
        called = frame.f_code.co_name
        frame = frame.f_back
    called = called.strip("_")
    if text.startswith(("if ", "elif ", "while ", "assert ")) or " if " in text:
        do = (
            "Its branches would depend on data: choose with nt.where(condition, a, b), "
            "or keep the condition out of the jitted function."
        )
    elif called in ("float", "int", "item", "numpy", "tolist", "array", "index"):
        do = (
            "Return the tensor and convert the result outside, or keep it a tensor: "
            "nearly everything takes 0-d tensors where it takes numbers."
        )
    else:
        do = (
            "The result's shape, or the way to it, depends on data: use nt.where or a "
            "mask of fixed size, or do this step outside the jitted function."
        )
    return TraceError(
        message(
            "jit",
            f"{called or 'code'}() that needs the elements of a tensor, at {where}",
            "a function that can be traced without data",
            do,
        )
    )


def is_traced(on: Any) -> bool:
    """Return whether a device is a twin."""
    return type(on) is Twin


class Number:
    """A Python float that may differ from call to call of a jitted function.

    Arithmetic gives another Number; whoever needs the value itself gets it, and the
    function is then traced again when the value is another (`asked`).
    """

    __slots__ = ("value", "expression", "asked")

    def __init__(self, value: float, expression: Expr, asked: list[bool]) -> None:
        self.value = value
        self.expression = expression
        self.asked = asked

    def _known(self) -> float:
        self.asked[0] = True
        return self.value

    def _join(self, op: str, other: Any, turned: bool = False) -> Any:
        if type(other) is Number:
            value, expression = other.value, other.expression
        elif type(other) in (int, float, bool):
            value = float(other)
            expression = const(value, "float64")
        else:
            return NotImplemented
        a, b = self.value, value
        x, y = self.expression, expression
        if turned:
            a, b, x, y = b, a, y, x
        return Number(_JOINS[op](a, b), Expr(op, (x, y), "float64"), self.asked)

    def __add__(self, other: Any) -> Any:
        return self._join("add", other)

    def __radd__(self, other: Any) -> Any:
        return self._join("add", other, True)

    def __sub__(self, other: Any) -> Any:
        return self._join("sub", other)

    def __rsub__(self, other: Any) -> Any:
        return self._join("sub", other, True)

    def __mul__(self, other: Any) -> Any:
        return self._join("mul", other)

    def __rmul__(self, other: Any) -> Any:
        return self._join("mul", other, True)

    def __truediv__(self, other: Any) -> Any:
        return self._join("div", other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._join("div", other, True)

    def __pow__(self, other: Any) -> Any:
        return self._join("pow", other)

    def __rpow__(self, other: Any) -> Any:
        return self._join("pow", other, True)

    def __neg__(self) -> Number:
        return Number(-self.value, -self.expression, self.asked)

    def __pos__(self) -> Number:
        return self

    def __float__(self) -> float:
        return self._known()

    def __int__(self) -> int:
        return int(self._known())

    def __bool__(self) -> bool:
        return bool(self._known())

    def __eq__(self, other: object) -> bool:
        return self._known() == other

    def __lt__(self, other: Any) -> bool:
        return self._known() < other

    def __le__(self, other: Any) -> bool:
        return self._known() <= other

    def __gt__(self, other: Any) -> bool:
        return self._known() > other

    def __ge__(self, other: Any) -> bool:
        return self._known() >= other

    def __hash__(self) -> int:
        return hash(self._known())

    def __repr__(self) -> str:
        return repr(self._known())

    def __format__(self, text: str) -> str:
        return format(self._known(), text)


def plain(numbers: Sequence[Any]) -> tuple[Any, ...]:
    """Return numbers as nodes have them: expressions for those that may differ."""
    return tuple([n.expression if type(n) is Number else n for n in numbers])


_JOINS: dict[str, Callable[[float, float], float]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "pow": operator.pow,
}
