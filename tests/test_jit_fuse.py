"""Fusion: groups do what their nodes did, and there are as few as there may be."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jit_reference import run_fused, run_nodes

from numtensor.jit.fuse import fuse
from numtensor.jit.ir import Buffer, Group, Loop, Matmul, Reduce, Ref
from numtensor.kernels.expr import apply, binary, cast, const, var, where
from numtensor.kernels.loops import COMBINES, itemsize
from numtensor.launch_parts import Body, Reduced
from numtensor.layout import contiguous_strides, expand_strides


class Trace:
    """Nodes written by hand: tensors are (buffer, offset, dtype, shape, strides)."""

    def __init__(self):
        self.nodes = []
        self.buffers = []

    def buffer(self, nbytes, source="temporary"):
        number = len(self.buffers)
        self.buffers.append(Buffer(number, number << 32, nbytes, source))
        return self.buffers[-1]

    def tensor(self, shape, dtype="float64", source="input"):
        count = int(np.prod(shape)) * itemsize(dtype)
        return View(self.buffer(max(count, 1), source), 0, dtype, tuple(shape))

    def loop(self, name, build, *inputs, out=None, dtype=None, numbers=()):
        shape = np.broadcast_shapes(*[i.shape for i in inputs]) if inputs else None
        if out is None:
            out = self.tensor(shape, dtype or inputs[0].dtype, "temporary")
        names = [f"x{k}" for k in range(len(inputs))]
        scalars = tuple((f"n{k}", "float64") for k in range(len(numbers)))
        body = Body(
            name,
            name,
            lambda v: [build(*[v[n] for n in [*names, *dict(scalars)]])],
            scalars,
        )
        refs = [(n, i.expand(out.shape).ref) for n, i in zip(names, inputs)]  # noqa: B905
        self.nodes.append(
            Loop(name, "", out.shape, (out.ref,), tuple(refs), body, tuple(numbers))
        )
        return out

    def reduce(self, combine, x, dims, build=lambda x: x, finish=None, out=None):
        dims = frozenset(dims)
        kept = tuple(n for d, n in enumerate(x.shape) if d not in dims)
        out = out or self.tensor(kept, x.dtype, "temporary")
        body = Body(combine, combine, lambda v: [build(v["x"])])
        reduced = (Reduced(out.dtype, COMBINES[combine], finish),)
        self.nodes.append(
            Reduce(
                combine, "", x.shape, dims, (), (out.ref,), reduced,
                (("x", x.ref),), body, (),
            )
        )  # fmt: skip
        return out

    def both(self, name, build, x, y, dims):
        """A reduction as the way back of an operator: a store and two totals."""
        dims = frozenset(dims)
        kept = tuple(n for d, n in enumerate(x.shape) if d not in dims)
        store = self.tensor(x.shape, source="temporary")
        outs = [self.tensor(kept, source="temporary") for _ in range(2)]
        body = Body(name, name, lambda v: build(v["x"], v["y"]))
        reduced = (Reduced("float64", COMBINES["sum"]),) * 2
        self.nodes.append(
            Reduce(
                name, "", x.shape, dims, (store.ref,), tuple(o.ref for o in outs),
                reduced, (("x", x.ref), ("y", y.expand(x.shape).ref)), body, (),
            )
        )  # fmt: skip
        return [store, *outs]

    def matmul(self, a, b):
        (n, k), m = a.shape, b.shape[1]
        out = self.tensor((n, m), a.dtype, "temporary")
        self.nodes.append(Matmul("matmul", "", (), (n, m, k), out.ref, a.ref, b.ref))
        return out

    def check(self, *live, seed=0):
        """Fuse, compare what is in memory afterwards, return the groups."""
        lasting = {v.buffer for v in live}
        lasting |= {b for b in self.buffers if b.source == "input"}
        items = fuse(self.nodes, {v.buffer for v in live})
        before = self.memory(seed)
        one = {b: m.copy() for b, m in before.items()}
        two = {b: m.copy() for b, m in before.items()}
        for b in two:
            if b.source == "temporary" and b not in lasting:
                two[b][:] = 0
        with np.errstate(all="ignore"):
            run_nodes(self.nodes, one)
            run_fused(items, two)
        for b in self.buffers:
            if b in lasting:
                kind = next((v.dtype for v in live if v.buffer is b), self.kinds()[b])
                size = b.nbytes // itemsize(kind) * itemsize(kind)
                got, want = (m[b][:size].view(kind) for m in (two, one))
                np.testing.assert_allclose(
                    got.astype("float64"), want.astype("float64"), rtol=1e-5, atol=1e-6,
                    err_msg=f"{b}",
                )  # fmt: skip
        return items

    def kinds(self):
        found = dict.fromkeys(self.buffers, "uint8")
        for node in self.nodes:
            for ref, _ in [*node.reads, *node.writes]:
                found[ref.buffer] = ref.dtype
        return found

    def memory(self, seed):
        rng = np.random.default_rng(seed)
        found = {}
        for b, kind in self.kinds().items():
            count = -(-b.nbytes // itemsize(kind))
            values = rng.integers(0 if kind in ("bool", "uint8") else -4, 5, count)
            found[b] = values.astype(kind).view("uint8")[: b.nbytes].copy()
        return found


class View:
    """Part of a buffer, with the views that tensors have."""

    def __init__(self, buffer, offset, dtype, shape, strides=None):
        self.buffer, self.offset, self.dtype = buffer, offset, dtype
        self.shape = tuple(int(n) for n in shape)
        self.strides = strides if strides is not None else contiguous_strides(shape)

    @property
    def ref(self):
        return Ref(self.buffer, self.offset, self.dtype, tuple(self.strides))

    def _with(self, shape, strides, skip=0):
        offset = self.offset + skip * itemsize(self.dtype)
        return View(self.buffer, offset, self.dtype, shape, tuple(strides))

    def expand(self, shape):
        return self._with(shape, expand_strides(self.shape, self.strides, tuple(shape)))

    def keep(self, *dims):
        """What a reduction left, with its dims of size 1 put back."""
        shape, strides = list(self.shape), list(self.strides)
        for d in sorted(dims):
            shape.insert(d, 1)
            strides.insert(d, 0)
        return self._with(tuple(shape), strides)

    @property
    def t(self):
        return self._with(self.shape[::-1], self.strides[::-1])

    def part(self, dim, start, stop, step=1):
        shape, strides = list(self.shape), list(self.strides)
        shape[dim] = len(range(start, stop, step))
        strides[dim] *= step
        return self._with(shape, strides, start * self.strides[dim])

    def reshape(self, *shape):
        assert tuple(self.strides) == contiguous_strides(self.shape)
        return self._with(shape, contiguous_strides(shape))


def add(x, y):
    return x + y


def exp(x):
    return apply("exp", x)


def groups(items):
    assert all(isinstance(i, Group) for i in items), items
    return items


def test_a_chain_is_one_group_that_stores_its_end():
    t = Trace()
    x = t.tensor((4, 6))
    y = t.loop("double", lambda x: x * 2, x)
    z = t.loop("next", lambda x: x + 1, y)
    (group,) = groups(t.check(z))
    assert group.title == "double, next"
    assert [s.ref.buffer for s in group.stores] == [z.buffer]
    assert [n for n, _ in group.inputs] == ["in0"] and group.shape == (24,)


def test_what_nobody_sees_vanishes():
    t = Trace()
    x = t.tensor((3,))
    t.loop("double", lambda x: x * 2, x)
    assert t.check() == []
    t = Trace()
    x = t.tensor((0, 3))
    y = t.loop("double", lambda x: x * 2, x)
    assert t.check(y) == []


def test_views_between_loops_are_seen_through():
    t = Trace()
    x = t.tensor((4, 6))
    bias = t.tensor((4,))
    y = t.loop("double", lambda x: x * 2, x)
    z = t.loop("next", lambda x: x + 1, y.reshape(24))
    w = t.loop("add", add, t.loop("third", lambda x: x * 3, y.t), bias)
    (group,) = groups(t.check(z, w))
    assert set(group.shape) == {4, 6} and len(group.stores) == 2


def test_a_linear_fit_step_is_one_group():
    t = Trace()
    x, y = t.tensor((10,)), t.tensor((10,))
    w, b = t.tensor(()), t.tensor(())
    error = t.loop(
        "sub", lambda p, y: p - y,
        t.loop("add", add, t.loop("mul", lambda x, w: x * w, x, w), b), y,
    )  # fmt: skip
    loss = t.reduce("sum", error, [0], lambda e: e * e, lambda total: total / 10)
    one = t.loop(
        "ones", lambda: const(1.0, "float64"), out=t.tensor((), source="temporary")
    )
    scaled = t.loop("div", lambda g: g / 10, one)
    g = t.loop("pow_backward", lambda g, e: g * e * 2, scaled, error)
    db = t.reduce("sum", g, [0])
    dw = t.reduce("sum", t.loop("mul_backward", lambda g, x: g * x, g, x), [0])
    t.loop("sgd", lambda w, g: w - 0.5 * g, w, dw, out=w)
    t.loop("sgd", lambda w, g: w - 0.5 * g, b, db, out=b)
    (group,) = groups(t.check(loss))
    assert len(group.totals) == 3 and group.sweeps == 1
    assert sum(s.row for s in group.stores) == 2 == len(group.stores)
    assert len(group.inputs) == 4


@pytest.mark.parametrize("dim", [0, 1])
def test_softmax_is_one_group_of_three_sweeps(dim):
    t = Trace()
    x = t.tensor((3, 5))
    top = t.reduce("max", x, [dim])
    up = t.loop("exp", lambda x, m: exp(x - m), x, top.keep(dim))
    total = t.reduce("sum", up, [dim])
    out = t.loop("div", lambda x, y: x / y, up, total.keep(dim))
    (group,) = groups(t.check(out))
    assert group.sweeps == 3 and len(group.totals) == 2
    assert [t.ref for t in group.totals] == [None, None]


def test_layer_norm_and_its_rows():
    t = Trace()
    x, scale = t.tensor((4, 6)), t.tensor((6,))
    running = t.tensor((4,))
    mean = t.reduce("sum", x, [1], finish=lambda s: s / 6)
    off = t.loop("sub", lambda x, m: x - m, x, mean.keep(1))
    var_ = t.reduce("sum", off, [1], lambda x: x * x, lambda s: s / 6)
    rstd = t.loop("rsqrt", lambda v: 1 / apply("sqrt", v + 0.5), var_)
    t.loop("lerp", lambda r, v: r * 0.5 + v, running, var_, out=running)
    out = t.loop("mul", lambda x, r: x * r, off, rstd.keep(1))
    out = t.loop("mul", lambda x, w: x * w, out, scale)
    (group,) = groups(t.check(out, rstd))
    assert group.sweeps == 3
    assert sum(s.row for s in group.stores) == 2


def test_long_rows_are_not_swept_twice():
    t = Trace()
    x = t.tensor((2, 100_000))
    top = t.reduce("max", x, [1])
    out = t.loop("sub", lambda x, m: x - m, x, top.keep(1))
    first, second = fuse(t.nodes, {out.buffer})
    assert first.sweeps == second.sweeps == 1 and first.totals and not second.totals


def test_another_reduction_computes_again_what_is_cheap():
    t = Trace()
    g, x = t.tensor((4, 6)), t.tensor((4, 6))
    d = t.loop("mul", lambda g, x: g * x, g, x)
    a, b = t.reduce("sum", d, [0]), t.reduce("sum", d, [1])
    first, second = groups(t.check(a, b))
    assert not first.stores and not second.stores
    t = Trace()
    x = t.tensor((4, 6))
    d = t.loop("exp", exp, x)
    a, b = t.reduce("sum", d, [0]), t.reduce("sum", d, [1])
    first, second = groups(t.check(a, b))
    assert len(first.stores) == 1


def test_stores_and_totals_of_a_way_back_may_part():
    t = Trace()
    x, w = t.tensor((4, 6)), t.tensor((6,))
    top = t.reduce("max", x, [1])
    y = t.loop("sub", lambda x, m: x - m, x, top.keep(1))
    g, dx, dw = t.both("back", lambda g, w: [g * w, g, g + w], y, w, [0])
    total = t.reduce("sum", g, [1])
    out = t.loop("sub", lambda x, m: x - m, g, total.keep(1))
    first, second = groups(t.check(out, dx, dw))
    assert first.sweeps == 3 and len(first.totals) == 2 == len(second.totals)


def test_products_stand_between_groups():
    t = Trace()
    x, w = t.tensor((4, 3)), t.tensor((3, 5))
    b = t.tensor((5,))
    double = t.loop("double", lambda x: x * 2, x)
    y = t.loop("add", add, t.matmul(double, w), b)
    z = t.loop("relu", lambda x: apply("maximum", x, const(0, "float64")), y)
    kinds = [type(i) for i in t.check(z)]
    assert kinds == [Group, Matmul, Group]


def test_overlap_keeps_loops_apart():
    t = Trace()
    x = t.tensor((8,))
    y = t.loop("double", lambda x: x * 2, x.part(0, 0, 7))
    t.loop("copy", lambda y: y, y, out=x.part(0, 1, 8))
    z = t.loop("sum", lambda x: x + 1, x.part(0, 0, 7))
    assert len(t.check(z)) == 3


def test_columns_side_by_side_do_not_conflict():
    t = Trace()
    x = t.tensor((4, 6))
    out = t.tensor((4, 12), source="temporary")
    t.loop("double", lambda x: x * 2, x, out=out.part(1, 0, 6))
    t.loop("triple", lambda x: x * 3, x, out=out.part(1, 6, 12))
    (group,) = t.check(out)
    assert len(group.stores) == 2


def test_float16_is_rounded_in_memory():
    t = Trace()
    x = t.tensor((6,), "float32")
    y = t.loop("third", lambda x: x / 3, x, dtype="float16")
    z = t.loop("triple", lambda x: x * 3, y, dtype="float32")
    assert len(t.check(z)) == 2


def test_numbers_are_literals_or_scalars():
    t = Trace()
    x = t.tensor((3,))
    n0 = var("n0", "float64")
    y = t.loop("scale", lambda x, a, b: x * a + b, x, numbers=(2.0, n0))
    z = t.loop("scale", lambda x, a: x * a, y, numbers=(n0,))
    (group,) = fuse(t.nodes, {z.buffer})
    assert [(n, d) for n, d, _ in group.scalars] == [("s0", "float64")]
    assert group.scalars[0][2] is n0


def test_small_values_are_computed_where_they_are_broadcast():
    t = Trace()
    x, b = t.tensor((4, 6)), t.tensor((6,))
    row = t.loop("double", lambda b: b * 2, b)
    y = t.loop("add", add, x, row)
    t.loop("change", lambda b: b + 1, b, out=b)
    z = t.loop("add", add, y, t.loop("double", lambda b: b * 2, b))
    items = t.check(z)
    assert len(items) <= 3
    first = items[0]
    assert first.shape == (4, 6) and "double" in first.title


def test_many_nodes_are_fused_fast():
    t = Trace()
    x = t.tensor((64, 64))
    y = x
    for k in range(100):
        y = t.loop("add", add, y, y)
        z = t.loop("mul", lambda x: x * 0.5, t.reduce("max", y, [1]))
        if k % 10 == 0:
            y = t.loop("sub", lambda x, z: x - z, y, z.keep(1))
    start = time.perf_counter()
    fuse(t.nodes, {y.buffer, z.buffer})
    assert time.perf_counter() - start < 1.0


DTYPES = ("float64", "float64", "float32", "int64", "uint8", "bool", "float16")
UNARY = {
    "half": lambda x: x * 0.5,
    "neg": lambda x: -x,
    "next": lambda x: x + 1.0,
    "exp": lambda x: exp(apply("minimum", x, const(2.0, "float64"))),
}
PAIRS = {
    "add": add,
    "sub": lambda x, y: x - y,
    "maximum": lambda x, y: apply("maximum", x, y),
    "where": lambda x, y: where(binary("lt", x, y), x, y * 0.5),
}


@st.composite
def programs(draw):
    t = Trace()
    a, b = draw(st.sampled_from([(2, 3), (4, 2), (3, 4), (1, 4), (2, 2), (0, 2)]))
    pool = [t.tensor((a, b)), t.tensor((b,)), t.tensor((a, b), "float32")]
    pool += [t.tensor(())]

    def view():
        x = draw(st.sampled_from(pool[-8:]))
        how = draw(st.sampled_from("....tpfer"))
        if how == "t":
            return x.t
        if how == "p" and x.shape and x.shape[0] > 1:
            start = draw(st.integers(0, x.shape[0] - 1))
            stop = draw(st.integers(start + 1, x.shape[0]))
            return x.part(0, start, stop, draw(st.sampled_from([1, 1, 2])))
        if how == "f" and tuple(x.strides) == contiguous_strides(x.shape):
            return x.reshape(int(np.prod(x.shape)))
        if how == "e" and x.shape in ((), (b,)):
            return x.expand((a, b))
        return x

    def f64(build):
        return lambda *xs: build(*[cast(x, "float64") for x in xs])

    for _ in range(draw(st.integers(2, 12))):
        kind = draw(st.sampled_from("uubbriifks"))
        x = view()
        dtype = draw(st.sampled_from(DTYPES))
        if kind == "u":
            name = draw(st.sampled_from(sorted(UNARY)))
            pool.append(t.loop(name, f64(UNARY[name]), x, dtype=dtype))
        elif kind == "b":
            y = view()
            try:
                np.broadcast_shapes(x.shape, y.shape)
            except ValueError:
                continue
            name = draw(st.sampled_from(sorted(PAIRS)))
            pool.append(t.loop(name, f64(PAIRS[name]), x, y, dtype=dtype))
        elif kind == "s":
            y = pool[0] if x.shape == pool[0].shape else pool[3]
            dims = {d for d in range(len(x.shape)) if draw(st.booleans())}

            def two(x, y):
                x, y = cast(x, "float64"), cast(y, "float64")
                return [x - y, x + y, apply("maximum", x, y)]

            pool += t.both("both", two, x, y, dims)
        elif kind in "rk":
            dims = draw(st.sets(st.integers(0, max(len(x.shape) - 1, 0))))
            dims = {d for d in dims if d < len(x.shape)}
            if kind == "k" and x.shape:
                dims = {len(x.shape) - 1}
            out = t.reduce(
                draw(st.sampled_from(["sum", "max", "min"])), x, dims,
                lambda x: cast(x, "float64"),
                draw(st.sampled_from([None, lambda s: s * 0.5])),
                t.tensor([n for d, n in enumerate(x.shape) if d not in dims],
                         "float64", "temporary"),
            )  # fmt: skip
            pool.append(out.keep(*dims) if kind == "k" else out)
        elif kind == "f":
            value = draw(st.sampled_from([0.0, 1.0, 2.5, 0.1]))
            if 0 not in [s for s, n in zip(x.strides, x.shape) if n > 1]:  # noqa: B905
                t.loop("fill", lambda v=value: const(v, "float64"), out=x)
        elif 0 not in [s for s, n in zip(x.strides, x.shape) if n > 1]:  # noqa: B905
            y = view()
            same = y.buffer is x.buffer and y.ref != x.ref
            try:
                fits = np.broadcast_shapes(x.shape, y.shape) == x.shape
            except ValueError:
                fits = False
            if fits and not same and y.expand(x.shape).ref.buffer is not x.buffer:
                name = draw(st.sampled_from(sorted(PAIRS)))
                t.loop(name, f64(PAIRS[name]), x, y, out=x)
    live = [v for v in pool if draw(st.booleans())] + [pool[-1]]
    return t, live, draw(st.integers(0, 5))


@settings(max_examples=150, deadline=None)
@given(programs())
def test_random_programs_leave_the_same_in_memory(program):
    t, live, seed = program
    t.check(*live, seed=seed)
