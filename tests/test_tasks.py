"""Kernels written by hand as tasks: one text, two targets."""

from __future__ import annotations

import laws
import numpy as np
import pytest

import numtensor as nt
from numtensor import launch
from numtensor.kernels import tasks
from numtensor.kernels.by_hand.ramp import ramp
from numtensor.kernels.expr import apply, var

pytestmark = pytest.mark.usefixtures("device")


def row_logsumexp(dtype):
    """Log of the sum of exponentials of each row: loops, branches, functions."""

    def build(s):
        s.add("most = x[i * n]")
        s.open("for k in range(1, n):")
        s.open("if x[i * n + k] > most:")
        s.add("most = x[i * n + k]")
        s.close()
        s.close()
        s.add(f"total = {dtype}(0)")
        s.open("for k in range(n):")
        s.add("power = x[i * n + k] - most")
        s.add(f"total += {s.value(apply('exp', var('power', dtype)))}")
        s.close()
        s.add(f"out[i] = (most + {s.value(apply('log', var('total', dtype)))}) * scale")

    return tasks.Tasks(
        ("test", "row_logsumexp", dtype),
        f"row_logsumexp_{dtype}",
        f"Log of sums of exponentials of rows, {dtype}.",
        (("out", dtype), ("x", dtype)),
        build,
        numbers=("n",),
        scalars=(("scale", dtype),),
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_kernel_over_rows(dtype):
    values = np.random.default_rng(1).normal(size=(7, 5)).astype(dtype)
    x = laws.made(values)
    out = nt.empty(7, dtype=x.dtype, device=x.device)
    call = launch.by_tasks(row_logsumexp(dtype), 7, (5,), out.device)
    call.run(call.kernel, call.n, out.data_ptr(), x.data_ptr(), call.table, 2.0)
    expected = 2 * np.log(np.exp(values.astype("float64")).sum(1))
    np.testing.assert_allclose(
        laws.numpy_of(out), expected, rtol=1e-5 if dtype == "float32" else 1e-13
    )


def test_a_kernel_without_numbers():
    out = nt.zeros(5, dtype=nt.int64, device=laws.DEVICE)
    call = launch.by_tasks(ramp(), 5, (), out.device)
    call.run(call.kernel, call.n, out.data_ptr(), call.table, 7, -2)
    assert laws.numpy_of(out).tolist() == [7, 5, 3, 1, -1]


def test_many_rows_are_shared_by_threads():
    values = np.random.default_rng(1).normal(size=(3000, 100))
    x = nt.from_numpy(values)
    out = nt.empty(3000, dtype=nt.float64)
    call = launch.by_tasks(row_logsumexp("float64"), 3000, (100,), cost=800)
    call.run(call.kernel, call.n, out.data_ptr(), x.data_ptr(), call.table, 1.0)
    np.testing.assert_allclose(out.numpy(), np.log(np.exp(values).sum(1)), rtol=1e-12)


def test_words_of_tasks_mean_something_on_both_targets():
    from numtensor.kernels import lang
    from numtensor.kernels.cuda import lang as cuda_lang

    for word in tasks.WORDS:
        assert hasattr(lang, word) and hasattr(cuda_lang, word), word
