"""Whole training steps on the GPU: minigan's, eager and as a CUDA graph, and PyTorch's in every configuration.

A step begins with a batch in host memory (PyTorch's is pinned already) and ends with both networks updated. Each
engine runs in a separate process, so that neither has less memory because of the other.
"""

import gc
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benchmarks.gpu_device import Call, Device, Peak, Times, has_torch
from benchmarks.gpu_kernels import seconds, set_torch
from benchmarks.gpu_validate import Item, Record
from minigan.cli.measurements import MODELS
from minigan.errors import ConfigError
from minigan.recipes import Recipe
from minigan.recipes.pix2pix import Pix2Pix
from minigan.training.stepper import Stepper

# PyTorch's, from what its example programs do to the most that a user can ask for.
TORCH: dict[str, dict[str, bool]] = {
    "eager": {},
    "channels_last": {"channels_last": True},
    "channels_last graph": {"channels_last": True, "graph": True},
    "channels_last compile": {"channels_last": True, "compiled": True},
    "channels_last compile graph": {"channels_last": True, "compiled": True, "graph": True},
}
ROUNDS, SECONDS = 7, 1.5  # turns, and about how long all of them last
WARM_UPS = 4  # captures, compiles, and tries algorithms


class Workload(NamedTuple):
    """A recipe to train, and the sizes of its batches."""

    recipe: Recipe
    shape: tuple[int, ...]
    batch: int

    def batches(self) -> tuple[np.ndarray, ...]:
        """One batch in host memory: images, and for pix2pix their sources too."""
        rng = np.random.default_rng(1)
        count = 2 if isinstance(self.recipe, Pix2Pix) else 1
        shape = (self.batch, *self.shape)
        return tuple(rng.uniform(-1, 1, shape).astype(np.float32) for _ in range(count))


WORKLOADS = {
    "dcgan64": Workload(*MODELS["dcgan64"], 128),
    "pix2pix, batch 1": Workload(Pix2Pix(), (256, 256, 3), 1),
    "dcgan128": Workload(*MODELS["dcgan128"], 128),
    "pix2pix, batch 4": Workload(Pix2Pix(), (256, 256, 3), 4),
}


class Engine(NamedTuple):
    """A training step, ready.

    Attributes:
        finish: waits for what steps have left undone, and raises what went wrong.
    """

    step: Call
    finish: Callable[[], Any] = lambda: None


def items(device: Device, workload: str, precision: str, engine: str, *, quick: bool) -> Iterator[Item]:
    """The measurements of each configuration of an engine, "minigan" or "torch"."""
    work = WORKLOADS[workload]
    named = {"workload": workload, "batch": work.batch, "precision": precision}
    if engine == "minigan":
        for configuration in ("eager", "graph"):
            yield configuration, partial(minigan_record, device, work, named, configuration)
    else:
        for configuration in TORCH:
            if not (quick and "compile" in configuration):
                yield configuration, partial(torch_record, device, work, named, configuration)


# -------------------------------------------------------------------------------------------------- minigan


def minigan_record(device: Device, work: Workload, named: Record, configuration: str) -> Iterator[Record]:
    with device.watched_memory() as peak:
        engine = minigan_engine(device, work, named["precision"], graph=configuration == "graph")
        for _ in range(WARM_UPS):
            engine.step()
        engine.finish()
        device.synchronize()
        memory = peak()
    times = device.time_steps(engine.step, seconds=SECONDS, rounds=ROUNDS)
    engine.finish()
    yield record(work, named, "minigan", configuration, times, memory)


def minigan_engine(device: Device, work: Workload, precision: str, *, graph: bool) -> Engine:
    """A learner's step on host arrays, as `minigan train` does it.

    Raises:
        ConfigError: the backend captures no steps, so that a graph's figures would be those of eager steps.
    """
    rng = np.random.default_rng(0)
    learner = work.recipe.assemble(work.shape, backend=device.backend(precision), rng=rng)
    images, *sources = work.batches()
    batches = itertools.repeat(work.recipe.batch((sources[0], images) if sources else images, rng))
    if not graph:
        return Engine(lambda: learner.step(batches, rng))
    if learner.G.kernels.step_graphs() is None or learner.kind() is None:
        raise ConfigError("the training steps are not captured. Run without MINIGAN_GRAPHS=0.")
    stepper = Stepper(learner, batches, rng)
    return Engine(stepper.step, stepper.check)


# -------------------------------------------------------------------------------------------------- PyTorch


def torch_record(device: Device, work: Workload, named: Record, configuration: str) -> Iterator[Record]:
    """Memory is watched once cuDNN has tried its algorithms; as for minigan, the capture of a graph is watched too."""
    if not has_torch():
        raise ImportError("no PyTorch with a GPU to compare with.")
    import torch

    from benchmarks.gpu_peer import TorchSteps

    settings = set_torch(named["precision"])
    gc.collect()
    torch.cuda.empty_cache()
    free = device.free_memory()
    steps = TorchSteps(
        work.recipe, work.shape, work.batches(), bf16=named["precision"] == "bf16", **TORCH[configuration]
    )
    steps.warm_up(WARM_UPS)
    torch.cuda.reset_peak_memory_stats()
    step = steps.ready()
    for _ in range(WARM_UPS):
        step()
    device.synchronize()
    memory = Peak(torch.cuda.max_memory_allocated(), free - device.free_memory())
    times = device.time_steps(step, seconds=SECONDS, rounds=ROUNDS)
    yield record(work, named, "torch", configuration, times, memory) | {"settings": settings}


def record(work: Workload, named: Record, engine: str, configuration: str, times: Times, memory: Peak) -> Record:
    return {
        **named,
        "engine": engine,
        "configuration": configuration,
        **seconds(times),
        "images_per_second": work.batch / times.median,
        "memory_used": memory.used,
        "memory_taken": memory.taken,
    }
