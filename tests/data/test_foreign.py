"""Files of kinds that are not read: each is called what it is, alone, in a folder and under a picture's name."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minigan.data import open_dataset
from minigan.data.foreign import foreign_kind
from minigan.errors import DataError


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x.png"), io.BytesIO())
    return buffer.getvalue()


KINDS = {
    "x.tar": (tar(), "a tar archive. Unpack it"),
    "x.tgz": (gzip.compress(tar()), "a packed tar archive. Unpack it"),
    "x.tar.xz": (b"\xfd7zXZ\0" + bytes(600), r"packed data \(xz\). Unpack it"),
    "x.rar": (b"Rar!\x1a\x07\x01\0" + bytes(600), "a RAR archive. Unpack it"),
    "x.7z": (b"7z\xbc\xaf\x27\x1c" + bytes(600), "a 7z archive. Unpack it"),
    "camelyonpatch.h5": (b"\x89HDF\r\n\x1a\n" + bytes(600), "an HDF5 file. Save its images with np.save"),
    "train_32x32.mat": (b"MATLAB 5.0 MAT-file" + bytes(600), "a MATLAB file. Save its images with np.save"),
    "0000.parquet": (b"PAR1" + bytes(600), "a Parquet table. Save its pictures in a folder"),
    "data.mdb": (bytes(16) + b"\xde\xc0\xef\xbe" + bytes(600), "an LMDB database. Save its pictures in a folder"),
    "cifar.tfrecord-00000": (bytes(600), "a TFRecord file. Save its pictures in a folder"),
    "mnist_train.csv": (b"7,0,0,255\n" * 60, "a table in text. Save its images with np.save"),
    "film.mp4": (b"\0\0\0\x20ftypisom" + bytes(600), "a video. Save its frames"),
    "photo.heic": (b"\0\0\0\x18ftypheic" + bytes(600), "a HEIC picture. Convert it to PNG"),
    "photo.avif": (b"\0\0\0\x18ftypavif" + bytes(600), "an AVIF picture. Convert it to PNG"),
    "photo.jp2": (b"\0\0\0\x0cjP  \r\n" + bytes(600), "a JPEG 2000 picture. Convert it to PNG"),
    "photo.CR2": (b"II*\0\x10\0\0\0CR" + bytes(600), "a raw photograph. Convert it to PNG"),
    "photo.tga": (bytes(600), "a picture of a kind that is not read. Convert it to PNG"),
    "paper.pdf": (b"%PDF-1.4" + bytes(600), "a PDF document. Save its pictures"),
    "images.bin": (b"\n<!DOCTYPE html>\n<title>404 \xc3\xa9</title>", "a web page, as a failed download leaves it."),
    "lfs.bin": (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS. Fetch the file itself"),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_file_is_called_what_it_is(tmp_path: Path, name: str):
    content, expected = KINDS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"; found {expected}"):
        open_dataset(tmp_path / name)
    with pytest.raises(DataError, match=f"found only {name}. {name} is {expected}"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("name", ["photo.avif", "images.bin", "paper.pdf"])
def test_a_picture_that_is_none_is_called_what_it_is(tmp_path: Path, name: str):
    content, expected = KINDS[name]
    (tmp_path / "tfrecords").mkdir()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(tmp_path / "tfrecords/a.png")
    (tmp_path / "tfrecords/b.jpg").write_bytes(content)
    with pytest.raises(DataError, match=f"b.jpg: expected an image, found {expected}"):
        open_dataset(tmp_path, size=4).read([0, 1])
    for content, expected in ((b"text", "one that cannot be read"), (b"", r"an empty file\. Remove it")):
        (tmp_path / "tfrecords/b.jpg").write_bytes(content)
        with pytest.raises(DataError, match=rf"b\.jpg: expected an image, found {expected}"):
            open_dataset(tmp_path, size=4).read([0, 1])


def test_texts_and_unknown_bytes():
    for head in (b"a,b\n", "a \N{PILE OF POO}".encode()[:-1], "caf\N{LATIN SMALL LETTER E WITH ACUTE}".encode()):
        found = foreign_kind(head, name="list.txt")
        assert found is not None and found.what == "text", head
    for head in (b"", b"\xff\xfe\0", b"a\0b", bytes(600), b"caf\xe9 au lait"):
        assert foreign_kind(head, name="x") is None, head


def test_weights_of_pytorch(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "netG.pth", "w") as archive:
        archive.writestr("netG/data.pkl", b"\x80\x02}q\0.")
        archive.writestr("netG/data/0", bytes(8))
    with pytest.raises(DataError, match=r"found only netG/data\.pkl, netG/data/0\. Pickles are never loaded"):
        open_dataset(tmp_path / "netG.pth")
