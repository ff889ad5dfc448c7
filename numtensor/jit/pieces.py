"""Nodes as expressions over named loads, in spaces without dims of size 1.

A `Piece` is a `Loop` or `Reduce` whose body has been built. Names of loads, scalars
and totals are unique in a whole trace, so that expressions of one piece can stand in
another. Makes pieces of nodes; what becomes of them is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..kernels.expr import Expr, cast, const, var
from ..kernels.loops import Combine, itemsize
from ..layout import numel
from .align import Sizes, Walk, are_apart
from .ir import Loop, Node, Reduce, Ref, Shape
from .trees import Measure, exact, identity, measure, replaced, stored


class Access:
    """A `Ref` as some space walks it, and the bytes that it touches."""

    __slots__ = ("buffer", "offset", "dtype", "strides", "lo", "hi", "walk")

    def __init__(self, ref: Ref, sizes: Sizes) -> None:
        self.buffer = ref.buffer
        self.offset = ref.offset
        self.dtype = ref.dtype
        self.strides = ref.strides
        self.lo, self.hi = ref.bytes_of(sizes)
        item = itemsize(ref.dtype)
        self.walk = Walk(self.lo, sizes, tuple([s * item for s in ref.strides]), item)

    @property
    def ref(self) -> Ref:
        return Ref(self.buffer, self.offset, self.dtype, self.strides)

    def walked(self, strides: Sizes) -> Access:
        """Return the same elements, walked by another space."""
        other: Access = object.__new__(Access)
        other.buffer, other.offset, other.dtype = self.buffer, self.offset, self.dtype
        other.strides = strides
        other.lo, other.hi, other.walk = self.lo, self.hi, self.walk
        return other

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for accesses of one space that meet the same element at each point."""
        return (self.buffer, self.offset, self.dtype, self.strides)

    @property
    def is_whole(self) -> bool:
        """Whether every byte from `lo` to `hi` is touched."""
        touched = itemsize(self.dtype)
        for size, step in zip(self.walk.sizes, self.walk.strides, strict=True):
            if step:
                touched *= size
        return touched == self.hi - self.lo

    def meets(self, other: Access) -> bool:
        """Whether the two may touch a common byte."""
        return (
            self.buffer is other.buffer
            and self.lo < other.hi
            and other.lo < self.hi
            and not are_apart(self.walk, other.walk)
        )


@dataclass(frozen=True)
class Join:
    """How a total comes about: see `ir.Total`."""

    name: str
    combine: Combine
    finish: Callable[[Expr], Expr] | None


@dataclass(eq=False)
class Write:
    """A value stored at every point; with `join`, what each point adds to a total.

    What is stored has been made what is loaded again (`trees.stored`).
    """

    target: Access
    value: Expr
    join: Join | None = None
    _measured: Measure | None = None

    @property
    def measured(self) -> Measure:
        if self._measured is None:
            self._measured = measure(self.value)
        return self._measured


@dataclass(eq=False)
class Piece:
    """One node, or what is left of it. `index` is its place in the trace."""

    index: int
    nodes: list[Node]
    sizes: Sizes
    dims: frozenset[int]
    loads: dict[str, Access]
    writes: list[Write]
    #: nothing may be fused with it: what it writes overlaps what it reads elsewhere
    alone: bool = False

    @property
    def points(self) -> int:
        return numel(self.sizes)

    def parts(self) -> list[Piece]:
        """Return the piece as two: what it stores at every point, and its totals.

        Both may then find groups of their own. One that is tangled, or that overwrites
        what it reads, stays whole.
        """
        kinds = [[w for w in self.writes if bool(w.join) == k] for k in (False, True)]
        if self.alone or not all(kinds):
            return [self]
        if any(w.target.meets(a) for w in self.writes for a in self.loads.values()):
            return [self]
        points, totals = kinds
        return [
            replace(self, dims=frozenset(), loads=dict(self.loads), writes=points),
            replace(self, loads=dict(self.loads), writes=totals),
        ]

    def is_tangled(self) -> bool:
        """Whether it may read, at some point, what it writes at another."""
        targets = [w.target for w in self.writes]
        for k, write in enumerate(self.writes):
            target = write.target
            for d, stride in enumerate(target.strides):
                if not stride and not (write.join and d in self.dims):
                    return True
            for load in self.loads.values():
                if (write.join or load.key != target.key) and load.meets(target):
                    return True
            if any(target.meets(other) for other in targets[:k]):
                return True
        return False


class Names:
    """Names that are unique in a trace, and the numbers that scalars stand for.

    `baked` says that numbers which never differ are part of the expressions. Some of
    them come from sizes, so kernels for any size are given all numbers, and those of
    different roles stay apart though they be equal for once.
    """

    def __init__(self, baked: bool = True) -> None:
        self.baked = baked
        self._count = 0
        self._scalars: dict[Any, str] = {}
        self.scalars: dict[str, tuple[str, Any]] = {}

    def new(self, kind: str) -> str:
        """Return a name that nothing has; no user's name has a `#`."""
        self._count += 1
        return f"{kind}#{self._count}"

    def scalar(self, dtype: str, number: Any, role: Any = None) -> Expr:
        """Return what stands for a number that kernels are given."""
        key = (dtype, exact(number), None if self.baked else role)
        name = self._scalars.get(key)
        if name is None:
            name = self._scalars[key] = self.new("s")
            self.scalars[name] = (dtype, number)
        return var(name, dtype)


def piece_of(node: Loop | Reduce, index: int, names: Names) -> Piece | None:
    """Return the piece of a node, None if it stores nothing at all."""
    if isinstance(node, Loop):
        reduced: frozenset[int] = frozenset()
        targets = list(node.outputs)
        results: tuple[Ref, ...] = ()
    else:
        reduced, targets, results = node.dims, list(node.stores), node.results
    shape = node.shape
    if 0 in shape:
        if not results or 0 in [n for d, n in enumerate(shape) if d not in reduced]:
            return None
        return _of_nothing(node, index, names)  # type: ignore[arg-type]
    full = [_over_all(ref, shape, reduced) for ref in results]
    inputs = list(node.inputs)
    refs = [*targets, *full, *[ref for _, ref in inputs]]
    sizes, strides, dims = _canonical(shape, reduced, refs)
    accesses = [
        Access(Ref(r.buffer, r.offset, r.dtype, s), sizes)
        for r, s in zip(refs, strides, strict=True)
    ]
    loads: dict[str, Access] = {}
    values: dict[str, Expr] = {}
    known: dict[Any, Expr] = {}
    for (given, _), access in zip(
        inputs, accesses[len(refs) - len(inputs) :], strict=True
    ):
        if access.key not in known:
            name = names.new("i")
            loads[name] = access
            known[access.key] = var(name, access.dtype)
        values[given] = known[access.key]
    exprs, scalars = _built(node, values, names)
    writes = [
        Write(accesses[k], stored(exprs[k], ref.dtype)) for k, ref in enumerate(targets)
    ]
    for k in range(len(results)):
        r = node.reduced[k]  # type: ignore[union-attr]
        target, value = accesses[len(targets) + k], exprs[len(targets) + k]
        finish = _finish(r.finish, scalars)
        if dims:
            join = Join(names.new("r"), r.combine, finish)
            writes.append(Write(target, value, join))
        else:  # each row is one element
            total = cast(value, r.combine.total_dtype(value.dtype))
            value = finish(total) if finish else total
            value = _narrowed(value) if target.dtype == "float32" else value
            writes.append(Write(target, stored(value, target.dtype)))
    piece = Piece(index, [node], sizes, dims, loads, writes)
    piece.alone = piece.is_tangled()
    return piece


def _narrowed(value: Expr) -> Expr:
    """Return what is the same once it is rounded to float32, without float64.

    The root of a float32 number comes out of float64 as that of float32 is, and so does
    its quotient by 1, the mean of one element.
    """
    if value.dtype != "float64" or value.op not in ("sqrt", "div"):
        return value
    x, *by = value.args
    one = all(y.op == "const" and y.value == 1 for y in by)
    if not one or x.op != "cast" or x.args[0].dtype != "float32":
        return value
    return x.args[0] if by else Expr("sqrt", x.args, "float32")


def _finish(
    finish: Callable[[Expr], Expr] | None, scalars: dict[str, Expr]
) -> Callable[[Expr], Expr] | None:
    """Return the last step of a total with its numbers in it."""
    if finish is None or not scalars:
        return finish
    own = finish
    return lambda total: replaced(own(total), scalars)


def _of_nothing(node: Reduce, index: int, names: Names) -> Piece:
    """Return what a reduction of no elements stores."""
    kept = node.kept
    values = {name: var("nothing", ref.dtype) for name, ref in node.inputs}
    exprs, scalars = _built(node, values, names)
    found: list[Expr] = []
    for r, value in zip(node.reduced, exprs[len(node.stores) :], strict=True):
        total = identity(r.combine, r.combine.total_dtype(value.dtype))
        finish = _finish(r.finish, scalars)
        found.append(finish(total) if finish else total)
    sizes, strides, _ = _canonical(kept, frozenset(), node.results)
    writes = [
        Write(Access(Ref(r.buffer, r.offset, r.dtype, s), sizes), stored(v, r.dtype))
        for r, s, v in zip(node.results, strides, found, strict=True)
    ]
    return Piece(index, [node], sizes, frozenset(), {}, writes)


def _built(
    node: Loop | Reduce, values: dict[str, Expr], names: Names
) -> tuple[list[Expr], dict[str, Expr]]:
    """Return what the body computes, and what stands for its numbers."""
    kinds = node.body.scalars
    scalars: dict[str, Expr] = {}
    # optimisers give many parameters the same numbers; the counts of sums are few
    owner = node.name if isinstance(node, Loop) else id(node)
    for (name, dtype), number in zip(kinds, node.numbers, strict=True):
        plain = names.baked and isinstance(number, (bool, int, float))
        scalars[name] = (
            stored(const(number, "float64" if type(number) is float else "int64"),
                   dtype)
            if plain
            else names.scalar(dtype, number, (owner, name))
        )  # fmt: skip
    try:
        return node.body.build(values | scalars), scalars
    except TypeError:  # a literal that a dtype on the way does not have
        scalars = {
            name: names.scalar(dtype, number, (owner, name))
            for (name, dtype), number in zip(kinds, node.numbers, strict=True)
        }
        return node.body.build(values | scalars), scalars


def _over_all(ref: Ref, shape: Shape, reduced: frozenset[int]) -> Ref:
    """Return a ref over the kept dims as one over all dims."""
    walked = iter(ref.strides)
    strides = tuple([0 if d in reduced else next(walked) for d in range(len(shape))])
    return Ref(ref.buffer, ref.offset, ref.dtype, strides)


def _canonical(
    shape: Shape, reduced: frozenset[int], refs: Sequence[Ref]
) -> tuple[Sizes, list[Sizes], frozenset[int]]:
    """Drop dims of size 1, sort the others as memory lies, merge what steps evenly."""
    order = [d for d, n in enumerate(shape) if n != 1]
    for ref in refs:
        if all(ref.strides[d] for d in order):
            order.sort(key=lambda d: -ref.strides[d])
            break
    sizes: list[int] = []
    columns: list[list[int]] = []
    kinds: list[bool] = []
    for d in order:
        steps, is_reduced = [r.strides[d] for r in refs], d in reduced
        if (
            columns
            and kinds[-1] == is_reduced
            and columns[-1] == [shape[d] * s for s in steps]
        ):
            sizes[-1] *= shape[d]
            columns[-1] = steps
        else:
            sizes.append(shape[d])
            columns.append(steps)
            kinds.append(is_reduced)
    strides = [tuple([c[k] for c in columns]) for k in range(len(refs))]
    return tuple(sizes), strides, frozenset(d for d, k in enumerate(kinds) if k)
