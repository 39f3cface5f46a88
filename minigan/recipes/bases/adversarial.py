"""Base of all GANs among the recipes: the game between G and D, and its settings."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minigan.errors import ConfigError
from minigan.losses import LOSSES, Loss, get_loss
from minigan.losses.gradient_penalties import PENALTIES, GradientPenalty, get_penalty
from minigan.nn.network import Sequential
from minigan.nn.schedules import Schedule
from minigan.recipes.bases.recipe import Recipe, Shape
from minigan.training.alternating import AlternatingOptimizer
from minigan.training.fake_pool import FakePool
from minigan.training.generator_term import GeneratorTerm
from minigan.training.instance_noise import InstanceNoise
from minigan.training.learner import Learner
from minigan.training.sampling import Noise


@dataclass(frozen=True, kw_only=True)
class AdversarialRecipe(Recipe):
    """Base of the recipes that train a generator G against a discriminator D.

    Settings:
        steps: number of G's steps in the whole training.
        lr: learning rate of G and D.
        g_lr: learning rate of G alone, for two time scales (Heusel et al. 2017); 0 takes lr.
        d_lr: learning rate of D alone; 0 takes lr.
        clip_weights: limit of D's weights, .01 in the original WGAN; 0 is none.
        batch_size: number of real images, and of fakes, in a step of D.
        n_critic: steps of D for each step of G.
        loss: minimax, non-saturating, squared-probability, least-squares, wasserstein, hinge, relativistic-average or
            relativistic-pairing.
        label_smoothing: amount by which D's label of real images is below 1, for losses with labels; .1 is usual.
        penalty: gradient penalty on D: none, wgan-gp, dragan, r1, r2 or r1+r2.
        penalty_weight: λ of wgan-gp and dragan, γ of the others.
        penalty_interval: steps of D from one penalty to the next; the weight is multiplied by it.
        instance_noise: initial standard deviation of the noise on D's images, real and fake.
        instance_noise_steps: steps of G over which that noise fades to 0.
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
        if self.penalty_weight == 0:
            raise ConfigError(f"{self.name}: penalty_weight must be positive, got 0. Use `penalty='none'`.")
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
        """D, not built: from images of the shape image_shape to logits."""

    def judge(self, image_shape: Shape) -> Sequential:
        """D, not built: the recipe's `discriminator` with the layers that settings put in front of it."""
        return self.discriminator(image_shape)

    def generator_terms(self) -> tuple[GeneratorTerm, ...]:
        """Terms that are added to G's adversarial loss."""
        return ()

    def gradient_penalty(self) -> GradientPenalty | None:
        """The penalty that is added to D's loss, or None."""
        if self.penalty == "none":
            return None
        return get_penalty(self.penalty, weight=self.penalty_weight, interval=self.penalty_interval)

    def adversarial_loss(self) -> Loss:
        """The loss of D and of G in their game."""
        return get_loss(self.loss, label_smoothing=self.label_smoothing)

    def game_rates(self) -> tuple[Schedule, Schedule]:
        """Learning rates of G and of D, over their own updates."""
        return self.rate_schedule(self.g_lr or self.lr, 1), self.rate_schedule(self.d_lr or self.lr, self.n_critic)

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
        """The learner of two built networks, with their optimizers, loss and penalty.

        Args:
            noise: draws G's inputs; None if the batches have them.
            adversarial_weight: weight of the adversarial loss in G's loss.
            terms: in addition to the recipe's `generator_terms`.
            fake_pool: earlier fakes that D is shown again, if there are any.
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
            accumulate=self.accumulate,
        )
