"""The whole occlusion experiment on one image (Zeiler & Fergus 2014, section 4.2 and figure 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from graybox.data.images import ImageSet
from graybox.features import maps as feature_maps
from graybox.features.maps import Peaks
from graybox.network.classifier import Classifier
from graybox.occlusion import windows
from graybox.occlusion.confidence import OcclusionMap
from graybox.occlusion.evidence import map_evidence
from graybox.occlusion.fills import fill_picture
from graybox.occlusion.maps import occlusion_map
from graybox.occlusion.params import OcclusionParams
from graybox.reliance import rule
from graybox.reliance.experiment import Experiment

PATCHES = 9


def examine(
    model: Classifier,
    image: np.ndarray,
    label: int,
    params: OcclusionParams,
    *,
    name: str,
    labelled: bool = True,
    box: np.ndarray | None = None,
    interventions: Mapping[str, Any] | None = None,
    search: tuple[np.ndarray, Peaks] | None = None,
    exclude: int | None = None,
    order_seed: int | None = None,
    on_windows: Callable[[int], object] = lambda count: None,
) -> Experiment:
    """Slide windows of each size over one image, and find what its strongest feature map, if it has any, responds to.

    Args:
        model: in evaluation mode. `image`: uint8 [H, W, 3], of the model's image size. `label`: the true class.
        labelled: False if the true class is not known, and `label` is the model's answer.
        name: the image's name. `box`: its object box, float [4], or None.
        interventions: the image's row of `graybox.reliance.rule.per_image`, if there is one.
        search: images, uint8 [N, H, W, 3], and their peaks, to search for the map's top patches; None = no search.
        exclude: the image's own row among those.
        order_seed: of the random order that the maps are set beside by deletion and insertion; None = not measured.
        on_windows: called with the number of newly finished windows, for a progress bar.
    """
    box = np.full(4, np.nan, np.float32) if box is None else np.asarray(box, np.float32)
    features = feature_maps.last_maps(model, image) if model.has_maps else None
    strongest = None if features is None else feature_maps.strongest_map(features)
    shown = fill_picture(image, params.fill, params.gray)
    maps = _maps(model, image, label, params, shown, strongest, on_windows)
    second = _second(model, image, label, params, on_windows)
    return Experiment(
        image=np.asarray(image),
        box=box,
        name=name,
        class_names=model.class_names,
        shown=shown,
        maps=maps,
        window=params.window,
        evidence=map_evidence(maps[params.window], box),
        interventions=interventions,
        feature_map=strongest,
        features=None if features is None else features[strongest],
        projection=None if strongest is None else _projection(model, image, strongest),
        patches=[] if search is None or strongest is None else _patches(*search, strongest, exclude),
        labelled=labelled,
        look=None if order_seed is None else _look(model, image, label, params, maps, second, order_seed),
        second=second,
        second_fill=params.beside,
        fill=params.fill,
    )


def _maps(
    model: Classifier,
    image: np.ndarray,
    label: int,
    params: OcclusionParams,
    shown: np.ndarray,
    feature_map: int | None,
    on_windows: Callable[[int], object],
) -> dict[int, OcclusionMap]:
    """A map for each N, smallest first; the feature map's activation is recorded for the main one."""
    maps = {}
    for window in sorted({params.window, *params.other_windows}):
        main = window == params.window
        maps[window] = occlusion_map(
            model, image, label, window=window, fill=shown, on_windows=on_windows,
            stride=params.stride if main else params.other_stride, feature_map=feature_map if main else None,
        )  # fmt: skip
    return maps


def _second(
    model: Classifier, image: np.ndarray, label: int, params: OcclusionParams, on_windows: Callable[[int], object]
) -> OcclusionMap | None:
    """The map with the second fill, if there is one."""
    if not params.beside:
        return None
    return occlusion_map(
        model, image, label, window=params.window, stride=params.beside_stride, on_windows=on_windows,
        fill=fill_picture(image, params.beside, params.gray),
    )  # fmt: skip


def _look(
    model: Classifier,
    image: np.ndarray,
    label: int,
    params: OcclusionParams,
    maps: Mapping[int, OcclusionMap],
    second: OcclusionMap | None,
    seed: int,
) -> windows.Look:
    """How faithful the maps are; the main one comes first, as the others are compared with it."""
    own_first = sorted(maps, key=lambda window: window != params.window)
    ordered = {(window, str(params.fill)): maps[window] for window in own_first}
    if second:
        ordered[params.window, str(params.beside)] = second
    return windows.look_at(model, image, label, ordered, seed)


def _projection(model: Classifier, image: np.ndarray, feature_map: int) -> np.ndarray | None:
    """The map's projection to the pixels; None where the network's activations or a missing captum do not allow it."""
    try:
        return feature_maps.project(model, image, feature_map)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "captum":
            raise
        return None


def examine_row(
    model: Classifier,
    images: ImageSet,
    row: int,
    params: OcclusionParams,
    judged: pd.DataFrame,
    peaks: Peaks,
    on_windows: Callable[[int], object] = lambda count: None,
) -> Experiment:
    """`examine` for an image of a split.

    Args:
        judged: from `graybox.reliance.rule.per_image` for the split; an image without a usable box has no row in it.
        peaks: of all images of the split; the top patches are taken from the other images.
    """
    return examine(
        model, images.images[row], int(images.labels[row]), params, name=images.files[row], box=images.boxes[row],
        interventions=rule.of_image(judged, row), search=(images.images, peaks), exclude=row,
        order_seed=row, on_windows=on_windows,
    )  # fmt: skip


def _patches(images: np.ndarray, peaks: Peaks, feature_map: int, exclude: int | None) -> list[np.ndarray]:
    patches = []
    for patch in feature_maps.top_patches(peaks, feature_map, PATCHES, exclude):
        x0, y0, x1, y1 = patch.box
        patches.append(np.array(images[patch.image, y0:y1, x0:x1]))
    return patches
