"""Who has the report can repeat the study: the address holds no secret, and the commands make these parameters."""

from __future__ import annotations

import shlex
import subprocess
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from graybox import schema
from graybox.command_line import recipes
from graybox.data.params import FolderParams, MiniImagenetParams, ScenesParams, TinyImagenetParams
from graybox.report import locations, repeat
from graybox.study.merging import merged
from tests.support.basics import ROOT


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.org/a/graybox.git", "https://example.org/a/graybox.git"),
        ("https://me:secret@example.org/a/graybox.git", "https://example.org/a/graybox.git"),
        ("https://secret@example.org:8080/a?token=secret#x", "https://example.org:8080/a"),
        ("https://me@home:secret@example.org/a", "https://example.org/a"),
        ("ssh://git:secret@example.org:22/a.git", "ssh://git@example.org:22/a.git"),
        ("git@example.org:a/graybox.git", "git@example.org:a/graybox.git"),
        ("me:secret@example.org:a", ""),
        ("/home/me/graybox", ""),
        ("file:///home/me/graybox", ""),
        ("../graybox", ""),
        ("C:/me/graybox", ""),
        ("C:\\me\\graybox", ""),
        ("https://me:pa/ss@example.org/a", ""),
        ("https://me:12/ss@example.org/a", ""),
        ("https://me:p?a/ss@example.org/a", ""),
        ("https://me:p#a/ss@example.org/a", ""),
        ("https://example.org/a?key=1@2", ""),
        ("ssh://alice@example.org/~alice/x.git", "ssh://alice@example.org/~alice/x.git"),
        ("ssh://alice:secret@example.org/x.git", "ssh://alice@example.org/x.git"),
        ("ssh://alice:se/cret@example.org/x.git", ""),
        ("ssh://example.org/x.git", "ssh://example.org/x.git"),
        ("alice@example.org:x.git", "alice@example.org:x.git"),
        ("http://localhost:3000/a/x.git", ""),
        ("http://me:secret@LOCALHOST/x.git", ""),
        ("ssh://git@127.0.0.1/x.git", ""),
        ("git@127.0.1.1:x.git", ""),
        ("localhost:x.git", ""),
        ("-oProxyCommand=x:y", ""),
        ("", ""),
    ],
)
def test_an_address_has_no_secret_and_is_none_on_this_machine(url, shown):
    assert locations.public(url) == shown


def git(folder: Path, *arguments: str) -> None:
    named = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *named, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def study(tmp_path) -> Path:
    """A repository with the parameters and recipes of this one."""
    (tmp_path / "recipes").mkdir()
    for path in [ROOT / "params.yaml", *(ROOT / "recipes").glob("*.yaml")]:
        (tmp_path / path.relative_to(ROOT)).write_bytes(path.read_bytes())
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "one")
    return tmp_path


def write(study: Path, values: dict) -> None:
    (study / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), "utf-8")


def changed(study: Path, recipe: str, *settings: str) -> dict:
    """Merge a recipe and some values into params.yaml; its values."""
    values = schema.read(study / "params.yaml")
    if recipe:
        values = merged(values, recipes.read(ROOT / f"recipes/{recipe}.yaml"))
    for one in settings:
        values = recipes.set_one(values, one)
    write(study, values)
    return values


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("", []),
        ("", ["model.filters=64", "variants.wide={model: {filters: 96}}", "variants.conv-2=null", "data.classes=5"]),
        ("mini_imagenet_33", []),
        ("mini_imagenet_33", ["train.epochs=3", "variants.baseline={}", "occlusion.other_windows=[7, 9]"]),
        ("", ["run.device=cuda:1", "run.deterministic=true", "data.classes=['1', 'true']"]),
        ("", ["sources.mini_imagenet.revision='123'"]),
        ("small", ["occlusion.second_fill=null", "train.flip=false"]),
    ],
)
def test_the_command_makes_the_same_parameters(study, recipe, settings):
    before, wanted = schema.read(study / "params.yaml"), changed(study, recipe, *settings)
    command, complete = repeat.difference(study, repeat.commit(study))
    assert complete
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "graybox", "use"][: len(words)]
    made, given = before, words[4:]
    named = [word for place, word in enumerate(given) if word != "-S" and given[place - 1 : place] != ["-S"]]
    assert named == [recipe] * bool(recipe)
    for name in named:
        made = merged(made, recipes.read(ROOT / f"recipes/{name}.yaml"))
    for one in (given[place + 1] for place, word in enumerate(given) if word == "-S"):
        made = recipes.set_one(made, one)
    assert made == wanted


def test_paths_are_not_shown_and_too_many_changes_are_left_to_the_appendix(study):
    changed(study, "", "data.source=folder", "sources.folder.path=/home/me/mugs", "report.title=Mugs")
    command, complete = repeat.difference(study, repeat.commit(study))
    assert command == "python -m graybox use -S data.source=folder -S sources.folder.path=path/to/mugs" and complete
    values = schema.read(study / "params.yaml")
    many = deepcopy(values)
    many["train"] = {key: value + 1 if type(value) in (int, float) else value for key, value in values["train"].items()}
    write(study, many)
    assert repeat.difference(study, repeat.commit(study))[1] is False


def test_no_path_of_this_machine_is_in_a_command_wherever_it_stands(study):
    values = schema.read(study / "params.yaml")
    del values["sources"]["folder"]
    write(study, values)
    git(study, "commit", "-qam", "two")
    values["sources"]["folder"] = {"path": "/home/me/mugs", "boxes": "C:\\Users\\me\\boxes.csv"}
    values["sources"]["tiny_imagenet"]["archive"] = "https://me:secret@example.org/t.zip?key=secret"
    values["model"]["weights"] = "/home/me/w.pth"
    values["variants"]["k"] = {"model": {"architecture": "resnet18", "weights": "~me/v.pth"}}
    write(study, values)
    command, complete = repeat.difference(study, repeat.commit(study))
    settings = shlex.split(command)[5::2]
    assert complete and "secret" not in command
    assert settings == [
        "sources.tiny_imagenet.archive=https://example.org/t.zip",
        'sources.folder={"path": "path/to/mugs", "boxes": "path/to/boxes.csv"}',
        "model.weights=path/to/w.pth",
        'variants.k={"model": {"architecture": "resnet18", "weights": "path/to/v.pth"}}',
    ]


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("/home/me/mugs/", "path/to/mugs"),
        ("~/mugs.zip", "path/to/mugs.zip"),
        ("~me", "path/to/images"),
        ("../../me/mugs", "path/to/mugs"),
        ("\\\\server\\me\\mugs", "path/to/mugs"),
        ("file:///home/me/mugs", "path/to/mugs"),
        ("me@example.org:mugs", "path/to/mugs"),
        ("images:old/mugs", "path/to/mugs"),
        ("http://localhost:3000/t.zip?key=secret", "path/to/t.zip"),
        ("https://me:pa/ss@example.org", "path/to/images"),
        ("https://me:secret@example.org/t.zip", "https://example.org/t.zip"),
        ("networks/w.pth", "networks/w.pth"),
        ("IMAGENET1K_V1", "IMAGENET1K_V1"),
    ],
)
def test_the_parameters_shown_name_no_place_on_this_machine(location, shown):
    for key in ("path", "archive", "boxes", "weights"):
        assert locations.masked({"a": [{"b": {key: location}}], "title": location}) == {
            "a": [{"b": {key: shown}}],
            "title": location,
        }


@pytest.mark.parametrize("change", ["key", "order", "section"])
def test_what_no_command_makes_is_left_to_the_appendix(study, change):
    values = schema.read(study / "params.yaml")
    if change == "key":  # its default is another value than the committed one
        values["sources"]["folder"]["image_size"] = 32
        write(study, values)
        git(study, "commit", "-qam", "two")
        del values["sources"]["folder"]["image_size"]
    elif change == "order":  # the first variant is the baseline
        values["variants"] = dict(reversed(values["variants"].items()))
    else:
        values["run"]["deterministic"] = True
        write(study, values)
        git(study, "commit", "-qam", "two")
        del values["run"]
    write(study, values)
    assert repeat.difference(study, repeat.commit(study)) == ("", False)


def commands(root: Path) -> tuple[str, str]:
    """The sentence above the commands, and the commands."""
    table = pd.DataFrame({"train_seconds": [1.0]})
    found = SimpleNamespace(root=root, table=table, devices=["CPU"], **vars(results("scenes", ScenesParams())))
    first, code, _ = repeat.section(found).blocks
    return "".join(run if isinstance(run, str) else run.text for run in first.text), code.text


def test_the_commands_promise_only_what_they_do(study):
    assert commands(study)[0] == "In a copy of the repository, these commands repeat it."
    git(study, "remote", "add", "origin", "https://example.org/a/x;y")
    git(study, "remote", "add", "other", "https://example.org/b/x")
    git(study, "update-ref", "refs/remotes/other/main", "HEAD")
    found = repeat.commit(study)
    assert commands(study)[0] == f"These commands do not repeat it before commit {found} is pushed."
    git(study, "update-ref", "refs/remotes/origin/main", "HEAD")
    changed(study, "", "model.filters=64")  # which the commands make
    first, code = commands(study)
    assert first == "These commands repeat it."
    assert code.splitlines()[:2] == ["git clone 'https://example.org/a/x;y' study && cd study", f"git checkout {found}"]
    (study / "graybox").mkdir()
    (study / "graybox/new.py").write_text("", "utf-8")
    assert "do not repeat it exactly, because its code has changes" in commands(study)[0]


def test_a_study_may_lie_in_a_folder_of_its_repository(study):
    folder = study / "my study"
    folder.mkdir()
    git(study, "mv", "params.yaml", "recipes", "my study/")
    git(study, "commit", "-qm", "two")
    git(study, "remote", "add", "origin", "https://example.org/a/x")
    git(study, "update-ref", "refs/remotes/origin/main", "HEAD")
    changed(folder, "", "model.filters=64")
    assert repeat.changed_files(folder) == ["params.yaml"]
    first, code = commands(folder)
    assert first == "These commands repeat it."
    assert f"git checkout {repeat.commit(folder)} && cd 'my study/'" in code.splitlines()
    assert "python -m graybox use -S model.filters=64" in code.splitlines()
    outside = study / "new"
    outside.mkdir()
    first, code = commands(outside)
    assert first == "The study has no commit, so these commands repeat it only in a copy of its folder."
    assert "git" not in code


def test_the_code_is_named_with_its_address_and_its_changes(study, tmp_path_factory):
    assert repeat.address(study) == ""
    git(study, "remote", "add", "origin", "https://me:secret@example.org/a/graybox")
    where = repeat.address(study)
    assert where == "https://example.org/a/graybox"
    found = repeat.commit(study)
    said = repeat.code(study, found, where)
    assert said == f"commit {found} of {where}. It was not pushed there when this report was written."
    git(study, "update-ref", "refs/remotes/origin/main", "HEAD")
    changed(study, "", "model.filters=64")
    assert repeat.code(study, found, where) == f"commit {found} of {where}, with changes in params.yaml."
    outside = tmp_path_factory.mktemp("none")
    assert repeat.commit(outside) == "" and repeat.code(outside, "", "") == "not in a git repository."


def results(source: str, origin: object, **brought: object) -> SimpleNamespace:
    return SimpleNamespace(source=source, origin=origin, brought=brought, data={"images": 1200})


def test_where_the_images_come_from_is_said_of_each_kind_of_source():
    drawn = repeat._data(results("scenes", ScenesParams()))
    assert drawn.startswith("drawn scenes, 1,200 images, drawn from the seed in params.yaml: nothing is downloaded.")
    hub = repeat._data(results("mini_imagenet", MiniImagenetParams(), archive="a/b at 12", bytes=7_400_000_000))
    assert "dvc repro downloads them from the Hugging Face hub (a/b at 12, 7.4 GB)" in hub
    own = MiniImagenetParams(path="/home/me/mini.zip", boxes="/home/me/boxes.csv")
    facts = {"archive": "mini.zip", "bytes": 5_000_000, "sha256": "ab", "boxes": {"from": own.boxes, "boxes": 9}}
    said = repeat._data(results("mini_imagenet", own, **facts))
    assert "own copy, mini.zip (5 MB, SHA-256 ab). Set sources.mini_imagenet.path to yours." in said
    assert "9 object boxes come from boxes.csv (sources.mini_imagenet.boxes)" in said and "/home" not in said
    web = repeat._data(results("tiny_imagenet", TinyImagenetParams(archive="http://a:b@example.org/t.zip"), bytes=1e6))
    assert "from http://example.org/t.zip (1 MB)" in web
    alias = repeat._data(results("folder", FolderParams(path="images:old/mugs", boxes="h:a/b.csv"), bytes=1e6))
    assert "own copy, mugs (1 MB)" in alias
    folder = FolderParams(path="/home/me/mugs/")
    said = repeat._data(results("folder", folder, folder="/home/me/mugs", bytes=1e6, sha256="of times"))
    assert "own copy, mugs (1 MB). Set sources.folder.path to yours." in said and "of times" not in said
