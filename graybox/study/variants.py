"""The networks of the study: what each variant is, what it differs in from the baseline, and of what it is a level."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from graybox.errors import UserError
from graybox.network import params as network
from graybox.network.params import ModelParams, Recipe, TrainParams
from graybox.schema import validated

# The variant that no one writes: each parameter's best level, put together by the stage `combine`.
COMBINED = "combined"
# The six parameters that the study is about, in the order of its charts: name -> the keys that set it.
# A variant belongs to the first of them that it changes, so `max_pool: null` with strides in its place is pooling.
FACTORS: dict[str, tuple[str, ...]] = {
    "conv layers": ("conv_layers",),
    "fc layers": ("fc_layers",),
    "filters": ("filters", "filter_growth"),
    "max pooling": ("max_pool", "pool_stride", "pool_every"),
    "epochs": ("epochs", "epochs_factor"),
    "stride": ("stride", "stride_layers"),
}
# A variant that changes these alone is another try of the baseline, not a level of a parameter.
NOT_LEVELS = {"seed", "seeds", "precision"}

Overrides = Mapping[str, Mapping[str, Any]]


class Variants(Mapping[str, Recipe]):
    """Each variant's parameters, in the order of params.yaml.

    Attributes:
        baseline: the variant that the others are compared with.
    """

    def __init__(self, recipes: Mapping[str, Recipe], baseline: str) -> None:
        self._recipes, self.baseline = dict(recipes), baseline

    def __getitem__(self, name: str) -> Recipe:
        return self._recipes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._recipes)

    def __len__(self) -> int:
        return len(self._recipes)

    @property
    def seeds(self) -> int:
        """Networks per variant."""
        return self[self.baseline].train.seeds

    def extended(self, name: str, recipe: Recipe) -> Variants:
        """The same with one variant more, as the last."""
        return Variants({**self._recipes, name: recipe}, self.baseline)

    def changes(self, name: str) -> dict[str, dict[str, Any]]:
        """What a variant has that the baseline has not, as overrides: "model" and "train", each with its keys."""
        theirs, mine = self[self.baseline].model_dump(), self[name].model_dump()
        found = {
            section: {
                key: value for key, value in values.items() if value != theirs[section][key] and key not in NOT_LEVELS
            }
            for section, values in mine.items()
        }
        return {section: values for section, values in found.items() if values}

    def parameter_of(self, name: str) -> str | None:
        """The parameter of which a variant is a level: one of the six, or the names of the other keys that it changes.

        None for the baseline, for one that differs in its seed alone, and for `combined`, which changes many.
        """
        keys = [key for section in self.changes(name).values() for key in section]
        if not keys or name == COMBINED:
            return None
        others = ", ".join(key.replace("_", " ") for key in keys)
        return next((factor for factor, its_keys in FACTORS.items() if set(keys) & set(its_keys)), others)

    def save(self, folder: Path | str) -> None:
        """Write a file for each variant, and their order; `load` reads it."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, recipe in self.items():
            recipe.save(folder / f"{name}.yaml")
        order = {"baseline": self.baseline, "variants": list(self)}
        (folder / "study.json").write_text(json.dumps(order, indent=1) + "\n", encoding="utf-8")


def load(folder: Path | str = "data/settings", combined: Path | str | None = None) -> Variants:
    """The variants as stage settings left them; with `combined`, what stage combine made of them is the last.

    Raises:
        UserError: a file is missing or not what the stages write.
    """
    path = Path(folder) / "study.json"
    try:
        order = json.loads(path.read_text(encoding="utf-8"))
        names, baseline = order["variants"], order["baseline"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not readable ({type(error).__name__}); run `dvc repro settings`") from error
    variants = Variants({name: network.load(Path(folder) / f"{name}.yaml") for name in names}, baseline)
    return variants if combined is None else variants.extended(COMBINED, network.load(combined))


def resolve(model: ModelParams, train: TrainParams, overrides: Mapping[str, Any]) -> Variants:
    """The variants of the section `variants`: the sections `model` and `train`, each with its overrides.

    The baseline is the variant without overrides, or else the first.

    Raises:
        UserError: an override is not known or not allowed.
    """
    recipes = {name: changed(Recipe(model=model, train=train), theirs, name) for name, theirs in overrides.items()}
    return Variants(recipes, next((name for name, theirs in overrides.items() if not theirs), next(iter(overrides))))


def changed(recipe: Recipe, overrides: Overrides, name: str) -> Recipe:
    """A recipe with some parameters changed. `name`: the variant that this makes, for the message.

    Raises:
        UserError: an override is not known or not allowed.
    """
    values, where = recipe.model_dump(), f"variants.{name}"
    for key, theirs in overrides.items():
        values[key] = {**values.get(key, {}), **theirs}
    for section in (ModelParams, TrainParams):  # first each by itself, so that the message names its key alone
        validated(section, values[section.key], f"{where}.{section.key}")
    return validated(Recipe, values, where)
