"""Memory of a generator in C: where each value lies in the scratch memory that the caller gives.

Values that are not needed at the same time share places. An operation that works in place gives its output the place of
its input, if that is not needed any more.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import prod

from minigan.export import graph as g

__all__ = ["Plan", "plan"]

IN_PLACE = (
    g.Activation,
    g.Affine,
    g.Scale,
    g.ConditionalAffine,
    g.GroupNorm,
    g.PixelNorm,
    g.Modulate,
    g.AddImage,
    g.Add,
    g.Blend,
    g.Attend,
)


@dataclass
class Block:
    """A stretch of memory, in use from one operation to another, both included."""

    size: int
    start: int
    end: int
    offset: int = -1


@dataclass
class Plan:
    """Places of a graph's values.

    Attributes:
        roots: for each value the one whose numbers it has: another shape moves none.
        offsets: of the roots that lie in the scratch memory, in float32 numbers.
        work: offsets of an operation's further memory, by its output.
        size: of the whole scratch memory.
        copies: values whose operation works on a copy of its first input, which is needed later, by the output.
    """

    roots: dict[int, int]
    offsets: dict[int, int] = field(default_factory=dict)
    work: dict[int, int] = field(default_factory=dict)
    size: int = 0
    copies: set[int] = field(default_factory=set)


def plan(graph: g.Graph, *, held: Iterable[int]) -> Plan:
    """Packs the values of a graph.

    Args:
        held: which of the network's input and condition lie in the scratch memory, too.
    """
    roots = _roots(graph)
    result = Plan(roots)
    last = {roots[value]: n for n, op in enumerate(graph.ops) for value in op.inputs}
    last[roots[graph.output]] = len(graph.ops)
    made = {value: Block(prod(graph.shape(value)), -1, last.get(value, -1)) for value in held}
    work: dict[int, Block] = {}
    for n, op in enumerate(graph.ops):
        if isinstance(op, g.Reshape):
            continue
        end, first = last.get(op.output, n), roots[op.inputs[0]]
        if isinstance(op, IN_PLACE) and first in made and first > g.CONDITION and last[first] == n:
            made[op.output] = made[first]
            made[first].end = end
        else:
            made[op.output] = Block(prod(op.shape), n, end)
            if isinstance(op, IN_PLACE):
                result.copies.add(op.output)
        if isinstance(op, g.Attend):
            work[op.output] = Block(prod(op.shape[:2]), n, n)
    blocks = list({id(block): block for block in (*made.values(), *work.values())}.values())
    _pack(blocks, min(ORDERS, key=lambda order: _pack(blocks, order)))
    result.size = max((block.offset + block.size for block in blocks), default=0)
    result.offsets = {value: block.offset for value, block in made.items()}
    result.work = {value: block.offset for value, block in work.items()}
    return result


def _roots(graph: g.Graph) -> dict[int, int]:
    """See `Plan`."""
    roots = {g.INPUT: g.INPUT, g.CONDITION: g.CONDITION}
    for op in graph.ops:
        roots[op.output] = roots[op.inputs[0]] if isinstance(op, g.Reshape) else op.output
    return roots


ORDERS: tuple[Callable[[Block], tuple[int, ...]], ...] = (
    lambda block: (-block.size, block.start),
    lambda block: (block.start, -block.size),
    lambda block: (block.start - block.end, -block.size),  # the longest in use first
)


def _pack(blocks: list[Block], order: Callable[[Block], tuple[int, ...]]) -> int:
    """Gives each block the lowest place that is free while it is in use; returns the size of all."""
    placed: list[Block] = []
    for block in sorted(blocks, key=order):
        others = [other for other in placed if other.start <= block.end and block.start <= other.end]
        block.offset = 0
        for other in sorted(others, key=lambda other: other.offset):
            if block.offset + block.size <= other.offset:
                break
            block.offset = max(block.offset, other.offset + other.size)
        placed.append(block)
    return max((block.offset + block.size for block in blocks), default=0)
