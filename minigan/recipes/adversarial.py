"""What all GANs among the recipes share: the game between G and D, and its settings."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minigan.errors import ConfigError
from minigan.losses import LOSSES, Loss, get_loss
from minigan.losses.gradient_penalties import PENALTIES, GradientPenalty, get_penalty
from minigan.nn.network import Sequential
from minigan.recipes.base import Recipe, Shape
from minigan.training.alternating import AlternatingOptimizer, GeneratorTerm, InstanceNoise, Noise
from minigan.training.fake_pool import FakePool
from minigan.training.learner import Learner


@dataclass(frozen=True, kw_only=True)
class AdversarialRecipe(Recipe):
    """A GAN.

    Settings:
        steps: of G, in a whole training.
        lr: the learning rate of G and of D.
        g_lr, d_lr: a rate of G's or D's own (two time scales: Heusel et al. 2017); 0 is lr.
        clip_weights: limit of D's weights, .01 in the original WGAN; 0 is none.
        batch_size: real images in a step of D, and fakes.
        n_critic: steps of D for each step of G.
        loss: minimax, non-saturating, squared-probability, least-squares, wasserstein, hinge or relativistic-average.
        label_smoothing: how much less than 1 D is to say of real images, for losses with labels: .1 is usual.
        penalty: on D's slope: none, wgan-gp, dragan, r1 or r2.
        penalty_weight: λ of wgan-gp and dragan, γ of r1 and r2.
        penalty_interval: steps of D from one with the penalty to the next, which has it so many times as heavy.
        instance_noise: standard deviation, at first, of noise on all that D sees.
        instance_noise_steps: steps of G over which that noise fades to nothing.
    """

    g_lr: float = 0.0
    d_lr: float = 0.0
    clip_weights: float = 0.0
    n_critic: int = 1
    loss: str = "non-saturating"
    label_smoothing: float = 0.0
    penalty: str = "none"
    penalty_weight: float = 10.0
    penalty_interval: int = 1
    instance_noise: float = 0.0
    instance_noise_steps: int = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("n_critic", "penalty_weight", "penalty_interval", "instance_noise_steps")
        self.check_from_zero("instance_noise", "g_lr", "d_lr", "clip_weights")
        self.check_share("label_smoothing")
        self.check_choice("loss", LOSSES)
        self.check_choice("penalty", ("none", *PENALTIES))
        try:
            self.adversarial_loss()
        except ConfigError as error:
            raise ConfigError(f"{self.name}: {error}") from None

    @abstractmethod
    def discriminator(self, image_shape: Shape) -> Sequential:
        """D, not built: image_shape to logits."""

    def judge(self, image_shape: Shape) -> Sequential:
        """D, not built, with all that settings put around the recipe's `discriminator`."""
        return self.discriminator(image_shape)

    def generator_terms(self) -> tuple[GeneratorTerm, ...]:
        """What is added to G's adversarial loss."""
        return ()

    def gradient_penalty(self) -> GradientPenalty | None:
        """What is added to D's loss."""
        if self.penalty == "none":
            return None
        return get_penalty(self.penalty, weight=self.penalty_weight, interval=self.penalty_interval)

    def adversarial_loss(self) -> Loss:
        """The loss of D and of G in their game."""
        return get_loss(self.loss, label_smoothing=self.label_smoothing)

    def networks(self, image_shape: Shape) -> list[tuple[Sequential, Shape]]:
        return [*super().networks(image_shape), (self.judge(image_shape), image_shape)]

    def learner(self, networks: Sequence[Sequential]) -> Learner:
        G, D = networks
        return self.game(G, D)

    def game(
        self,
        G: Sequential,
        D: Sequential,
        *,
        noise: Noise | None = None,
        adversarial_weight: float = 1.0,
        terms: tuple[GeneratorTerm, ...] = (),
        fake_pool: FakePool | None = None,
    ) -> AlternatingOptimizer:
        """The two networks, built, with their optimisers, loss and penalty.

        Args:
            noise: what G draws from; None where the batches bring its source.
            adversarial_weight: of the game's part in G's loss.
            terms: beside the recipe's `generator_terms`.
        """
        return AlternatingOptimizer(
            G,
            D,
            loss=self.adversarial_loss(),
            noise=noise,
            g_optimizer=self.make_optimizer(G.arena, lr=self.g_lr or self.lr),
            d_optimizer=self.make_optimizer(
                D.arena,
                lr=self.d_lr or self.lr,
                updates_per_step=self.n_critic,
                limit=self.clip_weights or np.inf,
            ),
            n_critic=self.n_critic,
            adversarial_weight=adversarial_weight,
            generator_terms=(*self.generator_terms(), *terms),
            penalty=self.gradient_penalty(),
            instance_noise=InstanceNoise(self.instance_noise, self.instance_noise_steps),
            fake_pool=fake_pool,
        )
