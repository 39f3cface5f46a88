"""Multiply-adds, counted by the loop oracles themselves."""

from types import SimpleNamespace

import naive
import numpy as np

from minigan.backends.geometry import ConvGeometry
from minigan.nn import Conv2D


class Counted:
    """A number that counts the multiplications it takes part in."""

    tally = SimpleNamespace(multiplications=0, conversions=0)

    def __mul__(self, other):
        self.tally.multiplications += 1
        return 0.0

    def __float__(self):
        self.tally.conversions += 1
        return 0.0


def counted(*shape):
    array = np.empty(shape, dtype=object)
    array[...] = Counted()
    return array


def multiply_adds(f, *arguments, **options):
    """The count of an oracle's: it multiplies such numbers, or first makes floats of both factors."""
    Counted.tally.multiplications = Counted.tally.conversions = 0
    f(*arguments, **options)
    return Counted.tally.multiplications or Counted.tally.conversions // 2


def padded(g: ConvGeometry) -> ConvGeometry:
    """The same convolution of an image to which the zeros around it belong: so their taps count, too."""
    return ConvGeometry(g.H + sum(g.padding[0]), g.W + sum(g.padding[1]), g.C, g.K, g.R, g.S, g.stride)


def oracle_counts(layer: Conv2D, batch: int) -> dict[str, int]:
    """The loop oracle's multiply-adds for each pass of one group; of a filter with gaps the taps alone."""
    g = layer.geometry
    C, K = g.C // layer.groups, g.K // layer.groups
    (R, S), (down, across) = layer.filter, layer.dilation
    whole = padded(g)
    found = dict.fromkeys(("y", "dx", "dw"), 0)
    for r, s in np.ndindex(R, S):  # a 1x1 filter for each tap, at its place
        rows, columns = (g.P - 1) * g.stride[0] + 1, (g.Q - 1) * g.stride[1] + 1
        assert r * down + rows <= whole.H
        assert s * across + columns <= whole.W
        one = ConvGeometry(rows, columns, C, K, 1, 1, g.stride)
        images, results = counted(batch, *one.input_shape), counted(batch, *one.output_shape)
        w = counted(*one.weight_shape)
        passes = {
            "conv2d": multiply_adds(naive.conv2d, images, w, None, one),
            "conv2d_input_grad": multiply_adds(naive.conv2d_input_grad, results, w, one),
            "conv2d_weight_grad": multiply_adds(naive.conv2d_weight_grad, images, results, one),
        }
        for name, kernel in zip(found, layer.PASSES, strict=True):
            found[name] += layer.groups * passes[kernel]
    return found
