"""What the pages say: samples run, links lead somewhere, shown kernels are real."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import numtensor.kernels

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FLAGS = doctest.ELLIPSIS


def each_page():
    return pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)


def block_after(page, marker):
    """Return the fenced block that follows an HTML comment."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(
        rf"^<!-- {re.escape(marker)} -->\n```\w*\n(.*?)^```$", text, re.M | re.S
    )
    assert len(found) == 1, f"{page}: {len(found)} blocks marked {marker!r}"
    return found[0]


@each_page()
def test_samples(page):
    # fences are no output: what stands before one ends with an empty line
    text = page.read_text(encoding="utf-8")
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    failures = doctest.DocTestRunner(optionflags=FLAGS).run(test).failed
    assert failures == 0


def test_the_readme_has_samples():
    assert (ROOT / "README.md").read_text(encoding="utf-8").count(">>> ") > 10


@each_page()
def test_links(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: no {target}"


@each_page()
def test_modules_named_in_pages_exist(page):
    text = page.read_text(encoding="utf-8")
    folders = (ROOT, ROOT / "numtensor", ROOT / "docs", ROOT / "numtensor" / "nn")
    for name in re.findall(r"`([\w/.]+(?:\.py|/))`", text):
        found = any((folder / name).exists() for folder in folders)
        kernel = re.search(r"_[0-9a-f]{16}\.py$", name)
        assert found or kernel or name == "utils.py", f"{page.name}: no {name}"


@pytest.mark.parametrize("name", ["fit", "test"])
def test_the_commands_of_the_readme(name):
    """Each is one shell command that makes its own environment; CI runs it."""
    command = block_after("README.md", f"command: {name}")
    assert command.startswith("python3 -m venv .venv && ")
    script = command.split()[-1]
    assert (ROOT / script).is_file()


def test_the_kernel_in_the_readme(tmp_path):
    """It is, to the letter, the file that a fresh process writes."""
    code = """
import numtensor as torch
x = torch.ones(2, requires_grad=True)
y = torch.ones(2, requires_grad=True)
(x * y).backward(torch.tensor([1.0, 2.0]))
"""
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env={**os.environ, "NUMTENSOR_CACHE_DIR": str(tmp_path)},
        cwd=ROOT,
    )
    (path,) = tmp_path.glob("mul_backward_*.py")
    assert block_after("README.md", "kernel: mul_backward") == path.read_text()
    assert path.name in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_operators_is_current():
    script = ROOT / "docs" / "make_operators.py"
    spec = importlib.util.spec_from_file_location("make_operators", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shown = module.PAGE.read_text(encoding="utf-8")
    assert shown == module.page(), "run python docs/make_operators.py"


def test_samples_in_the_docstrings_of_kernels():
    """`numtensor.kernels` is a folder beside the package, which pytest cannot name."""
    failures = 0
    path, prefix = numtensor.kernels.__path__, "numtensor.kernels."
    for found in pkgutil.walk_packages(path, prefix):
        module = importlib.import_module(found.name)
        failures += doctest.testmod(module, optionflags=FLAGS).failed
    assert failures == 0


def test_ci_can_be_run():
    """The script keeps its mode, and reads the commands from the README's markers."""
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text(encoding="utf-8")
    for name in ("fit", "test"):
        assert f"run_readme_command {name}\n" in text
