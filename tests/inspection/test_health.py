"""Verdicts: small runs that are ill on purpose get the word for it, and sound ones get no complaint."""

from dataclasses import replace

import numpy as np
import pytest

import minigan
from minigan.errors import ConfigError
from minigan.inspection import LIMITS, as_text, explain, inspect_run, inspection_document
from minigan.inspection.game_health import _memory, _variety
from minigan.inspection.health_checks import checks

QUICK = {"backend": "reference", "quiet": True, "batch_size": 16}
POINTS = {"data": "ring", "mse_weight": 0, "instance_noise": 0, "hidden": 16}
DENSE = {"data": "digits", "hidden": 16, "dropout": 0}


def inspected(folder, recipe, *, held_out=None, **settings):
    run = minigan.train(recipe, out=folder / "run", **QUICK, **settings)
    return inspect_run(run.folder, held_out=held_out)


def complaint(found, word):
    return next(check for check in found.ill if check.word == word)


# ------------------------------------------------------------------------------------------ ill on purpose


def test_a_runaway_d(tmp_path):
    """Its rate is far too high: its loss is at its bound, and its gradient is zero to the last bit."""
    settings = {"data": "digits", "condition": "none", "hidden": 16, "instance_noise": 0, "loss": "non-saturating"}
    settings |= {"d_lr": 1.0}
    found = inspected(tmp_path, "mlp", steps=30, **settings)
    assert complaint(found, "runaway").where == "D"
    check = complaint(found, "stopped")
    assert (check.where, check.value) == ("D", 0)
    assert "`d_lr=0.1`" in check.remedy


def test_a_saturated_tanh_behind_dead_rectifiers(tmp_path):
    found = inspected(tmp_path, "minimax", steps=60, **(DENSE | {"loss": "non-saturating", "g_lr": 0.3}))
    check = complaint(found, "saturated")
    assert check.where == "G.5 Tanh"
    assert "100% of its outputs are saturated" in check.finding
    assert "`g_lr=0.03`" in check.remedy
    dead = complaint(found, "dead")
    assert dead.where.startswith("G.")
    assert "channels are dead" in dead.finding
    assert "One cause often has several of these signs" in as_text(inspection_document(found))


def test_gradients_that_vanish(tmp_path):
    """The minimax loss where D is sure; the other loss from the same start is healthy in this respect."""
    settings = DENSE | {"optimizer": "sgd", "lr": 0.001, "d_lr": 0.1}
    found = inspected(tmp_path / "minimax", "minimax", steps=100, **settings)
    check = complaint(found, "vanishing")
    assert "`loss='non-saturating'`" in check.remedy
    assert "D is sure that the fakes are fake" in check.finding
    other = inspected(tmp_path / "other", "minimax", steps=100, **(settings | {"loss": "non-saturating"}))
    assert "vanishing" not in other.word


def test_a_d_that_overfits(tmp_path):
    digits = minigan.open_dataset("digits", seed=3)
    images = minigan.to_pixels(digits.read(np.arange(96)))
    np.save(tmp_path / "few.npy", images[:32])
    np.save(tmp_path / "others.npy", images[32:])
    settings = {"hidden": 64, "instance_noise": 0, "mse_weight": 0, "lr": 3e-3, "loss": "non-saturating"}
    found = inspected(
        tmp_path, "mlp", steps=600, data=tmp_path / "few.npy", held_out=tmp_path / "others.npy", **settings
    )
    check = complaint(found, "overfitting")
    assert check.where == "D"
    assert "standard error" in check.finding
    assert "augment" in check.remedy


def test_a_g_that_starves_is_d_s_fault(tmp_path):
    found = inspected(tmp_path, "mlp", steps=1, **POINTS)
    layers = tuple(row._replace(largest=row.largest and 0.0) for row in found.health.layers)
    ill = {c.where: c for c in checks(replace(found.health, layers=layers, handed_down=0.0)) if c.word == "stopped"}
    assert "D hands none down" in ill["G"].finding
    assert "`d_lr=2e-05`" in ill["G"].remedy
    alone = {c.where: c for c in checks(replace(found.health, layers=layers)) if c.word == "stopped"}
    assert "`g_lr=2e-05`" in alone["G"].remedy


def test_a_collapsed_g(tmp_path):
    """D hardly learns: G goes to the one point that it likes best, and misses the modes."""
    found = inspected(tmp_path, "mlp", steps=1001, **(POINTS | {"loss": "non-saturating", "d_lr": 1e-7, "lr": 1e-2}))
    assert "missing" in found.word or "collapsed" in found.word
    text = as_text(inspection_document(found))
    assert "Verdict: healthy" not in text


@pytest.fixture(scope="module")
def critic(tmp_path_factory):
    """One step of a critic with spectral norm and a penalty, told to be step 500."""
    settings = {"preset": "paper", "width": 2, "d_norm": "spectral", "loss": "wasserstein", "penalty": "wgan-gp"}
    health = inspected(tmp_path_factory.mktemp("critic"), "dcgan", steps=1, **settings).health
    return rows(replace(health, step=500), "G", "BatchNorm", apart=0.1)  # as later


def rows(health, network, kind, **changes):
    """The health with other measures of a network's layers of a kind."""
    layers = [row._replace(**changes) if row.network == network and kind in row.path else row for row in health.layers]
    assert layers != list(health.layers)
    return replace(health, layers=tuple(layers))


ILL = {
    "hasty": (lambda health: rows(health, "D", "0.SpectralNorm", update=0.4), "D.0 Conv2D", "`d_lr=2e-05`"),
    "loose": (lambda health: rows(health, "D", "2.SpectralNorm", sigma=2.0), "D.2 Conv2D", "`d_lr=2e-05`"),
    "lagging": (lambda health: rows(health, "G", "BatchNorm", apart=3.0), "G.2 BatchNorm", "ema_statistics='standing'"),
    "dead": (lambda health: rows(health, "G", "2.BatchNorm", dead=4), "G.2 BatchNorm", "`g_lr=2e-05`"),
    "steep": (
        lambda health: replace(health, game=replace(health.game, slope_real=health.game.slope_real + 20)),
        "D",
        "`penalty_weight=30`",
    ),
    "repeating": (
        lambda health: replace(health, game=replace(health.game, duplicates=0.9, spread=0.5)),
        "G",
        "`pack=2`",
    ),
}


@pytest.mark.parametrize("word", ILL)
def test_a_measure_beyond_its_limit_is_found(critic, word):
    change, where, remedy = ILL[word]
    spread = replace(critic, game=replace(critic.game, spread=0.5, duplicates=0.0))
    assert word not in {check.word for check in checks(spread) if check.ill}
    found = [check for check in checks(change(spread)) if check.ill and check.word == word]
    assert len(found) == 1
    assert found[0].where.startswith(where)
    assert remedy in found[0].remedy
    assert found[0].finding


# ------------------------------------------------------------------------------------------ healthy


@pytest.mark.parametrize("seed", [0, 1])
def test_a_critic_on_a_ring_gets_no_complaint(tmp_path, seed):
    critic = {"loss": "wasserstein", "penalty": "wgan-gp", "n_critic": 3, "lr": 1e-3, "beta1": 0, "beta2": 0.9}
    found = inspected(tmp_path, "mlp", steps=350, seed=seed, **POINTS, **critic)
    assert (found.word, found.ill) == ("healthy", ())
    assert {"steep", "vanishing", "collapsed"} <= {check.word for check in found.checks}
    assert "All " in as_text(inspection_document(found))


def test_a_small_dcgan_gets_no_complaint(tmp_path):
    found = inspected(tmp_path, "dcgan", steps=110, width=4, lr=1e-3)
    assert found.word == "healthy"
    assert {"hasty", "lagging", "saturated"} <= {check.word for check in found.checks}


def test_a_code_that_is_not_used(tmp_path):
    found = inspected(tmp_path, "vae", steps=1, data="digits")
    assert "unused" not in {check.word for check in found.checks}  # too early to tell
    later = replace(found.health, step=500)
    assert not any(check.ill for check in checks(replace(later, values={"kl": 20.0})) if check.word == "unused")
    check = next(check for check in checks(replace(later, values={"kl": 0.1})) if check.word == "unused")
    assert (check.where, check.ill) == ("encoder", True)
    assert "`kl_weight=0.1`" in check.remedy


# ------------------------------------------------------------------------------------------ measures of the game


def test_memory_is_the_share_of_the_way():
    rng = np.random.default_rng(0)
    real, fake, between = (rng.normal(mean, 0.1, (400, 1)) for mean in (2, -2, -1))
    share, error = _memory(real, fake, between)
    assert share == pytest.approx(0.75, abs=0.01)
    assert error == pytest.approx(np.sqrt(2 * 0.01 / 400) / 4, rel=0.1)
    assert _memory(real, real + 0.001, between) == (None, None)  # D tells nothing apart


def test_variety_of_copies_and_of_real_examples():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(100, 30))
    assert _variety(real, rng.normal(size=(100, 30))) == (0.0, pytest.approx(1, abs=0.1), None)
    duplicates, spread, _ = _variety(real, np.repeat(rng.normal(size=(25, 30)), 4, axis=0))
    assert (duplicates, spread) == (1.0, pytest.approx(1, abs=0.2))
    duplicates, spread, _ = _variety(real, np.ones((100, 30)))
    assert (duplicates, spread) == (1.0, 0.0)


def test_modes_that_are_missing():
    angles = np.repeat(np.arange(8), 16) * np.pi / 4
    ring = 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    noise = 0.02 * np.random.default_rng(0).normal(size=ring.shape)
    assert _variety(ring, ring + noise)[2] == 1
    assert _variety(ring, (ring + noise)[:48])[2] == pytest.approx(3 / 8)


# ------------------------------------------------------------------------------------------ words


def test_each_word_is_explained():
    document = explain("health")
    text = as_text(document)
    for word, limit in LIMITS.items():
        assert f"\n{word}\n" in text
        assert limit.source and limit.reason and limit.measure
        assert limit.is_ill(float("nan"))
        assert limit.is_ill(limit.value + 1 if limit.upper else limit.value - 1)
        assert not limit.is_ill(limit.value)
    assert document.record["words"].keys() == LIMITS.keys()
    with pytest.raises(ConfigError, match="takes no settings"):
        explain("health", settings={"lr": 1})
