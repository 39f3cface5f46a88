"""Tools for the space of a generator's inputs: the noise of seeds, truncation, walks and projection."""

from minigan.latent.feature_distance import FeatureDistance
from minigan.latent.projection import Projection, Search, project_image
from minigan.latent.sources import Sources, random_sources, seed_sources
from minigan.latent.tools import LatentTools
from minigan.latent.walk import walk_between, walk_length

__all__ = [
    "FeatureDistance",
    "LatentTools",
    "Projection",
    "Search",
    "Sources",
    "project_image",
    "random_sources",
    "seed_sources",
    "walk_between",
    "walk_length",
]


def __dir__() -> list[str]:
    return sorted(__all__)
