"""Folders and zips of pictures: formats, colors, sizes, classes, and files that are broken."""

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from minigan.data import open_dataset
from minigan.errors import ConfigError, DataError, MixedSizesError

RNG = np.random.default_rng(0)


def picture(height=6, width=6, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8))


def save(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def only(folder, **options):
    """The pixels of the only picture in a folder."""
    data = open_dataset(folder, **options)
    assert len(data) == 1
    return data.pixels([0])[0]


def zipped(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*"):
            if file.is_file():
                archive.write(file, file.relative_to(folder.parent))
    return path


@pytest.fixture
def classes(tmp_path):
    """Two classes, with litter around them."""
    folder = tmp_path / "pictures"
    for k, name in enumerate(["train/dog/b.png", "train/dog/a.PNG", "train/cat/deep/z.bmp", "train/cat/y.png"]):
        save(Image.new("RGB", (6, 5), (k, 0, 0)), folder / name)
    (folder / "train/readme.txt").write_text("hello")
    (folder / "train/dog/.hidden.png").write_bytes(b"")
    (folder / "__MACOSX/train").mkdir(parents=True)
    (folder / "__MACOSX/train/x.png").write_bytes(b"")
    (folder / ".cache").mkdir()
    (folder / ".cache/c.png").write_bytes(b"")
    return folder


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_nested_folders_are_classes(classes, tmp_path, kind):
    source = classes if kind == "folder" else zipped(classes, tmp_path / "archive.zip")
    data = open_dataset(source)
    assert data.shape == (5, 6, 3)
    assert data.classes == ("cat", "dog")
    assert data.labels.tolist() == [0, 0, 1, 1]
    assert data.pixels(range(4))[:, 0, 0, 0].tolist() == [2, 3, 1, 0]
    assert open_dataset(source, count=2).labels.tolist() == [0, 1]


def test_a_flat_folder_has_no_classes(tmp_path):
    save(picture(), tmp_path / "a.png")
    save(picture(), tmp_path / "b/c.png")
    assert open_dataset(tmp_path).labels is None
    assert open_dataset(tmp_path / "b").labels is None


def test_links_that_go_in_circles(tmp_path):
    save(picture(), tmp_path / "real/a.png")
    (tmp_path / "real/again").symlink_to(tmp_path)
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    assert len(open_dataset(tmp_path)) == 1


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff", "ppm", "webp"])
def test_lossless_formats(tmp_path, suffix):
    image = picture(height=5, width=7)
    save(image, tmp_path / f"x.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(only(tmp_path), np.asarray(image))


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "gif", "pgm"])
def test_other_formats(tmp_path, suffix):
    save(Image.new("L", (7, 5), 100), tmp_path / f"x.{suffix}")
    pixels = only(tmp_path)
    assert pixels.shape == (5, 7, 1)
    assert set(pixels.ravel()) == {100}


def test_content_decides_not_the_suffix(tmp_path):
    save(Image.new("L", (4, 4), 9), tmp_path / "x.jpg", format="PNG")
    assert set(only(tmp_path).ravel()) == {9}


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_scaled_not_clipped(tmp_path, suffix, channels):
    values = np.array([[0, 255, 256], [32768, 65000, 65535]], dtype=np.uint16)
    save(Image.fromarray(values), tmp_path / f"x.{suffix}")
    assert open_dataset(tmp_path).shape[2] == 1
    expected = np.round(values / 257).astype(np.uint8)
    for channel in range(channels):
        np.testing.assert_array_equal(only(tmp_path, channels=channels)[..., channel], expected)


def test_16_bits_big_endian(tmp_path):
    save(Image.fromarray(np.array([[0, 65535, 257]], dtype=">u2")), tmp_path / "x.tif")
    assert only(tmp_path)[..., 0].tolist() == [[0, 255, 1]]


def test_32_bits_are_refused(tmp_path):
    save(Image.fromarray(np.array([[0.5, 1e6]], dtype=np.float32)), tmp_path / "x.tif")
    with pytest.raises(DataError, match=r"x\.tif: expected at most 16 bits"):
        open_dataset(tmp_path).read([0])


def test_one_bit(tmp_path):
    save(Image.fromarray(np.array([[True, False, True]])), tmp_path / "x.png")
    assert only(tmp_path)[..., 0].tolist() == [[255, 0, 255]]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_over_white(tmp_path, mode):
    image = Image.new(mode, (2, 1), (0, 0) if mode == "LA" else (0, 0, 0, 0))
    image.putpixel((0, 0), (40, 255) if mode == "LA" else (10, 20, 30, 255))
    save(image, tmp_path / "x.png")
    expected = [[[40], [255]]] if mode == "LA" else [[[10, 20, 30], [255, 255, 255]]]
    assert only(tmp_path).tolist() == expected


def test_palette(tmp_path):
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    save(image, tmp_path / "a/x.png")
    assert only(tmp_path / "a").tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]
    save(image, tmp_path / "b/x.png", transparency=1)
    assert only(tmp_path / "b").tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]
    save(image, tmp_path / "c/x.png", transparency=b"\xff\x00\xff")
    assert only(tmp_path / "c").tolist() == only(tmp_path / "b").tolist()


def test_transparent_color_of_an_rgb_picture(tmp_path):
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (7, 8, 9))
    save(image, tmp_path / "x.png", transparency=(7, 8, 9))
    assert only(tmp_path).tolist() == [[[1, 2, 3], [255, 255, 255]]]


def test_cmyk(tmp_path):
    save(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / "x.jpg", quality=100)
    assert only(tmp_path).shape == (8, 8, 3)


def test_exif_orientation(tmp_path):
    image = Image.new("L", (6, 4), 0)
    image.paste(255, (0, 0, 6, 1))  # a bright line on top
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    save(image, tmp_path / "x.png", exif=exif)
    pixels = only(tmp_path)
    assert pixels.shape == (6, 4, 1)
    assert (pixels[:, 3] == 255).all()
    assert (pixels[:, :3] == 0).all()


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("L", (4, 4), tone) for tone in (50, 200)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert set(only(tmp_path, channels=1).ravel()) == {50}


def test_gray_and_color_together(tmp_path):
    save(picture(channels=1), tmp_path / "a.png")
    save(picture(channels=1), tmp_path / "b.png")
    assert open_dataset(tmp_path).shape == (6, 6, 1)
    save(picture(channels=3), tmp_path / "c.png")
    assert open_dataset(tmp_path).shape == (6, 6, 3)
    assert open_dataset(tmp_path, channels=1).read(range(3)).shape == (3, 6, 6, 1)


@pytest.mark.parametrize("size", [8, (8, 8), (4, 12), (20, 6)])
def test_mixed_sizes_are_covered_and_cropped(tmp_path, size):
    for k, (height, width) in enumerate([(16, 30), (40, 9), (8, 8), (300, 200)]):
        save(Image.new("RGB", (width, height), (9, 99, 199)), tmp_path / f"{k}.{'jpg' if k == 3 else 'png'}")
    data = open_dataset(tmp_path, size=size)
    assert data.shape == ((size, size, 3) if isinstance(size, int) else (*size, 3))
    assert abs(data.pixels(range(4)).astype(int) - [9, 99, 199]).max() <= 2


def test_the_middle_is_kept(tmp_path):
    image = Image.new("L", (30, 10), 0)
    image.paste(255, (10, 0, 20, 10))
    save(image, tmp_path / "x.png")
    assert set(only(tmp_path, size=10).ravel()) == {255}
    assert only(tmp_path, size=(5, 5)).min() > 200


def test_downscaling_is_antialiased(tmp_path):
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    save(Image.fromarray(stripes), tmp_path / "x.png")
    pixels = only(tmp_path, size=8).astype(int)
    assert abs(pixels - 128).max() < 20


def test_sizes_that_differ_need_a_size(tmp_path):
    save(picture(6, 6), tmp_path / "a.png")
    save(picture(6, 7), tmp_path / "b.png")
    with pytest.raises(MixedSizesError, match=r"differ in size \(a\.png is 6x6, b\.png is 6x7\).*size"):
        open_dataset(tmp_path)


def test_a_single_size_that_differs_among_many(tmp_path):
    for k in range(40):
        save(picture(6, 7 if k == 1 else 6), tmp_path / f"{k:02}.png")
    with pytest.raises(MixedSizesError, match=r"00\.png is 6x6, 01\.png is 6x7"):
        open_dataset(tmp_path)


def test_a_size_that_differs_outside_the_headers_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr("minigan.data.image_files.MOST_PROBED", 16)
    for k in range(40):
        save(picture(6, 7 if k == 1 else 6), tmp_path / f"{k:02}.png")
    data = open_dataset(tmp_path)
    assert not data.complete
    data.read([0, 2])
    with pytest.raises(DataError, match=r"01\.png: expected 6x6 like the other images, found 6x7"):
        data.read([0, 1])


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\nrest", b"GIF89a", b"II*\0\x08\0\0\0"])
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_broken_picture_is_named_when_read(tmp_path, content, kind):
    folder = tmp_path / "f"
    for k in range(40):
        save(picture(), folder / f"{k:02}.png")
    (folder / "01.png").write_bytes(content)
    data = open_dataset(folder if kind == "folder" else zipped(folder, tmp_path / "a.zip"))
    data.read([0, 2])
    with pytest.raises(DataError, match=r"01\.png: expected an image") as error:
        data.read([0, 1])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp", "ppm"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_picture_cut_short(tmp_path, suffix, part):
    path = save(picture(40, 40), tmp_path / f"x.{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(DataError, match=rf"x\.{suffix}: "):
        open_dataset(tmp_path).read([0])


def png_of(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_000, 60_000])  # Pillow warns of the first and refuses the second
@pytest.mark.filterwarnings("default")
def test_a_decompression_bomb(tmp_path, side, recwarn):
    (tmp_path / "x.png").write_bytes(png_of(side, side))
    with pytest.raises(DataError, match=r"x\.png: the image claims more than"):
        open_dataset(tmp_path)
    assert not recwarn.list


def test_a_bomb_in_the_text_of_a_png(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * 2_000_000, zip=True)
    save(picture(), tmp_path / "x.png", pnginfo=info)
    assert only(tmp_path).shape == (6, 6, 3)  # texts are passed over


def test_folders_of_no_use(tmp_path):
    with pytest.raises(DataError, match="empty folder"):
        open_dataset(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"expected image files .*found only notes\.txt\."):
        open_dataset(tmp_path)


def test_zips_of_no_use(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w"):
        pass
    with pytest.raises(DataError, match=r"a\.zip: expected image files"):
        open_dataset(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__MACOSX/x.png", b"")
        archive.writestr("notes.txt", b"")
    with pytest.raises(DataError, match=r"a\.zip: expected image files"):
        open_dataset(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"a\.zip: the zip archive is damaged"):
        open_dataset(path)


def test_a_damaged_zip_member_is_named(tmp_path):
    folder = tmp_path / "f"
    for k in range(40):
        save(picture(), folder / f"{k:02}.png")
    path = zipped(folder, tmp_path / "a.zip")
    data = bytearray(path.read_bytes())
    where = data.index(b"01.png") + 40
    data[where] ^= 0xFF
    path.write_bytes(data)
    data = open_dataset(path)
    with pytest.raises(DataError, match=r"a\.zip/f/01\.png: cannot be unpacked"):
        data.read([1])


def test_the_cache_is_bounded(tmp_path):
    path = save(picture(), tmp_path / "a.png")
    kept, fresh = open_dataset(tmp_path), open_dataset(tmp_path, cache_bytes=6 * 6 * 3 - 1)
    before = kept.read([0])
    np.testing.assert_array_equal(fresh.read([0]), before)
    save(Image.new("RGB", (6, 6)), path)
    np.testing.assert_array_equal(kept.read([0]), before)
    assert (fresh.read([0]) == -1).all()


def test_a_folder_decodes_only_what_is_read(tmp_path, monkeypatch):
    buffer = io.BytesIO()
    picture().save(buffer, "PNG")
    for k in range(300):
        (tmp_path / f"{k}.png").write_bytes(buffer.getvalue())
    opened = []
    plain_open = Image.open
    monkeypatch.setattr(Image, "open", lambda *args, **options: opened.append(1) or plain_open(*args, **options))
    data = open_dataset(tmp_path)
    assert len(opened) == 1  # the first, to see that it is neither black nor of one color
    data.read([5, 6])
    assert len(opened) == 3


@pytest.mark.parametrize(
    "options",
    [
        *({"size": size} for size in (0, -3, (4, 0), (4, 4, 4), 2.5, True, 10**6)),
        *({"channels": channels} for channels in (0, 2)),
        *({"count": count} for count in (0, 2)),
        {"cache_bytes": -1},
    ],
)
def test_options_out_of_range(tmp_path, options):
    save(picture(), tmp_path / "a.png")
    with pytest.raises(ConfigError, match=next(iter(options))):
        open_dataset(tmp_path, **options)
