"""Sizes at which the benchmark's sections take no time."""

import pytest
from fake_device import LAYER, SMALL, TINY, FakeDevice

from benchmarks import gpu_kernels, gpu_steps
from benchmarks.gpu_device import Times


@pytest.fixture
def tiny(monkeypatch):
    """Small sizes, a clock that time needs no help for, and no peer."""
    monkeypatch.setattr(gpu_kernels, "layers", lambda: [LAYER])
    monkeypatch.setattr(gpu_kernels, "timed", lambda: TINY)
    monkeypatch.setattr(gpu_kernels, "COPIED", 1 << 10)
    monkeypatch.setattr(gpu_kernels, "has_torch", lambda: False)
    monkeypatch.setattr(FakeDevice, "time_kernel", lambda _, run, **__: (run(), Times(1.0, 2.0, 5))[1])


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(gpu_steps, "WORKLOADS", SMALL)
    monkeypatch.setattr(gpu_steps, "SECONDS", 1e-3)
    monkeypatch.setattr(gpu_steps, "ROUNDS", 1)
    monkeypatch.setattr(gpu_steps, "WARM_UPS", 1)
    monkeypatch.setattr("benchmarks.gpu_device.WARM_UPS", 1)
    monkeypatch.setattr("benchmarks.gpu_device.LEAST", 1)
