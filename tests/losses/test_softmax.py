"""Softmax cross-entropy: its value and its gradient."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan.errors import ConfigError, DTypeError, ShapeError
from minigan.losses import softmax_cross_entropy


@given(seed=st.integers(0, 10**6), n=st.integers(1, 5), k=st.integers(1, 6))
def test_the_gradient_is_that_of_finite_differences(seed, n, k):
    rng = np.random.default_rng(seed)
    logits, labels, v = rng.standard_normal((n, k)), rng.integers(k, size=n), rng.standard_normal((n, k))
    value, gradient = softmax_cross_entropy(logits, labels)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert value == pytest.approx(-np.log(p[np.arange(n), labels]).mean(), abs=1e-12)
    above, below = (softmax_cross_entropy(logits + step * v, labels)[0] for step in (1e-5, -1e-5))
    assert (gradient * v).sum() == pytest.approx((above - below) / 2e-5, rel=1e-6, abs=1e-8)


def test_it_is_torchs():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    logits, labels = 5 * rng.standard_normal((7, 10)).astype(np.float32), rng.integers(10, size=7)
    value, gradient = softmax_cross_entropy(logits, labels)
    x = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(x, torch.tensor(labels))
    loss.backward()
    assert value == pytest.approx(loss.item(), rel=1e-5)
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient, x.grad.numpy(), atol=1e-6)


def test_large_logits_do_not_overflow():
    value, gradient = softmax_cross_entropy(np.array([[1e4, -1e4], [-1e4, 1e4]]), np.array([0, 0]))
    assert value == pytest.approx(1e4)
    np.testing.assert_allclose(gradient, [[0, 0], [-0.5, 0.5]])
    assert softmax_cross_entropy(np.zeros((3, 4)), np.zeros(3, int))[0] == pytest.approx(math.log(4))


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (np.zeros(3, int), ShapeError, "Give one label a row"),
        (np.zeros(2), DTypeError, "expected integer labels, got float64"),
        (np.array([0, 4]), ConfigError, "expected labels from 0 to 3, got 0 to 4"),
    ],
)
def test_labels_that_do_not_fit(labels, error, message):
    with pytest.raises(error, match=message):
        softmax_cross_entropy(np.zeros((2, 4)), labels)
