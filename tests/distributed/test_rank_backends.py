"""Whole trainings on several ranks, on the backends whose kernels are not the reference's."""

import numpy as np
import pytest
from engines import is_installed
from rank_parity import Trace, digest, distances, expect_same, small
from thread_ranks import on_ranks

from minigan.distributed import ALONE, dealt

CASES = {
    "dcgan": ("dcgan", {"condition": "none", "penalty": "r1", "loss": "relativistic-average"}),
    "pool": ("dcgan", {"condition": "none", "fake_pool": 10, "augment": "adaptive", "augment_over": 100}),
    "matching": ("dcgan", {"condition": "none", "feature_matching": 1.0, "penalty": "dragan", "accumulate": 2}),
}


def trained_on(backend, name, ranks=ALONE, *, dtype, steps) -> Trace:
    """A training on random images; without the embedded data, whose classes need not matter here."""
    recipe_name, settings = CASES[name]
    recipe = small(recipe_name, optimizer="sgd", lr=0.01, **settings)  # Adam makes much of rounding errors
    backend.ranks = ranks
    ranks.deal(recipe.batch_size)
    rng, images = np.random.default_rng(0), np.random.default_rng(1)
    learner = recipe.assemble((16, 16, 1), backend=backend, dtype=dtype, rng=rng)
    own = dealt(rng, ranks)
    whole = (images.uniform(-1, 1, (recipe.batch_size, 16, 16, 1)) for _ in range(10 * steps))
    batches = (ranks.own(batch) for batch in whole)
    values, digests = [], []
    for _ in range(steps):
        values.append([float(value) for value in learner.step(batches, own)])
        digests.append(digest(learner))
    return Trace(np.array(values), learner.to_dict(), digests, rng.bit_generator.state)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.skipif(not is_installed("cpu"), reason="Numba is not installed")
def test_compiled_kernels_with_exchanges_between_their_passes(case):
    from minigan.backends.cpu import CpuBackend

    def work(ranks=ALONE):
        return trained_on(CpuBackend(threads=1), case, ranks, dtype="float32", steps=3)

    one = work()
    first, other = on_ranks(2, work)
    assert first.digests == other.digests
    of_values, of_arrays = distances(first, one)
    assert of_values < 2e-5
    assert of_arrays < 2e-5


@pytest.mark.parametrize("case", CASES)
def test_arrays_of_a_device(device, case):
    """As the stand-in for CuPy has them: nothing of NumPy's is called on them, and the numbers are the reference's."""

    def work(ranks=ALONE):
        return trained_on(type(device)(), case, ranks, dtype="float64", steps=3)

    one = work()
    first, other = on_ranks(2, work)
    assert first.digests == other.digests
    expect_same(first, one)
