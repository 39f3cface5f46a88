"""The examples run: each for two steps, and leaves its picture."""

import importlib.util
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_leaves_a_picture(tmp_path, capsys, path: Path):
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
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
    }
    assert {path.stem for path in EXAMPLES} >= families
