"""Waiting for another thread without going to sleep, for a moment.

To wake a sleeping thread takes some 50 µs, as long as a small kernel. A thread that watches a place in memory sees it
change at once. It watches in compiled code, without the interpreter lock, and not for long: see `PATIENCE`.
"""

import time
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.simd import IS_X86, intrinsic

# Seconds of watching before a thread goes to sleep: longer than the gaps between the kernels of a training step, so
# that threads are awake all through it; an idle program's are asleep.
PATIENCE = 2e-4
# Seconds between seeing a change and acting on it. Who made the change is about to let go of the interpreter lock;
# asked for too early, the lock is something to sleep for.
MANNERS = 1e-6
TRIALS, TRIAL_TURNS = 5, 1000


@intrinsic
def load_shared(_typing, array, index):
    """array[index], read from memory each time, and before whatever is read next."""

    def emit(context, builder, signature, arguments):
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0]).data
        return builder.load_atomic(builder.gep(data, [arguments[1]]), ordering="acquire", align=8)

    return types.int64(array, index), emit


@intrinsic
def relax(_typing):
    """Leaves the core to its other thread for some cycles, where there is an instruction for that."""

    def emit(context, builder, _signature, _arguments):
        if IS_X86:
            nothing = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, nothing, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), emit


@kernel
def watch(array, index, seen, turns, manners):
    """Waits until array[index] is no longer `seen`, for at most so many turns; returns whether it changed."""
    for _ in range(turns):
        if load_shared(array, index) != seen:
            for _ in range(manners):
                relax()
            return True
        relax()
    return False


def turns_per_second() -> float:
    """The number of times that `watch` looks in a second."""
    array: Any = np.zeros(1, np.int64)
    watch(array, 0, 0, 1, 0)  # compiles
    seconds = []
    for _ in range(TRIALS):  # in some of them another program may run
        began = time.perf_counter()
        watch(array, 0, 0, TRIAL_TURNS, 0)
        seconds.append(time.perf_counter() - began)
    return TRIAL_TURNS / min(seconds)
