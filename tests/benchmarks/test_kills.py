"""Training that was killed resumes with the same bits: `benchmarks.kills` in short."""

import json
import os
import random
import shutil
import signal
import tempfile

import pytest
from engines import is_installed

from benchmarks import kills

pytestmark = pytest.mark.skipif(os.name != "posix", reason="no SIGKILL here")


OFTEN = [pytest.param(*case, marks=pytest.mark.exhaustive) for case in (("reference", 3), ("cpu", 1))]


@pytest.mark.parametrize(("backend", "count"), [("reference", 1), *OFTEN])
def test_a_run_that_is_killed_goes_on_with_the_same_bits(tmp_path, backend, count):
    if not is_installed(backend):
        pytest.skip(f"{backend} is not installed")
    tally = kills.kill_case(tmp_path, "mlp", backend, kills=count, rng=random.Random(0))
    assert tally.wrong == []
    assert tally.kills == count


def test_a_process_dies_where_it_is_told(tmp_path):
    with kills.process(tmp_path / "run", kills.beginning(tmp_path / "run", "mlp", "reference"), operation=9) as child:
        out, err = child.communicate()
    assert (child.returncode, err) == (-signal.SIGKILL, "")
    assert "operations" not in out
    assert (tmp_path / "run" / "config.toml").exists()


def test_a_training_that_is_hung_up_saves_and_gives_its_folder_up(tmp_path):
    class AtOnce(random.Random):
        """Kills at a random time, once training has begun, by SIGHUP."""

        def random(self):
            return 0.6

        def choice(self, seq):
            return seq[0]

    whole = kills.Whole(tmp_path / "whole", 0.5, 0)
    start = [*kills.beginning(tmp_path / "run", "mlp", "reference"), "--steps", "100000"]
    death = kills.train_until_killed(tmp_path / "run", start, whole, AtOnce(0))
    assert death == kills.Death(killed=True, hung_up=True, began=True, writing=False, locked=False)


def test_differences_are_found(tmp_path):
    whole, other = tmp_path / "whole", tmp_path / "other"
    (whole / "checkpoints").mkdir(parents=True)
    (whole / "checkpoints" / "a").write_bytes(b"a")
    (whole / "log.jsonl").write_text('{"step": 1, "seconds": 2.5}\n')
    shutil.copytree(whole, other)
    (other / "log.jsonl").write_text('{"step": 1, "seconds": 3.5}\n')
    assert list(kills.differences(whole, other)) == []
    (other / "checkpoints" / "a").write_bytes(b"b")
    (other / ".a.1.tmp").write_bytes(b"")
    (other / "log.jsonl").write_text('{"step": 2, "seconds": 3.5}\n')
    found = [line.removeprefix(f"{other}: ") for line in kills.differences(whole, other)]
    assert found == [".a.1.tmp is in one of the folders only", "checkpoints/a differs", "log.jsonl differs"]


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """Has each case counted without any kill, and be as wrong as is given."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where the folders of what went wrong stay

    def install(*wrong):
        tally = kills.Tally()
        tally.add(kills.Death(killed=True, hung_up=False, began=True, writing=True, locked=True))
        tally.wrong += wrong
        monkeypatch.setattr(kills, "kill_case", lambda *_, **__: tally)

    return install


def test_the_command_counts(capsys, tmp_path, counted):
    counted()
    file = tmp_path / "kills.json"
    kills.main(["--kills", "2", "--case", "mlp", "vae", "--backend", "reference", "--json", str(file)])
    lines = capsys.readouterr().out.splitlines()
    counts = ["1", "0", "1", "1"]  # kills, by SIGHUP, in the middle of a write, with a lock file left
    assert [line.split()[:6] for line in lines[-3:-1]] == [[case, "reference", *counts] for case in ("mlp", "vae")]
    assert lines[-1].startswith(
        "2 kills: 0 by SIGHUP, 2 in the middle of a write, 0 before there was a run to resume; 2 "
    )
    assert [case["kills"] for case in json.loads(file.read_text())["cases"]] == [1, 1]


def test_the_command_fails_where_something_is_wrong(capsys, counted):
    counted("model.safetensors differs")
    with pytest.raises(SystemExit, match="1 of 1 cases went wrong"):
        kills.main(["--kills", "1", "--case", "mlp", "--backend", "reference"])
    assert "model.safetensors differs" in capsys.readouterr().out
