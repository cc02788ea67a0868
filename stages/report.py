"""Write the report: one HTML page with the table, the charts, the mistakes and the occlusion panels."""

from pathlib import Path

from graybox import errors, files, settings
from graybox.data import images
from graybox.report import page as report
from graybox.statistics import tables
from graybox.study import comparison


def main() -> None:
    params, figures = settings.load(), Path("plots/figures")
    parts = {split: images.load("data/prepared", split) for split in images.SPLITS}
    table = comparison.read("report/comparison.csv")
    timings = [files.read_json(f"models/timing/{name}.json") for name in table["variant"]]
    page = report.render(
        params=params,
        data={
            **{split: len(part) for split, part in parts.items()},
            "class_names": parts["test"].class_names,
            "note": files.read_json("data/raw/source.json").get("note"),
            "made": files.read_json("data/prepared/summary.json")["made"],
        },
        table=table,
        devices=sorted({timing["device"] for timing in timings}),
        best=files.read_json("report/best.json"),
        pairs=tables.read("report/confused_pairs.csv"),
        mistakes=tables.read("report/mistakes.csv"),
        reasons=tables.read("report/reasons.csv"),
        occlusion=tables.read("report/occlusion.csv"),
        reliance=files.read_json("report/reliance.json"),
        correspondence=files.read_json("report/correspondence.json"),
        findings=files.read_json("report/findings.json"),
        pictures={path.stem: path for path in sorted(figures.glob("*.*"))},
        reason_pages={path.stem: path for path in sorted((figures / "reasons").glob("*.png"))},
        panels=sorted((figures / "occlusion").glob("*.png")),
    )
    files.write_text("report/index.html", page)
    print("report/index.html")


if __name__ == "__main__":
    errors.run(main)
