"""The tape and `numtensor.autograd`: expected values are those PyTorch 2.13 gives."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

import numtensor as nt
from numtensor import autograd
from numtensor.autograd import gradcheck, gradgradcheck
from numtensor.autograd.function import once_differentiable
from numtensor.errors import AutogradError, ShapeError

F64 = nt.float64


def leaf(*values, dtype=F64):
    return nt.tensor(list(values), dtype=dtype, requires_grad=True)


def flat(tensor):
    return tensor.detach().reshape(-1).tolist()


# the walk


def test_gradients_accumulate_in_the_same_tensor():
    x = leaf(1, 2)
    (x * x).sum().backward()
    held = x.grad
    assert flat(held) == [2, 4]
    (x * 3).sum().backward()
    assert held is x.grad and flat(held) == [5, 7]


def test_a_second_backward_needs_retain_graph():
    x = leaf(1, 2)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert flat(x.grad) == [4, 8]
    for z in (y, x.tanh(), x.exp(), x[0].sqrt(), x.prod(), x**2):
        with pytest.raises(AutogradError, match="second time"):
            z.backward(nt.ones_like(z), retain_graph=False)
            z.backward(nt.ones_like(z))


def test_what_saves_nothing_can_go_backward_twice():
    x = leaf(1, 2)
    y = (x + 1).sum()
    y.backward()
    y.backward()
    assert flat(x.grad) == [2, 2]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: (x * 2).backward(), "only for scalar outputs"),
        (lambda x: nt.ones(1).backward(), "does not require grad"),
        (lambda x: (x * 2).backward(nt.ones(3)), r"has a shape of torch.Size\(\[3\]\)"),
        (lambda x: x.sum().backward(inputs=[]), "cannot be empty"),
        (lambda x: autograd.grad(x.sum(), ()), "cannot be empty"),
        (lambda x: autograd.grad(x.sum(), leaf(1)), "have been used in the graph"),
        (lambda x: autograd.grad(x.sum(), nt.ones(2)), "does not require grad"),
        (lambda x: autograd.backward([x, x], [x.detach()]), "2 tensors and 1 grad"),
    ],
)
def test_errors_of_grad_and_backward(call, text):
    with pytest.raises(AutogradError if "Size" not in text else ShapeError, match=text):
        call(leaf(1, 2))


def test_grad_returns_and_leaves_no_trace():
    x, y = leaf(1, 2), leaf(3, 4)
    z = x * 2
    found = autograd.grad(z.sum(), [x, x, z])
    assert [flat(g) for g in found] == [[2, 2], [2, 2], [1, 1]]
    assert x.grad is None
    (both,) = autograd.grad([x.sum(), (x * x).sum()], x)
    assert flat(both) == [3, 5]
    assert autograd.grad(x.sum(), [x, y], allow_unused=True)[1] is None
    assert flat(autograd.grad(x.sum(), [y], materialize_grads=True)[0]) == [0, 0]
    with pytest.raises(ValueError, match="allow_unused"):
        autograd.grad(x.sum(), [y], allow_unused=False, materialize_grads=True)


def test_backward_to_some_inputs_only():
    a, b = leaf(1, 2), leaf(3, 4)
    y = a * b
    z = (y * a).sum()
    z.backward(inputs=[a], retain_graph=True)
    assert flat(a.grad) == [6, 16] and b.grad is None
    z.backward(inputs=[y, b])
    assert (flat(a.grad), flat(b.grad), flat(y.grad)) == ([6, 16], [1, 4], [1, 2])


def test_a_gradient_shares_memory_with_nothing():
    g = nt.ones(2, dtype=F64)
    for create_graph in (False, True):
        a, b = leaf(1, 2), leaf(3, 4)
        y = a + b
        y.retain_grad()
        y.backward(g, create_graph=create_graph)
        found = {t.data_ptr() for t in (a.grad, b.grad, y.grad, g)}
        assert len(found) == 4
        c = leaf(1, 2)
        c.sum().backward(create_graph=create_graph)
        assert c.grad.is_contiguous() and c.grad.stride() == (1,)
    for make in (lambda t: t, lambda t: t.view(2, 1).view(2), lambda t: t.clone()):
        a = leaf(1, 2)
        make(a).backward(g)
        assert a.grad.data_ptr() != g.data_ptr()
    kept, stored = [], nt.ones(2, dtype=F64)
    a, b = leaf(1, 2), leaf(1, 2)
    a.register_hook(lambda g: kept.append(g))
    b.register_hook(lambda g: stored)
    for _ in range(2):
        (a * a + b * b).sum().backward()
    assert [flat(g) for g in kept] == [[2, 4], [2, 4]]
    assert (flat(a.grad), flat(stored), flat(b.grad)) == ([4, 8], [1, 1], [2, 2])


def test_a_gradient_lies_in_memory_as_its_leaf_does():
    base = nt.arange(6, dtype=F64).reshape(2, 3)
    x = base.t().requires_grad_()
    (x * x).sum().backward()
    assert x.grad.stride() == (1, 3)
    x = base.clone().requires_grad_()
    x.t().backward(nt.ones(3, 2, dtype=F64))
    assert x.grad.stride() == (3, 1)
    x = base[:, ::2].requires_grad_()
    (x * x).sum().backward()
    assert x.grad.stride() == (2, 1)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((), [300]),
        ((1,), [300]),
        ((3,), [84, 100, 116]),
        ((2, 1), [144, 156]),
        ((1, 1, 3), [84, 100, 116]),
        ((4, 1, 1), [21, 57, 93, 129]),
    ],
)
def test_broadcast_operands_get_sums(shape, expected):
    x = nt.ones(shape, dtype=F64, requires_grad=True)
    b = nt.arange(24, dtype=F64).reshape(4, 3, 2).permute(0, 2, 1)
    (x * b + x).sum().backward()
    assert x.grad.shape == shape and flat(x.grad) == expected


def test_dtypes_of_gradients_are_those_of_the_leaves():
    a, b = leaf(1, 2, dtype=nt.float32), leaf(3, 4)
    (a * b).sum().backward()
    assert (a.grad.dtype, b.grad.dtype) == (nt.float32, nt.float64)
    assert (flat(a.grad), flat(b.grad)) == ([3, 4], [1, 2])
    a.grad = None
    (a * 1).backward(nt.tensor([1, 2]))
    assert a.grad.dtype is nt.float32 and flat(a.grad) == [1, 2]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x**4, [[0.5, 32], [3, 48], [12, 48]]),
        (lambda x: x.tanh(), [[0.786448, 0.070651], [-0.726862, -0.136219],
                              [-0.565209, 0.252654]]),
        (lambda x: x / (1 + x * x), [[0.48, -0.12], [-1.408, 0.032],
                                     [1.0752, 0.0672]]),
        (lambda x: 2**x, [[0.980258, 2.772589], [0.679463, 1.921812],
                          [0.470968, 1.332099]]),
    ],
)  # fmt: skip
def test_three_derivatives(function, expected):
    x = leaf(0.5, 2)
    g = function(x).sum()
    for values in expected:
        (g,) = autograd.grad(g, x, create_graph=True)
        assert flat(g) == pytest.approx(values, abs=1e-6)
        g = g.sum()


def test_a_penalty_on_the_gradient():
    x, w = leaf(1, 2), leaf(3, 1)
    y = (x * w).tanh().sum()
    (g,) = autograd.grad(y, x, create_graph=True)
    (y + (g**2).sum()).backward()
    assert flat(x.grad) == pytest.approx([0.019138, 0.051403], abs=1e-6)
    assert flat(w.grad) == pytest.approx([0.006963, 0.112789], abs=1e-6)


def test_grad_modes_nest_decorate_and_are_per_thread():
    seen = []
    with nt.no_grad():
        seen.append(nt.is_grad_enabled())
        with nt.enable_grad(), nt.set_grad_enabled(False):
            seen.append(nt.is_grad_enabled())
        thread = threading.Thread(target=lambda: seen.append(nt.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [False, False, True] and nt.is_grad_enabled()

    @nt.no_grad()
    def function():
        return nt.is_grad_enabled()

    @nt.no_grad
    def generator():
        sent = yield nt.is_grad_enabled()
        yield nt.is_grad_enabled(), sent

    steps = generator()
    assert not function() and nt.is_grad_enabled()
    assert next(steps) is False and nt.is_grad_enabled()
    assert steps.send(3) == (False, 3) and nt.is_grad_enabled()
    with pytest.raises(ValueError), nt.no_grad():
        raise ValueError
    assert nt.is_grad_enabled()


# hooks


def test_hooks_run_in_order_and_replace_gradients():
    x = leaf(1, 2)
    y = x * 3
    log = []
    y.register_hook(lambda g: log.append(flat(g)))
    handle = y.register_hook(lambda g: g * 2)
    y.retain_grad()
    y.register_hook(lambda g: log.append(flat(g)))
    (y * y).sum().backward(retain_graph=True)
    assert log == [[6, 12], [12, 24]]
    assert (flat(y.grad), flat(x.grad)) == ([12, 24], [36, 72])
    handle.remove()
    handle.remove()
    (y * y).sum().backward()
    assert log[2:] == [[6, 12], [6, 12]]


def test_hooks_of_leaves_and_after_accumulation():
    x = leaf(1, 2)
    log = []
    with x.register_hook(lambda g: g * 10):
        (x * x).sum().backward()
    x.register_post_accumulate_grad_hook(lambda t: log.append((t is x, flat(t.grad))))
    (x * x).sum().backward()
    assert log == [(True, [22, 44])]
    with pytest.raises(AutogradError):
        (x * 1).register_post_accumulate_grad_hook(print)


@pytest.mark.parametrize("hook", [lambda g: g.sum(), lambda g: 3])
def test_a_hook_must_return_a_gradient_of_the_same_shape(hook):
    x = leaf(1, 2)
    x.register_hook(hook)
    with pytest.raises((ShapeError, TypeError), match="hook"):
        (x * x).sum().backward()


def test_hooks_of_nodes():
    x = leaf(1, 2)
    y = x * 2
    y.grad_fn.register_prehook(lambda grads: (grads[0] * 5,))
    y.grad_fn.register_hook(lambda into, outof: (into[0] + 1, *into[1:]))
    end = y.grad_fn.next_functions[0][0]
    log = []
    end.register_hook(lambda *grads: log.append("after"))
    (y * y).sum().backward()
    assert flat(x.grad) == [41, 81]
    assert end.variable is x and end is (x * 1).grad_fn.next_functions[0][0]
    assert log == ["after"]


def test_retain_grad_follows_in_place_changes():
    x = leaf(1, 2)
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    y.sum().backward()
    assert y.retains_grad and (flat(y.grad), flat(x.grad)) == ([1, 1], [6, 6])


# memory


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * x,
        lambda x: x.tanh(),
        lambda x: (x * 1).mul_(x),
        lambda x: x.prod(),
        lambda x: x.view(2, 1) @ x.view(1, 2),
        lambda x: (x * 1)[0].mul_(2),
        lambda x: x.split(1)[1] ** 2,
        lambda x: Square.apply(x),
    ],
)
def test_no_cycle_keeps_tensors_alive(function):
    def forward(x):
        return function(x)

    def backward(x):
        y = function(x)
        y.sum().backward()
        return y

    def leaf_after_backward(x):
        function(x).sum().backward()
        return x

    def twice(x):
        return autograd.grad(function(x).sum(), x, create_graph=True)[0]

    gc.collect()
    gc.disable()
    try:
        for run in (forward, backward, leaf_after_backward, twice):
            gone = weakref.ref(run(leaf(1, 2)))() is None  # `assert` holds values
            assert gone, run.__name__
    finally:
        gc.enable()


def test_backward_drops_saved_tensors_while_the_graph_lives():
    x = leaf(1, 2)
    y = x * 2
    alive = weakref.ref(y)
    z = (y * y).sum()
    del y
    assert alive() is not None
    z.backward()
    assert alive() is None


# functions with their own way back


class Square(autograd.Function):
    @staticmethod
    def forward(ctx, x):
        out = x * x
        ctx.save_for_backward(x, out, None)
        return out

    @staticmethod
    def backward(ctx, g):
        x, out, nothing = ctx.saved_tensors
        assert nothing is None and out.shape == x.shape
        return 2 * g * x


class Pair(autograd.Function):
    """x * scale and exp(x), a mask without gradient, and a string."""

    @staticmethod
    def forward(ctx, x, scale, unused=None):
        ctx.scale = scale
        a, b, mask = x * scale, x.exp(), x > 1
        ctx.save_for_backward(b)
        ctx.mark_non_differentiable(mask)
        return a, b, mask, "text"

    @staticmethod
    def backward(ctx, ga, gb, gm, gt):
        (b,) = ctx.saved_tensors
        ctx.got = flat(ga), flat(gb), gt
        return ga * ctx.scale + gb * b, None, None


class Scaled(autograd.Function):
    @staticmethod
    def forward(x, y, scale=2.0):
        return x * y * scale

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, y, ctx.scale = inputs
        ctx.save_for_backward(x, y)

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        need = ctx.needs_input_grad
        gx = g * y * ctx.scale if need[0] else None
        return gx, g * x * ctx.scale if need[1] else None, None


def test_a_function_of_several_outputs():
    x = leaf(1, 2)
    a, b, mask, text = Pair.apply(x, 3.0)
    node = a.grad_fn
    assert node is b.grad_fn and node.name() == type(node).__name__ == "PairBackward"
    assert (b.output_nr, mask.requires_grad, text) == (1, False, "text")
    assert "grad_fn=<PairBackward>" in repr(a)
    b.sum().backward(retain_graph=True)
    assert node.got == ([0, 0], [1, 1], None)
    assert flat(x.grad) == pytest.approx(flat(x.exp()))
    (a.sum() + b.sum()).backward()
    with pytest.raises(AutogradError, match="second time"):
        _ = node.saved_tensors


def test_setup_context_and_what_needs_a_gradient():
    x, y = leaf(1, 2), nt.tensor([3.0, 4.0], dtype=F64)
    z = Scaled.apply(x, y)
    assert z.grad_fn.needs_input_grad == (True, False, False)
    z.sum().backward()
    assert flat(x.grad) == [6, 8]
    assert flat(Scaled.apply(x, y, 5.0)) == [15, 40]
    y = y.requires_grad_()
    assert gradcheck(Scaled.apply, (x, y)) and gradgradcheck(Scaled.apply, (x, y))
    with nt.no_grad():
        assert not Scaled.apply(x, y).requires_grad


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda g: g, r"incorrect number of gradients \(expected 2, got 1\)"),
        (lambda g: (g, g), "gradient different than None at position 2"),
        (lambda g: (g.new_ones(3), None), r"got \[3\] but expected shape compatible"),
        (lambda g: (2.0, None), r"expected Variable or None \(got float\)"),
    ],
)
def test_what_backward_returns_is_checked(wrong, text):
    class Wrong(autograd.Function):
        @staticmethod
        def forward(ctx, x, k):
            return x * k

        @staticmethod
        def backward(ctx, g):
            return wrong(g)

    with pytest.raises(
        AutogradError if "shape" not in text else ShapeError, match=text
    ):
        Wrong.apply(leaf(1, 2), 2.0).sum().backward()


def test_gradients_are_fitted_to_their_inputs():
    class Wide(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return g.expand(3, 2).double(), None

    x = leaf(1, 2, dtype=nt.float32)
    Wide.apply(x).sum().backward()
    assert x.grad.dtype is nt.float32 and flat(x.grad) == [3, 3]


def test_missing_cotangents_stay_missing_if_asked():
    class Apart(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 1, x * 2

        @staticmethod
        def backward(ctx, a, b):
            assert a is None
            return b * 2

    x = leaf(1, 2)
    Apart.apply(x)[1].sum().backward()
    assert flat(x.grad) == [2, 2]


def test_a_function_that_changes_its_input():
    class Triple(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x.mul_(3)

        @staticmethod
        def backward(ctx, g):
            return g * 3

    x = leaf(1, 2)
    y = x * 1
    assert Triple.apply(y) is y
    Triple.apply(y[1:])
    y.sum().backward()
    assert flat(x.grad) == [3, 9]
    with pytest.raises(AutogradError, match="leaf Variable that requires grad"):
        Triple.apply(leaf(1))


def test_an_input_returned_as_it_is_becomes_a_view_that_may_not_change():
    class Same(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = leaf(1, 2)
    y = Same.apply(x * 1)
    with pytest.raises(AutogradError, match="inside a custom Function"):
        y.add_(1)
    y.sum().backward()
    assert flat(x.grad) == [2, 2]


def test_saved_tensors_are_checked_and_outputs_can_be_differentiated_again():
    class Exp(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0]

    x = leaf(1, 2)
    assert gradgradcheck(Exp.apply, (x,))
    y = Exp.apply(x)
    z = y * 1
    y.add_(1)
    with pytest.raises(AutogradError, match="ExpBackward.*modified by an inplace"):
        z.sum().backward()

    class Number(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(3)

    with pytest.raises(TypeError, match="argument 0 is of type int"):
        Number.apply(x)


def test_once_differentiable_refuses_a_second_derivative():
    class Once(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            return 2 * g * ctx.saved_tensors[0]

    x = leaf(1, 2)
    (g,) = autograd.grad((Once.apply(x) ** 2).sum(), x, create_graph=True)
    assert flat(g) == [4, 32]
    with pytest.raises(AutogradError, match="differentiate twice"):
        g.sum().backward()
