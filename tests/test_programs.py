"""Programs written for PyTorch run with one line changed, and print the same."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

#: two sums of float32 in another order differ by so much, relatively
ROUNDING = 1e-5
NUMBER = re.compile(r"-?\d+\.\d*(?:e[+-]\d+)?")
PROGRAMS = sorted((Path(__file__).parent / "programs").glob("[a-z]*.py"))


def as_numtensor(text):
    """Return the program with `numtensor` where it imports `torch`."""
    text = re.sub(r"^import torch$", "import numtensor as torch", text, flags=re.M)
    return re.sub(r"^import torch\.", "import numtensor.", text, flags=re.M)


def printed(text, tmp_path):
    path = tmp_path / "program.py"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_same_text(found, expected):
    """Texts are equal, their fractions to the last digit printed, or to rounding."""
    for a, b in zip(found.splitlines(), expected.splitlines(), strict=True):
        assert NUMBER.sub("#", a).split() == NUMBER.sub("#", b).split()
        for x, y in zip(NUMBER.findall(a), NUMBER.findall(b), strict=True):
            digits = len(y.partition("e")[0].partition(".")[2])
            last = 10.0**-digits * 10.0 ** int(y.partition("e")[2] or 0)
            close = 1.01 * last + ROUNDING * abs(float(y))
            assert abs(float(x) - float(y)) <= close, f"{a!r}, not {b!r}"


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.stem)
def test_a_program_prints_what_pytorch_prints(program, tmp_path):
    expected = program.with_suffix(".txt").read_text(encoding="utf-8")
    found = printed(as_numtensor(program.read_text(encoding="utf-8")), tmp_path)
    assert_same_text(found, expected)


@pytest.mark.torch
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.stem)
def test_what_was_recorded_is_what_pytorch_prints(program, tmp_path):
    pytest.importorskip("torch")
    found = printed(program.read_text(encoding="utf-8"), tmp_path)
    assert_same_text(found, program.with_suffix(".txt").read_text(encoding="utf-8"))
