"""Every reader of minigan: sound files for it, hostile ones, and how they are damaged."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from benchmarks.fuzzing import pictures, reading, samples
from benchmarks.fuzzing.formats import (
    gzip_mutation,
    npy_mutation,
    png_mutation,
    safetensors_mutation,
    spliced,
    zip_mutation,
)
from benchmarks.fuzzing.mutations import Mutation, bytes_mutation, mixed, text_mutation
from benchmarks.fuzzing.samples import Files
from benchmarks.fuzzing.trees import json_mutation

Read = Callable[[Path, random.Random], None]


@dataclass(frozen=True)
class Reader:
    """A reader under attack.

    Attributes:
        sound: makes folders that it must read.
        read: has the reader read a folder, and checks the result; what is decided by chance is its second argument.
        mutation: how a file is damaged.
        hostile: makes folders that it must refuse.
        damages: a pattern of the names of the files that are damaged.
        growth: bytes by which the peak of memory may grow at once.
    """

    name: str
    sound: Callable[[], Sequence[Files]]
    read: Read
    mutation: Mutation = bytes_mutation
    hostile: Callable[[], Sequence[Files]] = tuple
    damages: str = "*"
    growth: int = 2**29


def log_mutation(rng: random.Random, data: bytes) -> bytes:
    """Damage to lines, each of which is JSON."""
    return b"\n".join(mixed(rng, data.splitlines(), json_mutation)) + b"\n"


# Of the largest picture that it decodes at all, 89 million pixels, Pillow holds some copies of 4 bytes a pixel.
PICTURE_GROWTH = 3 * 2**29

READERS: tuple[Reader, ...] = (
    Reader("idx", samples.idx_folders, reading.read_idx_folder, hostile=samples.hostile_idx),
    Reader(
        "idx-gz",
        samples.zipped_idx_folders,
        reading.read_idx_folder,
        gzip_mutation,
        hostile=samples.hostile_zipped_idx,
    ),
    Reader("cifar", samples.cifar_folders, reading.read_cifar_folder),
    Reader("npy", samples.npy_folders, reading.read_file, npy_mutation, hostile=samples.hostile_npy),
    Reader("npz", samples.npz_folders, reading.read_file, zip_mutation, hostile=samples.hostile_npz),
    Reader("zip", samples.zip_folders, reading.read_file, zip_mutation, hostile=samples.hostile_zips),
    *(
        Reader(
            suffix,
            folders,
            reading.read_folder,
            png_mutation if suffix == "png" else text_mutation if suffix == "ppm" else bytes_mutation,
            hostile=pictures.hostile_pictures if suffix == "png" else tuple,
            growth=PICTURE_GROWTH,
        )
        for suffix, folders in pictures.picture_folders().items()
    ),
    Reader("labels", samples.listed_folders, reading.read_folder, json_mutation, damages="dataset.json"),
    Reader("pairs", pictures.pair_folders, reading.read_pair_folder, zip_mutation),
    Reader("model", samples.model_folders, reading.read_model, safetensors_mutation, hostile=samples.hostile_models),
    Reader("state-dict", samples.state_dict_folders, reading.read_torch, safetensors_mutation),
    Reader(
        "classifier",
        samples.classifier_folders,
        reading.read_classifier,
        safetensors_mutation,
        damages="classifier.safetensors",
    ),
    Reader(
        "checkpoint",
        samples.run_folders,
        reading.read_run,
        safetensors_mutation,
        damages="checkpoints/step-00000003.safetensors",
    ),
    Reader("log", samples.run_folders, reading.read_run, log_mutation, damages="log.jsonl"),
    Reader("config", samples.run_folders, reading.read_configuration, text_mutation, damages="config.toml"),
    Reader("run", samples.run_folders, reading.read_run, text_mutation, damages="config.toml"),
    Reader(
        "run-pictures",
        samples.picture_run_folders,
        reading.read_run_pictures,
        png_mutation,
        damages="samples/step-000002.png",
        growth=PICTURE_GROWTH,
    ),
    Reader("card", samples.evaluated_run_folders, reading.read_card, json_mutation, damages="evaluation.json"),
    Reader("lock", samples.lock_folders, reading.read_lock, json_mutation, damages=".lock"),
)


class Usual(random.Random):
    """Decides for the first of everything: sound files are read as they usually are."""

    def choice(self, seq: Any) -> Any:
        return seq[0]


class Inputs:
    """The inputs of a reader, by number: first its own files, sound and hostile, then damaged ones.

    Args:
        seed: of all damage. The same seed and number make the same files.
    """

    def __init__(self, reader: Reader, *, seed: int) -> None:
        self.reader, self.seed = reader, seed
        self.sound, self.hostile = list(reader.sound()), list(reader.hostile())

    def __len__(self) -> int:
        """The number of inputs that are not damaged."""
        return len(self.sound) + len(self.hostile)

    def chance(self, index: int) -> random.Random:
        """The random generator of input number `index`."""
        return Usual() if index < len(self) else random.Random(f"{self.seed} {self.reader.name} {index}")

    def files(self, index: int, rng: random.Random) -> Files:
        if index < len(self):
            return (self.sound + self.hostile)[index]
        lots = (self.sound, self.hostile) if self.hostile and rng.random() < 0.1 else (self.sound,)
        files = dict(rng.choice(rng.choice(lots)))
        names = [name for name in files if fnmatch(name, self.reader.damages)]
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            name = rng.choice(names)
            if rng.random() < 0.05:
                others = [f[n] for f in self.sound for n in f if fnmatch(n, self.reader.damages)]
                files[name] = spliced(rng, files[name], rng.choice(others))
            else:
                files[name] = self.reader.mutation(rng, files[name])
        return files


def write(files: Files, folder: Path) -> None:
    """An empty folder filled."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
