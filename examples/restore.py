"""Restoration: one loop for super-resolution, denoising and inpainting, with the recipes' networks.

    python examples/restore.py --steps 400 --recipe inpaint

Trains on the embedded shapes at 32x32, without a discriminator. On held-out images the outputs are compared with a
baseline that needs no training: bicubic interpolation, the noisy image, or the mean color.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from minigan.evaluation.metrics import psnr
from minigan.recipes import Denoise, Inpaint, RestorationRecipe, SuperResolution
from minigan.training import save_picture

SMALL: dict[str, RestorationRecipe] = {
    "superres": SuperResolution(width=24, blocks=2),
    "denoise": Denoise(width=24, depth=5),
    "inpaint": Inpaint(width=16),
}


def main(steps: int, out: Path, name: str = "superres") -> None:
    recipe = replace(SMALL[name], size=32, adversarial=0.0, lr=1e-3)
    rng = np.random.default_rng(0)
    data = recipe.open_data("shapes", seed=0)  # the training part
    learner = recipe.assemble(recipe.image_shape(data), rng=rng)
    with recipe.loader(data, seed=0) as loader:
        batches = (recipe.batch(images, rng) for images in loader)  # degraded anew each time
        for step in range(1, steps + 1):
            values = learner.step(batches, rng)
            if step % 100 == 0 or step == steps:
                print(f"step {step}  " + "  ".join(f"{k} {float(v):.4f}" for k, v in values.headline().items()))

    kept = recipe.held_out("shapes", data, seed=0)
    exhibit = recipe.exhibit_rows(kept, np.arange(12), seed=0)
    drawn, target = exhibit.draw(learner.G), exhibit.after[0]
    baseline = recipe.baseline(exhibit.z)
    for what, images in ((name, drawn), (recipe.baseline_name, baseline)):
        print(f"{what}: {psnr(np.clip(images, -1, 1), target).mean():.2f} dB")
    save_picture(out, exhibit.picture(drawn))
    print(f"{' | '.join(recipe.columns)}: {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--recipe", choices=list(SMALL), default="superres")
    parser.add_argument("--out", type=Path, default=Path("restored.png"))
    options = parser.parse_args()
    main(options.steps, options.out, options.recipe)
