"""Write the report: one HTML page with the table, the charts, the mistakes and the occlusion panels."""

import json
from pathlib import Path

from graybox import errors, settings
from graybox.data import images
from graybox.report import page as report
from graybox.statistics import tables
from graybox.study import comparison


def main() -> None:
    params, figures = settings.load(), Path("plots/figures")
    parts = {split: images.load("data/prepared", split) for split in images.SPLITS}
    table = comparison.read("report/comparison.csv")
    timings = [json.loads(Path(f"models/timing/{name}.json").read_text()) for name in table["variant"]]
    page = report.render(
        params=params,
        data={
            **{split: len(part) for split, part in parts.items()},
            "class_names": parts["test"].class_names,
            "note": json.loads(Path("data/raw/source.json").read_text()).get("note"),
        },
        table=table,
        devices=sorted({timing["device"] for timing in timings}),
        best=json.loads(Path("report/best.json").read_text()),
        pairs=tables.read("report/confused_pairs.csv"),
        mistakes=tables.read("report/mistakes.csv"),
        reasons=tables.read("report/reasons.csv"),
        occlusion=tables.read("report/occlusion.csv"),
        reliance=json.loads(Path("report/reliance.json").read_text()),
        correspondence=json.loads(Path("report/correspondence.json").read_text()),
        findings=json.loads(Path("report/findings.json").read_text("utf-8")),
        pictures={path.stem: path for path in sorted(figures.glob("*.*"))},
        reason_pages={path.stem: path for path in sorted((figures / "reasons").glob("*.png"))},
        panels=sorted((figures / "occlusion").glob("*.png")),
    )
    Path("report/index.html").write_text(page, encoding="utf-8")
    print("report/index.html")


if __name__ == "__main__":
    errors.run(main)
