"""The exponential moving average of G's weights, which draws better images than G itself.

Source: Yazıcı et al. 2019, "The Unusual Effectiveness of Averaging in GAN Training"; Karras et al. 2018, appendix A.1.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from minigan.checkpoints.format import load_network, network_arrays
from minigan.errors import CheckpointError, ConfigError, MiniganError
from minigan.nn.layers import Layer
from minigan.nn.network import Sequential
from minigan.nn.network.sequential import expect_network
from minigan.nn.schedules import Schedule
from minigan.support.arguments import number, whole
from minigan.support.representation import constructor_call
from minigan.training.noise import expect_noise_function
from minigan.training.sampling import Noise, generate, standing_statistics

__all__ = ["STATISTICS", "HalfLife", "MovingAverage", "average_name"]

Statistics = Literal["running", "batch", "standing"]
STATISTICS: tuple[Statistics, ...] = ("running", "batch", "standing")


def average_name(generator: str, generators: Sequence[str]) -> str:
    """The name of a generator's average in files: `average`, and `average_G_AB` where there are several generators."""
    return "average" if len(generators) == 1 else f"average_{generator}"


@dataclass(frozen=True)
class HalfLife:
    """The decay of an average whose memory is told in images: after `images` more, weights count half.

    d = 0.5^(batch_size / h) at each of G's steps, with a half-life h of `images`, but at most the share `ramp` of the
    images seen so far. Where h is 0 the average is G itself.

    Args:
        images: h, or a schedule of it over G's steps.
        batch_size: images in a step.
        ramp: the largest share of the images seen; infinite for no limit.
    Source: Karras et al. 2020 ("Training Generative Adversarial Networks with Limited Data"), the authors' code; with a
        schedule Huang et al. 2024 (R3GAN).
    """

    images: float | Schedule
    batch_size: int
    ramp: float = math.inf

    def __post_init__(self) -> None:
        if not callable(self.images):
            number(self.images, "images", of="HalfLife", least=0)
        whole(self.batch_size, "batch_size", of="HalfLife")
        if self.ramp != math.inf:
            number(self.ramp, "ramp", of="HalfLife", above=0)

    def __call__(self, updates: int) -> float:
        """The decay of the step that follows so many others."""
        images = self.images(updates) if callable(self.images) else self.images
        if self.ramp < math.inf:
            images = min(images, self.ramp * updates * self.batch_size)
        return 0.5 ** (self.batch_size / images) if images > 0 else 0.0


class MovingAverage:
    """A second generator, whose weights are the moving average of the weights of the one in training.

    average <- d average + (1 - d) w after each step of G, with d = min(decay, (1 + t) / (10 + t)) at the t-th
    step: the average is shorter early on, so that it soon forgets the first weights (as in TensorFlow's
    ExponentialMovingAverage).

    Averaged weights give other activations than the last weights, so the average has BatchNorm statistics of its own:

    - "running": the running statistics of G, averaged like the weights; costs nothing.
    - "batch": those of the batch being drawn, as in training; an image then depends on the others in its batch.
    - "standing": those of many batches drawn with the averaged weights (Brock et al. 2019, appendix C).

    Likewise SpectralNorm divides the averaged weights by their own largest singular value: `settle` computes it, and
    until then the average of G's u, brought to length 1, estimates it.

    Args:
        network: built like G; its weights are overwritten.
        G: the generator in training.
        decay: in [0, 1); .999 remembers some 1,000 steps. Or a function of the number of updates so far, such as a
            `HalfLife`, whose decays are taken as they are.
        statistics: of BatchNorm, when the average draws; see above.
        noise: (rng, n) -> z (n, *G.input_shape); needed for standing statistics.
        seed: of that noise, and of dropout where the statistics are the batch's.
        name: its arrays in a checkpoint begin with it.
    Attributes:
        updates: the number of G's steps in the average.
    Raises:
        ConfigError: an argument is out of range, or `network` is not a second network built like G.
    """

    def __init__(
        self,
        network: Sequential,
        G: Sequential,
        *,
        decay: float | Callable[[int], float],
        statistics: Statistics = "running",
        noise: Noise | None = None,
        seed: int | Sequence[int] = 0,
        name: str = "average",
    ) -> None:
        if not callable(decay) or isinstance(decay, type):
            number(decay, "decay", of="MovingAverage", least=0, below=1, remedy="Try 0.999.")
        if statistics not in STATISTICS:
            raise ConfigError(f"MovingAverage: statistics must be one of {', '.join(STATISTICS)}, got {statistics!r}.")
        if statistics == "standing" and noise is None:
            raise ConfigError("MovingAverage: standing statistics need noise to draw from. Use statistics='running'.")
        expect_network(network, "network")
        expect_network(G, "G")
        if network is G or network.arena.flat.shape != G.arena.flat.shape:
            raise ConfigError("MovingAverage: expected a second network built like G. Build another of its layers.")
        if noise is not None:
            expect_noise_function(noise, G)
        self.network, self.G = network, G
        self.decay, self.statistics = decay, statistics
        self.noise, self.seed = noise, seed
        self.name = name
        # the layers whose state is more than a number that may be averaged: SpectralNorm
        self._to_repair = [layer for _, layer in network.walk() if type(layer).repair_state is not Layer.repair_state]
        self.restart()

    def __repr__(self) -> str:
        settings = constructor_call(self, leave_out=("network", "G", "noise", "seed", "name"), defaults=True)
        return f"{settings} of {self.G.path}, {self.updates:,} updates"

    def restart(self) -> None:
        """Starts over from G's present weights."""
        self.updates = 0
        for average, last in self._pairs():
            average[...] = last
        self.network.arena.updated()

    def update(self) -> None:
        """Adds G's weights to the average: one pass over the arena. Call it after each step of G."""
        kernels = self.network.kernels
        (decay,) = kernels.numbers(lambda: (self.decay_now(),))
        for average, last in self._pairs():
            with kernels.optimizing(average, kernels=("ema_step",)):
                kernels.ema_step(average, last, decay=decay)
        if self._to_repair:
            with kernels.only_if_sound(self.network.state.flat):
                for layer in self._to_repair:
                    layer.repair_state()
        kernels.each_step(self._count)

    def decay_now(self) -> float:
        """d of the next update."""
        if callable(self.decay):
            return self.decay(self.updates)
        return min(self.decay, (1 + self.updates) / (10 + self.updates))

    def _count(self) -> None:
        self.updates += 1
        self.network.arena.updated()

    def settle(self) -> None:
        """Computes what follows from the averaged weights: the sigmas of SpectralNorm, and standing statistics.

        Call it before saving the network; `draw` does so itself.
        """
        if (noise := self.noise) is not None and self.statistics == "standing":
            self.network.state.flat[...] = self.G.state.flat
            self._settle_layers()
            rng = np.random.default_rng(self.seed)
            standing_statistics(self.network, lambda rng, n: (noise(rng, n), None), rng=rng)
        self._settle_layers()

    def _settle_layers(self) -> None:
        for layer in self._to_repair:
            layer.settle()

    def draw(self, z: np.ndarray, condition: np.ndarray | None = None) -> np.ndarray:
        """The averaged generator's outputs (N, *G.output_shape), in host memory; see `generate`."""
        self.settle()
        rng = np.random.default_rng(self.seed)
        return generate(self.network, z, condition, batch_statistics=self.statistics == "batch", rng=rng)

    def to_dict(self) -> dict[str, np.ndarray]:
        """Everything that `update` has changed, in host memory, by name."""
        return network_arrays(self.network, self.name) | {f"{self.name}_updates": np.array([self.updates], np.int64)}

    def load_dict(self, arrays: Mapping[str, np.ndarray], *, source: str = "the arrays") -> None:
        """Restores the arrays that `to_dict` returned.

        Raises:
            CheckpointError, ShapeError, DTypeError: the arrays hold no average, or one of another network. Nothing
                is overwritten.
        """
        if f"{self.name}_updates" not in arrays:
            raise CheckpointError(
                f"{source} holds no average of {self.G.path}'s weights. Set ema=0, or start a new run."
            )
        before = self.to_dict()
        try:
            load_network(self.network, arrays, self.name, source=source)
        except MiniganError:
            load_network(self.network, before, self.name, source=source)
            raise
        self.updates = int(arrays[f"{self.name}_updates"][0])

    def _pairs(self) -> Sequence[tuple[np.ndarray, np.ndarray]]:
        """Average and last weights, average and last statistics."""
        return (
            (self.network.arena.flat, self.G.arena.flat),
            (self.network.state.flat, self.G.state.flat),
        )
