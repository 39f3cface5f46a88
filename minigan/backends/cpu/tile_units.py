"""Who multiplies bfloat16 numbers: a processor's tile registers, its vectors, or nobody in particular.

A product here is one block of 32 by 32 float32 sums. Its factors are 32 rows, read where they lie at even distances,
and packed blocks (`blocks.py`); `multiply_block` adds up their products, 32 of depth at a time, over a window of taps:

    unit        instruction                             a block with 32 of depth takes, of one core
    amx         tdpbf16ps, a tile of 16 x 16 sums       64 clocks, if its factors come from the second-level cache
    dot         vdpbf16ps, a vector of 16 sums          512 clocks on Zen 5, 1,024 on Zen 4
    (none)      fma, float32                            1,024 on Intel's and Zen 5, 2,048 on Zen 4
    emulated    whatever LLVM makes of plain loops      (for tests: what the kernels around it do is the same)

On Intel's processors vdpbf16ps issues at half the rate of fma, which leaves nothing to gain; there it is not used.

Sources: Intel, "Architecture Instruction Set Extensions Programming Reference", chapter 3 (AMX); the rates were
measured.
"""

import ctypes
import functools
import platform
import sys
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import overload

from minigan.backends.cpu.blocks import BFLOATS, BLOCK, DEPTH, SIDE
from minigan.backends.cpu.halves import load
from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.microkernel import tile_rows
from minigan.backends.cpu.simd import (
    _INT32,
    TILE_ROWS,
    VECTOR_BYTES,
    _broadcast,
    _call,
    _opaque,
    _pointer,
    intrinsic,
    load_rows,
    store_tile,
    tile_from_row,
)
from minigan.backends.cpu.static import static
from minigan.backends.cpu.target import FEATURES

UnitName = Literal["amx", "dot", "emulated"]
HALF = SIDE // 2  # rows of a tile register, and its columns
ROW_BYTES = 64


@static
@dataclass(frozen=True, slots=True)
class Unit:
    """An argument of kernels that is nothing but its type.

    Attributes:
        products: 1, of factors rounded to bfloat16; or 3, for float32 digits.
    """

    name: UnitName
    products: int

    @property
    def parts(self) -> int:
        """1, or 2 where each factor has a high and a low one."""
        return 1 if self.products == 1 else 2


# ---------------------------------------------------------------------------------------------------- what is there


class Found(NamedTuple):
    """The unit of this processor, if it has one, and why."""

    name: UnitName | None
    reason: str


@functools.cache
def find_unit() -> Found:
    """Looks at the instructions that Numba compiles for, and asks the system for the tile registers."""
    if "amx-bf16" in FEATURES and "amx-tile" in FEATURES and "avx512bf16" in FEATURES:
        refusal = _ask_for_tiles()
        if not refusal:
            return Found("amx", "tdpbf16ps, AMX")
        return Found(None, f"AMX is there, but {refusal}")
    if "avx512bf16" not in FEATURES:
        return Found(None, "no instruction for bfloat16 products among those that Numba compiles for")
    if VECTOR_BYTES != ROW_BYTES:
        return Found(None, f"vdpbf16ps takes vectors of {ROW_BYTES} bytes, and these are of {VECTOR_BYTES}")
    if "sse4a" not in FEATURES:  # AMD's alone, in all its processors with AVX-512
        return Found(None, "vdpbf16ps is no faster than float32's multiply-adds on Intel's processors")
    return Found("dot", "vdpbf16ps, AVX512-BF16")


def _ask_for_tiles() -> str:
    """Asks Linux for this process's right to use tile registers; returns why not, or nothing.

    Threads that run already have it as well, and forked children.
    """
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return "only Linux is known to lend its tile registers"
    arch_prctl, request_permission, tile_data = 158, 0x1023, 18
    try:
        refused = ctypes.CDLL(None, use_errno=True).syscall(arch_prctl, request_permission, tile_data)
    except (OSError, AttributeError) as error:
        return f"the system cannot be asked for it ({error})"
    return f"the system refuses it (error {ctypes.get_errno()})" if refused else ""


# ---------------------------------------------------------------------------------------------------- tile registers


def _register_call(builder, name, arguments):
    _call(builder, f"llvm.x86.{name}", ir.VoidType(), arguments)


def _number(register):
    return ir.IntType(8)(register.literal_value)


def _bytes_pointer(context, builder, array_type, array, index):
    return builder.bitcast(_pointer(context, builder, array_type, array, index), ir.IntType(8).as_pointer())


def tile_configuration() -> np.ndarray:
    """The 64 bytes that give all eight registers 16 rows of 64 bytes."""
    configuration = np.zeros(64, np.uint8)
    configuration[0] = 1
    configuration[16:32:2] = ROW_BYTES
    configuration[48:56] = HALF
    return configuration


TILES = tile_configuration()


@intrinsic
def configure_tiles(_typing, configuration):
    """Gives the tile registers of this thread their shape."""

    def emit(context, builder, signature, arguments):
        _register_call(
            builder,
            "ldtilecfg",
            [_bytes_pointer(context, builder, signature.args[0], arguments[0], ir.IntType(64)(0))],
        )
        return context.get_dummy_value()

    return types.void(configuration), emit


@intrinsic
def release_tiles(_typing):
    """Empties the tile registers, which the system would otherwise save with every change of threads."""

    def emit(context, builder, _signature, _arguments):
        _register_call(builder, "tilerelease", [])
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic(prefer_literal=True)
def zero_register(_typing, register):
    number = _number(register)

    def emit(context, builder, _signature, _arguments):
        _register_call(builder, "tilezero", [number])
        return context.get_dummy_value()

    return types.void(register), emit


def _moves(summary: str, name: str) -> Any:
    """An intrinsic that moves a register from memory, or to it: 16 rows, `row_bytes` apart."""

    def move(_typing, register, array, index, row_bytes):
        number = _number(register)

        def emit(context, builder, signature, arguments):
            pointer = _bytes_pointer(context, builder, signature.args[1], arguments[1], arguments[2])
            _register_call(builder, name, [number, pointer, arguments[3]])
            return context.get_dummy_value()

        return types.void(register, array, index, row_bytes), emit

    move.__doc__ = summary
    return intrinsic(prefer_literal=True)(move)


load_register = _moves("A register from array[index] on.", "tileloadd64")
store_register = _moves("array[index] and on from a register.", "tilestored64")


@intrinsic(prefer_literal=True)
def multiply_registers(_typing, sums, a, b):
    """sums += a . b; three different registers, or the processor traps."""
    numbers = [_number(each) for each in (sums, a, b)]

    def emit(context, builder, _signature, _arguments):
        _register_call(builder, "tdpbf16ps", numbers)
        return context.get_dummy_value()

    return types.void(sums, a, b), emit


# ---------------------------------------------------------------------------------------------------- vectors


@intrinsic
def outer_pairs(_typing, tile, a, rows, a_index, b, b_index):
    """tile[m, :] + the products of the pair at a[rows[m] + a_index] and a packed block's pair at b[b_index].

    It is `simd.outer` for bfloat16.
    """

    def emit(context, builder, signature, arguments):
        tile, a, rows, a_index, b, b_index = arguments
        words = ir.VectorType(_INT32, ROW_BYTES // 4)
        b_pointer = _pointer(context, builder, signature.args[4], b, b_index)
        a_pointer = _opaque(builder, _pointer(context, builder, signature.args[1], a, a_index))
        b_row = []
        for half in range(2):
            place = builder.gep(b_pointer, [ir.IntType(64)(half * BLOCK // 2)])
            b_row.append(builder.bitcast(builder.load(builder.bitcast(place, words.as_pointer()), align=64), BFLOATS))
        for m in range(TILE_ROWS):
            place = builder.gep(a_pointer, [builder.extract_value(rows, m)])
            word = builder.load(builder.bitcast(place, _INT32.as_pointer()), align=4)
            pair = builder.bitcast(_broadcast(builder, words, word), BFLOATS)
            for half in range(2):
                register = 2 * m + half
                sums = builder.extract_value(tile, register)
                factors = [sums, pair, b_row[half]]
                sums = _call(builder, "llvm.x86.avx512bf16.dpbf16ps.512", sums.type, factors)
                tile = builder.insert_value(tile, sums, register)
        return tile

    return tile(tile, a, rows, a_index, b, b_index), emit


# ---------------------------------------------------------------------------------------------------- a block


class Window(NamedTuple):
    """The taps whose products a block adds up, and how far apart their factors lie; each `last` is exclusive."""

    r_first: int
    r_last: int
    s_first: int
    s_last: int
    depth: int  # blocks of 32, of each tap
    a_row: int  # from one row of taps to the next, in a
    a_tap: int
    a_depth: int
    a_low: int  # from the high parts to the low ones
    b_row: int  # likewise in packed blocks
    b_tap: int
    b_depth: int


class Rows(NamedTuple):
    """Where 32 rows lie: twice 16 at even distances."""

    pitch: int
    half: int
    first: int  # rows of the first half that count, and of the second
    second: int


def begin_products(unit, configuration):
    """Prepares this thread for `multiply_block`.

    Args:
        configuration: TILES.
    """
    raise NotImplementedError("for compiled code")


@overload(begin_products, inline="always")
def _begin_products(unit, configuration):
    if unit.value.name == "amx":
        return lambda unit, configuration: configure_tiles(configuration)
    return lambda unit, configuration: None


def end_products(unit):
    """Leaves the thread as `begin_products` found it."""
    raise NotImplementedError("for compiled code")


@overload(end_products, inline="always")
def _end_products(unit):
    if unit.value.name == "amx":
        return lambda unit: release_tiles()
    return lambda unit: None


def multiply_block(unit, a, at, rows, table, window, b, b_at, sums):
    """sums (32 x 32, float32) = the products over a window of taps.

    Args:
        a, b: uint16, at multiples of 64 bytes.
        at, b_at: of the window's first tap.
        rows: the Rows.
        table: the offsets of the 32 rows.
    """
    raise NotImplementedError("for compiled code")


@overload(multiply_block, inline="always")
def _multiply_block(unit, a, at, rows, table, window, b, b_at, sums):
    return {"amx": _with_registers, "dot": _with_vectors, "emulated": _with_loops}[unit.value.name](unit.value.products)


@kernel(inline=True)
def multiply_quarters():
    """The four quarters of a block's sums, in registers 0 to 3, by the rows in 4 and 5 and the columns in 6 and 7."""
    multiply_registers(0, 4, 6)
    multiply_registers(1, 4, 7)
    multiply_registers(2, 5, 6)
    multiply_registers(3, 5, 7)


def _with_registers(products: int) -> Any:
    row_bytes = 4 * SIDE
    three = products == 3

    def multiply(unit, a, at, rows, table, window, b, b_at, sums):
        pitch = 2 * rows.pitch
        zero_register(0)
        zero_register(1)
        zero_register(2)
        zero_register(3)
        for r in range(window.r_first, window.r_last):
            for s in range(window.s_first, window.s_last):
                here, there = at + r * window.a_row + s * window.a_tap, b_at + r * window.b_row + s * window.b_tap
                for _ in range(window.depth):
                    load_register(4, a, here, pitch)
                    load_register(5, a, here + rows.half, pitch)
                    if three:  # the high rows, times the low block; the low rows, times the high block
                        load_register(6, b, there + BLOCK, ROW_BYTES)
                        load_register(7, b, there + BLOCK + BLOCK // 2, ROW_BYTES)
                        multiply_quarters()
                    load_register(6, b, there, ROW_BYTES)
                    load_register(7, b, there + BLOCK // 2, ROW_BYTES)
                    multiply_quarters()
                    if three:
                        load_register(4, a, here + window.a_low, pitch)
                        load_register(5, a, here + rows.half + window.a_low, pitch)
                        multiply_quarters()
                    here += window.a_depth
                    there += window.b_depth
        store_register(0, sums, 0, row_bytes)
        store_register(1, sums, HALF, row_bytes)
        store_register(2, sums, HALF * SIDE, row_bytes)
        store_register(3, sums, HALF * SIDE + HALF, row_bytes)

    return multiply


def _with_vectors(products: int) -> Any:
    three = products == 3

    def multiply(unit, a, at, rows, table, window, b, b_at, sums):
        zeros = np.zeros(SIDE, np.float32)
        for group in range(0, SIDE, TILE_ROWS):
            if group % HALF >= (rows.first if group < HALF else rows.second):
                continue
            lines, tile = load_rows(table, group), tile_from_row(zeros, 0)
            for r in range(window.r_first, window.r_last):
                for s in range(window.s_first, window.s_last):
                    here, there = at + r * window.a_row + s * window.a_tap, b_at + r * window.b_row + s * window.b_tap
                    for _ in range(window.depth):
                        if three:
                            for i in range(0, DEPTH, 2):
                                tile = outer_pairs(tile, a, lines, here + i, b, there + BLOCK + i * HALF)
                            for i in range(0, DEPTH, 2):
                                tile = outer_pairs(tile, a, lines, here + window.a_low + i, b, there + i * HALF)
                        for i in range(0, DEPTH, 2):
                            tile = outer_pairs(tile, a, lines, here + i, b, there + i * HALF)
                        here += window.a_depth
                        there += window.b_depth
            store_tile(tile, sums, load_rows(tile_rows(SIDE), 0), group * SIDE)

    return multiply


def _with_loops(products: int) -> Any:
    three = products == 3

    def multiply(unit, a, at, rows, table, window, b, b_at, sums):
        sums[: SIDE * SIDE] = 0
        for r in range(window.r_first, window.r_last):
            for s in range(window.s_first, window.s_last):
                here, there = at + r * window.a_row + s * window.a_tap, b_at + r * window.b_row + s * window.b_tap
                for _ in range(window.depth):
                    if three:
                        add_emulated(a, here, table, b, there + BLOCK, sums)
                        add_emulated(a, here + window.a_low, table, b, there, sums)
                    add_emulated(a, here, table, b, there, sums)
                    here += window.a_depth
                    there += window.b_depth

    return multiply


@kernel(inline=True)
def add_emulated(a, at, table, b, b_at, sums):
    """The products of 32 rows and a packed block, in plain loops."""
    for m in range(SIDE):
        for i in range(0, DEPTH, 2):
            first, second = load(a, at + table[m] + i), load(a, at + table[m] + i + 1)
            for j in range(SIDE):
                place = b_at + j // HALF * (BLOCK // 2) + i * HALF + j % HALF * 2
                sums[m * SIDE + j] += first * load(b, place) + second * load(b, place + 1)
