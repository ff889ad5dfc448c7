"""Prints kernels of several sweeps over rows as the source of CUDA kernels.

Forms
    block   a block of threads to a row, each with every BLOCK-th element of it
    warp    a warp to a row
    thread  a thread to a row: for short rows, and where the elements of neighbouring
            rows lie closer than those of one

A thread meets the same elements in every sweep, so that what it stores in one it can
read in the next without waiting for others. Totals are joined in a fixed order, and
all threads are told what they are. Text only: compiles nothing, and imports neither
Numba nor LLVM.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..expr import Expr, Printer
from ..loops import Reduction
from ..sweeps import Place, Stage, Sweeps, kept, plan, running, variables, wide
from ..text import Source, identity, join
from .emit import Table, carrier, kernel_file, offset, unravel
from .functions import expand
from .reduce_emit import _ACROSS, _RUN, _back


def emit(given: Sweeps, form: str, ranks: tuple[int, int]) -> tuple[str, str]:
    """Return the kernel's name and its source; `ranks` are the numbers of dims around
    rows and of dims in a row."""
    printer = _Printer(given, form, ranks)
    printer.print()
    source = printer.source
    name = given.name
    if name in source.calls:
        name += "_all"  # a kernel must not hide a word that it imports
    told = ", ".join(
        f"{p.name} {p.dtype} ({'row' if p.row else p.step})" for p in given.places
    )
    parameters = [(p.name, f"{p.dtype}*") for p in given.places]
    parameters += [("table", "int64*"), ("tasks", "int64"), *given.scalars]
    title = f"{given.name} on CUDA, {form}_sweeps: {told}."
    return name, kernel_file(name, title, parameters, source)


def table(
    around: Sequence[int],
    around_strides: Sequence[Sequence[int]],
    row: Sequence[int],
    row_strides: Sequence[Sequence[int]],
) -> list[int]:
    """Layout table: [elements of a row; sizes around; sizes of a row; strides of each
    operand around; strides of each operand of points in a row], innermost dim first."""
    total = 1
    for size in row:
        total *= size
    numbers = [total, *reversed(around), *reversed(row)]
    for s in around_strides:
        numbers += reversed(s)
    for s in row_strides:
        numbers += reversed(s)
    return numbers


class _Printer:
    def __init__(self, given: Sweeps, form: str, ranks: tuple[int, int]) -> None:
        self.given = given
        self.form = form
        self.ranks = ranks
        # memory is slower than computing again what it could hold
        self.plan = plan(given, parked=False)
        self.source = Source()
        self.points = [place for place in given.pointers if not place.row]
        self.inputs = {place.value: place for place in given.inputs}
        self.inputs |= {
            kept(place): place for place, _ in given.stores if not place.row
        }
        self.step = {"block": "BLOCK", "warp": "WARP"}.get(form, "1")
        self._marks = 0

    def print(self) -> None:
        add, source = self.source.add, self.source
        around, row = self.ranks
        entries = Table(source)
        entries.read("total", "elements of a row")
        sizes = entries.sizes("m", around)
        self.sizes = entries.sizes("n", row)
        bases = {
            p.name: entries.strides(p, "m", around, False) for p in self.given.pointers
        }
        self.strides = {p.name: entries.strides(p, "s", row, True) for p in self.points}
        if self.form == "block":
            source.calls |= {"BLOCK", "WARPS", "block_first"}
            add("thread = cuda.threadIdx.x", "task = cuda.blockIdx.x")
            next_task = "cuda.gridDim.x"
            self._shared()
        elif self.form == "warp":
            source.calls |= {"WARP", "WARPS", "warp_first"}
            add(
                "thread = cuda.threadIdx.x % WARP",
                "task = cuda.blockIdx.x * WARPS + cuda.threadIdx.x // WARP",
            )
            next_task = "cuda.gridDim.x * WARPS"
        else:
            add("thread = 0", "task = cuda.grid(1)")
            next_task = "cuda.gridsize(1)"
        source.open("while task < tasks:")
        places = unravel(source, "task", sizes, "row")
        for p in self.given.pointers:
            add(f"{p.name}_base = {offset(places, bases[p.name])}")
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
        self._stores()
        add(f"task += {next_task}")
        source.close()

    def _shared(self) -> None:
        """Declare what the warps of a block exchange their totals through."""
        for stage in self.plan.stages:
            for r in stage.totals:
                kind = self.source.word(carrier(wide(r)))
                name = f"{r.operand.name}_scratch"
                self.source.add(f"{name} = cuda.shared.array(WARPS, {kind})")

    def body(self, loads: dict[str, str], results: list[tuple[str, Expr]]) -> None:
        """Print loads, expressions, then `target = value` of each result."""
        printer = Printer(expand, own_words=True)
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

    def _row(self, values: list[tuple[str, Expr]]) -> None:
        for name, value in values:
            self.body({}, [(f"{name} = {{}}", value)])

    def _stores(self) -> None:
        """Print what one thread stores for a row."""
        if not self.plan.stores:
            return
        at = "{0}[{0}_base] = {{}}"
        stores = [(at.format(p.pointer), value) for p, value in self.plan.stores]
        if self.form == "thread":
            self.body({}, stores)
        else:
            self.source.open("if thread == 0:")
            self.body({}, stores)
            self.source.close()

    def _element(self, place: Place, places: Sequence[str]) -> str:
        name = place.pointer
        text = offset(places, self.strides[name])
        return f"{name}[{name}_base{'' if text == '0' else f' + {text}'}]"

    def _sweep(self, stage: Stage) -> None:
        add, source = self.source.add, self.source
        for r in stage.totals:
            add(f"{running(r.operand.name)} = {identity(r, wide(r), source)}")
        # sums are made in runs of the tensor's dtype, which are joined in a wider one
        cut = any(wide(r) != r.value.dtype for r in stage.totals)
        add("i = thread")
        if cut:
            source.open("while i < total:")
            add(f"stop = min(total, i + {_RUN} * {self.step})")
            for r in stage.totals:
                add(f"{_run(r, cut)} = {identity(r, r.value.dtype, source)}")
        source.open(f"while i < {'stop' if cut else 'total'}:")
        places = unravel(source, "i", self.sizes, "at")
        loads = {}
        for name in variables(stage.values):
            place = self.inputs.get(name)
            if place is not None and not place.row:
                loads[name] = self._element(place, places)
        results: list[tuple[str, Expr]] = []
        for r in stage.totals:
            name = _run(r, cut)
            joined = join(r, r.value.dtype, name, "{0}", source)
            results.append((f"{name} = {joined}", r.value))
        for place, value in stage.stores:
            results.append((f"{self._element(place, places)} = {{}}", value))
        self.body(loads, results)
        add(f"i += {self.step}")
        source.close()
        if cut:
            for r in stage.totals:
                total, kind = running(r.operand.name), wide(r)
                part = _run(r, cut)
                if kind != r.value.dtype:
                    part = f"{source.word(kind)}({part})"
                add(f"{total} = {join(r, kind, total, part, source)}")
            source.close()
        if self.form != "thread":
            for r in stage.totals:
                self._joined(r)

    def _joined(self, r: Reduction) -> None:
        """Print the joining of what the threads of a group have found."""
        source, kind = self.source, wide(r)
        total, scratch = running(r.operand.name), ""
        if self.form == "block":
            scratch = f", {r.operand.name}_scratch"
        value = total
        if carrier(kind) != kind:
            value = f"{source.word(carrier(kind))}({total})"
        word = source.word(f"{self.form}_{_ACROSS[r.combine.name]}")
        source.add(f"{total} = {word}({value}{scratch})")
        text = f"{self.form}_first({total}{scratch})"
        source.add(f"{total} = {_back(kind, text, source)}")


def _run(r: Reduction, cut: bool) -> str:
    return f"{r.operand.name}_part" if cut else running(r.operand.name)


def _own(text: str, mark: str) -> str:
    return re.sub(r"\bt(\d+)\b", rf"{mark}\1", text)
