"""The driver `hardware`, numba-cuda and cuda-bindings, over a CUDA driver of our own.

`fake_driver.c` stands for libcuda.so.1 where there is none: all calls of the driver are
made and checked, only kernels do not run. Every scenario is a process of its own, and
fails if the fake driver has noticed a fault.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_cuda_api import SETTING, child

pytestmark = pytest.mark.cuda

SOURCE = Path(__file__).with_name("fake_driver.c")

# what a scenario begins with; `used` has the bytes allocated on each device and, at 8,
# those pinned
BEFORE = """
import ctypes, gc, re, struct, threading

fake = ctypes.CDLL("libcuda.so.1")
used = (ctypes.c_long * 9).in_dll(fake, "fake_used")
number = lambda name: ctypes.c_int.in_dll(fake, name)
length = ctypes.c_long.in_dll(fake, "fake_recorded")
record = (ctypes.c_char * 2**18).in_dll(fake, "fake_record")

def told():
    "Return what devices were told to do since the last time."
    text = record.raw[:length.value].decode()
    length.value = 0
    return text.splitlines()

def launches():
    "Return (grid, block, device:stream, [(bytes, value) of each argument]) of each."
    pattern = r"launch of (\\d+) x (\\d+) with (.*) on (.*)"
    found = [re.match(pattern, line) for line in told()]
    return [
        (int(m[1]), int(m[2]), m[4], [
            (int(size), int(bits, 16))
            for size, bits in (word.split(":") for word in m[3].split())
        ])
        for m in found if m
    ]

def fail(call, code, times=1):
    "Let the next calls of a function of the driver fail."
    (ctypes.c_char * 64).in_dll(fake, "fake_failing").value = call.encode()
    number("fake_failure").value = code
    number("fake_failures").value = times

def in_thread(call):
    "Call in a new thread, which has no context; return what it returns."
    found = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]

def empty():
    "Give all memory back that no tensor has."
    gc.collect()
    cuda.empty_cache()
    return list(used)

ILLEGAL, OUT_OF_MEMORY, NOT_READY = 700, 2, 600
"""
AFTER = """
assert number("fake_faults").value == 0
assert fake.fake_depth() <= 1, "a context is left on the stack"
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """Build the fake driver; return the folder it is in."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler")
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        pass
    else:
        pytest.skip("there is a CUDA driver: no need for a fake one")
    folder = tmp_path_factory.mktemp("driver")
    options = ["-shared", "-fPIC", "-O1", "-Wall", "-pthread"]
    target = str(folder / "libcuda.so.1")
    command = [compiler, *options, str(SOURCE), "-o", target, "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    code = "from numtensor.kernels.cuda import hardware; print(hardware.missing())"
    missing = child(code, LD_LIBRARY_PATH=path_with(folder)).strip()
    if "to compile for it" in missing:
        pytest.skip(f"there is {missing}")
    assert missing == ""
    return folder


def path_with(folder):
    return os.pathsep.join(filter(None, [str(folder), os.getenv("LD_LIBRARY_PATH")]))


@pytest.fixture
def run(library):
    """Return what runs a scenario and returns what that prints."""

    def run(code, **environment):
        environment["LD_LIBRARY_PATH"] = path_with(library)
        return child(BEFORE + SETTING + code + AFTER, **environment)

    return run


# Devices


def test_two_devices(run):
    code = """
print(cuda.is_available(), cuda.device_count(), cuda.current_device())
for k in (0, 1):
    found = cuda.get_device_properties(k)
    print(found.name, found.major, found.minor, found.multi_processor_count)
    print(found.total_memory == 2**26, cuda.mem_get_info(k) == (2**26, 2**26))
print(in_thread(lambda: cuda.get_device_name("cuda:1")))
print(said(nt.errors.DeviceError, nt.empty, 1, device="cuda:2").partition(";")[0])
"""
    assert run(code) == (
        "True 2 0\nFake 0 8 0 100\nTrue True\nFake 1 9 0 101\nTrue True\nFake 1\n"
        "device: got 'cuda:2'\n"
    )


def test_a_driver_that_sees_no_device(run):
    code = """
number("fake_devices").value = 0
print(cuda.is_available(), cuda.device_count())
print(said(nt.errors.DeviceError, nt.empty, 1, device="cuda").partition(";")[0])
"""
    said = "False 0\ncuda: got a CUDA driver that sees no device, with CUDA_VISIBLE_"
    assert run(code, CUDA_VISIBLE_DEVICES="").startswith(f"{said}DEVICES=''\n")


# Copies


def test_tensors_move_there_and_back(run):
    code = """
x = nt.arange(6.0)
for k in (0, 1):
    told()
    y = x.to(f"cuda:{k}")
    there = [f"upload of 24 bytes on {k}:0", f"wait for the stream on {k}:0"]
    assert told() == there
    assert (y.device.index, y.tolist()) == (k, x.tolist())
    assert told() == [line.replace("upload", "download") for line in there]
    assert in_thread(lambda: x.to(y.device).tolist() + y.tolist()) == 2 * x.tolist()
    square = x.reshape(2, 3)
    for moved in (square.t(), square[:, 1], x > 2, x.long()[4:], x[:0]):
        assert moved.to(y.device).cpu().tolist() == moved.tolist()
    told()
    with cuda.stream(cuda.Stream(k)):
        assert x.to("cuda").tolist() == x.tolist()
        assert {line.split()[-1] for line in told()} == {f"{k}:{k + 1}"}
    y.copy_(x + 1)
    assert in_thread(lambda: y.cpu()).tolist() == (x + 1).tolist()
del y, moved
print(empty())
"""
    assert run(code) == f"{[0] * 9}\n"


def test_tensors_move_between_devices(run):
    code = """
from numtensor import device_memory
x = nt.arange(6.0, device="cpu").to("cuda:1")
told()
y = x.to("cuda:0")
print(*told(), sep="\\n")
with cuda.stream(cuda.Stream(0)):
    z = in_thread(lambda: x.to("cuda:0"))  # whose stream is its own
    w = x.to("cuda")
print(*told(), sep="\\n")
device_memory.copy((x.device, x.data_ptr()), (x.device, x.data_ptr() + 8), 12)
print(*told())
print(y.tolist() == z.tolist() == w.tolist() == [0, 1, 2, 3, 4, 5], x.tolist())
del x, y, z, w
print(empty() == [0] * 9)
"""
    between = (
        "wait for the device on 1:0\ncopy between devices of 24 bytes on 0:{0}\n"
        "wait for the stream on 0:{0}\n"
    )
    assert run(code) == (
        between.format(0) + between.format(0) + between.format(1) + "copy of 12 bytes "
        "on 1:0\nTrue [2.0, 3.0, 4.0, 3.0, 4.0, 5.0]\nTrue\n"
    )


def test_pinned_and_staged_uploads(run):
    code = """
x = nt.arange(6.0)
p = x.pin_memory()
told()
y = p.to("cuda:1", non_blocking=True)
print(*told(), sep="\\n")
z = x.to("cuda:1", non_blocking=True)  # by way of pinned memory
print(*told(), sep="\\n")
before = used[8]
x.to("cuda:1", non_blocking=True)
print(used[8] == before)  # its copy is done
fail("cuEventQuery", NOT_READY)
x.to("cuda:1", non_blocking=True)
print(used[8] - before)
told()
in_thread(lambda: p[2:].to("cuda:0", non_blocking=True))
print(*told(), sep="\\n")
print(y.tolist() == z.tolist() == x.tolist())
fail("cuMemHostAlloc", OUT_OF_MEMORY, 2)  # numba-cuda tries twice
print(said(MemoryError, nt.empty(1000).pin_memory)[:39])
for k in range(300):  # events do not add up
    x.to(f"cuda:{k % 2}", non_blocking=True)
print(number("fake_events").value < 50)
del y, z
print(empty()[:2])
"""
    assert run(code) == (
        "upload of 24 pinned bytes on 1:0\nevent 1 on 1:0\n"
        "upload of 24 pinned bytes on 1:0\nevent 2 on 1:0\nTrue\n512\n"
        "upload of 16 pinned bytes on 0:0\nevent 5 on 0:0\nTrue\n"
        "pin_memory: got a request for 4,000 byt\nTrue\n[0, 0]\n"
    )


def test_memory_of_other_libraries(run):
    code = """
from numtensor.kernels.cuda import driver
api = driver.current()
address, owner = api.allocate(1, 64)

class Foreign:
    def __init__(self, address):
        self.__cuda_array_interface__ = {
            "shape": (3,), "typestr": "<f4", "data": (address, False), "version": 3
        }

x = nt.as_tensor(Foreign(address))
api.upload(1, address, nt.arange(3.0).data_ptr(), 12, 0, True)
print(x.device, x.tolist(), in_thread(lambda: nt.as_tensor(Foreign(address)).device))
for host in (nt.ones(3), nt.ones(3).pin_memory()):
    text = said(nt.errors.DeviceError, nt.as_tensor, Foreign(host.data_ptr()))
    print("which is no device memory" in text)
"""
    assert run(code) == "cuda:1 [0.0, 1.0, 2.0] cuda:1\nTrue\nTrue\n"


# Streams and events


def test_streams_and_events(run):
    code = """
x = nt.ones(3, device="cpu").to("cuda:1")
a, b = cuda.Stream(0), cuda.Stream(1, priority=-2)
print(a.query(), b.query(), a.cuda_stream != b.cuda_stream != 0)
told()
b.wait_stream(cuda.default_stream(1))
a.wait_event(b.record_event())
print(*told(), sep="\\n")
start, end = (cuda.Event(enable_timing=True) for _ in range(2))
start.record(b)
with cuda.stream(b):
    x.cpu(), x.cpu()
    end.record()
in_thread(end.synchronize)
print(in_thread(lambda: start.elapsed_time(end)), in_thread(end.query))  # fake's time
fail("cuStreamQuery", NOT_READY)
print(in_thread(b.query), b.query())
fail("cuEventQuery", NOT_READY)
print(end.query(), end.query())
told()
cuda.synchronize(1)
b.synchronize()
in_thread(cuda.default_stream(0).synchronize)
print(*told(), sep="\\n")
address = x.data_ptr()
x.record_stream(b)
del x
fail("cuEventQuery", NOT_READY, 2)
kept = [nt.empty(3, device="cuda:1") for _ in range(4)]
print([x.data_ptr() == address for x in kept])
"""
    assert run(code) == (
        "True True True\n"
        "event 1 on 1:0\nwait for event 1 on 1:2\n"
        "event 2 on 1:2\nwait for event 2 on 0:1\n"
        "5.0 True\nFalse True\nFalse True\n"
        "wait for the device on 1:0\nwait for the stream on 1:2\n"
        "wait for the stream on 0:0\n[False, False, False, True]\n"
    )


# Memory


def test_memory_is_reused_and_given_back(run):
    code = """
ctypes.c_long.in_dll(fake, "fake_bytes").value = 2**20
kept = [nt.empty(n, device="cuda") for n in (20_000, 30_000, 40_000, 50_000)]
addresses = {x.data_ptr() for x in kept}
reserved = used[0]
x = in_thread(lambda: nt.empty(3, device="cuda:1"))
print(reserved == cuda.memory_reserved(), used[1])
del kept
again = [in_thread(lambda: nt.empty(n, device="cuda")) for n in (50_000, 20_000)]
print({x.data_ptr() for x in again} < addresses, used[0] == reserved)
again.clear()
print(cuda.memory_allocated(), cuda.mem_get_info()[0] == 2**20 - reserved)
y = nt.empty(250_000, device="cuda")
print(used[0], cuda.memory_reserved(), cuda.memory_stats()["num_alloc_retries"])
text = said(cuda.OutOfMemoryError, nt.empty, 2**18 + 1, device="cuda:1")
print(text.partition("CUDA out")[2][:92])
del x, y
print(in_thread(empty) == [0] * 9, cuda.memory_reserved(), cuda.memory_reserved(1))
"""
    assert run(code) == (
        "True 512\nTrue True\n0 True\n1048576 1048576 1\n"
        " of memory. Tried to allocate 1.12 MiB. GPU 1 has a total capacity of 1024.00 "
        "KiB of which 1\nTrue 0 0\n"
    )


def test_threads_share_devices(run):
    """They find the devices, pinned memory and each other's tensors at once."""
    code = """
import random, sys
import numba.cuda  # imports wait for each other
faults, passed = [], []
barrier = threading.Barrier(6)

def work(seed):
    rng = random.Random(seed)
    barrier.wait()
    try:
        own = [cuda.Stream(k) for k in (0, 1)]
        for k in range(80):
            here, there = k % 2, 1 - k % 2
            x = nt.full((rng.randrange(1, 5000),), float(k))
            with cuda.stream(own[here] if k % 3 else None):
                y = x.to(f"cuda:{here}", non_blocking=bool(k % 5))
                passed.append(y)
                if k % 7 == 0:
                    y.record_stream(cuda.default_stream(here))
                z = y.to(f"cuda:{there}")
                assert z.tolist() == y.tolist() == x.tolist()
            if k % 40 == 0:
                cuda.empty_cache()
            if k % 10 == 0:
                passed.clear()
            loop = [z]
            loop.append(loop)  # freed by the collector, in whichever thread
    except BaseException as error:
        faults.append(repr(error))

threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
sys.setswitchinterval(1e-6)
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
passed.clear()
print(faults, empty()[:2], cuda.memory_allocated(0), cuda.memory_reserved(1))
"""
    assert run(code) == "[] [0, 0] 0 0\n"


def test_nothing_is_freed_or_printed_when_a_process_ends(run):
    """The main thread has no context, and the driver refuses to free."""
    code = """
kept = []

def work():
    for k in range(1, 30):
        kept.append(nt.empty(1000 * k, device=f"cuda:{k % 2}"))
        kept.append(nt.ones(1000 * k).pin_memory())
        kept.append(cuda.default_stream(k % 2).record_event())

in_thread(work)
print(fake.fake_depth())
fail("cuMemFree", ILLEGAL, 1000)
"""
    assert run(code) == "0\n"


# Launches


def test_launches(run):
    code = """
x, y = (nt.empty(1000, device="cuda") for _ in range(2))
z = x + y
(grid, block, where, args), = launches()
print(grid, block, where)
pointers = [(8, t.data_ptr()) for t in (z, x, y)]
assert args == [*pointers, (8, 1000), (8, 250)], args  # n, whole

def scaled(x, by):
    "Return where x * by was launched, n, whole and the factor, of which the bits."
    out = x * by
    (grid, block, where, args), = launches()
    assert args[:2] == [(8, out.data_ptr()), (8, x.data_ptr())], args
    return grid, block, where, *args[2:]

bits = int.from_bytes(struct.pack("<f", 2.5), "little")
assert scaled(x, 2.5) == (1, 256, "0:0", (8, 1000), (8, 250), (4, bits))
# from an address that is no multiple of 16: element by element
assert scaled(x[1:], 2.5) == (1, 256, "0:0", (8, 999), (8, 0), (4, bits))
assert scaled(x[4:], 2.5) == (1, 256, "0:0", (8, 996), (8, 249), (4, bits))
there = nt.empty(1000, device="cuda:1")
assert scaled(there, 2.5)[2] == in_thread(lambda: scaled(there, 2.5))[2] == "1:0"
with cuda.stream(cuda.Stream(0)):
    assert scaled(x, 2.5)[2] == "0:1"
    assert scaled(there, 2.5)[2] == "1:0"
    assert in_thread(lambda: scaled(x, 2.5))[2] == "0:0"
whole = nt.empty(1001, dtype=nt.int64, device="cuda")
assert scaled(whole, -3)[3:] == ((8, 1001), (8, 500), (8, 2**64 - 3))
# as many blocks as keep the device busy: 16 for each of 100 or 101 multiprocessors
for k in (0, 1):
    assert scaled(nt.empty(2_000_000, device=f"cuda:{k}"), 2.5)[0] == 1600 + 16 * k
"""
    assert run(code) == "1 256 0:0\n"


def test_launches_of_reductions(run):
    code = """
def numbers(table, count):
    "Read a table: the memory of devices is the host's."
    return list((ctypes.c_int64 * count).from_address(table))

for k in (0, 1):
    x = nt.empty(1000, device=f"cuda:{k}")
    told()
    total = x.sum()
    (grid, block, where, (out, at, table, tasks)), = launches()
    print(grid, block, where, tasks[1])
    assert (out[1], at[1]) == (total.data_ptr(), x.data_ptr())
    print(numbers(table[1], 3))  # blocks of a result, elements of a block and in all
x = nt.empty(100_000, device="cuda")
total = x.sum()
(grid, _, _, (part, at, table, _)), (_, _, _, (out, parts, other, _)) = launches()
print(grid, numbers(table[1], 3), numbers(other[1], 3))
assert at[1] == x.data_ptr() and out[1] == total.data_ptr() and part == parts
y = nt.empty(30, 40, device="cuda")
turned = y.t() + y.t().contiguous()
*_, (_, _, _, args) = launches()
assert [size for size, _ in args] == [8] * 5  # out, two inputs, table, n
print(numbers(args[3][1], 2))
tables = sum(used[:2])
del x, y, total, turned
print(sum(empty()[:2]), tables >= 32768)  # a chunk for tables on each device
"""
    assert run(code) == (
        "1 256 0:0 1\n[1, 1000, 1000]\n1 256 1:0 1\n[1, 1000, 1000]\n"
        "7 [7, 16384, 100000] [1, 7, 7]\n[40, 30]\n32768 True\n"
    )


def test_compiled_kernels_are_kept(run, tmp_path):
    code = """
from numtensor.kernels import compiler
x = nt.empty(10, device="cuda")
(x + 1).neg()
in_thread(lambda: nt.empty(10, device="cuda") + 1)
print(compiler.statistics["compiled"], compiler.statistics["linked"])
"""

    def files():
        found = tmp_path.rglob("*.nb[ic]")
        return {p.name: (p.stat().st_mtime_ns, p.stat().st_size) for p in found}

    assert run(code, NUMTENSOR_CACHE_DIR=str(tmp_path)) == "2 0\n"
    before = files()
    assert len(before) == 4
    assert run(code, NUMTENSOR_CACHE_DIR=str(tmp_path)) == "0 2\n"
    assert files() == before


# Errors


def test_errors_of_the_driver_lose_nothing(run, tmp_path):
    code = """
x, there = nt.empty(1000, device="cuda"), nt.empty(1000, device="cuda:1")
calls = [
    ("cuMemcpyHtoDAsync", lambda: nt.ones(1000).to("cuda")),
    ("cuEventRecord", lambda: nt.ones(1000).to("cuda", non_blocking=True)),
    ("cuMemcpyDtoHAsync", lambda: x.cpu()),
    ("cuStreamSynchronize", lambda: x.cpu()),
    ("cuMemcpyPeerAsync", lambda: x.to("cuda:1")),
    ("cuCtxSynchronize", lambda: cuda.synchronize(1)),
    ("cuMemAlloc", lambda: nt.empty(3000, device="cuda")),
    ("cuLaunchKernelEx", lambda: x + 1),
    ("cuLibraryLoadData", lambda: x.log1p()),  # compiled, and loaded at once
    ("cuLibraryLoadData", lambda: there.log1p()),
    ("cuStreamCreateWithPriority", lambda: cuda.Stream()),
]
sentences = {
    ILLEGAL: "CUDA error: an illegal memory access was encountered. ",
    OUT_OF_MEMORY: "CUDA error: out of memory. ",
}
for call, compute in calls:
    for code, sentence in sentences.items():
        if call == "cuMemAlloc" and code == OUT_OF_MEMORY:
            continue  # is tried again
        gc.collect()
        before = cuda.memory_allocated(), cuda.memory_allocated(1)
        fail(call, code)
        text = said(nt.errors.DeviceError, compute)
        assert sentence in text and "CUDA_LAUNCH_BLOCKING=1" in text, text
        assert number("fake_failures").value == 0
        gc.collect()
        assert (cuda.memory_allocated(), cuda.memory_allocated(1)) == before, call
    compute()
fail("cuLaunchKernelEx", ILLEGAL)
print(in_thread(lambda: said(RuntimeError, lambda: x + 1)).partition(";")[0])
fail("cuCtxSynchronize", ILLEGAL)
print(said(RuntimeError, cuda.synchronize).partition("(")[0])
del x, there
print(empty()[:2])
"""
    assert run(code, NUMTENSOR_CACHE_DIR=str(tmp_path)) == (
        "add: got a launch of 1 x 256 threads that the driver refuses\n"
        "cuda: got an error of the driver \n[0, 0]\n"
    )


def test_a_forked_process_is_told_so(run):
    code = """
import os
x = nt.arange(3.0, device="cpu").to("cuda")
print(end="", flush=True)
if os.fork() == 0:
    text = said(nt.errors.DeviceError, nt.empty, 2, device="cuda:1")
    print(text.partition(". ")[2].partition(". ")[0])
    print(cuda.is_available(), nt.ones(2).tolist(), flush=True)
    del x
    gc.collect()
    os._exit(number("fake_faults").value)
print(os.wait()[1], x.tolist())
"""
    assert run(code) == (
        "Cannot re-initialize CUDA in forked subprocess\nFalse [1.0, 1.0]\n"
        "0 [0.0, 1.0, 2.0]\n"
    )
