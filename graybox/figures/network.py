"""A drawing of a parametric network: its maps from the image to the class scores."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from graybox.figures import style
from graybox.figures.text import plain
from graybox.network.sizes import LayerSize

IMAGE, CONV, POOL, UNITS = "#bdbdbd", style.BLUE, style.SKY, style.ORANGE
MOST_UPRIGHT = 11  # layers; the names of more stand on end
MOST_LAYERS = 26
"""More can't be named side by side."""


@plain
def network_drawing(layers: Sequence[LayerSize], image_size: int, kernel: int) -> Figure:
    """Each layer's output as a block: its height stands for the pixels, its width for the number of maps.

    Args:
        layers: from `graybox.network.sizes.layer_sizes`. `kernel`: height and width of the filters, in pixels.
    """
    shown = list(layers)[:MOST_LAYERS]
    figure = style.figure(2.6)
    axes = figure.subplots()
    upright = len(shown) <= MOST_UPRIGHT
    named = f"image\n{image_size} x {image_size}\nx 3"
    across = _block(axes, 0.0, image_size, 3, image_size, IMAGE, named, upright)
    number = 0
    for layer in shown:
        colour = UNITS if layer.size == 1 and layer.name.startswith("fc") else POOL if "pool" in layer.name else CONV
        if layer.name.startswith("fc"):
            number += 1
            below = f"fc {number}\n{layer.channels}"
        else:
            kind = f"conv\n{kernel} x {kernel}" if colour == CONV else "pool" if "max" in layer.name else "average"
            below = f"{kind}\n{layer.size} x {layer.size}\nx {layer.channels}"
        across = _block(axes, across, layer.size, layer.channels, image_size, colour, below, upright)
    if len(layers) > len(shown):
        axes.text(across, 0, f"… {len(layers) - len(shown)} more", va="center", fontsize=style.SMALLEST)
        across += 2
    axes.set(xlim=(-0.3, across + 0.3), ylim=(-1.25 if upright else -1.6, 0.65))
    axes.set_axis_off()
    return figure


def _block(
    axes: Axes, across: float, side: int, maps: int, whole: int, colour: str, below: str, upright: bool
) -> float:
    """Draw a block; the place of the next."""
    height: float = 0.12 + 0.88 * (side / whole) ** 0.5 if side > 1 else 0.5 if "fc" in below else 0.12
    thick: float = 0.08 + 0.055 * maps**0.45
    slant = 0.12 * height if side > 1 else 0.0
    axes.add_patch(Rectangle((across, -height / 2), thick, height, facecolor=colour, edgecolor="white", linewidth=0.8))
    if slant:
        top, right = height / 2, across + thick
        roof = [(across, top), (across + slant, top + slant / 2), (right + slant, top + slant / 2), (right, top)]
        wall = [(right, -top), (right + slant, -top + slant / 2), (right + slant, top + slant / 2), (right, top)]
        for corners, alpha in ((roof, 0.55), (wall, 0.75)):
            axes.add_patch(Polygon(corners, facecolor=colour, edgecolor="white", linewidth=0.8, alpha=alpha))
    said, turned = (below, 0) if upright else (below.replace("\n", "  "), 90)
    axes.text(across + thick / 2, -0.68, said, ha="center", va="top", fontsize=style.SMALLEST, linespacing=1.15,
              rotation=turned)  # fmt: skip
    return across + max(thick + slant + 0.22, 0.95)
