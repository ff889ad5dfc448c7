"""gather, scatter, take, masks and their relatives, against NumPy and by hand."""

from __future__ import annotations

import itertools

import laws
import numpy as np
import pytest

import numtensor as nt
import numtensor.nn.functional as F
from numtensor.errors import AutogradError, DimError, DTypeError, ShapeError

pytestmark = pytest.mark.usefixtures("device")


def long(values):
    return nt.tensor(values, dtype=nt.int64, device=laws.DEVICE)


def points(shape):
    return itertools.product(*(range(n) for n in shape))


def gathered(x, dim, index):
    """gather as its definition says it."""
    found = np.empty(index.shape, x.dtype)
    for p in points(index.shape):
        found[p] = x[(*p[:dim], index[p], *p[dim + 1 :])]
    return found


def last(old, new):
    return new


def scattered(x, dim, index, src, join):
    """scatter as its definition says it, in order."""
    found = x.copy()
    for p in points(index.shape):
        place = (*p[:dim], index[p], *p[dim + 1 :])
        found[place] = join(found[place], src[p])
    return found


LAYOUTS = {
    "contiguous": lambda a: laws.made(a),
    "transposed": lambda a: laws.made(a.T.copy()).t(),
    "sliced": lambda a: laws.made(np.repeat(a, 2, axis=1))[:, ::2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("shape", [(2, 2), (3, 1), (1, 4), (3, 4)])
def test_gather_and_its_gradient(layout, dim, shape, rng):
    array = rng.normal(size=(3, 4))
    if dim == 0:
        shape = (shape[0] + 3, shape[1])
    index = rng.integers(0, array.shape[dim], shape)
    x = LAYOUTS[layout](array).detach().requires_grad_()
    found = x.gather(dim, long(index))
    laws.assert_same(laws.numpy_of(found.detach()), gathered(array, dim % 2, index))
    weights = rng.normal(size=shape)
    (found * laws.made(weights)).sum().backward()
    wanted = scattered(np.zeros((3, 4)), dim % 2, index, weights, np.add)
    laws.assert_close(laws.numpy_of(x.grad), wanted, 1e-12)


def test_gather_of_long_rows(rng):
    """Rows are loops, and rows of one merged dim are not."""
    array = rng.normal(size=(2, 20))
    index = rng.integers(0, 20, (2, 12))
    found = laws.made(array).gather(1, long(index))
    laws.assert_same(laws.numpy_of(found), np.take_along_axis(array, index, 1))
    flat = laws.made(array[0]).gather(0, long(index[0]))
    laws.assert_same(laws.numpy_of(flat), array[0][index[0]])


@pytest.mark.parametrize("dtype", laws.DTYPES)
def test_every_dtype(dtype):
    array = np.array([[0, 1, 2], [3, 1, 0]]).astype(dtype)
    src = np.array([[1, 1, 0], [1, 2, 1]]).astype(dtype)
    index = np.array([[0, 0, 2], [1, 0, 1]])
    x, s, i = laws.made(array), laws.made(src), long(index)
    same = [
        (x.gather(1, i), np.take_along_axis(array, index, 1)),
        (x.scatter(1, i, s), scattered(array, 1, index, src, last)),
        (x.scatter_add(1, i, s), scattered(array, 1, index, src, np.add)),
        (x.scatter(1, i, 1), scattered(array, 1, index, np.ones_like(src), last)),
        (x.index_select(1, long([2, 0])), array[:, [2, 0]]),
        (x.index_fill(0, long([-1]), 1), np.stack([array[0], np.ones_like(array[0])])),
        (x.index_copy(0, long([1]), s[:1]), np.stack([array[0], src[0]])),
        (x.index_add(0, long([1, 1]), s), np.stack([array[0], sum(src, array[1])])),
        (x.take(long([5, -6])), array.reshape(-1)[[5, 0]]),
        (x.put(long([5, 0]), s[0, :2]), _put(array, [5, 0], src[0, :2])),
        (x.masked_select(x > 0), array[array > 0]),
        (x.masked_fill(x > 1, 1), np.where(array > 1, np.ones_like(array), array)),
        (x.masked_scatter(x > 0, s), _filled(array, array > 0, src)),
        (x.nonzero(), np.argwhere(array)),
    ]  # fmt: skip
    for k, (found, expected) in enumerate(same):
        assert expected.dtype == found.dtype.numpy, k
        laws.assert_same(laws.numpy_of(found), expected, str(k))
    for reduce, join in (
        ("amax", np.maximum),
        ("amin", np.minimum),
        ("prod", np.multiply),
    ):
        found = x.scatter_reduce(1, i, s, reduce)
        expected = scattered(array, 1, index, src, join).astype(dtype)
        laws.assert_same(laws.numpy_of(found), expected, reduce)


def _put(array, index, values):
    found = array.copy()
    found.reshape(-1)[index] = values
    return found


def _filled(array, mask, src):
    found = array.copy()
    found[mask] = src.reshape(-1)[: mask.sum()]
    return found


def test_index_select_shapes_and_layouts(rng):
    array = rng.normal(size=(3, 4, 2))
    for x in (
        laws.made(array),
        laws.made(array.transpose(2, 0, 1).copy()).permute(1, 2, 0),
    ):
        for dim in range(3):
            index = np.array([1, 0, 1])
            found = x.index_select(dim, long(index))
            laws.assert_same(laws.numpy_of(found), np.take(array, index, dim))
    assert laws.made(array).index_select(0, long([])).shape == (0, 4, 2)
    one = nt.tensor([1], dtype=nt.int32, device=laws.DEVICE)
    assert laws.made(array).index_select(1, one).shape == (3, 1, 2)
    assert laws.made(array).index_select(1, long(1)).shape == (3, 1, 2)
    scalar = laws.made(np.array(3.0))
    assert scalar.index_select(0, long([0])).tolist() == 3.0
    assert scalar.gather(0, long(0)).item() == 3.0
    assert scalar.scatter(0, long(0), 5.0).item() == 5.0
    assert scalar.index_add(0, long(0), scalar).item() == 6.0
    assert scalar.index_fill(0, long(0), 1).item() == 1.0


def test_scatter_takes_part_of_src(rng):
    array, src = rng.normal(size=(3, 5)), rng.normal(size=(4, 5))
    index = np.array([[0, 1], [2, 0]])
    found = laws.made(array).scatter(0, long(index), laws.made(src))
    laws.assert_same(laws.numpy_of(found), scattered(array, 0, index, src, last))
    assert laws.made(array).scatter(0, long([]), 1.0).sum() == laws.made(array).sum()
    x = laws.made(array)
    assert x.scatter_(0, long(index), 1.0) is x


@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("include_self", [True, False])
def test_scatter_reduce(reduce, include_self, rng):
    array = rng.normal(size=(4, 2))
    src = rng.normal(size=(5, 2))
    index = np.array([[0, 1], [0, 1], [2, 2], [0, 1], [2, 1]])
    expected = array.copy()
    for i, j in points((4, 2)):
        values = list(src[index[:, j] == i, j])
        if values:
            values += [array[i, j]] if include_self else []
            expected[i, j] = {
                "sum": np.sum, "prod": np.prod, "mean": np.mean, "amax": np.max,
                "amin": np.min,
            }[reduce](values)  # fmt: skip
    x = laws.made(array)
    found = x.scatter_reduce(
        0, long(index), laws.made(src), reduce, include_self=include_self
    )
    laws.assert_close(laws.numpy_of(found), expected, 1e-12)
    if reduce in ("sum", "prod") and include_self:
        name = {"sum": "add", "prod": "multiply"}[reduce]
        again = x.scatter(0, long(index), laws.made(src), reduce=name)
        laws.assert_same(laws.numpy_of(again), laws.numpy_of(found))


def test_scatter_reduce_of_integers_and_nan():
    x = long([7, -7])
    found = x.scatter_reduce(0, long([0, 1]), long([2, 2]), "mean")
    assert found.tolist() == [4, -3]  # rounded down
    y = laws.made(np.zeros(2))
    nan = laws.made(np.array([np.nan, 1.0]))
    assert np.isnan(laws.numpy_of(y.scatter_reduce(0, long([0, 0]), nan, "amax"))[0])
    lowest = x.scatter_reduce(0, long([0]), long([3]), "amax", include_self=False)
    assert lowest.tolist() == [3, -7]
    flags = x > 0
    found = flags.scatter_reduce(0, long([1, 1]), flags, "amax", include_self=False)
    assert found.tolist() == [True, True]


def leaf(*shape, seed=1):
    values = np.random.default_rng(seed).normal(size=shape)
    return laws.made(values).requires_grad_()


@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("include_self", [True, False])
def test_scatter_reduce_derivatives(reduce, include_self):
    if laws.simulated():
        pytest.skip("the CPU's are checked by differences, the device's by samples")
    index = long([[0, 1], [0, 1], [2, 2]])
    x, src = leaf(3, 2), leaf(3, 2, seed=2)

    def call(x, src):
        return (x * 1).scatter_reduce_(0, index, src, reduce, include_self=include_self)

    assert nt.autograd.gradcheck(call, (x, src))
    assert nt.autograd.gradgradcheck(call, (x, src))


def test_the_gradient_of_a_product_with_zeros():
    x = laws.made(np.array([2.0, 0.0, 3.0])).requires_grad_()
    src = laws.made(np.array([0.0, 5.0, 7.0, 0.0, 0.0])).requires_grad_()
    x.scatter_reduce(0, long([0, 0, 1, 2, 2]), src, "prod").sum().backward()
    assert x.grad.tolist() == [0.0, 7.0, 0.0]
    assert src.grad.tolist() == [10.0, 0.0, 0.0, 0.0, 0.0]


def test_equal_extremes_share_the_gradient():
    x = laws.made(np.array([1.0, 5.0])).requires_grad_()
    src = laws.made(np.array([1.0, 1.0, 0.0])).requires_grad_()
    x.scatter_reduce(0, long([0, 0, 0]), src, "amax").sum().backward()
    laws.assert_close(laws.numpy_of(x.grad), np.array([1 / 3, 1.0]), 1e-12)
    laws.assert_close(laws.numpy_of(src.grad), np.array([1 / 3, 1 / 3, 0.0]), 1e-12)


def test_changes_in_place_are_recorded():
    if laws.simulated():
        pytest.skip("the CPU's are checked by differences, the device's by samples")
    i = long([2, 0, 2])
    mask = laws.made(np.array([True, False, True]))
    x, v, w = leaf(3, 2), leaf(3, 2, seed=2), leaf(2, seed=3)
    calls = [
        lambda x, v, w: (x * x).index_add_(0, i, v * v, alpha=2.0),
        lambda x, v, w: (x * x).index_copy_(0, i[:2], v[:2] * v[:2]),
        lambda x, v, w: (x * x).index_fill_(0, i[:2], w[0] * w[0]),
        lambda x, v, w: (x * x).scatter_(0, i[:2, None], v * v),
        lambda x, v, w: (x * x).scatter_add_(0, i[:, None], v * v),
        lambda x, v, w: (x * x).masked_fill_(mask[:, None], w[0] * w[0]),
        lambda x, v, w: (x * x).masked_scatter_(mask[:, None], v * v),
        lambda x, v, w: (x * x).put_(i[:2], w * w),
        lambda x, v, w: (x * x).t().put_(i, v[:, 0] * v[:, 0], accumulate=True),
        lambda x, v, w: (x * x).index_reduce_(0, i, v, "mean"),
        lambda x, v, w: (x * x).take(i) * w.sum() * v[:, 0],
        lambda x, v, w: nt.take_along_dim(x * x, i[:, None], 0) * v * w,
        lambda x, v, w: (x * x).masked_select(mask[:, None]) * w.repeat(2) + v.sum(),
    ]
    for k, call in enumerate(calls):

        def whole(*args, call=call):
            return call(*args) ** 2

        assert nt.autograd.gradcheck(whole, (x, v, w)), k
        assert nt.autograd.gradgradcheck(whole, (x, v, w)), k


def test_a_view_changed_by_a_mask_changes_its_base():
    x, v = leaf(2, 3), leaf(2)
    y = x.clone()
    mask = laws.made(np.array([True, False, True]))
    y[0].masked_scatter_(mask, v)
    y[:, 1].masked_fill_(mask[:2], 9.0)
    (y * laws.made(np.arange(1.0, 7.0).reshape(2, 3))).sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0, 0.0], [4.0, 5.0, 6.0]]
    assert v.grad.tolist() == [1.0, 3.0]


def test_leaves_and_expanded_targets_are_refused():
    x = leaf(3)
    with pytest.raises(AutogradError, match="leaf Variable"):
        x.scatter_(0, long([0]), 1.0)
    with pytest.raises(AutogradError, match="leaf Variable"):
        x.masked_scatter_(x > 0, x)
    with pytest.raises(ShapeError, match="single memory location"):
        laws.made(np.zeros(1)).expand(3).index_fill_(0, long([0]), 1.0)


def test_operands_that_share_memory():
    x = laws.made(np.arange(4.0))
    x.index_add_(0, long([3, 2, 1, 0]), x)
    assert x.tolist() == [3.0, 3.0, 3.0, 3.0]
    x = laws.made(np.arange(4.0))
    x.masked_scatter_(x >= 0, x.flip(0))
    assert x.tolist() == [3.0, 2.0, 1.0, 0.0]
    x[1:].masked_scatter_(x[1:] >= 0, x[:-1])
    assert x.tolist() == [3.0, 3.0, 2.0, 1.0]
    i = long([1, 0])
    i.scatter_(0, i, i)
    assert i.tolist() == [0, 1]
    i.put_(i, i + 5)
    assert i.tolist() == [5, 6]


# masks


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_masks_of_many_chunks(share):
    count = 300 if laws.simulated() else 200_000
    rng = np.random.default_rng(4)
    array = rng.normal(size=count)
    mask = rng.uniform(size=count) < share
    x, m = laws.made(array), laws.made(mask)
    laws.assert_same(laws.numpy_of(x[m]), array[mask])
    laws.assert_same(laws.numpy_of(m.nonzero()), np.argwhere(mask))
    folded = m.reshape(4, -1)
    laws.assert_same(laws.numpy_of(folded.nonzero()), np.argwhere(mask.reshape(4, -1)))
    values = laws.made(np.arange(float(count)))
    expected = array.copy()
    expected[mask] = np.arange(mask.sum())
    laws.assert_same(laws.numpy_of(x.masked_scatter(m, values)), expected)


def test_nonzero_in_all_forms():
    x = laws.made(np.array([[0.0, 2.0], [np.nan, -0.0]]))
    assert x.nonzero().tolist() == [[0, 1], [1, 0]]
    rows, columns = x.nonzero(as_tuple=True)
    assert rows.tolist() == [0, 1] and columns.tolist() == [1, 0]
    assert [t.tolist() for t in nt.where(x)] == [[0, 1], [1, 0]]
    assert x[nt.where(x > 1)].tolist() == [2.0]
    assert nt.argwhere(x).tolist() == [[0, 1], [1, 0]]
    scalar = laws.made(np.array(1.0))
    assert scalar.nonzero().shape == (1, 0)
    assert [t.tolist() for t in scalar.nonzero(as_tuple=True)] == [[0]]
    assert nt.zeros(0, 3, device=laws.DEVICE).nonzero().shape == (0, 2)
    assert x.t().nonzero().tolist() == [[0, 1], [1, 0]]


def test_masks_broadcast():
    array = np.arange(6.0).reshape(2, 3)
    x, m = laws.made(array), laws.made(np.array([True, False, True]))
    assert x.masked_select(m).tolist() == [0.0, 2.0, 3.0, 5.0]
    assert x[0].masked_select(m.expand(2, 3)).tolist() == [0.0, 2.0, 0.0, 2.0]
    assert x.masked_fill(m, -1).tolist() == [[-1, 1, -1], [-1, 4, -1]]
    assert x[0].masked_fill(m.expand(2, 3), -1).shape == (2, 3)
    assert x.masked_scatter(m, x + 10).tolist() == [[10, 1, 11], [12, 4, 13]]
    with pytest.raises(ShapeError, match="doesn't match the broadcast shape"):
        x[0].masked_fill_(m.expand(2, 3), -1)
    with pytest.raises(ShapeError):
        x.masked_fill_(m[:2], -1)


def test_one_hot():
    i = long([[0, 2], [1, 1]])
    expected = np.eye(3, dtype=np.int64)[laws.numpy_of(i)]
    laws.assert_same(laws.numpy_of(F.one_hot(i)), expected)
    assert F.one_hot(i, num_classes=5).shape == (2, 2, 5)
    assert F.one_hot(long(1), 3).tolist() == [0, 1, 0]
    assert F.one_hot(long([]), 4).shape == (0, 4)


def test_take_along_dim_broadcasts(rng):
    array = rng.normal(size=(3, 4))
    x = laws.made(array)
    order = np.argsort(array, 1)
    found = nt.take_along_dim(x, long(order), 1)
    laws.assert_same(laws.numpy_of(found), np.sort(array, 1))
    assert nt.take_along_dim(x, long([[-1]]), 1).tolist() == array[:, -1:].tolist()
    assert nt.take_along_dim(x, long([[1, 1, 0, 2], [0, 0, 0, 0]]), 0).shape == (2, 4)
    assert (
        nt.take_along_dim(x, long([1, 11])).tolist()
        == array.reshape(-1)[[1, 11]].tolist()
    )


FAULTS = [
    (lambda x: x.gather(0, long([[3]])), DimError,
     "index 3 is out of bounds for dimension 0 with size 3"),
    (lambda x: x.gather(1, long([[-1]])), DimError,
     "index -1 is out of bounds for dimension 1 with size 4"),
    (lambda x: x.gather(0, long([[0]]).short()), DTypeError,
     "gather(): Expected dtype int32/int64 for index"),
    (lambda x: x.gather(0, long([0])), ShapeError,
     "Index tensor must have the same number of dimensions as input tensor"),
    (lambda x: x.gather(0, long([[0] * 5])), ShapeError,
     "Size does not match at dimension 1 expected index [1, 5] to be no larger than "
     "self [3, 4] apart from dimension 0"),
    (lambda x: x.gather(2, long([[0]])), DimError, "Dimension out of range"),
    (lambda x: x.gather(0, [[0]]), DTypeError, "must be Tensor, not list"),
    (lambda x: x.scatter_(0, long([[0, 3]]), 1.0), DimError,
     "index 3 is out of bounds for dimension 0 with size 3"),
    (lambda x: x.scatter_(0, long([[0] * 5]), x), ShapeError,
     "Expected index [1, 5] to be no larger than self [3, 4] apart from dimension 0 "
     "and to be no larger size than src [3, 4]"),
    (lambda x: x.scatter_(0, long([[0, 0]]), x[:, :1]), ShapeError,
     "no larger size than src [3, 1]"),
    (lambda x: x.scatter_(0, long([[0]]), x.float()), DTypeError,
     "scatter(): Expected self.dtype to be equal to src.dtype"),
    (lambda x: x.scatter_(0, long([[0]]), x[0]), ShapeError,
     "same number of dimensions as src tensor"),
    (lambda x: x.scatter_(0, long([0]), 1.0), ShapeError,
     "same number of dimensions as self tensor"),
    (lambda x: x.scatter_(0, long([[0]]), x, reduce="mean"), ShapeError,
     "reduce argument must be either add or multiply"),
    (lambda x: x.scatter_(0, long([[0]])), TypeError, "src or value"),
    (lambda x: x.scatter_reduce_(0, long([[0]]), x, "max"), ShapeError,
     "reduce argument must be either sum, prod, mean, amax or amin, got max"),
    (lambda x: x.scatter_reduce_(0, long([[5]]), x, "sum", include_self=False),
     DimError, "index 5 is out of bounds"),
    (lambda x: x.index_select(0, long([3])), DimError, "index out of range in self"),
    (lambda x: x.index_select(0, long([-1])), DimError, "index out of range in self"),
    (lambda x: x.index_select(0, long([[0]])), DimError,
     "index_select(): Index is supposed to be a vector"),
    (lambda x: x.index_select(0, x[0]), DTypeError,
     "index_select(): Expected dtype int32 or int64 for index"),
    (lambda x: x.sum().index_select(0, long([0, 0])), ShapeError,
     "Index to scalar can have only 1 value, got 2 value(s)"),
    (lambda x: x.index_add_(0, long([0, 3]), x[:2]), DimError, "index 3 is out of"),
    (lambda x: x.index_add_(0, long([0, 1]), x), DimError,
     "Number of indices (2) should be equal to source.size(dim): (3), for dim: 0"),
    (lambda x: x.index_add_(0, long([0, 1]), x[:2, :3]), ShapeError,
     "Got self.shape = [3, 4] source.shape = [2, 3]"),
    (lambda x: x.index_add_(0, long([0]), x[:1].float()), DTypeError,
     "index_add_(): self (Double) and source (Float) must have the same scalar type"),
    (lambda x: x.index_copy_(0, long([3]), x[:1]), DimError,
     "index_copy_(): index 3 is out of bounds for dimension 0 with size 3"),
    (lambda x: x.index_copy_(0, long([0]), x), DimError,
     "Number of indices (1) should be equal to source.size(dim) (3)"),
    (lambda x: x.index_fill_(0, long([0]), x[0]), ShapeError,
     "index_fill_ only supports a 0-dimensional value tensor, but got tensor with 1"),
    (lambda x: x.index_fill_(0, long([0]).int(), 1), DTypeError,
     "index_fill_(): Expected dtype int64 for index"),
    (lambda x: x.index_reduce_(0, long([0]), x[:1], "sum"), ShapeError,
     "Expected reduce to be one of prod, mean, amax or amin but got sum"),
    (lambda x: x.take(long([12])), DimError,
     "out of range: tried to access index 12 on a tensor of 12 elements"),
    (lambda x: x.take(long([1]).int()), DTypeError,
     "take(): Expected a long tensor for index, but got Int"),
    (lambda x: x.put_(long([0, 12]), x[0, :2]), DimError, "tried to access index 12"),
    (lambda x: x.put_(long([0]), x[0]), DimError,
     "source.numel() = 4, index.numel() = 1"),
    (lambda x: x.put_(long([0]), x[0, :1].float()), DTypeError,
     "got self.dtype = Double and source.dtype = Float"),
    (lambda x: nt.take_along_dim(x, long([1]), 0), ShapeError,
     "2 dimensions for input, and 1 dimensions for indices"),
    (lambda x: nt.take_along_dim(x, x, 0), DTypeError,
     "dtype of indices should be Long but got Double"),
    (lambda x: x.masked_select(long([1, 0, 0, 1])), DTypeError,
     "masked_select: expected BoolTensor for mask"),
    (lambda x: x.masked_select(x[:, :3] > 0), ShapeError, "must match the size of"),
    (lambda x: x.masked_fill_(long([1, 0, 0, 1]), 0), DTypeError,
     "masked_fill_ only supports boolean masks, but got mask with dtype long int"),
    (lambda x: x.masked_fill_(x > 0, x[0]), ShapeError,
     "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with 1"),
    (lambda x: x.masked_scatter_(x >= 0, x[0]), ShapeError,
     "Number of elements of source < number of ones in mask"),
    (lambda x: x.masked_scatter_(x > 0, x.float()), DTypeError,
     "expected self and source to have same dtypes but got Double and Float"),
    (lambda x: F.one_hot(long([0, -1])), ShapeError,
     "Class values must be non-negative"),
    (lambda x: F.one_hot(long([0, 3]), 3), ShapeError,
     "Class values must be smaller than num_classes"),
    (lambda x: F.one_hot(long([0]).int()), DTypeError,
     "one_hot is only applicable to index tensor of type LongTensor"),
    (lambda x: F.one_hot(long([])), ShapeError,
     "Can not infer total number of classes from empty tensor"),
]  # fmt: skip


@pytest.mark.parametrize(("act", "kind", "text"), FAULTS)
def test_faults_say_what_and_change_nothing(act, kind, text):
    values = np.arange(12.0).reshape(3, 4)
    x = laws.made(values)
    with pytest.raises(kind) as caught:
        act(x)
    assert text in str(caught.value)
    laws.assert_same(laws.numpy_of(x), values)


def test_devices_are_not_mixed():
    if laws.DEVICE == "cpu":
        pytest.skip("needs a device")
    x = laws.made(np.zeros((3, 2)))
    for act in (
        lambda: x.gather(0, nt.tensor([[0]])),
        lambda: x.index_select(0, nt.tensor([0])),
        lambda: x.scatter(0, long([[0]]), nt.zeros(1, 1, dtype=nt.float64)),
        lambda: x.masked_select(nt.ones(3, 2) > 0),
    ):
        with pytest.raises(RuntimeError, match="same device"):
            act()


@pytest.mark.parametrize("reduce", ["sum", "mean", "amax"])
def test_an_index_that_is_the_target(reduce):
    x, src = long([1, 0, 2]), long([5, 6, 7])
    x.scatter_reduce_(0, x, src, reduce, include_self=False)
    assert laws.numpy_of(x).tolist() == [6, 5, 7]
    x = long([1, 0, 2])
    x.scatter_(0, x, x)
    assert laws.numpy_of(x).tolist() == [0, 1, 2]


def test_an_index_that_is_no_tensor():
    with pytest.raises(DTypeError, match="'index' must be Tensor, not list"):
        nt.zeros(3, device=laws.DEVICE).scatter_(0, [0], 1.0, reduce="add")
