"""The whole of params.yaml, composed of the rooms' schemas and checked as a whole.

Most stages read only their own sections. Stages `settings` and `report`, and `command_line.reference` need all of it.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from graybox import schema
from graybox.data.params import DataParams, SourceParams, SourcesParams
from graybox.errors import UserError, within
from graybox.features.params import CorrespondenceParams
from graybox.mistakes.params import MistakesParams
from graybox.network.params import ModelParams, TrainParams
from graybox.occlusion.params import OcclusionParams, never_hidden
from graybox.reliance.params import RelianceParams
from graybox.report.params import ReportParams
from graybox.run import RunParams
from graybox.schema import Section
from graybox.study import variants as study
from graybox.study.params import EvaluateParams, SelectParams
from graybox.study.variants import COMBINED, Variants

# DVC reads a dot as nesting and silently drops a key that is a number.
VARIANT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
# Windows takes these for devices, whatever their ending and case.
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}
MOST_VARIANTS = 1000
NETWORKS = "networks"  # the folder of the user's own code and weights, which stage settings depends on
TAKEN = {COMBINED: "stage combine makes the variant of that name"}


class Params(Section):
    """The whole of params.yaml. `variants` is as written there; `recipes` has each variant's full parameters."""

    model_config = ConfigDict(ignored_types=(cached_property,))

    data: DataParams = DataParams()
    sources: SourcesParams = SourcesParams()
    model: ModelParams = ModelParams()
    train: TrainParams = TrainParams()
    variants: dict[str, Any]
    evaluate: EvaluateParams = EvaluateParams()
    select: SelectParams = SelectParams()
    mistakes: MistakesParams = MistakesParams()
    occlusion: OcclusionParams = OcclusionParams()
    reliance: RelianceParams = RelianceParams()
    correspondence: CorrespondenceParams = CorrespondenceParams()
    report: ReportParams = ReportParams()
    run: RunParams = RunParams()

    @property
    def source(self) -> SourceParams:
        """The chosen source's parameters."""
        return self.sources.of(self.data.source)

    @property
    def image_size(self) -> int:
        """Height and width of the prepared images, in pixels."""
        return self.source.image_size

    @cached_property
    def recipes(self) -> Variants:
        """All parameters of each variant's network."""
        return study.resolve(self.model, self.train, self.variants)


def load(path: Path | str = "params.yaml") -> Params:
    """Read and check a params.yaml, including every variant.

    Raises:
        UserError: the file is missing or not YAML, a key is unknown, or a value is not allowed.
    """
    return checked(schema.read(path), path)


def checked(values: dict[str, Any], path: Path | str = "params.yaml") -> Params:
    """The parameters with these values, as `schema.read` gives them; `path` names their file in messages.

    Raises:
        UserError: a key is unknown, or a value is not allowed.
    """
    with within(f"{path}: "):
        params = schema.validated(Params, values)
        _check_variants(params.variants)
        for name, recipe in params.recipes.items():  # raises if an override is not allowed
            _check_place(f"variants.{name}.model", recipe.model)
    named = f"the image size, sources.{params.data.source}.image_size"
    with within(f"{path}: occlusion."):
        params.occlusion.check_fits(params.image_size, named)
    if params.reliance.map_stride >= params.image_size:
        raise UserError(
            f"{path}: reliance.map_stride is {params.reliance.map_stride}; it should be below {named} = "
            f"{params.image_size}: else there is one window"
        )
    if params.evaluate.shift >= params.image_size:
        raise UserError(
            f"{path}: evaluate.shift is {params.evaluate.shift}; it should be below {named} = {params.image_size}"
        )
    return params


def warnings_of(params: Params) -> list[str]:
    """What is allowed but probably not meant, a sentence each; mostly none."""
    warnings = [f"occlusion.{said}" for said in params.occlusion.gaps(params.image_size)]
    size, stride, window = params.image_size, params.reliance.map_stride, params.occlusion.window
    if share := never_hidden((size, size), [range(0, size, stride)] * 2, window):
        warnings.append(
            f"reliance.map_stride is {stride}, and occlusion.window is {window}: {share:.0%} of the pixels are never "
            f"hidden in the maps beside the verdict; with at most {window // 2 + 1} all are hidden"
        )
    return warnings


def _check_place(where: str, model: ModelParams) -> None:
    """Raise a UserError if the user's code or weights lie where DVC does not see that they change."""
    code, _, function = model.architecture.partition(":")
    if function and code != "timm" and code.split(".")[0] != NETWORKS:
        raise UserError(
            f"{where}.architecture is {model.architecture}; allowed: a function of a module in the folder {NETWORKS}, "
            f"such as {NETWORKS}.example:build, so that an edit trains the network again"
        )
    if model.weights and not model.weights.isidentifier():
        parts = Path(model.weights).parts
        if parts[0] != NETWORKS or ".." in parts:
            raise UserError(
                f"{where}.weights is {schema.shown(model.weights)}; allowed: a name of torchvision's, or a file in the "
                f"folder {NETWORKS}, such as {NETWORKS}/weights.safetensors"
            )


def _check_variants(variants: dict[str, Any]) -> None:
    if not variants:
        raise UserError("variants is empty; it should name at least one, such as `baseline: {}`")
    if len(variants) > MOST_VARIANTS:
        raise UserError(f"variants names {len(variants):,}; allowed: at most {MOST_VARIANTS:,}")
    _check_names(list(variants))
    for name, overrides in variants.items():
        where = f"variants.{name}"
        if not isinstance(overrides, dict):
            raise UserError(f"{where} is {schema.shown(overrides)}; it should be {{}} or overrides")
        for key, values in overrides.items():
            if key not in ("model", "train"):
                raise UserError(f"{where}.{_plain(key)} is not a known key; allowed: model, train")
            if not isinstance(values, dict):
                raise UserError(f"{where}.{key} is {schema.shown(values)}; it should hold parameters")


def _check_names(names: list[str]) -> None:
    """Each name is that of several files, on any system."""
    seen: dict[str, str] = {}
    for name in names:
        where, folded = f"variants.{_plain(name)}", name.lower()
        if not VARIANT_NAME.fullmatch(name):
            raise UserError(
                f"{where} is not a usable name; allowed: a letter, then letters, digits, - and _, at most 64 in all"
            )
        if folded in TAKEN:
            raise UserError(f"{where} is taken: {TAKEN[folded]}; rename it")
        if folded in DEVICES:
            raise UserError(f"{where} is the name of a device in Windows, so it can't name a file there; rename it")
        if folded in seen:
            raise UserError(
                f"variants.{seen[folded]} and {where} differ by upper and lower case alone, "
                f"so some systems take their files for the same; rename one"
            )
        seen[folded] = name


def _plain(name: object) -> str:
    """A name as it is if it is short and can be printed, else as a value."""
    return name if isinstance(name, str) and len(name) <= 64 and name.isprintable() else schema.shown(name)
