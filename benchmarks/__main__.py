"""The command line: `python -m benchmarks GROUP ...`."""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import os
import platform
import sys
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from benchmarks import programs, report, runner
from benchmarks.workloads import FLAVOURS

LIVE = {
    "small": "benchmarks.workloads.small",
    "large": "benchmarks.workloads.large",
}
JIT = "jit"
WHOLE: dict[str, tuple[Any, Any, Sequence[str]]] = {
    "import": (programs.import_time, programs.IMPORT, list(FLAVOURS)),
    "linear_fit": (programs.linear_fit, programs.FIT, ["numtensor", "torch"]),
}


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line, `libs` a list and `python` a dict."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [*LIVE, *WHOLE, JIT]
    add = functools.partial(parser.add_argument, metavar="")
    parser.add_argument("groups", nargs="+", choices=names)
    add("--rounds", type=int, default=9, help="samples of each (default 9)")
    add("--libs", default=",".join(FLAVOURS), help="libraries; ratios are of the first")
    add("--python", action="append", default=[], help="LIB=PATH, its interpreter")
    add("--only", default="*", help="pattern of workload names, such as 'add*'")
    add("--json", help="file to write every sample to")
    parser.add_argument("--check", action="store_true", help="fail on a missed target")
    options = parser.parse_args(argv)
    options.libs = options.libs.split(",")
    options.python = dict(text.partition("=")[::2] for text in options.python)
    if unknown := {*options.libs, *options.python} - set(FLAVOURS):
        parser.error(f"got {', '.join(unknown)}; expected one of {', '.join(FLAVOURS)}")
    if options.rounds < 1:
        parser.error("--rounds: got less than 1; expected at least 1")
    if options.check and options.libs[0] != report.BASE:
        parser.error(
            f"--check: the targets are {report.BASE}'s; name it first in --libs"
        )
    return options


def chosen(workloads: Iterable[Any], pattern: str) -> list[Any]:
    """Return those whose name matches the pattern."""
    return [w for w in workloads if fnmatchcase(w.name, pattern)]


def run_group(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one group, print its table, and return it as plain data."""
    if name == JIT:
        # imported here for it needs NumPy, as no other group does
        cases = importlib.import_module("benchmarks.workloads.jit").GROUP.values()
        measure = importlib.import_module("benchmarks.jit").run_group
        data: dict[str, Any] = measure(chosen(cases, options.only), options)
        return data
    libraries, base = options.libs, options.libs[0]
    if name in LIVE:
        make = functools.partial(runner.Worker, module=LIVE[name])
        workloads = list(importlib.import_module(LIVE[name]).GROUP.values())
    else:
        make, workload, able = WHOLE[name]
        workloads = [workload]
        libraries = [library for library in libraries if library in able]
    results, facts = runner.run(
        name,
        chosen(workloads, options.only),
        libraries,
        lambda lib: make(lib, options.python.get(lib, sys.executable)),
        options.rounds,
    )
    print("\n".join([f"== {name} ==", *(f"{k}: {v}" for k, v in facts.items())]))
    print(report.table(results, base), end="\n\n")
    return {
        "group": name,
        "libraries": facts,
        "results": [row for result in results for row in result.rows(base)],
        "targets": [text for result in results for text in result.verdicts()],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the groups named on the command line; return the exit status."""
    options = arguments(argv)
    machine = f"{platform.platform()}, {os.cpu_count()} processors"
    print(
        f"{machine}; {options.rounds} interleaved rounds, samples of about "
        f"{runner.SAMPLE * 1e3:.0f} ms in live processes, garbage collection on, "
        "default threads.\nTimes are per call (import, linear_fit: per process); a "
        "first call includes compiling, or loading what a cache on disk holds.\n"
    )
    groups = [run_group(name, options) for name in options.groups]
    if options.json:
        data = {"machine": machine, "rounds": options.rounds, "groups": groups}
        Path(options.json).write_text(json.dumps(data, indent=1), encoding="utf-8")
    if not options.check:
        return 0
    targets = [text for group in groups for text in group["targets"]]
    missed = [text for text in targets if not text.endswith(" met")]
    met = len(targets) - len(missed)
    print("\n".join([*missed, f"{met} of {len(targets)} targets met"]))
    return 0 if targets and not missed else 1


if __name__ == "__main__":
    sys.exit(main())
