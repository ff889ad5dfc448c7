"""Numba's C extensions, loaded without Numba, whose import takes 0.3 s.

Machine code calls a few C functions of Numba's, and large kernels run on its threads.
Both live in extension modules that need no line of its Python. They are loaded from
their files here, once a process: a program that imports Numba, earlier or later, gets
these same libraries with the same threads. Where it is not certain which threads Numba
would choose, it is imported and asked. Nothing here knows kernels.
"""

from __future__ import annotations

import builtins
import ctypes
import functools
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

_TBB = {"darwin": "libtbb.12.dylib", "win32": "tbb12.dll"}
_POOLS = {"omp": "omppool", "workqueue": "workqueue", "tbb": "tbbpool"}
_launched: list[str] = []  # the pool that was launched without Numba


def _load(name: str) -> ModuleType | None:
    """Return the extension module numba.`name`; None where there is none that loads."""
    package = importlib.util.find_spec("numba")  # finds it, and imports nothing
    if package is None:
        return None
    whole, (*folders, _) = f"numba.{name}", name.split(".")
    if whole in sys.modules:
        return sys.modules[whole]
    places = [
        str(Path(place, *folders)) for place in package.submodule_search_locations or ()
    ]
    spec = importlib.machinery.PathFinder.find_spec(whole, places)
    if spec is None or not isinstance(
        spec.loader, importlib.machinery.ExtensionFileLoader
    ):
        return None
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError:  # a library that it needs is not there
        return None
    # modules of the older kind enter themselves, but a part of a package that is not
    # imported is no use to anybody; Numba's import finds the library loaded
    if sys.modules.get(whole) is module and "numba" not in sys.modules:
        del sys.modules[whole]
    return module


@functools.cache
def symbols() -> dict[str, int]:
    """Return the addresses, by name, of what Numba's machine code may call or name."""
    found = {"_Py_NoneStruct": id(None)}
    for name, value in vars(builtins).items():
        if isinstance(value, type) and issubclass(value, BaseException):
            found[f"PyExc_{name}"] = id(value)
    for name, prefix in (
        ("_helperlib", "numba_"),
        ("core.runtime._nrt_python", "NRT_"),
    ):
        helpers = getattr(_load(name), "c_helpers", {})
        found.update(
            (helper if helper.startswith("_") else prefix + helper, address)
            for helper, address in helpers.items()
        )
    return found


def pool(count: int) -> ModuleType:
    """Return the module of the threads that Numba uses or would use, launched.

    Its attributes are addresses of C functions, parallel_for among them. `count` is
    the number of threads that Numba would launch.
    """
    if "numba" not in sys.modules:
        for layer in _layers():
            module = _load(f"np.ufunc.{_POOLS[layer]}")
            if module is not None:
                if layer == "workqueue":
                    # it cannot be asked for more threads than it was launched with
                    os.environ.setdefault("NUMBA_NUM_THREADS", str(count))
                ctypes.CFUNCTYPE(None, ctypes.c_int)(module.launch_threads)(count)
                _launched.append(layer)
                return module
    from numba.np.ufunc import parallel

    parallel._launch_threads()
    return sys.modules[f"numba.np.ufunc.{_POOLS[parallel.threading_layer()]}"]


def _layers() -> Iterator[str]:
    """Yield the threading layers that Numba would try; none if only it can tell."""
    wanted = os.environ.get("NUMBA_THREADING_LAYER", "default").lower()
    if os.path.exists(".numba_config.yaml"):
        return
    if wanted in ("omp", "workqueue"):
        yield wanted
    elif wanted == "default" and "NUMBA_THREADING_LAYER_PRIORITY" not in os.environ:
        try:
            ctypes.CDLL(_TBB.get(sys.platform, "libtbb.so.12"))
        except OSError:
            yield from ("omp", "workqueue")


def after_fork() -> None:
    """Keep Numba, in a child process, from threads that stayed with the parent.

    GNU's OpenMP would wait for them for ever, where Numba's launching of it in the
    child has hidden the fork from Numba's own check.
    """
    if _launched == ["omp"]:
        config: Any = sys.modules.get("numba.core.config")
        if config is None:
            os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")
        elif getattr(config, "THREADING_LAYER", "") == "default":
            config.THREADING_LAYER = "workqueue"
