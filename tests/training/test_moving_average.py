"""The moving average of G's weights: its numbers, its statistics, and that it leaves training alone."""

from functools import partial

import numpy as np
import pytest
from layer_cases import CASES, built

from minigan.backends import Backend
from minigan.errors import CheckpointError, ConfigError, ShapeError
from minigan.nn.layers import (
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    Layer,
    LeakyReLU,
    Reshape,
    SpectralNorm,
)
from minigan.nn.network import Residual, Sequential
from minigan.nn.schedules import CosineRamp
from minigan.training import moving_average
from minigan.training.moving_average import STATISTICS, HalfLife, MovingAverage
from minigan.training.sampling import generate, standing_statistics

every_statistics = pytest.mark.parametrize("statistics", STATISTICS)


def noise(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(size=(n, 3))


def network(backend: Backend, *, seed: int = 0, dtype: str = "float64", width: int = 5) -> Sequential:
    layers = [Dense(width), BatchNorm(momentum=0.5), LeakyReLU(), Residual([Dense(width), BatchNorm()]), Dense(2)]
    return Sequential(layers, name="G").build((3,), backend=backend, dtype=dtype, rng=np.random.default_rng(seed))


def averaged(G: Sequential, **settings) -> MovingAverage:
    settings = {"decay": 0.9, "noise": noise} | settings
    return MovingAverage(network(G.kernels, seed=1, dtype=G.dtype), G, **settings)


def move(G: Sequential, step: int) -> None:
    """Changes weights and statistics as a training step does."""
    rng = np.random.default_rng(step)
    for flat in (G.arena.flat, G.state.flat):
        flat += G.kernels.asarray(rng.uniform(0, 0.1, flat.shape), dtype=G.dtype)
    G.arena.updated()


def host(network: Sequential) -> tuple[np.ndarray, np.ndarray]:
    to_numpy = network.kernels.to_numpy
    return np.array(to_numpy(network.arena.flat)), np.array(to_numpy(network.state.flat))


def test_the_average_is_the_formula(backend: Backend):
    G = network(backend)
    average = averaged(G)
    expected = host(G)  # it begins with G's own
    for one, other in zip(host(average.network), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    for t in range(200):
        move(G, t)
        average.update()
        decay = min(0.9, (1 + t) / (10 + t))
        expected = [decay * old + (1 - decay) * new for old, new in zip(expected, host(G), strict=True)]
    assert average.updates == 200
    for one, other in zip(host(average.network), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_the_average_is_that_of_pytorch(reference: Backend):
    torch = pytest.importorskip("torch")
    from torch.optim.swa_utils import AveragedModel

    G = network(reference)
    average = averaged(G, decay=0.95)
    module = torch.nn.ParameterList([torch.from_numpy(host(G)[0])])

    def share(old: "torch.Tensor", new: "torch.Tensor", count: "torch.Tensor") -> "torch.Tensor":
        t = int(count) - 1  # PyTorch's first call copies
        return old.lerp(new, 1 - min(0.95, (1 + t) / (10 + t)))

    theirs = AveragedModel(module, avg_fn=share)
    theirs.update_parameters(module)
    for t in range(300):
        move(G, t)
        average.update()
        with torch.no_grad():
            module[0].copy_(torch.from_numpy(host(G)[0]))
        theirs.update_parameters(module)
    np.testing.assert_allclose(host(average.network)[0], theirs.module[0].detach().numpy(), rtol=1e-12)


@every_statistics
def test_averaging_and_drawing_leave_the_original_alone(backend: Backend, statistics: str):
    G = network(backend)
    average = averaged(G, statistics=statistics)
    move(G, 0)
    before, version = host(G), G.arena.version
    average.update()
    average.draw(noise(np.random.default_rng(0), 9))
    for one, other in zip(host(G), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert G.arena.version == version


def test_standing_statistics_are_the_mean_of_many_batches(backend: Backend):
    G = network(backend)
    move(G, 0)
    norm = G.layers[1]
    rng, means, variances = np.random.default_rng(5), [], []
    w, b = (backend.to_numpy(p.value) for p in (G.layers[0].w, G.layers[0].b))
    for _ in range(7):
        y = noise(rng, 16) @ w + b
        means.append(y.mean(axis=0))
        variances.append(y.var(axis=0, ddof=1))
    sources = lambda rng, n: (noise(rng, n), None)  # noqa: E731
    standing_statistics(G, sources, rng=np.random.default_rng(5), batches=7, batch_size=16)
    np.testing.assert_allclose(backend.to_numpy(norm.running_mean.value), np.mean(means, axis=0), rtol=1e-9)
    np.testing.assert_allclose(backend.to_numpy(norm.running_var.value), np.mean(variances, axis=0), rtol=1e-9)
    assert [layer.momentum for _, layer in G.walk() if isinstance(layer, BatchNorm)] == [0.5, 0.9]


def test_standing_statistics_fit_averaged_weights(backend: Backend):
    """BatchNorm's outputs have mean 0 and variance 1 over the noise; with running statistics they have not."""
    G = network(backend)
    deviations = {}
    for statistics in ("running", "standing"):
        average = averaged(G, statistics=statistics)
        for t in range(30):
            move(G, t)
            average.update()
        average.settle()
        net = average.network
        z = backend.asarray(noise(np.random.default_rng(0), 5000), dtype=net.dtype)
        y, _ = net.layers[0].forward(z, train=False)
        y, _ = net.layers[1].forward(y, train=False)
        gamma, beta = net.layers[1].gamma.value, net.layers[1].beta.value
        deviations[statistics] = abs(float((((y - beta) / gamma) ** 2).mean()) - 1)
    assert deviations["standing"] < 0.1 < deviations["running"]


def test_standing_statistics_depend_on_nothing_but_weights_and_seed(monkeypatch, backend: Backend):
    monkeypatch.setattr(moving_average, "standing_statistics", partial(standing_statistics, batches=5))
    G = network(backend)
    average = averaged(G, statistics="standing", seed=[3, 1])
    average.settle()
    once = host(average.network)[1]
    average.network.state.flat[...] = 7
    average.draw(noise(np.random.default_rng(0), 2))
    np.testing.assert_array_equal(host(average.network)[1], once)
    other = averaged(G, statistics="standing", seed=[4, 1])
    other.settle()
    assert (host(other.network)[1] != once).any()


def test_batch_statistics_are_those_of_the_batch(backend: Backend):
    G = network(backend)
    average = averaged(G, statistics="batch")
    z = noise(np.random.default_rng(0), 20)
    expected, _ = average.network.forward(backend.asarray(z, dtype=G.dtype), train=True)
    np.testing.assert_array_equal(average.draw(z), backend.to_numpy(expected))
    assert (average.draw(z)[:10] != average.draw(z[:10])).any()  # an image depends on its neighbors
    running = averaged(G).draw(z)
    np.testing.assert_allclose(averaged(G).draw(z[:10]), running[:10], rtol=1e-12)


def spectral(backend: Backend, *, seed: int = 0, dtype: str = "float64") -> Sequential:
    layers = [
        SpectralNorm(Dense(3 * 4 * 4)),
        LeakyReLU(),
        Reshape((4, 4, 3)),
        Residual([SpectralNorm(Conv2D(3, 3)), BatchNorm()]),
        SpectralNorm(ConvTranspose2D(2, 4, stride=2, padding=1)),
    ]
    return Sequential(layers, name="G").build((3,), backend=backend, dtype=dtype, rng=np.random.default_rng(seed))


def train_spectral(G: Sequential, average: MovingAverage, steps: int) -> None:
    """Large steps, so that the u of different steps differ much."""
    for step in range(steps):
        rng = np.random.default_rng(step)
        G.arena.flat += G.kernels.asarray(rng.normal(size=G.arena.flat.shape), dtype=G.dtype)
        G.arena.updated()
        _, tape = G.forward(G.kernels.asarray(noise(rng, 4), dtype=G.dtype), train=True)
        G.commit_statistics(tape)
        average.update()


def norms(network: Sequential) -> list[SpectralNorm]:
    return [layer for _, layer in network.walk() if isinstance(layer, SpectralNorm)]


def effective_norm(layer: SpectralNorm) -> float:
    """The largest singular value of the weight that evaluation uses."""
    w = np.moveaxis(np.asarray(layer.kernels.to_numpy(layer.effective_weight())), layer.output_axis, -1)
    return float(np.linalg.norm(w.reshape(-1, w.shape[-1]), 2))


@every_statistics
def test_averaged_weights_are_divided_by_their_own_largest_singular_value(host_backend: Backend, statistics: str):
    G = spectral(host_backend)
    average = MovingAverage(spectral(host_backend, seed=1), G, decay=0.99, statistics=statistics, noise=noise)
    train_spectral(G, average, 12)
    for layer in norms(average.network):
        assert np.linalg.norm(layer.u.value) == pytest.approx(1, abs=1e-12)
        assert effective_norm(layer) == pytest.approx(1, rel=0.2)  # by an estimate until it is drawn or saved
    average.draw(noise(np.random.default_rng(0), 5))
    for layer in norms(average.network):
        assert effective_norm(layer) == pytest.approx(1, rel=1e-9)


def test_drawing_meanwhile_changes_no_later_average(host_backend: Backend):
    G, drawn = spectral(host_backend), []
    averages = [MovingAverage(spectral(host_backend, seed=1), G, decay=0.9) for _ in range(2)]
    for first in range(0, 9, 3):
        before = G.arena.to_dict(), G.state.to_dict()
        for average in averages:
            G.arena.load_dict(before[0])
            G.state.load_dict(before[1])
            train_spectral(G, average, 3)
        averages[0].draw(noise(np.random.default_rng(first), 2))
    z = noise(np.random.default_rng(0), 5)
    drawn = [average.draw(z) for average in averages]
    np.testing.assert_allclose(*drawn, rtol=1e-12, atol=1e-12)


def test_an_average_of_an_earlier_version_is_repaired(host_backend: Backend):
    """There u is an average of unit vectors, and shorter than 1; other states stay as they are, to the bit."""
    G = spectral(host_backend, dtype="float32")
    average = MovingAverage(spectral(host_backend, seed=1, dtype="float32"), G, decay=0.9)
    train_spectral(G, average, 3)
    saved = average.to_dict()
    us = [name for name in saved if name.endswith(".u")]
    assert len(us) == 3
    average.load_dict({name: 0.7 * array if name in us else array for name, array in saved.items()})
    for name, array in average.to_dict().items():
        if name in us:
            np.testing.assert_allclose(array, saved[name], rtol=1e-6)
        else:
            np.testing.assert_array_equal(array, saved[name])
    average.load_dict(saved)
    assert all(array.tobytes() == saved[name].tobytes() for name, array in average.to_dict().items())


def test_every_state_of_a_layer_can_be_averaged(reference: Backend):
    """Means and variances average to such; a unit vector has to be repaired. A new kind of state must be thought of.

    A kept image of noise is the same in G and in its average.
    """
    kinds = {}
    for case in CASES.values():
        for _, layer in built(case, reference).walk():
            kinds |= {p.name: type(layer) for p in layer.own_state}
    of_augmentation = {"p", "verdict", "counts", "updates"}  # in D, of which there is no average
    of_styles = {"w_avg", "path_length", "noise"}
    assert kinds.keys() == {"running_mean", "running_var", "u"} | of_augmentation | of_styles
    repaired = {name for name, kind in kinds.items() if kind.repair_state is not Layer.repair_state}
    assert repaired == {"u"}


def test_batches_to_draw_are_of_about_one_size(reference: Backend, monkeypatch: pytest.MonkeyPatch):
    """One example alone would have no variance."""
    G, sizes = network(reference), []
    forward = G.forward
    monkeypatch.setattr(G, "forward", lambda z, **options: sizes.append(len(z)) or forward(z, **options))
    assert generate(G, noise(np.random.default_rng(0), 65), batch_size=64, batch_statistics=True).shape == (65, 2)
    assert sizes == [33, 32]


def test_dropout_drops_with_batch_statistics_only(backend: Backend):
    def build(seed: int) -> Sequential:
        layers = [Dense(50), Dropout(0.5), Dense(2)]
        return Sequential(layers).build((3,), backend=backend, rng=np.random.default_rng(seed))

    G, z = build(0), noise(np.random.default_rng(0), 4)
    drawn = {}
    for statistics in STATISTICS:
        average = MovingAverage(build(1), G, decay=0.9, statistics=statistics, noise=noise)
        drawn[statistics] = average.draw(z)
        np.testing.assert_array_equal(average.draw(z), drawn[statistics])  # and draws the same again
    np.testing.assert_array_equal(drawn["running"], drawn["standing"])
    assert (drawn["running"] != drawn["batch"]).any()


@every_statistics
def test_averaging_goes_on_bit_for_bit(monkeypatch, backend: Backend, statistics: str):
    monkeypatch.setattr(moving_average, "standing_statistics", partial(standing_statistics, batches=5))
    G = network(backend, dtype="float32")
    straight, resumed = (averaged(G, statistics=statistics) for _ in range(2))
    for t in range(6):
        move(G, t)
        straight.update()
        if t == 2:
            saved = straight.to_dict()
            resumed.load_dict(saved)
        if t > 2:
            resumed.update()
    z = noise(np.random.default_rng(0), 5)
    assert resumed.draw(z).tobytes() == straight.draw(z).tobytes()
    one, other = straight.to_dict(), resumed.to_dict()
    assert one.keys() == other.keys() == saved.keys()
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)


def test_a_foreign_state_changes_nothing(backend: Backend):
    average = averaged(network(backend))
    before = average.to_dict()
    other = averaged(network(backend, seed=3)).to_dict()
    with pytest.raises(CheckpointError, match=r"a file holds no average of G's weights\. Set ema=0, or start"):
        average.load_dict({k: v for k, v in other.items() if k != "average_updates"}, source="a file")
    with pytest.raises(ShapeError):
        average.load_dict(other | {"average.0.w": np.zeros((3, 6))})
    with pytest.raises(CheckpointError, match="another network"):
        average.load_dict({k: v for k, v in other.items() if k != "average.state.1.running_mean"})
    assert all((average.to_dict()[name] == before[name]).all() for name in before)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"decay": 1.0}, r"decay must be in \[0, 1\), got 1\.0\. Try 0\.999"),
        ({"statistics": "eval"}, "statistics must be one of running, batch, standing, got 'eval'"),
    ],
)
def test_wrong_arguments(reference: Backend, settings: dict, says: str):
    with pytest.raises(ConfigError, match=says):
        averaged(network(reference), **settings)


def test_another_network_or_the_same_is_refused(reference: Backend):
    G = network(reference)
    for other in (G, network(reference, width=30)):
        with pytest.raises(ConfigError, match="expected a second network built like G"):
            MovingAverage(other, G, decay=0.9, noise=noise)


def test_a_half_life_is_told_in_images():
    """After so many images, weights count half; a ramp limits it by the images seen, a schedule moves it."""
    decay = HalfLife(1000, batch_size=100)
    assert decay(0) ** 10 == pytest.approx(0.5, rel=1e-12)
    ramp = HalfLife(1000, batch_size=100, ramp=0.05)
    assert [ramp(0), ramp(400)] == [0.0, decay(0)]
    assert ramp(20) == pytest.approx(0.5 ** (100 / 100))
    assert HalfLife(0, batch_size=8)(5) == 0
    moving = HalfLife(CosineRamp(0, 1000, 10), batch_size=100)
    assert [moving(0), moving(5), moving(99)] == pytest.approx([0, 0.5 ** (100 / 500), decay(0)])
    with pytest.raises(ConfigError, match="HalfLife: ramp"):
        HalfLife(1000, batch_size=100, ramp=0)


def test_an_average_by_half_life_starts_as_g_itself_and_goes_on_from_a_checkpoint(backend: Backend):
    G = network(backend)
    average = averaged(G, decay=HalfLife(CosineRamp(0, 40, 20), batch_size=10))
    expected, kept = host(G), {}
    for t in range(30):
        move(G, t)
        d = average.decay(t)
        expected = tuple(d * old + (1 - d) * new for old, new in zip(expected, host(G), strict=True))
        average.update()
        if t == 0:
            np.testing.assert_array_equal(host(average.network)[0], host(G)[0])
        if t == 12:
            kept = average.to_dict()
    for one, other in zip(host(average.network), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    again_g = network(backend)
    again = averaged(again_g, decay=HalfLife(CosineRamp(0, 40, 20), batch_size=10))
    for t in range(13):
        move(again_g, t)
    again.load_dict(kept)
    for t in range(13, 30):
        move(again_g, t)
        again.update()
    for name, array in again.to_dict().items():
        np.testing.assert_array_equal(array, average.to_dict()[name], err_msg=name)
