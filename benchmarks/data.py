"""Speed of preparing images on this machine: Graybox, and the usual way in one process.

Usage: python -m benchmarks.data [--images 1200] [--size 84] [--photos tiny-imagenet.zip] [--rounds 3]

Both read the same JPEGs of 500 x 375 pixels (quality 90): photographs from a zip in Tiny ImageNet's layout, or else
enlarged generated scenes with added noise. Ours is `prepare` of graybox.data, with one worker per core and with a
single worker. The usual way is Pillow's open, then torchvision's Resize and CenterCrop. They are timed in turns,
`rounds` times each. For the speed the median counts. For the CPU time (workers included) the minimum counts, because
other programs can only add to it. The memory is ours, measured before torchvision is loaded.
"""

from __future__ import annotations

import io
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.command import parser_of, positive, start
from graybox.data import images
from graybox.data.params import DataParams
from graybox.data.prepare import prepare
from graybox.data.scenes import OBJECTS, World, draw
from graybox.data.sources import folder
from graybox.data.sources.files import FolderFiles, ZipFiles
from graybox.errors import UserError

CLASSES, WIDTH, HEIGHT = 10, 500, 375


def originals(count: int, photos: Path | None) -> list[Image.Image]:
    """The pictures to enlarge."""
    if photos:
        if not photos.is_file():
            raise UserError(f"--photos {photos}: there is no such file")
        files = ZipFiles(photos)
        names = [name for name in files.names if name.endswith(".JPEG")]
        rows = np.random.default_rng(0).permutation(len(names))[:count]
        return [Image.open(io.BytesIO(files.read(names[row]))).convert("RGB") for row in rows]
    world = World(seed=0, image_size=160, classes=CLASSES, object_signal=1.0, context_bias=0.0, object_size=[0.4, 0.7])
    return [Image.fromarray(draw(world, "train", number, number % CLASSES).image) for number in range(count)]


def write_photos(count: int, photos: Path | None, root: Path) -> None:
    """JPEGs in a folder for each class, about 100 kB each, as photographs of their size are."""
    rng = np.random.default_rng(0)
    for number, image in enumerate(originals(count, photos)):
        enlarged = np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.float32)
        noise = rng.normal(0, 8, (HEIGHT, WIDTH, 1)).astype(np.float32)
        path = root / OBJECTS[number % CLASSES] / f"{number:05d}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray((enlarged + noise).clip(0, 255).astype(np.uint8)).save(path, quality=90)


def usual(paths: list[Path], size: int) -> np.ndarray:
    """uint8 [N, size, size, 3]"""
    from torchvision import transforms

    fit = transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size)])
    return np.stack([np.asarray(fit(Image.open(path).convert("RGB"))) for path in paths])


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock seconds, and CPU seconds of this process and of its finished workers."""
    clock, before = time.perf_counter(), os.times()
    work()
    after = os.times()
    return time.perf_counter() - clock, sum(after[:4]) - sum(before[:4])


def main(arguments: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=positive, default=1200)
    parser.add_argument("--size", type=positive, default=84, help="height and width of the prepared images")
    parser.add_argument("--photos", type=Path, help="a zip in Tiny ImageNet's layout; without it, scenes are drawn")
    parser.add_argument("--rounds", type=positive, default=3)
    options = parser.parse_args(arguments)
    cores = len(os.sched_getaffinity(0))
    data = DataParams(
        source="folder",
        validation_fraction=0.15,
        test_fraction=0.2,
        classes=None,
        images_per_class=None,
        max_unreadable=0,
        seed=0,
    )

    with tempfile.TemporaryDirectory() as place:
        photos, prepared = Path(place, "photos"), Path(place, "prepared")
        photos.mkdir()
        write_photos(options.images, options.photos, photos)
        paths = sorted(photos.rglob("*.jpg"))
        catalogue = folder.catalogue(FolderFiles(photos))
        contenders = {
            f"ours, workers: {cores}": lambda: prepare(catalogue, data, options.size, prepared, workers=cores),
            "ours, workers: 1": lambda: prepare(catalogue, data, options.size, prepared, workers=1),
            "the usual way": lambda: usual(paths, options.size),
        }
        for name, work in contenders.items():  # warm-up
            if not name.startswith("ours"):
                peak = max(
                    resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
                )
            work()
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
        for _ in range(options.rounds):
            for name, work in contenders.items():
                times[name].append(timed(work))

        ours = {}
        for split in images.SPLITS:
            part = images.load(prepared, split)
            ours |= dict(zip(part.files, part.images, strict=True))
        theirs = usual(paths, options.size).astype(int)
        apart = [
            np.abs(ours[path.relative_to(photos).as_posix()] - pixels).mean()
            for path, pixels in zip(paths, theirs, strict=True)
        ]

    print(f"{options.images} JPEGs of {WIDTH} x {HEIGHT} to {options.size} x {options.size}, {cores} cores, "
          f"load {os.getloadavg()[0]:.1f}")  # fmt: skip
    rate, cpu = {}, {}
    for name, rounds in times.items():
        rate[name] = options.images / statistics.median(clock for clock, _ in rounds)
        cpu[name] = min(seconds for _, seconds in rounds) / options.images * 1000
        print(f"  {name:20s} {rate[name]:8,.0f} images/s   {cpu[name]:6.2f} ms of CPU time an image")
    best, single, other = contenders
    print(f"  images/s, ours / the usual way      {rate[best] / rate[other]:6.2f}")
    print(f"  CPU time, the usual way / ours      {cpu[other] / cpu[best]:6.2f}   ({cpu[other] / cpu[single]:.2f} "
          "with one worker)")  # fmt: skip
    print(f"  mean difference of the pixels       {np.mean(apart):6.2f} of 255 (of the worst image {max(apart):.2f})")
    print(f"  our largest process                 {peak / 1024:6,.0f} MB")


if __name__ == "__main__":
    start(main)
