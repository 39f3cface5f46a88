"""A network's steps captured as a graph, next to the same steps without one."""

import numpy as np
from calling import assert_same_bits

from minigan.backends import Backend
from minigan.nn import Sequential


def assert_captured_steps_agree(network: Sequential, backend: Backend, *, images: int) -> None:
    """Forward and backward on three batches: a graph launched again gives the bits of eager steps.

    A graph computes on its own memory, so parts of sums have to be there at each launch.
    """
    grads, graphs, data = network.gradients(), backend.step_graphs(), np.random.default_rng(1)
    batches = [data.standard_normal((images, *network.input_shape)).astype(np.float32) for _ in range(3)]

    def step(x):
        y, tape = network.forward(x, train=True)
        grads.zero()
        network.backward(y, tape, grads=grads, need_dx=False)
        return y.sum()

    wanted = [float(step(backend.asarray(batch))) for batch in batches]
    gradients = backend.to_numpy(grads.flat)
    queue = iter(batches)
    found = [float(graphs.run((), lambda: step(backend.feed(lambda: next(queue))))) for _ in batches]
    assert found == wanted
    assert_same_bits(backend.to_numpy(grads.flat), gradients)
