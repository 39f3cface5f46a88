"""Several discriminators against one generator.

K DCGAN discriminators (Radford et al. 2016) differ in their initial weights and, with `multi_scale=yes`, in the size at
which they see the image: the k-th one sees means over blocks of 2^k x 2^k pixels, as in pix2pixHD (Wang et al. 2018,
section 3.2). They are one network of K parallel branches with K logits (`minigan.nn.network.Parallel`).

Each D_k plays its own game against G. G has a loss V_k against each of them, and minimizes

- with `weights=mean` their mean. Its gradient vanishes only where *all* D_k are sure of a fake, so K discriminators
  also help against the saturating loss (`--set loss=minimax`);
- with `weights=softmax` the sum of w_k V_k with w_k = exp(λ V_k) / sum_j exp(λ V_j) and λ = `sharpness`: the stricter
  D_k is, the more it counts. λ = 0 gives the mean, and a large λ nearly the strictest alone.

Source: Durugkar, Gemp & Mahadevan 2017 ("Generative Multi-Adversarial Networks"), section 3.3.1, equation 3.

A gradient penalty is the mean over k of the penalties on D_k's slope. (A penalty on the network as a whole would see
the slope of the sum of all K logits, in which the slopes of two discriminators may cancel.)

Corrections to the usual tutorial code:

- K discriminators made from one object, `[D] * K`, share all weights and are one. Here each has its own.
- The weights w_k depend on G's fakes, too, so they have a gradient: dF/dV_k = w_k (1 + λ (V_k - F)).
- The strictest D_k is the one against which G's loss is *large*. A softmax of the discriminators' own losses has the
  opposite order and gives the weight to the weakest.
- One pass of G serves all K, where a loop over them would draw new fakes for each.
"""

from dataclasses import dataclass
from typing import ClassVar

from minigan.errors import ConfigError
from minigan.losses import LOSSES, CoupledLoss, Loss, SoftmaxMixture
from minigan.losses.gradient_penalties import GradientPenalty, PenaltyOfEach
from minigan.nn.layers import AveragePooling2D
from minigan.nn.network import Parallel, Sequential
from minigan.recipes.bases.noise import AUTO
from minigan.recipes.bases.recipe import Shape
from minigan.recipes.dcgan import DCGAN, halvings

WEIGHTS = ("mean", "softmax")


@dataclass(frozen=True, kw_only=True)
class MultiD(DCGAN):
    """A DCGAN with several discriminators, for images of 28, 32, 64 or 128 pixels.

    Settings:
        discriminators: K, the number of discriminators.
        weights: weights of the K losses in G's loss: mean or softmax.
        sharpness: λ of the softmax, from 0 up.
        multi_scale: True shows each discriminator the image at half the size of the one before.
    """

    name: ClassVar[str] = "multi-d"

    steps: int = 4000  # and the paper's networks and settings: each of the K games is the paper's
    lr: float = 2e-4
    ema: float = 0.0
    width: int = 64
    mapping: int = 0
    head: int = 0
    discriminators: int = 3
    weights: str = "mean"
    sharpness: float = 1.0
    multi_scale: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_layers("discriminators")
        self.check_from_zero("sharpness")
        self.check_choice("weights", WEIGHTS)
        if issubclass(LOSSES[self.loss], CoupledLoss):
            raise ConfigError(
                f"{self.name}: the loss {self.loss} would compare one discriminator's real logits with another's fake "
                "logits. Use a loss that judges each logit by itself, such as non-saturating or hinge."
            )
        if self.feature_matching:
            raise ConfigError(
                f"{self.name}: feature_matching needs a single discriminator, got {self.discriminators}. "
                "Use the recipe dcgan, or leave it out."
            )
        if self.penalty != "none" and (self.augment or self.pack > 1 or self.condition == "concatenation"):
            raise ConfigError(
                f"{self.name}: penalty={self.penalty} cannot be used with augment, pack or condition=concatenation. "
                "Leave one of them out."
            )

    def blind_to_classes(self, condition: str) -> str:
        joined = condition == "concatenation" and self.penalty != "none"
        return f"penalty={self.penalty}" if joined and self.condition == AUTO else super().blind_to_classes(condition)

    def check_size(self, size: tuple[int, int]) -> None:
        allowed = halvings(size)
        if self.multi_scale and self.discriminators > allowed:
            raise ConfigError(
                f"{self.name}: with multi_scale each discriminator needs one halving, and {size[0]}x{size[1]} images "
                f"allow {allowed}, got discriminators={self.discriminators}. Use fewer, or `size=64`."
            )

    def discriminator(self, image_shape: Shape) -> Sequential:
        H, W, C = image_shape
        self.check_size((H, W))
        branches = []
        for k in range(self.discriminators):
            scale = 1 << k if self.multi_scale else 1
            smaller = [AveragePooling2D(scale)] if scale > 1 else []
            branches.append([*smaller, *super().discriminator((H // scale, W // scale, C)).layers])
        return Sequential([Parallel(branches)], name="D")

    def gradient_penalty(self) -> GradientPenalty | None:
        penalty = super().gradient_penalty()
        return PenaltyOfEach(penalty) if penalty is not None else None

    def adversarial_loss(self) -> Loss:
        loss = super().adversarial_loss()
        if self.weights == "mean" or isinstance(loss, CoupledLoss):
            return loss
        return SoftmaxMixture(loss, sharpness=self.sharpness)
