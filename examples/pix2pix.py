"""pix2pix written out: from scenes to class maps, with the U-Net, the patches and the L1 loss of Isola et al. 2017.

    python examples/pix2pix.py --steps 1500

Trains on the embedded shapes at 64x64 and writes source | output | target for scenes that it has never seen. G soon
finds the shapes; the colors of their classes it learns much later. The recipe `pix2pix` trains on folders of
side-by-side files, at any size.
"""

import argparse
from pathlib import Path

import numpy as np

from minigan.data import Loader, ShapePairs
from minigan.losses import NonSaturating, l1
from minigan.nn import Adam, ConcatCondition, Sequential, patch_discriminator, unet
from minigan.training import AlternatingOptimizer, Batch, Exhibit, GeneratorTerm, save_picture

SHAPE = (64, 64, 3)


def main(steps: int, out: Path) -> None:
    rng = np.random.default_rng(0)
    G = Sequential(unet(3, levels=6, width=24), name="G").build(SHAPE, backend="auto", rng=rng)
    # D is shown the scene and a map, and judges for each patch whether the map is the true one.
    D = Sequential([ConcatCondition(SHAPE), *patch_discriminator(width=24)], name="D")
    D.build(SHAPE, backend="auto", rng=rng)
    gan = AlternatingOptimizer(
        G,
        D,
        loss=NonSaturating(),
        noise=None,  # G starts from the scene; Dropout is all its noise
        g_optimizer=Adam(G.arena, lr=2e-4, beta1=0.5),
        d_optimizer=Adam(D.arena, lr=2e-4, beta1=0.5),
        generator_terms=[GeneratorTerm(100.0, l1)],
    )
    with Loader(ShapePairs(seed=0), batch_size=4, seed=0) as loader:
        batches = (Batch(maps, condition=scenes, source=scenes) for scenes, maps in loader)
        for step in range(1, steps + 1):
            values = gan.step(batches, rng)
            if step % 100 == 0 or step == steps:
                print(f"step {step}  " + "  ".join(f"{k} {float(v):.3f}" for k, v in values.headline().items()))
    scenes, maps = ShapePairs(seed=1).read(np.arange(8))
    exhibit = Exhibit(scenes, before=(scenes,), after=(maps,), as_in_training=True, batch_size=4)
    save_picture(out, exhibit.picture(exhibit.draw(G)))
    print(f"source | output | target: {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--out", type=Path, default=Path("pix2pix.png"))
    options = parser.parse_args()
    main(options.steps, options.out)
