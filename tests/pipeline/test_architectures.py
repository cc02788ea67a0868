"""The real dvc on a tiny study with other networks than the parametric CNN: every stage works with each as the best."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import yaml

from graybox.network import architectures, cnn
from tests.support.basics import ROOT
from tests.support.tiny_study import TINY, Study, stages_run

pytestmark = pytest.mark.slow

# With maps, but with another activation than ReLU; and without maps, as a vision transformer.
MINE = """
from torch import nn

from networks.parts import layer


def smooth(classes):
    return nn.Sequential(layer(), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, classes))


class Tokens(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.patches, self.mix = nn.Conv2d(3, 8, 4, 4), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.scores = nn.Linear(8, classes)

    def forward(self, x):
        return self.scores(self.mix(self.patches(x).flatten(2).transpose(1, 2)).mean(1))
"""
PARTS = """
from torch import nn


def layer():
    return nn.Conv2d(3, 6, 3)
"""
VARIANTS = {
    "baseline": {},
    "shuffle": {"model": {"architecture": "shufflenet_v2_x0_5"}},
    "known": {"model": {"architecture": "shufflenet_v2_x0_5", "weights": "networks/known.pth"}},
    "smooth": {"model": {"architecture": "networks.mine:smooth"}},
    "tokens": {"model": {"architecture": "networks.mine:Tokens"}},
}
LATER = ("reliance", "mistakes", "occlude", "correspondence", "figures", "report")
LACKS = {"smooth": "other activations than ReLU", "tokens": "no last maps"}


@pytest.fixture(scope="module")
def networks(study, tmp_path_factory) -> Study:
    """The study with these variants, reproduced up to the choice of the best; its pictures and baseline are there."""
    folder = tmp_path_factory.mktemp("networks") / "graybox"
    made = Study(shutil.copytree(study.folder, folder, symlinks=True))
    made.set(variants=VARIANTS)
    (folder / "networks/mine.py").write_text(MINE)
    (folder / "networks/parts.py").write_text(PARTS)
    torch.manual_seed(0)
    torch.save(
        architectures.torchvision_network("shufflenet_v2_x0_5", 32, 9).state_dict(), folder / "networks/known.pth"
    )
    ran = stages_run(made.dvc("repro", "select_best"))
    assert {stage for stage in ran if stage.startswith("train@")} == {f"train@{name}" for name in [*VARIANTS][1:]}
    return made


@pytest.fixture
def copied(networks, tmp_path) -> Study:
    return Study(shutil.copytree(networks.folder, tmp_path / "graybox", symlinks=True))


def test_the_table_has_each_network_with_its_weights_and_work(networks):
    rows = {name: json.loads((networks.folder / f"data/scores/{name}.json").read_text()) for name in VARIANTS}
    shuffle = cnn.load(networks.folder / "models/variants/shuffle/seed-0.safetensors")
    assert rows["shuffle"]["parameters"] == shuffle.parameter_count
    assert rows["shuffle"]["macs"] == rows["known"]["macs"] == shuffle.multiply_accumulates > 0
    text = (networks.folder / "report/comparison.md").read_text()
    assert "networks.mine:Tokens" in text and "shufflenet_v2_x0_5, from networks/known.pth" in text
    assert "never chosen as the best (select.pretrained): known from networks/known.pth." in text
    assert json.loads((networks.folder / "report/best.json").read_text())["variant"] != "known"
    combined = yaml.safe_load((networks.folder / "data/combined.yaml").read_text())["model"]
    assert "architecture" not in combined and "filters" in combined


@pytest.mark.parametrize("name", ["shuffle", "smooth", "tokens"])
def test_every_later_stage_works_with_it_as_the_best_and_says_what_it_lacks(name, networks, copied):
    best = copied.folder / "report/best.json"
    best.write_text(json.dumps(json.loads(best.read_text()) | {"variant": name, "seed": 0}))
    model = copied.folder / "models/best.safetensors"
    model.unlink()  # a link into the cache, maybe
    shutil.copyfile(copied.folder / f"models/variants/{name}/seed-0.safetensors", model)
    copied.run_stages(*LATER)
    page = (copied.folder / "report/index.html").read_text()
    assert "Not trained from random weights" in page and "networks/known.pth" in page
    for other, lack in LACKS.items():
        assert (lack in page) == (other == name)
    assert ("Correspondence is not measured: this network has no last maps" in page) == (name == "tokens")
    panels = list((copied.folder / "plots/figures/occlusion").glob("*.png"))
    assert len(panels) == TINY["occlusion.images"]


def test_an_edit_of_the_users_code_or_weights_trains_what_is_made_of_it_alone(copied):
    def stale() -> set[str]:
        """The networks that are to be trained, once the settings are written anew."""
        copied.run_stages("settings")
        return {stage for stage in copied.stale() if stage.startswith("train")}

    folder = copied.folder / "networks"
    assert copied.stale() <= set(LATER)
    assert stages_run(copied.dvc("repro", "select_best")) == []
    (folder / "parts.py").write_text(PARTS + "# changed\n")
    assert "settings" in copied.stale()
    assert stale() == {"train@smooth", "train@tokens"}
    (folder / "parts.py").write_text(PARTS)
    assert stale() == set()
    (folder / "example.py").write_text((ROOT / "networks/example.py").read_text() + "# changed\n")
    assert stale() == set()
    torch.save(architectures.torchvision_network("shufflenet_v2_x0_5", 32, 9).state_dict(), folder / "known.pth")
    assert stale() == {"train@known"}
    copied.set(model__filters=5)
    assert stale() == {"train@known", "train@baseline"}


def test_a_network_that_does_not_fit_stops_the_study_before_any_work(copied):
    copied.set(variants__small={"model": {"architecture": "networks.mine:absent"}})
    said = copied.dvc("repro", "settings", fails=True)
    assert "params.yaml: variants.small: networks.mine:absent: networks.mine has no function absent" in said
