"""What one has computed another takes: `dvc push` to a folder, then `dvc pull` or `dvc repro --pull` in a clone."""

from __future__ import annotations

import json
from pathlib import Path

from graybox.data import images
from graybox.network import cnn
from tests.support.tiny_study import Study, stages_run


def test_what_is_pushed_opens_in_a_clone_and_nothing_runs_there(clean):
    around = clean.folder.parent
    clean.dvc("remote", "add", "--default", "shared", str(around / "shared"))
    clean.dvc("push")
    clean.git("commit", "-qam", "A folder to share results")
    pulling, reproducing = Study(around / "pulling"), Study(around / "reproducing")
    for theirs in (pulling, reproducing):
        clean.git("clone", "-q", ".", str(theirs.folder))

    pulling.dvc("pull")
    assert all_weights(pulling) == all_weights(clean) != {}
    assert cnn.load(pulling.folder / "models/best.safetensors", "cpu").class_names
    assert len(images.load(pulling.folder / "data/prepared", "test")) > 0
    assert json.loads(pulling.dvc("metrics", "show", "--json")) == json.loads(clean.dvc("metrics", "show", "--json"))
    page = Path(pulling.dvc("plots", "show").strip().rpartition("file://")[2]).read_text("utf-8")
    assert "occlusion.gif" in page and "validation_accuracy" in page
    assert pulling.stale() == set()

    said = reproducing.dvc("repro", "--pull")
    assert stages_run(said) == [] and "up to date" in said
    assert all_weights(reproducing) == all_weights(clean)


def all_weights(study: Study) -> dict[str, bytes]:
    """All that DVC keeps; models/kept is each machine's own."""
    files = [path for path in study.folder.glob("models/**/*.safetensors") if path.parent.name != "kept"]
    return {str(path.relative_to(study.folder)): path.read_bytes() for path in files}
