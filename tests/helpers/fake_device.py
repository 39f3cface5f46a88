"""A device that tests move by hand, and small sizes."""

import types

import numpy as np

from benchmarks import gpu_steps, kernels
from benchmarks.gpu_calls import Sizes
from benchmarks.gpu_device import Device
from minigan.backends.geometry import conv_geometry
from minigan.backends.reference import ReferenceBackend
from minigan.recipes import DCGAN
from minigan.recipes.pix2pix import Pix2Pix

# Sizes for which the GPU's kernels are compiled once in each precision.
TINY = Sizes("tiny", 2, conv_geometry((6, 6, 16), 16, (3, 3), (1, 1), 1), (4, 32, 16), 33)
LAYER = kernels.Layer("tiny", "16-16@6", 2, TINY.geometry)
REFERENCE = ReferenceBackend()
SMALL = {
    "small": gpu_steps.Workload(DCGAN(width=2), (8, 8, 3), 4),
    "small pairs": gpu_steps.Workload(Pix2Pix(width=2, d_width=2), (32, 32, 3), 2),
}


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

    def oracle(self):
        return REFERENCE


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
