"""The results on one image, stored as arrays, so that figures can be drawn without the network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from graybox.occlusion.confidence import OcclusionMap
from graybox.occlusion.evidence import MapEvidence, map_evidence
from graybox.occlusion.faithfulness import Curves
from graybox.occlusion.window_words import SHOWN
from graybox.occlusion.windows import Look
from graybox.reliance.commentary import commentary, of_second

SECOND = "second"
ARRAYS = ("image", "box", "shown", "features", "projection")


@dataclass(frozen=True)
class Experiment:
    """The results on one image.

    Attributes:
        image: uint8 [H, W, 3]. `box`: float [4], the object box x0, y0, x1, y1 in pixels, NaN where there is none.
        name: the image's name. `class_names`: one for each label.
        shown: float32 [H, W, 3] in 0..1, what shows through the window.
        maps: one for each window size N, smallest first. `window`: N of the main one; only that one has `activation`.
        evidence: the figures of the main map.
        interventions: the image's row of `graybox.reliance.rule.per_image`: the probabilities with its object or its
            context hidden, and the verdict; None without a usable box.
        feature_map: number of the last conv layer's map with the largest total activation in the unoccluded image;
            None if the network has no such maps.
        features: float32 [h, w], that map, unoccluded; or None.
        projection: float32 [H, W, 3], that map projected to the pixels by guided backpropagation; signed, no unit. None
            if it can't be projected.
        patches: uint8 [h, w, 3] each, the patches of other images that excite that map most, the strongest first.
        labelled: whether the maps' `label` is known to be the true class; if not, it is the model's answer.
        look: how faithful the maps are, by deletion and insertion; None if it was not measured.
        second: a map with the main window's N and another fill, `second_fill`; None if there is none. `fill`: what the
            windows of the other maps show.
    """

    image: np.ndarray
    box: np.ndarray
    name: str
    class_names: Sequence[str]
    shown: np.ndarray
    maps: dict[int, OcclusionMap]
    window: int
    evidence: MapEvidence
    interventions: Mapping[str, Any] | None
    feature_map: int | None
    features: np.ndarray | None
    projection: np.ndarray | None
    patches: list[np.ndarray]
    labelled: bool = True
    look: Look | None = None
    second: OcclusionMap | None = None
    second_fill: str | None = None
    fill: str = "gray"

    @property
    def main(self) -> OcclusionMap:
        """The map for `window`."""
        return self.maps[self.window]

    @property
    def commentary(self) -> str:
        """The results in a few plain sentences."""
        said = commentary(self.main, self.evidence, self.interventions, self.class_names, labelled=self.labelled)
        if self.second is None:
            return said
        figures = None
        if self.look:
            first, other = (self.window, self.fill), (self.window, str(self.second_fill))
            figures = self.look.faithfulness(first, other), self.look.faithfulness(other, first)
        shown = SHOWN[self.fill], SHOWN[str(self.second_fill)]
        return f"{said} {of_second(self.second, map_evidence(self.second, self.box), shown, figures)}"

    @property
    def lacks(self) -> str:
        """What this network can't be asked, in a sentence; "" for most."""
        if self.features is None:
            return "This network has no last maps whose places belong to places of the image, so none is shown."
        if self.projection is None:
            return (
                "No map is projected to the pixels: this network has other activations than ReLU, for which guided "
                "backpropagation is not defined, or captum is not installed."
            )
        return ""

    def summary(self) -> dict[str, object]:
        """The results as one row: probabilities and shares 0..1, positions in pixels; the commentary comes last.

        With `lacks` only if the network lacks something.
        """
        own = {"verdict": self.interventions["verdict"]} if self.interventions else {}
        measured = {**self.main.summary(self.class_names, labelled=self.labelled), **asdict(self.evidence), **own}
        lacks = {"lacks": self.lacks} if self.lacks else {}
        return {"file": self.name, **measured, **lacks, "commentary": self.commentary}


def arrays(experiments: Sequence[Experiment]) -> dict[str, np.ndarray]:
    """All experiments as arrays by name, for one npz file.

    The maps are named by image and window size: "00_11_confidence" is image 0, N = 11. "00_facts" has the rest, as
    JSON text.
    """
    kept: dict[str, np.ndarray] = {}
    for number, one in enumerate(experiments):
        facts = {
            "name": one.name, "class_names": list(one.class_names), "window": one.window,
            "feature_map": one.feature_map, "evidence": asdict(one.evidence), "labelled": one.labelled,
            "interventions": one.interventions and dict(one.interventions),
            "fill": one.fill, "second_fill": one.second_fill,
        }  # fmt: skip
        if one.look:
            facts["look"] = {"methods": one.look.methods, "replaced_by": list(one.look.curves), "flat": one.look.flat,
                             "largest_drop": one.look.largest_drop}  # fmt: skip
            for name in ("deletion", "insertion"):
                curves = np.stack([getattr(each, name) for each in one.look.curves.values()])
                kept |= {f"{number:02d}_{name}": curves}
        kept |= {f"{number:02d}_facts": np.array(json.dumps(facts, default=_plain))}
        own = {name: getattr(one, name) for name in ARRAYS}
        kept |= {f"{number:02d}_{name}": array for name, array in own.items() if array is not None}
        kept |= {f"{number:02d}_patch_{place}": patch for place, patch in enumerate(one.patches)}
        maps = {f"{window:02d}": found for window, found in one.maps.items()}
        for key, found in (maps | ({SECOND: one.second} if one.second else {})).items():
            measured = replace(found, image=None).arrays()  # all maps are of the one image above
            kept |= {f"{number:02d}_{key}_{name}": array for name, array in measured.items()}
    return kept


def load(path: Path | str) -> list[Experiment]:
    """The experiments in a file written from `arrays`."""
    with np.load(path) as file:
        groups: dict[str, dict[str, np.ndarray]] = {}
        for key in file.files:
            number, _, name = key.partition("_")
            groups.setdefault(number, {})[name] = file[key]
    return [_restored(group) for group in groups.values()]


def _restored(group: dict[str, np.ndarray]) -> Experiment:
    facts = json.loads(str(group.pop("facts")))
    facts["evidence"] = MapEvidence(**facts["evidence"])
    own: dict[str, Any] = {name: group.pop(name, None) for name in ARRAYS}
    look = _look(facts.pop("look"), group.pop("deletion"), group.pop("insertion")) if "look" in facts else None
    patches = [group.pop(name) for name in [name for name in group if name.startswith("patch_")]]
    maps: dict[str, dict[str, Any]] = {}
    for key, array in group.items():
        window, _, name = key.partition("_")
        maps.setdefault(window, {})[name] = array if array.ndim else array.item()
    restored = {key: OcclusionMap(**found, image=own["image"]) for key, found in maps.items()}
    second = restored.pop(SECOND, None)
    by_size = {int(window): found for window, found in restored.items()}
    return Experiment(**own, **facts, patches=patches, maps=by_size, look=look, second=second)


def _look(facts: dict[str, Any], deletion: np.ndarray, insertion: np.ndarray) -> Look:
    curves = {name: Curves(*both) for name, *both in zip(facts["replaced_by"], deletion, insertion)}
    methods = tuple((window, fill) for window, fill in facts["methods"])
    return Look(methods, curves, tuple(facts["flat"]), tuple(facts["largest_drop"]))


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else str(value)
