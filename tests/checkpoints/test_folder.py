"""The checkpoints of a run: which stay, which is read, which is offered."""

import os

import numpy as np
import pytest

from minigan.checkpoints.folder import CheckpointFolder
from minigan.checkpoints.format import load_checkpoint, save_arrays
from minigan.errors import CheckpointError

MODEL = {"recipe": "dcgan", "settings": {}, "shape": [28, 28, 1], "dtype": "float32", "extent": 1.0}
CHECKPOINT = {"rng": {}, "loader": {}, "model": MODEL, "config": ""}
ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([7], np.int64)}


def filled(folder, *steps, keep=3):
    """A folder with checkpoints of those steps."""
    checkpoints = CheckpointFolder(folder, keep=keep)
    for step in steps:
        checkpoints.save(step, ARRAYS, description=CHECKPOINT)
    return checkpoints


def steps(checkpoints):
    return [load_checkpoint(path)[1]["step"] for path in checkpoints.paths()]


def damage(path):
    """Flips a bit of the last number."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 64
    path.write_bytes(content)


def test_the_last_few_checkpoints_are_kept(tmp_path):
    folder = CheckpointFolder(tmp_path / "c", keep=2)
    for step in (1, 20, 300):
        folder.save(step, ARRAYS, description=CHECKPOINT)
    assert [p.name for p in folder.paths()] == ["step-00000020.safetensors", "step-00000300.safetensors"]
    path, arrays, description = folder.load()
    assert (path.name, description["step"]) == ("step-00000300.safetensors", 300)
    np.testing.assert_array_equal(arrays["a"], ARRAYS["a"])


def test_a_damaged_last_checkpoint_names_the_one_before(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.save(1, ARRAYS, description=CHECKPOINT)
    folder.save(2, ARRAYS, description=CHECKPOINT).write_bytes(b"torn")
    offer = r"Resume from step 1 with: minigan train --resume .*step-00000001\.safetensors$"
    with pytest.raises(CheckpointError, match=rf"cannot read .*step-00000002.*{offer}"):
        folder.load()


def test_an_empty_folder_has_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        CheckpointFolder(tmp_path).load()


def test_only_what_is_named_like_a_checkpoint_counts(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.save(999_999_999, ARRAYS, description=CHECKPOINT)
    last = folder.save(1_000_000_000, ARRAYS, description=CHECKPOINT)
    for name in ("step-best.safetensors", "step-00000001 (copy).safetensors", "step-.safetensors"):
        (tmp_path / name).write_bytes(b"a user's")
    (tmp_path / "step-2000000000.safetensors").mkdir()
    assert folder.paths()[-1] == last
    assert len(folder.paths()) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rng": None}, "'rng' must be an object, got None"),
        ({"step": -1}, "'step' must be a whole number from 0 up, got -1"),
        ({"step": True}, "'step' must be a whole number"),
        ({"model": {}}, "'model' lacks 'recipe'"),
        ({"model": {**MODEL, "shape": [28, 0, 1]}}, r"'shape' must be \[2\] or \[H, W, C\], got \[28, 0, 1\]"),
        ({"model": {**MODEL, "extent": float("nan")}}, "'extent' must be a positive number, got nan"),
        ({"model": {**MODEL, "dtype": "foo"}}, "'dtype' must be one of float32, float64, got 'foo'"),
    ],
)
def test_a_description_that_does_not_do_is_refused(tmp_path, change, message):
    folder = CheckpointFolder(tmp_path)
    folder.save(5, ARRAYS, description={**CHECKPOINT, **change})
    with pytest.raises(CheckpointError, match=message):
        folder.load()


@pytest.mark.parametrize("key", ["config", "versions", "rng"])
def test_what_a_checkpoint_lacks_is_named(tmp_path, key):
    path = filled(tmp_path, 1).paths()[0]
    arrays, description = load_checkpoint(path)
    del description[key]
    save_arrays(path, arrays, description=description)
    with pytest.raises(CheckpointError, match=rf"lacks {key!r}\. It is damaged"):
        load_checkpoint(path)


def test_the_best_one_stays_beside_the_last(tmp_path):
    checkpoints = CheckpointFolder(tmp_path, keep=2)
    assert checkpoints.best_figures() is None
    for step in range(1, 6):
        if step == 2:
            checkpoints.save_best(step, ARRAYS, description={**CHECKPOINT, "figures": {"fid": 7.5}})
        checkpoints.save(step, ARRAYS, description=CHECKPOINT)
    assert steps(checkpoints) == [4, 5]
    assert load_checkpoint(checkpoints.best)[1]["step"] == 2
    assert checkpoints.best_figures() == {"fid": 7.5}
    damage(checkpoints.best)
    assert checkpoints.best_figures() is None


def test_a_run_that_went_back_gives_up_what_came_later(tmp_path):
    checkpoints = filled(tmp_path, 10, 20, 30)
    checkpoints.save(15, ARRAYS, description=CHECKPOINT)
    assert steps(checkpoints) == [10, 15]


def test_what_a_killed_process_left_is_tidied_away(tmp_path):
    checkpoints = filled(tmp_path, 1, 2, 3, 4, keep=4)
    left = tmp_path / f".step-00000005.safetensors.{os.getpid()}.tmp"
    left.write_bytes(b"half")
    CheckpointFolder(tmp_path, keep=3).tidy()
    assert steps(checkpoints) == [2, 3, 4]
    assert not left.exists()


def test_the_newest_one_that_is_whole_is_offered(tmp_path):
    checkpoints = filled(tmp_path, 1, 2, 3)
    checkpoints.save_best(1, ARRAYS, description={**CHECKPOINT, "figures": {"fid": 7.5}})
    one, two, three = checkpoints.paths()
    for newest, offered in ((three, two), (two, one), (one, checkpoints.best)):
        damage(newest)
        with pytest.raises(CheckpointError, match=rf"step-00000003.*damaged.*with: minigan train --resume {offered}$"):
            checkpoints.load()
        assert checkpoints.load(offered)[0] == offered
    damage(checkpoints.best)
    with pytest.raises(CheckpointError, match=r"No other checkpoint of this run is intact: start a new run\.$"):
        checkpoints.load()


def test_the_best_one_is_gone_on_from_where_there_is_no_other(tmp_path):
    checkpoints = CheckpointFolder(tmp_path)
    checkpoints.save_best(5, ARRAYS, description={**CHECKPOINT, "figures": {"fid": 7.5}})
    assert checkpoints.load()[0] == checkpoints.best
