"""Random numbers: Philox's published vectors, streams, distributions, generators."""

from __future__ import annotations

import copy
import math
import pickle
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest

import numtensor as nt
from numtensor import random
from numtensor.errors import DeviceError, DTypeError
from numtensor.kernels import compiler
from numtensor.kernels.cpu import random as source

INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
FLOATS = ("float32", "float64")

# drawn with seed 0
U32 = [0.3990464210510254, 0.8805201649665833, 0.7357127666473389]
U64 = [0.39904647231489565, 0.7357127860596914]
N32 = [0.9246625900268555, -0.9911375641822815, -0.6176089644432068]
N64 = [-1.3500326450786866, 0.1215179746228097]
I64 = [39, 73, 97, 69]
P8 = [3, 5, 4, 2, 6, 7, 1, 0]


def generator(seed=0):
    return random.Generator().manual_seed(seed)


def filled(family, n, dtype, *parameters, gen=None):
    out = np.empty(n, dtype)
    fill = getattr(random, f"fill_{family}")
    fill(out.ctypes.data, n, dtype, *parameters, gen or generator())
    return out


def signed(x):
    return x - 2**64 if x >= 2**63 else x


def words(count, seed=0, offset=0, upper=0):
    """The raw words, through the kernel that stores them as they are."""
    out = np.empty(count, np.uint32)
    kernel = compiler.load("words_uint32", source.emit("words", "uint32"))
    compiler.runner("serial")(
        kernel.address,
        -(-count // 4),
        out.ctypes.data,
        signed(seed),
        signed(offset),
        count,
        signed(upper),
    )
    return out


def philox(counter, key):
    """Philox 4x32-10 in Python integers, from the paper's description."""
    a, b, c, d = counter
    k, m = key
    for _ in range(10):
        p, q = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (q >> 32) ^ b ^ k, q % 2**32, (p >> 32) ^ d ^ m, p % 2**32
        k, m = (k + 0x9E3779B9) % 2**32, (m + 0xBB67AE85) % 2**32
    return a, b, c, d


# one case for each family, with parameters that use its whole arithmetic
STREAMS = [
    *[("uniform", dtype, (-3.0, 5.5)) for dtype in FLOATS],
    *[("normal", dtype, (0.25, 1.75)) for dtype in FLOATS],
    *[("exponential", dtype, (0.75,)) for dtype in FLOATS],
    ("bernoulli", "bool", (0.3,)),
    ("integers", "int16", (-7, 1000)),
    ("integers", "int64", (-(2**62), 2**62 + 5)),
]


class TestWords:
    # the known answers published with Random123, https://www.deshawresearch.com
    @pytest.mark.parametrize(
        "counter, key, expected",
        [
            ("00000000 " * 4, "00000000 " * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
            ("ffffffff " * 4, "ffffffff " * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
            (
                "243f6a88 85a308d3 13198a2e 03707344",
                "a4093822 299f31d0",
                "d16cfe09 94fdcceb 5001e420 24126ea1",
            ),
        ],
    )
    def test_published_vectors(self, counter, key, expected):
        c = [int(x, 16) for x in counter.split()]
        k = [int(x, 16) for x in key.split()]
        got = words(4, k[0] | k[1] << 32, c[0] | c[1] << 32, c[2] | c[3] << 32)
        assert [f"{x:08x}" for x in got] == expected.split()

    def test_counter_carries_into_its_second_word(self):
        start = 2**32 - 20
        expected = [
            philox((c % 2**32, c >> 32, 0, 0), (7, 0)) for c in range(start, start + 40)
        ]
        assert words(160, 7, start).tolist() == np.ravel(expected).tolist()


class TestStream:
    @pytest.mark.parametrize("family, dtype, parameters", STREAMS)
    def test_does_not_depend_on_threads_or_length(
        self, family, dtype, parameters, monkeypatch
    ):
        n = 50003
        monkeypatch.setattr(random, "_GRAIN", 1009)
        monkeypatch.setattr(random, "_THREADED", 10**9)
        serial = filled(family, n, dtype, *parameters)
        monkeypatch.setattr(random, "_THREADED", 1)
        before = compiler.num_threads()
        try:
            for count in range(1, before + 1):
                compiler.set_num_threads(count)
                assert np.array_equal(serial, filled(family, n, dtype, *parameters))
        finally:
            compiler.set_num_threads(before)
        for short in range(70):
            start = filled(family, short, dtype, *parameters)
            assert np.array_equal(serial[:short], start)

    @pytest.mark.parametrize("family, dtype, parameters", STREAMS)
    def test_writes_nothing_past_the_end(self, family, dtype, parameters):
        for n in range(1, 9):
            out = np.full(n + 8, 77, dtype)
            fill = getattr(random, f"fill_{family}")
            fill(out.ctypes.data, n, dtype, *parameters, generator())
            assert (out[n:] == np.full(8, 77, dtype)).all()

    def test_of_a_seed_never_changes(self):
        # recorded once: files and papers may depend on a seed's numbers
        assert filled("uniform", 3, "float32", 0.0, 1.0).tolist() == U32
        assert filled("uniform", 2, "float64", 0.0, 1.0).tolist() == U64
        assert filled("normal", 3, "float32", 0.0, 1.0).tolist() == N32
        assert filled("normal", 2, "float64", 0.0, 1.0).tolist() == N64
        assert filled("integers", 4, "int64", 0, 100).tolist() == I64
        assert nt.randperm(8, generator=generator()).tolist() == P8

    def test_successive_fills_share_no_counter(self):
        gen = generator(3)
        parts = [filled("uniform", n, "float64", 0, 1, gen=gen) for n in (3, 5, 8, 1)]
        whole = filled("uniform", 20, "float64", 0, 1, gen=generator(3))
        assert np.isin(np.concatenate(parts), whole).all()
        assert len(np.unique(np.concatenate(parts))) == 17

    def test_differs_between_seeds(self):
        a, b = (filled("uniform", 9, "float32", 0, 1, gen=generator(s)) for s in (0, 1))
        assert not np.isin(a, b).any()

    def test_threads_draw_disjoint_numbers(self):
        gen = generator()
        drawn = []

        def draw():
            for _ in range(200):
                drawn.append(filled("uniform", 6, "float64", 0, 1, gen=gen))

        threads = [threading.Thread(target=draw) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len(np.unique(np.concatenate(drawn))) == 4 * 200 * 6


class TestValues:
    """Against the same formulas in NumPy, from the raw words."""

    def test_uniform(self):
        w = words(4000).astype(np.float64)
        expected = np.floor(w / 2**8) / 2**24
        assert np.array_equal(filled("uniform", 4000, "float32", 0, 1), expected)
        high, low = np.floor(w[0::2] / 2**5), np.floor(w[1::2] / 2**6)
        expected = (high * 2**26 + low) / 2**53
        assert np.array_equal(filled("uniform", 2000, "float64", 0, 1), expected)

    def test_normal_float32(self):
        u, turn = words(20000).astype(np.float64).reshape(-1, 2).T
        u = (np.floor(u / 2) + 0.5) / 2**31
        self.compare(u, turn, 2e-6, filled("normal", 20000, "float32", 0, 1))

    def test_normal_float64(self):
        w = words(40000).astype(np.float64).reshape(-1, 4).T
        u = (np.floor(w[0] / 2**6) * 2**26 + np.floor(w[1] / 2**6) + 0.5) / 2**52
        turn = w[2] + np.floor(w[3] / 2**8) / 2**24
        self.compare(u, turn, 4e-15, filled("normal", 20000, "float64", 0, 1))

    @staticmethod
    def compare(u, turn, tolerance, got):
        quarter, rest = np.divmod(turn, 2**30)
        x = rest / 2**29
        angle = np.where(x >= 1, x - 2, x) * math.pi / 4
        swap, minus = quarter % 2 == 1, quarter >= 2
        radius = np.sqrt(-2 * np.log(u)) * np.where(minus, -1, 1)
        cos, sin = np.cos(angle), np.sin(angle)
        first, second = np.where(swap, sin, cos), np.where(swap, cos, sin)
        expected = np.stack([radius * first, radius * second], 1).ravel()
        assert np.abs(got - expected).max() <= tolerance

    def test_wide_integers(self):
        span = 2**63 + 12345
        w = words(400).astype(object).reshape(-1, 4)
        expected = [
            -(2**62) + ((((a << 32 | b) << 64) + (c << 32 | d)) * span >> 128)
            for a, b, c, d in w.tolist()
        ]
        got = filled("integers", 100, "int64", -(2**62), span - 2**62)
        assert got.tolist() == expected

    def test_narrow_integers(self):
        for span in (1, 3, 2**31 + 1, 2**32):
            w = words(400).astype(object).reshape(-1, 2)
            expected = [-5 + ((a << 32 | b) * span >> 64) for a, b in w.tolist()]
            got = filled("integers", 200, "int64", -5, span - 5)
            assert got.tolist() == expected


N = 100_000


def distance(sample, cdf):
    """Kolmogorov and Smirnov's statistic times sqrt(n): above 1.95 once in 1000."""
    x = cdf(np.sort(sample.astype(np.float64)))
    ranks = np.arange(len(x) + 1) / len(x)
    return math.sqrt(len(x)) * max((ranks[1:] - x).max(), (x - ranks[:-1]).max())


def neighbours(sample, lag):
    """Correlation at a lag, in standard deviations of its own."""
    x = sample - sample.mean()
    return (x[lag:] * x[:-lag]).mean() / x.var() * math.sqrt(len(x))


@pytest.mark.parametrize("dtype", FLOATS)
class TestDistributions:
    def test_uniform(self, dtype):
        x = filled("uniform", N, dtype, 0.0, 1.0)
        assert x.min() >= 0 and x.max() < 1
        assert distance(x, lambda x: x) < 1.95
        assert abs(x.mean() - 0.5) < 4 * math.sqrt(1 / 12 / N)
        assert abs(x.var() - 1 / 12) < 4 * math.sqrt(1 / 180 / N)
        assert all(abs(neighbours(x, lag)) < 4 for lag in (1, 2, 3, 4, 8, 32))

    def test_uniform_excludes_high(self, dtype):
        high = np.nextafter(np.dtype(dtype).type(1), 2)
        x = filled("uniform", 1000, dtype, 1.0, float(high))
        assert (x == 1.0).all()
        assert (filled("uniform", 10, dtype, 2.0, 2.0) == 2.0).all()

    def test_normal(self, dtype):
        x = filled("normal", N, dtype, 2.0, 3.0).astype(np.float64)
        erf = np.vectorize(math.erf)
        assert distance(x, lambda x: (1 + erf((x - 2) / 3 / math.sqrt(2))) / 2) < 1.95
        z = (x - 2) / 3
        assert abs(z.mean()) < 4 / math.sqrt(N)
        assert abs(z.var() - 1) < 4 * math.sqrt(2 / N)
        assert abs((z**3).mean()) < 4 * math.sqrt(15 / N)
        assert abs((z**4).mean() - 3) < 4 * math.sqrt(96 / N)
        # the two numbers of a pair are independent in sign and in size
        for y in (z, np.abs(z), z * z):
            assert all(abs(neighbours(y, lag)) < 4 for lag in (1, 2, 3, 4))
        assert (filled("normal", 9, dtype, 1.5, 0.0) == 1.5).all()

    def test_exponential(self, dtype):
        x = filled("exponential", N, dtype, 4.0)
        assert x.min() >= 0
        assert distance(x, lambda x: 1 - np.exp(-4 * x)) < 1.95
        assert abs(neighbours(x, 1)) < 4
        assert (filled("exponential", 9, dtype, math.inf) == 0).all()


class TestIntegers:
    @pytest.mark.parametrize("dtype", INTEGERS)
    def test_buckets_are_even(self, dtype):
        low = 0 if dtype == "uint8" else -50
        x = filled("integers", N, dtype, low, low + 100)
        counts = np.bincount(x.astype(np.int64) - low, minlength=100)
        assert len(counts) == 100
        chi_square = ((counts - N / 100) ** 2 / (N / 100)).sum()
        assert abs(chi_square - 99) < 4 * math.sqrt(2 * 99)
        assert abs(neighbours(x, 1)) < 4

    @pytest.mark.parametrize("dtype", INTEGERS)
    def test_whole_range_of_the_dtype(self, dtype):
        limits = np.iinfo(dtype)
        x = filled("integers", N, dtype, int(limits.min), int(limits.max) + 1)
        scaled = (x.astype(np.float64) - float(limits.min)) / 2.0**limits.bits
        if limits.bits <= 8:
            assert len(np.unique(x)) == 256
        else:
            assert distance(scaled, lambda x: x) < 1.95

    def test_span_of_three_quarters_of_int64(self):
        # what a 64-bit modulus or product would give is uneven by a factor of two
        x = filled("integers", N, "int64", -(2**63), 2**62)
        scaled = (x.astype(np.float64) + 2.0**63) / (3 * 2.0**62)
        assert distance(scaled, lambda x: x) < 1.95

    def test_into_floats_and_bool(self):
        x = filled("integers", 1000, "float32", -2, 3)
        assert sorted(set(x.tolist())) == [-2, -1, 0, 1, 2]
        assert filled("integers", 1000, "bool", 0, 2).sum() in range(400, 600)

    def test_numpy_bounds(self):
        x = filled("integers", 100, "int64", np.int8(-100), np.int8(100))
        assert x.min() >= -100 and x.max() < 100 and len(set(x.tolist())) > 50

    def test_default_bounds(self):
        assert random.default_bounds("bool") == (0, 2)
        assert random.default_bounds("int8") == (0, 128)
        assert random.default_bounds("int64") == (0, 2**63)
        assert random.default_bounds("float32") == (0, 2**24 + 1)
        assert random.default_bounds("float64") == (0, 2**53 + 1)


class TestBernoulli:
    @pytest.mark.parametrize("dtype", ["bool", *INTEGERS, *FLOATS])
    def test_mean(self, dtype):
        x = filled("bernoulli", N, dtype, 0.3)
        assert set(x.tolist()) == {0, 1}
        assert abs(x.mean(dtype=np.float64) - 0.3) < 4 * math.sqrt(0.21 / N)

    def test_certain(self):
        assert filled("bernoulli", 1000, "float32", 1.0).all()
        assert not filled("bernoulli", 1000, "float32", 0).any()


class TestPermutation:
    @pytest.mark.parametrize("n", [0, 1, 2, 3, 1000, 70000])
    def test_has_every_number_once(self, n):
        order = nt.randperm(n, generator=generator()).numpy()
        assert order.dtype == np.int64
        assert np.array_equal(np.sort(order), np.arange(n))

    @pytest.mark.parametrize("n", [1, 2, 5, 64, 65, 1000, 40000])
    def test_is_the_order_of_64_random_bits(self, n):
        keys = words(2 * n).view(np.uint64)
        low = np.uint64((1 << (n - 1).bit_length()) - 1)
        expected = np.argsort((keys & ~low) | np.arange(n, dtype=np.uint64))
        order = nt.randperm(n, generator=generator())
        assert np.array_equal(order.numpy(), expected)

    def test_every_order_is_as_likely(self):
        gen = generator()
        orders = [nt.randperm(4, generator=gen).tolist() for _ in range(4800)]
        counts = np.unique(orders, axis=0, return_counts=True)[1]
        assert len(counts) == 24
        chi_square = ((counts - 200) ** 2 / 200).sum()
        assert abs(chi_square - 23) < 4 * math.sqrt(2 * 23)


class TestGenerator:
    def test_seeds(self):
        gen = random.Generator()
        assert gen.initial_seed() == 67280421310721  # PyTorch's
        assert gen.manual_seed(5) is gen
        assert gen.initial_seed() == 5
        assert gen.manual_seed(-1).initial_seed() == 2**64 - 1
        assert gen.manual_seed(-(2**63)).initial_seed() == 2**63
        assert gen.manual_seed(2**64 - 1).initial_seed() == 2**64 - 1
        assert gen.manual_seed(np.int64(3)).initial_seed() == 3
        assert str(gen.device) == "cpu"

    def test_large_seeds_draw(self):
        a = filled("uniform", 8, "float32", 0, 1, gen=generator(2**64 - 1))
        b = filled("uniform", 8, "float32", 0, 1, gen=generator(-1))
        assert np.array_equal(a, b)
        assert np.array_equal(a, (words(8, 2**64 - 1) >> 8) / np.float32(2**24))

    def test_seed_from_the_system(self):
        gen = random.Generator()
        first, second = gen.seed(), gen.seed()
        assert first != second and gen.initial_seed() == second

    def test_state(self):
        gen = generator(9)
        filled("uniform", 13, "float32", 0, 1, gen=gen)
        state = gen.get_state()
        twin = gen.clone_state()
        copies = [copy.copy(gen), copy.deepcopy(gen), pickle.loads(pickle.dumps(gen))]
        expected = filled("normal", 7, "float32", 0, 1, gen=gen)
        for other in (twin, *copies, gen.set_state(state)):
            assert other.initial_seed() == 9
            assert np.array_equal(
                filled("normal", 7, "float32", 0, 1, gen=other), expected
            )

    def test_state_at_the_end_of_the_stream(self):
        gen = generator(1)
        end = struct.pack("<8sQQ", b"philox 1", 1, 2**64 - 1)
        gen.set_state(np.frombuffer(end, np.uint8))
        x = filled("uniform", 8, "float32", 0, 1, gen=gen)
        assert np.array_equal(
            x[4:], filled("uniform", 4, "float32", 0, 1, gen=generator(1))
        )

    def test_default_generator(self):
        before = random.get_rng_state()
        try:
            assert random.manual_seed(11.5) is random.default_generator
            assert random.initial_seed() == 11
            out = np.empty(4, np.float32)
            with random.fork_rng():
                random.fill_uniform(out.ctypes.data, 4, "float32", 0, 1)
                assert random.seed() == random.initial_seed()
            again = np.empty(4, np.float32)
            random.fill_uniform(again.ctypes.data, 4, "float32", 0, 1)
            assert np.array_equal(out, again)
        finally:
            random.set_rng_state(before)


class TestErrors:
    @pytest.mark.parametrize(
        "call, kind, text",
        [
            (
                lambda: random.Generator("tpu"),
                DeviceError,
                "device: got 'tpu'; expected one of cpu, cuda device type at start of "
                "device string. Use device='cpu'.",
            ),
            (
                lambda: generator(1.5),
                RuntimeError,
                "manual_seed: got a float; expected an int.",
            ),
            (
                lambda: generator(True),
                RuntimeError,
                "manual_seed: got a bool; expected an int.",
            ),
            (
                lambda: generator(2**64),
                ValueError,
                "manual_seed: got 18446744073709551616; "
                "expected a seed from -2**63 to 2**64 - 1.",
            ),
            (
                lambda: generator().set_state(np.zeros(24)),
                TypeError,
                "set_state: got dtype float64; expected a state of dtype uint8.",
            ),
            (
                lambda: generator().set_state(np.zeros(3, np.uint8)),
                RuntimeError,
                "set_state: got shape (3,) or a foreign content; "
                "expected the 24 bytes that get_state returned.",
            ),
            (
                lambda: random.fill_uniform(0, 1, "float32", 2.0, 1.0),
                RuntimeError,
                "uniform_: got low 2.0 and high 1.0; "
                "expected low <= high and high - low finite in float32.",
            ),
            (
                lambda: random.fill_uniform(0, 1, "int64", 0.0, 1.0),
                DTypeError,
                "uniform_: got int64; expected float32 or float64.",
            ),
            (
                lambda: random.fill_normal(0, 1, "float32", 0.0, math.nan),
                RuntimeError,
                "normal_: got std nan; expected std >= 0.",
            ),
            (
                lambda: random.fill_exponential(0, 1, "float32", 0.0),
                RuntimeError,
                "exponential_: got rate 0.0; expected a rate > 0.",
            ),
            (
                lambda: random.fill_bernoulli(0, 1, "float32", 2),
                RuntimeError,
                "bernoulli_: got p 2; expected p in [0, 1].",
            ),
            (
                lambda: random.fill_integers(0, 1, "uint8", 0, 300),
                RuntimeError,
                "random_: got low 0 and high 300; "
                "expected 0 <= low < high <= 256 for dtype uint8.",
            ),
            (
                lambda: nt.randperm(3, generator="cpu"),
                TypeError,
                "generator: got a str; expected a Generator or None.",
            ),
        ],
    )
    def test_message(self, call, kind, text):
        with pytest.raises(kind) as caught:
            call()
        assert str(caught.value) == text

    @pytest.mark.parametrize(
        "low, high",
        [(math.nan, 1.0), (0.0, math.inf), (-3.4e38, 3.4e38), (0.0, 1e39)],
    )
    def test_uniform_bounds(self, low, high):
        with pytest.raises(RuntimeError, match="uniform_"):
            filled("uniform", 1, "float32", low, high)

    def test_a_refused_fill_draws_nothing(self):
        gen = generator()
        before = gen.get_state()
        with pytest.raises(RuntimeError):
            filled("integers", 4, "int64", 5, 5, gen=gen)
        assert np.array_equal(gen.get_state(), before)


def test_import_compiles_nothing():
    code = (
        "import sys, numtensor.random\n"
        "from numtensor.kernels import compiler\n"
        "assert compiler.statistics['compiled'] == 0\n"
        "assert compiler.statistics['linked'] == 0\n"
        "assert 'numba' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class TestFactories:
    @pytest.fixture(autouse=True)
    def keep_the_default_stream(self):
        with random.fork_rng():
            yield

    def test_a_seed_repeats(self):
        nt.manual_seed(0)
        a, b = nt.rand(8), nt.randn(8)
        nt.manual_seed(0)
        assert nt.equal(a, nt.rand(8)) and nt.equal(b, nt.randn(8))
        assert not nt.equal(a, nt.rand(8))

    def test_successive_calls_differ(self):
        nt.manual_seed(0)
        a, b = nt.rand(3), nt.rand(5)
        assert not np.isin(a.numpy(), b.numpy()).any()

    def test_own_generator_leaves_the_default_alone(self):
        nt.manual_seed(0)
        a = nt.rand(4)
        nt.manual_seed(0)
        nt.rand(4, generator=nt.Generator().manual_seed(1))
        assert nt.equal(a, nt.rand(4))

    def test_shapes_and_dtypes(self):
        assert nt.rand(2, 3).shape == (2, 3)
        assert nt.randn((4,), dtype=nt.float64).dtype == nt.float64
        x = nt.randint(3, 7, (50,))
        assert x.dtype == nt.int64 and x.min() >= 3 and x.max() < 7
        assert sorted(nt.randperm(9).tolist()) == list(range(9))

    def test_in_place_on_a_transposed_view(self):
        nt.manual_seed(0)
        x = nt.zeros(40, 30)
        x.mT.uniform_(1.0, 2.0)
        assert x.min() >= 1 and x.max() < 2
        assert len(np.unique(x.numpy())) > 1150
