"""Get the chosen source's files: download them, copy the archive, or record where the folder is."""

from pathlib import Path

from graybox import errors
from graybox.data import params, sources


def main() -> None:
    data, source = params.load()
    # Keep unfinished downloads outside data/raw, because DVC empties it before each run.
    with errors.within("params.yaml: ", errors.ParameterError):
        facts = sources.download(data.source, source, Path("data/raw"), partial=Path("data/downloads"))
    size = f": {facts['bytes'] / 1e6:,.1f} MB" if "bytes" in facts else ""
    print(f"{data.source}: {facts.get('archive') or facts.get('folder') or 'nothing to download'}{size}")
    if "note" in facts:
        print(facts["note"])


if __name__ == "__main__":
    errors.run(main)
