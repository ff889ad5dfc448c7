"""Compiles kernels for GPUs that are not there, and says what is wrong with them.

NVVM turns a kernel into PTX and `ptxas` turns that into machine code; neither needs a
GPU. Both texts are read here: how wide the accesses to global memory are, how many
bytes move for an element, what registers, stack and shared memory a thread takes.
`cuda-check` decides which kernels, and prints. Knows nothing of operators and tensors.

Bytes moved. A flat kernel stores each element of its outputs once, in loops with global
stores and no such loop inside; those with the widest stores are its vector loops, also
where NVVM has unrolled them. The bytes that one of them stores, by the size of an
element in all outputs, are the elements of a trip, and the bytes that it loads and
stores, by those elements, are what an element moves; the worst loop counts. The least
is the size of an element in all operands with a step: one value for all points is read
before the loop. Fewer bytes than the least mean an operand that the result does not
depend on; more, one that is read twice. Instructions are counted, not transactions:
what a cache does is not known here.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..loops import itemsize
from . import sources
from .driver import simulating
from .emit import VECTOR_BYTES

#: Ampere, Hopper and Blackwell, as data centres have them
ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
#: libdevice takes large arguments of sin, cos and tan modulo pi / 2 by the method of
#: Payne and Hanek, with a table of the bits of 2 / pi and up to five float64 words in
#: local memory. It is off the usual path, and there is no other function to call.
_PAYNE_HANEK_TABLE = "__cudart_i2opi_"
_PAYNE_HANEK_BYTES = 40
#: and in float32 it ends by a product with pi / 2**65, in float64
_PAYNE_HANEK_PRODUCT = re.compile(
    r"cvt\.rn\.f64\.s64|mul\S*\.f64.*0d3BF921FB54442D19|cvt\.rn\.f32\.f64"
)


# What there is to compile with


def missing() -> str:
    """Return what keeps this machine from compiling kernels; empty if nothing does."""
    if simulating():
        return "NUMBA_ENABLE_CUDASIM, with which nothing is compiled"
    if importlib.util.find_spec("numba_cuda") is None:
        return "no package numba-cuda"
    if ptxas() is None:
        return "no program ptxas"
    from numba.cuda.cudadrv import nvvm

    try:
        nvvm.NVVM()
        nvvm.LibDevice()
    except Exception as error:
        return f"no NVVM ({error})"
    return ""


@functools.cache
def ptxas() -> str | None:
    """Return the path of `ptxas`: of NVIDIA's wheels, Conda's, CUDA_HOME's or PATH's.

    That is where numba-cuda looks for NVVM, whose PTX an older ptxas would refuse.
    """
    folders = [Path(sys.prefix, "bin")]
    found = importlib.util.find_spec("nvidia")
    for root in map(Path, (found and found.submodule_search_locations) or ()):
        folders += [root / "cuda_nvcc" / "bin", *sorted(root.glob("cu[0-9]*/bin"))]
    folders += [
        Path(os.environ[name], "bin")
        for name in ("CUDA_HOME", "CUDA_PATH")
        if name in os.environ
    ]
    paths = [*map(str, folders), os.environ.get("PATH", os.defpath)]
    return shutil.which("ptxas", path=os.pathsep.join(paths))


# What the source of a kernel says of itself


@dataclass(frozen=True)
class Operand:
    """What a kernel is given: `step` is that of its nest, empty if there is none, and
    "number" for a number instead of a tensor."""

    name: str
    dtype: str
    step: str
    written: bool


_TITLE = re.compile(r'"""[^"]*? on CUDA, (\w+):')
_STEPS = re.compile(r"(\w+) \w+ \((\w+)\)")
_KERNEL = re.compile(r'@kernel\("([^"]*)"\)\s+def \w+\(([^)]*)\)')
_COUNTS = ("table", "n", "whole", "tasks")
_WRITTEN = re.compile(r"store_\d+\((\w+),|^\s*(\w+)\[.*\] = ", re.MULTILINE)


def form_of(source: str) -> str:
    """Return the form of a kernel's loop nest; "by hand" if nothing printed it."""
    found = _TITLE.match(source)
    return found[1] if found else "by hand"


def operands(source: str) -> tuple[Operand, ...]:
    """Return the tensors of a kernel, then its numbers, in the order of parameters."""
    found = _KERNEL.search(source)
    if found is None:
        return ()
    steps = dict(_STEPS.findall(source.partition("\n")[0]))
    written = {a or b for a, b in _WRITTEN.findall(source)}
    pairs = zip(found[2].split(", "), found[1].split(", "), strict=False)
    printed = form_of(source) != "by hand"
    given = []
    for name, kind in pairs:
        if kind.endswith("*") and name != "table":
            step = steps.get(name, "")
            given.append(Operand(name, kind[:-1], step, name in written))
        elif printed and name not in _COUNTS:
            given.append(Operand(name, kind, "number", False))
    return tuple(given)


# What ptxas says


@dataclass(frozen=True)
class Usage:
    """What a thread takes; bytes, but for `registers`."""

    registers: int = 0
    stack: int = 0
    spill_stores: int = 0
    spill_loads: int = 0
    shared: int = 0  # of a block


_FRAME = re.compile(
    r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
)


def usage(log: str) -> Usage:
    """Read what `ptxas -v` prints; functions that a kernel calls count with it."""
    frames = [tuple(map(int, numbers)) for numbers in _FRAME.findall(log)]
    return Usage(
        max(map(int, re.findall(r"Used (\d+) registers", log)), default=0),
        max((f[0] for f in frames), default=0),
        sum(f[1] for f in frames),
        sum(f[2] for f in frames),
        sum(map(int, re.findall(r"(\d+) bytes smem", log))),
    )


# What PTX says


@dataclass(frozen=True)
class Access:
    """A load from global memory, or a store; `line` counts from 0."""

    line: int
    store: bool
    bits: int


_ACCESS = re.compile(r"\s*(?:@!?%\w+\s+)?(ld|st)((?:\.[\w:]+)+)\s")
_ELSEWHERE = ("param", "shared", "local", "const")
#: libdevice's tables; it alone loads by way of the read-only cache, and only from them
_LIBRARY_TABLE, _READ_ONLY = "__cudart_", "nc"
_STACK = "__local_depot"
_BRANCH = re.compile(r"\s*(?:@!?%\w+\s+)?bra(?:\.uni)?\s+([$\w]+);")
_LABEL = re.compile(r"([$\w]+):")
_LOCAL = re.compile(r"\.local (?:\.align \d+ )?\.b8\s+\w+\[(\d+)\]")
_DOUBLE = re.compile(r"\s*(?:@!?%\w+\s+)?[a-z]\S*\.f64\b")


def accesses(ptx: str) -> list[Access]:
    """Return the accesses to global memory, but for libdevice's tables.

    NVVM says of every pointer of a kernel that it is global; an access of which it does
    not say counts, too, unless there is a stack that it may go to.
    """
    stack, tables = _STACK in ptx, _LIBRARY_TABLE in ptx
    found = []
    for number, line in enumerate(ptx.splitlines()):
        match = _ACCESS.match(line)
        if match is None:
            continue
        words = match[2].split(".")[1:]
        if any(word.startswith(_ELSEWHERE) for word in words):
            continue
        if (stack and "global" not in words) or (tables and _READ_ONLY in words):
            continue
        count = next((int(w[1:]) for w in words if re.fullmatch(r"v\d", w)), 1)
        bits = re.search(r"\d+$", words[-1])
        if bits is not None:
            found.append(Access(number, match[1] == "st", count * int(bits[0])))
    return found


def loops(ptx: str) -> list[tuple[int, int]]:
    """Return the first and last lines of loops: a label, and the last jump back to it.

    A label belongs to one function, so that text with several needs no more care.
    """
    labels: dict[str, int] = {}
    ends: dict[int, int] = {}
    for number, line in enumerate(ptx.splitlines()):
        if match := _LABEL.match(line):
            labels[match[1]] = number
        elif (match := _BRANCH.match(line)) and match[1] in labels:
            ends[labels[match[1]]] = number
    return sorted(ends.items())


def vector_loops(ptx: str) -> list[list[Access]]:
    """Return the accesses of each vector loop: see the top of this file."""
    every = accesses(ptx)
    bodies = []
    for first, last in loops(ptx):
        body = [a for a in every if first < a.line < last]
        if any(a.store for a in body):
            bodies.append((first, last, body))
    bodies = [
        (first, last, body)
        for first, last, body in bodies
        if not any(first < f and t < last for f, t, _ in bodies)
    ]
    widest = max((_widest(body, True) for *_, body in bodies), default=0)
    return [body for *_, body in bodies if _widest(body, True) == widest]


def _widest(found: Iterable[Access], store: bool) -> int:
    return max((a.bits for a in found if a.store is store), default=0)


@dataclass(frozen=True)
class Traffic:
    """What PTX says of memory: bits of the widest accesses, bytes of an element.

    `load` and `store` are those inside loops: what is outside, such as reading the
    layout table, happens once for a thread. `narrowest` is the narrowest access of the
    vector loops, `moved` and `least` are None for a kernel that is not flat. `local`
    bytes are not in registers. `doubles` counts instructions on float64, but for those
    that sin, cos and tan cannot avoid.
    """

    load: int = 0
    store: int = 0
    narrowest: int = 0
    moved: float | None = None
    least: int | None = None
    local: int = 0
    payne_hanek: bool = False
    doubles: int = 0


def traffic(ptx: str, form: str, given: Sequence[Operand]) -> Traffic:
    """Read the PTX of a kernel of a form, with these operands."""
    every, spans = accesses(ptx), loops(ptx)
    every = [a for a in every if any(f < a.line < t for f, t in spans)] or every
    trips = vector_loops(ptx) if form == "flat" else []
    payne_hanek = _PAYNE_HANEK_TABLE in ptx
    doubles = [line for line in ptx.splitlines() if _DOUBLE.match(line)]
    if payne_hanek:
        doubles = [d for d in doubles if not _PAYNE_HANEK_PRODUCT.search(d)]
    outputs = sum(itemsize(o.dtype) for o in given if o.written)
    moved = least = None
    if trips and outputs:
        moved = max(_moved(trip, outputs) for trip in trips)
        least = sum(
            itemsize(o.dtype) for o in given if o.step not in ("zero", "number")
        )
    return Traffic(
        _widest(every, False),
        _widest(every, True),
        min((a.bits for trip in trips for a in trip), default=0),
        moved,
        least,
        sum(map(int, _LOCAL.findall(ptx))),
        payne_hanek,
        len(doubles),
    )


def _moved(trip: Sequence[Access], outputs: int) -> float:
    """Return the bytes that an element moves, `outputs` of which are stored."""
    total = sum(a.bits for a in trip)
    return outputs * total / sum(a.bits for a in trip if a.store)


# What is wrong


def faults(
    form: str, given: Sequence[Operand], found: Traffic, used: Usage
) -> list[str]:
    """Return what a kernel must not do and does."""
    wrong = []
    if used.spill_stores or used.spill_loads:
        wrong.append(
            f"spills registers: {used.spill_stores} bytes stored, "
            f"{used.spill_loads} loaded"
        )
    elif found.local > (_PAYNE_HANEK_BYTES if found.payne_hanek else 0):
        wrong.append(f"keeps {found.local} bytes in local memory instead of registers")
    elif used.stack > -(-found.local // 8) * 8:
        wrong.append(f"has a stack of {used.stack} bytes that its source does not need")
    if found.moved is not None and found.moved > (found.least or 0):
        wrong.append(
            f"moves {found.moved:g} bytes for an element whose operands have "
            f"{found.least}"
        )
    if any(o.dtype != "float32" for o in given if o.step != "number"):
        return wrong
    if form == "flat" and any(o.step == "unit" for o in given):
        bits = 8 * VECTOR_BYTES
        if found.narrowest != bits:
            wrong.append(
                f"has no loop of {bits}-bit accesses only: the narrowest of its "
                f"vector loop is of {found.narrowest} bits"
            )
    if form in ("flat", "strided", "tiled") and found.doubles:
        wrong.append(
            f"has {found.doubles} instructions on float64, and operands of float32"
        )
    return wrong


@dataclass(frozen=True)
class Result:
    """What became of a kernel on one architecture."""

    arch: str
    usage: Usage = Usage()
    traffic: Traffic = Traffic()
    faults: tuple[str, ...] = ()


def check(name: str, path: Path, source: str, archs: Sequence[str]) -> list[Result]:
    """Compile a kernel for each architecture; what goes wrong is a fault, no error."""
    try:
        texts = _ptx(sources.function(name, path, source), archs)
    except Exception as error:
        return [Result(arch, faults=(_refused("numba-cuda", error),)) for arch in archs]
    form, given = form_of(source), operands(source)
    results = []
    for arch, text in zip(archs, texts, strict=True):
        if isinstance(text, Exception):
            results.append(Result(arch, faults=(_refused("NVVM", text),)))
            continue
        found = traffic(text, form, given)
        status, log = _assemble(text, arch)
        if status:
            wrong = _refused("ptxas", RuntimeError(log))
            results.append(Result(arch, Usage(), found, (wrong,)))
            continue
        used = usage(log)
        wrongs = tuple(faults(form, given, found, used))
        results.append(Result(arch, used, found, wrongs))
    return results


def _refused(who: str, error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Numba says first in which of its passes, and then what
    told = " ".join(lines[:3]) if lines else type(error).__name__
    return f"does not compile ({who}: {told})"


def _ptx(function: Any, archs: Sequence[str]) -> list[str | Exception]:
    """Return the PTX for each architecture, or what NVVM said instead.

    Numba's front end takes twice the time of NVVM and makes the same of a kernel for
    any architecture but its mangled name, so it runs once, where numba-cuda has a way.
    """
    from numba.cuda import compiler

    from .words import compile_for, signature_of

    once = getattr(compiler, "_compile_pyfunc_with_fixup", None)
    library = None
    if once is not None:
        library, _ = once(
            function,
            signature_of(function.parameters),
            device=False,
            abi="numba",
            cc=capability(archs[0]),
        )
    texts: list[str | Exception] = []
    for arch in archs:
        cc = capability(arch)
        try:
            if library is not None:
                texts.append("\n".join(library.get_asm_strs(cc=cc)))
            else:
                texts.append(compile_for(function, function.parameters, cc))
        except Exception as error:
            texts.append(error)
    return texts


def capability(arch: str) -> tuple[int, int]:
    """Return the compute capability of an architecture: (10, 0) for "sm_100".

    Raises: ValueError, no architecture's name.
    """
    if re.fullmatch(r"sm_\d{2,3}", arch) is None:
        raise ValueError(arch)
    return int(arch[3:-1]), int(arch[-1])


def _assemble(ptx: str, arch: str) -> tuple[int, str]:
    """Return the exit status of `ptxas` and what it printed."""
    program = ptxas()
    assert program is not None
    with tempfile.TemporaryDirectory(prefix="numtensor-") as folder:
        text, code = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        text.write_text(ptx)
        done = subprocess.run(
            [program, "-v", f"-arch={arch}", str(text), "-o", str(code)],
            capture_output=True,
            text=True,
            check=False,
        )
    return done.returncode, done.stdout + done.stderr
