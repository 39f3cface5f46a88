"""N ranks follow one: the same values, weights and random numbers, for every recipe and everything over a batch."""

import threading
from typing import Any, NamedTuple

import numpy as np
import pytest
from rank_parity import distances, expect_same, on_threads, small, trained

from minigan.backends.reference import ReferenceBackend
from minigan.data import Loader
from minigan.distributed.dealt import DealtGenerator
from minigan.distributed.ranks import ALONE, Ranks
from minigan.losses import FeatureMatching, gradient_penalties
from minigan.nn.layers import BatchNorm, MinibatchStdDev
from minigan.nn.layers.augmentation import AdaptiveAugmentation
from minigan.recipes import DCGAN, RECIPES, NoiseRecipe
from minigan.training import AlternatingOptimizer, FakePool, alternating, learner, rank_means

pytestmark = pytest.mark.filterwarnings("ignore:.*makes each logit depend on the whole batch")
PLAIN: dict[str, Any] = {"condition": "none"}


class Deviating(DCGAN):
    """D sees how much the examples of a batch differ."""

    name = "deviating"

    def discriminator(self, image_shape):
        D = super().discriminator(image_shape)
        D.layers.insert(len(D.layers) - 2, MinibatchStdDev(2))
        return D


@pytest.fixture(autouse=True)
def _known(monkeypatch):
    monkeypatch.setitem(RECIPES, Deviating.name, Deviating)


# ---------------------------------------------------------------------------------------- parity


@pytest.mark.parametrize("name", ["dcgan", "mlp", "multi-d", "vae", "pix2pix"])
def test_every_kind_of_learner(name):
    """All recipes are below, for longer; of CycleGAN there is one with pools."""
    recipe = small(name)
    one = trained(recipe, steps=4)
    for size in (2, 4):
        expect_same(on_threads(size, recipe, steps=4), one)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_for_longer(name):
    recipe = small(name)
    one = trained(recipe)
    for size in (2, 4):
        expect_same(on_threads(size, recipe), one)


# Whatever runs over a batch, or draws for one: recipe, settings.
COUPLED = {
    "wgan-gp": ("dcgan", {"loss": "wasserstein", "penalty": "wgan-gp", "d_norm": "none", "n_critic": 2}),
    "wgan-gp through BatchNorm": ("dcgan", {"loss": "wasserstein", "penalty": "wgan-gp"}),
    "dragan": ("dcgan", {"penalty": "dragan"}),
    "r1, lazily": ("dcgan", {"penalty": "r1", "penalty_interval": 2}),
    "regularized in updates of its own": (
        "stylegan2",
        {"penalty_interval": 3, "path_weight": 2.0, "path_interval": 2, "mixing": 0.9},
    ),
    "r2 of packs": ("pacgan", {"penalty": "r2", "pack": 2}),
    # D's last bias has no gradient but rounding errors, of which Adam would make steps.
    "relativistic": ("dcgan", {"loss": "relativistic-average", "optimizer": "sgd", "lr": 0.05}),
    "pairs": (
        "dcgan",
        {
            "loss": "relativistic-pairing",
            "penalty": "r1+r2",
            "d_norm": "none",
            "augment": "flip,turns",
            "optimizer": "sgd",
            "lr": 0.05,
        },
    ),
    "softmax": ("multi-d", {"weights": "softmax", "sharpness": 5}),
    "feature matching": ("dcgan", {"feature_matching": 1.0, **PLAIN}),
    "augmentation": ("dcgan", {"augment": "color,translation,cutout"}),
    "adaptive": ("dcgan", {"augment": "adaptive", "augment_over": 100}),
    "adaptive critic": ("dcgan", {"augment": "adaptive", "augment_over": 100, "loss": "wasserstein"}),
    "fake pool": ("dcgan", {"fake_pool": 12, **PLAIN}),
    "pools of two": ("cyclegan", {"pool": 3, "identity": 0}),
    "instance noise": ("dcgan", {"instance_noise": 0.1}),
    "packs": ("dcgan", {"pack": 2, **PLAIN}),
    "pools of packs": ("pacgan", {"pack": 2, "fake_pool": 12}),
    "dropout": ("minimax", {}),
    "classes, projected": ("dcgan", {"condition": "projection"}),
    "spectral": ("dcgan", {"d_norm": "spectral", "loss": "hinge"}),
    "accumulated": ("dcgan", {"accumulate": 3}),
    "clipped": ("dcgan", {"clip_norm": 0.1, "clip_value": 0.01, "optimizer": "rmsprop"}),
    "mirrored": ("dcgan", {"mirror": True}),
    "deviation": ("deviating", {}),
    "one example a rank": ("dcgan", {"batch_size": 4}),
    "Gaussian pixels": ("vae", {"likelihood": "gaussian", "accumulate": 2}),
}


@pytest.mark.parametrize("case", COUPLED)
def test_everything_over_a_batch(case):
    name, settings = COUPLED[case]
    recipe = small(name, **settings)
    expect_same(on_threads(2, recipe, steps=4), trained(recipe, steps=4))


@pytest.mark.exhaustive
@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("case", COUPLED)
def test_everything_over_a_batch_for_longer(case, size):
    name, settings = COUPLED[case]
    recipe = small(name, **{**settings, "batch_size": 8 if settings.get("batch_size") != 4 else 4})
    # packs, and groups of two, are whole on each rank
    if (recipe.batch_size // recipe.together) % size or (name == "deviating" and size == 4):
        pytest.skip("no equal parts")
    expect_same(on_threads(size, recipe), trained(recipe))


# ---------------------------------------------------------------------------------------- and it can fail


class Hook(NamedTuple):
    """Where ranks talk, and a training that shows if they do not.

    Attributes:
        owner, name: of the function whose body is to concern one rank alone; or of what `other` replaces.
        case: of COUPLED, or a recipe's name.
    """

    owner: Any
    name: str
    case: str
    other: Any = None


def alone_within(function: Any) -> Any:
    """The function without other ranks."""

    def run(self: Any, *arguments: Any, **settings: Any) -> Any:
        if hasattr(self, "ranks"):
            kernels = self
        elif hasattr(self, "D"):
            kernels = self.D.kernels
        else:
            kernels = getattr(self, "kernels", None) or self.layers[0].kernels
        with kernels.alone():
            return function(self, *arguments, **settings)

    return run


def only_values(kernels, grads, values):
    kept = [each.flat.copy() for each in grads]
    values = rank_means.mean_over_ranks(kernels, grads, values)
    for each, before in zip(grads, kept, strict=True):
        each.flat[...] = before
    return values


def only_gradients(kernels, grads, values):
    rank_means.mean_over_ranks(kernels, grads, values)
    return values


def first_rows(ranks: Ranks, rows: Any) -> Any:
    return rows[: len(rows) // ranks.size]


def drawn_alone(_dealt: Any, draw: Any, size: Any) -> Any:
    return draw(size)


def read_first(loader: Any, order: Any, flips: Any, part: slice) -> Any:
    return first_rows(loader._ranks, order[part]), flips


def same_loss(loss: Any, _kernels: Any) -> Any:
    return loss


def own_deviation(x: Any, _kernels: Any) -> Any:
    return x.std()


def slices(ranks: Ranks, rows: Any) -> Any:
    return rows[ranks.rank * len(rows) // ranks.size : (ranks.rank + 1) * len(rows) // ranks.size].copy()


HOOKS = {
    "BatchNorm forward": Hook(ReferenceBackend, "batchnorm", "dcgan"),
    "BatchNorm backward": Hook(ReferenceBackend, "batchnorm_grad", "dcgan"),
    "BatchNorm double backward": Hook(ReferenceBackend, "batchnorm_double_grad", "wgan-gp through BatchNorm"),
    "BatchNorm's count": Hook(BatchNorm, "commit_statistics", "dcgan"),
    "gradients": Hook(learner, "mean_over_ranks", "mlp", only_values),
    "values": Hook(learner, "mean_over_ranks", "mlp", only_gradients),
    "random numbers": Hook(DealtGenerator, "_dealt", "mlp", drawn_alone),
    "other random numbers": Hook(Ranks, "own", "mlp", first_rows),
    "batches": Hook(Loader, "_dealt", "mlp", read_first),
    "cards": Hook(Ranks, "own", "deviation", slices),
    "coupled losses": Hook(alternating, "on_all_ranks", "relativistic", same_loss),
    "mixtures": Hook(alternating, "on_all_ranks", "softmax", same_loss),
    "matched features": Hook(FeatureMatching, "__call__", "feature matching"),
    "the data's deviation": Hook(gradient_penalties, "_deviation", "dragan", own_deviation),
    "the pool of fakes": Hook(FakePool, "mix", "fake pool"),
    "signs of logits": Hook(AdaptiveAugmentation, "note", "adaptive"),
    "the boundary": Hook(AlternatingOptimizer, "_boundary", "adaptive critic"),
    "whole packs": Hook(NoiseRecipe, "together", "packs", 1),
}


@pytest.mark.parametrize("name", HOOKS)
def test_a_rank_that_leaves_something_out_shows(name, monkeypatch):
    owner, attribute, case, other = HOOKS[name]
    recipe_name, settings = COUPLED.get(case, (case, {}))
    recipe = small(recipe_name, **settings)
    one = trained(recipe, steps=4)
    monkeypatch.setattr(owner, attribute, alone_within(getattr(owner, attribute)) if other is None else other)
    with pytest.raises(AssertionError):
        expect_same(on_threads(2, recipe, steps=4), one)


def test_distances_see_one_number():
    one = trained(small("mlp"), steps=2)
    assert distances(one, one) == (0, 0)
    other = one._replace(arrays={name: array.copy() for name, array in one.arrays.items()})
    first = next(iter(other.arrays.values()))
    first.flat[-1] += 1e-6
    assert distances(other, one)[1] > 1e-9
    assert distances(one._replace(values=one.values + 1e-9), one)[0] > 1e-12
    assert threading.active_count() < 50
    assert ALONE.units is None
    assert np.isfinite(one.values).all()
