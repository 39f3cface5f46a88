"""The frames of a run: points of the plane, or images."""

from typing import Any, Protocol

from minigan.data import Dataset
from minigan.errors import ConfigError
from minigan.live.picture_frames import PictureFrames
from minigan.live.plane import PlaneFrames
from minigan.live.view import View
from minigan.recipes.bases.noise import NoiseRecipe
from minigan.runs.prepare import PreparedRun
from minigan.training import AlternatingOptimizer

__all__ = ["Frames", "frames_of"]


class Frames(Protocol):
    """Makes the frames of a run.

    Attributes:
        kind: plane or pictures.
        layers: the names of what may be drawn.
        first: those that are drawn until somebody chooses.
    """

    @property
    def kind(self) -> str: ...

    @property
    def layers(self) -> tuple[str, ...]: ...

    @property
    def first(self) -> tuple[str, ...]: ...

    def about(self, game: AlternatingOptimizer) -> dict[str, Any]:
        """The data and the layers that frames may have: all that never changes."""

    def frame(self, game: AlternatingOptimizer, view: View) -> dict[str, Any]:
        """The present of a run, as far as somebody looks at it."""


def frames_of(prepared: PreparedRun) -> Frames:
    """The frames for a run's data.

    Raises:
        ConfigError: these are neither points nor images, or G does not draw from noise.
    """
    recipe, dataset, seed = prepared.recipe, prepared.dataset, prepared.config.seed
    if not isinstance(recipe, NoiseRecipe) or not isinstance(dataset, Dataset):
        raise ConfigError(f"the live page shows GANs that draw points or images from noise, {recipe.name} is none.")
    if len(dataset.shape) == 1:
        extent = float(prepared.trainer.state.model["extent"])
        return PlaneFrames(recipe, dataset, extent=extent, seed=seed)
    return PictureFrames(recipe, dataset, seed=seed)
