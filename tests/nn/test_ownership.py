"""A built network keeps its layers, and its gradients are its own."""

from types import SimpleNamespace

import numpy as np
import pytest

from minigan.errors import ConfigError, NotBuiltError
from minigan.nn import Adam, Dense, Residual, Sequential, Tanh

REFERENCE = {"backend": "reference"}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def built(name: str = "D", features: int = 4) -> Sequential:
    return Sequential([Dense(features), Tanh(), Dense(1)], name=name).build((5,), **REFERENCE, rng=rng())


X = rng(1).standard_normal((3, 5)).astype(np.float32)
DY = np.ones((3, 1), np.float32)


@pytest.mark.parametrize(
    "borrower",
    [
        lambda D: D[:-1],
        lambda D: D[0],
        lambda D: D[1],  # without parameters, but with shapes
        lambda D: Sequential([D[0], D[1]], name="N"),
        lambda D: Sequential([D, Dense(3)], name="N"),
        lambda D: Sequential([Residual([D[1]])], name="N"),
        lambda D: D.behind([Dense(5)]),
    ],
)
def test_a_layer_of_a_built_network_is_not_built_again_by_another(borrower):
    D = built()
    before = D.forward(X, train=True)[0]
    with pytest.raises(ConfigError, match=r"the built network 'D' runs it.*Make new layers.*copy\.deepcopy\(net\)"):
        borrower(D).build((5,), **REFERENCE, rng=rng(2))
    np.testing.assert_array_equal(D.forward(X, train=True)[0], before)


def test_layers_are_free_once_their_network_is_gone_or_has_given_them_away():
    D = built()
    layers = D.layers
    del D
    N = Sequential(layers[:2], name="N").build((5,), **REFERENCE, rng=rng())
    given_away = N.layers.pop(0)
    given_away.build((7,), **REFERENCE, rng=rng())
    assert given_away.input_shape == (7,)


def test_a_network_may_be_built_again_and_a_build_that_failed_owns_nothing():
    D = built()
    D.build((6,), **REFERENCE, rng=rng())
    N = Sequential([Dense(2), Residual([Dense(3)])], name="N")
    with pytest.raises(ValueError, match="shortcut"):
        N.build((5,), **REFERENCE, rng=rng())
    Sequential([N[0]], name="M").build((5,), **REFERENCE, rng=rng())


def test_a_slice_of_a_network_that_was_built_again_says_so():
    D = built()
    front = D[:-1]
    D.build((5,), **REFERENCE, rng=rng(3))
    with pytest.raises(NotBuiltError, match="Take the slice anew"):
        front.forward(X, train=True)


def test_gradients_of_another_network_are_refused_in_one_line():
    D, G = built(), built("G", features=7)
    y, tape = D.forward(X, train=True)
    with pytest.raises(ConfigError, match=r"^D: these gradients are of another network.*grads=D\.gradients\(\)"):
        D.backward(DY, tape, grads=G.gradients())
    _, record = D.backward_recorded(DY, tape)
    with pytest.raises(ConfigError, match=r"^D: these gradients are of another network"):
        D.double_backward(X, record, tape, grads=G.gradients())
    _, cache = D[0].forward(X, train=True)
    with pytest.raises(ConfigError, match=r"no w \(5, 4\) here.*net\.gradients\(\)"):
        D[0].backward(np.ones((3, 4), np.float32), cache, grads=G.gradients())
    assert y.shape == (3, 1)


def test_gradients_and_optimizers_from_before_a_rebuild_are_refused_in_one_line():
    D = built()
    grads, optimizer = D.gradients(), Adam(D.arena, lr=0.1)
    D.build((5,), **REFERENCE, rng=rng())
    _, tape = D.forward(X, train=True)
    with pytest.raises(ConfigError, match=r"from before D was built again.*make its optimizer anew"):
        D.backward(DY, tape, grads=grads)
    with pytest.raises(ConfigError, match="the network was built again"):
        optimizer.step(D.gradients())


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda at: at.D.backward(at.y, None, grads=None), r"expected the tape.*got None.*y, tape = D\.forward"),
        (lambda at: at.D.backward(at.tape, at.y, grads=None), r"expected the tape.*got an array"),
        (lambda at: at.D.commit_statistics(at.y), r"expected the tape.*got an array"),
        (lambda at: at.D.backward_recorded(at.y, 3), r"expected the tape.*got 3"),
        (lambda at: at.D.backward(at.y, at.tape, grads=3), r"expected gradients or None, got 3.*D\.gradients\(\)"),
        (lambda at: at.D.backward(at.y, at.tape, grads=np.zeros(3)), r"expected gradients or None, got an array"),
        (lambda at: at.D.gradients()["w"], r"expected a parameter in brackets, got 'w'"),
        (lambda at: at.D.gradients()[[1]], r"expected a parameter in brackets"),
    ],
)
def test_what_is_no_tape_or_no_gradients_is_refused_in_one_line(call, says):
    D = built()
    y, tape = D.forward(X, train=True)
    with pytest.raises(ConfigError, match=says):
        call(SimpleNamespace(D=D, y=y, tape=tape))


def test_an_unbuilt_network_says_so_before_its_tape_is_looked_at():
    with pytest.raises(NotBuiltError, match="not built"):
        Sequential([Dense(3)], name="G").backward(DY, None, grads=None)
