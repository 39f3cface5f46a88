"""Base of the GANs that restore images: they are degraded on the fly, so any images will do."""

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
from minigan.recipes.bases.recipe import Shape
from minigan.recipes.bases.translation import ImagePair, TranslationRecipe

SPLITS = ("train", "val")


@dataclass(frozen=True, kw_only=True)
class RestorationRecipe(TranslationRecipe):
    """Base of the recipes whose targets are images and whose sources are the same images, degraded at random.

    The step's random numbers decide the degradation: a resumed run draws the same.

    Settings:
        size: size of the images, a side or height and width (48x64); 0 takes the nearest to the data's that G can draw,
            with sides of at most 128.
        held_back: number of images held out of training, for pictures and figures; at most a tenth of all.
        width: number of channels of G's hidden layers.
        d_width: number of channels of D's first layer.
        norm: normalization in D: batch or instance.
    """

    batch_size: int = 16
    l1: float = 1.0
    adversarial: float = 1e-3
    steps: int = 10000
    held_back: int = 500
    width: int = 64
    d_width: int = 64
    norm: str = "batch"

    largest_size = 128
    multiple: ClassVar[int] = 1  # the sides must be multiples of this

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("held_back", "width", "d_width")
        self.check_choice("norm", NORMS)

    @abstractmethod
    def spoil(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Degrades images (N, H, W, C) in [-1, 1] to G's sources, float32 (N, *source_shape)."""

    def pair(self, item: np.ndarray | ImagePair, rng: np.random.Generator) -> ImagePair:
        if isinstance(item, tuple):
            raise ConfigError(f"{self.name} makes pairs from single images, got pairs. Use a dataset of images.")
        return self.spoil(item, rng), item

    def discriminator(self, image_shape: Shape) -> Sequential:  # noqa: ARG002 (any size will do)
        """D, not built: a discriminator of 34x34 patches."""
        return Sequential(patch_discriminator(width=self.d_width, halvings=2, norm=self.norm), name="D")

    # ------------------------------------------------------------------------------------------ data

    def check_size(self, size: tuple[int, int]) -> None:
        if min(size) < 16 or any(side % self.multiple for side in size):
            raise ConfigError(
                f"{self.name}: expected sides of at least 16 pixels that are multiples of {self.multiple}, got "
                f"{size[0]}x{size[1]}. Use `size=64`."
            )

    def open_data(self, source: str, *, seed: int) -> Dataset:
        images = super().open_data(source, seed=seed)
        if not isinstance(images, Dataset):
            raise ConfigError(f"{self.name} makes pairs from single images, got pairs. Use a dataset of images.")
        if len(images.shape) == 1:
            self.check_points()
        return split_dataset(images, held_out=self.held_back, part="train")

    def open_split(self, source: str, image_shape: Shape, *, split: str | None, seed: int) -> Dataset:
        if split not in (None, *SPLITS):
            raise ConfigError(
                f"{self.name}: expected the split {' or '.join(SPLITS)}, got {split!r}. Choose one of them."
            )
        H, W, channels = image_shape
        images = open_dataset(source, size=(H, W), channels=channels, seed=seed)
        return split_dataset(images, held_out=self.held_back, part="train" if split == "train" else "val")

    def held_out(self, source: str, dataset: Collection, *, seed: int) -> Collection:
        return self.open_split(source, self.image_shape(dataset), split=None, seed=seed)
