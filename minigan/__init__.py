"""Generative adversarial networks with every gradient written by hand.

Train a GAN, read its log, draw samples:

    run = minigan.train("dcgan", data="digits", steps=500, width=16)
    run.log                                     # losses, as records
    images = run.generator.sample(16, seed=7)   # in [-1, 1]
    run.resume(steps=1000)
    run = minigan.open_run("runs/dcgan-digits-1")

Or write your own loop:

    gan = minigan.get_recipe("dcgan")().assemble((28, 28, 1), rng=rng)    # or networks of your own
    with minigan.data.Loader(minigan.open_dataset("digits"), batch_size=64, seed=0) as batches:
        for step in range(1000):
            values = gan.step(batches, rng)
    pictures = minigan.to_pixels(minigan.generate(gan.G, z))
    minigan.save("gan.safetensors", {"gan": gan})

The rooms, each built on those above it:

    errors       everything that minigan raises on purpose
    support      the machine and the terminal
    distributed  processes that share a batch
    backends     the kernels: NumPy, Numba, CuPy
    nn           layers, networks, optimizers, initializers, schedules, gradient checks
    losses       adversarial losses, regression losses, gradient penalties, feature matching
    data         embedded sets, readers of files, batches, pictures
    checkpoints  state on disk
    evaluation   how close samples are to the data; each measure is a function of evaluation.metrics
    training     one step of training, the loop around it, moving averages, samples
    recipes      whole GANs by name, with their settings
    latent       single latent vectors: seeds, truncation, walks, projection
    runs         a recipe, its data and a folder; trained generators; train and open_run
    live         a page on which a GAN is watched, stopped, stepped and changed as it learns
    inspection   networks, layers and losses explained, with counts and checked examples
    export       networks for other programs
    cli          the command line

All of these are available after `import minigan`; each is loaded when it is first used.
"""

from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "MiniganError",
    "__version__",
    "generate",
    "get_recipe",
    "load",
    "load_generator",
    "open_dataset",
    "open_run",
    "save",
    "save_generator",
    "save_picture",
    "survey",
    "to_pixels",
    "train",
]

if TYPE_CHECKING:
    from minigan.checkpoints import load, save
    from minigan.data import open_dataset, survey
    from minigan.errors import MiniganError
    from minigan.recipes import get_recipe
    from minigan.runs import load_generator, open_run, save_generator, train
    from minigan.training import generate, save_picture, to_pixels
else:
    # Late: `import minigan` loads nothing, not even NumPy.
    _HOMES = {
        "checkpoints": ("load", "save"),
        "data": ("open_dataset", "survey"),
        "errors": ("MiniganError",),
        "recipes": ("get_recipe",),
        "runs": ("load_generator", "open_run", "save_generator", "train"),
        "training": ("generate", "save_picture", "to_pixels"),
    }

    def __getattr__(name: str) -> Any:
        for home, names in _HOMES.items():
            if name in names:
                return getattr(import_module(f"minigan.{home}"), name)
        if name.isidentifier() and not name.startswith("_") and find_spec(f"minigan.{name}"):
            return import_module(f"minigan.{name}")
        raise AttributeError(f"module 'minigan' has no attribute {name!r}")

    def __dir__() -> list[str]:
        modules = (module.name for module in iter_modules(__path__))
        return sorted({*__all__, *(name for name in modules if not name.startswith("_"))})
