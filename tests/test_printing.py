"""A tensor's text equals PyTorch's character for character.

`TRANSCRIPT` was recorded from PyTorch 2.13: each `>>> show(...)` is followed by
what PyTorch printed. Where PyTorch is installed, the transcript is asked of it
again, and random arrays are compared too.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from numtensor import printing

TRANSCRIPT = """
>>> show(f32(1.5))
tensor(1.5000)
>>> show(f32(3.0))
tensor(3.)
>>> show(f32(-0.0))
tensor(-0.)
>>> show(f32(1e-5))
tensor(1.0000e-05)
>>> show(f32(nan), requires_grad=True)
tensor(nan, requires_grad=True)
>>> show(f16(65504.0))
tensor(65504., dtype=torch.float16)
>>> show(f64(0.1))
tensor(0.1000, dtype=torch.float64)
>>> show(i64(-7))
tensor(-7)
>>> show(u8(200))
tensor(200, dtype=torch.uint8)
>>> show(boolean(True))
tensor(True)
>>> show(c64(1 - 2j))
tensor(1.-2.j)
>>> show(f32([]))
tensor([])
>>> show(f32([]).reshape(0, 3), requires_grad=True)
tensor([], size=(0, 3), requires_grad=True)
>>> show(f64([]).reshape(2, 0, 4))
tensor([], size=(2, 0, 4), dtype=torch.float64)
>>> show(i64([]))
tensor([], dtype=torch.int64)
>>> show(boolean([]))
tensor([], dtype=torch.bool)
>>> show(f64([]), default="float64")
tensor([])
>>> show(f32([1.0, 2.0, 3.0]))
tensor([1., 2., 3.])
>>> show(f32([1.5, -2.0, 3.25]))
tensor([ 1.5000, -2.0000,  3.2500])
>>> show(f32([-0.0, 0.0]))
tensor([-0., 0.])
>>> show(f32([0.0, -0.0, 1.0]))
tensor([0., -0., 1.])
>>> show(f32([0.1, 0.0, -0.0]))
tensor([0.1000, 0.0000, -0.0000])
>>> show(f32([1.0, nan, inf, -inf]))
tensor([1., nan, inf, -inf])
>>> show(f32([0.5, nan, inf, -inf]))
tensor([0.5000,    nan,    inf,   -inf])
>>> show(f32([nan, nan]))
tensor([nan, nan])
>>> show(f32([inf, 0.0, -inf]))
tensor([inf, 0., -inf])
>>> show(f32([1e-4, 0.1]))
tensor([1.0000e-04, 1.0000e-01])
>>> show(f64([1e-4, 0.1]))
tensor([0.0001, 0.1000], dtype=torch.float64)
>>> show(f32([1e-4, 0.01]))
tensor([1.0000e-04, 1.0000e-02])
>>> show(f64([1.0, 1000.0]))
tensor([   1., 1000.], dtype=torch.float64)
>>> show(f64([1.0, 1000.5]))
tensor([1.0000e+00, 1.0005e+03], dtype=torch.float64)
>>> show(f64([1.0, 1001.0]))
tensor([1.0000e+00, 1.0010e+03], dtype=torch.float64)
>>> show(f64([1e8]))
tensor([100000000.], dtype=torch.float64)
>>> show(f64([1e8 + 1]))
tensor([1.0000e+08], dtype=torch.float64)
>>> show(f64([1e300, 1e-300, 0.0, -inf]))
tensor([1.0000e+300, 1.0000e-300,  0.0000e+00,        -inf],
       dtype=torch.float64)
>>> show(f64([5e-324]))
tensor([4.9407e-324], dtype=torch.float64)
>>> show(f32([16777216.0, 16777217.0]))
tensor([16777216., 16777216.])
>>> show(f32([0.00005, 1.0, nan]), requires_grad=True)
tensor([5.0000e-05, 1.0000e+00,        nan], requires_grad=True)
>>> show(f32([0.125, 0.375, 2.5]), options={"precision": 2})
tensor([0.12, 0.38, 2.50])
>>> show(f32([0.5, 1.5, 2.5]), options={"precision": 0})
tensor([0, 2, 2])
>>> show(f32([1.25, 1000.0]), options={"sci_mode": True, "precision": 1})
tensor([1.2e+00, 1.0e+03])
>>> show(f64([1e-9, 1e12]), options={"sci_mode": False})
tensor([            0.0000, 1000000000000.0000], dtype=torch.float64)
>>> show(f64([1.0, 2.0, -0.0]), options={"sci_mode": True})
tensor([1.0000e+00, 2.0000e+00, -0.0000e+00], dtype=torch.float64)
>>> show(f16([0.1, 2.0, 300.0]))
tensor([9.9976e-02, 2.0000e+00, 3.0000e+02], dtype=torch.float16)
>>> show(f32([0.1, 2.0]), default="float64")
tensor([0.1000, 2.0000], dtype=torch.float32)
>>> show(f64([0.1, 2.0]), default="float64", requires_grad=True)
tensor([0.1000, 2.0000], requires_grad=True)
>>> show(i64([-9223372036854775808, 9223372036854775807, 0]))
tensor([-9223372036854775808,  9223372036854775807,                    0])
>>> show(i64([[1, -20], [300, 4]]))
tensor([[  1, -20],
        [300,   4]])
>>> show(u8([0, 7, 255]))
tensor([  0,   7, 255], dtype=torch.uint8)
>>> show(np.array([-128, 127], np.int8))
tensor([-128,  127], dtype=torch.int8)
>>> show(np.array([1, 2], np.int16), requires_grad=False)
tensor([1, 2], dtype=torch.int16)
>>> show(np.array([[100000, -1]], np.int32))
tensor([[100000,     -1]], dtype=torch.int32)
>>> show(boolean([True, False]))
tensor([ True, False])
>>> show(boolean([[True, True], [False, True]]))
tensor([[ True,  True],
        [False,  True]])
>>> show(c64([1 + 2j, -0.5 - 1j, 0j, nan]))
tensor([ 1.0000+2.j, -0.5000-1.j,  0.0000+0.j,     nan+0.j])
>>> show(c64([1 + 2j, -3 - 1j]), default="float64")
tensor([ 1.+2.j, -3.-1.j], dtype=torch.complex64)
>>> show(f32([[1.5, -2.0], [3.25, 100.0]]), grad_fn="MulBackward0")
tensor([[  1.5000,  -2.0000],
        [  3.2500, 100.0000]], grad_fn=<MulBackward0>)
>>> show(grid(2, 2, 3))
tensor([[[ 0.,  1.,  2.],
         [ 3.,  4.,  5.]],

        [[ 6.,  7.,  8.],
         [ 9., 10., 11.]]])
>>> show(grid(2, 1, 2, 2))
tensor([[[[0., 1.],
          [2., 3.]]],


        [[[4., 5.],
          [6., 7.]]]])
>>> show(grid(1, 1, 1, 1, 1))
tensor([[[[[0.]]]]])
>>> show(grid(3, 4).T[::2])
tensor([[ 0.,  4.,  8.],
        [ 2.,  6., 10.]])
>>> show(grid(40) / 8)
tensor([0.0000, 0.1250, 0.2500, 0.3750, 0.5000, 0.6250, 0.7500, 0.8750, 1.0000,
        1.1250, 1.2500, 1.3750, 1.5000, 1.6250, 1.7500, 1.8750, 2.0000, 2.1250,
        2.2500, 2.3750, 2.5000, 2.6250, 2.7500, 2.8750, 3.0000, 3.1250, 3.2500,
        3.3750, 3.5000, 3.6250, 3.7500, 3.8750, 4.0000, 4.1250, 4.2500, 4.3750,
        4.5000, 4.6250, 4.7500, 4.8750])
>>> show(grid(22), options={"linewidth": 30}, requires_grad=True)
tensor([ 0.,  1.,  2.,  3.,
         4.,  5.,  6.,  7.,
         8.,  9., 10., 11.,
        12., 13., 14., 15.,
        16., 17., 18., 19.,
        20., 21.],
       requires_grad=True)
>>> show(grid(6), options={"linewidth": 1})
tensor([0.,
        1.,
        2.,
        3.,
        4.,
        5.])
>>> show(grid(2, 13), requires_grad=True)
tensor([[ 0.,  1.,  2.,  3.,  4.,  5.,  6.,  7.,  8.,  9., 10., 11., 12.],
        [13., 14., 15., 16., 17., 18., 19., 20., 21., 22., 23., 24., 25.]],
       requires_grad=True)
>>> show(f64([0.5] * 6), grad_fn="MulBackward0")
tensor([0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000], dtype=torch.float64,
       grad_fn=<MulBackward0>)
>>> show(f64([0.5] * 7), grad_fn="MulBackward0")
tensor([0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000],
       dtype=torch.float64, grad_fn=<MulBackward0>)
>>> show(i64([1] * 24), prefix="Measurement(")
Measurement([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
             1, 1])
>>> show(np.arange(1001))
tensor([   0,    1,    2,  ...,  998,  999, 1000])
>>> show(np.arange(1000.0)[:25], options={"threshold": 24})
tensor([ 0.,  1.,  2.,  ..., 22., 23., 24.], dtype=torch.float64)
>>> show(np.arange(7.0), options={"threshold": 6})
tensor([0., 1., 2.,  ..., 4., 5., 6.], dtype=torch.float64)
>>> show(np.arange(6.0), options={"threshold": 1})
tensor([0., 1., 2., 3., 4., 5.], dtype=torch.float64)
>>> show(np.arange(9), options={"threshold": 1, "edgeitems": 1})
tensor([0,  ..., 8])
>>> show(np.broadcast_to(f32(0.5), (10**6, 10**6)))
tensor([[0.5000, 0.5000, 0.5000,  ..., 0.5000, 0.5000, 0.5000],
        [0.5000, 0.5000, 0.5000,  ..., 0.5000, 0.5000, 0.5000],
        [0.5000, 0.5000, 0.5000,  ..., 0.5000, 0.5000, 0.5000],
        ...,
        [0.5000, 0.5000, 0.5000,  ..., 0.5000, 0.5000, 0.5000],
        [0.5000, 0.5000, 0.5000,  ..., 0.5000, 0.5000, 0.5000],
        [0.5000, 0.5000, 0.5000,  ..., 0.5000, 0.5000, 0.5000]])
>>> show(np.arange(10**6).reshape(1000, 1000).T)
tensor([[     0,   1000,   2000,  ..., 997000, 998000, 999000],
        [     1,   1001,   2001,  ..., 997001, 998001, 999001],
        [     2,   1002,   2002,  ..., 997002, 998002, 999002],
        ...,
        [   997,   1997,   2997,  ..., 997997, 998997, 999997],
        [   998,   1998,   2998,  ..., 997998, 998998, 999998],
        [   999,   1999,   2999,  ..., 997999, 998999, 999999]])
>>> show(np.arange(4000).reshape(2, 2000))
tensor([[   0,    1,    2,  ..., 1997, 1998, 1999],
        [2000, 2001, 2002,  ..., 3997, 3998, 3999]])
>>> show(grid(8, 2, 9), options={"threshold": 100, "edgeitems": 2})
tensor([[[  0.,   1.,  ...,   7.,   8.],
         [  9.,  10.,  ...,  16.,  17.]],

        [[ 18.,  19.,  ...,  25.,  26.],
         [ 27.,  28.,  ...,  34.,  35.]],

        ...,

        [[108., 109.,  ..., 115., 116.],
         [117., 118.,  ..., 124., 125.]],

        [[126., 127.,  ..., 133., 134.],
         [135., 136.,  ..., 142., 143.]]])
>>> show(grid(3, 5), options={"threshold": 1, "linewidth": 12, "edgeitems": 2})
tensor([[ 0.,
          1.,
          ...,
          3.,
          4.],
        [ 5.,
          6.,
          ...,
          8.,
          9.],
        [10.,
         11.,
          ...,
         13.,
         14.]])
>>> show(f32([1e6, 1.0, 1.0, 0.5]), options={"threshold": 3, "edgeitems": 1})
tensor([1.0000e+06,  ..., 5.0000e-01])
>>> show(f32([1.0, 1e6, 1e6, 0.5]), options={"threshold": 3, "edgeitems": 1})
tensor([1.0000,  ..., 0.5000])
>>> show(f32([1.0, 2.0]), options={"edgeitems": 0})
tensor([1., 2.], size=(2,))
>>> show(grid(3, 3), options={"threshold": 2, "edgeitems": 0})
tensor([...], size=(3, 3))
>>> show(grid(30) / 3, options={"profile": "short"})
tensor([0.00, 0.33, 0.67, 1.00, 1.33, 1.67, 2.00, 2.33, 2.67, 3.00, 3.33, 3.67,
        4.00, 4.33, 4.67, 5.00, 5.33, 5.67, 6.00, 6.33, 6.67, 7.00, 7.33, 7.67,
        8.00, 8.33, 8.67, 9.00, 9.33, 9.67])
>>> show(grid(1200) / 7 > 3, options={"profile": "short"})
tensor([False, False,  ...,  True,  True])
>>> show(np.arange(7), options={"threshold": 7})
tensor([0, 1, 2, 3, 4, 5, 6])
>>> show(f64([0.5]), options={"linewidth": 38})
tensor([0.5000], dtype=torch.float64)
>>> show(f64([0.5]), options={"linewidth": 37})
tensor([0.5000],
       dtype=torch.float64)
>>> show(f64([0.5]), options={"linewidth": 58}, requires_grad=True)
tensor([0.5000], dtype=torch.float64, requires_grad=True)
>>> show(f64([0.5]), options={"linewidth": 57}, requires_grad=True)
tensor([0.5000], dtype=torch.float64,
       requires_grad=True)
>>> show(f64([0.5] * 4), options={"linewidth": 46}, requires_grad=True)
tensor([0.5000, 0.5000, 0.5000, 0.5000],
       dtype=torch.float64, requires_grad=True)
>>> show(f64([0.5] * 4), options={"linewidth": 45}, requires_grad=True)
tensor([0.5000, 0.5000, 0.5000, 0.5000],
       dtype=torch.float64,
       requires_grad=True)
>>> show(c64([1 + 2j] * 7), options={"linewidth": 49})
tensor([1.+2.j, 1.+2.j, 1.+2.j, 1.+2.j, 1.+2.j, 1.+2.j,
        1.+2.j])
"""

CASES = [
    record.rstrip("\n").split("\n", 1)
    for record in TRANSCRIPT.strip("\n").removeprefix(">>> ").split("\n>>> ")
]
EVERY_CASE = pytest.mark.parametrize(
    ("expression", "text"), CASES, ids=[expression for expression, _ in CASES]
)


def of(dtype):
    return lambda values: np.array(values, dtype)


def grid(*shape):
    return np.arange(math.prod(shape), dtype=np.float32).reshape(shape)


MAKERS = {
    "boolean": of(bool),
    "c64": of(np.complex64),
    "f16": of(np.float16),
    "f32": of(np.float32),
    "f64": of(np.float64),
    "grid": grid,
    "i64": of(np.int64),
    "inf": np.inf,
    "nan": np.nan,
    "np": np,
    "u8": of(np.uint8),
}


def ours(array, *, options=None, default="float32", **words):
    with printing.printoptions(**(options or {})):
        return printing.tensor_text(
            array,
            dtype=f"torch.{array.dtype}",
            default_dtype=f"torch.{default}",
            **words,
        )


def theirs(
    array,
    *,
    options=None,
    default="float32",
    requires_grad=False,
    grad_fn=None,
    prefix="tensor(",
):
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        # PyTorch warns that a broadcast array is read-only; nothing writes here.
        warnings.simplefilter("ignore")
        tensor = torch.from_numpy(array)
    if prefix != "tensor(":
        tensor = tensor.as_subclass(type(prefix.rstrip("("), (torch.Tensor,), {}))
    if requires_grad or grad_fn:
        tensor.requires_grad_()
    if grad_fn:
        tensor = tensor * 1
        assert type(tensor.grad_fn).__name__ == grad_fn
    before = torch.get_default_dtype()
    torch.set_printoptions(**(options or {}))
    torch.set_default_dtype(getattr(torch, default))
    try:
        return str(tensor)
    finally:
        torch.set_default_dtype(before)
        torch.set_printoptions(profile="default")


@EVERY_CASE
def test_text_is_what_pytorch_printed(expression, text):
    assert eval(expression, {"show": ours, **MAKERS}) == text


@EVERY_CASE
def test_transcript_is_what_pytorch_prints(expression, text):
    assert eval(expression, {"show": theirs, **MAKERS}) == text


def random_values(rng, dtype, shape):
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    spread = rng.choice([0.1, 1.0, 20.0])
    values = rng.standard_normal(shape) * 10.0 ** (spread * rng.standard_normal(shape))
    if rng.random() < 0.4:
        values = np.floor(values)
    special = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0], shape)
    values = np.where(rng.random(shape) < rng.choice([0.0, 0.2]), special, values)
    with np.errstate(all="ignore"):
        return np.asarray(values).astype(dtype)


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int16", "int64", "float16", "float32", "float64"]
)
def test_random_arrays_print_as_in_pytorch(dtype):
    pytest.importorskip("torch")
    rng = np.random.default_rng(2026)
    for _ in range(40):
        shape = tuple(rng.integers(0, 12, rng.integers(0, 4)) // 2 * 2)
        array = np.asarray(random_values(rng, np.dtype(dtype), shape))
        options = {
            "precision": int(rng.integers(0, 8)),
            "threshold": int(rng.choice([5, 50, 1000])),
            "edgeitems": int(rng.integers(0, 4)),
            "linewidth": int(rng.choice([20, 80, 120])),
            "sci_mode": [None, None, True, False][rng.integers(4)],
        }
        context = (array, options)
        assert ours(array, options=options) == theirs(array, options=options), context


def test_device_comes_first_and_names_come_last():
    text = printing.tensor_text(
        np.zeros((1, 2), np.float16),
        dtype="torch.float16",
        device="cuda:0",
        requires_grad=True,
        names=("rows", None),
    )
    assert text == (
        "tensor([[0., 0.]], device='cuda:0', dtype=torch.float16, requires_grad=True,\n"
        "       names=('rows', None))"
    )


def test_names_that_are_all_none_are_not_shown():
    text = printing.tensor_text(
        np.zeros((1, 2), np.float32), dtype="torch.float32", names=(None, None)
    )
    assert text == "tensor([[0., 0.]])"


def test_dtype_unknown_to_numpy_is_printed_from_a_wider_array():
    text = printing.tensor_text(
        np.array([0.10009765625, 2.0], np.float32), dtype="torch.bfloat16"
    )
    assert text == "tensor([0.1001, 2.0000], dtype=torch.bfloat16)"


@pytest.mark.parametrize("shape", [(5000,), (40, 2, 30), (2, 3000), (30, 7, 0), (4, 5)])
def test_corners_fetched_elsewhere_print_like_the_whole(shape):
    whole = grid(*shape)
    shown = printing.shown_indices(shape)
    corners = whole if shown is None else whole[np.ix_(*shown)]
    text = printing.tensor_text(corners, dtype="torch.float32", shape=shape)
    assert text == printing.tensor_text(whole, dtype="torch.float32")
    assert corners.size <= 1000


def test_printing_leaves_the_array_alone():
    array = np.array([1.5, -np.inf, -0.0], np.float32)
    array.flags.writeable = False
    assert ours(array) == ours(array.copy())


def test_default_options():
    assert printing.get_printoptions() == {
        "precision": 4,
        "threshold": 1000,
        "edgeitems": 3,
        "linewidth": 80,
        "sci_mode": None,
    }


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({"profile": "short"}, {"precision": 2, "edgeitems": 2}),
        ({"profile": "full"}, {"threshold": math.inf}),
        ({"profile": "short", "precision": 6}, {"precision": 6, "edgeitems": 2}),
        ({"profile": "no such profile"}, {}),
        ({"sci_mode": True, "linewidth": 9}, {"sci_mode": True, "linewidth": 9}),
    ],
)
def test_options_given(given, changed):
    expected = {**printing.get_printoptions(), **changed}
    with printing.printoptions(**given):
        assert printing.get_printoptions() == expected


def test_setting_any_option_returns_sci_mode_to_automatic():
    with printing.printoptions(sci_mode=True):
        printing.set_printoptions(precision=5)
        assert printing.get_printoptions()["sci_mode"] is None
        assert printing.get_printoptions()["precision"] == 5


def test_options_come_back_after_an_error():
    before = printing.get_printoptions()
    with pytest.raises(ZeroDivisionError), printing.printoptions(precision=1):
        raise ZeroDivisionError
    assert printing.get_printoptions() == before


def test_unknown_option_is_refused_and_changes_nothing():
    before = printing.get_printoptions()
    with (
        pytest.raises(TypeError, match="digits"),
        printing.printoptions(precision=1, digits=3),
    ):
        raise AssertionError("the block must not run")
    assert printing.get_printoptions() == before
