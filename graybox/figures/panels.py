"""Figures of the occlusion experiment: a panel for each image, and the effect of N."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from PIL import Image

from graybox import arguments
from graybox.figures.style import colours, draw_box, short
from graybox.figures.text import plain

if TYPE_CHECKING:  # a figure needs no network, only results
    from matplotlib.typing import ColorType

    from graybox.occlusion.confidence import OcclusionMap
    from graybox.reliance.experiment import Experiment

MOST_CLASSES_NAMED = 7
MOST_COLUMNS = 10


@plain
def occlusion_panel(experiment: Experiment) -> Figure:
    """All results of the experiment on one image, with the commentary underneath.

    First row: the image with its box; the probability of the true class (of the model's answer, where the true class is
    not known) by window centre; the drop of that probability, laid over the image; and the most probable class. Second
    row, if the network has maps: the strongest feature map's total activation by window centre; that map in the
    unoccluded image; its projection to the pixels, if it could be made; and patches that excite it most, if there were
    images to search.
    """
    found, image, box = experiment.main, experiment.image, experiment.box
    has_maps = experiment.features is not None
    figure = Figure(figsize=(15, 8.3 if has_maps else 4.6), layout="constrained")
    grid = figure.subplots(2 if has_maps else 1, 4, squeeze=False)
    original, confidence, drop, classes = grid[0]
    followed = short(experiment.class_names[found.label])

    original.imshow(image)
    original.set_title("image" if np.isnan(box).any() else "image and object box")

    drawn = confidence.imshow(found.confidence, vmin=0, vmax=1, cmap="viridis", extent=map_extent(found))
    figure.colorbar(drawn, ax=confidence, shrink=0.75)
    confidence.set_title(f"probability of {followed}\nwith the window centred here")

    _drop_over_image(figure, drop, found, image)
    _class_map(classes, found, experiment.class_names)
    classes.set_title("most probable class\nwith the window centred here")

    size = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
    below = _draw_maps(figure, grid[1], experiment, size) if has_maps else []
    for axes in (*grid[0], *below):
        axes.set(xticks=[], yticks=[], xlim=size[:2], ylim=size[2:])
        draw_box(axes, box)
    answer = int(found.unoccluded.argmax())
    if experiment.labelled:
        verb = "recognised" if answer == found.label else f"taken for {short(experiment.class_names[answer], 36)}"
        said = f"{short(experiment.class_names[found.label], 36)}, {verb}"
    else:
        said = f"the model's answer is {short(experiment.class_names[found.label], 36)} (true class not known)"
    unseen = f", {found.never_hidden:.0%} of the pixels never hidden" if found.never_hidden else ""
    figure.suptitle(
        f"{short(experiment.name, 60)}: {said}, probability {found.unoccluded[found.label]:.1%}; "
        f"{found.window} x {found.window} window{unseen}",
        fontsize=13,
    )
    figure.supxlabel(textwrap.fill(experiment.commentary, 170), fontsize=11.5, x=0.01, ha="left")
    return figure


def _draw_maps(
    figure: Figure, row: Sequence[Axes], experiment: Experiment, size: tuple[float, float, float, float]
) -> list[Axes]:
    """The panel's second row, about the strongest feature map; gives the axes that show the image's own pixels."""
    found, image = experiment.main, experiment.image
    activation, features, projection, patches = row
    assert found.activation is not None and found.unoccluded_activation is not None and experiment.features is not None
    drawn = activation.imshow(
        found.activation, cmap="magma", extent=map_extent(found), vmin=min(0, found.activation.min())
    )
    figure.colorbar(drawn, ax=activation, shrink=0.75)
    whole = found.unoccluded_activation
    shown = f"{whole:,.0f}" if abs(whole) >= 100 else f"{whole:.3g}"
    activation.set_title(f"sum of the strongest map ({experiment.feature_map})\nby window; {shown} unoccluded")
    features.imshow(image.mean(axis=2), cmap="gray", vmin=0, vmax=255)
    features.imshow(experiment.features, cmap="magma", vmin=0, alpha=0.6, extent=size, interpolation="bilinear")
    features.set_title("that map, unoccluded,\nover the image")
    own = [activation, features]
    if experiment.projection is None:
        projection.set_axis_off()
        why = "not projected to the pixels:\nan activation is no ReLU,\nor captum is not installed"
        projection.text(0.5, 0.5, why, ha="center", va="center", transform=projection.transAxes)
    else:
        projection.imshow(contrast(experiment.projection))
        projection.set_title("what it answers to here\n(guided backpropagation)")
        own.append(projection)
    patches.set_axis_off()
    if experiment.patches:
        patches.imshow(mosaic(experiment.patches, image.shape[0]))
        patches.set_title("what excites it most in other images")
    return own


@plain
def map_figure(
    found: OcclusionMap, image: np.ndarray | Image.Image | None = None, class_names: Sequence[str] | None = None
) -> Figure:
    """One confidence map beside its image: the image, the true class's probability, and how the window changes it.

    Args:
        found: the map of this image.
        image: uint8 [H, W, 3], or a PIL image; None = `found.image`, what the network saw.
        class_names: one for each label; None = the labels' numbers.

    Raises:
        TypeError: `found` is no map, the image is not uint8, or class_names is no list of names.
        ValueError: the image has another size than the map's, there is none, or there are fewer names than classes.
    """
    # Imported here, as the stage `figures` needs neither.
    from graybox.occlusion.confidence import OcclusionMap
    from graybox.occlusion.pixels import rgb_array

    arguments.instance("found", found, OcclusionMap)
    if image is None and found.image is None:
        raise ValueError("image is None, and this map was made by hand without one; it should be uint8 [H, W, 3]")
    pixels, label = rgb_array(found.image if image is None else image), found.label  # type: ignore[arg-type]
    if found.image is not None and found.image.shape != pixels.shape:
        height, width = found.image.shape[:2]
        raise ValueError(
            f"image has {pixels.shape[0]} x {pixels.shape[1]} pixels, and the network saw {height} x {width}; it "
            f"should be left out, which draws what the network saw"
        )
    if found.rows[-1] >= pixels.shape[0] or found.columns[-1] >= pixels.shape[1]:
        raise ValueError(
            f"image has {pixels.shape[0]} x {pixels.shape[1]} pixels; it should be the map's image, in which windows "
            f"are centred up to row {found.rows[-1]} and column {found.columns[-1]}"
        )
    if class_names is not None:
        class_names = arguments.names("class_names", class_names, len(found.unoccluded))
    figure = Figure(figsize=(11, 3.7), layout="constrained")
    original, confidence, drop = figure.subplots(1, 3)
    original.imshow(pixels)
    original.set_title(f"probability {found.unoccluded[label]:.1%} as it is")
    drawn = confidence.imshow(found.confidence, vmin=0, vmax=1, cmap="viridis", extent=map_extent(found))
    figure.colorbar(drawn, ax=confidence, shrink=0.75)
    name = short(class_names[label]) if class_names else f"class {label}"
    confidence.set_title(f"probability of {name}\nwith the window centred here")
    _drop_over_image(figure, drop, found, pixels)
    height, width = pixels.shape[:2]
    for axes in (original, confidence, drop):
        axes.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    return figure


@plain
def windows_chart(experiments: Sequence[Experiment]) -> Figure:
    """The effect of N: a column per image (the first MOST_COLUMNS) with its probability map for each window size."""
    total, experiments = len(experiments), experiments[:MOST_COLUMNS]
    sizes = list(experiments[0].maps)
    figure = Figure(figsize=(1.6 * len(experiments) + 1.2, 1.85 * (len(sizes) + 1) + 0.6), layout="constrained")
    grid = figure.subplots(len(sizes) + 1, len(experiments), squeeze=False)
    for column, experiment in zip(grid.T, experiments):
        height, width = experiment.image.shape[:2]
        column[0].imshow(experiment.image)
        column[0].set_title(
            f"{short(experiment.class_names[experiment.main.label], 14)}\n"
            f"{experiment.main.unoccluded[experiment.main.label]:.0%}",
            fontsize=10,
        )
        for axes, (window, found) in zip(column[1:], experiment.maps.items()):
            drawn = axes.imshow(found.confidence, vmin=0, vmax=1, cmap="viridis", extent=map_extent(found))
            unseen = f"\n{found.never_hidden:.0%} never hidden" if found.never_hidden else ""
            axes.set_xlabel(f"at least {found.confidence.min():.0%}{unseen}", fontsize=8, labelpad=2)
            axes.add_patch(
                Rectangle((-0.5, -0.5), window, window, fill=False, color="white", linestyle=":", linewidth=0.8)
            )
        for axes in column:
            axes.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
            draw_box(axes, experiment.box)
    for axes, window in zip(grid[1:, 0], sizes):
        axes.set_ylabel(f"N = {window}", fontweight="bold" if window == experiments[0].window else None)
    some = "" if len(experiments) == total else f"; {len(experiments)} of {total} images"
    figure.suptitle(f"The true class's probability for several window sizes (dotted: the window){some}", fontsize=12)
    figure.colorbar(drawn, ax=grid, shrink=0.4, aspect=30)
    return figure


def map_extent(found: OcclusionMap) -> tuple[float, float, float, float]:
    """The map's extent on the image: each value at its window centre."""
    half = (found.rows[1] - found.rows[0]) / 2 if len(found.rows) > 1 else 0.5
    return found.columns[0] - half, found.columns[-1] + half, found.rows[-1] + half, found.rows[0] - half


def contrast(projection: np.ndarray) -> np.ndarray:
    """A signed picture [H, W, 3] made visible: 0 is middle gray, the largest values white and black; float 0..1."""
    # Scaled by the few largest values, the rest would look gray.
    scale = np.percentile(np.abs(projection), 99.5) or 1
    return np.clip(projection / (2 * scale) + 0.5, 0, 1)


def mosaic(patches: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Patches, uint8 [h, w, 3] each and at most nine, three in a row on white: uint8 [3 s, 3 s, 3].

    A patch that the border has cut is smaller than the others, and lies in the middle of its place.
    """
    side = max([max(patch.shape[:2]) for patch in patches], default=size) + 2
    picture = np.full((3 * side, 3 * side, 3), 255, np.uint8)
    for number, patch in enumerate(patches):
        height, width = patch.shape[:2]
        y = number // 3 * side + (side - height) // 2
        x = number % 3 * side + (side - width) // 2
        picture[y : y + height, x : x + width] = patch
    return picture


def _drop_over_image(figure: Figure, axes: Axes, found: OcclusionMap, image: np.ndarray) -> None:
    axes.imshow(image.mean(axis=2), cmap="gray", vmin=0, vmax=255)
    drawn = axes.imshow(-found.drop, vmin=-1, vmax=1, cmap="RdBu", extent=map_extent(found), alpha=0.7)
    figure.colorbar(drawn, ax=axes, shrink=0.75)
    row, column = found.lowest
    corner = (column - found.window / 2, row - found.window / 2)
    axes.add_patch(Rectangle(corner, found.window, found.window, fill=False, color="black", linestyle="--"))
    axes.set_title(f"what the window changes; dashed:\nwhere it leaves the least ({found.confidence.min():.1%})")


def _class_map(axes: Axes, found: OcclusionMap, class_names: Sequence[str]) -> None:
    """Colour each place by the most probable class there; the rarest classes share one colour."""
    labels, counts = np.unique(found.predicted, return_counts=True)
    by_area = labels[np.argsort(-counts, kind="stable")]
    named = [found.label, *(label for label in by_area if label != found.label)][:MOST_CLASSES_NAMED]
    palette: list[ColorType] = ["#dddddd", *colours(len(named) - 1, "Dark2")]
    places = np.full(found.predicted.shape, len(named))
    for place, label in enumerate(named):
        places[found.predicted == label] = place
    entries = list(zip((class_names[label] for label in named), palette))
    if (places == len(named)).any():
        entries.append(("others", "black"))
    norm = BoundaryNorm(np.arange(len(palette) + 2) - 0.5, len(palette) + 1)
    axes.imshow(
        places, cmap=ListedColormap([*palette, "black"]), norm=norm, extent=map_extent(found), interpolation="nearest"
    )
    axes.legend(
        handles=[Patch(color=colour, label=short(name)) for name, colour in entries],
        loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False,
    )  # fmt: skip
