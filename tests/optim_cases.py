"""Cases of optimisers and schedules, run by PyTorch or by numtensor alike.

`trajectory(lib, case)` returns where two parameters of different shapes are after each
of 50 steps; `schedule(lib, case)` the rates of 50 epochs. What PyTorch gives is
recorded by `record_optim.py`.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path

import numpy as np

PATH = Path(__file__).parent / "data" / "optim_expected.npz"
STEPS = 50
SHAPES = ((3, 2), (5,))

#: name -> (class, options)
OPTIMISERS = {
    "sgd": ("SGD", {"lr": 0.05}),
    "sgd momentum": ("SGD", {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.01}),
    "sgd dampening": ("SGD", {"lr": 0.05, "momentum": 0.8, "dampening": 0.3}),
    "sgd nesterov": ("SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True}),
    "sgd maximize": ("SGD", {"lr": 1e-3, "maximize": True, "weight_decay": 0.1}),
    "adam": ("Adam", {"lr": 0.1}),
    "adam decay": ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "weight_decay": 0.1}),
    "adam amsgrad": ("Adam", {"lr": 0.1, "amsgrad": True, "eps": 1e-4}),
    "adam maximize": ("Adam", {"lr": 0.01, "maximize": True}),
    "adamw": ("AdamW", {"lr": 0.1}),
    "adamw amsgrad": ("AdamW", {"lr": 0.05, "amsgrad": True, "weight_decay": 0.2}),
    "adamax": ("Adamax", {"lr": 0.1}),
    "adamax decay": ("Adamax", {"betas": (0.7, 0.9), "weight_decay": 0.1}),
    "nadam": ("NAdam", {"lr": 0.05}),
    "nadam decay": ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "momentum_decay": 0.01}),
    "nadam decoupled": (
        "NAdam",
        {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True},
    ),
    "radam": ("RAdam", {"lr": 0.1}),
    "radam decay": ("RAdam", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    "radam decoupled": (
        "RAdam",
        {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True},
    ),
    "rmsprop": ("RMSprop", {"lr": 0.02}),
    "rmsprop momentum": ("RMSprop", {"momentum": 0.7, "weight_decay": 0.1}),
    "rmsprop centered": ("RMSprop", {"lr": 0.02, "alpha": 0.9, "centered": True}),
    "rmsprop all": (
        "RMSprop",
        {"centered": True, "momentum": 0.5, "maximize": True, "eps": 1e-3},
    ),
    "adagrad": ("Adagrad", {"lr": 0.3}),
    "adagrad decay": (
        "Adagrad",
        {
            "lr": 0.3,
            "lr_decay": 0.01,
            "weight_decay": 0.1,
            "initial_accumulator_value": 0.2,
        },
    ),
    "adadelta": ("Adadelta", {}),
    "adadelta decay": ("Adadelta", {"lr": 0.5, "rho": 0.8, "weight_decay": 0.1}),
    "asgd": ("ASGD", {"lr": 0.05}),
    "asgd average": (
        "ASGD",
        {"lr": 0.05, "t0": 10, "lambd": 0.01, "alpha": 0.6, "weight_decay": 0.1},
    ),
    "rprop": ("Rprop", {}),
    "rprop bounds": (
        "Rprop",
        {"lr": 0.1, "etas": (0.4, 1.5), "step_sizes": (1e-3, 0.2)},
    ),
    # a rate of 0.1 with a long history multiplies rounding errors by 3 in each step
    "lbfgs": ("LBFGS", {"lr": 0.5, "max_iter": 3}),
    "lbfgs short": ("LBFGS", {"lr": 0.1, "max_iter": 1, "history_size": 2}),
    "lbfgs wolfe": (
        "LBFGS",
        {"max_iter": 4, "history_size": 3, "line_search_fn": "strong_wolfe"},
    ),
}


def start():
    rng = np.random.default_rng(11)
    return [rng.normal(size=shape) for shape in SHAPES]


def tensor(lib, array):
    """Return a tensor over a copy of an array."""
    return lib.from_numpy(np.array(array))


@functools.cache
def _weights():
    rng = np.random.default_rng(12)
    return [rng.uniform(0.2, 4.0, size=shape) for shape in SHAPES]


def loss_of(lib, params):
    """A loss that is no quadratic form: its gradient has zeros nowhere but in one."""
    weights = [
        tensor(lib, w).to(p.dtype) for w, p in zip(_weights(), params, strict=True)
    ]
    a, b = params
    total = (weights[0] * a * a).sum() + (weights[1] * (b - 1) ** 2).sum()
    return total + 0.1 * (a**4).sum() + 0.3 * a.sum() * b.sum().sin()


def optimiser(lib, name, params):
    kind, options = OPTIMISERS[name]
    return getattr(lib.optim, kind)(params, **options)


def one_step(lib, opt, params):
    def closure():
        opt.zero_grad()
        loss = loss_of(lib, params)
        loss.backward()
        return loss

    if type(opt).__name__ == "LBFGS":
        opt.step(closure)
    else:
        closure()
        opt.step()


def values(params):
    return np.concatenate([p.detach().numpy().ravel() for p in params])


def trajectory(lib, name, steps=STEPS):
    params = [tensor(lib, a).requires_grad_() for a in start()]
    opt = optimiser(lib, name, params)
    path = []
    for _ in range(steps):
        one_step(lib, opt, params)
        path.append(values(params))
    return np.array(path)


def _half(epoch):
    return 0.5 ** (epoch // 7)


def _shrink(epoch):
    return 0.97


def _wave(x):
    return 0.5 * (1 + math.sin(x))


#: name -> (class, options) for schedules of one optimizer with two groups
SCHEDULES = {
    "lambda": ("LambdaLR", {"lr_lambda": [_half, _shrink]}),
    "multiplicative": ("MultiplicativeLR", {"lr_lambda": _shrink}),
    "step": ("StepLR", {"step_size": 7, "gamma": 0.3}),
    "multistep": ("MultiStepLR", {"milestones": [3, 9, 9, 30], "gamma": 0.5}),
    "constant": ("ConstantLR", {"factor": 0.25, "total_iters": 12}),
    "linear": ("LinearLR", {"start_factor": 0.2, "end_factor": 0.8, "total_iters": 20}),
    "linear default": ("LinearLR", {}),
    "exponential": ("ExponentialLR", {"gamma": 0.9}),
    "polynomial": ("PolynomialLR", {"total_iters": 30, "power": 2.0}),
    "cosine": ("CosineAnnealingLR", {"T_max": 9, "eta_min": 0.01}),
    "restarts": (
        "CosineAnnealingWarmRestarts",
        {"T_0": 4, "T_mult": 2, "eta_min": 0.01},
    ),
    "restarts equal": ("CosineAnnealingWarmRestarts", {"T_0": 6}),
    "cyclic": ("CyclicLR", {"base_lr": 0.01, "max_lr": [0.1, 0.3], "step_size_up": 6}),
    "cyclic 2": (
        "CyclicLR",
        {
            "base_lr": 0.01,
            "max_lr": 0.1,
            "step_size_up": 5,
            "step_size_down": 3,
            "mode": "triangular2",
        },
    ),
    "cyclic range": (
        "CyclicLR",
        {
            "base_lr": 0.01,
            "max_lr": 0.1,
            "step_size_up": 4,
            "mode": "exp_range",
            "gamma": 0.95,
        },
    ),
    "cyclic function": (
        "CyclicLR",
        {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4, "scale_fn": _wave},
    ),
    "one cycle": ("OneCycleLR", {"max_lr": [0.5, 0.1], "total_steps": STEPS}),
    "one cycle linear": (
        "OneCycleLR",
        {
            "max_lr": 0.5,
            "epochs": 10,
            "steps_per_epoch": 5,
            "anneal_strategy": "linear",
            "three_phase": True,
        },
    ),
}


def groups(lib, momentum=0.5):
    """Return an optimizer with two groups, with or without a momentum."""
    params = [tensor(lib, a).requires_grad_() for a in start()]
    return lib.optim.SGD(
        [{"params": [params[0]]}, {"params": [params[1]], "lr": 0.02}],
        lr=0.1,
        momentum=momentum,
    )


def _rates(opt, scheduler, step=None):
    found = []
    for epoch in range(STEPS):
        found.append([v for g in opt.param_groups for v in (g["lr"], g["momentum"])])
        assert scheduler.get_last_lr() == [g["lr"] for g in opt.param_groups]
        opt.step()
        if epoch < STEPS - 1:
            scheduler.step(*([] if step is None else [step(epoch)]))
    return np.array(found)


def schedule(lib, name):
    opt = groups(lib)
    kind, options = SCHEDULES[name]
    return _rates(opt, getattr(lib.optim.lr_scheduler, kind)(opt, **options))


def _measure(epoch):
    return 1.0 / (1 + epoch) if epoch < 8 else 0.2 + 0.01 * math.sin(epoch)


def plateau(lib, **options):
    opt = groups(lib)
    scheduler = lib.optim.lr_scheduler.ReduceLROnPlateau(opt, **options)
    return _rates(opt, scheduler, _measure)


def sequential(lib):
    s = lib.optim.lr_scheduler
    opt = groups(lib)
    parts = [
        s.ConstantLR(opt, factor=0.1, total_iters=5),
        s.LinearLR(opt, start_factor=0.5, total_iters=4),
        s.ExponentialLR(opt, gamma=0.9),
    ]
    return _rates(opt, s.SequentialLR(opt, parts, milestones=[6, 14]))


def chained(lib):
    s = lib.optim.lr_scheduler
    opt = groups(lib)
    parts = [
        s.ConstantLR(opt, factor=0.1, total_iters=5),
        s.ExponentialLR(opt, gamma=0.9),
    ]
    return _rates(opt, s.ChainedScheduler(parts, optimizer=opt))


COMPOSED = {
    "plateau": functools.partial(plateau, patience=2, factor=0.5, cooldown=1),
    "plateau max": functools.partial(
        plateau,
        mode="max",
        patience=3,
        threshold=0.01,
        threshold_mode="abs",
        min_lr=[0.01, 0.005],
    ),
    "sequential": sequential,
    "chained": chained,
}


#: the steps of a trajectory that are recorded
RECORDED = (0, 1, 2, 4, 9, 19, 29, 39, 49)


def everything(lib):
    """Return all results by name."""
    found = {f"optimiser {n}": trajectory(lib, n) for n in OPTIMISERS}
    found |= {f"schedule {n}": schedule(lib, n) for n in SCHEDULES}
    found |= {f"schedule {n}": run(lib) for n, run in COMPOSED.items()}
    return found


@functools.cache
def recorded():
    """Return what PyTorch has given, of trajectories the steps `RECORDED`."""
    with np.load(PATH) as held:
        return {name: held[name] for name in held.files}
