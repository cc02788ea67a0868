"""params.yaml: what is allowed passes, and every mistake is one sentence that names the key, the value and the cure."""

import copy

import pytest

from graybox import settings
from graybox.command_line.reference import markdown
from graybox.errors import UserError
from graybox.network.params import TrainParams
from graybox.schema import Section
from tests.support.basics import ROOT


def changed(values: dict, key: str, value) -> dict:
    values = copy.deepcopy(values)
    *sections, last = key.split(".")
    at = values
    for section in sections:
        at = at[section]
    at[last] = value
    return values


MISTAKES = [
    ("model.filters", 0, ["0", "from 1 to 65536"]),
    ("model.filters", 10**400, ["from 1 to 65536"]),
    ("train.seed", 2**70, ["less than or equal to 2147483647"]),
    ("model.filters", [32, 64], ["lists 2 layers", "conv_layers is 4"]),
    ("model.pool_every", [1, 0], ["[1, 0]", "from 1 to 65536"]),
    ("model.pool_every", [2, 3], ["blocks of 5 conv layers", "conv_layers is 4"]),
    ("model.residual", 2, ["residual is 2", "longest block has 1 of the 4 conv layers", "pool_every is 1"]),
    ("model.filter_growth", 1e200, ["1e+200", "less than or equal to 16"]),
    ("model.conv_layers", 40, ["filters", "at most 65,536"]),
    ("train.epochs_factor", 1e308, ["1e+308", "less than or equal to 1000"]),
    ("model.stride", "two", ["'two'", "integer"]),
    ("model.stride", True, ["true", "integer"]),
    ("model.batch_norm", "yes", ["'yes'", "true or false"]),
    ("model.kernel_size", 4, ["4", "odd"]),
    ("model.max_pool", 1, ["1", "greater than or equal to 2"]),
    ("model.filtres", 32, ["not a known key", "filters"]),
    ("model", None, ["null", "parameters"]),
    ("train.learning_rate", -1, ["-1", "greater than 0"]),
    ("train.learning_rate", True, ["true", "number"]),
    ("train.learning_rate", float("nan"), ["nan", "finite"]),
    ("train.epochs", 2.5, ["2.5", "integer"]),
    ("train.device", "cpu", ["is now run.device"]),
    ("run.device", "gpu", ["'gpu'", "auto, cpu, mps, cuda"]),
    ("train.precision", "fp16", ["'fp16'", "'bf16'"]),
    ("data.source", "imagenet", ["'imagenet'", "'tiny_imagenet'"]),
    ("data.classes", 1, ["1", "at least 2"]),
    ("data.validation_fraction", 1, ["1", "less than 1"]),
    ("sources.scenes.context_bias", 1.5, ["1.5", "less than or equal to 1"]),
    ("sources.scenes.object_size", [0.9, 0.5], ["the least and the greatest"]),
    ("sources.scenes.object_size", [0.5], ["two numbers"]),
    ("sources.tiny_imagenet.sha256", "abc", ["'abc'", "64 hexadecimal digits"]),
    ("occlusion.window", 10, ["10", "odd"]),
    ("occlusion.window", 49, ["49", "at most the image size", "48"]),
    ("occlusion.stride", 48, ["48", "below the image size, sources.scenes.image_size = 48"]),
    ("occlusion.other_stride", 60, ["60", "below the image size"]),
    ("evaluate.shift", 48, ["48", "below the image size"]),
    ("reliance.map_stride", 48, ["48", "below the image size"]),
    ("occlusion.images", 0, ["0", "from 1 to 1,000,000"]),
    ("correspondence.images_per_class", 1, ["1", "greater than or equal to 2"]),
    ("colour", 1, ["not a known key", "data"]),
    ("variants.wide", {"model": {"filters": -3}}, ["-3", "from 1 to 65536"]),
    ("variants.wide", {"model": {"filtres": 3}}, ["not a known key", "filters"]),
    ("variants.wide", {"modle": {}}, ["not a known key", "model, train"]),
    ("variants.wide", None, ["null", "{}"]),
    ("variants.1st", {}, ["not a usable name"]),
    ("variants.combined", {}, ["variants.combined is taken", "rename"]),
    ("train.seeds", 0, ["0", "greater than or equal to 1"]),
    ("sources.mini_imagenet.revision", "main", ["'main'", "a commit, 40 hexadecimal digits"]),
    ("occlusion.other_windows", [3, 4], ["occlusion.other_windows.1 is 4", "odd"]),
    ("variants", {}, ["variants is empty"]),
]


# Two keys that disagree are named both, without saying which is wrong.
WHOLE_NETWORK = ("model.filters", "model.conv_layers", "model.pool_every", "model.residual")


@pytest.mark.parametrize(("key", "value", "told"), MISTAKES, ids=[f"{k}={v}" for k, v, _ in MISTAKES])
def test_a_mistake_is_one_sentence_with_key_value_and_cure(raw_params, write_params, key, value, told):
    with pytest.raises(UserError) as error:
        settings.load(write_params(changed(raw_params, key, value)))
    message = str(error.value)
    assert "\n" not in message and message.count("params.yaml: ") == 1
    for word in [key, *told] if not key.startswith(WHOLE_NETWORK) or value == 0 else told:
        assert word in message


def test_windows_that_leave_pixels_out_are_warned_of_and_the_defaults_do_not(raw_params, write_params):
    assert settings.warnings_of(settings.load(write_params(raw_params))) == []
    raw_params["occlusion"] |= {"window": 3, "stride": 5}
    assert settings.warnings_of(settings.load(write_params(raw_params))) == [
        "occlusion.stride is 5, and the window 3 x 3: 63% of the pixels are never hidden, so the map says nothing "
        "about them; with at most 2 all are hidden",
        "reliance.map_stride is 4, and occlusion.window is 3: 47% of the pixels are never hidden in the maps beside "
        "the verdict; with at most 2 all are hidden",
    ]


def test_a_missing_key_or_section_is_the_default(raw_params, write_params):
    del raw_params["train"]["momentum"], raw_params["run"]
    params = settings.load(write_params(raw_params))
    assert params.train.momentum == TrainParams().momentum and params.run.device == "auto"


def test_params_yaml_names_every_parameter(raw_params, params):
    def keys(values, section=""):
        for key, value in values.items():
            if key != "variants":
                yield from keys(value, f"{section}{key}.") if isinstance(value, dict) else [f"{section}{key}"]

    assert list(keys(raw_params)) == list(keys(params.model_dump()))


def test_a_name_that_dvc_would_drop_is_refused(raw_params, write_params):
    raw_params["variants"][64] = {}
    with pytest.raises(UserError, match="64"):
        settings.load(write_params(raw_params))


def test_sections_that_do_not_go_together_are_said_in_one_sentence_and_may_be_a_variants_to_mend(
    raw_params, write_params
):
    raw_params["train"]["start_size"] = 0.5
    average = {"model": {"global_average_pool": True}}
    raw_params["variants"] = {"averaged": average, "baseline": {}}
    with pytest.raises(UserError, match=r"params\.yaml: variants\.baseline: train\.start_size is 0\.5.*allowed"):
        settings.load(write_params(raw_params))
    raw_params["variants"] = {"averaged": average}
    assert settings.load(write_params(raw_params)).recipes["averaged"].model.global_average_pool


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.yaml"):
        settings.load(tmp_path / "nothing.yaml")
    (tmp_path / "params.yaml").write_text("model: {filters: [1,")
    with pytest.raises(UserError, match="is not YAML"):
        settings.load(tmp_path / "params.yaml")


def test_a_rate_may_be_written_without_a_dot(raw_params, write_params):
    raw_params["train"]["learning_rate"] = "5e-3"  # what YAML 1.1 makes of 5e-3
    raw_params["data"]["test_fraction"] = "2e-1"
    params = settings.load(write_params(raw_params))
    assert params.train.learning_rate == 0.005 and params.data.test_fraction == 0.2


def test_an_override_names_only_what_it_changes(raw_params, write_params):
    raw_params["variants"]["wide"] = {"model": {"filters": 99}}
    params = settings.load(write_params(raw_params))
    network, schedule = params.recipes["wide"].model, params.recipes["wide"].train
    assert network == params.model.model_copy(update={"filters": 99})
    assert schedule == params.train


def test_epoch_variants_follow_the_baseline(raw_params, write_params):
    raw_params["train"]["epochs"] = 30
    params = settings.load(write_params(raw_params))
    assert [params.recipes[name].train.total_epochs for name in ("epochs-half", "baseline", "epochs-double")] == [
        15,
        30,
        60,
    ]


def test_filters_grow_or_are_listed(params):
    def with_filters(**values):
        return params.model.model_validate({**params.model.model_dump(), **values}).filters_per_layer

    assert with_filters(filters=32, filter_growth=2, conv_layers=4) == [32, 64, 128, 256]
    assert with_filters(filters=24, filter_growth=1.5, conv_layers=3) == [24, 36, 54]
    assert with_filters(filters=[7, 5], conv_layers=2) == [7, 5]
    assert with_filters(filters=8, filter_growth=2, conv_layers=5, pool_every=2) == [8, 8, 16, 16, 32]
    assert with_filters(filters=8, filter_growth=2, conv_layers=6, pool_every=[1, 2]) == [8, 16, 16, 32, 32, 32]


def test_small_images_need_a_network_that_averages_its_maps(raw_params, write_params):
    raw_params["variants"]["growing"] = {"train": {"start_size": 0.5}}
    with pytest.raises(UserError, match=r"variants\.growing.*start_size is 0\.5.*global_average_pool true"):
        settings.load(write_params(raw_params))
    raw_params["variants"]["growing"]["model"] = {"global_average_pool": True}
    assert settings.load(write_params(raw_params)).recipes["growing"].train.start_size == 0.5


def test_every_parameter_of_the_study_has_two_levels_beside_the_baseline(params):
    from graybox.study.variants import FACTORS

    counts = dict.fromkeys(FACTORS, 0)
    for name in params.recipes:
        if factor := params.recipes.parameter_of(name):
            counts[factor] += 1
    assert min(counts.values()) >= 2


def test_a_line_that_is_deleted_changes_nothing(raw_params):
    """The defaults are what params.yaml says."""
    variants = raw_params.pop("variants")
    defaults = settings.Params(variants=variants).model_dump(mode="json", exclude={"variants"})
    assert defaults == raw_params


@pytest.mark.parametrize(("was", "now"), [(False, 0), (True, 1)])
def test_what_residual_was_before_is_understood(raw_params, write_params, was, now):
    assert settings.load(write_params(changed(raw_params, "model.residual", was))).model.residual == now


def test_the_page_of_parameters_is_current():
    assert (ROOT / "docs/parameters.md").read_text("utf-8") == markdown(), "python -m graybox parameters writes it"


def test_every_parameter_says_what_it_is():
    def fields(section, where):
        for key, field in section.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
                yield from fields(field.annotation, f"{where}{key}.")
            elif key != "variants":
                yield f"{where}{key}", field.description

    assert [name for name, said in fields(settings.Params, "") if not said] == []
