"""The verdict over a folder of class-named folders with object boxes."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from graybox import files
from graybox.command_line.networks import Chosen
from graybox.data.images import ImageSet
from graybox.data.read_folder import read_folder
from graybox.errors import UserError
from graybox.occlusion.fills import Fill
from graybox.reliance.interventions import Interventions, intervene
from graybox.reliance.verdict import judge

AT_ONCE = 32  # images between two steps of the progress bar


def output_of(options: argparse.Namespace) -> Path:
    """The JSON file for the figures: --output, a .json file or a folder, or FOLDER-verdict.json.

    Raises:
        UserError: an option is of photographs, or --output is another kind of file.
    """
    for name in ("label", "box", "window", "stride"):
        if getattr(options, name) is not None:
            shown = "class" if name == "label" else name
            raise UserError(f"--{shown} does not go with the folder {options.image[0]}; allowed: a photograph with it")
    if options.boxes is None:
        raise UserError(
            f"--boxes is missing: the verdict over the folder {options.image[0]} hides the objects; allowed: a CSV "
            f"file (file, x0, y0, x1, y1), or a folder, zip or tar of PASCAL VOC's XML files"
        )
    name, output = f"{options.image[0].resolve().name.partition('.')[0]}-verdict.json", options.output
    if output is None or output.is_dir():
        return (output or Path()) / name
    if output.suffix.lower() != ".json" or not output.parent.is_dir():
        raise UserError(
            f"--output is {output}; allowed with a folder: a .json file in a folder that exists, or a folder"
        )
    return Path(output)


def verdict(options: argparse.Namespace, chosen: Chosen, output: Path, fill: Fill, gray: float) -> None:
    """Hide object and context in all pictures, print the verdict, and write its figures.

    Raises:
        UserError: the folder or the boxes can't be read, no picture has a usable box, or a file can't be written.
    """
    network, path = chosen.network, options.image[0]
    crops = chosen.preprocess is not None
    with tqdm(unit=" pictures read", disable=None, leave=False) as bar:
        images = read_folder(
            path, network.class_names, boxes=options.boxes, preprocess=chosen.preprocess,
            image_size=None if crops else network.image_size, on_image=bar.update,
        )  # fmt: skip
    if len(set(images.labels.tolist())) < 2:
        raise UserError(
            f"{path} has pictures of one class only, so that one answer to all would be right; allowed: two or more"
        )
    hidden = _interventions(chosen, images, fill, gray)
    if not len(hidden):
        raise UserError(f"--boxes is {options.boxes}, which has no box for any picture in {path} that the model sees; "
                        f"allowed: boxes of its files")  # fmt: skip
    found = judge(hidden)
    figures = {"model": str(options.model), "folder": str(path), "fill": fill, "sentence": found.sentence()}
    files.write_json(output, {**figures, **found.metrics()})
    if options.arrays is not None:
        names = np.array([images.files[row] for row in hidden.rows])
        measured = {field.name: np.asarray(getattr(hidden, field.name)) for field in fields(hidden)}
        files.write_arrays(options.arrays, files=names, class_names=np.array(images.class_names), **measured)
    accuracy = found.accuracy["as_is"].percent()
    print(f"{len(images)} pictures, {len(hidden)} with a usable box; accuracy on these {accuracy}.")
    print(f"{found.sentence()}\n{output}")


def _interventions(chosen: Chosen, images: ImageSet, fill: Fill, gray: float) -> Interventions:
    """`intervene`, some images at a time, so that a bar shows how far it is."""
    parts = []
    with tqdm(total=len(images), unit=" pictures", disable=None) as bar:
        for start in range(0, len(images), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            some = replace(
                images, images=images.images[part], labels=images.labels[part], files=images.files[part],
                boxes=images.boxes[part], covered=images.covered[part],
            )  # fmt: skip
            hidden = intervene(chosen.network, some, fill=fill, gray=gray)
            parts.append(replace(hidden, rows=hidden.rows + start))
            bar.update(len(some))
    joined = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Interventions)
        if field.name != "left_out"
    }
    return Interventions(**joined, left_out=sum(part.left_out for part in parts))
