"""Whole steps, compiled: what `python -m benchmarks jit` times.

A maker gives a `Job`: the call that is timed, and how to read what calls have done.
Libraries are four here: numtensor jitted, PyTorch eager and compiled (each as its
users write it), JAX jitted (in `jit_jax`). All begin with the same numbers, from
NumPy, and do the same work; `agree` holds their results against each other. Nothing
of a library is imported here but by the maker of its flavour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workloads import Run, Workload

NUMTENSOR, EAGER, COMPILED, JAX = "numtensor", "torch", "torch.compile", "jax"
#: where the makers of each are
TEXTS = {
    NUMTENSOR: "jit_torch",
    EAGER: "jit_torch",
    COMPILED: "jit_compile",
    JAX: "jit_jax",
}
N = 10_000_000
EPOCHS = 2000
CALLS = 3  # before results are compared
TOLERANCE = 1e-3  # relative to the largest number of a result
ADAM_RATE = 1e-3
Arrays = dict[str, Any]


@dataclass
class Job:
    """A call to time, and how to read its result and the state it has changed."""

    call: Run
    found: Callable[[Any], Sequence[Any]]


@dataclass
class Case(Workload):
    """A workload with makers of jobs, and what its numbers are judged by.

    `least` is how many bytes have to be moved: what is read and written once.
    `memory` says whether that, and not arithmetic, is what takes the time. A call is
    `epochs` steps. `ratio` is the target against `against`: a library, or "" for the
    better of those that compile.
    """

    data: Callable[[], Arrays] = dict
    least: int = 0
    memory: bool = False
    epochs: int = 1
    ratio: float = 1.0
    against: str = ""

    def job(self, flavour: str, m: Any) -> Job:
        """Return the job of a library, newly made by the function of this name."""
        module = import_module(f"{__package__}.{TEXTS[flavour]}")
        job: Job = getattr(module, self.name)(m, **self.data())
        return job

    def make(self, flavour: str, m: Any) -> Run:
        return self.job(flavour, m).call


def agree(case: Case, flavour: str, m: Any, path: str) -> str:
    """Compare the results of some calls with those in a file; "" if they agree.

    Where there is no such file yet, it is written.
    """
    job = case.job(flavour, m)
    for _ in range(CALLS):
        result = job.call()
    results = [np.asarray(x, dtype=np.float32) for x in job.found(result)]
    if not Path(path).exists():
        np.savez(path, *results)
        return ""
    with np.load(path) as file:
        others = list(file.values())
    if [x.shape for x in results] != [x.shape for x in others]:
        return f"shapes {[x.shape for x in results]}, not {[x.shape for x in others]}"
    for k, (mine, other) in enumerate(zip(results, others, strict=True)):
        error = np.abs(mine - other).max() / np.abs(other).max()
        if not error <= TOLERANCE:
            return f"result {k} differs by {error:.2g} of its largest number"
    return ""


# What the makers are given


def normal(seed: int, *shape: int) -> Any:
    """Return normally distributed float32 numbers, the same everywhere."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def readings() -> Arrays:
    t_c = [0.5, 14.0, 15.0, 28.0, 11.0, 8.0, 3.0, -4.0, 6.0, 13.0, 21.0]
    t_u = [35.7, 55.9, 58.2, 81.9, 56.3, 48.9, 33.9, 21.8, 48.4, 60.4, 68.4]
    return {
        "t_c": np.asarray(t_c, np.float32),
        "t_u": np.asarray(t_u, np.float32) * np.float32(0.1),
    }


def weights(*sizes: int) -> list[Any]:
    """Return the weight and bias of each linear layer between those sizes."""
    arrays = []
    for k, (n, m) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        arrays += [normal(k, m, n) * np.float32(n**-0.5), normal(k + 9, m) * 0]
    return arrays


def network() -> Arrays:
    columns = {name: x.reshape(-1, 1) for name, x in readings().items()}
    return columns | {"weights": weights(1, 13, 1)}


def digits() -> Arrays:
    # Each image comes twice, its labels contradicting: a loss that reaches zero would
    # end in subnormal numbers, which take longer.
    images = np.abs(normal(0, 32, 1, 8, 8))
    labels = np.random.default_rng(1).integers(0, 10, 32)
    return {
        "images": np.concatenate([images, images]),
        "labels": np.concatenate([labels, (labels + 1) % 10]),
        "weights": weights(64, 128, 10),
    }


def pair(*shape: int) -> Callable[[], Arrays]:
    return lambda: {"x": normal(0, *shape), "y": normal(1, *shape)}


def moments() -> Arrays:
    return {"p": normal(0, N), "g": normal(1, N)}


def scores() -> Arrays:
    labels = np.random.default_rng(1).integers(0, 1000, 8192)
    return {"x": normal(0, 8192, 1000), "labels": labels}


def layer() -> Arrays:
    rows = {"x": normal(0, 8192, 1024), "y": normal(1, 8192, 1024)}
    return rows | {"w": normal(2, 1024), "b": normal(3, 1024)}


CASES = [
    Case("thermometer", data=readings, ratio=0.3, against=JAX),
    Case("thermometer_repeat", data=readings, ratio=1.5, against=JAX, epochs=EPOCHS),
    Case("tanh_adam", data=network, ratio=0.5, against=JAX),
    Case("digits_adam", data=digits, ratio=0.7),
    Case("gelu_grad", data=pair(N), least=4 * 4 * N),
    Case("mse_grad", data=pair(N), least=4 * 3 * N, memory=True),
    Case("clamp_where_exp", data=pair(N), least=4 * 3 * N, memory=True),
    Case("adam_update", data=moments, least=4 * 7 * N, memory=True),
    Case("cross_entropy_grad", data=scores, least=4 * 2 * 8192 * 1000, memory=True),
    Case("layer_norm_grad", data=layer, least=4 * 4 * 8192 * 1024, memory=True),
]
GROUP = {case.name: case for case in CASES}
