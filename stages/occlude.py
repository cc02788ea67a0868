"""Slide the gray window over test images and record the true class's probability at every pixel."""

from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from graybox import config, errors, figures, images, inference, model, occlusion


def main() -> None:
    params = config.load()
    settings = params.occlusion
    test = images.load("data/prepared", "test")
    network = model.load("models/best.safetensors", inference.pick_device(params.train.device))
    predicted = inference.class_scores(network, test.images).argmax(1).numpy()
    rows = occlusion.choose_images(test, predicted, settings.images)
    panels = Path("plots/occlusion")
    panels.mkdir(parents=True, exist_ok=True)

    maps, summary = {}, []
    for number, row in enumerate(tqdm(rows, desc="occlude", unit="image")):
        found = occlusion.occlusion_map(
            network, test.images[row], test.labels[row],
            window=settings.window, stride=settings.stride, fill=settings.gray,
        )  # fmt: skip
        maps |= {f"{number:02d}_{name}": array for name, array in found.arrays().items()}
        summary.append({"file": test.files[row], **found.summary(test.class_names)})
        panel = figures.occlusion_panel(found, test.images[row], test.boxes[row], test.files[row], test.class_names)
        figures.save(panel, panels / f"{number:02d}.png")
    np.savez("data/occlusion.npz", **maps)
    pd.DataFrame(summary).round(6).to_csv("report/occlusion.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    errors.run(main)
