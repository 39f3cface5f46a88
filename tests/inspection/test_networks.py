"""Explanations of recipes and runs: what a step does, by observation, with bytes that are those of real tapes."""

import json
from pathlib import Path

import numpy as np
import pytest

from minigan.backends import get_backend
from minigan.errors import CheckpointError, ConfigError
from minigan.inspection import as_text, explain
from minigan.inspection.code_places import kernel_places, kernel_source, pass_places, place_of
from minigan.inspection.network_facts import layer_facts
from minigan.inspection.noted_backend import NotedBackend
from minigan.inspection.step_graph import panels, skipped
from minigan.inspection.step_record import _batches, _run, record_step
from minigan.nn import BatchNorm, Conv2D, Dense, Sequential
from minigan.recipes import RECIPES, get_recipe

SMALL = {
    "dcgan": {"preset": "paper", "width": 4, "size": 28, "channels": 1, "batch_size": 6},
    "dcgan-keras": {"width": 2, "size": 28, "batch_size": 4},
    "dcgan-cifar": {"width": 4, "size": 32, "batch_size": 4},
    "sngan": {"width": 4, "size": 32, "batch_size": 6},
    "stylegan2": {"latent": 8, "w_dim": 8, "channel_base": 64, "channel_max": 8, "size": 16, "batch_size": 4},
    "multi-d": {"width": 4, "size": 28, "batch_size": 4},
    "segment": {"width": 4, "size": 32, "batch_size": 4},
    "cyclegan": {"width": 2, "d_width": 2, "blocks": 1, "size": 16, "batch_size": 3},
    "pix2pix": {"width": 4, "size": 32, "batch_size": 3},
    "mlp": {"hidden": 8, "batch_size": 10},
    "pacgan": {"batch_size": 8, "pack": 2},
}
CRITIC = {"loss": "wasserstein", "penalty": "wgan-gp", "d_norm": "none", "n_critic": "5"}


def small(name, **more):
    recipe = get_recipe(name).from_settings(SMALL.get(name, {"batch_size": 4}) | more)
    return recipe, (*recipe.fit_size((28, 28) if name == "vae" else None), recipe.channels or 3)


def facts(name, backend="reference", **more):
    recipe, shape = small(name, **more)
    step = record_step(recipe, shape, recipe.batch_size)
    n, engine = recipe.batch_size, get_backend(backend)
    layers = {
        key: list(layer_facts(net, step, batch_size=n, backend=engine)) for key, net in step.learner.networks.items()
    }
    return recipe, step, layers


@pytest.mark.parametrize("name", RECIPES)
def test_the_bytes_kept_are_those_of_a_real_tape(name):
    """Measured on small batches, told for the recipe's own, compared with a tape of that size."""
    recipe, step, layers = facts(name)
    rng = np.random.default_rng(0)
    shape = step.learner.G.output_shape
    learner = recipe.assemble(shape, backend="reference", rng=rng)
    batch = next(_batches(learner, recipe.batch_size, rng))
    paths = {network.path: key for key, network in learner.networks.items()}
    for network, x in learner.inputs(batch, rng):
        _, tape = network.forward(x, train=True, rng=rng)
        rows = layers[paths[network.path]]
        assert sum(row.kept.nbytes for row in rows if row.kept is not None) == tape.nbytes
        behind = name == "pacgan" and network.path == "D"  # a Pack of two
        assert {row.batch_size for row in rows} == ({8, 4} if behind else {recipe.batch_size})


def test_a_dry_step_is_the_step():
    """The same kernels, passes and bytes as with the products computed."""
    recipe, shape = small("sngan")
    backend = NotedBackend()
    learner = recipe.assemble(shape, backend=backend, rng=np.random.default_rng(0))
    learner.n_critic = 1
    assert _run(learner, backend, 2) == record_step(recipe, shape, 2).layers


def test_the_step_is_observed():
    _, step, layers = facts("dcgan")
    G, D = layers["G"], layers["D"]
    assert [row.label for row in D][:3] == ["0 Conv2D 4x4 /2", "1 LeakyReLU", "2 Conv2D 4x4 /2"]
    assert G[1].computed == {"y", "dw"}  # z needs no gradient
    assert D[0].computed == {"y", "dx", "dw"}  # dx in G's step only
    d_step, g_step = panels(step)
    assert [chain.name for chain in d_step.chains] == ["G", "D"]
    assert not d_step.chains[0].backward
    assert [node.dx for node in d_step.chains[1].nodes] == [False] + [True] * (len(d_step.chains[1].nodes) - 1)
    assert d_step.chains[1].nodes[0].no_dx == "the image has no weights that need it"
    assert all(node.dw == node.has_weights for node in d_step.chains[1].nodes)
    frozen = g_step.chains[1].nodes
    assert all(node.dx and not node.dw for node in frozen)
    assert {node.no_dw for node in frozen if node.has_weights} == {"G's step leaves D's weights as they are"}


def test_what_is_left_out_is_counted():
    _, step, layers = facts("dcgan")
    found = {(row.phase, row.what): row.flops for row in skipped(step, layers)}
    D, G = layers["D"], layers["G"]
    assert found["G's step", "D: dw of every layer"] == sum(row.work.dw.flops for row in D if row.work.dw)
    assert found["D's step, on real and on fake", "D.0.Conv2D: dx"] == D[0].work.dx.flops
    assert found["G's step", "G.1.ConvTranspose2D: dx"] == G[1].work.dx.flops
    whole = sum(row.work.dx.flops + (row.work.dw.flops if row.work.dw else 0) for row in G)
    assert found["D's step, on real and on fake", "G: the whole backward pass"] == whole
    assert len(found) == 4


def test_a_penalty_has_a_phase_of_its_own():
    _, step, layers = facts("dcgan", **CRITIC)
    assert [panel.title for panel in panels(step)][1] == "The penalty in D's step"
    nodes = panels(step)[1].chains[0].nodes
    assert all(node.second and node.dx for node in nodes)
    assert any(row.what == "D: the down-sweep" for row in skipped(step, layers))
    assert all("second" in row.computed for row in layers["D"])
    assert all("second" not in row.computed for row in layers["G"])


def test_a_curved_layer_needs_the_down_sweep():
    _, step, layers = facts("dcgan", **(CRITIC | {"penalty": "r1", "d_norm": "batch"}))
    assert not any("down-sweep" in row.what for row in skipped(step, layers))


def test_only_layers_without_need_are_skipped_inside_a_block():
    """A residual block at the bottom still computes most of its inner gradients."""
    _, step, layers = facts("sngan")
    paths = [row.what for row in skipped(step, layers) if row.what.startswith("D.0.")]
    assert paths == [
        "D.0.Residual.inner.0.SpectralNorm: dx",
        "D.0.Residual.shortcut.0.AveragePooling2D: dx",
        "D.0.Residual.shortcut.1.SpectralNorm: dx",
    ]


def test_fused_layers_name_each_other():
    _, _, layers = facts("dcgan")
    norm, activation = layers["G"][2], layers["G"][3]
    assert isinstance(norm.layer, BatchNorm)
    assert norm.choices["y"].algorithm == "batchnorm_leaky_relu"
    assert activation.choices["y"].algorithm == "with 2"
    assert norm.joined == (activation.layer.path,)


def test_algorithms_are_the_backends_own():
    pytest.importorskip("numba")
    from minigan.backends.cpu import CpuBackend

    backend = CpuBackend(threads=1)
    _, _, layers = facts("dcgan", backend=backend)
    for row in layers["D"]:
        if isinstance(row.layer, Conv2D):
            names = [row.choices[name].algorithm for name in ("y", "dx", "dw")]
            passes = zip(row.layer.PASSES, names, strict=True)
            for kernel, name in passes:
                assert name == backend.algorithm(kernel, row.layer.geometry, row.batch_size, np.dtype(np.float32))
    assert "whole image" in layers["G"][1].choices["y"].reason


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_explained(name):
    recipe, _ = small(name)
    document = explain(recipe, backend="reference")
    record = json.loads(json.dumps(document.record, allow_nan=False))
    for network in record["networks"].values():
        assert network["flops"]["y"] == sum(layer["flops"]["y"] for layer in network["layers"])
        assert network["parameters"] == sum(layer["parameters"] for layer in network["layers"])
        for layer in network["layers"]:
            assert layer["does"].endswith(".")
            assert layer["formulas"]["forward"]
            assert layer["code"]["forward"].startswith("minigan/nn/")
    for width in (80, 100):
        text = as_text(document, width=width)
        assert max(map(len, text.splitlines())) <= width
    for word in ("weights", "kept", "sees", "not computed", "because", "Memory traffic", "double backward"):
        assert word in text


def test_settings_change_the_explanation():
    record = explain("dcgan", settings={**SMALL["dcgan"], **CRITIC}, backend="reference").record
    assert record["facts"]["loss"].startswith("Wasserstein(). ")
    assert record["facts"]["penalty"].startswith("WGANGP(weight=10.0, interval=1). ")
    assert record["facts"]["steps"] == "5 of D for each of G"
    assert record["facts"]["optimizer"] == "Adam(lr=0.0002, beta1=0.5)"
    assert record["batch_size"] == 6


# ---------------------------------------------------------------------------------------- places in the code


def test_places_are_lines_of_this_source():
    for name, place in pass_places(Conv2D).items():
        path, _, line = place.rpartition(":")
        assert f"def {name}(" in Path(path).read_text(encoding="utf-8").splitlines()[int(line) - 1]
    assert place_of(Sequential.forward).startswith("minigan/nn/network/sequential.py:")


def test_kernels_are_found_in_every_engine_without_importing_it():
    places = kernel_places("conv2d")
    assert [*places] == ["contract", "reference", "cpu", "gpu"]
    for place in places.values():
        path, _, line = place.rpartition(":")
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        assert any(
            "def conv2d(self, x: Array" in text for text in lines[int(line) - 1 : int(line) + 1]
        )  # @abstractmethod
    assert "fold(window, g.groups) @ w[r, s]" in kernel_source("reference", "conv2d")
    assert kernel_source("cpu", "ema_step") or "cpu" not in kernel_places("ema_step")


def test_coverage_agrees_with_the_files(host_backend):
    """A kernel is native by `coverage()` exactly if the engine's own files have it."""
    for row in host_backend.coverage():
        assert (row.origin == "native") == (host_backend.name in kernel_places(row.kernel)), row.kernel


def test_places_outside_of_packages(tmp_path, monkeypatch):
    """Such as a script: from the present folder, or the name alone; nothing on a prompt."""
    script = tmp_path / "own.py"
    script.write_text("import minigan.nn\nclass Own(minigan.nn.Dense):\n    def forward(self): pass\n")
    names = {"__name__": "__main__"}
    exec(compile(script.read_text(), str(script), "exec"), names)
    monkeypatch.chdir(tmp_path)
    assert place_of(names["Own"].forward) == "own.py:3"
    exec("def typed(): pass", names)
    assert place_of(names["typed"]) in ("__main__", "<string>:1")


# ---------------------------------------------------------------------------------------- runs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    import minigan

    folder = tmp_path_factory.mktemp("runs") / "run"
    return minigan.train(
        "mlp", data="ring", steps=2, hidden=4, batch_size=8, backend="reference", out=folder, quiet=True
    ).folder


def test_a_run_is_explained_as_it_was_trained(run):
    record = explain(run).record
    assert record["step"] == 2
    assert record["data"] == "ring"
    assert record["backend"] == "reference"
    assert record["networks"]["G"]["output_shape"] == [2]
    assert record["settings"]["hidden"] == 4
    assert explain(str(run)).record == record
    checkpoint = next((run / "checkpoints").iterdir())
    assert explain(checkpoint).record["networks"] == record["networks"]


def test_a_model_without_a_run_folder_is_explained(run, tmp_path):
    (tmp_path / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes())
    record = explain(tmp_path / "model.safetensors").record
    assert (record["step"], record["networks"]["G"]["output_shape"]) == (2, [2])
    assert "data" not in record


def test_runs_that_cannot_be_explained(run, tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere: no run is there\. Name a folder"):
        explain(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="is not a run folder: cannot read"):
        explain(tmp_path)
    (tmp_path / "config.toml").write_bytes((run / "config.toml").read_bytes())
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        explain(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes()[:99])
    with pytest.raises(CheckpointError, match="It is damaged"):
        explain(tmp_path)
    (tmp_path / "config.toml").write_text("settings = 3")
    with pytest.raises(CheckpointError, match=r"config\.toml"):
        explain(tmp_path)


@pytest.mark.parametrize(
    ("what", "settings", "message"),
    [
        ("dcgn", None, "nothing has the name 'dcgn', and no run is there. Did you mean dcgan?"),
        ("Conv2d_", {"a": 1}, "the layer Conv2D takes no settings, got a=1. Give them with a recipe."),
        ("BatchNrom", None, "nothing has the name 'BatchNrom', and no run is there. Did you mean BatchNorm?"),
        ("xyzzy", None, "nothing has the name 'xyzzy', and no run is there. minigan explain lists them all."),
        ("", None, "nothing has the name '', and no run is there. minigan explain lists them all."),
        (3, None, "cannot explain 3. Give a name, a path of a run, a recipe or a class."),
        (Dense, {"a": 1}, "the layer Dense takes no settings, got a=1. Give them with a recipe."),
    ],
)
def test_bad_input_gets_one_line(what, settings, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as failure:
        explain(what, settings=settings)
    assert str(failure.value) == message


def test_a_name_goes_before_a_folder_of_that_name(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hinge").symlink_to(run)
    assert explain("hinge").record["kind"] == "loss"
    assert explain("./hinge").record["step"] == 2
    (tmp_path / "mine").symlink_to(run)
    assert explain("mine").record["step"] == 2
