"""Noise on the images that D sees."""

from typing import NamedTuple

__all__ = ["InstanceNoise"]


class InstanceNoise(NamedTuple):
    """Normal noise on every image that D sees, so that real and fake overlap; it fades linearly.

    Source: Arjovsky & Bottou 2017, section 3; Sønderby et al. 2017, on instance noise.

    Attributes:
        std: the standard deviation in the first step.
        steps: G's steps until the noise is gone.
    """

    std: float
    steps: int

    def std_at(self, step: int) -> float:
        """The standard deviation after that many steps of G."""
        return self.std * max(0.0, 1 - step / self.steps)
