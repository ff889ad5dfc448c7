"""The benchmark of compiled steps: its judging, and that its texts do the same work."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path

import pytest

import numtensor as nt

# The benchmarks are not installed with the library: they are found by path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
jit = importlib.import_module("benchmarks.jit")
report = importlib.import_module("benchmarks.report")
workloads = importlib.import_module("benchmarks.workloads.jit")

SMALL = [case.name for case in workloads.CASES if not case.least and case.epochs == 1]


@pytest.fixture
def eager(monkeypatch):
    """Leave numtensor's functions uncompiled, as PyTorch's are."""
    text = importlib.import_module("benchmarks.workloads.jit_torch")
    monkeypatch.setattr(text, "compiled", lambda m, function: function)


def result(name="mse_grad", **samples):
    names = {"eager": "torch", "compiled": "torch.compile"}
    found = {names.get(k, k): v for k, v in samples.items()}
    return report.Result(
        workloads.GROUP[name],
        {k: report.Measurement(k, 1.0, [v]) for k, v in found.items()},
    )


def test_the_rival_is_the_faster_one_that_compiles():
    r = result(numtensor=1.0, eager=1.0, compiled=4.0, jax=5.0)
    assert jit.rival(r) == "torch.compile"
    assert jit.ratio(r) == 0.25
    r.found["torch.compile"].error = "failed: no compiler"
    assert jit.rival(r) == "jax"


def test_a_case_may_name_its_rival():
    r = result("thermometer", numtensor=1.0, compiled=1.0, jax=4.0)
    assert (jit.rival(r), jit.ratio(r)) == ("jax", 0.25)
    del r.found["jax"]
    assert math.isnan(jit.ratio(r))


def test_the_share_counts_what_has_to_be_moved():
    # Three arrays instead of the copy's two, in twice its time.
    r = result(numtensor=2.0, copy=1.0)
    assert jit.share(r) == pytest.approx(0.75)


def test_verdicts():
    r = result(numtensor=1.0, compiled=4.0, jax=5.0, copy=0.6)
    assert jit.verdicts([r], {"mse_grad": 0.2}) == [
        "mse_grad against torch.compile: 0.25, <= 1 met",
        "mse_grad, first call: 1 s, <= 1.5 s met",
        "mse_grad, first call from a warm cache: 200 ms, <= 100 ms MISSED",
        "mse_grad, share of a copy's bandwidth: 90%, >= 85% met",
        "geometric mean of the large ones: 0.25, <= 0.5 met",
    ]


def test_what_was_not_measured_is_not_met():
    r = result(compiled=4.0)
    r.found["numtensor"] = report.Measurement("numtensor", error="failed: reason")
    lines = jit.verdicts([r], {"mse_grad": 0.2})
    assert len(lines) == 5
    assert all(line.endswith(" not measured") for line in lines)


def test_table_is_aligned():
    r = result(eager=2.0, numtensor=1.0, copy=0.6)
    warm = {"torch": {"mse_grad": 0.5}, "numtensor": {"mse_grad": 0.25}}
    assert jit.table([r], warm).splitlines() == [
        "workload  library    first    warm  median     min  nt/it",
        "mse_grad  numtensor    1 s  250 ms     1 s     1 s         "
        "90% of the copy's bandwidth",
        "          torch        1 s  500 ms     2 s     2 s    0.5",
        "          copy                      600 ms  600 ms         0.1 GB/s",
    ]


def test_the_command_line_knows_the_group(capsys):
    main = importlib.import_module("benchmarks.__main__")
    options = ["jit", "--libs", "numpy", "--rounds", "1", "--only", "thermometer"]
    assert main.main(options) == 0
    text = capsys.readouterr().out
    assert "thermometer against jax: <= 0.3 not measured" in text


def test_every_case_has_a_maker_in_every_text():
    for text in set(workloads.TEXTS.values()):
        module = importlib.import_module(f"benchmarks.workloads.{text}")
        assert all(hasattr(module, name) for name in workloads.GROUP)


def test_results_that_differ_are_told(tmp_path, eager):
    case, path = workloads.GROUP["thermometer"], str(tmp_path / "results.npz")
    assert workloads.agree(case, "torch", nt, path) == ""
    assert workloads.agree(case, "torch", nt, path) == ""
    other = workloads.GROUP["tanh_adam"]
    assert workloads.agree(other, "torch", nt, path).startswith("shapes ")
    workloads.np.savez(path, workloads.np.float32(1), workloads.np.ones(2))
    text = workloads.agree(case, "torch", nt, path)
    assert text.startswith("result 0 differs by ")


@pytest.mark.torch
@pytest.mark.parametrize("name", SMALL)
def test_eager_numtensor_does_what_torch_does(name, tmp_path, eager):
    torch = pytest.importorskip("torch")
    path = str(tmp_path / "results.npz")
    assert workloads.agree(workloads.GROUP[name], "torch", torch, path) == ""
    assert workloads.agree(workloads.GROUP[name], "torch", nt, path) == ""
