"""Generators as NumPy files: the same images, nothing but NumPy, and short."""

import ast
import importlib.util
import re
import shutil
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from export_cases import CASES, Case, OfRecipe, inputs

from minigan.cli.command_line import main
from minigan.errors import ConfigError
from minigan.export import FORMATS, ExportOptions, Subject
from minigan.export.evaluation import evaluate
from minigan.export.fewer_bits import in_bits
from minigan.export.graph import Linear, fold_batch_norms
from minigan.nn.layers import Dense, MinibatchStdDev
from minigan.nn.network import Sequential
from minigan.recipes import RECIPES, get_recipe


def loaded(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("generator", folder / "generator.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def written(case: Case, folder: Path, weights: str = "") -> tuple[Subject, ModuleType, str]:
    subject = case.subject()
    FORMATS["numpy"].write(subject, folder, ExportOptions(weights=weights))
    return subject, loaded(folder), (folder / "generator.py").read_text()


@pytest.mark.parametrize("name", CASES)
def test_the_same_images(name: str, tmp_path: Path):
    subject, module, source = written(CASES[name], tmp_path)
    x, c = inputs(subject)
    given = (x,) if c is None else (x, c.argmax(axis=1) if subject.classes else c)
    y = module.generate(*given)
    expected = CASES[name].expected(subject, x, c)
    assert np.abs(expected).max() > 1e-2
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    assert_well_made(source)


def assert_well_made(source: str) -> None:
    """Imports NumPy alone, has no function or weight that it does not use, and no long lines."""
    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imports] == ["import numpy as np"]
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    used = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert defined - used <= {"generate", "sample"}
    assert used - defined <= {"open", "len", "range", "dict", "list", "astype", "items", "zip"}
    assert max(map(len, source.splitlines())) <= 120


def test_every_recipe_is_among_the_cases():
    assert {case.name for case in CASES.values() if isinstance(case, OfRecipe)} == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipes_file_is_short_at_its_own_size(name: str, tmp_path: Path):
    """At the size that it is trained at by default, with few channels: the lines are the same."""
    sizes = ("width", "hidden", "dense", "g_hidden", "channel_max", "w_dim")
    narrow = {key: 4 for key in sizes if key in get_recipe(name)().settings()}
    recipe = get_recipe(name).from_settings(narrow)
    case = OfRecipe(name, narrow, (*recipe.fit_size(None), 3))
    _, _, source = written(case, tmp_path)
    modulated = source.count("rsqrt(")  # such a convolution takes a few lines
    assert source.count("\n") < 200 + 7 * modulated
    assert_well_made(source)


def test_weights_are_read_without_pickle_and_named_as_in_the_file(tmp_path: Path):
    _, module, source = written(CASES["sngan with classes"], tmp_path)
    with np.load(tmp_path / "generator.npz", allow_pickle=False) as file:
        names = set(file)
    assert "allow_pickle=False" in source
    assert set(module.W) == names == {name for name in names if f'W["{name}"]' in source}


@pytest.mark.parametrize(("weights", "bytes_each"), [("fp16", 2), ("int8", 1)])
@pytest.mark.parametrize("name", ["dcgan with classes", "spectral norm", "attention", "mlp of points"])
def test_weights_in_fewer_bits(name: str, weights: str, bytes_each: int, tmp_path: Path):
    """Filters, both ways round, in that many bytes a number; the numbers that the quality was told of."""
    subject, module, source = written(CASES[name], tmp_path, weights)
    x, c = inputs(subject)
    graph = in_bits(fold_batch_norms(subject.graph(to="numpy")), weights)
    found = module.generate(*((x,) if c is None else (x, c.argmax(axis=1))))
    np.testing.assert_allclose(found, evaluate(graph, x, c), rtol=1e-5, atol=1e-5)
    assert not np.array_equal(found, CASES[name].expected(subject, x, c))
    with np.load(tmp_path / "generator.npz") as file:
        sizes = [array.itemsize for key, array in file.items() if re.fullmatch(r"w\d+", key)]
    assert len(sizes) == sum(isinstance(op, Linear) for op in graph.ops) and set(sizes) == {bytes_each}
    assert {array.dtype for array in module.W.values()} == {np.dtype(np.float32)}
    assert_well_made(source)


def test_an_image_in_a_fifth_of_a_second_with_nothing_else(tmp_path: Path):
    """The default DCGAN's: importing the file and drawing one image, in a process of its own without minigan.

    Wall time, the median of nine, NumPy's own import told apart: where other programs take the processor, that is
    what the file's part is compared with.
    """
    written(OfRecipe("dcgan", {}), tmp_path)
    code = (
        "from time import perf_counter as t; a = t(); import numpy; b = t(); import generator; "
        "y = generator.sample(1); c = t(); assert y.shape == (1, 28, 28, 1); import sys; "
        "assert not {'minigan', 'safetensors', 'numba'} & set(sys.modules); print(b - a, c - b)"
    )

    def seconds() -> list[float]:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return [float(word) for word in done.stdout.split()]

    seconds()  # compiles the file, and warms the disk's cache
    numpys, own = (statistics.median(times) for times in zip(*(seconds() for _ in range(9)), strict=True))
    assert numpys + own < 0.2 or own < numpys, f"{own:.3f} s, and {numpys:.3f} s for NumPy"


@pytest.mark.parametrize(
    ("settings", "average"), [(["condition=concatenation", "ema=0"], False), (["condition=none", "ema=0.5"], True)]
)
def test_the_command_exports_what_sample_draws(tmp_path: Path, monkeypatch, capsys, settings, average):
    """With the seed the very same images, of the average where there is one."""
    from minigan import runs

    monkeypatch.chdir(tmp_path)
    small = ["--steps", "2", "--backend", "reference", "--out", "run", "--set", "width=4", "batch_size=10", *settings]
    assert main(["train", *small]) == 0
    assert main(["export", "run", "--to", "numpy", "--out", "out"]) == 0
    out = capsys.readouterr().out
    assert f"G of dcgan at step 2{', moving average' if average else ''}: out" in out
    assert "python out/generator.py, or from generator import generate;" in out
    trained = runs.load_generator(Path("run"), backend="reference")
    assert trained.averaged == average
    expected = trained.sample(5, seed=7)
    np.testing.assert_allclose(loaded(Path("out")).sample(5, seed=7), expected, rtol=1e-5, atol=1e-5)
    assert main(["export", "run", "--to", "numpy", "--out", "out", "--prefix", "main."]) == 2
    assert "--prefix can be used with --to torch, got --to numpy. Leave it out." in capsys.readouterr().err
    assert main(["export", "run", "--to", "numpy", "--out", "out", "--network", "D"]) == 2
    assert "--to numpy writes generators, got --network D. Use --to torch." in capsys.readouterr().err


def test_it_is_told_where_evaluation_is_not_what_minigan_draws(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["--set", "width=2", "size=16", "adversarial=0", "--steps", "1", "--backend", "reference", "--out", "run"]
    assert main(["train", "segment", *small]) == 0
    assert main(["export", "run", "--to", "numpy", "--out", "out"]) == 0
    assert "minigan draws with the statistics of each batch" in capsys.readouterr().out


def test_the_file_draws_a_picture(tmp_path: Path):
    for name, magic, shape in (("dcgan", b"P5 224 28 255\n", 1), ("sngan", b"P6 256 32 255\n", 3)):
        folder = tmp_path / name
        _, module, _ = written(CASES[name], folder)
        subprocess.run([sys.executable, "generator.py"], cwd=folder, check=True)
        (picture,) = folder.glob("samples.p?m")
        content = picture.read_bytes()
        assert content.startswith(magic)
        pixels = np.frombuffer(content.removeprefix(magic), np.uint8).reshape(-1, 8, 28 if shape == 1 else 32, shape)
        images = module.sample(8).transpose(1, 0, 2, 3)
        assert np.abs(pixels / 127.5 - 1 - images).max() < 1 / 127
        shutil.rmtree(folder)


def test_a_title_that_would_end_the_docstring(tmp_path: Path):
    title = 'G of """; import os\n\\ """ \\'
    subject = CASES["mlp of points"].subject()
    FORMATS["numpy"].write(replace(subject, title=title), tmp_path, ExportOptions())
    assert_well_made((tmp_path / "generator.py").read_text())
    assert loaded(tmp_path).__doc__.startswith("G of '''; import os | ''' |: points of the plane from noise.")


def test_a_layer_in_which_examples_see_each_other_is_refused(tmp_path: Path):
    network = Sequential([Dense(4), MinibatchStdDev()], name="N")
    network.build((3,), backend="reference", rng=np.random.default_rng(0))
    with pytest.raises(
        ConfigError,
        match=r"^N\.1\.MinibatchStdDev .* cannot be exported to numpy: it mixes .* Export a network without",
    ):
        FORMATS["numpy"].write(Subject(network, "N"), tmp_path / "out", ExportOptions())
    assert not (tmp_path / "out").exists()
