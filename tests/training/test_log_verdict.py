"""The word of verdict on a log: right on records of real runs, healthy and ill, and shown where training is watched."""

import json

import numpy as np
import pytest

import minigan
from minigan.cli.command_line import main
from minigan.losses import LOSSES
from minigan.training.log_verdict import HEALTHY, SIGNS, LogVerdict, undecided_losses

SHELL = ("--data", "ring", "--backend", "reference", "--set", "hidden=8", "latent=2", "batch_size=8", "mse_weight=0")
FOOLED = ("loss=non-saturating", "d_lr=1e-9", "g_lr=0.02", "instance_noise=0")  # G fools a D that learns nothing
NS, CRITIC = {"loss": "non-saturating"}, {"loss": "wasserstein", "penalty": "wgan-gp", "penalty_weight": 10.0}


def words(settings, rows):
    """The word after each record; rows of step, d_loss, d_real, d_fake and perhaps d_penalty."""
    verdict = LogVerdict(settings)
    names = ("step", "d_loss", "d_real", "d_fake", "d_penalty")
    return [verdict.add(dict(zip(names, row, strict=False)) | {"seconds": 1.0}) for row in rows]


def every_20(*values, first=20):
    return [(first + 20 * index, *row) for index, row in enumerate(values)]


# Of runs of examples/sick_runs.py, and of others that `minigan inspect` found healthy.
LOGS = {
    "a DCGAN on digits": (
        NS,
        every_20((0.80, 0.89, 0.48), (0.53, 0.86, 0.30), (0.38, 0.89, 0.22), (0.34, 0.92, 0.22), (0.25, 0.94, 0.17)),
        HEALTHY,
    ),
    "a D that is nearly sure": (
        NS,
        every_20(
            (0.037, 0.997, 0.032),
            (0.051, 0.999, 0.047),
            (0.035, 0.991, 0.026),
            (0.031, 0.984, 0.014),
            (0.035, 0.983, 0.018),
        ),
        HEALTHY,
    ),
    "a hard beginning": (
        NS,
        [
            (1, 11.85, 0.66, 0.66),
            *every_20(
                (4.96, 0.86, 0.55), (3.42, 0.91, 0.55), (1.06, 0.90, 0.28), (0.60, 0.97, 0.29), (0.32, 0.98, 0.20)
            ),
        ],
        HEALTHY,
    ),
    "points, D undecided": (
        NS,
        every_20(
            (1.387, 0.5001, 0.5004),
            (1.385, 0.4999, 0.4994),
            (1.386, 0.5002, 0.4999),
            (1.386, 0.5004, 0.5001),
            (1.387, 0.4992, 0.4995),
        ),
        HEALTHY,
    ),
    "a critic on points": (
        CRITIC,
        every_20(
            (-0.48, -0.27, -0.76, 0.09),
            (0.32, -0.31, 0.01, 0.09),
            (-0.15, -0.42, -0.57, 0.13),
            (-1.47, -0.01, -1.48, 0.08),
            (1.40, 0.19, 1.59, 0.05),
        ),
        HEALTHY,
    ),
    "a critic on clothes": (
        CRITIC,
        every_20(
            (-1.7, 1.9, 0.2, 7.6),
            (-8.9, 12.8, 3.8, 0.2),
            (-15.2, 23.5, 8.3, 2.1),
            (-17.4, 25.9, 8.4, 2.5),
            (-18.0, 26.2, 8.2, 2.5),
        ),
        HEALTHY,
    ),
    "dead": ({"loss": "hinge"}, [(step, 2.0, -0.4135, -0.4135) for step in (1, 20, 40)], "D is blind"),
    "collapsed": (
        NS,
        every_20(
            (5.9, 0.51, 0.9941), (7.0, 0.51, 0.998), (7.5, 0.51, 0.9988), (7.8, 0.51, 0.9992), (8.1, 0.50, 0.9994)
        ),
        "collapsing?",
    ),
    "vanishing": (
        {"loss": "minimax"},
        every_20(
            (0.047, 0.9966, 0.043),
            (0.046, 0.9952, 0.040),
            (0.032, 0.9913, 0.022),
            (0.015, 0.9972, 0.012),
            (0.011, 0.9985, 0.010),
        ),
        "D wins",
    ),
    "nothing to learn": ({"loss": "hinge"}, every_20(*[(0.0, 9.0, -8.0)] * 5), "D wins"),
    "steep": (CRITIC, every_20(*[(-90.0, 80.0, -10.0, 2000.0)] * 5), "D is steep"),
}


@pytest.mark.parametrize("name", LOGS)
def test_the_word_on_a_log(name):
    settings, rows, expected = LOGS[name]
    assert words(settings, rows)[-1] == expected


def test_a_code_that_is_not_used():
    verdict = LogVerdict({})
    said = [verdict.add({"step": step, "seconds": 1.0, "loss": 200.0, "kl": 0.1}) for step in range(20, 121, 20)]
    assert said == ["", "", "", "", "code unused", "code unused"]


def test_nothing_is_said_too_early_or_of_nothing():
    _, rows, _ = LOGS["collapsed"]
    assert words(NS, rows) == ["", "", "", "", "collapsing?"]
    assert words(NS, [(step, *row[1:]) for step, row in enumerate(rows, 1)]) == [""] * 5  # five steps, each logged
    assert words({}, [(step,) for step in range(100, 900, 100)]) == [""] * 8  # a loss of G alone
    assert LogVerdict(NS).add({"step": 500, "fid": 3.0}) == ""  # an evaluation


def test_one_record_changes_nothing_and_a_lasting_change_does():
    sound, ill = (0.4, 0.85, 0.2), (8.0, 0.5, 0.999)
    once = words(NS, every_20(*[sound] * 6, ill, *[sound] * 6))
    assert set(once[4:]) == {HEALTHY}
    lasting = words(NS, every_20(*[sound] * 6, *[ill] * 6))
    assert lasting[5] == HEALTHY and lasting[-1] == "collapsing?"
    mended = words(NS, every_20(*[ill] * 6, *[sound] * 2))
    assert mended[-1] == HEALTHY


def test_often_logged_is_judged_over_as_many_steps():
    rng = np.random.default_rng(0)
    rows = [(step, float(rng.choice([9.0, 0.4], p=[0.3, 0.7])), 0.8, 0.3) for step in range(1, 400)]
    assert set(words(NS, rows)[100:]) == {HEALTHY}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_a_d_that_cannot_tell(name):
    """No other constant logit has a lower loss of D, however often real and fake come."""
    d, _ = undecided_losses(name)
    if name == "wasserstein":
        assert np.isnan(d)
        return
    rule = LOSSES[name]()
    for logit in np.linspace(-2, 2, 41):
        logits = np.full((3, 1), logit)
        if name in ("relativistic-average", "relativistic-pairing"):
            value = float(rule.discriminator(logits, logits)[0])
        else:
            value = float(rule.discriminator(logits, 1.0)[0] + rule.discriminator(logits, 0.0)[0])
        assert value >= d - 1e-12


# ------------------------------------------------------------------------------------------ where it is shown


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def train(capsys, *words):
    assert main(["train", *words]) == 0
    return capsys.readouterr().out.splitlines()


def test_the_progress_line_has_the_word(capsys):
    lines = train(capsys, "mlp", *SHELL, "--steps", "120", "--out", "run")
    shown = [line for line in lines if line.startswith("step ")]
    assert "healthy" not in shown[0] and "  healthy  " in shown[-1]
    assert not any("explain health" in line for line in lines)


def test_trouble_is_told_at_the_end_and_after_a_resume(capsys):
    lines = train(capsys, "mlp", *SHELL, *FOOLED, "--steps", "120", "--out", "run")
    assert "  collapsing?  " in next(line for line in lines if line.startswith("step 120"))
    assert lines[-1] == ("collapsing?: minigan explain health says what that is, minigan inspect run looks for a cause")
    lines = train(capsys, "--resume", "run", "--steps", "121")
    assert "  collapsing?  " in next(line for line in lines if line.startswith("step 121"))


def test_the_words_are_explained(capsys):
    assert main(["explain", "health", "--json"]) == 0
    explained = {sign["word"] for sign in json.loads(capsys.readouterr().out)["in_the_log"]}
    assert explained == {sign.word for sign in SIGNS}


def test_a_report_has_the_words():
    minigan.train("mlp", data="ring", steps=3, log_every=1, backend="reference", quiet=True, hidden=4, out="run")
    sound, ill = {"d_loss": 0.4, "d_real": 0.8, "d_fake": 0.2}, {"d_loss": 8.0, "d_real": 0.5, "d_fake": 0.99}
    records = [{"step": s, "seconds": 1, **(sound if s < 200 else ill)} for s in range(20, 400, 20)]
    with open("run/log.jsonl", "w", encoding="utf-8") as log:
        log.writelines(json.dumps(record) + "\n" for record in records)
    page = minigan.inspection.report_run("run", quick=True).page
    assert "<dt>log says</dt><dd>healthy from step 100, collapsing? from step 240</dd>" in page
