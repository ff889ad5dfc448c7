"""The command line, run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import numtensor as nt
from numtensor import warmup
from numtensor.ops.registry import TABLE


def command(folder, *words):
    return subprocess.run(
        [sys.executable, "-m", "numtensor", *words],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "NUMTENSOR_CACHE_DIR": str(folder)},
    )


def compiled(done):
    """How many kernels the last line of `warmup` says were compiled and linked."""
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert words[1:3] == ["kernels", "compiled,"]
    return int(words[0]), int(words[3])


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A cache with `neg` and what every program needs, and what the command said."""
    folder = tmp_path_factory.mktemp("warm")
    return folder, command(folder, "warmup", "--only", "neg", "--jobs", "1")


class TestWarmup:
    def test_compiles_then_links(self, warm):
        folder, first = warm
        many, _ = compiled(first)
        assert many > 10 and str(folder) in first.stdout
        assert "100%" in first.stderr  # the progress bar
        again = command(folder, "warmup", "--only", "neg", "--jobs", "1", "--quiet")
        assert compiled(again) == (0, many)
        assert again.stderr == ""

    def test_leaves_nothing_to_compile(self, warm):
        folder, _ = warm
        code = """
import numtensor as nt
from numtensor.kernels import compiler
x = nt.zeros(3, 5, requires_grad=True)
y = -x
y.backward(nt.ones(3, 5))
-x.detach()[:, ::2]
big = nt.ones(500_000) + 1.0
assert x.grad.tolist() == [[-1.0] * 5] * 3
print(compiler.statistics["compiled"])
"""
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={**os.environ, "NUMTENSOR_CACHE_DIR": str(folder)},
        )
        assert done.stdout.strip() == "0", done.stderr

    def test_processes_share_the_work(self, warm):
        folder, _ = warm
        done = command(folder, "warmup", "--only", "neg", "--jobs", "2", "--quiet")
        assert compiled(done)[0] == 0
        done = command(folder, "warmup", "--only", "rand*m", "--jobs", "2", "--quiet")
        assert compiled(done)[0] == 2  # its keys, and their sort
        assert (
            compiled(command(folder, "warmup", "--only", "rand*m", "--quiet"))[0] == 0
        )

    def test_refuses_no_processes(self, tmp_path):
        done = command(tmp_path, "warmup", "--jobs", "0")
        assert done.returncode == 2 and "expected 1 or more" in done.stderr

    def test_an_error_is_told_and_ends_with_status_1(self, tmp_path):
        job = warmup.Job("neg", "bool")
        report = warmup.run(job)
        assert report.error.startswith("neg (bool): ")


class TestJobs:
    def test_come_from_the_table(self):
        names = {job.name for job in warmup.jobs()}
        assert names == set(TABLE) | {warmup.SHARED}
        assert all(job.dtype != "float64" for job in warmup.jobs())

    def test_wide(self):
        wide = warmup.jobs(wide=True)
        assert warmup.Job("exp", "float64") in wide
        assert warmup.Job("bitwise_and", "int64") in wide

    def test_only(self):
        names = [job.name for job in warmup.jobs("log*")]
        assert names[0] == warmup.SHARED and {"log", "log1p"} <= set(names)
        assert "exp" not in names

    @pytest.mark.parametrize("name", ["add", "where", "lerp", "sum", "transpose"])
    def test_run(self, name):
        assert warmup.run(warmup.Job(name, "float32")).error == ""


def test_info(warm):
    folder, _ = warm
    done = command(folder, "info")
    assert done.returncode == 0, done.stderr
    rows = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    rows = {name.strip(): value.strip() for name, value in rows.items()}
    assert rows["numtensor"] == nt.__version__
    assert rows["cache"] == str(folder)
    assert int(rows["threads"]) >= 1
    files = list(folder.iterdir())
    objects = [p for p in files if p.suffix == ".o"]
    size = sum(p.stat().st_size for p in files)
    assert rows["cached kernels"] == f"{len(objects)} ({size:,} bytes with sources)"
    assert {"Python", "numba", "llvmlite", "numpy", "CPU", "memory pool"} <= set(rows)
    assert rows["CUDA"]  # the names of devices, or what is missing


def test_clear_cache_deletes_kernels_only(tmp_path):
    name = "add_0123456789abcdef"
    ours = [
        f"{name}.py",
        f"{name}_add_0123456789abcdef.o",
        f"{name}.pyqj_x81zw",  # a write that was cut short
    ]
    others = ["notes.py", "add.o", "0123456789abcdef.txt"]
    for file in (*ours, *others):
        (tmp_path / file).write_text("12345")
    (tmp_path / f"{name}.py").chmod(0o600)
    device = tmp_path / "cuda-0123456789abcdef" / "__pycache__"
    device.mkdir(parents=True)
    (device / f"{name}.add-15.py311.1.nbc").write_text("12345")
    done = command(tmp_path, "clear-cache")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("4 files, 20 bytes deleted")
    left = sorted(p.name for p in tmp_path.iterdir() if p.is_file())
    assert left == sorted(others)
    assert command(tmp_path, "clear-cache").stdout.startswith("0 files")


def test_no_command_shows_the_usage(tmp_path):
    done = command(tmp_path)
    assert done.returncode == 2 and "warmup" in done.stderr
