"""Figures drawn in processes: what goes wrong in one of them is said."""

import os
from pathlib import Path

import pytest

from graybox.errors import UserError
from graybox.figures import album


def draws(root: Path) -> album.Drawn:
    yield "drawn.png", b"picture"


def errs(root: Path) -> album.Drawn:
    raise UserError("report/seeds.csv is missing")


def is_stopped(root: Path) -> album.Drawn:
    os._exit(9)


def test_earlier_pictures_go_and_new_ones_come(tmp_path, monkeypatch):
    old = tmp_path / "plots/figures/old.png"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    monkeypatch.setattr(album, "SUBJECTS", (draws,))
    album.draw(tmp_path)
    assert [path.name for path in old.parent.iterdir()] == ["drawn.png"]


@pytest.mark.parametrize(("fault", "told"), [(errs, "seeds.csv is missing"), (is_stopped, "was stopped; is memory")])
def test_what_goes_wrong_in_a_process_comes_through(tmp_path, monkeypatch, fault, told):
    monkeypatch.setattr(album, "SUBJECTS", (draws, fault))
    with pytest.raises(UserError, match=told):
        album.draw(tmp_path)
