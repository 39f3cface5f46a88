"""CycleGAN: translation between two sets of images without a single pair.

Zhu et al. 2017 ("Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks"): G_AB makes images
of B from those of A, G_BA goes back, and D_A and D_B judge the results. What keeps a translation to its image is the
cycle: there and back must give the image again. An identity term keeps a generator from changing what is as it should
be, such as the colors of a painting (section 5.2).

Networks (appendix 7.2): the generators are residual networks with 6 blocks for images of up to 128 pixels a side and
9 for larger ones, 11.378 million parameters; the discriminators judge patches of 70x70 pixels, 2.765 million
parameters. InstanceNorm has no gamma and beta, borders are reflected, weights are drawn from N(0, .02).

Training: least squares; 10 times the cycle, 5 times the identity (means of absolute differences); each D is shown a
pool of 50 earlier fakes, half of the time; one image of A and one of B a step, in unrelated orders; Adam with lr 2e-4
and β1 .5, constant in the first half of the steps and then linear to 0.

The data are any two sources (`--data PHOTOS --data-b PAINTINGS`), a folder with trainA and trainB, whose testA and
testB are held out, or the embedded digits and their tinted look, whose true translation is known: `minigan evaluate`
measures it. Of a labeled source one class can be taken: `--data cifar --set a_class=horse b_class=deer`.

Small images train in minutes on a CPU: `--set width=16 blocks=3 d_width=16 --batch-size 4`.

Differences to the paper and its code:

- All four networks are updated together, from gradients of the same weights. The authors' code updates the generators
  first, but has drawn the discriminators' fakes before: the numbers are the same.
- `least-squares` is half a square here (Mao et al. 2017), so `adversarial` is 2, and D's loss the paper's half of both.
- `mirror=true` flips images at random as the paper does; it is off, since it spoils digits and text. Images of at
  least 128 pixels a side are enlarged by 30 of 256 pixels and cut at random, as there (`jitter`); smaller ones are not.
- The paper trains for 200 epochs; `steps` says how long here, and `decay_from` when the rate begins to fall: -1 is in
  the middle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from minigan.errors import ConfigError
from minigan.losses import LOSSES, AdversarialLoss, get_loss
from minigan.nn.network import Sequential
from minigan.nn.network.resnet import check_resnet_size, resnet_blocks, resnet_generator
from minigan.nn.network.unet import patch_discriminator
from minigan.recipes.bases.recipe import Shape
from minigan.recipes.bases.unpaired import UnpairedRecipe
from minigan.training.cycle_consistent import CycleConsistent
from minigan.training.fake_pool import FakePool

# Losses that judge each batch by itself: real images and fakes of a D are of different batches here.
SEPARATE = tuple(name for name in LOSSES if isinstance(get_loss(name), AdversarialLoss))


@dataclass(frozen=True, kw_only=True)
class CycleGAN(UnpairedRecipe):
    """Two generators and two discriminators that learn to translate between two sets of images, without pairs.

    Settings:
        loss: minimax, non-saturating, squared-probability, least-squares, wasserstein or hinge.
        adversarial: weight of the adversarial losses in the generators' loss.
        cycle: weight of the mean of |back - image|.
        identity: weight of the mean of |G(image of its target) - image|; 0 if A and B differ in channels.
        pool: number of earlier fakes of each kind that are kept for its D; 0 shows each D the newest alone.
        g_lr: learning rate of the generators alone; 0 takes lr.
        d_lr: learning rate of the discriminators alone; 0 takes lr.
        width: number of channels of the generators' first layer.
        blocks: number of residual blocks; 0 takes 6 for images of up to 128 pixels a side, 9 for larger ones.
        d_width: number of channels of the discriminators' first layer.
        halvings: number of the discriminators' halvings of an image: 3 judge patches of 70x70 pixels, 2 of 34x34, 1 of
            16x16; 0 takes 3, or fewer for images below 64 pixels.
    """

    name: ClassVar[str] = "cyclegan"

    steps: int = 40000
    schedule: str = "linear"
    decay_from: int = -1
    loss: str = "least-squares"
    adversarial: float = 2.0
    cycle: float = 10.0
    identity: float = 5.0
    pool: int = 50
    g_lr: float = 0.0
    d_lr: float = 0.0
    width: int = 64
    blocks: int = 0
    d_width: int = 64
    halvings: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("adversarial", "width", "d_width")
        self.check_from_zero("cycle", "identity", "pool", "g_lr", "d_lr", "blocks", "halvings")
        self.check_choice("loss", SEPARATE)
        if self.halvings > 3:
            raise ConfigError(f"{self.name}: halvings must be at most 3, got {self.halvings}. Leave `halvings` out.")

    def check_size(self, size: tuple[int, int]) -> None:
        check_resnet_size(size)

    def translator(self, name: str, image_shape: Shape) -> Sequential:
        blocks = self.blocks or resnet_blocks((image_shape[0], image_shape[1]))
        return Sequential(resnet_generator(image_shape[2], blocks=blocks, width=self.width), name=name)

    def judge(self, name: str, image_shape: Shape) -> Sequential:
        """A discriminator of that name, not built: from images of that shape to a map of logits."""
        side = min(image_shape[:2])
        halvings = self.halvings or (3 if side >= 64 else 2 if side >= 24 else 1)
        return Sequential(
            patch_discriminator(width=self.d_width, halvings=halvings, norm="instance", affine=False), name=name
        )

    def networks(self, image_shape: Shape) -> list[tuple[Sequential, Shape]]:
        a_shape = self.source_shape(image_shape)
        return [
            *(self.drawing(name, image_shape) for name in self.generator_names),
            *((self.judge(name, shape), shape) for name, shape in (("D_A", a_shape), ("D_B", image_shape))),
        ]

    def learner(self, networks: Sequence[Sequential]) -> CycleConsistent:
        G_AB, G_BA, D_A, D_B = networks
        rates = {"G_AB": self.g_lr, "G_BA": self.g_lr, "D_A": self.d_lr, "D_B": self.d_lr}
        optimizers = {
            name: self.make_optimizer(network.arena, lr=rate or self.lr)
            for (name, rate), network in zip(rates.items(), networks, strict=True)
        }
        return CycleConsistent(
            G_AB,
            G_BA,
            D_A,
            D_B,
            optimizers=optimizers,
            loss=get_loss(self.loss),
            adversarial=self.adversarial,
            cycle=self.cycle,
            identity=self.identity,
            pools=(FakePool(G_BA, size=self.pool), FakePool(G_AB, size=self.pool)) if self.pool else None,
            accumulate=self.accumulate,
        )
