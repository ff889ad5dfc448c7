"""Whole processes as contestants: the time to import, and a program from end to end."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.runner import Contestant, ContestantError
from benchmarks.workloads import Workload

LINEAR_FIT = Path(__file__).resolve().parents[1] / "examples" / "linear_fit.py"
IMPORT_LINE = "import numtensor as torch"
IMPORT = Workload("import", margins={"numpy": 0.25})
FIT = Workload("linear_fit", targets={"torch": 0.5})


class Program(Contestant):
    """A Python command timed from start to end, less a `bare` one where given."""

    def __init__(
        self, library: str, python: str, command: list[str], bare: Sequence[str] = ()
    ) -> None:
        # Started in an empty folder: an import must find what is installed.
        self.folder = tempfile.TemporaryDirectory()
        self.python, self.command, self.bare = python, command, bare
        version = f"print(getattr(__import__({library!r}), '__version__', '?'))"
        try:
            self.about = self._run(["-c", version]).strip()
        except ContestantError:
            self.close()
            raise

    def sample(self) -> float:
        bare = self._seconds(self.bare) if self.bare else 0.0
        return self._seconds(self.command) - bare

    def close(self) -> None:
        self.folder.cleanup()

    def has(self, module: str) -> bool:
        """Return whether the interpreter can import `module`."""
        code = f"import importlib.util as u; print(u.find_spec({module!r}) is not None)"
        return self._run(["-c", code]).strip() == "True"

    def _seconds(self, command: Sequence[str]) -> float:
        start = time.perf_counter_ns()
        self._run(command)
        return (time.perf_counter_ns() - start) * 1e-9

    def _run(self, command: Sequence[str]) -> str:
        done = subprocess.run(
            [self.python, *command],
            cwd=self.folder.name,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
        )
        if done.returncode:
            words = done.stderr.strip().splitlines() or [""]
            raise ContestantError(f"exit status {done.returncode}: {words[-1]}")
        return done.stdout


def import_time(library: str, python: str) -> Program:
    """Return the contestant for `import library` in a fresh process."""
    return Program(library, python, ["-c", f"import {library}"], ["-c", "pass"])


def linear_fit(library: str, python: str) -> Program:
    """Return the contestant for the linear fit, its import line exchanged."""
    if not LINEAR_FIT.exists():
        raise ContestantError(f"there is no examples/{LINEAR_FIT.name}")
    text = LINEAR_FIT.read_text(encoding="utf-8")
    if IMPORT_LINE not in text.splitlines():
        raise ContestantError(f"{LINEAR_FIT.name} has no line {IMPORT_LINE!r}")
    program = Program(library, python, [LINEAR_FIT.name])
    # The example draws its bar with tqdm where it finds it: say if one side lacks it.
    program.about += ", with tqdm" if program.has("tqdm") else ", without tqdm"
    copy = Path(program.folder.name, LINEAR_FIT.name)
    copy.write_text(text.replace(IMPORT_LINE, f"import {library} as torch"), "utf-8")
    return program
