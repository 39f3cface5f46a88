"""Weights packed once: the same images, new forms as soon as weights change, no memory where nobody draws often."""

import threading
from dataclasses import fields

import numpy as np
import pytest

pytest.importorskip("numba")

from selection import few_quick

import minigan
from minigan.backends.constants import Constants, Held
from minigan.backends.cpu import CpuBackend
from minigan.backends.cpu import conv as module
from minigan.backends.geometry import ConvGeometry, conv_geometry
from minigan.nn import ConvTranspose2D, Sequential
from minigan.nn.optimizers import SGD
from minigan.recipes import DCGAN, RECIPES, Recipe
from minigan.runs.trained_generator import TrainedGenerator
from minigan.training.moving_average import MovingAverage
from minigan.training.sampling import MANY_BATCHES, constants_of, generate

SMALL = {"width": 16, "channel_max": 16, "w_dim": 16, "hidden": 32}
SHAPES = {"minimax": (2,)}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def small(name: str) -> Recipe:
    kind = RECIPES[name]
    settings = {field.name for field in fields(kind)}
    return kind(**{key: value for key, value in SMALL.items() if key in settings})


def drawn(trained: TrainedGenerator) -> tuple[np.ndarray, np.ndarray]:
    """One sample by constants, and the same by the network alone."""
    z, condition = trained.recipe.sources(rng(7), 1)
    return np.asarray(trained.sample(1, seed=7)), np.asarray(generate(trained.G, z, condition))


def weights(G: Sequential) -> list[np.ndarray]:
    """Weights of the transposed convolutions: dense, strided, and thin with one channel."""
    return [layer.w.value for layer in G if isinstance(layer, ConvTranspose2D)]


@pytest.fixture(scope="module")
def backend() -> CpuBackend:
    return CpuBackend(threads=2, precision="fp32")


@pytest.fixture
def trained(backend) -> TrainedGenerator:
    recipe = DCGAN(width=64)
    G = recipe.built_generator((28, 28, 1), backend=backend, rng=rng())
    return TrainedGenerator(G, recipe, 0, 1.0, (), averaged=False)


@pytest.fixture
def packings(monkeypatch) -> list[str]:
    """The names of packing kernels that ran."""
    ran: list[str] = []
    run = module.ConvKernels._once

    def noted(self, w, kind, size, dtype, fill):
        return run(self, w, kind, size, dtype, lambda packed: (ran.append(kind[0]), fill(packed)))

    monkeypatch.setattr(module.ConvKernels, "_once", noted)
    return ran


@pytest.mark.parametrize("name", few_quick(RECIPES, [one for one in RECIPES if one != "r3gan"]))
def test_each_recipe_draws_the_same_images(backend, name: str):
    recipe = small(name)
    shape = SHAPES.get(name, (*recipe.fit_size((32, 32)), 3))
    G = recipe.built_generator(shape, backend=backend, rng=rng())
    z = rng(1).standard_normal((3, *G.input_shape))
    plain = [generate(G, z[i : i + 1])[0] for i in range(3)]
    np.testing.assert_allclose(
        generate(G, np.repeat(z, MANY_BATCHES, axis=0), batch_size=1)[::MANY_BATCHES], plain, atol=2e-5
    )


def test_plans_for_packed_weights(backend):
    """One image: no weights in place, and Winograd only where its products save more than its transforms cost."""
    deep, wide, square = (
        conv_geometry((8, 8, 256), 512, (4, 4), (2, 2), "same"),
        conv_geometry((32, 32, 64), 128, (4, 4), (2, 2), "same"),
        conv_geometry((16, 16, 256), 256, (3, 3), (1, 1), "same"),
    )

    def name(kernel: str, g: ConvGeometry, images: int, *, packed: bool) -> str:
        return backend.plan(kernel, g, images, np.dtype(np.float32), packed=packed).name

    if backend.unit is None:  # else tiles
        assert name("conv2d_input_grad", deep, 1, packed=False) == "overlap-add, weights in place"
        assert [name("conv2d_input_grad", g, 1, packed=True) for g in (deep, wide)] == ["phases", "phases"]
        for g in (deep, wide):
            assert name("conv2d_input_grad", g, 64, packed=True).startswith("winograd")
        assert name("conv2d", square, 1, packed=True).startswith("winograd")


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize(
    "g",
    [
        conv_geometry((8, 8, 32), 256, (4, 4), (2, 2), "same"),  # in place, where weights are not constant
        conv_geometry((9, 7, 40), 48, (3, 3), (1, 1), "same"),
        conv_geometry((10, 9, 3), 32, (5, 4), (2, 3), "same"),
        conv_geometry((12, 12, 20), 3, (3, 3), (1, 1), "same"),
    ],
)
def test_packed_weights_give_the_same_convolutions(g: ConvGeometry, images: int):
    for backend in (CpuBackend(threads=2, precision="fp32"), CpuBackend(threads=1, precision="fp32", exact=True)):
        w = rng().standard_normal(g.weight_shape, dtype=np.float32)
        x = rng(1).standard_normal((images, *g.input_shape), dtype=np.float32)
        dy = rng(2).standard_normal((images, *g.output_shape), dtype=np.float32)
        expected = backend.conv2d(x, w, None, g), backend.conv2d_input_grad(dy, w, g)
        constants = Constants([w])
        for _ in range(2):
            with backend.holding(constants):
                found = backend.conv2d(x, w, None, g), backend.conv2d_input_grad(dy, w, g)
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_allclose(one, other, atol=2e-5 * np.abs(other).max())


def test_one_array_has_a_form_for_each_kernel_and_stride(backend):
    w = rng().standard_normal((4, 4, 16, 16), dtype=np.float32)
    constants = Constants([w])
    for stride in (1, 2):
        g = conv_geometry((8, 8, 16), 16, (4, 4), (stride, stride), "same")
        x, dy = (rng(1).standard_normal((1, *s), dtype=np.float32) for s in (g.input_shape, g.output_shape))
        expected = backend.conv2d(x, w, None, g), backend.conv2d_input_grad(dy, w, g)
        with backend.holding(constants):
            found = backend.conv2d(x, w, None, g), backend.conv2d_input_grad(dy, w, g)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-5 * np.abs(other).max())


def test_weights_are_packed_once_for_many_calls(trained, packings):
    first = trained.sample(1, seed=3)
    assert packings == ["phases", "strips"]  # the transposed convolutions with stride 2
    assert np.array_equal(trained.sample(1, seed=3), first)
    trained.sample(2)
    assert len(packings) == 2


def test_many_batches_share_what_few_do_not(trained, packings):
    z = rng().standard_normal((MANY_BATCHES, 100))
    generate(trained.G, z, batch_size=1)
    assert len(packings) == 2
    assert trained.G.kernels.held.constants.nbytes == 0  # nothing stays behind


@pytest.mark.parametrize("how", ["optimizer", "load_dict", "average", "by hand", "built again"])
def test_changed_weights_are_packed_anew(trained, how: str):
    G = trained.G
    before, _ = drawn(trained)
    other = trained.recipe.built_generator((28, 28, 1), backend=G.kernels, rng=rng(5))
    if how == "optimizer":
        grads = G.gradients()
        grads.flat[...] = 1
        SGD(G.arena, lr=0.1).step(grads)
    elif how == "load_dict":
        G.arena.load_dict(other.arena.to_dict())
    elif how == "average":
        average = MovingAverage(G, other, decay=0.5)  # G takes the other's weights at once
        average.update()
    elif how == "by hand":
        weights(G)[1][...] = 0.5
        G.arena.updated()
    else:
        G.build(G.input_shape, backend=G.kernels, rng=rng(6))
    after, alone = drawn(trained)
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, alone, atol=2e-5)


def test_statistics_may_change_without_notice(trained):
    before, _ = drawn(trained)
    z = rng(2).standard_normal((8, 100), dtype=np.float32)
    trained.G.commit_statistics(trained.G.forward(z, train=True)[1])
    after, alone = drawn(trained)
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, alone, atol=2e-5)


def test_training_and_large_batches_keep_nothing(trained):
    G, constants = trained.G, constants_of(trained.G)
    _, strided, thin = weights(G)
    with G.kernels.holding(constants):
        generate(G, rng().standard_normal((64, 100)))
        assert constants.nbytes < strided.nbytes  # none but the thin last layer's
        generate(G, rng().standard_normal((1, 100)))
        assert strided.nbytes <= constants.nbytes < 1.1 * (strided.nbytes + 32 * thin.nbytes)


def test_who_else_uses_the_backend_is_not_concerned():
    held, seen = Held(), []
    w = np.zeros(3)
    with held.hold(Constants([w])):
        other = threading.Thread(target=lambda: seen.append(w in held.constants))
        other.start()
        other.join()
        assert w in held.constants
        assert w.copy() not in held.constants
        with pytest.raises(minigan.MiniganError), held.hold(Constants()):
            assert w not in held.constants
            raise minigan.MiniganError
        assert w in held.constants
    assert seen == [False]
    assert w not in held.constants
