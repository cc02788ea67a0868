"""Draw every picture of the study from what the other stages left; nothing is computed anew."""

from pathlib import Path

import vl_convert

from graybox import errors
from graybox.figures import album


def main() -> None:
    album.draw()
    # What draws the charts of `dvc plots show`, so that its page opens without a network; DVC's own templates are
    # written for Vega-Lite 5.
    bundle = vl_convert.javascript_bundle(vl_version="5.21")  # type: ignore[call-arg]  # its stub lacks a default
    Path("plots/vega.js").write_text(bundle, encoding="utf-8")


if __name__ == "__main__":
    errors.run(main)
