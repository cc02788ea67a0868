"""The whole of the occlusion experiment on one image (Zeiler & Fergus 2014, section 4.2 and figure 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from graybox.data.images import ImageSet
from graybox.features import maps as feature_maps
from graybox.features.maps import Peaks
from graybox.network.cnn import CNN
from graybox.occlusion.evidence import MapEvidence, map_evidence
from graybox.occlusion.fills import Fill, fill_picture
from graybox.occlusion.maps import OcclusionMap, occlusion_map
from graybox.reliance.commentary import commentary

PATCHES = 9


@dataclass(frozen=True)
class Settings:
    """What slides over the image.

    Attributes:
        window: N of the N x N window of the main map, odd, in pixels. `stride`: pixels between its centres.
        other_windows: further N, to see what the choice of N changes. `other_stride`: pixels between their centres.
        fill, gray: what the window shows, as for `graybox.occlusion.fills.fill_picture`.
    """

    window: int
    stride: int = 1
    other_windows: Sequence[int] = ()
    other_stride: int = 2
    fill: Fill = "gray"
    gray: float = 0.5

    def positions(self, size: int) -> int:
        """How many windows slide over a size x size image, all N together."""
        main, other = (len(range(0, size, stride)) ** 2 for stride in (self.stride, self.other_stride))
        return main + len({*self.other_windows} - {self.window}) * other


@dataclass(frozen=True)
class Experiment:
    """What was found on one image.

    Attributes:
        image: uint8 [H, W, 3]. `box`: float [4], the object box x0, y0, x1, y1 in pixels, NaN where there is none.
        name: what the image is called. `class_names`: one for each label.
        shown: float32 [H, W, 3] in 0..1, what shows through the window.
        maps: one for each window size N, smallest first. `window`: N of the main one, which alone has `activation`.
        evidence: the main map in figures.
        interventions: the image's row of `graybox.reliance.rule.per_image`: what hiding its object or its context
            does, and the verdict; None where there is none.
        feature_map: number of the last conv layer's map with the largest total activation in the unoccluded image.
        features: float32 [h, w], that map, unoccluded.
        projection: float32 [H, W, 3], that map projected to the pixels by guided backpropagation; signed, no unit.
        patches: uint8 [h, w, 3] each, what excites that map most in other images, the strongest first; may be empty.
    """

    image: np.ndarray
    box: np.ndarray
    name: str
    class_names: Sequence[str]
    shown: np.ndarray
    maps: dict[int, OcclusionMap]
    window: int
    evidence: MapEvidence
    interventions: Mapping[str, object] | None
    feature_map: int
    features: np.ndarray
    projection: np.ndarray
    patches: list[np.ndarray]

    @property
    def main(self) -> OcclusionMap:
        """The map for `window`."""
        return self.maps[self.window]

    @property
    def commentary(self) -> str:
        """What it shows, in a few plain sentences."""
        return commentary(self.main, self.evidence, self.interventions, self.class_names)

    def summary(self) -> dict[str, object]:
        """It in a row of figures: probabilities and shares 0..1, positions in pixels; the last is the commentary."""
        own = {"verdict": self.interventions["verdict"]} if self.interventions else {}
        measured = {**self.main.summary(self.class_names), **asdict(self.evidence), **own}
        return {"file": self.name, **measured, "commentary": self.commentary}


def examine(
    model: CNN,
    image: np.ndarray,
    label: int,
    settings: Settings,
    *,
    name: str,
    box: np.ndarray | None = None,
    interventions: Mapping[str, object] | None = None,
    search: tuple[np.ndarray, Peaks] | None = None,
    exclude: int | None = None,
    on_windows: Callable[[int], object] = lambda count: None,
) -> Experiment:
    """Slide windows of each size over one image, and look at what its strongest feature map answers to.

    Args:
        model: in evaluation mode. `image`: uint8 [H, W, 3], of the model's image size. `label`: the true class.
        name: what the image is called. `box`: its object box, float [4], or None.
        interventions: the image's row of `graybox.reliance.rule.per_image`, if there is one.
        search: images, uint8 [N, H, W, 3], and their peaks, to find the feature map's top patches in; None = don't.
        exclude: the image's own row among those.
        on_windows: called with a number of windows whenever so many more are done, for a progress bar.
    """
    box = np.full(4, np.nan, np.float32) if box is None else np.asarray(box, np.float32)
    features = feature_maps.last_maps(model, image)
    strongest = feature_maps.strongest_map(features)
    shown = fill_picture(image, settings.fill, settings.gray)
    maps = {}
    for window in sorted({settings.window, *settings.other_windows}):
        main = window == settings.window
        maps[window] = occlusion_map(
            model, image, label, window=window, fill=shown, on_windows=on_windows,
            stride=settings.stride if main else settings.other_stride, feature_map=strongest if main else None,
        )  # fmt: skip
    evidence = map_evidence(maps[settings.window], box)
    return Experiment(
        image=np.asarray(image),
        box=box,
        name=name,
        class_names=model.class_names,
        shown=shown,
        maps=maps,
        window=settings.window,
        evidence=evidence,
        interventions=interventions,
        feature_map=strongest,
        features=features[strongest],
        projection=feature_maps.project(model, image, strongest),
        patches=[] if search is None else _patches(*search, strongest, exclude),
    )


def examine_row(
    model: CNN,
    images: ImageSet,
    row: int,
    settings: Settings,
    judged: pd.DataFrame,
    peaks: Peaks,
    on_windows: Callable[[int], object] = lambda count: None,
) -> Experiment:
    """`examine` for an image of a split.

    Args:
        judged: what `graybox.reliance.rule.per_image` gave for the split; an image without a usable box has
            no row in it.
        peaks: of all of the split's images; the top patches are taken from the others.
    """
    own = judged[judged["row"] == row]
    return examine(
        model, images.images[row], int(images.labels[row]), settings, name=images.files[row], box=images.boxes[row],
        interventions=None if own.empty else own.iloc[0].to_dict(), search=(images.images, peaks), exclude=row,
        on_windows=on_windows,
    )  # fmt: skip


def arrays(experiments: Sequence[Experiment]) -> dict[str, np.ndarray]:
    """Every map's arrays, named by image and window size: "00_11_confidence" is image 0's, N = 11."""
    return {
        f"{number:02d}_{window:02d}_{name}": array
        for number, one in enumerate(experiments)
        for window, found in one.maps.items()
        for name, array in found.arrays().items()
    }


def _patches(images: np.ndarray, peaks: Peaks, feature_map: int, exclude: int | None) -> list[np.ndarray]:
    patches = []
    for patch in feature_maps.top_patches(peaks, feature_map, PATCHES, exclude):
        x0, y0, x1, y1 = patch.box
        patches.append(np.array(images[patch.image, y0:y1, x0:x1]))
    return patches
