"""float16: stored, copied, viewed, printed and cast; computed with in other dtypes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import numtensor as nt

SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -2.5,
    65504.0,
    65520.0,
    1e-8,
    6e-8,
    6.1e-5,
    0.1,
    2049.0,
    2051.0,
]
SPECIAL += [float("inf"), float("-inf"), float("nan")]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_casts_round_as_numpy_does(dtype):
    rng = np.random.default_rng(0)
    values = np.concatenate([SPECIAL, rng.normal(size=500), rng.normal(size=500) * 1e4])
    values = values.astype(dtype)
    with np.errstate(over="ignore"):
        expected = values.astype("float32").astype("float16")
    half = nt.from_numpy(values).half()
    assert half.dtype is nt.float16 and half.itemsize == 2
    np.testing.assert_array_equal(half.numpy().view("u2"), expected.view("u2"))
    back = half.to(nt.from_numpy(values).dtype).numpy()
    np.testing.assert_array_equal(back, expected.astype(dtype))


def test_every_half_survives_a_round_trip():
    bits = np.arange(2**16, dtype=np.uint16).view("float16")
    bits = bits[~np.isnan(bits)]
    wide = nt.from_numpy(bits).float()
    np.testing.assert_array_equal(wide.numpy(), bits.astype("float32"))
    np.testing.assert_array_equal(wide.half().numpy().view("u2"), bits.view("u2"))


def test_integers_and_bool():
    x = nt.tensor([0, 3, -7], dtype=nt.int32)
    assert x.half().tolist() == [0.0, 3.0, -7.0]
    assert nt.tensor([0.0, 2.9, -2.9]).half().long().tolist() == [0, 2, -2]
    assert nt.tensor([0.0, 0.5]).half().bool().tolist() == [False, True]


def test_making_viewing_and_printing():
    x = nt.tensor([[1.0, 2.0], [3.0, 0.1]], dtype=nt.half)
    assert repr(x.t()[0]) == "tensor([1., 3.], dtype=torch.float16)"
    assert x[1, 1].item() == float(np.float16(0.1))
    assert x.type() == "torch.HalfTensor" and nt.is_floating_point(x)
    assert nt.zeros(2, dtype=nt.float16).fill_(2).tolist() == [2.0, 2.0]
    assert nt.cat([x, x]).shape == (4, 2) and x.t().contiguous().stride() == (2, 1)
    x[0] = nt.tensor([5, 6])
    assert x[0].tolist() == [5.0, 6.0]
    assert pickle.loads(pickle.dumps(x)).tolist() == x.tolist()
    assert nt.promote_types(nt.float16, nt.int64) is nt.float16
    assert nt.promote_types(nt.float16, nt.float32) is nt.float32
    assert nt.finfo(nt.float16).max == 65504


def test_arithmetic_says_what_to_do():
    x = nt.ones(3, dtype=nt.float16)
    for name, call in {
        "add": lambda: x + x,
        "mul": lambda: x * nt.ones(3),
        "exp": lambda: x.exp(),
        "eq": lambda: x == x,
        "sum": lambda: x.sum(),
        "matmul": lambda: x @ x,
    }.items():
        text = f"^{name}: got torch.float16; .*Use x.float\\(\\) first, and .half\\(\\)"
        with pytest.raises(nt.errors.DTypeError, match=text):
            call()
    with pytest.raises(nt.errors.DTypeError, match="Use x.float"):
        nt.sort(x)
    with pytest.raises(nt.errors.DTypeError, match="gradient: got torch.float16"):
        nt.ones(2, requires_grad=True).half()
    with pytest.raises(TypeError, match="float32 or torch.float64"):
        nt.set_default_dtype(nt.float16)


@pytest.mark.cuda
def test_it_stays_on_the_host():
    with pytest.raises(nt.errors.DTypeError, match="got a tensor on cuda:0"):
        nt.ones(3, dtype=nt.float16).to("cuda")
    assert nt.ones(3, dtype=nt.float16).float().to("cuda").is_cuda
