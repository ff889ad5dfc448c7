"""Losses: what is refused and warned of, corners, dtypes, what is computed when."""

from __future__ import annotations

import sys
import threading

import laws
import numpy as np
import pytest

import numtensor as nt
from numtensor import launch_cpu

F = nt.nn.functional


@pytest.fixture
def pair(rng):
    return [nt.tensor(rng.normal(size=(3, 4))) for _ in range(2)]


# Reductions and sizes


def test_old_arguments_warn_and_work(pair):
    for old, new in (
        ({"size_average": False}, "sum"),
        ({"reduce": False}, "none"),
        ({"size_average": True}, "mean"),
    ):
        with pytest.warns(UserWarning, match=f"reduction='{new}' instead") as caught:
            found = F.mse_loss(*pair, **old)
        assert caught[0].filename == __file__
        laws.assert_same(found.numpy(), F.mse_loss(*pair, reduction=new).numpy())
    with pytest.warns(UserWarning, match="reduction='sum' instead"):
        assert nt.nn.MSELoss(size_average=False).reduction == "sum"


@pytest.mark.parametrize(
    "name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"]
)
def test_a_target_that_broadcasts_warns(name, rng):
    x = nt.tensor(rng.normal(size=(3, 1)), requires_grad=True)
    y = nt.tensor(rng.normal(size=(3,)))
    with pytest.warns(UserWarning) as caught:
        loss = getattr(F, name)(x, y)
    assert caught[0].filename == __file__
    assert str(caught[0].message) == (
        "Using a target size (torch.Size([3])) that is different to the input size "
        "(torch.Size([3, 1])). This will likely lead to incorrect results due to "
        "broadcasting. Please ensure they have the same size."
    )
    wide = getattr(F, name)(x.expand(3, 3), y.expand(3, 3))
    laws.assert_close(loss.item(), wide.item(), 1e-12)
    loss.backward()
    assert x.grad.shape == (3, 1)
    with pytest.raises(RuntimeError), pytest.warns(UserWarning):
        getattr(F, name)(nt.ones(2), nt.ones(3))


LOSSES = {
    "mse_loss": (), "l1_loss": (), "smooth_l1_loss": (), "huber_loss": (),
    "kl_div": (), "poisson_nll_loss": (), "soft_margin_loss": (),
    "hinge_embedding_loss": (), "binary_cross_entropy_with_logits": (),
    "multilabel_soft_margin_loss": (),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_an_unknown_reduction(name, pair):
    with pytest.raises(ValueError, match="all is not a valid value for reduction"):
        getattr(F, name)(*pair, reduction="all")


@pytest.mark.parametrize("name", ["mse_loss", "huber_loss"])
def test_integers_are_refused(name):
    with pytest.raises(RuntimeError, match="not implemented for torch.int64"):
        getattr(F, name)(nt.tensor([1, 2]), nt.tensor([1, 2]))


def test_integers_meet_floats():
    found = F.mse_loss(nt.tensor([1.0, 2.0]), nt.tensor([1, 4]))
    assert (found.item(), found.dtype) == (2.0, nt.float32)
    mixed = F.l1_loss(nt.tensor([1.0]), nt.tensor([3.0], dtype=nt.float64))
    assert (mixed.item(), mixed.dtype) == (2.0, nt.float64)


def test_losses_of_nothing(device):
    x = laws.made(np.zeros((0, 3)))
    assert np.isnan(F.mse_loss(x, x).item())
    assert F.mse_loss(x, x, reduction="sum").item() == 0
    assert F.mse_loss(x, x, reduction="none").shape == (0, 3)
    leaf = x.clone().requires_grad_()
    F.mse_loss(leaf, x).backward()
    assert leaf.grad.shape == (0, 3)


def test_special_values():
    inf, nan = float("inf"), float("nan")
    x = nt.tensor([inf, nan, 1.0])
    assert F.l1_loss(x, nt.zeros(3), reduction="none").tolist()[0] == inf
    assert np.isnan(F.mse_loss(x, x, reduction="none").tolist()[:2]).all()
    assert F.smooth_l1_loss(nt.tensor([inf]), nt.tensor([0.0])).item() == inf


@pytest.mark.parametrize("dtype", laws.FLOATS)
def test_a_mean_keeps_its_digits(dtype, rng):
    """Blocks are joined in float64: a long float32 loss is as good as its terms."""
    values = rng.normal(size=300_001).astype(dtype)
    x = nt.tensor(values, requires_grad=True)
    loss = F.mse_loss(x, nt.zeros(300_001, dtype=x.dtype))
    expected = np.mean(values.astype("float64") ** 2)
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-7)
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * values / 300_001, rtol=1e-6)


def test_a_mean_is_one_kernel_each_way(pair, monkeypatch):
    x = pair[0].requires_grad_()
    F.mse_loss(x, pair[1]).backward()  # plans are kept
    runs = []
    plan = F.mse_loss(x, pair[1]).grad_fn.way
    for jobs in plan.compiled.values():
        runs += jobs
    assert len(runs) == 1
    assert launch_cpu.Launch is type(runs[0][0])


def test_both_operands_get_gradients(pair):
    x, y = (t.requires_grad_() for t in pair)
    F.mse_loss(x, y).backward()
    laws.assert_close(x.grad.numpy(), -y.grad.numpy(), 1e-12)
    assert x.grad.shape == (3, 4)


def test_a_loss_is_scaled_and_added(pair):
    x = pair[0].requires_grad_()
    (F.mse_loss(x, pair[1]) * 3 + F.l1_loss(x, pair[1], reduction="sum")).backward()
    gap = (x - pair[1]).detach().numpy()
    laws.assert_close(x.grad.numpy(), 6 * gap / 12 + np.sign(gap), 1e-12)


def test_names_of_nodes(pair):
    x = pair[0].requires_grad_()
    assert F.mse_loss(x, pair[1]).grad_fn.name() == "MseLossBackward0"
    assert F.l1_loss(x, pair[1]).grad_fn.name() == "L1LossBackward0"
    loss = F.cross_entropy(x, nt.tensor([0, 1, 2]))
    assert loss.grad_fn.name() == "NllLossBackward0"


# Arguments of single losses


def test_what_is_refused(pair):
    x, y = pair
    shares = x.sigmoid()
    cases = [
        (lambda: F.smooth_l1_loss(x, y, beta=-1), "negative values for beta"),
        (lambda: F.smooth_l1_loss(x, y, beta=float("nan")), "negative values for beta"),
        (lambda: F.huber_loss(x, y, delta=0), "non-positive values for delta"),
        (lambda: F.huber_loss(x, y, delta=float("nan")), "non-positive values for"),
        (lambda: F.mse_loss(x, y, weight=y[0]), "Weights and input must have the same"),
        (
            lambda: F.mse_loss(x, y, weight=y, reduction="all"),
            "all is not a valid value",
        ),
        (lambda: F.binary_cross_entropy(shares, shares[0]), "Using a target size"),
        (
            lambda: F.binary_cross_entropy(x * 9, shares),
            "all elements of input should be between 0 and 1",
        ),
        (
            lambda: F.binary_cross_entropy(shares, shares + 1),
            "all elements of target should be between 0 and 1",
        ),
        (
            lambda: F.binary_cross_entropy(shares * float("nan"), shares),
            "all elements of input should be between 0 and 1",
        ),
        (
            lambda: F.binary_cross_entropy_with_logits(x, y[0]),
            "must be the same as input size",
        ),
        (lambda: F.gaussian_nll_loss(x, y, -shares), "var has negative"),
        (lambda: F.gaussian_nll_loss(x, y, -1.0), "var has negative"),
        (lambda: F.gaussian_nll_loss(x, y, shares[:2]), "var is of incorrect size"),
        (lambda: F.gaussian_nll_loss(x, y, shares[:1, :1]), "var is of incorrect size"),
        (lambda: F.margin_ranking_loss(x, y, y[0]), "same dimension"),
        (lambda: F.cosine_embedding_loss(x, y, y), "multi-target not supported"),
        (lambda: F.cosine_embedding_loss(x, y, y.sum()), "0D target tensor expects 1D"),
        (lambda: F.triplet_margin_loss(x, y, y[0]), "same number of dimensions"),
        (lambda: F.triplet_margin_loss(x, y, y, margin=0), "margin must be greater"),
        (lambda: nt.nn.TripletMarginLoss(margin=-1), "margin must be greater"),
        (
            lambda: F.multi_margin_loss(x, nt.tensor([0, 1, 2]), p=3),
            "only p == 1 and p == 2",
        ),
        (lambda: F.multi_margin_loss(x, nt.tensor([0, 1])), "Expected target size"),
        (lambda: F.multi_margin_loss(x, nt.tensor([0, 1, 4])), "target out of range"),
        (
            lambda: F.multi_margin_loss(x, nt.tensor([0, 1, 2]), weight=y[:, 0]),
            "inconsistent weight size, expected 4",
        ),
        (
            lambda: F.multilabel_margin_loss(x, nt.full((3, 4), 9)),
            "argument #2 'target' is out of range",
        ),
        (
            lambda: F.multilabel_margin_loss(x, nt.zeros(3, 3, dtype=nt.int64)),
            "inconsistent target size",
        ),
        (
            lambda: F.binary_cross_entropy(shares, shares, nt.ones(2, 3, 4)),
            "output with shape [3, 4] doesn't match the broadcast shape [2, 3, 4]",
        ),
        (
            lambda: F.binary_cross_entropy_with_logits(
                x[0], y[0], pos_weight=nt.ones(2, 4)
            ),
            "output with shape [4] doesn't match the broadcast shape [2, 4]",
        ),
        (lambda: nt.nn.MultiMarginLoss(p=3), "only p == 1 and p == 2"),
        (lambda: nt.nn.MultiMarginLoss(weight=y), "weight must be one-dimensional"),
    ]  # fmt: skip
    for call, text in cases:
        with pytest.raises((ValueError, IndexError)) as caught:
            call()
        assert text in str(caught.value), str(caught.value)


def test_what_dtypes_of_classes_are_refused(pair):
    x, classes = pair[0], nt.tensor([0, 1, 2])
    for call, text in (
        (lambda: F.multi_margin_loss(x, classes.int()), "Long but found Int"),
        (lambda: F.multi_margin_loss(x.long(), classes), "not implemented"),
        (
            lambda: F.multi_margin_loss(x, classes, weight=nt.ones(4)),
            "expected scalar type Double but found Float",
        ),
        (lambda: F.multilabel_margin_loss(x, x), "Long but found Double"),
    ):
        with pytest.raises(TypeError) as caught:
            call()
        assert text in str(caught.value), str(caught.value)


def test_the_mean_of_kl_div_warns(pair):
    with pytest.warns(UserWarning, match="'mean' divides the total loss by both") as w:
        F.kl_div(pair[0], pair[1].sigmoid())
    assert w[0].filename == __file__


def test_a_huber_loss_that_never_bends(pair):
    x, y = pair[0].requires_grad_(), pair[1]
    loss = F.huber_loss(x, y, delta=float("inf"))
    loss.backward()
    laws.assert_close(loss.item(), F.mse_loss(x, y).item() / 2, 1e-12)
    laws.assert_close(x.grad.numpy(), (x - y).detach().numpy() / 12, 1e-12)


def test_a_variance_may_be_an_integer(pair):
    found = F.gaussian_nll_loss(*pair, 2)
    assert found.item() == F.gaussian_nll_loss(*pair, 2.0).item()


# Names of dims


EACH = {
    "mse_loss": {}, "l1_loss": {}, "smooth_l1_loss": {}, "huber_loss": {},
    "kl_div": {}, "poisson_nll_loss": {}, "soft_margin_loss": {},
    "hinge_embedding_loss": {}, "binary_cross_entropy_with_logits": {},
    "binary_cross_entropy": {}, "gaussian_nll_loss": {"var": 1.0},
}  # fmt: skip


@pytest.mark.parametrize("name", EACH)
def test_names_of_elements_must_agree(name, pair):
    f = getattr(F, name)
    x, y = (t.sigmoid().rename("N", "C") for t in pair)
    assert f(x, y.rename(None), **EACH[name], reduction="none").names == ("N", "C")
    assert f(x, y, **EACH[name], reduction="sum").names == ()
    with pytest.raises(nt.errors.DimNameError, match="'N' and dim 'C' are at the same"):
        f(x, y.rename("C", "N"), **EACH[name], reduction="sum")


def test_names_of_rows_variances(pair):
    x = pair[0].rename("N", "C")
    var = nt.ones(3, dtype=nt.float64, names=("N",))
    assert F.gaussian_nll_loss(x, x, var, reduction="none").names == ("N", "C")


def test_losses_over_classes_have_no_names():
    x = nt.zeros(2, 3, names=("N", "C"))
    classes = nt.zeros(2, dtype=nt.int64, names=("rows",))
    assert F.cross_entropy(x, classes, reduction="none").names == (None,)


# Classes


@pytest.mark.parametrize("name", ["nll_loss", "cross_entropy"])
def test_what_classes_are_refused(name):
    f = getattr(F, name)
    x = nt.zeros(3, 4)
    classes = nt.tensor([0, 1, 2])
    cases = [
        (lambda: f(x, nt.tensor([0, 1, 5])), IndexError, "Target 5 is out of bounds."),
        (
            lambda: f(x, nt.tensor([-1, 1, 2])), IndexError,
            "Target -1 is out of bounds.",
        ),
        (lambda: f(x[0], nt.tensor(7)), IndexError, "Target 7 is out of bounds."),
        (
            lambda: f(x, nt.tensor([0, 1, 9]), reduction="none"), IndexError,
            "Target 9 is out of bounds.",
        ),
        (
            lambda: f(x, nt.tensor([0, 1])), ValueError,
            "Expected input batch_size (3) to match target batch_size (2).",
        ),
        (
            lambda: f(x, nt.tensor([[0], [1], [2]])), RuntimeError,
            "0D or 1D target tensor expected, multi-target not supported",
        ),
        (lambda: f(x, classes.int()), RuntimeError, "Long or Byte"),
        (lambda: f(x, classes.double()), RuntimeError, "Long or Byte"),
        (lambda: f(x.long(), classes), RuntimeError, "not implemented"),
        (lambda: f(x.sum(), nt.tensor(0)), ValueError, "Expected 1 or more dimensions"),
        (
            lambda: f(nt.zeros(2, 3, 4), nt.zeros(2, 5, dtype=nt.int64)), ValueError,
            "Expected target size [2, 4], got [2, 5]",
        ),
        (
            lambda: f(x, classes, weight=nt.ones(3)), RuntimeError,
            "all 4 classes or no classes but got weight tensor of shape: [3]",
        ),
        (
            lambda: f(x, classes, weight=nt.ones(4).double()), RuntimeError,
            "expected scalar type",
        ),
        (
            lambda: f(x, classes, weight=nt.ones(4, requires_grad=True)), RuntimeError,
            "not differentiable with respect to argument 'weight'",
        ),
        (
            lambda: f(x, classes, reduction="all"), ValueError,
            "all is not a valid value for reduction",
        ),
        (lambda: f(x, classes, ignore_index=2**64), ValueError, "Overflow"),
    ]  # fmt: skip
    for call, kind, text in cases:
        with pytest.raises(kind) as caught:
            call()
        assert text in str(caught.value), str(caught.value)


def test_what_probabilities_are_refused():
    x = nt.zeros(3, 4)
    for call, text in (
        (lambda: F.cross_entropy(x, x.long()), "Expected floating point type"),
        (
            lambda: F.cross_entropy(x, x, ignore_index=1),
            "ignore_index is not supported",
        ),
        (lambda: F.cross_entropy(x, x, reduction="all"), "all is not a valid value"),
        (lambda: F.cross_entropy(x, x, weight=nt.ones(3)), "all 4 classes"),
        (
            lambda: F.cross_entropy(x, nt.tensor([0, 1, 2]), label_smoothing=2),
            "label_smoothing must be between 0.0 and 1.0",
        ),
    ):
        with pytest.raises(RuntimeError) as caught:
            call()
        assert text in str(caught.value), str(caught.value)


def test_a_wrong_class_is_told_to_its_thread():
    """A call beside it, whose classes are right, neither hides nor gets the error."""
    x, right, wrong = nt.zeros(2, 3), nt.tensor([0, 1]), nt.tensor([1, 7])
    told, harmed = [], []

    def refused():
        for _ in range(2000):
            try:
                F.cross_entropy(x, wrong)
            except IndexError:
                told.append(1)

    def fine():
        try:
            for _ in range(4000):
                F.cross_entropy(x, right)
        except IndexError as error:
            harmed.append(error)

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=f) for f in (refused, fine, fine)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(switch)
    assert len(told) == 2000
    assert not harmed


@pytest.mark.cuda
def test_a_wrong_class_on_a_device_gives_nan():
    """Nothing is read there; the host would have to wait to be told."""
    x = nt.zeros(2, 3, device="cuda", requires_grad=True)
    classes = nt.tensor([7, 1], device="cuda")
    for name in ("nll_loss", "cross_entropy"):
        found = getattr(F, name)(x, classes, reduction="none")
        assert np.isnan(found[0].item())
        assert np.isfinite(found[1].item())
        assert np.isnan(getattr(F, name)(x, classes).item())


@pytest.mark.cuda
def test_long_rows_on_a_device_are_composed(rng):
    values, classes = rng.normal(size=(2, 130)), nt.tensor([129, 3])
    found = []
    for device in ("cuda", "cpu"):
        x = nt.tensor(values, device=device, requires_grad=True)
        loss = F.cross_entropy(x, classes.to(device))
        loss.backward()
        found.append((loss.item(), laws.numpy_of(x.grad)))
    laws.assert_close(found[0][0], found[1][0], 1e-12)
    laws.assert_close(found[0][1], found[1][1], 1e-12)


def test_classes_of_nothing(device):
    x = laws.made(np.zeros((0, 4))).requires_grad_()
    classes = laws.made(np.zeros(0, "int64"))
    for name in ("nll_loss", "cross_entropy"):
        f = getattr(F, name)
        loss = f(x, classes)
        assert np.isnan(loss.item())
        assert f(x, classes, reduction="sum").item() == 0
        assert f(x, classes, reduction="none").shape == (0,)
        loss.backward()
        assert x.grad.shape == (0, 4)


@pytest.mark.parametrize("name", ["nll_loss", "cross_entropy"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_gradient_again(name, reduction, rng):
    """The gradient kept by the loss, computed anew, and differentiable are one."""
    x = nt.tensor(rng.normal(size=(5, 4)), requires_grad=True)
    classes = nt.tensor([0, 3, -100, 1, 2])
    weight = nt.tensor(rng.uniform(0.5, 2, size=4))
    loss = getattr(F, name)(x, classes, weight, reduction=reduction)
    g = nt.ones_like(loss) * 2.5
    found = [nt.autograd.grad(loss, x, g, retain_graph=True)[0] for _ in range(2)]
    found[0].zero_()  # nobody else has this memory
    found[0] = nt.autograd.grad(loss, x, g, retain_graph=True)[0]
    found += nt.autograd.grad(loss, x, g, create_graph=True)
    for other in found[1:]:
        laws.assert_close(other.detach().numpy(), found[0].numpy(), 1e-12)
    loss.backward(g)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward(g)


def test_scores_may_change_after_the_loss():
    """As in PyTorch, which keeps what it computed from them."""
    x = nt.zeros(2, 3, requires_grad=True)
    scores = x * 1
    loss = F.cross_entropy(scores, nt.tensor([0, 1]))
    scores.detach().add_(7)
    loss.backward()
    third = 1 / 3 / 2
    np.testing.assert_allclose(
        x.grad.numpy(), [[third - 0.5, third, third], [third, third - 0.5, third]],
        rtol=1e-6,
    )  # fmt: skip


def test_many_classes_in_threads(rng):
    values = rng.normal(size=(300, 1000))
    x = nt.tensor(values, requires_grad=True)
    classes = rng.integers(0, 1000, 300)
    loss = F.cross_entropy(x, nt.tensor(classes))
    loss.backward()
    powers = np.exp(values)
    shares = powers / powers.sum(1, keepdims=True)
    expected = -np.log(shares[np.arange(300), classes]).mean()
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-12)
    shares[np.arange(300), classes] -= 1
    laws.assert_close(x.grad.numpy(), shares / 300, 1e-12)


def test_weights_move_with_the_module():
    net = nt.nn.CrossEntropyLoss(weight=nt.ones(3))
    assert [name for name, _ in net.named_buffers()] == ["weight"]
    assert net.double().weight.dtype is nt.float64
    assert list(nt.nn.BCEWithLogitsLoss(pos_weight=nt.ones(2)).state_dict()) == [
        "pos_weight"
    ]


@pytest.mark.torch
def test_float32_beside_torch(rng):
    torch = pytest.importorskip("torch")
    values = rng.normal(size=(40, 30)).astype("float32") * 5
    classes = rng.integers(0, 30, 40)
    for smoothing in (0.0, 0.1):
        x = nt.tensor(values, requires_grad=True)
        y = torch.tensor(values, requires_grad=True)
        a = F.cross_entropy(x, nt.tensor(classes), label_smoothing=smoothing)
        b = torch.nn.functional.cross_entropy(
            y, torch.tensor(classes), label_smoothing=smoothing
        )
        a.backward()
        b.backward()
        np.testing.assert_allclose(a.item(), b.item(), rtol=1e-6)
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), atol=1e-7)
