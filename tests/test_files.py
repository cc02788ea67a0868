"""A file is whole, old or new, whatever happens while it is written."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from graybox import files
from graybox.errors import UserError


def test_a_new_file_and_its_folders_are_made(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a" / "b.txt", "é\n")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "é\n".encode()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


@pytest.mark.parametrize("stop", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_what_stops_halfway_leaves_the_old_file_alone(tmp_path: Path, stop: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old", "utf-8")
    with pytest.raises((UserError, KeyboardInterrupt)), files.replacing(path) as part:
        part.write_text("half", "utf-8")
        raise stop
    assert path.read_text("utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path: Path) -> None:
    cached, link = tmp_path / "cached", tmp_path / "link.txt"
    cached.write_text("old", "utf-8")
    link.symlink_to(cached)
    files.write_text(link, "new")
    assert (cached.read_text("utf-8"), link.read_text("utf-8"), link.is_symlink()) == ("old", "new", False)


def test_a_folder_replaces_a_full_folder_and_a_linked_one(tmp_path: Path) -> None:
    cached, folder, link = tmp_path / "cached", tmp_path / "folder", tmp_path / "link"
    for full in (cached, folder):
        full.mkdir()
        (full / "old.txt").touch()
    link.symlink_to(cached)
    for path in (folder, link):
        with files.replacing(path) as part:
            part.mkdir()
            (part / "new.txt").touch()
        assert [inner.name for inner in path.iterdir()] == ["new.txt"]
    assert [inner.name for inner in cached.iterdir()] == ["old.txt"]


def test_what_a_killed_process_left_does_not_stay(tmp_path: Path) -> None:
    (tmp_path / f"{files.PART}a").mkdir()
    with files.replacing(tmp_path / "a") as part:
        assert not part.exists()
        part.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
