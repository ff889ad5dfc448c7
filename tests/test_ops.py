"""Every declared elementwise operator through the same laws.

An operator is here by being declared; what only it does (ties, zeros, rounding modes)
is in `test_corners.py`.
"""

from __future__ import annotations

import operator
from dataclasses import replace

import laws
import numpy as np
import pytest

import numtensor as nt
from numtensor.ops.registry import TABLE


def _truncated(x, y):
    if x.dtype.kind == "f":
        return np.trunc(x / y)
    return np.sign(x) * np.sign(y) * (np.abs(x) // np.abs(y))


def _variant(name, of, call, reference, **fields):
    return replace(TABLE[of], name=name, call=call, reference=reference, **fields)


#: public functions that choose between operators by an argument
VARIANTS = [
    _variant(
        "add(alpha)", "add", lambda x, y: nt.add(x, y, alpha=3),
        lambda x, y: x + 3 * y, dtypes="number",
    ),
    _variant(
        "div(floor)", "floor_divide",
        lambda x, y: nt.div(x, y, rounding_mode="floor"), np.floor_divide,
    ),
    _variant(
        "div(trunc)", "floor_divide",
        lambda x, y: nt.div(x, y, rounding_mode="trunc"), _truncated,
    ),
]  # fmt: skip

pytestmark = pytest.mark.usefixtures("device")

OPERATORS = [d for d in TABLE.values() if d.kind == "elementwise"] + VARIANTS
DIFFERENTIABLE = [d for d in OPERATORS if d.differentiable and d not in VARIANTS]
IN_PLACE = [
    d
    for d in OPERATORS
    if d.in_place and d not in VARIANTS and hasattr(nt.Tensor, f"{d.name}_")
]
SYMBOLS = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "floor_divide": operator.floordiv,
    "remainder": operator.mod,
    "pow": operator.pow,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
    "bitwise_and": operator.and_,
    "bitwise_or": operator.or_,
    "bitwise_xor": operator.xor,
    "bitwise_left_shift": operator.lshift,
    "bitwise_right_shift": operator.rshift,
}


def each(operators):
    return pytest.mark.parametrize("op", operators, ids=lambda d: d.name)


def floats_of(op):
    kinds = [k for k in laws.FLOATS if k in laws.dtypes_of(op)]
    return kinds or ["int64"]


@each(OPERATORS)
def test_every_dtype(op, rng):
    for dtype in laws.dtypes_of(op):
        arrays, args = laws.placed(op, rng, "contiguous", dtype)
        found = laws.forward(op, arrays, args, f"{op.name}, {dtype}")
        laws.apart(found, args, op.name)


@each(OPERATORS)
def test_every_layout(op, rng):
    for dtype in floats_of(op):
        for place in laws.places_of(op):
            arrays, args = laws.placed(op, rng, place, dtype)
            laws.forward(op, arrays, args, f"{op.name}, {dtype}, {place}")


@each(OPERATORS)
def test_sizes_around_vectors_and_threads(op, rng):
    for dtype in floats_of(op):
        large = 67 if laws.simulated() else 100_003
        for n in (1, 2, 3, 7, 8, 15, 16, 17, 31, 33, large):
            shapes = [(n,)] * len(laws.roles_of(op))
            arrays = laws.operands(op, rng, shapes, dtype)
            where = f"{op.name}, {dtype}, {n} elements"
            laws.forward(op, arrays, laws.tensors(arrays), where)


@each([d for d in OPERATORS if "float64" in laws.dtypes_of(d)])
def test_large_strided(op, rng):
    size = (9, 11) if laws.simulated() else (331, 302)
    shapes = [size] * len(laws.roles_of(op))
    arrays = laws.operands(op, rng, shapes, "float64")
    args = [laws.transposed(a) if hasattr(a, "shape") else a for a in arrays]
    laws.forward(op, arrays, args, f"{op.name}, transposed, threads")


SPECIAL = (
    np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, 3.0, -3.0,
    7.0, 1e-3,
)  # fmt: skip
#: where NumPy and PyTorch differ in the sign of a zero; PyTorch's is in test_corners.py
ZERO_SIGN_FREE = {
    "remainder": "NumPy copies the divisor's sign, PyTorch leaves the dividend's",
    "fmod": "NumPy's float64 fmod of the platform",
    "maximum": "which of two equal zeros wins is not defined",
    "minimum": "which of two equal zeros wins is not defined",
    "fmax": "which of two equal zeros wins is not defined",
    "fmin": "which of two equal zeros wins is not defined",
    "clamp": "which of two equal zeros wins is not defined",
    "clamp_min": "which of two equal zeros wins is not defined",
    "clamp_max": "which of two equal zeros wins is not defined",
}


def special_values(dtype):
    info = np.finfo(dtype)
    ends = [info.max, -info.max, info.tiny, info.smallest_subnormal * 3]
    return np.array([*SPECIAL, *ends], dtype)


def special_operands(op, dtype):
    """Return all pairs of special values, more arguments repeating the first two."""
    values = special_values(dtype)
    roles = laws.roles_of(op)
    if len(roles) > 2:
        values = values[
            : len(SPECIAL)
        ]  # the order of operations decides what overflows
    tensor_roles = [r for r in roles if r != "s"]
    if len(tensor_roles) == 1:
        grids = [values]
    else:
        grids = [g.ravel().copy() for g in np.meshgrid(values, values)]
    found = []
    for k, role in enumerate(roles):
        grid = grids[k % len(grids)]
        found.append(1.5 if role == "s" else np.isfinite(grid) if role == "b" else grid)
    return found


@each([d for d in OPERATORS if "float64" in laws.dtypes_of(d) and d not in VARIANTS])
@pytest.mark.parametrize("dtype", laws.FLOATS)
def test_special_values(op, dtype):
    arrays = special_operands(op, dtype)
    found = laws.numpy_of(laws.invoke(op, laws.tensors(arrays)))
    with np.errstate(all="ignore"):
        expected = laws.expected_of(op, arrays, dtype).astype(found.dtype)
    for k in np.ndindex(*found.shape):
        a, b = found[k], expected[k]
        where = f"{op.name}{[x[k] if hasattr(x, 'shape') else x for x in arrays]}"
        if not np.isfinite(b) or b == 0 or found.dtype == bool:
            assert a == b or (np.isnan(a) and np.isnan(b)), f"{where}: {a}, not {b}"
            if b == 0 and op.name not in ZERO_SIGN_FREE and found.dtype != bool:
                assert np.signbit(a) == np.signbit(b), f"{where}: {a}, not {b}"
        else:
            tiny = np.finfo(dtype).smallest_subnormal
            close = (
                abs(a - b) <= 1e-5 * abs(b) + tiny
                if dtype == "float32"
                else (abs(a - b) <= 1e-12 * abs(b) + tiny)
            )
            assert close, f"{where}: {a}, not {b}"


@each([d for d in OPERATORS if d.operator.roles == "tt" and d not in VARIANTS])
def test_python_numbers_on_either_side(op, rng):
    symbol = SYMBOLS.get(op.name)
    numbers = {"float32": 2.0, "float64": 2, "int64": 2, "uint8": 3}
    for dtype, number in numbers.items():
        if dtype not in laws.dtypes_of(op):
            continue
        x, _ = laws.operands(op, rng, [(2, 3)] * 2, dtype)
        other = np.full((), number, x.dtype)
        where = f"{op.name}, {dtype}"
        compute, result = laws.typed(op, [dtype])
        tolerance = laws.tolerance_of(op, compute)
        right = laws.expected_of(op, [x, other], compute).astype(result)
        left = laws.expected_of(op, [other, np.abs(x) + 1], compute).astype(result)
        pairs = [(op.call(laws.made(x), number), right)]
        if symbol is not None:
            pairs.append((symbol(laws.made(x), number), right))
            pairs.append((symbol(number, laws.made(np.abs(x) + x.dtype.type(1))), left))
        for found, expected in pairs:
            assert str(found.dtype) == f"torch.{result}", where
            laws.assert_close(laws.numpy_of(found), expected, tolerance, where)


@each(IN_PLACE)
def test_in_place(op, rng):
    for place in ("contiguous", "sliced", "row"):
        if place not in laws.places_of(op):
            continue
        for dtype in floats_of(op)[-1:]:
            arrays, args = laws.placed(op, rng, place, dtype)
            for name in (op.name, *op.aliases):
                laws.in_place(op, arrays, args, name, f"{op.name}_, {place}")
                arrays, args = laws.placed(op, rng, place, dtype)


@each([d for d in OPERATORS if d not in VARIANTS])
def test_out(op, rng):
    for place in ("contiguous", "transposed"):
        _, args = laws.placed(op, rng, place, floats_of(op)[-1])
        laws.out(op, args, f"{op.name}, out=, {place}")


@each([d for d in OPERATORS if d not in VARIANTS])
def test_one_function_under_every_name(op):
    for name in (op.name, *op.aliases):
        assert getattr(nt, name) is op.call
        assert op.call.__doc__


@each(DIFFERENTIABLE)
def test_gradient(op, rng):
    for place in laws.places_of(op, gradient=True):
        laws.gradient(op, rng, place)


@each([d for d in DIFFERENTIABLE if len(laws.differentiable_arguments(d)) > 1])
def test_gradient_of_one_argument(op, rng):
    laws.gradient_of_one(op, rng, "mixed")
    laws.gradient_of_one(op, rng, "both")


@each(DIFFERENTIABLE)
def test_second_order(op, rng):
    laws.second_order(op, rng, "contiguous" if op.operator.arity == 1 else "both")


@each(DIFFERENTIABLE)
def test_gradient_in_float32(op, rng):
    laws.narrow_gradient(op, rng, "contiguous")


@each([d for d in OPERATORS if not d.differentiable and d not in VARIANTS])
def test_no_gradient_says_why(op, rng):
    assert op.why
    arrays, args = laws.placed(op, rng, "contiguous", floats_of(op)[-1])
    if args[0].is_floating_point():
        args[0].requires_grad_(True)
        assert not laws.invoke(op, args).requires_grad


@each([d for d in OPERATORS if d.dtypes != "all" and d not in VARIANTS])
def test_other_dtypes_are_refused(op, rng):
    """A dtype left out of the declaration raises, or the declaration is too narrow."""
    if op.dtypes == "float":
        pytest.skip("'float' says where the reference holds, not what is accepted")
    for dtype in laws.DTYPES:
        if dtype in laws.dtypes_of(op) or (op.dtypes, dtype) == (
            "integer_number",
            "bool",
        ):
            continue
        args = [laws.made(np.ones(2, dtype)) for _ in laws.roles_of(op)]
        with pytest.raises(TypeError):
            laws.invoke(op, args)


def test_in_place_forms_take_the_keywords_of_their_function(device):
    x = laws.made(np.array([1.0, 2.0, 5.0]))
    y = laws.made(np.array([1.0, 1.0, 2.0]))
    assert x.add_(y, alpha=2) is x
    np.testing.assert_array_equal(laws.numpy_of(x), [3.0, 4.0, 9.0])
    x.sub_(y, alpha=0.5).div_(2, rounding_mode="floor")
    np.testing.assert_array_equal(laws.numpy_of(x), [1.0, 1.0, 4.0])
    with pytest.raises(RuntimeError, match="can't be cast"):
        x.to(nt.int64).add_(x.to(nt.int64), alpha=1.5)
    with pytest.raises(TypeError, match="alpha"):
        x.mul_(2, alpha=3)
