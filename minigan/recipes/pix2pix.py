"""pix2pix: pairs of pictures, a U-Net and a discriminator of patches.

Isola et al. 2017 ("Image-to-Image Translation with Conditional Adversarial Networks"): G is a U-Net of 4x4
convolutions with stride 2, 64 to 512 channels, whose levels are joined by skips (section 3.2.1); D judges each patch
of 70x70 pixels, given the source (section 3.2.2); G minimizes its adversarial loss + 100 * mean |G(x) - y| (equations 1
to 4); batches of one image, Adam with lr 2e-4 and β1 .5, weights from N(0, .02) (section 3.3).

The data are pictures of two halves (`--data FOLDER`, which may have the sub-folders `train` and `val`), two folders of
files with the same names (`--data PHOTOS --targets MAPS`), or the embedded shapes with their class maps.
`--set direction=BtoA` reverses the task. The U-Net has 8 levels at 256x256, 6 at 64x64.

Corrections to the usual tutorial code:

- D ends in a map of logits, and its loss is the mean over all patches; the network has no sigmoid.
- D judges pairs: it is shown the source together with the image. Without it (`conditional=false`) G may draw any
  street.
- The innermost layer is not normalized: of a single pixel in a single image BatchNorm would leave only beta.
- Dropout and the image's own statistics stay on when G draws (section 3.3): they are G's noise, and a G trained on
  single images has never seen BatchNorm's running statistics.
- The paper halves D's loss so that D learns more slowly. Adam divides by the gradient's size and undoes that, so the
  factor is left out; `--set d_lr=1e-4` has the intended effect.

`--set adversarial=0` trains the same G with L1 alone, a baseline for comparison.
"""

from dataclasses import dataclass
from typing import ClassVar

from minigan.nn.network import Sequential
from minigan.nn.network.unet import NORMS, patch_discriminator, unet, unet_levels
from minigan.recipes.bases.recipe import Shape
from minigan.recipes.bases.translation import PairRecipe


@dataclass(frozen=True, kw_only=True)
class Pix2Pix(PairRecipe):
    """A U-Net and a discriminator of patches, for pairs of pictures.

    Settings:
        width: number of channels of the U-Net's first level.
        d_width: number of channels of D's first layer.
        norm: normalization: batch, or instance (each image by itself, for larger batches).
        dropout: rate of Dropout in the first three layers of the decoder.
    """

    name: ClassVar[str] = "pix2pix"
    as_in_training: ClassVar[bool] = True

    steps: int = 40000
    width: int = 64
    d_width: int = 64
    norm: str = "batch"
    dropout: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("width", "d_width")
        self.check_choice("norm", NORMS)
        self.check_share("dropout")

    def check_size(self, size: tuple[int, int]) -> None:
        unet_levels(size)

    def generator(self, image_shape: Shape) -> Sequential:
        levels = unet_levels((image_shape[0], image_shape[1]))
        layers = unet(image_shape[-1], levels=levels, width=self.width, norm=self.norm, dropout=self.dropout)
        return Sequential(layers, name="G")

    def discriminator(self, image_shape: Shape) -> Sequential:
        """D, not built: a discriminator of 70x70 patches, or of smaller ones for images below 24 pixels."""
        halvings = next((n for n in (3, 2) if min(image_shape[:2]) >> n >= 3), 1)
        return Sequential(patch_discriminator(width=self.d_width, halvings=halvings, norm=self.norm), name="D")
