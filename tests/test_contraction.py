"""einsum, tensordot and their kin: values, layouts, broadcasting, refusals."""

from __future__ import annotations

import laws
import numpy as np
import pytest

import numtensor as nt
from numtensor.errors import DTypeError, ShapeError

EQUATIONS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ji", (2, 3)),
    ("bA", (2, 3)),
    (" i j , j k -> i k ", (2, 3), (3, 4)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("iii->i", (2, 2, 2)),
    ("ijij->ij", (2, 3, 2, 3)),
    ("ijji", (2, 3, 3, 2)),
    ("i...i->...i", (2, 3, 2)),
    ("iij,j->i", (2, 2, 3), (3,)),
    ("->", ()),
    (",i->i", (), (3,)),
    ("ij->", (2, 3)),
    ("...ij->...ji", (2, 2, 3)),
    ("...ij,...jk", (2, 1, 2, 3), (4, 3, 2)),
    ("i...,...i->...i", (2, 3), (3, 2)),
    ("i,j,k->kij", (2,), (3,), (4,)),
    ("ij,j,i->", (2, 3), (3,), (2,)),
    ("ij,ij,ij->j", (2, 3), (2, 3), (2, 3)),
    ("i,i,i,i->", (3,), (3,), (3,), (3,)),
    ("ij,jk,kl,lm->im", (2, 3), (3, 4), (4, 2), (2, 5)),
    ("bn,anm,bm->ba", (2, 5), (3, 5, 4), (2, 4)),
    ("ij,jk->ik", (2, 0), (0, 3)),
    ("ij,jk->ik", (0, 2), (2, 3)),
    ("ij,jk,kl->il", (2, 0), (0, 3), (3, 2)),
]


def drawn(*shapes):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in shapes]


@pytest.mark.parametrize("case", EQUATIONS, ids=lambda case: f"{case[0]}-{case[1:]}")
def test_einsum(case, device):
    equation, *shapes = case
    arrays = drawn(*shapes)
    expected = np.einsum(equation, *arrays)
    got = nt.einsum(equation, *[laws.made(a) for a in arrays])
    assert got.shape == expected.shape
    np.testing.assert_allclose(laws.numpy_of(got), expected, atol=1e-12)


@pytest.mark.parametrize("layout", laws.LAYOUTS)
@pytest.mark.parametrize(
    "case", [EQUATIONS[k] for k in (0, 5, 11, 16, 22, 23)], ids=str
)
def test_einsum_of_strided_operands(case, layout):
    equation, *shapes = case
    arrays = drawn(*shapes)
    got = nt.einsum(equation, *[laws.LAYOUTS[layout](a) for a in arrays])
    np.testing.assert_allclose(got.numpy(), np.einsum(equation, *arrays), atol=1e-12)


def test_einsum_of_expanded_operands():
    (row,) = drawn((1, 3))
    x = nt.tensor(row).expand(4, 3)
    np.testing.assert_allclose(
        nt.einsum("ij,kj->ik", x, x).numpy(), np.full((4, 4), (row**2).sum())
    )


@pytest.mark.parametrize(
    "equation, shapes, full",
    [
        ("i,i->i", ((1,), (3,)), ((3,), (3,))),
        ("ij,jk->ik", ((2, 1), (3, 2)), ((2, 3), (3, 2))),
        ("ij,jk,k->i", ((2, 1), (3, 1), (4,)), ((2, 3), (3, 4), (4,))),
        ("i...,...i->...", ((2, 1), (3, 2)), ((2, 3), (3, 2))),
        ("ij,j->ij", ((2, 3), (1,)), ((2, 3), (3,))),
    ],
)
def test_dims_of_size_1_broadcast(equation, shapes, full):
    arrays = drawn(*shapes)
    wide = [np.broadcast_to(a, s) for a, s in zip(arrays, full, strict=True)]
    got = nt.einsum(equation, *map(nt.tensor, arrays))
    np.testing.assert_allclose(got.numpy(), np.einsum(equation, *wide), atol=1e-12)


def test_sublists_are_equations():
    a, b = map(nt.tensor, drawn((2, 3), (3, 2)))
    same = [
        (("ij,jk->ik", a, b), (a, [0, 1], b, [1, 2], [0, 2])),
        (("ij,jk", a, b), (a, [0, 1], b, [1, 2])),
        (("i...->...i", a), (a, [7, ...], [..., 7])),
        (("zA->Az", a), (a, [51, 0], [0, 51])),
        (("ij,jk->ik", a, b), ("ij,jk->ik", [a, b])),
    ]
    for one, other in same:
        assert nt.equal(nt.einsum(*one), nt.einsum(*other))


def ones(*shape, dtype=None):
    return nt.ones(*shape, dtype=dtype)


REFUSED = [
    (("ij", ones(2, 3), ones(2)), "more operands were provided than specified"),
    (("ij,jk", ones(2, 3)), "fewer operands were provided than specified"),
    (("i", ones(2, 3)), "the number of subscripts in the equation (1) does not match "
     "the number of dimensions (2) for operand 0"),
    (("ij...k", ones(2, 3)), "the number of subscripts in the equation (3)"),
    (("i1", ones(2, 3)), "invalid subscript given"),
    (("ij-i", ones(2, 3)), "invalid subscript given"),
    (("i.j", ones(2, 3)), "found '.' for operand 0 that is not part of"),
    (("...i...", ones(2, 3)), "found '.' for operand 0 that is not part of"),
    (("ij->......", ones(2, 3)), "found '.' for the output that is not part of"),
    (("ij->ii", ones(2, 3)), "output subscript i appears more than once"),
    (("ij->k", ones(2, 3)), "output subscript k does not appear in the equation"),
    (("ij,jk", ones(2, 3), ones(4, 2)), "subscript j has size 4 for operand 1 which "
     "does not broadcast with previously seen size 3"),
    (("ii", ones(2, 3)), "subscript i is repeated for operand 0 but the sizes don't "
     "match, 3 != 2"),
    (("ii,i", ones(1, 3), ones(3)), "subscript i is repeated for operand 0"),
    (("i",), "at least one operand"),
    (("i", []), "at least one operand"),
    ((ones(2), [52]), "subscript in subscript list is not within the valid range [0"),
    ((ones(2), [-1]), "subscript in subscript list is not within the valid range [0"),
    ((ones(2), [0], ones(2)), "After each operand comes a list of its subscripts"),
]  # fmt: skip


@pytest.mark.parametrize("args, text", REFUSED, ids=range(len(REFUSED)))
def test_equations_that_do_not_fit(args, text):
    with pytest.raises(ShapeError) as caught:
        nt.einsum(*args)
    assert str(caught.value).startswith("einsum: got ") and text in str(caught.value)
    assert isinstance(caught.value, (RuntimeError, ValueError))


def test_operands_that_are_no_tensors():
    for args in (("i", 3), (3, ones(2)), ("i,i", [ones(2), None])):
        with pytest.raises(DTypeError, match="einsum: got a .*; expected Tensors"):
            nt.einsum(*args)


def test_operands_of_two_dtypes():
    with pytest.raises(DTypeError, match="have the same dtype"):
        nt.einsum("ij,jk", ones(2, 3), ones(3, 2, dtype=nt.float64))


def test_gradients_reach_every_operand():
    tensors = [nt.tensor(a, requires_grad=True) for a in drawn((2, 3), (3, 2), (2, 1))]
    assert nt.autograd.gradcheck(
        lambda a, b, c: nt.einsum("ij,jk,kl->il", a, b, c), tensors
    )
    assert nt.autograd.gradgradcheck(
        lambda a, b, c: nt.einsum("ij,jk,kl->il", a, b, c), tensors
    )


@pytest.mark.parametrize(
    "shapes, dims",
    [
        (((2, 3, 4), (3, 4, 5)), 2),
        (((2, 3), (4, 5)), 0),
        (((2, 3, 4), (4, 3, 5)), ([1, 2], [1, 0])),
        (((2, 3), (2, 3)), ([-1], [-1])),
        (((2, 3), (4,)), ([], [])),
        (((2, 0), (0, 3)), 1),
        (((), ()), 0),
    ],
    ids=str,
)
def test_tensordot(shapes, dims, device):
    a, b = drawn(*shapes)
    got = nt.tensordot(laws.made(a), laws.made(b), dims)
    expected = np.tensordot(a, b, dims)
    assert got.shape == expected.shape
    np.testing.assert_allclose(laws.numpy_of(got), expected, atol=1e-12)


def test_tensordot_sums_over_a_dim_that_the_other_has_once():
    a, b = drawn((2, 3), (1, 3))
    got = nt.tensordot(nt.tensor(a), nt.tensor(b), ([0], [0]))
    np.testing.assert_allclose(got.numpy(), np.outer(a.sum(0), b[0]))


PRODUCTS_REFUSED = [
    (lambda: nt.tensordot(ones(2, 3), ones(2, 3), -1), "expects dims >= 0"),
    (lambda: nt.tensordot(ones(2, 3), ones(2, 3), 3), "dims < ndim_a or ndim_b"),
    (lambda: nt.tensordot(ones(2, 3), ones(2, 3), 1), "first has size 3 in dim 1 and "
     "second has size 2 in dim 0"),
    (lambda: nt.tensordot(ones(2, 3), ones(2, 3), ([0], [0, 1])), "same length"),
    (lambda: nt.tensordot(ones(2, 3), ones(2, 3), ([0, 0], [0, 1])), "dim 0 appears "
     "multiple times"),
    (lambda: nt.inner(ones(2, 3), ones(4)), "inner() the last dimension must match on "
     "both input tensors but got shapes [2, 3] and [4]"),
    (lambda: nt.vdot(ones(3), ones(3, 1)), "1D tensors expected, but got 1D and 2D"),
    (lambda: nt.addr(ones(2, 3), ones(2, 1), ones(3)), "1D tensors expected"),
    (lambda: nt.addmm(ones(4, 2, 2), ones(2, 3), ones(3, 2)), "expand: the number of "
     "sizes provided (2)"),
    (lambda: nt.addmv(ones(3), ones(2, 3), ones(3)), "must match the existing size"),
    (lambda: nt.addr(ones(4, 2, 3), ones(2), ones(3)), "expand: the number of sizes"),
    (lambda: nt.baddbmm(ones(2, 2, 3), ones(2, 2, 3), ones(2, 3, 2)), "must match the "
     "existing size"),
    (lambda: nt.addbmm(ones(2, 2), ones(2, 2, 3), ones(3, 3, 2)), "equal batches"),
    (lambda: nt.addmv(*(nt.ones(s, dtype=nt.int64) for s in ((2,), (2, 3), (3,))),
                      alpha=0.5), "argument alpha must not be a floating point number"),
]  # fmt: skip


@pytest.mark.parametrize("call, text", PRODUCTS_REFUSED, ids=range(14))
def test_products_that_do_not_fit(call, text):
    with pytest.raises(RuntimeError) as caught:
        call()
    assert text in str(caught.value)


ADDED = [
    ("addmm", (2, 2), (2, 3), (3, 2)),
    ("addmv", (2,), (2, 3), (3,)),
    ("addr", (2, 3), (2,), (3,)),
    ("baddbmm", (2, 2, 2), (2, 2, 3), (2, 3, 2)),
    ("addbmm", (2, 2), (2, 2, 3), (2, 3, 2)),
]


@pytest.mark.parametrize("case", ADDED, ids=lambda case: case[0])
def test_beta_and_alpha(case, device):
    name, *shapes = case
    x, a, b = drawn(*shapes)
    call = getattr(nt, name)
    product = np.outer(a, b) if name == "addr" else a @ b
    product = product.sum(0) if name == "addbmm" else product
    got = call(*map(laws.made, (x, a, b)), beta=2, alpha=-0.5)
    np.testing.assert_allclose(laws.numpy_of(got), 2 * x - product / 2, atol=1e-12)
    # what is added may be smaller
    got = call(*map(laws.made, (x.flat[:1], a, b)))
    np.testing.assert_allclose(laws.numpy_of(got), x.flat[0] + product, atol=1e-12)
    # and counts for nothing, NaN or not, if beta is 0
    got = call(*map(laws.made, (x * np.nan, a, b)), beta=0)
    np.testing.assert_allclose(laws.numpy_of(got), product, atol=1e-12)


def test_kron_of_layouts():
    a, b = drawn((2, 3), (3, 2))
    for layout in laws.LAYOUTS.values():
        np.testing.assert_array_equal(
            nt.kron(layout(a), layout(b)).numpy(), np.kron(a, b)
        )


#: calls as text, T being the library, x of shape (2, 3), y of (3, 2)
CALLS = [
    "T.einsum('ij,ij->ij', x.long(), y.t())",
    "T.einsum('ij->j', x.int())", "T.einsum('ij->j', x > 2)",
    "T.einsum('i,i->i', x[0] > 1, x[1] > 1)",
    "T.einsum('i,i->', x[0].int(), x[1].int())",
    "T.einsum('ij,jk->ik', x[:, :1], y)", "T.einsum('ij->ji...', x)",
    "T.einsum('...,...', x, x[0])", "T.einsum('a...b,b...->a...', x, y)",
    "T.einsum('i,i->i', x[0, :1], x[0, :0])", "T.einsum('ij,jk->ik', x[:, :1], y[:0])",
    "T.tensordot(x, x[:1], ([0], [0]))", "T.tensordot(x[:1], x, ([0], [0]))",
    "T.tensordot(x, x, T.tensor([[1], [1]]))", "T.tensordot(x.long(), y.long(), 1)",
    "T.inner(x, x)", "T.inner(T.tensor(2.0), x)", "T.inner(x[:, :0], x[:, :0])",
    "T.kron(x, y)", "T.kron(x[0], y)", "T.kron(T.tensor(3), x)", "T.kron(x > 1, y > 1)",
    "T.addr(x[0], x[:, 0], x[1])", "T.addmm(x[:, :1], x, y, beta=2)",
]  # fmt: skip


@pytest.mark.torch
@pytest.mark.parametrize("call", CALLS)
def test_beside_pytorch(call):
    torch = pytest.importorskip("torch")
    results = []
    for T in (nt, torch):
        x = T.arange(6.0).reshape(2, 3)
        results.append(eval(call, {"T": T, "x": x, "y": T.arange(6.0).reshape(3, 2)}))
    got, expected = results
    assert str(got.dtype) == str(expected.dtype) and got.shape == expected.shape
    np.testing.assert_allclose(got.numpy(), expected.numpy())
