"""Prints reductions as CUDA kernels: rows by blocks or warps, columns, searches.

No atomics: every element goes to the same thread and every join happens in the same
order at each run, so that results are the same to the last bit. What a single launch
cannot reduce fast enough is cut into blocks, and a second launch joins their results.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..expr import Expr, Printer, cast, var
from ..loops import Nest, Reduction
from ..text import Source, identity, join
from .emit import Table, carrier, offset, print_body, unravel
from .functions import expand

#: elements that a thread adds in the tensor's dtype before they go to the wide total
_RUN = 32
_ACROSS = {
    "sum": "plus",
    "prod": "times",
    "max": "maximum",
    "min": "minimum",
    "any": "maximum",
    "all": "minimum",
}


def reduction_table(
    first: int,
    block: int,
    kept: Sequence[int],
    kept_strides: Sequence[Sequence[int]],
    reduced: Sequence[int],
    reduced_strides: Sequence[Sequence[int]],
) -> list[int]:
    """Layout table of all forms here.

    [blocks per result or, for `columns`, results per block; reduced elements of a
    block; of all; kept sizes; reduced sizes; of each operand its kept strides, then
    its reduced strides], the innermost dim first.
    """
    total = 1
    for size in reduced:
        total *= size
    numbers = [first, block, total, *reversed(kept), *reversed(reduced)]
    for k, r in zip(kept_strides, reduced_strides, strict=True):
        numbers += [*reversed(k), *reversed(r)]
    return numbers


class _Layout:
    """The table read into names: sizes, and of each operand its strides."""

    def __init__(self, nest: Nest, source: Source, first: str, along: str) -> None:
        kept, reduced = nest.ranks
        table = Table(source)
        what = "tasks that share one result" if first == "blocks" else "of a block"
        table.read(first, what)
        table.read("block", "reduced elements of one task")
        table.read("total", "of all")
        self.kept_sizes = table.sizes("m", kept)
        self.sizes = table.sizes("n", reduced)
        self.kept: dict[str, list[str]] = {}
        self.reduced: dict[str, list[str]] = {}
        for o in nest.moving:
            self.kept[o.name] = table.strides(o, "m", kept, along == "kept")
            self.reduced[o.name] = table.strides(o, "s", reduced, along == "reduced")

    def bases(self, nest: Nest, source: Source, left: str) -> None:
        """Print where each operand's elements for one result begin."""
        places = unravel(source, left, self.kept_sizes, "row")
        for o in nest.moving:
            source.add(f"{o.name}_base = {offset(places, self.kept[o.name])}")

    def place(self, name: str, places: Sequence[str]) -> str:
        """Return the element of an operand at these places of the reduced dims."""
        text = offset(places, self.reduced[name])
        return f"{name}[{name}_base{'' if text == '0' else f' + {text}'}]"


def _wide(r: Reduction) -> str:
    return r.combine.total_dtype(r.value.dtype)


def _totals(nest: Nest, source: Source) -> None:
    for r in nest.reductions:
        text = identity(r, _wide(r), source)
        source.add(f"{r.operand.name}_total = {text}")


def _accumulate(nest: Nest, source: Source, layout: _Layout, step: str) -> None:
    """Print the loop over `i` up to `end` that adds to the totals."""
    wide = any(_wide(r) != r.value.dtype for r in nest.reductions)
    source.open("while i < end:")
    target = "total"
    if wide:
        target = "part"
        source.add(f"stop = min(end, i + {_RUN} * {step})")
        for r in nest.reductions:
            text = identity(r, r.value.dtype, source)
            source.add(f"{r.operand.name}_part = {text}")
        source.open("while i < stop:")
    places = unravel(source, "i", layout.sizes, "at")
    loads = {o.value: layout.place(o.name, places) for o in nest.inputs}
    results: list[tuple[str, Expr]] = [
        (layout.place(s.operand.name, places) + " = {}", s.value) for s in nest.stores
    ]
    for r in nest.reductions:
        name = f"{r.operand.name}_{target}"
        joined = join(r, r.value.dtype, name, "{0}", source)
        results.append((f"{name} = {joined}", r.value))
    print_body(source, loads, results)
    source.add(f"i += {step}")
    source.close()
    if wide:
        for r in nest.reductions:
            name, kind = r.operand.name, _wide(r)
            part = f"{name}_part"
            if kind != r.value.dtype:
                part = f"{source.word(kind)}({part})"
            joined = join(r, kind, f"{name}_total", part, source)
            source.add(f"{name}_total = {joined}")
        source.close()


def _finished(r: Reduction, source: Source) -> str:
    """Print what turns a total into the stored value; return its name."""
    value = var(f"{r.operand.name}_total", _wide(r))
    if r.finish is not None:
        value = r.finish(value)
    printer = Printer(expand, own_words=True)
    name = printer.name(cast(value, r.operand.dtype))
    source.add(*printer.lines)
    source.calls |= printer.calls
    return name


def _back(dtype: str, text: str, source: Source) -> str:
    """Return an exchanged value in the dtype it stands for."""
    if dtype == carrier(dtype):
        return text
    return f"{text} != 0" if dtype == "bool" else f"{source.word(dtype)}({text})"


def _joined(nest: Nest, source: Source, group: str) -> None:
    """Print the joining of the totals of all threads of a group."""
    for r in nest.reductions:
        name, kind = r.operand.name, _wide(r)
        value = f"{name}_total"
        if carrier(kind) != kind:
            value = f"{source.word(carrier(kind))}({value})"
        word = source.word(f"{group}_{_ACROSS[r.combine.name]}")
        scratch = f", {name}_scratch" if group == "block" else ""
        text = f"{word}({value}{scratch})"
        source.add(f"{name}_total = {_back(kind, text, source)}")


def _rows(nest: Nest, source: Source) -> None:
    block = nest.form == "rows"
    layout = _Layout(nest, source, "blocks", "reduced")
    if block:
        group, step, stride = "block", source.word("BLOCK"), "cuda.gridDim.x"
        source.word("WARPS")
        source.add("thread = cuda.threadIdx.x", "task = cuda.blockIdx.x")
        for r in nest.reductions:
            kind = source.word(carrier(_wide(r)))
            source.add(f"{r.operand.name}_scratch = cuda.shared.array(WARPS, {kind})")
    else:
        group, step = "warp", source.word("WARP")
        stride = f"cuda.gridDim.x * {source.word('WARPS')}"
        source.add(
            "thread = cuda.threadIdx.x % WARP",
            "task = cuda.blockIdx.x * WARPS + cuda.threadIdx.x // WARP",
        )
    source.word("udiv")
    source.open("while task < tasks:")
    source.add(
        "left = udiv(task, blocks)",
        "i = (task - left * blocks) * block",
        "end = min(total, i + block)",
        "i += thread",
    )
    layout.bases(nest, source, "left")
    _totals(nest, source)
    _accumulate(nest, source, layout, step)
    _joined(nest, source, group)
    source.open("if thread == 0:")
    for r in nest.reductions:
        name = _finished(r, source)
        source.add(f"{r.operand.name}[task] = {name}")
    source.close()
    source.add(f"task += {stride}")
    source.close()


def _columns(nest: Nest, source: Source) -> None:
    layout = _Layout(nest, source, "results", "kept")
    source.word("udiv")
    source.add("task = cuda.grid(1)")
    source.open("while task < tasks:")
    source.add(
        "number = udiv(task, results)",
        "left = task - number * results",
        "i = number * block",
        "end = min(total, i + block)",
    )
    layout.bases(nest, source, "left")
    _totals(nest, source)
    _accumulate(nest, source, layout, "1")
    for r in nest.reductions:
        name = _finished(r, source)
        source.add(f"{r.operand.name}[task] = {name}")
    source.add("task += cuda.gridsize(1)")
    source.close()


def _search(nest: Nest, source: Source) -> None:
    """Each thread finds the first extreme of its elements, then the block of theirs.

    A second input holds the places of elements that are themselves results.
    """
    best, place = nest.reductions
    x = nest.inputs[0]
    dtype = best.value.dtype
    kind = source.word(carrier(dtype))
    largest = best.combine.name == "max"
    layout = _Layout(nest, source, "blocks", "reduced")
    source.word("udiv")
    source.word("BLOCK")
    source.word("int64")
    source.add(
        "thread = cuda.threadIdx.x",
        "task = cuda.blockIdx.x",
        f"values = cuda.shared.array(BLOCK, {kind})",
        "places = cuda.shared.array(BLOCK, int64)",
    )
    source.open("while task < tasks:")
    source.add(
        "left = udiv(task, blocks)",
        "i = (task - left * blocks) * block",
        "end = min(total, i + block)",
        "i += thread",
    )
    layout.bases(nest, source, "left")
    start = identity(best, kind, source)
    source.add(f"best = {start}", "found = int64(-1)")
    source.open("while i < end:")
    at = unravel(source, "i", layout.sizes, "at")
    load = layout.place(x.name, at)
    source.add(f"{x.value} = {load if dtype == kind else f'{kind}({load})'}")
    better = f"{x.value} {'>' if largest else '<'} best"
    if dtype.startswith("float"):
        better += f" or ({x.value} != {x.value} and best == best)"
    source.open(f"if found < 0 or {better}:")
    where = "i"
    if len(nest.inputs) > 1:
        where = layout.place(nest.inputs[1].name, at)
    source.add(f"best = {x.value}", f"found = int64({where})")
    source.close()
    source.add("i += BLOCK")
    source.close()
    word = source.word("block_argmax" if largest else "block_argmin")
    source.add(f"best, found = {word}(best, found, values, places)")
    source.open("if thread == 0:")
    source.add(f"{best.operand.name}[task] = {_back(dtype, 'best', source)}")
    source.add(f"{place.operand.name}[task] = found")
    source.close()
    source.add("task += cuda.gridDim.x")
    source.close()


FORMS = {"rows": _rows, "warp_rows": _rows, "columns": _columns, "search": _search}
