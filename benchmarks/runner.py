"""The parent: starts one contestant per library and takes samples in turn.

Rounds go A B C A B C, so that the drift of a busy machine falls on all alike; a
ratio is the median of the ratios of single rounds for the same reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import Measurement, Progress, Result
from benchmarks.workloads import FLAVOURS, Workload

WORKER = Path(__file__).with_name("worker.py")
SAMPLE = 0.02  # seconds of work in one sample
# Worker threads of OpenMP keep spinning for a moment after their work; without a
# pause they would run into the sample of the next library.
PAUSE = 0.01


class ContestantError(Exception):
    """A library that is missing, or a workload that failed in it."""


class Contestant:
    """One library taking part in a group: what `measure` asks of it."""

    about = ""

    def offers(self, workload: Workload) -> bool:
        """Return whether this library has the workload."""
        return True

    def prepare(self, workload: Workload) -> float:
        """Make ready and return the seconds of the first call."""
        return self.sample()

    def sample(self) -> float:
        """Return the seconds of one call, newly measured."""
        raise NotImplementedError

    def release(self) -> None:
        """Let go of the prepared workload."""

    def close(self) -> None:
        """End the process or remove the files that were kept."""


class Worker(Contestant):
    """A library in a live process of its own, spoken to over pipes."""

    def __init__(
        self,
        library: str,
        python: str,
        module: str,
        seconds: float = SAMPLE,
        flavour: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.flavour, self.seconds = flavour or FLAVOURS[library], seconds
        self.process = subprocess.Popen(
            [python, str(WORKER), library, module, self.flavour],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=None if environment is None else {**os.environ, **environment},
        )
        try:
            self.about = self._answer()["about"]
        except ContestantError:
            self.close()
            raise

    def offers(self, workload: Workload) -> bool:
        return self.flavour in workload.makers

    def prepare(self, workload: Workload) -> float:
        answer = self._ask(do="prepare", name=workload.name, seconds=self.seconds)
        return float(answer["first"])

    def sample(self) -> float:
        return float(self._ask(do="sample")["seconds"])

    def release(self) -> None:
        self._ask(do="release")

    def close(self) -> None:
        self.process.communicate()

    def _ask(self, **request: Any) -> dict[str, Any]:
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass  # the worker is gone; the missing answer says so
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise ContestantError(f"the process ended, status {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ContestantError(answer["error"])
        return answer


def measure(
    workload: Workload,
    contestants: Mapping[str, Contestant],
    rounds: int,
    progress: Progress,
) -> Result:
    """Prepare the workload in every library, then sample them in turn."""
    able = {k: c for k, c in contestants.items() if c.offers(workload)}
    found = {library: Measurement(library) for library in able}
    for turn in range(rounds + 1):
        for library, contestant in able.items():
            progress.step(f"{workload.name} {library}")
            m = found[library]
            try:
                if turn == 0:
                    m.first = contestant.prepare(workload)
                elif not m.error:
                    time.sleep(PAUSE)
                    m.samples.append(contestant.sample())
                if turn == rounds and not m.error:
                    contestant.release()
            except ContestantError as error:
                m.error = f"failed: {error}"
    return Result(workload, found)


def run(
    title: str,
    workloads: Sequence[Workload],
    libraries: Sequence[str],
    make: Callable[[str], Contestant],
    rounds: int,
) -> tuple[list[Result], dict[str, str]]:
    """Measure every workload; return the results and a line about each library.

    A library that is missing stands in the results of the workloads that have a
    target against it, so that a check cannot pass for want of a comparison.
    """
    contestants: dict[str, Contestant] = {}
    facts: dict[str, str] = {}
    results = []
    try:
        for library in libraries:
            try:
                contestants[library] = make(library)
                facts[library] = contestants[library].about
            except (ContestantError, OSError) as error:
                facts[library] = f"skipped ({error})"
        offered = sum(c.offers(w) for w in workloads for c in contestants.values())
        progress = Progress(title, offered * (rounds + 1))
        for workload in workloads:
            result = measure(workload, contestants, rounds, progress)
            for library in libraries:
                if library in workload.targets or library in workload.margins:
                    missing = Measurement(library, error="not measured")
                    result.found.setdefault(library, missing)
            results.append(result)
        progress.close()
    finally:
        for contestant in contestants.values():
            contestant.close()
    return results, facts
