"""Layouts against PyTorch's recorded answers and against enumerated addresses.

NumPy's views of an array of addresses are the oracle: whatever a layout function
returns must name the same addresses, in the same order, as NumPy's own view.
"""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numtensor import layout
from numtensor.errors import DimError, NumtensorError, ShapeError


def addresses(shape, strides, offset=0):
    """Return the place of every element, as an array of that shape."""
    grid = np.full(shape, offset, dtype=np.int64)
    for dim, step in enumerate(strides):
        ramp = np.arange(shape[dim]) * step
        grid = grid + ramp.reshape([-1] + [1] * (len(shape) - dim - 1))
    return grid


def same(view, expected):
    got = addresses(*view)
    return got.shape == expected.shape and bool((got == expected).all())


sizes = st.integers(0, 4)
shapes = st.lists(sizes, max_size=4).map(tuple)


@st.composite
def layouts(draw, min_dims=0, low=0):
    """Draw a layout as views make them: permuted, sliced, expanded, or arbitrary."""
    shape = tuple(draw(st.lists(st.integers(low, 4), min_size=min_dims, max_size=4)))
    ndim = len(shape)
    if draw(st.booleans()):
        order = draw(st.permutations(range(ndim)))
        strides, step = [0] * ndim, 1
        for dim in order:
            strides[dim] = step * draw(st.sampled_from((1, 1, 1, 2)))
            step = strides[dim] * max(shape[dim], 1)
            if draw(st.integers(0, 9)) == 0:
                strides[dim] = 0
    else:
        strides = draw(st.lists(st.integers(0, 9), min_size=ndim, max_size=ndim))
    return shape, tuple(strides), draw(st.integers(0, 5))


# Size


def test_size_prints_and_keeps_its_type():
    size = layout.Size([3, 2])
    assert repr(size) == str(size) == "torch.Size([3, 2])"
    assert size == (3, 2) and hash(size) == hash((3, 2)) and size.numel() == 6
    kept = [size[1:], size + (1,), (1,) + size, size + size, size * 2, 2 * size]
    assert [repr(one) for one in kept] == [
        "torch.Size([2])",
        "torch.Size([3, 2, 1])",
        "torch.Size([1, 3, 2])",
        "torch.Size([3, 2, 3, 2])",
        "torch.Size([3, 2, 3, 2])",
        "torch.Size([3, 2, 3, 2])",
    ]
    assert size[0] == 3 and type(size[0]) is int
    assert type(pickle.loads(pickle.dumps(size))) is layout.Size
    assert type(layout.Size([np.int64(4)])[0]) is int


def test_size_refuses_what_is_no_integer():
    with pytest.raises(TypeError, match="got 1.5 of type float"):
        layout.Size([1.5])
    with pytest.raises(TypeError):
        layout.Size([1]) + [2]
    with pytest.raises(TypeError):
        [2] + layout.Size([1])


# Facts about a layout


@given(layouts())
def test_dense_and_extent_follow_from_the_addresses(view):
    shape, strides, _ = view
    places = addresses(shape, strides).ravel()
    block = places.size == 0 or sorted(places) == list(range(places.size))
    assert layout.is_dense(shape, strides) == block
    in_order = bool((places == np.arange(places.size)).all())
    assert layout.is_contiguous(shape, strides) == in_order
    expected = int(places.max()) + 1 if places.size else 0
    assert layout.extent(shape, strides) == expected
    assert layout.numel(shape) == places.size


@given(shapes)
def test_contiguous_strides_are_numpys(shape):
    strides = layout.contiguous_strides(shape)
    assert layout.is_contiguous(shape, strides)
    if 0 not in shape:
        counted = np.arange(layout.numel(shape)).reshape(shape)
        assert same((shape, strides, 0), counted)


def test_strides_of_empty_shapes_are_pytorchs():
    assert layout.contiguous_strides((2, 0, 4)) == (4, 4, 1)
    assert layout.contiguous_strides((0, 0)) == (1, 1)
    assert layout.contiguous_strides(()) == ()


def test_internal_overlap_is_what_pytorch_refuses():
    assert layout.has_internal_overlap((2, 3), (0, 1))
    assert not layout.has_internal_overlap((1, 3), (0, 1))
    assert not layout.has_internal_overlap((0, 3), (0, 1))
    assert not layout.has_internal_overlap((3, 3), (1, 1))


# Dimensions and sizes


def test_dims_count_from_either_end():
    assert [layout.normalize_dim("sum", d, 3) for d in (0, 2, -1, -3)] == [0, 2, 2, 0]
    assert [layout.normalize_dim("sum", d, 0) for d in (0, -1)] == [0, 0]
    assert layout.normalize_dims("sum", None, 2) == (0, 1)
    assert layout.normalize_dims("sum", -1, 2) == (1,)
    assert layout.normalize_dims("sum", [1, -2], 2) == (1, 0)
    assert layout.normalize_dims("sum", np.int64(1), 2) == (1,)


def test_a_dim_out_of_range_is_refused_in_full():
    with pytest.raises(DimError) as caught:
        layout.normalize_dim("sum", 2, 2)
    assert str(caught.value) == (
        "sum: got dim 2 for a tensor with 2 dimensions; expected a dim from -2 to 1. "
        "Dimension out of range (expected to be in range of [-2, 1], but got 2)"
    )


OFF = (2, 3, 4), (12, 4, 1), 0
SCALAR = (), (), 0
# Each phrase is PyTorch 2.13's own, and each class the builtin that it raises.
REFUSALS = [
    (IndexError, "range of [-1, 0], but got 1)",
     lambda: layout.transpose(*SCALAR, 0, 1)),
    (RuntimeError, "dim 0 appears multiple times in the list of dims",
     lambda: layout.normalize_dims("sum", (0, -3), 3)),
    (TypeError, "got 1.5 of type float", lambda: layout.normalize_dim("sum", 1.5, 3)),
    (RuntimeError, "input.dim() = 3 is not equal to len(dims) = 2",
     lambda: layout.permute(*OFF, (0, 1))),
    (RuntimeError, "permute(): duplicate dims are not allowed.",
     lambda: layout.permute(*OFF, (0, 0, 1))),
    (RuntimeError, "movedim: repeated dim in `source` ([0, 0])",
     lambda: layout.movedim(*OFF, (0, 0), (1, 2))),
    (RuntimeError, "movedim: repeated dim in `destination` ([2, 2])",
     lambda: layout.movedim(*OFF, (0, 1), (2, 2))),
    (RuntimeError, "source ([0, 1] dims) should contain the same number of dims",
     lambda: layout.movedim(*OFF, (0, 1), (2,))),
    (IndexError, "select(): index 2 out of range for tensor of size [2, 3, 4] at "
     "dimension 0", lambda: layout.select(*OFF, 0, 2)),
    (IndexError, "select() cannot be applied to a 0-dim tensor.",
     lambda: layout.select(*SCALAR, 0, 0)),
    (RuntimeError, "narrow() cannot be applied to a 0-dim tensor.",
     lambda: layout.narrow(*SCALAR, 0, 0, 1)),
    (RuntimeError, "start (0) + length (3) exceeds dimension size (2).",
     lambda: layout.narrow(*OFF, 0, 0, 3)),
    (IndexError, "start out of range (expected to be in range of [-2, 2], but got 3)",
     lambda: layout.narrow(*OFF, 0, 3, 0)),
    (RuntimeError, "narrow(): length must be non-negative.",
     lambda: layout.narrow(*OFF, 0, 0, -1)),
    (RuntimeError, "The expanded size of the tensor (5) must match the existing size "
     "(4) at non-singleton dimension 2.  Target sizes: [2, 3, 5].  Tensor sizes: "
     "[2, 3, 4]", lambda: layout.expand(*OFF, (2, 3, 5))),
    (RuntimeError, "The expanded size of the tensor (-1) isn't allowed in a leading, "
     "non-existing dimension 0", lambda: layout.expand(*OFF, (-1, 2, 3, 4))),
    (RuntimeError, "the number of sizes provided (2) must be greater or equal to the "
     "number of dimensions in the tensor (3)", lambda: layout.expand(*OFF, (3, 4))),
    (RuntimeError, "diagonal dimensions cannot be identical 1, -2",
     lambda: layout.diagonal(*OFF, 0, 1, -2)),
    (RuntimeError, "maximum size for tensor at dimension 2 is 4 but size is 5",
     lambda: layout.unfold(*OFF, 2, 5, 1)),
    (RuntimeError, "step is 0 but must be > 0", lambda: layout.unfold(*OFF, 2, 2, 0)),
    (RuntimeError, "size is -1 but must be >= 0",
     lambda: layout.unfold(*OFF, 2, -1, 1)),
    (RuntimeError, "start_dim cannot come after end_dim",
     lambda: layout.flatten_shape((2, 3), 1, 0)),
    (RuntimeError, "unflatten: Provided sizes [3, -1] don't multiply up to the size of "
     "dim 2 (4) in the input tensor",
     lambda: layout.unflatten_shape((2, 3, 4), 2, (3, -1))),
    (RuntimeError, "unflatten: sizes must be non-empty",
     lambda: layout.unflatten_shape((2, 3, 4), 2, ())),
    (RuntimeError, "shape '[2, 4]' is invalid for input of size 6",
     lambda: layout.infer_shape("view", (2, 4), 6)),
    (RuntimeError, "shape '[0, -1]' is invalid for input of size 6",
     lambda: layout.infer_shape("view", (0, -1), 6)),
    (RuntimeError, "only one dimension can be inferred",
     lambda: layout.infer_shape("view", (-1, -1), 6)),
    (RuntimeError, "invalid shape dimension -2 at index 0 of shape [-2, 3]",
     lambda: layout.infer_shape("view", (-2, 3), 6)),
    (RuntimeError, "cannot reshape tensor of 0 elements into shape [0, -1] because the "
     "unspecified dimension size -1 can be any value and is ambiguous",
     lambda: layout.infer_shape("view", (0, -1), 0)),
    (RuntimeError, "The size of tensor a (3) must match the size of tensor b (4) at "
     "non-singleton dimension 1",
     lambda: layout.broadcast_shapes("add", (2, 3), (2, 4))),
    (RuntimeError, "tensor a (4) must match the size of tensor b (3) at non-singleton "
     "dimension 2", lambda: layout.broadcast_shapes("add", (2, 1, 4), (3, 3))),
    (RuntimeError, "Trying to create tensor with negative dimension -1: [2, -1]",
     lambda: layout.check_size("empty", (2, -1), 4)),
    (RuntimeError, "Storage size calculation overflowed with sizes="
     "[2305843009213693952]", lambda: layout.check_size("empty", (2**61,), 4)),
    (RuntimeError, "Storage size calculation overflowed with sizes="
     "[1099511627776, 1099511627776, 0]",
     lambda: layout.check_size("empty", (2**40, 2**40, 0), 4)),
    (RuntimeError, "setStorage: sizes [5, 5], strides [5, 1], storage offset 1, and "
     "itemsize 4 requiring a storage size of 104 are out of bounds for storage of size "
     "96", lambda: layout.check_as_strided("as_strided", (5, 5), (5, 1), 1, 24, 4)),
    (RuntimeError, "as_strided: Negative strides are not supported at the moment, got "
     "strides: [5, -1]",
     lambda: layout.check_as_strided("as_strided", (5, 5), (5, -1), 0, 24)),
    (RuntimeError, "mismatch in length of strides and shape",
     lambda: layout.check_as_strided("as_strided", (5, 5), (5,), 0, 24)),
    (RuntimeError, "Tensor: invalid storage offset -1",
     lambda: layout.check_as_strided("as_strided", (2,), (1,), -1, 24)),
    (IndexError, "index 5 is out of bounds for dimension 0 with size 2",
     lambda: layout.index(*OFF, 5)),
    (IndexError, "index -4 is out of bounds for dimension 1 with size 3",
     lambda: layout.index(*OFF, (slice(None), -4))),
    (IndexError, "too many indices for tensor of dimension 3",
     lambda: layout.index(*OFF, (0, 0, None, 0, 0))),
    (IndexError, "invalid index of a 0-dim tensor. Use `tensor.item()`",
     lambda: layout.index(*SCALAR, 0)),
    (IndexError, "too many indices for tensor of dimension 0",
     lambda: layout.index(*SCALAR, (0,))),
    (IndexError, "slice() cannot be applied to a 0-dim tensor.",
     lambda: layout.index(*SCALAR, slice(None))),
    (IndexError, "an index can only have a single ellipsis ('...')",
     lambda: layout.index(*OFF, (..., 0, ...))),
    (ValueError, "step must be greater than zero",
     lambda: layout.index(*OFF, slice(None, None, -1))),
    (ValueError, "slice step cannot be zero",
     lambda: layout.index(*OFF, slice(None, None, 0))),
    (TypeError, "got 1.5 of type float", lambda: layout.index(*OFF, slice(0, 1.5))),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "phrase", "call"), REFUSALS)
def test_refusals_have_pytorchs_class_and_words(kind, phrase, call):
    with pytest.raises(kind) as caught:
        call()
    assert isinstance(caught.value, NumtensorError)
    assert phrase in str(caught.value)
    assert ": got " in str(caught.value) and "; expected " in str(caught.value)


def test_layouts_inside_their_storage_pass():
    layout.check_as_strided("as_strided", (2, 3), (12, 5), 1, 24)
    layout.check_as_strided("as_strided", (), (), 23, 24)
    layout.check_as_strided("as_strided", (0,), (1,), 100, 24)
    layout.check_size("empty", (2**60,), 4)


# Broadcasting and outputs


@given(st.lists(st.lists(st.sampled_from((0, 1, 2, 3)), max_size=3), max_size=3))
def test_broadcasting_is_numpys(given_shapes):
    given_shapes = [tuple(shape) for shape in given_shapes]
    try:
        expected = np.broadcast_shapes(*given_shapes)
    except ValueError:
        with pytest.raises(ShapeError, match="must match the size of tensor b"):
            layout.broadcast_shapes("add", *given_shapes)
        return
    assert layout.broadcast_shapes("add", *given_shapes) == expected
    for shape in given_shapes:
        strides = layout.contiguous_strides(shape)
        expanded = layout.expand_strides(shape, strides, expected)
        spread = np.broadcast_to(addresses(shape, strides), expected)
        assert same((expected, expanded, 0), spread)


# Operands as (shape, strides), and stride() of PyTorch 2.13's neg or add of them.
OUTPUTS = [
    ([((4,), (1,)), ((4,), (1,))], (1,)),
    ([((2, 3), (1, 2)), ((2, 3), (3, 1))], (1, 2)),
    ([((4, 3), (3, 1)), ((4, 3), (1, 4))], (3, 1)),
    ([((3, 2), (1, 3))], (1, 3)),
    ([((4, 2), (2, 1)), ((4, 2), (1, 4))], (2, 1)),
    ([((2,), (1,)), ((2,), (0,))], (1,)),
    ([((2, 2, 2), (1, 2, 4)), ((2, 2, 2), (2, 0, 4))], (1, 2, 4)),
    ([((4, 1, 4, 4), (3, 1, 96, 12)), ((4, 1, 4, 4), (4, 1, 1, 16))], (1, 1, 16, 4)),
    ([((2, 3, 3), (1, 6, 2))], (1, 6, 2)),
    ([((3, 3, 4), (12, 4, 1)), ((3, 3, 4), (12, 1, 3))], (12, 4, 1)),
    ([((1, 4), (1, 0)), ((), ())], (4, 1)),
    ([((4, 3, 4, 2), (2, 8, 24, 1)), ((4, 3, 1, 1), (3, 1, 1, 1))], (2, 8, 24, 1)),
    ([((2, 3, 2, 3), (9, 3, 18, 1)), ((1, 1), (1, 1))], (9, 3, 18, 1)),
    ([((3, 2, 2, 2), (4, 12, 2, 1))], (4, 12, 2, 1)),
    ([((1, 2, 1, 2), (4, 2, 4, 1)), ((1, 2, 1, 2), (2, 1, 1, 0))], (4, 2, 4, 1)),
    ([((1, 3, 1), (1, 0, 1))], (3, 1, 1)),
    ([((1, 4), (1, 1))], (4, 1)),
    ([((3, 1), (1, 3)), ((), ())], (1, 3)),
    ([((3, 1), (1, 3))], (1, 1)),
    ([((1, 3), (1, 1)), ((3,), (1,))], (1, 1)),
    ([((1, 3, 2, 2), (99, 1, 6, 3))], (12, 1, 6, 3)),
    ([((2, 3, 1, 2), (6, 1, 50, 3))], (6, 1, 6, 3)),
    ([((1, 4, 3), (4, 1, 4))], (4, 1, 4)),
]

# shape, strides, and stride() of PyTorch 2.13's empty_like.
CLONES = [
    ((4, 4, 1), (6, 1, 1), (4, 1, 1)),
    ((2, 3, 4, 2), (6, 24, 1, 72), (4, 8, 1, 24)),
    ((4, 1, 3), (0, 1, 2), (3, 1, 1)),
    ((1, 1, 4), (12, 2, 2), (4, 1, 1)),
    ((4, 2, 2), (1, 12, 24), (1, 4, 8)),
    ((4, 3, 2, 4), (0, 0, 1, 4), (24, 8, 1, 2)),
    ((2, 4, 2, 1), (4, 0, 1, 1), (8, 2, 1, 1)),
    ((1, 1, 1, 4), (3, 1, 1, 0), (4, 4, 4, 1)),
    ((3, 4, 1), (3, 9, 1), (1, 3, 1)),
    ((3, 2), (1, 3), (1, 3)),
]


def result_strides(operands):
    shape = layout.broadcast_shapes("add", *(own for own, _ in operands))
    expanded = [layout.expand_strides(own, step, shape) for own, step in operands]
    return layout.output_strides(shape, expanded)


@pytest.mark.parametrize(("operands", "expected"), OUTPUTS)
def test_output_strides_are_pytorchs(operands, expected):
    assert result_strides(operands) == expected


@pytest.mark.parametrize(("shape", "strides", "expected"), CLONES)
def test_empty_like_strides_are_pytorchs(shape, strides, expected):
    assert layout.empty_like_strides(shape, strides) == expected


def test_random_output_strides_match_an_installed_pytorch():
    torch = pytest.importorskip("torch")
    rng = random.Random(0)
    for _ in range(300):
        ndim = rng.randint(0, 4)
        shape = [rng.choice((1, 2, 3, 4)) for _ in range(ndim)]
        operands = []
        for _ in range(rng.choice((1, 2, 3))):
            lead = rng.randint(0, ndim) if rng.random() < 0.3 else 0
            own = [size if rng.random() < 0.8 else 1 for size in shape[lead:]]
            order = list(range(len(own)))
            rng.shuffle(order)
            base = torch.zeros([own[dim] + rng.choice((0, 0, 1)) for dim in order])
            for dim, target in enumerate(order):
                base = base.narrow(dim, 0, own[target])
            operands.append(base.permute([order.index(d) for d in range(len(own))]))
        function = (torch.neg, torch.add, torch.addcmul)[len(operands) - 1]
        result = function(*operands)
        facts = [(tuple(one.shape), one.stride()) for one in operands]
        assert result_strides(facts) == result.stride(), facts
        (shape_0, strides_0), like = facts[0], torch.empty_like(operands[0])
        assert layout.empty_like_strides(shape_0, strides_0) == like.stride()


@st.composite
def nests(draw):
    shape = tuple(draw(st.lists(sizes, max_size=4)))
    steps = st.lists(st.integers(0, 12), min_size=len(shape), max_size=len(shape))
    orders = st.permutations(range(len(shape)))
    operands = []
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.booleans()):
            operands.append(tuple(draw(steps)))
        else:
            order = draw(orders)
            packed = layout.contiguous_strides([shape[dim] for dim in order])
            operands.append(tuple(packed[order.index(d)] for d in range(len(shape))))
    return shape, operands


@given(nests(), st.booleans())
def test_collapse_visits_the_same_addresses_together(nest, reorder):
    shape, operands = nest
    dims, merged = layout.collapse(shape, operands, reorder=reorder)
    assert len(dims) >= 1 and len(merged) == len(operands)
    assert all(len(steps) == len(dims) for steps in merged)
    before = np.stack([addresses(shape, own).ravel() for own in operands], 1).tolist()
    after = np.stack([addresses(dims, own).ravel() for own in merged], 1).tolist()
    if reorder:
        before, after = sorted(before), sorted(after)
        assert list(merged[0]) == sorted(merged[0], reverse=True)
    assert before == after


def test_collapse_flattens_what_it_can():
    flat = layout.contiguous_strides((2, 3, 4))
    assert layout.collapse((2, 3, 4), [flat, flat]) == ((24,), [(1,), (1,)])
    turned = [(1, 2), (1, 2)]
    assert layout.collapse((2, 3), turned) == ((6,), [(1,), (1,)])
    assert layout.collapse((2, 3), turned, reorder=False) == ((2, 3), turned)
    row = [(3, 1), (0, 1)]
    assert layout.collapse((2, 3), row) == ((2, 3), row)
    assert layout.collapse((), [(), ()]) == ((1,), [(1,), (1,)])
    assert layout.collapse((1, 1), [(5, 7)]) == ((1,), [(1,)])
    assert layout.collapse((2, 0), [(1, 1)]) == ((0,), [(1,)])


# Reshaping


@given(layouts(low=1), st.data())
def test_view_strides_exist_exactly_when_the_memory_allows(view, data):
    shape, strides, _ = view
    count = layout.numel(shape)
    target = []
    while count > 1 and len(target) < 5:
        divisors = [size for size in range(1, count + 1) if count % size == 0]
        target.append(data.draw(st.sampled_from(divisors)))
        count //= target[-1]
    target = (*target, count)
    got = layout.view_strides(shape, strides, target)
    places = addresses(shape, strides).reshape(target)
    if got is not None:
        assert same((target, got, 0), places)
        return
    # None is right only if no strides at all would do: try the only candidate.
    unit = np.eye(len(target), dtype=int)
    steps = [
        int(places[tuple(unit[dim])]) if target[dim] > 1 else 1
        for dim in range(len(target))
    ]
    assert not same((target, steps, 0), places)


def test_views_keep_pytorchs_strides_for_size_1():
    assert layout.view_strides((2, 3), (3, 1), (1, 2, 1, 3, 1)) == (6, 3, 3, 1, 1)
    assert layout.view_strides((6,), (1,), (3, 2, 1)) == (2, 1, 1)
    assert layout.view_strides((1, 2, 3), (6, 1, 2), (1, 2, 3, 1)) == (2, 1, 2, 2)


def test_views_of_empty_and_0d_tensors_are_pytorchs():
    assert layout.view_strides((0, 3), (3, 1), (5, 0)) == (1, 1)
    assert layout.view_strides((0, 3), (1, 7), (0, 3)) == (1, 7)
    assert layout.view_strides((), (), (1, 1)) == (1, 1)
    assert layout.view_strides((1, 1), (9, 5), ()) == ()
    assert layout.infer_shape("view", (5, -1), 0) == (5, 0)
    assert layout.flatten_shape(()) == (1,)


# Views


@given(layouts(min_dims=2), st.data())
def test_views_are_numpys(view, data):
    shape, strides, offset = view
    ndim = len(shape)
    dim = st.integers(-ndim, ndim - 1)
    a, b = data.draw(dim), data.draw(dim)
    grid = addresses(*view)
    assert same(layout.transpose(*view, a, b), np.swapaxes(grid, a, b))
    assert same(layout.movedim(*view, a, b), np.moveaxis(grid, a, b))
    assert same(layout.unsqueeze(*view, a), np.expand_dims(grid, a))
    assert same(layout.squeeze(*view), np.squeeze(grid))
    order = data.draw(st.permutations(range(ndim)))
    assert same(layout.permute(*view, order), np.transpose(grid, order))
    if a % ndim != b % ndim:
        skew = data.draw(st.integers(-5, 5))
        assert same(layout.diagonal(*view, skew, a, b), np.diagonal(grid, skew, a, b))
    size = shape[a]
    low = data.draw(st.integers(0, size))
    length = data.draw(st.integers(0, size - low))
    part = np.take(grid, range(low, low + length), axis=a)
    assert same(layout.narrow(*view, a, low, length), part)
    if low < size:
        assert same(layout.select(*view, a, low), np.take(grid, low, axis=a))
    start, stop = (data.draw(st.none() | st.integers(-6, 6)) for _ in range(2))
    step = data.draw(st.integers(1, 3))
    part = np.moveaxis(np.moveaxis(grid, a, 0)[start:stop:step], 0, a)
    assert same(layout.slice_dim(*view, a, start, stop, step), part)
    if size:
        window = data.draw(st.integers(1, size))
        rolled = np.lib.stride_tricks.sliding_window_view(grid, window, axis=a)
        every = [slice(None)] * ndim
        every[a] = slice(None, None, step)
        assert same(layout.unfold(*view, a, window, step), rolled[tuple(every)])
    lead = data.draw(st.lists(st.integers(0, 2), max_size=2))
    assert same(
        layout.expand(*view, (*lead, *[-1] * ndim)),
        np.broadcast_to(grid, (*lead, *shape)),
    )


def test_strides_of_new_dimensions_are_pytorchs():
    assert layout.unsqueeze(*OFF, 0) == ((1, 2, 3, 4), (24, 12, 4, 1), 0)
    assert layout.unsqueeze(*OFF, -1) == ((2, 3, 4, 1), (12, 4, 1, 1), 0)
    assert layout.unsqueeze(*SCALAR, 0) == ((1,), (1,), 0)
    assert layout.expand(*OFF, (1, 1, 2, 3, 4))[1] == (24, 24, 12, 4, 1)
    assert layout.expand(*SCALAR, (1, 1)) == ((1, 1), (0, 0), 0)
    assert layout.unfold(*SCALAR, 0, 1, 1) == ((1,), (1,), 0)
    assert layout.diagonal(*OFF, 10, 0, 1) == ((4, 0), (1, 16), 0)
    assert layout.squeeze((1, 3, 1), (3, 1, 1), 0, (0, 1)) == ((3, 1), (1, 1), 0)


# Basic indexing


@given(layouts(), st.data())
def test_indexing_is_numpys(view, data):
    ndim = len(view[0])
    bound = st.none() | st.integers(-6, 6)
    parts = st.integers(-4, 3) | st.builds(
        slice, bound, bound, st.none() | st.integers(1, 3)
    )
    key = data.draw(st.lists(parts | st.none(), max_size=ndim + 2))
    if data.draw(st.booleans()):
        key.insert(data.draw(st.integers(0, len(key))), ...)
    key = tuple(key)
    if len(key) == 1 and data.draw(st.booleans()):
        key = key[0]
    assert layout.is_basic(key)
    try:
        expected = np.asarray(addresses(*view)[key])
    except IndexError:
        with pytest.raises(IndexError):
            layout.index(*view, key)
        return
    assert same(layout.index(*view, key), expected)


def test_indexing_keeps_pytorchs_offsets_and_strides():
    assert layout.index(*OFF, slice(5, None)) == ((0, 3, 4), (12, 4, 1), 24)
    assert layout.index(*OFF, slice(5, None, 3)) == ((0, 3, 4), (36, 4, 1), 24)
    assert layout.index(*OFF, (slice(None), slice(5, 2))) == (
        (2, 0, 4),
        (12, 4, 1),
        12,
    )
    assert layout.index(*OFF, (None, 0, ..., None, slice(1, 3))) == (
        (1, 3, 1, 2),
        (24, 4, 4, 1),
        1,
    )
    assert layout.index(*OFF, np.int64(1)) == ((3, 4), (4, 1), 12)
    assert layout.index(*SCALAR, None) == ((1,), (1,), 0)
    assert layout.index(*SCALAR, ...) == layout.index(*SCALAR, ()) == SCALAR


def test_masks_lists_and_arrays_are_not_basic():
    basic = [0, np.int32(1), slice(1), None, ..., (), (0, None, ..., np.int64(2))]
    assert all(layout.is_basic(key) for key in basic)
    for item in (True, np.True_, [0], np.array(0), np.array([0]), 1.5, "a"):
        assert not layout.is_basic(item)
        assert not layout.is_basic((0, item))
    assert not layout.is_basic((0, (0,)))
