"""Random numbers: the text of what kernels on every target do to make them.

Philox 4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1,
2, 3", SC'11) turns a 128-bit counter and a 64-bit key into four 32-bit words. The key
is the seed; group g of a fill has the counter `offset + g` and holds as many elements
as four words can make. So an element depends on seed, offset and its index alone: not
on threads, chunks or vector width.

Nor on the target. Integer operations, conversions, division and square root have one
right answer; a product that is then added could be rounded once or twice, as a
compiler likes. Every such pair is written `fma` here, except where the product is a
power of two's or otherwise exact, and logarithm, sine and cosine are polynomials of
this file, not the library's: any target that has the instruction gives the same bits.

Text only: this file knows neither Numba nor LLVM, nothing of generators, and nothing of
how a target's kernels begin and loop: `cpu.random` and `cuda.random` do.
"""

from __future__ import annotations

from collections.abc import Sequence

# -2 log(1 + f) = -2 f + f**2 (...), sqrt(1/2) <= 1 + f <= sqrt(2); error 2**-26 of it
_LOG_32 = (
    0.99999994,
    -0.6666666,
    0.5000156,
    -0.40002468,
    0.3325329,
    -0.2840971,
    0.2625511,
    -0.25445345,
    0.15347283,
)
# -4 atanh(s) = -4 s + s**3 (... in s**2), |s| <= 0.1716; error 2**-57 of it
_ATANH_64 = (
    -1.333333333333334,
    -0.7999999999979901,
    -0.5714285725195097,
    -0.4444442226959016,
    -0.36365778250523445,
    -0.30663443201112084,
    -0.2923289937008681,
)
# sin(x pi / 4) / x and cos(x pi / 4) in x**2, |x| <= 1; errors 2**-25, 2**-27
_SIN_32 = (0.7853982, -0.080745436, 0.0024900069, -3.595429e-05)
_COS_32 = (1.0, -0.30842513, 0.015854325, -0.0003259386, 3.5297971e-06)
# the same in float64; errors 2**-54 and 2**-55, that is, the rounding of the 1st term
_SIN_64 = (
    0.7853981633974483,
    -0.08074551218828054,
    0.002490394570188844,
    -3.657620415891387e-05,
    3.133616225433416e-07,
    -1.7571500746983935e-09,
    6.877360573166326e-12,
)
_COS_64 = (
    1.0,
    -0.30842513753404244,
    0.01585434424381542,
    -0.00032599188692673765,
    3.590860446027952e-06,
    -2.4611364033652597e-08,
    1.1500512028217341e-10,
    -3.8581890073416675e-13,
)
_MINUS_2_LN_2 = -1.3862943611198906

#: words `w0` to `w3` of counter `offset + g`; the key moves by Weyl steps
_PHILOX = """\
counter = offset + uint64(g)
w0 = uint32(counter)
w1 = uint32(counter >> uint64(32))
w2 = uint32(upper)
w3 = uint32(upper >> uint64(32))
key0 = uint32(seed)
key1 = uint32(seed >> uint64(32))
for _ in range(10):
    p = uint64(w0) * uint64(0xD2511F53)
    q = uint64(w2) * uint64(0xCD9E8D57)
    w0 = uint32(uint32(q >> uint64(32)) ^ w1 ^ key0)
    w2 = uint32(uint32(p >> uint64(32)) ^ w3 ^ key1)
    w1 = uint32(q)
    w3 = uint32(p)
    key0 = uint32(key0 + uint32(0x9E3779B9))
    key1 = uint32(key1 + uint32(0xBB67AE85))
"""


def group_size(family: str, dtype: str) -> int:
    """Return how many elements one counter makes.

    Four of 32 random bits, two of 64, one of 128.
    """
    if family == "wide_integers":
        return 1
    if family in ("integers", "keys") or (dtype == "float64" and family != "bernoulli"):
        return 2
    return 4


def body(family: str, dtype: str) -> tuple[list[str], list[str]]:
    """Return what a kernel does first, and what it does for a counter.

    The latter leaves the elements of counter `offset + g` in `v0`, `v1`, ...; the
    words it is written in are among `WORDS`.
    """
    reads, values = _FAMILIES[family](dtype)
    return reads, _PHILOX.splitlines() + values


_FOUR = ("w0", "w1", "w2", "w3")
WORDS = (
    "bits",
    "from_bits",
    "fma",
    "div",
    "sqrt",
    "where",
    "bool_",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint32",
    "uint64",
    "float32",
    "float64",
)
#: parameters of each family; None: of the output's float dtype
_PARAMETERS = {
    "words": (("upper", "int64"),),
    "keys": (("shift", "int64"),),
    "uniform": (("low", None), ("high", None)),
    "normal": (("mean", None), ("std", None)),
    "exponential": (("scale", None),),
    "bernoulli": (("threshold", "int64"),),
    "integers": (("low", "int64"), ("span", "int64")),
    "wide_integers": (("low", "int64"), ("span", "int64")),
}


def parameters(family: str, dtype: str) -> list[tuple[str, str]]:
    """Return the (name, dtype) of a family's parameters."""
    return [(name, kind or dtype) for name, kind in _PARAMETERS[family]]


def _reads(family: str) -> list[str]:
    return [] if family == "words" else ["upper = 0"]


def _polynomial(into: str, x: str, real: str, coefficients: Sequence[float]) -> list:
    """Statements that leave coefficients[0] + coefficients[1] x + ... in `into`."""
    lines = [f"{into} = {real}({coefficients[-1]!r})"]
    for c in reversed(coefficients[:-1]):
        lines.append(f"{into} = fma({into}, {x}, {real}({c!r}))")
    return lines


def _words(dtype: str) -> tuple[list[str], list[str]]:
    """The random words themselves; `upper` is the upper half of the counter."""
    values = [f"v{k} = {word}" for k, word in enumerate(_FOUR)]
    return ["upper = uint64(upper)"], values


def _keys(dtype: str) -> tuple[list[str], list[str]]:
    """The upper bits of 64 random ones; `shift` says how many are left out."""
    values = [
        f"v{k} = int64(((uint64({high}) << uint64(32)) | uint64({low})) >> shift)"
        for k, (low, high) in enumerate((_FOUR[:2], _FOUR[2:]))
    ]
    return [*_reads("keys"), "shift = uint64(shift)"], values


def _uniform(dtype: str) -> tuple[list[str], list[str]]:
    """low + (high - low) k 2**-24, or k 2**-53 in float64, k an integer.

    Rounding may give `high`, which the interval excludes: `low` takes its place.
    """
    width = 24 if dtype == "float32" else 53
    unit = f"unit = (high - low) * {dtype}({2.0**-width!r})"
    values: list[str] = []
    if dtype == "float32":
        for k, word in enumerate(_FOUR):
            values.append(f"v{k} = float32(int32({word} >> uint32(8)))")
    else:
        for k, (first, second) in enumerate((_FOUR[:2], _FOUR[2:])):
            values += [
                f"p{k} = float64(int32({first} >> uint32(5)))",
                f"q{k} = float64(int32({second} >> uint32(6)))",
                f"v{k} = fma(p{k}, float64(67108864.0), q{k})",
            ]
    for k in range(group_size("uniform", dtype)):
        values += [
            f"v{k} = fma(v{k}, unit, low)",
            f"v{k} = where(v{k} < high, v{k}, low)",
        ]
    return [*_reads("uniform"), unit], values


def _minus_2_log(k: int, words: Sequence[str], dtype: str) -> list[str]:
    """Leave -2 log(u) in `r{k}`, u uniform in (0, 1] out of one or two words.

    u is the middle of one of 2**31 or 2**52 equal cells, so it is never 0. It is
    split into 2**n m with m between sqrt(1/2) and sqrt(2) by its bits.
    """
    if dtype == "float32":
        return [
            f"u = float32(int32({words[0]} >> uint32(1)))",
            f"u = fma(u, float32({2.0**-31!r}), float32({2.0**-32!r}))",
            "n = (bits(u) - int32(0x3F3504F3)) >> int32(23)",
            "n = int32(n)",
            "f = from_bits(int32(bits(u) - (n << int32(23)))) - float32(1.0)",
            *_polynomial("y", "f", dtype, _LOG_32),
            "y = fma(f * f, y, float32(-2.0) * f)",
            f"r{k} = fma(float32(n), float32({_MINUS_2_LN_2!r}), y)",
        ]
    return [
        # each product and sum is exact: 52 bits and the half that centres the cell
        f"u = float64(int32({words[1]} >> uint32(6)))",
        f"u = fma(u, float64({2.0**-52!r}), float64({2.0**-53!r}))",
        f"u = fma(float64(int32({words[0]} >> uint32(6))), float64({2.0**-26!r}), u)",
        "n = (bits(u) - int64(0x3FE6A09E667F3BCD)) >> int64(52)",
        "f = from_bits(bits(u) - (n << int64(52))) - float64(1.0)",
        "s = div(f, f + float64(2.0))",
        "z = s * s",
        *_polynomial("y", "z", dtype, _ATANH_64),
        "y = fma(s * z, y, float64(-4.0) * s)",
        f"r{k} = fma(float64(int32(n)), float64({_MINUS_2_LN_2!r}), y)",
    ]


def _box_muller(k: int, words: Sequence[str], dtype: str) -> list[str]:
    """Leave two independent normal numbers in `v{k}` and `v{k + 1}`.

    Box and Muller (1958): radius sqrt(-2 log u), a uniform angle. The angle is drawn
    within an eighth of a turn to either side of 0, where the polynomials hold; two
    further bits swap sine and cosine and negate both, which reaches the whole turn.
    """
    half = len(words) // 2
    first, second = words[:half], words[half:]
    sin, cos = (_SIN_32, _COS_32) if dtype == "float32" else (_SIN_64, _COS_64)
    angle = [f"x = {dtype}(int32({second[0]} << uint32(2))) * {dtype}({2.0**-31!r})"]
    if dtype == "float64":
        angle = [
            f"x = float64(int32({second[1]} >> uint32(8))) * float64({2.0**-53!r})",
            f"t = float64(int32({second[0]} << uint32(2)))",
            f"x = fma(t, float64({2.0**-31!r}), x)",
        ]
    return [
        *_minus_2_log(k, first, dtype),
        f"radius = sqrt(r{k})",
        *angle,
        "z = x * x",
        *_polynomial("sine", "z", dtype, sin),
        "sine = sine * x",
        *_polynomial("cosine", "z", dtype, cos),
        f"radius = where({second[0]} >> uint32(31) != 0, -radius, radius)",
        f"swap = ({second[0]} >> uint32(30)) & uint32(1) != 0",
        f"v{k} = fma(radius * where(swap, sine, cosine), std, mean)",
        f"v{k + 1} = fma(radius * where(swap, cosine, sine), std, mean)",
    ]


def _normal(dtype: str) -> tuple[list[str], list[str]]:
    if dtype == "float64":
        values = _box_muller(0, _FOUR, dtype)
    else:
        values = _box_muller(0, _FOUR[:2], dtype) + _box_muller(2, _FOUR[2:], dtype)
    return _reads("normal"), values


def _words_of_each(dtype: str) -> tuple[Sequence[str], ...]:
    if dtype == "float64":
        return _FOUR[:2], _FOUR[2:]
    return tuple((word,) for word in _FOUR)


def _exponential(dtype: str) -> tuple[list[str], list[str]]:
    """-log(u) times `scale`, which is 1 / rate."""
    values: list[str] = []
    for k, words in enumerate(_words_of_each(dtype)):
        values += _minus_2_log(k, words, dtype)
        values.append(f"v{k} = r{k} * {dtype}(0.5) * scale")
    return _reads("exponential"), values


def _bernoulli(dtype: str) -> tuple[list[str], list[str]]:
    """1 where a word is below `threshold`, which is p 2**32: exact to 2**-33 in p."""
    one = f"{dtype}(1)" if dtype != "bool" else "True"
    zero = f"{dtype}(0)" if dtype != "bool" else "False"
    values = [
        f"v{k} = where(int64({word}) < threshold, {one}, {zero})"
        for k, word in enumerate(_FOUR)
    ]
    return _reads("bernoulli"), values


def _store_integer(name: str, dtype: str) -> str:
    return f"{name} != 0" if dtype == "bool" else f"{dtype}({name})"


def _integers(dtype: str) -> tuple[list[str], list[str]]:
    """low + floor(x span / 2**64), x of 64 random bits, span at most 2**32.

    No value is more likely than another by more than span 2**-64 <= 2**-32 of its
    probability 1 / span: no rejection is needed, which keeps the stream a function
    of the index.
    """
    values: list[str] = []
    for k, (first, second) in enumerate((_FOUR[:2], _FOUR[2:])):
        values += [
            f"x = uint64({first}) * span + (uint64({second}) * span >> uint64(32))",
            f"x{k} = low + int64(x >> uint64(32))",
            f"v{k} = {_store_integer(f'x{k}', dtype)}",
        ]
    return [*_reads("integers"), "span = uint64(span)"], values


def _wide_integers(dtype: str) -> tuple[list[str], list[str]]:
    """low + floor(x span / 2**128), x of 128 random bits; span 0 stands for 2**64.

    Uneven by at most span 2**-128 <= 2**-64 of the probability.
    """
    product = """\
ls = {x} & low_half
hs = {x} >> uint64(32)
cross = ls * span_high
other = hs * span_low
mid = (ls * span_low >> uint64(32)) + (cross & low_half) + (other & low_half)
{into} = hs * span_high + (cross >> uint64(32)) + (other >> uint64(32))
{into} = {into} + (mid >> uint64(32))
"""
    values = [
        "x = (uint64(w0) << uint64(32)) | uint64(w1)",
        "y = (uint64(w2) << uint64(32)) | uint64(w3)",
        *product.format(x="x", into="top").splitlines(),
        *product.format(x="y", into="carry").splitlines(),
        # the lower half of x span, plus what y span carries into it, may overflow
        "lower = x * span",
        "top = top + where(lower + carry < lower, uint64(1), uint64(0))",
        "top = where(span == uint64(0), x, top)",
        "x0 = low + int64(top)",
        f"v0 = {_store_integer('x0', dtype)}",
    ]
    reads = [
        *_reads("wide_integers"),
        "span = uint64(span)",
        "low_half = uint64(0xFFFFFFFF)",
        "span_low = span & low_half",
        "span_high = span >> uint64(32)",
    ]
    return reads, values


_FAMILIES = {
    "words": _words,
    "keys": _keys,
    "uniform": _uniform,
    "normal": _normal,
    "exponential": _exponential,
    "bernoulli": _bernoulli,
    "integers": _integers,
    "wide_integers": _wide_integers,
}
