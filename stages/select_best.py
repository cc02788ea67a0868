"""Select the best variant by test accuracy (the study's rule) or by validation accuracy (select.split).

With several seeds, take the variant's network with the best validation accuracy.
"""

from graybox import errors, files, schema
from graybox.study import comparison
from graybox.study.params import SelectParams


def main() -> None:
    split = schema.load(SelectParams).split
    table = comparison.read("report/comparison.csv")
    variant = comparison.best(table, split)
    row = comparison.row_of(table, variant)
    seed = int(row["best_seed"])
    choice = {
        "variant": variant,
        "selected_on": split,
        "seed": seed,
        "seeds": int(row["seeds"]),
        "test_accuracy": row["test_accuracy"],
        "validation_accuracy": row["validation_accuracy"],
    }
    files.write_json("report/best.json", choice)
    files.copy(f"models/variants/{variant}/seed-{seed}.safetensors", "models/best.safetensors")
    print(f"best on {split}: {variant} (seed {seed}), {row['test_accuracy']:.1%} of the test images")


if __name__ == "__main__":
    errors.run(main)
