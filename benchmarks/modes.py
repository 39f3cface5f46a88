"""Mode collapse, counted by PacGAN's protocol: how many modes of the ring or the grid do a GAN and a PacGAN find?

    python -m benchmarks.modes --data ring --pack 1 2 --repeats 10 --json ring.json

Each repeat trains the recipe `pacgan` from another seed for 400,000 steps of 100 packs, and every 20,000 steps counts
modes and samples of high quality among 2,500 (`minigan.evaluation.metrics.mode_coverage`). Repeats run side by side,
one thread each. The whole protocol (2 data sets, 2 kinds of GAN, 10 repeats) takes a core some 36 hours; `--steps` and
`--repeats` ask for less, and the table says how many there were. What is done is written to the JSON file as it comes.

Lin et al. 2018, table 1, found 6.3 ± .5 of 8 modes with 98.2 % of high quality and 17.3 ± .8 of 25 with a GAN, 7.9 ± .1
and 23.8 ± .7 with PacGAN2 (means and standard errors of 10 repeats).
"""

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, NamedTuple

import numpy as np

from benchmarks import command, environment
from minigan.backends import get_backend
from minigan.data import Loader, grid, ring
from minigan.evaluation.metrics import mode_coverage
from minigan.recipes import PacGAN
from minigan.training.sampling import generate

PROTOCOL = 400_000  # steps
PUBLISHED = {("ring", 1): "6.3 ± 0.5", ("ring", 2): "7.9 ± 0.1", ("grid", 1): "17.3 ± 0.8", ("grid", 2): "23.8 ± 0.7"}


class Job(NamedTuple):
    """One training."""

    data: str
    pack: int
    seed: int
    steps: int
    every: int
    backend: str


class Count(NamedTuple):
    """The count of modes and good samples after so many steps."""

    step: int
    modes: int
    high_quality: float


def train(job: Job) -> list[Count]:
    """One training, counted on its way. Runs in a process of its own."""
    data = (ring if job.data == "ring" else grid)(seed=job.seed)
    recipe = PacGAN(pack=job.pack, batch_size=100 * job.pack)
    rng = np.random.default_rng([job.seed, 1])
    gan = recipe.assemble(data.shape, backend=get_backend(job.backend), rng=np.random.default_rng([job.seed, 0]))
    z = recipe.noise(np.random.default_rng([job.seed, 2]), 2500)
    found = []
    with Loader(data, batch_size=recipe.batch_size, seed=job.seed, prefetch=0) as batches:
        for step in range(1, job.steps + 1):
            gan.step(batches, rng)
            if step % job.every == 0 or step == job.steps:
                coverage = mode_coverage(generate(gan.G, z), centers=data.centers, sigma=data.sigma)
                found.append(Count(step, coverage.modes, coverage.high_quality))
    return found


def summary(jobs: Sequence[Job], found: dict[Job, list[Count]]) -> list[str]:
    """A line for each kind of training: mean and standard error of what was found at its end."""
    lines = [f"{'data':6} {'pack':>4} {'steps':>8} {'repeats':>7}  {'modes':13} {'published':13} {'high quality':>12}"]
    for kind in dict.fromkeys((job.data, job.pack) for job in jobs):
        ends = [counts[-1] for job, counts in found.items() if (job.data, job.pack) == kind]
        if not ends:
            continue
        modes = [end.modes for end in ends]
        error = f"± {statistics.stdev(modes) / len(modes) ** 0.5:.1f}" if len(modes) > 1 else ""
        quality = statistics.mean(end.high_quality for end in ends)
        lines.append(
            f"{kind[0]:6} {kind[1]:4} {ends[0].step:8,} {len(ends):7}  {statistics.mean(modes):4.1f} {error:8} "
            f"{PUBLISHED.get(kind, '-'):13} {quality:12.1%}"
        )
    return lines


def result(setting: dict[str, Any], jobs: Sequence[Job], found: dict[Job, list[Count]]) -> dict[str, Any]:
    """The content of the JSON file."""
    runs = [{**job._asdict(), "counts": [count._asdict() for count in counts]} for job, counts in found.items()]
    return {"setting": setting, "summary": summary(jobs, found), "runs": runs}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=("ring", "grid"), default=["ring", "grid"])
    parser.add_argument("--pack", nargs="+", type=command.count, default=[1, 2])
    parser.add_argument("--repeats", type=command.count, default=10)
    parser.add_argument("--first-seed", type=int, default=0, help="of the repeats (default 0)")
    parser.add_argument("--steps", type=command.count, default=PROTOCOL)
    parser.add_argument("--every", type=command.count, default=20_000, help="steps from count to count")
    parser.add_argument("--processes", type=command.count, default=os.cpu_count() or 1)
    parser.add_argument("--backend", choices=command.HOST, default="cpu")
    parser.add_argument("--json", metavar="FILE", help="the counts and what they were made with")
    options = parser.parse_args(arguments)
    jobs = [
        Job(data, pack, options.first_seed + repeat, options.steps, options.every, options.backend)
        for repeat in range(options.repeats)
        for data in options.data
        for pack in options.pack
    ]
    for name in ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # before the workers start
        os.environ[name] = "1"
    setting = environment.describe(get_backend(options.backend))
    environment.show(setting)
    found: dict[Job, list[Count]] = {}
    began = time.monotonic()
    with ProcessPoolExecutor(options.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(train, job): job for job in jobs}
        for future in as_completed(running):
            job = running[future]
            found[job] = future.result()
            end = found[job][-1]
            minutes = (time.monotonic() - began) / 60
            run = f"{job.data} pack {job.pack} seed {job.seed}"
            print(
                f"{run}: {end.modes} modes, {end.high_quality:.1%} of high quality after {end.step:,} steps "
                f"({minutes:.1f} min)",
                flush=True,
            )
            command.write_json(options.json, result(setting, jobs, found))
    print("\n".join(["", *summary(jobs, found)]))


if __name__ == "__main__":
    main()
