"""Logs for other programs: what they hold, also after a resume, and what happens without room or package."""

import csv
import importlib.util
import io
import shutil
import struct
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import minigan
from minigan.cli.command_line import main
from minigan.errors import ConfigError, OutputError
from minigan.training.listeners import csv_log, tensorboard_log

QUICK = {"data": "ring", "hidden": 4, "latent": 2, "batch_size": 8, "backend": "reference", "quiet": True}
SHELL = ("--data", "ring", "--backend", "reference", "--quiet", "--set", "hidden=4", "latent=2", "batch_size=8")

tensorboard = pytest.mark.skipif(importlib.util.find_spec("tensorboardX") is None, reason="needs tensorboardX")


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


# ------------------------------------------------------------------------------------------ tensorboard


def events(path):
    """The events of a file, each record with the checksums of the format."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    content, found = path.read_bytes(), []
    for record in tensorboard_log.records(content):
        head, data = record[:8], record[12:-4]
        assert record[8:12] == struct.pack("<I", masked_crc32c(head))
        assert record[-4:] == struct.pack("<I", masked_crc32c(data))
        found.append(Event.FromString(data))
    return found


def all_events(folder="run"):
    return [event for path in sorted(Path(folder, "tensorboard").iterdir()) for event in events(path)]


def values(kind, folder="run"):
    """All (step, tag, value) of a kind: simple_value, image or histo."""
    found = ((event.step, value) for event in all_events(folder) for value in event.summary.value)
    return [(step, value.tag, getattr(value, kind)) for step, value in found if value.HasField(kind)]


@tensorboard
def test_events_hold_the_numbers_of_the_log():
    run = trained(6, log="tensorboard", evaluate_every=4, log_gradients=3, out="run")
    expected = {}
    for record in run.log:
        step, gradients = record.pop("step"), record.pop("gradients", {})
        group = "training" if "seconds" in record else "evaluation"
        expected |= {(step, f"{group}/{name}"): value for name, value in record.items()}
        expected |= {(step, f"gradient_norms/{name}"): value for name, value in gradients.items()}
    found = {(step, tag): value for step, tag, value in values("simple_value")}
    assert found == pytest.approx(expected, rel=1e-6)
    assert len(found) == len(values("simple_value"))
    assert (4, "evaluation/modes") in found
    assert (3, "gradient_norms/G.0.Dense") in found
    assert all_events()[0].file_version == "brain.Event:2"


@tensorboard
def test_pictures_are_the_run_s_own():
    run = trained(4, log="tensorboard", sample_every=2, out="run")
    assert [(step, tag) for step, tag, _ in values("image")] == [(2, "samples"), (4, "samples")]
    for step, _, image in values("image"):
        png = (run.folder / "samples" / f"step-{step:06}.png").read_bytes()
        assert image.encoded_image_string == png
        assert (image.width, image.height) == struct.unpack(">II", png[16:24])


@tensorboard
def test_histograms_of_the_gradients_come_on_request():
    norms = {}

    class Watch(minigan.training.Listener):
        def on_start(self, training):
            self.learner = training.state.learner

        def on_record(self, record):
            if "gradients" in record:
                for name, network in self.learner.networks.items():
                    for _, layer in network.walk():
                        for p in layer.own_parameters:
                            norms[record["step"], f"gradients/{layer.path}.{p.name}"] = self.learner.grads[name][
                                p
                            ].copy()

    trained(4, log="tensorboard", log_gradients=2, out="run", listeners=[Watch()])
    found = {(step, tag): histogram for step, tag, histogram in values("histo")}
    assert found.keys() == norms.keys()
    assert (2, "gradients/D.1.Dense.w") in found
    for place, gradient in norms.items():
        histogram, wanted = found[place], gradient.astype(np.float64).ravel()
        assert (histogram.min, histogram.max, histogram.num) == (wanted.min(), wanted.max(), wanted.size)
        assert (histogram.sum, histogram.sum_squares) == pytest.approx((wanted.sum(), (wanted**2).sum()))
        assert sum(histogram.bucket) == wanted.size
        limits = np.array(histogram.bucket_limit)
        middle = len(limits) // 2
        assert sum(histogram.bucket[: middle + 1]) == (wanted < limits[middle]).sum()
    trained(4, log="tensorboard", out="plain")
    assert not values("histo", "plain")


@pytest.mark.parametrize(
    "values", [[0.0, 0.0], [3.0], [1e20, 1e20], [-1e20], [1.0, np.nextafter(1.0, 2)], [0.0, 5e-324], [-1e-30, 1e30]]
)
def test_a_histogram_counts_values_however_narrow_or_wide_their_range_is(values):
    made = tensorboard_log.histogram(np.array(values))
    assert sum(made["bucket"]) == len(values)
    assert len(made["bucket_limit"]) == len(made["bucket"])
    assert made["bucket_limit"][0] <= min(values) <= max(values) <= made["bucket_limit"][-1]
    assert made["bucket_limit"][0] < made["bucket_limit"][-1]


@tensorboard
def test_a_resumed_run_doubles_no_event_and_loses_none():
    run = trained(6, log="tensorboard", sample_every=2, out="run")
    (first,) = Path("run/tensorboard").iterdir()
    first.write_bytes(first.read_bytes() + b"cut off")
    minigan.open_run(checkpoint(run, 4)).resume(steps=8)
    assert len(list(Path("run/tensorboard").iterdir())) == 2
    tags = [(step, tag) for step, tag, _ in (*values("simple_value"), *values("image"))]
    assert len(tags) == len(set(tags))
    assert sorted({step for step, tag in tags if tag == "training/d_loss"}) == [1, 2, 4, 6, 8]
    assert sorted({step for step, tag in tags if tag == "samples"}) == [2, 4, 6, 8]
    # A TensorBoard that has read step 6 before is told to forget it.
    assert [event.step for event in all_events() if event.HasField("session_log")] == [1, 5]


@tensorboard
def test_a_run_that_begins_again_has_one_file():
    run = trained(2, log="tensorboard", out="run")
    for path in [*(run.folder / "checkpoints").iterdir(), run.folder / "model.safetensors"]:
        path.unlink()
    with pytest.warns(UserWarning, match="has no checkpoint yet"):
        run.resume(steps=2)
    assert len(list(Path("run/tensorboard").iterdir())) == 1
    assert [step for step, tag, _ in values("simple_value") if tag == "training/d_loss"] == [1, 2]


@tensorboard
def test_event_files_that_were_removed_come_back():
    def remove(record):
        if record["step"] == 2:
            shutil.rmtree("run/tensorboard")

    trained(4, log="tensorboard", out="run", listeners=[remove])
    assert {step for step, _, _ in values("simple_value")} == {2, 4}


@tensorboard
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_is_full_is_one_line(monkeypatch):
    from tensorboardX import record_writer

    def open_full(path):
        Path(path).touch()
        return open("/dev/full", "wb")

    monkeypatch.setattr(record_writer, "open_file", open_full)
    with pytest.raises(OutputError, match=r"cannot write .*events\.out.*: No space left on device\. Free some") as it:
        trained(2, log="tensorboard", out="run")
    assert "\n" not in str(it.value)


@tensorboard
def test_the_end_of_the_command_says_how_to_look_at_it(capsys):
    arguments = [word for word in SHELL if word != "--quiet"]
    assert main(["train", "mlp", "--steps", "1", "--out", "run", "--log", "csv", "tensorboard", *arguments]) == 0
    assert "curves: tensorboard --logdir run/tensorboard" in capsys.readouterr().out
    assert tomllib.loads(Path("run/config.toml").read_text())["log"] == ["csv", "tensorboard"]


def test_the_package_is_asked_for_before_anything_is_written(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.setitem(sys.modules, "tensorboardX.record_writer", None)
    assert main(["train", "mlp", "--steps", "1", "--out", "run", "--log", "tensorboard", *SHELL]) == 2
    assert capsys.readouterr().err == (
        "minigan: --log tensorboard needs tensorboardX, which is not installed. "
        "Run: pip install 'minigan[tensorboard]'\n"
    )
    assert not Path("run").exists()


@tensorboard
def test_logs_go_on_when_the_run_s_folder_was_removed_and_made_anew():
    def remove(record):
        if record["step"] == 2:
            shutil.rmtree("run")

    run = trained(6, log=["tensorboard", "csv"], out="run", listeners=[remove])
    assert [row["step"] for row in rows("run")] == ["4", "6"]
    assert rows("run") == expected(run)
    assert {step for step, tag, _ in values("simple_value")} == {4, 6}
    assert all_events()[0].file_version == "brain.Event:2"


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
