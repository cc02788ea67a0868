"""The experiment on one image: its parts agree with each other, and its pictures and commands work on any image."""

from __future__ import annotations

import io
import itertools
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from torch import nn

from graybox import __main__ as command
from graybox.errors import UserError
from graybox.features import maps
from graybox.figures import panels, strip
from graybox.network import cnn
from graybox.network.classifier import Classifier
from graybox.network.cnn import CNN
from graybox.network.params import ModelParams
from graybox.occlusion.maps import occlusion_map
from graybox.occlusion.params import OcclusionParams, never_hidden
from graybox.reliance import examine, experiment, rule
from graybox.reliance.interventions import intervene
from tests.support.basics import ROOT, image_set

SETTINGS = OcclusionParams(window=5, stride=2, other_windows=[3, 9], other_stride=4, second_fill=None)
BESIDE = SETTINGS.model_copy(update={"second_fill": "mean"})


@pytest.fixture
def network(params) -> CNN:
    torch.manual_seed(0)
    small = ModelParams(**{**params.model.model_dump(), "conv_layers": 2, "filters": 6})
    return CNN(small, 16, ("a", "b", "c", "d")).eval()


def cnn_answer(network: CNN, image: np.ndarray) -> int:
    with torch.no_grad():
        return network(torch.tensor(image).permute(2, 0, 1)[None] / 255).argmax()


def examined(network: CNN, row: int = 0, settings: OcclusionParams = SETTINGS, **options) -> experiment.Experiment:
    images = image_set(6)
    peaks = maps.map_peaks(network, images.images)
    judged = rule.per_image(intervene(network, images))
    return examine.examine_row(network, images, row, settings, judged, peaks, **options)


def test_there_is_a_map_for_each_window_and_the_main_one_follows_the_strongest_map(network):
    counts = []
    found = examined(network, on_windows=counts.append)
    assert list(found.maps) == [3, 5, 9] and found.main is found.maps[5]
    assert sum(counts) == SETTINGS.positions(16) == 8 * 8 + 2 * 4 * 4
    assert found.main.unoccluded_activation == pytest.approx(found.features.sum(), rel=1e-5)
    assert found.maps[3].activation is None
    everything = [maps.strongest_map(maps.last_maps(network, found.image)), found.feature_map]
    assert everything[0] == everything[1]


def test_the_fill_is_what_the_window_shows(network):
    gray = examined(network)
    mean = examined(
        network, settings=OcclusionParams(window=5, stride=2, fill="mean", other_windows=[], second_fill=None)
    )
    assert np.allclose(mean.shown, mean.image.mean((0, 1)) / 255, atol=1e-5)
    assert (gray.main.confidence != mean.main.confidence).any()


def test_patches_come_from_other_images_only(network):
    images = image_set(6)
    images.images[:] = images.images[0]  # the same picture six times: each would be its own best patch
    peaks = maps.map_peaks(network, images.images)
    found = examine.examine(network, images.images[2], 2, SETTINGS, name="", search=(images.images, peaks), exclude=2)
    assert len(found.patches) == 5


def test_an_image_without_a_box_has_no_interventions_and_says_nothing_of_an_object(network):
    images = image_set(6)
    found = examine.examine(network, images.images[0], 0, SETTINGS, name="x.png")
    assert found.interventions is None and "object" not in found.commentary
    with_box = examined(network)
    row = with_box.summary()
    assert with_box.interventions["p"] == pytest.approx(row["true_probability"], abs=1e-6)
    assert row["verdict"] == with_box.interventions["verdict"] and row["commentary"] == with_box.commentary


def test_the_arrays_of_every_map_are_named_apart(network):
    found = [examined(network, row, BESIDE) for row in (0, 1)]
    arrays = experiment.arrays(found)
    assert {"00_03_confidence", "00_05_activation", "01_09_predicted"} <= set(arrays)
    page = (ROOT / "docs/api.md").read_text("utf-8")  # which describes each
    named = {re.sub(r"^\d\d_", "NN_", re.sub(r"^\d\d_(\d\d|second)_", "NN_WW_", key)) for key in arrays}
    assert [key for key in named if f"`{re.sub('[0-9]+$', 'K', key)}`" not in page] == []
    np.testing.assert_array_equal(arrays["01_09_confidence"], found[1].maps[9].confidence)


def test_what_was_found_is_drawn_from_its_file_as_it_was_at_first(network, tmp_path):
    found = [examined(network, row, BESIDE) for row in (0, 1)]
    np.savez(tmp_path / "occlusion.npz", **experiment.arrays(found))
    again = experiment.load(tmp_path / "occlusion.npz")
    for one, other in zip(found, again):
        assert repr(one.summary()) == repr(other.summary())  # as text, in which NaN equals NaN
        assert list(one.maps) == list(other.maps)
        assert len(one.patches) == len(other.patches)
        assert (
            one.look.methods
            == other.look.methods
            == ((5, "gray"), (3, "gray"), (9, "gray"), (5, "mean"), (0, "random"), (0, "centre"))
        )
        assert (one.look.flat, one.look.largest_drop) == (other.look.flat, other.look.largest_drop)
        for name, curves in one.look.curves.items():
            np.testing.assert_array_equal(other.look.curves[name].deletion, curves.deletion)
            np.testing.assert_array_equal(other.look.curves[name].insertion, curves.insertion)
        first, second = (panels.occlusion_panel(each) for each in (one, other))
        first.savefig(before := io.BytesIO(), format="png", dpi=40)
        second.savefig(after := io.BytesIO(), format="png", dpi=40)
        assert before.getvalue() == after.getvalue()


def test_the_panel_and_the_chart_draw_what_was_found(network):
    found = [examined(network, row) for row in (0, 1)]
    panel = panels.occlusion_panel(found[0])
    main = found[0].main
    confidence, own = (axes.images[0] for axes in panel.axes[1:3])
    for drawn in (confidence, own):
        np.testing.assert_array_equal(drawn.get_array(), panels.on_pixels(main.confidence, main, found[0].image))
    assert confidence.get_clim() == (0, 1)
    assert own.get_clim() == (main.confidence.min(), main.confidence.max())
    row = panels.map_row(found[0])
    np.testing.assert_array_equal(row.axes[1].images[0].get_array(), confidence.get_array())
    row.savefig(io.BytesIO(), format="png")
    said = " ".join(text.get_text() for text in panel.texts).replace("\n", " ")
    assert found[0].commentary in said
    panel.savefig(io.BytesIO(), format="png")
    panels.windows_chart(found).savefig(io.BytesIO(), format="png")
    panels.windows_chart([examined(network, settings=OcclusionParams(window=5, other_windows=[]))]).savefig(
        io.BytesIO(), format="png"
    )


def test_a_second_fills_map_comes_beside_the_first(network):
    found, alone = examined(network, settings=BESIDE), examined(network)
    assert found.second.window == 5 and list(found.second.rows) == [0, 3, 6, 9, 12, 15]
    mean = np.full((16, 16, 3), found.image.mean((0, 1)) / 255, np.float32)
    again = occlusion_map(network, found.image, found.main.label, window=5, stride=3, fill=mean)
    np.testing.assert_allclose(found.second.confidence, again.confidence, atol=1e-5)
    np.testing.assert_array_equal(found.main.confidence, alone.main.confidence)
    # In the panel it stands where the first map has a scale of its own otherwise.
    beside, before = (panels.occlusion_panel(one).axes[2] for one in (found, alone))
    np.testing.assert_array_equal(
        beside.images[0].get_array(), panels.on_pixels(found.second.confidence, found.second, found.image)
    )
    assert beside.get_title(loc="left").startswith("mean colour in the\nwindow")
    assert before.get_title(loc="left") == "the same, on its\nown scale"
    first, second = (
        found.look.faithfulness((5, one), (5, other)) for one, other in (("gray", "mean"), ("mean", "gray"))
    )
    assert f"faithful ({second:.2f}; with gray {first:.2f})." in found.commentary.replace("-0.00", "0.00")
    assert found.commentary.startswith(alone.commentary + " With the image's mean colour in the window ")
    # The fill that the first window shows already gives no second map.
    same = SETTINGS.model_copy(update={"fill": "mean", "second_fill": "mean"})
    assert examined(network, settings=same).second is None and same.positions(16) == SETTINGS.positions(16)
    assert BESIDE.positions(16) == SETTINGS.positions(16) + 6 * 6


def test_the_second_map_leaves_no_pixel_out_that_the_first_does_not():
    for window, stride, other, expected in ((5, 1, 3, 3), (5, 1, 16, 3), (3, 1, 9, 2), (1, 1, 4, 1), (3, 4, 9, 4)):
        params = OcclusionParams(window=window, stride=stride, other_windows=[], other_stride=other)
        assert params.beside_stride == expected
        centres = range(0, 16, expected)
        assert stride > 1 or never_hidden((16, 16), (centres, centres), window) == 0


def test_a_mosaic_shows_every_patch_unscaled():
    patches = [np.full((height, 4, 3), value, np.uint8) for value, height in enumerate((4, 2, 4, 3), start=1)]
    picture = panels.mosaic(patches, 16)
    assert [(picture == value).sum() for value in (1, 2, 3, 4)] == [48, 24, 48, 36]


def test_the_strip_slides_the_window_to_the_end_while_the_map_grows(network):
    found = [
        examined(network, row, OcclusionParams(window=5, stride=1, other_windows=[], second_fill=None))
        for row in (0, 1)
    ]
    animation = Image.open(io.BytesIO(strip.sliding_strip(found, frames=12)))
    frames = [np.asarray(frame.convert("RGB"), int) for frame in ImageSequence.Iterator(animation)]
    assert len(frames) == 12
    frames = [frame[strip.HEADER : -strip.FOOTER] for frame in frames]
    height = frames[0].shape[0] // 2
    empty = [(np.abs(frame[height:] - 235).sum(2) < 12).mean() for frame in frames]
    assert empty == sorted(empty, reverse=True) and empty[0] > 0.5 and empty[-1] < 0.05
    assert all((one[:height] != other[:height]).any() for one, other in itertools.pairwise(frames))


@pytest.fixture
def folder(network, tmp_path, monkeypatch):
    """A folder with a model, the parameters and a photo in it; the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    cnn.save(network, tmp_path / "models/best.safetensors")
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("other_windows: [5, 15, 21]", "other_windows: [3]"))
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path


def test_any_image_can_be_occluded_from_the_command_line(folder, capsys):
    command.main("occlude", "photo.png")
    assert Image.open(folder / "photo-occlusion.png").width > 500
    assert "the true class is not known" in capsys.readouterr().out
    command.main(
        "occlude", "photo.png", "--class", "c", "--window", "7", "--output", "c.png", "--box", "20", "5", "40", "30"
    )
    assert (folder / "c.png").exists()
    assert "the true class, c," in capsys.readouterr().out


def test_without_a_class_neither_the_panel_nor_the_figures_claim_to_know_the_true_one(network):
    image = image_set(6).images[0]
    answer = int(cnn_answer(network, image))
    unknown, known = (
        examine.examine(network, image, answer, SETTINGS, name="photo.png", labelled=labelled)
        for labelled in (False, True)
    )
    name = network.class_names[answer]
    known_title, title = (
        panels.occlusion_panel(one).texts[0].get_text().replace("\n", " ") for one in (known, unknown)
    )
    assert known_title.startswith(f"photo.png: {name}, recognised, probability")
    assert title.startswith(f"photo.png: the model's answer is {name} (true class not known), probability")
    assert unknown.commentary.startswith(f"The model's answer is {name}, ")
    assert "recognised" not in title + unknown.commentary
    assert [key for key in unknown.summary() if "true" in key or "misclassified" in key] == []
    assert unknown.summary()["followed_class"] == known.summary()["true_class"] == name
    again = experiment.arrays([unknown])
    np.testing.assert_array_equal(again["00_05_confidence"], known.main.confidence)


def test_the_panel_says_what_share_of_the_pixels_no_window_hides(network):
    found = examined(
        network, settings=OcclusionParams(window=1, stride=2, other_windows=[3], other_stride=8, second_fill=None)
    )
    assert "75% of the pixels never hidden" in panels.occlusion_panel(found).texts[0].get_text().replace("\n", " ")
    assert found.summary()["never_hidden"] == 0.75 and "No window hides 75% of the pixels" in found.commentary
    labels = [axes.get_xlabel().replace("\n", " ") for axes in panels.windows_chart([found]).axes]
    assert sum("never hidden" in label for label in labels) == 2


def test_it_runs_as_a_command_of_its_own(folder):
    def run(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "graybox", "occlude", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)

    done = run("photo.png", "--window", "5", "--output", "panel.png")
    assert done.returncode == 0 and done.stdout.endswith("panel.png\n"), done.stderr
    assert (folder / "panel.png").exists()
    failed = run("nothing.png")
    assert failed.returncode == 1 and failed.stderr == "error: nothing.png: can't be read (No such file or directory)\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.png"], "nothing.png: can't be read"),
        (["params.yaml"], "params.yaml: not an image"),
        (["photo.png", "--class", "dog"], "--class is 'dog'.*allowed: a, b, c, d"),
        (["photo.png", "--window", "4"], "--window is 4; allowed: odd"),
        (["photo.png", "--window", "0"], "--window is 0; allowed: odd"),
        (["photo.png", "--box", "40", "30", "20", "5"], "--box is 40 30 20 5, which has no pixels in the picture's"),
        (["photo.png", "--box", "0", "0", "9", "40"], "--box is 0 0 9 40"),  # the middle square begins at 10
        (["photo.png", "--output", "nowhere/x.png"], "--output is nowhere/x.png; allowed: a .png file in a folder"),
        (["photo.png", "--output", "x.tiff"], "--output is x.tiff; allowed: a .png file"),
        (["photo.png", "--window", "17"], "--window is 17; allowed: odd numbers from 1 to the image size, 16"),
        (["photo.png", "--model", "none.safetensors"], "none.safetensors: there is no such file"),
    ],
)
def test_a_users_mistake_is_one_sentence(folder, arguments, message):
    with pytest.raises(UserError, match=message):
        command.main("occlude", *arguments)
    assert not list(folder.glob("*-occlusion.png"))


def test_before_the_first_model_it_says_how_to_get_one(folder):
    (folder / "models/best.safetensors").rename(folder / "mine.safetensors")
    with pytest.raises(UserError, match=r"no model yet; run `dvc repro` first, or name one with --model"):
        command.main("occlude", "photo.png")
    command.main("occlude", "photo.png", "--model", "mine.safetensors", "--window", "15", "--output", "panel.png")
    assert (folder / "panel.png").exists()


def test_what_the_study_slides_over_larger_images_does_not_stop_a_smaller_model(folder):
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("other_windows: [3]", "other_windows: [5, 15, 21]"))
    command.main("occlude", "photo.png")
    (folder / "params.yaml").write_text(text.replace("stride: 1                   # pixels", "stride: 16  # pixels"))
    with pytest.raises(UserError, match=r"params\.yaml: occlusion\.stride is 16; .* below the model's image size = 16"):
        command.main("occlude", "photo.png")


class WithoutMaps(Classifier):
    """A network whose answer has no places on the way, as a vision transformer's."""

    has_maps = False

    def __init__(self) -> None:
        super().__init__(ModelParams(), 16, ("a", "b", "c"))
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(768, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(self.normalised(images))


def test_a_network_without_maps_has_the_rest_of_the_panel(tmp_path):
    image = image_set(1).images[0]
    found = examine.examine(WithoutMaps().eval(), image, 0, SETTINGS, name="photo.png")
    assert found.feature_map is found.features is found.projection is found.main.activation is None
    np.savez(tmp_path / "found.npz", **experiment.arrays([found]))
    again = experiment.load(tmp_path / "found.npz")[0]
    assert again.feature_map is again.features is again.projection is None
    np.testing.assert_equal(again.summary(), found.summary())  # in which NaN is NaN
    drawn = panels.occlusion_panel(again).axes
    titles = [axes.get_title(loc="left") for axes in drawn if axes.get_title(loc="left")]
    assert len(titles) == 4 and not any("map" in title for title in titles)


def test_without_captum_the_panel_says_that_the_map_is_not_projected(network, monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)  # importing it fails
    found = examined(network)
    assert found.projection is None and found.features is not None
    said = [text.get_text().replace("\n", " ") for axes in panels.occlusion_panel(found).axes for text in axes.texts]
    assert any("captum is not installed" in text for text in said)
