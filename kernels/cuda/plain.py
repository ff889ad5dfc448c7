"""Words of CUDA kernels as plain Python on NumPy scalars, for Numba's simulator.

What a kernel computes there is what the GPU computes, element by element: dtypes are
those of NumPy scalars, and every access is checked against the memory it may touch.
Blocks and warps are small, so that tensors of a few dozen elements reach the edges
that large ones reach on a GPU.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import threading

import numpy as np
from numba.cuda.simulator import kernel as _simulator
from numba.cuda.simulator import kernelapi

from . import driver
from .geometry import SIMULATED

BLOCK, WARP = SIMULATED.block, SIMULATED.warp
TILE, DEPTH = SIMULATED.tile, SIMULATED.depth
WARPS = BLOCK // WARP
PADDED = WARP + 1  # a column of so wide a tile is in different banks of memory


def kernel(parameters: str):
    """Say what a kernel's parameters are; `compiler` asks for it."""

    def declare(function):
        function.parameters = parameters
        return function

    return declare


class _Cast:
    """A dtype that converts what it is called with, as C does."""

    def __init__(self, name: str) -> None:
        self.dtype = np.dtype(name)

    def __call__(self, value):
        return np.asarray(value).astype(self.dtype)[()]


bool_ = _Cast("bool")
uint8, uint32, uint64 = _Cast("uint8"), _Cast("uint32"), _Cast("uint64")
int8, int16, int32, int64 = map(_Cast, ("int8", "int16", "int32", "int64"))
float32, float64 = _Cast("float32"), _Cast("float64")


class Pointer:
    """Memory from an address on, as far as its allocation goes."""

    __slots__ = ("array", "address")

    def __init__(self, dtype: str, address: int, nbytes: int) -> None:
        kind = np.dtype(dtype)
        count = nbytes // kind.itemsize
        buffer = (ctypes.c_char * (count * kind.itemsize)).from_address(address)
        self.array = np.frombuffer(buffer, kind)
        self.address = address

    def __getitem__(self, index):
        if index < 0:
            raise IndexError(f"a kernel reads element {index} of a pointer")
        return self.array[index]

    def __setitem__(self, index, value) -> None:
        if index < 0:
            raise IndexError(f"a kernel writes element {index} of a pointer")
        self.array[index] = value


def bools(pointer):
    return pointer


def _memory_at(dtype: str):
    def at(address):
        place = int(address)
        return Pointer(dtype, place, driver.current().reach(place))

    return at


float32_at, float64_at = _memory_at("float32"), _memory_at("float64")


exp, exp2, expm1 = np.exp, np.exp2, np.expm1
log, log2, log10, log1p = np.log, np.log2, np.log10, np.log1p
tanh, sinh, cosh = np.tanh, np.sinh, np.cosh
sin, cos, tan = np.sin, np.cos, np.tan
asin, acos, atan, atan2 = np.arcsin, np.arccos, np.arctan, np.arctan2
asinh, acosh, atanh = np.arcsinh, np.arccosh, np.arctanh
floor, ceil, trunc, rint = np.floor, np.ceil, np.trunc, np.rint
fabs, sqrt, copysign, fmod = np.fabs, np.sqrt, np.copysign, np.fmod
div = np.divide
fmax, fmin, maximum, minimum = np.fmax, np.fmin, np.maximum, np.minimum


@functools.cache
def _libm():
    return ctypes.CDLL("libm.so.6")


def _c_function(name: str, arity: int):
    """A function of the C library that NumPy lacks: exactly rounded, or close."""

    def call(*args):
        single = args[0].dtype == np.float32
        kind = ctypes.c_float if single else ctypes.c_double
        function = getattr(_libm(), name + ("f" if single else ""))
        function.restype = kind
        found = function(*[kind(float(a)) for a in args])
        return (np.float32 if single else np.float64)(found)

    call.__name__ = name
    return call


erf, erfc = _c_function("erf", 1), _c_function("erfc", 1)
# NumPy takes powers of 0.5 for square roots, which differ at minus infinity
pow = _c_function("pow", 2)
fma = fma_exact = _c_function("fma", 3)


def plus(x, y):
    return x + y


def times(x, y):
    return x * y


def where(condition, x, y):
    return x if condition else y


def udiv(x, y):
    return x // y


def int_div(x, y):
    """Rounded toward zero; 0 where y is 0; the lowest number by -1 is itself."""
    if y == 0:
        return x.dtype.type(0)
    quotient = abs(int(x)) // abs(int(y))
    if (x < 0) != (y < 0):
        quotient = -quotient
    return np.asarray(quotient).astype(x.dtype)[()]


def shift_right_logical(x, n):
    unsigned = np.dtype(f"uint{8 * x.itemsize}").type
    return (x.view(unsigned) >> unsigned(n)).view(x.dtype)


def bits(x):
    return x.view(np.int32 if x.dtype == np.float32 else np.int64)


def from_bits(x):
    return x.view(np.float32 if x.dtype == np.int32 else np.float64)


def _vector_words(count: int):
    def place(pointer, index):
        size = count * pointer.array.itemsize
        if pointer.address % size:
            raise ValueError(
                f"a vector of {size} bytes at address {pointer.address:#x}"
            )
        if not 0 <= index < len(pointer.array) // count:
            raise IndexError(f"a kernel reaches vector {index} of a pointer")
        return slice(count * index, count * index + count)

    def load(pointer, index):
        return pointer.array[place(pointer, index)].copy()

    def store(pointer, index, value) -> None:
        pointer.array[place(pointer, index)] = value

    def blank(pointer):
        return np.empty(count, pointer.array.dtype)

    return load, store, blank


load_2, store_2, blank_2 = _vector_words(2)
load_4, store_4, blank_4 = _vector_words(4)
load_8, store_8, blank_8 = _vector_words(8)
load_16, store_16, blank_16 = _vector_words(16)


def lane(vector, k):
    return vector[k]


def with_lane(vector, k, value):
    vector[k] = value
    return vector


class _Shared(kernelapi.FakeCUDAShared):
    """Shared memory of which all threads of a block get the same.

    Numba's looks an array up and makes it if it is missing, in two steps: two threads
    that come at once get two arrays, and miss what the other writes.
    """

    _lock = threading.Lock()

    def array(self, shape, dtype, alignment=None):
        frame = sys._getframe(1)
        caller = (frame.f_code.co_filename, frame.f_lineno)
        with self._lock:
            found = self._allocations.get(caller)
            if found is None:
                found = self._allocations[caller] = np.empty(shape, dtype)
        return found


def one_array_for_all(cuda) -> None:
    """Mend the shared memory of a launch; every thread may come here, at any time."""
    if cuda.shared.__class__ is not _Shared:
        cuda.shared.__class__ = _Shared


# Across threads. The simulator has barriers and no shuffles: each thread shows its
# value, all wait, and the first of the group joins them in the order of a tree.


def _shown(context, value) -> dict:
    """Return what the threads of this block show, after all have."""
    board = context.__dict__.setdefault("board", {})
    board[context.threadIdx.x] = value
    context.syncthreads()
    return board


def _tree(join, values):
    while len(values) > 1:
        half = len(values) // 2
        values = [join(values[k], values[k + half]) for k in range(half)]
    return values[0]


def _words(join):
    def across_warp(value):
        context = _simulator._get_kernel_context()
        board = _shown(context, value)
        first = context.threadIdx.x // WARP * WARP
        if context.threadIdx.x == first:
            value = _tree(join, [board[first + k] for k in range(WARP)])
        context.syncthreads()
        return value

    def across_block(value, scratch):
        context = _simulator._get_kernel_context()
        board = _shown(context, value)
        if context.threadIdx.x == 0:
            warps = [
                _tree(join, [board[w * WARP + k] for k in range(WARP)])
                for w in range(WARPS)
            ]
            value = _tree(join, warps)
        context.syncthreads()
        return value

    return across_warp, across_block


warp_plus, block_plus = _words(plus)
warp_times, block_times = _words(times)
warp_maximum, block_maximum = _words(np.maximum)
warp_minimum, block_minimum = _words(np.minimum)


def warp_first(value):
    context = _simulator._get_kernel_context()
    board = _shown(context, value)
    value = board[context.threadIdx.x // WARP * WARP]
    context.syncthreads()
    return value


def block_first(value, scratch):
    context = _simulator._get_kernel_context()
    value = _shown(context, value)[0]
    context.syncthreads()
    return value


def _negated(value):
    # of Python's numbers: the lowest integer of a dtype has no negative
    return -value.item()


def _search(largest: bool):
    def key(pair):
        value, place = pair
        nan = value != value
        return (nan, 0 if nan else value if largest else _negated(value), -place)

    def across_block(value, place, values, places):
        context = _simulator._get_kernel_context()
        board = _shown(context, (value, place))
        found = [board[k] for k in range(BLOCK) if board[k][1] >= 0]
        best = max(found, key=key) if found else (value, place)
        context.syncthreads()
        return best

    return across_block


block_argmax = _search(True)
block_argmin = _search(False)
