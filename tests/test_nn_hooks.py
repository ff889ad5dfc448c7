"""Hooks of modules: before and after forward, and on the way back."""

from __future__ import annotations

import pytest

import numtensor as nt
from numtensor import nn


class Double(nn.Module):
    def forward(self, x, *, times=2):
        return x * times


def test_order_and_removal():
    net, log = Double(), []
    first = net.register_forward_pre_hook(lambda m, args: log.append("pre"))
    net.register_forward_pre_hook(lambda m, args: log.append("pre 0"), prepend=True)
    net.register_forward_hook(lambda m, args, out: log.append("post"))
    net.register_forward_hook(lambda *args: log.append("post 0"), prepend=True)
    assert net(3) == 6
    assert log == ["pre 0", "pre", "post 0", "post"]
    first.remove()
    log.clear()
    net(3)
    assert log == ["pre 0", "post 0", "post"]


def test_hooks_change_arguments_and_results():
    net = Double()
    net.register_forward_pre_hook(lambda m, args: args[0] + 1)
    net.register_forward_hook(lambda m, args, out: (args, out))
    assert net(3) == ((4,), 8)
    net = Double()
    net.register_forward_pre_hook(
        lambda m, args, kwargs: (args, {"times": 5}), with_kwargs=True
    )
    net.register_forward_hook(
        lambda m, args, kwargs, out: (kwargs, out), with_kwargs=True
    )
    assert net(3, times=1) == ({"times": 5}, 15)
    net.register_forward_pre_hook(lambda m, args, kwargs: 3, with_kwargs=True)
    with pytest.raises(RuntimeError, match="must return None or a tuple"):
        net(3)


def test_always_call():
    class Fails(nn.Module):
        def forward(self, x):
            raise KeyError("x")

    net, log = Fails(), []
    net.register_forward_hook(lambda m, args, out: log.append("never"))
    net.register_forward_hook(
        lambda m, args, out: log.append((args, out)), always_call=True
    )
    with pytest.raises(KeyError):
        net(1)
    assert log == [((1,), None)]

    def breaks(m, args, out):
        raise ValueError("y")

    net.register_forward_hook(breaks, always_call=True)
    with pytest.warns(UserWarning, match="silenced"), pytest.raises(KeyError):
        net(1)


LIBRARIES = [nt, pytest.param("torch", marks=pytest.mark.torch)]


@pytest.fixture(params=LIBRARIES, ids=["numtensor", "torch"])
def lib(request):
    """Run a test in PyTorch too: the same statements hold there."""
    return nt if request.param is nt else pytest.importorskip("torch")


def test_full_backward_hook(lib):
    net = lib.nn.Linear(2, 1, bias=False)
    with lib.no_grad():
        net.weight.copy_(lib.tensor([[2.0, 3.0]]))
    seen = []
    handle = net.register_full_backward_hook(
        lambda m, gin, gout: seen.append((m, gin, gout))
    )
    x = lib.ones(1, 2, requires_grad=True)
    y = net(x)
    assert y.grad_fn is not None
    (y * 5).sum().backward()
    ((m, gin, gout),) = seen
    assert m is net
    assert [g.tolist() for g in gin] == [[[10.0, 15.0]]]
    assert [g.tolist() for g in gout] == [[[5.0]]]
    assert x.grad.tolist() == [[10.0, 15.0]]
    assert net.weight.grad.tolist() == [[5.0, 5.0]]
    handle.remove()
    net(x).sum().backward()
    assert len(seen) == 1


def test_backward_hooks_change_gradients(lib):
    net = lib.nn.Identity()
    net.register_full_backward_pre_hook(lambda m, gout: (gout[0] * 2,))
    net.register_full_backward_hook(lambda m, gin, gout: (gin[0] + gout[0],))
    x = lib.ones(2, requires_grad=True)
    net(x).sum().backward()
    assert x.grad.tolist() == [4.0, 4.0]


def test_inputs_without_gradients(lib):
    net = lib.nn.Linear(2, 1)
    seen = []
    net.register_full_backward_hook(lambda m, gin, gout: seen.append((gin, gout)))
    with pytest.warns(UserWarning, match="since no inputs require gradients"):
        net(lib.ones(3, 2)).sum().backward()
    ((gin, gout),) = seen
    assert gin == (None,)
    assert gout[0].tolist() == [[1.0]] * 3


def test_several_inputs_and_outputs(lib):
    class Two(lib.nn.Module):
        def forward(self, a, n, b):
            return a * n, a * b

    net, seen = Two(), []
    net.register_full_backward_hook(lambda m, gin, gout: seen.append((gin, gout)))
    a = lib.ones(1, requires_grad=True)
    b = lib.ones(1)
    first, second = net(a, 3, b)
    second.sum().backward()
    ((gin, gout),) = seen
    assert gin[0].tolist() == [1.0]
    # PyTorch gives zeros where nothing came from, or goes to
    assert gin[1] is None
    assert gin[2] is None or gin[2].tolist() == [0.0]
    assert gout[0] is None or gout[0].tolist() == [0.0]
    assert gout[1].tolist() == [1.0]


def test_nothing_is_recorded_without_grad(lib):
    net = lib.nn.Linear(2, 1)
    net.register_full_backward_hook(lambda *args: None)
    with lib.no_grad():
        assert net(lib.ones(1, 2)).grad_fn is None


def test_second_derivatives_pass_through(lib):
    net = lib.nn.Tanh()
    net.register_full_backward_hook(lambda *args: None)
    x = lib.tensor([0.5], dtype=lib.float64, requires_grad=True)
    (g,) = lib.autograd.grad(net(x).sum(), x, create_graph=True)
    (h,) = lib.autograd.grad(g.sum(), x)
    t = x.detach().tanh()
    assert lib.allclose(h, -2 * t * (1 - t * t))


def test_wrong_answers(lib):
    x = lib.ones(2, requires_grad=True)
    net = lib.nn.Identity()
    net.register_full_backward_hook(lambda m, gin, gout: (gin[0], gin[0]))
    with pytest.raises(RuntimeError, match="invalid number of grad_input"):
        net(x).sum().backward()
    net = lib.nn.Linear(2, 1)
    net.register_full_backward_hook(lambda m, gin, gout: gout)
    with pytest.warns(UserWarning), pytest.raises(RuntimeError, match="always return"):
        net(lib.ones(1, 2)).sum().backward()


def test_results_may_not_be_changed_in_place(lib):
    net = lib.nn.Linear(2, 1)
    net.register_full_backward_hook(lambda *args: None)
    y = net(lib.ones(1, 2, requires_grad=True))
    with pytest.raises(RuntimeError, match="is a view and is being modified inplace"):
        y.add_(1)
