"""The ten backgrounds, and a plain ground that is none of them.

Each is a function (side, rng) that fills a square of `side` x `side` pixels: float32 [3, side, side] in about
0..1. Lengths are fractions of the picture, so that a larger picture shows the same ground more finely.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from graybox.data.scenes.paint import fraction, hsv, inks, noise, ramp, step


def wood(side: int, rng: np.random.Generator) -> np.ndarray:
    """Planks with a wavy grain and dark joints."""
    u, v = _turned(side, rng, rng.uniform(-0.7, 0.7))
    width, length = rng.uniform(0.22, 0.4), rng.uniform(0.7, 1.3)
    row = np.floor(v / width)
    u = u + _per_cell(rng, row) * length
    plank = row * 3 + np.floor(u / length)
    tone = _per_cell(rng, plank)
    wave = noise(side, rng, 3, 2)
    across_grain = (v / width + 0.5 * wave + 0.06 * u) * rng.uniform(40, 70) + tone * 190
    rings = _lookup(_rough(rng), across_grain)
    grain = 0.18 + 0.42 * rings + 0.34 * tone + 0.14 * wave
    across, along = np.abs(v / width - row - 0.5) * width, np.abs(fraction(u / length) - 0.5) * length
    sides = step(width / 2 - 0.022, width / 2 - 0.008, across)
    ends = step(length / 2 - 0.018, length / 2 - 0.006, along)
    hue, rich, bright = rng.uniform(0.04, 0.13), rng.uniform(0.3, 0.75), rng.uniform(0.5, 0.95)
    dark, light = hsv(hue - 0.02, rich + 0.15, bright * 0.42), hsv(hue, rich, bright)
    colours = ramp(grain, dark, light, hsv(hue + 0.02, rich - 0.2, bright + 0.15))
    planks: np.ndarray = colours * (1 - 0.7 * np.maximum(sides, ends))
    return planks


def tiles(side: int, rng: np.random.Generator) -> np.ndarray:
    """Glazed square tiles with thin joints; now and then one of another colour."""
    u, v = _turned(side, rng, rng.uniform(-0.8, 0.8))
    width = rng.uniform(0.14, 0.27)
    column, row = np.floor(u / width), np.floor(v / width)
    tone = _per_cell(rng, column + 17 * row)
    x, y = u / width - column - 0.5, v / width - row - 0.5
    edge = np.maximum(np.abs(x), np.abs(y))
    joint = step(0.5 - rng.uniform(0.016, 0.024) / width, 0.5, edge)
    # Each tile is a little domed: it is brighter where it faces the light, and has a dark rim.
    gloss = 0.55 + rng.uniform(-0.5, 0.5) * x + rng.uniform(-0.5, 0.5) * y - 0.5 * step(0.38, 0.5, edge)
    gloss += 0.3 * (tone - 0.5) + 0.35 * (noise(side, rng, 5, 2) - 0.5)
    hue, rich, bright = rng.random(), rng.uniform(0.05, 0.45), rng.uniform(0.6, 1.0)
    dull, shiny = hsv(hue, rich + 0.12, bright * 0.68), hsv(hue, rich * 0.4, bright + 0.1)
    glaze = ramp(gloss, dull, hsv(hue, rich, bright), shiny)
    odd = (tone > rng.uniform(0.75, 1.05)) * (1 - joint)
    glaze = _over(glaze, hsv(hue + rng.uniform(0.2, 0.8), rich + 0.15, bright * 0.75), 0.6 * odd)
    return _over(glaze, hsv(rng.random(), 0.1, rng.uniform(0.1, 0.45)), joint)


def water(side: int, rng: np.random.Generator) -> np.ndarray:
    """Waves with thin bright crests."""
    u, v = _turned(side, rng, rng.uniform(-0.6, 0.6))
    pitch = rng.uniform(5, 9)
    sway = noise(side, rng, 4, 2)
    swell = v * pitch + 0.34 * np.sin(2 * np.pi * (u * rng.uniform(2, 4) + sway)) + 2.2 * sway
    crest = 1 - np.abs(2 * fraction(swell) - 1)
    broken = noise(side, rng, (9, 6), 2)
    deep = 0.1 + 0.45 * crest + 0.5 * (noise(side, rng, 6, 2) - 0.4)
    hue, bright = rng.uniform(0.48, 0.64), rng.uniform(0.5, 0.85)
    dark, light = hsv(hue + 0.03, 0.95, bright * 0.4), hsv(hue - 0.03, 0.45, bright + 0.15)
    sea = ramp(deep, dark, hsv(hue, 0.8, bright * 0.8), light)
    return _over(sea, hsv(hue, 0.1, 1.0), 0.9 * step(0.7, 0.98, crest) * step(0.4, 0.65, broken))


def sky(side: int, rng: np.random.Generator) -> np.ndarray:
    """A blue that pales downwards, and soft clouds."""
    _, v = _turned(side, rng, rng.uniform(-0.3, 0.3))
    hue, rich, bright = rng.uniform(0.54, 0.64), rng.uniform(0.35, 0.8), rng.uniform(0.65, 1.0)
    air = ramp(v * 0.8 + 0.5, hsv(hue + 0.02, rich, bright * 0.8), hsv(hue - 0.02, rich * 0.5, bright))
    billow = noise(side, rng, (4, 3), 4)
    cover = rng.uniform(0.38, 0.62)
    lit = noise(side, rng, 3)
    cloud = ramp(billow * 0.6 + lit * 0.5, hsv(hue, 0.22, 0.7), hsv(hue, 0.06, 0.95), hsv(0.12, 0.04, 1.0))
    return _over(air, cloud, 0.92 * step(cover, cover + rng.uniform(0.2, 0.4), billow))


def brick(side: int, rng: np.random.Generator) -> np.ndarray:
    """A wall of bricks in running bond with pale mortar."""
    u, v = _turned(side, rng, rng.uniform(-0.3, 0.3))
    tall = rng.uniform(0.1, 0.16)
    wide = tall * rng.uniform(1.9, 2.5)
    row = np.floor(v / tall)
    along = u / wide + fraction(row * 0.5)
    column = np.floor(along)
    tone = _per_cell(rng, column + 19 * row)
    x, y = np.abs(along - column - 0.5) * wide, (v / tall - row - 0.5) * tall
    gap = rng.uniform(0.012, 0.022)
    upright = step(wide / 2 - gap, wide / 2 - gap * 0.5, x)
    level = step(tall / 2 - gap, tall / 2 - gap * 0.5, np.abs(y))
    grit = noise(side, rng, 22)
    clay = 0.3 + 0.5 * tone + 0.5 * (grit - 0.5) - 2.0 * y
    hue, rich, bright = rng.uniform(-0.02, 0.09), rng.uniform(0.4, 0.8), rng.uniform(0.55, 0.9)
    dark, light = hsv(hue - 0.02, rich + 0.1, bright * 0.5), hsv(hue + 0.03, rich - 0.15, bright + 0.1)
    wall = ramp(clay, dark, hsv(hue, rich, bright), light)
    return _over(wall, hsv(0.1, 0.14, rng.uniform(0.55, 0.95)), np.maximum(upright, level))


def sand(side: int, rng: np.random.Generator) -> np.ndarray:
    """Grains and soft ripples."""
    _, v = _turned(side, rng, rng.uniform(-0.9, 0.9))
    drift = noise(side, rng, 3, 2)
    ripple = np.sin(2 * np.pi * (v * rng.uniform(4, 8) + 1.8 * drift))
    level = 0.5 + rng.uniform(0.06, 0.2) * ripple + 0.5 * (drift - 0.5)
    hue, rich, bright = rng.uniform(0.07, 0.14), rng.uniform(0.2, 0.5), rng.uniform(0.65, 0.95)
    level += 0.55 * _grains(side, rng)
    dark, light = hsv(hue - 0.02, rich + 0.1, bright * 0.6), hsv(hue, rich * 0.6, bright + 0.15)
    return ramp(level, dark, hsv(hue, rich, bright), light)


def leaves(side: int, rng: np.random.Generator) -> np.ndarray:
    """A litter of fallen leaves, each with a lit and a shaded half."""
    count = 60
    hue, spread = rng.uniform(0.03, 0.3), rng.uniform(0.03, 0.1)
    page = _blank(side, hsv(hue, 0.7, 0.14))
    pen = ImageDraw.Draw(page)
    angle = rng.uniform(0, 2 * np.pi, count)
    long = rng.uniform(0.07, 0.14, count) * side * rng.uniform(0.85, 1.3)
    cos, sin = long * np.cos(angle), long * np.sin(angle)
    turn = np.stack([cos, sin, -sin, cos], axis=1).reshape(count, 2, 2)
    place = rng.uniform(-0.05, 1.05, (count, 1, 2)) * side
    # Later leaves lie higher and catch more light.
    value = np.linspace(0.22, rng.uniform(0.6, 0.85), count) * rng.uniform(0.75, 1.1, count)
    hues, riches = hue + spread * rng.standard_normal(count), rng.uniform(0.6, 0.95, count)
    bright, dull = inks(hues, riches, value), inks(hues - 0.01, riches, value * 0.72)
    halves = [(half @ turn + place).reshape(count, -1).tolist() for half in _LEAF_HALVES]
    for lit, shaded, bright_ink, dull_ink in zip(*halves, bright, dull, strict=True):
        pen.polygon(lit, fill=bright_ink)
        pen.polygon(shaded, fill=dull_ink)
    return _planes(page)


def night(side: int, rng: np.random.Generator) -> np.ndarray:
    """A dark sky with stars, a haze and a few glows."""
    haze = noise(side, rng, 3, 3)
    hue, dim = rng.uniform(0.58, 0.85), rng.uniform(0.08, 0.2)
    dark = ramp(haze, hsv(hue, 0.8, dim * 0.3), hsv(hue, 0.7, dim), hsv(hue + 0.06, 0.55, dim * 2.4))
    along = (np.arange(side, dtype=np.float32) + 0.5) / side
    for _ in range(int(rng.integers(1, 6))):
        (x, y), reach = rng.random(2), rng.uniform(0.02, 0.07)
        glow = np.exp(-(((along - y) / reach) ** 2))[:, None] * np.exp(-(((along - x) / reach) ** 2))
        dark += glow * hsv(rng.uniform(0.02, 0.16), 0.5, rng.uniform(0.25, 0.7))[:, None, None]
    stars = int(rng.integers(40, 130))
    # A star is a dot of 2 x 2, so that it outlasts the reduction to the picture's own size.
    x, y = (rng.random((2, stars)) * (side - 1)).astype(int)
    shine = hsv(0.6, 0.12, 1.0)[:, None] * (0.25 + 0.75 * rng.random(stars, dtype=np.float32) ** 3)
    for dx, dy in ((0, 0), (0, 1), (1, 0), (1, 1)):
        dark[:, y + dy, x + dx] = shine
    return dark


def grass(side: int, rng: np.random.Generator) -> np.ndarray:
    """Blades of grass, the nearer the brighter."""
    count = 230
    hue, spread = rng.uniform(0.18, 0.32), rng.uniform(0.01, 0.035)
    page = _blank(side, hsv(hue + 0.03, 0.8, 0.16))
    pen = ImageDraw.Draw(page)
    foot = rng.uniform(-0.05, 1.1, (count, 2))
    foot[:, 1] = foot[:, 1] * 0.6 + np.linspace(0, 0.5, count)
    tall = rng.uniform(0.1, 0.24, count) * rng.uniform(0.8, 1.3)
    lean = rng.normal(rng.uniform(-0.45, 0.45), 0.28, count)
    half = np.array([0.011, 0.0])
    tip = foot + np.stack([tall * np.sin(lean), -tall * np.cos(lean)], axis=1)
    blades = np.stack([foot - half, foot + half, tip], axis=1).reshape(count, 6) * side
    value = np.linspace(0.25, rng.uniform(0.5, 0.75), count) * rng.uniform(0.65, 1.3, count)
    colours = inks(hue + spread * rng.standard_normal(count), rng.uniform(0.5, 0.85, count), value)
    for blade, colour in zip(blades.tolist(), colours, strict=True):
        pen.polygon(blade, fill=colour)
    return _planes(page)


def snow(side: int, rng: np.random.Generator) -> np.ndarray:
    """Soft white drifts with bluish hollows, and a few glints."""
    drift = noise(side, rng, (4, 3), 3)
    slope = np.zeros_like(drift)
    lean = rng.uniform(-1, 1)
    slope[1:, 1:] = (drift[1:, 1:] - drift[:-1, 1:]) + lean * (drift[1:, 1:] - drift[1:, :-1])
    level = 0.72 + slope * side * rng.uniform(0.025, 0.07) + 0.25 * (drift - 0.5)
    hue, bright = rng.uniform(0.52, 0.78), rng.uniform(0.85, 1.0)
    hollow, light = hsv(hue, rng.uniform(0.2, 0.4), bright * 0.68), hsv(0.1, 0.02, bright + 0.05)
    glints = rng.random((2, int(rng.integers(10, 50))))
    level += 0.1 * _grains(side, rng)
    cold = ramp(level, hollow, hsv(hue, 0.1, bright * 0.92), light)
    x, y = (glints * side).astype(int)
    cold[:, y, x] = 1.0
    return cold


def plain(side: int, rng: np.random.Generator) -> np.ndarray:
    """A smooth ground without identity: one colour that changes slowly."""
    _, v = _turned(side, rng, rng.uniform(-np.pi, np.pi))
    hue, rich, bright = rng.random(), rng.uniform(0.0, 0.5), rng.uniform(0.3, 0.9)
    level = 0.5 + 0.5 * v + 0.4 * (noise(side, rng, 2) - 0.5)
    return ramp(level, hsv(hue, rich, bright * 0.8), hsv(hue + 0.03, rich * 0.8, bright * 1.1))


_LEAF = np.array([(-1.0, 0.0), (-0.45, -0.42), (0.2, -0.44), (1.0, 0.0)])
_LEAF_HALVES = (_LEAF, _LEAF * (1, -1))


def _turned(side: int, rng: np.random.Generator, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (along, across), [side, side] each, of a ground turned by `angle` radians and shifted."""
    shift = rng.random(2)
    along = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    x, y = along[None, :], along[:, None]
    return x * cos + y * sin + np.float32(shift[0] * 0.3), y * cos - x * sin + np.float32(shift[1] * 0.3)


def _grains(side: int, rng: np.random.Generator) -> np.ndarray:
    """A random number in -0.5..0.5 for each pixel. Draw it last: how much it takes from the stream depends on side."""
    return rng.random((side, side), dtype=np.float32) - 0.5


def _per_cell(rng: np.random.Generator, cell: np.ndarray) -> np.ndarray:
    """One random number in 0..1 for each number of a plank, tile or brick."""
    return _lookup(rng.random(256, dtype=np.float32), cell)


def _lookup(table: np.ndarray, position: np.ndarray) -> np.ndarray:
    """The table's entry at each position, which wraps around its 256 entries."""
    found: np.ndarray = table[position.astype(np.int32) & 255]
    return found


def _rough(rng: np.random.Generator) -> np.ndarray:
    """A random profile [256] in 0..1, in which neighbours are alike and which wraps."""
    raw = rng.random(256, dtype=np.float32)
    soft = raw + np.roll(raw, 1) + np.roll(raw, 2)
    profile: np.ndarray = (soft - soft.min()) / (soft.max() - soft.min())
    return profile


def _over(under: np.ndarray, over: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Lay a colour [3] or an image [3, H, W] over an image, as opaque as `cover` [H, W] says."""
    top = over[:, None, None] if over.ndim == 1 else over
    both: np.ndarray = under + (top - under) * cover
    return both


def _blank(side: int, colour: np.ndarray) -> Image.Image:
    return Image.new("RGB", (side, side), tuple((colour * 255).astype(int).tolist()))


def _planes(page: Image.Image) -> np.ndarray:
    return np.asarray(page, dtype=np.float32).transpose(2, 0, 1) / 255


Ground = Callable[[int, np.random.Generator], np.ndarray]

GROUNDS: tuple[Ground, ...] = (
    wood, tiles, water, sky, brick, sand, leaves, night, grass, snow,
)  # fmt: skip

BACKGROUNDS: tuple[str, ...] = tuple(ground.__name__ for ground in GROUNDS)
