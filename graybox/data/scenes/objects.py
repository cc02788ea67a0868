"""The ten objects, and a blob that is none of them.

Each is a function (pen, form): `form` is FORM numbers in 0..1 by which one mug differs from another. Objects
have no handedness: every picture mirrors its object or does not, at random.

What a part is made of varies too where one ink would give the object away: wheels are not always dark with pale
hubs, nor sails always white. So it takes the shape to tell the objects apart, not one colour next to another.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from graybox.data.scenes.paint import Ink, Pen, arc, smooth

FORM = 8


def mug(pen: Pen, form: np.ndarray) -> None:
    """A cup with a handle, seen a little from above."""
    top, bottom, foot = -0.72 + 0.12 * form[0], 0.86, 0.42 + 0.16 * form[1]
    middle, width, lip = -0.2, 0.64, 0.16 + 0.06 * form[2]
    reach = 0.42 + 0.1 * form[3]
    pen.ellipse(middle + width - 0.02, 0.06, reach, 0.5 + 0.08 * form[4], Ink.BODY_DARK)
    pen.ellipse(middle + width - 0.02, 0.06, reach - 0.19, 0.3 + 0.06 * form[4], Ink.NOTHING)
    base = arc(middle, bottom - 0.1, foot, 0.12, 0.0, 0.5)
    pen.polygon([(middle - width, top), *base[::-1], (middle + width, top)], Ink.BODY)
    pen.ellipse(middle, top, width, lip, Ink.BODY_LIGHT)
    drink = _one_of(form[7], Ink.DARK, Ink.BODY_DARK, Ink.TRIM_DARK)
    pen.ellipse(middle, top + 0.02, width - 0.1, lip - 0.06, drink)
    if form[5] > 0.5:
        y = 0.1 + 0.3 * form[6]
        left, right = middle - 0.56, middle + 0.56
        pen.polygon([(left, y), (right, y), (right - 0.03, y + 0.2), (left + 0.03, y + 0.2)], Ink.TRIM)


def bottle(pen: Pen, form: np.ndarray) -> None:
    """A slim bottle with a neck, a cap and a label."""
    body, neck = 0.3 + 0.09 * form[0], 0.11 + 0.04 * form[1]
    shoulder = -0.3 + 0.24 * form[2]
    side = [(neck, -0.86), (neck, shoulder - 0.28), (body * 0.72, shoulder - 0.08), (body, shoulder + 0.12)]
    side += [(body, 0.9), (body - 0.08, 1.0)]
    pen.polygon(side + [(-x, y) for x, y in reversed(side)], Ink.BODY)
    near, far = body * 0.55, body * 0.8
    pen.polygon([(near, shoulder), (far, shoulder + 0.1), (far, 0.95), (near, 0.95)], Ink.BODY_DARK)
    cap = neck + 0.03
    pen.polygon([(-cap, -1.0), (cap, -1.0), (cap, -0.8), (-cap, -0.8)], Ink.TRIM_DARK)
    top = shoulder + 0.24 + 0.1 * form[3]
    low = top + 0.34 + 0.2 * form[4]
    label = Ink.LIGHT if form[5] < 0.6 else Ink.TRIM
    pen.polygon([(-body, top), (body, top), (body, low), (-body, low)], label)
    pen.polygon([(-body, top + 0.12), (body, top + 0.12), (body, low - 0.14), (-body, low - 0.14)], Ink.TRIM)
    pen.line([(-body * 0.6, shoulder + 0.1), (-body * 0.6, top - 0.04)], 0.07, Ink.LIGHT)


def fish(pen: Pen, form: np.ndarray) -> None:
    """A fish from the side: round body, forked tail, fins, an eye."""
    deep = 0.36 + 0.16 * form[0]
    root, spread = 0.48, 0.42 + 0.12 * form[1]
    pen.polygon([(root - 0.08, 0), (0.98, -spread), (0.8 - 0.08 * form[2], 0), (0.98, spread)], Ink.TRIM)
    crest = -deep - 0.16 - 0.16 * form[3]
    pen.polygon([(-0.42, -deep * 0.7), (-0.12, crest), (0.32, crest + 0.1), (0.3, -deep * 0.4)], Ink.TRIM_DARK)
    pen.polygon([(-0.3, deep * 0.7), (0.02, deep + 0.24), (0.16, deep * 0.7)], Ink.TRIM_DARK)
    pen.polygon(
        smooth(
            [(-1, 0.04), (-0.72, -deep * 0.7), (-0.22, -deep), (0.3, -deep * 0.52), (0.6, -0.1)]
            + [(0.6, 0.1), (0.3, deep * 0.52), (-0.22, deep), (-0.72, deep * 0.72)]
        ),
        Ink.BODY,
    )
    belly = [(-0.85, 0.18), (-0.3, deep * 0.55), (0.3, deep * 0.3), (-0.25, deep * 0.95)]
    pen.polygon(smooth(belly), Ink.BODY_LIGHT)
    pen.line(arc(-0.62, 0, 0.2, deep * 0.7, -0.18, 0.18, 7), 0.06, Ink.BODY_DARK)
    pen.polygon([(-0.2, 0.0), (0.12, 0.1), (0.06, 0.26)], Ink.TRIM)
    pen.ellipse(-0.7, -0.1, 0.12, 0.12, Ink.LIGHT)
    pen.ellipse(-0.72, -0.1, 0.065, 0.065, Ink.DARK)


def bird(pen: Pen, form: np.ndarray) -> None:
    """A small bird standing: round breast, head with a beak, wing, tail and two thin legs."""
    plump = 0.36 + 0.1 * form[0]
    head_x, head_y, head = -0.52, -0.42 - 0.1 * form[1], 0.25 + 0.05 * form[2]
    for x in (-0.1, 0.14):
        pen.line([(x, 0.4), (x + 0.03, 0.92), (x - 0.14, 0.96)], 0.1, Ink.DARK)
    lift = -0.3 * form[3]
    pen.polygon([(0.3, -0.1), (0.98, -0.08 + lift), (1.0, 0.14 + lift), (0.35, 0.34)], Ink.BODY_DARK)
    beak, face = head_y + 0.02, head_x - head + 0.06
    pen.polygon([(face, beak - 0.12), (-1.0, beak + 0.05), (face, beak + 0.13)], Ink.TRIM)
    pen.polygon(
        smooth(
            [(head_x, head_y - 0.1), (-0.22, -0.3), (0.24, -0.24), (0.56, 0.02), (0.34, 0.4)]
            + [(-0.06, plump + 0.14), (-0.48, 0.32), (-0.66, -0.04)]
        ),
        Ink.BODY,
    )
    pen.ellipse(head_x, head_y, head, head, Ink.BODY)
    pen.ellipse(-0.36, 0.2, 0.24, 0.24, Ink.BODY_LIGHT)
    droop = 0.16 * form[4]
    wing = [(-0.24, -0.1), (0.12, -0.22), (0.52, 0.02 + droop), (0.68, 0.2 + droop), (0.2, 0.3), (-0.14, 0.16)]
    pen.polygon(smooth(wing), _one_of(form[5], Ink.BODY_DARK, Ink.TRIM_DARK))
    pen.ellipse(head_x - 0.05, head_y - 0.05, 0.085, 0.085, Ink.LIGHT)
    pen.ellipse(head_x - 0.06, head_y - 0.05, 0.055, 0.055, Ink.DARK)


def car(pen: Pen, form: np.ndarray) -> None:
    """A car from the side: two wheels, a cabin with windows, lamps."""
    roof = -0.56 - 0.1 * form[0]
    back, front = 0.46 + 0.36 * form[1], -0.3 - 0.1 * form[2]
    waist, sill, rear = -0.08, 0.36, 0.4 + 0.5 * form[1]
    pen.polygon([(-0.62, waist), (front, roof), (back - 0.1, roof), (rear, waist)], Ink.BODY_LIGHT)
    pen.polygon(
        [(-1, 0.16), (-0.95, -0.02), (-0.6, waist - 0.06), (0.86, waist - 0.04), (0.98, 0.06), (1, sill - 0.04)]
        + [(0.9, sill), (-0.94, sill)],
        Ink.BODY,
    )
    post, high, low = 0.06 + 0.08 * form[3], roof + 0.1, waist - 0.02
    pen.polygon([(-0.48, low), (front + 0.06, high), (post - 0.05, high), (post - 0.05, low)], Ink.GLASS)
    pen.polygon([(post + 0.05, low), (post + 0.05, high), (back - 0.17, high), (rear - 0.16, low)], Ink.GLASS)
    pen.polygon([(-0.96, 0.2), (0.98, 0.2), (0.98, sill), (-0.94, sill)], Ink.BODY_DARK)
    pen.ellipse(-0.9, 0.08, 0.09, 0.08, Ink.LIGHT)
    pen.polygon([(0.9, 0.0), (0.98, 0.06), (0.98, 0.16), (0.9, 0.16)], Ink.TRIM)
    wheel, hub = 0.23 + 0.04 * form[4], _one_of(form[5], Ink.LIGHT, Ink.TRIM, Ink.BODY_DARK)
    for x in (-0.54, 0.54):
        pen.ellipse(x, sill, wheel, wheel, Ink.DARK)
        pen.ellipse(x, sill, wheel * 0.48, wheel * 0.48, hub)


def boat(pen: Pen, form: np.ndarray) -> None:
    """A sailing boat: a hull, a mast and two sails."""
    deck = 0.46 + 0.08 * form[0]
    mast = -0.12 + 0.16 * form[1]
    pen.line([(mast, deck), (mast, -1.0)], 0.08, Ink.STALK)
    boom, clew = deck - 0.14, 0.78 + 0.1 * form[2]
    sail = _one_of(form[6], Ink.LIGHT, Ink.TRIM_DARK, Ink.BODY_LIGHT)
    pen.polygon([(mast + 0.07, -0.94), (mast + 0.07, boom), (clew, boom)], sail)
    pen.polygon([(mast + 0.07, boom - 0.34), (mast + 0.07, boom), (clew, boom)], Ink.TRIM)
    jib = [(mast - 0.08, -0.76 - 0.1 * form[3]), (mast - 0.08, boom), (-0.72, boom)]
    pen.polygon(jib, _one_of(form[4], Ink.LIGHT, Ink.TRIM_DARK))
    keel = 0.62 - 0.1 * form[5]
    pen.polygon([(-0.98, deck - 0.06), (0.94, deck), (keel, 0.94), (-0.62, 0.94)], Ink.BODY)
    pen.polygon([(-0.98, deck - 0.06), (0.94, deck), (0.88, deck + 0.14), (-0.9, deck + 0.1)], Ink.BODY_LIGHT)
    pen.polygon([(-0.74, 0.8), (keel + 0.1, 0.8), (keel, 0.94), (-0.62, 0.94)], Ink.BODY_DARK)


def mushroom(pen: Pen, form: np.ndarray) -> None:
    """A toadstool: a stout stem under a spotted dome."""
    brim = 0.06 + 0.2 * form[0]
    stem, foot = 0.2 + 0.08 * form[1], 0.3 + 0.1 * form[2]
    pen.polygon(smooth([(-stem, brim), (stem, brim), (foot, 0.82), (0, 0.98), (-foot, 0.82)]), Ink.LIGHT)
    pen.polygon([(-0.3, brim + 0.3), (0.3, brim + 0.3), (0.36, brim + 0.44), (-0.36, brim + 0.44)], Ink.TRIM)
    pen.polygon(smooth([(0.06, brim), (stem + 0.02, brim), (foot - 0.02, 0.82), (0.1, 0.94)]), Ink.TRIM_DARK)
    tall = brim + 0.86 - 0.2 * form[3]
    dome, rim = arc(0, brim, 0.96, tall, 0.5, 1.0, 15), arc(0, brim, 0.96, 0.16, 0.0, 0.5, 9)
    pen.polygon(np.concatenate([dome, rim]), Ink.BODY)
    pen.polygon(arc(0, brim, 0.9, 0.14, 0.0, 0.5, 9), Ink.BODY_DARK)
    spot = 0.1 + 0.05 * form[4]
    for x, y in ((-0.56, 0.3), (-0.16, 0.66), (0.12, 0.26), (0.42, 0.6), (0.66, 0.22)):
        pen.ellipse(x + 0.08 * form[5], brim - tall * y, spot, spot * 0.85, Ink.LIGHT)


def umbrella(pen: Pen, form: np.ndarray) -> None:
    """An open umbrella: a ribbed dome with a scalloped edge, a shaft and a crook."""
    hem, peak = -0.06 + 0.12 * form[0], -0.86 + 0.16 * form[1]
    crook = 0.13 + 0.05 * form[2]
    shaft = _one_of(form[5], Ink.DARK, Ink.LIGHT, Ink.STALK)
    pen.line([(0, peak - 0.12), (0, 0.76)], 0.09, shaft)
    pen.line(arc(crook, 0.76, crook, 0.18, 0.5, 0.0, 9), 0.1, shaft)
    panels = 4 + int(form[3] * 3)
    edges = np.linspace(-0.98, 0.98, panels + 1)
    # Ribs run from the peak to the hem along ellipses of different widths, as on a dome seen from the side.
    inks = (Ink.BODY, Ink.TRIM if form[4] > 0.4 else Ink.BODY_DARK)
    for panel, (left, right) in enumerate(pairwise(edges)):
        up = arc(0, hem, left, peak - hem, 0.0, 0.25, 7)
        down = arc(0, hem, right, peak - hem, 0.25, 0.0, 7)
        scallop = arc((left + right) / 2, hem, (right - left) / 2, -0.14, 0.0, 0.5, 6)
        pen.polygon(np.concatenate([up, down, scallop]), inks[panel % 2])


def flower(pen: Pen, form: np.ndarray) -> None:
    """A blossom of five to eight petals on a stalk with a leaf."""
    heart_y, petals = -0.26, 5 + int(form[0] * 4)
    long, wide = 0.31, 0.95 / petals + 0.05 + 0.04 * form[1]
    pen.line([(0, heart_y), (0.06, 0.4), (0.0, 1.0)], 0.12, Ink.STALK)
    pen.polygon(smooth([(0.04, 0.72), (0.3, 0.36), (0.6, 0.34), (0.42, 0.66)]), Ink.STALK)
    for petal in range(petals):
        angle = 2 * np.pi * (petal / petals + form[2])
        ink = Ink.BODY if petal % 2 or petals % 2 else Ink.BODY_LIGHT
        pen.ellipse(0.43 * np.cos(angle), heart_y + 0.43 * np.sin(angle), long, wide, ink, angle)
    heart = 0.2 + 0.06 * form[3]
    pen.ellipse(0, heart_y, heart, heart, Ink.TRIM)
    pen.ellipse(0, heart_y, heart * 0.5, heart * 0.5, Ink.TRIM_DARK)


def house(pen: Pen, form: np.ndarray) -> None:
    """A house: a wall under a pitched roof, with a chimney, a door and two windows."""
    eaves, ridge = -0.16 + 0.14 * form[0], -0.88 - 0.1 * form[1]
    wall = 0.68 + 0.1 * form[2]
    pen.polygon([(0.36, ridge + 0.1), (0.58, ridge + 0.1), (0.58, eaves), (0.36, eaves)], Ink.DARK)
    pen.polygon([(-wall, eaves - 0.1), (wall, eaves - 0.1), (wall, 0.96), (-wall, 0.96)], Ink.BODY)
    pen.polygon([(-wall, 0.82), (wall, 0.82), (wall, 0.96), (-wall, 0.96)], Ink.BODY_DARK)
    ridge_half = 0.44 * form[3] if form[3] > 0.4 else 0.02
    pen.polygon([(-0.96, eaves), (-ridge_half, ridge), (ridge_half, ridge), (0.96, eaves)], Ink.TRIM)
    pen.polygon([(-0.96, eaves), (0.96, eaves), (0.9, eaves - 0.12), (-0.9, eaves - 0.12)], Ink.TRIM_DARK)
    door = -0.06 + 0.1 * form[4]
    wood = _one_of(form[5], Ink.DARK, Ink.TRIM_DARK, Ink.LIGHT)
    pen.polygon([(door, 0.3), (door + 0.32, 0.3), (door + 0.32, 0.96), (door, 0.96)], wood)
    frame = _one_of(form[6], Ink.LIGHT, Ink.TRIM_DARK)
    for x in (-0.36, 0.48):
        pen.polygon([(x - 0.16, 0.18), (x + 0.14, 0.18), (x + 0.14, 0.52), (x - 0.16, 0.52)], frame)
        pen.polygon([(x - 0.1, 0.24), (x + 0.08, 0.24), (x + 0.08, 0.46), (x - 0.1, 0.46)], Ink.GLASS)


def blob(pen: Pen, form: np.ndarray) -> None:
    """A rounded lump without identity: as much of a thing as the objects are, and none of them."""
    angle = 2 * np.pi * np.arange(FORM) / FORM
    rim = (0.6 + 0.36 * form)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    pen.polygon(smooth(rim), Ink.BODY)
    pen.polygon(smooth(0.5 * rim + 0.14), Ink.BODY_DARK)


def leaf(pen: Pen, form: np.ndarray) -> None:
    """Something in front of the object: a pointed leaf with its midrib."""
    wide = 0.4 + 0.2 * form[0]
    pen.polygon(smooth([(-1, 0), (-0.4, -wide), (0.4, -wide * 0.8), (1, 0), (0.4, wide * 0.8), (-0.4, wide)]), Ink.BODY)
    pen.polygon(smooth([(-1, 0), (1, 0), (0.4, wide * 0.8), (-0.4, wide)]), Ink.BODY_DARK)
    pen.line([(-1, 0), (1, 0)], 0.06, Ink.BODY_LIGHT)


def slat(pen: Pen, form: np.ndarray) -> None:
    """Something in front of the object: a long board."""
    wide = 0.3 + 0.15 * form[0]
    pen.polygon([(-1, -wide), (1, -wide), (1, wide), (-1, wide)], Ink.BODY)
    pen.polygon([(-1, wide * 0.5), (1, wide * 0.5), (1, wide), (-1, wide)], Ink.BODY_DARK)
    pen.line([(-0.9, -wide * 0.3), (0.8, -wide * 0.4)], 0.06, Ink.BODY_LIGHT)


def _one_of(chance: float, *inks: Ink) -> Ink:
    """One of the inks, by a number in 0..1."""
    return inks[int(chance * len(inks))]


Painter = Callable[[Pen, np.ndarray], None]

PAINTERS: tuple[Painter, ...] = (mug, bottle, fish, bird, car, boat, mushroom, umbrella, flower, house)
OCCLUDERS: tuple[Painter, ...] = (leaf, slat, blob)

OBJECTS: tuple[str, ...] = tuple(painter.__name__ for painter in PAINTERS)
