"""Evaluation on several ranks: each draws and looks at its part, and the figures are those of one process."""

from types import SimpleNamespace

import numpy as np
import pytest
from thread_ranks import on_ranks

from minigan.backends import get_backend
from minigan.data import open_dataset
from minigan.distributed import ALONE
from minigan.evaluation import Monitor, choose_features, classifier_cache
from minigan.recipes import get_recipe
from minigan.runs import measure
from minigan.runs.measure import FixedNoiseMeasure
from minigan.training import generate
from minigan.training.sampling import _batches, rows_of_rank


@pytest.mark.parametrize("count", [1, 63, 64, 65, 130, 2000, 2049])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_ranks_draw_whole_batches(count, size):
    """So that samples with the statistics of their batch are those of one process."""

    found = []
    for rank in range(size):
        own = np.arange(count)[rows_of_rank(count, SimpleNamespace(rank=rank, size=size))]
        found += [own[batch].tolist() for batch in _batches(len(own), 64)] if len(own) else []
    assert found == [batch.tolist() for batch in _batches(count, 64)]


@pytest.mark.parametrize("name", ["shapes", "ring"])
def test_figures_are_those_of_one_process(name):
    recipe = get_recipe("mlp" if name == "ring" else "dcgan").from_settings(
        {"latent": 4, **({"hidden": 4} if name == "ring" else {"width": 2, "condition": "none"})}
    )

    def figures(ranks=ALONE):
        dataset = open_dataset(name, seed=0) if name == "ring" else open_dataset(name, size=(16, 16), seed=0)
        backend = get_backend("reference")
        backend.ranks = ranks
        shape = recipe.image_shape(dataset)
        G = recipe.assemble(shape, backend=backend, dtype="float64", rng=np.random.default_rng(0)).G
        z = np.random.default_rng(1).standard_normal((150, 4))
        monitor = Monitor(dataset, count=150, ranks=ranks)
        part = z[rows_of_rank(len(z), ranks)]
        drawn = generate(G, part, batch_statistics=True) if len(part) else np.empty((0, *shape))
        return monitor(drawn)

    one = figures()
    for size in (2, 4):  # three batches: a rank of four has none
        for found in on_ranks(size, figures):
            assert found == pytest.approx(one, rel=1e-9)


def test_the_first_rank_trains_the_classifier_for_all(tmp_path, monkeypatch):
    trained = []

    def quickly(dataset, *, seed, backend):
        trained.append((seed, backend))
        return classifier_cache.Classifier(untrained(dataset), accuracy=0.5, count=7, name=dataset.name)

    def untrained(dataset):
        net = classifier_cache.network(dataset.shape, 10)
        return net.build(dataset.shape, backend="reference", rng=np.random.default_rng(5))

    monkeypatch.setattr(classifier_cache, "train_classifier", quickly)
    monkeypatch.setenv("MINIGAN_CACHE", str(tmp_path))
    images = open_dataset("digits").read([0, 1])

    def features(ranks):
        said = []
        chosen = choose_features(open_dataset("digits"), backend="reference", say=said.append, ranks=ranks)
        return chosen(images), chosen.accuracy, chosen.count, len(said)

    (first, *of_first), (other, *of_other) = on_ranks(2, features)
    assert len(trained) == 1
    assert np.array_equal(first, other)
    assert (of_first, of_other) == ([0.5, 7, 1], [0.5, 7, 0])


def test_looks_of_both_directions_share_their_classifiers(monkeypatch):
    """Training both on each rank would be the same work N times."""
    told = []
    monkeypatch.setattr(measure, "choose_features", lambda target, *, say, ranks: told.append((target, say, ranks)))
    recipe = get_recipe("cyclegan").from_settings({"size": 16, "width": 2, "blocks": 1, "batch_size": 8})
    pair = recipe.open_data(recipe.default_data, seed=0)
    ranks = SimpleNamespace(size=2)
    of_both = measure.measure_of(recipe, pair, pair, rng=np.random.default_rng(0), seed=0, ranks=ranks)
    for direction in ("AtoB", "BtoA"):
        of_both._features(direction, print)
    assert told == [(pair.b, print, ranks), (pair.a, print, ranks)]
    pair.close()


def test_a_measure_draws_its_part_only():
    recipe = get_recipe("mlp").from_settings({"latent": 4, "hidden": 4})
    dataset = open_dataset("ring")

    def measured(ranks=ALONE):
        of_noise = FixedNoiseMeasure(recipe, dataset, rng=np.random.default_rng(0), seed=0, ranks=ranks)
        drawn = []

        def draw(z, _condition):
            drawn.append(len(z))
            return z[:, :2]

        return of_noise({"G": draw}, print), sum(drawn), len(of_noise.z)

    figures, drawn, count = measured()
    assert drawn == count
    results = on_ranks(4, measured)
    assert sum(part for _, part, _ in results) == count
    assert max(part for _, part, _ in results) < count / 3
    assert [found for found, *_ in results] == [figures] * 4
