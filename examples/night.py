"""Day and night without pairs: CycleGAN learns a shift of colors whose true map is known, so that it can be measured.

    python examples/night.py --steps 1500
    python examples/night.py --steps 1500 --data camvid/train --left

A is one half of the pictures, as they are; B is the other half, by night: darker, bluer, the colors faded. No picture
is on both sides, and the training never sees the map. Afterwards held-out pictures of A are translated and compared
with what the map makes of them; beside it stand the figures of two baselines, the pictures as they are and one night
color. `--left` takes the left halves, of pictures that are pairs side by side.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import minigan
from minigan.data import encode_png
from minigan.evaluation.metrics import psnr

SIDE, MOST, HELD_OUT = 64, 400, 16


def night(day: np.ndarray) -> np.ndarray:
    """The true map: images by day (N, H, W, 3) in [-1, 1], as they are by night."""
    light = (day + 1) / 2
    faded = 0.6 * light + 0.4 * light.mean(axis=-1, keepdims=True)
    return 2 * (faded**1.4 * (0.30, 0.38, 0.62) + (0.02, 0.03, 0.09)) - 1


def write_sides(days: np.ndarray, folder: Path) -> None:
    """Writes trainA, testA, trainB and testB."""
    half = len(days) // 2
    for letter, images in (("A", days[:half]), ("B", night(days[half:]))):
        for part, chosen in (("test", images[:HELD_OUT]), ("train", images[HELD_OUT:])):
            (folder / f"{part}{letter}").mkdir(parents=True)
            for k, image in enumerate(np.rint((chosen + 1) * 127.5).astype(np.uint8)):
                (folder / f"{part}{letter}" / f"{k:04}.png").write_bytes(encode_png(image))


def main(steps: int, out: Path, data: str = "shapes", left: bool = False) -> None:
    dataset = minigan.open_dataset(data, size=(SIDE, 2 * SIDE) if left else SIDE, channels=3)
    chosen = np.random.default_rng(0).permutation(len(dataset))[:MOST]
    days = np.asarray(dataset[np.sort(chosen)])[np.argsort(np.argsort(chosen)), :, :SIDE]
    with tempfile.TemporaryDirectory() as folder:
        write_sides(days, Path(folder) / "sides")
        small = {"width": 16, "blocks": 3, "d_width": 16, "batch_size": 4, "checkpoint_every": steps}
        run = minigan.train(
            "cyclegan", data=str(Path(folder) / "sides"), steps=steps, out=Path(folder) / "run", **small
        )
        held_out = days[:HELD_OUT].astype(np.float32)
        drawn = minigan.generate(run.generators["G_AB"].G, held_out)
        again = minigan.generate(run.generators["G_BA"].G, drawn)
    truth = night(days[:HELD_OUT])
    flat = np.broadcast_to(truth.mean(axis=(0, 1, 2)), truth.shape)
    for name, images in (("translated", drawn), ("as they are", held_out), ("one night color", flat)):
        print(f"{name}: {psnr(np.clip(images, -1, 1), truth).mean():.1f} dB from the truth")
    rows = [np.concatenate(four, axis=1) for four in zip(held_out[:6], drawn, truth, again, strict=False)]
    out.write_bytes(encode_png(np.rint((np.clip(np.concatenate(rows), -1, 1) + 1) * 127.5).astype(np.uint8)))
    print(f"day | drawn | true night | and back: {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--data", default="shapes")
    parser.add_argument("--left", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("night.png"))
    options = parser.parse_args()
    main(options.steps, options.out, options.data, options.left)
