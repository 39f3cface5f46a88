"""Everything public can be explained, and its worked example is right: computed, checked, and refused if wrong."""

import inspect

import numpy as np
import pytest
from layer_cases import CASES

import minigan.inspection as inspection
from minigan import losses, nn
from minigan.backends.base import KERNELS
from minigan.errors import GradientCheckError
from minigan.inspection import LayerTrial, Theory, describe, explain
from minigan.inspection.kernel_examples import AT_WORK, OWN
from minigan.inspection.theory import _TABLE, example_of, source_of, theory_of
from minigan.inspection.topics import topic_named, topics
from minigan.losses import LOSSES, PENALTIES, AdversarialLoss, CoupledLoss, GradientPenalty
from minigan.nn import Dense, Layer, Optimizer, Tanh

TOPICS = [topic for topic in topics() if topic.kind not in ("recipe", "kernel", "guide")]
each_topic = pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)


def public(room, *bases):
    values = (getattr(room, name) for name in room.__all__)
    return {v for v in values if isinstance(v, type) and issubclass(v, bases) and not inspect.isabstract(v)}


def test_nothing_public_is_forgotten():
    """A new layer, loss, penalty or optimizer needs an entry, and with it its formulas and an example."""
    things = {topic.thing for topic in TOPICS}
    wanted = public(nn, Layer, Optimizer) | public(losses, AdversarialLoss, CoupledLoss, GradientPenalty)
    wanted |= {*LOSSES.values(), *PENALTIES.values()}
    wanted |= {type(layer) for case in CASES.values() for _, layer in case.make().walk()}  # also those not exported
    functions = {getattr(losses, name) for name in losses.__all__ if inspect.isfunction(getattr(losses, name))}
    assert wanted <= things
    assert functions - things == {losses.get_loss, losses.get_penalty, losses.probability}
    assert things <= set(_TABLE)


@each_topic
def test_its_theory_is_whole(topic):
    theory = theory_of(topic.thing)
    assert theory.does.endswith(".")
    assert theory.forward
    assert theory.backward or topic.kind == "optimizer"
    assert theory.double_backward or topic.kind in ("loss", "optimizer")
    assert source_of(topic.thing)
    assert example_of(topic.thing) is not None


@each_topic
def test_its_example_is_checked(topic):
    worked = example_of(topic.thing)().run()
    assert worked.checks
    assert all(check.passed and check.error < 1e-5 for check in worked.checks)
    assert all(np.isfinite(array).all() for array in worked.arrays.values())


def test_a_layers_example_checks_every_gradient():
    worked = example_of(nn.BatchNorm)().run()
    assert [check.what for check in worked.checks] == [
        *("dx", "d(gamma)", "d(beta)"),
        *("dP/d(dy)", "dP/dx", "dP/d(gamma)", "dP/d(beta)"),
    ]
    assert worked.kernels == ("batchnorm", "batchnorm_grad", "batchnorm_double_grad")


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernels_example_calls_it(kernel):
    assert (kernel in OWN) != (kernel in AT_WORK)
    make = OWN[kernel] if kernel in OWN else example_of(AT_WORK[kernel])
    assert kernel in make().run().kernels


class Wrong(Tanh):
    """Tanh with a wrong derivative."""

    def gradient(self, dy, y):
        return dy * (1 - y)


class Unruly(Tanh):
    """Tanh with a wrong second derivative."""

    def double_backward(self, v, record, cache, *, grads):  # noqa: ARG002
        ddy = self.gradient(v, cache.y)
        return ddy, -2.01 * cache.y * record * ddy


@pytest.mark.parametrize(("layer", "what"), [(Wrong, "dx"), (Unruly, "dP/dx")])
def test_a_wrong_gradient_is_never_shown(layer, what):
    with pytest.raises(
        GradientCheckError, match=rf"^{layer.__name__}: {what} of the worked example is wrong: relative"
    ):
        LayerTrial(layer(), (5, 5, 1), scale=2).run()


class Square(Layer):
    """Squares each number.

    More of it.
    """

    def infer(self, input_shape):
        return input_shape

    def forward(self, x, *, train, rng=None):  # noqa: ARG002
        return x * x, x

    def backward(self, dy, cache, *, grads, need_dx=True):  # noqa: ARG002
        return 2 * cache * dy

    def double_backward(self, v, record, cache, *, grads):  # noqa: ARG002
        return 2 * cache * v, 2 * record * v


def test_a_layer_of_ones_own_joins(monkeypatch):
    monkeypatch.setattr("minigan.inspection.theory._TABLE", dict(_TABLE))
    before = explain(Square)
    assert before.record["does"] == "Squares each number."
    assert before.record["example"] is None
    assert before.record["facts"]["forward"].startswith("tests/inspection/test_theories.py:")
    theory = Theory("Squares.", ("y = x^2",), ("dx = 2 x dy",), ("dP/d(dy) = 2 x v", "dP/dx = 2 dy v"), source="Euclid")
    describe(Square, theory, example=lambda: LayerTrial(Square(), (2, 2, 1)))
    record = explain(Square()).record
    assert record["formulas"]["double_backward"] == ["dP/d(dy) = 2 x v", "dP/dx = 2 dy v"]
    assert record["example"]["arrays"]["y"] == [[[[4.0], [1.0]], [[1.0], [4.0]]]]
    assert record["facts"]["source"] == "Euclid"


def test_a_subclass_shares_its_bases_theory_unless_it_computes_otherwise():
    class Renamed(Dense):
        """A Dense by another name."""

    class Changed(Dense):
        """Another map."""

        def forward(self, x, *, train, rng=None):
            return super().forward(2 * x, train=train, rng=rng)

    assert theory_of(Renamed) is theory_of(Dense)
    assert theory_of(Changed) == Theory("Another map.", ())
    assert example_of(Changed) is None


def test_the_source_is_the_docstrings():
    assert source_of(nn.Conv2D) == "Dumoulin & Visin 2016, relationships 6 and 14"  # the docstring names others' only
    assert source_of(nn.SGD) == "Sutskever et al. 2013, section 2"
    assert source_of(losses.bernoulli) == "Kingma & Welling 2014, appendix C.1"
    assert source_of(nn.SpectralNorm) == "Miyato et al. 2018, section 2.1, equation 12 and algorithm 1"


@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("Conv2D", "layer", "Conv2D"),
        ("conv2d", "layer", "Conv2D"),
        ("conv2d_input_grad", "kernel", "conv2d_input_grad"),
        ("batch-norm", "layer", "BatchNorm"),
        ("WGANGP", "penalty", "wgan-gp"),
        ("wgangp", "penalty", "wgan-gp"),
        ("ADAM", "optimizer", "Adam"),
        ("minimax", "recipe", "minimax"),
        ("Minimax", "loss", "minimax"),
        ("LeastSquares", "loss", "least-squares"),
    ],
)
def test_names(name, kind, found):
    topic, _ = topic_named(name)
    assert (topic.kind, topic.name) == (kind, found)


def test_each_name_leads_to_its_own_topic():
    for topic in topics():
        found, others = topic_named(topic.alias or topic.name)
        assert topic in (found, *others)


def test_every_topic_has_a_text_and_a_page():
    for topic in TOPICS:
        document = explain(topic.thing)
        assert document.title.startswith(topic.name)
        assert all(len(line) <= 80 for line in inspection.as_text(document, width=80).splitlines()), topic.name
        assert inspection.as_page(document).endswith("</html>\n")
