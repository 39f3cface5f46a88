"""Pictures that commands write."""

from pathlib import Path

import numpy as np

from minigan.data.picture_files import loss_of
from minigan.support.output import Output
from minigan.training.exhibit import save_picture

__all__ = ["write_picture"]


def write_picture(path: Path, picture: np.ndarray, out: Output) -> None:
    """Writes a picture (H, W, C) uint8 in the format that its name says, and notes what the format loses.

    Raises:
        ConfigError, MissingExtraError, OutputError: see `save_picture`.
    """
    save_picture(path, picture)
    if line := loss_of(path):
        out.note(line)
