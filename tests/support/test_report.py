"""Pictures and progress: what people look at."""

import io
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan.data.pictures import GAP, image_grid, point_density, to_pixels
from minigan.data.png import encode_png
from minigan.errors import ShapeError
from minigan.support.output import Output
from minigan.support.progress import PlainProgress, RichProgress, format_seconds, open_progress


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)), channels=st.sampled_from([1, 3]), seed=st.integers(0, 99)
)
def test_a_png_is_read_back_as_written(size, channels, seed):
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, channels), dtype=np.uint8)
    with image.open(io.BytesIO(encode_png(pixels))) as read:
        assert read.mode == {1: "L", 3: "RGB"}[channels]
        np.testing.assert_array_equal(np.asarray(read).reshape(pixels.shape), pixels)


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4, 3))])
def test_a_png_of_anything_else_is_refused(bad):
    with pytest.raises(ShapeError, match=r"expected uint8 pixels .* or .*, got"):
        encode_png(bad)


def test_pixels_cover_the_whole_range_and_clip():
    np.testing.assert_array_equal(to_pixels(np.array([-3.0, -1.0, 0.0, 1.0, 3.0])), [0, 0, 128, 255, 255])


def test_the_grid_shows_each_image_where_it_belongs():
    images = np.full((5, 3, 2, 1), -1.0)
    images[3] = 1.0  # second row, first column of three
    grid = image_grid(images, columns=3, scale=2)
    assert grid.shape == (2 * (6 + GAP) + GAP, 3 * (4 + GAP) + GAP, 1)
    top = GAP + 6 + GAP
    assert (grid[top : top + 6, GAP : GAP + 4] == 255).all()
    assert (grid == 255).sum() == 6 * 4
    assert (grid == 0).sum() == 4 * 6 * 4


def test_small_images_are_enlarged_and_large_ones_are_not():
    assert image_grid(np.zeros((1, 28, 28, 1))).shape == (28 * 2 + 2 * GAP, 28 * 2 + 2 * GAP, 1)
    assert image_grid(np.zeros((1, 128, 128, 3))).shape == (128 + 2 * GAP, 128 + 2 * GAP, 3)


def test_points_are_dark_where_they_are():
    picture = point_density(np.array([[0.5, 0.5], [0.5, 0.5], [-0.9, 0.9], [7.0, 7.0]]), extent=1.0, size=100)
    assert picture.shape == (100, 100, 1)
    assert picture[25, 75] < picture[5, 5] < 255  # upper right, denser; upper left
    assert picture[75, 25] == 255


def test_plain_lines_come_at_intervals_and_at_the_end():
    stream = io.StringIO()
    with PlainProgress(start=0, total=100, stream=stream) as progress:
        for step in range(1, 101):
            progress.advance(step, images_per_second=1234.5)
            progress.values({"D": 0.5, "G": 1.25})
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2  # the first, and the last: 100 steps take far less than the interval
    assert lines[0].startswith("step   1/100  D 0.500  G 1.250  1,234 images/s")
    assert lines[1].startswith("step 100/100")


def test_a_broken_stream_is_left_alone():
    class Broken(io.StringIO):
        writes = 0

        def write(self, _text: str) -> int:
            self.writes += 1
            raise BrokenPipeError

    stream = Broken()
    progress = PlainProgress(start=0, total=1, stream=stream)
    progress.message("one")
    progress.message("two")
    assert stream.writes == 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_no_bar_where_there_is_no_terminal():
    assert isinstance(open_progress(start=0, total=1, stream=io.StringIO()), PlainProgress)


def test_the_bar_shows_values_on_a_terminal(monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    progress = open_progress(start=0, total=10, stream=stream)
    assert isinstance(progress, RichProgress)
    with progress:
        progress.advance(10, images_per_second=99.0)
        progress.values({"D": 0.5})
        progress.message("saved")
    assert "D 0.500" in stream.getvalue()
    assert "99 images/s" in stream.getvalue()
    assert "saved" in stream.getvalue()


@pytest.mark.parametrize(
    ("variable", "value", "bar", "colors"),
    [("NO_COLOR", "1", True, False), ("TERM", "dumb", False, False), ("COLUMNS", "80", True, True)],
)
def test_colors_are_for_terminals_that_have_them(monkeypatch, variable, value, bar, colors):
    pytest.importorskip("rich")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv(variable, value)
    stream = Terminal()
    with open_progress(start=0, total=10, stream=stream) as progress:
        progress.advance(10, images_per_second=99.0)
        progress.values({"D": 0.5})
    assert isinstance(progress, RichProgress) == bar
    assert bool(re.search(r"\x1b\[(3\d|38;[\d;]+)m", stream.getvalue())) == colors
    assert "D 0.500" in stream.getvalue()


def test_seconds_read_like_a_clock():
    assert [format_seconds(s) for s in (0, 59.6, 61, 3725)] == ["0:00", "1:00", "1:01", "1:02:05"]


def test_numbers_that_json_lacks_are_null(capsys):
    Output(json=True).record({"fid": math.inf, "figures": [1.5, math.nan, {"deep": -math.inf}], "step": 3})
    assert json.loads(capsys.readouterr().out) == {"fid": None, "figures": [1.5, None, {"deep": None}], "step": 3}
