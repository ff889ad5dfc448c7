"""Indexing by tensors, lists and masks: reading, assigning, gradients, faults.

The oracle is NumPy, in two steps where the rules differ: integers are applied before
other indices, as PyTorch does, and not together with them.
"""

from __future__ import annotations

import laws
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtensor as nt
from numtensor.errors import (
    AutogradError,
    DeviceError,
    DimError,
    DTypeError,
    ShapeError,
)

pytestmark = pytest.mark.usefixtures("device")


def long(values):
    return nt.tensor(values, dtype=nt.int64, device=laws.DEVICE)


def oracle(array, key):
    """Return array[key] as PyTorch sees it, and the flat numbers of the elements."""
    numbers = np.arange(array.size).reshape(array.shape)
    items = key if isinstance(key, tuple) else (key,)

    def dims(item):
        if isinstance(item, np.ndarray) and item.dtype == bool:
            return item.ndim
        return 0 if item is None or item is Ellipsis or isinstance(item, bool) else 1

    used = sum(dims(i) for i in items)
    full = []
    for item in items:
        if item is Ellipsis:
            full += [slice(None)] * (array.ndim - used)
        else:
            full.append(item)
    basic, rest = [], []
    for item in full:
        if isinstance(item, (int, np.integer)) and not isinstance(item, bool):
            basic.append(item)
        elif item is None or isinstance(item, slice):
            basic.append(item)
            rest.append(slice(None))
        elif isinstance(item, bool):
            basic.append(None)
            rest.append(np.array([0] if item else [], dtype=np.int64))
        else:
            basic += [slice(None)] * dims(item)
            rest.append(item)
    numbers = numbers[tuple(basic)]
    numbers = numbers[tuple(rest)] if rest else numbers
    return array.reshape(-1)[numbers], numbers


# keys


@st.composite
def keys(draw, most=3):
    """Draw a shape and a key of any mixture, in NumPy's types."""
    ndim = draw(st.integers(1, most))
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=ndim, max_size=ndim)))
    broadcast = draw(st.sampled_from([(2,), (1,), (3,), (2, 2), (0,)]))
    items, d = [], 0
    ellipsis = False
    while d < ndim and draw(st.integers(0, 5)):
        size = shape[d]
        kind = draw(
            st.sampled_from(
                ["int", "slice", "none", "index", "index", "index", "mask", "...", "b"]
            )
        )
        if kind == "int":
            items.append(draw(st.integers(-size, size - 1)))
            d += 1
        elif kind == "slice":
            ends = st.none() | st.integers(-size, size)
            items.append(slice(draw(ends), draw(ends), draw(st.integers(1, 2))))
            d += 1
        elif kind == "none":
            items.append(None)
        elif kind == "b" and draw(st.booleans()):
            items.append(True)
        elif kind == "..." and not ellipsis:
            ellipsis = True
            items.append(Ellipsis)
            d += draw(st.integers(0, ndim - d))
        elif kind == "index":
            own = draw(st.sampled_from([broadcast, (1,), broadcast[-1:]]))
            count = int(np.prod(own))
            values = st.lists(
                st.integers(-size, size - 1), min_size=count, max_size=count
            )
            items.append(np.array(draw(values), dtype=np.int64).reshape(own))
            d += 1
        elif kind == "mask" and not any(isinstance(i, np.ndarray) for i in items):
            rank = draw(st.integers(1, ndim - d))
            count = int(np.prod(shape[d : d + rank]))
            marks = st.lists(st.booleans(), min_size=count, max_size=count)
            items.append(np.array(draw(marks)).reshape(shape[d : d + rank]))
            return shape, tuple(items)
    return shape, tuple(items)


def ours(key, how):
    """Return a key with arrays as tensors, lists or themselves."""

    def one(item):
        if not isinstance(item, np.ndarray):
            return item
        if how == "tensor":
            return nt.tensor(item, device=laws.DEVICE)
        if how == "int32" and item.dtype != bool:
            return nt.tensor(item.astype(np.int32), device=laws.DEVICE)
        if how == "list":
            return item.tolist()
        return item

    return tuple(one(i) for i in key)


LAYOUTS = ("contiguous", "transposed", "sliced")


def laid(array, layout):
    """Return a tensor of these values in some layout."""
    if layout == "transposed":
        return laws.made(array.T.copy()).permute(*range(array.ndim - 1, -1, -1))
    if layout == "sliced":
        wide = np.full((*array.shape[:-1], 2 * array.shape[-1] + 1), 99.0)
        wide[..., 1::2] = array
        return laws.made(wide)[..., 1::2]
    return laws.made(array)


COUNT = 120


@settings(max_examples=COUNT)
@given(keys(), st.sampled_from(["tensor", "int32", "list", "array"]), st.data())
def test_reading_any_mixture(drawn, how, data):
    shape, key = drawn
    if laws.DEVICE != "cpu" and data.draw(st.integers(0, 9)):
        return  # a tenth of them: the simulator is slow
    array = np.arange(float(np.prod(shape))).reshape(shape)
    try:
        expected, _ = oracle(array, key)
    except IndexError:
        with pytest.raises(IndexError):
            laws.made(array)[ours(key, how)]
        return
    x = laid(array, data.draw(st.sampled_from(LAYOUTS)))
    found = x[ours(key, how)]
    assert tuple(found.shape) == expected.shape
    laws.assert_same(laws.numpy_of(found), expected)


@settings(max_examples=COUNT)
@given(keys(), st.sampled_from(["tensor", "list"]), st.data())
def test_assigning_any_mixture(drawn, how, data):
    shape, key = drawn
    if laws.DEVICE != "cpu" and data.draw(st.integers(0, 9)):
        return
    array = np.arange(float(np.prod(shape))).reshape(shape)
    try:
        expected, numbers = oracle(array, key)
    except IndexError:
        return
    x = laid(array, data.draw(st.sampled_from(LAYOUTS)))
    if data.draw(st.booleans()):
        value = given_value = -1.5
        values = np.full(expected.shape, value)
    else:
        keep = data.draw(st.integers(0, expected.ndim))
        part = expected.shape[keep:]
        values = -1.0 - np.arange(float(np.prod(part))).reshape(part)
        given_value = laws.made(values)
        values = np.broadcast_to(values, expected.shape)
    x[ours(key, how)] = given_value
    wanted = array.reshape(-1).copy()
    for number, one in zip(numbers.reshape(-1), values.reshape(-1), strict=True):
        wanted[number] = one  # in order: of equal places the last one counts
    laws.assert_same(laws.numpy_of(x), wanted.reshape(shape))


@settings(max_examples=COUNT)
@given(keys(), st.data())
def test_gradients_of_any_mixture(drawn, data):
    """They are counts: how often an element was named, by what it was named for."""
    shape, key = drawn
    if laws.DEVICE != "cpu" and data.draw(st.integers(0, 9)):
        return
    array = np.arange(float(np.prod(shape))).reshape(shape)
    try:
        expected, numbers = oracle(array, key)
    except IndexError:
        return
    x = laid(array, data.draw(st.sampled_from(LAYOUTS))).detach().requires_grad_()
    found = x[ours(key, "tensor")]
    weights = 1.0 + np.arange(float(expected.size)).reshape(expected.shape)
    (found * laws.made(weights)).sum().backward()
    wanted = np.zeros(array.size)
    np.add.at(wanted, numbers.reshape(-1), weights.reshape(-1))
    laws.assert_close(laws.numpy_of(x.grad), wanted.reshape(shape), 1e-12)


def test_what_the_book_does():
    temp = laws.made(np.array([15.0, 2.0, 1.0, 21.0]))
    data = laws.made(np.arange(8.0).reshape(4, 2))
    assert data[temp < 3].tolist() == [[2.0, 3.0], [4.0, 5.0]]
    target = long([3, 5, 2, 8])
    bad = target <= 3
    assert bad.sum().item() == 2
    assert data[bad].shape == (2, 2)
    assert data[bad].mean(0).tolist() == [2.0, 3.0]
    order = nt.randperm(4, device=laws.DEVICE)
    assert sorted(temp[order].tolist()) == [1.0, 2.0, 15.0, 21.0]
    assert data[(target > 3) & (target < 7)].tolist() == [[2.0, 3.0]]
    points = laws.made(np.zeros((3, 2)))
    assert points[None].shape == (1, 3, 2)
    assert points[1:, 0].shape == (2,)
    batch = nt.zeros(2, 3, 2, device=laws.DEVICE)
    batch[1] = points + 1
    assert batch.sum().item() == 6


@pytest.mark.parametrize("dtype", laws.DTYPES)
def test_every_dtype(dtype):
    values = np.array([[0, 1, 2], [1, 0, 3]]).astype(dtype)
    x = laws.made(values)
    i, j = long([1, 0, 1]), long([2, 0, 2])
    laws.assert_same(laws.numpy_of(x[i, j]), values[[1, 0, 1], [2, 0, 2]])
    laws.assert_same(laws.numpy_of(x[x > 0]), values[values > 0])
    x[i, j] = 1
    values[[1, 0], [2, 0]] = 1
    laws.assert_same(laws.numpy_of(x), values)
    x[x > 1] = laws.made(np.array([0]).astype(dtype))
    values[values > 1] = 0
    laws.assert_same(laws.numpy_of(x), values)


def test_integers_of_no_dims_give_views():
    x = laws.made(np.arange(6.0).reshape(2, 3))
    for key in (nt.tensor(1), nt.tensor(1, dtype=nt.int8), np.int16(1), np.array(1)):
        row = x[key]
        assert laws.shares_memory(row, x) and row.tolist() == [3.0, 4.0, 5.0]
    assert x[nt.tensor(1) :, : nt.tensor(2)].tolist() == [[3.0, 4.0]]
    copy = x[[1]]
    assert not laws.shares_memory(copy, x)


def test_bools_add_a_dim():
    x = laws.made(np.arange(6.0).reshape(2, 3))
    assert x[True].shape == (1, 2, 3) and x[False].shape == (0, 2, 3)
    assert x[nt.tensor(True)].shape == (1, 2, 3)
    assert x[True, [0, 1]].shape == (2, 3) and x[:, False].shape == (2, 0, 3)
    scalar = laws.made(np.array(3.0))
    assert scalar[scalar > 2].tolist() == [3.0]
    scalar[scalar > 2] = 1.0
    assert scalar.item() == 1.0


def test_empty_and_zero_sized():
    x = laws.made(np.arange(6.0).reshape(2, 3))
    assert x[[]].shape == (0, 3)
    assert x[:, []].shape == (2, 0)
    assert x[long([]).reshape(0, 2)].shape == (0, 2, 3)
    assert x[x > 9].shape == (0,)
    x[[]] = 5.0
    x[x > 9] = 5.0
    assert x.sum().item() == 15
    empty = nt.zeros(0, 3, device=laws.DEVICE)
    assert empty[long([])].shape == (0, 3)
    assert empty[:, [2, 0]].shape == (0, 2)
    assert empty[empty > 0].shape == (0,)
    assert nt.zeros(3, 0, device=laws.DEVICE)[[2, 1]].shape == (2, 0)


def test_overlapping_elements_are_read():
    base = laws.made(np.arange(4.0))
    x = base.expand(2, 4)
    assert x[[1, 0], [2, 3]].tolist() == [2.0, 3.0]
    windows = base.as_strided((3, 2), (1, 1))
    assert windows[windows > 1].tolist() == [2.0, 2.0, 3.0]
    with pytest.raises(ShapeError, match="single memory location"):
        x[[0]] = 1.0


def test_the_target_as_its_own_index_and_value():
    x = long([2, 0, 1])
    x[x] = x
    assert x.tolist() == [0, 1, 2]
    x[x.flip(0)] = x
    assert x.tolist() == [2, 1, 0]
    y = laws.made(np.arange(4.0))
    y[1:][[0, 1, 2]] = y[:-1]
    assert y.tolist() == [0.0, 0.0, 1.0, 2.0]


def test_augmented_assignment():
    x = laws.made(np.zeros((3, 2)))
    x[[0, 2]] += 1
    x[x > 0] *= 3
    x[[0, 0], 1] -= 1  # read once, written twice: one is subtracted
    assert x.tolist() == [[3.0, 2.0], [0.0, 0.0], [3.0, 3.0]]


def test_the_last_of_equal_places_counts():
    x = laws.made(np.zeros(3))
    x[[1, 1, 1, 0]] = laws.made(np.array([1.0, 2.0, 3.0, 4.0]))
    assert x.tolist() == [4.0, 3.0, 0.0]


def test_sums_are_the_same_every_time():
    """Small numbers behind a large one are lost, or not: the order shows."""
    rng = np.random.default_rng(2)
    count = 20 if laws.simulated() else 60_000
    values = rng.normal(size=count).astype(np.float32) * 10.0 ** rng.integers(
        -4, 5, count
    )
    values = values.astype(np.float32)
    places = rng.integers(0, 3, count)
    expected = np.zeros(3, np.float32)
    for place, value in zip(places, values, strict=True):
        expected[place] += value
    for threads in (1, 2):
        before = nt.get_num_threads()
        nt.set_num_threads(threads)
        try:
            x = laws.made(np.zeros(3, np.float32))
            x.index_put_((long(places),), laws.made(values), accumulate=True)
        finally:
            nt.set_num_threads(before)
        laws.assert_same(laws.numpy_of(x), expected)


def test_wide_rows_are_added_in_order_by_threads():
    rng = np.random.default_rng(2)
    rows, width = (6, 3) if laws.simulated() else (500, 200)
    values = rng.normal(size=(rows, width)).astype(np.float32)
    places = rng.integers(0, 4, rows)
    expected = np.zeros((4, width), np.float32)
    for place, value in zip(places, values, strict=True):
        expected[place] += value
    x = laws.made(np.zeros((4, width), np.float32))
    x.index_put_((long(places),), laws.made(values), accumulate=True)
    laws.assert_same(laws.numpy_of(x), expected)


# gradients


def leaf(*shape, seed=1):
    values = np.random.default_rng(seed).normal(size=shape)
    return laws.made(values).requires_grad_()


def test_second_derivatives_of_reading():
    if laws.simulated():
        pytest.skip("the CPU's are checked by differences, the device's by values")
    x = leaf(3, 4)
    i, j = long([2, 0, 2]), long([1, 1, 1])
    mask = laws.made(np.array([True, False, True]))
    for read in (
        lambda x: x[i, j] ** 2,
        lambda x: x[:, j] ** 2,
        lambda x: x[mask] ** 2,
    ):
        assert nt.autograd.gradcheck(read, (x,))
        assert nt.autograd.gradgradcheck(read, (x,))


def test_gradients_of_assigning():
    x, v = leaf(3, 2), leaf(2)
    y = x * 1
    y[[0, 2]] = v * v
    assert y.grad_fn.name() == "IndexPutBackward0"
    (y * laws.made(np.arange(6.0).reshape(3, 2))).sum().backward()
    assert laws.numpy_of(x.grad).tolist() == [[0, 0], [2, 3], [0, 0]]
    laws.assert_close(
        laws.numpy_of(v.grad), 2 * laws.numpy_of(v.detach()) * [4.0, 6.0], 1e-12
    )


def test_gradients_through_a_view_that_is_assigned_to():
    x, v = leaf(2, 3), leaf(2)
    y = x.clone()
    row = y[1]
    row[[2, 0]] = v
    (y * laws.made(np.arange(6.0).reshape(2, 3))).sum().backward()
    assert laws.numpy_of(x.grad).tolist() == [[0, 1, 2], [0, 4, 0]]
    assert laws.numpy_of(v.grad).tolist() == [5, 3]


def test_second_derivatives_of_assigning():
    if laws.simulated():
        pytest.skip("the CPU's are checked by differences, the device's by values")
    x, v = leaf(3, 2), leaf(2, 2, seed=2)
    mask = laws.made(np.array([[True, False], [False, True], [True, True]]))

    def by_index(x, v):
        y = x * x
        y[[0, 2]] = v * v
        return y * y

    def by_mask(x, v):
        y = x * x
        y[mask] = v.reshape(4) ** 2
        y[~mask] = 0.5
        return y * y

    def adding(x, v):
        return (x * x).index_put((long([1, 1]),), v * v, accumulate=True) ** 2

    for write in (by_index, by_mask, adding):
        assert nt.autograd.gradcheck(write, (x, v))
        assert nt.autograd.gradgradcheck(write, (x, v))


def test_what_may_not_be_assigned_to():
    x = leaf(3)
    with pytest.raises(AutogradError, match="leaf Variable that requires grad"):
        x[[0]] = 1.0
    with nt.no_grad():
        x[[0]] = 1.0
        x[x > 0] = 2.0
    y = (x * 2).exp()
    z = y * y
    version = y._version
    y[[1]] = 0.0
    assert y._version == version + 1
    with pytest.raises(AutogradError, match="modified by an inplace operation"):
        z.sum().backward()


def test_indices_changed_after_reading_are_noticed():
    x = leaf(3)
    i = long([0, 1])
    y = x[i].sum()
    i[0] = 2
    with pytest.raises(AutogradError, match="modified by an inplace operation"):
        y.backward()


# faults


FAULTS = [
    (lambda x: x[[0, 3]], DimError,
     "index 3 is out of bounds for dimension 0 with size 3"),
    (lambda x: x[long([-4])], DimError,
     "index -4 is out of bounds for dimension 0 with size 3"),
    (lambda x: x[0, long([2, 1])], DimError,
     "index 2 is out of bounds for dimension 0 with size 2"),
    (lambda x: x[:, long([0, 2])], DimError,
     "index 2 is out of bounds for dimension 1 with size 2"),
    (lambda x: x[[0, 1], [0, 2]], DimError,
     "index 2 is out of bounds for dimension 1 with size 2"),
    (lambda x: x[:0][[0]], DimError, "for dimension with size 0"),
    (lambda x: x[2**40], DimError, "out of bounds"),
    (lambda x: x[[2**62]], DimError, "index 4611686018427387904 is out of bounds"),
    (lambda x: x[[True, False]], DimError,
     "The shape of the mask [2] at index 0 does not match the shape of the indexed "
     "tensor [3, 2] at index 0"),
    (lambda x: x[:, nt.tensor([True] * 3)], DimError,
     "The shape of the mask [3] at index 0 does not match the shape of the indexed "
     "tensor [3, 2] at index 1"),
    (lambda x: x[nt.ones(3, 3) > 0], DimError,
     "The shape of the mask [3, 3] at index 1 does not match the shape of the indexed "
     "tensor [3, 2] at index 1"),
    (lambda x: x[long([0, 1]), long([0, 1, 2])], DimError,
     "indexing tensors could not be broadcast together with shapes [2], [3]"),
    (lambda x: x[[0], [0], [0]], DimError,
     "too many indices for tensor of dimension 2"),
    (lambda x: x[nt.ones(3, 2, 1) > 0], DimError, "too many indices"),
    (lambda x: x[nt.tensor([1.0])], DimError,
     "tensors used as indices must be long, int, byte or bool tensors"),
    (lambda x: x[nt.tensor([1], dtype=nt.int16)], DimError,
     "tensors used as indices must be long, int, byte or bool tensors"),
    (lambda x: x[np.array([0.5])], DimError, "tensors used as indices must be long"),
    (lambda x: x[{1}], DimError, "None and long or byte Variables are valid indices"),
    (lambda x: x[[0], "a"], DTypeError, "new(): invalid data type 'str'"),
    (lambda x: x[0][0][[0]], DimError, "too many indices for tensor of dimension 0"),
    (lambda x: x.__setitem__([3], 1.0), DimError, "index 3 is out of bounds"),
    (lambda x: x.__setitem__([0, 1], nt.ones(3, 2, device=laws.DEVICE).double()),
     ShapeError, "value tensor of shape [3, 2] cannot be broadcast to indexing result "
     "of shape [2, 2]"),
    (lambda x: x.__setitem__([0, 1], nt.ones(2, device=laws.DEVICE)), DTypeError,
     "got Double for the destination and Float for the source"),
    (lambda x: x.index_put_((None,), x[0]), DTypeError,
     "expected Tensor as element 0 in argument 0, but got NoneType"),
    (lambda x: x.index_put_((), x[0]), DimError, "at least one"),
    (lambda x: x.index_put_((long([0]),) * 3, x[0]), DimError, "too many indices"),
]  # fmt: skip


@pytest.mark.parametrize(("act", "kind", "text"), FAULTS)
def test_faults_say_what_and_change_nothing(act, kind, text):
    values = np.arange(6.0).reshape(3, 2)
    x = laws.made(values)
    with pytest.raises(kind) as caught:
        act(x)
    assert text in str(caught.value)
    laws.assert_same(laws.numpy_of(x), values)
    # what comes after a fault is well again
    assert x[[0]].tolist() == [[0.0, 1.0]]


def test_out_of_range_among_many_writes_nothing():
    count = 5 if laws.simulated() else 100_000
    x = laws.made(np.zeros(count))
    index = np.arange(count)
    index[-1] = count
    with pytest.raises(DimError, match=f"index {count} is out of bounds"):
        x[long(index)] = 1.0
    with pytest.raises(DimError, match=f"index {count} is out of bounds"):
        x.index_put_((long(index),), laws.made(np.ones(count)), accumulate=True)
    assert x.sum().item() == 0


def test_lists_of_sequences_are_tuples_with_a_warning():
    x = laws.made(np.arange(6.0).reshape(3, 2))
    with pytest.warns(UserWarning, match="non-tuple sequence"):
        assert x[[[0, 1], [1, 0]]].tolist() == [1.0, 2.0]
    with pytest.warns(UserWarning, match="use a dtype torch.bool instead"):
        mask = nt.tensor([1, 0, 1], dtype=nt.uint8, device=laws.DEVICE)
        assert x[mask].tolist() == [[0.0, 1.0], [4.0, 5.0]]


def test_indices_of_the_host_and_of_devices():
    x = laws.made(np.arange(6.0).reshape(3, 2))
    assert x[nt.tensor([2, 0])].tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert x[nt.tensor([True, False, True])].shape == (2, 2)
    x[nt.tensor([0])] = nt.tensor(9.0)
    assert x[0].tolist() == [9.0, 9.0]
    if laws.DEVICE != "cpu":
        with pytest.raises(DeviceError, match="on cpu or on the same device"):
            nt.zeros(3)[long([0])]
        with pytest.raises(DeviceError, match="same device"):
            x[long([0])] = nt.ones(2).double()


def test_numbers_that_a_dtype_cannot_hold():
    x = nt.zeros(3, dtype=nt.int8, device=laws.DEVICE)
    with pytest.raises(RuntimeError, match="without overflow"):
        x[[0]] = 300
    with pytest.raises(RuntimeError, match="without overflow"):
        x[x == 0] = 300
    x[[0]] = 2.7
    assert x.tolist() == [2, 0, 0]


def test_sixteen_indices_and_no_more():
    x = nt.zeros((1,) * 17)
    assert x[([0],) * 16].shape == (1, 1)
    with pytest.raises(DimError, match="at most 16"):
        x[([0],) * 17]
