"""The child: times the workloads of one group in one library, on request.

Run by path, `python worker.py LIBRARY MODULE FLAVOUR`, so that any interpreter that
has the library will do: only the standard library, that library and the module of
workloads are imported. Requests and answers are lines of JSON on stdin and stdout:
{"do": "prepare", "name": ..., "seconds": s} -> {"first": seconds, "repeat": n};
{"do": "sample"} -> {"seconds": per call}; {"do": "release"} -> {};
{"do": "first", "name": ...} -> {"first": seconds}, where no more is wanted;
{"do": "agree", "name": ..., "path": ...} -> {"difference": text}, of a module that
has `agree`.
What goes wrong inside a request is answered as {"error": text}.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def timed(run: Callable[[], Any], repeat: int) -> float:
    """Return the seconds that `repeat` calls take, garbage collection left on."""
    calls = range(repeat)
    start = time.perf_counter_ns()
    for _ in calls:
        run()
    return (time.perf_counter_ns() - start) * 1e-9


class Bench:
    """Answers the requests: the callable at hand and its repeat count."""

    def __init__(self, module: Any, flavour: str, texts: Any) -> None:
        self.module, self.flavour, self.group = module, flavour, texts.GROUP
        self.compare = getattr(texts, "agree", None)
        self.run: Callable[[], Any] = lambda: None
        self.repeat = 1

    def first(self, name: str) -> dict[str, Any]:
        """Make the data and time the first call."""
        call = self.group[name].make(self.flavour, self.module)
        start = time.perf_counter_ns()
        result = call()
        # JAX returns before the work is done: what is timed must wait for it.
        lazy = hasattr(result, "block_until_ready")
        if lazy:
            result.block_until_ready()
        first = (time.perf_counter_ns() - start) * 1e-9
        self.run = (lambda: call().block_until_ready()) if lazy else call
        return {"first": first}

    def prepare(self, name: str, seconds: float) -> dict[str, Any]:
        """Make the data, time the first call, fit the repeat count to `seconds`."""
        first = self.first(name)["first"]
        # A second or third call may compile, too (the second epoch is the first that
        # has a gradient to clear), and would be taken for the cost of a call.
        timed(self.run, 5)
        self.repeat = 1
        while (elapsed := timed(self.run, self.repeat)) < seconds / 2:
            self.repeat *= 2
        self.repeat = max(1, round(self.repeat * seconds / elapsed))
        return {"first": first, "repeat": self.repeat}

    def sample(self) -> dict[str, Any]:
        """Time the prepared workload once more."""
        return {"seconds": timed(self.run, self.repeat) / self.repeat}

    def agree(self, name: str, path: str) -> dict[str, Any]:
        """Compare a workload's results with those in a file, or write them there."""
        case = self.group[name]
        return {"difference": self.compare(case, self.flavour, self.module, path)}

    def release(self) -> dict[str, Any]:
        """Let go of the workload's data."""
        self.run = lambda: None
        return {}


def main(library: str, group_module: str, flavour: str) -> None:
    """Answer requests on stdin until it closes."""
    # Answers get a private descriptor, so that a library's prints cannot mix in.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(make: Callable[..., dict[str, Any]], **arguments: Any) -> None:
        try:
            value = make(**arguments)
        except Exception as error:
            value = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(value), file=answers, flush=True)

    # The checkout is on the path only while the workloads load: the library must be
    # the installed one, not a folder that happens to stand beside this package.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    texts = importlib.import_module(group_module)
    del sys.path[0]

    def describe() -> dict[str, Any]:
        module = importlib.import_module(library)
        threads = getattr(module, "get_num_threads", lambda: None)()
        about = f"{getattr(module, '__version__', '?')}, Python "
        about += platform.python_version() + (f", {threads} threads" if threads else "")
        return {"about": about}

    answer(describe)
    if library in sys.modules:
        name = "jax.numpy" if flavour == "jax" else library
        bench = Bench(importlib.import_module(name), flavour, texts)
        for request in sys.stdin:
            arguments = json.loads(request)
            answer(getattr(bench, arguments.pop("do")), **arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
