"""The text of emitted kernels: a change to it is a change that shows in a diff.

`NUMTENSOR_RENEW_SNAPSHOTS=1 pytest tests/test_source.py` writes them anew.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import numtensor as nt
from numtensor.kernels import compiler
from numtensor.kernels.cuda import driver, matmul, random

SNAPSHOTS = Path(__file__).parent / "snapshots"


def _add_flat():
    x = nt.ones(8)
    return nt.kernel_source(nt.add, x, x)


def _add_number():
    return nt.kernel_source(nt.add, nt.ones(8), 2.0)


def _mul_strided():
    return nt.kernel_source(nt.mul, nt.ones(4, 6)[:, ::2], nt.ones(3))


def _add_tiled():
    x = nt.ones(256, 256)
    return nt.kernel_source(nt.add, x, x.t())


def _exp_float32():
    return nt.kernel_source(nt.exp, nt.ones(8))


def _where_mixed():
    x = nt.ones(8, dtype=nt.int32)
    return nt.kernel_source(nt.where, x > 0, x, 0.5)


def _sum_inner():
    return nt.kernel_source(nt.sum, nt.ones(8))


def _mean_blocks():
    return nt.kernel_source(nt.mean, nt.ones(100_000))


def _amax_int():
    return nt.kernel_source(nt.amax, nt.ones(8, dtype=nt.int16))


FRESH = """
import numtensor as nt
from numtensor.kernels import compiler
from numtensor.kernels.cuda import driver, matmul, random
{code}
found = [k for k in compiler._kernels.values() if k.name == {name!r}]
assert len(found) == 1, found
print(found[0].path.read_text(), end="")
"""


def _in_fresh_process(name, code):
    """The source of the one kernel called `name` that `code` makes a process load."""
    done = subprocess.run(
        [sys.executable, "-c", FRESH.format(code=code, name=name)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _sum_outer():
    return _in_fresh_process("nansum", "nt.ones(16, 64).nansum(0)")


def _argmax():
    return _in_fresh_process("argmax", "nt.ones(8, dtype=nt.float64).argmax()")


def _backward_broadcast():
    code = """
x = nt.ones(16, 3, requires_grad=True)
y = nt.ones(3, requires_grad=True)
nt.hypot(x, y).sum().backward()
"""
    return _in_fresh_process("hypot_backward", code)


def _on_cuda(make):
    """A program whose forms follow from the sizes of the simulator's blocks."""

    def program():
        if not (nt.cuda.is_available() and driver.current().simulated):
            pytest.skip("needs Numba's CUDA simulator")
        return make()

    program.__name__ = make.__name__
    return program


@_on_cuda
def _cuda_add_flat():
    x = nt.ones(8, device="cuda")
    return nt.kernel_source(nt.add, x, 2.0)


@_on_cuda
def _cuda_where_mixed():
    x = nt.ones(8, dtype=nt.int32, device="cuda")
    return nt.kernel_source(nt.where, x > 0, x, 0.5)


@_on_cuda
def _cuda_mul_strided():
    x = nt.ones(4, 6, device="cuda")
    return nt.kernel_source(nt.mul, x[:, ::2], x[0, :3])


@_on_cuda
def _cuda_sum_short():
    return nt.kernel_source(nt.sum, nt.ones(8, device="cuda"))


@_on_cuda
def _cuda_mean_blocks():
    return nt.kernel_source(nt.mean, nt.ones(100, device="cuda"))


def _cuda_kernel(name, emit, *args):
    found, text = emit(*args)
    assert found == name
    return text


def _cuda_matmul():
    return _cuda_kernel("matmul", matmul.emit, "float32", "depth", "column", 1)


def _cuda_normal():
    return _cuda_kernel("normal_float32", random.emit, "normal", "float32")


PROGRAMS = {
    f.__name__.strip("_"): f
    for f in (
        _add_flat, _add_number, _mul_strided, _add_tiled, _exp_float32, _where_mixed,
        _sum_inner, _mean_blocks, _amax_int, _sum_outer, _argmax, _backward_broadcast,
        _cuda_add_flat, _cuda_where_mixed, _cuda_mul_strided, _cuda_sum_short,
        _cuda_mean_blocks, _cuda_matmul, _cuda_normal,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_source_is_the_recorded_one(name):
    text = PROGRAMS[name]()
    path = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("NUMTENSOR_RENEW_SNAPSHOTS"):
        SNAPSHOTS.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()
    compile(text, name, "exec")


def test_one_kernel_per_class_of_layouts():
    """Sizes and strides are not part of a kernel: another shape compiles nothing."""
    for shape in ((8,), (9,), (2, 5), (3, 4, 5)):
        nt.cosh(nt.ones(*shape))
    before = dict(compiler.statistics)
    for shape in ((1000,), (7, 11), (2, 3, 4, 5)):
        nt.cosh(nt.ones(*shape))
    assert compiler.statistics == before


def test_both_gradients_come_out_of_one_kernel():
    code = """
x = nt.ones(5, requires_grad=True)
y = nt.full((5,), 2.0, requires_grad=True)
nt.atan2(x, y).sum().backward()
"""
    text = _in_fresh_process("atan2_backward", code)
    assert "out0[i] =" in text and "out1[i] =" in text
