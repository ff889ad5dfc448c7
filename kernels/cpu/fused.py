"""Prints many small loops as one function: what a program does between large kernels.

Sizes, strides and offsets are written out, so that LLVM unrolls and vectorises, and so
that a reader sees what happens: a comment above each loop names its operators. Text
only: compiles nothing, and knows no Tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from .. import mathlib
from ..expr import Expr, Printer, cast, var
from ..loops import SEGMENT, Combine, Operand, Reduction
from ..text import Source, identity, import_lines, join

Sizes = tuple[int, ...]
#: columns of a product that are summed up at once
_WIDTH = 16
#: pointers that one function can have: the words of `lang` tell so many apart
MOST_POINTERS = 22


@dataclass(frozen=True)
class Place:
    """Elements of memory: its number, the first element, the step of each loop."""

    memory: int
    start: int
    kept: Sizes
    reduced: Sizes = ()


@dataclass(frozen=True)
class Stored:
    """A value written at every point, or (`row`) once for each kept element."""

    place: Place
    dtype: str
    value: Expr
    row: bool


@dataclass(frozen=True)
class Totalled:
    """A reduction; `name` and `dtype` are those by which expressions know it."""

    name: str
    dtype: str
    combine: Combine
    value: Expr
    finish: Callable[[Expr], Expr] | None
    place: Place | None


@dataclass(frozen=True)
class Loop:
    """Loops over kept elements, and in them over reduced ones.

    `numbers` are scalars: which of the function's numbers a name means.
    """

    title: str
    kept: Sizes
    reduced: Sizes
    inputs: dict[str, tuple[str, Place]]
    numbers: dict[str, int]
    stores: list[Stored]
    totals: list[Totalled]


@dataclass(frozen=True)
class Product:
    """A product of matrices; steps are those of the stack, then row and column."""

    title: str
    dtype: str
    stack: Sizes
    sizes: tuple[int, int, int]  # rows, columns, depth
    out: Place
    a: Place
    b: Place


@dataclass
class Function:
    """One function: the memory it is given (name, dtype), numbers, what it does."""

    memory: list[tuple[str, str]] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)  # dtypes
    parts: list[Loop | Product] = field(default_factory=list)


@dataclass
class _Named(Printer):
    """Prints variables under the names that they have in this function."""

    called: dict[str, str] = field(default_factory=dict)

    def _print(self, x: Expr) -> str:
        if x.op == "var":
            return self.called.get(str(x.value), str(x.value))
        return super()._print(x)


def emit(function: Function) -> tuple[str, str]:
    """Return the kernel's name and its source. Slots: the memory, the numbers.

    It does everything once, whatever range it is called for.
    """
    text = _Text(function)
    for part in function.parts:
        if isinstance(part, Loop):
            text.loop(part)
        else:
            text.product(part)
    return "fused", text.file()


def _called_once(name: str, args: tuple[Expr, ...]) -> Expr | None:
    """Leave a power of float64 to the C library where one is computed.

    Its arithmetic is eighty lines, which take longer to compile than all else that is
    done once in a step, and there is nothing to make vectors of.
    """
    if name == "pow" and args[0].dtype == "float64":
        return None
    return mathlib.expand(name, args)


class _Text:
    def __init__(self, function: Function) -> None:
        self.function = function
        self.source = Source()
        self.scopes = 0
        self.taken: set[str] = set()
        self.packed = False

    def file(self) -> str:
        source, function = self.source, self.function
        slots, reads = [], []
        for name, dtype in function.memory:
            slots.append(f'{name}_at = pointer("{dtype}", {len(slots)})')
            reads.append(f"    {name} = {name}_at(args)")
        for k, dtype in enumerate(function.numbers):
            slots.append(f'number{k}_at = scalar("{dtype}", {len(slots)})')
            reads.append(f"    number{k} = number{k}_at(args)")
        words = source.calls - {"math"} | {"pointer"}
        if function.numbers:
            words.add("scalar")
        lines = ['"""Small loops that follow each other, as one function."""', ""]
        if "math" in source.calls:
            lines += ["import math", ""]
        lines += ["from numtensor.kernels.lang import (", *import_lines(words), ")", ""]
        if self.packed:
            lines += [
                "PACKED = True  # tells the compiler to make vectors of statements"
            ]
        lines += [*slots, "", "", "def fused(args, lo, hi):", *reads, *source.lines]
        return "\n".join(lines) + "\n"

    def fresh(self, name: str, others: set[str]) -> str:
        """Return a name that is free here, and by which no expression means another."""
        found, count = name, 0
        while found in self.taken or (found in others and found != name):
            count += 1
            found = f"{name}_{count}"
        self.taken.add(found)
        return found

    def at(self, place: Place, kept: str = "i", reduced: str = "j") -> str:
        """Return the element of a place at the loops' indices."""
        terms = [
            f"{letter}{d}" if step == 1 else f"{letter}{d} * {step}"
            for letter, steps in ((kept, place.kept), (reduced, place.reduced))
            for d, step in enumerate(steps)
            if step and letter
        ]
        if place.start or not terms:
            terms.append(str(place.start))
        return f"{self.function.memory[place.memory][0]}[{' + '.join(terms)}]"

    def open(self, letter: str, sizes: Sizes) -> int:
        for d, size in enumerate(sizes):
            self.source.open(f"for {letter}{d} in range({size}):")
        return len(sizes)

    def close(self, count: int) -> None:
        for _ in range(count):
            self.source.close()

    def values(
        self, loop: Loop, called: dict[str, str], wanted: list[Expr], reduced: str
    ) -> list[str]:
        """Print loads and expressions, and return the names of their values."""
        self.scopes += 1
        points = _product(loop.kept) * (_product(loop.reduced) if reduced else 1)
        expand = _called_once if points == 1 else mathlib.expand
        printer = _Named(expand, prefix=f"t{self.scopes}_", called=called)
        used = names_of(wanted)
        for name, (_, place) in loop.inputs.items():
            if name in used:
                self.source.add(f"{called[name]} = {self.at(place, reduced=reduced)}")
        found = [printer.name(x) for x in wanted]
        self.source.add(*printer.lines)
        self.source.calls |= printer.calls
        return found

    def loop(self, loop: Loop) -> None:
        source = self.source
        every = {*loop.inputs, *loop.numbers, *(t.name for t in loop.totals)}
        called = {n: self.fresh(n, every) for n in loop.inputs}
        called |= {t.name: self.fresh(t.name, every) for t in loop.totals}
        called |= {n: f"number{k}" for n, k in loop.numbers.items()}
        sizes = " x ".join(map(str, loop.kept + loop.reduced)) or "1"
        source.add(f"# {loop.title}: {sizes}")
        if by_rows(loop):
            self.outer(loop, called)
            return
        level = levels(loop.totals)
        points = [s for s in loop.stores if not s.row]
        rows = [s for s in loop.stores if s.row]
        last = max(level.values(), default=0)
        if points:
            needs = names_of([s.value for s in points])
            last = max(last, 1 + max((level.get(n, 0) for n in needs), default=0))
        depth = self.open("i", loop.kept)
        for sweep in range(1, last + 1):
            found = [t for t in loop.totals if level[t.name] == sweep]
            # all are stored in the last sweep: those before it read what was there
            self.sweep(loop, called, found, points if sweep == last else [])
            for t in in_order(found):
                self.finished(loop, t, called)
        for t in loop.totals:
            if t.place is not None:
                source.add(f"{self.at(t.place)} = {called[t.name]}")
        wanted = [cast(s.value, s.dtype) for s in rows]
        for s, value in zip(rows, self.values(loop, called, wanted, ""), strict=True):
            source.add(f"{self.at(s.place)} = {value}")
        self.close(depth)

    def sweep(
        self,
        loop: Loop,
        called: dict[str, str],
        totals: list[Totalled],
        stores: list[Stored],
    ) -> None:
        """Print the loops over the reduced dims of one row."""
        source, sizes = self.source, loop.reduced
        wide = [t for t in totals if _wide(t) != t.value.dtype]
        cut = 0  # loops inside this one sum up no more than a segment
        if wide:
            while cut < len(sizes) and _product(sizes[cut:]) > SEGMENT:
                cut += 1
        reductions = {t.name: _reduction(t) for t in totals}

        def start(t: Totalled, dtype: str, ending: str) -> None:
            text = identity(reductions[t.name], dtype, source)
            source.add(f"{called[t.name]}_{ending} = {text}")

        for t in totals:
            start(t, _wide(t), "total")
        depth = self.open("j", sizes[:cut] if cut < len(sizes) else sizes[:-1])
        split = bool(sizes) and cut == len(sizes)
        if split:
            source.open(f"for first in range(0, {sizes[-1]}, {SEGMENT}):")
            depth += 1
        for t in wide:
            start(t, t.value.dtype, "part")
        inner = 0
        if split:
            source.open(
                f"for j{cut - 1} in range(first, min({sizes[-1]}, first + {SEGMENT})):"
            )
            inner = 1
        else:
            for d in range(cut, len(sizes)):
                source.open(f"for j{d} in range({sizes[d]}):")
                inner += 1
        wanted = [cast(s.value, s.dtype) for s in stores] + [t.value for t in totals]
        names = self.values(loop, called, wanted, "j")
        for s, name in zip(stores, names, strict=False):
            source.add(f"{self.at(s.place)} = {name}")
        for t, name in zip(totals, names[len(stores) :], strict=True):
            into = f"{called[t.name]}_{'part' if t in wide else 'total'}"
            joined = join(reductions[t.name], t.value.dtype, into, name, source)
            source.add(f"{into} = {joined}")
        self.close(inner)
        for t in wide:
            name = called[t.name]
            part = f"{source.word(_wide(t))}({name}_part)"
            joined = join(reductions[t.name], _wide(t), f"{name}_total", part, source)
            source.add(f"{name}_total = {joined}")
        self.close(depth)

    def finished(self, loop: Loop, t: Totalled, called: dict[str, str]) -> None:
        """Print what turns a total into its result."""
        value = var(f"{called[t.name]}_total", _wide(t))
        value = cast(t.finish(value) if t.finish else value, t.dtype)
        (name,) = self.values(loop, called, [value], "")
        self.source.add(f"{called[t.name]} = {name}")

    def outer(self, loop: Loop, called: dict[str, str]) -> None:
        """Print sums of rows: the innermost loop runs along what is kept."""
        source = self.source
        places = [t.place for t in loop.totals if t.place is not None]
        depth = self.open("i", loop.kept)
        for t, place in zip(loop.totals, places, strict=True):
            text = identity(_reduction(t), t.value.dtype, source)
            source.add(f"{self.at(place)} = {text}")
        self.close(depth)
        depth = self.open("j", loop.reduced) + self.open("i", loop.kept)
        points = [s for s in loop.stores if not s.row]
        wanted = [cast(s.value, s.dtype) for s in points]
        wanted += [t.value for t in loop.totals]
        names = self.values(loop, called, wanted, "j")
        for s, name in zip(points, names, strict=False):
            source.add(f"{self.at(s.place)} = {name}")
        totals = zip(loop.totals, places, names[len(points) :], strict=True)
        for t, place, name in totals:
            at = self.at(place)
            joined = join(_reduction(t), t.value.dtype, at, name, source)
            source.add(f"{at} = {joined}")
        self.close(depth)
        rows = [s for s in loop.stores if s.row]
        if rows or any(t.finish is not None for t in loop.totals):
            depth = self.open("i", loop.kept)
            for t in loop.totals:
                assert t.place is not None
                total = self.at(t.place)
                if _wide(t) != t.value.dtype:
                    total = f"{source.word(_wide(t))}({total})"
                source.add(f"{called[t.name]}_total = {total}")
            for t in in_order(loop.totals):
                self.finished(loop, t, called)
            for t, place in zip(loop.totals, places, strict=True):
                source.add(f"{self.at(place)} = {called[t.name]}")
            wanted = [cast(s.value, s.dtype) for s in rows]
            values = self.values(loop, called, wanted, "")
            for s, value in zip(rows, values, strict=True):
                source.add(f"{self.at(s.place)} = {value}")
            self.close(depth)

    def product(self, product: Product) -> None:
        source = self.source
        n, m, k = product.sizes
        source.add(f"# {product.title}: {n} x {k} by {k} x {m}")
        (a_row, a_depth), (b_depth, b_column) = product.a.reduced, product.b.reduced
        depth = self.open("i", product.stack)
        source.open(f"for row in range({n}):")

        def element(place: Place, *terms: tuple[str, int]) -> str:
            base = self.at(Place(place.memory, place.start, place.kept))
            name, _, index = base[:-1].partition("[")
            added = [t if s == 1 else f"{t} * {s}" for t, s in terms if s and t != "0"]
            if index != "0":
                added.insert(0, index)
            return f"{name}[{' + '.join(added) or '0'}]"

        zero = f"{source.word(product.dtype)}(0)"
        left = element(product.a, ("row", a_row), ("depth", a_depth))
        if a_depth == 1 and b_depth == 1 and not (m > 1 and b_column == 1):
            source.word("plus")
            source.open(f"for column in range({m}):")
            right = element(product.b, ("depth", b_depth), ("column", b_column))
            source.add(f"total = {zero}")
            source.open(f"for depth in range({k}):")
            source.add(f"total = plus(total, {left} * {right})")
            source.close()
            out = element(product.out, ("row", m), ("column", 1))
            source.add(f"{out} = total")
            source.close()
        else:
            source.word("fma")
            self.packed = True
            blocks = m // _WIDTH if m > _WIDTH else 0
            ways = [("column", _WIDTH)] if blocks else []
            if m - blocks * _WIDTH:
                ways.append((str(blocks * _WIDTH), m - blocks * _WIDTH))
            for first, width in ways:
                if first == "column":
                    source.open(f"for column in range(0, {blocks * _WIDTH}, {_WIDTH}):")
                source.add(*(f"s{w} = {zero}" for w in range(width)))
                source.open(f"for depth in range({k}):")
                source.add(f"factor = {left}")
                for w in range(width):
                    column = (first, b_column), (str(w), b_column)
                    right = element(product.b, ("depth", b_depth), *column)
                    source.add(f"s{w} = fma(factor, {right}, s{w})")
                source.close()
                for w in range(width):
                    out = element(product.out, ("row", m), (first, 1), (str(w), 1))
                    source.add(f"{out} = s{w}")
                if first == "column":
                    source.close()
        source.close()
        self.close(depth)


def _product(sizes: Iterable[int]) -> int:
    count = 1
    for size in sizes:
        count *= size
    return count


def _wide(t: Totalled) -> str:
    return t.combine.total_dtype(t.value.dtype)


def _reduction(t: Totalled) -> Reduction:
    return Reduction(Operand(t.name, t.dtype), t.combine, t.value, t.finish)


def names_of(wanted: Sequence[Expr]) -> set[str]:
    """Return the names of the variables in expressions."""
    seen: set[int] = set()
    found: set[str] = set()
    waiting = list(wanted)
    while waiting:
        x = waiting.pop()
        if id(x) not in seen:
            seen.add(id(x))
            if x.op == "var":
                found.add(str(x.value))
            waiting += x.args
    return found


def finish_names(t: Totalled) -> set[str]:
    """Return the names that the last step of a total needs besides the total."""
    if t.finish is None:
        return set()
    own = "the total itself"
    return names_of([t.finish(var(own, _wide(t)))]) - {own}


def levels(totals: Sequence[Totalled]) -> dict[str, int]:
    """Return in which sweep each total is found, from 1 on."""
    by_name = {t.name: t for t in totals}
    found: dict[str, int] = {}

    def level(name: str) -> int:
        if name not in by_name:
            return 0
        if name not in found:
            t = by_name[name]
            before = max(map(level, names_of([t.value])), default=0)
            found[name] = max([1 + before, *map(level, finish_names(t))])
        return found[name]

    for name in by_name:
        level(name)
    return found


def in_order(totals: Sequence[Totalled]) -> list[Totalled]:
    """Return the totals of a sweep so that last steps come after what they need."""
    by_name = {t.name: t for t in totals}
    done: dict[str, Totalled] = {}

    def visit(t: Totalled) -> None:
        for name in sorted(finish_names(t) & set(by_name)):
            visit(by_name[name])
        done.setdefault(t.name, t)

    for t in totals:
        visit(t)
    return list(done.values())


def by_rows(loop: Loop) -> bool:
    """Whether the innermost loop is to run along kept elements, which are closer."""
    if not loop.totals or not loop.kept or loop.kept[-1] < 8 or not loop.reduced:
        return False
    read = {p.memory for _, p in loop.inputs.values()}
    for t in loop.totals:
        if t.place is None or t.place.memory in read:
            return False
        if t.dtype != t.value.dtype or t.dtype in ("bool", "float16"):
            return False
    level = levels(loop.totals)
    points = [s.value for s in loop.stores if not s.row]
    if max(level.values()) > 1 or names_of(points) & set(level):
        return False
    # a sum over many rows keeps float32 totals: short ones only
    if _product(loop.reduced) > SEGMENT // 8:
        return False
    places = [p for _, p in loop.inputs.values()]
    places += [s.place for s in loop.stores if not s.row]
    votes = 0
    for p in places:
        k, r = p.kept[-1], p.reduced[-1]
        if k != r:
            votes += 1 if r == 0 or (k != 0 and k < r) else -1
    return votes > 0
