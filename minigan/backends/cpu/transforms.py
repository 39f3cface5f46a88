"""The matrices of `toom.py` as vector instructions.

A transform takes a small square of pixels to a small square, matrix times square times transposed matrix, for as many
channels at once as a vector has lanes. The matrices are constants of the compiled code: an entry of 0 costs nothing,
one of 1 an addition. So they must be known from the arguments' types, and `Scheme` is an argument that is nothing but
its type.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core.datamodel import models
from numba.extending import NativeValue, register_model, typeof_impl, unbox

from minigan.backends.cpu import toom
from minigan.backends.cpu.simd import (
    _INDEX,
    _load_lanes,
    _load_row,
    _multiply_add,
    _pointer,
    _prefetch,
    _store_lanes,
    _store_row,
    _vector,
    intrinsic,
)


@dataclass(frozen=True, slots=True)
class Scheme:
    """Squares of m x m outputs of an r x r filter, from squares of n x n pixels, n = m + r - 1, at points x points points.

    Attributes:
        parts: outputs of each of the short convolutions in a row: (4,) is F(4, r), (4, 3) is F(4, r) beside F(3, r).
    """

    parts: tuple[int, ...]
    r: int

    @property
    def m(self) -> int:
        return sum(self.parts)

    @property
    def n(self) -> int:
        return self.m + self.r - 1

    @property
    def points(self) -> int:
        """Points of one axis."""
        return sum(part + self.r - 1 for part in self.parts)


class SchemeType(types.Type):
    def __init__(self, scheme: Scheme) -> None:
        self.scheme = scheme
        super().__init__(name=f"Scheme({scheme.parts}, {scheme.r})")


@typeof_impl.register(Scheme)
def _typeof_scheme(scheme, _context):
    return SchemeType(scheme)


register_model(SchemeType)(models.OpaqueModel)


@unbox(SchemeType)
def _unbox_scheme(_scheme_type, _object, c):
    return NativeValue(c.context.get_dummy_value())


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


class Inside(NamedTuple):
    """What of a square lies inside an image: rows top, ..., bottom - 1 and columns left, ..., right - 1 of the square.

    Outside it reads as zeros, and nothing is written.
    """

    top: int
    bottom: int
    left: int
    right: int


EVERYWHERE = Inside(0, 1 << 30, 0, 1 << 30)


class _Square:
    """The vectors of a square in an array: row i, column j at array[at + i * row + j * column]."""

    def __init__(self, context, builder, array_type, array, at, row, column):
        self.builder, self.dtype, self.row, self.column = builder, array_type.dtype, row, column
        self.first = _pointer(context, builder, array_type, array, at)

    def address(self, i, j):
        row = self.builder.mul(self.row, ir.Constant(_INDEX, i))
        column = self.builder.mul(self.column, ir.Constant(_INDEX, j))
        return self.builder.gep(self.first, [self.builder.add(row, column)])

    def load(self, i, j):
        return _load_row(self.builder, self.dtype, self.address(i, j), 1)[0]

    def store(self, i, j, vector):
        _store_row(self.builder, self.dtype, self.address(i, j), [vector])


class _Image(_Square):
    """A square of an image, of which only what is inside, and `count` channels, may be touched."""

    def __init__(self, context, builder, array_type, array, at, row, column, inside, count, size):
        super().__init__(context, builder, array_type, array, at, row, column)
        self.size = size
        self.top, self.bottom, self.left, self.right = (builder.extract_value(inside, i) for i in range(4))
        self.count = count
        lanes = ir.Constant(_INDEX, _vector(self.dtype).count)
        self.whole = builder.icmp_signed(">=", count, lanes)
        for edge, there in ((self.top, "<="), (self.left, "<=")):
            self.whole = builder.and_(self.whole, builder.icmp_signed(there, edge, ir.Constant(_INDEX, 0)))
        for edge in (self.bottom, self.right):
            self.whole = builder.and_(self.whole, builder.icmp_signed(">=", edge, ir.Constant(_INDEX, size)))

    def lanes(self, i, j):
        """How many lanes of a vector are there."""
        there = None
        for number, first, last in ((i, self.top, self.bottom), (j, self.left, self.right)):
            for operator, edge in (("<=", first), (">", last)):
                inside = self.builder.icmp_signed(operator, edge, ir.Constant(_INDEX, number))
                there = inside if there is None else self.builder.and_(there, inside)
        return self.builder.select(there, self.count, ir.Constant(_INDEX, 0))

    def load_column(self, j):
        """The vectors of one column, which the transform of the other axis needs together."""
        with self.builder.if_else(self.whole) as (then, otherwise):
            with then:
                plain, from_plain = [self.load(i, j) for i in range(self.size)], self.builder.block
            with otherwise:
                masked = [
                    _load_lanes(self.builder, self.dtype, self.address(i, j), self.lanes(i, j), 1)[0]
                    for i in range(self.size)
                ]
                from_masked = self.builder.block
        return [_either(self.builder, pair, from_plain, from_masked) for pair in zip(plain, masked, strict=True)]

    def store_rows(self, rows, accumulate):
        """Writes, or adds, a square of vectors."""
        with self.builder.if_else(self.whole) as (then, otherwise):
            with then:
                for i, j, vector in _numbered(rows):
                    self.store(i, j, self.builder.fadd(self.load(i, j), vector) if accumulate else vector)
            with otherwise:
                for i, j, vector in _numbered(rows):
                    address, lanes = self.address(i, j), self.lanes(i, j)
                    if accumulate:
                        (old,) = _load_lanes(self.builder, self.dtype, address, lanes, 1)
                        vector = self.builder.fadd(old, vector)
                    _store_lanes(self.builder, self.dtype, address, [vector], lanes)


def _either(builder, vectors, *blocks):
    result = builder.phi(vectors[0].type)
    for vector, block in zip(vectors, blocks, strict=True):
        result.add_incoming(vector, block)
    return result


def _numbered(rows):
    """(i, j, vector) of all the rows' vectors."""
    return ((i, j, vector) for i, row in enumerate(rows) for j, vector in enumerate(row))


def _matrix(scheme, name, transposed):
    matrix = getattr(toom.chained(scheme.parts, scheme.r), name)
    return toom.transpose(matrix) if transposed else matrix


def _apply(builder, matrix, columns):
    """Matrix times square times transposed matrix; the square's columns come one by one."""
    half = []
    for column in columns:
        half.append([_combine(builder, column[0].type, each, column) for each in matrix])
    return [
        [_combine(builder, line[0].type, each, line) for each in matrix] for line in zip(*half, strict=True)
    ]


def _to_points(summary: str, name: str, *, transposed: bool = False) -> Any:
    """An intrinsic that transforms a square of an image to points [point, row by row][..., lane].

    Args of what it makes:
        points, to, step: where the first point goes, and how far on the next.
        image, at, row, column, inside, count: see `_Image`.
        ahead: how far from here lies the square of the image to ask the memory for.
    """

    def transform(_typing, scheme, points, to, step, image, at, row, column, inside, count, ahead):
        matrix = _matrix(scheme.scheme, name, transposed)

        def emit(context, builder, signature, arguments):
            _, points_type, _, _, image_type, *_ = signature.args
            _, points, to, step, image, at, row, column, inside, count, ahead = arguments
            size = len(matrix[0])
            square = _Image(context, builder, image_type, image, at, row, column, inside, count, size)
            fresh = scheme.scheme.m if name == "b" else size  # rows and columns that the next square does not ask for
            result = _apply(builder, matrix, (square.load_column(j) for j in range(size)))
            there = _Square(context, builder, image_type, image, builder.add(at, ahead), row, column)
            for i in range(fresh):
                for j in range(fresh):
                    _prefetch(builder, there.address(i, j))
            goal = _Square(
                context, builder, points_type, points, to, builder.mul(step, ir.Constant(_INDEX, len(matrix))), step
            )
            for i, j, vector in _numbered(result):
                goal.store(i, j, vector)
            return context.get_dummy_value()

        return types.void(scheme, points, to, step, image, at, row, column, inside, count, ahead), emit

    transform.__doc__ = summary
    return intrinsic(transform)


def _from_points(summary: str, name: str, *, transposed: bool = False, accumulate: bool = False) -> Any:
    """An intrinsic that transforms points back and writes, or adds, them to a square of an image.

    Args of what it makes: as in `_to_points`, and
        start, start_at: a vector to add everywhere.
    """

    def transform(_typing, scheme, image, at, row, column, inside, count, points, from_at, step, start, start_at):
        matrix = _matrix(scheme.scheme, name, transposed)

        def emit(context, builder, signature, arguments):
            image_type, points_type, start_type = signature.args[1], signature.args[7], signature.args[10]
            _, image, at, row, column, inside, count, points, from_at, step, start, start_at = arguments
            size = len(matrix[0])
            line = builder.mul(step, ir.Constant(_INDEX, size))
            source = _Square(context, builder, points_type, points, from_at, line, step)
            rows = _apply(builder, matrix, ([source.load(i, j) for i in range(size)] for j in range(size)))
            if not accumulate:
                (more,) = _load_row(
                    builder, start_type.dtype, _pointer(context, builder, start_type, start, start_at), 1
                )
                rows = [[builder.fadd(vector, more) for vector in row] for row in rows]
            square = _Image(context, builder, image_type, image, at, row, column, inside, count, len(matrix))
            square.store_rows(rows, accumulate)
            return context.get_dummy_value()

        arguments = scheme, image, at, row, column, inside, count, points, from_at, step, start, start_at
        return types.void(*arguments), emit

    transform.__doc__ = summary
    return intrinsic(transform)


pixels_to_points = _to_points("B^T d B: n x n pixels of an image.", "b", transposed=True)
outputs_to_points = _to_points("A h A^T: m x m outputs of a convolution.", "a")
taps_to_points = _to_points("G g G^T: r x r taps of a filter.", "g")
points_to_outputs = _from_points("A^T h A: m x m outputs of a convolution.", "a", transposed=True)
points_to_pixels = _from_points("Adds B d B^T to n x n pixels of an image.", "b", accumulate=True)
points_to_taps = _from_points("Adds G^T g G to r x r taps of a filter.", "g", transposed=True, accumulate=True)
