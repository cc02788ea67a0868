"""docs/any_network.ipynb runs from its first cell to its last, away from the repository and without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from graybox.reliance.rule import NO_VERDICT
from graybox.reliance.validated import LEAST_IMAGES
from tests.support.basics import ROOT

NOTEBOOK = json.loads((ROOT / "docs/any_network.ipynb").read_text("utf-8"))
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
# Random weights instead of a download, and smaller pictures, so that it takes seconds.
SMALLER = {
    "resnet18(weights=weights)": "resnet18(weights=None)",
    "weights.transforms()": "weights.transforms(crop_size=64, resize_size=73)",
    "Wrapped(model, 224,": "Wrapped(model, 64,",
}
# As in Jupyter, the value of a cell's last line is shown; and no connection is made.
PROGRAM = """
import ast, json, socket, sys
def refuse(*_): raise OSError("no network")
socket.socket.connect = refuse
names = {"__name__": "__main__"}
for number, cell in enumerate(json.load(sys.stdin), 1):
    tree = ast.parse(cell)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, f"cell {number}", "exec"), names)
    if last is not None:
        print(number, type(eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)).__name__)
verdict = names["verdict"]
said = {"verdict": verdict.verdict, "images": verdict.images, "sentence": verdict.sentence()}
json.dump(said, open("said.json", "w"))
"""


def test_it_has_ten_cells_without_outputs():
    assert len(CODE) == 10
    assert all(cell.get("outputs", []) == [] for cell in NOTEBOOK["cells"])
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
    assert CODE[0].startswith("%pip install") and not any(cell.startswith("%") for cell in CODE[1:])


def test_every_cell_runs_to_a_map_and_a_verdict(tmp_path):
    cells = ["pass", *CODE[1:]]
    for old, new in SMALLER.items():
        assert any(old in cell for cell in cells), old
        cells = [cell.replace(old, new) for cell in cells]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(cells), cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {"3 Image", "5 Figure", "6 Figure"} <= set(done.stdout.splitlines())
    said = json.loads((tmp_path / "said.json").read_text())
    # Random weights may answer anything, but of so few objects there is no verdict, and the cell prints why.
    assert (said["verdict"], said["images"]) == (NO_VERDICT, 24) and said["images"] < LEAST_IMAGES
    assert said["sentence"] in done.stdout.splitlines() and said["sentence"].startswith("No verdict: ")
    assert "unoccluded: " in done.stdout and (tmp_path / "map.png").stat().st_size > 10_000
