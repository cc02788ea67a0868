"""Are the maps right? Occlusion beside Grad-CAM and gradient x input, and whether maps show what a network learned.

Usage: python -m benchmarks.maps [--images 100] [--stride 4] [--networks 3]
                                 [--beside models/variants/NAME/seed-0.safetensors]

Run it after `dvc repro`. It asks the best network about evenly spread test images, those with an object box if there
are any.

The first table has a row for each map, for a random order of the pixels and for one from the image's centre. It has the
mean areas under the deletion curve (lower is better) and the insertion curve (higher is better; Petsiuk et al. 2018,
"RISE"), their difference (faithfulness) with its 95% interval, and its change against the first row, paired over the
images. Deleted pixels are replaced by the blurred image and by its mean colour, but not by what the map's own window
shows. With boxes it also has the share of the images whose most important pixel lies in the object's box (the pointing
game, Zhang et al. 2018), with Wilson's interval.

The second table (Adebayo et al. 2018, "Sanity checks for saliency maps") gives the layers new first weights, one after
the other from the top. It compares each image's map with that of the network as it is, by Spearman's rank correlation.
A map that shows what the network learned changes. The line "two networks with new weights" is the reference: how far
the maps of two networks agree that have learned nothing (all layers new, other weights in each), which is what image
and method alone give. With `--beside` another line has the agreement with another trained network. In brackets is the
95% interval, over images and, with several `--networks`, over the draws of new weights. The third table compares
absolute values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.attributions import by_gradient, layers_of, randomised, ranks_agree
from benchmarks.command import parser_of, positive, prepared, start
from graybox import settings
from graybox.data.images import ImageSet, spread
from graybox.errors import UserError
from graybox.network import cnn, inference
from graybox.network.cnn import CNN
from graybox.occlusion import faithfulness, windows
from graybox.occlusion.evidence import centres_inside
from graybox.occlusion.fills import fill_picture
from graybox.occlusion.maps import occlusion_map
from graybox.occlusion.params import OcclusionParams
from graybox.occlusion.windows import CENTRE, RANDOM, Look, Method
from graybox.statistics import paired
from graybox.statistics.intervals import Estimate, share

SETTLED = 256
"""So many training images give new batch norms their statistics."""

Maps = dict[Method, NDArray[np.float64]]
"""The importance of each pixel, float64 [H, W], by N and fill of a window, or by 0 and the name of another map."""
CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"": np.asarray, " of absolute values": np.abs}
"""What is done to maps before their ranks are compared, by what the table's heading says of it."""
Agreement = dict[Method, NDArray[np.float64]]
"""Spearman's rank correlation of two maps of each image, float64 [N, CHANGES], for each kind of map."""


def maps_of(model: CNN, image: NDArray[np.uint8], label: int, params: OcclusionParams, stride: int) -> Maps:
    """Occlusion maps with the study's own window and fill and with its second fill, then those by gradient."""
    found: Maps = {}
    for fill in filter(None, (params.fill, params.beside)):
        shown = fill_picture(image, fill, params.gray)
        drop = occlusion_map(model, image, label, window=params.window, stride=stride, fill=shown)
        found[params.window, fill] = faithfulness.by_drop(drop, *image.shape[:2])
    return found | {(0, name): one for name, one in by_gradient(model, image, label, params.window).items()}


def faithful(model: CNN, image: NDArray[np.uint8], label: int, maps: Maps) -> Look:
    """Deletion and insertion in the order of each map."""
    curves = {
        other: faithfulness.curves(model, image, label, np.array(list(maps.values())), fill_picture(image, other))
        for other in windows.REPLACED_BY
    }
    return Look(tuple(maps), curves, (False,) * len(maps), (np.nan,) * len(maps))


def points(importance: NDArray[np.floating], box: NDArray[np.floating]) -> bool:
    """Whether the most important pixel has its middle in the box; of equally important pixels one by chance."""
    height, width = importance.shape
    inside = centres_inside(np.arange(height), np.arange(width), box)
    return bool(inside.flat[faithfulness.orders(importance[None])[0, 0]])


def named(method: Method) -> str:
    window, name = method
    return f"occlusion, N = {window}, {name}" if window else name


def comparison(looks: list[Look], pointed: list[list[bool]]) -> pd.DataFrame:
    """The first table, a row for each map.

    Args:
        pointed: [images][maps], whether the map points at the object, of the images with a box.
    """
    table = windows.compare(looks).drop(columns=["window", "fill", "flat", "largest_drop"])
    table.insert(0, "map", [named(method) for method in looks[0].methods])
    if pointed:
        shares = [share(sum(hits), len(hits)) for hits in zip(*pointed)]
        table["pointing"] = [one.value for one in shares]
        table["pointing_low"], table["pointing_high"] = [one.low for one in shares], [one.high for one in shares]
    return table


def agreement(one: Sequence[Maps], other: Sequence[Maps]) -> Agreement:
    """How far two networks' maps of the same images agree in the order of their pixels."""
    return {
        method: np.array([[ranks_agree(change(mine[method]), change(theirs[method])) for change in CHANGES.values()]
                          for mine, theirs in zip(one, other)])
        for method in one[0]
    }  # fmt: skip


def cascade(
    model: CNN, own: list[Maps], all_maps: Callable[[CNN], list[Maps]], networks: int, train: NDArray[np.uint8]
) -> Iterator[tuple[str, list[Agreement]]]:
    """Each step by what was done, with the agreement of as many pairs of networks as there are draws of new weights.

    Args:
        own: the model's maps of each image. `all_maps`: gives another network's. `networks`: draws of new weights.
        train: uint8 [N, H, W, 3], for the new batch norms.
    """
    layers, new = list(layers_of(model)), []
    yield "nothing", [agreement(own, all_maps(randomised(model, 0, 0, train)))]
    for count, name in enumerate(layers, start=1):
        new = [all_maps(randomised(model, count, seed, train)) for seed in range(networks)]
        yield name if count == 1 else f"{name} and above", [agreement(own, theirs) for theirs in new]
    others = (all_maps(randomised(model, len(layers), networks + seed, train)) for seed in range(networks))
    yield "two networks with new weights", [agreement(*pair) for pair in zip(new, others)]


def estimated(pairs: Sequence[Agreement], change: int) -> dict[Method, Estimate]:
    """The mean over images and pairs of networks, with its 95% interval. `change`: a place in CHANGES."""
    found = {}
    for method in pairs[0]:
        values = np.array([pair[method][:, change] for pair in pairs])
        spread_of_images = values.mean(axis=0).std(ddof=1) if values.shape[1] > 1 else 0.0
        # With this unit the two images that mean_of adds leave the standard error as it is without them.
        found[method] = paired.mean_of(values, unit=2**0.5 * float(spread_of_images))
    return found


def shown(rows: Mapping[str, dict[Method, Estimate]]) -> str:
    """A line for each row, a column for each map."""
    cells = {
        name: {named(method): f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})" for method, one in row.items()}
        for name, row in rows.items()
    }
    return pd.DataFrame.from_dict(cells, orient="index").to_string()


def box_share(images: ImageSet, row: int) -> float:
    """The share of the image's pixels whose middle lies in the object's box."""
    height, width = images.images.shape[1:3]
    return float(centres_inside(np.arange(height), np.arange(width), images.boxes[row]).mean())


def chosen(test: ImageSet, most: int) -> NDArray[np.int64]:
    """Rows of evenly spread test images, of those with an object box if there are any."""
    rows = np.flatnonzero(test.has_box) if test.has_box.any() else np.arange(len(test))
    return rows[spread(test.labels[rows], most)]


def load(path: Path | str, device: object) -> CNN:
    model = cnn.load(path, device)
    if not isinstance(model, CNN):
        raise UserError(
            f"{path}: a network of another architecture; allowed: one of conv and fc layers (model: params)"
        )
    return model


def main(arguments: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=positive, default=100)
    parser.add_argument("--stride", type=positive, default=4, help="pixels between the centres of the gray window")
    parser.add_argument("--networks", type=positive, default=3, help="draws of new weights")
    parser.add_argument("--beside", type=Path, help="another network that was trained for the same images")
    options = parser.parse_args(arguments)
    params, splits = settings.load(), prepared("data/prepared")
    test, device = splits["test"], inference.pick_device(params.run.device)
    model = load("models/best.safetensors", device)
    beside = options.beside and load(options.beside, device)
    rows = chosen(test, options.images)
    train = np.array(splits["train"].images[spread(splits["train"].labels, SETTLED)])
    steps = len(rows) * (2 + options.networks * (len(layers_of(model)) + 1) + bool(beside))
    bar = tqdm(total=steps, desc="maps", unit=" images", disable=None)

    def all_maps(network: CNN) -> list[Maps]:
        found = []
        for row in rows:
            image, label = test.images[row], int(test.labels[row])
            found.append(maps_of(network, image, label, params.occlusion, options.stride))
            bar.update()
        return found

    with bar:
        own = all_maps(model)
        pairs = dict(cascade(model, own, all_maps, options.networks, train))
        if beside:
            pairs[f"{options.beside}, trained"] = [agreement(own, all_maps(beside))]
    looks, pointed = [], []
    for place, row in enumerate(tqdm(rows, "deletion and insertion", unit=" images", disable=None)):
        image, label = test.images[row], int(test.labels[row])
        height, width = image.shape[:2]
        orders = own[place] | {
            (0, RANDOM): faithfulness.at_random(height, width, int(row)),
            (0, CENTRE): faithfulness.by_distance(height, width),
        }
        looks.append(faithful(model, image, label, orders))
        if test.has_box[row]:
            pointed.append([points(one, test.boxes[row]) for one in orders.values()])
    print(comparison(looks, pointed).round(3).to_string(index=False))
    if pointed:
        print(f"The boxes cover {np.mean([box_share(test, row) for row in rows]):.0%} of the image in the mean.")
    for place, heading in enumerate(CHANGES):
        print(f"\nSpearman's rank correlation{heading}, by the layers with new weights")
        print(shown({name: estimated(found, place) for name, found in pairs.items()}))


if __name__ == "__main__":
    start(main)
