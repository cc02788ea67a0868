"""The command line: the selected model on any image, `dvc repro` behind a guard, and the list of parameters."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from graybox import errors
from graybox.data.sources.catalogue import UnreadableError
from graybox.errors import UserError

if TYPE_CHECKING:
    from graybox.network.classifier import Classifier
    from graybox.occlusion.params import OcclusionParams

MODEL = Path("models/best.safetensors")


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(prog="python -m graybox", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    command = commands.add_parser(
        "occlude",
        help="slide the gray window over your own image",
        description="Slide the occluder window over an image and draw the same panel as for the study's test images.",
    )
    command.add_argument("image", type=Path, help="any picture; its largest central square is used")
    command.add_argument(
        "--class",
        dest="label",
        metavar="NAME",
        help="the true class; default: not known, and the model's answer is followed",
    )
    command.add_argument(
        "--window", type=int, help="N of the N x N window, odd; default: occlusion.window of params.yaml"
    )
    command.add_argument("--box", type=float, nargs=4, metavar=("X0", "Y0", "X1", "Y1"),
                         help="the object box in pixels of the picture, to judge object against context")  # fmt: skip
    command.add_argument("--model", type=Path, default=MODEL, help="default: the study's best, %(default)s")
    command.add_argument(
        "--output", type=Path, help="PNG file for the panel; default: IMAGE-occlusion.png in the current folder"
    )
    command.set_defaults(run=occlude)
    command = commands.add_parser(
        "repro",
        help="dvc repro that goes on after a kill at any moment; takes what dvc repro takes",
        prefix_chars="\0",  # so that DVC's options reach DVC
        add_help=False,
    )
    command.add_argument("arguments", nargs="*")
    command.set_defaults(run=repro)
    command = commands.add_parser("parameters", help="print docs/parameters.md, the description of every parameter")
    command.set_defaults(run=lambda options: print(_reference(), end=""))
    options = parser.parse_args(arguments)
    options.run(options)


def _reference() -> str:
    from graybox.reference import markdown

    return markdown()


def repro(options: argparse.Namespace) -> None:
    """Run `dvc repro`, and end with its exit code."""
    from graybox import guard  # which loads DVC

    sys.exit(guard.repro(*options.arguments))


def occlude(options: argparse.Namespace) -> None:
    """Draw one image's panel, and print what it shows."""
    # Imported here, so that `--help` does not take seconds.
    from graybox import run, schema
    from graybox.data import images
    from graybox.features import maps
    from graybox.figures import panels, style
    from graybox.network import cnn
    from graybox.occlusion.params import OcclusionParams
    from graybox.reliance import examine

    params = schema.load(OcclusionParams)
    output = options.output or Path(f"{options.image.stem}-occlusion.png")
    if output.suffix.lower() != ".png" or not output.parent.is_dir():
        raise UserError(f"--output is {output}; allowed: a .png file in a folder that exists")
    if options.model == MODEL and not MODEL.exists():
        raise UserError(f"{MODEL}: there is no model yet; run `dvc repro` first, or name one with --model")
    network = cnn.load(options.model, run.device())
    size = network.image_size
    picture, box = _square(options.image, options.box, size)
    if options.box and np.isnan(box).any():
        raise UserError(
            f"--box is {' '.join(f'{edge:g}' for edge in options.box)}, which has no pixels in the picture's "
            f"central square; allowed: left, top, right and bottom in pixels, with left < right and top < bottom"
        )
    window = params.window if options.window is None else options.window
    if not (window % 2 == 1 and 1 <= window <= size):
        raise UserError(f"--window is {window}; allowed: odd numbers from 1 to the image size, {size}")
    label = _label(options.label, network, picture)

    settings = params.model_copy(update={"window": window, "other_windows": []})  # the panel shows one window
    with errors.within("params.yaml: occlusion."):
        settings.check_fits(size, "the model's image size")
    search = None
    if Path("data/prepared/table.csv").exists():
        test = images.load("data/prepared", "test").images
        search = (test, maps.map_peaks(network, test)) if test.shape[1] == size else None
    with tqdm(total=settings.positions(size), unit=" windows", unit_scale=True) as bar:
        found = examine.examine(
            network, picture, label, settings, name=options.image.name, labelled=options.label is not None, box=box,
            search=search, on_windows=bar.update,
            interventions=_interventions(network, picture, label, box, settings),
        )  # fmt: skip
    style.save(panels.occlusion_panel(found), output)
    print(f"{found.commentary}\n{output}")


def _square(path: Path, box: list[float] | None, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture and its box, prepared for the model with the same steps as a data set's images."""
    from graybox.data import remarks
    from graybox.data.sources import decode

    try:
        image = decode.open_image(path.read_bytes())
        deep = decode.is_16_bit(image)
        picture, prepared_box = decode.square(image, np.array(box or [np.nan] * 4, np.float32), size)
        for remark in remarks.too_dark([int(picture.max())] if deep else []):
            print(remark)
        return picture, prepared_box
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror or error})") from error
    except UnreadableError as error:
        raise UserError(f"{path}: {error}") from error


def _interventions(
    network: Classifier, picture: np.ndarray, label: int, box: np.ndarray, settings: OcclusionParams
) -> dict[str, Any] | None:
    from graybox.data.images import ImageSet
    from graybox.reliance import rule
    from graybox.reliance.interventions import intervene

    alone = ImageSet(picture[None], np.array([label]), network.class_names, ("",), box[None])
    return rule.of_image(rule.per_image(intervene(network, alone, fill=settings.fill, gray=settings.gray)), 0)


def _label(name: str | None, network: Classifier, picture: np.ndarray) -> int:
    from graybox.network import inference

    if name is None:
        return int(inference.class_scores(network, picture[None])[0].argmax())
    if name not in network.class_names:
        raise UserError(
            f"--class is {name!r}, which the model does not know; allowed: {', '.join(network.class_names)}"
        )
    return network.class_names.index(name)


def _one_line(message: Warning | str, *_: Any, **__: Any) -> str:
    """A warning without the place in our code, which says nothing to the user."""
    return f"warning: {message}\n"


if __name__ == "__main__":
    warnings.formatwarning = _one_line
    # Jupyter and Colab set a backend that only works in a notebook, and matplotlib would stop at its import.
    os.environ["MPLBACKEND"] = "agg"
    errors.run(main)
