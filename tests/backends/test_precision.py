"""Precision: one word for all backends, by an argument, the environment, or a backend object that brings its own."""

import fake_cupy
import numpy as np
import pytest
from engines import is_installed

from minigan.backends import get_backend
from minigan.backends.precision import (
    PRECISIONS,
    VARIABLE,
    chosen_precision,
    environment_precision,
    expect_precision,
)
from minigan.errors import ConfigError
from minigan.evaluation.classifier import measuring_backend
from minigan.nn.layers import Conv2D, Dense, Flatten, LeakyReLU
from minigan.nn.network import Sequential
from minigan.recipes import MLP

needs_numba = pytest.mark.skipif(not is_installed("cpu"), reason="numba is not installed")


def cpu(precision=None):
    from minigan.backends.cpu import CpuBackend

    return CpuBackend(threads=1, precision=precision)


def network(backend, **options):
    layers = [Conv2D(4, 3, stride=2), LeakyReLU(), Flatten(), Dense(3)]
    return Sequential(layers, name="D").build((8, 8, 2), backend=backend, rng=np.random.default_rng(0), **options)


@pytest.fixture(autouse=True)
def no_word_in_the_environment(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


# ------------------------------------------------------------------------------------------ words


@pytest.mark.parametrize("word", PRECISIONS)
def test_each_word_is_one(monkeypatch, word):
    assert expect_precision(word) == word
    assert environment_precision() is None
    monkeypatch.setenv(VARIABLE, word)
    assert environment_precision() == word


@pytest.mark.parametrize("word", [None, "auto"])
def test_no_word_leaves_the_choice(word):
    assert expect_precision(word) is None
    assert chosen_precision(word, default="tf32", possible=PRECISIONS, on="it") == "tf32"


NAMES = "auto, fp32, tf32, bf16"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("fp8", f"precision must be one of {NAMES}, got 'fp8'. Write `precision='auto'` for the default."),
        ("", f"precision must be one of {NAMES}, got ''. Write `precision='auto'` for the default."),
        ("bfloat16", f"precision must be one of {NAMES}, got 'bfloat16'. Did you mean `precision='bf16'`?"),
        ("Float32", f"precision must be one of {NAMES}, got 'Float32'. Did you mean `precision='fp32'`?"),
        ("TF32", f"precision must be one of {NAMES}, got 'TF32'. Did you mean `precision='tf32'`?"),
        (
            "float64",
            f"precision must be one of {NAMES}, got 'float64'. Double precision is a dtype of networks: "
            'dtype="float64".',
        ),
        (16, f"precision must be one of {NAMES}, got 16. Write `precision='auto'` for the default."),
        (False, f"precision must be one of {NAMES}, got False. Write `precision='auto'` for the default."),
        (["fp32"], f"precision must be one of {NAMES}, got ['fp32']. Write `precision='auto'` for the default."),
    ],
)
def test_other_words_get_one_line_that_says_what_to_write(word, message):
    for call in (
        lambda: expect_precision(word),
        lambda: get_backend("reference", precision=word),
        lambda: get_backend(get_backend("reference"), precision=word),
    ):
        with pytest.raises(ConfigError) as raised:
            call()
        assert str(raised.value) == message


@pytest.mark.parametrize("word", [np.array(["fp32", "bf16"]), np.float32, b"bf16", {"bf16": 1}])
def test_things_that_are_no_words_are_refused(word):
    with pytest.raises(ConfigError, match=r"^precision must be one of auto, fp32, tf32, bf16, got ") as raised:
        expect_precision(word)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("fp8", f"MINIGAN_PRECISION must be one of {NAMES}, got 'fp8'. Write MINIGAN_PRECISION=auto for the default."),
        ("bfloat16", f"MINIGAN_PRECISION must be one of {NAMES}, got 'bfloat16'. Did you mean MINIGAN_PRECISION=bf16?"),
    ],
)
def test_a_wrong_word_of_the_environment_is_said_to_be_there(monkeypatch, word, message):
    monkeypatch.setenv(VARIABLE, word)
    with pytest.raises(ConfigError) as raised:
        chosen_precision(None, default="fp32", possible=PRECISIONS, on="it")
    assert str(raised.value) == message
    assert chosen_precision("bf16", default="fp32", possible=PRECISIONS, on="it") == "bf16"


# ------------------------------------------------------------------------------------------ backends


@needs_numba
def test_the_cpu_has_two(monkeypatch):
    assert cpu().precision == cpu("auto").precision == cpu("fp32").precision == "fp32"
    assert get_backend("cpu", precision="bf16").precision == "bf16"
    assert ", bf16" in get_backend("cpu", precision="bf16").describe()
    with pytest.raises(ConfigError) as raised:
        get_backend("cpu", precision="tf32")
    remedy = "Write `precision='auto'` for fp32."
    assert str(raised.value) == f"the cpu backend has no tf32: expected fp32 or bf16. {remedy}"
    for word in ("bf16", "auto", ""):
        monkeypatch.setenv(VARIABLE, word)
        expected = word if word == "bf16" else "fp32"
        assert cpu().precision == get_backend("cpu").precision == get_backend("cpu", precision="auto").precision
        assert cpu().precision == expected
        assert cpu("fp32").precision == "fp32"
    monkeypatch.setenv(VARIABLE, "tf32")
    with pytest.raises(ConfigError) as raised:
        get_backend("cpu")
    text = "MINIGAN_PRECISION=tf32: the cpu backend has no tf32: expected fp32 or bf16. Unset it for fp32."
    assert str(raised.value) == text
    assert get_backend("cpu", precision="fp32").precision == "fp32"


@needs_numba
def test_the_fastest_backend_takes_the_word_too():
    assert get_backend("auto", precision="bf16").precision == "bf16"
    assert get_backend(precision="fp32").precision == "fp32"


def test_the_reference_ignores_the_environment(monkeypatch):
    for word in ("bf16", "tf32", "nonsense"):
        monkeypatch.setenv(VARIABLE, word)
        for asked in (None, "auto", "fp32"):
            assert get_backend("reference", precision=asked).precision == "fp32"
    with pytest.raises(ConfigError, match=r"^the reference backend has no bf16: expected fp32\. Write `precision="):
        get_backend("reference", precision="bf16")


@needs_numba
def test_an_object_brings_its_own_precision(monkeypatch):
    for own, other in (("bf16", "fp32"), ("fp32", "bf16")):
        backend = cpu(own)
        monkeypatch.setenv(VARIABLE, other)  # is for new backends
        for asked in (None, "auto", own):
            assert get_backend(backend, precision=asked) is backend
            assert network(backend, precision=asked).kernels is backend
        with pytest.raises(ConfigError) as raised:
            network(backend, precision=other)
        assert f"computes in {own}, got `precision='{other}'` in addition. Leave it out, or give" in str(raised.value)
        assert "\n" not in str(raised.value)


@needs_numba
def test_each_backend_says_what_it_has(monkeypatch):
    assert list(cpu().precisions()) == ["fp32", "bf16"]
    from minigan.backends.cpu.tile_units import find_unit

    assert find_unit().reason in cpu().precisions()["bf16"]
    assert list(get_backend("reference").precisions()) == ["fp32"]
    with fake_cupy.installed():
        gpu = get_backend("gpu")
        assert set(gpu.precisions()) == set(PRECISIONS)
        monkeypatch.setattr(type(gpu), "has_tensor_cores", False, raising=False)
        del gpu.has_tensor_cores
        assert list(gpu.precisions()) == ["fp32"]


# ------------------------------------------------------------------------------------------ networks


@needs_numba
def test_networks_are_built_in_a_precision():
    assert network("cpu", precision="bf16").kernels.precision == "bf16"
    learner = MLP(hidden=2, latent=2).assemble((2,), backend="cpu", precision="bf16", rng=np.random.default_rng(0))
    assert {net.kernels.precision for net in learner.networks.values()} == {"bf16"}
    G = MLP(hidden=2, latent=2).built_generator((2,), backend="cpu", precision="bf16", rng=np.random.default_rng(0))
    assert G.kernels.precision == "bf16"


def test_a_network_that_is_refused_stays_as_it_was():
    D = network("reference")
    kernels, weights = D.kernels, D.arena.flat.copy()
    with pytest.raises(ConfigError, match="the reference backend has no bf16"):
        D.build((8, 8, 2), backend="reference", precision="bf16", rng=np.random.default_rng(1))
    assert D.kernels is kernels
    np.testing.assert_array_equal(D.arena.flat, weights)


@needs_numba
def test_networks_show_theirs():
    D = network("cpu", precision="bf16")
    assert D.summary().startswith("D: (8, 8, 2) -> (3,), products in bf16")
    assert repr(D).startswith("Sequential 'D': ")
    assert "float32 on cpu in bf16" in repr(D)
    assert "float32 on cpu in bf16" in D._repr_html_()
    plain = network("cpu")
    assert plain.summary().startswith("D: (8, 8, 2) -> (3,), products in fp32")
    assert "float32 on cpu\n" in repr(plain)
    double = network("cpu", precision="bf16", dtype="float64")
    assert double.summary().startswith("D: (8, 8, 2) -> (3,), products in fp64")
    assert "float64 on cpu\n" in repr(double)


@pytest.mark.exhaustive
@needs_numba
def test_double_precision_is_never_rounded(reference):
    x = np.random.default_rng(1).standard_normal((3, 8, 8, 2))
    found = {}
    for name, backend in {"fp32": cpu("fp32"), "bf16": cpu("bf16"), "reference": reference}.items():
        D = network(backend, dtype="float64")
        y, tape = D.forward(x, train=True)
        grads = D.gradients()
        found[name] = y, D.backward(np.ones_like(y), tape, grads=grads), grads.flat.copy()
    for rounded, plain, expected in zip(*(found[name] for name in ("bf16", "fp32", "reference")), strict=True):
        np.testing.assert_array_equal(rounded, plain)
        np.testing.assert_allclose(rounded, expected, rtol=1e-10, atol=1e-12)


@needs_numba
def test_what_figures_are_measured_with_is_not_rounded(monkeypatch):
    monkeypatch.setenv(VARIABLE, "bf16")
    assert measuring_backend("cpu").precision == "fp32"
    given = cpu("bf16")
    assert measuring_backend(given) is given
