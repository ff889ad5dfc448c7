"""Every operator records, on a device without memory, what it would have run.

Replaying what was recorded, by eager kernels, gives what the eager operator gives: so
traces are right whatever fusion makes of them.
"""

from __future__ import annotations

import pickle
from functools import partial

import laws
import numpy as np
import optim_cases
import pytest
import replaying
from test_cuda_coverage import FACTORIES, LIKE, UNINITIALISED, calls, tensors_in

import numtensor as nt
import numtensor.nn.functional as F
import numtensor.optim
from numtensor.errors import TraceError
from numtensor.ops.registry import TABLE

#: operators that need the elements of their arguments
NEED_DATA = {
    "allclose", "argwhere", "bincount", "equal", "masked_select", "nonzero", "unique",
    "unique_consecutive",
}  # fmt: skip


def deep(found):
    """Return all tensors in arguments, those in dicts too."""
    if isinstance(found, nt.Tensor):
        return [found]
    if isinstance(found, dict):
        found = list(found.values())
    many = found if isinstance(found, (tuple, list)) else ()
    return [t for part in many for t in deep(part)]


def same(got, expected, name, tolerance=1e-10):
    assert got.shape == expected.shape, (name, got.shape, expected.shape)
    assert got.dtype == expected.dtype, (name, got.dtype, expected.dtype)
    if expected.dtype.kind == "f":
        if expected.dtype == np.float32:
            tolerance = max(tolerance, 1e-5)
        laws.assert_close(got, expected, tolerance, name)
    else:
        np.testing.assert_array_equal(got, expected, err_msg=name)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_replay_gives_what_eager_gives(name):
    declared = TABLE[name]
    count = len(calls(declared))
    for k in range(count):
        for _ in range(2):  # what a first trace leaves in caches is used again
            one(declared, k)


def one(declared, k):
    name = declared.name
    nt.manual_seed(3)
    args, keywords = calls(declared)[k]
    eager = declared.call(*args, **keywords)
    expected = [laws.numpy_of(t) for t in tensors_in(eager)]
    args, keywords = calls(declared)[k]
    keywords.pop("device", None)
    given = list({id(t): t for t in deep([args, keywords])}.values())
    nt.manual_seed(3)
    if name in NEED_DATA:
        with pytest.raises(TraceError, match="needs the elements"):
            replaying.replayed(
                lambda: tensors_in(declared.call(*args, **keywords)), *given
            )
        return
    found, _, trace = replaying.replayed(
        lambda: tensors_in(declared.call(*args, **keywords)), *given
    )
    assert len(found) == len(expected), name
    if name in UNINITIALISED:
        return
    for a, b in zip(found, expected, strict=True):
        same(a, b, name)


# The way back


def leaves_of(args):
    return [t for t in deep(list(args)) if t.is_floating_point()]


def slope(declared, args, keywords, leaves):
    """Return the gradients of a weighted sum of an operator's results."""
    found = [
        t
        for t in deep([declared.call(*args, **keywords)])
        if t.is_floating_point() and t.requires_grad
    ]
    rng = np.random.default_rng(3)
    total = None
    for t in found:
        weights = nt.tensor(rng.uniform(0.5, 1.5, tuple(t.shape)))
        part = (t * weights).sum()
        total = part if total is None else total + part
    if total is None:
        return []
    return list(nt.autograd.grad(total, leaves, allow_unused=True))


DIFFERENTIABLE = sorted(n for n in TABLE if TABLE[n].differentiable)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_replay_gives_the_gradients_of_eager(name):
    declared = TABLE[name]
    if name in NEED_DATA or name in LIKE or name in FACTORIES:
        pytest.skip("needs data, or has no gradients")
    for k in range(len(calls(declared))):
        results = []
        for traced in (False, True, True):
            nt.manual_seed(3)
            args, keywords = calls(declared)[k]
            keywords.pop("device", None)
            leaves = list({id(t): t for t in leaves_of(args)}.values())
            leaves = [t for t in leaves if t.is_leaf]
            if not leaves:
                break
            nt.manual_seed(3)
            for t in leaves:
                t.requires_grad_(True)
            given = list({id(t): t for t in deep([args, keywords])}.values())
            if not traced:
                grads = slope(declared, args, keywords, leaves)
                results.append([None if g is None else laws.numpy_of(g) for g in grads])
                continue
            holes = []

            def run(args=args, keywords=keywords, leaves=leaves, holes=holes):
                grads = slope(declared, args, keywords, leaves)
                holes[:] = [g is None for g in grads]
                return [g for g in grads if g is not None]

            found, _, _ = replaying.replayed(run, *given)
            found = iter(found)
            results.append([None if hole else next(found) for hole in holes])
        for got in results[1:]:
            assert len(got) == len(results[0])
            for a, b in zip(got, results[0], strict=True):
                assert (a is None) == (b is None), name
                if a is not None:
                    same(a, b, name)


# Optimisers


def model(kind=np.float32):
    rng = np.random.default_rng(2)
    params = [
        nt.tensor(rng.standard_normal(shape).astype(kind)).requires_grad_()
        for shape in optim_cases.SHAPES
    ]
    return params, nt.tensor(rng.standard_normal((4, 3)).astype(kind))


def one_step(optimizer, params, x):
    optimizer.zero_grad()
    loss = ((x @ params[0]).tanh().sum(0) * params[1][:2]).sum()
    loss = loss + (params[1] ** 2).sum() * 0.5 + (params[0] ** 2).sum()
    loss.backward()
    optimizer.step()
    return loss


def state_of(optimizer):
    return {
        (k, name): t
        for k, p in enumerate(optimizer.param_groups[0]["params"])
        for name, t in optimizer.state[p].items()
        if isinstance(t, nt.Tensor)
    }


@pytest.mark.parametrize("name", sorted(optim_cases.OPTIMISERS))
def test_a_recorded_step_replayed_is_many_eager_steps(name):
    kind, options = optim_cases.OPTIMISERS[name]
    if kind == "LBFGS":
        pytest.skip("its searches need data")
    wanted, x = model()
    optimizer = getattr(nt.optim, kind)(wanted, **options)
    params, _ = model()
    traced = getattr(nt.optim, kind)(params, **options)
    # the first step of momentum with dampening is another
    for _ in range(2 if options.get("dampening") else 0):
        one_step(optimizer, wanted, x)
        one_step(traced, params, x)
    traced.prepare()
    state = state_of(traced)
    with replaying.tracing_of(*params, x, *state.values()) as trace:
        loss = replaying.described(trace, one_step(traced, params, x))
        own = [replaying.described(trace, p) for p in params]
        held = {k: replaying.described(trace, t) for k, t in state.items()}
    for p in params:
        assert p.grad is None or not nt.tracing.is_traced(p.grad._spec.device)
    machine = replaying.Machine(trace)
    for _ in range(9):
        expected = one_step(optimizer, wanted, x).item()
        machine.run()
        np.testing.assert_allclose(machine.value(loss), expected, rtol=2e-5)
    for d, p in zip(own, wanted, strict=True):
        same(machine.value(d), laws.numpy_of(p), name, 2e-5)
    after = state_of(optimizer)
    assert after.keys() == held.keys()
    for key, d in held.items():
        same(machine.value(d), laws.numpy_of(after[key]), f"{name} {key}", 2e-5)


@pytest.mark.parametrize("name", sorted(optim_cases.OPTIMISERS))
def test_prepared_optimisers_go_the_same_way(name):
    kind, options = optim_cases.OPTIMISERS[name]
    results = []
    for prepared in (False, True):
        params, x = model()
        optimizer = getattr(nt.optim, kind)(params, **options)
        if prepared:
            optimizer.prepare()
            optimizer.prepare()
        for _ in range(3):
            if kind != "LBFGS":
                one_step(optimizer, params, x)
        results.append([laws.numpy_of(p) for p in params])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


# Operators that are made of others while a function is traced


def both(make, function):
    """Compare a function's results and gradients with what is replayed of it.

    `make()` returns leaves, then tensors that are none.
    """
    nt.manual_seed(3)
    leaves, others = make()
    expected = [laws.numpy_of(t) for t in function(*leaves, *others)]
    after = [laws.numpy_of(t) for t in others]
    nt.manual_seed(3)
    leaves, others = make()
    found, own, trace = replaying.replayed(
        lambda: function(*leaves, *others), *leaves, *others
    )
    for a, b in zip(found, expected, strict=True):
        same(a, b, function, 1e-9)
    for a, b in zip(own[len(leaves) :], after, strict=True):
        same(a, b, "what it changed", 1e-9)
    return trace


def with_slopes(call):
    """Return what gives results and the gradients of the leaves."""

    def function(*tensors):
        found = call(*tensors)
        leaves = [t for t in tensors if t.requires_grad]
        weights = (nt.arange(found.numel(), dtype=found.dtype) * 0.25 + 1).reshape(
            tuple(found.shape)
        )
        return [found, *nt.autograd.grad((found * weights).sum(), leaves)]

    return function


def scores(kind, shape=(5, 4)):
    rng = np.random.default_rng(8)
    values = rng.standard_normal(shape).astype(kind)
    return nt.tensor(values).requires_grad_()


FAR = [
    [np.inf, 0.0, 1.0, 2.0],
    [-np.inf, 0.0, 1.0, 2.0],
    [-np.inf] * 4,
    [np.nan, 0.0, 1.0, 2.0],
    [1e4, -1e4, 0.0, 88.0],
]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.softmax(x, 1),
        lambda x: F.log_softmax(x, 1),
        lambda x: F.softmax(x, 0),
        lambda x: x.logsumexp(1),
        lambda x: x.logsumexp((0, 1)),
    ],
)
def test_softmax_and_its_kin(call, kind):
    both(lambda: ([scores(kind)], []), with_slopes(call))
    both(lambda: ([scores(kind).detach().t().requires_grad_()], []), with_slopes(call))
    both(
        lambda: ([nt.tensor(np.array(FAR, kind)).requires_grad_()], []),
        with_slopes(call),
    )


@pytest.mark.parametrize("shape", [(0, 4), (4, 0)])
def test_softmax_of_nothing(shape):
    for call in (F.softmax, F.log_softmax):
        both(
            lambda: ([scores(np.float64, shape)], []), with_slopes(partial(call, dim=1))
        )


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore", [-100, 1])
@pytest.mark.parametrize("smoothing", [None, 0.0, 0.3])
def test_losses_of_classes(kind, reduction, weighted, ignore, smoothing):
    def make():
        target = nt.tensor([0, 3, 1, 2, 1])
        weight = nt.tensor(np.array([0.5, 2.0, 1.0, 0.25], kind))
        return [scores(kind)], [target] + [weight] * weighted

    def call(x, target, weight=None):
        options = {"weight": weight, "ignore_index": ignore, "reduction": reduction}
        if smoothing is None:
            return F.nll_loss(x, target, **options)
        return F.cross_entropy(x, target, label_smoothing=smoothing, **options)

    both(make, with_slopes(call))


@pytest.mark.parametrize("loss", [F.nll_loss, F.cross_entropy])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("shape", [(3, 4, 2), (4,), (0, 4), (3, 4, 2, 2)])
def test_losses_of_classes_of_all_shapes(loss, reduction, shape):
    def make():
        rest = shape[:1] + shape[2:] if len(shape) > 1 else ()
        target = np.arange(int(np.prod(rest))).reshape(rest) % 4
        return [scores(np.float64, shape)], [nt.tensor(target)]

    both(make, with_slopes(partial(loss, reduction=reduction)))


def test_losses_where_scores_are_not_finite():
    def make():
        x = nt.tensor(np.array(FAR)).requires_grad_()
        return [x], [nt.tensor([1, 0, 2, 3, 1])]

    for reduction in ("none", "sum"):
        both(make, with_slopes(partial(F.cross_entropy, reduction=reduction)))


def test_all_targets_ignored():
    def make():
        return [scores(np.float32)], [nt.tensor([2] * 5)]

    both(make, with_slopes(partial(F.cross_entropy, ignore_index=2)))


def test_a_class_that_there_is_not_gives_nan():
    x, target = scores(np.float32), nt.tensor([0, 1, 9, -1, 2])
    found, _, _ = replaying.replayed(
        lambda: [F.cross_entropy(x, target, reduction="none")], x, target
    )
    assert np.isnan(found[0]).tolist() == [False, False, True, True, False]


def test_a_wrong_index_stays_inside():
    """Nobody looks, and nothing outside of a tensor is read or written."""
    x, index = scores(np.float32), nt.tensor([0, 99, -99])
    value = nt.ones(3, 4)

    def run():
        with nt.no_grad():
            gathered = x.index_select(0, index)
            x.index_copy_(0, index, value)
            x.index_add_(0, index, value)
            x.scatter_(1, index.reshape(1, 3), 5.0)
        return [gathered]

    before = laws.numpy_of(x)
    found, own, _ = replaying.replayed(run, x, index, value)
    np.testing.assert_array_equal(found[0][0], before[0])
    np.testing.assert_array_equal(own[0][1:], before[1:])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("affine", ["none", "weight", "both"])
def test_layer_and_rms_norm(kind, affine):
    def make():
        count = {"none": 0, "weight": 1, "both": 2}[affine]
        more = [scores(kind, (2, 3)) for _ in range(count)]
        return [scores(kind, (4, 2, 3)), *more], []

    both(make, with_slopes(lambda x, *wb: F.layer_norm(x, (2, 3), *wb)))
    if affine != "both":
        both(make, with_slopes(lambda x, *w: F.rms_norm(x, (2, 3), *w)))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_moves_its_statistics(kind, training):
    def make():
        leaves = [scores(kind, (3, 4, 5)), scores(kind, (4,)), scores(kind, (4,))]
        return leaves, [scores(kind, (4,)).detach(), scores(kind, (4,)).detach() ** 2]

    def call(x, w, b, mean, var):
        return F.batch_norm(x, mean, var, w, b, training=training)

    both(make, with_slopes(call))


def test_group_and_instance_norm():
    def make():
        leaves = [scores(np.float64, (2, 4, 3)), *[scores(np.float64, (4,))] * 1]
        return leaves, [scores(np.float64, (4,)).detach() for _ in range(2)]

    both(make, with_slopes(lambda x, w, m, v: F.group_norm(x, 2, w)))
    both(make, with_slopes(lambda x, w, m, v: F.instance_norm(x, m, v, w)))


def test_nothing_by_hand_is_left():
    """What can be fused is recorded as what can be fused."""

    def run(x, w, target):
        y = F.layer_norm(x, (4,), w)
        y = F.gelu(F.softmax(y, 1)) + F.log_softmax(x, 1)
        return [F.cross_entropy(y, target), F.dropout(y).sum()]

    def make():
        return [scores(np.float32), scores(np.float32, (4,))], [
            nt.tensor([0, 1, 2, 3, 0])
        ]

    def function(*tensors):
        first, second = run(*tensors)
        return [first, *nt.autograd.grad(first + second, tensors[:2])]

    trace = both(make, function)
    kinds = {type(n).__name__ for n in trace.nodes}
    assert kinds <= {"Loop", "Reduce", "Random"}, [
        n.name for n in trace.nodes if type(n).__name__ == "Opaque"
    ]


def test_clipping():
    def make():
        return [], [scores(np.float32, (3,)).detach() for _ in range(2)]

    def function(*grads):
        ps = [g.detach().clone().requires_grad_() for g in grads]
        for p, g in zip(ps, grads, strict=True):
            p.grad = g * 10
        total = nt.nn.utils.clip_grad_norm_(ps, 1.5)
        clipped = [p.grad for p in ps]
        for p, g in zip(ps, grads, strict=True):
            p.grad = g * 10
        nt.nn.utils.clip_grad_value_(ps, 0.5)
        return [total, *clipped, *[p.grad for p in ps]]

    both(make, function)


@pytest.mark.parametrize(
    ("shape", "weight", "options"),
    [
        ((2, 3, 9, 9), (4, 3, 3, 3), {"padding": 1}),
        ((2, 3, 9, 9), (4, 3, 1, 1), {}),
        ((2, 3, 4, 40), (8, 3, 3, 3), {"padding": 1}),
        ((2, 2, 4, 40), (4, 2, 3, 3), {}),
        ((2, 4, 9, 9), (4, 2, 3, 3), {"stride": 2, "groups": 2, "padding": 1}),
        ((3, 4, 5, 70), (4, 1, 3, 3), {"groups": 4}),
        ((2, 3, 40, 40), (4, 3, 5, 5), {"dilation": 2, "stride": 2}),
    ],
)
def test_convolution(shape, weight, options):
    """All ways of the CPU: by products of columns, and directly."""

    def make():
        leaves = [scores(np.float64, s) for s in (shape, weight, weight[:1])]
        return leaves, []

    for x in (lambda x: x, lambda x: x.transpose(2, 3)):
        both(make, with_slopes(lambda a, *wb, x=x: F.conv2d(x(a), *wb, **options)))


def test_tensors_made_inside():
    array = np.arange(6.0).reshape(2, 3)

    def function(x):
        made = [
            nt.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=nt.float64),
            nt.from_numpy(array),
            nt.full((2, 3), 2.5, dtype=nt.float64),
            nt.scalar_tensor(3.0, dtype=nt.float64),
            nt.tensor(4.0, dtype=nt.float64),
            nt.arange(3),
            nt.arange(0.0, 3.0, 1.0, dtype=nt.float64),
            nt.linspace(0.0, 1.0, 3, dtype=nt.float64),
            nt.eye(2, 3, dtype=nt.float64),
            nt.zeros(2, 3).fill_(7.0).double(),
            nt.as_tensor([1.0, 2.0, 3.0]).double(),
            x.new_tensor([1.0, 2.0, 3.0]),
            x.new_full((3,), 2.0),
            nt.ones_like(x).mul_(3),
            nt.tril_indices(2, 3)[0, 0].double(),
        ]
        total = x
        for t in made:
            total = total * 0.5 + t
        changed = nt.tensor([1.0, 2.0, 3.0], dtype=nt.float64)
        changed[1] = x[0, 0]
        changed += 1
        return [total, changed, *[t for t in made if t.ndim]]

    for _ in range(2):
        both(lambda: ([scores(np.float64, (2, 3))], []), function)


def test_indexing_and_storing():
    def function(x, i, mask):
        y = x.clone()
        with nt.no_grad():
            y[0] = 1.0
            y[:, 1] += 2
            y[i] = x[i] * 3
            y[i, 2] = 4.0
            y[mask] = -1.0
            y[i[0], i[1]] += 5.0
            y[i[1]] += 0.5
            y[..., None][1:, ::2] = x[1:, ::2, None]
            y[y > 2] = 0.0
        return [
            y, x[1], x[-1, 2], x[1:, ::2], x[i], x[i, i], x[:, i], x[None, ..., 1],
            x[i[1]], x[i[2], 1:], x[:, i[0]],
            x[[0, 2]], x.t()[i], nt.where(mask, x, y),
        ]  # fmt: skip

    def make():
        rng = np.random.default_rng(1)
        mask = nt.tensor(rng.random((5, 4)) > 0.5)
        return [scores(np.float64)], [nt.tensor([0, 3, -1]), mask]

    both(make, function)


def test_gradients_of_gradients():
    def function(x, w):
        y = F.layer_norm(F.softmax(x, 1) @ w, (4,)) + F.log_softmax(x, 1)
        loss = F.cross_entropy(y, nt.tensor([0, 1, 2, 3, 0]), label_smoothing=0.1)
        loss = loss + F.nll_loss(y, nt.tensor([1, 1, 2, 3, 0])) + y.logsumexp(1).sum()
        gx, gw = nt.autograd.grad(loss, (x, w), create_graph=True)
        return [gx, gw, *nt.autograd.grad((gx * gx).sum() + gw.sum(), (x, w))]

    both(lambda: ([scores(np.float64), scores(np.float64, (4, 4))], []), function)


@pytest.mark.parametrize("n", [3, 40, 3000])
def test_sorting_rows_of_all_lengths(n):
    def function(x):
        return [*x.sort(1), *x.topk(2, 1), x.argsort(0), x.median(1).values]

    both(lambda: ([scores(np.float32, (3, n)).detach()], []), function)


@pytest.mark.parametrize(
    "use",
    [
        nt.to_dlpack,
        np.from_dlpack,
        np.asarray,
        lambda x: x.data_ptr(),
        lambda x: x.untyped_storage().tolist(),
        lambda x: x.storage()[0],
        lambda x: float(x.sum()),
        lambda x: bool(x[0, 0] > 0),
        lambda x: x.tolist(),
        lambda x: x[x > 0],
        pickle.dumps,
    ],
)
def test_nobody_is_shown_memory_that_is_not_there(use):
    x = scores(np.float32).detach()
    with replaying.tracing_of(x), pytest.raises(TraceError, match="needs the elements"):
        use(x)
