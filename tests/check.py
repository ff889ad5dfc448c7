"""The one check command: `python tests/check.py`, with `--all` for the slow tests too.

Runs every stage, whatever became of the one before, and ends with a line for each.
Needs no network and no GPU. Kernels are compiled into the usual cache folder, so a
second run is faster.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: folders of source, and the length beyond which a file has to be split
SOURCES = ("numtensor", "kernels", "tests", "examples", "benchmarks", "docs")
MOST_LINES = 600

Stage = Callable[[], bool]


def python(*arguments: str) -> Stage:
    """Return the stage that runs `python -m ...` and passes if it exits with 0."""

    def run() -> bool:
        command = [sys.executable, "-m", *arguments]
        return subprocess.run(command, cwd=ROOT, check=False).returncode == 0

    return run


def long_files() -> list[tuple[int, str]]:
    """Return (lines, path) of the files over the limit, the longest first."""
    found = []
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*.py"):
            lines = path.read_text(encoding="utf-8").count("\n")
            if lines > MOST_LINES:
                found.append((lines, path.relative_to(ROOT).as_posix()))
    return sorted(found, reverse=True)


def sizes() -> bool:
    """List the files that are too long; pass if there are none."""
    found = long_files()
    for lines, name in found:
        print(f"{name}: {lines} lines; expected at most {MOST_LINES}. Split it.")
    if not found:
        print(f"no file is longer than {MOST_LINES} lines")
    return not found


def stages(slow: bool) -> dict[str, Stage]:
    """Return the stages in their order, the quick ones first."""
    # neighbours share kernels, so a worker gets them in a row
    tests = ["pytest", "tests", "-n", "auto", "--dist", "worksteal"]
    if not slow:
        tests += ["-m", "not slow"]
    return {
        "format": python("ruff", "format", "--check", "."),
        "lint": python("ruff", "check", "."),
        "types": python("mypy"),
        "sizes": sizes,
        "doctests": python("pytest", "--doctest-modules", "numtensor", "-q"),
        "tests": python(*tests),
    }


def paint(text: str, code: int) -> str:
    """Colour a word where it goes to a terminal."""
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return text
    return f"\033[{code}m{text}\033[0m"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stages; return 1 if any of them failed."""
    parser = argparse.ArgumentParser(prog="python tests/check.py")
    parser.add_argument("--all", action="store_true", help="the slow tests too")
    options = parser.parse_args(argv)
    summary = []
    failed = 0
    for name, run in stages(options.all).items():
        print(f"== {name}", flush=True)
        start = time.perf_counter()
        passed = run()
        seconds = time.perf_counter() - start
        failed += not passed
        verdict = paint("passed", 32) if passed else paint("FAILED", 31)
        summary.append(f"{name:10}{verdict}{seconds:8.1f} s")
        print(flush=True)
    print("\n".join(summary))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
