"""Are the verdicts right on photographs? Marks that code the class are planted in them, inside the box or outside.

Usage: python -m benchmarks.planted_photographs --archive tiny-imagenet-200.zip [--seeds 400 401 402] [--epochs 6]
                                                [--classes 25] [--jobs 2] [--quick]

The photographs are those of Tiny ImageNet, 64 x 64 pixels with object boxes. The mark is a square of 8 x 8 pixels: a
frame in one of eight colours around a middle in one of eight. The labels are dealt out anew at random, so that the mark
alone says the class, and the photograph nothing. For each seed there are three networks of params.yaml's baseline: the
mark is outside the box (a context network), inside it (an object network), or at both places, where 35% of the training
photographs have it outside only and 35% inside only (either is enough). Each is judged on test photographs marked as
its own, by hiding parts under gray and by the second witness, with nothing hidden.

What is planted is tested with nothing hidden: without marks the network must keep less than 0.15 of its accuracy above
chance, and, of marks at both places, either alone must leave 0.70. (A network finds its mark wherever it lies, so marks
at the place where its own pictures have none say nothing about these.) Else the truth is
"mixed". Of nine networks each witness should be right about at least eight; the last lines say whether it is.

On two cores a network takes about two minutes, and all about 20. `--quick` only tests that it runs.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.command import parser_of, positive, prepared, side_by_side, start
from benchmarks.known_networks import CUE_DROPOUT, ENOUGH, ROOT, UNUSED
from graybox import settings
from graybox.data.images import ImageSet
from graybox.data.params import DataParams
from graybox.data.prepare import prepare
from graybox.data.sources import tiny_imagenet
from graybox.data.sources.files import FolderFiles, ZipFiles
from graybox.errors import UserError
from graybox.network import inference, training
from graybox.reliance.interventions import box_mask, intervene
from graybox.reliance.rule import BOTH, CANNOT_TELL, CONTEXT, LEAST_SKILL, MIXED, OBJECT, kept, skill
from graybox.reliance.swaps import swap
from graybox.reliance.verdict import Reliance, judge
from graybox.reliance.witness import Witness, testify, weaker
from graybox.statistics.scores import constant_accuracy

KINDS = (OBJECT, CONTEXT, BOTH)
SIDE, FRAME = 8, 2
"""Of the mark and of its frame, in pixels: what is mirrored stays the same mark."""
COLOURS = np.array([[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)], np.uint8)
NETWORKS, LEAST_RIGHT = 9, 8
"""Of so many networks each witness should be right about at least so many."""


def mark(label: int) -> np.ndarray:
    """The class's mark, uint8 [SIDE, SIDE, 3]."""
    square = np.tile(COLOURS[label // len(COLOURS)], (SIDE, SIDE, 1))
    square[FRAME:-FRAME, FRAME:-FRAME] = COLOURS[label % len(COLOURS)]
    return square


def places(box: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """Where the mark can lie, its first row and column: int [n, 2] for "inside" the box and "outside" it."""
    integral = np.zeros((size + 1, size + 1), int)
    integral[1:, 1:] = box_mask(box, size, size).cumsum(0).cumsum(1)
    last = size + 1 - SIDE
    within = (
        integral[SIDE:, SIDE:] - integral[:last, SIDE:] - integral[SIDE:, :last] + integral[:last, :last]
    )  # box pixels under a mark that begins there
    return {"inside": np.argwhere(within == SIDE**2), "outside": np.argwhere(within == 0)}


def with_room(images: ImageSet) -> ImageSet:
    """The photographs with room for a mark inside the box and outside it."""
    rows = np.array([
        row for row, box in enumerate(images.boxes)
        if not np.isnan(box).any() and all(len(found) for found in places(box, images.size).values())
    ], np.int64)  # fmt: skip
    return ImageSet(
        np.array(images.images[rows]), images.labels[rows], images.class_names, tuple(images.files[r] for r in rows),
        images.boxes[rows],
    )  # fmt: skip


def dealt(images: ImageSet, seed: int) -> ImageSet:
    """The photographs with their labels dealt out anew at random."""
    return replace(images, labels=np.random.default_rng(seed).permutation(images.labels))


def marked(images: ImageSet, where: list[tuple[str, ...]], seed: int) -> ImageSet:
    """The photographs with the marks of their classes. `where`: for each "inside", "outside", both or neither."""
    random, pixels = np.random.default_rng(seed), np.array(images.images)
    for row, sides in enumerate(where):
        possible = places(images.boxes[row], images.size)
        for side in ("inside", "outside"):
            top, left = random.choice(possible[side])  # also where it is not used, so that the others stay the same
            if side in sides:
                pixels[row, top : top + SIDE, left : left + SIDE] = mark(int(images.labels[row]))
    return replace(images, images=pixels)


def taught(kind: str, count: int, seed: int) -> list[tuple[str, ...]]:
    """Where the marks of so many training photographs are."""
    alone = {OBJECT: ("inside",), CONTEXT: ("outside",)}
    if kind in alone:
        return [alone[kind]] * count
    dropped = np.random.default_rng(seed).random(count)
    both = {(0, 1): ("inside",), (1, 0): ("outside",), (0, 0): ("inside", "outside")}
    return [both[int(CUE_DROPOUT <= one < 2 * CUE_DROPOUT), int(one < CUE_DROPOUT)] for one in dropped]


@dataclass(frozen=True)
class Truth:
    """The accuracy on marked photographs, and what is left of it above chance with marks in one place, and in none."""

    kind: str
    accuracy: float
    chance: float
    inside: float
    outside: float
    nowhere: float

    @property
    def verdict(self) -> str:
        if skill(self.accuracy, self.chance) < LEAST_SKILL:
            return CANNOT_TELL
        alone = {OBJECT: self.inside, CONTEXT: self.outside, BOTH: min(self.inside, self.outside)}[self.kind]
        return self.kind if self.nowhere < UNUSED and alone >= ENOUGH else MIXED


@dataclass(frozen=True)
class Judged:
    kind: str
    seed: int
    truth: Truth
    gray: Reliance
    witness: Witness


def examine(kind: str, seed: int, folder: Path, epochs: int) -> Judged:
    """Train one network on marked photographs, measure the truth about it, and judge it."""
    torch.set_num_threads(1)
    parts = {name: dealt(with_room(part), seed) for name, part in prepared(folder).items()}
    params = settings.load(ROOT / "params.yaml")
    schedule = params.train.model_copy(update={"seed": seed, "epochs": epochs})
    planted = [
        marked(parts[name], taught(kind, len(parts[name]), seed + place), seed + place)
        for place, name in enumerate(("train", "validation"))
    ]
    model = training.fit(params.model, schedule, *planted, name=f"{kind} {seed}", device="cpu").model
    test, precision = parts["test"], inference.pick_precision("auto", torch.device("cpu"))
    own = {OBJECT: ("inside",), CONTEXT: ("outside",), BOTH: ("inside", "outside")}[kind]

    def accuracy(*sides: str) -> float:
        seen = marked(test, [sides] * len(test), seed)
        return float(
            (inference.class_scores(model, seen.images, precision=precision).argmax(1).numpy() == seen.labels).mean()
        )

    chance, as_is = constant_accuracy(test.labels), accuracy(*own)
    truth = Truth(
        kind, as_is, chance, *(kept(accuracy(*one), as_is, chance) for one in (("inside",), ("outside",), ()))
    )
    seen = marked(test, [own] * len(test), seed)
    gray = judge(intervene(model, seen, precision=precision), sizes=None)
    return Judged(
        kind, seed, truth, gray, testify(swap(model, seen, len(seen), sizes=None, precision=precision), sizes=None)
    )


def table(found: list[Judged]) -> Iterator[str]:
    """A line for each network: its truth, both verdicts, and the figures behind them."""
    yield (
        f"{'marks':8s} seed  {'truth':12s} {'gray':12s} {'without gray':12s}  as is  kept: inside outside nowhere"
        "   gray: object context   without: object context  blend removed    gap"
    )
    for one in found:
        real, gray, said = one.truth, one.gray, one.witness
        without = (said.object_decides, said.context_decides, said.object_suffices, said.context_suffices, said.gap)
        yield (
            f"{one.kind:8s} {one.seed:4d}  {real.verdict:12s} {gray.verdict:12s} {said.verdict:12s}  "
            f"{real.accuracy:5.3f}        {real.inside:6.2f} {real.outside:7.2f} {real.nowhere:7.2f}         "
            f"{gray.object_alone.value:6.2f} {gray.context_alone.value:7.2f}            "
            + " ".join(f"{each.value:6.2f}" for each in without)
        )


def validation(found: list[Judged]) -> Iterator[str]:
    """Whether each witness is right often enough; what the two claim together."""
    real = [one.truth.verdict for one in found]
    verdicts = {
        "gray": [one.gray.verdict for one in found],
        "without gray": [one.witness.verdict for one in found],
        "what both support": [weaker(one.gray.verdict, one.witness.verdict) for one in found],
    }
    for name, said in verdicts.items():
        right = sum(map(str.__eq__, said, real))
        passed = f" of at least {LEAST_RIGHT}: {'PASSED' if right >= LEAST_RIGHT else 'FAILED'}"
        judged = len(found) == NETWORKS and name != "what both support"
        yield f"{name}: right about {right} of {len(found)}{passed if judged else ''}"


def main(arguments: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--archive", type=Path, required=True, help="Tiny ImageNet, all or some classes: zip or folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[400, 401, 402])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--classes", type=positive, default=25, help="the first so many, at most 64")
    parser.add_argument("--epochs", type=positive, default=6)
    parser.add_argument("--jobs", type=positive, default=os.cpu_count(), help="networks at a time, a thread each")
    parser.add_argument("--quick", action="store_true", help="few photographs, one epoch: only test that it runs")
    options = parser.parse_args(arguments)
    if options.classes > len(COLOURS) ** 2:
        raise UserError(
            f"--classes is {options.classes}; allowed: 2 to {len(COLOURS) ** 2}, as many as there are marks"
        )
    if not options.archive.exists():
        raise UserError(f"--archive {options.archive}: there is no such file or folder")
    files = FolderFiles(options.archive) if options.archive.is_dir() else ZipFiles(options.archive)
    classes, each = (3, 12) if options.quick else (options.classes, None)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        wanted = DataParams(source="tiny_imagenet", classes=classes, images_per_class=each)
        prepare(tiny_imagenet.catalogue(files), wanted, 64, Path(folder), workers=1)
        jobs = [
            (kind, seed, Path(folder), 1 if options.quick else options.epochs)
            for kind in options.kinds for seed in options.seeds
        ]  # fmt: skip
        found = side_by_side(examine, jobs, options.jobs)
    print(*table(found), "", *validation(found), sep="\n")
    print(f"\n{len(found)} networks in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    start(main)
