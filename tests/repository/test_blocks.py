"""Blocks of the documentation: each says its language, and runs in a test or says why not.

Python runs in `test_readme.py`, page by page. Here a shell's commands are read as the command line reads them, which
knows each recipe, flag and value; `test_blocks_run.py` runs them.
"""

import importlib.util
import re
import shlex
import tomllib

import pytest
from markdown_blocks import ROOT, Block, blocks_of, commands_of, pages

PAGES = pages()
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
# Languages that no test of blocks runs, each with the test that does, or the reason.
OTHERS = {
    "text": "what a command prints, or a picture of letters",
    "console": "a command with what it prints",
    "c": "tests/export compiles such a program",
    "js": "tests/export runs it against minigan's own numbers",
    "math": "a formula",
    "toml": "what a file holds",
    "json": "what a file holds",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_runs_or_says_why_not(page):
    for block in blocks_of(page):
        where = f"{block.page}:{block.line}"
        if block.language.startswith("{"):  # a directive of the book
            continue
        assert block.language in {"python", "sh", *OTHERS}, (
            f"{where}: the block has no language that is run or explained"
        )
        if block.language == "sh" and not block.reason:
            commands = commands_of(block.text)
            assert commands, f"{where}: the block has no command"
            for command in commands:
                objection = wrong(command)
                assert not objection, (
                    f"{where}: {shlex.join(command)}: {objection}. Mend it, or write <!-- not run: ... -->"
                )


def wrong(command: list[str]) -> str | None:
    """Why this is no command of minigan's or of its tools, or None."""
    while command and re.fullmatch(r"[A-Z_]+=\S*", command[0]):
        command = command[1:]
    program, *rest = command
    if program in ("mpiexec", "srun") and "minigan" in rest:
        program, rest = "minigan", rest[rest.index("minigan") + 1 :]
    if program == "minigan":
        return wrong_words(rest)
    if program == "pip":
        return wrong_install(rest)
    if program == "python":
        return wrong_script(rest)
    if program == "pytest":
        files = [word for word in rest if word.startswith("tests")]
        return next((f"{file} is not there" for file in files if not (ROOT / file).exists()), None)
    known = {"sphinx-build", "sphinx-autobuild", "jupyter", "git", "cd", "jq", "source", "ssh"}
    return None if program in known else f"{program} is nothing that a test knows"


def wrong_words(words: list[str]) -> str | None:
    from minigan.cli import command_line as cli
    from minigan.cli import train

    try:
        options = cli._parse(words)
    except SystemExit as stop:
        return None if stop.code == 0 else "the command line refuses it"
    if words[0] == "train" and not options.resume:
        train._new_config(options)  # raises an error for a wrong setting
    return None


def wrong_install(words: list[str]) -> str | None:
    extras = {name for word in words for names in re.findall(r"\[([\w,]+)\]", word) for name in names.split(",")}
    return f"no extra {sorted(extras - set(EXTRAS))}" if extras - set(EXTRAS) else None


def wrong_script(words: list[str]) -> str | None:
    if words[0] == "-m":
        return None if importlib.util.find_spec(words[1]) else f"no module {words[1]}"
    ours = words[0].split("/")[0] in ("examples", "benchmarks", "docs", "tests")  # others a command before has written
    return f"no file {words[0]}" if ours and not (ROOT / words[0]).is_file() else None


@pytest.mark.parametrize(
    ("line", "objection"),
    [
        ("minigan train dcgan --set width=16  # narrow", None),
        ("mpiexec -n 4 minigan train --data photos", None),
        ("MINIGAN_PRECISION=bf16 minigan train", None),
        ("minigan train --stepz 3", "the command line refuses it"),
        ("minigan paint", "the command line refuses it"),
        ("pip install 'minigan[nothing]'", "no extra ['nothing']"),
        ("python -m benchmarks.nothing", "no module benchmarks.nothing"),
        ("python examples/nothing.py", "no file examples/nothing.py"),
        ("pytest tests/nothing", "tests/nothing is not there"),
        ("make all", "make is nothing that a test knows"),
    ],
)
def test_a_wrong_command_is_found(line, objection, capsys):
    (command,) = commands_of(line)
    assert wrong(command) == objection
    capsys.readouterr()


def test_blocks_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n\n```sh\na && b \\\n  c | d > e\n```\n\n<!-- not run: a reason -->\n```python\nx\n```\n\n~~~\ny\n~~~\n",
        encoding="utf-8",
    )
    assert blocks_of(page) == [
        Block("page.md", 3, "sh", "a && b \\\n  c | d > e\n", ""),
        Block("page.md", 9, "python", "x\n", "a reason"),
        Block("page.md", 13, "", "y\n", ""),
    ]
    assert commands_of(blocks_of(page)[0].text) == [["a"], ["b", "c"], ["d"]]
