"""In-place changes and views on the tape: every gradient below is PyTorch's own."""

from __future__ import annotations

import pytest

import numtensor as nt
from numtensor.errors import AutogradError

F64 = nt.float64


def leaf(*values):
    return nt.tensor(list(values), dtype=F64, requires_grad=True)


def flat(tensor):
    return tensor.detach().reshape(-1).tolist()


def one_view(x):
    y = x * 1
    y[1:3].mul_(5)
    return y.sum()


def two_overlapping_views(x):
    y = x * 1
    a, b = y[:2], y[1:3]
    a.mul_(2)
    b.mul_(3)
    return (y * nt.tensor([1.0, 2, 3, 4], dtype=F64)).sum()


def view_of_view_of_view(x):
    y = x * 1
    a = y.view(2, 2)
    a.t()[1].mul_(7)
    return (a * a).sum()


def base_changed_after_view(x):
    y = x * 1
    v = y[:2]
    y.mul_(2)
    return (v * v).sum()


def items_set(x):
    y = (x * 1).view(2, 2)
    y[0, 1] = 0
    y[:, 0] *= 3
    return (y**2).sum()


def unary_on_a_view(x):
    y = x * 1
    y[:2].exp_()
    return (y * 2).sum()


def base_used_before_and_after(x):
    y = x * 1
    before = y.sum()
    y[:2].mul_(2)
    return before + y.sum()


def nested_views_changed_in_turn(x):
    y = x * 1
    v = y[:3]
    w = v[1:]
    w.mul_(2)
    v.mul_(3)
    w.add_(1)
    return (y * nt.tensor([1.0, 10, 100, 1000], dtype=F64)).sum()


def base_then_view_changed(x):
    y = x * 1
    v = y[:3]
    w = v[1:]
    y.mul_(2)
    a = w * 2
    w.mul_(3)
    return a.sum() + v.sum()


def as_strided_window(x):
    y = x * 1
    y.as_strided((2, 1), (3, 1), 0).mul_(5)
    return y.sum()


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (one_view, [1, 5, 5, 1]),
        (two_overlapping_views, [2, 12, 9, 4]),
        (view_of_view_of_view, [2, 196, 6, 392]),
        (base_changed_after_view, [8, 16, 0, 0]),
        (items_set, [18, 0, 54, 8]),
        (unary_on_a_view, [5.43656366, 14.7781122, 2, 2]),
        (base_used_before_and_after, [3, 3, 2, 2]),
        (nested_views_changed_in_turn, [3, 60, 600, 1000]),
        (base_then_view_changed, [2, 10, 10, 0]),
        (as_strided_window, [5, 1, 1, 5]),
    ],
)
def test_a_change_of_a_view_is_a_change_of_its_base(function, expected):
    x = leaf(1, 2, 3, 4)
    function(x).backward()
    assert flat(x.grad) == pytest.approx(expected)
    fresh = x.detach().requires_grad_()
    assert nt.autograd.gradcheck(function, (fresh,), rtol=1e-6)


def test_a_constant_base_joins_the_graph_through_its_views():
    x = leaf(1, 2)
    y = nt.zeros(4, dtype=F64)
    v = y[1:3]
    y[:2] = x
    (v * 3).sum().backward()
    assert v.requires_grad and not v.is_leaf
    assert flat(x.grad) == [0, 3]


def test_operands_of_an_in_place_product_on_a_strided_view():
    x, w = leaf(1, 2, 3, 4, 5, 6), leaf(2, 2)
    y = (x * 1).view(2, 3).t()
    y[0].mul_(w)
    (y * y).sum().backward()
    assert flat(y) == [2, 8, 2, 5, 3, 6]
    assert flat(x.grad) == [8, 4, 6, 32, 10, 12]
    assert flat(w.grad) == [4, 64]


def test_second_derivative_through_a_changed_view():
    x = leaf(1, 2, 3, 4)
    y = x * x
    y[:2].mul_(y[2:].clone())
    (g,) = nt.autograd.grad((y * y).sum(), x, create_graph=True)
    (h,) = nt.autograd.grad(g.sum(), x)
    assert flat(g) == [324, 8192, 216, 4352]
    assert flat(h) == [1404, 20480, 648, 11456]


def test_two_bases_that_feed_each_other():
    a, b = leaf(1, 2), leaf(3, 4)
    p, q = a * 1, b * 1
    p[0] = q[1]
    q[0] = p[1]
    (p * q).sum().backward()
    assert (flat(a.grad), flat(b.grad)) == ([0, 8], [0, 4])


def test_outputs_of_a_loop_stored_in_one_tensor():
    x = leaf(0.1, 0.2, 0.3)
    h, out = nt.zeros(3, dtype=F64), nt.zeros(4, 3, dtype=F64)
    for k in range(4):
        h = (h + x).tanh()
        out[k] = h
    (out * out).sum().backward()
    assert flat(x.grad) == pytest.approx([4.837339, 5.941637, 5.209957], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("exp_", [2.718282, 7.389056]),
        ("tanh_", [0.419974, 0.070651]),
        ("sqrt_", [0.5, 0.353553]),
        ("abs_", [1, 1]),
        ("log_", [1, 0.5]),
        ("square_", [2, 4]),
        ("reciprocal_", [-1, -0.25]),
        ("sin_", [0.540302, -0.416147]),
    ],
)
def test_in_place_operators_that_need_what_they_overwrite(name, expected):
    x = leaf(1, 2)
    y = x * 1
    getattr(y, name)()
    y.sum().backward()
    assert flat(x.grad) == pytest.approx(expected, abs=1e-6)


def test_in_place_with_broadcast_operands():
    x, w = leaf(1, 2), leaf(1.0)
    y = nt.ones(3, 2, dtype=F64)
    y.mul_(x)
    y.add_(w)
    y.div_(x)
    (y * y).sum().backward()
    assert (flat(x.grad), flat(w.grad)) == ([-12, -2.25], [16.5])


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.add_(1),
        lambda x: x[0].add_(1),
        lambda x: x.view(2, 1).mul_(2),
        lambda x: x.zero_(),
        lambda x: x.fill_(1),
        lambda x: x.copy_(nt.ones(2)),
        lambda x: x.__setitem__(0, 1.0),
    ],
)
def test_a_leaf_that_requires_grad_may_only_change_in_no_grad(change):
    x = leaf(1, 2)
    with pytest.raises(AutogradError, match="leaf Variable that requires grad"):
        change(x)
    assert flat(x) == [1, 2]
    with nt.no_grad():
        change(x)
    assert x.is_leaf and x.requires_grad


def test_a_view_that_is_a_leaf_itself_and_one_made_before_its_base_became_one():
    own = nt.zeros(3)[:2].requires_grad_()
    base = nt.zeros(3)
    early = base[:2]
    base.requires_grad_()
    assert early.requires_grad
    for view in (own, early):
        with pytest.raises(AutogradError, match="leaf Variable"):
            view.add_(1)


def test_views_that_must_not_change():
    x = leaf(1, 2)
    with pytest.raises(AutogradError, match="multiple views"):
        (x * 1).unbind()[0].add_(1)
    with pytest.raises(RuntimeError, match="single memory location"):
        (x[0] * 1).expand(3).add_(1)
    y = x * 1
    with nt.no_grad():
        v = y[:1]
    assert v.requires_grad
    with pytest.raises(AutogradError, match="no_grad mode"):
        v.mul_(2)
    with nt.no_grad():
        v.mul_(2)
    assert flat(y) == [2, 2]


def test_changed_saved_values_are_errors_that_name_the_operator():
    x = leaf(1, 2)
    y = x * 1
    z = y * y
    y.add_(1)
    with pytest.raises(AutogradError, match="MulBackward0.*version 1.*version 0"):
        z.sum().backward()
    out = x.exp()
    out.add_(1)
    with pytest.raises(AutogradError, match="ExpBackward0"):
        out.sum().backward()
    base = x * 1
    part = base[:1] * base[:1]
    base[1] = 0  # another element, but one storage has one version
    with pytest.raises(AutogradError, match="modified by an inplace operation"):
        part.sum().backward()
    w = leaf(3, 4)
    y = x * w
    w.detach().add_(1)
    with pytest.raises(AutogradError):
        y.sum().backward()


def test_data_changes_unnoticed_and_sums_need_no_saved_values():
    x, w = leaf(1, 2), leaf(3, 4)
    y = x * w
    w.data.add_(1)
    y.sum().backward()
    assert (flat(x.grad), w._version) == ([4, 5], 0)
    x.grad = None
    y = x * 1
    z = y + y
    y.add_(1)
    z.sum().backward()
    assert flat(x.grad) == [2, 2]


def test_a_second_backward_through_a_changed_view_is_an_error():
    x, w = leaf(1, 2, 3), leaf(2.0)
    y = x * 1
    y[1:].mul_(w)
    y.sum().backward()
    assert flat(w.grad) == [5]
    with pytest.raises(AutogradError, match="second time"):
        y.sum().backward()


def test_parts_of_unbind_split_and_chunk():
    x = leaf(1, 2, 3)
    a, b, _ = x.unbind()
    (a * b).backward()
    assert flat(x.grad) == [2, 1, 0]
    x = leaf(1, 2, 3, 4, 5)
    (x.split([1, 2, 2])[1] ** 2).sum().backward()
    assert flat(x.grad) == [0, 4, 6, 0, 0]
    x.grad = None
    a, b = x.chunk(2)
    (a.sum() * b.sum()).backward()
    assert flat(x.grad) == [9, 9, 9, 6, 6]


def test_windows_that_overlap_add_up():
    x = leaf(0, 1, 2, 3)
    weights = nt.arange(6, dtype=F64).reshape(3, 2)
    (x.as_strided((3, 2), (1, 1)) * weights).sum().backward()
    assert flat(x.grad) == [0, 3, 7, 5]
    fresh = leaf(0.5, 1, 2, 3)
    windows = lambda x: x.as_strided((3, 2), (1, 1)) ** 2  # noqa: E731
    assert nt.autograd.gradcheck(windows, (fresh,))
    assert nt.autograd.gradgradcheck(windows, (fresh,))


@pytest.mark.parametrize(
    "view",
    [
        lambda m: m.t(),
        lambda m: m[:, 1:3],
        lambda m: m[::2, ::3],
        lambda m: m.view(2, 6)[1],
        lambda m: m.diagonal(),
        lambda m: m.unsqueeze(1).expand(3, 2, 4),
        lambda m: m.narrow(1, 1, 2),
        lambda m: m[None, ..., 0],
        lambda m: m.t().reshape(-1),
        lambda m: m.as_strided((2, 2), (4, 1), 1),
        lambda m: m.T.contiguous(),
        lambda m: m.unflatten(1, (2, 2)),
        lambda m: m[:1].squeeze(0),
    ],
)
def test_every_view_passes_first_and_second_derivatives(view):
    m = nt.arange(12, dtype=F64).reshape(3, 4).requires_grad_()
    square = lambda m: view(m) ** 2  # noqa: E731
    assert nt.autograd.gradcheck(square, (m,), rtol=1e-6)
    assert nt.autograd.gradgradcheck(square, (m,))
