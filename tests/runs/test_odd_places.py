"""Runs in odd places: names of any kind, texts with a byte order mark, no home, a removed folder."""

import json
import os
import shlex
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from selection import few_quick

import minigan
from minigan.cli.command_line import main
from minigan.data import Digits
from minigan.data.png import encode_png
from minigan.errors import DataError
from minigan.evaluation import cache_folder, classifier_cache, kept_classifier
from minigan.recipes import get_recipe
from minigan.runs.config import new_config, read_config, write_config
from minigan.support import durable_files
from minigan.support.durable_files import atomic_write

TINY = ("--steps", "2", "--batch-size", "4", "--backend", "reference", "--set", "width=4", "size=16")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def pictures(folder):
    """A folder of six small pictures; skips where the file system refuses the name."""
    try:
        os.makedirs(folder)
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system has no such names")
    rng = np.random.default_rng(0)
    for k in range(6):
        Path(folder, f"{k}.png").write_bytes(encode_png(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)))


def refuse(*_):
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize(
    "name", ["my photos", "it's", "new\nline", "-dash", "[bold]", "漢" * 80, "alt\udce4r", "del\x7f", "ti`ck", ":art:"]
)
def test_a_folder_of_any_name(name, capsys):
    pictures(name)
    assert main(["train", f"--data={name}", *TINY]) == 0
    out = capsys.readouterr().out
    hint = next(line for line in out.splitlines() if line.startswith("more: minigan sample "))
    (run,) = Path("runs").iterdir()
    if name.isprintable():
        assert shlex.split(hint) == ["more:", "minigan", "sample", str(run)]
    assert read_config(run).data == os.path.abspath(name)
    assert main(["train", "--resume", str(run), "--steps", "3"]) == 0
    assert main(["sample", str(run), "--count", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["samples"] == 1


@pytest.mark.parametrize(
    "data", ["digits", "stacked:digits", "/a/alt\udce4r", "stacked:/a/alt\udce4r", "/\x7f\x80\u2028"]
)
def test_a_configuration_can_be_read_again(tmp_path, data):
    config = replace(new_config(get_recipe("dcgan")()), data=data)
    write_config(config, tmp_path)
    assert read_config(tmp_path) == config
    tomllib.loads((tmp_path / "config.toml").read_bytes().decode())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
def test_files_that_an_editor_has_saved_anew(encoding):
    run = minigan.train(
        "mlp", data="ring", steps=2, batch_size=4, log_every=1, backend="reference", out="r", quiet=True
    )
    config, log = run.config, run.log
    for name in ("config.toml", "log.jsonl"):
        text = Path("r", name).read_text(encoding="utf-8").replace("\n", "\r\n")
        Path("r", name).write_bytes(text.encode(encoding))
    assert run.config == config
    assert run.log == log
    assert len(log) == 2


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps a folder that is in use")
def test_a_folder_that_was_removed(tmp_path, monkeypatch, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(["train", *TINY]) == 2
    error = capsys.readouterr().err
    assert error == "minigan: the current folder was removed: change to another one, cd FOLDER.\n"
    assert main(["train", *TINY, "--out", str(tmp_path / "run")]) == 0
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("environ", "home", "expected"),
    [
        ({}, None, None),  # no entry in the password file
        ({}, "/dev/null", None),  # no folder
        ({}, "relative", None),
        ({"XDG_CACHE_HOME": "relative"}, None, None),
        ({"XDG_CACHE_HOME": "/there"}, None, Path("/there/minigan")),
        ({"MINIGAN_CACHE": "here"}, None, Path("here")),
    ],
)
def test_no_home(monkeypatch, environ, home, expected):
    os.makedirs("relative")
    for name in ("MINIGAN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path if home is None else path.replace("~", home))
    assert cache_folder() == expected


def test_a_classifier_that_nobody_keeps(monkeypatch):
    said, made = [], []
    monkeypatch.setattr(classifier_cache, "cache_folder", lambda: None)
    monkeypatch.setattr(classifier_cache, "train_classifier", lambda *_, **__: made.append(1) or "classifier")
    for _ in range(2):
        assert kept_classifier(Digits(count=20, seed=0), backend="reference", say=said.append) == "classifier"
    assert len(made) == 2
    assert said[0].endswith("each time: no home folder keeps it. Name a folder in MINIGAN_CACHE")


def test_numba_makes_no_folder_named_like_a_home(monkeypatch):
    pytest.importorskip("numba")
    from minigan.backends.cpu import jit

    monkeypatch.setattr(jit.numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.setattr("numba.core.caching.InTreeCacheLocator.ensure_cache_path", refuse)
    for home in (None, "", "relative"):
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        if home is not None:
            monkeypatch.setenv("XDG_CACHE_HOME", home)
        with pytest.raises(RuntimeError, match="no locator available"):
            jit.KeyedCache(test_a_classifier_that_nobody_keeps)
    assert os.listdir() == []


@pytest.mark.parametrize("number", durable_files.NOT_HERE)
def test_a_file_is_written_where_the_system_does_not_wait_for_the_disk(monkeypatch, number):
    def denied(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(durable_files.os, "fsync", denied)
    monkeypatch.setattr(durable_files.os, "kill", denied)
    Path(f".x.{os.getpid() + 1}.tmp").touch()
    atomic_write(Path("x"), b"content")
    assert Path("x").read_bytes() == b"content"


def test_a_full_disk_is_told_when_it_is_written_to(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable_files.os, "fsync", full)
    with pytest.raises(minigan.errors.OutputError, match="cannot write x: No space left on device"):
        atomic_write(Path("x"), b"content")
    assert os.listdir() == []


def test_an_error_of_the_system_is_not_blamed_on_standard_output(monkeypatch, capsys):
    def broken(_options):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("minigan.cli.commands.COMMANDS", {"info": broken})
    assert main(["info"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("minigan: the system refused a call: Cannot allocate memory, in test_odd_places.py, line ")
    assert "standard output" not in error

    def piped(_options):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("minigan.cli.commands.COMMANDS", {"info": piped})
    assert main(["info"]) == 2  # another pipe's reader has ended, and not that of standard output
    assert "Broken pipe" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "command", "text"),
    [
        ({"NUMBA_DISABLE_JIT": "1"}, "train", "NUMBA_DISABLE_JIT keeps Numba from compiling"),
        ({"NUMBA_NUM_THREADS": "0"}, "train", "Number of threads specified must be > 0. Check its settings"),
        ({"NUMBA_NUM_THREADS": "abc"}, "info", "could not be parsed."),
    ],
)
def test_settings_of_numba(setting, command, text):
    pytest.importorskip("numba")
    small = ("--steps", "1", "--batch-size", "4", "--set", "width=4") if command == "train" else ()
    program = [sys.executable, "-m", "minigan", command, *small]
    found = subprocess.run(program, env={**os.environ, **setting}, capture_output=True, text=True, check=False)
    assert found.returncode == 0
    assert "Traceback" not in found.stderr
    assert text in found.stdout + found.stderr


def test_no_data_is_no_traceback(capsys):
    assert main(["train", "--data", "caf\udce9", *TINY]) == 2
    assert capsys.readouterr().err.startswith(r"minigan: caf\udce9: no such file")
    with pytest.raises(DataError):
        minigan.open_dataset("caf\udce9")


CLOSED = [">&-", "2>&-", "<&-", ">&- 2>&- <&-"]


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX")
@pytest.mark.parametrize("closed", few_quick(CLOSED, [CLOSED[-1]]))  # all of them
def test_standard_streams_that_are_closed_from_the_start(closed):
    command = shlex.join([sys.executable, "-m", "minigan", "train", *TINY, "--out", "r"])
    assert subprocess.run(["sh", "-c", f"{command} {closed}"], check=False, capture_output=True).returncode == 0
    assert minigan.open_run("r").step == 2
    assert Path("r/log.jsonl").read_text().count("\n") == 2
