"""Maps of classes among pairs: numbers, palettes and exact colors, what is none of these, and how they are scaled."""

import numpy as np
import pytest

from minigan.data import open_pairs
from minigan.data.class_maps import voc_palette
from minigan.errors import ConfigError, DataError
from minigan.evaluation import MapScore, palette_of

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)
VOC = voc_palette()
VOC_VOID = (224, 224, 192)


def photo(size=24):
    return RNG.integers(0, 256, (size, size, 3)).astype(np.uint8)


def cells(numbers, size=24):
    """A map of flat cells, each of one of some numbers; all of them occur."""
    count = size // 4
    drawn = np.resize(np.array(numbers), count * count)
    return np.kron(RNG.permutation(drawn).reshape(count, count), np.ones((4, 4), int))


def indexed(numbers, palette):
    image = Image.new("P", numbers.shape[::-1])
    image.putdata(numbers.ravel().tolist())
    image.putpalette(palette.ravel().tolist())
    return image


def write(root, make, *, count=4, ending="png"):
    """Photographs and maps; the maps' arrays or images are made by number."""
    for number in range(count):
        for side, content in (("a", photo()), ("b", make(number))):
            path = root / side / f"{number}.{ending if side == 'b' else 'png'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = content if isinstance(content, Image.Image) else Image.fromarray(content)
            image.save(path)
    return {"source": root / "a", "targets": root / "b"}


def pixels(images):
    return np.rint((images + 1) * 127.5).astype(int)


def note(data):
    return next(line for line in data.notes if line.startswith("B "))


@pytest.mark.parametrize(
    ("numbers", "dtype", "ending"),
    [
        (range(12), np.uint8, "png"),  # CamVid's annotations
        ([7, 8, 11, 33], np.uint8, "png"),  # Cityscapes' labelIds
        (range(12), np.uint16, "png"),
        (range(150), np.uint8, "bmp"),  # ADE20K's, each map with a few
        (range(6), np.int32, "tif"),
        (range(6), np.float32, "tif"),
        ([0, 1], np.uint8, "png"),
        ([1, 2, 3], np.uint8, "png"),
    ],
)
def test_numbers_are_painted_by_number(tmp_path, numbers, dtype, ending):
    maps = [cells([*numbers][k::5] if len(numbers) > 100 else [*numbers]).astype(dtype) for k in range(5)]
    data = open_pairs(**write(tmp_path, lambda k: maps[k], count=5, ending=ending))
    _, b = data.read(range(5))
    np.testing.assert_array_equal(pixels(b), VOC[np.array(maps).astype(int)])
    assert data.maps.numbers == tuple(numbers)
    assert f"{len(numbers)} classes by number" in note(data)


def test_numbers_of_three_equal_channels_side_by_side(tmp_path):
    maps = [cells([0, 1, 2, 3]).astype(np.uint8) for _ in range(4)]
    for k, numbers in enumerate(maps):
        Image.fromarray(np.concatenate([photo(), np.stack([numbers] * 3, 2)], axis=1)).save(tmp_path / f"{k}.png")
    a, b = open_pairs(tmp_path, direction="BtoA").read(range(4))
    np.testing.assert_array_equal(pixels(a), VOC[np.array(maps)])
    assert len(np.unique(pixels(b))) > 200


@pytest.mark.parametrize(("dtype", "stored"), [(np.uint8, 255), (np.uint16, 255), (np.uint16, 65535), (np.int32, -1)])
def test_void_is_no_class(tmp_path, dtype, stored):
    numbers = cells([0, 1, 2, 255])
    maps = np.where(numbers == 255, stored, numbers).astype(dtype)
    data = open_pairs(**write(tmp_path, lambda _: maps, ending="tif" if stored < 0 else "png"))
    assert (data.maps.numbers, data.maps.void) == ((0, 1, 2), VOC_VOID)
    assert "3 classes by number" in note(data)
    assert "255 is void" in note(data)
    palette = palette_of(data.maps)
    truth = palette.truth(data.read([0])[1])[0]
    np.testing.assert_array_equal(truth, np.where(numbers == 255, -1, numbers))


def test_indices_have_the_colors_of_their_palette(tmp_path):
    own = RNG.permutation(256)[:, None] * np.array([1, 0, 0]) + np.array([0, 7, 9])
    own = own.astype(np.uint8)
    own[:4] = [[0, 0, 0], [200, 0, 0], [0, 200, 0], [0, 0, 200]]
    own[255] = [250, 250, 250]
    maps = [cells([0, 1, 2, 3, 255]) for _ in range(4)]
    data = open_pairs(**write(tmp_path, lambda k: indexed(maps[k], own)))
    np.testing.assert_array_equal(pixels(data.read(range(4))[1]), own[np.array(maps)])
    assert (data.maps.kind, data.maps.numbers, data.maps.void) == ("palette", (0, 1, 2, 3), (250, 250, 250))


def test_a_palette_that_does_not_tell_classes_apart_is_not_used(tmp_path):
    black = np.zeros((256, 3), np.uint8)
    maps = cells([0, 1, 2])
    data = open_pairs(**write(tmp_path / "black", lambda _: indexed(maps, black)))
    np.testing.assert_array_equal(pixels(data.read([0])[1])[0], VOC[maps])
    black[:3] = [[0, 0, 0], [99, 0, 0], [0, 99, 0]]  # void would be black, as class 0 is
    void = cells([0, 1, 2, 255])
    data = open_pairs(**write(tmp_path / "void", lambda _: indexed(void, black)))
    assert data.maps.void == VOC_VOID


def test_palettes_that_differ_are_no_classes(tmp_path):
    maps = cells([0, 1, 2])
    palettes = [RNG.integers(0, 256, (256, 3)).astype(np.uint8) for _ in range(4)]
    data = open_pairs(**write(tmp_path, lambda k: indexed(maps, palettes[k])))
    np.testing.assert_array_equal(pixels(data.read([1])[1])[0], palettes[1][maps])
    assert data.maps.kind == "colors"  # 12 of them


def test_exact_colors_and_levels_stay_as_they_are(tmp_path):
    colors = np.array([[9, 200, 30], [0, 0, 0], [90, 0, 160], [128, 64, 128]], np.uint8)
    maps = cells(range(4))
    data = open_pairs(**write(tmp_path / "colors", lambda _: colors[maps]))
    np.testing.assert_array_equal(pixels(data.read([0])[1])[0], colors[maps])
    assert note(data) == "B are maps: 4 exact colors, each a class"
    levels = (maps * 80).astype(np.uint8)
    data = open_pairs(**write(tmp_path / "levels", lambda _: levels))
    assert data.maps.colors == tuple((v, v, v) for v in (0, 80, 160, 240))
    score = MapScore(palette_of(data.maps))
    score.add(data.read([0])[1], data.read([0])[1], None)
    assert {figure.name: figure.value for figure in score.figures()}["mean_iou"] == 1


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda _: photo()[..., 0], "a gray photograph"),
        (lambda _: photo()[..., 0] // 4, "a dark one"),
        (lambda _: photo() // 4, "a dark one in colors"),
        (lambda _: (cells([0, 1]) * 255).astype(np.uint8), "black and white"),
        (lambda k: np.full((24, 24), k, np.uint8), "one value in each"),
    ],
)
def test_what_is_no_map(tmp_path, make, why):
    data = open_pairs(**write(tmp_path, make))
    assert data.maps is None, why
    assert not [line for line in data.notes if "are maps" in line]


def test_all_maps_are_looked_at(tmp_path):
    """The first ones are of one class, the last one is a photograph."""
    flat = open_pairs(**write(tmp_path / "flat", lambda k: (cells([0, 1, 5]) * (k == 3)).astype(np.uint8)))
    assert flat.maps.numbers == (0, 1, 5)
    source = write(tmp_path / "odd", lambda k: photo()[..., 0] if k == 3 else cells([0, 1, 5]).astype(np.uint8))
    odd = open_pairs(**source)
    assert odd.maps is None
    assert any("3.png is no map of class numbers, as those before it may be" in line for line in odd.notes)


def test_of_many_maps_a_sample_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr("minigan.data.pairs.SURVEYED", 4)
    source = write(tmp_path, lambda k: cells([0, 1, 3, 7 if k == 1 else 4]).astype(np.uint8), count=8)
    data = open_pairs(**source)
    assert data.maps.numbers == (0, 1, 2, 3, 4)  # those between may occur elsewhere
    assert note(data).endswith(", as 4 of 8 maps show")
    _, b = data.read([1])
    assert set(map(tuple, pixels(b).reshape(-1, 3))) == {tuple(VOC[n]) for n in (0, 1, 3, 7)}
    assert any("1.png has numbers that the maps looked at do not have: 7" in line for line in data.notes)


def test_maps_are_scaled_without_new_colors(tmp_path):
    source = write(tmp_path, lambda _: cells(range(12)).astype(np.uint8))
    for size in (7, 17, (30, 50)):
        _, b = open_pairs(**source, size=size).read(range(4))
        assert {tuple(color) for color in pixels(b).reshape(-1, 3)} <= {tuple(VOC[n]) for n in range(12)}


def test_transparent_parts_have_no_class(tmp_path):
    numbers, clear = cells([0, 1, 2]).astype(np.uint8), cells([0, 1]).astype(bool)
    rgba = np.dstack([numbers] * 3 + [np.where(clear, 0, 255).astype(np.uint8)])
    data = open_pairs(**write(tmp_path, lambda _: rgba))
    np.testing.assert_array_equal(pixels(data.read([0])[1])[0], np.where(clear[..., None], VOC_VOID, VOC[numbers]))


def test_numbers_of_objects_and_lossy_numbers(tmp_path):
    objects = (cells([0, 3, 9]) * 300).astype(np.uint16)
    with pytest.raises(DataError, match=r"0\.png: expected numbers of classes from 0 to 254, found 3 numbers up to 2,"):
        open_pairs(**write(tmp_path / "objects", lambda _: objects))
    data = open_pairs(**write(tmp_path / "lossy", lambda _: cells(range(5)).astype(np.uint8), ending="jpg"))
    assert data.maps is None
    assert note(data).startswith("B are JPEGs that are nearly black")


def test_maps_in_colors_need_three_channels(tmp_path):
    source = write(tmp_path, lambda _: cells(range(4)).astype(np.uint8))
    with pytest.raises(ConfigError, match="painted in colors, which 1 channel cannot hold"):
        open_pairs(**source, channels=1)
    for path in (tmp_path / "a").iterdir():
        Image.open(path).convert("L").save(path)
    assert open_pairs(**source).a_shape == (24, 24, 3)  # gray photographs, too
