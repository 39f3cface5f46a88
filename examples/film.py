"""A film of a training, small enough for a page: noise becomes digits, a column for each.

    python examples/film.py --steps 3000

A listener receives each sample picture, always of the same noise. The film shows the beginning in small steps and the
rest in larger ones, the upper half of each picture, and 16 of its 256 levels of gray: an eighth of the bytes of all
pictures as they are, which `minigan sample RUN --film film.png` would keep.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import minigan
from minigan.data import encode_film
from minigan.training import Listener

LEVELS = 16


class Frames(Listener):
    """Pictures of a training; after the first twenty every fourth."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.kept: list[np.ndarray] = []

    def on_picture(self, step: int, picture: np.ndarray) -> None:
        if step <= 20 * self.every or step % (4 * self.every) == 0:
            upper = picture[: picture.shape[0] // 2 + 1]
            self.kept.append((np.round(upper / 255 * (LEVELS - 1)) * (255 // (LEVELS - 1))).astype(np.uint8))


def main(steps: int, out: Path) -> None:
    every = max(1, steps // 60)
    frames = Frames(every)
    with TemporaryDirectory() as folder:
        minigan.train("dcgan", steps=steps, out=Path(folder) / "run", sample_every=every, listeners=[frames])
    out.write_bytes(encode_film(frames.kept, out))
    print(f"{len(frames.kept)} pictures of {steps} steps: {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--out", type=Path, default=Path("film.png"))
    options = parser.parse_args()
    main(options.steps, options.out)
