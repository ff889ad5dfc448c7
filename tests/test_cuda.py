"""Tensors on a CUDA device: moving there and back, views, mixing, gradients, errors.

Every operator on the device is in `test_ops.py`, `test_reductions.py`,
`test_composed.py` and `test_cuda_coverage.py`; the functions of `nt.cuda` are in
`test_cuda_api.py`. Without a GPU all of it runs in Numba's simulator.
"""

from __future__ import annotations

import copy
import gc
import itertools
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numtensor as nt
from numtensor import device_memory
from numtensor.errors import DeviceError

pytestmark = pytest.mark.cuda

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")


def sample(dtype="float32", shape=(3, 4)):
    values = np.arange(np.prod(shape)).reshape(shape) % 5
    return values.astype(dtype)


def live():
    """Return the bytes that tensors hold on the device."""
    gc.collect()
    return device_memory.counts_of(nt.device("cuda:0")).allocated


class TestMoving:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_there_and_back(self, dtype):
        array = sample(dtype)
        x = nt.tensor(array)
        there = x.to("cuda")
        assert there.device == nt.device("cuda:0") and there.is_cuda
        assert (there.dtype, there.shape, there.stride()) == (x.dtype, x.shape, (4, 1))
        back = there.cpu()
        assert back.device == nt.device("cpu") and not back.is_cuda
        assert np.array_equal(back.numpy(), array)

    def test_forms_of_to(self):
        x = nt.tensor(sample("int64"))
        other = nt.zeros(1, dtype=nt.float64, device="cuda")
        for there in (
            x.to("cuda", nt.float64),
            x.to(device="cuda", dtype=nt.float64),
            x.to(nt.device("cuda"), nt.float64, True),
            x.to(other),
            x.cuda().double(),
            x.double().cuda(0),
            x.type_as(other),
            x.to("cuda:0", nt.float64, non_blocking=True, copy=True),
        ):
            assert (there.dtype, str(there.device)) == (nt.float64, "cuda:0")
            assert np.array_equal(there.cpu().numpy(), sample("float64"))

    def test_nothing_to_do_is_the_tensor_itself(self):
        x = nt.ones(3, device="cuda")
        assert x.to("cuda") is x and x.cuda() is x and x.to("cuda:0", nt.float32) is x
        assert x.to("cuda", copy=True) is not x
        assert x.to("cuda", nt.float32, False, True).data_ptr() != x.data_ptr()
        here = nt.ones(3)
        assert here.cpu() is here

    def test_strides_of_dense_tensors_are_kept(self):
        x = nt.tensor(sample())
        assert x.t().cuda().stride() == (1, 4)
        assert x[:, ::2].cuda().stride() == (2, 1)
        assert x[:, :1].expand(3, 2).cuda().stride() == (2, 1)
        for y in (x.t(), x[:, ::2], x[1:, 1], x[:, :1].expand(3, 2)):
            assert np.array_equal(y.cuda().cpu().numpy(), y.numpy())
            assert np.array_equal(y.cuda().t().cpu().numpy(), y.numpy().T)

    def test_the_format_that_is_asked_for(self):
        x = nt.tensor(sample()).t()
        for there in (
            x.to("cuda", memory_format=nt.contiguous_format),
            x.cuda(memory_format=nt.contiguous_format),
            x.cuda().cpu(memory_format=nt.contiguous_format),
        ):
            assert there.is_contiguous()
            assert np.array_equal(there.cpu().numpy(), sample().T)

    @pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1, 1)])
    def test_small_shapes(self, shape):
        x = nt.tensor(sample(shape=shape))
        assert np.array_equal(x.cuda().cpu().numpy(), x.numpy())

    def test_device_of_factories(self):
        for made in (
            nt.tensor([1.0, 2.0], device="cuda"),
            nt.zeros(2, device="cuda"),
            nt.ones(2, device=nt.device("cuda")),
            nt.full((2,), 3, device="cuda:0"),
            nt.empty(2, device="cuda"),
            nt.arange(2, device="cuda"),
            nt.linspace(0, 1, 2, device="cuda"),
            nt.eye(2, device="cuda"),
            nt.rand(2, device="cuda"),
            nt.randint(3, (2,), device="cuda"),
            nt.empty_strided((2,), (2,), device="cuda"),
            nt.as_tensor([1, 2], device="cuda"),
            nt.scalar_tensor(1.0, device="cuda"),
            nt.zeros_like(nt.ones(2), device="cuda"),
        ):
            assert str(made.device) == "cuda:0"
        x = nt.zeros(2, device="cuda")
        for made in (
            nt.zeros_like(x), nt.rand_like(x), x.new_ones(2), x.new_tensor([1]),
            nt.tensor(x), nt.as_tensor(x), x.clone(), x.detach(), x[0], x.view(2, 1),
        ):  # fmt: skip
            assert str(made.device) == "cuda:0"
        assert str(nt.zeros_like(x, device="cpu").device) == "cpu"
        assert str(nt.tensor(x, device="cpu").device) == "cpu"

    def test_copy_between_devices(self):
        there = nt.zeros(3, 4, device="cuda")
        here = nt.tensor(sample("int32"))
        assert there.copy_(here) is there
        assert np.array_equal(there.cpu().numpy(), sample())
        there.t().copy_(nt.tensor(sample().T * 2))
        assert np.array_equal(there.cpu().numpy(), sample() * 2)
        there[1] = nt.arange(4.0)
        assert there[1].tolist() == [0.0, 1.0, 2.0, 3.0]
        back = nt.empty(3, 4)
        back.copy_(there)
        assert back[1].tolist() == [0.0, 1.0, 2.0, 3.0]
        back.copy_(nt.ones(4, device="cuda"))  # broadcast
        assert back.sum().item() == 12.0

    def test_a_copy_counts_as_a_change(self):
        x = nt.ones(3, requires_grad=True, device="cuda")
        y = nt.ones(3, device="cuda")
        z = (x * y).sum()
        y.copy_(nt.zeros(3))
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            z.backward()


class TestViews:
    def test_a_view_shares_memory(self):
        x = nt.zeros(3, 4, device="cuda")
        column = x[:, 1]
        assert column.data_ptr() == x.data_ptr() + 4
        assert (column.stride(), column.storage_offset()) == ((4,), 1)
        column.fill_(7)
        x.t()[0, 2] = 5
        expected = np.zeros((3, 4))
        expected[:, 1] = 7
        expected[2, 0] = 5
        assert np.array_equal(x.cpu().numpy(), expected)
        assert x.untyped_storage().data_ptr() == column.untyped_storage().data_ptr()

    def test_expand_copies_nothing(self):
        x = nt.ones(1, 3, device="cuda")
        before = live()
        wide = x.expand(1000, 3)
        assert live() == before and wide.stride() == (0, 1)

    def test_storage(self):
        x = nt.tensor([[4.0, 1.0], [5.0, 3.0]], device="cuda")
        storage = x[:, 1].storage()
        assert list(storage) == [4.0, 1.0, 5.0, 3.0] and len(storage) == 4
        assert storage[2] == 5.0 and str(storage.device) == "cuda:0"
        storage[1] = 9.0
        assert x.tolist() == [[4.0, 9.0], [5.0, 3.0]]
        assert repr(storage).endswith(
            "[torch.storage.TypedStorage(dtype=torch.float32, device=cuda:0) of size 4]"
        )

    def test_in_place_through_a_view_reaches_the_gradient(self):
        x = nt.ones(4, requires_grad=True, device="cuda")
        y = x * 2
        y[1:3].mul_(3)
        y.sum().backward()
        assert x.grad.tolist() == [2.0, 6.0, 6.0, 2.0]
        assert x.grad.is_cuda

    def test_overlapping_windows(self):
        rng = np.random.default_rng(0)
        weights = rng.uniform(size=(5, 3))
        grads = []
        for device in ("cpu", "cuda"):
            x = nt.arange(7.0, device=device, dtype=nt.float64).requires_grad_()
            windows = x.as_strided((5, 3), (1, 1))
            (windows * nt.tensor(weights, device=device)).sum().backward()
            grads.append(x.grad.cpu().numpy())
        expected = np.zeros(7)
        for i, j in np.ndindex(5, 3):
            expected[i + j] += weights[i, j]
        assert np.allclose(grads[0], expected) and np.allclose(grads[1], expected)


class TestMixing:
    def test_two_devices_are_refused(self):
        here, there = nt.ones(2), nt.ones(2, device="cuda")
        sentence = (
            "Expected all tensors to be on the same device, but found at least two "
            "devices"
        )
        for call in (
            lambda: here + there,
            lambda: there * here,
            lambda: here.add_(there),
            lambda: nt.where(there > 0, here, there),
            lambda: nt.cat([here, there]),
            lambda: nt.stack([there, here]),
            lambda: here @ there,
            lambda: nt.add(here, here, out=nt.empty(2, device="cuda")),
            lambda: nt.lerp(there, there, here),
            lambda: (there.requires_grad_() * 2).backward(here),
        ):
            with pytest.raises(DeviceError, match=sentence):
                call()

    def test_the_whole_sentence(self):
        with pytest.raises(DeviceError) as caught:
            nt.ones(2, device="cuda") + nt.ones(2)
        assert str(caught.value) == (
            "add: got tensors on cuda:0 and cpu; expected one device. Expected all "
            "tensors to be on the same device, but found at least two devices, cuda:0 "
            "and cpu! Move one with x.to('cpu')."
        )

    def test_numbers_of_the_host_may_take_part(self):
        there = nt.arange(3, device="cuda")
        for number in (2.5, nt.tensor(2.5), nt.tensor(2.5, dtype=nt.float64)):
            result = there * number
            assert result.is_cuda and result.tolist() == [0.0, 2.5, 5.0]
        assert (there * nt.tensor(2.5, dtype=nt.float64)).dtype == nt.float64
        assert (nt.tensor(1) - there).tolist() == [1, 0, -1]

    def test_their_gradient_comes_back_to_the_host(self):
        w = nt.tensor(3.0, requires_grad=True)
        (w * nt.arange(4.0, device="cuda")).sum().backward()
        assert w.grad.item() == 6.0 and str(w.grad.device) == "cpu"


class TestGradients:
    def test_through_transfers(self):
        x = nt.tensor([1.0, 2.0], requires_grad=True)
        there = x.to("cuda", nt.float64)
        assert there.grad_fn is not None
        (there * there).sum().cpu().backward()
        assert x.grad.tolist() == [2.0, 4.0]
        assert (str(x.grad.device), x.grad.dtype) == ("cpu", nt.float32)

    def test_of_second_order(self):
        x = nt.tensor([1.0, 2.0], requires_grad=True)
        y = (x.cuda() ** 3).sum()
        (first,) = nt.autograd.grad(y, x, create_graph=True)
        (second,) = nt.autograd.grad(first.sum(), x)
        assert second.tolist() == [6.0, 12.0] and str(second.device) == "cpu"

    def test_gradcheck(self):
        x = nt.rand(2, 3, dtype=nt.float64, device="cuda", requires_grad=True)
        y = nt.rand(3, dtype=nt.float64, device="cuda", requires_grad=True)
        assert nt.autograd.gradcheck(lambda a, b: (a * b).sin().sum(0), (x, y))

    def test_one_kernel_for_both_gradients(self):
        x = nt.rand(5, device="cuda", requires_grad=True)
        y = nt.rand(5, device="cuda", requires_grad=True)
        (x * y).sum().backward()
        assert np.array_equal(x.grad.cpu().numpy(), y.detach().cpu().numpy())
        assert np.array_equal(y.grad.cpu().numpy(), x.detach().cpu().numpy())


class TestLooking:
    def test_printing(self):
        assert repr(nt.tensor([1.0, 2.5], device="cuda")) == (
            "tensor([1.0000, 2.5000], device='cuda:0')"
        )
        assert repr(nt.tensor(3, device="cuda")) == "tensor(3, device='cuda:0')"
        x = nt.ones(1, device="cuda", requires_grad=True)
        assert repr(x * 2) == "tensor([2.], device='cuda:0', grad_fn=<MulBackward0>)"

    def test_python_numbers(self):
        x = nt.tensor([[1.5]], device="cuda")
        assert (x.item(), float(x), int(x), bool(x)) == (1.5, 1.5, 1, True)
        assert nt.arange(3, device="cuda").tolist() == [0, 1, 2]
        assert [v.item() for v in nt.arange(3, device="cuda")] == [0, 1, 2]
        assert 2 in nt.arange(3, device="cuda")
        assert nt.arange(9)[nt.tensor(4, device="cuda")] == 4

    def test_numpy_is_refused(self):
        x = nt.ones(2, device="cuda")
        sentence = (
            "numpy: got a tensor on cuda:0; expected one in host memory. can't "
            "convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the "
            "tensor to host memory first."
        )
        for call in (x.numpy, lambda: np.asarray(x)):
            with pytest.raises(TypeError) as caught:
                call()
            assert str(caught.value) == sentence
        assert x.numpy(force=True).tolist() == [1.0, 1.0]

    def test_names_of_types(self):
        assert nt.ones(1, device="cuda").type() == "torch.cuda.FloatTensor"
        assert nt.ones(1, device="cuda").get_device() == 0
        assert nt.ones(1).get_device() == -1

    def test_pickle_and_deepcopy(self):
        x = nt.tensor([1.0, 2.0], device="cuda", requires_grad=True)
        for twin in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
            assert twin.tolist() == [1.0, 2.0] and twin.requires_grad
            assert str(twin.device) == "cuda:0" and twin.data_ptr() != x.data_ptr()

    def test_the_kernel_can_be_read(self):
        x = nt.ones(8, device="cuda")
        text = nt.kernel_source(nt.add, x, x)
        assert "def add(out, x, y, n, whole):" in text and "load_4(x, group)" in text
        assert '@kernel("float32*, float32*, float32*, int64, int64")' in text
        compile(text, "add", "exec")


class TestRandom:
    @pytest.mark.parametrize("dtype", [nt.float32, nt.float64])
    @pytest.mark.parametrize("draw", [nt.rand, nt.randn])
    def test_a_seed_gives_the_same_bits_on_both_devices(self, draw, dtype):
        for n in (8, 1, 3, 33):
            nt.manual_seed(0)
            here = draw(n, dtype=dtype)
            nt.manual_seed(0)
            there = draw(n, dtype=dtype, device="cuda")
            assert np.array_equal(here.numpy(), there.cpu().numpy())

    def test_every_family(self):
        fills = {
            "uniform_": (-1.0, 2.0), "normal_": (1.0, 2.0), "exponential_": (0.5,),
            "random_": (-5, 1000), "bernoulli_": (0.3,),
        }  # fmt: skip
        for (name, args), dtype in itertools.product(fills.items(), DTYPES):
            if name in ("uniform_", "normal_", "exponential_") and "float" not in dtype:
                continue
            if name == "random_" and dtype in ("bool", "uint8", "int8"):
                args = (0, 2)
            found = []
            for device in ("cpu", "cuda"):
                nt.manual_seed(7)
                x = nt.zeros(3, 7, dtype=getattr(nt, dtype), device=device)
                getattr(x.t(), name)(*args)
                found.append(x.cpu().numpy())
            assert np.array_equal(*found), (name, dtype)
        nt.manual_seed(1)
        here = nt.randperm(9)
        nt.manual_seed(1)
        assert np.array_equal(here.numpy(), nt.randperm(9, device="cuda").cpu().numpy())

    def test_each_device_has_its_own_stream(self):
        nt.manual_seed(5)
        first = nt.rand(4, device="cuda")
        nt.rand(100)  # the CPU's
        second = nt.rand(4, device="cuda")
        nt.manual_seed(5)
        both = nt.rand(8, device="cuda").cpu().numpy()
        assert np.array_equal(np.hstack([first.cpu(), second.cpu()]), both)

    def test_a_seed_that_is_refused_changes_nothing(self):
        nt.cuda.manual_seed_all(-1)
        first = nt.rand(4, device="cuda")
        with pytest.raises(ValueError, match="a seed from -2"):
            nt.cuda.manual_seed_all(2**70)
        nt.cuda.manual_seed_all(2**64 - 1)
        assert np.array_equal(
            nt.rand(4, device="cuda").cpu().numpy(), first.cpu().numpy()
        )

    def test_a_generator_is_for_one_device(self):
        generator = nt.Generator("cuda").manual_seed(3)
        there = nt.rand(4, device="cuda", generator=generator)
        here = nt.rand(4, generator=nt.Generator().manual_seed(3))
        assert np.array_equal(there.cpu().numpy(), here.numpy())
        with pytest.raises(DeviceError) as caught:
            nt.rand(4, generator=generator)
        assert str(caught.value) == (
            "generator: got one of device cuda:0; expected one of the tensor's device, "
            "cpu. Expected a 'cpu' device type for generator but found 'cuda'. Use "
            "nt.Generator('cpu')."
        )


class TestProducts:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_any_strides(self, dtype):
        rng = np.random.default_rng(1)
        a = rng.integers(0, 3, (2, 9, 11)).astype(dtype)
        b = rng.integers(0, 3, (2, 11, 10)).astype(dtype)
        expected = np.matmul(a.astype("int64"), b.astype("int64"))
        expected = expected != 0 if dtype == "bool" else expected.astype(dtype)
        x, y = nt.tensor(a, device="cuda"), nt.tensor(b, device="cuda")
        turned = nt.tensor(a.swapaxes(1, 2).copy(), device="cuda").mT
        gaps = nt.tensor(np.repeat(b, 2, 2), device="cuda")[:, :, ::2]
        for left, right in itertools.product(
            (x, turned), (y, y.mT.contiguous().mT, gaps)
        ):
            assert np.array_equal((left @ right).cpu().numpy(), expected)
        assert np.array_equal((x[0] @ y).cpu().numpy()[0], expected[0])

    def test_sizes_around_tiles(self):
        rng = np.random.default_rng(2)
        for n, m, k in itertools.product((1, 7, 8, 9), (1, 8, 17), (1, 3, 7)):
            a, b = rng.uniform(size=(n, k)), rng.uniform(size=(k, m))
            found = nt.tensor(a, device="cuda") @ nt.tensor(b, device="cuda")
            assert np.allclose(found.cpu().numpy(), a @ b, rtol=1e-13)


class TestMemory:
    def test_nothing_is_lost(self):
        found = []
        for _ in range(3):
            x = nt.rand(50, device="cuda", requires_grad=True)
            y = (x.exp() * x[:1]).reshape(5, 10)
            (y.sum(0).mean() + y.std()).backward()
            del x, y
            found.append(live())
        assert found[1] == found[2]  # the first makes the layout tables of its calls

    def test_a_refused_call_leaves_nothing(self):
        x = nt.ones(3, device="cuda")
        before = live()
        for call in (
            lambda: x + nt.ones(4, device="cuda"),
            lambda: x + nt.ones(3),
            lambda: nt.ones(2, device="cuda:7"),
            lambda: nt.empty(2**40, device="cuda"),
            lambda: x.view(2),
            lambda: x & x,
        ):
            with pytest.raises((RuntimeError, TypeError)):
                call()
        assert live() == before

    def test_a_kernel_that_leaves_its_memory_is_stopped(self):
        """The simulator's own guard: what would corrupt memory on a GPU raises here."""
        from numtensor.kernels.cuda import driver

        api = driver.current()
        if not api.simulated:
            pytest.skip("of the simulator")
        text = (
            "from numba import cuda\n"
            "from numtensor.kernels.cuda.lang import kernel\n\n\n"
            '@kernel("float32*, int64")\n'
            "def astray(out, n):\n"
            "    out[n] = 1.0\n"
        )
        x = nt.zeros(128, device="cuda")
        astray = api.load("astray", text)
        api.launch(0, astray, 1, 1, 0, (x.data_ptr(), 127))
        assert x[127].item() == 1.0
        for n in (128, -1):
            with pytest.raises(IndexError):
                api.launch(0, astray, 1, 1, 0, (x.data_ptr(), n))
        with pytest.raises(IndexError, match="is in no allocation"):
            api.launch(0, astray, 1, 1, 0, (16, 0))


def test_same_results_every_time():
    """Sums across threads are made in one order."""
    nt.manual_seed(2)
    x = nt.randn(7, 90, device="cuda")
    for call in (nt.sum, nt.mean, nt.prod, nt.std):
        for dim in (None, 0, 1):
            first = call(x, dim).cpu().numpy()
            for _ in range(2):
                assert np.array_equal(call(x, dim).cpu().numpy(), first)


EXAMPLE = Path(__file__).parents[1] / "examples" / "linear_fit.py"


def test_the_linear_fit_finds_the_same_figures():
    """The example prints the same on both devices, but for the last digits."""
    printed = []
    for device in ("cpu", "cuda"):
        done = subprocess.run(
            [sys.executable, str(EXAMPLE), "--device", device, "--epochs", "20"],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("all 5 figures agree\n")
        printed.append(done.stdout)
    assert "device='cuda:0'" in printed[1]
    here, there = (re.sub(r", device='cuda:0'|\s+", "", text) for text in printed)
    number = r"-?\d+\.\d+(?:e[+-]\d+)?"
    assert re.sub(number, "#", here) == re.sub(number, "#", there)
    for a, b in zip(re.findall(number, here), re.findall(number, there), strict=True):
        assert float(a) == pytest.approx(float(b), rel=1e-4, abs=2e-4)


def test_factories_pin_memory():
    for made in (
        nt.tensor([1.0], pin_memory=True),
        nt.empty(2, pin_memory=True),
        nt.zeros(2, pin_memory=True),
        nt.ones(2, pin_memory=True),
        nt.full((2,), 3.0, pin_memory=True),
        nt.rand(2, pin_memory=True),
        nt.randint(3, (2,), pin_memory=True),
    ):
        assert made.is_pinned() and not nt.ones(2).is_pinned()
        there = made.to("cuda", non_blocking=True)
        assert np.array_equal(there.cpu().numpy(), made.numpy(), equal_nan=True)
