"""The checker itself: it must find planted mistakes, name the layer, and pass what is right."""

# ruff: noqa: ARG002 (a layer has the signature of its base)

import numpy as np
import pytest

from minigan.errors import DTypeError
from minigan.nn import gradcheck
from minigan.nn.gradcheck import check_backward, check_double_backward, check_gradient, check_network
from minigan.nn.layers import BatchNorm, Conv2D, Dense, Flatten, Layer, LeakyReLU, ReLU, Sigmoid, Tanh
from minigan.nn.network import Residual, Sequential


class TanhTooSteep(Tanh):
    """dx 0.1 % too large."""

    def gradient(self, dy, y):
        return 1.001 * super().gradient(dy, y)


class TanhWithoutCurvature(Tanh):
    """The mistake of treating a smooth activation as piecewise linear."""

    def double_backward(self, v, record, cache, *, grads):
        return self.gradient(v, cache.y), None


class SigmoidOfTheWrongSign(Sigmoid):
    def double_backward(self, v, record, cache, *, grads):
        ddy, ddx = super().double_backward(v, record, cache, grads=grads)
        return ddy, -ddx


class DenseOverwriting(Dense):
    """Loses what other passes left in the destination."""

    def backward(self, dy, cache, *, grads, need_dx=True):
        if grads is not None:
            grads[self.b].fill(0)
        return dy @ self.w.value.T if need_dx else None


class DenseForgettingW(Dense):
    """dP/dw is missing."""

    def double_backward(self, v, record, cache, *, grads):
        return super().double_backward(v, record, cache, grads=None)


class BatchNormWithConstantStatistics(BatchNorm):
    """The mistake of not differentiating through the batch's mean and variance."""

    def backward(self, dy, cache, *, grads, need_dx=True):
        return super().backward(dy, cache._replace(train=False), grads=grads, need_dx=need_dx)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def vector_network(layer: Layer, *, dtype: str = "float64") -> Sequential:
    net = Sequential([Dense(4), layer, Dense(3), LeakyReLU(0.2)], name="D")
    return net.build((5,), backend="reference", dtype=dtype, rng=rng())


def batch() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(6, 5))


def found(network: Sequential) -> set[tuple[str, str]]:
    return {(c.path, c.what) for c in check_network(network, batch(), rng=rng()) if not c.passed}


@pytest.mark.parametrize("layer", [Tanh(), Sigmoid(), BatchNorm(), Dense(4), LeakyReLU(), Residual([Dense(4)])])
def test_right_layers_pass(layer: Layer):
    assert found(vector_network(layer)) == set()


@pytest.mark.parametrize(
    ("layer", "what"),
    [
        (TanhTooSteep(), "dx"),
        (TanhWithoutCurvature(), "dP/dx"),
        (SigmoidOfTheWrongSign(), "dP/dx"),
        (DenseOverwriting(4), "d(w)"),
        (DenseOverwriting(4), "d(b)"),
        (DenseForgettingW(4), "dP/d(w)"),
        (BatchNormWithConstantStatistics(), "dx"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_wrong_layer_is_named(layer: Layer, what: str):
    failures = found(vector_network(layer))
    name = f"D.1.{type(layer).__name__}"
    assert (name, what) in failures
    assert {path for path, _ in failures} <= {name, "D"}


@pytest.mark.parametrize("layer", [Tanh(), TanhTooSteep(), SigmoidOfTheWrongSign(), DenseForgettingW(4)])
def test_a_network_of_many_small_arrays_is_checked_along_one_direction_each(layer: Layer, monkeypatch):
    monkeypatch.setattr(gradcheck, "EVERY_AXIS", 64)
    monkeypatch.setattr(gradcheck, "MOST_AXES", 80)  # the network has more, a layer fewer
    tried = []
    directions = gradcheck._directions
    monkeypatch.setattr(gradcheck, "_directions", lambda *given: tried.append(given[2]) or directions(*given))
    paths = {path for path, _ in found(vector_network(layer))}
    assert set(tried) == {False, True}
    assert ("D" in paths) == (type(layer) is not Tanh)


def test_in_a_network_of_images():
    net = Sequential([Conv2D(2, 3), BatchNorm(), TanhTooSteep(), Flatten(), Dense(1)], name="D")
    net.build((4, 4, 1), backend="reference", dtype="float64", rng=rng())
    failed = [c for c in check_network(net, rng().normal(size=(3, 4, 4, 1)), rng=rng()) if not c.passed]
    assert {c.path for c in failed} <= {"D.2.TanhTooSteep", "D"}
    first = failed[0]
    assert first.what == "dx"
    assert first.error == pytest.approx(1e-3, rel=0.1)
    assert str(first).startswith("FAIL D.2.TanhTooSteep dx: relative error 1.0e-03")


def test_every_gradient_of_every_layer_is_reported():
    checks = list(check_network(vector_network(Tanh()), batch(), rng=rng()))
    reported = {(c.path, c.what) for c in checks}
    for path in ("D.0.Dense", "D.2.Dense"):
        assert {(path, w) for w in ("dx", "d(w)", "d(b)", "dP/d(dy)", "dP/dx", "dP/d(w)", "dP/d(b)")} <= reported
    assert {("D.1.Tanh", "dx"), ("D", "dx"), ("D", "d(0.w)"), ("D", "dP/d(2.w)")} <= reported
    assert all(str(c).startswith("ok") for c in checks)


def test_weights_and_batch_are_as_before():
    net, x = vector_network(Tanh()), batch()
    weights = net.arena.flat.copy()
    list(check_network(net, x, rng=rng()))
    assert (net.arena.flat == weights).all()
    assert (x == batch()).all()


def test_nan_fails():
    net = vector_network(Tanh())
    net.layers[0].w.value[0, 0] = np.nan
    assert all(not c.passed for c in check_backward(net, batch(), rng=rng()))


@pytest.mark.parametrize("size", [5, 200])
@pytest.mark.parametrize("side", [1, -1])
def test_next_to_a_kink_the_gradient_of_its_side_is_right_and_no_other(size: int, side: int):
    """2e-9 from the kink of |a|, closer than any step."""
    a = np.random.default_rng(0).choice([-1.0, 1.0], size)
    a[2] = side * 2e-9

    def passed(gradient: np.ndarray) -> bool:
        rng = np.random.default_rng(1)
        return check_gradient(
            lambda: float(np.abs(a).sum()), a, gradient, path="abs", what="dx", rng=rng, scale=float(size)
        ).passed

    right, wrong = np.sign(a), np.sign(a)
    assert passed(right)
    wrong[2] = 0  # the central difference's own answer
    assert not passed(wrong)
    assert not passed(1.001 * right)


def test_a_relu_next_to_its_kink_passes_in_both_orders():
    network = Sequential([Dense(6), ReLU(), Dense(4)], name="N")
    network.build((5,), backend="reference", dtype="float64", rng=np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(3, 5))
    dense = network[0]
    dense.b.value[2] -= dense.forward(x, train=True)[0][1, 2] - 2e-9
    for check in (check_backward, check_double_backward):
        assert all(found.passed for found in check(network, x, rng=np.random.default_rng(2)))


def test_a_large_array_is_checked_along_its_gradient():
    """A wrong scale of a gradient with many numbers must not hide behind random directions."""
    a = np.random.default_rng(2).normal(size=(100, 100))
    weights = np.random.default_rng(3).normal(size=a.shape)

    def P() -> float:
        return float((a * weights).sum())

    good = check_gradient(P, a, weights, path="x", what="dx", rng=rng())
    bad = check_gradient(P, a, 1.001 * weights, path="x", what="dx", rng=rng())
    assert good.passed
    assert not bad.passed
    assert bad.error == pytest.approx(1e-3, rel=0.05)


@pytest.mark.parametrize("check", [check_backward, check_double_backward])
def test_float32_is_refused_with_the_remedy(check):
    for layer in (vector_network(Tanh(), dtype="float32"), Dense(3).build((5,), backend="reference", rng=rng())):
        for dtype in ("float32", "float64"):
            with pytest.raises(DTypeError, match=r"need float64, got float32\. Build with dtype='float64'"):
                check(layer, batch().astype(dtype), rng=rng())


def test_a_float32_network_is_refused_as_well():
    with pytest.raises(DTypeError, match=r"need float64, got float32\. Build with dtype='float64'"):
        list(check_network(vector_network(Tanh(), dtype="float32"), batch(), rng=rng()))
