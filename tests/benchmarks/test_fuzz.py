"""Every reader of files is under attack, and the attack finds what it should; `python -m benchmarks.fuzz` goes on."""

import ast
import importlib.util
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_tree import sources

from benchmarks import fuzz
from benchmarks.fuzzing.mutations import EXTREMES
from benchmarks.fuzzing.readers import READERS, Inputs, Reader, write
from benchmarks.fuzzing.worker import READ, REFUSED, Limits, attempt, outcomes
from minigan.errors import DataError, MiniganError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("PIL") is None or not Path("/proc/self/statm").exists(), reason="needs Pillow, and Linux"
)
every_reader = pytest.mark.parametrize("reader", READERS, ids=[reader.name for reader in READERS])

# What opens a file, by the name it is called by.
OPENERS = {"open", "fdopen", "read_bytes", "read_text", "fromfile", "memmap", "ZipFile", "safe_open", "np.load"}
# Functions that call one of these, and read nothing that a stranger may have written.
HARMLESS = {
    "minigan.support.package_files.packaged": "reads files of minigan's own",
    "minigan.support.durable_files._new_file": "writes",
    "minigan.support.durable_files._remove_if_left": "opens a file to see whether it is locked",
    "minigan.cli.card.card": "copies a picture as it is",
    "minigan.export.numpy_functions.write_picture": "writes",
    "minigan.support.durable_files._sync_folder": "opens a folder to sync it",
    "minigan.training.listeners.log.Log.on_record": "writes",
    "minigan.cli.command_line._flush": "opens the null device",
    "minigan.cli.command_line._occupy_standard_files": "opens the null device",
    "minigan.support.folder_owner._is_stopped": "reads what the system says of a process",
    "minigan.training.replays.Replays._record": "opens a recording of a step",
    "minigan.backends.cpu.jit.fingerprint": "reads minigan's own source",
    "minigan.inspection.code_places._methods": "reads the source of a layer or kernel",
    "minigan.distributed.mpi.MpiRanks.abort": "opens the null device",
    "minigan.runs.among_ranks._mark": "compares a run's file among ranks",
    "minigan.support.cpu_limit.launcher_affinity": "reads what the system says of a process",
    "minigan.live.journal.Journal.add": "writes",
    "minigan.live.serving.go_live": "opens a browser",
    "minigan.training.listeners.csv_log.CsvLog.on_step": "writes",
    "minigan.training.listeners.tensorboard_log.TensorBoardLog._remove_after": "reads events that test_logs.py damages",
}


# ---------------------------------------------------------------------------------------- no reader is left out


def opening_functions() -> Iterator[str]:
    """The functions of minigan that open files."""

    def functions(node: ast.AST, name: str) -> Iterator[tuple[str, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            inner = isinstance(child, ast.FunctionDef | ast.ClassDef)
            if isinstance(child, ast.Call):
                yield name, child
            yield from functions(child, f"{name}.{child.name}" if inner else name)

    for module, (_, tree) in sources().items():
        for name, call in functions(tree, module):
            called = ast.unparse(call.func)
            if {called, called.rpartition(".")[2]} & OPENERS:
                yield name


def test_every_function_that_opens_a_file_is_under_attack(tmp_path):
    ran = set()

    def note(frame, _event, _argument):
        """Notes a call, and asks for no other events."""
        ran.add(frame.f_code)

    for reader in READERS:
        inputs = Inputs(reader, seed=0)
        for index, files in enumerate(inputs.sound):
            folder = tmp_path / reader.name / str(index)
            write(files, folder)
            sys.settrace(note)
            try:
                reader.read(folder, inputs.chance(index))
            finally:
                sys.settrace(None)
    modules = {str(path): module for module, (path, _) in sources().items()}
    called = {f"{modules.get(code.co_filename)}.{code.co_qualname}" for code in ran}
    opening = set(opening_functions())
    left_out = opening - called - HARMLESS.keys()
    assert not left_out, f"give these a Reader in benchmarks/fuzzing/readers.py: {sorted(left_out)}"
    assert HARMLESS.keys() <= opening, "these open no files any more"


# ---------------------------------------------------------------------------------------- readers


@every_reader
def test_sound_files_are_read_and_hostile_ones_refused(reader, tmp_path):
    inputs = Inputs(reader, seed=0)
    for index in range(len(inputs)):
        outcome = attempt(reader, inputs, index, tmp_path / str(index))
        assert outcome.kind == (READ if index < len(inputs.sound) else REFUSED), outcome


@every_reader
def test_some_damaged_files(reader, tmp_path):
    inputs = Inputs(reader, seed=0)
    found = [attempt(reader, inputs, index, tmp_path / str(index)) for index in range(len(inputs), len(inputs) + 20)]
    assert [outcome for outcome in found if outcome.kind not in (READ, REFUSED)] == []


edits = st.lists(
    st.tuples(
        st.integers(0, 300),  # where; beyond the end is at the end
        st.integers(0, 8),  # so many bytes go
        st.binary(max_size=8) | st.sampled_from(EXTREMES).map(lambda n: n.to_bytes(9, "little")),  # these come
    ),
    min_size=1,
    max_size=4,
)


@every_reader
@settings(max_examples=8)
@given(edits=edits, which=st.integers(0, 99), chance=st.randoms(use_true_random=False))
def test_any_edits(reader, edits, which, chance, tmp_path_factory):
    """Hypothesis shortens the edits that it finds."""
    sound = reader.sound()
    files = dict(sound[which % len(sound)])
    name = sorted(name for name in files if Path(name).match(reader.damages))[0]
    for at, gone, new in edits:
        files[name] = files[name][:at] + new + files[name][at + gone :]
    folder = tmp_path_factory.mktemp("edited")
    write(files, folder)
    try:
        reader.read(folder, chance)
    except MiniganError as error:
        assert str(error).isprintable()


# ---------------------------------------------------------------------------------------- the attack itself


class SeveralLines(MiniganError):
    __str__ = Exception.__str__


def nothing():
    return [{"x": b"x"}]


def behave(folder: Path, _chance: random.Random) -> None:
    """Behaves as the file says."""
    word = (folder / "x").read_bytes()
    if word == b"refuse":
        raise DataError("refused")
    if word == b"fail":
        raise KeyError("failed")
    if word == b"crash":
        os.abort()
    if word == b"hang":
        time.sleep(60)
    if word == b"take":
        bytearray(2**32)
    if word == b"swallow":
        raise DataError("refused") from MemoryError()
    if word == b"grow":
        bytearray(b"x" * 2**26)
    if word == b"lines":
        raise SeveralLines("refused\nfor ever")


WORDS = ("refuse", "fail", "crash", "take", "grow", "lines", "hang")


def misbehavior():
    return [{"x": word.encode()} for word in WORDS]


def test_whatever_goes_wrong_is_found_and_the_rest_goes_on():
    reader = Reader("behave", nothing, behave, hostile=misbehavior, growth=2**25)
    hang = 1 + WORDS.index("hang")
    found = list(outcomes(reader, seed=0, start=0, stop=hang))
    assert [outcome.index for outcome in found] == list(range(hang))
    kinds = ["read", "refused", "KeyError", "crash", "MemoryError", "memory", "message of several lines"]
    assert [outcome.kind for outcome in found] == kinds
    assert found[2].detail == "test_fuzz.py:behave: 'failed'"
    assert "behave" in found[3].detail
    (stuck,) = outcomes(reader, seed=0, start=hang, stop=hang + 1, limits=Limits(patience=1))
    assert (stuck.index, stuck.kind) == (hang, "hang")


def test_memory_that_was_asked_for_in_vain_is_found(tmp_path):
    reader = Reader("behave", lambda: [{"x": b"swallow"}], behave)
    assert attempt(reader, Inputs(reader, seed=0), 0, tmp_path).kind == "memory"


@every_reader
def test_the_same_seed_makes_the_same_inputs(reader):
    one, two = Inputs(reader, seed=5), Inputs(reader, seed=5)
    for index in range(len(one), len(one) + 3):
        ours, theirs = (inputs.files(index, inputs.chance(index)) for inputs in (one, two))
        assert ours == theirs


def test_the_command(capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        fuzz.main(["--inputs", "60", "--reader", "npy", "--json", str(tmp_path / "found.json")])
    assert ended.value.code == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("npy   "))
    _, inputs, read, refused, findings = line.split()
    assert (inputs, findings) == ("60", "0")
    assert int(read) + int(refused) == 60
    fuzz.main(["--reader", "npy", "--only", "30", "--keep", str(tmp_path / "kept")])
    assert (tmp_path / "kept" / "x.npy").exists()
