"""The book as Sphinx builds it, and as a browser shows it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_blocks import ROOT
from test_book import load

from benchmarks.browser import BROWSER, Browser

pytestmark = pytest.mark.exhaustive

# A page of each kind: start, wide tables, formulas, pictures, the reference, a source file.
SEEN = ("index", "howto", "commands", "systems", "course/index", "reference/minigan.nn", "project/results")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The book, built from a copy: a build writes pages next to those that are written by hand.

    MINIGAN_SITE names one that has just been built as strictly.
    """
    if given := os.environ.get("MINIGAN_SITE"):
        return Path(given)
    pytest.importorskip("sphinx")
    pytest.importorskip("myst_parser")
    pytest.importorskip("furo")
    copy = tmp_path_factory.mktemp("book")
    (copy / "minigan").mkdir()
    for name in ("minigan", "docs", "examples", "notebooks", "benchmarks", "tests"):
        shutil.copytree(ROOT / name, copy / "minigan" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.glob("*.md"):
        shutil.copy(path, copy / "minigan")
    out = copy / "site"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-j", "2", "docs", str(out)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    built = subprocess.run(
        command, cwd=copy / "minigan", env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert (built.returncode, built.stderr) == (0, "")
    return out


def test_every_link_of_the_site_leads_somewhere(site):
    assert load("check_site").problems(site) == []


@pytest.mark.skipif(BROWSER is None, reason="no chromium")
def test_pages_show_themselves_whole(site, tmp_path):
    """On a telephone and a wide screen, in light and dark: no error, no request, no scrolling sideways."""
    browser = Browser(tmp_path)
    wrong = []
    try:
        for name in [*SEEN, "source/minigan/nn/layers/conv.py"]:
            for width, dark in ((400, False), (400, True), (1400, True)):
                browser.open((site / f"{name}.html").as_uri(), width=width, dark=dark)
                over = browser.run("document.scrollingElement.scrollWidth - innerWidth")
                foreign = [url for url in browser.requests if not url.startswith(("file:", "data:"))]
                broken = browser.run("[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)")
                if over > 0 or foreign or browser.messages or broken:
                    wrong.append((name, width, over, foreign, list(browser.messages), broken))
    finally:
        browser.close()
    assert wrong == []
