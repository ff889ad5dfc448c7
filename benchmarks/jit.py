"""Whole steps, compiled, beside PyTorch and JAX: `python -m benchmarks jit`.

Four contestants: numtensor's jit, PyTorch as it is, torch.compile (of the same
interpreter) and JAX's jit. Each first shows that its results are those of the others,
then how long a first call takes in a new process, with a folder for compiled code
that is empty and with the one left behind; then live processes are timed in turn as
in the other groups, with a copy of ten million numbers by all processors among them,
whose speed is what memory can give. What is held to the targets is in
`workloads.jit`; this module only measures and judges.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

from benchmarks import runner
from benchmarks.report import Measurement, Result, duration
from benchmarks.runner import SAMPLE, Contestant, ContestantError, Worker
from benchmarks.workloads import Workload
from benchmarks.workloads.jit import COMPILED, EAGER, JAX, NUMTENSOR, Case

MODULE = "benchmarks.workloads.jit"
COPY = "copy"
#: most seconds of a first call: with an empty folder for compiled code, and later
FIRST, WARM = 1.5, 0.1
#: most of the geometric mean of the large ones' ratios, and least share of a copy's
#: bandwidth for those bound by memory
MEAN, SHARE = 0.5, 0.85


def cached_in(folder: str) -> dict[str, str]:
    """Return the settings that make every library keep its compiled code there."""
    return {
        "NUMTENSOR_CACHE_DIR": f"{folder}/numtensor",
        "TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor",
        "TRITON_CACHE_DIR": f"{folder}/triton",
        "JAX_COMPILATION_CACHE_DIR": f"{folder}/jax",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


class Peer(Worker):
    """One library, or one way to use it; also starts it anew for first calls."""

    def __init__(self, name: str, python: str, results: Path) -> None:
        self.name, self.python, self.results = name, python, results
        self.warm: dict[str, float] = {}
        self.library = name.partition(".")[0]
        super().__init__(self.library, python, MODULE, SAMPLE, name)
        if name == COMPILED and not (shutil.which("c++") or shutil.which("g++")):
            self.close()
            raise ContestantError("there is no C++ compiler, which it needs")

    def offers(self, workload: Workload) -> bool:
        return True

    def prepare(self, workload: Workload) -> float:
        path = str(self.results / f"{workload.name}.npz")
        answer = self._ask(do="agree", name=workload.name, path=path)
        if difference := answer["difference"]:
            raise ContestantError(f"other results: {difference}")
        with tempfile.TemporaryDirectory() as folder:
            first = self._first(workload, folder)
            self.warm[workload.name] = self._first(workload, folder)
        super().prepare(workload)
        self.epochs = workload.epochs if isinstance(workload, Case) else 1
        return first

    def sample(self) -> float:
        return super().sample() / self.epochs

    def _first(self, workload: Workload, folder: str) -> float:
        """Return the seconds of the first call in a new process."""
        environment = cached_in(folder)
        new = Worker(self.library, self.python, MODULE, 0.0, self.name, environment)
        try:
            return float(new._ask(do="first", name=workload.name)["first"])
        finally:
            new.close()


class Copy(Contestant):
    """All processors copying one array to another: 10 million float32 numbers."""

    bytes = 4 * 10_000_000
    turns = 10  # about as long as a sample of the others

    def __init__(self) -> None:
        self.threads = len(os.sched_getaffinity(0))
        self.about = f"memmove, {self.threads} threads"
        self.pool = ThreadPoolExecutor(self.threads)
        memories = [mmap.mmap(-1, self.bytes) for _ in range(2)]
        for memory in memories:
            memory.write(b"\1" * self.bytes)  # now there are pages
        self.views = [ctypes.c_char.from_buffer(memory) for memory in memories]

    def offers(self, workload: Workload) -> bool:
        return isinstance(workload, Case) and workload.least > 0

    def sample(self) -> float:
        start = time.perf_counter_ns()
        for done in [self.pool.submit(self._part, k) for k in range(self.threads)]:
            done.result()
        return (time.perf_counter_ns() - start) * 1e-9 / self.turns

    def _part(self, k: int) -> None:
        size = self.bytes // self.threads
        to, source = (ctypes.addressof(view) + k * size for view in self.views)
        for _ in range(self.turns):
            ctypes.memmove(to, source, size)

    def close(self) -> None:
        self.pool.shutdown()


# Judging


def rival(result: Result) -> str:
    """Return the compiled peer to beat: the one named, or the faster; "" if none."""
    case = result.workload
    if isinstance(case, Case) and case.against:
        names = [case.against]
    else:
        names = [COMPILED, JAX]
    found = [result.found[name] for name in names if name in result.found]
    able = [m for m in found if m.samples and not m.error]
    return min(able, key=lambda m: median(m.samples)).library if able else ""


def ratio(result: Result) -> float:
    """Return the ratio to the compiled peer to beat, nan if not measured."""
    return result.compare(NUMTENSOR, rival(result)) or math.nan


def share(result: Result) -> float:
    """Return the bandwidth as a share of the copy's, nan if not measured."""
    case = result.workload
    moved = case.least / (2 * Copy.bytes) if isinstance(case, Case) else math.nan
    return moved / (result.compare(NUMTENSOR, COPY) or math.nan)


def large(results: Sequence[Result]) -> list[Result]:
    return [r for r in results if isinstance(r.workload, Case) and r.workload.least]


def verdict(title: str, value: float, limit: float, kind: str = "ratio") -> str:
    """Return a target and its outcome; it ends in " met" where it is.

    >>> verdict("step", 0.25, 0.3), verdict("copy", math.nan, 0.85, "share")
    ('step: 0.25, <= 0.3 met', 'copy: >= 85% not measured')
    """
    least = kind == "share"
    shown = {"ratio": "{:.3g}".format, "time": duration, "share": "{:.0%}".format}
    text = f"{'>=' if least else '<='} {shown[kind](limit)}"
    if math.isnan(value):
        return f"{title}: {text} not measured"
    met = value >= limit if least else value <= limit
    return f"{title}: {shown[kind](value)}, {text} {'met' if met else 'MISSED'}"


def verdicts(results: Sequence[Result], warm: dict[str, float]) -> list[str]:
    """Return one line per target."""
    lines = []
    for result in results:
        case, name = result.workload, result.workload.name
        if not isinstance(case, Case):
            continue
        peer = rival(result) or case.against or f"{COMPILED} or {JAX}"
        ours = result.found[NUMTENSOR]
        first = math.nan if ours.error else ours.first
        again = math.nan if ours.error else warm.get(name, math.nan)
        lines += [
            verdict(f"{name} against {peer}", ratio(result), case.ratio),
            verdict(f"{name}, first call", first, FIRST, "time"),
            verdict(f"{name}, first call from a warm cache", again, WARM, "time"),
        ]
        if case.memory:
            title = f"{name}, share of a copy's bandwidth"
            lines.append(verdict(title, share(result), SHARE, "share"))
    if some := large(results):
        title = "geometric mean of the large ones"
        lines.append(verdict(title, mean(some), MEAN))
    return lines


def mean(results: Sequence[Result]) -> float:
    """Return the geometric mean of the ratios, nan if one is not measured."""
    ratios = [ratio(result) for result in results]
    return math.nan if any(map(math.isnan, ratios)) else geometric_mean(ratios)


# Showing


def table(results: Sequence[Result], warm: dict[str, dict[str, float]]) -> str:
    """Return the aligned table: one line per workload and library."""
    lines = [["workload", "library", "first", "warm", "median", "min", "nt/it", ""]]
    for result in results:
        title = result.workload.name
        ours_first = sorted(result.found.values(), key=lambda m: m.library != NUMTENSOR)
        for m in ours_first:
            cells = [title, m.library, *[""] * 5, m.error]
            if m.samples and not m.error:
                cells[4:6] = [duration(median(m.samples)), duration(min(m.samples))]
                if (again := warm.get(m.library, {}).get(result.workload.name)) is None:
                    cells[7] = f"{2 * Copy.bytes / median(m.samples) * 1e-9:.1f} GB/s"
                else:
                    cells[2:4] = [duration(m.first), duration(again)]
                value = result.compare(NUMTENSOR, m.library)
                if m.library not in (NUMTENSOR, COPY) and value is not None:
                    cells[6] = f"{value:.3g}"
                if m.library == NUMTENSOR and result in large(results):
                    cells[7] = f"{share(result):.0%} of the copy's bandwidth"
            lines.append(cells)
            title = ""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if k in (0, 1, 7) else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in lines
    )


def run_group(cases: Sequence[Workload], options: Any) -> dict[str, Any]:
    """Measure, print the table and the verdicts, and return all as plain data."""
    # The first gives the results that the others' are compared with: not numtensor.
    names = [name for name in (EAGER, JAX, NUMTENSOR) if name in options.libs]
    if EAGER in names:
        names.insert(names.index(EAGER) + 1, COMPILED)
    if any(isinstance(case, Case) and case.least for case in cases):
        names.append(COPY)
    warm: dict[str, dict[str, float]] = {}

    def make(name: str) -> Contestant:
        if name == COPY:
            return Copy()
        library = name.partition(".")[0]
        peer = Peer(name, options.python.get(library, sys.executable), Path(folder))
        warm[name] = peer.warm
        return peer

    with tempfile.TemporaryDirectory() as folder:
        results, facts = runner.run("jit", cases, names, make, options.rounds)
    for result in results:
        absent = Measurement(NUMTENSOR, error="not measured")
        result.found.setdefault(NUMTENSOR, absent)
    targets = verdicts(results, warm.get(NUMTENSOR, {}))
    print("\n".join(["== jit ==", *(f"{k}: {v}" for k, v in facts.items())]))
    print(table(results, warm), *targets, sep="\n", end="\n\n")
    return {
        "group": "jit",
        "libraries": facts,
        "results": [
            {
                "workload": result.workload.name,
                "library": m.library,
                "first": m.first,
                "warm": warm.get(m.library, {}).get(result.workload.name),
                "samples": m.samples,
                "error": m.error,
            }
            for result in results
            for m in result.found.values()
        ],
        "targets": targets,
    }
