"""Layers beyond values on plain input: chance, layouts, errors, history, devices."""

from __future__ import annotations

import laws
import numpy as np
import pytest

import numtensor as nt
from numtensor import nn
from numtensor.nn import functional as F
from numtensor.nn.functional import _linear


def raises(kind, text, call):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value.args[0])


# Linear


def layouts(rng, n, k):
    """Yield tensors of shape (n, k) that lie differently in memory."""
    x = rng.standard_normal((n, k))
    yield nt.tensor(x)
    yield nt.tensor(np.ascontiguousarray(x.T)).t()
    yield nt.tensor(np.repeat(x, 2, axis=1))[:, ::2]
    yield nt.tensor(x[:1]).expand(n, k)


@pytest.mark.parametrize("size", [(3, 2, 4), (70, 60, 80)])
def test_linear_of_every_layout(rng, size):
    """Small and large, by kernel and by BLAS: values and gradients are NumPy's."""
    n, k, m = size
    assert (n * k * m > _linear.SMALL) == (n == 70)
    b = nt.tensor(rng.standard_normal(m), requires_grad=True)
    for x in layouts(rng, n, k):
        for w in layouts(rng, m, k):
            for g in layouts(np.random.default_rng(2), n, m):
                x.requires_grad_()
                w.requires_grad_()
                y = F.linear(x, w, b)
                xs, ws, gs = (t.detach().numpy() for t in (x, w, g))
                np.testing.assert_allclose(
                    y.detach(), xs @ ws.T + b.detach().numpy(), 1e-10, 1e-10
                )
                y.backward(g)
                np.testing.assert_allclose(x.grad, gs @ ws, 1e-10, 1e-10)
                np.testing.assert_allclose(w.grad, gs.T @ xs, 1e-10, 1e-10)
                np.testing.assert_allclose(b.grad, gs.sum(0), 1e-10, 1e-10)
                x.grad = w.grad = b.grad = None


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 2, 3), (2, 0, 3), (0, 3)])
@pytest.mark.parametrize("needs", range(8))
def test_linear_owes_what_is_wanted(rng, shape, needs):
    x, w, b = (
        nt.tensor(rng.standard_normal(s), requires_grad=bool(needs >> place & 1))
        for place, s in enumerate((shape, (4, 3), (4,)))
    )
    y = F.linear(x, w, b)
    assert y.requires_grad == bool(needs)
    assert y.shape == (*shape[:-1], 4)
    if not needs:
        return
    y.sum().backward()
    n = int(np.prod(shape[:-1]))
    flat = x.detach().numpy().reshape(n, 3)
    if x.requires_grad:
        expected = np.broadcast_to(w.detach().numpy().sum(0), shape)
        np.testing.assert_allclose(x.grad, expected, 1e-12)
    if w.requires_grad:
        np.testing.assert_allclose(w.grad, np.tile(flat.sum(0), (4, 1)), 1e-12, 1e-12)
    if b.requires_grad:
        assert b.grad.tolist() == [n] * 4
    for t in (x, w, b):
        assert (t.grad is not None) == t.requires_grad


@pytest.mark.parametrize("n", [2, 3000])
@pytest.mark.parametrize(("m", "shape"), [(1, ()), (4, ()), (4, (1,)), (1, (1,))])
def test_linear_with_one_number_as_bias(n, m, shape):
    """Its gradient has its shape, by kernel and by BLAS, and can be differentiated."""
    x, w = nt.ones(n, 60), nt.ones(m, 60)
    b = nt.ones(shape, requires_grad=True)
    F.linear(x, w, b).sum().backward()
    assert b.grad.shape == shape
    assert b.grad.sum().item() == n * m
    (g,) = nt.autograd.grad((F.linear(x, w, b) ** 2).sum(), b, create_graph=True)
    (again,) = nt.autograd.grad(g.sum(), b)
    assert again.shape == shape
    assert again.sum().item() == 2 * n * m


def test_linear_leaves_one_node():
    layer = nn.Linear(2, 3)
    for x, name in (
        (nt.ones(4, 2), "AddmmBackward0"),
        (nt.ones(2), "ViewBackward0"),
        (nt.ones(2, 4, 2), "ViewBackward0"),
    ):
        y = layer(x)
        assert y.grad_fn.name() == name
        assert y.grad_fn.next_functions[1][0].variable is layer.weight
        assert not y._is_view()
    assert nn.Linear(2, 3, bias=False)(nt.ones(1, 2)).grad_fn.name() == "MmBackward0"


def test_linear_saves_only_what_it_needs():
    """An optimiser may change a weight before the way back of the first layer."""
    layer = nn.Linear(2, 1)
    y = layer(nt.ones(3, 2))
    with nt.no_grad():
        layer.weight.add_(1)
    y.sum().backward()
    x = nt.ones(3, 2, requires_grad=True)
    y = layer(x)
    with nt.no_grad():
        layer.weight.add_(1)
    raises(RuntimeError, "modified by an inplace operation", y.sum().backward)


def test_linear_of_other_dtypes():
    x, w = nt.tensor([[1, 2]]), nt.tensor([[3, 4], [5, 6]])
    assert F.linear(x, w, nt.tensor([1, 1])).tolist() == [[12, 18]]
    assert F.linear(x, w).dtype == nt.int64
    assert nn.Linear(2, 3, dtype=nt.float64)(nt.ones(1, 2).double()).dtype == nt.float64


def test_linear_errors():
    layer = nn.Linear(2, 3)
    raises(
        RuntimeError,
        "mat1 and mat2 shapes cannot be multiplied (4x3 and 2x3)",
        lambda: layer(nt.ones(4, 3)),
    )
    raises(
        RuntimeError,
        "mat1 and mat2 must have the same dtype, but got Double and Float",
        lambda: layer(nt.ones(4, 2).double()),
    )
    raises(RuntimeError, "but got Long and Float", lambda: layer(nt.ones(4, 2).long()))
    raises(
        TypeError,
        "linear(): argument 'input' (position 1) must be Tensor, not int",
        lambda: layer(3),
    )
    raises(
        RuntimeError,
        "both arguments to linear need to be at least 1D, but they are 0D and 2D",
        lambda: layer(nt.tensor(1.0)),
    )
    raises(
        RuntimeError,
        "The expanded size of the tensor (3) must match the existing size (2)",
        lambda: F.linear(nt.ones(1, 2), nt.ones(3, 2), nt.ones(2)),
    )
    raises(
        RuntimeError,
        "mat2 must be a matrix, got 1-D tensor",
        lambda: F.linear(nt.ones(1, 2), nt.ones(2), nt.ones(1)),
    )
    raises(ValueError, "in1_features must be > 0", lambda: nn.Bilinear(0, 1, 1))
    raises(
        RuntimeError,
        "bilinear(): input batch dimensions do not match",
        lambda: nn.Bilinear(2, 3, 1)(nt.ones(2, 2), nt.ones(3, 3)),
    )
    raises(
        RuntimeError,
        "bilinear(): input batch dimensions do not match",
        lambda: F.bilinear(nt.tensor(1.0), nt.tensor(1.0), nt.ones(1, 1, 1)),
    )
    raises(
        RuntimeError,
        "expected scalar type Float but found Double",
        lambda: nn.Bilinear(2, 3, 1)(nt.ones(2, 2), nt.ones(2, 3).double()),
    )


def test_bilinear_without_elements():
    w = nt.ones(0, 2, 3)
    assert F.bilinear(nt.ones(5, 2), nt.ones(5, 3), w).shape == (5, 0)
    w = nt.ones(4, 2, 3)
    assert F.bilinear(nt.ones(0, 2), nt.ones(0, 3), w).shape == (0, 4)
    w = nt.ones(4, 0, 3)
    assert F.bilinear(nt.ones(5, 0), nt.ones(5, 3), w).tolist() == [[0] * 4] * 5


@pytest.mark.cuda
def test_linear_wants_one_device():
    raises(
        RuntimeError,
        "Expected all tensors to be on the same device",
        lambda: nn.Linear(2, 1)(nt.ones(1, 2, device="cuda")),
    )


# Embedding


def test_embedding_errors():
    table = nn.Embedding(3, 2)
    for index in (3, -1):
        raises(
            IndexError, "out of range", lambda index=index: table(nt.tensor([index]))
        )
    raises(
        RuntimeError,
        "Long, Int; but got torch.FloatTensor instead",
        lambda: table(nt.ones(1)),
    )
    for padding in (3, -4):
        raises(
            AssertionError,
            "Padding_idx must be within num_embeddings",
            lambda padding=padding: nn.Embedding(3, 2, padding_idx=padding),
        )
    raises(
        AssertionError,
        "Embeddings parameter is expected to be 2-dimensional",
        lambda: nn.Embedding.from_pretrained(nt.ones(3)),
    )
    raises(
        NotImplementedError,
        "no sparse tensors",
        lambda: nn.Embedding(3, 2, sparse=True),
    )
    raises(
        RuntimeError,
        "'weight' must be 2-D",
        lambda: F.embedding(nt.tensor([0]), nt.ones(2)),
    )


def test_embedding_from_pretrained():
    data = nt.tensor([[1.0, 2.0], [3.0, 4.0]])
    table = nn.Embedding.from_pretrained(data)
    assert not table.weight.requires_grad
    assert table.weight.data_ptr() == data.data_ptr()
    assert table(nt.tensor(1)).tolist() == [3, 4]
    assert nn.Embedding.from_pretrained(data, freeze=False).weight.requires_grad
    assert table(nt.tensor([1], dtype=nt.int32)).tolist() == [[3, 4]]
    assert table(nt.zeros(0, 2, dtype=nt.int64)).shape == (0, 2, 2)


def test_embedding_shortens_long_rows(device):
    w = laws.made(np.array([[3.0, 4.0], [0.3, 0.4], [6.0, 8.0]]))
    index = laws.made(np.array([0, 1, 0]))
    out = F.embedding(index, w, max_norm=1.0)
    expected = np.array([[0.6, 0.8], [0.3, 0.4], [6.0, 8.0]])
    np.testing.assert_allclose(laws.numpy_of(w), expected, 1e-6)
    np.testing.assert_allclose(laws.numpy_of(out), expected[[0, 1, 0]], 1e-6)


# Dropout


DROPOUTS = [
    (nn.Dropout, (40, 50), None),
    (nn.Dropout1d, (20, 30, 3), 2),
    (nn.Dropout2d, (20, 30, 2, 2), 2),
    (nn.Dropout3d, (20, 30, 1, 2, 2), 2),
]


@pytest.mark.parametrize(("kind", "shape", "kept"), DROPOUTS)
def test_dropout(kind, shape, kept):
    layer = kind(0.3)
    x = nt.ones(shape, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert nt.equal(x.grad, y)
    v = y.detach().numpy()
    np.testing.assert_allclose(np.unique(v), [0, 1 / 0.7], 1e-6)
    if kept is not None:  # a channel is whole or gone
        v = v.reshape(*shape[:kept], -1)
        assert (v.min(-1) == v.max(-1)).all()
        v = v[..., 0]
    part = (v > 0).mean()
    assert abs(part - 0.7) < 4 * np.sqrt(0.21 / v.size)
    assert layer.eval()(x) is x
    assert not nt.equal(kind(0.3)(x), y)
    nt.manual_seed(3)
    a = kind(0.5)(x)
    nt.manual_seed(3)
    assert nt.equal(kind(0.5)(x), a)


@pytest.mark.parametrize("kind", [nn.AlphaDropout, nn.FeatureAlphaDropout])
def test_alpha_dropout_keeps_moments(kind):
    x = nt.randn(100, 100, 2, dtype=nt.float64, requires_grad=True)
    y = kind(0.2)(x)
    v = y.detach().numpy()
    assert abs(v.mean()) < 0.05
    assert abs(v.var() - 1) < 0.1
    y.sum().backward()
    (scale,) = np.unique(x.grad.numpy())[1:]
    dropped = x.grad.numpy() == 0
    assert abs(dropped.mean() - 0.2) < 0.02
    assert np.ptp(v[dropped]) < 1e-12
    if kind is nn.FeatureAlphaDropout:
        assert (dropped[..., 0] == dropped[..., 1]).all()
    assert scale > 0


def test_dropout_in_place(device):
    x = laws.made(np.ones((2, 3)))
    for call in (
        lambda: nn.Dropout(0.5, inplace=True)(x),
        lambda: F.alpha_dropout(x, 0.5, True, inplace=True),
        lambda: F.dropout(x, 1.0, inplace=True),
    ):
        assert call() is x
    assert (laws.numpy_of(x) == 0).all()
    channels = laws.made(np.ones((3, 4)))
    assert F.dropout1d(channels, 0.5, inplace=True) is channels
    v = laws.numpy_of(channels)
    assert set(np.unique(v)) <= {0.0, 2.0}
    assert (v.min(1) == v.max(1)).all()


def test_dropout_errors():
    for p in (1.5, -1, float("nan")):
        text = f"dropout probability has to be between 0 and 1, but got {p}"
        raises(ValueError, text, lambda p=p: nn.Dropout(p))
        raises(ValueError, text, lambda p=p: F.dropout(nt.ones(1), p))
    raises(
        RuntimeError,
        "Feature dropout requires at least 2 dimensions",
        lambda: nn.FeatureAlphaDropout()(nt.ones(2)),
    )
    raises(
        RuntimeError,
        "dropout1d: Expected 2D or 3D input",
        lambda: nn.Dropout1d()(nt.ones(2)),
    )
    with pytest.warns(UserWarning, match="Received a 1-D input to dropout2d"):
        raises(
            RuntimeError,
            "Feature dropout requires at least 2 dimensions",
            lambda: F.dropout2d(nt.ones(2)),
        )
    with pytest.warns(UserWarning, match="input is interpreted as shape"):
        F.dropout2d(nt.ones(2, 3, 4))


# Padding, distances, flattening


def test_padding_errors():
    x = nt.ones(1, 1, 3)
    raises(RuntimeError, "must be divisible by 2", lambda: F.pad(x, (1,)))
    raises(
        RuntimeError,
        "got padding length 8 and input of dimension 3",
        lambda: F.pad(x, (1,) * 8),
    )
    for mode in ("constant", "replicate"):
        for sizes in ((-2, -2), (-5, 4), (4, -5), (2**62, 2**62)):
            raises(
                RuntimeError,
                "resulted in a negative output size",
                lambda sizes=sizes, mode=mode: F.pad(x, sizes, mode),
            )
    raises(
        RuntimeError,
        "wrapping around more than once",
        lambda: F.pad(x, (-3, 3), "circular"),
    )
    raises(
        RuntimeError,
        "but got: padding (3, 3) at dimension 2 of input [1, 1, 3]",
        lambda: F.pad(x, (3, 3), "reflect"),
    )
    raises(
        RuntimeError,
        "wrapping around more than once",
        lambda: F.pad(x, (4, 0), "circular"),
    )
    for mode in ("reflect", "replicate", "circular"):
        raises(
            NotImplementedError,
            "Padding size 2 is not supported for 1D input tensor",
            lambda mode=mode: F.pad(x[0, 0], (1, 1), mode),
        )
        for kind in (RuntimeError, ValueError):
            raises(
                kind,
                f'Padding mode "{mode}" doesn\'t take in value argument',
                lambda mode=mode: F.pad(x, (1, 1), mode, 1.0),
            )
        assert F.pad(x, (1, 1), mode, 0).shape == (1, 1, 5)
        raises(
            RuntimeError,
            "nothing to pad with",
            lambda mode=mode: F.pad(x[..., :0], (1, 1), mode),
        )
        assert F.pad(nt.ones(0, 1, 3), (1, 1), mode).shape == (0, 1, 5)
    raises(
        NotImplementedError,
        "Unrecognised padding mode foo",
        lambda: F.pad(x, (1, 1), "foo"),
    )
    raises(
        ValueError,
        "expected 3D or 4D input (got 2D input)",
        lambda: nn.CircularPad2d(1)(x[0]),
    )


def test_padding_that_crops_a_ring():
    """What is cropped on one side does not come back on the other."""
    x = nt.tensor([[0, 1, 2, 3]])
    assert F.pad(x, (-1, 4), "circular").tolist() == [[1, 2, 3, 1, 2, 3, 1]]
    assert F.pad(x, (2, -2), "circular").tolist() == [[0, 1, 0, 1]]
    assert F.pad(x, (-1, -1), "circular").tolist() == [[1, 2]]
    assert F.pad(x, (-1, -3), "circular").shape == (1, 0)


def test_distances_at_the_edges():
    a, b = nt.tensor([[1.0, 2.0, 3.0]]), nt.tensor([[2.0, 4.0, 3.5]])
    for p, wanted in ((float("-inf"), 0.5), (float("inf"), 2.0), (0, 3.0)):
        assert F.pairwise_distance(a, b, p, eps=0.0).item() == wanted
    zero = nt.zeros(1, 2, requires_grad=True)
    F.cosine_similarity(zero, nt.ones(1, 2)).backward()
    assert zero.grad.isfinite().all()
    raises(
        RuntimeError,
        "floating",
        lambda: F.cosine_similarity(nt.ones(1, 2).long(), nt.ones(1, 2).long()),
    )


def test_padding_of_other_dtypes():
    x = nt.tensor([[1, 2]])
    assert F.pad(x, (1, 1), value=1.5).tolist() == [[1, 1, 2, 1]]
    assert F.pad(x > 1, (1, 0)).tolist() == [[False, False, True]]
    assert F.pad(x, (1, 1), "reflect").tolist() == [[2, 1, 2, 1]]
    same = F.pad(x, ())
    assert same.data_ptr() != x.data_ptr()


def test_flatten_errors():
    raises(
        TypeError,
        "unflattened_size must be a tuple of ints, but found type int",
        lambda: nn.Unflatten(1, 3),
    )
    raises(
        TypeError,
        "unflattened_size must be tuple of ints, but found element of type str at",
        lambda: nn.Unflatten(1, (3, "a")),
    )
    raises(
        TypeError,
        "must be a tuple of tuples, but found type int",
        lambda: nn.Unflatten("a", 3),
    )
    raises(
        TypeError,
        "found element of type int at pos 0",
        lambda: nn.Unflatten("a", (3,)),
    )


def test_parameters_as_a_vector():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    vector = nn.utils.parameters_to_vector(net.parameters())
    assert vector.shape == (13,)
    vector.sum().backward()
    assert net[0].weight.grad.tolist() == [[1, 1]] * 3
    nn.utils.vector_to_parameters(nt.arange(13.0), net.parameters())
    assert net[1].bias.tolist() == [12]
    assert net[0].weight.is_leaf and net[0].weight.requires_grad
    raises(
        RuntimeError,
        "got 3 elements",
        lambda: nn.utils.vector_to_parameters(nt.ones(3), net.parameters()),
    )
    raises(
        TypeError,
        "expected torch.Tensor, but got: int",
        lambda: nn.utils.vector_to_parameters(3, net.parameters()),
    )
