"""Names of any kind: in a shell, in a file of text, on a terminal."""

import io
import os
import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan.cli.flags import as_flags
from minigan.support.output import Output, cannot_print, print_line
from minigan.support.progress import PlainProgress, RichProgress
from minigan.support.representation import python_text, short_path
from minigan.support.words import by_value, decoded, from_text, shell_word, to_text

NAMES = (
    *(
        "plain",
        "a b",
        "it's",
        'say "x"',
        "new\nline",
        "-dash",
        "%s%20",
        "[bold]x[/bold]",
        ":smile:",
        "~tilde",
        "tick`s",
    ),
    *("$HOME", "back\\slash", "del\x7f", "tab\t", "\x1b[31mred", "漢字", "👨‍👩‍👧", "\u202ertl", "alt\udce4r", "end\\'"),
)
ANY_NAME = st.binary(min_size=1, max_size=20).filter(lambda data: b"\0" not in data).map(os.fsdecode)


def pasted(words):
    """The words that a shell takes from a line."""
    shell = shutil.which("bash")
    if shell is None:
        pytest.skip("needs bash")
    script = f"printf '%s\\0' {' '.join(words)}"
    return [os.fsdecode(word) for word in subprocess.check_output([shell, "-c", script]).split(b"\0")[:-1]]


@pytest.mark.skipif(os.name == "nt", reason="quotes of POSIX")
def test_words_can_be_pasted_into_a_shell():
    words = [shell_word(name) for name in NAMES]
    assert all(word.isprintable() for word in words)
    assert pasted(words) == list(NAMES)
    assert shell_word("runs/dcgan-digits-1") == "runs/dcgan-digits-1"


def test_words_of_windows():
    assert shell_word("runs\\dcgan-digits-1", windows=True) == "runs\\dcgan-digits-1"
    assert shell_word("C:\\my runs\\a&b", windows=True) == '"C:\\my runs\\a&b"'


@pytest.mark.skipif(os.name == "nt", reason="quotes of POSIX")
def test_hints_in_messages_can_be_pasted():
    """A message speaks Python, and the command line's words are fit for a shell."""
    hints = [as_flags(f"`minigan.open_run({python_text(name)}).resume()`") for name in NAMES]
    assert pasted([hint.removeprefix("minigan train --resume ") for hint in hints]) == list(NAMES)
    for name in NAMES:
        hint = as_flags(f"Did you mean `data={python_text(name)}`?").removeprefix("Did you mean ").removesuffix("?")
        expected = [f"--data={name}"] if name.startswith("-") else ["--data", name]
        assert pasted([hint]) == expected


def test_a_short_path_is_neither_an_option_nor_a_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("-x", "~x", "x"):
        shown = {"-x": os.path.join(".", "-x"), "~x": str(tmp_path / "~x"), "x": "x"}[path]
        assert (short_path(tmp_path / path), short_path(type(tmp_path)(path))) == (shown, shown)


@pytest.mark.parametrize("name", NAMES)
def test_a_path_in_a_file_of_text(name):
    text = to_text(f"/data/{name}")
    text.encode()
    assert from_text(text) == f"/data/{name}"
    assert text == f"/data/{name}" or text == "file:///data/alt%E4r"


@given(ANY_NAME)
def test_any_path_in_a_file_of_text(name):
    path = f"/{name}"
    to_text(path).encode()
    assert os.fsencode(from_text(to_text(path))) == os.fsencode(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_texts_of_editors(encoding):
    assert decoded("a = 'ä'\r\nb\n".encode(encoding)) == "a = 'ä'\nb\n"


def test_big_endian_and_broken_texts():
    assert decoded(b"\xfe\xff\0a") == "a"
    assert decoded(b"a\xe4", errors="replace") == "a\ufffd"
    with pytest.raises(UnicodeDecodeError):
        decoded(b"a\xe4")


class Stream(io.TextIOWrapper):
    def __init__(self, encoding):
        super().__init__(io.BytesIO(), encoding=encoding, newline="\n")

    def text(self):
        return self.buffer.getvalue().decode(self.encoding)


def test_lines_are_printed_whatever_the_terminal_has():
    for encoding, shown in (("ascii", r"\xe4\udce4"), ("utf-8", r"ä\udce4"), ("latin-1", r"ä\udce4")):
        stream = Stream(encoding)
        print_line("ä\udce4", stream)
        PlainProgress(start=0, total=1, stream=stream).message("x\x1b[31m\n")
        assert stream.text() == f"{shown}\nx\\x1b[31m\\n\n"


def test_streams_that_were_closed(monkeypatch):
    closed = Stream("utf-8")
    closed.close()
    for stream in (None, closed):
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        for output in (Output(), Output(json=True)):
            output.say("x")
            output.note("x")
            output.show("x")
            output.record({"x": 1})


def test_remarks_do_not_go_to_standard_output_when_standard_error_is_closed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    Output(json=True).say("x")
    Output().note("x")
    assert capsys.readouterr().out == ""


def test_rich_leaves_names_as_they_are():
    pytest.importorskip("rich")
    stream = Stream("ascii")
    with RichProgress(start=0, total=1, stream=stream) as bar:
        bar.message("[bold]:smile: ä \udce4")
    assert r"[bold]:smile: \xe4 \udce4" in stream.text()


def test_the_error_of_standard_output():
    error = cannot_print(OSError(28, "No space left on device"))
    assert str(error) == "cannot write to standard output: No space left on device. Redirect it elsewhere."


def test_digits_are_sorted_by_value_however_many():
    long = "7" * 5000
    assert sorted(["10", long, "9", "0", "007", "11"], key=by_value) == ["0", "007", "9", "10", "11", long]
