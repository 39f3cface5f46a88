"""GANs of dense networks, for small images and for points in the plane."""

from dataclasses import dataclass
from typing import ClassVar

from minigan.recipes.bases.noise import NoiseRecipe


@dataclass(frozen=True, kw_only=True)
class DenseRecipe(NoiseRecipe):
    """A GAN of dense networks, which draw points as well as images up to 64 pixels a side."""

    usual_size: ClassVar[int] = 28
    largest_size: ClassVar[int] = 64

    def check_points(self) -> None:
        """Accepts points."""
