"""Joining the values of threads: warp shuffles, and shared memory between warps.

Every thread of the block (or warp) must come here, or none. The result is right in
thread 0 (lane 0) only. The order of joining is fixed, so that results are the same in
every run. `scratch` is shared memory of BLOCK elements; it is free again on return.
"""

from __future__ import annotations

from llvmlite import ir
from numba import cuda
from numba.cuda import types
from numba.cuda.extending import intrinsic
from numba.cuda.typing import signature

from .geometry import HARDWARE
from .words import maximum, minimum, plus, times

BLOCK, WARP = HARDWARE.block, HARDWARE.warp
TILE, DEPTH = HARDWARE.tile, HARDWARE.depth
WARPS = BLOCK // WARP
PADDED = WARP + 1  # a column of so wide a tile is in different banks of memory
_ALL = 0xFFFFFFFF


def _compiled(arity: int):
    """Make a Python function a word: compiled into the kernel that uses it.

    As `cuda.jit(device=True)` does, but without asking for a device, so that it
    compiles where there is none. The last arguments, arrays in shared memory, are not
    returned.
    """

    def wrap(function):
        def build(typingctx, *args):
            given = args[: (len(args) + 1) // 2]
            kind = given[0] if len(given) == 1 else types.Tuple(given)

            def codegen(context, builder, sig, values):
                return context.compile_internal(builder, function, sig, values)

            return signature(kind, *args), codegen

        if arity == 1:

            def word(typingctx, value):
                return build(typingctx, value)

        elif arity == 2:

            def word(typingctx, value, scratch):
                return build(typingctx, value, scratch)

        else:

            def word(typingctx, value, place, values, places):
                return build(typingctx, value, place, values, places)

        word.__name__ = word.__qualname__ = function.__name__
        return intrinsic(word)

    return wrap


def _words(join):
    @_compiled(1)
    def across_warp(value):
        offset = WARP // 2
        while offset > 0:
            value = join(value, cuda.shfl_down_sync(_ALL, value, offset))
            offset //= 2
        return value

    @_compiled(2)
    def across_block(value, scratch):
        value = across_warp(value)
        thread = cuda.threadIdx.x
        if thread % WARP == 0:
            scratch[thread // WARP] = value
        cuda.syncthreads()
        if thread < WARP:
            # lanes from WARPS on hold copies that reach no lane that counts
            value = scratch[min(thread, WARPS - 1)]
            offset = WARPS // 2
            while offset > 0:
                value = join(value, cuda.shfl_down_sync(_ALL, value, offset))
                offset //= 2
        cuda.syncthreads()
        return value

    return across_warp, across_block


warp_plus, block_plus = _words(plus)
warp_times, block_times = _words(times)
warp_maximum, block_maximum = _words(maximum)
warp_minimum, block_minimum = _words(minimum)


@_compiled(1)
def warp_first(value):
    """Return in all lanes the value of the first."""
    return cuda.shfl_sync(_ALL, value, 0)


@_compiled(2)
def block_first(value, scratch):
    """Return in all threads the value of the first."""
    if cuda.threadIdx.x == 0:
        scratch[0] = value
    cuda.syncthreads()
    value = scratch[0]
    cuda.syncthreads()
    return value


def _comes_before(beats):
    """Return the word that says whether element (y, there) comes before (x, at).

    A place of -1 stands for no element; NaN beats everything; of equals the first.
    """

    def build(builder, values, dtype):
        x, at, y, there = values
        zero = ir.Constant(at.type, 0)
        earlier = builder.icmp_signed("<", there, at)
        if isinstance(dtype, types.Float):
            x_nan = builder.fcmp_unordered("uno", x, x)
            y_nan = builder.fcmp_unordered("uno", y, y)
            better = builder.fcmp_ordered(beats, y, x)
            equal = builder.fcmp_ordered("==", y, x)
            better = builder.or_(better, builder.and_(y_nan, builder.not_(x_nan)))
            equal = builder.or_(equal, builder.and_(x_nan, y_nan))
        else:
            better = builder.icmp_signed(beats, y, x)
            equal = builder.icmp_signed("==", y, x)
        found = builder.or_(better, builder.and_(equal, earlier))
        found = builder.or_(found, builder.icmp_signed("<", at, zero))
        return builder.and_(found, builder.icmp_signed(">=", there, zero))

    @intrinsic
    def comes_before(typingctx, x, at, y, there):
        def codegen(context, builder, sig, values):
            return build(builder, values, x)

        kinds = (x, types.int64, x, types.int64)
        return signature(types.boolean, *kinds), codegen

    return comes_before


def _search(before):
    @_compiled(4)
    def across_block(value, place, values, places):
        thread = cuda.threadIdx.x
        values[thread] = value
        places[thread] = place
        cuda.syncthreads()
        offset = BLOCK // 2
        while offset > 0:
            if thread < offset:
                other, there = values[thread + offset], places[thread + offset]
                if before(values[thread], places[thread], other, there):
                    values[thread] = other
                    places[thread] = there
            cuda.syncthreads()
            offset //= 2
        value, place = values[0], places[0]
        cuda.syncthreads()
        return value, place

    return across_block


block_argmax = _search(_comes_before(">"))
block_argmin = _search(_comes_before("<"))
