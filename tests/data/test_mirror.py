"""Mirrored data: half of the images flipped, pairs together, the same ones after a run is resumed."""

import numpy as np
import pytest

from minigan.data import Dataset, Loader, PairDataset, ShapePairs
from minigan.errors import ConfigError
from minigan.recipes import get_recipe
from minigan.runs.config import new_config
from minigan.runs.prepare import prepare_run

COUNT, SHAPE = 40, (3, 4, 2)


class Ramps(Dataset):
    """Item i rises from i on the left to i + .3 on the right."""

    def __init__(self, count=COUNT, *, shape=SHAPE):
        super().__init__(name="ramps", count=count, shape=shape, labels=np.arange(count))

    def read(self, indices):
        ramp = np.linspace(0, 0.3, self.shape[1], dtype=np.float32)[:, None]
        return np.float32(indices)[:, None, None, None] + np.broadcast_to(ramp, self.shape)


class Pairs(PairDataset):
    def __init__(self):
        super().__init__(name="pairs", count=COUNT, a_shape=SHAPE, b_shape=(3, 6, 1))

    def read(self, indices):
        return Ramps().read(indices), Ramps(shape=(3, 6, 1)).read(indices)


def flipped(images: np.ndarray) -> np.ndarray:
    """Whether each image falls from left to right; each must be whole."""
    left, right = images[:, 0, 0, 0], images[:, 0, -1, 0]
    number = np.minimum(left, right)
    expected = Ramps(shape=images.shape[1:]).read(np.round(number).astype(int))
    falls = left > right
    np.testing.assert_array_equal(np.where(falls[:, None, None, None], images[:, :, ::-1], images), expected)
    return falls


def test_half_of_the_images_are_flipped_and_the_order_stays():
    options = {"batch_size": 8, "seed": 3}
    with Loader(Ramps(), **options) as plain, Loader(Ramps(), mirror=True, **options) as mirrored:
        seen = [(next(plain), next(mirrored)) for _ in range(100)]
    falls = np.concatenate([flipped(images) for _, images in seen])
    for one, other in seen:
        np.testing.assert_array_equal(np.round(one.min((1, 2, 3))), np.round(other.min((1, 2, 3))))
        assert other.flags.c_contiguous
        assert other.dtype == np.float32
    assert not any(flipped(images).any() for images, _ in seen)
    assert 0.43 < falls.mean() < 0.57  # 800 tosses: four standard deviations are .07
    assert not np.array_equal(falls[:COUNT], falls[COUNT : 2 * COUNT]), "each epoch has its own"


def test_pairs_are_flipped_together_and_labels_stay():
    with Loader(Pairs(), batch_size=8, seed=0, mirror=True) as pairs:
        for _ in range(5):
            a, b = next(pairs)
            np.testing.assert_array_equal(flipped(a), flipped(b))
    with Loader(Ramps().with_labels(), batch_size=8, seed=0, mirror=True) as labeled:
        images, labels = next(labeled)
        np.testing.assert_array_equal(labels, np.round(images.min((1, 2, 3))))
        assert flipped(images).any()


@pytest.mark.parametrize("prefetch", [0, 3])
@pytest.mark.parametrize("steps", [0, 1, 7])
def test_resuming_anywhere_goes_on_bit_for_bit(steps, prefetch):
    options = {"batch_size": 8, "seed": 3, "mirror": True}
    with Loader(Ramps(), prefetch=2, **options) as loader:
        for _ in range(steps):
            next(loader)
        state = loader.state()
        expected = [next(loader) for _ in range(8)]
    with Loader(Ramps(), prefetch=prefetch, state=state, **options) as resumed:
        np.testing.assert_array_equal([next(resumed) for _ in range(8)], expected)


def test_a_position_is_of_a_loader_that_mirrors_as_well():
    with Loader(Ramps(), batch_size=8, seed=3, mirror=True) as loader:
        state = loader.state()
    with (
        Loader(Ramps(), batch_size=8, seed=3) as other,
        pytest.raises(ConfigError, match="the loader's state is of mirror=1, but this loader has mirror=0"),
    ):
        other.restore(state)
    with Loader(Ramps(), batch_size=8, seed=3) as other:  # a state from before
        other.restore({name: number for name, number in state.items() if name != "mirror"})


def test_points_and_other_values_are_refused():
    with pytest.raises(ConfigError, match=r"mirror flips images, but ramps holds points\. Leave mirror=True out\."):
        Loader(Ramps(shape=(2,)), batch_size=8, seed=0, mirror=True)
    with pytest.raises(ConfigError, match=r"mirror flips images, but ramps holds points"):
        Loader(Ramps(shape=(2,)).with_labels(), batch_size=8, seed=0, mirror=True)
    with pytest.raises(ConfigError, match="mirror must be True or False, got 'yes'"):
        Loader(Ramps(), batch_size=8, seed=0, mirror="yes")
    with pytest.raises(ConfigError, match="mirror must be True or False, got 'perhaps'"):
        get_recipe("dcgan").from_settings({"mirror": "perhaps"})
    config = new_config(
        get_recipe("mlp").from_settings({"mirror": "true", "hidden": 2}), data="ring", backend="reference"
    )
    with pytest.raises(ConfigError, match=r"mlp: mirror flips images, got points of the plane\. Leave `mirror=True`"):
        prepare_run(config, None)


@pytest.mark.parametrize("recipe", ["pix2pix", "superres"])
def test_a_run_says_so_and_shows_its_networks_flipped_pairs(recipe, tmp_path):
    settings = {"mirror": True, "size": 16, "width": 2, "d_width": 2, "batch_size": 4}
    config = new_config(get_recipe(recipe).from_settings(settings), data="shapes", backend="reference")
    run = prepare_run(config, tmp_path)
    assert (
        "each image is flipped left to right with probability 1/2, the pictures of a pair together" in run.dataset.notes
    )
    loader, chosen = run.trainer.state.loader, run.recipe
    plain = Loader(run.dataset, batch_size=4, seed=0)
    with loader, plain:
        straight = 0
        for _ in range(6):
            items, others = next(loader), next(plain)
            targets, wanted = (each[1] if isinstance(each, tuple) else each for each in (items, others))
            sources, given = (each[0] if isinstance(each, tuple) else each for each in (items, others))
            for k in range(4):
                turn = slice(None, None, 1 if np.array_equal(targets[k], wanted[k]) else -1)
                straight += turn.step == 1
                np.testing.assert_array_equal(targets[k], wanted[k][:, turn])
                np.testing.assert_array_equal(sources[k], given[k][:, turn])
        assert 3 < straight < 21
        assert chosen.batch(items, np.random.default_rng(0)).real.shape == (4, 16, 16, 3)
    assert isinstance(run.dataset, ShapePairs) == (recipe == "pix2pix")
