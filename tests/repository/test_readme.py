"""The README keeps its promises."""

import re
from pathlib import Path

import numpy as np

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_library_examples_run_as_printed(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = [block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "import" in block]
    found = []
    for example in examples:
        shorter = re.sub(r"steps=(\d+)", lambda m: f"steps={-(-int(m[1]) // 500)}", example)
        shorter = shorter.replace("range(1000)", "range(2)").replace("log_gradients=50", "log_gradients=1")
        assert shorter != example
        names = {}
        exec(compile(shorter, "README.md", "exec"), names)
        found.append(names)
    out = capsys.readouterr().out
    assert "<Run runs/dcgan-digits-1: dcgan on digits, step 1 of 1, d_loss " in out
    assert "1 steepest: " in out
    assert "D: (28, 28, 1) -> (1,)" in out
    prompt, watching, own, of_a_recipe = found
    assert (prompt["images"].shape, prompt["run"].step, prompt["again"].step) == ((16, 28, 28, 1), 2, 2)
    assert watching["run"].log[0]["gradients"]
    assert (own["pixels"].shape, own["pixels"].dtype) == ((16, 28, 28, 1), np.uint8)
    assert (of_a_recipe["pixels"].shape, of_a_recipe["pixels"].dtype) == ((16, 28, 28, 1), np.uint8)
    assert Path("first.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_is_left_to_be_filled_in():
    assert not re.search(r"\b(?!MINIGAN_|NO_COLOR)[A-Z]+_[A-Z_]+\b", README)


def test_every_command_of_the_readme_is_known():
    from minigan.cli.command_line import main

    for line in re.findall(r"^minigan [^#\n]+", README, re.MULTILINE):
        try:
            main([*line.split()[1:], "--help"])
        except SystemExit as stop:
            assert stop.code == 0, line


def test_every_training_of_the_readme_is_one():
    """Recipes and settings, in blocks and in tables."""
    from minigan.cli import command_line as cli
    from minigan.cli import commands

    lines = re.findall(r"minigan train(?: [^#`\n]+)?", README)
    assert len(lines) > 20
    for line in lines:
        words = line.split()
        if "..." in words or "[RECIPE]" in words or "--resume" in words:
            continue
        options = cli._parse(words[1:])
        config = commands._new_config(options)
        assert config.recipe == (options.recipe or "dcgan"), line


def test_every_recipe_has_its_line():
    from minigan.recipes import RECIPES

    assert [name for name in RECIPES if f"| `{name}` |" not in README] == []


def test_files_named_in_the_readme_exist():
    root = Path(__file__).parents[2]
    for name in re.findall(r"`((?:minigan|tests|benchmarks|examples)/[\w./]+)`", README):
        assert (root / name).exists(), name
    for name in re.findall(r"\]\(([\w./]+)\)", README):
        assert (root / name).exists(), name
