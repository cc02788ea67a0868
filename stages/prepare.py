"""Decode, resize and split the images: write one memory-mapped uint8 array, and a table that describes each image."""

import json
from pathlib import Path

from graybox import errors
from graybox.data import params, sources, summary
from graybox.data.prepare import prepare


def main() -> None:
    data, source = params.load()
    with errors.within("params.yaml: ", errors.ParameterError):
        catalogue = sources.open(data.source, source, Path("data/raw"), data.seed)
        prepared = prepare(catalogue, data, source.image_size, Path("data/prepared"))
    Path("metrics").mkdir(exist_ok=True)
    row = summary.metrics(json.loads(Path("data/prepared/summary.json").read_text("utf-8")))
    Path("metrics/data.json").write_text(json.dumps(row, indent=1) + "\n")
    print(f"{data.source}: {prepared.summary()}")


if __name__ == "__main__":
    errors.run(main)
