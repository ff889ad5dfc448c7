"""Every operator on every device: none is left out, and both devices agree.

An operator is covered on a device if a call of it there gives results there, made by a
kernel (a view needs none). What has no kernel on CUDA devices says why in its
declaration, and gives its results there all the same.
"""

from __future__ import annotations

import laws
import numpy as np
import pytest

import numtensor as nt
from numtensor.kernels.cuda import driver
from numtensor.ops.registry import TABLE

pytestmark = pytest.mark.cuda

#: calls of what takes no tensor and has no samples of its own
FACTORIES = {
    "empty": ((3, 2), {}),
    "zeros": ((3, 2), {}),
    "ones": ((3, 2), {}),
    "full": (((3, 2), 1.5), {}),
    "arange": ((7,), {}),
    "linspace": ((0.0, 1.0, 5), {}),
    "logspace": ((0.0, 1.0, 5), {}),
    "eye": ((3,), {}),
}
#: their first argument says where the result goes
LIKE = ("empty_like", "zeros_like", "ones_like", "full_like")
RANDOM = ("rand", "randn", "randint", "randperm")
UNINITIALISED = ("empty", "empty_like")


def calls(declared):
    """Return calls of an operator on the device under test, as (args, keywords)."""
    rng = np.random.default_rng(5)

    def make(*shape):
        interval = declared.domain[0] if declared.domain else (-2.0, 2.0)
        return laws.made(laws.draw(rng, shape, "float64", interval, declared.kinks))

    if declared.kind == "elementwise":
        dtype = "float64" if "float64" in laws.dtypes_of(declared) else "int64"
        _, args = laws.placed(declared, rng, "contiguous", dtype)
        keywords = {"value": args.pop()} if declared.operator.roles[-1] == "s" else {}
        return [(args, keywords)]
    if declared.name in FACTORIES:
        args, keywords = FACTORIES[declared.name]
        return [(args, keywords | {"device": laws.DEVICE})]
    if declared.name in LIKE:
        return [((make(3, 2), 2.0)[: 2 if declared.name == "full_like" else 1], {})]
    if declared.name in ("allclose", "equal", "isclose"):
        return [((make(2, 3), make(2, 3)), {})]
    if declared.samples is None:
        return [((make(3, 4),), {})]
    device = {"device": laws.DEVICE} if declared.name in RANDOM else {}
    return [(a, k | device) for a, k in declared.samples(make)]


def tensors_in(found):
    if isinstance(found, nt.Tensor):
        return [found]
    many = found if isinstance(found, (tuple, list)) else ()
    return [t for part in many for t in tensors_in(part)]


def results(declared):
    """Return what an operator gives on the device under test."""
    nt.manual_seed(3)
    found = []
    for args, keywords in calls(declared):
        found += tensors_in(declared.call(*args, **keywords))
    return found


@pytest.mark.parametrize("name", sorted(TABLE))
def test_devices_agree(name):
    declared = TABLE[name]
    laws.DEVICE = "cuda"
    try:
        there = results(declared)
    finally:
        laws.DEVICE = "cpu"
    here = results(declared)
    assert len(there) == len(here)
    for a, b in zip(there, here, strict=True):
        assert a.device == nt.device("cuda", 0), f"{name}: a result on {a.device}"
        assert (a.dtype, a.shape, a.stride()) == (b.dtype, b.shape, b.stride()), name
        if name in UNINITIALISED:
            continue
        if b.is_floating_point():
            laws.assert_close(laws.numpy_of(a), laws.numpy_of(b), 1e-6, name)
        else:
            laws.assert_same(laws.numpy_of(a), laws.numpy_of(b), name)


@pytest.fixture
def launches(monkeypatch):
    """Count the kernels that the device runs."""
    count = [0]
    api = driver.current()
    launch = api.launch

    def counted(*args):
        count[0] += 1
        return launch(*args)

    monkeypatch.setattr(api, "launch", counted)
    return count


#: operators whose result is memory as it was found
NOTHING_TO_DO = {"empty", "empty_like"}


def test_every_operator_has_kernels_on_both_devices(launches):
    """The list of what runs on a device is the list of what runs on the CPU."""
    on_cuda = set()
    laws.DEVICE = "cuda"
    try:
        for name, declared in TABLE.items():
            before = launches[0]
            results(declared)
            if launches[0] > before or declared.kind == "view":
                on_cuda.add(name)
    finally:
        laws.DEVICE = "cpu"
    excused = {name for name, declared in TABLE.items() if declared.host}
    missing = set(TABLE) - on_cuda - excused - NOTHING_TO_DO
    assert not missing, f"no kernel on CUDA, and no reason: {sorted(missing)}"
    assert len(on_cuda | excused | NOTHING_TO_DO) == len(TABLE)
