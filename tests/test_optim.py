"""Optimisers: their paths are PyTorch's, on all devices, however parameters are run."""

from __future__ import annotations

import contextlib
import copy
import gc
import pickle

import laws
import numpy as np
import optim_cases as cases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtensor as nt
from numtensor import launch_cpu, optim
from numtensor.optim import rules

ALONE = [name for name in cases.OPTIMISERS if not name.startswith("lbfgs")]


@pytest.mark.parametrize("name", cases.OPTIMISERS)
def test_paths_are_those_recorded(name):
    path = cases.trajectory(nt, name)[list(cases.RECORDED)]
    np.testing.assert_allclose(
        path, cases.recorded()[f"optimiser {name}"], rtol=1e-12, atol=1e-12
    )


@pytest.mark.torch
@pytest.mark.parametrize("name", cases.OPTIMISERS)
def test_paths_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    np.testing.assert_allclose(
        cases.trajectory(nt, name),
        cases.trajectory(torch, name),
        rtol=1e-12,
        atol=1e-12,
    )


def some(dtype, arrays, requires_grad=True):
    """Return tensors on the device of the test."""
    made = [laws.made(np.asarray(a, dtype)) for a in arrays]
    return [t.requires_grad_() for t in made] if requires_grad else made


@pytest.mark.torch
@pytest.mark.parametrize("name", ALONE)
def test_float32_stays_close(name):
    torch = pytest.importorskip("torch")
    paths = []
    for lib in (nt, torch):
        params = [
            cases.tensor(lib, a.astype("float32")).requires_grad_()
            for a in cases.start()
        ]
        opt = cases.optimiser(lib, name, params)
        for _ in range(5):
            cases.one_step(lib, opt, params)
        assert params[0].dtype == lib.float32
        paths.append(cases.values(params))
    np.testing.assert_allclose(*paths, rtol=2e-5, atol=2e-6)


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ALONE)
def test_first_steps_on_each_device(name, dtype):
    """Against the float64 path in host memory, which is PyTorch's."""
    rng = np.random.default_rng(2)
    shapes = ((3,), (2, 2), ())
    start = [rng.normal(size=s) for s in shapes]
    grads = [[rng.normal(size=s) for s in shapes] for _ in range(3)]

    def path(params):
        opt = cases.optimiser(nt, name, params)
        for step in grads:
            for p, g in zip(params, step, strict=True):
                p.grad = nt.tensor(g, dtype=p.dtype, device=p.device)
            opt.step()
        return opt, [laws.numpy_of(p.detach()) for p in params]

    _, expected = path([nt.tensor(a).requires_grad_() for a in start])
    opt, found = path(some(dtype, start))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=laws.TOLERANCE[dtype], atol=1e-5)
    for p in opt.param_groups[0]["params"]:
        for key, held in opt.state[p].items():
            if held.ndim == p.ndim and key not in ("step", "eta", "mu", "mu_product"):
                assert held.device == p.device and held.dtype == p.dtype


@pytest.mark.cuda
def test_lbfgs_on_a_device():
    w = nt.zeros(2, dtype=nt.float64, device="cuda", requires_grad=True)
    target = nt.tensor([1.0, 2.0], dtype=nt.float64, device="cuda")
    opt = optim.LBFGS([w], max_iter=3, line_search_fn="strong_wolfe")

    def closure():
        opt.zero_grad()
        loss = ((w - target) * (w - target)).sum()
        loss.backward()
        return loss

    opt.step(closure)
    np.testing.assert_allclose(w.detach().cpu().numpy(), [1.0, 2.0], rtol=1e-9)


# Batches


@contextlib.contextmanager
def one_by_one():
    """Update every parameter by a launch of its own."""
    few, rules.FEW, rules.FEW_ON_DEVICE = (rules.FEW, rules.FEW_ON_DEVICE), -1, -1
    held = {u: (u.headers, u.found) for u in _updates()}
    for u in held:
        u.headers, u.found = {}, {}
    try:
        yield
    finally:
        rules.FEW, rules.FEW_ON_DEVICE = few
        for u in _updates():
            u.headers, u.found = held.get(u, ({}, {}))


def _updates():
    from numtensor.optim import ruled

    return list(ruled._updates.values())


LAYOUTS = ("plain", "turned", "sliced", "expanded", "none")


@st.composite
def parameters(draw):
    found = []
    for _ in range(draw(st.integers(1, 5))):
        shape = tuple(draw(st.lists(st.integers(0, 4), max_size=2)))
        found.append((shape, draw(st.sampled_from(LAYOUTS[:3])),
                      draw(st.sampled_from(LAYOUTS)),
                      draw(st.sampled_from(["float32", "float64"]))))  # fmt: skip
    return found


def laid_out(array, layout):
    """Return a leaf with these values in this layout."""
    if layout == "turned" and array.ndim == 2:
        return nt.from_numpy(np.array(array.T, copy=True)).t()
    if layout == "sliced" and array.ndim:
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        wide[..., ::2] = array
        return nt.from_numpy(wide)[..., ::2]
    if layout == "expanded" and array.ndim and array.size:
        return nt.from_numpy(array.ravel()[:1].copy()).expand(array.shape)
    return nt.from_numpy(np.array(array, copy=True, order="C"))


@pytest.mark.parametrize("name", ["sgd momentum", "adam", "rmsprop all"])
@settings(max_examples=25)
@given(wanted=parameters(), seed=st.integers(0, 99))
def test_together_is_one_by_one(name, wanted, seed):
    def run():
        rng = np.random.default_rng(seed)
        params = []
        for shape, layout, _, dtype in wanted:
            values = rng.normal(size=shape).astype(dtype)
            params.append(laid_out(values, layout).detach().requires_grad_())
        opt = cases.optimiser(nt, name, params)
        for step in range(3):
            for k, (p, w) in enumerate(zip(params, wanted, strict=True)):
                grad = laid_out(rng.normal(size=w[0]).astype(w[3]), w[2])
                # from the second step on, some have been updated more often than others
                skipped = w[2] == "none" and step != 1 or (step, k) == (1, 0)
                p.grad = None if skipped else grad
            opt.step()
        return [p.detach().numpy().copy() for p in params]

    together = run()
    with one_by_one():
        alone = run()
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a, b)


def _calls(monkeypatch, update):
    """Count kernels of an update: those run together as one."""
    counted = {"together": 0, "alone": 0}
    run, alone = update.run, rules.Row.run

    def rows(*args):
        counted["together"] += 1
        return run(*args)

    def one(self, *args):
        counted["alone"] += 1
        return alone(self, *args)

    monkeypatch.setattr(update, "run", rows)
    monkeypatch.setattr(rules.Row, "run", one)
    return counted


def test_small_parameters_are_updated_by_one_call(monkeypatch):
    params = some("float32", [np.ones(s) for s in ((3, 2), (4,), (), (1, 1))])
    large = some("float32", [np.ones(rules.FEW + 1)])
    opt = optim.Adam([*params, *large])
    for p in [*params, *large]:
        p.grad = nt.ones_like(p.detach())
    opt.step()
    counted = _calls(monkeypatch, opt._plans[0].update)
    opt.step()
    assert counted == {"together": 1, "alone": 1}
    large[0].grad = None
    opt.step()
    assert counted == {"together": 2, "alone": 1}


@pytest.mark.cuda
def test_small_parameters_on_a_device_take_one_launch(monkeypatch):
    from numtensor.kernels.cuda import driver

    params = [nt.ones(s, device="cuda", requires_grad=True) for s in ((3,), (2, 2), ())]
    opt = optim.Adam(params)
    for p in params:
        p.grad = nt.ones(p.shape, device="cuda")
    opt.step()
    names = []
    api = driver.current()
    launch = type(api).launch

    def watched(self, index, kernel, *args):
        names.append(kernel.name)
        return launch(self, index, kernel, *args)

    monkeypatch.setattr(type(api), "launch", watched)
    opt.step()
    assert names == ["adam_many"]
    with one_by_one():
        names.clear()
        opt.step()
        assert names == ["adam"] * 3


def test_the_kernel_of_an_update_is_one_loop():
    """What is read, computed and written for an element is in one kernel."""
    (w,) = some("float32", [np.ones(3)])
    w.grad = nt.ones(3)
    opt = optim.SGD([w], lr=0.1, momentum=0.9)
    opt.step()
    opt.step()
    row = opt._plans[0].update.row((w._spec,) * 3)
    source = row.launch.source.read_text()
    assert source.count("for i in range") == 1
    body = [
        line for line in source.split("for i in range")[1].splitlines() if "[i]" in line
    ]
    names = [line.strip() for line in body]
    assert [n.split(" = ")[0] for n in names if n.startswith("out")] == [
        "out0[i]",
        "out1[i]",
    ]
    assert [n for n in names if not n.startswith("out")] == [
        "parami = param[i]",
        "momentum_bufferi = momentum_buffer[i]",
        "gradi = grad[i]",
    ]
    assert isinstance(row.launch, launch_cpu.Launch)


# What else can be in a group


def test_a_gradient_that_overlaps_its_parameter_is_read_first():
    memory = nt.arange(6.0, dtype=nt.float64)
    p = memory[:4].detach().requires_grad_()
    p.grad = memory[2:]
    optim.SGD([p], lr=1.0).step()
    np.testing.assert_array_equal(p.detach().numpy(), [-2.0, -2.0, -2.0, -2.0])
    q = nt.ones(3, requires_grad=True)
    q.grad = q.detach()
    opt = optim.SGD([q], lr=0.5)
    opt.step()
    opt.step()
    np.testing.assert_array_equal(q.detach().numpy(), [0.25] * 3)
    opt = optim.Adam([p])
    for _ in range(2):
        p.grad = memory[1:5]
        opt.step()
    assert opt.state[p]["step"].item() == 2.0


def test_parameters_that_share_memory_are_updated_in_order():
    memory = nt.ones(6, dtype=nt.float64)
    a = memory[:4].detach().requires_grad_()
    b = memory[2:].detach().requires_grad_()
    opt = optim.SGD([a, b], lr=0.5, weight_decay=1.0)
    a.grad, b.grad = nt.ones(4, dtype=nt.float64), nt.ones(4, dtype=nt.float64)
    opt.step()
    np.testing.assert_array_equal(memory.numpy(), [0, 0, -0.5, -0.5, 0, 0])


@pytest.mark.cuda
def test_parameters_that_share_memory_on_a_device():
    memory = nt.ones(6, dtype=nt.float64, device="cuda")
    a = memory[:4].detach().requires_grad_()
    b = memory[2:].detach().requires_grad_()
    opt = optim.SGD([a, b], lr=0.5, weight_decay=1.0)
    for p in (a, b):
        p.grad = nt.ones(4, dtype=nt.float64, device="cuda")
    opt.step()
    np.testing.assert_array_equal(memory.cpu().numpy(), [0, 0, -0.5, -0.5, 0, 0])


def test_an_expanded_parameter_is_refused():
    p = nt.ones(1).expand(3).detach().requires_grad_()
    p.grad = nt.ones(3)
    with pytest.raises(RuntimeError, match="more than one element of the written-to"):
        optim.SGD([p]).step()


def test_parameters_without_gradient_are_left_alone():
    a, b = some("float64", [np.ones(2), np.ones(2)])
    opt = optim.Adam([a, b], lr=0.1)
    a.grad = nt.ones(2, dtype=nt.float64)
    opt.step()
    assert b not in opt.state and b.detach().tolist() == [1.0, 1.0]
    b.grad = nt.ones(2, dtype=nt.float64)
    opt.step()
    assert [opt.state[p]["step"].item() for p in (a, b)] == [2.0, 1.0]
    np.testing.assert_allclose(a.detach().numpy(), 0.8, rtol=1e-6)
    np.testing.assert_allclose(b.detach().numpy(), 0.9, rtol=1e-6)


def test_a_step_is_noticed_by_the_tape():
    (w,) = some("float64", [[1.0, 2.0]])
    for opt in (optim.SGD([w]), optim.Adam([w])):
        for _ in range(3):
            loss = (w * w).sum()
            w.grad = nt.ones(2, dtype=nt.float64)
            opt.step()
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                loss.backward()


def test_read_only_memory_is_refused():
    array = np.ones(2)
    array.setflags(write=False)
    with pytest.warns(UserWarning, match="not writable"):
        w = nt.from_numpy(array).requires_grad_()
    w.grad = nt.ones(2, dtype=nt.float64)
    opt = optim.SGD([w])
    for _ in range(2):
        with pytest.raises(ValueError, match="read-only"):
            opt.step()
    assert array.tolist() == [1.0, 1.0]


def test_new_data_is_found():
    (w,) = some("float64", [np.ones(2)])
    opt = optim.Adam([w], lr=0.1)
    for _ in range(2):
        w.grad = nt.ones(2, dtype=nt.float64)
        opt.step()
    w.data = nt.zeros(2, dtype=nt.float64)
    opt.step()
    np.testing.assert_allclose(w.detach().numpy(), -0.1, rtol=1e-6)
    opt.state[w]["exp_avg"] = nt.zeros(2, dtype=nt.float64)
    opt.state[w]["step"].fill_(0.0)
    before = w.detach().numpy().copy()
    opt.step()
    assert opt.state[w]["step"].item() == 1.0
    np.testing.assert_allclose(opt.state[w]["exp_avg"].numpy(), 0.1, rtol=1e-12)
    assert (w.detach().numpy() != before).all()


def test_options_may_change_between_steps():
    (w,) = some("float64", [np.ones(1)])
    opt = optim.SGD([w], lr=0.5)
    path = []
    for change in ({}, {"lr": 0.25}, {"weight_decay": 1.0}, {"maximize": True}):
        opt.param_groups[0].update(change)
        w.grad = nt.ones(1, dtype=nt.float64)
        opt.step()
        path.append(w.item())
    assert path == [0.5, 0.25, 0.25 - 0.25 * 1.25, -0.0625 - 0.25 * (-1 - 0.0625)]


def test_a_learning_rate_may_be_a_tensor():
    (w,) = some("float64", [np.ones(1)])
    lr = nt.tensor(0.5)
    opt = optim.SGD([w], lr=lr)
    w.grad = nt.ones(1, dtype=nt.float64)
    opt.step()
    lr.fill_(0.25)
    opt.step()
    assert w.item() == 0.25
    opt = optim.Adam([w], lr=nt.tensor([0.1]))
    opt.step()
    np.testing.assert_allclose(w.item(), 0.15, rtol=1e-6)


def test_steps_are_counted_in_float32_or_the_default():
    (w,) = some("float64", [np.ones(1)])
    w.grad = nt.ones(1, dtype=nt.float64)
    opt = optim.RMSprop([w])
    opt.step()
    assert repr(opt.state[w]["step"]) == "tensor(1.)"
    nt.set_default_dtype(nt.float64)
    try:
        opt = optim.RMSprop([w])
        opt.step()
        opt.step()
        assert opt.state[w]["step"].dtype is nt.float64
        assert opt.state[w]["step"].item() == 2.0
    finally:
        nt.set_default_dtype(nt.float32)


def test_nothing_of_a_model_is_kept_alive():
    (w,) = some("float32", [np.ones(3)])
    w.grad = nt.ones(3)
    opt = optim.Adam([w])
    opt.step()
    opt.step()
    import weakref

    gone = weakref.ref(w)
    del w, opt
    gc.collect()
    assert gone() is None


def test_copies_and_pickles_go_on_alike():
    (w,) = some("float64", [np.ones(2)])
    opt = optim.Adam([w], lr=0.1)
    w.grad = nt.ones(2, dtype=nt.float64)
    opt.step()
    for other in (copy.deepcopy(opt), pickle.loads(pickle.dumps(opt))):
        (v,) = other.param_groups[0]["params"]
        v.grad = nt.ones(2, dtype=nt.float64)
        other.step()
        assert other.state[v]["step"].item() == 2.0
        np.testing.assert_allclose(v.detach().numpy(), 0.8, rtol=1e-6)
    assert w.detach().tolist() != v.detach().tolist()
