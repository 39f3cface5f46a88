"""Times and memory of a device whose clock the tests move, and the kernels measured with it."""

import itertools
import types

import pytest
from fake_device import LAYER, FakeDevice

from benchmarks import gpu_kernels, kernels
from benchmarks.gpu_device import Times, repeats, version


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
