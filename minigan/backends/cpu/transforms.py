"""The matrices of `toom.py` as vector instructions.

A transform takes a small square of pixels to a small square, matrix times square times transposed matrix, for as many
channels at once as a vector has lanes. The matrices are constants of the compiled code: an entry of 0 costs nothing,
one of 1 an addition. So they must be known from the arguments' types, and `Scheme` is an argument that is nothing but
its type.
"""

from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types

from minigan.backends.cpu import toom
from minigan.backends.cpu.simd import _INDEX, _multiply_add, _pointer, _vector, intrinsic
from minigan.backends.cpu.static import static


@static
@dataclass(frozen=True, slots=True)
class Scheme:
    """F(m x m, r x r): m x m outputs of an r x r filter from one square of n x n numbers, n = m + r - 1."""

    m: int
    r: int

    @property
    def n(self) -> int:
        return self.m + self.r - 1


def _combine(builder, vector_type, coefficients, vectors):
    """The sum of coefficients times vectors, beginning with a plain one."""
    terms = [(float(c), vector) for c, vector in zip(coefficients, vectors, strict=True) if c]
    terms.sort(key=lambda term: (term[0] != 1, abs(term[0]) != 1))
    total = None
    for coefficient, vector in terms:
        constant = ir.Constant(vector_type, [coefficient] * vector_type.count)
        if total is None:
            total = vector if coefficient == 1 else builder.fmul(constant, vector)
        elif abs(coefficient) == 1:
            total = builder.fadd(total, vector) if coefficient == 1 else builder.fsub(total, vector)
        else:
            total = _multiply_add(builder, constant, vector, total)
    return total


def _transform(summary: str, name: str, *, transposed: bool = False, accumulate: bool = False) -> Any:
    """An intrinsic that applies one of the scheme's matrices to both axes of a square.

    Row i and column j of the square are a vector at source[at + i * row + j * column]; likewise for where it goes to.
    """

    def transform(_typing, scheme, to, to_at, to_row, to_column, source, at, row, column):
        matrix = getattr(toom.matrices(scheme.value.m, scheme.value.r), name)
        matrix = toom.transpose(matrix) if transposed else matrix

        def emit(context, builder, signature, arguments):
            _, to_type, _, _, _, source_type, _, _, _ = signature.args
            _, to, to_at, to_row, to_column, source, at, row, column = arguments
            vector_type, align = _vector(to_type.dtype), to_type.dtype.bitwidth // 8

            def addresses(array_type, array, at, row, column, rows, columns):
                first = _pointer(context, builder, array_type, array, at)
                for i in range(rows):
                    begin = builder.gep(first, [builder.mul(row, ir.Constant(_INDEX, i))])
                    yield [
                        builder.bitcast(
                            builder.gep(begin, [builder.mul(column, ir.Constant(_INDEX, j))]), vector_type.as_pointer()
                        )
                        for j in range(columns)
                    ]

            size_to, size = len(matrix), len(matrix[0])
            square = [
                [builder.load(address, align=align) for address in line]
                for line in addresses(source_type, source, at, row, column, size, size)
            ]
            half = [[_combine(builder, vector_type, each, column) for column in zip(*square, strict=True)]
                    for each in matrix]  # fmt: skip
            for line, addresses_to in zip(
                half, addresses(to_type, to, to_at, to_row, to_column, size_to, size_to), strict=True
            ):
                for each, address in zip(matrix, addresses_to, strict=True):
                    result = _combine(builder, vector_type, each, line)
                    if accumulate:
                        result = builder.fadd(builder.load(address, align=align), result)
                    builder.store(result, address, align=align)
            return context.get_dummy_value()

        return types.void(scheme, to, to_at, to_row, to_column, source, at, row, column), emit

    transform.__doc__ = summary
    return intrinsic(transform)


pixels_to_points = _transform("B^T d B: n x n pixels of an image.", "b", transposed=True)
points_to_pixels = _transform("Adds B d B^T to n x n pixels of an image.", "b", accumulate=True)
outputs_to_points = _transform("A h A^T: m x m outputs of a convolution.", "a")
points_to_outputs = _transform("A^T h A: m x m outputs of a convolution.", "a", transposed=True)
taps_to_points = _transform("G g G^T: r x r taps of a filter.", "g")
points_to_taps = _transform("G^T g G: r x r taps of a filter.", "g", transposed=True)
