"""The picture of the stages, docs/stages.svg: `python -m tests.support.stages_picture` writes it (needs Graphviz).

It has the graph of `dvc dag`, with one box for all variants of a stage, without the arrows that follow from others.
"""

from __future__ import annotations

import html
import re
import subprocess
import sys

import networkx

from graybox import files
from tests.support.basics import ROOT

PICTURE = ROOT / "docs/stages.svg"
LINE = "\\n"
SHOWN = {"train": f"train{LINE}each variant", "evaluate": f"evaluate{LINE}each variant"}


def graph() -> networkx.DiGraph:
    """The stages of dvc.yaml, `train@X` once; an arrow leads from a stage to one that reads what it makes."""
    command = [sys.executable, "-m", "dvc", "dag", "--dot"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    whole = networkx.DiGraph(re.findall(r'"([\w]+)(?:@[^"]*)?" -> "([\w]+)(?:@[^"]*)?"', said))
    return networkx.transitive_reduction(whole)


def drawn() -> set[tuple[str, str]]:
    """The arrows of the picture."""
    titles = re.findall(r"<title>(\w+&#45;&gt;\w+)</title>", PICTURE.read_text("utf-8"))
    return {tuple(html.unescape(title).split("->")) for title in titles}


def main() -> None:
    arrows = sorted(graph().edges)
    names = sorted({name for arrow in arrows for name in arrow})
    look = (
        "rankdir=LR; ranksep=0.16; nodesep=0.15; bgcolor=white; "
        'node [shape=box, style="rounded,filled", fillcolor="#eef2f7", color="#5b7083", fontname=Helvetica, '
        'fontsize=14, height=0.35, margin="0.06,0.06"]; '
        'edge [color="#5b7083", arrowsize=0.7]; '
    )
    labels = {name: SHOWN.get(name, name.replace("_", LINE)) for name in names}
    nodes = "".join(f'{name} [label="{label}"]; ' for name, label in labels.items())
    text = f"digraph stages {{ {look}{nodes}{'; '.join(f'{a} -> {b}' for a, b in arrows)} }}"
    made = subprocess.run(["dot", "-Tsvg"], input=text, capture_output=True, text=True, check=True).stdout
    files.write_text(PICTURE, re.sub(r"<!-- .*? -->\n", "", made, flags=re.DOTALL))


if __name__ == "__main__":
    main()
