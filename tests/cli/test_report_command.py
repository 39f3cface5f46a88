"""The command `minigan report`: the file it writes, JSON, notes, and one line for bad input."""

import json
import shutil

import pytest

import minigan
from minigan.cli.command_line import main
from minigan.runs.config_migrations import CONFIG_FORMAT


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run."""
    root = tmp_path_factory.mktemp("runs")
    minigan.train("mlp", data="ring", steps=2, out=root / "ring", backend="reference", quiet=True, hidden=4)
    return root


@pytest.fixture(autouse=True)
def there(folder, monkeypatch):
    monkeypatch.setattr("minigan.inspection.limits.COPIED", 1 << 16)
    monkeypatch.setattr("minigan.inspection.limits.ROUND", 0)
    monkeypatch.chdir(folder)


def test_the_report_lies_in_the_run(folder, capsys):
    assert main(["report", "ring", "--quick"]) == 0
    assert capsys.readouterr().out == "ring/report.html\n"
    page = (folder / "ring" / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and page.endswith("</html>\n")


def test_json_and_a_note_on_what_is_missing(folder, capsys):
    assert main(["report", "ring", "--json", "--out", "report.html"]) == 0
    out, err = capsys.readouterr()
    record = json.loads(out)
    assert record["bytes"] == (folder / "report.html").stat().st_size
    assert record["verdict"]
    assert record["notes"] == ["No real examples next to fakes: mlp draws points here."]
    assert err == "minigan: No real examples next to fakes: mlp draws points here.\n"
    assert main(["report", "ring", "--json", "-q"]) == 0
    assert capsys.readouterr().err == ""


def test_two_runs_in_one_file(folder, capsys):
    assert main(["report", "ring", "ring", "--quick", "--out", "both.html"]) == 0
    assert capsys.readouterr().out == "both.html\n"
    assert "Report of ring and ring" in (folder / "both.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["none"], "none: no run is there. Name a folder that a training has written."),
        (["ring", "none"], "none: no run is there. Name a folder that a training has written."),
        (["."], ". is not a run folder: cannot read config.toml: No such file or directory."),
        (["ring", "--quick", "--data", "ring"], "a quick report computes nothing. Leave --data or --quick out."),
        (["ring", "--quick", "--out", "no/such/folder/report.html"], "no/such/folder"),
        (["damaged"], "damaged/log.jsonl is damaged: line 1 is no record of a step. Remove that line."),
        (["newer"], f"newer/config.toml: expected format {CONFIG_FORMAT} or an earlier one, found 99."),
    ],
)
def test_bad_input_is_one_line(folder, words, text, capsys):
    for name in ("damaged", "newer"):
        shutil.copytree(folder / "ring", folder / name, dirs_exist_ok=True)
    log = (folder / "ring" / "log.jsonl").read_text(encoding="utf-8")
    (folder / "damaged" / "log.jsonl").write_text(f"x\n{log}", encoding="utf-8")
    config = (folder / "ring" / "config.toml").read_text(encoding="utf-8")
    (folder / "newer" / "config.toml").write_text(
        config.replace(f"format = {CONFIG_FORMAT}", "format = 99"), encoding="utf-8"
    )
    assert main(["report", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("minigan: ") and err.count("\n") == 1
    assert text in err


def test_training_says_how_to_see_the_report(capsys):
    assert main(["train", "mlp", "--data", "ring", "--steps", "1", "--backend", "reference", "--out", "my run"]) == 0
    assert "how it learned: minigan report 'my run'\n" in "".join(capsys.readouterr())
