"""Dtypes of results, against PyTorch 2.13's recorded answers.

A letter per dtype: b bool, u uint8, c int8, s int16, i int32, l int64, f float32,
d float64, - refused. A word per dtype of the first operand, a letter per dtype of the
second.
"""

from __future__ import annotations

import laws
import pytest

import numtensor as nt

ARITHMETIC = laws.PROMOTION
ARITHMETIC_0D = [
    "bucsilfd",
    "uuuuuufd",
    "ccccccfd",
    "ssssssfd",
    "iiiiiifd",
    "llllllfd",
    "ffffffff",
    "dddddddd",
]
DIVISION = [*["fffffffd"] * 7, "dddddddd"]
DIVISION_0D = [*["fffffffd"] * 6, "ffffffff", "dddddddd"]
COMPARISON = ["bbbbbbbb"] * 8
BITWISE = [
    *["bucsil--", "uussil--", "cscsil--", "ssssil--", "iiiiil--", "llllll--"],
    *["--------"] * 2,
]
BITWISE_0D = [
    *["bucsil--", "uuuuuu--", "cccccc--", "ssssss--", "iiiiii--", "llllll--"],
    *["--------"] * 2,
]
WHOLE = ["-ucsilfd", *ARITHMETIC[1:]]
WHOLE_0D = ["-ucsilfd", *ARITHMETIC_0D[1:]]

#: (tensors with dims, a second of 0 dims, numbers: a word each for True, 1 and 1.5)
TABLES = {
    "add": (ARITHMETIC, ARITHMETIC_0D, ["bucsilfd", "lucsilfd", "fffffffd"]),
    "mul": (ARITHMETIC, ARITHMETIC_0D, ["bucsilfd", "lucsilfd", "fffffffd"]),
    "maximum": (ARITHMETIC, ARITHMETIC_0D, None),
    "floor_divide": (WHOLE, WHOLE_0D, ["-ucsilfd", "lucsilfd", "fffffffd"]),
    "div": (DIVISION, DIVISION_0D, ["fffffffd"] * 3),
    "lt": (COMPARISON, COMPARISON, ["bbbbbbbb"] * 3),
    "logical_and": (COMPARISON, COMPARISON, None),
    "bitwise_and": (BITWISE, BITWISE_0D, ["bucsil--", "lucsil--", "--------"]),
}


def ones(dtype, *shape):
    return nt.ones(shape, dtype=getattr(nt, dtype))


def check(call, x, y, letter):
    if letter == "-":
        with pytest.raises(TypeError):
            call(x, y)
    else:
        assert str(call(x, y).dtype) == f"torch.{laws.CODES[letter]}", (x.dtype, y)


@pytest.mark.parametrize("name", TABLES)
def test_tensors_with_dims(name):
    for a, row in zip(laws.DTYPES, TABLES[name][0], strict=True):
        for b, letter in zip(laws.DTYPES, row, strict=True):
            check(getattr(nt, name), ones(a, 2), ones(b, 2), letter)


@pytest.mark.parametrize("name", TABLES)
def test_a_tensor_without_dims(name):
    """It raises the category, never the width, on whichever side it stands."""
    for a, row in zip(laws.DTYPES, TABLES[name][1], strict=True):
        for b, letter in zip(laws.DTYPES, row, strict=True):
            check(getattr(nt, name), ones(a, 2), ones(b), letter)
            check(getattr(nt, name), ones(b), ones(a, 2), letter)


@pytest.mark.parametrize("name", TABLES)
def test_two_tensors_without_dims(name):
    for a, row in zip(laws.DTYPES, TABLES[name][0], strict=True):
        for b, letter in zip(laws.DTYPES, row, strict=True):
            check(getattr(nt, name), ones(a), ones(b), letter)


@pytest.mark.parametrize("name", [n for n, t in TABLES.items() if t[2]])
def test_python_numbers(name):
    for number, row in zip((True, 1, 1.5), TABLES[name][2], strict=True):
        for dtype, letter in zip(laws.DTYPES, row, strict=True):
            check(getattr(nt, name), ones(dtype, 2), number, letter)
            check(getattr(nt, name), ones(dtype), number, letter)


def test_promote_types():
    for a, row in zip(laws.DTYPES, ARITHMETIC, strict=True):
        for b, letter in zip(laws.DTYPES, row, strict=True):
            found = nt.promote_types(getattr(nt, a), getattr(nt, b))
            assert str(found) == f"torch.{laws.CODES[letter]}"


def test_a_float_result_of_integers_is_the_default_dtype():
    x = ones("int64", 2)
    nt.set_default_dtype(nt.float64)
    try:
        assert nt.exp(ones("int32", 3)).dtype is nt.float64
        assert (ones("int16", 4) / 2).dtype is nt.float64
    finally:
        nt.set_default_dtype(nt.float32)
    assert nt.exp(x).dtype is nt.float32


def test_in_place_keeps_the_dtype():
    x = ones("float32", 2)
    x += ones("float64", 2)
    assert x.dtype is nt.float32
    n = ones("int32", 2)
    n += 2
    assert n.dtype is nt.int32
    with pytest.raises(RuntimeError, match="can't be cast"):
        n += 1.5
    with pytest.raises(RuntimeError, match="can't be cast"):
        n.div_(2)
    flag = ones("bool", 2)
    with pytest.raises(RuntimeError, match="can't be cast"):
        flag += 1


def test_the_default_dtype_counts_at_each_call():
    """What was worked out under one default must not serve under another."""
    whole = nt.tensor([1, 2])
    try:
        for kind in (nt.float32, nt.float64, nt.float32):
            nt.set_default_dtype(kind)
            assert (whole * 1.5).dtype is kind
            assert (whole / whole).dtype is kind
            assert whole.exp().dtype is kind
            assert (2.5 - whole).dtype is kind
    finally:
        nt.set_default_dtype(nt.float32)
