"""Object or context: hide each in turn in every test image, and judge which one the best model rests on."""

import numpy as np
from tqdm import tqdm

from graybox import errors, files, run, schema
from graybox.data import images
from graybox.network import cnn, cores
from graybox.occlusion.evidence import MapEvidence, map_evidence
from graybox.occlusion.fills import fill_picture
from graybox.occlusion.maps import occlusion_map
from graybox.occlusion.params import OcclusionParams
from graybox.reliance import interventions, rule, swaps, witness
from graybox.reliance.params import RelianceParams
from graybox.reliance.verdict import judge


def main() -> None:
    window, wanted = schema.load(OcclusionParams), schema.load(RelianceParams)
    test = images.load("data/prepared", "test")
    device = run.device()
    network = cnn.load("models/best.safetensors", device)
    hidden = interventions.intervene(network, test, fill=window.fill, gray=window.gray)

    rows = np.flatnonzero(test.has_box) if test.has_box.any() else np.arange(len(test))
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(wanted.maps, len(rows))).round().astype(int))]

    def judged_map(row: int) -> MapEvidence:
        found = occlusion_map(
            network, test.images[row], test.labels[row], window=window.window, stride=wanted.map_stride,
            fill=fill_picture(test.images[row], window.fill, window.gray),
        )  # fmt: skip
        return map_evidence(found, test.boxes[row])

    found = tqdm(cores.each(judged_map, rows, device), "reliance", len(rows), unit=" maps", disable=None)
    maps = dict(zip(rows.tolist(), found))
    judged = judge(hidden, list(maps.values()))

    table = rule.per_image(hidden, maps)
    table.insert(1, "file", [test.files[row] for row in table["row"]])
    files.write_table("report/reliance.csv", table.round(6))
    # The second witness, which needs no gray.
    seen = witness.testify(swaps.swap(network, test, wanted.swaps))
    figures = judged.metrics() | seen.metrics() | {"claim": witness.claim(judged, seen)}
    sentence = witness.sentence(judged, seen)
    if window.fill != "gray":
        sentence += " The rule's thresholds were chosen with gray; with another fill it is right less often."
    files.write_json("report/reliance.json", {"sentence": sentence, "why_none": judged.why_none(), **figures})
    print(sentence)


if __name__ == "__main__":
    errors.run(main)
