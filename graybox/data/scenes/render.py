"""How a picture comes about: light, pose and look are drawn at random; ground, object and occluder are painted,
lit and laid over one another.

Everything is painted at a multiple of the picture's size and then reduced, which is what makes the edges soft.
Pictures under way are float32 [H, W, 3] in 0..1; they are rounded to bytes once, at the end.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from graybox.data.scenes.backgrounds import Ground
from graybox.data.scenes.objects import FORM, OCCLUDERS, Painter
from graybox.data.scenes.paint import Ink, Pen, fraction, hsv

Box = tuple[int, int, int, int]  # x0, y0, x1, y1, half-open

PLAIN, STRIPES, DOTS, PATCHES = range(4)


@dataclass(frozen=True)
class Light:
    """Where the light comes from and what it does to the whole picture."""

    x: float  # a unit vector towards the light: to the right,
    y: float  # and down
    exposure: np.ndarray  # [3], one factor for each channel
    falloff: float  # how much brighter the lit side of the picture is than the other
    shadow: float  # how dark shadows are, 0..1
    distance: float  # how far a shadow is moved, as a fraction of the object's size


@dataclass(frozen=True)
class Pose:
    """Where a thing is, in fractions of the picture, and how it is turned."""

    centre: tuple[float, float]
    half: float  # half its longer side
    angle: float  # radians, clockwise
    mirrored: bool


@dataclass(frozen=True)
class Look:
    """What a thing is made of."""

    form: np.ndarray  # [FORM] in 0..1
    palette: np.ndarray  # uint8 [inks, 3]
    grain: np.ndarray  # float32 [14, 14] in 0..1, stretched over it
    pattern: int  # PLAIN, STRIPES, DOTS or PATCHES
    repeat: float  # stripes or dots across one unit
    slant: float  # radians


@dataclass(frozen=True)
class Layer:
    """A thing cut out: its colours times its cover [H, W, 3], and its cover [H, W] in 0..1."""

    colour: np.ndarray
    cover: np.ndarray


def draw_light(rng: np.random.Generator) -> Light:
    """Light from above, more or less from the side, a little warmer or colder."""
    angle = rng.uniform(-1.2, 1.2)
    exposure = rng.uniform(0.78, 1.12) * rng.uniform(0.93, 1.07, 3).astype(np.float32)
    falloff, shadow, distance = rng.uniform(0.0, 0.25), rng.uniform(0.3, 0.6), rng.uniform(0.06, 0.16)
    return Light(np.sin(angle), -np.cos(angle), exposure.astype(np.float32), falloff, shadow, distance)


def draw_pose(rng: np.random.Generator, size: tuple[float, float], rotation: float) -> Pose:
    """A pose that keeps the square around the thing, as it is before it is turned, inside the picture."""
    longer = rng.uniform(*size)
    angle = np.deg2rad(rng.uniform(-rotation, rotation))
    x, y = longer / 2 + rng.random(2) * (1 - longer)
    return Pose((x, y), longer / 2, angle, bool(rng.random() < 0.5))


def draw_look(rng: np.random.Generator) -> Look:
    """Shape, colours and pattern. Always the same number of draws, whatever they turn out to be used for."""
    form = rng.random(FORM)
    grain = rng.random((14, 14), dtype=np.float32)
    body_hue, trim_hue = rng.random(), rng.random()
    body = hsv(body_hue, rng.uniform(0.25, 0.95), rng.uniform(0.4, 0.95))
    trim = hsv(trim_hue, rng.uniform(0.2, 0.9), rng.uniform(0.4, 0.95))
    palette = np.zeros((len(Ink), 3), dtype=np.float32)
    palette[Ink.BODY] = body
    palette[Ink.BODY_DARK] = body * 0.68
    palette[Ink.BODY_LIGHT] = body + (1 - body) * 0.3
    palette[Ink.TRIM] = trim
    palette[Ink.TRIM_DARK] = trim * 0.65
    palette[Ink.DARK] = hsv(body_hue, 0.3, rng.uniform(0.06, 0.26))
    palette[Ink.LIGHT] = hsv(trim_hue, rng.uniform(0.0, 0.25), rng.uniform(0.72, 0.98))
    palette[Ink.GLASS] = hsv(rng.uniform(0.5, 0.62), rng.uniform(0.15, 0.45), rng.uniform(0.5, 0.85))
    palette[Ink.STALK] = hsv(rng.uniform(0.08, 0.36), rng.uniform(0.4, 0.75), rng.uniform(0.3, 0.6))
    second = body * 0.62 if rng.random() < 0.5 else body + (trim - body) * 0.6
    palette[Ink.PATTERN] = second
    pattern = int(np.searchsorted((0.4, 0.6, 0.8), rng.random()))
    palette = (palette * 255).astype(np.uint8)
    return Look(form, palette, grain, pattern, rng.uniform(1.6, 3.2), rng.uniform(-1.6, 1.6))


def paint_ground(
    ground: Ground,
    size: int,
    ground_rng: np.random.Generator,
    clutter: tuple[int, int],
    clutter_rng: np.random.Generator,
    light: Light,
) -> np.ndarray:
    """The background and the clutter that lies on it."""
    side = size * 2
    planes = ground(side, ground_rng)
    pixels = (np.clip(planes, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    page = Image.fromarray(np.ascontiguousarray(pixels))
    _scatter(page, clutter, clutter_rng, light)
    return np.asarray(page.reduce(2), dtype=np.float32) / 255


def paint_thing(painter: Painter, size: int, pose: Pose, look: Look, light: Light) -> Layer:
    """A thing on its own, lit from the light's side, at the picture's size."""
    scale = 4 if size <= 64 else 3 if size <= 100 else 2
    side = size * scale
    centre, half = (pose.centre[0] * side, pose.centre[1] * side), pose.half * side
    pen = Pen(side, centre, half, pose.angle, pose.mirrored)
    painter(pen, look.form)

    cover = np.zeros((size, size), dtype=np.float32)
    colour = np.zeros((size, size, 3), dtype=np.float32)
    crop = _aligned(pen.page.getbbox(), scale, size)
    if crop is None:
        return Layer(colour, cover)
    left, top, right, bottom = crop
    part = pen.page.crop((left * scale, top * scale, right * scale, bottom * scale))
    if look.pattern:
        inks = np.array(part)
        inks[(inks == Ink.BODY) & _pattern(look, pose, _units(crop, centre, half, scale))] = Ink.PATTERN
        part = Image.fromarray(inks)
    # Shading changes slowly, so it is worked out at the picture's own size: a quarter of the width is a
    # sixteenth of the work.
    solid = part.point(_SOLID).reduce(scale)
    part.putpalette(look.palette.tobytes())
    paint = np.asarray(part.convert("RGB").reduce(scale), dtype=np.float32) / 255
    x, y = _units(crop, (pose.centre[0] * size, pose.centre[1] * size), pose.half * size, 1)
    grain = Image.fromarray(look.grain).resize(solid.size, Image.Resampling.BILINEAR)
    shade = _shade(solid, x, y, pose.half * size, light) + 0.24 * (np.asarray(grain) - 0.5)
    window = np.s_[top:bottom, left:right]
    colour[window] = paint * shade[..., None]
    cover[window] = np.asarray(solid, dtype=np.float32) / 255
    return Layer(colour, cover)


def draw_occluder(
    rng: np.random.Generator, behind: Pose, share: tuple[float, float], size: int, light: Light
) -> tuple[Pose, Layer]:
    """Something in front of the object, over a random part of the square around it."""
    painter = OCCLUDERS[int(rng.integers(len(OCCLUDERS)))]
    # An occluder covers about 1.5 of the 4 square units around it, whence its size for the share wanted.
    half = max(0.01, behind.half * float(np.sqrt(rng.uniform(*share) * 4 / 1.5)))
    away, towards = rng.uniform(0.1, 0.75) * behind.half, rng.uniform(0, 2 * np.pi)
    centre = (behind.centre[0] + away * np.cos(towards), behind.centre[1] + away * np.sin(towards))
    pose = Pose(centre, half, rng.uniform(0, 2 * np.pi), False)
    return pose, paint_thing(painter, size, pose, draw_look(rng), light)


def lay(picture: np.ndarray, layer: Layer, pose: Pose, light: Light, opacity: float = 1.0) -> np.ndarray:
    """Lay a thing and its shadow over a picture. Of that, nothing is left where an opaque thing's cover is 1."""
    shadow = _shadow(layer.cover, pose, light) * np.float32(light.shadow * opacity)
    keep = (1 - shadow) * (1 - layer.cover * np.float32(opacity))
    laid: np.ndarray = picture * keep[..., None] + layer.colour * np.float32(opacity)
    return laid


def expose(picture: np.ndarray, light: Light, noise: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """The picture as a camera gets it, uint8 [H, W, 3]: exposed, unevenly lit, and with noise."""
    size = len(picture)
    along = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    towards = along * np.float32(light.x) + along[:, None] * np.float32(light.y)
    lit = picture * (1 + np.float32(light.falloff) * towards)[..., None] * light.exposure
    sigma = np.float32(rng.uniform(*noise))
    lit += sigma * rng.standard_normal(picture.shape, dtype=np.float32)
    exposed: np.ndarray = (np.clip(lit, 0, 1) * 255 + 0.5).astype(np.uint8)
    return exposed


def box_of(cover: np.ndarray) -> Box:
    """The tight box around everything covered at all, half-open; a pixel at the middle if nothing is."""
    columns, rows = np.flatnonzero(cover.any(axis=0)), np.flatnonzero(cover.any(axis=1))
    if not len(columns):
        middle = len(cover) // 2
        return middle, middle, middle + 1, middle + 1
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


_SOLID = [0] + [255] * 255
_CAST = (18, 16, 22)  # the shadow of small things


def _scatter(page: Image.Image, count: tuple[int, int], rng: np.random.Generator, light: Light) -> None:
    """Draw small things on the ground: chips, pebbles and twigs, with a shadow and a lit side."""
    pen, side = ImageDraw.Draw(page), page.width
    towards = np.array([light.x, light.y]) * 0.012 * side
    for _ in range(int(rng.integers(count[0], count[1] + 1))):
        corners = int(rng.integers(3, 9))
        angle = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(corners) / corners
        radius = rng.uniform(0.02, 0.08) * side * rng.uniform(0.7, 1.0, corners)
        thin, slant = rng.uniform(0.2, 1.0), rng.uniform(0, 2 * np.pi)
        x, y = radius * np.cos(angle), thin * radius * np.sin(angle)
        cos, sin = np.cos(slant), np.sin(slant)
        shape = np.stack([x * cos - y * sin, x * sin + y * cos], axis=1)
        place = rng.random(2) * side
        colour = hsv(rng.random(), rng.uniform(0.1, 0.9), rng.uniform(0.25, 0.95)) * 255
        dull, bright = (tuple((colour * shine).astype(int).tolist()) for shine in (0.65, 1.0))
        pen.polygon((shape + place - 1.5 * towards).ravel().tolist(), fill=_CAST)
        pen.polygon((shape + place).ravel().tolist(), fill=dull)
        pen.polygon((0.7 * shape + place + 0.5 * towards).ravel().tolist(), fill=bright)


def _aligned(box: Box | None, scale: int, size: int) -> Box | None:
    """A box of the large page in whole pixels of the picture, with room for the shading's blur; None for none."""
    if box is None:
        return None
    left, top, right, bottom = box
    return (
        max(0, left // scale - 2),
        max(0, top // scale - 2),
        min(size, -(-right // scale) + 2),
        min(size, -(-bottom // scale) + 2),
    )


def _units(crop: Box, centre: tuple[float, float], half: float, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """How far right [1, W] and down [H, 1] of a thing's centre the pixels of a crop are; 1 is half its size."""
    left, top, right, bottom = (edge * scale for edge in crop)
    x = (np.arange(left, right, dtype=np.float32) + np.float32(0.5 - centre[0])) / np.float32(half)
    y = (np.arange(top, bottom, dtype=np.float32) + np.float32(0.5 - centre[1])) / np.float32(half)
    return x[None, :], y[:, None]


def _pattern(look: Look, pose: Pose, units: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Which pixels get the body's second colour, bool [H, W]."""
    x, y = units
    if look.pattern == PATCHES:
        smooth = Image.fromarray(look.grain).resize((x.shape[1], y.shape[0]), Image.Resampling.BILINEAR)
        return np.asarray(smooth) > 0.56
    angle = pose.angle + look.slant
    cos, sin = np.float32(np.cos(angle) * look.repeat), np.float32(np.sin(angle) * look.repeat)
    along = fraction(x * cos + y * sin)
    if look.pattern == STRIPES:
        return along < 0.5
    across = fraction(y * cos - x * sin)
    return (along - 0.5) ** 2 + (across - 0.5) ** 2 < 0.085


def _shade(mask: Image.Image, x: np.ndarray, y: np.ndarray, half: float, light: Light) -> np.ndarray:
    """How bright each pixel of a thing is, [H, W]: brighter towards the light, and rounded at its edges."""
    reach = max(1.0, 0.09 * float(half))
    blurred = mask.filter(ImageFilter.GaussianBlur(reach))
    bulge = np.asarray(blurred, dtype=np.float32) * np.float32(reach / 255)
    shade = 1 + 0.22 * (x * np.float32(light.x) + y * np.float32(light.y))
    # The blurred mask is as a hill; what slopes towards the light is bright.
    shade[:, 1:-1] -= np.float32(0.8 * light.x) * (bulge[:, 2:] - bulge[:, :-2])
    shade[1:-1] -= np.float32(0.8 * light.y) * (bulge[2:] - bulge[:-2])
    return shade.clip(0.3, 1.7)


def _shadow(cover: np.ndarray, pose: Pose, light: Light) -> np.ndarray:
    """A soft shadow [H, W] in 0..1, cast away from the light."""
    size = len(cover)
    far = 2 * pose.half * light.distance * size
    page = Image.new("L", (size, size))
    thing = Image.fromarray((cover * 255).astype(np.uint8))
    page.paste(thing, (round(-light.x * far), round(-light.y * far)))
    soft = page.filter(ImageFilter.GaussianBlur(float(pose.half) * size * 0.1))
    return np.asarray(soft, dtype=np.float32) / 255
