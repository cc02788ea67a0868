"""Which N: how faithful the best network's maps are for each window size and fill (Petsiuk et al. 2018, "RISE").

Usage: python -m benchmarks.windows [--images 100] [--stride 4] [--sides 5 11 15 21] [--fills gray mean]

Run it after `dvc repro`. Over evenly spread test images it prints, for maps of each N and fill, and for a random order
of the pixels and one from the image's centre: the share of flat maps, the median of the largest drop, the mean areas
under the deletion curve (lower is better) and the insertion curve (higher is better), and their difference with its
95% interval. Deleted pixels are replaced by a blurred image and by the image's mean colour, and the mean of both
counts. The last column is the difference from the first row, paired over the images. Object boxes, where there are any,
say how large the objects are against N.
"""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from benchmarks.command import parser_of, positive, prepared, start
from graybox import settings
from graybox.errors import UserError
from graybox.network import cnn, cores, inference
from graybox.occlusion import windows
from graybox.occlusion.fills import FILLS


def main(arguments: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=positive, default=100)
    parser.add_argument("--stride", type=positive, default=4)
    parser.add_argument("--sides", type=positive, nargs="+", default=[5, 11, 15, 21])
    parser.add_argument("--fills", nargs="+", choices=FILLS, default=["gray", "mean"])
    options = parser.parse_args(arguments)
    if even := [side for side in options.sides if side % 2 == 0]:
        raise UserError(f"--sides {even[0]}: a window has a centre, so its side is odd")
    params, test = settings.load(), prepared("data/prepared")["test"]
    device = inference.pick_device(params.run.device)
    network = cnn.load("models/best.safetensors", device)
    rows = np.unique(np.linspace(0, len(test) - 1, min(options.images, len(test))).round().astype(int))
    kinds = [(side, fill) for fill in options.fills for side in options.sides]
    kinds.sort(key=lambda kind: kind != (params.occlusion.window, params.occlusion.fill))  # the study's own comes first

    def look(row: int) -> windows.Look:
        image, label = test.images[row], int(test.labels[row])
        return windows.look(network, image, label, kinds, stride=options.stride, gray=params.occlusion.gray, seed=row)

    found = tqdm(cores.each(look, rows.tolist(), device), "windows", len(rows), unit=" images", disable=None)
    table = windows.compare(list(found))
    best = table.loc[table[table["window"] > 0]["faithfulness"].idxmax()]
    print(table.round(3).to_string(index=False))
    print(f"most faithful: N = {best['window']} with {best['fill']}")
    boxes = test.boxes[~np.isnan(test.boxes).any(axis=1)]
    if len(boxes):
        shorter = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
        covered = ", ".join(f"{np.mean(shorter <= side):.0%} for {side}" for side in options.sides)
        print(f"object boxes: the shorter side is {np.median(shorter):.0f} pixels (median), at most N: {covered}")


if __name__ == "__main__":
    start(main)
