"""What the images are: how many of each class and split, what they look like, what was left out."""

import json
from pathlib import Path

from graybox import errors
from graybox.data import images
from graybox.figures import data, style


def main() -> None:
    summary = json.loads(Path("data/prepared/summary.json").read_text("utf-8"))
    style.save(data.contact_sheet(images.load("data/prepared", "train")), "plots/contact_sheet.png", dpi=75)
    style.save(data.counts_chart(summary), "plots/data.png")
    row = {"classes": len(summary["images_per_class"])}
    row |= {f"{split}_images": count for split, count in summary["images_per_split"].items()}
    row |= {"duplicates": sum(summary["duplicates"].values()), "unreadable": summary["unreadable"]}
    Path("metrics").mkdir(exist_ok=True)
    Path("metrics/data.json").write_text(json.dumps(row, indent=1) + "\n")
    print(", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in row.items()))


if __name__ == "__main__":
    errors.run(main)
