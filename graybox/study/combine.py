"""Combine each parameter's best level, by validation accuracy alone, into one variant: `combined`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from graybox.errors import UserError
from graybox.network.params import Recipe
from graybox.network.sizes import check_fits
from graybox.schema import shown
from graybox.statistics import paired
from graybox.study.variants import COMBINED, FACTORS, NETWORKS, Overrides, Variants, changed


@dataclass(frozen=True)
class Scored:
    """One variant's results on the validation images. The choice uses nothing else.

    Attributes:
        correct: bool [seeds, N], which of the N validation images each network gets right.
        loss: mean cross-entropy in nats.
        diverged: why one of its networks is no result (`graybox.network.divergence`); "" = all may be.
    """

    correct: np.ndarray
    loss: float
    diverged: str = ""

    @property
    def accuracy(self) -> float:
        """Mean over images and seeds, 0..1."""
        return float(self.correct.mean())


@dataclass(frozen=True)
class Level:
    """The level chosen for one parameter.

    Attributes:
        parameter: one of the six, or the names of the keys that the level sets.
        variant: the variant that has this level; the baseline's name if none was better.
        level: the overrides; {} for the baseline.
        validation_accuracy: of the variant, 0..1.
        gain, gain_low, gain_high: its validation accuracy minus the baseline's, and the 95% interval of that
            (`paired.compare`).
        given_up: why the combination leaves it out; empty if it is in.
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
    """The combination: its overrides, its levels, and the validation figures behind the choice."""

    overrides: dict[str, dict[str, Any]]
    baseline: str
    baseline_accuracy: float
    validation_images: int
    levels: list[Level]

    def record(self) -> dict[str, Any]:
        """As plain values, for a JSON file; "overrides" can be copied into `variants` of params.yaml."""
        rounded = [
            {key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(level).items()}
            for level in self.levels
        ]
        return {**asdict(self), "baseline_accuracy": round(self.baseline_accuracy, 6), "levels": rounded}


def choose(variants: Variants, scored: Mapping[str, Scored], image_size: int) -> Choice:
    """Take each parameter's best level; a tie goes to the baseline, then to the lower loss, then to the earlier row.

    The levels are added to the baseline in the order of their gain, largest first. A level is given up if it sets a key
    to another value than a level before it, or if the network could not be built with it. So if two levels exclude each
    other, the one with the larger gain stays. A variant that diverged is never taken, nor is one with another
    architecture or other initial weights than the baseline: these are no level of a parameter.

    Args:
        scored: each variant's validation results. `image_size`: height and width of the images, in pixels.

    Raises:
        UserError: every variant diverged.
    """
    baseline = variants.baseline
    sound = {name for name in variants if not scored[name].diverged}
    if not sound:
        train = variants[baseline].train
        raise UserError(
            f"every variant diverged ({baseline}: {scored[baseline].diverged}); allowed: a smaller train.learning_rate "
            f"(now {train.learning_rate:g}) or train.gradient_clip (now {shown(train.gradient_clip)})"
        )
    levels: dict[str, list[str]] = {factor: [] for factor in FACTORS}
    for name in variants:
        if (parameter := variants.parameter_of(name)) and parameter not in NETWORKS:
            levels.setdefault(parameter, []).append(name)

    def rank(name: str) -> tuple[float, bool, float]:
        return -scored[name].accuracy, name != baseline, scored[name].loss

    chosen = {
        parameter: min([name for name in (baseline, *names) if name in sound] or [baseline], key=rank)
        for parameter, names in levels.items()
        if names
    }
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
    """In words, which level taken before sets a key to another value; empty if none does."""
    for other in kept:
        for section, values in variants.changes(other).items():
            for key, value in values.items():
                if wanted.get(section, {}).get(key, value) != value:
                    return f"{other} sets {section}.{key} to {value}"
    return ""


def _misfit(baseline: Recipe, overrides: Overrides, image_size: int) -> str:
    """In words, why this network cannot be built for these images; empty if it can."""
    try:
        recipe = changed(baseline, overrides, COMBINED)
        check_fits(recipe.model, recipe.train, image_size)
    except UserError as error:
        why = str(error)
        for where in (f"variants.{COMBINED}.", f"variants.{COMBINED}: ", "model: "):
            why = why.removeprefix(where)
        why = why.partition("; allowed:")[0]
        smallest = baseline.train.size_at(0, image_size)
        begins = f", with which training begins (start_size {baseline.train.start_size:g})"
        return why + begins * (smallest < image_size and why.endswith(f"{smallest} x {smallest} image"))
    return ""
