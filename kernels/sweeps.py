"""What a kernel of several sweeps computes when, for the printers of all targets.

A *row* is what is reduced for one result: softmax, say, goes over it three times, for
the largest element, for the sum, for the stores. Sweep k finds the totals that need
those of sweep k - 1. What is one value for a whole row is computed once, between two
sweeps, whatever the expression it stands in. Knows expressions and operands; sizes,
memory and the text of loops must not come in.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from .expr import Expr, cast, var
from .loops import Combine, Operand, Reduction
from .mathlib import EXPANSIONS


@dataclass(frozen=True)
class Place(Operand):
    """An operand of which a sweep meets one element at each point, or one in a row.

    Its pointer is called `name`, its element `value`, which is what expressions of
    inputs say.
    """

    row: bool = False
    #: whether its memory is that of an input: stored when nobody reads any more
    late: bool = False
    #: an operand whose very elements these are: one pointer does for both
    same: str = ""
    element: str = ""

    @property
    def value(self) -> str:
        return self.element

    @property
    def pointer(self) -> str:
        """The name of the pointer in the source."""
        return self.same or self.name


@dataclass(frozen=True)
class Total:
    """A reduction. What `finish` makes of it may need other totals and what a row has;
    `place` is where it is stored."""

    name: str
    dtype: str
    combine: Combine
    value: Expr
    finish: Callable[[Expr], Expr] | None
    place: Place | None

    @property
    def operand(self) -> Operand:
        """What the running total is called after."""
        return self.place or Operand(self.name, self.dtype)

    @property
    def finished(self) -> Expr:
        """What the total ends as."""
        wide = self.combine.total_dtype(self.value.dtype)
        value = var(running(self.operand.name), wide)
        return cast(self.finish(value) if self.finish else value, self.dtype)


@dataclass(frozen=True)
class Sweeps:
    """All that the text of a kernel depends on, but for its form.

    `stores` are the values of points and of rows, `scalars` (name, dtype). `streamed`
    says whether results are too large to be kept by a cache.
    """

    name: str
    inputs: tuple[Place, ...]
    stores: tuple[tuple[Place, Expr], ...]
    totals: tuple[Total, ...]
    scalars: tuple[tuple[str, str], ...]
    streamed: bool = False

    @property
    def places(self) -> tuple[Place, ...]:
        """Every operand, in the order of pointers."""
        found = [place for place, _ in self.stores]
        found += [t.place for t in self.totals if t.place is not None]
        return (*found, *self.inputs)

    @property
    def pointers(self) -> tuple[Place, ...]:
        """Operands with a pointer of their own."""
        return tuple(place for place in self.places if not place.same)


@dataclass
class Stage:
    """One sweep, and before it, what is computed once for the row."""

    #: (name, value): what totals end as, and what points need
    row: list[tuple[str, Expr]] = field(default_factory=list)
    totals: list[Reduction] = field(default_factory=list)
    stores: list[tuple[Place, Expr]] = field(default_factory=list)

    @property
    def values(self) -> list[Expr]:
        """What is computed at each point."""
        return [r.value for r in self.totals] + [value for _, value in self.stores]


@dataclass
class Plan:
    """Sweeps in their order; then what is computed and stored once for the row."""

    stages: list[Stage]
    row: list[tuple[str, Expr]]
    stores: list[tuple[Place, Expr]]


def kept(place: Place) -> str:
    """Return the name of an element that an earlier sweep has stored."""
    return f"{place.name}_kept"


def running(total: str) -> str:
    """Return the name of a total that is not finished."""
    return f"{total}_total"


def wide(r: Reduction) -> str:
    """Return the dtype in which parts of a total are put together."""
    return r.combine.total_dtype(r.value.dtype)


def variables(values: Iterable[Expr]) -> dict[str, Expr]:
    """Return the leaves that expressions load, by name, in the order of their use."""
    found: dict[str, Expr] = {}
    seen: set[int] = set()

    def visit(x: Expr) -> None:
        if id(x) in seen:
            return
        seen.add(id(x))
        if x.op == "var":
            found[str(x.value)] = x
        for a in x.args:
            visit(a)

    for value in values:
        visit(value)
    return found


def serial(values: Sequence[Expr]) -> tuple[Hashable, ...]:
    """Return what is equal for expressions that compute the same in the same way."""
    known: dict[Hashable, int] = {}
    seen: dict[int, int] = {}

    def number(x: Expr) -> int:
        found = seen.get(id(x))
        if found is None:
            # literals by their text: 0.0 equals -0.0 and False, and NaN not itself
            told = x.value if x.op == "var" else repr(x.value)
            key = (x.op, x.dtype, told, *[number(a) for a in x.args])
            found = seen[id(x)] = known.setdefault(key, len(known))
        return found

    places = tuple(number(value) for value in values)
    return (places, tuple(known))


class _Analysis:
    """Makes equal expressions one object, and knows of each what it needs."""

    def __init__(self, given: Sweeps) -> None:
        self._known: dict[Hashable, Expr] = {}
        self._seen: dict[int, Expr] = {}
        self._keep: list[Expr] = []
        #: by id: the sweep after which a value is known; whether points differ in it;
        #: whether it holds a function that costs more than memory does
        self.level: dict[int, int] = {}
        self.point: dict[int, bool] = {}
        self.dear: dict[int, bool] = {}
        self._leaf: dict[str, tuple[int, bool]] = {
            place.value: (0, not place.row) for place in given.inputs
        }

    def know(self, name: str, level: int, point: bool = False) -> None:
        """Say of a leaf after which sweep it is known."""
        self._leaf[name] = level, point

    def one(self, x: Expr) -> Expr:
        """Return the object that stands for all expressions equal to x."""
        found = self._seen.get(id(x))
        if found is not None:
            return found
        args = tuple(self.one(a) for a in x.args)
        told = x.value if x.op == "var" else repr(x.value)
        key = (x.op, x.dtype, told, *map(id, args))
        found = self._known.get(key)
        if found is None:
            found = x if all(a is b for a, b in zip(args, x.args, strict=True)) else (
                Expr(x.op, args, x.dtype, x.value)
            )  # fmt: skip
            self._known[key] = found
            self._learn(found)
        self._seen[id(x)] = self._seen[id(found)] = found
        self._keep += [x, found]
        return found

    def _learn(self, x: Expr) -> None:
        level, point = self._leaf.get(str(x.value), (0, False))
        if x.op != "var":
            level = max((self.level[id(a)] for a in x.args), default=0)
            point = any(self.point[id(a)] for a in x.args)
        dear = x.op in EXPANSIONS or any(self.dear[id(a)] for a in x.args)
        self.level[id(x)] = level
        self.point[id(x)] = point
        self.dear[id(x)] = point and dear

    def parts(self, values: Iterable[Expr]) -> Iterator[Expr]:
        """Yield expressions and all that they are made of, from the top, each once."""
        seen: set[int] = set()
        left = list(values)[::-1]
        while left:
            x = left.pop()
            if id(x) not in seen:
                seen.add(id(x))
                yield x
                left += x.args[::-1]

    def replaced(self, x: Expr, by: dict[int, Expr], seen: dict[int, Expr]) -> Expr:
        """Return x with other expressions in the place of some."""
        found = by.get(id(x), seen.get(id(x)))
        if found is None:
            args = tuple(self.replaced(a, by, seen) for a in x.args)
            found = x
            if any(a is not b for a, b in zip(args, x.args, strict=True)):
                found = self.one(Expr(x.op, args, x.dtype, x.value))
            seen[id(x)] = found
        return found


def plan(given: Sweeps, parked: bool) -> Plan:
    """Return what is computed when.

    With `parked`, what is dear and needed by a later sweep waits in the memory of a
    result that is stored there: exponentials, say, until their sum is known.
    """
    know = _Analysis(given)
    stages: list[Stage] = []

    def stage(level: int) -> Stage:
        while len(stages) <= level:
            stages.append(Stage())
        return stages[level]

    for t in _ordered(given.totals):
        value = know.one(t.value)
        level = know.level[id(value)]
        stage(level).totals.append(Reduction(t.operand, t.combine, value))
        know.know(running(t.operand.name), level + 1)
        finished = know.one(t.finished)
        # the last step may need another total, of a later sweep than its own
        level = max(level + 1, know.level[id(finished)])
        know.know(t.name, level)
        stage(level).row.append((t.name, finished))
    rows: list[tuple[Place, Expr]] = []
    for t in given.totals:
        if t.place is not None:
            rows.append((t.place, know.one(var(t.name, t.dtype))))
    late = [
        know.level[id(know.one(value))]
        for place, value in given.stores
        if not place.row
    ]
    last = max([*late, *(k for k, s in enumerate(stages) if s.totals)], default=0)
    for place, value in given.stores:
        found = know.one(cast(value, place.dtype))
        if place.row:
            rows.append((place, found))
        else:
            level = last if place.late else know.level[id(found)]
            stage(level).stores.append((place, found))
    closing = stages.pop() if len(stages) > last + 1 else Stage()
    if parked:
        _park(stages, know)
    _reload(stages, know)
    _hoist(stages, know)
    return Plan(stages, closing.row, rows)


def _ordered(totals: Sequence[Total]) -> list[Total]:
    """Return totals in an order in which each comes after those that it needs."""
    found: list[Total] = []
    left = {t.name: t for t in totals}
    needed = {t.name: variables([t.value, t.finished]) for t in totals}
    while left:
        ready = [t for t in left.values() if not left.keys() & needed[t.name]]
        if not ready:
            raise ValueError(f"totals that need each other: {', '.join(left)}")
        found += ready
        for t in ready:
            del left[t.name]
    return found


def _waits(place: Place) -> bool:
    """Whether memory of a store can hold what a float computes exactly."""
    return not place.late and place.dtype in ("float32", "float64")


def _park(stages: list[Stage], know: _Analysis) -> None:
    """Add stores of what is dear where it is first computed, if needed later on."""
    for k, stage in enumerate(stages):
        for place, value in stage.stores:
            if not _waits(place):
                continue
            for j in range(k):
                earlier = {id(x) for x in know.parts(stages[j].values)}
                found = next(
                    (
                        x
                        for x in know.parts([value])
                        if id(x) in earlier
                        and know.dear[id(x)]
                        and x.dtype == place.dtype
                        and not any(x is v for s in stages[:k] for _, v in s.stores)
                    ),
                    None,
                )
                if found is not None:
                    stages[j].stores.append((place, found))
                    break


def _reload(stages: list[Stage], know: _Analysis) -> None:
    """Take what is dear from memory where an earlier sweep has stored it."""
    held: dict[str, tuple[Place, Expr]] = {}
    for k, stage in enumerate(stages):
        by: dict[int, Expr] = {}
        for place, value in held.values():
            name = kept(place)
            know.know(name, k, point=True)
            by[id(value)] = know.one(var(name, value.dtype))
        stored = list(stage.stores)
        if by:
            seen: dict[int, Expr] = {}
            _replace(stage, partial(know.replaced, by=by, seen=seen))
        for place, value in stored:
            held.pop(place.name, None)
            if _waits(place) and know.dear[id(value)]:
                held[place.name] = place, value


def _replace(stage: Stage, change: Callable[[Expr], Expr]) -> None:
    stage.totals = [
        Reduction(r.operand, r.combine, change(r.value)) for r in stage.totals
    ]
    stage.stores = [(place, change(value)) for place, value in stage.stores]


def _hoist(stages: list[Stage], know: _Analysis) -> None:
    """Compute before a sweep what is one value for all points of a row."""
    named: dict[int, Expr] = {}

    def hoisted(x: Expr, seen: dict[int, Expr]) -> Expr:
        if x.op in ("var", "const"):
            return x
        found = named.get(id(x), seen.get(id(x)))
        if found is not None:
            return found
        if not know.point[id(x)]:
            level = know.level[id(x)]
            found = var(f"h{len(named)}", x.dtype)
            stages[level].row.append((str(found.value), x))
            named[id(x)] = found
            know.know(str(found.value), level)
            return found
        args = tuple(hoisted(a, seen) for a in x.args)
        found = seen[id(x)] = Expr(x.op, args, x.dtype, x.value)
        return found

    for stage in stages:
        seen: dict[int, Expr] = {}
        _replace(stage, partial(hoisted, seen=seen))
