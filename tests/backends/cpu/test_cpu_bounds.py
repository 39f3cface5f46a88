"""Compiled loops check no bounds, so the kernels refuse arrays that do not belong together."""

import numpy as np
import pytest

from minigan.backends import get_backend
from minigan.backends.geometry import conv_geometry
from minigan.errors import DTypeError, ShapeError

GEOMETRY = conv_geometry((8, 8, 16), 4, (3, 3), (1, 1), "same")


def array(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


CALLS = {
    "conv2d, channels": lambda b: b.conv2d(array(4, 8, 8, 32), array(3, 3, 16, 4), None, GEOMETRY),
    "conv2d, size": lambda b: b.conv2d(array(4, 6, 6, 16), array(3, 3, 16, 4), None, GEOMETRY),
    "conv2d, weights": lambda b: b.conv2d(array(4, 8, 8, 16), array(3, 3, 16, 8), None, GEOMETRY),
    "conv2d_input_grad": lambda b: b.conv2d_input_grad(array(4, 8, 8, 5), array(3, 3, 16, 4), GEOMETRY),
    "conv2d_weight_grad": lambda b: b.conv2d_weight_grad(
        array(4, 8, 8, 16), array(3, 8, 8, 4), GEOMETRY, add_to=array(3, 3, 16, 4)
    ),
    "dense_grad": lambda b: b.dense_grad(array(4, 8), array(3, 5), array(5, 8), add_to=None),
    "dense_leaky_relu": lambda b: b.dense_leaky_relu(array(4, 5), array(6, 8), None, slope=0.2),
    "dense_leaky_relu, bias": lambda b: b.dense_leaky_relu(array(4, 5), array(5, 8), array(7), slope=0.2),
    "dense_leaky_relu_grad": lambda b: b.dense_leaky_relu_grad(
        array(4, 8), array(4, 5), array(5, 8), array(4, 7), slope=0.2, add_to=None
    ),
    "dense_leaky_relu_grad, sums": lambda b: b.dense_leaky_relu_grad(
        array(4, 8), array(4, 5), array(5, 8), array(4, 8), slope=0.2, add_to=(array(5, 7), array(8))
    ),
    "leaky_relu_grad": lambda b: b.leaky_relu_grad(array(2, 50), array(40, 50), slope=0.2),
    "tanh_grad": lambda b: b.tanh_grad(array(1, 5), array(2, 5)),
    "sigmoid_grad": lambda b: b.sigmoid_grad(array(5), array(2, 5)),
    "batchnorm_grad": lambda b: b.batchnorm_grad(
        array(2, 5), array(9, 5), array(5), array(5), array(5), eps=1e-5, add_to=None
    ),
    "batchnorm_frozen_grad": lambda b: b.batchnorm_frozen_grad(
        array(2, 5), array(9, 5), array(5), array(5), array(5), eps=1e-5, add_to=None
    ),
    "adam_step": lambda b: b.adam_step(
        array(64), array(32), array(64), array(64), lr=1e-3, beta1=0.5, beta2=0.9, eps=1e-8, step=1
    ),
    "sgd_step": lambda b: b.sgd_step(array(64), array(64), array(32), lr=1e-3, momentum=0.9),
    "rmsprop_step": lambda b: b.rmsprop_step(array(64), array(64), array(32), lr=1e-3, decay=0.9, eps=1e-8),
    "ema_step": lambda b: b.ema_step(array(32), array(64), decay=0.9),
}


@pytest.mark.parametrize("name", CALLS)
def test_sizes_that_disagree_are_refused(name):
    with pytest.raises(ShapeError, match=r"\w+: expected shape \(.*\), got \(.*\)"):
        CALLS[name](get_backend("cpu"))


def test_dtypes_that_disagree_are_refused():
    backend = get_backend("cpu")
    with pytest.raises(DTypeError, match="x: expected dtype float32 as in the other arrays, got float64"):
        backend.conv2d(array(4, 8, 8, 16, dtype=np.float64), array(3, 3, 16, 4), None, GEOMETRY)
    with pytest.raises(DTypeError, match="dw: expected dtype float32"):
        backend.sgd_step(array(4), array(4, dtype=np.float64), array(4), lr=0.1, momentum=0.0)
