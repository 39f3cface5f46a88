"""Learners, losses and what is saved: as a prompt shows them, and what is said to wrong arguments."""

import re

import numpy as np
import pytest

import minigan
from minigan.backends import get_backend
from minigan.errors import ConfigError, MiniganError, NotBuiltError, ShapeError
from minigan.losses import (
    DRAGAN,
    R1,
    WGANGP,
    FeatureMatching,
    Hinge,
    LeastSquares,
    NonSaturating,
    RelativisticAverage,
    SoftmaxMixture,
    gaussian,
)
from minigan.losses.gradient_penalties import PenaltyOfEach
from minigan.nn import Adam, Dense, Sequential, Tanh
from minigan.training import AlternatingOptimizer, Batch, FakePool, MovingAverage, Supervised, VariationalAutoencoder
from minigan.training.generator_term import GeneratorTerm
from minigan.training.stepper import Stepper

RNG = np.random.default_rng


def network(sizes: list[int], *, name: str, given: int) -> Sequential:
    layers = [layer for size in sizes for layer in (Dense(size), Tanh())]
    return Sequential(layers, name=name).build((given,), backend="reference", rng=RNG(0))


def noise(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal((n, 3))


def gan(**changes: object) -> AlternatingOptimizer:
    G, D = network([4, 2], name="G", given=3), network([4, 1], name="D", given=2)
    arguments = {
        "loss": NonSaturating(),
        "noise": noise,
        "g_optimizer": Adam(G.arena, lr=1e-3),
        "d_optimizer": Adam(D.arena, lr=1e-3, beta1=0.5),
        **changes,
    }
    return AlternatingOptimizer(arguments.pop("G", G), arguments.pop("D", D), **arguments)


def batches():
    while True:
        yield RNG(0).standard_normal((8, 2))


# ---------------------------------------------------------------------------------------- what is shown


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (NonSaturating(), "NonSaturating()"),
        (LeastSquares(real_label=0.9), "LeastSquares(real_label=0.9)"),
        (RelativisticAverage(), "RelativisticAverage()"),
        (SoftmaxMixture(Hinge(), sharpness=2.0), "SoftmaxMixture(Hinge(), sharpness=2.0)"),
        (WGANGP(), "WGANGP(weight=10.0, interval=1)"),
        (R1(weight=1, interval=16), "R1(weight=1, interval=16)"),
        (PenaltyOfEach(DRAGAN()), "PenaltyOfEach(DRAGAN(weight=10.0, interval=1))"),
    ],
)
def test_losses_and_penalties_show_the_call_that_makes_them(item: object, text: str):
    assert repr(item) == text


def test_a_learner_shows_its_networks_and_their_optimizers():
    learner = gan(penalty=R1(), n_critic=2)
    learner.step(batches(), RNG(0))
    head, G, D = repr(learner).splitlines()
    assert head == "AlternatingOptimizer(loss=NonSaturating(), n_critic=2, penalty=R1(weight=10.0, interval=1))"
    assert G == ("  G: Sequential 'G': (3,) -> (2,), 26 parameters, float32 on reference; Adam(lr=0.001), 1 step done")
    assert D.startswith("  D: Sequential 'D': (2,) -> (1,)") and D.endswith("beta1=0.5), 2 steps done")
    assert repr(Stepper(learner, batches(), RNG(0))) == f"Stepper of {learner!r}"


def test_values_batches_pools_and_averages_show_no_arrays():
    learner = gan()
    values = repr(learner.step(batches(), RNG(0)))
    assert re.fullmatch(
        r"StepValues\(d_loss=[\d.]+, g_loss=[\d.]+, d_real=[\d.]+, d_fake=[\d.]+, d_penalty=0\)", values
    )
    assert repr(Batch(np.zeros((2, 3)))) == "Batch(real=<float64 (2, 3)>, condition=None, source=None)"
    pool = FakePool(learner.G, size=5)
    pool.mix(np.zeros((3, 2), np.float32), RNG(0))
    assert repr(pool) == "FakePool: 3 of 5 fakes (2,)"
    average = MovingAverage(network([4, 2], name="G", given=3), learner.G, decay=0.9)
    average.update()
    assert repr(average) == "MovingAverage(decay=0.9) of G, 1 updates"
    assert repr(FeatureMatching(learner.D)) == "FeatureMatching(D), on the outputs of its first 2 layers"
    backend = get_backend("reference")
    assert repr(backend) == f"<{backend.describe()}>"


# ---------------------------------------------------------------------------------------- mistakes


def unbuilt() -> Sequential:
    return Sequential([Dense(2)], name="G")


def supervised(**changes: object) -> Supervised:
    G = network([2], name="G", given=3)
    term = GeneratorTerm(1.0, lambda fake, real: (fake.sum(), fake - real))
    arguments = {"terms": [term], "optimizer": Adam(G.arena, lr=0.1), **changes}
    return Supervised(arguments.pop("G", G), **arguments)


def autoencoder(**changes: object) -> VariationalAutoencoder:
    encoder, G = network([6], name="E", given=2), network([2], name="G", given=3)
    optimizers = {"e_optimizer": Adam(encoder.arena, lr=0.1), "g_optimizer": Adam(G.arena, lr=0.1)}
    return VariationalAutoencoder(encoder, G, **{**optimizers, **changes})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: gan(loss="hinge"), "loss must be a loss, got 'hinge'. Write loss=Hinge()."),
        (lambda: gan(loss="wgan"), "loss must be a loss, got 'wgan'. Write loss=NonSaturating()."),
        (lambda: gan(loss=Hinge), "loss must be a loss, got the class Hinge. Write loss=Hinge()."),
        (lambda: gan(loss=None), "loss must be a loss, got None."),
        (lambda: gan(penalty="r1"), "penalty must be a gradient penalty, got 'r1'. Write penalty=R1()."),
        (lambda: gan(penalty=10.0), "penalty must be a gradient penalty, got 10.0. Write penalty=WGANGP()."),
        (lambda: gan(g_optimizer="adam"), "got 'adam'. Write g_optimizer=Adam(G.arena, lr=2e-4)."),
        (
            lambda: gan(d_optimizer=Adam),
            "d_optimizer must be an optimizer, got the class Adam. Write d_optimizer=Adam(D.arena, lr=2e-4).",
        ),
        (
            lambda: gan(noise=3),
            "noise must be a function, got 3. Write noise=lambda rng, n: rng.standard_normal((n, 3)).",
        ),
        (lambda: gan(G=[Dense(2)]), "G must be a network, got a list of 1. Write G=Sequential([...], name='G')."),
        (lambda: gan(D=Sequential), "D must be a network, got the class Sequential."),
        (lambda: gan(n_critic=1.5), "n_critic must be a positive integer, got 1.5."),
        (lambda: gan(n_critic="2"), "n_critic must be a positive integer, got '2'. Write n_critic=2."),
        (lambda: gan(adversarial_weight="1"), "adversarial_weight must be a finite number, got '1'. Write advers"),
        (lambda: supervised(optimizer="adam"), "got 'adam'. Write optimizer=Adam(G.arena, lr=2e-4)."),
        (lambda: supervised(G="G"), "G must be a network, got 'G'."),
        (lambda: autoencoder(e_optimizer=0.1), "got 0.1. Write e_optimizer=Adam(encoder.arena, lr=2e-4)."),
        (lambda: autoencoder(likelihood="gaussian"), "got 'gaussian'. Write likelihood=bernoulli, or gaussian."),
        (lambda: autoencoder(kl_weight=-1), "kl_weight must be a finite number from 0 up, got -1."),
        (lambda: FakePool("G"), "G must be a network, got 'G'."),
        (lambda: FakePool(gan().G, size=2.5), "FakePool: size must be a positive integer, got 2.5. Leave the pool out"),
        (lambda: MovingAverage(gan().G, None, decay=0.9), "G must be a network, got None."),
        (lambda: MovingAverage(gan().G, gan().G, decay=1), "MovingAverage: decay must be in [0, 1), got 1. Try 0.999."),
        (lambda: FeatureMatching("D"), "D must be a network, got 'D'."),
        (lambda: SoftmaxMixture("hinge"), "loss must be an adversarial loss, got 'hinge'. Write loss=Hinge()."),
        (lambda: PenaltyOfEach(R1), "penalty must be a gradient penalty, got the class R1. Write penalty=R1()."),
        (lambda: R1(weight="10"), "R1: weight must be positive, got '10'. Write weight=10."),
        (lambda: R1(interval=0), "R1: interval must be a positive integer, got 0."),
        (lambda: LeastSquares(real_label=1.1), "real_label must be in (0, 1], got 1.1."),
        (
            lambda: minigan.save("a", gan().G),
            'save: expected a dict of parts, got a Sequential. Write save("a", {"G": G}).',
        ),
        (lambda: minigan.save("a", gan()), 'got an AlternatingOptimizer. Write save("a", {"gan": gan}).'),
        (
            lambda: minigan.load("a", gan().G),
            'load: expected a dict of parts, got a Sequential. Write load("a", {"G": G}',
        ),
        (lambda: minigan.save(gan().G, "a"), "save: expected a path first, got a Sequential."),
        (
            lambda: minigan.save("a", {"rng": RNG(0)}),
            "save: 'rng' must be a network, an optimizer, a learner or a moving",
        ),
        (lambda: minigan.save("a", {"G": Sequential}), "got the class Sequential."),
        (lambda: minigan.save("a", {1: gan()}), "save: expected names of parts as keys, got 1."),
        (lambda: minigan.load("a", {"G": 3}), "load: 'G' must be a network, an optimizer"),
    ],
)
def test_a_mistake_gets_one_line_that_says_what_to_write(make, says: str):
    with pytest.raises(ConfigError) as caught:
        make()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: gan(G=unbuilt()),
        lambda: gan(D=unbuilt()),
        lambda: supervised(G=unbuilt()),
        lambda: FakePool(unbuilt()),
        lambda: MovingAverage(unbuilt(), gan().G, decay=0.9),
        lambda: minigan.generate(unbuilt(), np.zeros((1, 3))),
        lambda: minigan.save("a", {"G": unbuilt()}),
    ],
)
def test_networks_that_are_not_built_say_so(make):
    with pytest.raises(NotBuiltError, match=r"G: not built.*Call build\(input_shape, rng=\.\.\.\) first"):
        make()


def test_remedies_work():
    for arguments in ({"loss": "hinge"}, {"penalty": "r1"}):
        with pytest.raises(MiniganError) as caught:
            gan(**arguments)
        name, text = str(caught.value).partition("Write ")[2].removesuffix(".").split("=")
        assert gan(**{name: eval(text)})


# ---------------------------------------------------------------------------------------- a step's arguments


def learners():
    G, E = network([4, 2], name="G", given=3), network([4, 6], name="E", given=2)
    terms = [GeneratorTerm(1.0, minigan.losses.mse)]
    return {
        "gan": gan(),
        "supervised": Supervised(G, terms=terms, optimizer=Adam(G.arena, lr=1e-3)),
        "vae": VariationalAutoencoder(
            E, G, likelihood=gaussian, e_optimizer=Adam(E.arena, lr=1e-3), g_optimizer=Adam(G.arena, lr=1e-3)
        ),
    }


X = np.zeros((8, 2))
WRONG_BATCHES = [
    (X, r"batches must be an iterator, got an array \(8, 2\) of float64\. Write iter\(\[x\]\), or Loader"),
    ([X], r"batches must be an iterator, got a list of 1\. Write iter\(\[x\]\)"),
    (Batch(X, source=np.zeros((8, 3))), r"batches must be an iterator, got a Batch of 3\. Write iter\(\[x\]\)"),
    (minigan.open_dataset("ring"), r"batches must be an iterator, got a \w+\. Write Loader\(dataset, \.\.\.\)\."),
    (None, r"batches must be an iterator, got None\. Write Loader\(dataset, \.\.\.\)\."),
    (iter([]), r"batches are used up\. Write Loader\(dataset, \.\.\.\), which never ends\."),
]


@pytest.mark.parametrize("name", ["gan", "supervised", "vae"])
@pytest.mark.parametrize(("given", "message"), WRONG_BATCHES, ids=[message[:60] for _, message in WRONG_BATCHES])
def test_batches_that_are_none_get_one_line(name, given, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        learners()[name].step(given, RNG(0))


@pytest.mark.parametrize("name", ["gan", "supervised", "vae"])
@pytest.mark.parametrize("rng", [0, None, np.random.RandomState(0), RNG])
def test_random_numbers_that_are_none_get_one_line(name, rng):
    given = batches()
    with pytest.raises(
        ConfigError, match=r"^rng must be a generator, got .*\. Write rng = np\.random\.default_rng\(0\)"
    ):
        learners()[name].step(given, rng)


def test_an_error_of_the_users_own_batches_stays():
    def broken():
        yield len(3)

    with pytest.raises(TypeError, match=r"object of type 'int' has no len\(\)"):
        gan().step(broken(), RNG(0))


@pytest.mark.parametrize(
    "function", [lambda n: n, lambda: 0, lambda rng, n, more: (rng, n, more)], ids=["n", "none", "more"]
)
def test_a_noise_of_other_arguments_is_refused_at_once(function):
    G, twin = (network([2], name="G", given=3) for _ in range(2))
    for make in (lambda: gan(noise=function), lambda: MovingAverage(twin, G, decay=0.9, noise=function)):
        with pytest.raises(ConfigError, match=r"noise must take \(rng, n\), got a function of \(.*\)\. Write noise="):
            make()


@pytest.mark.parametrize(
    "function",
    [
        lambda rng, n: rng.standard_normal((n - 1, 3)),
        lambda rng, n: rng.standard_normal((2 * n, 3)),
        lambda rng, n: rng.standard_normal((n, 4)),
        lambda rng, n: rng.standard_normal((n, 3)).tolist(),
    ],
    ids=["fewer", "more", "longer", "list"],
)
def test_a_noise_of_another_shape_is_refused(function):
    with pytest.raises(ShapeError, match=r"noise must draw an array \(8, 3\), got .*\. Draw n rows of G's input\."):
        gan(noise=function).step(batches(), RNG(0))


def test_a_noise_may_have_defaults_and_be_an_object():
    class Uniform:
        def __call__(self, rng, n, *, width=3):
            return rng.uniform(-1, 1, (n, width))

    for function in (Uniform(), lambda rng, n, width=3: rng.uniform(-1, 1, (n, width))):
        gan(noise=function).step(batches(), RNG(0))
