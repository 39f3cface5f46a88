"""Whole training steps, minigan's and PyTorch's, without a GPU."""

import contextlib
import functools
import types

import fake_cuda
import numpy as np
import pytest
from fake_device import SMALL, FakeDevice

from benchmarks import gpu_part, gpu_steps
from minigan.errors import ConfigError
from minigan.recipes.pix2pix import Pix2Pix


def steps_of(workload, engine, **options):
    device, options = FakeDevice(), {"quick": False, **options}
    return [gpu_part.finding(item) for item in gpu_steps.items(device, workload, "tf32", engine, **options)]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("workload", SMALL)
def test_our_steps(workload):
    """Eager on the reference, which captures nothing."""
    eager, graph = steps_of(workload, "minigan")
    (record,) = eager.records
    assert (record["engine"], record["configuration"], record["batch"]) == ("minigan", "eager", SMALL[workload].batch)
    assert record["images_per_second"] == pytest.approx(record["batch"] / record["seconds_median"])
    assert graph.error.startswith("ConfigError: the training steps are not captured")


@pytest.mark.usefixtures("small")
def test_our_captured_steps(monkeypatch, device):
    """On the stand-in, whose graphs are replayed."""
    launches = []
    launch = fake_cuda.Graph.launch
    monkeypatch.setattr(fake_cuda.Graph, "launch", lambda *args: (launches.append(1), launch(*args)))
    monkeypatch.setattr(FakeDevice, "backend", lambda *_: device)
    eager, graph = steps_of("small", "minigan")
    assert (eager.error, graph.error) == (None, None)
    assert graph.records[0]["configuration"] == "graph"
    assert len(launches) >= 2
    device.step_graphs = lambda: None
    assert "MINIGAN_GRAPHS" in steps_of("small", "minigan")[1].error


@pytest.fixture
def torch_on_the_cpu(monkeypatch):
    """PyTorch's CUDA functions that steps use, doing nothing; a graph does its step again."""
    torch = pytest.importorskip("torch")
    from benchmarks import gpu_peer

    class Graph:
        def replay(self):
            replays.append(1)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    replays = []
    stream = types.SimpleNamespace(wait_stream=lambda _: None)
    for name, value in {
        "Stream": lambda: stream,
        "current_stream": lambda: stream,
        "stream": lambda _: contextlib.nullcontext(),
        "graph": lambda _: contextlib.nullcontext(),
        "CUDAGraph": Graph,
        "empty_cache": lambda: None,
        "reset_peak_memory_stats": lambda: None,
        "max_memory_allocated": lambda: 123,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch, "compile", lambda network: network)
    monkeypatch.setattr(torch.compiler, "reset", lambda: None)
    monkeypatch.setattr(gpu_steps, "has_torch", lambda: True)
    monkeypatch.setattr(gpu_steps, "set_torch", lambda precision: {"precision": precision})
    # Adam refuses to be capturable on a CPU.
    real = gpu_peer.Gan
    monkeypatch.setattr(gpu_peer, "Gan", lambda *args, capturable, **options: real(*args, **options))  # noqa: ARG005
    monkeypatch.setattr(gpu_peer, "TorchSteps", functools.partial(gpu_peer.TorchSteps, device="cpu"))
    yield replays
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("workload", ["small", pytest.param("small pairs", marks=pytest.mark.exhaustive)])
def test_pytorchs_steps(torch_on_the_cpu, workload):
    found = steps_of(workload, "torch")
    assert [finding.error for finding in found] == [None] * 5
    assert [finding.records[0]["configuration"] for finding in found] == list(gpu_steps.TORCH)
    assert {finding.records[0]["memory_used"] for finding in found} == {123}
    assert torch_on_the_cpu
    assert len(steps_of(workload, "torch", quick=True)) == 3


@pytest.mark.usefixtures("small")
def test_without_pytorch_its_steps_are_told_as_failed(monkeypatch):
    monkeypatch.setattr(gpu_steps, "has_torch", lambda: False)
    assert {finding.error for finding in steps_of("small", "torch")} == {
        "ImportError: no PyTorch with a GPU to compare with."
    }


@pytest.mark.parametrize("size", [32, 64])
def test_pix2pix_in_pytorch_is_the_same(size):
    pytest.importorskip("torch")
    from benchmarks import torch_peer

    recipe, rng = Pix2Pix(width=3, d_width=3, dropout=0.0), np.random.default_rng(0)
    shape = (size, size, 3)
    G = recipe.built_generator(shape, backend="reference", dtype="float32", rng=rng)
    twins = torch_peer.networks(recipe, shape)
    D = recipe.discriminator(shape).build((*shape[:2], 6), backend="reference", rng=rng)
    for network, twin, channels in ((G, twins[0], 3), (D, twins[1], 6)):
        torch_peer.load(twin, network)
        x = rng.uniform(-1, 1, (2, size, size, channels)).astype(np.float32)
        y, _ = network.forward(x, train=True, rng=rng)
        np.testing.assert_allclose(torch_peer.nchw(y), twin(torch_peer.nchw(x)).detach(), atol=1e-5)


@pytest.mark.parametrize(("settings", "size"), [({}, 16), ({"norm": "instance"}, 32)])
def test_pix2pix_with_other_networks_has_no_twin(settings, size):
    pytest.importorskip("torch")
    from benchmarks import torch_peer

    with pytest.raises(ConfigError, match="no PyTorch twin of pix2pix"):
        torch_peer.networks(Pix2Pix(**settings), (size, size, 3))
