"""Figures of the occlusion experiment: a panel for each image, its three main pictures in a row, the effect of N."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from PIL import Image

from graybox import arguments
from graybox.figures import style
from graybox.figures.style import draw_box
from graybox.figures.text import plain
from graybox.occlusion.window_words import SHOWN
from graybox.statistics.intervals import percent
from graybox.study.names import short

if TYPE_CHECKING:  # a figure needs no network, only results
    from graybox.occlusion.confidence import OcclusionMap
    from graybox.reliance.experiment import Experiment

MOST_CLASSES_NAMED = 6
MOST_COLUMNS = 10
SMALL_RANGE = 0.3
"""A map with a smaller range than this has one colour on a scale from 0 to 1, so it gets a scale of its own."""
FOLLOWED, OTHERS = "#dddddd", "#000000"
MARGIN, SIDE = 0.08, 1.5  # inches
LEGEND: dict[str, Any] = {"fontsize": style.SMALLEST, "handlelength": 0.9, "handletextpad": 0.5, "labelspacing": 0.2}
COLOURS = "viridis"  # as light to a colour-blind reader as to any other


@plain
def occlusion_panel(experiment: Experiment) -> Figure:
    """All results of the experiment on one image, with the commentary underneath.

    First row: the image with its box; the probability of the true class (of the model's answer, where the true class is
    not known) by window centre, on a scale from 0 to 1, and on one of its own or, if there is a second map, with the
    second fill in the window; and the most probable class. Second row,
    if the network has maps: what the window changes, over the image; the strongest feature map's total activation by
    window centre; its projection to the pixels, if it could be made; and patches that excite it most, if there were
    images to search.
    """
    found, image = experiment.main, experiment.image
    entries = _class_colours(found, experiment.class_names)
    has_maps = experiment.features is not None
    heading = style.lines(_heading(experiment), style.WIDTH, 10, bold=True)
    said = style.lines(experiment.commentary, style.WIDTH, 9)
    first = 0.75 + 0.17 * heading.count("\n")
    second = first + SIDE + max(0.45, 0.16 * len(entries) + 0.12) + 0.45  # of the pictures' tops
    below = second + SIDE + 0.42 if has_maps else second - 0.45
    figure = Figure(figsize=(style.WIDTH, below + 0.17 * (said.count("\n") + 1) + 0.1))
    original, confidence, own, classes = _row(figure, first, SIDE, 4)
    figure.text(
        MARGIN / style.WIDTH, 1 - 0.07 / figure.get_figheight(), heading, fontsize=10, fontweight="bold", va="top"
    )
    figure.text(MARGIN / style.WIDTH, 1 - below / figure.get_figheight(), said, va="top")
    original.imshow(image)
    original.set_title("image" if np.isnan(experiment.box).any() else "image and object box")
    drawn = _confidence(confidence, found, image, whole=True)
    style.bar(_under(figure, confidence), drawn, [0, 0.5, 1], percent)
    confidence.set_title(f"probability of\n{short(experiment.class_names[found.label], 24)}")
    beside = experiment.second
    small = beside is None or np.ptp(beside.confidence) < SMALL_RANGE
    drawn = _confidence(own, beside or found, image, whole=not small)
    style.bar(_under(figure, own), drawn, drawn.get_clim(), percent)
    title = f"{_in_window(experiment)} in the\nwindow" if beside else "the same, on its\nown scale"
    own.set_title(title + ", own scale" * bool(beside is not None and small))
    _lowest(own, beside or found)
    _class_map(classes, found, image)
    classes.legend(handles=entries, loc="upper left", bbox_to_anchor=(-0.04, 0), **LEGEND)
    classes.set_title("most probable class")
    over = _draw_maps(figure, _row(figure, second, SIDE, 4), experiment) if has_maps else []
    for axes in (original, confidence, own, classes, *over):
        _frame(axes, image)
        draw_box(axes, experiment.box)
    return figure


@plain
def map_row(experiment: Experiment) -> Figure:
    """The three main pictures of one image: the image with its box, the confidence map, the most probable class.

    A map of small range has its own scale; its title says so.
    """
    found, image, side = experiment.main, experiment.image, 1.72
    figure = Figure(figsize=(style.WIDTH, side + 0.5))
    original, confidence, classes = (style.place(figure, left, 0.42, side, side) for left in (MARGIN, 1.96, 4.33))
    original.imshow(image)
    original.set_title(_heading(experiment, lines=True))
    small = np.ptp(found.confidence) < SMALL_RANGE
    drawn = _confidence(confidence, found, image, whole=not small)
    low, high = drawn.get_clim()
    style.bar(
        style.place(figure, 2.01 + side, 0.42, 0.09, side), drawn, [low, (low + high) / 2, high], percent, upright=True
    )
    _lowest(confidence, found)
    scale = ", own scale" if small else ""
    confidence.set_title(f"probability of {short(experiment.class_names[found.label], 19)}\n"
                         f"lowest {percent(float(found.confidence.min()))} (dashed){scale}")  # fmt: skip
    _class_map(classes, found, image)
    handles = _class_colours(found, experiment.class_names, 11)
    classes.legend(handles=handles, loc="center left", bbox_to_anchor=(0.99, 0.5), **LEGEND)
    classes.set_title("most probable class with the\nwindow centred here")
    for axes in (original, confidence, classes):
        _frame(axes, image)
        draw_box(axes, experiment.box)
    return figure


def _in_window(experiment: Experiment) -> str:
    """What the second map's window shows; the image is beside it."""
    return SHOWN[str(experiment.second_fill)].removeprefix("the image's ")


def _row(figure: Figure, top: float, side: float, count: int) -> list[Axes]:
    """Places for so many pictures, from the left margin to the right one."""
    step = (style.WIDTH - 2 * MARGIN - side) / (count - 1)
    return [style.place(figure, MARGIN + number * step, top, side, side) for number in range(count)]


def _under(figure: Figure, axes: Axes) -> Axes:
    """A place for a colour bar under a picture."""
    box, up = axes.get_position(original=True), figure.get_figheight()
    return figure.add_axes((box.x0, box.y0 - 0.14 / up, box.width, 0.08 / up))


def _heading(experiment: Experiment, lines: bool = False) -> str:
    """What the network answers, as a title; or in two lines over a picture."""
    found, names = experiment.main, experiment.class_names
    name, chance = short(names[found.label], 30), percent(float(found.unoccluded[found.label]))
    answer = int(found.unoccluded.argmax())
    window = f"{found.window} x {found.window} window"
    if found.never_hidden:
        window += f", {found.never_hidden:.0%} of the pixels never hidden"
    if not experiment.labelled:
        said = f"the model's answer is {name} (true class not known)"
        return (
            f"answer: {name},\n{chance}"
            if lines
            else f"{short(experiment.name, 40)}: {said}, probability {chance}; {window}"
        )
    if lines:
        said = "recognised" if answer == found.label else f"taken for {short(names[answer], 22)}"
        return f"{name}, {chance}\n{said}"
    said = f"{name}, " + ("recognised" if answer == found.label else f"taken for {short(names[answer], 30)}")
    return f"{short(experiment.name, 40)}: {said}, probability {chance}; {window}"


def _frame(axes: Axes, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    axes.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.title.set_linespacing(1.15)
    axes.spines[:].set_visible(False)


def _confidence(axes: Axes, found: OcclusionMap, image: np.ndarray, *, whole: bool) -> AxesImage:
    """The confidence map, on a scale from 0 to 1 (`whole`) or from its lowest to its highest value."""
    low, high = (0.0, 1.0) if whole else _span(found.confidence)
    return axes.imshow(on_pixels(found.confidence, found, image), vmin=low, vmax=high, cmap=COLOURS)


def _span(values: np.ndarray) -> tuple[float, float]:
    """The values' range; not empty, as a scale has to have two ends."""
    low, high = float(values.min()), float(values.max())
    return (low, high) if high - low > 1e-6 else (max(0.0, low - 0.005), low + 0.005)


def _lowest(axes: Axes, found: OcclusionMap) -> None:
    """The window where the probability is lowest."""
    row, column = found.lowest
    half = found.window / 2
    style.outline(axes, (column - half, row - half), found.window, found.window, color="black", linestyle="--",
                  linewidth=1.0)  # fmt: skip


def _draw_maps(figure: Figure, row: Sequence[Axes], experiment: Experiment) -> list[Axes]:
    """The panel's second row, about the strongest feature map; gives the axes that show the image's own pixels."""
    found, image = experiment.main, experiment.image
    drop, activation, projection, patches = row
    assert found.activation is not None and found.unoccluded_activation is not None
    _drop_over_image(figure, drop, found, image)
    low, high = min(0.0, float(found.activation.min())), float(found.activation.max())
    drawn = activation.imshow(on_pixels(found.activation, found, image), cmap="magma", vmin=low, vmax=high)
    whole = found.unoccluded_activation
    style.bar(_under(figure, activation), drawn, [low, high], lambda value: f"{value:.3g}")
    shown = f"{whole:,.0f}" if abs(whole) >= 100 else f"{whole:.3g}"
    activation.set_title(f"sum of feature map\n{experiment.feature_map}; {shown} unoccluded")
    own = [drop, activation]
    if experiment.projection is None:
        projection.set_axis_off()
        why = "not projected to\nthe pixels: an\nactivation is no\nReLU, or captum\nis not installed"
        projection.text(0.5, 0.5, why, ha="center", va="center", transform=projection.transAxes)
    else:
        projection.imshow(contrast(experiment.projection))
        projection.set_title("what it answers to\n(guided backprop.)")
        own.append(projection)
    patches.set_axis_off()
    if experiment.patches:
        patches.imshow(mosaic(experiment.patches, image.shape[0]))
        patches.set_title("what excites it most\nin other images")
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
    side = 2.1
    figure = Figure(figsize=(style.WIDTH, side + 0.85))
    original, confidence, drop = _row(figure, 0.45, side, 3)
    original.imshow(pixels)
    name = short(class_names[label], 22) if class_names else f"class {label}"
    original.set_title(f"image: probability of\n{name} is {found.unoccluded[label]:.1%}")
    small = np.ptp(found.confidence) < SMALL_RANGE
    drawn = _confidence(confidence, found, pixels, whole=not small)
    style.bar(_under(figure, confidence), drawn, drawn.get_clim(), percent)
    confidence.set_title(f"probability of {name}\n" + ("on its own scale" if small else "with the window centred here"))
    _drop_over_image(figure, drop, found, pixels)
    for axes in (original, confidence, drop):
        _frame(axes, pixels)
    return figure


@plain
def windows_chart(experiments: Sequence[Experiment]) -> Figure:
    """The effect of N: a column per image (the first MOST_COLUMNS) with its confidence map for each window size.

    Images whose maps all have a small range have a scale of their own.
    """
    total, experiments = len(experiments), experiments[:MOST_COLUMNS]
    sizes = list(experiments[0].maps)
    side = min(1.3, (style.WIDTH - 0.5) / len(experiments) - 0.06)
    unseen = any(one.never_hidden for experiment in experiments for one in experiment.maps.values())
    step, top = side + (0.5 if unseen else 0.24), 0.8
    spans = [np.ptp(np.concatenate([one.confidence.ravel() for one in each.maps.values()])) for each in experiments]
    room = 0.5 if min(spans) < SMALL_RANGE else 0.0
    figure = Figure(figsize=(style.WIDTH, top + step * (len(sizes) + 1) + 0.65 + room))
    letters = max(7, int(side * 14))
    whole = Normalize(0, 1)
    for number, experiment in enumerate(experiments):
        left = 0.42 + number * (side + 0.06)
        column = [style.place(figure, left, top + place * step, side, side) for place in range(len(sizes) + 1)]
        found = experiment.main
        low, high = _span(np.concatenate([one.confidence.ravel() for one in experiment.maps.values()]))
        small = high - low < SMALL_RANGE
        column[0].imshow(experiment.image)
        name, chance = (
            short(experiment.class_names[found.label], letters),
            percent(float(found.unoccluded[found.label])),
        )
        column[0].set_title(f"{name}\n{chance}", fontsize=style.SMALLEST, loc="center", pad=3)
        for axes, one in zip(column[1:], experiment.maps.values()):
            axes.imshow(on_pixels(one.confidence, one, experiment.image), cmap=COLOURS,
                        norm=Normalize(low, high) if small else whole)  # fmt: skip
            hidden = f"\n{one.never_hidden:.0%} never\nhidden" if one.never_hidden else ""
            axes.set_xlabel(f"{100 * one.confidence.min():.0f}%{hidden}", fontsize=style.SMALLEST, labelpad=2)
            style.outline(axes, (-0.5, -0.5), one.window, one.window, color="black", linestyle=":", linewidth=0.9)
        if small:
            ends = f"own scale:\n{100 * low:.0f} to\n{100 * high:.0f}%"
            column[-1].set_xlabel(f"{column[-1].get_xlabel()}\n{ends}", fontsize=style.SMALLEST, labelpad=2)
        for axes in column:
            _frame(axes, experiment.image)
            draw_box(axes, experiment.box)
        for axes, window in zip(column[1:], sizes if not number else ()):
            axes.set_ylabel(f"N = {window}", fontweight="bold" if window == experiment.window else "normal")
    bar = style.place(figure, 0.42, figure.get_figheight() - 0.55, 2.0, 0.09)
    style.bar(bar, ScalarMappable(whole, COLOURS), [0, 0.5, 1], lambda value: f"{value:.0%}")
    some = "" if len(experiments) == total else f" ({len(experiments)} of {total} images)"
    style.title(figure, f"What the size N of the window changes: the probability of the true class{some}")
    said = "below each map: its lowest value; dotted: the window;\nbold: the N of the other figures"
    figure.text(
        2.7 / style.WIDTH, 0.6 / figure.get_figheight(), said, fontsize=style.SMALLEST, color=style.MUTED, va="top"
    )
    return figure


def on_pixels(values: np.ndarray, found: OcclusionMap, image: np.ndarray) -> np.ndarray:
    """A map of `found` at the image's size, [H, W]: each pixel has the value of the nearest window centre.

    So the outermost centres' values reach the image's edge, whatever the stride.
    """
    places = [np.abs(np.arange(length)[:, None] - centres).argmin(axis=1)
              for length, centres in zip(image.shape, (found.rows, found.columns))]  # fmt: skip
    return np.asarray(values[np.ix_(*places)])


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
    """What the window changes, over the image in gray: the larger the change, the less of the image shows through."""
    change = on_pixels(-found.drop, found, image)
    most = max(float(np.abs(change).max()), 0.005)
    axes.imshow(image.mean(axis=2) * 0.5 + 127, cmap="gray", vmin=0, vmax=255)
    drawn = axes.imshow(change, vmin=-most, vmax=most, cmap="RdBu", alpha=np.clip(np.abs(change) / most * 1.5, 0, 0.9))
    bar = ScalarMappable(drawn.norm, drawn.cmap)  # without the picture's transparency
    style.bar(_under(figure, axes), bar, [-most, 0, most], lambda value: f"{100 * value:+.3g}" if value else "0")
    axes.set_title("change in points,\non its own scale")
    _lowest(axes, found)


def _named(found: OcclusionMap) -> list[int]:
    """The classes that have a colour of their own: the followed one, then by the area where each is most probable."""
    labels, counts = np.unique(found.predicted, return_counts=True)
    by_area = labels[np.argsort(-counts, kind="stable")]
    return [found.label, *(int(label) for label in by_area if label != found.label)][:MOST_CLASSES_NAMED]


def _class_map(axes: Axes, found: OcclusionMap, image: np.ndarray) -> None:
    """Colour each place by the most probable class there; the rarest classes share one colour."""
    named = _named(found)
    palette = [FOLLOWED, *style.CLASSES[: len(named) - 1], OTHERS]
    places = np.full(found.predicted.shape, len(named))
    for place, label in enumerate(named):
        places[found.predicted == label] = place
    norm = BoundaryNorm(np.arange(len(palette) + 1) - 0.5, len(palette))
    axes.imshow(on_pixels(places, found, image), cmap=ListedColormap(palette), norm=norm, interpolation="nearest")


def _class_colours(found: OcclusionMap, class_names: Sequence[str], letters: int = 20) -> list[Patch]:
    """The legend of `_class_map`."""
    named = _named(found)
    entries = [(short(class_names[label], letters), colour) for label, colour in zip(named, (FOLLOWED, *style.CLASSES))]
    if not np.isin(found.predicted, named).all():
        entries.append(("others", OTHERS))
    return [Patch(facecolor=colour, label=name) for name, colour in entries]
