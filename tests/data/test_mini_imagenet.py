"""mini-ImageNet's two forms behind one source, and boxes for the one that has file names."""

import numpy as np
import pytest

from graybox.data import sources
from graybox.data.sources.mini_imagenet import open as open_source
from graybox.errors import UserError
from tests.data.test_classic import csv_contents, options


def classic_folder(root):
    for name, content in csv_contents(size=(100, 90)).items():
        path = root / "classic" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root / "classic"


def brought(root, boxes: str):
    chosen = options(classic_folder(root)).model_copy(update={"boxes": str(root / "boxes.csv")})
    (root / "boxes.csv").write_text(boxes)
    facts = sources.download("mini_imagenet", chosen, root / "raw", root / "partial")
    return chosen, facts


def test_the_classic_files_take_boxes_by_name_and_the_others_have_none(tmp_path):
    chosen, facts = brought(
        tmp_path, "file,x0,y0,x1,y1\nn0100000001.jpg,10,20,60,80\nn0200000003.jpg,0,0,5,5\nnobody.jpg,0,0,5,5\n"
    )
    assert facts["boxes"]["boxes"] == 3 and "different classes" in facts["note"]
    found = open_source(chosen, tmp_path / "raw", seed=0)
    boxes = {file.split("/")[-1]: found.load(index)[1] for index, file in enumerate(found.files)}
    assert boxes["n0100000001.jpg"].tolist() == [10, 20, 60, 80]
    assert boxes["n0200000003.jpg"].tolist() == [0, 0, 5, 5]
    assert np.isnan(boxes["n0100000002.jpg"]).all()
    assert found.ignored["images without a box"] == len(found.files) - 2


def test_a_box_outside_its_image_names_its_row(tmp_path):
    chosen, _ = brought(tmp_path, "file,x0,y0,x1,y1\nn0100000001.jpg,10,20,600,80\n")
    found = open_source(chosen, tmp_path / "raw", seed=0)
    index = next(index for index, file in enumerate(found.files) if file.endswith("n0100000001.jpg"))
    with pytest.raises(UserError, match=r"boxes\.csv, line 2: the box 10, 20, 600, 80 reaches outside.*100 x 90"):
        found.load(index)


def test_the_hubs_images_have_no_names_to_match_boxes_with(tmp_path):
    chosen = options(tmp_path).model_copy(update={"path": None, "boxes": "boxes.csv"})
    with pytest.raises(UserError, match=r"sources\.mini_imagenet\.boxes is 'boxes\.csv', but the hub's.*null"):
        sources.download("mini_imagenet", chosen, tmp_path / "raw", tmp_path / "partial")
