"""Observers: what a network tells of its walk, to whom, and that telling changes no bit."""

import itertools

import numpy as np
import pytest

from minigan.backends import Backend
from minigan.errors import ShapeError
from minigan.nn.initializers import Normal
from minigan.nn.layers import (
    BatchNorm,
    ConcatCondition,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LeakyReLU,
    SelfAttention,
    SpectralNorm,
    Tanh,
)
from minigan.nn.network import Observer, Parallel, Pass, Residual, Sequential, SkipConcat
from minigan.nn.network.inpainting import Inpainting

N = 3
INIT = Normal(0.3)


class Diary(Observer):
    """Notes all that it is told."""

    def __init__(self) -> None:
        self.began: list[Pass] = []
        self.ended: list[Pass] = []
        self.lines: list[str] = []

    def before(self, now: Pass) -> None:
        self.began.append(now)
        self.lines.append(f"{now.kind} of {now.path}")

    def after(self, now: Pass) -> None:
        self.ended.append(now)
        self.lines.append(f"{now.path} done")

    def order(self, kind: str) -> list[str]:
        """The paths of passes of that kind, as they ended."""
        return [now.path for now in self.ended if now.kind == kind]


def nested() -> list[Layer]:
    """All that holds networks, and layers that run as one."""
    return [
        Conv2D(4, 3, init=INIT),
        BatchNorm(),
        LeakyReLU(),
        Residual([Conv2D(4, 3, init=INIT), Tanh()], shortcut=[SpectralNorm(Conv2D(4, 1, init=INIT))]),
        SkipConcat([Conv2D(2, 3, init=INIT), Sequential([LeakyReLU(), Dropout(0.3)])]),
        Inpainting([Conv2D(5, 3, init=INIT)]),
        SelfAttention(2, init=INIT),
        Parallel([[Flatten(), Dense(2, init=INIT), LeakyReLU()], [Flatten(), Dense(1, init=INIT), Tanh()]]),
    ]


def built(backend: Backend, layers: list[Layer] | None = None, *, shape=(4, 4, 1), fuse: bool = True) -> Sequential:
    net = Sequential(nested() if layers is None else layers, name="D")
    return net.build(shape, backend=backend, rng=np.random.default_rng(0), fuse=fuse)


def images(backend: Backend):
    return backend.asarray(np.random.default_rng(1).normal(size=(N, 4, 4, 1)).astype(np.float32))


def all_passes(net: Sequential, x) -> list:
    """Every array that the four passes give."""
    grads, double = net.gradients(), net.gradients()
    y, tape = net.forward(x, train=True, rng=np.random.default_rng(2))
    dx = net.backward(y, tape, grads=grads)
    slope, record = net.backward_recorded(net.kernels.xp.ones_like(y), tape)
    ddy, ddx = net.double_backward(slope, record, tape, grads=double)
    return [y, dx, slope, ddy, ddx, grads.flat, double.flat]


def test_observing_changes_no_bit(backend: Backend):
    net, x = built(backend), images(backend)
    alone, diary = all_passes(net, x), Diary()
    with net.observed(diary):
        observed = all_passes(net, x)
    for one, other in zip(alone, observed, strict=True):
        assert backend.to_numpy(one).tobytes() == backend.to_numpy(other).tobytes()
    assert {now.kind for now in diary.ended} == {
        "forward", "backward", "backward_recorded", "double_backward", "double_backward_down",
    }  # fmt: skip


def test_passes_nest_as_networks_do(backend: Backend):
    net, diary = built(backend, [Residual([Flatten(), Dense(16)], shortcut=[Flatten()]), Dense(1)]), Diary()
    with net.observed(diary):
        y, tape = net.forward(images(backend), train=True)
        net.backward(y, tape, grads=None)
    assert diary.lines == [
        "forward of D.0.Residual",
        *["forward of D.0.Residual.inner.0.Flatten", "D.0.Residual.inner.0.Flatten done"],
        *["forward of D.0.Residual.inner.1.Dense", "D.0.Residual.inner.1.Dense done"],
        *["forward of D.0.Residual.shortcut.0.Flatten", "D.0.Residual.shortcut.0.Flatten done"],
        *["D.0.Residual done", "forward of D.1.Dense", "D.1.Dense done"],
        *["backward of D.1.Dense", "D.1.Dense done", "backward of D.0.Residual"],
        *["backward of D.0.Residual.inner.1.Dense", "D.0.Residual.inner.1.Dense done"],
        *["backward of D.0.Residual.inner.0.Flatten", "D.0.Residual.inner.0.Flatten done"],
        *["backward of D.0.Residual.shortcut.0.Flatten", "D.0.Residual.shortcut.0.Flatten done"],
        "D.0.Residual done",
    ]


def test_every_network_inside_tells(backend: Backend):
    net, diary = built(backend, fuse=False), Diary()
    with net.observed(diary):
        all_passes(net, images(backend))
    told = {layer for now in diary.ended for layer in now.layers}
    networks = [layer for _, layer in net.walk() if isinstance(layer, Sequential)]
    assert told == {layer for network in networks for layer in network.layers}
    assert {now.network for now in diary.ended} == set(networks)
    for kind in ("backward_recorded", "double_backward"):
        assert set(diary.order(kind)) == {layer.path for layer in told}


def test_layers_that_run_as_one_are_one_pass(backend: Backend):
    diaries = []
    for fuse in (True, False):
        net, diary = built(backend, [Conv2D(2, 3), BatchNorm(), LeakyReLU(), Flatten(), Dense(1)], fuse=fuse), Diary()
        with net.observed(diary):
            y, tape = net.forward(images(backend), train=True)
            net.backward(y, tape, grads=net.gradients(), need_dx=False)
        diaries.append(diary)
    fused, apart = diaries
    assert [now.layers for now in fused.ended if now.kind == "forward"][1] == tuple(net_layers(fused))[1:3]
    assert fused.order("forward") == ["D.0.Conv2D", "D.1.BatchNorm", "D.3.Flatten", "D.4.Dense"]
    assert apart.order("forward") == ["D.0.Conv2D", "D.1.BatchNorm", "D.2.LeakyReLU", "D.3.Flatten", "D.4.Dense"]
    assert apart.order("backward") == apart.order("forward")[::-1]


def net_layers(diary: Diary) -> list[Layer]:
    return diary.ended[0].network.layers


def test_the_arrays_are_those_of_the_pass(backend: Backend):
    net, diary, x = built(backend, [Dense(4, init=INIT), Tanh(), Dense(1, init=INIT)], shape=(2,)), Diary(), None
    x = backend.asarray(np.random.default_rng(1).normal(size=(N, 2)).astype(np.float32))
    grads = net.gradients()
    with net.observed(diary):
        y, tape = net.forward(x, train=True)
        caches = tape.caches(net)
        net.backward(y, tape, grads=grads, need_dx=False)
        slope, record = net.backward_recorded(y, tape)
        ddy, ddx = net.double_backward(slope, record, tape, grads=None)
    assert diary.began[0].given is x
    assert diary.began[0].result is None
    by_kind = {kind: [now for now in diary.ended if now.kind == kind] for kind in {now.kind for now in diary.ended}}
    forward = by_kind["forward"]
    assert forward[-1].result is y
    assert all(one.result is other.given for one, other in itertools.pairwise(forward))
    assert [now.cache for now in forward] == [(cache,) for cache in caches]
    backward = by_kind["backward"]
    assert backward[0].given is y
    assert backward[-1].result is None, "no dx was wanted"
    assert all(now.grads is grads for now in backward)
    assert by_kind["backward_recorded"][-1].result is slope
    double = by_kind["double_backward"]
    assert double[0].given is slope
    assert double[-1].result is ddy
    assert [now.curvature is None for now in double] == [True, False, True]
    assert all(now.grads is None for now in double)
    assert [now.path for now in by_kind["double_backward_down"]] == ["D.0.Dense"]
    assert by_kind["double_backward_down"][0].result is ddx


def test_conditioned_copies_tell_too_and_only_meanwhile(backend: Backend):
    net = built(backend, [ConcatCondition((2,)), Residual([Dense(4)]), Dense(1)], shape=(2,))
    x = backend.asarray(np.ones((N, 2), np.float32))
    before, diary = net.given(x), Diary()
    with net.observed(diary):
        assert net.is_observed
        inside = net.given(x)
        for copy in (before, inside):
            copy.forward(x, train=True)
    assert diary.order("forward") == [
        "D.0.ConcatCondition", "D.1.Residual.inner.0.Dense", "D.1.Residual", "D.2.Dense",
    ] * 2  # fmt: skip
    assert not net.is_observed
    for copy in (before, inside, net.given(x)):
        copy.forward(x, train=True)
    assert len(diary.ended) == 8


def test_one_observer_at_a_time(backend: Backend):
    net, x, outer, inner = built(backend), images(backend), Diary(), Diary()
    with net.observed(outer):
        with net.observed(inner):
            net.forward(x, train=True, rng=np.random.default_rng(0))
        assert not outer.ended
        assert inner.ended
        heard = len(inner.ended)
        net.forward(x, train=True, rng=np.random.default_rng(0))
    assert len(inner.ended) == heard
    assert outer.order("forward") == inner.order("forward")


def test_an_error_ends_the_observation(backend: Backend):
    net, diary = built(backend), Diary()
    with pytest.raises(ShapeError), net.observed(diary):
        net.forward(images(backend)[:, 1:], train=True)
    assert not net.is_observed
    net.forward(images(backend), train=True, rng=np.random.default_rng(0))
    assert not diary.began
