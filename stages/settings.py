"""Check every parameter before any work, and write each variant's full parameters to a file."""

from graybox import errors, files, settings
from graybox.network.sizes import check_fits


def main() -> None:
    params = settings.load()
    for name, recipe in params.recipes.items():
        with errors.within(f"params.yaml: variants.{name}: "):
            check_fits(recipe.model, recipe.train, params.image_size)
    with files.replacing("data/settings") as folder:  # the whole folder: a removed variant's file must not stay
        params.recipes.with_files().save(folder)
        # Always the same text: stages before training wait for this file, but must not rerun when a parameter changes.
        files.write_text(folder / "checked.txt", "The parameters are usable.\n")
    for warning in settings.warnings_of(params):
        print(f"warning: params.yaml: {warning}")
    print(f"{len(params.recipes)} variants, {params.data.source}: the parameters are usable")


if __name__ == "__main__":
    errors.run(main)
