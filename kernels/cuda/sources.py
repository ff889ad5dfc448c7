"""The files of CUDA kernels: named by the hash of their text, run as Python modules.

numba-cuda keeps machine code beside the file it came from, and looks at nothing else.
So there is a folder for each state of all that a kernel's machine code depends on.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import types
from pathlib import Path
from typing import Any

from .. import compiler


def key(name: str, source: str) -> str:
    """Return what tells this kernel from all others."""
    return f"{name}_{hashlib.sha256(source.encode()).hexdigest()[:16]}"


@functools.cache
def _state() -> str:
    """Return a digest of the kernels' words and of what compiles them."""
    parts = [
        importlib.metadata.version(package)
        for package in ("numba-cuda", "numba", "llvmlite")
    ]
    parts += [
        (Path(__file__).parent / f"{room}.py").read_text(encoding="utf-8")
        for room in ("lang", "words", "across", "geometry")
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def folder() -> Path:
    """Return the folder of these kernels' files."""
    return compiler.cache_dir() / f"cuda-{_state()}"


def keep(name: str, source: str) -> Path:
    """Write the file of a kernel, if it is not there; return its path."""
    path = folder() / f"{key(name, source)}.py"
    compiler.keep(path, source.encode())
    return path


def function(name: str, path: Path, source: str) -> Any:
    """Return the Python function that a kernel's file defines, with `parameters`."""
    module = types.ModuleType(f"numtensor.compiled.{path.stem}")
    module.__file__ = str(path)
    exec(compile(source, str(path), "exec"), module.__dict__)
    return getattr(module, name)
