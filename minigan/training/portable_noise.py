"""Portable noise: the same z from a seed in Python, C and JavaScript, to rounding.

Each number is a function of the seed, of the sample that it belongs to, and of its place there: sample 7 needs no other
before it. Words are those of Threefry-2x32 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), which
takes sums, rotations and exclusive ors of 32-bit words alone; they are the same everywhere, bit for bit. A word gives a
uniform number that float32 holds exactly, and Wichura's rational functions (1988, algorithm AS 241, PPND7) make it
normal, with a relative error of 1e-7. docs/embedding.md has the definition, and numbers to test another language with.

The NumPy export copies these functions: each needs NumPy and the others alone.
"""

import numpy as np

__all__ = ["MOST_SEEDS", "inverse_normal", "portable_classes", "portable_normals", "portable_uniforms", "random_words"]

MOST_SEEDS = 2**64


def random_words(seed: int, sample: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two random words of 32 bits for each sample and place: Threefry-2x32 with 20 rounds.

    Args:
        seed: 64 bits, the key.
        sample, place: uint32 arrays of one shape, the counter.
    """
    low, high = seed % 2**32, seed // 2**32
    keys = (low, high, low ^ high ^ 0x1BD11BDA)
    a, b = place + np.uint32(low), sample + np.uint32(high)
    for turn in range(5):
        for bits in ((13, 15, 26, 6), (17, 29, 16, 24))[turn % 2]:
            a = a + b
            b = (b << np.uint32(bits) | b >> np.uint32(32 - bits)) ^ a
        a = a + np.uint32(keys[(turn + 1) % 3])
        b = b + np.uint32(keys[(turn + 2) % 3]) + np.uint32(turn + 1)
    return a, b


def portable_uniforms(seed: int, count: int, size: int) -> np.ndarray:
    """Numbers (count, size) from (0, 1), float64: odd multiples of 2**-24, which float32 holds exactly."""
    place, sample = np.arange((size + 1) // 2, dtype=np.uint32), np.arange(count, dtype=np.uint32)
    pairs = np.stack(random_words(seed, *np.broadcast_arrays(sample[:, None], place)), axis=-1)
    words = pairs.reshape(count, 2 * place.size)[:, :size]
    return (2.0 * (words >> np.uint32(9)) + 1) / 2**24


def inverse_normal(p: np.ndarray) -> np.ndarray:
    """The number below which N(0, 1) falls with probability p, for p from 2**-24 to 1 - 2**-24."""
    q = p - 0.5
    r = 0.180625 - q * q
    z = ((59.10937472 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179
    center = q * z / (((67.1875636 * r + 78.757757664) * r + 17.895169469) * r + 1)
    t = np.sqrt(-np.log(np.minimum(p, 1 - p))) - 1.6
    z = ((0.17023821103 * t + 1.3067284816) * t + 2.75681539) * t + 1.4234372777
    tail = z / ((0.12021132975 * t + 0.7370016425) * t + 1)
    return np.where(np.abs(q) <= 0.425, center, np.copysign(tail, q))


def portable_normals(seed: int, count: int, size: int) -> np.ndarray:
    """Noise (count, size) from N(0, 1), float64; the first samples are the same, however many are drawn."""
    return inverse_normal(portable_uniforms(seed, count, size))


def portable_classes(seed: int, count: int, classes: int) -> np.ndarray:
    """A random class for each sample, int64 (count,): from the word at the last place, which no z reaches."""
    sample = np.arange(count, dtype=np.uint32)
    word, _ = random_words(seed, sample, np.full(count, 2**32 - 1, np.uint32))
    return word.astype(np.int64) * classes >> 32
