"""State on disk: the file format and its migrations, a run's folder of checkpoints, saving and loading of parts."""

from minigan.checkpoints.folder import CheckpointFolder
from minigan.checkpoints.save_load import Stateful, load, save

__all__ = ["CheckpointFolder", "Stateful", "load", "save"]


def __dir__() -> list[str]:
    return sorted(__all__)
