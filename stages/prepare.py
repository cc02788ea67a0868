"""Decode, resize and split the images: write one memory-mapped uint8 array, and a table that describes each image."""

from pathlib import Path

from graybox import errors
from graybox.data import params, sources
from graybox.data.prepare import prepare


def main() -> None:
    data, source = params.load()
    with errors.within("params.yaml: ", errors.ParameterError):
        catalogue = sources.open(data.source, source, Path("data/raw"), data.seed)
        prepared = prepare(catalogue, data, source.image_size, Path("data/prepared"))
    print(f"{data.source}: {prepared.summary()}", *prepared.remarks, sep="\n")


if __name__ == "__main__":
    errors.run(main)
