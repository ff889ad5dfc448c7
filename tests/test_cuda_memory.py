"""Memory of CUDA devices: what is counted, reused, pinned, and never lost."""

from __future__ import annotations

import gc
import sys
import threading

import numpy as np
import pytest
from test_cuda_api import on_device, said, simulated

import numtensor as nt
from numtensor import device_memory
from numtensor.kernels.cuda import driver

cuda = nt.cuda


def allocated():
    gc.collect()
    return cuda.memory_allocated()


@on_device
def test_counters():
    before = allocated()
    x = nt.empty(1000, device="cuda")
    assert cuda.memory_allocated() == before + 4096
    assert cuda.memory_reserved() >= cuda.memory_allocated()
    cuda.reset_peak_memory_stats()
    y = nt.empty(100, device="cuda")
    del x, y
    assert cuda.memory_allocated() == before
    assert cuda.max_memory_allocated() == before + 4096 + 512
    assert cuda.max_memory_reserved() >= before + 4096 + 512
    cuda.empty_cache()
    assert cuda.memory_reserved() == cuda.memory_allocated() == before
    cuda.reset_peak_memory_stats()
    assert cuda.max_memory_allocated() == cuda.max_memory_reserved() == before
    stats = cuda.memory_stats()
    assert stats["allocated_bytes.all.current"] == before
    assert stats["reserved_bytes.all.peak"] == before
    free, total = cuda.mem_get_info()
    assert 0 < free <= total == cuda.get_device_properties().total_memory


@on_device
def test_a_summary_of_memory():
    code = """
x = nt.empty(1000, device="cuda")
y = nt.empty(512, device="cuda")
del y
nt.empty(3000, device="cuda")
print(cuda.memory_summary())
print(said(RuntimeError, nt.empty, 2**20, device="cuda"))
print(cuda.memory_summary("cuda:0", abbreviated=True))
print(cuda.memory_stats()["num_alloc_retries"], cuda.memory_stats()["num_ooms"])
"""
    assert simulated(code) == (
        "cuda:0: Numba CUDA simulator\n"
        "  in tensors                4.00 KiB, at most 16.00 KiB\n"
        "  waiting for reuse        14.00 KiB\n"
        "  taken from the driver    18.00 KiB, at most 18.00 KiB\n"
        "  free, says the driver  1006.00 KiB\n"
        "  on the device          1024.00 KiB\n"
        "allocate: got a request for 4,194,304 bytes on cuda:0; expected one that fits "
        "into the 1,044,480 bytes that are free. CUDA out of memory. Tried to allocate "
        "4.00 MiB. GPU 0 has a total capacity of 1024.00 KiB of which 1020.00 KiB is "
        "free. Of the allocated memory 4.00 KiB is allocated by numtensor, and 0 bytes "
        "is reserved by numtensor but unallocated. Use smaller batches, or delete "
        "tensors first.\n"
        "cuda:0: Numba CUDA simulator\n"
        "  in tensors                4.00 KiB\n"
        "  waiting for reuse          0 bytes\n"
        "  taken from the driver     4.00 KiB\n"
        "  free, says the driver  1020.00 KiB\n"
        "  on the device          1024.00 KiB\n"
        "  out of memory 1 times\n"
        "1 1\n"
    )


@on_device
def test_blocks_are_reused_on_their_stream():
    s = cuda.Stream()
    cuda.empty_cache()
    x = nt.empty(77_000, device="cuda")
    address = x.data_ptr()
    with cuda.stream(s):
        del x  # wherever it dies, it goes back to where it came from
        y = nt.empty(77_000, device="cuda")
        assert y.data_ptr() != address
    z = nt.empty(77_000, device="cuda")
    assert z.data_ptr() == address
    other = y.data_ptr()
    del y
    with cuda.stream(s):
        assert nt.empty(77_000, device="cuda").data_ptr() == other


@on_device
def test_blocks_that_another_stream_uses_wait_for_it(monkeypatch):
    s = cuda.Stream()
    api = driver.current()
    done = []
    monkeypatch.setattr(api, "event_done", lambda event: bool(done))
    x = nt.empty(78_000, device="cuda")
    address = x.data_ptr()
    x[:10].record_stream(s)
    x.record_stream(cuda.default_stream())  # its own: nothing to wait for
    del x
    y = nt.empty(78_000, device="cuda")
    assert y.data_ptr() != address
    done.append(True)
    assert nt.empty(78_000, device="cuda").data_ptr() == address
    # what is given back to the driver is waited for
    x = nt.empty(78_000, device="cuda")
    x.record_stream(s)
    done.clear()
    monkeypatch.setattr(api, "synchronize", lambda *args: done.append(True))
    del x, y
    before = cuda.memory_reserved()
    cuda.empty_cache()
    assert done
    assert cuda.memory_reserved() <= before - 2 * 78_000 * 4


@on_device
def test_record_stream_needs_a_tensor_of_the_device():
    assert said(nt.errors.DeviceError, nt.ones(1).record_stream, cuda.Stream()) == (
        "record_stream: got a tensor on cpu and a stream of cuda:0; expected one "
        "device."
    )


@on_device
def test_out_of_memory():
    total = cuda.mem_get_info()[1]
    before = allocated()
    text = said(cuda.OutOfMemoryError, nt.empty, total, device="cuda")
    assert "CUDA out of memory. Tried to allocate " in text
    assert issubclass(cuda.OutOfMemoryError, RuntimeError)
    assert allocated() == before


@on_device
def test_memory_that_waits_is_given_back_before_an_allocation_fails():
    code = """
kept = [nt.empty(n, device="cuda") for n in (20_000, 30_000, 40_000, 50_000)]
del kept
print(cuda.memory_reserved(), cuda.memory_allocated())
x = nt.empty(250_000, device="cuda")
print(cuda.memory_reserved(), cuda.memory_allocated())
print(cuda.memory_stats()["num_alloc_retries"], cuda.memory_stats()["num_ooms"])
"""
    assert simulated(code) == "581632 0\n1048576 1048576\n1 0\n"


MIDDLE = """
import gc

def left(call):
    gc.collect()
    before = cuda.memory_allocated()
    text = said(cuda.OutOfMemoryError, call)
    assert "CUDA out of memory" in text
    gc.collect()
    return cuda.memory_allocated() - before

x = nt.ones(40, 30, device="cuda")
y = nt.ones(30, 40, device="cuda", requires_grad=True)
small = nt.ones(3, 4, device="cuda", requires_grad=True)
(small.t() * 2.0).sum().backward()  # tables and kernels are there
(y.t() + x).sum().backward()
y.grad = None
cuda.empty_cache()
hold = []
try:
    while True:
        hold.append(nt.empty(128, device="cuda"))
except cuda.OutOfMemoryError:
    pass
print(len(hold) > 50)
print(left(lambda: x + x))
print(left(lambda: y.t().contiguous()))
print(left(lambda: y.exp() * 2.0))
print(left(lambda: (y.t() + x).sum().backward()), y.grad)
print(left(lambda: x.sum(0)), left(lambda: nt.stack([x, x])), left(lambda: x @ y))
print(left(lambda: nt.ones(2000).to("cuda")))
print(left(lambda: nt.rand(2000, device="cuda")))
print(left(lambda: nt.arange(2000, device="cuda")))
hold.clear()
(y.t() + x).sum().backward()
print(y.grad.sum().item())
"""


@on_device
def test_running_out_in_the_middle_of_an_operator_loses_nothing():
    expected = "True\n0\n0\n0\n0 None\n0 0 0\n0\n0\n0\n1200.0\n"
    assert simulated(MIDDLE, memory=60_000) == expected


@on_device
def test_a_kernel_that_does_not_compile_loses_nothing(monkeypatch):
    api = driver.current()
    before = allocated()
    for source in ("def broken(x:\n", "def other(x):\n    pass\n", "1 / 0\n"):
        text = said(nt.errors.CompileError, api.load, "broken", source)
        assert text.startswith("compile: got kernel 'broken', which ")
        assert ".py" in text
    x = nt.ones(7, device="cuda")
    compute = lambda: x.atan2(x).lerp(x, 0.25).hypot(x)  # noqa: E731
    load = api.load

    def broken(name, source):
        return load(name, "this is no kernel\n")

    monkeypatch.setattr(api, "load", broken)
    said(nt.errors.CompileError, compute)
    monkeypatch.undo()
    assert compute().shape == (7,)  # the failure is not remembered
    x = None
    assert allocated() == before


@on_device
@pytest.mark.parametrize("what", ["launch", "upload", "download", "copy"])
def test_calls_that_the_driver_refuses_lose_nothing(what, monkeypatch):
    x = nt.ones(1001, device="cuda")
    x.neg().sum()
    before = allocated()

    def refuse(*args):
        raise nt.errors.DeviceError("refused")

    calls = {
        "launch": lambda: (x + 1) * 2,  # its plan keeps the launch that refuses
        "upload": lambda: nt.ones(1001).to("cuda", non_blocking=True),
        "download": lambda: x.neg().cpu(),
        "copy": lambda: device_memory.copy(
            (x.device, x.neg().data_ptr()), (x.device, x.data_ptr()), 4
        ),
    }
    monkeypatch.setattr(driver.current(), what, refuse)
    assert said(RuntimeError, calls[what]) == "refused"
    monkeypatch.undo()
    assert allocated() == before
    assert x.neg().sum().item() == -1001.0


@on_device
def test_errors_of_indices_lose_nothing():
    x = nt.ones(5, 4, device="cuda")
    x[0]
    before = allocated()
    said(IndexError, lambda: x[5])
    said(RuntimeError, lambda: (x + x).sum(7))
    said(RuntimeError, lambda: (x * 2) + nt.ones(3, device="cuda"))
    assert allocated() == before


@on_device
@pytest.mark.skipif(not driver.simulating(), reason="a GPU does not check")
def test_the_simulator_checks_every_access():
    api = driver.current()
    source = '''"""Writes an element too many."""

from numba import cuda

from numtensor.kernels.cuda.lang import kernel


@kernel("float32*, int64")
def beyond(x, n):
    if cuda.grid(1) == 0:
        x[n] = x[0]
'''
    beyond = api.load("beyond", source)
    x = nt.ones(128, device="cuda")
    before = allocated()
    api.launch(0, beyond, 1, 4, 0, (x.data_ptr(), 127))
    for n in (128, -1):
        with pytest.raises(IndexError):
            api.launch(0, beyond, 1, 4, 0, (x.data_ptr(), n))
    with pytest.raises(IndexError, match="is in no allocation"):
        api.launch(0, beyond, 1, 4, 0, (nt.ones(2).data_ptr(), 0))
    with pytest.raises(IndexError, match="is in no allocation"):
        api.upload(0, 64, nt.ones(2).data_ptr(), 4, 0, True)
    with pytest.raises(IndexError, match="leave the allocation"):
        api.download(0, nt.ones(200).data_ptr(), x.data_ptr(), 516, 0, True)
    assert (x + 1).tolist() == [2.0] * 128
    assert allocated() == before


@on_device
@pytest.mark.skipif(not driver.simulating(), reason="a GPU does not check")
def test_the_simulator_keeps_devices_apart():
    code = """
from numtensor.kernels.cuda import driver
x = nt.ones(2, device="cuda:1")
api = driver.current()
host = nt.ones(2).data_ptr()
text = said(IndexError, api.download, 0, host, x.data_ptr(), 8, 0, True)
print("of device 1 is used on device 0" in text)
"""
    assert simulated(code, gpus=2) == "True\n"


@on_device
def test_memory_that_the_garbage_collector_finds_is_reused():
    """It runs the finalizers of all that it finds before it looks what is still used:
    of the storage, which gives its block back, and of what keeps the block's memory."""
    before = allocated()
    addresses = set()
    for _ in range(3):
        x = nt.ones(79_001, device="cuda")
        addresses.add(x.data_ptr())
        loop = [x]
        loop.append(loop)
        del x, loop
        assert allocated() == before
    assert len(addresses) == 1
    cuda.empty_cache()
    assert cuda.memory_reserved() == before


@on_device
def test_threads_share_the_allocator():
    """All is counted, whichever thread frees, and however two of them interleave."""
    before = allocated()
    barrier = threading.Barrier(8)
    passed, faults = [], []
    switch = sys.getswitchinterval()

    def work(seed):
        rng = np.random.default_rng(seed)
        own = cuda.Stream()
        barrier.wait()
        try:
            for k in range(300):
                x = nt.empty(int(rng.integers(1, 6000)), device="cuda")
                with cuda.stream(own if k % 2 else None):
                    y = nt.empty(64 * (k % 5 + 1), device="cuda")
                passed.append((x, y))
                if k % 3 == 0:
                    passed.pop()
                if k % 50 == 0:
                    cuda.empty_cache()
                loop = [x]
                loop.append(loop)  # freed by the collector, wherever that runs
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)
    assert faults == []
    assert len(passed) == 8 * 200
    held = sum(t._storage.block[2].nbytes for pair in passed for t in pair)
    assert allocated() == before + held
    addresses = [t.data_ptr() for pair in passed for t in pair]
    assert len(set(addresses)) == len(addresses)
    passed.clear()
    assert allocated() == before
    cuda.empty_cache()
    assert cuda.memory_reserved() == before


@on_device
def test_nothing_is_printed_when_a_process_ends_with_tensors():
    code = """
import threading
x = nt.ones(3, device="cuda", requires_grad=True)
y = (x * 2).sum()
p = nt.ones(3).pin_memory()
z = p.to("cuda", non_blocking=True)
z.record_stream(cuda.Stream())
loop = [x, y, z, p]
loop.append(loop)
print(y.item())
"""
    assert simulated(code) == "6.0\n"


@on_device
def test_a_driver_that_goes_takes_its_memory_along():
    """As `cuda-check` changes drivers: what dies later is not counted by the next."""
    code = """
from numtensor import device_memory, device_tables, devices, launch_cuda
from numtensor.kernels.cuda import driver
from numtensor.kernels.cuda.simulator import Simulator
x = nt.empty(100, device="cuda")
p = nt.ones(3).pin_memory()
driver.use(Simulator())
device_memory.forget()
device_tables.forget()
devices.forget()
launch_cuda.forget()
print(cuda.memory_allocated())
del x, p
print(cuda.memory_allocated(), cuda.memory_reserved())
"""
    assert simulated(code) == "0\n0 0\n"


# Pinned memory


@on_device
def test_pinned_memory():
    x = nt.arange(6.0).reshape(2, 3).requires_grad_()
    p = x.pin_memory()
    assert p.is_pinned()
    assert p[1:].is_pinned()
    assert p.pin_memory() is p
    assert not x.is_pinned()
    assert not p.clone().is_pinned()
    assert not p.to("cuda").is_pinned()
    assert p.tolist() == x.tolist()
    (p * p).sum().backward()
    assert x.grad.tolist() == (2 * x).tolist()
    turned = x.detach().t().pin_memory()
    assert turned.stride() == (1, 3)
    assert turned.tolist() == x.t().tolist()
    assert nt.empty(0).pin_memory().shape == (0,)
    assert p.detach().numpy().base is not None  # ordinary memory to the host
    assert said(RuntimeError, nt.ones(1, device="cuda").pin_memory) == (
        "pin_memory: got a tensor on cuda:0; expected one in host memory. cannot pin "
        "'torch.cuda.FloatTensor' only dense CPU tensors can be pinned"
    )


@pytest.fixture
def uploads(monkeypatch):
    """Collect the host addresses that are uploaded without waiting."""
    found = []
    api = driver.current()
    upload = api.upload

    def spy(index, to, host, nbytes, stream, wait):
        if not wait:
            found.append(host)
        return upload(index, to, host, nbytes, stream, wait)

    monkeypatch.setattr(api, "upload", spy)
    return found


@on_device
def test_pinned_memory_is_copied_from_directly(uploads):
    p = nt.arange(6.0).pin_memory()
    assert p.to("cuda", non_blocking=True).tolist() == p.tolist()
    assert p[2:4].cuda(non_blocking=True).tolist() == [2.0, 3.0]
    target = nt.zeros(6, device="cuda")
    target.copy_(p, non_blocking=True)
    assert target.tolist() == p.tolist()
    assert uploads == [p.data_ptr(), p.data_ptr() + 8, p.data_ptr()]


@on_device
def test_other_memory_is_copied_to_pinned_memory_first(uploads):
    x = nt.arange(7001.0)
    y = x.to("cuda", non_blocking=True)
    x.zero_()
    assert y[-3:].tolist() == [6998.0, 6999.0, 7000.0]
    z = x.to("cuda", non_blocking=True)
    assert z[-3:].tolist() == [0.0, 0.0, 0.0]
    assert x.data_ptr() not in uploads
    assert len(uploads) == 2
    assert len(set(uploads)) == 1  # the copy is done, so its memory serves again


@on_device
def test_pinned_memory_waits_for_its_copies(uploads, monkeypatch):
    done = []
    monkeypatch.setattr(driver.current(), "event_done", lambda event: bool(done))
    x = nt.arange(9000.0)
    x.to("cuda", non_blocking=True)
    x.to("cuda", non_blocking=True)
    assert len(set(uploads)) == 2
    p = x.pin_memory()
    address = p.data_ptr()
    assert address not in uploads
    for _ in range(3):
        p.to("cuda", non_blocking=True)
    del p
    assert x.pin_memory().data_ptr() != address
    done.append(True)
    kept = [x.pin_memory() for _ in range(4)]
    assert address in [p.data_ptr() for p in kept]


@on_device
def test_downloads_wait_unless_the_host_memory_is_pinned(monkeypatch):
    api = driver.current()
    download, waited = api.download, []

    def spy(*args):
        waited.append(args[-1])
        return download(*args)

    monkeypatch.setattr(api, "download", spy)
    x = nt.arange(4.0, device="cuda")
    p, plain = nt.zeros(4).pin_memory(), nt.zeros(4)
    for target, wait in ((p, True), (p, False), (plain, False)):
        device_memory.download(x.device, target.data_ptr(), x.data_ptr(), 16, wait)
        cuda.synchronize()
        assert target.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert waited[:-3] == [True, False, True] or waited == [True, False, True]


@on_device
def test_memory_that_cannot_be_pinned(monkeypatch):
    def refuse(nbytes):
        raise MemoryError

    monkeypatch.setattr(driver.current(), "pinned", refuse)
    x = nt.empty(123_456)
    assert said(MemoryError, x.pin_memory) == (
        "pin_memory: got a request for 493,824 bytes; expected a size that the system "
        "can pin. Use smaller tensors: what is pinned cannot be swapped out."
    )
