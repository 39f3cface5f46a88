"""Short convolutions with few multiplications, constructed exactly (Toom 1963, Cook 1966, Winograd 1980).

A polynomial of degree n - 1 is known from its values at n points. So the product d of two polynomials, h with m
coefficients and g with r, needs only n = m + r - 1 multiplications: evaluate both at n points, multiply value by value,
interpolate. Of the m * r multiplications of the schoolbook no more are left; what is new are additions, and
multiplications by small constants:

    d = B ((A h) * (G g))              A (n, m) and G (n, r) evaluate, B (n, n) interpolates

That is one axis of an input gradient: dy's tile h times the filter g. The sum of d * (h times g) is linear in each of
the three; its derivatives are the other two kernels, with the same three matrices, transposed:

    h = A^T ((B^T d) * (G g))          the convolution: m outputs from n pixels, called F(m, r)
    g = G^T ((B^T d) * (A h))          the weight gradient

In two dimensions each matrix is applied to rows, then to columns, and n * n products do the work of m * m * r * r.

Source: Lavin & Gray 2016, "Fast algorithms for convolutional neural networks", sections 4 and 5.
"""

import functools
from fractions import Fraction
from typing import NamedTuple

Matrix = tuple[tuple[Fraction, ...], ...]

# Small points first: rounding errors grow with their powers. A point and its negative inverse balance each other: with
# 2 and -2 in place of the last two, F(4, 3) is off by half as much again.
POINTS = (Fraction(0), Fraction(1), Fraction(-1), Fraction(-1, 2), Fraction(2))


def transpose(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))


def _evaluate(points: tuple[Fraction, ...], size: int) -> Matrix:
    """The values at the points, and "at infinity" (the leading coefficient), from the coefficients."""
    infinity = (*[Fraction(0)] * (size - 1), Fraction(1))
    return (*(tuple(p**j for j in range(size)) for p in points), infinity)


def _times(a: tuple[Fraction, ...], b: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    """The product of two polynomials, lowest coefficients first."""
    product = [Fraction(0)] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            product[i + j] += x * y
    return tuple(product)


class Matrices(NamedTuple):
    """With n = m + r - 1."""

    a: Matrix  # (n, m)
    b: Matrix  # (n, n)
    g: Matrix  # (n, r)


@functools.cache
def matrices(m: int, r: int) -> Matrices:
    """A, B and G with d = B ((A h) * (G g)) for all h of m and g of r coefficients.

    Lagrange's interpolation has the column prod_{j != i} (x - p_j) / (p_i - p_j) for each point p_i. The denominators
    go to G, which then carries all fractions but those of the points, and infinity's column is prod_j (x - p_j).
    """
    points = POINTS[: m + r - 2]
    columns, denominators = [], []
    for p in points:
        column: tuple[Fraction, ...] = (Fraction(1),)
        denominator = Fraction(1)
        for q in points:
            if q != p:
                column, denominator = _times(column, (-q, Fraction(1))), denominator * (p - q)
        columns.append((*column, Fraction(0)))
        denominators.append(denominator)
    infinity: tuple[Fraction, ...] = (Fraction(1),)
    for q in points:
        infinity = _times(infinity, (-q, Fraction(1)))
    interpolate = transpose((*columns, infinity))
    filters = tuple(
        tuple(value / denominator for value in row)
        for row, denominator in zip(_evaluate(points, r), (*denominators, Fraction(1)), strict=True)
    )
    return Matrices(_evaluate(points, m), interpolate, filters)
