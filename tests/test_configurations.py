"""Whatever stands in params.yaml: one sentence about it, or a study that runs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from graybox import files, schema, settings
from graybox.data import images
from graybox.data.images import BOX_COLUMNS
from graybox.data.params import DataParams, ScenesParams
from graybox.data.prepare import prepare
from graybox.data.scenes import OBJECTS
from graybox.data.sources import generated
from graybox.errors import UserError
from graybox.network.sizes import check_fits
from tests.support.basics import ROOT, image_set
from tests.support.configurations import constraints, kinds, parameters, sections, small_studies, written

KEYS = [key for key, _ in parameters()]
SECTIONS = [name for name in settings.Params.model_fields if name != "variants"]
HUGE = "1" + "0" * 400
# What stands after the colon. Not all of it is wrong for every key.
VALUES = [
    "", "null", "true", "yes", "Off", "-1", "0", "3", "1.5", "-0.5", "1e9", "1000000000000", HUGE, f"-{HUGE}",
    ".nan", ".inf", "-.inf", "1e308", "1e-320", "1e400", "010", "0x10", "1_0", "1:30", "1e1", "2026-11-26",
    "''", "' '", "text", "'12'", "'nan'", "'٣'", r'"a\0b"', r'"a\nb"', r'"\x7f"', "x" * 5000, "é", "!!binary aGk=",
    "[]", "[1]", "[1, [2]]", "[null]", "['']", "[yes, no]", "{}", "{a: 1}", "!!set {a}", "!!omap [a: 1]", "&a [*a]",
    "[" * 8 + "1" + "]" * 8,
]  # fmt: skip
# What is no YAML, or none that can be read.
UNREADABLE = [
    "*nothing", "[1, 2", "'text", "a: b", "@x", "- 1", "? [a]", "!!python/object:os.system x", "!word x", "2026-13-45",
    "!!int x", "!!float x", "!!bool maybe", "!!timestamp x", "9" * 5000, '"\\ud800"', "\x00", "\x80", "[" * 10_000,
    "{a: " * 10_000, "- " * 50_000, "? " * 50_000, "1\nvariants: {}", "x" * 1_000_001,
]  # fmt: skip


def outcome(text: str | bytes, folder) -> settings.Params | str:
    """What the stage `settings` finds in a params.yaml: the parameters, or why not, in one sentence."""
    path = folder / "params.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    try:
        params = settings.load(path)
        for recipe in params.recipes.values():
            check_fits(recipe.model, recipe.train, params.image_size)
    except UserError as error:
        return sentence(error, path)
    return params


def sentence(error: UserError, path) -> str:
    """An error's message without the file's path, if it is one that can be printed and read."""
    message = str(error).replace(str(path), "params.yaml")
    assert message.isprintable() and message.count("params.yaml: ") <= 1 and len(message) < 700, message
    return message


@pytest.mark.parametrize("key", KEYS)
def test_any_value_of_any_key_is_refused_in_a_sentence_or_taken_as_dvc_reads_it(key, tmp_path):
    from dvc.utils.serialize import parse_yaml

    for value in VALUES:
        text = written(key, value)
        found = outcome(text, tmp_path)
        if isinstance(found, str):
            # Where two keys don't go together, both are named, without their section.
            assert key.rpartition(".")[2] in found or "of the 48 x 48 image" in found, found
            assert any(word in found for word in ("should", "allowed", "can't be read")), found
            continue
        section, name = key.rsplit(".", 1)
        theirs, ours = parse_yaml(text, "params.yaml"), found.model_dump()
        for part in section.split("."):
            theirs, ours = theirs[part], ours[part]
        # A number may be in quotes.
        assert ours[name] == (float(theirs[name]) if isinstance(ours[name], float) else theirs[name]), (value, found)


@pytest.mark.parametrize("value", UNREADABLE, ids=lambda value: ascii(value)[:20])
def test_what_is_no_yaml_is_named_in_a_sentence(value, tmp_path):
    found = outcome(written("model.filters", value), tmp_path)
    assert isinstance(found, str)
    assert any(word in found for word in ("is not YAML: ", "nested", "characters; allowed")), found


@pytest.mark.parametrize("repeated", [10, 100])
def test_aliases_of_aliases_do_not_fill_the_memory(repeated, tmp_path):
    """Nine of each in the next: 9 ** `repeated` values, if anything walks through them all."""
    bomb = "[" + ", ".join(["&a0 [x, y]", *(f"&a{n + 1} [{', '.join([f'*a{n}'] * 9)}]" for n in range(repeated))]) + "]"
    for key in ("data.classes", "model.filters", "occlusion.images", "occlusion.other_windows", "variants"):
        assert key in outcome(written(key, bomb), tmp_path)


TEXTS = {
    "empty": (b"", "should hold sections"),
    "comment": (b"# nothing\n", "should hold sections"),
    "list": (b"- 1\n", "should hold sections"),
    "text": (b"model", "should hold sections"),
    "two documents": (b"model: {}\n---\nmodel: {}\n", "another document"),
    "latin-1": ("data: {source: f\xe4cher}\n".encode("latin-1"), "not UTF-8 text (byte 17)"),
    "utf-16": ("data: {}\n".encode("utf-16"), "not UTF-8 text (byte 1)"),
    "tab": (b"model:\n\tfilters: 3\n", "line 2"),
    "same section twice": (b"model: {filters: 3}\nvariants: {baseline: {}}\nmodel: {}\n", "duplicate key \"model\""),
    "same key twice": (b"model:\n  filters: 3\n  filters: 4\n", "duplicate key \"filters\""),
    "same variant twice": (b"variants:\n  a: {}\n  a: {}\n", "duplicate key \"a\""),
    "number for a key": (b"1: 2\nvariants: {baseline: {}}\n", "1 is not a known key"),
    "null for a key": (b"model: {~: 2}\nvariants: {baseline: {}}\n", "model.None is not a known key"),
    "lines in a key": (b'"a\\nb": 2\nvariants: {baseline: {}}\n', "a b is not a known key"),
    "long key": (b"x" * 900 + b": 2\nvariants: {baseline: {}}\n", "is not a known key"),
    "no variants": (b"model: {}\n", "variants is missing"),
    "null for the variants": (b"variants:\n", "variants is null"),
    "list of variants": (b"variants: [baseline]\n", "variants is ['baseline']"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "told"), TEXTS.values(), ids=TEXTS)
def test_a_file_of_another_kind_is_a_sentence(text, told, tmp_path):
    found = outcome(text, tmp_path)
    assert isinstance(found, str) and told in found, found


def test_a_byte_order_mark_windows_lines_and_anchors_are_read(tmp_path):
    text = (ROOT / "params.yaml").read_text("utf-8")
    plain = outcome(text, tmp_path)
    assert outcome(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(), tmp_path) == plain
    anchored = "model: &m {filters: 3}\nvariants: {baseline: {}, other: {model: {<<: *m, stride: 2}}}\n"
    assert outcome(anchored, tmp_path).recipes["other"].model.filters == 3


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("value", ["null", "[]", "3", "text", "[{}]", "2026-11-26"])
def test_a_section_that_is_none_is_a_sentence_and_a_missing_one_the_defaults(section, value, tmp_path):
    found = outcome(f"{section}: {value}\nvariants: {{baseline: {{}}}}\n", tmp_path)
    assert isinstance(found, str) and f"{section} is " in found and "should hold parameters" in found
    with pytest.raises(UserError, match=section):  # as a stage reads it alone
        schema.load(settings.Params.model_fields[section].annotation, tmp_path / "params.yaml")


@pytest.mark.parametrize("key", KEYS)
def test_a_key_with_a_slip_of_one_letter_is_named_with_the_right_one(key, tmp_path):
    section, name = key.rsplit(".", 1)
    middle = len(name) // 2
    for slip in (name[:middle] + name[middle + 1 :], f"{name[:middle]}q{name[middle:]}", f"{name}s", name.upper()):
        if f"{section}.{slip}" in KEYS:
            continue
        found = outcome(written(f"{section}.{slip}", "1"), tmp_path)
        assert f"{section}.{slip} is not a known key" in found and name in found.partition("allowed: ")[2]
        if slip != name.upper() and len(name) > 4:
            assert f"did you mean {name}?" in found


BOMBS = {
    "model.filters": ["1000000000", "65536", "[65536, 65536, 1, 1]"],
    "model.filter_growth": ["16"],
    "model.conv_layers": ["1000000000"],
    "model.kernel_size": ["1000000001"],
    "model.fc_layers": ["1000000000"],
    "model.fc_units": ["1000000000"],
    "train.epochs": ["1000000000000"],
    "train.epochs_factor": ["1e12"],
    "train.batch_size": ["1000000000"],
    "train.seeds": ["1000000000"],
    "train.shift": ["1000000000"],
    "data.images_per_class": ["1000000000000"],
    "sources.scenes.image_size": ["1000000"],
    "sources.scenes.train_per_class": ["1000000000"],
    "sources.scenes.test_per_class": ["1000000000"],
    "sources.folder.image_size": ["1000000"],
    "evaluate.shift": ["1000000000", "48"],
    "occlusion.window": ["1000000001", "49"],
    "occlusion.other_windows": ["[49]", str([3] * 1000)],
    "correspondence.random_draws": ["1000000000"],
}  # fmt: skip


@pytest.mark.parametrize("key", BOMBS)
def test_what_would_fill_the_memory_or_never_end_is_refused(key, tmp_path):
    for value in BOMBS[key]:
        found = outcome(written(key, value), tmp_path)
        assert isinstance(found, str) and key.rpartition(".")[2] in found, (key, value)


def test_sizes_that_are_too_large_together_are_refused(tmp_path):
    wide = "model: {conv_layers: 2, filters: 4000, filter_growth: 1, kernel_size: 9}\nvariants: {baseline: {}}\n"
    assert "1,296,980,000 weights; allowed: at most 1,000,000,000" in outcome(
        wide.replace("kernel", "fc_layers: 1, max_pool: 40, pool_every: 2, kernel"), tmp_path
    )
    large = "data: {source: folder}\nsources: {folder: {image_size: 1024}}\nvariants: {baseline: {}}\n"
    assert "fewer filters" in outcome(f"model: {{filters: 512, filter_growth: 1, max_pool: null}}\n{large}", tmp_path)
    long = "train: {epochs: 100000, epochs_factor: 2}\nvariants: {baseline: {}}\n"
    assert "train.epochs times train.epochs_factor is 200,000 epochs" in outcome(long, tmp_path)
    last = "train: {epochs: 100000, epochs_factor: 1}\nvariants: {baseline: {}}\n"
    assert not isinstance(outcome(last, tmp_path), str)


# A rate that is too large makes training diverge, which training itself finds; a late checkpoint is none.
UNBOUNDED = {
    "train.learning_rate", "train.muon_learning_rate", "train.weight_decay", "train.muon_weight_decay",
    "train.gradient_clip", "run.checkpoint_seconds",
}  # fmt: skip


def test_every_number_has_a_least_and_a_greatest_value(tmp_path):
    for key, field in parameters():
        if {int, float} & kinds(field) - {bool} and bool not in kinds(field):
            most = "1e300" if float in kinds(field) else HUGE
            low, high = outcome(written(key, f"-{most}"), tmp_path), outcome(written(key, most), tmp_path)
            assert isinstance(low, str), f"{key} has no least value"
            assert isinstance(high, str) or key in UNBOUNDED, f"{key} has no greatest value"
            assert constraints(field).keys() & {"ge", "gt"} or list in kinds(field)


NAMES = {
    "1st": "not a usable name", "a.b": "not a usable name", "a/b": "not a usable name", "'..'": "not a usable name",
    "''": "not a usable name", "ä": "not a usable name", "a b": "not a usable name", '"a\\nb"': "not a usable name",
    "a" * 65: "not a usable name", "a$b": "not a usable name", "-a": "not a usable name", "64": "name in quotes",
    "~": "name in quotes", "true": "name in quotes", "1e3": "name in quotes",
    "combined": "taken", "Combined": "taken", "con": "a device in Windows", "Nul": "a device in Windows",
    "lpt1": "a device in Windows",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_variants_name_that_breaks_a_file_is_refused(name, tmp_path):
    found = outcome(f"variants:\n  baseline: {{}}\n  {name}: {{}}\n", tmp_path)
    assert isinstance(found, str) and NAMES[name] in found


def test_names_that_some_systems_take_for_the_same_are_refused(tmp_path):
    found = outcome("variants: {wide: {}, Wide: {model: {filters: 3}}}\n", tmp_path)
    assert "variants.wide and variants.Wide differ by upper and lower case alone" in found


@pytest.mark.parametrize("name", ["no", "off", "a", "x" * 64, "A-1_b", "baseline2"])
def test_other_names_are_taken(name, tmp_path):
    assert list(outcome(f"variants: {{{name}: {{}}}}\n", tmp_path).recipes) == [name]


OVERRIDES = {
    "[]": "variants.v is []", "3": "variants.v is 3", "[model]": "variants.v is ['model']",
    "{model: []}": "variants.v.model is []", "{train: null}": "variants.v.train is null",
    "{occlusion: {window: 3}}": "variants.v.occlusion is not a known key; allowed: model, train",
    "{1: {}}": "variants.v.1 is not a known key", "{model: {1: 2}}": "variants.v.model.1 is not a known key",
    "{model: {filters: [8]}}": "filters lists 1 layers", "{model: {filters: {a: 1}}}": "variants.v.model.filters is ",
    "{model: {filtres: 8}}": "did you mean filters?", "{train: {epochs: .nan}}": "variants.v.train.epochs is nan",
    "{train: {epochs: 100000, epochs_factor: 9}}": "at most 100,000",
    "{model: {fc_units: 65536, fc_layers: 3}}": "weights; allowed: at most",
}  # fmt: skip


@pytest.mark.parametrize("overrides", OVERRIDES)
def test_an_override_that_is_not_allowed_is_named(overrides, tmp_path):
    found = outcome(f"variants: {{baseline: {{}}, v: {overrides}}}\n", tmp_path)
    assert isinstance(found, str) and OVERRIDES[overrides] in found, found


def test_two_hundred_variants_are_taken_and_a_thousand_and_one_are_not(tmp_path):
    def many(count):
        return outcome("variants:\n" + "".join(f"  v{n}: {{train: {{seed: {n}}}}}\n" for n in range(count)), tmp_path)

    assert len(many(200).recipes) == 200
    assert many(1_001) == "params.yaml: variants names 1,001; allowed: at most 1,000"


@pytest.mark.parametrize("text", ["model: {filters: 3}\nmodel: {}\n", "data: {seed: 2026-13-45}\n", "[" * 30_000])
def test_the_stage_ends_with_one_line_and_a_code(text, tmp_path):
    (tmp_path / "params.yaml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "stages.settings"], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: params.yaml") and done.stderr.count("\n") == 1


SCRAPS = ["\t", "\n", "  ", ":", ": ", "- ", "[", "]", "{", "}", "*a", "&a ", "<<: ", "!!", "'", '"', "#", "|", ">",
          "~", "1e5", "010", "yes", "\x00", "\ufeff", "\u2028", "%YAML 1.1\n", "---\n", "? ", ",", "ä"]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """params.yaml with up to four places cut out, doubled, or filled with something."""
    text = (ROOT / "params.yaml").read_bytes()
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        scrap = draw(
            st.one_of(st.sampled_from(SCRAPS).map(str.encode), st.binary(max_size=4), st.just(text[start:end]))
        )
        text = text[:start] + scrap + text[draw(st.sampled_from([start, end])) :]
    return text


def test_a_damaged_file_is_refused_in_a_sentence_or_read_as_dvc_reads_it(tmp_path):
    from dvc.utils.serialize import parse_yaml

    @hypothesis(max_examples=120, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(damaged())
    def holds(text: bytes) -> None:
        if not isinstance(outcome(text, tmp_path), str):
            path = tmp_path / "params.yaml"
            assert schema.read(path) == parse_yaml(text.decode(), "params.yaml")

    holds()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Prepared folders with 3 classes by their image size; each is made when it is first asked for."""
    made: dict[int, Path] = {}

    def of_size(size: int) -> Path:
        if size not in made:
            made[size] = folder = tmp_path_factory.mktemp("prepared")
            found = image_set(count=36, size=size, classes=3)
            found.boxes[-1] = np.nan
            np.save(folder / "images.npy", found.images)
            splits = np.repeat(["train", "validation", "test"], [12, 6, 18])
            table = pd.DataFrame({"split": splits, "row": np.arange(36), "label": found.labels})
            table["class"], table["file"] = [found.class_names[label] for label in found.labels], found.files
            table[BOX_COLUMNS] = found.boxes
            images.save_table(folder, table, list(found.class_names))
        return made[size]

    return of_size


def run_stages(folder: Path, corresponds: bool) -> str:
    """The stages that train, score, occlude and explain the baseline, in this process; why the first one refuses.

    Args:
        corresponds: whether to run stage correspondence, too, which takes as long as all others.
    """
    from stages import correspondence, evaluate, mistakes, occlude, reliance, train
    from stages import settings as checked

    with contextlib.chdir(folder):
        try:
            checked.main()
        except UserError as error:
            return sentence(error, "params.yaml")
        train.main("baseline")
        evaluate.main("baseline")
        shutil.copyfile("data/predictions/baseline.npz", "data/predictions/other.npz")
        shutil.copyfile("data/predictions/baseline.npz", "data/combined.npz")
        scored = np.load("data/predictions/baseline.npz")
        seed = int(scored["seeds"][scored["diverged"].argmin()])  # the first that did not diverge, if there is one
        shutil.copyfile(f"models/variants/baseline/seed-{seed}.safetensors", "models/best.safetensors")
        files.write_text("report/best.json", json.dumps({"variant": "baseline", "seed": seed}))
        reliance.main()
        if not scored["diverged"].all():  # a study explains no such network
            mistakes.main()
        occlude.main()
        if corresponds:
            correspondence.main()
        assert len(pd.read_csv("report/occlusion.csv")) == 1
        drawn = np.load("data/occlusion.npz")
        assert all(np.isfinite(drawn[name]).all() for name in drawn.files if drawn[name].dtype.kind == "f")
    return ""


@st.composite
def data_sections(draw: st.DrawFn) -> dict[str, Any]:
    """The section `data` for the generated scenes of 3 classes, of which it may ask for a fourth."""
    found = draw(sections("data"))["data"]
    names = st.sampled_from([[0, 1], [2, 0], [0, 1, 2], [1, 1, 2]]).map(lambda rows: [OBJECTS[row] for row in rows])
    found["classes"] = draw(st.one_of(st.none(), st.integers(2, 4), names))
    found["source"] = "scenes"
    return found


@pytest.mark.proof(100)
def test_what_the_settings_allow_of_the_images_is_prepared_or_refused_in_a_sentence(cases, tmp_path):
    made = []

    @hypothesis(max_examples=len(cases), phases=[Phase.generate], deadline=None, derandomize=True, database=None,
                suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(data_sections(), st.booleans())
    def holds(values: dict, carved: bool) -> None:
        data = DataParams(**values)
        options = ScenesParams(image_size=32, classes=3, train_per_class=6, test_per_class=2)
        catalogue = generated.open(options, tmp_path, data.seed)
        if carved:
            catalogue = replace(catalogue, splits=[None] * len(catalogue.files))
        try:
            table = prepare(catalogue, data, 32, tmp_path / "prepared", workers=1).table
        except UserError as error:
            message = sentence(error, "params.yaml")
            assert message.startswith("data.classes is 4") or "at least 1 is needed in each split" in message
        else:
            made.append(table)
            assert table.groupby(["split", "label"]).ngroups == 3 * table["label"].nunique()

    holds()
    assert len(made) > len(cases) / 4


@pytest.mark.proof(1000)
def test_what_the_settings_allow_trains_and_occludes(cases, prepared, tmp_path):
    refused = []

    @hypothesis(max_examples=len(cases), phases=[Phase.generate], deadline=None, derandomize=True, database=None,
                suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(small_studies(), st.sampled_from([False, False, False, True]))
    def holds(values: dict, corresponds: bool) -> None:
        folder = tmp_path / "study"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(prepared(values["sources"]["folder"]["image_size"]), folder / "data/prepared")
        (folder / "params.yaml").write_text(yaml.safe_dump(values))
        if why := run_stages(folder, corresponds):
            refused.append(why)

    holds()
    assert len(refused) < len(cases) / 2, "the drawn studies are too often none"
    known = ("which leaves nothing of the", "is given only")
    assert all(any(words in why for words in known) for why in refused), set(refused)
