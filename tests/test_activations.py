"""Activations and normalisation: what is refused, in place, random ones, buffers."""

from __future__ import annotations

import laws
import numpy as np
import pytest

import numtensor as nt

F = nt.nn.functional


def raises(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value), str(caught.value)


def test_what_activations_refuse():
    x = nt.ones(2, 3)
    cases = [
        (lambda: F.hardtanh(x, 2, 1), "min_val cannot be greater than max_val"),
        (lambda: nt.nn.Hardtanh(2, 1), "max_val (1) must be greater than min_val (2)"),
        (lambda: F.softshrink(x, -1), "lambda must be greater or equal to 0"),
        (lambda: F.softshrink(x, float("nan")), "lambda must be greater or equal"),
        (lambda: F.celu(x, 0.0), "alpha cannot be 0 for CELU"),
        (lambda: F.gelu(x, "x"), "must be either none or tanh"),
        (lambda: F.rrelu(x, 0.5, 0.2), "less than or equal to the upper bound"),
        (lambda: F.glu(x), "Halving dimension must be even, but dimension 1 is size 3"),
        (lambda: F.glu(nt.tensor(1.0)), "glu does not support scalars"),
        (lambda: F.prelu(x, nt.ones(2)), "Mismatch of parameter numbers"),
        (lambda: F.prelu(x[0], nt.ones(3)), "Mismatch of parameter numbers"),
        (lambda: F.prelu(x.sum(), nt.ones(2)), "Not allow zero-dim input tensor"),
        (lambda: F.prelu(x, nt.ones(1, 3)), "to be a scalar or 1D tensor"),
        (lambda: nt.nn.Softmax2d()(x), "expected input to be 3D or 4D, got 2D"),
    ]  # fmt: skip
    for call, text in cases:
        raises(call, ValueError, text)
    raises(lambda: F.prelu(x, nt.ones(3).double()), TypeError, "Type promoting not")
    raises(lambda: F.prelu(x, 0.5), TypeError, "must be Tensor, not float")
    raises(
        lambda: F.hardtanh(x.to(nt.uint8), -1, 2), TypeError,
        "unsigned type with negative limits",
    )  # fmt: skip
    raises(lambda: F.glu(x, 5), IndexError, "Dimension out of range")


FLOATING = (
    "elu", "selu", "celu", "gelu", "silu", "mish", "hardsigmoid", "hardswish",
    "hardshrink", "softshrink", "softplus", "leaky_relu", "logsigmoid",
)  # fmt: skip
WHOLE = {"relu": [0, 0, 7], "relu6": [0, 0, 6], "hardtanh": [-1, 0, 1]}


@pytest.mark.parametrize("name", FLOATING)
def test_integers_are_refused(name):
    raises(lambda: getattr(F, name)(nt.tensor([1, 2])), TypeError, "not implemented")


def test_integers_that_are_not(device):
    x = laws.made(np.array([-3, 0, 7]))
    for name, expected in WHOLE.items():
        found = getattr(F, name)(x)
        assert (found.tolist(), found.dtype) == (expected, nt.int64)
    assert F.threshold(x, 0, 5).tolist() == [5, 5, 7]
    assert F.softsign(x).dtype is nt.float32


IN_PLACE = (
    "relu", "relu6", "elu", "selu", "celu", "silu", "mish", "hardtanh", "hardsigmoid",
    "hardswish", "leaky_relu", "rrelu",
)  # fmt: skip


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_returns_its_input(name):
    x = nt.linspace(-4, 4, 9)
    expected = getattr(F, name)(x)
    pointer = x.data_ptr()
    assert getattr(F, name)(x, inplace=True) is x
    assert x.data_ptr() == pointer
    laws.assert_same(x.numpy(), expected.numpy(), name)
    leaf = nt.ones(2, requires_grad=True)
    raises(lambda: getattr(F, name)(leaf, inplace=True), RuntimeError, "leaf")


def test_softplus_and_mish_do_not_overflow(device):
    x = laws.made(np.array([-1e4, -800.0, 800.0, 1e4])).requires_grad_()
    for f, values, slopes in (
        (F.softplus, [0, 0, 800, 1e4], [0, 0, 1, 1]),
        (F.mish, [0, 0, 800, 1e4], [0, 0, 1, 1]),
        (F.logsigmoid, [-1e4, -800, 0, 0], [1, 1, 0, 0]),
        (F.elu, [-1, -1, 800, 1e4], [0, 0, 1, 1]),
    ):
        x.grad = None
        found = f(x)
        (slope,) = nt.autograd.grad(found.sum(), x, create_graph=True)
        (again,) = nt.autograd.grad(slope.sum(), x)
        laws.assert_close(laws.numpy_of(found), values, 1e-12)
        laws.assert_close(laws.numpy_of(slope), slopes, 1e-12)
        assert np.isfinite(laws.numpy_of(again)).all()


def test_gelu_keeps_its_digits_far_below_zero():
    # x / 2 * erfc(-x / sqrt(2)), to 40 digits: float32 has 1 - erf = 0 there
    found = F.gelu(nt.tensor([-6.0])).item()
    assert found == pytest.approx(-5.9195e-09, rel=1e-4)


def test_rrelu_draws_slopes_while_training():
    x = nt.full((2000,), -1.0, requires_grad=True)
    found = F.rrelu(x, 0.2, 0.4, training=True)
    slopes = -found.detach().numpy()
    assert slopes.min() >= 0.2
    assert slopes.max() <= 0.4
    assert abs(slopes.mean() - 0.3) < 0.01
    found.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), slopes, rtol=1e-6)
    assert F.rrelu(nt.ones(3), training=True).tolist() == [1, 1, 1]
    net = nt.nn.RReLU(0.2, 0.4)
    assert len(set(net(x).tolist())) > 100
    assert len(set(net.eval()(x).tolist())) == 1


# Normalisation


def test_what_normalisation_refuses():
    x = nt.randn(3, 4)
    cases = [
        (lambda: F.layer_norm(x, [3]), "expected input with shape [*, 3]"),
        (lambda: F.layer_norm(x, []), "at least 1-dimensional"),
        (lambda: F.layer_norm(x, [4], nt.ones(3)), "Expected weight to be of same"),
        (
            lambda: F.layer_norm(x, [4], bias=nt.ones(3)),
            "Expected bias to be of same shape as normalized_shape",
        ),
        (lambda: F.rms_norm(x, [5]), "normalized_shape=[5]"),
        (lambda: F.batch_norm(x, None, None), "must be defined in evaluation mode"),
        (
            lambda: F.batch_norm(nt.ones(1, 4), None, None, training=True),
            "Expected more than 1 value per channel when training",
        ),
        (
            lambda: F.batch_norm(x, nt.zeros(3), nt.ones(3)),
            "running_mean should contain 4 elements not 3",
        ),
        (
            lambda: F.batch_norm(x, None, None, nt.ones(3), training=True),
            "weight should contain 4 elements not 3",
        ),
        (
            lambda: F.batch_norm(x, nt.zeros(4), None, training=True),
            "must either both be None or neither be None",
        ),
        (
            lambda: F.instance_norm(x[None], None, nt.zeros(3)),
            "must either both be None or neither be None",
        ),
        (lambda: F.group_norm(x, 3), "divisible by num_groups"),
        (lambda: F.group_norm(x, 0), "divisible by num_groups"),
        (lambda: F.group_norm(x[0], 2), "at least 2 dimensions"),
        (lambda: F.group_norm(x, 2, nt.ones(3)), "Expected weight to be a vector"),
        (lambda: F.instance_norm(x), "more than 1 spatial element"),
        (
            lambda: F.instance_norm(nt.ones(2, 3, 4), use_input_stats=False),
            "Expected running_mean and running_var to be defined",
        ),
        (lambda: F.local_response_norm(x, 2), "Expected 3D or higher"),
        (
            lambda: F.local_response_norm(x[None], 0),
            "kernel size should be greater than zero",
        ),
        (lambda: F.group_norm(x[:1], 4), "more than 1 value per channel"),
        (lambda: nt.nn.BatchNorm1d(4)(x[0]), "expected 2D or 3D input (got 1D input)"),
        (lambda: nt.nn.BatchNorm2d(4)(x), "expected 4D input (got 2D input)"),
        (lambda: nt.nn.BatchNorm3d(4)(x), "expected 5D input (got 2D input)"),
        (lambda: nt.nn.InstanceNorm2d(4)(x), "expected 3D or 4D input (got 2D input)"),
        (
            lambda: nt.nn.InstanceNorm1d(3, affine=True)(nt.ones(2, 4, 5)),
            "to match num_features (3), but got: 4",
        ),
        (lambda: nt.nn.GroupNorm(3, 4), "must be divisible by num_groups (3)"),
    ]  # fmt: skip
    for call, text in cases:
        raises(call, ValueError, text)
    for call in (
        lambda: F.layer_norm(x.long(), [4]),
        lambda: F.batch_norm(x.long(), None, None, training=True),
        lambda: F.group_norm(x.long(), 2),
    ):
        raises(call, TypeError, "not implemented for torch.int64")
    raises(
        lambda: F.layer_norm(x, [4], nt.ones(4).double()), TypeError,
        "expected scalar type",
    )  # fmt: skip


def test_a_normalized_shape_is_one_size_or_several():
    for given in (3, np.int64(3), [3], nt.Size([3])):
        assert nt.nn.LayerNorm(given).normalized_shape == (3,)
        assert nt.nn.RMSNorm(given).normalized_shape == (3,)


def test_batch_norm_counts_its_batches():
    net = nt.nn.BatchNorm1d(3, momentum=None)
    batches = [nt.randn(5, 3) for _ in range(3)]
    for batch in batches:
        net(batch)
    assert net.num_batches_tracked.item() == 3
    mean = np.mean([b.numpy().mean(0) for b in batches], 0)
    np.testing.assert_allclose(net.running_mean.numpy(), mean, rtol=1e-5, atol=1e-6)
    version = net.running_mean._version
    net.eval()(batches[0])
    assert net.num_batches_tracked.item() == 3
    assert net.running_mean._version == version
    net.reset_running_stats()
    assert net.running_mean.tolist() == [0, 0, 0]
    assert net.running_var.tolist() == [1, 1, 1]
    assert net.num_batches_tracked.item() == 0


def test_statistics_are_marked_as_changed():
    """What was saved of them before a batch is no longer what they are."""
    net = nt.nn.BatchNorm1d(3)
    before = net.running_mean._version
    net(nt.randn(4, 3))
    assert net.running_mean._version == before + 1
    assert net.running_var._version == before + 1


def test_strided_statistics_move_too():
    average, spread = nt.zeros(6)[::2], nt.ones(3, 2)[:, 1]
    x = nt.randn(8, 3)
    F.batch_norm(x, average, spread, training=True, momentum=1.0)
    np.testing.assert_allclose(average.numpy(), x.numpy().mean(0), atol=1e-6)
    np.testing.assert_allclose(spread.numpy(), x.numpy().var(0, ddof=1), rtol=1e-5)


def test_statistics_that_may_not_be_written_to():
    values = np.zeros(3, "float32")
    values.flags.writeable = False
    with pytest.warns(UserWarning, match="not writable"):
        fixed = nt.from_numpy(values)
    for stats in ((fixed, nt.ones(3)), (nt.zeros(1).expand(3), nt.ones(3))):
        with pytest.raises(RuntimeError):
            F.batch_norm(nt.randn(4, 3), *stats, training=True)
    assert not values.any()


def test_groups_of_one_value_in_a_batch():
    """As in PyTorch, which refuses them for a batch of one alone."""
    assert F.group_norm(nt.tensor([[1.0, 2.0], [3.0, 5.0]]), 2).tolist() == [[0, 0]] * 2


def test_normalize_stores_in_out():
    x = nt.tensor([[3.0, 4.0]])
    out = nt.empty(1, 2)
    assert F.normalize(x, out=out) is out
    np.testing.assert_allclose(out.numpy(), [[0.6, 0.8]], rtol=1e-6)
    for call in (
        lambda: F.normalize(x, out=nt.empty(1, 2, dtype=nt.int64)),
        lambda: F.normalize(x.requires_grad_(), out=nt.empty(1, 2)),
    ):
        with pytest.raises(RuntimeError):
            call()


def test_the_state_of_a_batch_norm():
    net = nt.nn.BatchNorm2d(3)
    assert list(net.state_dict()) == [
        "weight", "bias", "running_mean", "running_var", "num_batches_tracked"
    ]  # fmt: skip
    old = {k: v for k, v in net.state_dict().items() if k != "num_batches_tracked"}
    nt.nn.BatchNorm2d(3).load_state_dict(old)  # of PyTorch before 0.4.1
    assert dict(nt.nn.BatchNorm1d(3, affine=False).named_parameters()) == {}


def test_channels_that_do_not_matter_warn():
    with pytest.warns(UserWarning, match="does not match num_features"):
        nt.nn.InstanceNorm1d(3)(nt.randn(2, 4, 5))


@pytest.mark.parametrize("dtype", laws.FLOATS)
def test_rows_far_from_zero_keep_their_digits(dtype, rng):
    values = (rng.normal(size=(3, 3000)) + 1000).astype(dtype)
    found = F.layer_norm(nt.tensor(values), (3000,)).numpy()
    wide = values.astype("float64")
    gap = wide - wide.mean(1, keepdims=True)
    expected = gap / np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    laws.assert_close(found, expected, 1e-4 if dtype == "float32" else 1e-10)


def test_long_rows_on_a_device_are_composed(device, rng):
    values = rng.normal(size=(2, 130))
    weight = rng.normal(size=130)
    grads = []
    for where in (laws.DEVICE, "cpu"):
        x = nt.tensor(values, device=where, requires_grad=True)
        w = nt.tensor(weight, device=where, requires_grad=True)
        y = F.layer_norm(x, (130,), w, w) + F.batch_norm(
            x.reshape(1, 2, 130), None, None, training=True
        ).reshape(2, 130)
        (y * y).sum().backward()
        grads.append([laws.numpy_of(t) for t in (y, x.grad, w.grad)])
    for a, b in zip(*grads, strict=True):
        laws.assert_close(a, b, 1e-9)
