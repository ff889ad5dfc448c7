"""The laws that every operator obeys, written once, and what they are measured with.

Each law is a function that raises AssertionError. They take a `Declared`, so that
`test_oracles.py` can hand in a broken one and see them fail. NumPy in float64 is the
oracle of values, central differences of it that of gradients, literal tables from
PyTorch that of dtypes. No operator is named here.
"""

from __future__ import annotations

import contextlib
import itertools
from functools import reduce

import numpy as np

import numtensor as nt

#: relative to values of about 1
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
GRADIENT_TOLERANCE = 1e-6  # in float64

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")
FLOATS = ("float32", "float64")
CODES = dict(zip("bucsilfd", DTYPES, strict=True))

#: PyTorch's result of adding tensors with dims: row and column in the order of DTYPES
PROMOTION = [
    "bucsilfd",
    "uussilfd",
    "cscsilfd",
    "ssssilfd",
    "iiiiilfd",
    "llllllfd",
    "fffffffd",
    "dddddddd",
]


def promoted(a, b):
    """Return the dtype in which two tensors with dims meet, by the literal table."""
    return CODES[PROMOTION[DTYPES.index(a)][DTYPES.index(b)]]


def dtypes_of(declared):
    """Return the dtypes that an operator accepts."""
    return {
        "all": DTYPES,
        "number": DTYPES[1:],
        "float": FLOATS,
        "integer": DTYPES[:6],
        "integer_number": DTYPES[1:6],
    }[declared.dtypes]


def roles_of(declared):
    return declared.operator.roles


def typed(declared, kinds):
    """Return (dtype computed in, dtype of the result) for dtypes of tensor operands."""
    common = reduce(promoted, kinds)
    rule = declared.operator.rule
    if rule == "float" and common not in FLOATS:
        common = "float32"
    return common, "bool" if rule in ("compare", "logical") else common


#: where tensors are made: the fixture `device` sets it
DEVICE = "cpu"


def simulated():
    """Whether kernels run in Numba's simulator: a thousand elements take seconds."""
    from numtensor.kernels.cuda import driver

    return DEVICE != "cpu" and driver.current().simulated


@contextlib.contextmanager
def on_cpu():
    """Make tensors on the CPU for a while: the oracle of simulated devices.

    Finite differences take hundreds of evaluations, which the simulator cannot afford;
    what the CPU computes is checked by them.
    """
    global DEVICE
    before, DEVICE = DEVICE, "cpu"
    try:
        yield
    finally:
        DEVICE = before


def made(array):
    """Return a tensor of these values on the device under test."""
    return nt.tensor(array, device=DEVICE)


# Operands


def draw(rng, shape, dtype, interval=(-3.0, 3.0), kinks=()):
    """Draw an array from an interval, away from kinks."""
    low, high = interval
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype not in FLOATS:
        low, high = int(np.ceil(low)), int(np.floor(high))
        if dtype == "uint8":
            low, high = max(low, 0), max(high, 0)
        return rng.integers(low, max(low, high) + 1, shape).astype(dtype)
    values = rng.uniform(low, high, shape)
    for kink in kinks:
        near = np.abs(values - kink) < 0.02
        values = np.where(near, kink + 0.04 * np.where(values < kink, -1, 1), values)
    return values.astype(dtype)


#: powers of integers need exponents that are not negative
INTEGER_DOMAIN = {"pow": ((-4.0, 4.0), (0.0, 5.0))}


def operands(declared, rng, shapes, dtype):
    """Draw the arguments of an operator; a role of b gets bool, of s a number."""
    domain = declared.domain
    if dtype not in FLOATS:
        domain = INTEGER_DOMAIN.get(declared.name, domain)
    found = []
    for role, shape, interval in zip(roles_of(declared), shapes, domain, strict=True):
        if role == "s":
            found.append(
                1.5 if dtype in FLOATS or declared.operator.rule == "float" else 2
            )
        else:
            kind = "bool" if role == "b" else dtype
            found.append(draw(rng, shape, kind, interval, declared.kinks))
    return found


def tensors(arrays):
    return [made(a) if isinstance(a, np.ndarray) else a for a in arrays]


def invoke(declared, args, **keywords):
    """Call the public function; a trailing number is the keyword `value`."""
    if roles_of(declared).endswith("s"):
        return declared.call(*args[:-1], value=args[-1], **keywords)
    return declared.call(*args, **keywords)


def numpy_of(tensor):
    return tensor.detach().cpu().numpy()


# Layouts: the same values, stored in different ways


def contiguous(array):
    return made(array)


def transposed(array):
    dims = tuple(range(array.ndim - 1, -1, -1))
    return made(array.transpose(dims).copy()).permute(dims)


def sliced(array):
    """Every second element along each dim, one element into the storage."""
    grown = tuple(2 * n + 1 for n in array.shape)
    every = (slice(1, None, 2),) * array.ndim
    base = np.full(grown, 77).astype(array.dtype)
    base[every] = array
    return made(base)[every]


def shifted(array):
    """Contiguous, but not from the start of the storage."""
    base = np.concatenate([np.zeros(3, array.dtype), array.ravel()])
    return made(base)[3:].view(array.shape)


def row_gaps(array):
    """Unit steps inside rows, a gap after each."""
    base = np.full((*array.shape[:-1], array.shape[-1] + 2), 77).astype(array.dtype)
    base[..., : array.shape[-1]] = array
    return made(base)[..., : array.shape[-1]]


LAYOUTS = {
    "contiguous": contiguous,
    "transposed": transposed,
    "sliced": sliced,
    "shifted": shifted,
    "row_gaps": row_gaps,
}

#: layouts of neighbouring operands, the shape of the first, of the second, ...
PLACES = {
    "contiguous": (("contiguous",), ((2, 3, 4),)),
    "transposed": (("transposed",), ((2, 3, 4),)),
    "sliced": (("sliced",), ((2, 3, 4),)),
    "shifted": (("shifted",), ((5, 4),)),
    "row_gaps": (("row_gaps",), ((3, 5),)),
    "mixed": (("contiguous", "transposed", "sliced"), ((3, 4),)),
    "row": (("contiguous",), ((3, 4), (4,), (1, 4))),
    "column": (("contiguous",), ((3, 1), (3, 4), (3, 1))),
    "both": (("contiguous", "sliced"), ((3, 1), (1, 4), (4,))),
    "outer dim": (("transposed",), ((2, 3, 4), (3, 4), (2, 1, 1))),
    "zero-dim second": (("contiguous",), ((3, 4), (), (3, 4))),
    "zero-dim first": (("contiguous",), ((), (3, 4), ())),
    "zero-dim": (("contiguous",), ((),)),
    "one element": (("sliced",), ((1, 1),)),
    "empty": (("contiguous",), ((0, 3),)),
    "empty broadcast": (("contiguous",), ((1, 3), (0, 1), (3,))),
}
UNARY_PLACES = (
    "contiguous", "transposed", "sliced", "shifted", "row_gaps", "zero-dim",
    "one element", "empty",
)  # fmt: skip
GRADIENT_PLACES = (
    "contiguous", "mixed", "row", "both", "outer dim", "zero-dim second",
    "zero-dim first", "zero-dim", "empty broadcast",
)  # fmt: skip
UNARY_GRADIENT_PLACES = ("contiguous", "transposed", "sliced", "zero-dim", "empty")


def places_of(declared, gradient=False):
    if roles_of(declared).count("t") + roles_of(declared).count("b") == 1:
        return UNARY_GRADIENT_PLACES if gradient else UNARY_PLACES
    return GRADIENT_PLACES if gradient else tuple(PLACES)


def placed(declared, rng, place, dtype):
    """Return (arrays, tensors) of an operator's arguments in a place."""
    layouts, shapes = PLACES[place]
    arity = len(roles_of(declared))
    arrays = operands(
        declared, rng, list(itertools.islice(itertools.cycle(shapes), arity)), dtype
    )
    made = [
        LAYOUTS[how](a) if isinstance(a, np.ndarray) else a
        for a, how in zip(arrays, itertools.cycle(layouts), strict=False)
    ]
    return arrays, made


# Comparison


def assert_close(got, expected, tolerance, where=""):
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, (
        f"{where}: shape {got.shape}, not {expected.shape}"
    )
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(
            got.astype(np.float64), expected.astype(np.float64), rtol=tolerance,
            atol=tolerance, equal_nan=True, err_msg=str(where),
        )  # fmt: skip


def assert_same(got, expected, where=""):
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, (
        f"{where}: shape {got.shape}, not {expected.shape}"
    )
    np.testing.assert_array_equal(got, expected, err_msg=str(where))


def expected_of(declared, arrays, compute):
    """Evaluate the reference in float64, or in the integers computed in."""
    cast = []
    for a, role in zip(arrays, roles_of(declared), strict=True):
        if role == "b" or not isinstance(a, np.ndarray):
            cast.append(a)
        elif compute in FLOATS:
            # through the dtype computed in, where wide integers lose digits
            cast.append(a.astype(compute).astype(np.float64))
        elif compute == "bool" and declared.operator.rule != "bitwise":
            cast.append(a.astype(np.uint8))
        else:
            cast.append(a.astype(compute))
    with np.errstate(all="ignore"):
        return np.asarray(declared.reference(*cast))


def tolerance_of(declared, dtype):
    return declared.tolerance or TOLERANCE.get(dtype, 0.0)


# Laws of elementwise operators


def forward(declared, arrays, args, where=""):
    """The result is the reference's, of the table's dtype, and arguments stay."""
    kinds = [
        str(a.dtype)
        for a, role in zip(arrays, roles_of(declared), strict=True)
        if role == "t"
    ]
    dims = [
        k for k, a in zip(kinds, arrays, strict=False) if a.ndim
    ] or kinds  # one dtype throughout, where 0-d takes part
    compute, result = typed(declared, dims)
    found = invoke(declared, args)
    assert str(found.dtype) == f"torch.{result}", f"{where}: dtype {found.dtype}"
    expected = expected_of(declared, arrays, compute)
    if result in FLOATS:
        assert_close(numpy_of(found), expected, tolerance_of(declared, compute), where)
    else:
        with np.errstate(all="ignore"):
            assert_same(numpy_of(found), expected.astype(result), where)
    for a, t in zip(arrays, args, strict=True):
        if isinstance(t, nt.Tensor):
            assert_same(numpy_of(t), a, f"{where}: an argument was changed")
            assert t.numel() == 0 or t.data_ptr() != found.data_ptr(), where
    return found


def apart(result, args, where=""):
    """The result shares no memory with an argument."""
    for t in args:
        if isinstance(t, nt.Tensor):
            assert not shares_memory(result, t), where


def in_place(declared, arrays, args, name, where=""):
    """`x.op_(...)` stores what `op(x, ...)` returns, in x, and returns x."""
    expected = numpy_of(invoke(declared, args)).copy()
    target = args[0]
    pointer, version = target.data_ptr(), target._version
    found = getattr(target, f"{name}_")(*args[1:])
    assert found is target, where
    assert target.data_ptr() == pointer, where
    assert target._version > version, f"{where}: the version did not change"
    assert_same(numpy_of(target), expected, where)
    for a, t in list(zip(arrays, args, strict=True))[1:]:
        if isinstance(t, nt.Tensor):
            assert_same(numpy_of(t), a, f"{where}: an argument was changed")


def out(declared, args, where=""):
    """`out=` receives the result, and is returned."""
    expected = invoke(declared, args)
    into = nt.empty_like(expected)
    assert invoke(declared, args, out=into) is into, where
    assert_same(numpy_of(into), numpy_of(expected), where)


# Gradients


def central(f, arrays, k, cotangent, step=1e-5):
    """Return the central differences of sum(f * cotangent) in argument k."""
    x = arrays[k]
    found = np.zeros(x.shape)
    for place in np.ndindex(*x.shape):
        values = []
        for sign in (1, -1):
            moved = x.copy()
            moved[place] += sign * step
            changed = list(arrays)
            changed[k] = moved
            values.append(np.sum(np.asarray(f(*changed), np.float64) * cotangent))
        found[place] = (values[0] - values[1]) / (2 * step)
    return found


def smooth(f, arrays, which, cotangent):
    """Whether the slope is the same a little to both sides: no kink is near."""
    for k in which:
        here = central(f, arrays, k, cotangent)
        for shift in (-3e-4, 3e-4):
            moved = list(arrays)
            moved[k] = np.asarray(arrays[k] + shift)
            beside = central(f, moved, k, cotangent)
            if not np.allclose(here, beside, rtol=2e-2, atol=2e-2):
                return False
    return True


def differentiable_arguments(declared):
    """Return the arguments that have a rule."""
    vjps = declared.operator.vjps
    return [k for k, rule in enumerate(vjps) if rule is not None]


def backward(call, args, which, cotangent, create_graph=False):
    """Return the gradients of some arguments, which become leaves."""
    leaves = list(args)
    for k in which:
        leaves[k] = leaves[k].detach().requires_grad_(True)
    result = call(*leaves)
    result.backward(cotangent, create_graph=create_graph)
    return result, leaves, [leaves[k].grad for k in which]


def smooth_case(declared, rng, place):
    """Draw float64 arguments and a cotangent where no kink is near."""
    which = differentiable_arguments(declared)
    for _ in range(30):
        arrays, args = placed(declared, rng, place, "float64")
        shape = np.broadcast_shapes(*[a.shape for a in arrays if hasattr(a, "shape")])
        cotangent = rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape)
        if smooth(declared.reference, arrays, which, cotangent):
            return arrays, args, cotangent
    raise AssertionError(f"{declared.name}: no draw without a kink")


def gradient(declared, rng, place):
    """The way back agrees with central differences of the reference."""
    arrays, args, cotangent = smooth_case(declared, rng, place)
    which = differentiable_arguments(declared)
    _, leaves, grads = backward(
        lambda *a: invoke(declared, a), args, which, made(cotangent)
    )
    for k, got in zip(which, grads, strict=True):
        where = f"{declared.name}, {place}, argument {k}"
        assert got is not None, f"{where}: no gradient"
        assert got.dtype is leaves[k].dtype, where
        expected = central(declared.reference, arrays, k, cotangent)
        assert_close(numpy_of(got), expected, GRADIENT_TOLERANCE, where)
    for a, t in zip(arrays, leaves, strict=True):
        if isinstance(t, nt.Tensor):
            assert_same(numpy_of(t), a, f"{declared.name}: an argument was changed")


def gradient_of_one(declared, rng, place):
    """The gradient of each argument alone is that of all together."""
    _, args, cotangent = smooth_case(declared, rng, place)
    which = differentiable_arguments(declared)
    call = lambda *a: invoke(declared, a)  # noqa: E731
    _, _, together = backward(call, args, which, made(cotangent))
    for k, both in zip(which, together, strict=True):
        _, _, (alone,) = backward(call, args, [k], made(cotangent))
        assert_close(numpy_of(alone), numpy_of(both), 1e-12, f"argument {k}")


def second_order(declared, rng, place):
    """The gradient of the gradient agrees with differences of the gradient."""
    arrays, args, cotangent = smooth_case(declared, rng, place)
    which = differentiable_arguments(declared)
    call = lambda *a: invoke(declared, a)  # noqa: E731
    second_order_of(call, arrays, args, which, cotangent, rng, declared.name)


def second_order_of(call, arrays, args, which, cotangent, rng, where):
    weights = [rng.uniform(0.5, 1.5, arrays[k].shape) for k in which]

    def first(*values):
        _, _, grads = backward(call, tensors(values), which, made(cotangent))
        return sum(np.sum(numpy_of(g) * w) for g, w in zip(grads, weights, strict=True))

    g = made(cotangent).requires_grad_(True)
    _, leaves, grads = backward(call, args, which, g, create_graph=True)
    total = None
    for grad, w in zip(grads, weights, strict=True):
        if not grad.requires_grad:
            continue
        part = (grad * made(w)).sum()
        total = part if total is None else total + part
    for k in which:
        leaves[k].grad = None
    g.grad = None
    if total is not None:
        total.backward()
    for k in which:
        got = leaves[k].grad
        expected = central(first, arrays, k, 1.0)
        got = np.zeros(expected.shape) if got is None else numpy_of(got)
        name = f"{where}: second order, argument {k}"
        assert_close(got, expected, GRADIENT_TOLERANCE, name)


def narrow_gradient(declared, rng, place):
    """Gradients in float32 are those in float64, within float32."""
    arrays, _, cotangent = smooth_case(declared, rng, place)
    which = differentiable_arguments(declared)
    call = lambda *a: invoke(declared, a)  # noqa: E731
    narrow = [a.astype(np.float32) if _is_float(a) else a for a in arrays]
    wide = [a.astype(np.float64) if _is_float(a) else a for a in narrow]
    g = cotangent.astype(np.float32)
    _, _, got = backward(call, tensors(narrow), which, made(g))
    _, _, expected = backward(call, tensors(wide), which, made(g.astype(np.float64)))
    for a, b in zip(got, expected, strict=True):
        assert str(a.dtype) == "torch.float32"
        assert_close(numpy_of(a), numpy_of(b), 3 * TOLERANCE["float32"], declared.name)


def _is_float(a):
    return isinstance(a, np.ndarray) and a.dtype.kind == "f"


# Reductions


def reduced_dtype(declared, dtype):
    """Return the dtype of a reduction of `dtype`, as PyTorch has it."""
    rule = getattr(declared.operator, "rule", "same")
    if rule == "sum" and dtype not in FLOATS:
        return "int64"
    if rule == "bool":
        return "uint8" if dtype == "uint8" else "bool"
    return dtype


def reduction(declared, array, tensor, dim, keepdim, where=""):
    """A reduction over `dim` is the reference's, of its dtype; the argument stays."""
    before = array.copy()
    found = declared.call(tensor, dim, keepdim=keepdim)
    dtype = reduced_dtype(declared, str(array.dtype))
    assert str(found.dtype) == f"torch.{dtype}", f"{where}: dtype {found.dtype}"
    wide = array.astype(np.float64) if array.dtype.kind == "f" else array
    axis = tuple(dim) if isinstance(dim, (list, tuple)) else dim
    with np.errstate(all="ignore"):
        expected = np.asarray(declared.reference(wide, axis, keepdim))
    if dtype in FLOATS:
        assert_close(numpy_of(found), expected, TOLERANCE[dtype], where)
    else:
        assert_same(numpy_of(found), expected.astype(dtype), where)
    assert_same(numpy_of(tensor), before, f"{where}: the argument was changed")


def reduction_gradient(declared, array, tensor, dim, keepdim, rng, where=""):
    """Its way back, and the way back of that, agree with central differences."""

    def reference(x):
        return declared.reference(x, dim, keepdim)

    def call(x):
        return declared.call(x, dim, keepdim=keepdim)

    shape = np.asarray(reference(array)).shape
    cotangent = rng.uniform(0.5, 1.5, shape)
    if simulated():
        weight = rng.uniform(0.5, 1.5, array.shape)
        got = _twice(call, tensor, cotangent, weight)
        with on_cpu():
            expected = _twice(call, made(array), cotangent, weight)
        for a, b in zip(got, expected, strict=True):
            assert_close(a, b, TOLERANCE["float64"], where)
        return
    _, _, (got,) = backward(call, [tensor], [0], made(cotangent))
    expected = central(reference, [array], 0, cotangent)
    assert_close(numpy_of(got), expected, GRADIENT_TOLERANCE, where)
    second_order_of(call, [array], [tensor], [0], cotangent, rng, where)


def _twice(call, x, cotangent, weight):
    """Return the gradient, and the gradient of its weighted sum."""
    leaf = x.detach().requires_grad_(True)
    g = made(cotangent).requires_grad_(True)
    call(leaf).backward(g, create_graph=True)
    first = leaf.grad
    found = [numpy_of(first)]
    leaf.grad = g.grad = None
    if first.requires_grad:
        (first * made(weight)).sum().backward()
        found += [numpy_of(t.grad) for t in (leaf, g) if t.grad is not None]
    return found


def shares_memory(a, b):
    """Whether two tensors have memory in common."""
    if a.is_cuda or b.is_cuda:
        return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()
    return np.shares_memory(numpy_of(a), numpy_of(b))
