"""Updates that are not finite change nothing on the GPU, whoever wrote them: native kernels opt out of the guard."""

import itertools
from contextlib import nullcontext

import fake_cupy
import numpy as np
import pytest
from fake_cuda import DEVICE
from kernel_calls import IN_PLACE

from minigan.backends import Backend, get_backend
from minigan.backends.base import KERNELS
from minigan.backends.reference import ReferenceBackend
from minigan.backends.reference.optim import _like
from minigan.nn import SGD, Adam, AdamW, Clipping, Dense, Optimizer, RMSprop, Sequential, by_kernels

STEPS = 6


def sign_step(_backend, w, dw, momentum, *, lr):
    """A new kernel of the reference, which the GPU inherits. It knows nothing of guards."""
    momentum *= 0.9
    momentum += 0.1 * dw
    w -= _like(w, lr) * dw / (abs(dw) + 1e-8)


class WithMomentum(Optimizer):
    def __init__(self, arena, *, lr, clipping=Clipping()):  # noqa: B008 (immutable)
        super().__init__(arena, lr=lr, clipping=clipping)
        self.buffers = {"momentum": arena.zeros_like()}


class ByNewKernel(WithMomentum):
    @by_kernels("sign_step")
    def _update(self, dw, lr, step):  # noqa: ARG002
        self.arena.backend.sign_step(self.arena.flat, dw, self.buffers["momentum"], lr=lr)


class ByHand(WithMomentum):
    def _update(self, dw, lr, step):  # noqa: ARG002
        self.buffers["momentum"][...] = dw
        self.arena.flat -= _like(dw, lr) * dw


class AdamAndMore(Adam):
    """Overrides a marked `_update`."""

    def _update(self, dw, lr, step):
        super()._update(dw, lr, step)
        self.arena.flat -= 0.01 * dw


@pytest.fixture(autouse=True)
def new_kernel(monkeypatch):
    monkeypatch.setattr(ReferenceBackend, "sign_step", sign_step, raising=False)


def trained(backend: Backend, kind: type[Optimizer], *, steps: int, spoilt: int | None = None):
    """A layer after so many steps, and the first step that was not finite. Gradients are guarded, never looked at."""
    network = Sequential([Dense(3)]).build((4,), backend=backend, rng=np.random.default_rng(0))
    optimizer, grads, graphs = kind(network.arena, lr=0.5), network.gradients(), backend.step_graphs()
    data, numbers = np.random.default_rng(1), itertools.count()

    def batch():
        x = data.standard_normal((5, 4)).astype(np.float32)
        return x * np.float32(np.nan) if next(numbers) == spoilt else x

    def step():
        y, tape = network.forward(backend.feed(batch), train=True)
        grads.zero()
        network.backward(y, tape, grads=grads, need_dx=False)
        if backend.guard is not None:
            backend.guard.demand_below(grads.flat, np.inf)
        optimizer.step(grads)

    with np.errstate(invalid="ignore"):
        for _ in range(steps):
            if graphs is None:
                step()
            else:
                graphs.run((), step)
    failed = None if graphs is None else graphs.look()
    arrays = network.arena.to_dict() | {k: v for k, v in optimizer.to_dict().items() if k != "steps"}
    return failed, arrays


@pytest.mark.parametrize("kind", [ByNewKernel, ByHand, AdamAndMore, Adam, SGD])
@pytest.mark.parametrize("spoilt", [0, 1, 3], ids=["eager", "captured", "replayed"])
def test_a_step_that_is_not_finite_leaves_weights_and_buffers_untouched(device: Backend, kind, spoilt):
    failed, arrays = trained(device, kind, steps=STEPS, spoilt=spoilt)
    assert failed == spoilt
    assert DEVICE.launches == STEPS - 1
    _, wanted = trained(get_backend("reference"), kind, steps=spoilt)
    assert arrays.keys() == wanted.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, wanted[name], err_msg=name)


@pytest.mark.parametrize("kind", [ByNewKernel, ByHand, AdamAndMore])
def test_and_the_same_steps_without_a_spoilt_one_are_taken(device: Backend, kind):
    failed, arrays = trained(device, kind, steps=STEPS)
    assert failed is None
    _, wanted = trained(get_backend("reference"), kind, steps=STEPS)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, wanted[name], err_msg=name)


def test_native_kernels_opt_out():
    """Kernels that check the guard themselves are marked; `test_gpu_passes` shows that each does check it."""
    with fake_cupy.installed():
        backend = get_backend("gpu")
        marked = {name for name in KERNELS if getattr(getattr(type(backend), name), "looks_at_guard", False)}
        assert marked == set(IN_PLACE)
        for kind in (Adam, AdamW, SGD, RMSprop):
            kernels = kind._update.kernels
            assert isinstance(backend.optimizing(kernels=(*kernels, "clip_value")), nullcontext), "copies nothing"
            assert not isinstance(backend.optimizing(kernels=(*kernels, "sign_step")), nullcontext)
        assert not isinstance(backend.optimizing(), nullcontext)


def test_an_override_that_is_not_marked_is_guarded(monkeypatch):
    with fake_cupy.installed():
        backend = get_backend("gpu")
        monkeypatch.setattr(type(backend), "clip_value", ReferenceBackend.clip_value, raising=False)
        assert not isinstance(backend.optimizing(kernels=("adam_step", "clip_value")), nullcontext)


def test_clipped_weights_count_among_the_kernels(device: Backend, monkeypatch):
    asked = []
    monkeypatch.setattr(
        type(device), "optimizing", lambda _, *arrays, kernels=(): asked.append((len(arrays), kernels)) or nullcontext()
    )
    network = Sequential([Dense(3)]).build((4,), backend=device, rng=np.random.default_rng(0))
    for kind, clipping in ((SGD, Clipping()), (SGD, Clipping(weights=0.1)), (ByHand, Clipping(weights=0.1))):
        kind(network.arena, lr=0.1, clipping=clipping).step(network.gradients())
    assert asked == [(2, ("sgd_step",)), (2, ("sgd_step", "clip_value")), (2, ())]
