"""What happens to kernels and random numbers in processes that a program starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

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
