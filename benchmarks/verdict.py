"""How often are the verdicts right? Compare them with the truth, which redrawn pictures measure with nothing hidden.

Usage: python -m benchmarks.verdict [--seeds 100 101 102] [--fills gray mean blur noise] [--maps 40] [--quick]
       python -m benchmarks.verdict --seeds 200 201 202 --fills gray --maps 0
       python -m benchmarks.verdict --worlds "bias 0.5" "bias 0.9" "bias 1" --seeds 100 --fills gray
       python -m benchmarks.verdict --image-size 112 --object-size 0.25 0.35 --epochs 16 --seeds 300 --fills gray

For each seed the benchmark makes five networks of params.yaml's baseline: four are trained in worlds of generated
scenes that teach them to use the object, the context, both, or a mixture; one is untrained. Each is judged on test
pictures of its own world. The truth is measured on the same pictures, drawn again with another class's object, another
class's background, a neutral object or a neutral background: which answers stay the same (`Truth`)? The verdict uses
1,000 test pictures, the truth 300 of them, the confidence maps `--maps` of them (window 11, a centre at every third
pixel).

A world "bias 0.5" always shows the object of the class, and the background of the class with probability 0.5 (else any
background). Such worlds lie between the kinds of network.

The whole run takes about 25 minutes on two cores. `--quick` only tests that it runs: little training, few pictures.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks.command import parser_of, positive, side_by_side, start
from benchmarks.known_networks import QUICK, WORLDS, Size, Truth, network, pictures, truth, world_of
from graybox.data.images import ImageSet
from graybox.data.scenes import World
from graybox.errors import UserError
from graybox.network import inference
from graybox.network.cnn import CNN
from graybox.occlusion.choice import choose_images
from graybox.occlusion.evidence import MapEvidence, MapFigures, centres_inside, map_evidence, summarize
from graybox.occlusion.fills import FILLS, fill_picture
from graybox.occlusion.maps import occlusion_map
from graybox.reliance.interventions import intervene
from graybox.reliance.rule import CANNOT_TELL, MIXED, OBJECT, VERDICTS
from graybox.reliance.swaps import swap
from graybox.reliance.verdict import Reliance, judge
from graybox.reliance.witness import Witness, testify, weaker

WINDOW, MAP_STRIDE = 11, 3
NETWORKS, LEAST_RIGHT = 15, 14
"""Of so many networks each witness should be right about at least so many."""


def off_centre(test: ImageSet, predicted: np.ndarray) -> np.ndarray:
    """Rows of correctly classified images: all with the object box off the middle, and as many with the middle inside.

    In most test images the middle lies inside the box, so a map can hardly beat pointing at the middle. In these images
    pointing at the middle is right half the time.
    """
    middle = np.array([centres_inside(*np.full((2, 1), test.size // 2), box).item() for box in test.boxes])
    correct = predicted == test.labels
    outside = np.flatnonzero(correct & ~middle)
    return np.concatenate([outside, np.flatnonzero(correct & middle)[: len(outside)]])


def maps(model: CNN, test: ImageSet, fill: str, rows: np.ndarray) -> list[MapEvidence]:
    found = []
    for row in rows:
        image = test.images[row]
        shown = fill_picture(image, fill)
        drop = occlusion_map(model, image, test.labels[row], window=WINDOW, stride=MAP_STRIDE, fill=shown)
        found.append(map_evidence(drop, test.boxes[row]))
    return found


@dataclass(frozen=True)
class Judged:
    kind: str
    seed: int
    truth: Truth
    verdicts: dict[str, Reliance]
    witness: Witness
    off_centre: dict[str, MapFigures]


def examine(kind: str, seed: int, fills: list[str], size: Size) -> Judged:
    """Make one network, measure the truth about it, and judge it with each fill."""
    torch.set_num_threads(1)
    model = network(kind, seed, size)
    test = pictures(world_of(kind, seed, size), "test", size.test)
    precision = inference.pick_precision("auto", torch.device("cpu"))
    predicted = inference.class_scores(model, test.images, batch_size=32).argmax(1).numpy()
    rows = choose_images(test, predicted, size.maps) if size.maps else []
    verdicts = {
        fill: judge(intervene(model, test, fill=fill, precision=precision), maps(model, test, fill, rows), sizes=None)
        for fill in fills
    }
    rows = off_centre(test, predicted) if kind == OBJECT and size.maps else []
    pointing = {fill: summarize(maps(model, test, fill, rows)) for fill in fills}
    witness = testify(swap(model, test, len(test), sizes=None, precision=precision), sizes=None)
    return Judged(kind, seed, truth(model, kind, seed, size), verdicts, witness, pointing)


def table(found: list[Judged], fill: str) -> Iterator[str]:
    """A line for each network: its truth, the verdict with this fill, and the figures behind both."""
    yield (
        f"\n{fill}\n"
        f"{'world':12s} seed  {'truth':12s} {'verdict':12s} right stable   as is  no object  no context  control"
        "   object alone  context alone   redrawn: decides o/c  suffices o/c   pointing  centre  drop/area in box  flat"
    )
    for one in found:
        said, real = one.verdicts[fill], one.truth
        accuracy = {name: estimate.value for name, estimate in said.accuracy.items()}
        yield (
            f"{one.kind:12s} {one.seed:4d}  {real.verdict:12s} {said.verdict:12s} "
            f"{'yes' if said.verdict == real.verdict else 'NO':5s} {said.stability:6.2f}   {accuracy['as_is']:5.3f}  "
            f"{accuracy['box_hidden']:9.3f}  {accuracy['context_hidden']:10.3f}  {accuracy['control']:7.3f}   "
            f"{_range(said.object_alone)}  {_range(said.context_alone):>13s}   "
            f"{real.object_decides:13.2f}/{real.context_decides:5.2f}  {real.object_suffices:7.2f}/"
            f"{real.context_suffices:5.2f}   {said.maps.pointing.value:8.2f}  {said.maps.centre.value:6.2f}"
            f"  {said.maps.drop_in_box:10.2f}/{said.maps.box_share:5.2f}  {said.maps.flat.value:4.2f}"
        )


def _range(estimate) -> str:
    return f"{estimate.value:5.2f} ({estimate.low:.2f}..{estimate.high:.2f})"


def confusion(found: list[Judged], fill: str) -> Iterator[str]:
    kinds = list(WORLDS)
    yield f"\n{fill}: truth (rows) against verdict\n{'':12s}" + "".join(f"{kind:>13s}" for kind in kinds)
    for real in kinds:
        counts = [sum(o.truth.verdict == real and o.verdicts[fill].verdict == said for o in found) for said in kinds]
        yield f"{real:12s}" + "".join(f"{count:13d}" for count in counts)


def single_images(found: list[Judged], fill: str) -> Iterator[str]:
    yield (
        f"\n{fill}: verdicts on single images, share of the test pictures\n{'world':12s} seed  {'truth':12s}"
        + "".join(f"{verdict:>13s}" for verdict in VERDICTS)
    )
    for one in found:
        shares = one.verdicts[fill].image_verdicts
        yield f"{one.kind:12s} {one.seed:4d}  {one.truth.verdict:12s}" + "".join(
            f"{shares[verdict].value:13.2f}" for verdict in VERDICTS
        )


def marks(found: list[Judged], fill: str) -> Iterator[str]:
    right = sum(one.truth.verdict == one.verdicts[fill].verdict for one in found)
    untrained = [one.verdicts[fill].verdict == CANNOT_TELL for one in found if one.kind == CANNOT_TELL]
    yield f"{fill}: right about {right} of {len(found)}; untrained 'cannot tell' {sum(untrained)} of {len(untrained)}"
    for one in (one for one in found if one.kind == OBJECT):
        for name, maps in (("test pictures", one.verdicts[fill].maps), ("half off centre", one.off_centre[fill])):
            if maps.pointed:
                yield (
                    f"  object world, seed {one.seed}, {maps.pointed} {name}: pointing {maps.pointing.percent()}, "
                    f"middle {maps.centre.percent()}, difference {maps.advantage.percent()}, "
                    f"McNemar p = {maps.p_value:.2g}; drop in box {maps.drop_in_box:.2f}, area {maps.box_share:.2f}"
                )


def witness_table(found: list[Judged]) -> Iterator[str]:
    """A line for each network: its truth, what the second witness says, and the figures behind it."""
    yield (
        f"\nwithout gray\n{'world':12s} seed  {'truth':12s} {'verdict':12s} right stable   as is   same  other  follows"
        "   blend  removed  gap                 decides: object     context            alone: object       context"
    )
    for one in found:
        said = one.witness
        rates = " ".join(f"{said.accuracy[name].value:6.3f}" for name in ("as_is", "same", "other"))
        more = f"{said.follows.value:8.3f} {said.accuracy['blend'].value:7.3f} {said.accuracy['removed'].value:8.3f}"
        shares = "  ".join(
            _range(each) for each in (said.gap, said.object_decides, said.context_decides, said.object_suffices,
                                      said.context_suffices)
        )  # fmt: skip
        yield (
            f"{one.kind:12s} {one.seed:4d}  {one.truth.verdict:12s} {said.verdict:12s} "
            f"{'yes' if said.verdict == one.truth.verdict else 'NO':5s} {said.stability:6.2f}  {rates} {more}  {shares}"
        )


def validation(found: list[Judged], fills: list[str]) -> Iterator[str]:
    """Whether each witness is right often enough; what the two claim together."""
    verdicts = {fill: [one.verdicts[fill].verdict for one in found] for fill in fills}
    verdicts["without gray"] = [one.witness.verdict for one in found]
    real = [one.truth.verdict for one in found]
    yield ""
    for name, said in verdicts.items():
        right = sum(map(str.__eq__, said, real))
        passed = f" of at least {LEAST_RIGHT}: {'PASSED' if right >= LEAST_RIGHT else 'FAILED'}"
        yield f"{name}: right about {right} of {len(found)}{passed if len(found) == NETWORKS else ''}"
    for fill in fills:
        claims = [weaker(one.verdicts[fill].verdict, one.witness.verdict) for one in found]
        agreed = [one.verdicts[fill].verdict == one.witness.verdict for one in found]
        wrong = sum(claimed not in (true, MIXED, CANNOT_TELL) for claimed, true in zip(claims, real))
        yield (
            f"{fill} and without gray: agree on {sum(agreed)} of {len(found)}, together right about "
            f"{sum(map(str.__eq__, claims, real))}, and claim a wrong object, context or both of {wrong}"
        )


def main(arguments: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[100, 101, 102], help="the thresholds come from 0 and 1"
    )
    parser.add_argument("--worlds", nargs="+", default=list(WORLDS), metavar="WORLD")
    parser.add_argument("--fills", nargs="+", choices=FILLS, default=list(FILLS))
    parser.add_argument("--maps", type=int, default=Size.maps, help="confidence maps for each network and fill")
    parser.add_argument("--image-size", type=positive, default=Size.image_size, help="pixels")
    parser.add_argument(
        "--object-size", type=float, nargs=2, default=Size.object_size, metavar=("FROM", "TO"),
        help="the object's longer side as a share of the picture's",
    )  # fmt: skip
    parser.add_argument("--epochs", type=positive, default=Size.epochs)
    parser.add_argument("--jobs", type=positive, default=os.cpu_count(), help="networks at a time, a thread each")
    parser.add_argument(
        "--quick", action="store_true", help="very little training, few pictures: only test that it runs"
    )
    options = parser.parse_args(arguments)
    looks = {"image_size": options.image_size, "object_size": tuple(options.object_size)}
    size = replace(QUICK, **looks) if options.quick else Size(maps=options.maps, epochs=options.epochs, **looks)
    try:
        World(**looks)
    except ValueError as error:
        raise UserError(f"--image-size or --object-size: {error}") from error
    for kind in options.worlds:
        try:
            world_of(kind, 0, size)
        except ValueError as error:
            raise UserError(f"--worlds: {error}") from error
    started = time.perf_counter()
    jobs = [(kind, seed, options.fills, size) for kind in options.worlds for seed in options.seeds]
    found = side_by_side(examine, jobs, options.jobs)
    for part in (table, confusion, single_images, marks):
        for fill in options.fills:
            print(*part(found, fill), sep="\n")
    print(*witness_table(found), *validation(found, options.fills), sep="\n")
    print(f"\n{len(found)} networks in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    start(main)
