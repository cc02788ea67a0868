"""`python -m graybox use`: every recipe and every command of the docs works, and a refused one does nothing."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from graybox import files, schema, settings
from graybox.__main__ import main
from graybox.command_line import recipes
from graybox.command_line import use as command
from graybox.errors import UserError
from graybox.network.sizes import check_fits, multiply_accumulates
from tests.support.basics import ROOT

NAMES = [path.stem for path in sorted((ROOT / "recipes").glob("*.yaml"))]
KINDS = ("Study", "Network", "Change")
PAGES = ["README.md", "recipes/README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]


@pytest.fixture
def params(tmp_path, monkeypatch) -> Path:
    """params.yaml in a folder of its own with the recipes; the current folder is that one."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / ".dvc").mkdir()
    monkeypatch.chdir(tmp_path)
    return Path("params.yaml")


def use(line: str) -> None:
    main("use", *shlex.split(line))


def leaves(values: dict, above: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in values.items():
        found |= leaves(value, f"{above}{key}.") if isinstance(value, dict) and value else {f"{above}{key}": value}
    return found


def header(name: str) -> list[str]:
    lines = (ROOT / f"recipes/{name}.yaml").read_text("utf-8").splitlines()
    return lines[: lines.index("")]


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_makes_a_study_that_can_run_and_changes_its_own_keys_only(name, params, capsys):
    if header(name)[0].startswith("# Network"):
        use("tiny_imagenet_25")  # the scenes are too small for some
    before, text = schema.read(params), params.read_text()
    use(name)
    now, recipe = schema.read(params), schema.read(f"recipes/{name}.yaml")
    checked = settings.load(params)
    for found in checked.recipes.values():
        check_fits(found.model, found.train, checked.image_size)
    variants, others = now.pop("variants"), before.pop("variants")
    theirs = recipe.pop("variants", {})
    assert leaves(now) == leaves(before) | leaves(recipe)
    kept = {} if "*" in theirs else others
    theirs.pop("*", None)
    assert variants == {key: value for key, value in (kept | theirs).items() if value is not None}
    assert [key for key in variants if key in kept] == [key for key in kept if key in variants]
    said = capsys.readouterr().out
    assert ("--- params.yaml before" if name != "scenes" else "params.yaml is so already") in said
    use("scenes" if name == "scenes" else "--undo")  # which changed nothing
    assert params.read_text() == text


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_begins_with_what_it_is_what_was_measured_and_a_command_that_works(name, params):
    first, *rest = header(name)
    assert re.fullmatch(rf"# ({'|'.join(KINDS)}): .{{20,90}}", first) and all(line.startswith("#") for line in rest)
    assert sum(line.startswith("# Measured") for line in rest) == 1
    kind, kept = first[2:].partition(":")[0], schema.read(f"recipes/{name}.yaml")
    assert (kind == "Study") == ("source" in kept.get("data", {}))
    assert (kind == "Network") == (list(kept) == ["variants"] == list(kept) and list(kept["variants"]) == [name])
    commands = [line.removeprefix("#   ") for line in rest if line.startswith("#   ")]
    used, reproduced = commands
    assert used.startswith("python -m graybox use ") and name in shlex.split(used)
    use(used.removeprefix("python -m graybox use "))
    stage = reproduced.removeprefix("dvc repro").strip()
    assert reproduced.startswith("dvc repro") and (not stage or stage.removeprefix("evaluate@") == name)
    assert not stage or name in settings.load(params).variants


def test_a_study_says_all_that_chooses_images_so_that_any_can_follow_any():
    chosen = [
        values for name in NAMES if "source" in (values := recipes.read(ROOT / f"recipes/{name}.yaml")).get("data", {})
    ]
    # A study that takes all variants away is one of its own, which sets more; the others can follow one another.
    variants = [set(values.pop("variants")) - {"stride-3"} for values in chosen]
    keys = [set(leaves(values)) for values in chosen]
    common = [(key, named) for key, named in zip(keys, variants) if "*" not in named]
    assert len(common) > 5 and all(found == common[0] for found in common)
    assert all(common[0][0] <= found for found in keys)
    small = set(leaves(recipes.read(ROOT / "recipes/small.yaml"))) & {
        "data.classes",
        "data.images_per_class",
        "train.epochs",
    }
    assert small <= common[0][0]


def test_the_scenes_after_a_study_on_photographs_are_the_default_study(params):
    before = settings.load(params)
    use("tiny_imagenet_25")
    photographs = settings.load(params)
    assert photographs.model.filters == 32 and {"filters-16", "filters-64"} < set(photographs.variants)
    use("scenes")
    now = settings.load(params)
    assert (now.model, now.train, now.variants) == (before.model, before.train, before.variants)


def test_the_level_that_shares_filters_differently_costs_what_the_baseline_does(params):
    for name in ("scenes", "tiny_imagenet_25", "mini_imagenet_33"):
        use(name)
        found = settings.load(params)
        same, base = (found.recipes[variant].model for variant in ("filters-same", "baseline"))
        work = [multiply_accumulates(model, found.image_size, 10) for model in (same, base)]
        assert len(set(same.filters_per_layer)) == 1 and work[0] == pytest.approx(work[1], rel=0.1)


def test_the_recipes_are_listed_with_their_first_lines_and_named_in_their_folder(params, capsys):
    use("")
    listed = capsys.readouterr().out.splitlines()
    for name in NAMES:
        assert f"{name}  {header(name)[0][2:]}" in [re.sub("  +", "  ", line) for line in listed]
        assert f"`{name}`" in Path("recipes/README.md").read_text("utf-8")


def commands_of(page: str) -> list[str]:
    text = (ROOT / page).read_text("utf-8")
    blocks = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)).replace("\\\n", " ")
    found = [
        line.partition(" #")[0].strip() for line in blocks.splitlines() if line.startswith("python -m graybox use")
    ]
    return [part.strip() for line in found for part in line.split("&&")]


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_the_docs_work(page, params):
    Path("my_own.yaml").write_text("train: {epochs: 3}\n")
    names = set()
    for line in commands_of(page):
        if line.startswith("dvc repro"):
            target = line.removeprefix("dvc repro").strip().removeprefix("evaluate@")
            assert not target or target in settings.load(params).variants
        else:
            use(line.removeprefix("python -m graybox use"))
            names |= set(NAMES) & set(shlex.split(line))
    # The README and the recipe page lead to recipes.
    assert names or page not in ("README.md", "docs/recipe.md", "recipes/README.md")


def test_later_recipes_win_and_settings_win_over_all(params):
    Path("mine.yaml").write_text("train: {epochs: 7, flip: false}\nocclusion: {images: [a.png, b.png]}\n")
    Path("yours.yml").write_text("occlusion: {images: 9}\ntrain: {epochs: 8}\n")
    use("mine.yaml ./yours.yml -S train.epochs=9 -S +variants.wide={model: {filters: 96}} -S train.epochs=10".replace(
        "+variants.wide={model: {filters: 96}}", "'+variants.wide={model: {filters: 96}}'"))  # fmt: skip
    found = settings.load(params)
    assert (found.train.epochs, found.train.flip, found.occlusion.images) == (10, False, 9)
    assert found.variants["wide"] == {"model": {"filters": 96}} and found.variants["conv-2"]
    use("yours.yml mine.yaml")
    assert settings.load(params).occlusion.images == ["a.png", "b.png"]


def test_how_to_run_what_a_recipe_adds_is_said(params, capsys):
    use("small ten")
    assert (
        "`dvc repro` runs the study with it, `dvc repro evaluate@ten` what the recipe adds alone; "
        in capsys.readouterr().out
    )
    use("--undo")
    use("small")
    assert "`dvc repro` runs the study with it; `" in capsys.readouterr().out


def test_variants_are_replaced_whole_by_recipes_and_by_key_by_settings_and_null_takes_one_away(params):
    Path("one.yaml").write_text("variants: {conv-2: {train: {epochs: 1}}, conv-3: null, not-there: null}\n")
    use("one.yaml -S variants.fc-3.model.fc_units=64 -S variants.stride-3=null")
    found = settings.load(params).variants
    assert found["conv-2"] == {"train": {"epochs": 1}}
    assert found["fc-3"] == {"model": {"fc_layers": 3, "fc_units": 64}}
    assert not {"conv-3", "stride-3", "not-there"} & set(found) and len(found) == 13


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a b/c", "a b/c"), ("C:\\photos", "C:\\photos"), ("x #1: y", "x #1: y"), ("'12'", "12"), ("null", None),
        ("2026-11-26", "2026-11-26"), ("@eaDir", "@eaDir"), ("*x", "*x"), ("http://host/a.zip", "http://host/a.zip"),
    ],
)  # fmt: skip
def test_a_path_may_have_any_letters(params, text, value):
    main("use", "-S", f"sources.mini_imagenet.path={text}")
    assert settings.load(params).sources.mini_imagenet.path == value


MISTAKES = {
    "unknown key": ("model: {filtres: 3}", "", ["bad.yaml: model.filtres is not a known key", "filters"]),
    "unknown section": ("modle: {}", "", ["bad.yaml: modle is not a known key", "model"]),
    "unknown key of a source": ("sources: {cifar10: {size: 3}}", "", ["bad.yaml: sources.cifar10.size", "image_size"]),
    "unknown key of a variant": ("variants: {x: {model: {filtres: 3}}}", "", ["bad.yaml: variants.x.model.filtres"]),
    "number for a key": ("model: {3: 4}", "", ["bad.yaml: model.3 is not a known key"]),
    "wrong value": ("model: {filters: 0}", "", ["params.yaml with bad.yaml: model.filters is 0", "from 1 to 65536"]),
    "no section": ("model: 3", "", ["bad.yaml: model is 3", "parameters"]),
    "empty section": ("model:", "", ["bad.yaml: model is null"]),
    "no variants left": ('variants: {"*": null}', "", ["variants is empty"]),
    "list of variants": ("variants: [ten]", "", ["bad.yaml: variants is ['ten']"]),
    "all to something": ('variants: {"*": {}}', "", ["variants.* is not a usable name"]),
    "does not fit": ("model: {conv_layers: 6}", "", ["with bad.yaml: variants.baseline", "48 x 48"]),
    "does not fit the image": ("occlusion: {window: 41}", "cifar10", ["recipes/cifar10.yaml: occlusion.window is 41"]),
    "empty": ("# nothing\n", "", ["bad.yaml should hold sections"]),
    "no YAML": ("model: {", "", ["bad.yaml is not YAML"]),
    "same key twice": ("model: {}\nmodel: {}", "", ["duplicate key"]),
    "bombs": ("model: {filters: [&a [1, 1], &b [*a, *a], [*b, *b]]}", "", ["model.filters is"]),
    "no recipe": ("model: {}", "tenn", ["no recipe 'tenn'", "did you mean ten?", "cifar10, "]),
    "a folder": ("model: {}", "recipes", ["no recipe 'recipes'", "the path of a YAML file"]),
    "unknown key in a setting": ("model: {}", "-S model.filtres=3", ["-S model.filtres is not a known key"]),
    "wrong value in a setting": ("model: {}", "-S model.filters=0", ["with -S 'model.filters=0': model.filters is 0"]),
    "setting without a value": ("model: {}", "-S model.filters", ["-S is 'model.filters'; allowed: KEY=VALUE"]),
    "setting with an empty value": ("model: {}", "-S model.filters=", ["allowed: KEY=VALUE"]),
    "setting that removes": ("model: {}", "-S ~variants.fc-1=1", ["allowed: KEY=VALUE"]),
    "setting that is no YAML": ("model: {}", "-S model.filters=[1,", ["'[1,' is not YAML"]),
    "setting of a section": ("model: {}", "-S model=3", ["-S model is 3"]),
    "sweep": ("model: {}", "-S model.filters=1,2", ["model.filters is '1,2'"]),
    "undo of a recipe": ("model: {}", "--undo", ["--undo"]),
    "recipe after a setting": ("model: {}", "-S model.filters=3 ten", ["unrecognized arguments: ten"]),
}


@pytest.mark.parametrize(("text", "more", "told"), MISTAKES.values(), ids=MISTAKES)
def test_a_refused_use_changes_no_byte_and_says_why_in_a_sentence(params, text, more, told):
    Path("bad.yaml").write_text(text)
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    with pytest.raises(UserError) as error:
        use(f"bad.yaml {more}")
    assert all(word in str(error.value).replace("\\", "/") for word in told), error.value
    assert str(error.value).isprintable() and str(error.value).count("params.yaml: ") <= 1
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_a_wrong_params_yaml_is_named_itself_and_a_recipe_may_mend_it(params):
    text = params.read_text().replace("epochs: 8", "epochs: none")
    params.write_text(text)
    with pytest.raises(UserError, match=r"^params\.yaml: train\.epochs is 'none'"):
        use("ten")
    assert params.read_text() == text
    use("cifar10")
    assert settings.load(params).train.epochs == 6


def test_uses_are_taken_back_one_by_one(params, capsys):
    texts = [params.read_text()]
    for line in ("tiny_imagenet_25", "ten", "-S train.epochs=3", "small"):
        use(line)
        texts.append(params.read_text())
    use("ten -S train.epochs=2")  # which is so already but for the variant
    use("-S train.epochs=2")  # and this changes nothing, so there is nothing to take back
    assert "nothing is changed" in capsys.readouterr().out
    for text in reversed(texts):
        use("--undo")
        assert params.read_text() == text
    with pytest.raises(UserError, match="no use to take back"):
        use("--undo")


def test_what_was_changed_since_a_use_stays_when_it_is_taken_back(params, capsys):
    def edit() -> None:
        # What `dvc exp run -S` does: it writes null its own way. No recipe below sets this key.
        apply_overrides("params.yaml", ["train.gradient_clip=1.5"])
        params.write_text(params.read_text().replace("seeds: 1 ", "seeds: 2 ") + "# my own line\n")

    before = params.read_text()
    edit()
    edited = params.read_text()
    params.write_text(before)
    use("mini_imagenet_33 ten small")
    edit()
    use("--undo")
    assert schema.read(params) == schema.parse(edited)
    comments = [line.partition("#")[2] for line in edited.splitlines() if "#" in line]
    assert comments == [line.partition("#")[2] for line in params.read_text().splitlines() if "#" in line]
    assert "stays as it is" not in capsys.readouterr().out


def test_a_key_that_was_changed_again_stays_and_is_named(params, capsys):
    before = schema.read(params)
    use("tiny_imagenet_25 ten")
    params.write_text(params.read_text().replace("epochs: 16", "epochs: 17").replace("epochs: 30", "epochs: 31"))
    use("--undo")
    said = capsys.readouterr().out
    assert "train.epochs stays as it is: it was changed after `use tiny_imagenet_25 ten`." in said
    assert "variants.ten stays as it is" in said
    now = schema.read(params)
    assert now["variants"].pop("ten")["train"]["epochs"] == 31
    assert now == before | {"train": before["train"] | {"epochs": 17}}


def test_an_undo_that_would_leave_what_is_not_allowed_is_refused(params):
    use("mini_imagenet_100")
    edited = params.read_text().replace(
        "window: 11", "window: 61"
    )  # which 84 x 84 images have room for, and scenes not
    params.write_text(edited)
    for _ in range(2):
        with pytest.raises(UserError, match=r"params\.yaml without `use mini_imagenet_100`: occlusion\.window is 61"):
            use("--undo")
        assert params.read_text() == edited
    params.write_text(edited.replace("window: 61", "window: 13"))
    use("--undo")
    assert (settings.load(params).data.source, settings.load(params).occlusion.window) == ("scenes", 13)


def test_an_undo_of_what_git_or_a_kill_has_taken_back_changes_nothing(params, capsys, monkeypatch):
    before = params.read_bytes()
    use("ten")
    params.write_bytes(before)  # `git checkout params.yaml`
    use("--undo")
    assert params.read_bytes() == before and "`use ten` was taken back already" in capsys.readouterr().out
    write = files.write_text

    def killed(path, text):
        if Path(path) == command.PARAMS:
            raise KeyboardInterrupt
        write(path, text)

    monkeypatch.setattr(files, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        use("ten")
    monkeypatch.setattr(files, "write_text", write)
    assert params.read_bytes() == before
    use("--undo")
    assert params.read_bytes() == before and "`use ten` was taken back already" in capsys.readouterr().out
    with pytest.raises(UserError, match="no use to take back"):
        use("--undo")


def test_line_ends_and_byte_order_mark_of_windows_stay(params):
    windows = b"\xef\xbb\xbf" + params.read_bytes().replace(b"\n", b"\r\n")
    params.write_bytes(windows)
    Path("recipes/ten.yaml").write_bytes(Path("recipes/ten.yaml").read_bytes().replace(b"\n", b"\r\n"))
    use("ten small")
    now = params.read_bytes()
    assert now.startswith(b"\xef\xbb\xbf# All") and now.count(b"\n") == now.count(b"\r\n") != windows.count(b"\n")
    use("--undo")
    assert params.read_bytes() == windows


@pytest.mark.parametrize("missing", ["params.yaml", ".dvc"])
def test_elsewhere_than_in_the_study_it_is_refused(params, missing):
    shutil.move(missing, "elsewhere")
    for line in ("ten", "--undo"):
        with pytest.raises(UserError, match=f"^{re.escape(missing)} is not in this folder"):
            use(line)
    assert not Path(missing).exists()
