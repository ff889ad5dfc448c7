"""The line that a terminal shows while `jit` compiles, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pty = pytest.importorskip("pty")

_SCRIPT = """
import time
import numtensor as nt

def slow_step(x):
    time.sleep({seconds})
    y = x
    for k in range({kernels}):
        y = (y @ y).tanh() + k
    return y

jitted = nt.jit(slow_step)
x = nt.zeros(300, 300)
{before}jitted(x)
jitted(x)
print("done")
"""


_SOON = "from numtensor.jit import notice; notice._PATIENCE = 0.1\n"


def shown(seconds=0.0, kernels=1, before="", terminal=True, **environment):
    """Return what a process writes to standard error, a terminal or a pipe."""
    script = _SCRIPT.format(seconds=seconds, kernels=kernels, before=before)
    mine, other = pty.openpty() if terminal else os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=other,
        env=os.environ | environment,
    )
    os.close(other)
    written = b""
    while True:
        try:
            part = os.read(mine, 65536)
        except OSError:  # how a terminal says that nobody writes any more
            break
        if not part:
            break
        written += part
    os.close(mine)
    out, _ = process.communicate(timeout=60)
    assert out.decode().strip() == "done", written
    return written.decode()


def test_it_says_what_is_compiled_and_is_gone_at_the_end():
    shown()  # so that no kernel is compiled below
    written = shown(seconds=1.4)
    start = "numtensor: compiling slow_step(): recording what it does, 0 done, 1."
    assert start in written
    # written over itself, in one line, and then over with blanks
    assert "\n" not in written and written.endswith("\r")
    lines = written.split("\r")
    assert lines[0] == "" and lines[-2].strip() == "" and len(lines[-2]) > 20


def test_it_names_the_kernel(tmp_path):
    at_once = "from numtensor.jit import notice; notice._PATIENCE = 0.0\n"
    at_once += "notice._PERIOD = 0.005\n"
    written = shown(kernels=2, before=at_once, NUMTENSOR_CACHE_DIR=str(tmp_path))
    assert "compiling slow_step(): kernel fused_" in written
    assert ", 1 done, 0." in written or ", 1 done, 1." in written


def test_what_is_quick_says_nothing():
    shown()  # compiles
    assert shown() == ""


def test_it_can_be_switched_off():
    assert shown(seconds=0.4, before=_SOON) != ""
    assert shown(seconds=0.4, before=_SOON, NUMTENSOR_PROGRESS="0") == ""


def test_only_terminals_see_it():
    assert shown(seconds=0.4, before=_SOON, terminal=False) == ""


def test_an_error_leaves_a_clean_line():
    fails = "try:\n    nt.jit(lambda x: (time.sleep(0.4), x.no()))(x)\n"
    fails += "except AttributeError:\n    pass\n"
    written = shown(before=_SOON + fails)
    assert "compiling <lambda>()" in written
    assert written.endswith("\r") and written.split("\r")[-2].strip() == ""
