"""Pages in Chinese say what the English ones say, as far as a program can tell."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRANSLATED = [*sorted(ROOT.glob("*.zh-CN.md")), *sorted((ROOT / "docs").rglob("*.zh-CN.md"))]
FENCE = re.compile(r"^(```+)(.*?)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
LANGUAGES = re.compile(
    r"^.*\[(?:English|简体中文)\]\([^)]*\).*$\n", re.MULTILINE
)  # the line that leads to the other page


def english(page: Path) -> Path:
    return page.with_name(page.name.replace(".zh-CN", ""))


def parts(text: str) -> dict[str, object]:
    """All that a translation keeps: headings' levels, code, formulas, links, pictures, tables' shapes."""
    text = LANGUAGES.sub("", text)
    blocks = [(kind, without_comments(code)) for _, kind, code in FENCE.findall(text)]
    prose = FENCE.sub("", text)
    return {
        "headings": re.findall(r"^#+(?= )", prose, re.MULTILINE),
        "blocks": blocks,
        "formulas": Counter(re.findall(r"\$\$.+?\$\$|\$[^$]+\$", prose, re.DOTALL)),
        "links": Counter(re.findall(r"\]\(([^)]+)\)", prose)),
        "code": Counter(re.findall(r"`[^`]+`", prose)),
        "rows": [line.count("|") for line in prose.splitlines() if line.startswith("|")],
        "items": re.findall(r"^(?:- |\d\. )", prose, re.MULTILINE),
        "figures": Counter(
            re.findall(r"(?<![\w.])\d[\d,]*\d(?![\w.])", re.sub(r"`[^`]+`|\$[^$]+\$|\]\([^)]*\)", "", prose))
        ),
    }


def without_comments(code: str) -> str:
    """A block's lines without what follows a #, which is translated."""
    return "\n".join(re.sub(r"\s*#(?= ).*$", "", line) for line in code.splitlines())


def test_the_readme_and_the_first_lesson_are_translated():
    assert [page.relative_to(ROOT).as_posix() for page in TRANSLATED] == [
        "README.zh-CN.md",
        "docs/course/01-one-layer.zh-CN.md",
    ]


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.stem)
def test_a_translation_keeps_everything_but_the_words(page):
    ours, theirs = (parts(text.read_text(encoding="utf-8")) for text in (page, english(page)))
    assert ours.keys() == theirs.keys() and ours["headings"] and ours["blocks"]
    for name in ours:
        assert ours[name] == theirs[name], name


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.stem)
def test_both_pages_lead_to_each_other(page):
    assert f"]({english(page).name})" in page.read_text(encoding="utf-8")
    assert f"]({page.name})" in english(page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.stem)
def test_sentences_are_chinese(page):
    """More Han characters than Latin words, in each paragraph of some length; and no comma or colon of Latin script."""
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    for paragraph in prose.split("\n\n"):
        words = re.sub(r"`[^`]+`|\$\$.+?\$\$|\$[^$]+\$|\([^)]*\)|<[^>]*>", "", paragraph, flags=re.DOTALL)
        han = len(re.findall(r"[\u4e00-\u9fff]", words))
        if len(words) > 60 and not words.startswith("|"):
            assert han > len(re.findall(r"[A-Za-z]+", words)), paragraph
        assert not re.search(r"[\u4e00-\u9fff][,;:?!]", words), paragraph


@pytest.mark.parametrize(
    "change",
    [("## ", "### "), ("minigan train\n", "minigan trian\n"), ("docs/live.md", "docs/life.md"), ("1,448", "1,484")],
)
def test_a_departure_is_found(change):
    page = ROOT / "README.zh-CN.md"
    text = page.read_text(encoding="utf-8")
    assert parts(text.replace(*change)) != parts(text)
