"""A kernel's parts handed from thread to thread in compiled code, without Python and its interpreter lock.

Two threads that run Python take turns at the lock, and who finds it taken goes to sleep, which costs more than a small
kernel. So a caller leaves the address of the compiled kernel and its arguments in a mailbox, and workers take parts
from there in a loop that is compiled as well:

    caller: launch(mailbox, ...)             worker: serve(mailbox, ...)
    ----------------------------             ---------------------------
    writes the job into the mailbox
    raises PARTS --------------------------> sees a part that nobody has begun, and claims it
    does part 0, and what nobody claims      does it
    waits for DONE <------------------------ adds to DONE

A part is claimed by one atomic exchange, so that each is done once, whoever comes first. Only one caller at a time has
the mailbox; another does all its parts itself, with the same results.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.shared import add_shared, exchange_shared, load_shared, relax, store_shared
from minigan.backends.cpu.simd import intrinsic

# Places in a mailbox; what caller and workers wait for stands on cache lines of its own, and 16 numbers are two lines,
# as the next is fetched with each.
#   PARTS     a job's number, its number of parts and the next part, as one number, see `claim`
#   RINGS     counts what else there is to do for a worker: it then leaves `serve`
#   BUSY      1 while a caller has the mailbox
#   STUB, ARGUMENTS, KERNEL   addresses: of the code that unpacks the arguments, of these, of the kernel
#   TURNS     how often who waits looks, before it leaves the CPU to others
#   DONE, FAILED   parts that workers have done, and how many of these ended with an error
#   AWAKE     workers in `serve`
PARTS, RINGS, BUSY, STUB, ARGUMENTS, KERNEL, TURNS, DONE, FAILED, AWAKE = 0, 16, 32, 33, 34, 35, 36, 48, 49, 64
MAILBOX_SIZE = 80

PART_BITS = 16  # of PARTS for the next part, and as many for their number
PART_MASK = (1 << PART_BITS) - 1

# What `launch` returns: the kernel has no compiled code yet for such arguments.
SUCCEEDED, UNKNOWN, WENT_WRONG = 0, 1, 2

_INDEX, _STATUS = ir.IntType(64), ir.IntType(32)
_ADDRESS = ir.IntType(8).as_pointer()


def new_mailbox() -> np.ndarray:
    """A mailbox without a job; begins with a cache line, and its first places have lines of their own."""
    raw = np.zeros(MAILBOX_SIZE + 16, np.int64)
    first = -(raw.ctypes.data // 8) % 16
    return raw[first : first + MAILBOX_SIZE]


def types_key(argument_types: Sequence[Any]) -> int:
    """A number that stands for the types of a kernel's arguments, the same in each process; not 0."""
    digest = hashlib.sha256(repr(tuple(argument_types)).encode()).digest()
    return int.from_bytes(digest[:7], "little") + 1


# ---------------------------------------------------------------------------------------------------- intrinsics


@intrinsic
def key_of(_typing, arguments):
    """`types_key` of a tuple's items, a constant."""
    key = types_key(arguments.types)

    def emit(_context, _builder, _signature, _arguments):
        return ir.Constant(_INDEX, key)

    return types.int64(arguments), emit


@intrinsic
def lay_out(_typing, arguments):
    """The address of a tuple's items in memory that lasts until the function around ends."""

    def emit(context, builder, signature, values):
        items = cgutils.unpack_tuple(builder, values[0], len(signature.args[0]))
        memory = cgutils.alloca_once(builder, _layout(context, signature.args[0]))
        for number, (item, kind) in enumerate(zip(items, signature.args[0], strict=True)):
            owned = _without_owner(context, builder, item, kind) if isinstance(kind, types.Array) else item
            builder.store(owned, cgutils.gep_inbounds(builder, memory, 0, number))
        return builder.ptrtoint(memory, _INDEX)

    return types.int64(arguments), emit


def _without_owner(context, builder, item, kind):
    """An array without the owner that Numba counts references to: the caller keeps it, also for replays."""
    array = context.make_array(kind)(context, builder, value=item)
    array.meminfo = cgutils.get_null_value(array.meminfo.type)
    array.parent = cgutils.get_null_value(array.parent.type)
    return array._getvalue()


@intrinsic
def size_of(_typing, arguments):
    """The number of 8-byte words that `lay_out` takes for a tuple's items."""

    def emit(context, _builder, signature, _values):
        return ir.Constant(_INDEX, -(-context.get_abi_sizeof(_layout(context, signature.args[0])) // 8))

    return types.int64(arguments), emit


@intrinsic
def word_at(_typing, address, index):
    """The number that stands `index` words of 8 bytes after an address."""

    def emit(_context, builder, _signature, values):
        place = builder.inttoptr(values[0], _INDEX.as_pointer())
        return builder.load(builder.gep(place, [values[1]]))

    return types.int64(address, index), emit


@intrinsic
def stub_of(_typing, arguments):
    """The address of a function (arguments' address, kernel's address, part, parts) that calls the kernel on them."""

    def emit(context, builder, signature, _values):
        kind = ir.FunctionType(_STATUS, [_ADDRESS, _INDEX, _INDEX, _INDEX])
        stub = ir.Function(builder.module, kind, name=f"{builder.function.name}.stub")
        stub.linkage = "internal"
        _write_stub(context, stub, signature.args[0])
        return builder.ptrtoint(stub, _INDEX)

    return types.int64(arguments), emit


def _layout(context, arguments):
    return ir.LiteralStructType([context.get_value_type(each) for each in arguments.types])


def _write_stub(context, stub, arguments):
    """Numba's way to call a function: the address for its result and for an error, then all arguments spread out."""
    builder = ir.IRBuilder(stub.append_basic_block("entry"))
    memory, kernel_address, part, parts = stub.args
    memory = builder.bitcast(memory, _layout(context, arguments).as_pointer())
    values = [builder.load(cgutils.gep_inbounds(builder, memory, 0, number)) for number in range(len(arguments.types))]
    kinds = (types.int64, types.int64, *arguments.types)
    kind = context.call_conv.get_function_type(types.none, kinds)
    results = [cgutils.alloca_once_value(builder, cgutils.get_null_value(place.pointee)) for place in kind.args[:2]]
    spread = context.get_arg_packer(kinds).as_arguments(builder, [part, parts, *values])
    builder.ret(builder.call(builder.inttoptr(kernel_address, kind.as_pointer()), [*results, *spread]))


@intrinsic
def call_stub(_typing, stub, arguments, kernel_address, part, parts):
    """Calls a kernel through `stub_of` its arguments; whether it succeeded."""

    def emit(_context, builder, _signature, values):
        stub, arguments, kernel_address, part, parts = values
        kind = ir.FunctionType(_STATUS, [_ADDRESS, _INDEX, _INDEX, _INDEX])
        function, memory = builder.inttoptr(stub, kind.as_pointer()), builder.inttoptr(arguments, _ADDRESS)
        status = builder.call(function, [memory, kernel_address, part, parts])
        # 0: it returned a value; -2: None. Others are errors.
        return builder.or_(
            builder.icmp_signed("==", status, ir.Constant(_STATUS, 0)),
            builder.icmp_signed("==", status, ir.Constant(_STATUS, -2)),
        )

    return types.boolean(stub, arguments, kernel_address, part, parts), emit


@intrinsic
def call_plain(_typing, address):
    """Calls a function without arguments by its address."""

    def emit(context, builder, _signature, values):
        kind = ir.FunctionType(ir.VoidType(), [])
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), [])
        return context.get_dummy_value()

    return types.void(address), emit


# ---------------------------------------------------------------------------------------------------- both sides


@kernel(inline=True)
def claim(mailbox):
    """The number of a part that nobody had begun, and of all parts; -1 for none.

    PARTS counts jobs in its high bits. So it never has a value twice, and an exchange for one that is over fails.
    """
    while True:
        seen = load_shared(mailbox, PARTS)
        part, parts = seen & PART_MASK, (seen >> PART_BITS) & PART_MASK
        if part >= parts:
            return -1, parts
        if exchange_shared(mailbox, PARTS, seen, seen + 1):
            return part, parts


@kernel(inline=True)
def address_of(addresses, key):
    """The address of the code for arguments of these types; 0 if there is none yet."""
    for number in range(0, len(addresses), 2):
        if addresses[number] == key:
            return addresses[number + 1]
    return 0


@kernel
def launch(mailbox, addresses, yield_address, room, parts, *arguments):
    """Does all parts of a kernel, together with the workers that serve the mailbox.

    Args:
        addresses: of the kernel's code, each after the `types_key` that it is for.
        yield_address: of a function that lets other threads have the CPU; 0 if there is none.
        room: for a copy of the call, see `keep_call`; empty for none.
    """
    address = address_of(addresses, key_of(arguments))
    if address == 0:
        return UNKNOWN
    stub, place = stub_of(arguments), lay_out(arguments)
    if len(room):
        keep_call(room, stub, place, address, size_of(arguments))
    return share_out(mailbox, stub, place, address, yield_address, parts)


@kernel
def keep_call(room, stub, place, address, words):
    """Writes into `room` the addresses of stub and kernel, the number of words of the arguments, and these words.

    Arguments that do not fit are left out.
    """
    room[0], room[1], room[2] = stub, address, words
    if words + 3 <= len(room):
        for index in range(words):
            room[3 + index] = word_at(place, index)


@kernel
def share_out(mailbox, stub, place, address, yield_address, parts):
    """`launch` for a kernel of known address and arguments; compiled once for all kernels."""
    failed = 0
    if not exchange_shared(mailbox, BUSY, 0, 1):  # another caller has it
        for part in range(parts):
            failed += not call_stub(stub, place, address, part, parts)
        return WENT_WRONG if failed else SUCCEEDED
    mailbox[STUB], mailbox[ARGUMENTS], mailbox[KERNEL], mailbox[DONE], mailbox[FAILED] = stub, place, address, 0, 0
    job = (load_shared(mailbox, PARTS) >> 2 * PART_BITS) + 1
    store_shared(mailbox, PARTS, (((job << PART_BITS) | parts) << PART_BITS) | 1)
    failed += not call_stub(stub, place, address, 0, parts)
    by_others = parts - 1
    while True:
        part, _ = claim(mailbox)
        if part < 0:
            break
        by_others -= 1
        failed += not call_stub(stub, place, address, part, parts)
    turns = 0
    while load_shared(mailbox, DONE) != by_others:
        turns += 1
        if turns <= mailbox[TURNS] or yield_address == 0:
            relax()
        else:
            call_plain(yield_address)
    failed += load_shared(mailbox, FAILED)
    store_shared(mailbox, BUSY, 0)
    return WENT_WRONG if failed else SUCCEEDED


@kernel
def replay(mailbox, table, counts, first, last, yield_address):
    """Calls again what `keep_call` has kept, rows `first` to `last` of a table, without Python in between.

    Args:
        table: a row for each call: the addresses of stub, arguments and kernel, the number of parts, and the first and
            last place in `counts` that must be 0 after the call.
    Returns:
        `last`, or the first row that went wrong or left a count that is not 0.
    """
    for row in range(first, last):
        stub, place, address, parts = table[row, 0], table[row, 1], table[row, 2], table[row, 3]
        if parts == 1:
            if not call_stub(stub, place, address, 0, 1):
                return row
        elif share_out(mailbox, stub, place, address, yield_address, parts) != SUCCEEDED:
            return row
        for index in range(table[row, 4], table[row, 5]):
            if load_shared(counts, index) != 0:
                return row
    return last


@kernel
def serve(mailbox, rings):
    """Does parts of the jobs that come, until none has come for TURNS looks or RINGS is another number."""
    add_shared(mailbox, AWAKE, 1)
    quiet = 0
    while quiet <= mailbox[TURNS]:
        part, parts = claim(mailbox)
        if part >= 0:
            stub, place = load_shared(mailbox, STUB), load_shared(mailbox, ARGUMENTS)
            if not call_stub(stub, place, load_shared(mailbox, KERNEL), part, parts):
                add_shared(mailbox, FAILED, 1)
            add_shared(mailbox, DONE, 1)
            quiet = 0
        elif load_shared(mailbox, RINGS) != rings:
            break
        else:
            relax()
            quiet += 1
    add_shared(mailbox, AWAKE, -1)
