"""The size at which images are trained: the nearest that the recipe can draw, or the one that is set."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigan
from minigan.backends import Backend
from minigan.data.png import encode_png
from minigan.errors import ConfigError
from minigan.recipes import DCGAN, MLP, RECIPES, SNGAN, VAE, DCGANCifar, DCGANKeras, Denoise, MultiD, Pix2Pix, Recipe
from minigan.recipes.bases.sizes import nearest_size, scaling_in_words
from minigan.runs.config import new_config, read_config, write_config

pytest.importorskip("PIL")

NEAREST = [
    (DCGAN(), (45, 60), (48, 64)),
    (DCGAN(), (50, 50), (48, 48)),
    (DCGAN(), (45, 90), (48, 96)),
    (DCGAN(), (100, 66), (96, 64)),
    (DCGAN(), (100, 100), (96, 96)),
    (DCGAN(), (96, 64), (96, 64)),
    (DCGAN(), (600, 800), (96, 128)),
    (DCGAN(), (3000, 4000), (96, 128)),
    (DCGAN(), (1, 1), (8, 8)),
    (DCGAN(), (10, 1000), (10, 128)),
    (DCGAN(), (1000, 10), (128, 10)),
    (DCGAN(), (30, 30), (28, 28)),
    (DCGANCifar(), (28, 28), (32, 32)),
    (DCGANCifar(), (45, 60), (48, 64)),
    (DCGANKeras(), (60, 100), (60, 100)),
    (DCGANKeras(), (600, 800), (96, 128)),
    (SNGAN(), (45, 60), (48, 64)),
    (SNGAN(), (96, 96), (64, 64)),
    (SNGAN(), (600, 800), (48, 64)),
    (VAE(), (45, 60), (48, 64)),
    (MLP(), (45, 60), (45, 60)),
    (MLP(), (65, 10), (64, 10)),
    (MLP(), (600, 800), (48, 64)),
    (MultiD(multi_scale=True, discriminators=3), (9, 9), (32, 32)),
    (Pix2Pix(), (45, 60), (48, 64)),
    (Pix2Pix(), (45, 45), (44, 44)),
    (Pix2Pix(), (600, 800), (192, 256)),
    (Pix2Pix(), (30, 30), (28, 28)),
    (Denoise(), (600, 800), (96, 128)),
    (Denoise(), (10, 10), (16, 16)),
]


def pictures(folder, *sizes):
    folder.mkdir(parents=True)
    for number, size in enumerate(sizes):
        (folder / f"{number}.png").write_bytes(encode_png(np.full((*size, 3), 40 * number, np.uint8)))
    return str(folder)


@pytest.mark.parametrize(
    ("recipe", "data", "trained_at"), NEAREST, ids=[f"{recipe.name} {size[0]}x{size[1]}" for recipe, size, _ in NEAREST]
)
def test_the_nearest_size(recipe: Recipe, data: tuple[int, int], trained_at: tuple[int, int]):
    assert recipe.fit_size(data) == trained_at
    recipe.check_size(trained_at)


def loss_of(have: tuple[int, int], want: tuple[int, int]) -> float:
    """The change of scale and 3.2 times the crop, when images are scaled until they cover a size."""
    scale = max(want[0] / have[0], want[1] / have[1])
    kept = (want[0] / (scale * have[0])) * (want[1] / (scale * have[1]))
    return abs(scale - 1) + 3.2 * (1 - kept)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 3), st.integers(2, 9))
def test_no_drawable_size_is_nearer(height, width, least, step):
    def can_draw(size):
        return min(size) >= least * step and all(side % step == 0 for side in size)

    found = nearest_size((height, width), can_draw, largest=40)
    drawable = [(h, w) for h in range(1, 41) for w in range(1, 41) if can_draw((h, w))]
    assert found in drawable
    assert loss_of((height, width), found) <= min(loss_of((height, width), size) for size in drawable) + 1e-12
    if can_draw((height, width)) and max(height, width) <= 40:
        assert found == (height, width)


def test_nothing_can_be_drawn():
    assert nearest_size((9, 9), lambda _: False, largest=20) is None


@pytest.mark.parametrize("name", RECIPES)
def test_networks_are_built_at_the_nearest_size(reference: Backend, name: str):
    dense, others = ("hidden", "dense", "g_hidden", "d_hidden", "latent", "w_dim"), ("width", "d_width", "channel_max")
    small = dict.fromkeys((*dense, *others), 4)
    kind = RECIPES[name]
    recipe = kind.from_settings({key: n for key, n in small.items() if key in kind.kinds()})
    for data in ((19, 26), (45, 37)):
        size = recipe.fit_size(data)
        assert max(abs(math.log(want / have)) for want, have in zip(size, data, strict=True)) < 0.7
        learner = recipe.assemble((*size, 1), backend=reference, rng=np.random.default_rng(0))
        assert learner.G.output_shape == (*size, 1)


# ---------------------------------------------------------------------------------------- what is said


@pytest.mark.parametrize(
    ("recipe", "size", "note"),
    [
        (DCGAN(), (45, 60), "scaled from 45x60 to 48x64, the nearest size that dcgan can draw"),
        (
            DCGAN(),
            (150, 330),
            "scaled from 150x330 to 56x120, the nearest size up to 128 pixels a side that dcgan can draw",
        ),
        (DCGAN(size=64), (45, 60), "scaled from 45x60 to 64x64, the size that was set"),
        (DCGAN(size=(48, 64)), (45, 90), "scaled from 45x90 to 48x64, the size that was set"),
        (DCGAN(), (64, 64), None),
        (DCGAN(size=64), (64, 64), None),
    ],
    ids=str,
)
def test_a_note_tells_of_scaling(tmp_path, recipe: Recipe, size, note):
    dataset = recipe.open_data(pictures(tmp_path / "photos", size, size), seed=0)
    assert [line for line in dataset.notes if "scaled" in line] == ([note] if note else [])
    cut = {(45, 60): "25%", (150, 330): "3%", (45, 90): "33%"}.get(size) if recipe.size or size[0] > 100 else None
    line = f"the middle of each picture is used: {cut} at its sides are cut off"
    assert [line for line in dataset.notes if "cut off" in line] == ([line] if cut else [])  # once
    assert dataset.read([0, 1]).shape == (2, *recipe.fit_size(size), 3)


def test_a_note_tells_of_images_of_several_sizes(tmp_path):
    dataset = DCGAN().open_data(pictures(tmp_path / "photos", (45, 60), (60, 45)), seed=0)
    assert [line for line in dataset.notes if "scaled" in line or "cut off" in line] == [
        "sizes from 45x60 to 60x45 are scaled to 64x64",
        "the middle of each picture is used: up to 25% at its sides are cut off",
    ]


def test_a_note_tells_of_pairs_that_are_scaled(tmp_path):
    pairs = Pix2Pix().open_data(pictures(tmp_path / "pairs", (37, 92), (37, 92)), seed=0)
    assert pairs.b_shape == (36, 44, 3)
    assert "scaled from 37x46 to 36x44, the nearest size that pix2pix can draw; 2% of each is cropped" in pairs.notes


@pytest.mark.parametrize(("recipe", "size"), [(DCGANCifar(), 32), (DCGAN(), 28), (DCGAN(size=32), 32), (MLP(), 28)])
@pytest.mark.parametrize("source", ["digits", "stacked:digits"])
def test_embedded_images_are_drawn_at_the_size(recipe: Recipe, size: int, source: str):
    dataset = recipe.open_data(source, seed=0)
    assert dataset.shape[:2] == (size, size)
    assert not [line for line in dataset.notes if "scaled" in line]


def test_a_crop_in_words():
    assert scaling_in_words((10, 10), (20, 5), "said") == "scaled from 10x10 to 20x5, said; 75% of each is cropped"
    assert scaling_in_words((1000, 1000), (999, 1000), "said") == "scaled from 1000x1000 to 999x1000, said"


# ---------------------------------------------------------------------------------------- the setting


@pytest.mark.parametrize(
    ("given", "size", "kept"),
    [
        (64, 64, 64),
        (np.int64(64), 64, 64),
        ((48, 64), (48, 64), "48x64"),
        ([48, 64], (48, 64), "48x64"),
        ("48x64", (48, 64), "48x64"),
        (" 48 X 64 ", (48, 64), "48x64"),
        ("64", 64, 64),
        ((64, 64), 64, 64),
        ("64x64", 64, 64),
        (0, 0, 0),
    ],
)
def test_the_setting_is_a_side_or_two(tmp_path, given, size, kept):
    recipe = DCGAN(size=given)
    assert recipe.size == size
    assert recipe.settings()["size"] == kept
    assert DCGAN.from_settings(recipe.settings()) == DCGAN.from_settings({"size": str(kept)}) == recipe
    if size:
        assert recipe.fit_size((45, 60)) == (size if isinstance(size, tuple) else (size, size))
    write_config(new_config(recipe), tmp_path)
    config = read_config(tmp_path)
    assert config.settings["size"] == kept
    assert DCGAN.from_settings(config.settings) == recipe


@pytest.mark.parametrize(
    "given", [-1, 64.0, True, None, "", "x", "48x", "48x64x3", "-48x64", (48, 64, 3), (48, 0), (), ("48", "64"), "4e1"]
)
def test_a_size_that_is_none_is_refused(given):
    with pytest.raises(
        ConfigError, match=r"dcgan: size must be a side or \(height, width\), from 1 up .* `size='48x64'`"
    ):
        DCGAN(size=given)


def test_a_size_that_cannot_be_drawn_is_refused_with_both_sides():
    with pytest.raises(ConfigError, match="got 45x60"):
        DCGAN(size=(45, 60))


def test_a_run_of_oblong_images_goes_on(tmp_path):
    settings = {"size": (12, 16), "hidden": 4, "latent": 3, "batch_size": 4}
    run = minigan.train(
        "mlp", data="digits", steps=1, out=tmp_path / "run", backend="reference", quiet=True, **settings
    )
    assert run.generator.sample(2, seed=0).shape == (2, 12, 16, 1)
    assert "size=(12, 16)" in repr(run.config)
    again = minigan.open_run(tmp_path / "run").resume(steps=2, quiet=True)
    assert again.step == 2
