"""Random shapes, layouts, dtypes and numbers thrown at every operator of the table.

The answer is NumPy's, or a Python exception; never a crash, a changed argument or a
result that shares memory with one. The whole is run once in a process of its own, so
that a crash would be a failure and not the end of the run.
"""

from __future__ import annotations

import os
import subprocess
import sys

import laws
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtensor as nt
from numtensor.errors import NumtensorError
from numtensor.ops.registry import TABLE

pytestmark = pytest.mark.usefixtures("device")

ELEMENTWISE = sorted(n for n, d in TABLE.items() if d.kind == "elementwise")
REDUCTIONS = sorted(n for n, d in TABLE.items() if d.kind == "reduction")
CLEAN = (NumtensorError, TypeError, ValueError, IndexError, RuntimeError)
#: few dtypes: each combination of them is a kernel
KINDS = ("float64", "float32", "int64", "bool")
EXAMPLES = int(os.environ.get("NUMTENSOR_FUZZ_EXAMPLES", "150"))

sizes = st.sampled_from([0, 1, 1, 2, 3, 5])
shapes = st.lists(sizes, max_size=4).map(tuple)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def views(draw, shape=None, kinds=KINDS):
    """A tensor in some layout and the array of its values."""
    shape = draw(shapes) if shape is None else shape
    dtype = draw(st.sampled_from(kinds))
    rng = np.random.default_rng(draw(seeds))
    array = laws.draw(rng, shape, dtype)
    layouts = ["contiguous", "transposed", "sliced", "shifted", "expanded"]
    if shape:
        layouts.append("row_gaps")
    layout = draw(st.sampled_from(layouts))
    if layout == "expanded":
        small = tuple(draw(st.sampled_from([1, n])) if n else n for n in shape)
        part = array[tuple(slice(0, n) for n in small)]
        return np.broadcast_to(part, shape).copy(), laws.made(part.copy()).expand(shape)
    return array, laws.LAYOUTS[layout](array)


def broadcastable(draw, shape):
    """A shape that broadcasts with `shape`, or now and then any."""
    if draw(st.integers(0, 9)) == 0:
        return draw(shapes)
    drop = draw(st.integers(0, len(shape)))
    return tuple(n if draw(st.booleans()) else 1 for n in shape[drop:])


@st.composite
def calls(draw):
    """(name, arrays, arguments) of an elementwise call."""
    name = draw(st.sampled_from(ELEMENTWISE))
    declared = TABLE[name]
    shape = draw(shapes)
    arrays, args = [], []
    kind = draw(st.sampled_from(KINDS))
    for k, role in enumerate(laws.roles_of(declared)):
        if role == "s" or (k and role == "t" and draw(st.integers(0, 5)) == 0):
            number = draw(st.sampled_from([0, 1, 2, -1, 1.5, -0.5, True]))
            arrays.append(number)
            args.append(number)
            continue
        wanted = shape if k == 0 else broadcastable(draw, shape)
        array, tensor = draw(views(wanted, ("bool",) if role == "b" else (kind,)))
        arrays.append(array)
        args.append(tensor)
    return name, arrays, args


def unchanged(arrays, args):
    for a, t in zip(arrays, args, strict=True):
        if isinstance(t, nt.Tensor):
            laws.assert_same(laws.numpy_of(t), a, "an argument was changed")


def refused_there_too(call, args):
    """What a device refuses the CPU refuses: a fault of a kernel is no refusal."""
    if laws.DEVICE != "cpu":
        with pytest.raises(CLEAN):
            call([a.cpu() if isinstance(a, nt.Tensor) else a for a in args])


def elementwise(call):
    name, arrays, args = call
    declared = TABLE[name]
    try:
        found = laws.invoke(declared, args)
    except CLEAN:
        unchanged(arrays, args)
        refused_there_too(lambda these: laws.invoke(declared, these), args)
        return
    unchanged(arrays, args)
    laws.apart(found, args, name)
    compute = str(found.dtype).removeprefix("torch.")
    if compute == "bool":
        compute = next(str(a.dtype) for a in arrays[::-1] if isinstance(a, np.ndarray))
        numbers = [a for a in arrays if not isinstance(a, np.ndarray)]
        if any(type(n) is float for n in numbers) and compute not in laws.FLOATS:
            compute = "float32"
        elif compute == "bool" and any(type(n) is int for n in numbers):
            compute = "int64"
    plain = [
        np.asarray(a) if role == "t" else a
        for a, role in zip(arrays, laws.roles_of(declared), strict=True)
    ]
    expected = laws.expected_of(declared, plain, compute)
    assert tuple(found.shape) == expected.shape, name
    if found.is_floating_point():
        with np.errstate(over="ignore"):
            tolerance = max(laws.tolerance_of(declared, compute), 1e-11)
            laws.assert_close(laws.numpy_of(found), expected, tolerance, name)
    else:
        result = laws.numpy_of(found)
        laws.assert_same(result, expected.astype(result.dtype), name)


def reduction(name, view, dim, keepdim):
    array, tensor = view
    declared = TABLE[name]
    try:
        found = declared.call(tensor, dim, keepdim=keepdim)
    except CLEAN:
        unchanged([array], [tensor])
        refused_there_too(
            lambda these: declared.call(*these, dim, keepdim=keepdim), [tensor]
        )
        return
    unchanged([array], [tensor])
    if array.ndim == 0:
        dim = None
    wide = array.astype(np.float64) if array.dtype.kind == "f" else array
    with np.errstate(all="ignore"):
        expected = np.asarray(declared.reference(wide, dim, keepdim))
    dtype = str(found.dtype).removeprefix("torch.")
    tolerance = laws.TOLERANCE.get(dtype, 0.0)
    laws.assert_close(laws.numpy_of(found), expected, tolerance, name)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's
@settings(max_examples=EXAMPLES)
@given(calls())
def test_elementwise(call):
    elementwise(call)


dims = st.one_of(
    st.none(), st.integers(-5, 5), st.lists(st.integers(-3, 3), max_size=3).map(tuple)
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's
@settings(max_examples=EXAMPLES)
@given(st.sampled_from(REDUCTIONS), views(), dims, st.booleans())
def test_reduction(name, view, dim, keepdim):
    if dim == ():
        dim = None
    reduction(name, view, dim, keepdim)


@settings(max_examples=EXAMPLES)
@given(views(kinds=("float64",)), st.data())
def test_gradients_of_views_land_where_they_came_from(view, data):
    """sum(x * w) has gradient w, whatever the layouts of x and w."""
    array, tensor = view
    weights, w = data.draw(views(array.shape, ("float64",)))
    leaf = tensor.detach().requires_grad_(True)
    (leaf * w).sum().backward()
    laws.assert_same(laws.numpy_of(leaf.grad), weights)


@settings(max_examples=EXAMPLES)
@given(views(kinds=("float64", "int64")), st.data())
def test_in_place_on_views(view, data):
    """`x.mul_(y)` stores the product, or is refused and stores nothing."""
    array, x = view
    other, y = data.draw(views(broadcastable(data.draw, array.shape), ("int64",)))
    try:
        x.mul_(y)
    except CLEAN:
        unchanged([array, other], [x, y])
        return
    laws.assert_same(laws.numpy_of(x), array * other)
    unchanged([other], [y])


def test_no_crash_in_a_process_of_its_own(device):
    """The same examples under faulthandler; the exit status tells of a signal."""
    if os.environ.get("NUMTENSOR_FUZZ_CHILD") or device == "cuda":
        pytest.skip("this is that process, which tests all devices")
    found = subprocess.run(
        [
            sys.executable, "-X", "faulthandler", "-m", "pytest", "-q", "-x",
            "-p", "no:cacheprovider", "-p", "no:xdist", __file__,
        ],
        env=os.environ | {"NUMTENSOR_FUZZ_CHILD": "1", "NUMTENSOR_FUZZ_EXAMPLES": "40"},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert found.returncode >= 0, found.stderr[-3000:]
    assert found.returncode == 0, found.stdout[-3000:]
