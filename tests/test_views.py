"""Views as a user sees them: shared storage, strides, writes that show in the base."""

from __future__ import annotations

import pytest
import recorded

import numtensor as nt
from numtensor.errors import AutogradError, DimError, DTypeError, ShapeError


@pytest.mark.parametrize("expression, expected", recorded.lines("views"))
def test_layout_is_pytorchs(expression, expected):
    recorded.check(expression, expected, nt)


@pytest.mark.parametrize("expression, expected", recorded.lines("items"))
def test_indexing_is_pytorchs(expression, expected):
    recorded.check(expression, expected, nt)


@pytest.fixture
def points():
    return nt.tensor([[4.0, 1.0], [5.0, 3.0], [2.0, 1.0]])


class TestStorage:
    """The storage, offset and strides of points in the plane, as the book tells it."""

    def test_lists_the_elements_in_a_row(self, points):
        assert list(points.storage()) == [4.0, 1.0, 5.0, 3.0, 2.0, 1.0]
        assert len(points.storage()) == 6 and points.storage()[2] == 5.0

    def test_second_point(self, points):
        second = points[1]
        assert second.storage_offset() == 2
        assert second.size() == nt.Size([2]) and second.stride() == (1,)
        assert len(second.storage()) == 6

    def test_writing_the_storage_writes_the_tensor(self, points):
        points.storage()[0] = 2.0
        assert points[0].tolist() == [2.0, 1.0]

    def test_views_have_one_storage(self, points):
        for view in (points.t(), points[1:], points.view(6), points[:, None]):
            assert view.storage().data_ptr() == points.storage().data_ptr()
            assert view.untyped_storage().data_ptr() == points.data_ptr()
        assert points[1].data_ptr() == points.data_ptr() + 8

    def test_copies_have_their_own(self, points):
        for copy in (points.clone(), points.t().contiguous(), points.t().reshape(-1)):
            assert copy.data_ptr() != points.data_ptr()
            copy.zero_()
        assert points.sum() == 16.0

    def test_contiguous_of_contiguous_is_itself(self, points):
        assert points.contiguous() is points
        assert not points.t().is_contiguous()
        assert list(points.t().contiguous().storage()) == [4, 5, 2, 1, 3, 1]

    def test_a_view_outlives_its_base(self):
        row = nt.arange(1000.0).view(10, 100)[7]
        others = [nt.zeros(1000) for _ in range(5)]
        assert row[0] == 700.0 and len(others) == 5

    def test_index_out_of_range(self, points):
        with pytest.raises(DimError):
            points.storage()[6]


class TestWritesThroughViews:
    def test_show_in_the_base(self, points):
        points[1][0] = 10.0
        points.t()[1, 2] = 20.0
        points[:, 0].add_(1)
        assert points.tolist() == [[5.0, 1.0], [11.0, 3.0], [3.0, 20.0]]

    def test_show_in_other_views(self, points):
        turned, flat = points.t(), points.view(-1)
        points.fill_(7)
        assert turned.tolist() == [[7.0] * 3] * 2 and flat.tolist() == [7.0] * 6

    def test_pieces_and_diagonals(self):
        x = nt.zeros(4, 4)
        x.diagonal().fill_(1)
        x.split(2)[1].mul_(5)
        x.unbind(1)[0].add_(2)
        x.narrow(1, 3, 1).sub_(1)
        assert x.tolist() == [[3, 0, 0, -1], [2, 1, 0, -1], [2, 0, 5, -1], [2, 0, 0, 4]]

    def test_overlapping_copy_within_a_tensor(self):
        x = nt.arange(6.0)
        y = x.clone()
        y[:3] = x[3:]
        assert y.tolist() == [3, 4, 5, 3, 4, 5]

    def test_setting_broadcasts_and_casts(self):
        x = nt.zeros(2, 3, dtype=nt.int64)
        x[:, 1:] = nt.tensor([1.9, 2.9])
        assert x.tolist() == [[0, 1, 2], [0, 1, 2]]
        x[0] = 9.7
        assert x.tolist() == [[9, 9, 9], [0, 1, 2]]

    def test_gradient_of_what_was_overwritten_is_zero(self):
        leaf = nt.ones(3, requires_grad=True)
        x = leaf * 2
        x[1] = 5.0
        x.sum().backward()
        assert leaf.grad.tolist() == [2.0, 0.0, 2.0]

    def test_none_adds_a_dim(self, points):
        assert points[None].shape == (1, 3, 2)
        points[None][0, 0, 0] = 8.0
        assert points[0, 0] == 8.0


def grad_of(view):
    x = nt.arange(12.0).reshape(3, 4).requires_grad_()
    y = view(x)
    y.backward(nt.arange(1.0, y.numel() + 1).reshape(y.shape))
    return x.grad.tolist()


class TestGradients:
    def test_of_parts_are_zero_elsewhere(self):
        zero = [0.0] * 4
        assert grad_of(lambda x: x[1]) == [zero, [1, 2, 3, 4], zero]
        assert grad_of(lambda x: x[-1, 1:3]) == [zero, zero, [0, 1, 2, 0]]
        assert grad_of(lambda x: x[::2, ::3]) == [[1, 0, 0, 2], zero, [3, 0, 0, 4]]
        assert grad_of(lambda x: x.diagonal(1)) == [
            [0, 1, 0, 0],
            [0, 0, 2, 0],
            [0, 0, 0, 3],
        ]
        assert grad_of(lambda x: x.unbind(1)[2]) == [[0, 0, 1, 0], [0, 0, 2, 0]] + [
            [0, 0, 3, 0]
        ]

    def test_of_rearrangements_rearrange(self):
        rows = [[1.0, 4.0, 7.0, 10.0], [2.0, 5.0, 8.0, 11.0], [3.0, 6.0, 9.0, 12.0]]
        assert grad_of(lambda x: x.t()) == rows
        assert grad_of(lambda x: x.permute(1, 0).reshape(-1)) == rows

    def test_of_expansion_sum(self):
        x = nt.ones(3, 1, requires_grad=True)
        x.expand(3, 4).sum().backward()
        assert x.grad.tolist() == [[4.0], [4.0], [4.0]]


@pytest.mark.parametrize(
    "call, kind, text",
    [
        (
            lambda x: x.t().view(6),
            ShapeError,
            "view: got shape [6] for a tensor of shape [2, 3] and strides [1, 2]; "
            "expected a shape that this layout can be seen in. view size is not "
            "compatible with input tensor's size and stride (at least one dimension "
            "spans across two contiguous subspaces). Use .reshape(...) instead.",
        ),
        (
            lambda x: x.split(-1),
            ShapeError,
            "split: got split_size=-1; expected a size above 0. split expects "
            "split_size be non-negative, but got split_size=-1.",
        ),
        (
            lambda x: (
                x[0, 0, 0, 0].item() if x.ndim == 4 else x[..., None][0, 0].t().mT
            ),
            ShapeError,
            "mT: got a tensor with 1 dims; expected at least 2. tensor.mT is only "
            "supported on matrices or batches of matrices.",
        ),
    ],
)
def test_messages(points, call, kind, text):
    with pytest.raises(kind) as caught:
        call(points)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "call, kind, text",
    [
        (lambda x: x[0, 0, 0], DimError, "too many indices"),
        (lambda x: x[3], DimError, "out of bounds"),
        (lambda x: x[1.0], DimError, "an index of type float"),
        (lambda x: x["0"], DTypeError, "invalid data type 'str'"),
        (lambda x: x[x], DimError, "tensors used as indices must be long"),
        (lambda x: x[::-1], ValueError, "greater than zero"),
        (lambda x: x.expand(4, 2), ShapeError, "must match the existing size"),
        (lambda x: x.as_strided((7,), (1,)), ShapeError, "as_strided"),
        (lambda x: x.transpose(0, 2), DimError, "Dimension out of range"),
    ],
)
def test_errors_name_the_fault(points, call, kind, text):
    with pytest.raises(kind, match=text):
        call(points)


def test_a_view_of_a_leaf_is_protected():
    leaf = nt.ones(3, requires_grad=True)
    for change in (
        lambda: leaf[0].fill_(2),
        lambda: leaf.view(3).mul_(2),
        lambda: leaf.__setitem__(0, 2.0),
    ):
        with pytest.raises(AutogradError, match="leaf Variable that requires grad"):
            change()
    with nt.no_grad():
        leaf[0] = 2.0
    assert leaf.tolist() == [2.0, 1.0, 1.0]
