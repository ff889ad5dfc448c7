"""The public gradcheck and gradgradcheck, on every differentiable operator.

The laws of test_ops have an oracle of their own; this asks the library's, in the same
places of layouts and broadcasting.
"""

import laws
import pytest

import numtensor as nt
from numtensor.autograd import gradcheck, gradgradcheck
from numtensor.ops.registry import TABLE

ELEMENTWISE = [
    d for d in TABLE.values() if d.kind == "elementwise" and d.differentiable
]
REDUCTIONS = [
    d
    for d in TABLE.values()
    if d.differentiable and (d.kind == "reduction" or d.name in ("max", "min"))
]
#: gradients through these are constant almost everywhere
FLAT = {"sign", "floor", "ceil", "trunc", "round"}


def check(op, rng, places):
    which = laws.differentiable_arguments(op)
    for place in places:
        _, args, _ = laws.smooth_case(op, rng, place)
        inputs = [
            a.detach().requires_grad_() if k in which else a for k, a in enumerate(args)
        ]

        def call(*values):
            return laws.invoke(op, values)

        assert gradcheck(call, inputs), place
        if op.name not in FLAT:
            assert gradgradcheck(call, inputs), place


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda d: d.name)
def test_elementwise(op, rng):
    check(op, rng, ["zero-dim", "sliced" if op.operator.arity == 1 else "both"])


@pytest.mark.slow
@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda d: d.name)
def test_elementwise_everywhere(op, rng):
    check(op, rng, laws.places_of(op, gradient=True))


@pytest.mark.parametrize("op", REDUCTIONS, ids=lambda d: d.name)
@pytest.mark.parametrize("layout", ["contiguous", "transposed", "sliced"])
def test_reductions(op, layout, rng):
    array = rng.permutation(24).reshape(2, 3, 4) / 12 + 0.3  # no two are equal
    for keywords in ({}, {"dim": 0}, {"dim": -1, "keepdim": True}, {"dim": 1}):
        x = laws.LAYOUTS[layout](array).detach().requires_grad_()

        def call(value, keywords=keywords):
            result = op.call(value, **keywords)
            return result[0] if isinstance(result, tuple) else result

        assert gradcheck(call, [x]), keywords
        assert gradgradcheck(call, [x]), keywords


def test_matrix_products(rng):
    for a, b in (
        ((2, 3), (3, 2)),
        ((3,), (3,)),
        ((2, 2, 3), (3,)),
        ((2, 3), (4, 3, 2)),
    ):
        x = nt.tensor(rng.standard_normal(a), requires_grad=True)
        y = nt.tensor(rng.standard_normal(b), requires_grad=True)
        assert gradcheck(nt.matmul, [x, y])
        assert gradgradcheck(nt.matmul, [x, y])
