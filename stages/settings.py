"""Check every parameter before any work, and write each variant's full parameters to a file."""

import shutil
from pathlib import Path

from graybox import errors, settings
from graybox.network.sizes import check_fits


def main() -> None:
    params = settings.load()
    for name, recipe in params.recipes.items():
        with errors.within(f"params.yaml: variants.{name}: "):
            check_fits(recipe.model, recipe.train, params.image_size)
    folder = Path("data/settings")
    shutil.rmtree(folder, ignore_errors=True)  # a removed variant's file must not stay
    params.recipes.save(folder)
    # Always the same text: stages before training wait for this file, but must not rerun when a parameter changes.
    (folder / "checked.txt").write_text("The parameters are usable.\n")
    for warning in settings.warnings_of(params):
        print(f"warning: params.yaml: {warning}")
    print(f"{len(params.recipes)} variants, {params.data.source}: the parameters are usable")


if __name__ == "__main__":
    errors.run(main)
