"""Calls of a BLAS from kernels of the CPU, by the address of the function.

Imported by kernel files only, as `lang` is.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_I64, _I32 = ir.IntType(64), ir.IntType(32)
#: how cblas calls row-major matrices
_ROW_MAJOR = 101


def _gemm(number):
    @intrinsic
    def call(
        typingctx, function, turn_a, turn_b, n, m, k, a, lda, b, ldb, out, ldout
    ):  # fmt: skip
        """out = a @ b, by cblas with 64-bit sizes; `turn` is 111, or 112 for one that
        lies transposed. All arguments are int64."""

        def codegen(context, builder, sig, values):
            function, turn_a, turn_b, n, m, k, a, lda, b, ldb, out, ldout = values
            place = number.as_pointer()
            a, b, out = (builder.inttoptr(v, place) for v in (a, b, out))
            turns = [builder.trunc(v, _I32) for v in (turn_a, turn_b)]
            given = [
                ir.Constant(_I32, _ROW_MAJOR), *turns, n, m, k, ir.Constant(number, 1),
                a, lda, b, ldb, ir.Constant(number, 0), out, ldout,
            ]  # fmt: skip
            shape = ir.FunctionType(ir.VoidType(), [v.type for v in given])
            builder.call(builder.inttoptr(function, shape.as_pointer()), given)
            return context.get_dummy_value()

        return types.none(*[types.int64] * 12), codegen

    return call


gemm_float32 = _gemm(ir.FloatType())
gemm_float64 = _gemm(ir.DoubleType())
