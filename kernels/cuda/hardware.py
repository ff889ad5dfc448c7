"""GPUs, by way of numba-cuda: its memory manager, its driver calls, its dispatcher.

Numba reads the environment when it is first imported, and a GPU machine may lack the
libraries that compile for it: `missing` says so before anything is asked of a device.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

from ...errors import CompileError, DeviceError, message
from .. import compiler
from . import sources
from .driver import Properties, lose

#: Numba finds its devices without a lock
_finding = threading.Lock()


def missing() -> str:
    """Return what keeps this machine from running kernels; empty if nothing does."""
    with _finding:
        return _missing()


def _missing() -> str:
    try:
        from numba import cuda
        from numba.cuda.core import config
    except ImportError as error:
        return f"numba-cuda, which cannot be imported ({_line(error)})"
    if config.ENABLE_CUDASIM:
        return "a process that imported numba.cuda as the simulator"
    from numba.cuda.cudadrv.error import CudaSupportError

    try:
        count = len(cuda.gpus)
    except CudaSupportError as error:
        if "NO_DEVICE" not in str(error):
            return f"no usable CUDA driver ({_line(error)})" + _hidden()
        count = 0
    if not count:
        return "a CUDA driver that sees no device" + _hidden()
    return _without_compiler()


def _without_compiler() -> str:
    """Say which library is missing that kernels are compiled with."""
    from numba.cuda.cudadrv import libs, nvvm

    try:
        nvvm.NVVM()
    except Exception as error:
        # the binding raises its own, and has changed which
        return (
            f"a GPU without libNVVM to compile for it ({_line(error)}), which "
            "'numtensor[cuda12]' and 'numtensor[cuda13]' bring"
        )
    if libs.get_libdevice() is None:
        return (
            "a GPU without libdevice to compile for it, which 'numtensor[cuda12]' and "
            "'numtensor[cuda13]' bring"
        )
    return ""


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(filter(None, lines))


def _hidden() -> str:
    """Say that the environment hides devices, if it names some."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if visible is None else f", with CUDA_VISIBLE_DEVICES={visible!r}"


class _Kernel:
    """A kernel compiled for the devices it has been launched on."""

    def __init__(self, name: str, path: Any, dispatcher: Any) -> None:
        self.name = name
        self.path = path
        self.dispatcher = dispatcher


_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING
_LATE = (
    "An error of an earlier kernel may show only now: set CUDA_LAUNCH_BLOCKING=1 to "
    "see which one."
)


def _line_numbers() -> bool:
    """Whether a profiler is to see which line of a kernel's file code comes from."""
    return os.environ.get("NUMTENSOR_CUDA_LINEINFO", "0") not in ("", "0")


def _said(error: Exception) -> str:
    """Return the driver's sentence for an error, which PyTorch shows too."""
    from cuda.bindings import driver as binding

    name = re.search(r"CUDA_ERROR_\w+", str(error))
    code = getattr(binding.CUresult, name[0], None) if name else None
    text = binding.cuGetErrorString(code)[1] if code is not None else None
    return text.decode() if text else str(error)


def _no_memory(address: int) -> DeviceError:
    return DeviceError(
        message(
            "cuda",
            f"address {address:#x}, which is no device memory",
            "an address that a CUDA library has allocated on a device",
            "Keep the array that owns it, and hand over host arrays as ndarrays.",
        )
    )


def _errors() -> tuple[type[Exception], ...]:
    """Return what numba-cuda raises where the driver reports an error."""
    from numba.cuda.cudadrv.driver import CudaAPIError

    try:
        # of launches; it has no public name
        from cuda.core._utils.cuda_utils import CUDAError
    except ImportError:
        return (CudaAPIError,)
    return (CudaAPIError, CUDAError)


class _OutOfMemory(DeviceError, MemoryError):
    """The driver has no memory: for a tensor, a stream, the code of a kernel."""


class Hardware:
    """The GPUs of this machine."""

    simulated = False

    def __init__(self) -> None:
        from numba import cuda
        from numba.cuda.core import config
        from numba.cuda.cudadrv import driver

        # Numba warns of every launch of fewer than 128 blocks: of every small tensor
        config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
        self._cuda = cuda
        self._api = driver.driver
        self._errors = _errors()
        self._kernels: dict[str, _Kernel] = {}
        self._lock = threading.RLock()
        os.register_at_fork(after_in_child=lose)
        # what is registered last runs first: before the finalizers, if there is one
        weakref.finalize(self, int)
        self._ending = contextlib.ExitStack()
        atexit.register(self._end)

    def _end(self) -> None:
        """Let no finalizer free what the process leaves to the driver when it ends.

        They run in the main thread, which may have no context, or a broken one, and
        each would print an error.
        """
        for gpu in self._cuda.gpus:
            if gpu.primary_context is not None:
                self._ending.enter_context(gpu.primary_context.defer_cleanup())

    @contextlib.contextmanager
    def _on(self, index: int | None) -> Iterator[Any]:
        """Make a device the current one for a while, and yield its context.

        None is any device: a thread that has none current can call nothing.
        Raises: DeviceError, for what the driver says; it is a MemoryError, too, where
        that has no memory.
        """
        try:
            context = self._cuda.current_context()
            if index is None or context.device.id == index:
                yield context
                return
            with self._cuda.gpus[index]:
                yield self._cuda.current_context()
        except self._errors as error:
            kind = _OutOfMemory if "OUT_OF_MEMORY" in str(error) else DeviceError
            raise kind(
                message(
                    "cuda",
                    f"an error of the driver ({error})",
                    "none",
                    f"CUDA error: {_said(error)}. {_LATE}",
                )
            ) from error

    def count(self) -> int:
        return len(self._cuda.gpus)

    def properties(self, index: int) -> Properties:
        device = self._cuda.gpus[index]
        name = device.name
        with self._on(index) as context:
            total = context.get_memory_info().total
        return Properties(
            name.decode() if isinstance(name, bytes) else str(name),
            *device.compute_capability,
            int(total),
            int(device.MULTIPROCESSOR_COUNT),
        )

    def free_memory(self, index: int) -> int:
        with self._on(index) as context:
            return int(context.get_memory_info().free)

    # memory

    def allocate(self, index: int, nbytes: int) -> tuple[int, Any]:
        if nbytes >= 2**63:  # more than the binding can pass on
            raise MemoryError
        with self._on(index) as context:
            held = context.memalloc(nbytes)
        return held.device_pointer_value, held

    def adopt(self, index: int, address: int, nbytes: int) -> tuple[int, Any]:
        from cuda.bindings import driver as binding

        ask = self._api.cuPointerGetAttribute
        of, pointer = binding.CUpointer_attribute, binding.CUdeviceptr(address)
        try:
            with self._on(index):
                kind = ask(of.CU_POINTER_ATTRIBUTE_MEMORY_TYPE, pointer)
                place = ask(of.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, pointer)
        except DeviceError as error:  # an address that is nothing to the driver
            raise _no_memory(address) from error
        if int(kind) != int(binding.CUmemorytype.CU_MEMORYTYPE_DEVICE):
            raise _no_memory(address)
        return int(place), None

    def free(self, index: int, owners: list[Any]) -> None:
        """Let go of what keeps memory, and free what Numba puts off at once.

        Numba frees in the context that is current, of which a thread may have none.
        """
        with self._on(index) as context:
            owners.clear()
            waiting = getattr(context.memory_manager, "deallocations", None)
            if waiting is not None:
                waiting.clear()

    # A copy that is waited for is put on the stream and the stream waited for, though
    # cuMemcpyHtoD would be one call: that returns when pageable memory has been read,
    # and other streams could still find the old bytes on the device.

    def upload(
        self, index: int, to: int, host: int, nbytes: int, stream: Any, wait: bool
    ) -> None:
        with self._on(index):
            self._api.cuMemcpyHtoDAsync(to, host, nbytes, self.handle(stream))
            if wait:
                self._api.cuStreamSynchronize(self.handle(stream))

    def download(
        self, index: int, host: int, source: int, nbytes: int, stream: Any, wait: bool
    ) -> None:
        with self._on(index):
            self._api.cuMemcpyDtoHAsync(host, source, nbytes, self.handle(stream))
            if wait:
                self._api.cuStreamSynchronize(self.handle(stream))

    def copy(
        self, to: tuple[int, int], source: tuple[int, int], nbytes: int, stream: Any
    ) -> None:
        here = self.handle(stream)
        if to[0] == source[0]:
            with self._on(to[0]):
                self._api.cuMemcpyDtoDAsync(to[1], source[1], nbytes, here)
            return
        # between devices: after all that the source has to do, and before it goes on
        self.synchronize(source[0])
        with self._on(source[0]) as context:
            there = context.handle
        with self._on(to[0]) as context:
            self._api.cuMemcpyPeerAsync(
                to[1], context.handle, source[1], there, nbytes, here
            )
            self._api.cuStreamSynchronize(here)

    def pinned(self, nbytes: int) -> tuple[int, Any]:
        with self._on(None) as context:
            # portable: pinned for every device
            held = context.memhostalloc(nbytes, portable=True)
        return int(held.host_pointer), held

    # streams and events

    @staticmethod
    def handle(stream: Any) -> int:
        return int(stream.handle) if stream else 0

    def stream(self, index: int, priority: int = 0) -> Any:
        """Return a stream that does not wait for the default one, as Numba's do.

        It lives as long as the process: `cuda.streams` keeps a few.
        """
        with self._on(index):
            made = self._api.cuStreamCreateWithPriority(_NON_BLOCKING, priority)
            return self._cuda.external_stream(int(made))

    def stream_done(self, index: int, stream: Any) -> bool:
        with self._on(index):
            try:
                self._api.cuStreamQuery(self.handle(stream))
            except self._errors as error:
                if "NOT_READY" in str(error):
                    return False
                raise
        return True

    def finish(self, index: int, stream: Any) -> None:
        with self._on(index):
            self._api.cuStreamSynchronize(self.handle(stream))

    def event(self, index: int, timing: bool) -> Any:
        with self._on(index):
            return self._cuda.event(timing=timing)

    def record(self, event: Any, index: int, stream: Any) -> None:
        with self._on(index):
            event.record(stream)

    def wait_event(self, event: Any, index: int, stream: Any) -> None:
        with self._on(index):
            event.wait(stream)

    def event_done(self, event: Any) -> bool:
        with self._on(None):
            return bool(event.query())

    def elapsed(self, start: Any, end: Any) -> float:
        with self._on(None):
            return float(self._cuda.event_elapsed_time(start, end))

    def synchronize(self, index: int, what: Any = None) -> None:
        with self._on(index) as context:
            (context if what is None else what).synchronize()

    # kernels

    def load(self, name: str, source: str) -> _Kernel:
        key = sources.key(name, source)
        with self._lock:
            found = self._kernels.get(key)
            if found is None:
                found = self._kernels[key] = self._made(name, source)
        return found

    def _made(self, name: str, source: str) -> _Kernel:
        from .words import signature_of

        path = sources.keep(name, source)
        for listener in compiler.listeners:
            listener(name, None)
        start = time.perf_counter()
        try:
            function = sources.function(name, path, source)
            signature = signature_of(function.parameters)
            # Numba's cache does not tell kernels with line numbers from those without,
            # and their code differs a little
            options = {"lineinfo": True} if _line_numbers() else {"cache": True}
            # by way of PTX, as `check` does; link-time optimisation takes half as long
            # again, and has nothing to link
            options["lto"] = False
            with self._on(None):  # which code is loaded in at once
                try:
                    made = self._cuda.jit(signature, **options)(function)
                except RuntimeError as error:  # a folder that Numba cannot write to
                    if "cannot cache" not in str(error):
                        raise
                    made = self._cuda.jit(signature, lto=False)(function)
        except DeviceError:  # perhaps that of an earlier kernel
            raise
        except Exception as error:
            raise CompileError(
                message(
                    "compile",
                    f"kernel {name!r}, which numba-cuda refuses",
                    "source that compiles",
                    f"Read {path}; the cause follows from the error above.",
                )
            ) from error
        seconds = time.perf_counter() - start
        kept = sum(made.stats.cache_hits.values())
        compiler.statistics["linked" if kept else "compiled"] += 1
        compiler.statistics["seconds"] += seconds
        for listener in compiler.listeners:
            listener(name, seconds)
        return _Kernel(name, path, made)

    def launch(
        self, index: int, kernel: Any, grid: int, block: int, stream: Any, args: Any
    ) -> None:
        try:
            with self._on(index):
                kernel.dispatcher[grid, block, stream](*args)
        except DeviceError as error:
            raise DeviceError(
                message(
                    kernel.name,
                    f"a launch of {grid} x {block} threads that the driver refuses",
                    "a launch",
                    f"CUDA error: {_said(error.__cause__ or error)}. {_LATE}",
                )
            ) from error
