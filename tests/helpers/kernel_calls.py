"""One call of every kernel, as data."""

import numpy as np
from calling import draws

from minigan.backends.base import KERNELS
from minigan.backends.geometry import conv_geometry

GEOMETRY = conv_geometry((9, 10, 5), 18, (3, 4), (2, 1), "same")
X, W, Y = (3, *GEOMETRY.input_shape), GEOMETRY.weight_shape, (3, *GEOMETRY.output_shape)
ADAM = {"lr": 0.1, "beta1": 0.5, "beta2": 0.9, "eps": 1e-8, "step": 2}

# kernel: shapes of its arrays, what else it takes by position, its options, shapes of what it adds to.
CALLS = {
    "conv2d": ([X, W, (18,)], (GEOMETRY,), {}, None),
    "conv2d_leaky_relu": ([X, W, (18,)], (GEOMETRY,), {"slope": 0.2}, None),
    "conv2d_input_grad": ([Y, W], (GEOMETRY,), {}, None),
    "conv2d_weight_grad": ([X, Y], (GEOMETRY,), {}, W),
    "matmul": ([(7, 33), (33, 18)], (), {}, None),
    "batched_matmul": ([(3, 7, 33), (3, 33, 18)], (), {}, None),
    "dense_grad": ([(7, 18), (7, 33), (33, 18)], (), {}, ((33, 18), (18,))),
    "channel_sum": ([(5, 6, 7, 9)], (), {}, (9,)),
    "batchnorm": ([(12, 9), (9,), (9,)], (), {"eps": 1e-5}, None),
    "batchnorm_grad": ([(12, 9), (12, 9), *[(9,)] * 3], (), {"eps": 1e-5}, ((9,), (9,))),
    "batchnorm_double_grad": ([*[(12, 9)] * 3, *[(9,)] * 3], (), {"eps": 1e-5}, (9,)),
    "batchnorm_frozen": ([(12, 9), *[(9,)] * 4], (), {"eps": 1e-5}, None),
    "batchnorm_frozen_leaky_relu": ([(12, 9), *[(9,)] * 4], (), {"eps": 1e-5, "slope": 0.2}, None),
    "batchnorm_frozen_grad": ([(12, 9), (12, 9), *[(9,)] * 3], (), {"eps": 1e-5}, ((9,), (9,))),
    "group_norm": ([(3, 2, 4, 9), (9,), (9,)], (), {"groups": 3, "eps": 1e-5}, None),
    "group_norm_grad": ([*[(3, 2, 4, 9)] * 2, (9,), *[(3, 3)] * 2], (), {"eps": 1e-5}, ((9,), (9,))),
    "group_norm_double_grad": ([*[(3, 2, 4, 9)] * 3, (9,), *[(3, 3)] * 2], (), {"eps": 1e-5}, (9,)),
    "dense_leaky_relu": ([(7, 33), (33, 18), (18,)], (), {"slope": 0.2}, None),
    "dense_leaky_relu_grad": (
        [(7, 18), (7, 33), (33, 18), (7, 18)], (), {"slope": 0.2}, ((33, 18), (18,))
    ),
    "batchnorm_leaky_relu": ([(12, 9), (9,), (9,)], (), {"eps": 1e-5, "slope": 0.2}, None),
    "batchnorm_leaky_relu_grad": (
        [(12, 9), (12, 9), *[(9,)] * 4], (), {"eps": 1e-5, "slope": 0.2}, ((9,), (9,))
    ),
    "leaky_relu": ([(6, 35)], (), {"slope": 0.2}, None),
    "leaky_relu_grad": ([(6, 35), (6, 35)], (), {"slope": 0.2}, None),
    "tanh": ([(6, 35)], (), {}, None),
    "tanh_grad": ([(6, 35), (6, 35)], (), {}, None),
    "sigmoid": ([(6, 35)], (), {}, None),
    "sigmoid_grad": ([(6, 35), (6, 35)], (), {}, None),
    "maxout": ([(6, 35)], (), {"pieces": 5}, None),
    "maxout_grad": ([(6, 7), (6, 35), (6, 7)], (), {"pieces": 5}, None),
    "upsample_nearest": ([(2, 3, 4, 9)], (), {"factor": (2, 3)}, None),
    "upsample_nearest_grad": ([(2, 6, 12, 9)], (), {"factor": (2, 3)}, None),
    "reflect_pad": ([(2, 3, 4, 9)], (), {"padding": ((2, 1), (0, 3))}, None),
    "reflect_pad_grad": ([(2, 6, 7, 9)], (), {"padding": ((2, 1), (0, 3))}, None),
    "depth_to_space": ([(2, 3, 4, 18)], (), {"factor": (2, 3)}, None),
    "space_to_depth": ([(2, 6, 12, 3)], (), {"factor": (2, 3)}, None),
    "scale_channels": ([(3, 2, 4, 9), (3, 9)], (), {}, None),
    "scale_channels_grad": ([(3, 2, 4, 9), (3, 2, 4, 9), (3, 9)], (), {}, None),
    "noise_leaky_relu": ([(3, 2, 4, 9), (3, 2, 4, 1), (1,), (9,)], (), {"slope": 0.2, "gain": 1.5}, None),
    "noise_leaky_relu_grad": (
        [(3, 2, 4, 9), (3, 2, 4, 9), (3, 2, 4, 1)], (), {"slope": 0.2, "gain": 1.5}, ((1,), (9,)),
    ),
    "dropout_mask": ([], (), {}, None),
    "adam_step": ([(77,)] * 4, (), ADAM, None),
    "sgd_step": ([(77,)] * 3, (), {"lr": 0.1, "momentum": 0.9}, None),
    "rmsprop_step": ([(77,)] * 3, (), {"lr": 0.1, "decay": 0.9, "eps": 1e-8}, None),
    "ema_step": ([(77,)] * 2, (), {"decay": 0.9}, None),
    "clip_norm": ([(77,)], (), {"limit": 3.0}, None),
    "clip_value": ([(77,)], (), {"limit": 0.7}, None),
}  # fmt: skip
IN_PLACE = ("adam_step", "sgd_step", "rmsprop_step", "ema_step", "clip_norm", "clip_value")
RETURNING = [kernel for kernel in KERNELS if kernel not in (*IN_PLACE, "dropout_mask")]


def inputs_of(kernel: str, dtype: np.dtype, seed: int):
    """Arguments and options for one call; every array positive where it stands for a variance."""
    shapes, others, options, sums = CALLS[kernel]
    arrays = draws(seed, dtype, *shapes)
    if "norm" in kernel or kernel in IN_PLACE:
        arrays = (*arrays[:-1], np.abs(arrays[-1]) + dtype.type(0.5))
    if sums is not None:
        nested = isinstance(sums[0], tuple)
        before = draws(seed + 1, dtype, *(sums if nested else [sums]))
        options = {**options, "add_to": before if nested else before[0]}
    return (*arrays, *others), options
