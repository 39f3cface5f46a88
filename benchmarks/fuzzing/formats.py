"""Ways to damage a file by its structure, with lengths and checksums made right again, so that damage gets deep."""

import gzip
import json
import random
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.fuzzing.mutations import EXTREMES, LONGEST, bytes_mutation, mixed, splice, text_mutation
from benchmarks.fuzzing.trees import json_mutation

MEBIBYTE = bytes(2**20)
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
NAMES = (
    "../x.png",
    "/x.png",
    "a/../../x.png",
    "..\\x.png",
    "C:\\x.png",
    "x.png\0y",
    "",
    "/",
    "x.png",
    "a//x.png",
    "é.png",
    "\x1b[2J\n.png",
)
ARRAY_NAMES = ("x.npy", "y.npy", "labels.npy", "images.npy", "../x.npy", "x", "x.npy.npy")
METHODS = (0, 8, 9, 12, 14, 93, 98, 99, 0xFFFF)
DTYPES = (
    *("|O", "|V0", "|S0", "<U0", "<U1000000000", "|V2147483647", "<M8[s]", "<m8", "<c16", "<f2", ">f8", "<f16", "|b1"),
    *("|u1", "<i8", "<u8", "", "x", "f4,f4", "<f4,(1000000000,)u1", "(2,2)<f4", "<M8[9999999999999s]", "O8", "i999"),
)
SHAPES = (
    *("()", "(0,)", "(1,)", "(-1,)", "(-1, -1)", "(1000000000000, 0)", "(0, 1000000000000)", "(1000000000000, 2)"),
    *("(1000000000000,)", "(4294967296, 4294967296)", "(2147483648, 1, 1)", "(True,)", "(1.5,)", "(None,)", "[2]", "2"),
    *(
        "(9223372036854775808,)",
        "(1, 2, 3, 4, 5)",
        "(1,) * 70",
        f"({'1,' * 70})",
        f"({'9' * 5000},)",
        "(1, 1, 1000000)",
    ),
    *("(1000000000000, 0, 0, 1)", "(0, 0)", "(2, 0)", "(1, 9400, 9400)", f"{'(' * 200}1,{')' * 200}"),
)


def gzip_mutation(rng: random.Random, data: bytes) -> bytes:
    """Damage to a gzip file, mostly to what it holds; or much more in it than it should hold."""
    if rng.random() < 0.3:
        return bytes_mutation(rng, data)
    try:
        inner = zlib.decompressobj(wbits=31).decompress(data, len(MEBIBYTE))
    except zlib.error:  # already damaged
        return bytes_mutation(rng, data)
    if rng.random() < 0.05:  # members one after the other are one file
        return gzip.compress(inner, mtime=0) + gzip.compress(MEBIBYTE, mtime=0) * rng.choice((1, 64, 1024))
    return gzip.compress(bytes_mutation(rng, inner), mtime=0)


def deflate_mutation(rng: random.Random, data: bytes) -> bytes:
    try:
        return zlib.compress(bytes_mutation(rng, zlib.decompress(data)))
    except zlib.error:
        return bytes_mutation(rng, data)


# ---------------------------------------------------------------------------------------------- PNG


def png_mutation(rng: random.Random, data: bytes) -> bytes:
    """Damage to a chunk, or to the order of chunks."""
    chunks = list(png_chunks(data))
    if not chunks or rng.random() < 0.3:
        return bytes_mutation(rng, data)
    return PNG_SIGNATURE + b"".join(png_chunk(chunk) for chunk in mixed(rng, chunks, _chunk_mutation))


def png_chunks(data: bytes) -> list[bytes]:
    """Kind and content of each chunk; none if it is no PNG."""
    chunks, at = [], len(PNG_SIGNATURE)
    while data.startswith(PNG_SIGNATURE) and at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append(data[at + 4 : at + 8 + length])
        at += 12 + length
    return chunks


def png_chunk(content: bytes) -> bytes:
    return struct.pack(">I", max(len(content) - 4, 0)) + content + struct.pack(">I", zlib.crc32(content))


def _chunk_mutation(rng: random.Random, chunk: bytes) -> bytes:
    kind, content = chunk[:4], chunk[4:]
    if rng.random() < 0.05:
        return bytes_mutation(rng, chunk)
    if kind == b"IHDR" and rng.random() < 0.5:
        at = rng.choice((0, 4))
        return kind + content[:at] + struct.pack(">I", rng.choice(EXTREMES) % 2**32) + content[at + 4 :]
    mutation = deflate_mutation if kind == b"IDAT" and rng.random() < 0.7 else bytes_mutation
    return kind + mutation(rng, content)


# ---------------------------------------------------------------------------------------------- zip


@dataclass(frozen=True)
class Member:
    """A file in a zip archive, with what the two headers say of it."""

    name: bytes
    packed: bytes
    crc: int
    size: int
    method: int = 8
    flags: int = 0
    version: int = 20


def zip_member(name: str, content: bytes, *, packed: bytes | None = None) -> Member:
    """A sound one; or, with other packed bytes, one that unpacks to something else than its headers say."""
    packer = zlib.compressobj(wbits=-15)
    body = packer.compress(content) + packer.flush() if packed is None else packed
    return Member(name.encode("utf-8"), body, zlib.crc32(content), len(content), flags=0x800)


def zip_bytes(members: Sequence[Member]) -> bytes:
    body, directory = b"", b""
    for member in members:
        crc, packed, size = member.crc % 2**32, len(member.packed) % 2**32, member.size % 2**32
        head = struct.pack("<HHHHHIII", member.version, member.flags, member.method, 0, 0x21, crc, packed, size)
        rest = struct.pack("<HH", len(member.name), 0)
        directory += b"PK\x01\x02\x14\0" + head + rest + struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + member.name
        body += b"PK\x03\x04" + head + rest + member.name + member.packed
    count = len(members)
    return body + directory + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(body), 0)


def zip_mutation(rng: random.Random, data: bytes) -> bytes:
    """Damage to a member, to what the headers say of one, or to their order."""
    members = zip_members(data)
    if not members or rng.random() < 0.25:
        return bytes_mutation(rng, data)
    index = rng.randrange(len(members))
    kind = rng.randrange(10)
    if kind < 8:
        members[index] = _member_mutation(rng, members[index])
    elif kind == 8:
        members.insert(index, rng.choice(members))
    else:
        del members[index]
    return zip_bytes(members)


def zip_members(data: bytes) -> list[Member]:
    """Entries of a sound archive, read from one local header after the other; fewer of a damaged one."""
    members, at = [], 0
    while data[at : at + 4] == b"PK\x03\x04" and len(data) >= at + 30:
        version, flags, method, _, _, crc, packed, size, name, extra = struct.unpack(
            "<HHHHHIIIHH", data[at + 4 : at + 30]
        )
        start = at + 30 + name + extra
        at = start + packed
        members.append(
            Member(data[start - name - extra : start - extra], data[start:at], crc, size, method, flags, version)
        )
    return members


def _member_mutation(rng: random.Random, member: Member) -> Member:
    kind = rng.randrange(8)
    if kind == 0:
        names = ARRAY_NAMES if member.name.endswith(b".npy") else NAMES
        return replace(member, name=rng.choice(names).encode("utf-8"))
    if kind == 1:
        return replace(member, size=rng.choice(EXTREMES))
    if kind == 2:
        return replace(member, method=rng.choice(METHODS))
    if kind == 3:
        return replace(member, flags=1 << rng.randrange(16), version=rng.choice((0, 20, 45, 255)))
    if kind == 4:
        return replace(member, packed=bytes_mutation(rng, member.packed))
    return _repacked(rng, member)


def _repacked(rng: random.Random, member: Member) -> Member:
    """Damage to what a member holds, with its sizes and its checksum made right again."""
    try:
        packed, unpacker = member.packed, zlib.decompressobj(wbits=-15)
        content = unpacker.decompress(packed, len(MEBIBYTE)) if member.method == 8 else packed
    except zlib.error:
        return replace(member, crc=member.crc ^ 1)
    if member.name.endswith(b".npy"):
        content = npy_mutation(rng, content)
    elif content.startswith(PNG_SIGNATURE):
        content = png_mutation(rng, content)
    else:
        content = bytes_mutation(rng, content)
    made = zip_member("", content)
    return replace(member, packed=made.packed, crc=made.crc, size=made.size, method=8)


# ---------------------------------------------------------------------------------------------- arrays


def npy_bytes(header: str, values: bytes) -> bytes:
    """Format 1.0, of any header."""
    text = header.encode("latin-1", "replace")
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text) % 2**16) + text + values


def npy_mutation(rng: random.Random, data: bytes) -> bytes:
    """Damage to the header, mostly: another dtype or shape, or to its text."""
    kind = rng.randrange(6)
    end = data.find(b"\n") + 1
    if kind == 0 or not end:
        return bytes_mutation(rng, data)
    text, values = data[10 : end - 1], data[end:]
    if kind == 1:
        return npy_bytes(text_mutation(rng, text).decode("latin-1"), values)
    dtype = repr(rng.choice(DTYPES)) if kind in (2, 4) else "'|u1'"
    shape = rng.choice(SHAPES) if kind in (3, 4) else "(4, 5, 4, 3)"
    order = rng.choice(("False", "False", "True", "0", "None"))
    if kind == 5:
        dtype = rng.choice(
            ("[('a', '<f4')]", "[('a', '|O')]", "[]", "()", "None", "{}", "1", "['<f4']", f"{'[' * 99}{']' * 99}")
        )
    return npy_bytes(f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}", values)


def safetensors_mutation(rng: random.Random, data: bytes) -> bytes:
    """Damage to the header, mostly to what it means: names, kinds, shapes and offsets, or minigan's description."""
    length = int.from_bytes(data[:8], "little")
    if rng.random() < 0.2 or length > len(data) - 8:
        return bytes_mutation(rng, data)
    header, values = data[8 : 8 + length], data[8 + length :]
    kind = rng.randrange(5)
    if kind == 0:
        values = bytes_mutation(rng, values)
    elif kind == 1:
        header = json_mutation(rng, header)
    else:
        header = _description_mutation(rng, header)
    return struct.pack("<Q", len(header)) + header + values


def _description_mutation(rng: random.Random, header: bytes) -> bytes:
    try:
        tree = json.loads(header)
        description = json.loads(tree["__metadata__"]["minigan"])
        if rng.random() < 0.9:
            del description["sha256"]  # files from before it was there have none; with one, hardly a change is accepted
        text = json_mutation(rng, json.dumps(description).encode())
        tree["__metadata__"]["minigan"] = text.decode()
        return json.dumps(tree).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return json_mutation(rng, header)


def spliced(rng: random.Random, one: bytes, other: bytes) -> bytes:
    """Two files of a kind made one: by their members where there are such, else by their bytes."""
    ours, theirs = zip_members(one), zip_members(other)
    if ours and theirs and rng.random() < 0.5:
        return zip_bytes([rng.choice(pair) for pair in zip(ours, theirs, strict=False)])
    return splice(rng, one, other)[: len(one) + len(other) + LONGEST]
