"""Sound files of every kind, small, and hostile ones that claim much: what is damaged, and what must be refused.

Each function returns folders, as the names and contents of their files.
"""

import gzip
import io
import json
import struct
import tempfile
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import safetensors.numpy

from benchmarks.fuzzing.formats import (
    MEBIBYTE,
    PNG_SIGNATURE,
    Member,
    npy_bytes,
    png_chunk,
    zip_bytes,
    zip_member,
)
from minigan.data.png import encode_png

Files = dict[str, bytes]

IDX_CODES = {"|u1": 8, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}
HUGE = 10**12  # items, or a side of an image
NONE: Mapping[str, object] = {}
BOMB = 512  # MiB that a few kilobytes unpack to


def pixels(*shape: int) -> np.ndarray:
    """Reproducible ones."""
    return (np.arange(np.prod(shape)) * 37 % 256).astype(np.uint8).reshape(shape)


def bomb(content: bytes = b"") -> bytes:
    """Deflated: the content, and half a gibibyte of zeros."""
    packer = zlib.compressobj(wbits=-15)
    head = packer.compress(content) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(MEBIBYTE) + packer.flush(zlib.Z_FULL_FLUSH)  # refers to nothing before it: can be repeated
    return head + zeros * BOMB + packer.flush()


# ---------------------------------------------------------------------------------------------- IDX, CIFAR-10, NumPy


def idx_bytes(array: np.ndarray, shape: tuple[int, ...] | None = None) -> bytes:
    """An IDX file; `shape` is what it claims, if that is not the truth."""
    shape = array.shape if shape is None else shape
    kind = IDX_CODES[array.dtype.newbyteorder(">").str]
    return (
        struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, len(shape), *shape)
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


def idx_folders() -> list[Files]:
    x, labels = pixels(6, 5, 4), np.arange(6, dtype=np.uint8)
    name, label_name = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
    floats = (x / 255.0, (x / 127.5 - 1).astype(np.float32), pixels(6, 2) / 255.0)
    return [
        {name: idx_bytes(x), label_name: idx_bytes(labels)},
        {name: idx_bytes(pixels(3, 5, 4, 3))},
        {name: idx_bytes(x), label_name: idx_bytes(labels.astype(np.int32))},
        *({name: idx_bytes(values)} for values in (*floats, x.astype(np.int32), x.astype(np.int16) * 16, x % 2)),
        {f"qmnist-{name}": idx_bytes(x), "qmnist-train-labels-idx2-int": idx_bytes(pixels(6, 2).astype(np.int32))},
    ]


def zipped_idx_folders() -> list[Files]:
    return [{f"{n}.gz": gzip.compress(b, mtime=0) for n, b in files.items()} for files in idx_folders()]


def hostile_idx() -> list[Files]:
    name, x = "train-images-idx3-ubyte", pixels(6, 5, 4)
    claims = ((2**32 - 1, 2**32 - 1, 2**32 - 1), (2**32 - 1, 0, 5), (2**31, 5, 4), (6, 5, 2**24))
    return [{name: idx_bytes(x, shape)} for shape in claims]


def hostile_zipped_idx() -> list[Files]:
    lies = [{f"{n}.gz": gzip.compress(b, mtime=0) for n, b in files.items()} for files in hostile_idx()]
    much = gzip.compress(idx_bytes(pixels(6, 5, 4)), mtime=0) + gzip.compress(MEBIBYTE, mtime=0) * BOMB
    return [*lies, {"train-images-idx3-ubyte.gz": much}]


def cifar_folders() -> list[Files]:
    """CIFAR-10 and, to be told from it, CIFAR-100 and STL-10."""
    records, fine = pixels(4, 3073), pixels(3, 3074)
    records[:, 0] = (0, 9, 3, 5)
    fine[:, :2] = (19, 99)
    names = "".join(f"name{k}\n" for k in range(100)).encode()
    return [
        {"train.bin": fine.tobytes(), "test.bin": fine[:1].tobytes(), "fine_label_names.txt": names},
        {"train_X.bin": pixels(2, 3, 96, 96).tobytes(), "train_y.bin": b"\x01\x0a"},
        {"data_batch_1.bin": records.tobytes()},
        {"data_batch_1.bin": records.tobytes(), "data_batch_2.bin": records[:1].tobytes()},
    ]


def npy_of(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_folders() -> list[Files]:
    arrays = (
        *(pixels(4, 5, 4, 3).astype(np.int32), pixels(4, 5, 4) * np.uint16(16)),
        *(pixels(4, 5, 4, 3), pixels(4, 5, 4), pixels(3, 4, 4, 4), pixels(4, 5, 4, 1) / np.float32(255)),
        *(
            (pixels(4, 5, 4) / 127.5 - 1).astype(np.float16),
            pixels(4, 5, 4) > 99,
            np.asfortranarray(pixels(4, 5, 4, 3)),
            pixels(9, 2) / 9.0,
        ),
    )
    return [{"x.npy": npy_of(array)} for array in arrays]


def hostile_npy_files() -> list[bytes]:
    shapes = (
        f"({HUGE}, 2)",
        f"({HUGE}, 0)",
        f"({HUGE}, 0, 0, 1)",
        "(0, 2)",
        "(2147483648, 2147483648, 3)",
        "(-4, 5, 4)",
    )
    headers = [f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}" for shape in shapes]
    kinds = ("|V0", "|O", "<U0")
    headers += [f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': ({HUGE},), }}" for kind in kinds]
    headers += ["(" * 5000, "'" * 3, "{'descr': " + "[" * 900 + "]" * 900 + "}"]
    return [npy_bytes(header, bytes(64)) for header in headers]


def hostile_npy() -> list[Files]:
    return [{"x.npy": content} for content in hostile_npy_files()]


def npz_folders() -> list[Files]:
    x, labels = npy_of(pixels(4, 5, 4, 3)), npy_of(np.arange(4))
    saved = io.BytesIO()
    np.savez_compressed(saved, images=pixels(4, 5, 4))
    return [
        {"x.npz": zip_bytes([zip_member("x.npy", x), zip_member("y.npy", labels)])},
        {"x.npz": zip_bytes([zip_member("a.npy", npy_of(pixels(5, 2) / 9.0))])},
        {"x.npz": zip_bytes([Member(b"images.npy", x, zlib.crc32(x), len(x), method=0)])},
        {"x.npz": saved.getvalue()},
    ]


def hostile_npz() -> list[Files]:
    claim = npy_bytes(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({2**31}, 1, 1), }}", b"")
    lies = [zip_member("x.npy", content) for content in hostile_npy_files()]
    lies.append(Member(b"x.npy", zip_member("", claim).packed, zlib.crc32(claim), 2**32 - 1))
    lies.append(zip_member("x.npy", npy_of(pixels(4, 5, 4)), packed=bomb(npy_of(pixels(4, 5, 4)))))
    return [{"x.npz": zip_bytes([lie])} for lie in lies]


# ---------------------------------------------------------------------------------------------- zips of pictures


def png_bytes(image: np.ndarray, size: tuple[int, int] | None = None) -> bytes:
    """A PNG, gray (H, W) or RGB (H, W, 3); `size` is the width and height that it claims, if not its own."""
    width, height = size or (image.shape[1], image.shape[0])
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if image.ndim == 3 else 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in image)
    parts = (b"IHDR" + head, b"IDAT" + zlib.compress(rows), b"IEND")
    return PNG_SIGNATURE + b"".join(png_chunk(part) for part in parts)


SPLITS = ("train", "test")


def zip_folders() -> list[Files]:
    pictures = {f"{kind}/{n}.png": png_bytes(pixels(4, 6, 3) + n) for kind in "ab" for n in (1, 2)}
    flat = [Member(b"1.png", body := png_bytes(pixels(4, 4)), zlib.crc32(body), len(body), method=0)]
    return [
        {"pictures.zip": zip_bytes([zip_member(name, content) for name, content in pictures.items()])},
        {"pictures.zip": zip_bytes(flat)},
        {"pictures.zip": zip_bytes([zip_member(f"{split}\\{name}", body) for split in SPLITS for name in "ab"])},
    ]


def listed_folders() -> list[Files]:
    """Pictures in parts, with labels in `dataset.json`."""
    names = [f"0000{n // 2}/{n}.png" for n in range(4)]
    pictures = {name: png_bytes(pixels(4, 4, 3) + n) for n, name in enumerate(names)}
    lists = ([[name, n % 2] for n, name in enumerate(names)], [[name, [0, 1]] for name in names], None)
    return [{"dataset.json": json.dumps({"labels": labels}).encode(), **pictures} for labels in lists]


def hostile_zips() -> list[Files]:
    picture = png_bytes(pixels(4, 4))
    members = [zip_member(name, picture) for name in ("../x.png", "/x.png", "a/../../x.png", "..\\x.png", "C:/x.png")]
    members += [zip_member("x.png", picture, packed=bomb(picture)), Member(b"x.png", bomb(), 0, BOMB * 2**20)]
    members += [zip_member("x.png", png_bytes(pixels(4, 4), (HUGE % 2**31, 4)))]
    return [{"pictures.zip": zip_bytes([member])} for member in members]


# ---------------------------------------------------------------------------------------------- models and runs


def _files(folder: Path) -> Files:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def lock_folders() -> list[Files]:
    """Lock files that killed processes leave in run folders."""
    return [{".lock": b'{"process": 1, "host": "elsewhere"}'}, {".lock": b"0"}]


def picture_run_folders() -> list[Files]:
    """A run with pictures of its training, gray ones and colored ones."""
    run = run_folders()[0]
    return [
        run | {f"samples/step-{step:06}.png": encode_png(pixels(6, 7, channels)) for step in (1, 2, 3)}
        for channels in (1, 3)
    ]


@cache
def evaluated_run_folders() -> list[Files]:
    """Runs with pictures and an evaluation."""
    figure = {"value": 0.5, "data": None, "better": "lower", "meaning": "a distance", "samples": 9, "real": 9}
    content = {"step": 3, "seed": 0, "features": "pixels", "baseline": "data itself", "remarks": ["few samples"]}
    evaluation = json.dumps({**content, "figures": {"fid": figure, "kid": {**figure, "data": 0.1}}}).encode()
    return [run | {"evaluation.json": evaluation} for run in picture_run_folders()]


@cache
def run_folders() -> list[Files]:
    """A training of a few steps of the smallest GAN, with and without a moving average."""
    from minigan import runs
    from minigan.recipes import get_recipe
    from minigan.runs.prepare import create_folder, prepare_run
    from minigan.support.interruption import Interruption
    from minigan.support.progress import PlainProgress
    from minigan.training.rhythm import Rhythm

    folders = []
    for ema in (0.0, 0.9):
        recipe = get_recipe("mlp").from_settings(
            {"hidden": 2, "latent": 2, "batch_size": 2, "steps": 3, "ema": ema, "loss": "non-saturating"}
        )
        rhythm = Rhythm(log_every=1, sample_every=1000, checkpoint_every=2)
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "points.npy"
            data.write_bytes(npy_of(pixels(9, 2) / np.float32(255)))
            config = runs.RunConfig(recipe.name, recipe.settings(), str(data), backend="reference", rhythm=rhythm)
            run = prepare_run(config, Path(folder) / "run")
            with create_folder(run), run.trainer.state.loader:
                run.trainer.run(PlainProgress(start=0, total=3, stream=io.StringIO()), Interruption())
            files = _files(Path(folder) / "run") | {"points.npy": data.read_bytes()}
            files["config.toml"] = files["config.toml"].replace(str(data).encode(), b"points.npy")
        files["log.jsonl"] = b"".join(_timeless(line) for line in files["log.jsonl"].splitlines())
        folders.append({name: content for name, content in files.items() if not name.startswith("samples")})
    return folders


def _timeless(line: bytes) -> bytes:
    """A line of a log, without what differs from run to run."""
    return json.dumps({**json.loads(line), "seconds": 0.5, "images_per_second": 9.0}).encode() + b"\n"


SMALL = {
    "dcgan": ({"width": 1, "latent": 2}, [28, 28, 1]),
    "mlp": ({"hidden": 2, "latent": 2}, [4, 4, 1]),
    "minimax": ({"hidden": 4, "latent": 2}, [4, 4, 1]),
    "dcgan-keras": ({"width": 1, "latent": 2}, [28, 28, 1]),
    "dcgan-cifar": ({"width": 1, "latent": 2, "dense": 2}, [32, 32, 3]),
    "sngan": ({"width": 2, "latent": 2}, [32, 32, 3]),
    "r3gan": ({"widths": "2,2", "group": 2, "latent": 2}, [8, 8, 3]),
    "stylegan2": ({"latent": 2, "w_dim": 2, "channel_base": 8, "channel_max": 2}, [8, 8, 1]),
    "multi-d": ({"width": 1, "latent": 2}, [28, 28, 1]),
    "pacgan": ({"g_hidden": 2, "d_hidden": 2}, [2]),
    "vae": ({"width": 1, "latent": 2}, [28, 28, 1]),
    "segment": ({"width": 1, "depth": 2, "d_width": 1}, [16, 16, 3]),
    "pix2pix": ({"width": 1, "d_width": 1}, [256, 256, 3]),
    "cyclegan": ({"width": 1, "d_width": 1, "blocks": 1}, [16, 16, 3]),
    "superres": ({"width": 1, "d_width": 1, "blocks": 1}, [32, 32, 3]),
    "denoise": ({"width": 1, "d_width": 1, "depth": 3}, [32, 32, 3]),
    "inpaint": ({"width": 1, "d_width": 1}, [32, 32, 3]),
}


@cache
def model_folders() -> list[Files]:
    """A generator of each recipe, as small as can be, and one with classes."""
    from minigan.recipes import RECIPES

    named = {"mlp": ({"hidden": 2, "latent": 2, "condition": "concatenation", "classes": 3}, [4, 4, 1])}
    kinds = [(name, *SMALL[name]) for name in RECIPES] + [(name, *kind) for name, kind in named.items()]
    return [{"model.safetensors": model_bytes(*kind)} for kind in kinds]


def model_bytes(name: str, settings: dict[str, int], shape: list[int], claims: Mapping[str, object] = NONE) -> bytes:
    """A model file; `claims` replace the truth in its description."""
    from minigan.checkpoints.format import MODEL_FORMAT, network_arrays
    from minigan.recipes import get_recipe

    recipe = get_recipe(name).from_settings(settings)
    arrays = {}
    for each in recipe.generator_names:
        rng = np.random.default_rng(0)
        arrays |= network_arrays(recipe.built_generator(tuple(shape), name=each, backend="reference", rng=rng), each)
    kept = {key: value for key, value in recipe.settings().items() if key != "steps"}
    description = {"format": MODEL_FORMAT, "step": 1, "recipe": name, "settings": kept, "shape": shape}
    description |= {"dtype": "float32", "extent": 1.0, "classes": ["a", "b", "c"]}
    return saved(arrays, {**description, **claims})


def saved(arrays: dict[str, np.ndarray], description: dict[str, object]) -> bytes:
    """A file as `save_arrays` writes it."""
    from minigan.checkpoints.format import save_arrays

    with tempfile.TemporaryDirectory() as folder:
        save_arrays(Path(folder) / "x", arrays, description=description)
        return (Path(folder) / "x").read_bytes()


def hostile_models() -> list[Files]:
    """Models whose settings ask for more weights than the file holds, or for more than there can be."""
    files = [
        model_bytes("mlp", settings, shape, {"settings": {**settings, **more}})
        for settings, shape in (SMALL["mlp"],)
        for more in ({"hidden": 40_000}, {"hidden": 10**9}, {"hidden": 10**30}, {"latent": 10**9})
    ]
    files.append(model_bytes("mlp", *SMALL["mlp"], {"shape": [40_000, 40_000, 3]}))
    files.append(model_bytes("dcgan-keras", *SMALL["dcgan-keras"], {"shape": [10**18, 10**18, 1]}))
    files += [
        model_bytes(name, *SMALL[name], {"settings": {**SMALL[name][0], layers: 10**9}})
        for name, layers in (("superres", "blocks"), ("segment", "depth"), ("denoise", "depth"))
    ]
    files.append(struct.pack("<Q", 2**40) + b"{}")
    claim = json.dumps({"G.0.w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    files.append(struct.pack("<Q", len(claim)) + claim + bytes(64))
    return [{"model.safetensors": content} for content in files]


def state_dict_folders() -> list[Files]:
    """A small network as PyTorch names its tensors, alone and with another, in float32 and float16."""
    arrays = {"0.weight": (3, 4), "0.bias": (3,), "1.weight": (3,), "1.bias": (3,), "3.weight": (2, 3), "3.bias": (2,)}
    arrays |= {"1.running_mean": (3,), "1.running_var": (3,)}
    tensors = {f"main.{name}": pixels(*shape) / np.float32(255) for name, shape in arrays.items()}
    both = {f"{network}.{name}": tensor for network in ("netG", "netD") for name, tensor in tensors.items()}
    half = {f"module.{name}": tensor.astype(np.float16) for name, tensor in tensors.items()}
    return [{"G.safetensors": safetensors.numpy.save(tensors)} for tensors in (tensors, both, half)]


def classifier_folders() -> list[Files]:
    from minigan.checkpoints.format import network_arrays
    from minigan.evaluation.classifier import network
    from minigan.evaluation.classifier_cache import FORMAT

    net = network((2, 2, 1), 3)
    net.build((2, 2, 1), backend="reference", rng=np.random.default_rng(0))
    description = {"format": FORMAT, "accuracy": 0.5, "count": 3}
    files = {"classifier.safetensors": saved(network_arrays(net, "net"), description)}
    return [files | {"images.npy": npy_of(pixels(2, 2, 2, 1))}]
