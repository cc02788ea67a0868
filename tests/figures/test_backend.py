"""A notebook sets a backend for all commands started in it: ours draw all the same, and leave the notebook's alone."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from graybox.network import cnn
from graybox.network.params import ModelParams
from tests.support.basics import ROOT

NOTEBOOK = "module://matplotlib_inline.backend_inline"


def run(*arguments: str, backend: str, cwd=ROOT) -> subprocess.CompletedProcess:
    environment = {**os.environ, "MPLBACKEND": backend, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("backend", [NOTEBOOK, "nonsense"])
def test_stages_draw_whatever_backend_is_set(backend):
    program = "import stages.settings, matplotlib; print(matplotlib.get_backend())"
    assert run("-c", program, backend=backend).stdout.strip() == "agg"


@pytest.mark.slow  # it loads every library
def test_the_command_line_draws_in_a_notebook(tmp_path):
    torch.manual_seed(0)
    model = cnn.CNN(ModelParams(conv_layers=2, filters=4, fc_units=8), 16, ("$1", "\u0378")).eval()
    cnn.save(model, tmp_path / "model.safetensors")
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "photo.png")
    (tmp_path / "params.yaml").write_text("occlusion: {window: 5, other_windows: []}\n")
    arguments = "occlude", "photo.png", "--model", "model.safetensors"
    done = run("-m", "graybox", *arguments, backend=NOTEBOOK, cwd=tmp_path)
    # No font has a character that does not exist: that is said in one line, without a place in the code.
    said = done.stderr.splitlines()
    assert any(line.startswith("warning: no installed font can draw \u0378; the figures") for line in said)
    assert ".py" not in done.stderr
    assert (tmp_path / "photo-occlusion.png").stat().st_size > 10_000


def test_the_library_leaves_the_notebooks_backend_as_it_is():
    program = """
import os, numpy as np, matplotlib
import graybox
from graybox.occlusion.confidence import OcclusionMap
places = np.arange(8)
found = OcclusionMap(np.ones((8, 8)), np.ones((8, 8), int), places, places, np.array([0.5, 0.5]), 1, 3)
graybox.plot_map(found, np.zeros((8, 8, 3), np.uint8), ["$1", "$5"]).canvas.draw()
print(matplotlib.get_backend(), os.environ["MPLBACKEND"])
"""
    assert run("-c", program, backend="svg").stdout.split() == ["svg", "svg"]
