"""Frames show the engine's own numbers: each layer against another way to get it."""

import base64

import numpy as np
import pytest
from live_sessions import live_run

from minigan.data.points import grid, ring
from minigan.evaluation.metrics.modes import mode_coverage
from minigan.live.frames import frames_of
from minigan.live.known_optimum import fake_density, mixture_density, optimal_reading, reading_of
from minigan.live.packing import packed_field, packed_points
from minigan.live.plane import ARROWS, COARSE, LAYERS
from minigan.live.view import Unit, View
from minigan.losses import get_loss


def field(packed):
    levels = np.frombuffer(base64.b64decode(packed["data"]), np.uint8).reshape(packed["shape"])
    return packed["low"] + levels * ((packed["high"] - packed["low"]) / 255)


def vectors(packed):
    return np.frombuffer(base64.b64decode(packed["data"]), "<i2").reshape(-1, 2) * (packed["unit"] / 8192)


@pytest.fixture
def run(tmp_path):
    with live_run(tmp_path / "run") as run:
        for _ in range(5):
            run.advance()
        yield run


EVERYTHING = View(LAYERS, is_still=False)


def cells(extent, side=COARSE):
    axis = (np.arange(side) + 0.5) * 2 * extent / side - extent
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype(np.float32)


def test_numbers_survive_packing():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(7, 5)).astype(np.float32)
    assert np.abs(field(packed_field(values)) - values).max() <= np.ptp(values) / 255
    points = rng.uniform(-3, 3, (20, 2))
    assert np.abs(vectors(packed_points(points, unit=1.0)) - points).max() < 1e-4
    assert np.isfinite(field(packed_field(np.array([np.nan, np.inf, 1.0])))).all()


def test_the_plane_is_the_networks(run):
    frames = frames_of(run.prepared)
    frame = frames.frame(run.game, EVERYTHING)
    G, D = run.game.G, run.game.D
    z = frames.z.astype(np.float32)
    fakes = G.forward(z, train=False)[0]
    assert np.abs(vectors(frame["fake"]) - fakes).max() < 1e-3
    logits = D.forward(cells(frames.extent), train=False)[0].reshape(COARSE, COARSE)
    assert np.abs(field(frame["surface"]) - 1 / (1 + np.exp(-logits))).max() < 1 / 255
    covered = mode_coverage(fakes, centers=frames.mixture.centers, sigma=frames.mixture.sigma)
    assert frame["modes"]["hit"] == covered.histogram.tolist() and frame["modes"]["of"] == 8
    net = vectors(frame["manifold"])
    drawn = G.forward(frames.net.astype(np.float32), train=False)[0]
    assert np.abs(net - drawn).max() < 1e-3


def test_slopes_and_pulls_are_differences_of_the_loss(run):
    frames = frames_of(run.prepared)
    frame = frames.frame(run.game, EVERYTHING)
    D, step = run.game.D, 1e-2
    points = cells(frames.extent)
    judged = [D.forward(points + np.float32(step) * e, train=False)[0] for e in np.eye(4, 2, dtype=np.float32)[:2]]
    back = [D.forward(points - np.float32(step) * e, train=False)[0] for e in np.eye(4, 2, dtype=np.float32)[:2]]
    slope = np.hypot(*((a - b).ravel() / (2 * step) for a, b in zip(judged, back, strict=True)))
    found = field(frame["slope"]).ravel()
    assert np.median(np.abs(found - slope)) < 0.02 * slope.max()
    fakes, pulls = vectors(frame["fake"])[:ARROWS].astype(np.float32), vectors(frame["arrows"])
    assert pulls.shape == (ARROWS, 2)

    def loss_of(x):
        return np.array([float(run.game.loss.generator(D.forward(row[None], train=False)[0])[0]) for row in x])

    differences = [
        -(loss_of(fakes + np.float32(step) * e) - loss_of(fakes - np.float32(step) * e)) / (2 * step)
        for e in np.eye(2, dtype=np.float32)
    ]
    assert np.median(np.abs(np.stack(differences, 1) - pulls)) < 0.05 * np.abs(pulls).max()


def test_only_what_somebody_looks_at_is_made(run):
    frames = frames_of(run.prepared)
    assert set(frames.frame(run.game, View(()))) == {"fake", "modes"}
    assert set(frames.frame(run.game, View(("slope",)))) == {"fake", "modes", "slope"}
    assert frames.frame(run.game, View(("surface",), is_still=True))["surface"]["shape"] == [80, 80]


@pytest.mark.parametrize("penalty", ["r1", "r2", "wgan-gp", "dragan"])
def test_penalty_points_have_ds_slope(run, penalty):
    run.change({"penalty": penalty})
    found = frames_of(run.prepared).frame(run.game, View(("penalty",)))["penalty"]
    x = run.game.D.kernels.asarray(vectors(found["at"]), dtype="float32")
    logits, tape = run.game.D.forward(x, train=False)
    dx = run.game.D.backward(np.ones_like(logits), tape, grads=None)
    slopes = np.linalg.norm(dx, axis=1)
    assert np.abs(field(found["slope"]) - slopes).max() < 0.03 * slopes.max() + 1e-3


def test_frames_change_nothing_and_are_the_same_again(run):
    frames = frames_of(run.prepared)
    before, rng = run.state.arrays(), run.state.rng.bit_generator.state
    view = View(LAYERS, Unit("D", 1, 0))
    assert frames.frame(run.game, view) == frames.frame(run.game, view)
    assert all(np.array_equal(before[name], array) for name, array in run.state.arrays().items())
    assert run.state.rng.bit_generator.state == rng


@pytest.mark.parametrize("settings", [{"pack": 4}, {"loss": "relativistic-average"}, {"loss": "wasserstein"}])
def test_other_games_have_all_layers(tmp_path, settings):
    with live_run(tmp_path / "run", penalty="wgan-gp", **settings) as run:
        run.advance()
        frame = frames_of(run.prepared).frame(run.game, EVERYTHING)
        assert len(vectors(frame["arrows"])) == ARROWS and set(LAYERS) <= set(frame)
        assert (frame["optimal"] is None) == (settings.get("loss") == "wasserstein")


def test_units_are_activations(run):
    frames = frames_of(run.prepared)
    names = frames.about(run.game)["networks"]["D"]
    index = next(i for i, one in enumerate(names) if "LeakyReLU" in one["name"])
    found = field(frames.frame(run.game, View((), Unit("D", index, 0)))["units"])
    hidden = run.game.D[:3].forward(cells(frames.extent, 24), train=False)[0]
    assert found.shape == (8, 24, 24)
    assert np.abs(found - hidden.T.reshape(8, 24, 24)).max() < np.ptp(found) / 100
    for wrong in (Unit("D", 99, 0), Unit("G", 0, 0)):
        assert frames.frame(run.game, View((), wrong)).get("units") is None or wrong.network == "G"


# ------------------------------------------------------------------------------------------ the best D


@pytest.mark.parametrize("mixture", [ring(count=10), grid(count=10)], ids=["ring", "grid"])
def test_the_mixtures_density_is_exact(mixture):
    extent = 1.6 * float(np.abs(mixture.centers).max())
    axis = np.linspace(-extent, extent, 401)
    p = mixture_density(axis, mixture.centers, sigma=mixture.sigma, blur=0.1)
    assert p.sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=1e-3)
    x, y = axis[150], axis[260]
    variance = mixture.sigma**2 + 0.1**2
    squares = ((np.array([x, y]) - mixture.centers) ** 2).sum(axis=1)
    assert p[260, 150] == pytest.approx(np.mean(np.exp(-squares / 2 / variance)) / (2 * np.pi * variance))


@pytest.mark.parametrize("name", ["non-saturating", "minimax", "squared-probability", "least-squares", "hinge"])
def test_the_best_d_minimizes_ds_loss(name):
    """At a place with densities p and q: against a search over all logits."""
    loss, logits = get_loss(name), np.linspace(-6, 6, 4001).reshape(-1, 1)
    for p, q in ((0.7, 0.3), (0.2, 0.8)):
        costs = [p * loss.discriminator(s, 1.0)[0] + q * loss.discriminator(s, 0.0)[0] for s in logits]
        best = reading_of(loss, logits[[int(np.argmin(costs))]]).values[0, 0]
        assert optimal_reading(loss, np.array([p]), np.array([q]))[0] == pytest.approx(best, abs=5e-3)


def test_where_there_is_nothing_the_best_d_is_undecided():
    p, q = np.array([1.0, 1e-9]), np.array([1.0, 1e-30])
    for name in ("minimax", "hinge"):
        assert optimal_reading(get_loss(name), p, q)[1] == pytest.approx(0.5, abs=1e-3)
    assert optimal_reading(get_loss("wasserstein"), p, q) is None


def test_equal_densities_leave_d_undecided():
    points = ring(count=20_000).read(np.arange(20_000))
    axis = np.linspace(-1.3, 1.3, 60)
    mixture = ring(count=10)
    p = mixture_density(axis, mixture.centers, sigma=mixture.sigma, blur=0.1)
    best = optimal_reading(get_loss("minimax"), p, fake_density(axis, points, blur=0.1))
    assert np.abs(best - 0.5).max() < 0.03


# ------------------------------------------------------------------------------------------ images


@pytest.fixture
def digits(tmp_path):
    with live_run(tmp_path / "run", data="digits", recipe="mlp", hidden=8, batch_size=16) as run:
        run.advance()
        yield run


def bytes_of(packed):
    return np.frombuffer(base64.b64decode(packed["data"]), np.uint8).reshape(packed["shape"])


def test_pictures_are_gs_and_the_pull_is_ds(digits):
    frames = frames_of(digits.prepared)
    frame = frames.frame(digits.game, View(("pull",)))
    game, recipe = digits.game, digits.prepared.recipe
    condition = None if frames.condition is None else frames.condition.astype(np.float32)
    fakes = game.G.given(condition).forward(frames.z.astype(np.float32), train=False)[0]
    assert np.array_equal(bytes_of(frame["images"]), np.rint((np.clip(recipe.to_images(fakes), -1, 1) + 1) * 127.5))
    D = game.D.given(condition)
    logits, tape = D.forward(fakes, train=True)
    pull = -D.backward(game.loss.generator(logits)[1], tape, grads=None)
    shown = bytes_of(frame["pull"]).astype(float) - 127.5
    assert np.corrcoef(shown[3].ravel(), pull[3].ravel())[0, 1] > 0.99
    assert np.allclose(frame["opinions"], 1 / (1 + np.exp(-logits.ravel())), atol=1e-4)


def test_whole_groups_of_pictures_are_judged(tmp_path):
    """StyleGAN2's D compares the images of a group of 32, of 36 pictures."""
    tiny = {"latent": 4, "w_dim": 4, "channel_base": 32, "channel_max": 4, "size": 8, "batch_size": 4}
    with live_run(tmp_path / "run", data="digits", recipe="stylegan2", **tiny) as run:
        frame = frames_of(run.prepared).frame(run.game, View(("pull",)))
    assert bytes_of(frame["images"]).shape[0] == 36
    assert len(frame["opinions"]) == len(frame["pulls"]) == 32


def test_every_layer_can_be_looked_into(digits):
    frames = frames_of(digits.prepared)
    networks = frames.about(digits.game)["networks"]
    assert set(networks) == {"G", "D"}
    for network, layers in networks.items():
        for index, layer in enumerate(layers):
            units = frames.frame(digits.game, View((), Unit(network, index, 5)))["units"]
            assert np.prod(units["shape"]) == min(np.prod(layer["shape"]), 64 * np.prod(units["shape"][1:])), layer
    assert frames.frame(digits.game, View((), Unit("G", 99, 5)))["units"] is None
    assert "units" not in frames.frame(digits.game, View((), Unit("G", 0, 99)))
