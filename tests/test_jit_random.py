"""Random programs do the same jitted as they do eagerly, call after call.

More examples: NUMTENSOR_JIT_EXAMPLES=5000 python -m pytest tests/test_jit_random.py
"""

from __future__ import annotations

import os

import jit_programs as programs
import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import numtensor as nt
from numtensor.errors import TraceError

EXAMPLES = int(os.environ.get("NUMTENSOR_JIT_EXAMPLES", "150"))
SEED = int(os.environ.get("NUMTENSOR_JIT_SEED", "0"))
CALLS = 3
#: what is not done in a trace, and says so
REFUSED = ("changed in place and has a history then", "would go on outside")

small = st.integers(0, 5)
instruction = st.tuples(st.integers(0, 19), small, small, st.integers(0, 15))
PAIRS = ((3, 4), (1, 5), (2, 2), (0, 3), (6, 1), (70, 3), (90, 70), (2, 5000), (700, 9))


@st.composite
def plans(draw):
    """Where the inputs lie: (shape, dtype, layout), or (input, part of it)."""
    a, b = draw(st.sampled_from(PAIRS))
    shapes = st.sampled_from([(a, b), (b,), (a, 1), (), (a, b), (2, a, b)])
    found = []
    for n in range(draw(st.integers(2, 4))):
        if n and draw(st.integers(0, 7)) == 7:
            found.append((draw(st.integers(0, n - 1)), draw(st.integers(0, 3))))
            continue
        kind = draw(st.sampled_from(["float32", "float64", "int64", "bool"][::1]))
        if n == 0:
            kind = ("float32", "float64")[kind != "float32"]
        layout = draw(
            st.sampled_from(["contiguous", "transposed", "sliced", "computed"])
        )
        found.append((draw(shapes), kind, layout))
    return found


def fresh(plan, rng, grad):
    """Make the inputs of a plan."""
    found = []
    for n, part in enumerate(plan):
        if len(part) == 2:
            of, how = part
            x = found[of]
            x = x.detach()
            if x.dim() and len(x):
                x = (x, x[1:], x.transpose(0, -1), x[0])[how]
            found.append(x)
            continue
        shape, kind, layout = part
        values = rng.uniform(-2, 2, shape)
        values = (
            values * 2 if kind == "int64" else values > 0 if kind == "bool" else values
        )
        values = np.asarray(values).astype(kind)
        if layout == "transposed" and len(shape) > 1:
            x = nt.tensor(np.ascontiguousarray(values.T)).permute(
                *reversed(range(len(shape)))
            )
        elif layout == "sliced" and shape:
            x = nt.zeros((*shape[:-1], shape[-1] + 2), dtype=getattr(nt, kind))[
                ..., 1:-1
            ]
            x.copy_(nt.tensor(values))
        else:
            x = nt.tensor(values)
        if grad >> n & 1 and x.is_floating_point():
            x.requires_grad_()
            if layout == "computed":
                x = x * 1
        found.append(x)
    return found


def renew(inputs, plan, rng):
    """Write new values into inputs."""
    with nt.no_grad():
        for t, part, other in zip(inputs, plan, fresh(plan, rng, 0), strict=True):
            if len(part) == 3:
                t.copy_(other)


class Runs:
    """One side of the comparison: the calls of a function on inputs of its own."""

    def __init__(self, plan, program, grad, inside, captured, jitted, noise=0.0):
        self.rng = np.random.default_rng(3)
        self.plan, self.inside, self.captured, self.noise = (
            plan,
            inside,
            captured,
            noise,
        )
        self.inputs = fresh(plan, self.rng, grad)
        self.grad = grad
        run = programs.backward_inside if inside else programs.perform
        if captured:
            inputs = self.inputs

            def function():
                return run(program, inputs)

        else:

            def function(*inputs):
                return run(program, inputs)

        self.function = nt.jit(function) if jitted else function

    def call(self, n):
        """Call it once; return what can be seen, or what it raised."""
        if n:
            renew(self.inputs, self.plan, self.rng)
        if self.noise:
            with nt.no_grad():
                for t, part in zip(self.inputs, self.plan, strict=True):
                    if len(part) == 3 and t.is_floating_point():
                        t.mul_(1 + self.noise)
        versions = [t._version for t in self.inputs]
        nt.manual_seed(n)
        try:
            found = self.function(*([] if self.captured else self.inputs))
            state = programs.seen(self.inputs, found)
            if not self.inside:
                total = programs.weighted(found)
                if total is not None:
                    total.backward()
                    state = programs.seen(self.inputs, found)
                del total
        except Exception as error:
            return error
        values, facts = state
        for k, (t, v) in enumerate(zip(self.inputs, versions, strict=True)):
            facts[f"changes of input {k}"] = t._version - v
        values.append(array_of_next())
        if found and programs.Machine(self.inputs).writable(found[-1].detach()):
            with nt.no_grad():  # who shares memory with it?
                found[-1].detach().zero_()
            values += [programs.array(t) for t in (*self.inputs, *found)]
        return values, facts


def array_of_next():
    """Return what the generator gives next: how far it has gone."""
    return nt.rand(2, dtype=nt.float64).numpy()


def off(got, want):
    """Return how far values are from each other, relative to the largest."""
    if want.dtype.kind != "f":
        return 0.0 if np.array_equal(got, want) else np.inf
    with np.errstate(all="ignore"):
        got, want = np.atleast_1d(got, want)
        bad = np.isnan(got) != np.isnan(want)
        gap = np.abs(got.astype(np.float64) - want)
        gap[(got == want) | (np.isnan(got) & np.isnan(want))] = 0
        most = np.max(np.abs(want[np.isfinite(want)]), initial=1.0)
        return np.inf if bad.any() else float(np.max(gap, initial=0.0) / most)


def check(plan, program, grad, inside, captured):
    narrow = any("float32" in part for part in plan) or any(
        programs.STEPS[step] in (programs.cast, programs.random) for step, *_ in program
    )
    room = 2e-5 if narrow else 1e-10
    eager = Runs(plan, program, grad, inside, captured, False)
    jitted = Runs(plan, program, grad, inside, captured, True)
    for n in range(CALLS):
        want, got = eager.call(n), jitted.call(n)
        if isinstance(want, Exception) or isinstance(got, Exception):
            if isinstance(got, TraceError) and any(t in str(got) for t in REFUSED):
                return
            assert type(want) is type(got), (want, got)
            assert str(want) == str(got)
            return
        other = {
            k: (v, got[1].get(k)) for k, v in want[1].items() if got[1].get(k) != v
        }
        assert not other, f"call {n}: eager and jitted differ: {other}"
        assert len(want[0]) == len(got[0])
        far = [
            k
            for k, (w, g) in enumerate(zip(want[0], got[0], strict=True))
            if not off(g, w) <= (0.0 if w.dtype.kind != "f" else room)
        ]
        if far and not close_after_noise(
            plan, program, grad, inside, captured, n, far, want[0], got[0]
        ):
            k = far[0]
            raise AssertionError(
                f"call {n}, value {k}: {off(got[0][k], want[0][k])}\n{got[0][k]}\nnot\n"
                f"{want[0][k]}"
            )


def close_after_noise(plan, program, grad, inside, captured, n, far, want, got):
    """Whether inputs that differ by rounding would make as large a difference."""
    room = [0.0] * len(want)
    for noise in (1e-6, -1e-6, 3e-6):
        moved = Runs(plan, program, grad, inside, captured, False, noise)
        for k in range(n + 1):
            found = moved.call(k)
        if isinstance(found, Exception):
            return False
        for k in far:
            room[k] = max(room[k], off(found[0][k], want[k]))
    return all(off(got[k], want[k]) <= 3 * room[k] for k in far)


@settings(
    max_examples=EXAMPLES,
    derandomize=not SEED,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
@given(
    plan=plans(),
    program=st.lists(instruction, min_size=1, max_size=12),
    grad=st.integers(0, 15),
    inside=st.booleans(),
    captured=st.booleans(),
)
def test_programs(plan, program, grad, inside, captured):
    check(plan, program, grad, inside, captured)
