"""Pooling, windows as columns and other sizes, against loops in NumPy.

Cases that PyTorch gave expected values for are in `nn_cases/conv.py`.
"""

from __future__ import annotations

import itertools

import laws
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtensor as nt
from numtensor import nn
from numtensor.errors import DTypeError, ShapeError
from numtensor.nn import functional as F

MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVG = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
ADAPTIVE_AVG = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d}
ADAPTIVE_MAX = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d}


# The oracle


def windows(size, kernel, stride, padding, dilation, out):
    """Yield (place of the result, places in the image) of every window."""
    for at in itertools.product(*(range(n) for n in out)):
        axes = [
            [t for t in range(a * s - p, a * s - p + d * (k - 1) + 1, d) if 0 <= t < n]
            for a, n, k, s, p, d in zip(
                at, size, kernel, stride, padding, dilation, strict=True
            )
        ]
        yield at, list(itertools.product(*axes))


def adaptive_windows(size, out):
    for at in itertools.product(*(range(n) for n in out)):
        axes = [
            range(a * n // o, -(-(a + 1) * n // o))
            for a, n, o in zip(at, size, out, strict=True)
        ]
        yield at, list(itertools.product(*axes))


def reference_max(x, found, out):
    """Return the largest of each window, its place, and the sum of g's places."""
    y = np.zeros((*x.shape[:2], *out))
    where = np.zeros(y.shape, np.int64)
    for at, inside in found:
        for n, c in np.ndindex(*x.shape[:2]):
            values = [x[(n, c, *t)] for t in inside]
            if not values:
                y[(n, c, *at)], where[(n, c, *at)] = -np.inf, -1
                continue
            k = int(np.argmax(values))
            y[(n, c, *at)] = values[k]
            where[(n, c, *at)] = np.ravel_multi_index(inside[k], x.shape[2:])
    return y, where


def sent_back(shape, where, g):
    gx = np.zeros((*shape[:2], int(np.prod(shape[2:]))))
    for n, c in np.ndindex(*shape[:2]):
        there = where[n, c] >= 0
        np.add.at(gx[n, c], where[n, c][there], g[n, c][there])
    return gx.reshape(shape)


def distinct(rng, shape):
    return rng.permutation(int(np.prod(shape))).reshape(shape) * 0.5


@st.composite
def problems(draw):
    nd = draw(st.integers(1, 2))
    many = lambda low, high: tuple(  # noqa: E731
        draw(st.lists(st.integers(low, high), min_size=nd, max_size=nd))
    )
    kernel, stride, dilation = many(1, 3), many(1, 3), many(1, 2)
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    least = [
        max(1, d * (k - 1) + 1 - 2 * p)
        for k, d, p in zip(kernel, dilation, padding, strict=True)
    ]
    size = tuple(n + e for n, e in zip(least, many(0, 4), strict=True))
    return nd, size, kernel, stride, padding, dilation, draw(st.booleans())


def sizes(size, kernel, stride, padding, dilation, ceil_mode):
    found = []
    for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
        room = n + 2 * p - d * (k - 1) - 1
        last = room // s
        if ceil_mode and room % s and (last + 1) * s < n + p:
            last += 1
        found.append(last + 1)
    return tuple(found)


@settings(max_examples=40)
@given(problems(), st.integers(0, 99))
def test_max_of_any_windows(problem, seed):
    nd, size, kernel, stride, padding, dilation, ceil_mode = problem
    rng = np.random.default_rng(seed)
    x = distinct(rng, (2, 2, *size))
    out = sizes(size, kernel, stride, padding, dilation, ceil_mode)
    found = windows(size, kernel, stride, padding, dilation, out)
    expected, where = reference_max(x, found, out)
    leaf = nt.tensor(x, requires_grad=True)
    rules = (kernel, stride, padding, dilation, ceil_mode)
    y, places = MAX[nd](leaf, *rules, return_indices=True)
    laws.assert_same(y.detach().numpy(), expected, "values")
    laws.assert_same(places.numpy(), where, "places")
    g = rng.normal(size=expected.shape)
    y.backward(nt.tensor(g))
    laws.assert_close(leaf.grad.numpy(), sent_back(x.shape, where, g), 1e-12, "back")
    laws.assert_same(MAX[nd](nt.tensor(x), *rules).numpy(), expected, "alone")


@settings(max_examples=40)
@given(problems(), st.booleans(), st.integers(0, 99))
def test_mean_of_any_windows(problem, count_include_pad, seed):
    nd, size, kernel, stride, padding, _, ceil_mode = problem
    ones = (1,) * nd
    if any(n + 2 * p < k for n, p, k in zip(size, padding, kernel, strict=True)):
        return
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 2, *size))
    out = sizes(size, kernel, stride, padding, ones, ceil_mode)
    g = rng.normal(size=(2, 2, *out))
    expected, gx = np.zeros(g.shape), np.zeros(x.shape)
    for at, inside in windows(size, kernel, stride, padding, ones, out):
        parts = len(inside)
        if count_include_pad:
            parts = 1
            for a, n, k, s, p in zip(at, size, kernel, stride, padding, strict=True):
                parts *= min(a * s - p + k, n + p) - (a * s - p)
        for t in inside:
            expected[(..., *at)] += x[(..., *t)] / parts
            gx[(..., *t)] += g[(..., *at)] / parts
    leaf = nt.tensor(x, requires_grad=True)
    y = AVG[nd](leaf, kernel, stride, padding, ceil_mode, count_include_pad)
    y.backward(nt.tensor(g))
    laws.assert_close(y.detach().numpy(), expected, 1e-12, "values")
    laws.assert_close(leaf.grad.numpy(), gx, 1e-12, "back")


@settings(max_examples=20)
@given(st.data())
def test_adaptive_windows(data):
    nd = data.draw(st.integers(1, 2))
    many = st.lists(st.integers(1, 6), min_size=nd, max_size=nd)
    size, out = tuple(data.draw(many)), tuple(data.draw(many))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = distinct(rng, (1, 2, *size))
    g = rng.normal(size=(1, 2, *out))
    largest, where = reference_max(x, adaptive_windows(size, out), out)
    mean, gx = np.zeros(g.shape), np.zeros(x.shape)
    for at, inside in adaptive_windows(size, out):
        for t in inside:
            mean[(..., *at)] += x[(..., *t)] / len(inside)
            gx[(..., *t)] += g[(..., *at)] / len(inside)
    leaf = nt.tensor(x, requires_grad=True)
    y, places = ADAPTIVE_MAX[nd](leaf, out, return_indices=True)
    y.backward(nt.tensor(g))
    laws.assert_same(y.detach().numpy(), largest, "largest")
    laws.assert_same(places.numpy(), where, "places")
    laws.assert_close(leaf.grad.numpy(), sent_back(x.shape, where, g), 1e-12, "back")
    leaf.grad = None
    y = ADAPTIVE_AVG[nd](leaf, out)
    y.backward(nt.tensor(g))
    laws.assert_close(y.detach().numpy(), mean, 1e-12, "mean")
    laws.assert_close(leaf.grad.numpy(), gx, 1e-12, "back")


# Both devices, layouts, dtypes, special values


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
        lambda x: F.max_pool2d(x, 2, 1, 0, (2, 1)),
        lambda x: F.avg_pool2d(x, 2, 1),
        lambda x: F.avg_pool2d(x, 3, 2, 1, True, False),
        lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=2),
        lambda x: F.adaptive_avg_pool2d(x, (3, 2)),
        lambda x: F.adaptive_max_pool2d(x, (2, 3)),
    ],
)
def test_devices_agree_twice_differentiated(call, device):
    values = distinct(np.random.default_rng(1), (1, 2, 4, 3))

    def twice(where):
        x = nt.tensor(values, device=where, requires_grad=True)
        y = call(x)
        (g,) = nt.autograd.grad((y * y).sum(), [x], create_graph=True)
        (h,) = nt.autograd.grad((g * g).sum(), [x])
        return [t.detach().cpu().numpy() for t in (y, g, h)]

    for a, b in zip(twice(device), twice("cpu"), strict=True):
        laws.assert_close(a, b, 1e-12, "")


def test_second_derivatives():
    x = nt.tensor(distinct(np.random.default_rng(1), (1, 2, 4, 4)), requires_grad=True)
    for call in (
        lambda t: F.max_pool2d(t, 2) ** 2,
        lambda t: F.avg_pool2d(t, 3, 2, 1) ** 2,
        lambda t: F.adaptive_max_pool2d(t, 3) ** 2,
        lambda t: F.interpolate(t, (3, 5), mode="bilinear") ** 2,
        lambda t: F.unfold(t, 2, stride=2) ** 2,
    ):
        assert nt.autograd.gradgradcheck(call, (x,), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("device")
def test_tensors_of_any_layout():
    values = distinct(np.random.default_rng(2), (2, 4, 6, 3))
    turned = laws.made(values.transpose(3, 0, 2, 1).copy()).permute(1, 3, 2, 0)
    plain = laws.made(values)
    for call in (
        lambda t: F.max_pool2d(t, 2, 1),
        lambda t: F.avg_pool2d(t, (3, 2)),
        lambda t: F.unfold(t, 2, stride=2),
        lambda t: F.interpolate(t, 2),
    ):
        a, b = call(turned), call(plain)
        laws.assert_same(laws.numpy_of(a), laws.numpy_of(b), "turned")
    leaf = plain.detach().requires_grad_()
    F.avg_pool2d(leaf, 2).sum().backward()  # its cotangent is one number, expanded
    expected = np.full(values.shape, 0.25)
    expected[..., 2:] = 0
    laws.assert_close(laws.numpy_of(leaf.grad), expected, 1e-12, "expanded")


@pytest.mark.usefixtures("device")
def test_nan_is_larger_than_any_number():
    x = np.zeros((1, 1, 2, 6))
    x[0, 0, 0, 1] = np.nan
    x[0, 0, :, 2:4] = -np.inf
    x[0, 0, 1, 5] = np.inf
    for call in (lambda t, **k: F.max_pool2d(t, 2, **k),
                 lambda t, **k: F.max_pool2d(t, 2, (1, 2), dilation=1, **k),
                 lambda t, **k: F.adaptive_max_pool2d(t, (1, 3), **k)):  # fmt: skip
        y, where = call(laws.made(x), return_indices=True)
        laws.assert_same(laws.numpy_of(y)[0, 0, 0], np.array([np.nan, -np.inf, np.inf]))
        laws.assert_same(laws.numpy_of(where)[0, 0, 0], np.array([1, 2, 11]))
        laws.assert_same(laws.numpy_of(call(laws.made(x))), laws.numpy_of(y))


def test_of_equal_elements_the_first_gets_all():
    x = nt.zeros(1, 4, requires_grad=True)
    F.max_pool1d(x, 3, 1).sum().backward()
    assert x.grad.tolist() == [[1.0, 1.0, 0.0, 0.0]]


@pytest.mark.usefixtures("device")
def test_a_window_around_an_image_holds_nothing():
    for dtype, lowest in ((nt.float64, -np.inf), (nt.int8, -128), (nt.uint8, 0)):
        x = nt.ones(1, 1, dtype=dtype, device=laws.DEVICE)
        if dtype is nt.float64:
            x.requires_grad_()
        y, where = F.max_pool1d(x, 2, 1, 1, 2, return_indices=True)
        assert (y.tolist(), where.tolist()) == ([[lowest]], [[-1]])
        if dtype is nt.float64:
            (g,) = nt.autograd.grad(y.sum(), [x], create_graph=True)
            assert g.tolist() == [[0.0]]


def test_integers():
    x = nt.arange(16).reshape(1, 4, 4)
    y, where = F.max_pool2d(x, 2, return_indices=True)
    assert y.tolist() == where.tolist() == [[[5, 7], [13, 15]]]
    assert F.avg_pool2d(x, 2).tolist() == [[[2, 4], [10, 12]]]
    assert (y.dtype, where.dtype) == (nt.int64, nt.int64)


def test_nothing_in_and_nothing_out():
    assert F.max_pool2d(nt.zeros(0, 3, 4, 4), 2).shape == (0, 3, 2, 2)
    assert F.avg_pool2d(nt.zeros(0, 3, 4, 4), 2).shape == (0, 3, 2, 2)
    x = nt.ones(1, 2, 3, 3, requires_grad=True)
    y = F.adaptive_avg_pool2d(x, (0, 2))
    assert y.shape == (1, 2, 0, 2)
    y.sum().backward()
    assert x.grad.tolist() == nt.zeros(1, 2, 3, 3).tolist()
    assert F.unfold(nt.zeros(0, 2, 3, 3), 2).shape == (0, 8, 4)
    assert F.interpolate(nt.zeros(0, 2, 3), 5).shape == (0, 2, 5)


# Columns


def test_columns_are_the_windows():
    x = np.random.default_rng(1).normal(size=(2, 3, 5, 6))
    y = F.unfold(nt.tensor(x), (2, 3), (2, 1), (1, 2), (2, 3)).numpy()
    wide = np.pad(x, ((0, 0), (0, 0), (1, 1), (2, 2)))
    column = 0
    for p in range(0, wide.shape[2] - 2, 2):
        for q in range(0, wide.shape[3] - 2, 3):
            window = wide[:, :, p : p + 3 : 2, q : q + 3]
            laws.assert_same(y[:, :, column], window.reshape(2, -1))
            column += 1
    assert column == y.shape[2]


def test_fold_turns_unfold_round():
    """<unfold(x), c> = <x, fold(c)> for all x and c."""
    rng = np.random.default_rng(1)
    x = nt.tensor(rng.normal(size=(2, 3, 5, 6)))
    rules = {"dilation": (2, 1), "padding": (1, 2), "stride": (1, 3)}
    columns = F.unfold(x, (2, 3), **rules)
    c = nt.tensor(rng.normal(size=tuple(columns.shape)))
    back = F.fold(c, (5, 6), (2, 3), **rules)
    assert back.shape == x.shape
    assert np.isclose((columns * c).sum().item(), (x * back).sum().item(), rtol=1e-12)


def test_convolution_by_columns():
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(2, 3, 5, 6)), rng.normal(size=(4, 3, 2, 3))
    columns = F.unfold(nt.tensor(x), (2, 3), padding=1)
    product = nt.tensor(w.reshape(4, -1)) @ columns
    direct = F.conv2d(nt.tensor(x), nt.tensor(w), padding=1)
    laws.assert_close(product.reshape(direct.shape).numpy(), direct.numpy(), 1e-12, "")


# Sizes


def test_linear_interpolation_is_numpys():
    x = np.random.default_rng(1).normal(size=7)
    line = nt.tensor(x).reshape(1, 1, 7)
    y = F.interpolate(line, 12, mode="linear", align_corners=True)
    expected = np.interp(np.linspace(0, 6, 12), np.arange(7), x)
    laws.assert_close(y.numpy()[0, 0], expected, 1e-12, "aligned")
    y = F.interpolate(line, 12, mode="linear")
    places = np.clip((np.arange(12) + 0.5) * 7 / 12 - 0.5, 0, 6)
    expected = np.interp(places, np.arange(7), x)
    laws.assert_close(y.numpy()[0, 0], expected, 1e-12, "half pixels")


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_nearest_repeats(dtype):
    x = np.arange(12).reshape(1, 1, 3, 4).astype(dtype)
    y = F.interpolate(nt.tensor(x), scale_factor=(2, 3))
    laws.assert_same(y.numpy(), x.repeat(2, 2).repeat(3, 3))
    assert F.upsample_nearest(nt.tensor(x), scale_factor=2).shape == (1, 1, 6, 8)


def test_a_size_that_stays_gives_another_tensor():
    x = nt.ones(1, 1, 3)
    y = F.interpolate(x, 3)
    assert y.data_ptr() != x.data_ptr()


def test_pixels_and_channels():
    x = np.random.default_rng(1).normal(size=(2, 8, 3, 4))
    y = F.pixel_shuffle(nt.tensor(x), 2)
    expected = x.reshape(2, 2, 2, 2, 3, 4).transpose(0, 1, 4, 2, 5, 3)
    laws.assert_same(y.numpy(), expected.reshape(2, 2, 6, 8))
    laws.assert_same(F.pixel_unshuffle(y, 2).numpy(), x)


# Errors


def z(*shape, dtype=nt.float32):
    return nt.zeros(*shape, dtype=dtype)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (
            lambda: F.max_pool2d(z(1, 1, 4, 4), 5),
            ShapeError,
            "Given input size: (1x4x4). Calculated output size: (1x0x0). Output size "
            "is too small.",
        ),
        (
            lambda: F.max_pool2d(z(1, 1, 4, 4), 3, padding=2),
            ShapeError,
            "pad should be at most half of effective kernel size, but got pad=2, "
            "kernel_size=3 and dilation=1.",
        ),
        (
            lambda: F.max_pool2d(z(4, 4), 2),
            ShapeError,
            "Expected 3D or 4D (batch mode) tensor with optional 0 dim batch size for "
            "input, but got: [4, 4].",
        ),
        (
            lambda: F.max_pool2d(z(1, 0, 4, 4), 2),
            ShapeError,
            "Expected 3D or 4D (batch mode) tensor with optional 0 dim batch size for "
            "input, but got: [1, 0, 4, 4].",
        ),
        (
            lambda: F.max_pool2d(z(1, 1, 4, 4), 2, padding=-1),
            ShapeError,
            "pad must be non-negative, but got pad: -1.",
        ),
        (
            lambda: F.max_pool2d(z(1, 1, 4, 4), 2, dilation=0),
            ShapeError,
            "dilation should be greater than zero, but got (0, 0).",
        ),
        (
            lambda: F.avg_pool2d(z(1, 1, 4, 4), 2, stride=0),
            ShapeError,
            "stride should not be zero, and not negative, but got (0, 0).",
        ),
        (
            lambda: F.avg_pool2d(z(1, 1, 4, 4), 0),
            ShapeError,
            "kernel size should be greater than zero, but got (0, 0).",
        ),
        (
            lambda: F.max_pool2d(z(1, 1, 4, 4), (2, 2, 2)),
            ShapeError,
            "expected kernel_size to be a single integer value or a list of 2 values, "
            "but got kernel_size=[2, 2, 2].",
        ),
        (
            lambda: F.avg_pool2d(z(1, 1, 4, 4), 2, divisor_override=0),
            ShapeError,
            "divisor must be not zero.",
        ),
        (
            lambda: F.max_pool2d(z(1, 1, 4, 4, dtype=nt.bool), 2),
            DTypeError,
            "\"max_pool2d\" not implemented for 'Bool'. Use x.float().",
        ),
        (
            lambda: F.adaptive_avg_pool2d(z(1, 1, 4, 4), -1),
            ShapeError,
            "adaptive_avg_pool2d: elements of output_size must be greater than or "
            "equal to 0 but received [-1, -1].",
        ),
        (
            lambda: F.adaptive_avg_pool2d(z(1, 1, 0, 4), 2),
            ShapeError,
            "non-zero size for non-batch dimensions, but input has sizes [1, 1, 0, 4] "
            "with dimension 2 being empty.",
        ),
        (
            lambda: F.adaptive_max_pool2d(z(1, 1, 4, 4, dtype=nt.int64), 2),
            DTypeError,
            "\"adaptive_max_pool2d\" not implemented for 'Long'. Use x.float().",
        ),
        (
            lambda: F.unfold(z(1, 1, 4, 4), 5),
            ShapeError,
            "Given input with spatial size (4, 4), kernel_size=(5, 5), "
            "dilation=(1, 1), padding=(0, 0), calculated shape of the array of sliding "
            "blocks as (0, 0), but its components must be at least one.",
        ),
        (
            lambda: F.fold(z(1, 4, 5), (3, 3), 2),
            ShapeError,
            "Given output_size=(3, 3), kernel_size=(2, 2), dilation=(1, 1), "
            "padding=(0, 0), stride=(1, 1), expected size of input's dimension 2 to "
            "match the calculated number of sliding blocks 2 * 2 = 4, but got "
            "input.size(2)=5.",
        ),
        (
            lambda: F.fold(z(1, 5, 4), (3, 3), 2),
            ShapeError,
            "Expected size of input's dimension 1 to be divisible by the product of "
            "kernel_size, but got input.size(1)=5 and kernel_size=(2, 2).",
        ),
        (
            lambda: F.interpolate(z(1, 1, 4, 4)),
            ValueError,
            "either size or scale_factor should be defined.",
        ),
        (
            lambda: F.interpolate(z(1, 1, 4, 4), 2, 2),
            ValueError,
            "only one of size or scale_factor should be defined.",
        ),
        (
            lambda: F.interpolate(z(1, 1, 4), 2, mode="bilinear"),
            NotImplementedError,
            "Got 3D input, but bilinear mode needs 4D input.",
        ),
        (
            lambda: F.interpolate(z(1, 1, 4, 4), 2, align_corners=True),
            ValueError,
            "align_corners option can only be set with the interpolating modes: linear "
            "| bilinear | bicubic | trilinear.",
        ),
        (
            lambda: F.interpolate(z(1, 1, 4, 4), scale_factor=0.1),
            ShapeError,
            "Input and output sizes should be greater than 0, but got input (4, 4) "
            "output (0, 0).",
        ),
        (
            lambda: F.interpolate(z(1, 1, 4, 4), 8, mode="bilinear", antialias=True),
            NotImplementedError,
            "Antialiasing is not there; average with avg_pool2d before.",
        ),
        (
            lambda: F.avg_pool2d(z(1, 1, 4, 4), 2**40, padding=2**39),
            ShapeError,
            "value cannot be converted to type int without overflow.",
        ),
        (
            lambda: F.avg_pool2d(z(1, 1, 4, 4), 2, divisor_override=2**64),
            ShapeError,
            "Overflow when unpacking long long.",
        ),
        (
            lambda: F.interpolate(z(1, 1, 4, 4), 2.5),
            TypeError,
            "got size=(2.5, 2.5); expected one integer, or 2.",
        ),
        (
            lambda: F.pixel_shuffle(z(1, 4, 4, 4), 2.0),
            TypeError,
            "got upscale_factor=2.0; expected one integer, or 1.",
        ),
        (
            lambda: F.pixel_shuffle(z(1, 3, 4, 4), 2),
            ShapeError,
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by "
            "the square of upscale_factor, but input.size(-3)=3 is not divisible by 4.",
        ),
        (
            lambda: F.pixel_unshuffle(z(1, 1, 3, 4), 2),
            ShapeError,
            "pixel_unshuffle expects height to be divisible by downscale_factor, but "
            "input.size(-2)=3 is not divisible by 2.",
        ),
    ],
)
def test_errors(call, error, sentence):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).endswith(sentence)


@pytest.mark.parametrize("stride", [(), [], None, 2, np.int64(2)])
def test_a_stride_of_nothing_is_the_kernel(stride):
    assert F.max_pool2d(z(1, 1, 4, 4), 2, stride).shape == (1, 1, 2, 2)


def test_modules_keep_their_arguments():
    pool = nn.MaxPool2d(3, padding=1)
    assert (pool.kernel_size, pool.stride, pool.padding) == (3, 3, 1)
    assert repr(nn.AvgPool1d(2)) == (
        "AvgPool1d(kernel_size=(2,), stride=(2,), padding=(0,))"
    )
    assert repr(nn.Upsample(scale_factor=2)) == (
        "Upsample(scale_factor=2.0, mode='nearest')"
    )
