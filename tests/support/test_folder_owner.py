"""The owner of a folder: one at a time, until its process ends, however it ends."""

import contextlib
import gc
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from minigan.errors import OutputError
from minigan.support import file_locks, folder_owner
from minigan.support.folder_owner import LOCK_FILE, FolderOwner, refuse_if_owned

REMEDY = "Wait."
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
KEEPER = """
import sys, time
from pathlib import Path
from minigan.support.folder_owner import FolderOwner
owner = FolderOwner(Path(sys.argv[1]), remedy="")
print("has it", flush=True)
time.sleep(100)
"""


def own(folder):
    return FolderOwner(folder, remedy=REMEDY)


def is_free(folder):
    try:
        own(folder).release()
    except OutputError:
        return False
    return True


@pytest.fixture
def keeper(tmp_path):
    """Another process, which owns the folder."""
    line = [sys.executable, "-c", KEEPER, str(tmp_path)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "has it\n"
        yield child
        child.kill()


def test_a_second_owner_is_refused_until_the_first_is_done(tmp_path):
    with own(tmp_path) as first:
        assert json.loads((tmp_path / LOCK_FILE).read_text())["process"] == os.getpid()
        for attempt in (own, lambda folder: refuse_if_owned(folder, remedy=REMEDY)):
            with pytest.raises(
                OutputError, match=rf"^cannot write {tmp_path}: this process already trains in it\. Wait"
            ):
                attempt(tmp_path)
        first.hold()
    assert list(tmp_path.iterdir()) == []
    refuse_if_owned(tmp_path, remedy=REMEDY)
    first.hold()  # after its end it does nothing
    first.release()
    assert list(tmp_path.iterdir()) == []
    assert is_free(tmp_path)
    assert "given up" in repr(first)


def test_an_error_and_a_forgotten_owner_give_it_up(tmp_path):
    with contextlib.suppress(ZeroDivisionError), own(tmp_path):
        raise ZeroDivisionError
    assert is_free(tmp_path)
    owner = own(tmp_path)
    assert not is_free(tmp_path)
    del owner
    gc.collect()
    assert is_free(tmp_path)


def test_another_process_is_named_and_so_is_one_that_was_stopped(tmp_path, keeper):
    with pytest.raises(OutputError, match=rf": process {keeper.pid} trains in it\. Wait\.$"):
        own(tmp_path)
    if not hasattr(signal, "SIGSTOP"):
        return
    keeper.send_signal(signal.SIGSTOP)
    stopped = re.escape(f": process {keeper.pid} (stopped: kill -CONT {keeper.pid} continues it) trains in it.")
    deadline = time.monotonic() + 10
    while not folder_owner._is_stopped(keeper.pid) and time.monotonic() < deadline and sys.platform == "linux":
        time.sleep(0.01)
    with pytest.raises(OutputError, match=stopped if sys.platform == "linux" else str(keeper.pid)):
        own(tmp_path)


def test_what_a_killed_process_leaves_keeps_nobody_out(tmp_path, keeper):
    keeper.kill()
    keeper.wait()
    assert json.loads((tmp_path / LOCK_FILE).read_text())["process"] == keeper.pid
    refuse_if_owned(tmp_path, remedy=REMEDY)
    assert is_free(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_copy_of_a_folder_is_free(tmp_path):
    (tmp_path / "run").mkdir()
    with own(tmp_path / "run"):
        shutil.copytree(tmp_path / "run", tmp_path / "copy")
        assert (tmp_path / "copy" / LOCK_FILE).exists()
        assert is_free(tmp_path / "copy")
        assert not is_free(tmp_path / "run")


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"[]", b'{"process": "1"}', b'{"process": -5, "host": "x"}', b"9" * 9999]
)
def test_the_content_is_for_the_message_only(tmp_path, content):
    (tmp_path / LOCK_FILE).write_bytes(content)
    assert is_free(tmp_path)
    with own(tmp_path):
        (tmp_path / LOCK_FILE).write_bytes(content)
        with pytest.raises(OutputError, match="another process trains in it"):
            own(tmp_path)


def test_it_is_named_where_it_runs_on_another_machine(tmp_path):
    with own(tmp_path):
        (tmp_path / LOCK_FILE).write_text('{"process": 7, "host": "far"}')
        with pytest.raises(OutputError, match="process 7 on far trains in it"):
            own(tmp_path)


@needs_fork
def test_a_child_neither_keeps_it_nor_gives_it_up(tmp_path):
    """As workers of a pool that outlive a training."""
    owner = own(tmp_path)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # it ends without what pytest does at the end
        os.close(writing)
        with contextlib.suppress(BaseException):
            owner.release()
            gc.collect()
        os.read(reading, 1)  # until the other end is closed
        os._exit(0)
    os.close(reading)
    try:
        time.sleep(0.05)
        assert not is_free(tmp_path)
        owner.release()
        assert is_free(tmp_path)  # though the child lives
    finally:
        os.close(writing)
        os.waitpid(child, 0)


def test_a_folder_that_is_made_anew_is_taken_again(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with own(folder) as owner:
        shutil.rmtree(folder)
        with pytest.raises(OutputError, match="No such file"):
            owner.hold()
        folder.mkdir()
        owner.hold()
        assert not is_free(folder)
    assert list(folder.iterdir()) == []


def test_a_folder_that_another_has_taken_meanwhile_is_lost(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with own(folder) as owner:
        shutil.rmtree(folder)
        folder.mkdir()
        with own(folder) as other:
            with pytest.raises(OutputError, match="trains in it"):
                owner.hold()
            owner.release()  # does not remove what is the other's
            assert not is_free(folder)
            other.hold()


def test_a_disk_without_locks_is_told_of_and_the_process_is_asked_for(tmp_path, monkeypatch, keeper):
    monkeypatch.setattr(folder_owner, "try_lock", lambda _: None)
    with pytest.raises(
        OutputError, match=rf"process {keeper.pid} trains in it\. Wait\. If it does something else, remove "
    ):
        own(tmp_path)
    keeper.kill()
    keeper.wait()
    with own(tmp_path) as owner:
        assert owner.warning.endswith("has no locks: make sure that no other machine trains in it.")
        assert not is_free(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / LOCK_FILE).write_text('{"process": 7, "host": "far"}')  # which cannot be asked
    assert is_free(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX's locks")
def test_a_system_call_that_is_refused_is_no_lock(tmp_path, monkeypatch):
    import fcntl

    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with open(tmp_path / "file", "wb") as file:
        assert file_locks.try_lock(file.fileno()) is None


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*gone.*: No such file"):
        own(tmp_path / "gone")
    refuse_if_owned(tmp_path / "gone", remedy=REMEDY)


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="no links to refuse on this system")
def test_a_link_in_the_place_of_the_lock_leads_to_no_file(tmp_path):
    """As a folder from a stranger may have it."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "folder" / LOCK_FILE).symlink_to(tmp_path / "precious")
    with pytest.raises(OutputError, match=r"\.lock: .*\. If no training is alive there, remove it\.$"):
        own(tmp_path / "folder")
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_or_folder_in_the_place_of_the_lock_is_not_waited_for(tmp_path):
    for name, make in (("pipe", os.mkfifo), ("folder", os.mkdir)):
        (tmp_path / name).mkdir()
        make(tmp_path / name / LOCK_FILE)
        with pytest.raises(OutputError, match=r"\.lock: .*\. If no training is alive there, remove it\.$"):
            own(tmp_path / name)
        refuse_if_owned(tmp_path / name, remedy=REMEDY)


def cannot_write(monkeypatch):
    """Has the lock be a file that another user has written, and this one may only read."""
    right = os.open

    def opened(path, flags, *mode, **options):
        if os.path.lexists(path) and os.path.basename(path) == LOCK_FILE and flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied", str(path))
        return right(path, flags, *mode, **options)

    monkeypatch.setattr(os, "open", opened)


def test_what_another_user_s_killed_process_leaves_keeps_nobody_out(tmp_path, monkeypatch):
    (tmp_path / LOCK_FILE).write_text(json.dumps({"process": 1, "host": "a container"}))
    cannot_write(monkeypatch)
    with own(tmp_path):
        monkeypatch.undo()
        assert json.loads((tmp_path / LOCK_FILE).read_text())["process"] == os.getpid()
    assert not (tmp_path / LOCK_FILE).exists()


def test_another_user_s_process_is_named(tmp_path, keeper, monkeypatch):
    cannot_write(monkeypatch)
    for attempt in (own, lambda folder: refuse_if_owned(folder, remedy=REMEDY)):
        with pytest.raises(OutputError, match=rf": process {keeper.pid} trains in it\. Wait"):
            attempt(tmp_path)


def test_a_lock_that_cannot_be_written_leaves_the_folder_free(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OutputError, match="No space left on device"):
            own(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert is_free(tmp_path)


@needs_fork
def test_a_child_that_was_forked_may_not_write(tmp_path):
    with own(tmp_path) as owner:
        if (child := os.fork()) == 0:
            try:
                owner.hold()
            except OutputError as error:
                os._exit(7 if f"process {os.getppid()} trains in it" in str(error) else 1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        owner.hold()
