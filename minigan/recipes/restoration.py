"""GANs that mend images: what hides an image is done to it on the fly, so any images will do."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from minigan.data import Dataset, open_dataset
from minigan.data.dataset import Collection
from minigan.data.subset import split_dataset
from minigan.errors import ConfigError
from minigan.nn.network import Sequential
from minigan.nn.network.unet import NORMS, patch_discriminator
from minigan.recipes.base import Shape
from minigan.recipes.translation import ImagePair, TranslationRecipe

SPLITS = ("train", "val")


@dataclass(frozen=True, kw_only=True)
class RestorationRecipe(TranslationRecipe):
    """A GAN whose targets are images and whose sources are the same images, spoilt by chance.

    What spoils them is drawn from the step's random numbers: a run that is resumed draws the same.

    Settings:
        size: the images' side; 0 takes the data's own, if G can draw it and it is at most 128, and 64 otherwise.
        held_back: how many images are kept from training, for pictures and figures; a tenth of them at most.
        width: channels of G's hidden layers.
        d_width: channels of D's first layer.
        norm: of D: batch or instance.
    """

    batch_size: int = 16
    l1: float = 1.0
    adversarial: float = 1e-3
    steps: int = 10000
    held_back: int = 500
    width: int = 64
    d_width: int = 64
    norm: str = "batch"

    sizes = (64,)
    largest_size = 128
    multiple: ClassVar[int] = 1  # the sides must be multiples of this

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("held_back", "width", "d_width")
        self.check_choice("norm", NORMS)

    @abstractmethod
    def spoil(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Images (N, H, W, C) in [-1, 1] as G's sources, (N, *source_shape), float32."""

    def pair(self, item: np.ndarray | ImagePair, rng: np.random.Generator) -> ImagePair:
        if isinstance(item, tuple):
            raise ConfigError(f"{self.name} makes its own pairs of single images. Use images, not pairs of them.")
        return self.spoil(item, rng), item

    def discriminator(self, image_shape: Shape) -> Sequential:  # noqa: ARG002 (any size will do)
        """Judges patches of 34x34 pixels."""
        return Sequential(patch_discriminator(width=self.d_width, halvings=2, norm=self.norm), name="D")

    # ------------------------------------------------------------------------------------------ data

    def check_size(self, size: tuple[int, int]) -> None:
        if min(size) < 16 or any(side % self.multiple for side in size):
            raise ConfigError(
                f"{self.name}: expected sides of at least 16 pixels that are multiples of {self.multiple}, got "
                f"{size[0]}x{size[1]}. Use --set size=64."
            )

    def open_data(self, source: str, *, seed: int) -> Dataset:
        images = super().open_data(source, seed=seed)
        if not isinstance(images, Dataset):
            raise ConfigError(f"{self.name} makes its own pairs of single images. Use images, not pairs of them.")
        if len(images.shape) == 1:
            self.check_points()
        return split_dataset(images, held_out=self.held_back, part="train")

    def open_split(self, source: str, image_shape: Shape, *, split: str | None, seed: int) -> Dataset:
        if split not in (None, *SPLITS):
            raise ConfigError(f"{self.name} knows the splits {' and '.join(SPLITS)}, got {split!r}.")
        H, W, channels = image_shape
        images = open_dataset(source, size=(H, W), channels=channels, seed=seed)
        return split_dataset(images, held_out=self.held_back, part="train" if split == "train" else "val")

    def held_out(self, source: str, dataset: Collection, *, seed: int) -> Collection:
        return self.open_split(source, self.image_shape(dataset), split=None, seed=seed)
