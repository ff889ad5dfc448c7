"""Prints loop nests as the source of CUDA kernels: the elementwise forms.

Forms
    flat        operands are contiguous or one value; vectors of 16 bytes, then a tail
    strided     any layout: the index of a point is taken apart into places
    tiled       as strided, but square by square: operands that run across the others
                pass through shared memory, so that all are read along their neighbours
    rows        reductions, a block of threads to a result; in `reduce_emit`
    warp_rows   reductions, a warp to a result
    columns     reductions, a thread to a result
    search      the largest or smallest element and where it stands

Each is a grid-stride loop, so that any grid computes the whole. The parameters of a
kernel: stores, reductions, inputs, the layout table (but for `flat`), the number of
points or tasks, for `flat` how many of them vectors cover, scalars. Text only: compiles
nothing, and imports neither Numba nor LLVM.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..expr import FLOATS, Expr, Printer
from ..loops import ACROSS, UNIT, ZERO, Nest, Operand, itemsize
from ..text import INDENT, Source, import_lines
from .functions import expand

#: bytes of the widest load and store there is
VECTOR_BYTES = 16


def vector_width(dtypes: Sequence[str]) -> int:
    """Return how many elements a thread of the flat form handles at a time.

    As many as the widest operand has in 16 bytes.
    """
    return VECTOR_BYTES // max(itemsize(d) for d in dtypes)


def emit(nest: Nest) -> tuple[str, str]:
    """Return the kernel's name and its source."""
    from . import reduce_emit

    source = Source()
    forms = {"flat": _flat, "strided": _strided, "tiled": _tiled}
    forms |= reduce_emit.FORMS
    forms[nest.form](nest, source)
    # a kernel must not hide a word that it imports
    name = f"{nest.name}_all" if nest.name in source.calls else nest.name
    return name, _file(name, nest, source)


def _file(function: str, nest: Nest, source: Source) -> str:
    operands = [s.operand for s in nest.stores]
    operands += [r.operand for r in nest.reductions]
    operands += nest.inputs
    parameters = [(o.name, f"{o.dtype}*") for o in operands]
    if nest.form == "flat":
        parameters += [("n", "int64"), ("whole", "int64")]
    else:
        last = "n" if nest.form == "strided" else "tasks"
        parameters += [("table", "int64*"), (last, "int64")]
    parameters += nest.scalars
    title = ", ".join(f"{o.name} {o.dtype} ({o.step})" for o in operands)
    title = f"{nest.name} on CUDA, {nest.form}: {title}."
    return kernel_file(function, title, parameters, source)


def kernel_file(
    function: str, title: str, parameters: Sequence[tuple[str, str]], source: Source
) -> str:
    """Return the text of a kernel's file."""
    words = (source.calls | {"kernel"}) - {"math"}
    truths = [name for name, kind in parameters if kind == "bool*"]
    if truths:
        words.add("bools")
    text = [f'"""{title}"""', ""]
    if "math" in source.calls:
        text += ["import math", ""]
    text += ["from numba import cuda", ""]
    text += ["from numtensor.kernels.cuda.lang import (", *import_lines(words), ")", ""]
    names = ", ".join(name for name, _ in parameters)
    kinds = ", ".join(kind for _, kind in parameters)
    text += ["", f'@kernel("{kinds}")', f"def {function}({names}):"]
    text += [f"{INDENT}{name} = bools({name})" for name in truths]
    text += source.lines
    return "\n".join(text) + "\n"


def print_body(
    source: Source, loads: dict[str, str], results: list[tuple[str, Expr]]
) -> None:
    """Print loads, the expressions, and `target = value` for each result."""
    printer = Printer(expand, own_words=True)
    for name, place in loads.items():
        source.add(f"{name} = {place}")
    found = [(target, printer.name(value)) for target, value in results]
    source.add(*printer.lines)
    source.calls |= printer.calls
    for target, name in found:
        source.add(target.format(name))


def hoisted(nest: Nest, source: Source) -> None:
    """Load what is one value for all points before the loop begins."""
    for operand in nest.inputs:
        if operand.step == ZERO:
            source.add(f"{operand.value} = {operand.name}[0]")


def _flat(nest: Nest, source: Source) -> None:
    width = vector_width([o.dtype for o in nest.moving if o.step != ZERO])
    moving = [o for o in nest.inputs if o.step != ZERO]
    hoisted(nest, source)
    source.add("start = cuda.grid(1)", "step = cuda.gridsize(1)")
    how = _vectors(nest, width)
    if how == "none":
        source.add("i = start")
    else:
        _vector_loop(nest, source, moving, width, how)
        source.add(f"i = {width} * whole + start")
    source.open("while i < n:")
    loads = {o.value: f"{o.name}[i]" for o in moving}
    stores = [(f"{s.operand.name}[i] = {{}}", s.value) for s in nest.stores]
    print_body(source, loads, stores)
    source.add("i += step")
    source.close()


def _vector_loop(
    nest: Nest, source: Source, moving: Sequence[Operand], width: int, how: str
) -> None:
    source.add("group = start")
    source.open(f"while group < whole:  # {width} elements at a time")
    for o in moving:
        source.add(f"{o.name}s = {source.word(f'load_{width}')}({o.name}, group)")
    for s in nest.stores:
        name = s.operand.name
        source.add(f"{name}s = {source.word(f'blank_{width}')}({name})")
    source.word("with_lane")
    if moving:
        source.word("lane")
    if how == "loop":
        source.open(f"for k in range({width}):")
        _lane(nest, source, moving, "k")
        source.close()
    else:
        for k in range(width):
            _lane(nest, source, moving, str(k))
    for s in nest.stores:
        name = s.operand.name
        source.add(f"{source.word(f'store_{width}')}({name}, group, {name}s)")
    source.add("group += step")
    source.close()


#: functions of libdevice that hold a loop
_LOOPS = {"pow", "fmod"}
#: calls of libdevice's longest functions, and the lines that each of them is worth
_LONGEST, _LONGEST_LINES = re.compile(r"\berfc?\("), 60
#: lines of all elements of a vector that NVVM still unrolls
_MOST_LINES = 480


def _vectors(nest: Nest, width: int) -> str:
    """Return how the elements of a vector are gone through: "loop", "lanes" or "none".

    If NVVM does not unroll a loop over them, it takes the vectors apart in local
    memory; so the elements are printed one after the other. Powers of integers, of up
    to 500 lines, would take minutes to compile, and do without vectors.
    """
    body = Source()
    print_body(body, {}, [("{}", s.value) for s in nest.stores])
    long = sum(len(_LONGEST.findall(line)) for line in body.lines)
    lines = (len(body.lines) + _LONGEST_LINES * long) * width
    if lines > _MOST_LINES and not any(s.value.dtype in FLOATS for s in nest.stores):
        return "none"
    return "lanes" if lines > _MOST_LINES or body.calls & _LOOPS else "loop"


def _lane(nest: Nest, source: Source, moving: Sequence[Operand], k: str) -> None:
    """Print what is done for element k of a vector."""
    results = [
        (f"{s.operand.name}s = with_lane({s.operand.name}s, {k}, {{}})", s.value)
        for s in nest.stores
    ]
    print_body(source, {o.value: f"lane({o.name}s, {k})" for o in moving}, results)


def unravel(source: Source, index: str, sizes: Sequence[str], to: str) -> list[str]:
    """Print what takes an index apart; return its places, innermost first."""
    if not sizes:
        return []
    rest = index
    places = []
    for d, size in enumerate(sizes[:-1]):
        source.word("udiv")
        source.add(f"{to}_rest{d} = udiv({rest}, {size})")
        source.add(f"{to}{d} = {rest} - {to}_rest{d} * {size}")
        places.append(f"{to}{d}")
        rest = f"{to}_rest{d}"
    return [*places, rest]


class Table:
    """Reads the entries of a layout table, in their order, into names."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.next = 0

    def read(self, name: str, what: str = "") -> str:
        """Print the reading of the next entry; `what` is a comment."""
        comment = f"  # {what}" if what else ""
        self.source.add(f"{name} = table[{self.next}]{comment}")
        self.next += 1
        return name

    def skip(self) -> None:
        """Pass over an entry that the kernel does not need."""
        self.next += 1

    def sizes(self, prefix: str, rank: int) -> list[str]:
        """Read the sizes of dims, innermost first; the outermost's is not needed."""
        found = []
        for d in range(rank):
            if d < rank - 1:
                found.append(self.read(f"{prefix}{d}"))
            else:
                found.append("")
                self.skip()
        return found

    def strides(
        self, operand: Operand, prefix: str, rank: int, innermost: bool
    ) -> list[str]:
        """Read an operand's strides; where the class says what one is, it says "1" or
        "0" instead of a name."""
        found = []
        for d in range(rank):
            known = {UNIT: "1", ZERO: "0"}.get(operand.step)
            if d == 0 and innermost and known is not None:
                found.append(known)
                self.skip()
            else:
                found.append(self.read(f"{operand.name}_{prefix}{d}"))
        return found


def offset(places: Sequence[str], strides: Sequence[str]) -> str:
    """Return the source of an element's place: the sum of places times strides."""
    terms = []
    for place, stride in zip(places, strides, strict=True):
        if stride == "1":
            terms.append(place)
        elif stride != "0":
            terms.append(f"{place} * {stride}")
    return " + ".join(terms) or "0"


def _strided(nest: Nest, source: Source) -> None:
    (rank,) = nest.ranks
    table = Table(source)
    sizes = table.sizes("n", rank)
    strides = {o.name: table.strides(o, "s", rank, True) for o in nest.moving}
    source.add("i = cuda.grid(1)", "step = cuda.gridsize(1)")
    source.open("while i < n:")
    places = unravel(source, "i", sizes, "at")

    def place(o: Operand) -> str:
        return f"{o.name}[{offset(places, strides[o.name])}]"

    loads = {o.value: place(o) for o in nest.inputs}
    stores = [(place(s.operand) + " = {}", s.value) for s in nest.stores]
    print_body(source, loads, stores)
    source.add("i += step")
    source.close()


def _tiled(nest: Nest, source: Source) -> None:
    """A warp to a row of a tile of WARP x WARP, WARPS rows at a time."""
    (rank,) = nest.ranks
    table = Table(source)
    table.read("columns")
    table.read("rows")
    table.read("across", "tiles in a row of tiles")
    table.read("down")
    sizes = table.sizes("m", rank)
    steps = {}
    outer = {}
    for o in nest.moving:
        known = {UNIT: "1", ZERO: "0"}.get(o.step)
        if known is None:
            known = table.read(f"{o.name}_column")
        else:
            table.skip()
        steps[o.name] = [known, table.read(f"{o.name}_row")]
        outer[o.name] = [table.read(f"{o.name}_m{d}") for d in range(rank)]
    turned = [o for o in nest.inputs if o.step == ACROSS]
    source.calls |= {"udiv", "WARP", "WARPS"}
    if turned:
        source.word("PADDED")
    for o in turned:
        kind = source.word("bool_" if o.dtype == "bool" else o.dtype)
        source.add(f"{o.name}_tile = cuda.shared.array((WARP, PADDED), {kind})")
    source.add(
        "lane = cuda.threadIdx.x % WARP",
        "warp = cuda.threadIdx.x // WARP",
        "task = cuda.blockIdx.x",
    )
    source.open("while task < tasks:")
    source.add(
        "place = udiv(task, across)",
        "left = (task - place * across) * WARP",
        "number = udiv(place, down)",
        "top = (place - number * down) * WARP",
    )
    places = unravel(source, "number", sizes, "at")
    for o in nest.moving:
        source.add(f"{o.name}_base = {offset(places, outer[o.name])}")

    def element(o: Operand, column: str, row: str) -> str:
        text = offset([column, row], steps[o.name])
        return f"{o.name}[{o.name}_base{'' if text == '0' else f' + {text}'}]"

    source.add("row, column = top + lane, left + warp")
    source.open("for k in range(warp, WARP, WARPS):")
    source.open("if row < rows and column < columns:")
    for o in turned:
        source.add(f"{o.name}_tile[k, lane] = {element(o, 'column', 'row')}")
    source.close()
    source.add("column += WARPS")
    source.close()
    source.add("cuda.syncthreads()", "row, column = top + warp, left + lane")
    source.open("for k in range(warp, WARP, WARPS):")
    source.open("if row < rows and column < columns:")
    loads = {
        o.value: f"{o.name}_tile[lane, k]"
        if o in turned
        else element(o, "column", "row")
        for o in nest.inputs
    }
    stores = [
        (element(s.operand, "column", "row") + " = {}", s.value) for s in nest.stores
    ]
    print_body(source, loads, stores)
    source.close()
    source.add("row += WARPS")
    source.close()
    source.add("cuda.syncthreads()", "task += cuda.gridDim.x")
    source.close()


def tiled_table(
    dims: Sequence[int], strides: Sequence[Sequence[int]], side: int
) -> tuple[list[int], int]:
    """Layout table of the `tiled` form over tiles of `side`, and how many there are.

    [columns, rows, tiles across, down, outer sizes; of each operand its strides along
    columns and rows, then along the outer dims], the innermost dim first.
    """
    across, down = -(-dims[-1] // side), -(-dims[-2] // side)
    numbers = [dims[-1], dims[-2], across, down, *reversed(dims[:-2])]
    for s in strides:
        numbers += [s[-1], s[-2], *reversed(s[:-2])]
    tiles = across * down
    for size in dims[:-2]:
        tiles *= size
    return numbers, tiles


def strided_table(dims: Sequence[int], strides: Sequence[Sequence[int]]) -> list[int]:
    """Layout table of the `strided` form: sizes, then each operand's strides, the
    innermost dim first."""
    numbers = list(reversed(dims))
    for s in strides:
        numbers += reversed(s)
    return numbers


def carrier(dtype: str) -> str:
    """Return the dtype in which threads exchange values: none narrower than 32 bits."""
    if dtype in FLOATS or dtype == "int64":
        return dtype
    return "int32"
