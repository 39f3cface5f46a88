"""Errors speak Python in the library and flags on the command line."""

import argparse
import ast
import inspect
import re

import pytest
from source_tree import place, room, sources, walk

import minigan
from minigan.cli import command_line
from minigan.cli.flags import FLAGS, as_flags
from minigan.errors import ConfigError
from minigan.runs import Run


@pytest.mark.parametrize(
    ("python", "shell"),
    [
        ("Use a smaller `batch_size`, image size or width.", "Use a smaller --batch-size, image size or width."),
        ("all 2 steps are done; `steps=N` with a larger N", "all 2 steps are done; --steps N with a larger N"),
        ("Use `size=64`.", "Use --set size=64."),
        ("`d_norm='none', lr=1e-4, seed=3`", "--seed 3 --set d_norm=none lr=0.0001"),
        ("rate (`lr=...`)", "rate (--set lr=...)"),
        ("`data='my pictures'`?", "--data 'my pictures'?"),
        ("a `label` is", "a --class is"),
        ("with: `minigan.open_run('runs/a-1').resume()`", "with: minigan train --resume runs/a-1"),
        ("`minigan.open_run('a b').resume(steps=9)`", "minigan train --resume 'a b' --steps 9"),
        ('`minigan.open_run("it\'s").resume()`', "minigan train --resume 'it'\"'\"'s'"),
        ("`minigan.open_run(FOLDER).resume()`", "minigan train --resume FOLDER"),
        ("`minigan.generate(run.generator.G, images)`", "minigan translate RUN FOLDER"),
        # no argument and no run: as it is
        ("what `minigan.train` writes", "what `minigan.train` writes"),
        ("`run.generator.sample(16)`", "`run.generator.sample(16)`"),
        ("`**more`", "`**more`"),
        ("`not python`", "`not python`"),
        ("batch_size=8, the run's", "batch_size=8, the run's"),
        ("one ` alone", "one ` alone"),
    ],
)
def test_python_s_words_become_the_command_line_s(python, shell):
    assert as_flags(python) == shell


def test_every_flag_is_an_option_of_a_command():
    (commands,) = (a for a in command_line._parser()._actions if isinstance(a, argparse._SubParsersAction))
    options = {option for parser in commands.choices.values() for option in parser._option_string_actions}
    assert set(FLAGS.values()) <= options


def test_every_argument_that_train_has_in_common_with_the_command_is_a_flag():
    arguments = {*inspect.signature(minigan.train).parameters, *inspect.signature(Run.resume).parameters}
    (commands,) = (a for a in command_line._parser()._actions if isinstance(a, argparse._SubParsersAction))
    of_the_command = {action.dest for action in commands.choices["train"]._actions if action.option_strings}
    assert (arguments & of_the_command) - {"quiet"} <= FLAGS.keys()
    assert of_the_command - arguments == {"help", "resume", "set", "json", "dry_run"}


def test_an_error_is_printed_in_flags(capsys, monkeypatch):
    def refuse(_):
        raise ConfigError("Use a smaller `batch_size`, or `size=32`.")

    monkeypatch.setattr("minigan.cli.train.recipe_named", refuse)
    assert command_line.main(["train", "--steps", "1"]) == 2
    assert capsys.readouterr().err == "minigan: Use a smaller --batch-size, or --set size=32.\n"


def test_the_library_speaks_no_flags():
    """Outside docstrings; recipes' docstrings are what `minigan recipes NAME` prints."""
    flag = re.compile(r"(?<![\w-])--[a-z]|minigan (train|sample|evaluate|recipes|translate|warmup|import)\b")
    wrong = []
    for module, (_, tree) in sources().items():
        if room(module) in ("", "cli", "export", "__main__"):  # messages of export name its own options
            continue
        # A page that tells its readers the commands, and a line that goes from a launcher's ranks to its terminal.
        if module in ("minigan.inspection.card", "minigan.support.launch"):
            continue
        docstrings = {
            id(node.body[0].value)
            for node, _ in [(tree, False), *walk(tree)]
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node, _ in walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                wrong += [f"{place(module, node)}: {node.value}"] if flag.search(node.value) else []
    assert not wrong, "\n" + "\n".join(wrong)
