"""The viewer's bytes are the probabilities that the network gave."""

from __future__ import annotations

import base64
import shutil
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from graybox.occlusion import confidence, maps
from graybox.report import viewer
from tests.support.basics import ROOT

PAGE = """
const folds = [true, false].map((open) => ({ open })), dialog = { addEventListener() {} }, on = {};
globalThis.addEventListener = (name, what) => { on[name] = what; };
globalThis.document = {
  querySelector: () => dialog,
  querySelectorAll: (which) =>
    which.startsWith("details") ? folds.filter((one) => which === "details" || !one.open) : [],
};
{
%s
}
for (const turn of [1, 2]) {
  on.beforeprint();
  console.log(folds.map((one) => one.open).join(" "));
  on.afterprint();
  console.log(folds.map((one) => one.open).join(" "));
}
"""


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")
def test_print_opens_what_is_folded_and_leaves_the_rest_as_the_reader_had_it():
    script = PAGE % (ROOT / "graybox/report/page.js").read_text("utf-8")
    done = subprocess.run(["node", "-"], input=script, capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stdout.splitlines() == ["true true", "true false"] * 2


NAMES = tuple("abcdefg")


class Means(nn.Module):
    """Seven classes, each from the mean of one column of pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(6.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale * images.mean(dim=(1, 2))[:, :7]


def experiment(found):
    image = found.image
    return SimpleNamespace(image=image, shown=np.float32(0.5), box=np.full(4, np.nan, np.float32), class_names=NAMES,
                           maps={5: found}, window=5, main=found)  # fmt: skip


def test_each_byte_is_a_probability_of_a_leading_class():
    image = np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8)
    found = maps.occlusion_map(Means(), image, 6, window=5, stride=3, fill=0.0)
    scores = maps.window_scores(Means(), image, window=5, stride=3, fill=0.0).probabilities.numpy()
    assert 6 in found.leading and len(found.leading) == confidence.LEADING
    np.testing.assert_array_equal(found.leading_probabilities, scores[..., found.leading])
    (made,) = viewer.data([experiment(found)])["images"]
    (one,) = made["maps"]
    assert one["rows"] == [0, 3, 4] and one["columns"] == [0, 3, 4] and made["box"] is None
    levels = np.frombuffer(base64.b64decode(one["bytes"]), np.uint8).reshape(5, 4, 4) / 255
    for name, level in zip(one["classes"], levels):
        np.testing.assert_allclose(level, scores[..., NAMES.index(name)], atol=0.5 / 255 + 1e-6)
    assert one["classes"][one["truth"]] == "g" and one["whole"] == sorted(one["whole"], reverse=True)


def test_a_map_without_leading_classes_shows_the_true_one():
    image = np.zeros((8, 8, 3), np.uint8)
    found = maps.occlusion_map(Means(), image, 2, window=3, stride=4)
    old = replace(found, leading=None, leading_probabilities=None)
    (one,) = viewer.data([experiment(old)])["images"][0]["maps"]
    assert one["classes"] == ["c"] and one["truth"] == 0


def test_leading_classes_hold_the_true_one_however_improbable():
    probabilities = np.zeros((2, 2, 9), np.float32)
    probabilities[0, 0] = np.arange(9) / 36
    assert confidence.leading_classes(probabilities, 0).tolist() == [0, 5, 6, 7, 8]
    probabilities[1, 1, 1] = 1  # somewhere it is the most probable
    assert confidence.leading_classes(probabilities, 8).tolist() == [1, 5, 6, 7, 8]
    assert confidence.leading_classes(probabilities[..., :3], 1).tolist() == [0, 1, 2]
