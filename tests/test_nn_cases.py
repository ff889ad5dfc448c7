"""Modules and functions of `nn` against PyTorch's values and gradients.

The cases are in `nn_cases`, what PyTorch gave for them in `tests/data`; where it is
installed both run side by side. Values and gradients agree to float64 rounding.
"""

from __future__ import annotations

import functools

import nn_cases
import numpy as np
import pytest

import numtensor as nt

ALL = [
    (family, case) for family, cases in nn_cases.families().items() for case in cases
]


def each(wanted):
    return pytest.mark.parametrize(
        ("family", "case"),
        wanted,
        ids=[f"{family}-{case.name}" for family, case in wanted],
    )


@functools.cache
def expected(family):
    return nn_cases.recorded(family)


def compare(found, wanted, tolerance):
    assert sorted(found) == sorted(wanted)
    for name, b in wanted.items():
        a = found[name]
        assert (a.shape, a.dtype) == (b.shape, b.dtype), name
        np.testing.assert_allclose(a, b, tolerance, tolerance, err_msg=name)


@each(ALL)
def test_recorded(family, case):
    wanted = expected(family).get(case.name)
    assert wanted is not None, f"python tests/record_nn.py {family}"
    compare(nn_cases.Run(case, nt).everything(), wanted, case.tolerance)


@pytest.mark.torch
@each(ALL)
def test_beside_torch(family, case):
    torch = pytest.importorskip("torch")
    ours, theirs = nn_cases.Run(case, nt), nn_cases.Run(case, torch)
    compare(ours.everything(), theirs.everything(), case.tolerance)
    if ours.module is not None:
        assert repr(ours.module) == repr(theirs.module)


@each([(f, c) for f, c in ALL if c.smooth])
def test_second_derivative(family, case):
    run = nn_cases.Run(case, nt)
    leaves = run.leaves()

    def call(*values):
        given = dict(zip(leaves, values, strict=True))
        run.inputs = [given.get(f"x{k}", x) for k, x in enumerate(run.inputs)]
        for name in run.parameters:
            path, _, last = name.rpartition(".")
            run.module.get_submodule(path)._parameters[last] = given[name]
        found = [t for t in run.outputs() if t.requires_grad]
        return tuple(found)

    assert nt.autograd.gradgradcheck(call, tuple(leaves.values()), atol=1e-4)


@pytest.mark.cuda
@each([(f, c) for f, c in ALL if c.device])
def test_on_a_device(family, case):
    there = nn_cases.Run(case, nt, "cuda").everything()
    compare(there, nn_cases.Run(case, nt).everything(), max(case.tolerance, 1e-10))
