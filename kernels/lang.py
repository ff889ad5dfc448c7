"""The words an emitted CPU kernel is written in. Imported by kernel files only.

A kernel is `kernel(args, lo, hi)`: `args` is the address of 64-bit slots that hold
operand addresses, scalars (as bits) and the address of a layout table; it works on
the range [lo, hi) of whatever its loop nest counts. `float32_at(args, 0)` reads slot
0 as a pointer to float32, which is then indexed as `x[i]`.

Everything here is a Numba intrinsic, so that no helper function is compiled per
kernel, and so that LLVM sees what Numba alone cannot tell it: that the operands of
a kernel do not partially overlap (dispatch guarantees it), which lets every loop be
vectorised without run-time alias checks, in-place operators included.
"""

from __future__ import annotations

import operator

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

#: every flag that Numba compiles with, and no other place sets any. Python's error
#: model would put a branch for a zero divisor into every loop; fast-math stays off, but
#: for the sums and products of reductions, whose own words say so.
FLAGS = {"error_model": "numpy"}

bool_ = types.boolean
uint8, int8, int16, int32, int64 = (
    types.uint8,
    types.int8,
    types.int16,
    types.int32,
    types.int64,
)
uint32, uint64 = types.uint32, types.uint64
float32, float64 = types.float32, types.float64


class Half(types.Type):
    """A float16 in memory; loads and stores convert it to and from float32."""


float16 = Half(name="Half")


@register_model(Half)
class _HalfModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.HalfType())


DTYPES = {
    "bool": bool_,
    "uint8": uint8,
    "int8": int8,
    "int16": int16,
    "int32": int32,
    "int64": int64,
    "uint32": uint32,
    "uint64": uint64,
    "float16": float16,
    "float32": float32,
    "float64": float64,
}

_I64 = ir.IntType(64)
_I8 = ir.IntType(8)
#: slots that can be told apart in alias metadata; kernels have fewer operands
_SCOPES = 24


class Pointer(types.Type):
    """Pointer to `dtype` elements, read from slot `slot` of a kernel's arguments."""

    def __init__(self, dtype: types.Type, slot: int) -> None:
        self.dtype = dtype
        self.slot = slot
        super().__init__(name=f"Pointer({dtype}, {slot})")


@register_model(Pointer)
class _PointerModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        data = dmm.lookup(fe_type.dtype).get_data_type()
        super().__init__(dmm, fe_type, data.as_pointer())


def _held(pointer):
    """Return the dtype of an element once it is loaded."""
    return float32 if pointer.dtype is float16 else pointer.dtype


@infer_global(operator.getitem)
class _PointerGet(AbstractTemplate):
    def generic(self, args, kws):
        pointer, index = args
        if isinstance(pointer, Pointer) and isinstance(index, types.Integer):
            return signature(_held(pointer), pointer, types.int64)
        return None


@infer_global(operator.setitem)
class _PointerSet(AbstractTemplate):
    def generic(self, args, kws):
        pointer, index, _ = args
        if isinstance(pointer, Pointer) and isinstance(index, types.Integer):
            return signature(types.none, pointer, types.int64, _held(pointer))
        return None


def _scopes(module):
    domain = module.add_metadata([ir.MetaDataString(module, "numtensor")])
    return [
        module.add_metadata([ir.MetaDataString(module, f"slot {k}"), domain])
        for k in range(_SCOPES)
    ]


def _mark(builder, instruction, slot):
    """Say that `instruction` touches this slot's memory and no other slot's.

    An in-place operator has two slots with one address. That is sound here: every
    element is read before it is written in the same iteration, and no iteration
    touches another's element, so no reordering that the metadata allows matters.
    """
    module = builder.module
    scopes = _scopes(module)
    others = [scope for k, scope in enumerate(scopes) if k != slot]
    instruction.set_metadata("alias.scope", module.add_metadata([scopes[slot]]))
    instruction.set_metadata("noalias", module.add_metadata(others))


@lower_builtin(operator.getitem, Pointer, types.Integer)
def _lower_get(context, builder, sig, args):
    pointer = sig.args[0]
    place = builder.gep(args[0], [args[1]], inbounds=True)
    value = builder.load(place)
    _mark(builder, value, pointer.slot)
    if pointer.dtype is float16:
        return builder.fpext(value, ir.FloatType())
    if pointer.dtype == types.boolean:
        return builder.icmp_unsigned("!=", value, ir.Constant(value.type, 0))
    return value


@lower_builtin(operator.setitem, Pointer, types.Integer, types.Any)
def _lower_set(context, builder, sig, args):
    pointer = sig.args[0]
    value = args[2]
    if pointer.dtype is float16:
        value = builder.fptrunc(value, ir.HalfType())
    if pointer.dtype == types.boolean:
        value = builder.zext(value, _I8)
    place = builder.gep(args[0], [args[1]], inbounds=True)
    _mark(builder, builder.store(value, place), pointer.slot)
    return context.get_dummy_value()


def _slot(builder, args, slot):
    return builder.load(builder.gep(args, [ir.Constant(_I64, slot)]))


def pointer(dtype_name: str, slot: int):
    """Return the intrinsic that reads argument slot `slot` as a pointer."""
    kind = Pointer(DTYPES[dtype_name], slot)

    @intrinsic
    def at(typingctx, args):
        def codegen(context, builder, sig, values):
            address = _slot(builder, values[0], slot)
            return builder.inttoptr(address, context.get_value_type(kind))

        return kind(args), codegen

    return at


def scalar(dtype_name: str, slot: int):
    """Return the intrinsic that reads slot `slot` as a number.

    Integers travel as int64 and floats as the bits of a float64, whatever the dtype
    the kernel computes in: the caller then needs to know only int from float.
    """
    dtype = DTYPES[dtype_name]
    carrier = types.float64 if isinstance(dtype, types.Float) else types.int64

    @intrinsic
    def read(typingctx, args):
        def codegen(context, builder, sig, values):
            bits = _slot(builder, values[0], slot)
            if carrier is types.float64:
                bits = builder.bitcast(bits, ir.DoubleType())
            return context.cast(builder, bits, carrier, dtype)

        return dtype(args), codegen

    return read


#: bytes of a line of cache, and of a page of memory
_LINE, _PAGE = 64, 4096


def waiting(slot: int, length: int):
    """Return the intrinsic that says where what goes to out[start], and up to `length`
    elements after it, is put until `stream` is called: on the stack, or, unless it is
    to go `around` the cache, in its place.

    On the stack it lies as far into a page as out[start] does: a load that by the
    lower bits of its address is just behind a store waits for it, and arrays tend to
    be in step.
    """

    @intrinsic
    def at(typingctx, out, start, around):
        def codegen(context, builder, sig, values):
            kind = context.get_data_type(out.dtype)
            size = length * context.get_abi_sizeof(kind)
            memory = cgutils.alloca_once(builder, _I8, size=size + _PAGE)
            place = builder.gep(values[0], [values[1]])
            ahead = builder.sub(
                builder.ptrtoint(place, _I64), builder.ptrtoint(memory, _I64)
            )
            ahead = builder.and_(ahead, ir.Constant(_I64, _PAGE - 1))
            held = builder.bitcast(builder.gep(memory, [ahead]), kind.as_pointer())
            return builder.select(values[2], held, place)

        return Pointer(out.dtype, slot)(out, types.int64, types.boolean), codegen

    return at


@intrinsic
def same(typingctx, x, y):
    """Whether two pointers are equal: an operator in place reads what it writes."""

    def codegen(context, builder, sig, values):
        addresses = [builder.ptrtoint(v, _I64) for v in values]
        return builder.icmp_unsigned("==", *addresses)

    return types.boolean(x, y), codegen


@intrinsic
def stream(typingctx, out, start, held, count):
    """Write `count` elements that wait to out[start] and after it, if they do wait.

    They go around the cache: a line that is written there whole is not read from
    memory first. It pays for results too large to be found in the cache later on, but
    not for memory that was just read. `settle` has to follow.
    """

    def codegen(context, builder, sig, values):
        place = builder.gep(values[0], [values[1]])
        size = context.get_abi_sizeof(context.get_data_type(out.dtype))
        to, source = (builder.bitcast(v, _I8.as_pointer()) for v in (place, values[2]))

        def copy(first, end):
            with builder.if_then(builder.icmp_signed("<", first, end), likely=False):
                pair = [builder.gep(v, [first]) for v in (to, source)]
                cgutils.raw_memcpy(builder, *pair, builder.sub(end, first), 1)

        nbytes = builder.mul(values[3], ir.Constant(_I64, size))
        edge = builder.and_(
            builder.neg(builder.ptrtoint(to, _I64)), ir.Constant(_I64, _LINE - 1)
        )
        short = builder.icmp_signed("<", nbytes, edge)
        first = builder.select(short, nbytes, edge)
        lines = builder.and_(builder.sub(nbytes, first), ir.Constant(_I64, -_LINE))
        last = builder.add(first, lines)
        hint = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        line = ir.VectorType(_I64, _LINE // 8).as_pointer()
        with builder.if_then(builder.icmp_unsigned("!=", to, source)):
            copy(ir.Constant(_I64, 0), first)
            step = ir.Constant(_I64, _LINE)
            with cgutils.for_range_slice(builder, first, last, step, _I64) as (at, _):
                pair = [builder.gep(v, [at]) for v in (source, to)]
                pair = [builder.bitcast(v, line) for v in pair]
                value = builder.load(pair[0], align=size)
                store = builder.store(value, pair[1], align=_LINE)
                store.set_metadata("nontemporal", hint)
                _mark(builder, value, out.slot)
                _mark(builder, store, out.slot)
            copy(last, nbytes)
        return context.get_dummy_value()

    return types.void(out, types.int64, held, types.int64), codegen


@intrinsic
def settle(typingctx):
    """Let no later write, such as word that a kernel is done, overtake `stream`."""

    def codegen(context, builder, sig, values):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


def _float_intrinsic(llvm_name: str, arity: int):
    """Return a Numba intrinsic that calls LLVM's `llvm_name` on one float type."""

    def build(typingctx, *args):
        dtype = args[0]

        def codegen(context, builder, sig, values):
            kind = values[0].type
            suffix = "f32" if isinstance(kind, ir.FloatType) else "f64"
            function = cgutils.get_or_insert_function(
                builder.module,
                ir.FunctionType(kind, [kind] * arity),
                f"llvm.{llvm_name}.{suffix}",
            )
            return builder.call(function, values)

        return signature(dtype, *[dtype] * arity), codegen

    if arity == 1:

        @intrinsic
        def call(typingctx, x):
            return build(typingctx, x)

    elif arity == 2:

        @intrinsic
        def call(typingctx, x, y):
            return build(typingctx, x, y)

    else:

        @intrinsic
        def call(typingctx, x, y, z):
            return build(typingctx, x, y, z)

    return call


floor = _float_intrinsic("floor", 1)
ceil = _float_intrinsic("ceil", 1)
trunc = _float_intrinsic("trunc", 1)
rint = _float_intrinsic("rint", 1)  # halves to even
fabs = _float_intrinsic("fabs", 1)
sqrt = _float_intrinsic("sqrt", 1)
copysign = _float_intrinsic("copysign", 2)
maximum = _float_intrinsic("maximum", 2)  # NaN wins; +0 beats -0
minimum = _float_intrinsic("minimum", 2)
fmax = _float_intrinsic("maxnum", 2)  # a NaN loses
fmin = _float_intrinsic("minnum", 2)
fma = _float_intrinsic("fmuladd", 3)  # one instruction where the CPU has it
fma_exact = _float_intrinsic("fma", 3)  # one rounding, even if that takes a call


@intrinsic
def fmod(typingctx, x, y):
    """Remainder with the sign of the dividend, as C's fmod."""

    def codegen(context, builder, sig, values):
        return builder.frem(*values)

    return x(x, x), codegen


@intrinsic
def plus(typingctx, x, y):
    """x + y whose order LLVM may change: only for the sums of a reduction."""

    def codegen(context, builder, sig, values):
        if isinstance(x, types.Float):
            return builder.fadd(*values, flags=("reassoc", "nsz"))
        return builder.add(*values)

    return x(x, x), codegen


@intrinsic
def times(typingctx, x, y):
    """x * y whose order LLVM may change: only for the products of a reduction."""

    def codegen(context, builder, sig, values):
        if isinstance(x, types.Float):
            return builder.fmul(*values, flags=("reassoc", "nsz"))
        return builder.mul(*values)

    return x(x, x), codegen


@intrinsic
def where(typingctx, condition, x, y):
    """x if condition else y, both evaluated: a select, never a branch."""

    def codegen(context, builder, sig, values):
        return builder.select(*values)

    return x(types.boolean, x, x), codegen


@intrinsic
def div(typingctx, x, y):
    """IEEE x / y for floats, with no check for zero."""

    def codegen(context, builder, sig, values):
        return builder.fdiv(*values)

    return x(x, x), codegen


def _unsigned(instruction: str):
    @intrinsic
    def call(typingctx, x, y):
        def codegen(context, builder, sig, values):
            return getattr(builder, instruction)(*values)

        return types.int64(types.int64, types.int64), codegen

    return call


udiv = _unsigned("udiv")  # index arithmetic: both sides are known not negative
urem = _unsigned("urem")


@intrinsic
def int_div(typingctx, x, y):
    """Integer quotient, rounded toward zero; 0 where y is 0, which C leaves open.

    The most negative number by -1 wraps to itself, as two's complement does; the
    machine instruction would stop the process.
    """

    def codegen(context, builder, sig, values):
        a, b = values
        zero = ir.Constant(a.type, 0)
        one = ir.Constant(a.type, 1)
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


@intrinsic
def shift_right_logical(typingctx, x, n):
    """x >> n with zeros shifted in, whatever x's sign."""

    def codegen(context, builder, sig, values):
        return builder.lshr(*values)

    return x(x, x), codegen


@intrinsic
def turn_piece(typingctx, index):
    """Entry `index`, known to be inside, of the table that reduces float64 angles."""

    def codegen(context, builder, sig, values):
        from .mathlib import turns

        table = turns.pieces()
        kind = ir.ArrayType(ir.DoubleType(), len(table))
        name = "numtensor.turns"
        held = builder.module.globals.get(name)
        if held is None:
            held = cgutils.add_global_variable(builder.module, kind, name)
            held.initializer = ir.Constant(kind, table)
            held.global_constant = True
            held.linkage = "internal"
        zero = ir.Constant(_I64, 0)
        value = builder.load(builder.gep(held, [zero, values[0]], inbounds=True))
        _mark(builder, value, _SCOPES - 1)  # no operand has the last slot
        return value

    return types.float64(types.int64), codegen


@intrinsic
def multiply_high(typingctx, x, y):
    """The upper 32 bits of the 64-bit product of two uint32."""

    def codegen(context, builder, sig, values):
        wide = [builder.zext(v, _I64) for v in values]
        product = builder.lshr(builder.mul(*wide), ir.Constant(_I64, 32))
        return builder.trunc(product, ir.IntType(32))

    return types.uint32(types.uint32, types.uint32), codegen


@intrinsic
def call_kernel(typingctx, address, args, lo, hi):
    """Call the kernel at `address` on [lo, hi); `args` is the address of its slots."""

    def codegen(context, builder, sig, values):
        kind = ir.FunctionType(ir.VoidType(), [_I64.as_pointer(), _I64, _I64])
        target = builder.inttoptr(values[0], kind.as_pointer())
        slots = values[1]
        if isinstance(slots.type, ir.IntType):
            slots = builder.inttoptr(slots, _I64.as_pointer())
        builder.call(target, [slots, values[2], values[3]])
        return context.get_dummy_value()

    return types.void(types.int64, args, types.int64, types.int64), codegen


@intrinsic
def fetch_add(typingctx, address, amount):
    """Add to the int64 at `address` as one step that no thread can split; return
    what was there before."""

    def codegen(context, builder, sig, values):
        place = builder.inttoptr(values[0], _I64.as_pointer())
        return builder.atomic_rmw("add", place, values[1], "monotonic")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def stack_slots(typingctx, count):
    """Uninitialised int64 slots on the stack, as many as a call can have."""

    def codegen(context, builder, sig, values):
        return cgutils.alloca_once(builder, _I64, size=_SCOPES + 8)

    return types.CPointer(types.int64)(count), codegen


@intrinsic
def double_bits(typingctx, x):
    """The bits of a float64 as int64."""

    def codegen(context, builder, sig, values):
        return builder.bitcast(values[0], _I64)

    return types.int64(types.float64), codegen


@intrinsic
def new_reference(typingctx, obj):
    """Increment the reference count of the Python object at address `obj`."""

    def codegen(context, builder, sig, values):
        place = builder.inttoptr(values[0], _I8.as_pointer())
        context.get_python_api(builder).incref(place)
        return values[0]

    return types.int64(types.int64), codegen


py_as_int64 = types.ExternalFunction("PyLong_AsLongLong", types.int64(types.int64))
py_as_float64 = types.ExternalFunction("PyFloat_AsDouble", types.float64(types.int64))
py_error = types.ExternalFunction("PyErr_Occurred", types.int64())
