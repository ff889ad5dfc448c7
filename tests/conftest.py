"""What holds for every test: fixed seeds, and no state left behind.

The kernel cache is the user's, or `NUMTENSOR_CACHE_DIR`'s: workers share it and it
outlives the run, since compiling is what tests spend their time on.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, settings


def _gpus() -> int:
    """Ask the driver how many GPUs there are, without importing anything."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    fault = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count))
    return 0 if fault else count.value


if not _gpus():
    # before anything imports Numba, which reads it once
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"

import laws  # noqa: E402

import numtensor as nt  # noqa: E402
import numtensor.nn  # noqa: E402  declares the operators of its functions
from numtensor import printing  # noqa: E402

SEED = 20240501

# a first example may have to compile a kernel
settings.register_profile(
    "numtensor",
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.differing_executors,
        HealthCheck.function_scoped_fixture,  # `device` holds for all examples
    ],
)
settings.load_profile("numtensor")


def pytest_report_header() -> str:
    return f"seed: {SEED} (before each test, for random, numpy and numtensor)"


@pytest.fixture
def rng():
    """Return NumPy's generator, seeded."""
    return np.random.default_rng(SEED)


def pytest_collection_modifyitems(items):
    """Skip what needs a CUDA device where there is neither one nor numba-cuda."""
    if importlib.util.find_spec("numba_cuda") is None:
        skip = pytest.mark.skip(reason="numba-cuda is not installed")
        for item in items:
            if "cuda" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request):
    """Let the laws make their tensors on each device; the simulator's, if no GPU."""
    laws.DEVICE = request.param
    yield request.param
    laws.DEVICE = "cpu"


@pytest.fixture(autouse=True)
def _seeded():
    random.seed(SEED)
    np.random.seed(SEED)
    if hasattr(nt, "manual_seed"):
        nt.manual_seed(SEED)


@pytest.fixture(autouse=True)
def _nothing_leaks():
    """Fail a test that leaves a global setting changed, and put it back."""
    before = _settings()
    yield
    after = _settings()
    if after != before:
        nt.set_grad_enabled(before["grad mode"])
        nt.set_default_dtype(before["default dtype"])
        printing.set_printoptions(profile="default")
        changed = [name for name in before if before[name] != after[name]]
        pytest.fail(f"the test left changed: {', '.join(changed)}")


def _settings():
    return {
        "grad mode": nt.is_grad_enabled(),
        "default dtype": nt.get_default_dtype(),
        "print options": dict(printing.get_printoptions()),
    }
