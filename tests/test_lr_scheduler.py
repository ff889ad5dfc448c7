"""Schedules of learning rates: the rates are PyTorch's."""

from __future__ import annotations

import warnings

import numpy as np
import optim_cases as cases
import pytest

import numtensor as nt
from numtensor import optim
from numtensor.optim import lr_scheduler as schedules

EVERY = [*cases.SCHEDULES, *cases.COMPOSED]


def rates(lib, name):
    if name in cases.SCHEDULES:
        return cases.schedule(lib, name)
    return cases.COMPOSED[name](lib)


@pytest.mark.parametrize("name", EVERY)
def test_rates_are_those_recorded(name):
    np.testing.assert_allclose(
        rates(nt, name), cases.recorded()[f"schedule {name}"], rtol=1e-14
    )


@pytest.mark.torch
@pytest.mark.parametrize("name", EVERY)
def test_rates_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(rates(nt, name), rates(torch, name))


def made(name, opt, **more):
    kind, options = cases.SCHEDULES[name]
    return getattr(schedules, kind)(opt, **options, **more)


@pytest.mark.parametrize("name", cases.SCHEDULES)
def test_a_schedule_goes_on_from_its_state_dict(name):
    opt = cases.groups(nt)
    scheduler = made(name, opt)
    for _ in range(13):
        opt.step()
        scheduler.step()
    saved, saved_opt = scheduler.state_dict(), opt.state_dict()
    assert "optimizer" not in saved
    other_opt = cases.groups(nt)
    other = made(name, other_opt)
    other.load_state_dict(saved)
    other_opt.load_state_dict(saved_opt)
    for _ in range(10):
        for o, s in ((opt, scheduler), (other_opt, other)):
            o.step()
            s.step()
        assert other.get_last_lr() == scheduler.get_last_lr()
        assert [g["lr"] for g in other_opt.param_groups] == other.get_last_lr()


CLOSED = [
    "step", "multistep", "constant", "linear", "exponential", "polynomial", "cosine",
]  # fmt: skip


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_agree(name):
    opt = cases.groups(nt)
    path = [opt.param_groups[1]["lr"]]
    scheduler = made(name, opt)
    for epoch in range(20):
        opt.step()
        if epoch:
            scheduler.step()
        path.append(scheduler.get_last_lr()[1])
    jumping = made(name, cases.groups(nt))
    jumping.optimizer.step()
    with pytest.warns(UserWarning, match="epoch parameter"):
        for epoch in (5, 0, 19, 7):
            jumping.step(epoch)
            np.testing.assert_allclose(
                jumping.get_last_lr()[1], path[epoch + 1], rtol=1e-12
            )


def test_composed_schedules_go_on_from_their_state_dicts():
    def sequence():
        opt = cases.groups(nt)
        parts = [
            schedules.ConstantLR(opt, factor=0.1, total_iters=2),
            schedules.ExponentialLR(opt, gamma=0.9),
        ]
        return opt, schedules.SequentialLR(opt, parts, milestones=[4])

    opt, scheduler = sequence()
    for _ in range(6):
        opt.step()
        scheduler.step()
    other_opt, other = sequence()
    other.load_state_dict(scheduler.state_dict())
    other_opt.load_state_dict(opt.state_dict())
    for o, s in ((opt, scheduler), (other_opt, other)):
        o.step()
        s.step()
    assert other.get_last_lr() == scheduler.get_last_lr()


def test_functions_stay_out_of_state_dicts():
    class Halve:
        def __init__(self):
            self.base = 0.5

        def __call__(self, epoch):
            return self.base**epoch

    opt = cases.groups(nt)
    scheduler = schedules.LambdaLR(opt, [Halve(), lambda epoch: 1.0])
    saved = scheduler.state_dict()
    assert saved["lr_lambdas"] == [{"base": 0.5}, None]
    saved["lr_lambdas"][0]["base"] = 0.25
    scheduler.load_state_dict(saved)
    assert scheduler.lr_lambdas[0].base == 0.25 and len(saved["lr_lambdas"]) == 2


def test_the_order_of_steps_is_watched():
    opt = cases.groups(nt)
    scheduler = schedules.StepLR(opt, 3)
    with pytest.warns(UserWarning, match="before `optimizer.step") as seen:
        scheduler.step()
    assert len(seen) == 1 and seen[0].filename == __file__
    opt = cases.groups(nt)
    scheduler = schedules.StepLR(opt, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opt.step()
        scheduler.step()
        scheduler.step()
        # a second schedule, made after the first step
        schedules.ExponentialLR(opt, 0.9).step()
    with pytest.warns(UserWarning, match="use `get_last_lr"):
        scheduler.get_lr()


def test_a_rate_that_is_a_tensor_is_changed_in_place():
    w = nt.ones(1, requires_grad=True)
    lr = nt.tensor(0.5)
    opt = optim.SGD([w], lr=lr)
    scheduler = schedules.ExponentialLR(opt, 0.5)
    w.grad = nt.ones(1)
    opt.step()
    scheduler.step()
    assert opt.param_groups[0]["lr"] is lr and lr.item() == 0.25
    opt.step()
    assert w.item() == 0.25
    assert scheduler.base_lrs[0].item() == 0.5


def test_betas_take_the_place_of_momentum():
    w = nt.ones(1, requires_grad=True)
    opt = optim.Adam([w])
    schedules.OneCycleLR(opt, max_lr=0.1, total_steps=10)
    assert opt.param_groups[0]["betas"] == (0.95, 0.999)
    opt = optim.AdamW([w])
    schedules.CyclicLR(opt, base_lr=0.1, max_lr=0.2, step_size_up=2)
    assert opt.param_groups[0]["betas"] == (0.9, 0.999)


def test_resuming_needs_the_initial_rates():
    opt = cases.groups(nt)
    with pytest.raises(KeyError, match="'initial_lr' is not specified"):
        schedules.StepLR(opt, 3, last_epoch=4)
    for group in opt.param_groups:
        group["initial_lr"] = 1.0
    assert schedules.ExponentialLR(opt, 0.5, last_epoch=4).last_epoch == 5


REFUSED = [
    ("ConstantLR", {"factor": 2}, "Constant multiplicative factor expected to be"),
    ("LinearLR", {"start_factor": 0}, "Starting multiplicative factor expected"),
    ("LinearLR", {"end_factor": -1}, "Ending multiplicative factor expected"),
    ("LambdaLR", {"lr_lambda": [len]}, "Expected 2 lr_lambdas, but got 1"),
    ("ReduceLROnPlateau", {"factor": 1.0}, r"Factor should be < 1\.0\."),
    ("ReduceLROnPlateau", {"mode": "up"}, "mode up is unknown!"),
    ("ReduceLROnPlateau", {"threshold_mode": "x"}, "threshold mode x is unknown!"),
    ("ReduceLROnPlateau", {"min_lr": [0.1]}, "expected 2 min_lrs, got 1"),
    ("CyclicLR", {"base_lr": 1, "max_lr": 2, "mode": "x"}, "mode is invalid and"),
    ("CyclicLR", {"base_lr": [1], "max_lr": 2}, "base_lr must have the same length"),
    ("CosineAnnealingWarmRestarts", {"T_0": 0}, "Expected positive integer T_0, but"),
    ("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 0}, "integer T_mult >= 1"),
    ("OneCycleLR", {"max_lr": 1}, "You must define either total_steps OR"),
    ("OneCycleLR", {"max_lr": 1, "total_steps": -1}, "positive integer total_steps"),
    (
        "OneCycleLR",
        {"max_lr": 1, "total_steps": 5, "pct_start": 2.0},
        "between 0 and 1",
    ),
    (
        "OneCycleLR",
        {"max_lr": 1, "total_steps": 5, "anneal_strategy": "x"},
        "anneal_strategy must be one of 'cos' or 'linear', instead got x",
    ),
    ("SequentialLR", {"schedulers": [], "milestones": []}, "at least one scheduler"),
]


@pytest.mark.parametrize(("kind", "options", "text"), REFUSED)
def test_arguments_are_checked(kind, options, text):
    with pytest.raises(ValueError, match=text):
        getattr(schedules, kind)(cases.groups(nt), **options)


@pytest.mark.torch
@pytest.mark.parametrize(("kind", "options", "text"), REFUSED)
def test_pytorch_says_the_same(kind, options, text):
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match=text):
        getattr(torch.optim.lr_scheduler, kind)(cases.groups(torch), **options)


def test_what_does_not_fit_together():
    opt = cases.groups(nt)
    with pytest.raises(TypeError, match="int is not an Optimizer"):
        schedules.StepLR(3, 1)
    with pytest.raises(TypeError, match="lr_lambda should be a function, but got int"):
        schedules.MultiplicativeLR(opt, 3)
    one, other = schedules.StepLR(opt, 1), schedules.StepLR(cases.groups(nt), 1)
    with pytest.raises(ValueError, match="belong to the same optimizer"):
        schedules.ChainedScheduler([one, other])
    plateau = schedules.ReduceLROnPlateau(opt)
    with pytest.raises(ValueError, match="does not support `ReduceLROnPlateau`"):
        schedules.ChainedScheduler([plateau])
    with pytest.raises(ValueError, match="one more than the number of milestone"):
        schedules.SequentialLR(opt, [one], [3])
    with pytest.raises(ValueError, match="optimizer must support momentum or beta1"):
        schedules.CyclicLR(optim.Rprop([nt.ones(1)]), base_lr=0.1, max_lr=0.2)
    once = schedules.OneCycleLR(cases.groups(nt), max_lr=1.0, total_steps=2)
    once.optimizer.step()
    once.step()
    once.step()
    with pytest.raises(ValueError, match="Tried to step 3 times"):
        once.step()
