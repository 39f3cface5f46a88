"""Several batches for one update: the gradients of one large batch, in the memory of a small one."""

import tracemalloc

import numpy as np
import pytest

import minigan
from minigan.backends import get_backend
from minigan.checkpoints.format import CHECKPOINT_FORMAT, load_arrays
from minigan.errors import ConfigError, DataError, DivergenceError
from minigan.losses import get_loss, l1
from minigan.losses.gradient_penalties import R1, R1R2, R2
from minigan.nn.layers import BatchNorm, Conv2D, Dense, Flatten, Layer, LeakyReLU, Reshape, Sigmoid, Tanh
from minigan.nn.network import Sequential
from minigan.nn.optimizers import SGD, Adam
from minigan.recipes import RECIPES, get_recipe
from minigan.training.alternating import AlternatingOptimizer
from minigan.training.batch import Batch
from minigan.training.cycle_consistent import CycleConsistent, Sides
from minigan.training.fake_pool import FakePool
from minigan.training.generator_term import GeneratorTerm
from minigan.training.learner import Learner
from minigan.training.stepper import Stepper
from minigan.training.supervised import Supervised
from minigan.training.variational import VariationalAutoencoder

IMAGE, LATENT, N, K = (4, 4, 1), 3, 5, 3


def network(name: str, layers: list[Layer], shape: tuple[int, ...], engine=None) -> Sequential:
    rng = np.random.default_rng(len(name) + ord(name[0]))
    return Sequential(layers, name=name).build(shape, backend=engine or "reference", dtype="float64", rng=rng)


def gan(accumulate: int, *, loss="non-saturating", joined_bytes=0, **options) -> AlternatingOptimizer:
    engine = type(get_backend("reference"))()
    engine.joined_bytes = joined_bytes
    G = network("G", [Dense(16), Sigmoid(), Reshape(IMAGE)], (LATENT,), engine)
    D = network("D", [Conv2D(4, 3), Tanh(), Flatten(), Dense(8), LeakyReLU(), Dense(1)], IMAGE, engine)
    return AlternatingOptimizer(
        G,
        D,
        loss=get_loss(loss),
        noise=lambda rng, n: rng.standard_normal((n, LATENT)),
        g_optimizer=SGD(G.arena, lr=0.1, momentum=0.5),
        d_optimizer=SGD(D.arena, lr=0.1),
        accumulate=accumulate,
        **options,
    )


def supervised(accumulate: int) -> Supervised:
    G = network("G", [Conv2D(3, 3), Tanh(), Conv2D(1, 3)], IMAGE)
    terms = [GeneratorTerm(1.0, l1)]
    return Supervised(G, terms=terms, optimizer=SGD(G.arena, lr=0.1), accumulate=accumulate)


def autoencoder(accumulate: int) -> VariationalAutoencoder:
    encoder = network("E", [Flatten(), Dense(8), Tanh(), Dense(2 * LATENT)], IMAGE)
    G = network("G", [Dense(8), Tanh(), Dense(16), Reshape(IMAGE)], (LATENT,))
    optimizers = {"e_optimizer": SGD(encoder.arena, lr=0.01), "g_optimizer": SGD(G.arena, lr=0.01)}
    return VariationalAutoencoder(encoder, G, kl_weight=0.7, accumulate=accumulate, **optimizers)


def cycle_consistent(accumulate: int, *, joined_bytes=0, **options) -> CycleConsistent:
    engine = type(get_backend("reference"))()
    engine.joined_bytes = joined_bytes
    names = ("G_AB", "G_BA", "D_A", "D_B")
    nets = [network(name, [Conv2D(2, 3), Tanh(), Conv2D(1, 3)], IMAGE, engine) for name in names]
    optimizers = {name: SGD(net.arena, lr=0.1) for name, net in zip(names, nets, strict=True)}
    return CycleConsistent(
        *nets, optimizers=optimizers, loss=get_loss("least-squares"), accumulate=accumulate, **options
    )


KINDS = {
    "images": lambda x: x[:, 0],
    "pairs": lambda x: Batch(x[:, 0], source=x[:, 1]),
    "sides": lambda x: Sides(x[:, 0], x[:, 1]),
}


def batches(size: int, *, kind: str = "images"):
    """The same examples in the same order, whatever the size of a batch."""
    rng = np.random.default_rng(1)
    while True:
        yield KINDS[kind](rng.uniform(size=(size, 2, *IMAGE)))


GANS = {
    **{loss: {"loss": loss} for loss in ("non-saturating", "hinge", "least-squares", "wasserstein")},
    "both batches as one": {"joined_bytes": 1 << 20},
    "a penalty": {"penalty": R1(weight=3.0)},
    "a penalty now and then, several critics": {"penalty": R2(weight=3.0, interval=2), "n_critic": 3},
    "pairs, both penalties on the loss's passes": {"loss": "relativistic-pairing", "penalty": R1R2(weight=3.0)},
    "an auxiliary term": {"generator_terms": [GeneratorTerm(0.3, l1)]},
}
MAKERS = {
    **{name: lambda k, options=options: gan(k, **options) for name, options in GANS.items()},
    "supervised": supervised,
    "variational": autoencoder,
    "cycle-consistent": cycle_consistent,
    "cycle-consistent, two batches as one": lambda k: cycle_consistent(k, joined_bytes=1 << 20),
}


@pytest.mark.parametrize("name", MAKERS)
def test_it_is_the_batch_of_that_many_times_the_size(name):
    results = []
    for size, accumulate in ((N, K), (N * K, 1)):
        learner, rng = MAKERS[name](accumulate), np.random.default_rng(2)
        source = batches(size, kind={"supervised": "pairs", "cycle": "sides"}.get(name.split("-")[0], "images"))
        values = np.array([learner.step(source, rng) for _ in range(4)])
        results.append([values, *learner.to_dict().values(), *(grads.flat for grads in learner.grads.values())])
        extra = name.startswith("pairs")  # G's step has new reals
        assert learner.batches_per_step == accumulate * (getattr(learner, "n_critic", 1) + extra)
    for parts, whole in zip(*results, strict=True):
        np.testing.assert_allclose(parts, whole, rtol=1e-12, atol=1e-12)


def test_statistics_are_those_of_each_batch():
    """BatchNorm takes each batch by itself, and commits once for each."""
    G = network("G", [Dense(16), BatchNorm(), Sigmoid(), Reshape(IMAGE)], (LATENT,))
    D = network("D", [Flatten(), Dense(1)], IMAGE)
    given: list[np.ndarray] = []

    def noise(rng: np.random.Generator, n: int) -> np.ndarray:
        given.append(rng.standard_normal((n, LATENT)))
        return given[-1]

    learner = AlternatingOptimizer(
        G,
        D,
        loss=get_loss("hinge"),
        noise=noise,
        g_optimizer=SGD(G.arena, lr=0.1),
        d_optimizer=SGD(D.arena, lr=0.1),
        accumulate=2,
    )
    before = G.layers[0].w.value.copy()
    learner.step(batches(N), np.random.default_rng(0))
    mean = np.zeros(16)
    for z in given:
        mean = 0.9 * mean + 0.1 * (z @ before).mean(axis=0)
    assert len(given) == 2
    np.testing.assert_allclose(G.layers[1].running_mean.value, mean, rtol=1e-12)


def test_the_pool_gives_each_batch_its_older_fakes(monkeypatch):
    learner = gan(2)
    learner.fake_pool = FakePool(learner.G, size=2 * N)
    shown, added = [], learner._add_discriminator_gradients
    monkeypatch.setattr(
        learner, "_add_discriminator_gradients", lambda x, fake, *rest: shown.append(fake) or added(x, fake, *rest)
    )
    source, rng = batches(N), np.random.default_rng(2)
    learner.step(source, rng)
    assert learner.fake_pool.count == 2 * N
    first = np.concatenate(shown)
    learner.step(source, rng)
    for fakes in shown[2:]:
        older = [any(np.array_equal(fake, one) for one in first) for fake in fakes]
        assert sum(older[: N // 2]) >= 1
        assert not any(older[N // 2 :])


def test_both_pools_take_the_fakes_of_each_batch_in_turn():
    learner = cycle_consistent(3)
    learner.pools = {
        "D_A": FakePool(learner.networks["G_BA"], size=20),
        "D_B": FakePool(learner.networks["G_AB"], size=20),
    }
    learner.step(batches(N, kind="sides"), np.random.default_rng(2))
    assert [pool.count for pool in learner.pools.values()] == [3 * N, 3 * N]
    source = batches(N, kind="sides")
    other = cycle_consistent(1)
    fakes = [other.networks["G_AB"].forward(next(source).a, train=True)[0] for _ in range(3)]
    np.testing.assert_allclose(learner.pools["D_B"].fakes[: 3 * N], np.concatenate(fakes), rtol=1e-12)


def test_memory_is_that_of_one_batch():
    """Activations of one batch; of the others only what goes in: real examples, noise and fakes."""
    shape, n, peaks = (16, 16, 1), 16, []
    for accumulate in (1, 6):
        recipe = get_recipe("dcgan").from_settings({"batch_size": n, "width": 32, "accumulate": accumulate})
        learner = recipe.assemble(shape, backend="reference", rng=np.random.default_rng(0))
        real = np.zeros((n, *shape), np.float32)
        rng = np.random.default_rng(1)
        tracemalloc.start()
        learner.step(iter([real] * accumulate), rng)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    inputs = 6 * (2 * real.nbytes + n * 100 * 8)
    assert peaks[1] < 1.1 * peaks[0] + inputs


def test_memory_of_two_generators_is_that_of_one_batch():
    shape, n, peaks = (16, 16, 1), 8, []
    for accumulate in (1, 6):
        recipe = get_recipe("cyclegan").from_settings(
            {"batch_size": n, "width": 8, "d_width": 8, "blocks": 1, "accumulate": accumulate}
        )
        learner = recipe.assemble(shape, backend="reference", rng=np.random.default_rng(0))
        images = np.zeros((n, *shape), np.float32)
        tracemalloc.start()
        learner.step(iter([Sides(images, images)] * accumulate), np.random.default_rng(1))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] + 6 * 4 * images.nbytes


@pytest.mark.parametrize("spoilt", [0, 1])
def test_a_number_that_is_not_finite_in_any_batch_changes_nothing(spoilt):
    learner = gan(2)
    before = {name: array.copy() for name, array in learner.to_dict().items()}
    source = batches(N)
    given = [next(source), next(source)]
    given[spoilt][2] = np.nan
    with pytest.raises(DivergenceError, match=r"the input of D is not finite"):
        learner.step(iter(given), np.random.default_rng(0))
    for name, array in learner.to_dict().items():
        np.testing.assert_array_equal(array, before[name])


class Failing:
    """Batches, one of which cannot be read the first time."""

    def __init__(self, at: int) -> None:
        self.source, self.left = batches(N), at

    def __iter__(self):
        return self

    def __next__(self):
        self.left -= 1
        if self.left == -1:
            raise DataError("a file was removed")
        return next(self.source)


@pytest.mark.parametrize("at", range(8))
def test_a_step_that_fails_at_any_of_its_batches_is_undone(at):
    """After it the same steps give the bits of a training that was never disturbed."""

    def stepper(source) -> Stepper:
        learner = gan(2, penalty=R1(), n_critic=2)
        learner.fake_pool = FakePool(learner.G, size=7)
        return Stepper(learner, source, np.random.default_rng(2))

    quiet, disturbed = stepper(batches(N)), stepper(Failing(at))
    done = 0
    while done < 3:
        try:
            disturbed.step()
            done += 1
        except DataError as error:
            assert disturbed.back(error) == 0
    for _ in range(3):
        quiet.step()
    wanted = quiet.learner.to_dict()
    for name, array in disturbed.learner.to_dict().items():
        np.testing.assert_array_equal(array, wanted[name])


@pytest.mark.parametrize("recipe", ["dcgan", "vae", "pix2pix", "denoise", "mlp", "multi-d", "cyclegan"])
def test_recipes_have_it_as_a_setting(recipe):
    chosen = get_recipe(recipe).from_settings(
        {"accumulate": "3", "batch_size": 2} | ({"width": 2} if recipe != "mlp" else {})
    )
    side = 32 if recipe == "pix2pix" else 28
    learner = chosen.assemble((side, side, 1), backend="reference", rng=np.random.default_rng(0))
    assert learner.accumulate == 3
    assert "accumulate=3" in repr(learner)


def test_a_run_of_all_three_settings_goes_on_bit_for_bit(tmp_path):
    """Accumulated batches, mirrored data, and p that has moved before the checkpoint and after it."""
    settings = {
        "preset": "paper",
        "accumulate": 2,
        "mirror": True,
        "augment": "adaptive:translation",
        "augment_over": 64,
    }
    settings |= {"width": 2, "latent": 3, "batch_size": 4, "backend": "reference", "quiet": True, "log_every": 1}
    settings |= {"checkpoint_every": 5, "augment_target": 0.01, "lr": 1e-2}
    whole = minigan.train("dcgan", data="digits", steps=9, out=tmp_path / "whole", **settings)
    parts = minigan.train("dcgan", data="digits", steps=5, out=tmp_path / "parts", **settings)
    parts.resume(steps=9)
    ps = [[record["augment_p"] for record in run.log] for run in (whole, parts)]
    assert ps[0] == ps[1]
    assert ps[0][4] > 0
    assert ps[0][8] not in (0, ps[0][4])
    files = [run.folder / "checkpoints" / "step-00000009.safetensors" for run in (whole, parts)]
    one, two = (load_arrays(file, format=CHECKPOINT_FORMAT) for file in files)
    assert one[1]["rng"] == two[1]["rng"]
    assert one[1]["loader"] == two[1]["loader"]
    for name, array in one[0].items():
        np.testing.assert_array_equal(array, two[0][name], err_msg=name)


def test_bad_numbers_are_refused():
    for wrong in ("0", "-1"):
        with pytest.raises(ConfigError, match=rf"dcgan: accumulate must be positive, got {wrong}\."):
            get_recipe("dcgan").from_settings({"accumulate": wrong})
    with pytest.raises(ConfigError, match=r"accumulate must be an integer, got '1\.5'"):
        get_recipe("dcgan").from_settings({"accumulate": "1.5"})
    with pytest.raises(ConfigError, match=r"accumulate must be a positive integer, got 0"):
        gan(0)


def test_a_recipe_of_ones_own_that_ignores_it_is_refused():
    class Own(RECIPES["mlp"]):
        def learner(self, networks) -> Learner:
            G, D = networks
            return AlternatingOptimizer(
                G,
                D,
                loss=self.adversarial_loss(),
                noise=self.noise,
                g_optimizer=Adam(G.arena, lr=1e-3),
                d_optimizer=Adam(D.arena, lr=1e-3),
            )

    Own(hidden=4).assemble((2,), backend="reference", rng=np.random.default_rng(0))
    with pytest.raises(ConfigError, match=r"mlp: accumulate=2 is not for this recipe, .* Use `batch_size`\."):
        Own(hidden=4, accumulate=2).assemble((2,), backend="reference", rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("recipe", "settings", "most"),
    [("mlp", {"batch_size": 4, "hidden": 2}, 5), ("cyclegan", {"batch_size": 3, "width": 2, "blocks": 1}, 4)],
)
def test_an_update_takes_at_most_all_of_the_data(recipe, settings, most, tmp_path):
    """K need not divide anything: it counts whole batches. Twenty points; thirteen images on the smaller side."""
    if recipe == "mlp":
        np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(20, 2)))
        data = {"source": str(tmp_path / "points.npy")}
    else:
        for name, count in (("a.npy", 30), ("b.npy", 13)):
            np.save(tmp_path / name, np.random.default_rng(0).integers(0, 255, (count, 8, 8), np.uint8))
        data, settings = {"source": str(tmp_path / "a.npy")}, settings | {"data_b": str(tmp_path / "b.npy")}
        settings |= {"held_back": 0}
    for accumulate in (3, most, most + 1, 10**9):
        chosen = get_recipe(recipe)(accumulate=accumulate, **settings)
        dataset = chosen.open_data(**data, seed=0)
        if accumulate <= most:
            chosen.loader(dataset, seed=0, prefetch=0).close()
            continue
        with pytest.raises(ConfigError, match=rf"accumulate={accumulate} batches .* at most `accumulate={most}`"):
            chosen.loader(dataset, seed=0, prefetch=0)
