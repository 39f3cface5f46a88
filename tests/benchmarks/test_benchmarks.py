"""Every benchmark runs, in a setting so small that its figures mean nothing."""

import argparse
import importlib
import importlib.util
import json
import sys
from concurrent.futures import Future
from functools import partial
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

import minigan
from benchmarks import __main__ as listing
from benchmarks import (
    breakdown,
    digits,
    embedded,
    first_step,
    fuzz,
    gpu,
    gpu_instructions,
    gpu_prewarm,
    groups,
    kernels,
    kills,
    live,
    memory,
    modern,
    modes,
    precisions,
    pretrained,
    ranks,
    sampling,
    scaling,
    stack,
    train_step,
)
from benchmarks.command import expect_agreement
from minigan.backends import get_backend
from minigan.backends.reference import ReferenceBackend
from minigan.cli import measurements
from minigan.cli.evaluate import evaluate_run
from minigan.data import Digits
from minigan.inspection import limits
from minigan.inspection.limits import Limits
from minigan.recipes import DCGAN, R3GAN, StyleGAN2

QUICK = ("--rounds", "1", "--seconds", "0.001")
NUMPY = ("--backend", "reference", *QUICK)
TINY = {"tiny": {"batch": 2, "layers": [
    {"name": "3-4@6", "image": [6, 6, 3], "filters": 4, "filter": 3, "stride": 1, "padding": 1}
]}}  # fmt: skip


def has(*packages: str) -> bool:
    return all(importlib.util.find_spec(package) is not None for package in packages)


TORCH = ("--peer", "torch") if has("torch") else ()
EAGER = (*TORCH, "--eager")
ONNX = ("--peer", "onnxruntime") if has("onnxruntime", "onnx") else ()


@pytest.fixture
def tiny(monkeypatch):
    """Small shapes and copies."""
    monkeypatch.setattr(kernels, "shapes", lambda: TINY)
    monkeypatch.setattr(limits, "COPIED", 1 << 16)


@pytest.fixture
def ran(capsys):
    """Runs a benchmark; returns the lines it printed."""

    def run(benchmark, *arguments):
        benchmark.main(list(arguments))
        return capsys.readouterr().out.splitlines()

    return run


def ends_with_a_ratio(lines: list[str]) -> bool:
    return lines[-1].startswith("ratio ") and float(lines[-1].split()[1]) > 0


@pytest.mark.usefixtures("tiny")
def test_kernels(ran, tmp_path):
    file = tmp_path / "kernels.json"
    lines = ran(kernels, "--group", "tiny", *NUMPY, *TORCH, "--json", str(file))
    assert "tiny, batch 2:" in lines
    assert [line.split()[:2] for line in lines[-3:]] == [["3-4@6", kind] for kind in ("forward", "input", "weight")]
    rows = json.loads(file.read_text())["kernels"]
    assert rows[0]["gflop"] == pytest.approx(1e-9 * 2 * 2 * 36 * 9 * 3 * 4)
    assert rows[0]["gigabytes"] == pytest.approx(1e-9 * 4 * (2 * 36 * (3 + 4) + 9 * 3 * 4))
    assert all((row["peer_seconds"] is not None) == bool(TORCH) for row in rows)


@pytest.mark.skipif(not has("numba"), reason="numba is not installed")
@pytest.mark.usefixtures("tiny")
def test_kernels_tell_the_algorithm_and_the_limit(ran):
    lines = ran(kernels, *QUICK)
    assert any(line.startswith("limits: ") for line in lines)
    (layer,) = kernels.layers(["tiny"])
    names = [get_backend("cpu").algorithm(k, layer.geometry, 2, kernels.FLOAT) for k in kernels.KERNELS.values()]
    for line, name in zip(lines[-3:], names, strict=True):
        assert f" {name} " in line
        assert " mem " in line or " fma " in line


@pytest.mark.usefixtures("tiny")
def test_a_wrong_kernel_is_not_timed(monkeypatch):
    right = ReferenceBackend.conv2d_weight_grad

    def wrong(self, x, dy, geometry, *, add_to):
        right(self, x, dy, geometry, add_to=add_to)
        if add_to.dtype == np.float32:
            add_to *= 1.001

    monkeypatch.setattr(ReferenceBackend, "conv2d_weight_grad", wrong)
    with pytest.raises(SystemExit, match=r"tiny 3-4@6: off by 1\.\de-03, so no time would mean anything"):
        kernels.main([*NUMPY])
    with pytest.raises(SystemExit, match="results differ by nan"):
        expect_agreement(float("nan"), 1)


def test_the_roofline():
    roof = Limits(multiply_adds=100.0, bandwidth=10.0)
    assert roof.bound(flops=5e9, moved=1e9) == (50.0, "mem")
    assert roof.bound(flops=20e9, moved=1e9) == (100.0, "fma")
    assert roof.least_seconds(flops=5e9, moved=1e9) == 0.1
    assert roof.least_seconds(flops=20e9, moved=1e9) == 0.2


def test_train_step(ran, tmp_path):
    file = tmp_path / "step.json"
    lines = ran(train_step, "--model", "mlp", "--batch-size", "4", *NUMPY, *EAGER, "--json", str(file))
    assert "mlp, batch 4, median of 1 rounds:" in lines
    assert ends_with_a_ratio(lines) == bool(TORCH)
    assert json.loads(file.read_text())["seconds"]["minigan reference"][0] > 0


def test_train_step_with_a_penalty(ran, monkeypatch):
    small = measurements.Model(DCGAN(width=2, loss="wasserstein", penalty="wgan-gp", d_norm="none"), (28, 28, 1))
    monkeypatch.setitem(measurements.MODELS, "wgan-gp32", small)
    lines = ran(train_step, "--model", "wgan-gp32", "--batch-size", "4", *NUMPY, *EAGER)
    assert "wgan-gp32, batch 4, median of 1 rounds:" in lines
    assert ends_with_a_ratio(lines) == bool(TORCH)


TINY_GANS = {
    "r3gan-small": R3GAN(widths="4,6", group=4, latent=5, condition="none", augment=""),
    "stylegan2-small": StyleGAN2(latent=4, w_dim=4, channel_base=64, channel_max=6, group=2, condition="none"),
}


@pytest.mark.parametrize(("model", "names"), [
    ("r3gan-small", ["torch", "torch channels_last"]),
    ("stylegan2-small", ["torch", "torch channels_last", "torch, groups", "torch channels_last, groups"]),
])  # fmt: skip
def test_train_step_of_recent_models(ran, monkeypatch, model, names):
    monkeypatch.setitem(measurements.MODELS, model, measurements.Model(TINY_GANS[model], (8, 8, 3)))
    lines = ran(train_step, "--model", model, "--batch-size", "2", *NUMPY, *EAGER)
    engines = [line[2:36].strip() for line in lines if line.endswith("images/s")]
    assert engines == ["minigan reference", *(names if TORCH else [])]
    assert ends_with_a_ratio(lines) == bool(TORCH)


def test_a_lazy_penalty_counts_by_its_share():
    shares = measurements.kinds_of_step("stylegan2-small")
    assert [(model.recipe.penalty, share) for model, share in shares.items()] == [("none", 15 / 16), ("r1", 1 / 16)]
    plain, regularized = shares
    assert measurements.kinds_of_step("r3gan-small") == {measurements.MODELS["r3gan-small"]: 1}
    times = {train_step.Call("a", plain): [1.0, 2.0], train_step.Call("b", plain): [1.0, 1.0]}
    times |= {train_step.Call("a", regularized): [17.0, 2.0]}
    assert train_step.averaged(times, shares) == {"a": [2.0, 2.0]}


@pytest.mark.parametrize("model", TINY_GANS)
def test_peers_of_recent_models_have_the_same_networks(model):
    torch = pytest.importorskip("torch")
    from benchmarks import torch_peer

    recipe, rng = TINY_GANS[model], np.random.default_rng(0)
    learner = recipe.assemble((8, 8, 3), backend=ReferenceBackend(), rng=rng)
    for network in (learner.G, learner.D):
        for _, p in network.named_parameters():
            p.value[...] = rng.normal(0, 0.3, p.shape)
        network.arena.updated()
    x, z = rng.uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32), rng.normal(size=(2, recipe.latent)).astype(np.float32)
    for name, p in learner.G.named_parameters():
        if name.endswith("strength"):  # PyTorch draws other noise
            p.value[...] = 0
    for name, make in train_step.peer_kinds(measurements.Model(recipe, (8, 8, 3)), bf16=False).items():
        gan = make.keywords["kind"](recipe, (8, 8, 3), channels_last="channels_last" in name)
        for network, module in ((learner.G, gan.G), (learner.D, gan.D)):
            for own, (_, p) in zip(module.parameters(), network.named_parameters(), strict=True):
                own.data.copy_(torch_peer.tensor(p.value))
        with torch.no_grad():
            drawn, logits = gan.G(torch.from_numpy(z)), gan.D(gan.tensor(x))
        np.testing.assert_allclose(
            drawn.permute(0, 2, 3, 1).numpy(), learner.G.forward(z, train=True, rng=rng)[0], rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(logits.numpy(), learner.D.forward(x, train=True)[0], rtol=1e-4, atol=1e-5)


def test_the_peers_filter_has_gradients_of_both_orders():
    torch = pytest.importorskip("torch")
    from benchmarks.torch_layers import LowPass, enlarged, reduced

    for layer in (enlarged(2), reduced(2), LowPass(2, padding=2, gain=4.0)):
        x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(layer.double(), x)
        assert torch.autograd.gradgradcheck(layer, x)


def test_stack(ran):
    small = ("--batch-size", "1", "2", "--size", "6", "--channels", "4", "--hidden", "1")
    lines = ran(stack, *small, *NUMPY, *TORCH)
    assert any(line.startswith("3x3 stack, 3 layers at 6x6") for line in lines)
    assert sum("minigan reference" in line for line in lines) == 2
    assert ends_with_a_ratio(lines) == bool(TORCH)


def test_groups(ran, tmp_path):
    file = tmp_path / "groups.json"
    small = ("--batch-size", "2", "--channels", "6", "4", "--width", "1", "3", "6", "--size", "5", "--json", str(file))
    lines = ran(groups, *small, *NUMPY)
    assert [line.split()[:5] for line in lines if "conv2d" in line] == [
        ["2", C, width, "5", name] for C, width in (("6", "1"), ("6", "3"), ("4", "1")) for name in ("y", "dx", "dw")
    ]
    assert any(line.startswith("slower than with zeros in ") and " of 9" in line for line in lines)
    assert sum("times that" in line for line in lines) == 2
    assert [row["width"] for row in json.loads(file.read_text())["groups"]] == [1, 3, 1]


def test_groups_tells_which_kernels_are_slower():
    row = {"batch": 8, "channels": 64, "width": 16, "size": 4}
    times = {"y own": 1.0, "y plain": 2.0, "dx own": 1.0, "dx plain": 0.5, "dw own": 1.0, "dw plain": 0.99}
    text = groups.summary(groups.gains([row | {"seconds": times}]))
    assert text == "slower than with zeros in 1 of 3; 0.50x dx of 64/16 at 4, batch 8"


def test_groups_notices_another_result(monkeypatch):
    monkeypatch.setattr(groups, "with_zeros", lambda _, g: np.ones((g.R, g.S, g.C, g.K), np.float32))
    with pytest.raises(SystemExit, match="the engines' results differ by"):
        groups.main(["--channels", "4", "--width", "2", "--size", "5", "--batch-size", "2", *NUMPY])


def test_stack_notices_another_result(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(stack, "TOLERANCES", (1e-4, 0.0))
    with pytest.raises(SystemExit, match="the engines' results differ by"):
        stack.main(["--size", "6", "--channels", "4", *NUMPY, *TORCH])


def test_sampling(ran):
    lines = ran(sampling, "--model", "dcgan28", "--count", "4", "--batch-size", "2", "--bf16", *NUMPY, *EAGER, *ONNX)
    assert "4 images of dcgan28, median of 1 rounds:" in lines
    assert ends_with_a_ratio(lines) == bool(TORCH or ONNX)
    engines = [line.split()[1] for line in lines if line.startswith("      2")]
    peers = [5 if TORCH else 0, 2 if ONNX else 0]
    assert [engines.count(name) for name in ("minigan", "torch", "onnxruntime")] == [1, *peers]


def test_sampling_compares_float32_closely_and_bf16_less_so():
    assert sampling.tolerance("torch fused", "fp32") == sampling.TOLERANCE
    assert sampling.tolerance("torch fused bf16", "fp32") == sampling.BF16_TOLERANCE
    assert sampling.tolerance("torch fused", "bf16") == sampling.BF16_TOLERANCE


@pytest.fixture
def torch_compile(monkeypatch):
    """Replaces `torch.compile`, which has forgotten what other tests compiled: the number of its graphs is limited."""
    torch = pytest.importorskip("torch")
    torch.compiler.reset()
    return lambda replacement: monkeypatch.setattr(torch, "compile", replacement)


def test_compiled_peers(ran, torch_compile):
    torch = pytest.importorskip("torch")
    torch_compile(partial(torch.compile, backend="eager"))  # traced, and no C++ compiled
    lines = ran(train_step, "--model", "mlp", "--batch-size", "4", "--bf16", *NUMPY, *TORCH)
    names = [line[2:36].strip() for line in lines if line.endswith("images/s")]
    compiled = ["torch, compiled", "torch, 1 thread, compiled", "torch channels_last bf16, compiled"]
    if torch.get_num_threads() == 1:
        del compiled[1]
    assert names[-len(compiled) :] == compiled
    assert not any(line.startswith("without") for line in lines)
    small = ("--model", "dcgan28", "--count", "2", "--batch-size", "2")
    lines = ran(sampling, *small, *NUMPY, *TORCH)
    assert sum("torch channels_last fused, compiled " in line for line in lines) == 1


def test_a_compiled_peer_takes_all_kinds_of_step(monkeypatch):
    pytest.importorskip("torch")
    from benchmarks import torch_peer

    tried = []
    monkeypatch.setattr(torch_peer, "compiles", lambda name, _: tried.append(name) or not tried[1:])
    monkeypatch.setattr(train_step, "peer_kinds", lambda *_, **__: {"torch channels_last": lambda **_: print})
    model = measurements.Model(TINY_GANS["stylegan2-small"], (8, 8, 3))
    monkeypatch.setitem(measurements.MODELS, "stylegan2-small", model)
    options = SimpleNamespace(backend=ReferenceBackend(), peer=["torch"], bf16=False, eager=False)
    found = train_step.calls("stylegan2-small", np.zeros((2, 8, 8, 3), np.float32), options)
    assert tried == ["torch channels_last, compiled"]
    for kind in measurements.kinds_of_step("stylegan2-small"):
        assert train_step.Call("torch channels_last, compiled", kind) in found


@pytest.mark.parametrize("kind", ["fails", "nothing"])
def test_a_peer_that_cannot_be_compiled_is_left_out(ran, torch_compile, kind):
    def fails(*_):
        raise RuntimeError("\n  no C++ compiler was found\n  some of its log")

    torch_compile(lambda module, **_: fails if kind == "fails" else module)
    reason = "no C++ compiler was found" if kind == "fails" else "torch.compile compiled nothing"
    lines = ran(train_step, "--model", "mlp", "--batch-size", "4", *NUMPY, *TORCH)
    assert f"without torch, compiled: {reason}" in lines
    assert ends_with_a_ratio(lines)
    assert not any(line.startswith("  torch, compiled") for line in lines)


def test_precision_is_handed_to_the_backend(ran, monkeypatch):
    asked = []

    def get_backend(name, **options):
        asked.append((name, options))
        return ReferenceBackend()

    monkeypatch.setattr("benchmarks.command.get_backend", get_backend)
    ran(train_step, "--model", "mlp", "--batch-size", "4", "--precision", "bf16", *NUMPY)
    ran(breakdown, "--model", "mlp", "--batch-size", "4", *NUMPY)
    assert asked == [("reference", {"precision": "bf16"}), ("reference", {"precision": "auto"})]


def test_scaling(ran):
    lines = ran(scaling, "--model", "mlp", "--batch-size", "2", "4", "--size", *NUMPY, *TORCH)
    engines = [line.split()[0] for line in lines if line.startswith("  ")]
    assert engines[: len(TORCH)] == ["minigan", *TORCH[1:]]
    assert set(engines[len(TORCH) :]) <= {"torch,"}  # with one thread only, where there are several
    lines = ran(scaling, "--batch-size", "--size", "32", "--fixed-batch", "2", *NUMPY)
    assert lines[-2].startswith("  minigan reference, GFLOP/s")


def test_breakdown(ran):
    lines = ran(breakdown, "--model", "mlp", "--batch-size", "4", *NUMPY)
    assert any(line.startswith("  adam_step") for line in lines)
    assert any(line.startswith("  dense_leaky_relu           4x784 784x128 ") for line in lines)
    assert lines[-1].startswith("  between the kernels")
    lines = ran(breakdown, "--model", "mlp", "--work", "sample", "--batch-size", "4", *NUMPY)
    assert any(line.startswith("sample mlp, batch 4, ") for line in lines)


def test_memory(ran):
    lines = ran(memory, "--model", "mlp", "--batch-size", "4", "--steps", "1", "--backend", "reference")
    assert lines[-1].startswith("minigan ")
    assert lines[-1].endswith(" MiB")


def test_live(ran, monkeypatch):
    """A session that nobody watches, and one that sends frames to another process."""
    monkeypatch.setattr(live, "SETTLE", 0.05)
    few = ("--backend", "reference", "--rounds", "1", "--seconds", "0.3", "--patience", "0.1")
    lines = ran(live, *few, "--only", "closed", "--only", "stream")
    closed, stream = (line.split() for line in lines[-2:])
    assert (closed[0], stream[0]) == ("closed", "stream")
    assert all(float(row[column].replace(",", "")) > 10 for row in (closed, stream) for column in (1, 2))
    assert closed[-3:] == ["0.0%", "0.0", "0.0"]
    assert float(stream[-3].rstrip("%")) > 0 and float(stream[-2]) > 0


def test_first_step(ran, monkeypatch):
    """The child's work is done here; the times are of processes that print what a child prints."""
    asked = []

    def child(call, **options):
        asked.append((call[call.index("--child") + 1], options["env"]["NUMBA_CACHE_DIR"]))
        return popen([sys.executable, "-c", "print('done')"], **options)

    popen = first_step.subprocess.Popen
    tiny = ("--model", "mlp", "--batch-size", "2", "--backend", "reference")
    assert ran(first_step, *tiny, "--child", "minigan") == ["done"]
    monkeypatch.setattr(first_step.subprocess, "Popen", child)
    lines = ran(first_step, *tiny, "--rounds", "2", "--peer", "torch")
    assert [engine for engine, _ in asked] == ["minigan", "minigan", "torch", "minigan", "torch"]
    assert len({folder for _, folder in asked}) == 1  # new, and the same for all
    assert [line[2:22].strip() for line in lines[1:]] == ["minigan, empty cache", "minigan, warm cache", "torch"]
    assert all(0 < float(line.split()[-2]) < 10 for line in lines[1:])


def test_a_first_step_that_fails_is_not_timed(monkeypatch):
    popen = first_step.subprocess.Popen
    monkeypatch.setattr(
        first_step.subprocess, "Popen", lambda _, **options: popen([sys.executable, "-c", ""], **options)
    )
    with pytest.raises(SystemExit, match="the process of minigan failed"):
        first_step.main(["--model", "mlp", "--backend", "reference"])


def test_modes(monkeypatch, tmp_path, capsys):
    class HereAtOnce:
        """A pool of no processes."""

        def __init__(self, processes, mp_context):
            assert (processes, mp_context.get_start_method()) == (3, "spawn")

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def submit(self, function, job):
            future = Future()
            future.set_result(function(job))
            return future

    monkeypatch.setattr(modes, "ProcessPoolExecutor", HereAtOnce)
    for name in ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    file = tmp_path / "modes.json"
    options = ("--steps", "3", "--every", "2", "--repeats", "2", "--processes", "3", "--backend", "reference")
    modes.main([*options, "--json", str(file)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-5].split() == ["data", "pack", "steps", "repeats", "modes", "published", "high", "quality"]
    kinds = [line.split()[:4] for line in lines[-4:]]
    assert kinds == [[data, pack, "3", "2"] for data in ("ring", "grid") for pack in ("1", "2")]
    runs = json.loads(file.read_text())["runs"]
    assert len(runs) == 8
    assert [count["step"] for count in runs[0]["counts"]] == [2, 3]
    assert len({(run["data"], run["pack"], run["seed"]) for run in runs}) == 8


FEW = ("--steps", "2", "--count", "50", "--backend", "reference")


def by_pixels(monkeypatch, benchmark) -> None:
    """Measures without a classifier, which would take a minute to train."""
    monkeypatch.setattr(benchmark, "evaluate_run", partial(evaluate_run, features="pixels"))


@pytest.fixture
def some_digits(tmp_path) -> str:
    """A file of 300 small labeled digits."""
    drawn = Digits(count=300, size=(16, 16))
    np.savez(tmp_path / "few.npz", images=drawn.pixels(np.arange(300)), labels=drawn.labels)
    return str(tmp_path / "few.npz")


def test_digits(monkeypatch, tmp_path, some_digits, capsys):
    by_pixels(monkeypatch, digits)
    options = ("--data", some_digits, "--only", "default", "--seeds", "0", "1", "--width", "2", *FEW)
    digits.main([*options, "--json", str(tmp_path / "digits.json")])
    lines = capsys.readouterr().out.splitlines()[-2:]
    assert [line.split()[0] for line in lines] == ["steps", "default"]
    assert "±" in lines[1]
    runs = json.loads((tmp_path / "digits.json").read_text())["runs"]
    assert [(run["variant"], run["seed"], run["steps"]) for run in runs] == [("default", 0, 2), ("default", 1, 2)]
    assert all(set(run["figures"]) == set(digits.FIGURES) and run["figures"]["fid"] > 0 for run in runs)


def test_modern(monkeypatch, tmp_path, some_digits, capsys):
    """Each for the same time, and dcgan for the fewest images as well."""
    by_pixels(monkeypatch, modern)
    small = {"r3gan": {"size": 16, "widths": "4,4,4", "group": 4}, "dcgan": {"size": 16, "width": 2}}
    monkeypatch.setattr(modern, "SYSTEMS", small)
    monkeypatch.setattr(modern, "step_time", lambda system, _: {"r3gan": 0.1, "dcgan": 0.05}[system])
    options = ("--data", some_digits, "--count", "50", "--backend", "reference", "--only", *small)
    modern.main([*options, "--seconds", "0.2", "--pilot-only"])
    assert "dcgan: 50.0 ms a step, 4 steps in 0.2 s" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        modern.main([*options, "--steps", "2"])
    assert "--steps: expected 2 numbers, for r3gan, dcgan" in capsys.readouterr().err
    modern.main([*options, "--steps", "2", "4", "--json", str(tmp_path / "modern.json")])
    runs = json.loads((tmp_path / "modern.json").read_text())["runs"]
    assert [(run["system"], run["steps"], run["images"]) for run in runs] == [
        ("r3gan", 2, 32),
        ("dcgan", 4, 256),
        ("dcgan", 1, 64),
    ]
    assert all(set(run["figures"]) == set(modern.FIGURES) and run["figures"]["fid"] > 0 for run in runs)


def test_time_of_a_step(monkeypatch, some_digits):
    monkeypatch.setattr(modern, "SYSTEMS", {"dcgan": {"size": 16, "width": 2}})
    monkeypatch.setattr(modern, "COMPILED", 1)
    options = argparse.Namespace(data=some_digits, seed=0, backend="reference", pilot=3)
    assert 1e-4 < modern.step_time("dcgan", options) < 10


def test_pretrained(monkeypatch, tmp_path, some_digits, capsys):
    by_pixels(monkeypatch, pretrained)
    small = pretrained.MAKERS["digits"]._replace(settings={"width": 2}, data=some_digits)
    monkeypatch.setattr(pretrained, "MAKERS", {**pretrained.MAKERS, "digits": small})
    pretrained.main(["--only", "digits", "--out", str(tmp_path), *FEW, "--json", str(tmp_path / "made.json")])
    made = json.loads((tmp_path / "made.json").read_text())["generators"]["digits"]
    assert made["bytes"] == (tmp_path / "digits.safetensors").stat().st_size
    assert made["stored"]["fid"] == pytest.approx(made["trained"]["fid"], rel=0.02)
    assert "digits: " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        pretrained.main(["--only", "fashion"])
    assert "--fashion SOURCE" in capsys.readouterr().err


THREE = ("--steps", "3", "--width", "4", "--batch-size", "4", "--evaluate-every", "0")


@pytest.mark.skipif(not has("numba", "ml_dtypes"), reason="bf16 needs numba and ml_dtypes")
@pytest.mark.exhaustive
def test_precisions(ran, tmp_path, monkeypatch):
    svg, file = tmp_path / "curves.svg", tmp_path / "curves.json"
    where = ("--out", str(tmp_path / "runs"), "--figure", str(svg), "--json", str(file))
    lines = ran(precisions, *THREE, *where)
    (at, then) = (index for index, line in enumerate(lines) if line.startswith("precision, seed"))
    assert lines[at].split()[2:8] == ["fp32,", "0", "bf16,", "0", "fp32,", "1"]
    assert [line[:34].strip() for line in lines[at + 1 : at + 5]] == [
        *("D's loss", "G's loss", "D's verdict on real", "D's verdict on fakes")
    ]
    assert [line.split()[0] for line in lines[then + 1 : then + 5]] == ["D's", "G's", "critic's", "slope's"]
    values = {row["name"]: row for rows in json.loads(file.read_text())["values"].values() for row in rows}
    for name, row in values.items():
        exact, rounded, other = row["curves"]
        assert len(exact) == 3
        assert exact != rounded, name
        for key, curve in (("apart", rounded), ("seeds", other)):
            distance = np.abs(np.subtract(exact, curve))
            assert row[key] == pytest.approx([distance.mean(), distance.max()])
    drawing = ElementTree.fromstring(svg.read_text(encoding="utf-8"))
    plots = drawing.findall("{*}svg")
    assert [plot.get("aria-label") for plot in plots[:4:3]] == ["dcgan: D's loss", "dcgan: D's verdict on fakes"]
    assert len(plots) == 8
    assert all(len(plot.findall("{*}path[@class]")) > 3 for plot in plots)
    monkeypatch.setattr(minigan, "train", None)  # nothing is trained twice
    assert ran(precisions, *THREE, *where)[at] == lines[at]
    with pytest.raises(SystemExit, match=r"dcgan-fp32-seed0: expected width 5, found 4\. Name another --out"):
        precisions.main([*THREE, *where, "--width", "5"])


def test_means_and_distances_of_curves():
    """One differs at one step, one at its end; all three were trained further than asked."""
    steps = np.arange(1, 1001)
    level, peak = np.ones(1000), np.ones(1000)
    peak[500] = 1 + 51  # one of the 51 values that are averaged
    curves = [precisions.Curve(steps, values) for values in (level, peak, np.where(steps > 800, 3.0, 1.0))]
    longer = [precisions.Curve(np.arange(1, 1011), np.append(curve.values, np.full(10, 1e6))) for curve in curves]
    cut = [precisions.up_to(1000, curve) for curve in longer]
    smoothed = [precisions.smoothed(curve) for curve in cut]
    found = precisions.value("x", cut, smoothed)
    assert found.means == (1, 1, 3)
    assert found.apart == pytest.approx((51 / 1000, 1))
    assert found.seeds == pytest.approx((0.4, 2), rel=1e-3)
    assert str(found.apart) == "0.051 (1.000)"
    points = precisions.Curve(np.array([250, 500, 750, 1000]), np.array([40.0, 30, 20, 19]))
    assert precisions.value("fid", [points] * 3, [points] * 3).means == (19, 19, 19)


def test_an_interrupted_training_is_no_result(tmp_path, monkeypatch):
    """Ctrl-C ends a run early, and the command with it."""
    monkeypatch.setattr(minigan, "train", lambda *_, out, **__: SimpleNamespace(step=2, folder=out))
    with pytest.raises(SystemExit, match=r"has 2 of 3 steps\. The same command goes on from there"):
        precisions.main([*THREE, "--out", str(tmp_path)])


def test_the_list_names_every_benchmark(ran):
    text = "\n".join(ran(listing))
    for name, _, example in listing.benchmarks():
        assert importlib.import_module(f"benchmarks.{name}").main
        assert example in text
    modules = {kernels, train_step, first_step, memory, modes, precisions, stack, sampling, scaling, breakdown, kills}
    modules |= {embedded, gpu, gpu_instructions, gpu_prewarm, groups, fuzz, digits, live, modern, pretrained, ranks}
    assert {f"benchmarks.{name}" for name, _, _ in listing.benchmarks()} == {module.__name__ for module in modules}


def test_an_exported_generator_in_every_format_at_hand(tmp_path, capsys):
    formats = [format for format in ("numpy", "onnx", "c", "html") if not embedded.missing(format)]
    embedded.main(["pretrained:ring", "--formats", *formats, *QUICK, "--json", str(tmp_path / "result.json")])
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    assert {row[0].strip() for row in rows} == set(formats)
    assert all(float(row[2].replace(",", "")) > 5000 and float(row[4]) >= 0 for row in rows)
    found = json.loads((tmp_path / "result.json").read_text())["generators"]["pretrained:ring"]
    assert found["numpy fp32"]["seconds"] > 0 and "PSNR" in found["numpy int8"]["told"]


@pytest.mark.parametrize(
    "benchmark",
    [kernels, train_step, first_step, memory, modes, precisions, stack, sampling, scaling, breakdown, kills],
)
def test_what_is_not_an_option_is_refused(capsys, benchmark):
    for arguments, message in (
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["--backend", "abacus"], "invalid choice: 'abacus'"),
        (["--peer", "abacus"], "abacus"),
    ):
        with pytest.raises(SystemExit) as stop:
            benchmark.main(arguments)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("benchmark", "arguments", "message"),
    [
        (kernels, ["--group", "nope"], "invalid choice: 'nope'"),
        (train_step, ["--rounds", "0"], "must be a positive whole number, got '0'"),
        (train_step, ["--seconds", "nan"], "must be a positive number of seconds, got 'nan'"),
        (sampling, ["--model", "mlp"], "invalid choice: 'mlp'"),
        (sampling, ["--count", "10", "--batch-size", "4"], "--count 10 must be a multiple of each --batch-size"),
        (scaling, ["--size", "33"], "invalid choice: 33"),
        (kernels, ["--backend", "gpu"], "invalid choice: 'gpu'"),
        (breakdown, ["--model", "stack", "--work", "sample"], "the stack is trained only"),
        (precisions, [], "the reference backend has no bf16: expected fp32"),
        (precisions, ["--precision", "fp32"], "invalid choice: 'fp32'"),
        (precisions, ["--evaluate-every", "-1"], "must be 0 or more, got '-1'"),
    ],
)
def test_options_that_mean_nothing_are_refused(capsys, benchmark, arguments, message):
    with pytest.raises(SystemExit) as stop:
        benchmark.main(["--backend", "reference", *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_a_peer_that_is_not_installed_is_left_out(ran, monkeypatch):
    monkeypatch.setattr("benchmarks.command.PEERS", {"torch": ("no_such_package",)})
    lines = ran(train_step, "--model", "mlp", "--batch-size", "4", "--peer", "torch", *NUMPY)
    assert lines[0] == "without torch: pip install no_such_package"
    assert not any(line.startswith("ratio") for line in lines)


@pytest.mark.skipif(not has("mpi4py"), reason="mpi4py is not installed")
def test_ranks(ran, tmp_path):
    file = tmp_path / "ranks.json"
    arguments = ("--model", "mlp", "--batch-size", "4", "--backend", "reference", "--ranks", "2", "--threads", "2")
    lines = ran(ranks, *arguments, "--rounds", "1", "--seconds", "0.001", "--hosts", "8", "--json", str(file))
    assert any(line.startswith("one process of 2 threads ") for line in lines)
    assert any(line.startswith("2 ranks of 1 thread ") for line in lines)
    assert [line.split()[-6] for line in lines[-3:]] == ["8"] * 3
    found = json.loads(file.read_text())
    alone, shared = found["rows"].values()
    assert (alone["counts"], shared["counts"][0]) == ([0, 0], 2)  # an exchange of gradients for D and one for G
    recipe, shape = measurements.MODELS["mlp"]
    learner = recipe.assemble(shape, backend=get_backend("reference"), rng=np.random.default_rng(0))
    assert shared["moved"][0] >= sum(network.arena.flat.nbytes for network in learner.networks.values())
    assert 0 < shared["gradients"] < shared["step"]


def test_the_model_of_many_hosts():
    network = ranks.Network(latency=1e-3, bandwidth=1e9)
    work = ranks.Work(step=0.1, images=64, numbers=100, drawing=1e-8, counts=(2, 50), moved=(25_000_000, 0))
    assert ranks.predicted(work, 1, network) == (0, 0, 0.1)
    exchanges, drawing, step = ranks.predicted(work, 64, network)
    assert exchanges == pytest.approx(52 * 12 * 1e-3 + 2 * 63 / 64 * 0.025)
    assert drawing == pytest.approx(63 * 64 * 100 * 1e-8)
    assert step == pytest.approx(0.1 + exchanges + drawing)
    assert len(list(ranks.model_table(work, [64, 1024]))) == 1 + 2 * len(ranks.NETWORKS)
