"""`source(device="cuda")` where there is no GPU, no simulator, and no numba-cuda."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_SCRIPT = """
import importlib.metadata, sys
sys.modules["numba_cuda"] = None  # as if it were not installed
real = importlib.metadata.version
def version(name):
    if name == "numba-cuda":
        raise importlib.metadata.PackageNotFoundError(name)
    return real(name)
importlib.metadata.version = version

import numtensor as nt
from numtensor import nn
from numtensor.kernels import compiler

layers = nn.Linear(4, 5), nn.LayerNorm(5), nn.Dropout(0.1), nn.Linear(5, 3)
model = nn.Sequential(*layers)
optimizer = nt.optim.Adam(model.parameters())

@nt.jit
def step(x, target):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), target)
    loss.backward()
    optimizer.step()
    return loss

x, target = nt.randn(6, 4), nt.tensor([0, 1, 2, 0, 1, 2])
for _ in range(2):
    step(x, target)
before = compiler.statistics["compiled"], step.source()
text = step.source(device="cuda")
assert step.source(device="cuda:0") == step.source(nt.device("cuda", 0)) == text
assert step.source("cpu") == before[1]
assert compiler.statistics["compiled"] == before[0]

# nothing of it stays behind
assert not nt.cuda.is_available()
try:
    nt.ones(2, device="cuda")
except nt.errors.DeviceError as error:
    assert "no package numba-cuda" in str(error)
else:
    raise AssertionError("there is a device")
assert not [name for name in sys.modules if name.startswith("numba.cuda")]
try:
    step.source("tpu")
except nt.errors.DeviceError:
    pass
step(x, target)
print(text)
"""


@pytest.fixture(scope="module")
def text():
    """Return what a process without a GPU prints for one."""
    env = {k: v for k, v in os.environ.items() if k != "NUMBA_ENABLE_CUDASIM"}
    env |= {"NUMBA_DISABLE_CUDA": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        capture_output=True,
        text=True,
        timeout=120,
        env=env,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_kernel_is_a_file_of_its_own(text):
    assert text.startswith("# ")
    assert text.count("from numba import cuda") == text.count("@kernel(")
    assert text.count("@kernel(") > 3


def test_all_that_a_step_does_is_there(text):
    assert "matmul on CUDA" in text and "_sweeps:" in text and "adam" in text
    assert "random numbers" in text or "bernoulli" in text
    # nothing that only a CPU runs
    assert "pointer(" not in text


def test_it_is_python(text):
    compile(text, "kernels", "exec")
