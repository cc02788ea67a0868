"""Slide the gray window over test images and record the true class's probability at every pixel."""

from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from graybox import config, errors
from graybox.data import images
from graybox.features.maps import map_peaks
from graybox.figures import panels, style
from graybox.figures.strip import sliding_strip
from graybox.network import cnn, inference
from graybox.occlusion.maps import choose_images
from graybox.reliance import experiment
from graybox.statistics.tables import read


def main() -> None:
    params = config.load()
    settings = experiment.Settings(**params.occlusion.model_dump(exclude={"images"}))
    test = images.load("data/prepared", "test")
    network = cnn.load("models/best.safetensors", inference.pick_device(params.train.device))
    predicted = inference.class_scores(network, test.images).argmax(1).numpy()
    rows = choose_images(test, predicted, params.occlusion.images)
    peaks = map_peaks(network, test.images)
    judged = read("report/reliance.csv")

    windows = len(rows) * settings.positions(test.size)
    with tqdm(total=windows, desc="occlude", unit=" windows", unit_scale=True) as bar:
        found = [experiment.examine_row(network, test, int(row), settings, judged, peaks, bar.update) for row in rows]

    folder = Path("plots/occlusion")
    folder.mkdir(parents=True, exist_ok=True)
    digits = max(2, len(str(len(found) - 1)))  # the order of the names is that of report/occlusion.csv
    for number, one in enumerate(found):
        style.save(panels.occlusion_panel(one), folder / f"{number:0{digits}d}.png", dpi=90)
    style.save(panels.windows_chart(found), "plots/occlusion_windows.png", dpi=90)
    Path("plots/occlusion.gif").write_bytes(sliding_strip(found))
    np.savez("data/occlusion.npz", **experiment.arrays(found))
    summary = pd.DataFrame([one.summary() for one in found])
    summary.round(6).to_csv("report/occlusion.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    errors.run(main)
