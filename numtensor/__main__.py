"""The command line: `python -m numtensor warmup`, `cuda-check`, `info`, `clear-cache`.

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
from .kernels.cuda import driver
from .kernels.cuda.check import ARCHITECTURES, capability

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
    _cuda_check_options(commands.add_parser("cuda-check", help=_CUDA_CHECK))
    about = commands.add_parser("info", help="versions, machine, threads, cache")
    about.set_defaults(run=_info)
    clear = commands.add_parser("clear-cache", help="delete all cached kernels")
    clear.set_defaults(run=_clear)
    return parser


_CUDA_CHECK = "compile every CUDA kernel for GPUs that need not be there"


def _cuda_check_options(command: argparse.ArgumentParser) -> None:
    command.description = (
        _CUDA_CHECK + ", and print registers, memory, widths of accesses. Exits with 1 "
        "if a kernel does not compile, spills, or falls short of its form, and with 2 "
        "if there is nothing to compile with."
    )
    command.add_argument(
        "--arch", type=_architectures, default=",".join(ARCHITECTURES), metavar="LIST",
        help="such as sm_80,sm_90 (%(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--only", default="*", metavar="PATTERN", help="operators such as 'add*'"
    )
    command.add_argument("--all", action="store_true", help="all in every dtype")
    command.add_argument(
        "--jobs", type=_positive, default=_cores(), metavar="N", help="processes"
    )
    command.add_argument("--quiet", action="store_true", help="faults and totals only")
    command.set_defaults(run=_cuda_check)


def _architectures(text: str) -> tuple[str, ...]:
    found = tuple(part.strip() for part in text.split(","))
    for part in found:
        try:
            capability(part)
        except ValueError as error:
            raise argparse.ArgumentTypeError(
                f"got {part!r}; expected such as sm_80"
            ) from error
    return found


def _cuda_check(arguments: argparse.Namespace) -> int:
    from . import cuda_check

    return cuda_check.run(
        arguments.arch, arguments.only, arguments.all, arguments.jobs, arguments.quiet
    )


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
    found = [p for p in sorted(folder.iterdir()) if _OURS.fullmatch(p.name)]
    for device in sorted(folder.glob("cuda-*")):
        # what numba-cuda keeps beside the sources is named by it
        found += [p for p in sorted(device.rglob("*")) if p.is_file()]
    return found


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
    rows["CUDA"] = _cuda()
    rows["threads"] = str(compiler.num_threads())
    rows["cache"] = str(compiler.cache_dir())
    rows["cached kernels"] = f"{len(kernels)} ({_size(files):,} bytes with sources)"
    rows["memory pool"] = f"at most {storage.pool_limit():,} bytes"
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:{width}}  {value}")
    return 0


def _cuda() -> str:
    """Return the names of the devices, or what is missing."""
    try:
        api = driver.current()
        return ", ".join(api.properties(k).name for k in range(api.count()))
    except driver.Unavailable as error:
        return str(error).partition(": got ")[2].partition("; expected")[0]


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
