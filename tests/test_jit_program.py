"""Programs of hand-made groups, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest

import numtensor as nt
from numtensor.devices import CPU
from numtensor.jit.ir import Buffer, Group, Matmul, Node, Opaque, Ref, Store, Total
from numtensor.jit.lower import lower
from numtensor.jit.numbers import evaluator
from numtensor.jit.program import Program, arrange
from numtensor.kernels.expr import apply, const, var, where
from numtensor.kernels.loops import COMBINES

SUM, MAX = COMBINES["sum"], COMBINES["max"]


class Memory:
    """External buffers over NumPy arrays, and temporaries."""

    def __init__(self):
        self.arrays, self.external, self.count = [], [], 0

    def of(self, array):
        self.count += 1
        buffer = Buffer(self.count, 0, array.nbytes, "input")
        self.arrays.append(array)
        self.external.append(buffer)
        return buffer

    def temporary(self, nbytes):
        self.count += 1
        return Buffer(self.count, 0, nbytes, "temporary")

    @property
    def pointers(self):
        return [a.ctypes.data for a in self.arrays]

    def program(self, *items):
        return Program(items, CPU, self.external)


def ref(buffer, shape, dtype="float32", offset=0, strides=None):
    if strides is None:
        strides = tuple(int(np.prod(shape[d + 1 :])) for d in range(len(shape)))
    return Ref(buffer, offset, dtype, tuple(strides))


def group(shape, inputs, stores, totals=(), dims=(), scalars=(), name="test", sweeps=1):
    return Group(
        tuple(shape), frozenset(dims), list(inputs), list(scalars), list(stores),
        list(totals), [Node(name, "")], sweeps,
    )  # fmt: skip


def f32(name):
    return var(name, "float32")


def close(got, expected, tolerance=1e-5):
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("rows", [3, 700])
def test_broadcast_transposed_and_sliced_operands(rng, rows):
    m = Memory()
    x = rng.normal(size=(rows, 10)).astype("f")
    y = rng.normal(size=(10, rows)).astype("f")  # read transposed
    z = rng.normal(size=(2 * rows, 4)).astype("f")  # every second, from column 1
    out = np.empty((rows, 10), "f")
    bx, by, bz, bo = map(m.of, (x, y, z, out))
    item = group(
        (rows, 10),
        [
            ("a", ref(bx, x.shape)),
            ("b", ref(by, x.shape, strides=(1, rows))),
            ("c", ref(bz, x.shape, offset=4, strides=(8, 0))),
        ],
        [Store(ref(bo, x.shape), apply("exp", f32("a") * f32("b")) + f32("c"))],
    )
    program = m.program(item)
    assert program.run(m.pointers) is None
    wide = [a.astype("d") for a in (x, y, z)]
    close(out, np.exp(wide[0] * wide[1].T) + wide[2][::2, 1:2], 1e-4)


@pytest.mark.parametrize("rows", [5, 2000])
def test_fills_dtypes_and_numbers(rng, rows):
    m = Memory()
    out, flags = np.empty((rows, 4), "d"), np.empty(rows * 4, "?")
    x = rng.integers(-5, 5, (rows, 4)).astype("i")
    bo, bf, bx = map(m.of, (out, flags, x))
    n0 = var("n0", "float64")
    item = group(
        (rows, 4),
        [("x", ref(bx, x.shape, "int32"))],
        [
            Store(
                ref(bo, x.shape, "float64"), var("s", "float64") + var("c", "float64")
            ),
            Store(ref(bf, x.shape, "bool"), var("x", "int32") > const(1, "int32")),
        ],
        scalars=[("s", "float64", n0), ("c", "float64", 0.5)],
    )
    program = m.program(item)
    for number in (2.0, 3.0):
        program.run(m.pointers, [number])
        close(out, np.full((rows, 4), number + 0.5))
    assert (flags.reshape(rows, 4) == (x > 1)).all()


def test_numbers_are_worked_out_before_kernels():
    m = Memory()
    out = np.zeros(3, "d")
    bo = m.of(out)
    n0, n1 = var("n0", "float64"), var("n1", "float64")
    item = group(
        (3,), [], [Store(ref(bo, (3,), "float64"), var("s", "float64"))],
        scalars=[("s", "float64", const(1.0, "float64") - apply("pow", n0, n1))],
    )  # fmt: skip
    m.program(item).run(m.pointers, [0.9, 3.0])
    close(out, np.full(3, 1 - 0.9**3), 1e-12)
    assert evaluator([n0 / const(0.0, "float64")])([1.0]) == [np.inf]
    assert evaluator([where(n0 > n1, n0, n1)])([1.0, 2.0]) == [2.0]


@pytest.mark.parametrize(
    "shape", [(4, 7), (5, 12), (70, 900), (0, 4), (3, 0), (1, 3000)]
)
@pytest.mark.parametrize("dims", [(0,), (1,), (0, 1)])
def test_totals_with_stores_and_rows(rng, shape, dims):
    m = Memory()
    x = rng.normal(size=shape).astype("f")
    kept = tuple(n for d, n in enumerate(shape) if d not in dims)
    double, total, peak = np.empty(shape, "f"), np.empty(kept, "f"), np.empty(kept, "f")
    ratio = np.empty(kept, "f")
    bx, bd, bt, bp, br = map(m.of, (x, double, total, peak, ratio))
    item = group(
        shape,
        [("x", ref(bx, shape))],
        [
            Store(ref(bd, shape), f32("x") * 2.0),
            Store(ref(br, kept), f32("t") + var("p", "float32"), True),
        ],
        [
            Total("t", "float32", SUM, f32("x"), None, ref(bt, kept)),
            Total("p", "float32", MAX, f32("x"), lambda v: v * 3.0, ref(bp, kept)),
        ],
        dims,
    )
    assert m.program(item).run(m.pointers) is None
    wide = x.astype("d")
    largest = np.max(wide, axis=dims, initial=-np.inf)
    close(double, wide * 2)
    close(total, wide.sum(dims), 1e-4)
    close(peak, largest * 3)
    close(ratio, wide.sum(dims) + largest * 3, 1e-4)


@pytest.mark.parametrize("shape", [(6, 5), (300, 40)])
def test_last_steps_may_name_other_totals_and_numbers(rng, shape):
    m = Memory()
    x = rng.normal(size=shape).astype("f")
    out = np.empty(shape[0], "f")
    bx, bo = map(m.of, (x, out))
    item = group(
        shape,
        [("x", ref(bx, shape))],
        [],
        [
            Total(
                "a", "float32", SUM, f32("x"),
                lambda v: v * var("s", "float64") + var("b", "float32"),
                ref(bo, shape[:1]),
            ),
            Total("b", "float32", MAX, f32("x"), None, None),
        ],
        (1,),
        [("s", "float64", var("n0", "float64"))],
    )  # fmt: skip
    m.program(item).run(m.pointers, [0.5])
    close(out, x.astype("d").sum(1) * 0.5 + x.max(1), 1e-4)


def softmax(bx, bo, shape):
    e = apply("exp", f32("x") - f32("m"))
    return group(
        shape,
        [("x", ref(bx, shape))],
        [Store(ref(bo, shape), e / f32("s"))],
        [
            Total("m", "float32", MAX, f32("x"), None, None),
            Total("s", "float32", SUM, e, None, None),
        ],
        (1,),
        sweeps=3,
        name="softmax",
    )


def test_sweeps_over_small_rows(rng):
    m = Memory()
    x = rng.normal(size=(5, 9)).astype("f")
    before = x.astype("d")
    bx = m.of(x)
    program = m.program(softmax(bx, bx, x.shape))  # in place
    assert program.run(m.pointers) is None
    e = np.exp(before - before.max(1, keepdims=True))
    close(x, e / e.sum(1, keepdims=True))
    assert [p.kind for p in program.parts] == ["sweeps"]


@pytest.mark.parametrize(
    "batch, sizes",
    [((), (3, 4, 5)), ((2,), (3, 19, 7)), ((), (40, 33, 70)), ((), (2, 1, 9))],
)
@pytest.mark.parametrize("kind", ["f", "d"])
@pytest.mark.parametrize("turned", [False, True])
def test_products(rng, batch, sizes, kind, turned):
    m = Memory()
    n, k_columns, k = sizes
    a = rng.normal(size=(*batch, n, k)).astype(kind)
    b = rng.normal(size=(*batch, k, k_columns)).astype(kind)
    held = np.ascontiguousarray(np.swapaxes(b, -1, -2)) if turned else b
    out = np.empty((*batch, n, k_columns), kind)
    bo, ba, bb = map(m.of, (out, a, held))
    dtype = {"f": "float32", "d": "float64"}[kind]
    steps = [s // held.itemsize for s in held.strides]
    if turned:
        steps[-1], steps[-2] = steps[-2], steps[-1]
    item = Matmul(
        "matmul", "", batch, sizes, ref(bo, out.shape, dtype),
        ref(ba, a.shape, dtype), ref(bb, b.shape, dtype, strides=steps),
    )  # fmt: skip
    assert m.program(item).run(m.pointers) is None
    close(out, a.astype("d") @ b.astype("d"), 1e-4)


@pytest.mark.parametrize("n", [8, 3000, 300_000])
def test_temporaries_and_repeat(rng, n):
    """y = x + 1 by way of memory, then x = 2 y: again and again."""
    m = Memory()
    x = rng.normal(size=n)
    start = x.copy()
    bx = m.of(x)
    t, u = m.temporary(8 * n), m.temporary(8 * n)
    shape = (n,)
    value = var("x", "float64")

    def step(source, target, result):
        return group(
            shape,
            [("x", ref(source, shape, "float64"))],
            [Store(ref(target, shape, "float64"), result)],
        )

    items = [step(bx, t, value + 1.0), step(t, u, value * 2.0), step(u, bx, value)]
    program = m.program(*items)
    assert program.run(m.pointers) is None
    close(x, 2 * (start + 1))
    assert program.repeat(3, m.pointers) is None
    expected = start
    for _ in range(4):
        expected = 2 * (expected + 1)
    close(x, expected)


def test_lives_that_do_not_overlap_share_memory():
    m = Memory()
    n = 10_000
    bx = m.of(np.zeros(n))
    buffers = [bx] + [m.temporary(8 * n) for _ in range(4)] + [bx]
    items = [
        group(
            (n,),
            [("x", ref(a, (n,), "float64"))],
            [Store(ref(b, (n,), "float64"), var("x", "float64") + 1.0)],
        )
        for a, b in zip(buffers, buffers[1:], strict=False)
    ]
    offsets, size = arrange(lower(items, CPU), m.external)
    assert len(offsets) == 4
    assert size == 2 * -(-8 * n // 64) * 64


def test_memory_that_is_written_must_not_overlap_other_memory(rng):
    m = Memory()
    x, out = rng.normal(size=8), np.zeros(8)
    bx, bo = map(m.of, (x, out))
    item = group(
        (8,),
        [("x", ref(bx, (8,), "float64"))],
        [Store(ref(bo, (8,), "float64"), var("x", "float64") * 2.0)],
    )
    program = m.program(item)
    both = np.zeros(12)
    near = [both.ctypes.data, both.ctypes.data + 32]
    assert program.run(near) is False
    assert program.repeat(5, near) is False
    assert (both == 0).all()
    assert program.run(m.pointers) is None
    assert program.run(near) is False
    assert program.run(m.pointers) is None
    close(out, x * 2)
    with pytest.raises(SystemError):
        program.run(m.pointers[:1])
    with pytest.raises(TypeError):
        program.run(["a", "b"])


@pytest.mark.parametrize("n", [6, 200_000])
def test_a_kernel_that_is_not_fused(rng, n):
    from numtensor.kernels.tasks import Tasks
    from numtensor.launch import by_tasks

    wanted = Tasks(
        ("test scaled",), "scaled", "out = x * s",
        (("out", "float64"), ("x", "float64")),
        lambda source: source.add("out[i] = x[i] * s"), (), (("s", "float64"),),
    )  # fmt: skip
    m = Memory()
    x, out = rng.normal(size=n), np.zeros(n)
    bx, bo = map(m.of, (x, out))
    refs = (ref(bo, (n,), "float64"), ref(bx, (n,), "float64"))
    item = Opaque(
        "scaled", "", refs, frozenset([0]), frozenset([1]), (var("n0", "float64"),),
        lambda on: by_tasks(wanted, n, on=on),
    )  # fmt: skip
    program = m.program(item)
    assert program.run(m.pointers, [4.0]) is None
    close(out, x * 4)
    assert program.parts[0].kind == "by hand"


@pytest.mark.parametrize("n", [6, 100_000])
def test_random_numbers_are_drawn_at_every_run(n):
    from numtensor import random
    from numtensor.jit.ir import Random

    m = Memory()
    out = np.zeros(n)
    bo = m.of(out)
    plan = random._uniform("float64", 0.0, 1.0)
    generator = nt.Generator()
    counters = -(-n // plan.size)
    item = Random("random", "", ref(bo, (n,), "float64"), n, counters, plan, generator)
    program = m.program(item)
    generator.manual_seed(3)
    expected = [nt.rand(n, dtype=nt.float64, generator=generator) for _ in range(3)]
    generator.manual_seed(3)
    program.run(m.pointers)
    assert (out == expected[0].numpy()).all()
    program.repeat(2, m.pointers)
    assert (out == expected[2].numpy()).all()


def test_many_pointers_are_split(rng):
    m = Memory()
    arrays = [rng.normal(size=5) for _ in range(60)]
    outs = [np.zeros(5) for _ in range(30)]
    inputs, results = [m.of(a) for a in arrays], [m.of(o) for o in outs]
    items = [
        group(
            (5,),
            [(f"in{j}", ref(inputs[2 * k + j], (5,), "float64")) for j in range(2)],
            [Store(ref(results[k], (5,), "float64"),
                   var("in0", "float64") - var("in1", "float64"))],
        )
        for k in range(30)
    ]  # fmt: skip
    program = m.program(*items)
    assert program.run(m.pointers) is None
    for k in range(30):
        close(outs[k], arrays[2 * k] - arrays[2 * k + 1])


def test_source_names_the_operators(rng):
    m = Memory()
    x = rng.normal(size=(4, 3)).astype("f")
    bx = m.of(x)
    program = m.program(softmax(bx, bx, x.shape))
    assert "# softmax: 4 x 3" in program.source()
    assert "def fused(args, lo, hi):" in program.source()
    assert program.parts[0].nbytes == 2 * x.nbytes


@pytest.mark.cuda
def test_on_a_device():
    x = nt.arange(6, dtype=nt.float32, device="cuda").reshape(2, 3)
    out, total = nt.empty((2, 3), device="cuda"), nt.empty((2,), device="cuda")
    m = Memory()
    external = [
        Buffer(k, 0, t.numel() * 4, "input") for k, t in enumerate((x, out, total))
    ]
    bx, bo, bt = external
    t = m.temporary(24)
    shape = (2, 3)
    first = group(
        shape, [("x", ref(bx, shape))],
        [Store(ref(t, shape), f32("x") + f32("s"))],
        scalars=[("s", "float32", var("n0", "float64") * 2.0)],
    )  # fmt: skip
    second = group(
        shape, [("x", ref(t, shape))],
        [Store(ref(bo, shape), f32("x") * f32("x"))],
        [Total("r", "float32", SUM, f32("x"), None, ref(bt, (2,)))], (1,),
    )  # fmt: skip
    program = Program([first, second], x.device, external)
    pointers = [t.data_ptr() for t in (x, out, total)]
    assert program.run(pointers, [0.5]) is None
    wide = np.arange(6.0).reshape(2, 3) + 1
    close(out.cpu().numpy(), wide**2)
    close(total.cpu().numpy(), wide.sum(1))
    assert program.run([pointers[0], pointers[0], pointers[2]], [0.5]) is False


def test_sweeps_over_large_rows(rng):
    m = Memory()
    x = rng.normal(size=(70, 300)).astype("f")
    out = np.empty_like(x)
    bx, bo = map(m.of, (x, out))
    program = m.program(softmax(bx, bo, x.shape))
    assert program.run(m.pointers) is None
    wide = np.exp(x.astype("d") - x.max(1, keepdims=True))
    close(out, wide / wide.sum(1, keepdims=True))


@pytest.mark.parametrize("n", [4, 6000])
def test_a_group_of_too_many_operands_is_cut(rng, n):
    """x0 = x1 + x2, x1 = x2 + x3, ...: each overwrites what the one before reads."""
    m = Memory()
    count = 26
    arrays = [rng.normal(size=n) for _ in range(count + 2)]
    before = [a.copy() for a in arrays]
    total = np.zeros(())
    buffers = [m.of(a) for a in arrays]
    bt = m.of(total)
    refs = [ref(b, (n,), "float64") for b in buffers]
    values = [var(f"in{k}", "float64") for k in range(count + 2)]
    item = group(
        (n,),
        [(f"in{k}", r) for k, r in enumerate(refs)],
        [Store(refs[k], values[k + 1] + values[k + 2]) for k in range(count)],
        [Total("r", "float64", SUM, values[0], None, ref(bt, (), "float64"))],
        (0,),
    )
    assert m.program(item).run(m.pointers) is None
    close(total, before[0].sum())
    for k in range(count):
        close(arrays[k], before[k + 1] + before[k + 2])


@pytest.mark.parametrize("rows", [5, 90])
def test_rows_are_stored_after_all_rows_are_read(rng, rows):
    """w = (x * w).sum(1): every row reads all of what rows store."""
    m = Memory()
    x = rng.normal(size=(rows, rows))
    w = rng.normal(size=rows)
    before = w.copy()
    bx, bw = map(m.of, (x, w))
    item = group(
        x.shape,
        [
            ("x", ref(bx, x.shape, "float64")),
            ("w", ref(bw, x.shape, "float64", strides=(0, 1))),
        ],
        [Store(ref(bw, w.shape, "float64"), var("r", "float64"), True)],
        [
            Total(
                "r",
                "float64",
                SUM,
                var("x", "float64") * var("w", "float64"),
                None,
                None,
            )
        ],
        (1,),
    )
    assert m.program(item).run(m.pointers) is None
    close(w, x @ before)
