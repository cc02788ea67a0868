"""What objects and backgrounds are painted with: inks, colours, curves, a pen, and noise."""

import colorsys
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from PIL import Image, ImageDraw


class Ink(IntEnum):
    """What a part of an object is made of. Which colour that is, each picture chooses for itself."""

    NOTHING = 0
    BODY = 1
    BODY_DARK = 2
    BODY_LIGHT = 3
    TRIM = 4
    TRIM_DARK = 5
    DARK = 6
    LIGHT = 7
    GLASS = 8
    STALK = 9
    PATTERN = 10  # the second colour of a striped, dotted or patched body; no part asks for it by name


_TURN = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


class Pen:
    """Draws an object's parts, in the object's own coordinates, on a page of ink numbers.

    An object's coordinates have their origin at its centre, x to the right and y down, and its longer side runs
    from -1 to 1. Later parts cover earlier ones, and `Ink.NOTHING` cuts a hole.
    """

    def __init__(self, side: int, centre: tuple[float, float], half: float, angle: float, mirrored: bool):
        """side: the page's width and height in pixels; centre and half: where the origin is and how long one
        unit is, in page pixels; angle: radians, clockwise; mirrored: whether left and right change places."""
        self.page = Image.new("L", (side, side))
        self._draw = ImageDraw.Draw(self.page)
        self._centre = centre
        self._unit = half
        turn = half * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        self._turn = turn * [[-1.0], [1.0]] if mirrored else turn

    def polygon(self, points: Sequence[tuple[float, float]] | np.ndarray, ink: Ink) -> None:
        """Fill the polygon through points [N, 2]."""
        self._draw.polygon(self._placed(points), fill=int(ink))

    def ellipse(self, x: float, y: float, rx: float, ry: float, ink: Ink, angle: float = 0.0) -> None:
        """Fill the ellipse around (x, y) with radii rx and ry, turned by `angle` radians clockwise."""
        points = _CIRCLE * (rx, ry)
        if angle:
            cos, sin = np.cos(angle), np.sin(angle)
            points = points @ np.array([[cos, sin], [-sin, cos]])
        self.polygon(points + (x, y), ink)

    def line(self, points: Sequence[tuple[float, float]] | np.ndarray, width: float, ink: Ink) -> None:
        """Draw a line through points [N, 2], `width` units wide (but never so thin that it breaks)."""
        pixels = max(2, round(width * self._unit))
        joint = "curve" if len(points) > 2 else None
        self._draw.line(self._placed(points), fill=int(ink), width=pixels, joint=joint)

    def _placed(self, points: Sequence[tuple[float, float]] | np.ndarray) -> list[float]:
        return (np.asarray(points, dtype=float) @ self._turn + self._centre).ravel().tolist()


_STEPS = np.arange(5)[:, None] / 5
_SPLINE = 0.5 * (
    np.array([[0, 2, 0, 0]]) + _STEPS * [[-1, 0, 1, 0]] + _STEPS**2 * [[2, -5, 4, -1]] + _STEPS**3 * [[-1, 3, -3, 1]]
)


def smooth(points: Sequence[tuple[float, float]] | np.ndarray) -> np.ndarray:
    """A closed smooth curve (Catmull-Rom) through the given points [N, 2]: [5 N, 2]."""
    corners = np.asarray(points, dtype=float)
    neighbours = np.stack([np.roll(corners, shift, axis=0) for shift in (1, 0, -1, -2)], axis=1)
    curve: np.ndarray = (_SPLINE @ neighbours).reshape(-1, 2)
    return curve


def arc(x: float, y: float, rx: float, ry: float, start: float, stop: float, count: int = 12) -> np.ndarray:
    """Points [count, 2] along an ellipse around (x, y), from `start` to `stop` in turns: 0 right, 0.25 down."""
    angle = 2 * np.pi * np.linspace(start, stop, count)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """A colour [3], float32 in 0..1. The hue is in turns and wraps; the others are clipped to 0..1."""
    saturation, value = min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0)
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value), dtype=np.float32)


def inks(hues: np.ndarray, saturations: np.ndarray, values: np.ndarray) -> list[tuple[int, int, int]]:
    """Many colours at once [N], as Pillow wants them: (red, green, blue) in 0..255. Ranges are as in `hsv`."""
    saturation, value = np.clip(saturations, 0, 1), np.clip(values, 0, 1)
    sector = (np.array([[5], [3], [1]]) + 6 * hues) % 6
    colours = value * (1 - saturation * np.clip(np.minimum(sector, 4 - sector), 0, 1))
    return list(map(tuple, (255 * colours).astype(int).T.tolist()))


def fraction(field: np.ndarray) -> np.ndarray:
    """What is left of each number above the whole number below it, in 0..1. Several times faster than `field % 1`."""
    left: np.ndarray = field - np.floor(field)
    return left


def ramp(field: np.ndarray, *colours: np.ndarray) -> np.ndarray:
    """Colour a field [H, W]: 0 becomes the first colour, 1 the last, evenly between; float32 [3, H, W]."""
    stops = np.linspace(0, 1, len(colours))
    table = np.stack([np.interp(_LEVELS, stops, channel) for channel in np.array(colours).T]).astype(np.float32)
    return table[:, (np.clip(field, 0, 1) * 255).astype(np.uint8)]


_LEVELS = np.linspace(0, 1, 256)


def step(low: float, high: float, field: np.ndarray) -> np.ndarray:
    """0 where the field is below `low`, 1 above `high`, and a smooth way up between them."""
    t = np.clip((field - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def noise(side: int, rng: np.random.Generator, cells: int | tuple[int, int], octaves: int = 1) -> np.ndarray:
    """A smooth random field, float32 [side, side], about 0..1 with mean 0.5.

    cells: how many independent values fit across the field (rows, columns); each further octave is twice as
    fine and half as strong.
    """
    rows, columns = cells if isinstance(cells, tuple) else (cells, cells)
    total = np.full((side, side), 0.5, dtype=np.float32)
    for octave in range(octaves):
        # One cell more than asked for on each side: at a grid's edge, resizing has nothing to interpolate with.
        grid = rng.random((2**octave * rows + 2, 2**octave * columns + 2), dtype=np.float32) - 0.5
        box = (1, 1, grid.shape[1] - 1, grid.shape[0] - 1)
        smoothed = Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC, box)
        total += np.asarray(smoothed) * np.float32(0.5**octave)
    return total
