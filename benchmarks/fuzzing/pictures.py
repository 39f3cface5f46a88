"""Sound picture files of every kind that minigan reads, small: folders, as the names and contents of their files."""

import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.fuzzing.formats import zip_bytes, zip_member
from benchmarks.fuzzing.samples import Files, pixels, png_bytes

ORIENTATION = 0x0112  # EXIF tag
KINDS: dict[str, Sequence[tuple[str, dict[str, Any]]]] = {  # by suffix: modes and how they are saved
    "png": (
        *(("1", {}), ("L", {}), ("LA", {}), ("RGB", {"dpi": (72, 72)}), ("RGBA", {}), ("P", {}), ("I;16", {})),
        *(("P", {"transparency": 3}), ("L", {"transparency": 3}), ("RGB", {"frames": 2})),
    ),
    "jpg": (("L", {}), ("RGB", {"turn": 6}), ("CMYK", {}), ("RGB", {"progressive": True}), ("RGB", {"subsampling": 2})),
    "bmp": (("1", {}), ("L", {}), ("P", {}), ("RGB", {}), ("RGBA", {})),
    "gif": (("L", {}), ("P", {"transparency": 1}), ("RGB", {"frames": 2})),
    "webp": (("RGB", {}), ("RGBA", {"lossless": True}), ("RGB", {"frames": 2}), ("RGB", {"turn": 8})),
    "tif": (
        *(("L", {}), ("I;16", {}), ("I", {}), ("F", {}), ("RGBA", {}), ("P", {}), ("RGB", {"turn": 6})),
        *(("RGB", {"compression": kind}) for kind in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")),
        *(("1", {"compression": "group4"}), ("RGB", {"frames": 2}), ("L", {"compression": "tiff_lzw"})),
    ),
    "ppm": (("RGB", {}), ("L", {}), ("1", {})),
}
PLAIN = (b"P3 2 2 255\n1 2 3 4 5 6 7 8 9 10 11 12\n", b"P2\n# a remark\n3 1 15\n1 2 3\n", b"P1 4 1\n1 0 1 0\n")


def picture(kind: str, mode: str, *, width: int = 8, turn: int = 0, frames: int = 1, **options: Any) -> bytes:
    """A picture file of that kind, 6 pixels high."""
    from PIL import Image

    gray = Image.fromarray(pixels(6, width))
    image = {
        "I;16": lambda: Image.fromarray(pixels(6, width).astype("uint16") * 257),
        "F": lambda: Image.fromarray(pixels(6, width).astype("float32") / 255),
    }.get(mode, lambda: gray.convert("RGB").convert(mode) if mode in ("P", "CMYK", "LA") else gray.convert(mode))()
    exif = Image.Exif()
    if turn:
        exif[ORIENTATION] = turn
        options["exif"] = exif
    if frames > 1:
        options |= {"save_all": True, "append_images": [image.rotate(180)] * (frames - 1)}
    file = io.BytesIO()
    image.save(file, {"jpg": "JPEG", "tif": "TIFF", "ppm": "PPM"}.get(kind, kind), **options)
    return file.getvalue()


def _folders(kind: str) -> list[Files]:
    files = [picture(kind, mode, **options) for mode, options in KINDS[kind]]
    files += PLAIN if kind == "ppm" else ()
    return [{f"1.{kind}": content} for content in files] + [{f"a/1.{kind}": files[0], f"b/2.{kind}": files[0]}]


def picture_folders() -> dict[str, Callable[[], list[Files]]]:
    """By suffix, what makes folders of such pictures."""
    return {kind: partial(_folders, kind) for kind in KINDS}


def pair_folders() -> list[Files]:
    """Pictures of two halves: one lot, or split; pictures in two folders, and maps of numbers; in folders and zips."""
    names = ("1.png", "train/1.jpg", "val/1.jpg")
    pairs = {name: picture(name[-3:], "RGB", width=12) for name in names}
    halves = [{"1.png": pairs["1.png"]}, {name: pairs[name] for name in names[1:]}]
    photo, maps = picture("jpg", "RGB"), png_bytes(pixels(6, 8) // 64)
    halves += [{"A/val/1.jpg": photo, "B/val/1.png": one} for one in (maps, picture("png", "P"), picture("png", "LA"))]
    packed = [{"pairs.zip": zip_bytes([zip_member(*pair) for pair in files.items()])} for files in halves]
    return [{f"pairs/{name}": content for name, content in files.items()} for files in halves] + packed


def hostile_pictures() -> list[Files]:
    """Pictures that claim very many pixels, in few bytes."""
    image = pixels(4, 4)
    sizes = ((2**31 - 1, 2**31 - 1), (2**31 - 1, 1), (100_000, 100_000), (20_000, 20_000), (9000, 9000))
    claims = [png_bytes(image, size) for size in sizes]
    return [{"1.png": content} for content in claims] + [{"1.ppm": b"P6 99999 99999 255\n" + bytes(99)}]
