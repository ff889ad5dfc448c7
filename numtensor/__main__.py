"""The command line: `python -m numtensor warmup`, `info` and `clear-cache`.

What a user types and reads. The work is in `warmup` and in the rooms it asks.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__, storage
from .kernels import compiler

#: what the compiler writes, and what a write that was cut short leaves
_OURS = re.compile(r".+_[0-9a-f]{16}\.(py|o)([a-z0-9_]{8})?")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    arguments = _parser().parse_args(argv)
    return arguments.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m numtensor")
    commands = parser.add_subparsers(required=True)
    ahead = commands.add_parser("warmup", help="compile the common kernels ahead")
    ahead.add_argument("--all", action="store_true", help="float64 besides float32")
    ahead.add_argument(
        "--only", default="*", metavar="PATTERN", help="operators such as 'add*'"
    )
    ahead.add_argument(
        "--jobs", type=_positive, default=_cores(), metavar="N", help="processes"
    )
    ahead.add_argument("--quiet", action="store_true", help="no progress bar")
    ahead.set_defaults(run=_warmup)
    about = commands.add_parser("info", help="versions, machine, threads, cache")
    about.set_defaults(run=_info)
    clear = commands.add_parser("clear-cache", help="delete all cached kernels")
    clear.set_defaults(run=_clear)
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {value}; expected 1 or more")
    return value


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _warmup(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from . import warmup

    found = warmup.jobs(arguments.only, arguments.all)
    with tqdm(total=len(found), unit="op", disable=arguments.quiet) as bar:

        def done(report: warmup.Report) -> None:
            bar.set_postfix_str(report.job.name, refresh=False)
            bar.update()

        compiled, linked, seconds, errors = warmup.run_all(found, arguments.jobs, done)
    print(
        f"{compiled} kernels compiled, {linked} linked from disk in {seconds:.1f} s: "
        f"{compiler.cache_dir()}"
    )
    for error in errors:
        print(f"failed: {error}", file=sys.stderr)
    return 1 if errors else 0


def _files() -> list[Path]:
    folder = compiler.cache_dir()
    return [p for p in sorted(folder.iterdir()) if _OURS.fullmatch(p.name)]


def _size(files: Sequence[Path]) -> int:
    """Bytes of files; another process may be deleting them."""
    total = 0
    for path in files:
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total


def _info(arguments: argparse.Namespace) -> int:
    files = _files()
    kernels = [p for p in files if p.suffix == ".o"]
    rows = {"numtensor": __version__, "Python": platform.python_version()}
    for package in ("numba", "llvmlite", "numpy"):
        rows[package] = importlib.metadata.version(package)
    rows["system"] = platform.platform()
    rows["CPU"] = _cpu_name()
    rows["threads"] = str(compiler.num_threads())
    rows["cache"] = str(compiler.cache_dir())
    rows["cached kernels"] = f"{len(kernels)} ({_size(files):,} bytes with sources)"
    rows["memory pool"] = f"at most {storage.pool_limit():,} bytes"
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:{width}}  {value}")
    return 0


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _clear(arguments: argparse.Namespace) -> int:
    files = _files()
    freed = _size(files)
    for path in files:
        path.unlink(missing_ok=True)
    print(f"{len(files)} files, {freed:,} bytes deleted from {compiler.cache_dir()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
