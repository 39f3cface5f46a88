"""The embedded shapes: colored shapes on textured grounds, each scene with a map of its classes, at any size.

Scene i depends only on (seed, i). It has one main shape, whose class is the label, in front of up to two small ones.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minigan.data.cache import CACHE_BYTES, PixelCache
from minigan.data.dataset import FloatArray, IndexArray, LabelArray, PairDataset, PixelArray, PixelDataset, unit_range

__all__ = ["CLASSES", "MASK_COLORS", "ShapePairs", "Shapes"]

Array = npt.NDArray[np.float32]

CLASSES = ("circle", "square", "triangle", "star", "ring", "cross")
STREAM = 0x54A9E5  # keeps these random numbers apart from others of the same seed
LAYERS = 3  # two small shapes, then the main one in front
CHUNK_PIXELS = 2**16

MASK_COLORS: tuple[tuple[int, int, int], ...] = (
    (0, 0, 0),  # the ground
    (230, 25, 75),
    (60, 180, 75),
    (0, 130, 200),
    (255, 225, 25),
    (240, 50, 230),
    (70, 240, 240),
)


class Scenes(NamedTuple):
    """Random properties of a batch of n scenes; lengths are relative to the image's shorter side."""

    kind: npt.NDArray[np.int64]  # (n, LAYERS) class, or -1 for none
    center: Array  # (n, LAYERS, 2)
    radius: Array  # (n, LAYERS)
    angle: Array  # (n, LAYERS)
    fill: Array  # (n, LAYERS, 3) colors in [0, 1]
    ground: Array  # (n, 2, 3) the two colors of the texture
    texture: npt.NDArray[np.int64]  # (n,) its kind
    waves: Array  # (n, 3, 3) frequency x, frequency y and phase of its three waves
    grain: Array  # (n, H, W) noise of every pixel


class Shapes(PixelDataset):
    """Embedded dataset of color images (H, W, 3) of six shapes, whose labels run through the classes in turn.

    Args:
        size: (H, W).
        count: number of images; a larger dataset of the same seed begins with the same images.
        seed: of the random generators.
        cache_bytes: drawn images are kept in memory if all of them take no more than this.
    """

    def __init__(
        self,
        *,
        size: tuple[int, int] = (64, 64),
        count: int = 10_000,
        seed: int = 0,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        super().__init__(
            name="shapes",
            count=count,
            shape=(*size, 3),
            labels=_labels(count),
            classes=CLASSES,
            cache_bytes=cache_bytes,
        )
        self._seed = seed

    def decode(self, indices: IndexArray) -> PixelArray:
        return np.ascontiguousarray(_render(self._seed, indices, height=self.shape[0], width=self.shape[1])[..., :3])


class ShapePairs(PairDataset):
    """Embedded dataset of the scenes of `Shapes` paired with maps of their classes, painted in MASK_COLORS.

    Args:
        size: (H, W).
        count: number of pairs; a larger dataset of the same seed begins with the same pairs.
        seed: of the random generators.
        swap: False makes the scene `a` and the map `b`; True the other way round.
        cache_bytes: drawn pairs are kept in memory if all of them take no more than this.
    """

    def __init__(
        self,
        *,
        size: tuple[int, int] = (64, 64),
        count: int = 10_000,
        seed: int = 0,
        swap: bool = False,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        height, width = size
        shape = (height, width, 3)
        super().__init__(
            name="shapes", count=count, a_shape=shape, b_shape=shape, labels=_labels(count), classes=CLASSES
        )
        self._seed = seed
        self._swap = swap
        self._cache = PixelCache(count=count, shape=(height, width, 6), limit=cache_bytes)

    def read(self, indices: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        both = self._cache.fetch(self.checked(indices), decode=self._decode)
        scene, classes = unit_range(both[..., :3]), unit_range(both[..., 3:])
        return (classes, scene) if self._swap else (scene, classes)

    def _decode(self, indices: IndexArray) -> PixelArray:
        return _render(self._seed, indices, height=self.a_shape[0], width=self.a_shape[1])


def _labels(count: int) -> LabelArray:
    return np.arange(count, dtype=np.int64) % len(CLASSES)


def _render(seed: int, indices: IndexArray, *, height: int, width: int) -> PixelArray:
    """Scenes (channels 0 to 2) and their class maps (3 to 5): uint8 (n, H, W, 6)."""
    images = np.empty((len(indices), height, width, 6), dtype=np.uint8)
    chunk = max(1, CHUNK_PIXELS // (height * width))
    for start in range(0, len(indices), chunk):
        part = slice(start, start + chunk)
        scenes = _draw_scenes(seed, indices[part], height=height, width=width)
        images[part] = _painted(scenes, height=height, width=width)
    return images


def _draw_scenes(seed: int, indices: IndexArray, *, height: int, width: int) -> Scenes:
    n = len(indices)
    uniform = np.empty((n, 64), dtype=np.float32)
    grain = np.empty((n, height, width), dtype=np.float32)
    for row, index in enumerate(indices):
        rng = np.random.default_rng([seed, int(index), STREAM])
        rng.random(dtype=np.float32, out=uniform[row])
        rng.standard_normal(dtype=np.float32, out=grain[row])
    layer = uniform[:, :24].reshape(n, LAYERS, 8)
    kind = (layer[..., 0] * len(CLASSES)).astype(np.int64)
    kind[layer[..., 1] < 0.35] = -1
    kind[:, -1] = indices % len(CLASSES)
    reach = np.array([0.42, 0.42, 0.16], dtype=np.float32)  # the main shape stays near the middle
    small, span = np.array([[0.07, 0.07, 0.19], [0.07, 0.07, 0.11]], dtype=np.float32)
    hue = layer[..., 6]
    ground_hue = (hue[:, -1:] + 0.2 + 0.6 * uniform[:, 24:26]) % 1  # away from the main shape's
    waves = uniform[:, 32:41].reshape(n, 3, 3)
    return Scenes(
        kind=kind,
        center=(2 * layer[..., 2:4] - 1) * reach[:, None],
        radius=small + span * layer[..., 4],
        angle=2 * np.pi * layer[..., 5],
        fill=_rgb(hue, saturation=0.65 + 0.35 * layer[..., 7], value=0.75 + 0.25 * layer[..., 0]),
        ground=_rgb(ground_hue, saturation=0.15 + 0.4 * uniform[:, 26:28], value=0.2 + 0.6 * uniform[:, 28:30]),
        texture=(uniform[:, 30] * 4).astype(np.int64),
        waves=np.concatenate([2 * waves[..., :2] - 1, waves[..., 2:]], axis=2),
        grain=grain,
    )


def _painted(scenes: Scenes, *, height: int, width: int) -> PixelArray:
    side = min(height, width)
    y = _axis(height, side)[:, None]
    x = _axis(width, side)[None, :]
    mix = _texture(scenes, x, y)[..., None]
    dark, light = scenes.ground[:, 0, None, None], scenes.ground[:, 1, None, None]
    scene: Array = dark + mix * (light - dark)
    classes = np.zeros((len(scene), height, width), dtype=np.int64)
    for layer in range(LAYERS):
        kind = scenes.kind[:, layer]
        distance, shade = _shape(scenes, layer, x, y)
        cover = np.clip(0.5 - distance * side, 0, 1)
        cover[kind < 0] = 0
        fill = scenes.fill[:, layer, None, None] * shade[..., None]
        scene += cover[..., None] * (fill - scene)
        classes = np.where(cover >= 0.5, kind[:, None, None] + 1, classes)
    scene += 0.02 * scenes.grain[..., None]
    pixels = (np.clip(scene, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8)
    return np.concatenate([pixels, np.array(MASK_COLORS, dtype=np.uint8)[classes]], axis=3)


def _axis(length: int, side: int) -> Array:
    """Positions of a row's pixels, in units of the image's shorter side, 0 in the middle."""
    return ((np.arange(length) - (length - 1) / 2) / side).astype(np.float32)


def _texture(scenes: Scenes, x: Array, y: Array) -> Array:
    """Mixing ratio of the two ground colors at each pixel, (n, H, W) in [0, 1]."""
    fx, fy, phase = (scenes.waves[:, :, k, None, None] for k in range(3))
    ramp = fx * x + fy * y  # (n, 3, H, W)
    along = ramp / (np.hypot(fx, fy) + np.float32(1e-6))
    pitch = 18 + 14 * phase[:, 2]
    blotches = 0.5 + np.sin(14 * ramp + 6.28 * phase).sum(axis=1) / 6
    gradient = 0.5 + ramp[:, 0]
    stripes = 0.5 + 1.5 * np.sin(2 * pitch * along[:, 0])
    checks = 0.5 + 2.5 * np.sin(pitch * x + phase[:, 0]) * np.sin(pitch * y + phase[:, 1])
    kind = scenes.texture[:, None, None]
    mix: Array = np.select([kind == 0, kind == 1, kind == 2], [blotches, gradient, stripes], default=checks)
    return np.clip(mix, 0, 1)


def _shape(scenes: Scenes, layer: int, x: Array, y: Array) -> tuple[Array, Array]:
    """Signed distance to the outline of each scene's shape, negative inside, and its shading: both (n, H, W)."""
    radius = scenes.radius[:, layer, None, None]
    dx = (x - scenes.center[:, layer, 0, None, None]) / radius
    dy = (y - scenes.center[:, layer, 1, None, None]) / radius
    shade: Array = 1 - np.float32(0.16) * np.clip(dx + dy, -1, 1)  # lit from the upper left
    cos, sin = (f(scenes.angle[:, layer, None, None]) for f in (np.cos, np.sin))
    u, v = cos * dx + sin * dy, cos * dy - sin * dx
    distance = np.full(u.shape, np.inf, dtype=np.float32)
    for kind in range(len(CLASSES)):
        rows = scenes.kind[:, layer] == kind
        if rows.any():
            distance[rows] = _outline(CLASSES[kind], u[rows], v[rows])
    return distance * radius, shade


def _outline(shape: str, u: Array, v: Array) -> Array:
    """Signed distance to a shape of radius about 1, exact near its edges, where anti-aliasing needs it."""
    if shape == "circle":
        return np.hypot(u, v) - np.float32(0.95)
    if shape == "square":
        return np.maximum(abs(u), abs(v)) - np.float32(0.82)
    if shape == "triangle":
        side: Array = np.float32(0.8660254) * abs(u) + np.float32(0.5) * v
        return np.maximum(side, -v) - np.float32(0.58)
    if shape == "ring":
        return abs(np.hypot(u, v) - np.float32(0.75)) - np.float32(0.22)
    if shape == "cross":
        long, short = np.maximum(abs(u), abs(v)), np.minimum(abs(u), abs(v))
        return np.maximum(long - np.float32(0.98), short - np.float32(0.32))
    return _star(u, v)


def _star(u: Array, v: Array) -> Array:
    """Signed distance to a star: the plane is folded into a tenth, where the outline is one line from tip to notch."""
    tip, notch, turn = 1.15, 0.5, np.pi / 5
    angle = abs((np.arctan2(u, v) + turn) % (2 * turn) - turn)
    radius = np.hypot(u, v)
    edge = np.array([notch * np.cos(turn) - tip, notch * np.sin(turn)])
    normal = np.array([edge[1], -edge[0]]) / np.hypot(*edge)
    distance: Array = (radius * np.cos(angle) - tip) * normal[0] + radius * np.sin(angle) * normal[1]
    return distance.astype(np.float32)


def _rgb(hue: Array, *, saturation: Array, value: Array) -> Array:
    """Converts HSV colors to RGB, in a new last axis of 3."""
    sector = (hue[..., None] * 6 + np.array([5, 3, 1], dtype=np.float32)) % 6
    dip = np.clip(np.minimum(sector, 4 - sector), 0, 1)
    rgb: Array = value[..., None] * (1 - saturation[..., None] * dip)
    return rgb
