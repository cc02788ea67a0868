"""Slide the gray window over test images and record the true class's probability for every window centre."""

from functools import partial

import pandas as pd
from tqdm import tqdm

from graybox import errors, files, run, schema
from graybox.data import images
from graybox.features.maps import map_peaks
from graybox.network import cnn, cores
from graybox.occlusion.choice import choose_images
from graybox.occlusion.params import OcclusionParams
from graybox.reliance import examine, experiment
from graybox.statistics.tables import read


def main() -> None:
    params = schema.load(OcclusionParams)
    test = images.load("data/prepared", "test")
    device = run.device()
    network = cnn.load("models/best.safetensors", device)
    peaks, judged = map_peaks(network, test.images), read("report/reliance.csv")
    with errors.within("params.yaml: occlusion."):
        rows = choose_images(test, peaks.predicted, params.images)

    windows = len(rows) * params.positions(test.size)
    with tqdm(total=windows, desc="occlude", unit=" windows", unit_scale=True, disable=None) as bar:
        look = partial(examine.examine_row, network, test, params=params, judged=judged, peaks=peaks,
                       on_windows=cores.counting(bar))  # fmt: skip
        found = list(cores.each(look, rows.tolist(), device))

    files.write_arrays("data/occlusion.npz", **experiment.arrays(found))
    summary = pd.DataFrame([one.summary() for one in found])
    files.write_table("report/occlusion.csv", summary.round(6))
    print("report/occlusion.csv")


if __name__ == "__main__":
    errors.run(main)
