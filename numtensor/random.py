"""Generators, and memory filled with random numbers.

What may come in: addresses, counts, dtype names, the kernels of `kernels.cpu.random`.
What must not: Tensor (but for a generator's state), shapes, dimension names. The
factories (`rand`, ...) and the in-place fills of Tensor are written in `sampling`,
with the `fill_*` functions here.

A generator is a seed and an offset into the seed's stream of 2**64 counters. A fill
reserves as many counters as it needs under a lock, and then works without it, so
threads may share a generator; what each of them draws depends on who came first.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import os
import struct
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .devices import CPU, Twin, device
from .devices import find as find_device
from .errors import DeviceError, DTypeError, message
from .kernels import compiler
from .kernels.cpu import random as source

if TYPE_CHECKING:
    from .tensor import Tensor

#: PyTorch's, so that an unseeded program draws the same in every run
DEFAULT_SEED = 67280421310721

_LIMITS = {"float32": float(np.finfo(np.float32).max), "float64": np.finfo(float).max}
#: smallest and largest value of the dtypes that hold random integers
_RANGES = {
    "bool": (0, 1),
    **{
        name: (int(np.iinfo(name).min), int(np.iinfo(name).max))
        for name in ("uint8", "int8", "int16", "int32", "int64")
    },
    # whatever of int64 is asked for: the values are rounded
    "float32": (-(2**63), 2**63 - 1),
    "float64": (-(2**63), 2**63 - 1),
}
_WORD = 2**64
_LAST = 2**64 - 1
_TWO_63 = 2**63
_TWO_32 = 2**32
#: elements from which more threads pay for waking them
_THREADED = 65536
#: counters that one thread takes at a time, at least
_GRAIN = 4096


class Generator:
    """A stream of random numbers: what `torch.Generator` is.

    `device` says which tensors draw from it; the stream of a seed is the same on all.
    Raises: DeviceError, no such device.

    >>> Generator().manual_seed(0).initial_seed()
    0
    """

    __slots__ = ("device", "_seed", "_offset", "_lock")

    def __init__(self, device: Any = "cpu") -> None:
        found = find_device(device)
        self.device = found.real if type(found) is Twin else found
        self._lock = threading.Lock()
        self._seed = DEFAULT_SEED
        self._offset = 0

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of `seed` and return this generator.

        A negative seed stands for 2**64 + seed.
        Raises: RuntimeError, a seed that is no int; ValueError, one beyond 64 bits.
        """
        if isinstance(seed, (bool, np.bool_)) or not hasattr(seed, "__index__"):
            raise RuntimeError(
                message("manual_seed", f"a {type(seed).__name__}", "an int")
            )
        seed = seed.__index__()
        if not -_TWO_63 <= seed < _WORD:
            raise ValueError(
                message("manual_seed", f"{seed}", "a seed from -2**63 to 2**64 - 1")
            )
        with self._lock:
            self._seed = seed % _WORD
            self._offset = 0
        return self

    def seed(self) -> int:
        """Start the stream of a seed from the operating system, and return the seed."""
        seed = int.from_bytes(os.urandom(8), "little")
        self.manual_seed(seed)
        return seed

    def initial_seed(self) -> int:
        """Return the seed of this generator's stream."""
        return self._seed

    def get_state(self) -> Tensor:
        """Return seed and position in the stream as a uint8 tensor of 24 bytes."""
        from .creation import from_numpy  # which needs this module by way of others

        return from_numpy(self._state())

    def _state(self) -> npt.NDArray[np.uint8]:
        with self._lock:
            state = _STATE.pack(_MAGIC, self._seed, self._offset)
        return np.frombuffer(state, np.uint8).copy()

    def set_state(self, state: Tensor | npt.NDArray[np.uint8]) -> Generator:
        """Continue where the generator that returned `state` stood.

        Raises: TypeError, an array of another dtype; RuntimeError, other bytes than
        `get_state` returns.
        """
        data = np.asarray(state)
        if data.dtype != np.uint8:
            raise TypeError(
                message("set_state", f"dtype {data.dtype}", "a state of dtype uint8")
            )
        if data.shape != (_STATE.size,) or data[:8].tobytes() != _MAGIC:
            raise RuntimeError(
                message(
                    "set_state",
                    f"shape {data.shape} or a foreign content",
                    f"the {_STATE.size} bytes that get_state returned",
                )
            )
        with self._lock:
            _, self._seed, self._offset = _STATE.unpack(data.tobytes())
        return self

    def clone_state(self) -> Generator:
        """Return a new generator at the same place of the same stream."""
        return Generator(self.device).set_state(self._state())

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (str(self.device), self._state())

    def _reserve(self, counters: int) -> tuple[int, int]:
        """Return seed and first of `counters` counters, as int64 holds their bits."""
        with self._lock:
            seed = self._seed
            offset = self._offset
            self._offset = (offset + counters) & _LAST
        if seed >= _TWO_63:
            seed -= _WORD
        if offset >= _TWO_63:
            offset -= _WORD
        return seed, offset


_STATE = struct.Struct("<8sQQ")
_MAGIC = b"philox 1"


def _restored(device: Any, state: npt.NDArray[np.uint8]) -> Generator:
    return Generator(device).set_state(state)


#: what every function draws from on the CPU that is given no generator
default_generator = Generator()

_cuda_generators: dict[device, Generator] = {}
#: what a device's generator starts with: the last seed that was for all devices
_cuda_seed = [DEFAULT_SEED]


def cuda_generator(on: device) -> Generator:
    """Return the default generator of a CUDA device."""
    found = _cuda_generators.get(on)
    if found is None:
        made = Generator(on).manual_seed(_cuda_seed[0])
        found = _cuda_generators.setdefault(on, made)
    return found


def cuda_manual_seed_all(seed: int) -> None:
    """Seed the default generators of all CUDA devices, those to come included.

    Raises: as `Generator.manual_seed`.
    """
    # checked here: a generator that is made later cannot refuse it
    _cuda_seed[0] = seed = Generator().manual_seed(seed).initial_seed()
    for generator in _cuda_generators.values():
        generator.manual_seed(seed)


def manual_seed(seed: int) -> Generator:
    """Seed the default generators of all devices; return the CPU's.

    `seed` is what int() takes. From one seed every device draws the same numbers.
    """
    found = default_generator.manual_seed(int(seed))
    cuda_manual_seed_all(int(seed))
    return found


def seed() -> int:
    """Seed the default generators from the operating system; return the seed."""
    made = default_generator.seed()
    cuda_manual_seed_all(made)
    return made


def initial_seed() -> int:
    """Return the seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """Return the state of the default generator."""
    return default_generator.get_state()


def set_rng_state(state: Tensor | npt.NDArray[np.uint8]) -> None:
    """Set the state of the default generator."""
    default_generator.set_state(state)


@contextlib.contextmanager
def fork_rng(
    devices: object = None, enabled: bool = True, device_type: str = "cpu"
) -> Iterator[None]:
    """Leave the default generator, at the end of the block, as it was before.

    `devices` and `device_type` name what else to restore; the CPU is all there is.
    """
    state = get_rng_state()
    try:
        yield
    finally:
        if enabled:
            set_rng_state(state)


def fill_uniform(
    address: int,
    n: int,
    dtype: str,
    low: float,
    high: float,
    generator: Generator | None = None,
    on: device = CPU,
) -> None:
    """Fill `n` elements with numbers uniform in [low, high): `uniform_`.

    Multiples of 2**-24 (float64: 2**-53) of the interval. Dtypes: float32, float64.
    Raises: DTypeError; RuntimeError, bounds that are no finite interval.
    """
    _run(_uniform(dtype, low, high), address, n, generator, on)


def fill_normal(
    address: int,
    n: int,
    dtype: str,
    mean: float,
    std: float,
    generator: Generator | None = None,
    on: device = CPU,
) -> None:
    """Fill `n` elements with normal numbers: `normal_`, `randn`.

    Dtypes: float32, float64. Raises: DTypeError; RuntimeError, `std` not >= 0.
    """
    _run(_normal(dtype, mean, std), address, n, generator, on)


def fill_exponential(
    address: int,
    n: int,
    dtype: str,
    rate: float,
    generator: Generator | None = None,
    on: device = CPU,
) -> None:
    """Fill `n` elements with exponential numbers of mean 1 / rate: `exponential_`.

    Dtypes: float32, float64. Raises: DTypeError; RuntimeError, `rate` not > 0.
    """
    _run(_exponential(dtype, rate), address, n, generator, on)


def fill_bernoulli(
    address: int,
    n: int,
    dtype: str,
    p: float,
    generator: Generator | None = None,
    on: device = CPU,
) -> None:
    """Fill `n` elements with 1 with probability p, else 0: `bernoulli_`.

    The probability is p rounded to a multiple of 2**-32. Dtypes: all.
    Raises: DTypeError; RuntimeError, `p` outside [0, 1].
    """
    _run(_bernoulli(dtype, p), address, n, generator, on)


def fill_integers(
    address: int,
    n: int,
    dtype: str,
    low: int,
    high: int,
    generator: Generator | None = None,
    on: device = CPU,
) -> None:
    """Fill `n` elements with integers uniform in [low, high): `randint`, `random_`.

    All are equally likely to within 2**-32 of their probability, 2**-64 for intervals
    longer than 2**32. Dtypes: all; floats hold the rounded integer.
    Raises: DTypeError; RuntimeError, an empty interval or one beyond the dtype.
    """
    _run(_integers(dtype, low, high), address, n, generator, on)


def default_bounds(dtype: str) -> tuple[int, int]:
    """Return what `random_()` takes for low and high when it is given neither.

    From 0 to the largest value of an integer dtype, or to the end of the range in
    which a float dtype has every integer.

    >>> default_bounds("uint8")
    (0, 256)
    """
    if dtype in _LIMITS:
        return 0, (2**24 if dtype == "float32" else 2**53) + 1
    return 0, _RANGES[dtype][1] + 1


def fill_keys(
    address: int, n: int, generator: Generator | None = None, on: device = CPU
) -> None:
    """Fill `n` elements of int64 with keys for sorting: `randperm`.

    Of 64 random bits those above the bits of n - 1, so that a key and a place fit in 64
    together. A stable sort decides between equal keys: two elements have them with a
    probability below n 2**-63 (of ten million, 2**-40).
    """
    _run(_keys(max(n - 1, 0).bit_length()), address, n, generator, on)


class _Plan:
    """A kernel and its parameters, for each device once it is asked for."""

    def __init__(self, family: str, dtype: str, *parameters: float | int) -> None:
        self.family, self.dtype = family, dtype
        self.parameters = parameters
        self.size = source.group_size(family, dtype)
        # floats travel as the bits of a float64
        self.slots = tuple(x if isinstance(x, int) else _bits(x) for x in parameters)
        self.runs: dict[device, Callable[..., None]] = {}

    @functools.cached_property
    def code(self) -> int:
        """The address of the CPU's kernel."""
        text = source.emit(self.family, self.dtype)
        return compiler.load(f"{self.family}_{self.dtype}", text).address

    @functools.cached_property
    def serial(self) -> Callable[..., None]:
        """What calls the CPU's kernel."""
        return compiler.runner("serial")

    def run_on(self, on: device) -> Callable[..., None]:
        """Return what runs the kernel on a CUDA device."""
        found = self.runs.get(on)
        if found is None:
            from . import launch_cuda

            found = self.runs[on] = launch_cuda.random_fill(
                self.family, self.dtype, self.size, self.parameters, on
            )
        return found


def _bits(x: float) -> int:
    return int.from_bytes(struct.pack("<d", x), "little", signed=True)


# What is checked and prepared once for each set of parameters: a fill of a few
# elements would otherwise spend most of its time here.


@functools.lru_cache(maxsize=256)
def _uniform(dtype: str, low: float, high: float) -> _Plan:
    limit = _limit("uniform_", dtype)
    if not (-limit <= low <= high <= limit and high - low <= limit):
        raise RuntimeError(
            message(
                "uniform_",
                f"low {low} and high {high}",
                f"low <= high and high - low finite in {dtype}",
            )
        )
    return _Plan("uniform", dtype, float(low), float(high))


@functools.lru_cache(maxsize=256)
def _normal(dtype: str, mean: float, std: float) -> _Plan:
    _limit("normal_", dtype)
    if not std >= 0.0:
        raise RuntimeError(message("normal_", f"std {std}", "std >= 0"))
    return _Plan("normal", dtype, float(mean), float(std))


@functools.lru_cache(maxsize=256)
def _exponential(dtype: str, rate: float) -> _Plan:
    _limit("exponential_", dtype)
    if not rate > 0.0:
        raise RuntimeError(message("exponential_", f"rate {rate}", "a rate > 0"))
    return _Plan("exponential", dtype, 1.0 / float(rate))


@functools.lru_cache(maxsize=256)
def _bernoulli(dtype: str, p: float) -> _Plan:
    _range("bernoulli_", dtype)
    if not 0.0 <= p <= 1.0:
        raise RuntimeError(message("bernoulli_", f"p {p}", "p in [0, 1]"))
    return _Plan("bernoulli", dtype, round(float(p) * _TWO_32))


@functools.lru_cache(maxsize=256)
def _integers(dtype: str, low: int, high: int) -> _Plan:
    smallest, largest = _range("random_", dtype)
    low, high = operator.index(low), operator.index(high)  # NumPy's would overflow
    if not smallest <= low < high <= largest + 1:
        raise RuntimeError(
            message(
                "random_",
                f"low {low} and high {high}",
                f"{smallest} <= low < high <= {largest + 1} for dtype {dtype}",
            )
        )
    span = high - low
    if span <= _TWO_32:
        return _Plan("integers", dtype, low, span)
    # the bits of the span as int64; 2**64 becomes 0, which the kernel expects
    return _Plan("wide_integers", dtype, low, span if span < _TWO_63 else span - _WORD)


@functools.cache
def _keys(shift: int) -> _Plan:
    return _Plan("keys", "int64", shift)


def _limit(op: str, dtype: str) -> float:
    """Return the largest number of a float dtype."""
    if dtype not in _LIMITS:
        raise DTypeError(message(op, dtype, "float32 or float64"))
    return _LIMITS[dtype]


def _range(op: str, dtype: str) -> tuple[int, int]:
    """Return the smallest and the largest integer of a dtype."""
    if dtype not in _RANGES:
        raise DTypeError(message(op, dtype, f"one of {', '.join(_RANGES)}"))
    return _RANGES[dtype]


def _run(
    plan: _Plan,
    address: int,
    n: int,
    generator: Generator | None,
    on: device = CPU,
) -> None:
    real = on.real if type(on) is Twin else on
    if generator is None:
        generator = default_generator if real is CPU else cuda_generator(real)
    elif not isinstance(generator, Generator):
        raise TypeError(
            message("generator", f"a {type(generator).__name__}", "a Generator or None")
        )
    if generator.device is not real:
        raise DeviceError(
            message(
                "generator",
                f"one of device {generator.device}",
                f"one of the tensor's device, {on}",
                f"Expected a '{on.type}' device type for generator but found "
                f"'{generator.device.type}'. Use nt.Generator({str(on)!r}).",
            )
        )
    counters = -(-n // plan.size)
    if type(on) is Twin:
        from . import launch_trace

        launch_trace.random_fill(plan, address, n, counters, generator)
        return
    seed, offset = generator._reserve(counters)
    if on is not CPU:
        plan.run_on(on)(address, seed, offset, counters, n)
    elif n < _THREADED:
        plan.serial(plan.code, counters, address, seed, offset, n, *plan.slots)
    else:
        slots = [address, seed, offset, n, *plan.slots]
        compiler.run_threaded(plan.code, counters, slots, _GRAIN)
