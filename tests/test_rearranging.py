"""Elements in other places: values, layouts, no elements, no dims, refusals."""

from __future__ import annotations

import laws
import numpy as np
import pytest

import numtensor as nt
from numtensor.errors import DimError, DTypeError, ShapeError

#: (call of an nt tensor or function, the same in NumPy, shape)
SAME = {
    "flip": (lambda x: x.flip(0, -1), lambda x: np.flip(x, (0, 2)), (2, 3, 4)),
    "flip outer": (lambda x: x.flip(1), lambda x: np.flip(x, 1), (2, 3, 4)),
    "flip nothing": (lambda x: x.flip(()), lambda x: x, (2, 3)),
    "fliplr": (nt.fliplr, np.fliplr, (2, 3)),
    "flipud": (nt.flipud, np.flipud, (3,)),
    "roll": (lambda x: x.roll((1, -2), (0, 1)), lambda x: np.roll(x, (1, -2), (0, 1)),
             (2, 3)),
    "roll twice": (lambda x: x.roll((1, 2), (1, 1)), lambda x: np.roll(x, 3, 1),
                   (2, 4)),
    "roll flat": (lambda x: x.roll(7), lambda x: np.roll(x, 7), (2, 3)),
    "rot90": (lambda x: x.rot90(), np.rot90, (2, 3)),
    "rot90 back": (lambda x: x.rot90(-1, (1, 2)), lambda x: np.rot90(x, -1, (1, 2)),
                   (2, 3, 2)),
    "rot90 twice": (lambda x: x.rot90(6), lambda x: np.rot90(x, 2), (2, 3)),
    "repeat": (lambda x: x.repeat(2, 1, 3), lambda x: np.tile(x, (2, 1, 3)), (2, 3)),
    "repeat none": (lambda x: x.repeat(0, 2), lambda x: np.tile(x, (0, 2)), (2, 3)),
    "tile": (lambda x: x.tile(2), lambda x: np.tile(x, 2), (2, 3)),
    "interleave": (lambda x: x.repeat_interleave(2), lambda x: np.repeat(x, 2), (2, 3)),
    "interleave dim": (lambda x: x.repeat_interleave(3, -1),
                       lambda x: np.repeat(x, 3, -1), (2, 3)),
    "interleave counts": (lambda x: x.repeat_interleave(nt.tensor([2, 0, 1]), 1),
                          lambda x: np.repeat(x, [2, 0, 1], 1), (2, 3)),
    "tril": (lambda x: x.tril(-1), lambda x: np.tril(x, -1), (2, 3, 3)),
    "triu": (lambda x: x.triu(1), lambda x: np.triu(x, 1), (2, 4)),
    "diag": (lambda x: x.diag(-2), lambda x: np.diag(x, -2), (3,)),
    "diag of": (lambda x: x.diag(1), lambda x: np.diag(x, 1), (3, 4)),
    "diag of none": (lambda x: x.diag(4), lambda x: np.diag(x, 4), (3, 4)),
    "diagflat": (lambda x: x.diagflat(1), lambda x: np.diagflat(x, 1), (2, 2)),
    "trace": (lambda x: x.trace(), np.trace, (2, 3)),
    "unfold": (lambda x: x.unfold(0, 2, 2),
               lambda x: np.stack([x[0:2], x[2:4]]).transpose(0, 2, 1), (5, 3)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
@pytest.mark.parametrize("name", SAME)
def test_as_numpy(name, dtype, device):
    call, reference, shape = SAME[name]
    array = (np.arange(np.prod(shape)).reshape(shape) % 7).astype(dtype)
    got, expected = call(laws.made(array)), reference(array)
    assert tuple(got.shape) == np.shape(expected)
    np.testing.assert_array_equal(laws.numpy_of(got), expected)


@pytest.mark.parametrize("layout", [*laws.LAYOUTS, "expanded"])
@pytest.mark.parametrize("name", SAME)
def test_layouts(name, layout):
    call, reference, shape = SAME[name]
    array = np.arange(np.prod(shape), dtype="float64").reshape(shape)
    if layout == "expanded":
        array = np.broadcast_to(array[:1], shape)
        x = nt.tensor(array[:1].copy()).expand(shape)
    else:
        x = laws.LAYOUTS[layout](array)
    np.testing.assert_array_equal(call(x).numpy(), reference(array))


EMPTY = [
    (lambda x: x.flip(0), (0, 3)), (lambda x: x.roll(1, 0), (0, 3)),
    (lambda x: x.roll(5), (0, 3)), (lambda x: x.repeat(2, 2), (0, 6)),
    (lambda x: x.repeat_interleave(2, 1), (0, 6)), (lambda x: x.rot90(), (3, 0)),
    (lambda x: x.triu(), (0, 3)), (lambda x: x.diag(), (0,)),
    (lambda x: x.diag_embed(), (0, 3, 3)), (lambda x: x.unfold(0, 0, 1), (1, 3, 0)),
    (lambda x: x.repeat_interleave(nt.tensor([], dtype=nt.int64), 0), (0, 3)),
    (lambda x: nt.block_diag(x, nt.ones(1, 1)), (1, 4)),
]  # fmt: skip


@pytest.mark.parametrize("call, shape", EMPTY, ids=range(len(EMPTY)))
def test_no_elements(call, shape):
    assert call(nt.ones(0, 3)).shape == shape


def test_no_dims(device):
    x = laws.made(np.float64(3.0))
    for same in (x.flip(0), x.flip([]), x.roll(1), x.tile(())):
        assert same.shape == () and same.item() == 3.0
        assert same.data_ptr() != x.data_ptr()
    assert x.repeat(2, 1).tolist() == [[3.0], [3.0]]
    assert x.repeat_interleave(2).tolist() == [3.0, 3.0]
    assert x.unfold(0, 1, 1).tolist() == [3.0]
    assert x.diagflat(1).tolist() == [[0.0, 3.0], [0.0, 0.0]]
    assert nt.block_diag(x, x).tolist() == [[3.0, 0.0], [0.0, 3.0]]


def test_float16_moves():
    x = nt.tensor([[1.0, -0.0], [float("inf"), 0.5]], dtype=nt.float16)
    np.testing.assert_array_equal(x.flip(1).numpy(), np.flip(x.numpy(), 1))


def test_meshgrid():
    a, b, c = nt.arange(2), nt.arange(3), nt.arange(4)
    for indexing in ("ij", "xy"):
        for given in ((a,), (a, b), (a, b, c)):
            found = nt.meshgrid(*given, indexing=indexing)
            arrays = [x.numpy() for x in given]
            expected = np.meshgrid(*arrays, indexing=indexing)
            for x, y in zip(found, expected, strict=True):
                np.testing.assert_array_equal(x.numpy(), y)
            assert found[0].data_ptr() == a.data_ptr()


def test_block_diag():
    blocks = nt.ones(2, 1), nt.tensor([2.0, 3.0]), nt.tensor(4.0)
    assert nt.block_diag(*blocks).tolist() == [
        [1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0],
        [0.0, 2.0, 3.0, 0.0], [0.0, 0.0, 0.0, 4.0],
    ]  # fmt: skip
    assert nt.block_diag().shape == (1, 0)


def test_counts_give_indices():
    counts = nt.tensor([1, 0, 2], dtype=nt.int32)
    found = nt.repeat_interleave(counts, output_size=3)
    assert found.dtype is nt.int32 and found.tolist() == [0, 2, 2]


def test_fill_diagonal():
    x = nt.zeros(3, 3, 3).fill_diagonal_(7)
    assert x.sum() == 21 and [x[k, k, k].item() for k in range(3)] == [7.0] * 3
    for shape, wrap in (
        ((7, 3), True),
        ((8, 3), True),
        ((4, 3), True),
        ((2, 4), False),
    ):
        expected = np.zeros(shape)
        np.fill_diagonal(expected, 7, wrap)
        got = nt.zeros(shape).fill_diagonal_(7, wrap=wrap)
        np.testing.assert_array_equal(got.numpy(), expected)


def test_in_place_forms():
    x = nt.arange(9.0).reshape(3, 3)
    at = x.data_ptr()
    assert x.tril_(1) is x and x.triu_() is x and x.data_ptr() == at
    assert x.tolist() == [[0.0, 1.0, 0.0], [0.0, 4.0, 5.0], [0.0, 0.0, 8.0]]
    y = nt.tensor([float("nan"), 0.5, float("-inf")])
    assert y.nan_to_num_(0.25, neginf=0.75) is y and y.tolist() == [0.25, 0.5, 0.75]
    y.logit_()
    assert y[1].item() == 0.0 and y[0].item() == pytest.approx(-np.log(3))


VIEWS = [
    (lambda x: x.unsqueeze_(-1), (2, 1, 3, 1)), (lambda x: x.squeeze_(), (2, 3)),
    (lambda x: x.squeeze_((0, 1)), (2, 3)), (lambda x: x.transpose_(0, 2), (3, 1, 2)),
    (lambda x: x.swapaxes_(0, 1), (1, 2, 3)), (lambda x: x.swapdims_(1, 2), (2, 3, 1)),
    (lambda x: x.squeeze_(1).t_(), (3, 2)),
]  # fmt: skip


@pytest.mark.parametrize("call, shape", VIEWS, ids=range(len(VIEWS)))
def test_a_tensor_becomes_its_view(call, shape):
    x = nt.arange(6.0).reshape(2, 1, 3)
    expected = x.clone()
    assert call(x) is x and x.shape == shape
    assert x.untyped_storage().nbytes() == 24
    assert x.sum() == expected.sum() and sorted(x.flatten().tolist()) == [
        *map(float, range(6))
    ]


def test_becoming_a_view_is_differentiable():
    leaf = nt.arange(6.0).reshape(2, 3).requires_grad_()
    y = leaf * 2
    y.t_().unsqueeze_(0)
    (y[0, 0] * nt.tensor([1.0, 10.0])).sum().backward()
    assert leaf.grad.tolist() == [[2.0, 0.0, 0.0], [20.0, 0.0, 0.0]]
    with pytest.raises(
        RuntimeError, match=r"a leaf Variable that requires grad.*x\.t\(\)"
    ):
        leaf.t_()


m = nt.ones(2, 3)
REFUSED = [
    (lambda: m.flip(), DTypeError, "flip() missing 1 required argument"),
    (lambda: m.flip(0, -2), ShapeError, "dim 0 appears multiple times"),
    (lambda: m.flip(2), DimError, "Dimension out of range"),
    (lambda: nt.tensor(1.0).flip(1), DimError, "Dimension out of range"),
    (lambda: nt.ones(3).fliplr(), ShapeError, "Input must be >= 2-d."),
    (lambda: nt.tensor(1.0).flipud(), ShapeError, "Input must be >= 1-d."),
    (lambda: m.rot90(1, [0]), ShapeError, "total rotation dims == 2, but got dims = 1"),
    (lambda: m.rot90(1, [0, -2]), ShapeError, "dims to be different, but got dim0 = 0"),
    (lambda: nt.ones(3).rot90(), ShapeError, "total dims >= 2, but got total dims = 1"),
    (lambda: m.rot90(1, (0, 2)), DimError, "Dimension out of range"),
    (lambda: m.roll(()), ShapeError, "`shifts` required"),
    (lambda: m.roll(1.5), DTypeError, "1.5 of type float; expected an integer"),
    (lambda: m.roll((1, 2), 0), ShapeError, "must align. shifts: 2, dims:1"),
    (lambda: m.roll((1, 2)), ShapeError, "must align. shifts: 2, dims:0"),
    (lambda: nt.tensor(1.0).roll(1, 0), DimError, "0 but tensor has no dimensions"),
    (lambda: m.repeat(2), ShapeError, "can not be smaller than number of dimensions"),
    (lambda: m.repeat(-1, 1), ShapeError, "create tensor with negative dimension"),
    (lambda: m.repeat(1.5, 1), DTypeError, "expected an integer"),
    (lambda: m.tile(), DTypeError, "tile() missing 1 required argument"),
    (lambda: m.repeat_interleave(-1), ShapeError, "Repeats must be non-negative"),
    (lambda: m.repeat_interleave(nt.tensor([1, 2]), 1), ShapeError,
     "repeats.size(0) = 2 and input.size(1) = 3"),
    (lambda: m.repeat_interleave(nt.tensor([1, -2]), 0), ShapeError, "not be negative"),
    (lambda: m.repeat_interleave(nt.tensor([1.0, 2.0]), 0), DTypeError, "torch.int64"),
    (lambda: m.repeat_interleave(nt.ones(1, 2), 0), ShapeError, "0-dim or 1-dim"),
    (lambda: m.repeat_interleave(2, 1, output_size=7), ShapeError, "expected 6 but"),
    (lambda: nt.repeat_interleave(nt.ones(2, 2)), ShapeError, "only accept 1D vector"),
    (lambda: nt.repeat_interleave(nt.tensor([1, 2]), output_size=9), ShapeError,
     "allocated size does not match required size"),
    (lambda: m.unfold(0, 3, 1), ShapeError, "dimension 0 is 2 but size is 3"),
    (lambda: m.unfold(0, 1, 0), ShapeError, "step is 0 but must be > 0"),
    (lambda: m.unfold(0, -1, 1), ShapeError, "size is -1 but must be >= 0"),
    (lambda: nt.ones(3).tril(), ShapeError, "must have at least 2 dimensions"),
    (lambda: nt.ones(2, 2, 2).diag(), ShapeError, "Supports 1D or 2D tensors. Got 3D"),
    (lambda: m.diag_embed(0, 1, 1), DimError, "cannot be identical 1, 1"),
    (lambda: nt.ones(3).trace(), ShapeError, "expected a matrix, but got tensor with"),
    (lambda: nt.block_diag(m, 3), DTypeError, "a int; expected Tensors"),
    (lambda: nt.block_diag(m, nt.ones(1, 1, 1)), ShapeError, "Input 1 has 3 dim"),
    (lambda: nt.meshgrid(m), ShapeError, "Expect a 1D vector, but got shape [2, 3]"),
    (lambda: nt.meshgrid(), ShapeError, "meshgrid expects a non-empty TensorList"),
    (lambda: nt.meshgrid(nt.ones(2), 3), DTypeError, "a int; expected Tensors"),
    (lambda: nt.meshgrid(nt.ones(2), nt.arange(2)), DTypeError, "the same dtype"),
    (lambda: nt.combinations(m), ShapeError, "Expect a 1D vector, but got shape"),
    (lambda: nt.combinations(m[0], -1), ShapeError, "non-negative number, but got -1"),
    (lambda: nt.tril_indices(-1, 2), ShapeError, "row must be non-negative, got -1"),
    (lambda: nt.hstack([]), ShapeError, "hstack expects a non-empty TensorList"),
    (lambda: nt.vstack(m), ShapeError, "a Tensor; expected a tuple or list of tensors"),
    (lambda: nt.tensor(1.0).tensor_split(1), ShapeError, "at least a 1-dimensional"),
    (lambda: m.tensor_split(0), ShapeError, "must be larger than 0, got 0"),
    (lambda: m.hsplit(2), ShapeError, "3 is not divisible by the split_size 2!"),
    (lambda: nt.ones(3).vsplit(1), ShapeError, "but got a tensor with 1 dimensions!"),
    (lambda: nt.ones(2).fill_diagonal_(1), ShapeError, "must larger than 1"),
    (lambda: nt.ones(2, 2, 3).fill_diagonal_(1), ShapeError, "be of equal length"),
    (lambda: nt.broadcast_shapes((-1,)), ShapeError, "with negative length!"),
    (lambda: nt.positive(m > 0), DTypeError, "on a bool tensor is not supported"),
    (lambda: nt.cdist(m, nt.ones(2, 2)), ShapeError, "of columns. X1: 3 X2: 2"),
    (lambda: nt.cdist(m, m, p=-1), ShapeError, "only supports non-negative p values"),
    (lambda: nt.cov(m, fweights=nt.tensor([1, 2])), ShapeError, "got 2 != 3"),
    (lambda: nt.cov(m, fweights=nt.tensor([1, -2, 1])), ShapeError, "be negative"),
    (lambda: nt.cov(m, aweights=nt.tensor([1, 2, 1])), DTypeError, "floating point"),
]  # fmt: skip


@pytest.mark.parametrize("call, kind, text", REFUSED, ids=range(len(REFUSED)))
def test_refused(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


#: calls as text, T being the library, x of shape (2, 3), v of shape (4,)
CALLS = [
    "x.t().flip(0)", "x.rot90(5, [1, 0])", "x.repeat([2, 1])", "T.roll(x, 1, -1)",
    "T.repeat_interleave(x, T.tensor([2]), dim=1)", "x.diag_embed(-1, 0, 2)",
    "T.repeat_interleave(T.tensor([1, 0, 3]))", "x.unfold(1, 2, 1).unfold(0, 1, 1)",
    "(x * float('nan')).tril()", "x.diag_embed(1, 2, 0)", "T.diag(x, 5 - 2)",
    "T.cartesian_prod(v, x[0])", "T.cartesian_prod(v)", "T.combinations(v, 3)",
    "T.combinations(v, 2, True)", "T.combinations(v, 0)", "T.triu_indices(3, 4, -1)",
    "T.tril_indices(3, 4, dtype=T.int32)", "T.hstack([x[0], v])", "T.dstack([v, v])",
    "T.column_stack([v, T.ones(4, 2)])", "T.vstack([x[0], x])", "x.hsplit((1, 2))[1]",
    "T.tensor_split(v, 3)[0]", "T.tensor_split(v, (3, 1))[1]", "v.tensor_split(9)[8]",
    "T.tensor_split(v, T.tensor([1, 3]))[1]", "T.atleast_3d(x)", "T.cov(x)",
    "T.cov(x, fweights=T.tensor([1, 2, 1]), aweights=T.tensor([1.0, 2.0, 3.0]))",
    "T.corrcoef(x)", "T.cdist(x, x + 1, p=1)", "T.norm(x, 3, dim=(0, 1), keepdim=True)",
    "T.dist(x, x[0], 0)", "T.aminmax(x, dim=1)[1]", "T.nanmean(x, 1)",
]  # fmt: skip


@pytest.mark.torch
@pytest.mark.parametrize("call", CALLS)
def test_beside_pytorch(call):
    torch = pytest.importorskip("torch")
    results = []
    for T in (nt, torch):
        x = T.arange(6.0).reshape(2, 3) ** 2
        results.append(eval(call, {"T": T, "x": x, "v": T.arange(4.0)}))
    got, expected = results
    assert str(got.dtype) == str(expected.dtype) and got.shape == expected.shape
    np.testing.assert_allclose(got.numpy(), expected.numpy(), 1e-5)
