"""`cuda-check`: what it reads in PTX and in ptxas's log, what it refuses, what it says.

Compiling needs numba-cuda and ptxas, and a process without Numba's simulator, so the
tests that compile start one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from numtensor import cuda_check, warmup
from numtensor.kernels.cuda import check
from numtensor.kernels.cuda.check import Operand, Traffic, Usage
from numtensor.ops.registry import everything

can_compile = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None or check.ptxas() is None,
    reason="needs numba-cuda and ptxas",
)


def run(*words, **environment):
    """Run Python in a process that may compile for GPUs."""
    env = {k: v for k, v in os.environ.items() if k != "NUMBA_ENABLE_CUDASIM"}
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        timeout=300,
        env=env | environment,
    )


def command(*words, **environment):
    return run("-m", "numtensor", "cuda-check", *words, **environment)


# The source of a kernel

TITLE = "scale on CUDA, flat: out float32 (unit), x float32 (unit), g float32 (zero)."


def source(title, body, kinds="float32*, float32*, float32*", words="", more=""):
    """Return the text of a kernel of (out, x, g, n, whole), as `emit` prints them."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return f'''"""{title}"""

from numba import cuda

from numtensor.kernels.cuda.lang import (
    kernel,
    {words}
)


@kernel("{kinds}, int64, int64")
def scale(out, x, g, n, whole{more}):
{lines}
'''


GOOD = source(
    TITLE,
    """gi = g[0]
start = cuda.grid(1)
step = cuda.gridsize(1)
group = start
while group < whole:
    xs = load_4(x, group)
    outs = blank_4(out)
    for k in range(4):
        outs = with_lane(outs, k, lane(xs, k) * gi)
    store_4(out, group, outs)
    group += step
i = 4 * whole + start
while i < n:
    out[i] = x[i] * gi
    i += step""",
    words="blank_4, lane, load_4, store_4, with_lane,",
)


class TestSource:
    def test_form(self):
        assert check.form_of(GOOD) == "flat"
        assert (
            check.form_of('"""matmul on CUDA: float32, a along depth."""') == "by hand"
        )

    def test_operands(self):
        assert check.operands(GOOD) == (
            Operand("out", "float32", "unit", True),
            Operand("x", "float32", "unit", False),
            Operand("g", "float32", "zero", False),
        )

    def test_layout_tables_are_no_operands_and_numbers_are(self):
        text = '"""f on CUDA, strided: out bool (any)."""\n'
        text += '@kernel("bool*, int64*, int64, float32")\ndef f(out, table, n, y):\n'
        text += "    out[i * out_s0] = y > y"
        assert check.operands(text) == (
            Operand("out", "bool", "any", True),
            Operand("y", "float32", "number", False),
        )


# The log of ptxas

LOG = """
ptxas info    : 8 bytes gmem, 8 bytes cmem[4]
ptxas info    : Compiling entry function '_ZN3abc' for 'sm_80'
ptxas info    : Function properties for _ZN3abc
    40 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 34 registers, used 1 barriers, 64 bytes smem, 392 bytes cmem[0]
ptxas info    : Function properties for __internal_pow
    0 bytes stack frame, 4 bytes spill stores, 0 bytes spill loads
"""


def test_usage():
    assert check.usage(LOG) == Usage(34, 40, 12, 12, 64)
    assert check.usage("") == Usage()


# PTX: a vector loop unrolled twice, one that is not, and a tail

PTX = """
.visible .entry scale(
	.param .u64 scale_param_0
)
{
	.local .align 16 .b8 	__local_depot0[28];
	.reg .f64 	%fd<2>;
	ld.param.u64 	%rd1, [scale_param_0];
	ld.global.u64 	%rd9, [%rd8];
	@%p1 bra 	$L__BB0_5;
$L__BB0_1:
	ld.global.v4.f32 	{%f1, %f2, %f3, %f4}, [%rd2];
	ld.shared.v2.f64 	{%fd1, %fd2}, [%rd2];
	@%p2 bra 	$L__BB0_2;
	mul.f32 	%f1, %f1, %f9;
$L__BB0_2:
	st.global.v4.f32 	[%rd3], {%f1, %f2, %f3, %f4};
	ld.global.v4.f32 	{%f1, %f2, %f3, %f4}, [%rd2+16];
	st.global.v4.f32 	[%rd3+16], {%f1, %f2, %f3, %f4};
	@%p3 bra 	$L__BB0_1;
$L__BB0_3:
	ld.global.v4.f32 	{%f1, %f2, %f3, %f4}, [%rd2];
	st.global.v4.f32 	[%rd3], {%f1, %f2, %f3, %f4};
	bra.uni 	$L__BB0_3;
$L__BB0_5:
	ld.f32 	%f1, [%SP];
	@%p1 ld.global.f32 	%f1, [%rd2];
	st.global.f32 	[%rd3], %f1;
	@!%p3 bra 	$L__BB0_5;
	ret;
}
"""
GIVEN = check.operands(GOOD)


class TestPtx:
    def test_accesses(self):
        found = [(a.store, a.bits) for a in check.accesses(PTX)]
        wide, narrow = [(False, 128), (True, 128)], [(False, 32), (True, 32)]
        assert found == [(False, 64), *wide * 3, *narrow]

    def test_an_access_that_is_not_said_to_be_elsewhere_counts(self):
        assert [a.bits for a in check.accesses("\tst.v2.u16 \t[%rd1], {%rs1, %rs2};")]

    def test_tables_of_libdevice_do_not_count(self):
        load = "\tld.global.nc.u32 \t%r1, [%rd1];\n"
        assert len(check.accesses(load)) == 1
        assert check.accesses(".global .b8 __cudart_i2opi_f[24];\n" + load) == []

    def test_loops(self):
        lines = PTX.splitlines()
        ends = [
            (lines[a].strip(":"), lines[b].split()[-1]) for a, b in check.loops(PTX)
        ]
        assert [f"{a};" for a, _ in ends] == [b for _, b in ends]
        assert len(ends) == 3

    def test_vector_loops(self):
        assert [len(trip) for trip in check.vector_loops(PTX)] == [4, 2]

    def test_traffic(self):
        found = check.traffic(PTX, "flat", GIVEN)
        assert found == Traffic(128, 128, 128, moved=8.0, least=8, local=28, doubles=1)
        assert check.traffic(PTX, "rows", GIVEN).moved is None

    def test_an_operand_read_twice(self):
        load = "\tld.global.v4.f32 \t{%f5, %f6, %f7, %f8}, [%rd7];\n"
        lines = PTX.replace("$L__BB0_3:\n", f"$L__BB0_3:\n{load}")
        assert check.traffic(lines, "flat", GIVEN).moved == 12.0

    def test_doubles(self):
        text = "\tmul.f64 \t%fd1, %fd2, 0d3BF921FB54442D19;\n"
        assert check.traffic(text, "flat", GIVEN).doubles == 1
        table = ".global .align 4 .b8 __cudart_i2opi_f[24];\n"
        found = check.traffic(table + text, "flat", GIVEN)
        assert found.doubles == 0 and found.payne_hanek
        other = "\t@%p1 add.rn.f64 \t%fd1, %fd2, %fd3;\n"
        assert check.traffic(table + text + other, "flat", GIVEN).doubles == 1


class TestFaults:
    FINE = Traffic(128, 128, 128, 8.0, 8)

    def test_none(self):
        assert check.faults("flat", GIVEN, self.FINE, Usage(32)) == []

    def test_spills(self):
        for form in ("rows", "by hand"):
            (found,) = check.faults(form, GIVEN, Traffic(), Usage(255, 40, 16, 24))
            assert found == "spills registers: 16 bytes stored, 24 loaded"

    def test_local_memory(self):
        (found,) = check.faults("rows", GIVEN, Traffic(local=48), Usage(32, 48))
        assert found == "keeps 48 bytes in local memory instead of registers"
        (found,) = check.faults("rows", GIVEN, Traffic(), Usage(32, 16))
        assert found == "has a stack of 16 bytes that its source does not need"
        trig = Traffic(local=28, payne_hanek=True)
        assert check.faults("strided", GIVEN, trig, Usage(32, 32)) == []

    def test_narrow(self):
        narrow = Traffic(128, 128, 32, 8.0, 8)
        (found,) = check.faults("flat", GIVEN, narrow, Usage())
        assert found.startswith("has no loop of 128-bit accesses only")
        assert check.faults("strided", GIVEN, Traffic(32, 32), Usage()) == []
        wide = (*GIVEN, Operand("y", "float64", "unit", False))
        assert check.faults("flat", wide, narrow, Usage()) == []

    def test_moves_more(self):
        (found,) = check.faults("flat", GIVEN, Traffic(128, 128, 128, 12.0, 8), Usage())
        assert found == "moves 12 bytes for an element whose operands have 8"

    def test_float64(self):
        (found,) = check.faults("strided", GIVEN, Traffic(doubles=2), Usage())
        assert found == "has 2 instructions on float64, and operands of float32"


def test_capability():
    assert check.capability("sm_80") == (8, 0)
    assert check.capability("sm_100") == (10, 0)
    for wrong in ("80", "sm_8", "sm_90a"):
        with pytest.raises(ValueError, match=wrong):
            check.capability(wrong)


# Which kernels


class TestJobs:
    def test_come_from_the_table(self):
        names = {job.name for job in cuda_check.jobs()}
        others = {cuda_check.COPIES, cuda_check.FILLS, cuda_check.STEPS}
        others.add(cuda_check.JITTED)
        assert names == {*everything(), *others}
        assert "nn.functional.relu" in names

    def test_dtypes(self):
        kinds = [job.dtype for job in cuda_check.jobs("exp")]
        assert kinds == ["float32", "float64"]
        assert [job.dtype for job in cuda_check.jobs("bitwise_and")] == ["int64"]
        assert len(cuda_check.jobs("add")) == len(cuda_check.jobs("exp", True)) == 8

    def test_only(self):
        assert cuda_check.jobs("add") == [
            j for j in cuda_check.jobs() if j.name == "add"
        ]
        assert warmup.Job("log1p", "float32") in cuda_check.jobs("log*")


def test_the_host_reads_zeros_or_ones():
    recorder = cuda_check._Answering()
    counts, marks = np.full(3, 7), np.full(1, 7, np.uint8)
    for truth in (False, True):
        recorder.truth = truth
        for array in (counts, marks):
            recorder.download(0, array.ctypes.data, 0, array.nbytes, None, True)
            assert (array == truth).all()


_WITHOUT_KERNELS = """
from numtensor import cuda_check
from numtensor.ops.declare import composed
from numtensor.ops.registry import everything

def samples(make):
    return [((make(2),), {})]

composed("silent", samples=samples)(lambda x: x)
composed("hosted", samples=samples)(lambda x: x)
composed("wrong", samples=samples)(lambda x: x.no_such_method())
everything()["hosted"].host = "few numbers"
_, errors, reasons = cuda_check.record(
    [*cuda_check.jobs("silent"), *cuda_check.jobs("hosted"), *cuda_check.jobs("wrong")]
)
print(*errors, *reasons, sep=chr(10))
"""


def test_no_job_is_skipped_without_a_word():
    done = run("-c", _WITHOUT_KERNELS)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[:2] == [
        "silent (float32) launches no kernel",
        "silent (float64) launches no kernel",
    ]
    for k, kind in ((2, "float32"), (3, "float64")):
        assert said[k].startswith(f"wrong ({kind}) cannot be called: AttributeError")
    assert said[4:] == ["hosted: few numbers"]


_JITTED = """
from numtensor import cuda_check
kernels, errors, _ = cuda_check.record(cuda_check.jobs(cuda_check.JITTED))
print(*errors, sep=chr(10))
for kernel in kernels:
    print(cuda_check.check.form_of(kernel.source), kernel.name)
"""


def test_jitted_steps_bring_fused_kernels_of_all_forms():
    done = run("-c", _JITTED)
    assert done.returncode == 0, done.stderr
    errors, *lines = done.stdout.splitlines()
    assert not errors
    names: dict[str, list[str]] = {}
    for line in lines:
        form, _, name = line.rpartition(" ")
        names.setdefault(form, []).append(name)
    forms = ("flat", "strided", "tiled", "rows", "warp_rows", "columns")
    assert {*forms, "thread_sweeps", "warp_sweeps", "block_sweeps"} <= set(names)
    # several operators in one loop, of the loss, its way back, and the optimiser
    every = " ".join(sum(names.values(), []))
    for wanted in ("mse_loss_mean_fill_mse_loss_backward", "_adam", "_sgd"):
        assert wanted in every


# What is printed


def checked(**fields):
    kernel = cuda_check.Kernel("scale", "scale.py", GOOD)
    one = check.Result("sm_80", Usage(32), Traffic(128, 128, 128, 8.0, 8))
    return cuda_check.Checked(kernel, (one, check.Result("sm_90", **fields)))


def test_table():
    traffic = Traffic(128, 128, 128, 8.0, 8)
    head, row = cuda_check.table([checked(usage=Usage(40), traffic=traffic)])
    assert head.split() == list(cuda_check._HEAD)
    assert row == (
        "scale   flat  float32, float32 zero -> float32  32/40      0       0      "
        "0       128   128    8 of 8"
    )


def test_verdict(capsys):
    assert cuda_check.verdict([checked()], [], True) == 0
    assert capsys.readouterr().out == ""
    assert cuda_check.verdict([checked(faults=("spills",))], ["exp raises"], False) == 1
    said = capsys.readouterr()
    assert said.out.startswith("kernel") and "sm_80/sm_90" in said.out
    assert said.err == (
        "failed: exp raises\nfailed: scale (flat, sm_90) spills: scale.py\n"
    )


def test_says_what_is_missing(monkeypatch):
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(check, "missing", lambda: "no program ptxas")
    assert cuda_check.unable() == (
        "cuda-check: got no program ptxas; expected numba-cuda, NVVM and ptxas. "
        "pip install 'numtensor[cuda12]', which brings all of them and needs no GPU; "
        "beside 'numtensor[cuda13]', ptxas comes with pip install nvidia-cuda-nvcc."
    )


class TestCommand:
    @can_compile
    def test_add(self):
        done = command("--only", "add", "--arch", "sm_80")
        assert done.returncode == 0, done.stderr
        rows = [line.split() for line in done.stdout.splitlines()]
        (flat,) = [
            row
            for row in rows
            if row[:5] == ["add", "flat", "float32,", "float32", "->"]
        ]
        assert " ".join(flat[7:]) == "0 0 0 128 128 12 of 12"
        assert {"strided", "warp_rows", "columns"} <= {row[1] for row in rows if row}
        assert " 0 with faults, 0 calls failed" in done.stdout
        assert "100%" in done.stderr  # the progress bar

    def test_refuses_the_simulator(self):
        done = command("--only", "add", NUMBA_ENABLE_CUDASIM="1")
        assert done.returncode == 2 and "NUMBA_ENABLE_CUDASIM" in done.stderr

    def test_refuses_other_architectures(self):
        done = command("--arch", "sm_80,banana")
        assert done.returncode == 2 and "expected such as sm_80" in done.stderr

    @can_compile
    def test_refuses_a_pattern_that_nothing_matches(self):
        done = command("--only", "nothing")
        assert done.returncode == 2 and "'nothing'" in done.stderr


# Kernels that are wrong

_LIVE = 300  # more values than a thread has registers, of 255
DOCTORED = {
    "good": GOOD,
    "narrow": source(TITLE, "i = cuda.grid(1)\nwhile i < n:\n"
                     "    out[i] = x[i] * g[0]\n    i += cuda.gridsize(1)"),
    "double": GOOD.replace("x[i] * gi", "float32(x[i] * 0.1)").replace(
        "lane,", "lane, float32,"
    ),
    "twice": GOOD.replace(
        "outs = blank_4(out)", "outs = load_4(out, group)"
    ).replace("lane(xs, k) * gi", "lane(xs, k) * gi + lane(outs, k)"),
    "spills": source(
        TITLE.replace("flat", "columns"),
        "i = cuda.grid(1)\n"
        # a store that may change what is read next: all loads must come before it
        + "".join(f"v{k} = x[i + {k}]\n" for k in range(_LIVE))
        + "".join(f"out[i + {k}] = v{k} * g[0]\n" for k in range(_LIVE)),
    ),
    "unknown word": GOOD.replace("* gi", "* nowhere"),
}  # fmt: skip
_SCRIPT = """
import json, sys
from pathlib import Path
from numtensor import cuda_check
found = {}
for name, text in json.load(open(sys.argv[1])).items():
    kernel = cuda_check.Kernel("scale", Path("scale.py"), text)
    checked = cuda_check.compile_all([kernel], ["sm_80", "sm_90"], 1, lambda c: None)
    status = cuda_check.verdict(checked, [], True)
    found[name] = status, cuda_check.faulty(checked)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def doctored(tmp_path_factory):
    """Return the exit status and the faults of each kernel of `DOCTORED`."""
    path = tmp_path_factory.mktemp("doctored") / "kernels.json"
    path.write_text(json.dumps(DOCTORED))
    done = run("-c", _SCRIPT, str(path))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@can_compile
@pytest.mark.parametrize(
    "name, expected",
    [
        ("narrow", "has no loop of 128-bit accesses only"),
        ("double", "instructions on float64, and operands of float32"),
        ("twice", "moves 12 bytes for an element whose operands have 8"),
        ("spills", "spills registers"),
        ("unknown word", "does not compile (numba-cuda:"),
    ],
)
def test_a_wrong_kernel_is_told_and_ends_with_status_1(doctored, name, expected):
    status, lines = doctored[name]
    assert status == 1
    told = "".join(lines)
    assert expected in told and "sm_80" in told and "sm_90" in told


@can_compile
def test_a_right_kernel_has_no_fault(doctored):
    assert doctored["good"] == [0, []]
