"""Runs that earlier formats left are read for ever: each format has a small one in tests/checkpoints/stored.

They were trained by sngan on digits with BatchNorm, SpectralNorm, an average, a schedule and a pool of fakes.
"""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from minigan import runs
from minigan.checkpoints.format import CHECKPOINT_FORMAT
from minigan.cli.command_line import main
from minigan.runs.prepare import load_checkpoint, prepare_from_folder

STORED = Path(__file__).parent / "stored"
FORMATS = sorted(path.name for path in STORED.iterdir())
FILE = "checkpoints/step-00000004.safetensors"


@pytest.fixture(params=FORMATS)
def folder(request, tmp_path):
    return shutil.copytree(STORED / request.param, tmp_path / "run")


def test_there_is_one_of_each_format():
    number = int(CHECKPOINT_FORMAT.rpartition("/")[2])
    assert [f"format-{n}" for n in range(1, number + 1)] == FORMATS
    assert all((STORED / name / FILE).stat().st_size < 50_000 for name in FORMATS)


def test_everything_that_training_changed_is_read(folder):
    run = prepare_from_folder(folder)
    load_checkpoint(run)
    trainer, stored = run.trainer, load_file(folder / FILE)
    arrays = trainer.state.learner.to_dict() | trainer.state.average.to_dict()
    assert arrays.keys() == stored.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, stored[name], err_msg=name, strict=True)
    assert trainer.state.step == trainer.state.learner.optimizers["g"].steps == 4
    assert trainer.state.learner.fake_pool.count == 1
    assert trainer.state.loader.state()["offset"] == 4 * 5 * 2  # steps, batches of D, examples
    assert trainer.state.rng.bit_generator.state["state"]["state"] == 163854842213184450308500817628115135817


def test_it_is_trained_on_and_drawn_from(folder):
    before = runs.load_generator(folder, backend="reference")
    again = runs.load_generator(folder / FILE, backend="reference")
    assert before.sample(2, seed=0).shape == (2, 28, 28, 1)
    assert (before.step, again.step) == (6, 4)
    assert main(["train", "--resume", str(folder)]) == 0
    assert runs.load_generator(folder, backend="reference").step == 6


def test_the_checksum_is_the_documented_one(tmp_path, monkeypatch):
    """docs/checkpoints.md computes it without minigan."""
    (code,) = re.findall(r"```python\n(.*?)```", (STORED.parents[2] / "docs" / "checkpoints.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    content = bytearray((STORED / FORMATS[-1] / FILE).read_bytes())
    Path("step-00004000.safetensors").write_bytes(content)
    exec(code, {})
    content[-1] ^= 1
    Path("step-00004000.safetensors").write_bytes(content)
    with pytest.raises(AssertionError):
        exec(code, {})


def test_the_formats_hold_the_same():
    first, *others = (load_file(STORED / name / FILE) for name in FORMATS)
    for other in others:
        assert all((other[name] == array).all() for name, array in first.items())
