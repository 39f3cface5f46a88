"""The alternating optimizer: the order of Algorithm 1, and who may touch what."""

from collections.abc import Iterator

import numpy as np
import pytest

from minigan.backends import Backend
from minigan.errors import CheckpointError, ConfigError, ShapeError
from minigan.losses import FAKE, REAL, CoupledLoss, Hinge, NonSaturating, RelativisticAverage, mse
from minigan.losses.gradient_penalties import R1
from minigan.nn.initializers import Normal
from minigan.nn.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, LeakyReLU, Reshape, Tanh
from minigan.nn.network import Sequential
from minigan.nn.optimizers import Adam
from minigan.training.alternating import AlternatingOptimizer
from minigan.training.generator_term import GeneratorTerm
from minigan.training.instance_noise import InstanceNoise

N = 4
LATENT = 3
IMAGE = (4, 4, 1)


def noise(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(size=(n, LATENT))


def gan(
    backend: Backend, *, n_critic: int = 1, seed: int = 0, loss=None, terms=(), penalty=None, instance_noise=None
) -> AlternatingOptimizer:
    """BatchNorm and random layers in both."""
    init = Normal(0.3)
    G = Sequential(
        [Dense(16, init=init), BatchNorm(), LeakyReLU(), Dropout(0.2), Dense(16, init=init), Tanh(), Reshape(IMAGE)],
        name="G",
    )
    D = Sequential(
        [Conv2D(4, 3, init=init), BatchNorm(), LeakyReLU(), Dropout(0.2), Flatten(), Dense(1, init=init)], name="D"
    )
    rng = np.random.default_rng(seed)
    G.build((LATENT,), backend=backend, rng=rng)
    D.build(IMAGE, backend=backend, rng=rng)
    return AlternatingOptimizer(
        G,
        D,
        loss=loss or NonSaturating(),
        noise=noise,
        g_optimizer=Adam(G.arena, lr=1e-2),
        d_optimizer=Adam(D.arena, lr=1e-2),
        n_critic=n_critic,
        generator_terms=terms,
        penalty=penalty,
        instance_noise=instance_noise,
    )


def images(backend: Backend, *, seed: int = 1) -> Iterator:
    rng = np.random.default_rng(seed)
    while True:
        yield backend.asarray(rng.uniform(-1, 1, (N, *IMAGE)), dtype=np.dtype(np.float32))


def copy(optimizer: AlternatingOptimizer) -> dict[str, np.ndarray]:
    """All that training changes, and the gradients."""
    to_numpy = optimizer.G.kernels.to_numpy
    return optimizer.to_dict() | {
        "G grads": np.array(to_numpy(optimizer.g_grads.flat)),
        "D grads": np.array(to_numpy(optimizer.d_grads.flat)),
    }


def changed(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    """Whose numbers changed: "G", "G.state", "d_optimizer", "D grads" ..."""
    names = {name for name in before if before[name].tobytes() != after[name].tobytes()}
    return {
        name if "grads" in name else f"{name[0]}.state" if ".state." in name else name.partition(".")[0]
        for name in names
    }


# ---------------------------------------------------------------------------------------------- who touches what


def test_the_discriminators_step_touches_only_the_discriminator(backend: Backend):
    optimizer, rng = gan(backend), np.random.default_rng(0)
    real = next(images(backend))
    fake, _ = optimizer.G.forward(backend.asarray(noise(rng, N), dtype=optimizer.G.dtype), train=True, rng=rng)
    before = copy(optimizer)
    d_values = optimizer.discriminator_step(real, fake, rng)
    after = copy(optimizer)
    assert changed(before, after) == {"D", "D.state", "d_optimizer", "D grads"}
    assert (optimizer.d_optimizer.steps, optimizer.g_optimizer.steps) == (1, 0)
    assert all(np.isfinite(float(v)) for v in d_values)


def test_the_generators_step_touches_only_the_generator(backend: Backend):
    optimizer, rng = gan(backend, terms=[GeneratorTerm(0.5, mse)]), np.random.default_rng(0)
    real = next(images(backend))
    z = backend.asarray(noise(rng, N), dtype=optimizer.G.dtype)
    fake, g_tape = optimizer.G.forward(z, train=True, rng=rng)
    before = copy(optimizer)
    optimizer.generator_step(fake, g_tape, real, rng)
    after = copy(optimizer)
    # D's statistics too: the generator's forward through D commits nothing.
    assert changed(before, after) == {"G", "G.state", "g_optimizer", "G grads"}
    assert (optimizer.d_optimizer.steps, optimizer.g_optimizer.steps) == (0, 1)


def test_gradients_do_not_leak_from_step_to_step(backend: Backend):
    optimizer, rng = gan(backend), np.random.default_rng(0)
    real = next(images(backend))
    z = backend.asarray(noise(rng, N), dtype=optimizer.G.dtype)
    fake, g_tape = optimizer.G.forward(z, train=True, rng=rng)
    results = []
    for garbage in (0, 1e3):
        optimizer.d_grads.flat.fill(garbage)
        optimizer.g_grads.flat.fill(garbage)
        optimizer.discriminator_gradients(real, fake, np.random.default_rng(1))
        optimizer.generator_gradients(fake, g_tape, real, np.random.default_rng(1))
        results.append([np.array(backend.to_numpy(g.flat)) for g in (optimizer.d_grads, optimizer.g_grads)])
    for one, other in zip(*results, strict=True):
        assert one.tobytes() == other.tobytes()
        assert one.any()


# ---------------------------------------------------------------------------------------------- algorithm 1


class Diary:
    """Notes each forward, backward and update of a GAN, in order."""

    def __init__(self, optimizer: AlternatingOptimizer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[str] = []
        self.batches: list = []
        for name, net in (("G", optimizer.G), ("D", optimizer.D)):
            self._note(monkeypatch, net, "forward", lambda *_, name=name, **_k: f"{name} forward")
            self._note(monkeypatch, net, "backward", lambda *_, name=name, **k: f"{name} backward, {self._grads(k)}")
            self._note(monkeypatch, net, "commit_statistics", lambda *_, name=name, **_k: f"{name} commit")
        self._note(monkeypatch, optimizer.g_optimizer, "step", lambda *_: "G update")
        self._note(monkeypatch, optimizer.d_optimizer, "step", lambda *_: "D update")
        coupled = isinstance(optimizer.loss, CoupledLoss)
        self._note(
            monkeypatch,
            optimizer.loss,
            "discriminator",
            lambda _, other: "D loss of both" if coupled else f"D loss {other:g}",
        )
        self._note(monkeypatch, optimizer.loss, "generator", lambda *_: "G loss of both" if coupled else "G loss")
        if optimizer.penalty:
            self._note(monkeypatch, optimizer.penalty, "add_gradients", lambda *_, **_k: "penalty")

    @staticmethod
    def _grads(options: dict) -> str:
        return ("frozen" if options["grads"] is None else "learning") + (
            "" if options.get("need_dx", True) else ", no dx"
        )

    def _note(self, monkeypatch, target, method, describe) -> None:
        original = getattr(target, method)

        def noted(*args, **kwargs):
            self.events.append(describe(*args, **kwargs))
            if self.events[-1] == "D forward":
                self.batches.append(args[0])
            return original(*args, **kwargs)

        monkeypatch.setattr(target, method, noted)


D_STEP = [
    "G forward",
    *["D forward", "D loss 1", "D commit", "D backward, learning, no dx"],
    *["D forward", "D loss 0", "D commit", "D backward, learning, no dx"],
    "D update",
]
G_STEP = ["D forward", "G loss", "D backward, frozen", "G backward, learning, no dx", "G commit", "G update"]


@pytest.mark.parametrize("n_critic", [1, 3])
def test_the_order_of_algorithm_1(backend: Backend, monkeypatch: pytest.MonkeyPatch, n_critic: int):
    optimizer = gan(backend, n_critic=n_critic)
    diary = Diary(optimizer, monkeypatch)
    reals = images(backend)
    optimizer.step(reals, np.random.default_rng(0))
    assert diary.events == D_STEP * n_critic + G_STEP

    expected = images(backend)
    for k in range(n_critic):  # a new real batch for each of D's steps; G goes through D with the last fakes
        real, fake = diary.batches[2 * k : 2 * k + 2]
        assert (backend.to_numpy(real) == backend.to_numpy(next(expected))).all()
        assert fake.shape == real.shape
    assert diary.batches[-1] is diary.batches[-2]
    fakes = [backend.to_numpy(f).tobytes() for f in diary.batches[1:-1:2]]
    assert len(set(fakes)) == n_critic
    assert (backend.to_numpy(next(reals)) == backend.to_numpy(next(expected))).all()  # no batch was wasted


def test_the_order_with_a_loss_of_both_batches(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    """Real and fake are separate batches here, too; G's step looks at the reals and learns from the fakes."""
    optimizer = gan(backend, loss=RelativisticAverage())
    diary = Diary(optimizer, monkeypatch)
    optimizer.step(images(backend), np.random.default_rng(0))
    assert diary.events == [
        *["G forward", "D forward", "D forward", "D loss of both"],
        *["D commit", "D backward, learning, no dx"] * 2,
        "D update",
        *["D forward", "D forward", "G loss of both"],
        "D loss of both",  # which is D's, with real and fake exchanged
        *["D backward, frozen", "G backward, learning, no dx", "G commit", "G update"],
    ]


def test_the_order_with_a_penalty(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    """It belongs to D's step, and commits no statistics."""
    optimizer = gan(backend, penalty=R1(interval=2))
    diary = Diary(optimizer, monkeypatch)
    reals = images(backend)
    for _ in range(2):
        optimizer.step(reals, np.random.default_rng(0))
    assert diary.events == [*D_STEP[:-1], "penalty", "D forward", "D update", *G_STEP, *D_STEP, *G_STEP]


def test_no_activations_outlive_their_batch(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    """Unless the loss compares the batches, those of the reals are gone before the fakes go through D."""
    alive, most = [], []
    for loss in (Hinge(), RelativisticAverage()):
        optimizer = gan(backend, loss=loss, penalty=R1())
        forward, tapes = optimizer.D.forward, []

        def counting(x, *, train, rng=None, forward=forward, tapes=tapes):
            alive.append(sum(tape.nbytes > 0 for tape in tapes))
            y, tape = forward(x, train=train, rng=rng)
            tapes.append(tape)
            return y, tape

        monkeypatch.setattr(optimizer.D, "forward", counting)
        alive.clear()
        optimizer.discriminator_step(next(images(backend)), next(images(backend)), np.random.default_rng(0))
        most.append(max(alive))
    assert most == [0, 1]


def test_instance_noise(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    """On real and fake, in D's step and in G's, new each time; gone after its steps."""
    optimizer = gan(backend, instance_noise=InstanceNoise(0.5, 2))
    diary = Diary(optimizer, monkeypatch)
    reals, originals = images(backend), images(backend)
    for std in (0.5, 0.25, 0.0, 0.0):
        diary.batches.clear()
        optimizer.step(reals, np.random.default_rng(0))
        real, fake, again = map(backend.to_numpy, diary.batches)
        noise = real - backend.to_numpy(next(originals))
        assert noise.std() == pytest.approx(std, rel=0.3)
        assert (fake - again).std() == pytest.approx(2**0.5 * std, rel=0.3)
        assert real.dtype == np.float32
    assert [InstanceNoise(0.5, 4).std_at(step) for step in (0, 1, 4, 9)] == [0.5, 0.375, 0, 0]


def test_a_step_is_its_parts(backend: Backend):
    """Written out by hand, with the networks' own methods."""
    optimizer, by_hand = gan(backend, terms=[GeneratorTerm(0.5, mse)]), gan(backend)
    rng = np.random.default_rng(3)
    values = optimizer.step(images(backend), rng)

    rng, G, D, loss = np.random.default_rng(3), by_hand.G, by_hand.D, NonSaturating()
    real = next(images(backend))
    fake, g_tape = G.forward(backend.asarray(noise(rng, N), dtype=G.dtype), train=True, rng=rng)
    grads, d_loss = D.gradients(), 0.0
    for x, target in ((real, REAL), (fake, FAKE)):
        logits, tape = D.forward(x, train=True, rng=rng)
        value, dlogits = loss.discriminator(logits, target)
        D.backward(dlogits, tape, grads=grads)
        D.commit_statistics(tape)
        d_loss += float(value)
    by_hand.d_optimizer.step(grads)
    logits, tape = D.forward(fake, train=True, rng=rng)
    g_loss, dlogits = loss.generator(logits)
    term, dterm = mse(fake, real)
    grads = G.gradients()
    G.backward(D.backward(dlogits, tape, grads=None) + 0.5 * dterm, g_tape, grads=grads)
    G.commit_statistics(g_tape)
    by_hand.g_optimizer.step(grads)

    assert float(values.d_loss) == pytest.approx(d_loss, rel=1e-6)
    assert float(values.g_loss) == pytest.approx(float(g_loss) + 0.5 * float(term), rel=1e-6)
    expected, actual = by_hand.to_dict(), optimizer.to_dict()
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_what_a_step_reports(backend: Backend):
    """The last critic step's values; probabilities from before its update."""
    optimizer, twin = gan(backend, n_critic=2), gan(backend)
    values = optimizer.step(images(backend), np.random.default_rng(0))
    assert all(v.shape == () for v in values)
    assert 0 < float(values.d_real) < 1
    assert 0 < float(values.d_fake) < 1

    rng, reals = np.random.default_rng(0), images(backend)
    for _ in range(2):
        real = next(reals)
        fake, _ = twin.G.forward(backend.asarray(noise(rng, N), dtype=twin.G.dtype), train=True, rng=rng)
        d_values = twin.discriminator_step(real, fake, rng)
    assert [float(v) for v in d_values] == [
        float(v) for v in (values.d_loss, values.d_real, values.d_fake, values.d_penalty)
    ]


def test_a_weight_of_an_auxiliary_term_counts(backend: Backend):
    """G with a heavy mean squared error and little else draws the one image it is shown."""

    def always_the_same() -> Iterator:
        while True:
            yield backend.xp.full((N, *IMAGE), 0.5, dtype=np.float32)

    optimizer = gan(backend, terms=[GeneratorTerm(100.0, mse)])
    reals, rng = always_the_same(), np.random.default_rng(0)
    values = [optimizer.step(reals, rng) for _ in range(80)]
    assert float(values[-1].g_loss) < 0.3 * float(values[0].g_loss)


# ---------------------------------------------------------------------------------------------- state


def steps(optimizer: AlternatingOptimizer, reals: Iterator, rng: np.random.Generator, n: int) -> list[float]:
    return [float(v) for _ in range(n) for v in optimizer.step(reals, rng)]


def test_training_goes_on_bit_for_bit(backend: Backend):
    extras = {"n_critic": 2, "penalty": R1(interval=3), "instance_noise": InstanceNoise(0.1, 4)}
    straight, reals, rng = gan(backend, **extras), images(backend), np.random.default_rng(0)
    steps(straight, reals, rng, 2)
    saved, rng_state = straight.to_dict(), rng.bit_generator.state
    expected = steps(straight, reals, rng, 3)

    resumed = gan(backend, **extras, seed=9)  # other weights, all to be overwritten
    resumed.load_dict(saved)
    reals, rng = images(backend), np.random.default_rng(77)
    rng.bit_generator.state = rng_state
    for _ in range(4):
        next(reals)
    assert steps(resumed, reals, rng, 3) == expected
    one, other = straight.to_dict(), resumed.to_dict()
    assert one.keys() == other.keys()
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)


def test_the_names_of_the_state(reference: Backend):
    names = set(gan(reference).to_dict())
    assert names >= {"G.0.w", "G.1.gamma", "G.state.1.running_mean", "D.5.b", "D.state.1.running_var"}
    assert {name for name in names if "optimizer" in name} == {
        f"{side}_optimizer.{name}" for side in "gd" for name in ("m", "v", "steps")
    }


def test_a_foreign_state_changes_nothing(backend: Backend):
    """A mismatch anywhere leaves everything as it was: half a state would be worse than none."""
    optimizer = gan(backend)
    steps(optimizer, images(backend), np.random.default_rng(0), 1)
    before = optimizer.to_dict()
    good = {name: array + 1 for name, array in before.items()}
    for missing in ("G.0.w", "G.state.1.running_mean", "D.5.b", "D.state.1.running_var", "d_optimizer.v"):
        with pytest.raises(CheckpointError):
            optimizer.load_dict({name: array for name, array in good.items() if name != missing})
        assert changed(before, optimizer.to_dict()) == set(), f"without {missing}"


def test_one_seed_gives_one_training(backend: Backend):
    runs = [steps(gan(backend), images(backend), np.random.default_rng(seed), 3) for seed in (0, 0, 1)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_a_gan_learns(backend: Backend):
    """D(real) and D(fake) part when G stands still."""
    optimizer, rng, reals = gan(backend), np.random.default_rng(0), images(backend)
    z = backend.asarray(noise(rng, N), dtype=optimizer.G.dtype)
    fake, _ = optimizer.G.forward(z, train=True, rng=rng)
    first = optimizer.discriminator_step(next(reals), fake, rng)
    for _ in range(60):
        last = optimizer.discriminator_step(next(reals), fake, rng)
    assert float(last[0]) < 0.5 * float(first[0])
    assert float(last[1]) > float(last[2]) + 0.3


def test_parts_that_do_not_fit_are_refused(backend: Backend):
    optimizer = gan(backend)
    parts = {"loss": NonSaturating(), "noise": noise}
    own = {"g_optimizer": optimizer.g_optimizer, "d_optimizer": optimizer.d_optimizer}
    swapped = {"g_optimizer": optimizer.d_optimizer, "d_optimizer": optimizer.g_optimizer}
    G, D = optimizer.G, optimizer.D
    with pytest.raises(ConfigError, match="n_critic must be a positive integer, got 0"):
        AlternatingOptimizer(G, D, **parts, **own, n_critic=0)
    with pytest.raises(ConfigError, match=r"G's optimizer must update G's arena, .* Adam\(G\.arena"):
        AlternatingOptimizer(G, D, **parts, **swapped)
    with pytest.raises(ShapeError, match=r"D draws .* expects .* Make G end with D's input shape"):
        AlternatingOptimizer(D, G, **parts, **swapped)
    rng = np.random.default_rng(0)
    dtype = "float64" if D.dtype == np.float32 else "float32"
    elsewhere = Sequential([Flatten(), Dense(1)], name="D").build(G.output_shape, backend=backend, dtype=dtype, rng=rng)
    with pytest.raises(ConfigError, match="must be built with one backend and dtype"):
        AlternatingOptimizer(G, elsewhere, **parts, **own)
