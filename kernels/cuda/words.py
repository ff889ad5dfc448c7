"""Words of CUDA kernels, for the GPU: what each becomes in LLVM's language.

Elementary functions are libdevice's. NVVM's older front end knows few of LLVM's own
intrinsics, so that roundings and extremes go to libdevice, too. The words that join
values across threads are in `across`.
"""

from __future__ import annotations

import operator

from llvmlite import ir
from numba import cuda
from numba.cuda import cgutils, types
from numba.cuda.extending import (
    core_models,
    intrinsic,
    lower_builtin,
    register_model,
)
from numba.cuda.typing import signature
from numba.cuda.typing.templates import AbstractTemplate, infer_global

bool_ = types.boolean
uint8, uint32, uint64 = types.uint8, types.uint32, types.uint64
int8, int16, int32, int64 = types.int8, types.int16, types.int32, types.int64
float32, float64 = types.float32, types.float64

DTYPES = {
    "bool": bool_,
    "uint8": uint8,
    "int8": int8,
    "int16": int16,
    "int32": int32,
    "int64": int64,
    "uint32": uint32,
    "uint64": uint64,
    "float32": float32,
    "float64": float64,
}

_I32, _I64 = ir.IntType(32), ir.IntType(64)


def signature_of(parameters: str) -> types.Type:
    """Return the Numba signature of "float32*, int64": a kernel's parameters."""
    kinds = []
    for text in parameters.split(", "):
        kind = DTYPES[text.rstrip("*")]
        if text.endswith("*"):
            # Numba cannot store through a pointer to bool: see `bools`
            kind = types.CPointer(uint8 if kind == bool_ else kind)
        kinds.append(kind)
    return types.void(*kinds)


def kernel(parameters: str):
    """Say what a kernel's parameters are; `compiler` asks for it."""

    def declare(function):
        function.parameters = parameters
        return function

    return declare


# Values


def _typed(name: str, arity: int, build):
    """Return an intrinsic of `arity` values of one dtype, given what builds it.

    `build(builder, values, dtype)` returns the instruction.
    """

    def template(dtype):
        def codegen(context, builder, sig, values):
            return build(builder, values, dtype)

        return signature(dtype, *[dtype] * arity), codegen

    if arity == 1:

        def call(typingctx, x):
            return template(x)

    elif arity == 2:

        def call(typingctx, x, y):
            return template(x)

    else:

        def call(typingctx, x, y, z):
            return template(x)

    call.__name__ = call.__qualname__ = name
    return intrinsic(call)


def _library_call(name: str):
    def build(builder, values, dtype):
        kind = values[0].type
        suffix = "f" if dtype == types.float32 else ""
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(kind, [kind] * len(values)),
            f"__nv_{name}{suffix}",
        )
        return builder.call(function, values)

    return build


def _library(name: str, arity: int = 1):
    """Return libdevice's function of this name for float32 and float64."""
    return _typed(name, arity, _library_call(name))


exp, exp2, expm1 = _library("exp"), _library("exp2"), _library("expm1")
log, log2, log10 = _library("log"), _library("log2"), _library("log10")
log1p, tanh, sinh, cosh = map(_library, ("log1p", "tanh", "sinh", "cosh"))
sin, cos, tan, asin, acos = map(_library, ("sin", "cos", "tan", "asin", "acos"))
atan, asinh, acosh, atanh = map(_library, ("atan", "asinh", "acosh", "atanh"))
erf, erfc = _library("erf"), _library("erfc")
atan2, pow = _library("atan2", 2), _library("pow", 2)
floor, ceil, trunc = _library("floor"), _library("ceil"), _library("trunc")
rint, fabs, sqrt = _library("rint"), _library("fabs"), _library("sqrt")
copysign, fmod = _library("copysign", 2), _library("fmod", 2)
fmax, fmin = _library("fmax", 2), _library("fmin", 2)
fma = fma_exact = _library("fma", 3)


def _nan_wins(name: str, comparison: str):
    """Return the extreme of floats, of which a NaN wins, or of integers."""
    inner = _library_call(name)

    def build(builder, values, dtype):
        x, y = values
        if not _is_float(dtype):
            return builder.select(builder.icmp_signed(comparison, x, y), x, y)
        found = inner(builder, values, dtype)
        found = builder.select(builder.fcmp_unordered("uno", y, y), y, found)
        return builder.select(builder.fcmp_unordered("uno", x, x), x, found)

    return _typed(name, 2, build)


maximum = _nan_wins("fmax", ">")
minimum = _nan_wins("fmin", "<")

div = _typed("div", 2, lambda builder, values, dtype: builder.fdiv(*values))
shift_right_logical = _typed(
    "shift_right_logical", 2, lambda builder, values, dtype: builder.lshr(*values)
)


def _is_float(dtype) -> bool:
    return isinstance(dtype, types.Float)


plus = _typed(
    "plus",
    2,
    lambda builder, values, dtype: (
        builder.fadd(*values) if _is_float(dtype) else builder.add(*values)
    ),
)
times = _typed(
    "times",
    2,
    lambda builder, values, dtype: (
        builder.fmul(*values) if _is_float(dtype) else builder.mul(*values)
    ),
)


@intrinsic
def where(typingctx, condition, x, y):
    """x if condition else y, both evaluated: a select, never a branch."""

    def codegen(context, builder, sig, values):
        return builder.select(*values)

    return x(types.boolean, x, x), codegen


@intrinsic
def udiv(typingctx, x, y):
    """Quotient of two int64 that are known not to be negative.

    NVVM divides in 32 bits where both fit, which takes a quarter of the time.
    """

    def codegen(context, builder, sig, values):
        return builder.udiv(*values)

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def int_div(typingctx, x, y):
    """Integer quotient, rounded toward zero; 0 where y is 0, which C leaves open.

    The most negative number by -1 wraps to itself, as two's complement does.
    """

    def codegen(context, builder, sig, values):
        a, b = values
        zero, one = ir.Constant(a.type, 0), ir.Constant(a.type, 1)
        is_zero = builder.icmp_signed("==", b, zero)
        if not sig.return_type.signed:
            safe = builder.select(is_zero, one, b)
            return builder.select(is_zero, zero, builder.udiv(a, safe))
        is_minus = builder.icmp_signed("==", b, ir.Constant(a.type, -1))
        safe = builder.select(builder.or_(is_zero, is_minus), one, b)
        quotient = builder.sdiv(a, safe)
        quotient = builder.select(is_minus, builder.neg(a), quotient)
        return builder.select(is_zero, zero, quotient)

    return x(x, x), codegen


_BITS = {
    types.float32: types.int32,
    types.float64: types.int64,
    types.int32: types.float32,
    types.int64: types.float64,
}


@intrinsic
def bits(typingctx, x):
    """The bits of a float as an integer of its width."""
    to = _BITS[x]

    def codegen(context, builder, sig, values):
        return builder.bitcast(values[0], context.get_value_type(to))

    return to(x), codegen


@intrinsic
def from_bits(typingctx, x):
    """The float whose bits an int32 or int64 holds."""
    to = _BITS[x]

    def codegen(context, builder, sig, values):
        return builder.bitcast(values[0], context.get_value_type(to))

    return to(x), codegen


class Bools(types.Type):
    """Pointer to bool elements, of a byte each."""

    dtype = bool_

    def __init__(self) -> None:
        super().__init__(name="Bools")


@register_model(Bools)
class _BoolsModel(core_models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.IntType(8).as_pointer())


def _memory_at(dtype):
    @intrinsic
    def at(typingctx, address):
        kind = types.CPointer(dtype)

        def codegen(context, builder, sig, values):
            return builder.inttoptr(values[0], context.get_value_type(kind))

        return signature(kind, types.int64), codegen

    return at


# memory whose address a table holds
float32_at, float64_at = _memory_at(float32), _memory_at(float64)


@intrinsic
def bools(typingctx, pointer):
    """See bytes as bool."""

    def codegen(context, builder, sig, values):
        return values[0]

    return signature(Bools(), pointer), codegen


@infer_global(operator.getitem)
class _BoolsGet(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], Bools):
            return signature(bool_, args[0], types.int64)
        return None


@infer_global(operator.setitem)
class _BoolsSet(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], Bools):
            return signature(types.none, args[0], types.int64, bool_)
        return None


@lower_builtin(operator.getitem, Bools, types.Integer)
def _lower_get(context, builder, sig, args):
    value = builder.load(builder.gep(args[0], [args[1]]))
    return builder.icmp_unsigned("!=", value, ir.Constant(value.type, 0))


@lower_builtin(operator.setitem, Bools, types.Integer, types.Any)
def _lower_set(context, builder, sig, args):
    value = builder.zext(args[2], ir.IntType(8))
    builder.store(value, builder.gep(args[0], [args[1]]))
    return context.get_dummy_value()


# Vectors: Numba makes no wide loads or stores by itself


class Vector(types.Type):
    """`count` neighbouring elements, loaded or stored as one."""

    def __init__(self, dtype: types.Type, count: int) -> None:
        self.dtype = dtype
        self.count = count
        super().__init__(name=f"Vector({dtype}, {count})")


@register_model(Vector)
class _VectorModel(core_models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        element = dmm.lookup(fe_type.dtype).get_data_type()
        super().__init__(dmm, fe_type, ir.VectorType(element, fe_type.count))


def _place(context, builder, vector, pointer, index):
    """Return where vector `index` of a pointer begins, and its alignment."""
    kind = context.get_value_type(vector)
    whole = builder.bitcast(pointer, kind.as_pointer())
    size = vector.dtype.bitwidth // 8 if vector.dtype != types.boolean else 1
    return builder.gep(whole, [index]), vector.count * size


def _vector_words(count: int):
    @intrinsic
    def load(typingctx, pointer, index):
        vector = Vector(pointer.dtype, count)

        def codegen(context, builder, sig, values):
            place, align = _place(context, builder, vector, *values)
            found = builder.load(place)
            found.align = align
            return found

        return vector(pointer, types.int64), codegen

    @intrinsic
    def store(typingctx, pointer, index, value):
        def codegen(context, builder, sig, values):
            place, align = _place(context, builder, value, *values[:2])
            builder.store(values[2], place).align = align
            return context.get_dummy_value()

        return types.void(pointer, types.int64, value), codegen

    @intrinsic
    def blank(typingctx, pointer):
        vector = Vector(pointer.dtype, count)

        def codegen(context, builder, sig, values):
            return ir.Constant(context.get_value_type(vector), ir.Undefined)

        return vector(pointer), codegen

    return load, store, blank


load_2, store_2, blank_2 = _vector_words(2)
load_4, store_4, blank_4 = _vector_words(4)
load_8, store_8, blank_8 = _vector_words(8)
load_16, store_16, blank_16 = _vector_words(16)


@intrinsic
def lane(typingctx, vector, k):
    """Element k of a vector."""

    def codegen(context, builder, sig, values):
        found = builder.extract_element(values[0], builder.trunc(values[1], _I32))
        if vector.dtype == types.boolean:
            return builder.icmp_unsigned("!=", found, ir.Constant(found.type, 0))
        return found

    return vector.dtype(vector, types.int64), codegen


@intrinsic
def with_lane(typingctx, vector, k, value):
    """The vector with another element k."""

    def codegen(context, builder, sig, values):
        held, place, new = values
        if vector.dtype == types.boolean:
            new = builder.zext(new, ir.IntType(8))
        return builder.insert_element(held, new, builder.trunc(place, _I32))

    return vector(vector, types.int64, vector.dtype), codegen


def compile_for(function, parameters: str, cc: tuple[int, int]) -> str:
    """Return the PTX of a kernel for a compute capability; needs no GPU."""
    text, _ = cuda.compile(
        function, signature_of(parameters), device=False, abi="numba", cc=cc
    )
    return text
