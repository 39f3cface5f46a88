"""State on disk: the file format, a run's folder of checkpoints, and saving and loading of parts of one's own."""

from minigan.checkpoints.folder import CheckpointFolder
from minigan.checkpoints.save_load import Stateful, load, save

__all__ = ["CheckpointFolder", "Stateful", "load", "save"]
