"""Logs for other programs: what they hold, also after a resume, and what happens without room or package."""

import csv
import io
import tomllib
from pathlib import Path

import pytest

import minigan
from minigan.cli.command_line import main
from minigan.errors import ConfigError, OutputError
from minigan.training.listeners import csv_log

QUICK = {"data": "ring", "hidden": 4, "latent": 2, "batch_size": 8, "backend": "reference", "quiet": True}
SHELL = ("--data", "ring", "--backend", "reference", "--quiet", "--set", "hidden=4", "latent=2", "batch_size=8")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def trained(steps=4, **arguments):
    return minigan.train("mlp", steps=steps, **{**QUICK, "log_every": 2, "checkpoint_every": 2, **arguments})


def rows(folder):
    return list(csv.DictReader(io.StringIO((Path(folder) / "log.csv").read_text())))


def expected(run):
    """The table that the run's log.jsonl amounts to."""
    joined = {}
    for record in run.log:
        gradients = {f"gradients.{name}": value for name, value in record.pop("gradients", {}).items()}
        joined.setdefault(record["step"], {}).update(record | gradients)
    columns = list(dict.fromkeys(name for row in joined.values() for name in row))
    return [{name: str(row.get(name, "")) for name in columns} for row in joined.values()]


# ------------------------------------------------------------------------------------------ csv


def test_the_table_holds_the_log_with_one_row_a_step():
    run = trained(6, log="csv", evaluate_every=4, log_gradients=3, out="run")
    assert [row["step"] for row in rows("run")] == ["1", "2", "3", "4", "6"]
    assert rows("run") == expected(run)
    assert [bool(row["modes"]) for row in rows("run")] == [False, False, False, True, True]
    assert [bool(row["gradients.G.0.Dense"]) for row in rows("run")] == [False, False, True, False, True]


def test_a_row_is_added_without_writing_the_table_again(monkeypatch):
    written = []
    write = csv_log.atomic_write
    monkeypatch.setattr(csv_log, "atomic_write", lambda *given: (written.append(given), write(*given)))
    run = trained(9, log="csv", log_every=1)
    assert len(written) == 2  # when training begins, and when the first record brings the columns
    assert rows(run.folder) == expected(run)


def test_a_resumed_run_goes_on_with_its_table_and_doubles_no_step():
    run = trained(6, log=["csv"], out="run")
    with open("run/log.csv", "a") as file:
        file.write("8,0.5\n,,,half a r")
    minigan.open_run(checkpoint(run, 4)).resume(steps=8)
    assert [row["step"] for row in rows("run")] == ["1", "2", "4", "6", "8"]
    assert rows("run") == expected(minigan.open_run("run"))


def checkpoint(run, step):
    return next(path for path in (run.folder / "checkpoints").iterdir() if str(step) in path.name)


def test_figures_that_are_made_up_after_a_resume_join_their_row():
    run = trained(4, log="csv", evaluate_every=4, out="run")
    log = Path("run/log.jsonl")
    log.write_text("".join(line for line in log.read_text().splitlines(True) if "seconds" in line))
    run.resume(steps=5)
    assert [(row["step"], bool(row["modes"])) for row in rows("run")] == [
        *(("1", False), ("2", False), ("4", True)),
        ("5", True),
    ]


def test_a_table_that_was_removed_comes_back():
    lost = []

    def remove(record):
        if record["step"] == 2:
            Path("run/log.csv").unlink()
            lost.append(record)

    run = trained(4, log="csv", out="run", listeners=[remove])
    assert lost
    assert rows("run") == expected(run)


def test_a_table_that_cannot_be_written_is_one_line_and_the_resumed_run_has_all_rows():
    run = trained(2, log="csv", out="run")
    Path("run/log.csv").unlink()
    Path("run/log.csv").mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*log\.csv: ") as caught:
        run.resume(steps=4)
    assert "\n" not in str(caught.value)
    Path("run/log.csv").rmdir()
    run.resume(steps=4)
    assert [row["step"] for row in rows("run")] == ["1", "2", "4"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_in_between_is_one_line():
    def fill(record):
        if record["step"] == 4:
            Path("run/log.csv").unlink()
            Path("run/log.csv").symlink_to("/dev/full")

    with pytest.raises(OutputError, match=r"cannot write .*log\.csv: No space left on device\. Free some space") as it:
        trained(6, log="csv", out="run", listeners=[fill])
    assert "\n" not in str(it.value)


# ------------------------------------------------------------------------------------------ names


def test_the_flag_is_noted_and_training_has_the_same_bits():
    assert main(["train", "mlp", "--steps", "3", "--out", "logged", "--log", "csv", *SHELL]) == 0
    assert main(["train", "mlp", "--steps", "3", "--out", "plain", *SHELL]) == 0
    assert tomllib.loads(Path("logged/config.toml").read_text())["log"] == ["csv"]
    assert tomllib.loads(Path("plain/config.toml").read_text())["log"] == []
    assert minigan.open_run("logged").config.log == ("csv",)
    assert Path("logged/model.safetensors").read_bytes() == Path("plain/model.safetensors").read_bytes()
    assert not Path("plain/log.csv").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("cvs", r"`log`: expected csv.*, got 'cvs'\. Did you mean csv\?"),
        (["csv", "ring"], r"`log`: expected csv.*, got 'ring'\. Name none but these"),
        (["csv", []], r"`log`: expected csv"),
        (7, r"log must be a list of csv.*, got 7\. Write log=\['csv'\]"),
        (True, r"log must be a list of csv.*, got True"),
    ],
)
def test_another_name_is_refused_before_anything_is_written(given, message):
    with pytest.raises(ConfigError, match=message):
        trained(log=given, out="run")
    assert not Path("run").exists()


def test_the_command_line_refuses_it_in_one_line(capsys):
    assert main(["train", "--log", "csv", "mlp", "--steps", "1", "--out", "run"]) == 2
    assert capsys.readouterr().err.startswith("minigan: --log: expected csv")
    trained(2, out="run")
    assert main(["train", "--resume", "run", "--steps", "4", "--log", "csv"]) == 2
    assert "got --log in addition" in capsys.readouterr().err


@pytest.mark.parametrize("value", ['"csv"', "[7]", '["xml"]', "true"])
def test_a_damaged_configuration_is_one_line(value, capsys):
    trained(2, out="run")
    path = Path("run/config.toml")
    path.write_text(path.read_text().replace("log = []\n", f"log = {value}\n"))
    assert main(["train", "--resume", "run", "--steps", "4"]) == 2
    error = capsys.readouterr().err
    assert "'log' must be a list of csv" in error
    assert error.count("\n") == 1
