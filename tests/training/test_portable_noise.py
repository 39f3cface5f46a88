"""Portable noise: the generator's published vectors, the distribution, and other languages."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from minigan.backends import get_backend
from minigan.cli.command_line import main
from minigan.errors import ConfigError
from minigan.recipes import DCGAN, Segment
from minigan.runs import TrainedGenerator
from minigan.training.portable_noise import (
    inverse_normal,
    portable_classes,
    portable_normals,
    portable_uniforms,
    random_words,
)

DOCS = (Path(__file__).parents[2] / "docs" / "embedding.md").read_text(encoding="utf-8")
NODE = shutil.which("node")
SEEDS = range(1000)


def words(seed: int, sample: int, place: int) -> tuple[int, int]:
    a, b = random_words(seed, np.array([sample], np.uint32), np.array([place], np.uint32))
    return int(a[0]), int(b[0])


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_vectors_of_random123(key, counter, expected):
    """Known answers of Threefry-2x32 with 20 rounds. Source: Random123's kat_vectors."""
    assert words(key[0] + 2**32 * key[1], counter[1], counter[0]) == expected


def test_normal_numbers_are_the_inverse_of_the_distribution():
    p = (2.0 * np.arange(0, 2**23, 61) + 1) / 2**24
    assert np.array_equal(p.astype(np.float32), p)
    np.testing.assert_allclose(inverse_normal(p), stats.norm.ppf(p), rtol=2e-7)
    ends = inverse_normal(np.array([2.0**-24, 1 - 2.0**-24]))
    np.testing.assert_allclose(ends, stats.norm.ppf(2.0**-24) * np.array([1, -1]), rtol=2e-7)


def test_a_thousand_seeds_are_normal_and_do_not_depend_on_each_other():
    """Chances to fail by accident, were the seeds drawn anew: under 1e-3 for each; but they are fixed."""
    z = np.concatenate([portable_normals(seed, 1, 100) for seed in SEEDS])
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    n = z.size
    moments = [z.mean(), z.var() - 1, stats.skew(z.ravel()), stats.kurtosis(z.ravel())]
    assert np.all(np.abs(moments) < 3.3 * np.sqrt(np.array([1, 2, 6, 24]) / n))
    for axis in (z, z.T):  # seed against the next one, and place against the next one
        neighbors = (axis[1:] * axis[:-1]).mean()
        assert abs(neighbors) < 3.3 / np.sqrt(n)
    correlation = np.corrcoef(z)[np.triu_indices(len(z), 1)] * np.sqrt(100)
    assert stats.kstest(correlation[::97], "norm").pvalue > 1e-3
    assert np.abs(correlation).max() < 6  # of half a million


def test_samples_of_a_seed_are_normal_and_classes_are_even():
    z = portable_normals(3, 1000, 101)
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    assert stats.kstest(portable_uniforms(5, 1000, 50).ravel(), "uniform").pvalue > 1e-3
    counts = np.bincount(portable_classes(3, 7000, 7), minlength=7)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_a_sample_does_not_depend_on_those_that_follow():
    z = portable_normals(7, 9, 7)
    np.testing.assert_array_equal(z[:4], portable_normals(7, 4, 7))
    np.testing.assert_array_equal(z[:, :4], portable_normals(7, 9, 4))
    np.testing.assert_array_equal(portable_classes(7, 9, 5)[:4], portable_classes(7, 4, 5))
    assert portable_normals(7, 0, 3).shape == (0, 3)


def test_the_docs_vectors():
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \| (0x\w+) (0x\w+) \|$", DOCS, re.MULTILINE)
    assert len(rows) == 3
    for *counter, first, second in rows:
        seed, sample, place = (eval(text.partition(" (")[0].replace("^", "**")) for text in counter)
        assert words(seed, sample, place) == (int(first, 16), int(second, 16))
    rows = re.findall(r"^\| (\d+) \| (\d+) \| ([-\d., ]+) \| (\d) \|$", DOCS, re.MULTILINE)
    assert len(rows) == 4
    for seed, sample, numbers, label in rows:
        expected = np.array(numbers.split(", "), float)
        z = portable_normals(int(seed), int(sample) + 1, expected.size)[-1]
        np.testing.assert_allclose(z, expected, atol=6e-7)
        assert portable_classes(int(seed), int(sample) + 1, 10)[-1] == int(label)


@pytest.mark.skipif(NODE is None, reason="no node to run JavaScript with")
def test_the_docs_javascript():
    code = re.search(r"```js\n(.*?)```", DOCS, re.DOTALL)[1]
    code += """
    const seeds = Array.from({ length: 1000 }, (_, n) => n * 2 ** 42 + n);
    console.log(JSON.stringify(seeds.map((seed) => [Array.from(noise(seed, 2, 9)), randomClass(seed, 2, 10)])));"""
    done = subprocess.run([NODE, "-e", code], capture_output=True, text=True, check=True)
    for n, (z, label) in enumerate(json.loads(done.stdout)):
        np.testing.assert_allclose(z, portable_normals(n * 2**42 + n, 3, 9)[2], atol=1e-6)
        assert label == portable_classes(n * 2**42 + n, 3, 10)[2]


# ---------------------------------------------------------------------------------------------- samples


def trained(recipe, shape=(28, 28, 1)) -> TrainedGenerator:
    G = recipe.built_generator(shape, backend=get_backend("reference"), dtype="float32", rng=np.random.default_rng(0))
    return TrainedGenerator(G, recipe, 1, 1.0, (), False)


def test_samples_of_portable_noise():
    generator = trained(DCGAN(width=2))
    images = generator.sample(5, seed=7, portable=True)
    z = portable_normals(7, 5, 100).astype(np.float32)
    np.testing.assert_allclose(images, generator.G.forward(z, train=False)[0], atol=1e-6)
    assert np.abs(images - generator.sample(5, seed=7)).max() > 1e-4
    np.testing.assert_array_equal(
        generator.pixels(2, seed=7, portable=True), generator.pixels(5, seed=7, portable=True)[:2]
    )


def test_portable_samples_with_classes():
    generator = trained(DCGAN(width=2, condition="concatenation", classes=3))
    random = generator.sample(5, seed=7, portable=True)
    labels = portable_classes(7, 5, 3).tolist()
    np.testing.assert_array_equal(random, generator.sample(5, seed=7, label=labels, portable=True))
    one = generator.sample(5, seed=7, label=1, portable=True)
    assert [bool((a == b).all()) for a, b in zip(random, one, strict=True)] == [label == 1 for label in labels]


@pytest.mark.parametrize(("seed", "shown"), [(None, "None"), (2**64, "18446744073709551616"), (1.5, "1.5")])
def test_a_seed_of_another_kind_is_refused(seed, shown):
    with pytest.raises(ConfigError, match=rf"{re.escape(shown)}\. Write seed=|seed must be"):
        trained(DCGAN(width=2)).sample(2, seed=seed, portable=True)


def test_the_command_samples_portable_noise(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["--steps", "1", "--backend", "reference", "--out", "run", "--set", "width=2", "batch_size=4"]
    assert main(["train", *small]) == 0
    for name, more in (("a.png", []), ("b.png", ["--portable"]), ("c.png", ["--portable"])):
        assert main(["sample", "run", "--count", "2", "--backend", "reference", "--out", name, *more]) == 0
    a, b, c = (Path(name).read_bytes() for name in ("a.png", "b.png", "c.png"))
    assert a != b == c
    capsys.readouterr()
    assert main(["sample", "run", "--film", "f.png", "--portable"]) == 2
    assert "got --portable in addition" in capsys.readouterr().err


def test_the_command_refuses_it_for_images(tmp_path, monkeypatch, capsys):
    from minigan.runs import save_generator

    monkeypatch.chdir(tmp_path)
    generator = trained(Segment(width=2), (16, 16, 3))
    save_generator("model.safetensors", generator.G, generator.recipe)
    assert main(["sample", "model.safetensors", "--portable"]) == 2
    told = capsys.readouterr().err
    assert "segment draws from images, not from noise, got --portable in addition. Leave it out." in told
