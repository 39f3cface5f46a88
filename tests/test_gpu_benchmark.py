"""The GPU benchmark without a GPU: on the stand-in for CuPy, with a clock and a memory that tests move by hand."""

import contextlib
import functools
import itertools
import json
import math
import re
import sys
import time
import types

import cuda_on_cpu
import fake_cuda
import fake_cupy
import numpy as np
import pytest

from benchmarks import gpu, gpu_calls, gpu_kernels, gpu_part, gpu_steps, gpu_validate, kernels
from benchmarks.gpu_calls import Sizes, call, calls
from benchmarks.gpu_device import Device, Times, repeats, version
from benchmarks.gpu_part import Finding, followed
from benchmarks.gpu_report import number, report
from benchmarks.gpu_targets import targets
from benchmarks.gpu_tests import gpu_tests, summary
from minigan.backends.base import KERNELS
from minigan.backends.reference import ReferenceBackend
from minigan.errors import BackendError
from minigan.recipes import DCGAN
from minigan.recipes.pix2pix import Pix2Pix
from minigan.shapes import conv_geometry

# Sizes for which the GPU's kernels are compiled once in each precision.
TINY = Sizes("tiny", 2, conv_geometry((6, 6, 16), 16, (3, 3), (1, 1), 1), (4, 32, 16), 33)
LAYER = kernels.Layer("tiny", "16-16@6", 2, TINY.geometry)
REFERENCE = ReferenceBackend()


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now = 0.0

    def advance(self, seconds):
        self.now += seconds


class FakeDevice(Device):
    """As much of CuPy as `Device` uses; what is written to a block of memory takes a second."""

    def __init__(self, clock=None):
        clock = clock or Clock()

        class Event:
            def record(self):
                self.at = clock.now

        class MemoryHook:
            def __enter__(self):
                hooks.append(self)

            def __exit__(self, *error):
                hooks.remove(self)

        hooks = []
        self.hooks, self.clock, self.free, self.lost = hooks, clock, 10_000, False
        properties = {"name": b"Card", "totalGlobalMem": 2**31, "multiProcessorCount": 3, "l2CacheSize": 2**20}
        cuda = types.SimpleNamespace(
            Event=Event,
            MemoryHook=MemoryHook,
            get_elapsed_time=lambda began, ended: 1e3 * (ended.at - began.at),
            Device=lambda: types.SimpleNamespace(id=0, synchronize=self.wait),
            runtime=types.SimpleNamespace(
                memGetInfo=lambda: (self.free, 20_000),
                getDeviceProperties=lambda _: properties,
                driverGetVersion=lambda: 13020,
                runtimeGetVersion=lambda: 13000,
            ),
        )
        block = types.SimpleNamespace(fill=lambda _: clock.advance(1))
        super().__init__(
            types.SimpleNamespace(
                cuda=cuda,
                empty=lambda *_, **__: block,
                zeros=np.zeros,
                copyto=lambda *_: clock.advance(0.5),
                get_default_memory_pool=lambda: types.SimpleNamespace(free_all_blocks=lambda: None),
                __version__="0",
            )
        )

    def wait(self):
        if self.lost:
            raise RuntimeError("an illegal memory access was encountered")

    def backend(self, precision):  # noqa: ARG002 (the reference has one)
        return REFERENCE


# ------------------------------------------------------------------------------------------------------ calls


def test_every_kernel_has_a_call():
    assert set(gpu_calls.SIGNATURES) == set(KERNELS)
    assert [made.kernel for made in calls(TINY)] == list(KERNELS)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_call_is_the_same_each_time_and_runs_in_both_dtypes(kernel):
    single, double = (call(kernel, TINY).results(REFERENCE, dtype) for dtype in (np.float32, np.float64))
    for one, other in zip(single, double, strict=True):
        assert (one.dtype, other.dtype) == (np.float32, np.float64)
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_bytes_are_those_of_every_array_once_and_of_the_changed_ones_twice():
    x, w, y = (4 * math.prod(TINY.shape(name)) for name in "xwy")
    assert call("conv2d", TINY).moved(y) == x + w + 4 * 16 + y
    assert call("conv2d_weight_grad", TINY).moved(0) == x + y + 2 * w
    assert call("leaky_relu_grad", TINY).moved(x) == 3 * x
    assert call("adam_step", TINY).moved(0) == 7 * 4 * 33
    assert call("clip_value", TINY).moved(0) == 2 * 4 * 33
    assert gpu_kernels.returned_bytes((np.zeros(3), None, np.zeros(2, np.float32))) == 32
    assert gpu_kernels.returned_bytes(None) == 0


def test_representable_numbers_have_the_mantissa_of_bfloat16():
    made = call("conv2d", TINY, representable=True)
    for array in made.arguments[:3]:
        assert not (array.view(np.uint32) & 0xFFFF).any()
        assert array.std() > 0.5


def test_no_activation_is_left_near_its_kink():
    sizes = TINY._replace(images=500)
    _, x, gamma, beta, mean, var = call("batchnorm_leaky_relu_grad", sizes).arguments
    drawn = call("batchnorm_grad", sizes).arguments[1]
    y = REFERENCE.batchnorm_frozen(*(a.astype(np.float64) for a in (x, gamma, beta, mean, var)), eps=1e-5)
    assert np.abs(y).min() > 5e-4
    assert 0 < (x != drawn).mean() < 0.01


# ------------------------------------------------------------------------------------------------------ validate


def validated(monkeypatch, engines, precisions=("tf32", "bf16", "fp32")):
    """All records, at one odd and one other size."""
    monkeypatch.setattr(gpu_validate, "ODD", (TINY._replace(name="odd"),))
    monkeypatch.setattr(gpu_validate, "timed", lambda: TINY._replace(name="timed"))
    monkeypatch.setattr(gpu_validate, "layers", lambda: [LAYER])
    return [record for _, run in gpu_validate.items(engines, precisions) for record in run()]


@pytest.mark.skipif(cuda_on_cpu.COMPILER is None, reason="no C++ compiler")
def test_the_kernels_of_the_gpu_are_right(monkeypatch):
    with fake_cupy.installed() as cupy:
        rows = validated(monkeypatch, functools.cache(Device(cupy).backend))
    assert not [row for row in rows if not row["right"]]
    assert len(rows) == 3 * (2 * len(KERNELS) + 3)
    rounded = {row["precision"]: row["error"] for row in rows if (row["kernel"], row["sizes"]) == ("conv2d", "timed")}
    assert 2e-4 < rounded["bf16"] < 2**-6
    assert 1e-5 < rounded["tf32"] < 2**-9
    assert rounded["fp32"] < 1e-6
    exact = [row["error"] for row in rows if row["kernel"] in gpu_validate.PRODUCTS and row["sizes"] == "odd"]
    assert max(exact) < 1e-6


class Wrong(ReferenceBackend):
    """Two kernels a little wrong, one of another shape, one not finite, one not there."""

    def conv2d_input_grad(self, dy, w, geometry, *, b=None):
        dx = super().conv2d_input_grad(dy, w, geometry, b=b)
        dx[-1, -1, -1, -1] *= 1.001 if dx.dtype == np.float32 else 1
        return dx

    def adam_step(self, w, dw, m, v, **options):
        super().adam_step(w, dw, m, v, **options)
        v *= np.float32(1.001)

    def tanh(self, x):
        return super().tanh(x)[:-1]

    def sigmoid(self, x):
        return np.full_like(x, np.nan)

    def maxout(self, x, *, pieces):  # noqa: ARG002
        raise RuntimeError("no such kernel")


def test_a_wrong_kernel_is_told(monkeypatch):
    monkeypatch.setattr(gpu_validate, "ODD", (TINY._replace(name="odd"),))
    found = [gpu_part.finding(item) for item in gpu_validate.items(lambda _: Wrong(), ["bf16"]) if "odd" in item[0]]
    wrong = {record["kernel"]: record["error"] for one in found for record in one.records if not record["right"]}
    assert set(wrong) == {"conv2d_input_grad", "adam_step", "tanh", "sigmoid"}
    assert wrong["adam_step"] == pytest.approx(1e-3, rel=0.1)
    assert wrong["tanh"] is wrong["sigmoid"] is None
    assert [(one.item, one.error) for one in found if one.error] == [("maxout, odd", "RuntimeError: no such kernel")]


def test_tolerances():
    assert gpu_validate.tolerance("conv2d", "bf16", odd=True) == gpu_validate.tolerance("tanh", "fp32", odd=True)
    assert gpu_validate.tolerance("conv2d", "bf16", odd=False) == pytest.approx(2**-6 + 1e-4)
    assert gpu_validate.tolerance("tanh", "bf16", odd=False) == 1e-4


def test_the_layers_that_are_timed_are_those_of_the_networks():
    """Every convolution of DCGAN, and of pix2pix each kind but the repeated and the innermost ones."""
    for name, recipe, size in (("dcgan64", DCGAN(), 64), ("dcgan128", DCGAN(), 128)):
        timed = {layer.geometry for layer in gpu_validate.layers() if layer.group == name}
        shape = (size, size, 3)
        for network, source in (
            (recipe.generator(shape), recipe.source_shape(shape)),
            (recipe.discriminator(shape), shape),
        ):
            network.build(source, rng=np.random.default_rng(0), backend="numpy")
            geometries = [layer.geometry for layer in network.layers if hasattr(layer, "geometry")]
            assert set(geometries) <= timed
    assert {layer.batch for layer in gpu_validate.layers()} == {1, 128}


# ------------------------------------------------------------------------------------------------------ the device


def test_times():
    assert Times.of([3.0, 1.0, 2.0]) == (1.0, 2.0, 3)
    assert Times.of([4.0, 1.0, 2.0, 3.0]) == (1.0, 2.5, 4)
    assert [repeats(1, one) for one in (1, 0.05, 1e-9, 0)] == [5, 20, 200, 200]
    assert version(13020) == "13.2"


def test_a_kernels_time_is_the_devices_without_what_empties_its_cache():
    device = FakeDevice()
    durations = itertools.cycle([0.25, 0.5, 1.0])
    times = device.time_kernel(lambda: device.clock.advance(next(durations)), seconds=0.0)
    assert times.calls == 5
    assert times.min == pytest.approx(0.25)
    assert times.median == pytest.approx(0.5)


def test_a_steps_time_is_the_hosts(monkeypatch):
    device = FakeDevice()
    monkeypatch.setattr("benchmarks.gpu_device.time", types.SimpleNamespace(perf_counter=lambda: device.clock.now))
    monkeypatch.setattr(device, "wait", lambda: device.clock.advance(6))
    times = device.time_steps(lambda: device.clock.advance(1), seconds=60, rounds=2)
    assert times.calls == 2
    assert times.median == pytest.approx(1 + 6 / 10)  # (3 + 6) / 3 s each at first, so ten fit into 30 s


def test_memory_is_the_peak_of_what_is_alive():
    device = FakeDevice()
    with device.watched_memory() as peak:
        (hook,) = device.hooks
        for size in (100, 50):
            hook.malloc_postprocess(mem_size=size, device_id=0)
        hook.free_postprocess(mem_size=100, device_id=0)
        hook.malloc_postprocess(mem_size=60, device_id=0)
        device.free -= 700
        assert peak() == (150, 700)
    assert not device.hooks


def test_a_device_that_is_lost():
    device = FakeDevice()
    assert not device.is_lost()
    device.lost = True
    assert device.is_lost()


def test_a_device_describes_itself():
    found = FakeDevice().describe()
    assert (found["card"], found["gib"], found["driver_cuda"], found["cuda"]) == ("Card", 2.0, "13.2", "13.0")


# ------------------------------------------------------------------------------------------------------ kernels


@pytest.fixture
def tiny(monkeypatch):
    """Small sizes, a clock that time needs no help for, and no peer."""
    monkeypatch.setattr(gpu_kernels, "layers", lambda: [LAYER])
    monkeypatch.setattr(gpu_kernels, "timed", lambda: TINY)
    monkeypatch.setattr(gpu_kernels, "COPIED", 1 << 10)
    monkeypatch.setattr(gpu_kernels, "has_torch", lambda: False)
    monkeypatch.setattr(FakeDevice, "time_kernel", lambda _, run, **__: (run(), Times(1.0, 2.0, 5))[1])


@pytest.mark.usefixtures("tiny")
def test_kernels_without_a_peer():
    times = gpu_kernels.KernelTimes(FakeDevice(), "tf32")
    found = [record for _, run in times.items() for record in run()]
    assert found[0] == {"limits": "tf32", "multiply_adds": None, "bandwidth": 2e-9 * (1 << 10)}
    assert [record["kernel"] for record in found[1:]] == [*kernels.KERNELS.values(), *gpu_kernels.MEMORY_BOUND]
    convolution, leaky = found[1], next(record for record in found if record.get("kernel") == "leaky_relu")
    assert convolution["gflop"] == pytest.approx(1e-9 * 2 * 2 * 36 * 9 * 16 * 16)
    assert convolution["share_of_limit"] is None
    assert leaky["share_of_limit"] == pytest.approx(2 * 4 * 2 * 36 * 16 / (2 * (1 << 10)) / 2.0)
    assert (leaky["seconds_min"], leaky["seconds_median"], leaky["bound_by"]) == (1.0, 2.0, "memory")
    bf16 = gpu_kernels.KernelTimes(FakeDevice(), "bf16")
    assert [name for name, _ in bf16.items()] == ["limits", "tiny 16-16@6"]


@pytest.mark.usefixtures("tiny")
def test_kernels_beside_a_peer(monkeypatch):
    def peer(layer, *, device, dtype):  # noqa: ARG001
        assert dtype == "bfloat16"

        def fails():
            raise RuntimeError("out of memory")

        return {"forward": lambda: None, "input grad": fails, "weight grad": lambda: None}

    monkeypatch.setattr(gpu_kernels, "has_torch", lambda: True)
    monkeypatch.setattr(gpu_kernels, "set_torch", lambda _: {})
    monkeypatch.setattr(kernels, "torch_calls", peer)
    monkeypatch.setattr(gpu_kernels.KernelTimes, "_product", lambda _: lambda: None)
    times = gpu_kernels.KernelTimes(FakeDevice(), "bf16")
    assert times.limits.multiply_adds == pytest.approx(2e-9 * 8192**3)
    forward, input_grad, weight_grad = times.convolutions(LAYER)
    assert forward["ratio"] == weight_grad["ratio"] == 1.0
    assert input_grad["peer_error"] == "out of memory"
    assert input_grad["share_of_limit"] == pytest.approx(18432 / 2048 / 2.0)  # bytes, at a second for 2 KiB


def test_torch_is_set_to_the_same_precision():
    torch = pytest.importorskip("torch")
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.benchmark, cudnn.allow_tf32, products.allow_tf32
    try:
        for precision, expected in (("tf32", True), ("fp32", False), ("bf16", False)):
            assert gpu_kernels.set_torch(precision)["cudnn.allow_tf32"] is expected
            assert products.allow_tf32 is expected
            assert cudnn.benchmark
    finally:
        cudnn.benchmark, cudnn.allow_tf32, products.allow_tf32 = before


# ------------------------------------------------------------------------------------------------------ steps

SMALL = {
    "small": gpu_steps.Workload(DCGAN(width=2), (8, 8, 3), 4),
    "small pairs": gpu_steps.Workload(Pix2Pix(width=2, d_width=2), (32, 32, 3), 2),
}


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(gpu_steps, "WORKLOADS", SMALL)
    monkeypatch.setattr(gpu_steps, "SECONDS", 1e-3)
    monkeypatch.setattr(gpu_steps, "ROUNDS", 1)
    monkeypatch.setattr(gpu_steps, "WARM_UPS", 1)
    monkeypatch.setattr("benchmarks.gpu_device.WARM_UPS", 1)
    monkeypatch.setattr("benchmarks.gpu_device.LEAST", 1)


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
@pytest.mark.parametrize("workload", SMALL)
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


@pytest.mark.parametrize("size", [32, 16])
def test_pix2pix_in_pytorch_is_the_same(size):
    pytest.importorskip("torch")
    from benchmarks import torch_peer

    recipe, rng = Pix2Pix(width=3, d_width=3, dropout=0.0), np.random.default_rng(0)
    shape = (size, size, 3)
    G = recipe.built_generator(shape, backend="numpy", dtype="float32", rng=rng)
    twins = torch_peer.networks(recipe, shape)
    pairs = [(G, twins[0], 3)]
    if size == 32:  # for smaller images minigan's D looks at smaller patches
        D = recipe.discriminator(shape).build((*shape[:2], 6), backend="numpy", rng=rng)
        pairs.append((D, twins[1], 6))
    for network, twin, channels in pairs:
        torch_peer.load(twin, network)
        x = rng.uniform(-1, 1, (2, size, size, channels)).astype(np.float32)
        y, _ = network.forward(x, train=True, rng=rng)
        np.testing.assert_allclose(torch_peer.nchw(y), twin(torch_peer.nchw(x)).detach(), atol=1e-5)


# ------------------------------------------------------------------------------------------------------ processes


def script(*lines):
    """The command of a process that tells three items, by a program given line by line."""
    program = "\n".join(
        [
            "import json, os, sys, time",
            "start = int(sys.argv[1])",
            "line = lambda index: json.dumps([index, [str(index), [], None, False]])",
            f"tell = lambda index: print({gpu_part.MARK!r} + line(index), flush=True)",
            *lines,
        ]
    )
    return lambda start: [sys.executable, "-c", program, str(start)]


def names(command, seconds=60.0):
    return [(finding.item, finding.error) for finding in followed(command, until=time.monotonic() + seconds)]


def test_items_are_followed_to_the_end():
    assert names(script("print('noise')", "[tell(index) for index in range(3)]")) == [(i, None) for i in "012"]


def test_what_follows_a_lost_device_goes_on_in_another_process():
    lost = script("tell(start)", f"sys.exit({gpu_part.LOST} if start < 2 else 0)")
    assert names(lost) == [(i, None) for i in "012"]


def test_an_item_that_ends_its_process_is_told_and_passed_over():
    crash = script("if start == 0: tell(0)", "if start <= 1: sys.exit('what a crash')", "tell(2)")
    assert names(crash) == [("0", None), ("item 1", "the process ended with 1: what a crash"), ("2", None)]


def test_a_part_that_only_crashes_is_given_up():
    *crashes, last = names(script("os._exit(7)"))
    assert len(crashes) == gpu_part.MOST_CRASHES
    assert last == ("item 5 and what follows", "5 processes have ended early")


def test_a_part_ends_when_its_time_is_up():
    began = time.monotonic()
    assert names(script("tell(0)", "time.sleep(60)"), seconds=1.0)[-1] == ("item 1 and what follows", "the time was up")
    assert time.monotonic() - began < 30


def test_the_process_tells_until_the_device_is_lost(capsys):
    device = FakeDevice()

    def goes_astray():
        yield {"before": 1}
        device.lost = True
        raise RuntimeError("an illegal\nmemory access")

    items = [("left out", None), ("fine", lambda: [{"found": 2}]), ("bad", goes_astray), ("never", None)]
    assert gpu_part.tell(items, device, start=1) == gpu_part.LOST
    lines = [json.loads(line.removeprefix(gpu_part.MARK)) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        [1, ["fine", [{"found": 2}], None, False]],
        [2, ["bad", [{"before": 1}], "RuntimeError: an illegal memory access", False]],
    ]


# ------------------------------------------------------------------------------------------------------ tests


def test_pytests_last_line_is_read():
    output = "..F.\n= short test summary info =\nFAILED tests/a.py::b - no\n1 failed, 12 passed, 3 skipped in 4.56s\n"
    found = summary(output, complete=True)
    assert found == {
        "complete": True,
        "passed": 12,
        "failed": 1,
        "summary": "1 failed, 12 passed, 3 skipped in 4.56s",
        "failures": ["FAILED tests/a.py::b - no"],
    }
    assert summary("2 passed, 3 errors in 1s", complete=True)["failed"] == 3
    assert not summary("3 skipped in 1s", complete=True)["complete"]
    assert not summary("", complete=True)["complete"]


def test_tests_that_are_cut_off_are_counted_by_their_dots():
    program = "import time; print('..s.FE..  [ 10%]'); print('...', flush=True); time.sleep(60)"
    found = gpu_tests(until=time.monotonic() + 1.5, command=(sys.executable, "-c", program))
    assert (found["complete"], found["passed"], found["failed"]) == (False, 8, 2)


def test_pytest_is_told_to_run_the_gpu_tests_alone():
    """The last line is there, whatever options the project gives: with a file that has none of them."""
    from benchmarks.gpu_tests import COMMAND

    found = gpu_tests(until=time.monotonic() + 60, command=(*COMMAND, "tests/test_shapes.py"))
    assert re.match(r"\d+ deselected in ", found["summary"])
    assert (found["complete"], found["passed"]) == (False, 0)


# ------------------------------------------------------------------------------------------------------ results


def step(engine, configuration, speed, memory, workload="dcgan64"):
    return {
        "workload": workload, "precision": "tf32", "batch": 128, "engine": engine, "configuration": configuration,
        "seconds_min": 1.0, "seconds_median": 1.0, "images_per_second": speed, "memory_used": memory,
        "memory_taken": memory,
    }  # fmt: skip


CHECK = {"kernel": "conv2d", "sizes": "odd", "precision": "tf32", "error": 1e-7, "tolerance": 1e-5, "right": True}
TESTED = {"complete": True, "passed": 3, "failed": 0, "summary": "3 passed in 1s", "failures": []}
CONVOLUTION = {
    "kernel": "conv2d", "sizes": "dcgan64 64-128@32", "precision": "tf32", "algorithm": "128x128", "seconds_min": 1e-4,
    "seconds_median": 1e-4, "share_of_limit": 0.5, "bound_by": "products", "peer_seconds_median": 8e-5, "ratio": 0.8,
}  # fmt: skip
STEPS = [
    step("minigan", "eager", 500, 80 << 20),
    step("minigan", "graph", 1500, 90 << 20),
    step("torch", "eager", 400, 100 << 20),
    step("torch", "channels_last compile graph", 1600, 120 << 20),
    step("minigan", "eager", 7, 10, "pix2pix, batch 1"),
]
DOCUMENT = {
    "date": "2026-01-01", "setting": {"card": "Card", "torch": "2"}, "failures": [], "validate": [CHECK],
    "tests": TESTED, "limits": {"tf32": {"multiply_adds": 4e5, "bandwidth": 3000.0}}, "kernels": [CONVOLUTION],
    "steps": STEPS,
}  # fmt: skip


def verdicts(document):
    return {target.claim.partition(" (")[0]: (target.met, target.found) for target in targets(document)}


def test_targets_met_and_missed():
    assert verdicts(DOCUMENT) == {
        "kernels that differ from the reference": (True, 0),
        "GPU tests that fail": (True, 0),
        "slowest convolution kernel tf32, of cuDNN's speed": (True, 0.8),
        "dcgan64 tf32, of PyTorch's best speed": (False, 1500 / 1600),
        "dcgan64 tf32, of PyTorch's eager speed": (True, 3.75),
        "dcgan64 tf32, memory, of PyTorch's least": (True, 0.8),
        "pix2pix, batch 1 tf32, memory, of PyTorch's least": (None, None),
    }


def test_nothing_measured_is_no_target_met():
    assert {target.met for target in targets({"failures": []})} == {None}


def failing(part, *, cut_off):
    return {**DOCUMENT, "failures": [{"part": part, "item": "tanh, odd", "error": "no", "cut_off": cut_off}]}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({**DOCUMENT, "validate": [CHECK, CHECK | {"right": False}]}, (False, 1)),
        (failing("validate", cut_off=False), (False, 1)),
        (failing("validate", cut_off=True), (None, None)),
        (failing("steps/dcgan64/tf32/torch", cut_off=False), (True, 0)),
    ],
)
def test_a_check_that_was_cut_off_proves_nothing(document, expected):
    assert verdicts(document)["kernels that differ from the reference"] == expected


@pytest.mark.parametrize(
    ("changed", "expected"),
    [({"failed": 2}, (False, 2)), ({"complete": False}, (None, None)), ({"failed": 1, "complete": False}, (False, 1))],
)
def test_tests_that_were_cut_off_prove_nothing(changed, expected):
    assert verdicts({**DOCUMENT, "tests": TESTED | changed})["GPU tests that fail"] == expected


def test_the_tables():
    broken = CHECK | {"kernel": "tanh", "right": False, "error": None}
    document = {**failing("kernels/tf32", cut_off=False), "validate": [CHECK, broken]}
    lines = list(report(document, targets(document)))
    assert "| dcgan64 64-128@32 | conv2d | tf32 | 128x128 | 100 | 50% | products | 80 | 0.8 |" in lines
    assert "| dcgan64 | tf32 | minigan graph | 1,500 | 1,000 | 0.938 | 90 | 90 |" in lines
    assert "### Kernels beside the reference: 2 comparisons, 1 wrong" in lines
    assert "- WRONG: tanh, odd, tf32: not finite" in lines
    assert "- kernels/tf32: tanh, odd: no" in lines
    assert "- measured limits, tf32: 400 TFLOP/s of cuBLAS's products, 3,000 GB/s of copies" in lines
    assert "- MISSED: dcgan64 tf32, of PyTorch's best speed (at least 1): 0.938" in lines
    assert "- not measured: pix2pix, batch 1 tf32, memory, of PyTorch's least (at most 1)" in lines
    tables = [line.count("|") for line in lines if line.startswith("|")]
    assert set(tables) == {9, 10}
    assert number("a|b") == "a/b"


@pytest.fixture
def whole(monkeypatch, tmp_path):
    """The command with all its parts in this process; gives the file, and runs it."""
    monkeypatch.setattr(gpu, "find", FakeDevice)
    monkeypatch.setattr(gpu, "gpu_tests", lambda until: TESTED)  # noqa: ARG005
    parts = []

    def here(part, *, until, quick):
        assert until > time.monotonic()
        parts.append(part)
        for item in itertools.islice(gpu_part.part_items(part, FakeDevice(), quick=quick), 2):
            yield gpu_part.finding(item)

    monkeypatch.setattr(gpu, "findings", here)
    file = tmp_path / "new" / "result.json"

    def run(*arguments):
        code = gpu.main(["--out", str(file), *arguments])
        return code, json.loads(file.read_text()), parts

    return run


@pytest.mark.usefixtures("tiny", "small")
def test_the_whole_command(whole, monkeypatch, capsys):
    monkeypatch.setattr(gpu_steps, "has_torch", lambda: False)
    monkeypatch.setattr(gpu, "WORKLOADS", SMALL)
    code, document, parts = whole("--quick")
    printed = capsys.readouterr()
    assert code == 0
    assert parts == [
        "validate",
        "kernels/tf32",
        *(f"steps/{workload}/tf32/{engine}" for workload in SMALL for engine in ("minigan", "torch")),
    ]
    assert document["format"] == "minigan-gpu-benchmark/1"
    assert document["setting"]["card"] == "Card"
    assert [len(document[name]) for name in ("validate", "kernels", "limits")] == [6, 3, 1]
    assert document["tests"] == TESTED
    assert {row["workload"] for row in document["steps"]} == set(SMALL)
    assert {row["part"] for row in document["failures"]} >= {f"steps/{name}/tf32/torch" for name in SMALL}
    assert document["targets"][0]["met"]
    assert set(document["seconds"]) == set(gpu.SECTIONS)
    assert printed.out.startswith("## Card, ")
    assert "- met: kernels that differ from the reference: 0" in printed.out.splitlines()


def test_wrong_numbers_are_the_exit_code(whole, monkeypatch):
    monkeypatch.setattr(FakeDevice, "backend", lambda *_: Wrong())
    monkeypatch.setattr(gpu_validate, "KERNELS", ("conv2d_input_grad",))
    code, document, parts = whole("--sections", "validate")
    assert (code, parts) == (1, ["validate"])
    assert not document["targets"][0]["met"]
    assert "steps" not in document


def test_when_the_time_is_up_the_rest_is_told_as_left_out(whole):
    code, document, parts = whole("--sections", "validate,kernels", "--minutes", "1e-9")
    assert (code, parts) == (0, [])
    assert [row["part"] for row in document["failures"]] == ["validate", "kernels/tf32", "kernels/bf16"]
    assert all(row["cut_off"] for row in document["failures"])
    assert [target["met"] for target in document["targets"]][:2] == [None, None]


def test_each_finding_is_written_at_once(tmp_path):
    results = gpu.Results(tmp_path / "r.json", {}, ["validate"])
    for count in (1, 2):
        results.add("validate", Finding("item", [CHECK]))
        assert len(json.loads(results.path.read_text())["validate"]) == count
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_without_a_gpu_there_is_one_line(monkeypatch, capsys):
    def none():
        raise BackendError("cupy 14 finds no GPU. Use another backend.")

    monkeypatch.setattr(gpu, "find", none)
    assert gpu.main([]) == 2
    assert capsys.readouterr() == ("", "benchmarks.gpu needs a CUDA GPU: cupy 14 finds no GPU. Use another backend.\n")


def test_options(capsys):
    assert gpu.parser().parse_args(["--sections", "tests,steps"]).sections == ["tests", "steps"]
    assert gpu.default_path("NVIDIA H100 80GB HBM3").name.endswith("-nvidia-h100-80gb-hbm3.json")
    for arguments, message in (
        (["--sections", "all"], "expected some of validate,kernels,steps,tests, got 'all'"),
        (["--minutes", "0"], "must be a positive number of seconds"),
        (["--precision", "fp8"], "invalid choice: 'fp8'"),
    ):
        with pytest.raises(SystemExit) as stop:
            gpu.main(arguments)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
