"""The README and the documentation keep their promises."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


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
    if page.stem == "README":
        out = capsys.readouterr().out
        assert "<Run runs/dcgan-digits-1: dcgan on digits, step 1 of 1, d_loss " in out
        assert "1 steepest: " in out
        assert "D: (28, 28, 1) -> (1,)" in out
        assert (names["pixels"].shape, names["pixels"].dtype) == ((16, 28, 28, 1), np.uint8)
        assert names["again"].step == 2
        assert names["run"].log[0]["gradients"]
        assert Path("first.png").read_bytes().startswith(b"\x89PNG")


def test_the_readmes_discriminator_step_is_whole():
    """It leaves the bits that the optimizer's own step leaves."""
    (block,) = (block for block in blocks(ROOT / "README.md") if "d_grads.zero()" in block)
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
    exec(compile(block, "README.md", "exec"), names | {"digits": Points(), "rng": rng})

    fake, _ = theirs.G.forward(np.random.default_rng(2).standard_normal((64, 64), np.float32), train=True)
    theirs.discriminator_step(Points().read(np.arange(64)), fake, rng)
    for one, other in ((ours.D.arena, theirs.D.arena), (ours.D.state, theirs.D.state)):
        assert one.flat.tobytes() == other.flat.tobytes()


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
    from minigan.cli import train

    lines = re.findall(r"minigan train(?: [^#`\n]+)?", README)
    assert len(lines) > 20
    for line in lines:
        words = line.split()
        if "..." in words or "[RECIPE]" in words or "--resume" in words:
            continue
        options = cli._parse(words[1:])
        config = train._new_config(options)
        assert config.recipe == (options.recipe or "dcgan"), line


def test_every_recipe_has_its_line():
    from minigan.recipes import RECIPES

    assert [name for name in RECIPES if f"| `{name}` |" not in README] == []


def test_files_named_in_the_readme_exist():
    for name in re.findall(r"`((?:minigan|tests|benchmarks|examples)/[\w./]+)`", README):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\]\(([\w./]+)\)", README):
        assert (ROOT / name).exists(), name
