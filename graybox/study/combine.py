"""Each parameter's best level, by validation accuracy alone, put together to one variant: `combined`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from graybox.errors import UserError
from graybox.network.params import Recipe
from graybox.network.sizes import check_fits
from graybox.statistics import paired
from graybox.study.variants import COMBINED, FACTORS, Overrides, Variants, changed


@dataclass(frozen=True)
class Scored:
    """How one variant does on validation, which is all that the choice may know.

    Attributes:
        correct: bool [seeds, N], which of the N validation images its networks are right on.
        loss: mean cross-entropy in nats.
    """

    correct: np.ndarray
    loss: float

    @property
    def accuracy(self) -> float:
        """Mean over images and seeds, 0..1."""
        return float(self.correct.mean())


@dataclass(frozen=True)
class Level:
    """What was chosen for one parameter.

    Attributes:
        parameter: one of the six, or the names of the keys that the level sets.
        variant: the variant of which it is the level; the baseline's name where none was better.
        level: the overrides; {} of the baseline.
        validation_accuracy: the variant's, 0..1. `gain`: that less the baseline's, with the ends of its 95% interval
            over the validation images (paired t).
        given_up: why it is not in the combination after all; empty if it is.
    """

    parameter: str
    variant: str
    level: dict[str, dict[str, Any]]
    validation_accuracy: float
    gain: float
    gain_low: float
    gain_high: float
    given_up: str = ""


@dataclass(frozen=True)
class Choice:
    """The combination: its overrides, what it is made of, and what it was chosen on."""

    overrides: dict[str, dict[str, Any]]
    baseline: str
    baseline_accuracy: float
    validation_images: int
    levels: list[Level]

    def record(self) -> dict[str, Any]:
        """As plain values, for a JSON file; "overrides" is what a variant in params.yaml would say."""
        rounded = [
            {key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(level).items()}
            for level in self.levels
        ]
        return {**asdict(self), "baseline_accuracy": round(self.baseline_accuracy, 6), "levels": rounded}


def choose(variants: Variants, scored: Mapping[str, Scored], image_size: int) -> Choice:
    """Take each parameter's best level; a tie goes to the baseline, then to the lower loss, then to the earlier row.

    The levels join the baseline in the order of their gain. One that sets a key differently from those before it, or
    with which the network could not be built, is given up: so of levels that exclude one another the one that does
    most on validation stays, and a level is never given up for another's fault.

    Args:
        scored: for each variant, how it does on validation. `image_size`: height and width of the images, in pixels.
    """
    baseline = variants.baseline
    levels: dict[str, list[str]] = {factor: [] for factor in FACTORS}
    for name in variants:
        if parameter := variants.parameter_of(name):
            levels.setdefault(parameter, []).append(name)

    def rank(name: str) -> tuple[float, bool, float]:
        return -scored[name].accuracy, name != baseline, scored[name].loss

    chosen = {parameter: min([baseline, *names], key=rank) for parameter, names in levels.items() if names}
    order = sorted(chosen, key=lambda parameter: -scored[chosen[parameter]].accuracy)  # stable: the study's order
    overrides: dict[str, dict[str, Any]] = {}
    refused: dict[str, str] = {}
    kept: list[str] = []
    for parameter in order:
        wanted = variants.changes(chosen[parameter])
        if why := _clash(variants, kept, wanted) or _misfit(variants[baseline], _joined(overrides, wanted), image_size):
            refused[parameter] = why
            continue
        overrides = _joined(overrides, wanted)
        kept += [chosen[parameter]] * bool(wanted)

    found = []
    for parameter, name in chosen.items():
        gain = paired.compare(scored[name].correct, scored[baseline].correct)
        level, why = variants.changes(name), refused.get(parameter, "")
        accuracy = scored[name].accuracy
        found.append(Level(parameter, name, level, accuracy, gain.difference, gain.low, gain.high, why))
    reference = scored[baseline]
    return Choice(overrides, baseline, reference.accuracy, reference.correct.shape[-1], found)


def _joined(overrides: dict[str, dict[str, Any]], more: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    sections = [section for section in ("model", "train") if section in overrides or section in more]
    return {section: {**overrides.get(section, {}), **more.get(section, {})} for section in sections}


def _clash(variants: Variants, kept: list[str], wanted: dict[str, dict[str, Any]]) -> str:
    """Which level taken before says something else of a key, in words; empty if none does."""
    for other in kept:
        for section, values in variants.changes(other).items():
            for key, value in values.items():
                if wanted.get(section, {}).get(key, value) != value:
                    return f"{other} sets {section}.{key} to {value}"
    return ""


def _misfit(baseline: Recipe, overrides: Overrides, image_size: int) -> str:
    """Why no such network can be built for these images, in words; empty if it can."""
    try:
        recipe = changed(baseline, overrides, COMBINED)
        check_fits(recipe.model, recipe.train, image_size)
    except UserError as error:
        why = str(error)
        for where in (f"variants.{COMBINED}.", f"variants.{COMBINED}: ", "model: "):
            why = why.removeprefix(where)
        return why.partition("; allowed:")[0]
    return ""
