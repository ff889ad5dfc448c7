"""Prints kernels of several sweeps over rows as the source of CPU kernels.

Forms
    rows     a task is a row: its elements stay in cache from sweep to sweep
    columns  a task is a block of neighbouring rows, walked side by side: for elements
             that lie closer to those of the next row than to those of their own

In `columns` the innermost loop goes from row to row, so that what belongs to a row is
kept in memory, at `memory_rows[first + c]` for row c of a block. Text only: compiles
nothing, and imports neither Numba nor LLVM.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .. import mathlib
from ..expr import Expr, Printer
from ..loops import ANY, SEGMENT, UNIT, ZERO, Reduction, Table, _dims, _pack
from ..sweeps import Place, Plan, Stage, Sweeps, kept, plan, running, variables, wide
from ..text import INDENT, Source, identity, import_lines, join


def emit(given: Sweeps, form: str, plain: tuple[bool, bool]) -> tuple[str, str, int]:
    """Return the kernel's name, its source, and the cost of one point in additions.

    `plain` says of the dims that a task is found by, and of those that a row has, that
    they are one dim.
    """
    planned = plan(given, parked=True)
    printer = {"rows": _Rows, "columns": _Columns}[form](given, planned, plain)
    printer.print()
    name = given.name
    if name in printer.source.calls:
        name += "_all"  # a kernel must not hide a word that it imports
    return name, _file(name, form, printer), printer.cost


def scratch(given: Sweeps) -> list[str]:
    """Return the dtypes of what `columns` keeps for each row, an array of each."""
    return [dtype for _, dtype in _kept_rows(plan(given, parked=True))]


def rows_table(
    around: Sequence[int],
    around_strides: Sequence[Sequence[int]],
    row: Sequence[int],
    row_strides: Sequence[Sequence[int]],
) -> Table:
    """Layout table of `rows`: `around` are the dims of rows, all operands move in
    them, `row` those of points, in which only operands of points do.

    [innermost size, elements of a row, dims around, outer dims of a row, step per
    operand of points, dims around ..., outer dims ...]
    """
    total = 1
    for size in row:
        total *= size
    numbers = [row[-1], total, len(around), len(row) - 1]
    numbers += [s[-1] for s in row_strides]
    numbers += _dims(around, around_strides)
    numbers += _dims(row[:-1], [s[:-1] for s in row_strides])
    return _pack(numbers)


def columns_table(
    around: Sequence[int],
    around_strides: Sequence[Sequence[int]],
    row: Sequence[int],
    row_strides: Sequence[Sequence[int]],
    block: int,
) -> tuple[Table, int]:
    """Layout table of `columns`, and how many tasks there are.

    [rows side by side, elements of a row, of a block, blocks, outer dims around, dims
    of a row, step per operand, outer dims around ..., dims of a row ...]
    """
    total = 1
    for size in row:
        total *= size
    across = -(-around[-1] // block)
    tasks = across
    for size in around[:-1]:
        tasks *= size
    numbers = [around[-1], total, block, across, len(around) - 1, len(row)]
    numbers += [s[-1] for s in around_strides]
    numbers += _dims(around[:-1], [s[:-1] for s in around_strides])
    numbers += _dims(row, row_strides)
    return _pack(numbers), tasks


def _file(function: str, form: str, printer: _Form) -> str:
    given, source = printer.given, printer.source
    slots: list[str] = []
    reads: list[str] = []
    for k, place in enumerate(given.places):
        if not place.same:
            slots.append(f'{place.name}_at = pointer("{place.dtype}", {k})')
            reads.append(f"{place.name} = {place.name}_at(args)")
        if place.name in printer.streamed:
            slots.append(f"{place.name}_held = waiting({k}, {SEGMENT})")
    k = len(given.places)
    for name, dtype in printer.memory.items():
        slots.append(f'{name}_at = pointer("{dtype}", {k})')
        reads.append(f"{name}_rows = {name}_at(args)")
        k += 1
    slots.append(f'table_at = pointer("int64", {k})')
    reads.append("table = table_at(args)")
    words = (source.calls | {"pointer"}) - {"math"}
    for name, dtype in given.scalars:
        k += 1
        slots.append(f'{name}_at = scalar("{dtype}", {k})')
        reads.append(f"{name} = {name}_at(args)")
        words.add("scalar")
    told = ", ".join(
        f"{p.name} {p.dtype} ({'row' if p.row else p.step})" for p in given.places
    )
    count = len(printer.plan.stages)
    text = [f'"""{given.name}, {count} sweeps, {form}: {told}."""', ""]
    if "math" in source.calls:
        text += ["import math", ""]
    text += ["from numtensor.kernels.lang import (", *import_lines(words), ")", ""]
    text += slots
    text += ["", "", f"def {function}(args, lo, hi):"]
    text += [INDENT + line for line in reads]
    text += source.lines
    return "\n".join(text) + "\n"


def _renamed(planned: Plan) -> dict[str, str]:
    """Return totals that end as what they run as: by name, the name of the latter."""
    values = [pair for stage in planned.stages for pair in stage.row] + planned.row
    return {name: str(value.value) for name, value in values if value.op == "var"}


def _kept_rows(planned: Plan) -> list[tuple[str, str]]:
    """Return (name, dtype) of what outlives the loop that computes it for a row."""
    found: dict[str, str] = {}
    renamed = _renamed(planned)
    computed: dict[str, str] = {}
    for stage in planned.stages:
        computed |= {name: value.dtype for name, value in stage.row}
        needed = variables([*stage.values, *(v for _, v in stage.row)])
        found |= {n: computed[n] for n in needed if n in computed}
        found |= {running(r.operand.name): wide(r) for r in stage.totals}
    computed |= {name: value.dtype for name, value in planned.row}
    own = {name for name, _ in planned.row}
    needed = variables([*(v for _, v in planned.stores), *(v for _, v in planned.row)])
    found |= {n: computed[n] for n in needed if n in computed and n not in own}
    return [(n, dtype) for n, dtype in found.items() if n not in renamed]


class _Form:
    """What both forms print in the same way."""

    def __init__(self, given: Sweeps, planned: Plan, plain: tuple[bool, bool]) -> None:
        self.given = given
        self.plan = planned
        self.plain_around, self.plain_row = plain
        self.source = Source()
        self.cost = 0
        self.pointers = given.pointers
        self.points = tuple(place for place in self.pointers if not place.row)
        self.inputs = {place.value: place for place in given.inputs}
        self.inputs |= {
            kept(place): place for place, _ in given.stores if not place.row
        }
        #: results of points that go around the cache
        self.streamed: set[str] = set()
        #: arrays with an element for each row
        self.memory: dict[str, str] = {}
        self.renamed: dict[str, str] = {}
        self._marks = 0

    def print(self) -> None:
        raise NotImplementedError

    def body(self, loads: dict[str, str], results: list[tuple[str, Expr]]) -> None:
        """Print loads, expressions, then `target = value` of each result."""
        printer = Printer(mathlib.expand)
        for name, place in loads.items():
            self.source.add(f"{name} = {place}")
        named = [(target, printer.name(value)) for target, value in results]
        # two bodies of one function must not share the names that printers make up
        self._marks += 1
        mark = f"e{self._marks}_"
        self.source.add(*(_own(line, mark) for line in printer.lines))
        self.source.calls |= printer.calls
        for target, name in named:
            self.source.add(target.format(_own(name, mark)))
        self.cost += len(loads) + printer.cost // 4

    def walk(
        self, count: str, first: str, moving: Sequence[Place], into: str, width: int
    ) -> None:
        """Print what adds the position `left` in some dims to the starts."""
        self.source.calls.add("udiv")
        self.source.open(f"for d in range({count}):")
        self.source.add(
            f"entry = {first} + d * {width + 1}",
            "quotient = udiv(left, table[entry])",
            "at = left - quotient * table[entry]",
            "left = quotient",
        )
        for k, place in enumerate(moving):
            self.source.add(f"{place.name}_{into} += at * table[entry + {k + 1}]")
        self.source.close()

    def steps(self, moving: Sequence[Place], first: int) -> None:
        for k, place in enumerate(moving):
            if place.step == ANY:
                self.source.add(f"{place.name}_step = table[{first + k}]")


def _own(text: str, mark: str) -> str:
    return re.sub(r"\bt(\d+)\b", rf"{mark}\1", text)


def _element(pointer: str, start: str, step: str, index: str) -> str:
    """Return the element at a place of the innermost loop."""
    if step == ZERO:
        return f"{pointer}[{start}]"
    return f"{pointer}[{start} + {index}{f' * {pointer}_step' if step == ANY else ''}]"


class _Rows(_Form):
    def print(self) -> None:
        add, points = self.source.add, self.points
        if self.given.streamed and self.plain_row:
            self.streamed = _stored_once(self.plan)
        count = len(self.pointers)
        around = 4 + len(points)
        if self.plain_row:
            add("n = table[1]  # elements of a row")
        else:
            add("n = table[0]  # length of the innermost loop")
            add("total = table[1]  # elements of a row")
        self.steps(points, 4)
        if self.plain_around:
            for k, place in enumerate(self.pointers):
                add(f"{place.name}_row = table[{around + 1 + k}]")
        if not self.plain_row:
            add(f"outer = {around} + table[2] * {count + 1}")
        self.source.open("for row in range(lo, hi):")
        if self.plain_around:
            for place in self.pointers:
                add(f"{place.name}_base = row * {place.name}_row")
        else:
            add("left = row")
            for place in self.pointers:
                add(f"{place.name}_base = 0")
            self.walk("table[2]", str(around), self.pointers, "base", count)
        loads = {
            p.value: f"{p.pointer}[{p.pointer}_base]"
            for p in self.given.inputs
            if p.row
        }
        self.body(loads, [])
        for number, stage in enumerate(self.plan.stages):
            self._row(stage.row)
            add(f"# sweep {number + 1}")
            self._sweep(stage)
        self._row(self.plan.row)
        stores = [
            (f"{p.pointer}[{p.pointer}_base] = {{}}", value)
            for p, value in self.plan.stores
        ]
        self.body({}, stores)
        self.source.close()
        if self.streamed:
            self.source.calls |= {"waiting", "stream", "settle"}
            add("settle()")

    def _row(self, values: list[tuple[str, Expr]]) -> None:
        for name, value in values:
            self.body({}, [(f"{name} = {{}}", value)])

    def _sweep(self, stage: Stage) -> None:
        add, source = self.source.add, self.source
        for r in stage.totals:
            add(f"{running(r.operand.name)} = {identity(r, wide(r), source)}")
        # only sums of which a part must not grow long are cut into segments, and what
        # waits for being written
        cut = any(wide(r) != r.value.dtype for r in stage.totals)
        streams = [p.name for p, _ in stage.stores if p.name in self.streamed]
        cut = cut or bool(streams)
        end = "n" if self.plain_row else "total"
        start = "base" if self.plain_row else "start"
        if cut or not self.plain_row:
            add("i = 0")
            source.open(f"while i < {end}:")
        if self.plain_row:
            first, stop = ("i", f"min(n, i + {SEGMENT})") if cut else ("0", "n")
        else:
            source.calls.add("udiv")
            add("left = udiv(i, n)", "column = i - left * n")
            for place in self.points:
                add(f"{place.name}_start = {place.name}_base")
            self.walk("table[3]", "outer", self.points, "start", len(self.points))
            first = "column"
            stop = f"min(n, column + min(total - i, {SEGMENT}))"
        if stop != "n":
            add(f"stop = {stop}")
            stop = "stop"
        for r in stage.totals:
            add(f"{_part(r)} = {identity(r, r.value.dtype, source)}")
        needed = variables(stage.values)
        loads = {}
        for name in needed:
            place = self.inputs.get(name)
            if place is None or place.row:
                continue
            p = place.pointer
            if place.step == ZERO:
                add(f"{name} = {p}[{p}_{start}]")
            else:
                loads[name] = _element(p, f"{p}_{start}", place.step, "j")
        for p in streams:
            add(f"{p}_block = {p}_held({p}, {p}_base + i, True)")
        source.open(f"for j in range({first}, {stop}):")
        results: list[tuple[str, Expr]] = []
        for r in stage.totals:
            joined = join(r, r.value.dtype, _part(r), "{0}", source)
            results.append((f"{_part(r)} = {joined}", r.value))
        for place, value in stage.stores:
            p = place.pointer
            at = _element(p, f"{p}_{start}", place.step, "j")
            if p in streams:
                at = f"{p}_block[j - i]"
            results.append((f"{at} = {{}}", value))
        self.body(loads, results)
        source.close()
        for p in streams:
            add(f"stream({p}, {p}_base + i, {p}_block, stop - i)")
        for r in stage.totals:
            part, kind = _part(r), wide(r)
            if kind != r.value.dtype:
                part = f"{source.word(kind)}({part})"
            total = running(r.operand.name)
            add(f"{total} = {join(r, kind, total, part, source)}")
        if not self.plain_row:
            add("i += stop - column")
            source.close()
        elif cut:
            add("i = stop")
            source.close()


def _stored_once(planned: Plan) -> set[str]:
    """Return results of points that no later sweep reads, and that are no input."""
    stored: list[str] = []
    read: set[str] = set()
    for stage in planned.stages:
        read |= variables(stage.values).keys()
    for stage in planned.stages:
        for place, _ in stage.stores:
            plain = place.step == UNIT and not place.late and kept(place) not in read
            stored += [place.name] * (1 if plain else 2)
    return {name for name in stored if stored.count(name) == 1}


def _part(r: Reduction) -> str:
    return f"{r.operand.name}_part"


class _Columns(_Form):
    def print(self) -> None:
        add, source = self.source.add, self.source
        self.memory = dict(_kept_rows(self.plan))
        self.renamed = _renamed(self.plan)
        count = len(self.pointers)
        around = 6 + count
        source.calls.add("udiv")
        add(
            "n = table[0]  # rows side by side",
            "total = table[1]  # elements of a row",
            "block = table[2]  # rows of one task",
            "across = table[3]  # tasks that share the rows side by side",
            "first = lo * block  # tasks of one call keep what they keep in one place",
        )
        self.steps(self.pointers, 6)
        if self.plain_row:
            for k, place in enumerate(self.points):
                add(f"{place.name}_next = table[{self._outer()} + {1 + k}]")
        source.open("for task in range(lo, hi):")
        add(
            "left = udiv(task, across)",
            "begin = (task - left * across) * block",
            "width = min(block, n - begin)",
        )
        for place in self.pointers:
            times = f" * {place.name}_step" if place.step == ANY else ""
            add(f"{place.name}_base = {'0' if place.step == ZERO else 'begin' + times}")
        if not self.plain_around:
            self.walk("table[4]", str(around), self.pointers, "base", count)
        for number, stage in enumerate(self.plan.stages):
            self._rows(stage.row, [], stage.totals)
            add(f"# sweep {number + 1}")
            self._sweep(stage)
        self._rows(self.plan.row, self.plan.stores, [])
        source.close()

    def _outer(self) -> str:
        count = len(self.pointers)
        if self.plain_around:
            return str(6 + count)
        return f"{6 + count} + table[4] * {count + 1}"

    def _load(self, name: str, start: str) -> str | None:
        """Return where to find a value of a point, or of a row, if in memory."""
        place = self.inputs.get(name)
        if place is not None:
            p = place.pointer
            begin = f"{p}_base" if place.row else f"{p}_{start}"
            return _element(p, begin, place.step, "c")
        name = self.renamed.get(name, name)
        return f"{name}_rows[first + c]" if name in self.memory else None

    def _rows(
        self,
        values: list[tuple[str, Expr]],
        stores: list[tuple[Place, Expr]],
        totals: list[Reduction],
    ) -> None:
        """Print the loop over rows between two sweeps."""
        if not values and not stores and not totals:
            return
        own = {name for name, _ in values}
        needed = variables([v for _, v in values] + [v for _, v in stores])
        self.source.open("for c in range(width):")
        loads = {
            name: where
            for name in needed
            if name not in own and (where := self._load(name, "base")) is not None
        }
        self.body(loads, [])
        for name, value in values:
            self.body({}, [(f"{name} = {{}}", value)])
            if name in self.memory:
                self.source.add(f"{name}_rows[first + c] = {name}")
        for r in totals:
            text = identity(r, wide(r), self.source)
            self.source.add(f"{running(r.operand.name)}_rows[first + c] = {text}")
        results = []
        for place, value in stores:
            at = _element(place.pointer, f"{place.pointer}_base", place.step, "c")
            results.append((f"{at} = {{}}", value))
        self.body({}, results)
        self.source.close()

    def _sweep(self, stage: Stage) -> None:
        add, source = self.source.add, self.source
        source.open("for i in range(total):")
        if self.plain_row:
            for place in self.points:
                add(f"{place.name}_start = {place.name}_base + i * {place.name}_next")
        else:
            add("left = i")
            for place in self.points:
                add(f"{place.name}_start = {place.name}_base")
            self.walk("table[5]", self._outer(), self.points, "start", len(self.points))
        loads = {
            name: where
            for name in variables(stage.values)
            if (where := self._load(name, "start")) is not None
        }
        source.open("for c in range(width):")
        results: list[tuple[str, Expr]] = []
        for r in stage.totals:
            at = f"{running(r.operand.name)}_rows[first + c]"
            value = "{0}"
            if wide(r) != r.value.dtype:
                value = f"{source.word(wide(r))}({{0}})"
            joined = join(r, wide(r), at, value, source)
            results.append((f"{at} = {joined}", r.value))
        for place, value_of in stage.stores:
            at = _element(place.pointer, f"{place.pointer}_start", place.step, "c")
            results.append((f"{at} = {{}}", value_of))
        self.body(loads, results)
        source.close()
        source.close()
