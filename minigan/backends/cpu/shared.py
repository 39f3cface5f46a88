"""Numbers in memory that several threads read and write at the same time, in compiled code.

A plain load may be done once for a whole loop, and plain stores in any order. These are done where they stand.
"""

from llvmlite import ir
from numba import types

from minigan.backends.cpu.simd import IS_X86, _call, _pointer, intrinsic


@intrinsic
def load_shared(_typing, array, index):
    """array[index], read from memory each time, and before whatever is read next."""

    def emit(context, builder, signature, arguments):
        place = _pointer(context, builder, signature.args[0], *arguments)
        return builder.load_atomic(place, ordering="acquire", align=8)

    return types.int64(array, index), emit


@intrinsic
def relax(_typing):
    """Leaves the core to its other thread for some cycles, where there is an instruction for that."""

    def emit(context, builder, _signature, _arguments):
        if IS_X86:
            _call(builder, "llvm.x86.sse2.pause", ir.VoidType(), [])
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def store_shared(_typing, array, index, value):
    """array[index] = value, after whatever was written before it."""

    def emit(context, builder, signature, arguments):
        array, index, value = arguments
        builder.store_atomic(value, _pointer(context, builder, signature.args[0], array, index), "release", align=8)
        return context.get_dummy_value()

    return types.void(array, index, value), emit


@intrinsic
def add_shared(_typing, array, index, value):
    """array[index] += value, in one piece."""

    def emit(context, builder, signature, arguments):
        array, index, value = arguments
        place = _pointer(context, builder, signature.args[0], array, index)
        return builder.atomic_rmw("add", place, value, "acq_rel")

    return types.int64(array, index, value), emit


@intrinsic
def exchange_shared(_typing, array, index, before, after):
    """Whether array[index] was `before`; then it is `after` now, in one piece."""

    def emit(context, builder, signature, arguments):
        array, index, before, after = arguments
        place = _pointer(context, builder, signature.args[0], array, index)
        found = builder.cmpxchg(place, before, after, "acq_rel", "acquire")
        return builder.extract_value(found, 1)

    return types.boolean(array, index, before, after), emit
