"""The course keeps its promises: blocks run and print what they show, figures are made again, checks know right from
wrong."""

# ruff: noqa: ARG005 (wrong answers leave out arguments)

import ast
import importlib
import importlib.util
import io
import math
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from minigan.evaluation.metrics import prdc

ROOT = Path(__file__).parents[2]
COURSE = ROOT / "docs" / "course"
LESSONS = sorted(page for page in COURSE.glob("0*.md") if "." not in page.stem)  # test_translations has the others
FENCE = re.compile(r"^```(\{?[\w-]*\}?) ?(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?")
ROUNDING = 1e-6  # smaller numbers are rounding errors, which differ from machine to machine


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def loaded(path: Path):
    spec = importlib.util.spec_from_file_location(f"course_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CHECK = loaded(COURSE / "check.py")


# ---------------------------------------------------------------------------------------- blocks


def agree(shown: str, printed: str) -> bool:
    """Whether a text is the one that was printed: the same words, and numbers that differ by a hundredth at most."""
    if NUMBER.sub("#", shown).split() != NUMBER.sub("#", printed).split():
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True)
    return all(_near(*(float(word.replace(",", "")) for word in pair)) for pair in pairs)


def _near(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=0.02) or max(abs(a), abs(b)) < ROUNDING


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("error 0.123, 5 modes", "error 0.1235, 5 modes", True),
        ("error 3.1e-10", "error 8.8e-9", True),
        ("error 3.1e-10", "error 8.8e-4", False),
        ("5 modes", "6 modes", False),
        ("(64, 2) True", "(64, 2) False", False),
        ("1,000 steps", "1,000 steps\nmore", False),
    ],
)
def test_what_is_shown_is_compared(shown, printed, same):
    assert agree(shown, printed) == same


def blocks(path: Path) -> list[tuple[str, str | None]]:
    """Python, and the text that is shown below it."""
    fences = FENCE.findall(text(path))
    following = [*fences[1:], ("", "", "")]
    return [
        (body, then[2] if then[0] == "text" else None)
        for (kind, _, body), then in zip(fences, following, strict=True)
        if kind == "python"
    ]


@pytest.mark.parametrize("path", LESSONS, ids=[path.stem for path in LESSONS])
def test_each_block_prints_what_is_shown_below_it(path, tmp_path, monkeypatch):
    """One after the other, as somebody reads a lesson and types."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "lesson"}
    assert len(blocks(path)) > 3
    for code, shown in blocks(path):
        with redirect_stdout(io.StringIO()) as out:
            exec(compile(code, path.name, "exec"), names)
        assert agree(shown or "", out.getvalue()), f"{code}\nprinted\n{out.getvalue()}"


def test_a_lesson_as_a_file_has_its_blocks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lesson = loaded(COURSE / "lesson.py")
    for number, path in enumerate(LESSONS, 1):
        assert lesson.main([str(number)]) == 0
        code = (tmp_path / f"lesson-{number}.py").read_text(encoding="utf-8")
        assert ast.parse(code)
        assert [block for block, _ in blocks(path)[:-1] if block not in code] == []
        assert blocks(path)[-1][0] not in code  # the solution
    with pytest.raises(SystemExit):
        lesson.main(["1"])
    assert "is there already" in capsys.readouterr().err


def test_commands_are_known():
    from minigan.cli import command_line as cli

    commands = [
        line for page in (*LESSONS, COURSE / "index.md") for kind, _, body in FENCE.findall(text(page)) if kind == "sh"
        for line in body.splitlines()
    ]  # fmt: skip
    assert commands
    for line in commands:
        words = shlex.split(line.split("  #")[0])
        if words[0] == "minigan":
            try:
                cli._parse(words[1:])
            except SystemExit as stop:
                assert stop.code == 0, line
        elif words[0] == "python":
            assert (ROOT / words[1]).is_file() or words[1] in ("-i", "-m"), line
        else:
            assert words[0] in ("pip", "source", "jupyter"), line


# ---------------------------------------------------------------------------------------- references


def test_quoted_source_exists():
    for path in LESSONS:
        quoted = [(name, body) for kind, name, body in FENCE.findall(text(path)) if kind == "{literalinclude}"]
        assert quoted, f"{path.name} quotes no source"
        for name, body in quoted:
            tree: ast.AST = ast.parse(text((path.parent / name).resolve()))
            for part in re.search(r"^:pyobject: (.+)$", body, re.MULTILINE)[1].split("."):
                found = [node for node in ast.iter_child_nodes(tree) if getattr(node, "name", None) == part]
                assert found, f"{path.name}: {name} has no {part}"
                tree = found[0]
            assert f"]({name})" in text(path), f"{path.name}: GitHub shows no quoted source, so {name} needs a link"


def test_links_lead_somewhere():
    for path in (*LESSONS, COURSE / "index.md"):
        for name in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)", text(path)):
            assert name.startswith("https://") or (path.parent / name).exists(), f"{path.name}: {name}"


def test_each_lesson_has_its_parts():
    index = text(COURSE / "index.md")
    for number, path in enumerate(LESSONS, 1):
        page = text(path)
        assert path.name.startswith(f"{number:02}-")
        assert f"({path.name})" in index
        for part in ("You will be able to", "## Exercise", "<summary>Solution</summary>", "](figures/", "$$"):
            assert part in page, f"{path.name} lacks {part}"
        assert f"python docs/course/check.py {number} answer.py" in page
        assert 140 <= len(page.splitlines()) <= 330, path.name


# ---------------------------------------------------------------------------------------- figures


@pytest.fixture
def make(monkeypatch):
    """The script that makes the figures."""
    monkeypatch.syspath_prepend(COURSE / "figures")
    return importlib.import_module("make")


FIGURES = [path.stem for path in sorted((COURSE / "figures").glob("figure_*.py"))]


@pytest.mark.parametrize("module", FIGURES)
def test_a_figure_is_made_again(make, module):
    """Its drawing and the words about it are those of its numbers, and these those of its run, or its beginning."""
    figure = importlib.import_module(module)
    kept = make.kept(figure.NAME)
    for name, drawing in figure.draw(kept).items():
        assert text(COURSE / "figures" / name) == drawing
    pages = " ".join("".join(text(path) for path in LESSONS).split()).replace(" %", "%")
    assert [words for words in getattr(figure, "told", lambda _: [])(kept) if words not in pages] == []
    made = make.rounded(figure.measure(short=True)[0])
    getattr(figure, "expect_same", expect_same)(kept, made)


def expect_same(kept, made, *, place: str = "") -> None:
    if isinstance(made, dict):
        for name, value in made.items():
            expect_same(kept[name], value, place=f"{place} {name}")
    elif isinstance(made, list):
        assert made, place
        for index, value in enumerate(made):
            expect_same(kept[index], value, place=f"{place} {index}")
    elif isinstance(made, str):
        assert kept == made, place
    else:
        assert kept == pytest.approx(made, rel=5e-3, abs=ROUNDING), place


def test_figures_are_small_and_shown():
    pages = "".join(text(path) for path in LESSONS)
    pictures = [path for path in (COURSE / "figures").iterdir() if path.suffix in (".svg", ".png")]
    assert len(pictures) >= len(LESSONS)
    for path in pictures:
        assert path.stat().st_size < 60_000, path.name
        assert f"(figures/{path.name})" in pages, f"{path.name} is in no lesson"


# ---------------------------------------------------------------------------------------- exercises


def solution(path: Path):
    """The function below the fold."""
    folded = text(path).split("<summary>Solution</summary>")[1]
    names: dict[str, object] = {}
    for kind, _, code in FENCE.findall(folded):
        if kind == "python":
            exec(compile(code, path.name, "exec"), names)
    return names[CHECK.EXERCISES[int(path.name[:2])].name]


@pytest.mark.parametrize("path", LESSONS, ids=[path.stem for path in LESSONS])
def test_the_solution_is_right(path):
    assert CHECK.check(int(path.name[:2]), solution(path)).startswith("Right: ")


def sigmoid(s):
    return 1 / (1 + np.exp(-s))


def scattered(dy, w, stride, length, *, add):
    dx = np.zeros(length)
    for p in range(len(dy)):
        at = slice(p * stride, p * stride + len(w))
        dx[at] = dx[at] * add + dy[p] * w
    return dx


def normed(dy, x, gamma, eps, mean, along, ddof=0):
    """BatchNorm's backward with factors before its terms."""
    sigma = np.sqrt(x.var(axis=0, ddof=ddof) + eps)
    u = (x - x.mean(axis=0)) / sigma
    dx = gamma / sigma * (dy - mean * dy.mean(axis=0) - along * u * (dy * u).mean(axis=0))
    return dx, (dy * u).sum(axis=0), dy.sum(axis=0)


def norms(g):
    return np.linalg.norm(g, axis=1, keepdims=True)


def excess(g):
    return np.maximum(norms(g) - 1, 0)


def one_sided(g, v):
    return 7 * (excess(g) ** 2).mean(), v


def dirac(theta, psi, lr, gamma, *, toward=1, late=False):
    moved = theta + toward * lr * sigmoid(psi * theta) * psi
    seen = moved if late else theta
    return moved, psi - lr * (sigmoid(psi * seen) * seen + gamma * psi)


def covered(real, fake, k, border=0.0):
    radius = np.sort(np.linalg.norm(real[:, None] - real, axis=-1), axis=1)[:, k]
    return (np.linalg.norm(real[:, None] - fake, axis=-1).min(axis=1) <= radius - border).mean()


# Wrong answers as learners give them, each with words of its hint.
WRONG = [
    (1, lambda dy, x, s: dy * s, "return two things, dx and ds; got one thing, of type ndarray."),
    (1, lambda dy, x, s: None, "Is there a `return`?"),
    (1, lambda dy, x, s: [dy, x, s], "got 3 things"),
    (1, lambda dy, x, s: (dy * x, (dy * x).sum(axis=0)), "not x itself"),
    (1, lambda dy, x, s: (dy * s, dy * x), "add up over n"),
    (1, lambda dy, x, s: (dy * s, (dy * x).mean(axis=0)), "do not average"),
    (1, lambda dy, x, s: (dy * s, dy.sum(axis=0)), "dy/ds is x"),
    (1, lambda dy, x, s: (dy, (dy * x).sum(axis=0)), "dy/dx is s"),
    (1, lambda dy, x, s: ((dy * s).sum(axis=0), 0), "must have the shape"),
    (1, lambda dy, x: 0, "raised TypeError"),
    (2, lambda s, t: (np.log1p(np.exp(s)) - t * s, s), "a mean over the batch"),
    (2, lambda s, t: ((np.log1p(np.exp(s)) - t * s).sum(), s), "the value is a sum"),
    (2, lambda s, t: (np.log1p(np.exp(-s)).mean(), (sigmoid(s) - 1) / 4), "for t = 0 the value is"),
    (2, lambda s, t: ((np.log1p(np.exp(s)) - t * s).mean(), sigmoid(s) - t), "has a 1/N"),
    (2, lambda s, t: ((np.log1p(np.exp(s)) - t * s).mean(), (t - sigmoid(s)) / 4), "wrong sign"),
    (2, lambda s, t: ((np.log1p(np.exp(s)) - t * s).mean(), (sigmoid(s) - t) / s.size), "not finite"),
    (3, lambda dy, w, stride, length: np.zeros(len(dy)), "as many numbers as x"),
    (3, lambda dy, w, stride, length: np.convolve(dy, w[::-1]), "the filter is flipped"),
    (3, lambda dy, w, stride, length: scattered(dy, w, stride, length, add=False), "add to dx"),
    (3, lambda dy, w, stride, length: scattered(dy, w, 1, length, add=True), "for stride 2"),
    (4, lambda dy, x, gamma, eps: (dy, dy), "return three things"),
    (4, lambda dy, x, gamma, eps: (dy, dy, dy), "must have the shape"),
    (4, lambda dy, x, gamma, eps: (dy, gamma, gamma), "dbeta is the sum"),
    (4, lambda dy, x, gamma, eps: (dy, gamma, dy.sum(axis=0)), "dgamma is the sum"),
    (4, lambda dy, x, gamma, eps: normed(dy, x, gamma, eps, 1, 1, ddof=1), "not N - 1"),
    (4, lambda dy, x, gamma, eps: normed(dy, x, gamma, eps, 0, 0), "lacks two terms"),
    (4, lambda dy, x, gamma, eps: normed(dy, x, gamma, eps, 1, 0), "through sigma"),
    (4, lambda dy, x, gamma, eps: normed(dy, x, gamma, eps, 0, 1), "the term of the mean"),
    (4, lambda dy, x, gamma, eps: normed(dy, x, gamma, eps, 6, 6), "not the sum"),
    (4, lambda dy, x, gamma, eps: normed(dy, x, gamma, eps, 1, 2), "dx is off"),
    (6, lambda v, dy, x: (dy * sigmoid(x), None), "dy is not in it"),
    (6, lambda v, dy, x: (v, None), "it is v f'(x)"),
    (6, lambda v, dy, x: (v * sigmoid(x), None), "is not None"),
    (6, lambda v, dy, x: (v * sigmoid(x), v * sigmoid(x) * sigmoid(-x)), "dy stays in front"),
    (6, lambda v, dy, x: (v * sigmoid(x), dy * sigmoid(x) * sigmoid(-x)), "lacks v"),
    (6, lambda v, dy, x: (v * sigmoid(x), v * dy * sigmoid(x)), "f'' = f' (1 - f')"),
    (7, lambda g, weight: (excess(g) ** 2, g), "P is one number"),
    (7, lambda g, weight: (weight * ((norms(g) - 1) ** 2).mean(), g), "WGAN-GP's own"),
    (7, lambda g, weight: (weight * (excess(g) ** 2).sum(), g), "take the mean"),
    (7, lambda g, weight: (weight * excess(g).mean(), g), "row by row"),
    (7, lambda g, weight: one_sided(g, 10 * weight * excess(g) * g / norms(g) / 5), "1/N"),
    (7, lambda g, weight: one_sided(g, weight * excess(g) * g / norms(g) / 5), "the 2 of the square"),
    (7, lambda g, weight: one_sided(g, 2 * excess(g) * g / norms(g) / 5), "lacks the weight"),
    (7, lambda g, weight: one_sided(g, 2 * weight * (norms(g) - 1) * g / norms(g) / 5), "below 1"),
    (7, lambda g, weight: one_sided(g, 2 * weight * excess(g) * g / 5), "division by the norm"),
    (7, lambda g, weight: one_sided(g, 3 * weight * excess(g) * g / norms(g) / 5), "v is off"),
    (7, lambda g, weight: one_sided(g, 2 * weight * excess(g) * g / norms(g) / 5), "tiny number"),
    (5, lambda theta, psi, lr, gamma: theta, "return two things"),
    (5, lambda theta, psi, lr, gamma: dirac(theta, psi, lr, gamma, toward=-1), "runs away"),
    (5, lambda theta, psi, lr, gamma: (theta, psi), "G descends log(1 - D(theta))"),
    (5, lambda theta, psi, lr, gamma: dirac(theta, psi, lr, gamma, late=True), "both at once"),
    (5, lambda theta, psi, lr, gamma: dirac(theta, psi, lr, 0), "lacks the penalty"),
    (5, lambda theta, psi, lr, gamma: dirac(theta, psi, lr, -gamma), "wrong sign"),
    (5, lambda theta, psi, lr, gamma: dirac(theta, psi, lr, gamma / 2), "its derivative is gamma psi"),
    (5, lambda theta, psi, lr, gamma: (dirac(theta, psi, lr, gamma)[0], psi), "dD/dpsi"),
    (8, lambda real, fake, k: real, "one number"),
    (8, lambda real, fake, k: 100 * covered(real, fake, k), "not a percentage"),
    (8, lambda real, fake, k: covered(real, fake, k - 1), "skip it"),
    (8, lambda real, fake, k: covered(fake, real, k), "around real examples"),
    (8, lambda real, fake, k: prdc(real, fake, k=k).precision, "that is precision"),
    (8, lambda real, fake, k: 0.5, "for k = 1 it is"),
    (8, lambda real, fake, k: covered(real, fake, k, border=1e-9), "on the border"),
]


@pytest.mark.parametrize(("lesson", "answer", "hint"), WRONG, ids=[f"{n}-{hint}" for n, _, hint in WRONG])
def test_a_wrong_answer_gets_its_hint(lesson, answer, hint):
    with np.errstate(all="ignore"), pytest.raises(CHECK.Wrong, match=re.escape(hint)):
        CHECK.check(lesson, answer)


def test_the_command_checks_a_file(tmp_path, capsys):
    answer = tmp_path / "answer.py"
    folded = text(LESSONS[0]).split("<summary>Solution</summary>")[1]
    code = next(body for kind, _, body in FENCE.findall(folded) if kind == "python")
    answer.write_text(code, encoding="utf-8")
    assert CHECK.main(["1", str(answer)]) == 0
    answer.write_text(code.replace("axis=0", "axis=1"), encoding="utf-8")
    assert CHECK.main(["1", str(answer)]) == 1
    out = capsys.readouterr().out
    assert "Right: " in out
    assert "Not yet: " in out
    for code, complaint in (("", "no function scale_backward"), ("x = 1\ndef f(:\n", "answer.py, line 2: ")):
        answer.write_text(code, encoding="utf-8")
        with pytest.raises(SystemExit):
            CHECK.main(["1", str(answer)])
        assert complaint in capsys.readouterr().err


def test_an_answer_may_be_a_list():
    CHECK.check(1, lambda dy, x, s: [dy * s, (dy * x).sum(axis=0)])
