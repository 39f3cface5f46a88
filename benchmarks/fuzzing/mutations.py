"""Ways to damage bytes and text. Each takes a random generator and the data to damage, and leaves the rest as it is."""

import random
import re
from collections.abc import Callable, Sequence

Mutation = Callable[[random.Random, bytes], bytes]

HEAD = 64  # bytes; here most formats say how much is to follow
LONGEST = 4096  # bytes that are put in at a time
EXTREMES = tuple(sorted({0, 1, 2, *(2**k + d for k in (7, 8, 15, 16, 24, 31, 32, 40, 63, 64) for d in (-1, 0, 1))}))
NUMBERS = (
    "-1",
    "0",
    "1e999",
    "nan",
    "inf",
    "-0.0",
    "1_0",
    "0x7f",
    "9" * 19,
    "9" * 400,
    "9" * 5000,
    "1e-999",
    "1979-01-32",
)
TOKENS = (
    *(
        "[" * 3000,
        "{" * 3000,
        '{"a":' * 2000,
        "(" * 5000,
        "\0",
        "\ufeff",
        "\u2028",
        '"',
        '"""',
        "'''",
        "\\u0000",
        "\\ud800",
    ),
    *(
        "null",
        "true",
        "[]",
        "{}",
        '""',
        "=",
        ",",
        "\n",
        "\r",
        "#",
        "a.b.c = 1",
        "[a]",
        "[[a]]",
        "..",
        "/",
        "NaN",
        "-Infinity",
    ),
)


def position(rng: random.Random, size: int) -> int:
    """A place in so many bytes, half of the time near the beginning."""
    return rng.randrange(min(size, HEAD) if rng.random() < 0.5 else size) if size else 0


def stretch(rng: random.Random, size: int) -> slice:
    """A few neighboring bytes; seldom many."""
    start = position(rng, size)
    return slice(start, start + rng.choice((1, 2, 4, 8, 16, rng.randint(1, max(size, 1)))))


def flip_bits(rng: random.Random, data: bytes) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8)) if data else 0):
        damaged[position(rng, len(data))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def set_bytes(rng: random.Random, data: bytes) -> bytes:
    where = stretch(rng, len(data))
    fill = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80", None))
    length = len(data[where])
    return data[: where.start] + (rng.randbytes(length) if fill is None else fill * length) + data[where.stop :]


def put_integer(rng: random.Random, data: bytes) -> bytes:
    """An extreme number where perhaps a length, a dimension or an offset was."""
    width = rng.choice((1, 2, 4, 4, 8))
    value = rng.choice(EXTREMES) & (256**width - 1)
    start = position(rng, max(len(data) - width, 1))
    start -= start % rng.choice((1, width))
    return data[:start] + value.to_bytes(width, rng.choice(("big", "little"))) + data[start + width :]


def nudge_integer(rng: random.Random, data: bytes) -> bytes:
    """A number that is a little more, less, double or half of what stood there."""
    width = rng.choice((1, 2, 4, 4, 8))
    start = position(rng, max(len(data) - width, 1))
    order = rng.choice(("big", "little"))
    was = int.from_bytes(data[start : start + width], order)
    value = rng.choice((was + 1, was - 1, was * 2, was // 2, was + 256)) % 256**width
    return data[:start] + value.to_bytes(width, order) + data[start + width :]


def truncate(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.choice((position(rng, len(data)), len(data) - rng.randint(1, 8)))]


def extend(rng: random.Random, data: bytes) -> bytes:
    count = rng.choice((1, 2, rng.randint(1, LONGEST)))
    return data + rng.choice((bytes(count), rng.randbytes(count), data[:count]))


def remove(rng: random.Random, data: bytes) -> bytes:
    where = stretch(rng, len(data))
    return data[: where.start] + data[where.stop :]


def repeat(rng: random.Random, data: bytes) -> bytes:
    where = stretch(rng, len(data))
    return data[: where.stop] + data[where][:LONGEST] * rng.choice((1, 2, 16)) + data[where.stop :]


def swap(rng: random.Random, data: bytes) -> bytes:
    """Two fields of one width change places."""
    width = rng.choice((1, 2, 4, 8, 32))
    first, second = sorted(position(rng, max(len(data) - width, 1)) for _ in range(2))
    if second < first + width:
        return data
    one, two = data[first : first + width], data[second : second + width]
    return data[:first] + two + data[first + width : second] + one + data[second + width :]


BYTES: tuple[Mutation, ...] = (
    *(flip_bits, flip_bits, set_bytes, put_integer, put_integer, nudge_integer),
    *(truncate, extend, remove, repeat, swap),
)


def bytes_mutation(rng: random.Random, data: bytes) -> bytes:
    return rng.choice(BYTES)(rng, data)


def splice(rng: random.Random, one: bytes, other: bytes) -> bytes:
    """The head of one file with the tail of another."""
    cut = position(rng, len(one))
    return one[:cut] + other[rng.choice((cut, position(rng, len(other)))) :]


# ---------------------------------------------------------------------------------------------- text


def text_mutation(rng: random.Random, data: bytes) -> bytes:
    """Damage to text: another number, a token that means something, lines mixed up, or any to its bytes."""
    kind = rng.randrange(5)
    if kind == 0:
        return _replace(rng, data, rb"-?\d+(?:\.\d+)?(?:e-?\d+)?", NUMBERS)
    if kind == 1:
        return _replace(rng, data, rb'"[^"\n]*"|true|false|\d+', (*TOKENS, *NUMBERS))
    if kind == 2:
        at = position(rng, len(data) + 1)
        return data[:at] + rng.choice(TOKENS).encode("utf-8") + data[at:]
    if kind == 3:
        return mix(rng, data.splitlines(keepends=True), bytes_mutation)
    return bytes_mutation(rng, data)


def _replace(rng: random.Random, data: bytes, pattern: bytes, by: Sequence[str]) -> bytes:
    found = list(re.finditer(pattern, data))
    if not found:
        return data
    match = rng.choice(found)
    return data[: match.start()] + rng.choice(by).encode("utf-8") + data[match.end() :]


def mix(rng: random.Random, parts: Sequence[bytes], mutation: Mutation) -> bytes:
    return b"".join(mixed(rng, parts, mutation))


def mixed(rng: random.Random, parts: Sequence[bytes], mutation: Mutation) -> list[bytes]:
    """Parts of a file of which one is damaged, left out, doubled, or has changed places with another."""
    if not parts:
        return []
    result, one, two = list(parts), rng.randrange(len(parts)), rng.randrange(len(parts))
    kind = rng.randrange(8)
    if kind == 0:
        del result[one]
    elif kind == 1:
        result.insert(two, result[one])
    elif kind == 2:
        result[one], result[two] = result[two], result[one]
    else:
        result[one] = mutation(rng, result[one])
    return result
