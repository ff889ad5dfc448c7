"""The house: which room may import which, how long a file may be, what is installed."""

from __future__ import annotations

import ast
import configparser
import functools
import os
import subprocess
import sys
from pathlib import Path

import check
import pytest

ROOT = Path(__file__).resolve().parents[1]
#: sources that Numba itself reads
READ_BY_NUMBA = {
    "numtensor.kernels.blas_words",
    "numtensor.kernels.capsules",
    "numtensor.kernels.lang",
    "numtensor.kernels.runners",
    "numtensor.kernels.cuda.lang",
    "numtensor.kernels.cuda.across",
    "numtensor.kernels.cuda.plain",
    "numtensor.kernels.cuda.words",
}
TREES = {"numtensor": ROOT / "numtensor", "numtensor.kernels": ROOT / "kernels"}
COMPILERS = {"numba", "llvmlite"}

#: what a room of numtensor may import of numtensor; rooms not named here are free
#: within the rules of the tests below
MAY_IMPORT = {
    "errors": set(),
    "printing": set(),
    "_version": set(),
    "dtypes": {"errors"},
    "devices": {"errors", "kernels"},
    "indexing": {"errors"},
    "layout": {"errors", "indexing"},
    "storage": {"errors"},
    "modes": {"errors"},
    "tape": {"errors", "layout", "modes"},
    "device_memory": {"devices", "errors", "kernels", "storage"},
    "spec": {"device_memory", "devices", "dtypes", "errors", "layout", "storage"}
    | {"tracing"},  # where the memory of traced tensors seems to come from
    "launch_parts": {"kernels", "layout", "storage"},
    "launch_cpu": {"kernels", "launch_parts", "layout"},
    "device_tables": {"device_memory", "devices", "kernels"},
    "launch_cuda": {
        "device_memory",
        "device_tables",
        "devices",
        "kernels",
        "launch_parts",
        "layout",
        "storage",
    },
    "launch": {
        "devices",
        "dtypes",
        "kernels",
        "launch_cpu",
        "launch_cuda",
        "launch_parts",
        "launch_trace",
    },
    "ops.registry": set(),
}


def modules():
    """Yield (full name, path) of every module that is installed."""
    for package, folder in TREES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            if parts[-1] == "__init__":
                parts = parts[:-1]
            yield ".".join((package, *parts)), path


MODULES = dict(modules())


def is_package(name):
    return MODULES[name].name == "__init__.py"


@functools.cache
def imports(name, everywhere=True):
    """Return the full names of what a module imports, but for the type checker.

    `everywhere` counts imports inside functions, which happen later, too.
    """
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    package = name if is_package(name) else name.rpartition(".")[0]
    found = set()

    def visit(node):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not everywhere:
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.add(full if full in MODULES else base)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return frozenset(found)


def room(name):
    """Return a module's name inside numtensor, or '' for what is none of ours."""
    return name.removeprefix("numtensor.") if name.startswith("numtensor") else ""


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_for(name):
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{name} has no docstring"


def test_only_kernels_import_the_compiler():
    for name in MODULES:
        tops = {imported.partition(".")[0] for imported in imports(name)}
        if not name.startswith("numtensor.kernels"):
            assert not tops & COMPILERS, f"{name} imports {tops & COMPILERS}"


def test_kernels_import_nothing_of_numtensor_but_errors():
    for name in MODULES:
        if name.startswith("numtensor.kernels"):
            for imported in imports(name):
                inside = imported.startswith("numtensor.kernels")
                ours = imported.split(".")[0] == "numtensor"
                allowed = inside or imported == "numtensor.errors"
                assert allowed or not ours, f"{name} imports {imported}"


def test_importing_kernels_does_not_load_the_compiler():
    """At the top of a module, numba belongs to sources that numba itself reads."""
    for name in MODULES:
        if name in READ_BY_NUMBA:
            continue
        tops = {imported.partition(".")[0] for imported in imports(name, False)}
        assert not tops & COMPILERS, f"{name} imports {tops & COMPILERS} at its top"


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_low_rooms_import_only_what_is_below(name):
    for imported in imports(f"numtensor.{name}"):
        inside = room(imported)
        if inside:
            allowed = inside in MAY_IMPORT[name]
            allowed |= inside.partition(".")[0] in MAY_IMPORT[name]
            assert allowed, f"{name} imports {inside}"


def test_the_engine_knows_no_operator():
    """Operators are declared on top of the engine: nothing below names one."""
    for name in ("elementwise", "reduce", "wayback", "fastcall", "writing", "taped"):
        full = f"numtensor.{name}"
        if full in MODULES:
            for imported in imports(full):
                assert not room(imported).startswith("ops"), f"{name}: {imported}"


def test_imports_have_no_cycle():
    """What happens at import runs one way; functions may import later."""
    state = {}

    def visit(name, trail):
        if state.get(name) == "done":
            return
        assert state.get(name) != "open", " -> ".join([*trail, name])
        state[name] = "open"
        for imported in sorted(imports(name, False)):
            # every module imports its package's __init__, by being found in it
            if imported in MODULES and imported != name and not is_package(imported):
                visit(imported, [*trail, name])
        state[name] = "done"

    for name in MODULES:
        visit(name, [])


def test_no_file_is_too_long():
    assert check.long_files() == []


def test_import_is_light():
    """No compiler, no library that only tests and examples need, little time."""
    code = """
import sys, time
start = time.perf_counter()
import numpy
middle = time.perf_counter()
import numtensor
end = time.perf_counter()
heavy = "numba llvmlite scipy torch matplotlib tqdm platformdirs multiprocessing"
loaded = [name for name in heavy.split() if name in sys.modules]
print(middle - start, end - middle, *loaded)
"""
    for _ in range(2):  # the first may have to write bytecode
        output = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env=os.environ,
        ).stdout.split()
    numpy_time, ours, *loaded = output
    print(
        f"import numtensor: {float(ours) * 1e3:.0f} ms after numpy's "
        f"{float(numpy_time) * 1e3:.0f} ms"
    )
    assert loaded == []


def test_every_package_is_installed():
    """setup.cfg lists the folders that exist, so that a wheel is whole."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = config["options"]["packages"].split()
    assert sorted(listed) == sorted(name for name in MODULES if is_package(name))
    folders = {path.parent for path in MODULES.values()}
    assert all((folder / "__init__.py").is_file() for folder in folders)
