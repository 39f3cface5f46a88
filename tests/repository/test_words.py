"""The house rules of language that a program can check: how docstrings begin, and one spelling for a word."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("minigan", "benchmarks", "examples", "tests")
SUFFIXES = (".py", ".md", ".cu", ".cuh", ".hpp", ".toml")
NOT_A_THING = {"What", "Of", "Whatever", "Those", "That"}
# -ize, and color: names such as `Optimizer`, `reparameterize` and Pillow's `ImageColor` stand next to the prose.
OTHER_SPELLING = re.compile(
    r"\b\w*(?:optimi|normali|initiali|minimi|maximi|paramet(?:e|)ri|standardi|vectori|regulari|speciali|memori|recogni)"
    r"s(?:e|ing|ation|able)\w*"
    r"|\w*(?:colour|grey|neighbour|labelled(?!by)|behaviour|centre|licence|learnt|modelled|cancelled)\w*",
    re.IGNORECASE,
)


def first_words(tree: ast.AST) -> dict[str, str]:
    """The first word of each docstring, by the name of what it describes."""
    described = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(tree) if isinstance(node, described)]
    texts = {f"{getattr(node, 'name', '')}:{getattr(node, 'lineno', 1)}": ast.get_docstring(node) for node in nodes}
    return {name: re.split(r"\W", text)[0] for name, text in texts.items() if text}


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_begin_with_a_noun_or_a_verb(folder):
    words = {
        f"{path.relative_to(ROOT)}:{name}": word
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name, word in first_words(ast.parse(path.read_text(encoding="utf-8"))).items()
    }
    assert len(words) > 10
    assert {place: word for place, word in words.items() if word in NOT_A_THING} == {}


def test_the_first_word_of_a_docstring_is_found():
    source = '"""What a module."""\nclass A:\n    """Of, a class."""\n    async def f(self):\n        """Draws."""\n'
    assert list(first_words(ast.parse(source)).values()) == ["What", "Of", "Draws"]


def test_words_have_one_spelling():
    files = [path for folder in (*FOLDERS, "docs") for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    files += [*ROOT.glob("*.md"), ROOT / "pyproject.toml"]
    texts = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in files if path != Path(__file__)}
    assert len(texts) > 300
    found = {str(path): words for path, text in texts.items() if (words := OTHER_SPELLING.findall(text))}
    assert found == {}


@pytest.mark.parametrize(
    "word",
    ["optimiser", "Normalisation", "reparameterise", "optimising", "parametrisation", "greyscale", "LabelledDataset"],
)
def test_the_other_spelling_is_found(word):
    assert OTHER_SPELLING.findall(f"a {word}.") == [word]
