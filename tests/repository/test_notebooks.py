"""The notebooks: every cell runs, and each stores one figure and nothing else."""

import ast
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
FIGURES = {"first_gan": (292, 582), "lost_modes": (204, 1214), "second_order": (244, 486)}


def cells(path: Path, kind: str) -> list[str]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def shown(code: str, names: dict[str, object]) -> object:
    """Runs a cell as Jupyter does: the value of a last line that is an expression is shown."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def run(path: Path, *, steps: int | None) -> SimpleNamespace:
    names: dict[str, object] = {}
    values = []
    for code in cells(path, "code"):
        short = code if steps is None else re.sub(r"^STEPS = \d+$", f"STEPS = {steps}", code, flags=re.MULTILINE)
        values.append(shown(short, names))
    return SimpleNamespace(names=names, values=[value for value in values if value is not None])


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == ["first_gan", "lost_modes", "second_order"] == list(FIGURES)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs(path, tmp_path, monkeypatch, capsys):
    """With few steps; what is shown has a form for notebooks, and the last picture has the stored figure's size."""
    monkeypatch.chdir(tmp_path)
    done = run(path, steps=10)
    assert done.values and all(hasattr(value, "_repr_html_") for value in done.values)
    assert all(re.search(r"<(table|img|div)", value._repr_html_()) for value in done.values)
    assert [v.shape[:2] for v in done.values if hasattr(v, "_repr_png_")][-1] == FIGURES[path.stem]
    out = capsys.readouterr().out
    if path.stem == "second_order":  # exact whatever the number of steps
        errors = [float(error) for error in re.findall(r"^error.*: (\d\.\de-\d+)$", out, re.MULTILINE)]
        assert len(errors) == 3 and max(errors) < 1e-8
        assert "error so far: 12%" in out
    if path.stem == "first_gan":
        says, quotient = re.search(r"backward says (\S+), the difference quotient (\S+)", out).groups()
        assert float(says) == pytest.approx(float(quotient), rel=1e-2)


@pytest.mark.exhaustive
def test_what_the_notebook_on_lost_modes_says(tmp_path, monkeypatch, capsys):
    """With all its steps: the plain game ends on one mode, R1 and the lower rate on eight."""
    monkeypatch.chdir(tmp_path)
    run(FOLDER / "lost_modes.ipynb", steps=None)
    out = capsys.readouterr().out
    ways = dict(re.findall(r"^(as above|a tenth of the rate|R1) +(\d) of 8 modes", out, re.MULTILINE))
    assert ways == {"as above": "1", "a tenth of the rate": "8", "R1": "8"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_one_figure_is_stored(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    (figure,) = outputs
    assert set(figure["data"]) == {"image/png", "text/plain"}
    height, width = FIGURES[path.stem]
    assert f"{height}x{width}x1" in "".join(figure["data"]["text/plain"])
    assert path.stat().st_size < 150_000
    assert all(cell["execution_count"] is None for cell in notebook["cells"] if cell["cell_type"] == "code")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_somewhere_and_commands_are_known(path):
    from minigan.cli import command_line as cli

    text = "\n".join(cells(path, "markdown"))
    for name in re.findall(r"\]\((?!https?:)([\w./-]+)", text):
        assert (path.parent / name).exists(), name
    for line in re.findall(r"`minigan ([^`]+)`", text):
        cli._parse(line.split()) if " " in line else cli._parse([line, *(["RUN"] * (line == "evaluate"))])
