"""Initial values: bounds and moments of the distributions, structure of the others.

The numbers of a seed are this library's own; their distributions are PyTorch's.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import numtensor as nt
from numtensor import nn
from numtensor.nn import init


def values(t):
    return t.detach().cpu().numpy().astype(np.float64)


def assert_uniform(t, bound):
    """Assert numbers uniform in +-bound, by range, mean and variance."""
    x = values(t).ravel()
    assert len(x) > 2000
    assert np.abs(x).max() <= bound * (1 + 1e-6)
    assert np.abs(x).max() > bound * (1 - 10 / len(x) - 1e-3)
    error = bound / math.sqrt(len(x))
    assert abs(x.mean()) < 4 * error
    assert abs(x.var() / (bound**2 / 3) - 1) < 5 / math.sqrt(len(x))


def assert_normal(t, std, mean=0.0):
    x = (values(t).ravel() - mean) / std
    assert len(x) > 2000
    assert abs(x.mean()) < 4 / math.sqrt(len(x))
    assert abs(x.var() - 1) < 6 / math.sqrt(len(x))
    assert abs((x**4).mean() - 3) < 40 / math.sqrt(len(x))


def test_gains():
    for name in ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose2d", "sigmoid"):
        assert init.calculate_gain(name) == 1
    assert init.calculate_gain("tanh") == 5 / 3
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / (1 + 0.01**2))
    assert init.calculate_gain("leaky_relu", 0.2) == math.sqrt(2 / (1 + 0.2**2))
    assert init.calculate_gain("selu") == 0.75
    with pytest.raises(ValueError, match="Unsupported nonlinearity foo"):
        init.calculate_gain("foo")
    for slope in ("a", True):
        with pytest.raises(ValueError, match=f"negative_slope {slope} not a valid"):
            init.calculate_gain("leaky_relu", slope)


def test_simple_fills():
    x = nt.empty(50, 60)
    assert init.uniform_(x) is x
    assert 0 <= x.min() < 0.01 and 0.99 < x.max() < 1
    assert_uniform(init.uniform_(x, -2, 2), 2)
    assert_normal(init.normal_(x), 1)
    assert_normal(init.normal_(x, 3.0, 0.5), 0.5, 3.0)
    assert (init.constant_(x, 0.3) == nt.tensor(0.3)).all()
    assert (init.ones_(x) == 1).all()
    assert (init.zeros_(x) == 0).all()


def test_leaves_stay_leaves():
    p = nn.Parameter(nt.empty(3, 3))
    for fill in (
        init.uniform_, init.normal_, init.trunc_normal_, init.ones_, init.eye_,
        init.xavier_normal_, init.kaiming_uniform_, init.orthogonal_,
    ):  # fmt: skip
        assert fill(p) is p
        assert p.is_leaf and p.requires_grad
    assert init.sparse_(p, 0.5).is_leaf


def test_generators():
    fills = [
        init.uniform_, init.normal_, init.trunc_normal_, init.xavier_uniform_,
        init.xavier_normal_, init.kaiming_uniform_, init.kaiming_normal_,
        init.orthogonal_,
        lambda t, generator: init.sparse_(t, 0.3, generator=generator),
    ]  # fmt: skip
    for fill in fills:
        a, b = (
            fill(nt.empty(4, 5), generator=nt.Generator().manual_seed(5))
            for _ in range(2)
        )
        assert nt.equal(a, b)
        assert not nt.equal(a, fill(nt.empty(4, 5), generator=nt.Generator()))


@pytest.mark.parametrize(
    ("shape", "fan_in", "fan_out"),
    [((60, 50), 50, 60), ((16, 8, 5, 5), 200, 400), ((20, 30, 7), 210, 140)],
)
def test_fans(shape, fan_in, fan_out):
    x = nt.empty(shape)
    total = fan_in + fan_out
    assert init._calculate_fan_in_and_fan_out(x) == (fan_in, fan_out)
    assert_uniform(init.xavier_uniform_(x, 2.0), 2 * math.sqrt(6 / total))
    assert_normal(init.xavier_normal_(x, 2.0), 2 * math.sqrt(2 / total))
    assert_uniform(init.kaiming_uniform_(x), math.sqrt(6 / fan_in))
    bound = math.sqrt(6 / 5 / fan_in)
    assert_uniform(init.kaiming_uniform_(x, a=2), bound)
    bound = math.sqrt(3 / fan_out) * 5 / 3
    assert_uniform(init.kaiming_uniform_(x, mode="fan_out", nonlinearity="tanh"), bound)
    assert_normal(init.kaiming_normal_(x, nonlinearity="relu"), math.sqrt(2 / fan_in))


def test_trunc_normal():
    x = init.trunc_normal_(nt.empty(100, 100), mean=1.0, std=2.0, a=-1.0, b=4.0)
    v = np.sort(values(x).ravel())
    assert v[0] >= -1
    assert v[-1] <= 4
    # the distribution function of what is drawn, at the sorted values, is a line

    def phi(y):
        return 0.5 * (1 + math.erf((y - 1) / 2 / math.sqrt(2)))

    low, high = phi(-1), phi(4)
    found = (np.array([phi(y) for y in v]) - low) / (high - low)
    assert np.abs(found - np.linspace(0, 1, len(v))).max() < 2 / math.sqrt(len(v))
    with pytest.warns(UserWarning, match="more than 2 std"):
        init.trunc_normal_(nt.empty(3), mean=5.0)


def test_structures(device):
    x = nt.empty(2, 3, device=device)
    assert init.eye_(x).tolist() == [[1, 0, 0], [0, 1, 0]]
    w = values(init.dirac_(nt.empty(4, 2, 3, device=device), groups=2))
    expected = np.zeros((4, 2, 3))
    expected[[0, 1, 2, 3], [0, 1, 0, 1], 1] = 1
    np.testing.assert_array_equal(w, expected)
    w = values(init.dirac_(nt.empty(2, 3, 2, 2)))
    assert w.sum() == 2 and w[0, 0, 1, 1] == w[1, 1, 1, 1] == 1
    for shape in ((4, 3), (3, 4), (2, 3, 2)):
        w = values(init.orthogonal_(nt.empty(shape, device=device), gain=2.0))
        w = w.reshape(shape[0], -1) / 2
        small = w @ w.T if len(w) <= w.shape[1] else w.T @ w
        np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-5)
    w = values(init.sparse_(nt.empty(5, 4, device=device), 0.3, std=1.0))
    assert ((w == 0).sum(0) == 2).all()


def test_signs_of_orthogonal_matrices():
    """The diagonal of R is made positive, or its signs would be those of LAPACK."""
    first = [init.orthogonal_(nt.empty(2, 2))[0, 0].item() for _ in range(200)]
    assert 60 < sum(x > 0 for x in first) < 140


def test_errors():
    zeros = nt.zeros
    cases = [
        (lambda: init.xavier_uniform_(zeros(3)), "fewer than 2 dimensions"),
        (lambda: init.eye_(zeros(3)), "Only tensors with 2 dimensions are supported"),
        (lambda: init.dirac_(zeros(3)), "with 3, 4, or 5 dimensions are supported"),
        (lambda: init.dirac_(zeros(3, 2, 2), 2), "dim 0 must be divisible by groups"),
        (lambda: init.orthogonal_(zeros(3)), "2 or more dimensions are supported"),
        (lambda: init.sparse_(zeros(3), 0.1), "Only tensors with 2 dimensions"),
        (
            lambda: init.kaiming_uniform_(zeros(3, 3), mode="foo"),
            r"Mode foo not supported, please use one of \['fan_in', 'fan_out'\]",
        ),
    ]
    for call, text in cases:
        with pytest.raises(ValueError, match=text):
            call()
    for fill in (init.kaiming_uniform_, init.kaiming_normal_):
        with pytest.warns(UserWarning, match="zero-element tensors is a no-op"):
            fill(zeros(0, 3))
    with pytest.warns(FutureWarning, match="now deprecated in favor of `nn.init.xav"):
        init.xavier_uniform(zeros(2, 2))


def test_layers_start_as_in_pytorch():
    layer = nn.Linear(50, 60)
    assert_uniform(layer.weight, 1 / math.sqrt(50))
    assert abs(values(layer.bias)).max() <= 1 / math.sqrt(50)
    assert_uniform(nn.Linear(4, 3000).bias, 0.5)
    layer = nn.Bilinear(10, 20, 30)
    assert_uniform(layer.weight, 1 / math.sqrt(10))
    assert abs(values(layer.bias)).max() <= 1 / math.sqrt(10)
    table = nn.Embedding(100, 50, padding_idx=3)
    assert (table.weight[3] == 0).all()
    assert_normal(table.weight[4:], 1)
    assert nn.Linear(0, 2).bias.tolist() == [0, 0]
    layer.reset_parameters()


@pytest.mark.torch
def test_distributions_beside_torch():
    """The same quantiles, in the same module's parameters, as in PyTorch."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    for make in (
        lambda lib: lib.nn.Linear(40, 100),
        lambda lib: lib.nn.Bilinear(10, 10, 40),
        lambda lib: lib.nn.Embedding(80, 50),
    ):
        for (name, a), (_, b) in zip(
            make(nt).named_parameters(), make(torch).named_parameters(), strict=True
        ):
            n = a.numel()
            points = np.linspace(0.05, 0.95, 10)
            x, y = (np.quantile(values(t), points) for t in (a, b))
            spread = np.quantile(values(b), 0.95) - np.quantile(values(b), 0.05)
            assert np.abs(x - y).max() < 4 * spread / math.sqrt(n), name
