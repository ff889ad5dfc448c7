"""Kernels written by hand as tasks that do not depend on each other, for both targets.

What is no loop over independent elements with one expression (gathering, sorting,
scanning, convolution) is written once as the lines of one task: Python source in the
words that both targets have. Here a kernel is put around them: on the CPU a function
over the range [lo, hi) of tasks, on a CUDA device a loop in which each thread takes
tasks in turn. Text only: compiles nothing, knows no Tensor.

Within a task, an operand is indexed as a flat array: `x[place]`, no bounds are checked.
Two operands must not be one memory unless each element is read and written by one task
alone, read first: the CPU's compiler is told that operands do not overlap.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from . import mathlib
from .cuda.emit import kernel_file
from .cuda.functions import expand
from .expr import Expr, Printer
from .text import Source, import_lines

#: what lines of a task may call: the words of both targets with one meaning
WORDS = frozenset(
    {"bool_", "uint8", "int8", "int16", "int32", "int64", "uint32", "uint64"}
    | {"float32", "float64", "floor", "ceil", "trunc", "rint", "fabs", "sqrt"}
    | {"copysign", "maximum", "minimum", "fmax", "fmin", "fma", "where", "div", "udiv"}
    | {"int_div", "bits", "from_bits", "shift_right_logical", "plus"}
)
_CALLED = re.compile(r"(?<![.\w])([a-z_]\w*)\(")


class Lines(Source):
    """The lines of a task, as they are put down for one target."""

    def __init__(self, cuda: bool) -> None:
        super().__init__()
        self.cuda = cuda
        self._count = 0

    def add(self, *lines: str) -> None:
        for line in lines:
            self.calls |= WORDS.intersection(_CALLED.findall(line))
            if "math." in line:
                self.calls.add("math")
        super().add(*lines)

    def value(self, expression: Expr) -> str:
        """Print an expression, and return what to write for its value.

        Elementary functions are written this way: what computes them differs between
        targets. Variables are names of the lines around it, none like t0, t1.
        """
        printer = Printer(expand if self.cuda else mathlib.expand, own_words=self.cuda)
        found = printer.name(expression)
        self._count += 1
        # names that a printer makes up are its own; two expressions must not share them
        mark = f"e{self._count}_"
        for line in printer.lines:
            super().add(_own(line, mark))
        self.calls |= printer.calls
        return _own(found, mark)


def _own(text: str, mark: str) -> str:
    return re.sub(r"\b(t\d+)\b", rf"{mark}\1", text)


@dataclass(frozen=True)
class Tasks:
    """A kernel that performs tasks number 0, 1, ..., each by itself.

    `build` prints the lines of task `i`, `prepare` what is the same for all tasks.
    `pointers` are (name, dtype) of memory, `numbers` int64 that a table holds, read
    under these names, `scalars` (name, dtype) of numbers given at each call. `key`
    says all that the text depends on. `packed`: on the CPU, statements that do the same
    to elements next to each other become one of vectors.
    """

    key: Hashable
    name: str
    title: str
    pointers: tuple[tuple[str, str], ...]
    build: Callable[[Lines], None]
    numbers: tuple[str, ...] = ()
    scalars: tuple[tuple[str, str], ...] = ()
    prepare: Callable[[Lines], None] | None = None
    packed: bool = False


def emit_cpu(tasks: Tasks) -> tuple[str, str]:
    """Return the name and the source of the kernel for the CPU.

    Slots: the pointers, the table, the scalars.
    """
    source = Lines(cuda=False)
    slots: list[str] = []
    reads: list[str] = []
    for name, dtype in tasks.pointers:
        slots.append(f'{name}_at = pointer("{dtype}", {len(slots)})')
        reads.append(f"{name} = {name}_at(args)")
    slots.append(f'table_at = pointer("int64", {len(slots)})')
    if tasks.numbers:
        reads.append("table = table_at(args)")
    for name, dtype in tasks.scalars:
        slots.append(f'{name}_at = scalar("{dtype}", {len(slots)})')
        reads.append(f"{name} = {name}_at(args)")
        source.calls.add("scalar")
    source.add(*reads)
    source.add(*(f"{name} = table[{k}]" for k, name in enumerate(tasks.numbers)))
    if tasks.prepare is not None:
        tasks.prepare(source)
    source.open("for i in range(lo, hi):")
    tasks.build(source)
    source.close()
    words = source.calls - {"math"} | {"pointer"}
    text = [f'"""{tasks.title}"""', ""]
    if "math" in source.calls:
        text += ["import math", ""]
    text += ["from numtensor.kernels.lang import (", *import_lines(words), ")", ""]
    if tasks.packed:
        text += ["PACKED = True  # tells the compiler to make vectors of statements"]
    text += [*slots, "", "", f"def {tasks.name}(args, lo, hi):", *source.lines]
    return tasks.name, "\n".join(text) + "\n"


def emit_cuda(tasks: Tasks) -> tuple[str, str]:
    """Return the name and the source of the kernel for CUDA devices.

    Parameters: the pointers, the table, how many tasks, the scalars.
    """
    source = Lines(cuda=True)
    source.add(*(f"{name} = table[{k}]" for k, name in enumerate(tasks.numbers)))
    if tasks.prepare is not None:
        tasks.prepare(source)
    source.add("i = cuda.grid(1)")
    source.open("while i < tasks:")
    tasks.build(source)
    source.add("i += cuda.gridsize(1)")
    source.close()
    parameters = [(name, f"{dtype}*") for name, dtype in tasks.pointers]
    # the address of no table is zero, which is a number and no memory
    table = "int64*" if tasks.numbers else "int64"
    parameters += [("table", table), ("tasks", "int64"), *tasks.scalars]
    return tasks.name, kernel_file(tasks.name, tasks.title, parameters, source)
