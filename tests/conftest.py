"""What the tests share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from loopback import Server, served

from graybox import config
from graybox.data.images import ImageSet

ROOT = Path(__file__).parent.parent


@pytest.fixture
def raw_params() -> dict:
    """params.yaml as plain values, to be changed and written."""
    return yaml.safe_load((ROOT / "params.yaml").read_text())


@pytest.fixture
def params() -> config.Params:
    return config.load(ROOT / "params.yaml")


@pytest.fixture
def write_params(tmp_path):
    """Write values as a params.yaml and give its path."""

    def write(values: dict) -> Path:
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


@pytest.fixture
def loopback(monkeypatch) -> Iterator[Server]:
    """A web server, and no proxy before it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with served() as server:
        yield server


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The tiny study, reproduced from nothing and committed."""
    from tiny_study import new_study  # which needs this module

    made = new_study(tmp_path_factory.mktemp("study") / "graybox")
    made.ran_first = made.repro()
    made.git("add", "-A")
    made.git("commit", "-qm", "Its results")
    return made


@pytest.fixture
def clean(study, tmp_path):
    """A copy of the reproduced study, with its cache, for a test that changes it."""
    return type(study)(shutil.copytree(study.folder, tmp_path / "graybox", symlinks=True))


def image_set(count: int = 40, size: int = 16, classes: int = 4, seed: int = 0) -> ImageSet:
    """Noise in which each class has a bright patch in a corner of its own; the patch is the object box."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 120, (count, size, size, 3), dtype=np.uint8)
    labels = np.arange(count) % classes
    half = size // 2
    corners = [(0, 0), (0, half), (half, 0), (half, half)]
    boxes = np.empty((count, 4), np.float32)
    for row, label in enumerate(labels):
        y, x = corners[label]
        images[row, y : y + half, x : x + half] += np.uint8(130)
        boxes[row] = x, y, x + half, y + half
    names = tuple(f"class {label}" for label in range(classes))
    return ImageSet(images, labels, names, tuple(f"{row:03d}.png" for row in range(count)), boxes)
