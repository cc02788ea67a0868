"""README and the pages of docs/: their order and length, their links, and every command that they show.

A command is run by a test (`RUN` says which), or it is parsed here by the program that it is for.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.cli import parse_args
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps

from graybox import __main__ as command_line
from graybox import schema, settings
from tests.support.basics import ROOT
from tests.support.stages_picture import drawn, graph

README = (ROOT / "README.md").read_text("utf-8")
PAGES = ["README.md", "recipes/README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
HEADINGS = [
    "The answer", "Start", "What you get", "Which question is answered where", "Results", "Try", "Change the study",
    "How to read it", "Documentation", "Licence and data",
]  # fmt: skip

# What begins so is run, with other values: where.
RUN = {
    "python -m graybox use": "tests/command_line/test_use.py",
    "python -m graybox occlude": "tests/command_line/test_occlude.py",
    "python -m graybox parameters": "tests/test_settings.py",
    "python -m graybox repro": "tests/pipeline/test_kills.py",
}
# What begins so is not run by a test, and why; it is split into words as a shell does, no more.
NOT_RUN = {
    "python -m venv": ".ci/run makes an environment",
    "python -m tests.support.stages_picture": "it needs Graphviz; what it wrote is tested below",
    ". .venv/bin/activate": ".ci/run activates its own",
    "pip install": ".ci/run installs requirements.txt; a test has no package registry",
    "git clone": ".ci/run clones; the address is the reader's",
    "cd ": "the folder is the reader's",
    "git ": "it would change this repository; tests/pipeline uses git in copies",
    "ruff ": ".ci/run",
    "mypy": ".ci/run",
    "pytest": ".ci/run",
    "jupyter lab": "tests/test_notebook.py runs the notebook's cells without it",
    "dask ": "tests/pipeline/test_jobs.py starts Dask's scheduler and workers from Python",
    "srun ": "there is no cluster; tests/pipeline/test_jobs.py tests the job script",
    "CUDA_VISIBLE_DEVICES=": "there is no GPU",
    "mkdir ": "the folder is a notebook service's",
    "ln ": "the folder is a notebook service's",
}


def commands(page: str) -> list[str]:
    """The commands of a page's blocks and lines, without comments, one each."""
    text = (ROOT / page).read_text("utf-8")
    lines = []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        if language in ("", "sh"):
            lines += block.replace("\\\n", " ").splitlines()
    outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    inline = re.findall(r"`([^`]+)`", outside.replace("\n", " "))
    begun = r"(python -m (graybox|benchmarks)|dvc (exp|repro|metrics|plots|queue|push|pull|dag)|pytest|pip|git|ruff) \S"
    lines += [line for line in inline if re.match(begun, line) and not line.endswith("-S")]
    found = []
    for line in lines:
        words = shlex.split(line.lstrip("!%"), comments=True)
        for last, some in itertools.groupby(words, key=lambda word: word == "&&"):
            if not last:
                found.append(shlex.join(some))
    return found


COMMANDS = sorted({command for page in PAGES for command in commands(page)})


def begins(command: str, starts: dict[str, str]) -> bool:
    return any(f"{command} ".startswith(start) for start in starts)


def test_the_readme_has_at_most_150_lines_and_its_sections_in_their_order():
    assert README.count("\n") <= 150
    found = [heading.partition(" on ")[0] for heading in re.findall(r"^## (.+)$", README, re.MULTILINE)]
    assert found == HEADINGS
    one_sentence, picture = [part for part in README.split("\n\n")[1:3]]
    assert one_sentence.count("?") + one_sentence.count(".") == 1 and picture.startswith("![")
    answer = README.partition("## The answer\n\n")[2].partition("\n\n")[0]
    assert len(answer.splitlines()) == 3
    results = re.search(r"^(\| parameter .*?)\n\n", README, re.MULTILINE | re.DOTALL)[1]
    assert {row.count("|") for row in results.splitlines()} == {7}  # six columns


def test_there_are_at_most_nine_pages_and_each_begins_with_what_it_answers():
    pages = [page for page in PAGES if page.startswith("docs/")]
    assert len(pages) <= 9
    for page in pages:
        title, first = (ROOT / page).read_text("utf-8").split("\n\n")[:2]
        assert title.startswith("# ") and "\n" not in title
        assert "?" in first, page
        assert page in README, page


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_lead_somewhere(page):
    text = (ROOT / page).read_text("utf-8")
    for address in re.findall(r"\]\(([^)\s]+)\)", text):
        if address.startswith("http"):
            continue
        place, _, anchor = address.partition("#")
        target = (ROOT / page).parent / place if place else ROOT / page
        assert target.exists(), address
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in anchors, address


def test_the_picture_of_the_stages_has_the_arrows_of_dvc_yaml():
    assert drawn() == set(graph().edges), "python -m tests.support.stages_picture draws it anew"


@pytest.fixture
def params(tmp_path, monkeypatch) -> Path:
    """params.yaml in a folder of its own."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return Path("params.yaml")


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("dvc ")])
def test_a_command_of_dvc_is_one_and_sets_what_the_study_allows(command, params):
    placeholders = {"section.key=value": "model.filters=64", "train@NAME": "train@baseline"}
    words = [placeholders.get(word, word) for word in shlex.split(command)[1:]]
    options = parse_args(words)
    stages = schema.read(ROOT / "dvc.yaml")["stages"]
    for target in getattr(options, "targets", None) or []:
        assert target.partition("@")[0] in stages, target
    if changes := [word for word in getattr(options, "set_param", None) or []]:
        text = params.read_text()
        for change in get_hydra_sweeps({"params.yaml": changes}):
            params.write_text(text)
            apply_overrides(params, change["params.yaml"])
            settings.load(params)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("python -m benchmarks")])
def test_a_benchmark_takes_the_options_that_are_shown(command, monkeypatch):
    words = shlex.split(command)[2:]

    class Parsed(Exception):
        pass

    parse = argparse.ArgumentParser.parse_args

    def parsed(parser, *arguments):
        parse(parser, *arguments)
        raise Parsed

    placeholders = {"NAME": "resnet18", "PART": "training", "...": None}
    given = [placeholders.get(word, word) for word in words[1:]]
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    monkeypatch.setattr(sys, "argv", [words[0], *(word for word in given if word)])
    # Another test may have imported it, and run_module warns of what is there already.
    main = f"{words[0]}.__main__" if (ROOT / words[0].replace(".", "/")).is_dir() else words[0]
    monkeypatch.delitem(sys.modules, main, raising=False)
    with pytest.raises(Parsed):
        runpy.run_module(words[0], run_name="__main__")


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("python -m graybox repro")])
def test_the_options_of_repro_are_ours_or_dvcs(command):
    words = ["2" if word == "N" else word for word in shlex.split(command)[4:]]
    _, rest = command_line._parallel(words)
    parse_args(["repro", *rest])


def test_every_command_is_run_or_on_the_list_with_the_reason_why_not():
    parsed = dict.fromkeys(("dvc ", "python -m benchmarks"), "")
    unknown = [command for command in COMMANDS if not begins(command, RUN | NOT_RUN | parsed)]
    assert unknown == []
    assert len(COMMANDS) > 60
    unused = [start for start in RUN | NOT_RUN if not any(begins(command, {start: ""}) for command in COMMANDS)]
    assert unused == []
    for places in RUN.values():
        assert (ROOT / places).exists()


def test_the_readmes_lines_of_python_are_names_that_there_are():
    """They are run in tests/pipeline/test_pipeline.py."""
    module = importlib.import_module("graybox")
    for name in re.findall(r"graybox\.(\w+)\(", README):
        assert hasattr(module, name), name
    version = subprocess.run([sys.executable, "-c", "import graybox"], cwd=ROOT, capture_output=True, text=True)
    assert version.returncode == 0, version.stderr
