"""Configurations of earlier formats are read for ever: there is one of each in tests/runs/stored."""

import shutil
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from minigan.errors import CheckpointError
from minigan.runs.config import RunConfig, read_config, write_config
from minigan.runs.config_migrations import CONFIG_FORMAT, MIGRATIONS, migrated
from minigan.training.rhythm import Keep, Rhythm

STORED = Path(__file__).parent / "stored"
FORMATS = range(1, CONFIG_FORMAT + 1)


def test_there_is_one_of_each_format():
    assert {path.name for path in STORED.iterdir()} == {f"config-{number}.toml" for number in FORMATS}


@pytest.mark.parametrize("number", FORMATS)
def test_each_is_read_as_the_same_configuration(tmp_path, number):
    shutil.copy(STORED / f"config-{number}.toml", tmp_path / "config.toml")
    config = read_config(tmp_path)
    assert (config.recipe, config.seed, config.settings["width"], config.settings["steps"]) == ("sngan", 7, 2, 6)
    assert config.backend == "reference"
    assert (config.rhythm, config.keep) == (Rhythm(checkpoint_every=2), Keep())
    write_config(config, tmp_path)
    assert tomllib.loads((tmp_path / "config.toml").read_text())["format"] == CONFIG_FORMAT
    assert read_config(tmp_path) == config


@pytest.mark.parametrize(
    ("before", "now"), [("numpy", "reference"), ("numba", "cpu"), ("cupy", "gpu"), ("cpu", "cpu"), ("auto", "auto")]
)
def test_backends_of_format_1_have_other_names(before, now):
    assert migrated({"backend": before}, source="it")["backend"] == now


def test_a_backend_of_today_is_not_renamed(tmp_path):
    write_config(RunConfig(recipe="dcgan", settings={}, data="digits", backend="numpy"), tmp_path)
    with pytest.raises(CheckpointError, match=r"'backend' must be one of auto, reference, cpu, gpu, got 'numpy'"):
        read_config(tmp_path)


def test_only_an_earlier_format_may_lack_a_later_key(tmp_path):
    text = (STORED / f"config-{CONFIG_FORMAT}.toml").read_text()
    assert "evaluate_every = 0\n" in text
    (tmp_path / "config.toml").write_text(text.replace("evaluate_every = 0\n", ""))
    with pytest.raises(CheckpointError, match=r"lacks 'rhythm\.evaluate_every'\. Put the file back"):
        read_config(tmp_path)
    (tmp_path / "config.toml").write_text(
        text.replace("evaluate_every = 0\n", "").replace(f"format = {CONFIG_FORMAT}", "format = 1")
    )
    assert read_config(tmp_path).rhythm.evaluate_every == 0


@pytest.mark.parametrize("step", MIGRATIONS)
def test_a_step_leaves_its_argument_as_it_is(step):
    table = {"backend": "numpy", "rhythm": {"log_every": 2}, "keep": {"last": 5}, "settings": {}}
    made = step(table)
    assert table == {"backend": "numpy", "rhythm": {"log_every": 2}, "keep": {"last": 5}, "settings": {}}
    assert made["rhythm"]["log_every"] == 2
    assert made["keep"]["last"] == 5
    assert made["rhythm"].keys() | made["keep"].keys() <= asdict(Rhythm()).keys() | asdict(Keep()).keys()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("format = 99", rf"config\.toml: expected format {CONFIG_FORMAT} or an earlier one, found 99\. A newer"),
        ("format = 0", "'format' must be a whole number from 1 up, got 0"),
        ("format = true", "'format' must be a whole number from 1 up, got True"),
        ('format = "2"', "'format' must be a whole number from 1 up, got '2'"),
    ],
)
def test_another_format_is_refused_in_one_line(tmp_path, line, message):
    text = (STORED / f"config-{CONFIG_FORMAT}.toml").read_text()
    (tmp_path / "config.toml").write_text(text.replace(f"format = {CONFIG_FORMAT}", line))
    with pytest.raises(CheckpointError, match=message) as raised:
        read_config(tmp_path)
    assert "\n" not in str(raised.value)
