"""The shell's blocks of the how-to pages, run one after the other, with fewer steps and smaller networks."""

import importlib.util
import re
import shlex
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from markdown_blocks import ROOT, blocks_of, commands_of

from minigan.cli import main
from minigan.data import encode_png

pytestmark = pytest.mark.exhaustive

PAGES = [
    ROOT / "docs" / f"{name}.md" for name in ("checkpoints", "commands", "embedding", "explain", "export", "inspect")
]
PAGES += [ROOT / "docs" / f"{name}.md" for name in ("pairs", "report", "sampling", "training", "unpaired", "ranks")]
TRAINED = ["--backend", "reference", "--batch-size", "4", "--steps", "4", "--checkpoint-every", "2", "--quiet"]
# Commands that other tests run, because of their time or their machine.
ELSEWHERE = {"live": "tests/live", "bench": "tests/cli", "warmup": "tests/backends"}


def pictures(folder: Path, count: int = 8, size: tuple[int, int] = (64, 64), shade: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(shade)
    for i in range(count):
        blocks = rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), np.uint8)
        (folder / f"p{i}.png").write_bytes(encode_png(np.kron(blocks, np.ones((8, 8, 1), np.uint8))))


def idx(folder: Path) -> None:
    folder.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (40, 28, 28), np.uint8)
    (folder / "train-images-idx3-ubyte").write_bytes(struct.pack(">4i", 0x803, *images.shape) + images.tobytes())
    (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 0x801, 40) + bytes(i % 10 for i in range(40)))


def zipped(folder: Path) -> None:
    with zipfile.ZipFile(f"{folder}.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder))


def done(line: str) -> None:
    assert main(shlex.split(line)) == 0, line


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The data and runs of which the pages speak."""
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        names = ("photos", "maps", "paintings", "others", "their-maps")
        plain = ("other_photos", "holidays", "path/to/photos")
        sides = ("horse2zebra/trainA", "horse2zebra/trainB", "camvid/A/train", "camvid/B/train")
        for shade, name in enumerate((*plain, *sides)):
            pictures(Path(name), shade=shade)
        for part in ("train", "val"):
            for name in names:
                pictures(Path(name) / part, shade=names.index(name))
            pictures(Path("path/to/pairs") / part, size=(64, 128))
        for name in ("photos", "maps", "paintings"):
            shutil.copytree(name, Path("new") / name)
        Path("share").mkdir()
        for name in ("horse", "deer"):
            pictures(Path("cifar10") / name, size=(32, 32), shade=len(name))
        zipped(Path("cifar10"))
        zipped(Path("camvid"))
        for name in ("mnist", "fashion-mnist", "path/to/fashion-mnist"):
            idx(Path(name))
        rest = shlex.join(TRAINED)
        for _ in range(2):
            done(f"train dcgan --set width=2 {rest}")
        done(f"train dcgan --data photos --set width=2 {rest}")
        done(f"train pix2pix --data photos --targets maps --set width=2 d_width=2 {rest}")
        done(f"train pix2pix --data path/to/pairs --set width=2 d_width=2 {rest}")
        done(f"train cyclegan --data photos --data-b paintings --set size=32 width=2 blocks=1 d_width=2 {rest}")
        for network in ("G_AB", "G_BA", "D_A", "D_B"):
            done(f"export runs/cyclegan-photos-1 --to torch --network {network} --out {network.lower()}.safetensors")
        done("sample runs/dcgan-digits-1 --count 1 --out seven.png")
        best = Path("runs/dcgan-digits-1/checkpoints")
        (best / "best.safetensors").write_bytes((best / "step-00000004.safetensors").read_bytes())
    return folder


SHORTER = {
    "--steps": "5",
    "--batch-size": "4",
    "--starts": "2",
    "--count": "4",
    "--walk": "2",
}
SMALL = {
    "dcgan": ["width=2"],
    "pix2pix": ["width=2", "d_width=2"],
    "cyclegan": ["size=32", "width=2", "blocks=1", "d_width=2"],
}


def shortened(words: list[str], world: Path) -> list[str]:
    """The command with small numbers, and with paths in this world."""
    words = [re.sub(r"^/(new|shared)/", f"{world.as_posix()}/\\1/", word) for word in words]
    words = [
        word.replace("step-00003500", "step-00000004").replace("=2000", "=2").replace("501", "3") for word in words
    ]
    words = [SHORTER.get(before, word) for before, word in zip(["", *words], words, strict=False)]
    command = words[0]
    if command == "train":
        words = small_training(words)
    if command == "evaluate":
        words += ["--count", "60", "--features", "pixels"] if "dcgan" in words[1] else ["--count", "8"]
    if command == "project" and "--steps" not in words:
        words += ["--steps", "3", "--starts", "2"]
    if command == "explain" and "dcgan" in words:
        words = with_settings(words, SMALL["dcgan"])
    return words


def small_training(words: list[str]) -> list[str]:
    if "--evaluate-every" in words and "--dry-run" not in words:  # an evaluation draws thousands: only plan it
        words = [*words, "--dry-run"]
    if "--resume" in words:
        at = words.index("--steps") if "--steps" in words and "--dry-run" not in words else len(words)
        return words[:at] + words[at + 2 :]  # one step on: the run has had all of its own
    recipe = words[1] if len(words) > 1 and not words[1].startswith("-") else "dcgan"
    numbers = [flag for flag in ("--batch-size", "--steps") if flag not in words]
    words += [word for flag in numbers for word in (flag, SHORTER[flag])]
    words += [] if {"--backend", "--precision"} & set(words) else ["--backend", "reference"]
    return with_settings(words, SMALL[recipe])


def with_settings(words: list[str], settings: list[str]) -> list[str]:
    """The words with these settings; one that is given there counts here."""
    names = {setting.partition("=")[0] for setting in settings}
    words = [word for word in words if not ("=" in word and word.partition("=")[0] in names)]
    at = words.index("--set") + 1 if "--set" in words else len(words)
    return [*words[:at], *([] if "--set" in words else ["--set"]), *settings, *words[at:]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_does_what_it_says(page, world, tmp_path, monkeypatch, capsys):
    world = shutil.copytree(world, tmp_path / "world")  # of its own
    monkeypatch.chdir(world)
    ran = 0
    for block in blocks_of(page):
        if block.language != "sh" or block.reason:
            continue
        for command in commands_of(block.text):
            if command[0] == "python" and Path(command[1]).is_file():
                subprocess.run([sys.executable, *command[1:]], check=True, capture_output=True, timeout=60)
                ran += 1
            if "minigan" not in command:
                continue
            words = command[command.index("minigan") + 1 :]
            if words[0] in ELSEWHERE or "gpu" in words or ("onnx" in words and not importlib.util.find_spec("onnx")):
                continue
            words = shortened(words, world)
            code = main(words)
            assert code == 0, f"{block.page}:{block.line}: {shlex.join(words)}: {capsys.readouterr().err}"
            ran += 1
    assert ran
