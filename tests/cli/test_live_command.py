"""The command `minigan live`: its address, its end by Ctrl-C, and its arguments."""

import json
import re
import signal
import subprocess
import sys
import urllib.request

import pytest
from live_sessions import events_of

import minigan
from minigan.cli import command_line as cli
from minigan.cli.live import ON_POINTS, _config
from minigan.errors import ConfigError
from minigan.live.serving import other_config


def config_of(*words):
    return _config(cli._parse(["live", *words]))


def test_ctrl_c_ends_it_and_saves(tmp_path):
    """In a process of its own, as somebody uses it."""
    command = [sys.executable, "-m", "minigan", "live", "--backend", "reference", "--no-browser", "--set", "hidden=8"]
    compare = ["--compare", "loss=hinge", "--out", "run"]
    with subprocess.Popen(
        [*command, *compare], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            lines = iter(process.stdout.readline, "")
            address = next(found[1] for line in lines if (found := re.search(r"(http://127\.0\.0\.1:\d+/\S+/)", line)))
            assert b"minigan live" in urllib.request.urlopen(address, timeout=10).read()
            body = json.dumps({"do": "step", "side": None}).encode()
            sent = urllib.request.Request(address + "do", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(address + "events", timeout=20) as stream:
                assert urllib.request.urlopen(sent, timeout=10).status == 204
                next(data for kind, data in events_of(stream) if kind == "state" and data["step"] == 1)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, err) == (0, "")
    assert "saved step 1: minigan report run" in out
    for name, loss in (("run", "non-saturating"), ("mlp-ring-1", "hinge")):
        run = minigan.open_run(tmp_path / name)
        assert run.step == 1 and run.config.settings["loss"] == loss and run.config.seed == 0


def test_the_recipe_suits_the_data():
    ring = config_of()
    assert (ring.recipe, ring.data) == ("mlp", "ring") and ON_POINTS.items() <= ring.settings.items()
    assert config_of("--data", "digits").recipe == "dcgan"
    assert config_of("mlp", "--data", "grid").settings["latent"] == 100  # a recipe that is named is as it is
    changed = config_of("--set", "latent=5", "--steps", "10", "--seed", "3")
    assert (changed.settings["latent"], changed.settings["steps"], changed.seed) == (5, 10, 3)


def test_the_second_run_has_other_settings():
    config = config_of()
    other = other_config(config, {"pack": "2"})
    assert other.settings["pack"] == 2 and other.settings["lr"] == config.settings["lr"] and other.seed == config.seed
    with pytest.raises(ConfigError, match="no setting"):
        other_config(config, {"pact": "2"})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["vae"], "draw from noise"),
        (["pix2pix", "--data", "shapes"], "draw from noise"),
        (["--data", "nowhere"], "nowhere"),
        (["--compare", "loss=love"], "loss"),
        (["--set", "loss=love"], "loss"),
        (["--port", "99999"], "port 99999"),
    ],
)
def test_bad_arguments_are_named(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["live", "--no-browser", "--backend", "reference", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list(tmp_path.rglob("config.toml"))
