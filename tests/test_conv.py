"""Convolution: every way of computing it against sums written in NumPy.

The oracle adds one tap of the kernel after the other, and so do its gradients. Cases
that PyTorch gave expected values for are in `nn_cases/conv.py`.
"""

from __future__ import annotations

import itertools

import laws
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtensor as nt
from numtensor import launch_blas, nn
from numtensor.errors import DTypeError, ShapeError
from numtensor.nn import functional as F
from numtensor.nn.functional import (
    _convolution,
    _convolution_direct,
    _convolution_ways,
    conv,
)
from numtensor.ops import products

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


# The oracle


def sizes_of(shape, kernel, stride, padding, dilation):
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(shape, kernel, stride, padding, dilation, strict=True)
    )


def pieces(x, w, out, stride, padding, dilation, groups):
    """Yield, for each tap of the kernel and group: the places of x, y and w it joins.

    x is padded; all three are (index of x, index of y, index of w).
    """
    own, depth = w.shape[0] // groups, w.shape[1]
    for tap in itertools.product(*(range(k) for k in w.shape[2:])):
        window = tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, dilation, out, stride, strict=True)
        )
        for g in range(groups):
            o, c = slice(g * own, (g + 1) * own), slice(g * depth, (g + 1) * depth)
            yield (slice(None), c, *window), (slice(None), o), (o, slice(None), *tap)


def around(x, padding):
    return np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])


def reference(x, w, stride, padding, dilation, groups):
    out = sizes_of(x.shape[2:], w.shape[2:], stride, padding, dilation)
    y = np.zeros((x.shape[0], w.shape[0], *out))
    wide = around(x, padding)
    for at, to, tap in pieces(x, w, out, stride, padding, dilation, groups):
        y[to] += np.einsum("nc...,oc->no...", wide[at], w[tap])
    return y


def reference_grads(x, w, y, stride, padding, dilation, groups):
    """Return what y sends back to x and w."""
    out, wide = y.shape[2:], around(x, padding)
    gx, gw = np.zeros_like(wide), np.zeros_like(w)
    for at, to, tap in pieces(x, w, out, stride, padding, dilation, groups):
        gx[at] += np.einsum("no...,oc->nc...", y[to], w[tap])
        dims = "def"[: len(out)]
        gw[tap] += np.einsum(f"nc{dims},no{dims}->oc", wide[at], y[to])
    inner = tuple(slice(p, p + n) for p, n in zip(padding, x.shape[2:], strict=True))
    return gx[(slice(None), slice(None), *inner)], gw


def check(x, w, b, stride=1, padding=0, dilation=1, groups=1, dtype="float64"):
    """Compare a convolution, its gradients and the transposed one with the oracle."""
    nd = w.ndim - 2
    stride, padding, dilation = (
        (v,) * nd if isinstance(v, int) else v for v in (stride, padding, dilation)
    )
    rules = (stride, padding, dilation, groups)
    tensors = [laws.made(a.astype(dtype)).requires_grad_() for a in (x, w, b)]
    y = CONV[nd](*tensors, *rules)
    expected = reference(x, w, *rules) + b.reshape(-1, *(1,) * nd)
    tolerance = 1e-12 if dtype == "float64" else 1e-4
    laws.assert_close(laws.numpy_of(y), expected, tolerance, "forward")
    g = np.random.default_rng(5).normal(size=expected.shape)
    y.backward(laws.made(g.astype(dtype)))
    gx, gw = reference_grads(x, w, g, *rules)
    gb = g.sum((0, *range(2, g.ndim)))
    for t, want in zip(tensors, (gx, gw, gb), strict=True):
        laws.assert_close(laws.numpy_of(t.grad), want, tolerance, "gradient")
    # what the last window does not reach is the output padding
    left = [
        (n + 2 * p - d * (k - 1) - 1) % s
        for n, k, s, p, d in zip(
            x.shape[2:], w.shape[2:], stride, padding, dilation, strict=True
        )
    ]
    if all(e < max(s, d) for e, s, d in zip(left, stride, dilation, strict=True)):
        back = TRANSPOSED[nd](
            laws.made(g.astype(dtype)), tensors[1].detach(), None, stride, padding,
            left, groups, dilation,
        )  # fmt: skip
        laws.assert_close(laws.numpy_of(back), gx, tolerance, "transposed")


def draw(rng, *shapes):
    return [rng.normal(size=shape) for shape in shapes]


# Every way of computing it


@pytest.fixture(
    params=["direct", "columns", "joined", "in chunks", "by NumPy", "chosen"]
)
def way(request, monkeypatch):
    """Force one way of computing; plans made before do not count."""
    never = 10**9
    if request.param == "direct":
        monkeypatch.setattr(_convolution_direct, "DIRECT_FROM", 1)
    elif request.param != "chosen":
        monkeypatch.setattr(_convolution_direct, "DIRECT_FROM", never)
        monkeypatch.setattr(products, "_TINY", 0)  # BLAS, however small
    if request.param == "by NumPy":
        monkeypatch.setattr(products, "SMALL", 0)
        monkeypatch.setattr(launch_blas, "library", lambda: None)
    if request.param in ("columns", "in chunks"):
        monkeypatch.setattr(_convolution_ways, "PER_IMAGE_FROM", 0)
    if request.param == "joined":
        monkeypatch.setattr(_convolution_ways, "PER_IMAGE_FROM", never)
    if request.param == "in chunks":
        monkeypatch.setattr(_convolution_ways, "CHUNK_BYTES", 4000)
        monkeypatch.setattr(_convolution_direct, "CHUNK_BYTES", 4000)
    monkeypatch.setattr(_convolution, "_problems", {})
    monkeypatch.setattr(conv, "_calls", {})
    return request.param


@pytest.mark.parametrize(
    ("x", "w", "rules"),
    [
        ((3, 2, 9), (4, 2, 3), {"padding": 1}),
        ((3, 4, 9), (6, 2, 3), {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}),
        ((3, 2, 5, 8), (4, 2, 3, 3), {"padding": 1}),
        (
            (3, 4, 7, 8),
            (6, 2, 3, 2),
            {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2},
        ),
        ((3, 4, 7, 9), (4, 1, 3, 3), {"stride": 2, "groups": 4}),
        ((3, 4, 5, 6), (3, 4, 1, 1), {}),
        ((3, 4, 5, 6), (4, 2, 1, 1), {"groups": 2}),
        ((3, 4, 5, 6), (3, 4, 1, 1), {"stride": 2, "padding": 1}),
        ((2, 2, 4, 5), (3, 2, 3, 3), {"padding": 4}),
        ((3, 2, 4, 5), (3, 2, 4, 5), {}),
        (
            (2, 2, 4, 3, 5),
            (3, 2, 2, 2, 3),
            {"stride": (1, 2, 1), "padding": (1, 0, 2), "dilation": (2, 1, 1)},
        ),
        (
            (2, 2, 4, 3, 5),
            (3, 2, 2, 2, 3),
            {"stride": (2, 1, 1), "padding": (1, 0, 1), "dilation": (2, 1, 1)},
        ),
        ((2, 2, 2, 3), (3, 2, 7, 7), {"padding": 3}),
        ((0, 2, 4, 5), (3, 2, 3, 3), {"padding": 1}),
    ],
)
def test_values_and_gradients(way, x, w, rules):
    check(*draw(np.random.default_rng(1), x, w, (w[0],)), **rules)


@pytest.mark.usefixtures("way")
def test_float32():
    check(*draw(np.random.default_rng(1), (2, 3, 6, 17), (4, 3, 3, 3), (4,)),
          padding=1, dtype="float32")  # fmt: skip


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("groups", [1, 2])
def test_products_run_on_our_threads(monkeypatch, groups):
    """NumPy's product wakes threads that compete with the kernels': none asks for it
    if NumPy's BLAS can be called."""
    if launch_blas.library() is None:
        pytest.skip("NumPy's BLAS is another, or hidden")

    def asked(*_):
        raise AssertionError("NumPy multiplies")

    monkeypatch.setattr(products.Product, "_by_blas", asked)
    for kernel in (3, 1):
        shapes = (3, 4, 5, 6), (4, 4 // groups, kernel, kernel), (4,)
        check(*draw(np.random.default_rng(1), *shapes), groups=groups)


def test_rows_longer_than_one_task_computes():
    check(*draw(np.random.default_rng(1), (1, 2, 1100), (3, 2, 5), (3,)), padding=2)


def test_chosen_kernels_are_the_documented_ones():
    """Wide rows are computed directly, narrow ones by columns, 1 x 1 by neither."""

    def about(x, w, padding=1, groups=1):
        weight = nt.ones(w)
        F.conv2d(nt.ones(x), weight, None, 1, padding, 1, groups)
        key = next(k for k in reversed(conv._calls) if k[0].shape == x)
        return conv._calls[key][0]

    suits = _convolution_direct.suits
    assert suits(about((1, 3, 4, 64), (16, 3, 3, 3)))
    assert not suits(about((1, 16, 4, 4), (8, 16, 3, 3)))
    assert suits(about((1, 16, 5, 5), (16, 1, 3, 3), groups=16))
    assert not suits(about((1, 16, 5, 64), (8, 16, 1, 1), padding=0))
    assert not suits(about((1, 2, 9, 64), (8, 2, 9, 9)))


@settings(max_examples=40)
@given(st.data())
def test_any_parameters(data):
    """Sizes and parameters at random, among them such that windows skip elements."""
    nd = data.draw(st.integers(1, 2), "dims")
    many = lambda low, high: tuple(  # noqa: E731
        data.draw(st.lists(st.integers(low, high), min_size=nd, max_size=nd))
    )
    groups = data.draw(st.integers(1, 2), "groups")
    kernel, stride, dilation, padding = many(1, 3), many(1, 3), many(1, 2), many(0, 2)
    least = [
        max(1, d * (k - 1) + 1 - 2 * p)
        for k, d, p in zip(kernel, dilation, padding, strict=True)
    ]
    size = tuple(n + e for n, e in zip(least, many(0, 5), strict=True))
    n, c, o = (data.draw(st.integers(1, 3)) for _ in range(3))
    rng = np.random.default_rng(data.draw(st.integers(0, 100)))
    shapes = (n, c * groups, *size), (o * groups, c, *kernel), (o * groups,)
    check(*draw(rng, *shapes), stride, padding, dilation, groups)


# Layouts, dtypes, devices


def test_operands_of_any_layout(way):
    rng = np.random.default_rng(3)
    x, w = draw(rng, (2, 3, 5, 6), (4, 3, 3, 2))
    expected = reference(x, w, (1, 1), (1, 1), (1, 1), 1)
    turned = nt.tensor(x.transpose(3, 1, 0, 2).copy()).permute(2, 1, 3, 0)
    strided = nt.zeros(2, 3, 5, 12, dtype=nt.float64)
    strided[..., ::2] = nt.tensor(x)
    weight = nt.tensor(w.transpose(2, 3, 1, 0).copy()).permute(3, 2, 0, 1)
    for given_x in (turned, strided[..., ::2]):
        assert not given_x.is_contiguous()
        a = given_x.detach().requires_grad_()
        b = weight.detach().requires_grad_()
        y = F.conv2d(a, b, padding=1)
        laws.assert_close(y.detach().numpy(), expected, 1e-12, way)
        y.sum().backward()  # its cotangent is one number, expanded
        gx, gw = reference_grads(
            x, w, np.ones(expected.shape), (1, 1), (1, 1), (1, 1), 1
        )
        laws.assert_close(a.grad.numpy(), gx, 1e-12, way)
        laws.assert_close(b.grad.numpy(), gw, 1e-12, way)
    one = nt.tensor(x[:, :1]).expand(2, 3, 5, 6)
    expected = reference(np.repeat(x[:, :1], 3, 1), w, (1, 1), (1, 1), (1, 1), 1)
    laws.assert_close(F.conv2d(one, weight, padding=1).numpy(), expected, 1e-12, way)


@pytest.mark.usefixtures("way")
def test_second_derivatives():
    rng = np.random.default_rng(2)
    x, w, b = (
        nt.tensor(a, requires_grad=True)
        for a in draw(rng, (2, 2, 4, 5), (2, 1, 2, 3), (2,))
    )
    call = lambda *t: F.conv2d(*t, (2, 1), 1, (1, 2), 2)  # noqa: E731
    assert nt.autograd.gradcheck(call, (x, w, b))
    assert nt.autograd.gradgradcheck(call, (x, w, b))
    back = lambda t, u: F.conv_transpose2d(t, u, None, 2, 1, 1)  # noqa: E731
    leaves = [
        nt.tensor(a, requires_grad=True) for a in draw(rng, (1, 2, 2, 3), (2, 1, 3, 2))
    ]
    assert nt.autograd.gradgradcheck(back, leaves)


def test_third_derivatives():
    """Each order is made of the same three products."""
    x, w = (
        nt.tensor(a, requires_grad=True)
        for a in draw(np.random.default_rng(2), (1, 1, 3, 3), (1, 1, 2, 2))
    )

    def slope(*leaves):
        y = (F.conv2d(*leaves) ** 3).sum()
        (g,) = nt.autograd.grad(y, leaves[:1], create_graph=True)
        return g

    assert nt.autograd.gradgradcheck(slope, (x, w))


@pytest.mark.usefixtures("device")
def test_on_both_devices():
    rng = np.random.default_rng(1)
    rules = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2}
    check(*draw(rng, (2, 2, 3, 4), (2, 1, 2, 2), (2,)), **rules)
    check(*draw(rng, (1, 2, 4), (2, 2, 3), (2,)), padding=1, dtype="float32")


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_integers(dtype):
    rng = np.random.default_rng(1)
    x, w = rng.integers(0, 4, (1, 2, 3, 3)), rng.integers(0, 4, (2, 2, 2, 2))
    y = F.conv2d(laws.made(x.astype(dtype)), laws.made(w.astype(dtype)))
    assert str(y.dtype) == f"torch.{dtype}"
    expected = reference(x, w, (1, 1), (0, 0), (1, 1), 1).astype(dtype)
    laws.assert_same(laws.numpy_of(y), expected, dtype)


def test_same_padding_puts_the_rest_on_the_right():
    x, w = draw(np.random.default_rng(1), (1, 1, 6), (1, 1, 4))
    y = F.conv1d(nt.tensor(x), nt.tensor(w), padding="same")
    wide = np.pad(x, ((0, 0), (0, 0), (1, 2)))
    laws.assert_close(y.numpy(), reference(wide, w, (1,), (0,), (1,), 1), 1e-12, "")


def test_images_without_a_batch():
    x, w, b = draw(np.random.default_rng(1), (2, 4, 5), (3, 2, 3, 3), (3,))
    y = F.conv2d(nt.tensor(x), nt.tensor(w), nt.tensor(b), padding=1)
    batch = F.conv2d(nt.tensor(x[None]), nt.tensor(w), nt.tensor(b), padding=1)
    laws.assert_same(y.numpy(), batch.numpy()[0], "")


def test_no_channels_leave_the_bias():
    y = F.conv2d(nt.ones(1, 0, 3, 3), nt.ones(2, 0, 2, 2), nt.tensor([1.0, 2.0]))
    assert y.tolist() == [[[[1.0] * 2] * 2, [[2.0] * 2] * 2]]


def test_infinity_and_nan_reach_their_windows_only(way):
    x = np.zeros((1, 1, 1, 20))
    x[..., 3], x[..., 12] = np.inf, np.nan
    y = F.conv2d(nt.tensor(x), nt.ones(1, 1, 1, 3, dtype=nt.float64), padding=(0, 1))
    row = y.numpy()[0, 0, 0]
    assert np.isposinf(row[2:5]).all()
    assert np.isnan(row[11:14]).all()
    assert (np.delete(row, [2, 3, 4, 11, 12, 13]) == 0).all(), way


def test_a_saved_weight_must_not_change():
    x, w = nt.ones(1, 1, 3, 3, requires_grad=True), nt.ones(1, 1, 2, 2)
    y = F.conv2d(x, w)
    w.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


# Errors


def z(*shape, dtype=nt.float32):
    return nt.zeros(*shape, dtype=dtype)


CHANNELS = (
    "Given groups=1, weight of size [16, 3, 3, 3], expected input[1, 1, 8, 8] to have "
    "3 channels, but got 1 channels instead."
)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: F.conv2d(z(1, 1, 8, 8), z(16, 3, 3, 3)), ShapeError, CHANNELS),
        (
            lambda: F.conv2d(z(1, 3, 2, 2), z(16, 3, 3, 3)),
            ShapeError,
            "Calculated padded input size per channel: (2 x 2). Kernel size: (3 x 3). "
            "Kernel size can't be greater than actual input size. Use padding.",
        ),
        (
            lambda: F.conv2d(z(8, 8), z(16, 3, 3, 3)),
            ShapeError,
            "Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of "
            "size: [8, 8].",
        ),
        (
            lambda: F.conv2d(z(1, 3, 8, 8), z(16, 3, 3)),
            ShapeError,
            "expected 4-dimensional weight, but got a 3-dimensional one.",
        ),
        (
            lambda: F.conv2d(z(1, 3, 8, 8), z(16, 3, 3, 3), z(15)),
            ShapeError,
            "Given weight of size [16, 3, 3, 3], expected bias to be 1-dimensional "
            "with 16 elements, but got bias of size [15] instead.",
        ),
        (
            lambda: F.conv2d(z(1, 3, 8, 8), z(16, 3, 3, 3), stride=0),
            ShapeError,
            "non-positive stride is not supported.",
        ),
        (
            lambda: F.conv2d(z(1, 3, 8, 8), z(16, 3, 3, 3), padding=-1),
            ShapeError,
            "negative padding is not supported.",
        ),
        (
            lambda: F.conv2d(z(1, 3, 8, 8), z(16, 3, 3, 3), dilation=0),
            ShapeError,
            "dilation should be greater than zero, but got [0, 0].",
        ),
        (
            lambda: F.conv2d(z(1, 3, 8, 8), z(16, 3, 3, 3), groups=0),
            ShapeError,
            "non-positive groups is not supported.",
        ),
        (
            lambda: F.conv2d(z(1, 4, 8, 8), z(15, 2, 3, 3), groups=2),
            ShapeError,
            "Given groups=2, expected weight to be divisible by 2 at dimension 0, but "
            "got weight of size [[15, 2, 3, 3]] instead.",
        ),
        (
            lambda: F.conv2d(z(1, 3, 8, 8), z(0, 3, 3, 3)),
            ShapeError,
            "Given groups=1, expected weight to be at least 1 at dimension 0, but got "
            "weight of size [0, 3, 3, 3] instead.",
        ),
        (
            lambda: F.conv2d(z(1, 3, 8, 8), z(16, 3, 3, 3), stride=[1, 2, 3]),
            ShapeError,
            "expected stride to be a single integer value or a list of 2 values, but "
            "got stride=[1, 2, 3].",
        ),
        (
            lambda: F.conv2d(z(1, 3, 8, 8), z(16, 3, 3, 3), padding="same", stride=2),
            ShapeError,
            "padding='same' is not supported for strided convolutions.",
        ),
        (
            lambda: F.conv2d(z(1, 3, 8, 8), z(16, 3, 3, 3), padding="foo"),
            ShapeError,
            "Invalid padding string: 'foo'.",
        ),
        (
            lambda: F.conv2d(z(1, 3, 0, 8), z(16, 3, 3, 3), padding=2),
            ShapeError,
            "Only zero batch or zero channel inputs are supported, but got input "
            "shape: [1, 3, 0, 8].",
        ),
        (
            lambda: F.conv2d(z(1, 3, 8, 8), z(16, 3, 0, 3)),
            ShapeError,
            "kernel size should be greater than zero, but got (0, 3).",
        ),
        (
            lambda: F.conv2d(z(1, 3, 8, 8), z(16, 3, 3, 3, dtype=nt.float64)),
            DTypeError,
            "expected scalar type Float but found Double. Cast one with x.to(dtype).",
        ),
        (
            lambda: F.conv2d(
                z(1, 1, 3, 3, dtype=nt.bool), z(1, 1, 2, 2, dtype=nt.bool)
            ),
            DTypeError,
            "\"conv2d\" not implemented for 'Bool'. Use x.float().",
        ),
        (
            lambda: F.conv2d(np.zeros((1, 3, 8, 8)), z(16, 3, 3, 3)),
            DTypeError,
            "Use nt.tensor(...).",
        ),
        (
            lambda: F.conv2d(z(1, 3, 8, 8), z(16, 3, 3, 3), stride=1.5),
            TypeError,
            "conv2d: got stride=1.5; expected one integer, or 2.",
        ),
        (
            lambda: F.conv_transpose2d(z(1, 1, 1, 1), z(1, 1, 2, 2), stride=2**64),
            ShapeError,
            "Overflow when unpacking long long.",
        ),
        (
            lambda: F.conv_transpose2d(z(1, 3, 8, 8), z(4, 16, 3, 3)),
            ShapeError,
            "Given transposed=1, weight of size [4, 16, 3, 3], expected input"
            "[1, 3, 8, 8] to have 4 channels, but got 3 channels instead.",
        ),
        (
            lambda: F.conv_transpose2d(z(1, 3, 8, 8), z(3, 16, 3, 3), output_padding=1),
            ShapeError,
            "output padding must be smaller than either stride or dilation.",
        ),
        (
            lambda: F.conv_transpose2d(z(1, 3, 1, 1), z(3, 16, 1, 1), padding=1),
            ShapeError,
            "Given input size per channel: (1 x 1). Calculated output size per "
            "channel: (-1 x -1). Output size is too small.",
        ),
        (
            lambda: nn.Conv2d(3, 16, 3, groups=2),
            ValueError,
            "in_channels must be divisible by groups.",
        ),
        (
            lambda: nn.Conv2d(4, 16, 3, padding_mode="foo"),
            ValueError,
            "padding_mode must be one of {'zeros', 'reflect', 'replicate', "
            "'circular'}, but got padding_mode='foo'.",
        ),
        (
            lambda: nn.ConvTranspose2d(3, 4, 3)(z(1, 3, 4, 4), output_size=(9, 9)),
            ValueError,
            "requested an output size of (9, 9), but valid sizes range from [6, 6] to "
            "[6, 6] (for an input of torch.Size([4, 4])).",
        ),
    ],
)
def test_errors(call, error, sentence):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).endswith(sentence)


def test_devices_do_not_mix(device):
    if device == "cuda":
        x = nt.zeros(1, 1, 3, 3, device="cuda")
        with pytest.raises(RuntimeError, match="Expected all tensors to be on"):
            F.conv2d(x, nt.zeros(1, 1, 2, 2))


# Modules


def test_parameters_start_as_pytorch_starts_them():
    layer = nn.Conv2d(8, 64, 5, groups=2)
    bound = 1 / np.sqrt(4 * 25)
    for p in (layer.weight, layer.bias):
        values = p.detach().numpy()
        assert np.abs(values).max() <= bound
    spread = layer.weight.detach().numpy().std()
    assert abs(spread / (bound / np.sqrt(3)) - 1) < 0.05
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert nn.ConvTranspose2d(8, 6, 3, groups=2).weight.shape == (8, 3, 3, 3)


def test_a_network_learns():
    """Edges are told from flat images by a convolution that is trained."""
    nt.manual_seed(1)
    x = nt.rand(16, 1, 6, 6)
    x[::2, :, :, 3:] += 1.0
    wanted = (nt.arange(16) % 2 == 0).float()
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten())
    last = nn.Linear(4, 1)
    parameters = [*net.parameters(), *last.parameters()]
    losses = []
    for _ in range(60):
        loss = ((last(net(x)).squeeze(1) - wanted) ** 2).mean()
        losses.append(loss.item())
        loss.backward()
        with nt.no_grad():
            for p in parameters:
                p -= 0.1 * p.grad
                p.grad = None
    assert losses[-1] < 0.2 * losses[0]
