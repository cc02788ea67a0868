"""Full disks, and linked caches: what a stage leaves is whole, old or new, and DVC's cache is never written to."""

from __future__ import annotations

import hashlib

import pytest

from tests.support.tiny_study import Study, command_of


def contents(study: Study) -> dict[str, bytes]:
    """Every file of the study and its bytes, but for the code, git's and DVC's own, and Python's caches."""
    found = {}
    for path in sorted(study.folder.rglob("*")):
        name = path.relative_to(study.folder)
        if path.is_file() and name.parts[0] not in (".git", ".dvc") and "__pycache__" not in name.parts:
            found[str(name)] = path.read_bytes()
    return found


def corrupt(study: Study) -> list[str]:
    """The objects in DVC's cache whose content isn't what their names say: the MD5 of their bytes."""
    objects = [path for path in (study.folder / ".dvc/cache/files/md5").glob("??/*") if path.is_file()]
    assert len(objects) > 20
    return [
        path.name for path in objects
        if hashlib.md5(path.read_bytes()).hexdigest() != path.parent.name + path.name.removesuffix(".dir")
    ]  # fmt: skip


def stages_of(study: Study) -> list[str]:
    return [command_of(stage) for stage in study.ran_first]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_stages_run_by_hand_write_nothing_into_dvcs_cache(clean, study, kind):
    clean.dvc("config", "cache.type", kind)
    clean.dvc("checkout", "--relink")
    linked = [path for path in clean.folder.glob("data/p*/*") if path.is_symlink() or path.stat().st_nlink > 1]
    assert len(linked) >= 5  # else nothing is tested
    clean.set(data__seed=1, sources__scenes__context_bias=0.5)  # other images, and so other bytes in every file
    clean.run_stages(*stages_of(study))
    assert corrupt(clean) == []
    assert not any(path.is_symlink() for path in clean.folder.glob("data/p*/*"))
    assert len(clean.stale()) > 10


@pytest.mark.parametrize("limit", [0, pytest.param(1500, marks=pytest.mark.slow)])
def test_a_full_disk_is_one_sentence_and_leaves_every_file_as_it_was(clean, study, limit):
    pytest.importorskip("resource", reason="Windows has no limit on the size of files")
    before, stages = contents(clean), stages_of(study)
    # download removes its list of what it brought before it brings anything, so that none can be wrong. It comes last.
    stages = [stage for stage in stages if stage != "download"] + ["download"]
    ended = clean.run_stages_on_a_full_disk(limit, *stages)
    assert list(ended) == stages
    for stage, ending in ended.items():
        # A stage whose files are all smaller is done, and has made the same bytes again.
        assert (ending == "done" and limit) or "can't be written (File too large)" in ending, (stage, ending)
        assert len(ending.splitlines()) == 1
        assert ".part-" not in ending
    after = contents(clean)
    after.setdefault("data/raw/source.json", before["data/raw/source.json"])
    assert {name for name in before | after if before.get(name) != after.get(name)} == set()
