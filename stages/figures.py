"""Draw all figures of the study from the files of the other stages; nothing is recomputed."""

import vl_convert

from graybox import errors, files
from graybox.figures import album


def main() -> None:
    if said := album.draw():
        print(said)
    # The JavaScript library of `dvc plots show`, so that its page works offline. DVC's templates use Vega-Lite 5.
    bundle = vl_convert.javascript_bundle(vl_version="5.21")  # type: ignore[call-arg]  # its stub lacks a default
    files.write_text("plots/vega.js", bundle)


if __name__ == "__main__":
    errors.run(main)
