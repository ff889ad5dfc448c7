"""Groups of several sweeps: softmax, normalisation and their ways back, by hand."""

from __future__ import annotations

import laws
import numpy as np
import pytest

import numtensor as nt
from numtensor import launch_sweeps
from numtensor.jit.ir import Buffer, Group, Ref, Store, Total
from numtensor.kernels.expr import apply, cast, const, var, where
from numtensor.kernels.loops import COMBINES

pytestmark = pytest.mark.usefixtures("device")

#: relative to the largest value
CLOSE = {"float16": 1e-2, "float32": 2e-6, "float64": 1e-13}


class Built:
    """A group in the making, and the tensors that it reads and writes."""

    def __init__(self, shape, dims, dtype="float32"):
        self.shape, self.dims, self.dtype = tuple(shape), frozenset(dims), dtype
        self.kept = tuple(n for d, n in enumerate(shape) if d not in self.dims)
        self.inputs, self.stores, self.totals, self.scalars = [], [], [], []
        self.read, self.written, self.sums, self.numbers = [], [], [], []
        self.buffers = {}

    def ref(self, tensor, strides):
        storage = tensor.untyped_storage().data_ptr()
        if storage not in self.buffers:
            nbytes = tensor.untyped_storage().nbytes()
            self.buffers[storage] = Buffer(len(self.buffers), 0, nbytes, "input")
        offset = tensor.data_ptr() - storage
        dtype = str(tensor.dtype).removeprefix("torch.")
        return Ref(self.buffers[storage], offset, dtype, tuple(strides))

    def input(self, tensor):
        """Read a tensor that broadcasts to the shape; return its element."""
        if not isinstance(tensor, nt.Tensor):
            tensor = laws.made(tensor)
        strides = tensor.expand(self.shape).stride()
        ref = self.ref(tensor, strides)
        name = f"in{len(self.inputs)}"
        self.inputs.append((name, ref))
        self.read.append(tensor)
        return var(name, ref.dtype)

    def scalar(self, number, dtype):
        name = f"s{len(self.scalars)}"
        self.scalars.append((name, dtype, number))
        self.numbers.append(number)
        return var(name, dtype)

    def total(self, combine, value, finish=None, dtype=None, out=None):
        name, dtype = f"r{len(self.totals)}", dtype or value.dtype
        ref = None
        if out is not None:
            ref = self.ref(out, out.stride())
            self.sums.append(out)
        self.totals.append(Total(name, dtype, COMBINES[combine], value, finish, ref))
        return var(name, dtype)

    def store(self, value, out=None, row=False):
        """Store at every point, or for every row; return what will hold it."""
        if out is None:
            shape = self.kept if row else self.shape
            out = laws.made(np.full(shape, 77).astype(value.dtype))
        self.stores.append(Store(self.ref(out, out.stride()), value, row))
        self.written.append(out)
        return out

    def run(self):
        group = Group(
            self.shape, self.dims, self.inputs, self.scalars, self.stores, self.totals
        )
        on = (self.written + self.sums)[0].device
        steps = launch_sweeps.sweeps(group, on)
        tensors = self.written + self.sums + self.read
        steps.run([t.data_ptr() for t in tensors], self.numbers)
        return steps


def close(tensor, expected, dtype="float32"):
    expected = np.asarray(expected, "float64")
    scale = max(1.0, float(np.abs(expected[np.isfinite(expected)]).max(initial=0)))
    np.testing.assert_allclose(
        laws.numpy_of(tensor).astype("float64"), expected, atol=CLOSE[dtype] * scale
    )


def drawn(shape, dtype="float32"):
    return np.random.default_rng(7).normal(size=shape).astype(dtype)


def softmax_of(x, dims):
    dims = tuple(dims)
    power = np.exp(x.astype("float64") - x.max(dims, keepdims=True))
    return power / power.sum(dims, keepdims=True)


def mean_of(n):
    return lambda total: total / const(n, total.dtype)


def put(array, layout):
    return laws.LAYOUTS[layout](array)


SPACES = [
    ((3, 5), (1,)),
    ((5, 3), (0,)),
    ((2, 9), (0,)),
    ((2, 3, 4), (1,)),
    ((2, 3, 4), (0, 2)),
    ((2, 3, 4), (1, 2)),
    ((2, 3, 4), (0, 1, 2)),
    ((1, 6), (1,)),
    ((4, 1), (1,)),
    ((1, 1), (1,)),
]


@pytest.mark.parametrize(("shape", "dims"), SPACES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "transposed", "sliced"])
def test_softmax_over_any_dims(shape, dims, layout):
    x = drawn(shape)
    b = Built(shape, dims)
    e = b.input(put(x, layout))
    power = apply("exp", e - b.total("max", e))
    out = b.store(power / b.total("sum", power))
    b.run()
    close(out, softmax_of(x, dims))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log_softmax_and_its_way_back(dtype):
    x, g = drawn((4, 11), dtype), drawn((4, 11), dtype) + 1
    b = Built(x.shape, [1], dtype)
    e = b.input(x)
    most = b.total("max", e)
    total = b.total("sum", apply("exp", e - most))
    out = b.store(e - most - apply("log", total))
    b.run()
    y = np.log(softmax_of(x, [1]))
    close(out, y, dtype)

    b = Built(x.shape, [1], dtype)
    y_, g_ = b.input(out), b.input(g)
    back = b.store(g_ - apply("exp", y_) * b.total("sum", g_))
    b.run()
    close(back, g - np.exp(y) * g.astype("float64").sum(1, keepdims=True), dtype)


def test_softmax_and_its_way_back_in_one_group():
    """The result of the first part is read again by a total, then by a store."""
    x, g = drawn((3, 7)), drawn((3, 7)) * 2
    b = Built(x.shape, [1])
    e, g_ = b.input(x), b.input(g)
    power = apply("exp", e - b.total("max", e))
    y_ = power / b.total("sum", power)
    inner = b.total("sum", g_ * y_)
    y = b.store(y_)
    gx = b.store((g_ - inner) * y_)
    b.run()
    expected = softmax_of(x, [1])
    close(y, expected)
    total = (g * expected).sum(1, keepdims=True)
    close(gx, (g - total) * expected)


def normalised(b, e, n, eps):
    mean = b.total("sum", e, mean_of(n))
    gap = e - mean
    variance = b.total("sum", gap * gap, mean_of(n))
    return mean, gap, const(1, e.dtype) / apply("sqrt", variance + eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layer_norm_with_weights_and_rows_stored(dtype):
    n = 9
    x, w, c = drawn((5, n), dtype), drawn(n, dtype) * 3, drawn((1, n), dtype) - 1
    b = Built(x.shape, [1], dtype)
    e, w_, c_ = b.input(x), b.input(w), b.input(c)
    eps = b.scalar(1e-3, dtype)
    mean, gap, scale = normalised(b, e, n, eps)
    out = b.store(gap * scale * w_ + c_)
    means, scales = b.store(mean, row=True), b.store(scale, row=True)
    b.run()
    wide = x.astype("float64")
    mu = wide.mean(1, keepdims=True)
    s = 1 / np.sqrt(wide.var(1, keepdims=True) + 1e-3)
    close(out, (wide - mu) * s * w + c, dtype)
    close(means, mu[:, 0], dtype)
    close(scales, s[:, 0], dtype)


def test_the_way_back_of_layer_norm():
    n = 8
    x, g, w = drawn((4, n)), drawn((4, n)) + 0.5, drawn(n)
    wide = x.astype("float64")
    mu = wide.mean(1, keepdims=True)
    s = 1 / np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    b = Built(x.shape, [1])
    e, g_, w_ = b.input(x), b.input(g), b.input(w)
    mean_, s_ = b.input(mu.astype("float32")), b.input(s.astype("float32"))
    hat, gw = (e - mean_) * s_, g_ * w_
    first = b.total("sum", gw, mean_of(n))
    second = b.total("sum", gw * hat, mean_of(n))
    out = b.store(s_ * (gw - first - hat * second))
    b.run()
    h, gw = (wide - mu) * s, g * w.astype("float64")
    expected = gw - gw.mean(1, keepdims=True) - h * (gw * h).mean(1, keepdims=True)
    close(out, s * expected)


def test_batch_norm_keeps_its_running_mean_in_place():
    """Channels in the middle; what is read of a row is written there at the end."""
    shape, n = (3, 4, 5), 15
    x, running = drawn(shape), laws.made(drawn((1, 4, 1)))
    before = laws.numpy_of(running).astype("float64").copy()
    b = Built(shape, [0, 2])
    e, old = b.input(x), b.input(running)
    mean, gap, scale = normalised(b, e, n, const(1e-5, "float32"))
    out = b.store(gap * scale + old)
    b.store(
        old * const(0.9, "float32") + mean * const(0.1, "float32"),
        running.view(4),
        row=True,
    )
    b.run()
    wide = x.astype("float64")
    mu = wide.mean((0, 2), keepdims=True)
    gap = wide - mu
    expected = gap / np.sqrt(wide.var((0, 2), keepdims=True) + 1e-5) + before
    close(out, expected)
    close(running, 0.9 * before + 0.1 * mu)


@pytest.mark.parametrize(("shape", "dims"), [((4, 6), (1,)), ((6, 9), (0,))], ids=str)
def test_a_store_may_be_the_memory_of_an_input(shape, dims):
    values = drawn(shape)
    x = laws.made(values)
    b = Built(shape, dims)
    e = b.input(x)
    power = apply("exp", e - b.total("max", e))
    other = b.store(e + power)  # early, and of what is overwritten later
    b.store(power / b.total("sum", power), x)
    b.run()
    close(x, softmax_of(values, dims))
    close(other, values + np.exp(values - values.max(dims, keepdims=True)))


def test_a_store_may_lie_between_the_elements_of_an_input():
    values = drawn((4, 6))
    both = laws.made(np.repeat(values, 2, axis=1))
    b = Built((4, 6), [1])
    e = b.input(both[:, ::2])
    power = apply("exp", e - b.total("max", e))
    b.store(power / b.total("sum", power), both[:, 1::2])
    b.run()
    close(both[:, 1::2], softmax_of(values, [1]))
    assert laws.numpy_of(both)[:, ::2].tolist() == values.tolist()


@pytest.mark.parametrize(("shape", "dims"), [((4, 6), (1,)), ((6, 9), (0,))], ids=str)
def test_the_last_step_of_a_total_may_need_more(shape, dims):
    """Another total, even of a later sweep, a number, and what a row has."""
    x = drawn(shape)
    kept = [n for d, n in enumerate(shape) if d not in dims]
    r = np.expand_dims(drawn(kept), dims)
    b = Built(shape, dims)
    e, row, s = b.input(x), b.input(r), b.scalar(2.0, "float32")
    memory = [laws.made(np.zeros(kept, "float32")) for _ in range(2)]
    late = var("r2", "float32")
    first = b.total(
        "sum", e, lambda t: cast(t, "float32") * late + row * s, "float32", memory[0]
    )
    most = b.total("max", e)
    b.total("sum", apply("exp", e - most), out=memory[1])
    out = b.store(e * first)
    b.run()
    wide = x.astype("float64")
    powers = np.exp(wide - wide.max(dims, keepdims=True)).sum(dims, keepdims=True)
    expected = wide.sum(dims, keepdims=True) * powers + 2 * r
    close(memory[1], powers.squeeze(dims))
    close(memory[0], expected.squeeze(dims))
    close(out, x * expected)


@pytest.mark.parametrize(("shape", "dims"), [((4, 6), (1,)), ((6, 9), (0,))], ids=str)
def test_cross_entropy_and_its_gradient(shape, dims):
    (dim,) = dims
    x = drawn(shape)
    kept = tuple(n for d, n in enumerate(shape) if d != dim)
    labels = np.arange(kept[0]) % shape[dim]
    places = np.arange(shape[dim])
    labels_, places_ = np.expand_dims(labels, dim), np.expand_dims(places, 1 - dim)
    b = Built(shape, dims)
    e, label, place = b.input(x), b.input(labels_), b.input(places_)
    zero, one = const(0, "float32"), const(1, "float32")
    most = b.total("max", e)
    power = apply("exp", e - most)
    total = b.total("sum", power)
    chosen = b.total("sum", where(place == label, e, zero))
    grad = b.store(
        (power / total - where(place == label, one, zero)) * b.scalar(0.25, "float32")
    )
    loss = b.store(apply("log", total) + most - chosen, row=True)
    b.run()
    y = softmax_of(x, dims)
    hot = places_ == labels_
    close(grad, 0.25 * (y - hot))
    close(loss, -np.log(y[hot] if dim else y.T[hot.T]))


def test_masked_softmax_with_a_row_that_has_nothing():
    x = drawn((3, 6))
    mask = drawn((3, 6)) > 0
    mask[1] = False
    b = Built(x.shape, [1])
    e, m = b.input(x), b.input(mask)
    low = const(-np.inf, "float32")
    e = where(m, e, low)
    power = apply("exp", e - b.total("max", e))
    out = b.store(power / b.total("sum", power))
    some = b.total("any", m, out=laws.made(np.zeros(3, bool)))
    b.store(cast(some, "float32"))
    b.run()
    found = laws.numpy_of(out)
    assert np.isnan(found[1]).all()
    for row in (0, 2):
        power = np.exp(x[row].astype("float64")) * mask[row]
        np.testing.assert_allclose(found[row], power / power.sum(), rtol=1e-5)
    flags = mask.any(1)
    assert laws.numpy_of(b.sums[0]).tolist() == flags.tolist()
    close(b.written[1], np.broadcast_to(flags[:, None], x.shape))


@pytest.mark.parametrize("dims", [(1,), (0,)], ids=str)
@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float64"])
def test_totals_of_every_kind(dtype, dims):
    x = (drawn((5, 8)) * 4).astype(dtype)
    b = Built(x.shape, dims, dtype)
    e = b.input(x)
    kept = [8 if dims == (0,) else 5]
    kind = "float64" if dtype == "float64" else "int64"

    def memory(dtype):
        return laws.made(np.zeros(kept, dtype))

    most = b.total("max", e, out=memory(dtype))
    least = b.total("min", e, out=memory(dtype))
    summed = b.total("sum", cast(e, kind), out=memory(kind))
    product = b.total("prod", cast(e, kind), out=memory(kind))
    every = b.total("all", e == e, out=memory("bool"))
    some = b.total("any", e == most, out=memory("bool"))
    out = b.store(cast(e, kind) + cast(most, kind) + cast(least, kind) + summed)
    flags = b.store(every & some)
    assert product is not None
    b.run()
    big = x.astype(kind)
    expected = [
        x.max(dims), x.min(dims), big.sum(dims), big.prod(dims), True, True,
    ]  # fmt: skip
    for found, right in zip(b.sums, expected, strict=True):
        np.testing.assert_allclose(
            laws.numpy_of(found), np.broadcast_to(right, kept), rtol=1e-12
        )
    keep = {"axis": dims, "keepdims": True}
    right = big + x.max(**keep).astype(kind) + x.min(**keep) + big.sum(**keep)
    np.testing.assert_allclose(laws.numpy_of(out), right, rtol=1e-12)
    assert laws.numpy_of(flags).all()


def test_a_nan_reaches_all_of_its_row_and_no_other():
    x = drawn((3, 6))
    x[1, 2] = np.nan
    b = Built(x.shape, [1])
    e = b.input(x)
    most = b.total("max", e)
    power = apply("exp", e - most)
    out = b.store(power / b.total("sum", power))
    row = b.store(most, row=True)
    b.run()
    assert np.isnan(laws.numpy_of(out)).sum(1).tolist() == [0, 6, 0]
    assert np.isnan(laws.numpy_of(row)).tolist() == [False, True, False]


@pytest.mark.parametrize("shape", [(3, 0), (0, 4), (0, 0)], ids=str)
def test_no_elements(shape):
    b = Built(shape, [1])
    e = b.input(np.zeros(shape, "float32"))
    total = b.total("sum", e, mean_of(2), out=laws.made(np.ones(shape[:1], "float32")))
    second = b.total("sum", (e - total) * e)
    b.store(e - second)
    rows = b.store(second + const(3, "float32"), row=True)
    b.run()
    assert laws.numpy_of(b.sums[0]).tolist() == [0.0] * shape[0]
    assert laws.numpy_of(rows).tolist() == [3.0] * shape[0]


def test_a_row_of_no_elements_has_the_identities():
    b = Built((2, 0), [1])
    e = b.input(np.zeros((2, 0), "float32"))
    made = [laws.made(np.ones(2, "float32")) for _ in range(2)]
    most = b.total("max", e, out=made[0])
    b.total("prod", e - most, out=made[1])
    b.store(e)
    b.run()
    assert laws.numpy_of(made[0]).tolist() == [-np.inf] * 2
    assert laws.numpy_of(made[1]).tolist() == [1.0] * 2


@pytest.mark.parametrize(("shape", "dims"), [((4, 6), (1,)), ((6, 9), (0,))], ids=str)
def test_results_may_lie_anywhere(shape, dims):
    x = drawn(shape)
    b = Built(shape, dims)
    e = b.input(put(x, "row_gaps"))
    kept = b.kept[0]
    power = apply("exp", e - b.total("max", e))
    total = b.total("sum", power, out=laws.made(np.zeros(2 * kept, "float32"))[::2])
    out = b.store(power / total, put(np.zeros(shape, "float32"), "transposed"))
    rows = b.store(apply("log", total), laws.made(np.ones(kept * 3, "float32"))[1::3],
                   row=True)  # fmt: skip
    b.run()
    power = np.exp(x.astype("float64") - x.max(dims, keepdims=True))
    close(out, softmax_of(x, dims))
    close(b.sums[0], power.sum(dims))
    close(rows, np.log(power.sum(dims)))


def test_what_differs_between_rows_only_is_computed_once():
    x = drawn((4, 6))
    b = Built(x.shape, [1])
    e, r = b.input(x), b.input(drawn((4, 1)))
    mean = b.total("sum", e, mean_of(6))
    b.store((e - mean) * apply("exp", r + mean))
    source = b.run().launches[0][0].source.read_text()
    inner = source.split("# sweep 2")[1]
    head, loop = inner.split("for j in", 1) if "for j in" in inner else ("", inner)
    assert "exp" in source.split("# sweep 2")[0]
    assert "exp" not in head + loop


def test_the_same_text_is_compiled_once():
    def steps(eps):
        b = Built((4, 6), [1])
        e = b.input(drawn((4, 6)))
        _, gap, scale = normalised(b, e, 6, const(eps, "float32"))
        b.store(gap * scale)
        return b.run().launches[0][0].source

    assert steps(1e-3) == steps(1e-3)
    assert steps(1e-3) != steps(2e-3)


def test_totals_that_need_each_other_are_refused():
    b = Built((2, 3), [1])
    e = b.input(drawn((2, 3)))
    b.total("sum", e + var("r1", "float32"))
    b.store(b.total("sum", e + var("r0", "float32")))
    with pytest.raises(ValueError, match="need each other: r0, r1"):
        b.run()
