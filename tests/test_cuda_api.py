"""nt.cuda: devices, streams, events, generators, and what is said if they are missing.

Memory is in `test_cuda_memory`.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import numtensor as nt
from numtensor.kernels.cuda import driver

cuda = nt.cuda
on_device = pytest.mark.cuda


def child(code, **environment):
    """Run code in a process of its own; return what it prints.

    With NUMBA_ENABLE_CUDASIM only if it is given.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("NUMBA_ENABLE_CUDASIM", "NUMTENSOR_SIMULATED"))
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**inherited, **environment},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def simulated(code, gpus=1, memory=2**20):
    """Run code in a process with simulated devices."""
    return child(
        SETTING + code,
        NUMBA_ENABLE_CUDASIM="1",
        NUMTENSOR_SIMULATED_GPUS=str(gpus),
        NUMTENSOR_SIMULATED_BYTES=str(memory),
    )


SETTING = """
import numtensor as nt
cuda = nt.cuda

def said(kind, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except kind as error:
        return str(error)
    raise AssertionError("nothing was raised")

"""


def said(kind, call, *args, **kwargs):
    """Return the message of an error, and keep nothing that its frames hold."""
    with pytest.raises(kind) as info:
        call(*args, **kwargs)
    return str(info.value)


# Devices


@on_device
def test_what_there_is():
    assert cuda.is_available()
    assert cuda.device_count() >= 1
    assert cuda.current_device() == 0
    found = cuda.get_device_properties()
    assert found.total_memory > 0
    assert found.multi_processor_count > 0
    assert cuda.get_device_capability() == (found.major, found.minor)
    assert cuda.get_device_name() == found.name
    cuda.init()
    assert cuda.is_initialized()
    assert cuda.synchronize() is None


def test_properties_print_as_in_pytorch():
    found = driver.Properties("NVIDIA H100 80GB HBM3", 9, 0, 85045870592, 132)
    assert repr(found) == (
        "_CudaDeviceProperties(name='NVIDIA H100 80GB HBM3', major=9, minor=0, "
        "total_memory=81106MB, multi_processor_count=132)"
    )


@on_device
@pytest.mark.parametrize("given", [None, 0, "cuda", "cuda:0", nt.device("cuda", 0)])
def test_names_of_a_device(given):
    assert cuda.get_device_properties(given) is cuda.get_device_properties(0)
    cuda.synchronize(given)
    cuda.set_device(given)
    assert cuda.current_device() == 0


@on_device
def test_wrong_devices():
    count = cuda.device_count()
    missing = (
        "device: got 'cuda:99'; expected an index below the number of CUDA devices, "
        f"which is {count}. CUDA error: invalid device ordinal."
    )
    for wrong in (99, "cuda:99", nt.device("cuda", 99)):
        assert said(nt.errors.DeviceError, cuda.synchronize, wrong).startswith(missing)
        assert said(RuntimeError, cuda.set_device, wrong).startswith(missing)
        assert said(RuntimeError, cuda.device, wrong).startswith(missing)
    assert said(RuntimeError, cuda.get_device_name, "cpu") == (
        "cuda.get_device_properties: got device 'cpu'; expected an index, 'cuda', "
        "'cuda:N' or None. Expected a cuda device, but got: cpu"
    )
    for wrong in (-1, 1.5, True, "cuda:x", "cuda:-1", "gpu"):
        text = said(nt.errors.DeviceError, cuda.memory_allocated, wrong)
        assert text.startswith("device: got "), text
        assert "; expected " in text
    assert cuda.current_device() == 0


@on_device
def test_negative_indices_change_nothing():
    """As in PyTorch, so that x.get_device() may be passed on for any x."""
    cuda.set_device(-1)
    with cuda.device(nt.ones(1).get_device()):
        assert cuda.current_device() == 0
    with cuda.device_of(nt.ones(1)):
        assert cuda.current_device() == 0


TWO_DEVICES = """
x = nt.tensor([1.0, 2.0, 3.0], device="cuda:0")
y = x.to("cuda:1")
print(y.device, y.tolist(), (y * 2 + y).tolist(), cuda.current_device())
print(said(RuntimeError, lambda: x + y))
print(said(RuntimeError, lambda: y.add_(x)))
z = (x.to("cuda:1") + y).sum()
print(z.device, z.item())

with cuda.device(1):
    ones = nt.ones(2, device="cuda")
    print(ones.device, nt.device("cuda"), nt.ones(2).cuda().device)
    with cuda.device("cuda:0"):
        print(nt.ones(2, device="cuda").device)
    with cuda.device_of(x):
        print(cuda.current_device())
    with cuda.device_of(nt.ones(1)):
        print(cuda.current_device())
    print(cuda.current_device())
print(cuda.current_device())

again = cuda.device(1)
try:
    with again, cuda.device(0), again:
        raise KeyError
except KeyError:
    print("restored", cuda.current_device())

a = nt.tensor([1.0, 2.0], device="cuda:0", requires_grad=True)
(a.to("cuda:1") * ones).sum().backward()
print(a.grad)
y.copy_(x + 1)
print(y)

print(cuda.memory_allocated(0) > 0, cuda.memory_allocated(1) > 0)
before = cuda.memory_allocated(0), cuda.memory_allocated(1)
w = nt.empty(300, device="cuda:1")
print(cuda.memory_allocated(0) - before[0], cuda.memory_allocated(1) - before[1])

import threading
from pathlib import Path
def other():
    seen.append(cuda.current_device())
    cuda.set_device(1)
    seen.append(nt.ones(1, device="cuda").device.index)
seen = []
thread = threading.Thread(target=other)
thread.start()
thread.join()
print(seen, cuda.current_device())

s = cuda.Stream(1)
with cuda.stream(s):
    print(cuda.current_device(), cuda.current_stream() == s, cuda.current_stream(0))
    with cuda.stream(cuda.default_stream(0)):
        print(cuda.current_device(), cuda.current_stream(1) == s)
    print(cuda.current_device())
print(cuda.current_device(), cuda.current_stream(1) == cuda.default_stream(1))
event = s.record_event()
print(said(RuntimeError, event.record, cuda.default_stream(0)))
print(said(RuntimeError, x.record_stream, s))
event.wait(cuda.default_stream(0))

cuda.manual_seed_all(5)
print(cuda.initial_seed(), bool((nt.rand(2, device="cuda:0").cpu()
      == nt.rand(2, device="cuda:1").cpu()).all()))
cuda.set_device(1)
cuda.manual_seed(6)
print([int(s[8]) for s in cuda.get_rng_state_all()], cuda.initial_seed())
print(nt.empty(1, device="cuda").device, nt.empty(1, device="cuda:0").device)
"""

TWO_DEVICES_SAID = """\
cuda:1 [1.0, 2.0, 3.0] [3.0, 6.0, 9.0] 0
add: got tensors on cuda:0 and cuda:1; expected one device. Expected all tensors to be \
on the same device, but found at least two devices, cuda:0 and cuda:1! Move one with \
x.to('cuda:1').
add: got tensors on cuda:1 and cuda:0; expected one device. Expected all tensors to be \
on the same device, but found at least two devices, cuda:1 and cuda:0! Move one with \
x.to('cuda:0').
cuda:1 12.0
cuda:1 cuda cuda:1
cuda:0
0
1
1
0
restored 0
tensor([1., 1.], device='cuda:0')
tensor([2., 3., 4.], device='cuda:1')
True True
0 1536
[0, 1] 0
1 True <torch.cuda.Stream device=cuda:0 cuda_stream=0x0>
0 True
1
0 True
cuda.Event.record: got an event of cuda:1 and a stream of cuda:0; expected one device. \
Event device 1 does not match recording stream's device 0.
record_stream: got a tensor on cuda:0 and a stream of cuda:1; expected one device.
5 True
[5, 6] 6
cuda:1 cuda:0
"""


@on_device
def test_two_devices():
    assert simulated(TWO_DEVICES, gpus=2) == TWO_DEVICES_SAID


# Machines that cannot

EACH_FUNCTION = """
calls = [
    cuda.init, cuda.current_device, cuda.synchronize, cuda.get_device_name,
    cuda.get_device_properties, cuda.get_device_capability, cuda.memory_allocated,
    cuda.max_memory_allocated, cuda.memory_reserved, cuda.max_memory_reserved,
    cuda.reset_peak_memory_stats, cuda.memory_stats, cuda.mem_get_info,
    cuda.memory_summary, cuda.current_stream, cuda.default_stream,
    cuda.Stream, cuda.Event, cuda.seed, cuda.seed_all, cuda.initial_seed,
    cuda.get_rng_state, cuda.get_rng_state_all,
    lambda: cuda.set_device(0), lambda: cuda.device(0),
    lambda: cuda.set_rng_state(nt.get_rng_state()),
    lambda: nt.ones(1, device="cuda"), lambda: nt.ones(1).cuda(),
    lambda: nt.ones(1).to("cuda:0"), lambda: nt.ones(1).pin_memory(),
]
print(len({said(nt.errors.DeviceError, call) for call in calls}))
print(said(RuntimeError, cuda.synchronize))
print(cuda.is_available(), cuda.device_count(), cuda.is_initialized())
print(nt.ones(1).is_pinned())
cuda.manual_seed(0), cuda.manual_seed_all(0), cuda.empty_cache()  # as in PyTorch
with cuda.device(-1), cuda.device_of(nt.ones(1)), cuda.stream(None):
    pass
import sys
print("numba" in sys.modules)
"""

WITHOUT_GPU = (
    "Torch not compiled with CUDA enabled. {} Without a GPU: set "
    "NUMBA_ENABLE_CUDASIM=1 before Python starts, which runs kernels in Numba's "
    "simulator, or use device='cpu'."
)


def has_driver():
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@on_device
@pytest.mark.skipif(has_driver(), reason="this machine has a CUDA driver")
def test_a_machine_without_a_driver():
    """And no Numba is imported to find that out."""
    installed = (
        "On a machine with a GPU, nvidia-smi lists it once its driver is installed."
    )
    assert child(SETTING + EACH_FUNCTION) == (
        "1\ncuda: got no CUDA driver, libcuda.so.1; expected an NVIDIA GPU and its "
        f"driver. {WITHOUT_GPU.format(installed)}\nFalse 0 False\nFalse\nFalse\n"
    )


def test_a_machine_without_numba_cuda():
    hide = """
import importlib.machinery
find = importlib.machinery.PathFinder.find_spec

def found(name, *args):
    return None if name == "numba_cuda" else find(name, *args)

importlib.machinery.PathFinder.find_spec = found
"""
    install = (
        "pip install 'numtensor[cuda12]' or, for drivers of CUDA 13, "
        "'numtensor[cuda13]'."
    )
    assert child(hide + SETTING + EACH_FUNCTION) == (
        "1\ncuda: got no package numba-cuda; expected numba-cuda, which compiles for "
        f"GPUs and has the simulator. {WITHOUT_GPU.format(install)}\nFalse 0 False\n"
        "False\nFalse\n"
    )


@on_device
def test_a_simulator_asked_for_too_late():
    code = """
import os, numba.cuda
os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
print(said(nt.errors.DeviceError, cuda.synchronize), cuda.is_available())
"""
    assert child(SETTING + code) == (
        "cuda: got a process that imported numba.cuda without the simulator; expected "
        "Numba's simulator, for which NUMBA_ENABLE_CUDASIM asks. Set it before Python "
        "starts, or before the first kernel is compiled: Numba reads it once. False\n"
    )


@on_device
@pytest.mark.parametrize("number", ["0", "two", "-1", ""])
def test_a_senseless_number_of_devices(number, monkeypatch):
    from numtensor.kernels.cuda.simulator import Simulator

    monkeypatch.setenv("NUMTENSOR_SIMULATED_GPUS", number)
    assert said(nt.errors.DeviceError, Simulator) == (
        f"cuda: got NUMTENSOR_SIMULATED_GPUS={number!r}; expected a whole number of 1 "
        "or more."
    )


@pytest.mark.parametrize("text, asked", [("1", True), ("0", False), ("yes", False)])
def test_the_simulator_is_asked_for_as_numba_reads_it(text, asked, monkeypatch):
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", text)
    assert driver.simulating() is asked


@on_device
def test_a_forked_child_of_a_gpu_process_is_refused():
    """`hardware` has `lose` called in its children; the simulator may be forked."""
    code = """
from numtensor.kernels.cuda import driver
cuda.init()
driver.lose()
print(said(nt.errors.DeviceError, cuda.synchronize))
"""
    assert simulated(code) == (
        "cuda: got a process forked from one that had used CUDA; expected one with a "
        "CUDA context of its own. Cannot re-initialize CUDA in forked subprocess. To "
        "use CUDA with multiprocessing, you must use the 'spawn' start method.\n"
    )


def test_what_hardware_lacks_is_said(monkeypatch):
    """On this machine or on one that is made up: no case is left out."""
    from numtensor.kernels.cuda import hardware

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert hardware._hidden() == ", with CUDA_VISIBLE_DEVICES='7'"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert hardware._hidden() == ""
    error = ValueError("\nError at driver init:\n  something:\n")
    assert hardware._line(error) == "Error at driver init: something:"


# Streams and events


@on_device
def test_streams():
    default, s = cuda.default_stream(), cuda.Stream(priority=-1)
    assert default.cuda_stream == 0
    assert repr(default) == "<torch.cuda.Stream device=cuda:0 cuda_stream=0x0>"
    assert s != default
    assert s.priority == -1
    assert s.device == nt.device("cuda", 0)
    assert cuda.current_stream() == default
    with cuda.stream(s) as nothing:
        assert nothing is None
        assert cuda.current_stream() == s
        assert hash(cuda.current_stream()) == hash(s)
        assert cuda.current_stream().priority == -1
        with cuda.stream(None):
            assert cuda.current_stream() == s
        x = nt.ones(3, device="cuda") + 1
        with s as same:
            assert same is s
    assert cuda.current_stream() == default
    default.wait_stream(s)
    assert x.tolist() == [2.0, 2.0, 2.0]
    s.synchronize()
    assert s.query()
    default.synchronize()
    with pytest.raises(KeyError), cuda.stream(s):
        raise KeyError
    assert cuda.current_stream() == default
    cuda.set_stream(s)
    assert cuda.current_stream() == s
    cuda.set_stream(default)
    assert cuda.current_stream() == default


@on_device
def test_streams_are_few_and_live_on():
    """So that memory that was freed on one is not lost with it."""
    first = [cuda.Stream() for _ in range(32)]
    assert len(set(first)) == 32
    assert [cuda.Stream() for _ in range(32)] == first
    assert cuda.Stream(priority=5).priority == 0
    assert cuda.Stream(priority=-50).priority == -3 == cuda.Stream.priority_range()[1]


@on_device
def test_each_thread_has_its_own_stream():
    s = cuda.Stream()
    seen = []

    def work():
        seen.append(cuda.current_stream() == cuda.default_stream())
        cuda.set_stream(cuda.Stream())

    with cuda.stream(s):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert cuda.current_stream() == s
    assert seen == [True]


@on_device
def test_events():
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    assert repr(start) == "<torch.cuda.Event uninitialized>"
    assert start.query()  # nothing was asked for, so all is done
    start.wait()
    start.synchronize()
    s = cuda.Stream()
    start.record()
    x = nt.ones(3, device="cuda") + 1
    end.record()
    end.synchronize()
    assert start.query()
    assert end.query()
    assert 0 <= start.elapsed_time(end) < 60_000
    assert repr(end) == "<torch.cuda.Event device=cuda:0>"
    s.wait_event(end)
    event = s.record_event()
    assert s.record_event(event) is event
    event.wait(s)
    assert x.tolist() == [2.0, 2.0, 2.0]


@on_device
def test_events_that_measure_nothing(monkeypatch):
    timed, plain = cuda.Event(enable_timing=True), cuda.Event(blocking=True)
    other = cuda.Event(enable_timing=True)
    timed.record()
    plain.record()
    for pair in ((timed, plain), (plain, timed)):
        assert said(ValueError, pair[0].elapsed_time, pair[1]) == (
            "cuda.Event.elapsed_time: got an event without enable_timing; expected two "
            "that take the time. Both events must be created with argument "
            "'enable_timing=True'."
        )
    assert said(ValueError, timed.elapsed_time, other) == (
        "cuda.Event.elapsed_time: got an event that was not recorded; expected two "
        "that were. Both events must be recorded before calculating elapsed time."
    )
    other.record()
    monkeypatch.setattr(driver.current(), "event_done", lambda event: False)
    assert said(RuntimeError, timed.elapsed_time, other) == (
        "cuda.Event.elapsed_time: got an event that work still comes before; expected "
        "two that are past. Both events must be completed before calculating elapsed "
        "time. Use end_event.synchronize()."
    )
    assert said(nt.errors.DeviceError, cuda.Event, interprocess=True) == (
        "cuda.Event: got interprocess=True; expected an event of one process. Memory "
        "and events are not shared between processes."
    )


# Random numbers


@on_device
def test_generators():
    def draw():
        return nt.rand(5, device="cuda").tolist()

    cuda.manual_seed(3)
    assert cuda.initial_seed() == 3
    first, state = draw(), cuda.get_rng_state()
    assert state.device == nt.device("cpu")
    second = draw()
    assert first != second
    cuda.set_rng_state(state)
    assert draw() == second
    cuda.set_rng_state_all(cuda.get_rng_state_all())
    cuda.manual_seed_all(3)
    assert draw() == first
    before = nt.get_rng_state()
    cuda.seed()
    assert draw() != first
    cuda.seed_all()
    nt.manual_seed(3)
    assert draw() == first
    nt.set_rng_state(before)
    assert said(nt.errors.DeviceError, cuda.get_rng_state, "cpu") == (
        "cuda.get_rng_state: got device 'cpu'; expected an index, 'cuda', 'cuda:N' or "
        "None. Expected a cuda device, but got: cpu"
    )


def test_the_list_of_names():
    """What `torch.cuda` has, a program finds here."""
    expected = (
        "Event OutOfMemoryError Stream StreamContext current_device current_stream "
        "default_stream device device_count device_of empty_cache "
        "get_device_capability get_device_name get_device_properties get_rng_state "
        "get_rng_state_all init "
        "initial_seed is_available is_initialized manual_seed manual_seed_all "
        "max_memory_allocated max_memory_reserved mem_get_info memory_allocated "
        "memory_reserved memory_stats memory_summary reset_peak_memory_stats seed "
        "seed_all set_device set_rng_state set_rng_state_all set_stream stream "
        "synchronize"
    )
    for name in expected.split():
        assert getattr(cuda, name).__doc__, name


@on_device
def test_the_samples_of_the_page():
    """Each runs after those before it; a comment behind `print` is what it prints."""
    page = Path(__file__).resolve().parents[1] / "docs" / "gpu.md"
    text = page.read_text(encoding="utf-8")
    code = "".join(re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S))
    expected = re.findall(r"^ *print\(.*\)  # (.*)$", code, re.M)
    assert len(expected) >= 5
    assert simulated(code, gpus=2).splitlines() == expected
