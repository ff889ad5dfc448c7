"""The benchmark runner itself, on fake libraries and a quick workload."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

# The benchmarks are not installed with the library: they are found by path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
main = importlib.import_module("benchmarks.__main__")
programs = importlib.import_module("benchmarks.programs")
report = importlib.import_module("benchmarks.report")
runner = importlib.import_module("benchmarks.runner")
workloads = importlib.import_module("benchmarks.workloads")

# "numtensor" does a thousandth of the work that "torch" does; "jax" cannot be imported.
FAKES = {
    "numtensor": "__version__ = '1'\nSIZE = 100\nprint('a library may print')\n",
    "torch": "__version__ = '2'\nSIZE = 100_000\ndef get_num_threads(): return 3\n",
    "jax": "raise ImportError('no jax here')\n",
    "fake_group": """
import os
from benchmarks.workloads import Group
GROUP = Group()
GROUP.add("quick", [], lambda m: lambda: sum(range(m.SIZE)), "torch", torch=0.5)
GROUP.add("broken", [], lambda m: lambda: m.absent, "torch", torch=0.5)
GROUP.add("fatal", [], lambda m: lambda: os._exit(3), "torch")
""",
}


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """Put the fake libraries before the real ones, in the children only."""
    for name, text in FAKES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setitem(main.LIVE, "small", "fake_group")
    monkeypatch.setattr(runner, "PAUSE", 0.0)
    monkeypatch.setitem(sys.modules, "fake_group", fake_group(tmp_path))
    return tmp_path


def fake_group(folder):
    spec = importlib.util.spec_from_file_location(
        "fake_group", folder / "fake_group.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def result(ours, theirs, **limits):
    found = {
        "numtensor": report.Measurement("numtensor", 1.0, ours),
        "torch": report.Measurement("torch", 1.0, theirs),
    }
    return report.Result(workloads.Workload("w", **limits), found)


def test_ratio_is_the_median_of_the_ratios_of_rounds():
    # The ratio of the medians would be 2 / 4; round by round it is 1/4, 2/2, 9/10.
    r = result([1.0, 2.0, 9.0], [4.0, 2.0, 10.0])
    assert r.compare("numtensor", "torch") == 0.9


@pytest.mark.parametrize(
    ("limits", "verdict"),
    [
        ({"targets": {"torch": 0.5}}, "<= 0.50 met"),
        ({"targets": {"torch": 0.4}}, "<= 0.40 MISSED"),
        ({"margins": {"torch": -0.5}}, "-1 s more, <= -500 ms met"),
        ({"margins": {"torch": -1.5}}, "-1 s more, <= -1.5 s MISSED"),
        ({}, ""),
    ],
)
def test_verdict(limits, verdict):
    assert result([1.0], [2.0], **limits).verdict("torch") == verdict


def test_an_unmeasured_target_is_not_met():
    r = result([], [2.0], targets={"torch": 0.5})
    assert r.verdicts() == ["w: numtensor against torch: <= 0.50 not measured"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (12.0, "12 s"),
        (0.25, "250 ms"),
        (0.9999, "1 s"),
        (1.234e-5, "12.3 µs"),
        (5.4321e-7, "543 ns"),
        (2e-10, "0.2 ns"),
        (-0.25, "-250 ms"),
        (0.0, "0 ns"),
    ],
)
def test_duration_has_three_digits_and_a_unit(seconds, text):
    assert report.duration(seconds) == text


def test_table_is_aligned():
    r = result([1e-6, 3e-6], [2e-6, 4e-6], targets={"torch": 0.7})
    r.found["jax"] = report.Measurement("jax", error="failed: reason")
    assert report.table([r], "numtensor").splitlines() == [
        "workload  library    first call  median   min  numtensor/it  target",
        "w         numtensor         1 s    2 µs  1 µs",
        "          torch             1 s    3 µs  2 µs         0.625  <= 0.70 met",
        "          jax                                                failed: reason",
    ]


def test_run_prints_ratio_and_writes_every_sample(fakes, capsys):
    file = fakes / "out.json"
    options = ["small", "--rounds", "3", "--only", "quick", "--json", str(file)]
    assert main.main([*options, "--libs", "numtensor,torch,jax", "--check"]) == 0
    text = capsys.readouterr().out
    assert "jax: skipped (ImportError: no jax here)" in text
    assert "torch: 2, Python" in text
    assert ", 3 threads" in text
    assert "a library may print" not in text
    (group,) = json.loads(file.read_text())["groups"]
    ours, theirs = group["results"]
    assert (ours["library"], theirs["library"]) == ("numtensor", "torch")
    assert len(ours["samples"]) == len(theirs["samples"]) == 3
    assert 0 < theirs["min"] <= theirs["median"]
    assert theirs["first"] > 0
    assert 0 < theirs["ratio"] < 0.5


def test_check_fails_where_a_target_is_missed_or_not_measured(fakes, capsys):
    options = ["small", "--rounds", "1", "--libs", "numtensor,torch", "--check"]
    assert main.main([*options, "--only", "broken"]) == 1
    assert "broken: numtensor against torch: <= 0.50 not" in capsys.readouterr().out
    (fakes / "numtensor.py").write_text("SIZE = 1_000_000\n")
    assert main.main([*options, "--only", "quick"]) == 1
    assert "quick: numtensor against torch: <= 0.50 MISS" in capsys.readouterr().out
    (fakes / "torch.py").write_text("raise ImportError\n")
    assert main.main([*options, "--only", "quick"]) == 1
    assert "0 of 1 targets met" in capsys.readouterr().out
    assert main.main([*options, "--only", "nothing"]) == 1


def test_a_workload_that_ends_the_process_fails_alone(fakes, capsys):
    assert main.main(["small", "--rounds", "1", "--libs", "torch"]) == 0
    text = capsys.readouterr().out
    assert "failed: AttributeError: module 'torch' has no attribute 'absent'" in text
    assert "failed: the process ended, status 3" in text


def test_rounds_are_interleaved():
    order = []

    class Fake(runner.Contestant):
        def __init__(self, name):
            self.name = name

        def sample(self):
            order.append(self.name)
            return 1.0

    runner.run("g", [workloads.Workload("w")], "ab", Fake, 2)
    assert order == ["a", "b"] * 3


def test_whole_programs(fakes, monkeypatch):
    script = fakes / "linear_fit.py"
    script.write_text("import numtensor as torch\nassert torch.SIZE == 100_000\n")
    monkeypatch.setattr(programs, "LINEAR_FIT", script)
    results, facts = runner.run(
        "linear_fit",
        [programs.FIT],
        ["numtensor", "torch", "jax"],
        lambda library: programs.linear_fit(library, sys.executable),
        1,
    )
    assert "no jax here" in facts["jax"]
    found = results[0].found
    assert "exit status 1: AssertionError" in found["numtensor"].error
    assert found["torch"].samples[0] > 0


def test_import_time_leaves_out_the_interpreter(fakes):
    program = programs.import_time("torch", sys.executable)
    times = {"import torch": 5.0, "pass": 2.0}
    program._seconds = lambda command: times[command[-1]]
    assert program.sample() == 3.0
    program.close()


@pytest.mark.parametrize(
    "options",
    [
        ["nothing"],
        ["small", "--libs", "cupy"],
        ["small", "--rounds", "0"],
        ["small", "--libs", "torch", "--check"],
        ["small", "--python", "cupy=/usr/bin/python"],
    ],
)
def test_a_wrong_command_line_is_refused(options, capsys):
    with pytest.raises(SystemExit) as stop:
        main.main(options)
    assert stop.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize("group", ["small", "large"])
def test_every_workload_has_the_torch_flavour_and_known_names(group):
    table = importlib.import_module(f"benchmarks.workloads.{group}").GROUP
    for workload in table.values():
        assert "torch" in workload.makers
        assert set(workload.makers) <= set(workloads.FLAVOURS.values())
        assert set(workload.targets) <= set(workloads.FLAVOURS)


def test_small_workloads_run_in_numpy():
    np = pytest.importorskip("numpy")
    for workload in importlib.import_module(
        "benchmarks.workloads.small"
    ).GROUP.values():
        if "numpy" in workload.makers:
            workload.make("numpy", np)()
