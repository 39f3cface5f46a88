"""Generators as C headers: the same images, no warning, no memory but the caller's."""

import ctypes
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from c_compilers import CLANG, GCC, GXX, WARNINGS, ZIG, compiled, load
from export_cases import CASES, OfRecipe, inputs

from minigan import load_generator
from minigan.cli.command_line import main
from minigan.data.pictures import to_pixels
from minigan.errors import ConfigError, OutputError
from minigan.export import FORMATS, ExportOptions, Subject, translates
from minigan.export import graph as g
from minigan.export.c_memory import plan
from minigan.export.c_self_test import run_self_test
from minigan.nn.layers import ConcatCondition, Dense, LeakyReLU, MinibatchStdDev, Reshape, Tanh
from minigan.nn.network import Sequential
from minigan.recipes import RECIPES, get_recipe
from minigan.training.portable_noise import portable_classes, portable_normals

QUICK = [
    *("dcgan", "mlp of points", "sngan with classes", "vae", "minimax", "pix2pix instance", "inpaint", "attention"),
    *("output padding", "pixels moved", "pooled", "norms that follow what others look at"),
    *("a vector concatenated to every pixel", "a vector's own condition"),
]
needs_gcc = pytest.mark.skipif(GCC is None, reason="no gcc to compile exported C with")
NOISE = "void noise(uint64_t seed, float *z, int size) { g0_noise(seed, 3, z, size); }"


def network(*layers, shape=(3,)) -> Sequential:
    return Sequential(layers, name="N").build(shape, backend="reference", rng=np.random.default_rng(0))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Some cases in one library."""
    if GCC is None:
        pytest.skip("no gcc to compile exported C with")
    # a header without noise would leave functions of the others unused: each must stand alone
    return load({name: CASES[name].subject() for name in QUICK}, tmp_path_factory.mktemp("c"), more=NOISE)


def assert_same(exported, case) -> None:
    x, c = inputs(exported.subject)
    expected = case.expected(exported.subject, x, c)
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(exported.images(x, c), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", QUICK)
def test_the_same_images(quick, name: str):
    assert_same(quick[name], CASES[name])
    assert quick[name].told.endswith("(cc -O2)") or "self-test passed" in quick[name].told


@needs_gcc
@pytest.mark.exhaustive
@pytest.mark.parametrize("weights", ["fp32", "fp16", "int8"])
def test_every_case_in_every_type_of_weights(tmp_path: Path, weights: str):
    subjects = {name: case.subject() for name, case in CASES.items()}
    assert {case.name for case in CASES.values() if isinstance(case, OfRecipe)} == set(RECIPES)
    for name, exported in load(subjects, tmp_path, weights=weights).items():
        if weights == "fp32":
            assert_same(exported, CASES[name])
        assert "self-test passed" in exported.told


def test_a_seed_draws_the_same_as_in_python(quick):
    exported = quick["dcgan"]
    z = portable_normals(7, 5, 100).astype(np.float32)
    expected = CASES["dcgan"].expected(exported.subject, z, None)
    np.testing.assert_allclose(exported.samples(7, 5), expected, rtol=1e-5, atol=1e-5)


def test_a_random_class_and_a_given_one(quick):
    exported = quick["sngan with classes"]
    classes, latent = exported.subject.classes, exported.subject.network.input_shape[0]
    z, random = portable_normals(7, 5, latent).astype(np.float32), portable_classes(7, 5, classes)
    for label, drawn in ((-1, random), (2, np.full(5, 2))):
        c = np.eye(classes, dtype=np.float32)[drawn]
        expected = CASES["sngan with classes"].expected(exported.subject, z, c)
        np.testing.assert_allclose(exported.samples(7, 5, label), expected, rtol=1e-5, atol=1e-5)


def test_noise_of_a_thousand_seeds(quick):
    """In float32, which C computes with, near the numbers in float64."""
    draw, found = quick["dcgan"].library.noise, np.empty((1000, 101), np.float32)
    for n in range(1000):
        draw(ctypes.c_uint64(n * 2**40 + n), found[n].ctypes.data_as(ctypes.c_void_p), 101)
    expected = np.stack([portable_normals(n * 2**40 + n, 4, 101)[3] for n in range(1000)])
    assert np.abs(found - expected).max() < 2e-6


def test_rows_of_bytes_are_minigans_pixels(quick):
    exported, rows = quick["pix2pix instance"], {}
    x, _ = inputs(exported.subject, 1)
    x = 4 * x  # some of its images reach the ends of the range
    scratch, width = exported.scratch(), 16 * 3
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.POINTER(ctypes.c_ubyte), ctypes.c_void_p)
    picture = exported.function("generate")(*(a.ctypes.data_as(ctypes.c_void_p) for a in (x[0], scratch)))
    expected = to_pixels(np.ctypeslib.as_array(picture, (32 * 16 * 3,)).copy().reshape(32, 16, 3))
    take = kind(lambda y, bytes, _: rows.setdefault(y, bytes[:width]))
    exported.function("rows")(picture, take, None)
    assert list(rows) == list(range(32))
    np.testing.assert_array_equal(np.array([rows[y] for y in range(32)]), expected.reshape(32, width))


@pytest.mark.parametrize(
    "command", [[CLANG, "-std=c99", "-xc"], [GXX, "-std=c++17", "-xc++"], [GCC, "-std=c99", "-xc"]]
)
def test_no_warning_from_others(tmp_path: Path, command):
    if command[0] is None:
        pytest.skip(f"no compiler for {command[1]}")
    for name, weights in (("sngan with classes", "int8"), ("pix2pix instance", "fp16"), ("pixels moved", "fp32")):
        FORMATS["c"].write(CASES[name].subject(), tmp_path / "g.h", ExportOptions(weights=weights))
        compiled(*command, *WARNINGS, "-DMINIGAN_SELF_TEST", "-fsyntax-only", tmp_path / "g.h")
    compiled(*command, *WARNINGS, "-fsyntax-only", tmp_path / "g.h")  # the declarations alone


@pytest.mark.skipif(ZIG is None, reason="no ziglang to compile for ARM with")
def test_it_compiles_for_a_microcontroller(tmp_path: Path):
    FORMATS["c"].write(CASES["dcgan with classes"].subject(), tmp_path / "g.h", ExportOptions(weights="int8"))
    (tmp_path / "g.c").write_text('#define G_IMPLEMENTATION\n#include "g.h"\n')
    target = ["-target", "arm-linux-musleabihf", "-mcpu=cortex_a7", "-std=c99", "-c"]
    compiled(*ZIG, "cc", *target, *WARNINGS, tmp_path / "g.c", "-o", tmp_path / "g.o")
    assert (tmp_path / "g.o").read_bytes()[:5] == b"\x7fELF\x01"  # 32 bits


@needs_gcc
@pytest.mark.parametrize(
    ("name", "weights"), [("dcgan with classes", "int8"), ("pix2pix", "fp16"), ("attention", "fp32")]
)
def test_sanitizers_find_nothing(tmp_path: Path, name: str, weights: str):
    FORMATS["c"].write(CASES[name].subject(), tmp_path / "g.h", ExportOptions(weights=weights))
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    program = tmp_path / "g"
    compiled(GCC, "-std=c99", "-O1", "-xc", "-DMINIGAN_SELF_TEST", *sanitizers, tmp_path / "g.h", "-lm", "-o", program)
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("self-test passed: differs by ")
    assert done.stderr == ""


# ---------------------------------------------------------------------------------------------- memory


def test_memory_is_no_more_than_lives_at_once():
    graph = CASES["pix2pix"].subject().graph(to="c")
    graph = g.fold_batch_norms(graph)
    found = plan(graph, held=())
    last = {value: n for n, op in enumerate(graph.ops) for value in op.inputs} | {graph.output: len(graph.ops)}
    sizes = {op.output: int(np.prod(op.shape)) for op in graph.ops}
    live = [
        sum(sizes[op.output] for m, op in enumerate(graph.ops) if m <= n <= last[op.output] and not _in_place(graph, m))
        for n in range(len(graph.ops))
    ]
    assert max(live) <= found.size < sum(sizes.values()) / 2


def _in_place(graph: g.Graph, n: int) -> bool:
    """Whether an operation's output may lie on its input."""
    return isinstance(graph.ops[n], g.Activation)


def test_a_value_that_is_needed_later_is_not_overwritten():
    x = {"shape": (4,), "path": "N"}
    ops = (
        g.Activation(inputs=(0,), output=2, function="tanh", **x),
        g.Activation(inputs=(2,), output=3, function="relu", **x),
        g.Add(inputs=(2, 3), output=4, **x),
    )
    found = plan(g.Graph(ops, 4, (4,), None, (4,)), held=(0,))
    assert found.copies == {2, 3}
    assert found.offsets[2] == found.offsets[4] != found.offsets[3]
    assert found.size == 8


# ---------------------------------------------------------------------------------------------- weights and words


def test_fewer_bits_are_smaller_and_their_loss_is_told(tmp_path: Path):
    told = {}
    for weights in ("fp32", "fp16", "int8"):
        told[weights] = FORMATS["c"].write(CASES["dcgan"].subject(), tmp_path / "g.h", ExportOptions(weights=weights))
    sizes = [int(re.search(r"([\d,]+) bytes of weights", text)[1].replace(",", "")) for text in told.values()]
    assert sizes[0] / 2 <= sizes[1] <= 1.01 * sizes[0] / 2 and sizes[0] / 4 <= sizes[2] <= 1.02 * sizes[0] / 4
    assert "PSNR" not in told["fp32"]
    half, eighth = (float(re.search(r"PSNR ([\d.]+) dB", told[weights])[1]) for weights in ("fp16", "int8"))
    assert half > eighth + 15 > 50


def test_a_poor_picture_is_warned_of(tmp_path: Path):
    """A channel whose weights are of very different sizes."""
    G = network(Dense(40), Dense(4))
    G.layers[0].w.value[:, 0] = [1000, 0.5, 0.5]
    G.layers[1].w.value[:] = 1
    G.layers[0].w.value[:, 1:] = -1000 / 39 * np.eye(3, 1)[:, 0][:, None]
    subject = Subject(G, "N", from_noise=True)
    with pytest.warns(
        UserWarning, match=r"^int8 weights: PSNR [-\d.]+ dB to the engine's images, less than 30 dB\. Look"
    ):
        FORMATS["c"].write(subject, tmp_path / "g.h", ExportOptions(weights="int8"))


def test_weights_that_cannot_be_written(tmp_path: Path):
    G = network(Dense(4), Tanh())
    G.layers[0].w.value[0, 0] = 1e5
    with pytest.raises(ConfigError, match=r"^N\.0\.Dense: expected weights up to 65,504 for fp16, found 100,000\. Use"):
        FORMATS["c"].write(Subject(G, "N"), tmp_path / "g.h", ExportOptions(weights="fp16"))
    G.layers[0].w.value[0, 0] = np.nan
    with pytest.raises(ConfigError, match=r"^N\.0\.Dense: expected finite weights, found NaN or infinity in w\. Train"):
        FORMATS["c"].write(Subject(G, "N"), tmp_path / "g.h", ExportOptions())
    with pytest.raises(ConfigError, match=r"^expected `weights` as one of fp32, fp16, int8, got 'int4'\.$"):
        FORMATS["c"].write(Subject(G, "N"), tmp_path / "g.h", ExportOptions(weights="int4"))
    assert list(tmp_path.iterdir()) == []


@needs_gcc
@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ('it\'s "mine" */ int x; /* ??/.h', "it_s_mine_int_x"),
        ("7 Ünïcode\\.h", "net_7_Unicode"),
        ("__.h", "net"),
        ("int.h", "int"),
        ("a" * 90 + ".h", "a" * 40),
    ],
)
def test_names_with_quotes_and_ends_of_comments(tmp_path: Path, name: str, prefix: str):
    folder = tmp_path / name if "/" not in name else tmp_path / name.rpartition("/")[0]
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / name.rpartition("/")[2] if "/" not in name else folder / name.replace("/", "|")
    title = 'G of "x" */ #error /* \\ ??/\n#error net_ NET_'
    FORMATS["c"].write(Subject(network(Dense(4)), title, from_noise=True), out, ExportOptions())
    source = out.read_text()
    source.encode("ascii")
    assert f"float *{prefix}_generate(const float *z, float *scratch);" in source
    (tmp_path / "g.h").write_text(source)
    compiled(GCC, "-std=c99", "-xc", *WARNINGS, "-DMINIGAN_SELF_TEST", "-fsyntax-only", tmp_path / "g.h")


def test_a_network_that_only_shapes_or_hands_on(tmp_path: Path):
    for layers in ((Reshape((3, 1, 1)),), (LeakyReLU(0.3),), (Reshape((1, 1, 3)), Reshape((3,)), Tanh())):
        G = network(*layers)
        told = FORMATS["c"].write(Subject(G, "N", from_noise=True), tmp_path / "g.h", ExportOptions())
        assert "self-test passed" in told or "no C compiler" in told


def test_a_layer_without_a_translation_is_refused(tmp_path: Path):
    with pytest.raises(
        ConfigError, match=r"^N\.1\.MinibatchStdDev .* cannot be exported to c: it mixes .* without it\.$"
    ):
        FORMATS["c"].write(Subject(network(Dense(4), MinibatchStdDev()), "N"), tmp_path / "g.h", ExportOptions())
    with pytest.raises(ConfigError, match=r"it overrides forward of Tanh, .* Register a translation with"):
        FORMATS["c"].write(Subject(network(Dense(4), Cube()), "N"), tmp_path / "g.h", ExportOptions())


class Cube(Tanh):
    """y = x^3."""

    def forward(self, x, *, train, rng=None):  # noqa: ARG002
        return x**3, None


class Square(Tanh):
    """y = x^2."""

    def forward(self, x, *, train, rng=None):  # noqa: ARG002
        return x**2, None


@translates(Square, to="c")
def square(layer, inputs, output, program):
    source = """\
static void net_square(const float *x, float *y, int size)
{
    for (int i = 0; i < size; i++)
        y[i] = x[i] * x[i];
}"""
    return f"{program.function('net_square', source)}({inputs[0]}, {output}, {layer.output_shape[0]});"


def test_a_layer_of_ones_own(tmp_path: Path):
    subject = Subject(network(Dense(4), Square(), Dense(2)), "N", from_noise=True)
    for weights in ("fp32", "int8"):
        told = FORMATS["c"].write(subject, tmp_path / "g.h", ExportOptions(weights=weights))
        assert "self-test passed" in told or "no C compiler" in told


# ---------------------------------------------------------------------------------------------- the self-test


@needs_gcc
def test_a_self_test_that_fails_is_an_error_and_nothing_is_written(tmp_path: Path):
    subject = CASES["mlp of points"].subject()
    FORMATS["c"].write(subject, tmp_path / "g.h", ExportOptions())
    source = (tmp_path / "g.h").read_text()
    with pytest.raises(ConfigError, match=r"gave other images than the engine: self-test failed: differs by .*Set CC"):
        run_self_test(source.replace("a += b;", "a += b + 1;"))
    assert run_self_test(source + "#error here\n").startswith("self-test not run: ")


def test_without_a_compiler_it_says_so(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    told = FORMATS["c"].write(CASES["mlp of points"].subject(), tmp_path / "g.h", ExportOptions())
    assert told.endswith("self-test not run: no C compiler was found")


def test_the_command(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["--steps", "1", "--backend", "reference", "--out", "run", "--set", "width=4", "batch_size=10"]
    assert main(["export", "run", "--to", "c", "--out", "g.h"]) == 2
    assert "no trained generator at run" in capsys.readouterr().err
    assert main(["train", *small]) == 0
    Path("g.h").write_text("old")
    assert main(["export", "run", "--to", "c", "--weights", "int8", "--out", "g.h"]) == 0
    out = capsys.readouterr().out
    assert "int8 weights: PSNR" in out and "G of dcgan at step 1, moving average: g.h" in out
    assert Path("g.h").read_text().startswith("/* g.h: G of dcgan at step 1, moving average.\n")
    with pytest.raises(OutputError):
        FORMATS["c"].write(CASES["mlp of points"].subject(), tmp_path, ExportOptions())


@needs_gcc
def test_the_example_prints_a_number(tmp_path: Path):
    """Its digits side by side, two rows to a line, as dark and bright as the engine's."""
    trained = load_generator("pretrained:digits", backend="reference")
    subject = Subject(trained.G, "digits", from_noise=True, classes=10)
    FORMATS["c"].write(subject, tmp_path / "digits.h", ExportOptions())
    example = Path(__file__).parents[2] / "examples" / "embedded" / "digits.c"
    assert len(example.read_text().splitlines()) <= 40
    compiled(GCC, "-std=c99", *WARNINGS, f"-I{tmp_path}", example, "-lm", "-o", tmp_path / "digits")
    done = subprocess.run([tmp_path / "digits", "2026", "7"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [len(line) for line in lines] == [4 * 28] * 14
    images = trained.sample(4, seed=7, label=["2", "0", "2", "6"], portable=True)
    brighter = (to_pixels(images)[..., 0].astype(int) * 9 // 255).reshape(4, 14, 2, 28).max(axis=2)
    printed = np.array([[" .:-=+*#%@".index(character) for character in line] for line in lines])
    assert (printed == brighter.transpose(1, 0, 2).reshape(14, 112)).mean() > 0.999


@needs_gcc
def test_the_names_of_the_classes(tmp_path: Path):
    """As text that C has, whatever is in them."""
    names = ("T-shirt", 'a "b" \\ ??/ */', "Käse\n", "7")
    G = network(ConcatCondition((4,)), Dense(2))
    subject = Subject(G, "N", from_noise=True, classes=4, class_names=names)
    FORMATS["c"].write(subject, tmp_path / "g.h", ExportOptions())
    more = '#define G_IMPLEMENTATION\n#include "g.h"\n#include <stdio.h>\n'
    loop = "for (int i = 0; i < G_CLASSES; i++) { fputs(g_class_names[i], stdout); putchar(0); }"
    (tmp_path / "n.c").write_text(f"{more}int main(void) {{ {loop} return 0; }}\n")
    compiled(GCC, "-std=c99", *WARNINGS, tmp_path / "n.c", "-lm", "-o", tmp_path / "n")
    done = subprocess.run([tmp_path / "n"], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == list(names)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipes_header_is_short(name: str, tmp_path: Path, monkeypatch):
    """At the size that it is trained at by default: 300 lines besides the weights, or 270 and those of its layers.

    StyleGAN2 has more kinds of layers, and so more functions.
    """
    monkeypatch.setenv("PATH", str(tmp_path))
    narrow = {
        key: 4
        for key in ("width", "hidden", "dense", "g_hidden", "channel_max", "w_dim")
        if key in get_recipe(name)().settings()
    }
    subject = OfRecipe(name, narrow, (*get_recipe(name).from_settings(narrow).fit_size(None), 3)).subject()
    FORMATS["c"].write(subject, tmp_path / "g.h", ExportOptions())
    lines = [line for line in (tmp_path / "g.h").read_text().splitlines() if line and not line.startswith("0x")]
    layers = sum(line.startswith(("    g_", "    {")) for line in lines)  # what is called, and the table of filters
    assert len(lines) <= max(300, (340 if name == "stylegan2" else 270) + layers)
