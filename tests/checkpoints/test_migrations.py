"""Files of earlier formats become files of the latest, one pure step a format."""

import copy
from pathlib import Path

import numpy as np
import pytest

from minigan.checkpoints import format as file_format
from minigan.checkpoints import migrations
from minigan.checkpoints.format import CHECKPOINT_FORMAT, MODEL_FORMAT, load_arrays, load_checkpoint, save_arrays
from minigan.checkpoints.migrations import MIGRATIONS, latest, migrated
from minigan.checkpoints.save_load import FORMAT
from minigan.errors import CheckpointError

STORED = Path(__file__).parent / "stored"
FILE = "checkpoints/step-00000004.safetensors"


def test_what_is_written_is_of_the_latest_format():
    assert {CHECKPOINT_FORMAT, MODEL_FORMAT, FORMAT} == set(map(latest, MIGRATIONS))
    assert f"minigan-checkpoint/{1 + len(MIGRATIONS['minigan-checkpoint'])}" == CHECKPOINT_FORMAT


@pytest.mark.parametrize(
    ("kind", "number"), [(kind, number) for kind, steps in MIGRATIONS.items() for number in range(1, len(steps) + 1)]
)
def test_a_step_leaves_its_arguments_as_they_are_and_says_what_changed(kind, number):
    step = MIGRATIONS[kind][number - 1]
    assert f"Format {number + 1} " in step.__doc__
    arrays, description = {"a": np.ones(3)}, {"format": f"{kind}/{number}", "step": 3, "model": {"settings": {}}}
    before = copy.deepcopy((arrays, description))
    _, made = step(arrays, description)
    assert made != description
    assert description == before[1]
    assert arrays.keys() == before[0].keys()
    np.testing.assert_array_equal(arrays["a"], before[0]["a"])


def test_format_1_did_not_say_what_wrote_it():
    _, description = load_checkpoint(STORED / "format-1" / FILE)
    assert (description["format"], description["versions"], description["config"]) == (CHECKPOINT_FORMAT, {}, "")


def test_a_file_runs_through_all_steps_from_its_own_format_on(monkeypatch):
    """As if format 3 had one more array, and format 4 another name for the step."""

    def add_array(arrays, description):
        return {**arrays, "more": np.zeros(1)}, description

    def rename(arrays, description):
        return arrays, {"steps" if key == "step" else key: value for key, value in description.items()}

    steps = (*MIGRATIONS["minigan-checkpoint"], add_array, rename)
    monkeypatch.setattr(migrations, "MIGRATIONS", {"minigan-checkpoint": steps})
    for number in (1, 2):
        arrays, description = load_arrays(STORED / f"format-{number}" / FILE, format="minigan-checkpoint/4")
        assert description["format"] == "minigan-checkpoint/4"
        assert (description["steps"], "step" in description) == (4, False)
        assert {"more", "G.0.w"} <= arrays.keys()
        assert {"versions", "config"} <= description.keys()
    arrays, description = migrated({}, {"format": "minigan-checkpoint/3", "step": 3})
    assert (arrays, description) == ({}, {"format": "minigan-checkpoint/4", "steps": 3})


def test_a_new_key_needs_a_step_and_nothing_else(tmp_path, monkeypatch):
    def add_key(arrays, description):
        return arrays, {"ranks": 1, **description}

    monkeypatch.setattr(migrations, "MIGRATIONS", {"minigan-checkpoint": (*MIGRATIONS["minigan-checkpoint"], add_key)})
    monkeypatch.setattr(file_format, "CHECKPOINT_FORMAT", "minigan-checkpoint/3")
    for number in (1, 2):
        assert load_checkpoint(STORED / f"format-{number}" / FILE)[1]["ranks"] == 1
    arrays, description = load_checkpoint(STORED / "format-2" / FILE)
    save_arrays(tmp_path / "x", arrays, description={**description, "ranks": 4})
    assert load_checkpoint(tmp_path / "x")[1]["ranks"] == 4


@pytest.mark.parametrize("found", ["minigan-checkpoint/01", "minigan-checkpoint/", "/1", "gan/1", 1, None, ["x/1"]])
def test_what_is_no_format_stays_what_it_is_and_is_refused(tmp_path, found):
    assert migrated({}, {"format": found}) == ({}, {"format": found})
    save_arrays(tmp_path / "x", {"a": np.ones(1)}, description={"format": found})
    with pytest.raises(CheckpointError, match="expected a file of format 'minigan-checkpoint/2', found"):
        load_checkpoint(tmp_path / "x")
