"""The kernel cache: what a second process finds, and what damage costs.

Each case runs in a process of its own with a copy of a small cache, and reports what
it computed and compiled. Damage may cost a compilation, never a wrong result.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from numtensor.errors import CompileError
from numtensor.kernels import compiler

REPORT = """
import json, sys
from numtensor.kernels import compiler
heavy = [m for m in ("numba", "llvmlite", "platformdirs", "tqdm") if m in sys.modules]
print(json.dumps({
    "result": globals().get("result"), "heavy": heavy,
    "compiled": compiler.statistics["compiled"],
    "linked": compiler.statistics["linked"],
    "folder": str(compiler.cache_dir()) if "result" in globals() else "",
}))
"""
ADD = """
import numtensor as nt
result = (nt.tensor([1.0, 2.0]) + nt.tensor([10.0, 20.0])).tolist()
"""
SUM = [11.0, 22.0]


def start(code, folder, **variables):
    environment = {**os.environ, "NUMTENSOR_CACHE_DIR": str(folder), **variables}
    return subprocess.Popen(
        [sys.executable, "-c", code + REPORT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def finish(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def report(code, folder, **variables):
    return finish(start(code, folder, **variables))


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache with the kernel of ADD and the runner it needs."""
    folder = tmp_path_factory.mktemp("filled")
    first = report(ADD, folder)
    assert first["result"] == SUM and first["compiled"] == 2 and first["linked"] == 0
    return folder


@pytest.fixture
def cache(filled, tmp_path):
    """A copy of it to damage."""
    return Path(shutil.copytree(filled, tmp_path / "cache"))


def kernel(folder):
    """The object file of the addition."""
    (found,) = folder.glob("add_*.o")
    return found


class TestSecondProcess:
    def test_compiles_nothing_and_leaves_numba_alone(self, filled):
        # another hash seed, so that no name depends on the order of a set
        second = report(ADD, filled, PYTHONHASHSEED="77")
        assert second["result"] == SUM
        assert (second["compiled"], second["linked"]) == (0, 2)
        assert second["heavy"] == ["llvmlite"]

    def test_import_loads_nothing_heavy(self, filled):
        found = report("import numtensor", filled)
        assert (found["compiled"], found["linked"], found["heavy"]) == (0, 0, [])

    def test_holds_sources_and_object_files_only(self, filled):
        assert sorted(p.suffix for p in filled.iterdir()) == [".o", ".o", ".py"]
        source = next(filled.glob("add_*.py"))
        stem = source.stem.removeprefix("add_")
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        assert digest.startswith(stem)

    def test_other_settings_compile_anew(self, cache):
        found = report(ADD, cache, NUMBA_OPT="1")
        assert found["result"] == SUM and found["compiled"] == 2
        assert report(ADD, cache)["compiled"] == 0  # the first ones are still there


def forged(blob, change):
    """An object file with a header changed and a checksum that holds."""
    magic, _, rest = blob.partition(b"\n")
    _, header, code = rest.split(b"\n", 2)
    header, code = change(json.loads(header), code)
    header = json.dumps(header).encode()
    checksum = hashlib.sha256(header + code).hexdigest().encode()
    return b"\n".join([magic, checksum, header, code])


def flipped(blob, place):
    damaged = bytearray(blob)
    damaged[place] ^= 0x10
    return bytes(damaged)


DAMAGE = {
    "empty": lambda b: b"",
    "first line only": lambda b: b[: b.index(b"\n") + 1],
    "half": lambda b: b[: len(b) // 2],
    "last byte gone": lambda b: b[:-1],
    "bit flipped in the code": lambda b: flipped(b, len(b) - 200),
    "bit flipped in the header": lambda b: flipped(b, b.index(b"symbol") + 1),
    "bit flipped in the checksum": lambda b: flipped(b, b.index(b"\n") + 3),
    "garbage": lambda b: os.urandom(len(b)),
    "zeros, as after a crash": lambda b: bytes(len(b)),
    "another format": lambda b: b.replace(b"object 1", b"object 0", 1),
    "another tag": lambda b: forged(b, lambda h, c: ({**h, "tag": "0" * 64}, c)),
    "no symbol": lambda b: forged(b, lambda h, c: ({"tag": h["tag"]}, c)),
    "a header that is a list": lambda b: forged(b, lambda h, c: ([h], c)),
    "a symbol of no library": lambda b: forged(
        b, lambda h, c: ({**h, "needs": ["no_such_function_of_ours"]}, c)
    ),
    "a symbol it does not have": lambda b: forged(
        b, lambda h, c: ({**h, "symbol": "missing"}, c)
    ),
}


class TestDamage:
    @pytest.mark.parametrize("kind", DAMAGE)
    def test_object_file(self, cache, kind):
        path = kernel(cache)
        whole = path.read_bytes()
        path.write_bytes(DAMAGE[kind](whole))
        assert path.read_bytes() != whole
        found = report(ADD, cache)
        assert found["result"] == SUM
        assert found["compiled"] == 1
        again = report(ADD, cache)
        assert again["result"] == SUM and again["compiled"] == 0

    @pytest.mark.parametrize(
        "content", [b"", b"garbage = (", b"\xff\xfe\x00", b"raise SystemExit(1)\n"]
    )
    def test_source_is_written_again(self, cache, content):
        (path,) = cache.glob("add_*.py")
        whole = path.read_bytes()
        path.write_bytes(content)
        assert report(ADD, cache)["result"] == SUM
        assert path.read_bytes() == whole

    def test_source_is_never_what_runs(self, cache):
        (path,) = cache.glob("add_*.py")
        path.write_text(path.read_text().replace("x + y", "x - y"))
        kernel(cache).unlink()
        found = report(ADD, cache)
        assert found["result"] == SUM and found["compiled"] == 1

    def test_runner(self, cache):
        (path,) = cache.glob("runners_*.o")
        path.write_bytes(path.read_bytes()[:100])
        found = report(ADD, cache)
        assert found["result"] == SUM and found["compiled"] == 1


class TestFolder:
    def test_that_cannot_be_made_is_replaced(self, tmp_path):
        place = tmp_path / "file"
        place.write_text("here first")
        for folder in (place, place / "below"):
            found = report(ADD, folder)
            assert found["result"] == SUM
            used = Path(found["folder"])
            assert used.name.startswith("numtensor-") and not used.exists()
        assert place.read_text() == "here first"

    def test_that_vanishes_is_made_again(self, tmp_path):
        folder = tmp_path / "cache"
        code = (
            "import shutil\nfrom numtensor.kernels import compiler\n"
            "shutil.rmtree(compiler.cache_dir())\n"
        )
        assert report(code + ADD, folder)["result"] == SUM
        assert report(ADD, folder)["compiled"] == 0

    def test_that_takes_no_files_costs_only_time(self, tmp_path):
        code = """
from numtensor.kernels import compiler
def full(path, data):
    raise OSError(28, "No space left on device")
compiler.write_atomically = full
"""
        found = report(code + ADD, tmp_path)
        assert found["result"] == SUM and found["compiled"] == 2
        assert not list(tmp_path.iterdir())

    def test_default_is_the_users_cache(self, tmp_path):
        code = "result = 1\n"
        found = report(code, "", XDG_CACHE_HOME=str(tmp_path))
        if sys.platform == "linux":
            assert found["folder"] == str(tmp_path / "numtensor")

    def test_home_is_expanded(self, tmp_path):
        found = report("result = 1\n", "~/kernels", HOME=str(tmp_path))
        assert found["folder"] == str(tmp_path / "kernels")


def test_processes_fill_one_cache_at_once(tmp_path):
    running = [start(ADD, tmp_path) for _ in range(4)]
    assert [finish(p)["result"] for p in running] == [SUM] * 4
    assert len(list(tmp_path.iterdir())) == 3  # no temporary file is left
    assert report(ADD, tmp_path)["compiled"] == 0


def test_threads_compile_a_kernel_once(cache):
    code = """
import threading
import numtensor as nt
a = nt.tensor([1.0, 2.0], dtype=nt.float64)
b = nt.tensor([10.0, 20.0], dtype=nt.float64)
results = []
threads = [threading.Thread(target=lambda: results.append((a + b).tolist()))
           for _ in range(4)]
for t in threads: t.start()
for t in threads: t.join()
assert all(r == results[0] for r in results) and len(results) == 4
result = results[0]
"""
    found = report(code, cache)
    assert found["result"] == SUM and found["compiled"] == 1


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMTENSOR_CACHE_DIR", str(tmp_path))
    return tmp_path


class TestCompileError:
    @pytest.mark.parametrize(
        "source",
        [
            "def broken(slots, lo, hi):\n    return nobody_knows_this\n",
            "def broken(slots, lo, hi):\n    slots['a'] = object()\n",
            "def broken(slots, lo, hi:\n",
            "other = 1\n",
        ],
    )
    def test_names_the_source(self, empty_cache, source):
        for _ in range(2):  # a refusal is not remembered as a kernel
            with pytest.raises(CompileError) as caught:
                compiler.load("broken", source)
            (path,) = empty_cache.glob("broken_*.py")
            assert str(path) in str(caught.value)
            assert "compile: got kernel 'broken'" in str(caught.value)
            assert caught.value.__cause__ is not None
            assert path.read_text() == source
        assert not list(empty_cache.glob("*.o"))

    def test_is_an_ordinary_error(self):
        assert issubclass(CompileError, RuntimeError)
