"""Leave the JavaScript that draws `dvc plots show` in plots/, so that its page opens without a network."""

from pathlib import Path

import vl_convert

from graybox import errors


def main() -> None:
    Path("plots").mkdir(exist_ok=True)
    # Vega-Lite 5 is what DVC's own templates are written for.
    Path("plots/vega.js").write_text(vl_convert.javascript_bundle(vl_version="5.21"), encoding="utf-8")


if __name__ == "__main__":
    errors.run(main)
