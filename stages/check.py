"""Stop here, before any work, if a parameter is wrong: every variant's values, and that its layers fit the image."""

from pathlib import Path

from graybox import config, errors
from graybox.network import cnn


def main() -> None:
    params = config.load()
    for name in params.variants:
        network, schedule = params.variant(name)
        try:
            cnn.check_fits(network, schedule, params.image_size)
        except errors.UserError as error:
            raise errors.UserError(f"params.yaml: variants.{name}: {error}") from error
    Path("data").mkdir(exist_ok=True)
    # Always the same content: what is allowed to go on must not run again because a parameter changed.
    Path("data/checked.txt").write_text("The parameters are usable.\n")
    print(f"{len(params.variants)} variants, {params.data.source}: the parameters are usable")


if __name__ == "__main__":
    errors.run(main)
