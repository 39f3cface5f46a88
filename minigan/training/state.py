"""Everything that a training changes, as one object: the content of a checkpoint, and the state that listeners see."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minigan.checkpoints.format import network_arrays
from minigan.checkpoints.resume_checks import check_model, checked_rng, items_warning, versions_warning
from minigan.data import Loader
from minigan.distributed import Ranks
from minigan.errors import CheckpointError, ConfigError, MiniganError
from minigan.support.folder_owner import FolderOwner
from minigan.training.learner import Learner
from minigan.training.moving_average import MovingAverage

__all__ = ["TrainingState"]


@dataclass
class TrainingState:
    """A training between two steps.

    Attributes:
        learner: networks and optimizers.
        loader: batches of the data, images in [-1, 1].
        rng: of everything random in a step: noise, dropout.
        averages: the moving averages of the generators' weights, by the generators' names; none if none are kept.
        model: the description of `model.safetensors`, enough to rebuild G.
        config: the text of the run's config.toml.
        folder: the run's.
        steps: the step at which training is done.
        step: the number of steps done.
        owner: keeps other trainings out of the folder; None does not.
        data: the data in a line, and the notes on how their source was understood; for model cards.
        resumed_config: the text of config.toml when the checkpoint was made that training resumes from; "" for none.
    """

    learner: Learner
    loader: Loader[Any]
    rng: np.random.Generator
    model: dict[str, Any]
    folder: Path
    steps: int
    averages: Mapping[str, MovingAverage] = field(default_factory=dict)
    config: str = ""
    step: int = 0
    owner: FolderOwner | None = None
    data: tuple[str, tuple[str, ...]] = ("", ())
    resumed_config: str = ""

    def __repr__(self) -> str:
        return f"<TrainingState: {type(self.learner).__name__}, step {self.step:,} of {self.steps:,}, {self.folder}>"

    @property
    def ranks(self) -> Ranks:
        """The processes that share this training; the first of them writes files."""
        return self.learner.G.kernels.ranks

    @property
    def average(self) -> MovingAverage | None:
        """The moving average of the first generator, if there is one."""
        return self.averages.get(self.learner.generators[0])

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that training has changed, in host memory, by name."""
        arrays = self.learner.to_dict()
        for average in self.averages.values():
            average.settle()
            arrays |= average.to_dict()
        return arrays

    def drawing(self) -> dict[str, np.ndarray]:
        """The arrays of the generators and of their averages, as `model.safetensors` has them; settled before."""
        arrays: dict[str, np.ndarray] = {}
        for name in self.learner.generators:
            arrays |= network_arrays(self.learner.networks[name], name)
        for average in self.averages.values():
            arrays |= network_arrays(average.network, average.name)
        return arrays

    def description(self) -> dict[str, Any]:
        """The description in a checkpoint, next to its arrays; JSON can hold it."""
        return {
            "rng": self.rng.bit_generator.state,
            "loader": self.loader.state(),
            "model": self.model,
            "config": self.config,
            "data": {"description": self.data[0], "notes": list(self.data[1])},
        }

    def load(self, arrays: dict[str, np.ndarray], description: dict[str, Any], *, source: Path) -> list[str]:
        """Restores the whole checkpoint or, if it is refused, nothing.

        Returns:
            Warnings, if the versions or the number of items in the data differ.
        Raises:
            CheckpointError: it is damaged, or of another network or other data.
        """
        check_model(description["model"], self.model, source)
        rng_state = checked_rng(description["rng"], self.rng, source)
        before = self.loader.state()
        try:
            self.loader.restore(description["loader"], same_items=False)
            self._load_arrays(arrays, source=str(source))
        except ConfigError as error:
            raise CheckpointError(f"{source}: {error}") from None
        except MiniganError as error:
            self.loader.restore(before)
            raise CheckpointError(str(error)) from None
        self.rng.bit_generator.state = rng_state
        self.model = {**self.model, "extent": description["model"]["extent"]}  # pictures keep their extent
        self.step, self.resumed_config = description["step"], description["config"]
        warnings = (
            versions_warning(description.get("versions", {})),
            items_warning(description["loader"]["items"], before["items"]),
        )
        return [warning for warning in warnings if warning is not None]

    def _load_arrays(self, arrays: dict[str, np.ndarray], *, source: str) -> None:
        parts: list[Learner | MovingAverage] = [self.learner, *self.averages.values()]
        before = [part.to_dict() for part in parts]
        try:
            for part in parts:
                part.load_dict(arrays, source=source)
        except MiniganError:
            for part, own in zip(parts, before, strict=True):
                part.load_dict(own, source=source)
            raise
