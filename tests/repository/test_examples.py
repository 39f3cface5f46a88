"""The examples run: each for two steps, and leaves its picture."""

import importlib.util
import pkgutil
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

import minigan
from minigan.recipes import RECIPES

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


def loaded(path: Path):
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _recipes_as_before():
    """An example may register a recipe of its own."""
    before = {*RECIPES}
    yield
    for name in RECIPES.keys() - before:
        del RECIPES[name]


LONG = ("sick_runs", "night")  # eight runs, and a run with all its inspections

every_example = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.exhaustive] if path.stem in LONG else []) for path in EXAMPLES
]


@pytest.mark.parametrize("path", every_example)
def test_an_example_leaves_a_picture(tmp_path, capsys, path: Path):
    module = loaded(path)
    module.main(2, tmp_path / "samples.png")
    assert (tmp_path / "samples.png").read_bytes().startswith(b"\x89PNG")
    assert str(tmp_path / "samples.png") in capsys.readouterr().out
    assert f"python examples/{path.name} --steps" in module.__doc__


def test_there_is_one_for_each_family():
    families = {
        "classes",
        "vae",
        "wgan_gp",
        "dcgan",
        "minimax",
        "multi_d",
        "pacgan",
        "sngan",
        "upsampling",
        "pix2pix",
        "restore",
        "embed",
        "two_generators",
    }
    assert {path.stem for path in EXAMPLES} >= families


def test_examples_import_from_rooms():
    """Short public paths, which a reader can remember: `from minigan.nn import Conv2D`."""
    rooms = {"minigan", *(f"minigan.{m.name}" for m in pkgutil.iter_modules(minigan.__path__))}
    for path in EXAMPLES:
        modules = set(re.findall(r"^(?:from|import) (minigan[\w.]*)", path.read_text(encoding="utf-8"), re.MULTILINE))
        assert modules <= rooms | {"minigan.evaluation.metrics"}, path.name


def test_a_server_draws_for_many_at_once_and_explains_what_it_cannot():
    embed = loaded(Path(__file__).parents[2] / "examples" / "embed.py")
    with embed.server(embed.trained(1), port=0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()

        def answer(query: str) -> bytes:
            with urlopen(f"http://127.0.0.1:{serving.server_port}/{query}", timeout=60) as reply:
                return reply.read()

        queries = [f"?count=9&seed={seed}" for seed in range(6)]
        alone = [answer(query) for query in queries]
        assert len(set(alone)) == len(queries)
        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(answer, queries)) == alone
        assert answer("").startswith(b"\x89PNG")
        for query, reason in (("?count=0", "count must be from 1"), ("?count=x", "invalid"), ("?class=1", "classes")):
            with pytest.raises(HTTPError, match="400") as refusal:
                answer(query)
            with refusal.value as reply:
                assert reason in reply.read().decode()
        serving.shutdown()
