"""Sixteen float32 at a time inside Numba: a value type `Lanes` whose arithmetic becomes vector instructions.

Numba leaves vectors to LLVM's guesses, which give up on loops as rich as ours. Here `a * b + c` on Lanes is exactly
that, on AVX-512 in one register and elsewhere in two or four. Nothing is reassociated or contracted behind our back
(only `fma` fuses), so one function gives the same bits wherever it is inlined. Numbers mix in and are broadcast.
"""

import operator
from collections.abc import Callable

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

WIDTH = 16
_FLOAT, _INT, _BIT = ir.FloatType(), ir.IntType(32), ir.IntType(1)
_FLOATS, _INTS, _BITS = (ir.VectorType(element, WIDTH) for element in (_FLOAT, _INT, _BIT))
# The best polynomial of degree 5 for 2 ** x on [-0.5, 0.5] (Remez): relative error 7.5e-8 before rounding.
_EXP2 = (0.0013276472, 0.0096755410, 0.0555071309, 0.2402212024, 0.6931469440, 1.0000001192)


class _Lanes(types.Type):
    def __init__(self):
        super().__init__("Lanes")


class _Mask(types.Type):
    def __init__(self):
        super().__init__("Mask")


LANES, MASK = _Lanes(), _Mask()


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, _FLOATS)


@register_model(_Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, _BITS)


def compiled(function: Callable) -> Callable:
    """Compile on first call, without the interpreter's lock; keep the machine code on disk where that is possible."""
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # numba's answer when neither the package nor the home folder can be written
        return njit(nogil=True, error_model="numpy")(function)


def inlined(function: Callable) -> Callable:
    """Compile as a part of whatever calls it: for small pieces in hot loops, which LLVM may leave as calls."""
    return njit(inline="always", error_model="numpy")(function)


def _vector(context, builder, kind, value):
    """Any number as sixteen copies, Lanes as they are."""
    if kind is LANES:
        return value
    number = context.cast(builder, value, kind, types.float32)
    single = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), number, ir.Constant(_INT, 0))
    return builder.shuffle_vector(single, ir.Constant(_FLOATS, ir.Undefined), ir.Constant(_INTS, [0] * WIDTH))


def _call(builder, name, *vectors):
    """One of LLVM's own functions on vectors."""
    kind = ir.FunctionType(_FLOATS, [_FLOATS] * len(vectors))
    return builder.call(builder.module.declare_intrinsic(f"{name}.v{WIDTH}f32", (), kind), vectors)


def _operator(function, emit, result=LANES):
    """Give a Python operator a meaning on Lanes with Lanes or with a number on either side."""

    @type_callable(function)
    def typer(context):
        def kind(a, b):
            fits = all(side is LANES or isinstance(side, types.Number) for side in (a, b))
            return result if fits and LANES in (a, b) else None

        return kind

    def lower(context, builder, signature, args):
        a, b = (_vector(context, builder, kind, value) for kind, value in zip(signature.args, args, strict=True))
        return emit(builder, a, b)

    for pair in ((_Lanes, _Lanes), (_Lanes, types.Number), (types.Number, _Lanes)):
        lower_builtin(function, *pair)(lower)


_operator(operator.add, lambda builder, a, b: builder.fadd(a, b))
_operator(operator.sub, lambda builder, a, b: builder.fsub(a, b))
_operator(operator.mul, lambda builder, a, b: builder.fmul(a, b))
_operator(operator.truediv, lambda builder, a, b: builder.fdiv(a, b))
_operator(operator.lt, lambda builder, a, b: builder.fcmp_ordered("<", a, b), MASK)
_operator(operator.le, lambda builder, a, b: builder.fcmp_ordered("<=", a, b), MASK)
_operator(operator.gt, lambda builder, a, b: builder.fcmp_ordered(">", a, b), MASK)
_operator(operator.ge, lambda builder, a, b: builder.fcmp_ordered(">=", a, b), MASK)


@type_callable(operator.neg)
def _type_neg(context):
    return lambda a: LANES if a is LANES else None


@lower_builtin(operator.neg, _Lanes)
def _lower_neg(context, builder, signature, args):
    return builder.fneg(args[0])


@type_callable(operator.and_)
def _type_and(context):
    return lambda a, b: MASK if a is MASK and b is MASK else None


@lower_builtin(operator.and_, _Mask, _Mask)
def _lower_and(context, builder, signature, args):
    return builder.and_(*args)


def _elementwise(name: str, operands: int) -> Callable:
    """A function of Lanes (or numbers) that LLVM knows under `name`."""

    def emit(context, builder, signature, args):
        vectors = [_vector(context, builder, kind, value) for kind, value in zip(signature.args, args, strict=True)]
        return _call(builder, name, *vectors)

    if operands == 1:
        return intrinsic(lambda typing, a: (LANES(a), emit))
    if operands == 2:
        return intrinsic(lambda typing, a, b: (LANES(a, b), emit))
    return intrinsic(lambda typing, a, b, c: (LANES(a, b, c), emit))


fma = _elementwise("llvm.fmuladd", 3)
"""a * b + c, rounded once where the machine can."""
sqrt = _elementwise("llvm.sqrt", 1)
magnitude = _elementwise("llvm.fabs", 1)


def _pick(predicate: str) -> Callable:
    def emit(context, builder, signature, args):
        a, b = (_vector(context, builder, kind, value) for kind, value in zip(signature.args, args, strict=True))
        return builder.select(builder.fcmp_ordered(predicate, a, b), a, b)

    return intrinsic(lambda typing, a, b: (LANES(a, b), emit))


smaller, larger = _pick("<"), _pick(">")
"""Lane by lane; where `a` is NaN, `b`."""


@intrinsic
def where(typing, mask, a, b):
    """Lane by lane: a where the mask is set, b elsewhere."""

    def emit(context, builder, signature, args):
        chosen = zip(signature.args[1:], args[1:], strict=True)
        return builder.select(args[0], *(_vector(context, builder, kind, value) for kind, value in chosen))

    return LANES(mask, a, b), emit


@intrinsic
def exp2(typing, power):
    """2 ** power to 3e-7 (relative) for power <= 0: a polynomial around the nearest integer, which is the exponent."""

    def emit(context, builder, signature, args):
        def constant(value):
            return ir.Constant(_FLOATS, [value] * WIDTH)

        low = constant(-126.0)
        power = builder.select(builder.fcmp_ordered(">", args[0], low), args[0], low)
        whole = _call(builder, "llvm.rint", power)
        part = builder.fsub(power, whole)
        value = constant(_EXP2[0])
        for coefficient in _EXP2[1:]:
            value = _call(builder, "llvm.fmuladd", value, part, constant(coefficient))
        exponent = builder.shl(builder.fptosi(whole, _INTS), ir.Constant(_INTS, [23] * WIDTH))
        return builder.bitcast(builder.add(builder.bitcast(value, _INTS), exponent), _FLOATS)

    return LANES(power), emit


@intrinsic
def any_lane(typing, mask):
    """Whether any lane of a mask is set."""
    return types.boolean(mask), lambda context, builder, signature, args: builder.icmp_unsigned(
        "!=", builder.bitcast(args[0], ir.IntType(WIDTH)), ir.Constant(ir.IntType(WIDTH), 0)
    )


@intrinsic
def bits(typing, mask):
    """A mask as an integer; lane k is bit k."""
    return types.int64(mask), lambda context, builder, signature, args: builder.zext(
        builder.bitcast(args[0], ir.IntType(WIDTH)), ir.IntType(64)
    )


@intrinsic
def lowest_bit(typing, integer):
    """The position of the lowest bit that is set; the integer must not be 0."""

    def emit(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(_BIT, 1))

    return types.int64(types.int64), emit


def _address(context, builder, array_type, array, index):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _FLOATS.as_pointer())


@intrinsic
def load(typing, array, index):
    """Sixteen values of a contiguous one-dimensional float32 array from `index` on. Unchecked, as is `store`."""

    def emit(context, builder, signature, args):
        index = context.cast(builder, args[1], signature.args[1], types.int64)
        return builder.load(_address(context, builder, signature.args[0], args[0], index), align=4)

    return LANES(array, index), emit


@intrinsic
def store(typing, array, index, value):
    """Write sixteen values into a contiguous one-dimensional float32 array from `index` on."""

    def emit(context, builder, signature, args):
        index = context.cast(builder, args[1], signature.args[1], types.int64)
        value = _vector(context, builder, signature.args[2], args[2])
        builder.store(value, _address(context, builder, signature.args[0], args[0], index), align=4)
        return context.get_dummy_value()

    return types.none(array, index, value), emit


def _fold(builder, vectors):
    """Sixteen sums over sixteen vectors: two vectors fold into one that holds sums in parts of half the size."""
    part = WIDTH
    while part > 1:
        part //= 2
        starts = [k for k in range(2 * WIDTH) if (k // part) % 2 == 0]
        left, right = ir.Constant(_INTS, starts), ir.Constant(_INTS, [k + part for k in starts])
        vectors = [*vectors, ir.Constant(_FLOATS, [0.0] * WIDTH)] if len(vectors) % 2 else vectors
        vectors = [
            builder.fadd(builder.shuffle_vector(a, b, left), builder.shuffle_vector(a, b, right))
            for a, b in zip(vectors[::2], vectors[1::2], strict=True)
        ]
    return vectors[0]


@intrinsic
def sums(typing, values):
    """A tuple of up to sixteen Lanes to one: lane k holds the sum over all lanes of the k-th, in a fixed order."""
    return LANES(values), lambda context, builder, signature, args: _fold(
        builder, [builder.extract_value(args[0], k) for k in range(len(signature.args[0]))]
    )


def _transpose(builder, vectors):
    vectors = list(vectors)
    step = 1
    while step < WIDTH:  # swap the off-diagonal quarters of ever larger squares
        low = ir.Constant(_INTS, [k if not k & step else k - step + WIDTH for k in range(WIDTH)])
        high = ir.Constant(_INTS, [k + step if not k & step else k + WIDTH for k in range(WIDTH)])
        for k in range(WIDTH):
            if not k & step:
                a, b = vectors[k], vectors[k + step]
                vectors[k] = builder.shuffle_vector(a, b, low)
                vectors[k + step] = builder.shuffle_vector(a, b, high)
        step *= 2
    return vectors


@intrinsic
def load_columns(typing, array, index):
    """The sixteen columns of a 16 x 16 table that lies row by row from `index` on."""

    def emit(context, builder, signature, args):
        index = context.cast(builder, args[1], signature.args[1], types.int64)
        starts = (builder.add(index, ir.Constant(ir.IntType(64), k * WIDTH)) for k in range(WIDTH))
        rows = [builder.load(_address(context, builder, signature.args[0], args[0], k), align=4) for k in starts]
        return context.make_tuple(builder, signature.return_type, _transpose(builder, rows))

    return types.UniTuple(LANES, WIDTH)(array, index), emit


@intrinsic
def store_columns(typing, array, index, columns):
    """Write a tuple of sixteen Lanes as the columns of a 16 x 16 table that lies row by row from `index` on."""

    def emit(context, builder, signature, args):
        index = context.cast(builder, args[1], signature.args[1], types.int64)
        columns = [builder.extract_value(args[2], k) for k in range(WIDTH)]
        for k, row in enumerate(_transpose(builder, columns)):
            start = builder.add(index, ir.Constant(ir.IntType(64), k * WIDTH))
            builder.store(row, _address(context, builder, signature.args[0], args[0], start), align=4)
        return context.get_dummy_value()

    return types.none(array, index, columns), emit


@intrinsic
def take(typing, counter):
    """Fetch and increment a shared int64 counter atomically: the next job for whichever thread is free."""

    def emit(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", data, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counter), emit
