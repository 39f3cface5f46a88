"""The recipe cyclegan: the paper's networks and settings, sizes and channels, schedule."""

import contextlib

import numpy as np
import pytest

from minigan.errors import ConfigError
from minigan.nn.schedules import LinearDecay
from minigan.recipes import CycleGAN, get_recipe
from minigan.training import FakePool


def sizes(recipe: CycleGAN, shape) -> dict[str, int]:
    found = {}
    for network, input_shape in recipe.networks(shape):
        network.setup(input_shape, network.path)
        found[network.path] = sum(parameter.size for _, parameter in network.named_parameters())
    return found


def test_the_networks_have_the_papers_parameters():
    """11.378 and 2.765 million, as PyTorch counts those of the authors' code."""
    assert sizes(CycleGAN(), (256, 256, 3)) == {
        "G_AB": 11_378_179, "G_BA": 11_378_179, "D_A": 2_764_737, "D_B": 2_764_737,
    }  # fmt: skip
    assert sizes(CycleGAN(), (128, 128, 3))["G_AB"] == 11_378_179 - 3 * 2 * (9 * 256 * 256 + 256)
    assert sizes(CycleGAN(blocks=9), (64, 64, 3))["G_AB"] == 11_378_179


def test_the_settings_are_the_papers():
    recipe = CycleGAN()
    assert (recipe.batch_size, recipe.lr, recipe.beta1, recipe.beta2) == (1, 2e-4, 0.5, 0.999)
    assert (recipe.loss, recipe.cycle, recipe.identity, recipe.pool) == ("least-squares", 10, 5, 50)
    learner = CycleGAN(width=2, d_width=2, blocks=1).assemble((12, 12, 3), backend="reference", rng=rng())
    for optimizer in learner.optimizers.values():
        assert optimizer.schedule == LinearDecay(2e-4, 20000, 40000)
    assert [len(pool.fakes) for pool in learner.pools.values()] == [50, 50]
    assert 2 * learner.loss.generator(np.array([[3.0]]))[0] == 4.0, "the paper's whole square, adversarial being 2"


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_half_way_moves_with_the_number_of_steps():
    recipe = CycleGAN(steps=100)
    schedule = recipe.rate_schedule(1.0, 1)
    assert [schedule(step) for step in (0, 50, 75, 100)] == [1, 1, 0.5, 0]
    longer = CycleGAN(steps=200)
    assert longer.schedule_before(longer.rate_schedule(1.0, 1), steps=100) == schedule
    assert get_recipe("dcgan")(schedule="cosine", decay_from=-1, steps=80).rate_schedule(1.0, 1)(40) == 1
    with pytest.raises(ConfigError, match="decay_from must be a step from 0 up, or -1 for half-way, got decay_from=-2"):
        CycleGAN(decay_from=-2)


@pytest.mark.parametrize(
    ("settings", "a", "b"),
    [
        ({}, 3, 3),
        ({"channels": 1}, 1, 1),
        ({"a_channels": 1, "b_channels": 3}, 1, 3),
        ({"b_channels": 1}, 1, 1),
    ],
    ids=str,
)
def test_the_channels_are_the_datas_or_the_settings(settings, a, b):
    recipe = CycleGAN(width=2, d_width=2, blocks=1, identity=0, size=8, **settings)
    with contextlib.closing(recipe.open_data("digits", seed=0)) as dataset:
        assert (dataset.a_shape, dataset.b_shape) == ((8, 8, a), (8, 8, b))
        fitted = recipe.fit(dataset)
        learner = fitted.assemble(fitted.image_shape(dataset), backend="reference", rng=rng())
        learner.step((fitted.batch(item, rng()) for item in fitted.loader(dataset, seed=0, prefetch=0)), rng())
    shapes = {name: network.input_shape[-1] for name, network in learner.networks.items()}
    assert shapes == {"G_AB": a, "G_BA": b, "D_A": a, "D_B": b}


def test_averages_are_kept_of_both_generators_by_name():
    recipe = CycleGAN(width=2, d_width=2, blocks=1, ema=0.9, a_channels=1, identity=0)
    learner = recipe.assemble((8, 12, 3), backend="reference", rng=rng())
    averages = recipe.moving_averages(learner, seed=0)
    assert list(averages) == ["G_AB", "G_BA"]
    assert [average.network.output_shape for average in averages.values()] == [(8, 12, 3), (8, 12, 1)]
    assert [average.name for average in averages.values()] == ["average_G_AB", "average_G_BA"]
    assert CycleGAN().moving_averages(learner, seed=0) == {}
    dcgan = get_recipe("dcgan")(width=2, ema=0.9)
    (average,) = dcgan.moving_averages(dcgan.assemble((8, 8, 1), backend="reference", rng=rng()), seed=0).values()
    assert average.name == "average", "as in files of every version"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"size": 30}, "multiples of 4 from 8 up, got 30x30"),
        ({"loss": "relativistic-average"}, "loss"),
        ({"halvings": 4}, "halvings must be at most 3"),
        ({"a_channels": 2}, "a_channels must be 1 or 3"),
        ({"adversarial": 0}, "adversarial"),
        ({"pool": -1}, "pool"),
        ({"held_back": -1}, "held_back"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings, problem):
    with pytest.raises(ConfigError, match=problem):
        CycleGAN(**settings)


def test_images_of_any_size_get_the_nearest_that_can_be_halved_twice():
    assert CycleGAN().fit_size((28, 28)) == (28, 28)
    assert CycleGAN().fit_size((30, 45)) in {(28, 44), (32, 48), (28, 40), (32, 44)}
    assert CycleGAN().fit_size((700, 500)) == (252, 180), "at most 256 pixels a side, and the same shape"


def test_a_class_may_be_a_number():
    assert CycleGAN(a_class=3, b_class="cat").a_class == "3"


# ---------------------------------------------------------------------------------------------- a pool for single fakes


def test_a_single_fake_is_replaced_half_of_the_time(host_backend):
    G = CycleGAN(width=2, blocks=1).translator("G_AB", (8, 8, 1)).build((8, 8, 1), backend=host_backend, rng=rng())
    pool, draws = FakePool(G, size=4), rng()
    fakes = [np.full((1, 8, 8, 1), k, np.float32) for k in range(1, 205)]
    shown = [float(pool.mix(host_backend.asarray(fake), draws).max()) for fake in fakes]
    assert shown[:4] == [1, 2, 3, 4], "until it is full it collects"
    replaced = sum(value != k for k, value in enumerate(shown, start=1))
    assert 70 < replaced < 130
    assert all(value < k for k, value in enumerate(shown, start=1) if value != k), "by earlier ones"
    assert len({*shown}) < len(shown) or replaced == 0
    kept = host_backend.to_numpy(pool.fakes).max(axis=(1, 2, 3))
    assert len({*kept}) == 4 and max(kept) > 150, "the replaced ones take their places"


def test_of_three_fakes_one_or_two_are_replaced():
    G = CycleGAN(width=2, blocks=1).translator("G_AB", (8, 8, 1)).build((8, 8, 1), backend="reference", rng=rng())
    pool, draws = FakePool(G, size=6), rng()
    counts = []
    for k in range(60):
        fakes = np.arange(3 * k, 3 * k + 3, dtype=np.float32).reshape(3, 1, 1, 1) * np.ones((1, 8, 8, 1), np.float32)
        mixed = pool.mix(fakes, draws)
        counts.append(int((mixed[:, 0, 0, 0] != fakes[:, 0, 0, 0]).sum()))
    assert set(counts[2:]) == {1, 2} and 70 < sum(counts) < 104


# ---------------------------------------------------------------------------------------------- jitter


@pytest.mark.parametrize(
    ("settings", "size", "larger"),
    [
        ({}, (256, 256), (286, 286)),
        ({}, (128, 192), (143, 214)),
        ({}, (124, 256), (124, 256)),
        ({"jitter": 0}, (256, 256), (256, 256)),
        ({"jitter": 0.25}, (28, 28), (35, 35)),
    ],
)
def test_large_images_are_enlarged_as_the_papers(settings, size, larger):
    assert CycleGAN(**settings).enlarged_size(size) == larger


def test_training_cuts_parts_and_figures_see_whole_images():
    recipe = CycleGAN(width=2, d_width=2, blocks=1, size=8, jitter=0.5)
    with contextlib.closing(recipe.open_data("digits", seed=0)) as dataset:
        assert (dataset.a_shape, dataset.b_shape) == ((8, 8, 3), (8, 8, 3))
        line = (
            "each image is enlarged to 12x12, and a part of 8x8 is cut out of it at random; `jitter=0` trains without"
        )
        assert line in dataset.notes
        loader = recipe.loader(dataset, seed=0, prefetch=0)
        assert [side.shape for side in next(loader)] == [(1, 8, 8, 3)] * 2
        assert loader.state()["enlarged"] == 4
        part, plain = (
            recipe.open_part("digits", (8, 8, 3), part="train", seed=0),
            CycleGAN(size=8).open_data("digits", seed=0),
        )
        with contextlib.closing(part), contextlib.closing(plain):
            np.testing.assert_array_equal(part.a.read([0, 1]), plain.a.read([0, 1]))
    assert CycleGAN.from_stored({}).jitter == 0, "runs from before were not jittered"
    for jitter in (-0.5, 1.5, float("nan")):
        with pytest.raises(ConfigError, match=r"jitter must be a share in \[0, 1\], or -1"):
            CycleGAN(jitter=jitter)
