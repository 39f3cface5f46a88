"""Error of a penalty's gradient if the third sweep is forgotten, by activation."""

from typing import Any

import numpy as np
from drawing import Axis, bars

from minigan.nn import BatchNorm, Dense, Layer, LeakyReLU, Sequential, Sigmoid, Tanh

NAME = "third-sweep"


def measure(short: bool = False) -> tuple[dict[str, Any], dict[str, bytes]]:  # noqa: ARG001 (it is quick)
    """Relative error of dP/dw against central differences, with three sweeps and with two; P = sum |dx|² / 2."""
    makers = {"LeakyReLU": LeakyReLU, "tanh": Tanh, "sigmoid": Sigmoid, "BatchNorm, tanh": _normalized}
    return {name: _errors(maker()) for name, maker in makers.items()}, {}


def _normalized() -> Sequential:
    return Sequential([BatchNorm(), Tanh()])


def _errors(middle: Layer) -> dict[str, float]:
    net = Sequential([Dense(6), middle, Dense(5), LeakyReLU(0.2), Dense(1)], name="D")
    rng = np.random.default_rng(0)
    net.build((3,), backend="reference", dtype="float64", rng=rng)
    x, weights = rng.normal(size=(8, 3)), net.arena.flat

    def penalty() -> float:
        s, tape = net.forward(x, train=True)
        return float((net.backward(np.ones_like(s), tape, grads=None) ** 2).sum() / 2)

    numeric = np.zeros(len(weights))
    for i in range(len(weights)):
        kept, h = weights[i], 1e-6
        values = []
        for moved in (kept + h, kept - h):
            weights[i] = moved
            values.append(penalty())
        weights[i] = kept
        numeric[i] = (values[0] - values[1]) / (2 * h)

    def error(gradient: np.ndarray) -> float:
        return float(np.linalg.norm(gradient - numeric) / np.linalg.norm(numeric))

    s, tape = net.forward(x, train=True)
    dx, record = net.backward_recorded(np.ones_like(s), tape)
    whole, up = net.gradients(), net.gradients()
    net.double_backward(dx, record, tape, grads=whole)
    v, caches = dx, tape.caches(net)
    for layer, part, cache in zip(net, record, caches, strict=True):  # the up-sweep alone
        v, _ = layer.double_backward(v, part, cache, grads=up)
    return {"three sweeps": error(whole.flat), "without the third": error(up.flat)}


def draw(numbers: dict[str, Any]) -> dict[str, str]:
    x = Axis("relative error of dP/dw against central differences", 0, 1)
    return {f"{NAME}.svg": bars("A penalty's gradient with and without the third sweep", numbers, x)}


def told(numbers: dict[str, Any]) -> list[str]:
    tanh, sigmoid, normalized = (numbers[name]["without the third"] for name in ("tanh", "sigmoid", "BatchNorm, tanh"))
    return [f"{tanh:.0%} for tanh", f"{sigmoid:.0%} for the sigmoid", f"{normalized:.0%} with BatchNorm"]
