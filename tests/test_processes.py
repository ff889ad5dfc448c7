"""What happens to kernels and random numbers in processes that a program starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from numtensor.kernels import compiler

FORK = """
import json, os
import numtensor as nt
x = nt.ones(500_000)
{before}
read, write = os.pipe()
if os.fork() == 0:
    y = (x * 2.0 + 1.0).sum().item()
    os.write(write, json.dumps([y, nt.rand(2).tolist()]).encode())
    os._exit(0)
os.close(write)
child = json.loads(os.read(read, 1000) or b"null")
os.wait()
print(json.dumps([child, (x * 2.0 + 1.0).sum().item()]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("before", ["", "x * 2.0"], ids=["cold", "threads started"])
def test_a_forked_child_computes(before):
    # GNU OpenMP ends a child that goes on using its parent's threads
    code = FORK.format(before=before)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    child, parent = json.loads(done.stdout)
    assert child is not None, done.stderr
    assert child[0] == parent == 1_500_000.0
    assert all(0 <= value < 1 for value in child[1])


def test_thread_count_is_checked_and_limited():
    before = compiler.num_threads()
    try:
        compiler.set_num_threads(1)
        assert compiler.num_threads() == 1
        compiler.set_num_threads(10_000)
        assert 1 <= compiler.num_threads() <= (os.cpu_count() or 1)
        with pytest.raises(ValueError, match="got 0; expected a positive integer"):
            compiler.set_num_threads(0)
    finally:
        compiler.set_num_threads(before)


def test_thread_count_from_the_environment():
    code = "from numtensor.kernels import compiler; print(compiler.num_threads())"
    for value, expected in (("1", "1"), ("0", None), ("many", None)):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={**os.environ, "NUMTENSOR_NUM_THREADS": value},
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == (expected or str(compiler.max_threads()))


THREADS = """
import threading
import numtensor as nt

faults = []

def work(number):
    try:
        for n in (3, 300_000, 11, 200_000) * 5:
            x = nt.full((n,), 0.5, requires_grad=True)
            (x * x + number).sum().backward()
            assert x.grad.tolist()[:2] == [1.0, 1.0]
            assert 0 <= nt.rand(n).min().item() < 1
    except Exception as error:
        faults.append(repr(error))

threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(faults)
"""


def test_many_threads_meet_numba_and_its_threads_at_once():
    """The first large operators of several threads start Numba's threads, and import
    it where a kernel is new, while others compile or run."""
    done = subprocess.run(
        [sys.executable, "-c", THREADS], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
