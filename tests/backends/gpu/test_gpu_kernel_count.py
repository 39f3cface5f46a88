"""The number of kernels in a captured step: small ones wait for each other longer than they run."""

import collections
import itertools
from typing import ClassVar

import cuda_on_cpu
import fake_cupy
import numpy as np
import pytest
from fake_cuda import DEVICE

from minigan.backends import get_backend
from minigan.cli.measurements import MODELS
from minigan.training.stepper import Stepper

MULTIPROCESSORS = 132  # an H100's or H200's, so that products are cut as there


class Counted:
    """As `cupy.RawModule`, for kernels that do nothing; the names of those in a captured step."""

    names: ClassVar[collections.Counter[str]] = collections.Counter()

    def __init__(self, **_: object) -> None:
        pass

    def get_function(self, name: str):
        def launch(*_: object, **__: object) -> None:
            if DEVICE.graph is not None:
                self.names[name] += 1
            DEVICE.compute(lambda: None, writes=True, memory=[])

        return launch


@pytest.fixture
def step(monkeypatch):
    """A captured step of DCGAN-64: all that its graph does, and how often each kernel of our own."""
    monkeypatch.setattr(cuda_on_cpu, "RawModule", Counted)
    Counted.names.clear()
    with fake_cupy.installed(), np.errstate(all="ignore"):
        backend = get_backend("gpu")
        backend.multiprocessors = MULTIPROCESSORS
        recipe, shape = MODELS["dcgan64"]
        learner = recipe.assemble(shape, backend=backend, rng=np.random.default_rng(0))
        images = np.zeros((4, *shape), np.float32)
        batches = itertools.repeat(recipe.batch(images, np.random.default_rng(1)))
        stepper = Stepper(learner, batches, np.random.default_rng(1))
        stepper.step()
        stepper.step()
        (graph,) = stepper._graphs._graphs.values()
        yield len(graph._graph.operations), Counted.names


def test_a_step_of_dcgan64_has_half_the_kernels_that_it_first_had(step):
    """346 in the first version, of which 90 moved running statistics."""
    everything, names = step
    assert everything <= 346 // 2 + 10
    assert names["move_statistics"] == 10  # a layer of D twice, of G once
    assert names["clear_unless_below"] <= 8
    assert everything - names.total() <= 20


def test_a_pass_over_a_layer_is_one_kernel(step):
    """The sums of a normalization are finished by the kernel that makes them."""
    _, names = step
    assert names["moments"] == names["normalize"] == 13
    assert names["gradient_sums"] == names["input_gradient"] == 13
    assert not {"finish_moments", "finish_gradient", "add_channel_sums"} & set(names)
