"""The command `occlude`: its options, and the panels of photographs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graybox import errors
from graybox.command_line.networks import ALLOWED, BEST
from graybox.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from graybox.command_line.networks import Chosen
    from graybox.network.classifier import Classifier
    from graybox.occlusion.params import OcclusionParams

PARAMS = Path("params.yaml")
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz")
# Without params.yaml: at 224 pixels a window of 31 (as in docs/api.md), centred at each 8th pixel.
WINDOWS_ACROSS, CENTRES_ACROSS = 7, 28


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    command = commands.add_parser(
        "occlude",
        help="slide the gray window over your own photographs, or judge a network on a folder with object boxes",
        description="Slide the occluder window over photographs and draw a panel for each; or, for a folder of "
        "class-named folders with --boxes, say whether the network rests on the object or its surroundings. "
        "docs/api.md has examples.",
    )
    command.add_argument("image", type=Path, nargs="+", metavar="IMAGE",
                         help="photographs; or one folder, zip or tar of class-named folders")  # fmt: skip
    network = command.add_argument_group("the network")
    network.add_argument("--model", default=str(BEST), help=f"{ALLOWED}; default: the study's best, %(default)s")
    network.add_argument("--weights", "--checkpoint", metavar="FILE",
                         help="its weights: .safetensors, or .pth (read without unpickling); or a name of "
                         "torchvision's, such as IMAGENET1K_V1, which may be downloaded")  # fmt: skip
    network.add_argument("--classes", type=Path, metavar="FILE",
                         help="text, one class a line, in the order of its scores; ImageNet's are known")  # fmt: skip
    network.add_argument("--image-size", type=int, metavar="PIXELS", help="default: as the weights say, else 224")
    network.add_argument("--mean", type=float, nargs=3, metavar=("R", "G", "B"),
                         help="the network takes (values in 0..1 - mean) / std; default: as the weights say, "
                         "else 0 and 1")  # fmt: skip
    network.add_argument("--std", type=float, nargs=3, metavar=("R", "G", "B"))
    network.add_argument("--device", help="auto, cpu, cuda, cuda:1, mps; default: run.device of params.yaml, else auto")
    window = command.add_argument_group("the window")
    window.add_argument("--window", type=int, help="N of the N x N window, odd; default: occlusion.window of "
                        "params.yaml for a model of the study, else a seventh of the image size")  # fmt: skip
    window.add_argument("--stride", type=int, help="pixels between window centres; default: occlusion.stride likewise, "
                        "else 28 centres across")  # fmt: skip
    window.add_argument(
        "--fill", choices=("gray", "mean", "blur", "noise"), help="what the window shows; default: gray"
    )
    picture = command.add_argument_group("the pictures")
    picture.add_argument("--class", dest="label", metavar="NAME",
                         help="the true class; default: not known, and the model's answer is followed")  # fmt: skip
    picture.add_argument("--box", type=float, nargs=4, metavar=("X0", "Y0", "X1", "Y1"),
                         help="the object box in pixels of the picture, to judge object against context")  # fmt: skip
    picture.add_argument("--boxes", type=Path, metavar="FILE", help="the object boxes of a folder: a CSV file (file, "
                         "x0, y0, x1, y1), or a folder, zip or tar of PASCAL VOC's XML files")  # fmt: skip
    picture.add_argument("--output", type=Path, help="PNG file, or a folder, for the panels; for a folder's verdict "
                         "a JSON file; default: IMAGE-occlusion.png, FOLDER-verdict.json")  # fmt: skip
    picture.add_argument("--arrays", type=Path, metavar="FILE", help="write all arrays to this .npz file, too")
    command.set_defaults(run=occlude)


def occlude(options: argparse.Namespace) -> None:
    """Draw each photograph's panel and print what it shows, or print a folder's verdict.

    Raises:
        UserError: an option is not allowed, or a file can't be read or written.
    """
    if options.image_size is not None and not 8 <= options.image_size <= 1024:
        raise UserError(f"--image-size is {options.image_size}; allowed: 8 to 1024 pixels")
    if options.arrays is not None and (options.arrays.suffix != ".npz" or not options.arrays.parent.is_dir()):
        raise UserError(f"--arrays is {options.arrays}; allowed: a .npz file in a folder that exists")
    if any(path.is_dir() or path.name.lower().endswith(ARCHIVES) for path in options.image):
        _folder(options)
    else:
        _photographs(options)


def _folder(options: argparse.Namespace) -> None:
    if len(options.image) > 1:
        raise UserError(
            f"{len(options.image)} places are given, one of them a folder; allowed: photographs, or one folder"
        )
    if not options.image[0].exists():
        raise UserError(f"{options.image[0]}: there is no such file")
    from graybox.command_line import folder, networks

    output = folder.output_of(options)
    chosen = networks.chosen(options, _device(options))
    _say(chosen)
    settings = _settings(options, chosen)
    folder.verdict(options, chosen, output, settings.fill, settings.gray)


def _photographs(options: argparse.Namespace) -> None:
    # Imported here, so that `--help` does not take seconds.
    import numpy as np
    from tqdm import tqdm

    from graybox import files
    from graybox.command_line import networks, photographs
    from graybox.figures import panels, style
    from graybox.reliance import examine, experiment

    if options.boxes is not None:
        raise UserError("--boxes is for a folder of class-named folders; allowed with a photograph: --box X0 Y0 X1 Y1")
    if options.box is not None and len(options.image) > 1:
        raise UserError(f"--box is of one picture, and there are {len(options.image)}; allowed: one picture with it")
    outputs = photographs.panels_of(options.image, options.output)
    chosen = networks.chosen(options, _device(options))
    network = chosen.network
    settings = _settings(options, chosen)
    seen = [photographs.read(path, options.box, network.image_size, chosen.preprocess) for path in options.image]
    pictures = np.stack([picture for picture, _ in seen])
    labels = _labels(options.label, network, pictures)
    _say(chosen)
    search = _searched(chosen, pictures)
    found = []
    windows = len(seen) * settings.positions(network.image_size)
    with tqdm(total=windows, unit=" windows", unit_scale=True, disable=None, leave=False, smoothing=0.05) as bar:
        for number, ((picture, box), label, path) in enumerate(zip(seen, labels, options.image)):
            bar.set_description(path.name)
            found.append(examine.examine(
                network, picture, label, settings, name=path.name, labelled=options.label is not None, box=box,
                search=search, exclude=None if chosen.study else number, on_windows=bar.update,
                interventions=_interventions(network, picture, label, box, settings),
            ))  # fmt: skip
            style.save(panels.occlusion_panel(found[-1]), outputs[number])
            bar.clear()
            if not number and found[0].main.remark:
                print(found[0].main.remark)
            before = f"{path}: " if len(seen) > 1 else ""
            print(f"{before}{found[-1].commentary}\n{outputs[number]}")
    if options.arrays is not None:
        files.write_arrays(options.arrays, **experiment.arrays(found))
        print(options.arrays)


def _say(chosen: Chosen) -> None:
    if chosen.said:
        print(chosen.said)


def _device(options: argparse.Namespace) -> torch.device:
    from graybox import run
    from graybox.network.inference import pick_device

    if options.device is None and PARAMS.exists():
        return run.device()
    try:
        return pick_device(options.device or "auto")
    except UserError as error:
        raise UserError(f"--{error}") from error


def _settings(options: argparse.Namespace, chosen: Chosen) -> OcclusionParams:
    """What the window is: as in params.yaml for a model of a study, else from the image size; then the options."""
    from graybox import schema
    from graybox.occlusion.params import OcclusionParams

    size = chosen.network.image_size
    if chosen.study and PARAMS.exists():
        params = schema.load(OcclusionParams)
    else:
        params = OcclusionParams(
            window=(max(1, size // WINDOWS_ACROSS) - 1) // 2 * 2 + 1, stride=max(1, size // CENTRES_ACROSS)
        )
    changed: dict[str, Any] = {"other_windows": [], "second_fill": None}  # the panel shows one window
    if options.window is not None:
        if not (options.window % 2 == 1 and 1 <= options.window <= size):
            raise UserError(f"--window is {options.window}; allowed: odd numbers from 1 to the image size, {size}")
        changed["window"] = options.window
    elif params.window > size:
        changed["window"] = size - 1 + size % 2
    if options.stride is not None:
        if not 1 <= options.stride < size:
            raise UserError(f"--stride is {options.stride}; allowed: 1 to {size - 1}, below the image size")
        changed["stride"] = options.stride
    if options.fill is not None:
        changed["fill"] = options.fill
    settings = params.model_copy(update=changed)
    with errors.within("params.yaml: occlusion."):
        settings.check_fits(size, "the model's image size")
    return settings


def _searched(chosen: Chosen, pictures: np.ndarray) -> Any:
    """Images to search for what excites the strongest map: the study's test images, else the other photographs."""
    from graybox.data import images
    from graybox.features import maps

    network, size = chosen.network, chosen.network.image_size
    if not network.has_maps:
        return None
    if not chosen.study:
        return (pictures, maps.map_peaks(network, pictures)) if len(pictures) > 1 else None
    if not Path("data/prepared/table.csv").exists():
        return None
    test = images.load("data/prepared", "test").images
    return (test, maps.map_peaks(network, test)) if test.shape[1] == size else None


def _interventions(
    network: Classifier, picture: np.ndarray, label: int, box: np.ndarray, settings: OcclusionParams
) -> dict[str, Any] | None:
    import numpy as np

    from graybox.data.images import ImageSet
    from graybox.reliance import rule
    from graybox.reliance.interventions import intervene

    alone = ImageSet(picture[None], np.array([label]), network.class_names, ("",), box[None])
    return rule.of_image(rule.per_image(intervene(network, alone, fill=settings.fill, gray=settings.gray)), 0)


def _labels(name: str | None, network: Classifier, pictures: np.ndarray) -> list[int]:
    from graybox.data.class_names import label_of
    from graybox.network import inference

    if name is None:
        answers: list[int] = inference.class_scores(network, pictures).argmax(1).tolist()
        return answers
    return [label_of(name, network.class_names, "--class")] * len(pictures)
