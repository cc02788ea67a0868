"""Whatever is given to a public function: it works, or one sentence names the argument and says what it may be."""

from __future__ import annotations

import contextlib
import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

import graybox
from graybox import arguments

LAYERS = graybox.ModelParams(conv_layers=1, filters=2, fc_layers=1)
SCHOOL = graybox.TrainParams(epochs=1, batch_size=8)
SET = graybox.draw_scenes(8, classes=2, image_size=32, split="test")
MODEL = graybox.CNN(LAYERS, 32, SET.class_names).eval()
MAP = graybox.occlusion_map(MODEL, SET.images[0], 0, window=9, stride=8)
HIDDEN = graybox.intervene(MODEL, SET)
OTHER_CLASSES = graybox.CNN(LAYERS, 32, ("a", "b", "c")).eval()

# Each public function with arguments that work; {tmp} is a folder of the test's own.
CALLS: dict[str, dict[str, Any]] = {
    "draw_scenes": {
        "count": 2, "split": "train", "classes": 2, "image_size": 32, "object_signal": 1.0, "context_bias": 0.0,
        "object_size": (0.6, 0.85), "seed": 0,
    },
    "fill_picture": {"image": SET.images[0], "fill": "gray", "gray": 0.5},
    "fit": {
        "model_params": LAYERS, "train_params": SCHOOL, "train": SET, "validation": SET,
        "on_epoch": lambda epoch: None, "name": "train", "device": "cpu", "checkpoint": None,
    },
    "intervene": {"model": MODEL, "images": SET, "fill": "gray", "gray": 0.5, "preprocess": None,
                  "batch_size": 4},
    "judge": {"interventions": HIDDEN, "evidence": [], "resamples": 3, "seed": 0, "sizes": None},
    "load_images": {"folder": "{tmp}", "split": "test"},
    "load_model": {"path": "{tmp}/model.safetensors", "device": "cpu"},
    "map_evidence": {"found": MAP, "box": [0, 0, 8, 8]},
    "occlusion_map": {
        "model": MODEL, "image": SET.images[0], "label": 0, "window": 9, "stride": 8, "fill": 0.5, "feature_map": 0,
        "preprocess": None, "engine": "plain", "batch_size": 8, "on_windows": lambda count: None,
    },
    "plot_map": {"found": MAP, "image": SET.images[0], "class_names": ["a", "b"]},
    "prepare_folder": {"path": "{tmp}/nothing", "into": "{tmp}/into", "image_size": 32, "workers": 1, "seed": 0},
    "probabilities": {
        "model": MODEL, "images": SET.images, "preprocess": None, "flip": False, "shift": 1, "batch_size": 4,
        "precision": torch.float32,
    },
    "read_folder": {
        "path": "{tmp}/nothing", "class_names": ["a", "b"], "boxes": None, "preprocess": None, "image_size": 32,
        "on_image": lambda count: None,
    },
    "save_model": {"model": MODEL, "path": "{tmp}/model.safetensors"},
    "Wrapped": {
        "network": nn.Sequential(nn.Flatten(), nn.Linear(3072, 2)), "image_size": 32, "class_names": ("a", "b"),
        "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2), "params": None,
    },
    "CNN": {"params": LAYERS, "image_size": 32, "class_names": ("a", "b")},
    "ImageSet.from_arrays": {
        "images": SET.images, "labels": SET.labels, "class_names": ["a", "b"], "boxes": SET.boxes, "files": None,
    },
    "OcclusionMap.summary": {"class_names": ["a", "b"]},
}  # fmt: skip
# Not here: classes that only hold results, an exception, and pydantic's classes, which have their own messages.
RESULTS = {
    "Epoch", "Fit", "ImageSet", "Interventions", "MapEvidence", "OcclusionMap", "Reliance", "Splits", "UserError",
    "ModelParams", "TrainParams",
}  # fmt: skip


class Odd:
    """Nothing that any argument may be."""


WRONG = [
    None, True, "cat", b"cat", "", "\0", -1, 0, 1, 4, 10**30, 0.5, 2.0, -0.1, math.nan, math.inf, 1j, [], ["a"],
    ["a", "b", "c"], [1, 2], [[1, 2], [3]], [0, 0, math.inf, 9], {}, {"a": 1}, set(), Odd(), Odd, print,
    Path("nowhere"),    np.float32(0.5), np.int64(3), np.array(2), np.array([]), np.array(["a"]), np.array([1 + 1j]),
    np.zeros((2, 2)), np.zeros((32, 32, 3)), np.full((32, 32, 3), np.nan), np.full((32, 32, 3), 2.0),
    np.zeros((0, 32, 32, 3), np.uint8), np.zeros((2, 20, 32, 3), np.uint8), np.zeros((8, 3, 32, 32), np.uint8),
    np.zeros((8, 32, 32, 3), np.int64), np.zeros((20, 20, 3), np.uint8), np.zeros((32, 32), np.uint8),
    np.full(8, 7), np.full((8, 4), np.inf), np.zeros((8, 3)), SET.images[0], SET.images, SET.labels, SET.boxes,
    torch.tensor(0.5), torch.tensor([1, 2]), torch.zeros(2, 3, 32, 32), torch.float16, torch.device("cpu"),
    Image.new("RGB", (32, 32)), Image.new("F", (32, 32)), nn.Identity(), nn.Linear(2, 2), nn.Conv2d(3, 2, 3),
    nn.Sequential(nn.Flatten(), nn.Linear(3072, 1)), MODEL, OTHER_CLASSES, SET, MAP, HIDDEN, LAYERS, SCHOOL,
    graybox.draw_scenes(2, classes=2, image_size=40), graybox.draw_scenes(3, classes=3, image_size=32),
    graybox.map_evidence(MAP, None), [graybox.map_evidence(MAP, None)], [MAP], "gray", "noise", "gpu",
    "cuda:7", "mps:x",
]  # fmt: skip
ALLOWED = (TypeError, ValueError, graybox.UserError)
# PyTorch's own error about another network than a CNN, which alone knows what it takes.
OF_THE_NETWORK = {("occlusion_map", "model"), ("probabilities", "model"), ("intervene", "model")}


def function(name: str) -> Callable[..., Any]:
    return MAP.summary if name == "OcclusionMap.summary" else eval(f"graybox.{name}", {"graybox": graybox})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("arguments")
    graybox.save_model(MODEL, made / "model.safetensors")
    (made / "table.csv").write_text("split,row,label,class,file,x0,y0,x1,y1\ntest,0,0,a,0.png,,,,\n")
    np.save(made / "images.npy", SET.images[:1])
    (made / "classes.json").write_text('["a", "b"]')
    return made


def call(name: str, folder: Path, **changed: Any) -> Any:
    given = {
        argument: value.format(tmp=folder) if isinstance(value, str) else value
        for argument, value in CALLS[name].items()
    }
    return function(name)(**{**given, **changed})


@pytest.mark.parametrize("name", CALLS)
def test_the_arguments_that_are_changed_here_work(name, folder):
    if name in ("prepare_folder", "read_folder"):
        with pytest.raises(graybox.UserError, match="path is "):
            call(name, folder)
    else:
        call(name, folder)


def test_every_public_function_and_argument_is_tried():
    functions = {name for name in graybox.__all__ if inspect.isfunction(getattr(graybox, name))}
    assert functions | {"CNN", "Wrapped"} == {name for name in CALLS if "." not in name}
    assert set(graybox.__all__) - set(CALLS) == RESULTS
    elsewhere = {"prepare_folder": {"boxes", "classes", "images_per_class", "validation_fraction", "test_fraction",
                                    "max_unreadable", "drop_near_duplicates"}}  # fmt: skip
    for name in functions:
        asked = set(inspect.signature(function(name)).parameters) - {"options"} - elsewhere.get(name, set())
        assert asked <= set(CALLS[name]), name


PLACES = [(name, argument) for name, arguments in CALLS.items() for argument in arguments]


def tried(name: str, argument: str, value: Any, folder: Path) -> None:
    if (name, argument) == ("draw_scenes", "count") and isinstance(value, int) and value > 99:
        return  # so many pictures take long
    if argument.startswith("on_") and callable(value):
        return  # what another function does is its own affair
    try:
        with contextlib.chdir(folder):  # a text may be the path of a new file
            call(name, folder, **{argument: value})
    except ALLOWED as error:
        told = str(error)
        assert "\n" not in told and len(told) < 400, told
        # A file that is not there is named itself; a network's layers may leave nothing of a small image.
        named = rf"\b{argument}\b" if not isinstance(error, graybox.UserError) else "."
        assert re.search(named, told) or isinstance(value, nn.Module) or argument == "images", told
    except RuntimeError:
        assert (name, argument) in OF_THE_NETWORK and isinstance(value, nn.Module)
        assert not isinstance(value, graybox.CNN)


@settings(max_examples=80, deadline=None)
@given(place=st.sampled_from(PLACES), value=st.sampled_from(WRONG))
def test_what_cannot_be_is_one_sentence_that_names_the_argument(place, value, folder):
    tried(*place, value, folder)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_every_wrong_value_at_every_place(place, folder):
    for value in WRONG[:: 9 if place[0] == "fit" else 1]:  # a training takes long
        tried(*place, value, folder)


@pytest.mark.parametrize(
    "value", [np.complex64(0.5 + 1j), np.complex128(0.5), np.array([0.5 + 1j]), torch.tensor(0.5 + 0j), 0.5 + 0j]
)
def test_of_a_complex_number_the_real_part_is_not_taken(value):
    with pytest.raises(TypeError, match=r"^size is .*; it should be a number from 0 to 1$"):
        arguments.number("size", value, 0, 1)


@settings(max_examples=200, deadline=None)
@given(
    value=st.integers() | st.floats() | st.text() | st.binary() | st.none() | st.booleans() | st.complex_numbers(),
    low=st.integers(-5, 5),
    more=st.integers(0, 5),
)
def test_a_number_is_the_number_given_or_refused(value, low, more):
    for check, kinds in ((arguments.integer, int), (arguments.number, (int, float))):
        allowed = isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= low + more
        if allowed:
            assert check("size", value, low, low + more) == value
        else:
            with pytest.raises((TypeError, ValueError), match=r"^size is ") as error:
                check("size", value, low, low + more)
            assert "\n" not in str(error.value) and len(str(error.value)) < 200
