"""Decode, resize and split the images: one memory-mapped uint8 array and a table of what each image is."""

from pathlib import Path

from graybox import config, errors
from graybox.data import sources
from graybox.data.prepare import prepare


def main() -> None:
    params = config.load()
    catalogue = sources.open(params.data.source, params.source, Path("data/raw"), params.data.seed)
    prepared = prepare(catalogue, params.data, params.image_size, Path("data/prepared"))
    print(f"{params.data.source}: {prepared.summary()}")


if __name__ == "__main__":
    errors.run(main)
