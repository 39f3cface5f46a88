"""The README and the documentation keep their promises."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {page.stem: page.read_text(encoding="utf-8") for page in PAGES}
README = TEXTS["README"]


def blocks(page: Path) -> list[str]:
    """Its Python, shortened: a step or two where a reader's training takes hundreds."""

    def shorter(block: str) -> str:
        block = re.sub(r"\bsteps=(\d+)", lambda m: f"steps={-(-int(m[1]) // 500)}", block)
        return block.replace("range(1000)", "range(2)").replace("log_gradients=50", "log_gradients=1")

    return [shorter(block) for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_every_block_of_python_runs_as_printed(page, capsys, tmp_path, monkeypatch):
    """One after the other, as somebody reads a page and types."""
    monkeypatch.chdir(tmp_path)
    stored = ROOT / "tests" / "checkpoints" / "stored" / "format-2" / "checkpoints" / "step-00000004.safetensors"
    shutil.copy(stored, "step-00004000.safetensors")  # named by docs/checkpoints.md
    names: dict[str, object] = {}
    for block in blocks(page):
        exec(compile(block, page.name, "exec"), names)
    if page.stem in ("README", "library"):
        out = capsys.readouterr().out
        assert "<Run runs/dcgan-digits-1: dcgan on digits, step 1 of 1, d_loss " in out
        assert Path("first.png").read_bytes().startswith(b"\x89PNG")
    if page.stem == "README":
        assert (names["images"].shape, names["run"].step) == ((16, 28, 28, 1), 2)
    if page.stem == "library":
        assert "1 steepest: " in out
        assert "D: (28, 28, 1) -> (1,)" in out
        assert (names["pixels"].shape, names["pixels"].dtype) == ((16, 28, 28, 1), np.uint8)
        assert names["again"].step == 2
        assert names["run"].log[0]["gradients"]


def test_the_written_out_discriminator_step_is_whole():
    """It leaves the bits that the optimizer's own step leaves."""
    (block,) = (block for block in blocks(ROOT / "docs" / "library.md") if "d_grads.zero()" in block)
    from minigan.losses import FAKE, REAL, NonSaturating
    from minigan.nn import Adam, BatchNorm, Dense, LeakyReLU, Sequential
    from minigan.training import AlternatingOptimizer

    def draw(rng, n):
        return rng.standard_normal((n, 64), np.float32)

    def assembled():
        rng = np.random.default_rng(0)
        G = Sequential([Dense(4)], name="G").build((64,), backend="reference", rng=rng)
        D = Sequential([Dense(8), BatchNorm(), LeakyReLU(), Dense(1)], name="D")
        D.build((4,), backend="reference", rng=rng)
        optimizers = {"g_optimizer": Adam(G.arena, lr=0.1), "d_optimizer": Adam(D.arena, lr=0.1)}
        return AlternatingOptimizer(G, D, loss=NonSaturating(), noise=draw, **optimizers)

    class Points:
        def read(self, indices):
            return np.random.default_rng(1).standard_normal((len(indices), 4), np.float32)

    ours, theirs = assembled(), assembled()
    rng = np.random.default_rng(2)
    names = {"np": np, "gan": ours, "G": ours.G, "D": ours.D, "REAL": REAL, "FAKE": FAKE}
    exec(compile(block, "library.md", "exec"), names | {"digits": Points(), "rng": rng})

    fake, _ = theirs.G.forward(np.random.default_rng(2).standard_normal((64, 64), np.float32), train=True)
    theirs.discriminator_step(Points().read(np.arange(64)), fake, rng)
    for one, other in ((ours.D.arena, theirs.D.arena), (ours.D.state, theirs.D.state)):
        assert one.flat.tobytes() == other.flat.tobytes()


def test_nothing_is_left_to_be_filled_in():
    for name in ("README", "commands", "settings", "library", "house", "speed", "systems"):
        assert not re.search(r"\b(?!MINIGAN_|NO_COLOR)[A-Z]+_[A-Z_]+\b", TEXTS[name]), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_is_known(page):
    from minigan.cli.command_line import main

    for line in re.findall(r"^minigan [^#\n|>&]+", TEXTS[page.stem], re.MULTILINE):
        try:
            main([*line.split()[1:], "--help"])
        except SystemExit as stop:
            assert stop.code == 0, line


def test_every_training_is_one():
    """Recipes and settings, in blocks and in tables."""
    from minigan.cli import command_line as cli
    from minigan.cli import train

    lines = [(name, line) for name, text in TEXTS.items() for line in re.findall(r"minigan train(?: [^#`\n|]+)?", text)]
    assert len([name for name, _ in lines if name == "README"]) >= 8
    assert len(lines) > 60
    for name, line in lines:
        words = line.split()
        if "..." in words or "[RECIPE]" in words or "RECIPE" in words or "--resume" in words:
            continue
        options = cli._parse(words[1:])
        config = train._new_config(options)
        assert config.recipe == (options.recipe or "dcgan"), (name, line)


def test_every_recipe_has_its_line():
    """In the README's table its name, and a line of its own where systems are described."""
    from minigan.recipes import RECIPES

    (table,) = re.findall(r"<!-- systems -->\n(.*?)<!-- end -->", README, re.DOTALL)
    assert [name for name in RECIPES if f"`{name}`" not in table] == []
    assert [name for name in RECIPES if f"| `{name}` |" not in TEXTS["systems"]] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_and_pages_that_are_named_exist(page):
    text = TEXTS[page.stem]
    for name in re.findall(r"`((?:minigan|tests|benchmarks|examples|docs|notebooks)/[\w./-]+)`", text):
        if name == "tests/checkpoints/stored/format-3":  # which the page tells to make
            continue
        assert (ROOT / name).exists(), name
    for name, place in re.findall(r"\]\((?!https?:)([\w./-]*)(?:#([\w-]+))?\)", text):
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), name
        if place:
            assert place in anchors(file.read_text(encoding="utf-8")), f"{name}#{place}"


def anchors(text: str) -> set[str]:
    """The places that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_reached_from_the_readme():
    """Or from the start of the book, by links, in as many steps as it takes."""
    reached, new = set(), {ROOT / "README.md", ROOT / "docs" / "index.md"}
    while new:
        reached |= new
        texts = [(page, page.read_text(encoding="utf-8")) for page in new]
        links = {
            (page.parent / name).resolve() for page, text in texts for name in re.findall(r"\]\(([\w./-]+\.md)", text)
        }
        new = links - reached
    assert {page.stem for page in PAGES if page not in reached} == set()


def test_the_readme_is_short():
    assert len(README.splitlines()) < 170
    assert (ROOT / "docs" / "film.png").stat().st_size < 400_000
