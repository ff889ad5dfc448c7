"""What a trace is made of: buffers, the nodes that read and write them, and groups.

A trace is a list of nodes in the order in which they happened. Each reads and writes
parts of buffers, as eager kernels read and write memory; nothing else connects them.
`fuse` makes groups of nodes that become one loop, `lower` and `program` make kernels
of the groups. Data only: records nothing and compiles nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..kernels.expr import Expr
from ..kernels.loops import Combine, itemsize
from ..launch_parts import Body, Reduced
from ..layout import extent, numel

Shape = tuple[int, ...]


class Buffer:
    """The memory of one storage in a trace.

    `base` is an address that no memory has; kernels recorded at addresses from it on
    belong to this buffer. `source` is "temporary" (made by the traced function),
    "input" (memory that was there before: of an argument, or captured) or "constant"
    (`data`, a tensor in host memory, is what it holds before the first node).
    """

    __slots__ = ("number", "base", "nbytes", "source", "data", "__weakref__")

    def __init__(
        self, number: int, base: int, nbytes: int, source: str, data: Any = None
    ) -> None:
        self.number = number
        self.base = base
        self.nbytes = nbytes
        self.source = source
        self.data = data

    def __repr__(self) -> str:
        return f"<buffer {self.number}: {self.source}, {self.nbytes} bytes>"


@dataclass(frozen=True)
class Ref:
    """Elements of a buffer: where they begin, in bytes, and how a shape walks them.

    `strides` are in elements, one for each dim of the shape that it is used with; 0
    where neighbours are the same element.
    """

    buffer: Buffer
    offset: int
    dtype: str
    strides: Shape

    def bytes_of(self, shape: Sequence[int]) -> tuple[int, int]:
        """Return the first byte, and the one after the last, that a shape touches."""
        span = extent(tuple(shape), self.strides) * itemsize(self.dtype)
        return self.offset, self.offset + span


#: a number that a kernel is given: itself, or an expression over numbers that differ
#: from call to call, `var("n0", "float64")` being the first of them
Number = Any


@dataclass(eq=False)
class Node:
    """One kernel call of the trace. `name` is what its operator is called."""

    name: str
    #: the user's line that led here, "file:line", or ""
    line: str

    @property
    def reads(self) -> list[tuple[Ref, Shape]]:
        """What is read, each with the shape that walks it."""
        raise NotImplementedError

    @property
    def writes(self) -> list[tuple[Ref, Shape]]:
        """What is written. A part of it may keep what it was, if it is read too."""
        raise NotImplementedError


@dataclass(eq=False)
class Loop(Node):
    """Results stored at every point of `shape`.

    `body.build(values)` returns an expression for each output, of the dtype of its
    ref, `values` having one for the name of each input (of the dtype its ref loads
    as, see `expr.var`) and of each of `body.scalars`. `numbers` are the values of
    those scalars in their order.
    """

    shape: Shape
    outputs: tuple[Ref, ...]
    inputs: tuple[tuple[str, Ref], ...]
    body: Body
    numbers: tuple[Number, ...]

    @property
    def reads(self) -> list[tuple[Ref, Shape]]:
        return [(ref, self.shape) for _, ref in self.inputs]

    @property
    def writes(self) -> list[tuple[Ref, Shape]]:
        return [(ref, self.shape) for ref in self.outputs]


@dataclass(eq=False)
class Reduce(Node):
    """`dims` of `shape` reduced, and results stored at every point too.

    `body` returns the stored values, then those to reduce. `results` are walked by the
    kept dims in their order, without gaps. `reduced[k].finish`, if any, maps the total
    (an expression of `combine.total_dtype(dtype of the value)`) to what is stored,
    cast to `reduced[k].dtype`.
    """

    shape: Shape
    dims: frozenset[int]
    stores: tuple[Ref, ...]
    results: tuple[Ref, ...]
    reduced: tuple[Reduced, ...]
    inputs: tuple[tuple[str, Ref], ...]
    body: Body
    numbers: tuple[Number, ...]

    @property
    def kept(self) -> Shape:
        return tuple(n for d, n in enumerate(self.shape) if d not in self.dims)

    @property
    def reads(self) -> list[tuple[Ref, Shape]]:
        return [(ref, self.shape) for _, ref in self.inputs]

    @property
    def writes(self) -> list[tuple[Ref, Shape]]:
        return [(ref, self.shape) for ref in self.stores] + [
            (ref, self.kept) for ref in self.results
        ]


@dataclass(eq=False)
class Matmul(Node):
    """A product of stacks of matrices: out[batch, n, m] = a[batch, n, k] @ b[.., k, m].

    `sizes` are (n, m, k). Strides of `a` and `b` are those of the stack's dims, then of
    the matrix's two; `out` has no gaps.
    """

    batch: Shape
    sizes: tuple[int, int, int]
    out: Ref
    a: Ref
    b: Ref

    @property
    def reads(self) -> list[tuple[Ref, Shape]]:
        n, m, k = self.sizes
        return [(self.a, (*self.batch, n, k)), (self.b, (*self.batch, k, m))]

    @property
    def writes(self) -> list[tuple[Ref, Shape]]:
        n, m, _ = self.sizes
        return [(self.out, (*self.batch, n, m))]


@dataclass(eq=False)
class Random(Node):
    """Random numbers: `plan` (of `numtensor.random`) fills the first `n` elements at
    `ref`, with as many counters as it reserves of the generator at each run.

    On the CPU the kernel is `plan.code`, its range is [0, counters) and its slots are
    (address, seed, offset, n, *plan.slots); on a device
    `plan.run_on(on)(address, seed, offset, counters, n)` does it.
    """

    ref: Ref
    n: int
    counters: int
    plan: Any
    generator: Any

    @property
    def reads(self) -> list[tuple[Ref, Shape]]:
        return []

    @property
    def writes(self) -> list[tuple[Ref, Shape]]:
        return [(self.ref, (self.n,))]


@dataclass(eq=False)
class Opaque(Node):
    """A kernel that is not fused: one by hand, or the places of extremes.

    `plan(on)` returns a launch of the device: `call.run(call.kernel, call.n, *pointers,
    call.table, *numbers)` performs it, or, if what it returns has `launches`, it is a
    `launch_parts.Steps`. `refs` are its pointers; which bytes from there on it touches
    is not known. `written` and `read` say which of them it writes and reads. What it
    writes it may write in part.
    """

    refs: tuple[Ref, ...]
    written: frozenset[int]
    read: frozenset[int]
    numbers: tuple[Number, ...]
    plan: Callable[[Any], Any]

    @property
    def reads(self) -> list[tuple[Ref, Shape]]:
        return [(_whole(self.refs[k]), _bytes(self.refs[k])) for k in sorted(self.read)]

    @property
    def writes(self) -> list[tuple[Ref, Shape]]:
        return [
            (_whole(self.refs[k]), _bytes(self.refs[k])) for k in sorted(self.written)
        ]


def _whole(ref: Ref) -> Ref:
    return Ref(ref.buffer, 0, "uint8", (1,))


def _bytes(ref: Ref) -> Shape:
    return (ref.buffer.nbytes,)


def copy_of(source: Buffer, target: Buffer, offset: int = 0) -> Loop:
    """Return the node that copies a whole buffer to a place in another."""
    body = Body(("jit", "constant"), "constant", lambda values: [values["x"]])
    return Loop(
        "constant",
        "",
        (source.nbytes,),
        (Ref(target, offset, "uint8", (1,)),),
        (("x", Ref(source, 0, "uint8", (1,))),),
        body,
        (),
    )


# What fusion makes of nodes


@dataclass(eq=False)
class Store:
    """A value stored at every point of a group, or once a row (`row`): at every point
    of the kept dims, `ref.strides` being those of the kept dims in their order."""

    ref: Ref
    value: Expr
    row: bool = False


@dataclass(eq=False)
class Total:
    """A reduction of a group over its `dims`.

    `value` is what a point contributes, `finish` as in `launch_parts.Reduced`. Its
    result, of `dtype`, is known to the expressions of the group as
    `var(name, dtype)`; it is stored at `ref` (walked by the kept dims in their order)
    if that is not None.
    """

    name: str
    dtype: str
    combine: Combine
    value: Expr
    finish: Callable[[Expr], Expr] | None
    ref: Ref | None


@dataclass(eq=False)
class Group:
    """Nodes that become one loop nest.

    Expressions have `var(name)` for the element of each of `inputs`, for each of
    `scalars`, and for each of `totals`. A value that needs a total can be computed only
    after a sweep over the whole row (the reduced dims) that finds it: a group with such
    values is one of several sweeps; `sweeps` counts them.
    """

    shape: Shape
    dims: frozenset[int]  # reduced ones; empty where there is no total
    inputs: list[tuple[str, Ref]]
    scalars: list[tuple[str, str, Number]]  # name, dtype, value
    stores: list[Store]
    totals: list[Total]
    nodes: list[Node] = field(default_factory=list)
    sweeps: int = 1

    @property
    def kept(self) -> Shape:
        return tuple(n for d, n in enumerate(self.shape) if d not in self.dims)

    @property
    def points(self) -> int:
        return numel(self.shape)

    @property
    def title(self) -> str:
        """The operators in it, each once, in order."""
        return ", ".join(dict.fromkeys(n.name for n in self.nodes))
