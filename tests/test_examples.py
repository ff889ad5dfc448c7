"""The examples run, say what they should, and draw their pictures."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
RUNS = {
    "tanh_network": ["--epochs", "5000"],
    "wine_regression": [],
    "digits": [],
    "grayscale": ["--step", "4"],
}


def run(name, *arguments):
    """Run an example; return what it prints."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *arguments],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def needs(*modules):
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs {module}")


@pytest.mark.parametrize("name", RUNS)
def test_an_example_learns_and_draws(name, tmp_path):
    needs("sklearn", "matplotlib")
    picture = tmp_path / "picture.png"
    text = run(name, *RUNS[name], "--plot", str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert text.strip()
    if name == "digits":  # over 97 % right of those not seen, or its status is 1
        assert text.count("digits it has not seen") == 2


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("digits", ["--images", "10", "--epochs", "1", "--width", "2", "--batch", "4"]),
        ("tanh_network", ["--epochs", "2"]),
        ("grayscale", ["--step", "60"]),
    ],
)
def test_an_example_on_a_gpu(name, arguments):
    needs("sklearn", "numba_cuda")
    assert run(name, "--device", "cuda", *arguments)
