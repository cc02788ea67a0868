"""The networks of the study: each variant's parameters, what it changes, and which parameter it is a level of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from graybox import files
from graybox.errors import UserError
from graybox.network import params as network
from graybox.network.params import PARAMETRIC, ModelParams, Recipe, TrainParams
from graybox.schema import shown, validated

# The variant that is not in params.yaml: the stage `combine` makes it from each parameter's best level.
COMBINED = "combined"
# The six parameters that the study is about, in the order of its charts: name -> the keys that set it.
# A variant belongs to the first of them that it changes: `max_pool: null` with strides instead belongs to max pooling.
FACTORS: dict[str, tuple[str, ...]] = {
    "conv layers": ("conv_layers",),
    "fc layers": ("fc_layers",),
    "filters": ("filters", "filter_growth"),
    "max pooling": ("max_pool", "pool_stride", "pool_every"),
    "epochs": ("epochs", "epochs_factor"),
    "stride": ("stride", "stride_layers"),
}
# A variant that changes one of these is another network, and no level of a parameter.
NETWORKS = ("architecture", "weights")
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

    def extended(self, name: str, recipe: Recipe) -> Variants:
        """The same variants, and one more at the end."""
        return Variants({**self._recipes, name: recipe}, self.baseline)

    def changes(self, name: str) -> dict[str, dict[str, Any]]:
        """The parameters in which a variant differs from the baseline, as overrides: "model" and "train" with keys."""
        theirs, mine = _values(self[self.baseline]), _values(self[name])
        found = {
            section: {
                key: value
                for key, value in values.items()
                if value != theirs[section].get(key, value) and key not in NOT_LEVELS
            }
            for section, values in mine.items()
        }
        return {section: values for section, values in found.items() if values}

    def parameter_of(self, name: str) -> str | None:
        """The parameter that a variant changes: one of the six, or else the names of the keys that it changes.

        None for the baseline, for a variant with only another seed, and for `combined`, which changes several. With
        another architecture or other initial weights it is that, whatever else the variant sets.
        """
        keys = [key for section in self.changes(name).values() for key in section]
        if not keys or name == COMBINED:
            return None
        if networks := [key for key in NETWORKS if key in keys]:
            return networks[0]
        others = ", ".join(key.replace("_", " ") for key in keys)
        return next((factor for factor, its_keys in FACTORS.items() if set(keys) & set(its_keys)), others)

    def with_files(self) -> Variants:
        """The same variants, with the hashes of the user's files that their networks are made of, as they are now.

        Raises:
            UserError: one can't be read.
        """
        return Variants({name: recipe.with_files() for name, recipe in self.items()}, self.baseline)

    def save(self, folder: Path | str) -> None:
        """Write a file for each variant, and their order; `load` reads them."""
        folder = Path(folder)
        for name, recipe in self.items():
            recipe.save(folder / f"{name}.yaml")
        order = {"baseline": self.baseline, "variants": list(self)}
        files.write_json(folder / "study.json", order)


def load(folder: Path | str = "data/settings", combined: Path | str | None = None) -> Variants:
    """The variants that stage settings wrote; with `combined` (a file), the variant of stage combine comes last.

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
    """The variants of the section `variants`: `model` and `train`, changed by each variant's overrides.

    The baseline is the variant without overrides, or else the first.

    Raises:
        UserError: an override is not known or not allowed.
    """
    # Not validated together yet: where the two sections don't agree, a variant is what has the mistake, or the cure.
    common = Recipe.model_construct(model=model, train=train)
    recipes = {name: changed(common, theirs, name) for name, theirs in overrides.items()}
    return Variants(recipes, next((name for name, theirs in overrides.items() if not theirs), next(iter(overrides))))


def changed(recipe: Recipe, overrides: Overrides, name: str) -> Recipe:
    """A recipe with some parameters changed. `name`: the new variant's name, for the message.

    Raises:
        UserError: an override is not known or not allowed.
    """
    values, where = recipe.model_dump(), f"variants.{name}"
    for key, theirs in overrides.items():
        values[key] = {**values.get(key, {}), **theirs}
    values["model"] = _of_its_architecture(recipe.model, overrides.get("model", {}), values["model"], f"{where}.model")
    for section in (ModelParams, TrainParams):  # each alone first, so that the message names the key only
        validated(section, values[section.key], f"{where}.{section.key}")
    return validated(Recipe, values, where)


def _of_its_architecture(
    common: ModelParams, own: Mapping[str, Any], values: dict[str, Any], where: str
) -> dict[str, Any]:
    """Of a variant's values in the section `model` those that its architecture has.

    What the common section says of the layers is about the variants with the architecture cnn, and its weights are
    those of its architecture.

    Raises:
        UserError: the variant itself sets a parameter that its architecture does not have.
    """
    architecture, others = values["architecture"], {"weights": own.get("weights")}
    if architecture == common.architecture:
        others = {"weights": values["weights"]}
    if architecture == PARAMETRIC:
        return {**values, **others}
    layers = set(ModelParams.model_fields) - set(NETWORKS)
    for key in own:
        if key in layers:
            inherits = "" if "architecture" in own else f", or {where}.architecture: {PARAMETRIC}"
            raise UserError(
                f"{where}.{key} is about the layers of {PARAMETRIC}, and this variant's architecture is "
                f"{shown(architecture)}; allowed: leave it out{inherits}"
            )
    return {key: value for key, value in values.items() if key not in layers} | others


def _values(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """The parameters that a network is built and trained from, by section."""
    named = {"architecture": recipe.model.architecture, "weights": recipe.model.weights}
    return {"model": named | recipe.model.used(), "train": recipe.train.model_dump()}
