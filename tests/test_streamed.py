"""Large results, which go around the cache: right at every edge, on any layout."""

from __future__ import annotations

import platform
import types

import numpy as np
import pytest

import numtensor as nt
from numtensor import launch_cpu, launch_sweeps
from numtensor.kernels import compiler, loops
from numtensor.kernels.cpu.emit import emit

BLOCK = loops.STREAM_BLOCK


@pytest.fixture(autouse=True)
def streamed(monkeypatch):
    """Stream what is long enough to have a line, and record the nests printed."""
    printed = []

    def recorded(nest):
        printed.append(nest)
        return emit(nest)

    monkeypatch.setattr(launch_cpu, "STREAMED_BYTES", 1)
    monkeypatch.setattr(launch_cpu, "_kernels", {})
    monkeypatch.setattr(launch_cpu, "emit", recorded)
    return printed


def numbers(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).uniform(-9, 9, shape).astype(dtype)


#: lengths that no other test plans for, below and around a block, in one and more
#: threads
LENGTHS = [257, BLOCK - 1, BLOCK + 1, 3 * BLOCK + 5, 171_717]


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int64"])
def test_a_flat_kernel(n, dtype, streamed):
    x, y = numbers(n, dtype=dtype), numbers(n, seed=1, dtype=dtype)
    found = (nt.from_numpy(x) * nt.from_numpy(y)).numpy()
    np.testing.assert_array_equal(found, x * y)
    assert [nest.streamed for nest in streamed] == [True]


@pytest.mark.parametrize("n", LENGTHS)
def test_float16(n, streamed):
    x = numbers(n)
    found = nt.from_numpy(x).half().numpy()
    np.testing.assert_array_equal(found, x.astype(np.float16))
    assert [nest.streamed for nest in streamed] == [True]


def test_bools(streamed):
    x, y = numbers(90_001), numbers(90_001, seed=1)
    found = nt.from_numpy(x) > nt.from_numpy(y)
    np.testing.assert_array_equal(found.numpy(), x > y)
    assert streamed[0].streamed


@pytest.mark.parametrize("begin", [0, 1, 7, 15, 16])
@pytest.mark.parametrize("n", [261, BLOCK + 3, 2 * BLOCK + 19])
def test_nothing_beside_a_view_is_written(begin, n, streamed):
    x = numbers(n)
    out = nt.full((n + begin + 5,), 3.0)
    out[begin : begin + n].copy_(nt.from_numpy(x))
    expected = np.full(n + begin + 5, 3, np.float32)
    expected[begin : begin + n] = x
    np.testing.assert_array_equal(out.numpy(), expected)
    assert all(nest.streamed for nest in streamed)


@pytest.mark.parametrize("n", [263, BLOCK + 7, 181_811])
def test_in_place(n):
    x, y = numbers(n), numbers(n, seed=1)
    a = nt.from_numpy(x.copy())
    a.mul_(nt.from_numpy(y)).add_(a)
    np.testing.assert_array_equal(a.numpy(), x * y + x * y)


@pytest.mark.parametrize("columns", [255, 257, BLOCK + 9])
def test_rows(columns, streamed):
    x, b = numbers(190, columns), numbers(columns, seed=1)
    found = nt.from_numpy(x) + nt.from_numpy(b)
    np.testing.assert_array_equal(found.numpy(), x + b)
    # a short innermost loop is not worth it
    assert [nest.streamed for nest in streamed] == [columns > 256]


def test_rows_with_gaps():
    x, y = numbers(67, 611), numbers(67, 599, seed=1)
    out = nt.zeros(67, 611)
    out[:, 5:604].copy_(nt.from_numpy(x)[:, 2:601] - nt.from_numpy(y))
    expected = np.zeros((67, 611), np.float32)
    expected[:, 5:604] = x[:, 2:601] - y
    np.testing.assert_array_equal(out.numpy(), expected)


def test_a_steps_stores_beside_its_sums(streamed):
    x, y = numbers(33_347), numbers(33_347, seed=1)
    a = nt.from_numpy(x).requires_grad_()

    @nt.jit
    def step(a, b):
        a.grad = None
        loss = nt.nn.functional.mse_loss(a, b)
        loss.backward()
        return loss

    loss = step(a, nt.from_numpy(y))
    wide = x.astype(np.float64) - y
    np.testing.assert_allclose(loss.item(), (wide**2).mean(), rtol=1e-6)
    np.testing.assert_allclose(a.grad.numpy(), 2 * wide / x.size, rtol=1e-5)
    assert any(nest.streamed and nest.form == "inner" for nest in streamed)


def test_what_is_dear_is_not_streamed():
    x = numbers(20_011)
    nt.from_numpy(x).exp()
    (kernel, cost), *_ = launch_cpu._kernels.values()
    assert cost > launch_cpu._STREAMED_COST
    assert "stream" not in kernel.path.read_text()


def test_what_is_small_is_not_streamed(monkeypatch, streamed):
    monkeypatch.undo()
    printed = []
    monkeypatch.setattr(launch_cpu, "_kernels", {})
    monkeypatch.setattr(
        launch_cpu, "emit", lambda nest: printed.append(nest) or emit(nest)
    )
    nt.from_numpy(numbers(20_021)).mul(3)
    assert [nest.streamed for nest in printed] == [False]


def test_large_results_are_streamed(monkeypatch):
    monkeypatch.undo()
    assert launch_cpu._streamed(1 << 23, 1 << 23, ["float32"], ["unit"])
    assert not launch_cpu._streamed(1 << 22, 1 << 22, ["float32"], ["unit"])
    assert not launch_cpu._streamed(1 << 23, 1 << 23, ["float32"], ["any"])
    assert not launch_cpu._streamed(1 << 23, 128, ["float32"], ["unit"])


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names its instructions")
def test_machine_code_goes_around_the_cache(streamed):
    """LLVM drops the hint from stores that it does not know to be aligned."""
    import numba

    from numtensor.kernels.lang import FLAGS

    x = nt.from_numpy(numbers(20_023))
    x - x * 2
    name, source, _ = emit(streamed[-1])
    module = types.ModuleType("streamed")
    exec(source, module.__dict__)
    signature = compiler._signature("kernel")
    function = numba.cfunc(signature, **FLAGS)(getattr(module, name))
    code = function._library.get_asm_str()
    assert "movnt" in code
    assert "mfence" in code or "lock" in code


@pytest.mark.parametrize("shape", [(91, 307), (9, 2 * loops.SEGMENT + 77), (200, 191)])
def test_sweeps_over_rows(shape, monkeypatch):
    monkeypatch.setattr(launch_sweeps, "STREAMED_BYTES", 1)
    monkeypatch.setattr(launch_sweeps, "_kernels", {})
    functional = nt.nn.functional
    x, g = numbers(*shape), numbers(*shape, seed=1)

    @nt.jit
    def step(a, g):
        a.grad = None
        out = functional.layer_norm(a, a.shape[1:])
        out.backward(g)
        return out, functional.softmax(a, 1), functional.log_softmax(a, 1)

    a = nt.from_numpy(x).requires_grad_()
    found = [t.detach().numpy() for t in step(a, nt.from_numpy(g))] + [a.grad.numpy()]
    wide = x.astype(np.float64)
    centred = wide - wide.mean(1, keepdims=True)
    scale = 1 / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
    normal = centred * scale
    powers = np.exp(wide - wide.max(1, keepdims=True))
    softmax = powers / powers.sum(1, keepdims=True)
    means = g.mean(1, keepdims=True) + normal * (g * normal).mean(1, keepdims=True)
    expected = [normal, softmax, np.log(softmax), (g - means) * scale]
    for mine, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, other, rtol=2e-5, atol=2e-5)
    texts = [kernel.path.read_text() for kernel, _ in launch_sweeps._kernels.values()]
    wanted = shape[1] >= launch_cpu.STREAMED_ROW
    assert any("settle()" in text for text in texts) == wanted


def test_rows_in_place_are_not_streamed(monkeypatch):
    monkeypatch.setattr(launch_sweeps, "STREAMED_BYTES", 1)
    monkeypatch.setattr(launch_sweeps, "_kernels", {})
    x = numbers(93, 311)
    a = nt.from_numpy(x.copy())

    @nt.jit
    def step(a):
        a.copy_(nt.nn.functional.layer_norm(a, a.shape[1:], eps=0.0))

    step(a)
    expected = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    np.testing.assert_allclose(a.numpy(), expected, atol=1e-5)
    texts = [kernel.path.read_text() for kernel, _ in launch_sweeps._kernels.values()]
    assert texts and not any("settle()" in text for text in texts)
