"""Numba's threads: started without Numba, and shared with a program that uses it.

Each case is a process of its own, since a process has one set of threads.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from numtensor.kernels import compiler

USERS = """
import numba

@numba.njit(parallel=True, cache=True)
def users(n):
    total = 0
    for i in numba.prange(n):
        total += i
    return total
"""
START = """
import os, sys
import numtensor as nt
from numtensor.kernels import compiler, extensions

layer = os.environ.get("NUMBA_THREADING_LAYER")
if layer in extensions._POOLS:
    if extensions._load(f"np.ufunc.{extensions._POOLS[layer]}") is None:
        print("absent")
        sys.exit()

def ours():
    x = nt.ones(500_000)
    for _ in range(20):
        assert (x * 2.0 + 1.0).sum().item() == 1_500_000.0
    assert 0 <= nt.rand(300_000).min().item() < 1

def theirs():
    from users_of_numba import users
    for _ in range(20):
        assert users(1000) == 499_500
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("numba")
    (folder / "users_of_numba.py").write_text(USERS)

    def run(code, **variables):
        given = {
            **os.environ,
            "NUMBA_CACHE_DIR": str(folder),
            "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
            **variables,
        }
        done = subprocess.run(
            [sys.executable, "-c", START + code],
            capture_output=True,
            text=True,
            timeout=240,
            env=given,
        )
        assert done.returncode == 0, done.stderr
        if done.stdout == "absent\n":
            pytest.skip("Numba has no such threads here")
        return done.stdout.split()

    return run


pytestmark = pytest.mark.skipif(compiler.max_threads() < 2, reason="needs two cores")
LAYERS = ("omp", "workqueue")


@pytest.mark.parametrize("layer", LAYERS)
def test_a_warm_process_starts_threads_without_numba(run, layer):
    code = """
ours()
print("numba" in sys.modules, compiler._threaded.cache_info().currsize)
print(*extensions._launched, *(m for m in sys.modules if m.startswith("numba.")))
"""
    run(code)  # compiles
    assert run(code, NUMBA_THREADING_LAYER=layer) == ["False", "1", layer]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("order", ["ours theirs", "theirs ours"])
def test_a_program_uses_the_same_threads(run, layer, order):
    first, second = order.split()
    code = f"""
{first}()
{second}()
{first}()
import numba
numba.set_num_threads(1)
nt.set_num_threads(compiler.max_threads())
ours()
print(numba.threading_layer(), numba.get_num_threads(), *extensions._launched)
pool = sys.modules["numba.np.ufunc." + extensions._POOLS[layer]]
assert extensions.pool(1) is pool
assert pool.parallel_for == compiler.ctypes.cast(
    compiler._threaded()[1], compiler.ctypes.c_void_p
).value
"""
    launched = [layer] if first == "ours" else []
    assert run(code, NUMBA_THREADING_LAYER=layer) == [layer, "1", *launched]


def test_the_choice_is_left_to_numba_where_only_it_can_tell(run):
    code = """
ours()
import numba
print(numba.threading_layer(), *extensions._launched)
"""
    priority = "workqueue omp tbb"
    assert run(code, NUMBA_THREADING_LAYER_PRIORITY=priority) == ["workqueue"]
    # no extension module that loads
    lost = "extensions._load = lambda name: None\n" + code
    assert run(lost, NUMBA_THREADING_LAYER="workqueue") == ["workqueue"]


@pytest.mark.parametrize("variables", [{}, {"NUMBA_NUM_THREADS": "2"}])
def test_workqueue_is_never_asked_for_more_threads_than_it_has(run, variables):
    code = """
ours()
import numba
print(numba.config.NUMBA_NUM_THREADS)
theirs()
"""
    threads = variables.get("NUMBA_NUM_THREADS", str(compiler._cores()))
    found = run(code, NUMBA_THREADING_LAYER="workqueue", **variables)
    assert found == [threads]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("numba", ["", "import numba"], ids=["without", "with"])
def test_a_forked_child_may_use_numba(run, numba):
    """GNU OpenMP would wait for the parent's threads for ever."""
    code = f"""
ours()
{numba}
child = os.fork()
if child == 0:
    ours()
    theirs()
    import numba
    os._exit(0 if numba.threading_layer() == "workqueue" else 1)
ended, status = os.waitpid(child, 0)
ours()
theirs()
print(status, *extensions._launched)
"""
    status, *launched = run(code)
    if launched != ["omp"]:
        pytest.skip("threads that survive a fork")
    assert status == "0"


@pytest.mark.parametrize("layer", LAYERS)
def test_two_python_threads_spread_work_at_once(run, layer):
    code = """
import threading
faults = []

def work():
    try:
        ours()
    except BaseException as error:
        faults.append(error)

several = [threading.Thread(target=work) for _ in range(4)]
for thread in several:
    thread.start()
for thread in several:
    thread.join()
print(len(faults), "numba" in sys.modules)
"""
    assert run(code, NUMBA_THREADING_LAYER=layer) == ["0", "False"]
