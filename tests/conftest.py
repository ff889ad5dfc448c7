"""What holds for every test: fixed seeds, and no state left behind.

The kernel cache is the user's, or `NUMTENSOR_CACHE_DIR`'s: workers share it and it
outlives the run, since compiling is what tests spend their time on.
"""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import numtensor as nt
from numtensor import printing

SEED = 20240501

# a first example may have to compile a kernel
settings.register_profile(
    "numtensor",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)
settings.load_profile("numtensor")


def pytest_report_header() -> str:
    return f"seed: {SEED} (before each test, for random, numpy and numtensor)"


@pytest.fixture
def rng():
    """Return NumPy's generator, seeded."""
    return np.random.default_rng(SEED)


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
