"""From kernel source text to machine code, kept on disk, and the calls into it.

The road of one kernel: its text is written to a file named by the hash of the text,
Numba compiles that file, and the machine code goes into an object file beside it. A
later process links the object file and imports neither Numba nor the kernel's module,
which is why a warm start takes milliseconds.

An object file is used only if its checksum holds, every symbol it calls exists, and
it was made by the same Numba, LLVM, `lang` and CPU; anything else is compiled again.
All files are written under a temporary name and renamed, so that any number of
processes can fill one cache.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import hashlib
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import CompileError, message
from . import extensions

_HERE = Path(__file__).parent
_MAGIC = b"numtensor object 1\n"
_lock = threading.RLock()
_kernels: dict[str, Kernel] = {}
_alive: list[Any] = []  # what the addresses in use belong to

#: what this process did: kernels compiled, kernels linked from disk, seconds spent
statistics = {"compiled": 0, "linked": 0, "seconds": 0.0}

#: called as listener(name, seconds or None) before and after each compilation
listeners: list[Callable[[str, float | None], None]] = []


class Kernel:
    """Machine code: `address` to call, `path` of the Python source it came from."""

    __slots__ = ("name", "address", "path")

    def __init__(self, name: str, address: int, path: Path) -> None:
        self.name = name
        self.address = address
        self.path = path

    def __repr__(self) -> str:
        return f"<kernel {self.name} from {self.path}>"


def cache_dir() -> Path:
    """Return the folder of kernel sources and object files.

    NUMTENSOR_CACHE_DIR, or the user's cache folder. Where that cannot be written, a
    private temporary folder serves for this process.
    """
    return _cache_dir(os.environ.get("NUMTENSOR_CACHE_DIR"))


@functools.lru_cache(maxsize=8)
def _cache_dir(override: str | None) -> Path:
    if override:
        folder = Path(override)
    else:
        import platformdirs

        folder = Path(platformdirs.user_cache_dir("numtensor", appauthor=False))
    folder = folder.expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="numtensor-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def _llvm():
    """Return llvmlite's binding and the engine that holds linked object files."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    if sys.platform.startswith("linux"):
        llvm.load_library_permanently("libm.so.6")
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    return llvm, engine


@functools.cache
def _toolchain() -> str:
    """Return a digest of all that machine code depends on besides its source."""
    import importlib.metadata  # a tenth of the import time of this package

    llvm, _ = _llvm()
    settings = {k: v for k, v in os.environ.items() if k.startswith("NUMBA_CPU")}
    parts = [
        importlib.metadata.version("numba"),
        importlib.metadata.version("llvmlite"),
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
        os.environ.get("NUMBA_OPT", ""),
        json.dumps(settings, sort_keys=True),
        sys.implementation.cache_tag or "",
        (_HERE / "lang.py").read_text(),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that no reader ever sees half of it.

    Makes its folder again if somebody has deleted it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def keep(path: Path, data: bytes) -> None:
    """Write a file of the cache; a full disk costs the next start, not this program."""
    try:
        if not path.exists() or path.read_bytes() != data:
            write_atomically(path, data)
    except OSError:
        pass


def load(name: str, source: str) -> Kernel:
    """Return the kernel that `source` defines under the function name `name`.

    Raises CompileError, with the path of the source, where Numba refuses it.
    """
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    key = f"{name}_{digest}"
    kernel = _kernels.get(key)
    if kernel is None:
        with _lock:
            kernel = _kernels.get(key)
            if kernel is None:
                path = cache_dir() / f"{key}.py"
                keep(path, source.encode())
                address = _code(name, path, source, _KERNEL)
                kernel = _kernels[key] = Kernel(name, address, path)
    return kernel


# The C signatures that Numba is asked for: kernels, Python functions, what threads
# run, functions of capsules.
_KERNEL, _FASTCALL, _WORKER, _CAPSULE = "kernel", "fastcall", "worker", "capsule"


def _signature(kind: str):
    from numba import types as nb

    slots = nb.CPointer(nb.int64)
    return {
        _KERNEL: nb.void(slots, nb.int64, nb.int64),
        _FASTCALL: nb.int64(nb.int64, slots, nb.int64),
        _WORKER: nb.void(nb.int64, nb.int64, nb.int64, slots),
        _CAPSULE: nb.void(slots),
    }[kind]


def _code(name: str, path: Path, source: str, kind: str) -> int:
    """Return the address of function `name` of the source, from disk or from Numba."""
    tag = hashlib.sha256(f"{_toolchain()}\0{kind}\0{source}".encode()).hexdigest()
    stored = cache_dir() / f"{path.stem}_{name}_{tag[:16]}.o"
    address = _link(stored, tag)
    if address is None:
        address = _compile(name, path, source, kind, stored, tag)
    return address


def _link(stored: Path, tag: str) -> int | None:
    """Link an object file; None if it is missing, damaged or not ours."""
    try:
        blob = stored.read_bytes()
        if not blob.startswith(_MAGIC):
            return None
        checksum, header, code = blob[len(_MAGIC) :].split(b"\n", 2)
        if hashlib.sha256(header + code).hexdigest().encode() != checksum:
            return None
        facts = json.loads(header)
        if facts["tag"] != tag:
            return None
        symbol, needs = facts["symbol"], facts["needs"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    llvm, engine = _llvm()
    # LLVM ends the process on a symbol it cannot resolve: look each one up first
    for provide in (_add_symbols, _numba_symbols):
        if all(llvm.address_of_symbol(s) is not None for s in needs):
            break
        provide()
    if any(llvm.address_of_symbol(s) is None for s in needs):
        return None
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    statistics["linked"] += 1
    return engine.get_function_address(symbol) or None


@functools.cache
def _add_symbols() -> None:
    """Tell LLVM where Numba's helpers are, which most machine code names.

    It calls them where a kernel raises an exception, which no kernel does.
    """
    llvm, _ = _llvm()
    for name, address in extensions.symbols().items():
        llvm.add_symbol(name, address)


@functools.cache
def _numba_symbols() -> None:
    """Make Numba itself register all helpers that its machine code may call."""
    from numba.core.registry import cpu_target
    from numba.core.runtime import rtsys

    rtsys.initialize(cpu_target.target_context)


def _compile(
    name: str, path: Path, source: str, kind: str, stored: Path, tag: str
) -> int:
    import numba

    for listener in listeners:
        listener(name, None)
    start = time.perf_counter()
    module = types.ModuleType(f"numtensor.compiled.{path.stem}")
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
        from .lang import FLAGS

        with _packing(getattr(module, "PACKED", False)):
            function = numba.cfunc(_signature(kind), **FLAGS)(getattr(module, name))
    except Exception as error:
        raise CompileError(
            message(
                "compile",
                f"kernel {name!r}, which Numba {numba.__version__} refuses",
                "source that compiles",
                f"Read {path}; the cause follows from the error above.",
            )
        ) from error
    library = function._library
    needs = sorted(
        f.name
        for f in library._final_module.functions
        if f.is_declaration and not f.name.startswith("llvm.")
    )
    facts = {"tag": tag, "symbol": function._wrapper_name, "needs": needs}
    header = json.dumps(facts).encode()
    code = library._get_compiled_object()
    checksum = hashlib.sha256(header + code).hexdigest().encode()
    keep(stored, _MAGIC + checksum + b"\n" + header + b"\n" + code)
    _alive.append(function)
    seconds = time.perf_counter() - start
    statistics["compiled"] += 1
    statistics["seconds"] += seconds
    for listener in listeners:
        listener(name, seconds)
    return function.address


@contextlib.contextmanager
def _packing(wanted: bool) -> Iterator[None]:
    """Have LLVM make vectors of statements, which Numba leaves out unless told."""
    from numba import config

    before = config.SLP_VECTORIZE
    config.SLP_VECTORIZE = int(wanted or before)
    try:
        yield
    finally:
        config.SLP_VECTORIZE = before


class _MethodDef(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


_METH_FASTCALL = 0x0080


@functools.cache
def _own_code(room: str, name: str, kind: str) -> int:
    """Return the address of a function whose source is a file beside this one.

    Called with the lock held, so that nothing is linked twice.
    """
    path = _HERE / f"{room}.py"
    return _code(name, path, path.read_text(), kind)


@functools.cache
def runner(name: str, room: str = "runners") -> Callable[..., Any]:
    """Return `serial` or `serial_float` of `runners` as a Python callable.

    They take (kernel address, n, *slots) and are called with the interpreter lock
    held, which is right for what takes microseconds. So are those of `rows`.
    """
    with _lock:
        address = _own_code(room, name, _FASTCALL)
        method = _MethodDef(name.encode(), address, _METH_FASTCALL, None)
        _alive.append(method)
        create = ctypes.pythonapi.PyCFunction_NewEx
        create.restype = ctypes.py_object
        create.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.py_object]
        # `self` is None, which the function returns
        return create(ctypes.addressof(method), None, "numtensor.kernels")


@functools.cache
def capsule_function(name: str) -> int:
    """Return the address of `delete_export` or `drop_capsule` of `capsules`."""
    with _lock:
        return _own_code("capsules", name, _CAPSULE)


@functools.cache
def _threaded() -> tuple[int, Callable, Callable, Callable]:
    """Return what spreads a kernel: `worker`, parallel_for of Numba's threads, and what
    reads and sets the number of threads that Numba gives this thread.

    The threads look for work a moment and then sleep. GNU's OpenMP lets them look for
    15 ms, on cores that NumPy's BLAS wants meanwhile: a product of 300 x 300 that a
    program has NumPy make after a kernel took 7 ms, and takes 0.4 now. 10000 looks are
    0.3 ms, enough for kernels that follow each other.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    with _lock:
        worker = _own_code("runners", "worker", _WORKER)
        pool = extensions.pool(_numba_threads())
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 7, ctypes.c_int)
        return (
            worker,
            kind(pool.parallel_for),  # ctypes releases the interpreter lock
            ctypes.PYFUNCTYPE(ctypes.c_int)(pool.get_num_threads),
            ctypes.PYFUNCTYPE(None, ctypes.c_int)(pool.set_num_threads),
        )


_threads: list[int] = []
_one_at_a_time = threading.Lock()
_forked: list[bool] = []
_WORDS = ctypes.c_int64 * 40


def _cores() -> int:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 0
    return cores or os.cpu_count() or 1


def _numba_threads() -> int:
    """Return how many threads Numba starts in this process."""
    told = os.environ.get("NUMBA_NUM_THREADS", "")
    return int(told) if told.isdigit() and int(told) > 0 else _cores()


@functools.cache
def max_threads() -> int:
    """Return the cores this process may use, or fewer if Numba is told so."""
    return min(_cores(), _numba_threads())


def num_threads() -> int:
    """Return how many threads one kernel may use; NUMTENSOR_NUM_THREADS sets it."""
    if not _threads:
        wanted = os.environ.get("NUMTENSOR_NUM_THREADS", "")
        count = int(wanted) if wanted.isdigit() and int(wanted) > 0 else max_threads()
        _threads.append(min(count, max_threads()))
    return _threads[0]


def set_num_threads(count: int) -> None:
    """Let one kernel use at most `count` threads; 1 runs everything serially.

    More than the cores this process may use count as all of them.
    Raises ValueError below 1.
    """
    if count < 1:
        raise ValueError(message("set_num_threads", f"{count}", "a positive integer"))
    num_threads()
    _threads[0] = min(count, max_threads())


def run_threaded(address: int, n: int, slots: list[int], grain: int) -> None:
    """Run a kernel over [0, n) on all threads, in chunks of at least `grain`.

    Two Python threads never spread work at once: the second runs its kernel alone,
    since some of Numba's threading layers end the process otherwise. So they do in a
    process forked from one that had started threads: it runs everything serially.
    """
    count = num_threads()
    chunk = max(grain, -(-n // (count * 8)))
    alone = count == 1 or n <= chunk or bool(_forked)
    if not alone and _one_at_a_time.acquire(blocking=False):
        try:
            worker, parallel_for, get_count, set_count = _threaded()
            # as `worker` reads them: 5 words of its own, then the slots
            words = _WORDS(0, address, n, chunk, count, *slots)
            place = ctypes.addressof(words)
            before = get_count()
            parallel_for(worker, 0, place + 32, place, place, 0, 0, count)
            if before != count:  # some layers leave `count` there
                set_count(before)
        finally:
            _one_at_a_time.release()
    else:
        words = _WORDS(*slots)
        _plain_call(address)(ctypes.addressof(words), 0, n)


def _after_fork() -> None:
    """Set a child process right: no threads but its own, and a lock nobody holds."""
    global _lock
    _lock = threading.RLock()
    if _threaded.cache_info().currsize:
        _forked.append(True)
        extensions.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@functools.lru_cache(maxsize=4096)
def _plain_call(address: int) -> Callable[[int, int, int], None]:
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    return kind(address)
