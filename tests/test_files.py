"""A file is whole, old or new, whatever happens while it is written."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pandas as pd
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
    (tmp_path / f"{files.PART}old-a").mkdir()  # it was killed between the two renamings of a folder
    with files.replacing(tmp_path / "a") as part:
        assert not part.exists()
        part.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_files_of_a_set_come_together_and_others_stay(tmp_path: Path) -> None:
    for name in ("images.npy", "table.csv", "mine.txt"):
        (tmp_path / name).write_text("old", "utf-8")
    with files.filling(tmp_path, last="table.csv") as part:
        for name in ("table.csv", "images.npy", "new.txt"):
            (part / name).write_text("new", "utf-8")
    found = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    assert found == {"images.npy": "new", "table.csv": "new", "new.txt": "new", "mine.txt": "old"}


def test_a_set_that_is_stopped_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("old", "utf-8")
    with pytest.raises(KeyboardInterrupt), files.filling(tmp_path, last="table.csv") as part:
        (part / "table.csv").write_text("new", "utf-8")
        raise KeyboardInterrupt
    assert [(path.name, path.read_text("utf-8")) for path in tmp_path.iterdir()] == [("table.csv", "old")]


def test_a_set_that_is_stopped_between_two_files_is_not_taken_for_whole(tmp_path: Path, monkeypatch) -> None:
    for name in ("images.npy", "table.csv"):
        (tmp_path / name).write_text("old", "utf-8")

    def stopped(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), files.filling(tmp_path, last="table.csv") as part:
        for name in ("images.npy", "table.csv"):
            (part / name).write_text("new", "utf-8")
        monkeypatch.setattr("os.replace", stopped)
    assert not (tmp_path / "table.csv").exists()


def test_the_sentence_names_the_file_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "report").touch()
    for write in (
        lambda path: files.write_text(path, ""),
        lambda path: files.write_json(path, {}),
        lambda path: files.write_table(path, pd.DataFrame()),
        lambda path: files.write_arrays(path, a=np.ones(1)),
        lambda path: files.copy(tmp_path / "report", path),
    ):
        with pytest.raises(UserError, match=r"^.*report.best\.json can't be written \("):
            write(tmp_path / "report/best.json")


def test_the_sentence_names_a_file_in_a_folder_by_its_place_at_the_end(tmp_path: Path) -> None:
    told = pytest.raises(UserError, match=r"settings.baseline\.yaml can't be written")
    with told as caught, files.replacing(tmp_path / "settings") as folder:
        folder.write_text("a file, not a folder", "utf-8")
        files.write_text(folder / "baseline.yaml", "")
    assert files.PART not in str(caught.value)


def test_an_error_of_reading_is_not_said_of_the_file_that_is_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.bin"):
        files.copy(tmp_path / "nowhere.bin", tmp_path / "copy.bin")
    assert list(tmp_path.iterdir()) == []


def test_lines_end_alike_on_every_system(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("os.linesep", "\r\n")
    files.write_text(tmp_path / "a.txt", "é\n")
    files.write_json(tmp_path / "a.json", {"é": 1})
    files.write_table(tmp_path / "a.csv", pd.DataFrame({"é": ["猫"]}))
    assert (tmp_path / "a.txt").read_bytes() == "é\n".encode()
    assert (tmp_path / "a.json").read_bytes() == '{\n "é": 1\n}\n'.encode()
    assert (tmp_path / "a.csv").read_bytes() == "é\n猫\n".encode()


def test_arrays_come_back_and_give_the_same_bytes(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6).reshape(2, 3), "b": np.array("text")}
    for name in ("one.npz", "two.npz"):
        files.write_arrays(tmp_path / name, **arrays)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz") as found:
        assert found["a"].tolist() == arrays["a"].tolist() and str(found["b"]) == "text"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_json_that_can_not_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json can't be read \(it is not JSON\); run `dvc repro`"):
        files.read_json(tmp_path / "a.json")
