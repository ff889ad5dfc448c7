"""Prints loop nests as the source of CPU kernels.

What comes out is one self-contained function per file, written to be read: loads,
then one line per operation, then stores. Text only: compiles nothing, and so imports
neither Numba nor LLVM.
"""

from __future__ import annotations

from .. import mathlib
from ..expr import Expr, Printer, cast, var
from ..loops import (
    ANY,
    SEGMENT,
    STREAM_BLOCK,
    TILE_ACROSS,
    TILE_DOWN,
    UNIT,
    ZERO,
    Nest,
    Operand,
    Reduction,
)
from ..text import INDENT, Source, identity, import_lines, join


def emit(nest: Nest) -> tuple[str, str, int]:
    """Return the kernel's name, its source, and the cost of one point in additions."""
    source = Source()
    if nest.streamed:
        _around(nest, source)
    cost = _FORMS[nest.form](nest, source)
    if nest.streamed:
        source.add("settle()")
    # a kernel must not hide a word that it imports
    name = f"{nest.name}_all" if nest.name in source.calls else nest.name
    return name, _file(name, nest, source), cost


def _file(function: str, nest: Nest, source: Source) -> str:
    slots: list[str] = []
    reads: list[str] = []
    operands = [s.operand for s in nest.stores]
    operands += [r.operand for r in nest.reductions]
    operands += nest.inputs
    for operand in operands:
        slots.append(f'{operand.name}_at = pointer("{operand.dtype}", {len(slots)})')
        reads.append(f"{operand.name} = {operand.name}_at(args)")
    # the flat form leaves the table's slot unused, so that callers pass the same
    # arguments whatever the form
    skip = 1 if nest.form == "flat" else 0
    if not skip:
        slots.append(f'table_at = pointer("int64", {len(slots)})')
        reads.append("table = table_at(args)")
    words = {"pointer"}
    for name, dtype in nest.scalars:
        slots.append(f'{name}_at = scalar("{dtype}", {len(slots) + skip})')
        reads.append(f"{name} = {name}_at(args)")
        words.add("scalar")
    if nest.streamed:
        length = SEGMENT if nest.form == "inner" else STREAM_BLOCK
        for k, store in enumerate(nest.stores):
            slots.append(f"{store.operand.name}_held = waiting({k}, {length})")
    words |= source.calls - {"math"}
    title = ", ".join(f"{o.name} {o.dtype} ({o.step})" for o in operands)
    form = f"{nest.form}, streamed" if nest.streamed else nest.form
    text = [f'"""{nest.name}, {form}: {title}."""', ""]
    if "math" in source.calls:
        text += ["import math", ""]
    text += ["from numtensor.kernels.lang import (", *import_lines(words), ")", ""]
    text += slots
    text += ["", "", f"def {function}(args, lo, hi):"]
    text += [INDENT + line for line in reads]
    text += source.lines
    return "\n".join(text) + "\n"


def _print_body(
    nest: Nest, source: Source, loads: dict[str, str], results: list[tuple[str, Expr]]
) -> int:
    """Print loads, the expressions, and `target = value` for each result."""
    printer = Printer(mathlib.expand)
    for name, place in loads.items():
        source.add(f"{name} = {place}")
    names = [(target, printer.name(value)) for target, value in results]
    source.add(*printer.lines)
    source.calls |= printer.calls
    for target, name in names:
        source.add(target.format(name))
    # a primitive costs about a quarter of a load, measured on add against exp
    return len(nest.moving) + printer.cost // 4


def _hoisted(nest: Nest, source: Source, starts: bool) -> None:
    """Load what stays the same along the innermost loop before it begins."""
    for operand in nest.inputs:
        if operand.step == ZERO:
            place = f"{operand.name}_start" if starts else "0"
            source.add(f"{operand.value} = {operand.name}[{place}]")


def _place(operand: Operand, index: str, starts: bool) -> str:
    if operand.step == ANY:
        index = f"{index} * {operand.name}_step"
    elif operand.step == ZERO:
        return f"{operand.name}[{operand.name}_start]" if starts else "x[0]"
    return f"{operand.name}[{f'{operand.name}_start + ' if starts else ''}{index}]"


def _loads(nest: Nest, index: str, starts: bool) -> dict[str, str]:
    return {o.value: _place(o, index, starts) for o in nest.inputs if o.step != ZERO}


def _stores(
    nest: Nest, index: str, starts: bool, first: str = ""
) -> list[tuple[str, Expr]]:
    """Return where values are stored by a loop that begins at `first`."""
    if nest.streamed:
        places = [f"{s.operand.name}_block[{index} - {first}]" for s in nest.stores]
    else:
        places = [_place(s.operand, index, starts) for s in nest.stores]
    stores = zip(places, nest.stores, strict=True)
    return [(f"{place} = {{}}", s.value) for place, s in stores]


def _around(nest: Nest, source: Source) -> None:
    """Print whether stores go around the cache, and how many wait at a time.

    In place they do not: the lines of what is written were read just now.
    """
    source.calls |= {"waiting", "stream", "settle"}
    pairs = [
        f"same({s.operand.name}, {x.name})"
        for s in nest.stores
        for x in nest.inputs
        if x.step == UNIT
    ]
    if pairs:
        source.calls.add("same")
    equal = " or ".join(pairs)
    source.add(f"around = {f'not ({equal})' if pairs else 'True'}")
    if nest.form != "inner":
        source.add(f"length = {STREAM_BLOCK} if around else hi - lo")


def _hold(nest: Nest, source: Source, first: str, starts: bool) -> None:
    """Print where the stores of a loop that begins at `first` wait."""
    if nest.streamed:
        for store in nest.stores:
            name = store.operand.name
            start = f"{name}_start + {first}" if starts else first
            source.add(f"{name}_block = {name}_held({name}, {start}, around)")


def _stream(nest: Nest, source: Source, first: str, stop: str, starts: bool) -> None:
    """Print what writes the stores that wait, of a loop from `first` to `stop`."""
    if nest.streamed:
        for store in nest.stores:
            name = store.operand.name
            start = f"{name}_start + {first}" if starts else first
            source.add(f"stream({name}, {start}, {name}_block, {stop} - {first})")


def _open_blocks(
    nest: Nest, source: Source, first: str, stop: str, starts: bool
) -> tuple[str, str]:
    """Open the loop over blocks, if stores wait in blocks; return the range within."""
    if not nest.streamed:
        return first, stop
    source.add(f"first = {first}")
    source.open(f"while first < {stop}:")
    source.add(f"last = min({stop}, first + length)")
    _hold(nest, source, "first", starts)
    return "first", "last"


def _close_blocks(nest: Nest, source: Source, starts: bool) -> None:
    if nest.streamed:
        _stream(nest, source, "first", "last", starts)
        source.add("first = last")
        source.close()


def _steps(nest: Nest, source: Source, first: int) -> None:
    for k, operand in enumerate(nest.moving):
        if operand.step == ANY:
            source.add(f"{operand.name}_step = table[{first + k}]")


def _walk(nest: Nest, source: Source, count: str, first: str, into: str) -> None:
    """Print the loop that adds the position `left` in some dims to the starts."""
    width = len(nest.moving) + 1
    source.calls.add("udiv")
    source.open(f"for d in range({count}):")
    source.add(
        f"entry = {first} + d * {width}",
        "quotient = udiv(left, table[entry])",
        "at = left - quotient * table[entry]",
        "left = quotient",
    )
    for k, operand in enumerate(nest.moving):
        name = f"{operand.name}_{into}"
        source.add(f"{name} += at * table[entry + {k + 1}]")
    source.close()


def _flat(nest: Nest, source: Source) -> int:
    _hoisted(nest, source, starts=False)
    first, stop = _open_blocks(nest, source, "lo", "hi", starts=False)
    source.open(f"for i in range({first}, {stop}):")
    cost = _print_body(
        nest, source, _loads(nest, "i", False), _stores(nest, "i", False, first)
    )
    source.close()
    _close_blocks(nest, source, starts=False)
    return cost


def _strided(nest: Nest, source: Source) -> int:
    moving = nest.moving
    count = len(moving)
    first = 2 + count
    source.calls.add("udiv")
    source.add("n = table[0]  # length of the innermost loop")
    _steps(nest, source, 2)
    source.add(f"rows = table[{first}]  # of the dimension around it")
    for k, operand in enumerate(moving):
        source.add(f"{operand.name}_row = table[{first + 1 + k}]")
    source.add("i = lo")
    source.open("while i < hi:")
    source.add(
        "index = udiv(i, n)",
        "column = i - index * n",
        "left = udiv(index, rows)",
        "row = index - left * rows",
    )
    for operand in moving:
        source.add(f"{operand.name}_start = row * {operand.name}_row")
    _walk(nest, source, "table[1] - 1", str(first + 1 + count), "start")
    source.open("while row < rows and i < hi:")
    source.add("stop = min(n, column + hi - i)")
    _hoisted(nest, source, starts=True)
    first, stop = _open_blocks(nest, source, "column", "stop", starts=True)
    source.open(f"for j in range({first}, {stop}):")
    stores = _stores(nest, "j", True, first)
    cost = _print_body(nest, source, _loads(nest, "j", True), stores)
    source.close()
    _close_blocks(nest, source, starts=True)
    source.add("i += stop - column", "column = 0", "row += 1")
    for operand in moving:
        source.add(f"{operand.name}_start += {operand.name}_row")
    source.close()
    source.close()
    return cost


def _tiled(nest: Nest, source: Source) -> int:
    moving = nest.moving
    count = len(moving)
    source.calls.add("udiv")
    source.add(
        "n = table[0]  # columns",
        "rows = table[1]",
        "across = table[2]  # tiles in a row of tiles",
        "down = table[3]",
    )
    _steps(nest, source, 5)
    for k, operand in enumerate(moving):
        source.add(f"{operand.name}_row = table[{5 + count + k}]")
    source.open("for tile in range(lo, hi):")
    source.add(
        "place = udiv(tile, across)",
        f"first = (tile - place * across) * {TILE_ACROSS}",
        f"stop = min(n, first + {TILE_ACROSS})",
        "left = udiv(place, down)",
        f"top = (place - left * down) * {TILE_DOWN}",
    )
    for operand in moving:
        source.add(f"{operand.name}_start = top * {operand.name}_row")
    _walk(nest, source, "table[4]", str(5 + 2 * count), "start")
    source.open(f"for row in range(top, min(rows, top + {TILE_DOWN})):")
    _hoisted(nest, source, starts=True)
    source.open("for j in range(first, stop):")
    cost = _print_body(nest, source, _loads(nest, "j", True), _stores(nest, "j", True))
    source.close()
    for operand in moving:
        source.add(f"{operand.name}_start += {operand.name}_row")
    source.close()
    source.close()
    return cost


def _finish(reduction: Reduction, total: str, dtype: str, source: Source) -> str:
    """Print what turns a total into the stored value; return its name."""
    value = var(total, dtype)
    if reduction.finish is not None:
        value = reduction.finish(value)
    printer = Printer(mathlib.expand)
    name = printer.name(cast(value, reduction.operand.dtype))
    source.add(*printer.lines)
    source.calls |= printer.calls
    return name


def _inner(nest: Nest, source: Source) -> int:
    moving = nest.moving
    width = len(moving) + 1
    source.calls.add("udiv")
    source.add(
        "n = table[0]  # length of the innermost loop",
        "total = table[1]  # reduced elements",
        "blocks = table[2]  # tasks that share one result",
        "block = table[3]",
    )
    _steps(nest, source, 6)
    source.add(f"outer = {6 + len(moving)} + table[4] * {width}")
    source.open("for task in range(lo, hi):")
    source.add("left = udiv(task, blocks)", "i = (task - left * blocks) * block")
    for operand in moving:
        source.add(f"{operand.name}_base = 0")
    _walk(nest, source, "table[4]", str(6 + len(moving)), "base")
    source.add("end = min(total, i + block)")
    for r in nest.reductions:
        wide = r.combine.total_dtype(r.value.dtype)
        source.add(f"{r.operand.name}_total = {identity(r, wide, source)}")
    source.open("while i < end:")
    source.add("left = udiv(i, n)", "column = i - left * n")
    for operand in moving:
        source.add(f"{operand.name}_start = {operand.name}_base")
    _walk(nest, source, "table[5]", "outer", "start")
    source.add(f"stop = min(n, column + min(end - i, {SEGMENT}))")
    for r in nest.reductions:
        text = identity(r, r.value.dtype, source)
        source.add(f"{r.operand.name}_part = {text}")
    _hoisted(nest, source, starts=True)
    _hold(nest, source, "column", starts=True)
    source.open("for j in range(column, stop):")
    results = _stores(nest, "j", True, "column")
    for r in nest.reductions:
        part = f"{r.operand.name}_part"
        joined = join(r, r.value.dtype, part, "{}", source)
        results.append((f"{part} = {joined}".replace("{}", "{0}"), r.value))
    cost = _print_body(nest, source, _loads(nest, "j", True), results)
    source.close()
    _stream(nest, source, "column", "stop", starts=True)
    for r in nest.reductions:
        name = r.operand.name
        wide = r.combine.total_dtype(r.value.dtype)
        part = f"{name}_part"
        if wide != r.value.dtype:
            source.calls.add(wide)
            part = f"{wide}({part})"
        joined = join(r, wide, f"{name}_total", part, source)
        source.add(f"{name}_total = {joined}")
    source.add("i += stop - column")
    source.close()
    for r in nest.reductions:
        wide = r.combine.total_dtype(r.value.dtype)
        name = _finish(r, f"{r.operand.name}_total", wide, source)
        source.add(f"{r.operand.name}[task] = {name}")
    source.close()
    return cost


def _outer(nest: Nest, source: Source) -> int:
    moving = nest.moving
    width = len(moving) + 1
    source.calls.add("udiv")
    source.add(
        "n = table[0]  # length of the innermost loop, over kept elements",
        "total = table[1]  # reduced elements",
        "block = table[2]  # of them in one task",
        "rows = table[3]",
        "chunks = table[4]  # tasks that share a row",
        "chunk = table[5]",
    )
    _steps(nest, source, 8)
    source.add(f"outer = {8 + len(moving)} + table[6] * {width}")
    source.open("for task in range(lo, hi):")
    source.add(
        "place = udiv(task, chunks)  # block and row",
        "start = (task - place * chunks) * chunk",
        "stop = min(n, start + chunk)",
        "number = udiv(place, rows)",
        "left = place - number * rows",
    )
    for operand in moving:
        source.add(f"{operand.name}_base = 0")
    _walk(nest, source, "table[6]", str(8 + len(moving)), "base")
    source.add("out_start = place * n")
    source.open("for j in range(start, stop):")
    for r in nest.reductions:
        text = identity(r, r.operand.dtype, source)
        source.add(f"{r.operand.name}[out_start + j] = {text}")
    source.close()
    source.open("for i in range(number * block, min(total, (number + 1) * block)):")
    source.add("left = i")
    for operand in moving:
        source.add(f"{operand.name}_start = {operand.name}_base")
    _walk(nest, source, "table[7]", "outer", "start")
    _hoisted(nest, source, starts=True)
    source.open("for j in range(start, stop):")
    results = _stores(nest, "j", True)
    for r in nest.reductions:
        place = f"{r.operand.name}[out_start + j]"
        joined = join(r, r.operand.dtype, place, "{}", source)
        value = cast(r.value, r.operand.dtype)
        results.append((f"{place} = {joined}".replace("{}", "{0}"), value))
    cost = _print_body(nest, source, _loads(nest, "j", True), results)
    source.close()
    source.close()
    finished = [r for r in nest.reductions if r.finish is not None]
    if finished:
        source.open("for j in range(start, stop):")
        for r in finished:
            place = f"{r.operand.name}[out_start + j]"
            source.add(f"{r.operand.name}_total = {place}")
            total = f"{r.operand.name}_total"
            name = _finish(r, total, r.operand.dtype, source)
            source.add(f"{place} = {name}")
        source.close()
    source.close()
    return cost


def _arg(nest: Nest, source: Source) -> int:
    """Largest or smallest: each segment's extreme by a loop that vectorises, then,
    only if it beats the best so far, a scan of the segment for its place."""
    best, index = nest.reductions
    x = nest.inputs[0]
    dtype = best.value.dtype
    floating = dtype.startswith("float")
    source.calls |= {"udiv", "int64"}
    source.add(
        "n = table[0]  # length of the innermost loop",
        "total = table[1]  # reduced elements",
    )
    _steps(nest, source, 6)
    source.add(f"outer = {6 + len(nest.moving)} + table[4] * {len(nest.moving) + 1}")
    source.open("for task in range(lo, hi):")
    source.add("left = task", f"{x.name}_base = 0")
    _walk(nest, source, "table[4]", str(6 + len(nest.moving)), "base")
    text = identity(best, dtype, source)
    source.add("i = 0", f"best = {text}", "where_best = int64(-1)")
    source.open("while i < total:")
    source.add("left = udiv(i, n)", "column = i - left * n")
    source.add(f"{x.name}_start = {x.name}_base")
    _walk(nest, source, "table[5]", "outer", "start")
    source.add(f"stop = min(n, column + {SEGMENT})", f"part = {text}")
    load = _place(x, "j", True)
    source.open("for j in range(column, stop):")
    source.add(f"{x.value} = {load}")
    source.add(f"part = {join(best, dtype, 'part', x.value, source)}")
    source.close()
    if dtype == "bool":
        better = (
            "part and not best" if best.combine.name == "max" else ("best and not part")
        )
    else:
        better = f"part {'>' if best.combine.name == 'max' else '<'} best"
    if floating:
        better = f"{better} or (part != part and best == best)"
    source.open(f"if where_best < 0 or {better}:")
    source.add("best = part")
    source.open("for j in range(column, stop):")
    source.add(f"{x.value} = {load}")
    same = f"{x.value} == part"
    if floating:
        same += f" or {x.value} != {x.value}"
    source.open(f"if {same}:")
    source.add("where_best = i + j - column", "break")
    source.close()
    source.close()
    source.close()
    source.add("i += stop - column")
    source.close()
    source.add(f"{best.operand.name}[task] = best")
    source.add(f"{index.operand.name}[task] = where_best")
    source.close()
    return 2


_FORMS = {
    "flat": _flat,
    "strided": _strided,
    "tiled": _tiled,
    "inner": _inner,
    "outer": _outer,
    "arg": _arg,
}
